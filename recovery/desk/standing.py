"""The incident desk's part of `allclear status`: what is open and how long is left, from the ledger alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from recovery.desk.incident import Incident
from recovery.desk.settings import DeskSettings
from recovery.desk.sla import Reading, SlaClock
from recovery.errors import ConfigError
from recovery.journal import Journal
from recovery.ledger.ledger import Ledger
from recovery.model import iso
from recovery.settings import Settings

View = dict[str, Any]
COUNTING = ("running", "paused", "overdue")
QUIET = timedelta(days=30)
"""An incident that nobody has touched for so long is over, whatever its clocks say."""
MOST_SHOWN = 6


async def desk_view(settings: Settings, ledger: Ledger, now: datetime) -> View:
    """Open incidents with the clocks that still count, soonest first, and requests that nobody has classified.

    Cheap without incidents: the desk's settings are read only when there is one. A desk whose settings are wrong is
    said in `problem`; it does not keep anybody from the rest.
    """
    names = await ledger.streams("incident/", now - QUIET)
    taken_in = await ledger.streams("intake")
    empty: View = {"incidents": [], "requests": [], "problem": ""}
    if not names and not taken_in:
        return empty
    from recovery.desk.settings import load_desk

    try:
        desk = load_desk(settings.path(settings.desk_folder))
    except ConfigError as error:
        return {**empty, "problem": str(error)}
    return {
        "incidents": [v for name in names if (v := await _incident(desk, ledger, name, now)) is not None],
        "requests": await _requests(desk, ledger, now) if taken_in else [],
        "problem": "",
    }


async def _incident(desk: DeskSettings, ledger: Journal, stream: str, now: datetime) -> View | None:
    """An incident that is not resolved, or that still owes somebody something; None when it is over."""
    from recovery.desk import log
    from recovery.desk.clocks import clocks_for
    from recovery.desk.sla import read

    incident = await log.find(ledger, stream.removeprefix("incident/"))
    if incident is None:
        return None
    readings = [(clock, read(clock, now)) for clock in clocks_for(desk, incident)]
    counting = sorted((_clock(c, r) for c, r in readings if r.state in COUNTING), key=lambda c: c["due_at"] or "~")
    if incident.resolved_at is not None and not counting:
        return None
    return {
        "ref": incident.ref,
        "severity": incident.severity,
        "phase": incident.phase or "not announced",
        "title": incident.title,
        "next_update_at": _update_due(desk, incident),
        "clocks": counting,
    }


async def _requests(desk: DeskSettings, ledger: Journal, now: datetime) -> list[View]:
    """Mails that nobody has classified, with the soft promise that holds for them."""
    from recovery.desk.came import STREAM, fold
    from recovery.desk.intake import clocks_of
    from recovery.desk.sla import read

    waiting = [c for c in fold(await ledger.stream(STREAM)).values() if c.mail is not None and not c.fate]
    clocks = [clock for came in waiting if now - came.signal.at <= QUIET for clock in clocks_of(desk, came)]
    readings = [(clock, read(clock, now)) for clock in clocks]
    return [_clock(clock, reading) for clock, reading in readings if reading.state in COUNTING]


def _update_due(desk: DeskSettings, incident: Incident) -> str | None:
    from recovery.desk.alarms import next_update_at

    due = next_update_at(desk, incident)
    return iso(due) if due else None


def _clock(clock: SlaClock, reading: Reading) -> View:
    left = reading.left
    return {
        "clock": clock.name,
        "about": clock.about,
        "state": reading.state,
        "target": reading.target,
        "due_at": iso(reading.due_at) if reading.due_at else None,
        "left_seconds": int(left.total_seconds()) if left is not None else None,
    }


def desk_lines(view: View) -> Iterator[str]:
    """The view for people, counting down in the time that each promise counts."""
    if view["problem"]:
        yield f"desk         {view['problem']}"
    for incident in view["incidents"]:
        yield f"incident     {incident['ref']}  {incident['severity']}, {incident['phase']}: {incident['title']}"
        yield from _clock_lines(incident["clocks"])
    if view["requests"]:
        count = len({clock["about"] for clock in view["requests"]})
        yield f"requests     {count} wait to be classified: `allclear incident requests`"
        yield from _clock_lines(view["requests"])


def _clock_lines(clocks: list[View]) -> Iterator[str]:
    for clock in clocks[:MOST_SHOWN]:
        yield f"  clock      {_face(clock)}: {clock['clock']}, {clock['about']}"
    if len(clocks) > MOST_SHOWN:
        yield f"  clock      and {len(clocks) - MOST_SHOWN} more with more time left"


def _face(clock: View) -> str:
    left = clock["left_seconds"]
    if left is None:
        return f"{clock['state']} ({clock['target']})"
    minutes, seconds = divmod(abs(left), 60)
    shown = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
    if left < 0:
        return f"OVERDUE by {shown}, was {clock['target']}"
    return f"{shown} left of {clock['target']}{', paused' if clock['state'] == 'paused' else ''}"
