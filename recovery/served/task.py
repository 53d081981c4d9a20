"""Assisted mode for the Prefect UI: one move a run, one page of text. The same moves as at the terminal."""

from __future__ import annotations

from pathlib import Path

from recovery.report.markdown import code
from recovery.served.forms import TaskForm
from recovery.task_moves import GO, NONE_WAITS, file_bytes, line_of, make_move, open_tasks, page_of, take_reading
from recovery.tasks import DONE


async def serve_task(form: TaskForm) -> str:
    """One move from the Prefect UI; the page to show. Raises what the command line would say."""
    async with open_tasks(form.config) as (tasks, systems):
        if form.what == "list":
            found = [t for t in await tasks.all() if t.standing != DONE]
            return "\n".join(line_of(t) for t in found) or NONE_WAITS
        if form.what == "read":
            name = f"reading.{form.reading_form}"
            return await take_reading(systems, name, form.text.encode(), form.account, form.by)
        if form.what == "done":
            given = file_bytes(Path(form.evidence_file)) if form.evidence_file else form.text.encode()
            name = Path(form.evidence_file).name if form.evidence_file else "pasted text"
            task = await tasks.done(form.task, form.by, (name, given), ref=form.run, note=form.reason)
        elif form.what == "show":
            task = await tasks.find(form.task)
        else:
            task = await make_move(tasks, form.what, form.task, form.by, form.reason)
    go = [GO] if form.what == "about_to_click" else []
    return "\n".join([*go, *page_of(task)])


def as_markdown(page: str) -> str:
    """The page for an artifact: every line is code, so nothing in it can become markup."""
    return "\n\n".join(code(line) for line in page.splitlines() if line.strip())
