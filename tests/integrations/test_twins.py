"""Each main client against its twin over real sockets: whole reads, writes once, faults in their class."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from remote_bench import OpenGate, Shelf, WallClock, open_attempt

from integrations.dashboard import DashboardClient
from integrations.http import Sockets, Timeouts, Transport
from integrations.jira import JiraClient
from integrations.pro2 import Pro2Client
from integrations.slack import SlackClient
from integrations.tessitura import TessituraClient
from recovery.errors import AuthFailed
from recovery.model import AttemptOutcome, Kind, OpenAttempt
from recovery.ports import TicketDraft
from sandbox.estate import Estate
from sandbox.world import Fault

APPLIED, REJECTED, UNKNOWN = AttemptOutcome.APPLIED, AttemptOutcome.REJECTED, AttemptOutcome.UNKNOWN
MARKER = "[RK-ABCDEFGHIJKLMNOP]"
HOSTILE = "<!channel> [x|https://evil.example] @everyone \u202egnp.exe {{7*7}} </p><script>"


@dataclass
class Desk:
    """One account's clients and the estate behind them."""

    estate: Estate
    sockets: Sockets
    shelf: Shelf
    clock: WallClock

    def transport(self, system: str, base_url: str, headers: dict[str, str], account: str = "harbor") -> Transport:
        return Transport(
            system=system,
            account=account,
            base_url=base_url,
            headers=headers,
            sockets=self.sockets,
            clock=self.clock,
            gate=OpenGate(),
            keep=self.shelf.keep,
            timeouts=Timeouts(connect=2, read=1, total=3),
            read_retries=0,
        )

    def of(self, account: str = "harbor") -> dict[str, Any]:
        return next(a for a in self.estate.info["accounts"] if a["name"] == account)

    def attempt(self, seconds: float = 10.0) -> OpenAttempt:
        return open_attempt(self.clock, seconds=seconds)

    def pro2(self, token: str = "", account: str = "harbor") -> Pro2Client:
        told = self.of(account)
        headers = Pro2Client.credentials(token or told["pro2"]["token"])
        return Pro2Client(self.transport("pro2", told["pro2"]["base_url"], headers, account), told["time_zone"])

    def dashboard(self) -> DashboardClient:
        told = self.of()["dashboard"]
        return DashboardClient(
            self.transport("dashboard", told["base_url"], DashboardClient.credentials(told["token"]))
        )

    def tessitura(self) -> TessituraClient:
        told = dict(self.of()["tessitura"])
        url = told.pop("base_url")
        return TessituraClient(
            self.transport("tessitura", url, TessituraClient.credentials(**told)), "America/New_York"
        )

    def jira(self) -> JiraClient:
        told = self.estate.info["jira"]
        transport = self.transport("jira", told["base_url"], JiraClient.credentials(told["email"], told["token"]))
        return JiraClient(transport, told["project"], told["issue_type"], site_url=told["base_url"])

    def slack(self) -> SlackClient:
        told = self.estate.info["slack"]
        return SlackClient(self.transport("slack", told["base_url"], SlackClient.credentials(told["token"])))

    def fault(self, system: str, op: str, kind: str, **more: Any) -> None:
        self.estate.world.faults.add(Fault(system=system, op=op, kind=kind, **more))


@pytest_asyncio.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with Estate.start("two-hours-down", tmp_path, speed=100) as estate:
        for account in estate.story.accounts:
            account.pro2.rate_per_second = 0
        sockets = Sockets()
        yield Desk(estate, sockets, Shelf(), WallClock())
        await sockets.close()


# ---- Pro2 ------------------------------------------------------------------------------------------------------------


async def test_pro2_lists_every_campaign_that_the_platform_has(desk: Desk) -> None:
    for account in ("harbor", "lyric", "orchid"):
        client = desk.pro2(account=account)
        listing = await client.campaigns()
        assert listing.complete, listing.problem
        assert {c.ref for c in listing.items} == {str(n) for n in desk.estate.account(account).pro2.campaigns}
    assert await client.whoami()


async def test_pro2_recovers_one_campaign_step_by_step(desk: Desk) -> None:
    client = desk.pro2()
    overdue = next(c for c in (await client.campaigns()).items if c.name.startswith("Autumn gala"))
    assert not (await client.report(overdue.ref)).has_data
    assert (await client.stop(overdue.ref, desk.attempt())).outcome is APPLIED
    assert (await client.campaign(overdue.ref)).status not in ("1", "2")
    copied = await client.copy(overdue.ref, desk.attempt())
    assert copied.outcome is APPLIED
    assert (await client.rename(copied.ref, f"{overdue.name} {MARKER}", desk.attempt())).outcome is APPLIED
    draft = await client.campaign(copied.ref)
    assert (draft.status, draft.name.endswith(MARKER)) == ("0", True)
    original, copy = await client.content(overdue.ref), await client.content(copied.ref)
    assert original.fingerprint == copy.fingerprint
    assert "messages" in copy.readable
    at = desk.estate.world.now() + timedelta(hours=1)
    assert (await client.schedule(copied.ref, at, desk.attempt())).outcome is APPLIED
    armed = await client.campaign(copied.ref)
    assert armed.sdate is not None
    assert timedelta(0) <= armed.sdate - at < timedelta(seconds=1)
    assert armed.status == "1"


async def test_pro2_tags_come_and_go(desk: Desk) -> None:
    client = desk.pro2()
    made = await client.create_tag("recovery-7", desk.attempt())
    assert made.outcome is APPLIED
    assert (await client.create_tag("recovery-7", desk.attempt())).outcome is REJECTED
    tag = await client.find_tag("recovery-7")
    assert tag is not None
    assert tag.ref == made.ref
    state = desk.estate.account("harbor").pro2
    contact = str(state.add_contact("ann@example.org").id)
    assert (await client.add_tag(contact, tag.ref, desk.attempt())).outcome is APPLIED
    assert [c.ref for c in (await client.members(tag.ref)).items] == [contact]
    link = await client.tag_link(contact, tag.ref)
    assert (await client.remove_tag(link, desk.attempt())).outcome is APPLIED
    assert (await client.remove_tag(link, desk.attempt())).detail.startswith("already gone")
    assert (await client.members(tag.ref)).items == ()
    assert (await client.automations()).complete


async def test_pro2_refuses_a_wrong_key_on_both_apis(desk: Desk) -> None:
    client = desk.pro2("wrong-token-123")
    with pytest.raises(AuthFailed):
        await client.whoami()
    with pytest.raises(AuthFailed):
        await client.report("1")


@pytest.mark.parametrize(
    "kind", ["500-after", "502-after", "reset-after", "hang-after", "truncated", "empty-ok", "html"]
)
async def test_a_copy_whose_answer_is_lost_is_unknown_and_exists_once(desk: Desk, kind: str) -> None:
    client = desk.pro2()
    state = desk.estate.account("harbor").pro2
    overdue = next(c for c in (await client.campaigns()).items if c.name.startswith("Autumn gala"))
    before = len(state.campaigns)
    desk.fault("pro2", "copy", kind, seconds=3)
    assert (await client.copy(overdue.ref, desk.attempt(1.5))).outcome is UNKNOWN
    assert len(state.campaigns) == before + 1


@pytest.mark.parametrize("kind", ["reset-before", "reset-after", "500-after", "redirect", "hang-after"])
async def test_a_stop_by_get_is_sent_once_whatever_happens(desk: Desk, kind: str) -> None:
    client = desk.pro2()
    overdue = next(c for c in (await client.campaigns()).items if c.name.startswith("Autumn gala"))
    desk.fault("pro2", "v1:campaign_status", kind, seconds=3)
    result = await client.stop(overdue.ref, desk.attempt(1.5))
    assert result.outcome is UNKNOWN, result
    left = desk.estate.world.faults.take("pro2", "harbor", "v1:campaign_status")
    assert left is None, "the fault was not met"
    stopped = (await client.campaign(overdue.ref)).status != "1"
    assert stopped is (kind in ("reset-after", "500-after", "hang-after"))


# ---- the dashboard ---------------------------------------------------------------------------------------------------


async def test_the_dashboards_logs_are_read_whole_over_repeating_pages(desk: Desk) -> None:
    state = desk.estate.account("harbor").dashboard
    state.knobs.repeat_rows = 2
    client = desk.dashboard()
    definitions = await client.definitions()
    assert definitions.complete, definitions.problem
    assert {d.ref for d in definitions.items} == set(state.definitions)
    now = desk.estate.world.now()
    log = await client.activity_log(now - timedelta(days=3), now)
    assert log.complete, log.problem
    assert len({run.ref for run in log.runs}) == len(log.runs) > 0
    assert log.covers_from is not None
    assert log.covers_to is not None
    assert log.covers_from < log.covers_to <= desk.estate.world.now() + timedelta(seconds=1)
    assert (await client.console()).complete
    assert (await client.capabilities()).run_now


async def test_the_dashboard_starts_and_stops_runs(desk: Desk) -> None:
    client = desk.dashboard()
    definitions = (await client.definitions()).items
    trigger = next(d for d in definitions if d.scheduled.kind is Kind.TRIGGER)
    started = await client.run_now(trigger.ref, desk.attempt())
    assert started.outcome is APPLIED
    run = await client.run(started.ref)
    assert (run.definition_ref, run.requested_by) == (trigger.ref, "run_now")
    assert isinstance(await client.report(started.ref), tuple)
    sync = next(d for d in definitions if d.scheduled.kind is Kind.DATA_SYNC)
    assert (await client.run_now(sync.ref, desk.attempt())).detail.startswith("409")
    assert sync.list_ref is not None
    imported = await client.import_list(sync.list_ref, ["recovery-8"], {"primary_only": True}, True, desk.attempt())
    assert imported.outcome is APPLIED


async def test_a_bridge_that_takes_an_order_and_does_nothing_is_not_seen_through_here(desk: Desk) -> None:
    desk.estate.account("harbor").dashboard.knobs.returns_run_id = False
    client = desk.dashboard()
    trigger = next(d for d in (await client.definitions()).items if d.scheduled.kind is Kind.TRIGGER)
    started = await client.run_now(trigger.ref, desk.attempt())
    assert (started.outcome, started.ref) == (APPLIED, "")


# ---- Tessitura -------------------------------------------------------------------------------------------------------


async def test_tessitura_reads_a_list_with_addresses_and_regenerates_nothing(desk: Desk) -> None:
    client, state = desk.tessitura(), desk.estate.account("harbor").tessitura
    assert await client.healthy()
    made = state.add_list(9001, "Recovery test", range(1, 251), fresh=range(1, 10))
    for n in range(1, 251, 2):
        state.add_constituent(n, f"P{n}@x.example")
    listing = await client.constituents(9001, {"primary_only": True})
    assert listing.complete, listing.problem
    assert [c.ref for c in listing.items] == list(range(1, 251))
    assert listing.items[0].email == "p1@x.example"
    assert listing.items[1].email == ""
    assert len(made.stored) == 250
    state.knobs.forbidden_ops.add("contents")
    again = await client.constituents(9001, {})
    assert [c.ref for c in again.items] == [c.ref for c in listing.items]
    assert len(made.stored) == 250
    summary = await client.list_summary(9001)
    assert (summary.count, summary.dynamic) == (250, True)
    assert [found.ref for found in await client.find_lists("recovery TEST")] == [9001]


async def test_tessitura_behind_a_broken_gateway_is_not_healthy_and_says_so(desk: Desk) -> None:
    desk.estate.account("harbor").tessitura.knobs.unhealthy = True
    assert not await desk.tessitura().healthy()


# ---- Jira and Slack --------------------------------------------------------------------------------------------------


async def test_jira_files_one_ticket_that_is_found_by_its_marker(desk: Desk) -> None:
    client = desk.jira()
    assert await client.whoami()
    draft = TicketDraft(MARKER, HOSTILE, ("harbor", HOSTILE), "2026-11-01 05:00 UTC", (HOSTILE,), (HOSTILE,))
    filed = await client.file(draft, desk.attempt())
    assert filed.outcome is APPLIED, filed
    assert (await client.comment(filed.ref, [HOSTILE, "done"], MARKER, desk.attempt())).outcome is APPLIED
    assert await client.has_comment(filed.ref, MARKER)
    assert not await client.has_comment(filed.ref, "[RK-QQQQQQQQQQQQQQQQ]")
    for resolved in (False, True):
        link = await client.link(filed.ref, "zendesk-1", HOSTILE, "https://x.example/1", resolved, desk.attempt())
        assert link.outcome is APPLIED, link
    assert await client.links(filed.ref) == {"zendesk-1": True}
    desk.estate.world.advance(3600)
    assert [t.key for t in await client.find(MARKER)] == [filed.ref]


async def test_slack_posts_one_message_that_is_found_by_its_marker(desk: Desk) -> None:
    client, channel = desk.slack(), desk.estate.info["slack"]["channel"]
    since = datetime.now(UTC) - timedelta(days=400)
    assert await client.whoami()
    assert await client.find(channel, MARKER, since) is None
    posted = await client.post(channel, HOSTILE, [HOSTILE, "second"], MARKER, desk.attempt())
    assert posted.outcome is APPLIED, posted
    found = await client.find(channel, MARKER, since)
    assert found is not None
    assert found.ts == posted.ref
    reply_marker = "[RK-BBBBBBBBBBBBBBBB]"
    answered = await client.post(channel, "more", [], reply_marker, desk.attempt(), thread=posted.ref)
    found = await client.find(channel, reply_marker, since)
    assert found is not None
    assert found.ts == answered.ref
    assert (await client.post("C0NONE", "x", [], MARKER, desk.attempt())).outcome is REJECTED


@pytest.mark.requirement("E.5")
async def test_nothing_kept_of_a_whole_round_holds_a_secret(desk: Desk) -> None:
    told = desk.of()
    await desk.pro2().whoami()
    await desk.dashboard().capabilities()
    await desk.tessitura().healthy()
    await desk.jira().whoami()
    await desk.slack().whoami()
    kept = repr(desk.shelf.exchanges)
    assert len(desk.shelf.exchanges) >= 5
    secrets = [told["pro2"]["token"], told["dashboard"]["token"], told["tessitura"]["password"]]
    secrets += [desk.estate.info["jira"]["token"], desk.estate.info["slack"]["token"], "@harbor.example"]
    assert [s for s in secrets if s in kept] == []
