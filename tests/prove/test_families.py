"""One thing goes wrong at every place in turn, and the liveness of every schedule: what starts comes to its end."""

from __future__ import annotations

import pytest

from tests.prove.columns import amount
from tests.prove.families import FAMILIES, duels, late_originals, points_of
from tests.prove.runs import run_cases, run_many
from tests.prove.trouble import draw_liveness, draw_strong

STILL = 2500
DUELS = amount(200, 200, 10_000)
NAMED = frozenset({
    "before begin", "begin committed", "begin in the second record", "before the first byte of schedule",
    "reply to schedule", "before settle", "settle committed", "before confirm", "confirm committed", "before elect",
    "elect committed", "reading", "before finish_item", "finish_item committed",
})  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_one_trouble_at_every_place_keeps_the_promise(name: str) -> None:
    total = run_cases(name, FAMILIES[name]())
    assert not total.failures, "\n\n".join(total.failures[:3])
    assert total.schedules > 80 or "after the end" in name


def test_the_named_points_are_those_round_intent_effect_and_proof() -> None:
    """The fourteen crash points of the reference, as the product's own run comes by them."""
    assert set(points_of("resend")) >= NAMED


@pytest.mark.parametrize(("drawn", "most_held"), [(draw_liveness, 0.5), (draw_strong, 0.3)])
def test_once_the_faults_stop_every_item_ends(drawn: object, most_held: float) -> None:
    """Confirmed, skipped or held; most are not held, on a one-shot platform far most."""
    total = run_many(STILL, drawn)  # type: ignore[arg-type]
    assert not total.failures, "\n\n".join(total.failures[:5])
    assert total.outcomes["open"] == total.outcomes["none"] == 0
    assert total.outcomes["held"] < most_held * sum(total.outcomes.values())


def test_two_engineers_and_the_scheduler_at_one_instant_act_once() -> None:
    total = duels(DUELS)
    assert not total.failures, "\n\n".join(total.failures[:5])
    assert total.schedules == DUELS
    assert total.counts["pauses"] > DUELS // 4


@pytest.mark.requirement("R001.14")
def test_an_original_that_leaves_late_is_told_and_its_overlap_counted() -> None:
    """At each tenth step of the recipe, with a large audience and the watcher's 72 hours."""
    total = run_cases("late originals", list(late_originals(200_000))[::10])
    assert not total.failures, "\n\n".join(total.failures[:3])
    assert total.counts["late_originals"] >= 15
