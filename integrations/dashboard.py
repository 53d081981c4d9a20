"""The Integrated Dashboard through a bridge that serves `dashboard.openapi.yaml` beside this file.

The dashboard has no public API (prospect2-tessitura.md §4); the bridge promises no more than the dashboard does: no
idempotency, late logs, stops without effect. So "accepted" is never read as "stopped", a log is believed only when all
its pages were read, and a job that was asked for and got no run id is found again in the log by the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from integrations.dashboard_rows import names_its_zone, read_definition, read_run
from integrations.evidence import redact_text
from integrations.fields import says_no
from integrations.http import CapabilityManifest, Fields, Judge, Reply, Transport, segment
from integrations.pages import CursorPage, read_by_cursor
from recovery.errors import BadReply, RemoteError
from recovery.model import AttemptOutcome, OpenAttempt, WriteResult, iso
from recovery.ports import BridgeCapabilities, Definition, Listing, ReportRow, Run, RunLog

T = TypeVar("T")

PAGE = 200
CLOCK_SLACK = timedelta(minutes=5)
"""Times are asked for in whole seconds and clocks differ: a run that began this second must still be seen."""
MAX_PAGES = 5000


class DashboardClient:
    """The jobs of one account: the `JobDesk` over HTTP.

    A schedule that names no zone is read in the one that the bridge names for the account, else in `time_zone`.
    """

    def __init__(self, transport: Transport, proven: CapabilityManifest | None = None, time_zone: str = "UTC") -> None:
        self._http, self._zone = transport, time_zone
        self._told_zone: str | None = None
        self._proven = proven or CapabilityManifest(transport.system)

    @staticmethod
    def credentials(token: str) -> dict[str, str]:
        """The header that signs every call."""
        return {"Authorization": f"Bearer {token}"}

    def manifest(self) -> CapabilityManifest:
        """What this bridge is proven to do."""
        return self._proven

    # ---- reads -----------------------------------------------------------------------------------------------------

    async def capabilities(self) -> BridgeCapabilities:
        """What may be asked of it; what the bridge does not say, it cannot."""
        got = await self._http.record("capabilities", "/capabilities")
        self._told_zone = _known_zone(got.text("account_time_zone", ""))
        return BridgeCapabilities(
            stop=got.flag("stop", False),
            reprocess=got.flag("reprocess", False),
            run_now=got.flag("run_now", False),
            repeat=got.flag("repeat", False),
            imports=got.flag("imports", False),
            returns_run_id=got.flag("returns_run_id", False),
            log_retention_days=got.maybe_integer("log_retention_days"),
            account_time_zone=got.text("account_time_zone", ""),
        )

    async def _account_zone(self) -> str:
        """The zone that the bridge named when it was first asked, else that of the settings."""
        if self._told_zone is None:
            try:
                await self.capabilities()
            except RemoteError:
                return self._zone
        return self._told_zone or self._zone

    async def definitions(self) -> Listing[Definition]:
        """Everything that can run. A row that cannot be read is left out, named, and makes it incomplete."""
        broken: list[str] = []

        async def fetch(cursor: str) -> CursorPage[Fields]:
            page = await self._page("definitions", "/definitions", cursor)
            return CursorPage(page.records("definitions"), page.text("next_cursor", ""), page.digest)

        rows, digests, problem = await read_by_cursor(fetch, max_pages=MAX_PAGES)
        zone = self._zone if all(map(names_its_zone, rows)) else await self._account_zone()
        read = partial(read_definition, self._http.account, time_zone=zone)
        found = {made.ref: made for made in _readable(read, rows, broken)}
        problem = problem or next(iter(broken), "")
        return Listing(tuple(found.values()), not problem, self._http.clock.now(), problem, tuple(digests))

    async def activity_log(self, start: datetime, end: datetime, definition_ref: str = "") -> RunLog:
        """Runs in [start, end], all pages; a clock that is ahead of ours hides none of the newest.

        A bridge that does not know `definition_id` gives every definition's runs.
        """
        query = {"from": iso(start), "to": iso(end + CLOCK_SLACK)}
        query |= {"definition_id": definition_ref} if definition_ref else {}
        return await self._log("activity_log", "/activity-log", query)

    async def console(self) -> RunLog:
        """Runs queued or running now."""
        return await self._log("console", "/console", {})

    async def run(self, ref: str) -> Run:
        """One run read fresh."""
        got = await self._http.record("run", f"/runs/{segment(ref)}")
        run = read_run(got)
        if run.ref != ref:
            raise got.bad(f"asked for run {ref} and got {run.ref}")
        return run

    async def report(self, ref: str) -> tuple[ReportRow, ...]:
        """The run's error report. What a row says goes to people and tickets, so addresses in it are taken out."""
        got = await self._http.record("report", f"/runs/{segment(ref)}/report")
        return tuple(
            ReportRow(
                row=row.integer("row", n),
                constituent_ref=row.maybe_integer("constituent_id"),
                email=row.text("email", "").strip().lower(),
                message=redact_text(row.text("message", "")),
            )
            for n, row in enumerate(got.records("rows"), start=1)
        )

    async def _page(self, op: str, path: str, cursor: str, query: Mapping[str, str] | None = None) -> Fields:
        params: dict[str, str | int] = {**(query or {}), "limit": PAGE}
        if cursor:
            params["cursor"] = cursor
        return await self._http.record(op, path, params=params)

    async def _log(self, op: str, path: str, query: Mapping[str, str]) -> RunLog:
        """The log as one. A run met twice counts as it was read last; the coverage is what every page agrees on."""
        covers: list[tuple[datetime, datetime | None]] = []
        broken: list[str] = []

        async def fetch(cursor: str) -> CursorPage[Run]:
            page = await self._page(op, path, cursor, query)
            covers.append((page.required_moment("covers_from"), page.moment("covers_to")))
            rows = _readable(read_run, page.records("runs"), broken)
            return CursorPage(rows, page.text("next_cursor", ""), page.digest)

        rows, digests, problem = await read_by_cursor(fetch, max_pages=MAX_PAGES)
        problem = problem or next(iter(broken), "")
        ends = [covered_to for _, covered_to in covers]
        return RunLog(
            runs=tuple({run.ref: run for run in rows}.values()),
            complete=not problem,
            covers_from=max(covered_from for covered_from, _ in covers),
            covers_to=min((e for e in ends if e is not None), default=None) if None not in ends else None,
            read_at=self._http.clock.now(),
            problem=problem,
            digests=tuple(digests),
        )

    # ---- writes ----------------------------------------------------------------------------------------------------

    async def stop_run(self, ref: str, attempt: OpenAttempt) -> WriteResult:
        """Attempt to stop; APPLIED means "accepted", which is not "stopped": read the run again."""
        path = f"/runs/{segment(ref)}/stop"
        return await self._http.write(attempt, "stop", "POST", path, judge=self._stopped(ref))

    async def reprocess(self, run_ref: str, attempt: OpenAttempt) -> WriteResult:
        """Run the job of this run again; `ref` is the new run, "" when the bridge does not tell."""
        return await self._start(attempt, "reprocess", f"/runs/{segment(run_ref)}/reprocess")

    async def run_now(self, definition_ref: str, attempt: OpenAttempt) -> WriteResult:
        """Scheduled Trigger "Run Now": irreversible."""
        return await self._start(attempt, "run_now", f"/definitions/{segment(definition_ref)}/run-now")

    async def repeat(self, definition_ref: str, attempt: OpenAttempt) -> WriteResult:
        """Integrated Import "Repeat Import"."""
        return await self._start(attempt, "repeat", f"/definitions/{segment(definition_ref)}/repeat")

    async def import_list(
        self,
        list_ref: int,
        tags: Sequence[str],
        filters: Mapping[str, int | bool | None],
        exclude_automations: bool,
        attempt: OpenAttempt,
    ) -> WriteResult:
        """A new Integrated Import of a list, applying tags at import."""
        body = {
            "list_manager_list_id": list_ref,
            "tags": list(tags),
            "filters": {name: value for name, value in filters.items() if value is not None},
            "exclude_automations": exclude_automations,
        }
        return await self._start(attempt, "imports", "/imports", body)

    async def _start(self, attempt: OpenAttempt, op: str, path: str, body: object = None) -> WriteResult:
        return await self._http.write(attempt, op, "POST", path, json=body, judge=self._started(op))

    def _started(self, op: str) -> Judge:
        """A run id, or the time of queueing, or 202 with an object that refuses nothing: the contract asks no more."""

        def judge(reply: Reply) -> WriteResult | None:
            got = self._http.fields(op, reply)
            run_ref = got.ref("run_id") if got.values.get("run_id") else ""
            told = bool(run_ref) or got.moment("queued_at") is not None
            if not told and (reply.status != 202 or says_no(got.values) or _is_problem(got)):
                return None
            return WriteResult(AttemptOutcome.APPLIED, ref=run_ref)

        return judge

    def _stopped(self, ref: str) -> Judge:
        def judge(reply: Reply) -> WriteResult | None:
            got = self._http.fields("stop", reply)
            word = got.text("result")
            detail = f"{word}: {got.text('message', '')}".rstrip(": ")
            outcome = _STOP_RESULTS.get(word)
            return WriteResult(outcome, ref=ref, detail=detail) if outcome else None

        return judge


def _is_problem(row: Fields) -> bool:
    """Whether this is the contract's problem object, whatever the status above it."""
    return "title" in row.values and "status" in row.values


def _known_zone(name: str) -> str:
    """The name of a zone, "" when there is none of that name."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ""
    return name


def _readable(read: Callable[[Fields], T], rows: Sequence[Fields], broken: list[str]) -> list[T]:
    """What can be read of these rows; `broken` gets the reason of each other one, which costs no neighbour."""
    found = []
    for row in rows:
        try:
            found.append(read(row))
        except BadReply as problem:
            broken.append(str(problem))
    return found


# "no_effect" is a refusal too: nothing was asked of the job. What the job does now is read, not concluded from this.
_STOP_RESULTS: Mapping[str, AttemptOutcome] = {
    "accepted": AttemptOutcome.APPLIED,
    "refused": AttemptOutcome.REJECTED,
    "no_effect": AttemptOutcome.REJECTED,
}
