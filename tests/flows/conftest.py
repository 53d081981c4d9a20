"""A real Prefect server and worker, started as `make server` starts them, beside the sandbox estate."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recovery.terminal.rehearsal import read_estate, write_config

from .api import Api

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PLAYBOOK = REPOSITORY / "config" / "playbooks" / "process-failure.toml"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_until(what: str, seconds: float, look: Any) -> Any:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds} s")


class Estate:
    """The sandbox as a program, with a configuration for it."""

    def __init__(self, root: Path, program: subprocess.Popen[bytes]) -> None:
        self.root = root
        self.program = program
        published = root / "estate" / "estate.json"
        wait_until("the sandbox", 60, published.exists)
        self.published = read_estate(root / "estate")
        self.config = write_config(self.published, root, PLAYBOOK)

    @property
    def window(self) -> dict[str, Any]:
        return dict(self.published["window"])

    @contextmanager
    def fewer_recipients_a_run(self, most: int) -> Iterator[None]:
        """The policy as somebody has it who lets only so many people be reached by one run."""
        policy = self.root / "policy.toml"
        before = policy.read_text()
        lowered = re.sub(r"(?m)^recipients_per_run = .*$", f"recipients_per_run = {most}", before)
        assert lowered != before
        policy.write_text(lowered)
        try:
            yield
        finally:
            policy.write_text(before)

    def judged(self) -> dict[str, Any]:
        """What the oracle says, which reads only the remotes' own journals."""
        told = subprocess.run(
            [sys.executable, "-m", "sandbox", "oracle", "--root", str(self.root / "estate"), "--json"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        judged: dict[str, Any] = json.loads(told.stdout)
        return judged


@pytest.fixture(scope="session")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    root = tmp_path_factory.mktemp("estate")
    command = ["-m", "sandbox", "serve", "--root", str(root / "estate"), "--scenario", "one-campaign"]
    program = subprocess.Popen([sys.executable, *command], cwd=REPOSITORY, stdout=subprocess.DEVNULL)
    try:
        yield Estate(root, program)
    finally:
        program.terminate()
        program.wait(20)


class Server:
    """What `flows/server.sh` started."""

    def __init__(self, home: Path, environment: dict[str, str], port: int) -> None:
        self.home = home
        self.environment = environment
        self.port = port
        self.url = f"http://127.0.0.1:{port}/api"
        self.api = Api(self.url, (home / "login").read_text().strip())

    def client_environment(self) -> dict[str, str]:
        """The environment of a shell in which `eval "$(flows/server.sh env)"` was run."""
        shown = subprocess.run(
            ["bash", "-c", f'eval "$({REPOSITORY}/flows/server.sh env)" && env -0'],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(line.split("=", 1) for line in shown.stdout.split("\0") if "=" in line)

    def pids(self) -> list[int]:
        return [int((self.home / f"{name}.pid").read_text()) for name in ("server", "worker")]


def server_script(what: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(REPOSITORY / "flows" / "server.sh"), what],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def clean_environment() -> dict[str, str]:
    """This process's environment without anything that would reach another server or ledger."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "ALLCLEAR_", "PYTEST_"))}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, estate: Estate) -> Iterator[Server]:
    home, port = tmp_path_factory.mktemp("prefect"), free_port()
    environment = {
        **clean_environment(),
        "ALLCLEAR_PREFECT_HOME": str(home),
        "ALLCLEAR_PREFECT_PORT": str(port),
        "ALLCLEAR_BIN": str(BIN),
        "ALLCLEAR_CONFIG": str(estate.config),
    }
    started = server_script("up", environment)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        running = Server(home, environment, port)
        yield running
        running.api.http.close()
    finally:
        server_script("down", environment)
