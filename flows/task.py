"""Flow: assisted mode from the Prefect UI, one move a run."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact

from recovery.served.forms import TaskForm
from recovery.served.task import as_markdown, serve_task


@flow(name="task", description="Assisted mode: claim a task, click once, say what came of it.", retries=0)
async def task(move: TaskForm) -> str:
    """One move of one task; the page says what to do next.

    Args:
        move: What to do, which task, and your name.
    """
    page = await serve_task(move)
    await acreate_markdown_artifact(as_markdown(page), key="task", description="Assisted mode")
    return page
