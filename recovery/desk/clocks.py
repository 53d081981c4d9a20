"""Which promises run for an incident: every report has its own clocks, every client its root-cause clock.

Pure. A severity change keeps each clock's start and gives it the new target (R003.43); a report sent to the wrong
mailbox keeps the time it came in (R003.42).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from recovery.desk.incident import Incident, Report
from recovery.desk.settings import DeskSettings
from recovery.desk.sla import Milestone, Pause, SlaClock, Target, reached
from recovery.desk.sla_settings import SEVERITIES

ACKNOWLEDGEMENT = "acknowledgement"
FIRST_RESPONSE = "first response"
RCA = "root-cause analysis"
GENERAL = "general response"
EVERYONE = "everyone"


def clocks_for(settings: DeskSettings, incident: Incident) -> tuple[SlaClock, ...]:
    """Every clock of the incident, stopped ones included."""
    clocks: list[SlaClock] = []
    for report in incident.reports:
        clocks += _report_clocks(settings, incident, report)
    if not incident.reports:
        clocks.append(_unreported_clock(settings, incident))
    clocks += [_rca_clock(settings, incident, account) for account in rca_recipients(settings, incident)]
    return tuple(clocks)


def general_clock(settings: DeskSettings, about: str, account: str, received_at: datetime) -> SlaClock:
    """The soft fallback for a request that nobody has classified yet (R003.26)."""
    target = settings.sla.rules.general_target
    return SlaClock(GENERAL, about, received_at, target, settings.timetable(account), soft=True)


def request_clocks(
    settings: DeskSettings, about: str, account: str, received_at: datetime, acknowledged_at: datetime | None
) -> tuple[SlaClock, ...]:
    """What runs for a request before anybody has classified it: the soft promise and its acknowledgement (R003.5).

    The automatic receipt of `acknowledged_at` counts where the setting says so. Until the severity is known the highest
    one that promises an acknowledgement holds.
    """
    general = general_clock(settings, about, account, received_at)
    promises = (settings.sla.targets[severity].acknowledgement for severity in SEVERITIES)
    target = next((promise for promise in promises if promise is not None), None)
    if target is None:
        return (general,)
    stopped_at = acknowledged_at if settings.sla.rules.automatic_acknowledgement_counts else None
    timetable = settings.timetable(account)
    return general, SlaClock(ACKNOWLEDGEMENT, about, received_at, target, timetable, stopped_at=stopped_at)


def rca_recipients(settings: DeskSettings, incident: Incident) -> tuple[str, ...]:
    """The clients that are owed the analysis: those affected, all of them when everyone is."""
    if incident.scope == "entire":
        return tuple(settings.desk.clients) or (EVERYONE,)
    return tuple(c for c in incident.customers if c in settings.desk.clients) or (EVERYONE,)


def rca_effect(incident: Incident, account: str, version: int) -> str:
    """The name of the effect that delivers a version to a client; its delivery stops that client's clock (R003.2)."""
    return f"mail/smtp/{incident.ref}/rca/{account}@v{version}"


def notice_effect(report_ref: str, post: int) -> str:
    """The name of the effect that puts a post on a customer's ticket."""
    return f"ticket_comment/zendesk/{report_ref}@post-{post}"


def rca_delivered_at(incident: Incident, account: str) -> datetime | None:
    """When the client first had an approved analysis, preliminary or final."""
    found = (incident.delivered.get(rca_effect(incident, account, v.n)) for v in incident.rcas)
    return min((d.at for d in found if d is not None), default=None)


def alarms_reached(settings: DeskSettings, incident: Incident, now: datetime) -> tuple[Milestone, ...]:
    """Warnings and breaches of all clocks that are due to be told by `now` (R003.47)."""
    shares = settings.sla.rules.warn_at
    return tuple(m for clock in clocks_for(settings, incident) for m in reached(clock, shares, now))


def time_to_triage(incident: Incident) -> timedelta | None:
    """From the first sign to the end of triage (R003.11); None while not triaged."""
    return incident.triaged.at - incident.noticed_at if incident.triaged else None


def resolved_lag(incident: Incident) -> timedelta | None:
    """From Engineering's confirmation to the last customer ticket told (R002.14); None while not all are told."""
    if incident.confirmed is None or incident.phase != "resolved":
        return None
    last = next(p for p in reversed(incident.posts) if not p.update)
    told = [incident.delivered.get(notice_effect(r.ref, last.n)) for r in incident.reports]
    if any(d is None for d in told):
        return None
    return max((d.at for d in told if d is not None), default=last.at) - incident.confirmed.at


def _report_clocks(settings: DeskSettings, incident: Incident, report: Report) -> list[SlaClock]:
    promise = settings.sla.targets[incident.severity]
    calendar = settings.timetable(report.account)
    first = _first_response_at(settings, incident, report)
    pauses = _pauses(incident, report.ref)
    clocks = [SlaClock(FIRST_RESPONSE, report.ref, report.received_at, promise.first_response, calendar, pauses, first)]
    if promise.acknowledgement is not None:
        acknowledged = _acknowledged_at(settings, incident, report, first)
        target: Target = promise.acknowledgement
        clocks.append(SlaClock(ACKNOWLEDGEMENT, report.ref, report.received_at, target, calendar, (), acknowledged))
    return clocks


def _unreported_clock(settings: DeskSettings, incident: Incident) -> SlaClock:
    """An incident that only monitoring saw: the first announcement answers it."""
    target = settings.sla.targets[incident.severity].first_response
    answered = incident.posts[0].at if incident.posts else None
    return SlaClock(
        FIRST_RESPONSE,
        incident.ref,
        incident.noticed_at,
        target,
        settings.timetable(),
        _pauses(incident, ""),
        answered,
    )


def _rca_clock(settings: DeskSettings, incident: Incident, account: str) -> SlaClock:
    anchors = {
        "incident_start": incident.started_at or incident.noticed_at,
        "declared": incident.declared_at,
        "resolved": incident.resolved_at or incident.declared_at,
    }
    rules = settings.sla.rules
    target = settings.sla.targets[incident.severity].rca
    if rules.rca_anchor == "resolved" and incident.resolved_at is None:
        target = None
    return SlaClock(
        RCA,
        account,
        anchors[rules.rca_anchor],
        target,
        settings.timetable(account),
        stopped_at=rca_delivered_at(incident, account),
        owner=rules.rca_owner,
    )


def _first_response_at(settings: DeskSettings, incident: Incident, report: Report) -> datetime | None:
    answers = [r.at for r in incident.responses if r.report_ref == report.ref and r.human and r.public]
    if settings.sla.rules.approved_announcement_is_first_response:
        told = (incident.delivered.get(notice_effect(report.ref, p.n)) for p in incident.posts)
        answers += [d.at for d in told if d is not None]
    return min(answers, default=None)


def _acknowledged_at(
    settings: DeskSettings, incident: Incident, report: Report, first: datetime | None
) -> datetime | None:
    """A person's answer acknowledges too; an automatic receipt only when the setting says so (R003.46)."""
    counts = settings.sla.rules.automatic_acknowledgement_counts
    seen = [r.at for r in incident.responses if r.report_ref == report.ref and r.public and (r.human or counts)]
    return min([*seen, *([first] if first else [])], default=None)


def _pauses(incident: Incident, report_ref: str) -> tuple[Pause, ...]:
    """None for P1: that clock never stands still (R003.1)."""
    if incident.severity == "P1":
        return ()
    return tuple(Pause(h.started_at, h.ended_at) for h in incident.holds if h.report_ref in {"", report_ref})
