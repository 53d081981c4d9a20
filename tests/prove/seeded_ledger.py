"""Seeded bugs of the ledger, of the second record and of what is written before what."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

from recovery.act import Effect, Runner
from recovery.errors import LedgerConflict
from recovery.ledger import actions as ledger_actions
from recovery.ledger import engine as ledger_engine
from recovery.ledger import intents as ledger_intents
from recovery.ledger import schema as ledger_schema
from recovery.ledger import work as ledger_work
from recovery.ledger.bulk import Bulk
from recovery.ledger.rows import ActionRow
from recovery.model import ActionState, AttemptOutcome, OpenAttempt, WriteResult
from tests.prove.kernel import Process
from tests.prove.product_ledger import ProductLedger
from tests.prove.seeded_base import (
    NO_HISTORY,
    Patch,
    Patient,
    S,
    WeakAndPatient,
)


def claims_anything(patch: Patch) -> None:
    real = ledger_intents.begin

    def begin(work: Any, key: str, *more: Any, **named: Any) -> Any:
        row = work.find(key)
        if row is not None:
            row["state"] = str(S.PLANNED)
        return real(work, key, *more, **named)

    patch.setattr(ledger_intents, "begin", begin)


def take_over_frees(patch: Patch) -> None:
    real = ledger_actions.take_over

    def take_over(work: Any, key: str) -> ActionRow:
        row = work.need(key)
        over = row["lease_until"] is not None and row["lease_until"] < work.now
        if row["state"] != S.IN_FLIGHT or not (work.site.is_dead(row["owner"]) or over):
            return real(work, key)
        work.close_attempt(row["attempt_ref"], str(AttemptOutcome.NOT_APPLIED), "its time is over")
        work.move(row, S.PLANNED, "its time is over", attempt_open=0, **ledger_actions.FREE)
        return ledger_actions.action_row(row)

    patch.setattr(ledger_actions, "take_over", take_over)


def settles_in(patch: Patch, seconds: Callable[[Runner, Effect, ActionRow], float]) -> None:
    real = Runner._MOVES[S.UNKNOWN]

    async def settle(self: Runner, effect: Effect, row: ActionRow) -> Any:
        return await real(self, replace(effect, settle_seconds=seconds(self, effect, row)), row)

    patch.setitem(Runner._MOVES, S.UNKNOWN, settle)


def left_since_request(runner: Runner, effect: Effect, row: ActionRow) -> float:
    assert row.attempt_deadline is not None
    since = (runner.clock.now() - row.attempt_deadline).total_seconds() + runner.policy.waits.write_deadline
    return max(0.0, effect.settle_seconds - since)


class DiesHavingSent(Patient):
    """The first runner is killed ten seconds after its request left."""

    def _left(self, process: Process, what: str, ref: str) -> None:
        super()._left(process, what, ref)
        if process is self.processes[0]:
            self.loop.at(self.loop.now + 10, self.end, process)


class OwnClocks(Patient):
    """The second process's host is an hour ahead."""

    own = False

    def time_of(self, owner: str) -> Callable[[], float]:
        ahead = 3600.0 if self.own and owner == "host:2" else 0.0
        return lambda: self.loop.now + ahead


def forgets_the_fence(patch: Patch) -> None:
    def ours(work: Any, key: str, _fence: int, state: ActionState) -> Any:
        row = work.need(key)
        if row["state"] != state:
            raise LedgerConflict("it moved")
        return row

    patch.setattr(ledger_intents, "ours", ours)


def settles_any_attempt(patch: Patch, *, any_state: bool = False) -> None:
    """Nobody compares the settled attempt with the open one."""

    def settle(work: Any, opened: OpenAttempt, result: WriteResult) -> ActionRow:
        row = (
            work.need(opened.action_key)
            if any_state
            else ledger_intents.ours(work, opened.action_key, opened.fence, S.IN_FLIGHT)
        )
        state = ledger_intents.SETTLED_STATE[result.outcome]
        work.close_attempt(opened.attempt_ref, str(result.outcome), result.detail)
        free = ledger_actions.FREE if state is S.PLANNED else {}
        work.move(row, state, result.detail, attempt_open=0, **free)
        return ledger_actions.action_row(row)

    patch.setattr(ledger_intents, "settle", settle)


def calls_before_it_writes(patch: Patch) -> None:
    async def begin(self: Runner, effect: Effect) -> OpenAttempt:
        waits = self.policy.waits
        return OpenAttempt(0, effect.spec.key, 1, 0, self.clock.monotonic() + waits.send_within, waits.write_deadline)

    async def send(self: Runner, effect: Effect, attempt: OpenAttempt, _checked: float, _not: list[str]) -> Any:
        result = await effect.send(attempt)
        waits = self.policy.waits
        opened = await self.ledger.begin(
            effect.spec.key, waits.lease, effect.request, send_within_seconds=1.0, deadline_seconds=waits.write_deadline
        )
        return None if opened is None else await self.ledger.settle(opened, result)

    patch.setattr(Runner, "_begin", begin)
    patch.setattr(Runner, "_send", send)


class LosesTail(DiesHavingSent):
    """Then the database is set back to what it was when the run began, and the next run follows."""

    def loses(self) -> bool:
        """Whether the commits since then are lost."""
        return True

    def plan_the_world(self) -> None:
        super().plan_the_world()
        self.open_ledger("installer")._inspect(self.disk.connection)
        self._back_up()

    def end(self, process: Process) -> None:
        super().end(process)
        if self.loses():
            self._lose_tail()


class PowerCut(LosesTail):
    """With WAL and synchronous=NORMAL a host that loses power loses the commits since the last checkpoint.

    That is how SQLite documents it; the setting is read from a connection that the product itself has opened.
    """

    def loses(self) -> bool:
        return _synchronous(self.disk.folder) < 2


def _synchronous(folder: Any) -> int:
    url = ledger_engine.database_url(f"sqlite:///{folder}/probe.db")
    writing, reading = ledger_engine.make_engines(url, read_only=False)
    with writing.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA synchronous").scalar()
    writing.dispose()
    reading.dispose()
    return int(found)  # type: ignore[call-overload,no-any-return]


class _Lax(sqlite3.Cursor):
    def execute(self, sql: str, *more: Any) -> Any:
        return super().execute(sql.replace("synchronous=FULL", "synchronous=NORMAL"), *more)


class _LaxConnection(sqlite3.Connection):
    def cursor(self, *_: Any) -> Any:
        return super().cursor(_Lax)


def not_synced(patch: Patch) -> None:
    known = {name: getattr(sqlite3, name) for name in ("Connection", "DatabaseError")}
    lax = SimpleNamespace(connect=partial(sqlite3.connect, factory=_LaxConnection), **known)
    patch.setattr(ledger_engine, "sqlite3", lax)


class StaleRead(WeakAndPatient):
    """The first runner's claim is made of a row that it read before it slept (no lock on the row, K5)."""

    def open_ledger(self, owner: str, strike: Any = None, passed: Any = None) -> ProductLedger:
        made = super().open_ledger(owner, strike, passed or (lambda _where: None))
        if owner == "host:1":
            made.passed = partial(self._passed, made.passed, made)
        return made

    def _passed(self, told: Callable[[str], None], ledger: ProductLedger, where: str) -> None:
        if where == "before begin":
            with self.disk.connection.begin():
                work = ledger_work.Work(self.disk.connection, ledger._site)
                keys = self.disk.connection.exec_driver_sql("SELECT key FROM action").scalars().all()
                work.load(keys)
                STALE.update({key: dict(row) for key, row in work.rows.items()})
        told(where)


STALE: dict[str, Any] = {}


def reads_before_it_locks(patch: Patch) -> None:
    STALE.clear()
    real = ledger_work.Work.load

    def load(self: Any, keys: Iterable[str]) -> None:
        for key in keys:
            if self.site.owner == "host:1" and key in STALE:
                self.rows[key] = STALE.pop(key)
        real(self, list(keys))

    patch.setattr(ledger_work.Work, "load", load)


def ignores_the_count(patch: Patch) -> None:
    real = Bulk.calls

    def calls(self: Bulk, rows: Any, *, on_postgresql: bool) -> Any:
        return [replace(call, meets=None) for call in real(self, rows, on_postgresql=on_postgresql)]

    patch.setattr(Bulk, "calls", calls)


def loose(table: str, columns: Iterable[str]) -> tuple[str, ...]:
    """The table without keys and checks."""
    return f"DROP TABLE {table}", f"CREATE TABLE {table} ({', '.join(columns)})"


LOOSE = (
    *NO_HISTORY,
    *loose("action_event", ledger_schema.action_event.c.keys()),
    *loose("attempt", ledger_schema.attempt.c.keys()),
)


def reopens(patch: Patch) -> None:
    legal = {**ledger_schema.LEGAL_MOVES, S.CONFIRMED: (S.PLANNED, S.UNKNOWN, S.APPLIED)}
    patch.setattr(ledger_work, "LEGAL_MOVES", legal)
