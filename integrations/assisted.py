"""The Integrated Dashboard through a named person: the `JobDesk` where there is no bridge.

The dashboard has no public API (prospect2-tessitura.md §4), so a person clicks and the product leads, claims and
records. A *write* makes a task in the ledger's stream "task/<action key>" and answers NOT_APPLIED: nothing was
clicked. One person claims the task, says "about to click" (which opens the ledger's intent) and then what came of it;
all that is `recovery.tasks`. The key is the action's business key: every runner and colleague arrives at one task.

A *read* is what a person saw last: rows of `dashboard.openapi.yaml`, uploaded with the time of reading into the stream
"reading/<account>". What is absent or too old is unreadable; a log from before the last click is not complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from integrations.dashboard_rows import read_definition, read_run
from integrations.fields import Fields
from integrations.replies import CapabilityManifest
from recovery.errors import LedgerConflict, NotFound, Unavailable
from recovery.model import AttemptOutcome, Kind, OpenAttempt, System, WriteResult, iso
from recovery.ports import BridgeCapabilities, Clock, Definition, Listing, ReportRow, Run, RunLog

SYSTEM = System.DASHBOARD.value
PARTS = ("definitions", "activity_log", "console")
CLICK = "click"
RENEW_AFTER = timedelta(minutes=1)
"""A go-ahead younger than this is not written again: one run asks up to three times."""


class StoredEvent(Protocol):
    """One event of a stream, as the ledger hands it out."""

    @property
    def kind(self) -> str:
        """What happened."""
        ...

    @property
    def at(self) -> datetime:
        """When."""
        ...

    @property
    def data(self) -> Mapping[str, object]:
        """The facts."""
        ...


class TaskStore(Protocol):
    """Append-only streams; the ledger is one."""

    async def append(
        self, stream: str, kind: str, by: str, at: datetime, data: Mapping[str, object], expected_seq: int | None = None
    ) -> int:
        """Add one event; LedgerConflict when the stream is not at `expected_seq`."""
        ...

    async def stream(self, name: str) -> Sequence[StoredEvent]:
        """The events in order."""
        ...


@dataclass(frozen=True, slots=True)
class Assistance:
    """How one account is assisted. `links` are the site's own addresses by page ("activity_log", "console", ...)."""

    links: Mapping[str, str] = field(default_factory=dict)
    offers: frozenset[str] = frozenset({"stop", "reprocess", "run_now", "repeat", "imports"})
    log_age_seconds: float = 1800.0
    definitions_age_seconds: float = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Button:
    """A button of the dashboard: its page, its words, and what must be looked at first."""

    page: str
    steps: tuple[str, ...]
    starts_a_run: bool = True


BUTTONS: Mapping[str, Button] = {
    "stop_run": Button(
        "console",
        ("Open the Console and find run {target}.", "If it is still in progress, choose Stop. Wait for its answer."),
        starts_a_run=False,
    ),
    "reprocess": Button(
        "activity_log",
        ("Open the Activity Log and find run {target}.", "Choose Reprocess on that row, once."),
    ),
    "run_now": Button(
        "triggers",
        ("Open the Scheduled Triggers and find {target}.", "Choose Run Now, once. It cannot be taken back."),
    ),
    "repeat_import": Button(
        "imports",
        ("Open the Integrated Imports and find {target}.", "Choose Repeat Import, once."),
    ),
    "tagged_import": Button(
        "imports",
        (
            "Start a new Integrated Import of List Manager list {target}.",
            "Apply exactly these tags at import: {tags}.",
            "Filters: {filters}. Exclude contacts from automations: {exclude}.",
            "Start it, once.",
        ),
    ),
}
LOOK_FIRST = (
    "Look first: on the Activity Log and the Console nothing of this definition is queued, in progress, or started by "
    "a colleague since it was due. If something is, do not click: say `not-done`."
)
THEN = "Then upload what the Activity Log and the Console show, and say `done`, `not-done` or `not-sure`."


class AssistedDashboard:
    """The jobs of one account as a person reads and clicks them. Guarantees: no method clicks anything by itself."""

    def __init__(self, account: str, time_zone: str, store: TaskStore, clock: Clock, how: Assistance) -> None:
        self._account, self._zone = account, time_zone
        self._store, self._clock, self._how = store, clock, how

    def manifest(self) -> CapabilityManifest:
        """Nothing is proven of a person."""
        return CapabilityManifest(SYSTEM, note="assisted: a named person clicks")

    # ---- reads -----------------------------------------------------------------------------------------------------

    async def capabilities(self) -> BridgeCapabilities:
        """The buttons that the account has, as its settings say."""
        can = {name: name in self._how.offers for name in ("stop", "reprocess", "run_now", "repeat", "imports")}
        return BridgeCapabilities(**can, account_time_zone=self._zone)

    async def definitions(self) -> Listing[Definition]:
        """Everything that can run, as last uploaded."""
        part = await self._part("definitions", self._how.definitions_age_seconds)
        rows = [read_definition(self._account, row, self._zone) for row in part.rows]
        found = {row.ref: row for row in rows}
        return Listing(tuple(found.values()), not part.problem, part.read_at, part.problem, (part.digest,))

    async def activity_log(self, start: datetime, end: datetime, definition_ref: str = "") -> RunLog:
        """The Activity Log as last uploaded, cut to [start, end]; all definitions, whichever is asked for."""
        del definition_ref
        log = await self._log("activity_log")
        inside = tuple(r for r in log.runs if r.started_at is None or start <= r.started_at <= end)
        return RunLog(inside, log.complete, log.covers_from, log.covers_to, log.read_at, log.problem, log.digests)

    async def console(self) -> RunLog:
        """The Console as last uploaded."""
        return await self._log("console")

    async def run(self, ref: str) -> Run:
        """The run as the newest upload shows it."""
        logs = [await self._log("activity_log"), await self._log("console")]
        for log in sorted(logs, key=lambda x: x.read_at, reverse=True):
            for run in log.runs:
                if run.ref == ref:
                    return run
        raise NotFound(
            SYSTEM,
            self._account,
            f"the uploaded Activity Log and Console show no run {ref!r}",
            "upload what they show now: `allclear task read`",
        )

    async def report(self, ref: str) -> tuple[ReportRow, ...]:
        """A person reads error reports; they are never uploaded, because they name people."""
        raise Unavailable(SYSTEM, self._account, f"the report of run {ref} is read by a person", "open it there")

    async def _log(self, name: str) -> RunLog:
        part = await self._part(name, self._how.log_age_seconds)
        runs = tuple({run.ref: run for run in map(read_run, part.rows)}.values())
        covers_from = part.fields.moment("covers_from") or part.read_at
        covers_to = part.fields.moment("covers_to") or part.read_at
        return RunLog(runs, not part.problem, covers_from, covers_to, part.read_at, part.problem, (part.digest,))

    async def _part(self, name: str, age_seconds: float) -> _Part:
        """The newest upload of one part; Unavailable when there is none or it is too old."""
        events = await self._store.stream(f"reading/{self._account}")
        newest = next((e for e in reversed(events) if e.kind == name), None)
        what = name.replace("_", " ")
        hint = f"read it and upload what it shows: `allclear task read FILE --account {self._account} --by NAME`"
        if newest is None:
            raise Unavailable(SYSTEM, self._account, f"nobody has read the {what} yet", hint)
        part = _Part.of(self._account, name, newest.data)
        age = (self._clock.now() - part.read_at).total_seconds()
        if age > age_seconds:
            raise Unavailable(
                SYSTEM, self._account, f"the {what} was read {age / 60:.0f} min ago, which is too old", hint
            )
        click = next((e for e in reversed(events) if e.kind == CLICK), None)
        if click is not None and click.at >= part.read_at and name != "definitions":
            return part.doubted(f"it was read before the click at {iso(click.at)}")
        return part

    # ---- writes ----------------------------------------------------------------------------------------------------

    async def stop_run(self, ref: str, attempt: OpenAttempt) -> WriteResult:
        """A task to press Stop."""
        return await self._task(attempt, "stop_run", ref)

    async def reprocess(self, run_ref: str, attempt: OpenAttempt) -> WriteResult:
        """A task to press Reprocess."""
        return await self._task(attempt, "reprocess", run_ref)

    async def run_now(self, definition_ref: str, attempt: OpenAttempt) -> WriteResult:
        """A task to press Run Now."""
        return await self._task(attempt, "run_now", definition_ref)

    async def repeat(self, definition_ref: str, attempt: OpenAttempt) -> WriteResult:
        """A task to press Repeat Import."""
        return await self._task(attempt, "repeat_import", definition_ref)

    async def import_list(
        self,
        list_ref: int,
        tags: Sequence[str],
        filters: Mapping[str, int | bool | None],
        exclude_automations: bool,
        attempt: OpenAttempt,
    ) -> WriteResult:
        """A task to start an import by hand, with the exact tags and filters."""
        chosen = ", ".join(f"{k} = {v}" for k, v in sorted(filters.items()) if v is not None) or "none"
        more = {"tags": ", ".join(tags), "filters": chosen, "exclude": "yes" if exclude_automations else "no"}
        return await self._task(attempt, "tagged_import", str(list_ref), more)

    async def _task(
        self, attempt: OpenAttempt, button: str, target: str, more: Mapping[str, str] | None = None
    ) -> WriteResult:
        """Opens the task, or renews its go-ahead: the gate has just allowed it again."""
        stream, now = f"task/{attempt.action_key}", self._clock.now()
        try:
            events = await self._store.stream(stream)
            if not events:
                facts = self._facts(button, target, more or {})
                await self._store.append(stream, "opened", "allclear", now, facts, 0)
            elif (said := _said_last(events)) in ("clicking", "not_sure", "done"):
                # The ledger would have stopped us before this, unless it lost records: then nobody may click again.
                return WriteResult(
                    AttemptOutcome.UNKNOWN, detail=f"task {attempt.action_key} stands at {said.replace('_', ' ')}"
                )
            elif now - max(e.at for e in events if e.kind in ("opened", "allowed")) > RENEW_AFTER:
                await self._store.append(stream, "allowed", "allclear", now, {}, len(events))
        except LedgerConflict:
            pass  # another runner or person moved it in this instant; it is there, which is all that was wanted
        return WriteResult(
            AttemptOutcome.NOT_APPLIED,
            detail=f"not sent: task {attempt.action_key} waits for a named person (`allclear task list`)",
        )

    def _facts(self, button: str, target: str, more: Mapping[str, str]) -> dict[str, object]:
        what = BUTTONS[button]
        steps = [step.format_map({"target": target, **more}) for step in what.steps]
        return {
            "account": self._account,
            "button": button,
            "target": target,
            "page": what.page,
            "link": self._how.links.get(what.page, ""),
            "starts_a_run": what.starts_a_run,
            "steps": [LOOK_FIRST, *steps, THEN],
        }


def _said_last(events: Sequence[StoredEvent]) -> str:
    """The last event that says where a click stands."""
    words = ("clicking", "not_sure", "done", "not_done", "withdrawn")
    return next((e.kind for e in reversed(events) if e.kind in words), "")


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of a person's reading."""

    rows: list[Fields]
    fields: Fields
    read_at: datetime
    digest: str
    problem: str

    @classmethod
    def of(cls, account: str, name: str, data: Mapping[str, Any]) -> _Part:
        """The part as stored; BadReply names the field that is wrong."""
        digest = str(data.get("sha256", "")) or hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
        fields = Fields(data, SYSTEM, account, name, digest)
        problem = "" if fields.flag("complete", False) else "the person did not read it to its end"
        return cls(fields.records("rows"), fields, fields.required_moment("read_at"), digest, problem)

    def doubted(self, problem: str) -> _Part:
        """The same, not believed to be whole."""
        return _Part(self.rows, self.fields, self.read_at, self.digest, problem)


def check_reading(account: str, parts: Mapping[str, Mapping[str, object]]) -> None:
    """Reads every row of an upload as a run or a definition would be; BadReply names the first field that is wrong."""
    for name, data in parts.items():
        part = _Part.of(account, name, data)
        for row in part.rows:
            if name == "definitions":
                _refuse_unknown_kind(part, read_definition(account, row), row)
            else:
                read_run(row)


def _refuse_unknown_kind(part: _Part, made: Definition, row: Fields) -> None:
    """A person who writes a kind by hand may misspell one, and what is called `other` is never run."""
    if made.scheduled.kind is Kind.OTHER and row.text("kind") != Kind.OTHER:
        raise part.fields.bad(f'unknown kind {row.text("kind")[:40]!r}; what has no kind of its own is "other"')
