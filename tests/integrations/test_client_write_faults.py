"""Every write of the main clients against every way a remote can fail: right class, one request, no secret shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from remote_bench import Bench, open_attempt

from integrations.dashboard import DashboardClient
from integrations.jira import JiraClient
from integrations.pro2 import Pro2Client
from integrations.pro2_probes import Pro2Probes
from integrations.slack import SlackClient
from recovery.model import AttemptOutcome, OpenAttempt, WriteResult
from recovery.ports import TicketDraft

APPLIED, REJECTED, NOT_APPLIED, UNKNOWN = (
    AttemptOutcome.APPLIED,
    AttemptOutcome.REJECTED,
    AttemptOutcome.NOT_APPLIED,
    AttemptOutcome.UNKNOWN,
)
CANARY = "canary-token-123456"
MARKER = "[RK-ABCDEFGHIJKLMNOP]"
AT = datetime(2026, 3, 1, 18, 30, tzinfo=UTC)
DRAFT = TicketDraft(MARKER, "Mail did not go out", ("harbor",), "2026-03-01 10:00 UTC", ("look",), ("nothing came",))


@dataclass(frozen=True)
class Write:
    """A write, what the vendor answers when it worked, and how it refuses with HTTP 200 where it does."""

    make: Callable[[Bench], Any]
    call: Callable[[Any, OpenAttempt], Awaitable[WriteResult]]
    good: Any
    ref: str
    refusals: Sequence[Any] = ()
    empty_is_good: bool = False
    any_is_good: bool = False
    gone_is_good: bool = False


def pro2(bench: Bench) -> Pro2Client:
    return Pro2Client(bench.transport, "America/New_York")


def probes(bench: Bench) -> Pro2Probes:
    return Pro2Probes(bench.transport, bench.transport, "UTC")


def dashboard(bench: Bench) -> DashboardClient:
    return DashboardClient(bench.transport)


def jira(bench: Bench) -> JiraClient:
    return JiraClient(bench.transport, "INC", "Incident", site_url="https://x.example")


def slack(bench: Bench) -> SlackClient:
    return SlackClient(bench.transport)


V1_GOOD = {"result_code": 1, "result_message": "Campaign status updated"}
V1_BAD = {"result_code": "0", "result_message": "Campaign not found."}
STARTED = {"run_id": "r9", "queued_at": "2026-03-01T12:00:00Z"}
WRITES = {
    "pro2.stop": Write(pro2, lambda c, a: c.stop("7", a), V1_GOOD, "7", [V1_BAD]),
    "pro2.schedule": Write(pro2, lambda c, a: c.schedule("7", AT, a), V1_GOOD, "7", [V1_BAD]),
    "pro2.rename": Write(
        pro2,
        lambda c, a: c.rename("7", "x", a),
        {"campaign": {"name": "x"}},
        "7",
        [{"succeeded": 0}, {"result_code": 0, "result_message": "no"}, {"errors": ["no"]}],
        empty_is_good=True,
        any_is_good=True,
    ),
    "pro2.copy": Write(
        pro2, lambda c, a: c.copy("7", a), {"succeeded": 1, "newCampaignId": 217}, "217", [{"succeeded": "0"}]
    ),
    "pro2.create_tag": Write(pro2, lambda c, a: c.create_tag("x", a), {"tag": {"id": "3"}}, "3"),
    "pro2.add_tag": Write(pro2, lambda c, a: c.add_tag("1", "3", a), {"contactTag": {"id": 4}}, "4"),
    "pro2_probes.delete_draft": Write(
        probes, lambda c, a: c.delete_draft("7", a), {"succeeded": 1}, "7", [{"succeeded": 0}], True
    ),
    "pro2.remove_tag": Write(pro2, lambda c, a: c.remove_tag("4", a), {}, "4", empty_is_good=True, gone_is_good=True),
    "dashboard.stop_run": Write(
        dashboard,
        lambda c, a: c.stop_run("r1", a),
        {"result": "accepted"},
        "r1",
        [{"result": "refused"}, {"result": "no_effect"}],
    ),
    "dashboard.reprocess": Write(dashboard, lambda c, a: c.reprocess("r1", a), STARTED, "r9"),
    "dashboard.run_now": Write(dashboard, lambda c, a: c.run_now("d1", a), STARTED, "r9"),
    "dashboard.repeat": Write(dashboard, lambda c, a: c.repeat("d1", a), STARTED, "r9"),
    "dashboard.import_list": Write(dashboard, lambda c, a: c.import_list(5, ["t"], {}, True, a), STARTED, "r9"),
    "jira.file": Write(jira, lambda c, a: c.file(DRAFT, a), {"id": "1", "key": "INC-1", "self": "x"}, "INC-1"),
    "jira.comment": Write(jira, lambda c, a: c.comment("INC-1", ["x"], MARKER, a), {"id": "77"}, "77"),
    "jira.link": Write(
        jira, lambda c, a: c.link("INC-1", "g", "t", "https://d.example/1", False, a), {"id": 5, "self": "x"}, "5"
    ),
    "slack.post": Write(
        slack,
        lambda c, a: c.post("C1", "t", ["l"], MARKER, a),
        {"ok": True, "ts": "1.2", "channel": "C1"},
        "1.2",
        [{"ok": False, "error": "channel_not_found"}, {"ok": False, "error": "invalid_auth"}],
    ),
}
CREATE_FORM = {
    "/issuetypes": {"issueTypes": [{"id": "10", "name": "Incident"}], "total": 1},
    "/issuetypes/10": {"fields": [{"fieldId": "summary", "name": "Summary", "required": True}], "total": 1},
}


def answer(status: int, body: Any = b"", **headers: str) -> Callable[[httpx.Request], httpx.Response]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = {} if isinstance(body, bytes) else {"content-type": "application/json"}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request: httpx.Response(status, content=content, headers={**kind, **given})


def failing(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    return fail


class Drip(httpx.AsyncByteStream):
    """A body that never comes to its end."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)


class BrokenOff(httpx.AsyncByteStream):
    """A body that ends in a reset, after its effect."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"id": "9'
        raise httpx.ReadError("reset")


def streaming(body: type[httpx.AsyncByteStream]) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(200, stream=body())


FAULTS = {
    "slow drip": (streaming(Drip), UNKNOWN),
    "reset in the middle": (streaming(BrokenOff), UNKNOWN),
    "proven 429": (answer(429, {"message": "x"}, retry_after="3"), NOT_APPLIED),
    "proven 429 bare": (answer(429), NOT_APPLIED),
    "connection refused": (failing(httpx.ConnectError("x")), NOT_APPLIED),
    "no connection in time": (failing(httpx.ConnectTimeout("x")), NOT_APPLIED),
    "reset": (failing(httpx.ReadError("x")), UNKNOWN),
    "closed without answer": (failing(httpx.RemoteProtocolError("x")), UNKNOWN),
    "no answer in time": (failing(httpx.ReadTimeout("x")), UNKNOWN),
    "429": (answer(429, {"message": "x"}, retry_after="3"), UNKNOWN),
    "429 bare": (answer(429), UNKNOWN),
    "500": (answer(500, {"message": "x"}), UNKNOWN),
    "502": (answer(502, b"<html>", content_type="text/html"), UNKNOWN),
    "503": (answer(503, b"", retry_after="3"), UNKNOWN),
    "truncated": (answer(200, b'{"id": 7, "ok": tr', content_type="application/json"), UNKNOWN),
    "html": (answer(200, b"<html></html>", content_type="text/html"), UNKNOWN),
    "redirect": (answer(307, b"", location="/login"), UNKNOWN),
    "other shape": (answer(200, {"hello": "world"}), UNKNOWN),
    "a list": (answer(200, ["x"]), UNKNOWN),
    "a number": (answer(200, 1), UNKNOWN),
    "400": (answer(400, {"message": "no"}), REJECTED),
    "401": (answer(401, {"message": "no"}), REJECTED),
    "403": (answer(403, {"message": "no"}), REJECTED),
    "404": (answer(404, {"message": "No Result found"}), REJECTED),
    "409": (answer(409, {"title": "In progress", "status": 409}), REJECTED),
    "422": (answer(422, {"errors": ["no"]}), REJECTED),
}


def expected(write: Write, name: str, outcome: AttemptOutcome) -> AttemptOutcome:
    """The places where a client knows better than the table."""
    if name in ("a list", "a number") and write.any_is_good:
        return APPLIED
    if name == "other shape" and write.empty_is_good and not write.gone_is_good:
        return APPLIED  # PUT edit: the reply's shape is undocumented
    return APPLIED if name == "404" and write.gone_is_good else outcome


def writes_of(bench: Bench) -> list[httpx.Request]:
    return [r for r in bench.requests if "createmeta" not in r.url.path]


def bench_for(remote: Callable[[httpx.Request], httpx.Response], **options: Any) -> Bench:
    def route(request: httpx.Request) -> httpx.Response:
        for ending, body in CREATE_FORM.items():
            if "createmeta" in request.url.path and request.url.path.endswith(ending):
                return httpx.Response(200, json=body)
        return remote(request)

    return Bench(route, **options)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", WRITES)
async def test_each_fault_of_each_write_has_its_class_after_one_request(name: str, fault: str) -> None:
    write, (remote, outcome) = WRITES[name], FAULTS[fault]
    bench = bench_for(remote, limited_before_execute=fault.startswith("proven"))
    seconds = 0.06 if fault == "slow drip" else 30.0
    result = await write.call(write.make(bench), open_attempt(bench.clock, seconds=seconds))
    assert result.outcome is expected(write, fault, outcome), result
    assert len(writes_of(bench)) == 1
    assert CANARY not in repr(result)


@pytest.mark.parametrize("name", WRITES)
async def test_a_complete_answer_is_applied_with_its_id(name: str) -> None:
    write = WRITES[name]
    bench = bench_for(answer(202 if name.startswith("dashboard") else 200, write.good))
    result = await write.call(write.make(bench), bench.attempt())
    assert (result.outcome, result.ref) == (APPLIED, write.ref)
    assert len(writes_of(bench)) == 1


@pytest.mark.parametrize("name", [n for n, w in WRITES.items() if w.refusals])
async def test_a_refusal_that_comes_as_http_200_is_rejected(name: str) -> None:
    write = WRITES[name]
    for body in write.refusals:
        bench = bench_for(answer(200, body))
        assert (await write.call(write.make(bench), bench.attempt())).outcome is REJECTED


@pytest.mark.parametrize("name", [n for n, w in WRITES.items() if not w.empty_is_good])
async def test_a_success_without_the_expected_field_is_unknown(name: str) -> None:
    write = WRITES[name]
    bench = bench_for(answer(200, {}))
    assert (await write.call(write.make(bench), bench.attempt())).outcome is UNKNOWN


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_whose_time_has_passed_is_not_sent(name: str) -> None:
    write = WRITES[name]
    bench = bench_for(answer(200, write.good))
    late = OpenAttempt(1, "A" * 16, 1, 1, bench.clock.monotonic() - 1, 30.0)
    assert (await write.call(write.make(bench), late)).outcome is NOT_APPLIED
    assert writes_of(bench) == []


async def test_slacks_own_failure_is_unknown_because_the_message_may_be_there() -> None:
    bench = bench_for(answer(200, {"ok": False, "error": "internal_error"}))
    assert (await slack(bench).post("C1", "t", [], MARKER, bench.attempt())).outcome is UNKNOWN


async def test_a_key_that_v1_refuses_with_http_200_stops_the_connector() -> None:
    bench = bench_for(answer(200, {"result_code": 0, "result_message": "You are not authorized to access this file"}))
    result = await pro2(bench).stop("7", bench.attempt())
    assert (result.outcome, result.auth_failed) == (REJECTED, True)


@pytest.mark.parametrize(("status", "body"), [(204, b""), (200, b""), (202, b" "), (200, b"{}"), (200, b'"ok"')])
@pytest.mark.parametrize("kind", ["", "text/html; charset=utf-8", "application/json"])
async def test_a_name_is_set_whatever_the_platform_says_to_it_with_success(status: int, body: bytes, kind: str) -> None:
    bench = bench_for(answer(status, body, **({"content_type": kind} if kind else {})))
    result = await pro2(bench).rename("7", "x", bench.attempt())
    assert (result.outcome, result.ref) == (APPLIED, "7")


async def test_a_refused_name_is_refused_in_the_platforms_own_words() -> None:
    bench = bench_for(answer(200, {"errors": ["Field name is too long"]}))
    result = await pro2(bench).rename("7", "x", bench.attempt())
    assert (result.outcome, result.detail) == (REJECTED, "refused: Field name is too long")


STARTS = [name for name, write in WRITES.items() if write.good is STARTED]


@pytest.mark.parametrize("body", [{}, {"run_id": None}, {"run_id": "", "queued_at": None}, {"message": "queued"}])
@pytest.mark.parametrize("name", STARTS)
async def test_a_start_that_a_bridge_accepts_without_a_word_more_is_applied_without_an_id(name: str, body: Any) -> None:
    bench = bench_for(answer(202, body))
    result = await WRITES[name].call(dashboard(bench), bench.attempt())
    assert (result.outcome, result.ref) == (APPLIED, "")


@pytest.mark.parametrize(
    "body",
    [
        {"errors": ["no"]},
        {"error": "busy"},
        {"result_code": 0},
        {"succeeded": "0"},
        {"ok": False},
        {"title": "In progress", "status": 409},
        {"run_id": ".."},
        {"run_id": ["r9"]},
        [],
        "queued",
    ],
)
@pytest.mark.parametrize("name", STARTS)
async def test_a_start_that_is_answered_202_with_a_refusal_or_nonsense_is_unknown(name: str, body: Any) -> None:
    bench = bench_for(answer(202, body))
    assert (await WRITES[name].call(dashboard(bench), bench.attempt())).outcome is UNKNOWN


async def test_a_bridge_that_tells_no_run_ids_still_accepts() -> None:
    bench = bench_for(answer(202, {"run_id": None, "queued_at": "2026-03-01T12:00:00Z"}))
    result = await dashboard(bench).run_now("d1", bench.attempt())
    assert (result.outcome, result.ref) == (APPLIED, "")
