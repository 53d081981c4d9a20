"""What the ledger no longer needs of closed incidents: the events of their actions and the evidence behind them.

Everything that keeps a thing from being done twice stays: items, actions with their keys and states, attempts, elected
objects, approvals. An archived action is remembered by the digest of the file that holds its history. Evidence stays
while something that is not over names its digest, under whichever account: who has none of its own is shown another's.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from recovery.ledger.codec import encode_json
from recovery.ledger.schema import over_names
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
EVIDENCE = text(
    """SELECT * FROM evidence WHERE at < :before AND (digest, system, account) > (:digest, :system, :account)
    ORDER BY digest, system, account LIMIT :most"""
)
# An equal reply is not stored again, so what is over may have been the first to get one that the living name too.
NAMED_BY_ACTIONS = f"""SELECT DISTINCT e.digest FROM evidence e
    JOIN (SELECT key, evidence_digest FROM action UNION ALL SELECT action_key, evidence_digest FROM attempt) n
      ON n.evidence_digest = e.digest
    JOIN action a ON a.key = n.key LEFT JOIN item i ON i.slot_key = a.slot_key
    WHERE e.at < :before AND (a.state NOT IN {TERMINAL} OR a.updated_at >= :before
      OR i.incident NOT IN (SELECT value FROM {{rows}}))"""  # noqa: S608 - as above
WITNESSED = text("SELECT data FROM stream_event WHERE stream LIKE 'witnesses/%' AND at >= :before")
DIGEST = re.compile(r'"digest": ?"([^"\\]+)"')
STORED = "SELECT DISTINCT digest FROM evidence WHERE at < :before AND digest IN (SELECT value FROM {rows})"
HASHES = "SELECT key, last_hash FROM action WHERE key IN (SELECT value FROM {rows})"
REMEMBER = "INSERT INTO archived_history (action_key, archive) SELECT value, :archive FROM {rows}"
DROP_EVENTS = "DELETE FROM action_event WHERE action_key IN (SELECT value FROM {rows})"
DROP_EVIDENCE = text("DELETE FROM evidence WHERE digest = :digest AND system = :system AND account = :account")

Row = Mapping[str, Any]
DAY = 86_400_000_000  # microseconds
SOME = 500


class EvidenceKey(NamedTuple):
    """What names one piece of evidence."""

    digest: str
    system: str
    account: str

    @classmethod
    def of(cls, row: Row) -> EvidenceKey:
        """The key of a record, as it is in the ledger and in an archive."""
        return cls(row["digest"], row["system"], row["account"])


BEFORE_ALL = EvidenceKey("", "", "")


def _closed(connection: Connection, before: int) -> tuple[tuple[str, ...], int]:
    incidents = tuple(connection.execute(CLOSED, {"before": before}).scalars())
    oldest = connection.execute(OLDEST_OPEN).scalar()
    return incidents, before if oldest is None else min(before, int(oldest) - 2 * DAY)


def _actions(connection: Connection, incidents: Sequence[str], before: int, after: str, most: int) -> tuple[str, ...]:
    given = {"names": encode_json(incidents), "before": before, "after": after, "most": most}
    return tuple(row.key for row in connection.execute(over_names(ACTIONS, connection), given))


def _events(connection: Connection, keys: Sequence[str]) -> tuple[Row, ...]:
    found = connection.execute(over_names(EVENTS, connection), {"names": encode_json(keys)})
    return tuple(dict(row) for row in found.mappings())


def _evidence(connection: Connection, before: int, after: EvidenceKey, most: int) -> tuple[Row, ...]:
    found = connection.execute(EVIDENCE, {"before": before, "most": most, **after._asdict()})
    return tuple(dict(row) for row in found.mappings())


def _named(connection: Connection, incidents: Sequence[str], before: int) -> frozenset[str]:
    given = {"names": encode_json(incidents), "before": before}
    named = set(connection.execute(over_names(NAMED_BY_ACTIONS, connection), given).scalars())
    events = connection.execute(WITNESSED, {"before": before}, execution_options={"yield_per": SOME}).scalars()
    seen = (digest for data in events for digest in DIGEST.findall(data))
    while some := set(islice(seen, SOME)):
        named.update(_stored(connection, some, before))
    return frozenset(named)


def _stored(connection: Connection, digests: Iterable[str], before: int) -> Iterable[str]:
    given = {"names": encode_json(sorted(digests)), "before": before}
    return connection.execute(over_names(STORED, connection), given).scalars()


def _hashes(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    found = connection.execute(over_names(HASHES, connection), {"names": encode_json(keys)})
    return {row.key: row.last_hash for row in found}


def _forget(work: Work, keys: Sequence[str], evidence: Sequence[EvidenceKey], archive: str) -> None:
    run, connection = work.execute, work.connection
    if keys:
        run(over_names(REMEMBER, connection), {"names": encode_json(keys), "archive": archive})
        run(over_names(DROP_EVENTS, connection), {"names": encode_json(keys)})
    if evidence:
        run(DROP_EVIDENCE, [key._asdict() for key in evidence])


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

    async def named(self, incidents: Sequence[str], before: int) -> frozenset[str]:
        """Digests of evidence from before then that something else than these ended incidents names.

        That is an action that has not ended, or ended since, or is another incident's; or a witness heard since.
        """
        found: frozenset[str] = await self.read(_named, incidents, before)
        return found

    async def evidence(self, before: int, after: EvidenceKey, most: int) -> tuple[Row, ...]:
        """The next evidence from before then, in the order of the keys: page after page each record once."""
        found: tuple[Row, ...] = await self.read(_evidence, before, after, most)
        return found

    async def last_hashes(self, keys: Sequence[str]) -> dict[str, str]:
        """The hash that each action's history ends in."""
        found: dict[str, str] = await self.read(_hashes, keys)
        return found

    async def forget(self, keys: Sequence[str], evidence: Sequence[EvidenceKey], archive: str) -> None:
        """Drop what the file named by its digest holds, in one transaction; actions remember that file."""
        await self.write(lambda work: _forget(work, keys, evidence, archive))


def archived_history(connection: Connection) -> None:
    """The migration that adds the table."""
    connection.exec_driver_sql(TABLE)
