"""Statements given to the database's driver itself: what the writer runs for every batch.

SQLAlchemy's execution costs as much as SQLite needs for the statement, and on PostgreSQL each statement is a round trip
of its own; here they travel together (libpq's pipeline mode). Errors are raised as SQLAlchemy raises them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from recovery.errors import LedgerConflict


@dataclass(frozen=True, slots=True)
class Call:
    """One statement in the driver's own placeholders; `meets` is how many rows it must touch (None: any number)."""

    sql: str
    parameters: tuple[Any, ...] = ()
    meets: int | None = None


def send(connection: Connection, calls: Sequence[Call]) -> list[Any]:
    """Run the calls in order, on PostgreSQL in one round trip; their cursors.

    DBAPIError as SQLAlchemy raises it, the connection invalidated when it is lost. LedgerConflict when a call did not
    meet its rows; those after it have run by then, so the transaction must be rolled back.
    """
    driver: Any = connection.connection.driver_connection
    pipeline = driver.pipeline() if connection.dialect.name == "postgresql" else contextlib.nullcontext()
    failure: Exception | None = None
    cursors: list[Any] = []
    try:
        with pipeline:
            try:
                cursors += [driver.execute(call.sql, call.parameters) for call in calls]
            except connection.dialect.loaded_dbapi.Error as error:
                failure = error  # caught inside, because psycopg logs a warning when it leaves the block
    except connection.dialect.loaded_dbapi.Error as error:
        failure = failure or error
    if failure is not None:
        raise _as_sqlalchemy_raises(connection, failure) from failure
    if any(call.meets not in {None, cursor.rowcount} for call, cursor in zip(calls, cursors, strict=True)):
        raise LedgerConflict("someone else moved the record first", "read it again and decide anew")
    return cursors


def _as_sqlalchemy_raises(connection: Connection, error: Exception) -> BaseException:
    dialect = connection.dialect
    lost = dialect.is_disconnect(error, connection.connection.driver_connection, None)  # type: ignore[arg-type]  # a driver's connection is what it looks at
    if lost:
        connection.invalidate(error)
    return DBAPIError.instance(
        None, None, error, dialect.loaded_dbapi.Error, connection_invalidated=lost, dialect=dialect
    )
