"""The whole road over many accounts: audit, plan, approvals, recovery, at five calls a second for each remote.

The product reads and acts on the pretend estate in a process of its own, which keeps the limits with buckets of its
own. One account alone shows what the limit and the waits take; a fleet that takes longer was held up by something else.
What may hold it up is the processor; what may not is another account.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import uvloop

from bench.databases import Disks
from bench.estate import estate
from bench.machine import noise, save, table
from recovery.approvals import acting, reach_of
from recovery.model import Approval, OutageWindow
from recovery.operate import Run, audit_window, plan_from
from recovery.settings import load_settings
from recovery.terminal.rehearsal import PEOPLE, write_config
from recovery.wiring import open_systems, silent

PLAYBOOK = Path(__file__).parents[1] / "config" / "playbooks" / "process-failure.toml"
SPEED = 20.0
POLICY = """
[waits]
monitor_seconds = 4200
poll_seconds = 0.1
stop_check_seconds = 0.1
settle_seconds = 2
settle_copy_seconds = 0.6
arm_seconds = 0
departure_seconds = 20
job_seconds = 30
[limits]
releases_per_run = 100000
recipients_per_run = 100000000
recipients_per_hour = 100000000
wave_bake_seconds = 0
waves = [100000]
"""


@dataclass(frozen=True)
class Load:
    """How many accounts, on which database."""

    accounts: int
    database: str = "sqlite"


def _cpu_of(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def _road(info: dict[str, Any], folder: Path, ledger: tuple[str, str] | None) -> dict[str, Any]:
    """Audit, plan, both approvals and recovery of everything that the fleet missed."""
    path = write_config(info, folder, PLAYBOOK)
    (folder / "policy.toml").write_text(POLICY, encoding="utf-8")
    settings = load_settings(path)
    if ledger is not None:
        url, state_dir = ledger
        settings = settings.model_copy(
            update={"ledger": settings.ledger.model_copy(update={"url": url, "state_dir": Path(state_dir)})}
        )
    start, end = (datetime.fromisoformat(info["window"][side]) for side in ("start", "end"))
    async with open_systems(settings, tell=silent) as systems:
        started, cpu = time.perf_counter(), time.process_time()
        found = await audit_window(systems, OutageWindow(start, end, tuple(a["name"] for a in info["accounts"])))
        audited = time.perf_counter() - started
        plan = await plan_from(systems, found)
        assert plan is not None
        for person in PEOPLE:
            approval = Approval(plan.digest, person, systems.clock.now(), reach_of(acting(plan)), True, (), "bench")
            await systems.ledger.approve(approval)
        started = time.perf_counter()
        done = await Run(systems, plan, "bench", asyncio.Event()).recover()
        recovered = time.perf_counter() - started
        outcomes = Counter(item.outcome.value for item in done.items)
        if outcomes["confirmed"] != 2 * len(info["accounts"]) or outcomes["held"]:
            raise SystemExit(f"not all was recovered: {dict(outcomes)}")
        spent = time.process_time() - cpu
        return {
            "audit_s": audited,
            "recovery_s": recovered,
            "cpu_ms_per_account": spent * 1000 / len(info["accounts"]),
            "share_of_a_core": spent / (audited + recovered),
        }


def run_load(load: Load, disks: Disks) -> dict[str, Any]:
    """One load against an estate of its own."""
    with tempfile.TemporaryDirectory(prefix="acfleet") as name:
        folder = Path(name)
        ledger = disks.ledger(load.database) if load.database != "sqlite" else None
        with estate(load.accounts, SPEED) as (told, pid):
            info = {k: v for k, v in told.items() if k not in ("jira", "slack")}
            before, began = _cpu_of(pid), time.perf_counter()
            figures = uvloop.run(_road(info, folder, ledger))
            served = (_cpu_of(pid) - before) / (time.perf_counter() - began)
        return {"accounts": load.accounts, "database": load.database, **figures, "estate_share_of_a_core": served}


def run(disks: Disks, loads: list[Load]) -> dict[str, Any]:
    """All loads, one after the other; saved as results/fleet.json."""
    rows = []
    for load in loads:
        if load.database != "sqlite" and not disks.postgres:
            continue
        before = noise()
        rows.append(run_load(load, disks) | {"noise": before})
    result = {"rows": rows}
    save("fleet", result)
    return result


def markdown(result: dict[str, Any]) -> str:
    header = (
        "accounts",
        "ledger",
        "audit s",
        "recovery s",
        "of one account's",
        "CPU ms an account",
        "of a core",
        "the estate's",
        "load",
    )
    alone = result["rows"][0]
    rows = [
        (
            row["accounts"],
            row["database"],
            f"{row['audit_s']:.1f}",
            f"{row['recovery_s']:.1f}",
            f"{row['recovery_s'] / alone['recovery_s']:.2f}",
            f"{row['cpu_ms_per_account']:.0f}",
            f"{row['share_of_a_core']:.2f}",
            f"{row['estate_share_of_a_core']:.2f}",
            row["noise"]["load"],
        )
        for row in result["rows"]
    ]
    return table(header, rows)


def guard(result: dict[str, Any]) -> list[str]:
    """While half a core is left a fleet takes hardly longer than one account alone: nobody waits for another."""
    alone, *fleets = result["rows"]
    unhurried = [r for r in fleets if max(r["share_of_a_core"], r["estate_share_of_a_core"]) < 0.5]
    return [
        f"{row['accounts']} accounts took {row['recovery_s']:.1f} s, one alone {alone['recovery_s']:.1f} s"
        for row in unhurried
        if row["recovery_s"] > 1.6 * alone["recovery_s"]
    ]
