"""The ledger's hot statements, each for many rows: one statement instead of one a row.

A row that is sent by itself costs PostgreSQL a round of bind and execute (performance.md, findings 1 and 3), and costs
SQLite a hand-over of the interpreter's lock, for which a busy event loop makes the writer wait. SQLite takes rows as
a VALUES list, which costs it half of what JSON does; PostgreSQL as one JSON parameter, because psycopg builds arrays
element by element, in Python, and a list of another length would be another statement to prepare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import BigInteger
from sqlalchemy.sql.expression import TableClause

from recovery.ledger.codec import encode_json
from recovery.ledger.driver import Call
from recovery.ledger.schema import action, action_event, attempt, evidence

Rows = Sequence[dict[str, Any]]
MOST_ROWS = 32  # of one SQLite statement: each length is one that the driver keeps prepared


@dataclass(frozen=True, slots=True)
class Bulk:
    """One statement in both dialects over rows of `names`; `once` is the one that may not repeat in one statement.

    `before` and `after` stand round SQLite's VALUES.
    """

    names: tuple[str, ...]
    before: str
    after: str
    postgresql: str
    once: str = ""

    def calls(self, rows: Rows, *, on_postgresql: bool) -> list[Call]:
        """The statement for all rows; an UPDATE must meet every row it names."""
        return [
            Call(self.postgresql, (encode_json(some),), self._meets(some))
            if on_postgresql
            else Call(_on_sqlite(self, len(some)), self._values(some), self._meets(some))
            for each in self._rounds(rows)
            for some in ((each,) if on_postgresql else _parts(each))
        ]

    def _meets(self, rows: Rows) -> int | None:
        return len(rows) if self.once else None

    def _values(self, rows: Rows) -> tuple[Any, ...]:
        return tuple([row[name] for row in rows for name in self.names])

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


def _parts(rows: Rows) -> Iterable[Rows]:
    return (rows[start : start + MOST_ROWS] for start in range(0, len(rows), MOST_ROWS))


@cache
def _on_sqlite(bulk: Bulk, count: int) -> str:
    row = f"({', '.join('?' * len(bulk.names))})"
    return f"{bulk.before}{', '.join([row] * count)}{bulk.after}"


def _rows_as_v(types: Mapping[str, str]) -> str:
    return f"json_to_recordset(CAST(%s AS json)) AS v ({', '.join(f'{name} {kind}' for name, kind in types.items())})"


def _type(table: TableClause, name: str) -> str:
    return "bigint" if isinstance(table.c[name].type, BigInteger) else "text"


def _insert(table: TableClause, ending: str = "") -> Bulk:
    # This and the next text are made of this module's own names: no value is ever part of them.
    types = {name: _type(table, name) for name in table.c.keys()}  # noqa: SIM118  # a column collection, not a dict
    into = f"INSERT INTO {table.name} ({', '.join(types)})"
    return Bulk(tuple(types), f"{into} VALUES ", ending, f"{into} SELECT * FROM {_rows_as_v(types)}{ending}")  # noqa: S608


def _update(table: TableClause, names: Sequence[str], where: Mapping[str, str]) -> Bulk:
    """`where` maps parameters to the columns that they must equal; the first is the record's key."""
    types = {name: _type(table, name) for name in names}
    types |= {given: _type(table, column) for given, column in where.items()}
    given = tuple(types)
    place = {name: f"column{number}" for number, name in enumerate(given, 1)}  # as SQLite names those of VALUES

    def text(value: Mapping[str, str], rows: str) -> tuple[str, str]:
        change = ", ".join(f"{name} = v.{value[name]}" for name in names)
        same = " AND ".join(f"t.{column} = v.{value[name]}" for name, column in where.items())
        return f"UPDATE {table.name} AS t SET {change} FROM {rows}", f" WHERE {same}"  # noqa: S608

    before, after = text(place, "(VALUES ")
    together = "".join(text(dict(zip(given, given, strict=True)), _rows_as_v(types)))
    return Bulk(given, before, f") AS v{after}", together, next(iter(where)))


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
