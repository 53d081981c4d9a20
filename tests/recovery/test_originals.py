"""Originals that go on by themselves: armed copies are taken back, and who was reached twice or not at all is told."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

from recovery.model import ItemOutcome, Question
from recovery.operate import watch_round
from sandbox import scenario_campaigns as mail
from sandbox import scenario_jobs as jobs
from tests.recovery.stage import Night, items, night, only, stage


def gala(story: Any, account: Any) -> None:
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))


def trigger(story: Any, account: Any) -> None:
    account.pro2.add_automation(12, "After the show")
    jobs.plant_import(story, account, "healthy", "Healthy import", jobs.cron("5 * * * *", account.time_zone), None, 400)
    at = jobs.once(story.started_at + timedelta(minutes=10))
    jobs.plant_trigger(story, account, "trg", "Ticket scanned", at, jobs.no_activity, 12)


def when_armed(n: Night, then: Any) -> None:
    """Calls `then` right after the request that arms the copy."""
    n.tell = lambda what, f: then() if what == "sent" and f["request"].startswith("release copy") else None


def goes_out(n: Night) -> None:
    pro2 = n.estate.account("harbor").pro2
    pro2.send_seconds = 0
    pro2.let_go_late(101)
    n.estate.run_due()


async def test_a_stop_whose_reply_is_lost_is_tried_again_until_the_armed_copy_is_taken_back(tmp_path: Path) -> None:
    async with night(tmp_path, stage(gala), waits={"arm_seconds": 4}) as n:

        def lose_the_stop() -> None:
            goes_out(n)
            n.fault("pro2", "v1:campaign_status", "reset-before")

        when_armed(n, lose_the_stop)
        row = only(await n.recover())
        assert row.outcome is ItemOutcome.SKIPPED and "stopped before it left" in row.reason
        assert n.sent() == 0
        assert n.events("pro2", "fault", kind="reset-before"), "the reply was lost"
        async with n.open() as systems:
            seen = await watch_round(systems)
        assert [each for each in seen.unsettled if "disarm" in each] == []
        assert await n.oracle() == []


async def test_a_page_that_cannot_be_read_does_not_end_the_watch_over_an_armed_copy(tmp_path: Path) -> None:
    async with night(tmp_path, stage(gala), waits={"arm_seconds": 2}) as n:
        when_armed(n, lambda: n.fault("pro2", "campaign", "html"))
        assert only(await n.recover()).outcome is ItemOutcome.CONFIRMED
        assert n.sent() == 350
        assert await n.oracle() == []


async def cut_off_while_armed(n: Night) -> None:
    """A run that ends between arming and departure; then the original goes out by itself."""
    stop = asyncio.Event()
    when_armed(n, stop.set)
    assert only(await n.recover(stop=stop)).outcome is ItemOutcome.OPEN
    n.tell = lambda *_: None
    assert n.estate.account("harbor").pro2.campaigns[102].status == 1
    goes_out(n)


async def test_a_run_that_is_started_again_takes_back_a_copy_that_the_last_one_left_armed(tmp_path: Path) -> None:
    async with night(tmp_path, stage(gala), waits={"arm_seconds": 60}) as n:
        await cut_off_while_armed(n)
        async with n.open() as systems:
            plan = await systems.ledger.latest_plan()
            assert plan is not None
            row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.SKIPPED and "stopped before it left" in row.reason
        assert n.sent() == 0
        async with n.open() as systems:
            assert (await watch_round(systems)).unsettled == ()


async def test_the_watcher_takes_back_a_copy_that_a_run_left_armed_when_its_original_goes(tmp_path: Path) -> None:
    async with night(tmp_path, stage(gala), waits={"arm_seconds": 60}) as n:
        await cut_off_while_armed(n)
        async with n.open() as systems:
            seen = await watch_round(systems)
        assert [s.text for s in seen.sightings if "went out after all" in s.text]
        assert n.estate.account("harbor").pro2.campaigns[102].status in (3, 4)
        assert n.sent() == 0


async def test_an_item_that_is_held_while_its_copy_is_armed_is_looked_at_once_a_round(tmp_path: Path) -> None:
    async with night(tmp_path, stage(gala), waits={"arm_seconds": 60}) as n:
        await cut_off_while_armed(n)
        async with n.open() as systems:
            (row,) = await systems.ledger.items()
            await systems.ledger.finish_item(row.slot_key, ItemOutcome.HELD, "?", Question("Is it wanted?", "wait"))
            seen = await watch_round(systems)
        assert (seen.looked, len(seen.sightings)) == (1, 1)


async def test_an_original_that_our_own_stop_cut_off_is_asked_about(tmp_path: Path) -> None:
    async with night(tmp_path, stage(gala)) as n:
        original = n.estate.account("harbor").pro2.campaigns[101]

        def begins(what: str, facts: Any) -> None:
            if what == "sent" and "stop campaign" in facts["request"]:
                original.send_amt, original.total_amt = 10, 350

        n.tell = begins
        done = await n.recover()
        row = only(done)
        assert row.outcome is ItemOutcome.HELD and "10 of 350 sent" in row.reason
        assert done.exit_code == 3
        assert n.sent() == 0


async def test_an_original_that_is_started_again_and_again_is_stopped_each_time(tmp_path: Path) -> None:
    async with night(tmp_path, stage(gala)) as n:
        pro2 = n.estate.account("harbor").pro2
        pro2.send_seconds = 0
        assert only(await n.recover()).outcome is ItemOutcome.CONFIRMED
        pro2.send_seconds = 600
        for n_th in (1, 2):
            pro2.let_go_late(101)
            n.estate.run_due()
            pro2.campaigns[101].send_amt = 10 * n_th
            async with n.open() as systems:
                seen = await watch_round(systems)
            assert len(seen.sightings) == 1
            assert pro2.campaigns[101].status in (3, 4), "it was stopped"


async def test_an_original_that_waits_to_go_again_is_told_as_stopped_only_when_it_is(tmp_path: Path) -> None:
    async with night(tmp_path, stage(gala)) as n:
        original = n.estate.account("harbor").pro2.campaigns[101]
        assert only(await n.recover()).outcome is ItemOutcome.CONFIRMED
        original.status = 1
        n.fault("pro2", "v1:campaign_status", "401", times=-1)
        async with n.open() as systems:
            (refused,) = (await watch_round(systems)).sightings
        assert "nobody reached yet; it could not be stopped: " in refused.text and "401" in refused.text
        assert original.status == 1


async def test_a_scheduled_run_that_comes_after_our_run_now_is_told(tmp_path: Path) -> None:
    async with night(tmp_path, stage(trigger)) as n:
        row = items(await n.recover())["trg"]
        assert row.outcome is ItemOutcome.CONFIRMED
        now = n.world.now()
        n.estate.account("harbor").dashboard.add_run(
            "trg", state="succeeded", scheduled_for=row.due_at, started_at=now, ended_at=now,
            requested_by="schedule", counts={"returned": 6, "updated": 6, "errored": 0},
        )  # fmt: skip
        async with n.open() as systems:
            seen = await watch_round(systems)
        assert len(seen.sightings) == 1 and "went on by itself" in seen.sightings[0].text


async def test_an_armed_copy_that_does_not_leave_in_its_time_is_asked_about_once(tmp_path: Path) -> None:
    """The platform may be ill again; waiting for it without an end would keep everything that comes behind it."""
    async with night(tmp_path, stage(gala), waits={"departure_seconds": 1}) as n:
        when_armed(n, lambda: setattr(n.estate.account("harbor").pro2.campaigns[102], "stuck", True))
        async with asyncio.timeout(20):
            row = only(await n.recover())
        assert row.outcome is ItemOutcome.HELD and row.question is not None
        assert "copy 102 was armed and is scheduled, with nothing sent; it may still leave" in row.reason
        assert {"wait", "drop", "it happened"} <= set(row.question.choices)


async def test_an_original_that_somebody_made_a_draft_again_is_asked_about_in_words_that_are_true(
    tmp_path: Path,
) -> None:
    """A scheduled campaign that a person edits is a draft again; that status is known, and nothing is stopped."""
    async with night(tmp_path, stage(gala)) as n, n.open() as systems:
        plan = await n.approved(systems)
        n.estate.account("harbor").pro2.campaigns[101].status = 0
        row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.HELD and "The original is a draft now" in row.reason
        assert n.writes() == []


async def test_a_copy_that_is_still_leaving_is_not_called_sent(tmp_path: Path) -> None:
    """A long send is proven by its first mails; whoever reads the report must not take a part for the whole."""
    async with night(tmp_path, stage(gala)) as n:
        n.estate.account("harbor").pro2.send_seconds = 4
        row = only(await n.recover())
        assert row.outcome is ItemOutcome.CONFIRMED
        assert row.reason.startswith("copy 102 is leaving, 175 of 350 sent when it was last read")


async def test_a_read_that_is_refused_is_told_in_whole_sentences(tmp_path: Path) -> None:
    """What the remote said and what is asked stand in one line, so the first needs its full stop."""
    async with night(tmp_path, stage(gala)) as n, n.open() as systems:
        plan = await n.approved(systems)
        n.fault("pro2", "campaign", "401")
        row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.HELD
        assert "401" in row.reason and ". What should be done once it can be read again?" in row.reason


async def test_a_log_that_could_not_be_read_before_a_start_is_read_again_by_the_next_run(tmp_path: Path) -> None:
    """Nothing was sent, so nobody has to vouch for anything: `wait` and another run are enough."""
    async with night(tmp_path, stage(trigger)) as n, n.open() as systems:
        plan = await n.approved(systems)
        n.fault("dashboard", "activity_log", "html", times=4)
        row = items(await n.run(systems, plan))["trg"]
        assert row.outcome is ItemOutcome.HELD and "cannot be read" in row.reason
        assert items(await n.run(systems, plan))["trg"].outcome is ItemOutcome.CONFIRMED
        assert len(n.events("dashboard", "run_requested")) == 1
