"""`allclear demo` and `allclear sandbox`: the product against servers on this machine, with nothing special in it.

The estate runs as a program of its own (`python -m sandbox`); all that is shared with it is the configuration that is
written from the addresses it publishes. The approvals are the ones that a real night needs, given in two names.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from recovery.approvals import acting, reach_of
from recovery.errors import AllclearError, UsageError
from recovery.model import Approval, OutageWindow, Plan, iso
from recovery.operate import RecoverResult, Run, audit_window, plan_from
from recovery.settings import load_settings
from recovery.terminal.commands import show_result, write_report
from recovery.terminal.progress import Progress
from recovery.terminal.rehearsal import CONFIG, read_estate, write_config
from recovery.terminal.terminal import print_json, put, stop_on_signals
from recovery.views import recover_view
from recovery.wiring import Systems, open_systems

PLAYBOOK = Path(__file__).resolve().parents[2] / "config" / "playbooks" / "process-failure.toml"
START_SECONDS = 30.0
PEOPLE = ("Dana Reyes", "Sam Okafor")
MARK = ".allclear-demo"
SANDBOX_MARK = ".allclear-sandbox"
NO_SUCH_SCENARIO = 2


@asynccontextmanager
async def estate(root: Path, scenario: str) -> AsyncIterator[dict[str, Any]]:
    """The pretend estate as a child process, until the end of the block; AllclearError when it does not start."""
    published = root / "estate.json"
    published.unlink(missing_ok=True)
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sandbox",
        "serve",
        "--root",
        str(root),
        "--scenario",
        scenario,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        give_up = time.monotonic() + START_SECONDS
        while not published.exists():
            if program.returncode is not None or time.monotonic() > give_up:
                said = (await program.stderr.read()).decode(errors="replace")[-500:] if program.stderr else ""
                raise AllclearError(f"The sandbox did not start. {said}".strip(), "Is the `sandbox` extra installed?")
            await asyncio.sleep(0.05)
        yield read_estate(root)
    finally:
        if program.returncode is None:
            program.send_signal(signal.SIGTERM)
            await program.wait()


async def check_scenario(scenario: str) -> None:
    """UsageError with the names there are for a scenario that there is not."""
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", "scenario", "--", scenario,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await program.communicate()
    if program.returncode == NO_SUCH_SCENARIO:
        names = said.decode(errors="replace").strip().rpartition("; there are ")[2]
        raise UsageError(f"There is no scenario {scenario!r}.", f"Choose one of {names}.")


def make_room(root: Path) -> None:
    """An empty folder with the demo's mark in it. UsageError for a folder that is not empty and not a demo's own."""
    if root.is_dir() and not root.is_symlink() and (root / MARK).is_file():
        shutil.rmtree(root)
    elif root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise UsageError(
            f"{root} holds something that no demo has written, and a demo begins with an empty folder.",
            "Give another --root, or empty it yourself.",
        )
    root.mkdir(parents=True, exist_ok=True)
    (root / MARK).write_text("`allclear demo` deletes this folder when it begins anew.\n", encoding="utf-8")


async def sandbox(root: Path, scenario: str, *, as_json: bool) -> int:
    """Serves until Ctrl-C. UsageError for a folder whose configuration no sandbox has written."""
    await check_scenario(scenario)
    if (root / CONFIG).exists() and not (root / SANDBOX_MARK).is_file():
        raise UsageError(
            f"{root} holds an {CONFIG} that no sandbox has written, and a sandbox writes its own there.",
            "Give another --root.",
        )
    root.mkdir(parents=True, exist_ok=True)
    (root / SANDBOX_MARK).write_text("`allclear sandbox` writes its configuration anew here.\n", encoding="utf-8")
    stop = asyncio.Event()
    stop_on_signals(stop)
    async with estate(root, scenario) as published:
        config = write_config(published, root, PLAYBOOK)
        window = published["window"]
        if as_json:
            print_json({"schema": "allclear.sandbox/1", "config": str(config), "window": window, "exit_code": 0})
        else:
            print(f"The estate is up ({scenario}). In another terminal:")
            print(f"  export ALLCLEAR_CONFIG={config.resolve()}")
            print(f"  allclear audit --start {window['start']} --end {window['end']}")
            print("Ctrl-C stops it.", flush=True)
        await stop.wait()
    return 0


async def demo(root: Path, scenario: str, *, as_json: bool) -> int:
    """The main job, once, from nothing; exit code 0 only when the oracle finds nothing wrong.

    An earlier demo's folder is replaced; any other folder that holds something is left alone (UsageError).
    """
    await check_scenario(scenario)
    make_room(root)
    started = time.monotonic()
    async with estate(root / "estate", scenario) as published:
        config = write_config(published, root, PLAYBOOK)
        _say(as_json, f"\n1. A platform was down from {published['window']['start']} to {published['window']['end']}.")
        _say(as_json, f"   {len(published['accounts'])} accounts stand on this machine, each behind real HTTP.")
        settings = load_settings(config)
        tell = Progress(quiet=as_json)
        async with open_systems(settings, tell=tell) as systems:
            done = await _play(systems, tell, _window(published), root, as_json)
        told = await _desk(published, config, _window(published), as_json)
        verdict, judged = await _oracle(root, as_json)
    if as_json:
        print_json(
            {"schema": "allclear.demo/1", "oracle": judged, "report": str(root / "report.html"), "exit_code": verdict}
        )
    else:
        print(f"\nDone in {time.monotonic() - started:.0f} s. Report: {(root / 'report.html').resolve()}")
        print("Next: `allclear sandbox` in one terminal and the commands it prints in another,")
        print(f"or look at this run again: `allclear hold --config {config}`.")
    balanced = done.balance is not None and done.balance.adds_up
    return verdict if balanced and told else 1


async def _desk(published: dict[str, Any], config: Path, window: OutageWindow, as_json: bool) -> bool:
    """The incident desk's part; the hour that it waits for passes on the estate's clock and in the configuration."""
    from recovery.terminal.demo_desk import DeskPlay

    async def pass_time(delta: timedelta) -> None:
        body = json.dumps({"advance_seconds": delta.total_seconds()}).encode()
        url, said = f"{published['control']}/clock", {"Content-Type": "application/json"}
        request = urllib.request.Request(url, body, said)  # noqa: S310 # the estate's own loopback address
        reply = await asyncio.to_thread(lambda: json.load(urllib.request.urlopen(request, timeout=10)))  # noqa: S310
        text = config.read_text(encoding="utf-8")
        offset = f"clock_offset_seconds = {reply['clock_offset_seconds']}"
        config.write_text(re.sub(r"clock_offset_seconds = .*", offset, text), encoding="utf-8")

    play = DeskPlay(config, window.incident_ref, window.started_at, lambda text: _say(as_json, text))
    return await play.play(pass_time)


def _window(published: dict[str, Any]) -> OutageWindow:
    start, end = (datetime.fromisoformat(published["window"][k]) for k in ("start", "end"))
    return OutageWindow(start, end, tuple(a["name"] for a in published["accounts"]))


async def _play(systems: Systems, tell: Progress, window: OutageWindow, root: Path, as_json: bool) -> RecoverResult:
    from recovery.report.of_run import build
    from recovery.report.text import audit_table, plan_diff

    _say(as_json, "\n2. Audit: what was due, and what happened?")
    before = await audit_window(systems, window)
    tell.end()
    if not as_json:
        put(audit_table(await build(systems, before, "audit")))
    made = await plan_from(systems, before)
    if made is None:
        raise AllclearError("The audit found nothing to do, so there is nothing to show.", "Choose another --scenario.")
    _say(as_json, "\n3. Plan: what would be done, and who is reached?")
    if not as_json:
        put(plan_diff(made, before.findings))
    await _approve(systems, made)
    _say(as_json, f"\n4. {PEOPLE[0]} and {PEOPLE[1]} approve plan {made.digest[:12]} for {made.reach:,} recipients.")
    done = await Run(systems, made, "demo").recover()
    tell.end()
    _say(as_json, "\n5. What came of it.")
    await write_report(systems, done, before, root / "report.html")
    await write_report(systems, done, before, root / "report.md")
    actions = {r.slot_key: await systems.ledger.actions(r.slot_key) for r in done.items}
    view = recover_view(done, actions, iso(systems.clock.now()))
    (root / "recover.json").write_text(json.dumps(view, ensure_ascii=False, indent=1), encoding="utf-8")
    if not as_json:
        await show_result(systems, done, False)
    return done


async def _approve(systems: Systems, made: Plan) -> None:
    reach = reach_of(acting(made))
    for person in PEOPLE:
        await systems.ledger.approve(Approval(made.digest, person, systems.clock.now(), reach, True, (), "rehearsal"))


async def _oracle(root: Path, as_json: bool) -> tuple[int, Any]:
    """The judge is another program, which reads only the journals."""
    _say(as_json, "\n8. The oracle reads the remotes' own journals:")
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sandbox",
        "oracle",
        "--root",
        str(root / "estate"),
        "--claims",
        str(root / "recover.json"),
        *(["--json"] if as_json else []),
        stdout=asyncio.subprocess.PIPE if as_json else None,
    )
    out, _ = await program.communicate()
    return program.returncode or 0, json.loads(out) if as_json and out else None


def _say(as_json: bool, text: str) -> None:
    if not as_json:
        print(text, flush=True)
