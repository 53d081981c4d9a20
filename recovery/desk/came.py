"""Mails and alerts as they were journalled, and what became of each: the intake's stream folded into state. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from recovery.desk import mailbox, notice
from recovery.desk.business_time import DAWN
from recovery.desk.incident import Change, plain
from recovery.desk.mailbox import Request
from recovery.desk.ports import IncomingMail
from recovery.journal import StreamEvent

STREAM = "intake"
REPLIED = ("sender", "subject", "text")
ANSWER = "answer"


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
    """One mail or alert as journalled, and what has become of it. `incident` is "" while it waits.

    `moved_at` is when the last of it was journalled. With the fate `ANSWER` it answers a mail of that incident.
    """

    signal: notice.Signal
    mail: IncomingMail | None = None
    came_to: str = ""
    answered: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    tried: dict[str, str] = field(default_factory=dict)
    warned: set[str] = field(default_factory=set)
    replies: tuple[Reply, ...] = ()
    incident: str = ""
    fate: str = ""
    moved_at: datetime = DAWN


def fold(events: Sequence[StreamEvent]) -> dict[str, Came]:
    """Everything that came in, by its name, in the order in which it was journalled."""
    known: dict[str, Came] = {}
    follow(known, events)
    return known


def follow(known: dict[str, Came], events: Iterable[StreamEvent | Change]) -> None:
    """Brings what is known up to these further events."""
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
        elif event.kind == "warned":
            known[ref].warned.add(str(d["warning"]))
        elif event.kind == "reply_received":
            texts = {n: str(d.get(n, "")) for n in ("message_ref", *REPLIED)}
            known[ref].replies += (Reply(at=datetime.fromisoformat(str(d["at"])), **texts),)
        elif event.kind == "placed":
            known[ref].incident, known[ref].fate = str(d.get("incident", "")), str(d["fate"])
        if ref in known:
            known[ref].moved_at = event.at


def _came_mail(ref: str, d: Mapping[str, object]) -> Came:
    texts = {n: str(d.get(n, "")) for n in ("message_ref", "sender", "subject", "text", "in_reply_to", "account")}
    account = texts.pop("account")
    received_at = datetime.fromisoformat(str(d["received_at"]))
    automatic = d.get("automatic") is True
    mail = IncomingMail(received_at=received_at, to=(), automatic=automatic, references=(), **texts)
    source: notice.Source = "p1_mail" if d.get("severity") == "P1" else "report"
    signal = notice.Signal(source, ref, mail.received_at, "", account, mail.subject, sender=mail.sender)
    incident = str(d.get("incident", ""))
    return Came(signal, mail, str(d.get("came_to", "")), incident=incident, fate=ANSWER if incident else "")


def mail_data(mail: IncomingMail, request: Request, incident: str) -> dict[str, object]:
    """The mail as its event holds it: whom it was sent to is left out. `incident` is the one whose mail it answers."""
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
        "automatic": mail.automatic,
        "incident": incident,
    }


def reply_data(mail: IncomingMail, about: str) -> dict[str, object]:
    """The mail as the event of a reply to `about` holds it."""
    texts = {n: getattr(mail, n) for n in ("message_ref", *REPLIED)}
    return {"about": about, "at": plain(mail.received_at), **texts}


def answered_by(known: Mapping[str, Came], mail: IncomingMail) -> Came | None:
    """What a reply is about: the mail it answers, an earlier reply to that, or our answer to it."""
    for answered in mail.answers:
        for came in known.values():
            ours = [message for _, message in came.answered.values()]
            theirs = [reply.message_ref for reply in came.replies]
            if came.mail is not None and answered in (came.mail.message_ref, *ours, *theirs):
                return came
    return None
