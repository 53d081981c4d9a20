from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from sandbox.slack import SlackState, build_app
from sandbox.world import Fault, World
from tests.sandbox.serving import in_process, served

METADATA = {"event_type": "outage_update", "event_payload": {"action_key": "K1"}}


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def state() -> SlackState:
    made = SlackState("xoxb-1")
    made.add_channel("C0OPS", "ops")
    made.add_channel("C0OLD", "old", archived=True)
    made.add_channel("C0FAR", "far", member=False)
    return made


@pytest.fixture
def client(world, state) -> httpx.AsyncClient:
    return in_process(build_app(world, state), headers={"Authorization": "Bearer xoxb-1"})


async def call(client: httpx.AsyncClient, method: str, **given: object) -> dict:
    reply = await client.post(f"/api/{method}", json=given)
    assert reply.status_code == 200
    return reply.json()


async def test_a_message_is_kept_and_journalled_with_its_key(client, world):
    posted = await call(
        client, "chat.postMessage", channel="C0OPS", text="hello", metadata=METADATA, unfurl_links=False
    )
    assert (posted["ok"], posted["channel"], posted["message"]["text"]) == (True, "C0OPS", "hello")
    (line,) = world.read_journal("slack")
    assert (line["event"], line["ts"], line["key"], line["unfurl_links"]) == ("message", posted["ts"], "K1", False)


async def test_the_same_message_twice_is_two_messages(client, world):
    stamps = {(await call(client, "chat.postMessage", channel="C0OPS", text="hello"))["ts"] for _ in range(2)}
    assert len(stamps) == len(world.read_journal("slack")) == 2


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"channel": "C0NONE", "text": "x"}, "channel_not_found"),
        ({"channel": "C0OLD", "text": "x"}, "is_archived"),
        ({"channel": "C0FAR", "text": "x"}, "not_in_channel"),
        ({"channel": "C0OPS"}, "no_text"),
        ({"channel": "C0OPS", "text": "x" * 40001}, "msg_too_long"),
        ({"channel": "C0OPS", "text": "x", "thread_ts": "1.0"}, "thread_not_found"),
        ({"channel": "C0OPS", "text": "x", "metadata": {"event_type": "y"}}, "invalid_metadata_format"),
        ({"channel": "C0OPS", "blocks": [{}]}, "invalid_blocks"),
        (
            {"channel": "C0OPS", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]},
            "invalid_blocks",
        ),
    ],
)
async def test_a_refusal_is_http_200_with_a_word(client, world, given, error):
    assert await call(client, "chat.postMessage", **given) == {"ok": False, "error": error}
    assert world.read_journal("slack") == []


async def test_arguments_may_come_as_a_form_with_the_token_inside(world, state):
    form = {"token": "xoxb-1", "channel": "#ops", "text": "hi", "metadata": json.dumps(METADATA)}
    reply = await in_process(build_app(world, state)).post("/api/chat.postMessage", data=form)
    assert reply.json()["message"]["metadata"] == METADATA


@pytest.mark.parametrize(("headers", "error"), [({}, "not_authed"), ({"Authorization": "Bearer no"}, "invalid_auth")])
async def test_a_wrong_token_is_http_200_too(world, state, headers, error):
    reply = await in_process(build_app(world, state)).post("/api/auth.test", headers=headers)
    assert (reply.status_code, reply.json()) == (200, {"ok": False, "error": error})


async def test_the_payload_is_shown_only_when_all_metadata_is_asked_for(client):
    await call(client, "chat.postMessage", channel="C0OPS", text="hello", metadata=METADATA)
    params = {"channel": "C0OPS"}
    plain = (await client.get("/api/conversations.history", params=params)).json()
    full = (await client.get("/api/conversations.history", params=params | {"include_all_metadata": "true"})).json()
    assert plain["messages"][0]["metadata"] == {"event_type": "outage_update"}
    assert full["messages"][0]["metadata"] == METADATA


async def test_history_is_newest_first_without_replies_and_pages_by_cursor(client):
    first = (await call(client, "chat.postMessage", channel="C0OPS", text="1"))["ts"]
    await call(client, "chat.postMessage", channel="C0OPS", text="in thread", thread_ts=first)
    await call(client, "chat.postMessage", channel="C0OPS", text="2")
    page = await call(client, "conversations.history", channel="C0OPS", limit=1)
    assert ([one["text"] for one in page["messages"]], page["has_more"]) == (["2"], True)
    cursor = page["response_metadata"]["next_cursor"]
    page = await call(client, "conversations.history", channel="C0OPS", limit=1, cursor=cursor)
    assert [(one["text"], one["reply_count"]) for one in page["messages"]] == [("1", 1)]
    assert not page["has_more"]


async def test_replies_come_oldest_first_after_their_parent(client):
    parent = (await call(client, "chat.postMessage", channel="C0OPS", text="p"))["ts"]
    for text in "ab":
        await call(client, "chat.postMessage", channel="C0OPS", text=text, thread_ts=parent)
    thread = await call(client, "conversations.replies", channel="C0OPS", ts=parent)
    assert [one["text"] for one in thread["messages"]] == ["p", "a", "b"]
    assert (await call(client, "conversations.replies", channel="C0OPS", ts="1.1"))["error"] == "thread_not_found"


async def test_an_edit_changes_the_message_in_place(client, world):
    ts = (await call(client, "chat.postMessage", channel="C0OPS", text="old", metadata=METADATA))["ts"]
    edited = await call(client, "chat.update", channel="C0OPS", ts=ts, text="new")
    assert (edited["ts"], edited["message"]["text"], edited["message"]["metadata"]) == (ts, "new", METADATA)
    assert [line["event"] for line in world.read_journal("slack")] == ["message", "message_edited"]
    assert (await call(client, "chat.update", channel="C0OPS", ts="1.1", text="x"))["error"] == "message_not_found"


async def test_too_fast_is_a_429_that_says_when(client, state, world):
    state.knobs.post_interval_seconds = 1.0
    await call(client, "chat.postMessage", channel="C0OPS", text="1")
    reply = await client.post("/api/chat.postMessage", json={"channel": "C0OPS", "text": "2"})
    assert (reply.status_code, reply.headers["retry-after"], reply.json()["error"]) == (429, "1", "ratelimited")
    world.advance(1)
    assert (await call(client, "chat.postMessage", channel="C0OPS", text="2"))["ok"]


async def test_a_planned_claim_without_effect_posts_nothing(client, world):
    world.faults.add(Fault("slack", op="post_message", kind="no-effect-ok"))
    assert (await call(client, "chat.postMessage", channel="C0OPS", text="x"))["ok"]
    assert (await call(client, "conversations.history", channel="C0OPS"))["messages"] == []


def test_slack_sdk_gets_what_it_expects(world, state):
    with served(build_app(world, state)) as base:
        slack = WebClient("xoxb-1", base_url=f"{base}/api/", retry_handlers=[])
        assert slack.auth_test()["team_id"] == "T0TWINTEAM"
        posted = slack.chat_postMessage(channel="C0OPS", text="hello", metadata=METADATA)
        slack.chat_postMessage(channel="C0OPS", text="reply", thread_ts=posted["ts"])
        slack.chat_update(channel="C0OPS", ts=posted["ts"], text="edited")
        thread = slack.conversations_replies(channel="C0OPS", ts=posted["ts"], include_all_metadata=True)
        assert [one["text"] for one in thread["messages"]] == ["edited", "reply"]
        assert thread["messages"][0]["metadata"] == METADATA
        pages = [page["messages"] for page in slack.conversations_history(channel="C0OPS", limit=1)]
        assert len(pages) == 1
        with pytest.raises(SlackApiError) as refused:
            slack.chat_postMessage(channel="C0OLD", text="x")
    assert refused.value.response["error"] == "is_archived"
