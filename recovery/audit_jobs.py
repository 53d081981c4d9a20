"""Reads the integrated processes of one account: Activity Log, Console, Tessitura lists (R001.16 to R001.29)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from recovery import slots
from recovery.audit_reading import GENERATIONS_KNOWN, LOOK_BACK, Found, NotDue, Reader
from recovery.errors import BadReply, RemoteError
from recovery.model import Evidence, Facts, Kind, Saw, Scheduled, Slot, System, Testimony
from recovery.ports import Definition, Run, RunLog
from recovery.sync_gap import measure_gap, unique_tag
from recovery.testify import (
    ACTIVITY_LOG,
    BY_HAND,
    CONSOLE,
    IN_PROGRESS_STATES,
    MARKER,
    TESSITURA_LIST,
    log_testimony,
    unreadable,
)


@dataclass(frozen=True, slots=True)
class JobReader(Reader):
    """Reads the Integrated Dashboard and Tessitura; what it cannot read becomes an uncertain finding."""

    async def jobs(self) -> Found:
        """Integrated processes that were due, attempted to run or began before and are unfinished."""
        if System.DASHBOARD not in self.window.systems:
            return Found()
        try:
            definitions = await self.account.jobs.definitions()
        except RemoteError as error:
            return Found((self.all_unreadable(System.DASHBOARD, Kind.IMPORT, str(error)),), (), (str(error),))
        log, console, may = await asyncio.gather(self._log(ACTIVITY_LOG), self._log(CONSOLE), self._may())
        runs = {ACTIVITY_LOG: _by_definition(log), CONSOLE: _by_definition(console)}
        evidence, not_due, problems = [], [], [t.detail for t in (log, console) if isinstance(t, Testimony)]
        if not definitions.complete:
            problems.append(f"definitions of {self.account.name} were not read whole ({definitions.problem})")
            evidence.append(self.all_unreadable(System.DASHBOARD, Kind.IMPORT, problems[-1]))
        for definition in definitions.items:
            own = {witness: found.get(definition.ref, []) for witness, found in runs.items()}
            evidence += await self._definition_evidence(definition, log, console, may, own)
            if not definition.scheduled.active and definition.scheduled.schedule.type != "manual":
                thing = definition.scheduled
                not_due.append(NotDue(thing.account, thing.kind, thing.object_ref, thing.name, "it is not active"))
        return Found(tuple(evidence), tuple(not_due), tuple(problems))

    async def _may(self) -> list[str]:
        """What this account's dashboard lets us do, so that nothing is offered that would be refused (R001.38)."""
        try:
            can = await self.account.jobs.capabilities()
        except RemoteError:
            return []
        return [name for name in ("stop", "reprocess", "run_now", "repeat", "imports") if getattr(can, name)]

    async def _log(self, witness: str) -> RunLog | Testimony:
        try:
            if witness == CONSOLE:
                return await self.account.jobs.console()
            return await self.account.jobs.activity_log(self.window.started_at - LOOK_BACK, self.clock.now())
        except RemoteError as error:
            return unreadable(witness, self.clock.now(), str(error))

    async def _definition_evidence(
        self,
        definition: Definition,
        log: RunLog | Testimony,
        console: RunLog | Testimony,
        may: list[str],
        own: Mapping[str, Sequence[Run]],
    ) -> list[Evidence]:
        thing = definition.scheduled
        try:
            after = self._due_and_next(thing)
        except BadReply as error:
            slot = Slot(
                thing.account, thing.system, thing.kind, thing.object_ref, self.window.started_at, thing.name, "UTC"
            )
            return [Evidence(slot, (unreadable(ACTIVITY_LOG, self.clock.now(), str(error)),))]
        due = [m for m in after if m < self.window.ended_at]
        next_of = dict(zip(after, (*after[1:], None), strict=False))
        slots_of = [
            Slot(thing.account, thing.system, thing.kind, thing.object_ref, m, thing.name, thing.schedule.time_zone)
            for m in due
        ]
        slots_of += self._attempted(definition, slots_of, own)
        if not slots_of:
            return []
        gap = await self._gap(definition) if thing.kind is Kind.DATA_SYNC else None
        facts = {**_definition_facts(definition), "may": may}
        evidence = []
        for slot in slots_of:
            heard = [
                self._heard(w, slot, x, next_of.get(slot.due_at), own[w])
                for w, x in ((ACTIVITY_LOG, log), (CONSOLE, console))
            ]
            if gap is not None:
                heard += [gap[0], *self._our_import(slot, log, gap[0])]
            evidence.append(Evidence(slot, tuple(heard), {**facts, **(gap[1] if gap else {})}))
        return evidence

    def _our_import(self, slot: Slot, log: RunLog | Testimony, gap: Testimony) -> list[Testimony]:
        """A tagged import of ours that succeeded, and no difference left: recognised without any database."""
        if not isinstance(log, RunLog) or gap.saw is not Saw.WORKED:
            return []
        tags = {unique_tag(self.secret, slot, g) for g in range(GENERATIONS_KNOWN)}
        mine = [r for r in log.runs if r.state == "succeeded" and tags.intersection(r.tags)]
        if not mine:
            return []
        detail = f"import run {mine[0].ref} carries our tag and no difference is left"
        return [Testimony(MARKER, Saw.OURS, log.read_at, True, detail, {"run": mine[0].ref}, mine[0].digest)]

    def _due_and_next(self, thing: Scheduled) -> tuple[datetime, ...]:
        """The due times in the window and, where there is one within a day, the next after it."""
        after: tuple[datetime, ...] = ()
        for ahead in (timedelta(hours=1), timedelta(days=1)):  # most things run hourly; a day is a long expansion
            after = slots.moments(thing, self.window.started_at, self.window.ended_at + ahead)
            if after and after[-1] >= self.window.ended_at:
                break
        return after

    def _heard(
        self,
        witness: str,
        slot: Slot,
        log: RunLog | Testimony,
        next_due: datetime | None,
        own: Sequence[Run],
    ) -> Testimony:
        if isinstance(log, Testimony):
            return log
        return log_testimony(witness, slot, log, next_due, self.policy.waits, own)

    def _attempted(self, definition: Definition, known: Sequence[Slot], own: Mapping[str, Sequence[Run]]) -> list[Slot]:
        """Runs that attempted to run in the window outside any schedule, or began before it and are unfinished."""
        thing, found = definition.scheduled, {}
        known_at = {s.due_at for s in known}
        for runs in own.values():
            for run in runs:
                moment = run.scheduled_for or run.started_at
                if moment is None or moment in known_at:
                    continue
                if self._unfinished_before(run) or self._failed_by_hand(run):
                    found[run.ref] = Slot(
                        thing.account,
                        thing.system,
                        thing.kind,
                        thing.object_ref,
                        moment,
                        thing.name,
                        thing.schedule.time_zone,
                    )
        return sorted(found.values())

    def _unfinished_before(self, run: Run) -> bool:
        moment = run.scheduled_for or run.started_at
        before = moment is not None and moment < self.window.started_at
        return before and run.state in IN_PROGRESS_STATES and run.requested_by not in BY_HAND

    def _failed_by_hand(self, run: Run) -> bool:
        if run.requested_by not in ("user", "import") or run.started_at is None:
            return False
        return self.window.started_at <= run.started_at < self.window.ended_at and run.state not in ("succeeded",)

    async def _gap(self, definition: Definition) -> tuple[Testimony, Facts]:
        try:
            return await measure_gap(definition, self.account, self.clock)
        except RemoteError as error:
            return unreadable(TESSITURA_LIST, self.clock.now(), str(error)), {}


def _by_definition(log: RunLog | Testimony) -> Mapping[str, list[Run]]:
    """A log's runs by definition, so that a log is walked once and not once for each slot."""
    grouped: dict[str, list[Run]] = defaultdict(list)
    for run in log.runs if isinstance(log, RunLog) else ():
        grouped[run.definition_ref].append(run)
    return grouped


def _definition_facts(definition: Definition) -> Facts:
    return {
        "list": definition.list_ref,
        "list_name": definition.list_name,
        "tags": list(definition.tags),
        "sync_mode": definition.sync_mode,
        "automation": definition.automation_ref,
    }
