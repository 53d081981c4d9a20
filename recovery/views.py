"""The JSON that every command prints with `--json`: versioned, documented in docs/json.md, made of plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recovery.ledger.rows import ActionRow, ItemRow
from recovery.model import Balance, Finding, Plan, PlanItem, Question, Slot, Testimony, Verdict, iso

if TYPE_CHECKING:
    from recovery.audit import AuditResult
    from recovery.operate import RecoverResult
    from recovery.watch import Round

View = dict[str, Any]


def audit_view(result: AuditResult, exit_code: int) -> View:
    """`allclear.audit/1`: every slot with verdict, witnesses and their times."""
    return {
        "schema": "allclear.audit/1",
        "incident": result.window.incident_ref,
        "window": {"start": iso(result.window.started_at), "end": iso(result.window.ended_at)},
        "accounts": [
            {"name": a.account, "time_zone": a.time_zone, "problems": list(a.problems)} for a in result.accounts
        ],
        "counts": dict(sorted(Counter(f.verdict.value for f in result.findings).items())),
        "slots": [finding_view(f) for f in result.findings],
        "not_due": [
            {"account": n.account, "kind": n.kind, "object": n.object_ref, "name": n.name, "reason": n.reason}
            for a in result.accounts
            for n in a.not_due
        ],
        "exit_code": exit_code,
    }


def finding_view(finding: Finding) -> View:
    """One slot of an audit."""
    slot = finding.slot
    return {
        **_slot(slot),
        "time_zone": slot.time_zone,
        "verdict": finding.verdict.value,
        "code": finding.code,
        "reason": finding.reason,
        "witnesses": [testimony_view(t) for t in finding.evidence.testimonies],
    }


def _slot(slot: Slot) -> View:
    return {
        "key": slot.key,
        "account": slot.account,
        "system": slot.system,
        "kind": slot.kind,
        "object": slot.object_ref,
        "name": slot.name,
        "slot": iso(slot.due_at),
    }


def testimony_view(testimony: Testimony) -> View:
    """One witness."""
    return {
        "witness": testimony.witness,
        "saw": testimony.saw.value,
        "at": iso(testimony.observed_at),
        "complete": testimony.complete,
        "detail": testimony.detail,
        "digest": testimony.digest,
    }


def plan_view(plan: Plan, exit_code: int) -> View:
    """`allclear.plan/1`: the frozen plan, its digest, who it reaches."""
    return {
        "schema": "allclear.plan/1",
        "incident": plan.window.incident_ref,
        "window": {"start": iso(plan.window.started_at), "end": iso(plan.window.ended_at)},
        "digest": plan.digest,
        "made_at": iso(plan.made_at),
        "expires_at": iso(plan.expires_at),
        "recipients": plan.reach,
        "items": [plan_item_view(i) for i in plan.items],
        "exit_code": exit_code,
    }


def plan_item_view(item: PlanItem) -> View:
    """One item of a plan."""
    return {
        **_slot(item.slot),
        "verdict": item.verdict.value,
        "remedy": item.remedy.value,
        "code": item.code,
        "reason": item.reason,
        "audience": item.audience,
        "wave": item.wave,
        "caveat": item.caveat,
        "question": item.question,
        "actions": [
            {"key": a.key, "kind": a.kind.value, "harm": int(a.harm), "reversible": a.reversible, "summary": a.summary}
            for a in item.actions
        ],
    }


def recover_view(result: RecoverResult, actions: Mapping[str, Sequence[ActionRow]], stamp: str) -> View:
    """`allclear.recover/1`: every item's outcome, and the question of every held one."""
    listed = {r.slot_key for r in result.items}
    done = [f for f in (result.after.findings if result.after else ()) if f.slot.key not in listed]
    return {
        "schema": "allclear.recover/1",
        "incident": result.plan.window.incident_ref,
        "window": {"start": iso(result.plan.window.started_at), "end": iso(result.plan.window.ended_at)},
        "plan": result.plan.digest,
        "at": stamp,
        "stopped": result.stopped,
        "items": [item_view(r, actions.get(r.slot_key, ())) for r in result.items]
        + [done_view(f) for f in done if f.verdict is Verdict.DONE],
        "balance": balance_view(result.balance) if result.balance else None,
        "ticket": {"key": result.ticket.key, "url": result.ticket.url} if result.ticket else None,
        "notice": result.notice,
        "problems": list(result.problems),
        "exit_code": result.exit_code,
    }


def item_view(row: ItemRow, actions: Sequence[ActionRow]) -> View:
    """One item with its actions and the ids they produced."""
    return {
        "key": row.slot_key,
        "account": row.account,
        "system": row.system,
        "kind": row.kind,
        "object": row.object_ref,
        "name": row.name,
        "slot": iso(row.due_at),
        "verdict": row.verdict,
        "remedy": row.remedy,
        "outcome": row.outcome.value,
        "reason": row.reason,
        "question": question_view(row.question),
        "refs": _refs(actions),
        "actions": [
            {"key": a.key, "kind": a.kind.value, "state": a.state.value, "ref": a.result_ref, "attempts": a.attempts}
            for a in actions
        ],
    }


_REF_NAMES = {
    "copy": "copy",
    "run_now": "run",
    "reprocess": "run",
    "repeat_import": "run",
    "tagged_import": "run",
    "ticket": "ticket",
}


def _refs(actions: Sequence[ActionRow]) -> View:
    return {_REF_NAMES[a.kind.value]: a.result_ref for a in actions if a.kind.value in _REF_NAMES and a.result_ref}


def done_view(finding: Finding) -> View:
    """A slot that needed nothing, in the form of an item."""
    return {
        **_slot(finding.slot),
        "verdict": finding.verdict.value,
        "remedy": "none",
        "outcome": "done_before",
        "reason": finding.reason,
        "question": None,
        "refs": {},
        "actions": [],
    }


def question_view(question: Question | None) -> View | None:
    """A hold's question with its answers."""
    if question is None:
        return None
    return {"text": question.text, "recommended": question.recommended, "choices": list(question.choices)}


def balance_view(balance: Balance) -> View:
    """The closing balance."""
    return {
        "due": balance.due,
        "done_before": balance.done_before,
        "recovered": balance.recovered,
        "skipped": balance.skipped,
        "held": balance.held,
        "doubles": balance.doubles,
        "adds_up": balance.adds_up,
        "problems": list(balance.problems),
        "outside": list(balance.outside),
    }


def watch_view(seen: Round) -> View:
    """`allclear.watch/1`: one round of watching; exit code 1 when something moved, 3 when something waits."""
    waiting = seen.problems or seen.unsettled
    return {
        "schema": "allclear.watch/1",
        "looked": seen.looked,
        "sightings": [
            {"key": s.slot_key, "text": s.text, "overlap_least": s.least, "overlap_most": s.most}
            for s in seen.sightings
        ],
        "problems": list(seen.problems),
        "unsettled": list(seen.unsettled),
        "exit_code": 1 if seen.sightings else 3 if waiting else 0,
    }


def error_view(message: str, hint: str, exit_code: int) -> View:
    """`allclear.error/1`: one sentence and what to do."""
    return {"schema": "allclear.error/1", "error": message, "hint": hint, "exit_code": exit_code}
