"""Where things stand, what waits for a person, what stops everything. Names, options and help only."""

from __future__ import annotations

from typing import Annotated

import typer

from recovery.terminal.cli_options import NO_NAMES, Accounts, AsJson, By, Config, Quiet, Reason, run_to_exit


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every two seconds until Ctrl-C.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Where things stand: the last plan, what is held, what is open, whether the kill switch is on.

    Example:

      allclear status --watch
    """
    from recovery.terminal import standing_commands

    run_to_exit(lambda: standing_commands.status(config, as_json=as_json, watch=watch), as_json)


def hold(
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """What is held: each question, its recommended answer and the answers there are.

    Example:

      allclear hold
    """
    from recovery.terminal import standing_commands

    run_to_exit(lambda: standing_commands.held(config, as_json=as_json), as_json)


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
    from recovery.terminal import standing_commands

    run_to_exit(lambda: standing_commands.answer(config, item, choice, by, reason, as_json=as_json), as_json)


def explain(
    item: Annotated[str, typer.Argument(help="The item's key, or an object id.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """The whole life of one item: its question, every move, every request and reply, with times.

    Example:

      allclear explain 107
    """
    from recovery.terminal import standing_commands

    run_to_exit(lambda: standing_commands.explain(config, item, as_json=as_json), as_json)


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
    from recovery.terminal import standing_commands

    run_to_exit(lambda: standing_commands.kill(config, by, reason, clear, as_json=as_json), as_json)


def quarantine(
    clear: Annotated[bool, typer.Option("--clear", help="Trust the ledger again, as it is now.")] = False,
    by: By = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Why the ledger is not trusted, if it is not: it may have lost records, so nothing leaves.

    Run `allclear recover` first: it settles by reading what the lost records may have done. Then a named person trusts
    the ledger again.

    Examples:

      allclear quarantine

      allclear quarantine --clear --by "Dana Reyes"
    """
    from recovery.terminal import standing_commands

    run_to_exit(lambda: standing_commands.quarantine(config, clear, by, as_json=as_json), as_json)


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
    from recovery.terminal import standing_commands

    run_to_exit(lambda: standing_commands.watch(config, every, as_json=as_json, quiet=quiet), as_json)


def doctor(
    account: Accounts = NO_NAMES,
    prove: Annotated[
        str,
        typer.Option("--prove", help="Try on this test account what the platform does, and record it. Writes there."),
    ] = "",
    by: By = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Checks the configuration, where each secret is, the ledger, and asks every remote who we are. Changes nothing
    but what --prove tries on an account that settings call a test account.

    Example:

      allclear doctor --account harbor

      allclear doctor --prove harbor-test --by "Dana Reyes"
    """
    from recovery.terminal import checkup, standing_commands

    if prove:
        run_to_exit(lambda: checkup.show_proofs(config, prove, by, as_json=as_json), as_json)
    run_to_exit(lambda: standing_commands.doctor(config, tuple(account), as_json=as_json), as_json)
