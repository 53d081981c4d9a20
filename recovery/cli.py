"""The `allclear` program: the table of its commands. Everything heavy is imported when a command needs it."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from recovery.terminal import archive_cli, cli_recovery, cli_servers, cli_standing
from recovery.terminal.case_cli import case_app
from recovery.terminal.cli_options import App, Config, NoColor, run_to_exit
from recovery.terminal.incident_cli import incident_app
from recovery.terminal.task_cli import task_app

EPILOG = """
Exit codes: 0 all clear, 1 failed, 2 usage or configuration, 3 something is held or uncertain,
4 (audit) there are findings.
"""

app = App(
    name="allclear",
    help="After an outage: find what should have happened and did not, recover each of it at most once, prove it, "
    "then file the ticket. Run it with no command to see where things stand.",
    epilog=EPILOG,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    add_completion=True,
)

for _command, _summary in (
    (cli_recovery.audit, "What was due, and what happened; reads only."),
    (cli_recovery.plan, "What would be done, and who it reaches."),
    (cli_recovery.approve, "A named person lets a plan act."),
    (cli_recovery.reject, "A named person's no: the plan is never run."),
    (cli_recovery.recover, "Acts at most once, proves it, files the ticket."),
    (cli_standing.status, "Where things stand, and what to do next."),
    (cli_standing.hold, "What waits for a person: each question."),
    (cli_standing.answer, "Answers a held item."),
    (cli_standing.explain, "The whole life of one item on one screen."),
    (cli_recovery.report, "One self-contained HTML file, or Markdown."),
    (cli_standing.watch, "What goes on by itself after all."),
    (cli_standing.kill, "The kill switch: nothing leaves while it is on."),
    (cli_standing.quarantine, "Why the ledger is not trusted; trusts it again."),
    (cli_standing.doctor, "Checks settings, secrets, ledger, every remote."),
    (archive_cli.archive, "Old incidents' history, moved into one file."),
    (cli_servers.webhooks, "Receives signed webhooks; never acts on them."),
    (cli_servers.sandbox, "The pretend estate on this machine."),
    (cli_servers.demo, "An outage and its recovery on this machine."),
):
    app.command(short_help=_summary)(_command)

app.add_typer(case_app, name="case", short_help="One complaint, checked by a playbook.")
app.add_typer(incident_app, name="incident", short_help="The incident desk: customers, clocks, closing.")
app.add_typer(task_app, name="task", short_help="Assisted mode: what a person clicks.")


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(f"allclear {version('allclear')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def where_things_stand(
    context: typer.Context,
    config: Config = None,
    no_color: NoColor = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Shows where things stand and what to do next."""
    del version
    if no_color:
        os.environ["NO_COLOR"] = "1"
    if config is not None:  # before the command's name; one behind it wins
        os.environ["ALLCLEAR_CONFIG"] = str(config)
    if context.invoked_subcommand is None:
        from recovery.terminal import standing_commands

        run_to_exit(lambda: standing_commands.status(config, as_json=False, watch=False, gentle=True))


def main() -> None:
    """The `allclear` program."""
    _prepare_output()
    try:
        if "--json" in sys.argv[1:]:
            _main_in_json()
        else:
            app(standalone_mode=True)
    except BrokenPipeError:
        # The reader of a pipe went away; that is no failure of ours.
        from recovery.terminal.terminal import throw_output_away

        throw_output_away()
        raise SystemExit(0) from None
    except OSError as error:  # a page of help on a full disk; the commands' own output is looked after in their run
        from recovery.terminal.terminal import CANNOT_PRINT, fail, throw_output_away

        throw_output_away()
        raise SystemExit(fail(f"{CANNOT_PRINT} {error.strerror}.", "", 1, False)) from None


def _prepare_output() -> None:
    """Output never breaks off: a closed stream goes nowhere, and what a terminal cannot show is printed as its code."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _main_in_json() -> None:
    """The program for a script: a command line that is wrong is told as a document too."""
    try:
        code = app(standalone_mode=False)
    except Exception as error:
        told = getattr(error, "format_message", None)
        if told is None:
            raise
        from recovery.terminal.terminal import fail

        code = fail(told(), "The command's --help has examples.", getattr(error, "exit_code", 2), True)
    raise SystemExit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
