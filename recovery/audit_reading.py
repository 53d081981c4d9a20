"""What the readers of one account share: the window, the account, and how a listing that cannot be read is reported."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from recovery.errors import RemoteError, Unavailable
from recovery.model import Evidence, ItemOutcome, Kind, OutageWindow, Slot, System
from recovery.policy import Policy
from recovery.ports import Account, Clock
from recovery.testify import ACTIVITY_LOG, CAMPAIGN_STATUS, unreadable

LOOK_BACK = timedelta(hours=6)
GENERATIONS_KNOWN = 4
"""How many deliberate repeats of one slot are still recognised by their markers when the ledger is lost."""
QUESTIONS_LOST = 3
"""So many questions in a row without an answer, and a remote is given up for this audit."""
EVERYTHING = "-"
"""The object of a finding about a whole listing that could not be read."""


class Remembers(Protocol):
    """What the audit asks of the ledger: how items ended, and which campaigns we stopped ourselves."""

    async def outcome_of(self, slot_key: str) -> ItemOutcome | None:
        """How we ended this slot before, or None."""
        ...

    async def stopped_by_us(self, slot_key: str) -> bool:
        """Whether our own stop of the original is on record."""
        ...


@dataclass(frozen=True, slots=True)
class NotDue:
    """Something that looks scheduled in the window but was not due, and why."""

    account: str
    kind: str
    object_ref: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """What one reader brings: evidence for each slot, what was not due, and what could not be read."""

    evidence: tuple[Evidence, ...] = ()
    not_due: tuple[NotDue, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class Patience:
    """Gives a remote up for this audit after several questions in a row without any answer.

    A remote that hangs takes minutes for each question; asking hundreds more would keep every other account waiting.
    """

    left: int = QUESTIONS_LOST
    spent: str = ""

    def lost(self, error: RemoteError) -> None:
        """A question came to nothing; only silence counts, a refusal is an answer."""
        if not isinstance(error, Unavailable):
            return
        self.left -= 1
        if self.left <= 0 and not self.spent:
            self.spent = f"not asked, because several questions in a row were not answered: {error}"

    def answered(self) -> None:
        """It lives."""
        self.left = QUESTIONS_LOST


@dataclass(frozen=True, slots=True)
class Reader:
    """One account within one window. It has a `Patience` with each system that it asks often, by name."""

    window: OutageWindow
    account: Account
    policy: Policy
    secret: bytes = field(repr=False)
    clock: Clock
    memory: Remembers
    patience: defaultdict[str, Patience] = field(default_factory=lambda: defaultdict(Patience))

    def given_up(self, *names: str) -> str:
        """Why a question to these is not asked any more, or ""."""
        return next((spent for name in names if (spent := self.patience[name].spent)), "")

    def all_unreadable(self, system: System, kind: Kind, reason: str) -> Evidence:
        """A whole listing that could not be read, as one uncertain slot: what it would have shown is not known."""
        slot = Slot(
            self.account.name,
            system.value,
            kind.value,
            EVERYTHING,
            self.window.started_at,
            f"everything {system.value} could not show",
            self.account.time_zone,
        )
        witness = CAMPAIGN_STATUS if system is System.PRO2 else ACTIVITY_LOG
        return Evidence(slot, (unreadable(witness, self.clock.now(), reason),))
