"""The database itself refuses what must never be: each test writes SQL as a foreign program would."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from recovery.ledger.engine import database_url, make_engines
from recovery.ledger.ledger import Ledger
from tests.ledger.makers import APPLIED, UNKNOWN, opened, plan, release, spec

Sql = Callable[..., int]


@pytest.fixture
def sql(ledger: Ledger, url: str) -> Iterator[Sql]:
    """Runs one statement in a transaction of its own, past the ledger, behind all that this has answered."""
    engine, reading = make_engines(database_url(url), read_only=False)

    def run(statement: str, **values: object) -> int:
        while ledger._writer is not None and ledger._writer.is_ahead:
            time.sleep(0.001)
        with engine.connect() as connection, connection.begin():
            return _run(connection, statement, values)

    yield run
    engine.dispose()
    reading.dispose()


def _run(connection: Connection, statement: str, values: dict[str, object]) -> int:
    return connection.execute(text(statement), values).rowcount


NEW_ATTEMPT = (
    "INSERT INTO attempt (id, action_key, n, owner, fence, request, opened_at, send_by, deadline, closed_at, outcome)"
    " VALUES (:id, 'KEY1', :n, 'x', 1, 'r', 1, 1, 1, :closed_at, :outcome)"
)
NEW_ACTION = (
    "INSERT INTO action (key, slot_key, account, kind, harm, target_ref, generation, state, seq, last_hash, made_at,"
    " updated_at) VALUES (:key, :slot, 'a', :kind, 3, 't', :generation, 'planned', 1, 'h', 1, 1)"
)


async def test_k1_an_action_key_exists_once(ledger: Ledger, sql: Sql) -> None:
    await ledger.ensure([spec()])
    with pytest.raises(IntegrityError):
        sql(NEW_ACTION, key="KEY1", slot="another", kind="copy", generation=0)


async def test_k2_a_slot_and_generation_has_one_release_unless_the_other_was_cancelled(
    ledger: Ledger, sql: Sql
) -> None:
    await ledger.ensure([release("KEY1", slot_key="s")])
    with pytest.raises(IntegrityError):
        sql(NEW_ACTION, key="KEY2", slot="s", kind="release", generation=0)
    assert sql(NEW_ACTION, key="KEY3", slot="s", kind="release", generation=1) == 1
    await ledger.cancel("KEY1", "Ana", "wrong copy")
    assert sql(NEW_ACTION, key="KEY2", slot="s", kind="release", generation=0) == 1


EVENT = (
    "INSERT INTO action_event (action_key, seq, prev_seq, from_state, to_state, actor, at, detail, prev_hash, hash)"
    " VALUES ('KEY1', :seq, :prev, :old, :new, 'x', 1, '', '', 'h')"
)


@pytest.mark.parametrize(
    ("seq", "prev", "old", "new"),
    [
        pytest.param(2, 1, "planned", "in_flight", id="illegal move"),
        pytest.param(2, 1, "claimed", "in_flight", id="not from where the last event ended"),
        pytest.param(3, 2, "planned", "claimed", id="a gap"),
        pytest.param(3, 1, "planned", "claimed", id="prev_seq is not seq-1"),
        pytest.param(1, None, "", "planned", id="the same transition twice"),
        pytest.param(2, None, "planned", "claimed", id="no predecessor"),
    ],
)
async def test_k3_events_follow_one_another(
    ledger: Ledger, sql: Sql, seq: int, prev: int | None, old: str, new: str
) -> None:
    await ledger.ensure([spec()])
    with pytest.raises(IntegrityError):
        sql(EVENT, seq=seq, prev=prev, old=old, new=new)
    assert sql(EVENT, seq=2, prev=1, old="planned", new="claimed") == 1


@pytest.mark.parametrize("outcome", ["open", "applied", "unknown", "rejected"])
async def test_k4_no_second_attempt_while_the_first_is_not_proven_not_applied(
    ledger: Ledger, sql: Sql, outcome: str
) -> None:
    await ledger.ensure([spec()])
    closed = outcome != "open"
    sql(NEW_ATTEMPT, id=1, n=1, closed_at=1 if closed else None, outcome=outcome if closed else None)
    with pytest.raises(IntegrityError):
        sql(NEW_ATTEMPT, id=2, n=2, closed_at=None, outcome=None)
    sql("UPDATE attempt SET closed_at = 1, outcome = 'not_applied' WHERE id = 1")
    assert sql(NEW_ATTEMPT, id=2, n=2, closed_at=None, outcome=None) == 1


async def test_k6_one_draft_is_elected_and_never_changed(ledger: Ledger, sql: Sql) -> None:
    await ledger.ensure([release(slot_key="s")])
    await ledger.elect("s", 0, "11", "KEY1", "pro2", "acme")
    with pytest.raises(IntegrityError):
        sql(
            "INSERT INTO remote_object (system, account, ref, slot_key, generation, action_key, role, noted_at)"
            " VALUES ('pro2', 'acme', '12', 's', 0, 'KEY1', 'elected', 1)"
        )
    with pytest.raises(IntegrityError):
        sql("UPDATE remote_object SET ref = '12'")
    with pytest.raises(IntegrityError):
        sql("UPDATE action SET elected_ref = '12'")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("state = 'confirmed', evidence_digest = ''", id="K7 confirmed without evidence"),
        pytest.param("state = 'held', hold_question = NULL", id="K7 held without a question"),
    ],
)
async def test_k7_no_end_without_its_proof(ledger: Ledger, sql: Sql, change: str) -> None:
    _, attempt = await opened(ledger, spec())
    await ledger.settle(attempt, APPLIED)
    with pytest.raises(IntegrityError):
        sql(f"UPDATE action SET {change}")


async def test_skipped_needs_a_reason(ledger: Ledger, sql: Sql) -> None:
    await ledger.ensure([spec()])
    with pytest.raises(IntegrityError):
        sql("UPDATE action SET state = 'skipped', note = ''")


async def test_k8_closed_needs_an_outcome_and_an_outcome_needs_closing(ledger: Ledger, sql: Sql) -> None:
    await ledger.ensure([spec()])
    with pytest.raises(IntegrityError):
        sql(NEW_ATTEMPT, id=1, n=1, closed_at=1, outcome=None)
    with pytest.raises(IntegrityError):
        sql(NEW_ATTEMPT, id=1, n=1, closed_at=None, outcome="applied")


async def test_running_needs_an_owner_and_a_lease(ledger: Ledger, sql: Sql) -> None:
    await ledger.ensure([spec()])
    with pytest.raises(IntegrityError):
        sql("UPDATE action SET state = 'claimed', owner = ''")
    with pytest.raises(IntegrityError):
        sql("UPDATE action SET state = 'claimed', owner = 'x', lease_until = NULL")


async def test_two_releases_of_one_account_cannot_be_on_their_way_together(ledger: Ledger, sql: Sql) -> None:
    await opened(ledger, release("KEY1", account="acme"))
    await ledger.ensure([release("KEY2", account="acme")])
    await ledger.claim("KEY2", 60)
    with pytest.raises(IntegrityError):
        sql("UPDATE action SET state = 'in_flight', lane = 'acme' WHERE key = 'KEY2'")
    with pytest.raises(IntegrityError):
        sql("UPDATE action SET state = 'in_flight', lane = NULL WHERE key = 'KEY2'")


@pytest.mark.parametrize("state", ["planned", "claimed", "unknown", "held", "cancelled", "confirmed"])
async def test_a_terminal_action_is_never_moved(ledger: Ledger, sql: Sql, state: str) -> None:
    await ledger.ensure([spec()])
    await ledger.skip("KEY1", "not needed")
    with pytest.raises(IntegrityError):
        sql(
            f"UPDATE action SET state = '{state}', owner = 'x', lease_until = 1,"
            " evidence_digest = 'e', hold_question = 'q'"
        )


async def test_an_action_is_born_planned(ledger: Ledger, sql: Sql) -> None:
    with pytest.raises(IntegrityError):
        sql(
            NEW_ACTION.replace("'planned'", "'applied'"),
            key="KEY1",
            slot="s",
            kind="copy",
            generation=0,
        )


async def test_history_and_plans_cannot_be_rewritten(ledger: Ledger, sql: Sql) -> None:
    _, attempt = await opened(ledger, spec())
    await ledger.settle(attempt, UNKNOWN)
    await ledger.open_items(plan())
    await ledger.append("desk/1", "opened", "Ana", plan().made_at, {})
    for change in ("action_event SET actor = 'y'", "stream_event SET actor = 'y'", "plan SET body = '{}'"):
        with pytest.raises(IntegrityError):
            sql(f"UPDATE {change}")


async def test_items_end_only_with_a_question_or_a_reason(ledger: Ledger, sql: Sql) -> None:
    await ledger.open_items(plan())
    with pytest.raises(IntegrityError):
        sql("UPDATE item SET outcome = 'held', question = NULL")
    with pytest.raises(IntegrityError):
        sql("UPDATE item SET outcome = 'skipped', reason = ''")
