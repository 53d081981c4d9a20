"""The `allclear` program in a pipe, and an estate on real ports for it to talk to."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.estate import Builder, Estate
from tests.recovery.stage import Night, configure

REPO = Path(__file__).resolve().parents[2]
PROGRAM = [str(Path(sys.executable).with_name("allclear"))]
PEOPLE = ("Dana Reyes", "Sam Okafor")


@dataclass(frozen=True)
class Ran:
    """What one call of the program came to."""

    args: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(**more: str) -> dict[str, str]:
    """The caller's environment without anything that steers the program, and `more`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ALLCLEAR", "PREFECT", "PYTEST", "NO_COLOR"))}
    return {**kept, "COLUMNS": "80", **more}


class Preloaded:
    """Calls of the program without its import time; see `tests.cli.preloaded`."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.pid = Path()

    def kill(self) -> None:
        """Kills (SIGKILL) the call under way, which another thread is waiting for."""
        os.kill(int(self.pid.read_text()), signal.SIGKILL)

    def call(self, args: tuple[str, ...], cwd: Path, env: dict[str, str]) -> Ran:
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.cli.preloaded"], cwd=REPO, env=environment(), text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            atexit.register(self.process.kill)
        with tempfile.TemporaryDirectory() as folder:
            out, err, pid = (Path(folder) / name for name in ("out", "err", "pid"))
            wanted = {"args": args, "cwd": str(cwd), "env": env, "out": str(out), "err": str(err), "pid": str(pid)}
            self.pid = pid
            assert self.process.stdin is not None and self.process.stdout is not None
            self.process.stdin.write(json.dumps(wanted) + "\n")
            code = int(self.process.stdout.readline())
            return Ran(args, code, out.read_text(), err.read_text())


PRELOADED = Preloaded()


def allclear(*args: str, cwd: Path = REPO, whole: bool = False, **env: str) -> Ran:
    """Runs the program to its end; a traceback anywhere fails the test. `whole` starts it from nothing."""
    if whole:
        done = subprocess.run(
            [*PROGRAM, *args], cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=60,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        ran = Ran(args, done.returncode, done.stdout, done.stderr)
    else:
        ran = PRELOADED.call(args, cwd, environment(**env))
    assert "Traceback" not in ran.err + ran.out, ran.err
    return ran


@contextmanager
def started(*args: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """The program under way; it is killed at the end if it has not ended."""
    process = subprocess.Popen(
        [*PROGRAM, *args], cwd=REPO, env=environment(**env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], words: str, seconds: float = 30) -> str:
    """Reads the program's progress up to the line that has these words."""
    read, give_up = "", time.monotonic() + seconds
    assert process.stderr is not None
    while words not in read:
        line = process.stderr.readline()
        assert line and time.monotonic() < give_up, f"no {words!r} in: {read}"
        read += line
    return read


def interrupt(process: subprocess.Popen[str]) -> None:
    """What Ctrl-C does."""
    process.send_signal(signal.SIGINT)


@contextmanager
def served(
    folder: Path, build: str | Builder, *, desks: bool = True, speed: float = 20, **policy: Any
) -> Iterator[Night]:
    """An estate served from a thread, so that the program is the only other process; and a configuration for it."""
    ready, box = threading.Event(), {}

    async def serve() -> None:
        box["stop"], box["loop"] = asyncio.Event(), asyncio.get_running_loop()
        async with Estate.start(build, folder / "estate", speed=speed) as estate:
            for account in estate.story.accounts:
                account.pro2.rate_per_second = 0
            box["estate"] = estate
            ready.set()
            await box["stop"].wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(20)
        info = box["estate"].info
        told = info if desks else {k: v for k, v in info.items() if k not in ("jira", "slack")}
        made = Night(box["estate"], folder, configure(told, folder))
        made.policy(**policy)
        yield made
    finally:
        if "stop" in box:
            box["loop"].call_soon_threadsafe(box["stop"].set)
        thread.join(20)


def window(night: Night) -> tuple[str, ...]:
    """The outage as arguments."""
    told = night.estate.info["window"]
    return "--start", told["start"], "--end", told["end"]


def approve_last(night: Night, digest: str, reach: int) -> None:
    """Both people approve a recorded plan, at the program."""
    for person in PEOPLE[: 2 if reach > 1000 else 1]:
        ran = allclear(
            "approve", digest, "--by", person, "--recipients", str(reach), "--accept-caveat", "--config",
            str(night.config),
        )  # fmt: skip
        assert ran.code == 0, ran
