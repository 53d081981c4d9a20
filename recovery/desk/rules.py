"""Who may do what to an incident, and when: a rule gives the event to append or refuses in one sentence. Pure.

A person signs by the name that stands under a role in `config/desk.toml`. The product itself (`incident.MACHINE`) may
declare what monitoring or customers noticed and record what happened; it never estimates, approves or confirms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from recovery.desk import announce
from recovery.desk.incident import MACHINE, Change, Incident, Report, plain
from recovery.desk.settings import PHASES, DeskSettings, Phase, Scope, Step
from recovery.desk.sla_settings import SEVERITIES, Severity
from recovery.errors import RefusedError
from recovery.window import known_zone

IncidentKind = Literal["degradation", "outage"]
FACTS = ("started_at", "steps", "symptoms", "customers", "nature", "impact", "time_zone")


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is said when an incident is opened. Empty fields are "not yet known" and stay open tasks (R002.11).

    Several `severities` mean doubt: the higher one holds (R003.43). `kind`: decline or full stop (R003.24, R003.25).
    """

    title: str
    source: Literal["alert", "p1_mail", "report", "person"]
    source_ref: str
    severities: tuple[Severity, ...]
    scope: Scope
    kind: IncidentKind
    environment: str
    time_zone: str
    noticed_at: datetime
    service: str = ""
    planned: bool = False
    started_at: datetime | None = None
    customers: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    symptoms: tuple[str, ...] = ()
    nature: str = ""
    impact: str = ""


def is_person(settings: DeskSettings, name: str) -> bool:
    """Whether this name stands under a role."""
    return any(name in persons for persons in settings.desk.roles.values())


def authorize(settings: DeskSettings, by: str, step: Step) -> None:
    """RefusedError unless a role of this person may take the step."""
    allowed = settings.desk.permissions.get(step, ())
    if not any(by in settings.desk.roles[role] for role in allowed):
        roles = ", ".join(allowed) or "nobody"
        raise RefusedError(f'"{by}" may not {step.replace("_", " ")}: that is for {roles}.')


def allowed_severity(settings: DeskSettings, severities: Sequence[Severity], environment: str) -> Severity:
    """The highest of the severities considered; RefusedError when the environment excludes it (R003.32)."""
    severity = min(severities, key=SEVERITIES.index)
    excluded = settings.desk.severities[severity].excludes_environments
    if environment.strip().casefold() in {e.casefold() for e in excluded}:
        raise RefusedError(f'An incident in "{environment}" is never {severity}.')
    return severity


def declare(settings: DeskSettings, by: str, at: datetime, said: Declaration) -> Change:
    """Open an incident; refused for planned work (R003.23), a forbidden severity, a start or a zone that cannot be."""
    if by != MACHINE or said.source == "person":
        authorize(settings, by, "declare")
    if said.planned:
        raise RefusedError("Planned work is not an incident; announce it as maintenance.")
    _check_fact(settings, "started_at", said.started_at, at)
    _check_fact(settings, "time_zone", said.time_zone, at)
    severity = allowed_severity(settings, said.severities, said.environment)
    doubt = f"highest of {', '.join(said.severities)}" if len(set(said.severities)) > 1 else "declared"
    data = {
        "title": said.title,
        "source": said.source,
        "source_ref": said.source_ref,
        "severity": severity,
        "reason": doubt,
        "scope": said.scope,
        "kind": said.kind,
        "environment": said.environment,
        "time_zone": said.time_zone,
        "service": said.service,
        "noticed_at": plain(min(said.noticed_at, at)),
        "started_at": plain(said.started_at),
        "customers": list(said.customers),
        "steps": list(said.steps),
        "symptoms": list(said.symptoms),
        "nature": said.nature,
        "impact": said.impact,
        "teams": list(settings.desk.team_tickets),
    }
    return Change("declared", by, at, data)


def merge_source(by: str, at: datetime, source: str, source_ref: str) -> Change:
    """Note a further source of the same incident; the first one keeps naming it (R002.4)."""
    return Change("source_merged", by, at, {"source": source, "source_ref": source_ref})


def add_report(by: str, report: Report, at: datetime) -> Change:
    """Add a customer's report, at any time of the incident's life (R002.6); the same ref again changes nothing."""
    data = {
        "report_ref": report.ref,
        "account": report.account,
        "customer": report.customer,
        "email": report.email,
        "subject": report.subject,
        "text": report.text,
        "received_at": plain(report.received_at),
        "ticket_ref": report.ticket_ref,
        "ticket_url": report.ticket_url,
    }
    return Change("report_received", by, at, data)


def change_severity(
    settings: DeskSettings, incident: Incident, by: str, at: datetime, to: Severity, reason: str
) -> Change:
    """A new severity with its reason; clocks keep their start and take the new target (R003.43)."""
    authorize(settings, by, "change_severity")
    if not reason.strip():
        raise RefusedError("A change of severity needs a reason.")
    if to == incident.severity:
        raise RefusedError(f"The incident already is {to}.")
    severity = allowed_severity(settings, (to,), incident.environment)
    return Change("severity_changed", by, at, {"severity": severity, "before": incident.severity, "reason": reason})


def record_fact(settings: DeskSettings, by: str, at: datetime, name: str, value: object) -> Change:
    """Fill in what was not yet known; refused for a start in the future and a time zone that there is not."""
    if not is_person(settings, by):
        raise RefusedError(f'"{by}" has no role at this desk and records no facts.')
    if name not in FACTS:
        raise RefusedError(f'"{name}" is not a field of an incident: choose one of {", ".join(FACTS)}.')
    _check_fact(settings, name, value, at)
    kept = plain(value) if isinstance(value, datetime) else list(value) if isinstance(value, tuple) else value
    return Change("fact_recorded", by, at, {"field": name, "value": kept})


def _check_fact(settings: DeskSettings, name: str, value: object, at: datetime) -> None:
    """RefusedError for a value that no clock, text or queue could be made with."""
    if name == "started_at" and isinstance(value, datetime) and value > at:
        raise RefusedError("An incident cannot start in the future.", "Check the time and its zone.")
    if name == "time_zone" and known_zone(str(value)) is None:
        raise RefusedError(f'"{value}" is not a time zone.', "Use an IANA name such as America/New_York.")
    known = {"nature": settings.desk.queue.natures, "impact": settings.desk.queue.impacts}.get(name)
    if known is not None and value not in known:
        raise RefusedError(f"{name.capitalize()} is one of {', '.join(known)}.")


def give_eta(settings: DeskSettings, by: str, at: datetime, text: str) -> Change:
    """A time of resolution in a person's words; the product never makes one up (R002.23)."""
    if not is_person(settings, by):
        raise RefusedError("A time of resolution comes from a named person only; without one it stays Unknown.")
    if not text.strip():
        raise RefusedError('Say when, or leave it "Unknown".')
    return Change("eta_given", by, at, {"text": text.strip()})


def confirm_resolved(settings: DeskSettings, by: str, at: datetime, words: str) -> Change:
    """A named person of Engineering confirms that it is resolved (R002.15)."""
    authorize(settings, by, "confirm_resolved")
    return Change("resolution_confirmed", by, at, {"text": words})


def prepare_announcement(
    settings: DeskSettings, incident: Incident, by: str, at: datetime, phase: Phase, reason: str = ""
) -> Change:
    """The announcement of a phase, filled and frozen for approval (R002.18 to R002.29)."""
    authorize(settings, by, "announce")
    announce.refuse_order(incident, phase, reason)
    announce.refuse_unconfirmed(incident, phase)
    return _prepared(settings, by, at, phase, announce.announcement(settings, incident, phase), reason, update=False)


def prepare_update(settings: DeskSettings, incident: Incident, by: str, at: datetime, note: str) -> Change:
    """A regular update within the present phase, for approval (R002.13)."""
    authorize(settings, by, "announce")
    words = announce.update(settings, incident, note, at)
    return _prepared(settings, by, at, incident.phase or PHASES[0], words, "", update=True)


def approve_announcement(settings: DeskSettings, incident: Incident, by: str, at: datetime, digest: str) -> Change:
    """Approve exactly the words that were shown; from here they go out (R002.30)."""
    authorize(settings, by, "approve_announcement")
    draft = incident.draft
    if draft is None or draft.digest != digest:
        raise RefusedError("There is no prepared announcement with these words; look at the present one again.")
    if draft.prepared_by == by and not settings.desk.announcements.self_approval:
        raise RefusedError("The person who prepared an announcement may not approve it here.")
    if draft.update and draft.phase != incident.phase:
        raise RefusedError("The phase has changed since this update was prepared; prepare it again.")
    if not draft.update:
        announce.refuse_order(incident, draft.phase, draft.reason)
        announce.refuse_unconfirmed(incident, draft.phase)
    return Change("announcement_approved", by, at, {"digest": digest, "phase": draft.phase})


def record_response(
    by: str, at: datetime, report_ref: str, *, human: bool, public: bool, answered_at: datetime
) -> Change:
    """An answer seen on a customer's ticket, or an automatic receipt we sent (R003.46)."""
    data = {"report_ref": report_ref, "human": human, "public": public, "author": by, "at": plain(answered_at)}
    return Change("responded", by, at, data)


def start_hold(
    settings: DeskSettings, incident: Incident, by: str, at: datetime, state: str, report_ref: str = ""
) -> Change:
    """Let the clocks stand still, only in a set state and never for P1 (R003.1, R003.47)."""
    if not is_person(settings, by):
        raise RefusedError(f'"{by}" has no role at this desk and pauses no clock.')
    if incident.severity == "P1":
        raise RefusedError("The clocks of a P1 incident are never paused.")
    if state not in settings.sla.rules.pause_in:
        raise RefusedError(f"Clocks are paused only in these states: {', '.join(settings.sla.rules.pause_in)}.")
    if report_ref and incident.report(report_ref) is None:
        raise RefusedError(f'The incident has no report "{report_ref}".')
    return Change("hold_started", by, at, {"state": state, "report_ref": report_ref})


def end_hold(settings: DeskSettings, by: str, at: datetime, report_ref: str = "") -> Change:
    """Let the clocks of a report, or of all, go on."""
    if not is_person(settings, by):
        raise RefusedError(f'"{by}" has no role at this desk and ends no pause.')
    return Change("hold_ended", by, at, {"report_ref": report_ref})


def acknowledge_page(incident: Incident, by: str, at: datetime, how: str) -> Change:
    """Somebody has answered the page: from here the on-call chain stands still (R003.22)."""
    if incident.page_acknowledged is not None:
        raise RefusedError(f"The page was acknowledged by {incident.page_acknowledged.by} already.")
    return Change("page_acknowledged", by, at, {"text": how})


def record_reply(report_ref: str, at: datetime, replied_at: datetime, mail: Mapping[str, str] | None = None) -> Change:
    """A customer wrote again: it is flagged until a person answers (R002.16).

    `mail` is what was written by mail, with its `reply_ref`; a reply on a ticket stands there.
    """
    return Change("customer_replied", MACHINE, at, {"report_ref": report_ref, "at": plain(replied_at), **(mail or {})})


def change_scope(
    settings: DeskSettings, incident: Incident, by: str, at: datetime, scope: Scope, customers: tuple[str, ...]
) -> Change:
    """Who is affected, as known now; customers are only ever added (R002.1)."""
    authorize(settings, by, "declare")
    if scope == incident.scope and not set(customers) - set(incident.customers):
        raise RefusedError("The incident has this scope and these customers already.")
    return Change("scope_changed", by, at, {"scope": scope, "customers": list(customers)})


def engage_team(settings: DeskSettings, incident: Incident, by: str, at: datetime, team: str) -> Change:
    """A further team joins, with a child ticket of its own (R003.19)."""
    authorize(settings, by, "declare")
    if not team.strip() or team in incident.teams:
        raise RefusedError(f'"{team}" is no team or has its ticket already.')
    return Change("team_engaged", by, at, {"team": team.strip()})


def reopen_effect(settings: DeskSettings, incident: Incident, by: str, at: datetime, effect: str) -> Change:
    """A named person has removed what was in an effect's way: it is tried again."""
    if not is_person(settings, by):
        raise RefusedError(f'"{by}" has no role at this desk and decides nothing about its effects.')
    if effect not in incident.failures:
        raise RefusedError(f'"{effect}" has not failed.')
    return Change("effect_reopened", by, at, {"effect": effect})


def assign_role(settings: DeskSettings, by: str, at: datetime, role: str, person: str) -> Change:
    """Who answers for a role's duties in this incident (R002.34)."""
    if person not in settings.desk.roles.get(role, ()):
        raise RefusedError(f'"{person}" does not stand under the role "{role}".')
    return Change("role_assigned", by, at, {"role": role, "person": person})


def complete_duty(settings: DeskSettings, by: str, at: datetime, role: str, duty: str) -> Change:
    """A person of the role has done one of its duties (R002.34)."""
    if by not in settings.desk.roles.get(role, ()) or duty not in settings.desk.duties.get(role, ()):
        raise RefusedError(f'"{by}" cannot sign "{duty}" for {role}.')
    return Change("duty_done", by, at, {"role": role, "duty": duty})


def complete_task(settings: DeskSettings, by: str, at: datetime, task: str, words: str = "") -> Change:
    """A person has done a task of the list by hand (R002.31)."""
    if not is_person(settings, by):
        raise RefusedError("A task is signed by a person who has a role at this desk.")
    return Change("task_done", by, at, {"task": task, "text": words})


def triage(settings: DeskSettings, by: str, at: datetime, nature: str, impact: str) -> tuple[Change, ...]:
    """A person has looked: nature and business impact are known, and time to triage ends (R003.9, R003.11)."""
    queue = settings.desk.queue
    if nature not in queue.natures or impact not in queue.impacts:
        raise RefusedError(f"Nature is one of {', '.join(queue.natures)}; impact one of {', '.join(queue.impacts)}.")
    facts = tuple(record_fact(settings, by, at, n, v) for n, v in (("nature", nature), ("impact", impact)))
    return (*facts, Change("triaged", by, at, {"nature": nature, "impact": impact}))


def _prepared(
    settings: DeskSettings, by: str, at: datetime, phase: Phase, words: announce.Words, reason: str, *, update: bool
) -> Change:
    announce.refuse_internal(settings, words.text)
    data = {
        "digest": words.digest,
        "phase": phase,
        "update": update,
        "title": words.title,
        "body": words.body,
        "reason": reason.strip(),
    }
    return Change("announcement_prepared", by, at, data)
