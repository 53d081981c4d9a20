"""The pretend estate: every twin on its own loopback port in one process and one event loop, with a control server.

`Estate.start` is for tests (in-process); `python -m sandbox serve` is the same thing as a process of its own. A task
looks every 50 ms at what is due by the estate's clock; when it fails, the estate fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import importlib.util
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sandbox import dashboard, pro2, tessitura
from sandbox.faults import FaultLayer, ResettableProtocol
from sandbox.neighbours import NEIGHBOURS, Neighbour
from sandbox.story import Account, Story
from sandbox.world import Fault, World

Builder = Callable[[World], Story]
TICK_SECONDS = 0.05


class QuietServer(uvicorn.Server):
    """A uvicorn server that says when it is ready and leaves the process's signals alone: there are a dozen of them.

    Its Date header is the estate's time, so that a client which measures clock skew finds none.
    """

    def __init__(self, config: uvicorn.Config, world: World) -> None:
        super().__init__(config)
        self.world = world
        self.ready = asyncio.Event()
        self.stopping = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections and say so."""
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """Keep the Date header right until told to stop."""
        while not self.stopping.is_set():
            date = format_datetime(self.world.now(), usegmt=True).encode()
            self.server_state.default_headers = [(b"date", date), *self.config.encoded_headers]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), 1.0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class Port:
    """One twin being served on a free loopback port, which stays its own when it is stopped and started again."""

    def __init__(self, app: Any, world: World) -> None:
        self.app, self.world = app, world
        self.socket = bound(0)
        self.number: int = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.number}"
        self.server: QuietServer | None = None
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve; returns when connections are accepted."""
        config = uvicorn.Config(
            self.app,
            http=ResettableProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_keep_alive=30,
        )
        if self.socket.fileno() < 0:
            self.socket = bound(self.number)
        self.server = QuietServer(config, self.world)
        self.task = asyncio.create_task(self.server.serve(sockets=[self.socket]))
        await self.server.ready.wait()

    async def stop(self) -> None:
        """Stop at once; requests that hang are cancelled."""
        if self.server is None or self.task is None:
            self.socket.close()
            return
        self.server.force_exit = True
        self.server.stopping.set()
        for task in list(self.server.server_state.tasks):
            task.cancel()
        await self.task


def bound(number: int) -> socket.socket:
    """A socket on a loopback port; 0 takes a free one."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", number))
    return made


class Estate:
    """A running estate. `info` is what stands in root/estate.json; `state(system)` is a single system's state."""

    def __init__(self, world: World, story: Story) -> None:
        self.world = world
        self.story = story
        self.neighbours: dict[str, Neighbour] = {}
        self.ports: dict[str, Port] = {}
        self.layers: list[FaultLayer] = []
        self.info: dict[str, Any] = {}
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ticker: asyncio.Task[None] | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def start(
        cls, scenario: str | Builder, root: Path, *, seed: int = 1, speed: float = 1.0
    ) -> AsyncIterator[Estate]:
        """Start the estate of a scenario (its name, or a function that builds a Story) and stop it at the end.

        `speed` shortens how long sending, running and stopping take.
        """
        world = World(root, seed=seed)
        estate = cls(world, builder_of(scenario)(world))
        hasten(estate.story, speed)
        try:
            await estate.open()
            yield estate
        finally:
            await estate.close()

    @property
    def url(self) -> dict[str, str]:
        """Where each system is served, without any account."""
        return {name: port.url for name, port in self.ports.items()}

    def account(self, name: str) -> Account:
        """One account's twins."""
        return self.story.account(name)

    def state(self, system: str) -> Any:
        """The state of a system there is one of, such as "jira"."""
        return self.neighbours[system].state

    async def open(self) -> None:
        """Start every server, then write truth.json and estate.json."""
        accounts = self.story.accounts
        self._serve("pro2", pro2.build_app(self.world, {a.name: a.pro2 for a in accounts}))
        self._serve("dashboard", dashboard.build_app(self.world, {a.name: a.dashboard for a in accounts}))
        self._serve("tessitura", tessitura.build_app(self.world, {a.name: a.tessitura for a in accounts}))
        for name, make in NEIGHBOURS.items():
            if importlib.util.find_spec(f"sandbox.{name}") is None:
                continue
            neighbour = self.neighbours[name] = make(self.world, self.story.singles.get(name))
            if neighbour.serve is None:
                self._serve(name, importlib.import_module(f"sandbox.{name}").build_app(self.world, neighbour.state))
        self.ports["control"] = Port(control_app(self), self.world)
        await asyncio.gather(*(port.start() for port in self.ports.values()))
        for neighbour in self.neighbours.values():
            if neighbour.serve is not None:
                await neighbour.serve()
        self._ticker = asyncio.create_task(self._tick_for_ever())
        write(self.world.root / "truth.json", self.story.truth())
        self.info = self._describe()
        write(self.world.root / "estate.json", self.info)

    async def close(self) -> None:
        """Stop the clockwork, then every server."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait([self._ticker])
        for layer in self.layers:
            for task in list(layer.later):
                task.cancel()
        for neighbour in self.neighbours.values():
            if neighbour.close is not None:
                await neighbour.close()
        await asyncio.gather(*(port.stop() for port in self.ports.values()))
        self.world.close()
        if self.failed.done():
            self.failed.result()

    async def down(self, system: str) -> None:
        """Stop one system as a crash does: connections break and nobody listens; what it has stored stays."""
        port, neighbour = self.ports.get(system), self.neighbours.get(system)
        if port is not None:
            await port.stop()
        elif neighbour is not None and neighbour.close is not None:
            await neighbour.close()

    async def up(self, system: str) -> None:
        """Serve a stopped system again, where it was."""
        port, neighbour = self.ports.get(system), self.neighbours.get(system)
        if port is not None:
            await port.start()
        elif neighbour is not None and neighbour.serve is not None:
            await neighbour.serve()

    def _serve(self, system: str, app: Starlette) -> None:
        layer = FaultLayer(app, self.world, system, app.routes)
        self.layers.append(layer)
        self.ports[system] = Port(layer, self.world)

    def run_due(self) -> None:
        """Let everything happen that is due by the estate's clock."""
        for account in self.story.accounts:
            account.pro2.tick(self.world)
            account.dashboard.tick(self.world)
        for neighbour in self.neighbours.values():
            tick = getattr(neighbour.state, "tick", None)
            if tick is not None:
                tick(self.world)

    async def _tick_for_ever(self) -> None:
        try:
            while True:
                began = time.monotonic()
                self.run_due()
                took = time.monotonic() - began
                await asyncio.sleep(max(TICK_SECONDS, 4 * took))  # a large fleet must not starve its own servers
        except Exception as error:
            self.failed.set_exception(error)
            raise

    def _describe(self) -> dict[str, Any]:
        accounts = [
            {
                "name": a.name,
                "time_zone": a.time_zone,
                "pro2": {"base_url": f"{self.url['pro2']}/{a.name}", "token": next(iter(a.pro2.tokens))},
                "dashboard": {"base_url": f"{self.url['dashboard']}/{a.name}/bridge/v1", "token": a.dashboard.token},
                "tessitura": {
                    "base_url": f"{self.url['tessitura']}/{a.name}",
                    "user": a.tessitura.user,
                    "group": a.tessitura.group,
                    "location": a.tessitura.location,
                    "password": a.tessitura.password,
                },
            }
            for a in self.story.accounts
        ]
        return {
            "scenario": self.story.name,
            "pid": os.getpid(),
            "clock_offset_seconds": self.world.clock_offset_seconds,
            "control": self.url["control"],
            "window": self.story.window,
            "accounts": accounts,
            **{name: n.describe(self.url.get(name, "")) for name, n in self.neighbours.items()},
            "hints": {"valid_until": self.story.valid_until},
        }


def builder_of(scenario: str | Builder) -> Builder:
    """The function that builds a scenario; raises LookupError for an unknown name. "fleet:1000" gives it a number."""
    if not isinstance(scenario, str):
        return scenario
    from sandbox.scenarios import SCENARIOS, fleet  # the scenarios import what they plant into, not this module

    name, _, number = scenario.partition(":")
    if name not in SCENARIOS or (number and (name != "fleet" or not number.isdigit())):
        raise LookupError(f"no scenario {scenario!r}; there are {', '.join(sorted(SCENARIOS))}, fleet:NUMBER")
    return functools.partial(fleet, accounts=int(number)) if number else SCENARIOS[name]


def hasten(story: Story, speed: float) -> None:
    """Divide how long things take by `speed`."""
    for account in story.accounts:
        account.pro2.send_seconds /= speed
        account.pro2.import_seconds /= speed
        knobs = account.dashboard.knobs
        knobs.run_seconds /= speed
        knobs.queue_seconds /= speed
        knobs.stop_seconds /= speed


def write(path: Path, value: object) -> None:
    """Write JSON so that a reader sees either nothing or the whole."""
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=str), encoding="utf-8")
    draft.replace(path)


# ---- the control server ----------------------------------------------------------------------------------------------


def control_app(estate: Estate) -> Starlette:
    """What a test or a demo turns from outside: the clock, faults, late originals."""
    world = estate.world

    async def clock(request: Request) -> JSONResponse:
        world.advance(float((await request.json())["advance_seconds"]))
        estate.run_due()
        return JSONResponse({"now": world.now().isoformat(), "clock_offset_seconds": world.clock_offset_seconds})

    async def faults(request: Request) -> JSONResponse:
        if request.method == "DELETE":
            world.faults.clear()
        elif request.method == "POST":
            try:
                world.faults.add(Fault(**await request.json()))
            except TypeError as error:
                return JSONResponse({"error": str(error)}, 422)
        return JSONResponse({"faults": world.faults.as_list()})

    async def state(_: Request) -> JSONResponse:
        return JSONResponse({"now": world.now().isoformat(), "counts": dict(world.counts)})

    async def late_original(request: Request) -> JSONResponse:
        wanted = await request.json()
        try:
            estate.account(wanted["account"]).pro2.let_go_late(int(wanted["campaign"]))
        except (KeyError, StopIteration, ValueError):
            return JSONResponse({"error": "no such account or campaign"}, 404)
        estate.run_due()
        return JSONResponse({})

    async def run_due(_: Request) -> JSONResponse:
        estate.run_due()
        return JSONResponse({"now": world.now().isoformat()})

    routes = [
        Route("/clock", clock, methods=["POST"]),
        Route("/faults", faults, methods=["GET", "POST", "DELETE"]),
        Route("/state", state),
        Route("/late-original", late_original, methods=["POST"]),
        Route("/run-due", run_due, methods=["POST"]),
    ]
    return Starlette(routes=routes)
