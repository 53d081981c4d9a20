"""Kept connections: how reads leave.

The same strict reader as for writes, on connections that are used again. A library's pool in its place costs two to
four times the processor time of a whole call (docs/scale.md). What a read may and a write may not: a connection that
was closed while it lay idle shows it only when it is used, so the request goes out once more on a fresh one.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections import OrderedDict, deque

import httpx

from integrations.oneshot import (
    Answer,
    NoAnswerError,
    RawHeaders,
    TooLargeError,
    _Reader,
    answer_of,
    connect,
    message_of,
)
from integrations.outgoing import Outgoing

IDLE_SECONDS = 15.0  # shorter than the idle time-outs of the usual front ends and routers
KEEPING = "Accept-Encoding: gzip"

Origin = tuple[bool, str, int | None]


class _Line(_Reader):
    """One kept connection; it answers one request after the other."""

    may_be_packed = True
    transport: asyncio.Transport | None = None
    idle_since = 0.0
    lost = False

    def ask(self, method: str, silence_seconds: float | None) -> None:
        """The next answer belongs to a new request."""
        self._begin(method, silence_seconds)
        self._listen()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing to hear before there is a request."""

    def data_received(self, data: bytes) -> None:
        """A byte that nobody asked for makes the connection useless."""
        if self.done.done():
            self.lost = True
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is not used again."""
        self.lost = True
        super().connection_lost(exc)

    def eof_received(self) -> None:
        """The remote will not answer here again."""
        self.lost = True
        super().eof_received()

    def is_reusable(self, headers: RawHeaders) -> bool:
        """Whether the answer ended in a way that lets the next one begin here."""
        closing = any(name.lower() == b"connection" and b"close" in value.lower() for name, value in headers)
        framed = self._chunked or self._left is not None
        return framed and self._keeps and not closing and not self.lost and not self._waiting

    def rest(self) -> None:
        """No request is on its way."""
        self._hush()
        self.idle_since = self._loop.time()


class Kept:
    """A pool for reads. At most `connections` are open at once, idle ones included.

    A new one takes the place of the one that has been idle longest; who finds all in use waits in turn.
    """

    def __init__(self, context: ssl.SSLContext, max_body_bytes: int, connections: int) -> None:
        self._context = context
        self._max_body_bytes = max_body_bytes
        self._connections = connections
        self._room = asyncio.Semaphore(connections)
        self._busy = 0
        self._idle: dict[Origin, deque[_Line]] = {}  # of each origin, longest idle first
        self._by_age: OrderedDict[_Line, Origin] = OrderedDict()  # of all origins, longest idle first

    async def exchange(self, request: Outgoing, connect_seconds: float, silence_seconds: float) -> Answer:
        """The whole answer, unpacked. `silence_seconds` is the longest pause in it."""
        message = message_of(request, KEEPING)
        base = request.base
        origin = (base.secure, base.host, base.port)
        async with self._room:
            self._busy += 1
            try:
                line = self._rested(origin)
                if line is not None:
                    try:
                        return await self._answer(line, origin, request.method, message, silence_seconds)
                    except NoAnswerError:
                        pass
                self._close_idle()
                line = _Line(request.method, self._max_body_bytes, None)
                line.transport = await connect(base, line, self._context, connect_seconds)
                return await self._answer(line, origin, request.method, message, silence_seconds)
            finally:
                self._busy -= 1
                self._close_idle()

    def _rested(self, origin: Origin) -> _Line | None:
        oldest = _too_old()
        while lines := self._idle.get(origin):
            line = lines.pop()
            self._forget(line, origin)
            if not line.lost and line.idle_since > oldest:
                return line
            _drop(line)
        return None

    def _close_idle(self) -> None:
        """Closes what has lain idle too long at any origin, and the longest idle of those for which there is no room.

        They stand in order of age, so a call costs the same however many there are.
        """
        oldest = _too_old()
        while self._by_age:
            line, origin = next(iter(self._by_age.items()))
            if line.idle_since > oldest and self._busy + len(self._by_age) <= self._connections:
                return
            self._idle[origin].popleft()
            self._forget(line, origin)
            _drop(line)

    def _forget(self, line: _Line, origin: Origin) -> None:
        del self._by_age[line]
        if not self._idle[origin]:
            del self._idle[origin]

    async def _answer(
        self, line: _Line, origin: Origin, method: str, message: bytes, silence_seconds: float | None
    ) -> Answer:
        assert line.transport is not None
        kept = False
        line.ask(method, silence_seconds)
        try:
            line.transport.write(message)
            status, headers, body = await line.done
            kept = line.is_reusable(headers)
        finally:
            line.rest()
            if kept:
                self._idle.setdefault(origin, deque()).append(line)
                self._by_age[line] = origin
            else:
                _drop(line)
        answer = answer_of(status, headers, body)
        packing = answer.headers.get("content-encoding", "").strip().lower()
        return Answer(status, answer.headers, self._unpacked(body, packing))

    def _unpacked(self, body: bytes, packing: str) -> bytes:
        packings = [p for p in (each.strip() for each in packing.split(",")) if p not in ("", "identity")]
        if not packings or not body:
            return body
        if packings not in (["gzip"], ["x-gzip"], ["deflate"]):
            raise httpx.DecodingError(f"a body packed as {packing[:20]!r}")
        plain = b""
        while body:  # a gzip body may have several members, one after the other (RFC 1952)
            unpacker = zlib.decompressobj(wbits=47 if packings != ["deflate"] else 15)
            try:
                plain += unpacker.decompress(body, self._max_body_bytes + 1 - len(plain))
            except zlib.error:
                raise httpx.DecodingError("a packed body that cannot be unpacked") from None
            if len(plain) > self._max_body_bytes:
                raise TooLargeError(f"a reply with more than {self._max_body_bytes // 1024 // 1024} MB")
            if not unpacker.eof:
                raise httpx.DecodingError("a packed body without its end")
            body = unpacker.unused_data
        return plain

    async def aclose(self) -> None:
        """Close every idle connection."""
        for line in self._by_age:
            _drop(line)
        self._by_age.clear()
        self._idle.clear()


def _too_old() -> float:
    return asyncio.get_running_loop().time() - IDLE_SECONDS


def _drop(line: _Line) -> None:
    line.lost = True
    if line.transport is not None:
        line.transport.abort()
