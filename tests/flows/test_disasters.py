"""Workers and servers that die in the middle of a recovery: the ledger finishes it, and nothing happens twice.

One recovery goes through all of it: its worker is killed, then the server with its database, then it is asked for once
more on a new server. The oracle, which reads only the remotes' own journals, judges at the end.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from .api import Api
from .conftest import BIN, REPOSITORY, Estate, Server, server_script, wait_until

pytestmark = pytest.mark.timeout(600)

BEAT = "prefect.flow-run.heartbeat"


def allclear(server: Server, estate: Estate, *words: str) -> subprocess.CompletedProcess[str]:
    """A command at a terminal without Prefect."""
    return subprocess.run(
        [BIN / "allclear", *words, "--config", str(estate.config)],
        env={k: v for k, v in server.environment.items() if k != "ALLCLEAR_CONFIG"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


def attempts(estate: Estate) -> int:
    """How many requests that change something have been intended so far, by the ledger."""
    with closing(sqlite3.connect(f"file:{estate.root}/allclear.db?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM attempt").fetchone()[0])


def in_the_middle(estate: Estate, since: int) -> None:
    wait_until("a first change", 90, lambda: attempts(estate) > since)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def beating(server: Server) -> str:
    """A run that is not the worker's and has sent one heartbeat."""
    flow = server.api.post("/flows/", {"name": "elsewhere"})["id"]
    run = str(server.api.post("/flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING", "name": "Running"}})["id"])
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    resource = {"prefect.resource.id": f"prefect.flow-run.{run}"}
    server.api.post("/events", [{"event": BEAT, "occurred": now, "resource": resource, "id": run}])
    return run


@pytest.fixture(scope="module")
def quiet(server: Server) -> tuple[str, str]:
    """Two runs without a second heartbeat: one that ended as ours do, and one lost to a power cut elsewhere."""
    ended, forgotten = beating(server), beating(server)
    state = {"type": "COMPLETED", "name": "All clear", "message": "nothing is left"}
    server.api.post(f"/flow_runs/{ended}/set_state", {"state": state, "force": True})
    return ended, forgotten


@pytest.fixture(scope="module")
def digest(server: Server, estate: Estate, quiet: tuple[str, str]) -> str:
    """A plan, made and approved at a terminal."""
    where = ("--start", estate.window["start"], "--end", estate.window["end"])
    plan = json.loads(allclear(server, estate, "plan", *where, "--json").stdout)["digest"]
    consent = ("--by", "Dana Reyes", "--recipients", "1200", "--accept-caveat")
    done = allclear(server, estate, "approve", plan, *consent)
    assert done.returncode == 0, done.stderr
    return str(plan)


@pytest.fixture(scope="module")
def killed(server: Server, estate: Estate, digest: str) -> str:
    """A run whose process and worker were killed in the middle; nobody does anything about it."""
    run = server.api.start("recover/recover", outage={}, how={"plan": digest, "dry_run": False, "started_by": "Sam"})
    wait_until("its process", 60, lambda: server.api.get(f"/flow_runs/{run}")["infrastructure_pid"])
    in_the_middle(estate, 0)
    pid = int(server.api.get(f"/flow_runs/{run}")["infrastructure_pid"])
    for each in (server.pids()[1], pid):  # in this order: a worker that lives a moment longer reports the run itself
        os.kill(each, signal.SIGKILL)
    wait_until("its end", 20, lambda: gone(pid))
    assert estate.judged()["numbers"]["copies"] <= 1
    return run


@pytest.fixture(scope="module")
def finished(server: Server, estate: Estate, killed: str, digest: str) -> dict[str, Any]:
    """The same plan from the terminal, while the server is killed and its database removed in the middle."""
    before = attempts(estate)
    program = subprocess.Popen(
        [BIN / "allclear", "recover", "--plan", digest, "--by", "Sam", "--json", "--config", str(estate.config)],
        env=server.client_environment(),
        cwd=REPOSITORY,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    in_the_middle(estate, before)
    os.kill(server.pids()[0], signal.SIGKILL)
    for file in server.home.glob("prefect.db*"):
        file.unlink()
    out, err = program.communicate(timeout=120)
    assert program.returncode == 0, err
    return {"result": json.loads(out), "stderr": err, "judged": estate.judged()}


@pytest.fixture(scope="module")
def new_server(server: Server, finished: dict[str, Any]) -> Iterator[Api]:
    """A server with an empty database in the place of the lost one."""
    again = server_script("up", server.environment)
    assert again.returncode == 0, again.stdout + again.stderr
    with Api(server.url, (server.home / "login").read_text().strip()) as api:
        yield api


def test_in_place_of_a_killed_worker_another_one_starts_and_ends_the_run(server: Server, killed: str) -> None:
    """By what the new worker's start knows, not by the automation for missed heartbeats."""
    ended = server.api.finished(killed, 60)
    assert (ended["state_type"], ended["state"]["name"]) == ("CRASHED", "Abandoned")
    assert "process is gone" in ended["state"]["message"]
    wait_until("another worker", 20, lambda: not gone(server.pids()[1]))


def test_a_crashed_recovery_starts_a_round_of_watching(server: Server, killed: str) -> None:
    def started() -> list[dict[str, Any]]:
        runs = server.api.runs(deployment_id={"any_": [server.api.deployment("watch/watch")["id"]]})
        return [r for r in runs if (r["created_by"] or {}).get("type") == "AUTOMATION"]

    run = wait_until("the automation's run", 60, started)[0]
    # A round that is on its way already is enough: then this one is cancelled.
    assert server.api.finished(run["id"])["state_type"] in ("COMPLETED", "CANCELLED")


@pytest.mark.skipif(
    not os.environ.get("ALLCLEAR_PROVE"), reason="waits two minutes for Prefect's own automation: ALLCLEAR_PROVE=1"
)
def test_a_run_without_heartbeats_is_called_abandoned_and_one_that_ended_is_not(
    server: Server, quiet: tuple[str, str]
) -> None:
    ended, forgotten = quiet
    abandoned = server.api.finished(forgotten, 150)
    assert (abandoned["state_type"], abandoned["state"]["name"]) == ("CRASHED", "Abandoned")
    assert server.api.get(f"/flow_runs/{ended}")["state"]["name"] == "All clear"


@pytest.mark.requirement("R001.34")
def test_the_terminal_finishes_what_a_killed_worker_began_while_the_server_is_lost(
    estate: Estate, finished: dict[str, Any]
) -> None:
    assert finished["result"]["balance"]["adds_up"]
    assert "the Prefect server does not know how this run ended" in finished["stderr"]
    assert finished["stderr"].count("\n") == 1
    assert finished["judged"]["clean"], finished["judged"]["complaints"]
    done = {k: finished["judged"]["numbers"][k] for k in ("misses_with_effect", "copies", "tickets", "notices")}
    assert done == {"misses_with_effect": 1, "copies": 1, "tickets": 1, "notices": 1}


def test_a_new_server_shows_the_truth_and_does_nothing_twice(
    server: Server, estate: Estate, new_server: Api, digest: str, finished: dict[str, Any]
) -> None:
    how = {"plan": digest, "dry_run": False, "started_by": "Sam"}
    # The worker outlived its server and may ask less often for a while.
    run = new_server.finished(new_server.start("recover/recover", outage={}, how=how), 300)
    assert (run["state_type"], run["state"]["name"]) == ("COMPLETED", "All clear"), run["state"]
    assert "1 recovered" in run["state"]["message"]
    assert estate.judged() == finished["judged"]
