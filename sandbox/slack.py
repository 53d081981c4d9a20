"""Slack's Web API: post, edit and read messages. Refusals come as HTTP 200 with ok false; nothing is idempotent.

Facts: reference/vendors.md §2. Takes JSON, form and query arguments, as Slack does.
"""

from __future__ import annotations

import functools
import json
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

from sandbox.slack_messages import Channel, SlackError, SlackKnobs, SlackState, checked_content
from sandbox.wire import Json, flag, same, token_after, whole_number
from sandbox.world import World

__all__ = ["SlackKnobs", "SlackState", "build_app"]

KEY_NAMES = ("action_key", "effect_key", "key")
_NO_EFFECT = frozenset({"no-effect-ok"})


Handler = Callable[[World, SlackState, Json], Json]


async def _arguments(request: Request) -> Json:
    """Query, form and JSON arguments in one; JSON counts only with its content type."""
    given: Json = dict(request.query_params)
    raw = await request.body()
    kind = request.headers.get("content-type", "").split(";")[0].strip()
    if kind == "application/json" and raw.strip():
        try:
            body = json.loads(raw)
        except ValueError:
            raise SlackError("invalid_json") from None
        if not isinstance(body, dict):
            raise SlackError("json_not_object")
        given.update(body)
    elif kind == "application/x-www-form-urlencoded":
        given.update(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))
    elif raw.strip():
        raise SlackError("invalid_post_type")
    return given


def _truth(value: Any) -> bool:
    return value is True or (isinstance(value, str) and flag(value))


def _channel(state: SlackState, given: Json) -> Channel:
    wanted = str(given.get("channel") or "")
    found = state.channels.get(wanted)
    if found is None:
        found = next((one for one in state.channels.values() if wanted.removeprefix("#") == one.name), None)
    if found is None:
        raise SlackError("channel_not_found")
    return found


def _key_in(metadata: Json | None) -> str:
    payload = (metadata or {}).get("event_payload", {})
    return next((str(payload[name]) for name in KEY_NAMES if name in payload), "")


def _find(channel: Channel, ts: Any) -> Json | None:
    return next((message for message in channel.messages if message["ts"] == ts), None)


# ---- methods -------------------------------------------------------------------------------------------------------


def _auth_test(world: World, state: SlackState, given: Json) -> Json:
    del world, given
    return {
        "url": "https://twin.slack.example/",
        "team": "Twin",
        "user": "allclear",
        "team_id": state.team,
        "user_id": state.bot_user,
        "bot_id": "B0ALLCLEAR",
        "is_enterprise_install": False,
    }


def _refuse_when_fast(world: World, state: SlackState, channel: Channel) -> None:
    interval = timedelta(seconds=state.knobs.post_interval_seconds)
    if channel.posted_at is not None and world.now() - channel.posted_at < interval:
        wait = (channel.posted_at + interval - world.now()).total_seconds()
        raise HTTPException(429, "ratelimited", {"Retry-After": str(max(1, math.ceil(wait)))})


def _post_message(world: World, state: SlackState, given: Json) -> Json:
    channel = _channel(state, given)
    if channel.archived:
        raise SlackError("is_archived")
    if not channel.member:
        raise SlackError("not_in_channel")
    content = checked_content(given)
    thread = given.get("thread_ts") or None
    if thread is not None and _find(channel, thread) is None:
        raise SlackError("thread_not_found")
    _refuse_when_fast(world, state, channel)
    ts = state.next_ts(world.now())
    message: Json = {
        "type": "message",
        "ts": ts,
        "user": state.bot_user,
        "bot_id": "B0ALLCLEAR",
        "team": state.team,
        **content,
    }
    if thread is not None:
        message["thread_ts"] = thread
        if _truth(given.get("reply_broadcast")):
            message["subtype"] = "thread_broadcast"
    if world.faults.take("slack", "", "post_message", _NO_EFFECT) is None:
        channel.messages.append(message)
        channel.posted_at = world.now()
        _journal_message(world, channel, message, given)
    return {"channel": channel.channel_id, "ts": ts, "message": _shown(channel, message, with_metadata=True)}


def _journal_message(world: World, channel: Channel, message: Json, given: Json) -> None:
    world.journal(
        "slack",
        "",
        "message",
        channel=channel.channel_id,
        ts=message["ts"],
        thread_ts=message.get("thread_ts"),
        key=_key_in(message.get("metadata")),
        text=message["text"],
        metadata=message.get("metadata"),
        unfurl_links=given.get("unfurl_links"),
        unfurl_media=given.get("unfurl_media"),
        link_names=given.get("link_names"),
    )


def _update(world: World, state: SlackState, given: Json) -> Json:
    channel = _channel(state, given)
    message = _find(channel, given.get("ts"))
    if message is None:
        raise SlackError("message_not_found")
    if message["user"] != state.bot_user:
        raise SlackError("cant_update_message")
    content = checked_content(given)
    message.pop("blocks", None)
    message.update(content)
    message["edited"] = {"user": state.bot_user, "ts": state.next_ts(world.now())}
    key = _key_in(message.get("metadata"))
    ts = message["ts"]
    world.journal("slack", "", "message_edited", channel=channel.channel_id, ts=ts, key=key, text=message["text"])
    shown = _shown(channel, message, with_metadata=True)
    return {"channel": channel.channel_id, "ts": ts, "text": message["text"], "message": shown}


def _shown(channel: Channel, message: Json, *, with_metadata: bool) -> Json:
    """A message as calls show it: without `with_metadata` only the metadata's event_type is told."""
    shown = {name: value for name, value in message.items() if name != "metadata"}
    metadata = message.get("metadata")
    if metadata is not None:
        shown["metadata"] = metadata if with_metadata else {"event_type": metadata["event_type"]}
    replies = [one["ts"] for one in channel.messages if one.get("thread_ts") == message["ts"]]
    if replies:
        shown.update(thread_ts=message["ts"], reply_count=len(replies), latest_reply=replies[-1])
    return shown


def _stamp(given: Json, name: str, error: str) -> float | None:
    value = given.get(name)
    if value in (None, ""):
        return None
    try:
        return float(str(value))
    except ValueError:
        raise SlackError(error) from None


def _within(given: Json, messages: list[Json]) -> list[Json]:
    oldest, latest = _stamp(given, "oldest", "invalid_ts_oldest"), _stamp(given, "latest", "invalid_ts_latest")
    both_ends = _truth(given.get("inclusive"))

    def stands(message: Json) -> bool:
        ts = float(message["ts"])
        after = oldest is None or ts > oldest or (both_ends and ts == oldest)
        return after and (latest is None or ts < latest or (both_ends and ts == latest))

    return [message for message in messages if stands(message)]


def _page(channel: Channel, given: Json, messages: list[Json]) -> Json:
    size = whole_number(str(given.get("limit") or ""), 100)
    if size is None or not 1 <= size <= 999:
        raise SlackError("invalid_limit")
    cursor = str(given.get("cursor") or "")
    start = 0
    if cursor:
        place = next((n for n, message in enumerate(messages) if f"next_ts:{message['ts']}" == cursor), None)
        if place is None:
            raise SlackError("invalid_cursor")
        start = place
    page, rest = messages[start : start + size], messages[start + size :]
    everything = _truth(given.get("include_all_metadata"))
    told: Json = {
        "messages": [_shown(channel, message, with_metadata=everything) for message in page],
        "has_more": bool(rest),
    }
    if rest:
        told["response_metadata"] = {"next_cursor": f"next_ts:{rest[0]['ts']}"}
    return told


def _history(world: World, state: SlackState, given: Json) -> Json:
    del world
    channel = _channel(state, given)
    if not channel.member:
        raise SlackError("not_in_channel")
    top = [one for one in channel.messages if "thread_ts" not in one or one.get("subtype") == "thread_broadcast"]
    return {**_page(channel, given, _within(given, top)[::-1]), "pin_count": 0}


def _replies(world: World, state: SlackState, given: Json) -> Json:
    del world
    channel = _channel(state, given)
    parent = _find(channel, given.get("ts"))
    if parent is None:
        raise SlackError("thread_not_found")
    replies = [one for one in channel.messages if one.get("thread_ts") == parent["ts"]]
    return _page(channel, given, [parent, *_within(given, replies)])


def _info(world: World, state: SlackState, given: Json) -> Json:
    del world
    channel = _channel(state, given)
    told = {
        "id": channel.channel_id,
        "name": channel.name,
        "is_channel": True,
        "is_member": channel.member,
        "is_archived": channel.archived,
    }
    return {"channel": told}


_METHODS: tuple[tuple[str, str, Handler], ...] = (
    ("auth.test", "auth_test", _auth_test),
    ("chat.postMessage", "post_message", _post_message),
    ("chat.update", "update_message", _update),
    ("conversations.history", "history", _history),
    ("conversations.replies", "replies", _replies),
    ("conversations.info", "channel_info", _info),
)


def _check_token(state: SlackState, request: Request, given: Json) -> None:
    token = token_after("Bearer", request) or str(given.pop("token", "") or "")
    if not token:
        raise SlackError("not_authed")
    if not same(token, state.token):
        raise SlackError("invalid_auth")
    if state.knobs.token_error:
        raise SlackError(state.knobs.token_error)


async def _serve(world: World, state: SlackState, handler: Handler, request: Request) -> Response:
    try:
        given = await _arguments(request)
        _check_token(state, request, given)
        return JSONResponse({"ok": True, **handler(world, state, given)})
    except SlackError as error:
        return JSONResponse({"ok": False, "error": str(error)})


async def _unknown(request: Request) -> Response:
    return JSONResponse({"ok": False, "error": "unknown_method", "req_method": request.path_params["method"]})


def _failed(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return JSONResponse({"ok": False, "error": error.detail}, error.status_code, error.headers)


def build_app(world: World, state: SlackState) -> Starlette:
    """The workspace, its methods under /api."""
    served: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        (method, name, functools.partial(_serve, world, state, handler)) for method, name, handler in _METHODS
    ]
    routes = [Route(f"/api/{method}", serve, methods=["GET", "POST"], name=name) for method, name, serve in served]
    routes.append(Route("/api/{method}", _unknown, methods=["GET", "POST"], name="unknown_method"))
    return Starlette(routes=routes, exception_handlers={HTTPException: _failed})
