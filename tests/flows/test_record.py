"""Recording a run of the terminal never costs the run: the server may be absent, refuse, or go away in the middle."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from .conftest import REPOSITORY, clean_environment

pytestmark = pytest.mark.timeout(180)

WORK = """
import asyncio, sys
from flows.record import recorded

async def work():
    print("started", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print("finished", flush=True)
    if "fail" in sys.argv:
        raise ValueError("the work's own trouble")
    return 3

sys.exit(asyncio.run(recorded("allclear recover", work)))
"""

RUN = "6f1d7f0e-5d5c-4f6e-9a3e-0c6b1c8a9b11"
FLOW = "0b0f8f5b-2f0a-4a53-8f7e-7d4f6a1e2c33"
MOMENT = "2026-11-01T08:20:00Z"
NEEDED = {
    "/api/health": "true",
    "/api/flows/": f'{{"id": "{FLOW}", "name": "allclear recover", "created": "{MOMENT}", "updated": "{MOMENT}"}}',
    "/api/flow_runs/": f'{{"id": "{RUN}", "flow_id": "{FLOW}", "created": "{MOMENT}", "updated": "{MOMENT}"}}',
    "/api/events": "",
}


class Stand:
    """A server that takes a run as Prefect does, until it is told to vanish or to fall silent."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent = False
        self.busy: dict[str, int] = {}
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/api"
        self.open: list[socket.socket] = []
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                taken, _ = self.listening.accept()
            except OSError:
                return
            self.open.append(taken)
            if not self.silent:
                with suppress(OSError):
                    self._answer(taken)

    def _answer(self, taken: socket.socket) -> None:
        path = self._request(taken)
        if not path:
            return
        self.asked.append(path)
        body = NEEDED.get(path)
        status = "404 Not Found" if body is None else "200 OK"
        if self.busy.get(path):
            self.busy[path] -= 1
            status, body = "503 Service Unavailable", '{"exception_message": "Service Unavailable"}'
        reply = (body or "{}").encode()
        taken.sendall(
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(reply)}\r\n"
            "Connection: close\r\n\r\n".encode()
            + reply
        )
        taken.shutdown(socket.SHUT_WR)

    @staticmethod
    def _request(taken: socket.socket) -> str:
        """The path of a request that was read whole; nothing when the caller went away."""
        with taken.makefile("rb") as lines:
            path = lines.readline().decode().split(" ")[1:2]
            length = 0
            while line := lines.readline().strip():
                name, _, value = line.decode().partition(":")
                length = int(value) if name.lower() == "content-length" else length
            lines.read(length)
        return path[0].split("?")[0] if path else ""

    def vanish(self) -> None:
        """Nothing listens any more; every connection breaks."""
        with suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self.thread.join(10)
        for taken in self.open:
            taken.close()


@pytest.fixture
def stand() -> Iterator[Stand]:
    made = Stand()
    yield made
    made.vanish()


class Started:
    """A program with recorded work in it, which waits for a line before it ends."""

    def __init__(self, url: str, home: Path, *more: str) -> None:
        environment = {**clean_environment(), "PREFECT_API_URL": url, "PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"}
        self.program = subprocess.Popen(
            [sys.executable, "-c", WORK, *more],
            env=environment,
            cwd=REPOSITORY,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def wait_for_the_middle(self) -> None:
        assert self.program.stdout is not None
        assert self.program.stdout.readline() == "started\n"

    def ended(self) -> tuple[int, str, str, float]:
        """Lets the work end: exit code, what followed on stdout, stderr, and the seconds until the program returned."""
        began = time.monotonic()
        out, err = self.program.communicate("\n", timeout=90)
        return self.program.returncode, out, err, time.monotonic() - began


def closed_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_server_that_is_not_there_costs_one_line(tmp_path: Path) -> None:
    run = Started(f"http://127.0.0.1:{closed_port()}/api", tmp_path)
    code, out, err, _ = run.ended()
    assert (code, out) == (3, "started\nfinished\n")
    assert err == (
        "allclear: not recorded on the Prefect server (it does not answer within 2 s); the run goes on without it.\n"
    )


def test_a_server_that_accepts_and_says_nothing_costs_two_seconds_and_one_line(tmp_path: Path, stand: Stand) -> None:
    stand.silent = True
    code, out, err, _ = Started(stand.url, tmp_path).ended()
    assert (code, out) == (3, "started\nfinished\n")
    assert err.count("\n") == 1
    assert "does not answer" in err


def test_an_address_that_is_no_prefect_server_costs_one_line(tmp_path: Path, stand: Stand) -> None:
    code, out, err, _ = Started(stand.url.replace("/api", "/elsewhere"), tmp_path).ended()
    assert (code, out) == (3, "started\nfinished\n")
    assert "it answers 404" in err


@pytest.mark.parametrize("how", ["vanishes", "falls silent"])
def test_a_server_lost_in_the_middle_neither_loses_nor_repeats_the_result(
    tmp_path: Path, stand: Stand, how: str
) -> None:
    run = Started(stand.url, tmp_path)
    run.wait_for_the_middle()
    assert "/api/flow_runs/" in stand.asked, "it was recorded until then"
    if how == "vanishes":
        stand.vanish()
    else:
        stand.silent = True
    code, out, err, seconds = run.ended()
    assert (code, out) == (3, "finished\n")
    assert "does not know how this run ended (" in err
    assert "Traceback" not in err
    assert seconds < 20


def test_a_server_whose_database_is_busy_for_a_moment_takes_the_run_all_the_same(tmp_path: Path, stand: Stand) -> None:
    """Prefect on SQLite answers 503 while another writer holds the database, and has then done nothing."""
    stand.busy = {"/api/flows/": 1, "/api/flow_runs/": 1}
    run = Started(stand.url, tmp_path)
    run.wait_for_the_middle()
    assert stand.asked.count("/api/flow_runs/") == 2
    _, _, err, _ = run.ended()
    assert "not recorded" not in err


def test_a_server_that_stays_busy_costs_its_patience_and_one_line(tmp_path: Path, stand: Stand) -> None:
    stand.busy = {"/api/flow_runs/": 1000}
    began = time.monotonic()
    run = Started(stand.url, tmp_path)
    run.wait_for_the_middle()
    assert time.monotonic() - began < 60
    code, _, err, _ = run.ended()
    assert code == 3
    assert err == (
        "allclear: not recorded on the Prefect server (it did not take the run: it answered nothing but 503 for 10 s);"
        " the run goes on without it.\n"
    )


def test_the_works_own_error_passes_unchanged(tmp_path: Path, stand: Stand) -> None:
    run = Started(stand.url, tmp_path, "fail")
    code, _, err, _ = run.ended()
    assert code == 1
    assert err.rstrip().endswith("ValueError: the work's own trouble")
    assert any("set_state" in path for path in stand.asked), "the server is told that it failed"


def test_without_an_address_prefect_is_not_even_loaded(tmp_path: Path) -> None:
    program = WORK.replace('"finished"', '"prefect" in sys.modules')
    environment = {k: v for k, v in clean_environment().items() if k != "PREFECT_API_URL"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        cwd=REPOSITORY,
        text=True,
        input="\n",
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "started\nFalse\n")
