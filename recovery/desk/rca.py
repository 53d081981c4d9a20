"""The root-cause analysis: drafted from what is recorded, marked preliminary, approved by name, sent out. Pure.

Its fields are those of R003.48. What is not known reads "not yet known": a preliminary version may go out with that, a
final one is refused. A draft stops no clock; only its delivery to a client does (R003.2, `recovery.desk.clocks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from recovery.desk import announce, clocks, rules, ticket
from recovery.desk.incident import Change, Incident
from recovery.desk.settings import DeskSettings
from recovery.desk.sla import read
from recovery.desk.ticket import NOT_YET_KNOWN
from recovery.errors import RefusedError
from recovery.model import digest_of, iso

Section = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Counts:
    """What the recovery came to, from the ledger or its closing balance; None is not known, and not said.

    `missed` are the items that needed something; `recipients` are the people whom the recovery reached.
    """

    due: int | None = None
    done_before: int | None = None
    missed: int | None = None
    recovered: int = 0
    skipped: int = 0
    held: int = 0
    doubles: int | None = None
    recipients: int | None = None

    def __str__(self) -> str:
        numbers: Mapping[str, int | None] = {
            "items due": self.due,
            "done before": self.done_before,
            "needed something": self.missed,
            "recovered": self.recovered,
            "skipped": self.skipped,
            "held": self.held,
            "doubles": self.doubles,
        }
        return "; ".join(f"{name}: {n}" for name, n in numbers.items() if n is not None).capitalize()

    @property
    def for_customers(self) -> str:
        """What customers are told of it; "" when there was nothing to recover."""
        missed = self.due if self.missed is None else self.missed
        return f"{missed} scheduled items were affected, {self.recovered} of them were made good" if missed else ""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """One action that follows: what, who, until when, under which ticket (R003.48)."""

    what: str
    owner: str = ""
    due: date | None = None
    ticket: str = ""


@dataclass(frozen=True, slots=True)
class RcaFacts:
    """What people and the ledger know. `timeline` rows are (when, what, evidence ref)."""

    counts: Counts
    timeline: tuple[tuple[datetime, str, str], ...] = ()
    evidence: tuple[tuple[str, str], ...] = ()
    detection: str = ""
    trigger: str = ""
    causes: tuple[str, ...] = ()
    temporary_fix: str = ""
    permanent_fix: str = ""
    follow_ups: tuple[FollowUp, ...] = ()
    went_well: tuple[str, ...] = ()
    went_badly: tuple[str, ...] = ()
    summary_for_customers: str = ""
    causes_for_customers: str = ""


@dataclass(frozen=True, slots=True)
class RcaDraft:
    """The analysis: internal sections and the customers' version. `unknown` names the fields that are still open."""

    title: str
    preliminary: bool
    sections: tuple[Section, ...]
    customer: announce.Words
    unknown: tuple[str, ...]

    @property
    def digest(self) -> str:
        """What an approval is bound to: every word of both versions."""
        return digest_of([self.title, self.preliminary, self.sections, self.customer.title, self.customer.body])


def draft_rca(
    settings: DeskSettings, incident: Incident, facts: RcaFacts, now: datetime, *, preliminary: bool = True
) -> RcaDraft:
    """The analysis as far as it is known at `now`."""
    title = f"Root Cause Analysis: {incident.title}"
    sections = (
        ("Status", ("PRELIMINARY" if preliminary else "Final", f"As of {iso(now)}", f"Incident {incident.ref}")),
        ("Impact", _impact(settings, incident, facts.counts)),
        ("Timeline", _timeline(incident, facts)),
        ("Detection", (facts.detection or _detection(incident),)),
        ("Trigger", (facts.trigger or NOT_YET_KNOWN,)),
        ("Causes", facts.causes or (NOT_YET_KNOWN,)),
        ("Temporary fix", (facts.temporary_fix or NOT_YET_KNOWN,)),
        ("Permanent fix", (facts.permanent_fix or NOT_YET_KNOWN,)),
        ("Actions", tuple(_follow_up(f) for f in facts.follow_ups) or (NOT_YET_KNOWN,)),
        ("Went well", facts.went_well),
        ("Went badly", facts.went_badly),
        (
            "Promised times",
            tuple(f"{c.name}, {c.about}: {read(c, now)}" for c in clocks.clocks_for(settings, incident)),
        ),
        ("Messages to customers", tuple(f"{iso(p.at)} {p.title}" for p in incident.posts)),
        ("Evidence", tuple(f"{label}: {ref}" for label, ref in facts.evidence)),
    )
    return RcaDraft(
        title,
        preliminary,
        tuple((name, lines) for name, lines in sections if lines),
        _customer_version(settings, incident, facts, preliminary),
        _unknown(facts),
    )


def prepare_rca(settings: DeskSettings, by: str, at: datetime, draft: RcaDraft) -> Change:
    """Put a version up for approval; a final one must be complete, and no customer text may hold internals."""
    if not rules.is_person(settings, by):
        raise RefusedError(f'"{by}" has no role at this desk and drafts no analysis.')
    if not draft.preliminary and draft.unknown:
        raise RefusedError(f"A final analysis needs {', '.join(draft.unknown)}; send it as preliminary or complete it.")
    announce.refuse_internal(settings, draft.customer.text)
    data = {
        "digest": draft.digest,
        "preliminary": draft.preliminary,
        "title": draft.customer.title,
        "customer_text": draft.customer.body,
        "sections": [[name, list(lines)] for name, lines in draft.sections],
    }
    return Change("rca_drafted", by, at, data)


def approve_rca(settings: DeskSettings, incident: Incident, by: str, at: datetime, digest: str) -> Change:
    """A named person approves exactly this version (R003.3); from here the outbox delivers it."""
    rules.authorize(settings, by, "approve_rca")
    if not incident.rcas or incident.rcas[-1].digest != digest:
        raise RefusedError("There is no such version of the analysis; look at the present one again.")
    return Change("rca_approved", by, at, {"digest": digest})


def _impact(settings: DeskSettings, incident: Incident, counts: Counts) -> tuple[str, ...]:
    names = ", ".join(ticket.customer_names(settings, incident)) or NOT_YET_KNOWN
    reach = "not known" if counts.recipients is None else str(counts.recipients)
    end = incident.confirmed.at if incident.confirmed else None
    length = _length(end - incident.started_at) if end and incident.started_at else NOT_YET_KNOWN
    return (
        f"Severity {incident.severity}, {incident.kind}, scope: {incident.scope}",
        f"Customers: {names}",
        f"Started: {ticket.with_zone(incident.started_at, incident.time_zone)}",
        f"Ended: {ticket.with_zone(end, incident.time_zone)}",
        f"Duration: {length}",
        f"Customer reports: {len(incident.reports)}",
        str(counts),
        f"Recipients reached by the recovery: {reach}",
    )


def _length(delta: timedelta) -> str:
    hours, minutes = divmod(int(delta.total_seconds()) // 60, 60)
    return f"{hours} h {minutes:02d} min"


def _timeline(incident: Incident, facts: RcaFacts) -> tuple[str, ...]:
    """Recorded events of the incident and rows from the ledger, in order, each with its evidence."""
    shown = {"effect_failed", "effect_done", "alarm_raised"}
    rows = [(e.at, e.kind.replace("_", " ") + f" by {e.by}", f"event {e.seq}") for e in incident.timeline]
    rows = [row for row, e in zip(rows, incident.timeline, strict=True) if e.kind not in shown]
    if incident.started_at:
        rows.append((incident.started_at, "incident began", ""))
    ordered = sorted([*rows, *facts.timeline], key=lambda row: row[0])
    return tuple(f"{iso(at)} {what}" + (f" [{ref}]" if ref else "") for at, what, ref in ordered)


def _detection(incident: Incident) -> str:
    return f"By {incident.source.replace('_', ' ')} {incident.source_ref} at {iso(incident.noticed_at)}"


def _follow_up(action: FollowUp) -> str:
    due = action.due.isoformat() if action.due else NOT_YET_KNOWN
    return f"{action.what} (owner: {action.owner or NOT_YET_KNOWN}, due: {due}, ticket: {action.ticket or 'none'})"


def _unknown(facts: RcaFacts) -> tuple[str, ...]:
    known: Mapping[str, object] = {
        "trigger": facts.trigger,
        "causes": facts.causes,
        "temporary fix": facts.temporary_fix,
        "permanent fix": facts.permanent_fix,
        "actions with owner and due date": facts.follow_ups and all(f.owner and f.due for f in facts.follow_ups),
        "summary for customers": facts.summary_for_customers,
        "causes for customers": facts.causes_for_customers,
    }
    return tuple(name for name, value in known.items() if not value)


def _customer_version(settings: DeskSettings, incident: Incident, facts: RcaFacts, preliminary: bool) -> announce.Words:
    """The customers' words come from people; only times and numbers are filled in."""
    end = incident.confirmed.at if incident.confirmed else None
    period = (
        f"{ticket.with_zone(incident.started_at, incident.time_zone)} to {ticket.with_zone(end, incident.time_zone)}"
    )
    scope = "all customers" if incident.scope == "entire" else "some customers"
    values = {
        "preliminary": preliminary,
        "title": announce.for_customers(settings, incident.title, "service incident"),
        "summary": facts.summary_for_customers or NOT_YET_KNOWN,
        "period": period,
        "impact": "; ".join(part for part in (scope, facts.counts.for_customers) if part),
        "causes": facts.causes_for_customers or NOT_YET_KNOWN,
        "temporary_fix": facts.temporary_fix or NOT_YET_KNOWN,
        "permanent_fix": facts.permanent_fix or NOT_YET_KNOWN,
        "brand": announce.brand_of(settings, incident),
    }
    return announce.render(settings, "rca_customer", values, {})
