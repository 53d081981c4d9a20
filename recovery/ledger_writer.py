"""The ledger's one writing thread: takes all that has queued up, commits it in one transaction, then answers.

There is no timer: while one commit runs, the next batch gathers, so a lone unit waits for nobody and a crowd shares one
fsync (performance.md, "What comes closest"). A unit that raises before it wrote anything is answered with its error;
one that raises later makes the batch roll back, and each unit then runs alone, so a refusal never hurts a neighbour.

On PostgreSQL each batch also writes its own name. When the connection dies, a new one tells by that name whether the
batch was committed; it is never assumed (reliability.md 2.5, "ambiguous COMMIT").
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from recovery.errors import AllclearError, LedgerConflict, LedgerUnavailable
from recovery.ledger_engine import in_our_words, unavailable
from recovery.ledger_files import Intent
from recovery.ledger_schema import worker
from recovery.ledger_work import Site, Work

BATCH_UNITS = 512
RECONNECT_SECONDS = 10.0
RECONNECT_PAUSE_SECONDS = 0.2

T = TypeVar("T")
Outcome = tuple[bool, Any]  # (worked, value or error)
log = logging.getLogger("allclear.ledger")


@dataclass(slots=True)
class Unit:
    """A function of the transaction, the actions it will read, and where its answer goes."""

    run: Callable[[Work], Any]
    keys: Sequence[str]
    loop: asyncio.AbstractEventLoop | None
    answer: asyncio.Future[Any] | None


@dataclass(slots=True)
class Hooks:
    """What the writer asks of the ledger: to log intents durably, and to look at a new connection before it is used."""

    log_intents: Callable[[Sequence[Intent]], None]
    on_reconnect: Callable[[Connection], None]


@dataclass(slots=True)
class Tally:
    """How much was done: `commits` far below `units` is what group commit is for."""

    units: int = 0
    commits: int = 0
    reruns: int = 0


@dataclass
class Writer:
    """Owns the writing connection; every method but `submit` and `close` runs in its thread."""

    engine: Engine
    site: Site
    hooks: Hooks
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._connection: Connection | None = None
        self._queue: deque[Unit] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._stop = threading.Event()
        self._names_batches = self.engine.dialect.name == "postgresql"
        self._thread = threading.Thread(target=self._serve, name="ledger-writer", daemon=True)

    def start(self, connection: Connection) -> None:
        """Begin to serve on this connection."""
        self._connection = connection
        self._thread.start()

    async def submit(self, run: Callable[[Work], T], keys: Sequence[str] = ()) -> T:
        """Queue a unit and wait until it is committed; its result, or its error."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._put(Unit(run, keys, loop, answer))
        return await answer

    def post(self, run: Callable[[Work], object]) -> int:
        """Queue a unit without waiting; how many are queued. A failure is logged: nobody waits for it."""
        self._put(Unit(run, (), None, None))
        return len(self._queue)

    def _put(self, unit: Unit) -> None:
        with self._wake:
            if self._closing:
                raise LedgerUnavailable("the ledger is closed", "open it again")
            self._queue.append(unit)
            self._wake.notify()

    def close(self) -> None:
        """Commit what is queued, then end the thread. Blocks until it has ended."""
        self._stop.set()
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join()

    # ---- the thread -------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while batch := self._take():
            self.tally.units += len(batch)
            try:
                outcomes = self._process(batch)
            except Exception as error:  # noqa: BLE001  # the thread must outlive any unit; its callers get the error
                outcomes = [(False, error)] * len(batch)
            _answer(batch, outcomes)
        if self._connection is not None:
            self._connection.close()

    def _take(self) -> list[Unit]:
        with self._wake:
            while not self._queue and not self._closing:
                self._wake.wait()
            return [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_UNITS))]

    def _process(self, batch: Sequence[Unit]) -> list[Outcome]:
        outcomes, error = self._try(batch)
        if outcomes is not None:
            return outcomes
        if isinstance(error, LedgerUnavailable):
            return [(False, error)] * len(batch)
        self.tally.reruns += 1
        alone = []
        for unit in batch:
            # Twice: what a race with another process broke is read anew, what a rule forbids stays forbidden.
            mine, refusal = self._try((unit,))
            if isinstance(refusal, LedgerConflict):
                mine, refusal = self._try((unit,))
            alone.extend(mine or [(False, refusal)])
        return alone

    def _try(self, batch: Sequence[Unit]) -> tuple[list[Outcome] | None, BaseException | None]:
        """Run the batch in one transaction, once more after a lost connection; its outcomes or the error."""
        for last in (False, True):
            name = secrets.token_hex(8)
            outcomes: list[Outcome] = []
            intents: list[tuple[int, Intent]] = []
            try:
                self._transact(batch, name, outcomes, intents)
            except DBAPIError as error:
                ours = in_our_words(error)
                if not error.connection_invalidated or not self._names_batches:
                    return None, ours or error
                try:
                    committed = self._reconnect(name)
                except (AllclearError, SQLAlchemyError) as failure:
                    return None, _worded(failure)
                if not committed and last:
                    return None, ours
                if not committed:
                    continue
            except (SQLAlchemyError, AllclearError, ValueError, TypeError, KeyError, AssertionError) as error:
                return None, _worded(error)
            return self._logged(outcomes, intents), None
        raise AssertionError("unreachable")

    def _transact(
        self, batch: Sequence[Unit], name: str, outcomes: list[Outcome], intents: list[tuple[int, Intent]]
    ) -> None:
        connection = self._connected()
        with connection.begin():
            work = Work(connection, self.site)
            work.load([key for unit in batch for key in unit.keys])
            for number, unit in enumerate(batch):
                before = work.writes
                try:
                    outcomes.append((True, unit.run(work)))
                except AllclearError as refusal:
                    if work.writes != before:
                        raise
                    outcomes.append((False, refusal))
                intents.extend((number, intent) for intent in work.intents)
                work.intents.clear()
            work.flush()
            if self._names_batches and work.writes:
                mark = update(worker).where(worker.c.owner == self.site.owner)
                connection.execute(mark.values(last_batch=name, seen_at=work.now))
        self.tally.commits += 1

    def _logged(self, outcomes: list[Outcome], intents: list[tuple[int, Intent]]) -> list[Outcome]:
        """Log the committed intents; one that could not be logged is answered with the error, so nothing leaves."""
        if intents:
            try:
                self.hooks.log_intents([intent for _, intent in intents])
            except LedgerUnavailable as error:
                for number, _ in intents:
                    outcomes[number] = (False, error)
        return outcomes

    # ---- the connection ---------------------------------------------------------------------------------------------

    def _connected(self) -> Connection:
        if self._connection is None:
            self._reconnect("")
        assert self._connection is not None
        return self._connection

    def _reconnect(self, batch_name: str) -> bool:
        """Connect anew, for at most RECONNECT_SECONDS; whether the named batch had been committed."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
        connection = self._connect_patiently()
        found = connection.execute(select(worker.c.last_batch).where(worker.c.owner == self.site.owner)).scalar()
        connection.rollback()
        self.hooks.on_reconnect(connection)
        self._connection = connection
        return bool(batch_name) and found == batch_name

    def _connect_patiently(self) -> Connection:
        tries = int(RECONNECT_SECONDS / RECONNECT_PAUSE_SECONDS)
        while True:
            try:
                return self.engine.connect()
            except DBAPIError as error:
                tries -= 1
                if tries < 0 or self._stop.wait(RECONNECT_PAUSE_SECONDS):
                    raise unavailable(error) from error


def _worded(error: BaseException) -> BaseException:
    return (in_our_words(error) or error) if isinstance(error, SQLAlchemyError) else error


def _answer(batch: Sequence[Unit], outcomes: Sequence[Outcome]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Outcome]]] = {}
    for unit, outcome in zip(batch, outcomes, strict=True):
        if unit.loop is not None and unit.answer is not None:
            by_loop.setdefault(unit.loop, []).append((unit.answer, outcome))
        elif not outcome[0]:
            log.warning("evidence was not stored: %s", outcome[1])
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_deliver, answers)
        except RuntimeError:  # the loop has ended: nobody waits any more
            log.warning("%d answers came after their event loop had ended", len(answers))


def _deliver(answers: Sequence[tuple[asyncio.Future[Any], Outcome]]) -> None:
    for answer, (worked, value) in answers:
        if answer.done():
            continue
        if worked:
            answer.set_result(value)
        else:
            answer.set_exception(value)
