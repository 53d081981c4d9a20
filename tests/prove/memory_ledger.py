"""The ledger of the simulator: the methods and constraints of `recovery.ledger.ledger.Ledger`, in memory, with turns.

`Database` is what survives a killed process; `MemoryLedger` is one process's open ledger. Every write gives way before
and after its commit (an intent once more between the commit and its line in the second record), so a process can be
killed or paused with the record written and nobody told. A Hypothesis state machine (test_memory_ledger.py) drives this
and the real one on SQLite with the same calls; `tests.prove.product_ledger` runs the product's own statements instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from recovery.errors import LedgerConflict, LedgerUnavailable, RefusedError
from recovery.ledger.ledger import RECORDS_ONLY
from recovery.ledger.rows import ActionRow, ActionSpec, Caps, ItemRow, StreamEvent
from recovery.ledger.schema import LEGAL_MOVES
from recovery.model import (
    ActionKind,
    ActionState,
    Answer,
    AttemptOutcome,
    Exchange,
    Harm,
    ItemOutcome,
    OpenAttempt,
    Plan,
    Question,
    WriteResult,
)
from recovery.ports import Clock
from tests.prove.kernel import START, TURN

T = TypeVar("T")
S = ActionState
MAX_ATTEMPTS = 3
SETTLED = {
    AttemptOutcome.APPLIED: S.APPLIED,
    AttemptOutcome.REJECTED: S.REJECTED,
    AttemptOutcome.UNKNOWN: S.UNKNOWN,
    AttemptOutcome.NOT_APPLIED: S.PLANNED,
}


@dataclass(slots=True)
class Attempt:
    """One attempt as stored."""

    ref: int
    n: int
    owner: str
    run_ref: str
    reach: int
    opened_at: float
    deadline: float
    outcome: AttemptOutcome | None = None
    closed_by: str = ""


@dataclass(slots=True)
class Action:
    """One action as stored."""

    spec: ActionSpec
    state: ActionState
    updated_at: float
    owner: str = ""
    lease_until: float | None = None
    fence: int = 0
    seq: int = 1
    repeats: int = 0
    lane: str = ""
    elected_ref: str = ""
    result_ref: str = ""
    evidence_digest: str = ""
    question: Question | None = None
    note: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    attempt_number: int = 0

    @property
    def last(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None


@dataclass(slots=True)
class Item:
    """One item as stored."""

    row: ItemRow


@dataclass(slots=True)
class Database:
    """Everything that is committed. `epoch` changes when it was failed over, restored or replaced."""

    items: dict[str, ItemRow] = field(default_factory=dict)
    actions: dict[str, Action] = field(default_factory=dict)
    elected: dict[tuple[str, int], str] = field(default_factory=dict)
    objects: set[tuple[str, ...]] = field(default_factory=set)
    given: list[Answer] = field(default_factory=list)
    streams: dict[str, list[StreamEvent]] = field(default_factory=dict)
    kill: str = ""
    quarantine: str = ""
    missing: tuple[str, ...] = ()
    accepted_until: float = -1.0
    known_epoch: int = 0

    def copied(self) -> Database:
        """As a backup or a standby would have it."""
        return copy.deepcopy(self, {})


@dataclass(slots=True)
class Store:
    """The disk: the database, the second record beside it, and which owners' locks the kernel has freed."""

    database: Database = field(default_factory=Database)
    epoch: int = 0
    intents: list[tuple[str, int, float, float, str]] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    down: str = ""
    number: int = 0
    committed: Callable[[str, Action], None] | None = None

    def replace(self, database: Database) -> None:
        """A failover, a restored backup or a new file: whoever writes next looks at it first."""
        self.database = database
        self.epoch += 1


def nothing(_where: str) -> None:
    """The hook of a ledger at whose named points nothing happens."""


class MemoryLedger:
    """One process's ledger. `strike` says what befalls a commit: "", "lost" (not committed) or "unsure" (it was).

    `passed` hears the name of each point that a write comes by. `time` is the ledger's own clock in seconds, the
    process's monotonic one unless another is given.
    """

    def __init__(
        self,
        store: Store,
        owner: str,
        clock: Clock,
        strike: Callable[[], str] | None = None,
        *,
        passed: Callable[[str], None] = nothing,
        time: Callable[[], float] | None = None,
    ) -> None:
        self.store, self.owner, self.clock, self.strike = store, owner, clock, strike
        self.passed, self.wall = passed, time or clock.monotonic
        self._seen_epoch = -1
        self._intents: list[tuple[str, int, float, float, str]] = []
        self._owed: list[Callable[[], object]] = []  # answered, not committed
        self._trying = False

    # ---- transactions

    @property
    def db(self) -> Database:
        return self.store.database

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    async def _reach(self, unit: Callable[[], object]) -> tuple[str, str]:
        """A transaction is open and all that was owed is written; the unit's name, and what befalls its commit."""
        name = unit.__qualname__.split(".")[1]
        self.passed(f"before {name}")
        await TURN
        if self.store.down:
            raise LedgerUnavailable(self.store.down)
        self._pay()
        struck = self.strike() if self.strike is not None else ""
        if struck == "lost":
            raise LedgerUnavailable("the connection broke before the commit")
        return name, struck

    async def _write(self, unit: Callable[[], T]) -> T:
        name, struck = await self._reach(unit)
        value = unit()
        self.passed(f"{name} committed")
        await TURN
        if self._intents:
            self.store.intents += self._intents
            self._intents.clear()
            self.passed(f"{name} in the second record")
            await TURN
        if struck:
            raise LedgerUnavailable("the connection broke in the commit")
        return value

    async def _write_early(self, unit: Callable[[], T], *keys: str) -> T:
        """Answer what the unit will record of these actions, and commit it a step later; "unsure": owe it."""
        name, struck = await self._reach(unit)
        value = self._tried(unit, keys)
        self._owed.append(unit)
        if not struck:
            asyncio.get_running_loop().call_soon(self._commit_owed, name)
        return value

    def _tried(self, unit: Callable[[], T], keys: Sequence[str]) -> T:
        """What the unit answers, leaving the database as it was."""
        before = {key: copy.deepcopy(found) for key in keys if (found := self.db.actions.get(key)) is not None}
        self._trying = True
        try:
            return unit()
        finally:
            self._trying = False
            for key in self.db.actions.keys() & set(keys) - before.keys():
                del self.db.actions[key]
            self.db.actions.update(before)

    def _commit_owed(self, name: str) -> None:
        if self._owed and not self.store.down:
            self._pay()
            self.passed(f"{name} committed")

    def _pay(self) -> None:
        """Look at a new database, then write what was answered, before anything else. Refused now, it is dropped."""
        if self._seen_epoch != self.store.epoch:
            self._inspect()
        owed, self._owed = self._owed, []
        for unit in owed:
            with contextlib.suppress(LedgerConflict, RefusedError):
                unit()

    async def _read(self, query: Callable[[], T]) -> T:
        if self._owed and not self.store.down:
            self._pay()
        value = query()
        self.passed("the ledger was read")
        await TURN
        return value

    def _inspect(self) -> None:
        """What every opening and every new connection does first (recovery.ledger.opening)."""
        self._seen_epoch = self.store.epoch
        db, reasons = self.db, []
        if db.known_epoch != self.store.epoch:
            reasons.append("the database was failed over, restored or replaced")
        known = {(key, a.n) for key, action in db.actions.items() for a in action.attempts}
        lost = [i for i in self.store.intents if i[2] > db.accepted_until and (i[0], i[1]) not in known]
        if lost:
            reasons.append(f"{len(lost)} intents are not in the database")
            for intent in sorted(lost):
                self._bring_back(*intent)
        if reasons:
            db.quarantine = "; ".join(reasons)

    def _bring_back(self, key: str, n: int, at: float, deadline: float, owner: str) -> None:
        action = self.db.actions.get(key)
        if action is None:
            self.db.missing = tuple(sorted({*self.db.missing, f"{key}#{n}"}))
            return
        if action.state in {S.CONFIRMED, S.SKIPPED, S.CANCELLED, S.UNKNOWN}:
            return
        known = next((a for a in action.attempts if a.outcome is not AttemptOutcome.NOT_APPLIED), None)
        if known is None:
            lost = Attempt(self._ref(), n, owner, "", action.spec.recipients, at, deadline, AttemptOutcome.UNKNOWN)
            lost.closed_by = "lost"
            action.attempts.append(lost)
        else:
            known.outcome, known.closed_by = AttemptOutcome.UNKNOWN, self.owner
        action.attempt_number = max(action.attempt_number, n)
        self._move(action, S.UNKNOWN, f"attempt {n} was lost from the database")

    def _ref(self) -> int:
        self.store.number += 1
        return self.store.number

    def _need(self, key: str) -> Action:
        found = self.db.actions.get(key)
        if found is None:
            raise LedgerConflict(f"the ledger has no action {key}")
        return found

    def _move(self, action: Action, to: ActionState, note: str, **changes: Any) -> None:
        if to not in LEGAL_MOVES.get(action.state, ()):
            raise LedgerConflict(f"action {action.spec.key} is {action.state} and cannot become {to}")
        if to is S.CONFIRMED and not changes.get("evidence_digest", action.evidence_digest):
            raise LedgerConflict("confirmed without evidence")
        if to not in {S.IN_FLIGHT, S.APPLIED}:
            action.lane = ""
        if to is not S.HELD:
            action.question = None
        for name, value in changes.items():
            setattr(action, name, value)
        action.state, action.note, action.updated_at = to, note, self.wall()
        action.seq += 1
        if self.store.committed is not None and not self._trying:
            self.store.committed(self.owner, action)

    def _ours(self, key: str, fence: int, state: ActionState) -> Action:
        action = self._need(key)
        if action.state is not state or action.fence != fence or action.owner != self.owner:
            raise LedgerConflict(f"action {key} is {action.state} and no longer held by this claim")
        return action

    def _is_dead(self, owner: str) -> bool:
        return owner in self.store.dead

    # ---- rows

    def _row(self, action: Action) -> ActionRow:
        spec, last = action.spec, action.last
        moment = self._moment
        return ActionRow(
            spec.key,
            spec.slot_key,
            spec.account,
            spec.kind,
            spec.harm,
            spec.target_ref,
            spec.generation,
            spec.payload_digest,
            spec.recipients,
            action.state,
            action.owner,
            None if action.lease_until is None else moment(action.lease_until),
            action.fence,
            action.attempt_number,
            action.repeats,
            last is not None and last.outcome is None,
            None if last is None else moment(last.deadline),
            action.elected_ref,
            action.result_ref,
            action.evidence_digest,
            action.question,
            action.note,
            action.seq,
            self._moment(action.updated_at),
        )

    def _moment(self, seconds: float) -> datetime:
        return START if seconds == 0 else datetime.fromtimestamp(START.timestamp() + seconds, START.tzinfo)

    # ---- items and answers

    async def flush(self) -> None:
        await TURN

    async def open_items(self, plan: Plan) -> None:
        def unit() -> None:
            for each in plan.items:
                key = each.slot.key
                known = self.db.items.get(key)
                if known is not None and (known.outcome is ItemOutcome.CONFIRMED or known.plan_digest == plan.digest):
                    continue
                generation = known.generation if known is not None else each.generation
                slot = each.slot
                self.db.items[key] = ItemRow(
                    key, slot.account, slot.system, slot.kind, slot.object_ref, slot.due_at, slot.name,
                    str(each.verdict), str(each.remedy), ItemOutcome.OPEN, "", None, generation, plan.digest,
                    plan.window.incident_ref, self._moment(self.wall()),
                )  # fmt: skip

        await self._write(unit)

    async def item(self, slot_key: str) -> ItemRow | None:
        return await self._read(lambda: self.db.items.get(slot_key))

    async def items(
        self,
        *,
        plan: str | None = None,
        incident: str | None = None,
        outcome: ItemOutcome | None = None,
        object_ref: str | None = None,
        since: datetime | None = None,
    ) -> tuple[ItemRow, ...]:
        return await self._read(
            lambda: tuple(
                r
                for r in self.db.items.values()
                if (outcome is None or r.outcome is outcome) and (since is None or r.updated_at >= since)
            )
        )

    async def finish_item(
        self, slot_key: str, outcome: ItemOutcome, reason: str, question: Question | None = None
    ) -> None:
        def unit() -> None:
            found = self.db.items.get(slot_key)
            if found is None:
                raise LedgerConflict(f"the ledger has no item {slot_key}")
            if found.outcome is ItemOutcome.CONFIRMED:
                if outcome is ItemOutcome.CONFIRMED:
                    return
                raise LedgerConflict(f"item {slot_key} is confirmed already")
            if outcome is ItemOutcome.HELD and question is None:
                raise RefusedError(f"item {slot_key} cannot be held without a question")
            if outcome is ItemOutcome.SKIPPED and not reason.strip():
                raise RefusedError(f"item {slot_key} cannot be skipped without a reason")
            changed = copy.copy(found)
            object.__setattr__(changed, "outcome", outcome)
            object.__setattr__(changed, "reason", reason)
            object.__setattr__(changed, "updated_at", self._moment(self.wall()))
            object.__setattr__(changed, "question", question if outcome is ItemOutcome.HELD else None)
            self.db.items[slot_key] = changed

        await self._write(unit)

    async def answer(self, answer: Answer) -> None:
        def unit() -> None:
            found = self.db.items.get(answer.slot_key)
            if found is None:
                raise LedgerConflict(f"the ledger has no item {answer.slot_key}")
            if found.outcome is not ItemOutcome.HELD or found.question is None:
                raise RefusedError(f"item {answer.slot_key} is not held")
            if not answer.by.strip():
                raise RefusedError("an answer needs a name")
            if answer.choice not in found.question.choices:
                raise RefusedError(f"{answer.choice!r} was not offered")
            self.db.given.append(answer)

        await self._write(unit)

    async def answers(self, slot_key: str) -> tuple[Answer, ...]:
        return await self._read(lambda: tuple(a for a in self.db.given if a.slot_key == slot_key))

    # ---- actions

    async def ensure(self, specs: Sequence[ActionSpec]) -> tuple[ActionRow, ...]:
        def unit() -> tuple[ActionRow, ...]:
            for spec in specs:
                if spec.key in self.db.actions:
                    continue
                if spec.kind is ActionKind.RELEASE and any(
                    a.spec.kind is ActionKind.RELEASE
                    and (a.spec.slot_key, a.spec.generation) == (spec.slot_key, spec.generation)
                    and a.state not in {S.CANCELLED, S.SKIPPED}
                    for a in self.db.actions.values()
                ):
                    raise LedgerConflict("a second release of one slot")
                self.db.actions[spec.key] = Action(spec, S.PLANNED, self.wall())
            return tuple(self._row(self.db.actions[spec.key]) for spec in specs)

        return await self._write_early(unit, *(spec.key for spec in specs))

    async def action(self, key: str) -> ActionRow | None:
        def query() -> ActionRow | None:
            found = self.db.actions.get(key)
            return None if found is None else self._row(found)

        return await self._read(query)

    async def actions(self, slot_key: str) -> tuple[ActionRow, ...]:
        return await self._read(
            lambda: tuple(self._row(a) for a in self.db.actions.values() if a.spec.slot_key == slot_key)
        )

    async def claim(self, key: str, lease_seconds: float) -> ActionRow | None:
        def unit() -> ActionRow | None:
            action = self.db.actions.get(key)
            if action is None or action.state is not S.PLANNED:
                return None
            self._move(
                action, S.CLAIMED, "", owner=self.owner, fence=action.fence + 1,
                lease_until=self.wall() + lease_seconds,
            )  # fmt: skip
            return self._row(action)

        return await self._write(unit)

    async def unclaim(self, row: ActionRow, note: str) -> ActionRow:
        def unit() -> ActionRow:
            action = self._ours(row.key, row.fence, S.CLAIMED)
            self._move(action, S.PLANNED, note, owner="", lease_until=None)
            return self._row(action)

        return await self._write(unit)

    async def intend(
        self,
        row: ActionRow,
        request: str,
        *,
        send_within_seconds: float,
        deadline_seconds: float,
        caps: Caps | None = None,
    ) -> OpenAttempt:
        def unit() -> OpenAttempt:
            action = self._ours(row.key, row.fence, S.CLAIMED)
            lane = self._may_leave(action, caps)
            return self._open(action, lane, request, send_within_seconds, deadline_seconds, caps)

        return await self._write(unit)

    async def begin(
        self,
        key: str,
        lease_seconds: float,
        request: str,
        *,
        send_within_seconds: float,
        deadline_seconds: float,
        caps: Caps | None = None,
    ) -> OpenAttempt | None:
        def unit() -> OpenAttempt | None:
            action = self.db.actions.get(key)
            if action is None or action.state is not S.PLANNED:
                return None
            lane = self._may_leave(action, caps)
            self._move(
                action, S.CLAIMED, "", owner=self.owner, fence=action.fence + 1,
                lease_until=self.wall() + lease_seconds,
            )  # fmt: skip
            return self._open(action, lane, request, send_within_seconds, deadline_seconds, caps)

        return await self._write(unit)

    def _may_leave(self, action: Action, caps: Caps | None) -> str:
        spec, db = action.spec, self.db
        if spec.kind is not ActionKind.DISARM:
            if db.kill:
                raise RefusedError(f"the kill switch is on: {db.kill}")
            if db.quarantine:
                raise RefusedError("the ledger is in quarantine")
        reaches, lane = spec.harm is Harm.H3, ""
        if reaches and spec.kind is ActionKind.RELEASE:
            lane = spec.account
            if any(a.lane == lane and a is not action for a in db.actions.values()):
                raise LedgerConflict("another release of this account is on its way")
        if reaches and caps is not None:
            self._check_caps(action, caps)
        if self._blocks(action):
            raise LedgerConflict("an earlier attempt is not proven not applied")
        return lane

    def _open(
        self,
        action: Action,
        lane: str,
        request: str,
        send_within_seconds: float,
        deadline_seconds: float,
        caps: Caps | None,
    ) -> OpenAttempt:
        spec = action.spec
        n, started = action.attempt_number + 1, self.now
        deadline = self.wall() + deadline_seconds
        reach = max(1, spec.recipients) if spec.harm is Harm.H3 else 0
        attempt = Attempt(self._ref(), n, self.owner, caps.run_ref if caps else "", reach, self.wall(), deadline)
        lease = max(action.lease_until or 0.0, deadline)
        self._move(action, S.IN_FLIGHT, f"attempt {n}: {request}", attempt_number=n, lease_until=lease, lane=lane)
        action.attempts.append(attempt)
        self._intents.append((spec.key, n, self.wall(), deadline, self.owner))
        return OpenAttempt(attempt.ref, spec.key, n, action.fence, started + send_within_seconds, deadline_seconds)

    def _blocks(self, action: Action) -> bool:
        """K4: at most one attempt that is not proven not-applied."""
        return any(a.outcome is not AttemptOutcome.NOT_APPLIED for a in action.attempts)

    def _check_caps(self, action: Action, caps: Caps) -> None:
        people = max(1, action.spec.recipients)
        counted = [
            a
            for other in self.db.actions.values()
            for a in other.attempts
            if a.reach and a.outcome is not AttemptOutcome.NOT_APPLIED
        ]
        run = [a.reach for a in counted if a.run_ref == caps.run_ref]
        hour = [a.reach for a in counted if a.opened_at > self.wall() - 3600]
        for cap, wanted in (
            (caps.per_run_releases, len(run) + 1),
            (caps.per_run_recipients, sum(run) + people),
            (caps.per_hour_recipients, sum(hour) + people),
            (caps.per_account_releases_a_day, self._mails_today(action)),
        ):
            if cap is not None and wanted > cap:
                raise RefusedError(f"the cap is {cap}, this would make {wanted}")

    def _mails_today(self, action: Action) -> int:
        """How many copies of the account will have left within a day, this one included; 0 for anything else."""
        if action.spec.kind is not ActionKind.RELEASE:
            return 0
        others = [o for o in self.db.actions.values() if o.spec.account == action.spec.account]
        return 1 + sum(
            1
            for other in others
            if other.spec.kind is ActionKind.RELEASE
            for a in other.attempts
            if a.reach and a.outcome is not AttemptOutcome.NOT_APPLIED and a.opened_at > self.wall() - 86400
        )

    async def settle(self, attempt: OpenAttempt, result: WriteResult) -> ActionRow:
        def unit() -> ActionRow:
            action = self._ours(attempt.action_key, attempt.fence, S.IN_FLIGHT)
            last = action.last
            if last is None or last.ref != attempt.attempt_ref:
                raise LedgerConflict("this attempt is not the open one")
            changes: dict[str, Any] = {"result_ref": result.ref} if result.ref else {}
            state = SETTLED[result.outcome]
            if state is S.PLANNED:
                changes |= {"owner": "", "lease_until": None}
            self._move(action, state, f"{result.outcome}: {result.detail}".rstrip(": "), **changes)
            last.outcome, last.closed_by = result.outcome, self.owner
            return self._row(action)

        if result.outcome in RECORDS_ONLY:
            return await self._write_early(unit, attempt.action_key)
        return await self._write(unit)

    @staticmethod
    def _relabel(action: Action, outcome: AttemptOutcome) -> None:
        last = action.last
        if last is not None and last.outcome is not AttemptOutcome.NOT_APPLIED:
            last.outcome = outcome

    async def confirm(self, key: str, evidence_digest: str, note: str, ref: str = "") -> ActionRow:
        def unit() -> ActionRow:
            action = self._need(key)
            if action.state is S.CONFIRMED:
                return self._row(action)
            if not evidence_digest:
                raise RefusedError(f"action {key} cannot be confirmed without evidence")
            was = action.state
            self._move(
                action, S.CONFIRMED, note, evidence_digest=evidence_digest, result_ref=ref or action.result_ref,
                owner="", lease_until=None,
            )  # fmt: skip
            if was is S.UNKNOWN:
                self._relabel(action, AttemptOutcome.APPLIED)
            return self._row(action)

        return await self._write_early(unit, key)

    def _state(self, key: str, state: ActionState) -> Action:
        action = self._need(key)
        if action.state is not state:
            raise LedgerConflict(f"action {key} is {action.state}, not {state}")
        return action

    async def doubt(self, key: str, note: str) -> ActionRow:
        def unit() -> ActionRow:
            action = self._state(key, S.APPLIED)
            self._move(action, S.UNKNOWN, note)
            self._relabel(action, AttemptOutcome.UNKNOWN)
            return self._row(action)

        return await self._write(unit)

    async def adopt(self, key: str, ref: str, note: str, evidence_digest: str = "") -> ActionRow:
        def unit() -> ActionRow:
            action = self._need(key)
            if action.state in {S.APPLIED, S.CONFIRMED}:
                return self._row(action)
            if action.state is S.CLAIMED:
                self._ours(key, action.fence, S.CLAIMED)
            self._move(action, S.APPLIED, note, result_ref=ref or action.result_ref, evidence_digest=evidence_digest)
            self._relabel(action, AttemptOutcome.APPLIED)
            return self._row(action)

        return await self._write(unit)

    async def absent(self, key: str, note: str, evidence_digest: str = "", by: str = "") -> ActionRow:
        def unit() -> ActionRow:
            action = self._state(key, S.UNKNOWN)
            if action.repeats + 1 >= MAX_ATTEMPTS:
                raise RefusedError(f"action {key} was tried {MAX_ATTEMPTS} times without a proven effect")
            if not by:
                self._check_sender_is_gone(action)
            self._move(action, S.PLANNED, note, repeats=action.repeats + 1, owner="", lease_until=None)
            self._relabel(action, AttemptOutcome.NOT_APPLIED)
            return self._row(action)

        return await self._write(unit)

    def _check_sender_is_gone(self, action: Action) -> None:
        last = action.last
        if last is None or last.closed_by == last.owner or last.owner == self.owner:
            return
        if not self._is_dead(last.owner):
            raise RefusedError(f"the process that sent {action.spec.key} ({last.owner}) may still be alive")

    async def hold(self, key: str, question: Question) -> None:
        def unit() -> None:
            action = self._need(key)
            if action.state is S.HELD:
                return
            if action.state is S.CLAIMED:
                self._ours(key, action.fence, S.CLAIMED)
            self._move(action, S.HELD, question.text, owner="", lease_until=None)
            action.question = question

        await self._write(unit)

    async def skip(self, key: str, reason: str) -> None:
        def unit() -> None:
            action = self._need(key)
            if action.state is S.SKIPPED:
                return
            if not reason.strip():
                raise RefusedError("this needs a reason")
            if action.state is S.CLAIMED:
                self._ours(key, action.fence, S.CLAIMED)
            self._move(action, S.SKIPPED, reason, owner="", lease_until=None)

        await self._write(unit)

    async def release_hold(self, key: str, by: str, reason: str) -> ActionRow:
        def unit() -> ActionRow:
            action = self._state(key, S.HELD)
            if not by.strip():
                raise RefusedError("this needs a name")
            last = action.last
            unproven = last is not None and last.outcome is not AttemptOutcome.NOT_APPLIED
            self._move(action, S.UNKNOWN if unproven else S.PLANNED, reason)
            if unproven:
                self._relabel(action, AttemptOutcome.UNKNOWN)
            return self._row(action)

        return await self._write(unit)

    async def take_over(self, key: str) -> ActionRow:
        def unit() -> ActionRow:
            action = self._need(key)
            if action.state not in {S.CLAIMED, S.IN_FLIGHT}:
                return self._row(action)
            dead, now = self._is_dead(action.owner), self.wall()
            over = (action.lease_until or 0.0) < now
            why = f"taken over from {action.owner}"
            if action.state is S.CLAIMED and (dead or over):
                self._move(action, S.PLANNED, why, owner="", lease_until=None)
            elif action.state is S.IN_FLIGHT:
                last = action.last
                assert last is not None
                if dead or (over and last.deadline < now):
                    self._move(action, S.UNKNOWN, why)
                    last.outcome, last.closed_by = AttemptOutcome.UNKNOWN, self.owner
            return self._row(action)

        return await self._write(unit)

    # ---- objects, evidence, safety

    async def elect(self, slot_key: str, generation: int, ref: str, action_key: str, system: str, account: str) -> str:
        def unit() -> str:
            won = self.db.elected.setdefault((slot_key, generation), ref)
            action = self.db.actions.get(action_key)
            if action is not None and not action.elected_ref:
                action.elected_ref = won
            return won

        return await self._write(unit)

    async def elected(self, slot_key: str, generation: int) -> str:
        return await self._read(lambda: self.db.elected.get((slot_key, generation), ""))

    async def note_object(self, system: str, account: str, ref: str, slot_key: str, action_key: str, role: str) -> None:
        def unit() -> None:
            self.db.objects.add((system, account, ref, slot_key, role))

        await self._write(unit)

    async def keep(self, exchange: Exchange) -> None:
        """Evidence is not part of the promise's simulation."""

    async def killed(self) -> str:
        return await self._read(lambda: self.db.kill)

    async def set_kill(self, by: str, reason: str) -> None:
        def unit() -> None:
            self.db.kill = reason

        await self._write(unit)

    async def clear_kill(self, by: str) -> None:
        def unit() -> None:
            self.db.kill = ""

        await self._write(unit)

    async def release_quarantine(self, by: str) -> None:
        def unit() -> None:
            self.db.quarantine, self.db.missing = "", ()
            self.db.accepted_until, self.db.known_epoch = self.wall(), self.store.epoch

        await self._write(unit)

    # ---- what the watcher asks

    async def stale_actions(self) -> tuple[ActionRow, ...]:
        moving = {S.CLAIMED, S.IN_FLIGHT, S.UNKNOWN, S.APPLIED}

        def query() -> tuple[ActionRow, ...]:
            left = [a for a in self.db.actions.values() if a.state in moving]
            return tuple(
                self._row(a)
                for a in left
                if a.lease_until is None or a.lease_until < self.wall() or self._is_dead(a.owner)
            )

        return await self._read(query)

    async def append(
        self, stream: str, kind: str, by: str, at: datetime, data: Mapping[str, Any], expected_seq: int | None = None
    ) -> int:
        def unit() -> int:
            events = self.db.streams.setdefault(stream, [])
            if expected_seq is not None and expected_seq != len(events):
                raise LedgerConflict(f"stream {stream} has {len(events)} events, not {expected_seq}")
            events.append(StreamEvent(stream, len(events) + 1, kind, by, at, data))
            return len(events)

        return await self._write(unit)

    async def stream(self, name: str) -> tuple[StreamEvent, ...]:
        return await self._read(lambda: tuple(self.db.streams.get(name, ())))

    def owner_is_dead(self, owner: str) -> bool:
        return self._is_dead(owner)
