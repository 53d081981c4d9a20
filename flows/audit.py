"""Flow: audit an outage window; reads only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from prefect import State, flow, task
from prefect.cache_policies import NO_CACHE

from flows.pages import progress, show
from recovery.served.forms import WindowForm
from recovery.served.pages import Page, Tally
from recovery.served.recovery import Read, Reading, reading


@task(name="audit one account", task_run_name="audit {account}", retries=0, cache_policy=NO_CACHE, persist_result=False)
async def read_account(account: str, read: Callable[[str], Awaitable[Read]]) -> Read:
    """Every slot of one account, with its witnesses."""
    return await read(account)


async def read_accounts(work: Reading) -> list[Read]:
    """A task run for each account, side by side."""
    return await asyncio.gather(*(read_account(name, work.account) for name in work.accounts))


async def make_audit(outage: WindowForm) -> Page:
    """Audits each account in a task of its own."""
    tally = Tally()
    async with reading(outage, tally) as work, progress(tally, "audit-progress"):
        return await work.audit(await read_accounts(work))


@flow(name="audit", description="What was due in an outage, and what happened. Reads only.", retries=0)
async def audit(outage: WindowForm) -> State[Any]:
    """Audits every account of the window; the table shows what was not done.

    Args:
        outage: The outage window and the accounts.
    """
    return await show(make_audit(outage))
