"""Random and exhaustive schedules of the product's own code: no doubles, nothing lost, nothing claimed without proof.

`ALLCLEAR_SCHEDULES` says how many random ones; `python -m tests.prove N` runs any number.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.prove.runs import FAMILIES, crash_and_fault, regressions, run_family, run_many
from tests.prove.schedule import play

SCHEDULES = int(os.environ.get("ALLCLEAR_SCHEDULES", "20000"))
MOST_SECONDS = 150.0
ROOT = Path(__file__).parents[2]


def test_seeds_that_once_failed_hold() -> None:
    assert {seed: play(seed).complaints for seed in regressions()} == dict.fromkeys(regressions(), ())


@pytest.mark.timeout(600)
@pytest.mark.requirement("R001.12", "R001.13", "R001.14")
def test_random_schedules_keep_the_promise() -> None:
    total = run_many(SCHEDULES, seconds=MOST_SECONDS)
    sys.stdout.write(total.line("random schedules") + "\n")
    assert not total.failures, "\n\n".join(total.failures[:5])
    assert total.schedules >= min(SCHEDULES, 2000), "the machine is too slow to say anything"
    assert total.twice > 0


@pytest.mark.parametrize("name", FAMILIES)
def test_one_trouble_at_every_step_keeps_the_promise(name: str) -> None:
    total = run_family(name, FAMILIES[name]())
    assert not total.failures, "\n\n".join(total.failures[:3])
    assert total.schedules > 100


@pytest.mark.timeout(600)
def test_a_crash_at_every_step_with_every_fate_of_every_write_keeps_the_promise() -> None:
    total = run_family("crash x fault", crash_and_fault(1 if os.environ.get("ALLCLEAR_PROVE") else 9))
    assert not total.failures, "\n\n".join(total.failures[:3])
    assert total.schedules > 500


def test_a_seed_gives_the_same_trace_in_another_process_with_another_hash_seed() -> None:
    """What a set's order could change must not change the schedule."""
    lines = "[line for seed in (3, 13, 99) for line in play(seed, traced=True).trace]"
    code = f"from tests.prove.schedule import play; print(*{lines}, sep='\\n')"
    traces = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(traces) == 1
    assert traces.pop().count(b"JOURNAL") > 3
