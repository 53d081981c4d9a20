"""Where things stand, from the ledger alone: the last plan, what is held and open, the desk. Asks no remote."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from recovery.approvals import Consent, consent, lacking
from recovery.desk.standing import desk_lines, desk_view
from recovery.errors import LedgerUnavailable
from recovery.hints import STARTER, next_for, recover_line
from recovery.model import Approval, ItemOutcome, Plan, iso
from recovery.report.words import both_times
from recovery.settings import Settings, load_policy
from recovery.views import item_view
from recovery.wiring import SystemClock, checked_offset, kill_switch, open_ledger

if TYPE_CHECKING:
    from recovery.ledger.ledger import Ledger
    from recovery.ledger.rows import ItemRow
    from recovery.policy import Policy

View = dict[str, Any]
NAMES_SHOWN = 8


async def open_for_reading(settings: Settings) -> Ledger:
    """The ledger for looking only, also where it cannot be written (a full disk, a read-only file).

    One that is not there yet or is of an older version is made or migrated first. Otherwise nothing is written, so a
    status that is shown every two seconds leaves no trace.
    """
    try:
        return await open_ledger(settings, read_only=True)
    except LedgerUnavailable:
        return await open_ledger(settings)


async def standing_view(settings: Settings) -> View:
    """`allclear.status/1`."""
    async with await open_for_reading(settings) as ledger:
        now = SystemClock(checked_offset(settings)).now()
        last = await _recorded(ledger, load_policy(settings), now)
        held = await ledger.items(outcome=ItemOutcome.HELD)
        open_items = await ledger.items(outcome=ItemOutcome.OPEN)
        stale = await ledger.stale_actions()
        killed = kill_switch(settings)() or await ledger.killed()
        zones = {a.time_zone for a in settings.accounts}
        view: View = {
            "schema": "allclear.status/1",
            "accounts": [a.name for a in settings.accounts],
            "time_zone": zones.pop() if len(zones) == 1 else "UTC",
            "kill_switch": killed,
            "quarantined": ledger.quarantine_reason if ledger.quarantined else "",
            "plan": last.view() if last else None,
            "counts": await ledger.unfinished(),
            "held": len(held),
            "open": len(open_items),
            "unsettled_actions": len(stale),
            "desk": await desk_view(settings, ledger, now),
            "next": "",
            "exit_code": 3 if held or open_items else 0,
        }
        begun = await ledger.plan(_last_moved(open_items).plan_digest) if open_items else None
        for_plan = last.next(now) if last and not await ledger.items(plan=last.plan.digest) else ""
        view["next"] = _next(view, begun, for_plan, now)
        return view


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A plan with what people have said of it."""

    plan: Plan
    policy: Policy
    approvals: tuple[Approval, ...]
    rejected: str
    agreed: Consent

    def view(self) -> View:
        plan = self.plan
        return {
            "digest": plan.digest,
            "incident": plan.window.incident_ref,
            "start": iso(plan.window.started_at),
            "end": iso(plan.window.ended_at),
            "items": len(plan.items),
            "recipients": plan.reach,
            "expires_at": iso(plan.expires_at),
            "approved_by": sorted({a.by for a in self.approvals}),
            "missing": lacking(plan, self.agreed),
            "rejected": self.rejected,
        }

    def next(self, now: datetime) -> str:
        """What comes next while no run has taken it up."""
        if now > self.plan.expires_at:
            return "The last plan was not run and has expired. `allclear plan` makes a new one."
        if self.rejected:
            return f"The last plan was rejected ({self.rejected}). `allclear plan` makes a new one."
        words, command = next_for(self.plan, self.approvals, self.agreed, self.policy)
        return f"{words} `{command}`"


async def _recorded(ledger: Ledger, policy: Policy, now: datetime) -> _Recorded | None:
    """The plan that was made last."""
    plan = await ledger.latest_plan()
    if plan is None:
        return None
    approvals, rejected = await ledger.approvals(plan.digest), await ledger.rejection(plan.digest)
    return _Recorded(plan, policy, approvals, rejected, consent(plan, approvals, policy, now, ""))


def _last_moved(items: Sequence[ItemRow]) -> ItemRow:
    return max(items, key=lambda row: (row.updated_at, row.slot_key))


def _next(view: View, begun: Plan | None, for_plan: str, now: datetime) -> str:
    """What a person does next, as a command that can be copied.

    `begun` is the plan of the item that moved last among those that have not ended; `for_plan` is what the last plan
    waits for when no run has taken it up.
    """
    if view["quarantined"]:
        return "The ledger is in quarantine, so nothing leaves: `allclear quarantine` says why and what to do."
    if view["kill_switch"]:
        return 'The kill switch is on. `allclear kill --clear --by "YOUR NAME"` when it is safe.'
    if view["open"]:
        return f"{_going_on(begun, now)} goes on where the last run stopped."
    held = "`allclear hold` shows what waits for a person."
    if for_plan:
        return f"{held} {for_plan}" if view["held"] else for_plan
    if view["held"]:
        return held
    late = next((i["ref"] for i in view["desk"]["incidents"] if any(c["state"] == "overdue" for c in i["clocks"])), "")
    if late:
        return f"`allclear incident show {late}`: a promised time is over."
    return "Nothing waits." if view["plan"] else "`allclear audit --last 6h` looks for misses."


def _going_on(begun: Plan | None, now: datetime) -> str:
    """The command that goes on with a run that did not end. An expired plan acts no more, so a new one takes over."""
    if begun is None:
        return "`allclear recover` with the same window"
    if now < begun.expires_at:
        return f"`{recover_line(begun.digest)}`"
    window = f"--start {iso(begun.window.started_at)} --end {iso(begun.window.ended_at)}"
    return f'`allclear recover {window} --by "{STARTER}"`'


def standing_lines(view: View) -> list[str]:
    """The view for people."""
    names = view["accounts"]
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN + 1 else ""
    lines = [f"accounts     {len(names)}: {', '.join(names[:NAMES_SHOWN] if more else names)}{more}"]
    if view["kill_switch"]:
        lines.append(f"KILL SWITCH  on: {view['kill_switch']}")
    if view["quarantined"]:
        lines.append(f"QUARANTINE   {view['quarantined']}")
    plan = view["plan"]
    if plan:
        approved = ", ".join(plan["approved_by"]) or "nobody yet"
        start, end = (both_times(datetime.fromisoformat(plan[k]), view["time_zone"]) for k in ("start", "end"))
        lines += [
            f"last plan    {plan['digest'][:12]} for {plan['incident']}",
            f"outage       {start} to {end}",
            f"plan         {plan['items']} items, {plan['recipients']:,} recipients; approved by {approved}",
        ]
    lines += [
        f"items        {view['held']} held, {view['open']} open, {view['unsettled_actions']} actions unsettled",
        *desk_lines(view["desk"]),
        f"next         {view['next']}",
    ]
    return lines


async def held_view(settings: Settings) -> View:
    """`allclear.hold/1`."""
    async with await open_for_reading(settings) as ledger:
        rows = await ledger.items(outcome=ItemOutcome.HELD)
        items = [item_view(r, await ledger.actions(r.slot_key)) for r in rows]
        return {"schema": "allclear.hold/1", "items": items, "exit_code": 3 if items else 0}


def held_lines(view: View) -> list[str]:
    """The view for people: each question once, with the items that it is asked about."""
    if not view["items"]:
        return ["Nothing is held."]
    asked: dict[tuple[str, str, str], list[View]] = {}
    for item in view["items"]:
        question = item["question"] or {"text": item["reason"], "recommended": "wait", "choices": []}
        key = (question["text"], ", ".join(question["choices"]), question["recommended"])
        asked.setdefault(key, []).append(item)
    lines: list[str] = []
    for (text, choices, recommended), items in asked.items():
        lines += [text, f"  answers: {choices} (recommended: {recommended})"]
        for item in items:
            lines += [f"  {item['name']}: {item['verdict']}, {item['remedy']}", f"    {item['key']}"]
        lines.append("")
    lines.append('Answer one: allclear answer "KEY" CHOICE --by "YOUR NAME" --reason "WHY"')
    return lines
