"""Rate limits kept by all workers of one ledger together: the `RateGate` where the ledger is PostgreSQL.

Slots are leased from a store that all workers share, as many as there are callers waiting and at most half a second
ahead, so that workers take turns and hear of a refusal soon. A call leaves in its slot or not at all: a slot that has
passed while this process was busy, or while the store was slow to answer, is thrown away rather than used beside the
next one. So a call leaves never before its slot and at most `1/headroom - 1` seconds after it, and no second holds
more calls of all workers together than the rate allows; what it costs is some unused slots under load. Only a process
that misses twice running, because it is always late, makes one late call for the two: it must get on, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from integrations.rate import FALLBACK, VENDOR_RATES, Rate, Waits
from recovery.errors import LedgerError, Unavailable
from recovery.ports import Clock, Tell

MOST_AT_ONCE = 4
AHEAD_SECONDS = 0.5
PATIENCE_SECONDS = 30.0
PAUSE_SECONDS = 1.0


class SlotStore(Protocol):
    """Slots of time for each bucket, shared by every worker."""

    async def lease(self, account: str, system: str, n: int, per_second: float, burst: float) -> float:
        """Seconds until the first of `n` slots that lie 1/per_second apart."""
        ...

    async def close(self, account: str, system: str, seconds: float) -> None:
        """Nobody gets a slot for so long."""
        ...


@dataclass(slots=True)
class _Bucket:
    per_second: float
    burst: float
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    closed_until: float = float("-inf")
    told_at: float = float("-inf")
    missed_before: bool = False
    slots: deque[tuple[float, float]] = field(default_factory=deque)
    """From when and until when a call may leave in each slot."""


def _drop_missed(bucket: _Bucket, now: float) -> bool:
    """Throw away the slots that are over; whether there were any."""
    missed = bool(bucket.slots) and bucket.slots[0][1] < now
    while bucket.slots and bucket.slots[0][1] < now:
        bucket.slots.popleft()
    return missed


class SharedBuckets:
    """Rates are looked up as `TokenBuckets` does; `headroom` is the share of each that all workers together use.

    `acquire` raises `Unavailable` when the store cannot be reached for 30 s: without it nobody knows what is left.
    `tell` hears "waiting" as `TokenBuckets` tells it.
    """

    def __init__(
        self,
        clock: Clock,
        store: SlotStore,
        rates: Mapping[str, Rate] = VENDOR_RATES,
        per_account: Mapping[tuple[str, str], Rate] | None = None,
        *,
        fallback: Rate = FALLBACK,
        headroom: float = 0.95,
        tell: Tell | None = None,
    ) -> None:
        self._clock, self._store = clock, store
        self._rates, self._per_account = rates, per_account or {}
        self._fallback, self._headroom = fallback, headroom
        self._late = 1 / headroom - 1
        self._waits = Waits(tell, headroom)
        self._buckets: dict[tuple[str, str], _Bucket] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def acquire(self, account: str, system: str) -> None:
        """Return when one more call may leave, first come first served in this process."""
        bucket = self._bucket(account, system)
        bucket.waiting += 1
        try:
            async with bucket.turn:
                await self._slot(bucket, account, system)
        finally:
            bucket.waiting -= 1

    async def _slot(self, bucket: _Bucket, account: str, system: str) -> None:
        while True:
            now = self._clock.monotonic()
            missed = _drop_missed(bucket, now)
            if now < bucket.closed_until:
                bucket.slots.clear()
                await self._sleep_until(bucket.closed_until, bucket, account, system)
            elif missed and bucket.missed_before:
                break
            elif not bucket.slots:
                bucket.missed_before = missed
                await self._lease(bucket, account, system)
            elif bucket.slots[0][0] > now:
                await self._sleep_until(bucket.slots[0][0], bucket, account, system)
            else:
                bucket.slots.popleft()
                break
        bucket.missed_before = False

    async def _sleep_until(self, moment: float, bucket: _Bucket, account: str, system: str) -> None:
        now = self._clock.monotonic()
        self._waits.tell(account, system, bucket, moment - now, now)
        await self._clock.sleep(moment - now)

    async def _lease(self, bucket: _Bucket, account: str, system: str) -> None:
        n = max(1, min(bucket.waiting, MOST_AT_ONCE, int(bucket.per_second * AHEAD_SECONDS)))
        give_up = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            asked = self._clock.monotonic()
            try:
                first = await self._store.lease(account, system, n, bucket.per_second, bucket.burst)
                break
            except LedgerError as error:
                if self._clock.monotonic() >= give_up:
                    problem = f"the rate limit that all workers share cannot be kept: {error}"
                    raise Unavailable(system, account, problem, error.hint) from None
            await self._clock.sleep(PAUSE_SECONDS)
        now = self._clock.monotonic()
        # The store counted from some moment between `asked` and `now`, so a slot lies between these two as well.
        gaps = [first + k / bucket.per_second for k in range(n)]
        if now - asked > self._late:
            gaps, asked = gaps[-1:], now  # too slow to place them: one call, which the others' slots more than pay for
        bucket.slots.extend((now + max(gap, 0.0), asked + max(gap, 0.0) + self._late) for gap in gaps)

    def penalize(self, account: str, system: str, seconds: float) -> None:
        """Nobody of this process leaves for `seconds`, and no worker is given a new slot before that."""
        bucket = self._bucket(account, system)
        bucket.closed_until = max(bucket.closed_until, self._clock.monotonic() + seconds)
        bucket.slots.clear()
        task = asyncio.get_running_loop().create_task(self._tell_others(account, system, seconds))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _tell_others(self, account: str, system: str, seconds: float) -> None:
        try:
            await self._store.close(account, system, seconds)
        except LedgerError:
            return  # this process waits all the same, and the others will be told by the remote

    def _bucket(self, account: str, system: str) -> _Bucket:
        name = (account, system)
        if name not in self._buckets:
            rate = self._per_account.get(name) or self._rates.get(system, self._fallback)
            self._buckets[name] = _Bucket(rate.per_second * self._headroom, rate.burst)
        return self._buckets[name]
