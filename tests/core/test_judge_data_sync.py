"""Data syncs work on differences: one that is lost stays lost, whatever the log says about later runs."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.judge import judge_one
from recovery.model import Evidence, Finding, Kind, Saw, Verdict
from recovery.model import Testimony as Statement
from recovery.testify import ACTIVITY_LOG, CONSOLE, MARKER, TESSITURA_LIST, unreadable

from .makers import NOW, WAITS, a_slot, said


def verdict_of(*testimonies: Statement) -> Finding:
    return judge_one(Evidence(a_slot(Kind.DATA_SYNC), testimonies), NOW, WAITS)


def three(log: Saw, console: Saw, tag: Saw) -> Finding:
    return verdict_of(said(ACTIVITY_LOG, log), said(CONSOLE, console), said(TESSITURA_LIST, tag))


@pytest.mark.requirement("R001.25", "R001.31")
@pytest.mark.parametrize("log", [Saw.WORKED, Saw.FAILED, Saw.PARTIAL, Saw.STOPPED, Saw.NOTHING])
def test_a_gap_between_tag_and_list_is_a_failure_even_after_a_success(log: Saw) -> None:
    """A sync that "succeeded" after the outage found no difference and repaired nothing."""
    finding = three(log, Saw.NOTHING, Saw.GAP)
    assert (finding.verdict, finding.code) == (Verdict.FAILED, "sync_gap")


@pytest.mark.parametrize(("log", "console"), [(Saw.RUNNING, Saw.NOTHING), (Saw.NOTHING, Saw.RUNNING)])
def test_a_gap_is_not_judged_while_the_sync_runs(log: Saw, console: Saw) -> None:
    assert three(log, console, Saw.GAP).code != "sync_gap"


def test_a_gap_is_not_judged_while_something_runs_that_a_person_started() -> None:
    """A success by hand settles the slot; a run beside it may still change who carries the tag."""
    by_hand = said(ACTIVITY_LOG, Saw.WORKED, {"run": "1", "by_hand": True})
    finding = verdict_of(by_hand, said(CONSOLE, Saw.RUNNING, {"run": "2"}), said(TESSITURA_LIST, Saw.GAP))
    assert (finding.verdict, finding.code) == (Verdict.UNCERTAIN, "in_progress")


def test_a_gap_is_never_called_done_while_a_run_is_under_way_since_nobody_knows_when() -> None:
    finding = three(Saw.WORKED, Saw.RUNNING, Saw.GAP)
    assert (finding.verdict, finding.code) == (Verdict.UNCERTAIN, "in_progress")
    assert three(Saw.WORKED, Saw.RUNNING, Saw.WORKED).verdict is Verdict.DONE


@pytest.mark.parametrize(
    ("log", "verdict"),
    [
        (Saw.WORKED, Verdict.DONE),
        (Saw.FAILED, Verdict.FAILED),
        (Saw.PARTIAL, Verdict.PARTIAL),
        (Saw.STOPPED, Verdict.UNCERTAIN),
        (Saw.NOTHING, Verdict.MISSED),
        (Saw.UNKNOWN, Verdict.UNCERTAIN),
    ],
)
def test_without_a_gap_a_sync_is_judged_as_any_job(log: Saw, verdict: Verdict) -> None:
    assert three(log, Saw.NOTHING, Saw.WORKED).verdict is verdict


@pytest.mark.requirement("R001.7")
@pytest.mark.parametrize("deaf", [ACTIVITY_LOG, CONSOLE, TESSITURA_LIST])
@pytest.mark.parametrize("how", ["unreadable", "absent"])
def test_a_sync_is_uncertain_while_one_of_its_three_witnesses_is_silent(deaf: str, how: str) -> None:
    sights = {ACTIVITY_LOG: Saw.NOTHING, CONSOLE: Saw.NOTHING, TESSITURA_LIST: Saw.GAP}
    heard = [said(w, saw) for w, saw in sights.items() if w != deaf]
    if how == "unreadable":
        heard.append(unreadable(deaf, NOW, "HTTP 502"))
    assert (verdict_of(*heard).verdict, verdict_of(*heard).code) == (Verdict.UNCERTAIN, "unreadable")


def test_a_state_nobody_knows_outweighs_a_gap() -> None:
    assert three(Saw.UNKNOWN, Saw.NOTHING, Saw.GAP).verdict is Verdict.UNCERTAIN


def test_our_own_import_is_recognised_by_its_tag() -> None:
    ours = Statement(MARKER, Saw.OURS, NOW, True, "import run 5 carries our tag")
    quiet = said(ACTIVITY_LOG, Saw.NOTHING), said(CONSOLE, Saw.NOTHING), said(TESSITURA_LIST, Saw.WORKED)
    assert verdict_of(*quiet, ours).code == "recovered"


@settings(max_examples=60)
@given(*(st.sampled_from(list(Saw)),) * 3)
def test_the_order_of_testimonies_changes_nothing(log: Saw, console: Saw, tag: Saw) -> None:
    heard = [said(ACTIVITY_LOG, log), said(CONSOLE, console), said(TESSITURA_LIST, tag)]
    assert len({(f.verdict, f.code, f.reason) for o in permutations(heard) for f in [verdict_of(*o)]}) == 1
