"""One sandbox twin behind a real socket, with the estate's faults in front of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from remote_bench import OpenGate, Shelf, WallClock

from integrations.http import Sockets, Transport
from recovery.model import OpenAttempt
from sandbox.faults import FaultLayer, ResettableProtocol
from sandbox.world import Fault, World


class Twin:
    """A served twin: its address, its journal, and transports to it."""

    def __init__(self, world: World, system: str, url: str) -> None:
        self.world, self.system, self.url = world, system, url
        self.clock, self.gate, self.shelf, self.sockets = WallClock(), OpenGate(), Shelf(), Sockets()

    def transport(self, path: str = "", **options: Any) -> Transport:
        settings = {
            "system": self.system,
            "account": "",
            "base_url": self.url + path,
            "sockets": self.sockets,
            "clock": self.clock,
            "gate": self.gate,
            "keep": self.shelf.keep,
            "read_retries": 0,
            **options,
        }
        return Transport(**settings)  # type: ignore[arg-type]  # one dictionary of many types

    def attempt(self, n: int = 1, deadline_seconds: float = 3.0) -> OpenAttempt:
        return OpenAttempt(1, "A" * 16, n, 1, self.clock.monotonic() + 30, deadline_seconds)

    def fault(self, op: str, kind: str, *, times: int = 1, seconds: float = 0.5) -> None:
        self.world.faults.add(Fault(self.system, op=op, kind=kind, times=times, seconds=seconds))

    def events(self, event: str) -> list[dict[str, Any]]:
        return [row for row in self.world.read_journal(self.system) if row["event"] == event]


@asynccontextmanager
async def served(world: World, system: str, app: Any) -> AsyncIterator[Twin]:
    layer = FaultLayer(app, world, system, app.routes)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        layer, http=ResettableProtocol, ws="none", lifespan="off", log_config=None, log_level="critical"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    twin = Twin(world, system, f"http://127.0.0.1:{listener.getsockname()[1]}")
    try:
        yield twin
    finally:
        await twin.sockets.close()
        server.should_exit = server.force_exit = True
        for hanging in list(server.server_state.tasks):
            hanging.cancel()
        await task
        listener.close()
        world.close()
