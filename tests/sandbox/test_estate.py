"""The whole estate: it starts fast, spoils requests as planned, obeys the control server, tells the story right."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from sandbox.estate import Estate
from sandbox.scenarios import SCENARIOS
from sandbox.story import Story
from sandbox.world import Fault, World

ROOT = Path(__file__).resolve().parents[2]


def client(estate: Estate, account: str = "harbor", **options: Any) -> httpx.AsyncClient:
    """A client of one account's Prospect2, without the limiter."""
    state = estate.account(account).pro2
    state.rate_per_second = 0
    headers = {"Api-Token": next(iter(state.tokens))}
    options.setdefault("timeout", 5)
    return httpx.AsyncClient(base_url=f"{estate.url['pro2']}/{account}", headers=headers, verify=False, **options)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return SCENARIOS["two-hours-down"](World(tmp_path_factory.mktemp("night")))


# ---- faults ----------------------------------------------------------------------------------------------------------

REFUSALS = [("500", 500), ("502", 502), ("503", 503), ("429", 429), ("429-bare", 429), ("401", 401), ("403", 403)]


@pytest.mark.parametrize(("kind", "status"), REFUSALS)
async def test_a_refusal_before_the_effect_has_no_effect(tmp_path: Path, kind: str, status: int) -> None:
    async with Estate.start("one-campaign", tmp_path) as estate, client(estate) as http:
        estate.world.faults.add(Fault("pro2", "harbor", "copy", kind, seconds=3))
        reply = await http.post("/api/3/campaigns/101/copy")
        assert reply.status_code == status
        assert reply.headers.get("retry-after") == ("3" if kind == "429" else None)
        assert estate.world.counts["pro2.copy"] == 0
        assert (await http.post("/api/3/campaigns/101/copy")).status_code == 200


@pytest.mark.parametrize(
    ("kind", "effects"),
    [("reset-before", 0), ("reset-after", 1), ("truncated", 1), ("hang", 0), ("hang-after", 1)],
)
async def test_a_lost_reply_is_a_transport_error_whatever_became_of_the_effect(
    tmp_path: Path, kind: str, effects: int
) -> None:
    async with Estate.start("one-campaign", tmp_path) as estate, client(estate, timeout=0.3) as http:
        estate.world.faults.add(Fault("pro2", op="copy", kind=kind))
        with pytest.raises(httpx.TransportError):
            await http.post("/api/3/campaigns/101/copy")
        assert estate.world.counts["pro2.copy"] == effects


@pytest.mark.parametrize(
    ("kind", "status", "body", "effects"),
    [
        ("500-after", 500, "<!doctype", 1),
        ("502-after", 502, "<!doctype", 1),
        ("html", 200, "<!doctype", 1),
        ("html-before", 200, "<!doctype", 0),
        ("empty-ok", 200, "{}", 1),
        ("redirect", 307, "", 0),
        ("slow-drip", 200, '{"succeeded"', 1),
    ],
)
async def test_a_lying_reply_says_nothing_about_the_effect(
    tmp_path: Path, kind: str, status: int, body: str, effects: int
) -> None:
    async with Estate.start("one-campaign", tmp_path) as estate, client(estate) as http:
        estate.world.faults.add(Fault("pro2", op="copy", kind=kind, seconds=0.2))
        reply = await http.post("/api/3/campaigns/101/copy")
        assert (reply.status_code, reply.text[: len(body)]) == (status, body)
        assert estate.world.counts["pro2.copy"] == effects


async def test_a_client_that_follows_a_redirect_is_found_out(tmp_path: Path) -> None:
    async with Estate.start("one-campaign", tmp_path) as estate, client(estate, follow_redirects=True) as http:
        estate.world.faults.add(Fault("pro2", op="v1:campaign_status", kind="redirect"))
        await http.get("/admin/api.php", params={"api_action": "campaign_status", "id": "101", "status": "4"})
        assert estate.account("harbor").pro2.campaigns[101].status == 4


async def test_a_request_may_land_after_its_connection_was_reset(tmp_path: Path) -> None:
    async with Estate.start("one-campaign", tmp_path) as estate, client(estate) as http:
        estate.world.faults.add(Fault("pro2", op="copy", kind="lands-late", seconds=0.2))
        with pytest.raises(httpx.TransportError):
            await http.post("/api/3/campaigns/101/copy")
        assert estate.world.counts["pro2.copy"] == 0
        await asyncio.sleep(0.4)
        assert estate.world.counts["pro2.copy"] == 1


async def test_v1_actions_are_faulted_by_their_name(tmp_path: Path) -> None:
    async with Estate.start("one-campaign", tmp_path) as estate, client(estate) as http:
        estate.world.faults.add(Fault("pro2", op="v1:campaign_status", kind="reset-after"))
        assert (await http.get("/admin/api.php", params={"api_action": "campaign_list"})).status_code == 200
        with pytest.raises(httpx.TransportError):
            await http.get("/admin/api.php", params={"api_action": "campaign_status", "id": "101", "status": "4"})
        assert estate.account("harbor").pro2.campaigns[101].status == 4


# ---- the estate ------------------------------------------------------------------------------------------------------


async def test_it_starts_in_two_seconds_and_describes_every_account(tmp_path: Path) -> None:
    began = time.perf_counter()
    async with Estate.start("two-hours-down", tmp_path) as estate:
        assert time.perf_counter() - began < 2
        info = json.loads((tmp_path / "estate.json").read_text())
        assert info == estate.info
        assert info["window"] == {"start": "2026-11-01T05:00:00Z", "end": "2026-11-01T07:00:00Z"}
        assert len(info["accounts"]) == 9
        for account in info["accounts"]:
            token = {"Api-Token": account["pro2"]["token"]}
            bearer = {"Authorization": f"Bearer {account['dashboard']['token']}"}
            async with httpx.AsyncClient(verify=False) as http:
                me = await http.get(account["pro2"]["base_url"] + "/api/3/users/me", headers=token)
                can = await http.get(account["dashboard"]["base_url"] + "/capabilities", headers=bearer)
            assert (me.status_code, can.json()["account_time_zone"]) == (200, account["time_zone"])


async def test_the_control_server_moves_the_clock_and_plans_faults(tmp_path: Path) -> None:
    async with (
        Estate.start("one-campaign", tmp_path) as estate,
        httpx.AsyncClient(base_url=estate.url["control"], verify=False) as control,
    ):
        before = estate.world.now()
        await control.post("/clock", json={"advance_seconds": 3600})
        assert (estate.world.now() - before).total_seconds() >= 3600
        await control.post("/faults", json={"system": "pro2", "op": "copy", "kind": "500"})
        assert [fault.kind for fault in estate.world.faults.planned] == ["500"]
        assert (await control.post("/faults", json={"sytem": "pro2"})).status_code == 422
        await control.delete("/faults")
        assert estate.world.faults.planned == []
        await control.post("/late-original", json={"account": "harbor", "campaign": "101"})
        await control.post("/clock", json={"advance_seconds": 1})
        assert (await control.get("/state")).json()["counts"]["pro2.delivery"] >= 1
        missing = await control.post("/late-original", json={"account": "nobody", "campaign": "1"})
        assert missing.status_code == 404


async def test_replies_carry_the_estates_time_as_their_date(tmp_path: Path) -> None:
    async with Estate.start("one-campaign", tmp_path) as estate, client(estate) as http:
        date = (await http.get("/api/3/users/me")).headers["date"]
    assert date.startswith("Sun, 01 Nov 2026 08:20")


async def test_a_test_can_build_an_estate_of_its_own(tmp_path: Path) -> None:
    def build(world: World) -> Story:
        story = SCENARIOS["one-campaign"](world)
        story.account("harbor").pro2.campaigns[101].stop = "refused"
        return story

    async with Estate.start(build, tmp_path) as estate, client(estate) as http:
        stop = {"api_action": "campaign_status", "id": "101", "status": "4"}
        assert (await http.get("/admin/api.php", params=stop)).json()["result_code"] == 0


async def test_a_failing_clockwork_fails_the_estate(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Estate.start("one-campaign", tmp_path) as estate:
            estate.account("harbor").pro2.tick = lambda _: 1 / 0
            await asyncio.sleep(0.2)


async def test_as_a_process_it_prints_its_description_and_ends_on_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandbox", "serve", "--root", str(tmp_path), "--scenario", "quiet"]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 20)
    info = json.loads(Path(line.decode().strip()).read_text())
    assert info["pid"] == process.pid
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_an_unknown_scenario_is_one_sentence_and_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandbox", "serve", "--root", str(tmp_path), "--scenario", "nope"]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 2
    assert said.decode().startswith("no scenario 'nope'; there are ")


# ---- the night -------------------------------------------------------------------------------------------------------


def test_the_night_has_its_accounts_zones_and_slots(night: Story) -> None:
    assert len(night.accounts) == 9
    assert len({account.time_zone for account in night.accounts}) >= 4
    assert 280 <= len(night.plot.items) <= 320
    cases = Counter(item["case"] for item in night.plot.items)
    assert cases["overdue"] >= 9
    assert cases["ran as planned"] > 200


def test_slots_and_things_that_must_not_be_touched_never_meet(night: Story) -> None:
    off = {(row["account"], row["system"], row["object"]) for row in night.plot.never_touch}
    missed = {(i["account"], i["system"], i["object"]) for i in night.plot.items if "done" not in i["expected"]}
    assert off & missed == set()
    assert len(off) > 100


def test_the_repeated_hour_holds_a_fixed_time_once_and_an_interval_all_along(night: Story) -> None:
    slots: dict[str, list[str]] = {}
    for item in night.plot.items:
        if item["account"] == "harbor":
            slots.setdefault(item["object"], []).append(item["slot"])
    assert slots["imp-night"] == ["2026-11-01T05:30:00Z"]
    assert len(slots["day-segment"]) == 12
    assert "after-change" not in slots


def test_every_log_shows_something_newer_than_the_outage(night: Story) -> None:
    for account in night.accounts:
        newest = max(run.ended_at for run in account.dashboard.runs.values() if run.ended_at is not None)
        assert newest > datetime(2026, 11, 1, 7, 50, tzinfo=UTC)


async def finished(estate: Estate, url: str, run: str, headers: dict[str, str]) -> str:
    """Move the clock until the run has ended, and say how."""
    async with httpx.AsyncClient(verify=False) as http:
        for _ in range(20):
            estate.world.advance(2)
            state = (await http.get(f"{url}/runs/{run}", headers=headers)).json()["state"]
            if state not in ("queued", "running", "stop_requested"):
                return str(state)
    return "never"


async def test_running_a_lost_sync_again_repairs_nothing_and_a_tagged_import_shows_why(
    tmp_path: Path,
) -> None:
    async with Estate.start("two-hours-down", tmp_path) as estate:
        told = next(a for a in estate.info["accounts"] if a["name"] == "harbor")["dashboard"]
        headers = {"Authorization": f"Bearer {told['token']}"}
        account = estate.account("harbor")
        sync = next(row for row in estate.story.plot.syncs if row["account"] == "harbor")
        before = account.pro2.tag_members(sync["tag"])
        failed = next(
            r for r in account.dashboard.runs.values() if r.definition_id == "sync-members" and r.state == "failed"
        )
        async with httpx.AsyncClient(base_url=told["base_url"], headers=headers, verify=False) as http:
            again = (await http.post(f"/runs/{failed.run_id}/reprocess")).json()["run_id"]
            assert await finished(estate, told["base_url"], again, headers) == "succeeded"
            assert account.pro2.tag_members(sync["tag"]) == before
            body = {"list_manager_list_id": 501, "tags": ["Recovery 1"]}
            tagged = (await http.post("/imports", json=body)).json()["run_id"]
            assert await finished(estate, told["base_url"], tagged, headers) == "succeeded"
    unique = account.pro2.tag_members("Recovery 1")
    assert sorted(unique - before) == sync["to_add"]
    assert sorted(before - unique) == sync["to_remove"]


async def test_run_now_picks_those_who_match_now(tmp_path: Path) -> None:
    async with Estate.start("two-hours-down", tmp_path) as estate:
        told = next(a for a in estate.info["accounts"] if a["name"] == "harbor")["dashboard"]
        headers = {"Authorization": f"Bearer {told['token']}"}
        async with httpx.AsyncClient(base_url=told["base_url"], headers=headers, verify=False) as http:
            run = (await http.post("/definitions/trg-thanks/run-now")).json()["run_id"]
            assert await finished(estate, told["base_url"], run, headers) == "succeeded"
        entered = [r for r in estate.world.read_journal("dashboard") if r["event"] == "automation_entered"]
        assert entered[0]["contact_count"] == 6
        assert all(contact.startswith("both") for contact in entered[0]["contacts"])


@pytest.mark.parametrize(
    ("system", "told"),
    [
        ("jira", {"base_url", "email", "token", "project", "issue_type"}),
        ("slack", {"base_url", "token", "channel"}),
        ("zendesk", {"base_url", "client_id", "client_secret"}),
        ("pagerduty", {"events_url", "routing_key", "rest_url", "token", "service"}),
        ("clickup", {"base_url", "token", "list", "key_field"}),
        ("pendo", {"base_url", "key", "guides"}),
        ("statuspage", {"base_url", "key", "page"}),
        ("netcore", {"base_url", "authorization"}),
        ("meta", {"base_url", "token"}),
        ("smtp", {"host", "port"}),
    ],
)
async def test_every_neighbour_is_served_and_described(tmp_path: Path, system: str, told: set[str]) -> None:
    async with Estate.start("quiet", tmp_path) as estate:
        info = estate.info[system]
        assert told <= set(info)
        if system == "smtp":
            _, writer = await asyncio.open_connection(info["host"], info["port"])
            writer.close()
            return
        async with httpx.AsyncClient(verify=False) as http:
            assert (await http.get(info.get("base_url", info.get("rest_url")))).status_code < 500


async def test_a_fleet_has_as_many_accounts_as_asked_for(tmp_path: Path) -> None:
    async with Estate.start("fleet:3", tmp_path) as estate:
        assert [account["name"] for account in estate.info["accounts"]] == ["house0000", "house0001", "house0002"]
        assert len(estate.story.plot.items) == 3 * (2 + 2 + 8 * 12)


@pytest.mark.parametrize("system", ["zendesk", "smtp"])
async def test_a_system_that_died_refuses_connections_and_comes_back_with_what_it_had_stored(
    tmp_path: Path, system: str
) -> None:
    async with Estate.start("one-campaign", tmp_path) as estate:
        told = estate.info[system]
        address = urlsplit(told["base_url"]).netloc if system == "zendesk" else f"{told['host']}:{told['port']}"
        host, _, port = address.partition(":")

        async def connects() -> bool:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                return False
            writer.close()
            return True

        before = estate.state(system)
        assert await connects()
        await estate.down(system)
        assert not await connects()
        await estate.up(system)
        assert await connects()
        assert estate.state(system) is before
