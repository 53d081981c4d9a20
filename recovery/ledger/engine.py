"""Connections to the ledger's database, set so that a commit is on disk when it returns, and their errors in our words.

SQLite: WAL with synchronous=FULL (WAL with NORMAL may lose a committed intent at power loss), foreign keys on, every
writing transaction BEGIN IMMEDIATE. PostgreSQL: psycopg 3, synchronous_commit=on, READ COMMITTED with row locks.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.pool import NullPool, QueuePool

from recovery.errors import ConfigError, LedgerConflict, LedgerError, LedgerUnavailable

BUSY_SECONDS = 30.0
DURABLE = "-c synchronous_commit=on"
BY_KEY = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
"""For the writer, whose every statement names its rows: a plan that was prepared while the tables were small reads them
whole, and is kept while they grow, until PostgreSQL next counts their rows."""

# Words in a driver's message -> what a person is told. Order matters: the first that fits is taken.
SENTENCES = (
    ("readonly", "the ledger is read-only", "check the owner and mode of the ledger's file and folder"),
    ("read-only", "the ledger is read-only", "point ledger.url at the primary server, or make the file writable"),
    ("disk is full", "the disk of the ledger is full", "free space on that disk; nothing leaves until then"),
    ("no space left", "the disk of the ledger is full", "free space on that disk; nothing leaves until then"),
    ("locked", "the ledger is locked by another program", "find who holds it open (a backup, a shell), then run again"),
    ("unable to open", "the ledger's file cannot be opened", "check that its folder exists and belongs to you"),
    ("not a database", "the ledger's file is not a database", "check ledger.url; restore the file from a backup"),
    ("malformed", "the ledger's file is damaged", "restore it from a backup; the next run then starts in quarantine"),
    (
        "disk i/o error",
        "the disk of the ledger is full or reports an error",
        "check the disk and its space; nothing leaves until then",
    ),
)

# In a message of the driver; "no such file" of a socket whose server is down is none of them.
FAULTS_OF_OURS = ("no such table", "no such column", "no such function", "syntax error", "has no column")


def database_url(url: str) -> URL:
    """The SQLAlchemy URL of "sqlite:///path" or "postgresql://..."; ConfigError (not echoing it) for any other."""
    hint = 'use "sqlite:///path/to/ledger.db" or "postgresql://user@host/name"'
    try:
        made = make_url(url)
    except ArgumentError:
        raise ConfigError("ledger.url is not a database URL", hint) from None
    backend = made.get_backend_name()
    if backend == "postgresql":
        return made.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and made.database and made.database != ":memory:":
        return made.set(drivername="sqlite+pysqlite")
    raise ConfigError(f"ledger.url names {backend} without a file, or a database that is not supported", hint)


def make_engines(url: URL, *, read_only: bool) -> tuple[Engine, Engine]:
    """The writing engine (one connection, held by the writer) and the reading one. Connects to nothing yet."""
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database)).absolute()
        if not read_only:
            _make_private(path)
        return _sqlite_engine(path, read_only=read_only, begin="BEGIN IMMEDIATE"), _sqlite_engine(
            path, read_only=read_only, begin="BEGIN"
        )
    arguments = {"connect_timeout": 10, "options": DURABLE, "application_name": "allclear"}
    by_key = {**arguments, "options": f"{DURABLE} {BY_KEY}"}
    writing = create_engine(url, poolclass=NullPool, connect_args=by_key, isolation_level="READ COMMITTED")
    reading = create_engine(url, pool_size=2, pool_pre_ping=True, connect_args=arguments)
    return writing, reading


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise unavailable(error) from error


def _sqlite_engine(path: Path, *, read_only: bool, begin: str) -> Engine:
    mode = "ro" if read_only else "rw"
    target = f"{path.as_uri()}?mode={mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(target, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)

    # Named, because SQLAlchemy takes a URL without a file for an in-memory database and would choose a pool that closes
    # connections under the feet of other threads: a crash of the process, seen as SIGSEGV and as MemoryError.
    pooled: dict[str, Any] = (
        {"poolclass": NullPool} if begin == "BEGIN IMMEDIATE" else {"poolclass": QueuePool, "pool_size": 2}
    )
    engine = create_engine("sqlite+pysqlite://", creator=connect, **pooled)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        cursor = connection.cursor()
        if not read_only:
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA temp_store=MEMORY")
        cursor.close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def unavailable(error: BaseException) -> LedgerUnavailable:
    """One clear sentence for a database or file that cannot be used."""
    message = " ".join(str(getattr(error, "orig", None) or error).split())
    low = message.lower()
    for words, sentence, hint in SENTENCES:
        if words in low:
            return LedgerUnavailable(sentence, hint)
    return LedgerUnavailable(
        f"the ledger cannot be used: {message[:200]}",
        "check that the database is running and reachable, then run again",
    )


def in_our_words(error: SQLAlchemyError) -> LedgerError | None:
    """The ledger error for a database error; None when it is a fault of this program."""
    crossed = getattr(getattr(error, "orig", None), "sqlstate", None) in {"40001", "40P01"}
    if crossed or isinstance(error, IntegrityError):
        message = " ".join(str(getattr(error, "orig", error)).split())
        return LedgerConflict(f"the ledger refuses this: {message[:200]}", "read the record again and decide anew")
    if not isinstance(error, DBAPIError) or error.orig is None:
        return None
    if error.connection_invalidated or _is_operational(error):
        return unavailable(error)
    return None


def _is_operational(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    if state == "25006":  # read_only_sql_transaction, which drivers count as an internal error
        return True
    if any(words in str(error.orig).lower() for words in FAULTS_OF_OURS):
        return False
    return isinstance(error, (OperationalError, InterfaceError)) or type(error.orig) is sqlite3.DatabaseError
