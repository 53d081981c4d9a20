"""Definitions and runs of one account's Integrated Dashboard, and what happens to them as the estate's clock goes on.

Facts: reference/prospect2-tessitura.md §1.5 and §4. A run that ends has its kind's effect: an import tags the list's
contacts, a data sync works only on the difference to its memory, a trigger puts today's matches into its automation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.wire import Json
from sandbox.world import World

Contents = Callable[[int, Mapping[str, Any]], Sequence[tuple[int, str | None]]]
Apply = Callable[[str, list[str], list[str], bool], int]
Remove = Callable[[str, list[str], list[str]], int]
Matches = Callable[[str, datetime], Sequence[str]]
Enter = Callable[[str, str, Sequence[str]], None]

UNDER_WAY = frozenset({"queued", "running", "stop_requested"})
IMPORT_KINDS = frozenset({"integrated_import"})
CAPABILITIES: Json = {"stop": True, "reprocess": True, "run_now": True, "repeat": True, "imports": True}


def _no_contents(list_ref: int, filters: Mapping[str, Any]) -> Sequence[tuple[int, str | None]]:
    del list_ref, filters
    return []


def _no_apply(account: str, emails: list[str], tags: list[str], exclude_automations: bool) -> int:
    del account, tags, exclude_automations
    return len(emails)


def _no_remove(account: str, emails: list[str], tags: list[str]) -> int:
    del account, tags
    return len(emails)


def _no_matches(definition_id: str, now: datetime) -> Sequence[str]:
    del definition_id, now
    return []


def _no_enter(account: str, automation: str, contacts: Sequence[str]) -> None:
    del account, automation, contacts


@dataclass
class DashboardHooks:
    """How the dashboard reaches the other twins; the estate sets them.

    `contents(list, filters)` gives (constituent, email) of a list read now and raises LookupError for an unknown list;
    `apply` upserts contacts and tags them, `remove` takes tags away; both say how many contacts they changed.
    `matches(definition, now)` are the contacts a trigger selects at that moment; `enter` puts them into an automation.
    """

    contents: Contents = _no_contents
    apply: Apply = _no_apply
    remove: Remove = _no_remove
    matches: Matches = _no_matches
    enter: Enter = _no_enter


@dataclass
class DashboardKnobs:
    """The unpleasant parts, all off or harmless by default; durations in seconds of the estate's clock."""

    run_seconds: float = 2.0
    queue_seconds: float = 0.0
    stop_seconds: float = 1.0
    run_outcome: str = "succeeded"
    run_outcomes: dict[str, str] = field(default_factory=dict)  # by definition, wins over run_outcome
    stop_result: str = "accepted"  # accepted | refused | no_effect, for runs that name none themselves
    log_late_seconds: float = 0.0  # a run shows in the Activity Log only so long after it started
    covers_lag_seconds: float = 0.0
    repeat_rows: int = 0  # every further page begins so many rows early, as if that many runs had arrived meanwhile
    conflict_when_running: bool = False
    returns_run_id: bool = True
    log_retention_days: int = 90


@dataclass
class Run:
    """One run. Times ending in `_at` are aware UTC; `ends_at` None means that it hangs until stopped.

    A stopped run with `revives_at` continues by itself then and ends `run_seconds` later. `stop_works` false is a stop
    that is accepted although the run goes on.
    """

    run_id: str
    definition_id: str
    requested_by: str = "schedule"
    state: str = "queued"
    scheduled_for: datetime | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    counts: Json | None = None
    tags: list[str] = field(default_factory=list)
    repeated_from_run_id: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    end_state: str = "succeeded"
    in_log_at: datetime | None = None
    stop_result: str | None = None
    stop_works: bool = True
    stops_at: datetime | None = None
    revives_at: datetime | None = None
    exclude_automations: bool = False
    number: int = 0

    def in_progress(self) -> bool:
        """Whether the run is queued or running, a requested stop included."""
        return self.state in UNDER_WAY

    def begun_at(self) -> datetime | None:
        """The time by which the Activity Log orders the run."""
        return self.started_at or self.scheduled_for or self.queued_at

    def exists(self, now: datetime) -> bool:
        """Whether anybody can see the run yet; one that will start by itself is not seen before it is queued."""
        return not (self.state == "queued" and (self.queued_at or self.starts_at or now) > now)


class DashboardState:
    """One account's dashboard. `definitions` are in the contract's own JSON form, by id."""

    def __init__(
        self, account: str, token: str, *, time_zone: str = "UTC", hooks: DashboardHooks | None = None
    ) -> None:
        self.account = account
        self.token = token
        self.zone = ZoneInfo(time_zone)
        self.time_zone = time_zone
        self.hooks = hooks or DashboardHooks()
        self.knobs = DashboardKnobs()
        self.capabilities: Json = dict(CAPABILITIES)
        self.definitions: dict[str, Json] = {}
        self.runs: dict[str, Run] = {}
        self.reports: dict[str, list[Json]] = {}
        self.memory: dict[str, dict[int, str]] = {}  # a data sync's memory: constituent -> email, by definition
        self.entered: list[tuple[str, str]] = []  # (automation, contact), once per entry
        self._moving: set[str] = set()
        self._number = 0

    def add_definition(
        self,
        definition_id: str,
        kind: str,
        name: str,
        schedule: Json | None = None,
        *,
        active: bool = True,
        **rest: Any,
    ) -> Json:
        """Add a definition; `rest` are the contract's further fields."""
        made = {
            "definition_id": definition_id,
            "kind": kind,
            "name": name,
            "active": active,
            "schedule": schedule or {"type": "manual"},
            **rest,
        }
        self.definitions[definition_id] = made
        return made

    def add_run(self, definition_id: str, *, run_id: str = "", **fields: Any) -> Run:
        """Add a run as it stands; a queued one with `starts_at`, or a running one with `ends_at`, goes on by itself."""
        self._number += 1
        run = Run(run_id or f"{self.account}-r{self._number}", definition_id, number=self._number, **fields)
        self.runs[run.run_id] = run
        self._moving.add(run.run_id)
        return run

    def set_report(self, run_id: str, rows: Sequence[Json]) -> None:
        """Set the error report of a run: rows of row, constituent_id, email, message."""
        self.reports[run_id] = list(rows)

    def in_progress(self, definition_id: str) -> bool:
        """Whether a run of the definition is queued or running."""
        return any(
            self.runs[ref].definition_id == definition_id and self.runs[ref].in_progress() for ref in self._moving
        )

    def start_run(self, world: World, definition_id: str, requested_by: str, **fields: Any) -> Run:
        """Queue a new run on request and let it begin when its time has come."""
        now = world.now()
        knobs = self.knobs
        run = self.add_run(
            definition_id,
            requested_by=requested_by,
            queued_at=now,
            starts_at=now + timedelta(seconds=knobs.queue_seconds),
            end_state=knobs.run_outcomes.get(definition_id, knobs.run_outcome),
            **fields,
        )
        run.stop_result = "refused" if requested_by == "run_now" else None  # Run Now cannot be stopped once queued
        self._journal(
            world,
            "run_requested",
            run=run.run_id,
            definition=definition_id,
            requested_by=requested_by,
            repeated_from=run.repeated_from_run_id,
            tags=run.tags,
        )
        self.tick(world)
        return run

    def stop_run(self, world: World, run: Run) -> str:
        """Attempt to stop a run: accepted, refused or no_effect. What comes of it shows only later."""
        result = (run.stop_result or self.knobs.stop_result) if run.in_progress() else "no_effect"
        if result == "accepted":
            run.state = "stop_requested"
            run.stops_at = world.now() + timedelta(seconds=self.knobs.stop_seconds)
        self._journal(world, "stop", run=run.run_id, definition=run.definition_id, result=result)
        return result

    def tick(self, world: World) -> None:
        """Let everything happen that is due by the estate's clock, each at its own due time."""
        now = world.now()
        for ref in sorted(self._moving, key=lambda ref: self.runs[ref].number):
            run = self.runs[ref]
            while (step := self._next_step(run)) is not None and step[0] <= now:
                step[1](world, run, step[0])
            if not run.in_progress() and not (run.state == "stopped" and run.revives_at):
                self._moving.discard(ref)

    def _next_step(self, run: Run) -> tuple[datetime, Callable[[World, Run, datetime], None]] | None:
        due: list[tuple[datetime | None, Callable[[World, Run, datetime], None]]] = []
        if run.state == "queued":
            due = [(run.starts_at, self._start)]
        elif run.state == "running":
            due = [(run.ends_at, self._end)]
        elif run.state == "stop_requested":
            due = [(run.stops_at, self._settle_stop), (run.ends_at, self._end)]
        elif run.state == "stopped":
            due = [(run.revives_at, self._revive)]
        timed = [(at, step) for at, step in due if at is not None]
        return min(timed, key=lambda pair: pair[0], default=None)

    def _start(self, world: World, run: Run, at: datetime) -> None:
        run.state, run.started_at = "running", at
        run.ends_at = run.ends_at or at + timedelta(seconds=self.knobs.run_seconds)
        self._journal_start(world, run)

    def _settle_stop(self, world: World, run: Run, at: datetime) -> None:
        run.stops_at = None
        if not run.stop_works:
            run.state = "running"
            return
        run.state, run.ended_at = "stopped", at
        run.counts = {"returned": 0, "updated": 0, "errored": 0}
        self._journal(
            world, "run_ended", run=run.run_id, definition=run.definition_id, state="stopped", counts=run.counts
        )

    def _revive(self, world: World, run: Run, at: datetime) -> None:
        run.state, run.ended_at, run.revives_at = "running", None, None
        run.ends_at = at + timedelta(seconds=self.knobs.run_seconds)
        self._journal_start(world, run, revived=True)

    def _end(self, world: World, run: Run, at: datetime) -> None:
        run.state, run.ended_at = run.end_state, at
        definition = self.definitions.get(run.definition_id, {})
        effect = _EFFECTS.get(str(definition.get("kind")), DashboardState._nothing)
        if run.state in {"succeeded", "partial_error"}:
            run.counts = effect(self, world, run, definition)
        elif run.state == "failed":
            run.counts = {"returned": 0, "updated": 0, "errored": 1}
            self.reports.setdefault(run.run_id, [{"row": 0, "email": None, "message": "The job did not complete."}])
        self._journal_end(world, run)

    def _nothing(self, world: World, run: Run, definition: Json) -> Json:
        del world, run, definition
        return {"returned": 0, "updated": 0, "errored": 0}

    def _import(self, world: World, run: Run, definition: Json) -> Json:
        list_ref = definition.get("list_manager_list_id")
        rows = self.hooks.contents(int(list_ref), definition.get("filters") or {}) if list_ref is not None else []
        emails = [email for _, email in rows if email]
        tags = run.tags or list(definition.get("tags", []))
        self.hooks.apply(self.account, emails, tags, run.exclude_automations)
        bad = [
            {"row": n, "constituent_id": constituent, "email": None, "message": "No usable e-mail address."}
            for n, (constituent, email) in enumerate(rows, start=1)
            if not email
        ]
        if bad:
            run.state = "partial_error"
            self.reports[run.run_id] = bad
        self._journal(world, "imported", run=run.run_id, list=list_ref, tags=tags, count=len(emails), errored=len(bad))
        return {"returned": len(rows), "updated": len(emails), "errored": len(bad)}

    def _sync(self, world: World, run: Run, definition: Json) -> Json:
        list_ref = definition.get("list_manager_list_id")
        rows = self.hooks.contents(int(list_ref), definition.get("filters") or {}) if list_ref is not None else []
        current = {constituent: email for constituent, email in rows if email}
        memory = self.memory.get(run.definition_id, {})
        added = [email for constituent, email in current.items() if constituent not in memory]
        removed = [email for constituent, email in memory.items() if constituent not in current]
        if definition.get("sync_mode") != "add_remove":
            removed = []
        tags = list(definition.get("tags", []))
        if added:
            self.hooks.apply(self.account, added, tags, run.exclude_automations)
        if removed:
            self.hooks.remove(self.account, removed, tags)
        self.memory[run.definition_id] = current
        self._journal(world, "synced", run=run.run_id, list=list_ref, tags=tags, added=len(added), removed=len(removed))
        return {"returned": len(added) + len(removed), "updated": len(added) + len(removed), "errored": 0}

    def _trigger(self, world: World, run: Run, definition: Json) -> Json:
        automation = str(definition.get("automation_id") or "")
        contacts = list(self.hooks.matches(run.definition_id, world.now()))
        self.entered.extend((automation, contact) for contact in contacts)
        self.hooks.enter(self.account, automation, contacts)
        self._journal(
            world,
            "automation_entered",
            automation=automation,
            contact_count=len(contacts),
            contacts=contacts,
            run=run.run_id,
            definition=run.definition_id,
        )
        return {"returned": len(contacts), "updated": len(contacts), "errored": 0}

    def _journal_start(self, world: World, run: Run, *, revived: bool = False) -> None:
        self._journal(
            world,
            "run_started",
            run=run.run_id,
            definition=run.definition_id,
            requested_by=run.requested_by,
            scheduled_for=run.scheduled_for,
            revived=revived,
        )

    def _journal_end(self, world: World, run: Run) -> None:
        self._journal(
            world,
            "run_ended",
            run=run.run_id,
            definition=run.definition_id,
            requested_by=run.requested_by,
            state=run.state,
            counts=run.counts,
        )

    def _journal(self, world: World, event: str, **fields: object) -> None:
        world.journal("dashboard", self.account, event, **fields)


Effect = Callable[[DashboardState, World, Run, Json], Json]
_EFFECTS: dict[str, Effect] = {
    "integrated_import": DashboardState._import,
    "data_sync_tag": DashboardState._sync,
    "scheduled_trigger": DashboardState._trigger,
}
