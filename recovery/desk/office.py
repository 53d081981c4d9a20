"""The steps people and machines take on an incident: each loads it, lets a rule decide, appends what it allows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from recovery.desk import log, notice, rules
from recovery.desk.announce import Words
from recovery.desk.clocks import clocks_for
from recovery.desk.incident import Incident, stream_of
from recovery.desk.perform import Decide, Outbox, Told
from recovery.desk.ports import Journal
from recovery.desk.rca import RcaDraft, RcaFacts, approve_rca, draft_rca, prepare_rca
from recovery.desk.settings import DeskSettings, Phase
from recovery.desk.sla import Reading, SlaClock, read
from recovery.ports import Clock


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
        name = ref or notice.ref_of(said.source, said.source_ref)
        known = await log.find(self._journal, name)
        if known is not None:
            return await self.step(
                name, lambda _i: [rules.merge_source(by, self.clock.now(), said.source, said.source_ref)]
            )
        change = rules.declare(self.settings, by, self.clock.now(), said)
        await log.record(self._journal, name, [change], 0)
        return await log.load(self._journal, name)

    async def step(self, ref: str, decide: Decide) -> Incident:
        """Lets a rule decide on the incident as it stands, and appends; tries again when somebody was faster."""
        return await self.outbox.step(ref, decide)

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

    async def draft_rca(self, ref: str, by: str, facts: RcaFacts, *, preliminary: bool) -> RcaDraft:
        """Drafts the root-cause analysis and puts it up for approval."""
        incident = await log.load(self._journal, ref)
        draft = draft_rca(self.settings, incident, facts, self.clock.now(), preliminary=preliminary)
        await self.step(ref, lambda _i: [prepare_rca(self.settings, by, self.clock.now(), draft)])
        return draft

    async def approve_rca(self, ref: str, by: str, digest: str) -> Incident:
        """A named person approves exactly this version; the outbox delivers it."""
        return await self.step(ref, lambda i: [approve_rca(self.settings, i, by, self.clock.now(), digest)])

    async def clocks(self, ref: str) -> tuple[tuple[SlaClock, Reading], ...]:
        """Every clock of the incident as it stands now."""
        incident, now = await log.load(self._journal, ref), self.clock.now()
        return tuple((c, read(c, now)) for c in clocks_for(self.settings, incident))

    async def incidents(self, since: timedelta | None = None) -> tuple[Incident, ...]:
        """Every incident of the ledger, newest first; `since` leaves out those that have been quiet for longer."""
        names = await self.outbox.runner.ledger.streams("incident/")
        loaded = [await log.find(self._journal, n.removeprefix(stream_of(""))) for n in names]
        found = [i for i in loaded if i is not None and (since is None or self._fresh(i, since))]
        return tuple(sorted(found, key=lambda i: i.declared_at, reverse=True))

    async def round(self, since: timedelta = timedelta(days=30)) -> dict[str, tuple[Told, ...]]:
        """Clocks, expiries, overdue updates and the outbox of every incident, once; for a schedule."""
        return {i.ref: await self.outbox.deliver(i.ref) for i in await self.incidents(since)}

    def _fresh(self, incident: Incident, since: timedelta) -> bool:
        last: datetime = incident.timeline[-1].at if incident.timeline else incident.declared_at
        return self.clock.now() - last <= since

    @property
    def _journal(self) -> Journal:
        return self.outbox.runner.ledger


def _draft_of(incident: Incident) -> Words:
    draft = incident.draft
    assert draft is not None
    return Words(draft.title, draft.body)
