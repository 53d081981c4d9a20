"""The transport over real sockets: each kind of time-out, resets before and after, truncation, and no repeats."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from remote_bench import OpenGate, WallClock, open_attempt

from integrations.http import Reply, Sockets, Timeouts, Transport
from recovery.errors import BadReply, Unavailable
from recovery.model import AttemptOutcome, OpenAttempt, WriteResult

APPLIED, NOT_APPLIED, UNKNOWN = AttemptOutcome.APPLIED, AttemptOutcome.NOT_APPLIED, AttemptOutcome.UNKNOWN
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"id":7}'
QUICK = Timeouts(connect=0.2, read=0.2, total=0.5)
PATIENT = Timeouts(connect=5.0, read=5.0, total=10.0)

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Server:
    """A server that plays a script to each request, and what it received."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def serving(
    script: Script, *, requests_per_connection: int = 1, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    made = Server(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.connections += 1
        try:
            for _ in range(requests_per_connection):
                head = await reader.readuntil(b"\r\n\r\n")
                made.requests.append(head.split(b"\r\n")[0])
                await script(reader, writer)
        finally:
            writer.close()

    tasks: list[asyncio.Task[None]] = []
    server = await asyncio.start_server(
        lambda reader, writer: tasks.append(asyncio.create_task(serve(reader, writer))), "127.0.0.1", 0, ssl=tls
    )
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def transport_to(
    url: str, timeouts: Timeouts = QUICK, read_retries: int = 0, connections: int = 400
) -> AsyncIterator[Transport]:
    sockets = Sockets(connections=connections)
    try:
        yield Transport(
            system="pro2",
            account="harbor",
            base_url=url,
            headers={"Api-Token": "canary-token"},
            sockets=sockets,
            clock=WallClock(),
            gate=OpenGate(),
            timeouts=timeouts,
            read_retries=read_retries,
        )
    finally:
        await sockets.close()


def judge(reply: Reply) -> WriteResult | None:
    return WriteResult(APPLIED, ref=str(reply.obj()["id"]))


async def write(
    transport: Transport, method: str = "GET", seconds: float = 5.0, attempt: OpenAttempt | None = None
) -> WriteResult:
    return await transport.write(
        attempt or open_attempt(transport.clock, seconds=seconds), "status", method, "/admin/api.php", judge=judge
    )


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)
    await writer.drain()


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER 0 turns close into a reset
    writer.transport.abort()


async def truncate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(OK.replace(b"Content-Length: 8", b"Content-Length: 80"))
    await writer.drain()


async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await writer.drain()


AFTER_SENDING = {"hang": hang, "drip": drip, "cut": cut, "reset": reset, "truncate": truncate, "nonsense": nonsense}


class Deaf:
    """A listening socket that accepts nobody and whose backlog is full."""

    def __init__(self) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.fillers = [socket.socket() for _ in range(4)]
        for filler in self.fillers:
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(self.listener.getsockname())

    def close(self) -> None:
        for sock in (*self.fillers, self.listener):
            sock.close()


@pytest.fixture
def deaf() -> Iterator[Deaf]:
    made = Deaf()
    yield made
    made.close()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("name", AFTER_SENDING)
async def test_whatever_happens_after_sending_is_unknown_and_was_sent_once(name: str, method: str) -> None:
    seconds = 1.0 if name in ("hang", "drip") else 10.0  # a busy machine may need half a second to take a request
    async with serving(AFTER_SENDING[name]) as server, transport_to(server.url, PATIENT) as transport:
        result = await write(transport, method, seconds=seconds)
    assert result.outcome is UNKNOWN, result
    assert server.requests == [f"{method} /admin/api.php HTTP/1.1".encode()]


async def test_each_write_has_a_connection_of_its_own() -> None:
    async with serving(answer, requests_per_connection=9) as server, transport_to(server.url) as transport:
        results = [await write(transport, "POST") for _ in range(3)]
    assert [r.outcome for r in results] == [APPLIED] * 3
    assert server.connections == 3


async def test_reads_share_a_connection() -> None:
    async with serving(answer, requests_per_connection=9) as server, transport_to(server.url) as transport:
        for _ in range(3):
            await transport.read("look", "GET", "/things")
    assert (server.connections, len(server.requests)) == (1, 3)


async def test_a_refused_connection_means_that_nothing_was_applied() -> None:
    async with serving(answer) as server:
        url = server.url
    async with transport_to(url) as transport:
        result = await write(transport)
    assert (result.outcome, result.detail) == (NOT_APPLIED, "could not connect")


async def test_an_unknown_host_means_that_nothing_was_applied() -> None:
    async with transport_to("https://no-such-host.invalid") as transport:
        assert (await write(transport)).outcome is NOT_APPLIED


async def test_a_server_without_tls_behind_https_means_that_nothing_was_applied() -> None:
    async with serving(answer) as server, transport_to(server.url.replace("http:", "https:")) as transport:
        result = await write(transport)
    assert result.outcome is NOT_APPLIED, result
    assert server.requests == []


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: no certificate to refuse")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_certificate_of_an_unknown_authority_is_refused(self_signed: ssl.SSLContext) -> None:
    async with serving(answer, tls=self_signed) as server, transport_to(f"https{server.url[4:]}") as transport:
        assert (await write(transport)).outcome is NOT_APPLIED
        with pytest.raises(Unavailable, match="certificate"):
            await transport.read("look", "GET", "/things")
    assert server.requests == []


async def test_a_connection_that_does_not_come_about_in_time_means_that_nothing_was_applied(deaf: Deaf) -> None:
    """A listener whose backlog is full: the system never completes the handshake."""
    async with transport_to(deaf.url) as transport:
        began = time.monotonic()
        result = await write(transport)
    assert result.outcome is NOT_APPLIED, result
    assert time.monotonic() - began < 2


async def test_no_byte_leaves_after_the_time_to_send(deaf: Deaf) -> None:
    """The connection takes longer than the attempt may still be sent: it is given up before anything leaves."""
    async with transport_to(deaf.url, Timeouts(connect=5)) as transport:
        began = time.monotonic()
        attempt = OpenAttempt(1, "A" * 16, 1, 1, transport.clock.monotonic() + 0.2, 10.0)
        result = await write(transport, attempt=attempt)
    assert result.outcome is NOT_APPLIED
    assert time.monotonic() - began < 2


async def test_reads_time_out_and_say_so() -> None:
    for script, words in (
        (hang, "no answer in time"),
        (drip, "no complete answer in 0.5 s"),
        (reset, "could not|closed|broke|failed"),
    ):
        async with serving(script) as server, transport_to(server.url) as transport:
            with pytest.raises(Unavailable, match=words):
                await transport.read("look", "GET", "/things")


async def test_a_remote_that_does_not_take_the_whole_request_leaves_it_unknown() -> None:
    """The write time-out: a remote that stops reading may have understood enough to act."""
    stuck = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can
        await stuck.wait()

    async with serving(hold) as server, transport_to(server.url) as transport:
        attempt = open_attempt(transport.clock, seconds=3.0)
        began = time.monotonic()
        result = await transport.write(attempt, "upload", "POST", "/uploads", judge=judge, data=b"x" * 20_000_000)
        stuck.set()
    assert (result.outcome, result.detail) == (UNKNOWN, "no answer in time")
    assert time.monotonic() - began < 2


async def test_a_read_that_finds_no_free_connection_gives_up_in_time_and_does_not_block_the_next() -> None:
    """The pool time-out: one connection, held by a remote that never ends."""
    release = asyncio.Event()

    async def hold_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not release.is_set():
            await drip(reader, writer)
        await answer(reader, writer)

    async with serving(hold_once) as server, transport_to(server.url, connections=1) as transport:
        first = asyncio.create_task(transport.read("first", "GET", "/things"))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        with pytest.raises(Unavailable, match=r"no complete answer in 0\.5 s"):
            await transport.read("second", "GET", "/things")
        assert time.monotonic() - began < 2
        with pytest.raises(Unavailable):
            await first
        release.set()
        assert (await transport.read("third", "GET", "/things")).status == 200


async def test_a_truncated_read_is_a_bad_reply() -> None:
    async with serving(truncate) as server, transport_to(server.url) as transport:
        with pytest.raises(BadReply, match="broke off"):
            await transport.read("look", "GET", "/things")
