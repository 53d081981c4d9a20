"""Pro2: what hangs below one campaign or contact is read to its end, whether it comes whole or in pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from remote_bench import Bench

from integrations.pro2 import Pro2Client
from recovery.errors import BadReply, Unavailable

TAG = "900"
CAMPAIGN = {"id": "7", "type": "single", "status": "1", "send_amt": "0", "total_amt": "0", "segmentid": "0"}


@dataclass
class Parts:
    """Serves rows below one object: `most` a page, from the offset unless it gives them whole, with a total or none."""

    key: str
    rows: list[dict[str, Any]]
    most: int = 100
    whole: bool = False
    total: bool = True
    between: Callable[[list[dict[str, Any]]], object] = lambda rows: None
    offsets: list[int] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = request.url.params
        offset, limit = int(query.get("offset", 0)), min(int(query.get("limit", 20)), self.most)
        if offset:
            self.between(self.rows)
        self.offsets.append(offset)
        page = self.rows if self.whole else self.rows[offset : offset + limit]
        meta = {"meta": {"total": str(len(self.rows))}} if self.total else {}
        return httpx.Response(200, json={self.key: page, **meta})


def client_of(remote: Callable[[httpx.Request], httpx.Response]) -> Pro2Client:
    return Pro2Client(Bench(remote).transport, "America/New_York")


def links(count: int, last: str = TAG) -> list[dict[str, Any]]:
    """The associations of a contact with `count` tags, the one asked for at the end."""
    return [{"id": str(n), "contact": "5", "tag": str(100 + n)} for n in range(1, count)] + [{"id": "77", "tag": last}]


SERVED = {
    "by the default page": {"most": 20},
    "by the default page, uncounted": {"most": 20, "total": False},
    "by a hundred": {},
    "by a hundred, uncounted": {"total": False},
    "whole": {"whole": True},
    "whole, uncounted": {"whole": True, "total": False},
}


@pytest.mark.parametrize("served", SERVED)
@pytest.mark.parametrize("count", [1, 19, 20, 21, 100, 101, 230])
async def test_the_association_is_found_however_many_tags_the_contact_carries(count: int, served: str) -> None:
    parts = Parts("contactTags", links(count), **SERVED[served])  # type: ignore[arg-type]  # each is one of its fields
    assert await client_of(parts).tag_link("5", TAG) == "77"


@pytest.mark.parametrize("served", SERVED)
@pytest.mark.parametrize("count", [1, 21, 230])
async def test_a_tag_is_said_to_be_absent_after_the_whole_list_was_read(count: int, served: str) -> None:
    parts = Parts("contactTags", links(count, last="8"), **SERVED[served])  # type: ignore[arg-type]
    assert await client_of(parts).tag_link("5", TAG) == ""
    assert len(parts.offsets) >= -(-count // parts.most) or parts.whole


async def test_a_contact_without_any_tag_carries_none() -> None:
    assert await client_of(Parts("contactTags", [], total=False)).tag_link("5", TAG) == ""


async def test_a_tag_is_not_called_absent_when_a_later_page_cannot_be_read() -> None:
    parts = Parts("contactTags", links(50), most=20)
    with pytest.raises(Unavailable):
        await client_of(lambda r: httpx.Response(500) if r.url.params["offset"] != "0" else parts(r)).tag_link("5", TAG)


async def test_a_tag_is_not_called_absent_when_the_platform_counts_more_than_it_shows() -> None:
    reply = {"contactTags": links(3, last="8"), "meta": {"total": "9"}}
    with pytest.raises(BadReply, match="contact_tags"):
        await client_of(lambda r: httpx.Response(200, json=reply)).tag_link("5", TAG)


async def test_an_association_that_slips_to_a_page_already_read_is_still_found() -> None:
    rows = links(50)
    left = [0]
    parts = Parts("contactTags", rows, most=20, between=lambda now: now.pop(left.pop()) if left else None)
    rows[20:20] = [rows.pop()]
    assert await client_of(parts).tag_link("5", TAG) == "77"


async def test_a_list_that_keeps_moving_cannot_be_read_whole() -> None:
    parts = Parts("contactTags", links(200, last="8"), most=20, between=lambda now: now.pop(0))
    with pytest.raises(BadReply, match="moved"):
        await client_of(parts).tag_link("5", TAG)


def campaign(messages: Parts, lists: Parts) -> Callable[[httpx.Request], httpx.Response]:
    """A campaign with its messages and lists; message N says "subject N", list N has N contacts."""

    def remote(request: httpx.Request) -> httpx.Response:
        path, query = request.url.path.removeprefix("/api/3"), request.url.params
        if path.endswith("/campaignMessages"):
            return messages(request)
        if path.endswith("/campaignLists"):
            return lists(request)
        if path.startswith("/messages/"):
            return httpx.Response(200, json={"message": {"subject": f"subject {path.rsplit('/', 1)[1]}"}})
        if path == "/contacts":
            return httpx.Response(200, json={"contacts": [], "meta": {"total": query["listid"]}})
        return httpx.Response(200, json={"campaign": CAMPAIGN})

    return remote


@pytest.mark.parametrize("served", SERVED)
async def test_everything_a_campaign_says_and_every_list_it_goes_to_is_read(served: str) -> None:
    how: Any = SERVED[served]
    messages = Parts("campaignMessages", [{"id": "1", "messageid": str(n)} for n in range(1, 24)], **how)
    lists = Parts("campaignLists", [{"listid": str(n)} for n in range(1, 26)], **how)
    content = await client_of(campaign(messages, lists)).content("7")
    assert set(content.subjects) == {f"subject {n}" for n in range(1, 24)}
    assert set(content.list_refs) == {str(n) for n in range(1, 26)}


async def test_the_audience_counts_the_lists_of_every_page() -> None:
    messages = Parts("campaignMessages", [])
    lists = Parts("campaignLists", [{"listid": str(n)} for n in range(1, 26)], most=20)
    assert await client_of(campaign(messages, lists)).audience("7") == sum(range(1, 26))


async def test_lists_that_cannot_be_read_whole_leave_the_audience_unknown() -> None:
    lists = Parts("campaignLists", [{"listid": str(n)} for n in range(1, 60)], most=20, between=lambda now: now.pop(0))
    assert await client_of(campaign(Parts("campaignMessages", []), lists)).audience("7") is None
