"""The archive: closed history leaves the ledger whole, the keys that forbid a repeat stay, nothing else moves."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recovery.archive import archive, check
from recovery.errors import UsageError
from recovery.ledger.ledger import Ledger
from recovery.model import ActionState, AttemptOutcome, Exchange, ItemOutcome, WriteResult
from recovery.wiring import SystemClock
from tests.ledger.makers import plan, plan_item, spec

LONG = timedelta(days=90)
JANUARY = datetime(2026, 1, 5, tzinfo=UTC)
MAY = datetime(2026, 5, 5, tzinfo=UTC)


class Calendar(SystemClock):
    """A clock that the test sets."""

    moment = JANUARY

    def now(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> Calendar:
    return Calendar()


@pytest.fixture
async def ledger(clock: Calendar, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with await Ledger.open(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "state", clock=clock) as opened:
        yield opened


async def incident(ledger: Ledger, clock: Calendar, name: str, outcome: ItemOutcome | None) -> str:
    """One item of one incident with one confirmed action and its evidence; the item's slot key."""
    made = plan(plan_item(name), incident=name, made_at=clock.now())
    await ledger.save_plan(made)
    await ledger.open_items(made)
    slot = made.items[0].slot.key
    await ledger.ensure([spec(f"KEY-{name}", slot_key=slot)])
    attempt = await ledger.begin(f"KEY-{name}", 60, "POST", send_within_seconds=5, deadline_seconds=20)
    assert attempt is not None
    exchange = Exchange("pro2", "acme", f"POST {name}", 200, clock.now(), f"digest-{name}", '{"ok":1}')
    await ledger.keep(exchange)
    await ledger.settle(attempt, WriteResult(AttemptOutcome.APPLIED, ref="9", exchange=exchange))
    await ledger.confirm(f"KEY-{name}", exchange.digest, "seen")
    if outcome is not None:
        await ledger.finish_item(slot, outcome, "done")
    await ledger.flush()
    return slot


async def moves(ledger: Ledger, slot: str) -> int:
    """How many events the slot's history holds; its attempts, which forbid a repeat, are not counted."""
    return sum(not row.what.startswith("attempt") for row in await ledger.history(slot))


async def test_an_old_closed_incident_moves_into_a_file_and_its_keys_stay(
    ledger: Ledger, clock: Calendar, tmp_path: Path
) -> None:
    old = await incident(ledger, clock, "old", ItemOutcome.CONFIRMED)
    clock.moment = MAY
    young = await incident(ledger, clock, "young", ItemOutcome.CONFIRMED)
    file = tmp_path / "archive.gz"
    made = await archive(ledger.shelf, clock.now(), LONG, file)
    assert (made.incidents, made.actions, made.events, made.evidence) == (("old",), 1, 5, 1)
    assert b"POST old" in gzip.decompress(file.read_bytes())
    assert await moves(ledger, old) == 0
    assert await ledger.evidence("digest-old") is None
    row = await ledger.action("KEY-old")
    assert row is not None and row.state is ActionState.CONFIRMED
    assert await ledger.begin("KEY-old", 60, "POST", send_within_seconds=5, deadline_seconds=20) is None
    assert await moves(ledger, young) == 5
    assert await ledger.evidence("digest-young") is not None
    assert await ledger.verify() == ()
    assert await check(ledger.shelf, file) == ()


async def test_an_incident_with_one_open_item_is_left_whole(ledger: Ledger, clock: Calendar, tmp_path: Path) -> None:
    slot = await incident(ledger, clock, "open", None)
    clock.moment = MAY
    file = tmp_path / "archive.gz"
    assert (await archive(ledger.shelf, clock.now(), LONG, file)).incidents == ()
    assert not file.exists()
    assert await moves(ledger, slot) == 5


async def test_evidence_that_an_open_incident_may_lean_on_stays(
    ledger: Ledger, clock: Calendar, tmp_path: Path
) -> None:
    await incident(ledger, clock, "old", ItemOutcome.CONFIRMED)
    await incident(ledger, clock, "open", None)
    clock.moment = MAY
    made = await archive(ledger.shelf, clock.now(), LONG, tmp_path / "archive.gz")
    assert (made.incidents, made.evidence) == (("old",), 0)
    assert await ledger.evidence("digest-open") is not None


@pytest.mark.parametrize("harm", ["torn", "changed", "of another ledger"])
async def test_an_archive_that_is_not_what_was_written_is_told(
    ledger: Ledger, clock: Calendar, tmp_path: Path, harm: str
) -> None:
    await incident(ledger, clock, "old", ItemOutcome.CONFIRMED)
    clock.moment = MAY
    file = tmp_path / "archive.gz"
    await archive(ledger.shelf, clock.now(), LONG, file)
    if harm == "torn":
        file.write_bytes(file.read_bytes()[:-40])
    elif harm == "changed":
        file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b"attempt 1", b"attempt 2")))
    shelf = ledger.shelf
    if harm == "of another ledger":
        async with await Ledger.open(f"sqlite:///{tmp_path}/other.db", tmp_path / "other") as other:
            assert await check(other.shelf, file) != ()
        return
    assert await check(shelf, file) != ()


async def test_a_young_or_existing_archive_is_refused(ledger: Ledger, clock: Calendar, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="7 days"):
        await archive(ledger.shelf, clock.now(), timedelta(days=1), tmp_path / "archive.gz")
    (tmp_path / "there.gz").touch()
    with pytest.raises(UsageError, match="there already"):
        await archive(ledger.shelf, clock.now(), LONG, tmp_path / "there.gz")
