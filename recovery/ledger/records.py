"""Objects at the remotes, evidence, history, streams and the kill switch as units of work and queries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select, text, update

from recovery.errors import LedgerConflict, RefusedError
from recovery.ledger.codec import decode_json, encode_json
from recovery.ledger.rows import HistoryRow, StreamEvent
from recovery.ledger.schema import (
    MOVING,
    action,
    action_event,
    among,
    attempt,
    evidence,
    from_micros,
    item,
    kill_switch,
    plan,
    remote_object,
    stream_event,
    to_micros,
    unproven,
)
from recovery.ledger.work import EVENT_FIELDS, STREAM_FIELDS, Record, Work, event_hash, storable
from recovery.model import ActionKind, Exchange, ItemOutcome

KILL_STREAM = "ledger/kill-switch"
LAST_LETTER = "\U0010ffff"  # a noncharacter: no name has it, and every other letter sorts before it
NOTABLE = frozenset({"orphan", "witness", "original"})
STREAMS = 7_210_033  # PostgreSQL advisory locks of this kind: who adds to one stream takes turns
IN_TURN = text("SELECT pg_advisory_xact_lock(:kind, hashtext(:stream))")
UNENDED = (ItemOutcome.OPEN, ItemOutcome.HELD)


# ---- objects at the remotes -----------------------------------------------------------------------------------------


def elect(work: Work, slot_key: str, generation: int, ref: str, action_key: str, system: str, account: str) -> str:
    """Write-once: the first draft elected for the slot and generation, whoever asks."""
    values = _object(work, system, account, ref, slot_key, action_key, "elected") | {"generation": generation}
    work.execute(work.insert(remote_object).values(**values).on_conflict_do_nothing())
    won = elected(work.connection, slot_key, generation)
    bare = action.c.elected_ref == ""
    work.execute(update(action).where(action.c.key == action_key, bare).values(elected_ref=won))
    if action_key in work.rows:
        work.rows[action_key]["elected_ref"] = work.rows[action_key]["elected_ref"] or won
    return won


def elected(connection: Connection, slot_key: str, generation: int) -> str:
    """The elected draft, or ""."""
    query = select(remote_object.c.ref).where(
        remote_object.c.slot_key == slot_key,
        remote_object.c.generation == generation,
        remote_object.c.role == "elected",
    )
    return str(connection.execute(query).scalar() or "")


def note_object(work: Work, system: str, account: str, ref: str, slot_key: str, action_key: str, role: str) -> None:
    """Remember an object that is not the elected one."""
    if role not in NOTABLE:
        raise ValueError(f"role {role!r} is not one of {sorted(NOTABLE)}")
    values = _object(work, system, account, ref, slot_key, action_key, role)
    work.execute(work.insert(remote_object).values(**values).on_conflict_do_nothing())


def _object(work: Work, system: str, account: str, ref: str, slot_key: str, action_key: str, role: str) -> Record:
    return {
        "system": system,
        "account": account,
        "ref": storable(ref),
        "slot_key": storable(slot_key),
        "generation": 0,
        "action_key": action_key,
        "role": role,
        "noted_at": work.now,
    }


# ---- evidence -------------------------------------------------------------------------------------------------------


def keep(work: Work, exchange: Exchange) -> None:
    """Store the exchange under its digest, system and account, once: of equal ones the first stays."""
    work.keep(
        {
            "digest": exchange.digest,
            "system": exchange.system,
            "account": exchange.account,
            "request": storable(exchange.request),
            "status": exchange.status,
            "at": to_micros(exchange.at),
            "body": storable(exchange.body),
            "trace_ref": exchange.trace_ref,
        }
    )


def find_evidence(connection: Connection, digest: str, account: str = "") -> Exchange | None:
    """The exchange under this digest: the account's own if there is one, else any; of several always the oldest."""
    of = evidence.c
    own_first = (of.account == account).desc()
    query = select(evidence).where(of.digest == digest).order_by(own_first, of.at, of.system, of.account).limit(1)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    return Exchange(
        system=row["system"],
        account=row["account"],
        request=row["request"],
        status=row["status"],
        at=from_micros(row["at"]),
        digest=row["digest"],
        body=row["body"],
        trace_ref=row["trace_ref"],
    )


# ---- history --------------------------------------------------------------------------------------------------------


def history(connection: Connection, slot_key: str) -> tuple[HistoryRow, ...]:
    """Events and attempts of the slot's actions in the order in which they happened."""
    kinds = {
        row["key"]: ActionKind(row["kind"])
        for row in connection.execute(
            select(action.c.key, action.c.kind).where(action.c.slot_key == slot_key)
        ).mappings()
    }
    keys = select(action.c.key).where(action.c.slot_key == slot_key)
    events = connection.execute(select(action_event).where(action_event.c.action_key.in_(keys))).mappings()
    found = [_event_line(row, kinds[row["action_key"]]) for row in events]
    for row in connection.execute(select(attempt).where(attempt.c.action_key.in_(keys))).mappings():
        found.extend(_attempt_lines(row, kinds[row["action_key"]]))
    return tuple(sorted(found, key=lambda line: (line.at, line.action_key, line.n, line.what)))


def _event_line(row: Any, kind: ActionKind) -> HistoryRow:
    return HistoryRow(
        at=from_micros(row["at"]),
        what="event",
        action_key=row["action_key"],
        kind=kind,
        n=row["seq"],
        from_state=row["from_state"],
        to_state=row["to_state"],
        actor=row["actor"],
        detail=row["detail"],
    )


def _attempt_lines(row: Any, kind: ActionKind) -> list[HistoryRow]:
    def line(what: str, at: int, state: str, actor: str, detail: str) -> HistoryRow:
        return HistoryRow(from_micros(at), what, row["action_key"], kind, row["n"], "", state, actor, detail)

    lines = [line("attempt opened", row["opened_at"], "", row["owner"], row["request"])]
    if row["closed_at"] is not None:
        lines.append(line("attempt closed", row["closed_at"], row["outcome"], row["closed_by"], row["detail"]))
    return lines


# ---- streams --------------------------------------------------------------------------------------------------------


def append(
    work: Work, stream: str, kind: str, by: str, at: datetime, data: Mapping[str, object], expected_seq: int | None
) -> int:
    """Add one event after the last; on PostgreSQL workers take turns, as SQLite's do by themselves."""
    if work.on_postgresql:
        work.execute(
            text("SELECT pg_advisory_xact_lock(:kind, hashtext(:stream))"), {"kind": STREAMS, "stream": stream}
        )
    last = (
        select(stream_event.c.seq, stream_event.c.hash)
        .where(stream_event.c.stream == stream)
        .order_by(stream_event.c.seq.desc())
        .limit(1)
    )
    found = work.execute(last).first()
    seq, prev_hash = (int(found[0]), str(found[1])) if found else (0, "")
    if expected_seq is not None and expected_seq != seq:
        raise LedgerConflict(
            f"stream {stream} is at {seq}, not at {expected_seq}", "someone added an event; read it again"
        )
    event: Record = {
        "stream": stream,
        "seq": seq + 1,
        "kind": kind,
        "actor": storable(by),
        "at": to_micros(at),
        "data": storable(encode_json(dict(data))),
        "prev_hash": prev_hash,
    }
    event["hash"] = event_hash(event, STREAM_FIELDS)
    work.execute(stream_event.insert(), event)
    return seq + 1


def stream(connection: Connection, name: str) -> tuple[StreamEvent, ...]:
    """The events in order."""
    query = select(stream_event).where(stream_event.c.stream == name).order_by(stream_event.c.seq)
    return tuple(
        StreamEvent(
            row["stream"], row["seq"], row["kind"], row["actor"], from_micros(row["at"]), decode_json(row["data"])
        )
        for row in connection.execute(query).mappings()
    )


def streams(connection: Connection, prefix: str, since: datetime | None = None) -> tuple[str, ...]:
    """Names that start so, sorted, and whose last event is not from before `since`.

    On SQLite only their own part of the primary key is read.
    """
    name: ColumnElement[str] = stream_event.c.stream
    if connection.dialect.name == "postgresql":
        name = name.collate("C")  # by code points, as SQLite compares: a language's order scatters what starts alike
    start = storable(prefix)
    begin_so = (name >= start) & (name < start + LAST_LETTER)
    query = select(stream_event.c.stream).where(stream_event.c.seq == 1, begin_so)
    if since is not None:
        of = stream_event.alias()
        its_last = select(of.c.at).where(of.c.stream == stream_event.c.stream).order_by(of.c.seq.desc()).limit(1)
        query = query.where(its_last.scalar_subquery() >= to_micros(since))
    return tuple(sorted(connection.execute(query).scalars()))


# ---- kill switch ----------------------------------------------------------------------------------------------------


def set_kill(work: Work, by: str, reason: str) -> None:
    """Turn the row on (the first reason stays) and record who did it."""
    if not by.strip() or not reason.strip():
        raise RefusedError("the kill switch needs a name and a reason", "give both")
    values = {"id": 1, "reason": storable(reason), "actor": storable(by), "at": work.now}
    work.execute(work.insert(kill_switch).values(**values).on_conflict_do_nothing())
    append(work, KILL_STREAM, "on", by, from_micros(work.now), {"reason": reason}, None)
    work.forget_gate()


def clear_kill(work: Work, by: str) -> None:
    """Turn the row off and record who did it."""
    if not by.strip():
        raise RefusedError("clearing the kill switch needs a name", "say who clears it")
    work.check_person(work.site.people.clear_stop, by, "switch the kill switch off")
    if work.execute(delete(kill_switch)).rowcount:
        append(work, KILL_STREAM, "off", by, from_micros(work.now), {}, None)
    work.forget_gate()


def kill_row(connection: Connection) -> str:
    """The reason in the kill row, or ""."""
    return str(connection.execute(select(kill_switch.c.reason)).scalar() or "")


# ---- verification ---------------------------------------------------------------------------------------------------


def verify(connection: Connection) -> tuple[str, ...]:
    """Walk every chain and compare it with the rows it explains."""
    problems = list(_check_file(connection))
    ends: dict[str, tuple[int, str, str]] = {}
    query = select(action_event).order_by(action_event.c.action_key, action_event.c.seq)
    previous = ("", 0, "")
    for row in connection.execution_options(yield_per=1000).execute(query).mappings():
        previous = _check_link(row, "action", row["action_key"], previous, EVENT_FIELDS, problems)
        ends[row["action_key"]] = (row["seq"], row["to_state"], row["hash"])
    rows = connection.execute(select(action.c.key, action.c.seq, action.c.state, action.c.last_hash)).all()
    archived = set(connection.execute(text("SELECT action_key FROM archived_history")).scalars())
    problems.extend(
        f"action {key} is not in the state that its events end in"
        for key, *state in rows
        if ends.pop(key, None) != tuple(state) and key not in archived
    )
    problems.extend(f"events of action {key} have no action" for key in ends)
    previous = ("", 0, "")
    query = select(stream_event).order_by(stream_event.c.stream, stream_event.c.seq)
    for row in connection.execution_options(yield_per=1000).execute(query).mappings():
        previous = _check_link(row, "stream", row["stream"], previous, STREAM_FIELDS, problems)
    return tuple(problems)


def _check_link(
    row: Any, what: str, name: str, previous: tuple[str, int, str], fields: tuple[str, ...], problems: list[str]
) -> tuple[str, int, str]:
    seq, prev_hash = (previous[1] + 1, previous[2]) if previous[0] == name else (1, "")
    if row["seq"] != seq:
        problems.append(f"{what} {name}: event {seq} is missing")
    elif row["prev_hash"] != prev_hash:
        problems.append(f"{what} {name}: event {seq} does not follow the one before")
    elif row["hash"] != event_hash(row, fields):
        problems.append(f"{what} {name}: event {seq} was changed after it was written")
    return name, int(row["seq"]), str(row["hash"])


def _check_file(connection: Connection) -> list[str]:
    if connection.dialect.name != "sqlite":
        return []
    whole = connection.exec_driver_sql("PRAGMA integrity_check(10)").scalars().all()
    problems = [f"database file: {line}" for line in whole if line != "ok"]
    loose = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    return problems + [f"table {row[0]}: row {row[1]} points to a missing row of {row[2]}" for row in loose]


def unfinished(connection: Connection) -> dict[str, int]:
    """How many plans there are, and how many items and actions in each state that is not an end."""
    open_or_held = among(item.c.outcome, UNENDED) & unproven()
    items = select(item.c.outcome, func.count()).where(open_or_held).group_by(item.c.outcome)
    actions = select(action.c.state, func.count()).where(among(action.c.state, MOVING)).group_by(action.c.state)
    found = {"plans": int(connection.execute(select(func.count()).select_from(plan)).scalar_one())}
    for name, states, query in (("items", UNENDED, items), ("actions", MOVING, actions)):
        numbers = {str(state): int(number) for state, number in connection.execute(query)}
        found |= {f"{name}_{state}": numbers.get(state, 0) for state in states}
    return found
