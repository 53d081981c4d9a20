"""Pro2: what its two APIs say becomes our words, and lists that move while they are read are noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from remote_bench import Bench

from integrations.pro2 import Pro2Client
from recovery.errors import AuthFailed, BadReply, ConfigError, NotFound, Refused, Unavailable
from recovery.model import AttemptOutcome

ROW = {
    "id": "7",
    "name": "Spring <b>",
    "type": "single",
    "status": "1",
    "sdate": "2026-03-01T10:00:00-05:00",
    "ldate": None,
    "cdate": "2026-02-01T10:00:00-05:00",
    "send_amt": "0",
    "total_amt": "1200",
    "seriesid": "0",
    "segmentid": "4",
    "source": "web",
    "user": "1",
}


def client_of(
    remote: Callable[[httpx.Request], httpx.Response], zone: str = "America/New_York"
) -> tuple[Pro2Client, Bench]:
    bench = Bench(remote)
    return Pro2Client(bench.transport, zone), bench


def one(body: Any, status: int = 200) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(status, json=body)


@dataclass
class Shop:
    """A platform with campaigns that paging readers walk; `between` runs before each page after the first."""

    ids: list[int]
    between: Callable[[list[int]], None] | None = None
    total: bool = True
    pages: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = request.url.params
        offset, limit = int(query["offset"]), int(query["limit"])
        if offset and self.between:
            self.between(self.ids)
        self.pages.append((offset, limit))
        down = query.get("orders[id]") == "DESC"
        page = sorted(self.ids, reverse=down)[offset : offset + limit]
        meta = {"meta": {"total": str(len(self.ids))}} if self.total else {}
        return httpx.Response(200, json={"campaigns": [{**ROW, "id": str(n)} for n in page], **meta})


async def test_a_campaign_is_read_with_times_in_utc_and_numbers_from_text() -> None:
    client, _ = client_of(one({"campaign": ROW}))
    campaign = await client.campaign("7")
    assert (campaign.ref, campaign.status, campaign.send_amt, campaign.total_amt) == ("7", "1", 0, 1200)
    assert campaign.sdate == datetime(2026, 3, 1, 15, tzinfo=UTC)
    assert (campaign.ldate, campaign.segment_ref) == (None, "4")


@pytest.mark.parametrize("nothing", [None, "", "0000-00-00", "0000-00-00 00:00:00"])
async def test_the_platforms_no_date_is_no_date(nothing: str | None) -> None:
    client, _ = client_of(one({"campaign": {**ROW, "ldate": nothing}}))
    assert (await client.campaign("7")).ldate is None


async def test_a_send_time_that_stands_in_scheduleddate_alone_is_one() -> None:
    row = {**ROW, "sdate": None, "scheduleddate": "2026-03-01T10:00:00-05:00"}
    client, _ = client_of(one({"campaign": row}))
    assert (await client.campaign("7")).sdate == datetime(2026, 3, 1, 15, tzinfo=UTC)


async def test_a_status_nobody_knows_is_kept_as_it_is() -> None:
    client, _ = client_of(one({"campaign": {**ROW, "status": "12"}}))
    assert (await client.campaign("7")).status == "12"


@pytest.mark.parametrize("name", ["id", "type", "status", "send_amt", "total_amt"])
async def test_a_missing_field_is_named(name: str) -> None:
    client, _ = client_of(one({"campaign": {k: v for k, v in ROW.items() if k != name}}))
    with pytest.raises(BadReply, match=f"'{name}' is missing"):
        await client.campaign("7")


@pytest.mark.parametrize("wrong", ["many", "1.5", True, [], {}, "\u0661"])
async def test_a_number_that_is_none_is_named(wrong: object) -> None:
    client, _ = client_of(one({"campaign": {**ROW, "send_amt": wrong}}))
    with pytest.raises(BadReply, match="send_amt"):
        await client.campaign("7")


async def test_the_answer_about_another_campaign_is_refused() -> None:
    client, _ = client_of(one({"campaign": {**ROW, "id": "8"}}))
    with pytest.raises(BadReply, match="asked for campaign 7 and got 8"):
        await client.campaign("7")


# ---- lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 197, 198, 450])
async def test_every_campaign_is_listed_once_over_overlapping_pages(count: int, newest_first: bool) -> None:
    client, _ = client_of(Shop(list(range(1, count + 1))))
    listing = await client.campaigns(newest_first=newest_first)
    wanted = [str(n) for n in range(1, count + 1)]
    assert [c.ref for c in listing.items] == (wanted[::-1] if newest_first else wanted)
    assert (listing.complete, listing.problem) == (True, "")


async def test_a_list_from_which_something_vanished_is_read_again() -> None:
    left = [5]
    client, _ = client_of(shop := Shop(list(range(1, 301)), lambda ids: ids.remove(left.pop()) if left else None))
    listing = await client.campaigns()
    assert listing.complete
    assert len(listing.items) == 299
    assert [offset for offset, _ in shop.pages].count(0) == 2


async def test_a_list_that_keeps_moving_is_not_called_complete() -> None:
    client, _ = client_of(Shop(list(range(1, 401)), lambda ids: ids.remove(min(ids))))
    listing = await client.campaigns()
    assert not listing.complete
    assert "moved" in listing.problem


async def test_campaigns_added_at_the_end_while_reading_are_simply_read() -> None:
    client, _ = client_of(Shop(list(range(1, 151)), lambda ids: ids.append(max(ids) + 1)))
    listing = await client.campaigns()
    assert listing.complete
    assert len(listing.items) == 151


async def test_a_list_without_a_total_is_not_called_complete() -> None:
    client, _ = client_of(Shop(list(range(1, 50)), total=False))
    listing = await client.campaigns()
    assert (len(listing.items), listing.complete) == (49, False)


async def test_a_total_that_does_not_match_is_not_called_complete() -> None:
    client, _ = client_of(one({"campaigns": [ROW], "meta": {"total": "2"}}))
    listing = await client.campaigns()
    assert not listing.complete
    assert "counts 2" in listing.problem


async def test_a_page_that_fails_later_leaves_what_was_read_and_says_so() -> None:
    shop = Shop(list(range(1, 301)))

    def remote(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500) if request.url.params["offset"] != "0" else shop(request)

    client, _ = client_of(remote)
    listing = await client.campaigns()
    assert (len(listing.items), listing.complete) == (100, False)
    assert "could not be read" in listing.problem


async def test_a_first_page_that_fails_raises() -> None:
    client, _ = client_of(one({}, 500))
    with pytest.raises(Unavailable):
        await client.campaigns()


# ---- v1 --------------------------------------------------------------------------------------------------------------

TOTALS = {"result_code": 1, "send_amt": "0", "total_amt": "1200", "status": "1", "ldate": None, "ldate_iso": None}


async def test_a_report_in_which_nothing_was_counted_has_no_data_however_large_the_audience() -> None:
    client, _ = client_of(one(TOTALS))
    report = await client.report("7")
    assert (report.has_data, report.send_amt, report.total_amt) == (False, 0, 1200)


async def test_a_report_with_mail_sent_has_data_and_its_time() -> None:
    client, _ = client_of(one({**TOTALS, "send_amt": "12", "ldate": "2026-03-01 10:00:00"}))
    report = await client.report("7")
    assert (report.has_data, report.last_sent_at) == (True, datetime(2026, 3, 1, 15, tzinfo=UTC))


async def test_a_report_that_v1_refuses_is_no_report() -> None:
    client, _ = client_of(one({"result_code": 0, "result_message": "Campaign not found."}))
    with pytest.raises(Refused, match="Campaign not found"):
        await client.report("7")


async def test_a_key_that_v1_refuses_is_an_authentication_failure() -> None:
    client, _ = client_of(one({"result_code": 0, "result_message": "You are not authorized to access this file"}))
    with pytest.raises(AuthFailed):
        await client.report("7")


@pytest.mark.requirement("E.5")
async def test_the_key_is_in_a_header_and_in_no_url() -> None:
    client, bench = client_of(one(TOTALS))
    await client.report("7")
    await client.stop("7", bench.attempt())
    for request in bench.requests:
        assert request.headers["api-token"] == "canary-token-123456"
        assert "canary" not in str(request.url)


@pytest.mark.requirement("R001.10")
async def test_stopping_asks_v1_for_status_4_by_get() -> None:
    client, bench = client_of(one({"result_code": 1, "result_message": "ok"}))
    await client.stop("7", bench.attempt())
    (request,) = bench.requests
    assert request.method == "GET"
    assert dict(request.url.params) == {"api_action": "campaign_status", "api_output": "json", "id": "7", "status": "4"}


@pytest.mark.parametrize(
    ("at", "zone", "sdate"),
    [
        (datetime(2026, 3, 1, 18, 30, tzinfo=UTC), "America/New_York", "2026-03-01 13:30:00"),
        (datetime(2026, 7, 1, 18, 30, tzinfo=UTC), "America/New_York", "2026-07-01 14:30:00"),
        (datetime(2026, 7, 1, 18, 30, 0, 1, tzinfo=UTC), "Asia/Kolkata", "2026-07-02 00:00:01"),
    ],
)
async def test_a_send_time_is_the_accounts_wall_clock_and_never_earlier(at: datetime, zone: str, sdate: str) -> None:
    client, bench = client_of(one({"result_code": 1, "result_message": "ok"}), zone)
    assert (await client.schedule("7", at, bench.attempt())).outcome is AttemptOutcome.APPLIED
    assert bench.requests[0].url.params["sdate"] == sdate
    assert bench.requests[0].url.params["status"] == "1"


async def test_a_send_time_in_the_hour_that_comes_twice_is_not_sent() -> None:
    client, bench = client_of(one({"result_code": 1, "result_message": "ok"}))
    first = datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    for at in (first, first + timedelta(hours=1)):
        result = await client.schedule("7", at, bench.attempt())
        assert result.outcome is AttemptOutcome.NOT_APPLIED
    assert bench.requests == []
    after = await client.schedule("7", first + timedelta(hours=2), bench.attempt())
    assert after.outcome is AttemptOutcome.APPLIED


def test_an_unknown_time_zone_is_a_setting_to_correct() -> None:
    with pytest.raises(ConfigError, match="Mars"):
        client_of(one({}), "Mars/Olympus")


# ---- copies ----------------------------------------------------------------------------------------------------------


def library(messages: dict[str, dict[str, str]], lists: list[str], *, unreadable: str = "") -> Any:
    def remote(request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/3")
        if unreadable and unreadable in path:
            return httpx.Response(404, json={"message": "No Result found"})
        if path.endswith("/campaignMessages"):
            rows = [{"messageid": ref, "percentage": "100"} for ref in messages]
            return httpx.Response(200, json={"campaignMessages": rows})
        if path.endswith("/campaignLists"):
            return httpx.Response(200, json={"campaignLists": [{"listid": ref} for ref in lists]})
        if path.startswith("/messages/"):
            return httpx.Response(200, json={"message": messages[path.rsplit("/", 1)[1]]})
        return httpx.Response(200, json={"campaign": {**ROW, "id": path.rsplit("/", 1)[1]}})

    return remote


SAID = {"subject": "Hello", "fromname": "A", "fromemail": "a@b.example", "html": "<p>x</p>", "text": "x"}


@pytest.mark.requirement("R001.11")
async def test_a_copy_with_new_message_ids_has_the_originals_fingerprint() -> None:
    original, _ = client_of(library({"100": SAID}, ["1", "2"]))
    copy, _ = client_of(library({"205": SAID}, ["2", "1"]))
    changed, _ = client_of(library({"205": {**SAID, "html": "<p>y</p>"}}, ["1", "2"]))
    narrower, _ = client_of(library({"205": SAID}, ["1"]))
    content = await original.content("7")
    assert content.readable == ("lists", "messages", "segment")
    assert (content.subjects, content.list_refs) == (("Hello",), ("1", "2"))
    assert (await copy.content("8")).fingerprint == content.fingerprint
    assert (await changed.content("8")).fingerprint != content.fingerprint
    assert (await narrower.content("8")).fingerprint != content.fingerprint


async def test_parts_that_an_account_does_not_offer_are_said_to_be_unread() -> None:
    client, _ = client_of(library({"100": SAID}, ["1"], unreadable="campaignLists"))
    assert (await client.content("7")).readable == ("messages", "segment")


async def test_a_name_that_is_too_long_keeps_the_marker_at_its_end() -> None:
    client, bench = client_of(one({"campaign": {}}))
    result = await client.rename("7", "x" * 400 + " [RK-ABCDEFGHIJKLMNOP]", bench.attempt())
    sent = bench.requests[0].read().decode()
    assert result.outcome is AttemptOutcome.APPLIED
    assert "[RK-ABCDEFGHIJKLMNOP]" in sent
    assert len(sent) < 280


@pytest.mark.parametrize("made", ["0", "7", "", None])
async def test_a_copy_that_is_no_new_campaign_is_unknown(made: object) -> None:
    client, bench = client_of(one({"succeeded": 1, "message": "Campaign draft copied.", "newCampaignId": made}))
    assert (await client.copy("7", bench.attempt())).outcome is AttemptOutcome.UNKNOWN


def test_the_key_goes_into_its_header_and_nothing_else() -> None:
    assert Pro2Client.credentials("k") == {"Api-Token": "k"}


# ---- contacts --------------------------------------------------------------------------------------------------------


def crowd(ids: list[int], total: int | None = None) -> Any:
    def remote(request: httpx.Request) -> httpx.Response:
        above, limit = int(request.url.params["id_greater"]), int(request.url.params["limit"])
        rows = [{"id": str(n), "email": f"P{n}@X.example"} for n in ids if n > above][:limit]
        left = len([n for n in ids if n > above]) if total is None else total
        return httpx.Response(200, json={"contacts": rows, "meta": {"total": str(left)}})

    return remote


@pytest.mark.parametrize("count", [0, 1, 100, 101, 350])
async def test_all_members_of_a_tag_are_read_by_ascending_id(count: int) -> None:
    client, bench = client_of(crowd(list(range(1, count * 3 + 1, 3))))
    listing = await client.members("9")
    assert (len(listing.items), listing.complete) == (count, True)
    assert all(c.email == c.email.lower() for c in listing.items)
    assert {r.url.params["tagid"] for r in bench.requests} == {"9"}


async def test_members_counted_and_not_read_make_the_list_incomplete() -> None:
    client, _ = client_of(crowd(list(range(1, 50)), total=51))
    listing = await client.members("9")
    assert (listing.complete, listing.problem) == (False, "the platform counted 51 and 49 were read")


async def test_a_page_that_comes_again_ends_the_reading() -> None:
    page = {"contacts": [{"id": str(n), "email": ""} for n in range(1, 101)], "meta": {"total": "300"}}
    client, bench = client_of(one(page))
    listing = await client.members("9")
    assert not listing.complete
    assert len(bench.requests) == 2


async def test_a_platform_that_does_not_know_status_minus_one_still_shows_who_carries_the_tag() -> None:
    everyone = crowd([3, 8])

    def remote(request: httpx.Request) -> httpx.Response:
        if request.url.params.get("status") == "-1":
            return httpx.Response(200, json={"contacts": [], "meta": {"total": "0"}})
        return everyone(request)

    client, bench = client_of(remote)
    listing = await client.members("9")
    assert ([c.ref for c in listing.items], listing.complete) == (["3", "8"], True)
    assert bench.requests[0].url.params["status"] == "-1"


async def test_tags_may_come_in_any_order() -> None:
    rows = [{"id": "9", "tag": "Spring 2026"}, {"id": "2", "tag": "spring"}]
    client, _ = client_of(one({"tags": rows, "meta": {"total": "2"}}))
    assert await client.find_tag("Summer") is None


async def test_a_tag_is_found_by_its_exact_name_only() -> None:
    rows = [{"id": "1", "tag": "Spring 2026"}, {"id": "2", "tag": "spring"}, {"id": "3", "tag": "Spring"}]
    client, _ = client_of(one({"tags": rows, "meta": {"total": "3"}}))
    found = await client.find_tag("Spring")
    assert found is not None
    assert found.ref == "3"
    assert await client.find_tag("Summer") is None


async def test_a_tag_is_not_called_absent_when_the_list_was_not_read_whole() -> None:
    client, _ = client_of(one({"tags": [], "meta": {"total": "3"}}))
    with pytest.raises(BadReply, match="absent"):
        await client.find_tag("Spring")


async def test_the_association_of_a_contact_with_a_tag_is_found_by_the_tag() -> None:
    client, _ = client_of(one({"contactTags": [{"id": "1", "tag": "8"}, {"id": "2", "tag": 9}]}))
    assert await client.tag_link("5", "9") == "2"
    assert await client.tag_link("5", "7") == ""


async def test_removing_an_association_that_is_gone_is_what_was_wanted() -> None:
    client, bench = client_of(one({"message": "No Result found for SubscriberTag with id 1"}, 404))
    result = await client.remove_tag("1", bench.attempt())
    assert result.outcome is AttemptOutcome.APPLIED
    assert result.detail.startswith("already gone")


async def test_a_campaign_that_is_not_there_is_not_found() -> None:
    client, _ = client_of(one({"message": "No Result found for Campaign with id 2"}, 404))
    with pytest.raises(NotFound, match="No Result found"):
        await client.campaign("2")
