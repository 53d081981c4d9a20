"""Seeded bugs that show at a socket: the real transport, runner and ledger against a server that keeps its own journal.

The server's journal is written when it does something, whatever it then answers. Nobody ever sees the effect by
reading (an index that lags for good), so only the transport's care stands between one effect and two.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import integrations.http
import integrations.replies
from integrations.fields import Fields
from integrations.http import Sockets, Transport
from integrations.oneshot import Answer
from integrations.outgoing import Outgoing
from integrations.pro2 import Pro2Client
from integrations.replies import Reply
from recovery.act import ABSENT, SEEN, Effect, Ended, Look, Runner
from recovery.ledger.ledger import Ledger
from recovery.ledger.rows import ActionRow, ActionSpec, ItemRow
from recovery.model import ActionKind, AttemptOutcome, Harm, ItemOutcome, OpenAttempt, Question, WriteResult
from recovery.policy import Policy, Waits
from tests.integrations.remote_bench import OpenGate, WallClock
from tests.prove.kernel import START, machine
from tests.prove.oracle import Claim, Story, judge
from tests.prove.product_ledger import Disk, ProductLedger
from tests.prove.remote import Line
from tests.prove.schedule import VirtualClock

Patch = pytest.MonkeyPatch
Show = Callable[[Path], Awaitable[tuple[str, ...]]]
WAITS = Waits(poll=0.01, settle=0.02, settle_copy=0.02, send_within=5.0, write_deadline=2.0, lease=60.0)


class Server:
    """One remote on a socket: every request it understands starts a run, and is answered as `mode` says."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.journal: list[Line] = []
        self.base = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        if self.mode not in ("empty", "refused"):
            ref = f"r{len(self.journal)}"
            self.journal += [Line(0.0, "run", ref, "t1", "run_now"), Line(0.0, "run_ended", ref, "t1", "run_now")]
        first = sum(line.what == "run" for line in self.journal) <= 1
        if self.mode == "cut" and first:
            writer.transport.abort()
            return
        head, body = {
            "error": ("500 Internal Server Error", '{"message": "it broke"}'),
            "redirect": (f"307 Temporary Redirect\r\nLocation: {self.base}/again", "{}"),
            "empty": ("200 OK", "{}"),
            "refused": ("200 OK", '{"succeeded": 0, "message": "the limit is reached", "newCampaignId": "55"}'),
        }.get(self.mode if first else "done", ("200 OK", '{"run": "r0"}'))
        text = f"HTTP/1.1 {head}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        writer.write(text.encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def _served(mode: str) -> AsyncIterator[tuple[Server, Transport]]:
    remote = Server(mode)
    server = await asyncio.start_server(remote.serve, "127.0.0.1", 0)
    remote.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    sockets = Sockets()
    try:
        yield remote, Transport(
            system="pro2", account="acme", base_url=remote.base, headers={"Api-Token": "a token of the tests"},
            sockets=sockets, clock=WallClock(), gate=OpenGate(),
        )  # fmt: skip
    finally:
        await sockets.close()
        server.close()
        await server.wait_closed()


def _run_of(reply: Reply) -> WriteResult | None:
    body = reply.obj()
    return WriteResult(AttemptOutcome.APPLIED, ref=str(body["run"])) if "run" in body else None


def write(method: str) -> Callable[[Transport, OpenAttempt], Awaitable[WriteResult]]:
    """A plain write."""
    return lambda transport, attempt: transport.write(attempt, "run_now", method, "/run", judge=_run_of)


def copy(transport: Transport, attempt: OpenAttempt) -> Awaitable[WriteResult]:
    """The product's own duplicate call."""
    return Pro2Client(transport, "UTC").copy("7", attempt)


POST = write("POST")


def through(mode: str, send: Callable[[Transport, OpenAttempt], Awaitable[WriteResult]] = POST) -> Show:
    """The oracle's complaints about one effect performed against a server that answers so."""

    async def show(folder: Path) -> tuple[str, ...]:
        async with (
            _served(mode) as (remote, transport),
            await Ledger.open(f"sqlite:///{folder}/l.db", folder / "state", clock=WallClock()) as ledger,
        ):
            effect = Effect(
                ActionSpec("RUN", "slot", "acme", ActionKind.RUN_NOW, Harm.H2, "t1"), "run t1",
                lambda attempt: send(transport, attempt), _never_seen, settle_seconds=0.02, confirm_seconds=0.02,
            )  # fmt: skip
            runner = Runner(ledger, WallClock(), Policy((), waits=WAITS), lambda *_: None, "run", lambda: "")
            claim = await _claimed(runner, effect)
        return judge(Story(remote.journal, (), (claim,), (), ()))

    return show


async def _never_seen() -> Look:
    return Look(ABSENT, note="not to be seen")


async def _claimed(runner: Runner, effect: Effect) -> Claim:
    outcome, reason, question = ItemOutcome.CONFIRMED, "done", None
    try:
        await runner.perform(effect)
    except Ended as ended:
        outcome, reason, question = ended.outcome, ended.reason, ended.question
    return Claim("t1", "trigger", _item(outcome, reason, question))


def _item(outcome: ItemOutcome, reason: str, question: Question | None) -> ItemRow:
    return ItemRow(
        "slot", "acme", "dashboard", "trigger", "t1", START, "t1", "missed", "run_now", outcome, reason, question, 0,
        "p", "i", START,
    )  # fmt: skip


# ---- the bugs -------------------------------------------------------------------------------------------------------


def retries(patch: Patch) -> None:
    """The transport tries a broken exchange once more."""
    real = Transport._exchange

    async def again(self: Transport, *asked: Any) -> Reply:
        try:
            return await real(self, *asked)
        except httpx.HTTPError:
            return await real(self, *asked)

    patch.setattr(Transport, "_exchange", again)


def follows(patch: Patch) -> None:
    """The transport goes where a redirect points."""
    real = Transport._exchange

    async def follow(self: Transport, pool: Any, request: Outgoing, seconds: float) -> Reply:
        reply = await real(self, pool, request, seconds)
        if not 300 <= reply.status < 400:
            return reply
        return await real(self, pool, replace(request, target="/again"), seconds)

    patch.setattr(Transport, "_exchange", follow)


class _Library:
    """Writes through a client library that repeats what looks repeatable by its verb, as aiohttp does."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    async def exchange(self, request: Outgoing, connect: float, silence: float) -> Answer:
        try:
            return await self.pool.exchange(request, connect, silence)
        except httpx.TransportError:
            if request.method not in ("GET", "HEAD", "PUT", "DELETE"):
                raise
            return await self.pool.exchange(request, connect, silence)


def sends_through_a_library(patch: Patch) -> None:
    real = Sockets.__init__

    def begin(self: Sockets, *asked: Any, **named: Any) -> None:
        real(self, *asked, **named)
        self.writes = _Library(self.writes)

    patch.setattr(Sockets, "__init__", begin)


def takes_5xx_for_failed(patch: Patch) -> None:
    real = integrations.replies.classify

    def classify(reply: Reply, *asked: Any, **named: Any) -> WriteResult:
        if reply.status >= 500:
            return WriteResult(AttemptOutcome.NOT_APPLIED, detail=f"{reply.status}")
        return real(reply, *asked, **named)

    patch.setattr(integrations.http, "classify", classify)


def trusts_2xx(patch: Patch) -> None:
    patch.setattr(
        integrations.replies, "_judged", lambda *_: WriteResult(AttemptOutcome.APPLIED, ref="r0", detail="2xx")
    )


def takes_every_flag_for_true(patch: Patch) -> None:
    patch.setattr(Fields, "flag", lambda *_: True)


def no_read_back(patch: Patch) -> None:
    """The layer above: what the remote said yes to is confirmed without reading it."""

    async def confirm(self: Runner, _effect: Effect, row: ActionRow) -> ActionRow:
        return await self.ledger.confirm(row.key, "digest", "it said yes", row.result_ref)

    patch.setitem(Runner._MOVES, "applied", confirm)


# ---- a native key that expires --------------------------------------------------------------------------------------


class KeyedDesk:
    """A ticket desk that knows a create by its key for two hours, and finds tickets by their external id."""

    KEPT_SECONDS = 7200.0

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.journal: list[Line] = []
        self.keys: dict[str, float] = {}

    def create(self, key: str) -> None:
        now = self.clock.monotonic()
        if now - self.keys.get(key, -1e9) > self.KEPT_SECONDS:
            ref = f"T{len(self.journal)}"
            self.journal += [Line(now, "run", ref, "t1", "create"), Line(now, "run_ended", ref, "t1", "create")]
        self.keys.setdefault(key, now)


def with_a_key(next_run_at: float) -> Show:
    """A create whose reply is lost with its process; the next run comes so many seconds later."""

    async def show(_folder: Path) -> tuple[str, ...]:
        return _keyed(next_run_at)

    return show


def _keyed(next_run_at: float) -> tuple[str, ...]:
    claims: list[Claim] = []
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        with machine(0) as loop:
            clock, disk = VirtualClock(loop), Disk()
            desk = KeyedDesk(clock)

            async def run(owner: str) -> None:
                ledger = ProductLedger(disk, owner, clock.monotonic, clock.monotonic)
                runner = Runner(ledger, clock, Policy(()), lambda *_: None, owner, lambda: "")

                async def send(_attempt: OpenAttempt) -> WriteResult:
                    desk.create("RK-1")
                    if owner == "host:1":
                        await loop.create_future()  # killed while it waits for the answer
                    return WriteResult(AttemptOutcome.APPLIED, ref="T0")

                async def look() -> Look:
                    return Look(SEEN, "T0", "d", "found by its external id") if desk.journal else Look(ABSENT)

                spec = ActionSpec("TICKET", "slot", "acme", ActionKind.TICKET, Harm.H1, "t1")
                claims.append(await _claimed(runner, Effect(spec, "create a ticket", send, look, repeatable=True)))

            loop.create_task(run("host:1"))
            loop.run(60.0)
            disk.dead.add("host:1")
            loop.run(next_run_at)
            loop.create_task(run("host:2"))
            loop.run(next_run_at + 20_000)
            disk.close()
    finally:
        asyncio._set_running_loop(before)
    return judge(Story(desk.journal, (), claims[-1:], (), ()))


def trusts_the_key(patch: Patch) -> None:
    """Nobody looks: the remote's own key is to see to it that a repeat does nothing."""
    real = Runner._look

    async def look(self: Runner, effect: Effect) -> Look:
        return (
            Look(ABSENT)
            if self.run_ref == "host:2" and effect.spec.kind is ActionKind.TICKET
            else await real(self, effect)
        )

    patch.setattr(Runner, "_look", look)
