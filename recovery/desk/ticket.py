"""The incident ticket's text: source 002's four required fields, then what helps to resolve it. Pure; internal only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from recovery.desk.incident import Incident
from recovery.desk.settings import DeskSettings
from recovery.model import iso
from recovery.ports import TicketDraft

NOT_YET_KNOWN = "not yet known"
REQUIRED = ("customers", "started_at", "steps", "symptoms")
SUMMARY_CHARS = 250


def ticket_draft(settings: DeskSettings, incident: Incident, found: tuple[str, ...] = ()) -> TicketDraft:
    """The ticket with its four fields (R002.8 to R002.11), without marker; `found` are lines about affected items."""
    definition = settings.desk.severities[incident.severity]
    # What a severity never covers is for people to judge: it stands where they would change it.
    excluded = (f"Does not include: {', '.join(definition.excludes)}",) if definition.excludes else ()
    sections: list[tuple[str, tuple[str, ...]]] = [
        ("Severity", (f"{incident.severity}: {definition.definition}", *excluded, f"Scope: {incident.scope}")),
        ("Noticed", _noticed(incident)),
        ("Customer reports", tuple(f"{r.customer or r.account}: {r.subject}" for r in incident.reports)),
        ("Affected items", found),
    ]
    return TicketDraft(
        marker="",
        summary=f"[{incident.severity}] {incident.title}"[:SUMMARY_CHARS],
        customers=customer_names(settings, incident) or (NOT_YET_KNOWN,),
        started_at=with_zone(incident.started_at, incident.time_zone),
        steps=incident.steps or (NOT_YET_KNOWN,),
        symptoms=incident.symptoms or (NOT_YET_KNOWN,),
        sections=tuple((title, lines) for title, lines in sections if lines),
        severity=incident.severity,
    )


def team_ticket(settings: DeskSettings, incident: Incident, team: str, parent_key: str) -> TicketDraft:
    """A team's child ticket: the same facts under the team's name, pointing to its parent."""
    draft = ticket_draft(settings, incident)
    return TicketDraft(
        marker="",
        summary=f"[{team}] {incident.title}"[:SUMMARY_CHARS],
        customers=draft.customers,
        started_at=draft.started_at,
        steps=draft.steps,
        symptoms=draft.symptoms,
        sections=(("Parent", (parent_key,)), *draft.sections),
        severity=draft.severity,
    )


def customer_names(settings: DeskSettings, incident: Incident) -> tuple[str, ...]:
    """The customers impacted by their names; an account without settings by its own."""
    clients = settings.desk.clients
    named = (clients[c].name if c in clients else c for c in incident.customers)
    return ("All customers", *named) if incident.scope == "entire" else tuple(named)


def with_zone(moment: datetime | None, zone: str) -> str:
    """A time in UTC and in the incident's zone, or "not yet known" (R002.9)."""
    if moment is None:
        return NOT_YET_KNOWN
    local = moment.astimezone(ZoneInfo(zone))
    return f"{iso(moment)} ({local:%Y-%m-%d %H:%M} {zone})"


def unknown_fields(incident: Incident) -> tuple[str, ...]:
    """Required fields that are not yet known, each an open task (R002.11)."""
    known: Mapping[str, object] = {
        "customers": incident.customers or incident.scope == "entire",
        "started_at": incident.started_at,
        "steps": incident.steps,
        "symptoms": incident.symptoms,
    }
    return tuple(name for name in REQUIRED if not known[name])


def _noticed(incident: Incident) -> tuple[str, ...]:
    first = f"{with_zone(incident.noticed_at, incident.time_zone)} by {incident.source} {incident.source_ref}".rstrip()
    return (first, *(f"also by {source} {ref}" for source, ref in incident.also))
