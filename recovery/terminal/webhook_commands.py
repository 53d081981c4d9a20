"""What `allclear webhooks` does: receives deliveries until it is stopped."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from recovery.errors import UsageError
from recovery.settings import load_settings
from recovery.terminal.progress import Progress
from recovery.terminal.terminal import stop_on_signals
from recovery.webhook_server import keep_auditing, receiver_of, serving
from recovery.wiring import open_systems


async def webhooks(config: Path | None, host: str, port: int, *, quiet: bool) -> int:
    """`allclear webhooks`: until Ctrl-C."""
    settings = load_settings(config)
    stop = asyncio.Event()
    stop_on_signals(stop)
    tell = Progress(quiet=quiet)
    async with open_systems(settings, tell=tell) as systems:
        receiver = receiver_of(systems)
        if not any(receiver.secrets.values()) and not receiver.statuspage:
            raise UsageError("No source is configured, so nothing could ever be taken.", "Add a [webhooks] table.")
        await receiver.inbox.resume()
        async with serving(receiver, host, port) as bound:
            tell("step", {"slot": "webhooks", "what": f"listening on {host}:{bound}"})
            auditing = asyncio.create_task(keep_auditing(systems, receiver.inbox))
            waiting = asyncio.create_task(stop.wait())
            try:
                await asyncio.wait({auditing, waiting}, return_when=asyncio.FIRST_COMPLETED)
                if auditing.done():
                    auditing.result()
            finally:
                for task in (auditing, waiting):
                    task.cancel()
                with suppress(asyncio.CancelledError):
                    await auditing
    return 0
