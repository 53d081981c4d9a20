"""Jira's search by JQL: a closed request body, ids only unless fields are named, and an index that lags behind."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.jira_issues import Issue, JiraState
from sandbox.jira_jql import JqlError, Query
from sandbox.jira_shapes import BAD_PAYLOAD, issue_json, read_body, split
from sandbox.wire import Json, RefusedError, whole_number
from sandbox.world import World

SEARCH_KEYS = frozenset(
    {"jql", "fields", "maxResults", "nextPageToken", "properties", "expand", "reconcileIssues", "fieldsByKeys"}
)


async def search(world: World, state: JiraState, request: Request) -> Response:
    """Find issues as the index knows them; ids in reconcileIssues are looked at as they are now."""
    if request.method == "POST":
        body = await read_body(request)
    else:
        query = request.query_params
        body = {**query}
        for name in ("fields", "properties", "reconcileIssues"):
            if name in body:
                body[name] = [part for text in query.getlist(name) for part in split(text)]
        body["maxResults"] = whole_number(query.get("maxResults"), 50)
    if set(body) - SEARCH_KEYS or not isinstance(body.get("jql", ""), str):
        raise RefusedError(400, BAD_PAYLOAD)
    return JSONResponse(_found(world, state, body))


def _found(world: World, state: JiraState, body: Json) -> Json:
    try:
        query = Query(body.get("jql", ""), world.now())
    except JqlError as error:
        raise RefusedError(400, str(error)) from None
    sure = {str(ref) for ref in body.get("reconcileIssues") or []}
    if len(sure) > 50:
        raise RefusedError(400, "reconcileIssues may hold at most 50 ids.")
    found = [issue for issue in state.issues.values() if _matches(world, state, query, issue, sure)]
    found.sort(key=lambda issue: int(issue.issue_id), reverse=not query.oldest_first)
    size = body.get("maxResults") or 50
    if not isinstance(size, int) or size < 1:
        raise RefusedError(400, BAD_PAYLOAD)
    start, end = _position(body.get("nextPageToken")), 0
    end = start + min(size, 5000)
    told: Json = {"issues": [_row(state, issue, body) for issue in found[start:end]], "isLast": end >= len(found)}
    if end < len(found):
        told["nextPageToken"] = base64.urlsafe_b64encode(f"at:{end}".encode()).decode()
    return told


def _matches(world: World, state: JiraState, query: Query, issue: Issue, sure: set[str]) -> bool:
    state.settle_index(world, issue)
    facts = issue.facts() if issue.issue_id in sure else issue.indexed
    return facts is not None and query.matches(facts)


def _row(state: JiraState, issue: Issue, body: Json) -> Json:
    fields, properties = body.get("fields") or [], body.get("properties") or []
    if not fields and not properties:
        return {"id": issue.issue_id}
    return issue_json(state, issue, fields, properties)


def _position(token: Any) -> int:
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(str(token)).decode().removeprefix("at:"))
    except (binascii.Error, ValueError):
        raise RefusedError(400, "The nextPageToken is invalid.") from None
