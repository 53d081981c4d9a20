"""Credentials as the vendors want them in 2026: in one header of each request, and nowhere else."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_bench import WallClock, open_attempt
from stands import MARKER, Checked, transport
from test_contracts import STANDS

from integrations.clickup import ClickUp
from integrations.jira import JiraClient
from integrations.pagerduty import PagerDuty
from integrations.pendo import Pendo
from integrations.slack import SlackClient
from integrations.statuspage import Statuspage
from recovery.errors import AuthFailed
from recovery.model import AttemptOutcome
from recovery.ports import TicketDraft
from sandbox.jira import JiraState, build_app
from sandbox.world import World

# The header of each client and the form of its value. In a body only a token endpoint's and a page's secret may stand.
WANTED = {
    "Pro2Client": ("api-token", "canary"),
    "Pro2Probes": ("api-token", "canary"),
    "DashboardClient": ("authorization", "Bearer canary"),
    "TessituraClient": ("authorization", "Basic " + base64.b64encode(b"pro2:ADMIN:WEB:can:ary").decode()),
    "NetcoreClient": ("authorization", "Bearer canary"),
    "MetaClient": ("authorization", "Bearer canary"),
    "JiraClient": ("authorization", "Basic " + base64.b64encode(b"ops@x.test:canary").decode()),
    "SlackClient": ("authorization", "Bearer xoxb-canary"),
    "Zendesk": ("authorization", "Bearer "),
    "ZendeskSearch": ("authorization", "Bearer "),
    "PagerDuty": ("authorization", "Token token=canary"),
    "ClickUp": ("authorization", "pk_canary"),
    "Statuspage": ("authorization", "OAuth canary"),
    "Pendo": ("x-pendo-integration-key", "canary"),
}
IN_THE_BODY = ("/oauth/tokens", "/v2/enqueue")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "estate")
    yield made
    made.close()


@pytest.mark.parametrize("client", STANDS, ids=lambda c: c.__name__)
async def test_a_credential_stands_in_its_header_and_in_no_url_body_or_other_header(
    client: type, world: World, tmp_path: Path
) -> None:
    """Pro2's v1 too, whose own pages still show the key in the query."""
    stand = STANDS[client](world, tmp_path)
    for call in stand.calls.values():
        await call(stand.client, open_attempt(WallClock()))
    header, value = WANTED[client.__name__]
    assert stand.wire.requests
    for request in stand.wire.requests:
        assert "canary" not in str(request.url), request.url
        others = {k: v for k, v in request.headers.items() if k != header}
        assert "canary" not in str(others)
        if request.url.path in IN_THE_BODY:
            assert header not in request.headers
            assert b"canary" in request.content
        else:
            assert request.headers[header].startswith(value)
            assert b"canary" not in request.content


def test_every_client_has_a_way_to_sign_in_that_is_tested() -> None:
    assert set(WANTED) == {kind.__name__ for kind in STANDS}


@pytest.mark.parametrize("email", ["ops@x.test", ""], ids=["a person's token", "a service account's"])
async def test_a_scoped_jira_token_works_through_the_cloud_id_gateway_and_links_lead_to_the_site(
    world: World, email: str
) -> None:
    state = JiraState("ops@x.test", "canary")
    state.knobs.scoped = True
    wire = Checked(build_app(world, state), Unchecked())
    headers = JiraClient.credentials(email, "canary")
    gateway = JiraClient(
        transport(wire, "jira", "/ex/jira/cloud-1", headers), "INC", "Incident", site_url="https://x.example"
    )
    draft = TicketDraft(MARKER, "Mail did not go out", ("harbor",), "2026-11-01 05:00 UTC", (), ())
    filed = await gateway.file(draft, open_attempt(WallClock()))
    assert filed.outcome is AttemptOutcome.APPLIED
    world.advance(3600)
    assert [t.url for t in await gateway.find(MARKER)] == [f"https://x.example/browse/{filed.ref}"]
    with pytest.raises(AuthFailed):
        await JiraClient(transport(wire, "jira", "", headers), "INC", "Incident").whoami()


class Unchecked:
    def check(self, reply: object) -> None:
        return None


def test_credentials_are_shown_by_no_client() -> None:
    made = {
        "jira": JiraClient.credentials("a@b.example", "canary-1"),
        "slack": SlackClient.credentials("canary-1"),
        "clickup": ClickUp.credentials("pk_canary-1"),
        "statuspage": Statuspage.credentials("canary-1"),
        "pendo": Pendo.credentials("canary-1"),
        "pagerduty": PagerDuty.credentials("canary-1"),
    }
    for system, headers in made.items():
        http = transport(Checked(None, Unchecked()), system, "", headers)
        assert "canary-1" not in repr(http)
