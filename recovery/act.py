"""Does each planned effect at most once: look, gate, claim, intent, effect, settle, confirm.

`Runner.perform` is the one road to a remote's state. It can be called again at any time by anyone for the same business
key: what is confirmed is returned, what is open is settled by *looking at the remote*, and a repeat happens only after
the effect is proven absent and the effect's nature allows it (design, invariants 3, 4, 6 and 8).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Literal, NoReturn, TypeAlias

from recovery.errors import LedgerConflict, RefusedError, RemoteError, sentence
from recovery.gate import Allow, Hold, Ruling, Skip
from recovery.ledger.rows import ActionRow, ActionSpec, Caps
from recovery.model import (
    ActionState,
    AttemptOutcome,
    Exchange,
    Harm,
    ItemOutcome,
    OpenAttempt,
    Question,
    WriteResult,
    digest_of,
)
from recovery.policy import Limits, Policy
from recovery.ports import Clock, Tell

if TYPE_CHECKING:
    from recovery.ledger.ledger import Ledger

MOST_ROUNDS = 40
MOST_REFUSED_IN_A_ROW = 3
OLDEST_CHECK_SECONDS = 30.0  # a process paused in or after its last check must check again (reliability.md, 3.2)
CLOCK_TOLERANCE_SECONDS = 60.0  # a copy is armed by the wall clock, so one that was set meanwhile is not trusted
NO_REST = "it did not come to rest"
IT_HAPPENED = "it happened"
IT_DID_NOT = "it did not happen"


@dataclass(frozen=True, slots=True)
class Look:
    """What reading the remote shows of an effect: seen (with the evidence), absent, or it cannot be told."""

    kind: Literal["seen", "absent", "cannot_tell"]
    ref: str = ""
    digest: str = ""
    note: str = ""


SEEN: Literal["seen"] = "seen"
ABSENT: Literal["absent"] = "absent"
CANNOT_TELL: Literal["cannot_tell"] = "cannot_tell"


@dataclass(frozen=True, slots=True)
class Ended(Exception):
    """How an item ended, carried to the runner from any depth of a recipe; not an error."""

    outcome: ItemOutcome
    reason: str
    question: Question | None = None


Send: TypeAlias = Callable[[OpenAttempt], Awaitable[WriteResult]]
LookAt: TypeAlias = Callable[[], Awaitable[Look]]
Check: TypeAlias = Callable[[], Awaitable[Ruling]]


async def _always() -> Ruling:
    return Allow()


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect on one remote, and how to see whether it happened.

    `look` reads the remote; `check` is the gate, run on fresh reads before each claim; `confirm` (default: `look` until
    seen) proves the effect after a positive reply. `repeatable` says that an effect proven absent may be tried again.
    """

    spec: ActionSpec
    request: str
    send: Send
    look: LookAt
    check: Check = _always
    confirm: LookAt | None = None
    repeatable: bool = False
    settle_seconds: float = 0.0
    confirm_seconds: float = 60.0
    look_first: bool = True


@dataclass(slots=True)
class Runner:
    """Performs effects for one run. `tripped` stops everything that reaches people for the rest of the run.

    Replies that are lost in a row stop what reaches people of the account whose remotes lost them, and of no other.
    """

    ledger: Ledger
    clock: Clock
    policy: Policy
    tell: Tell
    run_ref: str
    switched_off: Callable[[], str]
    tripped: str = ""
    unknowns_in_a_row: dict[str, int] = field(default_factory=dict)
    stopping: Callable[[], bool] = field(default=lambda: False)
    _doubted: set[str] = field(default_factory=set)
    _began: tuple[datetime, float] = field(init=False)

    def __post_init__(self) -> None:
        """Both clocks as the run begins."""
        self._began = self.clock.now(), self.clock.monotonic()

    async def perform(self, effect: Effect) -> str:
        """The id the effect produced, once it is proven. Raises Ended when it is held, skipped or refused."""
        (row,) = await self.ledger.ensure([effect.spec])
        known: ActionRow | None = row  # what the last ledger call told; None: read it again
        not_sent: list[str] = []
        for _ in range(MOST_ROUNDS):
            found = known or await self.ledger.action(effect.spec.key)
            known = None
            if found is None:  # the ledger was lost or set back under us; what is at the remote still counts
                await self.ledger.ensure([effect.spec])
                continue
            if found.state is ActionState.CONFIRMED:
                return found.result_ref
            try:
                if found.state is ActionState.PLANNED:
                    known = await self._try(effect, not_sent)
                    if len(not_sent) >= MOST_REFUSED_IN_A_ROW:
                        await self._hold(
                            effect, f"It could not be sent {len(not_sent)} times: {not_sent[-1].rstrip('.')}."
                        )
                else:
                    known = await self._MOVES[found.state](self, effect, found)
            except LedgerConflict:
                continue  # another runner moved it first: what it became is read, and nothing is assumed
        raise Ended(
            ItemOutcome.HELD,
            NO_REST,
            Question(f"{effect.request}: someone else keeps moving this action. Look at `allclear explain`.", "wait"),
        )

    # ---- a first (or proven-free) attempt

    async def _try(self, effect: Effect, not_sent: list[str]) -> ActionRow | None:
        """One attempt; what the action then is, if known. `not_sent` gets the reason when it provably had no effect."""
        if effect.look_first:
            seen = await self._look(effect)
            if seen.kind == SEEN:
                note = f"found at the remote: {seen.note}"
                return await self.ledger.adopt(effect.spec.key, seen.ref, note, seen.digest)
            if seen.kind == CANNOT_TELL and effect.spec.harm >= Harm.H2:
                # Nothing of ours is out there, so the action stays planned: one page that broke off costs one run.
                said = f"Whether it happened before cannot be read: {seen.note}"
                question = _what_is_true(effect, said, ("wait", "drop", IT_HAPPENED))
                raise Ended(ItemOutcome.HELD, question.text, question)
        checked = self.clock.monotonic()  # before the first read: a pause between two of them makes the earlier one old
        await self._gate(effect)
        attempt = await self._begin(effect)
        return None if attempt is None else await self._send(effect, attempt, checked, not_sent)

    async def _gate(self, effect: Effect) -> None:
        if self.stopping():
            raise Ended(ItemOutcome.OPEN, "stopped by the operator before the next step")
        off = self.switched_off()  # the ledger's own switch is looked at in the transaction that opens the attempt
        if off:
            raise Ended(ItemOutcome.HELD, f"kill switch: {off}", Question(f"The kill switch is on ({off}).", "wait"))
        tripped = self.tripped_for(effect.spec.account)
        if tripped and effect.spec.harm is Harm.H3:
            raise Ended(ItemOutcome.HELD, tripped, Question(f"Releases were stopped: {tripped}.", "wait"))
        moved = self._clock_moved(effect)
        if moved:
            raise Ended(ItemOutcome.HELD, moved, Question(f"{moved}. Set it right, then run again.", "wait"))
        ruling = await effect.check()
        if isinstance(ruling, Skip):
            await self.ledger.skip(effect.spec.key, ruling.reason)
            raise Ended(ItemOutcome.SKIPPED, ruling.reason)
        if isinstance(ruling, Hold):
            # What looks like a stranger's deed may be that of another run of ours, done while this one was reading.
            now = await self.ledger.action(effect.spec.key)
            if now is not None and now.state is not ActionState.PLANNED:
                raise LedgerConflict(f"another run moved {effect.spec.key} while it was checked")
            raise Ended(ItemOutcome.HELD, ruling.question.text, ruling.question)

    def _clock_moved(self, effect: Effect) -> str:
        """Why what reaches people may not leave now: this host's wall clock was set since the run began; or ""."""
        wall, monotonic = self._began
        moved = (self.clock.now() - wall).total_seconds() - (self.clock.monotonic() - monotonic)
        if effect.spec.harm is not Harm.H3 or abs(moved) <= CLOCK_TOLERANCE_SECONDS:
            return ""
        return f"this host's clock was set by {moved:+.0f} s since the run began"

    async def _begin(self, effect: Effect) -> OpenAttempt | None:
        """The durable intent; None, after a pause, when another run or another release of the account is in the way."""
        waits = self.policy.waits
        try:
            attempt = await self.ledger.begin(
                effect.spec.key,
                waits.lease,
                effect.request,
                send_within_seconds=waits.send_within,
                deadline_seconds=waits.write_deadline,
                caps=self._caps(effect),
            )
        except LedgerConflict:
            await self.clock.sleep(waits.poll)
            return None
        except RefusedError as refusal:
            raise Ended(ItemOutcome.HELD, str(refusal), Question(f"{refusal} {refusal.hint}".strip(), "wait")) from None
        if attempt is None:
            await self.clock.sleep(min(waits.poll, 1.0))
        return attempt

    async def _send(self, effect: Effect, attempt: OpenAttempt, checked: float, not_sent: list[str]) -> ActionRow:
        # Read again at the last instruction: a switch thrown while the intent was written must still win.
        off = self.switched_off()
        if off:
            result = WriteResult(AttemptOutcome.NOT_APPLIED, detail=f"not sent: kill switch ({off})")
        elif self.clock.monotonic() - checked > OLDEST_CHECK_SECONDS:
            result = WriteResult(AttemptOutcome.NOT_APPLIED, detail="not sent: the last check is too old")
        elif moved := self._clock_moved(effect):
            result = WriteResult(AttemptOutcome.NOT_APPLIED, detail=f"not sent: {moved}")
        else:
            result = await effect.send(attempt)
        row = await self.ledger.settle(attempt, result)
        self.tell("sent", {"request": effect.request, "outcome": result.outcome, "slot": effect.spec.slot_key})
        await self._after(effect, result)
        if result.outcome is AttemptOutcome.NOT_APPLIED:
            not_sent.append(result.detail)
        return row

    async def _after(self, effect: Effect, result: WriteResult) -> None:
        account = effect.spec.account
        if result.outcome is AttemptOutcome.UNKNOWN:
            self.unknowns_in_a_row[account] = self.unknowns_in_a_row.get(account, 0) + 1
        elif not self.tripped_for(account):
            self.unknowns_in_a_row[account] = 0
        if result.auth_failed:
            await self._hold(effect, f"The remote refused our credentials: {result.detail.rstrip('.')}.")
        if result.outcome is AttemptOutcome.NOT_APPLIED and result.retry_after_seconds:
            await self.clock.sleep(result.retry_after_seconds)

    def tripped_for(self, account: str) -> str:
        """Why nothing that reaches people of this account may leave any more in this run; or ""."""
        lost = self.unknowns_in_a_row.get(account, 0) >= self.policy.limits.max_unknowns_in_a_row
        return self.tripped or (
            f"several replies in a row were lost, so the remotes of {account} are not well" if lost else ""
        )

    def _caps(self, effect: Effect) -> Caps | None:
        return caps_of(self.policy.limits, self.run_ref) if effect.spec.harm is Harm.H3 else None

    # ---- what an earlier attempt left behind

    async def _wait_for_other(self, effect: Effect, row: ActionRow) -> ActionRow | None:
        taken = await self.ledger.take_over(row.key)
        if taken.state is not row.state:
            return taken
        self.tell("waiting", {"request": effect.request, "for": row.owner, "slot": effect.spec.slot_key})
        await self.clock.sleep(self.policy.waits.poll)
        return None

    async def _confirm(self, effect: Effect, row: ActionRow) -> ActionRow:
        look = await (effect.confirm() if effect.confirm else self._until_seen(effect))
        if look.kind == SEEN:
            return await self.ledger.confirm(
                row.key, look.digest or digest_of(look.note), look.note, look.ref or row.result_ref
            )
        self._doubted.add(row.key)
        return await self.ledger.doubt(row.key, f"The remote said yes, but reading back does not show it: {look.note}")

    async def _until_seen(self, effect: Effect) -> Look:
        give_up = self.clock.monotonic() + effect.confirm_seconds
        while True:
            look = await self._look(effect)
            left = give_up - self.clock.monotonic()
            if look.kind == SEEN or left <= 0:
                return look
            await self.clock.sleep(min(self.policy.waits.poll, left))

    async def _settle_unknown(self, effect: Effect, row: ActionRow) -> ActionRow | None:
        """Only reading settles it; "absent" needs the whole settle time and three looks (reliability.md, 2.7)."""
        look = Look(CANNOT_TELL, note="not looked at yet")
        for n in range(3):
            look = await self._look(effect)
            if look.kind == SEEN:
                if self._in_vain(effect):
                    await self._hold(effect, f"{row.note}; at the remote: {look.note}.", unknown=True)
                return await self.ledger.adopt(row.key, look.ref, look.note, look.digest)
            if n < 2:
                self.tell("settling", {"request": effect.request, "slot": effect.spec.slot_key, "look": n + 1})
                await self.clock.sleep(effect.settle_seconds / 2)
        if look.kind == ABSENT and effect.repeatable:
            try:
                return await self.ledger.absent(row.key, f"proven absent: {look.note}", look.digest)
            except RefusedError as refusal:
                await self._hold(effect, f"{refusal}", unknown=True)
        seen = "is not to be seen" if look.kind == ABSENT else "cannot be seen"
        why = row.note or "The reply was lost"
        return await self._hold(effect, f"{why}; the effect {seen} at the remote: {look.note}.", unknown=True)

    def _in_vain(self, effect: Effect) -> bool:
        """Whether this run has waited for the proof already and it did not come, although the effect is to be seen.

        A copy that is armed and does not leave would else be waited for again and again. What harms nobody may be.
        """
        return effect.confirm is not None and effect.spec.harm >= Harm.H2 and effect.spec.key in self._doubted

    async def _settle_rejected(self, effect: Effect, row: ActionRow) -> ActionRow | None:
        look = await self._look(effect)
        if look.kind == SEEN:
            return await self.ledger.adopt(row.key, look.ref, f"refused, yet it is there: {look.note}", look.digest)
        return await self._hold(effect, f"The remote refused it: {row.note.rstrip('.')}.")

    async def _end_held(self, effect: Effect, row: ActionRow) -> NoReturn:
        question = row.question or Question(f"{effect.request} is held.", "wait")
        raise Ended(ItemOutcome.HELD, question.text, question)

    async def _end_skipped(self, _effect: Effect, row: ActionRow) -> NoReturn:
        raise Ended(ItemOutcome.SKIPPED, row.note or "skipped before")

    async def _hold(self, effect: Effect, text: str, *, unknown: bool = False) -> NoReturn:
        choices = ("wait", "drop", IT_HAPPENED, IT_DID_NOT) if unknown else ("wait", "drop", IT_DID_NOT)
        question = _what_is_true(effect, text, choices)
        await self.ledger.hold(effect.spec.key, question)
        raise Ended(ItemOutcome.HELD, question.text, question)

    async def _look(self, effect: Effect) -> Look:
        try:
            return await effect.look()
        except RemoteError as error:
            return Look(CANNOT_TELL, note=str(error))

    _MOVES: ClassVar[dict[ActionState, Callable[[Runner, Effect, ActionRow], Awaitable[ActionRow | None]]]] = {
        ActionState.CLAIMED: _wait_for_other,
        ActionState.IN_FLIGHT: _wait_for_other,
        ActionState.APPLIED: _confirm,
        ActionState.UNKNOWN: _settle_unknown,
        ActionState.REJECTED: _settle_rejected,
        ActionState.HELD: _end_held,
        ActionState.SKIPPED: _end_skipped,
        ActionState.CANCELLED: _end_skipped,
    }


def _what_is_true(effect: Effect, said: str, choices: tuple[str, ...]) -> Question:
    return Question(f"{effect.request}: {sentence(said)} What is true?", "wait", choices)


def caps_of(limits: Limits, run_ref: str) -> Caps:
    """What policy lets leave, as the ledger checks it in the transaction that opens an attempt."""
    return Caps(
        limits.releases_per_run,
        limits.recipients_per_run,
        limits.recipients_per_hour,
        run_ref,
        limits.mails_per_person_a_day,
    )


async def attest(ledger: Ledger, clock: Clock, slot_key: str, by: str, text: str) -> str:
    """Keeps a named person's statement as evidence; its digest."""
    body = f"{by}: {text}"
    digest = digest_of([slot_key, body])
    await ledger.keep(Exchange("person", by, f"statement about {slot_key}", None, clock.now(), digest, body))
    return digest
