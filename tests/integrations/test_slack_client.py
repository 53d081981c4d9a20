"""Slack: plain text only, refusals inside HTTP 200, and messages found again by their metadata."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hostile import HOSTILE
from remote_bench import Bench

from integrations.slack import SlackClient, blocks_of, escaped
from recovery.errors import AuthFailed, BadReply, NotFound, Refused, Unavailable
from recovery.model import AttemptOutcome

MARKER, OTHER = "[RK-ABCDEFGHIJKLMNOP]", "[RK-BBBBBBBBBBBBBBBB]"
SINCE = datetime(2026, 3, 1, tzinfo=UTC)


def message(ts: str, key: str = "", **more: Any) -> dict[str, Any]:
    metadata = {"metadata": {"event_type": "allclear", "event_payload": {"key": key}}} if key else {}
    return {"type": "message", "ts": ts, "text": "x", **metadata, **more}


def client_of(remote: Callable[[httpx.Request], httpx.Response]) -> tuple[SlackClient, Bench]:
    headers = SlackClient.credentials("xoxb-canary-token-123456")
    bench = Bench(remote, system="slack", account="", base_url="https://slack.example/api", headers=headers)
    return SlackClient(bench.transport), bench


def answers(**bodies: Any) -> Callable[[httpx.Request], httpx.Response]:
    def remote(request: httpx.Request) -> httpx.Response:
        body = bodies[request.url.path.rsplit("/", 1)[1].replace(".", "_")]
        return httpx.Response(200, json=body(request) if callable(body) else body)

    return remote


async def test_a_message_is_posted_as_plain_text_with_its_key_in_the_metadata() -> None:
    client, bench = client_of(answers(chat_postMessage={"ok": True, "ts": "1.2"}))
    result = await client.post("C1", "Recovered <b>", ["one & two", "three"], MARKER, bench.attempt(), thread="0.9")
    assert (result.outcome, result.ref) == (AttemptOutcome.APPLIED, "1.2")
    body = json.loads(bench.requests[0].content)
    assert body["metadata"] == {"event_type": "allclear", "event_payload": {"key": MARKER}}
    assert (body["thread_ts"], body["text"]) == ("0.9", "Recovered &lt;b&gt;")
    assert [b["text"]["type"] for b in body["blocks"]] == ["plain_text"]
    assert body["blocks"][0]["text"]["text"] == "Recovered <b>\none & two\nthree"
    assert (body["mrkdwn"], body["parse"], body["unfurl_links"], body["unfurl_media"]) == (False, "none", False, False)


def test_600_hostile_texts_cause_no_mention_and_no_link() -> None:
    for text in HOSTILE:
        fallback = escaped(text)
        assert fallback
        assert not set("<>") & set(fallback)
        assert len(fallback) < 20_000
        blocks = blocks_of(text, [text, text])
        assert 0 < len(blocks) <= 50
        for block in blocks:
            assert set(block) == {"type", "text"}
            assert block["text"]["type"] == "plain_text"
            assert block["text"]["emoji"] is False
            assert 0 < len(block["text"]["text"]) <= 3000
        json.dumps(blocks).encode("ascii")


def test_a_message_with_too_many_lines_says_that_there_is_more() -> None:
    blocks = blocks_of("t", ["y" * 2500] * 90)
    assert len(blocks) <= 50
    assert "rest" in blocks[-1]["text"]["text"]


async def test_our_message_is_found_by_its_metadata_over_all_pages() -> None:
    def history(request: httpx.Request) -> Any:
        assert request.url.params["include_all_metadata"] == "true"
        assert request.url.params["oldest"] == "1772323200.000000"
        if request.url.params.get("cursor") == "c1":
            return {"ok": True, "messages": [message("1.1", MARKER)], "response_metadata": {"next_cursor": ""}}
        quoting = message("1.5", text=MARKER)
        foreign = message("1.4") | {"metadata": {"event_type": "other", "event_payload": {"key": MARKER}}}
        return {"ok": True, "messages": [quoting, foreign], "response_metadata": {"next_cursor": "c1"}}

    client, _ = client_of(answers(conversations_history=history))
    found = await client.find("C1", MARKER, SINCE)
    assert found is not None
    assert found.ts == "1.1"


async def test_a_message_in_our_thread_is_found_and_other_threads_are_left_alone() -> None:
    ours, theirs = message("1.1", OTHER, reply_count=2), message("1.0", reply_count=5)
    client, bench = client_of(
        answers(
            conversations_history={"ok": True, "messages": [ours, theirs]},
            conversations_replies={"ok": True, "messages": [ours, message("1.3", MARKER)]},
        )
    )
    found = await client.find("C1", MARKER, SINCE)
    assert found is not None
    assert found.ts == "1.3"
    assert [r.url.params["ts"] for r in bench.requests if "replies" in r.url.path] == ["1.1"]


async def test_a_history_that_runs_in_a_circle_is_no_proof_of_absence() -> None:
    page = {"ok": True, "messages": [], "response_metadata": {"next_cursor": "c1"}}
    client, _ = client_of(answers(conversations_history=page))
    with pytest.raises(BadReply, match="circle"):
        await client.find("C1", MARKER, SINCE)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("invalid_auth", AuthFailed),
        ("missing_scope", AuthFailed),
        ("channel_not_found", NotFound),
        ("not_in_channel", Refused),
        ("internal_error", Unavailable),
        ("ratelimited", Unavailable),
    ],
)
async def test_a_refused_read_is_the_error_it_stands_for(error: str, kind: type[Exception]) -> None:
    client, _ = client_of(answers(conversations_history={"ok": False, "error": error}))
    with pytest.raises(kind, match=error):
        await client.find("C1", MARKER, SINCE)


@pytest.mark.parametrize(
    ("error", "outcome", "auth_failed"),
    [
        ("channel_not_found", AttemptOutcome.REJECTED, False),
        ("token_revoked", AttemptOutcome.REJECTED, True),
        ("fatal_error", AttemptOutcome.UNKNOWN, False),
        ("ratelimited", AttemptOutcome.UNKNOWN, False),
    ],
)
async def test_a_refused_post_has_its_class(error: str, outcome: AttemptOutcome, auth_failed: bool) -> None:
    client, bench = client_of(answers(chat_postMessage={"ok": False, "error": error}))
    result = await client.post("C1", "x", [], MARKER, bench.attempt())
    assert (result.outcome, result.auth_failed) == (outcome, auth_failed)
