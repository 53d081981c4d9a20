"""How loud the machine was: load, a fixed loop timed before and after, and the statistics of paired rounds."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")


def calibrate() -> float:
    """Milliseconds of a fixed loop of pure Python; the quietest moment seen is the measure of the others."""
    started = time.perf_counter()
    total = 0
    for n in range(300_000):
        total += n & 7
    assert total
    return (time.perf_counter() - started) * 1000


def noise() -> dict[str, float]:
    """What else the machine did just now."""
    return {"load": round(os.getloadavg()[0], 2), "calibration_ms": round(min(calibrate() for _ in range(3)), 1)}


def describe_machine() -> str:
    """Cores, Python and system in one line."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} {platform.machine()}"


def peak_rss_mb() -> float:
    """The most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass(frozen=True)
class Spread:
    """Median and range of a figure over rounds."""

    median: float
    least: float
    most: float
    n: int

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.least:.3g} to {self.most:.3g})"


def spread(values: Iterable[float]) -> Spread:
    """Median and range."""
    known = sorted(values)
    return Spread(statistics.median(known), known[0], known[-1], len(known))


def paired(of: Sequence[float], to: Sequence[float]) -> Spread:
    """The ratio within each round, then its spread: what both runs of a round suffered cancels out."""
    return spread(a / b for a, b in zip(of, to, strict=True))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def save(name: str, result: dict[str, Any]) -> None:
    """Write results/<name>.json."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1, default=str) + "\n", encoding="utf-8")
