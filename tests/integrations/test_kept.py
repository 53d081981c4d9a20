"""Kept connections: used again only after a whole answer, and an idle one that was closed costs a read nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from integrations import kept as kept_connections
from integrations.kept import Kept
from integrations.oneshot import Answer, NoAnswerError, TooLargeError
from integrations.outgoing import Base, Call, build_request

BODY = b'{"id":7}'
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n" + BODY
PACKED = gzip.compress(BODY, mtime=0)


class Remote:
    """Answers each request with the next script; a script ends with "close" to hang up after it."""

    def __init__(self, *scripts: tuple[bytes, str]) -> None:
        self.scripts = list(scripts)
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.requests = 0
        self.urls: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                answer, then = self.scripts.pop(0) if self.scripts else (PLAIN, "")
                writer.write(answer)
                await writer.drain()
                if then == "close":
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()

    async def has_open(self, count: int) -> None:
        """Returns when so many connections are open; a close takes a moment to arrive."""
        async with asyncio.timeout(5):
            while self.open != count:
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def pool(remote: Remote, *, connections: int = 10, most: int = 1000, origins: int = 1) -> AsyncIterator[Kept]:
    tasks: list[asyncio.Task[None]] = []
    servers = [
        await asyncio.start_server(
            lambda reader, writer: tasks.append(asyncio.create_task(remote.serve(reader, writer))), "127.0.0.1", 0
        )
        for _ in range(origins)
    ]
    remote.urls = [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
    kept = Kept(ssl.create_default_context(), most, connections)
    try:
        yield kept
    finally:
        await kept.aclose()
        for server in servers:
            server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what was closed is then really closed


async def ask(kept: Kept, remote: Remote, origin: int = 0) -> Answer:
    call = Call("look", "GET", "/things", None, None, None, None)
    return await kept.exchange(build_request(Base.of(remote.urls[origin]), call, {}), 2, 2)


async def test_a_connection_that_was_closed_while_idle_is_replaced_and_the_read_repeated() -> None:
    remote = Remote((PLAIN, "close"))
    async with pool(remote) as kept:
        for _ in range(3):
            assert (await ask(kept, remote)).body == BODY
    assert remote.connections == 2


async def test_a_fresh_connection_without_an_answer_is_not_tried_again() -> None:
    remote = Remote((b"", "close"), (b"", "close"))
    async with pool(remote) as kept:
        with pytest.raises(NoAnswerError):
            await ask(kept, remote)
    assert remote.requests == 1


@pytest.mark.parametrize(
    "first",
    [
        PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",  # an answer to nothing: never taken for the next one
    ],
)
async def test_an_answer_that_leaves_doubt_ends_its_connection(first: bytes) -> None:
    remote = Remote((first, ""))
    async with pool(remote) as kept:
        assert [(await ask(kept, remote)).body for _ in range(2)] == [BODY, BODY]
    assert remote.connections == 2


async def test_a_cancelled_read_leaves_no_answer_behind_for_the_next_one() -> None:
    remote = Remote((PLAIN[:40], ""))
    async with pool(remote) as kept:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(kept, remote)
        assert (await ask(kept, remote)).body == BODY
    assert remote.connections == 2


def packed(body: bytes, name: bytes = b"gzip") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (name, len(body)) + body


TWO_MEMBERS = gzip.compress(BODY[:5], mtime=0) + gzip.compress(BODY[5:], mtime=0)


@pytest.mark.parametrize("answer", [packed(PACKED), packed(PACKED, b"gzip, identity"), packed(TWO_MEMBERS)])
async def test_a_packed_body_is_unpacked_whole(answer: bytes) -> None:
    remote = Remote((answer, ""))
    async with pool(remote) as kept:
        assert (await ask(kept, remote)).body == BODY


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (packed(gzip.compress(b" " * 100_000, mtime=0)), TooLargeError),
        (packed(PACKED[:-4]), httpx.DecodingError),
        (packed(b"not packed"), httpx.DecodingError),
        (packed(PACKED, b"br"), httpx.DecodingError),
        (packed(PACKED + b"rest"), httpx.DecodingError),
        (packed(PACKED + gzip.compress(b" " * 100_000, mtime=0)), TooLargeError),
    ],
)
async def test_a_packed_body_that_is_too_large_torn_or_unknown_is_refused(
    answer: bytes, error: type[Exception]
) -> None:
    remote = Remote((answer, ""))
    async with pool(remote) as kept:
        with pytest.raises(error):
            await ask(kept, remote)


async def test_no_more_connections_than_allowed_are_open_at_once() -> None:
    remote = Remote()
    async with pool(remote, connections=3) as kept:
        answers = await asyncio.gather(*(ask(kept, remote) for _ in range(20)))
    assert len(answers) == 20
    assert remote.connections <= 3


async def test_idle_connections_of_many_origins_count_among_those_allowed() -> None:
    remote = Remote()
    async with pool(remote, connections=3, origins=12) as kept:
        for number in range(12):
            await ask(kept, remote, number)
        await remote.has_open(3)
    assert remote.most_open <= 4  # the one that makes room is closed a moment before its end arrives here


async def test_a_new_connection_takes_the_place_of_the_one_that_was_idle_longest() -> None:
    remote = Remote()
    async with pool(remote, connections=3, origins=4) as kept:
        for number in (0, 1, 2, 0, 3):
            await ask(kept, remote, number)
        await remote.has_open(3)
        for number in (0, 2, 3):
            await ask(kept, remote, number)
        assert remote.connections == 4
        await ask(kept, remote, 1)
    assert remote.connections == 5


async def test_an_origin_that_is_asked_no_more_has_its_idle_connections_closed_while_others_are_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_connections, "IDLE_SECONDS", 0.2)
    remote = Remote()
    async with pool(remote, origins=6) as kept:
        await asyncio.gather(*(ask(kept, remote, number) for number in range(5)))
        await asyncio.sleep(0.3)
        await ask(kept, remote, 5)
        await remote.has_open(1)
