"""What an opening leaves behind: looking nothing, who neither claimed nor sent no file, who ended long ago no row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from recovery.ledger import opening
from recovery.ledger.ledger import Ledger
from recovery.model import ActionState
from recovery.settings import LedgerSettings, Settings, load_settings
from recovery.standing import held_view, standing_view
from tests.ledger.makers import NOW, UNKNOWN, opened, spec
from tests.ledger.test_second_record import backup, restore

CONFIG = Path(__file__).parents[2] / "config"


def settings(folder: Path) -> Settings:
    ledger = LedgerSettings(url=f"sqlite:///{folder}/ledger.db", state_dir=folder / "state")
    return load_settings(CONFIG / "allclear.toml").model_copy(update={"ledger": ledger, "kill_file": folder / "STOP"})


def files(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}


def locks(state_dir: Path) -> set[str]:
    return {path.stem for path in (state_dir / "workers").iterdir()}


async def owners(ledger: Ledger) -> set[str]:
    return await ledger._read(lambda c: set(c.exec_driver_sql("SELECT owner FROM worker").scalars()))


async def test_status_and_hold_leave_no_trace_however_often_they_look(tmp_path: Path) -> None:
    named = settings(tmp_path)
    async with await Ledger.open(named.ledger.url, named.ledger.state_dir) as working:
        await opened(working, spec())
        before, known = files(tmp_path), await owners(working)
        for _ in range(3):
            assert (await standing_view(named))["unsettled_actions"] == 0
            await held_view(named)
        assert files(tmp_path) == before
        assert await owners(working) == known


async def test_status_of_a_ledger_that_is_not_there_yet_makes_it(tmp_path: Path) -> None:
    assert (await standing_view(settings(tmp_path)))["quarantined"] == ""
    assert (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize("loss", ["restored", "replaced"])
async def test_status_tells_of_lost_records_before_anybody_has_opened_the_ledger_for_writing(
    tmp_path: Path, loss: str
) -> None:
    named = settings(tmp_path)
    async with await Ledger.open(named.ledger.url, named.ledger.state_dir) as ledger:
        await ledger.ensure([spec()])
        await ledger.flush()
        backup(tmp_path)
        await opened(ledger, spec())
    if loss == "restored":
        restore(tmp_path)
    else:
        async with await Ledger.open(f"sqlite:///{tmp_path}/other.db", tmp_path / "elsewhere"):
            pass
        (tmp_path / "other.db").replace(tmp_path / "ledger.db")
    said = (await standing_view(named))["quarantined"]
    assert "1 intents of intents.log are not in the database" in said
    assert ("another database" in said) is (loss == "replaced")
    async with await Ledger.open(named.ledger.url, named.ledger.state_dir) as ledger:
        assert ledger.quarantine_reason == said


async def test_looking_while_others_send_never_takes_a_fresh_intent_for_a_lost_one(url: str, state_dir: Path) -> None:
    async with await Ledger.open(url, state_dir) as sending:
        done = asyncio.Event()

        async def send() -> None:
            for n in range(60):
                await opened(sending, spec(f"K{n}"))
            done.set()

        task = asyncio.create_task(send())
        while not done.is_set():
            async with await Ledger.open(url, state_dir, read_only=True) as looking:
                assert looking.quarantine_reason == ""
        await task


async def test_a_worker_that_only_wrote_down_what_it_saw_leaves_no_lock_file(url: str, state_dir: Path) -> None:
    async with await Ledger.open(url, state_dir) as ledger:
        await ledger.append("watch", "seen", "Ana", NOW, {"moved": 0})
        assert locks(state_dir) == {ledger.owner}
    assert locks(state_dir) == set()


async def claimed(ledger: Ledger) -> None:
    await ledger.ensure([spec()])
    assert await ledger.claim("KEY1", 600)


async def sent(ledger: Ledger) -> None:
    await opened(ledger, spec())


async def sent_and_settled(ledger: Ledger) -> None:
    _, attempt = await opened(ledger, spec())
    await ledger.settle(attempt, UNKNOWN)


@pytest.mark.parametrize("act", [claimed, sent, sent_and_settled])
async def test_a_worker_that_claimed_or_sent_is_known_to_be_dead_for_ever(
    url: str, state_dir: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Ledger], Awaitable[None]]
) -> None:
    monkeypatch.setattr(opening, "ENDED_FOR_MICROS", -1)
    gone = await Ledger.open(url, state_dir)
    await act(gone)
    await gone.close()
    for _ in range(2):
        async with await Ledger.open(url, state_dir) as ledger:
            assert ledger.owner_is_dead(gone.owner)
            assert gone.owner not in await owners(ledger)
            if act is not sent_and_settled:
                assert gone.owner in {row.owner for row in await ledger.stale_actions()}
    async with await Ledger.open(url, state_dir) as ledger:
        row = await ledger.take_over("KEY1")
        assert row.state is (ActionState.PLANNED if act is claimed else ActionState.UNKNOWN)


async def test_a_row_stays_while_its_worker_holds_its_lock_or_has_only_just_ended(
    url: str, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await Ledger.open(url, state_dir) as ending:
        await ending._write(opening.sign_off)
        async with await Ledger.open(url, state_dir) as just_ended:
            pass
        async with await Ledger.open(url, state_dir) as ledger:
            assert {ending.owner, just_ended.owner} <= await owners(ledger)
        monkeypatch.setattr(opening, "ENDED_FOR_MICROS", -1)
        async with await Ledger.open(url, state_dir) as ledger:
            assert await owners(ledger) == {ending.owner, ledger.owner}


async def test_the_folder_and_the_table_do_not_grow_with_the_openings(
    url: str, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "ENDED_FOR_MICROS", -1)
    for _ in range(5):
        async with await Ledger.open(url, state_dir) as ledger:
            await ledger.set_kill("Ana", "test")
            await ledger.clear_kill("Ana")
            assert await owners(ledger) == {ledger.owner}
    assert locks(state_dir) == set()
