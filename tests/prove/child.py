"""A real run of the product in a process of its own, which kills itself with SIGKILL at a counted boundary.

The boundaries are counted by the code as it runs: before and after every call that writes to the ledger, before the
first byte and after the reply of every write, and before and after every read while one is in doubt. Test code only:
the product knows nothing of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from integrations.http import Transport
from recovery.approvals import acting, reach_of
from recovery.model import Approval, OutageWindow, iso
from recovery.operate import Run, audit_window, plan_from
from recovery.settings import load_settings
from recovery.views import recover_view
from recovery.wiring import Systems, open_systems

LEDGER_WRITES = (
    "open_items", "ensure", "claim", "unclaim", "intend", "settle", "confirm", "doubt", "adopt", "absent", "hold",
    "skip", "take_over", "elect", "note_object", "finish_item",
)  # fmt: skip


class Boundaries:
    """Counts what passes, and kills this process at the n-th; 0 only counts. `sleep_at` pauses there instead."""

    def __init__(self, kill_at: int, pause: float = 0.0) -> None:
        self.kill_at, self.pause, self.labels = kill_at, pause, list[str]()

    async def passed(self, label: str) -> None:
        self.labels.append(label)
        if len(self.labels) == self.kill_at:
            if not self.pause:
                os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.sleep(self.pause)

    def wrap(self, call: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[Any]]:
        async def wrapped(*args: Any, **kwargs: Any) -> Any:
            await self.passed(f"before {name}")
            result = await call(*args, **kwargs)
            await self.passed(f"after {name}")
            return result

        return wrapped


def install(boundaries: Boundaries, systems: Systems) -> None:
    """Put the boundaries round the ledger's writes and the transport's."""
    for name in LEDGER_WRITES:
        setattr(systems.ledger, name, boundaries.wrap(getattr(systems.ledger, name), name))
    exchange = Transport._exchange

    async def counted(self: Transport, sockets: Any, request: Any, connect: float) -> Any:
        if sockets is not self._sockets.writes:
            return await exchange(self, sockets, request, connect)
        await boundaries.passed("before the first byte")
        reply = await exchange(self, sockets, request, connect)
        await boundaries.passed("after the reply")
        return reply

    Transport._exchange = counted  # type: ignore[method-assign]


async def recover(config: Path, account: str, window: OutageWindow, boundaries: Boundaries, out: Path) -> None:
    async with open_systems(load_settings(config), names=(account,)) as systems:
        plan = await plan_from(systems, await audit_window(systems, window))
        if plan is None:
            return
        for person in ("Dana Reyes", "Sam Okafor"):
            await systems.ledger.approve(
                Approval(plan.digest, person, systems.clock.now(), reach_of(acting(plan)), True, (), "test")
            )
        install(boundaries, systems)
        done = await Run(systems, plan, "test").recover()
        actions = {r.slot_key: await systems.ledger.actions(r.slot_key) for r in done.items}
        out.with_suffix(".claims").write_text(json.dumps(recover_view(done, actions, iso(systems.clock.now()))))
        out.write_text("\n".join(boundaries.labels))


def run_child(
    config: Path, account: str, window: OutageWindow, kill_at: int, out: Path, start_at: Any = None, pause: float = 0.0
) -> None:
    """One run; `start_at` is a barrier for duels. Never returns to the caller's event loop."""
    random.seed()
    if start_at is not None:
        start_at.wait()
    try:
        asyncio.run(recover(config, account, window, Boundaries(kill_at, pause), out))
    except Exception as error:  # noqa: BLE001 # the parent reads why
        out.with_suffix(".error").write_text(f"{type(error).__name__}: {error}")
        sys.exit(3)
