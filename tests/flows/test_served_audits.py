"""How far back a scheduled audit looks: over the hours in which none ran, and over what could not be read before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.audit import AccountAudit
from recovery.ledger.ledger import Ledger
from recovery.served.audits import LookBack, look_back, record

HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 1, 12, 7, tzinfo=UTC)


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with await Ledger.open(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "state") as opened:
        yield opened


def read(*accounts: str, unreadable: str = "") -> list[AccountAudit]:
    return [AccountAudit(a, "UTC", (), (), ("no reply",) if a == unreadable else ()) for a in accounts]


async def asked_at(ledger: Ledger, now: datetime) -> LookBack:
    return await look_back(ledger, now, 2 * HOUR, 72 * HOUR)


async def audited(ledger: Ledger, now: datetime, unreadable: str = "") -> LookBack:
    """One scheduled audit of two accounts; how far it looked back."""
    asked = await asked_at(ledger, now)
    await record(ledger, asked, now, read("harbor", "lyric", unreadable=unreadable))
    return asked


async def test_the_first_audit_and_one_that_follows_in_time_look_back_two_hours(ledger: Ledger) -> None:
    assert await audited(ledger, NOON) == LookBack(NOON - 2 * HOUR, {})
    assert await audited(ledger, NOON + HOUR) == LookBack(NOON - HOUR, {})


@pytest.mark.requirement("R001.2")
async def test_audits_that_did_not_run_are_made_up_for_by_the_next(ledger: Ledger) -> None:
    await audited(ledger, NOON)
    asked = await audited(ledger, NOON + 9 * HOUR)
    assert asked.since == NOON - HOUR
    assert "make" in asked.note
    assert "2026-11-01T12:07:00Z" in asked.note
    assert (await audited(ledger, NOON + 10 * HOUR)).since == NOON + 8 * HOUR, "made up for once"


async def test_a_gap_longer_than_the_policy_allows_is_named_for_a_person(ledger: Ledger) -> None:
    await audited(ledger, NOON)
    asked = await asked_at(ledger, NOON + 100 * HOUR)
    assert asked.since == NOON + 28 * HOUR
    assert "From 2026-11-01T11:07:00Z to 2026-11-02T16:07:00Z nothing was audited" in asked.note


async def test_the_last_audit_is_found_across_the_end_of_a_month(ledger: Ledger) -> None:
    last = datetime(2026, 10, 31, 20, 7, tzinfo=UTC)
    await audited(ledger, last)
    assert (await asked_at(ledger, datetime(2026, 11, 1, 6, 7, tzinfo=UTC))).since == last - HOUR


async def test_an_account_that_could_not_be_read_is_read_from_where_it_was_left(ledger: Ledger) -> None:
    """A platform that is down for five hours is audited hourly in vain; the first audit after it finds all of it."""
    for n in range(5):
        asked = await audited(ledger, NOON + n * HOUR, unreadable="harbor")
    assert (asked.of("harbor"), asked.of("lyric")) == (NOON - 2 * HOUR, NOON + 2 * HOUR)
    after = await audited(ledger, NOON + 5 * HOUR)
    assert after.earliest == after.of("harbor") == NOON - 2 * HOUR
    assert "harbor" in after.note
    assert (await asked_at(ledger, NOON + 6 * HOUR)).longer == {}, "it was read"


@settings(max_examples=20, deadline=None)
@given(hours=st.lists(st.integers(1, 200), min_size=1, max_size=6))
async def test_no_moment_is_left_out_without_being_named(
    hours: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However long the pauses: each audit begins before the last one ended, or its note names what nobody audited."""
    folder = tmp_path_factory.mktemp("ledger")
    async with await Ledger.open(f"sqlite:///{folder}/ledger.db", folder / "state") as ledger:
        now, ended = NOON, None
        for pause in hours:
            now += pause * HOUR
            asked = await audited(ledger, now)
            assert now - asked.since <= 72 * HOUR
            if ended is not None and asked.since > ended:
                assert "nothing was audited" in asked.note
            ended = now
