"""Names of streams by their beginning, in both databases, without reading those of others."""

from __future__ import annotations

import random
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event

from recovery.ledger import records
from recovery.ledger.ledger import Ledger
from tests.desk.stage import START

NAMES = (
    "incident/b", "incident/a", "incident/Ä", "incident/", "incident", "incidents", "Incident/a", "incident/é\u4e2d",
    "incident/%", "incident/_", "incident.a", "incident-a", "incident0", "incident/\U0001f525", "intake", "z/incident/",
)  # fmt: skip


@pytest.mark.parametrize("prefix", ["incident/", "incident", "incident/%", "incident/_", "i", "I", "nothing/", ""])
async def test_the_streams_of_a_prefix_are_those_whose_names_start_so_in_the_order_of_their_letters(
    ledger: Ledger, prefix: str
) -> None:
    for name in random.Random(5).sample(NAMES, len(NAMES)):
        await ledger.append(name, "opened", "Ana", START, {})
        await ledger.append(name, "closed", "Ana", START, {})
    assert await ledger.streams(prefix) == tuple(sorted(n for n in NAMES if n.startswith(prefix)))


async def test_streams_are_left_out_when_their_last_event_is_older_than_asked_for(ledger: Ledger) -> None:
    for name, days in (("incident/old", (0, 1)), ("incident/woken", (0, 40)), ("incident/new", (40,))):
        for day in days:
            await ledger.append(name, "moved", "Ana", START + timedelta(days=day), {})
    assert await ledger.streams("incident/", START + timedelta(days=40)) == ("incident/new", "incident/woken")
    assert await ledger.streams("incident/", START + timedelta(days=41)) == ()


async def test_only_the_part_of_the_primary_key_that_starts_so_is_searched(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    async with await Ledger.open(url, tmp_path / "state") as ledger:
        await ledger.append("incident/a", "opened", "Ana", START, {})
    asked: list[tuple[str, tuple[object, ...]]] = []
    engine = create_engine(url)
    event.listen(engine, "before_cursor_execute", lambda _c, _u, said, given, *_: asked.append((said, given)))
    with engine.connect() as connection:
        assert records.streams(connection, "incident/") == ("incident/a",)
    engine.dispose()
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        ((said, given),) = asked
        steps = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {said}", given)]
    database.close()
    (step,) = steps
    assert step.startswith("SEARCH stream_event USING COVERING INDEX") and "stream>? AND stream<?" in step
