"""Does what an incident asks of the desks, each effect at most once, and records what came of it (R002.5 to R002.16).

`outbox.effects_for` says what should be there by now; whatever is missing is performed by anybody at any time, under a
key made of what the effect is about. The desks are served side by side, so that one that is down delays no other; what
it was to get stays in the outbox, with the reason in the stream, until it answers again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from recovery.act import ABSENT, CANNOT_TELL, IT_HAPPENED, SEEN, Ended, Look, Runner
from recovery.act import Effect as Deed
from recovery.desk import log
from recovery.desk.alarms import TRIES_BEFORE_ALARM, alarms_due
from recovery.desk.deeds import MAKERS, Desks, Making
from recovery.desk.incident import MACHINE, Change, Incident
from recovery.desk.outbox import Effect, effects_for
from recovery.desk.settings import DeskSettings
from recovery.errors import AllclearError, LedgerConflict, LedgerError, RemoteError
from recovery.gate import Allow, Hold, Ruling
from recovery.ledger.rows import ActionSpec
from recovery.model import (
    ActionKind,
    ActionState,
    AttemptOutcome,
    Harm,
    ItemOutcome,
    OpenAttempt,
    Question,
    System,
    WriteResult,
    action_key,
    iso,
)

MOST_ROUNDS: Final = 8
"""Effects that hang on others become due once those are done; a chain longer than this waits for the next call."""
MOST_SENDS: Final = 3
"""After so many lost replies proven absent the ledger repeats nothing more: a person decides."""
LOOKED_FOR: Final = "its reply was lost; the next round looks whether it took, and repeats it only when it did not"
GIVEN_UP: Final = (ItemOutcome.SKIPPED,)
SAME_FAILURE_AGAIN: Final = timedelta(hours=1)
TRIES: Final = 25

EFFECTS: Final = "incident/"
"""How the slot of every effect of the desk begins in the ledger; what it is about follows, mostly an incident."""

Decide = Callable[[Incident], Sequence[Change]]


@dataclass(frozen=True, slots=True)
class Told:
    """What one effect came to; `done` is false with the reason in `text`, `final` when it is not tried again.

    `unanswered` says that its desk, asked just now, neither took nor refused it: others there would fare no better.
    `holds` is the incident's `seq` up to which the text at the desk is known to go.
    """

    name: str
    done: bool
    ref: str = ""
    text: str = ""
    url: str = ""
    final: bool = False
    unanswered: bool = False
    holds: int = 0


@dataclass(slots=True)
class Outbox:
    """The open effects of one incident and how they are performed."""

    runner: Runner
    desks: Desks
    settings: DeskSettings
    secret: bytes = field(repr=False)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def deliver(self, ref: str, by: str = MACHINE) -> tuple[Told, ...]:
        """Performs everything that is due and records each result; raises LedgerError and UsageError only."""
        told: dict[str, Told] = {}
        down: dict[System, str] = {}
        for _ in range(MOST_ROUNDS):
            now = self.runner.clock.now()
            incident = await self.step(ref, partial(alarms_due, self.settings, now=now))
            waiting = [e for e in effects_for(incident, now, self.settings) if e.name not in told]
            if not waiting:
                break
            groups: dict[System, list[Effect]] = {}
            for effect in waiting:
                groups.setdefault(effect.system, []).append(effect)
            work = (self._desk(incident, effects, told, down, by) for effects in groups.values())
            failed = [e for e in await asyncio.gather(*work, return_exceptions=True) if e is not None]
            if failed:
                raise failed[0]
        return tuple(told.values())

    async def step(self, ref: str, decide: Decide) -> Incident:
        """Lets a rule decide on the incident as it stands, and appends; decides again when somebody was faster."""
        async with self.turn:
            for n in range(TRIES):
                incident = await log.load(self.runner.ledger, ref)
                changes = decide(incident)
                if not changes:
                    return incident
                try:
                    await log.record(self.runner.ledger, ref, changes, incident.seq)
                except LedgerConflict:
                    if n == TRIES - 1:
                        raise
                    continue
                break
            return await log.load(self.runner.ledger, ref)

    async def alone(self, effect: Effect, about: str) -> Told:
        """Performs an effect that belongs to no incident, such as the answer to a mail; the caller records it."""
        return await self._one(None, effect, about, replace(self.runner), {})

    def key(self, effect: Effect) -> str:
        """The business key: of what the effect is about, never of wording, person or time."""
        return action_key(
            self.secret, effect.account, effect.system.value, effect.kind.value, effect.object_ref, effect.slot, 0
        )

    async def _desk(
        self, incident: Incident, effects: Sequence[Effect], told: dict[str, Told], down: dict[System, str], by: str
    ) -> None:
        """One desk's effects in their order, with lost replies counted for this desk alone."""
        runner = replace(self.runner)
        for effect in effects:
            if effect.system in down:
                told[effect.name] = Told(effect.name, False, "", f"waits: {down[effect.system]}")
                continue
            one = await self._one(incident, effect, incident.ref, runner, down)
            told[effect.name] = one
            now = self.runner.clock.now()
            await self.step(incident.ref, partial(_outcome, told=one, by=by, at=now))

    async def _one(
        self, incident: Incident | None, effect: Effect, about: str, runner: Runner, down: dict[System, str]
    ) -> Told:
        make = MAKERS.get((effect.kind, effect.system))
        if make is None:
            return Told(effect.name, False, "", f"nothing here can do {effect.kind.value} at {effect.system.value}")
        key = self.key(effect)
        spec = ActionSpec(key, f"{EFFECTS}{about}", effect.account or "-", effect.kind, effect.harm, effect.object_ref)
        making = Making(self.desks, effect, key, spec, runner.policy.waits, incident)
        made = make(making)
        if made is None:
            return Told(effect.name, False, "", f"{effect.system.value} is not configured in allclear.toml")
        tried = _Tried(made, believes=made.settle_seconds == 0)
        try:
            waits = await self._set_free(key, tried)
            if waits is not None:
                return waits
            ref = await runner.perform(tried.deed())
        except Ended as ended:
            lost = ended.question is not None and IT_HAPPENED in ended.question.choices
            if lost and effect.harm is not Harm.H3:
                return Told(effect.name, False, "", LOOKED_FOR)
            final = tried.refused or ended.outcome in GIVEN_UP
            return Told(effect.name, False, "", ended.reason, final=final, unanswered=bool(tried.unanswered))
        except LedgerError:
            raise
        except AllclearError as error:
            return Told(effect.name, False, "", str(error))
        finally:
            if tried.down:
                down[effect.system] = tried.down
        if ref not in making.urls and effect.kind in (ActionKind.TICKET, ActionKind.CUSTOMER_TICKET):
            with suppress(RemoteError):  # only the address for links is missing, and the next look brings it
                await made.look()
        # What was not sent just now may have been sent by an earlier call, which knew the declaration at least.
        holds = incident.seq if incident is not None and tried.sent else 1
        return Told(effect.name, True, ref, "", making.urls.get(ref, ""), holds=holds)

    async def _set_free(self, key: str, tried: _Tried) -> Told | None:
        """Lets a held effect be tried again, or says why it waits.

        After a lost reply it is looked for, and taken for absent only when its settle time is over. A mail cannot be
        looked for, so a mail in doubt stays with a person, and so does what was sent too often.
        """
        ledger, name = self.runner.ledger, tried.made.request
        row = await ledger.action(key)
        if row is None or row.state is not ActionState.HELD:
            return None
        if row.question is not None and IT_HAPPENED in row.question.choices:
            if row.harm is Harm.H3:
                return Told(name, False, "", row.question.text)
            with suppress(RemoteError):
                look = await tried.look()
            if tried.down:
                return Told(name, False, "", tried.down)
            if not tried.seen and row.repeats + 1 >= MOST_SENDS:
                return Told(name, False, "", row.question.text, final=True)
            free_at = row.updated_at + timedelta(seconds=tried.made.settle_seconds)
            if not tried.seen and self.runner.clock.now() < free_at:
                return Told(name, False, "", f"its reply was lost; it is looked for until {iso(free_at)}: {look.note}")
            tried.believes = True
        with suppress(LedgerConflict):
            await ledger.release_hold(key, MACHINE, "the outbox tries again")
        return None


@dataclass(slots=True)
class _Tried:
    """A deed that notes what its desk said: not readable now, seen, refused for good, or nothing that settles it.

    Unless it `believes`, absence is not taken for proven: the runner then holds the effect instead of waiting here.
    """

    made: Deed
    believes: bool
    down: str = ""
    seen: bool = False
    refused: bool = False
    unanswered: str = ""
    sent: bool = False

    def deed(self) -> Deed:
        """The deed with everything that passes noted."""
        return replace(self.made, send=self.send, look=self.look, check=self.check, settle_seconds=0.0)

    async def look(self) -> Look:
        """Looks; a desk that cannot be read is noted as down."""
        try:
            look = await self.made.look()
        except RemoteError as error:
            self.down = str(error)
            raise
        self.down, self.seen = "", look.kind == SEEN
        if look.kind == ABSENT and not self.believes:
            return replace(look, kind=CANNOT_TELL, note=f"{look.note} yet")
        return look

    async def send(self, attempt: OpenAttempt) -> WriteResult:
        """Sends once; whether absence may be believed after that is a new question."""
        self.believes, self.sent = self.made.settle_seconds == 0, True
        result = await self.made.send(attempt)
        self.refused = result.outcome is AttemptOutcome.REJECTED and not result.auth_failed
        open_still = result.auth_failed or result.outcome in (AttemptOutcome.UNKNOWN, AttemptOutcome.NOT_APPLIED)
        self.unanswered = (result.detail or "no answer") if open_still else ""
        return result

    async def check(self) -> Ruling:
        """Nothing is written to a desk that cannot be read, except a page: a lost one is worse than a repeated one.

        A mail has one try a call: a server that hangs would keep everything behind it waiting three times.
        """
        if self.unanswered and self.made.spec.kind is ActionKind.MAIL:
            return Hold(Question(f"the mail server did not take it: {self.unanswered}", "wait"))
        if self.down and self.made.spec.kind is not ActionKind.PAGE:
            return Hold(Question(self.down, "wait"))
        return Allow()


def _outcome(incident: Incident, told: Told, by: str, at: datetime) -> Sequence[Change]:
    """The event that says what came of an effect; the same failure again only now and then."""
    if told.name in incident.delivered:
        return ()
    data: dict[str, object] = {"effect": told.name, "at": iso(at)}
    if told.done:
        more = {"ref": told.ref, "url": told.url, "detail": told.text, "holds": told.holds}
        return (Change("effect_done", by, at, {**data, **more}),)
    known = incident.failures.get(told.name)
    same = known is not None and known.reason == told.text and known.final == told.final
    if known is not None and same and known.tries >= TRIES_BEFORE_ALARM and at - known.at < SAME_FAILURE_AGAIN:
        return ()
    return (Change("effect_failed", by, at, {**data, "reason": told.text, "final": told.final}),)


__all__ = ["Desks", "Outbox", "Told"]
