"""Real runs of the product in a process of its own, which ends by SIGKILL when each run has come to its boundary.

The boundaries are counted by the code as it runs, not listed by hand: before and after every call that writes to the
ledger, at the COMMIT of every intent, between it and the intents log, before the first byte of every write and when its
reply was read or lost. A process that runs one account is killed at the very instruction. One that runs several lets
each of them come to its own boundary, where it goes no further, and is killed when all of them stand there.

Test code only: the product knows nothing of it.
"""

from __future__ import annotations

import asyncio
import faulthandler
import functools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import event

from integrations.http import Transport
from recovery.approvals import acting, reach_of
from recovery.ledger.ledger import Ledger
from recovery.model import Approval, Finding, OutageWindow, Plan, Verdict
from recovery.operate import Run, audit_window, plan_from
from recovery.settings import load_settings
from recovery.views import done_view, item_view
from recovery.wiring import Systems, open_systems

LEDGER_WRITES = (
    "save_plan", "open_items", "ensure", "claim", "unclaim", "intend", "begin", "settle", "confirm", "doubt", "adopt",
    "absent", "retry_rejected", "hold", "skip", "cancel", "release_hold", "take_over", "elect", "note_object",
    "finish_item", "append",
)  # fmt: skip
PEOPLE = ("Dana Reyes", "Sam Okafor")
RESUMED, PLANNED_ANEW = "resumed", "planned anew"
BY_FILE, BY_ROW, BY_ENVIRONMENT = "file", "row", "environment"


@dataclass(frozen=True, slots=True)
class Task:
    """One account's run. `stop_at` is the boundary at which it ends (0: none); `pause` seconds it waits there instead.

    `plan` says how it goes on after a crash: with the recorded plan, or with a new one from a new audit. `throw` names
    the kill switch that is thrown at the boundary, where the run then goes on; "clear ..." takes it back at the start.
    """

    config: Path
    account: str
    window: OutageWindow
    out: Path
    stop_at: int = 0
    pause: float = 0.0
    plan: str = RESUMED
    starter: str = "test"
    throw: str = ""

    @property
    def kill_file(self) -> Path:
        return self.config.parent / "STOP"


@dataclass
class Boundaries:
    """Counts what passes, in whichever thread; at the chosen one the run goes no further."""

    task: Task
    alone: bool
    labels: list[str] = field(default_factory=list)
    stands: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ledger: Ledger | None = None

    def _is_here(self, label: str) -> bool:
        with self.lock:
            self.labels.append(label)
            return len(self.labels) == self.task.stop_at

    def _stop(self, label: str) -> None:
        self.task.out.with_suffix(".cut").write_text(label)
        if self.alone:
            os.kill(os.getpid(), signal.SIGKILL)
        self.loop.call_soon_threadsafe(self.stands.set)

    async def passed(self, label: str) -> None:
        if not self._is_here(label):
            return
        if self.task.throw:
            await self._throw()
            return
        if self.task.pause:
            await asyncio.sleep(self.task.pause)
            return
        self._stop(label)
        await asyncio.Event().wait()

    async def _throw(self) -> None:
        if self.task.throw == BY_FILE:
            self.task.kill_file.write_text("stop")
        elif self.task.throw == BY_ENVIRONMENT:
            os.environ["ALLCLEAR_KILL"] = "1"
        elif self.task.throw == BY_ROW:
            assert self.ledger is not None
            await self.ledger.set_kill("Ana Ruiz", "stop")

    def passed_in_thread(self, label: str) -> None:
        if not self._is_here(label):
            return
        if self.task.throw:
            # The writer's own thread cannot wait for a row to be written; a file it can write.
            self.task.kill_file.write_text("stop")
            return
        if self.task.pause:
            time.sleep(self.task.pause)
            return
        self._stop(label)
        threading.Event().wait()

    def wrap(self, call: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[Any]]:
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            await self.passed(f"before {name}")
            result = await call(*args, **kwargs)
            await self.passed(f"after {name}")
            return result

        return wrapped


HERE: ContextVar[Boundaries] = ContextVar("HERE")
STANDING: list[asyncio.Future[None]] = []
"""Runs that stand at their boundary, kept from the garbage collector: collected, they would tidy up before the kill."""


def install(boundaries: Boundaries, systems: Systems) -> None:
    """Put the boundaries round the ledger's writes, its intents and (by `HERE`) the transport's writes."""
    HERE.set(boundaries)
    boundaries.ledger = systems.ledger
    for name in LEDGER_WRITES:
        setattr(systems.ledger, name, boundaries.wrap(getattr(systems.ledger, name), name))
    writer = systems.ledger._writer
    assert writer is not None
    log_intents, transact, under_way = writer.hooks.log_intents, writer._transact, list[Any]()

    def logged(intents: Any) -> None:
        boundaries.passed_in_thread("intent committed, not yet in intents.log")
        log_intents(intents)
        boundaries.passed_in_thread("intent in intents.log, not yet answered")

    def transacts(batch: Any, name: str, outcomes: Any, intents: Any, **how: Any) -> None:
        under_way[:] = [intents]
        transact(batch, name, outcomes, intents, **how)

    def commits(_connection: Any) -> None:
        if under_way and under_way.pop():
            boundaries.passed_in_thread("at the COMMIT of an intent")

    writer.hooks.log_intents = logged
    writer._transact = transacts  # type: ignore[method-assign]
    event.listen(writer.engine, "commit", commits)


def count_the_transport() -> None:
    """Once a process: every write of every transport passes the boundaries of the run it belongs to.

    The certificates are read once, too: each run would spend a fifth of its time on them, and all is loopback.
    """
    httpx.create_ssl_context = functools.cache(httpx.create_ssl_context)
    exchange = Transport._exchange

    async def counted(self: Transport, sockets: Any, request: Any, connect: float) -> Any:
        boundaries = HERE.get(None)
        if sockets is not self._sockets.writes or boundaries is None:
            return await exchange(self, sockets, request, connect)
        await boundaries.passed("before the first byte")
        try:
            return await exchange(self, sockets, request, connect)
        finally:
            await boundaries.passed("reply read or lost")

    Transport._exchange = counted  # type: ignore[method-assign]


# ---- one run --------------------------------------------------------------------------------------------------------


async def recorded(systems: Systems, task: Task) -> Plan | None:
    """The plan of the run that was interrupted, when it may still be run."""
    place = task.config.parent / "plan"
    if task.plan == PLANNED_ANEW or not place.exists():
        return None
    found = await systems.ledger.plan(place.read_text())
    return found if found is not None and found.expires_at > systems.clock.now() else None


async def approved(systems: Systems, plan: Plan) -> Plan:
    for person in PEOPLE:
        given = Approval(plan.digest, person, systems.clock.now(), reach_of(acting(plan)), True, (), "test")
        await systems.ledger.approve(given)
    return plan


async def claim(systems: Systems, task: Task, findings: tuple[Finding, ...]) -> None:
    """What the product finally says of every slot, for the oracle."""
    rows = await systems.ledger.items(incident=task.window.incident_ref)
    items = [item_view(row, await systems.ledger.actions(row.slot_key)) for row in rows]
    listed = {row.slot_key for row in rows}
    items += [done_view(f) for f in findings if f.slot.key not in listed and f.verdict is Verdict.DONE]
    task.out.with_suffix(".claims").write_text(json.dumps({"items": items, "ticket": None}))


async def recover(task: Task, boundaries: Boundaries) -> None:
    """Audit, plan, approve and run, as a person at the terminal does it; an interrupted plan goes on."""
    async with open_systems(load_settings(task.config), names=(task.account,)) as systems:
        if task.throw.startswith("clear "):
            task.kill_file.unlink(missing_ok=True)
            await systems.ledger.clear_kill("Ana Ruiz")
        plan, findings = await recorded(systems, task), tuple[Finding, ...]()
        if plan is None:
            audit = await audit_window(systems, task.window)
            findings, plan = audit.findings, await plan_from(systems, audit)
        if plan is not None:
            (task.config.parent / "plan").write_text((await approved(systems, plan)).digest)
            install(boundaries, systems)
            done = await Run(systems, plan, task.starter).recover()
            findings = done.after.findings if done.after else ()
        problems = await systems.ledger.verify()
        assert not problems, problems
        await claim(systems, task, findings)
    task.out.write_text("\n".join(boundaries.labels))


async def run_to_boundary(task: Task, alone: bool) -> bool:
    """Whether the run came to its end, rather than to its boundary."""
    boundaries = Boundaries(task, alone)
    running = asyncio.ensure_future(recover(task, boundaries))
    standing = asyncio.ensure_future(boundaries.stands.wait())
    await asyncio.wait({running, standing}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        STANDING.append(running)
        return False
    standing.cancel()
    try:
        await running
    except Exception as error:  # the parent reads why
        task.out.with_suffix(".error").write_text(f"{type(error).__name__}: {error}")
        raise
    return True


async def run_all(tasks: list[Task]) -> int:
    told = await asyncio.gather(*(run_to_boundary(t, len(tasks) == 1) for t in tasks), return_exceptions=True)
    if any(each is False for each in told):
        os.kill(os.getpid(), signal.SIGKILL)  # the others have ended; nothing of these goes any further
    return 3 if any(isinstance(each, BaseException) for each in told) else 0


def run_child(tasks: list[Task], start_at: Any = None) -> None:
    """The runs of one process; `start_at` is a barrier for duels."""
    faulthandler.enable()
    count_the_transport()
    if start_at is not None:
        start_at.wait()
    sys.exit(asyncio.run(run_all(tasks)))
