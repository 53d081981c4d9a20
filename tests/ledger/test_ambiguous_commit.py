"""The connection dies around COMMIT: the ledger finds out what happened, never assumes, and never records twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, event

from recovery.errors import LedgerUnavailable
from recovery.ledger.ledger import Ledger
from recovery.model import ActionState
from tests.ledger.conftest import new_database
from tests.ledger.makers import APPLIED, NOW, opened, spec


def kill_others(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def at_next_commit(ledger: Ledger, act: Callable[[Connection], None]) -> None:
    assert ledger._writer is not None
    fired = []

    @event.listens_for(ledger._writer.engine, "commit")
    def meddle(connection: Connection) -> None:
        if not fired:
            fired.append(True)
            act(connection)


@pytest.mark.parametrize("committed", [True, False], ids=["after it", "before it"])
async def test_a_connection_lost_around_commit_records_the_batch_once(
    postgres: object, tmp_path: Path, committed: bool
) -> None:
    url = new_database(postgres)
    async with await Ledger.open(url, tmp_path) as ledger:

        def die(connection: Connection) -> None:
            if committed:
                connection.connection.commit()
            kill_others(url)

        _, attempt = await opened(ledger, spec())
        at_next_commit(ledger, die)
        seq = await ledger.append("s", "x", "Ana", NOW, {})
        assert seq == 1
        assert len(await ledger.stream("s")) == 1
        assert (await ledger.settle(attempt, APPLIED)).state is ActionState.APPLIED
        assert await ledger.verify() == ()


async def test_a_server_that_stays_away_is_unavailable_and_the_attempt_stays_open(
    postgres: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database(postgres)
    monkeypatch.setattr("recovery.ledger.writer.RECONNECT_SECONDS", 0.4)
    async with await Ledger.open(url, tmp_path) as ledger:
        _, attempt = await opened(ledger, spec())
        with psycopg.connect(url, autocommit=True) as server:
            name = server.execute("SELECT current_database()").fetchone()
        assert name is not None
        with psycopg.connect(postgres.get_uri(), autocommit=True) as server:  # type: ignore[attr-defined]
            server.execute(f"ALTER DATABASE {name[0]} ALLOW_CONNECTIONS false".encode())
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name[0]])
            with pytest.raises(LedgerUnavailable):
                await ledger.settle(attempt, APPLIED)
            server.execute(f"ALTER DATABASE {name[0]} ALLOW_CONNECTIONS true".encode())
        left = await ledger.action("KEY1")
        assert left is not None and left.attempt_open
        assert (await ledger.settle(attempt, APPLIED)).state is ActionState.APPLIED
