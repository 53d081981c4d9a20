"""Outage windows as people write them: understood, or refused in one sentence that says what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.errors import UsageError
from recovery.model import OutageWindow
from recovery.window import make_window, parse_moment, parse_span

NOW = datetime(2026, 11, 21, 3, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)

MOMENTS = {
    "2026-11-01T05:00:00Z": "2026-11-01T05:00:00+00:00",
    "2026-11-01T05:00:00+00:00": "2026-11-01T05:00:00+00:00",
    "2026-11-01 00:00:00-05:00": "2026-11-01T05:00:00+00:00",
    "2026-11-01 03:00 America/New_York": "2026-11-01T08:00:00+00:00",
    "2026-11-01T03:00:30 America/New_York": "2026-11-01T08:00:30+00:00",
    "2026-07-01 9:05 Europe/London": "2026-07-01T08:05:00+00:00",
    "  2026-07-01 09:05 UTC  ": "2026-07-01T09:05:00+00:00",
    "yesterday 14:00 America/New_York": "2026-11-19T19:00:00+00:00",
    "today 14:00 America/New_York": "2026-11-20T19:00:00+00:00",
    "Yesterday 9:00 Europe/London": "2026-11-20T09:00:00+00:00",
    "today 03:15:30 UTC": "2026-11-21T03:15:30+00:00",
}


@pytest.mark.requirement("R001.1")
@pytest.mark.parametrize("text", MOMENTS)
def test_a_moment_is_read_in_the_zone_it_names(text: str) -> None:
    """ "Yesterday" is the day before today in that zone: at 03:30 UTC it is still the evening before in New York."""
    assert parse_moment(text, NOW).isoformat() == MOMENTS[text]


# What a person may write -> what the one sentence must say.
BAD_MOMENTS = {
    "2026-11-01T05:00:00": "has no zone",
    "2026-11-01": "has no zone",
    "2026-11-01 05:00": "has no zone",
    "yesterday": "no time that can be read",
    "yesterday 14:00": "no time that can be read",
    "last night": "no time that can be read",
    "": "no time that can be read",
    "2026-02-30T10:00:00Z": "no time that can be read",
    "2026-02-30 10:00 Europe/London": "no time that can be read",
    "yesterday 25:00 Europe/London": "no time of day",
    "2026-11-01 10:61 Europe/London": "no time of day",
    "2026-11-01 10:00 Mars/Olympus": "'Mars/Olympus' is not a time zone",
    "2026-11-01 10:00 America": "'America' is not a time zone",
    "yesterday 10:00 ../../etc/passwd": "'../../etc/passwd' is not a time zone",
    "2026-11-01 01:30 America/New_York": "the clocks change in America/New_York",
    "2026-03-08 02:30 America/New_York": "the clocks change in America/New_York",
    "2026-03-29 01:00 Europe/London": "the clocks change in Europe/London",
    "0001-01-01T00:00:00+14:00": "no time that can be read",
}


@pytest.mark.requirement("R001.1")
@pytest.mark.parametrize("text", BAD_MOMENTS)
def test_a_moment_that_cannot_be_read_is_refused_in_one_sentence(text: str) -> None:
    """It names the text, has a hint, and exits with 2; a time that comes twice or never is asked for in UTC."""
    with pytest.raises(UsageError) as caught:
        parse_moment(text, NOW)
    sentence = str(caught.value)
    assert BAD_MOMENTS[text] in sentence
    assert repr(text) in sentence
    assert "\n" not in sentence
    assert caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["2026-11-01 00:59 America/New_York", "2026-11-01 02:00 America/New_York"])
def test_the_minutes_next_to_a_repeated_hour_are_read(text: str) -> None:
    assert parse_moment(text, NOW).tzinfo is UTC


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=40)
    | st.from_regex(r"(today|yesterday|\d{4}-\d\d-\d\d)[ T]\d{1,2}:\d\d [A-Z][a-z]+(/[A-Z][a-z]+)?", fullmatch=True)
    | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", fullmatch=True)
)
def test_any_text_is_a_moment_in_utc_or_refused(text: str) -> None:
    try:
        assert parse_moment(text, NOW).tzinfo is UTC
    except UsageError as error:
        assert error.hint


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("6h", 21600), ("2d", 172800), ("1.5h", 5400), ("30s", 30), (" 5 MIN ", 300), ("0h", 0)],
)
def test_a_span_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_span(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "6", "h", "-6h", "6 weeks", "6h30m", "1e3h", "inf h", "9" * 20 + "d", "9" * 400 + "h"]
)
def test_a_span_that_is_none_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_span(text)
    assert repr(text) in str(caught.value)
    assert "90m, 6h or 2d" in caught.value.hint


# ---- the window -----------------------------------------------------------------------------------------------------


def window(start: datetime = NOW - 3 * HOUR, end: datetime = NOW - HOUR, *accounts: str, **more: Any) -> OutageWindow:
    return make_window(start, end, accounts, ("acme", "zoo"), now=NOW, most_hours=72, **more)


FIRST = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))
"""A moment that a form can name, and that is before the first one in UTC."""


@pytest.mark.requirement("R001.1")
@pytest.mark.parametrize(
    ("start", "end", "accounts", "words"),
    [
        (NOW - HOUR, NOW - 2 * HOUR, (), "ends before it starts"),
        (NOW - HOUR, NOW - HOUR, (), "ends before it starts"),
        (NOW - HOUR, NOW + HOUR, (), "in the future"),
        (NOW + HOUR, NOW + 2 * HOUR, (), "in the future"),
        (NOW - timedelta(hours=72, seconds=1), NOW, (), r"longer than policy allows \(72 hours\)"),
        (NOW - 2 * HOUR, NOW - HOUR, ("nobody",), "no account 'nobody'"),
        (NOW - 2 * HOUR, NOW - HOUR, ("acme", "ACME"), "no account 'ACME'"),
        (FIRST, FIRST + HOUR, (), "no time that can be read"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused_in_one_sentence(
    start: datetime, end: datetime, accounts: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        window(start, end, *accounts)
    assert caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.requirement("R001.1")
def test_a_window_of_exactly_the_longest_time_that_ends_now_is_taken() -> None:
    """This is what --last 72h asks for."""
    made = window(NOW - parse_span("72h"), NOW)
    assert (made.started_at, made.ended_at) == (NOW - timedelta(hours=72), NOW)


def test_without_accounts_a_window_concerns_every_known_one_by_name() -> None:
    assert window().accounts == ("acme", "zoo")
    assert window(NOW - 2 * HOUR, NOW - HOUR, "zoo").accounts == ("zoo",)


def test_an_account_that_is_named_twice_is_one_account() -> None:
    """Read twice, its items and recipients would stand in the plan twice."""
    assert window(NOW - 2 * HOUR, NOW - HOUR, "zoo", "acme", "zoo").accounts == ("zoo", "acme")


@pytest.mark.parametrize("name", ["two\nlines", "a\x1b[31mred", "x" * 201])
def test_the_name_of_an_incident_is_one_short_line(name: str) -> None:
    """It becomes the summary of tickets and the title of pages."""
    with pytest.raises(UsageError, match="one line"):
        window(incident=name)
    assert window(incident="Störung 🎭 <b>").incident_ref == "Störung 🎭 <b>"


def test_everyone_who_names_the_same_window_works_on_the_same_incident() -> None:
    """The name comes from start and end alone, in whatever zone they were written; a given name stands."""
    start = parse_moment("2026-11-20 20:00 America/New_York", NOW)
    same = window(start, NOW - HOUR, "acme").incident_ref
    assert same == window(parse_moment("2026-11-21T01:00:00Z", NOW), NOW - HOUR).incident_ref
    assert same != window(start + timedelta(seconds=1), NOW - HOUR).incident_ref
    assert window(incident="INC-9").incident_ref == "INC-9"
