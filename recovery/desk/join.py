"""How what came in becomes part of an incident: what may join it, and what the incident is then told of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from recovery.desk import notice, rules
from recovery.desk.came import ANSWER, REPLIED, Came, Reply
from recovery.desk.incident import MACHINE, Change, Incident, Report, plain
from recovery.desk.rules import Declaration
from recovery.desk.settings import DeskSettings


def takes_in(incident: Incident) -> bool:
    """Whether signals may join it: not the record of a small fault or wish, nor of one request that a person made."""
    major = incident.severity in ("P1", "P2") and (incident.source != "report" or bool(incident.also))
    return major and incident.resolved_at is None


def opened(incident: Incident) -> notice.OpenIncident:
    """The incident as noticing sees it; `active_at` is a person's last step, at first the declaration."""
    by_people = (e.at for e in incident.timeline if e.by != MACHINE)
    active_at = max([incident.declared_at, *by_people])
    paged = incident.severity == "P1"
    return notice.OpenIncident(incident.ref, incident.noticed_at, incident.service, paged, active_at)


def all_told(incident: Incident, group: Sequence[Came], now: datetime) -> Sequence[Change]:
    """What the incident has not been told yet of its mails."""
    return [change for came in group for change in _told(incident, came, now)]


def _told(incident: Incident, came: Came, now: datetime) -> Iterator[Change]:
    """The mail as a report, the receipt we sent, and the customer's replies.

    An answer to a mail of the incident goes to the report that its sender, or somebody of the same account, has made.
    """
    mail, ref = came.mail, came.signal.ref
    if mail is None:
        return
    made = _report_of(incident, came) if came.fate == ANSWER and incident.report(ref) is None else None
    if made is not None:
        ref = made.ref
        first = Reply(mail.message_ref, mail.received_at, mail.sender, mail.subject, mail.text)
        if not _passed_on(incident, ref, first):
            yield _reply(ref, now, first)
    elif incident.report(ref) is None:
        who = mail.sender
        report = Report(ref, came.signal.account, who, who, mail.subject, mail.text, mail.received_at)
        yield rules.add_report(MACHINE, report, now)
    receipt = came.answered.get("acknowledgement")
    if receipt is not None and not any(r.report_ref == ref and r.at == receipt[0] for r in incident.responses):
        yield rules.record_response(MACHINE, now, ref, human=False, public=True, answered_at=receipt[0])
    for reply in came.replies:
        if not _passed_on(incident, ref, reply):
            yield _reply(ref, now, reply)


def _report_of(incident: Incident, came: Came) -> Report | None:
    sender, account = came.mail.sender if came.mail else "", came.signal.account
    same = [r for r in incident.reports if sender and r.email.casefold() == sender.casefold()]
    return next(iter((*same, *(r for r in incident.reports if account and r.account == account))), None)


def _reply(report_ref: str, now: datetime, reply: Reply) -> Change:
    said = {"reply_ref": reply.ref, **{n: getattr(reply, n) for n in REPLIED}}
    return rules.record_reply(report_ref, now, reply.at, said)


def _passed_on(incident: Incident, report_ref: str, reply: Reply) -> bool:
    """Whether the incident has the reply; an older program's event of it has the time alone."""
    told = (e.data for e in incident.timeline if e.kind == "customer_replied")
    return any(
        d["reply_ref"] == reply.ref
        if "reply_ref" in d
        else (d.get("report_ref"), d.get("at")) == (report_ref, plain(reply.at))
        for d in told
    )


def merging(signal: notice.Signal, now: datetime) -> Callable[[Incident], Sequence[Change]]:
    """The step that remembers one more source, unless the incident knows it."""
    pair = (signal.source, signal.ref)

    def decide(i: Incident) -> Sequence[Change]:
        known = pair in ((i.source, i.source_ref), *i.also)
        return () if known else (rules.merge_source(MACHINE, now, *pair),)

    return decide


def declared(settings: DeskSettings, decision: notice.Decision, first: notice.Signal) -> Declaration:
    """What signals alone can say: how bad it is and how far it reaches is for people, so doubt is P1 (R003.43)."""
    accounts = tuple(dict.fromkeys(s.account for s in decision.signals if s.account))
    return Declaration(
        title=first.text or f"{first.source.replace('_', ' ')} {first.ref}",
        source=first.source,
        source_ref=first.ref,
        severities=("P1", "P2"),
        scope="subset",
        kind="outage",
        environment="production",
        time_zone=settings.timetable(accounts[0] if accounts else "").versions[-1][1].zone,
        noticed_at=decision.noticed_at,
        service=next((s.service for s in decision.signals if s.service), ""),
        customers=accounts,
    )
