"""Small valid windows, evidence, findings, plans and policies, so that a test only names what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from recovery.ledger.rows import ItemRow
from recovery.model import (
    Evidence,
    Facts,
    Finding,
    ItemOutcome,
    Kind,
    OutageWindow,
    Plan,
    Question,
    Saw,
    Slot,
    System,
    Testimony,
    Verdict,
)
from recovery.plan import make_plan
from recovery.policy import Policy, Waits
from recovery.ports import Campaign, CampaignReport, Run, RunLog
from recovery.settings import load_policy, load_settings

ROOT = Path(__file__).resolve().parents[2]
DUE = datetime(2026, 6, 3, 14, 0, tzinfo=UTC)
NOW = DUE + timedelta(hours=5)
WAITS = Waits()
SECRET = b"a key of the tests"
WINDOW = OutageWindow(DUE - timedelta(hours=1), DUE + timedelta(hours=1), ("acme", "zoo"))


@cache
def shipped_policy() -> Policy:
    """The policy and the decision table as config/ ships them."""
    return load_policy(load_settings(ROOT / "config" / "allclear.toml"))


def a_slot(kind: Kind = Kind.CAMPAIGN, ref: str = "7", due_at: datetime = DUE, account: str = "acme") -> Slot:
    system = System.PRO2 if kind in (Kind.CAMPAIGN, Kind.AUTOMATION) else System.DASHBOARD
    return Slot(account, system.value, kind.value, ref, due_at, f"{kind.value} {ref}", "America/New_York")


def said(witness: str, saw: Saw, facts: Facts | None = None, *, complete: bool = True) -> Testimony:
    return Testimony(witness, saw, NOW, complete, f"{witness} saw {saw.value}", facts or {})


def a_finding(
    slot: Slot, verdict: Verdict = Verdict.MISSED, code: str = "no_activity", facts: Facts | None = None
) -> Finding:
    evidence = Evidence(slot, (said("witness", Saw.NOTHING, facts or {}),))
    return Finding(slot, verdict, "It did not happen.", code, evidence)


def a_missed_campaign(ref: str = "7", audience: int = 400, account: str = "acme", **facts: object) -> Finding:
    known = {"type": "single", "series": "0", "send_amt": 0, "total_amt": audience, "status": "1", **facts}
    return a_finding(a_slot(ref=ref, account=account), Verdict.MISSED, "pending_send", known)  # type: ignore[arg-type]


def a_missed_trigger(ref: str = "t1", due_at: datetime = DUE, account: str = "acme") -> Finding:
    return a_finding(a_slot(Kind.TRIGGER, ref, due_at, account))


def a_plan(*findings: Finding, policy: Policy | None = None, now: datetime = NOW) -> Plan:
    return make_plan(WINDOW, findings or (a_missed_campaign(),), policy or shipped_policy(), SECRET, now)


def a_campaign(ref: str = "7", status: str = "1", sent: int = 0, total: int = 400, **changes: object) -> Campaign:
    plain = Campaign(ref, f"Campaign {ref}", "single", status, DUE, None, None, sent, total)
    return replace(plain, **changes)  # type: ignore[arg-type]


def a_report(sent: int = 0, total: int = 400, status: str = "1", *, has_data: bool | None = None) -> CampaignReport:
    return CampaignReport("7", sent, total, status, None, sent > 0 if has_data is None else has_data)


def a_run(ref: str = "r1", state: str = "succeeded", **changes: object) -> Run:
    plain = Run(
        ref=ref,
        definition_ref="7",
        requested_by="schedule",
        scheduled_for=DUE,
        started_at=DUE,
        ended_at=DUE + timedelta(minutes=5),
        state=state,
        returned=10,
        updated=10,
        errored=0,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def a_log(*runs: Run, **changes: object) -> RunLog:
    newer = a_run("other", definition_ref="someone else", scheduled_for=NOW - timedelta(hours=1))
    plain = RunLog(runs=(*runs, newer), complete=True, covers_from=DUE - timedelta(days=1), covers_to=NOW, read_at=NOW)
    return replace(plain, **changes)  # type: ignore[arg-type]


def a_row(slot: Slot, outcome: ItemOutcome, reason: str = "", question: Question | None = None) -> ItemRow:
    return ItemRow(
        slot_key=slot.key,
        account=slot.account,
        system=slot.system,
        kind=slot.kind,
        object_ref=slot.object_ref,
        due_at=slot.due_at,
        name=slot.name,
        verdict="missed",
        remedy="resend",
        outcome=outcome,
        reason=reason,
        question=question,
        generation=0,
        plan_digest="d",
        incident="inc-1",
        updated_at=NOW,
    )
