"""The same recovery as a DBOS Transact workflow, each call a step; run by a Python that has dbos, aiohttp and uvloop.

`make bench-full` keeps that Python in `.venv-bench`, because nothing of the product needs DBOS. This file imports
nothing of ours for the same reason. Its answer has the form of `bench.run_one`.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from typing import Any

import aiohttp
import uvloop
from dbos import DBOS  # type: ignore[import-not-found, unused-ignore]  # not in the product's environment

EFFECTS = ("stop", "copy", "send")


async def timed(job: dict[str, Any]) -> dict[str, Any]:
    """All items, so many workflows at a time."""
    DBOS(
        config={"name": "bench", "system_database_url": job["ledger"], "log_level": "ERROR", "run_admin_server": False}
    )
    connector = aiohttp.TCPConnector(limit=job["concurrency"])
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:

        @DBOS.step()  # type: ignore[untyped-decorator, unused-ignore]
        async def call(method: str, path: str) -> bool:
            async with session.request(method, job["url"] + path) as reply:
                await reply.json()
            return True

        @DBOS.workflow()  # type: ignore[untyped-decorator, unused-ignore]
        async def item(number: int) -> None:
            stop, copy, send = EFFECTS
            await call("GET", f"/{number}")
            await call("POST", f"/{number}/{stop}")
            await call("GET", f"/{number}")
            await call("POST", f"/{number}/{copy}")
            await call("POST", f"/{number}/{send}")

        DBOS.launch()
        numbers = iter(range(job["items"]))

        async def worker() -> None:
            for number in numbers:
                await item(number)

        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(worker() for _ in range(job["concurrency"])))
        seconds, spent = time.perf_counter() - started, time.process_time() - cpu
    DBOS.destroy()
    return {
        "seconds": seconds,
        "items_per_s": job["items"] / seconds,
        "cpu_ms_per_call": spent * 1000 / (5 * job["items"]),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "pid": os.getpid(),
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(timed(json.loads(sys.argv[1])))))
