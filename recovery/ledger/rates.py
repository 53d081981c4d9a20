"""One budget of calls for all workers on one PostgreSQL ledger: slots of time, leased in small batches.

A bucket is one number: when its next call may leave. Leasing n slots moves it on by n intervals in a single statement
on the database's clock, so two workers can never be given the same slot, whatever they do at once; who asks first is
served first. Nothing here is worth an fsync: a lost lease only costs a little time. A database clock that is set back
can hold everybody up for at most an hour, which is also the longest that a remote is heeded. SQLite serves one
process, whose own buckets need no table; then `Slots` is not used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlalchemy import Connection, text

from recovery.ledger.shared import MICROS, NO_FSYNC, NOW, Run

Bucket: TypeAlias = tuple[str, str]
"""Account and system."""

TABLE = """CREATE TABLE rate_bucket (account TEXT NOT NULL, system TEXT NOT NULL, next_at BIGINT NOT NULL,
  PRIMARY KEY (account, system))"""

FARTHEST = 3600 * MICROS
LEASE = text(
    f"""INSERT INTO rate_bucket AS b (account, system, next_at)
    SELECT account, system, {NOW} - :saved + :taken
    FROM unnest(CAST(:accounts AS text[]), CAST(:systems AS text[])) AS asked (account, system)
    ORDER BY account, system
    ON CONFLICT (account, system) DO UPDATE
      SET next_at = LEAST(GREATEST(b.next_at, {NOW} - :saved), {NOW} + {FARTHEST}) + :taken
    RETURNING account, system, next_at - :taken - {NOW}"""  # noqa: S608 - only constants are put in; values are bound
)
CLOSE = text(
    f"""INSERT INTO rate_bucket AS b (account, system, next_at) VALUES (:account, :system, {NOW} + :shut)
    ON CONFLICT (account, system) DO UPDATE SET next_at = GREATEST(b.next_at, {NOW} + :shut)"""  # noqa: S608 - as above
)


def lease(connection: Connection, buckets: Sequence[Bucket], taken: int, saved: int) -> dict[Bucket, int]:
    """Microseconds from now to the first slot of those `taken` micros long, for each bucket; negative when saved up.

    No bucket may stand there twice. They are locked in their order, so two workers never wait for each other.
    """
    names = {"accounts": [account for account, _ in buckets], "systems": [system for _, system in buckets]}
    connection.execute(NO_FSYNC)
    found = connection.execute(LEASE, {**names, "taken": taken, "saved": saved}).all()
    connection.commit()
    return {(account, system): int(away) for account, system, away in found}


def close(connection: Connection, account: str, system: str, shut: int) -> None:
    """Nobody gets a slot of this bucket for `shut` microseconds."""
    connection.execute(NO_FSYNC)
    connection.execute(CLOSE, {"account": account, "system": system, "shut": shut})
    connection.commit()


@dataclass(frozen=True, slots=True)
class _Asked:
    """One caller who waits for slots."""

    bucket: Bucket
    taken: int
    saved: int
    away: asyncio.Future[int]


@dataclass(slots=True)
class Slots:
    """What `integrations.shared_rate` leases from. LedgerUnavailable when the database cannot be reached.

    Whoever asks while the database is being asked is served by the next statement, together with all the others: with
    many accounts a statement for each call would cost more than the calls.
    """

    run: Run
    _waiting: list[_Asked] = field(default_factory=list)
    _asking: asyncio.Task[None] | None = None

    async def lease(self, account: str, system: str, n: int, per_second: float, burst: float) -> float:
        """Seconds from now until the first of `n` slots, which lie 1/per_second apart; 0 or less means now."""
        interval = round(MICROS / per_second)
        away = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked((account, system), n * interval, round((burst - 1) * interval), away))
        if self._asking is None or self._asking.done():
            # A task of its own: a caller who gives up must not leave a connection in the middle of its transaction.
            self._asking = asyncio.create_task(self._ask())
        return int(await away) / MICROS

    async def _ask(self) -> None:
        while self._waiting:
            together = self._together()
            first = next(iter(together.values()), None)
            if first is None:
                continue
            try:
                found = await self.run(lease, tuple(together), first.taken, first.saved)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                for asked in together.values():
                    if not asked.away.done():
                        asked.away.set_exception(error)
                continue
            for bucket, asked in together.items():
                if not asked.away.done():
                    asked.away.set_result(found[bucket])

    def _together(self) -> dict[Bucket, _Asked]:
        """Those who ask for as much as the first, each bucket once; the others stay."""
        waiting = [asked for asked in self._waiting if not asked.away.done()]
        chosen: dict[Bucket, _Asked] = {}
        self._waiting = []
        for asked in waiting:
            alike = (asked.taken, asked.saved) == (waiting[0].taken, waiting[0].saved)
            if alike and asked.bucket not in chosen:
                chosen[asked.bucket] = asked
            else:
                self._waiting.append(asked)
        return chosen

    async def close(self, account: str, system: str, seconds: float) -> None:
        """The remote said when to come back: no worker is given a slot before that."""
        await self.run(close, account, system, round(seconds * MICROS))


def rate_buckets(connection: Connection) -> None:
    """The migration that adds the table."""
    connection.exec_driver_sql(TABLE)
