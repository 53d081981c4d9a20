"""Monitor: watch until it goes by itself or its time is over, then ask (R001.9, R001.22). Acts on nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

from recovery.act import Ended
from recovery.model import Kind, Saw
from recovery.recipes.context import Context, held, skipped
from recovery.testify import IN_PROGRESS_STATES, counts_of, run_saw


async def monitor(context: Context) -> Ended:
    """Polls until done or until the limit; at the limit a person is asked, never a copy sent."""
    if context.item.slot.kind == Kind.CAMPAIGN:
        return await _campaign(context)
    return await _job(context)


async def _campaign(context: Context) -> Ended:
    limit = context.item.slot.due_at + timedelta(seconds=context.policy.waits.monitor)
    ref = context.item.slot.object_ref
    while True:
        campaign = await context.account.campaigns.campaign(ref)
        if campaign.status == "5" and campaign.send_amt > 0:
            report = await context.account.campaigns.report(ref)
            if report.send_amt > 0:
                return skipped(f"it went out by itself while it was watched: {report.send_amt} sent")
        if context.clock.now() >= limit:
            return held(
                f"Campaign {ref} was watched for {context.policy.waits.monitor / 60:g} minutes after its time and has "
                f"sent {campaign.send_amt} of {campaign.total_amt}. {context.item.question}".strip(),
                "resend" if campaign.send_amt == 0 else "wait",
                *(("resend",) if campaign.send_amt == 0 else ()),
            )
        await _pause(context, limit)


async def _job(context: Context) -> Ended:
    run_ref = str(context.item.before.get("run") or "")
    started = context.item.before.get("started_at") or context.item.before.get("scheduled_for")
    since = datetime.fromisoformat(started) if isinstance(started, str) else None
    limit = (since or context.item.slot.due_at) + timedelta(seconds=context.policy.waits.running_limit)
    age = f"after {context.policy.waits.running_limit / 60:g} minutes" if since else "and nothing tells since when"
    while run_ref:
        run = await context.account.jobs.run(run_ref)
        if run_saw(run) is Saw.WORKED:
            return skipped(": ".join((f"run {run.ref} came to its end by itself", *counts_of(run)[:1])))
        if run.state not in IN_PROGRESS_STATES:
            return held(f"Run {run.ref} ended as {run.state} while it was watched. What should be done?")
        if context.clock.now() >= limit:
            return held(
                f"Run {run.ref} is still in progress {age}. Attempt to stop it and reprocess?",
                "reprocess",
                "reprocess",
            )
        await _pause(context, limit)
    return held("It was not late yet when it was looked at. Run the audit again.", "wait")


async def _pause(context: Context, limit: datetime) -> None:
    left = (limit - context.clock.now()).total_seconds()
    await context.clock.sleep(max(0.05, min(context.policy.waits.poll, left)))
