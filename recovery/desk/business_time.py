"""Business time: opening hours in a zone, added and measured. Pure; no IO and no "now" of its own.

- Opening hours are half-open: at the closing minute the office is shut, at the opening minute it is open.
- A day is stepped by its date, never by 24 hours. On the days the clocks change, the office is open from the first
  moment at which the wall clock shows the opening time or later until the last moment at which it shows less than the
  closing time.
- When a calendar is replaced while a clock runs, used time stays used and only the rest is counted by the new one.

Zone data come from `zoneinfo`, public holidays from the `holidays` package, never from defaults of ours (R003.27).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from recovery.errors import ConfigError

Hours = tuple[int, int]
"""Opening and closing minute of the day, half-open; 1440 is midnight at the day's end."""

DAY_MINUTES = 1440
SEARCH_DAYS = 1500
NO_HOLIDAYS = "none"
FOREVER = datetime.max.replace(tzinfo=UTC)
DAWN = datetime.min.replace(tzinfo=UTC)


@lru_cache(maxsize=512)
def public_holidays(country: str, subdivision: str, year: int) -> frozenset[date]:
    """Public holidays of the year, observed days included; `country` is an ISO 3166 code or "none"."""
    if country == NO_HOLIDAYS:
        return frozenset()
    import holidays

    try:
        days = holidays.country_holidays(country, subdiv=subdivision or None, years=year)
    except NotImplementedError as error:
        raise ConfigError(f"no holiday calendar is known for {country} {subdivision}".rstrip() + ".") from error
    return frozenset(days.keys())


@lru_cache(maxsize=512)
def is_zone(name: str) -> bool:
    """Whether this names an IANA zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones, such as America
        return False
    return True


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of open time in UTC, half-open, with the local day and zone it belongs to."""

    opens_at: datetime
    closes_at: datetime
    day: date
    zone: str


@dataclass(frozen=True, slots=True)
class Calendar:
    """Weekly hours (Monday first) in one IANA zone, public holidays, and own dates with their own hours (or none)."""

    zone: str
    week: tuple[tuple[Hours, ...], ...]
    country: str
    subdivision: str = ""
    own_dates: tuple[tuple[date, tuple[Hours, ...]], ...] = ()

    def hours_on(self, day: date) -> tuple[Hours, ...]:
        """The hours of this local date; an own date wins over a holiday, a holiday over the week."""
        for own, hours in self.own_dates:
            if own == day:
                return hours
        if day in public_holidays(self.country, self.subdivision, day.year):
            return ()
        return self.week[day.weekday()]

    def spans_on(self, day: date, *, whole_day: bool = False) -> Iterator[Span]:
        """Open stretches of this local date in UTC; with `whole_day` an open day counts from midnight to midnight."""
        hours = self.hours_on(day)
        if whole_day and hours:
            hours = ((0, DAY_MINUTES),)
        counted_to = DAWN
        for opening, closing in hours:
            # In the hour that happens twice a first stretch may still be open when a second one opens.
            opens_at = max(_moment(self.zone, day, opening, last=False), counted_to)
            closes_at = _moment(self.zone, day, closing, last=True)
            if opens_at < closes_at:
                counted_to = closes_at
                yield Span(opens_at, closes_at, day, self.zone)


@dataclass(frozen=True, slots=True)
class Timetable:
    """Calendars one after another: each holds from its moment (UTC) until the next one's."""

    versions: tuple[tuple[datetime, Calendar], ...]

    def spans(self, start: datetime, *, whole_day: bool = False) -> Iterator[Span]:
        """Open stretches from `start` on, in order, without end; ConfigError when nothing opens for four years."""
        moments = [DAWN, *(at for at, _ in self.versions[1:]), FOREVER]
        for (since, until), (_, calendar) in zip(pairwise(moments), self.versions, strict=True):
            if until <= start:
                continue
            yield from _spans_within(calendar, max(since, start), until, whole_day)

    def between(self, start: datetime, end: datetime) -> timedelta:
        """Open time in [start, end); zero when `end` is not after `start`."""
        total = timedelta()
        if end <= start:
            return total
        for span in self.spans(start):
            if span.opens_at >= end:
                return total
            total += min(span.closes_at, end) - span.opens_at
        return total

    def add(self, start: datetime, amount: timedelta) -> datetime:
        """The moment by which `amount` of open time has passed since `start`; a closing time counts as that moment."""
        return spend(((s.opens_at, s.closes_at) for s in self.spans(start)), amount)

    def add_days(self, start: datetime, days: int) -> datetime:
        """The same local time `days` business days later, brought into that day's hours.

        A start outside opening hours counts as the next opening.
        """
        spans = self.spans(start)
        span = next(spans)
        wall = span.opens_at.astimezone(ZoneInfo(span.zone)).time()
        seen = 0
        day = span.day
        while seen < days:
            span = next(spans)
            if span.day != day:
                seen, day = seen + 1, span.day
        due = _resolve(span.zone, datetime.combine(day, wall), last=False)
        latest = span.closes_at
        for later in spans:
            if later.day != day:
                break
            latest = later.closes_at
        return min(max(due, span.opens_at), latest)


def _spans_within(calendar: Calendar, start: datetime, until: datetime, whole_day: bool) -> Iterator[Span]:
    """Stretches of one calendar clipped to [start, until)."""
    zone = ZoneInfo(calendar.zone)
    day = start.astimezone(zone).date() - timedelta(days=1)
    last_day = date.max if until == FOREVER else until.astimezone(zone).date()
    quiet_days = 0
    while quiet_days < SEARCH_DAYS:
        if day > last_day:
            return
        quiet_days += 1
        for span in calendar.spans_on(day, whole_day=whole_day):
            if span.opens_at >= until:
                return
            if span.closes_at > start:
                quiet_days = 0
                yield Span(max(span.opens_at, start), min(span.closes_at, until), span.day, span.zone)
        day += timedelta(days=1)
    raise ConfigError(f"the business calendar in {calendar.zone} never opens: give it weekly hours.")


def _moment(zone: str, day: date, minute: int, *, last: bool) -> datetime:
    if minute == DAY_MINUTES:
        return _resolve(zone, datetime.combine(day + timedelta(days=1), time()), last=False)
    return _resolve(zone, datetime.combine(day, time(minute // 60, minute % 60)), last=last)


def _resolve(zone: str, wall: datetime, *, last: bool) -> datetime:
    """UTC moment of a wall time: the first or last of two, and the moment of the jump when there is none."""
    place = ZoneInfo(zone)
    moment = wall.replace(tzinfo=place, fold=int(last)).astimezone(UTC)
    if moment.astimezone(place).replace(tzinfo=None) == wall:
        return moment
    early, late = (wall.replace(tzinfo=place, fold=fold).astimezone(UTC) for fold in (1, 0))
    after = late.astimezone(place).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = early + timedelta(seconds=int((late - early).total_seconds()) // 2)
        if middle.astimezone(place).utcoffset() == after:
            late = middle
        else:
            early = middle
    return late


def spend(stretches: Iterator[tuple[datetime, datetime]], amount: timedelta) -> datetime:
    """The moment at which `amount` of the stretches is used up; FOREVER when they never suffice."""
    for opens_at, closes_at in stretches:
        if amount <= closes_at - opens_at:
            return opens_at + amount
        amount -= closes_at - opens_at
    return FOREVER
