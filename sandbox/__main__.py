"""`python -m sandbox serve` runs the pretend estate; `oracle` judges what was done to it; `scenario` checks a name."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="start every pretend system on free loopback ports")
    serve.add_argument("--root", type=Path, required=True, help="directory for journals and estate.json")
    serve.add_argument("--scenario", default="two-hours-down", help="what has happened (default: %(default)s)")
    serve.add_argument("--seed", type=int, default=1, help="seed of everything random (default: %(default)s)")
    serve.add_argument("--speed", type=float, default=1.0, help="divides how long sending and jobs take")
    oracle = commands.add_parser("oracle", help="judge from the journals alone; exit 0 when all is well")
    oracle.add_argument("--root", type=Path, required=True, help="the estate's directory")
    oracle.add_argument(
        "--claims", type=Path, action="append", default=[], help="what `allclear recover --json` printed; once per run"
    )
    oracle.add_argument("--json", action="store_true", help="print JSON instead of a table")
    scenario = commands.add_parser("scenario", help="whether there is such a scenario; exit 2 names those there are")
    scenario.add_argument("scenario")
    options = parser.parse_args(argv)
    if options.command == "scenario":
        return known(options.scenario)
    if options.command == "oracle":
        from sandbox.oracle import run

        return run(options.root, options.claims, as_json=options.json)
    return serve_estate(options)


def known(scenario: str) -> int:
    """0 for a scenario that can be served; 2 and the names on stderr for any other."""
    from sandbox.estate import builder_of

    try:
        builder_of(scenario)
    except LookupError as error:
        sys.stderr.write(f"{error.args[0]}\n")
        return 2
    return 0


def serve_estate(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    import uvloop

    from sandbox.estate import Estate

    async def until_told() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        async with Estate.start(options.scenario, options.root, seed=options.seed, speed=options.speed) as estate:
            sys.stdout.write(f"{options.root / 'estate.json'}\n")
            sys.stdout.flush()
            estate.failed.add_done_callback(lambda _: stopped.set())
            await stopped.wait()

    try:
        uvloop.run(until_told())
    except LookupError as error:
        sys.stderr.write(f"{error.args[0]}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
