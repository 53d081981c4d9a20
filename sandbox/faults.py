"""The unpleasant network: an ASGI layer round every twin that fails, hangs, cuts and lies as planned.

"before" kinds strike without the twin ever seeing the request; "after" kinds let the effect happen first. Two kinds go
beyond the agreed list: "lands-late" resets the connection and lets the request take effect `seconds` later, and
"empty-ok" answers a write with 200 and {}. A struck fault is journalled as event "fault".
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from asyncio import BaseTransport
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from starlette.routing import BaseRoute, Match, Mount
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.world import FAULT_KINDS, Fault, World

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TRANSPORT = "allclear.transport"
GENERIC = FAULT_KINDS | {"lands-late"}
HTML = b"<!doctype html><html><head><title>Please wait</title></head><body><h1>We'll be right back</h1></body></html>"
MULTI_ACCOUNT = frozenset({"pro2", "dashboard", "tessitura"})


class ResettableProtocol(HttpToolsProtocol):
    """uvicorn's protocol with its transport put into the scope, so that a fault can cut the connection."""

    def on_message_begin(self) -> None:
        """Add the transport to the scope of the request that begins."""
        super().on_message_begin()
        scope: MutableMapping[str, Any] = self.scope  # type: ignore[assignment]  # an open dict, typed as closed
        scope[TRANSPORT] = self.transport


def cut(transport: BaseTransport) -> None:
    """End a connection by a TCP reset: nothing more is flushed, the client sees "connection reset"."""
    shown = transport.get_extra_info("socket")
    if shown is not None and not transport.is_closing():
        with socket.socket(fileno=os.dup(shown.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A transport that aborts closes its own descriptor; linger 0 makes that close a reset.
    abort = getattr(transport, "abort", transport.close)
    abort()


def op_of(routes: Iterable[BaseRoute], scope: Scope) -> str:
    """The name of the route that will serve the request; for Prospect2's v1 "v1:" and the api_action."""
    if scope["path"].endswith("/admin/api.php"):
        action = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("api_action", [""])[0]
        return f"v1:{action}"
    for route in routes:
        match, inner = route.matches(scope)
        if match is not Match.FULL:
            continue
        if isinstance(route, Mount):
            return op_of(route.routes, {**scope, **inner})
        return str(getattr(route, "name", ""))
    return ""


class FaultLayer:
    """Wraps one twin. `hanging` are requests that will never be answered; the estate cancels them when it stops."""

    def __init__(self, app: App, world: World, system: str, routes: Iterable[BaseRoute]) -> None:
        self.app = app
        self.world = world
        self.system = system
        self.routes = list(routes)
        self.later: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or spoil it as planned."""
        if scope["type"] != "http" or not self.world.faults.planned:
            await self.app(scope, receive, send)
            return
        account = scope["path"].split("/", 2)[1] if self.system in MULTI_ACCOUNT else ""
        op = op_of(self.routes, scope)
        fault = self.world.faults.take(self.system, account, op, GENERIC)
        if fault is None:
            await self.app(scope, receive, send)
            return
        self.world.journal(self.system, account, "fault", op=op, kind=fault.kind)
        await self._strike(fault, scope, receive, send)

    async def _strike(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        before = BEFORE.get(fault.kind)
        if before is not None:
            await drained(receive)
            await before(fault, scope, receive, send)
            return
        body = await drained(receive)
        if fault.kind == "lands-late":
            task = asyncio.create_task(self._land_late(fault.seconds, scope, body))
            self.later.add(task)
            task.add_done_callback(self.later.discard)
            await reset(fault, scope, receive, send)
            return
        captured = Captured()
        await self.app(scope, replayed(body), captured)
        await AFTER[fault.kind](fault, scope, receive, send, captured)

    async def _land_late(self, seconds: float, scope: Scope, body: bytes) -> None:
        await asyncio.sleep(seconds)
        await self.app(scope, replayed(body), Captured())


class Captured:
    """A reply that was made but not sent."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""

    async def __call__(self, message: Message) -> None:
        """Take one ASGI message of the twin's reply."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message.get("headers", []))
        else:
            self.body += message.get("body", b"")


async def drained(receive: Receive) -> bytes:
    """The whole request body."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def replayed(body: bytes) -> Receive:
    """A receive that gives a body already read."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def plain(send: Send, status: int, body: bytes, kind: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Send one whole reply."""
    told = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})


async def refuse(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    """An error status without any effect."""
    del scope, receive
    status = int(fault.kind.partition("-")[0])
    headers = [(b"retry-after", str(max(int(fault.seconds), 1)).encode())] if fault.kind == "429" else []
    if status >= 500:
        await plain(send, status, HTML, b"text/html", headers)
        return
    await plain(send, status, b'{"message":"Request refused"}', b"application/json", headers)


async def reset(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    """A TCP reset instead of a reply."""
    del fault, send
    transport = scope.get(TRANSPORT)
    if transport is not None:
        cut(transport)
    await receive()  # until the protocol has noticed, or it would write a 500 into the void


async def hang(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing at all for `seconds` (0: until the client gives up), then a reset."""
    waiting = asyncio.ensure_future(receive())
    try:
        await asyncio.wait([waiting], timeout=fault.seconds or None)
    finally:
        if not waiting.done():
            waiting.cancel()
    await reset(fault, scope, receive, send)


async def html(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    """A proxy's page with status 200."""
    del fault, scope, receive
    await plain(send, 200, HTML, b"text/html; charset=utf-8")


async def redirect(fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
    """307 to a path where the request would take effect, so that a client that follows is found out."""
    del fault, receive
    query = scope.get("query_string", b"")
    where = scope["path"].encode() + b"?" + (query + b"&" if query else b"") + b"moved=1"
    await plain(send, 307, b"", b"text/plain", [(b"location", where)])


BEFORE: dict[str, Callable[[Fault, Scope, Receive, Send], Awaitable[None]]] = {
    **dict.fromkeys(("500", "502", "503", "429", "429-bare", "401", "403"), refuse),
    "reset-before": reset,
    "hang": hang,
    "html-before": html,
    "redirect": redirect,
}


async def late_error(fault: Fault, scope: Scope, receive: Receive, send: Send, reply: Captured) -> None:
    """An error status after the effect."""
    del reply
    await refuse(fault, scope, receive, send)


async def late_reset(fault: Fault, scope: Scope, receive: Receive, send: Send, reply: Captured) -> None:
    """A reset after the effect."""
    del reply
    await reset(fault, scope, receive, send)


async def late_hang(fault: Fault, scope: Scope, receive: Receive, send: Send, reply: Captured) -> None:
    """No reply after the effect."""
    del reply
    await hang(fault, scope, receive, send)


async def late_html(fault: Fault, scope: Scope, receive: Receive, send: Send, reply: Captured) -> None:
    """A proxy's page after the effect."""
    del reply
    await html(fault, scope, receive, send)


async def empty(fault: Fault, scope: Scope, receive: Receive, send: Send, reply: Captured) -> None:
    """200 with {} after the effect: a success without the id."""
    del fault, scope, receive, reply
    await plain(send, 200, b"{}", b"application/json")


async def drip(fault: Fault, scope: Scope, receive: Receive, send: Send, reply: Captured) -> None:
    """The whole reply, spread over `seconds` (2 when not told)."""
    del scope, receive
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    step = max(len(reply.body) // 20, 1)
    pieces = [reply.body[n : n + step] for n in range(0, len(reply.body), step)]
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep((fault.seconds or 2.0) / max(len(pieces), 1))
    await send({"type": "http.response.body", "body": b""})


async def truncate(fault: Fault, scope: Scope, receive: Receive, send: Send, reply: Captured) -> None:
    """Half of the reply although its length was announced, then the end of the connection."""
    del fault
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body[: len(reply.body) // 2], "more_body": True})
    transport = scope.get(TRANSPORT)
    if transport is not None:
        transport.close()  # an orderly end, so that the first half arrives
    await receive()


AFTER: dict[str, Callable[[Fault, Scope, Receive, Send, Captured], Awaitable[None]]] = {
    "500-after": late_error,
    "502-after": late_error,
    "reset-after": late_reset,
    "hang-after": late_hang,
    "html": late_html,
    "empty-ok": empty,
    "slow-drip": drip,
    "truncated": truncate,
}
