"""Rate limits kept before a vendor has to refuse: one token bucket per account and system, in this process.

A bucket at the known rate uses 98 to 99 % of a budget without one refusal; obeying refusals call by call uses 13 %
(performance findings, 8). Waiters of one bucket are served in the order they came; buckets know nothing of each other,
so a slow or throttled account delays no other. Sharing between processes is another implementation of the same port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from recovery.errors import ConfigError
from recovery.ports import Clock, Tell

TELL_EVERY_SECONDS = 1.0
TELL_FROM_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Rate:
    """Calls per second on average, and how many may leave at once after a pause (`burst`, at least 1)."""

    per_second: float
    burst: float = 1.0

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and self.burst >= 1):
            raise ConfigError("a rate needs more than 0 calls per second and a burst of at least 1")


FALLBACK = Rate(5.0)  # for a system whose limit nobody published
# Published limits; see vendors.md and prospect2-tessitura.md §2.1. Where a vendor publishes none, a polite pace.
VENDOR_RATES: Mapping[str, Rate] = {
    "pro2": Rate(5.0),
    "dashboard": Rate(5.0),
    "tessitura": Rate(10.0, 5),
    "netcore": Rate(5.0),
    "meta": Rate(5.0),
    "jira": Rate(10.0, 10),  # 20 writes per 2 s on one issue is its tightest limit
    "zendesk": Rate(3.0, 5),
    "slack": Rate(1.0, 3),  # one message per second and channel
    "pagerduty": Rate(10.0, 10),  # REST, 960 a minute
    "pagerduty-events": Rate(2.0, 10),  # 120 events a minute per integration key
    "clickup": Rate(1.5, 10),
    "pendo": Rate(2.0, 5),
    "statuspage": Rate(1.0),
}


class _Waited(Protocol):
    """What is told of a bucket."""

    per_second: float
    waiting: int
    told_at: float


class Waits:
    """Tells of waits that are long enough for a person to wonder, at most once a second a bucket."""

    def __init__(self, tell: Tell | None, headroom: float) -> None:
        self._tell, self._headroom = tell, headroom

    def tell(self, account: str, system: str, bucket: _Waited, seconds: float, now: float) -> None:
        """The one whose turn it is waits `seconds`; the last in the line waits for all before it."""
        expected = seconds + (bucket.waiting - 1) / bucket.per_second
        if self._tell is None or expected < TELL_FROM_SECONDS or now - bucket.told_at < TELL_EVERY_SECONDS:
            return
        bucket.told_at = now
        self._tell(
            "waiting",
            {
                "system": system,
                "account": account,
                "per_second": round(bucket.per_second / self._headroom, 3),
                "waiting": bucket.waiting,
                "seconds": round(expected, 1),
            },
        )


class TokenBuckets:
    """The in-process `RateGate`. A rate is looked up by (account, system), then by system, then `fallback`.

    `headroom` is the share of each rate that is used (0.97: the vendor's clock is not ours, and its window may be a
    sliding one). `tell` hears "waiting" with system, account, per_second, waiting and seconds, at most once a second a
    bucket, when a wait is long enough for a person to wonder.
    """

    def __init__(
        self,
        clock: Clock,
        rates: Mapping[str, Rate] = VENDOR_RATES,
        per_account: Mapping[tuple[str, str], Rate] | None = None,
        *,
        fallback: Rate = FALLBACK,
        headroom: float = 0.97,
        tell: Tell | None = None,
    ) -> None:
        self._clock = clock
        self._rates = rates
        self._per_account = per_account or {}
        self._fallback = fallback
        self._headroom = headroom
        self._waits = Waits(tell, headroom)
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    async def acquire(self, account: str, system: str) -> None:
        """Return when one more call may leave, first come first served. A cancelled wait takes nothing."""
        bucket = self._bucket(account, system)
        bucket.waiting += 1
        try:
            async with bucket.turn:
                while (seconds := bucket.wait_seconds(now := self._clock.monotonic())) > 0:
                    self._waits.tell(account, system, bucket, seconds, now)
                    await self._clock.sleep(seconds)
                bucket.take()
        finally:
            bucket.waiting -= 1

    def penalize(self, account: str, system: str, seconds: float) -> None:
        """Nobody of this bucket leaves for `seconds`; a longer penalty stays. The saved-up burst is lost."""
        now = self._clock.monotonic()
        bucket = self._bucket(account, system)
        bucket.closed_until = max(bucket.closed_until, now + seconds)
        bucket.empty(now)

    def _bucket(self, account: str, system: str) -> _Bucket:
        name = (account, system)
        if name not in self._buckets:
            rate = self._per_account.get(name) or self._rates.get(system, self._fallback)
            now = self._clock.monotonic()
            self._buckets[name] = _Bucket(rate.per_second * self._headroom, rate.burst, now)
        return self._buckets[name]


class _Bucket:
    """Tokens grow with time up to `burst`; the one whose turn it is waits for a whole token."""

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self.per_second = per_second
        self.turn = asyncio.Lock()
        self.waiting = 0
        self.closed_until = now
        self.told_at = float("-inf")
        self._burst = burst
        self._tokens = burst
        self._counted_at = now

    def wait_seconds(self, now: float) -> float:
        """Seconds until a call may leave; 0 when it may now."""
        grown = max(now - self._counted_at, 0.0) * self.per_second
        self._tokens = min(self._burst, self._tokens + grown)
        self._counted_at = max(now, self._counted_at)
        # A hair of tolerance: a sleep that ends on time must not fail on the last bit of a float.
        short = 0.0 if self._tokens >= 1 - 1e-9 else (1 - self._tokens) / self.per_second
        return max(short, self.closed_until - now, 0.0)

    def take(self) -> None:
        """Use one token."""
        self._tokens -= 1

    def empty(self, now: float) -> None:
        """Forget what was saved up."""
        self._tokens = min(self._tokens, 0.0)
        self._counted_at = max(now, self.closed_until)
