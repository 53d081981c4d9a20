"""Reads the integrated processes of one account: Activity Log, Console, Tessitura lists (R001.16 to R001.29)."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from recovery import slots
from recovery.audit_reading import GENERATIONS_KNOWN, LOOK_BACK, Found, NotDue, Reader
from recovery.errors import BadReply, RemoteError
from recovery.model import Evidence, Facts, Kind, Saw, Scheduled, Slot, System, Testimony, iso
from recovery.ports import Definition, ReportRow, Run, RunLog
from recovery.sync_gap import TAG_PREFIX, measure_gap, unique_tag
from recovery.testify import (
    ACTIVITY_LOG,
    BY_HAND,
    CONSOLE,
    IN_PROGRESS_STATES,
    MARKER,
    TESSITURA_LIST,
    TOLERANCE,
    definition_facts,
    log_testimony,
    moment_of,
    run_saw,
    run_testimony,
    runs_of,
    unreadable,
)

MOST_GAPS_AT_ONCE = 2  # the rate limit sets the pace; more would only hold more lists in memory
LOOK_AHEAD = (timedelta(hours=1), timedelta(days=1), timedelta(days=8), timedelta(days=32), timedelta(days=367))
"""So far after the window the next due time is looked for, step by step."""
MOST_REPORTS_AT_ONCE = 4
ROWS_IN_WORDS = 5
MOST_ERROR_ROWS = 200
MOST_OF_A_MESSAGE = 200
ERROR_REPORT = "error report"  # a patience of its own: which rows failed decides no verdict
SIDES_OF_A_GAP = (System.TESSITURA, System.PRO2)


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
        problems += [may] if isinstance(may, str) else []
        if not definitions.complete:
            problems.append(f"definitions of {self.account.name} were not read whole ({definitions.problem})")
            evidence.append(self.all_unreadable(System.DASHBOARD, Kind.IMPORT, problems[-1]))
        known: list[_Known] = []
        for definition in definitions.items:
            own = {witness: found.pop(definition.ref, []) for witness, found in runs.items()}
            try:
                known.append(self._known(definition, own))
            except BadReply as error:
                evidence.append(self._without_due_times(definition.scheduled, error))
        gaps = await self._gaps(k.definition for k in known if k.slots)
        for each in known:
            evidence += self._definition_evidence(each, log, console, may, gaps.get(each.definition.ref))
            thing = each.definition.scheduled
            if not each.slots and thing.schedule.type != "manual" and (not thing.active or thing.paused_at is not None):
                since = f"paused since {iso(thing.paused_at)}" if thing.paused_at else "it is not active"
                not_due.append(NotDue(thing.account, thing.kind, thing.object_ref, thing.name, since))
        evidence += self._undefined(log, console, runs)
        return Found(await self._with_error_rows(evidence), tuple(not_due), tuple(problems))

    async def _may(self) -> list[str] | str:
        """What this account's dashboard lets us do, so that nothing is offered that would be refused (R001.38).

        Where that cannot be read, why: not to know a right is not to lack it, and each recipe asks again.
        """
        try:
            can = await self.account.jobs.capabilities()
        except RemoteError as error:
            return f"what the dashboard of {self.account.name} lets us do could not be read ({error})"
        return [name for name in ("stop", "reprocess", "run_now", "repeat", "imports") if getattr(can, name)]

    async def _log(self, witness: str) -> RunLog | Testimony:
        try:
            if witness == CONSOLE:
                return await self.account.jobs.console()
            return await self.account.jobs.activity_log(self.window.started_at - LOOK_BACK, self.clock.now())
        except RemoteError as error:
            return unreadable(witness, self.clock.now(), str(error))

    def _known(self, definition: Definition, own: Mapping[str, Sequence[Run]]) -> _Known:
        """A definition's slots of the window; BadReply when its schedule cannot be read."""
        thing = definition.scheduled
        after = self._due_and_next(thing)
        due = [m for m in after if self.window.started_at <= m < self.window.ended_at]
        own = _at_a_clock_change(thing, due, own)
        slots_of = [
            Slot(thing.account, thing.system, thing.kind, thing.object_ref, m, thing.name, thing.schedule.time_zone)
            for m in due
        ]
        slots_of += self._attempted(definition, slots_of, own)
        return _Known(definition, own, tuple(slots_of), after)

    def _without_due_times(self, thing: Scheduled, error: BadReply) -> Evidence:
        where = (thing.account, thing.system, thing.kind, thing.object_ref)
        slot = Slot(*where, self.window.started_at, thing.name, "UTC")
        return Evidence(slot, (unreadable(ACTIVITY_LOG, self.clock.now(), str(error)),))

    def _definition_evidence(
        self,
        known: _Known,
        log: RunLog | Testimony,
        console: RunLog | Testimony,
        may: list[str] | str,
        gap: tuple[Testimony, Facts] | None,
    ) -> list[Evidence]:
        facts = {**definition_facts(known.definition), "may": may if isinstance(may, list) else None}
        last = _last_success(known.own) if known.definition.scheduled.kind is Kind.TRIGGER else None
        later = {r.ref for r in chain(*known.own.values()) if _is_by_hand_after(r, self.window.ended_at)}
        evidence = []
        for slot in known.slots:
            near = _neighbours(known.around, slot.due_at)
            own = self._its_story(slot, near, known.own, later, gap) if later else known.own
            heard = [self._heard(w, slot, x, near, own[w]) for w, x in ((ACTIVITY_LOG, log), (CONSOLE, console))]
            if gap is not None:
                heard += [gap[0], *self._our_import(slot, log, gap[0])]
            told = {**facts, "later_success": _after(slot, last), **(gap[1] if gap else {})}
            told |= {"next_due": iso(near.then) if near.then else None, "window_ended_at": iso(self.window.ended_at)}
            evidence.append(Evidence(slot, tuple(heard), told))
        return evidence

    def _its_story(
        self,
        slot: Slot,
        near: _Near,
        own: Mapping[str, Sequence[Run]],
        later: set[str],
        gap: tuple[Testimony, Facts] | None,
    ) -> Mapping[str, Sequence[Run]]:
        """The definition's runs that may tell of a slot.

        Where its own run worked (R001.17), the runs `later` that somebody started after the outage are another story,
        however they end.
        A sync whose difference is lost is not closed by its own run, so whatever is under way is waited for.
        """
        mine = runs_of(slot, own[ACTIVITY_LOG], near.then, near.before)
        if not mine or (gap is not None and gap[0].saw is not Saw.WORKED):
            return own
        if run_testimony(ACTIVITY_LOG, mine, (), self.clock.now(), True).saw is not Saw.WORKED:
            return own
        return {witness: [r for r in runs if r.ref not in later] for witness, runs in own.items()}

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
        """The due times in the window, one shortly before it and the next after it, where that has come by now.

        A run that names no slot belongs to the last one before it: without next week's slot, next week's run of a
        weekly thing would pass for the one that was missed.
        """
        first, *further = LOOK_AHEAD  # most things run hourly; a year is a long expansion
        start, end = self.window.started_at - 2 * TOLERANCE, self.window.ended_at
        after = slots.moments(thing, start, end + first)
        for before, ahead in pairwise((first, *further)):
            if (after and after[-1] >= end) or before >= max(self.clock.now() - end, timedelta(days=1)):
                break
            try:
                after = slots.moments(thing, start, end + ahead)
            except BadReply:  # beyond a clock change that cannot be followed; the window's own slots are known
                break
        return after

    def _heard(
        self,
        witness: str,
        slot: Slot,
        log: RunLog | Testimony,
        near: _Near,
        own: Sequence[Run],
    ) -> Testimony:
        if isinstance(log, Testimony):
            return log
        waits, until = self.policy.waits, self.window.ended_at
        return log_testimony(witness, slot, log, near.then, waits, own, until=until, previous_due=near.before)

    def _attempted(self, definition: Definition, known: Sequence[Slot], own: Mapping[str, Sequence[Run]]) -> list[Slot]:
        """Slots for runs that no due time explains: begun before, started by a person, or of an old schedule."""
        thing, found = definition.scheduled, {}
        due = [s.due_at for s in known]
        for run in (r for runs in own.values() for r in runs):
            moment = moment_of(run) or self.window.started_at
            if self._caught(run) and not _explained(run, moment, due):
                where = (thing.account, thing.system, thing.kind, thing.object_ref)
                found[run.ref] = Slot(*where, moment, thing.name, thing.schedule.time_zone)
        return sorted(set(found.values()))

    def _caught(self, run: Run) -> bool:
        """Whether a run was under way in the window, as far as its times tell, and has not ended well (R001.2)."""
        began = moment_of(run)
        if run.state == "succeeded" or (began is not None and began >= self.window.ended_at):
            return False
        if began is None or began >= self.window.started_at:
            return True
        if run.ended_at is None:
            return run.state in IN_PROGRESS_STATES
        return run.ended_at >= self.window.started_at

    def _undefined(
        self, log: RunLog | Testimony, console: RunLog | Testimony, left: Mapping[str, Mapping[str, Sequence[Run]]]
    ) -> list[Evidence]:
        """Runs of the window whose definition the dashboard does not list any more, and that did not end well."""
        found: dict[str, Evidence] = {}
        for witness, source in ((ACTIVITY_LOG, log), (CONSOLE, console)):
            for run in (r for runs in left[witness].values() for r in runs):
                began = moment_of(run) or self.window.started_at
                if not self._caught(run) or any(t.startswith(TAG_PREFIX) for t in run.tags):
                    continue
                where = (self.account.name, System.DASHBOARD.value, Kind.IMPORT.value, run.definition_ref)
                slot = Slot(*where, began, f"run {run.ref}, whose definition is not listed", self.account.time_zone)
                read_at = source.read_at if isinstance(source, RunLog) else self.clock.now()
                detail = f"run {run.ref} is {run.state}, and its definition is not listed"
                heard = Testimony(witness, Saw.UNKNOWN, read_at, True, detail, {"run": run.ref}, run.digest)
                other = Testimony(CONSOLE if witness == ACTIVITY_LOG else ACTIVITY_LOG, Saw.NOTHING, read_at)
                found.setdefault(slot.key, Evidence(slot, (heard, other), {"run": run.ref}))
        return list(found.values())

    async def _with_error_rows(self, evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
        """The evidence with the rows that failed where only some did: a person is asked about exactly those (R001.19).

        They name constituents by their number, never by an address.
        """
        room, known = asyncio.Semaphore(MOST_REPORTS_AT_ONCE), _partly_failed(evidence)

        async def read(run: str) -> tuple[str, tuple[str, ...], str]:
            async with room:
                return run, *await self._error_rows(run)

        found = {run: (rows, problem) for run, rows, problem in await asyncio.gather(*map(read, known))}
        return tuple(_telling(each, found) if found else each for each in evidence)

    async def _error_rows(self, run: str) -> tuple[tuple[str, ...], str]:
        """The rows of a run's error report in words, and why there are none."""
        if spent := self.given_up(ERROR_REPORT):
            return (), spent
        try:
            rows = await self.account.jobs.report(run)
        except RemoteError as error:
            self.patience[ERROR_REPORT].lost(error)
            return (), str(error)
        self.patience[ERROR_REPORT].answered()
        return tuple(_row_words(row) for row in rows), ""

    async def _gaps(self, definitions: Iterable[Definition]) -> Mapping[str, tuple[Testimony, Facts]]:
        """The gap of each data sync among them, by its ref, two measured side by side."""
        room = asyncio.Semaphore(MOST_GAPS_AT_ONCE)

        async def one(definition: Definition) -> tuple[str, tuple[Testimony, Facts]]:
            async with room:
                return definition.ref, await self._gap(definition)

        syncs = [d for d in definitions if d.scheduled.kind is Kind.DATA_SYNC]
        return dict(await asyncio.gather(*map(one, syncs)))

    async def _gap(self, definition: Definition) -> tuple[Testimony, Facts]:
        if spent := self.given_up(*SIDES_OF_A_GAP):
            return unreadable(TESSITURA_LIST, self.clock.now(), spent), {}
        try:
            gap = await measure_gap(definition, self.account, self.clock)
        except RemoteError as error:
            self.patience[error.system].lost(error)
            return unreadable(TESSITURA_LIST, self.clock.now(), str(error)), {}
        if gap[1]:  # a definition that names no list was not asked about
            for system in SIDES_OF_A_GAP:
                self.patience[system].answered()
        return gap


@dataclass(frozen=True, slots=True)
class _Known:
    """A definition, its own runs by witness, its slots, and the due times in and around the window."""

    definition: Definition
    own: Mapping[str, Sequence[Run]]
    slots: tuple[Slot, ...]
    around: tuple[datetime, ...]


class _Near(NamedTuple):
    """The due times right before and right after a slot, where they are known."""

    before: datetime | None
    then: datetime | None


def _partly_failed(evidence: Sequence[Evidence]) -> tuple[str, ...]:
    """The runs that ended with errors on some rows, once each."""
    heard = (t for e in evidence for t in e.testimonies if t.saw is Saw.PARTIAL)
    return tuple(dict.fromkeys(run for t in heard if isinstance(run := t.facts.get("run"), str)))


def _telling(evidence: Evidence, found: Mapping[str, tuple[tuple[str, ...], str]]) -> Evidence:
    """The evidence with what the error reports of its runs say: the first rows in words, more of them as facts."""
    heard: list[Testimony] = []
    told: list[str] = []
    for testimony in evidence.testimonies:
        rows, problem = found.get(str(testimony.facts.get("run")), ((), ""))
        if testimony.saw is Saw.PARTIAL and (rows or problem):
            more = f" and {len(rows) - ROWS_IN_WORDS} more" if len(rows) > ROWS_IN_WORDS else ""
            words = "; ".join(rows[:ROWS_IN_WORDS]) + more if rows else f"its error report: {problem}"
            heard.append(replace(testimony, detail=f"{testimony.detail}; {words}"))
            told += rows[:MOST_ERROR_ROWS]
        else:
            heard.append(testimony)
    facts = {**evidence.facts, "error_rows": list(dict.fromkeys(told))} if told else evidence.facts
    return replace(evidence, testimonies=tuple(heard), facts=facts)


def _row_words(row: ReportRow) -> str:
    who = f" (constituent {row.constituent_ref})" if row.constituent_ref is not None else ""
    return f"row {row.row}{who}: {' '.join(row.message.split())[:MOST_OF_A_MESSAGE] or 'no message'}"


def _is_by_hand_after(run: Run, end: datetime) -> bool:
    """Whether somebody started the run after the outage, as far as its row tells."""
    began = run.started_at or run.ended_at
    return run.requested_by in BY_HAND and began is not None and began >= end


def _last_success(own: Mapping[str, Sequence[Run]]) -> Run | None:
    """The latest scheduled run that succeeded; whoever it selected would be selected again by a Run Now."""
    good = [r for runs in own.values() for r in runs if r.requested_by not in BY_HAND and run_saw(r) is Saw.WORKED]
    return max(good, key=_began, default=None)


def _after(slot: Slot, last: Run | None) -> str | None:
    """When `last` began, if that was after the slot and for another one."""
    if last is None or _began(last) <= slot.due_at or last.scheduled_for == slot.due_at:
        return None
    return iso(_began(last))


def _began(run: Run) -> datetime:
    return run.started_at or run.scheduled_for or run.ended_at or datetime.min.replace(tzinfo=UTC)


def _neighbours(around: Sequence[datetime], moment: datetime) -> _Near:
    before, then = bisect_left(around, moment), bisect_right(around, moment)
    return _Near(around[before - 1] if before else None, around[then] if then < len(around) else None)


def _at_a_clock_change(
    thing: Scheduled, due: Sequence[datetime], own: Mapping[str, Sequence[Run]]
) -> Mapping[str, Sequence[Run]]:
    """The runs, with those counted for a slot that a scheduler of another school set up to an hour away from it.

    Where the wall clock skips or repeats an hour nobody has written down when a job is due; only there, and only where
    neither side has another partner, a run and a slot that miss each other by an hour at most are one.
    """
    zone, hour = ZoneInfo(thing.schedule.time_zone), timedelta(hours=1)
    times = {
        r.scheduled_for for runs in own.values() for r in runs if r.scheduled_for and r.requested_by not in BY_HAND
    }
    alone = [
        d
        for d in due
        if (d - 2 * hour).astimezone(zone).utcoffset() != (d + 2 * hour).astimezone(zone).utcoffset()
        and not any(abs(t - d) < TOLERANCE for t in times)
    ]
    if not alone:
        return own
    known = slots.moments(thing, alone[0] - 2 * hour, alone[-1] + 2 * hour)
    free = [t for t in times if not any(abs(t - m) < TOLERANCE for m in known)]
    meant = {t: d for d in alone for t in free if abs(t - d) <= hour}
    return {
        witness: [replace(r, scheduled_for=meant[r.scheduled_for]) if r.scheduled_for in meant else r for r in runs]
        for witness, runs in own.items()
    }


def _explained(run: Run, moment: datetime, due: Sequence[datetime]) -> bool:
    """Whether a due time of the window already speaks for the run, as `testify` matches them."""
    if moment_of(run) is None:
        return bool(due)
    if run.requested_by in BY_HAND:
        return any(d <= moment for d in due)
    if run.scheduled_for is not None:
        return any(abs(moment - d) < TOLERANCE for d in due)
    return any(d - TOLERANCE < moment for d in due)


def _by_definition(log: RunLog | Testimony) -> dict[str, list[Run]]:
    """A log's runs by definition, so that a log is walked once and not once for each slot."""
    grouped: dict[str, list[Run]] = defaultdict(list)
    for run in log.runs if isinstance(log, RunLog) else ():
        grouped[run.definition_ref].append(run)
    return grouped
