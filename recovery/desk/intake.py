"""What comes in: mails and alerts are journalled first, then answered, then become an incident, join one, or wait.

Everything that comes in is an event of one stream, so that a crash at any point ends with each mail answered once and
each incident opened once (R002.2 to R002.4, R003.4 to R003.10, R003.14, R003.42).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, cast

from recovery.act import IT_HAPPENED
from recovery.desk import mailbox, notice, rules
from recovery.desk.incident import MACHINE, Change, Incident, Report, plain
from recovery.desk.mailbox import Request
from recovery.desk.office import CHOICES, IncidentOffice
from recovery.desk.ports import IncomingMail, MailSource
from recovery.desk.rules import Declaration
from recovery.desk.settings import DeskSettings
from recovery.desk.sla_settings import Severity
from recovery.errors import LedgerConflict, RefusedError, UsageError
from recovery.journal import StreamEvent

STREAM = "intake"
TRIES = 25
WAITING = timedelta(days=30)
REPLIED = ("sender", "subject", "text")


@dataclass(frozen=True, slots=True)
class Reply:
    """A mail that answers one which came in before, or our answer to it."""

    message_ref: str
    at: datetime
    sender: str
    subject: str
    text: str

    @property
    def ref(self) -> str:
        """Its name at this desk."""
        return mailbox.ref_of(self.message_ref)


@dataclass(slots=True)
class Came:
    """One mail or alert as journalled, and what has become of it. `incident` is "" while it waits."""

    signal: notice.Signal
    mail: IncomingMail | None = None
    came_to: str = ""
    answered: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    tried: dict[str, str] = field(default_factory=dict)
    replies: tuple[Reply, ...] = ()
    incident: str = ""
    fate: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one mail came to, for people."""

    request: Request
    incident: str
    open_answers: tuple[str, ...]


@dataclass(slots=True)
class Intake:
    """The desk's door. Every step may be repeated by anybody at any time."""

    office: IncidentOffice
    settings: DeskSettings

    async def take_mails(self, mails: Sequence[IncomingMail]) -> tuple[Taken, ...]:
        """Journals the mails, then does what they ask for; raises LedgerError."""
        for mail in mails:
            await self.journal(mail)
        await self.round()
        known = await self._load()
        requests = [mailbox.take_in(self.settings, mail) for mail in mails]
        return tuple(self._taken(r, known[r.ref]) for r in requests if r.ref in known)

    async def fetch(self, source: MailSource) -> None:
        """Journals what a mailbox holds and only then marks it as taken; `round` answers it. Raises LedgerError."""
        for mail in await source.fetch():
            await self.journal(mail)
            await source.mark_taken(mail.message_ref)

    async def journal(self, mail: IncomingMail) -> None:
        """The mail as an event, once: a reply to what came in before, or, as always at a P1 address, a mail of its own.

        The addresses it was sent to are left out, also where its text quotes them: a P1 address is a secret.
        """
        request = mailbox.take_in(self.settings, mail)
        subject, text = (mailbox.without_secrets(self.settings, each) for each in (mail.subject, mail.text))
        kept = replace(mail, subject=subject, text=text)

        def decide(known: Mapping[str, Came]) -> Change | None:
            about = _answers_to(known, mail)
            if request.ref in known or (about is not None and any(r.ref == request.ref for r in about.replies)):
                return None
            if about is not None and request.came_to != "p1":
                return Change("reply_received", MACHINE, self._now(), _reply_data(kept, about.signal.ref))
            return Change("mail_received", MACHINE, self._now(), _mail_data(kept, request))

        await self._append(decide)

    async def alert(self, signal: notice.Signal) -> str:
        """A monitoring alert (R002.2); the incident it opened or joined, "" for planned work."""

        def decide(known: Mapping[str, Came]) -> Change | None:
            if signal.ref in known:
                return None
            data = {"ref": signal.ref, "at": plain(signal.at), "service": signal.service, "account": signal.account}
            return Change(
                "alert_received", MACHINE, self._now(), {**data, "text": signal.text, "planned": signal.planned}
            )

        await self._append(decide)
        await self.round()
        return (await self._load())[signal.ref].incident

    async def round(self) -> None:
        """Answers what is not answered, and lets what waits become or join incidents."""
        known = await self._load()
        for came in known.values():
            if came.mail is not None:
                await self._answer(came, came.mail)
        await self._place(await self._load())
        for came in (await self._load()).values():
            if came.incident:
                await self._pass_on(came)

    async def waiting(self) -> tuple[Came, ...]:
        """Mails that nobody has classified and that belong to no incident, oldest first."""
        known = (await self._load()).values()
        return tuple(c for c in known if c.mail is not None and not c.fate)

    async def classify(self, ref: str, by: str, severity: Severity) -> Incident:
        """A person gives a waiting request its severity: it becomes a record of its own and keeps its start (R003.42).

        Raises UsageError for an unknown request, RefusedError for a person who may not declare.
        """
        came = next((c for c in await self.waiting() if c.signal.ref == ref), None)
        if came is None or came.mail is None:
            raise UsageError(f"No request {ref!r} waits.", "`allclear incident requests` lists them.")
        request = mailbox.classify(self.settings, self.request(came), severity)
        said = mailbox.declaration(self.settings, request, came.mail)
        said = replace(said, source="report", source_ref=ref, severities=(severity,), kind="degradation")
        rules.authorize(self.settings, by, "declare")
        incident = await self.office.declare(by, said, notice.ref_of("report", ref))
        await self._placed(ref, incident.ref, "declare")
        await self.round()
        return await self.office.step(incident.ref, lambda _i: ())

    async def open_answers(self) -> tuple[tuple[str, str, str], ...]:
        """Receipts and questions to customers that did not get out, as (request, answer, why)."""
        known = (await self._load()).values()
        recent = (c for c in known if c.mail is not None and self._now() - c.mail.received_at <= WAITING)
        return tuple(
            (c.signal.ref, slot, why) for c in recent for slot, why in c.tried.items() if slot not in c.answered
        )

    async def settle(self, ref: str, by: str, answer: str, choice: str, reason: str) -> None:
        """A named person says whether an answer in doubt reached the customer, or that it is to be tried again.

        Raises RefusedError for a stranger, UsageError for an answer that is not open or a choice that there is not.
        """
        if not rules.is_person(self.settings, by):
            raise RefusedError(f'"{by}" has no role at this desk and decides nothing about its answers.')
        came = (await self._load()).get(ref)
        if came is None or came.mail is None or answer not in came.tried or answer in came.answered:
            raise UsageError(f"{ref} has no open answer {answer!r}.", "`allclear incident tick` lists what is open.")
        if choice not in CHOICES:
            raise UsageError(f"{choice!r} is no choice.", f"Choose one of: {', '.join(CHOICES)}.")
        effects = mailbox.answers(self.settings, self.request(came), came.mail)
        row = await self.office.settle_effect(next(e for e in effects if e.slot == answer), by, choice, reason)
        if choice == IT_HAPPENED:
            data = {"ref": ref, "answer": answer, "done": True, "message_ref": row.result_ref if row else ""}
            change = Change("answered", by, self._now(), {**data, "text": reason})
            await self._append(lambda known: None if answer in known[ref].answered else change)
        await self.round()

    def request(self, came: Came) -> Request:
        """A journalled mail as a request; the address that it came to is put back from the settings."""
        assert came.mail is not None
        desk = self.settings.desk
        to = desk.addresses.success if came.came_to == "success" else desk.addresses.help
        if came.came_to == "p1" and came.signal.account in desk.clients:
            to = desk.clients[came.signal.account].p1_address.get_secret_value()
        return mailbox.take_in(self.settings, replace(came.mail, to=(to,)))

    # ---- the steps

    async def _answer(self, came: Came, mail: IncomingMail) -> None:
        request = self.request(came)
        if self._now() - mail.received_at > WAITING:
            return
        for effect in mailbox.answers(self.settings, request, mail):
            if effect.slot in came.answered:
                continue
            told = await self.office.outbox.alone(effect, f"intake/{request.ref}")
            if not told.done and came.tried.get(effect.slot) == told.text:
                continue
            data = {"ref": request.ref, "answer": effect.slot, "done": told.done, "message_ref": told.ref}
            change = Change("answered", MACHINE, self._now(), {**data, "text": told.text})
            await self._append(lambda _k, c=change: c)  # type: ignore[misc] # a default binds the loop's value

    async def _place(self, known: Mapping[str, Came]) -> None:
        """Signals that open or join incidents (R002.3, R002.4); a person's records of single requests take none in."""
        signals = [c.signal for c in known.values() if not c.fate]
        # A record that a person made of one request takes in nothing else.
        major = [i for i in await self.office.incidents() if i.source != "report" or i.also]
        opened = [notice.OpenIncident(i.ref, i.noticed_at, i.service) for i in major if i.resolved_at is None]
        for decision in notice.notice(signals, opened, self.settings.desk.notice):
            if decision.fate == "wait":
                continue
            ref = decision.incident_ref
            if decision.fate == "declare":
                ref = await self._open(decision, known)
            for signal in decision.signals:
                if decision.fate == "merge":
                    await self.office.step(ref, _merging(signal, self._now()))
                await self._placed(signal.ref, ref, decision.fate)

    async def _open(self, decision: notice.Decision, known: Mapping[str, Came]) -> str:
        first = next((s for s in decision.signals if s.source != "report"), decision.signals[0])
        came = known[first.ref]
        if first.source == "p1_mail" and came.mail is not None:
            said = mailbox.declaration(self.settings, self.request(came), came.mail)
            said = replace(said, source_ref=first.ref)
        else:
            said = _declared(self.settings, decision, first)
        incident = await self.office.declare(MACHINE, said, decision.incident_ref)
        for signal in decision.signals:
            await self.office.step(incident.ref, _merging(signal, self._now()))
        return incident.ref

    async def _pass_on(self, came: Came) -> None:
        """A mail as a report of its incident, with the receipt we sent and the customer's replies."""
        mail, ref = came.mail, came.signal.ref
        if mail is None:
            return
        now = self._now()
        report = Report(ref, came.signal.account, mail.sender, mail.sender, mail.subject, mail.text, mail.received_at)
        receipt = came.answered.get("acknowledgement")

        def decide(i: Incident) -> Sequence[Change]:
            changes: list[Change] = []
            if i.report(ref) is None:
                changes.append(rules.add_report(MACHINE, report, now))
            if receipt is not None and not any(r.report_ref == ref and r.at == receipt[0] for r in i.responses):
                more = {"human": False, "public": True, "answered_at": receipt[0]}
                changes.append(rules.record_response(MACHINE, now, ref, **cast("Any", more)))
            for reply in came.replies:
                if not _passed_on(i, ref, reply):
                    said = {"reply_ref": reply.ref, **{n: getattr(reply, n) for n in REPLIED}}
                    changes.append(rules.record_reply(ref, now, reply.at, said))
            return changes

        await self.office.step(came.incident, decide)

    async def _placed(self, ref: str, incident: str, fate: str) -> None:
        def decide(known: Mapping[str, Came]) -> Change | None:
            if known[ref].fate:
                return None
            return Change("placed", MACHINE, self._now(), {"ref": ref, "incident": incident, "fate": fate})

        await self._append(decide)

    def _taken(self, request: Request, came: Came) -> Taken:
        return Taken(request, came.incident, tuple(k for k in came.tried if k not in came.answered))

    # ---- the stream

    async def _append(self, decide: Callable[[Mapping[str, Came]], Change | None]) -> None:
        ledger = self.office.outbox.runner.ledger
        for n in range(TRIES):
            events = await ledger.stream(STREAM)
            change = decide(fold(events))
            if change is None:
                return
            try:
                await ledger.append(STREAM, change.kind, change.by, change.at, change.data, len(events))
            except LedgerConflict:
                if n == TRIES - 1:
                    raise
                continue
            return

    async def _load(self) -> dict[str, Came]:
        return fold(await self.office.outbox.runner.ledger.stream(STREAM))

    def _now(self) -> datetime:
        return self.office.clock.now()


def fold(events: Sequence[StreamEvent]) -> dict[str, Came]:
    """Everything that came in, by its name, in the order in which it was journalled."""
    known: dict[str, Came] = {}
    for event in events:
        d = event.data
        ref = str(d.get("ref") or d.get("about") or "")
        if event.kind == "mail_received":
            known[ref] = _came_mail(ref, d)
        elif event.kind == "alert_received":
            at = datetime.fromisoformat(str(d["at"]))
            service, account, text = (str(d.get(n, "")) for n in ("service", "account", "text"))
            known[ref] = Came(notice.Signal("alert", ref, at, service, account, text, d.get("planned") is True))
        elif event.kind == "answered" and d.get("done") is True:
            known[ref].answered[str(d["answer"])] = (event.at, str(d.get("message_ref", "")))
        elif event.kind == "answered":
            known[ref].tried[str(d["answer"])] = str(d.get("text", ""))
        elif event.kind == "reply_received":
            texts = {n: str(d.get(n, "")) for n in ("message_ref", *REPLIED)}
            known[ref].replies += (Reply(at=datetime.fromisoformat(str(d["at"])), **texts),)
        elif event.kind == "placed":
            known[ref].incident, known[ref].fate = str(d.get("incident", "")), str(d["fate"])
    return known


def _came_mail(ref: str, d: Mapping[str, object]) -> Came:
    texts = {n: str(d.get(n, "")) for n in ("message_ref", "sender", "subject", "text", "in_reply_to", "account")}
    account = texts.pop("account")
    mail = IncomingMail(received_at=datetime.fromisoformat(str(d["received_at"])), to=(), **texts)
    source: notice.Source = "p1_mail" if d.get("severity") == "P1" else "report"
    signal = notice.Signal(source, ref, mail.received_at, "", account, mail.subject)
    return Came(signal, mail, str(d.get("came_to", "")))


def _mail_data(mail: IncomingMail, request: Request) -> dict[str, object]:
    return {
        "ref": request.ref,
        "message_ref": mail.message_ref,
        "received_at": plain(mail.received_at),
        "sender": mail.sender,
        "subject": mail.subject,
        "text": mail.text,
        "in_reply_to": mail.in_reply_to,
        "account": request.account,
        "came_to": request.came_to,
        "severity": request.severity or "",
    }


def _reply_data(mail: IncomingMail, about: str) -> dict[str, object]:
    texts = {n: getattr(mail, n) for n in ("message_ref", *REPLIED)}
    return {"about": about, "at": plain(mail.received_at), **texts}


def _passed_on(incident: Incident, report_ref: str, reply: Reply) -> bool:
    """Whether the incident has the reply; an older program's event of it has the time alone."""
    told = (e.data for e in incident.timeline if e.kind == "customer_replied")
    return any(
        d["reply_ref"] == reply.ref if "reply_ref" in d else d.get("at") == plain(reply.at)
        for d in told
        if d.get("report_ref") == report_ref
    )


def _answers_to(known: Mapping[str, Came], mail: IncomingMail) -> Came | None:
    """What a reply is about: the mail it answers, or the one that our answer to it was about."""
    if not mail.in_reply_to:
        return None
    for came in known.values():
        ours = [message for _, message in came.answered.values()]
        if came.mail is not None and mail.in_reply_to in (came.mail.message_ref, *ours):
            return came
    return None


def _merging(signal: notice.Signal, now: datetime) -> Callable[[Incident], Sequence[Change]]:
    pair = (signal.source, signal.ref)

    def decide(i: Incident) -> Sequence[Change]:
        known = pair in ((i.source, i.source_ref), *i.also)
        return () if known else (rules.merge_source(MACHINE, now, *pair),)

    return decide


def _declared(settings: DeskSettings, decision: notice.Decision, first: notice.Signal) -> Declaration:
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
