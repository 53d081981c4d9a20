"""In-app guides: switched by state, believed only when read back, and a key that may not write is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from desk_remotes import GUIDE, pendo_client, pendo_remote, reply, sent

from integrations.pendo import NO_WRITE_ACCESS
from recovery.errors import BadReply, NotFound
from recovery.model import AttemptOutcome

APPLIED, UNKNOWN, REJECTED = AttemptOutcome.APPLIED, AttemptOutcome.UNKNOWN, AttemptOutcome.REJECTED


class Guides:
    """One guide whose state is what was last put, or stays as it is."""

    def __init__(self, *, obeys: bool = True, answer: httpx.Response | None = None) -> None:
        self.guide: dict[str, Any] = dict(GUIDE, state="disabled")
        self.obeys, self.answer = obeys, answer

    def remote(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return reply(200, self.guide)
        if self.obeys:
            self.guide |= sent(request)
        return self.answer or httpx.Response(200)


@pytest.mark.requirement("R002.30")
@pytest.mark.parametrize(
    "answer", [None, httpx.Response(204), httpx.Response(200, json=[]), httpx.Response(200, text="ok")]
)
async def test_a_switched_guide_is_applied_when_the_read_shows_it_whatever_the_answer_said(
    bench: Callable[..., Any], answer: httpx.Response | None
) -> None:
    guides = Guides(answer=answer)
    client, one = pendo_client(bench, guides.remote)
    result = await client.set_guide_state("g1", "public", one.attempt())
    assert (result.outcome, result.ref) == (APPLIED, "g1")
    assert (await client.guide_state("g1")).shown


@pytest.mark.requirement("R002.26")
async def test_a_guide_that_is_still_shown_after_its_take_down_is_unknown_and_not_done(
    bench: Callable[..., Any],
) -> None:
    guides = Guides(obeys=False)
    guides.guide["state"] = "public"
    client, one = pendo_client(bench, guides.remote)
    result = await client.set_guide_state("g1", "disabled", one.attempt())
    assert result.outcome is UNKNOWN
    assert "still public" in result.detail


async def test_a_change_that_cannot_be_read_back_is_unknown(bench: Callable[..., Any]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={}) if request.method == "GET" else httpx.Response(200)

    client, one = pendo_client(bench, answer)
    assert (await client.set_guide_state("g1", "public", one.attempt())).outcome is UNKNOWN


@pytest.mark.requirement("R002.31")
@pytest.mark.parametrize("body", [{"json": {"error": "no write access"}}, {"html": "<h1>Forbidden</h1>"}, {}])
async def test_a_key_without_write_access_is_a_clear_refusal(bench: Callable[..., Any], body: dict[str, Any]) -> None:
    client, one = pendo_client(bench, lambda r: httpx.Response(403, **body) if r.method == "PUT" else pendo_remote(r))
    result = await client.set_guide_state("g1", "public", one.attempt())
    assert (result.outcome, result.detail, result.auth_failed) == (REJECTED, NO_WRITE_ACCESS, True)


async def test_a_state_that_pendo_does_not_have_is_rejected_unsent(bench: Callable[..., Any]) -> None:
    client, one = pendo_client(bench, pendo_remote)
    result = await client.set_guide_state("g1", "published", one.attempt())
    assert (result.outcome, one.requests) == (REJECTED, [])


async def test_the_audience_is_set_and_read_back(bench: Callable[..., Any]) -> None:
    guides = Guides()
    client, one = pendo_client(bench, guides.remote)
    assert (await client.set_segment("g1", "s2", one.attempt())).outcome is APPLIED
    assert (await client.guide_state("g1")).segment_ref == "s2"


async def test_another_guide_is_never_taken_for_the_one_asked_for(bench: Callable[..., Any]) -> None:
    client, _ = pendo_client(bench, lambda _: reply(200, [GUIDE | {"id": "g2"}]))
    with pytest.raises(NotFound):
        await client.guide_state("g1")


@pytest.mark.parametrize("body", ["[1]", '"x"', "[", '[{"id": "g1"}]'])
async def test_a_reply_that_is_no_guide_is_a_bad_reply(bench: Callable[..., Any], body: str) -> None:
    client, _ = pendo_client(bench, lambda _: httpx.Response(200, text=body))
    with pytest.raises(BadReply):
        await client.guide_state("g1")


async def test_the_key_check_says_whether_it_may_write(bench: Callable[..., Any]) -> None:
    for said, words in (({"writeAccess": False}, "may not write"), ({"writeAccess": True}, "may write"), ({}, "key")):
        client, _ = pendo_client(bench, lambda _, s=said: reply(200, s))
        assert words in await client.whoami()
