"""A mail server that keeps what it is given (RFC 5321), refuses where it is told to, and can lose its last answer.

It delivers nothing further and never asks whether a Message-ID is new: every accepted message is one more mail.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import ClassVar

from sandbox.wire import basic_text, same
from sandbox.world import World

LARGEST = 20 * 1024 * 1024
_PATH = re.compile(r"(?:FROM|TO):\s*<([^<>]*)>", re.IGNORECASE)


@dataclass
class SmtpKnobs:
    """Refusals by step ("connect", "mail", "rcpt", "data", "message") with their reply code, and a lost last answer."""

    refuse: dict[str, int] = field(default_factory=dict)
    refused_recipients: set[str] = field(default_factory=set)
    lose_answer: bool = False  # the message is taken, then the connection breaks


@dataclass
class Mail:
    """One accepted mail."""

    sender: str
    recipients: list[str]
    message: EmailMessage

    @property
    def message_id(self) -> str:
        """The Message-ID without its brackets, "" when there is none."""
        return str(self.message.get("Message-ID", "")).strip().strip("<>")


@dataclass
class SmtpState:
    """What one mail server has accepted; with a `user` it wants a login (AUTH PLAIN)."""

    user: str = ""
    password: str = ""
    mails: list[Mail] = field(default_factory=list)
    knobs: SmtpKnobs = field(default_factory=SmtpKnobs)


class SmtpServer:
    """Serves one SmtpState on a free loopback port."""

    def __init__(self, world: World, state: SmtpState) -> None:
        self.world = world
        self.state = state
        self._server: asyncio.Server | None = None
        self._port = 0
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self) -> tuple[str, int]:
        """Begin to listen, on the same port as before when it was stopped; gives host and port."""
        self._server = await asyncio.start_server(self._welcome, "127.0.0.1", self._port, limit=LARGEST)
        host, port = self._server.sockets[0].getsockname()[:2]
        self._port = int(port)
        return str(host), self._port

    async def close(self) -> None:
        """Stop listening and break every connection."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._sessions):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await self._server.wait_closed()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await Session(self.world, self.state, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # the client is gone, or the estate stops
        finally:
            self._sessions.discard(task)
            writer.close()


def content_of(message: EmailMessage) -> str:
    """The plain text of a mail, "" when it has none."""
    body = message.get_body(preferencelist=("plain",))
    return str(body.get_content()) if body is not None else ""


class Session:
    """One connection's dialogue."""

    def __init__(
        self, world: World, state: SmtpState, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._world = world
        self._state = state
        self._reader = reader
        self._writer = writer
        self._signed_in = not state.user
        self._sender: str | None = None
        self._recipients: list[str] = []

    async def run(self) -> None:
        """Talk until the client leaves."""
        if await self._refused("connect"):
            return
        await self._say("220 twin.example ESMTP")
        while True:
            line = (await self._reader.readuntil(b"\n")).decode("utf-8", "replace").rstrip("\r\n")
            verb, _, rest = line.partition(" ")
            if verb.upper() == "QUIT":
                await self._say("221 2.0.0 Bye")
                return
            step = self._STEPS.get(verb.upper())
            if step is None:
                await self._say("500 5.5.2 Command not recognised")
            elif not await step(self, rest):
                return

    async def _say(self, *lines: str) -> bool:
        told = [f"{line[:3]}-{line[4:]}" for line in lines[:-1]] + [lines[-1]]
        self._writer.write("".join(f"{line}\r\n" for line in told).encode())
        await self._writer.drain()
        return True

    async def _refused(self, step: str) -> bool:
        code = self._state.knobs.refuse.get(step)
        if code is None:
            return False
        await self._say(f"{code} {code // 100}.3.0 Not accepted here")
        return True

    async def _hello(self, rest: str) -> bool:
        del rest
        lines = ["250 twin.example", f"250 SIZE {LARGEST}", "250 8BITMIME"]
        if self._state.user:
            lines.append("250 AUTH PLAIN")
        return await self._say(*lines, "250 HELP")

    async def _auth(self, rest: str) -> bool:
        kind, _, given = rest.partition(" ")
        if kind.upper() != "PLAIN":
            return await self._say("504 5.5.4 Mechanism not supported")
        if not given:
            await self._say("334 ")
            given = (await self._reader.readuntil(b"\n")).decode("utf-8", "replace").strip()
        wanted = f"\0{self._state.user}\0{self._state.password}"
        self._signed_in = same(basic_text(given) or "", wanted)
        return await self._say("235 2.7.0 Welcome" if self._signed_in else "535 5.7.8 Credentials invalid")

    async def _mail(self, rest: str) -> bool:
        found = _PATH.match(rest)
        if not self._signed_in:
            return await self._say("530 5.7.0 Authentication required")
        if found is None:
            return await self._say("501 5.5.4 Syntax: MAIL FROM:<address>")
        if not await self._refused("mail"):
            self._sender, self._recipients = found.group(1), []
            await self._say("250 2.1.0 OK")
        return True

    async def _rcpt(self, rest: str) -> bool:
        found = _PATH.match(rest)
        if self._sender is None:
            return await self._say("503 5.5.1 MAIL first")
        if found is None:
            return await self._say("501 5.5.4 Syntax: RCPT TO:<address>")
        address = found.group(1)
        if address in self._state.knobs.refused_recipients:
            return await self._say(f"550 5.1.1 <{address}> does not exist here")
        if not await self._refused("rcpt"):
            self._recipients.append(address)
            await self._say("250 2.1.5 OK")
        return True

    async def _data(self, rest: str) -> bool:
        del rest
        if not self._recipients:
            return await self._say("503 5.5.1 RCPT first")
        if await self._refused("data"):
            return True
        await self._say("354 End with <CRLF>.<CRLF>")
        content = await self._content()
        if await self._refused("message"):
            return True
        self._keep(content)
        if self._state.knobs.lose_answer:
            return False
        return await self._say("250 2.0.0 Accepted")

    async def _content(self) -> bytes:
        lines: list[bytes] = []
        while (line := await self._reader.readuntil(b"\n")) != b".\r\n":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        return b"".join(lines)

    def _keep(self, content: bytes) -> None:
        message = message_from_bytes(content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        mail = Mail(self._sender or "", list(self._recipients), message)
        self._sender, self._recipients = None, []
        self._state.mails.append(mail)
        self._world.journal(
            "smtp",
            "",
            "mail",
            message_id=mail.message_id,
            sender=mail.sender,
            recipients=mail.recipients,
            subject=str(message.get("Subject", "")),
            text=content_of(message),
        )

    async def _reset(self, rest: str) -> bool:
        del rest
        self._sender, self._recipients = None, []
        return await self._say("250 2.0.0 OK")

    async def _nothing(self, rest: str) -> bool:
        del rest
        return await self._say("250 2.0.0 OK")

    _STEPS: ClassVar[dict[str, Callable[[Session, str], Awaitable[bool]]]] = {
        "EHLO": _hello,
        "HELO": _hello,
        "AUTH": _auth,
        "MAIL": _mail,
        "RCPT": _rcpt,
        "DATA": _data,
        "RSET": _reset,
        "NOOP": _nothing,
    }
