"""What befalls a schedule: drawn from its seed, or set by a test that wants one thing to go wrong at one place."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.prove.remote import AUDIENCE, Faults

STORM, CALM, END = 4 * 3600.0, 8 * 3600.0, 20 * 3600.0
WATCH_SECONDS = 72 * 3600.0
RATES = {
    "refused_connection": 0.2, "lost_before": 0.25, "lost_after": 0.3, "late": 0.25, "error_before": 0.2,
    "error_after": 0.2, "throttled": 0.2, "no_effect": 0.25, "soft_refusal": 0.15, "soft_refusal_applied": 0.1,
    "read_fails": 0.05, "list_broken": 0.1, "slow": 0.3,
}  # fmt: skip


@dataclass(slots=True)
class Trouble:
    """What befalls one schedule. Times are seconds of virtual time; a step or point of 0 is never reached."""

    scenario: str = "resend"
    one_shot: bool = True
    assume_one_shot: bool = False
    audience: int = AUDIENCE
    starts: tuple[float, ...] = (0.0, 0.0, 0.0)
    reruns: int = 2
    crash: float = 0.0
    pause: float = 0.0
    crash_at: int = 0
    pause_at_point: int = 0
    """The first runner sleeps at the n-th named point that it comes by; below 0 the points are only written down."""
    pause_seconds: float = 0.0
    on_pause: str = ""
    """What the world does ten seconds into that pause: "original_leaves", "colleague" or "kill"."""
    faults: Faults = field(default_factory=Faults)
    commit_lost: float = 0.0
    commit_unsure: float = 0.0
    nth_commit: int = 0
    nth_commit_fate: str = ""
    tail_lost_at: float = 0.0
    tail_lost_at_step: int = 0
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
    clock_jumps: tuple[tuple[float, float], ...] = ()
    """(when, by how many seconds the hosts' wall clocks are set)."""
    clock_jump_at_step: tuple[int, float] = (0, 0.0)
    host_clock: bool = True
    """Whether the ledger's time is the host's (SQLite) or the server's own (PostgreSQL)."""
    storm_ends_at: float = STORM
    operator: bool = True
    """Whether somebody releases the quarantine and the kill switch once the storm is over."""
    watch_seconds: float = 60.0
    """For how long `recovery.watch` goes on after the last run, a round a minute."""


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
    t.host_clock = some(0.5)
    if some(0.1):
        jumps = sorted(chance.uniform(1, 2500) for _ in range(chance.randint(1, 3)))
        t.clock_jumps = tuple((at, chance.choice((-1, 1)) * chance.choice((1.0, 60.0, 600.0))) for at in jumps)
    return t


def draw_liveness(seed: int) -> Trouble:
    """Everything goes wrong until a moment, then nothing any more, and no operator comes: every item must end."""
    chance = random.Random(f"liveness {seed}")
    t = draw(seed)
    t.storm_ends_at = chance.uniform(30, 3600)
    t.operator = False
    return t


def draw_strong(seed: int) -> Trouble:
    """The liveness of a platform that is proven one-shot, with what only the network and the processes do wrong."""
    t = draw_liveness(seed)
    t.one_shot = t.assume_one_shot = True
    t.faults.stop_refused = t.faults.stop_ignored = False
    t.tail_lost_at = t.ledger_lost_at = t.original_leaves_at = t.kill_at = t.colleague_at = 0.0
    return t


def draw_duel(seed: int, points: dict[str, int]) -> Trouble:
    """Two engineers and the scheduler start one recovery at one instant; the first of them sleeps at a named point."""
    chance = random.Random(f"duel {seed}")
    t = Trouble(scenario=chance.choice(sorted(points)), reruns=0, one_shot=chance.random() < 0.5)
    t.pause_at_point = 1 + seed % points[t.scenario]
    t.pause_seconds = PAUSES[seed // points[t.scenario] % len(PAUSES)]
    t.faults.slow = chance.choice((0.0, 0.3))
    t.faults.late = chance.choice((0.0, 0.0, 0.2))
    return t


LEASE, DEADLINE = 120.0, 30.0
PAUSES = (0.0, LEASE - 1, LEASE + 1, DEADLINE + 1, 1700.0)
"""Nothing, lease - e, lease + e, deadline + e, and longer than the settle time."""
