"""Many callers share few commits, and none suffers from another's refusal."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, insert, select

from recovery.errors import LedgerConflict, LedgerUnavailable, RefusedError
from recovery.ledger.ledger import Ledger
from recovery.ledger.schema import action, action_event
from recovery.ledger.work import Work
from recovery.model import ActionKind, ActionState, Exchange
from tests.ledger.counting import counts
from tests.ledger.makers import APPLIED, NOW, opened, release, spec


async def test_two_hundred_units_at_once_need_few_commits(ledger: Ledger) -> None:
    await ledger.ensure([spec(f"K{n}") for n in range(200)])
    before = ledger.tally.commits
    rows = await asyncio.gather(*(ledger.claim(f"K{n}", 60) for n in range(200)))
    assert all(row is not None for row in rows)
    assert ledger.tally.commits - before <= 10


async def test_a_refusal_among_many_stops_nobody_else(ledger: Ledger) -> None:
    await ledger.ensure([spec(f"K{n}") for n in range(50)])
    await ledger.ensure([release("R1", slot_key="s")])
    calls = [ledger.claim(f"K{n}", 60) for n in range(50)]
    late_refusal = ledger.ensure([spec("NEW"), release("R2", slot_key="s")])
    early_refusal = ledger.skip("K999", "unknown")
    done = await asyncio.gather(*calls[:25], late_refusal, early_refusal, *calls[25:], return_exceptions=True)
    refused = [each for each in done if isinstance(each, BaseException)]
    assert [type(each) for each in refused] == [LedgerConflict, LedgerConflict]
    rows = await counts(ledger)
    assert (rows["actions_claimed"], rows["actions_planned"]) == (50, 1)
    assert await ledger.action("NEW") is None, "the refused unit left nothing behind"
    assert await ledger.verify() == ()


async def test_a_unit_with_a_fault_of_our_own_stops_nobody_else(ledger: Ledger) -> None:
    await ledger.ensure([spec("K1"), spec("K2")])

    def faulty(work: Work) -> None:
        work.execute(insert(action_event), {"action_key": "K1"})
        raise ZeroDivisionError

    done = await asyncio.gather(
        ledger.claim("K1", 60), ledger._write(faulty), ledger.claim("K2", 60), return_exceptions=True
    )
    assert isinstance(done[1], Exception)
    assert [row.state for row in (done[0], done[2])] == [ActionState.CLAIMED] * 2  # type: ignore[union-attr]


async def test_a_unit_that_refuses_after_writing_leaves_nothing_and_stops_nobody_else(ledger: Ledger) -> None:
    await ledger.ensure([spec("K1"), spec("K2"), spec("K3")])

    def half_done(work: Work) -> None:
        work.move(work.need("K3"), ActionState.SKIPPED, "too early")
        raise RefusedError("on second thought")

    done = await asyncio.gather(
        ledger.claim("K1", 60), ledger._write(half_done), ledger.claim("K2", 60), return_exceptions=True
    )
    assert isinstance(done[1], RefusedError)
    rows = await counts(ledger)
    assert (rows["actions_claimed"], rows["actions_planned"]) == (2, 1)


def from_an_old_look(work: Work) -> None:
    row = work.need("K1")
    row["fence"] += 1
    work.move(row, ActionState.SKIPPED, "as I remember it")


async def test_a_record_that_changed_after_it_was_read_is_not_overwritten(ledger: Ledger) -> None:
    await ledger.ensure([spec("K1"), spec("K2")])

    with pytest.raises(LedgerConflict, match="someone else moved"):
        await ledger._write(from_an_old_look)
    assert (await counts(ledger)) | {"actions_planned": 2} == await counts(ledger)


async def test_a_record_that_is_refused_when_another_unit_reads_is_not_taken_for_its_refusal(ledger: Ledger) -> None:
    await ledger.ensure([spec("K1"), spec("K2")])

    def reads(work: Work) -> int:  # what the unit before it gathered is sent first
        return int(work.execute(select(func.count()).select_from(action)).scalar_one())

    done = await asyncio.gather(
        ledger._write(from_an_old_look), ledger._write(reads), ledger.claim("K2", 60), return_exceptions=True
    )
    assert isinstance(done[0], LedgerConflict)
    assert done[1] == 2
    rows = await counts(ledger)
    assert (rows["actions_claimed"], rows["actions_planned"]) == (1, 1)
    assert await ledger.verify() == ()


async def test_moves_of_one_action_in_one_batch_keep_their_order(ledger: Ledger) -> None:
    _, attempt = await opened(ledger, spec())
    settled, confirmed = await asyncio.gather(ledger.settle(attempt, APPLIED), ledger.confirm("KEY1", "e", "seen"))
    assert (settled.state, confirmed.state) == (ActionState.APPLIED, ActionState.CONFIRMED)
    assert await ledger.verify() == ()


async def test_of_many_claims_at_once_one_wins(ledger: Ledger) -> None:
    await ledger.ensure([spec()])
    rows = await asyncio.gather(*(ledger.claim("KEY1", 60) for _ in range(100)))
    assert sum(row is not None for row in rows) == 1


async def test_releases_of_one_account_at_once_leave_one_in_flight(ledger: Ledger) -> None:
    specs = [release(f"R{n}", account="acme") for n in range(5)]
    done = await asyncio.gather(*(opened(ledger, each) for each in specs), return_exceptions=True)
    assert sum(not isinstance(each, BaseException) for each in done) == 1
    assert (await counts(ledger))["actions_in_flight"] == 1


async def test_kept_evidence_is_there_after_a_flush_and_after_closing(url: str, state_dir: object) -> None:
    first = await Ledger.open(url, state_dir)  # type: ignore[arg-type]
    await first.keep(Exchange("pro2", "acme", "GET /", 200, NOW, "d1", "body"))
    await first.flush()
    assert await first.evidence("d1") is not None
    for n in range(3000):
        await first.keep(Exchange("pro2", "acme", "GET /", 200, NOW, f"e{n}", "body"))
    await first.close()
    async with await Ledger.open(url, state_dir) as second:  # type: ignore[arg-type]
        assert (await counts(second))["evidence"] == 3001


async def test_a_cancelled_caller_does_not_disturb_the_writer(ledger: Ledger) -> None:
    await ledger.ensure([spec("K1"), spec("K2")])
    call = asyncio.create_task(ledger.claim("K1", 60))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await ledger.claim("K2", 60) is not None


async def test_a_closed_ledger_refuses_in_words(ledger: Ledger) -> None:
    await ledger.close()
    await ledger.close()
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.claim("K1", 60)
    with pytest.raises(LedgerUnavailable, match="closed"):
        await ledger.action("K1")


async def test_the_kill_switch_holds_for_units_behind_it_in_the_same_batch(ledger: Ledger) -> None:
    await ledger.ensure([spec("K1", kind=ActionKind.COPY)])
    row = await ledger.claim("K1", 60)
    assert row is not None
    done = await asyncio.gather(
        ledger.set_kill("Ana", "stop"),
        ledger.intend(row, "POST", send_within_seconds=5, deadline_seconds=20),
        return_exceptions=True,
    )
    assert isinstance(done[1], RefusedError)
