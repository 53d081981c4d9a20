"""Flows: make a plan, approve it, run it, answer what is held. Nobody waits inside a run while people think."""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from recovery.forms import AnswerForm, ApprovalForm, RecoverForm, WindowForm
from recovery.served import answer_held, approve_plan, make_recorded_plan, run_recorded_plan


@task(name="make the plan", retries=0)
async def make_plan(outage: WindowForm, how: RecoverForm) -> dict[str, Any]:
    """Audits and records a frozen plan."""
    return await make_recorded_plan(outage, how)


@task(name="run the plan", retries=0)
async def run_plan(outage: WindowForm, how: RecoverForm) -> dict[str, Any]:
    """Acts at most once, proves it, files the ticket."""
    return await run_recorded_plan(outage, how)


@flow(name="recover", description="Plan a recovery, or run an approved plan by its digest.", retries=0)
async def recover(outage: WindowForm, how: RecoverForm) -> dict[str, Any]:
    """Without a plan digest: makes and records a plan, to be approved. With one: runs it.

    Args:
        outage: The outage window and the accounts; not needed with a plan digest.
        how: Which plan, who starts it, and whether it is a dry run.
    """
    made = await (run_plan(outage, how) if how.plan and not how.dry_run else make_plan(outage, how))
    await acreate_table_artifact(made["rows"], key=made["artifact"], description=made["title"])
    await acreate_markdown_artifact(made["text"], key=f"{made['artifact']}-report", description=made["title"])
    if made["exit_code"] == 1:
        raise RuntimeError(made["title"])
    return {k: made[k] for k in ("title", "digest", "exit_code")}


@flow(name="approve", description="Approve a recorded plan by its digest.", retries=0)
async def approve(approval: ApprovalForm) -> str:
    """Lets a plan act; bound to its digest, your name and the recipients you read.

    Args:
        approval: The plan, your name, and the number of recipients.
    """
    return await approve_plan(approval)


@flow(name="answer", description="Answer a held item.", retries=0)
async def answer(given: AnswerForm) -> str:
    """Answers a held item; the next recovery acts on it.

    Args:
        given: The item, the answer, your name and the reason.
    """
    return await answer_held(given)
