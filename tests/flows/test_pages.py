"""Pages, announcements and the tally: plain values, made without Prefect."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prefect import State
from prefect.states import Failed

from flows.pages import said, show
from flows.record import OUTCOMES
from recovery.errors import RefusedError, UsageError
from recovery.happening import Happening
from recovery.served.pages import FINAL_STATES, MOST_ROWS, Page, Tally, balance_text

from .conftest import REPOSITORY

BALANCE = {"due": 3, "done_before": 1, "recovered": 1, "skipped": 0, "held": 1, "doubles": 0, "adds_up": True}


def told(*happenings: tuple[str, dict[str, object]], total: int) -> Tally:
    tally = Tally(total)
    for what, facts in happenings:
        tally(what, facts)
    return tally


async def failing(error: Exception) -> Any:
    raise error


@pytest.mark.parametrize("end", [show, said])
async def test_an_error_of_ours_ends_a_run_with_its_sentence_and_what_to_do(end: Any) -> None:
    """As a state: an exception would be logged with its trace, and its hint would be lost."""
    refused = await end(failing(RefusedError("the plan is empty", "make a new one")))
    assert (refused.type.value, refused.message) == ("FAILED", "The plan is empty. Make a new one.")
    usage = await end(failing(UsageError("Which outage?")))
    assert usage.message == "Which outage?"


async def test_a_task_that_was_refused_ends_its_run_with_the_same_sentence() -> None:
    async def refused_task() -> State[Any]:
        return Failed(message="There is no plan.")

    ended = await show(refused_task())
    assert (ended.type.value, ended.message) == ("FAILED", "There is no plan.")


async def test_what_is_no_error_of_ours_leaves_a_run_as_the_exception_it_is() -> None:
    """A fault of the program needs its trace."""
    with pytest.raises(ZeroDivisionError):
        await said(failing(ZeroDivisionError()))


def test_the_same_news_has_the_same_id_and_other_news_another() -> None:
    first = Happening("allclear.item.held", "allclear.item.a", {"item": "a"}, "a\nwhich one?")
    again = Happening("allclear.item.held", "allclear.item.a", {"item": "a", "more": 1}, "a\nwhich one?")
    other_question = Happening("allclear.item.held", "allclear.item.a", {"item": "a"}, "a\nreally?")
    other_event = Happening("allclear.plan.ready", "allclear.item.a", {"item": "a"}, "a\nwhich one?")
    assert first.id == again.id
    assert len({first.id, other_question.id, other_event.id}) == 3


def test_the_tally_counts_outcomes_and_never_repeats_what_a_remote_said() -> None:
    hostile = "<img src=x> [click](http://evil.example)"
    tally = told(
        ("item", {"outcome": "confirmed", "slot": hostile, "reason": hostile}),
        ("step", {"slot": hostile, "what": hostile}),
        ("alarm", {"text": hostile}),
        ("item", {"outcome": "held", "slot": hostile, "reason": hostile}),
        total=4,
    )
    assert (tally.percent, tally.line) == (50.0, "2 of 4; 1 confirmed, 1 held; ALARM")


def test_a_tally_of_items_does_not_count_the_accounts_that_are_read_again_at_the_end() -> None:
    """It said "67 of 58" of a recovery of nine accounts."""
    tally = told(("item", {"outcome": "confirmed"}), ("bake", {}), ("item", {"outcome": "held"}), total=2)
    assert tally.line == "2 of 2; 1 confirmed, 1 held"
    tally("proof", {})
    for _ in range(9):
        tally("audit-done", {"account": "harbor"})
    assert tally.line == "2 of 2; 1 confirmed, 1 held; reading everything again"
    tally.end()
    assert tally.line == "2 of 2; 1 confirmed, 1 held"


def test_an_alarm_stays_in_the_tally_until_its_end() -> None:
    tally = told(("alarm", {"text": "a double"}), ("proof", {}), total=1)
    assert tally.line == "0 of 1; reading everything again; ALARM"
    tally.end()
    assert tally.line == "0 of 1; ALARM"


@settings(max_examples=50)
@given(st.integers(0, 30), st.lists(st.sampled_from(["confirmed", "held", "skipped"]), max_size=60))
def test_progress_stays_between_nothing_and_the_whole(total: int, outcomes: Iterable[str]) -> None:
    seen = 0.0
    tally = Tally(total)
    for outcome in outcomes:
        tally("item", {"outcome": outcome})
        assert seen <= tally.percent <= 100.0
        seen = tally.percent


@pytest.mark.parametrize(("adds_up", "said"), [(True, "It adds up."), (False, "**It does not add up.**")])
def test_the_balance_says_whether_it_adds_up(adds_up: bool, said: str) -> None:
    text = balance_text({**BALANCE, "adds_up": adds_up})
    assert "| done before | 1 |" in text
    assert text.endswith(said)


def test_a_table_too_large_for_the_pages_says_how_many_rows_it_leaves_out() -> None:
    rows = [{"account": "harbor", "key": f"k{n}"} for n in range(MOST_ROWS + 7)]
    table = Page("plan", "title", "Held", 3, rows, "text").table
    assert (len(table), table[-1]) == (MOST_ROWS + 1, {"account": "and 7 more, left out here"})
    assert Page("plan", "title", "Held", 3, rows[:MOST_ROWS], "text").table == rows[:MOST_ROWS]


def test_the_automation_for_abandoned_runs_knows_every_final_state_of_ours() -> None:
    """An event is called by its state's name: a run that ends in a state missing there would be called crashed."""
    described = tomllib.loads((REPOSITORY / "flows" / "automations.toml").read_text())["automations"]
    (abandoned,) = [a for a in described if a["name"] == "allclear ends abandoned runs"]
    known = {name.removeprefix("prefect.flow-run.") for name in abandoned["trigger"]["expect"]}
    assert (FINAL_STATES | set(OUTCOMES.values())) - known == set()
    with pytest.raises(ValueError, match="no final state"):
        Page("plan", "title", "Something new", 0, [], "text")
