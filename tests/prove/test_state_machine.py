"""The ledger on SQLite against a small reference model: for each action a state, a few numbers and its attempts.

The model is written from the design's table of moves, not from the product's: what it allows must be allowed and what
it forbids must be refused, whatever two workers do in whatever order, and at no time may an action have two attempts
that are not proven to have had no effect. `ALLCLEAR_PROVE` chooses the long profile.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from recovery.errors import LedgerConflict, RefusedError
from recovery.ledger import records
from recovery.ledger.rows import ActionSpec, Caps
from recovery.model import ActionKind, ActionState, AttemptOutcome, Harm, OpenAttempt, Question, WriteResult
from tests.prove.columns import amount, patience
from tests.prove.product_ledger import Disk, ProductLedger
from tests.prove.test_memory_ledger import ManualClock

EXAMPLES, STEPS = amount((500, 20), (500, 20), (20_000, 60))
PER_DISK = 100
LEASE, DEADLINE, MOST_RELEASES = 60.0, 20.0, 1
S, O = ActionState, AttemptOutcome  # noqa: E741 # two words that stand in every line
OVER = {S.CONFIRMED, S.SKIPPED, S.CANCELLED}
MAY_BECOME: dict[ActionState, set[ActionState]] = {
    S.PLANNED: {S.CLAIMED, S.APPLIED, S.HELD, S.SKIPPED, S.CANCELLED},
    S.CLAIMED: {S.PLANNED, S.IN_FLIGHT, S.APPLIED, S.HELD, S.SKIPPED},
    S.IN_FLIGHT: {S.APPLIED, S.REJECTED, S.UNKNOWN, S.PLANNED},
    S.APPLIED: {S.CONFIRMED, S.UNKNOWN, S.HELD},
    S.UNKNOWN: {S.APPLIED, S.CONFIRMED, S.PLANNED, S.HELD},
    S.REJECTED: {S.PLANNED, S.APPLIED, S.HELD, S.SKIPPED, S.CANCELLED},
    S.HELD: {S.UNKNOWN, S.PLANNED, S.APPLIED, S.SKIPPED, S.CANCELLED},
}
SETTLES = {O.APPLIED: S.APPLIED, O.REJECTED: S.REJECTED, O.UNKNOWN: S.UNKNOWN, O.NOT_APPLIED: S.PLANNED}
KINDS = {"copy": ActionKind.COPY, "send": ActionKind.RELEASE, "other": ActionKind.RELEASE, "undo": ActionKind.DISARM}
NAMES = st.sampled_from(("send", "send", "send", "send", "other", "copy", "undo"))
WHO = st.sampled_from((0, 1))
WHICH = st.sampled_from((-1, -1, 0))  # the newest of what a worker holds, or the oldest
WORDS = st.sampled_from(("", "over"))
CONFLICT, REFUSED = LedgerConflict, RefusedError


@dataclass
class Try:
    """One attempt in the model: who sent it, what is known of it, and who said so."""

    sender: str
    outcome: AttemptOutcome | None = None
    said_by: str = ""


@dataclass
class Act:
    """One action in the model."""

    release: bool
    undo: bool
    state: ActionState = S.PLANNED
    owner: str = ""
    fence: int = 0
    repeats: int = 0
    lease: float = 0.0
    deadline: float = 0.0
    in_lane: bool = False
    tries: list[Try] = field(default_factory=list)

    @property
    def unproven(self) -> int:
        return sum(t.outcome is not O.NOT_APPLIED for t in self.tries)

    def know(self, outcome: AttemptOutcome) -> None:
        """Something better is known of the last attempt, unless that is proven to have had no effect."""
        if self.tries and self.tries[-1].outcome is not O.NOT_APPLIED:
            self.tries[-1].outcome = outcome

    def become(self, state: ActionState) -> None:
        self.state = state
        self.in_lane = self.in_lane and state in (S.IN_FLIGHT, S.APPLIED)


class Two(RuleBasedStateMachine):
    """Two workers on one ledger; each example has actions of its own."""

    ledgers: ClassVar[list[ProductLedger]]
    clock: ClassVar[ManualClock]
    disk: ClassVar[Disk]
    number: ClassVar[itertools.count[int]] = itertools.count()
    examples: ClassVar[int] = 0

    @classmethod
    def open_disk(cls) -> None:
        """An empty disk with two workers on it."""
        cls.clock, cls.disk = ManualClock(), Disk()
        cls.ledgers = [cls.worker(), cls.worker()]

    @classmethod
    def shut_disk(cls) -> None:
        """The chain of records must hold for all that its examples have left."""
        try:
            with cls.disk.connection.begin():
                assert records.verify(cls.disk.connection) == ()
        finally:
            for ledger in cls.ledgers:
                ledger.shut()
            cls.disk.close()

    @initialize()
    def begin_example(self) -> None:
        Two.examples += 1
        if Two.examples % PER_DISK == 0:  # a new worker reads what all before it have sent, which would only grow
            self.shut_disk()
            self.open_disk()
        self.id = f"e{next(self.number)}"
        self.acts: dict[str, Act] = {}
        # All of them, the oldest first: what a worker still holds in its hands may long be over.
        self.claims: dict[tuple[int, str], list[Any]] = {}
        self.opened: dict[tuple[int, str], list[OpenAttempt]] = {}
        self.dead: set[str] = set()
        self.killed = False
        self.caps = Caps(per_run_releases=MOST_RELEASES, run_ref=self.id)
        for name in KINDS:
            self.ensure(0, name)

    def teardown(self) -> None:
        if getattr(self, "killed", False):
            self.wait(self.ledgers[0].clear_kill("ann"))

    # ---- the two sides

    def wait(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Its answer; a call of this ledger gives way and never waits."""
        while True:
            try:
                call.send(None)
            except StopIteration as ended:
                return ended.value

    @classmethod
    def worker(cls) -> ProductLedger:
        time = cls.clock.monotonic
        return ProductLedger(cls.disk, f"worker:{next(cls.number)}", time, time)

    def key(self, name: str) -> str:
        return f"{self.id}/{name}"

    def spec(self, name: str) -> ActionSpec:
        kind = KINDS[name]
        harm = Harm.H3 if kind is ActionKind.RELEASE else Harm.H0
        return ActionSpec(self.key(name), self.key(f"slot {name}"), self.id, kind, harm, "7", recipients=10)

    def me(self, who: int) -> str:
        return self.ledgers[who].owner

    def agree(self, call: Coroutine[Any, Any, Any], expected: type[Exception] | None) -> Any:
        """The ledger does it, or refuses it in the way that the model says."""
        try:
            value = self.wait(call)
        except (LedgerConflict, RefusedError) as error:
            assert expected is not None and type(error) is expected, f"{error!r}, expected {expected}"
            return None
        assert expected is None, f"allowed, expected {expected}"
        return value

    def move(self, act: Act, to: ActionState, *, ours: str | None = None) -> type[Exception] | None:
        """Whether an action may become this; a claimed one only by its claimer."""
        if act.state in OVER or to not in MAY_BECOME[act.state]:
            return CONFLICT
        return CONFLICT if act.state is S.CLAIMED and ours is not None and act.owner != ours else None

    # ---- rules

    @rule(who=WHO, name=NAMES)
    def ensure(self, who: int, name: str) -> None:
        self.agree(self.ledgers[who].ensure([self.spec(name)]), None)
        kind = KINDS[name]
        self.acts.setdefault(name, Act(kind is ActionKind.RELEASE, kind is ActionKind.DISARM))

    def door(self, act: Act) -> type[Exception] | None:
        """Why no attempt may open: kill switch, lane, cap, or an attempt that is not proven without effect."""
        if self.killed and not act.undo:
            return REFUSED
        if act.release and any(a.in_lane for a in self.acts.values() if a is not act):
            return CONFLICT
        if act.release and sum(a.unproven for a in self.acts.values() if a.release) + 1 > MOST_RELEASES:
            return REFUSED
        return CONFLICT if act.unproven else None

    def open(self, act: Act, who: int) -> None:
        act.become(S.IN_FLIGHT)
        act.deadline = self.clock.seconds + DEADLINE
        act.lease = max(act.lease, act.deadline)
        act.in_lane = act.release
        act.tries.append(Try(self.me(who)))

    def claimed(self, act: Act, who: int) -> None:
        act.become(S.CLAIMED)
        act.owner, act.fence, act.lease = self.me(who), act.fence + 1, self.clock.seconds + LEASE

    @rule(who=WHO, name=NAMES)
    def begin(self, who: int, name: str) -> None:
        act = self.acts.get(name)
        free = act is not None and act.state is S.PLANNED
        refusal = self.door(act) if act is not None and free else None
        attempt = self.agree(
            self.ledgers[who].begin(
                self.key(name), LEASE, "POST", send_within_seconds=5, deadline_seconds=DEADLINE, caps=self.caps
            ),
            refusal,
        )
        assert (attempt is not None) == (free and refusal is None)
        if act is not None and attempt is not None:
            self.claimed(act, who)
            self.open(act, who)
            assert attempt.fence == act.fence and attempt.n == len(act.tries)
            self.opened.setdefault((who, name), []).append(attempt)

    @rule(who=WHO, name=NAMES)
    def claim(self, who: int, name: str) -> None:
        act = self.acts.get(name)
        row = self.agree(self.ledgers[who].claim(self.key(name), LEASE), None)
        assert (row is not None) == (act is not None and act.state is S.PLANNED)
        if act is not None and row is not None:
            self.claimed(act, who)
            self.claims.setdefault((who, name), []).append(row)

    @rule(who=WHO, name=NAMES, which=WHICH)
    def intend(self, who: int, name: str, which: int) -> None:
        if (who, name) not in self.claims:
            return
        row = self.claims[who, name][which]
        act = self.acts[name]
        held = act.state is S.CLAIMED and act.fence == row.fence and act.owner == self.me(who)
        refusal = self.door(act) if held else CONFLICT
        attempt = self.agree(
            self.ledgers[who].intend(row, "POST", send_within_seconds=5, deadline_seconds=DEADLINE, caps=self.caps),
            refusal,
        )
        if attempt is not None:
            self.open(act, who)
            self.opened.setdefault((who, name), []).append(attempt)

    @rule(who=WHO, name=NAMES, which=WHICH)
    def unclaim(self, who: int, name: str, which: int) -> None:
        if (who, name) not in self.claims:
            return
        row = self.claims[who, name][which]
        act = self.acts[name]
        held = act.state is S.CLAIMED and act.fence == row.fence and act.owner == self.me(who)
        if self.agree(self.ledgers[who].unclaim(row, "no"), None if held else CONFLICT) is not None:
            act.become(S.PLANNED)

    @rule(who=WHO, name=NAMES, which=WHICH, outcome=st.sampled_from(list(AttemptOutcome)))
    def settle(self, who: int, name: str, which: int, outcome: AttemptOutcome) -> None:
        if (who, name) not in self.opened:
            return
        attempt = self.opened[who, name][which]
        act = self.acts[name]
        held = act.state is S.IN_FLIGHT and act.fence == attempt.fence and act.owner == self.me(who)
        done = self.agree(self.ledgers[who].settle(attempt, WriteResult(outcome)), None if held else CONFLICT)
        if done is not None:
            act.tries[-1].outcome, act.tries[-1].said_by = outcome, self.me(who)
            act.become(SETTLES[outcome])

    @rule(who=WHO, name=NAMES, digest=st.sampled_from(("", "d")))
    def confirm(self, who: int, name: str, digest: str) -> None:
        act = self.acts.get(name)
        if act is None:
            return
        refusal = None if act.state is S.CONFIRMED else REFUSED if not digest else self.move(act, S.CONFIRMED)
        if self.agree(self.ledgers[who].confirm(self.key(name), digest, "seen"), refusal) is not None:
            if act.state is S.UNKNOWN:
                act.know(O.APPLIED)
            act.become(S.CONFIRMED)

    @rule(who=WHO, name=NAMES)
    def doubt(self, who: int, name: str) -> None:
        act = self.acts.get(name)
        refusal = None if act is not None and act.state is S.APPLIED else CONFLICT
        if self.agree(self.ledgers[who].doubt(self.key(name), "not there"), refusal) is not None and act is not None:
            act.know(O.UNKNOWN)
            act.become(S.UNKNOWN)

    @rule(who=WHO, name=NAMES)
    def adopt(self, who: int, name: str) -> None:
        act = self.acts.get(name)
        if act is None:
            return
        same = act.state in (S.APPLIED, S.CONFIRMED)
        refusal = None if same else self.move(act, S.APPLIED, ours=self.me(who))
        if self.agree(self.ledgers[who].adopt(self.key(name), "55", "found", "d"), refusal) is not None and not same:
            act.know(O.APPLIED)
            act.become(S.APPLIED)

    @rule(who=WHO, name=NAMES, by=st.sampled_from(("", "ann")))
    def absent(self, who: int, name: str, by: str) -> None:
        act = self.acts.get(name)
        if act is None:
            return
        refusal: type[Exception] | None = None
        if act.state is not S.UNKNOWN:
            refusal = CONFLICT
        elif act.repeats + 1 >= 3:
            refusal = REFUSED
        elif not by and act.tries and (last := act.tries[-1]).said_by != last.sender != self.me(who):
            refusal = None if last.sender in self.dead else REFUSED
        if self.agree(self.ledgers[who].absent(self.key(name), "looked", by=by), refusal) is not None:
            act.know(O.NOT_APPLIED)
            act.repeats += 1
            act.become(S.PLANNED)

    @rule(who=WHO, name=NAMES, proven=st.booleans())
    def retry_rejected(self, who: int, name: str, proven: bool) -> None:
        act = self.acts.get(name)
        if act is None:
            return
        refusal = CONFLICT if act.state is not S.REJECTED else REFUSED if not proven or act.repeats + 1 >= 3 else None
        call = self.ledgers[who].retry_rejected(self.key(name), "no effect", proven_not_applied=proven)
        if self.agree(call, refusal) is not None:
            act.know(O.NOT_APPLIED)
            act.repeats += 1
            act.become(S.PLANNED)

    @rule(
        who=WHO, name=NAMES, to=st.sampled_from((S.HELD, S.SKIPPED, S.CANCELLED)), words=st.sampled_from(("", "over"))
    )
    def end(self, who: int, name: str, to: ActionState, words: str) -> None:
        """Hold with a question, skip with a reason, cancel by name."""
        act = self.acts.get(name)
        if act is None:
            return
        ledger, key = self.ledgers[who], self.key(name)
        refusal = self.move(act, to, ours=self.me(who) if to is not S.CANCELLED else None)
        if to is S.HELD:
            call = ledger.hold(key, Question("what now?", "wait"))
        elif to is S.SKIPPED:
            call, refusal = ledger.skip(key, words), refusal if words else REFUSED
        else:
            call, refusal = ledger.cancel(key, words, "over"), refusal if words else REFUSED
        same = act.state is to and to is not S.CANCELLED
        self.agree(call, None if same else refusal)
        if not same and refusal is None:
            act.become(to)

    @rule(who=WHO, name=NAMES, by=st.sampled_from(("", "ann")))
    def release_hold(self, who: int, name: str, by: str) -> None:
        act = self.acts.get(name)
        if act is None:
            return
        refusal = CONFLICT if act.state is not S.HELD else REFUSED if not by else None
        if self.agree(self.ledgers[who].release_hold(self.key(name), by, "because"), refusal) is not None:
            open_question = bool(act.tries) and act.tries[-1].outcome is not O.NOT_APPLIED
            if open_question:
                act.know(O.UNKNOWN)
            act.become(S.UNKNOWN if open_question else S.PLANNED)

    @rule(who=WHO, name=NAMES)
    def take_over(self, who: int, name: str) -> None:
        act = self.acts.get(name)
        if act is None:
            return
        self.agree(self.ledgers[who].take_over(self.key(name)), None)
        now = self.clock.seconds
        gone, over = act.owner in self.dead, act.lease < now
        if act.state is S.CLAIMED and (gone or over):
            act.become(S.PLANNED)
        elif act.state is S.IN_FLIGHT and (gone or (over and act.deadline < now)):
            act.tries[-1].outcome, act.tries[-1].said_by = O.UNKNOWN, self.me(who)
            act.become(S.UNKNOWN)

    @rule(who=WHO, name=NAMES, dies=st.booleans())
    def sends_and_is_taken_over(self, who: int, name: str, dies: bool) -> None:
        """The way to an unknown outcome, in one step, because chance alone rarely goes it."""
        self.begin(who, name)
        if dies:
            self.die(who)
        self.pass_time(100.0)
        self.take_over(1 - who, name)

    @rule(who=WHO, name=NAMES, by=st.sampled_from(("", "ann")))
    def is_absent_and_begins_again(self, who: int, name: str, by: str) -> None:
        """The way to a second attempt."""
        self.absent(who, name, by)
        self.begin(who, name)

    @rule(who=WHO, name=NAMES)
    def tries_until_it_is_refused(self, who: int, name: str) -> None:
        """Three attempts whose effects are vouched to be absent."""
        for _ in range(3):
            self.sends_and_is_taken_over(who, name, False)
            self.absent(1 - who, name, "ann")

    @rule(who=WHO, name=NAMES, sent=st.booleans())
    def comes_back_with_what_is_over(self, who: int, name: str, sent: bool) -> None:
        """The same worker has the action a second time, and goes on with what it held the first time."""
        for _ in range(2):
            if sent:
                self.begin(who, name)
                if len(self.opened.get((who, name), ())) < 2:
                    self.settle(who, name, -1, O.NOT_APPLIED)
            else:
                self.claim(who, name)
                if len(self.claims.get((who, name), ())) < 2:
                    self.unclaim(who, name, -1)
        if sent:
            self.settle(who, name, 0, O.APPLIED)
        else:
            self.intend(who, name, 0)

    @rule(who=WHO)
    def die(self, who: int) -> None:
        """One worker's process is gone, and another takes its place."""
        self.dead.add(self.me(who))
        self.disk.dead.add(self.me(who))
        self.ledgers[who].shut()
        self.ledgers[who] = self.worker()
        self.claims = {k: v for k, v in self.claims.items() if k[0] != who}
        self.opened = {k: v for k, v in self.opened.items() if k[0] != who}

    @rule(seconds=st.sampled_from((1.0, 30.0, 100.0)))
    def pass_time(self, seconds: float) -> None:
        self.clock.seconds += seconds

    @rule(on=st.booleans())
    def kill_switch(self, on: bool) -> None:
        self.wait(self.ledgers[0].set_kill("ann", "stop") if on else self.ledgers[0].clear_kill("ann"))
        self.killed = on

    # ---- what must always hold

    @invariant()
    def the_file_says_what_the_model_says(self) -> None:
        if not getattr(self, "acts", None):
            return
        # By range, not by account or LIKE: those read what every example before this one has left.
        mine = (f"{self.id}/", f"{self.id}0")
        query = "SELECT key, state, fence, repeats FROM action WHERE key >= ? AND key < ?"
        file = self.disk.connection.connection.driver_connection
        found = {row[0]: row[1:] for row in file.execute(query, mine)}
        assert found == {self.key(n): (str(a.state), a.fence, a.repeats) for n, a in self.acts.items()}
        query = (
            "SELECT action_key, COUNT(*) FROM attempt WHERE action_key >= ? AND action_key < ?"
            " AND outcome IS NOT 'not_applied' GROUP BY action_key"
        )
        unproven = dict(file.execute(query, mine).fetchall())
        assert unproven == {self.key(n): a.unproven for n, a in self.acts.items() if a.unproven}
        assert max(unproven.values(), default=0) <= 1


@pytest.mark.timeout(patience(300))
def test_the_ledger_moves_as_the_reference_model_says(capsys: pytest.CaptureFixture[str]) -> None:
    Two.open_disk()
    try:
        run_state_machine_as_test(
            Two,
            settings=settings(
                max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
    finally:
        Two.shut_disk()
    with capsys.disabled():
        sys.stdout.write(f"state machine: {Two.examples} examples of up to {STEPS} steps, 0 moves unlike the model's\n")
