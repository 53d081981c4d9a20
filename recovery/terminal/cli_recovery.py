"""The main job at a terminal: audit, plan, approve, recover, report. Names, options and help only."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from recovery.terminal.cli_options import (
    NO_NAMES,
    Accounts,
    AsJson,
    By,
    Config,
    End,
    Incident,
    Kinds,
    Last,
    Most,
    Only,
    Quiet,
    Reason,
    Start,
    Wave,
    Without,
    run_to_exit,
    whole_number,
)

Digest = Annotated[str, typer.Argument(help="The plan's digest (six letters or more).")]


def audit(
    start: Start = "",
    end: End = "",
    last: Last = "",
    account: Accounts = NO_NAMES,
    incident: Incident = "",
    config: Config = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """What was due in the outage, and what happened. Reads only; changes nothing anywhere.

    Examples:

      allclear audit --start 2026-11-01T05:00:00Z --end 2026-11-01T07:00:00Z

      allclear audit --last 6h --account harbor --json
    """
    from recovery.terminal import command_input, commands

    where = command_input.Where(config, start, end, last, tuple(account), incident)
    run_to_exit(lambda: commands.audit(where, as_json=as_json, quiet=quiet), as_json)


def plan(
    start: Start = "",
    end: End = "",
    last: Last = "",
    account: Accounts = NO_NAMES,
    incident: Incident = "",
    only: Only = NO_NAMES,
    without: Without = NO_NAMES,
    kind: Kinds = NO_NAMES,
    most: Most = None,
    wave: Wave = None,
    config: Config = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """What would be done about each miss, and who it reaches. Records the plan; does nothing.

    The selection is part of the plan's digest: an approval of one selection is no approval of another.

    Examples:

      allclear plan --last 6h

      allclear plan --last 6h --kind campaign --account harbor --max 1
    """
    from recovery.terminal import command_input, commands

    where = command_input.Where(config, start, end, last, tuple(account), incident)
    part = command_input.Part(tuple(only), tuple(without), tuple(kind), most, wave)
    run_to_exit(lambda: commands.plan(where, part, as_json=as_json, quiet=quiet), as_json)


def approve(
    digest: Digest,
    by: By,
    recipients: Annotated[
        int,
        typer.Option(
            "--recipients",
            parser=whole_number,
            metavar="NUMBER",
            help="How many people the plan reaches, as you read it.",
        ),
    ],
    accept_caveat: Annotated[bool, typer.Option("--accept-caveat", help="I have read the vendor's caveat.")] = False,
    item: Annotated[
        list[str], typer.Option("--item", help="Approve only this item (its key); may be repeated.")
    ] = NO_NAMES,
    reason: Reason = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Lets a plan act. Bound to its digest, your name and the number of recipients you saw.

    Example:

      allclear approve 3f2a9c --by "Dana Reyes" --recipients 18250 --accept-caveat
    """
    from recovery.terminal import approving, command_input

    consent = command_input.Consenting(digest, by, recipients, accept_caveat, tuple(item), reason)
    run_to_exit(lambda: approving.approve(config, consent, as_json=as_json), as_json)


def reject(
    digest: Digest,
    by: By,
    reason: Reason,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """A named person's no: the plan is never run, whoever approves it; a running one stops before its next item.

    Example:

      allclear reject 3f2a9c --by "Dana Reyes" --reason "the gala is cancelled"
    """
    from recovery.terminal import approving

    run_to_exit(lambda: approving.reject(config, digest, by, reason, as_json=as_json), as_json)


def recover(
    start: Start = "",
    end: End = "",
    last: Last = "",
    account: Accounts = NO_NAMES,
    incident: Incident = "",
    digest: Annotated[str, typer.Option("--plan", help="Run this recorded plan instead of making one.")] = "",
    only: Only = NO_NAMES,
    without: Without = NO_NAMES,
    kind: Kinds = NO_NAMES,
    most: Most = None,
    wave: Wave = None,
    by: By = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Approve what reaches nobody; refused where people are reached.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Stop after the plan.")] = False,
    report: Annotated[Optional[Path], typer.Option("--report", help="Write the HTML report here.")] = None,  # noqa: UP045 # typer
    config: Config = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Audits, plans, asks for approval, acts at most once, proves it, then files the ticket.

    Run it again at any time: what is done stays done, what is open goes on. Ctrl-C stops after the current call.

    Examples:

      allclear recover --last 6h --by "Dana Reyes"

      allclear recover --plan 3f2a9c --by "Sam Okafor"
    """
    from recovery.terminal import command_input, commands

    where = command_input.Where(config, start, end, last, tuple(account), incident)
    part = command_input.Part(tuple(only), tuple(without), tuple(kind), most, wave)
    how = command_input.How(digest, by, yes, dry_run, report)
    run_to_exit(
        lambda: recorded(lambda: commands.recover(where, part, how, as_json=as_json, quiet=quiet)),
        as_json,
    )


def report(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where to write it; .md for Markdown, else HTML.")
    ] = Path("allclear-report.html"),
    digest: Annotated[str, typer.Option("--plan", help="The plan to report on (else the last one).")] = "",
    config: Config = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Reads everything again and writes the report of a plan: one self-contained file.

    Example:

      allclear report -o outage.html
    """
    from recovery.terminal import commands

    run_to_exit(lambda: commands.report(config, output, digest, as_json=as_json, quiet=quiet), as_json)


async def recorded(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """The work, also recorded on a Prefect server when PREFECT_API_URL names one; Prefect loads for nothing else."""
    if not os.environ.get("PREFECT_API_URL"):
        return await work()
    from flows.record import recorded

    return await recorded("allclear recover", work)
