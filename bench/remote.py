"""A remote that costs next to nothing, so that what is timed is the client: asyncio.Protocol, httptools, uvloop.

Paths are /<latency in ms>/<run>/<item>[/<effect>]; a GET reads an item, a POST makes it happen, and a GET of
/<latency>/<run>/<item>/<effect>/seen tells how often it happened. Each run keeps its own count of effects, and
GET /counts/<run> tells it, so that every timed run is checked: each effect of each item once, and never more calls
under way than it may have.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import httptools
import uvloop

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n"
EFFECTS = ("stop", "copy", "send")
COUNTS: dict[str, Counter[tuple[str, str]]] = {}
UNDER_WAY: Counter[str] = Counter()  # by run
MOST_UNDER_WAY: Counter[str] = Counter()


class Lean(asyncio.Protocol):
    """One connection; requests on it are answered in order, each after its latency."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self) -> None:
        self.url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_message_complete(self) -> None:
        path = self.url.decode().partition("?")[0]
        parts = path.strip("/").split("/")
        keep = self.parser.should_keep_alive()
        body, milliseconds = self.answer(parts)
        reply = HEAD % (len(body), b"keep-alive" if keep else b"close") + body
        if milliseconds:
            run = parts[1]
            UNDER_WAY[run] += 1
            MOST_UNDER_WAY[run] = max(MOST_UNDER_WAY[run], UNDER_WAY[run])
            self.loop.call_later(milliseconds / 1000, self.say, reply, keep, run)
        else:
            self.say(reply, keep)

    def answer(self, parts: list[str]) -> tuple[bytes, float]:
        if parts[0] == "counts":
            counts = COUNTS.get(parts[1], Counter())
            items = {item for item, _ in counts}
            effects = Counter(effect for _, effect in counts.elements())
            most = max(counts.values(), default=0)
            under_way = MOST_UNDER_WAY[parts[1]]
            told = {"items": len(items), "effects": effects, "most": most, "under_way": under_way}
            return json.dumps(told).encode(), 0
        milliseconds, run, item = float(parts[0]), parts[1], parts[2]
        if len(parts) == 4:
            COUNTS.setdefault(run, Counter())[item, parts[3]] += 1
        if len(parts) == 5:
            return b'{"seen":%d}' % COUNTS.get(run, Counter())[item, parts[3]], milliseconds
        return b'{"ok":true,"id":"%s","status":"4"}' % item.encode(), milliseconds

    def say(self, reply: bytes, keep: bool, run: str = "") -> None:
        UNDER_WAY[run] -= 1
        if self.transport.is_closing():
            return
        self.transport.write(reply)
        if not keep:
            self.transport.close()


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Lean, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@dataclass(frozen=True)
class Remote:
    """A running remote."""

    url: str
    pid: int

    def check(self, run: str, items: int, at_once: int | None = None) -> None:
        """SystemExit when some effect of some item did not happen exactly once, or too many calls were under way."""
        with urllib.request.urlopen(f"{self.url}/counts/{run}", timeout=10) as reply:
            told = json.load(reply)
        wanted = dict.fromkeys(EFFECTS, items)
        if told["items"] != items or told["most"] != 1 or told["effects"] != wanted:
            raise SystemExit(f"run {run} did not do each effect once: {told}, wanted {wanted}")
        if at_once is not None and told["under_way"] > at_once:
            raise SystemExit(f"run {run} had {told['under_way']} calls under way, {at_once} are allowed")


@contextlib.contextmanager
def running() -> Iterator[Remote]:
    """The remote as a process of its own."""
    with subprocess.Popen([sys.executable, "-m", "bench.remote"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Remote(f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid)
        finally:
            process.terminate()


if __name__ == "__main__":
    uvloop.run(serve())
