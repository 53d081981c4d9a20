"""What the ledger no longer needs of closed incidents: the events of their actions and the evidence behind them.

Everything that keeps a thing from being done twice stays: items, actions with their keys and states, attempts, elected
objects, approvals. An archived action is remembered by the digest of the file that holds its history.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from recovery.ledger.codec import encode_json
from recovery.ledger.work import Work

TABLE = """CREATE TABLE archived_history (action_key TEXT PRIMARY KEY REFERENCES action (key), archive TEXT NOT NULL)"""
TERMINAL = "('confirmed', 'skipped', 'cancelled')"

CLOSED = text(
    """SELECT incident FROM item GROUP BY incident
    HAVING max(updated_at) < :before AND max(CASE WHEN outcome IN ('confirmed', 'skipped') THEN 0 ELSE 1 END) = 0
    ORDER BY incident"""
)
# An incident that is still open may lean on evidence from two days before its first plan.
OLDEST_OPEN = text(
    "SELECT min(plan.made_at) FROM plan JOIN item ON item.incident = plan.incident"
    " WHERE item.outcome NOT IN ('confirmed', 'skipped')"
)
ACTIONS = f"""SELECT a.key, a.last_hash FROM action a JOIN item i ON i.slot_key = a.slot_key
    WHERE a.state IN {TERMINAL} AND a.updated_at < :before AND a.key > :after
      AND i.incident IN (SELECT value FROM {{rows}})
      AND NOT EXISTS (SELECT 1 FROM archived_history h WHERE h.action_key = a.key)
    ORDER BY a.key LIMIT :most"""  # noqa: S608 - only constants are put in; values are bound
EVENTS = "SELECT * FROM action_event WHERE action_key IN (SELECT value FROM {rows}) ORDER BY action_key, seq"
EVIDENCE = f"""SELECT e.* FROM evidence e WHERE e.at < :before AND e.digest > :after
      AND NOT EXISTS (SELECT 1 FROM action a WHERE a.evidence_digest = e.digest AND a.state NOT IN {TERMINAL})
    ORDER BY e.digest LIMIT :most"""  # noqa: S608 - as above
HASHES = "SELECT key, last_hash FROM action WHERE key IN (SELECT value FROM {rows})"
REMEMBER = "INSERT INTO archived_history (action_key, archive) SELECT value, :archive FROM {rows}"
DROP_EVENTS = "DELETE FROM action_event WHERE action_key IN (SELECT value FROM {rows})"
DROP_EVIDENCE = "DELETE FROM evidence WHERE digest IN (SELECT value FROM {rows})"

Row = Mapping[str, Any]
DAY = 86_400_000_000  # microseconds


def _over(statement: str, connection: Connection) -> Any:
    """The statement with its list of values given as JSON in `:names`, in the database's own words."""
    on_postgresql = connection.dialect.name == "postgresql"
    rows = "json_array_elements_text(CAST(:names AS json)) AS value" if on_postgresql else "json_each(:names)"
    return text(statement.format(rows=rows))


def _closed(connection: Connection, before: int) -> tuple[tuple[str, ...], int]:
    incidents = tuple(connection.execute(CLOSED, {"before": before}).scalars())
    oldest = connection.execute(OLDEST_OPEN).scalar()
    return incidents, before if oldest is None else min(before, int(oldest) - 2 * DAY)


def _actions(connection: Connection, incidents: Sequence[str], before: int, after: str, most: int) -> tuple[str, ...]:
    given = {"names": encode_json(incidents), "before": before, "after": after, "most": most}
    return tuple(row.key for row in connection.execute(_over(ACTIONS, connection), given))


def _events(connection: Connection, keys: Sequence[str]) -> tuple[Row, ...]:
    found = connection.execute(_over(EVENTS, connection), {"names": encode_json(keys)})
    return tuple(dict(row) for row in found.mappings())


def _evidence(connection: Connection, before: int, after: str, most: int) -> tuple[Row, ...]:
    found = connection.execute(text(EVIDENCE), {"before": before, "after": after, "most": most})
    return tuple(dict(row) for row in found.mappings())


def _hashes(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    found = connection.execute(_over(HASHES, connection), {"names": encode_json(keys)})
    return {row.key: row.last_hash for row in found}


def _forget(work: Work, keys: Sequence[str], digests: Sequence[str], archive: str) -> None:
    run, connection = work.execute, work.connection
    if keys:
        run(_over(REMEMBER, connection), {"names": encode_json(keys), "archive": archive})
        run(_over(DROP_EVENTS, connection), {"names": encode_json(keys)})
    if digests:
        run(_over(DROP_EVIDENCE, connection), {"names": encode_json(digests)})


@dataclass(frozen=True, slots=True)
class Shelf:
    """The ledger's side of an archive; everything in pages, so that no size of ledger fills the memory."""

    read: Callable[..., Awaitable[Any]]
    write: Callable[..., Awaitable[Any]]

    async def closed(self, before: int) -> tuple[tuple[str, ...], int]:
        """Incidents that ended before that moment (micros), and before when evidence may go."""
        found: tuple[tuple[str, ...], int] = await self.read(_closed, before)
        return found

    async def actions(self, incidents: Sequence[str], before: int, after: str, most: int) -> tuple[str, ...]:
        """The next ended actions of these incidents, in the order of their keys."""
        found: tuple[str, ...] = await self.read(_actions, incidents, before, after, most)
        return found

    async def events(self, keys: Sequence[str]) -> tuple[Row, ...]:
        """Their history, event by event."""
        found: tuple[Row, ...] = await self.read(_events, keys)
        return found

    async def evidence(self, before: int, after: str, most: int) -> tuple[Row, ...]:
        """The next evidence of that age that no action in motion leans on, in the order of its digests."""
        found: tuple[Row, ...] = await self.read(_evidence, before, after, most)
        return found

    async def last_hashes(self, keys: Sequence[str]) -> dict[str, str]:
        """The hash that each action's history ends in."""
        found: dict[str, str] = await self.read(_hashes, keys)
        return found

    async def forget(self, keys: Sequence[str], digests: Sequence[str], archive: str) -> None:
        """Drop what the file named by its digest holds, in one transaction; actions remember that file."""
        await self.write(lambda work: _forget(work, keys, digests, archive))


def archived_history(connection: Connection) -> None:
    """The migration that adds the table."""
    connection.exec_driver_sql(TABLE)
