"""Jira Cloud REST v3: create, find, link, comment and move issues, with a search that lags behind.

Facts: reference/vendors.md §1. There is no idempotency anywhere but the remote link's globalId. Served at / and, for
scoped tokens, at /ex/jira/{cloud_id}.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Awaitable, Callable
from datetime import timedelta

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import jira_attached as attached
from sandbox.jira_issues import BROWSER, TRANSITIONS, JiraKnobs, JiraState, checked_properties
from sandbox.jira_search import search
from sandbox.jira_shapes import BAD_PAYLOAD, issue_json, read_body, split, status_json, time_text, user_json
from sandbox.wire import Json, RefusedError, basic_text, same, token_after, whole_number
from sandbox.world import World

__all__ = ["JiraKnobs", "JiraState", "build_app"]

Handler = Callable[[World, JiraState, Request], Awaitable[Response]]


def _refused(refused: RefusedError) -> JSONResponse:
    body = {
        "errorMessages": [refused.message] if refused.message else [],
        "errors": refused.facts.get("errors", {}),
    }
    headers: dict[str, str] = {}
    if refused.status == 429:
        wait = refused.facts["wait"]
        headers = {
            "Retry-After": str(math.ceil(wait)),
            "RateLimit-Reason": "jira-per-issue-on-write",
            "X-RateLimit-Limit": str(refused.facts["most"]),
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": time_text(refused.facts["reset"] + timedelta(seconds=wait)),
        }
    return JSONResponse(body, refused.status, headers)


# ---- who and what --------------------------------------------------------------------------------------------------


async def _myself(world: World, state: JiraState, request: Request) -> Response:
    del world, request
    return JSONResponse(user_json(state))


async def _server_info(world: World, state: JiraState, request: Request) -> Response:
    del state, request
    told = {
        "baseUrl": BROWSER,
        "version": "1001.0.0-SNAPSHOT",
        "versionNumbers": [1001, 0, 0],
        "deploymentType": "Cloud",
        "serverTime": time_text(world.now()),
    }
    return JSONResponse(told)


async def _fields(world: World, state: JiraState, request: Request) -> Response:
    del world, request
    names = [("summary", "Summary"), ("labels", "Labels"), ("description", "Description"), ("status", "Status")]
    names += [(custom.field_id, custom.name) for custom in state.custom_fields.values()]
    return JSONResponse([{"id": ref, "key": ref, "name": name, "clauseNames": [ref]} for ref, name in names])


def _need_project(state: JiraState, request: Request) -> None:
    if request.path_params["project"] not in (state.project, "10000"):
        raise RefusedError(404, f"No project could be found with key '{request.path_params['project']}'.")


async def _issue_types(world: World, state: JiraState, request: Request) -> Response:
    del world
    _need_project(state, request)
    rows = [
        {"id": ref, "name": name, "description": "", "subtask": False, "self": f"{BROWSER}/rest/api/3/issuetype/{ref}"}
        for ref, name in state.issue_types.items()
    ]
    return JSONResponse({"issueTypes": rows, "startAt": 0, "maxResults": 50, "total": len(rows)})


def _meta(ref: str, name: str, kind: str, *, required: bool = False) -> Json:
    return {
        "fieldId": ref,
        "key": ref,
        "name": name,
        "required": required,
        "hasDefaultValue": False,
        "operations": ["set"],
        "schema": {"type": kind, "system": ref} if not ref.startswith("customfield") else {"type": kind, "customId": 1},
    }


async def _create_fields(world: World, state: JiraState, request: Request) -> Response:
    del world
    _need_project(state, request)
    if request.path_params["type_id"] not in state.issue_types:
        raise RefusedError(404, "Issue type not found.")
    rows = [
        _meta("summary", "Summary", "string", required=True),
        _meta("issuetype", "Issue Type", "issuetype", required=True),
        _meta("project", "Project", "project", required=True),
        _meta("description", "Description", "string"),
        _meta("labels", "Labels", "array"),
        _meta("priority", "Priority", "priority"),
    ]
    rows += [_meta(one.field_id, one.name, "string", required=one.required) for one in state.custom_fields.values()]
    start = whole_number(request.query_params.get("startAt"), 0) or 0
    size = whole_number(request.query_params.get("maxResults"), 50) or 50
    page = rows[start : start + size]
    return JSONResponse({"fields": page, "startAt": start, "maxResults": size, "total": len(rows)})


# ---- issues --------------------------------------------------------------------------------------------------------


async def _create(world: World, state: JiraState, request: Request) -> Response:
    issue = state.create(world, await read_body(request))
    where = f"{BROWSER}/rest/api/3/issue/{issue.issue_id}"
    return JSONResponse({"id": issue.issue_id, "key": issue.key, "self": where}, 201)


async def _get(world: World, state: JiraState, request: Request) -> Response:
    del world
    issue = state.find(request.path_params["key"])
    fields = split(request.query_params.get("fields")) or ["*all"]
    return JSONResponse(issue_json(state, issue, fields, split(request.query_params.get("properties"))))


async def _edit(world: World, state: JiraState, request: Request) -> Response:
    issue = state.find(request.path_params["key"])
    body = await read_body(request)
    fields = state.checked_fields(body.get("fields", {}), creating=False)
    properties = checked_properties(body.get("properties", []))
    state.count_write(world, issue)
    issue.fields.update(fields)
    issue.properties.update(properties)
    state.reindex_later(world, issue)
    world.journal("jira", "", "issue_edited", key=issue.key, fields=sorted(fields), properties=sorted(properties))
    return Response(status_code=204)


async def _read_property(world: World, state: JiraState, request: Request) -> Response:
    del world
    issue, name = state.find(request.path_params["key"]), request.path_params["property"]
    if name not in issue.properties:
        raise RefusedError(404, f"The property with key '{name}' does not exist.")
    return JSONResponse({"key": name, "value": issue.properties[name]})


async def _write_property(world: World, state: JiraState, request: Request) -> Response:
    issue, name = state.find(request.path_params["key"]), request.path_params["property"]
    try:
        value = await request.json()
    except ValueError:
        raise RefusedError(400, BAD_PAYLOAD) from None
    checked_properties([{"key": name, "value": value}])
    state.count_write(world, issue)
    status = 200 if name in issue.properties else 201
    issue.properties[name] = value
    world.journal("jira", "", "property_set", key=issue.key, property=name)
    return JSONResponse({}, status)


async def _transitions(world: World, state: JiraState, request: Request) -> Response:
    del world
    state.find(request.path_params["key"])
    rows = [
        {"id": ref, "name": name, "to": status_json(name), "hasScreen": False, "isAvailable": True, "isGlobal": True}
        for ref, name in TRANSITIONS.items()
    ]
    return JSONResponse({"expand": "transitions", "transitions": rows})


async def _transition(world: World, state: JiraState, request: Request) -> Response:
    issue = state.find(request.path_params["key"])
    wanted = (await read_body(request)).get("transition")
    ref = str(wanted.get("id")) if isinstance(wanted, dict) else ""
    if ref not in TRANSITIONS:
        raise RefusedError(400, "Transition id is not valid for this issue.")
    state.count_write(world, issue)
    before, issue.status = issue.status, TRANSITIONS[ref]
    state.reindex_later(world, issue)
    world.journal("jira", "", "transition", key=issue.key, before=before, after=issue.status)
    return Response(status_code=204)


async def _gone(world: World, state: JiraState, request: Request) -> Response:
    del world, state, request
    raise RefusedError(410, "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.")


# ---- the app -------------------------------------------------------------------------------------------------------

_ISSUE = "/issue/{key}"
_ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/myself", "myself", _myself),
    ("GET", "/serverInfo", "server_info", _server_info),
    ("GET", "/field", "fields", _fields),
    ("GET", "/issue/createmeta/{project}/issuetypes", "createmeta", _issue_types),
    ("GET", "/issue/createmeta/{project}/issuetypes/{type_id}", "createmeta_fields", _create_fields),
    ("POST", "/issue", "issue_create", _create),
    ("GET", _ISSUE, "issue", _get),
    ("PUT", _ISSUE, "issue_edit", _edit),
    ("GET", _ISSUE + "/properties/{property}", "property", _read_property),
    ("PUT", _ISSUE + "/properties/{property}", "property_set", _write_property),
    ("POST", _ISSUE + "/comment", "comment_create", attached.add_comment),
    ("GET", _ISSUE + "/comment", "comments", attached.list_comments),
    ("GET", "/comment/{comment_id}/properties/{property}", "comment_property", attached.comment_property),
    ("GET", _ISSUE + "/transitions", "transitions", _transitions),
    ("POST", _ISSUE + "/transitions", "transition", _transition),
    ("POST", _ISSUE + "/remotelink", "remotelink", attached.set_link),
    ("GET", _ISSUE + "/remotelink", "remotelinks", attached.list_links),
    ("DELETE", _ISSUE + "/remotelink", "remotelink_delete", attached.remove_link),
    ("POST", "/issueLink", "issuelink", attached.link_issues),
    ("GET", "/search/jql", "search", search),
    ("POST", "/search/jql", "search", search),
    ("GET", "/search", "search_old", _gone),
    ("POST", "/search", "search_old", _gone),
)


def _check_credential(state: JiraState, request: Request) -> None:
    through_gateway = request.path_params.get("cloud_id")
    text = basic_text(token_after("Basic", request) or "")
    good = same(text or "", f"{state.email}:{state.token}")
    if through_gateway is not None:  # a service account has no address to sign in with
        good = good or same(token_after("Bearer", request) or "", state.token)
    if not good or (state.knobs.scoped and through_gateway != state.cloud_id):
        raise RefusedError(401, "Client must be authenticated to access this resource.")
    if through_gateway not in (None, state.cloud_id):
        raise RefusedError(404, "No site with this cloud id.")


async def _serve(world: World, state: JiraState, handler: Handler, request: Request) -> Response:
    try:
        _check_credential(state, request)
        return await handler(world, state, request)
    except RefusedError as refused:
        return _refused(refused)


def _unrouted(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return JSONResponse({"errorMessages": [error.detail], "errors": {}}, error.status_code)


def build_app(world: World, state: JiraState) -> Starlette:
    """The Jira site."""
    routes = [
        Route(
            f"{prefix}/rest/api/3{path}",
            functools.partial(_serve, world, state, handler),
            methods=[method],
            name=name,
        )
        for prefix in ("", "/ex/jira/{cloud_id}")
        for method, path, name, handler in _ROUTES
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _unrouted})
