"""An incident's events folded into its state. Pure: `fold(ref, events)` is the state, nothing else is.

An event kind that this program does not know stays in the timeline and changes nothing else, so that an older program
can read a newer stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from recovery.desk.incident import (
    Delivery,
    Draft,
    Entry,
    Failure,
    Hold,
    Incident,
    Post,
    RcaVersion,
    Report,
    Response,
    SeverityChange,
    Signature,
)
from recovery.desk.settings import Phase, Scope
from recovery.desk.sla_settings import Severity
from recovery.journal import StreamEvent
from recovery.window import known_zone

Data = Mapping[str, object]
Step = Callable[[Incident, StreamEvent], Incident]


def fold(ref: str, events: Sequence[StreamEvent]) -> Incident | None:
    """The incident that the events of `incident/<ref>` describe; None when there are none."""
    if not events:
        return None
    incident = _declared(ref, events[0])
    for event in events[1:]:
        incident = FOLDS.get(event.kind, _unchanged)(incident, event)
    timeline = tuple(Entry(e.seq, e.at, e.by, e.kind, e.data) for e in events)
    return replace(incident, seq=events[-1].seq, timeline=timeline)


def _text(data: Data, name: str) -> str:
    value = data.get(name)
    return "" if value is None else str(value)


def _texts(data: Data, name: str) -> tuple[str, ...]:
    value = data.get(name)
    return tuple(str(x) for x in value) if isinstance(value, list | tuple) else ()


def _time(data: Data, name: str) -> datetime | None:
    value = data.get(name)
    return datetime.fromisoformat(value) if isinstance(value, str) and value else None


def _declared(ref: str, event: StreamEvent) -> Incident:
    data = event.data
    severity = cast("Severity", _text(data, "severity"))
    return Incident(
        ref=ref,
        declared_at=event.at,
        declared_by=event.by,
        noticed_at=_time(data, "noticed_at") or event.at,
        title=_text(data, "title"),
        source=_text(data, "source"),
        source_ref=_text(data, "source_ref"),
        severity=severity,
        scope=cast("Scope", _text(data, "scope")),
        kind=_text(data, "kind"),
        environment=_text(data, "environment"),
        time_zone=_zone(data, "time_zone"),
        started_at=_time(data, "started_at"),
        customers=_texts(data, "customers"),
        steps=_texts(data, "steps"),
        symptoms=_texts(data, "symptoms"),
        service=_text(data, "service"),
        nature=_text(data, "nature"),
        impact=_text(data, "impact"),
        severities=(SeverityChange(severity, event.at, event.by, _text(data, "reason") or "declared"),),
        teams=_texts(data, "teams"),
    )


def _unchanged(incident: Incident, _event: StreamEvent) -> Incident:
    return incident


def _source_merged(incident: Incident, event: StreamEvent) -> Incident:
    pair = (_text(event.data, "source"), _text(event.data, "source_ref"))
    return replace(incident, also=(*incident.also, pair)) if pair not in incident.also else incident


def _report_received(incident: Incident, event: StreamEvent) -> Incident:
    data = event.data
    report = Report(
        ref=_text(data, "report_ref"),
        account=_text(data, "account"),
        customer=_text(data, "customer"),
        email=_text(data, "email"),
        subject=_text(data, "subject"),
        text=_text(data, "text"),
        received_at=_time(data, "received_at") or event.at,
        ticket_ref=_text(data, "ticket_ref"),
        ticket_url=_text(data, "ticket_url"),
    )
    if incident.report(report.ref) is not None:
        return incident
    known = report.account in incident.customers or not report.account
    customers = incident.customers if known else (*incident.customers, report.account)
    return replace(incident, reports=(*incident.reports, report), customers=customers)


def _severity_changed(incident: Incident, event: StreamEvent) -> Incident:
    severity = cast("Severity", _text(event.data, "severity"))
    change = SeverityChange(severity, event.at, event.by, _text(event.data, "reason"))
    return replace(incident, severity=severity, severities=(*incident.severities, change))


def _scope_changed(incident: Incident, event: StreamEvent) -> Incident:
    customers = (*incident.customers, *(c for c in _texts(event.data, "customers") if c not in incident.customers))
    return replace(incident, scope=cast("Scope", _text(event.data, "scope")), customers=customers)


def _zone(data: Data, name: str) -> str:
    """A zone; an event of an older program may hold anything, and no text could be written with it."""
    value = _text(data, name)
    return value if known_zone(value) else "UTC"


FACT_READERS: Mapping[str, Callable[[Data, str], Any]] = {
    "started_at": _time,
    "steps": _texts,
    "symptoms": _texts,
    "customers": _texts,
    "nature": _text,
    "impact": _text,
    "time_zone": _zone,
}


def _fact_recorded(incident: Incident, event: StreamEvent) -> Incident:
    name = _text(event.data, "field")
    return replace(incident, **{name: FACT_READERS[name](event.data, "value")}) if name in FACT_READERS else incident


def _signed(event: StreamEvent, field_name: str = "text") -> Signature:
    return Signature(event.by, event.at, _text(event.data, field_name))


def _responded(incident: Incident, event: StreamEvent) -> Incident:
    data = event.data
    response = Response(
        _text(data, "report_ref"),
        _time(data, "at") or event.at,
        _text(data, "author") or event.by,
        data.get("human") is True,
        data.get("public") is True,
    )
    return replace(incident, responses=(*incident.responses, response))


def _draft_of(event: StreamEvent) -> Draft:
    data = event.data
    return Draft(
        _text(data, "digest"),
        cast("Phase", _text(data, "phase")),
        data.get("update") is True,
        _text(data, "title"),
        _text(data, "body"),
        event.by,
        event.at,
        _text(data, "reason"),
    )


def _approved(incident: Incident, event: StreamEvent) -> Incident:
    draft = incident.draft
    if draft is None or draft.digest != _text(event.data, "digest"):
        return incident
    post = Post(
        len(incident.posts) + 1,
        draft.phase,
        draft.update,
        draft.title,
        draft.body,
        draft.prepared_by,
        event.by,
        event.at,
        draft.reason,
    )
    reopened = incident.phase == "resolved" and post.phase != "resolved"
    reopenings = (*incident.reopenings, Signature(event.by, event.at, draft.reason)) if reopened else ()
    return replace(
        incident,
        draft=None,
        posts=(*incident.posts, post),
        reopenings=reopenings or incident.reopenings,
        confirmed=None if reopened else incident.confirmed,
        page_acknowledged=None if reopened else incident.page_acknowledged,
    )


def _hold_started(incident: Incident, event: StreamEvent) -> Incident:
    hold = Hold(_text(event.data, "state"), _text(event.data, "report_ref"), event.at)
    return replace(incident, holds=(*incident.holds, hold))


def _hold_ended(incident: Incident, event: StreamEvent) -> Incident:
    ref = _text(event.data, "report_ref")
    ended = (replace(h, ended_at=event.at) if not h.ended_at and h.report_ref == ref else h for h in incident.holds)
    return replace(incident, holds=tuple(ended))


def _effect_done(incident: Incident, event: StreamEvent) -> Incident:
    data = event.data
    name = _text(data, "effect")
    if name in incident.delivered:
        return incident
    done = Delivery(_time(data, "at") or event.at, _text(data, "ref"), _text(data, "url"), _text(data, "detail"))
    holds = data.get("holds")
    done = replace(done, holds=holds if isinstance(holds, int) else None)
    failures = {k: v for k, v in incident.failures.items() if k != name}
    return replace(incident, delivered={**incident.delivered, name: done}, failures=failures)


def _effect_failed(incident: Incident, event: StreamEvent) -> Incident:
    name = _text(event.data, "effect")
    before = incident.failures.get(name)
    failure = Failure(
        event.at, _text(event.data, "reason"), (before.tries if before else 0) + 1, event.data.get("final") is True
    )
    return replace(incident, failures={**incident.failures, name: failure})


def _rca_drafted(incident: Incident, event: StreamEvent) -> Incident:
    data = event.data
    version = RcaVersion(
        len(incident.rcas) + 1,
        _text(data, "digest"),
        data.get("preliminary") is not False,
        _text(data, "title"),
        _text(data, "customer_text"),
    )
    return replace(incident, rcas=(*incident.rcas, version))


def _rca_approved(incident: Incident, event: StreamEvent) -> Incident:
    digest = _text(event.data, "digest")
    if not incident.rcas or incident.rcas[-1].digest != digest:
        return incident
    return replace(incident, rcas=(*incident.rcas[:-1], replace(incident.rcas[-1], approved=_signed(event))))


def _duty_done(incident: Incident, event: StreamEvent) -> Incident:
    key = (_text(event.data, "role"), _text(event.data, "duty"))
    return replace(incident, duties_done={**incident.duties_done, key: _signed(event)})


FOLDS: Mapping[str, Step] = {
    "source_merged": _source_merged,
    "report_received": _report_received,
    "severity_changed": _severity_changed,
    "scope_changed": _scope_changed,
    "fact_recorded": _fact_recorded,
    "triaged": lambda i, e: replace(i, triaged=i.triaged or _signed(e)),
    "responded": _responded,
    "customer_replied": lambda i, e: replace(
        i, replies=(*i.replies, (_text(e.data, "report_ref"), _time(e.data, "at") or e.at))
    ),
    "role_assigned": lambda i, e: replace(
        i, assignments={**i.assignments, _text(e.data, "role"): _text(e.data, "person")}
    ),
    "duty_done": _duty_done,
    "team_engaged": lambda i, e: replace(i, teams=tuple(dict.fromkeys((*i.teams, _text(e.data, "team"))))),
    "page_acknowledged": lambda i, e: replace(i, page_acknowledged=i.page_acknowledged or _signed(e)),
    "eta_given": lambda i, e: replace(i, eta=_signed(e)),
    "announcement_prepared": lambda i, e: replace(i, draft=_draft_of(e)),
    "announcement_approved": _approved,
    "resolution_confirmed": lambda i, e: replace(i, confirmed=_signed(e)),
    "hold_started": _hold_started,
    "hold_ended": _hold_ended,
    "alarm_raised": lambda i, e: replace(i, told={**i.told, _text(e.data, "alarm"): _signed(e)}),
    "task_done": lambda i, e: replace(i, tasks_done={**i.tasks_done, _text(e.data, "task"): _signed(e)}),
    "effect_done": _effect_done,
    "effect_failed": _effect_failed,
    "effect_reopened": lambda i, e: replace(
        i, failures={k: v for k, v in i.failures.items() if k != _text(e.data, "effect")}
    ),
    "rca_drafted": _rca_drafted,
    "rca_approved": _rca_approved,
}
