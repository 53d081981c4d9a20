"""Without a bridge a named person clicks: the product leads, claims and records, and believes only what was read."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from recovery.errors import RefusedError
from recovery.model import ActionState, ItemOutcome, Verdict, iso
from recovery.terminal.task_commands import read
from sandbox import scenario_jobs as jobs
from tests.assisted.person import Person, assist, tasks_of
from tests.recovery.stage import items, night, stage

ZONE = "America/New_York"
SHOT = ("activity-log.png", b"\x89PNG what the Activity Log shows")


def failed_import(story, account):
    once = jobs.once(story.started_at + timedelta(minutes=10))
    jobs.plant_import(story, account, "healthy", "Healthy import", jobs.cron("5 * * * *", ZONE), None, 400)
    jobs.plant_import(story, account, "imp", "Guests", once, jobs.full_error, 401)


@asynccontextmanager
async def assisted(folder, **settings):
    async with night(folder, stage(failed_import)) as n:
        assist(n, **settings)
        yield n, Person(n)


async def upload(n, person, **changes):
    assert await read(n.config, await person.reading(n.folder, **changes), "harbor", "Dana Reyes", as_json=True) == 0


async def task_waits(n, person):
    """A reading, an approved recovery that stops at the person, and the task it made."""
    await upload(n, person)
    done = await n.recover()
    assert items(done)["imp"].outcome is ItemOutcome.HELD
    async with n.open() as systems:
        (task,) = await tasks_of(systems).all()
    return task


async def go_on(n):
    """The recorded plan again, as `allclear recover --plan` runs it; its approvals stand."""
    async with n.open() as systems:
        plan = await systems.ledger.latest_plan()
        return await n.run(systems, plan)


async def state_of(n, task):
    async with n.open() as systems:
        row = await systems.ledger.action(task.key)
    return row.state


async def test_a_person_clicks_once_and_the_item_is_confirmed_from_what_they_read(tmp_path):
    async with assisted(tmp_path) as (n, person):
        task = await task_waits(n, person)
        assert (task.button, task.standing) == ("reprocess", "open")
        assert any("imp" in step or task.target in step for step in task.steps)
        async with n.open() as systems:
            tasks = tasks_of(systems)
            await tasks.claim(task.key, "Dana Reyes")
            await tasks.about_to_click(task.key, "Dana Reyes")
        assert await state_of(n, task) is ActionState.UNKNOWN, "in a person's hands"
        run = await person.clicks(f"/runs/{task.target}/reprocess")
        await asyncio.sleep(0.6)
        await upload(n, person)
        async with n.open() as systems:
            done = await tasks_of(systems).done(task.key, "Dana Reyes", SHOT, ref=run)
        assert len(done.evidence) == 64 and (n.folder / "state" / "evidence" / done.evidence).read_bytes() == SHOT[1]
        after = await go_on(n)
        assert items(after)["imp"].outcome is ItemOutcome.CONFIRMED, items(after)["imp"].reason
        assert after.balance is not None and after.balance.adds_up
        assert len(n.events("dashboard", "run_requested")) == 1
        assert await n.oracle() == []


async def test_without_a_reading_or_with_an_old_one_every_job_is_uncertain(tmp_path):
    async with assisted(tmp_path) as (n, person):
        found = await n.audit()
        assert [f.verdict for f in found.values() if f.slot.system == "dashboard"] == [Verdict.UNCERTAIN]
        await upload(n, person)
        assert (await n.audit())["imp"].verdict is Verdict.FAILED
        n.world.advance(3600)
        clock = n.config.read_text().replace(
            "clock_offset_seconds = ", f"clock_offset_seconds = {n.world.clock_offset_seconds} # "
        )
        n.config.write_text(clock)
        old = (await n.audit())["imp"]
        assert old.verdict is Verdict.UNCERTAIN and "too old" in str(old.evidence)


async def test_a_reading_from_before_the_click_says_nothing_about_the_click(tmp_path):
    async with assisted(tmp_path) as (n, person):
        task = await task_waits(n, person)
        async with n.open() as systems:
            await tasks_of(systems).claim(task.key, "Dana")
            await tasks_of(systems).about_to_click(task.key, "Dana")
            log = await systems.accounts[0].jobs.activity_log(n.window().started_at, systems.clock.now())
            assert not log.complete and "before the click" in log.problem
        await upload(n, person)
        async with n.open() as systems:
            assert (await systems.accounts[0].jobs.console()).complete


async def test_not_sure_stays_unknown_until_a_reading_shows_the_run(tmp_path):
    async with assisted(tmp_path) as (n, person):
        task = await task_waits(n, person)
        async with n.open() as systems:
            tasks = tasks_of(systems)
            await tasks.claim(task.key, "Dana")
            await tasks.about_to_click(task.key, "Dana")
            await tasks.not_sure(task.key, "Dana", "the page froze")
            with pytest.raises(RefusedError):
                await tasks.claim(task.key, "Sam")
        await person.clicks(f"/runs/{task.target}/reprocess")
        assert await state_of(n, task) is ActionState.UNKNOWN
        await asyncio.sleep(0.6)
        await upload(n, person)
        after = await go_on(n)
        assert items(after)["imp"].outcome is ItemOutcome.CONFIRMED, items(after)["imp"].reason
        assert len(n.events("dashboard", "run_requested")) == 1


async def test_not_done_opens_the_task_again_and_the_next_person_may_click(tmp_path):
    async with assisted(tmp_path) as (n, person):
        task = await task_waits(n, person)
        async with n.open() as systems:
            tasks = tasks_of(systems)
            await tasks.claim(task.key, "Dana")
            await tasks.about_to_click(task.key, "Dana")
            again = await tasks.not_done(task.key, "Dana", "the button was grey")
            assert again.standing == "open" and again.note == "the button was grey"
            assert await state_of(n, task) is ActionState.PLANNED
            await tasks.claim(task.key, "Sam")
            assert (await tasks.about_to_click(task.key, "Sam")).standing == "clicking"


async def test_of_many_sessions_one_gets_the_claim_and_of_two_tabs_one_gets_the_click(tmp_path):
    async with assisted(tmp_path) as (n, person):
        task = await task_waits(n, person)
        async with n.open() as first, n.open() as second:
            sessions = [tasks_of(first), tasks_of(second)]
            names = [f"Person {k}" for k in range(12)]
            told = await asyncio.gather(
                *(sessions[k % 2].claim(task.key, name) for k, name in enumerate(names)), return_exceptions=True
            )
            won = [t for t in told if not isinstance(t, BaseException)]
            assert len(won) == 1
            assert all(isinstance(t, RefusedError) for t in told if isinstance(t, BaseException))
            who = won[0].by
            assert {await s.claim(task.key, who) for s in sessions} == {won[0]}, "the back button claims nothing new"
            clicks = await asyncio.gather(
                *(s.about_to_click(task.key, who) for s in sessions * 4), return_exceptions=True
            )
            assert sum(not isinstance(c, BaseException) for c in clicks) == 1
            with pytest.raises(RefusedError):
                await sessions[0].claim(task.key, who)
            said = [e.kind for e in await first.ledger.stream(f"task/{task.key}")]
            assert said.count("claimed") == 1 and said.count("clicking") == 1
            row = await first.ledger.action(task.key)
            history = [h for h in await first.ledger.history(row.slot_key) if h.action_key == task.key]
            opened = [h for h in history if h.what == "attempt opened" and "clicks" in h.detail]
            assert len(opened) == 1


async def test_nobody_is_told_to_click_under_the_kill_switch(tmp_path):
    async with assisted(tmp_path) as (n, person):
        task = await task_waits(n, person)
        async with n.open() as systems:
            tasks = tasks_of(systems)
            await tasks.claim(task.key, "Dana")
            await systems.ledger.set_kill("Sam", "two copies seen")
            with pytest.raises(RefusedError, match="two copies seen") as refused:
                await tasks.about_to_click(task.key, "Dana")
            assert "Do not click" in refused.value.hint
            assert (await tasks.find(task.key)).standing == "open"
            await systems.ledger.clear_kill("Sam")
            await tasks.claim(task.key, "Dana")
            assert (await tasks.about_to_click(task.key, "Dana")).standing == "clicking"


@pytest.mark.parametrize("evidence", [("empty.png", b""), ("blank.txt", b" \n")])
async def test_done_needs_evidence_and_the_run(tmp_path, evidence):
    async with assisted(tmp_path) as (n, person):
        task = await task_waits(n, person)
        async with n.open() as systems:
            tasks = tasks_of(systems)
            with pytest.raises(RefusedError, match="cannot be said"):
                await tasks.done(task.key, "Dana", SHOT, ref="9")
            await tasks.claim(task.key, "Dana")
            await tasks.about_to_click(task.key, "Dana")
            with pytest.raises(RefusedError, match="Which run"):
                await tasks.done(task.key, "Dana", SHOT)
            with pytest.raises(RefusedError, match="Evidence"):
                await tasks.done(task.key, "Dana", evidence, ref="9")
            with pytest.raises(RefusedError, match="Dana said"):
                await tasks.done(task.key, "Sam", SHOT, ref="9")
        assert await state_of(n, task) is ActionState.UNKNOWN


async def test_an_old_go_ahead_and_a_lapsed_claim_let_nobody_click(tmp_path):
    async with assisted(tmp_path, go_ahead_minutes=0.0001) as (n, person):
        task = await task_waits(n, person)
        async with n.open() as systems:
            tasks = tasks_of(systems)
            await tasks.claim(task.key, "Dana")
            with pytest.raises(RefusedError, match="too long ago"):
                await tasks.about_to_click(task.key, "Dana")
            assert (await tasks.find(task.key)).standing == "claimed"
    async with assisted(tmp_path / "lapsed", lease_minutes=0.0001) as (n, person):
        task = await task_waits(n, person)
        async with n.open() as systems:
            tasks = tasks_of(systems)
            await tasks.claim(task.key, "Dana")
            await asyncio.sleep(0.02)
            with pytest.raises(RefusedError, match="was over"):
                await tasks.about_to_click(task.key, "Dana")
            assert (await tasks.claim(task.key, "Sam")).by == "Sam"


async def test_one_task_for_every_run_and_colleague(tmp_path):
    async with assisted(tmp_path) as (n, person):
        task = await task_waits(n, person)
        await n.recover(starter="Sam")
        async with n.open() as systems:
            assert [t.key for t in await tasks_of(systems).all()] == [task.key]
            assert iso((await tasks_of(systems).find(task.key[:5])).opened_at) == iso(task.opened_at)
        assert n.writes() == []
