"""One transaction of the ledger: rows read once, moves checked in memory, writes gathered and sent in bulk.

A unit of work is a function of a `Work`. Many units share one transaction, so their writes are collected and flushed
as a few executemany calls; every UPDATE names the `seq` and `fence` it started from and the number of rows touched is
checked, so a row that someone else moved makes the transaction fail rather than be overwritten.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Connection,
    CursorResult,
    Executable,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import TableClause, UpdateBase

from recovery.errors import LedgerConflict, RefusedError
from recovery.ledger.bulk import (
    ADD_ACTION,
    ADD_EVENT,
    CLOSE_ATTEMPT,
    KEEP_EVIDENCE,
    MOVE_ACTION,
    MOVING,
    OPEN_ATTEMPT,
    Bulk,
)
from recovery.ledger.codec import encode_json
from recovery.ledger.driver import Call, send
from recovery.ledger.files import Intent
from recovery.ledger.schema import (
    LEGAL_MOVES,
    action,
)
from recovery.model import ActionState
from recovery.policy import People

Record = dict[str, Any]  # one row of `action`, as loaded and then as moved

NEW_ATTEMPT: Record = {"closed_at": None, "closed_by": "", "outcome": None, "detail": "", "evidence_digest": ""}


@dataclass(frozen=True, slots=True)
class Gate:
    """What every intent is checked against, read in its own transaction."""

    killed: str
    quarantine: str


@dataclass(slots=True)
class Site:
    """What a unit may know of the process it runs in."""

    owner: str
    is_dead: Callable[[str], bool]
    kill_reason: Callable[[], str]
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    people: People = field(default_factory=People)


@dataclass(slots=True)
class Work:
    """One open transaction. Made by the writer, used by units, thrown away at commit or rollback.

    `spoiled`: what earlier units gathered was refused, in whichever unit that came out, so it must be rolled back.
    """

    connection: Connection
    site: Site
    started: float = 0.0
    rows: dict[str, Record] = field(default_factory=dict)
    intents: list[Intent] = field(default_factory=list)
    writes: int = 0
    spoiled: bool = False
    _absent: set[str] = field(default_factory=set)
    _new: list[Record] = field(default_factory=list)
    _moves: list[Record] = field(default_factory=list)
    _closings: list[Record] = field(default_factory=list)
    _openings: list[Record] = field(default_factory=list)
    _events: list[Record] = field(default_factory=list)
    _kept: list[Record] = field(default_factory=list)
    _clock: int | None = None
    _gate: Gate | None = None

    def __post_init__(self) -> None:
        self.started = self.site.monotonic()

    @property
    def on_postgresql(self) -> bool:
        """Whether the database has its own clock and row locks."""
        return self.connection.dialect.name == "postgresql"

    @property
    def now(self) -> int:
        """The ledger's clock in microseconds: the database's on PostgreSQL, this host's on SQLite."""
        if self._clock is None:
            self._look()
        assert self._clock is not None
        return self._clock

    @property
    def gate(self) -> Gate:
        """Kill switch and quarantine as this transaction sees them."""
        if self._gate is None:
            self._look()
        assert self._gate is not None
        return self._gate

    def _look(self) -> None:
        (cursor,) = send(self.connection, (self._looking,))
        self._seen(cursor.fetchone())

    @property
    def _looking(self) -> Call:
        return LOOK_POSTGRESQL if self.on_postgresql else LOOK_SQLITE

    def _seen(self, found: Any) -> None:
        self._clock = int(found[0]) if self.on_postgresql else int(self.site.now() * 1_000_000)
        self._gate = Gate(found[1] or self.site.kill_reason(), found[2] or "")

    def check_person(self, allowed: tuple[str, ...], name: str, what: str) -> None:
        """RefusedError unless the policy lets this person do it: checked in the transaction that does it."""
        if not People.may(allowed, name):
            raise RefusedError(f"{name.strip() or 'Nobody'} may not {what}", f"policy.toml names: {', '.join(allowed)}")

    def forget_gate(self) -> None:
        """Read the gate again: this transaction changed it."""
        self._gate = None

    def look_again(self) -> None:
        """Read clock and gate again: this transaction has been waiting."""
        self._clock, self._gate, self.started = None, None, self.site.monotonic()

    @property
    def asks_the_database(self) -> bool:
        """Whether what is gathered may be refused by the database alone: a new action, as a slot's second release."""
        return bool(self._new)

    # ---- statements -------------------------------------------------------------------------------------------------

    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run a statement after everything gathered so far. Writes count as writes of the unit."""
        self.flush()
        if isinstance(statement, UpdateBase):
            self.writes += 1
        result: Any = self.connection.execute(statement, parameters)
        return result  # type: ignore[no-any-return]  # Core always returns a CursorResult for these statements

    def insert(self, table: TableClause) -> Any:
        """The dialect's own INSERT, which knows ON CONFLICT."""
        return postgresql.insert(table) if self.on_postgresql else sqlite.insert(table)

    def load(self, keys: Sequence[str]) -> None:
        """Read (on PostgreSQL lock, in key order) the actions that the units name, then clock and gate if unread."""
        missing = sorted(set(keys) - self.rows.keys() - self._absent)
        if not missing:
            return
        named = Call(LOAD_POSTGRESQL, (missing,)) if self.on_postgresql else Call(LOAD_SQLITE, (encode_json(missing),))
        # Behind the locks, for which this may have to wait: a clock and a gate that were read before would be old.
        looking = (self._looking,) if self._clock is None or self._gate is None else ()
        found, *looked = send(self.connection, (named, *looking))
        for each in found.fetchall():
            row = dict(zip(COLUMNS, each, strict=True))
            self.rows[row["key"]] = row
        for cursor in looked:
            self._seen(cursor.fetchone())
        self._absent.update(key for key in missing if key not in self.rows)

    # ---- actions ----------------------------------------------------------------------------------------------------

    def find(self, key: str) -> Record | None:
        """The action, or None."""
        if key not in self.rows:
            self.load((key,))
        return self.rows.get(key)

    def need(self, key: str) -> Record:
        """The action; LedgerConflict when the ledger has none under this key."""
        found = self.find(key)
        if found is None:
            raise LedgerConflict(
                f"the ledger has no action {key}", "it was never made known, or the ledger was replaced"
            )
        return found

    def add(self, row: Record) -> None:
        """Gather a new action with its first event. A key that another process inserts first fails the transaction."""
        event = event_after({**row, "state": ""}, row["state"], self.site.owner, self.now, "")
        row.update(seq=1, last_hash=event["hash"])
        self._new.append(dict(row))  # as it starts: the gathered moves follow
        self._events.append(event)
        self._absent.discard(row["key"])
        self.rows[row["key"]] = row
        self.writes += 1

    def move(self, row: Record, to_state: ActionState, detail: str, actor: str = "", **changes: Any) -> None:
        """Move an action and record the event; LedgerConflict when the move is not legal."""
        old = row["state"]
        if to_state not in LEGAL_MOVES.get(old, ()):
            raise LedgerConflict(
                f"action {row['key']} is {old} and cannot become {to_state}", "read it again and decide anew"
            )
        now = self.now
        detail = storable(detail)
        seen = {"the_key": row["key"], "seen_seq": row["seq"], "seen_fence": row["fence"]}
        if to_state not in {ActionState.IN_FLIGHT, ActionState.APPLIED}:
            changes.setdefault("lane", None)
        if to_state is not ActionState.HELD:
            changes.setdefault("hold_question", None)
        event = event_after(row, to_state, actor or self.site.owner, now, detail)
        row.update(changes)
        row.update(state=str(to_state), seq=event["seq"], last_hash=event["hash"], updated_at=now, note=detail)
        self._moves.append(seen | {name: row[name] for name in MOVING})
        self._events.append(event)
        self.writes += 1

    def open_attempt(self, values: Record) -> None:
        """Gather a new attempt."""
        self._openings.append(NEW_ATTEMPT | values)
        self.writes += 1

    def close_attempt(self, ref: int, outcome: str, detail: str, evidence_digest: str = "", by: str = "") -> None:
        """Gather the closing (or the better knowledge) of an attempt."""
        self._closings.append(
            {
                "the_id": ref,
                "closed_at": self.now,
                "closed_by": by or self.site.owner,
                "outcome": outcome,
                "detail": storable(detail),
                "evidence_digest": evidence_digest,
            }
        )
        self.writes += 1

    def keep(self, values: Record) -> None:
        """Gather a piece of evidence; the first one under a digest, system and account stays."""
        self._kept.append(values)
        self.writes += 1

    def flush(self, *more: Call) -> None:
        """Send what was gathered, then `more`. LedgerConflict when a row is no longer as it was read."""
        gathered = self._gathered()
        calls = [call for bulk, rows in gathered for call in bulk.calls(rows, on_postgresql=self.on_postgresql)]
        if not calls and not more:
            return
        for _, rows in gathered:
            rows.clear()
        try:
            send(self.connection, (*calls, *more))
        except LedgerConflict:
            self.spoiled = True
            raise

    def _gathered(self) -> list[tuple[Bulk, list[Record]]]:
        """In the order in which they must be sent."""
        in_order = (
            (ADD_ACTION, self._new),
            (MOVE_ACTION, self._moves),
            (CLOSE_ATTEMPT, self._closings),
            (OPEN_ATTEMPT, self._openings),
            (ADD_EVENT, self._events),
            (KEEP_EVIDENCE, self._kept),
        )
        return [(bulk, rows) for bulk, rows in in_order if rows]


_CLOCK: Any = literal_column("(extract(epoch from clock_timestamp()) * 1000000)::bigint")
_GATE = "(SELECT reason FROM kill_switch WHERE id = 1), (SELECT value FROM meta WHERE name = 'quarantine')"
LOOK_POSTGRESQL = Call(f"SELECT CAST(extract(epoch from clock_timestamp()) * 1000000 AS bigint), {_GATE}")  # noqa: S608
LOOK_SQLITE = Call(f"SELECT 0, {_GATE}")

# Written out, because the writer runs them for every batch; all names are this module's own.
COLUMNS = tuple(action.c.keys())
_LOAD = f"SELECT {', '.join(COLUMNS)} FROM action WHERE key"  # noqa: S608
LOAD_POSTGRESQL = f"{_LOAD} = ANY(%s) ORDER BY key FOR UPDATE"
LOAD_SQLITE = f"{_LOAD} IN (SELECT value FROM json_each(?))"  # noqa: S608


def clock_of(connection: Connection, site: Site) -> int:
    """The ledger's clock outside a unit of work, microseconds since 1970 UTC."""
    if connection.dialect.name == "postgresql":
        return int(connection.execute(select(_CLOCK)).scalar_one())
    return int(site.now() * 1_000_000)


def event_after(row: Mapping[str, Any], to_state: str, actor: str, at: int, detail: str) -> Record:
    """The next event of an action, chained to the one before by its hash."""
    seq = int(row["seq"]) + 1
    event = {
        "action_key": row["key"],
        "seq": seq,
        "prev_seq": seq - 1 if seq > 1 else None,
        "from_state": str(row["state"]),
        "to_state": str(to_state),
        "actor": actor,
        "at": at,
        "detail": detail,
        "prev_hash": row["last_hash"],
    }
    event["hash"] = event_hash(event)
    return event


EVENT_FIELDS = ("action_key", "seq", "from_state", "to_state", "actor", "at", "detail", "prev_hash")
STREAM_FIELDS = ("stream", "seq", "kind", "actor", "at", "data", "prev_hash")


def event_hash(event: Mapping[str, Any], fields: Sequence[str] = EVENT_FIELDS) -> str:
    """SHA-256 over the fields and the hash before: changing any past event breaks every later one."""
    return hashlib.sha256(json.dumps([event[name] for name in fields]).encode()).hexdigest()


def storable(text: str) -> str:
    """Text that both databases take: NUL and lone surrogates, which PostgreSQL refuses, become U+FFFD."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode() if _odd(text) else text


def _odd(text: str) -> bool:
    return "\x00" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text))
