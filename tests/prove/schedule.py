"""One seed, one schedule: three runners, a colleague, an operator and everything that can go wrong, then the verdict.

A schedule has four parts: the storm (faults, kills, pauses, lost records), a rerun in the storm, a calm in which an
operator releases quarantine and kill switch, and two calm runs; the product's watcher goes on after them. What is then
not at rest is stuck or lost.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from recovery import model, recover
from recovery.act import Runner
from recovery.approvals import Consent
from recovery.errors import AllclearError
from recovery.model import Plan
from recovery.plan import is_intact, key_for
from recovery.policy import Policy
from recovery.ports import Account
from recovery.recipes import context
from recovery.recover import Recovery
from recovery.watch import Sighting, Watcher
from tests.prove.kernel import Loop, Process, StuckError, VirtualClock, machine
from tests.prove.memory_ledger import Action, Database, MemoryLedger, Store
from tests.prove.oracle import Claim, Sent, Story, judge
from tests.prove.remote import Platform, Wire
from tests.prove.trouble import CALM, END, STORM, Trouble, draw
from tests.prove.world import furnish, plan_of, policy_of

SECRET = b"a key of the simulator"
CALM_RUN_SECONDS = 6 * 3600.0
WATCH_EVERY = 60.0
BACKUP_EVERY_STEPS = 25


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of one schedule."""

    seed: int
    complaints: tuple[str, ...]
    outcomes: tuple[str, ...]
    counts: dict[str, int]
    trace: tuple[str, ...]
    steps: int
    first_run_steps: int = 0
    writes: int = 0
    points: tuple[str, ...] = ()


# ---- the schedule --------------------------------------------------------------------------------------------------


class Play:
    """One schedule while it runs. Subclasses put another ledger under it, or another world round it."""

    approved = True

    def __init__(self, seed: int, trouble: Trouble, loop: Loop, *, traced: bool = False) -> None:
        self.seed, self.t, self.loop, self.traced = seed, trouble, loop, traced
        self.chance = random.Random(f"world {seed}")
        self.clock = VirtualClock(loop)
        self.platform = Platform(loop, self.chance, one_shot=trouble.one_shot, audience=trouble.audience)
        self.wires: list[Wire] = []
        self.points: list[str] = []
        self.sightings: list[tuple[float, Sighting]] = []
        self.commits = 0
        self.sent: list[Sent] = []
        self.alarms: list[str] = []
        self.killed: list[tuple[float, float]] = []
        self.trace: list[str] = []
        self.kill_file = ""
        self.stormy = True
        self.processes: list[Process] = []
        self.product_steps = 0
        self.quiet_until = 0.0
        self.counts = dict.fromkeys(
            ("crashes", "pauses", "unsure_commits", "lost_tails", "lost_ledgers", "late_originals", "kills", "jumps"), 0
        )
        self.furnish()

    def furnish(self) -> None:
        """The disk of the product and the remote as they are before anybody acts."""
        self.store = Store()
        self.backups: list[Database] = []
        furnish(self.platform, self.t.scenario)

    def open_ledger(self, owner: str, strike: Callable[[], str] | None, passed: Callable[[str], None]) -> Any:
        """One process's ledger: the same methods as the product's, checked by test_memory_ledger.py."""
        return MemoryLedger(self.store, owner, self.clock, strike, passed=passed, time=self._ledger_time)

    def _ledger_time(self) -> float:
        return self.loop.now + self.clock.ahead if self.t.host_clock else self.loop.now

    def policy(self) -> Policy:
        """What the runs may do."""
        return policy_of(assume_one_shot=self.t.assume_one_shot)

    # ---- processes

    def launch(self, *, calm: bool = False) -> None:
        if self.loop.now < self.quiet_until:
            self.loop.at(self.quiet_until, self.launch)
            return
        process = Process(f"host:{len(self.processes) + 1}")
        self.processes.append(process)
        if not calm:
            self._draw_trouble(process)
            if self.t.crash_at and len(self.processes) == 1:
                process.trouble_at, process.pause = self.t.crash_at, 0.0
        self.loop.start(process, self._main(process, calm=calm))

    def _draw_trouble(self, process: Process) -> None:
        """When this process is struck next: every one of its steps is as likely as any other."""
        rate = self.t.crash + self.t.pause
        process.trouble_at = -1
        if rate and self.stormy:
            process.trouble_at = process.steps + 1 + int(self.chance.expovariate(rate))
            process.pause = self.chance.uniform(1, 400) if self.chance.random() * rate < self.t.pause else 0.0

    def struck(self, process: Process) -> None:
        if not self.stormy:
            return
        if process.pause:
            self.counts["pauses"] += 1
            process.paused_until = self.loop.now + process.pause
            self._draw_trouble(process)
            return
        self.counts["crashes"] += 1
        self.end(process)
        if self.t.reruns > 0:
            self.t.reruns -= 1
            self.loop.at(self.loop.now + self.chance.uniform(1, 600), self.launch)

    def end(self, process: Process) -> None:
        """kill -9: nothing of it runs any more, and the kernel frees its lock."""
        process.alive = False
        self.over(process)

    async def _main(self, process: Process, *, calm: bool) -> None:
        strikes = self.t.commit_lost or self.t.commit_unsure or self.t.nth_commit
        passed = self._passing(process)
        ledger = self.open_ledger(process.owner, self._strike if strikes and not calm else None, passed)
        wire = self.wire(process, passed)
        if calm or not self.stormy:
            wire.calm_down()
        plan = self.plan()
        recovery = Recovery(
            plan=plan,
            accounts={"acme": Account("acme", "UTC", wire, wire, wire, wire)},
            ledger=ledger,
            policy=self.policy(),
            secret=SECRET,
            clock=self.clock,
            tell=self._tell,
            consent=self.consent(plan),
            run_ref=process.owner,
            switched_off=lambda: self.kill_file,
            alarm=self._alarm,
        )
        try:
            await recovery.run()
        except AllclearError as error:
            self.say(f"{process.owner} gave up: {error}")
        for problem in recovery.problems:
            if "internal error" in problem:
                self.say(problem)
                self.alarms.append(problem)
        process.ended = True
        self.over(process)

    def plan(self) -> Plan:
        """What was approved."""
        return plan_of(self.t.scenario)

    def consent(self, plan: Plan) -> Consent:
        """What named people approved of it."""
        return Consent(frozenset(i.slot.key for i in plan.items))

    def wire(self, process: Process, passed: Callable[[str], None]) -> Wire:
        """The process's connection to the remotes."""
        made = Wire(
            self.platform, self.clock, self.t.faults,
            on_send=lambda what, ref: self._left(process, what, ref), passed=passed,
        )  # fmt: skip
        self.wires.append(made)
        return made

    def over(self, process: Process) -> None:
        """The kernel frees the lock of a process that is gone, however it went."""
        self.store.dead.add(process.owner)

    def _passing(self, process: Process) -> Callable[[str], None]:
        """What a process's named points do: written down, or a place to fall asleep at."""
        wanted = self.t.pause_at_point
        if not wanted or process is not self.processes[0]:
            return lambda _where: None

        def passed(where: str) -> None:
            process.passed += 1
            if wanted < 0:
                self.points.append(where)
            elif process.passed == wanted and self.t.pause_seconds:
                self.say(f"{process.owner} SLEEPS {self.t.pause_seconds:.0f} s at {where}")
                self.counts["pauses"] += 1
                process.paused_until = self.loop.now + self.t.pause_seconds
                if self.t.on_pause:
                    self.loop.at(self.loop.now + 10, self._happen, self.t.on_pause)

        return passed

    def _happen(self, what: str) -> None:
        {"original_leaves": self._original_leaves, "colleague": self._colleague, "kill": self._kill}[what]()

    def _strike(self) -> str:
        if not self.stormy:
            return ""
        self.commits += 1
        if self.t.nth_commit:
            return self.t.nth_commit_fate if self.commits == self.t.nth_commit else ""
        drawn = self.chance.random()
        if drawn < self.t.commit_lost:
            return "lost"
        if drawn < self.t.commit_lost + self.t.commit_unsure:
            self.counts["unsure_commits"] += 1
            return "unsure"
        return ""

    # ---- what can be seen from outside

    def say(self, text: str) -> None:
        if self.traced:
            self.trace.append(f"{self.loop.now:10.2f} {text}")

    def _tell(self, what: str, facts: Any) -> None:
        if self.traced:
            who = self.loop.current.owner if self.loop.current else ""
            self.say(f"{who} {what} {' '.join(str(v) for v in facts.values())}")

    async def _alarm(self, text: str) -> None:
        self.say(f"ALARM {text}")
        self.alarms.append(text)

    def _left(self, process: Process, what: str, ref: str) -> None:
        self.say(f"{process.owner} sends {what} {ref}")
        self.sent.append(Sent(self.loop.now, what, ref, process.owner))

    def _moved(self, owner: str, action: Action) -> None:
        self.say(f"{owner} {action.spec.kind} -> {action.state} {action.note[:70]}")

    # ---- what the world does

    def plan_the_world(self) -> None:
        t, loop = self.t, self.loop
        if t.tail_lost_at:
            loop.at(max(0.0, t.tail_lost_at - t.tail_seconds), self._back_up)
            loop.at(t.tail_lost_at, self._lose_tail)
        if t.ledger_lost_at:
            loop.at(t.ledger_lost_at, self._lose_ledger)
        if t.original_leaves_at:
            loop.at(t.original_leaves_at, self._original_leaves)
        if t.kill_at:
            loop.at(t.kill_at, self._kill)
        if t.colleague_at:
            loop.at(t.colleague_at, self._colleague)
        for at, seconds in t.clock_jumps:
            loop.at(at, self._jump, seconds)
        if t.storm_ends_at < STORM:
            loop.at(t.storm_ends_at, self._end_storm)
        if t.tail_lost_at_step:
            self._back_up()
        steps = (
            t.ledger_lost_at_step, t.original_leaves_at_step, t.kill_at_step, t.tail_lost_at_step,
            t.clock_jump_at_step[0],
        )  # fmt: skip
        if any(steps):
            loop.on_step = self._on_step

    def _on_step(self, _process: Process) -> None:
        self.product_steps += 1
        n = self.product_steps
        if n == self.t.ledger_lost_at_step:
            self._lose_ledger()
        if n == self.t.original_leaves_at_step:
            self._original_leaves()
        if n == self.t.kill_at_step:
            self._kill()
        if n == self.t.tail_lost_at_step:
            self._lose_tail()
        elif n < self.t.tail_lost_at_step and n % BACKUP_EVERY_STEPS == 0:
            self._back_up()
        if n == self.t.clock_jump_at_step[0]:
            self._jump(self.t.clock_jump_at_step[1])

    def _jump(self, seconds: float) -> None:
        self.counts["jumps"] += 1
        self.say(f"THE CLOCK IS SET BY {seconds:+.0f} s")
        self.clock.ahead += seconds

    def _back_up(self) -> None:
        self.backups.append(self.store.database.copied())

    def _lose_tail(self) -> None:
        self.counts["lost_tails"] += 1
        self.say("THE DATABASE LOSES ITS TAIL")
        self.store.replace(self.backups[-1])

    def _lose_ledger(self) -> None:
        """The database is deleted; with `state_kept` the folder beside it (second record, epoch) survives."""
        self.counts["lost_ledgers"] += 1
        self.say("THE LEDGER IS LOST")
        self.replace_ledger()
        if self.t.kill_by_row:  # the row goes with its database; the file and the environment do not
            self.killed = [(on, min(off, self.loop.now)) for on, off in self.killed]
        if not self.t.state_kept:
            # Nothing remembers what was on its way (docs/reliability.md, "impossible"): so nothing is, and nobody runs.
            # And nobody starts again before the lists show what has arrived, for they are all that is left to read.
            self.quiet_until = self.loop.now + 10 + self.t.faults.list_lag
            for process in self.processes:
                self.end(process)

    def replace_ledger(self) -> None:
        """An empty database in place of the old one, and without `state_kept` an empty folder beside it."""
        fresh = Database()
        self.store.replace(fresh)
        if not self.t.state_kept:
            self.store.intents.clear()
            fresh.known_epoch = self.store.epoch

    def _original_leaves(self) -> None:
        for mailing in list(self.platform.mailings.values()):
            if mailing.by == "original" and mailing.status in ("1", "2", "3", "4") and not mailing.send_amt:
                self.counts["late_originals"] += 1
                self.say(f"ORIGINAL {mailing.ref} LEAVES BY ITSELF")
                self.platform.depart(mailing)
                return
        for job in self.platform.jobs.values():
            if job.by == "schedule" and job.state in ("running", "stopped"):
                job.state = "running"
                self.platform.loop.at(self.loop.now + 60, self.platform._end, job)
                return

    def _kill(self) -> None:
        self.counts["kills"] += 1
        self.say("KILL SWITCH")
        self.killed.append((self.loop.now, CALM))
        if self.t.kill_by_row:
            self.throw_row("somebody said stop")
        else:
            self.kill_file = "the file KILL exists"

    def throw_row(self, reason: str) -> None:
        """The kill switch in the ledger itself."""
        self.store.database.kill = reason

    def _colleague(self) -> None:
        original = next((m for m in self.platform.mailings.values() if m.by == "original"), None)
        if original is not None:
            ref = self.platform.copy(original.ref, "colleague")
            self.say(f"A COLLEAGUE SENDS COPY {ref}")
            self.platform.schedule(ref, self.loop.now + 60, "colleague")

    # ---- the whole play

    def run(self) -> Ending:
        self.loop.on_trouble = self.struck
        if self.traced:
            self.store.committed = self._moved
        self.plan_the_world()
        for at in self.t.starts:
            self.loop.at(at, self.launch)
        stuck = ""
        try:
            self.loop.run(STORM)
            self.clock.ahead = 0.0  # the hosts' time service has set it right
            if self.t.starts:
                self.launch()
            self.loop.run(CALM)
            self._calm()
            for n in (0, 1):
                self.launch(calm=True)
                self.loop.run(CALM + (n + 1) * CALM_RUN_SECONDS)
            self._watch_on()
            late = [p.owner for p in self.processes if p.alive and not p.ended]
            if late:
                stuck = f"{', '.join(late)} never ended"
        except StuckError as error:
            stuck = str(error)
        return self._verdict(stuck)

    def _end_storm(self) -> None:
        self._blow_over()
        if self.t.starts:
            self.launch()

    def _calm(self) -> None:
        """The storm is over: who was paused has come back, an operator looks, and the switches are reset."""
        self._blow_over()
        if self.t.operator:
            self.kill_file = ""
            self.operate()

    def _blow_over(self) -> None:
        self.stormy = False
        for wire in self.wires:
            wire.calm_down()

    def operate(self) -> None:
        """What `allclear` offers a person after a storm: the kill switch off, the quarantine looked at and released."""
        database = self.store.database
        database.kill = ""
        probe = MemoryLedger(self.store, "operator", self.clock, time=self._ledger_time)
        probe._inspect()
        database.quarantine, database.missing = "", ()
        database.accepted_until, database.known_epoch = self._ledger_time(), self.store.epoch

    def _watch_on(self) -> None:
        """The deployment `watch`: one round a minute."""
        process = Process("host:watch")
        self.loop.start(process, self._rounds(process))
        self.loop.run(END + self.t.watch_seconds + WATCH_EVERY)

    async def _rounds(self, process: Process) -> None:
        ledger = self.open_ledger(process.owner, None, lambda _where: None)
        wire = self.wire(process, lambda _where: None)
        wire.calm_down()
        runner = Runner(ledger, self.clock, self.policy(), self._tell, process.owner, lambda: self.kill_file)
        account = Account("acme", "UTC", wire, wire, wire, wire)
        watcher = Watcher(runner, {"acme": account}, SECRET, self._see)
        while self.loop.now <= END + self.t.watch_seconds:
            await watcher.round()
            await self.clock.sleep(WATCH_EVERY)
        process.ended = True

    async def _see(self, sighting: Sighting) -> None:
        self.say(f"ALARM {sighting.text}")
        self.sightings.append((self.loop.now, sighting))
        self.alarms.append(sighting.text)

    def rows(self) -> Mapping[str, Any]:
        """The items as the ledger finally has them."""
        return self.store.database.items

    def _verdict(self, stuck: str) -> Ending:
        rows = self.rows()
        claims = tuple(Claim(i.slot.object_ref, i.slot.kind, rows.get(i.slot.key)) for i in self.plan().items)
        story = Story(
            self.platform.journal, self.sent, claims, self.alarms, self.killed, stuck,
            audience=self.t.audience, sightings=self.sightings, watched_until=END + self.t.watch_seconds,
            approved=self.approved,
        )  # fmt: skip
        complaints = [*judge(story), *(a for a in self.alarms if "internal error" in a)]
        outcomes = tuple(f"{c.row.outcome}" if c.row else "none" for c in claims)
        if self.traced:
            self.trace += [f"{line.at:10.2f} JOURNAL {line}" for line in self.platform.journal]
            self.trace += [
                f"CLAIM {c.object_ref}: {c.row.outcome if c.row else None} {c.row.reason if c.row else ''}"
                for c in claims
            ]
        return Ending(
            self.seed, tuple(complaints), outcomes, self.counts, tuple(self.trace), self.loop.steps,
            self.processes[0].steps, len(self.sent), tuple(self.points),
        )  # fmt: skip


_INTACT: dict[str, bool] = {}
_KEYS: dict[tuple[object, ...], str] = {}
_DIGESTS: dict[tuple[object, ...], str] = {}


def _known_intact(plan: Plan) -> bool:
    if plan.digest not in _INTACT:
        _INTACT[plan.digest] = is_intact(plan)
    return _INTACT[plan.digest]


def _known_key(secret: bytes, slot: Any, kind: str, generation: int = 0, detail: str = "") -> str:
    name = (id(slot), secret, kind, generation, detail)
    if name not in _KEYS:
        _KEYS[name] = key_for(secret, slot, kind, generation, detail)
        _SLOTS.append(slot)
    return _KEYS[name]


def _known_digest(value: Any) -> str:
    name = tuple(value)
    if name not in _DIGESTS:
        _DIGESTS[name] = model.digest_of(value)
    return _DIGESTS[name]


_SLOTS: list[object] = []  # kept alive, so that no other slot gets the same id
_known_iso = lru_cache(maxsize=4096)(model.iso)


@contextmanager
def remembered() -> Iterator[None]:
    """Pure functions of the product (keys, digests of specs, ISO times, a plan's intactness) are worked out once each.

    A schedule asks for the same few thousands of times and no fault touches them; this makes it a third faster.
    """
    before = recover.is_intact, context.key_for, context.digest_of, model.iso
    patch: Any = recover, context, model
    patch[0].is_intact, patch[1].key_for, patch[1].digest_of, patch[2].iso = (
        _known_intact, _known_key, _known_digest, _known_iso,
    )  # fmt: skip
    try:
        yield
    finally:
        patch[0].is_intact, patch[1].key_for, patch[1].digest_of, patch[2].iso = before


def play(seed: int, trouble: Trouble | None = None, *, traced: bool = False, kind: type[Play] = Play) -> Ending:
    """Run one schedule from its seed."""
    drawn = trouble if trouble is not None else draw(seed)
    with remembered(), machine(seed) as loop:
        return kind(seed, drawn, loop, traced=traced).run()
