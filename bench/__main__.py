"""`python -m bench [--full] [--only PART]`: runs the benches, prints tables, writes results/.

Exit 1 when a guard fails. A guard compares runs of this very session with each other, never with stored seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench import audit_bench, fleet_bench, ledger_bench, rate_bench, recovery_bench, startup_bench, workers_bench
from bench.chart import bars
from bench.databases import disks
from bench.machine import RESULTS, describe_machine
from bench.rate_bench import Load

Result = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One bench: its title, how it runs (full or not), its table, and what must hold of it."""

    title: str
    run: Callable[[bool], Result]
    markdown: Callable[[Result], str]
    guard: Callable[[Result], list[str]]


def _recovery(full: bool) -> Result:
    with disks() as found:
        result = recovery_bench.run(recovery_bench.FULL if full else recovery_bench.QUICK, found)
    (RESULTS / "recovery.svg").write_text(_chart(result), encoding="utf-8")
    return result


def _chart(result: Result) -> str:
    latencies = sorted({row["latency_ms"] for row in result["rows"]})
    groups = []
    for latency in latencies:
        rows = [row for row in result["rows"] if row["latency_ms"] == latency]
        group = [(row["variant"], row["to_aiohttp"].median, str(row["to_aiohttp"])) for row in rows]
        groups.append((f"{latency} ms a call", group))
    return bars("Items per second, as a share of bare aiohttp in the same round", groups)


SLOWEST = {20: 0.5, 100: 0.75}  # of our own transport without a ledger: a loud machine's floor, not the goal
LOUD_LOAD = 1.5  # processes that want to run, for each core, before a round
FRAMEWORKS = {"prefect task per call": 8, "dbos sqlite": 4, "dbos postgresql": 3}
"""How many times as fast the engine must be at least. What 20 ms a call and 50 at once allow is 500 items a second."""


def _recovery_guard(result: Result) -> list[str]:
    """The engine must stay near its own transport, and far from a recorded task or step per call, in this very run.

    Nearness is not judged while others keep the cores busy: three threads then wait for one another's turn.
    """
    wrong = []
    quiet = min(each["load"] for each in result["noise"]) <= LOUD_LOAD * (os.cpu_count() or 1)
    by = {(row["latency_ms"], row["variant"]): row for row in result["rows"]}
    for (latency, variant), row in by.items():
        if variant not in recovery_bench.ENGINES:
            continue
        if quiet and row["to_transport"].median < SLOWEST.get(latency, 0.0):
            wrong.append(f"{variant} at {latency} ms is {row['to_transport'].median:.2f} of its own transport")
        peers = [by[latency, name] for name in FRAMEWORKS if (latency, name) in by] if latency == 20 else []
        for peer in peers:
            times = row["to_aiohttp"].median / peer["to_aiohttp"].median
            if times < FRAMEWORKS[peer["variant"]]:
                wrong.append(f"at {latency} ms {variant} is only {times:.1f} times {peer['variant']}")
    return wrong


def _rate(full: bool) -> Result:
    quick = [Load(40, 15, "estate"), Load(200, 20, "lean")]
    more = [Load(200, 20, "estate"), Load(400, 20, "lean"), Load(1000, 20, "lean")]
    return rate_bench.run(quick + more if full else quick)


def _rate_guard(result: Result) -> list[str]:
    return [
        f"{row['accounts']} accounts: {row['above']} above their rate, {row['refused']} refused"
        for row in result["rows"]
        if row["above"] or row["refused"]
    ]


def _audit(full: bool) -> Result:
    return audit_bench.run((10, 100, 1042) if full else (10, 100, 400), 10)


def _audit_guard(result: Result) -> list[str]:
    """Ten times the slots may cost no more than fifteen times the CPU."""
    first, last = result["rows"][0], result["rows"][-1]
    grown = (last["cpu_seconds"] / last["slots"]) / (first["cpu_seconds"] / first["slots"])
    return [f"a slot costs {grown:.1f} times as much at {last['slots']} slots"] if grown > 1.5 else []


def _ledger(full: bool) -> Result:
    return ledger_bench.run((10_000, 100_000, 1_000_000) if full else (10_000, 100_000))


def _ledger_guard(result: Result) -> list[str]:
    first, last = result["rows"][0], result["rows"][-1]
    flat = ("effect_ms", "resume_ms", "held_and_open_ms", "explain_ms", "report_ms")
    return [f"{name} grew from {first[name]:.1f} to {last[name]:.1f}" for name in flat if last[name] > 3 * first[name]]


def _workers(full: bool) -> Result:
    with disks() as found:
        return workers_bench.run(found, (60, 10, 12) if full else (32, 3, 8))


def _fleet(full: bool) -> Result:
    quick = [fleet_bench.Load(1), fleet_bench.Load(50), fleet_bench.Load(100)]
    more = [fleet_bench.Load(200), fleet_bench.Load(100, "postgresql")]
    with disks() as found:
        return fleet_bench.run(found, quick + more if full else quick)


def _nothing(_result: Result) -> list[str]:
    return []


PARTS = {
    "startup": Part("Start-up", lambda _: startup_bench.run(5), startup_bench.markdown, _nothing),
    "audit": Part("Audit at size", _audit, audit_bench.markdown, _audit_guard),
    "ledger": Part("Ledger at size", _ledger, ledger_bench.markdown, _ledger_guard),
    "rate": Part("Rate", _rate, rate_bench.markdown, _rate_guard),
    "fleet": Part("The whole road over a fleet", _fleet, fleet_bench.markdown, fleet_bench.guard),
    "workers": Part("Several workers", _workers, workers_bench.markdown, workers_bench.guard),
    "recovery": Part("Recovery", _recovery, recovery_bench.markdown, _recovery_guard),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="everything, for up to an hour")
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="only this part; may be repeated")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    wrong: list[str] = []
    print(describe_machine())
    for name, part in PARTS.items():
        if options.only and name not in options.only:
            continue
        started = time.monotonic()
        result = part.run(options.full)
        text = f"## {part.title}\n\n{part.markdown(result)}"
        (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
        print(f"\n{text}\n({time.monotonic() - started:.0f} s)", flush=True)
        wrong += [f"{name}: {problem}" for problem in part.guard(result)]
    for problem in wrong:
        print(f"GUARD {problem}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
