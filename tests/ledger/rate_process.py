"""A worker that calls as often as the shared budget lets it: `python -m tests.ledger.rate_process <url> <folder>`.

It prints the wall-clock time of each call; `refused` on its input is a remote's 429 that asks for two seconds.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from integrations.rate import Rate
from integrations.shared_rate import SharedBuckets
from recovery.ledger.ledger import Ledger
from tests.ledger.worker_process import say


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))


async def main(url: str, folder: Path) -> None:
    async with await Ledger.open(url, folder) as ledger:
        assert ledger.slots is not None
        gate = SharedBuckets(WallClock(), ledger.slots, {"pro2": Rate(5.0)})
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def listen() -> None:
            for line in sys.stdin:
                if line.strip() == "refused":
                    loop.call_soon_threadsafe(gate.penalize, "harbor", "pro2", 2.0)
            loop.call_soon_threadsafe(stop.set)

        async def call_all_the_time() -> None:
            while True:
                await gate.acquire("harbor", "pro2")
                say(f"{time.time()}")

        tasks = [asyncio.create_task(call_all_the_time()) for _ in range(4)]
        say("ready")
        threading.Thread(target=listen, daemon=True).start()
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
