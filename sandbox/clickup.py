"""ClickUp's API v2: tasks of lists with custom fields, where "==" is exact and "=" finds whatever contains the words.

Facts: reference/vendors.md §4. Creating twice makes two tasks. Closed tasks and subtasks are left out unless asked for.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.wire import Json, RefusedError, body_object, flag, same, whole_number
from sandbox.world import World

PAGE_SIZE = 100
STATUSES = {"to do": "open", "in progress": "custom", "complete": "closed"}
PRIORITIES = {1: "urgent", 2: "high", 3: "normal", 4: "low"}


@dataclass
class ClickUpKnobs:
    """`requests_per_minute` 0 is no limit; `filter_lag_seconds` is how late a new task shows in a list."""

    requests_per_minute: int = 100
    filter_lag_seconds: float = 0.0


@dataclass
class Task:
    """One task in one list."""

    task_id: str
    list_id: str
    name: str
    created_at: datetime
    updated_at: datetime
    description: str = ""
    status: str = "to do"
    priority: int | None = None
    due_date: int | None = None
    parent: str | None = None
    archived: bool = False
    closed_at: datetime | None = None
    tags: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    comments: list[Json] = field(default_factory=list)


class ClickUpState:
    """One workspace. `fields` are the text fields every list has: id -> name."""

    def __init__(self, token: str, *, list_id: str = "901", key_field: str = "field-key") -> None:
        self.token = token
        self.list_id = list_id
        self.key_field = key_field
        self.fields: dict[str, str] = {key_field: "Effect key"}
        self.lists: dict[str, str] = {list_id: "Support board"}
        self.tasks: dict[str, Task] = {}
        self.knobs = ClickUpKnobs()
        self.requests: list[float] = []
        self._number = 0

    def next_id(self) -> str:
        """A new id."""
        self._number += 1
        return f"86twin{self._number:04d}"

    def add_list(self, list_id: str, name: str) -> None:
        """Add a list."""
        self.lists[list_id] = name


def _milliseconds(at: datetime) -> str:
    return str(int(at.timestamp() * 1000))


def _task_json(state: ClickUpState, task: Task) -> Json:
    known = list(state.fields.items())
    return {
        "id": task.task_id,
        "custom_id": None,
        "name": task.name,
        "text_content": task.description,
        "description": task.description,
        "status": {"status": task.status, "color": "#d3d3d3", "orderindex": 1, "type": STATUSES[task.status]},
        "orderindex": "1.00000000000000000000000000000000",
        "date_created": _milliseconds(task.created_at),
        "date_updated": _milliseconds(task.updated_at),
        "date_closed": _milliseconds(task.closed_at) if task.closed_at else None,
        "archived": task.archived,
        "creator": {
            "id": 183,
            "username": "Recovery",
            "color": "#827718",
            "profilePicture": "https://twin.example/183.jpg",
        },
        "assignees": [],
        "checklists": [],
        "tags": [{"name": tag, "tag_fg": "#fff", "tag_bg": "#000"} for tag in task.tags],
        "parent": task.parent,
        "priority": _priority_json(task.priority),
        "due_date": str(task.due_date) if task.due_date is not None else None,
        "start_date": None,
        "time_estimate": None,
        "custom_fields": [_field_json(ref, name, task.values.get(ref)) for ref, name in known],
        "list": {"id": task.list_id, "name": state.lists[task.list_id], "access": True},
        "folder": {"id": "457", "name": "hidden", "hidden": True, "access": True},
        "space": {"id": "790"},
        "url": f"https://app.clickup.example/t/{task.task_id}",
    }


def _priority_json(number: int | None) -> Json | None:
    return {"id": str(number), "priority": PRIORITIES[number], "orderindex": str(number)} if number else None


def _field_json(ref: str, name: str, value: Any) -> Json:
    shown: Json = {"id": ref, "name": name, "type": "short_text", "type_config": {}}
    shown |= {"date_created": "1577378759142", "hide_from_guests": False}
    return shown if value is None else shown | {"value": value}


def _bad(message: str, code: str, status: int = 400) -> RefusedError:
    return RefusedError(status, message, code)


async def _body(request: Request) -> Json:
    body = await body_object(request)
    if body is None:
        raise _bad("Unexpected token in JSON", "JSON_001")
    return body


def _list_id(state: ClickUpState, request: Request) -> str:
    list_id = str(request.path_params["list_id"])
    if list_id not in state.lists:
        raise _bad("List not found", "INPUT_006", 404)
    return list_id


def _find(state: ClickUpState, request: Request) -> Task:
    task = state.tasks.get(request.path_params["task_id"])
    if task is None:
        raise _bad("Task not found, deleted", "ITEM_013", 404)
    return task


async def _user(world: World, state: ClickUpState, request: Request) -> Response:
    del world, state, request
    return JSONResponse({"user": {"id": 183, "username": "Recovery", "email": "ops@twin.example", "color": "#827718"}})


async def _fields(world: World, state: ClickUpState, request: Request) -> Response:
    del world
    _list_id(state, request)
    return JSONResponse({"fields": [_field_json(ref, name, None) for ref, name in state.fields.items()]})


# ---- tasks ---------------------------------------------------------------------------------------------------------


def _set(world: World, task: Task, body: Json) -> None:
    """Put into the task what the body says. Raises RefusedError for a value the vendor refuses."""
    if "status" in body and str(body["status"]).lower() not in STATUSES:
        raise _bad("Status does not exist", "ITEM_114")
    if body.get("priority") not in (None, *PRIORITIES):
        raise _bad("Priority invalid", "INPUT_003")
    task.name = str(body.get("name") or task.name)
    task.description = str(body.get("markdown_content") or body.get("description") or task.description)
    if "priority" in body:
        task.priority = body["priority"]
    if "due_date" in body:
        task.due_date = body["due_date"]
    if "status" in body:
        task.status = str(body["status"]).lower()
        task.closed_at = world.now() if STATUSES[task.status] == "closed" else None
    task.archived = bool(body.get("archived", task.archived))
    task.updated_at = world.now()


async def _create(world: World, state: ClickUpState, request: Request) -> Response:
    list_id, body = _list_id(state, request), await _body(request)
    if not isinstance(body.get("name"), str) or not body["name"].strip():
        raise _bad("Task name invalid", "INPUT_005")
    values = {}
    for given in body.get("custom_fields") or []:
        if not isinstance(given, dict) or given.get("id") not in state.fields:
            raise _bad("Custom field id is invalid", "FIELD_011")
        values[given["id"]] = given.get("value")
    if body.get("parent") is not None and body["parent"] not in state.tasks:
        raise _bad("Parent not found", "ITEM_137")
    now = world.now()
    task = Task(state.next_id(), list_id, body["name"], now, now, parent=body.get("parent"), values=values)
    task.tags = [str(tag).lower() for tag in body.get("tags") or []]
    _set(world, task, body)
    state.tasks[task.task_id] = task
    key = values.get(state.key_field)
    world.journal("clickup", "", "task_created", id=task.task_id, list=list_id, name=task.name, key=key)
    return JSONResponse(_task_json(state, task))


async def _update(world: World, state: ClickUpState, request: Request) -> Response:
    task, body = _find(state, request), await _body(request)
    _set(world, task, body)
    world.journal("clickup", "", "task_updated", id=task.task_id, fields=sorted(body), status=task.status)
    return JSONResponse(_task_json(state, task))


async def _get(world: World, state: ClickUpState, request: Request) -> Response:
    del world
    return JSONResponse(_task_json(state, _find(state, request)))


def _wanted_fields(state: ClickUpState, text: str | None) -> list[Json]:
    if not text:
        return []
    try:
        filters = json.loads(text)
    except ValueError:
        raise _bad("Custom field filters must be an array", "INPUT_008") from None
    if not isinstance(filters, list):
        raise _bad("Custom field filters must be an array", "INPUT_008")
    for one in filters:
        if not isinstance(one, dict) or one.get("field_id") not in state.fields:
            raise _bad("Custom field not found", "FIELD_011")
        if one.get("operator") not in {"=", "==", "!=", "IS NULL", "IS NOT NULL"}:
            raise _bad("Custom field filter operator is invalid", "FIELD_016")
    return filters


def _stands(task: Task, wanted: Json) -> bool:
    value = task.values.get(wanted["field_id"])
    sought, held = str(wanted.get("value") or ""), str(value or "")
    tests = {
        "==": held == sought,
        "=": bool(sought) and sought.lower() in held.lower(),  # a fuzzy contains
        "!=": held != sought,
        "IS NULL": value is None,
        "IS NOT NULL": value is not None,
    }
    return tests[wanted["operator"]]


async def _list(world: World, state: ClickUpState, request: Request) -> Response:
    list_id, query, now = _list_id(state, request), request.query_params, world.now()
    wanted = _wanted_fields(state, query.get("custom_fields"))
    page = whole_number(query.get("page"), 0)
    if page is None or page < 0:
        raise _bad("Page invalid", "INPUT_004")
    found = [
        task
        for task in state.tasks.values()
        if task.list_id == list_id
        and (now - task.created_at).total_seconds() >= state.knobs.filter_lag_seconds
        and (STATUSES[task.status] != "closed" or flag(query.get("include_closed")))
        and (task.parent is None or flag(query.get("subtasks")))
        and task.archived == flag(query.get("archived"))
        and all(_stands(task, one) for one in wanted)
    ]
    found.sort(key=lambda task: task.created_at, reverse=not flag(query.get("reverse")))
    shown = found[page * PAGE_SIZE : (page + 1) * PAGE_SIZE]
    told = {"tasks": [_task_json(state, task) for task in shown], "last_page": (page + 1) * PAGE_SIZE >= len(found)}
    return JSONResponse(told)


async def _comment(world: World, state: ClickUpState, request: Request) -> Response:
    task, body = _find(state, request), await _body(request)
    text = body.get("comment_text")
    if not isinstance(text, str) or not text:
        raise _bad("Comment text is required", "COMM_005")
    number, at = 900000 + sum(len(one.comments) for one in state.tasks.values()), _milliseconds(world.now())
    user = {"id": 183, "username": "Recovery", "initials": "R", "email": "ops@twin.example", "color": "#827718"}
    made = {"id": str(number), "comment": [{"text": text}], "comment_text": text, "user": user, "date": at}
    task.comments.append(made | {"resolved": False, "assignee": None, "assigned_by": None, "reactions": []})
    world.journal("clickup", "", "comment", task=task.task_id, id=number, text=text)
    return JSONResponse({"id": str(number), "hist_id": f"hist-{number}", "date": int(at)})


async def _comments(world: World, state: ClickUpState, request: Request) -> Response:
    del world
    return JSONResponse({"comments": _find(state, request).comments[::-1]})


# ---- the app -------------------------------------------------------------------------------------------------------

Handler = Callable[[World, ClickUpState, Request], Awaitable[Response]]
_ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/user", "user", _user),
    ("GET", "/list/{list_id}/field", "fields", _fields),
    ("GET", "/list/{list_id}/task", "tasks", _list),
    ("POST", "/list/{list_id}/task", "task_create", _create),
    ("GET", "/task/{task_id}", "task", _get),
    ("PUT", "/task/{task_id}", "task_update", _update),
    ("GET", "/task/{task_id}/comment", "comments", _comments),
    ("POST", "/task/{task_id}/comment", "comment_create", _comment),
)


def _count(world: World, state: ClickUpState) -> dict[str, str]:
    """Count one request and give the rate headers. Raises RefusedError 429."""
    most = state.knobs.requests_per_minute
    if not most:
        return {}
    now = world.now().timestamp()
    state.requests = [at for at in state.requests if at > now - 60]
    reset = str(int((state.requests[0] if state.requests else now) + 60))
    left = most - len(state.requests) - 1
    headers = {"X-RateLimit-Limit": str(most), "X-RateLimit-Remaining": str(max(left, 0)), "X-RateLimit-Reset": reset}
    if left < 0:
        raise RefusedError(429, "Rate limit reached", "APP_002", headers=headers)
    state.requests.append(now)
    return headers


def _check_token(state: ClickUpState, request: Request) -> None:
    given = request.headers.get("authorization", "")
    if not given:
        raise _bad("Authorization header required", "OAUTH_017", 401)
    # A personal token stands bare, an OAuth token after "Bearer".
    wanted = state.token if state.token.startswith("pk_") else f"Bearer {state.token}"
    if not same(given, wanted):
        raise _bad("Token invalid", "OAUTH_025", 401)


async def _serve(world: World, state: ClickUpState, handler: Handler, request: Request) -> Response:
    try:
        _check_token(state, request)
        headers = _count(world, state)
        reply = await handler(world, state, request)
        reply.headers.update(headers)
        return reply
    except RefusedError as refused:
        told = {"err": refused.message, "ECODE": refused.detail}
        return JSONResponse(told, refused.status, refused.facts.get("headers"))


def _unrouted(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return JSONResponse({"err": "Route not found", "ECODE": "APP_001"}, error.status_code)


def build_app(world: World, state: ClickUpState) -> Starlette:
    """The workspace, under /api/v2."""
    routes = [
        Route(f"/api/v2{path}", functools.partial(_serve, world, state, handler), methods=[method], name=name)
        for method, path, name, handler in _ROUTES
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _unrouted})
