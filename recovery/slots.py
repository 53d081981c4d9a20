"""What should have happened: due times from schedules, in the account's time zone. Pure.

Cron follows the rules of Debian's cron at a clock change (a fixed time that is skipped runs right after the gap, one
that comes twice runs once), as `cronsim` implements them; RRULEs are expanded by `dateutil` on the local wall clock;
calendar durations (days and more) follow the wall clock, `PT` durations follow real time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from dateutil.relativedelta import relativedelta
from dateutil.rrule import rrulestr
from dateutil.tz import datetime_exists, resolve_imaginary

from recovery.errors import BadReply
from recovery.model import OutageWindow, Schedule, Scheduled, Slot

_DURATION = re.compile(
    r"^P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?$"
)
_UNTIL_IN_UTC = re.compile(r"(?<=UNTIL=)\d{8}T\d{6}Z")
MOST_PER_SCHEDULE = 100_000
SCHEDULES_REMEMBERED = 256
"""A fleet's accounts share their schedules; the expansions of so many are kept."""
# dateutil answers some malformed rules with TypeError or AttributeError; zoneinfo a folder's name with OSError.
_UNREADABLE = (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError, CronSimError)


def due(window: OutageWindow, schedules: Iterable[Scheduled]) -> tuple[Slot, ...]:
    """Every slot in [started_at, ended_at) of the window, sorted; never counted from rows that exist (R001.2).

    Inactive things, things paused before their slot and slots before the thing was created are not due. What was
    switched off after its slot was due all the same.
    """
    slots = [
        Slot(s.account, s.system.value, s.kind.value, s.object_ref, moment, s.name, s.schedule.time_zone)
        for s in schedules
        for moment in moments(s, window.started_at, window.ended_at)
    ]
    return tuple(sorted(slots))


def moments(thing: Scheduled, start: datetime, end: datetime) -> tuple[datetime, ...]:
    """The due times of one thing in [start, end), UTC, sorted; BadReply names a schedule that cannot be read."""
    if not thing.active and thing.paused_at is None:
        return ()
    try:
        kept = _expanded(thing.schedule, start, end)
    except _UNREADABLE as error:
        raise BadReply(
            thing.system.value,
            thing.account,
            f"the schedule of {thing.kind.value} {thing.object_ref} cannot be read: "
            f"{thing.schedule.type} {thing.schedule.value!r} in {thing.schedule.time_zone!r} ({error})",
            "Look at the schedule at the remote; until it can be read its slots are uncertain.",
        ) from error
    return tuple(m for m in kept if start <= m < end and _was_live(thing, m))


@lru_cache(SCHEDULES_REMEMBERED)
def _expanded(schedule: Schedule, start: datetime, end: datetime) -> tuple[datetime, ...]:
    ZoneInfo(schedule.time_zone)  # a zone that nobody knows is named here, not by whoever shows the slot
    found = _EXPANDERS[schedule.type](schedule, start, end)
    return tuple(sorted({m.astimezone(UTC).replace(microsecond=0) for m in found}))


def _was_live(thing: Scheduled, moment: datetime) -> bool:
    paused = thing.paused_at is not None and thing.paused_at <= moment
    unborn = thing.created_at is not None and moment < thing.created_at
    return not paused and not unborn


def _none(_schedule: Schedule, _start: datetime, _end: datetime) -> Iterator[datetime]:
    return iter(())


def _once(schedule: Schedule, _start: datetime, _end: datetime) -> Iterator[datetime]:
    moment = datetime.fromisoformat(schedule.value) if schedule.value else schedule.anchor
    if moment is None:
        raise ValueError("no date-time")
    yield moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(schedule.time_zone))


def _cron(schedule: Schedule, start: datetime, end: datetime) -> Iterator[datetime]:
    zone = ZoneInfo(schedule.time_zone)
    before, after = ((at.astimezone(zone).utcoffset() or timedelta()) for at in (start - timedelta(hours=1), end))
    if (after - before) % timedelta(hours=1):
        # CronSim steps by whole hours and would lose minutes after such a change: better uncertain than incomplete.
        raise ValueError("the clock changes by a part of an hour, which this expansion cannot follow")
    for moment in CronSim(schedule.value, (start - timedelta(minutes=1)).astimezone(zone)):
        if moment >= end:
            return
        if datetime_exists(moment) or _fits(schedule.value, resolve_imaginary(moment)):
            yield moment


def _fits(line: str, moment: datetime) -> bool:
    """Whether a line of intervals runs at what the wall shows then: CronSim names a midnight that is skipped."""
    shows = moment.replace(tzinfo=None)
    return next(CronSim(line, shows - timedelta(minutes=1))) == shows


def _rrule(schedule: Schedule, start: datetime, end: datetime) -> Iterator[datetime]:
    zone = ZoneInfo(schedule.time_zone)
    value = _UNTIL_IN_UTC.sub(lambda m: _on_the_wall(m[0], zone), schedule.value.removeprefix("RRULE:"))
    anchor = schedule.anchor.astimezone(zone).replace(tzinfo=None) if schedule.anchor else _any_anchor(value, start)
    rule = rrulestr(value, dtstart=anchor)
    slack = timedelta(days=1)
    local_start = start.astimezone(zone).replace(tzinfo=None) - slack
    local_end = end.astimezone(zone).replace(tzinfo=None) + slack
    for naive in rule.between(local_start, local_end, inc=True):
        yield resolve_imaginary(naive.replace(tzinfo=zone))


def _any_anchor(value: str, start: datetime) -> datetime:
    """A beginning for a rule that names none and needs none, because it says by itself on which days and when."""
    parts = dict(part.split("=", 1) for part in value.upper().split(";") if "=" in part)
    days = {"DAILY", "BYDAY", "BYMONTHDAY", "BYYEARDAY"} & {parts.get("FREQ", ""), *parts}
    if parts.get("INTERVAL", "1") != "1" or "COUNT" in parts or not days or not {"BYHOUR", "BYMINUTE"} <= set(parts):
        raise ValueError("a rule needs an anchor unless it names its days, hours and minutes")
    return datetime.combine(start.date() - timedelta(days=400), time())


def _on_the_wall(until: str, zone: ZoneInfo) -> str:
    """RFC 5545 writes UNTIL in UTC where DTSTART has a zone; the rule is expanded on the local wall clock."""
    return f"{datetime.strptime(until, '%Y%m%dT%H%M%S%z').astimezone(zone):%Y%m%dT%H%M%S}"


def _interval(schedule: Schedule, start: datetime, end: datetime) -> Iterator[datetime]:
    match = _DURATION.match(schedule.value)
    if match is None or schedule.anchor is None:
        raise ValueError("an interval needs an ISO 8601 duration and an anchor")
    part = {k: int(v or 0) for k, v in match.groupdict().items()}
    exact = timedelta(hours=part["hours"], minutes=part["minutes"], seconds=part["seconds"])
    step = relativedelta(years=part["years"], months=part["months"], weeks=part["weeks"], days=part["days"])
    if exact and not step:
        yield from _exact_steps(schedule.anchor, exact, start, end)
    elif step and not exact:
        yield from _calendar_steps(schedule, step, start, end)
    else:
        raise ValueError("a duration is either calendar (P1D) or exact (PT6H)")


def _exact_steps(anchor: datetime, step: timedelta, start: datetime, end: datetime) -> Iterator[datetime]:
    skipped = max(0, -((anchor - start) // step))
    moment = anchor + skipped * step
    while moment < end:
        yield moment
        moment += step


def _calendar_steps(schedule: Schedule, step: relativedelta, start: datetime, end: datetime) -> Iterator[datetime]:
    assert schedule.anchor is not None
    zone = ZoneInfo(schedule.time_zone)
    origin = schedule.anchor.astimezone(zone).replace(tzinfo=None)
    # Steps are counted from the anchor, so that a month's end does not drift (31 Jan + 2 months is 31 Mar).
    days = max(1, step.years * 366 + step.months * 31 + step.weeks * 7 + step.days)
    n = max(0, (start.astimezone(zone).replace(tzinfo=None) - origin).days // days - 1)
    for count in range(n, n + MOST_PER_SCHEDULE):
        moment = resolve_imaginary((origin + step * count).replace(tzinfo=zone))
        if moment >= end:
            return
        yield moment


_EXPANDERS = {"once": _once, "cron": _cron, "rrule": _rrule, "interval": _interval, "manual": _none}
