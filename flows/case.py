"""Flows: open and check a case of a playbook, and take one step of it. The page shows the evidence cards."""

from __future__ import annotations

from typing import Any

from prefect import State, flow

from flows.pages import show
from recovery.served.case import serve_case, serve_step
from recovery.served.forms import CaseForm, CaseStepForm


@flow(name="case", description="Open a case of a playbook and run its checks. Reads only.", retries=0)
async def case(complaint: CaseForm) -> State[Any]:
    """Asks for what is missing, or runs every check and names every cause; the page says who is waited for.

    Args:
        complaint: Account, template, campaign or journey, and your name.
    """
    return await show(serve_case(complaint))


@flow(name="case-step", description="Take one step of a case: attest, reply, escalate, resolve.", retries=0)
async def case_step(step: CaseStepForm) -> State[Any]:
    """Takes one step; what it asks of tickets, chat and mail happens at most once.

    Args:
        step: The case, the step, your name, and what the step needs.
    """
    return await show(serve_step(step))
