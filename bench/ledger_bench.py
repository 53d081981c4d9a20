"""Ledger at size: the calls of a run and of `status` on ledgers of 10,000 to 1,000,000 actions must cost the same.

The rows are written past the ledger, in bulk and with honest hash chains left out: what is timed is finding and moving
one action among many, not filling a database. Each old action is confirmed, with its attempt and ten events.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.machine import noise, save, table
from recovery.ledger.ledger import Ledger
from recovery.ledger.rows import ActionSpec
from recovery.model import ActionKind, AttemptOutcome, Harm, ItemOutcome, WriteResult

MICROS = 1_700_000_000_000_000
EVENTS = (
    ("", "planned"),
    ("planned", "claimed"),
    ("claimed", "planned"),
    ("planned", "claimed"),
    ("claimed", "planned"),
    ("planned", "claimed"),
    ("claimed", "in_flight"),
    ("in_flight", "unknown"),
    ("unknown", "applied"),
    ("applied", "confirmed"),
)
REPEATS = 40


def fill(path: Path, actions: int) -> None:
    """So many confirmed actions of as many confirmed items."""
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("PRAGMA synchronous=OFF")
        database.execute("PRAGMA foreign_keys=OFF")
        database.execute("DROP TRIGGER action_starts_planned")
        database.execute("BEGIN")
        database.execute("INSERT INTO plan VALUES ('p0', 'old', '{}', 1, 2)")
        database.executemany(
            "INSERT INTO item VALUES (?, 'a', 'pro2', 'campaign', '1', ?, 'n', 'missed', 'resend', 'confirmed', '',"
            " NULL, 0, 'p0', 'old', 1)",
            ((f"s{n}", MICROS + n) for n in range(actions)),
        )
        database.executemany(
            "INSERT INTO action (key, slot_key, account, kind, harm, target_ref, state, seq, last_hash,"
            " evidence_digest, made_at, updated_at)"
            " VALUES (?, ?, 'a', 'copy', 0, '1', 'confirmed', 10, 'h', 'e', ?, ?)",
            ((f"old{n:08d}", f"s{n}", MICROS + n, MICROS + n) for n in range(actions)),
        )
        database.executemany(
            "INSERT INTO attempt (id, action_key, n, owner, fence, request, opened_at, send_by, deadline, closed_at,"
            " closed_by, outcome) VALUES (?, ?, 1, 'old:1:x', 1, 'r', 1, 1, 1, 1, 'old:1:x', 'applied')",
            ((n + 1, f"old{n:08d}") for n in range(actions)),
        )
        database.executemany(
            "INSERT INTO action_event VALUES (?, ?, ?, ?, ?, 'old:1:x', 1, '', 'h', 'h')",
            (
                (f"old{n:08d}", seq, seq - 1 if seq > 1 else None, *move)
                for n in range(actions)
                for seq, move in enumerate(EVENTS, 1)
            ),
        )
        database.execute("COMMIT")


async def one_size(actions: int, folder: Path) -> dict[str, Any]:
    """Open, fill, open again, and time each call."""
    path, state = folder / f"l{actions}.db", folder / f"state{actions}"
    url = f"sqlite:///{path}"
    async with await Ledger.open(url, state):
        pass
    started = time.perf_counter()
    await asyncio.to_thread(fill, path, actions)
    filled = time.perf_counter() - started
    started = time.perf_counter()
    async with await Ledger.open(url, state) as ledger:
        opened = time.perf_counter() - started
        figures: dict[str, Any] = {
            "actions": actions,
            "events": actions * len(EVENTS),
            "fill_s": filled,
            "file_mb": path.stat().st_size / 1e6,
            "open_ms": opened * 1000,
        }
        for name, call in _calls(ledger).items():
            figures[name] = await _median_ms(call)
    return figures


def _calls(ledger: Ledger) -> dict[str, Callable[[int], Awaitable[object]]]:
    async def effect(n: int) -> None:
        spec = ActionSpec(f"new{n}", f"fresh{n}", "a", ActionKind.COPY, Harm.H0, "1")
        await ledger.ensure([spec])
        row = await ledger.claim(spec.key, 60)
        assert row is not None
        attempt = await ledger.intend(row, "copy", send_within_seconds=5, deadline_seconds=30)
        await ledger.settle(attempt, WriteResult(AttemptOutcome.APPLIED, ref="2"))
        await ledger.confirm(spec.key, "e", "seen")

    return {
        "effect_ms": effect,  # ensure, claim, intend, settle, confirm: five commits
        "resume_ms": lambda _: ledger.stale_actions(),
        "held_and_open_ms": lambda _: _held_and_open(ledger),
        "counts_ms": lambda _: ledger.unfinished(),
        "explain_ms": lambda n: ledger.history(f"s{n}"),
        "report_ms": lambda _: ledger.items(incident="new"),
    }


async def _held_and_open(ledger: Ledger) -> None:
    await ledger.items(outcome=ItemOutcome.HELD)
    await ledger.items(outcome=ItemOutcome.OPEN)


async def _median_ms(call: Callable[[int], Awaitable[object]]) -> float:
    took = []
    for n in range(REPEATS):
        started = time.perf_counter()
        await call(n)
        took.append((time.perf_counter() - started) * 1000)
        if sum(took) > 4000:
            break
    return statistics.median(took)


def run(sizes: tuple[int, ...]) -> dict[str, Any]:
    """Saved as results/ledger.json."""
    with tempfile.TemporaryDirectory(prefix="acledger") as folder:
        rows = [asyncio.run(one_size(size, Path(folder))) for size in sizes]
    result = {"rows": rows, "noise": noise()}
    save("ledger", result)
    return result


def markdown(result: dict[str, Any]) -> str:
    names = ("open_ms", "effect_ms", "resume_ms", "held_and_open_ms", "counts_ms", "explain_ms", "report_ms")
    header = ("actions", "events", "file MB", *(name.replace("_", " ").replace(" ms", ", ms") for name in names))
    rows = [
        (row["actions"], row["events"], f"{row['file_mb']:.0f}", *(f"{row[name]:.2f}" for name in names))
        for row in result["rows"]
    ]
    return table(header, rows)
