"""`allclear archive` at a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from recovery.terminal.cli_options import AsJson, Config, run_to_exit

MEGABYTE = 1_000_000


def archive(
    before: Annotated[str, typer.Option("--before", help="What ended so long ago or earlier: 90d.")] = "90d",
    to: Annotated[Optional[Path], typer.Option("--to", help="The file to write; it must not exist yet.")] = None,  # noqa: UP045 # typer
    check: Annotated[Optional[Path], typer.Option("--check", help="Instead: prove that this archive is whole.")] = None,  # noqa: UP045 # typer
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Moves the history and evidence of incidents that ended long ago out of the ledger, into one file.

    Items, actions and their keys stay, so nothing can be done twice because of it. The file is checked before anything
    leaves the ledger.

    Example:

      allclear archive --before 90d --to var/archive-2026.gz
    """
    run_to_exit(lambda: _archive(before, to, check, config, as_json=as_json), as_json)


async def _archive(before: str, to: Path | None, check: Path | None, config: Path | None, *, as_json: bool) -> int:
    from recovery import archive as work
    from recovery.errors import UsageError
    from recovery.settings import load_settings
    from recovery.terminal.terminal import print_json
    from recovery.window import parse_span
    from recovery.wiring import NO_ACCOUNTS, open_systems

    if (to is None) == (check is None):
        raise UsageError("Say what to do: --to FILE makes an archive, --check FILE proves one.", "Give one of them.")
    async with open_systems(load_settings(config), names=NO_ACCOUNTS) as systems:
        shelf = systems.ledger.shelf
        if check is not None:
            problems = await work.check(shelf, check)
            said: dict[str, Any] = {"schema": "allclear.archive/1", "file": str(check), "problems": list(problems)}
            lines = list(problems) or [f"{check} is whole, and ends where the ledger says."]
            code = 1 if problems else 0
        else:
            assert to is not None
            made = await work.archive(shelf, systems.clock.now(), parse_span(before), to)
            said = {
                "schema": "allclear.archive/1",
                "file": str(to) if made.digest else "",
                "sha256": made.digest,
                "incidents": list(made.incidents),
                "actions": made.actions,
                "events": made.events,
                "evidence": made.evidence,
                "problems": [],
            }
            lines = _lines(made)
            code = 0
    if as_json:
        print_json({**said, "exit_code": code})
    else:
        typer.echo("\n".join(lines))
    return code


def _lines(made: object) -> list[str]:
    from recovery.archive import Archived

    assert isinstance(made, Archived)
    if not made.digest:
        return ["No incident ended so long ago; nothing was written."]
    size = made.file.stat().st_size / MEGABYTE
    return [
        f"{len(made.incidents)} incidents: {made.events} events of {made.actions} actions and {made.evidence} pieces "
        f"of evidence are in {made.file} ({size:.1f} MB) and no longer in the ledger.",
        f"SHA-256 {made.digest}",
        f"Prove it at any time: allclear archive --check {made.file}",
    ]
