"""Seeded bugs that show in schedules: how each is planted in the product's own code, and which schedules show it.

`weaken` takes away the layers above the one under test, in both runs; `plant` installs the bug. Without the bug the
oracle must be silent in the same schedules. A strong remote hides a missing layer behind the others (reliability.md,
5.4), so each bug is shown on a remote, and with a policy, that is as weak as it has to be.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest

from integrations import pages
from integrations.pages import OffsetPage
from recovery import (
    act,
    approvals,
    gate,
    ledger_actions,
    ledger_engine,
    ledger_files,
    ledger_intents,
    ledger_opening,
    ledger_records,
    ledger_schema,
    ledger_work,
)
from recovery.act import ABSENT, SEEN, Effect, Look, Runner
from recovery.approvals import Consent
from recovery.errors import LedgerConflict
from recovery.gate import Allow
from recovery.ledger_bulk import Bulk
from recovery.ledger_rows import ActionRow
from recovery.model import ActionState, AttemptOutcome, ItemOutcome, OpenAttempt, Plan, WriteResult
from recovery.plan import key_for
from recovery.policy import Policy
from recovery.ports import Campaign, Listing
from recovery.recipes.jobs import Starter
from recovery.recipes.resend import _by_age, _Resend
from recovery.recover import Recovery
from recovery.watch import Round, Watcher
from tests.prove.families import at_every_step, points_of, quiet
from tests.prove.kernel import Process
from tests.prove.product_ledger import ProductLedger, ProductPlay
from tests.prove.remote import Faults, Line, Mailing, Wire
from tests.prove.runs import Case
from tests.prove.schedule import SECRET, play
from tests.prove.trouble import END, Trouble
from tests.prove.world import items_of

Patch = pytest.MonkeyPatch
S = ActionState
FOREVER = 1e9
SEEDS = range(6)


@dataclass(frozen=True, slots=True)
class Bug:
    """One seeded bug. `says` is how the oracle's complaint about it begins."""

    number: int
    name: str
    plant: Callable[[Patch], object]
    says: str
    show: Callable[[], Iterable[str]]
    weaken: Callable[[Patch], object] = lambda _patch: None


# ---- how schedules show a bug ---------------------------------------------------------------------------------------


def shown(kind: type[ProductPlay], trouble: Callable[[], Trouble], seeds: Iterable[int] = SEEDS) -> Iterable[str]:
    """The complaints about one schedule under several orders."""
    for seed in seeds:
        yield from play(seed, trouble(), kind=kind).complaints


def in_family(cases: Callable[[], Iterable[Case]], *, every: int, most: int | None = None) -> Iterable[str]:
    """The complaints about each so-many-th case of a family."""
    for _, trouble in islice(cases(), 0, most, every):
        yield from play(0, trouble, kind=ProductPlay).complaints


def point(scenario: str, name: str) -> int:
    """The number of a named point, counted anew: a layer that is gone takes its points with it."""
    return points_of.__wrapped__(scenario).index(name) + 1


LATE = partial(Faults, script=("late",))
RUN_LATE = partial(quiet, "run_now")
FIRST_BYTE = "before the first byte of run_now"


class Patient(ProductPlay):
    """Waits between intent and first byte as long as it takes."""

    def policy(self) -> Policy:
        known = super().policy()
        return replace(known, waits=replace(known.waits, send_within=FOREVER))


class Weak(ProductPlay):
    """A database without some of its constraints."""

    ddl: tuple[str, ...] = ()

    def prepare(self, raw: sqlite3.Connection) -> None:
        for statement in self.ddl:
            raw.execute(statement)


class WeakAndPatient(Weak, Patient):
    """Both."""


NO_HISTORY = ("PRAGMA foreign_keys = OFF", "DROP TRIGGER legal_move")
NO_K4 = ("DROP INDEX one_effect_per_action",)


def without(patch: Patch, *ddl: str) -> None:
    patch.setattr(Weak, "ddl", ddl)


# ---- layers that are taken away -------------------------------------------------------------------------------------


def any_sender(patch: Patch) -> None:
    """Nobody asks whether the process that sent is dead."""
    patch.setattr(ledger_actions, "_check_sender_is_gone", lambda _work, _row: None)


def any_class(patch: Patch) -> None:
    """What is not seen may be repeated, whatever it is (no class H)."""
    real = Runner._settle_unknown

    async def settle(self: Runner, effect: Effect, row: ActionRow) -> Any:
        return await real(self, replace(effect, repeatable=True), row)

    patch.setitem(Runner._MOVES, S.UNKNOWN, settle)


def any_age(patch: Patch) -> None:
    """A check never gets old."""
    patch.setattr(act, "OLDEST_CHECK_SECONDS", FOREVER)


def no_second_look(patch: Patch) -> None:
    """Neither the look before a try nor the logs before a start."""
    real = Runner._try

    async def hasty(self: Runner, effect: Effect, not_sent: list[str]) -> Any:
        return await real(self, replace(effect, look_first=False), not_sent)

    async def allowed(_self: Starter) -> Allow:
        return Allow()

    patch.setattr(Runner, "_try", hasty)
    patch.setattr(Starter, "_check", allowed)


def all_of(*layers: Callable[[Patch], object]) -> Callable[[Patch], None]:
    def weaken(patch: Patch) -> None:
        for layer in layers:
            layer(patch)

    return weaken


def without_rule(rule: object) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(gate, "RELEASE_RULES", tuple(r for r in gate.RELEASE_RULES if r is not rule))


# ---- the ledger's bugs ----------------------------------------------------------------------------------------------


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
    real = Bulk.send

    def send(self: Bulk, connection: Any, rows: Any) -> None:
        with suppress(LedgerConflict):  # raised once the statement has run and met too few rows
            real(self, connection, rows)

    patch.setattr(Bulk, "send", send)


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


# ---- the runner's, the gate's and the recipes' bugs ------------------------------------------------------------------


def takes_conflict_for_failure(patch: Patch) -> None:
    async def settle(self: Runner, _effect: Effect, row: ActionRow) -> Any:
        return await self.ledger.retry_rejected(row.key, "it failed", proven_not_applied=True)

    patch.setitem(Runner._MOVES, S.REJECTED, settle)


async def _equal_always(_self: _Resend, _copy_ref: str) -> bool:
    return True


async def _oldest_draft(self: _Resend) -> Look:
    listing = await self.context.account.campaigns.campaigns()
    marked = [x for x in listing.items if self.context.marker in x.name and x.ref != self.ref]
    found = min(marked, key=_by_age, default=None) or await self._unmarked_copy(listing.items)
    return Look(SEEN, found.ref, found.digest, "the oldest") if found else Look(ABSENT, note="none")


def remembers_the_original(patch: Patch) -> None:
    real = _Resend._original
    known: dict[int, Campaign] = {}

    async def original(self: _Resend) -> Campaign:
        if id(self.context) not in known:
            now = await real(self)
            if now.status != "4":
                return now
            known[id(self.context)] = now
        return known[id(self.context)]

    patch.setattr(_Resend, "_original", original)


def counts_partly_sent_as_unsent(patch: Patch) -> None:
    real = _Resend._original

    async def original(self: _Resend) -> Campaign:
        now = await real(self)
        return replace(now, send_amt=0) if now.send_amt < now.total_amt else now

    patch.setattr(_Resend, "_original", original)


async def _trusts_the_stop(self: _Resend) -> Look:
    now = await self._original()
    return Look(SEEN, now.ref, now.digest, "the call was accepted")


def looks_at_the_switch_once(patch: Patch) -> None:
    real = Recovery.__post_init__

    def begin(self: Recovery) -> None:
        first = self.switched_off()
        self.switched_off = lambda: first
        real(self)

    patch.setattr(Recovery, "__post_init__", begin)


async def _no_round(_self: Watcher) -> Round:
    return Round(0, (), (), ())


class Started(ProductPlay):
    """A remote on which something happened before the run: the original is stopped, and `leave_behind` what is left."""

    def furnish(self) -> None:
        super().furnish()
        original = self.platform.mailings["7"]
        original.status = "4"
        self.platform.note("stopped", "7", "7", "us")
        self.leave_behind()

    def leave_behind(self) -> None:
        """A draft of ours and a younger copy of ours that has left, both marked; the ledger is gone."""
        self.copy("101", "0")
        gone = self.copy("102", "5")
        gone.send_amt = gone.total_amt
        self.platform.note("delivery", "102", "7", "us", gone.total_amt)

    def copy(self, ref: str, status: str) -> Mailing:
        (item,) = items_of("resend")
        marker = f"[RK-{key_for(SECRET, item.slot, 'item', 0)}]"
        made = Mailing(ref, f"Newsletter 7 {marker}", status, "7", "us", -3600.0)
        self.platform.mailings[ref] = made
        self.platform._number = 200
        self.platform.note("copy", ref, "7", "us")
        return made


class PartlySent(Started):
    """Half of the original's audience has it."""

    def leave_behind(self) -> None:
        self.platform.mailings["7"].send_amt = 200
        self.platform.journal.append(Line(-1000.0, "delivery", "7", "7", "original", 200))


class OtherDraft(ProductPlay):
    """A colleague's fresh draft of another campaign stands in the list."""

    def furnish(self) -> None:
        super().furnish()
        self.platform.mailings["90"] = Mailing("90", "Copy of Newsletter 8", "0", "8", "colleague", 1.0)
        self.platform.note("copy", "90", "8", "colleague")


class Paged(Wire):
    """The list of campaigns comes through the product's own paging, two a page."""

    async def campaigns(self, *, newest_first: bool = False) -> Listing[Campaign]:
        every = (await super().campaigns()).items
        rows = sorted((int(c.ref), c) for c in every)

        async def fetch(offset: int, limit: int) -> OffsetPage[Campaign]:
            return OffsetPage(rows[offset : offset + limit], len(rows), "d")

        return await pages.read_by_offset(fetch, self.clock)


class InPages(Started):
    """A copy of ours has left; it stands on the second page."""

    def leave_behind(self) -> None:
        for ref in ("20", "21", "22"):
            self.platform.plant(ref, "5")
        gone = self.copy("102", "5")
        gone.send_amt = gone.total_amt
        self.platform.note("delivery", "102", "7", "us", gone.total_amt)

    def wire(self, process: Process, passed: Callable[[str], None]) -> Wire:
        made = super().wire(process, passed)
        return Paged(made.platform, made.clock, made.faults, on_send=made.on_send, passed=passed)


def first_page_only(patch: Patch) -> None:
    async def once(fetch: Any, _descending: bool) -> Any:
        page = await fetch(0, pages.PAGE)
        return pages._Reading(dict(page.rows), [page.digest])

    patch.setattr(pages, "_read_once", once)


class Unapproved(ProductPlay):
    """Nobody has approved anything."""

    approved = False

    def consent(self, plan: Plan) -> Consent:
        return approvals.consent(plan, (), self.policy(), self.clock.now(), "ann")


def empty_means_all(patch: Patch) -> None:
    real = approvals.consent

    def consent(plan: Plan, *more: Any) -> Consent:
        found = real(plan, *more)
        return found if found.items else Consent(frozenset(i.slot.key for i in plan.items))

    patch.setattr(approvals, "consent", consent)


class TwoDrafts(Weak):
    """Each runner finds a draft of its own (the list lags), so that only the election decides what is released."""

    def furnish(self) -> None:
        super().furnish()
        for ref in ("101", "102"):
            self.platform.mailings[ref] = Mailing(ref, "Copy", "0", "7", "us", 0.0)
            self.platform.note("copy", ref, "7", "us")
        self.platform.mailings["7"].status = "4"
        self.platform.note("stopped", "7", "7", "us")

    async def _main(self, process: Process, *, calm: bool) -> None:
        ledger = self.open_ledger(process.owner)
        (item,) = items_of("resend")
        await ledger.open_items(self.plan())
        mine = "101" if process is self.processes[0] else "102"
        await self.clock.sleep(10.0 * len(self.processes))
        won = await ledger.elect(item.slot.key, 0, mine, "", "pro2", "acme")
        if self.platform.mailings[won].status == "0":
            self._left(process, "schedule", won)
            self.platform.schedule(won, self.loop.now + 60, "us")
        await self.clock.sleep(600.0)
        await ledger.finish_item(item.slot.key, ItemOutcome.CONFIRMED, f"copy {won} was sent")
        process.ended = True
        self.over(process)


def elects_anew(patch: Patch) -> None:
    real = ledger_records.elect

    def elect(work: Any, slot_key: str, **more: Any) -> str:
        work.connection.exec_driver_sql("DELETE FROM remote_object WHERE slot_key = ?", (slot_key,))
        return real(work, slot_key=slot_key, **more)

    patch.setattr(ledger_records, "elect", elect)


# ---- the table ------------------------------------------------------------------------------------------------------

AT_ONCE = partial(quiet, "run_now", starts=(0.0, 0.0, 0.0))


def FOLLOWED() -> Trouble:  # noqa: N802 # a constant that has to be made anew each time
    """A run whose request lands late, and the next one a minute later."""
    return quiet("run_now", starts=(0.0, 60.0), reruns=0, faults=LATE())


def sleeping(seconds: float, second_at: float, where: str = FIRST_BYTE, **more: Any) -> Callable[[], Trouble]:
    """The first runner sleeps at a point, the second starts at a time."""
    return lambda: quiet(
        "run_now", pause_at_point=point("run_now", where), pause_seconds=seconds, starts=(0.0, second_at), reruns=0,
        **{name: make() for name, make in more.items()},
    )  # fmt: skip


BUGS = (
    Bug(
        1, "a claim without its guard", claims_anything, "double",
        lambda: shown(Weak, AT_ONCE),
        lambda patch: without(patch, *NO_HISTORY, *NO_K4),
    ),
    Bug(
        2, "a lease that is over makes an action in flight free again", take_over_frees, "double",
        lambda: shown(DiesHavingSent, FOLLOWED),
    ),
    Bug(
        3, "absence is believed at once, without the settle time",
        lambda patch: settles_in(patch, lambda *_: 0.0), "double",
        lambda: shown(ProductPlay, lambda: RUN_LATE(faults=LATE())),
        any_class,
    ),
    Bug(
        4, "the settle time counts from the request, not from the sender's death",
        lambda patch: settles_in(patch, left_since_request), "double",
        lambda: shown(DiesHavingSent, sleeping(1700.0, 1730.0, faults=LATE)),
        all_of(any_class, any_age),
    ),
    Bug(
        5, "leases by each process's own clock", lambda patch: patch.setattr(OwnClocks, "own", True), "double",
        lambda: shown(OwnClocks, sleeping(1650.0, 5.0)),
        all_of(any_class, any_age, any_sender),
    ),
    Bug(
        6, "the fence is not compared", forgets_the_fence, "double",
        lambda: shown(Weak, sleeping(1760.0, 5.0, faults=LATE)),
        all_of(any_class, any_sender, settles_any_attempt, lambda patch: without(patch, *NO_K4)),
    ),
    Bug(
        7, "another database than before is not noticed",
        lambda patch: patch.setattr(ledger_opening, "_check_epoch", lambda *_: []), "double",
        lambda: in_family(partial(at_every_step, "ledger_lost", ("run_now",), faults=LATE()), every=3),
        lambda patch: patch.setattr(ledger_opening, "_lost_intents", lambda *_: []),
    ),
    Bug(
        8, "the intent is written after the call", calls_before_it_writes, "double",
        lambda: shown(DiesHavingSent, FOLLOWED),
    ),
    Bug(
        9, "commits are not synced to the disk (SQLite NORMAL), and the host loses power", not_synced, "double",
        lambda: shown(PowerCut, FOLLOWED),
        lambda patch: patch.setattr(ledger_opening, "_lost_intents", lambda *_: []),
    ),
    Bug(
        10, "intents are not written into the second record",
        lambda patch: patch.setattr(ledger_files.IntentsLog, "append", lambda _self, _intents: None), "double",
        lambda: shown(LosesTail, FOLLOWED),
    ),
    Bug(
        17, "a conflict with our own effect is taken for a failure", takes_conflict_for_failure, "double",
        lambda: shown(ProductPlay, lambda: RUN_LATE(faults=Faults(script=("soft_refusal_applied",)))),
        no_second_look,
    ),
    Bug(
        18, "only the first page of a list is read", first_page_only, "double",
        lambda: shown(InPages, lambda: quiet("resend"), range(2)),
        all_of(lambda patch: patch.setattr(pages, "PAGE", 2), lambda patch: patch.setattr(pages, "OVERLAP", 1)),
    ),
    Bug(
        19, "a draft is adopted without comparing what it says",
        lambda patch: patch.setattr(_Resend, "_equal", _equal_always), "outside the plan",
        lambda: shown(
            OtherDraft, lambda: quiet("resend", faults=Faults(nth_write=3, nth_fate="lost_before")), range(2)
        ),
    ),
    Bug(
        20, "adoption prefers the oldest draft to the copy that has left",
        lambda patch: patch.setattr(_Resend, "_look_copy", _oldest_draft), "double",
        lambda: shown(Started, lambda: quiet("resend"), range(2)),
        without_rule(gate._no_sibling),
    ),
    Bug(
        21, "an elected draft can be elected anew", elects_anew, "double",
        lambda: shown(TwoDrafts, lambda: quiet("resend", starts=(0.0, 1.0)), range(2)),
        lambda patch: without(
            patch, "DROP INDEX one_elected_per_slot", "DROP TRIGGER election_stands", "DROP TRIGGER elected_once"
        ),
    ),
    Bug(
        22, "the gate goes by an original that was read before", remembers_the_original, "sent anyway",
        lambda: in_family(partial(at_every_step, "original_leaves", ("resend",)), every=12),
    ),
    Bug(
        23, "the gate does not look for sibling copies", without_rule(gate._no_sibling), "double",
        lambda: shown(Started, lambda: quiet("resend"), range(2)),
        lambda patch: patch.setattr(_Resend, "_look_copy", _oldest_draft),
    ),
    Bug(
        24, "a stop is believed without reading it back",
        lambda patch: patch.setattr(_Resend, "_confirm_stopped", _trusts_the_stop), "sent anyway",
        lambda: shown(ProductPlay, lambda: quiet("resend", faults=Faults(stop_ignored=True)), range(2)),
        all_of(
            without_rule(gate._original_at_rest),
            lambda patch: patch.setattr(_Resend, "_why_disarm", lambda _self, _original: ""),
        ),
    ),
    Bug(
        25, "an original that was partly sent is copied", counts_partly_sent_as_unsent, "sent anyway",
        lambda: shown(PartlySent, lambda: quiet("resend"), range(2)),
    ),
    Bug(
        26, "an empty set of approvals means all", empty_means_all, "outside the plan",
        lambda: shown(Unapproved, lambda: quiet("resend"), range(2)),
    ),
    Bug(
        27, "the kill switch is looked at when the run starts only", looks_at_the_switch_once, "kill switch",
        lambda: in_family(partial(at_every_step, "kill", ("resend",)), every=8, most=40),
    ),
    Bug(
        29, "a late worker opens a confirmed action again", reopens, "double",
        lambda: shown(Weak, sleeping(2000.0, 5.0)),
        all_of(
            any_class, any_sender, no_second_look, partial(settles_any_attempt, any_state=True),
            lambda patch: without(patch, *NO_HISTORY, *NO_K4),
        ),
    ),
    Bug(
        30, "nobody watches once the run is over", lambda patch: patch.setattr(Watcher, "round", _no_round),
        "silent overlap",
        lambda: shown(
            ProductPlay, lambda: quiet("resend", original_leaves_at=END + 100, watch_seconds=600.0), range(2)
        ),
    ),
    Bug(
        31, "one index for open and one for applied attempts in place of K4",
        lambda patch: without(
            patch, *NO_HISTORY, *NO_K4,
            "CREATE UNIQUE INDEX one_open ON attempt (action_key) WHERE outcome IS NULL",
            "CREATE UNIQUE INDEX one_applied ON attempt (action_key) WHERE outcome = 'applied'",
        ),
        "double",
        lambda: shown(WeakAndPatient, sleeping(40.0, 0.0, "before begin", faults=LATE), range(12)),
        all_of(any_age, claims_anything, lambda patch: without(patch, *NO_HISTORY)),
    ),
    Bug(
        32, "the row count of a fenced write is ignored", ignores_the_count, "double",
        lambda: shown(StaleRead, sleeping(40.0, 0.0, "before begin", faults=LATE), range(12)),
        all_of(any_age, reads_before_it_locks, lambda patch: without(patch, *LOOSE)),
    ),
)  # fmt: skip
"""The others, which show at a socket or a desk's key, are in `tests.prove.seeded_http`."""
