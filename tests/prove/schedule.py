"""One seed, one schedule: three runners, a colleague, an operator and everything that can go wrong, then the verdict.

A schedule has four parts: the storm (faults, kills, pauses, lost records), a rerun in the storm, a calm in which an
operator releases quarantine and kill switch, and two calm runs. What is then not at rest is stuck or lost.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

from recovery import recover
from recovery.approvals import Consent
from recovery.errors import AllclearError
from recovery.model import (
    ActionKind,
    Harm,
    Kind,
    OutageWindow,
    Plan,
    PlanItem,
    PlannedAction,
    Remedy,
    Schedule,
    Scheduled,
    Slot,
    System,
    Verdict,
)
from recovery.plan import freeze, is_intact
from recovery.policy import Limits, Policy, Waits
from recovery.ports import Account, Contact, Definition
from recovery.recover import Recovery
from recovery.sync_gap import gap_between
from tests.prove.kernel import START, Loop, Process, StuckError, VirtualClock, machine
from tests.prove.memory_ledger import Action, Database, MemoryLedger, Store
from tests.prove.oracle import Claim, Sent, Story, judge
from tests.prove.remote import Faults, Job, Platform, Wire

SECRET = b"a key of the simulator"
DUE = START - timedelta(hours=5)
WINDOW = OutageWindow(DUE - timedelta(hours=1), DUE + timedelta(hours=1), ("acme",))
WAITS = Waits(poll=90.0)
STORM, CALM, END = 4 * 3600.0, 8 * 3600.0, 20 * 3600.0
CALM_RUN_SECONDS = 6 * 3600.0
RATES = {
    "refused_connection": 0.2, "lost_before": 0.25, "lost_after": 0.3, "late": 0.25, "error_before": 0.2,
    "error_after": 0.2, "throttled": 0.2, "no_effect": 0.25, "soft_refusal": 0.15, "soft_refusal_applied": 0.1,
    "read_fails": 0.05, "list_broken": 0.1, "slow": 0.3,
}  # fmt: skip


@dataclass(slots=True)
class Trouble:
    """What befalls one schedule; everything is drawn from its seed, or set by a test."""

    scenario: str = "resend"
    one_shot: bool = True
    assume_one_shot: bool = False
    starts: tuple[float, ...] = (0.0, 0.0, 0.0)
    reruns: int = 2
    crash: float = 0.0
    pause: float = 0.0
    crash_at: int = 0
    faults: Faults = field(default_factory=Faults)
    commit_lost: float = 0.0
    commit_unsure: float = 0.0
    tail_lost_at: float = 0.0
    tail_seconds: float = 0.0
    ledger_lost_at: float = 0.0
    ledger_lost_at_step: int = 0
    state_kept: bool = True
    original_leaves_at: float = 0.0
    original_leaves_at_step: int = 0
    kill_at: float = 0.0
    kill_at_step: int = 0
    kill_by_row: bool = False
    colleague_at: float = 0.0


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


def draw(seed: int) -> Trouble:
    """The swarm: each kind of fault is on or off for this seed, then has a rate of its own."""
    chance = random.Random(f"trouble {seed}")
    some: Callable[[float], bool] = lambda p: chance.random() < p  # noqa: E731 # one word for one draw
    t = Trouble()
    t.scenario = chance.choices(("resend", "two", "run_now", "import", "reprocess", "sync"), (55, 10, 10, 8, 9, 8))[0]
    t.one_shot = some(0.6)
    t.assume_one_shot = t.one_shot and some(0.5)
    t.starts = (0.0,) * 3 if some(0.4) else tuple(sorted(chance.uniform(0, 1500) for _ in range(3)))
    t.crash = chance.uniform(0, 0.02) if some(0.6) else 0.0
    t.pause = chance.uniform(0, 0.02) if some(0.5) else 0.0
    rates = {name: most * chance.random() if some(0.35) else 0.0 for name, most in RATES.items()}
    t.faults = Faults(**rates)
    t.faults.late_seconds = 870.0 if some(0.8) else 7200.0
    t.faults.list_lag = chance.choice((0.0, 0.0, 30.0, 100.0))
    t.faults.stop_refused, t.faults.stop_ignored = some(0.06), some(0.06)
    t.faults.hides_run_ids = some(0.2)
    if some(0.2):
        t.commit_lost, t.commit_unsure = 0.05 * chance.random(), 0.1 * chance.random()
    if some(0.12):
        t.tail_lost_at, t.tail_seconds = chance.uniform(1, 2500), chance.uniform(0.5, 120)
    elif some(0.08):
        t.ledger_lost_at, t.state_kept = chance.uniform(1, 3000), some(0.5)
        t.faults.late *= t.state_kept
    if some(0.3):
        t.original_leaves_at = chance.uniform(1, 3000) if some(0.8) else chance.uniform(3000, 72 * 3600)
    if some(0.1):
        t.kill_at, t.kill_by_row = chance.uniform(0, 1800), some(0.5)
    if some(0.08):
        t.colleague_at = chance.uniform(1, 1500)
    return t


# ---- what there is to recover --------------------------------------------------------------------------------------

PEOPLE = {str(n): Contact(str(n), f"person{n}@acme.example") for n in range(1, 6)}
SYNC_GAP = gap_between({PEOPLE[r].email for r in ("1", "2", "3")}, {PEOPLE[r].email for r in ("3", "4")}, "add_remove")
RELEASES: tuple[tuple[ActionKind, Harm], ...] = ((ActionKind.RELEASE, Harm.H3),)


def _item(kind: Kind, ref: str, remedy: Remedy, actions: tuple[tuple[ActionKind, Harm], ...], **more: Any) -> PlanItem:
    system = System.PRO2 if kind is Kind.CAMPAIGN else System.DASHBOARD
    slot = Slot("acme", system.value, kind.value, ref, DUE, f"Newsletter {ref}", "UTC")
    planned = tuple(PlannedAction(f"{ref}-{k}", k, h, False, ref, "do it") for k, h in actions)
    more.setdefault("audience", 400)
    return PlanItem(slot, Verdict.MISSED, remedy, "nobody got it", "missed", planned, 1, wave=1, **more)


def _campaign(ref: str) -> PlanItem:
    return _item(Kind.CAMPAIGN, ref, Remedy.RESEND, RELEASES)


@cache
def items_of(scenario: str) -> tuple[PlanItem, ...]:
    """The items of a scenario."""
    match scenario:
        case "resend":
            return (_campaign("7"),)
        case "two":
            return _campaign("7"), _campaign("8")
        case "run_now":
            return (_item(Kind.TRIGGER, "t1", Remedy.RUN_NOW, ((ActionKind.RUN_NOW, Harm.H3),)),)
        case "import":
            return (_item(Kind.IMPORT, "i1", Remedy.REPEAT_IMPORT, ((ActionKind.REPEAT_IMPORT, Harm.H2),)),)
        case "reprocess":
            act = ((ActionKind.REPROCESS, Harm.H2),)
            return (_item(Kind.IMPORT, "i1", Remedy.REPROCESS, act, before={"run": "r1"}),)
        case "sync":
            act = ((ActionKind.TAGGED_IMPORT, Harm.H2),)
            return (_item(Kind.DATA_SYNC, "s1", Remedy.TAGGED_IMPORT, act, before={"gap_digest": SYNC_GAP.digest}),)
    raise ValueError(scenario)


@cache
def plan_of(scenario: str) -> Plan:
    """The frozen plan of a scenario."""
    return freeze(WINDOW, items_of(scenario), START, policy_of(assume_one_shot=False))


@cache
def policy_of(*, assume_one_shot: bool) -> Policy:
    """The shipped waits, with fewer polls; removals may be many, because five people stand for a crowd."""
    limits = Limits(removals_percent=100.0, wave_bake=0.0)
    return Policy(
        (), waits=WAITS, limits=limits, assume_one_shot_release=assume_one_shot, after_successful_stop="reprocess"
    )


def furnish(platform: Platform, scenario: str) -> None:
    """What the remote holds before anybody acts."""
    for item in items_of(scenario):
        if item.slot.kind == Kind.CAMPAIGN:
            platform.plant(item.slot.object_ref)
    if scenario == "reprocess":
        platform.jobs["r1"] = Job("r1", "i1", "running", "schedule", -18_000.0, DUE)
    if scenario == "sync":
        known = Scheduled("acme", System.DASHBOARD, Kind.DATA_SYNC, "s1", "Sync", Schedule("cron", "0 * * * *"))
        platform.definitions["s1"] = Definition(known, 9, "", None, ("members",), "add_remove")
        platform.people = dict(PEOPLE)
        platform.listed, platform.tags = {"1", "2", "3"}, {"members": {"3", "4"}}


# ---- the schedule --------------------------------------------------------------------------------------------------


class Play:
    """One schedule while it runs. Subclasses in seeded_bugs.py take protections away."""

    recovery: type[Recovery] = Recovery
    ledger: type[MemoryLedger] = MemoryLedger

    def __init__(self, seed: int, trouble: Trouble, loop: Loop, *, traced: bool = False) -> None:
        self.seed, self.t, self.loop, self.traced = seed, trouble, loop, traced
        self.chance = random.Random(f"world {seed}")
        self.clock = VirtualClock(loop)
        self.platform = Platform(loop, self.chance, one_shot=trouble.one_shot)
        self.store = Store()
        self.sent: list[Sent] = []
        self.alarms: list[str] = []
        self.killed: list[tuple[float, float]] = []
        self.trace: list[str] = []
        self.kill_file = ""
        self.stormy = True
        self.processes: list[Process] = []
        self.backups: list[tuple[float, Database]] = []
        self.product_steps = 0
        self.quiet_until = 0.0
        self.counts = dict.fromkeys(
            ("crashes", "pauses", "unsure_commits", "lost_tails", "lost_ledgers", "late_originals", "kills"), 0
        )
        furnish(self.platform, trouble.scenario)

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
        self._end(process)
        if self.t.reruns > 0:
            self.t.reruns -= 1
            self.loop.at(self.loop.now + self.chance.uniform(1, 600), self.launch)

    def _end(self, process: Process) -> None:
        """kill -9: nothing of it runs any more, and the kernel frees its lock."""
        process.alive = False
        self.store.dead.add(process.owner)

    async def _main(self, process: Process, *, calm: bool) -> None:
        faults = Faults() if calm else self.t.faults
        strike = self._strike if not calm and (self.t.commit_lost or self.t.commit_unsure) else None
        ledger = self.ledger(self.store, process.owner, self.clock, strike)
        wire = Wire(self.platform, self.clock, faults, on_send=lambda what, ref: self._left(process, what, ref))
        # A remote's own habits outlast the storm.
        if calm:
            habits = replace(Faults(), stop_refused=self.t.faults.stop_refused, stop_ignored=self.t.faults.stop_ignored)
            wire.faults = replace(habits, hides_run_ids=self.t.faults.hides_run_ids)
        plan = plan_of(self.t.scenario)
        recovery = self.recovery(
            plan=plan,
            accounts={"acme": Account("acme", "UTC", wire, wire, wire, wire)},
            ledger=ledger,  # type: ignore[arg-type]  # the same methods, checked by test_memory_ledger.py
            policy=policy_of(assume_one_shot=self.t.assume_one_shot),
            secret=SECRET,
            clock=self.clock,
            tell=self._tell,
            consent=Consent(frozenset(i.slot.key for i in plan.items)),
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
        self.store.dead.add(process.owner)

    def _strike(self) -> str:
        if not self.stormy:
            return ""
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
        if t.ledger_lost_at_step or t.original_leaves_at_step or t.kill_at_step:
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

    def _back_up(self) -> None:
        self.backups.append((self.loop.now, self.store.database.copied()))

    def _lose_tail(self) -> None:
        self.counts["lost_tails"] += 1
        self.say("THE DATABASE LOSES ITS TAIL")
        self.store.replace(self.backups[-1][1])

    def _lose_ledger(self) -> None:
        """The database is deleted; with `state_kept` the folder beside it (second record, epoch) survives."""
        self.counts["lost_ledgers"] += 1
        self.say("THE LEDGER IS LOST")
        fresh = Database()
        self.store.replace(fresh)
        if self.t.kill_by_row:  # the row goes with its database; the file and the environment do not
            self.killed = [(on, min(off, self.loop.now)) for on, off in self.killed]
        if not self.t.state_kept:
            # Nothing remembers what was on its way (docs/reliability.md, "impossible"): so nothing is, and nobody runs.
            self.store.intents.clear()
            fresh.known_epoch = self.store.epoch
            self.quiet_until = self.loop.now + 10
            for process in self.processes:
                self._end(process)

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
            self.store.database.kill = "somebody said stop"
        else:
            self.kill_file = "the file KILL exists"

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
            if self.t.starts:
                self.launch()
            self.loop.run(CALM)
            self._calm()
            for n in (0, 1):
                self.launch(calm=True)
                self.loop.run(CALM + (n + 1) * CALM_RUN_SECONDS)
            late = [p.owner for p in self.processes if p.alive and not p.ended]
            if late:
                stuck = f"{', '.join(late)} never ended"
        except StuckError as error:
            stuck = str(error)
        return self._verdict(stuck)

    def _calm(self) -> None:
        """The storm is over: who was paused has come back, an operator looks, and the switches are reset."""
        self.stormy = False
        for name in RATES:
            setattr(self.t.faults, name, 0.0)
        self.t.faults.nth_fate = "ok"
        self.kill_file = ""
        database = self.store.database
        database.kill = ""
        probe = MemoryLedger(self.store, "operator", self.clock)
        probe._inspect()
        database.quarantine, database.missing = "", ()
        database.accepted_until, database.known_epoch = self.loop.now, self.store.epoch

    def _verdict(self, stuck: str) -> Ending:
        rows = self.store.database.items
        claims = tuple(Claim(i.slot.object_ref, i.slot.kind, rows.get(i.slot.key)) for i in items_of(self.t.scenario))
        story = Story(self.platform.journal, self.sent, claims, self.alarms, self.killed, stuck)
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
            self.processes[0].steps, len(self.sent),
        )  # fmt: skip


_INTACT: dict[str, bool] = {}


def _known_intact(plan: Plan) -> bool:
    """`recovery.plan.is_intact`, once per plan: a schedule starts it up to eight times and no fault touches a plan."""
    if plan.digest not in _INTACT:
        _INTACT[plan.digest] = is_intact(plan)
    return _INTACT[plan.digest]


def play(seed: int, trouble: Trouble | None = None, *, traced: bool = False, kind: type[Play] = Play) -> Ending:
    """Run one schedule from its seed."""
    drawn = trouble if trouble is not None else draw(seed)
    recover.is_intact = _known_intact  # type: ignore[assignment]
    try:
        with machine(seed) as loop:
            return kind(seed, drawn, loop, traced=traced).run()
    finally:
        recover.is_intact = is_intact
