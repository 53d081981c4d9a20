"""The ledger's one writing thread: takes all that has queued up, commits it in one transaction, then answers.

While one commit runs, the next batch gathers, so a lone unit waits for nobody and a crowd shares one fsync
(performance.md, "What comes closest"). A unit that raises before it wrote anything is answered with its error;
one that raises later makes the batch roll back, and each unit then runs alone, so a refusal never hurts a neighbour.

Units that only record what has happened (`early`) are answered when they have run, just before the commit: nobody may
act on the answer but through a later unit of this queue, which is committed with them or after them. Should that commit
fail, they are owed: the next batch begins with them. A process that dies in between leaves what it leaves when it dies
before recording: an open attempt, settled by reading. A batch of nothing but such units waits for a moment, so that
they share the commit of the next intent. Intents are logged by a second thread, so that the next batch is
on its way to the database's disk while the log is on its way to its own.

On PostgreSQL each batch also writes its own name. When the connection dies, a new one tells by that name whether the
batch was committed; it is never assumed (reliability.md 2.5, "ambiguous COMMIT").
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from recovery.errors import AllclearError, LedgerConflict, LedgerUnavailable
from recovery.ledger.driver import Call
from recovery.ledger.engine import in_our_words, unavailable
from recovery.ledger.files import Intent
from recovery.ledger.schema import worker
from recovery.ledger.work import Site, Work

BATCH_UNITS = 512
WAIT_SECONDS = 0.005  # for which a transaction stays open when nobody waits for its commit
RECONNECT_SECONDS = 10.0
RECONNECT_PAUSE_SECONDS = 0.2
NAME_BATCH = "UPDATE worker SET last_batch = %s, seen_at = %s WHERE owner = %s"  # PostgreSQL

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
    early: bool = False
    told: bool = False

    @property
    def can_wait(self) -> bool:
        """Whether nobody waits for its commit."""
        return self.early or self.answer is None


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
        self._owed: list[Unit] = []
        self._ahead = False
        self._log = _IntentsLogger(self.hooks)
        self._thread = threading.Thread(target=self._serve, name="ledger-writer", daemon=True)

    def start(self, connection: Connection) -> None:
        """Begin to serve on this connection."""
        self._connection = connection
        self._thread.start()

    async def submit(self, run: Callable[[Work], T], keys: Sequence[str] = (), *, early: bool = False) -> T:
        """Queue a unit and wait until it is committed (`early`: until it has run); its result, or its error."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._put(Unit(run, keys, loop, answer, early))
        return await answer

    @property
    def is_ahead(self) -> bool:
        """Whether somebody was told what is not committed yet: who reads now would not see it."""
        return self._ahead

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
            intents: list[tuple[int, Intent]] = []
            try:
                outcomes = self._process(batch, intents)
            except Exception as error:  # noqa: BLE001  # the thread must outlive any unit; its callers get the error
                outcomes = [(False, error)] * len(batch)
            self._owed = [unit for unit, outcome in zip(batch, outcomes, strict=True) if _is_owed(unit, outcome)]
            self._log.answer(batch, outcomes, intents)
        self._log.close()
        if self._connection is not None:
            self._connection.close()

    def _take(self) -> list[Unit]:
        with self._wake:
            while not self._queue and not self._closing:
                self._wake.wait()
            taken = self._queued()
        return [*self._owed, *taken] if taken else []

    def _queued(self) -> list[Unit]:
        return [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_UNITS))]

    def _join(self, until: float) -> list[Unit]:
        """What is queued by a time, as soon as there is something; nothing once the ledger is being closed."""
        with self._wake:
            while not self._queue and not self._closing and (left := until - time.monotonic()) > 0:
                self._wake.wait(left)
            return self._queued()

    def _process(self, batch: list[Unit], intents: list[tuple[int, Intent]]) -> list[Outcome]:
        """The outcomes of the batch and of the units that joined it on the way."""
        outcomes, error = self._try(batch, intents, joined=True)
        if outcomes is not None:
            return outcomes
        intents.clear()
        if isinstance(error, LedgerUnavailable):
            return [(False, error)] * len(batch)
        self.tally.reruns += 1
        alone = []
        for number, unit in enumerate(batch):
            # Twice: what a race with another process broke is read anew, what a rule forbids stays forbidden.
            opened: list[tuple[int, Intent]] = []
            mine, refusal = self._try([unit], opened)
            if isinstance(refusal, LedgerConflict):
                mine, refusal = self._try([unit], opened)
            if mine is not None:
                intents.extend((number, intent) for _, intent in opened)
            alone.extend(mine or [(False, refusal)])
        return alone

    def _try(
        self, batch: list[Unit], intents: list[tuple[int, Intent]], *, joined: bool = False
    ) -> tuple[list[Outcome] | None, BaseException | None]:
        """Run the batch in one transaction, once more after a lost connection; its outcomes or the error."""
        for last in (False, True):
            name = secrets.token_hex(8) if self._names_batches else ""
            outcomes: list[Outcome] = []
            intents.clear()
            try:
                self._transact(batch, name, outcomes, intents, joined=joined)
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
            return outcomes, None
        raise AssertionError("unreachable")

    def _transact(
        self,
        batch: list[Unit],
        name: str,
        outcomes: list[Outcome],
        intents: list[tuple[int, Intent]],
        *,
        joined: bool = False,
    ) -> None:
        """Run the batch in one transaction; with `joined`, units that arrive while nobody waits for it are added."""
        connection = self._connected()
        raw: Any = connection.connection.dbapi_connection
        if getattr(raw, "in_transaction", False):  # SQLite: a COMMIT that fails may leave its transaction open
            raw.rollback()
        with connection.begin():
            work = Work(connection, self.site)
            until = time.monotonic() + WAIT_SECONDS
            while True:
                ran = self._run(work, batch[len(outcomes) :], outcomes, intents)
                if not joined or len(batch) >= BATCH_UNITS or not all(u.can_wait and o[0] for u, o in ran):
                    break
                if work.asks_the_database:
                    work.flush()
                self._answer_early(ran)
                more = self._join(until)
                if not more:
                    break
                self.tally.units += len(more)
                batch.extend(more)
                work.look_again()
            work.flush(*self._mark(work, name))
            self._answer_early(ran)
        self._ahead = False
        self.tally.commits += 1

    @staticmethod
    def _run(
        work: Work, units: Sequence[Unit], outcomes: list[Outcome], intents: list[tuple[int, Intent]]
    ) -> list[tuple[Unit, Outcome]]:
        """Run units one after another, adding their outcomes and intents; each with its outcome."""
        work.load([key for unit in units for key in unit.keys])
        first = len(outcomes)
        for unit in units:
            before, number = work.writes, len(outcomes)
            try:
                outcomes.append((True, unit.run(work)))
            except AllclearError as refusal:
                if work.writes != before or work.spoiled:
                    raise
                outcomes.append((False, refusal))
            intents.extend((number, intent) for intent in work.intents)
            work.intents.clear()
        return list(zip(units, outcomes[first:], strict=True))

    def _answer_early(self, ran: Sequence[tuple[Unit, Outcome]]) -> None:
        """Answer those that need no commit, unless they are answered already."""
        early = [(unit, outcome) for unit, outcome in ran if unit.early and outcome[0]]
        self._ahead = self._ahead or bool(early)
        _answer(early)

    def _mark(self, work: Work, name: str) -> tuple[Call, ...]:
        """What names the batch in the database, so that a new connection can tell whether it was committed."""
        if not self._names_batches or not work.writes:
            return ()
        return (Call(NAME_BATCH, (name, work.now, self.site.owner)),)

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


def _is_owed(unit: Unit, outcome: Outcome) -> bool:
    """Whether the unit was told that it is recorded, and is not, because the database could not be written."""
    return unit.early and unit.told and not outcome[0] and isinstance(outcome[1], LedgerUnavailable)


@dataclass
class _IntentsLogger:
    """A thread that writes committed intents into the second record and answers their batches, in order."""

    hooks: Hooks

    def __post_init__(self) -> None:
        self._waiting: list[tuple[Sequence[Unit], list[Outcome], Sequence[tuple[int, Intent]]]] = []
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="ledger-intents", daemon=True)

    def answer(self, batch: Sequence[Unit], outcomes: list[Outcome], intents: Sequence[tuple[int, Intent]]) -> None:
        """Answer the committed batch; its units with intents only when these are logged."""
        opened = {number for number, _ in intents}
        pairs = list(zip(batch, outcomes, strict=True))
        _answer([pair for number, pair in enumerate(pairs) if number not in opened])
        if not opened:
            return
        if self._thread.ident is None:
            self._thread.start()
        with self._wake:
            self._waiting.append((batch, outcomes, intents))
            self._wake.notify()

    def close(self) -> None:
        """Log and answer what is waiting, then end."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def _serve(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                taken, self._waiting = self._waiting, []
            if not taken:
                return
            self._log(taken)

    def _log(self, taken: Sequence[tuple[Sequence[Unit], list[Outcome], Sequence[tuple[int, Intent]]]]) -> None:
        error: Exception | None = None
        try:
            self.hooks.log_intents([intent for _, _, intents in taken for _, intent in intents])
        except Exception as problem:  # noqa: BLE001  # whatever it is: an intent that is not logged must not leave
            error = problem
        for batch, outcomes, intents in taken:
            opened = dict.fromkeys(number for number, _ in intents)
            _answer([(batch[n], outcomes[n] if error is None else (False, error)) for n in opened])


def _answer(pairs: Iterable[tuple[Unit, Outcome]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Outcome]]] = {}
    for unit, outcome in pairs:
        if unit.loop is not None and unit.answer is not None:
            if unit.told:
                if not outcome[0]:
                    log.warning("what was answered before its commit is not recorded yet: %s", outcome[1])
                continue
            unit.told = True
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
