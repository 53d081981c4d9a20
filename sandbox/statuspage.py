"""Atlassian Statuspage: incidents with updates and metadata on one page, one request a second.

Facts: reference/vendors.md §7. There is no idempotency; too fast is answered with 420.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.wire import Json, RefusedError, body_object, same, token_after, whole_number
from sandbox.world import World

STATUSES = (
    "investigating",
    "identified",
    "monitoring",
    "resolved",
    "scheduled",
    "in_progress",
    "verifying",
    "completed",
)
FINISHED = frozenset({"resolved", "completed", "postmortem"})
IMPACTS = ("none", "minor", "major", "critical", "maintenance")
LONGEST_NAME = 255
LONGEST_BODY = 25000


@dataclass
class StatuspageKnobs:
    """`requests_per_minute` is per key over 60 seconds of the estate's clock; 0 is no limit."""

    requests_per_minute: int = 60


@dataclass
class PageIncident:
    """One incident; updates oldest first."""

    incident_id: str
    name: str
    status: str
    created_at: datetime
    updated_at: datetime
    metadata: Json = field(default_factory=dict)
    impact: str = "none"
    component_ids: list[str] = field(default_factory=list)
    updates: list[Json] = field(default_factory=list)
    resolved_at: datetime | None = None


class StatuspageState:
    """One page with its components: id -> name."""

    def __init__(self, key: str, *, page: str = "page0twin") -> None:
        self.key = key
        self.page = page
        self.components = {"comp-mail": "E-mail sending", "comp-sync": "Tessitura integration"}
        self.incidents: dict[str, PageIncident] = {}
        self.requests: list[datetime] = []
        self.knobs = StatuspageKnobs()


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _component_json(state: StatuspageState, ref: str) -> Json:
    return {"id": ref, "page_id": state.page, "name": state.components[ref], "status": "operational", "group": False}


def _incident_json(state: StatuspageState, one: PageIncident) -> Json:
    return {
        "id": one.incident_id,
        "name": one.name,
        "status": one.status,
        "impact": one.impact,
        "page_id": state.page,
        "created_at": _time(one.created_at),
        "updated_at": _time(one.updated_at),
        "resolved_at": _time(one.resolved_at) if one.resolved_at else None,
        "monitoring_at": None,
        "shortlink": f"https://stspg.example/{one.incident_id}",
        "metadata": one.metadata,
        "components": [_component_json(state, ref) for ref in one.component_ids],
        "incident_updates": one.updates[::-1],
    }


def _invalid(words: str) -> RefusedError:
    return RefusedError(422, words)


async def _given(request: Request) -> Json:
    body = await body_object(request)
    given = body.get("incident") if body is not None else None
    if not isinstance(given, dict):
        raise RefusedError(400, "incident is missing")
    return given


def _check(state: StatuspageState, given: Json) -> None:
    name, body, metadata = given.get("name"), given.get("body"), given.get("metadata")
    if name is not None and (not isinstance(name, str) or not 1 <= len(name) <= LONGEST_NAME):
        raise _invalid("Name is too long (maximum is 255 characters)" if name else "Name can't be blank")
    if body is not None and (not isinstance(body, str) or len(body) > LONGEST_BODY):
        raise _invalid("Body is too long (maximum is 25000 characters)")
    if given.get("status") is not None and given["status"] not in STATUSES:
        raise _invalid("Status is invalid")
    if given.get("impact_override") is not None and given["impact_override"] not in IMPACTS:
        raise _invalid("Impact override is invalid")
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(v, dict) for v in metadata.values())
    ):
        raise _invalid("Metadata must be an object whose top-level values are objects")
    if set(given.get("component_ids") or []) - set(state.components):
        raise _invalid("Component ids are invalid")


def _apply(world: World, one: PageIncident, given: Json) -> None:
    now = world.now()
    one.name = given.get("name") or one.name
    one.status = given.get("status") or one.status
    one.impact = given.get("impact_override") or one.impact
    one.component_ids = list(given.get("component_ids") or one.component_ids)
    one.metadata = given.get("metadata", one.metadata)
    one.updated_at = now
    one.resolved_at = now if one.status in FINISHED else None
    if given.get("status") or given.get("body"):
        update: dict[str, Any] = {
            "id": f"upd{len(one.updates) + 1:03d}{one.incident_id}",
            "incident_id": one.incident_id,
            "status": one.status,
            "body": given.get("body") or "",
            "created_at": _time(now),
            "updated_at": _time(now),
            "display_at": _time(now),
            "deliver_notifications": given.get("deliver_notifications", True),
        }
        one.updates.append(update)


def _journal(world: World, event: str, one: PageIncident, given: Json) -> None:
    world.journal(
        "statuspage",
        "",
        event,
        id=one.incident_id,
        name=one.name,
        status=one.status,
        body=given.get("body"),
        metadata=one.metadata,
        notified=given.get("deliver_notifications", True),
    )


async def _create(world: World, state: StatuspageState, request: Request) -> Response:
    given = await _given(request)
    if not given.get("name"):
        raise _invalid("Name can't be blank")
    _check(state, given)
    now = world.now()
    made = PageIncident(f"inc{len(state.incidents) + 1:05d}", given["name"], "investigating", now, now)
    _apply(world, made, {"status": "investigating", **given})
    state.incidents[made.incident_id] = made
    _journal(world, "incident_created", made, given)
    return JSONResponse(_incident_json(state, made), 201)


def _find(state: StatuspageState, request: Request) -> PageIncident:
    found = state.incidents.get(request.path_params["incident_id"])
    if found is None:
        raise RefusedError(404, "Record not found")
    return found


async def _update(world: World, state: StatuspageState, request: Request) -> Response:
    one, given = _find(state, request), await _given(request)
    _check(state, given)
    _apply(world, one, given)
    _journal(world, "incident_updated", one, given)
    return JSONResponse(_incident_json(state, one))


async def _get(world: World, state: StatuspageState, request: Request) -> Response:
    del world
    return JSONResponse(_incident_json(state, _find(state, request)))


def _page(request: Request, rows: list[Json], size_name: str) -> JSONResponse:
    page = whole_number(request.query_params.get("page"), 1)
    size = whole_number(request.query_params.get(size_name), 100)
    if page is None or size is None or page < 1 or not 1 <= size <= 100:
        raise RefusedError(400, f"page and {size_name} must be whole numbers, {size_name} at most 100")
    return JSONResponse(rows[(page - 1) * size : page * size])


def _newest_first(state: StatuspageState) -> list[PageIncident]:
    return list(state.incidents.values())[::-1]


async def _list(world: World, state: StatuspageState, request: Request) -> Response:
    del world
    words = request.query_params.get("q", "").lower()
    rows = [one for one in _newest_first(state) if words in one.name.lower()]
    return _page(request, [_incident_json(state, one) for one in rows], "limit")


async def _unresolved(world: World, state: StatuspageState, request: Request) -> Response:
    del world
    rows = [_incident_json(state, one) for one in _newest_first(state) if one.status not in FINISHED]
    return _page(request, rows, "per_page")


async def _components(world: World, state: StatuspageState, request: Request) -> Response:
    del world
    return _page(request, [_component_json(state, ref) for ref in state.components], "per_page")


Handler = Callable[[World, StatuspageState, Request], Awaitable[Response]]
_INCIDENT = "/incidents/{incident_id}"
_ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/components", "components", _components),
    ("GET", "/incidents", "incidents", _list),
    ("POST", "/incidents", "incident_create", _create),
    ("GET", "/incidents/unresolved", "unresolved", _unresolved),
    ("GET", _INCIDENT, "incident", _get),
    ("PATCH", _INCIDENT, "incident_update", _update),
    ("PUT", _INCIDENT, "incident_update", _update),
)


def _count(world: World, state: StatuspageState) -> None:
    """Count one request. Raises RefusedError 420 when the minute is full."""
    most, now = state.knobs.requests_per_minute, world.now()
    state.requests = [at for at in state.requests if (now - at).total_seconds() < 60]
    if most and len(state.requests) >= most:
        wait = 60 - (now - state.requests[0]).total_seconds()
        raise RefusedError(420, "Too many requests", wait=max(1, math.ceil(wait)))
    state.requests.append(now)


async def _serve(world: World, state: StatuspageState, handler: Handler, request: Request) -> Response:
    if not same(token_after("OAuth", request) or "", state.key):
        return JSONResponse({"error": "Could not authenticate"}, 401)
    try:
        _count(world, state)
        if request.path_params["page_id"] != state.page:
            raise RefusedError(404, "Record not found")
        return await handler(world, state, request)
    except RefusedError as refused:
        wait = refused.facts.get("wait")
        words: str | list[str] = [refused.message] if refused.status == 422 else refused.message
        headers = {"Retry-After": str(wait)} if wait is not None else None
        return JSONResponse({"error": words}, refused.status, headers)


def _unrouted(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code)


def build_app(world: World, state: StatuspageState) -> Starlette:
    """The page, under /v1."""
    routes = [
        Route(
            f"/v1/pages/{{page_id}}{path}",
            functools.partial(_serve, world, state, handler),
            methods=[method],
            name=name,
        )
        for method, path, name, handler in _ROUTES
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _unrouted})
