"""A write reaches the remote's socket once, whatever the connection does."""

from __future__ import annotations

import asyncio

import httpx
import pytest

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
        request = httpx.Request(method, f"http://127.0.0.1:{port}/admin/api.php", headers={"content-length": "0"})
        with pytest.raises(httpx.TransportError):
            await sockets.writes.handle_async_request(request)
    finally:
        await sockets.close()
        server.close()
        await server.wait_closed()
    assert seen == 1
