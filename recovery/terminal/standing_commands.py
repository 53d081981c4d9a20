"""What status, hold, answer, explain, kill, watch and doctor do. Each returns its exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from recovery.errors import LedgerError
from recovery.operate import EXIT_ALL_CLEAR, EXIT_HELD, watch_round
from recovery.settings import config_path, load_settings
from recovery.terminal.progress import Progress
from recovery.terminal.terminal import clean, complain, print_json, say, stop_on_signals
from recovery.wiring import NO_ACCOUNTS, Systems, open_systems

NOT_SET_UP = (
    "There is no configuration yet: config/allclear.toml is not here, and ALLCLEAR_CONFIG names none.",
    "",
    "To see it work on this machine:   allclear demo",
    "To use it on your accounts:       copy config/allclear.toml, then `allclear doctor --config FILE`",
    "All commands:                     allclear --help",
)

CLEAR_SCREEN = "\x1b[2J\x1b[H"
LOOK_EVERY_SECONDS = 2.0


async def status(config: Path | None, *, as_json: bool, watch: bool, gentle: bool = False) -> int:
    """`allclear status`; `gentle` says what to do first where there is no configuration yet."""
    from recovery.standing import standing_lines, standing_view

    if gentle and config is None and not config_path(None).exists():
        say(NOT_SET_UP)
        return EXIT_ALL_CLEAR
    settings = load_settings(config)
    stop = asyncio.Event()
    if watch:
        stop_on_signals(stop, quietly=True)
    while True:
        view = await standing_view(settings)
        if as_json:
            print_json(view)
        else:
            if watch and sys.stdout.isatty():
                sys.stdout.write(CLEAR_SCREEN)
            say(standing_lines(view))
        if not watch:
            return int(view["exit_code"])
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LOOK_EVERY_SECONDS)
        if stop.is_set():
            return int(view["exit_code"])


async def held(config: Path | None, *, as_json: bool) -> int:
    """`allclear hold`."""
    from recovery.standing import held_lines, held_view

    settings = load_settings(config)
    view = await held_view(settings)
    if as_json:
        print_json(view)
    else:
        say(held_lines(view))
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
        say([f"Recorded: {by} answers {choice!r}. {what}"])
    return EXIT_ALL_CLEAR


async def explain(config: Path | None, item: str, *, as_json: bool) -> int:
    """`allclear explain`."""
    from recovery.item_story import story_lines, story_view

    view = await story_view(load_settings(config), item)
    if as_json:
        print_json(view)
    else:
        say(story_lines(view))
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
        say([f"The kill switch is ON: {on}. Nothing leaves." if on else "The kill switch is off."])
    return EXIT_ALL_CLEAR


async def quarantine(config: Path | None, clear: bool, by: str, *, as_json: bool) -> int:
    """`allclear quarantine`: exit code 3 while the ledger is not trusted."""
    settings = load_settings(config)
    async with open_systems(settings, names=NO_ACCOUNTS) as systems:
        if clear:
            await systems.ledger.release_quarantine(by)
        reason = systems.ledger.quarantine_reason
        unsettled = len(await systems.ledger.stale_actions())
    code = EXIT_HELD if reason else EXIT_ALL_CLEAR
    if as_json:
        print_json(
            {"schema": "allclear.quarantine/1", "reason": reason, "unsettled_actions": unsettled, "exit_code": code}
        )
    elif reason:
        say([f"The ledger is in quarantine, so nothing leaves: {reason}.", f"{unsettled} actions are not settled."])
        say(['`allclear recover` settles by reading; then `allclear quarantine --clear --by "YOUR NAME"`.'])
    else:
        say(["The ledger is trusted."])
    return code


async def watch(config: Path | None, every: float, *, as_json: bool, quiet: bool) -> int:
    """`allclear watch`; with `every` (seconds) a round that the ledger fails is told and the next one comes."""
    settings = load_settings(config)
    stop = asyncio.Event()
    stop_on_signals(stop)
    async with open_systems(settings, tell=Progress(quiet=quiet or as_json)) as systems:
        while True:
            try:
                code = await _watch_once(systems, as_json=as_json)
            except LedgerError as error:  # watching goes on for days, a restart of the database takes seconds
                if not every:
                    raise
                code = error.exit_code
                complain(f"allclear: {clean(str(error))}; the next round is in {every:g} s.")
            if not every or stop.is_set():
                return code
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), every)


async def _watch_once(systems: Systems, *, as_json: bool) -> int:
    from recovery.views import watch_view

    view = watch_view(await watch_round(systems))
    if as_json:
        print_json(view)
    else:
        moved, unreadable = view["sightings"], view["problems"]
        told = [*(s["text"] for s in moved), *unreadable, *view["unsettled"]]
        say([f"{view['looked']} watched, {len(moved)} moved, {len(unreadable)} unreadable."])
        say(f"  {line}" for line in told)
    return int(view["exit_code"])


async def doctor(config: Path | None, names: Sequence[str], *, as_json: bool) -> int:
    """`allclear doctor`."""
    from recovery.terminal.checkup import check_up, checkup_lines

    view = await check_up(load_settings(config), tuple(names))
    if as_json:
        print_json(view)
    else:
        say(checkup_lines(view))
    return int(view["exit_code"])
