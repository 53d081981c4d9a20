"""Flow: assisted mode from the Prefect UI, one move a run."""

from __future__ import annotations

from typing import Any

from prefect import State, flow
from prefect.artifacts import acreate_markdown_artifact

from flows.pages import publish, said
from recovery.served.forms import TaskForm
from recovery.served.task import as_markdown, serve_task


@flow(name="task", description="Assisted mode: claim a task, click once, say what came of it.", retries=0)
async def task(move: TaskForm) -> State[Any]:
    """One move of one task; the page says what to do next.

    Args:
        move: What to do, which task, and your name.
    """
    return await said(_moved(move))


async def _moved(move: TaskForm) -> str:
    """The first line of the page, which stands whole in the artifact."""
    page = await serve_task(move)
    await publish(acreate_markdown_artifact(as_markdown(page), key="task", description="Assisted mode"))
    return page.splitlines()[0]
