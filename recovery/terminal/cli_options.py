"""What the commands share: their options, and how one is run. Imports nothing heavy."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, Optional

import typer
from typer.core import TyperGroup

NO_NAMES: list[str] = []
LONGEST_SUMMARY = 300

Config = Annotated[
    Optional[Path],  # noqa: UP045 # typer reads this form on every Python it supports
    typer.Option("--config", "-c", help="The configuration (else ALLCLEAR_CONFIG, else config/allclear.toml)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document (docs/json.md) and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Start = Annotated[
    str, typer.Option("--start", help='Start of the outage: ISO with zone, or "yesterday 14:00 Europe/London".')
]
End = Annotated[str, typer.Option("--end", help="End of the outage.")]
Last = Annotated[str, typer.Option("--last", help="Instead of start and end: the last 90m, 6h, 2d.")]
Accounts = Annotated[list[str], typer.Option("--account", "-a", help="Only this account; may be repeated.")]
Incident = Annotated[str, typer.Option("--incident", help="The incident's name (else made from start and end).")]
By = Annotated[str, typer.Option("--by", help="Your name; it is recorded.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]
Only = Annotated[list[str], typer.Option("--only", help="Only this item (its key or object id); may be repeated.")]
Without = Annotated[list[str], typer.Option("--except", help="Not this item; may be repeated.")]
Kinds = Annotated[list[str], typer.Option("--kind", help="Only this kind, such as campaign; may be repeated.")]
Most = Annotated[Optional[int], typer.Option("--max", min=1, help="At most so many items.")]  # noqa: UP045 # typer
Wave = Annotated[Optional[int], typer.Option("--wave", min=0, help="Only this wave.")]  # noqa: UP045 # typer


NoColor = Annotated[bool, typer.Option("--no-color", help="No colours (NO_COLOR does the same).")]
NoProgress = Annotated[bool, typer.Option("--quiet", "-q", help="No progress (this command shows none).")]


class Group(TyperGroup):
    """A group whose list of commands shows their first sentence whole, wrapped instead of cut."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the list."""
        named = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(n, c.get_short_help_str(LONGEST_SUMMARY)) for n, c in named if c and not c.hidden])


class App(typer.Typer):
    """A Typer with plain help, whose commands all take --quiet and --no-color: a script may pass them to any."""

    def __init__(self, **kwargs: Any) -> None:
        plain = {"cls": Group, "rich_markup_mode": None, "context_settings": {"help_option_names": ["-h", "--help"]}}
        super().__init__(**{**plain, **kwargs})

    def command(self, name: str | None = None, **kwargs: Any) -> Callable[[Any], Any]:
        """Adds a command, as Typer does."""
        add = super().command(name, **kwargs)

        def added(function: Callable[..., None]) -> Callable[..., None]:
            add(with_common_options(function))
            return function

        return added


def with_common_options(function: Callable[..., None]) -> Callable[..., None]:
    """The function with --no-color, and with a --quiet that changes nothing when it has none of its own."""
    signature = inspect.signature(function, eval_str=True)
    more = {"no_color": NoColor} if "quiet" in signature.parameters else {"quiet": NoProgress, "no_color": NoColor}

    @functools.wraps(function)
    def called(**given: Any) -> None:
        if given["no_color"]:
            os.environ["NO_COLOR"] = "1"  # what everything that prints looks at
        function(**{name: value for name, value in given.items() if name not in more})

    added = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=a) for n, a in more.items()]
    called.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *added])  # type: ignore[attr-defined] # what Typer reads
    called.__annotations__ = {n: p.annotation for n, p in called.__signature__.parameters.items()}  # type: ignore[attr-defined] # set above
    return called


def whole_number(text: str) -> int:
    """A number as people write it, `18250` or `18,250`."""
    try:
        return int(re.sub(r"(?<=\d),(?=\d{3}(?:,|$))", "", text.strip()))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no whole number.") from None


def run_to_exit(command: Callable[[], Coroutine[Any, Any, int]], as_json: bool = False) -> NoReturn:
    """Runs a command; an error becomes one sentence, what to do, and its exit code."""
    from recovery.terminal.terminal import run_command

    raise typer.Exit(run_command(command, as_json=as_json))
