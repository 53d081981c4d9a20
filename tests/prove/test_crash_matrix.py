"""Real processes, real kill -9, at every boundary of every recipe, with replies that were lost or landed late.

In `make test` a part of the boundaries, with the fates of the writes taking turns; in CI every boundary with every fate
once; in `make prove` twice: several runs in one process that is killed when each stands at its boundary, going on with
the plan that was interrupted; and each in a process of its own that is killed at the instruction, going on with a new
plan.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.world import Fault
from tests.prove.child import PLANNED_ANEW, RESUMED
from tests.prove.columns import LONG, amount, patience
from tests.prove.real import KINDS, LATE_SECONDS, Case, cut_and_rest, forked, houses, judged, run

FATES = ("applied", "not applied", "applied late")
AT_ONCE = 16  # also for the connections of a PostgreSQL server: three a run
EVERY = amount(24, 2, 1)  # of the boundaries x fates, each of two ways of going on
ALONE = amount(80, 80, 1)  # of them, in a process of its own
WRITES = (
    ("pro2", "v1:campaign_status"), ("pro2", "campaign_copy"), ("pro2", "campaign_edit"), ("dashboard", "reprocess"),
    ("dashboard", "run_now"), ("dashboard", "import"), ("dashboard", "repeat"), ("pro2", "contact_tag_add"),
    ("pro2", "contact_tag_delete"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """One case: what is recovered, what becomes of the first try of each kind of write, and where the run ends."""

    kind: str
    fate: str
    at: int


@dataclass(slots=True)
class Totals:
    """What the matrix came to."""

    cases: int = 0
    kills: int = 0
    runs: int = 0

    def line(self, ledger: str, points: Counter[str]) -> str:
        counted = ", ".join(f"{kind} {n}" for kind, n in sorted(points.items()))
        return (
            f"crash matrix on {ledger}: {self.cases} of {points.total()} boundaries x fates ({counted}), "
            f"{self.kills} kill -9, {self.runs} runs, 0 complaints"
        )


def plan_fault(case: Case, fate: str) -> None:
    """The first try of every kind of write never arrives, or arrives after its sender was told nothing."""
    fault = {"not applied": "reset-before", "applied late": "lands-late"}.get(fate)
    if fault is not None:
        for system, op in WRITES:
            case.night.world.faults.add(Fault(system, case.account, op, fault, seconds=LATE_SECONDS))


async def boundaries(folder: Path, url: Callable[[], str] | None = None, fates: Sequence[str] = FATES) -> list[Point]:
    """Every boundary of every recipe under every fate, counted by running each once to its end."""
    wanted = list(itertools.product(KINDS, fates))
    async with houses(folder, [kind for kind, _ in wanted], url) as (_, cases):
        for case, (_, fate) in zip(cases, wanted, strict=True):
            plan_fault(case, fate)
        await run(forked(), [case.task() for case in cases])
        assert all(case.at_rest for case in cases), [case.errors() for case in cases]
        counted = [len(case.labels()) for case in cases]
    assert sum(counted) > 150 * len(fates), "counted by the code: too few means not reached"
    return [Point(k, f, at) for (k, f), n in zip(wanted, counted, strict=True) for at in range(1, n + 1)]


def turns(points: list[Point], every: int, first: int = 0) -> list[Point]:
    """A part of the points in which each boundary stands, its fates taking turns."""
    return [p for p in points if (p.at + FATES.index(p.fate)) % every == first]


def groups(points: list[Point]) -> Iterator[list[Point]]:
    """Points of one fate; neighbours of one recipe where there are enough, so that none stands there for long."""
    for fate in FATES:
        same = [p for p in points if p.fate == fate]
        yield from (same[start : start + AT_ONCE] for start in range(0, len(same), AT_ONCE))


async def crash(
    folder: Path,
    points: list[Point],
    totals: Totals,
    plan: str,
    url: Callable[[], str] | None = None,
    *,
    alone: bool = False,
) -> None:
    """Kill one process with a run at each of these points, let all go on to their ends, and judge."""
    context = forked()
    async with houses(folder, [p.kind for p in points], url) as (n, cases):
        for case, point in zip(cases, points, strict=True):
            plan_fault(case, point.fate)
            case.plan = plan
        cut = [(c, p.at) for c, p in zip(cases, points, strict=True)]
        killed = await cut_and_rest(context, cut, alone=alone)
        totals.kills += killed
        totals.cases += len(cases)
        totals.runs += sum(case.runs for case in cases)
        assert await judged(n, cases) == [], [str(p) for p in points]


async def all_of(
    folder: Path,
    points: list[Point],
    totals: Totals,
    plan: str,
    url: Callable[[], str] | None = None,
    *,
    alone: bool = False,
) -> None:
    """Group by group, two at a time."""
    room = asyncio.Semaphore(2)

    async def one(number: int, group: list[Point]) -> None:
        async with room:
            await crash(folder / str(number), group, totals, plan, url, alone=alone)

    parts = [one(number, group) for number, group in enumerate(groups(points))]
    failures = [e for e in await asyncio.gather(*parts, return_exceptions=True) if e is not None]
    assert not failures, failures[:5]


@pytest.mark.timeout(patience(300))
async def test_a_run_killed_at_any_boundary_is_finished_once_by_the_next(tmp_path: Path, capsys) -> None:
    points = await boundaries(tmp_path / "probe")
    totals = Totals()
    if LONG:
        await all_of(tmp_path / "together", points, totals, RESUMED)
        await all_of(tmp_path / "alone", points, totals, PLANNED_ANEW, alone=True)
    else:
        await all_of(tmp_path / "resumed", turns(points, EVERY), totals, RESUMED)
        await all_of(tmp_path / "anew", turns(points, EVERY, 1), totals, PLANNED_ANEW)
        await all_of(tmp_path / "alone", turns(points, ALONE, 5), totals, PLANNED_ANEW, alone=True)
    with capsys.disabled():
        sys.stdout.write(totals.line("SQLite", Counter(p.kind for p in points)) + "\n")
