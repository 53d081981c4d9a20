"""Many schedules on all cores, and the families in which one thing goes wrong at every step in turn."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.pool import AsyncResult
from pathlib import Path

from tests.prove.schedule import Ending, Play, play
from tests.prove.trouble import Trouble, draw

REGRESSIONS = Path(__file__).with_name("regressions.txt")
TWICE_EVERY = 100
CHUNK = 250


@dataclass(slots=True)
class Total:
    """What many schedules came to."""

    schedules: int = 0
    twice: int = 0
    steps: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    failed_seeds: list[int] = field(default_factory=list)

    def add(self, verdict: Ending) -> None:
        self.schedules += 1
        self.steps += verdict.steps
        self.outcomes.update(verdict.outcomes)
        self.counts.update(verdict.counts)

    def merge(self, other: Total) -> None:
        self.schedules += other.schedules
        self.twice += other.twice
        self.steps += other.steps
        self.outcomes.update(other.outcomes)
        self.counts.update(other.counts)
        self.failures += other.failures
        self.failed_seeds += other.failed_seeds

    def line(self, name: str) -> str:
        """The closing line: what ran, what came of it, how fast."""
        happened = ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in sorted(self.counts.items()) if n)
        ended = ", ".join(f"{n:,} {what}" for what, n in sorted(self.outcomes.items()))
        return (
            f"{name}: {self.schedules:,} schedules ({self.twice:,} run twice, traces equal), "
            f"{len(self.failures)} failed; items: {ended}; {happened}; {self.steps:,} steps in {self.seconds:.0f} s"
        )


def regressions() -> tuple[int, ...]:
    """Seeds that failed once; they run first."""
    lines = REGRESSIONS.read_text().splitlines() if REGRESSIONS.exists() else []
    return tuple(int(line.split()[0]) for line in lines if line.strip() and not line.startswith("#"))


def remember(seeds: Iterable[int]) -> None:
    """Add seeds to the list."""
    known = set(regressions())
    with REGRESSIONS.open("a") as file:
        file.writelines(f"{seed}\n" for seed in sorted(set(seeds) - known))


def told(seed: object, complaints: Iterable[str], trace: Iterable[str]) -> str:
    """A failure in words: seed, complaints, and the end of the trace."""
    short = [line[:180] for line in trace if " waiting " not in line][-45:]
    return "\n".join([f"seed {seed}: {'; '.join(complaints)}", *short])


Drawn = Callable[[int], Trouble]


def run_seeds(seeds: Iterable[int], drawn: Drawn = draw, kind: type[Play] = Play) -> Total:
    """Run these seeds; every hundredth twice, comparing the traces byte for byte."""
    total = Total()
    for seed in seeds:
        verdict = play(seed, drawn(seed), kind=kind)
        total.add(verdict)
        if seed % TWICE_EVERY == 0:
            total.twice += 1
            one, two = (play(seed, drawn(seed), traced=True, kind=kind) for _ in range(2))
            if "\n".join(one.trace).encode() != "\n".join(two.trace).encode() or one.outcomes != verdict.outcomes:
                total.failures.append(f"seed {seed}: two runs of one seed differ")
                total.failed_seeds.append(seed)
        if verdict.complaints:
            trace = play(seed, drawn(seed), traced=True, kind=kind).trace
            total.failures.append(told(seed, verdict.complaints, trace))
            total.failed_seeds.append(seed)
    return total


def _chunk(bounds: tuple[int, int], drawn: Drawn, kind: type[Play]) -> Total:
    gc.disable()  # a schedule makes thousands of small cycles; one collection a chunk is a tenth of the time
    try:
        return run_seeds(range(*bounds), drawn, kind)
    finally:
        gc.enable()
        gc.collect()


def run_many(
    count: int,
    drawn: Drawn = draw,
    *,
    first: int = 0,
    seconds: float | None = None,
    workers: int = 0,
    kind: type[Play] = Play,
) -> Total:
    """Seeds `first` to `first + count`, on all cores; no new chunk begins after `seconds`."""
    began, total = time.monotonic(), Total()
    chunks = [(at, min(at + CHUNK, first + count)) for at in range(first, first + count, CHUNK)]
    processes = workers or os.cpu_count() or 1
    running: deque[AsyncResult[Total]] = deque()
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for chunk in chunks:
            if len(running) > processes:  # a pool takes any number of tasks at once, so few are given at a time
                total.merge(running.popleft().get())
            if seconds is not None and time.monotonic() - began > seconds:
                break
            running.append(pool.apply_async(_chunk, (chunk, drawn, kind)))
        for part in running:
            total.merge(part.get())
    total.seconds = time.monotonic() - began
    return total


# ---- named cases ----------------------------------------------------------------------------------------------------

Case = tuple[str, Trouble]


def run_cases(name: str, cases: Iterable[Case], seed: int = 0, kind: type[Play] = Play) -> Total:
    """Run each case once under one seed of the order."""
    began, total = time.monotonic(), Total()
    for words, trouble in cases:
        verdict = play(seed, deepcopy(trouble), kind=kind)  # a schedule uses its trouble up
        total.add(verdict)
        if verdict.complaints:
            trace = play(seed, deepcopy(trouble), traced=True, kind=kind).trace
            total.failures.append(told(f"{seed} ({name}: {words})", verdict.complaints, trace))
    total.seconds = time.monotonic() - began
    return total


def _share(job: tuple[str, Callable[[], Iterable[Case]], int, int, int]) -> Total:
    name, cases, seed, part, parts = job
    return run_cases(name, islice(cases(), part, None, parts), seed)


def run_family(
    name: str, cases: Callable[[], Iterable[Case]], *, seeds: Iterable[int] = (0,), workers: int = 0
) -> Total:
    """Every case of a family under every seed of the order, on all cores."""
    began, total, parts = time.monotonic(), Total(), workers or os.cpu_count() or 1
    jobs = [(name, cases, seed, part, parts) for seed in seeds for part in range(parts)]
    with multiprocessing.get_context("fork").Pool(parts) as pool:
        for done in pool.imap_unordered(_share, jobs):
            total.merge(done)
    total.seconds = time.monotonic() - began
    return total
