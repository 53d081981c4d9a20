"""Fills the report's dataclasses from an audit, a plan and the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from recovery.audit import AuditResult
from recovery.ledger.rows import ActionRow, ItemRow
from recovery.model import Approval, Balance, Exchange, Finding, Plan, Remedy, Verdict
from recovery.ports import TicketRef
from recovery.report.evidence import FIRST_SHOWN, Named, named_replies
from recovery.report.report import AccountReport, ActionReport, ItemReport, Mode, RunReport

if TYPE_CHECKING:
    from recovery.wiring import Systems

MOST_EVIDENCE = 400


async def build(
    systems: Systems,
    result: AuditResult,
    mode: Mode,
    *,
    plan: Plan | None = None,
    items: Sequence[ItemRow] = (),
    balance: Balance | None = None,
    ticket: TicketRef | None = None,
    notices: tuple[str, ...] = (),
    problems: tuple[str, ...] = (),
) -> RunReport:
    """The report of one run."""
    approvals = await systems.ledger.approvals(plan.digest) if plan else ()
    planned = {i.slot.key: i for i in plan.items} if plan else {}
    findings = {f.slot.key: f for f in result.findings}
    zones = {a.name: a.time_zone for a in systems.accounts}
    rows = []
    for row in items:
        actions = await systems.ledger.actions(row.slot_key)
        zone = zones.get(row.account, "UTC")
        rows.append(_item(row, actions, findings.get(row.slot_key), planned, approvals, zone))
    return RunReport(
        window=result.window,
        incident_ref=result.window.incident_ref,
        title=f"Outage {result.window.started_at:%Y-%m-%d %H:%M} to {result.window.ended_at:%H:%M} UTC",
        made_at=systems.clock.now(),
        mode=mode,
        accounts=tuple(
            AccountReport(a.account, zones.get(a.account, "UTC"), not a.problems, "; ".join(a.problems))
            for a in result.accounts
        ),
        findings=result.findings,
        items=tuple(rows),
        plan=plan,
        approvals=approvals,
        balance=balance,
        ticket=ticket,
        notices=notices,
        problems=problems,
        contact_us_url=systems.policy.contact_us_url,
    )


def _item(
    row: ItemRow,
    actions: Sequence[ActionRow],
    finding: Finding | None,
    planned: Mapping[str, object],
    approvals: Sequence[Approval],
    zone: str,
) -> ItemReport:
    from recovery.model import PlanItem, Slot

    item = planned.get(row.slot_key)
    slot = item.slot if isinstance(item, PlanItem) else None
    if slot is None:
        slot = (
            finding.slot
            if finding
            else Slot(row.account, row.system, row.kind, row.object_ref, row.due_at, row.name, zone)
        )
    after = dict(finding.evidence.testimonies[0].facts) if finding and finding.evidence.testimonies else {}
    return ItemReport(
        slot=slot,
        name=row.name,
        verdict=Verdict(row.verdict),
        remedy=Remedy(row.remedy),
        outcome=row.outcome,
        reason=row.reason,
        question=row.question,
        before=item.before if isinstance(item, PlanItem) else {},
        after=after,
        actor=", ".join(sorted({a.by for a in approvals})),
        actions=tuple(_action(a) for a in actions),
        testimonies=finding.evidence.testimonies if finding else (),
    )


def _action(row: ActionRow) -> ActionReport:
    from recovery.policy import IRREVERSIBLE

    return ActionReport(
        kind=row.kind,
        state=row.state,
        ref=row.result_ref,
        at=row.updated_at,
        harm=row.harm,
        reversible=row.kind not in IRREVERSIBLE,
        attempts=row.attempts,
        evidence_digest=row.evidence_digest,
        detail=row.note,
    )


async def evidence_for(systems: Systems, report: RunReport) -> dict[Named, Exchange]:
    """The stored replies that the page names, by digest and account.

    Those of held items come first, and of each item its witnesses' before its proofs'.
    """
    named = named_replies(item for item in report.items if str(item.outcome) in FIRST_SHOWN)
    found = {name: await systems.ledger.evidence(*name) for name in islice(named, MOST_EVIDENCE)}
    return {name: e for name, e in found.items() if e is not None}
