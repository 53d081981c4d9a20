"""Append-only streams, and the hash chains that show any later change."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from recovery.errors import LedgerConflict
from recovery.ledger.ledger import Ledger
from tests.ledger.makers import NOW, opened, spec


async def test_events_count_from_one_and_come_back_in_order(ledger: Ledger) -> None:
    assert await ledger.append("desk/1", "opened", "Ana", NOW, {"a": [1, None, {"b": "ü"}]}) == 1
    assert await ledger.append("desk/1", "closed", "Ben", NOW, {}, expected_seq=1) == 2
    assert await ledger.append("desk/2", "opened", "Ana", NOW, {}) == 1
    first, second = await ledger.stream("desk/1")
    assert (first.seq, first.kind, first.by, first.at, first.data) == (
        1,
        "opened",
        "Ana",
        NOW,
        {"a": [1, None, {"b": "ü"}]},
    )
    assert second.kind == "closed"
    assert await ledger.streams("desk/") == ("desk/1", "desk/2")
    assert await ledger.stream("none") == ()


async def test_an_event_after_a_stale_look_is_a_conflict(ledger: Ledger) -> None:
    await ledger.append("s", "a", "Ana", NOW, {}, expected_seq=0)
    with pytest.raises(LedgerConflict, match="is at 1, not at 0"):
        await ledger.append("s", "b", "Ben", NOW, {}, expected_seq=0)
    assert len(await ledger.stream("s")) == 1


async def test_events_appended_at_once_all_get_a_place(url: str, state_dir: Path) -> None:
    """Two workers that add to one stream wait for each other: neither is refused, however often they meet."""

    async def in_turn(each: Ledger) -> list[int]:
        return [await each.append("s", "x", "Ana", NOW, {}) for _ in range(50)]

    async with await Ledger.open(url, state_dir) as one, await Ledger.open(url, state_dir) as two:
        first, second = await asyncio.gather(in_turn(one), in_turn(two))
        assert sorted(first + second) == list(range(1, 101))
        assert await one.verify() == ()


async def changed(tmp_path: Path, guard: str, statement: str) -> tuple[str, ...]:
    """What verify says after somebody with the file changed a row behind the guards."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with await Ledger.open(url, tmp_path) as ledger:
        await opened(ledger, spec())
        for n in range(3):
            await ledger.append("desk/1", f"event {n}", "Ana", NOW, {"n": n})
        assert await ledger.verify() == ()
    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        connection.execute(f"DROP TRIGGER {guard}")
        assert connection.execute(statement).rowcount == 1
    connection.close()
    async with await Ledger.open(url, tmp_path, read_only=True) as ledger:
        return await ledger.verify()


@pytest.mark.parametrize(
    ("guard", "statement", "finding"),
    [
        (
            "events_are_append_only",
            "UPDATE action_event SET detail = 'X' WHERE seq = 2",
            "action KEY1: event 2 was changed",
        ),
        (
            "streams_are_append_only",
            """UPDATE stream_event SET data = '{"n":9}' WHERE seq = 2""",
            "event 2 was changed",
        ),
        ("streams_are_append_only", "DELETE FROM stream_event WHERE seq = 2", "event 2 is missing"),
        ("events_are_append_only", "DELETE FROM action_event WHERE seq = 3", "not in the state that its events end in"),
        ("legal_move", "UPDATE action SET state = 'planned'", "not in the state that its events end in"),
    ],
)
async def test_a_change_behind_the_guards_is_found(tmp_path: Path, guard: str, statement: str, finding: str) -> None:
    problems = await changed(tmp_path, guard, statement)
    assert any(finding in problem for problem in problems), problems
