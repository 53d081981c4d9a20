"""One budget of calls for all workers on one PostgreSQL ledger: slots of time, leased in small batches.

A bucket is one number: when its next call may leave. Leasing n slots moves it on by n intervals in a single statement
on the database's clock, so two workers can never be given the same slot, whatever they do at once; who asks first is
served first. Nothing here is worth an fsync: a lost lease only costs a little time. A database clock that is set back
can hold everybody up for at most an hour, which is also the longest that a remote is heeded. SQLite serves one
process, whose own buckets need no table; then `Slots` is not used.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy import Connection, text

from recovery.ledger.shared import MICROS, NO_FSYNC, NOW, Run

TABLE = """CREATE TABLE rate_bucket (account TEXT NOT NULL, system TEXT NOT NULL, next_at BIGINT NOT NULL,
  PRIMARY KEY (account, system))"""

FARTHEST = 3600 * MICROS
LEASE = text(
    f"""INSERT INTO rate_bucket AS b (account, system, next_at)
    VALUES (:account, :system, {NOW} - :saved + :taken)
    ON CONFLICT (account, system) DO UPDATE
      SET next_at = LEAST(GREATEST(b.next_at, {NOW} - :saved), {NOW} + {FARTHEST}) + :taken
    RETURNING next_at - :taken - {NOW}"""  # noqa: S608 - only constants are put in; values are bound
)
CLOSE = text(
    f"""INSERT INTO rate_bucket AS b (account, system, next_at) VALUES (:account, :system, {NOW} + :shut)
    ON CONFLICT (account, system) DO UPDATE SET next_at = GREATEST(b.next_at, {NOW} + :shut)"""  # noqa: S608 - as above
)


def lease(connection: Connection, account: str, system: str, n: int, interval: int, saved: int) -> int:
    """Microseconds from now to the first of `n` slots; negative when it was saved up. `interval`, `saved`: micros."""
    given = {"account": account, "system": system, "taken": n * interval, "saved": saved}
    connection.execute(NO_FSYNC)
    micros_away = int(connection.execute(LEASE, given).scalar_one())
    connection.commit()
    return micros_away


def close(connection: Connection, account: str, system: str, shut: int) -> None:
    """Nobody gets a slot of this bucket for `shut` microseconds."""
    connection.execute(NO_FSYNC)
    connection.execute(CLOSE, {"account": account, "system": system, "shut": shut})
    connection.commit()


@dataclass(frozen=True, slots=True)
class Slots:
    """What `integrations.shared_rate` leases from. LedgerUnavailable when the database cannot be reached."""

    run: Run

    async def lease(self, account: str, system: str, n: int, per_second: float, burst: float) -> float:
        """Seconds from now until the first of `n` slots, which lie 1/per_second apart; 0 or less means now."""
        interval = round(MICROS / per_second)
        saved = round((burst - 1) * interval)
        # Shielded: a caller who gives up must not leave a connection in the middle of its transaction.
        away: int = await asyncio.shield(self.run(lease, account, system, n, interval, saved))
        return away / MICROS

    async def close(self, account: str, system: str, seconds: float) -> None:
        """The remote said when to come back: no worker is given a slot before that."""
        await self.run(close, account, system, round(seconds * MICROS))


def rate_buckets(connection: Connection) -> None:
    """The migration that adds the table."""
    connection.exec_driver_sql(TABLE)
