"""Audit at size: evidence judged per second, and whole audits of 1,000 to 100,000 slots with remotes in memory.

Each size runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from bench.machine import noise, peak_rss_mb, save, spread, table
from recovery.audit import audit
from recovery.judge import judge_one
from recovery.memory import NoMemory
from recovery.model import Evidence, Kind, OutageWindow, Saw, Schedule, Scheduled, Slot, System, Testimony
from recovery.policy import Policy, Waits
from recovery.ports import (
    Account,
    BridgeCapabilities,
    CampaignDesk,
    ContactDesk,
    Definition,
    JobDesk,
    ListDesk,
    Listing,
    Run,
    RunLog,
)
from recovery.wiring import SystemClock, silent

START = datetime(2026, 6, 3, 14, 0, tzinfo=UTC)
END = START + timedelta(hours=2)
DEFINITIONS = 8
ZONES = ("UTC", "America/New_York", "Europe/London", "Australia/Sydney")
SLOTS_PER_DEFINITION = 12  # every ten minutes for two hours


class Frozen(SystemClock):
    """A clock that stands some hours after the outage."""

    def now(self) -> datetime:
        return END + timedelta(hours=4)


class FakeJobs:
    """A dashboard in memory: one run in ten is missing; the log also holds what else ran."""

    def __init__(self, account: str, rows_per_slot: int) -> None:
        self.account = account
        self.rows_per_slot = rows_per_slot

    async def capabilities(self) -> BridgeCapabilities:
        return BridgeCapabilities(reprocess=True)

    async def definitions(self) -> Listing[Definition]:
        place = int(self.account[1:])  # forty schedules: the accounts of a fleet share theirs
        every = Schedule("cron", f"{place % 10}-59/10 * * * *", None, ZONES[place % 4])
        items = tuple(
            Definition(Scheduled(self.account, System.DASHBOARD, Kind.IMPORT, f"d{n}", f"Import {n}", every))
            for n in range(DEFINITIONS)
        )
        return Listing(items, complete=True, read_at=END)

    async def activity_log(self, _start: datetime, end: datetime, _definition_ref: str = "") -> RunLog:
        runs = []
        for n in range(DEFINITIONS):
            for place in range(SLOTS_PER_DEFINITION * self.rows_per_slot):
                at = START + timedelta(minutes=10 * place + int(self.account[1:]) % 10)
                if place % 10 != 3:
                    done = at + timedelta(minutes=2)
                    runs.append(Run(f"r{n}-{place}", f"d{n}", "succeeded", "schedule", at, at, done, 10, 10, 0))
        return RunLog(tuple(runs), complete=True, covers_from=START - timedelta(days=1), covers_to=end, read_at=end)

    async def console(self) -> RunLog:
        return RunLog((), complete=True, covers_from=START, covers_to=END + timedelta(hours=4), read_at=END)


class FakeCampaigns:
    """A platform without campaigns or automations: the slots are the dashboard's."""

    async def campaigns(self, *, newest_first: bool = False) -> Listing[Any]:
        del newest_first
        return Listing((), complete=True, read_at=END)

    async def automations(self) -> Listing[Any]:
        return Listing((), complete=True, read_at=END)


def accounts(number: int, rows_per_slot: int) -> list[Account]:
    made = []
    for n in range(number):
        jobs, campaigns = FakeJobs(f"a{n:05d}", rows_per_slot), FakeCampaigns()
        made.append(
            Account(
                f"a{n:05d}",
                "UTC",
                cast(CampaignDesk, campaigns),
                cast(ContactDesk, campaigns),
                cast(JobDesk, jobs),
                cast(ListDesk, None),
            )
        )
    return made


async def one_audit(number: int, rows_per_slot: int) -> dict[str, Any]:
    """An audit of so many accounts in this process."""
    before = peak_rss_mb()
    estate = accounts(number, rows_per_slot)
    window = OutageWindow(START, END, tuple(a.name for a in estate))
    started, cpu = time.perf_counter(), time.process_time()
    result = await audit(window, estate, Policy(()), b"key", Frozen(), NoMemory(), silent)
    return {
        "accounts": number,
        "slots": len(result.findings),
        "log_rows": number * DEFINITIONS * SLOTS_PER_DEFINITION * rows_per_slot,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "rss_mb": peak_rss_mb(),
        "rss_before_mb": before,
    }


# ---- judging -------------------------------------------------------------------------------------------------------


def evidence(number: int) -> list[Evidence]:
    """Jobs and campaigns in every usual condition."""
    seen = (Saw.WORKED, Saw.NOTHING, Saw.RUNNING, Saw.FAILED)
    made = []
    for n in range(number):
        campaign = n % 3 == 0
        kind = Kind.CAMPAIGN if campaign else Kind.IMPORT
        system = System.PRO2 if campaign else System.DASHBOARD
        slot = Slot("a", system.value, kind.value, str(n), START + timedelta(seconds=n % 7200), f"Thing {n}", "UTC")
        names = ("campaign-status", "campaign-report") if campaign else ("activity-log", "console")
        heard = tuple(Testimony(name, seen[n % 4], END, True, "as it stands", {"run": str(n)}) for name in names)
        made.append(Evidence(slot, heard))
    return made


def judged_per_second(number: int = 20_000, rounds: int = 5) -> Any:
    """Slots a second on one core, judge alone."""
    prepared, now, waits = evidence(number), END + timedelta(hours=4), Waits()

    def once() -> float:
        started = time.process_time()
        for each in prepared:
            judge_one(each, now, waits)
        return number / (time.process_time() - started)

    return spread(_repeat(once, rounds))


def _repeat(once: Callable[[], float], rounds: int) -> list[float]:
    return [once() for _ in range(rounds)]


def run(sizes: tuple[int, ...], rows_per_slot: int) -> dict[str, Any]:
    """Saved as results/audit.json. `sizes` are numbers of accounts, 96 slots each."""
    rows = []
    for size in sizes:
        command = [sys.executable, "-m", "bench.audit_bench", str(size), str(rows_per_slot)]
        rows.append(json.loads(subprocess.check_output(command, text=True)))
    result = {"judge_per_s": judged_per_second(), "rows": rows, "noise": noise()}
    save("audit", result)
    return result


def markdown(result: dict[str, Any]) -> str:
    header = ("accounts", "slots", "log rows", "seconds", "CPU s", "slots per CPU s", "peak RSS MB", "before MB")
    rows = [
        (
            row["accounts"],
            row["slots"],
            row["log_rows"],
            f"{row['seconds']:.2f}",
            f"{row['cpu_seconds']:.2f}",
            f"{row['slots'] / row['cpu_seconds']:.0f}",
            f"{row['rss_mb']:.0f}",
            f"{row['rss_before_mb']:.0f}",
        )
        for row in result["rows"]
    ]
    return table(header, rows) + f"\nJudge alone: {result['judge_per_s']} slots per CPU second.\n"


if __name__ == "__main__":
    print(json.dumps(asyncio.run(one_audit(int(sys.argv[1]), int(sys.argv[2])))))
