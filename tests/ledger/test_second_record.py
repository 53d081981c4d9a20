"""Lost commits are noticed: by the intents log, by the database's own name, and they lead to quarantine."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import psycopg
import pytest

from recovery.errors import RefusedError
from recovery.ledger import opening
from recovery.ledger.ledger import Ledger
from recovery.model import ActionState
from tests.ledger.conftest import new_database
from tests.ledger.makers import APPLIED, UNKNOWN, opened, spec


def backup(tmp_path: Path) -> None:
    source, target = sqlite3.connect(tmp_path / "ledger.db"), sqlite3.connect(tmp_path / "backup.db")
    source.backup(target)
    source.close()
    target.close()


def restore(tmp_path: Path) -> None:
    for left in tmp_path.glob("ledger.db*"):
        left.unlink()
    shutil.copy(tmp_path / "backup.db", tmp_path / "ledger.db")


@pytest.fixture
def file_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


async def test_every_intent_is_in_the_file_when_its_caller_is_answered(ledger: Ledger, state_dir: Path) -> None:
    await opened(ledger, spec())
    (line,) = [json.loads(each) for each in (state_dir / "intents.log").read_text().split("\n") if each]
    assert (line["key"], line["n"]) == ("KEY1", 1)


async def test_an_ordinary_restart_is_no_reason_for_quarantine(url: str, state_dir: Path) -> None:
    for n in range(3):
        async with await Ledger.open(url, state_dir) as ledger:
            assert not ledger.quarantined
            await opened(ledger, spec(f"K{n}"))


async def test_a_restored_backup_is_quarantined_and_its_lost_attempt_is_unknown(file_url: str, tmp_path: Path) -> None:
    async with await Ledger.open(file_url, tmp_path) as ledger:
        await ledger.ensure([spec("K1"), spec("K2")])
        await ledger.flush()
        backup(tmp_path)
        _, attempt = await opened(ledger, spec("K1"))
        await ledger.settle(attempt, APPLIED)
        await ledger.confirm("K1", "e", "seen")
        await opened(ledger, spec("K3"))
    restore(tmp_path)
    async with await Ledger.open(file_url, tmp_path) as ledger:
        assert ledger.quarantined
        assert "2 intents of intents.log are not in the database" in ledger.quarantine_reason
        assert (await ledger._read(opening.read_quarantine)).missing == ("K3#1",)
        lost = await ledger.action("K1")
        assert lost is not None and (lost.state, lost.attempts) == (ActionState.UNKNOWN, 1)
        with pytest.raises(RefusedError, match="quarantine"):
            await opened(ledger, spec("K2"))
        await ledger.adopt("K1", "41", "marker found")
        await ledger.confirm("K1", "e", "seen")
    async with await Ledger.open(file_url, tmp_path) as ledger:
        assert ledger.quarantined, "closing does not end it"
        with pytest.raises(RefusedError, match="name"):
            await ledger.release_quarantine("")
        await ledger.release_quarantine("Ana")
        assert not ledger.quarantined
        await ledger.take_over("K2")
    async with await Ledger.open(file_url, tmp_path) as ledger:
        assert not ledger.quarantined, "the intent nobody knows was accepted"
        await ledger.take_over("K2")
        assert (await opened(ledger, spec("K4")))[1].n == 1
        assert await ledger.verify() == ()


async def test_a_lost_second_attempt_keeps_the_first_ones_number(file_url: str, tmp_path: Path) -> None:
    async with await Ledger.open(file_url, tmp_path) as ledger:
        await ledger.settle((await opened(ledger, spec()))[1], UNKNOWN)
        await ledger.absent("KEY1", "none there")
        backup(tmp_path)
        await opened(ledger, spec())
    restore(tmp_path)
    async with await Ledger.open(file_url, tmp_path) as ledger:
        lost = await ledger.action("KEY1")
        assert lost is not None and (lost.state, lost.attempts) == (ActionState.UNKNOWN, 2)
        assert await ledger.claim("KEY1", 60) is None
        assert await ledger.verify() == ()


async def test_a_deleted_database_is_noticed_by_its_name(file_url: str, tmp_path: Path) -> None:
    async with await Ledger.open(file_url, tmp_path) as ledger:
        await ledger.ensure([spec()])
    for left in tmp_path.glob("ledger.db*"):
        left.unlink()
    async with await Ledger.open(file_url, tmp_path) as ledger:
        assert ledger.quarantine_reason == "this is another database than the one this folder worked with"
        await ledger.release_quarantine("Ana")
    async with await Ledger.open(file_url, tmp_path) as ledger:
        assert not ledger.quarantined


async def test_another_worker_learns_of_the_quarantine_when_it_wants_to_send(file_url: str, tmp_path: Path) -> None:
    async with await Ledger.open(file_url, tmp_path / "one") as first:
        await first.ensure([spec()])
        row = await first.claim("KEY1", 60)
        assert row is not None
        (tmp_path / "two").mkdir()
        (tmp_path / "two" / "epoch").write_text("another database")
        async with await Ledger.open(file_url, tmp_path / "two") as second:
            assert second.quarantined
        with pytest.raises(RefusedError, match="quarantine"):
            await first.intend(row, "POST", send_within_seconds=5, deadline_seconds=20)
        assert first.quarantined


async def test_a_failed_over_server_is_noticed(postgres: object, tmp_path: Path) -> None:
    url = new_database(postgres)
    async with await Ledger.open(url, tmp_path) as ledger:
        await ledger.ensure([spec()])
    with psycopg.connect(url) as server:
        changed = server.execute("UPDATE meta SET value = replace(value, '/', '/0') WHERE name = 'server'")
        assert changed.rowcount == 1, "the server names itself"
    async with await Ledger.open(url, tmp_path) as ledger:
        assert ledger.quarantine_reason == "the database server was failed over, restored or replaced"


async def test_commits_lost_while_connected_are_noticed_on_reconnecting(postgres: object, tmp_path: Path) -> None:
    url = new_database(postgres)
    async with await Ledger.open(url, tmp_path) as ledger:
        await ledger.settle((await opened(ledger, spec("K1")))[1], APPLIED)
        await ledger.ensure([spec("K2")])
        row = await ledger.claim("K2", 60)
        assert row is not None
        with psycopg.connect(url, autocommit=True) as server:
            server.execute("DELETE FROM attempt")
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(RefusedError, match="quarantine"):
            await ledger.intend(row, "POST", send_within_seconds=5, deadline_seconds=20)
        assert ledger.quarantined
        left = await ledger.action("K1")
        assert left is not None and left.state is ActionState.UNKNOWN


@pytest.mark.parametrize(
    "torn", [b'{"key": "K9", "n"', b'{"key": "K\xff9", "n": 1, "at": 1, "deadline": 1}', b"\x00\x00"]
)
async def test_a_torn_line_is_nobodys_intent(file_url: str, tmp_path: Path, torn: bytes) -> None:
    async with await Ledger.open(file_url, tmp_path) as ledger:
        await opened(ledger, spec("K1"))
    with (tmp_path / "intents.log").open("ab") as file:
        file.write(torn)
    async with await Ledger.open(file_url, tmp_path) as ledger:
        assert not ledger.quarantined
        await opened(ledger, spec("K2"))
    lines = [each for each in (tmp_path / "intents.log").read_bytes().split(b"\n") if each]
    assert [json.loads(lines[n])["key"] for n in (0, 2)] == ["K1", "K2"]
