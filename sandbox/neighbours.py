"""How each system there is one of is set up and described in estate.json: tokens, channels, projects.

A twin that is not there is left out, so that an estate of fewer systems still starts.
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
    """Slack with the operations channel."""
    from sandbox.slack import SlackState

    state = given or SlackState(token(world, "xoxb"))
    if not state.channels:
        state.add_channel("C0OPS", "ops-incidents")
    channel = next(iter(state.channels))
    return Neighbour(state, lambda url: {"base_url": f"{url}/api", "token": state.token, "channel": channel})


def token(world: World, system: str) -> str:
    """A secret that is the same for the same seed."""
    return f"{system}-{world.random.getrandbits(64):016x}"


NEIGHBOURS: dict[str, Callable[[World, Any], Neighbour]] = {"jira": jira, "slack": slack}
