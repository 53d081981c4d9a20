"""`allclear` at a terminal. Only names, options and help live here; everything heavy is imported when it is needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from recovery.case_cli import case_app
from recovery.incident_cli import incident_app
from recovery.task_cli import task_app

EPILOG = """
Exit codes: 0 all clear, 1 failed, 2 usage or configuration, 3 something is held or uncertain,
4 (audit) there are findings.
"""

app = typer.Typer(
    name="allclear",
    help="After an outage: find what should have happened and did not, recover each of it at most once, prove it, "
    "then file the ticket. Run it with no command to see where things stand.",
    epilog=EPILOG,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(case_app, name="case")
app.add_typer(incident_app, name="incident")

app.add_typer(task_app)

Config = Annotated[
    Optional[Path],  # noqa: UP045 # typer reads this form on every Python it supports
    typer.Option("--config", "-c", help="The configuration (else ALLCLEAR_CONFIG, else config/allclear.toml)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document (docs/json.md) and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Plain = Annotated[bool, typer.Option("--no-color", help="No colours (NO_COLOR does the same).")]
Start = Annotated[
    str, typer.Option("--start", help='Start of the outage: ISO with zone, or "yesterday 14:00 Europe/London".')
]
End = Annotated[str, typer.Option("--end", help="End of the outage.")]
Last = Annotated[str, typer.Option("--last", help="Instead of start and end: the last 90m, 6h, 2d.")]
Accounts = Annotated[list[str], typer.Option("--account", "-a", help="Only this account; may be repeated.")]
Incident = Annotated[str, typer.Option("--incident", help="The incident's name (else made from start and end).")]
By = Annotated[str, typer.Option("--by", help="Your name; it is recorded.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]
NO_NAMES: list[str] = []


@app.callback(invoke_without_command=True)
def where_things_stand(context: typer.Context, config: Config = None, no_color: Plain = False) -> None:
    """Shows where things stand and what to do next."""
    if context.invoked_subcommand is None:
        from recovery import commands

        _run(lambda: commands.status(config, as_json=False, watch=False, no_color=no_color, gentle=True))


@app.command()
def audit(
    start: Start = "",
    end: End = "",
    last: Last = "",
    account: Accounts = NO_NAMES,
    incident: Incident = "",
    config: Config = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_color: Plain = False,
) -> None:
    """What was due in the outage, and what happened. Reads only; changes nothing anywhere.

    Examples:

      allclear audit --start 2026-11-01T05:00:00Z --end 2026-11-01T07:00:00Z

      allclear audit --last 6h --account harbor --json
    """
    from recovery import commands

    where = commands.Where(config, start, end, last, tuple(account), incident)
    _run(lambda: commands.audit(where, as_json=as_json, quiet=quiet, no_color=no_color), as_json)


Only = Annotated[list[str], typer.Option("--only", help="Only this item (its key or object id); may be repeated.")]
Without = Annotated[list[str], typer.Option("--except", help="Not this item; may be repeated.")]
Kinds = Annotated[list[str], typer.Option("--kind", help="Only this kind, such as campaign; may be repeated.")]
Most = Annotated[Optional[int], typer.Option("--max", min=1, help="At most so many items.")]  # noqa: UP045 # typer
Wave = Annotated[Optional[int], typer.Option("--wave", min=0, help="Only this wave.")]  # noqa: UP045 # typer


@app.command()
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
    no_color: Plain = False,
) -> None:
    """What would be done about each miss, and who it reaches. Records the plan; does nothing.

    The selection is part of the plan's digest: an approval of one selection is no approval of another.

    Examples:

      allclear plan --last 6h

      allclear plan --last 6h --kind campaign --account harbor --max 1
    """
    from recovery import commands

    where = commands.Where(config, start, end, last, tuple(account), incident)
    part = commands.Part(tuple(only), tuple(without), tuple(kind), most, wave)
    _run(lambda: commands.plan(where, part, as_json=as_json, quiet=quiet, no_color=no_color), as_json)


@app.command()
def approve(
    digest: Annotated[str, typer.Argument(help="The plan's digest (six letters or more).")],
    by: By,
    recipients: Annotated[int, typer.Option("--recipients", help="How many people the plan reaches, as you read it.")],
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
    from recovery import commands

    consent = commands.Consenting(digest, by, recipients, accept_caveat, tuple(item), reason)
    _run(lambda: commands.approve(config, consent, as_json=as_json), as_json)


@app.command()
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
    no_color: Plain = False,
) -> None:
    """Audits, plans, asks for approval, acts at most once, proves it, then files the ticket.

    Run it again at any time: what is done stays done, what is open goes on. Ctrl-C stops after the current call.

    Examples:

      allclear recover --last 6h --by "Dana Reyes"

      allclear recover --plan 3f2a9c --by "Sam Okafor"
    """
    from recovery import commands

    where = commands.Where(config, start, end, last, tuple(account), incident)
    part = commands.Part(tuple(only), tuple(without), tuple(kind), most, wave)
    how = commands.How(digest, by, yes, dry_run, report)
    _run(
        lambda: _recorded(lambda: commands.recover(where, part, how, as_json=as_json, quiet=quiet, no_color=no_color)),
        as_json,
    )


@app.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds until Ctrl-C.")] = False,
    config: Config = None,
    as_json: AsJson = False,
    no_color: Plain = False,
) -> None:
    """Where things stand: the last plan, what is held, what is open, whether the kill switch is on.

    Example:

      allclear status --watch
    """
    from recovery import commands

    _run(lambda: commands.status(config, as_json=as_json, watch=watch, no_color=no_color), as_json)


@app.command()
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
    from recovery import commands

    _run(lambda: commands.report(config, output, digest, as_json=as_json, quiet=quiet), as_json)


@app.command()
def hold(
    config: Config = None,
    as_json: AsJson = False,
    no_color: Plain = False,
) -> None:
    """What is held: each question, its recommended answer and the answers there are.

    Example:

      allclear hold
    """
    from recovery import commands

    _run(lambda: commands.held(config, as_json=as_json, no_color=no_color), as_json)


@app.command()
def answer(
    item: Annotated[str, typer.Argument(help="The held item's key, as `allclear hold` shows it.")],
    choice: Annotated[str, typer.Argument(help="One of its answers.")],
    by: By,
    reason: Reason,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Answers a held item. The next `allclear recover` acts on it.

    Example:

      allclear answer harbor/pro2/campaign/107@2026-11-01T05:30:00Z drop --by "Dana Reyes" --reason "event is over"
    """
    from recovery import commands

    _run(lambda: commands.answer(config, item, choice, by, reason, as_json=as_json), as_json)


@app.command()
def explain(
    item: Annotated[str, typer.Argument(help="The item's key, or an object id.")],
    config: Config = None,
    as_json: AsJson = False,
    no_color: Plain = False,
) -> None:
    """The whole life of one item: its question, every move, every request and reply, with times.

    Example:

      allclear explain 107
    """
    from recovery import commands

    _run(lambda: commands.explain(config, item, as_json=as_json, no_color=no_color), as_json)


@app.command()
def kill(
    by: By,
    reason: Reason = "",
    clear: Annotated[bool, typer.Option("--clear", help="Turn it off again.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """The kill switch: nothing leaves while it is on, for every run on this ledger.

    Examples:

      allclear kill --by "Dana Reyes" --reason "two copies seen"

      allclear kill --clear --by "Dana Reyes"
    """
    from recovery import commands

    _run(lambda: commands.kill(config, by, reason, clear, as_json=as_json), as_json)


@app.command()
def watch(
    every: Annotated[float, typer.Option("--every", min=0, help="Seconds between rounds; 0 means one round.")] = 0.0,
    config: Config = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Looks whether a stopped original or a job that was given up went on by itself; reports overlaps once.

    Run it every minute for 72 hours after a recovery (the deployment `watch` does).

    Examples:

      allclear watch

      allclear watch --every 60
    """
    from recovery import commands

    _run(lambda: commands.watch(config, every, as_json=as_json, quiet=quiet), as_json)


@app.command()
def doctor(
    account: Accounts = NO_NAMES,
    prove: Annotated[
        str,
        typer.Option("--prove", help="Try on this test account what the platform does, and record it. Writes there."),
    ] = "",
    by: By = "",
    config: Config = None,
    as_json: AsJson = False,
    no_color: Plain = False,
) -> None:
    """Checks the configuration, where each secret is, the ledger, and asks every remote who we are. Changes nothing
    but what --prove tries on an account that settings call a test account.

    Example:

      allclear doctor --account harbor

      allclear doctor --prove harbor-test --by "Dana Reyes"
    """
    from recovery import checkup, commands

    if prove:
        _run(lambda: checkup.show_proofs(config, prove, by, as_json=as_json), as_json)
    _run(lambda: commands.doctor(config, tuple(account), as_json=as_json, no_color=no_color), as_json)


@app.command()
def webhooks(
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Where to listen; 0 takes a free one.")] = 8470,
    host: Annotated[str, typer.Option("--host", help="The address; put a TLS proxy before any other.")] = "127.0.0.1",
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Receives signed webhooks (outage over, PagerDuty, Slack); they cause a note or an audit, never an action.

    Example:

      allclear webhooks --port 8470
    """
    from recovery import webhook_server

    _run(lambda: webhook_server.webhooks(config, host, port, quiet=quiet))


@app.command()
def sandbox(
    root: Annotated[Path, typer.Option("--root", help="Where its journals and the configuration go.")] = Path(
        "var/sandbox"
    ),
    scenario: Annotated[str, typer.Option("--scenario", help="What has happened.")] = "two-hours-down",
    as_json: AsJson = False,
) -> None:
    """Starts the pretend estate on this machine and writes a configuration for it; Ctrl-C stops it.

    Example:

      allclear sandbox --scenario one-campaign
    """
    from recovery import demo as demo_module

    _run(lambda: demo_module.sandbox(root, scenario, as_json=as_json), as_json)


@app.command()
def demo(
    root: Annotated[Path, typer.Option("--root", help="Where everything goes.")] = Path("var/demo"),
    scenario: Annotated[str, typer.Option("--scenario", help="What has happened.")] = "two-hours-down",
    as_json: AsJson = False,
    no_color: Plain = False,
) -> None:
    """Plays an outage on this machine and recovers from it, from the first audit to the filed ticket.

    Example:

      allclear demo
    """
    from recovery import demo as demo_module

    _run(lambda: demo_module.demo(root, scenario, as_json=as_json, no_color=no_color), as_json)


async def _recorded(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """The work, also recorded on a Prefect server when PREFECT_API_URL names one; Prefect loads for nothing else."""
    if not os.environ.get("PREFECT_API_URL"):
        return await work()
    from flows.record import recorded

    return await recorded("allclear recover", work)


def _run(command: Callable[[], Coroutine[Any, Any, int]], as_json: bool = False) -> None:
    """Runs a command; an error becomes one sentence, what to do, and its exit code."""
    from recovery.terminal import run_command

    raise typer.Exit(run_command(command, as_json=as_json))


def main() -> None:
    """The `allclear` program."""
    try:
        app(standalone_mode=True)
    except BrokenPipeError:
        # The reader of a pipe went away; that is no failure of ours.
        sys.stderr.close()
        raise SystemExit(0) from None


if __name__ == "__main__":
    main()
