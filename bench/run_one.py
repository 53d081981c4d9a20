"""One timed run in a process of its own: `python -m bench.run_one '<json>'` prints what it took as JSON.

The clock starts when the loop, the ledger and the first connection stand, and stops when everything is on disk.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from typing import Any

import uvloop

from bench.engine import engine
from bench.machine import peak_rss_mb
from bench.peers import CROWDS, PREFECT, Job, crowd


async def timed(variant: str, job: Job) -> dict[str, Any]:
    if variant in PREFECT:
        started, cpu = time.perf_counter(), time.process_time()
        await PREFECT[variant](job)
        return _figures(job, started, cpu)
    opened = engine if variant.startswith("engine") else CROWDS[variant]
    if variant == "httpx sequential":
        job = replace(job, concurrency=1, items_at_once=1)
    async with opened(job) as one:
        started, cpu = time.perf_counter(), time.process_time()
        await crowd(job, one)
        return _figures(job, started, cpu)


def _figures(job: Job, started: float, cpu: float) -> dict[str, Any]:
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "items_per_s": job.items / seconds,
        "cpu_ms_per_call": (time.process_time() - cpu) * 1000 / (5 * job.items),
        "rss_mb": peak_rss_mb(),
        "pid": os.getpid(),
    }


def main() -> None:
    wanted = json.loads(sys.argv[1])
    variant = wanted.pop("variant")
    print(json.dumps(uvloop.run(timed(variant, Job(**wanted)))))


if __name__ == "__main__":
    main()
