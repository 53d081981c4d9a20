"""What people still have to do, and whether every customer was told: derived, so nothing is dropped silently. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from recovery.desk import clocks, outbox, ticket
from recovery.desk.incident import Incident
from recovery.desk.settings import DeskSettings
from recovery.desk.sla_settings import SEVERITIES


@dataclass(frozen=True, slots=True)
class Task:
    """Something a person has to do. `text` is ready to be copied; `due_at` None means as soon as possible."""

    ref: str
    title: str
    role: str
    text: str = ""
    link: str = ""
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """Whether one customer ticket has one announcement. "superseded" ones were overtaken while the desk was down."""

    report_ref: str
    post: int
    state: Literal["delivered", "pending", "failing", "refused", "superseded"]
    at: datetime | None = None
    detail: str = ""


def tasks_for(settings: DeskSettings, incident: Incident) -> tuple[Task, ...]:
    """Every open task; one that a person has marked done is gone."""
    found = (
        *_unknown_fields(incident),
        *_confirmed(incident),
        *_in_app(settings, incident),
        *_unlinked(incident),
        *_duties(settings, incident),
        *_analysis(settings, incident),
        *_refused(incident),
    )
    return tuple(task for task in found if task.ref not in incident.tasks_done)


def delivery(incident: Incident) -> tuple[Told, ...]:
    """Per customer ticket and announcement, whether it arrived (R002.13)."""
    return tuple(_told(incident, report.ref, post.n) for post in incident.posts for report in incident.reports)


def unlinked(incident: Incident) -> tuple[str, ...]:
    """Reports whose ticket does not yet hang on the incident ticket (R002.12)."""
    linked = {
        r.ref
        for r in incident.reports
        for slot in ("link", "resolved")
        for n in range(incident.generation + 1)
        if f"ticket_link/jira/{r.ref}@{slot}-{n}" in incident.delivered
    }
    return tuple(r.ref for r in incident.reports if r.ref not in linked)


def flagged_replies(incident: Incident) -> tuple[str, ...]:
    """Reports whose customer wrote again and has no human answer since, longest waiting first (R002.16)."""
    open_since: dict[str, datetime] = {}
    for ref, at in sorted(incident.replies, key=lambda pair: pair[1]):
        answered = any(r.report_ref == ref and r.human and r.public and r.at >= at for r in incident.responses)
        if not answered:
            open_since.setdefault(ref, at)
    return tuple(sorted(open_since, key=lambda ref: open_since[ref]))


def queue(settings: DeskSettings, incidents: Sequence[Incident]) -> tuple[Incident, ...]:
    """The order of work: severity, then nature and business impact, then age; unknown counts as worst (R003.9)."""
    natures, impacts = settings.desk.queue.natures, settings.desk.queue.impacts

    def place(incident: Incident) -> tuple[int, int, int, datetime]:
        nature = natures.index(incident.nature) if incident.nature in natures else -1
        impact = impacts.index(incident.impact) if incident.impact in impacts else -1
        return SEVERITIES.index(incident.severity), nature, impact, incident.noticed_at

    return tuple(sorted(incidents, key=place))


def _told(incident: Incident, report_ref: str, n: int) -> Told:
    name = clocks.notice_effect(report_ref, n)
    done, failed = incident.delivered.get(name), incident.failures.get(name)
    if done is not None:
        return Told(report_ref, n, "delivered", done.at)
    if n < len(incident.posts):
        return Told(report_ref, n, "superseded")
    if failed is not None:
        return Told(report_ref, n, "refused" if failed.final else "failing", None, failed.reason)
    return Told(report_ref, n, "pending")


def _unknown_fields(incident: Incident) -> Iterator[Task]:
    for name in ticket.unknown_fields(incident):
        yield Task(f"fact/{name}", f"Find out and record: {name.replace('_', ' ')}", "support")


def to_be_told(incident: Incident) -> bool:
    """Whether Engineering has confirmed the end and customers have not been told (R002.14)."""
    return incident.confirmed is not None and incident.phase != "resolved"


def _confirmed(incident: Incident) -> Iterator[Task]:
    if to_be_told(incident):
        yield Task(
            f"announce/resolved-{incident.generation}",
            "Tell every customer that it is resolved: Engineering has confirmed it",
            "support",
        )


def _in_app(settings: DeskSettings, incident: Incident) -> Iterator[Task]:
    """What a person does where we may not switch guides: paste this text there, take it down then (R002.31)."""
    rules, post = settings.desk.in_app, outbox.last_phase_post(incident)
    if post is None or rules.mode == "off" or outbox.switches_guides(incident, settings):
        return
    words = f"{post.title}\n\n{post.body}"
    audience = "everyone" if incident.scope == "entire" else "only the affected customers"
    shown = f"in-app/post-{post.n}/show"
    yield Task(shown, f"Publish this in the product for {audience}", rules.owner_role, words, rules.deep_link)
    for earlier in (p for p in incident.posts if not p.update and p.n < post.n):
        title = f'Take down the notice "{earlier.title}"'
        yield Task(f"in-app/post-{earlier.n}/take-down", title, rules.owner_role, "", rules.deep_link)
    if post.phase == "resolved":
        up = incident.tasks_done[shown].at if shown in incident.tasks_done else post.at
        due = up + timedelta(minutes=settings.desk.announcements.expiry_minutes)
        title = f'Take down the notice "{post.title}"'
        yield Task(f"in-app/post-{post.n}/take-down", title, rules.owner_role, "", rules.deep_link, due)


def _unlinked(incident: Incident) -> Iterator[Task]:
    if outbox.incident_ticket(incident) is None:
        return
    for ref in unlinked(incident):
        yield Task(
            f"link/{ref}", f"Customer ticket of report {ref} is not linked to the incident ticket yet", "support"
        )


def _duties(settings: DeskSettings, incident: Incident) -> Iterator[Task]:
    for role, duties in settings.desk.duties.items():
        for duty in duties:
            if (role, duty) not in incident.duties_done:
                person = incident.assignments.get(role, "")
                yield Task(f"duty/{role}/{duty}", f"{duty} ({person or 'nobody assigned'})", role)


def _analysis(settings: DeskSettings, incident: Incident) -> Iterator[Task]:
    """The root-cause analysis: its time to be agreed (R002.17), its approval, and a client without an address."""
    rules = settings.sla.rules
    if settings.sla.targets[incident.severity].rca is None:
        title = f"Agree a time for root-cause analyses of {incident.severity}: not agreed"
        yield Task(f"rca/agree-{incident.severity}", title, rules.rca_owner)
    if incident.rcas and incident.rcas[-1].approved is None:
        yield Task(f"rca/approve-v{incident.rcas[-1].n}", "Approve the root-cause analysis", rules.rca_owner)
    approved = next((v for v in reversed(incident.rcas) if v.approved), None)
    if approved is None:
        return
    for account in clocks.rca_recipients(settings, incident):
        client = settings.desk.clients.get(account)
        effect = clocks.rca_effect(incident, account, approved.n)
        if (client is None or not client.notice_to) and effect not in incident.delivered:
            text = f"{approved.title}\n\n{approved.customer_text}"
            yield Task(effect, f"Send the root-cause analysis to {account} by hand and record it", "success", text)


def _refused(incident: Incident) -> Iterator[Task]:
    for name, failure in incident.failures.items():
        if failure.final:
            yield Task(f"refused/{name}", f"Do by hand or correct the cause: {name} ({failure.reason})", "engineering")
