"""What each command does, on the calls that the flows use too. Every function returns the exit code."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recovery.approvals import BY_POLICY, acting, reach_of, refuse_yes, unattended
from recovery.errors import AllclearError, UsageError
from recovery.model import Approval, ItemOutcome, OutageWindow, Plan, iso
from recovery.operate import (
    EXIT_ALL_CLEAR,
    EXIT_HELD,
    RecoverResult,
    Run,
    audit_exit_code,
    audit_window,
    plan_from,
    watch_round,
)
from recovery.plan import select
from recovery.settings import Settings, load_settings
from recovery.terminal import Progress, clean, print_json, stop_on_signals
from recovery.views import audit_view, plan_view, recover_view
from recovery.window import make_window, parse_moment, parse_span
from recovery.wiring import Systems, open_systems

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from recovery.audit import AuditResult


@dataclass(frozen=True, slots=True)
class Where:
    """The window and the accounts as written on the command line."""

    config: Path | None
    start: str
    end: str
    last: str
    accounts: tuple[str, ...]
    incident: str

    @property
    def given(self) -> bool:
        """Whether any window was written."""
        return bool(self.start or self.end or self.last)

    def accounts_known(self, settings: Settings) -> tuple[str, ...]:
        """The accounts named, each of which must exist."""
        known = [a.name for a in settings.accounts]
        strangers = [a for a in self.accounts if a not in known]
        if strangers:
            raise UsageError(f"There is no account {strangers[0]!r}.", f"Known accounts: {', '.join(known)}.")
        return self.accounts

    def window(self, systems: Systems) -> OutageWindow:
        """The window, checked."""
        now = systems.clock.now()
        if self.last and (self.start or self.end):
            raise UsageError("--last stands instead of --start and --end.", "Give one or the other.")
        if self.last:
            started_at, ended_at = now - parse_span(self.last), now
        elif self.start and self.end:
            started_at, ended_at = parse_moment(self.start, now), parse_moment(self.end, now)
        else:
            raise UsageError(
                "Which outage? Give --start and --end, or --last 6h.", "`allclear audit --help` has examples."
            )
        return make_window(
            started_at,
            ended_at,
            self.accounts,
            [a.name for a in systems.settings.accounts],
            now=now,
            most_hours=systems.policy.limits.window_hours,
            incident=self.incident,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a plan is wanted."""

    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    most: int | None = None
    wave: int | None = None

    def of(self, plan: Plan, systems: Systems) -> Plan:
        """The plan, or the part of it, with its own digest."""
        if not (self.only or self.without or self.kinds or self.most is not None or self.wave is not None):
            return plan
        return select(
            plan,
            systems.policy,
            only=self.only,
            without=self.without,
            kinds=self.kinds,
            most=self.most,
            wave=self.wave,
        )


@dataclass(frozen=True, slots=True)
class How:
    """How a recovery is started."""

    digest: str
    by: str
    yes: bool
    dry_run: bool
    report: Path | None


@dataclass(frozen=True, slots=True)
class Consenting:
    """An approval as written on the command line."""

    digest: str
    by: str
    recipients: int
    accept_caveat: bool
    items: tuple[str, ...]
    reason: str


def console_for(no_color: bool) -> Console:
    """A console that fits the terminal, or 80 plain columns in a pipe."""
    from rich.console import Console

    tty = sys.stdout.isatty()
    return Console(no_color=no_color or None, width=None if tty else 80, soft_wrap=not tty, highlight=False)


def put(no_color: bool, *parts: RenderableType) -> None:
    """Prints renderables."""
    from recovery.report_text import show

    console = console_for(no_color)
    for part in parts:
        show(console, part)


async def audit(where: Where, *, as_json: bool, quiet: bool, no_color: bool) -> int:
    """`allclear audit`."""
    settings = load_settings(where.config)
    tell = Progress(quiet=quiet or as_json)
    async with open_systems(settings, tell=tell, names=where.accounts_known(settings)) as systems:
        result = await audit_window(systems, where.window(systems))
        code = audit_exit_code(result)
        if as_json:
            print_json(audit_view(result, code))
        else:
            from recovery.report_text import audit_table
            from recovery.run_report import build

            put(no_color, audit_table(await build(systems, result, "audit")))
        return code


async def plan(where: Where, part: Part, *, as_json: bool, quiet: bool, no_color: bool) -> int:
    """`allclear plan`."""
    settings = load_settings(where.config)
    tell = Progress(quiet=quiet or as_json)
    async with open_systems(settings, tell=tell, names=where.accounts_known(settings)) as systems:
        result = await audit_window(systems, where.window(systems))
        made = await _plan(systems, result, part)
        if made is None:
            return _nothing_to_do(result, as_json)
        code = EXIT_HELD
        if as_json:
            print_json(plan_view(made, code))
        else:
            _show_plan(made, result, no_color)
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


def _show_plan(made: Plan, result: AuditResult | None, no_color: bool) -> None:
    from recovery.report_text import plan_diff

    put(no_color, plan_diff(made, result.findings if result else ()))
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


async def _recorded(systems: Systems, digest: str) -> Plan:
    made = await systems.ledger.plan(digest)
    if made is None:
        raise UsageError(f"There is no plan {digest!r} in the ledger.", "`allclear status` shows the last one.")
    return made


async def recover(where: Where, part: Part, how: How, *, as_json: bool, quiet: bool, no_color: bool) -> int:
    """`allclear recover`."""
    settings = load_settings(where.config)
    stop = asyncio.Event()
    stop_on_signals(stop)
    tell = Progress(quiet=quiet or as_json)
    starter = how.by or getpass.getuser()
    async with open_systems(settings, tell=tell, names=() if how.digest else where.accounts_known(settings)) as systems:
        result: AuditResult | None = None
        if how.digest:
            made: Plan | None = part.of(await _recorded(systems, how.digest), systems)
        else:
            result = await audit_window(systems, where.window(systems))
            made = await _plan(systems, result, part)
        if made is None:
            assert result is not None
            return _nothing_to_do(result, as_json)
        if how.dry_run:
            return _dry_run(made, result, as_json, no_color)
        if how.yes:
            refuse_yes(made, systems.policy)
            await _approve_unattended(systems, made, starter)
        elif not how.digest and not as_json and sys.stdin.isatty() and sys.stdout.isatty():
            _show_plan(made, result, no_color)
            await _ask(systems, made)
        elif acting(made) and not await systems.ledger.approvals(made.digest):
            return _not_approved(made, result, as_json, no_color)
        done = await Run(systems, made, starter, stop).recover()
        await _report(systems, done, result, how.report)
        return await show_result(systems, done, as_json, no_color)


def _dry_run(made: Plan, result: AuditResult | None, as_json: bool, no_color: bool) -> int:
    if as_json:
        print_json(plan_view(made, EXIT_HELD))
    else:
        _show_plan(made, result, no_color)
    return EXIT_HELD


def _not_approved(made: Plan, result: AuditResult | None, as_json: bool, no_color: bool) -> int:
    if as_json:
        print_json({**plan_view(made, EXIT_HELD), "waiting_for": "approval"})
    else:
        _show_plan(made, result, no_color)
        print("\nNothing was done: the plan waits for approval.")
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


async def _ask(systems: Systems, made: Plan) -> None:
    """A person decides at the terminal: name and the number of recipients, typed."""
    if not acting(made) or await systems.ledger.approvals(made.digest):
        return
    for caveat in sorted({i.caveat for i in made.items if i.caveat}):
        print(f"\nCaveat: {caveat}")
    by = input("\nYour name (empty: do nothing): ").strip()
    if not by:
        raise UsageError("Nothing was done.", f"The plan is kept as {made.digest[:12]}.")
    typed = input(f"How many recipients does it reach? Type {made.reach} to approve: ").strip().replace(",", "")
    if typed != str(made.reach):
        raise UsageError("The number is not the plan's; nothing was done.", f"The plan is kept as {made.digest[:12]}.")
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
    from recovery.report import render_html, render_markdown
    from recovery.run_report import build, evidence_for

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


async def show_result(systems: Systems, done: RecoverResult, as_json: bool, no_color: bool) -> int:
    """Shows what a run came to; its exit code."""
    if as_json:
        actions = {r.slot_key: await systems.ledger.actions(r.slot_key) for r in done.items}
        print_json(recover_view(done, actions, iso(systems.clock.now())))
        return done.exit_code
    from recovery.report_text import balance_line, outcome_tables
    from recovery.run_report import build

    if done.after is not None:
        made = await build(
            systems, done.after, "recover", plan=done.plan, items=done.items, balance=done.balance, ticket=done.ticket
        )
        put(no_color, outcome_tables(made))
    if done.balance is not None:
        put(no_color, balance_line(done.balance))
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
    async with open_systems(settings, tell=Progress(quiet=quiet or as_json)) as systems:
        made = await _recorded(systems, digest) if digest else await systems.ledger.latest_plan()
        if made is None:
            raise UsageError("There is no plan to report on.", "Run `allclear plan` or `allclear recover` first.")
        result = await audit_window(systems, made.window)
        from recovery.proof import balance

        items = tuple(await systems.ledger.items(incident=made.window.incident_ref))
        fresh = await audit_window(systems, made.window, remember=False)
        closing = balance((), fresh.findings, items) if all(i.outcome is not ItemOutcome.OPEN for i in items) else None
        from recovery.approvals import Consent

        done = RecoverResult(made, Consent(frozenset()), items, result, closing)
        await write_report(systems, done, result, output)
        if as_json:
            print_json({"schema": "allclear.report/1", "path": str(output), "plan": made.digest, "exit_code": 0})
        else:
            print(f"Report: {output.resolve()}")
        return EXIT_ALL_CLEAR


async def status(config: Path | None, *, as_json: bool, watch: bool, no_color: bool, gentle: bool = False) -> int:
    """`allclear status`."""
    del no_color  # plain text anyway
    from recovery.standing import standing_lines, standing_view

    try:
        settings = load_settings(config)
    except AllclearError as error:
        if not gentle:
            raise
        print(
            f"{error}\n{error.hint}\n\n"
            "To see it work on this machine: `allclear demo`. All commands: `allclear --help`."
        )
        return EXIT_ALL_CLEAR
    while True:
        view = await standing_view(settings)
        if as_json:
            print_json(view)
        else:
            if watch and sys.stdout.isatty():
                print("\x1b[2J\x1b[H", end="")
            print("\n".join(standing_lines(view)), flush=True)
        if not watch:
            return int(view["exit_code"])
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(2)


async def held(config: Path | None, *, as_json: bool, no_color: bool) -> int:
    """`allclear hold`."""
    del no_color  # plain text anyway
    from recovery.standing import held_lines, held_view

    settings = load_settings(config)
    view = await held_view(settings)
    if as_json:
        print_json(view)
    else:
        print("\n".join(held_lines(view)))
    return int(view["exit_code"])


async def answer(config: Path | None, item: str, choice: str, by: str, reason: str, *, as_json: bool) -> int:
    """`allclear answer`."""
    from recovery.answers import give

    settings = load_settings(config)
    async with open_systems(settings) as systems:
        what = await give(systems.ledger, systems.clock, item, choice, by, reason)
    if as_json:
        print_json(
            {"schema": "allclear.answer/1", "item": item, "choice": choice, "by": by, "effect": what, "exit_code": 0}
        )
    else:
        print(f"Recorded: {by} answers {choice!r}. {what}")
    return EXIT_ALL_CLEAR


async def explain(config: Path | None, item: str, *, as_json: bool, no_color: bool) -> int:
    """`allclear explain`."""
    del no_color  # plain text anyway
    from recovery.standing import explain_lines, explain_view

    view = await explain_view(load_settings(config), item)
    if as_json:
        print_json(view)
    else:
        print("\n".join(explain_lines(view)))
    return EXIT_ALL_CLEAR


async def kill(config: Path | None, by: str, reason: str, clear: bool, *, as_json: bool) -> int:
    """`allclear kill`."""
    settings = load_settings(config)
    async with open_systems(settings) as systems:
        if clear:
            await systems.ledger.clear_kill(by)
        else:
            await systems.ledger.set_kill(by, reason or "thrown by hand")
        on = systems.switched_off() or await systems.ledger.killed()
    if as_json:
        print_json({"schema": "allclear.kill/1", "on": bool(on), "reason": on, "exit_code": 0})
    else:
        print(f"The kill switch is ON: {on}. Nothing leaves." if on else "The kill switch is off.")
    return EXIT_ALL_CLEAR


async def watch(config: Path | None, every: float, *, as_json: bool, quiet: bool) -> int:
    """`allclear watch`."""
    from recovery.views import watch_view

    settings = load_settings(config)
    stop = asyncio.Event()
    stop_on_signals(stop)
    async with open_systems(settings, tell=Progress(quiet=quiet or as_json)) as systems:
        while True:
            view = watch_view(await watch_round(systems))
            if as_json:
                print_json(view)
            else:
                print(f"{view['looked']} watched, {len(view['sightings'])} moved, {len(view['problems'])} unreadable.")
                for line in (*(s["text"] for s in view["sightings"]), *view["problems"], *view["unsettled"]):
                    print(f"  {clean(line)}", flush=True)
            if not every or stop.is_set():
                return int(view["exit_code"])
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), every)


async def doctor(config: Path | None, names: Sequence[str], *, as_json: bool, no_color: bool) -> int:
    """`allclear doctor`."""
    del no_color  # plain text anyway
    from recovery.checkup import check_up, checkup_lines

    view = await check_up(load_settings(config), tuple(names))
    if as_json:
        print_json(view)
    else:
        print("\n".join(checkup_lines(view)))
    return int(view["exit_code"])
