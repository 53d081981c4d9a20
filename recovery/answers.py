"""A named person's answer to a held item: recorded, and carried to the action that waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recovery.act import IT_DID_NOT, IT_HAPPENED, attest
from recovery.errors import RefusedError, UsageError
from recovery.gate import SEND_AGAIN
from recovery.ledger.rows import ActionRow, ItemRow
from recovery.model import ActionState, Answer, ItemOutcome
from recovery.ports import Clock

if TYPE_CHECKING:
    from recovery.ledger.ledger import Ledger


DROP = "drop"
KEYS_SHOWN = 6
DROPPED_WITH_ITS_ITEM = frozenset({ActionState.PLANNED, ActionState.REJECTED, ActionState.HELD})


def dropped_by(answer: Answer) -> str:
    """The reason of an item that a named person gave up."""
    return f"dropped by {answer.by}: {answer.reason}"


async def find_item(ledger: Ledger, name: str) -> ItemRow:
    """An item by its key, or by an object id that names exactly one."""
    row = await ledger.item(name)
    if row is not None:
        return row
    found = await ledger.items(object_ref=name)
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{name!r} names {len(found)} items.", f"Give the key of one of them: {_keys(found)}.")
    waiting = await ledger.items(outcome=ItemOutcome.HELD)
    like = [r for r in waiting if name.strip() and (name in r.slot_key or name.lower() in r.name.lower())] or waiting
    raise UsageError(
        f"{name!r} names no item.",
        f"What is held: {_keys(like)}." if like else "Items are known once a run has taken them up; nothing is held.",
    )


def _keys(rows: Sequence[ItemRow]) -> str:
    more = f" and {len(rows) - KEYS_SHOWN} more" if len(rows) > KEYS_SHOWN else ""
    return ", ".join(f'"{r.slot_key}"' for r in rows[:KEYS_SHOWN]) + more


async def give(ledger: Ledger, clock: Clock, name: str, choice: str, by: str, reason: str) -> str:
    """Records the answer and moves what waits for it; says what follows. Raises RefusedError, UsageError."""
    if not by.strip() or not reason.strip():
        raise RefusedError("An answer needs a name and a reason.", "Give --by and --reason.")
    row = await find_item(ledger, name)
    given = Answer(row.slot_key, by.strip(), clock.now(), choice, reason.strip())
    await ledger.answer(given)
    actions = await ledger.actions(row.slot_key)
    waiting = [a for a in actions if a.state is ActionState.HELD]
    if choice == DROP:
        for action in actions:
            if action.state in DROPPED_WITH_ITS_ITEM:
                await ledger.skip(action.key, dropped_by(given))
        await ledger.finish_item(row.slot_key, ItemOutcome.SKIPPED, dropped_by(given))
        return "The item ends here."
    if choice == SEND_AGAIN:
        await ledger.raise_generation(row.slot_key, by.strip(), reason.strip())
        return "The next plan of this outage sends it with a new copy: `allclear plan`, then approve that plan."
    if choice == IT_HAPPENED:
        return await _happened(ledger, clock, row, waiting, by, reason)
    if choice == IT_DID_NOT:
        for action in waiting:
            freed = await ledger.release_hold(action.key, by, reason)
            if freed.state is ActionState.UNKNOWN:
                await ledger.absent(action.key, f"stated by {by}: {reason}", by=by)
        return "The next `allclear recover` may try it again."
    return "It stays held." if choice == "wait" else "The next `allclear recover` acts on it."


async def _happened(ledger: Ledger, clock: Clock, row: ItemRow, waiting: list[ActionRow], by: str, reason: str) -> str:
    digest = await attest(ledger, clock, row.slot_key, by, reason)
    await ledger.flush()
    for action in waiting:
        await ledger.release_hold(action.key, by, reason)
        await ledger.adopt(action.key, action.result_ref or action.elected_ref, f"stated by {by}: {reason}", digest)
        await ledger.confirm(action.key, digest, f"stated by {by}: {reason}")
    if waiting:
        return "The next `allclear recover` goes on from there."
    await ledger.finish_item(row.slot_key, ItemOutcome.CONFIRMED, f"stated by {by}: {reason}")
    return "The item ends here, by your word."
