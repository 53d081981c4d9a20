"""Pendo's Engage API: the state of guides that people have prepared. It can neither create nor word a guide.

Facts: reference/vendors.md §6. Setting a state is idempotent; a key without write access is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.wire import Json, RefusedError, body_object, same
from sandbox.world import World

STATES = ("public", "staged", "draft", "disabled")
_NO_EFFECT = frozenset({"no-effect-ok"})


@dataclass
class PendoKnobs:
    """`write_access` is the tick on the key; `expires_seconds` turns a public guide to draft by itself (0: never)."""

    write_access: bool = True
    expires_seconds: float = 0.0


@dataclass
class Guide:
    """One guide; `changed_at` is when its state was last set."""

    guide_id: str
    name: str
    changed_at: datetime
    state: str = "disabled"
    segment_id: str = ""
    history: list[Json] = field(default_factory=list)


class PendoState:
    """One subscription with the three guides of an outage."""

    def __init__(self, world: World, key: str, *, guides: dict[str, str] | None = None) -> None:
        names = guides or {
            "guide-investigating": "Under Investigation",
            "guide-identified": "Issue Identified - Fix in Progress",
            "guide-resolved": "Issue Resolved",
        }
        self.key = key
        self.knobs = PendoKnobs()
        self.guides = {ref: Guide(ref, name, world.now()) for ref, name in names.items()}

    def tick(self, world: World) -> None:
        """Let guides expire whose time, set by a person in Pendo, has come."""
        if not self.knobs.expires_seconds:
            return
        for guide in self.guides.values():
            age = (world.now() - guide.changed_at).total_seconds()
            if guide.state == "public" and age >= self.knobs.expires_seconds:
                self.set_state(world, guide, "draft", by="expiry")

    def set_state(self, world: World, guide: Guide, state: str, *, by: str) -> None:
        """Set a guide's state and journal it; a repeat is journalled too, and changes nothing."""
        before, guide.state, guide.changed_at = guide.state, state, world.now()
        guide.history.append({"state": state, "at": _milliseconds(world.now()), "by": by})
        world.journal("pendo", "", "guide_state", guide=guide.guide_id, before=before, after=state, by=by)


def _milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _guide_json(guide: Guide) -> Json:
    shown: Json = {
        "id": guide.guide_id,
        "name": guide.name,
        "state": guide.state,
        "kind": "guide",
        "launchMethod": "auto",
        "lastUpdatedAt": _milliseconds(guide.changed_at),
    }
    return shown | {"segmentId": guide.segment_id} if guide.segment_id else shown


def _find(state: PendoState, request: Request) -> Guide:
    guide = state.guides.get(request.path_params["guide_id"])
    if guide is None:
        raise RefusedError(404, "Guide not found")
    return guide


async def _list(world: World, state: PendoState, request: Request) -> Response:
    del world
    ids, wanted = request.query_params.get("id", ""), request.query_params.get("state")
    chosen = {part for part in ids.split(",") if part}
    guides = [one for one in state.guides.values() if (not chosen or one.guide_id in chosen)]
    return JSONResponse([_guide_json(one) for one in guides if wanted in (None, one.state)])


async def _verify(world: World, state: PendoState, request: Request) -> Response:
    del world, request
    return JSONResponse({"valid": True, "writeAccess": state.knobs.write_access})


async def _history(world: World, state: PendoState, request: Request) -> Response:
    del world
    return JSONResponse(_find(state, request).history)


def _need_write_access(state: PendoState) -> None:
    if not state.knobs.write_access:
        raise RefusedError(403, "The integration key does not have write access")


async def _set_state(world: World, state: PendoState, request: Request) -> Response:
    _need_write_access(state)
    guide, body = _find(state, request), await body_object(request)
    wanted = body.get("state") if body is not None else None
    if wanted not in STATES:
        raise RefusedError(400, "Invalid guide state")
    if world.faults.take("pendo", "", "guide_state", _NO_EFFECT) is None:
        state.set_state(world, guide, wanted, by="api")
    return JSONResponse(_guide_json(guide) | {"state": wanted})


async def _set_segment(world: World, state: PendoState, request: Request) -> Response:
    _need_write_access(state)
    guide, body = _find(state, request), await body_object(request)
    wanted = body.get("segmentId") if body is not None else None
    if not isinstance(wanted, str):
        raise RefusedError(400, "Invalid segment")
    guide.segment_id = wanted
    world.journal("pendo", "", "guide_segment", guide=guide.guide_id, segment=wanted)
    return JSONResponse(_guide_json(guide))


Handler = Callable[[World, PendoState, Request], Awaitable[Response]]
_GUIDE = "/guide/{guide_id}"
_ROUTES: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/guide", "guide", _list),
    ("GET", "/token/verify", "token_verify", _verify),
    ("GET", _GUIDE + "/history", "guide_history", _history),
    ("PUT", _GUIDE + "/state", "guide_state", _set_state),
    ("PUT", _GUIDE + "/segment", "guide_segment", _set_segment),
)


async def _serve(world: World, state: PendoState, handler: Handler, request: Request) -> Response:
    if not same(request.headers.get("x-pendo-integration-key", ""), state.key):
        return PlainTextResponse("Invalid integration key", 403)
    state.tick(world)
    try:
        return await handler(world, state, request)
    except RefusedError as refused:
        return PlainTextResponse(refused.message, refused.status)


def _unrouted(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, HTTPException)
    return PlainTextResponse(error.detail, error.status_code)


def build_app(world: World, state: PendoState) -> Starlette:
    """The subscription, under /api/v1."""
    routes = [
        Route(f"/api/v1{path}", functools.partial(_serve, world, state, handler), methods=[method], name=name)
        for method, path, name, handler in _ROUTES
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _unrouted})
