"""Flow: one step of an announcement, from the Prefect UI."""

from __future__ import annotations

from typing import Any

from prefect import State, flow

from flows.pages import show
from recovery.served.desk import serve_announcement
from recovery.served.desk_forms import AnnounceForm


@flow(name="announce", description="Prepare, approve and follow up an announcement of an incident.", retries=0)
async def announce(step: AnnounceForm) -> State[Any]:
    """Takes one step; words go out only when a named person approves exactly them, and at most once.

    Args:
        step: The incident, the step, your name, and what the step needs.
    """
    return await show(serve_announcement(step))
