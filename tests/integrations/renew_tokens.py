"""A worker process: asks for a token again and again and uses each one; prints how often it was refused.

Usage: renew_tokens.py BASE_URL TOKEN_FILE COUNT
"""

from __future__ import annotations

import asyncio
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from integrations.http import Sockets
from integrations.oauth import OAuth, TokenFile, token_transport
from recovery.errors import AuthFailed


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class OpenGate:
    async def acquire(self, account: str, system: str) -> None:
        pass

    def penalize(self, account: str, system: str, seconds: float) -> None:
        pass


async def main(base_url: str, path: str, count: int) -> int:
    clock, sockets = WallClock(), Sockets()
    secret = "canary-client-secret"
    line = token_transport(
        system="zendesk",
        account="",
        base_url=base_url,
        sockets=sockets,
        clock=clock,
        gate=OpenGate(),
        client_secret=secret,
    )
    oauth = OAuth(
        transport=line,
        tokens=TokenFile(Path(path)),
        clock=clock,
        client_id="id",
        client_secret=secret,
        scope="tickets:read tickets:write",
        grant="refresh_token",
        first_refresh="refresh-0",
    )
    refused = 0
    for _ in range(count):
        try:
            await oauth.token()
        except AuthFailed:
            refused += 1
        await asyncio.sleep(0.01)
    await sockets.close()
    return refused


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))}\n")
