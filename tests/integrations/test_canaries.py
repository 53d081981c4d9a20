"""No secret anywhere: a recovery and an incident with every desk, at DEBUG and with faults, then a search of it all.

What is searched: log records, both output streams, the ledger's files and its second record, reports, every remote's
journal (tickets, messages, mails), evidence, error texts and a traceback that shows local variables. Each secret is
looked for as it is, URL-escaped, JSON-escaped, in hexadecimal and in Base64 at each of its three alignments.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest
from desk_remotes import ROUTING_KEY, TOKENS
from desk_remotes import WRITES as DESK_WRITES
from remote_bench import Bench
from test_client_write_faults import CREATE_FORM
from test_client_write_faults import WRITES as MAIN_WRITES
from typer.testing import CliRunner

from recovery.cli import app
from recovery.errors import AllclearError
from recovery.operate import audit_window, plan_from
from recovery.report.of_run import build, evidence_for
from recovery.report.report import render_html, render_markdown
from recovery.settings import load_settings
from recovery.wiring import open_systems
from sandbox import scenario_campaigns as mail
from tests.recovery.stage import Night, approve, night, stage

OF_THE_DESKS = ("zendesk", "pagerduty", "clickup", "pendo", "statuspage", "jira", "slack")


def spellings(secret: str) -> set[str]:
    """Every way in which a secret could come back."""
    raw = secret.encode()
    cores = set()
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        cores.add(coded[4 if shift else 0 : len(coded) - 2])
    forms = {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], raw.hex(), raw.hex().upper()}
    return {form for form in forms | cores if len(form) >= 8}


def found_in(text: str, secrets: dict[str, str]) -> list[str]:
    return [f"{name} as {form[:6]}…" for name, value in secrets.items() for form in spellings(value) if form in text]


# ---- one run of everything -------------------------------------------------------------------------------------------


def two_campaigns(story: Any, account: Any) -> None:
    due = story.started_at + timedelta(minutes=20)
    mail.overdue_small(story, account, "Gala", due)
    mail.partly_sent(story, account, "Raffle", due)


def secrets_of(n: Night) -> dict[str, str]:
    return {path.name: path.read_text() for path in (n.folder / "secrets").iterdir()}


def faults(n: Night) -> None:
    for system, op, kind in (
        ("pro2", "campaigns", "500"),
        ("pro2", "copy", "500-after"),
        ("pro2", "edit", "html"),
        ("dashboard", "definitions", "redirect"),
        ("jira", "issue_create", "502-after"),
        ("slack", "post_message", "reset-after"),
        ("zendesk", "ticket_create", "truncated"),
        ("pagerduty", "enqueue", "429"),
        ("statuspage", "incident_create", "reset-before"),
        ("clickup", "task_create", "400"),
    ):
        n.fault(system, op, kind)


async def recovered(n: Night) -> str:
    """A recovery with its report and its evidence."""
    async with n.open() as systems:
        seen = await audit_window(systems, n.window())
        plan = await plan_from(systems, seen)
        assert plan is not None
        for person in ("Dana Reyes", "Sam Okafor"):
            await approve(systems, plan, person)
        done = await n.run(systems, plan)
        report = await build(systems, seen, "recover", plan=plan, items=done.items, problems=tuple(done.problems))
        evidence = await evidence_for(systems, report)
        assert evidence
        kept = "\n".join(f"{e.request}\n{e.body}" for e in evidence.values())
        return "\n".join((render_markdown(report), render_html(report, evidence=evidence), kept, repr(done)))


async def desk_at_work(n: Night) -> str:
    """An incident with a report and an announcement, told everywhere; what a desk refuses stays open."""
    said: list[str] = []

    async def typed(*words: str) -> Any:
        # In this process, so that its log is heard; in a thread, because a command has a loop of its own.
        command = ["incident", *words, "--config", str(n.config)]
        ran = await asyncio.to_thread(CliRunner().invoke, app, command)
        assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.output
        assert ran.exit_code in (0, 3), ran.output
        said.append(ran.output)
        return json.loads(ran.stdout) if "--json" in words else None

    by = ("--by", "Dana Reyes")
    about = ("--severity", "P1", "--scope", "entire", "--customer", "harbor", "--ref", "inc-1")
    facts = ("--symptom", "nothing is sent", "--step", "schedule a campaign")
    await typed("declare", "Mail is late", *by, *about, *facts)
    given = ("--report", "call-1", "--account", "harbor", "--subject", "They rang", "--email", "eve@harbor.example")
    await typed("report", "inc-1", *by, *given)
    words = await typed("announce", "inc-1", "investigating", "--by", "Sam Okafor", "--json")
    await typed("approve", "inc-1", words["digest"][:12], *by)
    await typed("tick")
    return "".join(said)


async def wrong_credentials(n: Night) -> str:
    """What is said when a desk refuses a secret, and the traceback of it with everything that was in hand."""
    (n.folder / "secrets" / "harbor-pro2").write_text("canary-that-is-refused")
    try:
        async with open_systems(load_settings(n.config)) as systems:
            await systems.accounts[0].campaigns.whoami()
    except AllclearError as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        return f"{error} {error.hint} {error!r}\n" + "".join(shown.format())
    raise AssertionError("a wrong key was taken")


def files_of(n: Night) -> Iterator[tuple[str, str]]:
    """Everything that was written, but the secrets themselves and what the pretend estate publishes about itself."""
    for path in n.folder.rglob("*"):
        hidden = "secrets" in path.parts or path.name in ("estate.json", "pair.json") or "tokens" in path.parts
        if path.is_file() and not hidden:
            yield str(path.relative_to(n.folder)), path.read_bytes().decode("latin-1")


async def test_nothing_that_is_logged_kept_printed_or_sent_on_holds_a_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with night(tmp_path, stage(two_campaigns), desks=True, waits={"settle_seconds": 2.4}) as n:
        secrets = secrets_of(n)
        assert len(secrets) >= 12
        faults(n)
        said = {"recovery": await recovered(n), "desk": await desk_at_work(n)}
        remotes = (*OF_THE_DESKS, "pro2", "dashboard")
        struck = {row["system"] for system in remotes for row in n.events(system, "fault")}
        assert len(struck) >= 7, struck
        secrets["the refused key"] = "canary-that-is-refused"
        said["traceback"] = await wrong_credentials(n)
        said |= {"log": "\n".join(f"{r.getMessage()} {r.args} {r.exc_text}" for r in caplog.records)}
        said |= {"told": repr(n.told), "streams": "".join(capsys.readouterr())}
        said |= dict(files_of(n))
    assert "traceback" in said["traceback"].lower()
    assert any(name.startswith("estate/journal") for name in said)
    leaks = {name: leak for name, text in said.items() if (leak := found_in(text, secrets))}
    assert not leaks


# ---- a remote that repeats what it was told --------------------------------------------------------------------------

NASTY = 'canary/+ "\\%41~secret=='


def parrot(status: int) -> Callable[[httpx.Request], httpx.Response]:
    """Answers with everything it was sent, credentials and all, as text and in the JSON of an error."""

    def answer(request: httpx.Request) -> httpx.Response:
        for ending, body in CREATE_FORM.items():
            if "createmeta" in request.url.path and request.url.path.endswith(ending):
                return httpx.Response(200, json=body)
        heard = f"{request.method} {request.url} {dict(request.headers)} {request.content.decode('latin-1')}"
        coded = base64.b64encode(request.headers.get("authorization", "").encode()).decode()
        return httpx.Response(status, json={"message": heard, "error": {"message": coded}, "errors": [heard]})

    return answer


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("name", [*MAIN_WRITES, *DESK_WRITES])
async def test_a_remote_that_repeats_our_credentials_does_not_get_them_into_results_and_evidence(
    bench: Callable[..., Any], name: str, status: int
) -> None:
    if name in MAIN_WRITES:
        write = MAIN_WRITES[name]
        one = Bench(parrot(status), headers={"Authorization": f"Bearer {NASTY}"}, secrets=(NASTY,), read_retries=0)
        result = await write.call(write.make(one), one.attempt())
        secrets = {"token": NASTY}
    else:
        desk_write = DESK_WRITES[name]
        client, one = desk_write.client(bench, parrot(status))
        result = await desk_write.call(client, one.attempt(), "words")
        secrets = {"token": TOKENS[name.split(".", maxsplit=1)[0]], "routing key": ROUTING_KEY}
    assert found_in(f"{result!r} {one.shelf.exchanges!r}", secrets) == []
