"""`python -m tests.prove [N]`: the long column. With N, that many simulated schedules only."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from tests.prove.runs import FAMILIES, Total, crash_and_fault, remember, run_family, run_many

WHOLE = 1_000_000


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.prove", description=__doc__)
    asked.add_argument("schedules", nargs="?", type=int, help="simulated schedules only, this many")
    asked.add_argument("--first", type=int, default=0, help="the first seed")
    asked.add_argument("--workers", type=int, default=0, help="processes; one per core when omitted")
    asked.add_argument("--seconds", type=float, default=None, help="begin no new chunk after this time")
    given = asked.parse_args()
    simulated = run_many(given.schedules or WHOLE, first=given.first, seconds=given.seconds, workers=given.workers)
    parts = [("random schedules", simulated)]
    remember(simulated.failed_seeds)
    status = 0
    if given.schedules is None:
        parts += [(name, run_family(name, cases(), seed)) for name, cases in FAMILIES.items() for seed in range(50)]
        parts.append(("every crash point x every fate of every write", run_family("crash x fault", crash_and_fault())))
        environment = {**os.environ, "ALLCLEAR_PROVE": "1"}
        status = subprocess.call([sys.executable, "-m", "pytest", "tests/prove", "-q", "--timeout=0"], env=environment)
    return report(parts) or status


def report(parts: list[tuple[str, Total]]) -> int:
    """Say each failure, then one closing line."""
    whole = Total()
    for _, total in parts:
        whole.merge(total)
        whole.seconds += total.seconds
    for failure in whole.failures[:20]:
        sys.stdout.write(failure + "\n\n")
    sys.stdout.write(whole.line("prove") + "\n")
    return 1 if whole.failures else 0


if __name__ == "__main__":
    sys.exit(main())
