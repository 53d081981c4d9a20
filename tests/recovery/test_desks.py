"""The incident's one ticket and one notice, whatever happens to replies and however often it is run."""

from datetime import timedelta

import pytest

from recovery.model import ItemOutcome, Verdict
from recovery.operate import audit_window
from recovery.proof import balance
from sandbox import scenario_campaigns as mail
from sandbox import scenario_jobs as jobs
from tests.recovery.stage import items, night, only, stage

ZONE = "America/New_York"


def held_and_done(story, account):
    """One campaign that can be resent, one that must be asked about."""
    due = story.started_at + timedelta(minutes=20)
    mail.overdue_small(story, account, "Gala", due)
    mail.partly_sent(story, account, "Raffle <b>& prizes</b>", due)


def counts(n):
    return len(n.events("jira", "issue_created")), len(n.events("slack", "message"))


@pytest.mark.requirement("R001.39")
async def test_the_ticket_tells_customers_start_steps_symptoms_and_every_outcome(tmp_path):
    async with night(tmp_path, stage(held_and_done), desks=True) as n:
        done = await n.recover()
        (ticket,) = n.events("jira", "issue_created")
        assert done.ticket.key == ticket["key"]
        text = ticket["description"]
        for part in (
            "harbor",
            "2026-11-01T05:00:00Z (UTC)",
            "campaign: missed",
            "350 of 350",
            "Raffle <b>& prizes</b>",
        ):
            assert part in text, part
        assert "1 recovered, 1 held" in ticket["summary"]
        (notice,) = n.events("slack", "message")
        assert "1 recovered, 1 held" in notice["text"]
        assert await n.oracle() == []


async def test_several_runs_of_one_incident_file_one_ticket_and_one_notice(tmp_path):
    async with night(tmp_path, stage(held_and_done), desks=True) as n:
        first, second = await n.recover(), await n.recover()
        assert first.ticket.key == second.ticket.key
        assert counts(n) == (1, 1)


async def test_a_ledger_that_was_lost_leads_to_no_second_ticket_or_notice(tmp_path):
    async with night(tmp_path, stage(held_and_done), desks=True) as n:
        first = await n.recover()
        n.lose_ledger()
        n.claims.clear()
        assert (await n.recover()).ticket.key == first.ticket.key
        assert counts(n) == (1, 1)


@pytest.mark.parametrize(("jira", "slack"), [("502-after", "reset-after"), ("html", "502-after")])
async def test_lost_replies_of_the_desks_end_with_one_ticket_and_one_notice(tmp_path, jira, slack):
    # The wait before "absent" is believed must be longer than the search's lag (1 s here), as policy's is.
    async with night(tmp_path, stage(held_and_done), desks=True, waits={"settle_seconds": 2.4}) as n:
        n.fault("jira", "issue_create", jira)
        n.fault("slack", "post_message", slack)
        done = await n.recover()
        assert counts(n) == (1, 1)
        assert done.ticket is not None and not done.problems
        assert await n.oracle() == []


async def test_a_desk_that_refuses_is_a_problem_of_the_run_and_the_recovery_stands(tmp_path):
    async with night(tmp_path, stage(held_and_done), desks=True) as n:
        n.fault("jira", "issue_create", "403", times=-1)
        done = await n.recover()
        assert done.ticket is None and done.exit_code == 1
        assert any("ticket could not be filed" in p for p in done.problems)
        assert items(done)["101"].outcome is ItemOutcome.CONFIRMED
        assert counts(n) == (0, 1)


# ---- the closing balance ---------------------------------------------------------------------------------------------


def one(story, account):
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))


@pytest.mark.requirement("R001.39")
async def test_a_remote_that_takes_back_what_it_showed_makes_the_balance_fail(tmp_path):
    """The copy's counters are there when it leaves and gone when everything is read again."""
    async with night(tmp_path, stage(one)) as n:
        pro2 = n.estate.account("harbor").pro2

        def lie(what, facts):
            if what == "proof":
                copy = pro2.campaigns[102]
                copy.send_amt, copy.total_amt = 0, 0

        n.tell = lie
        done = await n.recover()
        assert only(done).outcome is ItemOutcome.CONFIRMED
        assert not done.balance.adds_up and done.exit_code == 1
        assert any("called recovered, but the second audit says" in p for p in done.balance.problems)


async def test_a_second_copy_that_somebody_sent_makes_the_balance_fail_as_a_double(tmp_path):
    async with night(tmp_path, stage(one)) as n:
        pro2 = n.estate.account("harbor").pro2

        def another(what, facts):
            if what == "proof":
                second = pro2.copy(pro2.campaigns[102], user=1)
                second.name = pro2.campaigns[102].name
                pro2.send_seconds = 0
                pro2.schedule(second, n.world.now(), user=1)
                n.estate.run_due()

        n.tell = another
        done = await n.recover()
        assert done.balance.doubles == 1 and done.exit_code == 1


async def test_the_balance_is_taken_without_the_ledgers_word(tmp_path):
    def missed(story, account):
        jobs.plant_import(story, account, "healthy", "Healthy", jobs.cron("5 * * * *", ZONE), None, 400)
        at = jobs.once(story.started_at + timedelta(minutes=10))
        jobs.plant_import(story, account, "imp", "Guests", at, jobs.no_activity, 401)

    async with night(tmp_path, stage(missed)) as n:
        done = await n.recover()
        assert done.balance.adds_up
        dashboard = n.estate.account("harbor").dashboard
        for ref in [r.run_id for r in dashboard.runs.values() if r.requested_by == "repeat"]:
            del dashboard.runs[ref]
        async with n.open() as systems:
            remembered = await audit_window(systems, n.window())
            fresh = await audit_window(systems, n.window(), remember=False)
        assert {f.verdict for f in remembered.findings} == {Verdict.DONE}
        assert not balance(fresh.findings, done.items).adds_up
