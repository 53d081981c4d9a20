"""A light worker in a process of its own: the product's Runner and Ledger against the journal remote of `far`."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recovery.act import NO_REST, Effect, Ended, Look, Runner
from recovery.errors import LedgerConflict, LedgerError, LedgerUnavailable
from recovery.gate import Allow, Ruling
from recovery.ledger.ledger import Ledger
from recovery.ledger.rows import ActionSpec
from recovery.ledger.work import Work
from recovery.model import ActionKind, AttemptOutcome, Harm, OpenAttempt, WriteResult
from recovery.policy import Limits, Policy, Waits
from tests.prove.far import REPLY_SECONDS, SETTLE_SECONDS, NearEnd, near_end

MANY = 10**9
POLICY = Policy(
    (),
    Waits(poll=0.02, settle=SETTLE_SECONDS, lease=2.0, send_within=1.0, write_deadline=1.0),
    Limits(MANY, MANY, MANY, max_unknowns_in_a_row=MANY, mails_per_person_a_day=MANY),
)
KINDS = ((ActionKind.COPY, Harm.H0), (ActionKind.RUN_NOW, Harm.H3), (ActionKind.RELEASE, Harm.H3))


class Clock:
    """This machine's."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


@dataclass(frozen=True, slots=True)
class Shift:
    """What one worker process does: these keys in this order, so many at a time, until it is killed or done."""

    url: str
    state_dir: Path
    remote: Path
    keys: Sequence[str]
    out: Path
    at_once: int = 8
    pauses: Sequence[tuple[str, float]] = ()  # for each key: at which point this process is stopped, and for how long
    policy: Policy = POLICY
    full: str = ""  # "pages:N", "bytes:N" (to spare) or "read-only": what becomes of the ledger's disk once it is open


def spec_of(key: str) -> ActionSpec:
    """The effect that a key "account/number" names: a third may be repeated, two thirds may not."""
    account, _, number = key.partition("/")
    kind, harm = KINDS[int(number) % len(KINDS)]
    return ActionSpec(key, f"slot {key}", account, kind, harm, number, recipients=1 if harm is Harm.H3 else 0)


LEDGER_POINTS = ("ensure", "begin", "settle", "confirm")
POINTS = (
    "look", "gate", "intent written", "before the first byte", "reply read",
    *(f"{side} {name}" for name in LEDGER_POINTS for side in ("before", "after")),
)  # fmt: skip


@dataclass(slots=True)
class Worker:
    """One process's hands. `pause` is the point at which it is stopped next, by SIGSTOP, and for how many seconds."""

    runner: Runner
    near: NearEnd
    pause: tuple[str, float] = ("", 0.0)

    def passes(self, point: str) -> None:
        """Be stopped here, if it is the point; somebody else lets the process go on, as after a suspended machine."""
        if point == self.pause[0] and self.pause[1]:
            waker = f"sleep {self.pause[1]}; kill -CONT {os.getpid()}"
            self.pause = ("", 0.0)
            subprocess.Popen(["/bin/sh", "-c", waker])
            os.kill(os.getpid(), signal.SIGSTOP)

    def watch(self) -> None:
        """Pass a point before and after each of the ledger's main writes."""
        for name in LEDGER_POINTS:
            setattr(self.runner.ledger, name, self._wrapped(getattr(self.runner.ledger, name), name))

    def _wrapped(self, call: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[Any]]:
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.passes(f"before {name}")
            result = await call(*args, **kwargs)
            self.passes(f"after {name}")
            return result

        return wrapped

    def effect(self, key: str) -> Effect:
        spec = spec_of(key)

        async def send(attempt: OpenAttempt) -> WriteResult:
            self.passes("intent written")
            if self.runner.clock.monotonic() >= attempt.send_by_monotonic:
                return WriteResult(AttemptOutcome.NOT_APPLIED, detail="not sent: too late")
            self.passes("before the first byte")
            there = await self.near.ask("do", key, REPLY_SECONDS)
            self.passes("reply read")
            if there is None:
                return WriteResult(AttemptOutcome.UNKNOWN, detail="no reply")
            return WriteResult(AttemptOutcome.APPLIED, ref=key)

        async def look() -> Look:
            self.passes("look")
            there = await self.near.ask("look", key, 1.0)
            if there is None:
                return Look("cannot_tell", note="no answer")
            return Look("seen" if there else "absent", key if there else "", f"seen {key}" if there else "", f"{there}")

        async def check() -> Ruling:
            self.passes("gate")
            return Allow()

        return Effect(
            spec, f"do {key}", send, look, check, repeatable=spec.harm is Harm.H0, settle_seconds=SETTLE_SECONDS,
            confirm_seconds=2.0,
        )  # fmt: skip

    async def do(self, key: str) -> str:
        """How it ended, for the judge."""
        while True:
            try:
                await self.runner.perform(self.effect(key))
                return "confirmed"
            except Ended as ended:
                text = ended.question.text if ended.question and ended.reason != NO_REST else ended.reason
                return f"{ended.outcome.value}: {text}"
            except LedgerConflict:
                await self.runner.clock.sleep(0.02)
            except LedgerError as error:
                return f"open: {error}"


def _silent(_what: str, _facts: object) -> None:
    return


def kill_file(folder: Path) -> Callable[[], str]:
    return lambda: "the kill file" if (folder / "KILL").exists() else ""


async def fill(ledger: Ledger, shift: Shift) -> None:
    """Leave the SQLite ledger this little room: pages of the database, or bytes of any file (a limit of the kernel)."""
    kind, _, spare = shift.full.partition(":")
    if kind == "bytes":
        sizes = [path.stat().st_size for path in shift.state_dir.parent.glob("ledger.db*")]
        limit = max(sizes) + int(spare)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    elif kind == "pages":

        def limit_pages(work: Work) -> None:
            pages = int(work.connection.exec_driver_sql("PRAGMA page_count").scalar_one())
            work.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + int(spare)}")

        await ledger._write(limit_pages)
    elif kind == "read-only":
        await ledger._write(lambda work: work.connection.exec_driver_sql("PRAGMA query_only = ON").close())


async def work(shift: Shift, each: Any = None) -> dict[str, str]:
    """Every key's ending; `each` is a barrier before every key."""
    off = kill_file(shift.state_dir)
    async with await Ledger.open(shift.url, shift.state_dir) as ledger:
        await fill(ledger, shift)
        runner = Runner(ledger, Clock(), shift.policy, _silent, f"run-{os.getpid()}", off)
        worker = Worker(runner, await near_end(shift.remote))
        if each is not None:
            worker.watch()
            return {key: await _meet(worker, n, key, shift, each) for n, key in enumerate(shift.keys)}
        room = asyncio.Semaphore(shift.at_once)

        async def one(key: str) -> str:
            async with room:
                return await worker.do(key)

        told = dict[str, str]()
        while left := [key for key in shift.keys if NO_REST in told.get(key, NO_REST)]:
            told |= zip(left, await asyncio.gather(*map(one, left)), strict=True)
    return told


async def _meet(worker: Worker, number: int, key: str, shift: Shift, each: Any) -> str:
    await asyncio.to_thread(each.wait)
    worker.pause = shift.pauses[number] if shift.pauses else ("", 0.0)
    return await worker.do(key)


def run_levels(shifts: Sequence[Shift]) -> None:
    """Several shifts of one process side by side, each with a ledger of its own."""

    async def all_of_them() -> None:
        for shift, told in zip(shifts, await asyncio.gather(*map(work, shifts)), strict=True):
            shift.out.write_text(json.dumps(told))

    asyncio.run(all_of_them())


def run_worker(shift: Shift, each: Any = None) -> None:
    try:
        told = asyncio.run(work(shift, each))
    except LedgerUnavailable as error:  # the server is down at this moment; the next shift goes on
        told = dict.fromkeys(shift.keys, f"open: {error}")
    except Exception as error:
        shift.out.with_suffix(".error").write_text(f"{type(error).__name__}: {error}")
        raise
    shift.out.write_text(json.dumps(told))
