"""Schedules on the product's own ledger: its statements, its constraints, its second record, on SQLite in memory.

`ProductLedger` is `recovery.ledger.ledger.Ledger` whose units run in the schedule's thread, through the product's
writer, with turns between. Much slower than `tests.prove.memory_ledger`, so fewer schedules; here the seeded bugs are
planted.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from recovery.errors import LedgerConflict, LedgerUnavailable
from recovery.ledger import opening, plans, records
from recovery.ledger.files import Intent, IntentsLog
from recovery.ledger.ledger import Ledger
from recovery.ledger.migrations import migrate_one
from recovery.ledger.work import Site, Work
from recovery.ledger.writer import Hooks, Unit, Writer
from recovery.model import Exchange
from tests.prove.kernel import START, TURN
from tests.prove.memory_ledger import nothing
from tests.prove.schedule import Play

MEMORY = Path("/dev/shm")  # where fsync costs nothing; without it the default folder


@cache
def engine() -> Engine:
    """One database in memory for the schedules of this process, which run one after another."""
    raw = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    made = create_engine("sqlite+pysqlite://", creator=lambda: raw, poolclass=StaticPool)

    @event.listens_for(made, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return made


@cache
def _fresh() -> sqlite3.Connection:
    """A database that was just migrated."""
    with engine().connect() as connection:
        while True:
            with connection.begin():
                if not migrate_one(connection, 0):
                    break
    return _copy(_raw(), sqlite3.connect(":memory:", check_same_thread=False))


def _raw() -> sqlite3.Connection:
    found: Any = engine().raw_connection().driver_connection
    return found  # type: ignore[no-any-return]


def _copy(source: sqlite3.Connection, target: sqlite3.Connection) -> sqlite3.Connection:
    source.backup(target)
    return target


class Disk:
    """What survives a killed process: the database, the folder beside it, and which locks the kernel has freed."""

    def __init__(self, prepare: Callable[[sqlite3.Connection], None] = lambda _raw: None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ac-disk-", dir=MEMORY if MEMORY.is_dir() else None))
        self.dead: set[str] = set()
        self.epoch = 0
        self.prepare = prepare
        _copy(_fresh(), _raw())
        _raw().execute("PRAGMA foreign_keys = ON")
        prepare(_raw())
        self.connection = engine().connect()

    def replace(self, source: sqlite3.Connection | None) -> None:
        """Another database in its place (a fresh one for None): whoever writes next looks at it first."""
        _copy(source or _fresh(), _raw())
        if source is None:
            self.prepare(_raw())
        self.epoch += 1

    def backup(self) -> sqlite3.Connection:
        """The database as it is now."""
        return _copy(_raw(), sqlite3.connect(":memory:", check_same_thread=False))

    def close(self) -> None:
        """Give the folder back."""
        self.connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Locks:
    """Who lives, as the schedule knows it, in the place of locks that the kernel keeps."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk

    def holds_lock(self, owner: str) -> bool:
        return owner not in self.disk.dead


class ProductLedger(Ledger):
    """One process's ledger in a schedule."""

    def __init__(
        self,
        disk: Disk,
        owner: str,
        monotonic: Callable[[], float],
        time: Callable[[], float],
        strike: Callable[[], str] | None = None,
        passed: Callable[[str], None] = nothing,
    ) -> None:
        self.disk, self.strike, self.passed = disk, strike, passed
        self._state_dir = disk.folder
        self._site = Site(owner, disk.dead.__contains__, lambda: "", lambda: START.timestamp() + time(), monotonic)
        self._workers = Locks(disk)  # type: ignore[assignment]
        self._quarantine = opening.Quarantine()
        self._intents = IntentsLog(disk.folder / "intents.log")
        self._pending: list[Intent] = []
        self._closed = False
        self._writer = Writer(engine(), self._site, Hooks(self._pending.extend, self._inspect))
        self._writer._connection = disk.connection
        self._seen_epoch = -1

    async def _write(self, run: Callable[[Work], Any], keys: Sequence[str] = (), *, early: bool = False) -> Any:
        # An early answer changes nothing here: it is given by the same turn that the commit is made in.
        name = run.func.__name__ if isinstance(run, partial) else "flush"
        self.passed(f"before {name}")
        await TURN
        if self._seen_epoch != self.disk.epoch:
            self._seen_epoch = self.disk.epoch
            self._inspect(self.disk.connection)
        struck = self.strike() if self.strike is not None else ""
        if struck == "lost":
            raise LedgerUnavailable("the connection broke before the commit")
        value = self._commit(Unit(run, keys, None, None))
        self.passed(f"{name} committed")
        await TURN
        if self._pending:
            pending, self._pending = self._pending, []
            self._intents.append(pending)  # type: ignore[union-attr]
            self.passed(f"{name} in the second record")
            await TURN
        if struck:
            raise LedgerUnavailable("the connection broke in the commit")
        return value

    def _commit(self, unit: Unit) -> Any:
        """One unit in one transaction of the product's writer, read anew and tried again like there after a race."""
        assert self._writer is not None
        for last in (False, False, True):
            outcomes: list[Any] = []
            intents: list[tuple[int, Intent]] = []
            try:
                self._writer._transact((unit,), "", outcomes, intents)
            except SQLAlchemyError as error:
                if last:
                    raise opening.worded(error) from error
            except LedgerConflict:
                if last:
                    raise
            else:
                ((worked, value),) = outcomes
                if not worked:
                    raise value
                self._pending += [intent for _, intent in intents]
                return value
        raise AssertionError("unreachable")

    async def _read(self, query: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            with self.disk.connection.begin():
                value = query(self.disk.connection, *args, **kwargs)
        except SQLAlchemyError as error:
            raise opening.worded(error) from error
        self.passed("the ledger was read")
        await TURN
        return value

    async def keep(self, exchange: Exchange) -> None:
        """Evidence is not part of the promise's simulation."""

    def shut(self) -> None:
        """Give the file of the second record back."""
        if self._intents is not None:
            self._intents.close()


class ProductPlay(Play):
    """A schedule on the product's own ledger."""

    def furnish(self) -> None:
        self.ledgers: list[ProductLedger] = []
        super().furnish()
        self.disk = Disk(self.prepare)
        self.backups: list[Any] = []

    def prepare(self, raw: sqlite3.Connection) -> None:
        """Changes the schema of a seeded bug's database."""

    def open_ledger(
        self, owner: str, strike: Callable[[], str] | None = None, passed: Callable[[str], None] = nothing
    ) -> ProductLedger:
        made = ProductLedger(self.disk, owner, self.clock.monotonic, self.time_of(owner), strike, passed)
        self.ledgers.append(made)
        return made

    def time_of(self, owner: str) -> Callable[[], float]:
        """The clock that a process's ledger goes by."""
        return self._ledger_time

    def over(self, process: Any) -> None:
        self.disk.dead.add(process.owner)

    def _back_up(self) -> None:
        self.backups.append(self.disk.backup())

    def _lose_tail(self) -> None:
        self.counts["lost_tails"] += 1
        self.say("THE DATABASE LOSES ITS TAIL")
        self.disk.replace(self.backups[-1])

    def replace_ledger(self) -> None:
        self.disk.replace(None)
        if not self.t.state_kept:
            for name in ("intents.log", "epoch"):
                (self.disk.folder / name).unlink(missing_ok=True)

    def throw_row(self, reason: str) -> None:
        self._do(partial(records.set_kill, by="operator", reason=reason))

    def operate(self) -> None:
        operator = self.open_ledger("operator")
        operator._inspect(self.disk.connection)
        self._do(partial(records.clear_kill, by="operator"))
        self._do(partial(opening.release, by="operator", state_dir=self.disk.folder))
        operator._seen_epoch = self.disk.epoch

    def _do(self, unit: Callable[[Work], object]) -> None:
        site = Site("operator", self.disk.dead.__contains__, lambda: "", lambda: START.timestamp() + self.loop.now)
        with self.disk.connection.begin():
            work = Work(self.disk.connection, site)
            unit(work)
            work.flush()

    def rows(self) -> Mapping[str, Any]:
        with self.disk.connection.begin():
            found = plans.find_items(self.disk.connection, None, None, None, None)
        return {row.slot_key: row for row in found}

    def run(self) -> Any:
        try:
            return super().run()
        finally:
            for ledger in self.ledgers:
                ledger.shut()
            for backup in self.backups:
                backup.close()
            self.disk.close()
