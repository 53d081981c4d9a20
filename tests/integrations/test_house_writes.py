"""House rules about leaving the house: no write without an intent, no other way out than the transport."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from integrations.http import Transport

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = sorted(p for folder in ("recovery", "integrations", "flows") for p in (ROOT / folder).rglob("*.py"))
TRANSPORT = {"http.py", "kept.py", "sockets.py", "oneshot.py", "replies.py"}
# POST that only asks: the vendor made a search a POST; a token is asked for, and nothing at the desk changes.
READING_POSTS = {
    ("tessitura.py", "list_search"),
    ("tessitura.py", "results"),
    ("jira.py", "search"),
    ("oauth.py", "oauth_token"),
}
# Ways out that lead to no remote system.
OTHER_DOORS = {
    "integrations/smtp.py": "mail is no HTTP; `send` takes an open attempt",
    "flows/record.py": "asks whether the workflow server beside it is up",
    "recovery/terminal/demo.py": "steers the rehearsal's estate on this machine",
}
MAKERS = [
    "AsyncClient",
    "Client",
    "ClientSession",
    "urlopen",
    "httpx.get",
    "httpx.post",
    "httpx.put",
    "httpx.request",
    "httpx.stream",
    "requests.get",
    "requests.post",
    "requests.request",
    "create_connection",
    "open_connection",
    "socket.socket",
    "HTTPConnection",
    "HTTPSConnection",
    "SMTP",
    "IMAP4_SSL",
]

CALLS = {
    "an open attempt": ("await http.write(attempt, 'copy', 'POST', '/x', judge=judge)", True),
    "nothing": ("await http.write('copy', 'POST', '/x', judge=judge)", False),
    "an attempt that is none": ("await http.write(None, 'copy', 'POST', '/x', judge=judge)", False),
    "a client's write without": ("await desk.copy('7')", False),
    "a client's write with": ("await desk.copy('7', attempt)", True),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_write_type_checks_only_with_an_open_attempt(name: str, tmp_path: Path) -> None:
    call, accepted = CALLS[name]
    snippet = tmp_path / "snippet.py"
    snippet.write_text(
        "from integrations.http import Judge, Transport\n"
        "from recovery.model import OpenAttempt\n"
        "from recovery.ports import CampaignDesk\n"
        "async def use(http: Transport, desk: CampaignDesk, attempt: OpenAttempt, judge: Judge) -> None:\n"
        f"    {call}\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), str(snippet)]
    cache = tmp_path.parent / "mypy_cache"
    done = subprocess.run(
        [*command, "--cache-dir", str(cache)],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert (done.returncode == 0) is accepted, done.stdout + done.stderr


def calls_in(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


def test_http_clients_and_connections_are_made_in_the_transport_only() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in PRODUCT
        if not (path.parent.name == "integrations" and path.name in TRANSPORT)
        for call in calls_in(path)
        if any(f".{name_of(call)}".endswith(f".{maker}") for maker in MAKERS)
    }
    assert found == set(OTHER_DOORS)


def test_the_transport_sends_a_write_in_one_place_that_asks_for_an_attempt() -> None:
    """`Sockets.writes` is the only way without a retry, and `Transport.write` the only one who uses it."""
    users = {
        f"{path.name}:{function.name}"
        for path in PRODUCT
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.AsyncFunctionDef | ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr == "writes" and isinstance(node.ctx, ast.Load)
        if "sockets" in ast.unparse(node.value)
    }
    assert users == {"http.py:_send"}
    signature = inspect.signature(Transport.write)
    assert list(signature.parameters)[:2] == ["self", "attempt"]
    assert signature.parameters["attempt"].annotation == "OpenAttempt"
    assert signature.parameters["attempt"].default is inspect.Parameter.empty


def test_every_public_call_that_writes_takes_an_open_attempt() -> None:
    """Nothing that ends in `Transport.write` can be called without the ledger's attempt."""
    found = []
    for path in PRODUCT:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.AsyncFunctionDef) or path.name in TRANSPORT:
                continue
            writes = [n for n in ast.walk(function) if isinstance(n, ast.Call) and name_of(n).endswith("http.write")]
            writes += [
                n for n in ast.walk(function) if isinstance(n, ast.Call) and name_of(n).endswith("transport.write")
            ]
            given = [ast.unparse(a.annotation) for a in function.args.args + function.args.kwonlyargs if a.annotation]
            if writes and "OpenAttempt" not in given:
                found.append(f"{path.name}:{function.name}")
    assert found == []


def test_an_open_attempt_is_made_by_the_ledger_only() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in PRODUCT
        if path.parent.name != "ledger"
        for call in calls_in(path)
        if name_of(call).split(".")[-1] == "OpenAttempt"
        or (name_of(call).split(".")[-1] == "replace" and "attempt" in ast.unparse(call.args[0] if call.args else call))
    ]
    assert found == []


def test_a_reading_post_is_one_of_the_searches_that_vendors_made_posts() -> None:
    found = set()
    for path in PRODUCT:
        if path.parent.name != "integrations" or path.name in TRANSPORT:
            continue
        for call in calls_in(path):
            reads = name_of(call).endswith((".read", ".record"))
            words = [a.value for a in (*call.args, *(k.value for k in call.keywords)) if isinstance(a, ast.Constant)]
            if reads and "POST" in words:
                found.add((path.name, words[0]))
    assert found == READING_POSTS


def test_the_status_call_of_v1_goes_through_write_although_it_is_a_get() -> None:
    source = (ROOT / "integrations" / "pro2.py").read_text(encoding="utf-8")
    reading = [ast.unparse(call) for call in calls_in(ROOT / "integrations" / "pro2.py") if "_v1_read" in name_of(call)]
    assert [call for call in reading if "campaign_report_totals" not in call] == []
    assert source.count('"campaign_status"') == 2


def test_tessituras_destructive_calls_appear_nowhere() -> None:
    for path in PRODUCT:
        strings = [
            n.value
            for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(n, ast.Constant) and isinstance(n.value, str) and n.value.startswith("/")
        ]
        assert [s for s in strings if "FlushIncomplete" in s or s.endswith("/Generate")] == []
