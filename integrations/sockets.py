"""Connections: who may be talked to, over which pool, and what a failure to talk proves."""

from __future__ import annotations

import contextlib
import ipaddress
import resource
import socket
import ssl
from functools import cache
from typing import Protocol
from urllib.parse import quote, urlsplit

import httpx

from integrations.kept import Kept
from integrations.oneshot import Answer, NoAnswerError, OneShot, TooLargeError
from integrations.outgoing import Outgoing
from recovery.errors import ConfigError

MAX_BODY_BYTES = 10 * 1024 * 1024
READS_AT_ONCE = 1024
FILES_BESIDE = 512  # what else a process has open: the ledger, its logs, the terminal


class Pool(Protocol):
    """Sends a request and reads the whole answer; httpx or OS errors, or TooLargeError, when there is none."""

    async def exchange(self, request: Outgoing, connect_seconds: float, silence_seconds: float) -> Answer:
        """One request, one answer. `silence_seconds` is the longest pause in it."""
        ...


class Sockets:
    """The connections of one process: `reads` kept and shared, `writes` one fresh connection each.

    TLS certificates are always verified; `ca_file` adds an organisation's own authority. Nothing is read from the
    environment, no cookie is stored. Tests pass `transport` and no socket is opened.

    As many accounts as are worked on may each be waiting for a remote that says nothing, so a process may have twice
    `connections` open; its limit of open files is raised to that as far as the system's own allows.
    """

    def __init__(
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        connections: int = READS_AT_ONCE,
        ca_file: str | None = None,
    ) -> None:
        self._kept: Kept | None = None
        if transport is not None:
            self.reads: Pool = _Given(transport)
            self.writes: Pool = self.reads
            return
        context = _trust() if ca_file is None else _new_trust()
        if ca_file:
            context.load_verify_locations(ca_file)
        _allow_files(2 * connections + FILES_BESIDE)
        self._kept = Kept(context, MAX_BODY_BYTES, connections)
        self.reads = self._kept
        self.writes = OneShot(context, MAX_BODY_BYTES)

    async def close(self) -> None:
        """Close every connection that this object opened."""
        if self._kept is not None:
            await self._kept.aclose()


def _allow_files(count: int) -> None:
    """Many systems let a process open 1,024 files and raise that on request; one that does not keeps its limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _new_trust() -> ssl.SSLContext:
    """Whom to trust, and HTTP/1.1 alone."""
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context


_trust = cache(_new_trust)
"""Reading the authorities costs a command more than anything else it does at its start, so it is done once."""


class _Given:
    """Any httpx transport as a pool."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def exchange(self, request: Outgoing, connect_seconds: float, silence_seconds: float) -> Answer:
        asked = request.as_httpx(connect_seconds, silence_seconds)
        response = await self._transport.handle_async_request(asked)
        response.request = asked
        body = await read_body(response)
        return Answer(response.status_code, response.headers, body)


async def read_body(response: httpx.Response) -> bytes:
    """The reply's whole body, unpacked; `TooLargeError` past 10 MB. The connection is given back in every case."""
    body = bytearray()
    try:
        async for part in response.aiter_bytes():
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise TooLargeError(f"{response.status_code} with more than {MAX_BODY_BYTES // 1024 // 1024} MB")
    finally:
        await response.aclose()
    return bytes(body)


def segment(ref: str | int) -> str:
    """An id as one path segment: escaped, and never one that walks the path. `ValueError` for an empty or dotted id."""
    text = str(ref)
    if text in ("", ".", ".."):
        raise ValueError(f"not an id: {text!r}")
    return quote(text, safe="")


def checked_base(base_url: str, system: str, account: str) -> str:
    """The base URL without trailing slash; `ConfigError` unless it is https, or http to a loopback address."""
    who = f"{system} of {account}" if account else system
    try:
        parts = urlsplit(base_url.strip())
        host = parts.hostname or ""
        _ = parts.port  # a port that is no number raises here
    except ValueError:
        raise ConfigError(f"the base URL of {who} is not a URL", "write it as https://host/path") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"the base URL of {who} carries more than a host and a path", "keep credentials in the secrets"
        )
    if not host or parts.scheme not in ("https", "http"):
        raise ConfigError(f"the base URL of {who} is not an http(s) URL", "write it as https://host/path")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ConfigError(f"the base URL of {who} is not https", "plain http is accepted for loopback addresses only")
    return base_url.strip().rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def never_left(problem: BaseException) -> bool:
    """Whether a failure proves that no byte reached the remote: DNS, refused, TLS, no connection in time."""
    return isinstance(
        problem,
        (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.PoolTimeout,
            httpx.UnsupportedProtocol,
            httpx.LocalProtocolError,
        ),
    )


def lost_connection(problem: BaseException) -> bool:
    """Whether the remote closed the connection without a byte of an answer."""
    return isinstance(problem, NoAnswerError)


def failure_words(problem: BaseException) -> str:
    """A transport failure in words of our own, because the libraries' texts may hold URLs."""
    known = isinstance(problem.__cause__, (ssl.SSLError, socket.gaierror))
    cause = problem.__cause__ if known else problem
    for kinds, words in _FAILURES:
        if isinstance(cause, kinds):
            return words
    return f"the connection failed ({type(cause).__name__})"


_FAILURES: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((socket.gaierror,), "the host name is unknown"),
    ((ssl.SSLError,), "no TLS connection: the certificate or handshake failed"),
    ((httpx.PoolTimeout, httpx.ConnectTimeout), "no connection in time"),
    ((httpx.ConnectError,), "could not connect"),
    ((httpx.ReadTimeout, httpx.WriteTimeout), "no answer in time"),
    ((NoAnswerError,), "the connection was closed without an answer"),
    ((httpx.ReadError, httpx.RemoteProtocolError), "the connection or the reply broke off"),
    ((httpx.WriteError,), "the connection broke off while sending"),
)
