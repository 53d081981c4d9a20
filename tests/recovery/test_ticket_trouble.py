"""A ticket desk that cannot be read after the work is done: the run still ends with its balance and its ticket."""

from datetime import timedelta

import pytest

from recovery.model import ItemOutcome
from sandbox import scenario_campaigns as mail
from tests.recovery.stage import items, night, stage


def one_to_resend_one_to_ask_about(story, account):
    due = story.started_at + timedelta(minutes=20)
    mail.overdue_small(story, account, "Gala", due)
    mail.partly_sent(story, account, "Raffle", due)


@pytest.mark.parametrize("trouble", ["401", "html-before", "500"])
async def test_a_ticket_that_cannot_be_looked_up_again_is_named_by_its_key_and_the_run_has_its_balance(
    tmp_path, trouble
):
    async with night(tmp_path, stage(one_to_resend_one_to_ask_about), desks=True) as n:
        first = await n.recover()
        n.fault("jira", "search", trouble, times=-1)
        second = await n.recover()
        assert second.ticket.key == first.ticket.key
        assert second.balance is not None and second.balance.adds_up
        assert items(second)["101"].outcome is ItemOutcome.CONFIRMED
        (ticket,) = n.events("jira", "issue_created")
        (comment,) = n.events("jira", "comment")
        assert comment["key"] == ticket["key"] == first.ticket.key


async def test_a_ticket_desk_that_is_down_altogether_costs_the_note_alone_and_is_named(tmp_path):
    async with night(tmp_path, stage(one_to_resend_one_to_ask_about), desks=True) as n:
        first = await n.recover()
        n.fault("jira", "*", "500", times=-1)
        second = await n.recover()
        assert second.balance is not None and second.balance.adds_up
        assert second.notice == first.notice
        assert second.exit_code == 1
        assert [p for p in second.problems if "ticket could not be filed" in p], second.problems
