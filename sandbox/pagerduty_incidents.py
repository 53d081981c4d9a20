"""Incidents of a pretend PagerDuty service: opened by events or by hand, deduplicated only while they are open.

Facts: reference/vendors.md §3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sandbox.wire import Json
from sandbox.world import World


@dataclass
class PagerDutyKnobs:
    """Limits and delays. An event becomes an incident `processing_seconds` of the estate's clock after its 202."""

    events_per_minute: int = 120
    processing_seconds: float = 0.0


@dataclass
class Incident:
    """One incident; `key` is the dedup key or incident_key it was opened with."""

    incident_id: str
    number: int
    key: str
    title: str
    created_at: datetime
    changed_at: datetime
    status: str = "triggered"
    urgency: str = "high"
    priority: Json | None = None
    details: str = ""
    from_events: bool = False
    acknowledgements: list[Json] = field(default_factory=list)
    notes: list[Json] = field(default_factory=list)
    log: list[Json] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether the key still deduplicates."""
        return self.status != "resolved"


class PagerDutyState:
    """One PagerDuty account with one service. The routing key has 32 characters."""

    def __init__(self, routing_key: str, token: str, *, service: str = "PSVC001", sender: str = "ops@twin.example"):
        self.routing_key = routing_key
        self.token = token
        self.service = service
        self.sender = sender
        self.priorities = {"P1ID": "P1", "P2ID": "P2", "P3ID": "P3"}
        self.incidents: dict[str, Incident] = {}
        self.knobs = PagerDutyKnobs()
        self.accepted: list[datetime] = []
        self._waiting: list[tuple[datetime, Json]] = []

    def open_incident(self, key: str) -> Incident | None:
        """The open incident of this key."""
        return next((one for one in self.incidents.values() if one.key == key and one.open), None)

    def start(self, world: World, key: str, title: str, *, from_events: bool, **more: Any) -> Incident:
        """Open an incident and page whoever is on call."""
        number = len(self.incidents) + 1
        now = world.now()
        made = Incident(f"PINC{number:04d}", number, key, title, now, now, from_events=from_events, **more)
        self.incidents[made.incident_id] = made
        world.journal("pagerduty", "", "page", incident=made.incident_id, key=key, title=title)
        return made

    def set_status(self, world: World, incident: Incident, status: str, by: str) -> None:
        """Acknowledge or resolve; a repeat changes nothing."""
        if incident.status == status or not incident.open:
            return
        incident.status, incident.changed_at = status, world.now()
        if status == "acknowledged":
            person = {"id": "PUSER01", "type": "user_reference", "summary": by}
            incident.acknowledgements.append({"at": time_text(world.now()), "acknowledger": person})
        world.journal("pagerduty", "", "incident_" + status, incident=incident.incident_id, key=incident.key, by=by)

    def accept(self, world: World, event: Json) -> None:
        """Take an event that will be processed when its time has come."""
        due = world.now() + timedelta(seconds=self.knobs.processing_seconds)
        self._waiting.append((due, event))
        self.tick(world)

    def tick(self, world: World) -> None:
        """Process the events that are due."""
        due = [event for at, event in self._waiting if at <= world.now()]
        self._waiting = [pair for pair in self._waiting if pair[0] > world.now()]
        for event in due:
            self._process(world, event)

    def _process(self, world: World, event: Json) -> None:
        key, action = event["dedup_key"], event["event_action"]
        incident = self.open_incident(key)
        if action == "trigger" and incident is None:
            incident = self.start(world, key, str(event["payload"]["summary"]), from_events=True)
        if incident is None:
            return  # acknowledging or resolving nothing is dropped silently
        incident.log.append(event)
        if action != "trigger":
            self.set_status(world, incident, "acknowledged" if action == "acknowledge" else "resolved", "integration")


def time_text(at: datetime) -> str:
    """A time as PagerDuty writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
