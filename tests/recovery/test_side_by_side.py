"""An account's jobs run side by side, so that the night does not wait for one after the other; with two exceptions."""

import asyncio
from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import pytest

from recovery.model import ItemOutcome
from sandbox import scenario_campaigns as mail
from sandbox import scenario_jobs as jobs
from tests.recovery.stage import items, night, stage

LISTS = {"i1": 401, "i2": 402, "i3": 403, "i4": 404, "i5": 405, "same1": 409, "same2": 409, "same3": 409}


def plant(story, account, run_seconds=12):
    due = story.started_at + timedelta(minutes=20)
    jobs.plant_import(story, account, "healthy", "Healthy", jobs.cron("5 * * * *", "America/New_York"), None, 400)
    for name, used in LISTS.items():
        jobs.plant_import(story, account, name, name, jobs.once(due), jobs.no_activity, used)
    mail.overdue_small(story, account, "Gala", due)
    account.dashboard.knobs.run_seconds = run_seconds


async def play(folder, plant=plant, **limits):
    async with night(folder, stage(plant), limits=limits) as n:
        done = await n.recover()
        runs = [
            (r["event"], r["definition"])
            for r in n.events("dashboard", "run_started", "run_ended")
            if r["definition"] in LISTS
        ]
        first_mail = n.events("pro2", "campaign_status", by="api")[0]["at"]
        last_job = n.events("dashboard", "run_ended")[-1]["at"]
        return SimpleNamespace(done=done, runs=runs, oracle=await n.oracle(), mail_after_jobs=first_mail >= last_job)


def most_at_once(runs, names):
    """How many of these definitions had a run under way at the same moment."""
    under_way, most = set(), 0
    for event, name in runs:
        if name in names:
            (under_way.add if event == "run_started" else under_way.discard)(name)
            most = max(most, len(under_way))
    return most


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return asyncio.run(play(tmp_path_factory.mktemp("side"), jobs_at_once=3))


def test_jobs_run_side_by_side_and_no_more_of_them_than_allowed(played):
    assert 2 <= most_at_once(played.runs, LISTS) <= 3


def test_jobs_that_use_one_list_run_one_after_the_other(played):
    assert most_at_once(played.runs, {"same1", "same2", "same3"}) == 1


def test_mail_waits_for_all_of_them(played):
    assert played.mail_after_jobs


def test_each_is_done_once_and_the_oracle_agrees(played):
    assert {r.outcome for r in items(played.done).values()} == {ItemOutcome.CONFIRMED}
    assert sorted(name for event, name in played.runs if event == "run_started") == sorted(LISTS)
    assert played.oracle == []


async def test_with_one_job_at_once_they_run_in_the_plans_order(tmp_path):
    played = await play(tmp_path, partial(plant, run_seconds=2), jobs_at_once=1)
    assert most_at_once(played.runs, LISTS) == 1
    assert played.oracle == []
