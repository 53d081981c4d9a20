"""Flows: make a plan, approve it, run it, answer what is held. Nobody waits inside a run while people think."""

from __future__ import annotations

from typing import Any

from prefect import State, flow, task
from prefect.cache_policies import NO_CACHE

from flows.audit import read_accounts
from flows.pages import progress, refused, said, show
from recovery.errors import AllclearError
from recovery.served.forms import AnswerForm, ApprovalForm, RecoverForm, RejectionForm, WindowForm
from recovery.served.pages import Page, Tally
from recovery.served.recovery import answer_held, approve_plan, reading, reject_plan, run_recorded_plan


async def make_plan(outage: WindowForm, how: RecoverForm) -> Page:
    """Audits each account in a task of its own and records a frozen plan."""
    tally = Tally()
    async with reading(outage, tally, plan=how.plan) as work, progress(tally, "audit-progress"):
        return await work.plan(await read_accounts(work), how.most_items)


@task(name="run the plan", task_run_name="run the plan", retries=0, cache_policy=NO_CACHE, persist_result=False)
async def run_plan(outage: WindowForm, how: RecoverForm) -> Page | State[Any]:
    """Acts at most once, proves it, files the ticket. Never retried here: the ledger settles what is open."""
    tally = Tally()
    async with progress(tally, "recovery-progress"):
        try:
            return await run_recorded_plan(outage, how, tally)
        except AllclearError as error:
            return refused(error)


@flow(name="recover", description="Plan a recovery, or run an approved plan by its digest.", retries=0)
async def recover(outage: WindowForm, how: RecoverForm) -> State[Any]:
    """Without a plan digest: makes and records a plan, to be approved. With one: runs it.

    Args:
        outage: The outage window and the accounts; not needed with a plan digest.
        how: Which plan, who starts it, and whether it is a dry run.
    """
    return await show(run_plan(outage, how) if how.plan and not how.dry_run else make_plan(outage, how))


@flow(name="approve", description="Approve a recorded plan by its digest.", retries=0)
async def approve(approval: ApprovalForm) -> State[Any]:
    """Lets a plan act; bound to its digest, your name and the recipients you read.

    Args:
        approval: The plan, your name, and the number of recipients.
    """
    return await said(approve_plan(approval))


@flow(name="reject", description="Reject a recorded plan by its digest.", retries=0)
async def reject(rejection: RejectionForm) -> State[Any]:
    """The plan is never run, whoever approves it; a running one stops before its next item.

    Args:
        rejection: The plan, your name and the reason.
    """
    return await said(reject_plan(rejection))


@flow(name="answer", description="Answer a held item.", retries=0)
async def answer(given: AnswerForm) -> State[Any]:
    """Answers a held item; the next recovery acts on it.

    Args:
        given: The item, the answer, your name and the reason.
    """
    return await said(answer_held(given))
