"""What people say after the plan was made counts, and what one worker ended stays ended for the next."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recovery.model import ItemOutcome
from recovery.operate import audit_window, plan_from
from recovery.settings import load_settings
from sandbox import scenario_campaigns as mail
from tests.recovery.stage import items, night, only, stage
from tests.recovery.test_originals import gala, trigger, when_armed

QUIET = "[quiet_hours]\nstart = 00:00:00\nend = 23:59:59\n"


async def test_an_item_that_a_person_dropped_stays_dropped_when_the_same_plan_runs_again(tmp_path: Path) -> None:
    async with night(tmp_path, stage(gala), tables=QUIET) as n:
        async with n.open() as systems:
            plan = await n.approved(systems)
            row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.HELD and "quiet hours" in row.reason
        assert await n.answer(row.slot_key, "drop") == "The item ends here."
        n.policy()
        async with n.open() as systems:
            row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.SKIPPED and row.reason.startswith("dropped by Dana Reyes")
        assert n.sent() == 0


async def test_a_worker_that_joins_takes_nothing_back_of_what_another_has_ended(tmp_path: Path) -> None:
    def raffle(story: Any, account: Any) -> None:
        mail.partly_sent(story, account, "Raffle", story.started_at + timedelta(minutes=20))

    async with night(tmp_path, stage(raffle)) as n, n.open() as systems:
        plan = await plan_from(systems, await audit_window(systems, n.window()))
        assert plan is not None
        row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.HELD
        await systems.ledger.open_items(plan)
        assert await systems.ledger.item(row.slot_key) == row


async def test_an_override_that_was_taken_back_does_not_act(tmp_path: Path) -> None:
    async with night(tmp_path, stage(gala)) as n:
        n.estate.account("harbor").pro2.campaigns[101].stop = "refused"
        row = only(await n.recover())
        assert row.outcome is ItemOutcome.HELD and "release anyway" in (row.question.choices if row.question else ())
        await n.answer(row.slot_key, "release anyway")
        await n.answer(row.slot_key, "wait", by="Sam Okafor")
        async with n.open() as systems:
            plan = await systems.ledger.latest_plan()
            assert plan is not None
            row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.HELD
        assert n.sent() == 0


async def test_a_start_that_a_person_vouches_for_ends_by_their_word(tmp_path: Path) -> None:
    async with night(tmp_path, stage(trigger)) as n:
        n.fault("dashboard", "run_now", "reset-before")
        row = items(await n.recover())["trg"]
        assert row.outcome is ItemOutcome.HELD
        await n.answer(row.slot_key, "it happened")
        done = await n.recover()
        row = items(done)["trg"]
        assert row.outcome is ItemOutcome.CONFIRMED and row.reason.startswith("stated by Dana Reyes")
        assert done.problems == ()


async def test_a_colleagues_draft_whose_text_cannot_be_read_is_never_taken_for_our_copy(tmp_path: Path) -> None:
    async with night(tmp_path, stage(gala)) as n:
        pro2 = n.estate.account("harbor").pro2
        n.fault("pro2", "campaign_messages", "403", times=-1)
        n.fault("pro2", "copy", "reset-before")
        theirs: list[Any] = []

        def colleague(what: str, facts: Any) -> None:
            if what == "sent" and facts["request"].startswith("duplicate") and not theirs:
                theirs.append(
                    pro2.add_campaign("Donor survey", 0, subject="Another mail", lists=[2], created_at=n.world.now())
                )

        n.tell = colleague
        await n.recover()
        assert (theirs[0].name, theirs[0].status, theirs[0].send_amt) == ("Donor survey", 0, 0)


async def test_a_copy_that_the_kill_switch_took_back_is_sent_anew_when_a_person_wants_it(tmp_path: Path) -> None:
    async with night(tmp_path, stage(gala), waits={"arm_seconds": 4}) as n:
        settings = load_settings(n.config)
        switch = settings.path(settings.kill_file)
        when_armed(n, lambda: switch.write_text("stop"))
        row = only(await n.recover())
        assert row.outcome is ItemOutcome.HELD and "was disarmed before it left: kill switch" in row.reason
        switch.unlink()
        n.tell = lambda *_: None
        assert "`allclear plan`" in await n.answer(row.slot_key, "send again")
        done = await n.recover()
        assert only(done).outcome is ItemOutcome.CONFIRMED and done.balance is not None and done.balance.adds_up
        assert n.sent() == 350
        assert await n.oracle() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda pro2: setattr(pro2.campaigns[101], "list_ids", [1, 2]), "it goes to other lists"),
        (lambda pro2: setattr(pro2.campaigns[101], "segment_id", 3), "another segment"),
        (lambda pro2: setattr(pro2.messages[pro2.campaigns[101].message_ids[0]], "html", "<p>x</p>"), "something else"),
    ],
)
async def test_a_campaign_that_was_changed_since_its_approval_is_asked_about_and_not_touched(
    tmp_path: Path, change: Any, words: str
) -> None:
    """Who approved has read one mail and one number of people; another mail, or other people, need another approval."""
    async with night(tmp_path, stage(gala)) as n, n.open() as systems:
        plan = await n.approved(systems)
        change(n.estate.account("harbor").pro2)
        row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.HELD
        assert "not the one that was approved" in row.reason and words in row.reason
        assert n.writes() == []


async def test_a_mail_that_could_not_be_read_when_it_was_planned_needs_a_plan_that_shows_it(tmp_path: Path) -> None:
    """Nobody can tell whether it was changed since; a platform that never offers the text is another matter."""
    async with night(tmp_path, stage(gala)) as n, n.open() as systems:
        n.fault("pro2", "campaign_messages", "502", times=-1)
        plan = await n.approved(systems)
        n.world.faults.clear()
        row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.HELD and "could not be read when the plan was made" in row.reason
        assert n.writes() == []
        n.fault("pro2", "campaign_messages", "403", times=-1)
        assert only(await n.run(systems, await n.approved(systems))).outcome is ItemOutcome.CONFIRMED


async def test_a_campaign_that_was_changed_goes_once_it_is_planned_and_approved_as_it_is_now(tmp_path: Path) -> None:
    """The question is about the old plan only; a new one shows and binds what the campaign says by then."""
    async with night(tmp_path, stage(gala)) as n:
        async with n.open() as systems:
            plan = await n.approved(systems)
            n.estate.account("harbor").pro2.campaigns[101].list_ids = [1, 2]
            assert only(await n.run(systems, plan)).outcome is ItemOutcome.HELD
        assert only(await n.recover()).outcome is ItemOutcome.CONFIRMED


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda jobs: jobs.pop("trg"), "not among the dashboard's definitions any more"),
        (lambda jobs: jobs["trg"].update(active=False), "switched it off since the plan was made"),
        (lambda jobs: jobs["trg"].update(automation_id="13"), "was changed since the plan was made (automation)"),
    ],
)
async def test_a_trigger_that_was_changed_since_its_approval_is_asked_about_and_not_run(
    tmp_path: Path, change: Any, words: str
) -> None:
    """Who switches a trigger off, or points it elsewhere, after the plan was approved must not see it run."""
    async with night(tmp_path, stage(trigger)) as n, n.open() as systems:
        plan = await n.approved(systems)
        change(n.estate.account("harbor").dashboard.definitions)
        row = items(await n.run(systems, plan))["trg"]
        assert row.outcome is ItemOutcome.HELD and words in row.reason
        assert n.writes() == []


async def test_a_job_that_failed_when_we_started_it_is_started_by_another_button_only_at_a_persons_word(
    tmp_path: Path,
) -> None:
    """The next plan sees a failed run and proposes to reprocess it; that would be a second start for the same miss."""
    async with night(tmp_path, stage(trigger)) as n:
        n.estate.account("harbor").dashboard.knobs.run_outcomes["trg"] = "failed"
        assert "which we started, ended as failed" in items(await n.recover())["trg"].reason
        row = items(await n.recover())["trg"]
        assert row.outcome is ItemOutcome.HELD and row.question is not None
        assert "started this job for this item before (run_now, run " in row.question.text
        assert [r["requested_by"] for r in n.events("dashboard", "run_requested")] == ["run_now"]
        await n.answer(row.slot_key, "reprocess")
        n.estate.account("harbor").dashboard.knobs.run_outcomes["trg"] = "succeeded"
        assert items(await n.recover())["trg"].outcome is ItemOutcome.CONFIRMED
        assert [r["requested_by"] for r in n.events("dashboard", "run_requested")] == ["run_now", "reprocess"]
