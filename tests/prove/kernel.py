"""A pretend machine: virtual time, one thread, processes that can be killed or paused at any await.

The loop runs ordinary asyncio tasks. Which of the ready callbacks runs next is drawn from the seed, waiting costs
nothing, and every callback belongs to the process that asked for it: a killed process's callbacks are dropped (no
`finally`, no `except` runs), a paused one's wait until it comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections.abc import Callable, Coroutine, Generator
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 6, 3, 19, 0, tzinfo=UTC)


class StuckError(Exception):
    """A schedule did not come to rest within its number of steps."""


class Handle:
    """One callback that waits for its turn."""

    __slots__ = ("args", "callback", "cancelled_", "process")

    def __init__(self, callback: Callable[..., object], args: tuple[object, ...], process: Process | None) -> None:
        self.callback, self.args, self.process, self.cancelled_ = callback, args, process, False

    def cancel(self) -> None:
        self.cancelled_ = True

    def cancelled(self) -> bool:
        return self.cancelled_


class Process:
    """One run of the product: its name in claims, whether it lives, and when trouble strikes it (in steps)."""

    __slots__ = ("alive", "ended", "owner", "passed", "pause", "paused_until", "steps", "trouble_at")

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.passed = 0
        self.alive = True
        self.ended = False
        self.steps = 0
        self.trouble_at = -1
        self.pause = 0.0
        self.paused_until = 0.0


class Loop(asyncio.AbstractEventLoop):
    """The event loop of one schedule."""

    def __init__(self, chance: random.Random, most_steps: int = 60_000) -> None:
        self.chance = chance
        self.now = 0.0
        self.current: Process | None = None
        self.steps = 0
        self.most_steps = most_steps
        self.on_trouble: Callable[[Process], None] = lambda _process: None
        self.on_step: Callable[[Process], None] | None = None
        self._ready: list[Handle] = []
        self._timers: list[tuple[float, int, Handle]] = []
        self._number = 0
        self._tasks: list[asyncio.Task[Any]] = []
        self._over = False

    # ---- what asyncio asks of a loop

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._over

    def is_closed(self) -> bool:
        return self._over

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Nobody waits for a killed process's tasks."""

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Same."""

    def call_soon(self, callback: Callable[..., object], *args: object, context: object = None) -> Handle:  # type: ignore[override]
        handle = Handle(callback, args, self.current)
        if not self._over:
            self._ready.append(handle)
        return handle

    def call_at(self, when: float, callback: Callable[..., object], *args: object, context: object = None) -> Handle:  # type: ignore[override]
        handle = Handle(callback, args, self.current)
        self._push(when, handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object, context: object = None
    ) -> Handle:  # type: ignore[override]
        return self.call_at(self.now + max(0.0, delay), callback, *args)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: object = None) -> asyncio.Task[Any]:  # type: ignore[override]
        task = asyncio.Task(coro, loop=self, name=name or "t")
        self._tasks.append(task)
        return task

    # ---- the machine

    def _push(self, when: float, handle: Handle) -> None:
        if not self._over:
            self._number += 1
            heapq.heappush(self._timers, (when, self._number, handle))

    def at(self, when: float, what: Callable[..., object], *args: object) -> None:
        """The world (no process) does something at a time."""
        self._push(max(when, self.now), Handle(what, args, None))

    def start(self, process: Process, main: Coroutine[Any, Any, None]) -> None:
        """Start a process's main task."""
        before, self.current = self.current, process
        self.create_task(main)
        self.current = before

    def run(self, until: float) -> None:
        """Let everything happen that happens before a time. Raises StuckError."""
        draw, ready, timers = self.chance.random, self._ready, self._timers
        while True:
            if not ready:
                if not timers or timers[0][0] > until:
                    self.now = max(self.now, until)
                    return
                self.now = max(self.now, timers[0][0])
                while timers and timers[0][0] <= self.now:
                    ready.append(heapq.heappop(timers)[2])
            count = len(ready)
            place = int(draw() * count) if count > 1 else 0
            handle, ready[place] = ready[place], ready[-1]
            ready.pop()
            if handle.cancelled_:
                continue
            process = handle.process
            if process is not None and not self._may_go(process, handle):
                continue
            self.steps += 1
            if self.steps > self.most_steps:
                raise StuckError(f"no rest after {self.steps} steps, at {self.now:.0f} s")
            self.current = process
            handle.callback(*handle.args)
            self.current = None

    def _may_go(self, process: Process, handle: Handle) -> bool:
        """Counts the process's step and lets trouble strike; False when it is dead or asleep."""
        if not process.alive:
            return False
        if process.paused_until <= self.now:
            process.steps += 1
            if process.steps == process.trouble_at:
                self.on_trouble(process)
            if process.alive and process.paused_until <= self.now:
                if self.on_step is not None:
                    self.on_step(process)
                return True
            if not process.alive:
                return False
        self._push(process.paused_until, handle)
        return False

    def over(self) -> None:
        """Forget everything: what was killed is only now taken apart."""
        self._over = True
        self._ready.clear()
        self._timers.clear()
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # a killed process's task never ends
                coro = task.get_coro()
                with contextlib.suppress(BaseException):
                    coro.close()  # type: ignore[union-attr]
            elif not task.cancelled():
                task.exception()
        self._tasks.clear()


class Turn:
    """`await TURN`: a place at which others may go first, and at which a process may be killed or paused."""

    def __await__(self) -> Generator[None, None, None]:
        yield


TURN = Turn()


class VirtualClock:
    """A host's clock on the pretend machine; `ahead` is by how many seconds its wall clock was set forward or back."""

    __slots__ = ("_loop", "ahead")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.ahead = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.now + self.ahead)

    def monotonic(self) -> float:
        return self._loop.now

    async def sleep(self, seconds: float) -> None:
        done = self._loop.create_future()
        self._loop.call_later(seconds, _wake, done)
        await done


def _wake(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


@contextlib.contextmanager
def machine(seed: int, most_steps: int = 60_000) -> Generator[Loop, None, None]:
    """A loop that is asyncio's running loop while the block runs."""
    loop = Loop(random.Random(f"order {seed}"), most_steps)
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        yield loop
    finally:
        loop.over()
        asyncio._set_running_loop(before)
