"""Duels of real processes: they start the same recovery at a barrier, and one of them is stopped at a named point.

The stop is SIGSTOP, for less and for more than the lease and the deadline; the process goes on where it was, as after a
suspended machine, and must do no harm.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from recovery.policy import Waits
from tests.ledger.conftest import new_database
from tests.prove.child import run_child
from tests.prove.columns import amount, patience
from tests.prove.crew import Crew, tally, unsettled, wrong
from tests.prove.far import SETTLE_SECONDS, far_end, journalled
from tests.prove.real import KINDS, forked, houses, judged, run
from tests.prove.worker import POINTS, POLICY

LEASE = 0.4
PAUSES = amount((0.6,), (0.2, 0.6, 1.2), (0.2, 0.6, 1.2))
TIMES = amount(1, 2, 10)
HURRIED = replace(
    POLICY, waits=Waits(poll=0.02, settle=SETTLE_SECONDS, lease=LEASE, send_within=0.3, write_deadline=LEASE)
)
PEOPLE = ("Dana Reyes", "Sam Okafor", "the scheduler")
ROUNDS = amount(1, 8, 40)
BARRIER_SECONDS = 60


@pytest.mark.timeout(patience(120))
@pytest.mark.parametrize("engine", amount(["sqlite"], ["sqlite", "postgresql"], ["sqlite", "postgresql"]))
async def test_a_process_stopped_for_longer_than_its_lease_does_no_harm(
    tmp_path: Path, request: pytest.FixtureRequest, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = request.getfixturevalue("postgres") if engine == "postgresql" else None
    url = new_database(server) if server is not None else f"sqlite:///{tmp_path}/ledger.db"
    met = list(itertools.product(POINTS, PAUSES)) * TIMES
    async with far_end(tmp_path, seed=3, trouble=False) as far:
        crew = Crew(url, tmp_path, far)
        keys = [f"acct{n}/{n}" for n in range(len(met))]  # an account each: a release held for ever blocks no other
        each = crew.context.Barrier(crew.size, timeout=BARRIER_SECONDS)
        shifts = [crew.shift(keys, policy=HURRIED, pauses=met if place == 0 else ()) for place in range(crew.size)]
        duels = [crew.start(shift, each) for shift in shifts]
        for child in duels:
            await asyncio.to_thread(child.join)
            assert child.exitcode == 0, [p.read_text() for p in tmp_path.glob("*.error")]
        endings = [json.loads(shift.out.read_text()) for shift in shifts]
        last = await crew.finish(keys)
    for told in (*endings, last):
        assert wrong(journalled(tmp_path), told) == []
    assert await unsettled(url, crew.state_dir) == []
    effects = journalled(tmp_path)
    with capsys.disabled():
        sys.stdout.write(
            f"duels on {engine}: {len(met)} of 3 processes, one stopped by SIGSTOP at one of {len(POINTS)} points, "
            f"{effects.total()} effects, {tally(last)}, 0 doubles\n"
        )
    assert effects.total() > len(met) // 2


@pytest.mark.timeout(patience(120))
async def test_two_engineers_and_the_scheduler_start_the_same_recovery_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    context, duels = forked(), 0
    for number in range(ROUNDS):
        waits = {"lease_seconds": 1, "write_deadline_seconds": 1}
        async with houses(tmp_path / str(number), KINDS, **waits) as (n, cases):
            together = context.Barrier(len(PEOPLE), timeout=BARRIER_SECONDS)
            stop_at = 3 + 7 * number  # the first of them waits there for longer than its lease
            crowd = [
                [case.task(stop_at * (who == 0), 1.5, PEOPLE[who]) for case in cases] for who in range(len(PEOPLE))
            ]
            children = [context.Process(target=run_child, args=(tasks, together)) for tasks in crowd]
            for child in children:
                child.start()
            for child in children:
                await asyncio.to_thread(child.join)
                assert child.exitcode == 0, [case.errors() for case in cases]
            await run(context, [case.task() for case in cases])
            assert await judged(n, cases) == [], f"round {number}"
            duels += len(cases)
    with capsys.disabled():
        sys.stdout.write(f"duels of whole recoveries: {duels} of 3 processes at a barrier, 0 complaints\n")
