"""What our clients wrote, read back by the vendors' own or best-kept Python clients: they see what we meant."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import jira as jira_package
import pagerduty as pagerduty_package
from desk_remotes import ROUTING_KEY, page_draft
from slack_sdk import WebClient
from twins import served

from integrations.jira import JiraClient, label_of
from integrations.pagerduty import PagerDuty
from integrations.slack import EVENT_TYPE, SlackClient
from recovery.model import AttemptOutcome
from recovery.ports import TicketDraft
from sandbox.jira import JiraState
from sandbox.jira import build_app as jira_app
from sandbox.pagerduty import PagerDutyState
from sandbox.pagerduty import build_app as pagerduty_app
from sandbox.slack import SlackState
from sandbox.slack import build_app as slack_app
from sandbox.world import World

MARKER = "[RK-ABCDEFGHIJKLMNOP]"
APPLIED = AttemptOutcome.APPLIED


async def test_the_jira_package_reads_our_ticket_comment_and_link(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with served(world, "jira", jira_app(world, JiraState("ops@x.test", "canary-token"))) as twin:
        http = twin.transport(headers=JiraClient.credentials("ops@x.test", "canary-token"))
        client = JiraClient(http, "INC", "Incident")
        draft = TicketDraft(MARKER, "Mail did not go out", ("harbor",), "2026-11-01 05:00 UTC", ("look",), ("nothing",))
        filed = await client.file(draft, twin.attempt())
        await client.comment(filed.ref, ["We are on it"], MARKER, twin.attempt(2))
        await client.link(filed.ref, "zendesk-7", "Ticket 7", "https://desk.example/7", True, twin.attempt(3))
        world.advance(3600)

        def read() -> None:
            desk = jira_package.JIRA(
                twin.url, basic_auth=("ops@x.test", "canary-token"), options={"rest_api_version": "3"}, max_retries=0
            )
            try:
                [found] = desk.enhanced_search_issues(f'labels = "{label_of(MARKER)}"')
                issue = desk.issue(found.key)
                assert (issue.key, issue.fields.summary) == (filed.ref, "Mail did not go out")
                assert label_of(MARKER) in issue.fields.labels
                [comment] = desk.comments(issue)
                assert "We are on it" in str(comment.raw["body"])
                [link] = desk.remote_links(issue)
                assert (link.globalId, link.object.url) == ("zendesk-7", "https://desk.example/7")
            finally:
                desk.close()

        await asyncio.to_thread(read)


async def test_slack_sdk_reads_our_message_with_its_key_and_no_markup(tmp_path: Path) -> None:
    world, state = World(tmp_path), SlackState("xoxb-canary")
    state.add_channel("C0OPSROOM1", "ops")
    async with served(world, "slack", slack_app(world, state)) as twin:
        client = SlackClient(twin.transport("/api", headers=SlackClient.credentials("xoxb-canary")))
        posted = await client.post("C0OPSROOM1", "Mail <!channel> is late", ["one"], MARKER, twin.attempt())
        answer = await client.post("C0OPSROOM1", "more", [], "[RK-B]", twin.attempt(2), thread=posted.ref)

        def read() -> None:
            slack = WebClient("xoxb-canary", base_url=f"{twin.url}/api/", retry_handlers=[])
            thread = slack.conversations_replies(channel="C0OPSROOM1", ts=posted.ref, include_all_metadata=True)
            first, second = thread["messages"]
            assert (first["ts"], second["ts"]) == (posted.ref, answer.ref)
            assert first["metadata"] == {"event_type": EVENT_TYPE, "event_payload": {"key": MARKER}}
            assert first["text"] == "Mail &lt;!channel&gt; is late"
            assert [block["text"]["type"] for block in first["blocks"]] == ["plain_text"]

        await asyncio.to_thread(read)
        found = await client.find("C0OPSROOM1", "[RK-B]", datetime(2020, 1, 1, tzinfo=UTC))
        assert found is not None
        assert found.ts == answer.ref


async def test_the_pagerduty_package_finds_our_page_and_its_own_repeat_pages_nobody_again(tmp_path: Path) -> None:
    world, state = World(tmp_path), PagerDutyState(ROUTING_KEY, "canary-token")
    async with served(world, "pagerduty", pagerduty_app(world, state)) as twin:
        client = PagerDuty(
            events=twin.transport(headers={}),
            rest=twin.transport(headers=PagerDuty.credentials("canary-token")),
            routing_key=ROUTING_KEY,
            service=state.service,
        )
        draft = page_draft()
        assert (await client.trigger(draft, twin.attempt())).outcome is APPLIED

        def read() -> None:
            rest = pagerduty_package.RestApiV2Client("canary-token", default_from=state.sender)
            events = pagerduty_package.EventsApiV2Client(ROUTING_KEY)
            rest._url = events._url = twin.url  # the package takes https addresses only
            try:
                query = {"incident_key": draft.dedup_key, "date_range": "all"}
                [found] = rest.list_all("incidents", params=query)
                assert found["title"] == draft.summary
                events.trigger("again", "elsewhere", dedup_key=draft.dedup_key, severity="critical")
                assert [one["id"] for one in rest.list_all("incidents", params=query)] == [found["id"]]
            finally:
                rest.close()
                events.close()

        await asyncio.to_thread(read)
        assert len(twin.events("page")) == 1
