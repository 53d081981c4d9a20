"""Rate: many accounts on one worker, each at its own five calls a second, one of them dead.

The pretend estate enforces the limit with a bucket of its own and refuses what is above it, so a refusal would show.
For more accounts than the estate carries on a shared core, the lean remote counts calls instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import uvloop

from bench.estate import estate
from bench.machine import noise, save, spread, table
from bench.remote import running
from integrations.http import Sockets, Timeouts, Transport
from integrations.rate import TokenBuckets
from recovery.errors import RemoteError
from recovery.wiring import SystemClock

PER_SECOND = 5.0
WARM_SECONDS = 2.0


@dataclass(frozen=True)
class Load:
    """How many accounts, for how long, against what."""

    accounts: int
    seconds: float
    against: str


@contextlib.asynccontextmanager
async def dead_server() -> AsyncIterator[str]:
    """An account that accepts a connection and never answers."""

    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def drive(load: Load, where: dict[str, str]) -> dict[str, Any]:
    """Each account reads as fast as its bucket lets it; what each one got, and what was refused."""
    clock, sockets = SystemClock(), Sockets(connections=4 * load.accounts)
    gate = TokenBuckets(clock)
    got = dict.fromkeys(where, 0)
    refused = 0
    counting = stopping = False

    async def one(name: str, transport: Transport) -> None:
        nonlocal refused
        while not stopping:
            try:
                await transport.read("users_me", "GET", "/api/3/users/me")
            except RemoteError as error:
                refused += "429" in str(error)
                continue
            got[name] += counting

    async with dead_server() as nobody:
        transports = {name: _transport(name, json.loads(text), sockets, clock, gate) for name, text in where.items()}
        dead = _transport("dead", {"base_url": nobody, "token": "x"}, sockets, clock, gate)
        tasks = [asyncio.create_task(one(n, t)) for n, t in transports.items() for _ in range(2)]
        tasks += [asyncio.create_task(one("dead", dead)) for _ in range(2)]
        got["dead"] = 0
        await asyncio.sleep(WARM_SECONDS)
        started, cpu, counting = time.perf_counter(), time.process_time(), True
        await asyncio.sleep(load.seconds)
        counting, took, spent = False, time.perf_counter() - started, time.process_time() - cpu
        stopping = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await sockets.close()
    assert got.pop("dead") == 0
    return _figures(load, got, took, spent, refused)


def _transport(name: str, at: dict[str, str], sockets: Sockets, clock: SystemClock, gate: TokenBuckets) -> Transport:
    return Transport(
        system="pro2",
        account=name,
        base_url=at["base_url"],
        headers={"Api-Token": at["token"]},
        sockets=sockets,
        clock=clock,
        gate=gate,
        timeouts=Timeouts(total=60.0),
        read_retries=0,
    )


def _figures(load: Load, got: dict[str, int], took: float, cpu: float, refused: int) -> dict[str, Any]:
    # One call more than the rate may fall into any stretch of time: the token that was there when it began.
    share = [count / (PER_SECOND * took) for count in got.values()]
    calls = sum(got.values())
    return {
        "accounts": load.accounts,
        "against": load.against,
        "calls_per_s": calls / took,
        "share_of_budget": spread(share),
        "above": sum(count > PER_SECOND * took + 1 for count in got.values()),
        "refused": refused,
        "fairness": sum(share) ** 2 / (len(share) * sum(s * s for s in share)) if any(share) else 0.0,
        "cpu_ms_per_call": cpu * 1000 / max(1, calls),
        "cpu_share_of_a_core": cpu / took,
    }


def run_load(load: Load) -> dict[str, Any]:
    """One load in this process."""
    if load.against == "estate":
        with estate(load.accounts) as (told, _):
            where = {a["name"]: json.dumps(a["pro2"]) for a in told["accounts"]}
            return uvloop.run(drive(load, where))
    with running() as remote:
        # The lean remote reads /<latency>/<run>/<item>: the rest of a path is not looked at beyond four parts.
        where = {f"a{n}": json.dumps({"base_url": f"{remote.url}/20/r{n}", "token": "x"}) for n in range(load.accounts)}
        return uvloop.run(drive(load, where))


def run(loads: list[Load]) -> dict[str, Any]:
    """All loads, one after the other; saved as results/rate.json."""
    rows = []
    for load in loads:
        before = noise()
        rows.append(run_load(load) | {"noise": before})
    result = {"rows": rows}
    save("rate", result)
    return result


def markdown(result: dict[str, Any]) -> str:
    header = (
        "accounts + 1 dead",
        "against",
        "calls/s",
        "share of each budget",
        "above the rate",
        "429",
        "fairness (Jain)",
        "CPU ms/call",
        "load",
    )
    rows = [
        (
            row["accounts"],
            row["against"],
            f"{row['calls_per_s']:.0f}",
            row["share_of_budget"],
            row["above"],
            row["refused"],
            f"{row['fairness']:.4f}",
            f"{row['cpu_ms_per_call']:.2f}",
            row["noise"]["load"],
        )
        for row in result["rows"]
    ]
    return table(header, rows)
