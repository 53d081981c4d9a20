"""What keeps a plan from acting: approvals, expiry, drift, quiet hours, the kill switch, caps, an empty plan."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from recovery.errors import RefusedError
from recovery.model import ItemOutcome
from recovery.operate import Run, audit_window, plan_from
from recovery.plan import freeze, select
from sandbox import scenario_campaigns as mail
from sandbox import scenario_jobs as jobs
from tests.recovery.stage import approve, items, night, only, stage


def one(story, account):
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))


def three(story, account):
    for n in range(3):
        mail.overdue_small(story, account, f"Gala {n}", story.started_at + timedelta(minutes=20 + n))


async def planned(n, systems):
    plan = await plan_from(systems, await audit_window(systems, n.window()))
    assert plan is not None
    return plan


# ---- approvals -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R001.13")
async def test_without_approval_everything_that_acts_is_held_and_nothing_is_touched(tmp_path):
    async with night(tmp_path, stage(one)) as n:
        row = only(await n.recover(by=()))
        assert row.outcome is ItemOutcome.HELD and "nobody has approved" in row.reason
        assert n.writes() == []


@pytest.mark.requirement("R001.13", "R001.34")
async def test_an_approval_without_the_caveat_is_refused(tmp_path):
    async with night(tmp_path, stage(one)) as n, n.open() as systems:
        with pytest.raises(RefusedError, match="caveat"):
            await approve(systems, await planned(n, systems), "Dana Reyes", caveat=False)


async def test_an_approval_with_another_number_of_recipients_is_refused(tmp_path):
    async with night(tmp_path, stage(one)) as n, n.open() as systems:
        with pytest.raises(RefusedError, match="350"):
            await approve(systems, await planned(n, systems), "Dana Reyes", recipients=3)


async def test_an_approval_of_one_plan_is_none_of_another(tmp_path):
    async with night(tmp_path, stage(three)) as n, n.open() as systems:
        whole = await planned(n, systems)
        part = select(whole, systems.policy, only=["101"])
        await systems.ledger.save_plan(part)
        await approve(systems, part, "Dana Reyes")
        done = await n.run(systems, whole)
        assert {r.outcome for r in done.items} == {ItemOutcome.HELD}
        assert n.writes() == []


async def test_an_approval_of_some_items_lets_only_those_act(tmp_path):
    async with night(tmp_path, stage(three)) as n, n.open() as systems:
        plan = await planned(n, systems)
        chosen = next(i for i in plan.items if i.slot.object_ref == "102")
        await approve(systems, plan, "Dana Reyes", items=(chosen.slot.key,), recipients=chosen.audience)
        rows = items(await n.run(systems, plan))
        assert {k: r.outcome.value for k, r in rows.items()} == {"101": "held", "102": "confirmed", "103": "held"}


async def test_whoever_starts_the_run_cannot_be_the_only_one_to_approve_a_large_audience(tmp_path):
    async with night(tmp_path, stage(one), limits={"two_people_above": 100}) as n:
        row = only(await n.recover(by=("Dana Reyes",), starter="Dana Reyes"))
        assert row.outcome is ItemOutcome.HELD and "somebody other than" in row.reason
        assert only(await n.recover(by=("Sam Okafor",), starter="Dana Reyes")).outcome is ItemOutcome.CONFIRMED


async def test_a_very_large_audience_needs_two_people(tmp_path):
    async with night(tmp_path, stage(one), limits={"two_approvers_above": 100}) as n:
        row = only(await n.recover(by=("Dana Reyes",)))
        assert row.outcome is ItemOutcome.HELD and "2 different people" in row.reason
        assert n.writes() == []


async def test_an_expired_plan_does_nothing(tmp_path):
    async with night(tmp_path, stage(one), top="plan_expires_minutes = 0.02") as n, n.open() as systems:
        plan = await planned(n, systems)
        await approve(systems, plan, "Dana Reyes")
        await asyncio.sleep(1.3)
        row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.HELD and "expired" in row.reason
        assert n.writes() == []


async def test_a_plan_that_was_changed_after_it_was_made_is_refused(tmp_path):
    async with night(tmp_path, stage(one)) as n, n.open() as systems:
        plan = await planned(n, systems)
        await approve(systems, plan, "Dana Reyes")
        changed = replace(plan, items=tuple(replace(i, reason="something else") for i in plan.items))
        with pytest.raises(RefusedError, match="changed"):
            await Run(systems, changed, "test").recover()
        assert n.writes() == []


async def test_an_empty_plan_is_refused_and_never_means_everything(tmp_path):
    async with night(tmp_path, stage(one)) as n, n.open() as systems:
        plan = await planned(n, systems)
        with pytest.raises(RefusedError, match="leaves no item"):
            select(plan, systems.policy, kinds=["scheduled_trigger"])
        with pytest.raises(RefusedError, match="empty"):
            await Run(systems, freeze(plan.window, (), plan.made_at, systems.policy), "test").recover()
        assert n.writes() == []


# ---- the world moved -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R001.14")
async def test_an_item_that_went_out_since_the_plan_is_skipped_with_the_reason(tmp_path):
    async with night(tmp_path, stage(one)) as n:
        plan = await n.plan()
        pro2 = n.estate.account("harbor").pro2
        pro2.send_seconds = 0
        pro2.let_go_late(101)
        n.estate.run_due()
        async with n.open() as systems:
            await approve(systems, plan, "Dana Reyes")
            row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.SKIPPED and "went out by itself" in row.reason
        assert n.writes() == []


async def test_a_colleagues_copy_sent_since_the_plan_holds_ours_back(tmp_path):
    async with night(tmp_path, stage(one)) as n:
        plan = await n.plan()
        pro2 = n.estate.account("harbor").pro2
        copy = pro2.copy(pro2.campaigns[101], user=1)
        pro2.schedule(copy, n.world.now(), user=1)
        async with n.open() as systems:
            await approve(systems, plan, "Dana Reyes")
            row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.HELD and f"by hand already: {copy.id}" in row.question.text
        assert [r["campaign"] for r in n.events("pro2", "campaign_status", by="api", api_user=7)] == ["101"]


@pytest.mark.requirement("R001.14", "R001.15")
@pytest.mark.parametrize(
    "name",
    ["Gala", "A very long gala " * 20, "Gala [RK-ABCDEFGHIJKLMNOP]", "[RK-forged] Gala"],
    ids=["short", "too-long", "our-copy-of-another-outage", "forged"],
)
async def test_a_colleagues_copy_holds_ours_back_in_a_plan_made_after_the_original_was_renamed(tmp_path, name):
    """The plan then reads the name with our marks round it, and the colleague's copy has the name without them."""
    async with night(tmp_path, stage(one)) as n:
        pro2 = n.estate.account("harbor").pro2
        pro2.campaigns[101].name = name[:255]
        copy = pro2.copy(pro2.campaigns[101], user=1)
        copy.name = name[:255]
        pro2.schedule(copy, n.world.now(), user=1)
        for _ in range(2):
            row = only(await n.recover())
            assert row.outcome is ItemOutcome.HELD and f"by hand already: {copy.id}" in row.question.text
        assert pro2.campaigns[101].name.startswith("[STOPPED, replaced]")
        assert [r["campaign"] for r in n.events("pro2", "campaign_status", by="api", api_user=7)] == ["101"]


async def test_the_copy_that_goes_out_does_not_carry_the_words_that_mark_its_stopped_original(tmp_path):
    """A copy takes its original's name over, and people read in the list of campaigns what went out and what not."""
    async with night(tmp_path, stage(one)) as n:
        assert only(await n.recover()).outcome is ItemOutcome.CONFIRMED
        original, copy = (n.estate.account("harbor").pro2.campaigns[ref].name for ref in (101, 102))
        assert original.startswith("[STOPPED, replaced] ") and "STOPPED" not in copy
        marker = original[original.index("[RK-") :]
        assert copy.endswith(f" {marker}") and copy.count("[RK-") == 1


async def test_quiet_hours_of_the_account_hold_what_reaches_people_and_nothing_else(tmp_path):
    def mixed(story, account):
        one(story, account)
        jobs.plant_import(story, account, "healthy", "Hourly", jobs.cron("5 * * * *", "UTC"), None, 400)
        at = jobs.once(story.started_at + timedelta(minutes=10))
        jobs.plant_import(story, account, "imp", "Guests", at, jobs.no_activity, 401)
        jobs.plant_trigger(story, account, "trg", "Ticket scanned", at, jobs.no_activity, 12)

    # 08:20 UTC is 03:20 in New York that night.
    async with night(tmp_path, stage(mixed), tables="[quiet_hours]\nstart = 22:00:00\nend = 07:00:00") as n:
        rows = items(await n.recover())
        assert rows["101"].outcome is ItemOutcome.HELD and "quiet hours in America/New_York" in rows["101"].reason
        assert rows["trg"].outcome is ItemOutcome.HELD and "quiet hours in America/New_York" in rows["trg"].reason
        assert rows["imp"].outcome is ItemOutcome.CONFIRMED
        assert n.sent() == 0 and not n.events("dashboard", "run_requested", definition="trg")
        n.policy()
        again = items(await n.recover())
        assert {again[ref].outcome for ref in ("101", "trg")} == {ItemOutcome.CONFIRMED}


async def test_a_campaign_whose_time_runs_out_between_copy_and_release_stays_a_draft(tmp_path):
    async with night(tmp_path, stage(one)) as n:
        plan = await n.plan()
        moment = (n.world.now() - timedelta(minutes=1)).isoformat(timespec="seconds").replace("+00:00", "Z")
        n.estate.story.valid_until.append(
            {"account": "harbor", "object": "101", "at": moment, "reason": "The doors are open"}
        )
        n.policy()
        async with n.open() as systems:
            await approve(systems, plan, "Dana Reyes")
            row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.SKIPPED and "The doors are open" in row.reason
        assert n.sent() == 0


# ---- the kill switch -------------------------------------------------------------------------------------------------


async def file_switch(n, systems, monkeypatch):
    (n.folder / "STOP").write_text("")


async def env_switch(n, systems, monkeypatch):
    monkeypatch.setenv("ALLCLEAR_KILL", "1")


async def row_switch(n, systems, monkeypatch):
    await systems.ledger.set_kill("Dana Reyes", "two copies seen")


@pytest.mark.parametrize("throw", [file_switch, env_switch, row_switch])
async def test_the_kill_switch_stops_every_write_wherever_it_is_thrown(tmp_path, throw, monkeypatch):
    async with night(tmp_path, stage(one)) as n, n.open() as systems:
        plan = await planned(n, systems)
        await approve(systems, plan, "Dana Reyes")
        await throw(n, systems, monkeypatch)
        row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.HELD and "kill switch" in row.reason
        assert n.writes() == []


async def test_a_kill_switch_thrown_in_the_middle_stops_before_the_next_write(tmp_path):
    async with night(tmp_path, stage(one)) as n:

        def throw(what, facts):
            if what == "sent" and facts["request"].startswith("duplicate"):
                (n.folder / "STOP").write_text("")

        n.tell = throw
        row = only(await n.recover())
        assert row.outcome is ItemOutcome.HELD and "kill switch" in row.reason
        assert n.sent() == 0 and len(n.events("pro2", "copy")) == 1
        (n.folder / "STOP").unlink()
        n.tell = lambda what, facts: None
        assert only(await n.recover()).outcome is ItemOutcome.CONFIRMED
        assert len(n.events("pro2", "copy")) == 1 and n.sent() == 350
        assert await n.oracle() == []


async def test_a_kill_switch_thrown_while_a_copy_is_armed_takes_it_back(tmp_path):
    async with night(tmp_path, stage(one), waits={"arm_seconds": 6}) as n:

        def throw(what, facts):
            if what == "sent" and facts["request"].startswith("release"):
                (n.folder / "STOP").write_text("")

        n.tell = throw
        row = only(await n.recover())
        assert row.outcome is ItemOutcome.HELD and "disarmed" in row.reason
        assert n.sent() == 0


# ---- caps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "sent"),
    [
        ("releases_per_run", 2),
        ("recipients_per_run", 700),
        ("recipients_per_hour", 700),
        ("mails_per_person_a_day", 2),
    ],
)
async def test_a_cap_lets_so_many_go_and_holds_the_rest(tmp_path, limit, sent):
    async with night(tmp_path, stage(three), limits={limit: sent}) as n:
        done = await n.recover()
        outcomes = sorted(r.outcome.value for r in done.items)
        assert outcomes == ["confirmed", "confirmed", "held"]
        assert n.sent() == 700
        assert done.balance.adds_up
        assert await n.oracle() == []


async def test_starting_the_same_plan_again_does_not_lift_the_cap_of_a_run(tmp_path):
    async with night(tmp_path, stage(three), limits={"releases_per_run": 2}) as n:
        done = await n.recover()
        async with n.open() as systems:
            await n.run(systems, done.plan)
        assert n.sent() == 700


async def test_what_reaches_people_leaves_in_waves(tmp_path):
    async with night(tmp_path, stage(three), limits={"waves": "[1, 5, 25]", "wave_bake_seconds": 0.01}) as n:
        assert [i.wave for i in (await n.plan()).items] == [1, 2, 2]
        await n.recover()
        assert [f["wave"] for what, f in n.told if what == "bake"] == [2]


async def test_two_lost_replies_in_a_row_stop_every_further_release(tmp_path):
    async with night(tmp_path, stage(three)) as n:
        n.fault("pro2", "copy", "502", times=2)
        done = await n.recover()
        assert {r.outcome for r in done.items} == {ItemOutcome.HELD}
        assert all("replies in a row were lost" in r.reason for r in done.items)
        assert n.sent() == 0


async def test_replies_that_one_accounts_remotes_lose_stop_no_release_of_another(tmp_path):
    async with night(tmp_path, stage(three, names=("able", "baker"))) as n:
        n.fault("pro2", "copy", "502", "able", times=2)
        done = await n.recover()
        by_account = {name: {r.outcome for r in done.items if r.account == name} for name in ("able", "baker")}
        assert by_account == {"able": {ItemOutcome.HELD}, "baker": {ItemOutcome.CONFIRMED}}
        assert await n.oracle() == []
