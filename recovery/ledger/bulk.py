"""The ledger's hot statements, each for many rows: one statement over one parameter with all rows as JSON.

A row that is sent by itself costs PostgreSQL a round of bind and execute (performance.md, findings 1 and 3), and costs
SQLite a hand-over of the interpreter's lock, for which a busy event loop makes the writer wait. JSON costs less here
than arrays do: psycopg builds those in Python, element by element.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.sql.expression import TableClause

from recovery.ledger.codec import encode_json
from recovery.ledger.driver import Call
from recovery.ledger.schema import action, action_event, attempt, evidence

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Bulk:
    """One statement in both dialects; `once` names the parameter that may not repeat in one statement."""

    sqlite: str
    postgresql: str
    once: str = ""

    def calls(self, rows: Rows, *, on_postgresql: bool) -> list[Call]:
        """The statement for all rows; an UPDATE must meet every row it names."""
        sql = self.postgresql if on_postgresql else self.sqlite
        return [Call(sql, (encode_json(some),), len(some) if self.once else None) for some in self._rounds(rows)]

    def _rounds(self, rows: Rows) -> Iterable[Rows]:
        """An UPDATE sees each record once: the second change of each goes into the second statement, and so on.

        Changes of different records may change places, changes of one do not.
        """
        if not self.once:
            return (rows,)
        rounds: list[list[dict[str, Any]]] = []
        changed: Counter[Any] = Counter()
        for row in rows:
            number = changed[row[self.once]]
            changed[row[self.once]] += 1
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(row)
        return rounds


def _rows_as_v(types: Mapping[str, str]) -> str:
    return f"json_to_recordset(CAST(%s AS json)) AS v ({', '.join(f'{name} {kind}' for name, kind in types.items())})"


def _type(table: TableClause, name: str) -> str:
    return "bigint" if isinstance(table.c[name].type, BigInteger) else "text"


def _picked(names: Iterable[str]) -> str:
    return ", ".join(f"value ->> '$.{name}' AS {name}" for name in names)


def _insert(table: TableClause, ending: str = "") -> Bulk:
    types = {name: _type(table, name) for name in table.c.keys()}  # noqa: SIM118  # a column collection, not a dict
    into = f"INSERT INTO {table.name} ({', '.join(types)})"
    # Without the WHERE, SQLite would read the ON of "ON CONFLICT" as that of a join.
    each = f"{into} SELECT {_picked(types)} FROM json_each(?) WHERE true{ending}"  # noqa: S608  # own names
    return Bulk(each, f"{into} SELECT * FROM {_rows_as_v(types)}{ending}")  # noqa: S608  # own names


def _update(table: TableClause, names: Sequence[str], where: Mapping[str, str]) -> Bulk:
    """`where` maps parameters to the columns that they must equal; the first is the record's key."""
    types = {name: _type(table, name) for name in names}
    types |= {given: _type(table, column) for given, column in where.items()}
    change = f"SET {', '.join(f'{name} = v.{name}' for name in names)}"
    same = " AND ".join(f"t.{column} = v.{given}" for given, column in where.items())
    # Both texts are made of this module's own names: no value is ever part of them.
    each = f"UPDATE {table.name} AS t {change} FROM (SELECT {_picked(types)} FROM json_each(?)) AS v WHERE {same}"  # noqa: S608
    together = f"UPDATE {table.name} AS t {change} FROM {_rows_as_v(types)} WHERE {same}"
    return Bulk(each, together, next(iter(where)))


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
