"""The headline, the sums and the message about what is unresolved."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from recovery.model import Balance, ItemOutcome, Verdict
from recovery.report.report import AccountReport, RunReport
from recovery.report.summary import all_items, contact_message, headline, held_groups, recovered_groups

from .samples import audit_report, balance_of, plan_report, sample_report


def headline_of(report: RunReport) -> tuple[str, str]:
    first = headline(report, all_items(report))
    return first.state, first.text


def readable(report: RunReport) -> RunReport:
    return replace(report, accounts=tuple(a for a in report.accounts if a.readable), problems=())


def test_a_recovery_that_adds_up_with_held_items_waits_for_a_person() -> None:
    report = readable(sample_report())
    held = report.balance.held if report.balance else 0
    assert headline_of(report) == (
        "wait",
        f"Nothing lost, nothing sent twice. {held} items wait for a person.",
    )


def test_a_recovery_with_nothing_left_is_all_clear() -> None:
    report = readable(sample_report())
    items = [i for i in report.items if i.outcome != ItemOutcome.HELD]
    clear = replace(report, items=tuple(items), balance=balance_of(items))
    assert headline_of(clear) == ("good", "All clear: every item that was due is accounted for.")


@pytest.mark.parametrize(
    "balance",
    [Balance(3, 1, 1, 0, 0, 0), Balance(2, 1, 1, 0, 0, 1), Balance(2, 1, 1, 0, 0, 0, ("The ledger was not read.",))],
    ids=["one lost", "one double", "a problem"],
)
def test_a_balance_that_does_not_add_up_is_never_called_clear(balance: Balance) -> None:
    state, text = headline_of(replace(sample_report(), balance=balance))
    assert (state, "failed" in text) == ("bad", True)


def test_a_recovery_without_its_closing_balance_is_not_proven() -> None:
    assert headline_of(replace(sample_report(), balance=None))[0] == "bad"


def test_an_account_that_could_not_be_read_keeps_the_report_from_being_clear() -> None:
    report = audit_report()
    done = tuple(f for f in report.findings if f.verdict is Verdict.DONE)
    clear = replace(report, findings=done, accounts=(), problems=())
    assert headline_of(clear) == ("good", "Everything that was due has happened.")
    unread = replace(clear, accounts=(AccountReport("harbor", "UTC", False, "token refused"),))
    assert headline_of(unread) == ("wait", "The audit is incomplete.")


def test_a_plan_s_headline_says_that_nothing_was_changed() -> None:
    report = plan_report()
    assert "Nothing has been changed yet" in headline(report, all_items(report)).explanation


def test_findings_without_an_item_are_shown_too() -> None:
    report = audit_report()
    assert len(all_items(report)) == len(report.findings) == 300


@pytest.mark.requirement("R001.37")
def test_the_contact_us_message_names_every_unresolved_item_and_account() -> None:
    report = sample_report()
    message = contact_message(report, all_items(report))
    assert message is not None
    held = [i for i in report.items if i.outcome == ItemOutcome.HELD]
    assert message.count == len(held) > 0
    assert all(f" {i.slot.object_ref} (" in message.body and i.slot.account in message.body for i in held)
    assert "zenith-<b>gallery</b> could not be read" in message.body
    assert "\x1b" not in message.body


@pytest.mark.requirement("R001.37")
def test_a_message_about_thousands_of_items_still_names_every_id() -> None:
    report = sample_report(4000)
    message = contact_message(report, all_items(report))
    assert message is not None
    held = [i for i in report.items if i.outcome == ItemOutcome.HELD]
    assert len(held) > 200
    assert all(f"{i.slot.object_ref} (due " in message.body for i in held)
    assert len(message.body) < 60 * len(held) + 2000


def test_a_mailto_link_carries_the_message_and_stays_short_enough_to_open() -> None:
    report = sample_report()
    message = contact_message(report, all_items(report))
    assert message is not None
    parts = urlsplit(message.href)
    fields = parse_qs(parts.query)
    assert (parts.scheme, parts.path) == ("mailto", "support@vendor.example.org")
    assert fields["subject"] == [message.subject]
    assert message.body.startswith(fields["body"][0].splitlines()[0])
    assert len(message.href) < 2100


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", " https://x", "https://x\u202e", "", "http://["]
)
def test_an_address_that_is_not_an_ordinary_one_is_not_linked(url: str) -> None:
    report = replace(sample_report(), contact_us_url=url)
    message = contact_message(report, all_items(report))
    assert message is not None
    assert message.href == ""


def test_held_items_are_grouped_by_their_question() -> None:
    groups = held_groups(sample_report().items)
    assert len(groups) == 2
    assert sum(len(g.items) for g in groups) == sum(i.outcome == ItemOutcome.HELD for i in sample_report().items)
    assert all(g.recommended and g.choices for g in groups)


def test_what_reached_people_stands_first_with_its_recipients() -> None:
    report = sample_report()
    groups = recovered_groups(report, report.items)
    assert [g.reaches_people for g in groups] == sorted((g.reaches_people for g in groups), reverse=True)
    assert groups[0].recipients == 1240 * len(groups[0].items)
