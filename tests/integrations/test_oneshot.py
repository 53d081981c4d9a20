"""The write connection's reader: whole answers in any pieces, and never a success out of a part of one."""

from __future__ import annotations

import asyncio
import ssl

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.oneshot import OneShot, TooLargeError, _Reader
from integrations.outgoing import Base, Call, build_request

PLAIN = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"id":7}'
CHUNKED = (
    b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3;x=1\r\n{"i\r\n5\r\nd":7}\r\n0\r\nTrailer: x\r\n\r\n'
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + PLAIN
BARE = b"HTTP/1.1 204 No Content\r\n\r\n"
WHOLE = {"plain": PLAIN, "chunked": CHUNKED, "interim": INTERIM, "bare": BARE}


def read(pieces: list[bytes], *, closes: bool = True) -> tuple[int, bytes]:
    """What the reader makes of these pieces; its error is raised."""

    async def run() -> tuple[int, bytes]:
        reader = _Reader("POST", 1000, None)
        for piece in pieces:
            reader.data_received(piece)
        if closes:
            reader.eof_received()
            reader.connection_lost(None)
        status, _, body = await reader.done
        return status, body

    return asyncio.run(run())


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_answer_is_read_without_waiting_for_the_connections_end(name: str) -> None:
    status, body = read([WHOLE[name]], closes=False)
    assert (status, body) in ((200, b'{"id":7}'), (201, b'{"id":7}'), (204, b""))


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_byte_by_byte_is_the_same_answer(name: str) -> None:
    whole = WHOLE[name]
    assert read([whole[n : n + 1] for n in range(len(whole))]) == read([whole])


@pytest.mark.parametrize("name", WHOLE)
def test_no_beginning_of_an_answer_is_taken_for_the_answer(name: str) -> None:
    whole = WHOLE[name]
    for length in range(len(whole)):
        with pytest.raises(httpx.TransportError):
            read([whole[:length]])


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    assert read([b"HTTP/1.0 200 OK\r\n\r\nab", b"cd"]) == (200, b"abcd")


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip",
        b"HTTP/1.1 200 OK\r\n folded: x",
        b"HTTP/1.1 200 OK\r\nno colon",
        b"HTTP/1.1 200 OK\nContent-Length: 1",
        b"HTTP/1.1 101 Switching Protocols",
        b"HTTP/2 200",
        b"ICY 200 OK",
        b"HTTP/1.1 2000 OK",
    ],
)
def test_a_doubtful_head_is_a_protocol_error(head: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        read([head + b"\r\n\r\nxyz"])


def test_two_statements_about_the_length_are_a_protocol_error_even_where_one_of_them_fits() -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="length"):
        read([CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 8\r\n\r\n", 1)])


@pytest.mark.parametrize("zeros", [1, 5, 8, 9, 30])
def test_a_chunks_length_may_begin_with_any_number_of_zeros(zeros: int) -> None:
    size, end = b"0" * zeros + b"3", b"0" * zeros
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc\r\n" + end + b"\r\n\r\n"
    assert read([answer], closes=False) == (200, b"abc")


@pytest.mark.parametrize(
    "body", [b"3\r\nabcd\r\n0\r\n\r\n", b"x\r\n", b"-1\r\n", b"fffffffff\r\n", b"000fffffffff\r\n"]
)
def test_a_doubtful_chunk_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        read([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body])


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001,
    ],
)
def test_a_body_beyond_the_limit_is_given_up(answer: bytes) -> None:
    with pytest.raises(TooLargeError):
        read([answer])


def test_a_head_without_end_is_given_up() -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="without end"):
        read([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000], closes=False)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_noise_is_an_error_and_never_a_crash(noise: bytes) -> None:
    try:
        status, _ = read([noise])
    except httpx.TransportError:
        return
    assert noise.startswith(b"HTTP/1.")
    assert 200 <= status <= 999


async def test_a_header_with_a_line_end_is_not_sent() -> None:
    call = Call("x", "POST", "/", None, None, None, {"X-Name": "a\r\nX-Other: b"})
    request = build_request(Base.of("http://127.0.0.1:1"), call, {})
    with pytest.raises(httpx.LocalProtocolError):
        await OneShot(ssl.create_default_context(), 1000).exchange(request, 1, 1)
