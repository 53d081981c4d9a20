"""The steps people and machines take on an incident: each loads it, lets a rule decide, appends what it allows."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from recovery.act import IT_DID_NOT, IT_HAPPENED, attest
from recovery.desk import log, notice, rules
from recovery.desk.announce import Words
from recovery.desk.clocks import clocks_for
from recovery.desk.incident import MACHINE, Change, Incident, named_digest, stream_of
from recovery.desk.outbox import Effect, effects_for
from recovery.desk.perform import Decide, Outbox, Told
from recovery.desk.rca import RcaDraft, RcaFacts, approve_rca, draft_rca, prepare_rca
from recovery.desk.readings import Readings
from recovery.desk.settings import DeskSettings, Phase
from recovery.desk.sla import Reading, SlaClock, read
from recovery.errors import LedgerConflict, UsageError
from recovery.journal import Journal
from recovery.ledger.rows import ActionRow
from recovery.model import ActionState
from recovery.ports import Clock

QUIET = timedelta(days=30)
"""An incident that has been quiet for longer is over: nothing joins it, and nothing of it is tried or told any more."""
CHOICES = (IT_HAPPENED, IT_DID_NOT, "try again")


@dataclass(frozen=True, slots=True)
class Round:
    """One round over every incident: what was performed, and what could not be read."""

    told: Mapping[str, tuple[Told, ...]]
    problems: tuple[str, ...]


@dataclass(slots=True)
class IncidentOffice:
    """The desk's counter. Every step is recorded with its name and time; a colleague's faster step is read first."""

    outbox: Outbox
    settings: DeskSettings

    @property
    def clock(self) -> Clock:
        """The runner's clock."""
        return self.outbox.runner.clock

    async def declare(self, by: str, said: rules.Declaration, ref: str = "") -> Incident:
        """Opens an incident, or merges the source into the open one of the same name (R002.4)."""
        if by != MACHINE or said.source == "person":
            rules.authorize(self.settings, by, "declare")
        name = ref or notice.ref_of(said.source, said.source_ref)
        source = (said.source, said.source_ref)
        if await log.find(self._journal, name) is None:
            change = rules.declare(self.settings, by, self.clock.now(), said)
            with suppress(LedgerConflict):  # somebody has just declared it: then this is a further source of it
                await log.record(self._journal, name, [change], 0)
        return await self.step(
            name,
            lambda i: (
                ()
                if source in ((i.source, i.source_ref), *i.also)
                else (rules.merge_source(by, self.clock.now(), *source),)
            ),
        )

    async def step(self, ref: str, decide: Decide) -> Incident:
        """Lets a rule decide on the incident as it stands, and appends; tries again when somebody was faster."""
        return await self.outbox.step(ref, decide)

    async def incident(self, ref: str) -> Incident:
        """The incident as it stands; UsageError when there is none of this name."""
        return await log.load(self._journal, ref)

    async def deliver(self, ref: str) -> tuple[Told, ...]:
        """Performs everything of the incident that is due."""
        return await self.outbox.deliver(ref)

    async def prepare(self, ref: str, by: str, phase: Phase, reason: str = "") -> Words:
        """Fills the announcement of a phase; it goes out when exactly these words are approved."""
        incident = await self.step(
            ref, lambda i: [rules.prepare_announcement(self.settings, i, by, self.clock.now(), phase, reason)]
        )
        return _draft_of(incident)

    async def prepare_update(self, ref: str, by: str, note: str) -> Words:
        """Fills a regular update within the present phase."""
        incident = await self.step(ref, lambda i: [rules.prepare_update(self.settings, i, by, self.clock.now(), note)])
        return _draft_of(incident)

    async def approve(self, ref: str, by: str, digest: str) -> Incident:
        """A named person approves exactly the prepared words, named by the beginning of their digest."""

        def decide(incident: Incident) -> tuple[Change, ...]:
            drafted = incident.draft.digest if incident.draft else ""
            full = named_digest(drafted, digest)
            return (rules.approve_announcement(self.settings, incident, by, self.clock.now(), full),)

        return await self.step(ref, decide)

    async def draft_rca(self, ref: str, by: str, facts: RcaFacts, *, preliminary: bool) -> RcaDraft:
        """Drafts the root-cause analysis and puts it up for approval."""
        incident = await log.load(self._journal, ref)
        draft = draft_rca(self.settings, incident, facts, self.clock.now(), preliminary=preliminary)
        await self.step(ref, lambda _i: [prepare_rca(self.settings, by, self.clock.now(), draft)])
        return draft

    async def approve_rca(self, ref: str, by: str, digest: str) -> Incident:
        """A named person approves exactly this version, named like an announcement; the outbox delivers it."""

        def decide(incident: Incident) -> tuple[Change, ...]:
            full = named_digest(incident.rcas[-1].digest if incident.rcas else "", digest)
            return (approve_rca(self.settings, incident, by, self.clock.now(), full),)

        return await self.step(ref, decide)

    async def clocks(self, ref: str) -> tuple[tuple[SlaClock, Reading], ...]:
        """Every clock of the incident as it stands now."""
        incident, now = await log.load(self._journal, ref), self.clock.now()
        return tuple((c, read(c, now)) for c in clocks_for(self.settings, incident))

    async def incidents(self, since: timedelta | None = None) -> tuple[Incident, ...]:
        """Every incident of the ledger, newest first; `since` leaves out those that have been quiet for longer."""
        start = None if since is None else self.clock.now() - since
        names = await self.outbox.runner.ledger.streams(stream_of(""), start)
        loaded = [await log.find(self._journal, n.removeprefix(stream_of(""))) for n in names]
        return tuple(sorted((i for i in loaded if i is not None), key=lambda i: i.declared_at, reverse=True))

    async def round(self, since: timedelta = QUIET) -> Round:
        """Readings, clocks, expiries, overdue updates and the outbox of every incident, once; for a schedule."""
        told: dict[str, tuple[Told, ...]] = {}
        problems: list[str] = []
        for incident in await self.incidents(since):
            problems += await Readings(self.outbox).read(incident)
            told[incident.ref] = await self.outbox.deliver(incident.ref)
        return Round(told, tuple(problems))

    async def settle(self, ref: str, by: str, name: str, choice: str, reason: str) -> Incident:
        """A named person says what became of an effect in doubt, or that one which was refused is to be tried again.

        Raises RefusedError for a stranger, UsageError for an effect that is not open or a choice that it does not have.
        """
        incident = await log.load(self._journal, ref)
        change = rules.reopen_effect(self.settings, incident, by, self.clock.now(), name)
        open_again = replace(incident, failures={})
        effect = next((e for e in effects_for(open_again, self.clock.now(), self.settings) if e.name == name), None)
        if effect is None or choice not in CHOICES:
            known = (
                f"Choose one of: {', '.join(CHOICES)}." if effect else "`allclear incident show` lists what is open."
            )
            raise UsageError(f"Nothing can be said about {name!r} in this way.", known)
        await self.settle_effect(effect, by, choice, reason)
        return await self.step(ref, lambda _i: (change,))

    async def settle_effect(self, effect: Effect, by: str, choice: str, reason: str) -> ActionRow | None:
        """The ledger's part of it: what a held effect came to, as a person states it; its row before that."""
        row = await self.outbox.runner.ledger.action(self.outbox.key(effect))
        if row is not None and row.state is ActionState.HELD:
            await self._settle(row, by, choice, reason)
        return row

    async def _settle(self, row: ActionRow, by: str, choice: str, reason: str) -> None:
        ledger, said = self.outbox.runner.ledger, f"stated by {by}: {reason or choice}"
        proof = await attest(ledger, self.clock, row.slot_key, by, said)
        await ledger.flush()
        freed = await ledger.release_hold(row.key, by, said)
        if choice == IT_HAPPENED:
            await ledger.adopt(row.key, row.result_ref, said, proof)
            await ledger.confirm(row.key, proof, said)
        elif choice == IT_DID_NOT and freed.state is ActionState.UNKNOWN:
            await ledger.absent(row.key, said, proof, by=by)

    @property
    def _journal(self) -> Journal:
        return self.outbox.runner.ledger


def _draft_of(incident: Incident) -> Words:
    draft = incident.draft
    assert draft is not None
    return Words(draft.title, draft.body)
