"""The SQL record of plans, approvals, actions, attempts and evidence: the only authority on what was done.

Guarantees (design.md, invariants 2 to 4; reliability.md section 2):

* What a method returned is on disk: one writer thread commits everything that has queued up in one transaction
  (SQLite WAL with synchronous=FULL, or PostgreSQL with synchronous_commit=on) and only then answers.
* The *database* refuses a second attempt of an action unless the first is proven not applied, a second release of one
  slot and generation, an illegal move, "confirmed" without evidence, "held" without a question and "skipped" without a
  reason. Terminal states (confirmed, skipped, cancelled) are never left.
* Moves: planned -> claimed -> in_flight -> applied -> confirmed, with rejected, unknown, held beside; see
  `recovery.ledger_schema.LEGAL_MOVES`.
* Every call raises `LedgerUnavailable` when nothing can be recorded: then no write may leave.

Cancelling a call does not undo it: the unit may still be committed. A cancelled `intend` leaves an open attempt, which
is settled like any other: by reading the remote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from recovery.ledger_rows import ActionRow, ActionSpec, Caps, HistoryRow, ItemRow, StreamEvent
from recovery.model import (
    Answer,
    Approval,
    Exchange,
    ItemOutcome,
    OpenAttempt,
    Plan,
    Question,
    WriteResult,
)

__all__ = ["ActionRow", "ActionSpec", "Caps", "HistoryRow", "ItemRow", "Ledger", "StreamEvent"]


class Ledger:
    """One open ledger of one process. Safe for any number of tasks of the event loop that opened it.

    `owner` is "<host>:<pid>:<random>", `quarantined` tells whether the database may have lost commits (then `intend`
    refuses until `release_quarantine`); `quarantine_reason` says why and `missing_intents` names "key#n" of intents
    that are in `intents.log` and whose action the database does not know.
    """

    owner: str
    quarantined: bool
    quarantine_reason: str
    missing_intents: tuple[str, ...]

    @classmethod
    async def open(cls, url: str, state_dir: Path, *, kill_file: Path | None = None, read_only: bool = False) -> Ledger:
        """Open (and create or migrate, unless `read_only`) the ledger at "sqlite:///path" or "postgresql://...".

        Raises ConfigError (URL), LedgerTooNew, LedgerUnavailable. Folders are created with mode 0700.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Commit what is queued, stop the writer and give up this owner's lock. Safe to call twice."""
        raise NotImplementedError

    async def flush(self) -> None:
        """Return when everything queued before this call is committed."""
        raise NotImplementedError

    # ---- plans, approvals, items ------------------------------------------------------------------------------------

    async def save_plan(self, plan: Plan) -> None:
        """Record the plan under its digest; saving it again changes nothing."""
        raise NotImplementedError

    async def plan(self, digest_prefix: str) -> Plan | None:
        """The plan whose digest starts so (at least 6 hex digits); UsageError when shorter or ambiguous."""
        raise NotImplementedError

    async def latest_plan(self, incident: str | None = None) -> Plan | None:
        """The plan made last (of the incident)."""
        raise NotImplementedError

    async def approve(self, approval: Approval) -> None:
        """Record a named person's consent.

        RefusedError: plan unknown, empty or expired; nobody named; an item not of the plan; a caveat not acknowledged;
        `recipients` is not what the approved H3 items reach.
        """
        raise NotImplementedError

    async def approvals(self, digest: str) -> tuple[Approval, ...]:
        """The plan's approvals, oldest first."""
        raise NotImplementedError

    async def open_items(self, plan: Plan) -> None:
        """Make the plan's items known. Confirmed ones are left; others are re-attached to this plan and open again."""
        raise NotImplementedError

    async def item(self, slot_key: str) -> ItemRow | None:
        """One item."""
        raise NotImplementedError

    async def items(
        self, *, plan: str | None = None, incident: str | None = None, outcome: ItemOutcome | None = None
    ) -> tuple[ItemRow, ...]:
        """Items by plan digest (every item that plan names), incident or outcome, in due order."""
        raise NotImplementedError

    async def finish_item(
        self, slot_key: str, outcome: ItemOutcome, reason: str, question: Question | None = None
    ) -> None:
        """End an item. LedgerConflict when it is confirmed already or a constraint forbids it."""
        raise NotImplementedError

    async def answer(self, answer: Answer) -> None:
        """Record a person's answer; RefusedError when the item is not held or the choice was not offered."""
        raise NotImplementedError

    async def answers(self, slot_key: str) -> tuple[Answer, ...]:
        """Answers given so far, oldest first."""
        raise NotImplementedError

    async def raise_generation(self, slot_key: str, by: str, reason: str) -> int:
        """A named person's "repeat on purpose": the new generation.

        Planned, rejected and held actions of older generations are cancelled; RefusedError while one is claimed, in
        flight, unknown or applied, or when nobody or no reason is named.
        """
        raise NotImplementedError

    # ---- actions ----------------------------------------------------------------------------------------------------

    async def ensure(self, specs: Sequence[ActionSpec]) -> None:
        """Make the actions known (planned) unless they are. LedgerConflict for a second release of one slot."""
        raise NotImplementedError

    async def action(self, key: str) -> ActionRow | None:
        """One action."""
        raise NotImplementedError

    async def actions(self, slot_key: str) -> tuple[ActionRow, ...]:
        """All actions of a slot, in the order they were made known."""
        raise NotImplementedError

    async def claim(self, key: str, lease_seconds: float) -> ActionRow | None:
        """planned -> claimed, or None when someone else has it or it is not claimable."""
        raise NotImplementedError

    async def unclaim(self, row: ActionRow, note: str) -> ActionRow:
        """claimed -> planned, by the claimer."""
        raise NotImplementedError

    async def intend(
        self,
        row: ActionRow,
        request: str,
        *,
        send_within_seconds: float,
        deadline_seconds: float,
        caps: Caps | None = None,
    ) -> OpenAttempt:
        """claimed -> in_flight: commit and fsync the intent (database and intents.log) before any byte leaves.

        RefusedError: kill switch, quarantine, a cap. LedgerConflict: the claim is no longer ours, an earlier attempt
        is not proven not-applied, or another H3 release of the account is in flight or applied and not confirmed.
        After either, the action is where it was (claimed).
        """
        raise NotImplementedError

    async def settle(self, attempt: OpenAttempt, result: WriteResult) -> ActionRow:
        """in_flight -> applied, rejected, unknown, or planned for NOT_APPLIED. LedgerConflict if taken over."""
        raise NotImplementedError

    async def confirm(self, key: str, evidence_digest: str, note: str, ref: str = "") -> ActionRow:
        """applied or unknown -> confirmed, by the evidence that shows the effect."""
        raise NotImplementedError

    async def doubt(self, key: str, note: str) -> ActionRow:
        """applied -> unknown: the remote said yes and reading back does not show it."""
        raise NotImplementedError

    async def adopt(self, key: str, ref: str, note: str, evidence_digest: str = "") -> ActionRow:
        """planned, claimed (by us), unknown, rejected or held -> applied: our effect was found at the remote.

        An action that is applied or confirmed already is returned as it is.
        """
        raise NotImplementedError

    async def absent(self, key: str, note: str, evidence_digest: str = "", by: str = "") -> ActionRow:
        """unknown -> planned, its attempt closed as not applied: the effect is proven absent.

        RefusedError at the third attempt, and when the process that sent it may still be alive: its attempt was taken
        over and its owner is not proven dead, unless the person `by` vouches for it.
        """
        raise NotImplementedError

    async def retry_rejected(self, key: str, note: str, *, proven_not_applied: bool) -> ActionRow:
        """rejected -> planned, when the caller states that the refusal had no effect; RefusedError otherwise."""
        raise NotImplementedError

    async def hold(self, key: str, question: Question) -> None:
        """planned, claimed (by us), unknown, rejected or applied -> held with a question."""
        raise NotImplementedError

    async def skip(self, key: str, reason: str) -> None:
        """planned, claimed (by us), rejected or held -> skipped with a reason."""
        raise NotImplementedError

    async def cancel(self, key: str, by: str, reason: str) -> None:
        """planned, rejected or held -> cancelled by a named person."""
        raise NotImplementedError

    async def release_hold(self, key: str, by: str, reason: str) -> ActionRow:
        """held -> unknown when an attempt is not proven not-applied, else planned; by a named person."""
        raise NotImplementedError

    async def take_over(self, key: str) -> ActionRow:
        """Take a stuck action from its owner: claimed -> planned, in_flight -> unknown; else unchanged.

        Done when the owner is dead, or the lease is over and (in flight) the deadline has passed.
        """
        raise NotImplementedError

    async def stale_actions(self) -> tuple[ActionRow, ...]:
        """Actions somebody must look at: claimed, in flight, unknown or applied, with the owner dead or the lease over."""
        raise NotImplementedError

    # ---- objects at the remotes, history, evidence ------------------------------------------------------------------

    async def elect(self, slot_key: str, generation: int, ref: str, action_key: str, system: str, account: str) -> str:
        """The one draft of this slot and generation that may be sent; the first election wins and is returned."""
        raise NotImplementedError

    async def elected(self, slot_key: str, generation: int) -> str:
        """The elected draft, or ""."""
        raise NotImplementedError

    async def note_object(self, system: str, account: str, ref: str, slot_key: str, action_key: str, role: str) -> None:
        """Remember an object at a remote as "orphan", "witness" or "original" of a slot; noting it again is harmless."""
        raise NotImplementedError

    async def history(self, slot_key: str) -> tuple[HistoryRow, ...]:
        """Everything that happened to the slot's actions, in order."""
        raise NotImplementedError

    async def keep(self, exchange: Exchange) -> None:
        """Store a redacted exchange under its digest. Returns before the commit; `flush` and `close` wait for it."""
        raise NotImplementedError

    async def evidence(self, digest: str) -> Exchange | None:
        """The exchange stored under this digest."""
        raise NotImplementedError

    # ---- streams ----------------------------------------------------------------------------------------------------

    async def append(
        self,
        stream: str,
        kind: str,
        by: str,
        at: datetime,
        data: Mapping[str, object],
        expected_seq: int | None = None,
    ) -> int:
        """Add one event; its `seq`. LedgerConflict when `expected_seq` is given and is not the stream's last."""
        raise NotImplementedError

    async def stream(self, name: str) -> tuple[StreamEvent, ...]:
        """The stream's events in order."""
        raise NotImplementedError

    async def streams(self, prefix: str) -> tuple[str, ...]:
        """Names of streams that start so, sorted."""
        raise NotImplementedError

    # ---- safety -----------------------------------------------------------------------------------------------------

    async def killed(self) -> str:
        """Why nothing may leave (kill row or kill file), or ""."""
        raise NotImplementedError

    async def set_kill(self, by: str, reason: str) -> None:
        """Turn the kill switch on: no attempt opens after this returns."""
        raise NotImplementedError

    async def clear_kill(self, by: str) -> None:
        """Turn the kill switch row off (a kill file stays until it is removed)."""
        raise NotImplementedError

    async def release_quarantine(self, by: str) -> None:
        """A named person (or the reconciler) has settled every unknown action: writes may leave again."""
        raise NotImplementedError

    def owner_is_dead(self, owner: str) -> bool:
        """True only when the owner ran on this host and the kernel has freed its lock; else it may be alive."""
        raise NotImplementedError

    async def verify(self) -> tuple[str, ...]:
        """Every broken hash chain and contradiction found; empty when the record is whole."""
        raise NotImplementedError

    async def counts(self) -> dict[str, int]:
        """How many plans, and items and actions in each state ("items_open", "actions_held", ...)."""
        raise NotImplementedError
