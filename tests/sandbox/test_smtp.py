from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator, Callable, Iterator
from email.message import EmailMessage

import pytest

from sandbox.smtp import SmtpServer, SmtpState
from sandbox.world import World


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def state() -> SmtpState:
    return SmtpState()


@pytest.fixture
async def address(world, state) -> AsyncIterator[tuple[str, int]]:
    server = SmtpServer(world, state)
    yield await server.start()
    await server.close()


def mail(subject: str = "P1", text: str = "Down.\n.\n..dots\n") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "ops@x.test", "p1@y.test", subject
    message["Message-ID"] = "<K1@x.test>"
    message.set_content(text)
    return message


def send(address: tuple[str, int], login: tuple[str, str] | None = None) -> None:
    with smtplib.SMTP(*address, timeout=5) as client:
        if login is not None:
            client.login(*login)
        client.send_message(mail())


async def off_loop(function: Callable[..., None], *given: object) -> None:
    await asyncio.to_thread(function, *given)


async def test_the_standard_library_delivers_and_the_mail_is_kept_whole(address, state, world):
    await off_loop(send, address)
    (kept,) = state.mails
    assert (kept.message_id, kept.recipients) == ("K1@x.test", ["p1@y.test"])
    assert kept.message.get_content().replace("\r\n", "\n") == "Down.\n.\n..dots\n"
    (line,) = world.read_journal("smtp")
    assert (line["event"], line["message_id"], line["subject"]) == ("mail", "K1@x.test", "P1")


async def test_the_same_message_id_twice_is_two_mails(address, state):
    await off_loop(send, address)
    await off_loop(send, address)
    assert [one.message_id for one in state.mails] == ["K1@x.test"] * 2


@pytest.mark.parametrize(
    ("step", "code", "error"),
    [
        ("connect", 421, smtplib.SMTPConnectError),
        ("mail", 451, smtplib.SMTPSenderRefused),
        ("rcpt", 550, smtplib.SMTPRecipientsRefused),
        ("data", 554, smtplib.SMTPDataError),
        ("message", 452, smtplib.SMTPDataError),
    ],
)
async def test_it_refuses_where_it_is_told_to(address, state, step, code, error):
    state.knobs.refuse[step] = code
    with pytest.raises(error):
        await off_loop(send, address)
    assert state.mails == []


async def test_one_recipient_may_be_unknown(address, state):
    state.knobs.refused_recipients.add("p1@y.test")
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        await off_loop(send, address)


async def test_a_lost_answer_hides_that_the_mail_was_taken(address, state):
    state.knobs.lose_answer = True
    with pytest.raises(smtplib.SMTPServerDisconnected):
        await off_loop(send, address)
    assert len(state.mails) == 1


async def test_a_login_is_wanted_when_there_is_a_user(address, state):
    state.user, state.password = "ops", "hush"
    with pytest.raises(smtplib.SMTPSenderRefused):
        await off_loop(send, address)
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await off_loop(send, address, ("ops", "wrong"))
    await off_loop(send, address, ("ops", "hush"))
    assert len(state.mails) == 1
