"""The SQL record of plans, approvals, actions, attempts and evidence: the only authority on what was done.

Guarantees (design.md, invariants 2 to 4; reliability.md section 2):

* What a method returned is on disk: one writer thread commits everything that has queued up in one transaction
  (SQLite WAL with synchronous=FULL, or PostgreSQL with synchronous_commit=on) and only then answers. `ensure`, `settle`
  and `confirm` only record what is so already: they answer just before that commit, and every later call is committed
  with them or after them. So the outcome of one effect travels with the intent of the next.
* The *database* refuses a second attempt of an action unless the first is proven not applied, a second release of one
  slot and generation, an illegal move, "confirmed" without evidence, "held" without a question and "skipped" without a
  reason. Terminal states (confirmed, skipped, cancelled) are never left.
* Moves: planned -> claimed -> in_flight -> applied -> confirmed, with rejected, unknown, held beside; see
  `recovery.ledger.schema.LEGAL_MOVES`.
* Every call raises `LedgerUnavailable` when nothing can be recorded: then no write may leave.

Cancelling a call does not undo it: the unit may still be committed. A cancelled `intend` leaves an open attempt, which
is settled like any other: by reading the remote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeVar

from recovery.errors import RefusedError
from recovery.ledger import actions, intents, opening, plans, records
from recovery.ledger.rows import ActionRow, ActionSpec, Caps, HistoryRow, ItemRow, StreamEvent
from recovery.ledger.session import Session
from recovery.ledger.work import Work
from recovery.model import (
    Answer,
    Approval,
    AttemptOutcome,
    Exchange,
    ItemOutcome,
    OpenAttempt,
    Plan,
    Question,
    WriteResult,
)

__all__ = ["ActionRow", "ActionSpec", "Caps", "HistoryRow", "ItemRow", "Ledger", "StreamEvent"]

T = TypeVar("T")
KEEP_AHEAD = 2000  # evidence waiting to be written before `keep` waits too
RECORDS_ONLY = (AttemptOutcome.APPLIED, AttemptOutcome.UNKNOWN)  # outcomes that free nobody to try again


class Ledger(Session):
    """One open ledger of one process; made by `open`. For any number of tasks of one event loop.

    Usable as `async with await Ledger.open(...) as ledger`, which closes it.
    """

    async def flush(self) -> None:
        """Return when everything queued before this call is committed."""
        await self._write(lambda _work: None)

    # ---- plans, approvals, items ------------------------------------------------------------------------------------

    async def save_plan(self, plan: Plan) -> None:
        """Record the plan under its digest; saving it again changes nothing."""
        await self._write(partial(plans.save_plan, made=plan))

    async def plan(self, digest_prefix: str) -> Plan | None:
        """The plan whose digest starts so (at least 6 hex digits); UsageError when shorter or ambiguous."""
        return await self._read(plans.find_plan, digest_prefix)

    async def latest_plan(self, incident: str | None = None, *, taken_up: bool = False) -> Plan | None:
        """The plan made last (of the incident), or the last one that a run has taken up."""
        return await self._read(plans.latest_plan, incident, taken_up)

    async def approve(self, approval: Approval) -> None:
        """Record a named person's consent.

        RefusedError: plan unknown, empty, expired or rejected; nobody named, or nobody who may approve; an item not of
        the plan; a caveat not acknowledged; `recipients` is not what the approved H3 items reach.
        """
        await self._write(partial(plans.approve, given=approval))

    async def reject(self, digest: str, by: str, at: datetime, reason: str) -> None:
        """Record a named person's no with its reason: from then on the plan neither starts nor takes approvals."""
        await self._write(partial(plans.reject, digest=digest, by=by, at=at, reason=reason))

    async def rejection(self, digest: str) -> str:
        """Who rejected the plan and why, or ""."""
        return await self._read(plans.rejection, digest)

    async def start(self, digest: str, by: str, at: datetime) -> None:
        """Record who starts a run of the plan. RefusedError when it was rejected or this person may not start one."""
        await self._write(partial(plans.start, digest=digest, by=by, at=at))

    async def approvals(self, digest: str) -> tuple[Approval, ...]:
        """The plan's approvals, oldest first."""
        return await self._read(plans.approvals, digest)

    async def open_items(self, plan: Plan) -> None:
        """Make the plan's items known. Confirmed ones are left; others are re-attached to this plan and open again."""
        await self._write(partial(plans.open_items, made=plan))

    async def item(self, slot_key: str) -> ItemRow | None:
        """One item."""
        found = await self._read(plans.find_items, slot_key)
        return found[0] if found else None

    async def items(
        self,
        *,
        plan: str | None = None,
        incident: str | None = None,
        outcome: ItemOutcome | None = None,
        object_ref: str | None = None,
        since: datetime | None = None,
    ) -> tuple[ItemRow, ...]:
        """Items by plan digest (every item that plan names), incident, outcome, object, last change; in due order."""
        return await self._read(plans.find_items, None, plan, incident, outcome, object_ref, since)

    async def finish_item(
        self, slot_key: str, outcome: ItemOutcome, reason: str, question: Question | None = None
    ) -> None:
        """End an item. LedgerConflict when it is confirmed already or a constraint forbids it."""
        await self._write(
            partial(plans.finish_item, slot_key=slot_key, outcome=outcome, reason=reason, question=question)
        )

    async def answer(self, answer: Answer) -> None:
        """Record a person's answer; RefusedError when the item is not held or the choice was not offered."""
        await self._write(partial(plans.give_answer, given=answer))

    async def answers(self, slot_key: str) -> tuple[Answer, ...]:
        """Answers given so far, oldest first."""
        return await self._read(plans.answers, slot_key)

    async def raise_generation(self, slot_key: str, by: str, reason: str) -> int:
        """A named person's "repeat on purpose": the new generation.

        Planned, rejected and held actions of older generations are cancelled; RefusedError while one is claimed, in
        flight, unknown or applied, or when nobody or no reason is named.
        """
        return await self._write(partial(plans.raise_generation, slot_key=slot_key, by=by, reason=reason))

    # ---- actions ----------------------------------------------------------------------------------------------------

    async def ensure(self, specs: Sequence[ActionSpec]) -> tuple[ActionRow, ...]:
        """Make the actions known (planned) unless they are; each as it is now, in the order asked for.

        LedgerConflict for a second release of one slot.
        """
        return await self._write(partial(actions.ensure, specs=specs), [spec.key for spec in specs], early=True)

    async def action(self, key: str) -> ActionRow | None:
        """One action."""
        found = await self._read(actions.find, actions.by_key(key))
        return found[0] if found else None

    async def actions(self, slot_key: str) -> tuple[ActionRow, ...]:
        """All actions of a slot, in the order they were made known."""
        return await self._read(actions.find, actions.by_slot(slot_key))

    async def claim(self, key: str, lease_seconds: float) -> ActionRow | None:
        """planned -> claimed, or None when someone else has it or it is not claimable."""
        return await self._write(partial(actions.claim, key=key, lease_seconds=lease_seconds), (key,))

    async def unclaim(self, row: ActionRow, note: str) -> ActionRow:
        """claimed -> planned, by the claimer."""
        return await self._write(partial(actions.unclaim, claimed=row, note=note), (row.key,))

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

        RefusedError: a cap, kill switch or quarantine (the last two do not forbid DISARM, which only takes back).
        LedgerConflict: the claim is no longer ours, an earlier attempt is not proven not-applied, or another H3
        release of the account is in flight or applied and not confirmed. The action stays where it was.
        """
        unit = partial(
            intents.intend,
            claimed=row,
            request=request,
            send_within=send_within_seconds,
            deadline_in=deadline_seconds,
            caps=caps,
        )
        return await self._opening(unit, row.key)

    async def begin(
        self,
        key: str,
        lease_seconds: float,
        request: str,
        *,
        send_within_seconds: float,
        deadline_seconds: float,
        caps: Caps | None = None,
    ) -> OpenAttempt | None:
        """`claim` and `intend` in one transaction: planned -> in_flight, or None unless the action is planned.

        Raises what `intend` raises; the action then stays planned, and there is nothing to give back.
        """
        unit = partial(
            intents.begin,
            key=key,
            lease_seconds=lease_seconds,
            request=request,
            send_within=send_within_seconds,
            deadline_in=deadline_seconds,
            caps=caps,
        )
        return await self._opening(unit, key)

    async def _opening(self, unit: Callable[[Work], T], key: str) -> T:
        try:
            return await self._write(unit, (key,))
        except RefusedError:
            self._quarantine = await self._read(opening.read_quarantine)
            raise

    async def settle(self, attempt: OpenAttempt, result: WriteResult) -> ActionRow:
        """in_flight -> applied, rejected, unknown, or planned for NOT_APPLIED. LedgerConflict if taken over."""
        unit = partial(intents.settle, opened=attempt, result=result)
        return await self._write(unit, (attempt.action_key,), early=result.outcome in RECORDS_ONLY)

    async def confirm(self, key: str, evidence_digest: str, note: str, ref: str = "") -> ActionRow:
        """applied or unknown -> confirmed, by the evidence that shows the effect."""
        unit = partial(actions.confirm, key=key, evidence_digest=evidence_digest, note=note, ref=ref)
        return await self._write(unit, (key,), early=True)

    async def doubt(self, key: str, note: str) -> ActionRow:
        """applied -> unknown: the remote said yes and reading back does not show it."""
        return await self._write(partial(actions.doubt, key=key, note=note), (key,))

    async def adopt(self, key: str, ref: str, note: str, evidence_digest: str = "") -> ActionRow:
        """planned, claimed (by us), unknown, rejected or held -> applied: our effect was found at the remote.

        An action that is applied or confirmed already is returned as it is.
        """
        unit = partial(actions.adopt, key=key, ref=ref, note=note, evidence_digest=evidence_digest)
        return await self._write(unit, (key,))

    async def absent(self, key: str, note: str, evidence_digest: str = "", by: str = "") -> ActionRow:
        """unknown -> planned, its attempt closed as not applied: the effect is proven absent.

        RefusedError at the third attempt, and when the process that sent it may still be alive: its attempt was taken
        over and its owner is not proven dead, unless the person `by` vouches for it.
        """
        unit = partial(actions.absent, key=key, note=note, evidence_digest=evidence_digest, by=by)
        return await self._write(unit, (key,))

    async def retry_rejected(self, key: str, note: str, *, proven_not_applied: bool) -> ActionRow:
        """rejected -> planned, when the caller states that the refusal had no effect; RefusedError otherwise."""
        unit = partial(actions.retry_rejected, key=key, note=note, proven=proven_not_applied)
        return await self._write(unit, (key,))

    async def hold(self, key: str, question: Question) -> None:
        """planned, claimed (by us), unknown, rejected or applied -> held with a question."""
        await self._write(partial(actions.hold, key=key, question=question), (key,))

    async def skip(self, key: str, reason: str) -> None:
        """planned, claimed (by us), rejected or held -> skipped with a reason."""
        await self._write(partial(actions.skip, key=key, reason=reason), (key,))

    async def cancel(self, key: str, by: str, reason: str) -> None:
        """planned, rejected or held -> cancelled by a named person."""
        await self._write(partial(actions.cancel, key=key, by=by, reason=reason), (key,))

    async def release_hold(self, key: str, by: str, reason: str) -> ActionRow:
        """held -> unknown when an attempt is not proven not-applied, else planned; by a named person."""
        return await self._write(partial(actions.release_hold, key=key, by=by, reason=reason), (key,))

    async def take_over(self, key: str) -> ActionRow:
        """Take a stuck action from its owner: claimed -> planned, in_flight -> unknown; else unchanged.

        Done when the owner is dead, or the lease is over and (in flight) the deadline has passed.
        """
        return await self._write(partial(actions.take_over, key=key), (key,))

    async def stale_actions(self) -> tuple[ActionRow, ...]:
        """Actions to look at: claimed, in flight, unknown or applied, with the owner dead or the lease over."""
        return await self._read(actions.stale, self._site)

    # ---- objects at the remotes, history, evidence ------------------------------------------------------------------

    async def elect(self, slot_key: str, generation: int, ref: str, action_key: str, system: str, account: str) -> str:
        """The one draft of this slot and generation that may be sent; the first election wins and is returned."""
        unit = partial(
            records.elect,
            slot_key=slot_key,
            generation=generation,
            ref=ref,
            action_key=action_key,
            system=system,
            account=account,
        )
        return await self._write(unit, (action_key,))

    async def elected(self, slot_key: str, generation: int) -> str:
        """The elected draft, or ""."""
        return await self._read(records.elected, slot_key, generation)

    async def note_object(self, system: str, account: str, ref: str, slot_key: str, action_key: str, role: str) -> None:
        """Remember an object as "orphan", "witness" or "original" of a slot; noting it again is harmless."""
        unit = partial(
            records.note_object,
            system=system,
            account=account,
            ref=ref,
            slot_key=slot_key,
            action_key=action_key,
            role=role,
        )
        await self._write(unit)

    async def history(self, slot_key: str) -> tuple[HistoryRow, ...]:
        """Everything that happened to the slot's actions, in order."""
        return await self._read(records.history, slot_key)

    async def keep(self, exchange: Exchange) -> None:
        """Store a redacted exchange; an equal reply to the same account of the same system is there already and stays.

        Returns before the commit; `flush` and `close` wait for it.
        """
        if self._writer_or_refuse().post(partial(records.keep, exchange=exchange)) > KEEP_AHEAD:
            await self.flush()

    async def evidence(self, digest: str, account: str = "") -> Exchange | None:
        """The exchange stored under this digest: that of the account if it has one, else any.

        Another's is all there is for what persons said, for reads that accounts share, and for what was stored when
        equal replies of all accounts were one record.
        """
        return await self._read(records.find_evidence, digest, account)

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
        unit = partial(records.append, stream=stream, kind=kind, by=by, at=at, data=data, expected_seq=expected_seq)
        return await self._write(unit)

    async def stream(self, name: str) -> tuple[StreamEvent, ...]:
        """The stream's events in order."""
        return await self._read(records.stream, name)

    async def streams(self, prefix: str, since: datetime | None = None) -> tuple[str, ...]:
        """Names of streams that start so, sorted; `since` leaves out those whose last event is older."""
        return await self._read(records.streams, prefix, since)

    # ---- safety -----------------------------------------------------------------------------------------------------

    async def killed(self) -> str:
        """Why nothing may leave (kill row or kill file), or ""."""
        return await self._read(records.kill_row) or self._site.kill_reason()

    async def set_kill(self, by: str, reason: str) -> None:
        """Turn the kill switch on: no attempt opens after this returns, but those that disarm."""
        await self._write(partial(records.set_kill, by=by, reason=reason))

    async def clear_kill(self, by: str) -> None:
        """Turn the kill switch row off (a kill file stays until it is removed)."""
        await self._write(partial(records.clear_kill, by=by))

    async def release_quarantine(self, by: str) -> None:
        """The unknown actions were settled by reading, says the person `by`: writes may leave again.

        The database is accepted as it is; intents logged before now are not counted as lost any more.
        """
        await self._write(partial(opening.release, by=by, state_dir=self._state_dir))
        self._quarantine = opening.Quarantine()

    def owner_is_dead(self, owner: str) -> bool:
        """True only when the owner ran on this host and the kernel has freed its lock; else it may be alive."""
        return self._site.is_dead(owner)

    async def verify(self) -> tuple[str, ...]:
        """Every broken hash chain and contradiction found; empty when the record is whole."""
        return await self._read(records.verify)

    async def unfinished(self) -> dict[str, int]:
        """How many plans, and items and actions in each state on the way ("items_held", "actions_claimed", ...).

        What has ended is not counted, so the time does not grow with the ledger.
        """
        return await self._read(records.unfinished)
