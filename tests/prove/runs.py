"""Many schedules on all cores, and the families in which one thing goes wrong at every step in turn."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.prove.remote import FATES, Faults
from tests.prove.schedule import Ending, Trouble, play

REGRESSIONS = Path(__file__).with_name("regressions.txt")
TWICE_EVERY = 100
CHUNK = 250
SCENARIOS = ("resend", "run_now", "import", "reprocess", "sync")
MOST_STEPS_OF_ONE_RUN = 400


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


def run_seeds(seeds: Iterable[int]) -> Total:
    """Run these seeds; every hundredth twice, comparing the traces byte for byte."""
    total = Total()
    for seed in seeds:
        verdict = play(seed)
        total.add(verdict)
        if seed % TWICE_EVERY == 0:
            total.twice += 1
            one, two = play(seed, traced=True), play(seed, traced=True)
            if "\n".join(one.trace).encode() != "\n".join(two.trace).encode() or one.outcomes != verdict.outcomes:
                total.failures.append(f"seed {seed}: two runs of one seed differ")
                total.failed_seeds.append(seed)
        if verdict.complaints:
            total.failures.append(told(seed, verdict.complaints, play(seed, traced=True).trace))
            total.failed_seeds.append(seed)
    return total


def _chunk(bounds: tuple[int, int]) -> Total:
    return run_seeds(range(*bounds))


def run_many(count: int, *, first: int = 0, seconds: float | None = None, workers: int = 0) -> Total:
    """Seeds `first` to `first + count`, on all cores; no new chunk begins after `seconds`."""
    began, total = time.monotonic(), run_seeds(regressions())
    chunks = [(at, min(at + CHUNK, first + count)) for at in range(first, first + count, CHUNK)]
    with multiprocessing.get_context("fork").Pool(workers or os.cpu_count() or 1) as pool:
        for part in pool.imap_unordered(_chunk, _in_time(chunks, began, seconds)):
            total.merge(part)
    total.seconds = time.monotonic() - began
    return total


def _in_time(chunks: list[tuple[int, int]], began: float, seconds: float | None) -> Iterator[tuple[int, int]]:
    for chunk in chunks:
        yield chunk
        if seconds is not None and time.monotonic() - began > seconds:
            return


# ---- one thing at every step ----------------------------------------------------------------------------------------


def quiet(scenario: str, **changes: object) -> Trouble:
    """One runner, one rerun after a crash, and nothing goes wrong but what `changes` say."""
    trouble = Trouble(scenario=scenario, starts=(0.0,), reruns=1)
    for name, value in changes.items():
        setattr(trouble, name, value)
    return trouble


def steps_of(scenario: str, **changes: object) -> int:
    """How many steps the first run of a quiet schedule takes: the crash points, counted by the code."""
    probe = quiet(scenario, crash_at=10**9, **changes)
    return min(MOST_STEPS_OF_ONE_RUN, play(0, probe).first_run_steps)


def crash_and_fault(stride: int = 1) -> Iterator[tuple[str, Trouble]]:
    """Every crash point times every fate of every write, for every recipe."""
    for scenario in SCENARIOS:
        writes = play(0, quiet(scenario)).writes
        for n in range(1, writes + 1):
            for fate in FATES:
                faults = {"nth_write": n, "nth_fate": fate}
                points = steps_of(scenario, faults=Faults(**faults))  # type: ignore[arg-type]
                for point in range(1 + (n + FATES.index(fate)) % stride, points + 1, stride):
                    trouble = quiet(scenario, crash_at=point, faults=Faults(**faults))  # type: ignore[arg-type]
                    yield f"{scenario}, write {n} {fate}, crash at step {point}", trouble


def at_every_step(what: str, scenarios: Iterable[str] = SCENARIOS, **changes: object) -> Iterator[tuple[str, Trouble]]:
    """`what` ("kill", "ledger_lost", "original_leaves") happens at each step of the first run in turn."""
    for scenario in scenarios:
        for point in range(1, steps_of(scenario) + 1):
            trouble = quiet(scenario, **{f"{what}_at_step": point}, **changes)
            yield f"{scenario}, {what} at step {point}", trouble


def run_family(name: str, cases: Iterable[tuple[str, Trouble]], seed: int = 0) -> Total:
    """Run each case once under one seed of the order."""
    began, total = time.monotonic(), Total()
    for words, trouble in cases:
        verdict = play(seed, _fresh(trouble))
        total.add(verdict)
        if verdict.complaints:
            trace = play(seed, _fresh(trouble), traced=True).trace
            total.failures.append(told(f"{seed} ({name}: {words})", verdict.complaints, trace))
    total.seconds = time.monotonic() - began
    return total


def _fresh(trouble: Trouble) -> Trouble:
    """A schedule uses its trouble up, so each run gets its own."""
    from copy import deepcopy

    return deepcopy(trouble)


FAMILIES: dict[str, Callable[[], Iterator[tuple[str, Trouble]]]] = {
    "ledger deleted between any two steps, folder kept": lambda: at_every_step("ledger_lost"),
    "ledger and folder deleted between any two steps": lambda: at_every_step("ledger_lost", state_kept=False),
    "late original at every step": lambda: at_every_step("original_leaves", ("resend", "reprocess")),
    "kill switch file at every step": lambda: at_every_step("kill"),
    "kill switch row at every step": lambda: at_every_step("kill", kill_by_row=True),
}
