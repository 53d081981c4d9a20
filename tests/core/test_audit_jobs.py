"""Which runs the audit counts for which slot: at a clock change, and long after the outage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from recovery.audit_jobs import JobReader, _at_a_clock_change
from recovery.errors import RemoteError
from recovery.judge import judge
from recovery.model import Finding, Kind, OutageWindow, Schedule, Scheduled, System, Verdict
from recovery.ports import BridgeCapabilities, Definition, Listing, Run, RunLog
from recovery.slots import moments
from recovery.testify import ACTIVITY_LOG

from .makers import a_run, shipped_policy

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


START, NOW = datetime(2026, 11, 2, 14, tzinfo=UTC), datetime(2026, 11, 28, tzinfo=UTC)
SLOT = datetime(2026, 11, 2, 15, tzinfo=UTC)


class AtNow:
    """The clock of the audit, weeks after the outage."""

    def now(self) -> datetime:
        return NOW


@dataclass
class Jobs:
    """A dashboard with one definition and its log; the Console shows what is under way."""

    definition: Definition
    runs: Sequence[Run]

    async def definitions(self) -> Listing[Definition]:
        return Listing((self.definition,), True, NOW)

    async def capabilities(self) -> BridgeCapabilities:
        raise RemoteError("dashboard", "acme", "not said")

    async def activity_log(self, start: datetime, end: datetime) -> RunLog:
        return self._log([r for r in self.runs if start <= (r.started_at or start) <= end])

    async def console(self) -> RunLog:
        return self._log([r for r in self.runs if r.state == "running"])

    def _log(self, runs: Sequence[Run]) -> RunLog:
        return RunLog(tuple(runs), True, START - timedelta(days=30), NOW, NOW, "", ())


@dataclass
class Acme:
    jobs: Jobs
    name: str = "acme"
    time_zone: str = "America/New_York"


async def audited(schedule: Schedule, *runs: Run) -> list[Finding]:
    """What the audit says of one import and its runs, four hours of outage and weeks of good days after it."""
    thing = Scheduled("acme", System.DASHBOARD, Kind.IMPORT, "7", "Import", schedule)
    account, policy = Acme(Jobs(Definition(thing), runs)), shipped_policy()
    window = OutageWindow(START, START + timedelta(hours=4), ("acme",))
    found = await JobReader(window, cast(Any, account), policy, b"x", cast(Any, AtNow()), cast(Any, None)).jobs()
    return list(judge(found.evidence, NOW, policy.waits))


def ran(ref: str, at: datetime, state: str = "succeeded", **more: Any) -> Run:
    ended = None if state == "running" else at + timedelta(minutes=2)
    more = {"scheduled_for": None, "definition_ref": "7"} | more
    return a_run(ref, state, started_at=at, ended_at=ended, **more)


@pytest.mark.requirement("R001.20")
@pytest.mark.parametrize(
    ("schedule", "days"),
    [
        (Schedule("cron", "0 10 * * 1", None, "America/New_York"), 7),
        (Schedule("interval", "P3D", SLOT - timedelta(days=9), "UTC"), 3),
        (Schedule("rrule", "FREQ=WEEKLY;INTERVAL=2", SLOT - timedelta(days=14), "UTC"), 14),
    ],
)
async def test_the_next_weeks_run_that_names_no_slot_is_not_the_one_that_was_missed(
    schedule: Schedule, days: int
) -> None:
    (finding,) = await audited(schedule, ran("r9", SLOT + timedelta(days=days, minutes=1)))
    assert (finding.slot.due_at, finding.verdict) == (SLOT, Verdict.MISSED)


async def test_a_late_run_that_names_no_slot_is_still_the_weekly_slots_own() -> None:
    (finding,) = await audited(
        Schedule("cron", "0 10 * * 1", None, "America/New_York"), ran("r9", SLOT + timedelta(days=2))
    )
    assert finding.verdict is Verdict.DONE


DAILY = Schedule("cron", "0 10 * * *", None, "America/New_York")


@pytest.mark.requirement("R001.17")
@pytest.mark.parametrize("state", ["failed", "running", "stopped", "partial_error"])
async def test_what_somebody_starts_after_the_outage_does_not_undo_a_slot_whose_own_run_worked(state: str) -> None:
    own = ran("r1", SLOT + timedelta(minutes=1), scheduled_for=SLOT)
    (finding,) = await audited(DAILY, own, ran("r2", NOW - timedelta(hours=5), state, requested_by="user"))
    assert (finding.verdict, finding.code) == (Verdict.DONE, "succeeded")


@pytest.mark.requirement("R001.2")
async def test_what_somebody_started_in_the_outage_and_failed_is_told_beside_a_slot_that_worked() -> None:
    own = ran("r1", SLOT + timedelta(minutes=1), scheduled_for=SLOT)
    (finding,) = await audited(DAILY, own, ran("r2", SLOT + timedelta(hours=1), "failed", requested_by="user"))
    assert finding.verdict is Verdict.FAILED


async def test_a_failed_slot_waits_for_what_somebody_started_after_the_outage() -> None:
    own = ran("r1", SLOT + timedelta(minutes=1), "failed", scheduled_for=SLOT)
    again = ran("r2", NOW - timedelta(minutes=5), "running", requested_by="reprocess")
    (finding,) = await audited(DAILY, own, again)
    assert (finding.verdict, finding.code) == (Verdict.UNCERTAIN, "in_progress")
