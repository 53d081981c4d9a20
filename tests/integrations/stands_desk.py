"""Each desk client before its checked twin, and every call it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contracts_desk import ZENDESK
from desk_remotes import page_draft
from remote_bench import WallClock
from stands import LATER, MARKER, NOON, Checked, Stand, transport
from vendor_contracts import AT, ClickUpContract, JiraContract, PagerDutyContract, PendoContract, SlackContract

from integrations.clickup import ClickUp
from integrations.jira import JiraClient
from integrations.oauth import OAuth, TokenFile
from integrations.pagerduty import PagerDuty
from integrations.pendo import Pendo
from integrations.slack import SlackClient
from integrations.statuspage import Statuspage
from integrations.zendesk import Zendesk
from integrations.zendesk_search import ZendeskSearch
from recovery.desk.ports import Attachment, BoardTaskDraft, CustomerTicketDraft, StatusDraft
from recovery.errors import NotFound
from recovery.model import WriteResult
from recovery.ports import TicketDraft
from sandbox.clickup import ClickUpState
from sandbox.clickup import build_app as clickup_app
from sandbox.jira import JiraState
from sandbox.jira import build_app as jira_app
from sandbox.pagerduty import PagerDutyState
from sandbox.pagerduty import build_app as pagerduty_app
from sandbox.pendo import PendoState
from sandbox.pendo import build_app as pendo_app
from sandbox.slack import SlackState
from sandbox.slack import build_app as slack_app
from sandbox.statuspage import StatuspageState
from sandbox.statuspage import build_app as statuspage_app
from sandbox.world import World
from sandbox.zendesk import ZendeskState
from sandbox.zendesk import build_app as zendesk_app
from tests.sandbox.contract import Contract, vendor_document

ROUTING_KEY = "canaryroutingkey0123456789abcdef"


def jira(world: World, folder: Path) -> Stand:
    wire = Checked(jira_app(world, JiraState("ops@x.test", "canary")), JiraContract())
    http = transport(wire, "jira", "", JiraClient.credentials("ops@x.test", "canary"))
    draft = TicketDraft(
        MARKER, "Mail did not go out", ("harbor",), "2026-11-01 05:00 UTC", ("look",), ("nothing came",)
    )

    async def find(c: JiraClient, _: Any) -> None:
        world.advance(3600)
        assert [t.key for t in await c.find(MARKER)] == ["INC-1"]

    async def has_comment(c: JiraClient, _: Any) -> None:
        assert await c.has_comment("INC-1", MARKER)

    return Stand(
        wire,
        JiraClient(http, "INC", "Incident", site_url=AT),
        {
            "ready": lambda c, _: c.ready(),
            "whoami": lambda c, _: c.whoami(),
            "file": lambda c, a: c.file(draft, a),
            "comment": lambda c, a: c.comment("INC-1", ["one", "two"], MARKER, a),
            "link": lambda c, a: c.link("INC-1", "zendesk-1", "#1", "https://x.example/1", True, a),
            "links": lambda c, _: c.links("INC-1"),
            "find": find,
            "has_comment": has_comment,
        },
    )


def slack(world: World, folder: Path) -> Stand:
    state = SlackState("xoxb-canary")
    state.add_channel("C0OPSROOM1", "ops")
    wire = Checked(slack_app(world, state), SlackContract())
    http = transport(wire, "slack", "/api", SlackClient.credentials("xoxb-canary"))

    async def find(c: SlackClient, a: Any) -> None:
        parent = await c.find("C0OPSROOM1", MARKER, NOON)
        assert parent is not None
        await c.post("C0OPSROOM1", "more", [], "[RK-BBBBBBBBBBBBBBBB]", a, thread=parent.ts)
        assert await c.find("C0OPSROOM1", "[RK-BBBBBBBBBBBBBBBB]", NOON) is not None
        with pytest.raises(NotFound):
            await c.find("C0NONENONE", MARKER, NOON)

    return Stand(
        wire,
        SlackClient(http),
        {
            "whoami": lambda c, _: c.whoami(),
            "post": lambda c, a: c.post("C0OPSROOM1", "It was down", ["line"], MARKER, a),
            "find": find,
        },
    )


def oauth_of(world: World, folder: Path) -> tuple[Checked, OAuth]:
    app = zendesk_app(world, ZendeskState("allclear", "canary-secret"))
    wire = Checked(app, ZENDESK)
    oauth = OAuth(
        transport=transport(wire, "zendesk", "", {}, account=""),
        tokens=TokenFile(folder / "pair.json"),
        clock=WallClock(),
        client_id="allclear",
        client_secret="canary-secret",
        scope="tickets:read tickets:write",
    )
    return wire, oauth


def zendesk(world: World, folder: Path) -> Stand:
    wire, oauth = oauth_of(world, folder)
    client = Zendesk(transport(wire, "zendesk", "", oauth.headers, account=""), site=AT, oauth=oauth)
    draft = CustomerTicketDraft(MARKER, "Mail late", "It was down.", "Ann", "ann@example.org", "urgent", ("outage",))
    notes = Attachment("card.html", "text/html", b"<p>card</p>")
    made: list[str] = []

    async def create(c: Zendesk, a: Any) -> WriteResult:
        result = await c.create(draft, a)
        made.append(result.ref)
        return result

    async def bulk(c: Zendesk, a: Any) -> WriteResult:
        job = await c.update_many(
            made, "Fixed.", public=True, marker=MARKER, attempt=a, priority="high", add_tags=["x"]
        )
        made.append(job.ref)
        return job

    return Stand(
        wire,
        client,
        {
            "whoami": lambda c, _: c.whoami(),
            "create": create,
            "comment": lambda c, a: c.comment(made[0], "Look.", public=False, marker=MARKER, attempt=a, files=[notes]),
            "find": lambda c, _: c.find(MARKER),
            "ticket": lambda c, _: c.ticket(made[0]),
            "has_comment": lambda c, _: c.has_comment(made[0], MARKER),
            "comments": lambda c, _: c.comments(made[0]),
            "update_many": bulk,
            "job": lambda c, _: c.job(made[1]),
        },
    )


def zendesk_search(world: World, folder: Path) -> Stand:
    wire, oauth = oauth_of(world, folder)
    search = ZendeskSearch(transport(wire, "zendesk", "", oauth.headers, account=""), site=AT)
    return Stand(wire, search, {"search": lambda c, _: c.search("spring_offer clicks", 5)})


def pagerduty(world: World, folder: Path) -> Stand:
    state = PagerDutyState(ROUTING_KEY, "canary")
    wire = Checked(pagerduty_app(world, state), PagerDutyContract())
    client = PagerDuty(
        events=transport(wire, "pagerduty", "", {}, account=""),
        rest=transport(wire, "pagerduty", "", PagerDuty.credentials("canary"), account=""),
        routing_key=ROUTING_KEY,
        service=state.service,
    )
    other = page_draft()
    key = other.dedup_key

    return Stand(
        wire,
        client,
        {
            "whoami": lambda c, _: c.whoami(),
            "trigger": lambda c, a: c.trigger(other, a),
            "find": lambda c, _: c.find(key),
            "acknowledge": lambda c, a: c.acknowledge(key, a),
            "resolve": lambda c, a: c.resolve(key, a),
        },
    )


def clickup(world: World, folder: Path) -> Stand:
    state = ClickUpState("pk_canary")
    wire = Checked(clickup_app(world, state), ClickUpContract())
    client = ClickUp(
        transport(wire, "clickup", "/api/v2", ClickUp.credentials("pk_canary"), account=""), key_field="field-key"
    )
    made: list[str] = []
    draft = BoardTaskDraft("901", MARKER, "Mail late", "text", 2, "to do", LATER, ("outage",))

    async def create(c: ClickUp, a: Any) -> WriteResult:
        result = await c.create(draft, a)
        made.append(result.ref)
        return result

    return Stand(
        wire,
        client,
        {
            "whoami": lambda c, _: c.whoami(),
            "create": create,
            "update": lambda c, a: c.update(made[0], draft, a),
            "find": lambda c, _: c.find("901", MARKER),
            "task": lambda c, _: c.task(made[0]),
        },
    )


def statuspage(world: World, folder: Path) -> Stand:
    state = StatuspageState("canary")
    wire = Checked(statuspage_app(world, state), Contract(vendor_document("statuspage"), f"{AT}/v1", own_nulls=True))
    http = transport(wire, "statuspage", "/v1", Statuspage.credentials("canary"), account="")
    made: list[str] = []
    draft = StatusDraft(MARKER, "Mail is late", "investigating", "We are looking.", ("comp-mail",), notify=False)

    async def create(c: Statuspage, a: Any) -> WriteResult:
        result = await c.create(draft, a)
        made.append(result.ref)
        return result

    return Stand(
        wire,
        Statuspage(http, page=state.page),
        {
            "whoami": lambda c, _: c.whoami(),
            "create": create,
            "update": lambda c, a: c.update(made[0], draft, a),
            "incident": lambda c, _: c.incident(made[0]),
            "find": lambda c, _: c.find(MARKER),
        },
    )


def pendo(world: World, folder: Path) -> Stand:
    wire = Checked(pendo_app(world, PendoState(world, "canary")), PendoContract())
    client = Pendo(transport(wire, "pendo", "", Pendo.credentials("canary"), account=""))
    guide = "guide-resolved"
    return Stand(
        wire,
        client,
        {
            "whoami": lambda c, _: c.whoami(),
            "guide_state": lambda c, _: c.guide_state(guide),
            "set_guide_state": lambda c, a: c.set_guide_state(guide, "public", a),
            "set_segment": lambda c, a: c.set_segment(guide, "seg-1", a),
        },
    )
