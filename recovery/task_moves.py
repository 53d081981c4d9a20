"""One move of assisted mode, as the terminal and the Prefect UI both make it, and the lines that show a task."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from recovery.errors import UsageError
from recovery.model import iso
from recovery.readings import keep_reading, parse_reading
from recovery.settings import Settings, load_settings
from recovery.tasks import Task, Tasks, Terms
from recovery.wiring import NO_ACCOUNTS, Systems, check_reading, open_systems

GO = "Click now, once. Then say done, not-done or not-sure."
NONE_WAITS = "Nothing waits for a person."


@asynccontextmanager
async def open_tasks(config: Path | None) -> AsyncIterator[tuple[Tasks, Systems]]:
    """The tasks of the configured ledger; opens no account and needs none of their secrets."""
    settings = load_settings(config)
    async with open_systems(settings, names=NO_ACCOUNTS) as systems:
        state_dir = settings.path(settings.ledger.state_dir)
        yield Tasks(systems.ledger, systems.clock, systems.policy, state_dir, terms_of(settings)), systems


def terms_of(settings: Settings) -> dict[str, Terms]:
    """Each account's lease, click and go-ahead."""
    given = {a.name: a.dashboard.assisted for a in settings.accounts if a.dashboard is not None}
    return {
        name: Terms(
            timedelta(minutes=a.lease_minutes),
            timedelta(minutes=a.click_minutes),
            timedelta(minutes=a.go_ahead_minutes),
        )
        for name, a in given.items()
    }


async def make_move(tasks: Tasks, what: str, key: str, by: str, reason: str) -> Task:
    """`claim`, `about_to_click`, `not_done` or `not_sure`; the task as it stands then."""
    if what == "claim":
        return await tasks.claim(key, by)
    if what == "about_to_click":
        return await tasks.about_to_click(key, by)
    return await (tasks.not_done if what == "not_done" else tasks.not_sure)(key, by, reason)


async def take_reading(systems: Systems, name: str, content: bytes, account: str, by: str) -> str:
    """Keeps what a person read off the dashboard; what to say of it. UsageError for an unknown account."""
    known = [a.name for a in systems.settings.accounts]
    if account not in known:
        raise UsageError(f"There is no account {account!r}.", f"Known accounts: {', '.join(known)}.")
    upload = parse_reading(name, content, account)
    return await keep_reading(systems.ledger, systems.clock, upload, by, check_reading)


def file_bytes(path: Path) -> bytes:
    """The file's content; UsageError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).", "Name a file that exists.") from None


def line_of(task: Task) -> str:
    """A task on one line."""
    who = f"{task.by} until {iso(task.until)}" if task.by and task.until else task.by
    return f"{task.key}  {task.standing:<9} {task.account:<12} {task.button} {task.target}  {who}".rstrip()


def page_of(task: Task) -> list[str]:
    """A task with its instructions."""
    steps = [f"  {n}. {step}" for n, step in enumerate(task.steps, start=1)]
    link = [f"  Page: {task.link}"] if task.link else []
    return [line_of(task), *link, *steps]
