"""The ledger's tables as the statements see them, and the moves an action may make.

The DDL with its constraints is in `recovery.ledger.migrations`; a column named `*_at`, `*_until`, `deadline` or
`send_by` holds microseconds since 1970 UTC, so both databases keep times exactly and compare them as numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, Connection, Text, TextClause, column, literal_column, table, text
from sqlalchemy.sql.expression import ColumnClause, TableClause

from recovery.model import ActionState

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

S = ActionState
TERMINAL = frozenset({S.CONFIRMED, S.SKIPPED, S.CANCELLED})
MOVING = (S.CLAIMED, S.IN_FLIGHT, S.UNKNOWN, S.APPLIED)
"""Claimed, or with an effect that is not proven: what the index `action_running` finds."""

# "" is the state before the first event. `unknown` can be reached from planned and claimed only when the database has
# lost commits (quarantine): the intents log then shows an attempt that the database has forgotten.
LEGAL_MOVES: dict[str, tuple[ActionState, ...]] = {
    "": (S.PLANNED,),
    S.PLANNED: (S.CLAIMED, S.APPLIED, S.HELD, S.SKIPPED, S.CANCELLED, S.UNKNOWN),
    S.CLAIMED: (S.IN_FLIGHT, S.PLANNED, S.APPLIED, S.HELD, S.SKIPPED, S.UNKNOWN),
    S.IN_FLIGHT: (S.APPLIED, S.REJECTED, S.UNKNOWN, S.PLANNED),
    S.APPLIED: (S.CONFIRMED, S.UNKNOWN, S.HELD),
    S.UNKNOWN: (S.APPLIED, S.CONFIRMED, S.PLANNED, S.HELD),
    S.REJECTED: (S.PLANNED, S.APPLIED, S.HELD, S.SKIPPED, S.CANCELLED, S.UNKNOWN),
    S.HELD: (S.UNKNOWN, S.PLANNED, S.APPLIED, S.SKIPPED, S.CANCELLED),
}


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970 UTC of an aware time, exactly."""
    return (moment - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC time of a stored number."""
    return EPOCH + micros * MICROSECOND


def _table(name: str, texts: str, integers: str = "") -> TableClause:
    numbers = [column(each, BigInteger) for each in integers.split()]
    return table(name, *[column(each, Text) for each in texts.split()], *numbers)


schema_version = _table("schema_version", "name", "version applied_at")
meta = _table("meta", "name value")
legal_transition = _table("legal_transition", "from_state to_state")
worker = _table("worker", "owner last_batch", "started_at seen_at ended_at")
kill_switch = _table("kill_switch", "reason actor", "id at")
plan = _table("plan", "digest incident body", "made_at expires_at")
plan_item = _table("plan_item", "plan_digest slot_key")
approval = _table("approval", "plan_digest actor items reason", "id at recipients caveat")
item = _table(
    "item",
    "slot_key account system kind object_ref name verdict remedy outcome reason question plan_digest incident",
    "due_at generation updated_at",
)
answer = _table("answer", "slot_key actor choice reason", "id at")
action = _table(
    "action",
    "key slot_key account kind target_ref payload_digest state owner last_hash lane elected_ref result_ref "
    "hold_question evidence_digest note",
    "harm generation recipients lease_until fence seq attempts repeats attempt_open attempt_ref attempt_deadline "
    "made_at updated_at",
)
attempt = _table(
    "attempt",
    "action_key owner run_ref request closed_by outcome detail evidence_digest",
    "id n fence reach opened_at send_by deadline closed_at",
)
action_event = _table("action_event", "action_key from_state to_state actor detail prev_hash hash", "seq prev_seq at")
remote_object = _table("remote_object", "system account ref slot_key action_key role", "generation noted_at")
evidence = _table("evidence", "digest system account request body trace_ref", "status at")
stream_event = _table("stream_event", "stream kind actor data prev_hash hash", "seq at")


def among(tested: ColumnClause[str], values: Iterable[str]) -> ColumnElement[bool]:
    """Whether the column holds one of these words, as literals: a partial index is used only where it shows to fit."""
    words: list[ColumnElement[str]] = [literal_column(f"'{value}'") for value in values]
    # SQLite knows an index's `= 'word'` only by an equation, not by a list of one.
    return tested == words[0] if len(words) == 1 else tested.in_(words)


def unproven() -> ColumnElement[bool]:
    """Items that are not confirmed, in the very words of the index that finds these few."""
    return item.c.outcome != literal_column("'confirmed'")


def over_names(statement: str, connection: Connection) -> TextClause:
    """The statement with its `{rows}` as the values of the JSON list given in `:names`, in the database's own words."""
    on_postgresql = connection.dialect.name == "postgresql"
    rows = "json_array_elements_text(CAST(:names AS json)) AS value" if on_postgresql else "json_each(:names)"
    return text(statement.format(rows=rows))
