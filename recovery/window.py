"""Outage windows as people write them: ISO times, "yesterday 14:00 America/New_York", the last six hours. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from recovery.errors import UsageError
from recovery.model import OutageWindow

LONGEST_NAME = 200
_SPAN = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|m|min|h|d)$")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_WORDS = re.compile(r"^(today|yesterday)\s+(\d{1,2}):(\d{2})(?::(\d{2}))?\s+(\S+)$", re.IGNORECASE)
_ZONED = re.compile(r"^(\d{4}-\d{2}-\d{2})[T ](\d{1,2}:\d{2}(?::\d{2})?)\s+([A-Za-z][A-Za-z0-9_+/-]*)$")
_EXAMPLES = (
    'Write 2026-11-01T05:00:00Z, "2026-11-01 01:00 America/New_York", "yesterday 14:00 Europe/London" or --last 6h.'
)


def parse_moment(text: str, now: datetime) -> datetime:
    """A moment in UTC. Raises UsageError naming the text when it is no time, or has no zone."""
    written = text.strip()
    words = _WORDS.match(written)
    if words:
        zone = _zone(words[5], text)
        day = now.astimezone(zone).date() - timedelta(days=words[1].lower() == "yesterday")
        return _moment(datetime.combine(day, _clock(f"{words[2]}:{words[3]}:{words[4] or '00'}", text)), zone, text)
    zoned = _ZONED.match(written)
    if zoned:
        day = _iso(zoned[1], text).date()
        return _moment(datetime.combine(day, _clock(zoned[2], text)), _zone(zoned[3], text), text)
    moment = _iso(written, text)
    if moment.tzinfo is None:
        raise UsageError(f"The time {text!r} has no zone.", _EXAMPLES)
    return _in_utc(moment, text)


def parse_span(text: str) -> timedelta:
    """A length such as 90m, 6h or 2d. Raises UsageError."""
    match = _SPAN.match(text.strip().lower())
    if not match:
        raise UsageError(f"{text!r} is no length of time.", "Write 90m, 6h or 2d.")
    try:
        return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        raise UsageError(f"{text!r} is too long a time.", "Write 90m, 6h or 2d.") from None


def known_zone(name: str) -> ZoneInfo | None:
    """The IANA time zone of this name; None when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of a folder of zones, such as America
        return None


def _iso(written: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        raise UsageError(f"{text!r} is no time that can be read.", _EXAMPLES) from None


def _clock(written: str, text: str) -> time:
    try:
        return time.fromisoformat(written if written.index(":") == 2 else "0" + written)
    except ValueError:
        raise UsageError(f"{text!r} is no time of day.", _EXAMPLES) from None


def _zone(name: str, text: str) -> ZoneInfo:
    zone = known_zone(name)
    if zone is None:
        raise UsageError(f"{text!r}: {name!r} is not a time zone.", "Use an IANA name such as America/New_York.")
    return zone


def _moment(local: datetime, zone: ZoneInfo, text: str) -> datetime:
    """A local time as UTC; one that a clock change skips or repeats must be written in UTC."""
    first, second = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    if first.utcoffset() != second.utcoffset():
        raise UsageError(
            f"{text!r} does not name one moment: the clocks change in {zone.key} at that time.", "Write it in UTC."
        )
    return _in_utc(first, text)


def _in_utc(moment: datetime, text: str) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise UsageError(f"{text!r} is no time that can be read.", _EXAMPLES) from None


def make_window(
    started_at: datetime,
    ended_at: datetime,
    accounts: Sequence[str],
    known: Sequence[str],
    *,
    now: datetime,
    most_hours: float,
    incident: str = "",
) -> OutageWindow:
    """A window that makes sense, or UsageError with one sentence that says why not (R001.1)."""
    started_at, ended_at = (_in_utc(moment, moment.isoformat()) for moment in (started_at, ended_at))
    if ended_at <= started_at:
        raise UsageError("The outage window ends before it starts.", "Exchange start and end.")
    if ended_at > now + timedelta(seconds=1):
        raise UsageError("The outage window ends in the future.", "Run this after the outage, or give an earlier end.")
    if ended_at - started_at > timedelta(hours=most_hours):
        raise UsageError(
            f"The outage window is longer than policy allows ({most_hours:g} hours).",
            "Narrow it, or raise limits.window_hours in policy.toml.",
        )
    strangers = [a for a in accounts if a not in known]
    if strangers:
        raise UsageError(f"There is no account {strangers[0]!r}.", f"Known accounts: {', '.join(known)}.")
    if len(incident) > LONGEST_NAME or not incident.isprintable():
        raise UsageError(
            f"The name of an incident is one line of at most {LONGEST_NAME} letters.", "Leave it empty, or shorten it."
        )
    # An account named twice would be read twice, and a plan would count all of it twice.
    named = tuple(dict.fromkeys(accounts))
    return OutageWindow(started_at, ended_at, named or tuple(known), incident=incident)
