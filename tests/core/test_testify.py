"""What one witness may be believed: runs that belong to a slot, absences, counters."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from recovery.model import Kind, Saw
from recovery.testify import (
    ACTIVITY_LOG,
    CONSOLE,
    list_testimony,
    log_testimony,
    made_up_for,
    run_saw,
    runs_of,
    unreadable,
)

from .makers import DUE, NOW, WAITS, WINDOW, a_log, a_run, a_slot

SLOT = a_slot(Kind.IMPORT)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
END = WINDOW.ended_at
TIMELESS = {"scheduled_for": None, "started_at": None, "ended_at": None}
BY_HAND_TIMELESS = {**TIMELESS, "scheduled_for": DUE}
NEWER = a_run("newer", definition_ref="x", scheduled_for=NOW - HOUR)

# The things that make "no run" believable; each one that is missing makes it worthless.
HOLES = {
    "a page failed": {"complete": False, "problem": "page 3: HTTP 502"},
    "it begins after the slot": {"covers_from": DUE + timedelta(seconds=1)},
    "it does not say where it begins": {"covers_from": None},
    "it ends before the slot's grace": {"covers_to": DUE + timedelta(seconds=WAITS.grace - 1)},
    "it ends before the window": {"covers_to": END - timedelta(seconds=1)},
    "it was read before the window's end": {"read_at": END - timedelta(seconds=1), "covers_to": None},
    "a run in it names no time": {"runs": (NEWER, a_run(**TIMELESS))},
    "a run by hand in it names no time of its own": {"runs": (NEWER, a_run(requested_by="user", **BY_HAND_TIMELESS))},
    "it shows nothing newer than the slot": {
        "runs": (a_run("old", definition_ref="x", scheduled_for=DUE - DAY, started_at=DUE - DAY, ended_at=DUE - HOUR),)
    },
    "it is empty": {"runs": ()},
}


@pytest.mark.requirement("R001.16", "R001.20")
def test_an_absence_is_believed_when_the_log_is_whole_covers_the_slot_and_shows_something_newer() -> None:
    heard = log_testimony(ACTIVITY_LOG, SLOT, a_log(), DUE + DAY, WAITS, until=END)
    assert (heard.saw, heard.complete) == (Saw.NOTHING, True)


@pytest.mark.requirement("R001.7", "R001.20")
@pytest.mark.parametrize("hole", HOLES)
def test_an_absence_with_a_hole_in_the_log_is_not_believed(hole: str) -> None:
    heard = log_testimony(ACTIVITY_LOG, SLOT, a_log(**HOLES[hole]), DUE + DAY, WAITS, until=END)
    assert (heard.saw, heard.complete) == (Saw.NOTHING, False)
    assert heard.detail.startswith("no run, but ")


def test_the_console_shows_the_present_and_need_not_reach_back() -> None:
    """It lists what is under way, so an empty Console that was read whole is an answer."""
    now_empty = a_log(runs=(), covers_from=None, covers_to=None)
    assert log_testimony(CONSOLE, SLOT, now_empty, None, WAITS, until=END).complete
    assert not log_testimony(CONSOLE, SLOT, a_log(complete=False), None, WAITS, until=END).complete


@pytest.mark.parametrize(
    ("scheduled_for", "started_at", "belongs"),
    [
        (DUE, DUE + HOUR, True),
        (DUE + timedelta(seconds=59), None, True),
        (DUE + timedelta(seconds=60), DUE, False),
        (DUE - timedelta(seconds=60), DUE, False),
        (None, DUE, True),
        (None, DUE - timedelta(seconds=60), False),
        (None, DUE - timedelta(seconds=59), True),
        (None, DUE + DAY - timedelta(seconds=60), True),
        (None, DUE + DAY - timedelta(seconds=59), False),
        (None, DUE + DAY, False),
        (None, None, False),
    ],
)
def test_a_run_belongs_to_the_slot_it_was_scheduled_for_or_started_after(
    scheduled_for: object, started_at: object, belongs: bool
) -> None:
    """When the log does not say what a run was for, it belongs to the slot in whose time it started."""
    run = a_run(scheduled_for=scheduled_for, started_at=started_at, ended_at=None)
    assert bool(runs_of(SLOT, [run], DUE + DAY)) is belongs


@pytest.mark.requirement("R001.20")
@pytest.mark.parametrize(("ended_at", "belongs"), [(DUE + HOUR, True), (DUE - HOUR, False), (DUE + DAY, False)])
def test_a_run_that_names_only_its_end_is_placed_by_it(ended_at: datetime, belongs: bool) -> None:
    run = a_run(scheduled_for=None, started_at=None, ended_at=ended_at)
    assert bool(runs_of(SLOT, [run], DUE + DAY)) is belongs


@pytest.mark.parametrize("gap", [timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=5)])
@pytest.mark.parametrize("named", ["scheduled_for", "started_at", "ended_at"])
def test_a_run_belongs_to_exactly_one_slot_of_however_close_a_schedule(gap: timedelta, named: str) -> None:
    due = [DUE + n * gap for n in range(-3, 4)]
    for seconds in range(-60, 60):
        moment = DUE + timedelta(seconds=seconds)
        run = a_run(**{**TIMELESS, named: moment})
        of = [
            d
            for before, d, after in zip(due, due[1:], due[2:], strict=False)
            if runs_of(a_slot(Kind.IMPORT, due_at=d), [run], after, before)
        ]
        assert len(of) == 1 or (named == "scheduled_for" and gap > 2 * MINUTE), (seconds, of)
        assert len(of) <= 1 and (seconds or of == [DUE])


@pytest.mark.requirement("R001.20")
@pytest.mark.parametrize("witness", [ACTIVITY_LOG, CONSOLE])
@pytest.mark.parametrize("state", ["queued", "running", "stop_requested"])
def test_a_run_under_way_that_names_no_time_counts_as_running(witness: str, state: str) -> None:
    heard = log_testimony(witness, SLOT, a_log(a_run(state=state, **TIMELESS)), DUE + DAY, WAITS, until=END)
    assert (heard.saw, heard.facts["run"]) == (Saw.RUNNING, "r1")


def test_a_failure_beside_a_run_that_names_no_time_decides_nothing() -> None:
    log = a_log(a_run(state="failed"), a_run("r2", requested_by="user", **TIMELESS))
    heard = log_testimony(ACTIVITY_LOG, SLOT, log, DUE + DAY, WAITS, until=END)
    assert heard.saw is Saw.UNKNOWN and "when run r2 (user, succeeded) was is not known" in heard.detail


def test_a_success_stays_one_beside_a_run_that_names_no_time() -> None:
    log = a_log(a_run(), a_run("r2", **TIMELESS))
    assert log_testimony(ACTIVITY_LOG, SLOT, log, DUE + DAY, WAITS, until=END).saw is Saw.WORKED


@pytest.mark.parametrize(
    ("state", "ended_at", "later"),
    [
        ("queued", None, True),
        ("running", None, True),
        ("succeeded", None, False),
        ("failed", None, False),
        ("succeeded", DUE - HOUR, False),
        ("succeeded", DUE + HOUR, True),
    ],
)
def test_a_run_by_hand_without_a_start_is_later_only_if_its_end_or_its_state_says_so(
    state: str, ended_at: datetime | None, later: bool
) -> None:
    run = a_run(state=state, requested_by="user", scheduled_for=None, started_at=None, ended_at=ended_at)
    assert bool(made_up_for(SLOT, (), [run])) is later


def test_the_last_slot_takes_every_later_run_without_a_plan() -> None:
    run = a_run(scheduled_for=None, started_at=DUE + 30 * DAY)
    assert runs_of(SLOT, [run], None) == (run,)


@pytest.mark.parametrize("by", ["user", "run_now", "repeat", "reprocess", "import"])
def test_a_run_by_hand_is_nobody_s_scheduled_run_but_may_make_up_for_one(by: str) -> None:
    run = a_run(requested_by=by, started_at=DUE + HOUR)
    assert runs_of(SLOT, [run], None) == ()
    assert made_up_for(SLOT, (), [run]) == (run,)
    assert made_up_for(SLOT, (), [a_run(requested_by=by, started_at=DUE - HOUR)]) == ()


def test_runs_of_another_definition_say_nothing() -> None:
    run = a_run(definition_ref="8")
    assert runs_of(SLOT, [run], None) == ()
    assert made_up_for(SLOT, (), [a_run(definition_ref="8", requested_by="user")]) == ()


def test_a_later_success_by_hand_settles_an_earlier_failure() -> None:
    again = a_run("r2", requested_by="repeat", started_at=DUE + 2 * HOUR, scheduled_for=None)
    heard = log_testimony(ACTIVITY_LOG, SLOT, a_log(a_run(state="failed"), again), DUE + DAY, WAITS, until=END)
    assert (heard.saw, heard.facts["run"], heard.facts["by_hand"]) == (Saw.WORKED, "r2", True)


@pytest.mark.parametrize("state", ["failed", "running"])
def test_a_success_by_hand_makes_up_for_a_missed_slot_whatever_a_later_run_by_hand_does(state: str) -> None:
    worked = a_run("r1", requested_by="run_now", started_at=DUE + HOUR, scheduled_for=None)
    later = a_run("r2", state, requested_by="user", started_at=DUE + DAY, scheduled_for=None)
    heard = log_testimony(ACTIVITY_LOG, SLOT, a_log(later, worked), DUE + DAY, WAITS, until=END)
    assert (heard.saw, heard.facts["run"], heard.facts["by_hand"]) == (Saw.WORKED, "r1", True)


@pytest.mark.parametrize("state", ["failed", "running", "stopped"])
def test_a_run_by_hand_does_not_speak_for_a_slot_whose_own_run_may_be_in_the_unread_part(state: str) -> None:
    later = a_run("r2", state, requested_by="user", started_at=DUE + DAY, scheduled_for=None)
    log = a_log(later, complete=False, problem="a page could not be read")
    heard = log_testimony(ACTIVITY_LOG, SLOT, log, DUE + DAY, WAITS, until=END)
    assert (heard.saw, "not read whole" in heard.detail) == (Saw.UNKNOWN, True)


@pytest.mark.parametrize("newest_first", [True, False])
def test_of_several_repeats_that_failed_the_newest_speaks_whatever_the_order_of_the_log(newest_first: bool) -> None:
    again = [
        a_run(
            f"r{n}", "failed", requested_by="repeat", scheduled_for=None, started_at=t, ended_at=t + timedelta(1 / 24)
        )
        for n, t in ((2, DUE + 2 * HOUR), (1, DUE + HOUR))
    ]
    log = a_log(*(again if newest_first else again[::-1]), a_run("r0", "failed"))
    assert log_testimony(ACTIVITY_LOG, SLOT, log, DUE + DAY, WAITS, until=END).facts["run"] == "r2"


def test_counts_that_a_run_does_not_name_are_not_spoken_of() -> None:
    bare = a_log(a_run(returned=None, updated=None, errored=None))
    heard = log_testimony(ACTIVITY_LOG, SLOT, bare, DUE + DAY, WAITS, until=END)
    assert heard.detail == "run r1 succeeded"


def test_of_several_runs_of_a_slot_the_newest_speaks() -> None:
    first = a_run("r1", state="failed")
    second = a_run("r2", started_at=DUE + HOUR, ended_at=DUE + 2 * HOUR)
    heard = log_testimony(ACTIVITY_LOG, SLOT, a_log(second, first), DUE + DAY, WAITS, until=END)
    assert (heard.saw, heard.facts["run"]) == (Saw.WORKED, "r2")


@pytest.mark.requirement("R001.17")
@pytest.mark.parametrize(
    ("own", "saw"),
    [
        ({"state": "partial_error"}, Saw.PARTIAL),
        ({"returned": 10, "updated": 7, "errored": 3}, Saw.PARTIAL),
        ({"returned": 10, "updated": 0}, Saw.UNKNOWN),
        ({"state": "stopped"}, Saw.FAILED),
        ({"state": "failed"}, Saw.FAILED),
    ],
)
def test_a_failed_run_by_hand_hides_no_run_that_may_have_served_some(own: dict[str, object], saw: Saw) -> None:
    """Who was served already would be served again by a reprocess, which a failure is answered with."""
    first = a_run("r1", **own)
    second = a_run("r2", requested_by="user", state="failed", **{**TIMELESS, "started_at": DUE + HOUR})
    heard = log_testimony(ACTIVITY_LOG, SLOT, a_log(second, first), DUE + DAY, WAITS, until=END)
    assert heard.saw is saw


@pytest.mark.requirement("R001.17")
@pytest.mark.parametrize(
    ("changes", "saw"),
    [
        ({}, Saw.WORKED),
        ({"returned": 0, "updated": 0}, Saw.WORKED),
        ({"returned": 10, "updated": 0}, Saw.UNKNOWN),
        ({"returned": 10, "updated": 7, "errored": 3}, Saw.PARTIAL),
        ({"returned": None, "updated": None, "errored": None}, Saw.WORKED),
        ({"state": "failed"}, Saw.FAILED),
        ({"state": "partial_error"}, Saw.PARTIAL),
        ({"state": "queued"}, Saw.RUNNING),
        ({"state": "running"}, Saw.RUNNING),
        ({"state": "stop_requested"}, Saw.RUNNING),
        ({"state": "stopped"}, Saw.STOPPED),
        ({"state": "SUCCEEDED"}, Saw.UNKNOWN),
        ({"state": ""}, Saw.UNKNOWN),
        ({"state": "a new word"}, Saw.UNKNOWN),
    ],
)
def test_a_run_worked_when_contacts_came_back_and_were_updated(changes: dict[str, object], saw: Saw) -> None:
    """Words we do not know are unknown, and counts may make a "succeeded" doubtful."""
    assert run_saw(a_run(**changes)) is saw


@pytest.mark.requirement("R001.28", "R001.29")
@pytest.mark.parametrize(
    ("missing", "extra", "saw"), [(0, 0, Saw.WORKED), (1, 0, Saw.GAP), (0, 1, Saw.GAP), (4, 9, Saw.GAP)]
)
def test_a_tag_and_a_list_that_differ_either_way_show_a_gap(missing: int, extra: int, saw: Saw) -> None:
    assert list_testimony(missing, extra, NOW, "compared").saw is saw


def test_an_unreadable_witness_is_never_complete_and_says_why() -> None:
    silent = unreadable(CONSOLE, NOW, "HTTP 502")
    assert (silent.saw, silent.complete, silent.detail) == (Saw.UNREADABLE, False, "HTTP 502")
