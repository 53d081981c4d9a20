"""The pretend estate in a process of its own, so that what is timed shares no interpreter with it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recovery.terminal.rehearsal import read_estate


@contextmanager
def estate(accounts: int, speed: float = 1.0) -> Iterator[tuple[dict[str, Any], int]]:
    """What a fleet of so many accounts publishes of itself, and its process; `speed` divides what its jobs take."""
    with tempfile.TemporaryDirectory(prefix="acestate") as folder:
        serve = [sys.executable, "-m", "sandbox", "serve", "--root", folder, "--speed", f"{speed:g}"]
        command = [*serve, "--scenario", f"fleet:{accounts}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                server.stdout.readline()
                yield read_estate(Path(folder)), server.pid
            finally:
                server.terminate()
