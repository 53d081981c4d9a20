"""The kill switch, thrown at any boundary of a real run by file, row or environment: at most one more write leaves."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.prove.child import BY_ENVIRONMENT, BY_FILE, BY_ROW
from tests.prove.columns import amount, patience
from tests.prove.real import Case, forked, houses, judged, run
from tests.prove.test_crash_matrix import AT_ONCE, Point, boundaries, turns

EVERY = {way: amount(n, n // 4, 1) for way, n in {BY_FILE: 16, BY_ROW: 16, BY_ENVIRONMENT: 60}.items()}
TIMES = amount(1, 1, 10)


def writes_after(case: Case, thrown_at: int) -> int:
    """How many writes left after the switch was thrown, by the boundaries that the run passed."""
    return case.labels()[thrown_at:].count("before the first byte")


async def throw(folder: Path, points: list[Point], by: str) -> tuple[int, Counter[int]]:
    """Throw the switch in each run at its boundary; after it is off again, everything comes to its end once."""
    context, after = forked(), Counter[int]()
    async with houses(folder, [p.kind for p in points]) as (n, cases):
        tasks = [case.task(point.at, throw=by) for case, point in zip(cases, points, strict=True)]
        # An environment is one for all runs of a process.
        for part in [[task] for task in tasks] if by == BY_ENVIRONMENT else [tasks]:
            assert await run(context, part) == 0, [c.errors() for c in cases]
        for case, point in zip(cases, points, strict=True):
            after[writes_after(case, point.at)] += 1
        written = len(n.writes())
        await run(context, [case.task(throw=f"clear {by}") for case in cases])
        assert await judged(n, cases) == [], by
        assert len(n.writes()) > written, "with the switch off again the rest is done"
    return len(cases), after


@pytest.mark.timeout(patience(120))
async def test_after_the_switch_is_thrown_at_most_one_more_write_leaves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = [p for p in await boundaries(tmp_path / "probe", fates=("applied",)) if p.kind != "desk"]
    thrown, after = Counter[str](), Counter[int]()
    for number in range(TIMES):
        for by in (BY_FILE, BY_ROW, BY_ENVIRONMENT):
            chosen = turns(points, EVERY[by], first=len(by) % EVERY[by])
            for start in range(0, len(chosen), AT_ONCE):
                folder = tmp_path / f"{number}-{by}-{start}"
                count, seen = await throw(folder, chosen[start : start + AT_ONCE], by)
                thrown[by] += count
                after += seen
    assert max(after) <= 1, after
    assert "ALLCLEAR_KILL" not in os.environ
    how = ", ".join(f"{n} by {by}" for by, n in thrown.items())
    with capsys.disabled():
        sys.stdout.write(
            f"kill switch: thrown {thrown.total()} times ({how}); writes that left after it: "
            f"{', '.join(f'{n} x {times}' for times, n in sorted(after.items()))}; 0 complaints\n"
        )
