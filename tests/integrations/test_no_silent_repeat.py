"""A write reaches the remote's socket once, whatever the connection does."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from integrations.outgoing import Base, Call, build_request
from integrations.sockets import Sockets


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_a_write_whose_connection_is_cut_without_an_answer_is_sent_once(method: str) -> None:
    """aiohttp would send an idempotent-looking method twice here, and `campaign_status` is a GET that writes."""
    seen = 0

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await reader.readuntil(b"\r\n\r\n")
        seen += 1
        writer.transport.abort()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sockets = Sockets()
    try:
        call = Call("status", method, "/admin/api.php", None, None, None, None)
        request = build_request(Base.of(f"http://127.0.0.1:{port}"), call, {})
        with pytest.raises(httpx.TransportError):
            await sockets.writes.exchange(request, 5, 5)
    finally:
        await sockets.close()
        server.close()
        await server.wait_closed()
    assert seen == 1
