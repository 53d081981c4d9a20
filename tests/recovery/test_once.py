"""At most once: overlapping incidents, runs side by side, runs that are stopped, a ledger that is lost on the way."""

import asyncio
from datetime import timedelta

import pytest

from recovery.model import ItemOutcome
from recovery.operate import audit_window, plan_from
from sandbox import scenario_campaigns as mail
from sandbox import scenario_jobs as jobs
from tests.recovery.stage import approve, items, night, only, stage

ZONE = "America/New_York"


def one(story, account):
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))


def some_of_each(story, account):
    """A campaign, a sync that lost a difference, a failed import and a missed trigger."""
    one(story, account)
    jobs.plant_import(story, account, "healthy", "Healthy import", jobs.cron("5 * * * *", ZONE), None, 400)
    at = jobs.once(story.started_at + timedelta(minutes=10))
    jobs.plant_import(story, account, "imp", "Guests", at, jobs.full_error, 401)
    jobs.plant_trigger(story, account, "trg", "Ticket scanned", at, jobs.no_activity, 12)
    jobs.plant_sync(
        story, account, "sync", "Members", at, list_id=501, tag="Members", mode="add_remove", size=12, lost=1, stale=1,
        fate=jobs.full_error,
    )  # fmt: skip


def effects(n):
    """What the product caused, by kind: copies, releases, requested runs, tag changes."""
    return {
        "copies": len(n.events("pro2", "copy")),
        "releases": len(n.events("pro2", "campaign_status", by="api", to=1)),
        "runs": sorted(r["requested_by"] for r in n.events("dashboard", "run_requested")),
        "tags": len(n.events("pro2", "tag_added", "tag_removed", by="api:7")),
    }


ONCE = {"copies": 1, "releases": 1, "runs": ["import", "reprocess", "run_now"], "tags": 2}


@pytest.mark.requirement("R001.15")
async def test_overlapping_incidents_in_two_names_make_one_copy_between_them(tmp_path):
    async with night(tmp_path, stage(one)) as n:
        first = n.window(incident="INC-A")
        second = n.window(incident="INC-B", end=first.ended_at - timedelta(minutes=30))
        assert only(await n.recover(first)).outcome is ItemOutcome.CONFIRMED
        async with n.open() as systems:
            assert await plan_from(systems, await audit_window(systems, second)) is None
        assert n.sent() == 350 and len(n.events("pro2", "copy")) == 1


@pytest.mark.requirement("R001.15")
async def test_two_runs_at_once_on_one_ledger_do_everything_once(tmp_path):
    async with night(tmp_path, stage(some_of_each)) as n, n.open() as systems:
        windows = [n.window(incident="INC-A"), n.window(incident="INC-B", start=n.window().started_at)]
        plans = [await plan_from(systems, await audit_window(systems, w)) for w in windows]
        for plan in plans:
            for person in ("Dana Reyes", "Sam Okafor"):
                await approve(systems, plan, person)
        done = await asyncio.gather(*(n.run(systems, p) for p in plans))
        assert effects(n) == ONCE
        for result in done:
            assert {r.outcome for r in result.items} == {ItemOutcome.CONFIRMED}
            assert result.balance.adds_up, result.balance
        assert await n.oracle() == []


async def test_a_run_again_after_a_good_one_finds_nothing_to_do(tmp_path):
    async with night(tmp_path, stage(some_of_each)) as n:
        done = await n.recover()
        assert done.balance.adds_up and done.exit_code == 0
        assert await n.plan() is None
        assert effects(n) == ONCE


# ---- stopped and gone on, with and without its memory ----------------------------------------------------------------


async def stop_after(n, count):
    """A run that the operator stops after so many writes; whether there were that many."""
    stop, sent = asyncio.Event(), []

    def tell(what, facts):
        if what == "sent":
            sent.append(facts["request"])
            if len(sent) == count:
                stop.set()

    n.tell = tell
    await n.recover(stop=stop)
    n.tell = lambda what, facts: None
    return stop.is_set()


@pytest.mark.parametrize("count", [1, 3, 4])
async def test_a_campaign_run_stopped_after_any_write_goes_on_to_one_delivery(tmp_path, count):
    async with night(tmp_path, stage(one)) as n:
        assert await stop_after(n, count)
        if await n.plan() is not None:
            await n.recover()
        assert n.sent() == 350 and len(n.events("pro2", "copy")) == 1
        assert await n.oracle() == []


@pytest.mark.parametrize("count", range(1, 5))
async def test_a_ledger_lost_after_any_write_of_a_resend_leads_to_no_second_delivery(tmp_path, count):
    async with night(tmp_path, stage(one)) as n:
        await stop_after(n, count)
        n.lose_ledger()
        n.claims.clear()
        if await n.plan() is not None:
            done = await n.recover()
            assert done.balance.adds_up, done.balance
            if count == 1:  # a bare stop might be anybody's, so a person is asked
                row = only(done)
                assert row.outcome is ItemOutcome.HELD and "resend" in row.question.choices
                await n.answer(row.slot_key, "resend")
                await n.recover()
        assert n.sent() == 350
        assert len(n.events("pro2", "campaign_status", by="api", to=1)) == 1
        assert [c for c in await n.oracle() if not (count == 1 and c.startswith("verdict"))] == []


@pytest.mark.parametrize("count", [1, 2, 4, 5])
async def test_a_ledger_lost_between_the_steps_of_jobs_and_syncs_doubles_nothing(tmp_path, count):
    async with night(tmp_path, stage(some_of_each)) as n:
        await stop_after(n, count)
        n.lose_ledger()
        n.claims.clear()
        if await n.plan() is not None:
            await n.recover()
        now = effects(n)
        assert (now["copies"], now["releases"], now["tags"]) == (1, 1, 2)
        assert now["runs"] == ONCE["runs"]
        assert await n.oracle() == []


async def test_losing_the_ledger_after_everything_changes_nothing(tmp_path):
    async with night(tmp_path, stage(some_of_each)) as n:
        await n.recover()
        n.lose_ledger()
        assert await n.plan() is None
        assert effects(n) == ONCE


# ---- replies that are lost -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("stop", "reset-after"),
        ("copy", "hang-after"),
        ("copy", "empty-ok"),
        ("release", "502-after"),
        ("release", "reset-after"),
        ("release", "html"),
        ("release", "hang-after"),
    ],
)
async def test_a_lost_reply_at_any_step_of_a_resend_ends_with_one_delivery_or_a_question(tmp_path, place, kind):
    async with night(tmp_path, stage(one), waits={"write_deadline_seconds": 0.4}) as n:
        op = "copy" if place == "copy" else "v1:campaign_status"
        n.fault("pro2", op, kind, after=1 if place == "release" else 0, seconds=1)
        row = only(await n.recover())
        assert row.outcome is ItemOutcome.CONFIRMED or row.question is not None
        assert n.sent() == (350 if row.outcome is ItemOutcome.CONFIRMED else 0)
        assert row.outcome is ItemOutcome.CONFIRMED, row.reason
        assert await n.oracle() == []


async def test_a_release_that_never_arrived_is_held_with_the_question_whether_it_happened(tmp_path):
    async with night(tmp_path, stage(one)) as n:
        n.fault("pro2", "v1:campaign_status", "reset-before", after=1)
        row = only(await n.recover())
        assert row.outcome is ItemOutcome.HELD
        assert {"it happened", "it did not happen"} <= set(row.question.choices)
        assert only(await n.recover()).outcome is ItemOutcome.HELD
        await n.answer(row.slot_key, "it did not happen")
        assert only(await n.recover()).outcome is ItemOutcome.CONFIRMED
        assert n.sent() == 350
        assert await n.oracle() == []


async def test_a_request_that_lands_late_is_seen_and_not_repeated(tmp_path):
    async with night(tmp_path, stage(one), waits={"settle_seconds": 1.0}) as n:
        n.fault("pro2", "v1:campaign_status", "lands-late", after=1, seconds=0.4)
        row = items(await n.recover())["101"]
        assert row.outcome is ItemOutcome.CONFIRMED
        assert n.sent() == 350
        assert await n.oracle() == []
