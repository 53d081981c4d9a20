"""Token buckets: never above the rate, never far below it, fair, and stopped by a refusal."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.rate import Rate, TokenBuckets
from recovery.errors import ConfigError


class Simulation:
    """Time for many sleepers: it jumps to the next one when nobody can run."""

    def __init__(self) -> None:
        self.time = 0.0
        self.sleepers: list[tuple[float, int, asyncio.Event]] = []
        self.count = 0

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=self.time)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self.count += 1
        heapq.heappush(self.sleepers, (self.time + max(seconds, 0), self.count, event))
        await event.wait()

    async def drive(self, *jobs: asyncio.Task[None]) -> None:
        while not all(job.done() for job in jobs):
            for _ in range(20):
                await asyncio.sleep(0)
            if self.sleepers:
                self.time, _, event = heapq.heappop(self.sleepers)
                event.set()
        await asyncio.gather(*jobs)


async def run(
    gate: TokenBuckets, clock: Simulation, accounts: list[str], calls: int, workers: int = 5
) -> dict[str, list[float]]:
    """When each call left, by account."""
    left: dict[str, list[float]] = {name: [] for name in accounts}

    async def work(name: str) -> None:
        while len(left[name]) < calls:
            await gate.acquire(name, "pro2")
            left[name].append(clock.time)

    await clock.drive(*(asyncio.create_task(work(name)) for name in accounts for _ in range(workers)))
    return left


def busiest_second(times: list[float]) -> int:
    return max(sum(1 for t in times if start <= t < start + 1 - 1e-9) for start in times)


@given(st.sampled_from([1.0, 2.5, 5.0, 40.0]), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_no_second_ever_sees_more_than_rate_and_burst(per_second: float, burst: int) -> None:
    async def check() -> None:
        clock = Simulation()
        gate = TokenBuckets(clock, {"pro2": Rate(per_second, burst)}, headroom=1.0)
        left = (await run(gate, clock, ["harbor"], 60))["harbor"]
        assert busiest_second(left) <= per_second + burst
        assert left[-1] <= 65 / per_second

    asyncio.run(check())


async def test_at_least_95_percent_of_the_budget_is_used_and_never_more_than_all_of_it() -> None:
    clock = Simulation()
    left = (await run(TokenBuckets(clock), clock, ["harbor"], 500))["harbor"]
    assert busiest_second(left) <= 5
    assert 500 / left[-1] >= 0.95 * 5


async def test_accounts_do_not_wait_for_each_other() -> None:
    clock = Simulation()
    names = [f"a{n}" for n in range(50)]
    left = await run(TokenBuckets(clock), clock, names, 20)
    ends = [times[-1] for times in left.values()]
    assert max(ends) - min(ends) < 0.01
    assert max(ends) < 25 / 5 / 0.97


async def test_a_refused_account_pauses_and_no_other_does() -> None:
    clock = Simulation()
    gate = TokenBuckets(clock)
    gate.penalize("harbor", "pro2", 30)
    left = await run(gate, clock, ["harbor", "lyric"], 5)
    assert left["harbor"][0] >= 30
    assert left["lyric"][0] == 0


async def test_a_refusal_reaches_those_who_wait_already_and_spends_the_saved_burst() -> None:
    clock = Simulation()
    gate = TokenBuckets(clock, {"pro2": Rate(1.0, 5)}, headroom=1.0)
    job = asyncio.create_task(run_one(gate, 8, out := [], clock))

    async def refuse() -> None:
        await clock.sleep(0.5)
        gate.penalize("harbor", "pro2", 10)

    await clock.drive(job, asyncio.create_task(refuse()))
    assert [t for t in out if 0.5 < t < 10.5] == []
    assert busiest_second([t for t in out if t > 10]) == 1


async def run_one(gate: TokenBuckets, calls: int, out: list[float], clock: Simulation) -> None:
    for _ in range(calls):
        await gate.acquire("harbor", "pro2")
        out.append(clock.time)


async def test_those_who_wait_are_served_in_the_order_they_came() -> None:
    clock = Simulation()
    gate = TokenBuckets(clock)
    order: list[int] = []

    async def one(n: int) -> None:
        await gate.acquire("harbor", "pro2")
        order.append(n)

    await clock.drive(*(asyncio.create_task(one(n)) for n in range(12)))
    assert order == list(range(12))


async def test_nobody_who_comes_later_overtakes_one_who_waits() -> None:
    clock = Simulation()
    gate = TokenBuckets(clock, headroom=1.0)
    order: list[str] = []

    async def late() -> None:
        await clock.sleep(0.2)  # awake at the instant of the next token, before the one who waits for it
        await gate.acquire("harbor", "pro2")
        order.append("late")

    async def early() -> None:
        await gate.acquire("harbor", "pro2")
        await gate.acquire("harbor", "pro2")
        order.append("early")

    await clock.drive(asyncio.create_task(late()), asyncio.create_task(early()))
    assert order == ["early", "late"]


async def test_a_cancelled_wait_takes_no_token_and_blocks_nobody() -> None:
    clock = Simulation()
    gate = TokenBuckets(clock, headroom=1.0)
    await gate.acquire("harbor", "pro2")
    waiting = asyncio.create_task(gate.acquire("harbor", "pro2"))
    await asyncio.sleep(0)
    waiting.cancel()
    out: list[float] = []
    await clock.drive(asyncio.create_task(run_one(gate, 1, out, clock)))
    assert out == [pytest.approx(0.2)]


async def test_a_long_wait_is_told_with_account_rate_and_length() -> None:
    clock = Simulation()
    told: list[tuple[str, dict[str, object]]] = []
    gate = TokenBuckets(clock, tell=lambda event, facts: told.append((event, dict(facts))))
    await run(gate, clock, ["harbor"], 30, workers=20)
    assert told
    event, facts = told[0]
    assert event == "waiting"
    assert (facts["system"], facts["account"], facts["per_second"]) == ("pro2", "harbor", 5.0)
    assert len(told) <= 12


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (5, 0.5), (float("nan"), 1)])
def test_a_rate_that_is_none_is_refused(per_second: float, burst: float) -> None:
    with pytest.raises(ConfigError):
        Rate(per_second, burst)
