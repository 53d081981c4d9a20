"""Runs and slots that miss each other where the wall clock skips or repeats an hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from recovery.audit_jobs import _at_a_clock_change
from recovery.model import Kind, Schedule, Scheduled, System
from recovery.slots import moments
from recovery.testify import ACTIVITY_LOG

from .makers import a_run

FALL, SPRING = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 3, 8, tzinfo=UTC)


def matched(day: datetime, line: str, *times: str, by: str = "schedule") -> list[str]:
    """The times of the runs as the slots of that day see them; New York's clock changes in it."""
    thing = Scheduled(
        "acme", System.DASHBOARD, Kind.IMPORT, "7", "Import", Schedule("cron", line, None, "America/New_York")
    )
    ran = [datetime.fromisoformat(f"{day:%Y-%m-%d}T{t}:00+00:00") for t in times]
    runs = [a_run(f"r{n}", definition_ref="7", scheduled_for=t, requested_by=by) for n, t in enumerate(ran)]
    due = moments(thing, day, day + timedelta(days=1))
    own = _at_a_clock_change(thing, due, {ACTIVITY_LOG: runs})
    return [f"{r.scheduled_for:%H:%M}" for r in own[ACTIVITY_LOG]]


@pytest.mark.requirement("R001.2")
@pytest.mark.parametrize(
    ("day", "line", "ran", "seen"),
    [
        (SPRING, "30 2 * * *", ["07:30"], ["07:00"]),  # 02:30 is skipped: 03:00 for one scheduler, 03:30 for another
        (FALL, "30 1 * * *", ["06:30"], ["05:30"]),  # 01:30 comes twice: the first for one, the second for another
        (FALL, "30 1 * * *", ["05:30", "06:30"], ["05:30", "06:30"]),  # both: the slot has its own run
        (FALL, "30 3 * * *", ["07:30"], ["07:30"]),  # 03:30 comes once: an hour off is another time
        (FALL, "30 13 * * *", ["17:30"], ["17:30"]),  # away from the change nothing is bent
        (FALL, "30 * * * *", ["04:30", "06:30"], ["04:30", "06:30"]),  # each belongs to a slot of its own
    ],
)
def test_a_run_an_hour_from_its_slot_is_its_run_only_at_a_clock_change_and_if_both_are_alone(day, line, ran, seen):
    assert matched(day, line, *ran) == seen


def test_a_run_by_hand_is_nobodys_slot() -> None:
    assert matched(FALL, "30 1 * * *", "06:30", by="run_now") == ["06:30"]
