"""Promised times as clocks on business time. Pure; no IO and no "now" of its own.

Minutes and hours, business hours, hours on business days, and business days are different units, computed and shown as
such (R003.44). Hours are real hours, added in UTC: a day with a clock change has 23 or 25 of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from recovery.desk.business_time import FOREVER, Timetable, spend
from recovery.errors import ConfigError


class Unit(StrEnum):
    """What a target counts. The words are what people read and what a settings file says."""

    MINUTE = "minute"
    HOUR = "hour"
    BUSINESS_HOUR = "business hour"
    WORKDAY_HOUR = "hour on business days"
    BUSINESS_DAY = "business day"


UNIT_SECONDS = {Unit.MINUTE: 60, Unit.HOUR: 3600, Unit.BUSINESS_HOUR: 3600, Unit.WORKDAY_HOUR: 3600}
BUSINESS_UNITS = frozenset({Unit.BUSINESS_HOUR, Unit.BUSINESS_DAY})


@dataclass(frozen=True, slots=True)
class Target:
    """A promised time: an amount of one unit."""

    amount: int
    unit: Unit

    def __str__(self) -> str:
        head, _, tail = self.unit.value.partition(" on ")
        text = f"{self.amount} {head}{'' if self.amount == 1 else 's'}"
        return f"{text} on {tail}" if tail else text

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read "30 minutes", "24 hours", "8 business hours", "1 business day" or "24 hours on business days"."""
        found = re.fullmatch(r"([1-9]\d{0,4}) (minute|hour|business hour|business day)s?( on business days)?", text)
        if found is None or (found[3] and found[2] != "hour"):
            raise ConfigError(f'"{text}" is not a target: write for example "30 minutes" or "8 business hours".')
        return cls(int(found[1]), Unit(found[2] + (found[3] or "")))

    @property
    def duration(self) -> timedelta:
        """The amount as counted time; a business day has none."""
        return timedelta(seconds=self.amount * UNIT_SECONDS[self.unit])


@dataclass(frozen=True, slots=True)
class Pause:
    """A time in which a clock does not count; `ended_at` None means it still holds."""

    started_at: datetime
    ended_at: datetime | None = None


State = Literal["not agreed", "running", "paused", "overdue", "met", "missed"]


@dataclass(frozen=True, slots=True)
class SlaClock:
    """One promise being kept: name, what it is about, start, target, calendar, pauses and stop.

    `target` None means that the time is not agreed (R002.17), with `owner` who must agree it. A `soft` clock warns but
    never breaches (R003.26). A target in business days is never paused.
    """

    name: str
    about: str
    started_at: datetime
    target: Target | None
    timetable: Timetable
    pauses: tuple[Pause, ...] = ()
    stopped_at: datetime | None = None
    soft: bool = False
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a clock shows at one moment. `left` is negative when overdue, in the time that the target's unit counts."""

    state: State
    target: str
    due_at: datetime | None
    used: timedelta
    left: timedelta | None
    unit: Unit | None

    def __str__(self) -> str:
        if self.left is None or self.unit is None:
            return self.state
        hours, minutes = divmod(abs(int(self.left.total_seconds())) // 60, 60)
        time_word = {Unit.WORKDAY_HOUR: "business-day time"}.get(
            self.unit, "business time" if self.unit in BUSINESS_UNITS else "time"
        )
        side = "over" if self.left < timedelta() else "left"
        return f"{self.state}: {hours}:{minutes:02d} of {time_word} {side} ({self.target})"


@dataclass(frozen=True, slots=True)
class Milestone:
    """A moment at which people are told: a warning after a share of the target, or the breach at its end."""

    clock: SlaClock
    share: float
    at: datetime

    @property
    def breach(self) -> bool:
        """Whether this is the end of the promised time of a firm promise."""
        return self.share >= 1 and not self.clock.soft


def due_at(clock: SlaClock) -> datetime | None:
    """When the promise runs out; None while paused without an end, or when no time is agreed."""
    if clock.target is None:
        return None
    due = _at_share(clock, 1.0)
    return None if due == FOREVER else due


def used(clock: SlaClock, now: datetime) -> timedelta:
    """Counted time since the start, up to the stop or now."""
    end = min(now, clock.stopped_at or now)
    return _counted(clock, clock.started_at, end)


def read(clock: SlaClock, now: datetime) -> Reading:
    """The clock's face at `now`: what a status screen shows."""
    spent, due = used(clock, now), due_at(clock)
    if clock.target is None:
        return Reading("not agreed", "not agreed", None, spent, None, None)
    end = clock.stopped_at if clock.stopped_at is not None and clock.stopped_at <= now else None
    moment = end or now
    if due is None:
        state: State = "met" if end else "paused"
        return Reading(state, str(clock.target), None, spent, clock.target.duration - spent, clock.target.unit)
    late = moment > due
    left = -_counted(clock, due, moment) if late else _counted(clock, moment, due)
    if end:
        state = "missed" if late else "met"
    elif late:
        state = "overdue"
    else:
        state = "paused" if _paused(clock, now) else "running"
    return Reading(state, str(clock.target), due, spent, left, clock.target.unit)


def milestones(clock: SlaClock, shares: tuple[float, ...]) -> tuple[Milestone, ...]:
    """Every moment to tell people about, in order: the given shares of the target (0 to 1) and its end (R003.47)."""
    if due_at(clock) is None:
        return ()
    return tuple(Milestone(clock, s, _at_share(clock, s)) for s in sorted({*shares, 1.0}))


def reached(clock: SlaClock, shares: tuple[float, ...], now: datetime) -> tuple[Milestone, ...]:
    """Milestones passed by `now` while the clock was running; the end itself is kept when met to the second."""
    limit = min(now, clock.stopped_at or now)
    return tuple(m for m in milestones(clock, shares) if m.at < limit or (m.at == limit and clock.stopped_at is None))


def _at_share(clock: SlaClock, share: float) -> datetime:
    target = clock.target
    assert target is not None, "an open-ended clock has no due time"
    if target.unit is not Unit.BUSINESS_DAY:
        return spend(_stretches(clock, clock.started_at), target.duration * share)
    due = clock.timetable.add_days(clock.started_at, target.amount)
    if share >= 1:
        return due
    return clock.timetable.add(clock.started_at, clock.timetable.between(clock.started_at, due) * share)


def _stretches(clock: SlaClock, start: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Counted stretches from `start` on, pauses cut out."""
    target = clock.target
    calendar_time = target is None or target.unit in {Unit.MINUTE, Unit.HOUR}
    pauses = () if target is not None and target.unit is Unit.BUSINESS_DAY else clock.pauses
    if calendar_time:
        return _cut(iter(((start, FOREVER),)), pauses)
    whole_day = target is not None and target.unit is Unit.WORKDAY_HOUR
    if whole_day:
        # The promise is for requests in business hours: one that comes at night begins to count at the next opening.
        start = max(start, next(clock.timetable.spans(clock.started_at)).opens_at)
    return _cut(((s.opens_at, s.closes_at) for s in clock.timetable.spans(start, whole_day=whole_day)), pauses)


def _cut(
    stretches: Iterator[tuple[datetime, datetime]], pauses: tuple[Pause, ...]
) -> Iterator[tuple[datetime, datetime]]:
    ordered = sorted((p.started_at, p.ended_at or FOREVER) for p in pauses)
    for opens_at, closes_at in stretches:
        if any(a <= opens_at and b == FOREVER for a, b in ordered):
            return
        at = opens_at
        for a, b in ordered:
            if a < closes_at and b > at:
                if a > at:
                    yield at, a
                at = min(b, closes_at)
        if at < closes_at:
            yield at, closes_at


def _counted(clock: SlaClock, start: datetime, end: datetime) -> timedelta:
    total = timedelta()
    if end <= start:
        return total
    for opens_at, closes_at in _stretches(clock, start):
        if opens_at >= end:
            break
        total += min(closes_at, end) - opens_at
    return total


def _paused(clock: SlaClock, now: datetime) -> bool:
    return any(p.started_at <= now < (p.ended_at or FOREVER) for p in clock.pauses)
