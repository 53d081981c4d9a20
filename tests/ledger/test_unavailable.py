"""A ledger that cannot be used says so in one sentence, and nothing is half-written."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event

from recovery.errors import ConfigError, LedgerConflict, LedgerTooNew, LedgerUnavailable
from recovery.ledger.ledger import Ledger
from recovery.model import ActionState
from tests.ledger.conftest import new_database
from tests.ledger.counting import counts
from tests.ledger.makers import APPLIED, change, opened, plan, plan_item, spec


def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:", "not a url:secret"])
async def test_a_url_that_cannot_be_a_ledger_is_a_setting_error_without_its_secrets(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        await Ledger.open(url, tmp_path)
    assert "secret" not in str(caught.value) + caught.value.hint


async def test_an_unreachable_server_is_unavailable_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable) as caught:
        await Ledger.open("postgresql://ana:secret@127.0.0.1:1/x", tmp_path)
    assert "secret" not in str(caught.value) + caught.value.hint


async def test_files_and_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    async with await Ledger.open(f"sqlite:///{tmp_path}/deep/ledger.db", tmp_path / "state"):
        modes = {
            name: stat.S_IMODE((tmp_path / name).stat().st_mode)
            for name in ("deep", "deep/ledger.db", "state", "state/workers", "state/intents.log")
        }
    assert modes == {
        "deep": 0o700,
        "deep/ledger.db": 0o600,
        "state": 0o700,
        "state/workers": 0o700,
        "state/intents.log": 0o600,
    }


async def test_a_newer_ledger_is_not_touched(ledger: Ledger, url: str, state_dir: Path) -> None:
    change(url, "INSERT INTO schema_version (version, name, applied_at) VALUES (99, 'future', 1)")
    try:
        for read_only in (False, True):
            with pytest.raises(LedgerTooNew, match="version 99, this program knows up to 6"):
                await Ledger.open(url, state_dir, read_only=read_only)
    finally:
        if not url.startswith("sqlite"):
            change(url, "DELETE FROM schema_version WHERE version = 99")


async def test_a_reader_changes_nothing_and_needs_a_ledger(ledger: Ledger, url: str, state_dir: Path) -> None:
    await ledger.ensure([spec()])
    await ledger.flush()
    async with await Ledger.open(url, state_dir, read_only=True) as reader:
        assert await reader.action("KEY1") is not None
        with pytest.raises(LedgerUnavailable, match="reading only"):
            await reader.claim("KEY1", 60)


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_server_that_is_down_behind_a_socket_file_is_told_in_words(tmp_path: Path, *, read_only: bool) -> None:
    url = f"postgresql://allclear@/ledger?host={tmp_path}/nowhere"
    with pytest.raises(LedgerUnavailable, match=r"cannot be used: .*No such file"):
        await Ledger.open(url, tmp_path / "state", read_only=read_only)


async def test_reading_where_there_is_no_ledger_creates_none(tmp_path: Path, postgres: object) -> None:
    with pytest.raises(LedgerUnavailable, match="cannot be opened"):
        await Ledger.open(sqlite_url(tmp_path), tmp_path / "state", read_only=True)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LedgerUnavailable, match="no ledger here yet"):
        await Ledger.open(new_database(postgres), tmp_path / "state", read_only=True)


async def test_a_read_only_database_lets_nothing_leave(postgres: object, tmp_path: Path) -> None:
    url = new_database(postgres)
    async with await Ledger.open(url, tmp_path) as ledger:
        await ledger.ensure([spec()])
        row = await ledger.claim("KEY1", 60)
        assert row is not None
        with psycopg.connect(url, autocommit=True) as server:
            name = server.execute("SELECT current_database()").fetchone()
            assert name is not None
            server.execute(f"ALTER DATABASE {name[0]} SET default_transaction_read_only = on".encode())
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(LedgerUnavailable, match="read-only"):
            await ledger.intend(row, "POST", send_within_seconds=5, deadline_seconds=20)
    assert (tmp_path / "intents.log").read_bytes() == b""


async def test_a_sqlite_file_that_became_read_only_lets_nothing_leave(tmp_path: Path) -> None:
    async with await Ledger.open(sqlite_url(tmp_path), tmp_path) as ledger:
        await ledger.ensure([spec()])
        row = await ledger.claim("KEY1", 60)
        assert row is not None
        # What SQLite answers on a read-only file or mount; a mode bit would not stop a test run by root.
        await ledger._write(lambda work: work.connection.exec_driver_sql("PRAGMA query_only = ON").close())
        with pytest.raises(LedgerUnavailable, match="the ledger is read-only"):
            await ledger.intend(row, "POST", send_within_seconds=5, deadline_seconds=20)
    async with await Ledger.open(sqlite_url(tmp_path), tmp_path) as ledger:
        left = await ledger.action("KEY1")
        assert left is not None and (left.state, left.attempts) == (ActionState.CLAIMED, 0)


async def test_a_file_that_is_no_database_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"hello, this is not a database" * 100)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        await Ledger.open(sqlite_url(tmp_path), tmp_path)


@pytest.mark.parametrize("spare_pages", [0, 1, 2, 3, 5, 8])
async def test_a_full_disk_leaves_no_half_written_intent(tmp_path: Path, spare_pages: int) -> None:
    async with await Ledger.open(sqlite_url(tmp_path), tmp_path) as ledger:
        await ledger.ensure([spec(f"K{n}") for n in range(60)])
        rows = [await ledger.claim(f"K{n}", 60) for n in range(60)]

        def fill(work: object) -> None:
            pages = int(work.connection.exec_driver_sql("PRAGMA page_count").scalar())  # type: ignore[attr-defined]
            work.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + spare_pages}")  # type: ignore[attr-defined]

        await ledger._write(fill)  # type: ignore[arg-type]
        answered = 0
        for row in rows:
            assert row is not None
            try:
                await ledger.intend(row, "POST " + "x" * 500, send_within_seconds=5, deadline_seconds=20)
            except LedgerUnavailable as error:
                assert str(error) == "the disk of the ledger is full"
                break
            answered += 1
        assert answered < 60
    async with await Ledger.open(sqlite_url(tmp_path), tmp_path) as ledger:
        rows = await counts(ledger)
        assert rows.get("actions_in_flight", 0) == rows["attempts"] == answered
        assert await ledger.verify() == ()
        assert not ledger.quarantined


async def test_when_the_intents_log_cannot_be_written_the_caller_gets_no_leave_to_send(ledger: Ledger) -> None:
    await ledger.ensure([spec()])
    row = await ledger.claim("KEY1", 60)
    assert row is not None and ledger._intents is not None
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, ledger._intents._file)
    os.close(full)
    with pytest.raises(LedgerUnavailable, match=r"intents\.log cannot be written: No space left"):
        await ledger.intend(row, "POST", send_within_seconds=5, deadline_seconds=20)
    left = await ledger.action("KEY1")
    assert left is not None and left.state is ActionState.IN_FLIGHT, "an open attempt, to be settled by reading"


def _just_before(words: str, what: Callable[[Any], None]) -> Callable[[], None]:
    """Do something to the connection before the first statement with these words; what takes the hook away again."""
    done: list[bool] = []

    def hook(_connection: Any, cursor: Any, statement: str, *_more: Any) -> None:
        if words in statement and not done:
            done.append(True)
            what(cursor.connection)

    event.listen(Engine, "before_cursor_execute", hook)
    return lambda: event.remove(Engine, "before_cursor_execute", hook)


async def test_a_server_that_ends_while_the_ledger_is_opened_is_told_in_words(postgres: object, tmp_path: Path) -> None:
    url = new_database(postgres)

    def end(connection: Any) -> None:
        with psycopg.connect(url, autocommit=True) as server:
            server.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))

    forget = _just_before("pg_walfile_name", end)
    try:
        with pytest.raises(LedgerUnavailable, match="cannot be used"):
            await Ledger.open(url, tmp_path / "state")
    finally:
        forget()
    async with await Ledger.open(url, tmp_path / "state") as ledger:
        assert not ledger.quarantined


async def test_a_server_that_does_not_tell_its_timeline_is_taken_as_it_is(postgres: object, tmp_path: Path) -> None:
    url = new_database(postgres)
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("CREATE ROLE managed LOGIN")
        server.execute("GRANT ALL ON SCHEMA public TO managed")
        server.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    theirs = url.replace("//postgres", "//managed", 1)
    try:
        for _ in range(2):
            async with await Ledger.open(theirs, tmp_path / "state") as ledger:
                assert not ledger.quarantined
    finally:
        with psycopg.connect(url, autocommit=True) as server:
            server.execute("DROP OWNED BY managed")
            server.execute("DROP ROLE managed")


async def test_a_restarted_server_is_met_again_without_loss(postgres: object, tmp_path: Path) -> None:
    url = new_database(postgres)
    async with await Ledger.open(url, tmp_path) as ledger:
        _, attempt = await opened(ledger, spec())
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert (await ledger.settle(attempt, APPLIED)).state is ActionState.APPLIED
        assert (await ledger.confirm("KEY1", "e", "seen")).state is ActionState.CONFIRMED
        assert not ledger.quarantined
        assert await ledger.verify() == ()


async def test_a_plan_with_many_items_is_written_whole_or_not_at_all(ledger: Ledger) -> None:
    made = plan(*(plan_item(str(n)) for n in range(2000)))
    await ledger.open_items(made)
    assert len(await ledger.items(plan=made.digest)) == 2000
    with pytest.raises(LedgerConflict):
        await ledger.ensure([*(spec(f"K{n}") for n in range(100)), spec("BAD", recipients=-1)])
    assert "actions_planned" not in await counts(ledger)
