"""Flow: one round of everything that must happen by itself; every minute."""

from __future__ import annotations

from typing import Any

from prefect import State, flow

from flows.pages import show
from recovery.served.desk import serve_round
from recovery.served.desk_forms import RoundForm


@flow(name="watch", description="One round: mails, clocks, expiries, deliveries, late originals.", retries=0)
async def watch(what: RoundForm) -> State[Any]:
    """Does what is due now and looks for what moved by itself; each thing is told once.

    Args:
        what: Which parts of the round to make; both unless told otherwise.
    """
    return await show(serve_round(what))
