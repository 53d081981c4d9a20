"""What `allclear task` and the flow `task` do; every function returns the exit code or one page of text."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from recovery.errors import UsageError
from recovery.model import iso
from recovery.readings import keep_reading, parse_reading
from recovery.report.markdown import code
from recovery.served.forms import TaskForm
from recovery.settings import Settings, load_settings
from recovery.tasks import DONE, Task, Tasks, Terms
from recovery.terminal.terminal import clean, print_json
from recovery.wiring import Systems, check_reading, open_systems

View = dict[str, Any]
NO_ACCOUNTS = ("",)
GO = "Click now, once. Then say done, not-done or not-sure."


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


async def list_tasks(config: Path | None, every: bool, *, as_json: bool) -> int:
    """`allclear task list`: exit code 3 when something waits for a person."""
    async with open_tasks(config) as (tasks, _):
        found = [t for t in await tasks.all() if every or t.standing != DONE]
    waiting = [t for t in found if t.standing != DONE]
    code = 3 if waiting else 0
    if as_json:
        print_json({"schema": "allclear.tasks/1", "tasks": [task_view(t) for t in found], "exit_code": code})
    else:
        _say([line_of(t) for t in found] or ["Nothing waits for a person."])
    return code


async def show(config: Path | None, key: str, *, as_json: bool) -> int:
    """`allclear task show`."""
    async with open_tasks(config) as (tasks, systems):
        task = await tasks.find(key)
        said = await systems.ledger.stream(f"task/{task.key}")
    story = [{"at": iso(e.at), "what": e.kind, "by": e.by, "note": str(e.data.get("note", ""))} for e in said]
    if as_json:
        print_json({"schema": "allclear.task/1", "task": task_view(task), "story": story, "exit_code": 0})
    else:
        _say([*page_of(task), "", *(f"{s['at']}  {s['what']:<10} {s['by']}  {s['note']}".rstrip() for s in story)])
    return 0


async def move(config: Path | None, what: str, key: str, by: str, reason: str = "", *, as_json: bool) -> int:
    """`claim`, `about-to-click`, `not-done` and `not-sure`."""
    async with open_tasks(config) as (tasks, _):
        task = await _moved(tasks, what, key, by, reason)
    return _shown(task, as_json, what)


async def _moved(tasks: Tasks, what: str, key: str, by: str, reason: str) -> Task:
    if what == "claim":
        return await tasks.claim(key, by)
    if what == "about_to_click":
        return await tasks.about_to_click(key, by)
    return await (tasks.not_done if what == "not_done" else tasks.not_sure)(key, by, reason)


async def done(config: Path | None, key: str, by: str, evidence: Path, run: str, note: str, *, as_json: bool) -> int:
    """`allclear task done`."""
    content = file_bytes(evidence)
    async with open_tasks(config) as (tasks, _):
        task = await tasks.done(key, by, (evidence.name, content), ref=run, note=note)
    return _shown(task, as_json, "done")


async def read(config: Path | None, file: Path, account: str, by: str, *, as_json: bool) -> int:
    """`allclear task read`."""
    content = file_bytes(file)
    async with open_tasks(config) as (_, systems):
        said = await _keep(systems, file.name, content, account, by)
    if as_json:
        print_json({"schema": "allclear.reading/1", "account": account, "by": by, "said": said, "exit_code": 0})
    else:
        _say([said])
    return 0


async def _keep(systems: Systems, name: str, content: bytes, account: str, by: str) -> str:
    known = [a.name for a in systems.settings.accounts]
    if account not in known:
        raise UsageError(f"There is no account {account!r}.", f"Known accounts: {', '.join(known)}.")
    upload = parse_reading(name, content, account)
    return await keep_reading(systems.ledger, systems.clock, upload, by, check_reading)


async def served(form: TaskForm) -> str:
    """One move from the Prefect UI; the page to show. Raises what the command line would say."""
    async with open_tasks(form.config) as (tasks, systems):
        if form.what == "list":
            found = [t for t in await tasks.all() if t.standing != DONE]
            return "\n".join(line_of(t) for t in found) or "Nothing waits for a person."
        if form.what == "read":
            name = f"reading.{form.reading_form}"
            return await _keep(systems, name, form.text.encode(), form.account, form.by)
        if form.what == "done":
            given = file_bytes(Path(form.evidence_file)) if form.evidence_file else form.text.encode()
            name = Path(form.evidence_file).name if form.evidence_file else "pasted text"
            task = await tasks.done(form.task, form.by, (name, given), ref=form.run, note=form.reason)
        elif form.what == "show":
            task = await tasks.find(form.task)
        else:
            task = await _moved(tasks, form.what, form.task, form.by, form.reason)
    go = [GO] if form.what == "about_to_click" else []
    return "\n".join([*go, *page_of(task)])


def as_markdown(page: str) -> str:
    """The page for an artifact: every line is code, so nothing in it can become markup."""
    return "\n\n".join(code(line) for line in page.splitlines() if line.strip())


def file_bytes(path: Path) -> bytes:
    """The file's content; UsageError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).", "Name a file that exists.") from None


def task_view(task: Task) -> View:
    """A task as JSON."""
    return {
        "key": task.key,
        "account": task.account,
        "standing": task.standing,
        "button": task.button,
        "target": task.target,
        "by": task.by,
        "until": iso(task.until) if task.until else None,
        "opened_at": iso(task.opened_at),
        "allowed_at": iso(task.allowed_at),
        "link": task.link,
        "steps": list(task.steps),
        "run": task.ref,
        "evidence": task.evidence,
        "note": task.note,
    }


def line_of(task: Task) -> str:
    """A task on one line."""
    who = f"{task.by} until {iso(task.until)}" if task.by and task.until else task.by
    return f"{task.key}  {task.standing:<9} {task.account:<12} {task.button} {task.target}  {who}".rstrip()


def page_of(task: Task) -> list[str]:
    """A task with its instructions."""
    steps = [f"  {n}. {step}" for n, step in enumerate(task.steps, start=1)]
    link = [f"  Page: {task.link}"] if task.link else []
    return [line_of(task), *link, *steps]


def _shown(task: Task, as_json: bool, what: str) -> int:
    if as_json:
        print_json({"schema": "allclear.task/1", "task": task_view(task), "exit_code": 0})
        return 0
    _say(page_of(task))
    if what == "about_to_click":
        _say(["", GO])
    if what == "done":
        _say(["", "Recorded. Upload the Activity Log and the Console, then run `allclear recover` again."])
    return 0


def _say(lines: list[str]) -> None:
    sys.stdout.write("".join(f"{clean(line)}\n" for line in lines))
    sys.stdout.flush()
