"""Mails that come in: whose they are, which mailbox they belong to, and what they still have to say. Pure.

The time a mail came in is the start of its clocks and never changes, whichever mailbox it is moved to (R003.42). A
client's P1 address is a secret and is compared, never shown (R003.30).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from recovery.desk import announce
from recovery.desk.outbox import Effect
from recovery.desk.ports import IncomingMail, MailDraft
from recovery.desk.rules import Declaration
from recovery.desk.settings import DeskSettings
from recovery.desk.sla_settings import Severity
from recovery.model import ActionKind, Harm, System, digest_of

Mailbox = Literal["p1", "help", "success"]
REQUEST = "mail-"
HIDDEN = "(P1 address)"
NOBODY = re.compile(r"^(mailer-daemon|postmaster|no-?reply|bounce)[^@]*@", re.IGNORECASE)
FIELD_LINE = re.compile(r"^\s*([A-Za-z][A-Za-z _/-]{1,40}?)\s*:\s*(.*?)\s*$")


@dataclass(frozen=True, slots=True)
class Request:
    """A mail as a request. `severity` is None until a person classifies it; a P1 mail brings its own.

    `came_to` is where it arrived, `belongs_to` where it is worked on; `started_at` is when it came in.
    """

    ref: str
    account: str
    came_to: Mailbox
    belongs_to: Mailbox
    started_at: datetime
    severity: Severity | None
    fields: Mapping[str, str]
    missing: tuple[str, ...]
    board_access: bool = False
    why: str = ""

    @property
    def rerouted(self) -> bool:
        """Whether it came to a mailbox where it does not belong."""
        return self.came_to != self.belongs_to


def take_in(settings: DeskSettings, mail: IncomingMail) -> Request:
    """Read a mail as a request; the same mail always gives the same `ref`."""
    account, came_to = _addressed(settings, mail)
    fields = read_fields(settings, mail.text)
    missing = tuple(name for name in settings.desk.required_fields if not fields.get(name))
    access = _asks_for_board(mail)
    request = Request(
        ref=ref_of(mail.message_ref),
        account=account,
        came_to=came_to,
        belongs_to="success" if access and came_to != "p1" else came_to,
        started_at=mail.received_at,
        severity="P1" if came_to == "p1" else None,
        fields=fields,
        missing=missing,
        board_access=access,
    )
    excluded = settings.desk.severities["P1"].excludes_environments
    environment = fields.get("environment", "").casefold()
    if request.severity == "P1" and environment in {e.casefold() for e in excluded}:
        why = f'"{environment}" is never P1; taken as P2'
        return replace(request, severity="P2", belongs_to=settings.desk.severities["P2"].mailbox, why=why)
    return request


def ref_of(message_ref: str) -> str:
    """A mail's name at this desk."""
    return REQUEST + digest_of(message_ref)[:12]


def without_secrets(settings: DeskSettings, text: str) -> str:
    """The text without any client's P1 address: mail programs quote whom the answered mail was sent to (R003.30)."""
    for client in settings.desk.clients.values():
        address = client.p1_address.get_secret_value()
        if address:
            text = re.sub(re.escape(address), HIDDEN, text, flags=re.IGNORECASE)
    return text


def classify(settings: DeskSettings, request: Request, severity: Severity) -> Request:
    """The request with its severity, in the mailbox that severity belongs to; its start stays (R003.42)."""
    return replace(request, severity=severity, belongs_to=settings.desk.severities[severity].mailbox)


def declaration(settings: DeskSettings, request: Request, mail: IncomingMail) -> Declaration:
    """What a P1 mail declares: an outage of one client, as far as the mail says; the rest is not yet known."""
    zone = settings.timetable(request.account).versions[-1][1].zone
    return Declaration(
        title=mail.subject or "Mail without a subject",
        source="p1_mail",
        source_ref=mail.message_ref,
        severities=("P1",),
        scope="subset",
        kind="outage",
        environment=request.fields.get("environment") or "production",
        time_zone=zone,
        noticed_at=request.started_at,
        customers=(request.account,) if request.account else (),
        steps=_lines(request.fields.get("steps")),
        symptoms=_lines(request.fields.get("symptoms")),
        impact=request.fields.get("impact") or "",
    )


def from_machine(mail: IncomingMail) -> bool:
    """Whether no person wrote it: an automatic answer, or a mail server's word that something did not arrive."""
    return mail.automatic or NOBODY.match(mail.sender) is not None


def answers(settings: DeskSettings, request: Request, mail: IncomingMail) -> tuple[Effect, ...]:
    """The automatic receipt, and at once a question for what is missing (R003.10); none to machines or ourselves."""
    own = {settings.desk.addresses.help.casefold(), settings.desk.addresses.success.casefold()}
    if from_machine(mail) or mail.sender.casefold() in own:
        return ()
    reply_to = getattr(settings.desk.addresses, "success" if request.belongs_to == "success" else "help")
    values = {"subject": mail.subject or "your request", "brand": settings.brand(request.account)}
    effects = [_answer(settings, request, mail, "acknowledgement", values, reply_to)]
    if request.missing and not request.board_access:
        fields = [name.replace("_", " ") for name in request.missing]
        effects.append(_answer(settings, request, mail, "missing_fields", {**values, "fields": fields}, reply_to))
    return tuple(effects)


def read_fields(settings: DeskSettings, text: str) -> dict[str, str]:
    """The template's fields as the mail fills them: "Name: value", a value going on until the next name."""
    wanted = {name.replace("_", " ").casefold(): name for name in settings.desk.required_fields}
    found: dict[str, list[str]] = {}
    present = ""
    for line in text.splitlines():
        match = FIELD_LINE.match(line)
        name = wanted.get(match[1].replace("_", " ").casefold(), "") if match else ""
        if match and name:
            present = name
            found.setdefault(name, []).append(match[2])
        elif present and line.strip():
            found[present].append(line.strip())
        else:
            present = ""
    filled = {name: (announce.PLACEHOLDER.sub("", v).strip() for v in values) for name, values in found.items()}
    joined = {name: "\n".join(v for v in values if v) for name, values in filled.items()}
    return {name: value for name, value in joined.items() if value}


def _addressed(settings: DeskSettings, mail: IncomingMail) -> tuple[str, Mailbox]:
    to = {address.strip().casefold() for address in mail.to}
    for account, client in settings.desk.clients.items():
        if client.p1_address.get_secret_value().casefold() in to:
            return account, "p1"
    domain = mail.sender.rpartition("@")[2].casefold()
    account = next((a for a, c in settings.desk.clients.items() if domain in {d.casefold() for d in c.domains}), "")
    return account, "success" if settings.desk.addresses.success.casefold() in to else "help"


def _asks_for_board(mail: IncomingMail) -> bool:
    """Whether it asks for access to the board: such requests go to Success (R003.8)."""
    words = f"{mail.subject} {mail.text[:500]}".casefold()
    return "access" in words and ("clickup" in words or "support board" in words)


def _answer(
    settings: DeskSettings,
    request: Request,
    mail: IncomingMail,
    template: str,
    values: Mapping[str, object],
    reply_to: str,
) -> Effect:
    words = announce.render(settings, template, values, {})
    draft = MailDraft("", (mail.sender,), words.title, words.body, reply_to)
    return Effect(ActionKind.MAIL, System.SMTP, request.ref, template, {"draft": draft}, Harm.H3, request.account)


def _lines(value: str | None) -> tuple[str, ...]:
    return tuple(line for line in (value or "").splitlines() if line.strip())
