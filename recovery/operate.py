"""The calls that the terminal and the flows share: audit, plan, recover. One engine, three ways in."""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from recovery.act import Ended, Runner
from recovery.approvals import Consent, acting, consent
from recovery.audit import AuditResult, audit
from recovery.desk.filing import (
    file_ticket,
    incident_key,
    note_on_ticket,
    post_notice,
    post_once,
    recovery_draft,
)
from recovery.item_story import keep_witnesses
from recovery.ledger.rows import ActionSpec, ItemRow
from recovery.memory import LedgerMemory, NoMemory
from recovery.model import (
    ActionKind,
    Answer,
    Balance,
    Harm,
    ItemOutcome,
    OutageWindow,
    Plan,
    PlanItem,
    Verdict,
    action_key,
)
from recovery.plan import make_plan
from recovery.ports import TicketRef
from recovery.proof import closing_balance
from recovery.recover import Recovery, open_accounts
from recovery.report.words import OUTSIDE_SHOWN
from recovery.watch import Round, Sighting, Watcher
from recovery.wiring import Systems

EXIT_ALL_CLEAR = 0
EXIT_FAILED = 1
EXIT_HELD = 3
EXIT_FINDINGS = 4


@dataclass(frozen=True, slots=True)
class RecoverResult:
    """What one run of a plan came to."""

    plan: Plan
    consent: Consent
    items: tuple[ItemRow, ...]
    after: AuditResult | None
    balance: Balance | None
    ticket: TicketRef | None = None
    notice: str = ""
    problems: tuple[str, ...] = ()
    stopped: bool = False

    @property
    def exit_code(self) -> int:
        """0 all clear, 1 failed, 3 something is held, or left open (by a selection, too)."""
        if self.balance is not None and not self.balance.adds_up:
            return EXIT_FAILED
        if self.problems:
            return EXIT_FAILED
        waiting = [i for i in self.items if i.outcome in (ItemOutcome.HELD, ItemOutcome.OPEN)]
        left = self.balance is not None and self.balance.outside
        return EXIT_HELD if waiting or left or self.stopped else EXIT_ALL_CLEAR


async def audit_window(systems: Systems, window: OutageWindow, *, remember: bool = True) -> AuditResult:
    """What was due and what happened; reads only."""
    memory = LedgerMemory(systems.ledger) if remember else NoMemory()
    accounts = [a for a in systems.accounts if a.name in window.accounts]
    systems.tell("begin", {"what": "accounts", "total": len(accounts)})
    return await audit(window, accounts, systems.policy, systems.secret, systems.clock, memory, systems.tell)


def audit_exit_code(result: AuditResult) -> int:
    """0 nothing to do, 3 something is uncertain, 4 there are findings."""
    open_findings = [f for f in result.findings if f.verdict is not Verdict.DONE]
    if not open_findings:
        return EXIT_ALL_CLEAR
    return EXIT_FINDINGS if any(f.verdict is not Verdict.UNCERTAIN for f in open_findings) else EXIT_HELD


async def plan_from(systems: Systems, result: AuditResult) -> Plan | None:
    """A frozen plan over the findings, recorded in the ledger; None when nothing needs anything."""
    answers: dict[str, Answer] = {}
    generations: dict[str, int] = {}
    for finding in result.findings:
        if finding.verdict is Verdict.DONE:
            continue
        given = await systems.ledger.answers(finding.slot.key)
        if given:
            answers[finding.slot.key] = given[-1]
        row = await systems.ledger.item(finding.slot.key)
        if row is not None and row.generation:
            generations[finding.slot.key] = row.generation
    plan = make_plan(
        result.window,
        result.findings,
        systems.policy,
        systems.secret,
        systems.clock.now(),
        generations,
        answers,
        await _cut_off(systems, result),
    )
    if not plan.items:
        return None
    await systems.ledger.save_plan(plan)
    await keep_witnesses(systems.ledger, plan, result.findings)
    return plan


async def _cut_off(systems: Systems, result: AuditResult) -> list[PlanItem]:
    """Items whose effect shows at the remotes although the ledger has no end for them: a run died after its effect.

    They are planned as they were, so that what is in flight is settled by reading and the item ends; else an account's
    next release would wait behind it for ever.
    """
    done = {f.slot.key for f in result.findings if f.verdict is Verdict.DONE}
    left: dict[str, set[str]] = defaultdict(set)
    for row in await systems.ledger.items(outcome=ItemOutcome.OPEN):
        if row.slot_key in done:
            left[row.plan_digest].add(row.slot_key)
    items: list[PlanItem] = []
    for digest, keys in left.items():
        made = await systems.ledger.plan(digest)
        items += [item for item in (made.items if made else ()) if item.slot.key in keys]
    return items


@dataclass(slots=True)
class Run:
    """One recovery: the plan, who starts it, and how to stop it."""

    systems: Systems
    plan: Plan
    starter: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    alarm: Callable[[str], Awaitable[None]] | None = None

    async def recover(self) -> RecoverResult:
        """Acts, audits again, adds up, files. Raises RefusedError and LedgerError; the rest is in the result."""
        s = self.systems
        await s.ledger.start(self.plan.digest, self.starter, s.clock.now())
        agreed = consent(self.plan, await s.ledger.approvals(self.plan.digest), s.policy, s.clock.now(), self.starter)
        if not acting(self.plan):
            agreed = Consent(frozenset(), "")
        recovery = Recovery(
            plan=self.plan,
            accounts=open_accounts(s.accounts),
            ledger=s.ledger,
            policy=s.policy,
            secret=s.secret,
            clock=s.clock,
            tell=s.tell,
            consent=agreed,
            run_ref=self.plan.digest,  # the caps of a run hold for all its workers, and for all its starts
            switched_off=s.switched_off,
            stop=self.stop,
            alarm=self.alarm,
            objection=lambda: s.ledger.rejection(self.plan.digest),
            leases=s.ledger.leases,
        )
        s.tell("begin", {"what": "items", "total": len(self.plan.items)})
        await recovery.run()
        items = await self._items()
        if self.stop.is_set():
            return RecoverResult(self.plan, agreed, items, None, None, problems=tuple(recovery.problems), stopped=True)
        s.tell("proof", {"window": self.plan.window.incident_ref})
        after = await self._unless_stopped(audit_window(s, self.plan.window, remember=False))
        if after is None:
            return RecoverResult(self.plan, agreed, items, None, None, problems=tuple(recovery.problems), stopped=True)
        closing = closing_balance(self.plan, after.findings, items)
        ticket, notice, trouble = await self._file(recovery, closing, items)
        return RecoverResult(
            self.plan, agreed, items, after, closing, ticket, notice, (*recovery.problems, *trouble), stopped=False
        )

    async def _unless_stopped(self, reading: Coroutine[Any, Any, AuditResult]) -> AuditResult | None:
        """What the reading found, or None when the operator stops it: reads may be left at any moment."""
        work, stopping = asyncio.ensure_future(reading), asyncio.ensure_future(self.stop.wait())
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
        return None if work.cancelled() else work.result()

    async def _items(self) -> tuple[ItemRow, ...]:
        """Every item of the incident, and those of this plan that an overlapping incident brought in first."""
        ledger = self.systems.ledger
        rows = {r.slot_key: r for r in await ledger.items(incident=self.plan.window.incident_ref)}
        rows |= {r.slot_key: r for r in await ledger.items(plan=self.plan.digest)}
        return tuple(rows[k] for k in sorted(rows))

    async def _file(
        self, recovery: Recovery, closing: Balance, items: Sequence[ItemRow]
    ) -> tuple[TicketRef | None, str, list[str]]:
        s, window, trouble = self.systems, self.plan.window, []
        ticket, notice = None, ""
        if s.tickets is not None:
            try:
                draft = recovery_draft(window, closing, items, [*recovery.problems, *outside_lines(closing)])
                filed = await s.ledger.action(incident_key(s.secret, window, ActionKind.TICKET))
                ticket = await file_ticket(recovery.runner, s.secret, window, draft, s.tickets)
                if filed is not None:
                    lines = [draft.summary, *(line for _, part in draft.sections for line in part)]
                    await note_on_ticket(recovery.runner, s.secret, window, ticket, closing, lines, s.tickets)
            except Ended as ended:
                trouble.append(f"The incident ticket could not be filed: {ended.reason}")
        if s.chat is not None and s.channel:
            try:
                notice = await self._tell_channel(recovery, closing, ticket)
            except Ended as ended:
                trouble.append(f"The notice could not be posted: {ended.reason}")
        return ticket, notice, trouble

    async def _tell_channel(self, recovery: Recovery, closing: Balance, ticket: TicketRef | None) -> str:
        s, window = self.systems, self.plan.window
        assert s.chat is not None
        text = (
            f"Recovery of {window.incident_ref}: {closing.recovered} recovered, {closing.held} held, "
            f"{closing.skipped} skipped, {closing.doubles} doubles"
        )
        lines = [f"{closing.due} due, {closing.done_before} done before us", *outside_lines(closing)]
        if ticket is not None:
            lines.append(f"Ticket {ticket.key} {ticket.url}".strip())
        return await post_notice(recovery.runner, s.secret, window, s.channel, text, lines, s.chat)


def outside_lines(closing: Balance) -> list[str]:
    """What a run of a selection has left alone, for people; no line for a whole plan."""
    if not closing.outside:
        return []
    more = f" and {len(closing.outside) - OUTSIDE_SHOWN} more" if len(closing.outside) > OUTSIDE_SHOWN else ""
    named = ", ".join(closing.outside[:OUTSIDE_SHOWN])
    return [f"{len(closing.outside)} more not done, outside this plan: {named}{more}"]


async def watch_round(systems: Systems) -> Round:
    """One look at everything that may still happen by itself; what moved is told in the channel, once."""
    runner = Runner(systems.ledger, systems.clock, systems.policy, systems.tell, uuid.uuid4().hex, systems.switched_off)

    async def tell_people(sighting: Sighting) -> None:
        systems.tell("alarm", {"text": f"{sighting.slot_key}: {sighting.text}"})
        if systems.chat is None or not systems.channel:
            return
        key = action_key(systems.secret, "-", "desk", "sighting", sighting.slot_key, sighting.text, 0)
        spec = ActionSpec(key, sighting.slot_key, "-", ActionKind.CHAT, Harm.H1, systems.channel)
        try:
            text = f"ALARM: {sighting.slot_key}"
            since = systems.clock.now() - timedelta(seconds=systems.policy.waits.watch)
            await post_once(runner, spec, systems.channel, text, [sighting.text], systems.chat, since)
        except Ended as ended:
            systems.tell("alarm", {"text": f"the alarm could not be posted: {ended.reason}"})

    watcher = Watcher(runner, {a.name: a for a in systems.accounts}, systems.secret, tell_people)
    return await watcher.round()
