"""Tokens are renewed once, stored before use, and never locked out by another worker of ours."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from integrations.http import Transport
from integrations.oauth import OAuth, TokenFile, TokenPair
from integrations.zendesk import Zendesk
from recovery.errors import AuthFailed, ConfigError, Unavailable
from recovery.model import AttemptOutcome

ROOT = Path(__file__).parents[2]
SECRET = "canary-client-secret"


class TokenServer:
    """Gives pairs as Zendesk does: a refresh token works once and ends the pair before it."""

    def __init__(self, life_seconds: int = 1800) -> None:
        self.life_seconds = life_seconds
        self.issued = 0
        self.refused = 0
        self.access = ""
        self.bodies: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def exchange(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self._lock:
            self.bodies.append(body)
            if body["grant_type"] == "refresh_token" and body.get("refresh_token") != f"refresh-{self.issued}":
                self.refused += 1
                return 400, {"error": "invalid_grant", "error_description": "the grant has been revoked"}
            self.issued += 1
            self.access = f"canary-access-{self.issued}"
            pair = {"access_token": self.access, "token_type": "bearer", "expires_in": self.life_seconds}
            return 200, pair | {"refresh_token": f"refresh-{self.issued}"}

    def remote(self, request: httpx.Request) -> httpx.Response:
        status, body = self.exchange(json.loads(request.content))
        return httpx.Response(status, json=body)


@pytest.fixture
def served() -> Iterator[Callable[[TokenServer], str]]:
    running: list[ThreadingHTTPServer] = []

    def serve(tokens: TokenServer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = tokens.exchange(body)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        running.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    for server in running:
        server.shutdown()
        server.server_close()


def oauth_of(one: Any, path: Path, grant: Any = "refresh_token") -> OAuth:
    return OAuth(
        transport=one.transport,
        tokens=TokenFile(path),
        clock=one.clock,
        client_id="id",
        client_secret=SECRET,
        scope="tickets:read tickets:write",
        grant=grant,
        first_refresh="refresh-0",
    )


@pytest.fixture
def line(bench: Callable[..., Any]) -> Callable[[Any], Any]:
    def make(remote: Any) -> Any:
        return bench(remote, system="zendesk", base_url="https://x.zendesk.com", headers={}, keep=None, read_retries=0)

    return make


def test_two_processes_that_renew_all_the_time_never_lock_each_other_out(
    served: Callable[[TokenServer], str], tmp_path: Path
) -> None:
    tokens = TokenServer(life_seconds=60)  # within the margin, so every single call renews
    command = [sys.executable, "tests/integrations/renew_tokens.py", served(tokens), str(tmp_path / "pair.json"), "15"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    workers = [subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) for _ in range(2)]
    outputs = [worker.communicate(timeout=60)[0] for worker in workers]
    assert outputs == [b"0\n", b"0\n"]
    assert (tokens.issued, tokens.refused) == (30, 0)


async def test_a_hundred_callers_at_once_renew_once(line: Callable[[Any], Any], tmp_path: Path) -> None:
    tokens = TokenServer()
    oauth = oauth_of(line(tokens.remote), tmp_path / "pair.json")
    assert set(await asyncio.gather(*(oauth.token() for _ in range(100)))) == {"canary-access-1"}
    assert tokens.issued == 1


async def test_the_pair_is_on_the_disk_for_us_alone_before_it_is_used(
    line: Callable[[Any], Any], tmp_path: Path
) -> None:
    tokens, path = TokenServer(), tmp_path / "pair.json"
    headers = await oauth_of(line(tokens.remote), path).headers()
    assert headers == {"Authorization": "Bearer canary-access-1"}
    stored = TokenFile(path).load()
    assert stored is not None
    assert (stored.access, stored.refresh) == ("canary-access-1", "refresh-1")
    assert path.stat().st_mode & 0o777 == 0o600
    assert await oauth_of(line(tokens.remote), path).token() == "canary-access-1"


async def test_a_token_is_renewed_a_minute_before_it_ends(line: Callable[[Any], Any], tmp_path: Path) -> None:
    tokens = TokenServer(life_seconds=1800)
    one = line(tokens.remote)
    oauth = oauth_of(one, tmp_path / "pair.json")
    await oauth.token()
    one.clock.passed += 1739
    assert await oauth.token() == "canary-access-1"
    one.clock.passed += 1
    assert await oauth.token() == "canary-access-2"


async def test_a_caller_that_is_cancelled_does_not_lose_the_pair(line: Callable[[Any], Any], tmp_path: Path) -> None:
    tokens, path = TokenServer(), tmp_path / "pair.json"
    one = line(tokens.remote)
    oauth = oauth_of(one, path)
    task = asyncio.create_task(oauth.token())
    while not one.requests:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(100):
        if path.exists():
            break
        await asyncio.sleep(0.01)
    assert await oauth.token() == "canary-access-1"
    assert tokens.issued == 1


async def test_a_disk_that_cannot_store_is_noticed_before_the_old_pair_dies(
    line: Callable[[Any], Any], tmp_path: Path
) -> None:
    tokens, path = TokenServer(), tmp_path / "pair.json"
    (tmp_path / "pair.json.part").mkdir()
    with pytest.raises(ConfigError):
        await oauth_of(line(tokens.remote), path).token()
    assert not tokens.bodies


async def test_a_refused_refresh_is_a_failed_sign_in_that_names_no_secret(
    line: Callable[[Any], Any], tmp_path: Path
) -> None:
    tokens = TokenServer()
    tokens.issued = 5
    with pytest.raises(AuthFailed) as failure:
        await oauth_of(line(tokens.remote), tmp_path / "pair.json").token()
    assert "invalid_grant" in str(failure.value) or "revoked" in str(failure.value)
    assert "canary" not in str(failure.value)
    assert "refresh-0" not in str(failure.value)


async def test_client_credentials_need_no_refresh_token(line: Callable[[Any], Any], tmp_path: Path) -> None:
    tokens = TokenServer()
    await oauth_of(line(tokens.remote), tmp_path / "pair.json", "client_credentials").token()
    assert tokens.bodies == [
        {
            "client_id": "id",
            "client_secret": SECRET,
            "scope": "tickets:read tickets:write",
            "grant_type": "client_credentials",
        }
    ]


async def test_a_lock_that_another_process_never_frees_ends_in_unavailable(
    line: Callable[[Any], Any], tmp_path: Path
) -> None:
    one, path = line(TokenServer().remote), tmp_path / "pair.json"
    async with TokenFile(path).locked(one.clock):
        with pytest.raises(Unavailable):
            await oauth_of(one, path).token()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.chmod(0o640),
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: (path.rename(path.with_name("real")), path.symlink_to(path.with_name("real"))),
    ],
    ids=["open_to_others", "truncated", "not_a_pair", "symlink"],
)
async def test_a_token_file_that_cannot_be_trusted_is_a_setup_error(
    spoil: Callable[[Path], object], line: Callable[[Any], Any], tmp_path: Path
) -> None:
    one, path = line(TokenServer().remote), tmp_path / "pair.json"
    await oauth_of(one, path).token()
    spoil(path)
    with pytest.raises(ConfigError):
        await oauth_of(one, path).token()


def test_neither_a_pair_nor_the_file_shows_a_token_in_its_repr(line: Callable[[Any], Any], tmp_path: Path) -> None:
    one = line(TokenServer().remote)
    now = one.clock.now()
    shown = repr(TokenPair("canary-a", "canary-r", now, now + timedelta(seconds=5))) + repr(TokenFile(tmp_path / "x"))
    assert "canary" not in shown


# ---- a token that another worker has just replaced -----------------------------------------------------------------


class Desk:
    """Zendesk's user call, good for the newest access token only."""

    def __init__(self, tokens: TokenServer) -> None:
        self.tokens = tokens
        self.calls: list[int] = []

    def remote(self, request: httpx.Request) -> httpx.Response:
        good = request.headers["Authorization"] == f"Bearer {self.tokens.access}"
        self.calls.append(200 if good else 401)
        if not good:
            return httpx.Response(401, json={"error": "invalid_token"})
        if request.method == "GET":
            return httpx.Response(200, json={"user": {"id": 1, "email": "a@b.example"}})
        return httpx.Response(200, json={"job_status": {"id": "j1"}})


def desk_of(bench: Callable[..., Any], line: Callable[[Any], Any], path: Path) -> tuple[Zendesk, Desk, Any]:
    tokens = TokenServer()
    desk = Desk(tokens)
    clock_holder = line(tokens.remote)
    oauth = oauth_of(clock_holder, path)
    one = bench(
        desk.remote,
        system="zendesk",
        base_url="https://x.zendesk.com",
        headers=oauth.headers,
        clock=clock_holder.clock,
    )
    assert isinstance(one.transport, Transport)
    return Zendesk(one.transport, site="https://x.zendesk.com", oauth=oauth), desk, clock_holder


async def test_a_read_refused_for_an_old_token_is_tried_once_with_its_successor(
    bench: Callable[..., Any], line: Callable[[Any], Any], tmp_path: Path
) -> None:
    zendesk, desk, one = desk_of(bench, line, tmp_path / "pair.json")
    await zendesk.whoami()
    desk.tokens.access = "revoked by the vendor"
    one.clock.passed += 600
    assert await zendesk.whoami() == "a@b.example"
    assert desk.calls == [200, 401, 200]


async def test_a_fresh_token_that_is_refused_is_not_renewed_again(
    bench: Callable[..., Any], line: Callable[[Any], Any], tmp_path: Path
) -> None:
    zendesk, desk, _ = desk_of(bench, line, tmp_path / "pair.json")
    await zendesk.whoami()
    desk.tokens.access = "the client was switched off"
    with pytest.raises(AuthFailed):
        await zendesk.whoami()
    assert desk.tokens.issued == 1


async def test_a_write_refused_for_an_old_token_was_not_applied_and_does_not_stop_the_desk(
    bench: Callable[..., Any], line: Callable[[Any], Any], tmp_path: Path
) -> None:
    zendesk, desk, one = desk_of(bench, line, tmp_path / "pair.json")
    await zendesk.whoami()
    desk.tokens.access = "revoked by the vendor"
    one.clock.passed += 600

    async def write() -> Any:
        attempt = one.attempt()
        return await zendesk.update_many(["1"], "text", public=True, marker="[RK-A]", attempt=attempt)

    first = await write()
    assert (first.outcome, first.auth_failed) == (AttemptOutcome.NOT_APPLIED, False)
    assert (await write()).outcome is AttemptOutcome.APPLIED
    desk.tokens.access = "the client was switched off"
    last = await write()
    assert (last.outcome, last.auth_failed) == (AttemptOutcome.REJECTED, True)
