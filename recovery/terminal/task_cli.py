"""`allclear task`: assisted mode at a terminal. Names, options and help only; the work is in `task_commands`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recovery.terminal.cli_options import App, AsJson, By, Config, Reason, run_to_exit

task_app = App(
    name="task",
    help="Assisted mode: what a named person does on the Integrated Dashboard, one task, one person, one click.",
    no_args_is_help=True,
)

Key = Annotated[str, typer.Argument(help="The task's key, or the beginning of it.")]


@task_app.command("list")
def list_tasks(
    every: Annotated[bool, typer.Option("--all", help="Those that are done as well.")] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """What waits for a person, and who holds it.

    Example:

      allclear task list
    """
    from recovery.terminal import task_commands

    run_to_exit(lambda: task_commands.list_tasks(config, every, as_json=as_json), as_json)


@task_app.command()
def show(key: Key, config: Config = None, as_json: AsJson = False) -> None:
    """One task: its instructions, its link and everything that was said about it.

    Example:

      allclear task show 4KQ2
    """
    from recovery.terminal import task_commands

    run_to_exit(lambda: task_commands.show(config, key, as_json=as_json), as_json)


@task_app.command()
def claim(key: Key, by: By, config: Config = None, as_json: AsJson = False) -> None:
    """Takes a task for yourself; others see it until the lease is over.

    Example:

      allclear task claim 4KQ2 --by "Dana Reyes"
    """
    from recovery.terminal import task_commands

    run_to_exit(lambda: task_commands.move(config, "claim", key, by, as_json=as_json), as_json)


@task_app.command("about-to-click")
def about_to_click(key: Key, by: By, config: Config = None, as_json: AsJson = False) -> None:
    """Says that you click now. Click only after this prints "Click now", and only once.

    Example:

      allclear task about-to-click 4KQ2 --by "Dana Reyes"
    """
    from recovery.terminal import task_commands

    run_to_exit(lambda: task_commands.move(config, "about_to_click", key, by, as_json=as_json), as_json)


@task_app.command()
def done(
    key: Key,
    by: By,
    evidence: Annotated[Path, typer.Option("--evidence", help="A file that shows it, such as a screenshot.")],
    run: Annotated[str, typer.Option("--run", help="The run that the Activity Log shows for it.")] = "",
    note: Annotated[str, typer.Option("--note", help="Anything worth knowing.")] = "",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """It was clicked and the dashboard shows it.

    Example:

      allclear task done 4KQ2 --by "Dana Reyes" --run 88213 --evidence activity-log.png
    """
    from recovery.terminal import task_commands

    run_to_exit(lambda: task_commands.done(config, key, by, evidence, run, note, as_json=as_json), as_json)


@task_app.command("not-done")
def not_done(key: Key, by: By, reason: Reason, config: Config = None, as_json: AsJson = False) -> None:
    """It was certainly not clicked; the task is open again.

    Example:

      allclear task not-done 4KQ2 --by "Dana Reyes" --reason "a colleague's run is in progress"
    """
    from recovery.terminal import task_commands

    run_to_exit(lambda: task_commands.move(config, "not_done", key, by, reason, as_json=as_json), as_json)


@task_app.command("not-sure")
def not_sure(key: Key, by: By, reason: Reason = "", config: Config = None, as_json: AsJson = False) -> None:
    """You cannot say whether it was clicked; only what the dashboard shows settles it, and nobody clicks again.

    Example:

      allclear task not-sure 4KQ2 --by "Dana Reyes" --reason "the page froze"
    """
    from recovery.terminal import task_commands

    run_to_exit(lambda: task_commands.move(config, "not_sure", key, by, reason, as_json=as_json), as_json)


@task_app.command()
def read(
    file: Annotated[Path, typer.Argument(help="A .toml, .json or .csv file (docs/assisted.md).")],
    account: Annotated[str, typer.Option("--account", "-a", help="Whose dashboard it shows.")],
    by: By,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Uploads what you read off the dashboard: definitions, Activity Log, Console.

    Example:

      allclear task read harbor-0830.toml --account harbor --by "Dana Reyes"
    """
    from recovery.terminal import task_commands

    run_to_exit(lambda: task_commands.read(config, file, account, by, as_json=as_json), as_json)
