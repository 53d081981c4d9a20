"""Recovery throughput: the engine and its peers take turns against one remote, round after round."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.databases import Disks
from bench.machine import noise, paired, save, spread, table
from bench.peers import PREFECT
from bench.remote import Remote, running
from recovery.share import MOST_SHARED_AT_ONCE

LIMIT = "aiohttp"
CALLS_AT_ONCE = 50
ITEMS_IN_HAND = MOST_SHARED_AT_ONCE // 2
MORE_ITEMS = f", {ITEMS_IN_HAND} items"
"""Half of what the product may have in hand; the others have as many items as calls, and never more calls."""
SQLITE, POSTGRESQL = "engine sqlite", "engine postgresql"
ENGINES = {SQLITE: "sqlite", SQLITE + MORE_ITEMS: "sqlite"}
ENGINES |= {POSTGRESQL: "postgresql", POSTGRESQL + MORE_ITEMS: "postgresql"}
DBOS = {"dbos sqlite": "sqlite", "dbos postgresql": "postgresql"}
DBOS_PYTHON = Path(__file__).resolve().parents[1] / ".venv-bench" / "bin" / "python"
SLOW_MS = 5.0


@dataclass(frozen=True)
class Plan:
    """How much is run: latency in ms -> items of the quick peers; rounds; items of the slow ones."""

    items: Mapping[int, int]
    rounds: int
    slow_items: int
    prefect_latencies: tuple[int, ...]
    deadline_seconds: float = 1e9


QUICK = Plan({0: 300, 20: 500, 100: 500}, 3, 20, (20,), 400)
FULL = Plan({0: 1000, 20: 1000, 100: 500}, 5, 60, (0, 20, 100))


@dataclass
class Bench:
    """The runs so far: (latency, variant) -> one figure per round."""

    remote: Remote
    disks: Disks
    plan: Plan
    runs: dict[tuple[int, str], list[dict[str, Any]]] = field(default_factory=dict)
    noise: list[dict[str, float]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def run(self, latency: int, variant: str, items: int, **more: Any) -> None:
        """One checked run in its own process."""
        name = variant.removesuffix(f" +{SLOW_MS:g} ms")
        run = secrets.token_hex(4)
        job: dict[str, Any] = {"variant": name, "url": f"{self.remote.url}/{latency}/{run}", "items": items}
        job["concurrency"] = CALLS_AT_ONCE
        job["items_at_once"] = ITEMS_IN_HAND if name.endswith(MORE_ITEMS) else CALLS_AT_ONCE
        command = [sys.executable, "-m", "bench.run_one"]
        if name in ENGINES | DBOS:
            job["ledger"], job["state"] = self.disks.ledger((ENGINES | DBOS)[name])
        if name in DBOS:
            command = [str(DBOS_PYTHON), str(Path(__file__).with_name("dbos_peer.py"))]
        environment = {**os.environ, **more.get("environment", {})}
        told = subprocess.run(
            [*command, json.dumps(job)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        if told.returncode:
            raise SystemExit(f"{variant} at {latency} ms failed:\n{told.stderr[-3000:]}")
        self.remote.check(run, items, CALLS_AT_ONCE)
        self.runs.setdefault((latency, variant), []).append(json.loads(told.stdout.splitlines()[-1]))

    def rounds(self) -> None:
        """All latencies, each variant once a round, in an order that turns."""
        postgres = [POSTGRESQL, POSTGRESQL + MORE_ITEMS] if self.disks.postgres else []
        variants = [LIMIT, "transport", SQLITE, SQLITE + MORE_ITEMS, *postgres, "httpx sequential"]
        started = time.monotonic()
        for number in range(self.plan.rounds):
            self.noise.append(noise())
            for latency, items in self.plan.items.items():
                for variant in variants[number % len(variants) :] + variants[: number % len(variants)]:
                    self.run(latency, variant, items if variant != "httpx sequential" else self.plan.slow_items)
                if latency == 100 and self.disks.shim:
                    for engine in (SQLITE, SQLITE + MORE_ITEMS):
                        slow = f"{engine} +{SLOW_MS:g} ms"
                        self.run(latency, slow, items, environment=self.disks.slow(SLOW_MS))
            if time.monotonic() - started > self.plan.deadline_seconds * 0.7 and number + 1 < self.plan.rounds:
                self.skipped[f"rounds {number + 2} to {self.plan.rounds}"] = "the time for this part was over"
                break

    def prefect(self) -> None:
        """Prefect with a server of its own, or the reason why not."""
        try:
            with prefect_server() as environment:
                for variant in PREFECT:
                    for latency in self.plan.prefect_latencies:
                        self.run(latency, variant, self.plan.slow_items, environment=environment)
        except (RuntimeError, OSError) as problem:
            self.skipped["prefect"] = str(problem)

    def dbos(self) -> None:
        """DBOS Transact, where `make bench-full` has made a place for it."""
        if not DBOS_PYTHON.exists():
            self.skipped["dbos"] = "not installed: `make bench-full` puts it into .venv-bench"
            return
        for variant, engine in DBOS.items():
            if engine == "postgresql" and not self.disks.postgres:
                continue
            for latency in self.plan.prefect_latencies:
                self.run(latency, variant, self.plan.slow_items)

    def result(self) -> dict[str, Any]:
        """The figures, and the ratios to the limit within each round."""
        rows = []
        for (latency, variant), runs in self.runs.items():
            limit = self.runs[latency, LIMIT][: len(runs)]
            alone = self.runs[latency, "transport"][: len(runs)]
            rates = [run["items_per_s"] for run in runs]
            rows.append(
                {
                    "latency_ms": latency,
                    "variant": variant,
                    "items_per_s": spread(rates),
                    "to_aiohttp": paired(rates, [run["items_per_s"] for run in limit]),
                    "to_transport": paired(rates, [run["items_per_s"] for run in alone]),
                    "cpu_ms_per_call": spread(run["cpu_ms_per_call"] for run in runs),
                    "rss_mb": round(max(run["rss_mb"] for run in runs), 1),
                    "runs": len(runs),
                }
            )
        return {"rows": rows, "noise": self.noise, "skipped": {**self.skipped, **self.disks.missing}}


def markdown(result: dict[str, Any]) -> str:
    """The table that a person reads."""
    header = ("latency", "variant", "items/s", "ratio to aiohttp", "ratio to our transport", "CPU ms/call", "runs")
    rows = [
        (
            f"{row['latency_ms']} ms",
            row["variant"],
            f"{row['items_per_s'].median:.3g}",
            row["to_aiohttp"],
            row["to_transport"],
            f"{row['cpu_ms_per_call'].least:.2f}",
            row["runs"],
        )
        for row in sorted(result["rows"], key=lambda row: row["latency_ms"])
    ]
    left_out = "".join(f"\nLeft out: {what}: {why}." for what, why in result["skipped"].items())
    loads = ", ".join(f"{n['load']} ({n['calibration_ms']} ms)" for n in result["noise"])
    note = f"\nLoad before each round (and calibration loop): {loads}.{left_out}\n"
    return table(header, rows) + note


@contextlib.contextmanager
def prefect_server() -> Iterator[dict[str, str]]:
    """A Prefect server on SQLite in a folder of its own; RuntimeError when it does not answer within a minute."""
    home = Path(tempfile.mkdtemp(prefix="acprefect"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "DO_NOT_TRACK": "1",
    }
    command = [str(Path(sys.executable).with_name("prefect")), "server", "start", "--no-services"]
    with (
        (home / "server.log").open("w") as log,
        subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log) as server,
    ):
        try:
            _wait_until_healthy(f"{url}/health", server)
            yield environment
        finally:
            server.terminate()
            server.wait(30)
            shutil.rmtree(home, ignore_errors=True)


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(120):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError("the Prefect server did not answer within a minute")


def run(plan: Plan, disks: Disks) -> dict[str, Any]:
    """Everything of this file; saved as results/recovery.json."""
    with running() as remote:
        bench = Bench(remote, disks, plan)
        bench.rounds()
        bench.prefect()
        bench.dbos()
    result = bench.result()
    save("recovery", result)
    return result
