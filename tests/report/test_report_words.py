"""Times in two zones, and remote text that is harmless to look at."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.report.words import both_times, fact_changes, length_words, local_time, shown


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_nothing_that_steers_a_terminal_or_reorders_text_is_ever_shown(text: str) -> None:
    assert not {unicodedata.category(c) for c in shown(text)} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Gala \u202egpj.exe", "Gala <U+202E>gpj.exe"),
        ("\x1b[31mred", "<U+001B>[31mred"),
        ("a\nb\u2028c\u200b", "a<U+000A>b<U+2028>c<U+200B>"),
        ("Größe 東京 🎭", "Größe 東京 🎭"),
    ],
)
def test_control_and_bidi_characters_become_codes_and_letters_stay(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_a_long_name_is_cut_with_the_rest_counted() -> None:
    assert shown("N" * 900, 300) == "N" * 300 + "... (600 more characters)"


def test_ids_are_never_cut_by_default() -> None:
    assert shown("7" * 5000) == "7" * 5000


@pytest.mark.parametrize(
    ("moment", "zone", "expected"),
    [
        (datetime(2026, 3, 8, 6, 30, tzinfo=UTC), "America/New_York", "2026-03-08 01:30 EST (06:30 UTC)"),
        (datetime(2026, 3, 8, 7, 0, tzinfo=UTC), "America/New_York", "2026-03-08 03:00 EDT (07:00 UTC)"),
        (datetime(2026, 3, 8, 6, 30, 5, tzinfo=UTC), "Asia/Kolkata", "2026-03-08 12:00:05 IST (06:30:05 UTC)"),
        (datetime(2026, 3, 8, 1, 0, tzinfo=UTC), "America/Sao_Paulo", "2026-03-07 22:00 UTC-03 (2026-03-08 01:00 UTC)"),
        (datetime(2026, 3, 8, 1, 0, tzinfo=UTC), "UTC", "2026-03-08 01:00 UTC"),
        (datetime(2026, 3, 8, 1, 0, tzinfo=UTC), "Not/AZone", "2026-03-08 01:00 UTC"),
        (datetime(2026, 3, 8, 1, 0, tzinfo=UTC), "../../etc/passwd", "2026-03-08 01:00 UTC"),
        (None, "UTC", "not yet"),
    ],
)
def test_a_time_is_told_in_the_account_s_zone_and_in_utc(moment: datetime | None, zone: str, expected: str) -> None:
    assert both_times(moment, zone) == expected


def test_the_hour_that_happens_twice_is_told_apart_by_its_zone_name() -> None:
    hours = [datetime(2026, 11, 1, hour, 30, tzinfo=UTC) for hour in (5, 6)]
    assert [local_time(h, "America/New_York")[11:] for h in hours] == ["01:30 EDT", "01:30 EST"]


def test_facts_name_what_changed_and_what_was_not_read() -> None:
    changes = fact_changes({"status": "scheduled", "sent": 0}, {"status": "completed", "sent": 0, "tags": ["a", "b"]})
    assert changes == [
        ("status", "scheduled", "completed", True),
        ("sent", "0", "0", False),
        ("tags", "not read", "a, b", False),
    ]


def test_a_duration_is_told_in_hours_and_minutes() -> None:
    assert [length_words(s) for s in (20, 9000, 90000)] == ["under a minute", "2 h 30 min", "1 d 1 h"]
