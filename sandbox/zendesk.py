"""Zendesk Support over OAuth: tickets with an Idempotency-Key on create, comments, bulk updates as jobs.

Facts: reference/vendors.md §5. A refresh ends the old pair of tokens. Paths work with and without ".json".
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.wire import Json, RefusedError, body_object, same, token_after, whole_number
from sandbox.world import World
from sandbox.zendesk_tickets import ZendeskKnobs, ZendeskState, time_text

__all__ = ["ZendeskKnobs", "ZendeskState", "build_app"]

Handler = Callable[[World, ZendeskState, Request], Awaitable[Response]]
_NOT_SIGNED_IN = "The access token provided is expired, revoked, malformed or invalid for other reasons."


def _refused(refused: RefusedError) -> JSONResponse:
    body: Json = {"error": refused.message, "description": refused.detail}
    if "details" in refused.facts:
        body["details"] = refused.facts["details"]
    wait = refused.facts.get("wait")
    return JSONResponse(body, refused.status, {"Retry-After": str(math.ceil(wait))} if wait is not None else None)


async def _body(request: Request) -> Json:
    body = await body_object(request)
    if body is None:
        raise RefusedError(400, "Invalid JSON", "The body could not be parsed.")
    return body


def _part(body: Json, name: str) -> Json:
    part = body.get(name)
    if not isinstance(part, dict):
        raise RefusedError(400, "ParameterMissing", f"param is missing or the value is empty: {name}")
    return part


# ---- tokens --------------------------------------------------------------------------------------------------------


async def _token(world: World, state: ZendeskState, request: Request) -> Response:
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    given: Json = dict(parse_qsl((await request.body()).decode())) if form else await _body(request)
    secrets = (str(given.get("client_id", "")), str(given.get("client_secret", "")))
    if not (same(secrets[0], state.client_id) and same(secrets[1], state.client_secret)):
        return _oauth_error(401, "invalid_client", "Client authentication failed.")
    grant = given.get("grant_type")
    if grant == "client_credentials":
        scope = str(given.get("scope") or state.client_scope)
        if not set(scope.split()) <= set(state.client_scope.split()):
            return _oauth_error(400, "invalid_scope", "The requested scope is invalid.")
        return JSONResponse(_new_pair(world, state, scope, given.get("expires_in")))
    if grant == "refresh_token":
        old = state.pairs.pop(str(given.get("refresh_token", "")), None)
        if old is None or old[2] <= world.now():
            return _oauth_error(400, "invalid_grant", "The provided refresh token is invalid, expired or revoked.")
        state.tokens.pop(old[0], None)  # a refresh ends the old pair at once
        world.journal("zendesk", "", "token_refreshed")
        return JSONResponse(_new_pair(world, state, old[1], given.get("expires_in")))
    return _oauth_error(400, "unsupported_grant_type", "The grant type is not supported.")


def _oauth_error(status: int, error: str, words: str) -> JSONResponse:
    return JSONResponse({"error": error, "error_description": words}, status)


def _new_pair(world: World, state: ZendeskState, scope: str, wanted: Any) -> Json:
    seconds = float(wanted) if isinstance(wanted, int) and 300 <= wanted <= 172800 else state.knobs.access_seconds
    access, refresh = (f"{kind}-{world.random.getrandbits(128):032x}" for kind in ("access", "refresh"))
    state.tokens[access] = (scope, world.now() + timedelta(seconds=seconds))
    told: Json = {"access_token": access, "token_type": "bearer", "scope": scope, "expires_in": int(seconds)}
    if state.knobs.gives_refresh_token:
        longer = state.knobs.refresh_seconds
        state.pairs[refresh] = (access, scope, world.now() + timedelta(seconds=longer))
        told |= {"refresh_token": refresh, "refresh_token_expires_in": int(longer)}
    return told


def _check_token(world: World, state: ZendeskState, request: Request) -> None:
    scope, ends_at = state.tokens.get(token_after("Bearer", request) or "", ("", world.now()))
    if ends_at <= world.now():
        raise RefusedError(401, "invalid_token", _NOT_SIGNED_IN)
    need = "read" if request.method == "GET" else "write"
    if not {need, f"tickets:{need}"} & set(scope.split()):
        raise RefusedError(403, "Forbidden", "You do not have access to this resource with this token's scope.")


# ---- pages ---------------------------------------------------------------------------------------------------------


def _page(state: ZendeskState, request: Request, name: str, rows: list[Json]) -> JSONResponse:
    """A cursor page when page[size] asks for one, else the first hundred with Zendesk's older counters."""
    query = request.query_params
    size = whole_number(query.get("page[size]"), 100)
    if size is None or not 1 <= size <= 100:
        raise RefusedError(400, "InvalidPaginationParameter", "page[size] must be between 1 and 100")
    start = _position(query.get("page[after]"))
    shown = rows[start : start + size]
    told: Json = {name: shown, **_people(state, request, shown)}
    more = start + size < len(rows)
    if "page[size]" in query:
        after = base64.urlsafe_b64encode(f"o:{start + size}".encode()).decode()
        told["meta"] = {"has_more": more, "after_cursor": after if more else None, "before_cursor": None}
        told["links"] = {"next": str(request.url) if more else None, "prev": None}
    else:
        told |= {"count": len(rows), "next_page": None, "previous_page": None}
    return JSONResponse(told)


def _position(cursor: str | None) -> int:
    if not cursor:
        return 0
    try:
        return int(base64.urlsafe_b64decode(cursor).decode().removeprefix("o:"))
    except (binascii.Error, ValueError):
        raise RefusedError(400, "InvalidPaginationParameter", "page[after] is not valid") from None


def _people(state: ZendeskState, request: Request, rows: list[Json]) -> Json:
    if "users" not in request.query_params.get("include", "").split(","):
        return {}
    wanted = {row.get(name) for row in rows for name in ("requester_id", "submitter_id", "author_id", "assignee_id")}
    return {"users": [user for user_id, user in state.users.items() if user_id in wanted]}


# ---- tickets -------------------------------------------------------------------------------------------------------


async def _me(world: World, state: ZendeskState, request: Request) -> Response:
    del world, request
    return JSONResponse({"user": state.users[state.agent_id]})


async def _create(world: World, state: ZendeskState, request: Request) -> Response:
    body = await _body(request)
    key = request.headers.get("idempotency-key", "")
    if len(key) > 255:
        raise RefusedError(400, "IdempotentRequestError", "The idempotency key is longer than 255 characters.")
    ticket = state.known(world, key, body) if key else None
    lookup = "hit" if ticket is not None else "miss"
    if ticket is None:
        ticket = state.create(world, _part(body, "ticket"))
        if key:
            state.remember(world, key, body, ticket)
    told = {"ticket": ticket.fields, "audit": ticket.audits[0]}
    return JSONResponse(told, 201, {"x-idempotency-lookup": lookup} if key else None)


async def _list(world: World, state: ZendeskState, request: Request) -> Response:
    del world
    wanted = request.query_params.get("external_id")
    rows = [one.fields for one in state.tickets.values() if wanted in (None, one.fields["external_id"])]
    return _page(state, request, "tickets", rows)


async def _search(world: World, state: ZendeskState, request: Request) -> Response:
    """Tickets whose subject or first comment holds every plain word of the query; anything with a colon is a filter."""
    del world
    query = request.query_params.get("query", "")
    words = [word.lower() for word in query.split() if ":" not in word]
    if not query.strip():
        raise RefusedError(400, "invalid", "Invalid search: query is missing")
    size = whole_number(request.query_params.get("per_page"), 100)
    found: list[Json] = []
    for ticket in state.tickets.values():
        first = ticket.comments[0]["body"] if ticket.comments else ""
        text = f"{ticket.fields['subject']} {first}".lower()
        if all(word in text for word in words):
            found.append({**ticket.fields, "result_type": "ticket"})
    return JSONResponse({"results": found[: size or 100], "count": len(found), "next_page": None})


async def _show(world: World, state: ZendeskState, request: Request) -> Response:
    del world
    fields = state.find(request.path_params["ticket_id"]).fields
    return JSONResponse({"ticket": fields, **_people(state, request, [fields])})


async def _update(world: World, state: ZendeskState, request: Request) -> Response:
    ticket = state.find(request.path_params["ticket_id"])
    given = _part(await _body(request), "ticket")
    since = world.now() - timedelta(minutes=10)
    ticket.updated = [at for at in ticket.updated if at > since]
    most = state.knobs.updates_per_ticket
    if most and len(ticket.updated) >= most:
        wait = (ticket.updated[0] - since).total_seconds()
        raise RefusedError(429, "APIRateLimitExceeded", "Number of allowed ticket updates exceeded", wait=wait)
    audit = state.update(world, ticket, given)
    ticket.updated.append(world.now())
    return JSONResponse({"ticket": ticket.fields, "audit": audit})


async def _update_many(world: World, state: ZendeskState, request: Request) -> Response:
    body = await _body(request)
    ids = request.query_params.get("ids")
    try:
        if ids is not None:
            given = _part(body, "ticket")
            changes = [(int(ref), given) for ref in ids.split(",") if ref]
        else:
            changes = [(int(one["id"]), one) for one in body["tickets"]]
    except (KeyError, TypeError, ValueError):
        raise RefusedError(
            400, "ParameterMissing", "ids with a ticket, or tickets with their ids, are needed"
        ) from None
    job = state.queue(world, changes)
    return _job_reply(request, job.job_id, None)


def _job_reply(request: Request, job_id: str, results: list[Json] | None) -> JSONResponse:
    done = results is not None
    told = {
        "id": job_id,
        "url": str(request.url.replace(path=f"/api/v2/job_statuses/{job_id}.json", query="")),
        "status": "completed" if done else "queued",
        "progress": len(results or []) or None,
        "total": len(results or []) or None,
        "message": "Completed" if done else None,
        "results": results,
    }
    return JSONResponse({"job_status": told})


async def _job(world: World, state: ZendeskState, request: Request) -> Response:
    del world
    job = state.jobs.get(request.path_params["job_id"].removesuffix(".json"))
    if job is None:
        raise RefusedError(404, "RecordNotFound", "Not found")
    return _job_reply(request, job.job_id, job.results)


async def _upload(world: World, state: ZendeskState, request: Request) -> Response:
    """A file that a later comment may name by its token."""
    name = request.query_params.get("filename", "")
    if not name:
        raise RefusedError(400, "ParameterMissing", "param is missing or the value is empty: filename")
    content = await request.body()
    token = f"{world.random.getrandbits(96):024x}"
    state.uploads[token] = {
        "file_name": name,
        "content_type": request.headers.get("content-type", ""),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return JSONResponse({"upload": {"token": token, "attachment": state.uploads[token]}}, 201)


async def _comments(world: World, state: ZendeskState, request: Request) -> Response:
    del world
    return _page(state, request, "comments", state.find(request.path_params["ticket_id"]).comments)


async def _audits(world: World, state: ZendeskState, request: Request) -> Response:
    del world
    return _page(state, request, "audits", state.find(request.path_params["ticket_id"]).audits)


async def _incidents(world: World, state: ZendeskState, request: Request) -> Response:
    del world
    problem = state.find(request.path_params["ticket_id"])
    return _page(state, request, "tickets", [one.fields for one in state.incidents_of(problem)])


# ---- the app -------------------------------------------------------------------------------------------------------

_TICKET = "/tickets/{ticket_id:int}"
_ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/users/me", "users_me", _me),
    ("POST", "/tickets", "ticket_create", _create),
    ("GET", "/tickets", "tickets", _list),
    ("PUT", "/tickets/update_many", "update_many", _update_many),
    ("GET", _TICKET, "ticket", _show),
    ("PUT", _TICKET, "ticket_update", _update),
    ("GET", _TICKET + "/comments", "comments", _comments),
    ("GET", _TICKET + "/audits", "audits", _audits),
    ("GET", _TICKET + "/incidents", "incidents", _incidents),
    ("GET", "/job_statuses/{job_id}", "job_status", _job),
    ("GET", "/search", "search", _search),
    ("POST", "/uploads", "upload", _upload),
)


class _Windows:
    """Counts requests in whole minutes, as Zendesk does, for the whole account and for ticket updates."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[str, int]] = {}

    def count(self, world: World, what: str, most: int) -> dict[str, str]:
        """Count one and give what is left, as headers. Raises RefusedError 429 when nothing is."""
        if not most:
            return {}
        now = world.now()
        minute, left_seconds = time_text(now)[:16], 60 - now.second
        before, used = self._counts.get(what, ("", 0))
        used = used + 1 if before == minute else 1
        self._counts[what] = (minute, used)
        if used > most:
            words = "Number of allowed API requests per minute exceeded"
            raise RefusedError(429, "APIRateLimitExceeded", words, wait=left_seconds)
        left = str(most - used)
        if what != "all":
            return {f"zendesk-ratelimit-{what}": f"total={most}; remaining={left}; resets={left_seconds}"}
        return {
            "X-Rate-Limit": str(most),
            "X-Rate-Limit-Remaining": left,
            "ratelimit-limit": str(most),
            "ratelimit-remaining": left,
            "ratelimit-reset": str(left_seconds),
        }


async def _serve(
    world: World, state: ZendeskState, windows: _Windows, name: str, handler: Handler, request: Request
) -> Response:
    try:
        state.tick(world)
        if name == "token":
            return await handler(world, state, request)
        _check_token(world, state, request)
        headers = windows.count(world, "all", state.knobs.requests_per_minute)
        if name == "ticket_update":
            headers |= windows.count(world, "tickets-update", state.knobs.updates_per_minute)
        reply = await handler(world, state, request)
        reply.headers.update(headers)
        return reply
    except RefusedError as refused:
        return _refused(refused)


def _unrouted(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": "InvalidEndpoint", "description": error.detail}, error.status_code)


def build_app(world: World, state: ZendeskState) -> Starlette:
    """The account, at /oauth/tokens and /api/v2."""
    windows = _Windows()

    def route(method: str, path: str, name: str, handler: Handler) -> Route:
        serve = functools.partial(_serve, world, state, windows, name, handler)
        return Route(path, serve, methods=[method], name=name)

    routes = [route("POST", "/oauth/tokens", "token", _token)]
    routes += [
        route(method, f"/api/v2{path}{suffix}", name, handler)
        for method, path, name, handler in _ROUTES
        for suffix in ("", ".json")
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _unrouted})
