"""The simulator's ledger answers every call as the real one on SQLite does: same states, same refusals, same rows."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from recovery.errors import AllclearError, LedgerUnavailable
from recovery.ledger.ledger import Ledger
from recovery.ledger.rows import ActionRow, ActionSpec, Caps
from recovery.model import ActionKind, ActionState, AttemptOutcome, Harm, OpenAttempt, Question, WriteResult
from tests.prove.columns import amount
from tests.prove.kernel import START
from tests.prove.memory_ledger import MemoryLedger, Store
from tests.prove.product_ledger import MEMORY

EXAMPLES = amount(20, 20, 500)
SPECS = {
    "COPY": ActionSpec("COPY", "slot 7", "acme", ActionKind.COPY, Harm.H0, "7"),
    "SEND": ActionSpec("SEND", "slot 7", "acme", ActionKind.RELEASE, Harm.H3, "101", recipients=60),
    "AGAIN": ActionSpec("AGAIN", "slot 7", "acme", ActionKind.RELEASE, Harm.H3, "102", recipients=60),
    "OTHER": ActionSpec("OTHER", "slot 8", "acme", ActionKind.RELEASE, Harm.H3, "103", recipients=60),
    "UNDO": ActionSpec("UNDO", "slot 7", "acme", ActionKind.DISARM, Harm.H0, "101"),
}
KEYS = st.sampled_from(sorted(SPECS))
WHO = st.sampled_from((0, 1))
OUTCOMES = st.sampled_from(list(AttemptOutcome))
ASKED = Question("what now?", "wait")
CAPS = st.sampled_from((None, Caps(2, 150, 100, "run 1"), Caps(run_ref="run 2", per_account_releases_a_day=1)))


class ManualClock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class BothLedgers(RuleBasedStateMachine):
    """Two owners on each ledger make the same calls."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory(prefix="ac-both-", dir=MEMORY if MEMORY.is_dir() else None)
        self.clock, self.store = ManualClock(), Store()
        self.real: list[Ledger] = [self._opened() for _ in range(2)]
        self.memory = [MemoryLedger(self.store, f"m{n}", self.clock) for n in range(2)]
        self.born = 2
        self.rows: dict[tuple[int, str], tuple[ActionRow, ActionRow]] = {}
        self.opened: dict[tuple[int, str], tuple[OpenAttempt, OpenAttempt]] = {}

    def _opened(self) -> Ledger:
        root = Path(self.folder.name)
        return self._wait(Ledger.open(f"sqlite:///{root}/l.db", root / "state", clock=self.clock))

    def _wait(self, call: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(call)

    def teardown(self) -> None:
        for ledger in self.real:
            self._wait(ledger.close())
        self.loop.close()
        self.folder.cleanup()

    def both(self, who: int, name: str, real: tuple[Any, ...], memory: tuple[Any, ...], **more: Any) -> tuple[Any, Any]:
        """Both answers, which are of one kind; (None, None) after a refusal by both."""
        answers: list[Any] = []
        for ledger, given in ((self.real[who], real), (self.memory[who], memory)):
            try:
                answers.append(self._wait(getattr(ledger, name)(*given, **more)))
            except AllclearError as error:
                answers.append(error)
        one, two = answers
        refused = isinstance(one, AllclearError), isinstance(two, AllclearError)
        assert type(one) is type(two), f"{name}: {one!r} in the real ledger, {two!r} in memory"
        return (None, None) if any(refused) else (one, two)

    def same(self, who: int, name: str, *given: Any, **more: Any) -> tuple[Any, Any]:
        return self.both(who, name, given, given, **more)

    @initialize()
    def make_known(self) -> None:
        self.same(0, "ensure", [SPECS["COPY"], SPECS["SEND"]])

    @rule(who=WHO, key=KEYS)
    def ensure(self, who: int, key: str) -> None:
        self.same(who, "ensure", [SPECS[key]])

    @rule(who=WHO, key=KEYS, lease=st.sampled_from((1.0, 120.0)))
    def claim(self, who: int, key: str, lease: float) -> None:
        one, two = self.same(who, "claim", key, lease)
        if one is not None:
            self.rows[who, key] = one, two

    @rule(who=WHO, key=KEYS)
    def unclaim(self, who: int, key: str) -> None:
        if (who, key) in self.rows:
            one, two = self.rows[who, key]
            self.both(who, "unclaim", (one, "no"), (two, "no"))

    @rule(who=WHO, key=KEYS, deadline=st.sampled_from((1.0, 30.0)), caps=CAPS)
    def intend(self, who: int, key: str, deadline: float, caps: Caps | None) -> None:
        if (who, key) not in self.rows:
            return
        one, two = self.rows[who, key]
        more = {"send_within_seconds": 5.0, "deadline_seconds": deadline, "caps": caps}
        first, second = self.both(who, "intend", (one, "POST"), (two, "POST"), **more)
        if first is not None:
            assert (first.n, first.fence, first.send_by_monotonic) == (second.n, second.fence, second.send_by_monotonic)
            self.opened[who, key] = first, second

    @rule(who=WHO, key=KEYS, deadline=st.sampled_from((1.0, 30.0)), caps=CAPS)
    def begin(self, who: int, key: str, deadline: float, caps: Caps | None) -> None:
        more = {"send_within_seconds": 5.0, "deadline_seconds": deadline, "caps": caps}
        first, second = self.same(who, "begin", key, 60.0, "POST", **more)
        assert (first is None) == (second is None)
        if first is not None:
            assert (first.n, first.fence, first.send_by_monotonic) == (second.n, second.fence, second.send_by_monotonic)
            self.opened[who, key] = first, second

    @rule(who=WHO)
    def stale_actions(self, who: int) -> None:
        one, two = self.same(who, "stale_actions")
        assert {row.key for row in one} == {row.key for row in two}

    @rule(who=WHO, expected=st.sampled_from((None, 0, 1)))
    def append(self, who: int, expected: int | None) -> None:
        one, two = self.same(who, "append", "watch/7", "seen", "ann", START, {"text": "it moved"}, expected)
        assert one == two

    @rule(who=WHO, key=KEYS, outcome=OUTCOMES, ref=st.sampled_from(("", "55")))
    def settle(self, who: int, key: str, outcome: AttemptOutcome, ref: str) -> None:
        if (who, key) in self.opened:
            one, two = self.opened[who, key]
            result = WriteResult(outcome, ref=ref, detail="said so")
            self.both(who, "settle", (one, result), (two, result))

    @rule(who=WHO, key=KEYS, digest=st.sampled_from(("", "d1")))
    def confirm(self, who: int, key: str, digest: str) -> None:
        self.same(who, "confirm", key, digest, "seen", "55")

    @rule(who=WHO, key=KEYS)
    def doubt(self, who: int, key: str) -> None:
        self.same(who, "doubt", key, "not there")

    @rule(who=WHO, key=KEYS, ref=st.sampled_from(("", "55")))
    def adopt(self, who: int, key: str, ref: str) -> None:
        self.same(who, "adopt", key, ref, "found", "d2")

    @rule(who=WHO, key=KEYS, by=st.sampled_from(("", "ann")))
    def absent(self, who: int, key: str, by: str) -> None:
        self.same(who, "absent", key, "looked three times", by=by)

    @rule(who=WHO, key=KEYS)
    def hold(self, who: int, key: str) -> None:
        self.same(who, "hold", key, ASKED)

    @rule(who=WHO, key=KEYS, reason=st.sampled_from(("", "over")))
    def skip(self, who: int, key: str, reason: str) -> None:
        self.same(who, "skip", key, reason)

    @rule(who=WHO, key=KEYS, by=st.sampled_from(("", "ann")))
    def release_hold(self, who: int, key: str, by: str) -> None:
        self.same(who, "release_hold", key, by, "because")

    @rule(who=WHO, key=KEYS)
    def take_over(self, who: int, key: str) -> None:
        self.same(who, "take_over", key)

    @rule(who=WHO, ref=st.sampled_from(("101", "102")))
    def elect(self, who: int, ref: str) -> None:
        one, two = self.same(who, "elect", "slot 7", 0, ref, "COPY", "pro2", "acme")
        assert one == two

    @rule(seconds=st.sampled_from((0.5, 2.0, 60.0, 4000.0)))
    def pass_time(self, seconds: float) -> None:
        self.clock.seconds += seconds

    @rule(who=WHO, on=st.booleans())
    def kill_switch(self, who: int, on: bool) -> None:
        self.same(who, "set_kill", "ann", "stop") if on else self.same(who, "clear_kill", "ann")

    @rule(who=WHO)
    def end_process(self, who: int) -> None:
        """One owner's process is over, its lock is free, and another begins."""
        self._wait(self.real[who].close())
        self.store.dead.add(self.memory[who].owner)
        self.real[who] = self._opened()
        self.memory[who] = MemoryLedger(self.store, f"m{self.born}", self.clock)
        self.born += 1
        self.rows = {k: v for k, v in self.rows.items() if k[0] != who}
        self.opened = {k: v for k, v in self.opened.items() if k[0] != who}

    @invariant()
    def rows_are_equal(self) -> None:
        # Two processes: what one was told before its commit, the other sees after it.
        for ledger in self.real:
            self._wait(ledger.flush())
        for slot in ("slot 7", "slot 8"):
            one, two = (self._wait(ledger.actions(slot)) for ledger in (self.real[0], self.memory[0]))
            assert {row.key: plain(row) for row in one} == {row.key: plain(row) for row in two}


def plain(row: ActionRow | None) -> object:
    """What must be equal: all but owners' names, and times to the second."""
    if row is None:
        return None
    return (
        row.key, row.state, row.fence, row.attempts, row.repeats, row.attempt_open, row.result_ref, row.elected_ref,
        row.evidence_digest, row.question, row.seq, bool(row.owner), row.lease_until is None,
    )  # fmt: skip


@pytest.mark.timeout(1800)
def test_the_simulators_ledger_behaves_like_the_real_one() -> None:
    run_state_machine_as_test(
        BothLedgers,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


async def test_what_was_adopted_has_no_open_attempt_any_more(tmp_path: Path) -> None:
    """Found by the machine above: the row of an action that was adopted in flight went on calling its attempt open."""
    async with await Ledger.open(f"sqlite:///{tmp_path}/l.db", tmp_path / "state", clock=ManualClock()) as ledger:
        await ledger.ensure([SPECS["SEND"]])
        assert await ledger.begin("SEND", 60.0, "POST", send_within_seconds=5.0, deadline_seconds=30.0) is not None
        assert not (await ledger.adopt("SEND", "101", "found", "d")).attempt_open


async def test_what_the_simulators_ledger_answers_early_dies_with_its_process() -> None:
    store, clock = Store(), ManualClock()
    first = MemoryLedger(store, "m0", clock)
    (told,) = await first.ensure([SPECS["COPY"]])
    assert told.state is ActionState.PLANNED
    assert await MemoryLedger(store, "m1", clock).action("COPY") is None, "the first is killed before its next step"


async def test_what_the_simulators_ledger_owes_is_written_before_its_next_intent() -> None:
    store, clock, fates = Store(), ManualClock(), iter(["unsure", "", "lost"])
    ledger = MemoryLedger(store, "m0", clock, lambda: next(fates))
    await ledger.ensure([SPECS["COPY"]])
    await asyncio.sleep(0)
    assert not store.database.actions, "its commit failed"
    assert await ledger.begin("COPY", 60.0, "POST", send_within_seconds=5.0, deadline_seconds=30.0) is not None
    with pytest.raises(LedgerUnavailable):
        await ledger.ensure([SPECS["UNDO"]])
