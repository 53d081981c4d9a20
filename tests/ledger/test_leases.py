"""Accounts split between workers by lease: each is one worker's at a time, and a dead worker's are free at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from recovery.ledger.leases import Leases
from recovery.ledger.ledger import Ledger
from recovery.recover import Stopping
from recovery.share import Share
from recovery.wiring import SystemClock, silent
from tests.ledger.conftest import emptied


@pytest.fixture
def url(shared_database: str) -> str:
    return emptied(shared_database)


@asynccontextmanager
async def workers(url: str, state_dir: Path, n: int) -> AsyncIterator[list[Leases]]:
    opened = [await Ledger.open(url, state_dir) for _ in range(n)]
    try:
        found = [each.leases for each in opened]
        assert all(found)
        yield [each for each in found if each is not None]
    finally:
        for each in opened:
            await each.close()


async def test_an_account_is_one_workers_until_it_is_given_back(url: str, state_dir: Path) -> None:
    async with workers(url, state_dir, 2) as (one, two):
        assert await one.take(["a", "b"], 60) == {"a", "b"}
        assert await two.take(["a", "c"], 60) == {"c"}
        assert await two.free(["a", "b", "c"]) == {"c"}
        assert await one.take(["a"], 60) == {"a"}, "a lease is renewed by its holder"
        await one.give_back(["a"])
        assert await two.take(["a"], 60) == {"a"}
        await one.give_back(["a"])
        assert await one.free(["a"]) == frozenset(), "nobody gives back what another holds"


async def test_a_lease_that_has_run_out_is_free(url: str, state_dir: Path) -> None:
    async with workers(url, state_dir, 2) as (one, two):
        await one.take(["a"], 0.05)
        await asyncio.sleep(0.06)
        assert await two.take(["a"], 60) == {"a"}


async def test_the_accounts_of_a_worker_that_has_ended_are_free_at_once(url: str, state_dir: Path) -> None:
    async with workers(url, state_dir, 1) as (one,):
        await one.take(["a"], 600)
    async with workers(url, state_dir, 1) as (two,):
        assert await two.free(["a"]) == {"a"}
        assert await two.take(["a"], 60) == {"a"}


def shares(leases: list[Leases], at_once: int = 4, seconds: float = 30) -> list[Share]:
    clock = Stopping(SystemClock(), asyncio.Event())
    return [Share(each, seconds, 0.02, clock, silent, at_once) for each in leases]


async def test_workers_split_the_accounts_and_each_ends_with_all_of_them_done(url: str, state_dir: Path) -> None:
    accounts = [f"a{n:02d}" for n in range(24)]
    busy: set[str] = set()
    done: dict[int, list[tuple[str, bool]]] = {0: [], 1: []}
    async with workers(url, state_dir, 2) as leases:

        async def one(worker: int, share: Share) -> None:
            async def work(account: str, late: bool) -> None:
                assert account not in busy
                busy.add(account)
                await asyncio.sleep(0 if late else 0.05)
                busy.remove(account)
                done[worker].append((account, late))

            await share.each(accounts, work, lambda: False)

        await asyncio.gather(*(one(n, share) for n, share in enumerate(shares(leases))))
    first = {account: [w for w in done if (account, False) in done[w]] for account in accounts}
    assert all(first[account] for account in accounts), "every account was somebody's at first"
    assert min(sum(not late for _, late in each) for each in done.values()) >= 4, "nobody had nearly all of them"
    assert all({account for account, _ in each} == set(accounts) for each in done.values())


async def test_a_lease_is_renewed_while_the_work_takes_longer(url: str, state_dir: Path) -> None:
    async with workers(url, state_dir, 2) as (one, two):
        taken_over = []

        async def work(account: str, _late: bool) -> None:
            for _ in range(12):
                await asyncio.sleep(0.05)
                taken_over.extend(await two.take([account], 1))

        (share,) = shares([one], seconds=0.3)
        await share.each(["a"], work, lambda: False)
        assert taken_over == []
        assert await two.take(["a"], 1) == {"a"}
