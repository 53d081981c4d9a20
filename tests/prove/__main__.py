"""`python -m tests.prove [N]`: the long column. With N, that many simulated schedules only.

One line for each part as it ends, every failure with its seed and a short trace, and one closing line with the totals.
Exits 1 when anything failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.prove import families
from tests.prove.families import FAMILIES
from tests.prove.product_ledger import ProductPlay
from tests.prove.runs import Total, regressions, remember, run_family, run_many, run_seeds
from tests.prove.trouble import draw_liveness, draw_strong

WHOLE = 1_000_000
LARGE_AUDIENCE = 200_000
SEEDS = {
    "ledger deleted between any two steps, folder kept": 50,
    "ledger and folder deleted between any two steps": 50,
    "kill switch file at every step": 10,
    "kill switch row at every step": 10,
    "kill switch while a runner sleeps": 10,
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the column; `random` says that its seeds may join the regression list."""

    name: str
    run: Callable[[], Total]
    random: bool = False


def parts(count: int, first: int, seconds: float | None, workers: int, seeds: int) -> list[Part]:
    """The simulated column, in order."""
    many = partial(run_many, first=first, seconds=seconds, workers=workers)
    family = partial(run_family, workers=workers)
    late = partial(families.late_originals, LARGE_AUDIENCE)
    orders = {name: range(min(seeds, SEEDS.get(name, 5))) for name in FAMILIES}
    return [
        Part("regressions", lambda: run_seeds(regressions())),
        Part("random schedules", partial(many, count), random=True),
        Part("liveness, everything goes wrong", partial(many, 50_000, draw_liveness)),
        Part("liveness, one-shot platform", partial(many, 50_000, draw_strong)),
        Part("duels", partial(families.duels, 10_000, workers=workers)),
        *[Part(n, partial(family, n, cases, seeds=orders[n])) for n, cases in FAMILIES.items()],
        Part("crash x fate", partial(family, "crash x fate", families.crash_and_fault)),
        Part("local fault x fate", partial(family, "local fault x fate", families.local_and_fault)),
        Part("clocks set at every step", partial(family, "clocks", families.clock_jumps)),
        Part("late originals, large audiences", partial(family, "late originals", late, seeds=range(min(seeds, 10)))),
        Part("random schedules on the product's own statements", partial(many, 5_000, kind=ProductPlay)),
    ]


ALSO_LONG = (
    "tests/desk/test_business_time_oracles.py",  # promised times against an implementation of their own
    "tests/flows/test_disasters.py",  # runs that Prefect's own automation has to end
    "tests/report/test_report_browser.py",  # the largest report
)


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    asked.add_argument("schedules", nargs="?", type=int, help="simulated schedules only, this many")
    asked.add_argument("--first", type=int, default=0, help="the first seed")
    asked.add_argument("--workers", type=int, default=0, help="processes; one per core when omitted")
    asked.add_argument("--seconds", type=float, default=None, help="begin no new chunk of a part after this time")
    asked.add_argument("--seeds", type=int, default=50, help="at most so many orders of each family")
    asked.add_argument("--only", default="", help="the parts whose name holds this")
    asked.add_argument("--simulated", action="store_true", help="without the tests that run real processes")
    given = asked.parse_args()
    column = parts(given.schedules or WHOLE, given.first, given.seconds, given.workers, given.seeds)
    if given.schedules is not None:
        column = column[:2]
    column = [part for part in column if given.only in part.name]
    if not column:
        asked.error(f"no part is called {given.only!r}")
    whole = Total()
    for part in column:
        total = part.run()
        if part.random:
            remember(total.failed_seeds)
        sys.stdout.write("\n\n".join([*total.failures[:20], total.line(part.name)]) + "\n")
        sys.stdout.flush()
        whole.merge(total)
        whole.seconds += total.seconds
    status = 1 if whole.failures else 0
    said = ""
    if given.schedules is None and not given.only and not given.simulated:
        code = subprocess.call(
            [sys.executable, "-m", "pytest", "tests/prove", *ALSO_LONG, "-q", "-n0", "--timeout=0"],
            env={**os.environ, "ALLCLEAR_PROVE": "1"},
        )
        status, said = status or code, f"; tests/prove with real processes: {'passed' if code == 0 else 'FAILED'}"
    sys.stdout.write(whole.line("prove") + said + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
