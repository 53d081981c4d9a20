"""The calls of `operate` in the shape that the flows need: forms in, pages out. Knows no Prefect.

A served run opens everything once, fixes its window once (so that "the last two hours" is the same two hours for every
account), and returns pages of plain values. Errors are those of `operate`: one sentence, raised.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from recovery.answers import give
from recovery.approvals import acting, consent, lacking, refuse_unnamed
from recovery.audit import MOST_READ_AT_ONCE, AccountAudit, AuditResult
from recovery.errors import UsageError
from recovery.hints import next_for
from recovery.model import Approval, Finding, OutageWindow, Plan, iso
from recovery.operate import RecoverResult, Run, audit_exit_code, audit_window, plan_from
from recovery.plan import select
from recovery.ports import Tell
from recovery.report.markdown import prose
from recovery.report.of_run import build
from recovery.report.report import render_markdown
from recovery.served.audits import LookBack, look_back, record
from recovery.served.forms import AnswerForm, ApprovalForm, RecoverForm, RejectionForm, WindowForm
from recovery.served.pages import (
    AWAITING,
    Page,
    Tally,
    audit_page,
    not_run,
    nothing_to_do,
    plan_page,
    recovery_page,
)
from recovery.settings import load_settings
from recovery.views import audit_view, recover_view
from recovery.window import make_window
from recovery.wiring import Systems, open_systems, silent

SHORTEST_DIGEST = 6

Read = tuple[tuple[Finding, ...], AccountAudit]


@dataclass(frozen=True, slots=True)
class Reading:
    """An audit that is done account by account, so that each is a task of its own."""

    systems: Systems
    window: OutageWindow
    severity: str = ""
    recorded: Plan | None = None
    asked: LookBack | None = None
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_READ_AT_ONCE))

    @property
    def accounts(self) -> tuple[str, ...]:
        """Which accounts are to be read."""
        return self.window.accounts

    async def account(self, name: str) -> Read:
        """One account's findings; what could not be read of it is among them, as uncertain."""
        async with self.room:
            window = replace(self.window, accounts=(name,))
            if self.asked is not None:
                window = replace(window, started_at=self.asked.of(name))
            result = await audit_window(self.systems, window)
        return result.findings, result.accounts[0]

    def whole(self, parts: Sequence[Read]) -> AuditResult:
        """The parts of every account as one audit."""
        findings = sorted((f for found, _ in parts for f in found), key=lambda f: f.slot)
        return AuditResult(self.window, tuple(findings), tuple(read for _, read in parts))

    async def audit(self, parts: Sequence[Read]) -> Page:
        """What was due and what happened."""
        result = self.whole(parts)
        text, note = render_markdown(await build(self.systems, result, "audit")), ""
        if self.asked is not None:
            await record(self.systems.ledger, self.asked, self.window.ended_at, result.accounts)
            note = self.asked.note
        view = audit_view(result, audit_exit_code(result))
        return audit_page(view, text, self.window, self.severity, note)

    async def plan(self, parts: Sequence[Read], most_items: int | None) -> Page:
        """A frozen plan, recorded, as a page to decide from; with a recorded one, that one and the present state."""
        result = self.whole(parts)
        made = self.recorded or await plan_from(self.systems, result)
        if made is None:
            return nothing_to_do(render_markdown(await build(self.systems, result, "audit")))
        if most_items is not None and self.recorded is None:
            made = select(made, self.systems.policy, most=most_items)
            await self.systems.ledger.save_plan(made)
        page = plan_page(made, render_markdown(await build(self.systems, result, "plan", plan=made)))
        over = await _ended(self.systems, made, "") if self.recorded else None
        if over is None or over.state == AWAITING:
            return page
        return replace(page, state=over.state, title=over.title, happenings=(), steps=())


@asynccontextmanager
async def reading(form: WindowForm, tell: Tell = silent, *, plan: str = "") -> AsyncIterator[Reading]:
    """Opens the accounts of the form, or of a recorded plan. Raises UsageError, ConfigError, LedgerError."""
    settings = load_settings(form.config)
    async with open_systems(settings, tell=tell) as systems:
        recorded = await _recorded(systems, plan) if plan else None
        now, asked = systems.clock.now(), None
        if form.catch_up and form.last_hours and not (recorded or form.start or form.end):
            most = timedelta(hours=systems.policy.limits.window_hours)
            asked = await look_back(systems.ledger, now, timedelta(hours=form.last_hours), most)
        window = recorded.window if recorded else window_of(form, systems, now, asked.earliest if asked else None)
        if isinstance(tell, Tally):
            tell.total = len(window.accounts)
        yield Reading(systems, window, form.severity, recorded, asked)


def window_of(form: WindowForm, systems: Systems, now: datetime, since: datetime | None = None) -> OutageWindow:
    """The form's window, checked; `since` stands instead of the last hours. Raises UsageError with one sentence."""
    if form.start and form.end:
        if form.start.tzinfo is None or form.end.tzinfo is None:
            raise UsageError("The times of the outage need a time zone.", "Choose one in the form.")
        started_at, ended_at = form.start, form.end
    elif form.start or form.end:
        raise UsageError("The outage has only one of start and end.", "Give both, or the last hours.")
    elif form.last_hours:
        started_at, ended_at = since or now - timedelta(hours=form.last_hours), now
    else:
        raise UsageError("Which outage? Give start and end, or the last hours.", "Fill in the form.")
    return make_window(
        started_at,
        ended_at,
        form.accounts,
        [a.name for a in systems.accounts],
        now=now,
        most_hours=systems.policy.limits.window_hours,
        incident=form.incident,
    )


async def _recorded(systems: Systems, digest: str) -> Plan:
    """The recorded plan that a digest, or the beginning of one, names."""
    made = await systems.ledger.plan(digest.strip()) if len(digest.strip()) >= SHORTEST_DIGEST else None
    if made is None:
        raise UsageError(f"There is no plan {digest!r} in the ledger.", "The page of the plan's run names its digest.")
    return made


async def run_recorded_plan(form: WindowForm, how: RecoverForm, tell: Tell = silent) -> Page:
    """Runs an approved plan to its end; as long as it lacks an approval it does nothing and says so."""
    settings = load_settings(form.config)
    async with open_systems(settings, tell=tell) as systems:
        made = await _recorded(systems, how.plan)
        if isinstance(tell, Tally):
            tell.total = len(made.items)
        ended = await _ended(systems, made, how.started_by.strip())
        if ended is not None:
            return ended
        refuse_unnamed(made, how.started_by, systems.policy, "Fill in `started_by` in the form.")
        done = await Run(systems, made, _starter(how)).recover()
        actions = {r.slot_key: await systems.ledger.actions(r.slot_key) for r in done.items}
        view = recover_view(done, actions, iso(systems.clock.now()))
        return recovery_page(done, view, await _report(systems, done))


async def _ended(systems: Systems, made: Plan, starter: str) -> Page | None:
    """The page of a plan that is not to be run, and why; None for one that may."""
    if no := await systems.ledger.rejection(made.digest):
        return not_run(made, "Rejected", "was rejected; this run did nothing", f"Rejected by {prose(no)}.")
    if not acting(made):
        return None
    if systems.clock.now() >= made.expires_at:
        why = f"expired at {iso(made.expires_at)}; this run did nothing"
        return not_run(made, "Expired", why, "Make a new plan: it goes on from what was done.")
    if await systems.ledger.items(plan=made.digest):
        return None  # a run has taken it up, and goes on
    approvals = await systems.ledger.approvals(made.digest)
    missing = lacking(made, consent(made, approvals, systems.policy, systems.clock.now(), starter))
    if missing:
        return not_run(made, AWAITING, "waits for approval; nothing was done", f"{missing[:1].upper()}{missing[1:]}.")
    return None


def _starter(how: RecoverForm) -> str:
    return how.started_by.strip() or os.environ.get("USER", "") or "prefect"


async def _report(systems: Systems, done: RecoverResult) -> str:
    if done.after is None:
        return "Stopped before everything was read again. Run it once more: it goes on from the ledger."
    made = await build(
        systems,
        done.after,
        "recover",
        plan=done.plan,
        items=done.items,
        balance=done.balance,
        ticket=done.ticket,
        problems=done.problems,
    )
    return render_markdown(made)


async def approve_plan(given: ApprovalForm) -> str:
    """Records an approval; says what the plan still lacks, or who may start it.

    Raises RefusedError when the numbers, the caveat or the time do not fit the plan.
    """
    settings = load_settings(given.config)
    async with open_systems(settings) as systems:
        made, now = await _recorded(systems, given.plan), systems.clock.now()
        items = tuple(given.items)
        if given.waves is not None:
            if items:
                raise UsageError("Items and waves are two ways to approve a part.", "Give one of them.")
            items = tuple(i.slot.key for i in acting(made) if i.wave <= given.waves)
            if not items:
                raise UsageError(f"The plan has nothing to approve up to wave {given.waves}.", "Its table shows them.")
        await systems.ledger.approve(
            Approval(
                made.digest,
                given.approved_by.strip(),
                now,
                given.recipients,
                given.caveat_read,
                items,
                given.reason,
            )
        )
        approvals = await systems.ledger.approvals(made.digest)
        following, _ = next_for(made, approvals, consent(made, approvals, systems.policy, now, ""), systems.policy)
    part = f"{len(items)} item{'' if len(items) == 1 else 's'} of " if items else ""
    recorded = f"{given.approved_by.strip()} approves {part}plan {made.digest[:12]} ({given.recipients} recipients)."
    return f"{recorded} {following.removesuffix(':')}."


async def reject_plan(given: RejectionForm) -> str:
    """Records a rejection. Raises RefusedError when nobody or no reason is named, or this person may not reject."""
    settings = load_settings(given.config)
    async with open_systems(settings) as systems:
        made = await _recorded(systems, given.plan)
        await systems.ledger.reject(made.digest, given.rejected_by.strip(), systems.clock.now(), given.reason)
    return f"{given.rejected_by.strip()} rejects plan {made.digest[:12]}"


async def answer_held(given: AnswerForm) -> str:
    """Records an answer; says what follows."""
    settings = load_settings(given.config)
    async with open_systems(settings) as systems:
        return await give(systems.ledger, systems.clock, given.item, given.choice, given.answered_by, given.reason)
