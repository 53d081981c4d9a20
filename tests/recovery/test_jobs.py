"""What becomes of each kind of Tessitura job that an outage can leave behind, one account each, all in one run."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace

import pytest

from recovery.model import ItemOutcome
from sandbox import scenario_jobs as jobs
from tests.recovery.stage import approve, items, night, stage

ZONE = "America/New_York"
HOURLY = jobs.cron("30 * * * *", ZONE)  # 05:30 and 06:30 UTC
IMPORTS = {
    "failed": jobs.full_error,
    "partial": jobs.partial_error,
    "hangs": jobs.hangs,
    "refuses": jobs.hangs_stop_refused,
    "ignores": jobs.hangs_stop_ignored,
    "silent": jobs.no_activity,
    "late": jobs.succeeded_late,
    "strange": jobs.unknown_word,
}
TRIGGERS = {"fired": jobs.no_activity, "tfailed": jobs.full_error}
OTHERS = {"segment": "segment_transfer", "address": "eaddress_sync"}


def plant(story, account):
    name, once = account.name, jobs.once(story.started_at + timedelta(minutes=10))
    # A healthy import keeps the Activity Log moving: a log that shows nothing newer than a slot proves nothing.
    jobs.plant_import(story, account, "healthy", "Healthy import", jobs.cron("5 * * * *", ZONE), None, 400)
    if name in IMPORTS:
        jobs.plant_import(story, account, "imp", "Guests", once, IMPORTS[name], 401)
    elif name in TRIGGERS:
        account.pro2.add_automation(12, "After the show")
        jobs.plant_trigger(story, account, "trg", "Ticket scanned", HOURLY, TRIGGERS[name], 12)
    elif name in OTHERS:
        jobs.plant(story, account, "job", OTHERS[name], "Nightly", once, {"*": jobs.no_activity})
    elif name == "hourly":
        jobs.plant_import(story, account, "imp", "Guests", HOURLY, jobs.no_activity, 401)
    else:
        young(story, account)


def young(story, account):
    """Due shortly before the end of the window and still running well within the limit; it ends by itself."""
    at = story.ended_at - timedelta(minutes=5)
    jobs.plant_import(story, account, "imp", "Guests", jobs.once(at), None, 401)
    run = next(r for r in account.dashboard.runs.values() if r.definition_id == "imp")
    run.state, run.ended_at, run.counts = "running", None, None
    run.ends_at = story.now + timedelta(seconds=3)
    story.plot.items[-1]["expected"] = ["uncertain", "done"]


async def play(folder):
    names = (*IMPORTS, *TRIGGERS, *OTHERS, "hourly", "young")
    async with night(folder, stage(plant, names=names), waits={"stop_check_seconds": 0.3}) as n:
        plan = await n.plan()
        first = await n.recover()
        clean = await n.oracle()
        jobs_only = [r for r in first.items if r.system == "dashboard"]
        rows = {r.account: r for r in sorted(jobs_only, key=lambda r: r.due_at)}
        asked = {a: [r["requested_by"] for r in n.events("dashboard", "run_requested", account=a)] for a in names}
        stops = {a: [r["result"] for r in n.events("dashboard", "stop", account=a)] for a in names}
        await n.answer(rows["hangs"].slot_key, "reprocess")
        second = await n.recover()
        return SimpleNamespace(
            night=n, plan=plan, rows=rows, all=first.items, asked=asked, stops=stops, clean=clean,
            balance=first.balance, second={r.account: r for r in second.items}, clean_again=await n.oracle(),
        )  # fmt: skip


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return asyncio.run(play(tmp_path_factory.mktemp("jobs")))


@pytest.mark.requirement("R001.18")
@pytest.mark.parametrize("account", ["failed", "tfailed"])
def test_a_full_error_report_is_reprocessed_once_and_proven_by_its_end(played, account):
    row = played.rows[account]
    assert row.outcome is ItemOutcome.CONFIRMED and "succeeded" in row.reason
    assert played.asked[account] == ["reprocess"]


@pytest.mark.requirement("R001.19")
def test_a_partial_error_is_held_and_nothing_is_run(played):
    row = played.rows["partial"]
    assert row.outcome is ItemOutcome.HELD and "22 of 31 updated, 9 errors" in row.reason
    assert played.asked["partial"] == []


@pytest.mark.requirement("R001.19")
def test_the_rows_that_failed_are_shown_with_the_question(played):
    """The first in the reason that a person reads, all of them with the item."""
    first = "; ".join(f"row {n} (constituent {7100 + n}): <b>Timeout</b>" for n in range(1, 6))
    assert f"9 errors; {first} and 4 more" in played.rows["partial"].reason
    (item,) = [i for i in played.plan.items if i.slot.account == "partial"]
    assert item.before["error_rows"] == [f"row {n} (constituent {7100 + n}): <b>Timeout</b>" for n in range(1, 10)]


@pytest.mark.requirement("R001.19")
async def test_an_error_report_that_cannot_be_read_is_said_with_the_question(tmp_path):
    def plant_partial(story, account):
        jobs.plant_import(story, account, "healthy", "Healthy import", jobs.cron("5 * * * *", ZONE), None, 400)
        at = story.started_at + timedelta(minutes=10)
        jobs.plant_import(story, account, "imp", "Guests", jobs.once(at), jobs.partial_error, 401)

    async with night(tmp_path, stage(plant_partial)) as n:
        n.fault("dashboard", "report", "html", times=-1)
        (item,) = (await n.plan()).items
        assert "9 errors; its error report: " in item.reason


@pytest.mark.requirement("R001.21", "R001.24")
def test_after_a_stop_that_worked_a_person_is_asked_before_anything_is_run(played):
    row = played.rows["hangs"]
    assert played.stops["hangs"] == ["accepted"]
    assert row.outcome is ItemOutcome.HELD and "reprocess" in row.question.choices
    assert played.asked["hangs"] == []


@pytest.mark.requirement("R001.24")
def test_the_answer_reprocess_lets_the_stopped_job_run_again(played):
    assert played.second["hangs"].outcome is ItemOutcome.CONFIRMED
    assert len(played.night.events("dashboard", "run_requested", account="hangs")) == 1


@pytest.mark.requirement("R001.21", "R001.23")
@pytest.mark.parametrize(("account", "result"), [("refuses", "refused"), ("ignores", "accepted")])
def test_a_stop_that_does_not_work_is_followed_by_reprocess(played, account, result):
    assert played.stops[account] == [result]
    assert played.asked[account] == ["reprocess"]
    assert played.rows[account].outcome is ItemOutcome.CONFIRMED


@pytest.mark.requirement("R001.22")
def test_a_young_running_job_is_watched_to_its_end_and_never_stopped(played):
    row = played.rows["young"]
    assert row.outcome is ItemOutcome.SKIPPED and "by itself" in row.reason
    assert (played.stops["young"], played.asked["young"]) == ([], [])


@pytest.mark.requirement("R001.20", "R001.33")
def test_an_import_without_any_activity_is_repeated_once(played):
    assert played.rows["silent"].outcome is ItemOutcome.CONFIRMED
    assert played.asked["silent"] == ["repeat"]


@pytest.mark.requirement("R001.32")
def test_two_missed_slots_of_a_trigger_become_one_run_now(played):
    rows = [r for r in played.all if (r.account, r.kind) == ("fired", "scheduled_trigger")]
    assert sorted(r.outcome.value for r in rows) == ["confirmed", "skipped"]
    assert played.asked["fired"] == ["run_now"]
    assert len(played.night.events("dashboard", "automation_entered", account="fired")) == 1


@pytest.mark.requirement("R001.33")
def test_two_missed_slots_of_an_import_become_one_repeat(played):
    assert played.asked["hourly"] == ["repeat"]


@pytest.mark.requirement("R001.36", "R001.37")
@pytest.mark.parametrize("account", ["segment", "address"])
def test_kinds_that_the_playbook_does_not_cover_are_held_and_not_run(played, account):
    row = played.rows[account]
    assert row.outcome is ItemOutcome.HELD and "Contact Us" in row.question.text
    assert played.asked[account] == []


@pytest.mark.requirement("R001.16", "R001.17")
def test_a_job_that_succeeded_late_by_itself_is_done(played):
    assert "late" not in played.rows
    assert played.asked["late"] == []


def test_a_state_that_nobody_has_documented_is_held(played):
    assert played.rows["strange"].outcome is ItemOutcome.HELD
    assert played.asked["strange"] == []


@pytest.mark.requirement("R001.32", "R001.34")
def test_every_repeat_carries_the_caveat_and_is_called_irreversible(played):
    acting = [i for i in played.plan.items if i.actions]
    assert acting and all("cannot guarantee" in i.caveat for i in acting)
    (trigger,) = [i for i in acting if i.slot.account == "fired"]
    assert "cannot be stopped once queued" in trigger.caveat
    assert not any(a.reversible for i in acting for a in i.actions)


@pytest.mark.requirement("R001.39")
def test_both_runs_add_up_and_the_oracle_agrees(played):
    assert played.balance.adds_up, played.balance
    assert played.clean == []
    # By the second run the job was stopped, so its verdict is another one; nothing else is complained of.
    assert [c for c in played.clean_again if not c.startswith("verdict")] == []


# ---- what has no step ------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R001.36")
async def test_promotions_and_whatever_else_runs_there_are_listed_by_name_held_and_never_run(tmp_path):
    """Whether they failed, hang or left no trace."""
    story_of = {"promotion": jobs.full_error, "customer_service_issue": jobs.no_activity, "webhook": jobs.hangs}

    def plant_others(story, account):
        jobs.plant_import(story, account, "healthy", "Healthy import", jobs.cron("5 * * * *", ZONE), None, 400)
        at = jobs.once(story.started_at + timedelta(minutes=10))
        for word, became in story_of.items():
            jobs.plant(story, account, word, word, "Nightly", at, {"*": became})

    async with night(tmp_path, stage(plant_others)) as n:
        held = items(await n.recover())
        assert {ref: row.name for ref, row in held.items()} == {w: f"Nightly ({w})" for w in story_of}
        assert {row.outcome for row in held.values()} == {ItemOutcome.HELD}
        assert all("Contact Us" in row.question.text for row in held.values())
        assert n.writes() == []


# ---- what moves meanwhile --------------------------------------------------------------------------------------------


def failed_import(story, account):
    jobs.plant_import(story, account, "healthy", "Healthy import", jobs.cron("5 * * * *", ZONE), None, 400)
    at = story.started_at + timedelta(minutes=10)
    jobs.plant_import(story, account, "imp", "Guests", jobs.once(at), jobs.full_error, 401)


@pytest.mark.requirement("R001.22", "R001.35")
async def test_while_a_run_of_the_definition_is_under_way_none_is_started(tmp_path):
    """The next scheduled run began after the plan was made; beside it ours would do the same work twice at once."""
    async with night(tmp_path, stage(failed_import)) as n:
        plan = await n.plan()
        dashboard = n.estate.account("harbor").dashboard
        dashboard.add_run("imp", run_id="next", state="running", scheduled_for=n.world.now(), started_at=n.world.now())
        async with n.open() as systems:
            await approve(systems, plan, "Dana Reyes")
            row = items(await n.run(systems, plan))["imp"]
        assert row.outcome is ItemOutcome.HELD and "Run next of this definition is under way" in row.question.text
        assert n.writes() == []


@pytest.mark.requirement("R001.35")
async def test_a_job_that_a_colleague_ran_after_the_plan_is_not_run_again(tmp_path):
    async with night(tmp_path, stage(failed_import)) as n:
        plan = await n.plan()
        dashboard = n.estate.account("harbor").dashboard
        dashboard.start_run(n.world, "imp", "repeat")
        async with n.open() as systems:
            await approve(systems, plan, "Dana Reyes")
            done = await n.run(systems, plan)
        assert done.balance.adds_up, done.balance
        assert len(n.events("dashboard", "run_requested")) == 1  # the colleague's
        assert items(done)["imp"].outcome is ItemOutcome.CONFIRMED


async def test_a_run_of_ours_that_fails_is_held_and_not_run_a_third_time(tmp_path):
    async with night(tmp_path, stage(failed_import)) as n:
        n.estate.account("harbor").dashboard.knobs.run_outcome = "failed"
        row = items(await n.recover())["imp"]
        assert row.outcome is ItemOutcome.HELD and "ended as failed" in row.reason
        again = items(await n.recover())["imp"]
        assert again.outcome is ItemOutcome.HELD
        assert len(n.events("dashboard", "run_requested")) == 1


@pytest.mark.requirement("R001.38")
async def test_a_dashboard_that_does_not_offer_the_step_gets_a_question_instead_of_a_call(tmp_path):
    async with night(tmp_path, stage(failed_import)) as n:
        n.estate.account("harbor").dashboard.capabilities |= {"reprocess": False, "repeat": False}
        row = items(await n.recover())["imp"]
        assert row.outcome is ItemOutcome.HELD and "does not offer" in row.question.text
        assert n.writes() == []


@pytest.mark.parametrize("kind", ["502-after", "reset-after", "html", "empty-ok"])
async def test_a_lost_reply_to_a_start_is_read_from_the_log_and_never_repeated(tmp_path, kind):
    async with night(tmp_path, stage(failed_import)) as n:
        n.fault("dashboard", "reprocess", kind)
        row = items(await n.recover())["imp"]
        assert row.outcome is ItemOutcome.CONFIRMED
        assert len(n.events("dashboard", "run_requested")) == 1
        assert await n.oracle() == []


async def test_a_start_that_the_remote_swallowed_is_held_and_never_repeated(tmp_path):
    async with night(tmp_path, stage(failed_import)) as n:
        n.fault("dashboard", "reprocess", "reset-before")
        row = items(await n.recover())["imp"]
        assert row.outcome is ItemOutcome.HELD and "it did not happen" in row.question.choices
        assert items(await n.recover())["imp"].outcome is ItemOutcome.HELD
        assert n.events("dashboard", "run_requested") == []
        await n.answer(row.slot_key, "it did not happen")
        assert items(await n.recover())["imp"].outcome is ItemOutcome.CONFIRMED
        assert await n.oracle() == []
