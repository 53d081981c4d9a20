"""Accounts of one estate, each with a ledger of its own, and real processes that recover them."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from recovery.model import OutageWindow
from recovery.terminal.rehearsal import write_config
from sandbox import scenario_campaigns as mail
from sandbox import scenario_jobs as jobs
from sandbox.story import Account, Story
from tests.prove.child import RESUMED, Task, run_child
from tests.recovery.stage import PLAYBOOK, Night, night, policy_text, stage

ZONE = "America/New_York"
PRELOAD = [
    "tests.prove.child", "tests.prove.worker", "recovery.ledger.ledger", "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.dialects.postgresql.psycopg",
]  # fmt: skip
LONGEST_SECONDS = 120
MOST_RESTS = 4
# A request may land this much later than its sender was cut off from it; the settle time is chosen to outlast it.
LATE_SECONDS = 0.5
WAITS = {"settle_seconds": 1.2, "settle_copy_seconds": 0.1, "write_deadline_seconds": 5, "lease_seconds": 10}


def forked() -> ForkServerContext:
    """Children of a server that has paid for the imports and has no thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


# ---- what an account holds ------------------------------------------------------------------------------------------


def campaign(story: Story, account: Account) -> None:
    mail.overdue_small(story, account, "Gala", story.started_at + (story.ended_at - story.started_at) / 6)


def _jobs(story: Story, account: Account) -> Any:
    """A healthy job, so that the logs are known to be fresh; the due time of the other."""
    jobs.plant_import(story, account, "healthy", "Healthy import", jobs.cron("5 * * * *", ZONE), None, 400)
    return jobs.once(story.started_at + (story.ended_at - story.started_at) / 12)


def stalled(story: Story, account: Account) -> None:
    jobs.plant_import(story, account, "hung", "Guests", _jobs(story, account), jobs.hangs_stop_ignored, 401)


def missed_import(story: Story, account: Account) -> None:
    jobs.plant_import(story, account, "imp", "Guests", _jobs(story, account), jobs.no_activity, 401)


def trigger(story: Story, account: Account) -> None:
    jobs.plant_trigger(story, account, "trg", "Ticket scanned", _jobs(story, account), jobs.no_activity, 12)


def sync(story: Story, account: Account) -> None:
    jobs.plant_sync(
        story, account, "sync", "Members", _jobs(story, account), list_id=501, tag="Members", mode="add_remove",
        size=12, lost=1, stale=1, fate=jobs.full_error,
    )  # fmt: skip


def event_over(story: Story, account: Account) -> None:
    """Nothing to repair, so that the run is about its ticket and its notice."""
    mail.event_over(story, account, "Matinee", story.started_at + (story.ended_at - story.started_at) / 6)


KINDS: dict[str, Callable[[Story, Account], None]] = {
    "campaign": campaign, "stalled": stalled, "import": missed_import, "trigger": trigger, "sync": sync,
    "desk": event_over,
}  # fmt: skip


def _plant(story: Story, account: Account) -> None:
    KINDS[account.name.split("-")[0]](story, account)


# ---- one account and its runs ---------------------------------------------------------------------------------------


@dataclass
class Case:
    """One account with its own configuration and ledger."""

    night: Night
    account: str
    folder: Path
    config: Path
    plan: str = RESUMED
    runs: int = 0

    @property
    def kind(self) -> str:
        return self.account.split("-")[0]

    def window(self) -> OutageWindow:
        return self.night.window(self.account, incident=f"inc-{self.account}")

    @property
    def out(self) -> Path:
        return self.folder / f"run-{self.runs}"

    def task(self, stop_at: int = 0, pause: float = 0.0, starter: str = "test", throw: str = "") -> Task:
        self.runs += 1
        return Task(self.config, self.account, self.window(), self.out, stop_at, pause, self.plan, starter, throw)

    def claims(self) -> list[Path]:
        return sorted(self.folder.glob("run-*.claims"), key=lambda p: int(re.findall(r"\d+", p.name)[0]))

    def labels(self) -> list[str]:
        return self.out.read_text().splitlines()

    @property
    def at_rest(self) -> bool:
        """Whether the last run came to its end."""
        return self.out.with_suffix(".claims").exists()

    def errors(self) -> list[str]:
        return [f"{p.name}: {p.read_text()}" for p in sorted(self.folder.glob("run-*.error"))]


async def run(context: ForkServerContext, tasks: list[Task]) -> int | None:
    """One process to its end; the exit code, -9 when it was killed."""
    child = context.Process(target=run_child, args=(tasks,))
    child.start()
    await asyncio.to_thread(child.join, LONGEST_SECONDS)
    if child.exitcode is None:
        child.kill()
        await asyncio.to_thread(child.join)
        raise AssertionError(f"{[t.account for t in tasks]} were stuck for {LONGEST_SECONDS} s")
    code = child.exitcode
    child.close()
    return code


async def cut_and_rest(context: ForkServerContext, cut: list[tuple[Case, int]], *, alone: bool = False) -> int:
    """Kill each run at its point, all in one process or each in its own; then run on until each has come to its end.

    How many kills. A case that is not at rest after four more runs is stuck; the judge says so.
    """
    tasks = [case.task(point) for case, point in cut]
    parts, room = [[task] for task in tasks] if alone else [tasks], asyncio.Semaphore(3)

    async def one(part: list[Task]) -> int | None:
        async with room:
            return await run(context, part)

    kills = sum(code == -9 for code in await asyncio.gather(*(one(part) for part in parts)))
    left = [c for c, _ in cut if not c.at_rest]
    for _ in range(MOST_RESTS):
        if not left:
            break
        await run(context, [c.task() for c in left])
        left = [c for c in left if not c.at_rest]
    return kills


@asynccontextmanager
async def houses(
    folder: Path,
    kinds: Iterable[str],
    url: Callable[[], str] | None = None,
    **waits: float,
) -> AsyncIterator[tuple[Night, list[Case]]]:
    """One account for each kind named, each with a configuration and a ledger of its own."""
    names = tuple(f"{kind}-{number:03d}" for number, kind in enumerate(kinds))
    async with night(folder, stage(_plant, names=names, size=40)) as n:
        cases = []
        for account in n.estate.info["accounts"]:
            place = folder / account["name"]
            place.mkdir()
            desks = account["name"].startswith("desk-")
            told = {k: v for k, v in n.estate.info.items() if k not in ("jira", "slack") or desks}
            config = write_config(told | {"accounts": [account]}, place, PLAYBOOK)
            text = re.sub(r"(\[accounts\.pro2\]\n)", r"\1requests_per_second = 100\n", config.read_text())
            text = text.replace("requests_per_second = 50", "requests_per_second = 500")
            if url is not None:
                text = text.replace("sqlite:///allclear.db", url())
            config.write_text(text)
            valid = [row for row in n.estate.story.valid_until if row["account"] == account["name"]]
            (place / "policy.toml").write_text(policy_text(valid, waits={**WAITS, **waits}))
            cases.append(Case(n, account["name"], place, config))
        yield n, cases


# ---- the judgement --------------------------------------------------------------------------------------------------

MOVING = frozenset({"claimed", "in_flight", "unknown", "applied"})


async def judged(n: Night, cases: list[Case]) -> list[str]:
    """What is wrong: the oracle's complaints from the remotes' journals, and every item that did not come to rest.

    A verdict is not judged: planned anew, an item is seen as the run that was cut off left it, not as it was planted.
    """
    wrong, items = list[str](), list[Any]()
    for case in cases:
        if not case.at_rest:
            wrong.append(f"stuck {case.account}: no run came to its end: {case.errors()[-1:]}")
        for path in case.claims()[-1:]:
            mine = json.loads(path.read_text())["items"]
            wrong += [f"stuck {case.account} {item['key']}: {why}" for item in mine if (why := _unrest(item))]
            items += mine
    path = n.folder / "claims-all.json"
    path.write_text(json.dumps({"items": items, "ticket": None}))
    n.claims = [path]
    return wrong + [c for c in await n.oracle() if not c.startswith("verdict ")]


def _unrest(item: Any) -> str:
    """Why an item has not come to rest: open, or ended with an action of which nobody knows what became."""
    moving = [a["kind"] for a in item["actions"] if a["state"] in MOVING]
    if item["outcome"] == "open":
        return "the item is open"
    if moving and item["outcome"] == "confirmed":
        return f"confirmed, with {moving} unsettled"
    if item["outcome"] == "held" and not (item["question"] or {}).get("text"):
        return "held without a question"
    if item["outcome"] == "skipped" and not item["reason"]:
        return "skipped without a reason"
    return ""
