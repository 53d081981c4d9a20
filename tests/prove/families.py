"""The families in which one thing goes wrong at every place in turn. The places are counted by the code, not listed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial

from tests.prove.remote import FATES, REPLAYED, Faults
from tests.prove.runs import Case, Total, run_many
from tests.prove.schedule import play
from tests.prove.trouble import PAUSES, WATCH_SECONDS, Trouble, draw_duel

SCENARIOS = ("resend", "run_now", "import", "reprocess", "sync")
ORIGINALS = ("resend", "reprocess")
MOST_STEPS_OF_ONE_RUN = 400
HOUR = 3600.0
RUN_ENDS = 2200.0
"""When the item of a quiet resend has ended; what leaves later is the watcher's."""
LATER = (60.0, 600.0, HOUR, 6 * HOUR, 24 * HOUR, 48 * HOUR, 71.5 * HOUR)
YEARS = 365.25 * 24 * HOUR
JUMPS = (-1.0, 1.0, -HOUR, HOUR, -24 * HOUR, 24 * HOUR, -10 * YEARS, 10 * YEARS)


def quiet(scenario: str, **changes: object) -> Trouble:
    """One runner, one rerun after a crash, and nothing goes wrong but what `changes` say."""
    trouble = Trouble(scenario=scenario, starts=(0.0,), reruns=1)
    for name, value in changes.items():
        setattr(trouble, name, value)
    return trouble


def steps_of(scenario: str, **changes: object) -> int:
    """How many steps the first run of a quiet schedule takes: the crash points, counted by the code."""
    probe = quiet(scenario, crash_at=10**9, **changes)
    return min(MOST_STEPS_OF_ONE_RUN, play(0, probe).first_run_steps)


@cache
def points_of(scenario: str) -> tuple[str, ...]:
    """The named points that a quiet run comes by, in order."""
    return play(0, quiet(scenario, pause_at_point=-1)).points


def crash_and_fault(stride: int = 1) -> Iterator[Case]:
    """Every crash point times every fate of every write, for every recipe."""
    for scenario in SCENARIOS:
        fates = (*FATES, REPLAYED) if scenario == "resend" else FATES  # elsewhere a replay is beyond anybody
        for n in range(1, play(0, quiet(scenario)).writes + 1):
            for fate in fates:
                wrong = partial(Faults, nth_write=n, nth_fate=fate)
                points = steps_of(scenario, faults=wrong())
                for point in range(1 + (n + fates.index(fate)) % stride, points + 1, stride):
                    yield (
                        f"{scenario}, write {n} {fate}, crash at step {point}",
                        quiet(scenario, crash_at=point, faults=wrong()),
                    )


def local_and_fault() -> Iterator[Case]:
    """Every commit lost or ambiguous, and the tail lost at every step, times every fate of every write."""
    for scenario in SCENARIOS:
        commits = sum(point.endswith(" committed") for point in points_of(scenario))
        for n in range(1, play(0, quiet(scenario)).writes + 1):
            for fate in FATES:
                wrong = partial(Faults, nth_write=n, nth_fate=fate)
                for commit in range(1, commits + 1):
                    for struck in ("lost", "unsure"):
                        yield (
                            f"{scenario}, write {n} {fate}, commit {commit} {struck}",
                            quiet(scenario, nth_commit=commit, nth_commit_fate=struck, faults=wrong()),
                        )
                for point in range(1, steps_of(scenario, faults=wrong()) + 1):
                    yield (
                        f"{scenario}, write {n} {fate}, tail lost at step {point}",
                        quiet(scenario, tail_lost_at_step=point, faults=wrong()),
                    )


def at_every_step(what: str, scenarios: Iterable[str] = SCENARIOS, **changes: object) -> Iterator[Case]:
    """`what` ("kill", "ledger_lost", "original_leaves", "tail_lost", "crash") at each step of the first run in turn."""
    name = "crash_at" if what == "crash" else f"{what}_at_step"
    for scenario in scenarios:
        for point in range(1, steps_of(scenario) + 1):
            yield f"{scenario}, {what} at step {point}", quiet(scenario, **{name: point}, **changes)


def commits_struck() -> Iterator[Case]:
    """Each commit of the first run is lost, or made and not told."""
    for scenario in SCENARIOS:
        for n in range(1, sum(point.endswith(" committed") for point in points_of(scenario)) + 1):
            for fate in ("lost", "unsure"):
                yield f"{scenario}, commit {n} {fate}", quiet(scenario, nth_commit=n, nth_commit_fate=fate)


def asleep_while(what: str, scenarios: Iterable[str] = ("resend",), seconds: float = 300.0) -> Iterator[Case]:
    """The runner sleeps at every named point, and the world does `what` meanwhile."""
    for scenario in scenarios:
        for n, point in enumerate(points_of(scenario), 1):
            trouble = quiet(scenario, pause_at_point=n, pause_seconds=seconds, on_pause=what, watch_seconds=HOUR)
            yield f"{scenario}, asleep at {point} ({n}) while {what}", trouble


def late_originals(audience: int = 400) -> Iterator[Case]:
    """The original leaves at every step of the recipe, and up to 72 hours after the item has ended; all are watched."""
    for point in range(1, steps_of("resend") + 1):
        trouble = quiet("resend", original_leaves_at_step=point, audience=audience, watch_seconds=WATCH_SECONDS)
        yield f"original leaves at step {point}", trouble
    yield from late_after_the_end(audience)


def late_after_the_end(audience: int = 400) -> Iterator[Case]:
    """The original leaves after its item has ended."""
    for later in LATER:
        trouble = quiet("resend", original_leaves_at=RUN_ENDS + later, audience=audience, watch_seconds=WATCH_SECONDS)
        yield f"original leaves {later:.0f} s after the end", trouble


def clock_jumps(stride: int = 1) -> Iterator[Case]:
    """The hosts' wall clocks are set at every step, on a ledger that uses them and on one with a clock of its own."""
    for scenario in SCENARIOS:
        for number, jump in enumerate(JUMPS):
            for host_clock in (True, False):
                first = 2 + (number * 2 + host_clock) % stride  # at step 1 the run has not begun, so it cannot know
                for point in range(first, steps_of(scenario) + 1, stride):
                    trouble = quiet(scenario, clock_jump_at_step=(point, jump), host_clock=host_clock)
                    yield f"{scenario}, clock set by {jump:+.0f} s at step {point}", trouble


def duels(rounds: int, *, first: int = 0, workers: int = 0) -> Total:
    """Rounds of three at a barrier, each with another point, pause and order."""
    points = {scenario: len(points_of(scenario)) for scenario in SCENARIOS}
    return run_many(rounds, partial(draw_duel, points=points), first=first, workers=workers)


def every_duel() -> Iterator[Case]:
    """Each named point of each recipe with each pause, one order each."""
    for scenario in SCENARIOS:
        for n, point in enumerate(points_of(scenario), 1):
            for pause in PAUSES:
                trouble = Trouble(scenario=scenario, reruns=0, pause_at_point=n, pause_seconds=pause)
                yield f"{scenario}, duel, {pause:.0f} s at {point} ({n})", trouble


FAMILIES: dict[str, Callable[[], Iterator[Case]]] = {
    "a crash at every step": partial(at_every_step, "crash"),
    "each commit lost or ambiguous": commits_struck,
    "the ledger's tail lost at every step": partial(at_every_step, "tail_lost"),
    "ledger deleted between any two steps, folder kept": partial(at_every_step, "ledger_lost"),
    "ledger and folder deleted between any two steps": partial(at_every_step, "ledger_lost", state_kept=False),
    "late original at every step": partial(at_every_step, "original_leaves", ORIGINALS),
    "late original after the end, watched": late_after_the_end,
    "late original while a runner sleeps": partial(asleep_while, "original_leaves", ORIGINALS),
    "a colleague's copy while a runner sleeps": partial(asleep_while, "colleague"),
    "kill switch file at every step": partial(at_every_step, "kill"),
    "kill switch row at every step": partial(at_every_step, "kill", kill_by_row=True),
    "kill switch while a runner sleeps": partial(asleep_while, "kill", SCENARIOS),
    "clocks set at every seventh step": partial(clock_jumps, 7),
    "duels at every named point": every_duel,
}
