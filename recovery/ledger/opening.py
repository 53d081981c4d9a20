"""What happens when a ledger is opened or reconnected: migrate, compare with the second record, quarantine.

The epoch names one history of the database: on PostgreSQL its system identifier, timeline and our own random id, on
SQLite the random id (remembered in the state folder). Another epoch, or an intent in `intents.log` that the database
does not have, means that commits may be lost: nothing leaves until a reader has settled what is unknown.

Simpler than reliability.md 2.5 in one point: another boot of the host is no new epoch. What a power cut may cost shows
in the intents log, and a quarantine after every reboot would teach people to release it unread.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, or_, select, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from recovery.errors import LedgerUnavailable, RefusedError
from recovery.ledger.codec import encode_json
from recovery.ledger.engine import in_our_words
from recovery.ledger.files import Intent, IntentsLog, newest_intents, read_seen_install, write_seen_install
from recovery.ledger.migrations import MIGRATIONS, migrate_one, version_of
from recovery.ledger.schema import TERMINAL, attempt, from_micros, meta, over_names, worker
from recovery.ledger.work import Work
from recovery.model import ActionState, AttemptOutcome

ENDED_FOR_MICROS = 600 * 1_000_000  # the locks of other hosts cannot be looked at
MOST_FORGOTTEN = 500  # at one opening, while others wait for their turn
QUARANTINE, ACCEPTED, INSTALL, SERVER = "quarantine", "intents_accepted_until", "install", "server"


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why nothing may leave, and the intents ("key#n") whose actions the database does not know."""

    reason: str = ""
    missing: tuple[str, ...] = ()


def migrate(engine: Engine, now: int) -> None:
    """Bring the schema up to date, one transaction per step."""
    with engine.connect() as connection:
        while True:
            with connection.begin():
                if not migrate_one(connection, now):
                    return


def check_version(engine: Engine) -> None:
    """For a read-only ledger: it must exist, and be of this program's version, because nothing migrates it."""
    with engine.connect() as connection, connection.begin():
        version = version_of(connection)
    if version == 0:
        raise LedgerUnavailable("there is no ledger here yet", "run `allclear audit` or check ledger.url")
    if version < len(MIGRATIONS):
        raise LedgerUnavailable("the ledger is of an older version", "make it writable, then run `allclear status`")


def read_quarantine(connection: Connection) -> Quarantine:
    """The quarantine as recorded, empty when there is none."""
    body = _value(connection, QUARANTINE)
    if not body:
        return Quarantine()
    found = json.loads(body)
    return Quarantine(found["reason"], tuple(found["missing"]))


def look_at_database(engine: Engine, state_dir: Path) -> Quarantine:
    """The quarantine for a ledger that is only read: the recorded one, else what a writer would start one for."""
    # Read before the database is: what is logged by now was committed before, so the database must show it.
    intents = newest_intents(state_dir / "intents.log")
    with engine.connect() as connection, connection.begin():
        recorded = read_quarantine(connection)
        if recorded.reason:
            return recorded
        install = _value(connection, INSTALL)
        reasons = _other_database(state_dir, install) if install else []
        known = _value(connection, SERVER)
        with suppress(DBAPIError):  # a standby does not tell, and may still be looked at
            reasons += _other_server(known, _server_epoch(connection)) if known else []
        lost = _absent_from_database(connection, intents, int(_value(connection, ACCEPTED) or 0))
        if lost:
            reasons.append(f"{len(lost)} intents of intents.log are not in the database")
    return Quarantine("; ".join(reasons))


def inspect_database(work: Work, state_dir: Path, intents: IntentsLog) -> str:
    """Name a new database, register this worker, and start a quarantine when records may be lost; the name.

    The caller tells the folder the name once it is committed (`remember_database`).
    """
    _register(work)
    install = _value(work.connection, INSTALL)
    if not install:
        install = secrets.token_hex(16)
        _put(work, INSTALL, install)
    reasons = _check_epoch(work, state_dir, install)
    lost = _lost_intents(work, intents)
    unknown_keys: tuple[str, ...] = ()
    if lost:
        reasons.append(f"{len(lost)} intents of intents.log are not in the database")
        unknown_keys = _bring_back(work, lost)
    if reasons:
        _quarantine(work, reasons, unknown_keys)
    return install


def remember_database(state_dir: Path, install: str) -> None:
    """The folder knows this database from now on, if it knew none: another one in its place will be noticed."""
    if not read_seen_install(state_dir):
        write_seen_install(state_dir, install)


def _register(work: Work) -> None:
    values = {"owner": work.site.owner, "started_at": work.now, "seen_at": work.now}
    work.execute(work.insert(worker).values(**values).on_conflict_do_nothing())


def sign_off(work: Work) -> None:
    """This worker ends in good order."""
    work.execute(update(worker).where(worker.c.owner == work.site.owner).values(ended_at=work.now))


def forget_the_ended(work: Work, holds_lock: Callable[[str], bool]) -> None:
    """Drop the rows of workers that signed off: a row serves only its own worker, to tell what it has committed."""
    long_ago = worker.c.ended_at < work.now - ENDED_FOR_MICROS
    ended = work.execute(select(worker.c.owner).where(long_ago).limit(MOST_FORGOTTEN)).scalars()
    names = [owner for owner in ended if not holds_lock(owner)]
    if names:
        work.execute(delete(worker).where(worker.c.owner.in_(names)))


def _check_epoch(work: Work, state_dir: Path, install: str) -> list[str]:
    server = _server_epoch(work.connection)
    known = _value(work.connection, SERVER)
    if not known:
        _put(work, SERVER, server)
        known = server
    return [*_other_database(state_dir, install), *_other_server(known, server)]


def _other_database(state_dir: Path, install: str) -> list[str]:
    seen = read_seen_install(state_dir)
    return ["this is another database than the one this folder worked with"] if seen and seen != install else []


def _other_server(known: str, server: str) -> list[str]:
    return ["the database server was failed over, restored or replaced"] if known != server else []


KEPT_TO_ITSELF = {"42501", "42883", "0A000"}  # a managed server that does not tell: no privilege, function or feature


def _server_epoch(connection: Connection) -> str:
    if connection.dialect.name != "postgresql":
        return "file"
    try:
        with connection.begin_nested():
            query = select(func.pg_walfile_name(func.pg_current_wal_lsn()))
            timeline = str(connection.execute(query).scalar_one())[:8]
            system = connection.exec_driver_sql("SELECT system_identifier FROM pg_control_system()").scalar_one()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in KEPT_TO_ITSELF:
            raise
        return "hidden"  # the intents log still tells
    return f"{system}/{timeline}"


# ---- the second record ----------------------------------------------------------------------------------------------


def _lost_intents(work: Work, intents: IntentsLog) -> list[Intent]:
    accepted = int(_value(work.connection, ACCEPTED) or 0)
    lost = _absent_from_database(work.connection, intents.tail(), accepted)
    return _absent_from_database(work.connection, intents.whole(), accepted) if lost else []


KNOWN = "SELECT action_key, n FROM attempt WHERE action_key IN (SELECT value FROM {rows})"


def _absent_from_database(connection: Connection, intents: Sequence[Intent], accepted: int) -> list[Intent]:
    wanted = {(each.key, each.n): each for each in intents if each.at > accepted}
    if not wanted:
        return []
    keys = encode_json(sorted({key for key, _ in wanted}))
    for key, n in connection.execute(over_names(KNOWN, connection), {"names": keys}):
        wanted.pop((key, n), None)
    return list(wanted.values())


def _bring_back(work: Work, lost: Sequence[Intent]) -> tuple[str, ...]:
    """Write the lost attempts again as unknown; those whose action is gone too are returned as "key#n"."""
    strangers = []
    for intent in sorted(lost, key=lambda each: (each.key, each.n)):
        row = work.find(intent.key)
        if row is None:
            strangers.append(f"{intent.key}#{intent.n}")
        else:
            _bring_back_one(work, row, intent)
    return tuple(strangers)


def _bring_back_one(work: Work, row: dict[str, Any], intent: Intent) -> None:
    if ActionState(row["state"]) in TERMINAL | {ActionState.UNKNOWN}:
        return  # settled for good, or waiting to be settled by reading anyway
    note = f"attempt {intent.n} is in intents.log and was lost from the database"
    known = work.execute(
        select(attempt.c.id).where(
            attempt.c.action_key == intent.key,
            or_(attempt.c.outcome.is_(None), attempt.c.outcome != str(AttemptOutcome.NOT_APPLIED)),
        )
    ).scalar()
    ref = known or secrets.randbits(62)
    if known is None:
        work.open_attempt(_lost_attempt(work, row, intent, ref, note))
    else:
        work.close_attempt(ref, str(AttemptOutcome.UNKNOWN), note)
    work.move(
        row,
        ActionState.UNKNOWN,
        note,
        attempts=max(row["attempts"], intent.n),
        attempt_ref=ref,
        attempt_open=0,
        attempt_deadline=intent.deadline,
    )
    work.flush()


def _lost_attempt(work: Work, row: dict[str, Any], intent: Intent, ref: int, note: str) -> dict[str, Any]:
    return {
        "id": ref,
        "action_key": intent.key,
        "n": intent.n,
        "owner": intent.owner or "lost",
        "fence": row["fence"],
        "run_ref": "",
        "reach": row["recipients"],
        "request": "lost from the database",
        "opened_at": intent.at,
        "send_by": intent.at,
        "deadline": intent.deadline,
        "closed_at": work.now,
        "closed_by": "lost",
        "outcome": str(AttemptOutcome.UNKNOWN),
        "detail": note,
    }


# ---- quarantine -----------------------------------------------------------------------------------------------------


def _quarantine(work: Work, reasons: Sequence[str], missing: tuple[str, ...]) -> None:
    before = read_quarantine(work.connection)
    reason = "; ".join(dict.fromkeys([*filter(None, before.reason.split("; ")), *reasons]))
    both = sorted({*before.missing, *missing})
    _put(work, QUARANTINE, json.dumps({"reason": reason, "missing": both}))
    work.forget_gate()


def release(work: Work, by: str, state_dir: Path) -> None:
    """End the quarantine and accept the database as it is now."""
    if not by.strip():
        raise RefusedError("releasing the quarantine needs a name", "say who releases it")
    work.check_person(work.site.people.clear_stop, by, "release the quarantine")
    _put(work, SERVER, _server_epoch(work.connection))
    _put(work, ACCEPTED, str(work.now))
    work.execute(delete(meta).where(meta.c.name == QUARANTINE))
    _put(work, "released", f"{by} at {from_micros(work.now).isoformat()}")
    write_seen_install(state_dir, _value(work.connection, INSTALL))
    work.forget_gate()


def _value(connection: Connection, name: str) -> str:
    return str(connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar() or "")


def _put(work: Work, name: str, value: str) -> None:
    put = work.insert(meta).values(name=name, value=value)
    work.execute(put.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


def worded(error: SQLAlchemyError) -> BaseException:
    """The error as the ledger's callers know it."""
    return in_our_words(error) or error
