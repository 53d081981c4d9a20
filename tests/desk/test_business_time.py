"""Business time at its edges, by worked examples with the answers written down."""

from datetime import UTC, date, datetime, timedelta

import pytest

from recovery.desk.business_time import Calendar, Timetable
from recovery.desk.sla import Milestone, Pause, SlaClock, Target, due_at, milestones, reached, read, used
from recovery.errors import ConfigError

WEEK = (((540, 1020),),) * 5 + ((), ())
LONG_WEEK = (((480, 1020),),) * 5 + ((), ())
DENVER = Calendar("America/Denver", WEEK, "US", "CO")
LONG_DENVER = Calendar("America/Denver", LONG_WEEK, "US", "CO")
ALWAYS = datetime.min.replace(tzinfo=UTC)


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def table(calendar):
    return Timetable(((ALWAYS, calendar),))


def clock(start, target, calendar=DENVER, **more):
    return SlaClock("first response", "r1", start, Target.parse(target), table(calendar), **more)


# Denver is UTC-6 in summer and UTC-7 in winter.
@pytest.mark.requirement("R003.33", "R003.36", "R003.39", "R003.45")
@pytest.mark.parametrize(
    ("case", "calendar", "start", "target", "due"),
    [
        ("at opening", DENVER, utc(2026, 7, 6, 15), "8 business hours", utc(2026, 7, 6, 23)),
        ("at closing", DENVER, utc(2026, 7, 6, 23), "8 business hours", utc(2026, 7, 7, 23)),
        ("at night", DENVER, utc(2026, 7, 7, 5), "8 business hours", utc(2026, 7, 7, 23)),
        ("on Saturday", DENVER, utc(2026, 7, 11, 18), "8 business hours", utc(2026, 7, 13, 23)),
        ("over an observed holiday", LONG_DENVER, utc(2026, 7, 2, 22), "8 business hours", utc(2026, 7, 6, 21)),
        (
            "24 over a weekend, 9-hour days",
            LONG_DENVER,
            utc(2026, 5, 15, 22, 30),
            "24 business hours",
            utc(2026, 5, 20, 19, 30),
        ),
        ("24 are three 8-hour days", DENVER, utc(2026, 5, 18, 15), "24 business hours", utc(2026, 5, 20, 23)),
        ("clocks go forward in between", DENVER, utc(2026, 3, 6, 23), "8 business hours", utc(2026, 3, 9, 22)),
        ("clocks go back in between", DENVER, utc(2026, 10, 30, 22), "8 business hours", utc(2026, 11, 2, 23)),
    ],
)
def test_business_hours_due_times(case, calendar, start, target, due):
    """A start at opening, closing, night, weekend, holiday or clock change gives the due time worked out by hand."""
    assert due_at(clock(start, target, calendar)) == due, case


@pytest.mark.requirement("R003.5", "R003.44")
@pytest.mark.parametrize(
    ("case", "start", "due"),
    [
        ("Monday 11:00 to Tuesday 11:00", utc(2026, 7, 6, 17), utc(2026, 7, 7, 17)),
        ("Friday 11:00 to Monday 11:00", utc(2026, 7, 10, 17), utc(2026, 7, 13, 17)),
        ("Thursday before the observed holiday to Monday", utc(2026, 7, 2, 17), utc(2026, 7, 6, 17)),
        ("Saturday counts as Monday's opening", utc(2026, 7, 11, 17), utc(2026, 7, 14, 15)),
        ("same local time over the clock change, not 24 hours", utc(2026, 10, 30, 17), utc(2026, 11, 2, 18)),
    ],
)
def test_one_business_day_is_the_same_local_time_on_the_next_business_day(case, start, due):
    """A business day is a step of the calendar by date."""
    assert due_at(clock(start, "1 business day")) == due, case


@pytest.mark.requirement("R003.1", "R003.28", "R003.29", "R003.44", "R003.45")
def test_round_the_clock_hours_are_real_hours():
    """30 minutes and 24 hours run at night, on holidays and through a clock change."""
    night = utc(2026, 7, 4, 9)
    assert due_at(clock(night, "30 minutes")) == night + timedelta(minutes=30)
    before_change = utc(2026, 10, 31, 18)
    assert due_at(clock(before_change, "24 hours")) == utc(2026, 11, 1, 18)


@pytest.mark.requirement("R003.44")
def test_the_three_day_like_units_differ_and_say_so():
    """24 hours, 24 business hours and one business day are three due times and three texts."""
    start = utc(2026, 7, 10, 17)
    faces = {t: due_at(clock(start, t)) for t in ("24 hours", "24 business hours", "1 business day")}
    assert faces == {
        "24 hours": utc(2026, 7, 11, 17),
        "24 business hours": utc(2026, 7, 15, 17),
        "1 business day": utc(2026, 7, 13, 17),
    }
    assert [str(read(clock(start, t), start)) for t in faces] == [
        "running: 24:00 of time left (24 hours)",
        "running: 24:00 of business time left (24 business hours)",
        "running: 8:00 of business time left (1 business day)",
    ]


@pytest.mark.requirement("R003.26")
def test_the_general_promise_counts_whole_business_days_and_never_breaches():
    """24 hours on business days: from Friday 11:00 to Monday 11:00; running out is a warning, not a breach."""
    soft = clock(utc(2026, 7, 10, 17), "24 hours on business days", soft=True)
    assert due_at(soft) == utc(2026, 7, 13, 17)
    assert due_at(clock(utc(2026, 7, 11, 17), "24 hours on business days")) == utc(2026, 7, 14, 15)
    assert [m.breach for m in milestones(soft, (0.5,))] == [False, False]


@pytest.mark.requirement("R003.45")
def test_a_calendar_edited_mid_clock_keeps_used_time_and_counts_the_rest_anew():
    """Two hours used, then the office moves to Berlin: the other six are counted there."""
    berlin = Calendar("Europe/Berlin", WEEK, "DE", "BE")
    edited = Timetable(((ALWAYS, DENVER), (utc(2026, 7, 6, 17), berlin)))
    moved = SlaClock("first response", "r1", utc(2026, 7, 6, 15), Target.parse("8 business hours"), edited)
    assert due_at(moved) == utc(2026, 7, 7, 13)  # 9:00 in Berlin is 7:00 UTC, plus six hours
    assert used(moved, utc(2026, 7, 7, 8)) == timedelta(hours=3)


@pytest.mark.requirement("R003.47")
def test_a_pause_counts_only_business_time_and_an_open_one_has_no_due_time():
    """A hold over the weekend adds nothing; one that still holds shows "paused"."""
    start = utc(2026, 7, 10, 15)  # Friday 9:00
    weekend = Pause(utc(2026, 7, 10, 23), utc(2026, 7, 13, 15))
    assert due_at(clock(start, "8 business hours", pauses=(weekend,))) == utc(2026, 7, 10, 23)
    friday = Pause(utc(2026, 7, 10, 17), utc(2026, 7, 10, 19))
    assert due_at(clock(start, "8 business hours", pauses=(friday,))) == utc(2026, 7, 13, 17)
    held = clock(start, "8 business hours", pauses=(Pause(utc(2026, 7, 10, 17)),))
    assert read(held, utc(2026, 7, 20)).state == "paused"
    assert read(held, utc(2026, 7, 20)).used == timedelta(hours=2)


@pytest.mark.requirement("R003.47")
def test_warnings_come_before_the_breach_and_none_after_the_stop():
    """Milestones at half, four fifths and the end; a clock stopped in between reaches only the first ones."""
    start = utc(2026, 7, 6, 15)
    running = clock(start, "30 minutes")
    assert [m.at - start for m in milestones(running, (0.5, 0.8))] == [timedelta(minutes=m) for m in (15, 24, 30)]
    assert [m.breach for m in reached(running, (0.5, 0.8), start + timedelta(minutes=30))] == [False, False, True]
    stopped = clock(start, "30 minutes", stopped_at=start + timedelta(minutes=20))
    assert reached(stopped, (0.5, 0.8), start + timedelta(hours=5)) == (
        Milestone(stopped, 0.5, start + timedelta(minutes=15)),
    )


def test_a_clock_shows_met_missed_and_overdue():
    """Stopped in time is met, stopped late is missed, running late is overdue by business time."""
    start = utc(2026, 7, 6, 15)
    assert read(clock(start, "8 business hours", stopped_at=utc(2026, 7, 6, 23)), utc(2026, 8, 1)).state == "met"
    assert read(clock(start, "8 business hours", stopped_at=utc(2026, 7, 7, 16)), utc(2026, 8, 1)).state == "missed"
    late = read(clock(start, "8 business hours"), utc(2026, 7, 7, 16))
    assert (late.state, late.left) == ("overdue", -timedelta(hours=1))


@pytest.mark.requirement("R003.27")
def test_own_dates_win_over_holidays_and_week_days():
    """An own date may close a working day or open a holiday."""
    own = ((date(2026, 7, 3), ((600, 660),)), (date(2026, 7, 6), ()))
    shut = Calendar("America/Denver", WEEK, "US", "CO", own)
    assert table(shut).between(utc(2026, 7, 3), utc(2026, 7, 7, 6)) == timedelta(hours=1)


def test_a_calendar_that_never_opens_is_an_error():
    """Endless searching is refused with the zone named."""
    never = Calendar("Asia/Tokyo", ((),) * 7, "none")
    with pytest.raises(ConfigError, match="Asia/Tokyo never opens"):
        table(never).add(utc(2026, 1, 1), timedelta(hours=1))


@pytest.mark.parametrize("text", ["8 business hour on business days", "0 hours", "eight hours", "8 weeks", "8.5 hours"])
def test_a_target_that_cannot_be_read_is_refused(text):
    """Only whole amounts of known units are targets."""
    with pytest.raises(ConfigError, match="is not a target"):
        Target.parse(text)
