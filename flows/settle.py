"""Ends the runs whose process is gone, before a new worker starts: `python -m flows.settle`. Safe to repeat.

A worker that was killed leaves its runs "Running", and while one stands so its deployment refuses the next. The
automation for abandoned runs ends them after 100 s; whoever restarts the worker of this machine need not wait for it.
A run is ended only if its process ran here and is gone: never while another worker serves the pool, and never a run of
another pool, whose processes may be containers or stand on other machines.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    WorkerFilter,
    WorkerFilterStatus,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import StateType, WorkerStatus
from prefect.states import Crashed

UNFINISHED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
MESSAGE = "Its process is gone; the ledger knows what was done."


async def settle(pool: str, ours: str) -> None:
    """Calls each such run of the pool crashed. `ours` is the name of this machine's worker, which is not running."""
    async with get_client() as client:
        if others := await _others(client, pool, ours):
            sys.stdout.write(f"left to the automation: abandoned runs may be those of worker {', '.join(others)}\n")
            return
        wanted = FlowRunFilter.model_validate({"state": {"type": {"any_": UNFINISHED}}})
        here = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
        for run in await client.read_flow_runs(flow_run_filter=wanted, work_pool_filter=here):
            if run.infrastructure_pid and not _lives(run.infrastructure_pid):
                await client.set_flow_run_state(run.id, Crashed(name="Abandoned", message=MESSAGE))
                sys.stdout.write(f"ended: run {run.name!r}, whose process is gone\n")


async def _others(client: PrefectClient, pool: str, ours: str) -> list[str]:
    online = WorkerFilter(status=WorkerFilterStatus(any_=[WorkerStatus.ONLINE]))
    return [w.name for w in await client.read_workers_for_work_pool(pool, online) if w.name != ours]


def _lives(pid: str) -> bool:
    """Whether a Prefect process of this number runs here; the number alone may have been given to another program."""
    try:
        return b"prefect" in Path(f"/proc/{int(pid)}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False


if __name__ == "__main__":
    asyncio.run(settle(*sys.argv[1:3]))
