"""What `allclear task` does; every function returns the exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from recovery.model import iso
from recovery.task_moves import GO, NONE_WAITS, file_bytes, line_of, make_move, open_tasks, page_of, take_reading
from recovery.tasks import DONE, Task
from recovery.terminal.terminal import clean, print_json

View = dict[str, Any]


async def list_tasks(config: Path | None, every: bool, *, as_json: bool) -> int:
    """`allclear task list`: exit code 3 when something waits for a person."""
    async with open_tasks(config) as (tasks, _):
        found = [t for t in await tasks.all() if every or t.standing != DONE]
    waiting = [t for t in found if t.standing != DONE]
    code = 3 if waiting else 0
    if as_json:
        print_json({"schema": "allclear.tasks/1", "tasks": [task_view(t) for t in found], "exit_code": code})
    else:
        _say([line_of(t) for t in found] or [NONE_WAITS])
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
        task = await make_move(tasks, what, key, by, reason)
    return _shown(task, as_json, what)


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
        said = await take_reading(systems, file.name, content, account, by)
    if as_json:
        print_json({"schema": "allclear.reading/1", "account": account, "by": by, "said": said, "exit_code": 0})
    else:
        _say([said])
    return 0


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
