"""Plans, approvals, items and answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, event

from recovery.errors import LedgerConflict, RefusedError, UsageError
from recovery.ledger import plans
from recovery.ledger.codec import decode_plan, encode_plan
from recovery.ledger.ledger import Ledger
from recovery.ledger.schema import from_micros, to_micros
from recovery.model import (
    ActionKind,
    Answer,
    Approval,
    Harm,
    ItemOutcome,
    OutageWindow,
    Plan,
    PlanItem,
    PlannedAction,
    Question,
    Remedy,
    Slot,
    Verdict,
    iso,
)
from tests.ledger.makers import NOW, plan, plan_item

WORDS = st.text(st.sampled_from("aB0 \\\"'\n\x00\x1fü\u2028\U0001f600\uffff"), max_size=5)
TIMES = st.integers(0, 2**51).map(from_micros)
FACTS = st.dictionaries(
    WORDS,
    st.one_of(
        WORDS,
        st.integers(-(2**60), 2**60),
        st.booleans(),
        st.none(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.lists(WORDS, max_size=3),
    ),
    max_size=4,
)
ACTIONS = st.builds(
    PlannedAction, WORDS, st.sampled_from(ActionKind), st.sampled_from(Harm), st.booleans(), WORDS, WORDS
)
ITEMS = st.builds(
    PlanItem,
    slot=st.builds(Slot, WORDS, WORDS, WORDS, WORDS, TIMES, WORDS, WORDS),
    verdict=st.sampled_from(Verdict),
    remedy=st.sampled_from(Remedy),
    reason=WORDS,
    code=WORDS,
    actions=st.lists(ACTIONS, max_size=2).map(tuple),
    order=st.integers(0, 100),
    wave=st.integers(0, 100),
    audience=st.none() | st.integers(0, 10**6),
    caveat=WORDS,
    generation=st.integers(0, 3),
    before=FACTS,
)
PLANS = st.builds(
    Plan,
    window=st.builds(OutageWindow, TIMES, TIMES, st.lists(WORDS, max_size=3).map(tuple), incident=WORDS),
    items=st.lists(ITEMS, max_size=3).map(tuple),
    made_at=TIMES,
    expires_at=TIMES,
    digest=WORDS,
)


@given(PLANS)
@settings(max_examples=40, deadline=None)
def test_a_plan_comes_back_from_json_exactly(made: Plan) -> None:
    back = decode_plan(encode_plan(made))
    assert back == made
    assert repr(back) == repr(made)


@given(st.integers(0, 2**56))
def test_stored_times_are_exact_to_the_microsecond(micros: int) -> None:
    assert to_micros(from_micros(micros)) == micros


def test_a_plan_with_times_in_another_zone_comes_back_as_the_same_instants() -> None:
    slot = replace(plan_item().slot, due_at=NOW.astimezone(timezone(timedelta(hours=-5))))
    made = plan(plan_item(slot=slot))
    assert decode_plan(encode_plan(made)) == made


async def test_a_plan_is_found_by_its_prefix_and_saved_once(ledger: Ledger) -> None:
    made = plan(plan_item("1"), plan_item("2"))
    await ledger.save_plan(made)
    await ledger.save_plan(made)
    assert await ledger.plan(made.digest[:6]) == made
    assert await ledger.plan(made.digest) == made
    assert await ledger.plan("ffffff0000") is None
    with pytest.raises(UsageError, match="at least 6"):
        await ledger.plan(made.digest[:5])


async def test_an_ambiguous_prefix_is_refused(ledger: Ledger) -> None:
    await ledger.save_plan(replace(plan(), digest="abcdef01"))
    await ledger.save_plan(replace(plan(), digest="abcdef02"))
    with pytest.raises(UsageError, match="several plans"):
        await ledger.plan("abcdef")
    assert (await ledger.plan("ABCDEF02")) is not None


async def test_the_latest_plan_is_the_one_made_last(ledger: Ledger) -> None:
    assert await ledger.latest_plan() is None
    first, second = plan(incident="i1"), plan(made_at=NOW + timedelta(minutes=1), incident="i2")
    await ledger.save_plan(second)
    await ledger.save_plan(first)
    assert await ledger.latest_plan() == second
    assert await ledger.latest_plan("i1") == first


def consent(made: Plan, **changes: object) -> Approval:
    values: dict[str, object] = {
        "plan_digest": made.digest,
        "by": "Ana",
        "at": NOW,
        "recipients": made.reach,
        "caveat_acknowledged": False,
    }
    return Approval(**{**values, **changes})  # type: ignore[arg-type]


async def test_an_approval_is_kept_as_given(ledger: Ledger) -> None:
    made = plan(plan_item("1"), plan_item("2", audience=50))
    await ledger.save_plan(made)
    whole = consent(made, reason="agreed on the bridge")
    part = consent(made, recipients=50, items=(made.items[1].slot.key,), at=NOW + timedelta(seconds=1))
    await ledger.approve(whole)
    await ledger.approve(part)
    assert await ledger.approvals(made.digest) == (whole, part)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"plan_digest": "no such"}, "no plan has"),
        ({"by": "  "}, "needs a name"),
        ({"at": NOW + timedelta(hours=3)}, "expired"),
        ({"items": ("another",)}, "no item another"),
        ({"recipients": 149}, "reach 150"),
        ({"recipients": 150, "items": (f"acme/pro2/campaign/1@{iso(NOW)}",)}, "reach 100"),
    ],
)
async def test_an_approval_must_cover_what_it_says(ledger: Ledger, change: dict[str, object], words: str) -> None:
    made = plan(plan_item("1"), plan_item("2", audience=50))
    await ledger.save_plan(made)
    with pytest.raises(RefusedError, match=words):
        await ledger.approve(consent(made, **change))
    assert await ledger.approvals(made.digest) == ()


async def test_caveats_must_be_acknowledged_and_empty_plans_cannot_be_approved(ledger: Ledger) -> None:
    made = plan(plan_item("1", caveat="may have gone out"), plan_item("2"))
    await ledger.save_plan(made)
    with pytest.raises(RefusedError, match="caveats"):
        await ledger.approve(consent(made))
    await ledger.approve(consent(made, recipients=100, items=(made.items[1].slot.key,)))
    await ledger.approve(consent(made, caveat_acknowledged=True))
    empty = replace(made, items=(), digest="0123456789")
    await ledger.save_plan(empty)
    with pytest.raises(RefusedError, match="empty"):
        await ledger.approve(consent(empty))


async def test_a_newer_plan_opens_items_again_but_not_confirmed_ones(ledger: Ledger) -> None:
    first = plan(*(plan_item(ref) for ref in "1234"))
    keys = [each.slot.key for each in first.items]
    await ledger.open_items(first)
    await ledger.finish_item(keys[0], ItemOutcome.CONFIRMED, "done")
    await ledger.finish_item(keys[1], ItemOutcome.SKIPPED, "not needed")
    await ledger.finish_item(keys[2], ItemOutcome.HELD, "?", Question("Really?", "wait"))
    second = plan(*first.items[:3], plan_item("5"), made_at=NOW + timedelta(minutes=1))
    await ledger.open_items(second)
    rows = {row.slot_key: row for row in await ledger.items()}
    assert [(rows[key].outcome.value, rows[key].plan_digest == second.digest) for key in keys] == [
        ("confirmed", False),
        ("open", True),
        ("open", True),
        ("open", False),
    ]
    assert rows[keys[2]].question is None
    assert len(await ledger.items(plan=first.digest)) == 4
    assert len(await ledger.items(plan=second.digest)) == 4
    assert len(await ledger.items(outcome=ItemOutcome.OPEN, incident=first.window.incident_ref)) == 4


async def test_items_are_found_by_their_object_and_by_their_last_change(ledger: Ledger) -> None:
    made = plan(*(plan_item(ref) for ref in "123"))
    await ledger.open_items(made)
    before = (await ledger.items())[0].updated_at
    await asyncio.sleep(0.01)
    await ledger.finish_item(made.items[1].slot.key, ItemOutcome.CONFIRMED, "done")
    assert [row.object_ref for row in await ledger.items(object_ref="3")] == ["3"]
    assert await ledger.items(object_ref="4") == ()
    just_now = before + timedelta(milliseconds=5)
    assert [row.object_ref for row in await ledger.items(since=just_now)] == ["2"]
    assert [row.object_ref for row in await ledger.items(outcome=ItemOutcome.CONFIRMED, since=just_now)] == ["2"]
    assert await ledger.items(outcome=ItemOutcome.OPEN, since=just_now) == ()


async def test_an_item_ends_with_a_question_or_a_reason_and_stays_confirmed(ledger: Ledger) -> None:
    made = plan()
    key = made.items[0].slot.key
    await ledger.open_items(made)
    with pytest.raises(RefusedError, match="without a question"):
        await ledger.finish_item(key, ItemOutcome.HELD, "?")
    with pytest.raises(RefusedError, match="without a reason"):
        await ledger.finish_item(key, ItemOutcome.SKIPPED, " ")
    await ledger.finish_item(key, ItemOutcome.CONFIRMED, "done")
    await ledger.finish_item(key, ItemOutcome.CONFIRMED, "done")
    with pytest.raises(LedgerConflict, match="confirmed already"):
        await ledger.finish_item(key, ItemOutcome.SKIPPED, "not needed")
    with pytest.raises(LedgerConflict, match="no item"):
        await ledger.finish_item("nobody", ItemOutcome.CONFIRMED, "done")


async def test_answers_go_to_held_items_and_are_among_the_choices(ledger: Ledger) -> None:
    made = plan()
    key = made.items[0].slot.key
    await ledger.open_items(made)
    given = Answer(key, "Ana", NOW, "drop", "too late")
    with pytest.raises(RefusedError, match="not held"):
        await ledger.answer(given)
    await ledger.finish_item(key, ItemOutcome.HELD, "?", Question("Send?", "wait", ("wait", "drop")))
    with pytest.raises(RefusedError, match="was not offered") as caught:
        await ledger.answer(replace(given, choice="send"))
    assert caught.value.hint == "choose one of: wait, drop"
    with pytest.raises(RefusedError, match="needs a name"):
        await ledger.answer(replace(given, by=""))
    await ledger.answer(given)
    assert await ledger.answers(key) == (given,)


@pytest.mark.parametrize(
    ("outcome", "since", "index"),
    [(ItemOutcome.CONFIRMED, NOW, "item_proven"), (ItemOutcome.HELD, None, "item_by_outcome")],
)
async def test_items_are_found_by_outcome_without_reading_them_all(
    tmp_path: Path, outcome: ItemOutcome, since: datetime | None, index: str
) -> None:
    """A partial index serves only a statement that shows in its own words that it fits."""
    asked: list[str] = []
    async with await Ledger.open(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "state") as ledger:

        def look(connection: Connection) -> None:
            @event.listens_for(connection, "before_cursor_execute")
            def note(_connection: object, cursor: Any, statement: str, given: Any, *_: object) -> None:
                if statement.startswith("SELECT item"):
                    cursor.execute(f"EXPLAIN QUERY PLAN {statement}", given)
                    asked.extend(str(row) for row in cursor.fetchall())

            plans.find_items(connection, outcome=outcome, since=since)

        await ledger._read(look)
    assert any(index in line for line in asked) and not any("SCAN item" in line for line in asked), asked
