"""Jobs: from what the Activity Log and the Console say to a verdict, with the age of what is under way."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.judge import judge_one
from recovery.model import Evidence, Finding, Kind, Saw, Verdict
from recovery.model import Testimony as Statement
from recovery.ports import Run
from recovery.testify import ACTIVITY_LOG, CONSOLE, LEDGER, log_testimony, unreadable

from .makers import DUE, NOW, WAITS, WINDOW, a_log, a_run, a_slot, said

DONE, MISSED, STALLED = Verdict.DONE, Verdict.MISSED, Verdict.STALLED
FAILED, PARTIAL, UNCERTAIN = Verdict.FAILED, Verdict.PARTIAL, Verdict.UNCERTAIN
JOBS = [k for k in Kind if k not in (Kind.CAMPAIGN, Kind.AUTOMATION, Kind.DATA_SYNC)]

YOUNG, OLD = timedelta(minutes=30), timedelta(hours=3)

RUNNING = ("queued", "running", "stop_requested")
ENDED = ("succeeded", "failed", "partial_error", "stopped")

# (what the log shows, what the console shows) -> verdict when young, verdict when old; "-" is no run.
MATRIX: dict[tuple[str, str], tuple[tuple[Verdict, str], tuple[Verdict, str]]] = {
    ("-", "-"): ((MISSED, "no_activity"), (MISSED, "no_activity")),
    ("succeeded", "-"): ((DONE, "succeeded"), (DONE, "succeeded")),
    ("failed", "-"): ((FAILED, "full_error"), (FAILED, "full_error")),
    ("partial_error", "-"): ((PARTIAL, "partial_error"), (PARTIAL, "partial_error")),
    ("stopped", "-"): ((UNCERTAIN, "stopped_by_someone"), (UNCERTAIN, "stopped_by_someone")),
    ("-", "succeeded"): ((DONE, "succeeded"), (DONE, "succeeded")),
    ("-", "failed"): ((UNCERTAIN, "disagree"), (UNCERTAIN, "disagree")),
    ("-", "partial_error"): ((UNCERTAIN, "disagree"), (UNCERTAIN, "disagree")),
    ("-", "stopped"): ((UNCERTAIN, "disagree"), (UNCERTAIN, "disagree")),
    **{
        pair: ((UNCERTAIN, "in_progress"), (STALLED, "in_progress_too_long"))
        for state in RUNNING
        for pair in ((state, "-"), ("-", state), (state, "running"))
    },
    **{
        pair: ((UNCERTAIN, "disagree"), (UNCERTAIN, "disagree"))
        for ended in ENDED
        for pair in ((ended, "running"), ("running", ended))
    },
    ("failed", "succeeded"): ((UNCERTAIN, "disagree"), (UNCERTAIN, "disagree")),
    ("partial_error", "succeeded"): ((UNCERTAIN, "disagree"), (UNCERTAIN, "disagree")),
    ("succeeded", "failed"): ((UNCERTAIN, "disagree"), (UNCERTAIN, "disagree")),
    ("a new word", "-"): ((UNCERTAIN, "unknown_state"), (UNCERTAIN, "unknown_state")),
    ("-", "a new word"): ((UNCERTAIN, "unknown_state"), (UNCERTAIN, "unknown_state")),
    ("succeeded", "a new word"): ((UNCERTAIN, "unknown_state"), (UNCERTAIN, "unknown_state")),
}


def log_says(witness: str, *runs: Run, **changes: object) -> Statement:
    return log_testimony(
        witness, a_slot(Kind.IMPORT), a_log(*runs, **changes), DUE + timedelta(days=1), WAITS, until=WINDOW.ended_at
    )


def verdict_of(*testimonies: Statement, kind: Kind = Kind.IMPORT, age: timedelta = OLD) -> Finding:
    return judge_one(Evidence(a_slot(kind), testimonies), DUE + age, WAITS)


@pytest.mark.requirement("R001.16", "R001.17", "R001.18", "R001.19", "R001.20", "R001.21", "R001.22")
@pytest.mark.parametrize(("log", "console"), MATRIX)
@pytest.mark.parametrize("age", ["young", "old"])
def test_the_log_and_the_console_together_decide(log: str, console: str, age: str) -> None:
    """Every pair of states, half an hour and three hours after the slot; the age limit is two hours."""
    runs = {w: [a_run("r1", state)] if state != "-" else [] for w, state in ((ACTIVITY_LOG, log), (CONSOLE, console))}
    finding = verdict_of(*(log_says(w, *r) for w, r in runs.items()), age=YOUNG if age == "young" else OLD)
    assert (finding.verdict, finding.code) == MATRIX[log, console][age == "old"]


@pytest.mark.parametrize("kind", JOBS)
def test_every_kind_of_job_is_judged_alike(kind: Kind) -> None:
    missed = verdict_of(said(ACTIVITY_LOG, Saw.NOTHING), said(CONSOLE, Saw.NOTHING), kind=kind)
    assert (missed.verdict, missed.code) == (MISSED, "no_activity")


@pytest.mark.requirement("R001.22")
@pytest.mark.parametrize(("seconds", "verdict"), [(7200, UNCERTAIN), (7201, STALLED)])
def test_a_job_stalls_only_past_its_age_limit(seconds: int, verdict: Verdict) -> None:
    running = log_says(ACTIVITY_LOG, a_run(state="running"))
    quiet = said(CONSOLE, Saw.NOTHING)
    assert verdict_of(running, quiet, age=timedelta(seconds=seconds)).verdict is verdict


def test_age_counts_from_the_earliest_time_that_either_witness_knows() -> None:
    """A job that was queued long ago and has just begun is as old as its queueing."""
    log = log_says(ACTIVITY_LOG, a_run(state="running", scheduled_for=None, started_at=DUE + OLD))
    console = log_says(CONSOLE, a_run(state="running", started_at=None))
    assert verdict_of(log, console).verdict is STALLED


def test_a_run_under_way_since_nobody_knows_when_is_never_called_stalled() -> None:
    """A stalled job is stopped and run again; this one may have begun a minute ago."""
    queued = log_says(CONSOLE, a_run(state="queued", scheduled_for=None, started_at=None, ended_at=None))
    finding = verdict_of(log_says(ACTIVITY_LOG), queued, age=timedelta(days=2))
    assert (finding.verdict, finding.code) == (
        UNCERTAIN,
        "in_progress",
    ) and "nothing tells since when" in finding.reason


def test_a_slot_whose_run_succeeded_is_done_although_another_run_without_a_time_is_queued() -> None:
    queued = log_says(CONSOLE, a_run("next", "queued", scheduled_for=None, started_at=None, ended_at=None))
    finding = verdict_of(log_says(ACTIVITY_LOG, a_run()), queued)
    assert (finding.verdict, finding.code) == (DONE, "succeeded")


@pytest.mark.requirement("R001.7", "R001.20")
@pytest.mark.parametrize("witness", [ACTIVITY_LOG, CONSOLE])
@pytest.mark.parametrize("saw", list(Saw))
@pytest.mark.parametrize("deaf", ["unreadable", "absent"])
def test_one_witness_alone_decides_nothing(witness: str, saw: Saw, deaf: str) -> None:
    other = CONSOLE if witness == ACTIVITY_LOG else ACTIVITY_LOG
    silent = [unreadable(other, NOW, "HTTP 502")] if deaf == "unreadable" else []
    finding = verdict_of(said(witness, saw), *silent)
    assert (finding.verdict, finding.code) == (UNCERTAIN, "unreadable")


@pytest.mark.requirement("R001.20")
@pytest.mark.parametrize("witness", [ACTIVITY_LOG, CONSOLE])
def test_an_absence_from_a_log_with_a_hole_is_uncertain(witness: str) -> None:
    both = {w: said(w, Saw.NOTHING, complete=w != witness) for w in (ACTIVITY_LOG, CONSOLE)}
    finding = verdict_of(*both.values())
    assert (finding.verdict, finding.code) == (UNCERTAIN, "log_incomplete")
    assert witness in finding.reason


@pytest.mark.parametrize(("seconds", "verdict"), [(899, UNCERTAIN), (900, MISSED)])
def test_nothing_is_missed_before_its_grace_is_over(seconds: int, verdict: Verdict) -> None:
    quiet = said(ACTIVITY_LOG, Saw.NOTHING), said(CONSOLE, Saw.NOTHING)
    assert verdict_of(*quiet, age=timedelta(seconds=seconds)).verdict is verdict


def test_a_repeat_by_hand_that_worked_makes_the_slot_done() -> None:
    again = a_run("r2", requested_by="repeat", started_at=DUE + timedelta(hours=1), scheduled_for=None)
    log = log_says(ACTIVITY_LOG, a_run("r1", "failed"), again)
    finding = verdict_of(log, said(CONSOLE, Saw.NOTHING))
    assert (finding.verdict, finding.code) == (DONE, "done_by_hand")


def test_a_repeat_by_hand_that_still_runs_is_waited_for() -> None:
    again = a_run("r2", "running", requested_by="run_now", started_at=DUE + OLD - YOUNG, scheduled_for=None)
    finding = verdict_of(log_says(ACTIVITY_LOG, a_run("r1", "failed"), again), said(CONSOLE, Saw.NOTHING))
    assert (finding.verdict, finding.code) == (UNCERTAIN, "in_progress")


def test_a_hanging_original_does_not_count_once_somebody_s_repeat_worked() -> None:
    again = a_run("r2", requested_by="repeat", started_at=DUE + timedelta(hours=1), scheduled_for=None)
    log = log_says(ACTIVITY_LOG, a_run("r1", "running"), again)
    finding = verdict_of(log, log_says(CONSOLE, a_run("r1", "running")))
    assert (finding.verdict, finding.code) == (DONE, "done_by_hand")


def test_what_the_ledger_proved_is_done() -> None:
    ours = Statement(LEDGER, Saw.OURS, NOW, True, "the ledger holds the proof")
    finding = verdict_of(said(ACTIVITY_LOG, Saw.FAILED), said(CONSOLE, Saw.NOTHING), ours)
    assert (finding.verdict, finding.code) == (DONE, "recovered")


@settings(max_examples=80)
@given(
    st.tuples(*(st.tuples(st.sampled_from(list(Saw)), st.booleans(), st.sampled_from(("r1", "r2", None))),) * 2),
    st.sampled_from(JOBS),
)
def test_the_order_of_testimonies_changes_nothing(sights: tuple[tuple[Saw, bool, str | None], ...], kind: Kind) -> None:
    both = [
        said(w, saw, {"run": run}, complete=whole)
        for w, (saw, whole, run) in zip((ACTIVITY_LOG, CONSOLE), sights, strict=True)
    ]
    rulings = {(f.verdict, f.code, f.reason) for order in permutations(both) for f in [verdict_of(*order, kind=kind)]}
    assert len(rulings) == 1


@settings(max_examples=80)
@given(*(st.sampled_from(list(Saw)),) * 2, *(st.booleans(),) * 2)
def test_missed_needs_two_complete_absences(log: Saw, console: Saw, log_whole: bool, console_whole: bool) -> None:
    """Over all pairs of sights: only two witnesses that both looked everywhere prove that nothing happened."""
    finding = verdict_of(said(ACTIVITY_LOG, log, complete=log_whole), said(CONSOLE, console, complete=console_whole))
    if finding.verdict is MISSED:
        assert (log, console, log_whole, console_whole) == (Saw.NOTHING, Saw.NOTHING, True, True)
