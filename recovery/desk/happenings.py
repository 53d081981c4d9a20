"""What is told of an incident to whoever listens (Prefect events), from its recorded events alone. Pure.

An event's id follows from what happened. Listeners forget ids after half an hour, so an old event is not told again:
each round tells what is new since the last one, and for ten minutes also what it told already, in case that was lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from recovery.desk.incident import Incident
from recovery.happening import Happening
from recovery.model import iso

STREAM = "desk/told"
AGAIN = timedelta(minutes=10)
FIRST = timedelta(days=1)
ALARMS: tuple[tuple[str, str], ...] = (
    ("breach/", "allclear.sla.breached"),
    ("warning-", "allclear.sla.warning"),
    ("update-after-post-", "allclear.update.overdue"),
    ("expiry-post-", "allclear.notice.overdue"),
    ("confirmed-", "allclear.incident.confirmed"),
    ("on-call-", "allclear.page.unanswered"),
    ("refused/", "allclear.delivery.failing"),
    ("failing/", "allclear.delivery.failing"),
)


def happenings(incidents: Sequence[Incident], until: datetime | None, now: datetime) -> tuple[Happening, ...]:
    """What happened after `until`, and once more what happened within the last ten minutes; oldest first.

    `until` None is the first round of all: it tells of the last day.
    """
    since = now - FIRST if until is None else until
    fresh = [(at, told) for i in incidents for at, told in _all(i) if at > since or now - at <= AGAIN]
    return tuple(told for _, told in sorted(fresh, key=lambda pair: (pair[0], pair[1].about)))


def latest(incidents: Sequence[Incident]) -> datetime | None:
    """When the newest happening of all was."""
    return max((at for incident in incidents for at, _ in _all(incident)), default=None)


def _all(incident: Incident) -> Iterator[tuple[datetime, Happening]]:
    opened = {"severity": incident.severities[0].severity, "scope": incident.scope, "kind": incident.kind}
    opened |= {"source": incident.source, "noticed_at": iso(incident.noticed_at)}
    # The same event, with the same id, as that of an audit which opened an incident of this name.
    yield incident.declared_at, _told("allclear.incident.opened", incident, opened, incident.ref)
    for name, alarm in incident.told.items():
        event = next((e for start, e in ALARMS if name.startswith(start)), "allclear.incident.alarm")
        yield alarm.at, _told(event, incident, _alarm_facts(name), f"{incident.ref}\n{name}")
    for post in incident.posts:
        if post.phase == "resolved" and not post.update:
            facts = {"post": post.n, "confirmed": incident.confirmed is not None}
            yield post.at, _told("allclear.incident.resolved", incident, facts, f"{incident.ref}\npost {post.n}")


def _alarm_facts(name: str) -> dict[str, Any]:
    """A clock's alarm is named KIND/CLOCK/ABOUT/TARGET; any other by itself. Never text from outside."""
    kind, *rest = name.split("/")
    if len(rest) >= 3 and (kind == "breach" or kind.startswith("warning-")):
        return {"alarm": kind, "clock": rest[0], "about": "/".join(rest[1:-1]), "target": rest[-1]}
    return {"alarm": name}


def _told(event: str, incident: Incident, facts: Mapping[str, Any], about: str) -> Happening:
    payload = {"incident": incident.ref, "severity": incident.severity, **facts}
    return Happening(event, f"allclear.incident.{incident.ref}", payload, about)
