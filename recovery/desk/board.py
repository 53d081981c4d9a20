"""What a client sees of an incident on its board: status, severity, symptoms, a clock that stands still. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from recovery.desk import announce, ticket
from recovery.desk.incident import Hold, Incident
from recovery.desk.ports import BoardTaskDraft
from recovery.desk.settings import DeskSettings
from recovery.model import iso

PRIORITIES: Mapping[str, Literal[1, 2, 3, 4]] = {"P1": 1, "P2": 2, "P3": 3, "service_request": 4}


def pauses_of(incident: Incident, account: str) -> tuple[Hold, ...]:
    """The pauses of the clocks of an account's reports, those that are over included."""
    about = {"", *(report.ref for report in incident.reports if report.account == account)}
    return tuple(hold for hold in incident.holds if hold.report_ref in about)


def board_draft(
    settings: DeskSettings, incident: Incident, now: datetime, board_ref: str, pauses: Sequence[Hold]
) -> BoardTaskDraft:
    """The task without internals (R003.12)."""
    paused = next((pause for pause in pauses if pause.ended_at is None), None)
    clock = f"Clock: paused since {iso(paused.started_at)}, {paused.state.replace('_', ' ')}\n" if paused else ""
    phase = incident.phase or ("triaged" if incident.triaged else "received")
    symptoms = "; ".join(announce.for_customers(settings, s, "being looked into") for s in incident.symptoms)
    text = (
        f"Status: {phase}\nSeverity: {incident.severity}\nSymptoms: {symptoms or ticket.NOT_YET_KNOWN}\n"
        f"{clock}Last updated: {iso(now)}"
    )
    title = announce.for_customers(settings, incident.title, "Support request")
    return BoardTaskDraft(board_ref, "", title, text, PRIORITIES[incident.severity])
