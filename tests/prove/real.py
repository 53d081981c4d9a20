"""Accounts of one estate, each with a ledger of its own, and real processes that recover them."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from recovery.model import OutageWindow
from recovery.rehearsal import write_config
from sandbox import scenario_campaigns as mail
from sandbox import scenario_jobs as jobs
from sandbox.story import Account, Story
from tests.prove.child import run_child
from tests.recovery.stage import PLAYBOOK, Night, night, policy_text, stage

ZONE = "America/New_York"
AT_ONCE = asyncio.Semaphore


def forked() -> ForkServerContext:
    """Children of a server that has paid for the imports and has no thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.prove.child", "recovery.ledger", "sqlalchemy.dialects.sqlite.pysqlite"])
    return context


def campaign(story: Story, account: Account) -> None:
    mail.overdue_small(story, account, "Gala", story.started_at + (story.ended_at - story.started_at) / 6)


def some_of_each(story: Story, account: Account) -> None:
    """A campaign, a failed import, a missed trigger, a sync that lost its differences."""
    campaign(story, account)
    at = jobs.once(story.started_at + (story.ended_at - story.started_at) / 12)
    jobs.plant_import(story, account, "healthy", "Healthy import", jobs.cron("5 * * * *", ZONE), None, 400)
    jobs.plant_import(story, account, "imp", "Guests", at, jobs.full_error, 401)
    jobs.plant_trigger(story, account, "trg", "Ticket scanned", at, jobs.no_activity, 12)
    jobs.plant_sync(
        story, account, "sync", "Members", at, list_id=501, tag="Members", mode="add_remove", size=12, lost=1, stale=1,
        fate=jobs.full_error,
    )  # fmt: skip


@dataclass
class Case:
    """One account with its own configuration and ledger."""

    night: Night
    account: str
    folder: Path
    config: Path
    context: ForkServerContext
    runs: int = 0

    def window(self) -> OutageWindow:
        return self.night.window(self.account)

    @property
    def out(self) -> Path:
        return self.folder / f"run-{self.runs}"

    def start(self, kill_at: int = 0, barrier: Any = None, pause: float = 0.0) -> Any:
        self.runs += 1
        child = self.context.Process(
            target=run_child, args=(self.config, self.account, self.window(), kill_at, self.out, barrier, pause)
        )
        child.start()
        return child

    async def run(self, kill_at: int = 0) -> int | None:
        """One run to its end; the exit code, -9 when it was killed."""
        child = self.start(kill_at)
        await asyncio.to_thread(child.join, 60)
        if child.exitcode is None:
            child.kill()
        return child.exitcode

    async def rest(self, most: int = 4) -> None:
        """Run again until a run ends by itself."""
        for _ in range(most):
            if await self.run() == 0:
                return
        errors = [p.read_text() for p in sorted(self.folder.glob("run-*.error"))]
        raise AssertionError(f"{self.account} did not come to rest: {errors}")

    def claims(self) -> list[Path]:
        return sorted(self.folder.glob("run-*.claims"), key=lambda p: int(re.findall(r"\d+", p.name)[0]))

    def labels(self) -> list[str]:
        return self.out.read_text().splitlines()


@asynccontextmanager
async def houses(
    folder: Path, count: int, *plant: Callable[[Story, Account], object], url: Callable[[int], str] | None = None
) -> AsyncIterator[tuple[Night, list[Case]]]:
    """`count` accounts that hold the same, each for one case."""
    names = tuple(f"house{n:03d}" for n in range(count))
    context = forked()
    async with night(folder, stage(*plant, names=names)) as n:
        cases = []
        for number, account in enumerate(n.estate.info["accounts"]):
            place = folder / account["name"]
            place.mkdir()
            told = {k: v for k, v in n.estate.info.items() if k not in ("jira", "slack")} | {"accounts": [account]}
            config = write_config(told, place, PLAYBOOK)
            text = re.sub(r"(\[accounts\.pro2\]\n)", r"\1requests_per_second = 100\n", config.read_text())
            text = text.replace("requests_per_second = 50", "requests_per_second = 500")
            if url is not None:
                text = text.replace("sqlite:///allclear.db", url(number))
            config.write_text(text)
            (place / "policy.toml").write_text(policy_text())
            cases.append(Case(n, account["name"], place, config, context))
        yield n, cases


async def judged(n: Night, cases: list[Case]) -> list[str]:
    """The complaints of the oracle, which reads the journals and each account's last claims."""
    items: list[Any] = []
    merged: dict[str, Any] = {}
    for case in cases:
        for path in case.claims()[-1:]:
            merged = json.loads(path.read_text())
            items += merged["items"]
    path = n.folder / "claims-all.json"
    path.write_text(json.dumps({**merged, "items": items, "ticket": None}))
    n.claims = [path]
    return await n.oracle()
