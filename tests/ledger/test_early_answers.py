"""What only records the past is answered before its commit: it is read back, kept in order, and never forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from recovery.errors import LedgerUnavailable, RefusedError
from recovery.ledger.ledger import Ledger
from recovery.model import ActionState, AttemptOutcome, WriteResult
from tests.ledger.makers import spec

APPLIED = WriteResult(AttemptOutcome.APPLIED, ref="9")


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


async def test_a_read_sees_what_was_answered_before_its_commit(ledger: Ledger) -> None:
    for n in range(30):
        (made,) = await ledger.ensure([spec(f"K{n}")])
        assert await ledger.action(made.key) == made


async def test_the_outcome_of_one_effect_travels_with_the_intent_of_the_next(ledger: Ledger) -> None:
    """Five calls of one task: the record of one effect and the intent of the next need one commit, not five.

    What waits for the next intent waits for five milliseconds, which a busy machine may miss; never every time.
    """
    taken = []
    for n in range(10):
        first, second = f"A{n}", f"B{n}"
        await ledger.ensure([spec(first, slot_key=first)])
        attempt = await ledger.begin(first, 60, "POST", send_within_seconds=5, deadline_seconds=20)
        assert attempt is not None
        await ledger.flush()
        before = ledger.tally.commits
        await ledger.settle(attempt, APPLIED)
        await ledger.confirm(first, "e", "seen")
        await ledger.ensure([spec(second, slot_key=second)])
        assert await ledger.begin(second, 60, "POST", send_within_seconds=5, deadline_seconds=20) is not None
        taken.append(ledger.tally.commits - before)
        assert [row.to_state for row in await ledger.history(first)][-1] == "confirmed"
    assert min(taken) <= 2


async def test_what_is_answered_before_its_commit_is_committed_in_a_moment_though_nobody_else_writes(
    file_url: str, tmp_path: Path
) -> None:
    async with await Ledger.open(file_url, tmp_path) as ledger:
        await ledger.ensure([spec("K1")])
        await asyncio.sleep(0.1)
        async with await Ledger.open(file_url, tmp_path, read_only=True) as another:
            assert await another.action("K1") is not None


async def test_a_kill_file_that_comes_while_a_transaction_waits_stops_the_intent_that_joins_it(
    file_url: str, tmp_path: Path
) -> None:
    kill_file = tmp_path / "STOP"
    async with await Ledger.open(file_url, tmp_path, kill_file=kill_file) as ledger:
        for n in range(20):
            await ledger.ensure([spec(f"K{n}")])  # from here on the writer waits for somebody to share its commit
            kill_file.write_text("stop")
            with pytest.raises(RefusedError, match="kill switch"):
                await ledger.begin(f"K{n}", 60, "POST", send_within_seconds=5, deadline_seconds=20)
            kill_file.unlink()


async def test_an_answer_whose_commit_failed_is_written_before_anything_else(file_url: str, tmp_path: Path) -> None:
    async with await Ledger.open(file_url, tmp_path) as ledger:
        await ledger.ensure([spec("K1"), spec("K2", slot_key="other")])
        attempt = await ledger.begin("K1", 60, "POST", send_within_seconds=5, deadline_seconds=20)
        assert attempt is not None and ledger._writer is not None
        broken = [True]

        def refuse(_connection: object) -> None:
            if broken[0]:
                raise OperationalError("COMMIT", {}, Exception("database or disk is full"))

        event.listen(ledger._writer.engine, "commit", refuse)
        told = await ledger.settle(attempt, APPLIED)
        assert told.state is ActionState.APPLIED
        with pytest.raises(LedgerUnavailable, match="full"):  # nothing leaves while that answer is owed
            await ledger.begin("K2", 60, "POST", send_within_seconds=5, deadline_seconds=20)
        broken[0] = False
        assert await ledger.begin("K2", 60, "POST", send_within_seconds=5, deadline_seconds=20) is not None
        found = await ledger.action("K1")
        assert found is not None and (found.state, found.result_ref) == (ActionState.APPLIED, "9")


async def test_intents_are_answered_only_when_the_second_record_has_them(file_url: str, tmp_path: Path) -> None:
    async with await Ledger.open(file_url, tmp_path) as ledger:
        keys = [f"K{n}" for n in range(40)]
        await ledger.ensure([spec(key, slot_key=key) for key in keys])

        async def one(key: str) -> bool:
            await ledger.begin(key, 60, "POST", send_within_seconds=5, deadline_seconds=20)
            return f'"{key}"' in (tmp_path / "intents.log").read_text()

        assert all(await asyncio.gather(*(one(key) for key in keys)))
