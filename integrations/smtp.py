"""Mail out: one plain-text message per call, over SMTP (RFC 5321) on asyncio streams.

What an answer means is decided by how far the dialogue came. Before the first byte of the message has left, nothing can
have been delivered: a 4xx or a lost connection is NOT_APPLIED, a 5xx is REJECTED. From that byte on only the server's
final answer tells: 250 APPLIED, 4xx NOT_APPLIED, 5xx REJECTED, anything else or no answer UNKNOWN (RFC 5321 §4.2.5 and
RFC 1047: the server may have taken the message although its answer was lost). There is no way to ask an SMTP server
later; the Message-ID, made of the action key, lets the receiving side drop a repeat.

All recipients or none: one refused recipient ends the dialogue before the message leaves. Server texts often repeat the
address, and the P1 address is a secret (R003.30), so only reply codes reach the result.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from typing import Literal

from integrations.evidence import mail_tag
from integrations.replies import CapabilityManifest
from recovery.desk.ports import MailDraft
from recovery.errors import AllclearError, AuthFailed, ConfigError, Refused, RemoteError, Unavailable
from recovery.model import AttemptOutcome, Exchange, OpenAttempt, System, WriteResult
from recovery.ports import Clock, Keep

Security = Literal["starttls", "tls", "none"]

COMMAND_SECONDS = 30.0
CONNECT_SECONDS = 10.0
MAX_REPLY_LINES = 100
_ADDRESS = re.compile(r"[!-~]{1,64}@[A-Za-z0-9.\[\]:-]{1,253}")
_UNSAFE_IN_ADDRESS = frozenset('<>()[],;:\\"')
_ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")


class _Answer(Exception):
    """The server said something other than what the step needs."""

    def __init__(self, step: str, code: int, text: str) -> None:
        enhanced = _ENHANCED.search(text)
        super().__init__(f"{step}: {code}{' ' + enhanced[1] if enhanced else ''}")
        self.step = step
        self.code = code


class _Dialogue:
    """One connection to the server: commands out, coded replies in. Every wait has a limit."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.extensions: dict[str, str] = {}
        self._writers = [writer]

    def close(self) -> None:
        """Let go of the connection without waiting for the server."""
        for writer in reversed(self._writers):
            writer.close()

    async def reply(self) -> tuple[int, str]:
        lines: list[str] = []
        async with asyncio.timeout(COMMAND_SECONDS):
            while len(lines) < MAX_REPLY_LINES:
                line = (await self.reader.readuntil(b"\n")).decode("utf-8", "replace").rstrip("\r\n")
                if not re.fullmatch(r"[2-5]\d\d([ -].*)?", line):
                    raise ConnectionError("not an SMTP reply")
                lines.append(line[4:])
                if line[3:4] != "-":
                    return int(line[:3]), "\n".join(lines)
        raise ConnectionError("the reply does not end")

    async def command(self, step: str, line: str, *expected: int) -> str:
        self.writer.write(line.encode("ascii") + b"\r\n")
        await self._drain()
        return await self.expect(step, *expected)

    async def expect(self, step: str, *expected: int) -> str:
        code, text = await self.reply()
        if code not in expected:
            raise _Answer(step, code, text)
        return text

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self._drain()

    async def _drain(self) -> None:
        async with asyncio.timeout(COMMAND_SECONDS):
            await self.writer.drain()

    async def hello(self, name: str) -> None:
        lines = (await self.command("EHLO", f"EHLO {name}", 250)).split("\n")[1:]
        self.extensions = {word.upper(): rest for word, _, rest in (line.partition(" ") for line in lines)}

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        await self.command("STARTTLS", "STARTTLS", 220)
        # A fresh reader: whatever was smuggled in plain text behind the 220 stays with the old one (CVE-2011-0411).
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport = await loop.start_tls(
            self.writer.transport, protocol, context, server_hostname=host, ssl_handshake_timeout=CONNECT_SECONDS
        )
        if transport is None:
            raise ConnectionError("no TLS transport")
        protocol.connection_made(transport)
        self.reader, self.writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)
        # The plain writer stays referenced: when collected it would close the socket below the TLS layer.
        self._writers.append(self.writer)

    async def log_in(self, user: str, password: str) -> None:
        offered = self.extensions.get("AUTH", "").upper().split()
        if "PLAIN" in offered:
            await self.command("AUTH", f"AUTH PLAIN {_b64(f'{chr(0)}{user}{chr(0)}{password}')}", 235)
        elif "LOGIN" in offered:
            await self.command("AUTH", "AUTH LOGIN", 334)
            await self.command("AUTH", _b64(user), 334)
            await self.command("AUTH", _b64(password), 235)
        else:
            raise _Answer("AUTH", 504, "no common mechanism")


class Smtp:
    """Implements `recovery.desk.ports.Mailer`.

    `security` is "starttls", "tls" (from the first byte) or "none", which only a loopback host may have. Certificates
    are always verified against `ssl_context` (default: the system's trust store). `domain` is the right side of
    Message-IDs and the EHLO name. Source: RFC 5321, RFC 3207, RFC 4954.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        sender: str,
        clock: Clock,
        domain: str = "",
        security: Security = "starttls",
        user: str = "",
        password: str = "",
        ssl_context: ssl.SSLContext | None = None,
        keep: Keep | None = None,
    ) -> None:
        if security == "none" and not _loopback(host):
            raise ConfigError("mail without TLS is allowed to this machine only", "set security to starttls or tls")
        if not _sendable(sender):
            raise ConfigError("the mail sender is not an ASCII address")
        self._host, self._port, self._sender = host, port, sender
        self._clock, self._security, self._context = clock, security, ssl_context
        self._user, self._password, self._keep = user, password, keep
        self._domain = domain or sender.rpartition("@")[2]

    def __repr__(self) -> str:
        return f"Smtp({self._host}:{self._port}, {self._security})"

    def manifest(self) -> CapabilityManifest:
        """What the server is known to do: nothing that prevents a second copy of a mail."""
        return CapabilityManifest(
            system=System.SMTP.value, note="a lost answer cannot be looked up; the Message-ID names the action"
        )

    async def ping(self) -> str:
        """One sentence for `doctor`, after signing in; raises AuthFailed, Refused or Unavailable. Sends no mail."""
        try:
            async with asyncio.timeout(COMMAND_SECONDS), self._dialogue() as dialogue:
                await dialogue.command("NOOP", "NOOP", 250)
        except _Answer as answer:
            raise _read_error(answer) from None
        except _LOST as problem:
            said, hint = f"{self._host}:{self._port}: {type(problem).__name__}", "look whether it is up and named right"
            raise Unavailable(System.SMTP.value, "", said, hint) from None
        return f"{self._host}:{self._port} answers{f' and takes the login of {self._user}' if self._user else ''}"

    async def send(self, draft: MailDraft, attempt: OpenAttempt) -> WriteResult:
        """Hand the mail to the server; `ref` is the Message-ID (without brackets).

        Line breaks and control characters are taken out of the subject and addresses; the text goes as plain text only.
        """
        message_id = _message_id(draft.message_ref, self._domain)
        recipients = tuple(dict.fromkeys(draft.to))
        if not message_id or not recipients or not all(_sendable(a) for a in recipients):
            return WriteResult(AttemptOutcome.REJECTED, detail="the mail has no usable recipient or reference")
        content = _wire(self._message(draft, recipients, message_id))
        result = await self._outcome(recipients, content, attempt)
        if result.outcome is AttemptOutcome.APPLIED:
            result = replace(result, ref=message_id)
        return await self._with_evidence(result, message_id, recipients, content)

    async def _outcome(self, recipients: tuple[str, ...], content: bytes, attempt: OpenAttempt) -> WriteResult:
        progress = _Progress()
        try:
            async with asyncio.timeout(attempt.deadline_seconds):
                await self._deliver(recipients, content, attempt, progress)
        except _TooLate:
            return WriteResult(AttemptOutcome.NOT_APPLIED, detail="the time to send it in had passed")
        except _Answer as answer:
            return _answered(answer)
        except _LOST as problem:
            outcome = AttemptOutcome.UNKNOWN if progress.message_left else AttemptOutcome.NOT_APPLIED
            return WriteResult(outcome, detail=f"no answer at {progress.step}: {type(problem).__name__}")
        return WriteResult(AttemptOutcome.APPLIED, detail="the message: 250")

    async def _with_evidence(
        self, result: WriteResult, message_id: str, recipients: tuple[str, ...], content: bytes
    ) -> WriteResult:
        """The result with what was sent (addresses as tags, the text as its SHA-256) and what was answered (codes)."""
        code = re.search(r": (\d{3})\b", result.detail)
        exchange = Exchange(
            system=System.SMTP.value,
            account="",
            request=f"SMTP {self._host}:{self._port} <{message_id}> to {', '.join(map(mail_tag, recipients))}",
            status=int(code[1]) if code else None,
            at=self._clock.now(),
            digest=hashlib.sha256(content).hexdigest(),
            body=result.detail,
        )
        if self._keep is not None:
            try:
                await self._keep(exchange)
            except (AllclearError, OSError) as problem:  # the outcome is known; lost evidence must not lose it, too
                result = replace(result, detail=f"{result.detail} (evidence not kept: {type(problem).__name__})")
        return replace(result, exchange=exchange)

    async def _deliver(
        self, recipients: tuple[str, ...], content: bytes, attempt: OpenAttempt, progress: _Progress
    ) -> None:
        self._in_time(attempt)
        async with self._dialogue() as dialogue:
            progress.step = "MAIL"
            await dialogue.command("MAIL", f"MAIL FROM:<{self._sender}>", 250)
            progress.step = "RCPT"
            for address in recipients:
                await dialogue.command("RCPT", f"RCPT TO:<{address}>", 250, 251)
            progress.step = "DATA"
            await dialogue.command("DATA", "DATA", 354)
            self._in_time(attempt)
            progress.step, progress.message_left = "the message", True
            await dialogue.send(content)
            await dialogue.expect("the message", 250)

    def _in_time(self, attempt: OpenAttempt) -> None:
        if self._clock.monotonic() > attempt.send_by_monotonic:
            raise _TooLate

    def _message(self, draft: MailDraft, recipients: tuple[str, ...], message_id: str) -> EmailMessage:
        message = EmailMessage(policy=SMTP_POLICY.clone(cte_type="7bit"))
        message["From"] = self._sender
        message["To"] = ", ".join(recipients)
        message["Subject"] = _one_line(draft.subject)
        message["Message-ID"] = f"<{message_id}>"
        message["Date"] = format_datetime(self._clock.now())
        # Tells vacation responders and ticket intakes that nobody reads the answer (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        if draft.reply_to and _sendable(draft.reply_to):
            message["Reply-To"] = draft.reply_to
        message.set_content(_sound(draft.text), charset="utf-8")
        return message

    @asynccontextmanager
    async def _dialogue(self) -> AsyncIterator[_Dialogue]:
        context = self._context or ssl.create_default_context()
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                self._host, self._port, ssl=context if self._security == "tls" else None
            )
        dialogue = _Dialogue(reader, writer)
        try:
            await dialogue.expect("greeting", 220)
            await dialogue.hello(self._domain)
            if self._security == "starttls":
                await dialogue.start_tls(context, self._host)
                await dialogue.hello(self._domain)
            if self._user:
                await dialogue.log_in(self._user, self._password)
            yield dialogue
            dialogue.writer.write(b"QUIT\r\n")
        finally:
            # The outcome is known by now: waiting for a clean close could only turn a success into a failure.
            dialogue.close()


class _Progress:
    """How far a dialogue came, readable after it broke."""

    step = "the connection"
    message_left = False


class _TooLate(Exception):
    """The attempt's last moment to send has passed."""


_LOST = (OSError, TimeoutError, EOFError, ssl.SSLError, asyncio.LimitOverrunError, UnicodeError)


def _answered(answer: _Answer) -> WriteResult:
    if answer.code in (334, 354) or not 400 <= answer.code < 600:
        outcome = AttemptOutcome.UNKNOWN if answer.step == "the message" else AttemptOutcome.NOT_APPLIED
        return WriteResult(outcome, detail=str(answer))
    outcome = AttemptOutcome.NOT_APPLIED if answer.code < 500 else AttemptOutcome.REJECTED
    return WriteResult(outcome, detail=str(answer), auth_failed=answer.step == "AUTH" and answer.code >= 500)


def _read_error(answer: _Answer) -> RemoteError:
    kind: type[RemoteError] = Unavailable if answer.code < 500 else Refused
    hint = "ask again in a while" if answer.code < 500 else "look into the mail server's log"
    if answer.step == "AUTH" and answer.code >= 500:
        kind, hint = AuthFailed, "correct user and password in [smtp]"
    return kind(System.SMTP.value, "", str(answer), hint)


def _wire(message: EmailMessage) -> bytes:
    """The message with CRLF line ends, leading dots doubled and the final dot (RFC 5321 §4.5.2)."""
    lines = message.as_bytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n").rstrip(b"\n").split(b"\n")
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in lines) + b".\r\n"


def _message_id(message_ref: str, domain: str) -> str:
    local = re.sub(r"[^A-Za-z0-9-]", "", message_ref)
    return f"{local}@{domain}" if local else ""


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:500]


def _sound(text: str) -> str:
    """Without lone surrogates and control characters other than line breaks and tabs."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace").decode()
    return "".join(c if c in "\n\t" or c.isprintable() or not c.isascii() else " " for c in plain)


def _sendable(address: str) -> bool:
    local, _, _ = address.rpartition("@")
    return bool(_ADDRESS.fullmatch(address)) and "@" not in local and not _UNSAFE_IN_ADDRESS & set(address)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
