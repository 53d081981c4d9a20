"""An open ledger: engines, the writer thread, the readers, and the order in which they start and end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from recovery.errors import LedgerError, LedgerUnavailable
from recovery.ledger import opening
from recovery.ledger.archive import Shelf
from recovery.ledger.engine import database_url, make_engines, unavailable
from recovery.ledger.files import IntentsLog, Workers, one_at_a_time, read_kill_file
from recovery.ledger.leases import Leases
from recovery.ledger.rates import Slots
from recovery.ledger.work import Site, Work
from recovery.ledger.writer import Hooks, Tally, Writer
from recovery.policy import People
from recovery.ports import Clock

T = TypeVar("T")
P = ParamSpec("P")


class Session:
    """What `recovery.ledger.ledger.Ledger` stands on: the open database, its writer thread and its readers."""

    def __init__(self, state_dir: Path, site: Site, reading: Engine, workers: Workers) -> None:
        self._state_dir = state_dir
        self._site = site
        self._reading = reading
        self._workers = workers
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="ledger-reader")
        self._quarantine = opening.Quarantine()
        self._writer: Writer | None = None
        self._intents: IntentsLog | None = None
        self._closed = False
        self._named = False  # whether a claim, an attempt or a lease may name this owner

    @property
    def owner(self) -> str:
        """This process's name in claims: "<host>:<pid>:<random>"."""
        return self._site.owner

    @property
    def quarantined(self) -> bool:
        """Whether the database may have lost commits: `intend` refuses until `release_quarantine`."""
        return bool(self._quarantine.reason)

    @property
    def quarantine_reason(self) -> str:
        """Why, in words for a person; or ""."""
        return self._quarantine.reason

    @property
    def tally(self) -> Tally:
        """How many units and commits this process has made."""
        return self._writer.tally if self._writer else Tally()

    @property
    def slots(self) -> Slots | None:
        """The budget of calls that all workers of this ledger share; None where only one process can use it."""
        shared = self._reading.dialect.name == "postgresql" and self._writer is not None
        return Slots(self._run) if shared else None

    @property
    def leases(self) -> Leases | None:
        """This worker's leases of accounts; None where there can be one worker only."""
        shared = self._reading.dialect.name == "postgresql" and self._writer is not None
        self._named = self._named or shared
        return Leases(self._run, self.owner, self._site.is_dead) if shared else None

    @property
    def shelf(self) -> Shelf:
        """What an archive is made from."""
        return Shelf(self._read, self._write)

    @classmethod
    async def open(
        cls,
        url: str,
        state_dir: Path,
        *,
        kill_file: Path | None = None,
        read_only: bool = False,
        clock: Clock | None = None,
        people: People | None = None,
    ) -> Self:
        """Open (and create or migrate, unless `read_only`) the ledger at "sqlite:///path" or "postgresql://...".

        `clock` is the one that transports use: `OpenAttempt.send_by_monotonic` is on its `monotonic()`, and on SQLite
        its `now()` is the ledger's time (PostgreSQL has its own). `people` may start, approve, answer and let go again
        (else anybody who gives a name). Folders are created with mode 0700.
        Raises ConfigError (URL), LedgerTooNew, LedgerUnavailable.
        """
        return await asyncio.to_thread(cls._open, url, state_dir, kill_file, read_only, clock, people)

    @classmethod
    def _open(
        cls,
        url: str,
        state_dir: Path,
        kill_file: Path | None,
        read_only: bool,
        clock: Clock | None,
        people: People | None,
    ) -> Self:
        target = database_url(url)
        try:
            if not read_only:
                state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            workers = Workers(state_dir, alive=not read_only)
            writing, reading = make_engines(target, read_only=read_only)
            site = Site(workers.owner, workers.is_dead, partial(read_kill_file, kill_file))
            if people is not None:
                site.people = people
            if clock is not None:
                site.now, site.monotonic = (lambda: clock.now().timestamp()), clock.monotonic
            ledger = cls(state_dir, site, reading, workers)
            try:
                ledger._start(writing, read_only=read_only)
            except BaseException:
                ledger._give_back()
                raise
        except OSError as error:
            raise unavailable(error) from error
        except SQLAlchemyError as error:
            raise opening.worded(error) from error
        return ledger

    def _start(self, writing: Engine, *, read_only: bool) -> None:
        if read_only:
            opening.check_version(self._reading)
            self._quarantine = opening.look_at_database(self._reading, self._state_dir)
            return
        with one_at_a_time(self._state_dir):
            opening.migrate(writing, int(self._site.now() * 1_000_000))
            self._intents = IntentsLog(self._state_dir / "intents.log")
            connection = writing.connect()
            self._inspect(connection)
        self._writer = Writer(writing, self._site, Hooks(self._intents.append, self._inspect))
        self._writer.start(connection)
        with self._reading.connect() as connection:
            self._quarantine = opening.read_quarantine(connection)

    def _inspect(self, connection: Connection) -> None:
        """Compare the database with what this folder knows of it, before anything is written."""
        assert self._intents is not None
        with connection.begin():
            work = Work(connection, self._site)
            install = opening.inspect_database(work, self._state_dir, self._intents)
            opening.forget_the_ended(work, self._workers.holds_lock)
            work.flush()
            self._quarantine = opening.read_quarantine(connection)
        opening.remember_database(self._state_dir, install)

    async def close(self) -> None:
        """Commit what is queued, stop the writer and give up this owner's lock. Safe to call twice."""
        if self._closed:
            return
        if self._writer is not None:
            with contextlib.suppress(LedgerError):
                await self._write(opening.sign_off)
        self._closed = True
        await asyncio.to_thread(self._give_back)

    def _give_back(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._intents is not None:
            self._intents.close()
        self._readers.shutdown()
        self._reading.dispose()
        self._workers.release(named=self._named)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _writer_or_refuse(self) -> Writer:
        if self._writer is None:
            raise LedgerUnavailable("the ledger is open for reading only", "this command must not change anything")
        return self._writer

    async def _write(self, run: Callable[[Work], T], keys: Sequence[str] = (), *, early: bool = False) -> T:
        self._named = self._named or bool(keys)  # who claims or sends names the actions
        return await self._writer_or_refuse().submit(run, keys, early=early)

    async def _read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the query finds, with everything in it that this ledger has answered."""
        if self._writer is not None and self._writer.is_ahead and not self._closed:
            await self._write(lambda _work: None)
        return await self._run(query, *args, **kwargs)

    async def _run(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._closed:
            raise LedgerUnavailable("the ledger is closed", "open it again")
        return await asyncio.get_running_loop().run_in_executor(
            self._readers, partial(self._query, query, *args, **kwargs)
        )

    def _query(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            with self._reading.connect() as connection:
                return query(connection, *args, **kwargs)
        except SQLAlchemyError as error:
            raise opening.worded(error) from error
