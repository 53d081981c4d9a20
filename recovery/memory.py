"""What an audit may remember: our own ledger, or nothing at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recovery.model import ActionKind, ActionState, ItemOutcome

if TYPE_CHECKING:
    from recovery.ledger.ledger import Ledger


class LedgerMemory:
    """Answers from the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def outcome_of(self, slot_key: str) -> ItemOutcome | None:
        """How the slot's item ended."""
        row = await self._ledger.item(slot_key)
        return row.outcome if row else None

    async def stopped_by_us(self, slot_key: str) -> bool:
        """Whether a stop of ours took effect."""
        done = (ActionState.APPLIED, ActionState.CONFIRMED, ActionState.UNKNOWN)
        return any(a.kind is ActionKind.STOP and a.state in done for a in await self._ledger.actions(slot_key))


class NoMemory:
    """Remembers nothing: what the remotes show must be enough. The closing balance is taken with this."""

    async def outcome_of(self, _slot_key: str) -> ItemOutcome | None:
        """Nothing."""
        return None

    async def stopped_by_us(self, _slot_key: str) -> bool:
        """Nothing; a marker in the original's name still tells."""
        return False
