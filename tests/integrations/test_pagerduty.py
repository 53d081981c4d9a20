"""Paging: one incident per key, never a second page after a resolve, and never no page because a look-up failed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from desk_remotes import INCIDENT, KEY, ROUTING_KEY, TOKENS, page_draft, pagerduty_client, pagerduty_remote, reply, sent
from twins import Twin, served

from integrations.pagerduty import PagerDuty
from recovery.desk.ports import PageDraft, PageStatus
from recovery.errors import AuthFailed, BadReply
from recovery.model import AttemptOutcome
from sandbox.pagerduty import PagerDutyState, build_app
from sandbox.world import World

APPLIED, UNKNOWN, REJECTED = AttemptOutcome.APPLIED, AttemptOutcome.UNKNOWN, AttemptOutcome.REJECTED


@pytest.fixture
async def pager(tmp_path: Path) -> AsyncIterator[tuple[PagerDuty, Twin, PagerDutyState]]:
    world = World(tmp_path)
    state = PagerDutyState(ROUTING_KEY, TOKENS["pagerduty"])
    async with served(world, "pagerduty", build_app(world, state)) as twin:
        rest = twin.transport(headers=PagerDuty.credentials(state.token), secrets=(state.token,))
        events = twin.transport(headers={}, secrets=(ROUTING_KEY,))
        client = PagerDuty(events=events, rest=rest, routing_key=ROUTING_KEY, service=state.service)
        yield client, twin, state


async def test_the_look_up_token_is_checked(pager: tuple[PagerDuty, Twin, PagerDutyState]) -> None:
    client, twin, _ = pager
    await client.whoami()
    twin.fault("incidents", "401")
    with pytest.raises(AuthFailed):
        await client.whoami()


@pytest.mark.requirement("R003.14")
async def test_a_page_is_one_incident_that_is_found_by_its_key_from_open_to_resolved(
    pager: tuple[PagerDuty, Twin, PagerDutyState],
) -> None:
    client, twin, _ = pager
    assert await client.find(KEY) is None
    assert (await client.trigger(page_draft(), twin.attempt())).outcome is APPLIED
    page = await client.find(KEY)
    assert page is not None
    assert (page.status, page.dedup_key, page.acknowledged_at) == (PageStatus.TRIGGERED, KEY, None)
    await client.acknowledge(KEY, twin.attempt())
    page = await client.find(KEY)
    assert page is not None
    assert page.status is PageStatus.ACKNOWLEDGED
    assert page.acknowledged_at is not None
    await client.resolve(KEY, twin.attempt())
    page = await client.find(KEY)
    assert page is not None
    assert page.status is PageStatus.RESOLVED
    assert len(twin.events("page")) == 1


@pytest.mark.requirement("R003.14")
@pytest.mark.parametrize("kind", ["500-after", "reset-after", "truncated", "html", "hang-after"])
async def test_a_trigger_whose_answer_is_lost_pages_once_however_often_it_is_repeated(
    pager: tuple[PagerDuty, Twin, PagerDutyState], kind: str
) -> None:
    client, twin, _ = pager
    twin.fault("enqueue", kind)
    assert (await client.trigger(page_draft(), twin.attempt(deadline_seconds=0.4))).outcome is UNKNOWN
    for n in (2, 3):
        assert (await client.trigger(page_draft(), twin.attempt(n))).outcome is APPLIED
    assert len(twin.events("page")) == 1


async def test_a_resolved_page_is_never_triggered_again(pager: tuple[PagerDuty, Twin, PagerDutyState]) -> None:
    client, twin, _ = pager
    await client.trigger(page_draft(), twin.attempt())
    await client.resolve(KEY, twin.attempt())
    twin.world.advance(90 * 24 * 3600)
    assert (await client.trigger(page_draft(), twin.attempt(2))).outcome is REJECTED
    assert len(twin.events("page")) == 1


@pytest.mark.parametrize("kind", ["500", "reset-before", "html", "429", "401"])
async def test_people_are_paged_even_when_the_look_up_fails(
    pager: tuple[PagerDuty, Twin, PagerDutyState], kind: str
) -> None:
    client, twin, _ = pager
    twin.fault("incidents", kind, times=-1)
    assert (await client.trigger(page_draft(), twin.attempt())).outcome is APPLIED
    assert len(twin.events("page")) == 1


async def test_a_look_up_that_hangs_does_not_hold_the_page_back(
    pager: tuple[PagerDuty, Twin, PagerDutyState],
) -> None:
    client, twin, _ = pager
    twin.fault("incidents", "hang", seconds=20)
    attempt = replace(twin.attempt(), send_by_monotonic=twin.clock.monotonic() + 1)
    assert (await client.trigger(page_draft(), attempt)).outcome is APPLIED
    assert twin.clock.monotonic() < attempt.send_by_monotonic


async def test_the_newest_incident_of_the_key_counts_whatever_the_order(bench: Callable[..., Any]) -> None:
    old = INCIDENT | {"id": "OLD", "created_at": "2026-01-01T00:00:00Z", "status": "triggered"}
    new = INCIDENT | {"id": "NEW", "created_at": "2026-02-01T00:00:00Z", "status": "resolved", "incident_key": None}
    other = INCIDENT | {"id": "OTHER", "created_at": "2026-03-01T00:00:00Z", "incident_key": KEY + "X"}

    def remote(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/incidents/NEW/alerts":
            return reply(200, {"alerts": [{"id": "A1", "alert_key": "another"}, {"id": "A2", "alert_key": KEY}]})
        return reply(200, {"incidents": [old, new, other]})

    client, _ = pagerduty_client(bench, remote)
    page = await client.find(KEY)
    assert page is not None
    assert (page.ref, page.status) == ("NEW", PageStatus.RESOLVED)


@pytest.mark.parametrize("alerts", [reply(200, {"alerts": [{"id": "A1", "alert_key": "another"}]}), reply(404, {})])
async def test_an_incident_that_is_not_shown_to_have_our_alert_keeps_nobody_from_being_paged(
    bench: Callable[..., Any], alerts: httpx.Response
) -> None:
    """An API that ignores the filter answers with other incidents: adopting one would leave people asleep."""

    def remote(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/alerts"):
            return alerts
        if request.method == "GET":
            return reply(200, {"incidents": [INCIDENT | {"id": "ELSE", "incident_key": None}]})
        return pagerduty_remote(request)

    client, one = pagerduty_client(bench, remote)
    assert await client.find(KEY) is None
    result = await client.trigger(page_draft(), one.attempt())
    assert (result.outcome, result.detail) == (APPLIED, "accepted")


async def test_a_status_that_we_do_not_know_is_a_bad_reply(bench: Callable[..., Any]) -> None:
    client, _ = pagerduty_client(bench, lambda _: reply(200, {"incidents": [INCIDENT | {"status": "snoozed"}]}))
    with pytest.raises(BadReply):
        await client.find(KEY)


async def test_an_answer_for_another_key_is_not_taken_for_ours(bench: Callable[..., Any]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return reply(202, {"status": "success", "dedup_key": "a random one"})
        return pagerduty_remote(request)

    client, one = pagerduty_client(bench, answer)
    assert (await client.trigger(page_draft(), one.attempt())).outcome is UNKNOWN


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_that_would_be_replaced_or_refused_is_rejected_unsent(bench: Callable[..., Any], key: str) -> None:
    posted: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        posted.extend([request] if request.method == "POST" else [])
        return pagerduty_remote(request)

    client, one = pagerduty_client(bench, answer)
    result = await client.trigger(replace(page_draft(), dedup_key=key), one.attempt())
    assert (result.outcome, posted) == (REJECTED, [])


async def test_a_page_stays_below_the_vendors_limits_whatever_its_texts(bench: Callable[..., Any]) -> None:
    posted: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        posted.extend([request.content] if request.method == "POST" else [])
        return pagerduty_remote(request)

    client, one = pagerduty_client(bench, answer)
    details = {f"{n} " + "k" * 5000: "\u202e😀" * 50_000 for n in range(200)}
    links = tuple(("https://x.example/" + "p" * 1500, "\u202e😀" * 1000) for _ in range(50))
    huge = PageDraft(KEY, "😀" * 70_000, "😀" * 70_000, "critical", details, links)
    assert (await client.trigger(huge, one.attempt())).outcome is APPLIED
    assert len(json.loads(posted[0])["payload"]["summary"]) == 1024
    assert len(posted[0]) < 512 * 1024


async def test_the_routing_key_is_in_no_evidence_and_no_repr(pager: tuple[PagerDuty, Twin, PagerDutyState]) -> None:
    client, twin, state = pager
    result = await client.trigger(page_draft(), twin.attempt())
    kept = f"{twin.shelf.exchanges!r} {result!r} {client!r}"
    assert ROUTING_KEY not in kept
    assert state.token not in kept


async def test_links_are_links_whichever_way_round_they_stand(bench: Callable[..., Any]) -> None:
    seen: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.extend([sent(request)["links"]] if request.method == "POST" else [])
        return pagerduty_remote(request)

    client, one = pagerduty_client(bench, answer)
    for pair in (("Runbook", "https://x.example/r"), ("https://x.example/r", "Runbook")):
        await client.trigger(replace(page_draft(), links=(pair,)), one.attempt())
    assert seen == [[{"href": "https://x.example/r", "text": "Runbook"}]] * 2
