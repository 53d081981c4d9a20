"""What becomes of each kind of campaign that an outage can leave behind, one account each, all in one run."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace

import pytest

from recovery.model import ItemOutcome
from sandbox import scenario_campaigns as mail
from sandbox.pro2_records import SCHEDULED
from tests.recovery.stage import Night, items, night, stage

CASES = {
    "overdue": mail.overdue_small,
    "refused": mail.stop_refused,
    "ignored": mail.stop_without_effect,
    "empty": mail.empty_report,
    "zero": mail.stuck_at_zero,
    "disagree": mail.disagreeing,
    "partly": mail.partly_sent,
    "review": mail.pending_approval,
    "paused": mail.paused_before,
    "disabled": mail.disabled_before,
    "byhand": mail.copied_by_hand,
    "over": mail.event_over,
    "sent": mail.sent,
}


def plant(story, account):
    due = story.started_at + timedelta(minutes=20)
    if account.name in CASES:
        CASES[account.name](story, account, "Gala", due)
    elif account.name == "series":
        account.pro2.add_campaign("Welcome, part 2", SCHEDULED, sdate=due, lists=[2], stuck=True, type="responder")


async def play(folder):
    """One run over all; then a named person overrules the refused stop, and a second run."""
    async with night(folder, stage(plant, names=(*CASES, "series"))) as n:
        before = await n.audit()
        first = await n.recover()
        writes, held = n.writes(), {r.account: r for r in first.items}
        after_first = await n.oracle()
        await n.answer(held["refused"].slot_key, "release anyway")
        second = await n.recover()
        return SimpleNamespace(
            night=n, before=before, first=held, writes=writes, second={r.account: r for r in second.items},
            after_first=after_first, after_second=await n.oracle(), balance=first.balance,
        )  # fmt: skip


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return asyncio.run(play(tmp_path_factory.mktemp("campaigns")))


def of(rows, account):
    return [r for r in rows if r["account"] == account]


@pytest.mark.requirement("R001.10", "R001.11", "R001.12")
def test_the_original_is_stopped_then_marked_then_copied_then_the_copy_is_released(played):
    made = [(r["event"], r.get("to"), r.get("campaign", r.get("from"))) for r in of(played.writes, "overdue")]
    (copy,) = [r["to"] for r in of(played.writes, "overdue") if r["event"] == "copy"]
    assert [m for m in made if m[0] != "edit"] == [
        ("campaign_status", 4, "101"),
        ("copy", copy, "101"),
        ("campaign_status", 1, copy),
    ]
    assert made[1] == ("edit", None, "101")


@pytest.mark.requirement("R001.5", "R001.12")
def test_a_copy_is_called_sent_only_with_the_remotes_own_count(played):
    row = played.first["overdue"]
    assert row.outcome is ItemOutcome.CONFIRMED
    assert "350 of 350" in row.reason and "original stayed at rest" in row.reason


@pytest.mark.requirement("R001.6")
@pytest.mark.parametrize("account", ["empty", "zero"])
def test_nothing_sent_at_all_is_resent(played, account):
    assert played.first[account].outcome is ItemOutcome.CONFIRMED
    delivered = played.night.events("pro2", "delivery", account=account)
    assert sum(r["count"] for r in delivered) == 350


@pytest.mark.requirement("R001.12")
@pytest.mark.parametrize("account", ["refused", "ignored"])
def test_no_copy_is_made_while_the_stop_is_not_confirmed(played, account):
    row = played.first[account]
    assert row.outcome is ItemOutcome.HELD
    assert "stop" in row.question.text and "release anyway" in row.question.choices
    assert not [r for r in of(played.writes, account) if r["event"] == "copy"]


@pytest.mark.requirement("R001.12")
def test_a_recorded_override_lets_the_copy_go_although_the_stop_was_refused(played):
    assert played.second["refused"].outcome is ItemOutcome.CONFIRMED
    assert len(played.night.events("pro2", "copy", account="refused")) == 1
    # The oracle does not know of the override and says so; it finds nothing else.
    assert [c.partition(" ")[0] for c in played.after_second] == ["forbidden"]


@pytest.mark.requirement("R001.7")
@pytest.mark.parametrize("account", ["disagree", "partly", "review", "byhand", "series"])
def test_what_is_doubtful_is_held_with_a_question_and_not_touched(played, account):
    row = played.first[account]
    assert row.outcome is ItemOutcome.HELD and row.question is not None and row.question.text
    assert of(played.writes, account) == []


@pytest.mark.requirement("R001.8")
@pytest.mark.parametrize("account", ["paused", "disabled"])
def test_what_a_person_took_off_before_it_was_due_is_skipped_with_that_reason(played, account):
    row = played.first[account]
    assert row.outcome is ItemOutcome.SKIPPED and "not live when it was due" in row.reason
    assert of(played.writes, account) == []


@pytest.mark.requirement("R001.8")
def test_data_and_a_sent_status_mean_done_and_nothing_is_done(played):
    assert "sent" not in played.first
    assert of(played.writes, "sent") == []


def test_what_is_past_its_validity_is_dropped_with_the_reason(played):
    row = played.first["over"]
    assert row.outcome is ItemOutcome.SKIPPED and "The event has begun" in row.reason
    assert of(played.writes, "over") == []


@pytest.mark.requirement("R001.39")
def test_the_balance_adds_up_and_the_oracle_agrees(played):
    assert played.balance.adds_up, played.balance
    assert (played.balance.recovered, played.balance.skipped) == (3, 3)
    assert played.after_first == []


@pytest.mark.requirement("R001.15")
def test_a_second_run_makes_no_second_copy(played):
    for account in ("overdue", "empty", "zero"):
        assert len(played.night.events("pro2", "copy", account=account)) == 1


# ---- the original moves by itself ------------------------------------------------------------------------------------


def one(story, account):
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))


def when_released(n: Night, then):
    """Calls `then` as soon as the order to release has been answered."""

    def tell(what, facts):
        if what == "sent" and facts["request"].startswith("release copy"):
            then()

    n.tell = tell


@pytest.mark.requirement("R001.14")
@pytest.mark.parametrize("send_seconds", [0, 60])
async def test_an_original_that_moves_while_the_copy_is_armed_stops_the_copy(tmp_path, send_seconds):
    """Whether the original has gone (skipped) or only begun to go (held: it may stand still again)."""
    async with night(tmp_path, stage(one), waits={"arm_seconds": 6}) as n:
        pro2 = n.estate.account("harbor").pro2

        def moves():
            pro2.send_seconds = send_seconds
            pro2.let_go_late(101)
            n.estate.run_due()

        when_released(n, moves)
        row = items(await n.recover())["101"]
        assert row.outcome is (ItemOutcome.HELD if send_seconds else ItemOutcome.SKIPPED)
        assert [r["to"] for r in n.events("pro2", "campaign_status", campaign="102")] == [1, 4]
        assert n.sent() == 0
        assert await n.oracle() == []


@pytest.mark.requirement("R001.14", "R001.35")
async def test_an_original_that_goes_out_after_the_release_is_reported_with_bounds_and_an_alarm(tmp_path):
    async with night(tmp_path, stage(one)) as n:
        pro2 = n.estate.account("harbor").pro2
        pro2.send_seconds = 0

        def both():
            n.estate.run_due()
            pro2.let_go_late(101)
            n.estate.run_due()

        when_released(n, both)
        done = await n.recover()
        assert "between 350 and 350 people got it twice" in items(done)["101"].reason
        assert [f["text"] for what, f in n.told if what == "alarm"] == list(done.problems)
        assert done.balance.doubles == 1 and done.exit_code == 1
        assert await n.oracle() == []


@pytest.mark.requirement("R001.14")
async def test_an_original_that_goes_out_before_the_release_ends_the_item_without_a_copy_sent(tmp_path):
    async with night(tmp_path, stage(one)) as n:
        pro2 = n.estate.account("harbor").pro2

        def tell(what, facts):
            if what == "sent" and facts["request"].startswith("duplicate"):
                pro2.send_seconds = 0
                pro2.let_go_late(101)
                n.estate.run_due()

        n.tell = tell
        row = items(await n.recover())["101"]
        assert row.outcome is ItemOutcome.SKIPPED and "went out by itself" in row.reason
        assert n.sent() == 0
        assert await n.oracle() == []


# ---- option A: watch -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R001.9")
async def test_within_the_monitoring_time_a_campaign_is_watched_until_it_is_sent_or_the_limit(tmp_path):
    async with night(tmp_path, stage(one, names=("goes", "stays")), waits={"monitor_seconds": 86400}) as n:
        plan = await n.plan()
        assert [i.remedy.value for i in plan.items] == ["monitor", "monitor"]
        n.estate.account("goes").pro2.let_go_late(101)
        n.policy()  # the monitoring time is over now
        await asyncio.sleep(0.3)
        async with n.open() as systems:
            rows = {r.account: r for r in (await n.run(systems, plan)).items}
        assert rows["goes"].outcome is ItemOutcome.SKIPPED and "went out by itself" in rows["goes"].reason
        assert rows["stays"].outcome is ItemOutcome.HELD and "resend" in rows["stays"].question.choices
        assert n.writes() == []
        await n.answer(rows["stays"].slot_key, "resend")
        (item,) = (await n.plan()).items
        assert item.remedy.value == "resend" and "Dana Reyes chose" in item.reason


async def test_a_campaign_older_than_policy_allows_is_asked_about(tmp_path):
    async with night(tmp_path, stage(one), top="valid_for_hours = 1") as n:
        (item,) = (await n.plan()).items
        assert item.remedy.value == "hold" and "still worth sending" in item.question


@pytest.mark.requirement("R001.1", "R001.2")
async def test_a_campaign_on_the_end_of_the_window_is_outside_and_one_on_its_start_is_inside(tmp_path):
    def edges(story, account):
        mail.overdue_small(story, account, "At the start", story.started_at)
        mail.overdue_small(story, account, "At the end", story.ended_at)

    async with night(tmp_path, stage(edges)) as n:
        assert set(await n.audit()) == {"101"}


@pytest.mark.requirement("R001.4", "R001.7")
async def test_an_unreadable_report_makes_a_campaign_uncertain_and_nothing_is_sent(tmp_path):
    async with night(tmp_path, stage(one)) as n:
        n.fault("pro2", "v1:campaign_report_totals", "html-before", times=-1)
        finding = (await n.audit())["101"]
        assert finding.verdict.value == "uncertain" and finding.code == "unreadable"
        row = items(await n.recover())["101"]
        assert row.outcome is ItemOutcome.HELD
        assert n.writes() == []


@pytest.mark.requirement("R001.3")
async def test_automations_are_listed_and_held_and_nothing_is_done_to_them(tmp_path):
    def automation(story, account):
        account.pro2.add_automation(11, "Welcome series", entered=340)

    async with night(tmp_path, stage(automation)) as n:
        row = items(await n.recover())["11"]
        assert (row.kind, row.outcome) == ("automation", ItemOutcome.HELD)
        assert n.writes() == []
