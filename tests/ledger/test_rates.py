"""The budget of calls that all workers of a PostgreSQL ledger share: slots, refusals, and two real processes."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from recovery.errors import LedgerUnavailable
from recovery.ledger.ledger import Ledger
from recovery.ledger.rates import Slots
from tests.ledger.conftest import emptied

ROOT = Path(__file__).resolve().parents[2]
INTERVAL = 0.2


@pytest.fixture
def url(shared_database: str) -> str:
    return emptied(shared_database)


@pytest.fixture
async def two(url: str, tmp_path: Path) -> AsyncIterator[tuple[Slots, Slots]]:
    """The budget as two workers see it, each through a ledger of its own."""
    async with await Ledger.open(url, tmp_path / "a") as first, await Ledger.open(url, tmp_path / "b") as second:
        assert first.slots is not None
        assert second.slots is not None
        yield first.slots, second.slots


async def test_two_workers_at_once_are_never_given_the_same_slot(two: tuple[Slots, Slots], url: str) -> None:
    await two[0].close("harbor", "pro2", 0.0)
    start = time.monotonic()

    async def lease(slots: Slots, n: int) -> list[float]:
        first = await slots.lease("harbor", "pro2", n, 1 / INTERVAL, 1.0)
        return [first + k * INTERVAL for k in range(n)]

    given = await asyncio.gather(*(lease(two[k % 2], 1 + k % 3) for k in range(24)))
    spent = time.monotonic() - start
    slots = sorted(at for some in given for at in some)
    # Each is told from the moment of its own lease, so the differences are right up to what all leases took.
    for place, at in enumerate(slots):
        assert at == pytest.approx(slots[0] + place * INTERVAL, abs=spent + 0.001)
    with psycopg.connect(url) as connection:
        (left,) = connection.execute(
            "SELECT next_at / 1e6 - extract(epoch FROM clock_timestamp()) FROM rate_bucket"
        ).fetchone() or (0,)
    assert float(left) == pytest.approx(len(slots) * INTERVAL, abs=spent + 0.1)


async def test_two_hundred_accounts_that_ask_together_cost_two_statements(two: tuple[Slots, Slots]) -> None:
    asked: list[int] = []

    async def counted(query: Callable[..., object], buckets: Sequence[object], *more: object) -> object:
        asked.append(len(buckets))
        return await two[0].run(query, buckets, *more)

    slots = Slots(counted)
    aways = await asyncio.gather(*(slots.lease(f"a{n}", "pro2", 1, 5.0, 1.0) for n in range(200)))
    assert sum(asked) == 200 and len(asked) <= 2
    assert all(away <= 0 for away in aways)
    again = await asyncio.gather(*(slots.lease(f"a{n}", "pro2", 1, 5.0, 1.0) for n in range(200)))
    assert all(0 < away <= INTERVAL for away in again), "each has the slot after its own"


async def test_many_accounts_of_two_workers_in_any_order_never_wait_for_each_other(two: tuple[Slots, Slots]) -> None:
    async def all_of(slots: Slots, names: Sequence[int]) -> list[float]:
        return await asyncio.gather(*(slots.lease(f"a{n}", "pro2", 1 + n % 2, 50.0, 1.0) for n in names))

    for _ in range(10):
        await asyncio.gather(all_of(two[0], range(100)), all_of(two[1], range(99, -1, -1)))


async def test_what_was_saved_up_may_leave_at_once_and_no_more(two: tuple[Slots, Slots]) -> None:
    aways = [await two[k % 2].lease("harbor", "slack", 1, 1.0, 3.0) for k in range(5)]
    assert [away <= 0 for away in aways] == [True, True, True, False, False]


async def test_accounts_and_systems_have_budgets_of_their_own(two: tuple[Slots, Slots]) -> None:
    for account, system in (("harbor", "pro2"), ("lyric", "pro2"), ("harbor", "dashboard")):
        assert await two[0].lease(account, system, 1, 1.0, 1.0) <= 0


async def test_a_refusal_is_known_to_the_other_worker_and_is_never_shortened(two: tuple[Slots, Slots]) -> None:
    await two[0].close("harbor", "pro2", 30.0)
    await two[1].close("harbor", "pro2", 2.0)
    assert 29 < await two[1].lease("harbor", "pro2", 1, 5.0, 5.0) <= 30


async def test_a_database_clock_that_is_set_back_holds_nobody_up_for_longer_than_an_hour(
    two: tuple[Slots, Slots], url: str
) -> None:
    await two[0].lease("harbor", "pro2", 1, 5.0, 1.0)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("UPDATE rate_bucket SET next_at = next_at + 7 * 86400 * 1000000::bigint")
    assert await two[1].lease("harbor", "pro2", 1, 5.0, 1.0) <= 3600


async def test_a_caller_who_gives_up_leaves_the_connection_usable(two: tuple[Slots, Slots]) -> None:
    for _ in range(5):
        leasing = asyncio.create_task(two[0].lease("harbor", "pro2", 1, 5.0, 1.0))
        await asyncio.sleep(0)
        leasing.cancel()
    assert isinstance(await two[0].lease("harbor", "pro2", 1, 5.0, 1.0), float)


async def test_a_ledger_that_cannot_be_used_is_said_to_be(url: str, tmp_path: Path) -> None:
    async with await Ledger.open(url, tmp_path / "a") as ledger:
        slots = ledger.slots
    assert slots is not None
    with pytest.raises(LedgerUnavailable):
        await slots.lease("harbor", "pro2", 1, 5.0, 1.0)


async def test_sqlite_serves_one_process_and_needs_none(tmp_path: Path) -> None:
    async with await Ledger.open(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "state") as ledger:
        assert ledger.slots is None


@asynccontextmanager
async def worker(url: str, folder: Path) -> AsyncIterator[Process]:
    command = (sys.executable, "-m", "tests.ledger.rate_process", url, str(folder))
    started = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=PIPE, stdout=PIPE)
    try:
        assert started.stdout is not None
        assert await started.stdout.readline() == b"ready\n"
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def calls_of(started: Process) -> list[float]:
    out, _ = await started.communicate(b"\n")
    assert started.returncode == 0
    return [float(line) for line in out.split()]


async def test_two_processes_never_exceed_the_rate_share_it_and_stop_together(url: str, tmp_path: Path) -> None:
    """Five calls a second for both together, half each; what one is refused both wait out."""
    async with worker(url, tmp_path / "a") as first, worker(url, tmp_path / "b") as second:
        begun = time.time()
        await asyncio.sleep(3.5)
        refused = time.time()
        assert first.stdin is not None
        first.stdin.write(b"refused\n")
        await asyncio.sleep(3.5)
        calls = await asyncio.gather(calls_of(first), calls_of(second))
    both = sorted(t for times in calls for t in times)
    assert max(sum(1 for t in both if at <= t < at + 0.9) for at in both) <= 5  # a tenth for who looks at a busy clock
    shares = [sum(1 for t in times if begun <= t < refused) for times in calls]
    assert min(shares) >= 0.3 * sum(shares)
    assert sum(shares) >= 12
    assert [t for t in calls[0] if refused + 0.1 < t < refused + 1.95] == []
    assert [t for t in calls[1] if refused + 0.6 < t < refused + 1.95] == []
    assert [t for t in both if t > refused + 2]
