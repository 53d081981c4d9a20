"""What every client test needs: a clock, an open gate, an attempt, and a transport whose remote is a function."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from integrations.http import Sockets, Transport
from recovery.model import Exchange, OpenAttempt


class SteppedClock:
    """Time that moves only when someone sleeps; `slept` is what they slept."""

    def __init__(self) -> None:
        self.start = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.passed = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.passed += seconds
        await asyncio.sleep(0)


class WallClock:
    """Real time, for tests over real sockets."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class OpenGate:
    """Lets everybody through and remembers the penalties."""

    def __init__(self) -> None:
        self.penalties: list[float] = []
        self.passed = 0

    async def acquire(self, account: str, system: str) -> None:
        self.passed += 1

    def penalize(self, account: str, system: str, seconds: float) -> None:
        self.penalties.append(seconds)


class Shelf:
    """Keeps every exchange."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    async def keep(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


def open_attempt(clock: Any, *, seconds: float = 30.0) -> OpenAttempt:
    return OpenAttempt(1, "A" * 16, 1, 1, clock.monotonic() + seconds, seconds)


Remote = Callable[[httpx.Request], httpx.Response]


class Bench:
    """A transport to a remote played by a function, and everything it touched."""

    def __init__(self, remote: Remote, **options: Any) -> None:
        self.requests: list[httpx.Request] = []
        self.clock = SteppedClock()
        self.gate = OpenGate()
        self.shelf = Shelf()

        def answer(request: httpx.Request) -> httpx.Response:
            self.requests.append(request)
            return remote(request)

        self.transport = Transport(
            **{
                "system": "pro2",
                "account": "harbor",
                "base_url": "https://harbor.example",
                "headers": {"Api-Token": "canary-token-123456"},
                "sockets": Sockets(transport=httpx.MockTransport(answer)),
                "clock": self.clock,
                "gate": self.gate,
                "keep": self.shelf.keep,
                **options,
            }
        )

    def attempt(self) -> OpenAttempt:
        return open_attempt(self.clock)
