"""The pretend Prospect2 over real sockets, driven by a plain HTTP client: what a product would see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from sandbox.estate import Estate
from sandbox.pro2_records import COMPLETED, PAUSED, PENDING_APPROVAL, SCHEDULED, SENDING
from sandbox.pro2_state import Pro2State
from sandbox.scenarios import NOW, one_campaign
from sandbox.story import Story
from sandbox.world import World


@dataclass
class Desk:
    """One account as a client sees it, and its state as only a test may see it."""

    estate: Estate
    state: Pro2State
    http: httpx.AsyncClient

    async def v3(self, method: str, path: str, **options: Any) -> httpx.Response:
        return await self.http.request(method, f"/harbor/api/3{path}", **options)

    async def v1(self, action: str, **params: object) -> dict[str, Any]:
        reply = await self.http.get(
            "/harbor/admin/api.php", params={"api_action": action, "api_output": "json", **params}
        )
        assert reply.status_code == 200
        return reply.json()

    async def status(self, ref: int | str) -> str:
        return (await self.v3("GET", f"/campaigns/{ref}")).json()["campaign"]["status"]

    async def wait_for(self, ref: int | str, status: str) -> None:
        async with asyncio.timeout(5):
            while await self.status(ref) != status:
                await asyncio.sleep(0.02)

    def journal(self, event: str) -> list[dict[str, Any]]:
        return [row for row in self.estate.world.read_journal("pro2") if row["event"] == event]


@asynccontextmanager
async def desk(
    tmp_path: Path, plant: Callable[[Pro2State], None] = lambda _: None, **knobs: Any
) -> AsyncIterator[Desk]:
    """An estate of one account with campaign 101 overdue (given `knobs`), without the limiter."""

    def build(world: World) -> Story:
        story = one_campaign(world, **knobs)
        pro2 = story.accounts[0].pro2
        pro2.rate_per_second = 0
        pro2.send_seconds = 0.1
        plant(pro2)
        return story

    async with Estate.start(build, tmp_path) as estate:
        state = estate.account("harbor").pro2
        headers = {"Api-Token": next(iter(state.tokens))}
        async with httpx.AsyncClient(base_url=estate.url["pro2"], headers=headers, timeout=5, verify=False) as http:
            yield Desk(estate, state, http)


async def test_numbers_are_strings_and_times_carry_the_accounts_offset(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        row = (await d.v3("GET", "/campaigns/101")).json()["campaign"]
    assert (row["id"], row["status"], row["send_amt"], row["seriesid"]) == ("101", "1", "0", "0")
    assert row["sdate"] == "2026-11-01T01:30:00-04:00"


async def test_the_list_pages_by_20_up_to_100_and_counts_in_a_string(tmp_path: Path) -> None:
    def plant(state: Pro2State) -> None:
        for n in range(130):
            state.add_campaign(f"Draft {n}", 0)

    async with desk(tmp_path, plant) as d:
        first = (await d.v3("GET", "/campaigns")).json()
        large = (await d.v3("GET", "/campaigns", params={"limit": 500, "offset": 100})).json()
        newest = (await d.v3("GET", "/campaigns", params={"orders[id]": "DESC", "limit": 1})).json()
    assert len(first["campaigns"]) == 20
    assert first["meta"]["total"] == "134"
    assert len(large["campaigns"]) == 34
    assert newest["campaigns"][0]["name"] == "Draft 129"


async def test_a_moving_list_drops_a_row_between_two_pages(tmp_path: Path) -> None:
    def plant(state: Pro2State) -> None:
        state.disposable = [state.add_campaign(f"Draft {n}", 0).id for n in range(30)][:1]

    async with desk(tmp_path, plant) as d:
        one = (await d.v3("GET", "/campaigns")).json()
        two = (await d.v3("GET", "/campaigns", params={"offset": 20})).json()
    seen = {row["id"] for page in (one, two) for row in page["campaigns"]}
    assert int(two["meta"]["total"]) == int(one["meta"]["total"]) - 1
    assert set(map(str, d.state.campaigns)) - seen


async def test_a_copy_is_a_draft_with_new_messages_and_the_same_content(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        reply = (await d.v3("POST", "/campaigns/101/copy")).json()
        ref = reply["newCampaignId"]
        row = (await d.v3("GET", f"/campaigns/{ref}")).json()["campaign"]
        texts = []
        for campaign in (101, ref):
            join = (await d.v3("GET", f"/campaigns/{campaign}/campaignMessages")).json()["campaignMessages"][0]
            texts.append((await d.v3("GET", f"/messages/{join['messageid']}")).json()["message"])
        lists = [
            (await d.v3("GET", f"/campaigns/{c}/campaignLists")).json()["campaignLists"][0]["list"] for c in (101, ref)
        ]
    assert reply["succeeded"] == 1
    assert (row["status"], row["source"], row["name"], row["user"]) == ("0", "copy", "Copy of Autumn gala", "7")
    assert ref == max(d.state.campaigns)
    assert texts[0]["id"] != texts[1]["id"]
    assert texts[0]["html"] == texts[1]["html"]
    assert lists[0] == lists[1]


async def test_a_new_copy_may_be_missing_from_lists_for_a_while(tmp_path: Path) -> None:
    def plant(state: Pro2State) -> None:
        state.copy_lag_seconds = 60

    async with desk(tmp_path, plant) as d:
        ref = str((await d.v3("POST", "/campaigns/101/copy")).json()["newCampaignId"])
        assert ref not in {row["id"] for row in (await d.v3("GET", "/campaigns")).json()["campaigns"]}
        assert await d.status(ref) == "0"
        d.estate.world.advance(61)
        assert ref in {row["id"] for row in (await d.v3("GET", "/campaigns")).json()["campaigns"]}


async def test_an_overdue_campaign_that_the_platform_lost_never_starts_by_itself(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        d.estate.world.advance(86_400)
        await asyncio.sleep(0.15)
        assert await d.status(101) == "1"
        assert d.journal("delivery") == [row for row in d.journal("delivery") if row["campaign"] != "101"]


async def test_a_scheduled_copy_goes_out_once_to_exactly_its_audience(tmp_path: Path) -> None:
    async with desk(tmp_path, recipients=200_000) as d:
        await d.v1("campaign_status", id=101, status=4)
        ref = (await d.v3("POST", "/campaigns/101/copy")).json()["newCampaignId"]
        assert (await d.v1("campaign_status", id=ref, status=1, sdate="2026-11-01 03:20:00"))["result_code"] == 1
        await d.wait_for(ref, "5")
        row = (await d.v3("GET", f"/campaigns/{ref}")).json()["campaign"]
        report = await d.v1("campaign_report_totals", campaignid=ref)
    sent = [r for r in d.journal("delivery") if r["campaign"] == str(ref)]
    assert sum(r["count"] for r in sent) == 200_000
    assert [r["recipients"] for r in sent] == [[[10_000, 109_999]], [[110_000, 209_999]]]
    assert {r["content"] for r in sent} == {d.state.campaigns[101].content}
    assert (row["send_amt"], row["total_amt"], report["send_amt"]) == ("200000", "200000", "200000")
    assert row["ldate"].endswith("-05:00")


async def test_an_armed_campaign_waits_for_its_time_in_the_accounts_zone(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        ref = (await d.v3("POST", "/campaigns/101/copy")).json()["newCampaignId"]
        await d.v1("campaign_status", id=ref, status=1, sdate="2026-11-01 03:25:00")
        row = (await d.v3("GET", f"/campaigns/{ref}")).json()["campaign"]
        assert (row["status"], row["sdate"]) == ("1", "2026-11-01T03:25:00-05:00")
        d.estate.world.advance(301)
        await d.wait_for(ref, "5")


async def test_the_hour_that_comes_twice_means_its_first_passing(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        ref = (await d.v3("POST", "/campaigns/101/copy")).json()["newCampaignId"]
        await d.v1("campaign_status", id=ref, status=1, sdate="2026-11-01 01:30:00")
        assert d.state.campaigns[ref].sdate.isoformat() == "2026-11-01T05:30:00+00:00"


async def test_strong_profile_refuses_to_send_what_was_sent_or_stopped(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        await d.v1("campaign_status", id=101, status=4)
        refused = await d.v1("campaign_status", id=101, status=1)
        assert refused["result_code"] == 0
        assert await d.status(101) == "4"


async def test_weak_profile_sends_a_completed_campaign_again(tmp_path: Path) -> None:
    async with desk(tmp_path, profile="weak", recipients=10) as d:
        for _ in range(2):
            await d.v1("campaign_status", id=101, status=1)
            await d.wait_for(101, "5")
        mine = [row for row in d.journal("delivery") if row["campaign"] == "101"]
    assert sum(row["count"] for row in mine) == 20


async def test_stop_works_is_refused_or_does_nothing_as_planned(tmp_path: Path) -> None:
    seen = {}
    for knob in ("works", "refused", "no_effect"):
        async with desk(tmp_path / knob, stop=knob) as d:
            code = (await d.v1("campaign_status", id=101, status=4))["result_code"]
            seen[knob] = (code, await d.status(101))
    assert seen == {"works": (1, "4"), "refused": (0, "1"), "no_effect": (1, "1")}


async def test_a_stopped_campaign_that_revives_goes_out_after_all(tmp_path: Path) -> None:
    async with desk(tmp_path, stop="revives", revive_seconds=30.0) as d:
        await d.v1("campaign_status", id=101, status=4)
        assert await d.status(101) == "4"
        d.estate.world.advance(31)
        await d.wait_for(101, "5")
        assert any(row.get("late") for row in d.journal("campaign_status"))


async def test_a_late_original_goes_out_at_its_time_without_anybody(tmp_path: Path) -> None:
    async with desk(tmp_path, late_at=NOW + timedelta(seconds=60)) as d:
        await asyncio.sleep(0.15)
        assert await d.status(101) == "1"
        d.estate.world.advance(61)
        await d.wait_for(101, "5")


async def test_a_stop_while_sending_keeps_the_rest_from_leaving(tmp_path: Path) -> None:
    def plant(state: Pro2State) -> None:
        state.send_seconds = 1000

    async with desk(tmp_path, plant, stuck=False) as d:
        await d.wait_for(101, "2")
        d.estate.world.advance(600)
        await asyncio.sleep(0.1)
        await d.v1("campaign_status", id=101, status=4)
        d.estate.world.advance(600)
        await asyncio.sleep(0.1)
        row = (await d.v3("GET", "/campaigns/101")).json()["campaign"]
    assert (row["status"], row["send_amt"]) == ("4", "600")


async def test_stuck_paused_partial_and_unknown_states_stay_as_they_are(tmp_path: Path) -> None:
    def plant(state: Pro2State) -> None:
        due = NOW - timedelta(hours=2)
        state.add_campaign("stuck", SENDING, sdate=due, stuck=True)
        state.add_campaign("partial", SENDING, sdate=due, stuck=True, send_amt=17)
        state.add_campaign("paused", PAUSED, sdate=due)
        state.add_campaign("pending", PENDING_APPROVAL, sdate=due)
        state.add_campaign("empty", COMPLETED, sdate=due)

    async with desk(tmp_path, plant) as d:
        await asyncio.sleep(0.15)
        rows = {r["name"]: r for r in (await d.v3("GET", "/campaigns")).json()["campaigns"]}
    shown = {
        name: (rows[name]["status"], rows[name]["send_amt"])
        for name in ("stuck", "partial", "paused", "pending", "empty")
    }
    assert shown == {
        "stuck": ("2", "0"),
        "partial": ("2", "17"),
        "paused": ("3", "0"),
        "pending": ("7", "0"),
        "empty": ("5", "0"),
    }


async def test_the_report_can_disagree_with_the_campaign(tmp_path: Path) -> None:
    def plant(state: Pro2State) -> None:
        state.add_campaign("odd", COMPLETED, sdate=NOW, ldate=NOW, send_amt=5, report="empty")

    async with desk(tmp_path, plant) as d:
        ref = max(d.state.campaigns)
        assert (await d.v3("GET", f"/campaigns/{ref}")).json()["campaign"]["send_amt"] == "5"
        assert (await d.v1("campaign_report_totals", campaignid=ref))["send_amt"] == "0"


async def test_wrong_keys_are_refused_in_two_shapes(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        d.http.headers["Api-Token"] = "wrong"
        reply = await d.v3("GET", "/users/me")
        assert reply.status_code == 403
        assert reply.headers["content-type"].startswith("text/plain")
        assert (await d.v1("campaign_status", id=101, status=4))["result_code"] == 0
        assert still_scheduled(d)


def still_scheduled(d: Desk) -> bool:
    return d.state.campaigns[101].status == SCHEDULED


async def test_a_key_in_the_url_works_and_is_told_on(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        key = d.http.headers.pop("Api-Token")
        assert (await d.v1("campaign_list", ids="101", api_key=key))["result_code"] == 1
        assert len(d.journal("key_in_url")) == 1


async def test_five_requests_a_second_then_429_before_any_effect(tmp_path: Path) -> None:
    def plant(state: Pro2State) -> None:
        state.rate_per_second = 5

    async with desk(tmp_path, plant) as d:
        replies = await asyncio.gather(*(d.v3("POST", "/campaigns/101/copy") for _ in range(12)))
        refused = [r for r in replies if r.status_code == 429]
        copies = len(d.journal("copy"))
    assert 5 <= copies == 12 - len(refused) <= 7
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].headers["ratelimit-remaining"] == "0"


async def test_refusals_come_in_every_shape_the_vendor_has(tmp_path: Path) -> None:
    async with desk(tmp_path, deletable=False, copyable=False) as d:
        assert (await d.v3("GET", "/campaigns/999")).json() == {"message": "No Result found for Campaign with id 999"}
        copy = await d.v3("POST", "/campaigns/101/copy")
        assert (copy.status_code, copy.json()) == (400, "Bad request. You are not allowed to copy this campaign.")
        delete = await d.v3("DELETE", "/campaigns/101")
        assert (delete.status_code, delete.json()["succeeded"]) == (200, 0)
        assert (
            (await d.v3("PUT", "/campaigns/101/edit", json={"name": ""})).json()["errors"][0].startswith("Field name")
        )
        tag = await d.v3("POST", "/contactTags", json={"contactTag": {}})
        assert (tag.status_code, tag.json()["errors"][0]["code"]) == (422, "field_missing")
        batch = await d.v3("POST", "/import/bulk_import", json={"contacts": []})
        assert (batch.status_code, batch.json()["success"]) == (400, 0)


async def test_an_edit_renames_and_leaves_the_content_what_it_was(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        before = d.state.campaigns[101].content
        reply = await d.v3("PUT", "/campaigns/101/edit", json={"name": "[RK-X] Gala", "scheduledDate": "2027-01-01"})
        assert reply.json()["campaign"]["name"] == "[RK-X] Gala"
        assert d.state.campaigns[101].content == before
        assert await d.status(101) == "1"
        assert d.journal("edit")[0]["api_user"] == 7


async def test_deep_paging_by_id_walks_a_large_list_without_gaps(tmp_path: Path) -> None:
    async with desk(tmp_path, recipients=250) as d:
        seen: list[int] = []
        while True:
            query = {"listid": 1, "limit": 100, "orders[id]": "ASC", "id_greater": seen[-1] if seen else 0}
            page = (await d.v3("GET", "/contacts", params=query)).json()
            seen += [int(row["id"]) for row in page["contacts"]]
            if len(page["contacts"]) < 100:
                break
    assert seen == list(range(10_000, 10_250))


async def test_tags_are_added_once_and_removed_by_the_association(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        tag = (await d.v3("POST", "/tags", json={"tag": {"tag": "Sync", "tagType": "contact"}})).json()["tag"]["id"]
        body = {"contactTag": {"contact": "10001", "tag": tag}}
        first = (await d.v3("POST", "/contactTags", json=body)).json()["contactTag"]["id"]
        again = (await d.v3("POST", "/contactTags", json=body)).json()["contactTag"]["id"]
        members = (await d.v3("GET", "/contacts", params={"tagid": tag})).json()
        links = (await d.v3("GET", "/contacts/10001/contactTags")).json()["contactTags"]
        gone = await d.v3("DELETE", f"/contactTags/{links[0]['id']}")
        missing = await d.v3("DELETE", f"/contactTags/{links[0]['id']}")
        duplicate = await d.v3("POST", "/tags", json={"tag": {"tag": "Sync"}})
    assert first == again
    assert (members["meta"]["total"], members["contacts"][0]["email"]) == ("1", "person10001@harbor.example")
    assert (gone.status_code, gone.json()) == (200, {})
    assert (missing.status_code, missing.json()["message"]) == (
        404,
        f"No Result found for SubscriberTag with id {first}",
    )
    assert duplicate.json()["errors"][0]["code"] == "duplicate"
    assert [row["event"] for row in d.estate.world.read_journal("pro2") if "tag" in row["event"]] == [
        "tag_created",
        "tag_added",
        "tag_removed",
    ]


async def test_tag_search_contains_or_matches_exactly(tmp_path: Path) -> None:
    def plant(state: Pro2State) -> None:
        for name in ("Sync", "Sync old", "Other"):
            state.plant_tag(name, [])

    async with desk(tmp_path, plant) as d:
        contains = (await d.v3("GET", "/tags", params={"search": "sync"})).json()
        exact = (await d.v3("GET", "/tags", params={"filters[search][eq]": "Sync"})).json()
    assert [row["tag"] for row in contains["tags"]] == ["Sync", "Sync old"]
    assert [row["tag"] for row in exact["tags"]] == ["Sync"]


async def test_a_bulk_import_is_worked_on_later_and_tells_who_failed(tmp_path: Path) -> None:
    async with desk(tmp_path) as d:
        rows = [{"email": "new@example.org", "tags": ["Fresh"]}, {"email": "broken"}]
        queued = (await d.v3("POST", "/import/bulk_import", json={"contacts": rows})).json()
        early = (await d.v3("GET", "/import/info", params={"batchId": queued["batchId"]})).json()
        d.estate.world.advance(1)
        d.estate.run_due()
        done = (await d.v3("GET", "/import/info", params={"batchId": queued["batchId"]})).json()
    assert (queued["Success"], early["status"]) == (1, "active")
    assert (done["status"], len(done["success"]), done["failure"]) == ("completed", 1, ["broken"])
    assert d.state.tag_members("Fresh") == {int(done["success"][0])}


async def test_what_one_contact_got_can_be_asked(tmp_path: Path) -> None:
    async with desk(tmp_path, recipients=10) as d:
        ref = (await d.v3("POST", "/campaigns/101/copy")).json()["newCampaignId"]
        await d.v1("campaign_status", id=ref, status=1)
        await d.wait_for(ref, "5")
        got = (await d.v3("GET", "/emailActivities", params={"filters[subscriberid]": "10003"})).json()
        other = (await d.v3("GET", "/emailActivities", params={"filters[subscriberid]": "77"})).json()
    assert [row["campaignid"] for row in got["emailActivities"]] == [str(ref)]
    assert other["emailActivities"] == []


async def test_an_automation_that_admits_once_refuses_the_second_entry(tmp_path: Path) -> None:
    def plant(state: Pro2State) -> None:
        state.add_automation(11, "Welcome").admits_once = True

    async with desk(tmp_path, plant) as d:
        body = {"contactAutomation": {"contact": "10001", "automation": "11"}}
        codes = [(await d.v3("POST", "/contactAutomations", json=body)).status_code for _ in range(2)]
        shown = (await d.v3("GET", "/automations")).json()["automations"][0]
    assert codes == [201, 403]
    assert (shown["status"], shown["entered"]) == ("1", "1")
