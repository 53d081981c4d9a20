"""How reports say things: words for states, times in two zones, and remote text made harmless to look at."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from recovery.model import Facts

OUTSIDE_SHOWN = 8
"""So many of the slots that a selection leaves alone are named."""
VERDICT_WORDS = {
    "done": "Done",
    "missed": "Missed",
    "stalled": "Stalled",
    "failed": "Failed",
    "partial": "Partly done",
    "uncertain": "Uncertain",
}
OUTCOME_WORDS = {
    "done_before": "Done before",
    "confirmed": "Recovered",
    "skipped": "Skipped",
    "held": "Held",
    "open": "Not finished",
}
REMEDY_WORDS = {
    "none": "Nothing to do",
    "monitor": "Watch it",
    "resend": "Send a copy",
    "reprocess": "Reprocess",
    "repeat_import": "Repeat the import",
    "tagged_import": "Import the list with a unique tag",
    "run_now": "Run now",
    "drop": "Drop",
    "hold": "Hold for a person",
}
REMEDY_DONE_WORDS = {
    "none": "Happened after all",
    "monitor": "Sent by the platform while we watched",
    "resend": "Sent as a copy",
    "reprocess": "Reprocessed",
    "repeat_import": "Imported again",
    "tagged_import": "Imported with a unique tag, tags set right",
    "run_now": "Run now",
    "drop": "Dropped",
    "hold": "Settled by a person",
}
KIND_WORDS = {
    "campaign": "Campaign",
    "automation": "Automation",
    "integrated_import": "Integrated import",
    "data_sync_tag": "Data sync",
    "scheduled_trigger": "Scheduled trigger",
    "segment_transfer": "Segment transfer",
    "eaddress_sync": "E-address sync",
    "other": "Other process",
}
HARM_WORDS = {
    0: "a repeat is harmless",
    1: "a repeat annoys",
    2: "a repeat makes data wrong",
    3: "reaches people",
}
MODE_WORDS = {"audit": "Audit", "plan": "Plan", "recover": "Recovery"}

# Control, format (bidi, zero width, tags), surrogate, private use, and line or paragraph separators.
_UNSHOWABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def word_of(table: dict[str, str], value: str) -> str:
    """The table's word, or the value itself made readable when it is newer than the table."""
    return table.get(value) or value.replace("_", " ").capitalize()


def shown(text: object, limit: int = 0, keep: str = "") -> str:
    """The text with every character that does not print as itself written as a code such as `<U+202E>`.

    `keep` names characters to leave alone (a line break in an evidence body). Above `limit` characters (0: none) the
    rest is counted, not shown. Ids are shown without a limit.
    """
    whole = str(text)
    if not limit and whole.isascii() and whole.isprintable():
        return whole
    cut = whole[:limit] if limit else whole
    if not (cut.isascii() and cut.isprintable()):
        cut = "".join(c if c in keep or _is_showable(c) else f"<U+{ord(c):04X}>" for c in cut)
    if len(whole) <= limit or not limit:
        return cut
    return f"{cut}... ({len(whole) - limit:,} more characters)"


def _is_showable(character: str) -> bool:
    return unicodedata.category(character) not in _UNSHOWABLE


@lru_cache(maxsize=512)
def zone_of(name: str) -> tzinfo:
    """The zone by its IANA name; UTC when there is none of that name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return UTC


@lru_cache(maxsize=65536)
def local_time(moment: datetime, zone_name: str) -> str:
    """Such as `2026-03-08 01:30 EST`; seconds only when there are any."""
    local = moment.astimezone(zone_of(zone_name))
    name = local.tzname() or "UTC"
    if name[0] in "+-":
        name = "UTC" + name
    return f"{local:%Y-%m-%d} {_clock(local)} {name}"


@lru_cache(maxsize=65536)
def utc_time(moment: datetime) -> str:
    """Such as `2026-03-08 06:30 UTC`; seconds only when there are any."""
    return local_time(moment, "UTC")


@lru_cache(maxsize=65536)
def both_times(moment: datetime | None, zone_name: str) -> str:
    """Such as `2026-03-08 01:30 EST (06:30 UTC)`: local time, and UTC with its date where that differs."""
    if moment is None:
        return "not yet"
    local, utc = local_time(moment, zone_name), utc_time(moment)
    if local == utc:
        return utc
    return f"{local} ({utc[11:] if utc[:10] == local[:10] else utc})"


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S}" if moment.second else f"{moment:%H:%M}"


def length_words(seconds: float) -> str:
    """A duration in seconds as days, hours and minutes, such as `2 h 15 min`."""
    minutes = round(seconds / 60)
    days, minutes = divmod(minutes, 1440)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{n} {unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if n]
    return " ".join(parts) or "under a minute"


def counted(number: int, one: str, many: str = "") -> str:
    """The number with its noun: `1 item`, `2,400 items`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def fact_text(value: object) -> str:
    """One fact as text: lists joined, absence named."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(shown(v, 400) for v in value) or "none"
    return shown(value, 400) or "(empty)"


def fact_changes(before: Facts, after: Facts) -> list[tuple[str, str, str, bool]]:
    """Every fact as (name, before, after, whether it changed), in the order of first mention."""
    names = list(dict.fromkeys((*before, *after)))
    return [(shown(name, 80), *_change(before, after, name)) for name in names]


def _change(before: Facts, after: Facts, name: str) -> tuple[str, str, bool]:
    old = fact_text(before[name]) if name in before else "not read"
    new = fact_text(after[name]) if name in after else "not read"
    return old, new, name in before and name in after and old != new


@lru_cache(maxsize=4096)
def plain(code: str) -> str:
    """A code name as words: `campaign_report` becomes `campaign report`."""
    return shown(code.replace("_", " "), 120)
