"""A slow second opinion on due times: walks the clock on the wall minute by minute. Shares no code with the product."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Wall:
    """One real minute, what the clock on the wall shows, and the minutes that the wall clock jumped over before it."""

    at: datetime
    shows: datetime
    seen_before: bool
    jumped: tuple[datetime, ...]


def walk(start: datetime, end: datetime, zone: str) -> Iterator[Wall]:
    """Every minute of [start, end), knowing what the wall showed in the day before."""
    tz = ZoneInfo(zone)
    at, seen, last = start - timedelta(days=1), set(), None
    while at < end:
        shows = at.astimezone(tz).replace(tzinfo=None)
        jumped: list[datetime] = []
        while last is not None and last + MINUTE * (len(jumped) + 1) < shows:
            jumped.append(last + MINUTE * (len(jumped) + 1))
        if at >= start:
            yield Wall(at, shows, shows in seen, tuple(jumped))
        seen.add(shows)
        last, at = max(shows, last or shows), at + MINUTE


@dataclass(frozen=True)
class Cron:
    """A cron line as sets; None is a star. `every` is a step in the minutes, counted from the full hour."""

    minutes: frozenset[int] | None = None
    hours: frozenset[int] | None = None
    weekdays: frozenset[int] | None = None
    every: int = 0

    @property
    def line(self) -> str:
        minute = f"*/{self.every}" if self.every else _field(self.minutes)
        return f"{minute} {_field(self.hours)} * * {_field(self.weekdays)}"

    @property
    def at_fixed_times(self) -> bool:
        """Debian's cron treats only lines without a star in minute and hour as times on the wall."""
        return not self.every and self.minutes is not None and self.hours is not None

    def fits(self, wall: datetime) -> bool:
        sunday_is_zero = (wall.weekday() + 1) % 7
        return (
            (wall.minute % self.every == 0 if self.every else self.minutes is None or wall.minute in self.minutes)
            and (self.hours is None or wall.hour in self.hours)
            and (self.weekdays is None or sunday_is_zero in self.weekdays)
        )


def _field(values: frozenset[int] | None) -> str:
    return "*" if values is None else ",".join(map(str, sorted(values)))


def cron_due(cron: Cron, start: datetime, end: datetime, zone: str) -> tuple[datetime, ...]:
    """Fixed times once a day, skipped ones right after the gap; other lines at every real minute that fits."""
    due = []
    for minute in walk(start, end, zone):
        if cron.at_fixed_times:
            hit = (cron.fits(minute.shows) and not minute.seen_before) or any(map(cron.fits, minute.jumped))
        else:
            hit = cron.fits(minute.shows)
        if hit:
            due.append(minute.at)
    return tuple(due)


@cache
def real_minute(wall: datetime, zone: str) -> datetime:
    """When the wall first shows a time; a skipped time is moved on by the length of the jump."""
    around = wall.replace(tzinfo=UTC)
    for minute in walk(around - timedelta(hours=15), around + timedelta(hours=15), zone):
        if minute.shows == wall and not minute.seen_before:
            return minute.at
        if wall in minute.jumped:
            return minute.at + MINUTE * minute.jumped.index(wall)
    raise AssertionError(f"no minute for {wall} in {zone}")


def daily_due(clock: time, first: date, step: int, start: datetime, end: datetime, zone: str) -> tuple[datetime, ...]:
    """Every `step` days from `first` at a time on the wall."""
    days = ((end - start).days + 4) + (start.date() - first).days
    found = (
        real_minute(datetime.combine(first + timedelta(days=n), clock), zone) for n in range(0, max(days, 0), step)
    )
    return tuple(sorted(m for m in found if start <= m < end))
