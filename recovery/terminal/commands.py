"""What the commands of a recovery do: audit, plan, recover, report. Each returns its exit code.

They stand on the calls that the flows use too (`recovery.operate`).
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from recovery.approvals import refuse_unnamed, refuse_yes
from recovery.errors import UsageError
from recovery.hints import recover_line
from recovery.model import ItemOutcome, Plan, iso
from recovery.operate import (
    EXIT_ALL_CLEAR,
    EXIT_HELD,
    RecoverResult,
    Run,
    audit_exit_code,
    audit_window,
    plan_from,
)
from recovery.settings import load_settings
from recovery.terminal.approving import (
    approve_unattended,
    ask_for_approval,
    missing_approval,
    not_approved,
    recorded,
    show_plan,
    waits_for_another,
)
from recovery.terminal.command_input import How, Part, Where, os_user
from recovery.terminal.progress import Progress
from recovery.terminal.terminal import clean, complain, print_json, put, say, stop_on_signals
from recovery.views import audit_view, plan_view, recover_view
from recovery.wiring import Systems, open_systems

if TYPE_CHECKING:
    from recovery.audit import AuditResult


async def audit(where: Where, *, as_json: bool, quiet: bool) -> int:
    """`allclear audit`."""
    settings = load_settings(where.config)
    tell = Progress(quiet=quiet or as_json)
    async with open_systems(settings, tell=tell, names=where.accounts_known(settings)) as systems:
        result = await audit_window(systems, where.window(systems))
        tell.end()
        code = audit_exit_code(result)
        if as_json:
            print_json(audit_view(result, code))
        else:
            from recovery.report.of_run import build
            from recovery.report.text import audit_table

            put(audit_table(await build(systems, result, "audit")))
        return code


async def plan(where: Where, part: Part, *, as_json: bool, quiet: bool) -> int:
    """`allclear plan`."""
    settings = load_settings(where.config)
    tell = Progress(quiet=quiet or as_json)
    async with open_systems(settings, tell=tell, names=where.accounts_known(settings)) as systems:
        result = await audit_window(systems, where.window(systems))
        tell.end()
        made = await _plan(systems, result, part)
        if made is None:
            return _nothing_to_do(result, as_json)
        code = EXIT_HELD
        if as_json:
            print_json(plan_view(made, code))
        else:
            show_plan(made, result)
        return code


async def _plan(systems: Systems, result: AuditResult, part: Part) -> Plan | None:
    made = await plan_from(systems, result)
    return None if made is None else await _chosen(systems, made, part)


async def _chosen(systems: Systems, made: Plan, part: Part) -> Plan:
    """The part of a plan that is wanted, recorded like the plan itself, so that it can be approved."""
    chosen = part.of(made, systems)
    if chosen.digest != made.digest:
        await systems.ledger.save_plan(chosen)
    return chosen


def _nothing_to_do(result: AuditResult, as_json: bool) -> int:
    if as_json:
        print_json(audit_view(result, EXIT_ALL_CLEAR))
    else:
        say([f"All clear: {len(result.findings):,} slots were due, and all of them are done."])
    return EXIT_ALL_CLEAR


async def recover(where: Where, part: Part, how: How, *, as_json: bool, quiet: bool) -> int:
    """`allclear recover`."""
    settings = load_settings(where.config)
    tell = Progress(quiet=quiet or as_json)
    async with open_systems(settings, tell=tell, names=() if how.digest else where.accounts_known(settings)) as systems:
        result: AuditResult | None = None
        if how.digest:
            made: Plan | None = await _chosen(systems, await recorded(systems, how.digest), part)
        else:
            window = where.window(systems)
            if not as_json:
                await _tell_half_done(systems, window.incident_ref)
            result = await audit_window(systems, window)
            tell.end()
            made = await _plan(systems, result, part)
        if made is None:
            assert result is not None
            return _nothing_to_do(result, as_json)
        if how.dry_run:
            return _dry_run(made, result, as_json)
        if how.digest or how.yes:
            refuse_unnamed(made, how.by, systems.policy, f"Give --by: `{recover_line(made.digest)}`.")
        starter, typed = how.by.strip(), ""
        if how.yes:
            refuse_yes(made, systems.policy)
            await approve_unattended(systems, made, starter or os_user())
        elif not how.digest and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
            show_plan(made, result)
            typed = await ask_for_approval(systems, made, starter)
            starter = starter or typed  # who sits there starts it, whatever the login is called
        if missing := await missing_approval(systems, made, starter):
            return waits_for_another(made, typed, missing) if typed else not_approved(made, result, missing, as_json)
        refuse_unnamed(made, starter, systems.policy, f"Give --by: `{recover_line(made.digest)}`.")
        stop = asyncio.Event()
        stop_on_signals(stop)  # from here on something is acted on; before, Ctrl-C just ends the program
        done = await Run(systems, made, starter or os_user(), stop).recover()
        tell.end()
        await _report(systems, done, result, how.report)
        return await show_result(systems, done, as_json)


async def _tell_half_done(systems: Systems, incident: str) -> None:
    """Says that an earlier run of this outage did not end, and how it is gone on with instead of planning anew."""
    left = await systems.ledger.items(incident=incident, outcome=ItemOutcome.OPEN)
    if not left:
        return
    say([f"An earlier run of this outage did not end: {len(left)} of its items are open."])
    begun = await systems.ledger.plan(max(left, key=lambda row: row.updated_at).plan_digest)
    if begun is not None and systems.clock.now() < begun.expires_at:
        say(["This goes on with it, as it was approved:", f"  {recover_line(begun.digest)}"])
    say(["What follows is a new plan, which takes them over; nothing of them is done twice.", ""])


def _dry_run(made: Plan, result: AuditResult | None, as_json: bool) -> int:
    if as_json:
        print_json(plan_view(made, EXIT_HELD))
    else:
        show_plan(made, result)
    return EXIT_HELD


async def _report(systems: Systems, done: RecoverResult, before: AuditResult | None, path: Path | None) -> None:
    if path is None:
        return
    result = before or done.after
    if result is None:
        return
    await write_report(systems, done, result, path)


async def write_report(systems: Systems, done: RecoverResult, result: AuditResult, path: Path) -> None:
    """Writes the report of a run: Markdown for .md, else one HTML page."""
    from recovery.report.of_run import build, evidence_for
    from recovery.report.report import render_html, render_markdown

    made = await build(
        systems,
        result,
        "recover",
        plan=done.plan,
        items=done.items,
        balance=done.balance,
        ticket=done.ticket,
        problems=done.problems,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    await systems.ledger.flush()
    text = (
        render_markdown(made) if path.suffix == ".md" else render_html(made, evidence=await evidence_for(systems, made))
    )
    path.write_text(text, encoding="utf-8")


async def show_result(systems: Systems, done: RecoverResult, as_json: bool) -> int:
    """Shows what a run came to; its exit code."""
    if as_json:
        actions = {r.slot_key: await systems.ledger.actions(r.slot_key) for r in done.items}
        print_json(recover_view(done, actions, iso(systems.clock.now())))
        return done.exit_code
    from recovery.report.of_run import build
    from recovery.report.text import balance_line, outcome_tables

    if done.after is not None:
        made = await build(
            systems, done.after, "recover", plan=done.plan, items=done.items, balance=done.balance, ticket=done.ticket
        )
        put(outcome_tables(made))
    elif done.balance is not None:
        put(balance_line(done.balance))
    for problem in done.problems:
        complain(f"PROBLEM: {clean(problem)}")
    if done.ticket is not None:
        say([f"Ticket: {done.ticket.key} {done.ticket.url}"])
    held = [i for i in done.items if i.outcome is ItemOutcome.HELD]
    if done.stopped:
        say(["Stopped by the operator. This goes on where it stopped:", f"  {recover_line(done.plan.digest)}"])
    if held:
        say([f"{len(held)} held: `allclear hold` shows each question."])
    return done.exit_code


async def _last_plan(systems: Systems) -> Plan | None:
    """The last plan that was run, or the last one that was made when none was."""
    return await systems.ledger.latest_plan(taken_up=True) or await systems.ledger.latest_plan()


async def report(config: Path | None, output: Path, digest: str, *, as_json: bool, quiet: bool) -> int:
    """`allclear report`."""
    settings = load_settings(config)
    tell = Progress(quiet=quiet or as_json)
    async with open_systems(settings, tell=tell) as systems:
        made = await recorded(systems, digest) if digest else await _last_plan(systems)
        if made is None:
            raise UsageError("There is no plan to report on.", "Run `allclear plan` or `allclear recover` first.")
        result = await audit_window(systems, made.window)
        from recovery.proof import closing_balance

        items = tuple(await systems.ledger.items(incident=made.window.incident_ref))
        fresh = await audit_window(systems, made.window, remember=False)
        ended = all(i.outcome is not ItemOutcome.OPEN for i in items)
        closing = closing_balance(made, fresh.findings, items) if ended else None
        from recovery.approvals import Consent

        done = RecoverResult(made, Consent(frozenset()), items, result, closing)
        tell.end()
        await write_report(systems, done, result, output)
        if as_json:
            print_json({"schema": "allclear.report/1", "path": str(output), "plan": made.digest, "exit_code": 0})
        else:
            say([f"Report of plan {made.digest[:12]} for {made.window.incident_ref}: {output.resolve()}"])
        return EXIT_ALL_CLEAR
