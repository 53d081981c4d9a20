"""How each system there is one of is set up and described in estate.json: tokens, channels, projects.

A twin that is not there is left out, so that an estate of fewer systems still starts. A scenario may hand over a state
of its own (`Story.singles`); otherwise each gets a fresh one with seeded secrets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sandbox.world import World

Row = dict[str, Any]


@dataclass
class Neighbour:
    """One system's state, how estate.json describes it, and its own server when it does not speak HTTP."""

    state: Any
    describe: Callable[[str], Row]
    serve: Callable[[], Awaitable[None]] | None = None
    close: Callable[[], Awaitable[None]] | None = None


def token(world: World, system: str) -> str:
    """A secret that is the same for the same seed."""
    return f"{system}-{world.random.getrandbits(64):016x}"


def jira(world: World, given: Any) -> Neighbour:
    """Jira with one project for incidents."""
    from sandbox.jira import JiraState

    state = given or JiraState("allclear@example.org", token(world, "jira"))
    issue_type = next(iter(state.issue_types.values()))

    def describe(url: str) -> Row:
        told = {"base_url": url, "email": state.email, "token": state.token}
        return {**told, "project": state.project, "issue_type": issue_type}

    return Neighbour(state, describe)


def slack(world: World, given: Any) -> Neighbour:
    """Slack with the operations channel and the two of the playbooks."""
    from sandbox.slack import SlackState

    state = given or SlackState(token(world, "xoxb"))
    if not state.channels:
        for channel_ref, name in (
            ("C0OPS", "ops-incidents"),
            ("C0SUPPORT", "support"),
            ("C0CROSS", "cross-functional"),
        ):
            state.add_channel(channel_ref, name)
    channel = next(iter(state.channels))
    return Neighbour(state, lambda url: {"base_url": f"{url}/api", "token": state.token, "channel": channel})


def zendesk(world: World, given: Any) -> Neighbour:
    """Zendesk with one OAuth client and a client's ticket about clicks that are not counted."""
    from sandbox.zendesk import ZendeskState

    state = given or ZendeskState("allclear", token(world, "zendesk"))
    words = "Our WhatsApp template spring_offer shows no clicks at all."
    ticket = state.add_ticket(world, "WhatsApp clicks are not tracked", words, "shop@client.example")

    def describe(url: str) -> Row:
        client = {"client_id": state.client_id, "client_secret": state.client_secret}
        told = {"base_url": url, **client, "scope": state.client_scope, "subdomain": state.subdomain}
        return {**told, "ticket": str(ticket)}

    return Neighbour(state, describe)


def pagerduty(world: World, given: Any) -> Neighbour:
    """PagerDuty with one service; Events and REST on the same port."""
    from sandbox.pagerduty import PagerDutyState

    state = given or PagerDutyState(f"{world.random.getrandbits(128):032x}", token(world, "pagerduty"))

    def describe(url: str) -> Row:
        keys = {"routing_key": state.routing_key, "token": state.token}
        return {"events_url": url, "rest_url": url, **keys, "service": state.service}

    return Neighbour(state, describe)


def clickup(world: World, given: Any) -> Neighbour:
    """ClickUp with one board."""
    from sandbox.clickup import ClickUpState

    state = given or ClickUpState(token(world, "pk"))

    def describe(url: str) -> Row:
        told = {"base_url": f"{url}/api/v2", "token": state.token}
        return {**told, "list": state.list_id, "key_field": state.key_field}

    return Neighbour(state, describe)


def pendo(world: World, given: Any) -> Neighbour:
    """Pendo with the three prepared guides."""
    from sandbox.pendo import PendoState

    state = given or PendoState(world, token(world, "pendo"))
    phases = ("investigating", "identified", "resolved")
    guides = dict(zip(phases, state.guides, strict=False))
    return Neighbour(state, lambda url: {"base_url": url, "key": state.key, "guides": guides})


def statuspage(world: World, given: Any) -> Neighbour:
    """Statuspage with one page."""
    from sandbox.statuspage import StatuspageState

    state = given or StatuspageState(token(world, "statuspage"))
    components = dict(state.components)

    def describe(url: str) -> Row:
        return {"base_url": f"{url}/v1", "key": state.key, "page": state.page, "components": components}

    return Neighbour(state, describe)


def netcore(world: World, given: Any) -> Neighbour:
    """Netcore's panel with templates for each cause of missing clicks."""
    from sandbox.netcore import NetcoreState, demo_templates

    state = given or NetcoreState(f"Bearer {token(world, 'netcore')}", demo_templates())
    return Neighbour(state, lambda url: {"base_url": url, "authorization": state.authorization})


def meta(world: World, given: Any) -> Neighbour:
    """Meta's Graph API with two WhatsApp business accounts: insights on for the first, off for the second."""
    from sandbox.meta import MetaState, demo_account

    on = demo_account("waba1", "Example Shop", world.now())
    off = demo_account("waba2", "Quiet Shop", world.now(), insights=False)
    state = given or MetaState(token(world, "meta"), {"waba1": on, "waba2": off})
    accounts = list(state.accounts)
    return Neighbour(state, lambda url: {"base_url": url, "token": state.token, "accounts": accounts})


def smtp(world: World, given: Any) -> Neighbour:
    """A mail server, which does not speak HTTP and so serves itself."""
    from sandbox.smtp import SmtpServer, SmtpState

    state = given or SmtpState()
    server = SmtpServer(world, state)
    place: list[tuple[str, int]] = []

    async def serve() -> None:
        place.append(await server.start())

    def describe(_: str) -> Row:
        host, port = place[-1]
        return {"host": host, "port": port, "user": state.user, "password": state.password}

    return Neighbour(state, describe, serve, server.close)


NEIGHBOURS: dict[str, Callable[[World, Any], Neighbour]] = {
    "jira": jira,
    "slack": slack,
    "zendesk": zendesk,
    "pagerduty": pagerduty,
    "clickup": clickup,
    "pendo": pendo,
    "statuspage": statuspage,
    "netcore": netcore,
    "meta": meta,
    "smtp": smtp,
}
