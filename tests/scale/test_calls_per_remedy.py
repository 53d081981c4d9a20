"""How many calls each remedy costs its account, whose rate limit is what paces a recovery (docs/scale.md)."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from integrations.kept import Kept
from integrations.oneshot import OneShot
from recovery.model import ItemOutcome
from sandbox import scenario_campaigns as mail
from sandbox import scenario_jobs as jobs
from tests.recovery.stage import night, stage

ZONE = "America/New_York"

# account -> (reads at most, writes exactly) from the start of its item to its end, one of each remedy
CALLS = {
    "resend": (21, 5),
    "reprocess": (9, 1),
    "repeat": (7, 1),
    "trigger": (7, 1),
    "sync": (16, 3),
}


def plant(story: Any, account: Any) -> None:
    at = jobs.once(story.started_at + timedelta(minutes=10))
    if account.name == "resend":
        mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))
        return
    jobs.plant_import(story, account, "healthy", "Healthy import", jobs.cron("5 * * * *", ZONE), None, 400)
    if account.name == "reprocess":
        jobs.plant_import(story, account, "imp", "Guests", at, jobs.full_error, 401)
    elif account.name == "repeat":
        jobs.plant_import(story, account, "imp", "Guests", at, jobs.no_activity, 401)
    elif account.name == "trigger":
        jobs.plant_trigger(story, account, "trg", "Ticket scanned", at, jobs.no_activity, 12)
    else:
        jobs.plant_sync(
            story, account, "sync", "Members", at, list_id=501, tag="Members", mode="add_remove", size=12, lost=1,
            stale=1, fate=jobs.full_error,
        )  # fmt: skip


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, str]]]:
    """Every request that leaves, by its base URL and path."""
    seen: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for pool, kind in ((Kept, "read"), (OneShot, "write")):

        async def counted(self: Any, request: Any, *rest: Any, _send: Any = pool.exchange, _kind: str = kind) -> Any:
            seen[request.base.text].append((_kind, request.target.partition("?")[0]))
            return await _send(self, request, *rest)

        monkeypatch.setattr(pool, "exchange", counted)
    return seen


def counted(seen: dict[str, list[tuple[str, str]]], account: str) -> tuple[int, int]:
    """Reads and writes at all systems of an account. A read that repeats the one before it is waiting: not counted.

    After the last write of a system its effect is watched in turns, so there each thing that is read counts once.
    """
    reads = writes = 0
    for base, made in seen.items():
        if f"/{account}" not in base:
            continue
        last = max((n for n, (kind, _) in enumerate(made) if kind == "write"), default=len(made))
        before, after = made[: last + 1], made[last + 1 :]
        writes += sum(kind == "write" for kind, _ in before)
        reads += sum(now[0] == "read" and now != then for then, now in pairwise([("", ""), *before]))
        reads += len(set(after))
    return reads, writes


async def test_no_remedy_costs_more_calls_than_its_promise_needs(
    tmp_path: Path, calls: dict[str, list[tuple[str, str]]]
) -> None:
    async with night(tmp_path, stage(plant, names=tuple(CALLS))) as n, n.open() as systems:
        plan = await n.approved(systems)
        calls.clear()
        during: dict[str, list[tuple[str, str]]] = {}
        n.tell = lambda what, _facts: during.update({k: list(v) for k, v in calls.items()}) if what == "proof" else None
        done = await n.run(systems, plan)
    assert {row.outcome for row in done.items} == {ItemOutcome.CONFIRMED}
    found = {account: counted(during, account) for account in CALLS}
    assert {account: writes for account, (_, writes) in found.items()} == {a: w for a, (_, w) in CALLS.items()}
    grown = {account: (found[account], CALLS[account]) for account in CALLS if found[account][0] > CALLS[account][0]}
    assert not grown, f"reads, as counted and as stated: {grown}"
