"""The Integrated Dashboard bridge of every account, as contracts/dashboard.openapi.yaml says a bridge must be.

Served at /{account}/bridge/v1. It promises no more than the dashboard does: late and moving logs, stops without effect,
runs that start again by themselves, requests that are not idempotent. `DashboardState.knobs` sets the unpleasant parts.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.dashboard_jobs import IMPORT_KINDS, DashboardHooks, DashboardKnobs, DashboardState, Run
from sandbox.wire import Json, RefusedError, body_object, same, token_after, whole_number
from sandbox.world import World

__all__ = ["DashboardHooks", "DashboardKnobs", "DashboardState", "Run", "build_app"]

KINDS = ("integrated_import", "data_sync_tag", "scheduled_trigger", "segment_transfer", "eaddress_sync")
PAGE_SIZE = 50
LARGEST_PAGE = 200
_NO_EFFECT = frozenset({"no-effect-ok"})

Handler = Callable[[World, DashboardState, Request], Awaitable[JSONResponse]]


def _problem(status: int, title: str, detail: str = "") -> JSONResponse:
    body: Json = {"type": "about:blank", "title": title, "status": status}
    if detail:
        body["detail"] = detail
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _time(state: DashboardState, at: datetime | None) -> str | None:
    return at.astimezone(state.zone).isoformat(timespec="seconds") if at else None


def _run_json(state: DashboardState, run: Run) -> Json:
    shown: Json = {
        "run_id": run.run_id,
        "definition_id": run.definition_id,
        "requested_by": run.requested_by,
        "scheduled_for": _time(state, run.scheduled_for),
        "started_at": _time(state, run.started_at),
        "ended_at": _time(state, run.ended_at),
        "state": run.state,
        "tags": run.tags,
        "repeated_from_run_id": run.repeated_from_run_id,
    }
    if run.counts is not None:
        shown["counts"] = run.counts
    return shown


# ---- pages ---------------------------------------------------------------------------------------------------------


def _page(state: DashboardState, request: Request, rows: list[Json]) -> tuple[list[Json], str | None]:
    """One page of rows and the cursor of the next; a cursor is a position, so the list may move under it."""
    limit = whole_number(request.query_params.get("limit"), PAGE_SIZE)
    if limit is None or not 1 <= limit <= LARGEST_PAGE:
        raise RefusedError(400, "Bad limit", f"limit must be a whole number from 1 to {LARGEST_PAGE}")
    start = _position(request.query_params.get("cursor"))
    if start > 0:
        start = max(0, start - min(state.knobs.repeat_rows, limit - 1))
    end = start + limit
    return rows[start:end], _cursor(end) if end < len(rows) else None


def _cursor(position: int) -> str:
    return base64.urlsafe_b64encode(json.dumps({"after": position}).encode()).decode().rstrip("=")


def _position(cursor: str | None) -> int:
    if not cursor:
        return 0
    try:
        value = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))["after"]
    except (binascii.Error, ValueError, KeyError, TypeError):
        value = None
    if not isinstance(value, int) or value < 0:
        raise RefusedError(400, "Bad cursor", "cursor is none that this bridge gave")
    return value


# ---- reads ---------------------------------------------------------------------------------------------------------


async def _capabilities(world: World, state: DashboardState, request: Request) -> JSONResponse:
    del world, request
    knobs = state.knobs
    told = {
        **state.capabilities,
        "returns_run_id": knobs.returns_run_id,
        "log_retention_days": knobs.log_retention_days,
        "account_time_zone": state.time_zone,
    }
    return JSONResponse(told)


async def _definitions(world: World, state: DashboardState, request: Request) -> JSONResponse:
    del world
    kind = request.query_params.get("kind")
    if kind is not None and kind not in KINDS:
        raise RefusedError(400, "Bad kind", f"kind must be one of {', '.join(KINDS)}")
    rows = [row for row in state.definitions.values() if kind in (None, row["kind"])]
    page, cursor = _page(state, request, rows)
    return JSONResponse({"definitions": page, "next_cursor": cursor})


def _moment(request: Request, name: str) -> datetime:
    try:
        at = datetime.fromisoformat(request.query_params[name])
    except (KeyError, ValueError):
        raise RefusedError(400, "Bad time", f"{name} must be an RFC 3339 date-time") from None
    if at.tzinfo is None:
        raise RefusedError(400, "Bad time", f"{name} must have an offset")
    return at.astimezone(UTC)


def _log_shows(state: DashboardState, run: Run, now: datetime) -> bool:
    if run.state == "queued" or run.begun_at() is None or not run.exists(now):
        return False
    return _in_log_at(state, run) <= now


def _in_log_at(state: DashboardState, run: Run) -> datetime:
    begun = run.started_at or run.begun_at()
    assert begun is not None
    return run.in_log_at or begun + timedelta(seconds=state.knobs.log_late_seconds)


def _covers_to(state: DashboardState, now: datetime) -> datetime:
    """Up to when the log is complete: honest, so before the first run that has begun and is not shown yet."""
    lag = max(state.knobs.covers_lag_seconds, state.knobs.log_late_seconds)
    latest = now - timedelta(seconds=lag)
    for run in state.runs.values():
        if run.started_at is not None and run.started_at < latest and not _log_shows(state, run, now):
            latest = run.started_at
    return latest


def _overlaps(run: Run, start: datetime, end: datetime, now: datetime) -> bool:
    times = [at for at in (run.scheduled_for, run.started_at, run.ended_at) if at is not None]
    if run.in_progress():
        times.append(now)
    return bool(times) and min(times) <= end and max(times) >= start


def _log_page(world: World, state: DashboardState, request: Request, runs: list[Run]) -> JSONResponse:
    now = world.now()
    runs.sort(key=lambda run: (run.begun_at() or now, run.number), reverse=True)
    page, cursor = _page(state, request, [_run_json(state, run) for run in runs])
    return JSONResponse(
        {
            "runs": page,
            "next_cursor": cursor,
            "covers_from": _time(state, now - timedelta(days=state.knobs.log_retention_days)),
            "covers_to": _time(state, _covers_to(state, now)),
            "generated_at": _time(state, now),
        }
    )


async def _activity_log(world: World, state: DashboardState, request: Request) -> JSONResponse:
    start, end, now = _moment(request, "from"), _moment(request, "to"), world.now()
    if end < start:
        raise RefusedError(400, "Bad time", "to lies before from")
    wanted = request.query_params.get("definition_id")
    oldest = now - timedelta(days=state.knobs.log_retention_days)
    runs = [
        run
        for run in state.runs.values()
        if wanted in (None, run.definition_id)
        and _log_shows(state, run, now)
        and _overlaps(run, max(start, oldest), end, now)
    ]
    return _log_page(world, state, request, runs)


async def _console(world: World, state: DashboardState, request: Request) -> JSONResponse:
    now = world.now()
    return _log_page(
        world, state, request, [run for run in state.runs.values() if run.in_progress() and run.exists(now)]
    )


def _run_of(world: World, state: DashboardState, request: Request) -> Run:
    run = state.runs.get(request.path_params["run_id"])
    if run is None or not run.exists(world.now()):
        raise RefusedError(404, "No such run")
    return run


async def _run(world: World, state: DashboardState, request: Request) -> JSONResponse:
    return JSONResponse(_run_json(state, _run_of(world, state, request)))


async def _report(world: World, state: DashboardState, request: Request) -> JSONResponse:
    run = _run_of(world, state, request)
    return JSONResponse({"run_id": run.run_id, "rows": state.reports.get(run.run_id, [])})


# ---- writes --------------------------------------------------------------------------------------------------------


def _need(state: DashboardState, capability: str) -> None:
    if not state.capabilities.get(capability):
        raise RefusedError(404, "Not supported", f"this bridge does not offer {capability}")


def _refuse_overlap(state: DashboardState, definition_id: str) -> None:
    if state.knobs.conflict_when_running and state.in_progress(definition_id):
        raise RefusedError(409, "In progress", "a run of this definition is in progress")


def _started(
    world: World, state: DashboardState, op: str, definition_id: str, requested_by: str, **fields: Any
) -> JSONResponse:
    queued_at = _time(state, world.now())
    if world.faults.take("dashboard", state.account, op, _NO_EFFECT) is not None:
        return JSONResponse({"run_id": None, "queued_at": queued_at}, 202)
    run = state.start_run(world, definition_id, requested_by, **fields)
    return JSONResponse({"run_id": run.run_id if state.knobs.returns_run_id else None, "queued_at": queued_at}, 202)


async def _stop(world: World, state: DashboardState, request: Request) -> JSONResponse:
    _need(state, "stop")
    run = _run_of(world, state, request)
    if run.state == "stop_requested":
        raise RefusedError(409, "Stop already requested")
    result = state.stop_run(world, run)
    words = {"accepted": "The job was asked to stop.", "refused": "This job cannot be stopped."}
    return JSONResponse({"result": result, "message": words.get(result, "There was nothing to stop.")}, 202)


async def _reprocess(world: World, state: DashboardState, request: Request) -> JSONResponse:
    _need(state, "reprocess")
    run = _run_of(world, state, request)
    _refuse_overlap(state, run.definition_id)
    return _started(
        world,
        state,
        "reprocess",
        run.definition_id,
        "reprocess",
        repeated_from_run_id=run.run_id,
        tags=list(run.tags),
        exclude_automations=run.exclude_automations,
    )


def _definition_of(state: DashboardState, request: Request, kinds: frozenset[str]) -> Json:
    found = state.definitions.get(request.path_params["definition_id"])
    if found is None:
        raise RefusedError(404, "No such definition")
    if found["kind"] not in kinds:
        raise RefusedError(409, "Wrong kind", f"this cannot be asked of a definition of kind {found['kind']}")
    return found


def _latest_run(state: DashboardState, definition_id: str) -> str | None:
    past = [run for run in state.runs.values() if run.definition_id == definition_id and run.started_at is not None]
    return max(past, key=lambda run: run.number).run_id if past else None


async def _run_now(world: World, state: DashboardState, request: Request) -> JSONResponse:
    _need(state, "run_now")
    definition_id = str(_definition_of(state, request, frozenset({"scheduled_trigger"}))["definition_id"])
    _refuse_overlap(state, definition_id)
    before = _latest_run(state, definition_id)
    return _started(world, state, "run_now", definition_id, "run_now", repeated_from_run_id=before)


async def _repeat(world: World, state: DashboardState, request: Request) -> JSONResponse:
    _need(state, "repeat")
    found = _definition_of(state, request, IMPORT_KINDS)
    definition_id = str(found["definition_id"])
    _refuse_overlap(state, definition_id)
    before = _latest_run(state, definition_id)
    tags = list(found.get("tags", []))
    return _started(world, state, "repeat", definition_id, "repeat", repeated_from_run_id=before, tags=tags)


def _check_import(body: Json | None) -> Json:
    if body is None:
        raise RefusedError(422, "Bad import", "the body must be a JSON object")
    list_ref, tags = body.get("list_manager_list_id"), body.get("tags")
    if not isinstance(list_ref, int) or isinstance(list_ref, bool):
        raise RefusedError(422, "Bad import", "list_manager_list_id must be a whole number")
    if not isinstance(tags, list) or not tags or not all(isinstance(tag, str) and tag.strip() for tag in tags):
        raise RefusedError(422, "Bad import", "tags must be a list of at least one tag")
    if not isinstance(body.get("filters", {}), dict):
        raise RefusedError(422, "Bad import", "filters must be an object")
    if not isinstance(body.get("exclude_automations", False), bool):
        raise RefusedError(422, "Bad import", "exclude_automations must be true or false")
    return body


async def _imports(world: World, state: DashboardState, request: Request) -> JSONResponse:
    _need(state, "imports")
    body = _check_import(await body_object(request))
    list_ref, filters = body["list_manager_list_id"], body.get("filters", {})
    try:
        state.hooks.contents(list_ref, filters)
    except LookupError:
        raise RefusedError(422, "Bad import", f"List Manager has no list {list_ref}") from None
    definition_id = f"import-{len(state.definitions) + 1}"
    state.add_definition(
        definition_id,
        "integrated_import",
        f"Import of list {list_ref}",
        list_manager_list_id=list_ref,
        tags=body["tags"],
        filters=filters,
        created_at=_time(state, world.now()),
    )
    return _started(
        world,
        state,
        "imports",
        definition_id,
        "import",
        tags=list(body["tags"]),
        exclude_automations=body.get("exclude_automations", False),
    )


# ---- the app -------------------------------------------------------------------------------------------------------

_ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/capabilities", "capabilities", _capabilities),
    ("GET", "/definitions", "definitions", _definitions),
    ("GET", "/activity-log", "activity_log", _activity_log),
    ("GET", "/console", "console", _console),
    ("GET", "/runs/{run_id}", "run", _run),
    ("GET", "/runs/{run_id}/report", "report", _report),
    ("POST", "/runs/{run_id}/stop", "stop", _stop),
    ("POST", "/runs/{run_id}/reprocess", "reprocess", _reprocess),
    ("POST", "/definitions/{definition_id}/run-now", "run_now", _run_now),
    ("POST", "/definitions/{definition_id}/repeat", "repeat", _repeat),
    ("POST", "/imports", "imports", _imports),
)


async def _serve(world: World, states: Mapping[str, DashboardState], handler: Handler, request: Request) -> Response:
    state = states.get(request.path_params["account"])
    if state is None:
        return _problem(404, "No such account")
    if not same(token_after("Bearer", request) or "", state.token):
        return _problem(401, "Unauthorized", "a valid bearer token is needed")
    state.tick(world)
    try:
        return await handler(world, state, request)
    except RefusedError as refused:
        return _problem(refused.status, refused.message, refused.detail)


def _http_problem(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, error.detail)


def build_app(world: World, states: Mapping[str, DashboardState]) -> Starlette:
    """The bridges of all accounts, each under /{account}/bridge/v1 with its own bearer token."""
    routes = [
        Route(
            "/{account}/bridge/v1" + path,
            functools.partial(_serve, world, states, handler),
            methods=[method],
            name=name,
        )
        for method, path, name, handler in _ROUTES
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_problem})
