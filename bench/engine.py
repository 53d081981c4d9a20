"""The product's engine on the bench: Runner.perform and the real ledger, each effect an intent on disk first.

The recovery is the peers' five calls and no more: the second GET is what confirms the stop, and the replies of copy
and send name what they made. A real resend reads more (docs/scale.md, "Calls per remedy").
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.peers import ACCOUNT, Item, Job, send_effect, transport
from integrations.http import Sockets, Transport
from recovery.act import SEEN, Effect, Look, Runner
from recovery.ledger.ledger import Ledger
from recovery.ledger.rows import ActionSpec
from recovery.model import ActionKind, Harm, OpenAttempt, WriteResult
from recovery.policy import Policy
from recovery.wiring import SystemClock, silent

STEPS = (
    ("stop", ActionKind.STOP, Harm.H0),
    ("copy", ActionKind.COPY, Harm.H0),
    ("send", ActionKind.RELEASE, Harm.H2),  # H3 would take turns within the bench's one account
)


@asynccontextmanager
async def engine(job: Job) -> AsyncIterator[Item]:
    """The durable engine on the ledger that the job names."""
    sockets = Sockets()
    room = asyncio.Semaphore(job.concurrency)
    async with await Ledger.open(job.ledger, Path(job.state), clock=SystemClock()) as ledger:
        http = transport(job, sockets)
        runner = Runner(ledger, SystemClock(), Policy(()), silent, "bench", lambda: "")

        async def one(number: int) -> None:
            async with room:
                (await http.read("item", "GET", f"/{number}")).obj()
            for step in STEPS:
                await runner.perform(_effect(http, room, number, *step))

        yield one
        await ledger.flush()
    await sockets.close()


def _effect(http: Transport, room: asyncio.Semaphore, number: int, name: str, kind: ActionKind, harm: Harm) -> Effect:
    spec = ActionSpec(f"{http.account}:{number}:{name}", f"slot-{number}", ACCOUNT, kind, harm, str(number))

    async def send(attempt: OpenAttempt) -> WriteResult:
        async with room:
            return await send_effect(http, number, name, attempt)

    async def read_back() -> Look:
        async with room:
            found = await http.record("item", f"/{number}")
        return Look(SEEN, found.text("id"), found.digest, "read back")

    async def as_replied() -> Look:
        return Look(SEEN, str(number), "the reply named it", "as replied")

    confirm = read_back if name == "stop" else as_replied
    return Effect(spec, f"{name} {number}", send, read_back, confirm=confirm, look_first=False)
