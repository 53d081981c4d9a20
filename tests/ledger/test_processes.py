"""Several real processes on one ledger: races, kill -9, and a process that only sleeps."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery.errors import LedgerConflict, RefusedError
from recovery.ledger.ledger import Ledger
from recovery.model import ActionState
from tests.ledger.counting import counts
from tests.ledger.makers import APPLIED, UNKNOWN, opened, spec
from tests.ledger.worker_process import KEYS, RACERS

ROOT = Path(__file__).parents[2]


def start(what: str, url: str, state_dir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.ledger.worker_process", what, url, str(state_dir)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        end(process)


async def test_eight_processes_claim_each_key_once(
    url: str, state_dir: Path, started: list[subprocess.Popen[str]]
) -> None:
    async with await Ledger.open(url, state_dir) as ledger:
        await ledger.ensure([spec(key) for key in KEYS])
        started.append(start("race", url, state_dir))
        won = Counter(key for _ in range(RACERS) for key in line(started[0]).split())
        assert won == Counter(KEYS)
        assert (await counts(ledger))["actions_claimed"] == 100
        assert await ledger.verify() == ()


async def test_what_a_killed_process_left_open_becomes_unknown_and_is_not_repeated(
    url: str, state_dir: Path, started: list[subprocess.Popen[str]]
) -> None:
    worker = start("in_flight", url, state_dir)
    started.append(worker)
    owner = line(worker)
    async with await Ledger.open(url, state_dir) as ledger:
        assert not ledger.owner_is_dead(owner)
        assert (await ledger.take_over("KEY1")).state is ActionState.IN_FLIGHT
        assert await ledger.stale_actions() == ()
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert ledger.owner_is_dead(owner)
        (left,) = await ledger.stale_actions()
        assert (left.key, left.attempt_open, left.owner) == ("KEY1", True, owner)
        assert await ledger.claim("KEY1", 60) is None
        assert (await ledger.take_over("KEY1")).state is ActionState.UNKNOWN
        assert await ledger.claim("KEY1", 60) is None
        assert (await ledger.absent("KEY1", "three looks, none there")).state is ActionState.PLANNED
        assert (await opened(ledger, spec()))[1].n == 2
        assert not ledger.quarantined


async def test_a_claim_of_a_killed_process_is_free_again(
    url: str, state_dir: Path, started: list[subprocess.Popen[str]]
) -> None:
    worker = start("claimed", url, state_dir)
    started.append(worker)
    line(worker)
    async with await Ledger.open(url, state_dir) as ledger:
        assert (await ledger.take_over("KEY1")).state is ActionState.CLAIMED
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        assert (await ledger.take_over("KEY1")).state is ActionState.PLANNED
        row = await ledger.claim("KEY1", 60)
        assert row is not None and row.fence == 2


async def test_a_sleeping_process_is_not_dead(url: str, state_dir: Path, started: list[subprocess.Popen[str]]) -> None:
    worker = start("in_flight", url, state_dir)
    started.append(worker)
    owner = line(worker)
    worker.send_signal(signal.SIGSTOP)
    async with await Ledger.open(url, state_dir) as ledger:
        assert not ledger.owner_is_dead(owner)
        assert (await ledger.take_over("KEY1")).state is ActionState.IN_FLIGHT


async def test_an_attempt_taken_over_by_its_deadline_is_not_repeated_while_its_sender_lives(
    url: str, state_dir: Path
) -> None:
    async with await Ledger.open(url, state_dir) as slow, await Ledger.open(url, state_dir) as other:
        _, attempt = await opened(slow, spec(), lease=-1.0, deadline=-1.0)
        assert [row.key for row in await other.stale_actions()] == ["KEY1"]
        assert (await other.take_over("KEY1")).state is ActionState.UNKNOWN
        with pytest.raises(RefusedError, match="may still be alive"):
            await other.absent("KEY1", "none there")
        with pytest.raises(LedgerConflict, match="no longer held"):
            await slow.settle(attempt, APPLIED)
        assert (await other.absent("KEY1", "none there", by="Ana")).state is ActionState.PLANNED
        told = (await other.history(spec().slot_key))[-1]
        assert (told.actor, told.detail) == ("Ana", "none there (vouched for by Ana)")


async def test_an_attempt_that_its_own_process_closed_needs_no_death(url: str, state_dir: Path) -> None:
    async with await Ledger.open(url, state_dir) as one, await Ledger.open(url, state_dir) as two:
        _, attempt = await opened(one, spec())
        await one.settle(attempt, UNKNOWN)
        assert (await two.absent("KEY1", "none there")).state is ActionState.PLANNED


async def test_death_is_only_told_of_this_host_and_known_workers(url: str, state_dir: Path) -> None:
    async with await Ledger.open(url, state_dir) as ledger:
        host = ledger.owner.split(":")[0]
        assert not ledger.owner_is_dead(ledger.owner)
        assert not ledger.owner_is_dead("elsewhere:1:abcd")
        assert not ledger.owner_is_dead(f"{host}:1:unknown")
        assert not ledger.owner_is_dead(f"{host}:/../x")
        other = await Ledger.open(url, state_dir)
        await other.ensure([spec()])
        await other.close()
        assert ledger.owner_is_dead(other.owner)
