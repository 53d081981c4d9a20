"""What a refusal for rate says about when to come back, in each vendor's own words, and what is slowed down by it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from desk_remotes import KEY, ROUTING_KEY, TOKENS, page_draft, pagerduty_remote
from remote_bench import Bench, OpenGate

from integrations.meta import MetaClient
from integrations.pagerduty import PagerDuty
from integrations.replies import limit_wait_seconds
from recovery.errors import Unavailable
from recovery.model import AttemptOutcome

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ASKED = {
    "nothing": ({}, None),
    "seconds": ({"retry-after": "7"}, 7.0),
    "a date": ({"retry-after": "Sun, 01 Mar 2026 12:00:09 GMT"}, 9.0),
    "a date gone by": ({"retry-after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
    "PagerDuty's and Zendesk's seconds": ({"ratelimit-reset": "31"}, 31.0),
    "ClickUp's Unix time": ({"x-ratelimit-reset": str(int(NOON.timestamp()) + 40)}, 40.0),
    "Jira's ISO time": ({"x-ratelimit-reset": "2026-03-01T12:00:15Z"}, 15.0),
    "both": ({"retry-after": "3", "x-ratelimit-reset": "2026-03-01T12:00:15Z"}, 3.0),
    "a reset without a zone": ({"x-ratelimit-reset": "2026-03-01T12:00:15"}, None),
    "nonsense": ({"retry-after": "soon", "x-ratelimit-reset": "nan"}, None),
    "for ever": ({"retry-after": "99999999"}, 3600.0),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_refusal_for_rate_says_when_to_come_back(name: str) -> None:
    headers, seconds = ASKED[name]
    assert limit_wait_seconds(429, headers, NOON) == seconds


def test_a_reset_that_comes_with_every_reply_is_no_request_to_wait() -> None:
    assert limit_wait_seconds(503, {"ratelimit-reset": "31"}, NOON) is None


async def test_a_read_and_a_write_that_are_refused_without_retry_after_wait_for_the_reset() -> None:
    headers = {"x-ratelimit-reset": str(int(NOON.timestamp()) + 40)}
    left = [httpx.Response(429, headers=headers), httpx.Response(200, json={})]
    bench = Bench(lambda _: left.pop(0))
    await bench.transport.read("tasks", "GET", "/list/1/task")
    assert bench.clock.slept[0] >= 40
    bench = Bench(lambda _: httpx.Response(429, headers=headers), limited_before_execute=True)
    result = await bench.transport.write(bench.attempt(), "make", "POST", "/x", judge=lambda _: None, json={})
    assert (result.outcome, result.retry_after_seconds) == (AttemptOutcome.NOT_APPLIED, 40.0)
    assert bench.gate.penalties == [40.0]


def in_turn(*statuses: int) -> Callable[[httpx.Request], httpx.Response]:
    left = list(statuses)
    return lambda _: httpx.Response(left.pop(0), headers={"Retry-After": "1"}, json={})


async def test_a_read_on_a_busy_quota_waits_for_its_turn_longer_than_for_a_broken_server() -> None:
    bench = Bench(in_turn(*[429] * 12, 200))
    assert (await bench.transport.read("campaigns", "GET", "/x")).status == 200
    assert len(bench.requests) == 13


async def test_a_quota_that_is_never_free_ends_in_unavailable_after_two_minutes() -> None:
    bench = Bench(lambda _: httpx.Response(429, headers={"Retry-After": "20"}))
    with pytest.raises(Unavailable, match="429"):
        await bench.transport.read("campaigns", "GET", "/x")
    assert 120 <= sum(bench.clock.slept) < 160


@pytest.mark.parametrize(("broken", "works"), [(3, True), (4, False)])
async def test_failures_are_counted_apart_from_refusals(broken: int, works: bool) -> None:
    bench = Bench(in_turn(*[500, 429, 429] * broken, 200))
    if works:
        assert (await bench.transport.read("campaigns", "GET", "/x")).status == 200
    else:
        with pytest.raises(Unavailable, match="500"):
            await bench.transport.read("campaigns", "GET", "/x")
    assert len(bench.requests) == 10


async def test_what_may_be_tried_once_is_tried_once() -> None:
    """A refresh token: a limiter may have come after the exchange."""
    bench = Bench(in_turn(429, 200), read_retries=0)
    with pytest.raises(Unavailable):
        await bench.transport.read("oauth_token", "POST", "/oauth/tokens")
    assert len(bench.requests) == 1


class NamedGate(OpenGate):
    """Remembers whose budget was slowed down."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: set[str] = set()

    async def acquire(self, account: str, system: str) -> None:
        if system in self.closed:
            raise Unavailable(system, account, "closed")

    def penalize(self, account: str, system: str, seconds: float) -> None:
        self.closed.add(system)


async def test_a_rest_api_that_is_used_up_does_not_hold_back_a_page(bench: Callable[..., Any]) -> None:
    """A late page is worse than a repeated one, and the Events API has a budget of its own."""
    gate = NamedGate()

    def remote(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(429, headers={"ratelimit-reset": "60"})
        return pagerduty_remote(request)

    base = {"system": "pagerduty", "gate": gate, "read_retries": 0}
    rest = bench(
        remote, base_url="https://api.pagerduty.com", headers=PagerDuty.credentials(TOKENS["pagerduty"]), **base
    )
    events = bench(remote, base_url="https://events.pagerduty.com", headers={}, budget=PagerDuty.EVENTS_BUDGET, **base)
    pager = PagerDuty(events=events.transport, rest=rest.transport, routing_key=ROUTING_KEY, service="P1")
    result = await pager.trigger(page_draft(), rest.attempt())
    assert (result.outcome, result.ref) == (AttemptOutcome.APPLIED, KEY)
    assert gate.closed == {"pagerduty"}


@pytest.mark.parametrize("status", [400, 403])
async def test_metas_rate_code_counts_although_its_message_does_not_repeat_it(status: int) -> None:
    """Meta: branch on the code, never on the words."""
    error = {"message": "There have been too many calls", "type": "OAuthException", "code": 80008}
    bench = Bench(lambda _: httpx.Response(status, json={"error": error}), read_retries=0)
    client = MetaClient(bench.transport, "101", bench.gate)
    with pytest.raises(Unavailable, match="too many calls"):
        await client.setting()
    assert bench.gate.penalties
