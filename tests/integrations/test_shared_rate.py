"""One budget for many workers: together never above the rate, shared fairly, and a refusal to one stops all."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rate import Simulation, busiest_second

from integrations.rate import Rate
from integrations.shared_rate import SharedBuckets
from recovery.errors import LedgerUnavailable, Unavailable

RATE = {"pro2": Rate(5.0)}


class Store:
    """Slots as the ledger leases them, on the simulation's clock, behind a wire that takes its time."""

    def __init__(self, clock: Simulation, slowest: float = 0.0, seed: int = 0) -> None:
        self.clock, self.slowest = clock, slowest
        self.random = random.Random(seed)
        self.next_at = -1e9
        self.leases = 0
        self.down = False

    async def _wire(self) -> None:
        if self.slowest:
            await self.clock.sleep(self.random.uniform(0, self.slowest / 2))
        if self.down:
            raise LedgerUnavailable("the database is away", "start it")

    async def lease(self, account: str, system: str, n: int, per_second: float, burst: float) -> float:
        await self._wire()
        first = max(self.next_at, self.clock.time - (burst - 1) / per_second)
        self.next_at, away = first + n / per_second, first - self.clock.time
        self.leases += 1
        await self._wire()
        return away

    async def close(self, account: str, system: str, seconds: float) -> None:
        await self._wire()
        self.next_at = max(self.next_at, self.clock.time + seconds)


async def work(gate: SharedBuckets, clock: Simulation, until: float, out: list[float]) -> None:
    while clock.time < until:
        await gate.acquire("harbor", "pro2")
        out.append(clock.time)


async def share(
    clock: Simulation, store: Store, tasks: list[int], until: float, rates: dict[str, Rate] = RATE
) -> list[list[float]]:
    """When each worker's calls left; a worker has so many tasks that call all the time."""
    workers = [SharedBuckets(clock, store, rates) for _ in tasks]
    left: list[list[float]] = [[] for _ in tasks]
    jobs = [
        asyncio.create_task(work(gate, clock, until, out))
        for gate, out, n in zip(workers, left, tasks, strict=True)
        for _ in range(n)
    ]
    await clock.drive(*jobs)
    return left


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.floats(0, 0.3), st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_no_second_sees_more_calls_of_all_workers_than_the_rate(tasks: list[int], slowest: float, seed: int) -> None:
    """Whatever the way to the database takes, up to the 50 ms that the headroom pays for; beyond, one call a lease."""

    async def check() -> None:
        clock = Simulation()
        left = await share(clock, Store(clock, slowest, seed), tasks, 6.0)
        calls = sorted(t for times in left for t in times)
        assert busiest_second(calls) <= (5 if slowest <= 0.05 else 6)
        assert len(calls) >= 6

    asyncio.run(check())


async def test_ninety_percent_of_the_rate_is_used() -> None:
    clock = Simulation()
    left = await share(clock, Store(clock, 0.01), [5, 5], 60.0)
    assert sum(map(len, left)) >= 0.9 * 5 * 60


async def test_workers_that_want_as_much_get_as_much() -> None:
    clock = Simulation()
    first, second, third = await share(clock, Store(clock, 0.01), [8, 8, 8], 60.0)
    for times in (first, second, third):
        assert len(times) == pytest.approx(95, abs=12)


async def test_a_worker_with_one_task_is_not_starved_by_one_with_many() -> None:
    clock = Simulation()
    many, one = await share(clock, Store(clock, 0.01), [50, 1], 60.0)
    assert len(one) >= (len(many) + len(one)) / 4


async def test_a_refusal_to_one_worker_stops_all_of_them() -> None:
    clock = Simulation()
    store = Store(clock, 0.01)
    gates = [SharedBuckets(clock, store, RATE) for _ in range(2)]
    left: list[list[float]] = [[], []]

    async def refuse() -> None:
        await clock.sleep(3.0)
        gates[0].penalize("harbor", "pro2", 10.0)

    jobs = [asyncio.create_task(work(g, clock, 20.0, out)) for g, out in zip(gates, left, strict=True) for _ in "abc"]
    await clock.drive(*jobs, asyncio.create_task(refuse()))
    assert [t for t in left[0] if 3.0 < t < 13.0] == []
    # What the other worker held already lies at most half a second ahead.
    assert [t for t in left[1] if 3.5 < t < 12.9] == []
    after = sorted(t for t in left[0] + left[1] if t > 12.9)
    assert busiest_second(after) <= 5
    assert len(after) > 20


async def test_a_burst_is_saved_up_once_for_all_workers() -> None:
    clock = Simulation()
    left = await share(clock, Store(clock), [9, 9], 1.0, {"pro2": Rate(2.0, 6)})
    at_once = [t for times in left for t in times if t < 0.05]
    assert len(at_once) == 6


async def test_a_worker_that_was_held_up_does_not_use_its_slot_beside_the_next_one() -> None:
    clock = Simulation()
    store = Store(clock)
    gate = SharedBuckets(clock, store, RATE)
    slow, calls, late = clock.sleep, [], [0.0, 0.0, 0.15]

    async def oversleep(seconds: float) -> None:
        late.append(late.pop(0))
        await slow(seconds + late[0])  # now and then a busy process wakes late

    clock.sleep = oversleep  # type: ignore[method-assign]
    await clock.drive(asyncio.create_task(work(gate, clock, 10.0, calls)))
    assert min(b - a for a, b in pairwise(calls)) >= 0.2 - 0.0527


async def test_a_worker_that_is_always_late_gets_on_at_half_the_rate() -> None:
    clock = Simulation()
    gate = SharedBuckets(clock, Store(clock), RATE)
    slow, calls = clock.sleep, []

    async def oversleep(seconds: float) -> None:
        await slow(seconds + 0.15)

    clock.sleep = oversleep  # type: ignore[method-assign]
    await clock.drive(asyncio.create_task(work(gate, clock, 20.0, calls)))
    assert len(calls) >= 20
    assert busiest_second(calls) <= 5


async def test_a_store_that_is_away_for_long_ends_in_unavailable_and_a_short_while_is_waited_out() -> None:
    clock = Simulation()
    store = Store(clock)
    gate = SharedBuckets(clock, store, RATE)
    store.down = True

    async def back() -> None:
        await clock.sleep(5.0)
        store.down = False

    await clock.drive(asyncio.create_task(gate.acquire("harbor", "pro2")), asyncio.create_task(back()))
    assert 5.0 <= clock.time < 7.0
    store.down = True
    waiting = asyncio.create_task(gate.acquire("harbor", "pro2"))
    with pytest.raises(Unavailable, match="all workers share cannot be kept"):
        await clock.drive(waiting)
    assert 35.0 <= clock.time < 40.0


async def test_a_cancelled_wait_blocks_nobody() -> None:
    clock = Simulation()
    gate = SharedBuckets(clock, Store(clock), RATE)
    await gate.acquire("harbor", "pro2")
    waiting = asyncio.create_task(gate.acquire("harbor", "pro2"))
    await asyncio.sleep(0)
    waiting.cancel()
    out: list[float] = []
    await clock.drive(asyncio.create_task(work(gate, clock, 0.1, out)))
    assert len(out) == 1
    assert out[0] < 0.5


async def test_a_long_wait_is_told() -> None:
    clock = Simulation()
    told: list[tuple[str, dict[str, object]]] = []
    gate = SharedBuckets(clock, Store(clock), RATE, tell=lambda what, facts: told.append((what, dict(facts))))
    await clock.drive(*(asyncio.create_task(gate.acquire("harbor", "pro2")) for _ in range(30)))
    what, facts = told[0]
    assert (what, facts["system"], facts["account"], facts["per_second"]) == ("waiting", "pro2", "harbor", 5.0)
    assert len(told) <= 8
