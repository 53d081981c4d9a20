"""Campaigns: from what the list and the report say to a verdict. Nothing is decided from one of them alone."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.judge import judge, judge_one
from recovery.model import Evidence, Kind, Saw, Verdict
from recovery.model import Testimony as Statement
from recovery.testify import (
    CAMPAIGN_REPORT,
    CAMPAIGN_STATUS,
    LEDGER,
    MARKER,
    campaign_report,
    campaign_status,
    unreadable,
)

from .makers import DUE, NOW, WAITS, a_campaign, a_report, a_slot, said

UNSURE = (Verdict.UNCERTAIN, Verdict.PARTIAL)
ALL = 400

# What the list and the report agree on, long after the due time: (status, sent of 400) -> verdict and code.
AGREED = {
    ("1", 0): (Verdict.MISSED, "pending_send"),
    ("2", 0): (Verdict.MISSED, "sending_stuck"),
    ("5", 0): (Verdict.MISSED, "empty_report"),
    ("3", 0): (Verdict.UNCERTAIN, "stopped_by_someone"),
    ("4", 0): (Verdict.UNCERTAIN, "stopped_by_someone"),
    ("6", 0): (Verdict.UNCERTAIN, "stopped_by_someone"),
    ("7", 0): (Verdict.UNCERTAIN, "unknown_state"),
    ("", 0): (Verdict.UNCERTAIN, "unknown_state"),
    ("pending approval", 0): (Verdict.UNCERTAIN, "unknown_state"),
    ("1", 150): (Verdict.PARTIAL, "partly_sent"),
    ("2", 150): (Verdict.PARTIAL, "partly_sent"),
    ("3", 150): (Verdict.PARTIAL, "partly_sent"),
    ("4", 150): (Verdict.PARTIAL, "partly_sent"),
    ("5", 150): (Verdict.PARTIAL, "partly_sent"),
    ("6", 150): (Verdict.PARTIAL, "partly_sent"),
    ("7", 150): (Verdict.UNCERTAIN, "unknown_state"),
    ("0", ALL): (Verdict.UNCERTAIN, "unknown_state"),
    ("1", ALL): (Verdict.UNCERTAIN, "unknown_state"),
    ("2", ALL): (Verdict.DONE, "sent"),
    ("3", ALL): (Verdict.UNCERTAIN, "stopped_by_someone"),
    ("4", ALL): (Verdict.UNCERTAIN, "stopped_by_someone"),
    ("5", ALL): (Verdict.DONE, "sent"),
    ("6", ALL): (Verdict.UNCERTAIN, "stopped_by_someone"),
    ("7", ALL): (Verdict.UNCERTAIN, "unknown_state"),
}


def heard(
    status: str, sent: int, reported: int | None = None, *, report_status: str = "", has_data: bool | None = None
) -> Evidence:
    """The list says `sent`, the report says `reported` (the same when not given)."""
    campaign = a_campaign(status=status, sent=sent)
    report = a_report(sent if reported is None else reported, status=report_status or status, has_data=has_data)
    return Evidence(a_slot(), (campaign_status(campaign, NOW, WAITS), campaign_report(report, campaign, NOW)))


def evidence(*testimonies: Statement) -> Evidence:
    return Evidence(a_slot(), testimonies)


@pytest.mark.requirement("R001.4", "R001.5", "R001.6", "R001.8")
@pytest.mark.parametrize(("status", "sent"), AGREED)
def test_a_status_and_a_report_that_agree_decide(status: str, sent: int) -> None:
    finding = judge_one(heard(status, sent), NOW, WAITS)
    assert (finding.verdict, finding.code) == AGREED[status, sent]


@pytest.mark.requirement("R001.7")
@pytest.mark.parametrize("status", ["1", "2", "3", "4", "5", "6", "7", ""])
@pytest.mark.parametrize(("sent", "reported"), [(0, 150), (0, ALL), (150, 0), (150, ALL), (ALL, 0), (ALL, 150)])
def test_a_list_and_a_report_that_count_differently_decide_nothing(status: str, sent: int, reported: int) -> None:
    """Whichever counter is right: neither "missed" nor "done" is concluded."""
    assert judge_one(heard(status, sent, reported), NOW, WAITS).verdict in UNSURE


@pytest.mark.requirement("R001.7")
@pytest.mark.parametrize("status", ["1", "2", "5"])
def test_opens_in_the_report_of_an_unsent_campaign_decide_nothing(status: str) -> None:
    """A report that holds data although its send counter is zero is no "no data"."""
    finding = judge_one(heard(status, 0, 0, has_data=True), NOW, WAITS)
    assert (finding.verdict, finding.code) == (Verdict.UNCERTAIN, "unknown_state")


@pytest.mark.requirement("R001.7")
def test_a_row_that_cannot_be_read_decides_nothing_and_says_what_is_wrong_with_it() -> None:
    row = a_campaign(status="", problem="field 'send_amt' is missing")
    finding = judge_one(evidence(campaign_status(row, NOW, WAITS), said(CAMPAIGN_REPORT, Saw.NOTHING)), NOW, WAITS)
    assert (finding.verdict, finding.code) == (Verdict.UNCERTAIN, "unreadable")
    assert "send_amt" in finding.reason


def test_a_counter_that_moved_between_list_and_report_is_sending_now() -> None:
    """A campaign on its way is left alone."""
    finding = judge_one(heard("2", 150, 170, report_status="2"), NOW, WAITS)
    assert (finding.verdict, finding.code) == (Verdict.UNCERTAIN, "in_progress")


@pytest.mark.requirement("R001.9")
@pytest.mark.parametrize(
    ("minutes_after_due", "code"), [(0, "waiting"), (10, "waiting"), (59, "waiting"), (60, "pending_send")]
)
def test_a_late_campaign_is_watched_for_an_hour_before_it_counts_as_pending(minutes_after_due: int, code: str) -> None:
    now = DUE + timedelta(minutes=minutes_after_due)
    campaign = a_campaign(status="1")
    given_then = evidence(campaign_status(campaign, now, WAITS), campaign_report(a_report(), campaign, now))
    assert judge_one(given_then, now, WAITS).code == code


def test_a_campaign_that_was_moved_to_a_later_time_is_waited_for() -> None:
    """Scheduled for the future: not pending, however long ago its slot was."""
    campaign = a_campaign(status="1", sdate=NOW + timedelta(hours=2))
    given_now = evidence(campaign_status(campaign, NOW, WAITS), campaign_report(a_report(), campaign, NOW))
    assert judge_one(given_now, NOW, WAITS).code == "waiting"


@pytest.mark.requirement("R001.7")
@pytest.mark.parametrize("witness", [CAMPAIGN_STATUS, CAMPAIGN_REPORT])
@pytest.mark.parametrize("saw", list(Saw))
@pytest.mark.parametrize("deaf", ["unreadable", "absent"])
def test_one_witness_alone_decides_nothing(witness: str, saw: Saw, deaf: str) -> None:
    other = CAMPAIGN_REPORT if witness == CAMPAIGN_STATUS else CAMPAIGN_STATUS
    silent = [unreadable(other, NOW, "HTTP 502")] if deaf == "unreadable" else []
    finding = judge_one(evidence(said(witness, saw), *silent), NOW, WAITS)
    assert finding.verdict is Verdict.UNCERTAIN
    assert finding.code == "unreadable"
    assert ("HTTP 502" if silent else "not read") in finding.reason or saw is Saw.UNREADABLE


def test_no_witness_at_all_decides_nothing() -> None:
    assert judge_one(evidence(), NOW, WAITS).verdict is Verdict.UNCERTAIN


@given(st.sampled_from(list(Saw)), st.sampled_from(list(Saw)))
def test_missed_and_done_need_two_witnesses_that_say_the_same(status: Saw, report: Saw) -> None:
    """Over all pairs of sights: "done" only from two successes, "missed" only from two absences or a planned wait."""
    finding = judge_one(evidence(said(CAMPAIGN_STATUS, status), said(CAMPAIGN_REPORT, report)), NOW, WAITS)
    if finding.verdict is Verdict.DONE:
        assert (status, report) == (Saw.WORKED, Saw.WORKED)
    elif finding.verdict is Verdict.MISSED:
        assert report is Saw.NOTHING
        assert status in (Saw.NOTHING, Saw.WAITING)
    else:
        assert finding.verdict in UNSURE


@pytest.mark.parametrize("witness", [LEDGER, MARKER])
def test_what_we_recovered_before_is_done_whatever_the_original_shows(witness: str) -> None:
    """The ledger or our marker at the remote: each alone keeps a second run from repeating the first."""
    ours = Statement(witness, Saw.OURS, NOW, True, "copy 9 was sent")
    finding = judge_one(Evidence(a_slot(), (*heard("4", 0).testimonies, ours)), NOW, WAITS)
    assert (finding.verdict, finding.code) == (Verdict.DONE, "recovered")


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(list(Saw)), st.booleans()), min_size=2, max_size=4))
def test_the_order_of_testimonies_changes_nothing(sights: list[tuple[Saw, bool]]) -> None:
    witnesses = (CAMPAIGN_STATUS, CAMPAIGN_REPORT, LEDGER, MARKER)
    heard_all = [said(w, saw, complete=whole) for w, (saw, whole) in zip(witnesses, sights, strict=False)]
    rulings = {
        (f.verdict, f.code, f.reason)
        for order in permutations(heard_all)
        for f in [judge_one(Evidence(a_slot(), order), NOW, WAITS)]
    }
    assert len(rulings) == 1


def test_findings_come_sorted_by_slot_in_whatever_order_the_evidence_came() -> None:
    several = [Evidence(a_slot(ref=ref), heard("1", 0).testimonies) for ref in ("9", "7", "8")]
    assert judge(several, NOW, WAITS) == judge(reversed(several), NOW, WAITS)
    assert [f.slot.object_ref for f in judge(several, NOW, WAITS)] == ["7", "8", "9"]


@pytest.mark.requirement("R001.3")
@pytest.mark.parametrize("saw", list(Saw))
def test_an_automation_is_always_for_a_person(saw: Saw) -> None:
    """The source names no step for automations."""
    finding = judge_one(Evidence(a_slot(Kind.AUTOMATION), (said("automations", saw),)), NOW, WAITS)
    assert (finding.verdict, finding.code) == (Verdict.UNCERTAIN, "automation")
