"""Readers of one SQLite ledger never lose their connection to another thread."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.pool import NullPool, QueuePool

from recovery.ledger.engine import database_url, make_engines


def test_the_pools_hand_a_connection_to_one_thread_at_a_time(tmp_path: Path) -> None:
    """A pool chosen for in-memory databases closes connections that other threads are reading from."""
    writing, reading = make_engines(database_url(f"sqlite:///{tmp_path}/ledger.db"), read_only=False)
    assert type(writing.pool) is NullPool
    assert type(reading.pool) is QueuePool
    writing.dispose()
    reading.dispose()
