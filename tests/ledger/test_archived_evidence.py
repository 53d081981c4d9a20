"""An archive and evidence of several accounts under one digest: no page loses a record, the living keep theirs."""

from __future__ import annotations

import asyncio
import gzip
import json
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine

from recovery.archive import archive, check
from recovery.ledger.archive import BEFORE_ALL, EvidenceKey, Shelf
from recovery.ledger.ledger import Ledger
from recovery.ledger.migrations import MIGRATIONS
from recovery.ledger.schema import evidence, to_micros
from recovery.model import Exchange, ItemOutcome
from tests.ledger.counting import counts
from tests.ledger.makers import change, spec
from tests.scale.test_archive import JANUARY, LONG, MAY, Calendar, incident

OLD_FILE = Path(__file__).with_name("archive_of_version_4.jsonl")
KEYS = st.builds(
    EvidenceKey,
    st.sampled_from(["0a", "0b", "ff"]),
    st.sampled_from(["dashboard", "pro2"]),
    st.sampled_from(["", "acme", "Harbor", "zoo"]),
)


async def ended(
    ledger: Ledger, url: str, name: str, at: datetime, outcome: ItemOutcome | None = ItemOutcome.CONFIRMED
) -> None:
    """An incident of that time, whichever clock the database has."""
    clock = Calendar()
    clock.moment = at
    await incident(ledger, clock, name, outcome)
    change(url, f"UPDATE item SET updated_at = {to_micros(at)} WHERE incident = '{name}'")
    change(url, f"UPDATE action SET updated_at = {to_micros(at)} WHERE key = 'KEY-{name}'")


async def page_by_page(connection: Connection, most: int) -> list[EvidenceKey]:
    async def read(query: Callable[..., Any], *given: Any) -> Any:
        return query(connection, *given)

    shelf, last, found = Shelf(read, read), BEFORE_ALL, []
    while rows := await shelf.evidence(10, last, most):
        last = EvidenceKey.of(rows[-1])
        found += [EvidenceKey.of(row) for row in rows]
    return found


@given(keys=st.sets(KEYS), most=st.integers(1, 7))
def test_pages_of_any_size_hold_every_record_once(keys: set[EvidenceKey], most: int) -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        for migration in MIGRATIONS:
            migration(connection)
        rows = [
            {**key._asdict(), "request": "GET", "status": 200, "at": 1, "body": "", "trace_ref": ""} for key in keys
        ]
        if rows:
            connection.execute(evidence.insert(), rows)
        assert asyncio.run(page_by_page(connection, most)) == sorted(keys)
    engine.dispose()


def reply(account: str, at: datetime, digest: str = "same", system: str = "pro2") -> Exchange:
    return Exchange(system, account, f"GET {account}", 200, at, digest, "{}")


@pytest.mark.parametrize("page", [1, 2, 3, 500])
async def test_a_page_boundary_inside_a_digest_loses_and_repeats_no_record(
    ledger: Ledger, url: str, tmp_path: Path, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recovery.archive.PAGE", page)
    await ended(ledger, url, "old", JANUARY)
    accounts = ("acme", "bayside", "granite", "harbor", "Harbor")
    for account in accounts:
        await ledger.keep(reply(account, JANUARY))
        await ledger.keep(reply(account, JANUARY, system="dashboard"))
    await ledger.keep(reply("granite", MAY, digest="young"))
    await ledger.flush()
    file = tmp_path / "archive.gz"
    made = await archive(ledger.shelf, MAY, LONG, file)
    lines = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    kept = [EvidenceKey.of(line["evidence"]) for line in lines if "evidence" in line]
    wanted = {("same", system, account) for account in accounts for system in ("pro2", "dashboard")}
    assert made.evidence == len(kept) == 11
    assert set(kept) == wanted | {("digest-old", "pro2", "acme")}
    assert (await counts(ledger))["evidence"] == 1
    assert await ledger.evidence("young", "granite") is not None
    assert await check(ledger.shelf, file) == ()


async def test_only_what_the_file_holds_is_dropped_of_a_digest(ledger: Ledger, url: str, tmp_path: Path) -> None:
    await ended(ledger, url, "old", JANUARY)
    await ledger.keep(reply("harbor", JANUARY))
    await ledger.keep(reply("granite", MAY))
    await ledger.flush()
    made = await archive(ledger.shelf, MAY, LONG, tmp_path / "archive.gz")
    assert made.evidence == 2
    assert await ledger.evidence("same", "harbor") == reply("granite", MAY)


@pytest.mark.parametrize("named_by", ["action", "attempt", "witness"])
@pytest.mark.parametrize("outcome", [None, ItemOutcome.CONFIRMED], ids=["open", "ended since"])
async def test_an_old_record_stays_while_an_incident_that_is_not_archived_names_its_digest(
    ledger: Ledger, url: str, tmp_path: Path, named_by: str, outcome: ItemOutcome | None
) -> None:
    await ended(ledger, url, "old", JANUARY)
    first = reply("acme", JANUARY, digest="digest-young" if named_by != "witness" else "seen")
    await ledger.keep(first)
    await ended(ledger, url, "young", MAY, outcome)
    if named_by == "attempt":
        change(url, "UPDATE action SET evidence_digest = 'another' WHERE key = 'KEY-young'")
    elif named_by == "action":
        change(url, "UPDATE attempt SET evidence_digest = '' WHERE action_key = 'KEY-young'")
    else:
        heard = {"slot": {"witnesses": [{"witness": "list", "digest": "seen"}]}}
        await ledger.append("witnesses/young/acme", "seen", "allclear", MAY, heard)
    made = await archive(ledger.shelf, MAY, LONG, tmp_path / "archive.gz")
    assert (made.incidents, made.evidence) == (("old",), 1)
    assert await ledger.evidence("digest-old") is None
    assert await ledger.evidence(first.digest, "acme") == first


async def test_old_proof_of_an_incident_that_ended_since_stays(ledger: Ledger, url: str, tmp_path: Path) -> None:
    await ended(ledger, url, "old", JANUARY)
    await ended(ledger, url, "long", JANUARY)
    change(url, f"UPDATE item SET updated_at = {to_micros(MAY)} WHERE incident = 'long'")
    made = await archive(ledger.shelf, MAY, LONG, tmp_path / "archive.gz")
    assert (made.incidents, made.evidence) == (("old",), 1)
    assert await ledger.evidence("digest-old") is None
    assert await ledger.evidence("digest-long") is not None


async def test_a_file_that_version_4_wrote_is_checked_as_before(tmp_path: Path) -> None:
    file = tmp_path / "archive.gz"
    file.write_bytes(gzip.compress(OLD_FILE.read_bytes()))
    assert await check(None, file) == ()
    end = json.loads(OLD_FILE.read_bytes().splitlines()[-3])["event"]["hash"]
    async with await Ledger.open(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "state") as ledger:
        await ledger.ensure([spec("KEY-old")])
        await ledger.flush()
        assert await check(ledger.shelf, file) == ("action KEY-old ends differently in the ledger",)
        with sqlite3.connect(tmp_path / "ledger.db") as database:
            database.execute("UPDATE action SET last_hash = ? WHERE key = 'KEY-old'", (end,))
        database.close()
        assert await check(ledger.shelf, file) == ()
    file.write_bytes(gzip.compress(OLD_FILE.read_bytes().replace(b"POST old", b"POST new")))
    assert await check(None, file) != ()
