"""The transport: what it sends, what it refuses to send, what it makes of every answer, and what it keeps."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from remote_bench import Bench, Shelf, SteppedClock, open_attempt

from integrations.http import Reply, Sockets, Timeouts, Transport, segment
from recovery.errors import (
    AuthFailed,
    BadReply,
    ConfigError,
    LedgerUnavailable,
    NotFound,
    Refused,
    Unavailable,
)
from recovery.ledger.ledger import Ledger
from recovery.model import AttemptOutcome, Exchange, OpenAttempt, WriteResult

APPLIED, REJECTED, NOT_APPLIED, UNKNOWN = (
    AttemptOutcome.APPLIED,
    AttemptOutcome.REJECTED,
    AttemptOutcome.NOT_APPLIED,
    AttemptOutcome.UNKNOWN,
)
CANARY = "canary-token-123456"


def judge(reply: Reply) -> WriteResult | None:
    ref = reply.obj().get("id")
    return WriteResult(APPLIED, ref=str(ref)) if ref else None


def always(status: int, body: Any = None, **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    kind = {} if isinstance(body, bytes) or body is None else {"content-type": "application/json"}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx.Response(status, content=content, headers={**kind, **given})


def failing(error: Exception) -> Any:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error

    return answer


async def write(bench: Bench, **options: Any) -> WriteResult:
    return await bench.transport.write(
        bench.attempt(), "make", "POST", "/things", json={"a": 1}, judge=judge, **options
    )


# ---- writes: one answer, one class -----------------------------------------------------------------------------------

CLASSES = {
    "complete": (always(201, {"id": 7}), APPLIED),
    "without the id": (always(200, {}), UNKNOWN),
    "a list instead": (always(200, [1]), UNKNOWN),
    "html": (always(200, b"<html></html>", content_type="text/html"), UNKNOWN),
    "empty": (always(200, b""), UNKNOWN),
    "truncated json": (always(200, b'{"id": 7', content_type="application/json"), UNKNOWN),
    "not utf-8": (always(200, b'{"id": "\xff"}', content_type="application/json"), UNKNOWN),
    "too deep": (always(200, b'{"id":' + b"[" * 60 + b"]" * 60 + b"}", content_type="application/json"), UNKNOWN),
    "absurdly deep": (always(200, b"[" * 200_000, content_type="application/json"), UNKNOWN),
    "redirect": (always(307, b"", location="/elsewhere"), UNKNOWN),
    "see other": (always(303, b"", location="/elsewhere"), UNKNOWN),
    "bad request": (always(400, {"message": "no"}), REJECTED),
    "bare json string": (always(400, "You are not allowed to copy this campaign."), REJECTED),
    "unauthorised": (always(401, b"<html>", content_type="text/html"), REJECTED),
    "forbidden": (always(403, b"Forbidden", content_type="text/plain"), REJECTED),
    "not found": (always(404, {"message": "No Result found"}), REJECTED),
    "not found by a gateway": (always(404, b"<html>nginx</html>", content_type="text/html"), UNKNOWN),
    "conflict": (always(409, {"title": "In progress", "status": 409}), REJECTED),
    "request timeout": (always(408, {"message": "slow"}), UNKNOWN),
    "unprocessable": (always(422, {"errors": [{"title": "no"}]}), REJECTED),
    "throttled": (always(429, {"message": "slow down"}, retry_after="7"), UNKNOWN),
    "throttled, bare": (always(429, b""), UNKNOWN),
    "server error": (always(500, {"message": "x"}), UNKNOWN),
    "bad gateway": (always(502, b"<html>", content_type="text/html"), UNKNOWN),
    "overloaded": (always(503, b"", retry_after="7"), UNKNOWN),
    "odd status": (always(600, b""), UNKNOWN),
    "refused connection": (failing(httpx.ConnectError("x")), NOT_APPLIED),
    "no connection in time": (failing(httpx.ConnectTimeout("x")), NOT_APPLIED),
    "no free connection": (failing(httpx.PoolTimeout("x")), NOT_APPLIED),
    "reset while sending": (failing(httpx.WriteError("x")), UNKNOWN),
    "reset after sending": (failing(httpx.ReadError("x")), UNKNOWN),
    "closed without answer": (failing(httpx.RemoteProtocolError("x")), UNKNOWN),
    "no answer in time": (failing(httpx.ReadTimeout("x")), UNKNOWN),
    "the system's own error": (failing(OSError("x")), UNKNOWN),
}


@pytest.mark.parametrize("name", CLASSES)
async def test_each_answer_to_a_write_has_one_class_and_one_request_was_sent(name: str) -> None:
    remote, outcome = CLASSES[name]
    bench = Bench(remote)
    assert (await write(bench)).outcome is outcome
    assert len(bench.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_where_the_limiter_is_proven_to_come_first_a_throttled_write_was_not_applied(status: int) -> None:
    bench = Bench(always(status, {"message": "slow"}, retry_after="7"), limited_before_execute=True)
    result = await write(bench)
    assert (result.outcome, result.retry_after_seconds) == (NOT_APPLIED, 7.0)
    assert bench.gate.penalties == [7.0]


async def test_an_overloaded_server_without_a_time_to_come_back_stays_unknown_even_then() -> None:
    assert (await write(Bench(always(503, b""), limited_before_execute=True))).outcome is UNKNOWN


async def test_a_refused_credential_is_told_apart_from_a_refused_wish() -> None:
    assert (await write(Bench(always(401, {"message": "x"})))).auth_failed
    assert not (await write(Bench(always(400, {"message": "x"})))).auth_failed


async def test_a_conflict_says_so_for_the_read_back() -> None:
    assert (await write(Bench(always(409, {"title": "In progress"})))).detail == "409 In progress"


async def test_a_judge_that_stumbles_over_the_reply_means_unknown() -> None:
    def clumsy(reply: Reply) -> WriteResult | None:
        return WriteResult(APPLIED, ref=reply.obj()["missing"]["deeper"])

    bench = Bench(always(200, {"id": 1}))
    result = await bench.transport.write(bench.attempt(), "make", "POST", "/things", judge=clumsy)
    assert result.outcome is UNKNOWN


async def test_an_answer_that_is_too_large_is_unknown_and_not_kept_in_memory() -> None:
    class Endless(httpx.AsyncByteStream):
        sent = 0

        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                self.sent += 1
                yield b" " * 1_000_000

    stream = Endless()
    bench = Bench(lambda request: httpx.Response(200, stream=stream))
    assert (await write(bench)).outcome is UNKNOWN
    assert stream.sent == 11


async def test_a_packed_bomb_is_unknown() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    bench = Bench(lambda request: httpx.Response(200, content=bomb, headers={"content-encoding": "gzip"}))
    assert (await write(bench)).outcome is UNKNOWN


# ---- writes: time ----------------------------------------------------------------------------------------------------


async def test_a_late_attempt_is_not_sent() -> None:
    bench = Bench(always(201, {"id": 7}))
    late = OpenAttempt(1, "A" * 16, 1, 1, bench.clock.monotonic(), 30.0)
    result = await bench.transport.write(late, "make", "POST", "/things", judge=judge)
    assert (result.outcome, bench.requests) == (NOT_APPLIED, [])


async def test_an_attempt_that_waited_too_long_for_its_turn_is_not_sent() -> None:
    class SlowGate:
        def __init__(self, clock: SteppedClock) -> None:
            self.clock = clock

        async def acquire(self, account: str, system: str) -> None:
            await self.clock.sleep(31)

        def penalize(self, account: str, system: str, seconds: float) -> None: ...

    bench = Bench(always(201, {"id": 7}))
    bench.transport._gate = SlowGate(bench.clock)
    assert (await write(bench)).outcome is NOT_APPLIED
    assert bench.requests == []


async def test_an_answer_that_drips_past_the_deadline_is_unknown() -> None:
    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(0.02)

    bench = Bench(lambda request: httpx.Response(200, stream=Drip()))
    attempt = open_attempt(bench.clock, seconds=0.15)
    result = await bench.transport.write(attempt, "make", "POST", "/things", judge=judge)
    assert result.outcome is UNKNOWN
    assert result.detail.startswith("no complete answer in 0.")


async def test_a_cancelled_write_leaves_its_attempt_open() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    bench = Bench(always(200))
    bench.transport._sockets = Sockets(transport=httpx.MockTransport(hang))
    task = asyncio.create_task(write(bench))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_token_that_cannot_be_refreshed_means_that_nothing_was_sent() -> None:
    async def refresh() -> dict[str, str]:
        raise AuthFailed("pro2", "harbor", "refresh refused")

    bench = Bench(always(201, {"id": 1}), headers=refresh)
    result = await write(bench)
    assert (result.outcome, result.auth_failed, bench.requests) == (NOT_APPLIED, True, [])


# ---- reads -----------------------------------------------------------------------------------------------------------


def in_turn(*answers: Any) -> Any:
    left = list(answers)
    return lambda request: left.pop(0)(request)


async def test_a_read_is_tried_again_until_it_succeeds() -> None:
    bench = Bench(
        in_turn(failing(httpx.ConnectError("x")), always(502, b""), failing(httpx.ReadTimeout("x")), always(200, {}))
    )
    assert (await bench.transport.read("look", "GET", "/things")).obj() == {}
    assert len(bench.requests) == 4
    assert [0.5 <= s <= 0.75 for s in bench.clock.slept[:1]] == [True]
    assert bench.clock.slept == sorted(bench.clock.slept)


async def test_a_read_waits_as_long_as_the_remote_asks_and_slows_everybody_down() -> None:
    bench = Bench(in_turn(always(429, b"", retry_after="9"), always(200, {})))
    await bench.transport.read("look", "GET", "/things")
    assert bench.clock.slept[0] >= 9
    assert bench.gate.penalties == [9.0]


async def test_a_read_takes_a_date_to_come_back_too() -> None:
    bench = Bench(in_turn(always(503, b"", retry_after="Sun, 01 Mar 2026 12:00:05 GMT"), always(200, {})))
    await bench.transport.read("look", "GET", "/things")
    assert bench.gate.penalties == [5.0]


async def test_a_read_does_not_wait_for_an_hour() -> None:
    bench = Bench(always(429, b"", retry_after="3600"))
    with pytest.raises(Unavailable, match="come back in 3600 s"):
        await bench.transport.read("look", "GET", "/things")
    assert len(bench.requests) == 1


ERRORS = {
    "down": (always(500, {"message": "x"}), Unavailable, 4),
    "unreachable": (failing(httpx.ConnectError("x")), Unavailable, 4),
    "bad credentials": (always(401, {"message": "x"}), AuthFailed, 1),
    "forbidden that stays": (always(403, {"message": "x"}), AuthFailed, 4),
    "absent": (always(404, {"message": "x"}), NotFound, 1),
    "refused": (always(422, {"errors": ["Field name is required"]}), Refused, 1),
    "html": (always(200, b"<html></html>", content_type="text/html"), BadReply, 4),
    "redirect": (always(302, b"", location="https://evil.example/?token=abc"), BadReply, 1),
    "broken off": (failing(httpx.RemoteProtocolError("incomplete")), BadReply, 4),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_a_read_that_fails_says_what_failed_and_what_to_do(name: str) -> None:
    remote, kind, tries = ERRORS[name]
    bench = Bench(remote)
    with pytest.raises(kind) as caught:
        await bench.transport.read("look", "GET", "/things")
    assert type(caught.value) is kind
    assert str(caught.value).startswith("pro2 (harbor): look: ")
    assert caught.value.hint
    assert len(bench.requests) == tries


@pytest.mark.parametrize(
    "passing",
    [always(403, b""), always(200, b"<html>wait</html>", content_type="text/html")],
    ids=["forbidden", "a proxy's page"],
)
async def test_a_forbidden_or_a_proxys_page_that_goes_away_is_forgotten(passing: Any) -> None:
    bench = Bench(in_turn(passing, always(200, {"ok": 1})))
    assert (await bench.transport.read("look", "GET", "/things")).obj() == {"ok": 1}


async def test_a_redirect_is_named_and_not_followed() -> None:
    bench = Bench(always(302, b"", location="https://evil.example/in?token=abc"))
    with pytest.raises(BadReply, match=r"redirect to https://evil\.example/in\?token=\[redacted\]"):
        await bench.transport.read("look", "GET", "/things")
    assert len(bench.requests) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_a_read_refuses_a_method_that_writes(method: str) -> None:
    bench = Bench(always(200, {}))
    with pytest.raises(ValueError, match="write"):
        await bench.transport.read("look", method, "/things")
    assert bench.requests == []


async def test_a_read_has_a_total_time_besides_the_single_ones() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    bench = Bench(always(200), timeouts=Timeouts(total=0.05), read_retries=0)
    bench.transport._sockets = Sockets(transport=httpx.MockTransport(hang))
    with pytest.raises(Unavailable, match=r"no complete answer in 0\.05 s"):
        await bench.transport.read("look", "GET", "/things")


# ---- where it may go -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://harbor.example",
        "http://10.0.0.7",
        "http://127.0.0.1.evil.example",
        "ftp://harbor.example",
        "https://user:pass@harbor.example",
        "https://harbor.example/?token=1",
        "https://harbor.example/#x",
        "https://",
        "harbor.example",
        "https://harbor.example:abc",
        "",
    ],
)
def test_a_base_url_that_is_not_https_or_carries_secrets_is_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Bench(always(200), base_url=url)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/a", "http://localhost:1", "http://[::1]:2/x/", "https://h.example/x"]
)
def test_https_and_loopback_are_accepted(url: str) -> None:
    Bench(always(200), base_url=url)


@pytest.mark.parametrize("path", ["things", "//evil.example/x", "https://evil.example", "/a/../b", "/a/./b"])
async def test_a_path_cannot_leave_the_base_url(path: str) -> None:
    bench = Bench(always(200, {}))
    with pytest.raises(ValueError, match="path"):
        await bench.transport.read("look", "GET", path)
    assert bench.requests == []


def test_an_id_is_one_escaped_path_segment() -> None:
    assert segment("a/../b?c#d e") == "a%2F..%2Fb%3Fc%23d%20e"
    for walking in ("", ".", ".."):
        with pytest.raises(ValueError, match="id"):
            segment(walking)


@pytest.mark.parametrize("token", ["abc\r\nX-Admin: 1", "abc\n", "\u0661\u0662", "a\x00b"])
def test_a_credential_that_no_header_may_hold_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Bench(always(200), headers={"Api-Token": token})
    assert token not in str(caught.value)
    assert "Api-Token of pro2 of harbor" in str(caught.value)


async def test_no_cookie_is_stored_and_none_sent() -> None:
    bench = Bench(always(200, {}, set_cookie="session=1; Path=/"))
    await bench.transport.read("look", "GET", "/things")
    await bench.transport.read("look", "GET", "/things")
    assert "cookie" not in bench.requests[1].headers


# ---- evidence and secrets --------------------------------------------------------------------------------------------


@pytest.mark.requirement("E.1", "E.5")
async def test_every_exchange_is_kept_with_its_digest_and_without_secrets() -> None:
    said = {"id": 1, "echo": f"token {CANARY}", "email": "Ann@Example.org", "api_key": "other-secret"}
    bench = Bench(always(201, said), secrets=("password-987",))
    result = await bench.transport.write(
        bench.attempt(),
        "make",
        "POST",
        "/things",
        params={"key": "abc", "id": 3},
        json={"p": "password-987"},
        judge=judge,
    )
    (kept,) = bench.shelf.exchanges
    assert kept == result.exchange
    assert kept.request == 'POST https://harbor.example/things?key=[redacted]&id=3 {"p":"[redacted]"}'
    assert kept.digest == hashlib.sha256(json.dumps(said).encode()).hexdigest()
    assert kept.status == 201
    for secret in (CANARY, "Ann@", "other-secret", "password-987"):
        assert secret not in repr(kept)


async def test_an_unanswered_write_is_kept_too() -> None:
    bench = Bench(failing(httpx.ReadTimeout("x")))
    result = await write(bench)
    assert result.exchange is not None
    assert (result.exchange.status, result.exchange.body) == (None, "[no reply: no answer in time]")


async def test_each_unanswered_write_has_evidence_of_its_own_in_the_ledger(tmp_path: Path) -> None:
    problems = iter([httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x")])

    def silent(request: httpx.Request) -> httpx.Response:
        raise next(problems)

    async with await Ledger.open(f"sqlite:///{tmp_path / 'l.db'}", tmp_path) as ledger:
        bench = Bench(silent, keep=ledger.keep)
        for minutes, reason in ((0, "no answer in time"), (60, "the connection or the reply broke off")):
            await bench.clock.sleep(minutes * 60)
            exchange = (await write(bench)).exchange
            assert exchange is not None
            await ledger.flush()
            kept = await ledger.evidence(exchange.digest, "harbor")
            assert kept is not None
            assert (kept.body, kept.at) == (f"[no reply: {reason}]", bench.clock.now())


async def test_evidence_that_cannot_be_stored_does_not_cost_the_outcome_of_a_write() -> None:
    async def full(exchange: Exchange) -> None:
        raise LedgerUnavailable("disk full")

    bench = Bench(always(201, {"id": 7}), keep=full)
    result = await write(bench)
    assert (result.outcome, result.ref) == (APPLIED, "7")
    assert "evidence not kept" in result.detail


async def test_a_secret_that_the_remote_sends_back_stays_out_of_errors_and_details() -> None:
    bench = Bench(always(400, {"message": f"bad token {CANARY}"}))
    assert CANARY not in (await write(bench)).detail
    with pytest.raises(Refused) as caught:
        await bench.transport.read("look", "GET", "/things")
    assert CANARY not in str(caught.value)


async def test_the_body_kept_is_cut_at_64_kb_and_the_digest_covers_all_of_it() -> None:
    body = b'{"id": 1, "x": "' + b"y" * 200_000 + b'"}'
    bench = Bench(always(200, body, content_type="application/json"))
    result = await write(bench)
    assert result.exchange is not None
    assert len(result.exchange.body.encode()) == 64 * 1024
    assert result.exchange.digest == hashlib.sha256(body).hexdigest()


async def test_the_reply_names_its_url_without_query_secrets() -> None:
    bench = Bench(always(200, {}))
    reply = await bench.transport.read("look", "GET", "/things", params={"api_key": "abc", "page": 2})
    assert reply.url == "https://harbor.example/things?api_key=[redacted]&page=2"


def test_a_transport_shows_no_secret_in_its_repr() -> None:
    bench = Bench(always(200), secrets=("password-987",))
    assert CANARY not in repr(bench.transport)
    assert isinstance(bench.transport, Transport)
    assert isinstance(bench.shelf, Shelf)
