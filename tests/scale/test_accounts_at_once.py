"""The remote's rate limit is the only brake: no account waits for another one's waits."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys

import pytest

from recovery.share import MOST_SHARED_AT_ONCE, Share
from recovery.wiring import SystemClock, silent
from tests.cli.program import REPO


class Everyone:
    """Leases that are always to be had."""

    async def take(self, accounts, _seconds):
        return set(accounts)

    async def give_back(self, _accounts):
        pass


async def most_under_way(leases, count: int) -> int:
    """How many accounts are worked on together when each only waits until no other one begins."""
    under_way = most = 0

    async def work(_account, _late):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(20):
            await asyncio.sleep(0)
        under_way -= 1

    share = Share(leases, 30, 0.01, SystemClock(), silent)
    await share.each([f"a{n}" for n in range(count)], work, lambda: False)
    return most


async def test_a_worker_of_its_own_begins_all_of_a_thousand_accounts_at_once() -> None:
    assert await most_under_way(None, 1000) == 1000


async def test_a_worker_that_shares_the_plan_leaves_accounts_to_the_others() -> None:
    assert await most_under_way(Everyone(), 1000) == MOST_SHARED_AT_ONCE


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096, reason="this system allows fewer open files")
def test_a_process_that_may_open_few_files_asks_for_what_its_connections_need() -> None:
    """1,024 is what many systems begin with; a thousand hanging accounts must not take the ledger's files."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)"
        "[1])); from integrations.sockets import Sockets; Sockets(); "
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 2 * 1024
