"""Worker processes under load: start them, kill them, bring all to its end, and judge by the remote's journal."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from recovery.ledger.ledger import Ledger
from tests.prove.columns import amount
from tests.prove.far import FarEnd
from tests.prove.real import forked
from tests.prove.worker import Shift, run_worker

ACCOUNTS = 12
AHEAD = 600
PATIENCE_SECONDS = 3.0


@dataclass
class Crew:
    """Some workers that share one ledger and one remote; each looks after its own accounts."""

    url: str
    folder: Path
    far: FarEnd
    size: int = 3
    context: ForkServerContext = field(default_factory=forked)
    numbers: Any = field(default_factory=itertools.count)
    at_work: dict[int, Any] = field(default_factory=dict)
    given: dict[int, int] = field(default_factory=dict)
    kills: int = 0

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    def key(self, place: int, number: int) -> str:
        account = place + self.size * (number % (ACCOUNTS // self.size))
        return f"acct{account}/{number}"

    def shift(self, keys: Sequence[str], **more: Any) -> Shift:
        out = self.folder / f"shift-{next(self.numbers)}.json"
        return Shift(self.url, self.state_dir, self.folder, keys, out, **more)

    def start(self, shift: Shift, each: Any = None) -> Any:
        child = self.context.Process(target=run_worker, args=(shift, each), daemon=True)
        child.start()
        return child

    def man(self, place: int) -> None:
        """Put somebody at this place, who goes on a little before where the last one was killed."""
        done = self.given.get(place, 0)
        # Not up to the first without an effect: one that is held for ever would keep the whole place there.
        done = max((n for n in range(done, done + AHEAD) if self.far.effects[self.key(place, n)]), default=done)
        self.given[place] = done
        first = max(0, done - 10)
        self.at_work[place] = self.start(self.shift([self.key(place, n) for n in range(first, done + AHEAD)]))

    async def kill_at_random(self, times: int, draw: random.Random) -> None:
        """kill -9 of one of them after a few effects, again and again; a new process takes the place at once."""
        for place in range(self.size):
            self.man(place)
        while self.kills < times:
            await self.some_effects(draw)
            place = draw.randrange(self.size)
            child = self.at_work[place]
            if child.is_alive():
                child.kill()
                self.kills += 1
            await asyncio.to_thread(child.join)
            assert child.exitcode in (0, -9), [p.read_text() for p in self.folder.glob("*.error")]
            child.close()
            self.man(place)
        await self.stop()

    async def some_effects(self, draw: random.Random) -> None:
        """Until a few more requests have come to the remote, and a moment more, so that the kill falls anywhere."""
        wanted, until = len(self.far.arrived) + draw.randrange(1, 30), time.monotonic() + PATIENCE_SECONDS
        while len(self.far.arrived) < wanted and time.monotonic() < until:
            await asyncio.sleep(0.002)
        await asyncio.sleep(draw.uniform(0, 0.02))

    async def relieve(self) -> None:
        """Put somebody new where a worker has come to the end of its shift, or where there is nobody."""
        for place in range(self.size):
            child = self.at_work.get(place)
            if child is not None and child.is_alive():
                continue
            if child is not None:
                assert child.exitcode == 0, [p.read_text() for p in self.folder.glob("*.error")]
                child.close()
            self.man(place)

    async def stop(self) -> None:
        """kill -9 of all of them."""
        for child in self.at_work.values():
            self.kills += child.is_alive()
            child.kill()
            await asyncio.to_thread(child.join)
        self.at_work.clear()

    def touched(self) -> list[str]:
        """Every key that any process may have begun, and the few after them."""
        begun = {key for _, key in self.far.arrived} | set(self.far.effects)
        # A process may have written an intent and died before the first byte: that key never arrived anywhere.
        furthest = max((int(key.partition("/")[2]) for key in begun), default=0)
        ahead = {self.key(p, n) for p in range(self.size) for n in range(furthest + 40)}
        return sorted(begun | ahead)

    async def finish(self, keys: Sequence[str], seconds: float = amount(120, 240, 900)) -> dict[str, str]:
        """Let a last crew bring each of these keys to its end, each its own accounts; how each ended."""
        shares: list[list[str]] = [[] for _ in range(self.size)]
        for key in keys:
            shares[int(key.partition("/")[0].removeprefix("acct")) % self.size].append(key)
        parts = [self.shift(share, at_once=16) for share in shares]
        children = [self.start(part) for part in parts]
        for child in children:
            await asyncio.to_thread(child.join, seconds)
            assert child.exitcode == 0, [child.exitcode, *(p.read_text() for p in self.folder.glob("*.error"))]
        return {key: end for part in parts for key, end in json.loads(part.out.read_text()).items()}


def wrong(effects: Counter[str], endings: dict[str, str]) -> list[str]:
    """Doubles, lost items, and what is called confirmed without a line in the journal of the remote."""
    found = list[str]()
    found += [f"double: {key} happened {n} times" for key, n in effects.items() if n > 1]
    found += [f"lost: {key} happened and has no ending" for key in effects if key not in endings]
    for key, end in endings.items():
        if end == "confirmed" and not effects[key]:
            found.append(f"unproven: {key} is called confirmed and never happened")
        if end != "confirmed" and not end.startswith(("held: ", "skipped: ")):
            found.append(f"stuck: {key} is {end}")
    return found


async def unsettled(url: str, state_dir: Path) -> list[str]:
    """What the ledger itself still has in motion, and whatever its own check finds wrong."""
    async with await Ledger.open(url, state_dir) as ledger:
        moving = [f"stuck: {row.key} is {row.state.value}" for row in await ledger.stale_actions()]
        return [*moving, *(f"ledger: {problem}" for problem in await ledger.verify())]


def tally(endings: dict[str, str]) -> str:
    count = Counter(end.partition(":")[0] for end in endings.values())
    return ", ".join(f"{n:,} {word}" for word, n in sorted(count.items()))
