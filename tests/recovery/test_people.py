"""Who may start, approve, reject, answer and let go again: decided by the policy, in the transaction that does it."""

import asyncio

import pytest

from recovery.errors import RefusedError
from recovery.model import ItemOutcome
from tests.recovery.stage import approve, items, night, only, stage
from tests.recovery.test_guards import one, planned, three

ONLY_DANA = '[people]\napprove = ["Dana  Reyes"]\n'


@pytest.mark.requirement("R001.13")
async def test_only_a_named_approver_may_approve_and_the_name_may_be_typed_in_any_case(tmp_path):
    async with night(tmp_path, stage(one), tables=ONLY_DANA) as n, n.open() as systems:
        plan = await planned(n, systems)
        with pytest.raises(RefusedError, match="Sam Okafor may not approve"):
            await approve(systems, plan, "Sam Okafor")
        assert await systems.ledger.approvals(plan.digest) == ()
        await approve(systems, plan, "dana reyes")
        assert only(await n.run(systems, plan)).outcome is ItemOutcome.CONFIRMED


async def test_an_approver_who_was_taken_off_the_list_no_longer_counts_when_the_plan_runs(tmp_path):
    async with night(tmp_path, stage(one)) as n:
        async with n.open() as systems:
            plan = await planned(n, systems)
            await approve(systems, plan, "Sam Okafor")
        n.policy(tables=ONLY_DANA)
        async with n.open() as systems:
            row = only(await n.run(systems, plan))
        assert row.outcome is ItemOutcome.HELD and "nobody has approved" in row.reason
        assert n.writes() == []


async def test_only_named_people_may_start_a_recovery(tmp_path):
    async with night(tmp_path, stage(one), tables='[people]\nstart = ["Sam Okafor"]\n') as n, n.open() as systems:
        plan = await planned(n, systems)
        await approve(systems, plan, "Dana Reyes")
        with pytest.raises(RefusedError, match="Lee may not start"):
            await n.run(systems, plan, "Lee")
        assert n.writes() == []
        assert only(await n.run(systems, plan, "Sam Okafor")).outcome is ItemOutcome.CONFIRMED
        assert [(e.kind, e.by) for e in await systems.ledger.stream(f"plan/{plan.digest}")] == [
            ("started", "Sam Okafor")
        ]


async def test_only_named_people_may_answer_what_is_held(tmp_path):
    async with night(tmp_path, stage(one), tables='[people]\nanswer = ["Dana Reyes"]\n') as n:
        row = only(await n.recover(by=()))
        with pytest.raises(RefusedError, match="Sam Okafor may not answer"):
            await n.answer(row.slot_key, "drop", by="Sam Okafor")
        assert "ends here" in await n.answer(row.slot_key, "drop", by="Dana Reyes")


async def test_anybody_may_stop_everything_and_only_named_people_let_go_again(tmp_path):
    async with night(tmp_path, stage(one), tables='[people]\nclear_stop = ["Dana Reyes"]\n') as n, n.open() as systems:
        await systems.ledger.set_kill("Lee", "two copies seen")
        with pytest.raises(RefusedError, match="Lee may not switch"):
            await systems.ledger.clear_kill("Lee")
        assert await systems.ledger.killed() == "two copies seen"
        await systems.ledger.clear_kill("Dana Reyes")
        assert await systems.ledger.killed() == ""


@pytest.mark.requirement("R001.13")
async def test_a_rejected_plan_neither_starts_nor_takes_an_approval(tmp_path):
    async with night(tmp_path, stage(one)) as n, n.open() as systems:
        plan = await planned(n, systems)
        await approve(systems, plan, "Dana Reyes")
        await systems.ledger.reject(plan.digest, "Sam Okafor", systems.clock.now(), "the gala is cancelled")
        with pytest.raises(RefusedError, match="rejected by Sam Okafor: the gala is cancelled"):
            await n.run(systems, plan)
        with pytest.raises(RefusedError, match="rejected by Sam Okafor"):
            await approve(systems, plan, "Lee")
        assert n.writes() == []


@pytest.mark.parametrize(("by", "reason"), [("", "no"), ("Sam Okafor", " ")])
async def test_a_rejection_needs_a_name_and_a_reason(tmp_path, by, reason):
    async with night(tmp_path, stage(one)) as n, n.open() as systems:
        plan = await planned(n, systems)
        with pytest.raises(RefusedError, match="a name and a reason"):
            await systems.ledger.reject(plan.digest, by, systems.clock.now(), reason)
        assert await systems.ledger.rejection(plan.digest) == ""


async def test_a_rejection_in_the_middle_of_a_run_stops_it_before_the_next_item(tmp_path):
    limits = {"waves": [1, 1, 1], "wave_bake_seconds": 1}
    async with night(tmp_path, stage(three), limits=limits) as n, n.open() as systems:
        plan = await planned(n, systems)
        await approve(systems, plan, "Dana Reyes")
        first_is_done = asyncio.Event()
        n.tell = lambda what, _facts: first_is_done.set() if what == "bake" else None
        running = asyncio.create_task(n.run(systems, plan))
        await asyncio.wait_for(first_is_done.wait(), 30)
        await systems.ledger.reject(plan.digest, "Sam Okafor", systems.clock.now(), "wrong template")
        outcomes = sorted(r.outcome.value for r in items(await running).values())
        assert outcomes == ["confirmed", "held", "held"]
        assert n.sent() == 350
