"""What the commands of a recovery do: audit, plan, approve, recover, report. Each returns its exit code.

They stand on the calls that the flows use too (`recovery.operate`).
"""

from __future__ import annotations

import asyncio
import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from recovery.approvals import BY_POLICY, acting, consent, reach_of, refuse_yes, unattended
from recovery.errors import RefusedError, UsageError
from recovery.model import Approval, ItemOutcome, Plan, iso
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
from recovery.terminal.command_input import Consenting, How, Part, Where
from recovery.terminal.progress import Progress
from recovery.terminal.terminal import ask, print_json, put, say, stop_on_signals
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
            _show_plan(made, result)
        return code


async def _plan(systems: Systems, result: AuditResult, part: Part) -> Plan | None:
    made = await plan_from(systems, result)
    if made is None:
        return None
    chosen = part.of(made, systems)
    if chosen.digest != made.digest:
        await systems.ledger.save_plan(chosen)
    return chosen


def _nothing_to_do(result: AuditResult, as_json: bool) -> int:
    if as_json:
        print_json(audit_view(result, EXIT_ALL_CLEAR))
    else:
        print(f"All clear: {len(result.findings)} slots were due, and all of them are done.")
    return EXIT_ALL_CLEAR


def _show_plan(made: Plan, result: AuditResult | None) -> None:
    from recovery.report.text import plan_diff

    put(plan_diff(made, result.findings if result else ()))
    print()
    print("To let it act, a named person approves exactly this plan:")
    caveat = " --accept-caveat" if any(i.caveat for i in made.items) else ""
    # Eight letters are enough to name a plan and keep the line within 80 columns.
    print(f'  allclear approve {made.digest[:8]} --by "YOUR NAME" --recipients {made.reach}{caveat}')
    print(f'  allclear recover --plan {made.digest[:8]} --by "YOUR NAME"')


async def approve(config: Path | None, given: Consenting, *, as_json: bool) -> int:
    """`allclear approve`."""
    settings = load_settings(config)
    async with open_systems(settings) as systems:
        made = await _recorded(systems, given.digest)
        await systems.ledger.approve(
            Approval(
                made.digest,
                given.by.strip(),
                systems.clock.now(),
                given.recipients,
                given.accept_caveat,
                given.items,
                given.reason,
            )
        )
        if as_json:
            approvals = await systems.ledger.approvals(made.digest)
            print_json(
                {
                    "schema": "allclear.approve/1",
                    "plan": made.digest,
                    "approvals": [{"by": a.by, "at": iso(a.at), "recipients": a.recipients} for a in approvals],
                    "exit_code": 0,
                }
            )
        else:
            print(f"Recorded: {given.by} approves plan {made.digest[:12]} ({given.recipients} recipients).")
            print(f'  allclear recover --plan {made.digest[:12]} --by "WHO STARTS IT"')
        return EXIT_ALL_CLEAR


async def reject(config: Path | None, digest: str, by: str, reason: str, *, as_json: bool) -> int:
    """`allclear reject`."""
    async with open_systems(load_settings(config)) as systems:
        made = await _recorded(systems, digest)
        await systems.ledger.reject(made.digest, by.strip(), systems.clock.now(), reason)
    if as_json:
        print_json({"schema": "allclear.reject/1", "plan": made.digest, "by": by, "reason": reason, "exit_code": 0})
    else:
        say([f"Recorded: {by} rejects plan {made.digest[:12]}. It is never run; `allclear plan` makes a new one."])
    return EXIT_ALL_CLEAR


async def _recorded(systems: Systems, digest: str) -> Plan:
    made = await systems.ledger.plan(digest)
    if made is None:
        raise UsageError(f"There is no plan {digest!r} in the ledger.", "`allclear status` shows the last one.")
    return made


async def recover(where: Where, part: Part, how: How, *, as_json: bool, quiet: bool) -> int:
    """`allclear recover`."""
    settings = load_settings(where.config)
    tell = Progress(quiet=quiet or as_json)
    starter = how.by or getpass.getuser()
    async with open_systems(settings, tell=tell, names=() if how.digest else where.accounts_known(settings)) as systems:
        result: AuditResult | None = None
        if how.digest:
            made: Plan | None = part.of(await _recorded(systems, how.digest), systems)
        else:
            result = await audit_window(systems, where.window(systems))
            tell.end()
            made = await _plan(systems, result, part)
        if made is None:
            assert result is not None
            return _nothing_to_do(result, as_json)
        if how.dry_run:
            return _dry_run(made, result, as_json)
        if how.yes:
            refuse_yes(made, systems.policy)
            await _approve_unattended(systems, made, starter)
        elif not how.digest and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
            _show_plan(made, result)
            await _ask(systems, made, starter)
        missing = await _missing_approval(systems, made, starter)
        if missing:
            return _not_approved(made, result, missing, as_json)
        stop = asyncio.Event()
        stop_on_signals(stop)  # from here on something is acted on; before, Ctrl-C just ends the program
        done = await Run(systems, made, starter, stop).recover()
        tell.end()
        await _report(systems, done, result, how.report)
        return await show_result(systems, done, as_json)


def _dry_run(made: Plan, result: AuditResult | None, as_json: bool) -> int:
    if as_json:
        print_json(plan_view(made, EXIT_HELD))
    else:
        _show_plan(made, result)
    return EXIT_HELD


async def _missing_approval(systems: Systems, made: Plan, starter: str) -> str:
    """What a plan that no run has taken up still lacks before anything of it may act; "" when it may go on."""
    now = systems.clock.now()
    if no := await systems.ledger.rejection(made.digest):
        raise RefusedError(f"Plan {made.digest[:12]} was rejected by {no}", "Make a new plan with `allclear plan`.")
    if not acting(made) or now >= made.expires_at or await systems.ledger.items(plan=made.digest):
        return ""
    agreed = consent(made, await systems.ledger.approvals(made.digest), systems.policy, now, starter)
    return "" if agreed.items else agreed.missing


def _not_approved(made: Plan, result: AuditResult | None, missing: str, as_json: bool) -> int:
    if as_json:
        print_json({**plan_view(made, EXIT_HELD), "waiting_for": "approval", "missing": missing})
    else:
        _show_plan(made, result)
        say(["", f"Nothing was done: the plan waits for approval ({missing})."])
    return EXIT_HELD


async def _approve_unattended(systems: Systems, made: Plan, starter: str) -> None:
    items = unattended(made, systems.policy)
    if items:
        await systems.ledger.approve(
            Approval(
                made.digest,
                f"{starter}{BY_POLICY}",
                systems.clock.now(),
                reach_of(items),
                True,
                tuple(i.slot.key for i in items),
                "unattended",
            )
        )


async def _ask(systems: Systems, made: Plan, starter: str) -> None:
    """A person decides at the terminal: name and the number of recipients, typed."""
    if not await _missing_approval(systems, made, starter):
        return
    for caveat in sorted({i.caveat for i in made.items if i.caveat}):
        say(["", f"Caveat: {caveat}"])
    kept = f"The plan is kept as {made.digest[:8]}: `allclear recover --plan {made.digest[:8]}` goes on with it."
    print()
    by = ask("Your name (empty: do nothing): ", kept)
    if not by:
        raise UsageError("Nothing was done.", kept)
    typed = ask(f"How many recipients does it reach? Type {made.reach} to approve: ", kept).replace(",", "")
    if typed != str(made.reach):
        raise UsageError("The number is not the plan's; nothing was done.", kept)
    await systems.ledger.approve(Approval(made.digest, by, systems.clock.now(), made.reach, True))


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
    if done.balance is not None:
        put(balance_line(done.balance))
    for problem in done.problems:
        print(f"PROBLEM: {problem}", file=sys.stderr)
    if done.ticket is not None:
        print(f"Ticket: {done.ticket.key} {done.ticket.url}")
    held = [i for i in done.items if i.outcome is ItemOutcome.HELD]
    if done.stopped:
        print("Stopped by the operator; the same command goes on where it stopped.")
    if held:
        print(f"{len(held)} held: `allclear hold` shows each question.")
    return done.exit_code


async def report(config: Path | None, output: Path, digest: str, *, as_json: bool, quiet: bool) -> int:
    """`allclear report`."""
    settings = load_settings(config)
    tell = Progress(quiet=quiet or as_json)
    async with open_systems(settings, tell=tell) as systems:
        made = await _recorded(systems, digest) if digest else await systems.ledger.latest_plan()
        if made is None:
            raise UsageError("There is no plan to report on.", "Run `allclear plan` or `allclear recover` first.")
        result = await audit_window(systems, made.window)
        from recovery.proof import balance

        items = tuple(await systems.ledger.items(incident=made.window.incident_ref))
        fresh = await audit_window(systems, made.window, remember=False)
        closing = balance(fresh.findings, items) if all(i.outcome is not ItemOutcome.OPEN for i in items) else None
        from recovery.approvals import Consent

        done = RecoverResult(made, Consent(frozenset()), items, result, closing)
        tell.end()
        await write_report(systems, done, result, output)
        if as_json:
            print_json({"schema": "allclear.report/1", "path": str(output), "plan": made.digest, "exit_code": 0})
        else:
            print(f"Report: {output.resolve()}")
        return EXIT_ALL_CLEAR
