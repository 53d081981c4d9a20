"""One request on one connection: how writes leave.

Written out on asyncio because of what the libraries do on their own. aiohttp sends a GET, PUT or DELETE a second time
when the connection is closed without an answer; httpx's own pool does not, and costs 2 ms of CPU a call. Here there is
nothing that could repeat, follow, pool or remember: a connection is made, the request's bytes go out once, the answer
is read to its end and the connection is dropped.

The reader accepts plain HTTP/1.1 (RFC 9112) and nothing doubtful: whatever it does not understand is a protocol error,
which the transport counts as UNKNOWN. `httpx.ConnectError` and `httpx.ConnectTimeout` are raised only before the first
byte was handed to the connection.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from integrations.outgoing import Base, Outgoing

MAX_HEAD_BYTES = 64 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n\x00]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\x00]*?)[ \t]*")
_CHUNK = re.compile(rb"0*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n\x00]*)?")
_UNSAFE = re.compile(r"[\r\n\x00]")

RawHeaders = list[tuple[bytes, bytes]]
CLOSING = "Accept-Encoding: identity\r\nConnection: close"


class TooLargeError(Exception):
    """The reply passed the size that any reply may have."""


class NoAnswerError(httpx.RemoteProtocolError):
    """The connection ended before the first byte of an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole reply; `headers` by their names in lower case, the values of a repeated one joined by commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def answer_of(status: int, raw: RawHeaders, body: bytes) -> Answer:
    """The answer with its headers made readable."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("ascii").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Answer(status, headers, body)


class OneShot:
    """Sends without a pool. `max_body_bytes` bounds a reply's body; a longer one raises TooLargeError."""

    def __init__(self, context: ssl.SSLContext, max_body_bytes: int) -> None:
        self._context = context
        self._max_body_bytes = max_body_bytes

    async def exchange(self, request: Outgoing, connect_seconds: float, silence_seconds: float) -> Answer:
        """Send the request once and read its whole answer. `silence_seconds` is the longest pause in the answer."""
        message = message_of(request, CLOSING)
        reader = _Reader(request.method, self._max_body_bytes, silence_seconds)
        transport = await connect(request.base, reader, self._context, connect_seconds)
        try:
            transport.write(message)
            return answer_of(*await reader.done)
        finally:
            transport.abort()


async def connect(base: Base, reader: _Reader, context: ssl.SSLContext, seconds: float) -> asyncio.Transport:
    """A connection to the host; `httpx.ConnectTimeout` or `httpx.ConnectError` when there is none."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            transport, _ = await loop.create_connection(
                lambda: reader,
                base.host,
                base.port or (443 if base.secure else 80),
                ssl=context if base.secure else None,
                server_hostname=base.host if base.secure else None,
            )
    except TimeoutError as problem:
        raise httpx.ConnectTimeout("no connection in time") from problem
    except OSError as problem:  # name not found, refused, unreachable, and every TLS failure
        raise httpx.ConnectError("could not connect") from problem
    return transport


def message_of(request: Outgoing, ending: str) -> bytes:
    """The request's bytes, `ending` in place of what it says of the connection and of packed bodies."""
    fields = [
        f"{name}: {value}"
        for name, value in request.fields.items()
        if name.lower() not in ("connection", "accept-encoding")
    ]
    if _UNSAFE.search(request.target) or any(_UNSAFE.search(field) for field in fields):
        raise httpx.LocalProtocolError("a header or the target holds a line end")
    if request.sized:
        fields.append(f"Content-Length: {len(request.content)}")
    head = f"{request.method} {request.target or '/'} HTTP/1.1\r\nHost: {request.base.named}\r\n"
    return (head + "\r\n".join([*fields, ending]) + "\r\n\r\n").encode("ascii") + request.content


class _Reader(asyncio.Protocol):
    """Reads one reply; `done` gets its status, headers and body, or what went wrong."""

    may_be_packed = False

    def __init__(self, method: str, max_body_bytes: int, silence_seconds: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._max = max_body_bytes
        self._timer: asyncio.TimerHandle | None = None
        self._begin(method, silence_seconds)

    def _begin(self, method: str, silence_seconds: float | None) -> None:
        self.done: asyncio.Future[tuple[int, RawHeaders, bytes]] = self._loop.create_future()
        self._method = method
        self._silence = silence_seconds
        self._heard = False
        self._heard_at = self._loop.time()
        self._waiting = bytearray()
        self._head: tuple[int, RawHeaders] | None = None
        self._left: int | None = None  # bytes still to come of the body or the chunk; None: until the end
        self._chunked = False
        self._trailers = False
        self._keeps = False
        self._body = bytearray()

    # ---- what asyncio calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        del transport
        self._listen()

    def _listen(self) -> None:
        self._heard_at = self._loop.time()
        if self._silence is not None:
            self._timer = self._loop.call_later(self._silence, self._check_silence)

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        self._heard = True
        if self.done.done():
            return
        self._waiting += data
        try:
            self._advance()
        except (httpx.RemoteProtocolError, TooLargeError) as problem:
            self._fail(problem)

    def eof_received(self) -> None:
        if self._head is not None and self._left is None and not self._chunked and not self.done.done():
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self.eof_received()
        if not self.done.done():
            lost: httpx.TransportError = httpx.ReadError("the connection broke") if exc else _broken("closed too early")
            self._fail(lost if self._heard else NoAnswerError("closed without an answer"))
        self._hush()

    def _hush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_silence(self) -> None:
        assert self._silence is not None
        quiet = self._loop.time() - self._heard_at
        if quiet < self._silence:
            self._timer = self._loop.call_later(self._silence - quiet, self._check_silence)
        elif not self.done.done():
            self._fail(httpx.ReadTimeout("no answer in time"))

    def _fail(self, problem: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(problem)
            self.done.exception()  # a caller that was cancelled does not ask for it

    # ---- RFC 9112 ----

    def _advance(self) -> None:
        while self._head is None:
            end = self._waiting.find(b"\r\n\r\n")
            if end < 0:
                if len(self._waiting) > MAX_HEAD_BYTES:
                    raise _broken("headers without end")
                return
            self._take_head(bytes(self._waiting[:end]))
            del self._waiting[: end + 4]
        if self._chunked:
            self._take_chunks()
        else:
            self._take_body()

    def _take_head(self, block: bytes) -> None:
        first, *rest = block.split(b"\r\n")
        found = _STATUS.fullmatch(first)
        fields = [_FIELD.fullmatch(line) for line in rest]
        if found is None or None in fields:
            raise _broken("not an HTTP/1.1 reply")
        status = int(found[1])
        if 100 <= status < 200:
            if status == 101:
                raise _broken("an upgrade that nobody asked for")
            return  # an interim reply: the real one follows
        headers = [(field[1], field[2]) for field in fields if field is not None]
        self._head = (status, headers)
        self._keeps = first.startswith(b"HTTP/1.1")
        self._frame(status, headers)

    def _frame(self, status: int, headers: RawHeaders) -> None:
        """How long the body is; two different statements about it are a protocol error."""
        coding = [value.lower() for name, value in headers if name.lower() == b"transfer-encoding"]
        lengths = {value for name, value in headers if name.lower() == b"content-length"}
        packed = [value.lower() for name, value in headers if name.lower() == b"content-encoding"]
        if not self.may_be_packed and any(value not in (b"", b"identity") for value in packed):
            raise _broken("a packed body that nobody asked for")
        if self._method == "HEAD" or status in (204, 304):
            self._left = 0
        elif coding:
            if coding != [b"chunked"] or lengths:
                raise _broken("an unclear body length")
            self._chunked, self._left = True, 0
        elif lengths:
            (length, *others) = lengths
            if others or not length.isdigit() or len(length) > 15:
                raise _broken("an unclear body length")
            self._left = int(length)
            self._bound(self._left)

    def _take_body(self) -> None:
        self._append(len(self._waiting) if self._left is None else min(self._left, len(self._waiting)))
        if self._left == 0:
            self._finish()

    def _take_chunks(self) -> None:
        while True:
            if self._left:
                self._append(min(self._left, len(self._waiting)))
                if self._left:
                    return
                self._left = -2  # the line end after the chunk
            if self._left == -2:
                if len(self._waiting) < 2:
                    return
                if self._waiting[:2] != b"\r\n":
                    raise _broken("a chunk of the wrong length")
                del self._waiting[:2]
                self._left = 0
            line = self._line()
            if line is None:
                return
            if self._trailers:
                if not line:
                    self._finish()
                    return
                continue
            found = _CHUNK.fullmatch(line)
            if found is None:
                raise _broken("a chunk without a length")
            self._left = int(found[1], 16)
            self._trailers = self._left == 0

    def _line(self) -> bytes | None:
        end = self._waiting.find(b"\r\n")
        if end < 0:
            if len(self._waiting) > MAX_HEAD_BYTES:
                raise _broken("a line without end")
            return None
        line = bytes(self._waiting[:end])
        del self._waiting[: end + 2]
        return line

    def _append(self, count: int) -> None:
        self._body += self._waiting[:count]
        del self._waiting[:count]
        self._bound(len(self._body))
        if self._left is not None:
            self._left -= count

    def _bound(self, size: int) -> None:
        if size > self._max:
            raise TooLargeError(f"a reply with more than {self._max // 1024 // 1024} MB")

    def _finish(self) -> None:
        assert self._head is not None
        if not self.done.done():
            self.done.set_result((*self._head, bytes(self._body)))


def _broken(what: str) -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError(what)
