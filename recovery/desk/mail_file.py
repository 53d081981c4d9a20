"""Mails from files: one `.eml`, or a Maildir that a mail server fills. All fields are text from outside (RFC 5322).

Only plain text is read; a mail that has none but HTML comes with its tags removed, in the lines that its reader sees,
and attachments are left alone.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.utils import getaddresses, parsedate_to_datetime
from html import unescape
from pathlib import Path
from typing import cast

from recovery.desk.ports import IncomingMail
from recovery.errors import UsageError
from recovery.model import digest_of

MOST_BYTES = 10_000_000
MOST_TEXT = 20_000
LONGEST_PARSED = 4_000
"""The standard parser needs the square of a header's length, and minutes for some of a hundred thousand characters."""
RECIPIENT_HEADERS = ("to", "cc", "delivered-to", "x-original-to", "envelope-to")
UNSEEN = re.compile(r"<(style|script)\b", re.IGNORECASE)
LINE = re.compile(r"<br\b[^<>]*>", re.IGNORECASE)
BLOCK = re.compile(r"(?:</?(?:p|div|li|tr|table|ul|ol|h[1-6]|blockquote|pre)\b[^<>]*> ?)+", re.IGNORECASE)
TAG = re.compile(r"<[^<>]*>")
HALF = re.compile("[\ud800-\udc7f\udd00-\udfff]")
MESSAGE_ID = re.compile(r"<([^<>\s]{1,998})>")
MOST_REFERENCES = 50
REGISTRY = HeaderRegistry()
ADDRESS = re.compile(r"[^\s<>()\[\],;:\"\\@]+@[^\s<>()\[\],;:\"\\@]+")


def read_mail(raw: bytes, taken_at: datetime) -> IncomingMail:
    """A mail's fields. It came in when our own server says so (the topmost Received line), never after `taken_at`.

    A mail without a Message-ID is known by its contents, so the same file is the same mail.
    """
    message = message_from_bytes(raw, policy=policy.default.clone(header_factory=_parsed))
    assert isinstance(message, EmailMessage)
    named = _header(message, "message-id").strip("<>")
    to = [a for h in RECIPIENT_HEADERS for a in _addresses(_headers(message, h))]
    return IncomingMail(
        message_ref=named or f"no-id-{digest_of(raw.hex())[:24]}",
        received_at=_received_at(message, taken_at),
        sender=next(iter(_addresses(_headers(message, "from")[:1])), "").lower(),
        to=tuple(dict.fromkeys(a.lower() for a in to)),
        subject=_subject(message)[:250],
        text=_text(message)[:MOST_TEXT],
        in_reply_to=_header(message, "in-reply-to").partition("> ")[0].strip("<>"),
        automatic=_automatic(message),
        references=tuple(MESSAGE_ID.findall(_header(message, "references"))[-MOST_REFERENCES:]),
    )


def read_mail_file(path: Path, taken_at: datetime) -> IncomingMail:
    """One file; UsageError when it cannot be read or is no mail."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    mail = read_mail(raw[:MOST_BYTES], taken_at)
    if "@" not in mail.sender:
        raise UsageError(f"{path} is no mail: it names no sender.", "Save the mail as a file, headers included.")
    return mail


@dataclass(slots=True)
class Maildir:
    """A local Maildir as a `MailSource`: new mails lie in `new`, taken ones are moved to `cur` and marked as seen."""

    folder: Path
    taken_at: datetime
    _places: dict[str, list[Path]] = field(default_factory=dict, init=False, repr=False)

    async def fetch(self) -> tuple[IncomingMail, ...]:
        """Every mail not yet taken, oldest first; one that cannot be parsed stays where it is."""
        return await asyncio.to_thread(self._waiting)

    async def mark_taken(self, message_ref: str) -> None:
        """Moves the mail's files to `cur` as the last `fetch` found them; harmless when they are there already."""
        await asyncio.to_thread(self._move, message_ref)

    def _waiting(self) -> tuple[IncomingMail, ...]:
        found: list[IncomingMail] = []
        self._places.clear()
        for path in sorted((self.folder / "new").glob("*")):
            try:
                came = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                mail = read_mail_file(path, min(came, self.taken_at))
            except (OSError, UsageError):
                continue  # gone meanwhile, or no mail: a person sees it in the folder
            found.append(mail)
            self._places.setdefault(mail.message_ref, []).append(path)
        return tuple(sorted(found, key=lambda mail: mail.received_at))

    def _move(self, message_ref: str) -> None:
        for path in self._places.pop(message_ref, ()):
            (self.folder / "cur").mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # another round has moved it
                path.replace(self.folder / "cur" / f"{path.name}:2,S")


def _header(message: EmailMessage, name: str) -> str:
    return next(iter(_headers(message, name)), "")


def _headers(message: EmailMessage, name: str) -> list[str]:
    """A header's values as they stand in the mail, one line each."""
    values = (str(value) for each, value in message.raw_items() if each.lower() == name)
    return [_whole(" ".join(value.split())) for value in values]


def _parsed(name: str, value: str) -> str:
    """A header as the standard parser reads its beginning; one that it stumbles over is empty."""
    try:
        return cast("str", REGISTRY(name, value[:LONGEST_PARSED]))
    except Exception:  # noqa: BLE001 # it raises anything for malformed headers, and no mail may stop a round
        return cast("str", REGISTRY(name, ""))


def _automatic(message: EmailMessage) -> bool:
    """Whether a program wrote it: by the header of RFC 3834, by older ones, or because no error may go back to it."""
    submitted = _header(message, "auto-submitted").partition(";")[0].strip().casefold()
    older = _header(message, "precedence").casefold() in ("bulk", "junk", "list", "auto_reply")
    return submitted not in ("", "no") or older or "<>" in _headers(message, "return-path")


def _subject(message: EmailMessage) -> str:
    """The subject in its own letters, or as it stands in the mail."""
    return _whole(" ".join(str(message.get("subject", "")).split())) or _header(message, "subject")


def _addresses(values: list[str]) -> list[str]:
    """The addresses of a header; of one that cannot be parsed, whatever looks like one."""
    try:
        found = [address for _, address in getaddresses(values)]
    except (ValueError, IndexError, RecursionError):
        found = [address for value in values for address in ADDRESS.findall(value)]
    return [address for address in found if "@" in address]


def _whole(text: str) -> str:
    """Text without the halves of characters, which no ledger and no desk takes; raw bytes are read as UTF-8."""
    return HALF.sub("?", text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _received_at(message: EmailMessage, taken_at: datetime) -> datetime:
    said = [v.rpartition(";")[2].strip() for v in _headers(message, "received")] + _headers(message, "date")
    for text in said[:1] or []:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError):
            break
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return min(zoned.astimezone(UTC), taken_at)
    return taken_at


def _text(message: EmailMessage) -> str:
    """The plain text, or, where that is missing or empty, the HTML part's text."""
    for kind in ("plain", "html"):
        part = message.get_body(preferencelist=(kind,))
        text = _content(part) if isinstance(part, EmailMessage) else ""
        text = _of_html(text) if kind == "html" else text
        if text.strip():
            return text.strip()
    return ""


def _content(part: EmailMessage) -> str:
    """A part's text, also of a charset that nobody knows: what a customer wrote is never dropped for its label."""
    try:
        text = str(part.get_content())
    except (LookupError, ValueError, AttributeError):  # an unknown charset, or a broken part
        payload = part.get_payload(decode=True)
        raw = payload if isinstance(payload, bytes) else b""
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode("cp1252", "replace")
    return _whole(text)


def _of_html(text: str) -> str:
    """What a reader of the HTML sees, in its lines: a line end in the source is a space, a new block a new line."""
    shown = TAG.sub(" ", BLOCK.sub("\0", LINE.sub("\0", " ".join(_seen(text).replace("\0", " ").split()))))
    return "\n".join(" ".join(unescape(line).split()) for line in shown.split("\0"))


def _seen(html: str) -> str:
    """Without styles and scripts; in one pass, for a large mail may hold nothing but their beginnings."""
    first, *others = UNSEEN.split(html)
    kept = [first]
    for name, part in zip(others[::2], others[1::2], strict=True):
        end = part.lower().find(f"</{name.lower()}")
        kept.append(part[end:] if end >= 0 else "")
    return "".join(kept)
