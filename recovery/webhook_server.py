"""Receives signed deliveries over HTTP, on this machine only unless told otherwise.

    POST /outage      Standard Webhooks: an outage is over        -> an audit of its window
    POST /pagerduty   PagerDuty V3                                 -> a note
    POST /slack       Slack interactivity                          -> a note, or an audit asked for by a known user
    POST /statuspage  unsigned, off unless settings turn it on     -> one more read, at most so many an hour

Signatures are checked over the raw body before anything is parsed (`integrations.webhooks`). Answers carry no detail.
TLS and addresses that may call belong to the proxy in front. Starlette and uvicorn come with Prefect.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from integrations.webhooks import MAX_BODY_BYTES, Delivery, ForgedDeliveryError, Signer, verify
from recovery.errors import LedgerError, UsageError
from recovery.incoming import Inbox
from recovery.model import OutageWindow
from recovery.operate import audit_window
from recovery.ports import Clock
from recovery.settings import Settings, reveal
from recovery.wiring import Systems

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LONGEST_BODY_SECONDS = 10.0
BETWEEN_LOOKS_SECONDS = 0.2
SIGNERS: Mapping[str, Signer] = {
    "outage": Signer.STANDARD,
    "pagerduty": Signer.PAGERDUTY,
    "slack": Signer.SLACK,
}


@dataclass(slots=True)
class Receiver:
    """Answers deliveries. `secrets` by source, the new and the old one; a source without any is not served."""

    inbox: Inbox
    clock: Clock
    secrets: Mapping[str, Sequence[str]] = field(repr=False)
    statuspage: bool = False

    async def receive(self, request: Request) -> Response:
        """One delivery; 202 taken, 200 taken before, 401 not proven, 413, 422 no use, 503 cannot be recorded now."""
        from starlette.responses import PlainTextResponse

        source = request.path_params["source"]
        try:
            return PlainTextResponse(*await self._answer(source, request))
        except ForgedDeliveryError:
            return PlainTextResponse("not proven\n", 401)
        except UsageError:
            return PlainTextResponse("not understood\n", 422)
        except LedgerError:
            return PlainTextResponse("cannot be recorded now\n", 503)

    async def _answer(self, source: str, request: Request) -> tuple[str, int]:
        body = await _body(request)
        if body is None:
            return "too large or too slow\n", 413
        if source == "statuspage" and self.statuspage:
            await self.inbox.hint()
            return "thank you\n", 202
        if not self.secrets.get(source):
            return "no such source\n", 404
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in request.headers.raw]
        authentic = verify(SIGNERS[source], Delivery(headers, body), self.secrets[source], self.clock.now())
        taken = await self.inbox.take(source, authentic.delivery_ref, authentic.body)
        return ("taken\n", 202) if taken else ("taken before\n", 200)

    def app(self) -> Starlette:
        """The ASGI application."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        return Starlette(routes=[Route("/{source}", self.receive, methods=["POST"])])


async def _body(request: Request) -> bytes | None:
    """The raw body, or None when it is larger than any delivery or comes too slowly."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(LONGEST_BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BODY_BYTES:
                    return None
                parts.append(part)
    except TimeoutError:
        return None
    return b"".join(parts)


def receiver_of(systems: Systems) -> Receiver:
    """The receiver that settings describe; ConfigError names a secret that cannot be read."""
    settings = systems.settings
    given = settings.webhooks
    inbox = Inbox(
        systems.ledger,
        systems.clock,
        [a.name for a in settings.accounts],
        systems.policy.limits.window_hours,
        frozenset(given.slack_users),
        given.reads_per_hour,
    )
    return Receiver(inbox, systems.clock, _secrets(settings), given.statuspage)


def _secrets(settings: Settings) -> dict[str, tuple[str, ...]]:
    given = settings.webhooks
    return {
        name: tuple(reveal(at, settings, f"webhooks.{name}").get_secret_value() for at in places)
        for name, places in (("outage", given.outage), ("pagerduty", given.pagerduty), ("slack", given.slack))
    }


@asynccontextmanager
async def serving(receiver: Receiver, host: str, port: int) -> AsyncIterator[int]:
    """Serves until the end of the block; the port that was bound."""
    import uvicorn

    config = uvicorn.Config(
        receiver.app(),
        host=host,
        port=port,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=64,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )

    class Server(uvicorn.Server):
        """Leaves the process's signals to the command."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Captures none."""
            yield

    server = Server(config)
    listener = config.bind_socket()
    # asyncio sets this only on sockets made with an explicit protocol; without it each answer waits 40 ms for an ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.005)
            if task.done():
                await task
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await task
        listener.close()


async def keep_auditing(systems: Systems, inbox: Inbox) -> None:
    """Makes the audits that deliveries ask for, one at a time, until cancelled."""

    async def look(window: OutageWindow) -> Mapping[str, object]:
        result = await audit_window(systems, window)
        counts = Counter(f.verdict.value for f in result.findings)
        return {"incident": window.incident_ref, **dict(sorted(counts.items()))}

    while True:
        if not await inbox.audit_next(look):
            await asyncio.sleep(BETWEEN_LOOKS_SECONDS)
