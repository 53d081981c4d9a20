"""Mail: what an answer means depends on how far the dialogue came; headers cannot be injected; TLS is not optional."""

from __future__ import annotations

import asyncio
import email
import email.policy
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP as WitnessServer  # noqa: N811  (its own name says protocol, not constant)
from remote_bench import Shelf, WallClock

from integrations.smtp import Smtp
from recovery.desk.ports import MailDraft
from recovery.errors import AuthFailed, ConfigError, Refused, RemoteError, Unavailable
from recovery.model import AttemptOutcome, OpenAttempt

APPLIED, NOT_APPLIED = AttemptOutcome.APPLIED, AttemptOutcome.NOT_APPLIED
REJECTED, UNKNOWN = AttemptOutcome.REJECTED, AttemptOutcome.UNKNOWN
OUR_HEADERS = {"From", "To", "Subject", "Message-ID", "Date", "Auto-Submitted"} | {
    "Content-Type",
    "MIME-Version",
    "Content-Transfer-Encoding",
}
P1 = "canary-p1-address@client.example"


class ScriptedServer:
    """A mail server that answers each verb as told: a line, None to hang, "" to cut the connection."""

    def __init__(self, answers: dict[str, str | None]) -> None:
        good = {
            "greeting": "220 ready",
            "EHLO": "250-hello\r\n250 AUTH PLAIN LOGIN",
            "AUTH": "235 ok",
            "NOOP": "250 ok",
        }
        more = {
            "MAIL": "250 ok",
            "RCPT": "250 ok",
            "DATA": "354 go on",
            "message": "250 2.0.0 queued",
            "QUIT": "221 bye",
        }
        self.answers: dict[str, str | None] = {**good, **more, **answers}
        self.verbs: list[str] = []
        self.messages: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await self._answer("greeting", writer):
                while line := await reader.readline():
                    verb = line.decode().split()[0].upper().rstrip(":")
                    self.verbs.append(verb)
                    if not await self._answer(verb, writer):
                        break
                    if verb == "DATA" and str(self.answers["DATA"]).startswith("354"):
                        self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
                        if not await self._answer("message", writer):
                            break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, step: str, writer: asyncio.StreamWriter) -> bool:
        answer = self.answers.get(step, "500 what?")
        if answer is None:
            await asyncio.sleep(5)
        if not answer:
            return False
        writer.write(answer.encode() + b"\r\n")
        await writer.drain()
        return True


@asynccontextmanager
async def listening(
    handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0, limit=1_000_000)
    tasks_before = asyncio.all_tasks()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in asyncio.all_tasks() - tasks_before - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)


def mailer(port: int, **options: Any) -> Smtp:
    settings = {"security": "none", "sender": "recovery@vendor.example", "clock": WallClock(), **options}
    return Smtp(host="127.0.0.1", port=port, **settings)


def attempt(deadline_seconds: float = 5.0, send_in_seconds: float = 30.0) -> OpenAttempt:
    return OpenAttempt(1, "A" * 16, 1, 1, WallClock().monotonic() + send_in_seconds, deadline_seconds)


def draft(subject: str = "P1: campaigns", text: str = "Hello", to: tuple[str, ...] = (P1,)) -> MailDraft:
    return MailDraft("ABCDEFGHIJKLMNOP", to, subject, text)


def read_back(content: bytes) -> EmailMessage:
    lines = content.removesuffix(b".\r\n").split(b"\r\n")
    undotted = b"\r\n".join(line[1:] if line.startswith(b"..") else line for line in lines)
    return email.message_from_bytes(undotted, policy=email.policy.default)


DIALOGUES: dict[str, tuple[dict[str, str | None], AttemptOutcome]] = {
    "accepted": ({}, APPLIED),
    "greeting_refused": ({"greeting": "554 no"}, REJECTED),
    "greeting_busy": ({"greeting": "421 busy"}, NOT_APPLIED),
    "greeting_nonsense": ({"greeting": "HTTP/1.1 400 Bad Request"}, NOT_APPLIED),
    "cut_before_greeting": ({"greeting": ""}, NOT_APPLIED),
    "no_greeting": ({"greeting": None}, NOT_APPLIED),
    "ehlo_cut": ({"EHLO": ""}, NOT_APPLIED),
    "sender_refused": ({"MAIL": "550 5.7.1 no"}, REJECTED),
    "sender_later": ({"MAIL": "451 4.3.0 later"}, NOT_APPLIED),
    "recipient_refused": ({"RCPT": f"550 5.1.1 <{P1}> unknown"}, REJECTED),
    "recipient_later": ({"RCPT": "450 4.2.1 greylisted"}, NOT_APPLIED),
    "cut_at_recipient": ({"RCPT": ""}, NOT_APPLIED),
    "data_refused": ({"DATA": "554 5.5.1 no valid recipients"}, REJECTED),
    "data_later": ({"DATA": "452 4.3.1 full"}, NOT_APPLIED),
    "cut_at_data": ({"DATA": ""}, NOT_APPLIED),
    "hang_at_data": ({"DATA": None}, NOT_APPLIED),
    "message_refused": ({"message": "554 5.6.0 no"}, REJECTED),
    "message_later": ({"message": "451 4.3.0 later"}, NOT_APPLIED),
    "cut_after_message": ({"message": ""}, UNKNOWN),
    "hang_after_message": ({"message": None}, UNKNOWN),
    "nonsense_after_message": ({"message": "<html>"}, UNKNOWN),
    "odd_code_after_message": ({"message": "354 go on"}, UNKNOWN),
    "cut_at_quit": ({"QUIT": ""}, APPLIED),
    "hang_at_quit": ({"QUIT": None}, APPLIED),
}


@pytest.mark.parametrize(("answers", "outcome"), DIALOGUES.values(), ids=DIALOGUES)
async def test_the_outcome_follows_from_how_far_the_dialogue_came(
    answers: dict[str, str | None], outcome: AttemptOutcome
) -> None:
    server = ScriptedServer(answers)
    hangs = None in answers.values()
    async with listening(server.serve) as port:
        result = await mailer(port).send(draft(), attempt(deadline_seconds=1.5 if hangs else 10.0))
    assert result.outcome is outcome, result.detail
    assert len(server.messages) <= 1
    assert result.ref == ("ABCDEFGHIJKLMNOP@vendor.example" if outcome is APPLIED else "")
    assert P1 not in repr(result)


@pytest.mark.requirement("E.1", "E.5", "R003.30")
async def test_the_evidence_names_the_mail_and_the_answer_but_no_address_and_no_text() -> None:
    shelf = Shelf()
    async with listening(ScriptedServer({"message": "554 5.6.0 no"}).serve) as port:
        result = await mailer(port, keep=shelf.keep).send(draft(text="canary-text"), attempt())
    [exchange] = shelf.exchanges
    assert exchange == result.exchange
    assert (exchange.status, exchange.body) == (554, "the message: 554 5.6.0")
    assert "ABCDEFGHIJKLMNOP@vendor.example" in exchange.request
    assert "canary" not in repr(exchange)


async def test_a_server_that_is_not_there_is_not_applied() -> None:
    async with listening(ScriptedServer({}).serve) as port:
        pass
    assert (await mailer(port).send(draft(), attempt())).outcome is NOT_APPLIED


async def test_nothing_is_sent_after_the_attempts_time_to_send() -> None:
    server = ScriptedServer({})
    async with listening(server.serve) as port:
        result = await mailer(port).send(draft(), attempt(send_in_seconds=-1))
    assert (result.outcome, server.verbs) == (NOT_APPLIED, [])


async def test_one_refused_recipient_keeps_the_mail_from_all() -> None:
    class Picky(ScriptedServer):
        async def _answer(self, step: str, writer: asyncio.StreamWriter) -> bool:
            self.answers["RCPT"] = "550 no" if self.verbs.count("RCPT") == 2 else "250 ok"
            return await super()._answer(step, writer)

    server = Picky({})
    async with listening(server.serve) as port:
        result = await mailer(port).send(draft(to=("a@b.example", "c@d.example")), attempt())
    assert (result.outcome, server.messages) == (REJECTED, [])


@pytest.mark.requirement("R003.14")
async def test_the_message_id_is_the_action_key_so_that_a_repeat_is_recognised() -> None:
    server = ScriptedServer({})
    async with listening(server.serve) as port:
        for _ in range(2):
            await mailer(port).send(draft(), attempt())
    assert {read_back(m)["Message-ID"] for m in server.messages} == {"<ABCDEFGHIJKLMNOP@vendor.example>"}


HOSTILE = (
    "Hello\r\nBcc: victim@evil.example\r\n\r\nbody",
    "\n.\r\nMAIL FROM:<x@evil.example>\r\n",
    "a\r\n.\r\nb\n..\n.\n",
    "=?utf-8?q?Bcc=3A?= \x00\x1b[31m\u202e",
    "<script>alert(1)</script> =1+1 @here",
    "\ud800 😀 مرحبا",
    "x" * 65_536,
    "",
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_hostile_text_stays_in_the_subject_and_the_plain_body(text: str) -> None:
    server = ScriptedServer({})
    async with listening(server.serve) as port:
        result = await mailer(port).send(draft(subject=text, text=text), attempt())
    assert result.outcome is APPLIED
    assert server.verbs[:4] == ["EHLO", "MAIL", "RCPT", "DATA"]
    assert server.verbs.count("DATA") == 1
    message = read_back(server.messages[0])
    assert set(message.keys()) == OUR_HEADERS
    assert len(message.keys()) == len(OUR_HEADERS)
    assert message.get_content_type() == "text/plain"
    kept = text.replace("\r\n", "\n").replace("\ud800", "?").replace("\x00", " ").replace("\x1b", " ").rstrip("\n")
    assert message.get_content().replace("\r\n", "\n").rstrip("\n") == kept


@pytest.mark.parametrize(
    "to",
    [
        (),
        ("",),
        ("a@b.example\r\nDATA",),
        ("a@b.example> SIZE=1",),
        ("Ann <a@b.example>",),
        ("a@@b",),
        ("ü@b.example",),
    ],
)
async def test_an_address_that_is_more_than_an_address_is_rejected_unsent(to: tuple[str, ...]) -> None:
    server = ScriptedServer({})
    async with listening(server.serve) as port:
        result = await mailer(port).send(draft(to=to), attempt())
    assert (result.outcome, server.verbs) == (REJECTED, [])


def test_mail_without_tls_is_for_this_machine_only() -> None:
    for host in ("mail.example.com", "10.0.0.1", "192.168.1.1", "127.0.0.1.evil.example"):
        with pytest.raises(ConfigError):
            Smtp(host=host, port=25, sender="a@b.example", clock=WallClock(), security="none")
    for host in ("127.0.0.1", "::1", "localhost"):
        Smtp(host=host, port=25, sender="a@b.example", clock=WallClock(), security="none")


def test_a_password_is_in_no_repr() -> None:
    shown = repr(mailer(25, user="u", password="canary-password"))
    assert "canary" not in shown


async def test_ping_signs_in_and_sends_nothing() -> None:
    server = ScriptedServer({})
    async with listening(server.serve) as port:
        await mailer(port, user="u", password="p").ping()
    assert server.verbs[:3] == ["EHLO", "AUTH", "NOOP"]
    assert not server.messages


@pytest.mark.parametrize(
    ("answers", "error", "hint"),
    [
        ({"AUTH": "535 5.7.8 no"}, AuthFailed, "user and password"),
        ({"AUTH": "454 4.7.0 later"}, Unavailable, "again in a while"),
        ({"EHLO": "250 hello"}, AuthFailed, "user and password"),
        ({"greeting": "554 no"}, Refused, "mail server's log"),
        ({"greeting": ""}, Unavailable, "whether it is up"),
    ],
    ids=["refused", "later", "no_mechanism", "not_welcome", "cut"],
)
async def test_ping_says_what_to_do_next(answers: dict[str, str | None], error: type[RemoteError], hint: str) -> None:
    async with listening(ScriptedServer(answers).serve) as port:
        with pytest.raises(error) as caught:
            await mailer(port, user="u", password="canary-password").ping()
    assert hint in caught.value.hint and "canary" not in f"{caught.value}{caught.value.hint}"


async def test_refused_credentials_stop_the_mailer_and_show_no_password() -> None:
    async with listening(ScriptedServer({"AUTH": "535 5.7.8 u canary-password"}).serve) as port:
        result = await mailer(port, user="u", password="canary-password").send(draft(), attempt())
    assert (result.outcome, result.auth_failed) == (REJECTED, True)
    assert "canary" not in repr(result)


# ---- TLS, and a server that is not ours -----------------------------------------------------------------------------


class Mailbox:
    """Keeps what the independent server accepted."""

    def __init__(self) -> None:
        self.accepted: list[tuple[list[str], EmailMessage]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  (aiosmtpd's hook)
        content = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.accepted.append((envelope.rcpt_tos, content))
        return "250 queued"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the test's certificate and is not installed")
    folder = tmp_path_factory.mktemp("tls")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    out = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *out]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


@asynccontextmanager
async def witness(
    mailbox: Mailbox, *, starttls: ssl.SSLContext | None, tls: ssl.SSLContext | None
) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()

    def protocol() -> WitnessServer:
        return WitnessServer(mailbox, tls_context=starttls, require_starttls=starttls is not None, loop=loop)

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_an_independent_server_takes_the_mail_over_tls(certificate: Path, security: Any) -> None:
    mailbox, inside = Mailbox(), server_tls(certificate)
    trust = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    both = {"starttls": inside if security == "starttls" else None, "tls": inside if security == "tls" else None}
    async with witness(mailbox, **both) as port:
        result = await mailer(port, security=security, ssl_context=trust).send(
            draft("Naïve 😀", ".dot\n..two\nfrom here"), attempt()
        )
    assert result.outcome is APPLIED, result.detail
    [(recipients, message)] = mailbox.accepted
    assert recipients == [P1]
    assert (message["Subject"], message.get_content()) == ("Naïve 😀", ".dot\r\n..two\r\nfrom here\r\n")


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_certificate_that_is_not_trusted_stops_before_anything_is_said(
    certificate: Path, security: Any
) -> None:
    mailbox, inside = Mailbox(), server_tls(certificate)
    both = {"starttls": inside if security == "starttls" else None, "tls": inside if security == "tls" else None}
    async with witness(mailbox, **both) as port:
        result = await mailer(port, security=security, user="u", password="p").send(draft(), attempt())
    assert (result.outcome, mailbox.accepted) == (NOT_APPLIED, [])


async def test_a_server_that_offers_no_starttls_gets_neither_password_nor_mail() -> None:
    server = ScriptedServer({"STARTTLS": "502 not here"})
    async with listening(server.serve) as port:
        result = await mailer(port, security="starttls", user="u", password="p").send(draft(), attempt())
    assert result.outcome is REJECTED
    assert server.verbs == ["EHLO", "STARTTLS"]


async def test_an_answer_smuggled_in_front_of_tls_is_not_believed(certificate: Path) -> None:
    """A man in the middle adds "250 ok" lines behind the 220; they must not count as answers inside TLS."""
    inside = server_tls(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        await reader.readline()
        writer.write(b"250 hello\r\n")
        await reader.readline()
        writer.write(b"220 go\r\n250 injected\r\n250 injected\r\n250 injected\r\n354 go\r\n250 injected\r\n")
        await writer.drain()
        try:
            await writer.start_tls(inside)
            await reader.readline()
            await asyncio.sleep(5)
        except OSError:
            pass
        finally:
            writer.close()

    trust = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    async with listening(serve) as port:
        sender = mailer(port, security="starttls", ssl_context=trust)
        assert (await sender.send(draft(), attempt(deadline_seconds=1))).outcome is NOT_APPLIED
