"""The shared world: a clock that tests move, journals that lose nothing, faults that strike as planned."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.spans import contains, size, spans_of, split, union, walk
from sandbox.world import Fault, Faults, World

IDS = st.sets(st.integers(1, 60), max_size=30)


def test_the_clock_is_real_time_plus_offset_and_moves_on_request(tmp_path: Path) -> None:
    world = World(tmp_path)
    wanted = datetime(2026, 11, 1, 8, 20, tzinfo=UTC)
    world.set_now(wanted)
    world.advance(90)
    assert 90 <= (world.now() - wanted).total_seconds() < 95
    assert world.now().tzinfo is UTC


def test_a_journal_line_is_on_disk_as_soon_as_it_is_written(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.journal("pro2", "harbor", "copy", **{"from": "1", "to": "2"}, name="Ночь\nв опере")
    lines = (tmp_path / "journal" / "pro2.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["copy"]
    assert world.read_journal("pro2")[0]["name"] == "Ночь\nв опере"
    world.close()


def test_numbers_run_through_all_journals_so_that_order_can_be_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    for system in ("pro2", "jira", "pro2"):
        world.journal(system, "", "event")
    assert [row["n"] for row in world.read_journal("pro2")] == [1, 3]
    assert world.read_journal("jira")[0]["n"] == 2
    world.close()


def test_the_same_seed_gives_the_same_world(tmp_path: Path) -> None:
    assert World(tmp_path / "a", seed=4).random.random() == World(tmp_path / "b", seed=4).random.random()


def test_a_fault_waits_for_its_turn_strikes_so_often_and_is_gone() -> None:
    faults = Faults()
    faults.add(Fault("pro2", "harbor", "copy", "500", times=2, after=1))
    struck = [faults.take("pro2", "harbor", "copy") is not None for _ in range(5)]
    assert struck == [False, True, True, False, False]
    assert faults.planned == []


def test_a_fault_strikes_only_its_own_system_account_and_route() -> None:
    faults = Faults()
    faults.add(Fault("pro2", "harbor", "copy", times=-1))
    others = [("jira", "harbor", "copy"), ("pro2", "lyric", "copy"), ("pro2", "harbor", "edit")]
    assert [faults.take(*other) for other in others] == [None, None, None]
    assert faults.take("pro2", "harbor", "copy") is faults.take("pro2", "harbor", "copy")


def test_a_twins_own_fault_is_left_alone_by_the_generic_layer() -> None:
    faults = Faults()
    faults.add(Fault("dashboard", kind="no-effect-ok"))
    assert faults.take("dashboard", "harbor", "run_now", frozenset({"500"})) is None
    assert faults.take("dashboard", "harbor", "run_now", frozenset({"no-effect-ok"})) is not None


def ids_of(spans: list[tuple[int, int]]) -> set[int]:
    return {n for low, high in spans for n in range(low, high + 1)}


@given(IDS, IDS, st.integers(0, 70))
@settings(max_examples=60)
def test_ranges_behave_like_the_sets_they_stand_for(one: set[int], other: set[int], count: int) -> None:
    a, b = spans_of(one), spans_of(other)
    assert ids_of(union(a, b)) == one | other
    assert size(a) == len(one)
    assert {n for n in range(1, 61) if contains(a, n)} == one
    first, rest = split(a, count)
    assert ids_of(first) == set(sorted(one)[:count])
    assert ids_of(rest) == set(sorted(one)[count:])


@given(IDS, st.integers(0, 60), st.integers(0, 20), st.integers(1, 20), st.booleans())
@settings(max_examples=60)
def test_walking_ranges_is_paging_through_the_sorted_set(
    ids: set[int], above: int, offset: int, limit: int, descending: bool
) -> None:
    expected = sorted((n for n in ids if n > above), reverse=descending)[offset : offset + limit]
    found = walk(spans_of(ids), above=above, offset=offset, limit=limit, descending=descending)
    assert list(found) == expected
