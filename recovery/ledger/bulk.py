"""The ledger's hot statements, each for many rows: one statement over one parameter with all rows as JSON.

A row that is sent by itself costs PostgreSQL a round of bind and execute (performance.md, findings 1 and 3), and costs
SQLite a hand-over of the interpreter's lock, for which a busy event loop makes the writer wait. JSON costs less here
than arrays do: psycopg builds those in Python, element by element.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, TextClause, text
from sqlalchemy.sql.expression import TableClause

from recovery.errors import LedgerConflict
from recovery.ledger.codec import encode_json
from recovery.ledger.schema import action, action_event, attempt, evidence

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Bulk:
    """One statement in both dialects; `once` names the parameter that may not repeat in one statement."""

    sqlite: str
    postgresql: TextClause
    once: str = ""

    def send(self, connection: Connection, rows: Rows) -> None:
        """Run it for all rows. LedgerConflict when an UPDATE did not meet every row it names."""
        on_sqlite = connection.dialect.name == "sqlite"
        touched = 0
        for some in self._rounds(rows):
            body = encode_json(some)
            if on_sqlite:
                touched += connection.exec_driver_sql(self.sqlite, (body,)).rowcount
            else:
                touched += connection.execute(self.postgresql, {"rows": body}).rowcount
        if self.once and touched != len(rows):
            raise LedgerConflict("someone else moved the record first", "read it again and decide anew")

    def _rounds(self, rows: Rows) -> Iterator[Rows]:
        """An UPDATE sees each record once: a second change of the same one goes into the next statement."""
        if not self.once:
            yield rows
            return
        some: list[dict[str, Any]] = []
        seen: set[Any] = set()
        for row in rows:
            if row[self.once] in seen:
                yield some
                some, seen = [], set()
            some.append(row)
            seen.add(row[self.once])
        yield some


def _rows_as_v(types: Mapping[str, str]) -> str:
    return (
        f"json_to_recordset(CAST(:rows AS json)) AS v ({', '.join(f'{name} {kind}' for name, kind in types.items())})"
    )


def _type(table: TableClause, name: str) -> str:
    return "bigint" if isinstance(table.c[name].type, BigInteger) else "text"


def _picked(names: Iterable[str]) -> str:
    return ", ".join(f"value ->> '$.{name}' AS {name}" for name in names)


def _insert(table: TableClause, ending: str = "") -> Bulk:
    types = {name: _type(table, name) for name in table.c.keys()}  # noqa: SIM118  # a column collection, not a dict
    into = f"INSERT INTO {table.name} ({', '.join(types)})"
    # Without the WHERE, SQLite would read the ON of "ON CONFLICT" as that of a join.
    each = f"{into} SELECT {_picked(types)} FROM json_each(?) WHERE true{ending}"  # noqa: S608  # own names
    return Bulk(each, text(f"{into} SELECT * FROM {_rows_as_v(types)}{ending}"))  # noqa: S608  # own names


def _update(table: TableClause, names: Sequence[str], where: Mapping[str, str]) -> Bulk:
    """`where` maps parameters to the columns that they must equal; the first is the record's key."""
    types = {name: _type(table, name) for name in names}
    types |= {given: _type(table, column) for given, column in where.items()}
    change = f"SET {', '.join(f'{name} = v.{name}' for name in names)}"
    same = " AND ".join(f"t.{column} = v.{given}" for given, column in where.items())
    # Both texts are made of this module's own names: no value is ever part of them.
    each = f"UPDATE {table.name} AS t {change} FROM (SELECT {_picked(types)} FROM json_each(?)) AS v WHERE {same}"  # noqa: S608
    together = f"UPDATE {table.name} AS t {change} FROM {_rows_as_v(types)} WHERE {same}"
    return Bulk(each, text(together), next(iter(where)))


MOVING = (
    "state",
    "owner",
    "lease_until",
    "fence",
    "seq",
    "last_hash",
    "attempts",
    "repeats",
    "attempt_open",
    "attempt_ref",
    "attempt_deadline",
    "lane",
    "elected_ref",
    "result_ref",
    "hold_question",
    "evidence_digest",
    "note",
    "updated_at",
)
CLOSING = ("closed_at", "closed_by", "outcome", "detail", "evidence_digest")

ADD_ACTION = _insert(action)
MOVE_ACTION = _update(action, MOVING, {"the_key": "key", "seen_seq": "seq", "seen_fence": "fence"})
CLOSE_ATTEMPT = _update(attempt, CLOSING, {"the_id": "id"})
OPEN_ATTEMPT = _insert(attempt)
ADD_EVENT = _insert(action_event)
KEEP_EVIDENCE = _insert(evidence, " ON CONFLICT DO NOTHING")
