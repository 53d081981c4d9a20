"""Start-up: how long a person waits for `--help` and `status`, and `recover` for its first remote call."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.machine import noise, save, spread, table
from recovery.terminal.rehearsal import write_config

REPO = Path(__file__).resolve().parents[1]
ALLCLEAR = str(Path(sys.executable).with_name("allclear"))


def configured(folder: Path, port: int) -> Path:
    """A configuration of one account whose systems all stand at one port of this machine."""
    base = f"http://127.0.0.1:{port}"
    account = {
        "name": "harbor",
        "time_zone": "UTC",
        "pro2": {"base_url": base, "token": "t"},
        "dashboard": {"base_url": base, "token": "t"},
        "tessitura": {
            "base_url": base,
            "user": "u",
            "group": "g",
            "location": "l",
            "password": "p",
        },
    }
    return write_config({"accounts": [account]}, folder, REPO / "config" / "playbooks" / "process-failure.toml")


def command_ms(*arguments: str) -> float:
    """Until the command has ended."""
    started = time.perf_counter()
    done = subprocess.run([ALLCLEAR, *arguments], capture_output=True, check=False, env=_environment(), text=True)
    took = (time.perf_counter() - started) * 1000
    if done.returncode not in (0, 3):
        raise SystemExit(f"allclear {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-500:]}")
    return took


def first_call_ms(config: Path, listener: socket.socket) -> float:
    """Until `recover` has opened its first connection to a remote; the command is then ended."""
    command = [ALLCLEAR, "recover", "--last", "2h", "--by", "Bench", "--config", str(config), "--quiet"]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_environment()) as process:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            raise SystemExit("recover made no remote call within 20 s") from None
        finally:
            process.kill()
        took = (time.perf_counter() - started) * 1000
        connection.close()
    listener.setblocking(False)
    try:
        while True:
            listener.accept()[0].close()
    except BlockingIOError:
        listener.settimeout(20)
    return took


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "ALLCLEAR_"))}


def run(rounds: int) -> dict[str, Any]:
    """Saved as results/startup.json. A bare interpreter runs in each round, as the measure of the others."""
    with tempfile.TemporaryDirectory(prefix="acstart") as folder, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        listener.settimeout(20)
        config = configured(Path(folder), listener.getsockname()[1])
        measured: dict[str, Callable[[], float]] = {
            "python -c pass": _bare_python,
            "allclear --help": lambda: command_ms("--help"),
            "allclear status": lambda: command_ms("status", "--config", str(config)),
            "allclear recover, to its first remote call": lambda: first_call_ms(config, listener),
        }
        command_ms("status", "--config", str(config))  # byte code is compiled, the ledger's file exists
        took: dict[str, list[float]] = {name: [] for name in measured}
        for _ in range(rounds):
            for name, measure in measured.items():
                took[name].append(measure())
    result = {"rows": [{"what": name, "ms": spread(values)} for name, values in took.items()], "noise": noise()}
    save("startup", result)
    return result


def _bare_python() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return (time.perf_counter() - started) * 1000


def markdown(result: dict[str, Any]) -> str:
    return table(("what", "ms, median (least to most)"), [(row["what"], row["ms"]) for row in result["rows"]])
