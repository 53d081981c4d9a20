"""Who does the same recovery: each peer makes the five calls of each item, fifty items at a time.

GET the item, stop it, GET it again, copy it, send the copy. A peer that does not survive a crash is the limit (bare
aiohttp, our transport without a ledger); one that records every call is what we are compared with.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bench.remote import EFFECTS
from integrations.http import Reply, Sockets, Transport
from integrations.rate import Rate, TokenBuckets
from recovery.model import AttemptOutcome, OpenAttempt, WriteResult
from recovery.ports import Keep
from recovery.wiring import SystemClock

ACCOUNT = "bench"
OPEN = OpenAttempt(1, "bench", 1, 1, float("inf"), 30.0)


@dataclass(frozen=True)
class Job:
    """One timed run: where, how much, and what the durable peers need.

    At most `concurrency` calls are under way at any time. Who waits for nothing between its calls has as many items in
    hand; an engine that waits for its disk needs some more to make as many calls.
    """

    url: str
    items: int
    concurrency: int
    items_at_once: int
    ledger: str = ""
    state: str = ""
    slow_ms: float = 0.0


Item = Callable[[int], Awaitable[None]]


async def crowd(job: Job, one: Item) -> None:
    """`items_at_once` workers over one iterator of items."""
    numbers = iter(range(job.items))

    async def worker() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(worker() for _ in range(job.items_at_once)))


# ---- bare aiohttp --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def aiohttp_bare(job: Job) -> AsyncIterator[Item]:
    """The limit: kept connections, nothing else."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=job.concurrency)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def call(method: str, path: str) -> None:
            async with session.request(method, job.url + path) as reply:
                await reply.json()

        yield lambda number: five_calls(call, number)


async def five_calls(call: Callable[[str, str], Awaitable[None]], number: int) -> None:
    stop, copy, send = EFFECTS
    await call("GET", f"/{number}")
    await call("POST", f"/{number}/{stop}")
    await call("GET", f"/{number}")
    await call("POST", f"/{number}/{copy}")
    await call("POST", f"/{number}/{send}")


# ---- sequential httpx ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def httpx_in_sequence(job: Job) -> AsyncIterator[Item]:
    """One call after the other, as a script would; only its first few items count."""
    import httpx

    async with httpx.AsyncClient(timeout=30) as client:

        async def call(method: str, path: str) -> None:
            reply = await client.request(method, job.url + path)
            reply.raise_for_status().json()

        yield lambda number: five_calls(call, number)


# ---- our transport, without a ledger -------------------------------------------------------------------------------


def transport(job: Job, sockets: Sockets, keep: Keep | None = None) -> Transport:
    """The product's transport with a rate that never brakes."""
    clock = SystemClock()
    gate = TokenBuckets(clock, {}, fallback=Rate(1e9, 1e9))
    return Transport(
        system="pro2",
        account=ACCOUNT,
        base_url=job.url,
        headers={"Api-Token": "a-token-of-the-bench"},
        sockets=sockets,
        clock=clock,
        gate=gate,
        keep=keep,
    )


def judged(reply: Reply) -> WriteResult | None:
    """Any object with an id is the effect."""
    return WriteResult(AttemptOutcome.APPLIED, ref=str(reply.obj()["id"]))


async def send_effect(http: Transport, number: int | str, effect: str, attempt: OpenAttempt = OPEN) -> WriteResult:
    """One write."""
    return await http.write(attempt, effect, "POST", f"/{number}/{effect}", judge=judged, json={})


@asynccontextmanager
async def transport_alone(job: Job) -> AsyncIterator[Item]:
    """The product's HTTP, with nothing written down."""
    sockets = Sockets()
    http = transport(job, sockets)

    async def call(method: str, path: str) -> None:
        if method == "GET":
            (await http.read("item", "GET", path)).obj()
            return
        _, number, effect = path.split("/")
        result = await send_effect(http, int(number), effect)
        assert result.outcome is AttemptOutcome.APPLIED, result.detail

    try:
        yield lambda number: five_calls(call, number)
    finally:
        await sockets.close()


# ---- Prefect -------------------------------------------------------------------------------------------------------


def _post(url: str) -> Any:
    import aiohttp

    async def call(session: aiohttp.ClientSession, method: str, path: str) -> None:
        async with session.request(method, url + path) as reply:
            await reply.json()

    return call


async def prefect_item_tasks(job: Job) -> None:
    """One Prefect task per item, in one flow; nothing is recorded between an item's calls."""
    import aiohttp
    from prefect import flow, task

    call = _post(job.url)
    room = asyncio.Semaphore(job.concurrency)

    @flow(name="bench-items", log_prints=False)
    async def run() -> None:
        async with aiohttp.ClientSession() as session:

            @task(name="item")
            async def item(number: int) -> None:
                async with room:
                    await five_calls(lambda method, path: call(session, method, path), number)

            await asyncio.gather(*(item(number) for number in range(job.items)))

    await run()


async def prefect_call_tasks(job: Job) -> None:
    """One Prefect task per call with its result kept, which is what Prefect offers for going on after a crash."""
    import aiohttp
    from prefect import flow, task

    call = _post(job.url)

    @flow(name="bench-calls", log_prints=False)
    async def run() -> None:
        async with aiohttp.ClientSession() as session:

            @task(name="call", persist_result=True)
            async def recorded(method: str, path: str) -> bool:
                await call(session, method, path)
                return True

            async def through(method: str, path: str) -> None:
                await recorded(method, path)

            async def one(number: int) -> None:
                await five_calls(through, number)

            await crowd(job, one)

    await run()


CROWDS = {"aiohttp": aiohttp_bare, "transport": transport_alone, "httpx sequential": httpx_in_sequence}
PREFECT = {"prefect task per item": prefect_item_tasks, "prefect task per call": prefect_call_tasks}
