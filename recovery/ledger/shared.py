"""What workers of one PostgreSQL ledger share: the clock of its database, and commits that may be lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import text

MICROS = 1_000_000

NOW = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
NO_FSYNC = text("SET LOCAL synchronous_commit TO OFF")
"""For what divides work or time and protects nothing: losing it costs a little time."""

Run = Callable[..., Awaitable[Any]]
"""Runs a function of a connection, and what else it is given, in one of the ledger's threads."""
