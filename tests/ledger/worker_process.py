"""A worker as a process of its own: `python -m tests.ledger.worker_process <what> <url> <state_dir>`."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

from recovery.ledger.ledger import Ledger
from tests.ledger.makers import opened, spec

RACERS = 8
KEYS = tuple(f"K{n}" for n in range(100))


def say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def race(url: str, state_dir: Path) -> None:
    """Eight processes claim the same keys in the same order from the same moment; each says what it won."""
    fork = multiprocessing.get_context("fork")  # this process has no thread yet, and imports are paid once
    barrier = fork.Barrier(RACERS)
    racers = [fork.Process(target=run_racer, args=(barrier, url, state_dir)) for _ in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()


def run_racer(barrier: Barrier, url: str, state_dir: Path) -> None:
    asyncio.run(claim_all(barrier, url, state_dir))


async def claim_all(barrier: Barrier, url: str, state_dir: Path) -> None:
    async with await Ledger.open(url, state_dir) as ledger:
        barrier.wait()
        say(" ".join([key for key in KEYS if await ledger.claim(key, 60) is not None]))


async def hang(what: str, url: str, state_dir: Path) -> None:
    """Claim ("claimed") or open an attempt ("in_flight"), say who we are, and never go on."""
    async with await Ledger.open(url, state_dir) as ledger:
        if what == "in_flight":
            await opened(ledger, spec())
        else:
            await ledger.ensure([spec()])
            await ledger.claim("KEY1", 60)
        say(ledger.owner)
        await asyncio.sleep(60)


if __name__ == "__main__":
    if sys.argv[1] == "race":
        race(sys.argv[2], Path(sys.argv[3]))
    else:
        asyncio.run(hang(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
