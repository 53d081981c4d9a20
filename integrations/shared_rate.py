"""Rate limits kept by all workers of one ledger together: the `RateGate` where the ledger is PostgreSQL.

Slots are leased from a store that all workers share, as many as there are callers waiting and at most a few at once, so
that workers take turns. A call leaves in its slot or not at all: a slot that has passed while this process was busy is
thrown away rather than used late beside the next one. So the sum of all workers never exceeds the rate; what it costs
is some unused slots under load.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from integrations.rate import FALLBACK, VENDOR_RATES, Rate
from recovery.errors import LedgerError, Unavailable
from recovery.ports import Clock

MOST_AT_ONCE = 4
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
    slots: deque[float] = field(default_factory=deque)


class SharedBuckets:
    """Rates are looked up as `TokenBuckets` does; `headroom` is the share of each that all workers together use.

    `acquire` raises `Unavailable` when the store cannot be reached for 30 s: without it nobody knows what is left.
    """

    def __init__(
        self,
        clock: Clock,
        store: SlotStore,
        rates: Mapping[str, Rate] = VENDOR_RATES,
        per_account: Mapping[tuple[str, str], Rate] | None = None,
        *,
        fallback: Rate = FALLBACK,
        headroom: float = 0.97,
    ) -> None:
        self._clock, self._store = clock, store
        self._rates, self._per_account = rates, per_account or {}
        self._fallback, self._headroom = fallback, headroom
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
        late = 0.5 / bucket.per_second
        while True:
            now = self._clock.monotonic()
            while bucket.slots and bucket.slots[0] < now - late:
                bucket.slots.popleft()
            if now < bucket.closed_until:
                bucket.slots.clear()
                await self._clock.sleep(bucket.closed_until - now)
            elif not bucket.slots:
                await self._lease(bucket, account, system)
            elif bucket.slots[0] > now:
                await self._clock.sleep(bucket.slots[0] - now)
            else:
                bucket.slots.popleft()
                return

    async def _lease(self, bucket: _Bucket, account: str, system: str) -> None:
        n = max(1, min(bucket.waiting, MOST_AT_ONCE))
        give_up = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                first = await self._store.lease(account, system, n, bucket.per_second, bucket.burst)
                break
            except LedgerError as error:
                if self._clock.monotonic() >= give_up:
                    problem = f"the rate limit that all workers share cannot be kept: {error}"
                    raise Unavailable(system, account, problem, error.hint) from None
            await self._clock.sleep(PAUSE_SECONDS)
        now = self._clock.monotonic()
        bucket.slots.extend(max(now + first + k / bucket.per_second, now) for k in range(n))

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
