"""Random schedules of the product's own code: no doubles, nothing lost, nothing claimed without proof.

`ALLCLEAR_SCHEDULES` says how many; `python -m tests.prove N` runs any number. The families in which one thing goes
wrong at every place are in test_families.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.prove import oracle
from tests.prove.columns import amount, patience
from tests.prove.oracle import Story
from tests.prove.product_ledger import ProductPlay
from tests.prove.runs import regressions, run_many, run_seeds

SCHEDULES = int(os.environ.get("ALLCLEAR_SCHEDULES", amount(20_000, 50_000, 50_000)))
ON_THE_PRODUCTS_LEDGER = 100
MOST_SECONDS = amount(15.0, None, None)
ROOT = Path(__file__).parents[2]


def test_seeds_that_once_failed_hold() -> None:
    total = run_seeds(regressions())
    assert total.schedules == len(regressions()) >= 5
    assert not total.failures, "\n\n".join(total.failures)


@pytest.mark.timeout(patience(600))
@pytest.mark.requirement("R001.12", "R001.13", "R001.14")
def test_random_schedules_keep_the_promise() -> None:
    total = run_many(SCHEDULES, seconds=MOST_SECONDS)
    sys.stdout.write(total.line("random schedules") + "\n")
    assert not total.failures, "\n\n".join(total.failures[:5])
    assert total.schedules >= min(SCHEDULES, 500), "the machine is too slow to say anything"
    assert total.twice > 0


@pytest.mark.timeout(patience(600))
def test_random_schedules_on_the_products_own_statements_keep_the_promise() -> None:
    total = run_many(ON_THE_PRODUCTS_LEDGER, kind=ProductPlay, seconds=MOST_SECONDS)
    assert not total.failures, "\n\n".join(total.failures[:5])
    assert total.schedules == ON_THE_PRODUCTS_LEDGER


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


def test_an_oracle_that_is_told_nothing_complains_of_nothing() -> None:
    """Each check reads the story alone; the seeded bugs show that each of them speaks when it should."""
    assert oracle.judge(Story((), (), (), (), ())) == ()
