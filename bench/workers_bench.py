"""Several workers on one PostgreSQL ledger: accounts split by lease, one budget of calls, workers added and killed.

Each worker is a process that runs `recovery.share` and `Runner.perform` over all accounts. The remote counts every
effect, so a run in which one happened twice or not at all ends the bench.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvloop

from bench.databases import Disks
from bench.engine import STEPS
from bench.machine import noise, save, table
from bench.peers import send_effect
from bench.remote import Remote, running
from integrations.http import Sockets, Transport
from integrations.rate import Rate
from integrations.shared_rate import SharedBuckets
from recovery.act import ABSENT, SEEN, Effect, Look, Runner
from recovery.ledger.ledger import Ledger
from recovery.ledger.rows import ActionSpec
from recovery.model import ActionKind, Harm, OpenAttempt, WriteResult
from recovery.policy import Policy
from recovery.share import Share
from recovery.wiring import SystemClock, silent

PER_SECOND = 5.0
CALLS_PER_ITEM = 5
LEASE_SECONDS = 10.0


@dataclass(frozen=True)
class Work:
    """What one worker is told: the remote, the ledger, how many accounts of how many items, how many side by side."""

    url: str
    ledger: str
    state: str
    accounts: int
    items: int
    at_once: int


class Worker:
    """One process's part."""

    def __init__(self, work: Work, ledger: Ledger) -> None:
        assert ledger.slots is not None
        self.work = work
        self.clock = SystemClock()
        self.sockets = Sockets()
        self.gate = SharedBuckets(self.clock, ledger.slots, {"pro2": Rate(PER_SECOND)})
        self.runner = Runner(ledger, self.clock, Policy(()), silent, secrets.token_hex(4), lambda: "")

    async def account(self, name: str, _late: bool) -> None:
        """All items of one account, one after the other."""
        http = Transport(
            system="pro2",
            account=name,
            base_url=self.work.url,
            headers={"Api-Token": "a-token-of-the-bench"},
            sockets=self.sockets,
            clock=self.clock,
            gate=self.gate,
        )
        for number in range(self.work.items):
            item = f"{name}-{number}"
            if await self._is_done(item):
                continue
            await http.read("item", "GET", f"/{item}")
            for step in STEPS:
                await self.runner.perform(_effect(http, item, *step))

    async def _is_done(self, item: str) -> bool:
        last = await self.runner.ledger.action(f"{item}:{STEPS[-1][0]}")
        return last is not None and last.state == "confirmed"


def _effect(http: Transport, item: str, name: str, kind: ActionKind, harm: Harm) -> Effect:
    spec = ActionSpec(f"{item}:{name}", f"slot-{item}", http.account, kind, harm, item)

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await send_effect(http, item, name, attempt)

    async def look() -> Look:
        reply = await http.read("seen", "GET", f"/{item}/{name}/seen")
        return Look(SEEN if reply.obj()["seen"] else ABSENT, item, reply.digest, "counted")

    async def as_replied() -> Look:
        return Look(SEEN, item, "the reply named it", "as replied")

    confirm = look if name == "stop" else as_replied
    return Effect(
        spec, f"{name} {item}", send, look, confirm=confirm, repeatable=True, settle_seconds=0.5, look_first=False
    )


async def work_through(work: Work) -> None:
    """One worker, from opening the ledger to the last account."""
    async with await Ledger.open(work.ledger, Path(work.state), clock=SystemClock()) as ledger:
        worker = Worker(work, ledger)
        share = Share(ledger.leases, LEASE_SECONDS, 0.2, worker.clock, silent, work.at_once)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await share.each([f"a{n:03d}" for n in range(work.accounts)], worker.account, lambda: False)
        await worker.sockets.close()


def start(work: Work) -> subprocess.Popen[str]:
    """A worker that is ready and waits for its first line."""
    command = [sys.executable, "-m", "bench.workers_bench", json.dumps(asdict(work))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise SystemExit("a worker did not start")
    return process


def go(process: subprocess.Popen[str]) -> None:
    """Let it begin."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def timed(remote: Remote, disks: Disks, workers: int, plan: tuple[int, int, int], *, disturbed: bool) -> dict[str, Any]:
    """So many workers from a fresh ledger to the end; `disturbed`: one is killed and another added on the way."""
    accounts, items, at_once = plan
    run = secrets.token_hex(4)
    ledger, state = disks.ledger("postgresql")
    work = Work(f"{remote.url}/20/{run}", ledger, state, accounts, items, at_once)
    processes = [start(work) for _ in range(workers)]
    spare = start(work) if disturbed else None
    started = time.perf_counter()
    for process in processes:
        go(process)
    if spare is not None:
        time.sleep(2.0)
        os.kill(processes[0].pid, signal.SIGKILL)
        processes[0].wait()
        time.sleep(0.5)
        go(spare)
        processes = [*processes[1:], spare]
    for process in processes:
        if process.wait(300):
            raise SystemExit("a worker failed")
    seconds = time.perf_counter() - started
    remote.check(run, accounts * items)
    calls = accounts * items * CALLS_PER_ITEM
    return {
        "workers": f"{workers}, one killed, one added" if disturbed else str(workers),
        "accounts": accounts,
        "calls_per_s": calls / seconds,
        "of_limit": calls / seconds / (accounts * PER_SECOND),
        "seconds": seconds,
    }


def run(disks: Disks, plan: tuple[int, int, int]) -> dict[str, Any]:
    """1, 2 and 4 workers, and 2 with one killed; saved as results/workers.json."""
    if not disks.postgres:
        return {"rows": [], "skipped": disks.missing, "noise": noise()}
    with running() as remote:
        rows = [timed(remote, disks, workers, plan, disturbed=False) for workers in (1, 2, 4)]
        rows.append(timed(remote, disks, 2, plan, disturbed=True))
    result = {"rows": rows, "skipped": {}, "noise": noise()}
    save("workers", result)
    return result


def markdown(result: dict[str, Any]) -> str:
    header = ("workers", "accounts", "calls/s", "share of the accounts' rate limit", "seconds", "doubled or missing")
    rows = [
        (
            row["workers"],
            row["accounts"],
            f"{row['calls_per_s']:.0f}",
            f"{row['of_limit']:.2f}",
            f"{row['seconds']:.1f}",
            0,
        )
        for row in result["rows"]
    ]
    left_out = "".join(f"\nLeft out: {what}: {why}." for what, why in result["skipped"].items())
    return table(header, rows) + left_out


def guard(result: dict[str, Any]) -> list[str]:
    """Two workers must be clearly faster than one while the rate limit is not reached."""
    by = {row["workers"]: row for row in result["rows"]}
    if "1" not in by or by["2"]["of_limit"] > 0.9:
        return []
    times = by["2"]["calls_per_s"] / by["1"]["calls_per_s"]
    return [f"two workers are only {times:.2f} times one"] if times < 1.4 else []


if __name__ == "__main__":
    uvloop.run(work_through(Work(**json.loads(sys.argv[1]))))
