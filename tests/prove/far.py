"""A remote that takes effects and keeps nothing but an append-only journal; the light workers of the load tests use it.

It lives in the test's own process, so it outlives every worker. By a seeded draw some requests are lost before it, some
replies after it, and some effects land late, long after their sender was told nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LATE_SECONDS = 0.15
SETTLE_SECONDS = 0.5  # longer than the longest that a request is on its way
REPLY_SECONDS = 0.1
LOST, UNANSWERED, LATE = 0.02, 0.02, 0.03


@dataclass
class FarEnd(asyncio.DatagramProtocol):
    """A "look" is answered with how often the effect is there; a "do" is journalled, each time that it comes."""

    journal: Path
    draw: random.Random
    trouble: bool = True
    effects: Counter[str] = field(default_factory=Counter)
    arrived: list[tuple[float, str]] = field(default_factory=list)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.file = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def connection_lost(self, exc: Exception | None) -> None:
        os.close(self.file)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        asked = json.loads(data)
        if "look" in asked:
            self._tell(addr, {"of": asked["of"], "there": self.effects[asked["look"]]})
            return
        key, luck = asked["do"], self.draw.random() if self.trouble else 1.0
        self.arrived.append((time.monotonic(), key))
        if luck < LOST:
            return
        if luck < LOST + LATE:
            asyncio.get_running_loop().call_later(LATE_SECONDS, self._do, key, asked["by"])
            return
        self._do(key, asked["by"])
        if luck >= LOST + LATE + UNANSWERED:
            self._tell(addr, {"of": asked["of"], "there": self.effects[key]})

    def _do(self, key: str, by: str) -> None:
        self.effects[key] += 1
        os.write(self.file, json.dumps({"key": key, "by": by, "n": self.effects[key]}).encode() + b"\n")

    def _tell(self, addr: Any, answer: dict[str, Any]) -> None:
        try:
            self.transport.sendto(json.dumps(answer).encode(), addr)
        except OSError:
            return  # the worker has been killed


@asynccontextmanager
async def far_end(folder: Path, seed: int, *, trouble: bool = True) -> AsyncIterator[FarEnd]:
    """The remote at `folder/far`, until the end of the block."""
    made = FarEnd(folder / "journal", random.Random(seed), trouble)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: made, local_addr=str(folder / "far"), family=socket.AF_UNIX
    )
    try:
        yield made
    finally:
        await asyncio.sleep(LATE_SECONDS)  # what is on its way still lands
        transport.close()


def journalled(folder: Path) -> Counter[str]:
    """How often each effect happened, from the file alone."""
    path = folder / "journal"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(json.loads(line)["key"] for line in lines)


@dataclass
class NearEnd(asyncio.DatagramProtocol):
    """A worker's side: one request, one reply, or none in time."""

    waiting: dict[int, asyncio.Future[int]] = field(default_factory=dict)
    number: int = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        told = json.loads(data)
        waiter = self.waiting.get(told["of"])
        if waiter is not None and not waiter.done():
            waiter.set_result(told["there"])

    async def ask(self, what: str, key: str, seconds: float) -> int | None:
        """How often the effect is there; None when no answer came in time."""
        self.number += 1
        of = self.number
        answer = self.waiting[of] = asyncio.get_running_loop().create_future()
        try:
            self.transport.sendto(json.dumps({what: key, "of": of, "by": str(os.getpid())}).encode())
            return await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            return None
        finally:
            del self.waiting[of]


async def near_end(folder: Path) -> NearEnd:
    """A connection to the remote in `folder`, for as long as the process lives."""
    mine = NearEnd()
    here = folder / f"near-{os.getpid()}-{time.monotonic_ns()}"
    await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: mine, local_addr=str(here), remote_addr=str(folder / "far"), family=socket.AF_UNIX
    )
    return mine
