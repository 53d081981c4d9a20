"""PagerDuty: Events v2 (asynchronous, deduplicated only while an incident is open) and REST v2.

Facts: reference/vendors.md §3. Every new incident is a page to a person and is journalled as "page".
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.pagerduty_incidents import Incident, PagerDutyKnobs, PagerDutyState, time_text
from sandbox.wire import Json, RefusedError, body_object, flag, same, whole_number
from sandbox.world import World

__all__ = ["PagerDutyKnobs", "PagerDutyState", "build_app"]

ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "error", "warning", "info")
STATUSES = ("triggered", "acknowledged", "resolved")
LARGEST_EVENT = 512 * 1024
LONGEST_KEY = 255
LONGEST_NOTE = 2000
CODES = {400: 2001, 401: 2006, 404: 2100, 429: 2020}
SITE = "https://twin.pagerduty.example"


# ---- Events v2 -----------------------------------------------------------------------------------------------------


def _event_errors(event: Json) -> list[str]:
    action, payload = event.get("event_action"), event.get("payload")
    errors = []
    if action not in ACTIONS:
        errors.append("'event_action' is missing or invalid")
    key = event.get("dedup_key")
    if key is not None and (not isinstance(key, str) or len(key) > LONGEST_KEY):
        errors.append("Length of 'dedup_key' is incorrect (should be at most 255 characters)")
    if action in {"acknowledge", "resolve"} and not key:
        errors.append("'dedup_key' is missing or blank")
    if action != "trigger":
        return errors
    if not isinstance(payload, dict):
        return [*errors, "'payload' is missing or blank"]
    summary = payload.get("summary")
    missing = [name for name in ("summary", "source", "severity") if not payload.get(name)]
    errors += [f"'payload.{name}' is missing or blank" for name in missing]
    if payload.get("severity") and payload["severity"] not in SEVERITIES:
        errors.append(f"'payload.severity' is invalid (must be one of the following: {', '.join(SEVERITIES)})")
    if isinstance(summary, str) and len(summary) > 1024:
        errors.append("'payload.summary' must not be longer than 1024 characters")
    return errors


async def _enqueue(world: World, state: PagerDutyState, request: Request) -> Response:
    raw = await request.body()
    try:
        event = json.loads(raw)
    except ValueError:
        event = None
    if not isinstance(event, dict) or len(raw) > LARGEST_EVENT:
        return _bad_event(["Invalid JSON body" if not isinstance(event, dict) else "Event is larger than 512 KB"])
    if not same(str(event.get("routing_key", "")), state.routing_key):
        return _bad_event(["Invalid routing key"])
    errors = _event_errors(event)
    if errors:
        return _bad_event(errors)
    now, most = world.now(), state.knobs.events_per_minute
    state.accepted = [at for at in state.accepted if now - at < timedelta(seconds=60)]
    if most and len(state.accepted) >= most:
        told = {"status": "throttle exceeded", "message": "Requests for this service are arriving too quickly."}
        return JSONResponse(told, 429)
    state.accepted.append(now)
    event["dedup_key"] = event.get("dedup_key") or f"{world.random.getrandbits(128):032x}"
    world.journal("pagerduty", "", "event", action=event["event_action"], key=event["dedup_key"])
    state.accept(world, event)
    told = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
    return JSONResponse(told, 202)


def _bad_event(errors: list[str]) -> JSONResponse:
    told = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
    return JSONResponse(told, 400)


# ---- REST v2 -------------------------------------------------------------------------------------------------------


def _reference(ref: str, kind: str, summary: str) -> Json:
    where = f"{SITE}/{kind.removesuffix('_reference')}s/{ref}"
    return {"id": ref, "type": kind, "summary": summary, "self": where, "html_url": where}


def _incident_json(state: PagerDutyState, one: Incident) -> Json:
    where = f"{SITE}/incidents/{one.incident_id}"
    return {
        "id": one.incident_id,
        "type": "incident",
        "summary": f"[#{one.number}] {one.title}",
        "self": where,
        "html_url": where,
        "incident_number": one.number,
        "title": one.title,
        "incident_key": one.key,
        "status": one.status,
        "urgency": one.urgency,
        "priority": one.priority,
        "service": _reference(state.service, "service_reference", "Marketing platform"),
        "assignments": [],
        "acknowledgements": one.acknowledgements,
        "created_at": time_text(one.created_at),
        "updated_at": time_text(one.changed_at),
        "last_status_change_at": time_text(one.changed_at),
        "resolved_at": time_text(one.changed_at) if one.status == "resolved" else None,
    }


def _error(status: int, message: str, errors: list[str]) -> JSONResponse:
    told: Json = {"message": message, "code": CODES.get(status, 5001)}
    if errors:
        told["errors"] = errors
    return JSONResponse({"error": told}, status)


def _need_sender(state: PagerDutyState, request: Request) -> str:
    sender = request.headers.get("from", "")
    if sender != state.sender:
        words = "Requester User Not Found" if sender else "The From header is required."
        raise RefusedError(400, "Invalid Input Provided", words)
    return sender


async def _part(request: Request, name: str) -> Json:
    body = await body_object(request)
    part = body.get(name) if body is not None else None
    if not isinstance(part, dict):
        raise RefusedError(400, "Invalid Input Provided", f"{name} is required.")
    return part


def _find(state: PagerDutyState, request: Request) -> Incident:
    found = state.incidents.get(request.path_params["incident_id"])
    if found is None:
        raise RefusedError(404, "Not Found")
    return found


def _priority(state: PagerDutyState, given: Any) -> Json | None:
    if given is None:
        return None
    ref = given.get("id") if isinstance(given, dict) else None
    for priority_id, name in state.priorities.items():
        if priority_id == ref or name == given:
            return _reference(priority_id, "priority_reference", name) | {"name": name}
    raise RefusedError(400, "Invalid Input Provided", "Priority is invalid.")


def _paged(request: Request, name: str, rows: list[Json]) -> JSONResponse:
    query = request.query_params
    limit, offset = whole_number(query.get("limit"), 25), whole_number(query.get("offset"), 0)
    if limit is None or offset is None or not 1 <= limit <= 100 or offset < 0 or offset + limit > 10000:
        raise RefusedError(400, "Invalid Input Provided", "limit or offset is out of range.")
    told: Json = {
        name: rows[offset : offset + limit],
        "limit": limit,
        "offset": offset,
        "more": offset + limit < len(rows),
        "total": len(rows) if flag(query.get("total")) else None,
    }
    return JSONResponse(told)


async def _list(world: World, state: PagerDutyState, request: Request) -> Response:
    query = request.query_params
    key, statuses, services = query.get("incident_key"), query.getlist("statuses[]"), query.getlist("service_ids[]")
    if set(statuses) - set(STATUSES):
        raise RefusedError(400, "Invalid Input Provided", "statuses[] is invalid.")
    oldest = world.now() - timedelta(days=30)  # what the list holds when nobody asks for all of it
    rows = [
        one
        for one in state.incidents.values()
        if key in (None, one.key)
        and (not statuses or one.status in statuses)
        and (not services or state.service in services)
        and (query.get("date_range") == "all" or one.created_at >= oldest)
    ]
    rows.sort(key=lambda one: one.number, reverse=query.get("sort_by", "").endswith(":desc"))
    return _paged(request, "incidents", [_incident_json(state, one) for one in rows])


async def _create(world: World, state: PagerDutyState, request: Request) -> Response:
    _need_sender(state, request)
    given = await _part(request, "incident")
    service = given.get("service")
    title, key = given.get("title"), given.get("incident_key")
    if not isinstance(title, str) or not title or given.get("type") not in {"incident", "incident_reference"}:
        raise RefusedError(400, "Invalid Input Provided", "Title and type are required.")
    if not isinstance(service, dict) or service.get("id") != state.service:
        raise RefusedError(400, "Invalid Input Provided", "Service not found.")
    if key and state.open_incident(key) is not None:
        words = "Open incident already exists with the given incident_key."
        raise RefusedError(400, "Arguments Caused Error", words)
    priority = _priority(state, given.get("priority"))
    key = key or f"{world.random.getrandbits(128):032x}"
    details = str((given.get("body") or {}).get("details", ""))
    made = state.start(world, key, title, from_events=False, priority=priority, details=details)
    return JSONResponse({"incident": _incident_json(state, made)}, 201)


async def _get(world: World, state: PagerDutyState, request: Request) -> Response:
    del world
    return JSONResponse({"incident": _incident_json(state, _find(state, request))})


async def _update(world: World, state: PagerDutyState, request: Request) -> Response:
    sender = _need_sender(state, request)
    incident = _find(state, request)
    given = await _part(request, "incident")
    if "status" in given and given["status"] not in {"acknowledged", "resolved"}:
        raise RefusedError(400, "Invalid Input Provided", "Status is invalid.")
    if "status" in given and not incident.open:
        raise RefusedError(400, "Invalid Input Provided", "Incident Already Resolved")
    if "priority" in given:
        incident.priority = _priority(state, given["priority"])
    incident.title = str(given.get("title") or incident.title)
    incident.urgency = str(given.get("urgency") or incident.urgency)
    if "status" in given:
        state.set_status(world, incident, given["status"], sender)
    world.journal("pagerduty", "", "incident_updated", incident=incident.incident_id, fields=sorted(given))
    return JSONResponse({"incident": _incident_json(state, incident)})


async def _note(world: World, state: PagerDutyState, request: Request) -> Response:
    sender = _need_sender(state, request)
    incident = _find(state, request)
    content = (await _part(request, "note")).get("content")
    if not isinstance(content, str) or not 1 <= len(content) <= LONGEST_NOTE:
        raise RefusedError(400, "Invalid Input Provided", "Note content must have 1 to 2000 characters.")
    note = {
        "id": f"PNOTE{len(incident.notes) + 1:02d}",
        "content": content,
        "created_at": time_text(world.now()),
        "user": _reference("PUSER01", "user_reference", sender),
    }
    incident.notes.append(note)
    world.journal("pagerduty", "", "note", incident=incident.incident_id, text=content)
    return JSONResponse({"note": note}, 201)


async def _notes(world: World, state: PagerDutyState, request: Request) -> Response:
    del world
    return JSONResponse({"notes": _find(state, request).notes})


async def _status_update(world: World, state: PagerDutyState, request: Request) -> Response:
    sender = _need_sender(state, request)
    incident = _find(state, request)
    body = await body_object(request)
    message = body.get("message") if body is not None else None
    if not isinstance(message, str) or not message:
        raise RefusedError(400, "Invalid Input Provided", "Message cannot be blank.")
    world.journal("pagerduty", "", "status_update", incident=incident.incident_id, text=message)
    person = _reference("PUSER01", "user_reference", sender)
    told = {"id": "PSTATUS", "message": message, "created_at": time_text(world.now()), "sender": person}
    return JSONResponse({"status_update": told})


async def _priorities(world: World, state: PagerDutyState, request: Request) -> Response:
    del world
    rows = [_reference(ref, "priority", name) | {"name": name} for ref, name in state.priorities.items()]
    return _paged(request, "priorities", rows)


Handler = Callable[[World, PagerDutyState, Request], Awaitable[Response]]
_INCIDENT = "/incidents/{incident_id}"
_ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("POST", "/v2/enqueue", "enqueue", _enqueue),
    ("GET", "/incidents", "incidents", _list),
    ("POST", "/incidents", "incident_create", _create),
    ("GET", _INCIDENT, "incident", _get),
    ("PUT", _INCIDENT, "incident_update", _update),
    ("GET", _INCIDENT + "/notes", "notes", _notes),
    ("POST", _INCIDENT + "/notes", "note_create", _note),
    ("POST", _INCIDENT + "/status_updates", "status_update", _status_update),
    ("GET", "/priorities", "priorities", _priorities),
)


async def _serve(world: World, state: PagerDutyState, name: str, handler: Handler, request: Request) -> Response:
    state.tick(world)
    scheme, _, value = request.headers.get("authorization", "").partition(" token=")
    if name != "enqueue" and not (scheme.lower() == "token" and same(value, state.token)):
        return _error(401, "Authentication failed", [])
    try:
        return await handler(world, state, request)
    except RefusedError as refused:
        return _error(refused.status, refused.message, [refused.detail] if refused.detail else [])


def _unrouted(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail, [])


def build_app(world: World, state: PagerDutyState) -> Starlette:
    """Events v2 and REST v2 on one address."""
    routes = [
        Route(path, functools.partial(_serve, world, state, name, handler), methods=[method], name=name)
        for method, path, name, handler in _ROUTES
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _unrouted})
