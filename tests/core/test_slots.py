"""Due times against a minute-by-minute walk along the wall clock, across both clock changes of several zones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recovery.errors import BadReply
from recovery.model import Kind, OutageWindow, Schedule, Scheduled, System
from recovery.slots import due, moments

from .minute_oracle import Cron, cron_due, daily_due, real_minute

CHANGES = {
    "America/New_York": ((2026, 3, 8, 7), (2026, 11, 1, 6)),
    "Europe/London": ((2026, 3, 29, 1), (2026, 10, 25, 1)),
    "Australia/Lord_Howe": ((2026, 4, 4, 15), (2026, 10, 3, 15)),
    "Australia/Sydney": ((2026, 4, 4, 16), (2026, 10, 3, 16)),
    "America/Santiago": ((2026, 4, 5, 3), (2026, 9, 6, 4)),
    "Antarctica/Troll": ((2026, 3, 29, 1), (2026, 10, 25, 1)),
    "America/Phoenix": ((2026, 3, 8, 9), (2026, 11, 1, 9)),
}
QUICK = settings(max_examples=40, deadline=None)


def a_thing(kind: str, value: str, zone: str = "UTC", anchor: datetime | None = None, **changes: object) -> Scheduled:
    plain = Scheduled("acme", System.DASHBOARD, Kind.IMPORT, "7", "Import 7", Schedule(kind, value, anchor, zone))
    return replace(plain, **changes)  # type: ignore[arg-type]


# The one zone whose clock changes by half an hour; cron lines are not expanded over that.
HALF_HOUR = "Australia/Lord_Howe"


@st.composite
def windows(draw: st.DrawFn, *without: str) -> tuple[str, datetime, datetime]:
    """A zone and a window that lies about one of its clock changes."""
    zone = draw(st.sampled_from(sorted(set(CHANGES) - set(without))))
    change = datetime(*draw(st.sampled_from(CHANGES[zone])), tzinfo=UTC)
    start = change + timedelta(minutes=draw(st.integers(-20 * 60, 8 * 60)))
    return zone, start, start + timedelta(minutes=draw(st.integers(1, 26 * 60)))


def some(low: int, high: int, most: int = 3) -> st.SearchStrategy[frozenset[int]]:
    return st.frozensets(st.integers(low, high), min_size=1, max_size=most)


CRONS = st.builds(
    Cron,
    minutes=some(0, 59),
    hours=st.none() | some(0, 3) | some(0, 23),
    weekdays=st.none() | some(0, 6, 6),
    every=st.sampled_from((0, 0, 0, 7, 15, 30)),
)


SKIPPED_MIDNIGHT = datetime(2026, 9, 6, 4, tzinfo=UTC)


@pytest.mark.requirement("R001.2")
@QUICK
@example(
    Cron(frozenset({0}), frozenset({0}), frozenset({0}), every=7),
    ("America/Santiago", SKIPPED_MIDNIGHT, SKIPPED_MIDNIGHT + timedelta(hours=1)),
)
@given(CRONS, windows(HALF_HOUR))
def test_cron_lines_are_due_when_the_wall_clock_says_so(cron: Cron, span: tuple[str, datetime, datetime]) -> None:
    zone, start, end = span
    assert moments(a_thing("cron", cron.line, zone), start, end) == cron_due(cron, start, end, zone)


@QUICK
@given(st.times().map(lambda t: t.replace(second=0, microsecond=0)), st.integers(1, 4), windows(), st.integers(0, 9))
def test_daily_rules_and_calendar_durations_follow_the_wall_clock(
    clock: object, step: int, span: tuple[str, datetime, datetime], days_before: int
) -> None:
    """FREQ=DAILY and P1D with the same anchor are due at the same moments, and at those that the walk finds."""
    zone, start, end = span
    first = (start - timedelta(days=days_before)).date()
    anchor = real_minute(datetime.combine(first, clock), zone)  # type: ignore[arg-type] # a time
    at_anchor = anchor.astimezone(ZoneInfo(zone)).time()
    expected = tuple(m for m in daily_due(at_anchor, first, step, start, end, zone) if m >= anchor)
    rule = a_thing("rrule", f"FREQ=DAILY;INTERVAL={step}", zone, anchor)
    duration = a_thing("interval", f"P{step}D", zone, anchor)
    assert moments(rule, start, end) == expected
    assert moments(duration, start, end) == expected


@QUICK
@given(st.integers(1, 600), st.integers(-5000, 200), windows())
def test_exact_durations_ignore_the_wall_clock(step: int, offset: int, span: tuple[str, datetime, datetime]) -> None:
    """PT durations are counted from the anchor in real minutes, and never before it."""
    zone, start, end = span
    anchor = start + timedelta(minutes=offset)
    expected = tuple(
        anchor + timedelta(minutes=n * step)
        for n in range(0, (5000 + 26 * 60) // step + 1)
        if start <= anchor + timedelta(minutes=n * step) < end
    )
    assert moments(a_thing("interval", f"PT{step}M", zone, anchor), start, end) == expected


@QUICK
@given(CRONS, windows(HALF_HOUR), st.integers(1, 26 * 60))
def test_two_windows_that_meet_hold_what_one_window_holds(
    cron: Cron, span: tuple[str, datetime, datetime], cut: int
) -> None:
    """Half-open windows: no slot is lost or counted twice at the seam."""
    zone, start, end = span
    middle = min(start + timedelta(minutes=cut), end)
    thing = a_thing("cron", cron.line, zone)
    assert moments(thing, start, middle) + moments(thing, middle, end) == moments(thing, start, end)


def test_a_cron_line_over_a_half_hour_change_is_refused_and_read_again_the_day_after() -> None:
    """The expansion would lose minutes there, so its slots are uncertain rather than too few."""
    change, hour = datetime(2026, 4, 4, 15, tzinfo=UTC), timedelta(hours=1)
    line = Cron(hours=frozenset({4}), every=7)
    thing = a_thing("cron", line.line, HALF_HOUR)
    for start in (change - hour, change, change + hour / 2):
        with pytest.raises(BadReply, match="part of an hour"):
            moments(thing, start, change + 24 * hour)
    later = change + 2 * hour, change + 30 * hour
    assert moments(thing, *later) == cron_due(line, *later, HALF_HOUR)


def test_a_slot_at_the_start_of_the_window_is_due_and_one_at_its_end_is_not() -> None:
    thing = a_thing("once", "2026-06-03T14:00:00Z")
    at = datetime(2026, 6, 3, 14, tzinfo=UTC)
    hour = timedelta(hours=1)
    assert moments(thing, at, at + hour) == (at,)
    assert moments(thing, at - hour, at) == ()


def test_a_single_time_without_a_zone_is_local_to_the_account() -> None:
    start = datetime(2026, 6, 3, tzinfo=UTC)
    thing = a_thing("once", "2026-06-03T10:00:00", "America/New_York")
    assert moments(thing, start, start + timedelta(days=1)) == (datetime(2026, 6, 3, 14, tzinfo=UTC),)


def test_a_single_time_may_stand_in_the_anchor() -> None:
    at = datetime(2026, 6, 3, 14, tzinfo=UTC)
    assert moments(a_thing("once", "", anchor=at), at, at + timedelta(minutes=1)) == (at,)


@pytest.mark.parametrize(
    ("changes", "is_due"),
    [
        ({}, True),
        ({"active": False}, False),
        ({"paused_at": datetime(2026, 6, 3, 13, 59, tzinfo=UTC)}, False),
        ({"paused_at": datetime(2026, 6, 3, 14, 0, tzinfo=UTC)}, False),
        ({"paused_at": datetime(2026, 6, 3, 14, 1, tzinfo=UTC)}, True),
        ({"created_at": datetime(2026, 6, 3, 14, 1, tzinfo=UTC)}, False),
        ({"created_at": datetime(2026, 6, 3, 14, 0, tzinfo=UTC)}, True),
    ],
)
def test_only_what_was_live_at_its_time_is_due(changes: dict[str, object], is_due: bool) -> None:
    """Inactive things, things paused by then and things made later are not due."""
    at = datetime(2026, 6, 3, 14, tzinfo=UTC)
    thing = a_thing("cron", "0 14 * * *", **changes)
    assert bool(moments(thing, at, at + timedelta(hours=1))) is is_due


def test_a_manual_definition_is_never_due() -> None:
    start = datetime(2026, 6, 3, tzinfo=UTC)
    assert moments(a_thing("manual", ""), start, start + timedelta(days=30)) == ()


@pytest.mark.parametrize("months", [1, 2, 3])
def test_a_month_s_end_does_not_drift(months: int) -> None:
    """31 January plus two months is 31 March, not 28: each step is counted from the anchor."""
    anchor = datetime(2026, 1, 31, 12, tzinfo=UTC)
    found = moments(a_thing("interval", f"P{months}M", anchor=anchor), anchor, datetime(2027, 1, 1, tzinfo=UTC))
    last_days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    assert [(m.month, m.day) for m in found] == [(n + 1, last_days[n]) for n in range(0, 12, months)]


@pytest.mark.parametrize("until", ["20260604T140000Z", "20260604T100000"])
def test_a_rule_ends_at_its_until_in_utc_or_local_time(until: str) -> None:
    """RFC 5545 writes UNTIL in UTC where the rule has a zone; some systems write it as local time."""
    anchor = datetime(2026, 6, 1, 14, tzinfo=UTC)
    thing = a_thing("rrule", f"RRULE:FREQ=DAILY;UNTIL={until}", "America/New_York", anchor)
    found = moments(thing, anchor, anchor + timedelta(days=10))
    assert found == tuple(anchor + timedelta(days=n) for n in range(4))


UNREADABLE = {
    "a type nobody knows": ("lunar", "every full moon", "UTC"),
    "a cron line with a wrong field": ("cron", "61 * * * *", "UTC"),
    "a cron line that is too short": ("cron", "0 14", "UTC"),
    "a day that never comes": ("cron", "0 0 31 2 *", "UTC"),
    "a rule without a frequency": ("rrule", "INTERVAL=2", "UTC"),
    "a rule without a start": ("rrule", "FREQ=DAILY", "UTC"),
    "words instead of a rule": ("rrule", "every morning", "UTC"),
    "an interval without an anchor": ("interval", "PT1H", "UTC"),
    "no date-time at all": ("once", "", "UTC"),
    "a date that does not exist": ("once", "2026-02-30T10:00:00", "UTC"),
    "a zone nobody knows": ("cron", "0 14 * * *", "Mars/Olympus"),
    "a folder of zones": ("cron", "0 14 * * *", "America"),
    "a path as a zone": ("cron", "0 14 * * *", "/etc/passwd"),
}


@pytest.mark.requirement("R001.7")
@pytest.mark.parametrize("name", UNREADABLE)
def test_a_schedule_that_cannot_be_read_is_one_sentence_that_names_the_thing(name: str) -> None:
    kind, value, zone = UNREADABLE[name]
    start = datetime(2026, 6, 3, tzinfo=UTC)
    with pytest.raises(BadReply) as caught:
        moments(a_thing(kind, value, zone), start, start + timedelta(days=1))
    sentence = str(caught.value)
    assert "dashboard (acme)" in sentence
    assert "integrated_import 7" in sentence
    assert "\n" not in sentence
    assert "uncertain" in caught.value.hint


@pytest.mark.parametrize("value", ["P1DT1H", "PT0S", "P", "1 day", "P1.5D"])
def test_a_duration_is_calendar_or_exact_and_not_zero(value: str) -> None:
    at = datetime(2026, 6, 3, tzinfo=UTC)
    with pytest.raises(BadReply):
        moments(a_thing("interval", value, anchor=at), at, at + timedelta(days=1))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(("once", "cron", "interval")),
    st.text(alphabet="0123456789*/-,PTDHMSYWLZ:+ ", max_size=24),
    st.sampled_from(("UTC", "America", "Europe/London", "", "..")),
)
def test_hostile_schedules_are_read_or_refused_and_nothing_else(kind: str, value: str, zone: str) -> None:
    """A remote's text ends as due times or as a BadReply, never as another exception."""
    at = datetime(2026, 6, 3, tzinfo=UTC)
    try:
        found = moments(a_thing(kind, value, zone, anchor=at), at, at + timedelta(minutes=10))
    except BadReply:
        return
    assert all(at <= m < at + timedelta(minutes=10) for m in found)


@pytest.mark.requirement("R001.1", "R001.2")
def test_slots_are_sorted_and_carry_the_thing_s_name_and_zone() -> None:
    at = datetime(2026, 6, 3, 14, tzinfo=UTC)
    window = OutageWindow(at, at + timedelta(hours=2), ("acme", "zoo"))
    things = [
        a_thing("cron", "30 * * * *", "Asia/Kolkata", account="zoo"),
        a_thing("once", "2026-06-03T15:00:00Z", object_ref="9"),
        a_thing("once", "2026-06-03T15:00:00Z"),
    ]
    slots = due(window, things)
    assert [s.key for s in slots] == [
        "acme/dashboard/integrated_import/7@2026-06-03T15:00:00Z",
        "acme/dashboard/integrated_import/9@2026-06-03T15:00:00Z",
        "zoo/dashboard/integrated_import/7@2026-06-03T14:00:00Z",
        "zoo/dashboard/integrated_import/7@2026-06-03T15:00:00Z",
    ]
    assert slots == due(window, reversed(things))
    assert (slots[-1].name, slots[-1].time_zone) == ("Import 7", "Asia/Kolkata")


def test_a_rule_that_names_its_days_hours_and_minutes_needs_no_anchor() -> None:
    rule = a_thing("rrule", "FREQ=WEEKLY;BYDAY=SU;BYHOUR=12;BYMINUTE=15", "Asia/Kolkata")
    start = datetime(2027, 3, 13, tzinfo=UTC)
    assert moments(rule, start, start + timedelta(days=9)) == (
        datetime(2027, 3, 14, 6, 45, tzinfo=UTC),
        datetime(2027, 3, 21, 6, 45, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "value",
    [
        "FREQ=WEEKLY;BYDAY=SU",
        "FREQ=WEEKLY;BYHOUR=9;BYMINUTE=0",
        "FREQ=DAILY;INTERVAL=2;BYHOUR=9;BYMINUTE=0",
        "FREQ=DAILY;COUNT=3;BYHOUR=9;BYMINUTE=0",
    ],
)
def test_a_rule_that_counts_from_an_anchor_it_does_not_name_is_uncertain(value: str) -> None:
    start = datetime(2027, 3, 13, tzinfo=UTC)
    with pytest.raises(BadReply, match="anchor"):
        moments(a_thing("rrule", value), start, start + timedelta(days=1))


def test_what_was_switched_off_after_its_slot_was_due_all_the_same() -> None:
    at = datetime(2027, 3, 14, 5, tzinfo=UTC)
    window = (at - timedelta(hours=1), at + timedelta(hours=1))
    off = a_thing("once", at.isoformat(), active=False, paused_at=at + timedelta(minutes=1))
    assert moments(off, *window) == (at,)
    assert moments(replace(off, paused_at=at), *window) == ()
    assert moments(replace(off, paused_at=None), *window) == ()


def test_a_zone_that_nobody_knows_is_named_even_where_the_time_itself_is_clear() -> None:
    at = datetime(2027, 3, 14, 5, tzinfo=UTC)
    with pytest.raises(BadReply, match="Mars/Olympus"):
        moments(a_thing("once", at.isoformat(), "Mars/Olympus"), at, at + timedelta(hours=1))
