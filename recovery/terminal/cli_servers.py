"""What serves on this machine: webhooks, the pretend estate, the demonstration. Names, options and help only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recovery.terminal.cli_options import AsJson, Config, Quiet, run_to_exit


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
    from recovery.terminal import webhook_commands

    run_to_exit(lambda: webhook_commands.webhooks(config, host, port, quiet=quiet))


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
    from recovery.terminal import demo as demo_module

    run_to_exit(lambda: demo_module.sandbox(root, scenario, as_json=as_json), as_json)


def demo(
    root: Annotated[Path, typer.Option("--root", help="Where everything goes.")] = Path("var/demo"),
    scenario: Annotated[str, typer.Option("--scenario", help="What has happened.")] = "two-hours-down",
    as_json: AsJson = False,
) -> None:
    """Plays an outage on this machine and recovers from it, from the first audit to the filed ticket.

    Example:

      allclear demo
    """
    from recovery.terminal import demo as demo_module

    run_to_exit(lambda: demo_module.demo(root, scenario, as_json=as_json), as_json)
