"""Business time against two implementations that share no code with it: a table of minutes, and businesstimedelta.

3,000 random cases in a usual run; `ALLCLEAR_PROVE=1` makes it 100,000 over every place and more than a year.
"""

import os
import random
from bisect import bisect_left
from datetime import UTC, date, datetime, time, timedelta

import businesstimedelta
import holidays
import pytest
import pytz

from recovery.desk.business_time import Calendar, Timetable
from recovery.desk.sla import Pause, SlaClock, Target, Unit, due_at, used

from .minute_table import MinuteTable

FULL = bool(os.environ.get("ALLCLEAR_PROVE"))
CASES = 100_000 if FULL else 3_000
HORIZON_DAYS = 420 if FULL else 140
NINE_TO_FIVE = [[(540, 1020)]] * 5 + [[], []]
SPLIT = [[(480, 720), (780, 1050)]] * 5 + [[(540, 780)], []]
ROUND_THE_CLOCK = [[(0, 1440)]] * 7
NIGHTS = [[(0, 360), (1320, 1440)]] * 7
AROUND_THE_CHANGE = [[(60, 150)]] * 7
INSIDE_THE_CHANGE = [[(30, 75), (90, 150), (165, 200)]] * 7
LONG = [[(480, 1020)]] * 5 + [[], []]

WINTER_TO_SUMMER = datetime(2026, 1, 20, tzinfo=UTC)
SUMMER_TO_WINTER = datetime(2025, 8, 25, tzinfo=UTC)
# Start of the stretch, zone, week, holidays. Clocks change at 02:00, 01:00, midnight, by half an hour, or not at all.
PLACES = [
    (WINTER_TO_SUMMER, "America/Denver", NINE_TO_FIVE, "US", "CO"),
    (SUMMER_TO_WINTER, "Europe/London", SPLIT, "GB", "ENG"),
    (SUMMER_TO_WINTER, "America/Santiago", ROUND_THE_CLOCK, "CL", ""),
    (WINTER_TO_SUMMER, "America/Denver", INSIDE_THE_CHANGE, "US", "CO"),
    (SUMMER_TO_WINTER, "America/Denver", INSIDE_THE_CHANGE, "US", "CO"),
    (WINTER_TO_SUMMER, "Australia/Lord_Howe", AROUND_THE_CHANGE, "AU", "NSW"),
    (WINTER_TO_SUMMER, "Africa/Cairo", NIGHTS, "EG", ""),
    (SUMMER_TO_WINTER, "Africa/Cairo", NIGHTS, "EG", ""),
    (WINTER_TO_SUMMER, "Asia/Kathmandu", LONG, "none", ""),
    (SUMMER_TO_WINTER, "Europe/Berlin", LONG, "DE", "BE"),
    (WINTER_TO_SUMMER, "America/New_York", NIGHTS, "US", "NY"),
    (SUMMER_TO_WINTER, "Asia/Kolkata", SPLIT, "IN", ""),
    (WINTER_TO_SUMMER, "America/Santiago", ROUND_THE_CLOCK, "CL", ""),
]


def places():
    """Every place with a stretch of time, as the product's timetable and as the oracle's table."""
    rng = random.Random(20260702)
    for origin, zone, week, country, subdivision in PLACES if FULL else PLACES[:6]:
        own = {
            (origin + timedelta(days=rng.randrange(5, HORIZON_DAYS - 5))).date(): hours
            for hours in ([], [(600, 700)], [])
        }
        product = Calendar(
            zone,
            tuple(tuple(day) for day in week),
            country,
            subdivision,
            tuple((day, tuple(hours)) for day, hours in own.items()),
        )
        table = MinuteTable(origin, HORIZON_DAYS, zone, week, country, subdivision, own)
        yield origin, product, table


@pytest.fixture(scope="module")
def estate():
    return list(places())


def random_start(rng, origin, table):
    """Any minute of the first half, or exactly at an opening, at a closing, or one minute beside them."""
    if rng.random() < 0.4:
        day = rng.choice(table.business_days[1 : len(table.business_days) // 2])
        edges = table.days[day][0]
        return table.moment(rng.choice([edges[0], edges[-1] + 1]) + rng.choice([-1, 0, 0, 1]))
    return origin + timedelta(days=3, minutes=rng.randrange((HORIZON_DAYS // 2 - 6) * 1440))


@pytest.mark.requirement("R003.44", "R003.45")
@pytest.mark.timeout(1800)
def test_random_cases_agree_with_a_table_of_minutes(estate):
    """Adding hours, adding days and measuring give what counting minutes gives, in every zone and at every edge."""
    rng = random.Random(CASES)
    for case in range(CASES):
        origin, calendar, table = estate[case % len(estate)]
        timetable = Timetable(((origin, calendar),))
        start = random_start(rng, origin, table)
        minutes = rng.choice([0, 1, rng.randrange(60), 480, 1440, rng.randrange(2400)])
        label = f"case {case}: {calendar.zone} from {start}"
        assert timetable.add(start, timedelta(minutes=minutes)) == table.add(start, minutes), f"{label} + {minutes} min"
        end = start + timedelta(minutes=rng.randrange(-100, 14 * 1440))
        assert timetable.between(start, end) == timedelta(minutes=table.between(start, end)), f"{label} to {end}"
        days = rng.randrange(1, 4)
        assert timetable.add_days(start, days) == table.add_days(start, days), f"{label} + {days} business days"


def outside(minutes, begin, gap_begin, gap_end):
    """The minutes from `begin` on that do not lie in the gap; all three are places in the list."""
    return minutes[begin : max(begin, gap_begin)] + minutes[max(begin, gap_end) :]


@pytest.mark.requirement("R003.45", "R003.47")
@pytest.mark.timeout(1800)
def test_a_calendar_replaced_mid_clock_and_pauses_agree_with_a_table_of_minutes(estate):
    """The used part stays, the rest is counted by the new calendar (other zone, hours, holidays), less the pauses."""
    rng = random.Random(7)
    (origin, first, first_table), (_, second, _) = estate[0], estate[1]
    second_table = MinuteTable(
        origin, HORIZON_DAYS, second.zone, [list(h) for h in second.week], "GB", "ENG", dict(second.own_dates)
    )
    before, after = sorted(first_table.open), sorted(second_table.open)
    for case in range(CASES // 60):
        start = random_start(rng, origin, first_table)
        edited = start + timedelta(minutes=rng.randrange(-2000, 9000))
        held = start + timedelta(minutes=rng.randrange(0, 6000))
        freed = held + timedelta(minutes=rng.randrange(0, 6000))
        cut, begin = first_table.index(edited), first_table.index(start)
        minutes = before[: bisect_left(before, cut)] + after[bisect_left(after, cut) :]
        gap = (bisect_left(minutes, first_table.index(at)) for at in (held, freed))
        counted = outside(minutes, bisect_left(minutes, begin), *gap)
        hours = rng.choice([1, 8, 24])
        clock = SlaClock(
            "first response",
            "r1",
            start,
            Target(hours, Unit.BUSINESS_HOUR),
            Timetable(((origin, first), (edited, second))),
            (Pause(held, freed),),
        )
        assert due_at(clock) == first_table.moment(counted[hours * 60 - 1] + 1), f"case {case}: {start}, {edited}"
        now = start + timedelta(minutes=rng.randrange(20_000))
        spent = bisect_left(counted, first_table.index(now))
        assert used(clock, now) == timedelta(minutes=spent), f"case {case} at {now}"


@pytest.mark.requirement("R003.45")
def test_random_cases_agree_with_businesstimedelta():
    """A published package with another design arrives at the same due times, to the second."""
    rng = random.Random(11)
    zone = pytz.timezone("America/Denver")
    rules = businesstimedelta.Rules(
        [
            businesstimedelta.WorkDayRule(start_time=time(8), end_time=time(17), tz=zone),
            businesstimedelta.HolidayRule(holidays.country_holidays("US", subdiv="CO"), tz=zone),
        ]
    )
    timetable = Timetable(((datetime.min.replace(tzinfo=UTC), Calendar("America/Denver", _week(LONG), "US", "CO")),))
    for _ in range(max(150, CASES // 100)):
        start = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(2 * 365 * 86400))
        hours = rng.choice([1, 8, 24])
        theirs = start + businesstimedelta.BusinessTimeDelta(rules, hours=hours)
        assert timetable.add(start, timedelta(hours=hours)) == theirs, f"{start} + {hours}"


def _week(week):
    return tuple(tuple(day) for day in week)


def test_the_oracle_sees_the_observed_holiday():
    """The table itself closes on Friday 3 July 2026, when Independence Day is observed."""
    table = MinuteTable(datetime(2026, 6, 28, tzinfo=UTC), 12, "America/Denver", NINE_TO_FIVE, "US", "CO")
    assert date(2026, 7, 3) not in table.days
    assert date(2026, 7, 2) in table.days
