"""A round of watching reads every account beside the others, and of a busy log only what it is about."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from integrations.kept import Kept
from recovery.model import ItemOutcome
from recovery.operate import watch_round
from sandbox import scenario_jobs as jobs
from tests.recovery.stage import night, stage

NAMES = ("able", "baker")
JOBS = 5


def plant(story: Any, account: Any) -> None:
    for n in range(JOBS):
        # All of the first account's jobs are due before any of the second's, so one after the other would show.
        at = story.started_at + timedelta(minutes=10 * (NAMES.index(account.name) + 1) + n)
        jobs.plant_import(story, account, f"imp{n}", f"Guests {n}", jobs.once(at), jobs.full_error, 401 + n)


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The target of every read, with the account before it, in the order of the answers."""
    seen: list[str] = []

    async def noted(self: Any, request: Any, *rest: Any, _send: Any = Kept.exchange) -> Any:
        try:
            return await _send(self, request, *rest)
        finally:
            seen.append(f"{next((n for n in NAMES if n in request.base.text), '')} {request.target}")

    monkeypatch.setattr(Kept, "exchange", noted)
    return seen


async def test_a_slow_account_keeps_no_other_waiting_and_each_job_is_asked_about_alone(
    tmp_path: Path, answered: list[str]
) -> None:
    async with night(tmp_path, stage(plant, names=NAMES)) as n:
        done = await n.recover()
        assert {row.outcome for row in done.items} == {ItemOutcome.CONFIRMED}
        n.fault("dashboard", "activity_log", "slow-drip", "able", times=-1, seconds=0.5)
        answered.clear()
        async with n.open() as systems:
            seen = await watch_round(systems)
    assert (seen.looked, seen.sightings, seen.problems) == (2 * JOBS, (), ())
    logs = [each for each in answered if "/activity-log" in each]
    assert len(logs) == 2 * JOBS
    assert all("definition_id=imp" in each for each in logs)
    assert [each.split()[0] for each in logs[-4:]] == ["able"] * 4, "the other account was done long before"


async def test_a_remote_that_gives_no_answer_is_given_up_for_the_round(tmp_path: Path, answered: list[str]) -> None:
    async with night(tmp_path, stage(plant, names=NAMES)) as n:
        await n.recover()
        n.fault("dashboard", "*", "hang", "able", times=-1, seconds=0.05)
        answered.clear()
        async with n.open() as systems:
            seen = await watch_round(systems)
    assert seen.looked == 2 * JOBS
    assert len(seen.problems) == JOBS
    assert sum("not asked, because" in problem for problem in seen.problems) == JOBS - 3
    assert sum(each.startswith("baker") for each in answered) == JOBS
