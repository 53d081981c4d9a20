"""Where things stand, from the ledger alone: status, held items, the life of one item. Asks no remote."""

from __future__ import annotations

from typing import Any

from recovery.answers import find_item
from recovery.model import ItemOutcome, iso
from recovery.settings import Settings
from recovery.terminal import clean
from recovery.views import item_view
from recovery.wiring import kill_switch, open_ledger

View = dict[str, Any]


async def standing_view(settings: Settings) -> View:
    """`allclear.status/1`."""
    ledger = await open_ledger(settings)
    try:
        plan = await ledger.latest_plan()
        held = await ledger.items(outcome=ItemOutcome.HELD)
        open_items = await ledger.items(outcome=ItemOutcome.OPEN)
        stale = await ledger.stale_actions()
        killed = kill_switch(settings)() or await ledger.killed()
        return {
            "schema": "allclear.status/1",
            "accounts": [a.name for a in settings.accounts],
            "kill_switch": killed,
            "quarantined": ledger.quarantine_reason if ledger.quarantined else "",
            "plan": {
                "digest": plan.digest,
                "incident": plan.window.incident_ref,
                "start": iso(plan.window.started_at),
                "end": iso(plan.window.ended_at),
                "items": len(plan.items),
                "recipients": plan.reach,
                "expires_at": iso(plan.expires_at),
                "approved_by": sorted({a.by for a in await ledger.approvals(plan.digest)}),
            }
            if plan
            else None,
            "counts": await ledger.counts(),
            "held": len(held),
            "open": len(open_items),
            "unsettled_actions": len(stale),
            "next": _next(bool(killed), plan is not None, len(held), len(open_items)),
            "exit_code": 3 if held or open_items else 0,
        }
    finally:
        await ledger.close()


def _next(killed: bool, planned: bool, held: int, still_open: int) -> str:
    if killed:
        return 'The kill switch is on. `allclear kill --clear --by "YOUR NAME"` when it is safe.'
    if still_open:
        return "`allclear recover --plan DIGEST` goes on where the last run stopped."
    if held:
        return "`allclear hold` shows what waits for a person."
    return "Nothing waits." if planned else "`allclear audit --last 6h` looks for misses."


def standing_lines(view: View) -> list[str]:
    """The view for people."""
    lines = [f"accounts     {', '.join(view['accounts'])}"]
    if view["kill_switch"]:
        lines.append(f"KILL SWITCH  on: {view['kill_switch']}")
    if view["quarantined"]:
        lines.append(f"QUARANTINE   {view['quarantined']}")
    plan = view["plan"]
    if plan:
        approved = ", ".join(plan["approved_by"]) or "nobody yet"
        lines += [
            f"last plan    {plan['digest'][:12]} for {plan['incident']} ({plan['start']} to {plan['end']})",
            f"             {plan['items']} items, {plan['recipients']} recipients; approved by {approved}",
        ]
    lines.append(
        f"items        {view['held']} held, {view['open']} open, {view['unsettled_actions']} actions unsettled"
    )
    lines.append(f"next         {view['next']}")
    return [clean(line) for line in lines]


async def held_view(settings: Settings) -> View:
    """`allclear.hold/1`."""
    ledger = await open_ledger(settings)
    try:
        rows = await ledger.items(outcome=ItemOutcome.HELD)
        items = [item_view(r, await ledger.actions(r.slot_key)) for r in rows]
        return {"schema": "allclear.hold/1", "items": items, "exit_code": 3 if items else 0}
    finally:
        await ledger.close()


def held_lines(view: View) -> list[str]:
    """The view for people: one question after the other."""
    if not view["items"]:
        return ["Nothing is held."]
    lines: list[str] = []
    for item in view["items"]:
        question = item["question"] or {"text": item["reason"], "recommended": "wait", "choices": []}
        lines += [
            f"{item['key']}",
            f"  {item['name']}: {item['verdict']}, {item['remedy']}",
            f"  {question['text']}",
            f"  answers: {', '.join(question['choices'])} (recommended: {question['recommended']})",
            "",
        ]
    lines.append('Answer one: allclear answer "KEY" CHOICE --by "YOUR NAME" --reason "WHY"')
    return [clean(line) for line in lines]


async def explain_view(settings: Settings, name: str) -> View:
    """`allclear.explain/1`: every move and attempt of one item, with the stored replies."""
    ledger = await open_ledger(settings)
    try:
        row = await find_item(ledger, name)
        actions = await ledger.actions(row.slot_key)
        replies = []
        for action in actions:
            kept = await ledger.evidence(action.evidence_digest) if action.evidence_digest else None
            if kept is not None:
                replies.append(
                    {"request": kept.request, "status": kept.status, "at": iso(kept.at), "body": kept.body[:2000]}
                )
        return {
            "schema": "allclear.explain/1",
            "item": item_view(row, actions),
            "answers": [
                {"by": a.by, "at": iso(a.at), "choice": a.choice, "reason": a.reason}
                for a in await ledger.answers(row.slot_key)
            ],
            "history": [
                {
                    "at": iso(h.at),
                    "what": h.what,
                    "action": h.kind.value,
                    "from": h.from_state,
                    "to": h.to_state,
                    "by": h.actor,
                    "detail": h.detail,
                }
                for h in await ledger.history(row.slot_key)
            ],
            "replies": replies,
            "exit_code": 0,
        }
    finally:
        await ledger.close()


def explain_lines(view: View) -> list[str]:
    """The view for people."""
    item = view["item"]
    lines = [
        item["key"],
        f"  {item['name']}",
        f"  verdict {item['verdict']}, remedy {item['remedy']}, outcome {item['outcome']}: {item['reason']}",
    ]
    if item["question"]:
        lines.append(f"  question: {item['question']['text']}")
    lines += [f"  answered {a['at']} by {a['by']}: {a['choice']} ({a['reason']})" for a in view["answers"]]
    for h in view["history"]:
        move = f"{h['from']} -> {h['to']}" if h["to"] else h["what"]
        lines.append(f"  {h['at']}  {h['action']:<14} {move}  {h['detail']}")
    lines += [f"  {r['at']}  {r['request']} -> {r['status']}" for r in view["replies"]]
    return [clean(line) for line in lines]
