"""Every call of every client, made to the sandbox: request and reply fit the contract, and no call is left out.

Where the vendor publishes a usable OpenAPI document it is that (from beside the repository; skipped where it is
absent), for Slack its Swagger 2.0 file, for the dashboard the agreed bridge contract, else the schemas of `contracts`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from remote_bench import WallClock, open_attempt
from stands import Stand, dashboard, meta, netcore, pro2, pro2_probes, tessitura
from stands_desk import clickup, jira, pagerduty, pendo, slack, statuspage, zendesk, zendesk_search

import integrations
from integrations.clickup import ClickUp
from integrations.dashboard import DashboardClient
from integrations.jira import JiraClient
from integrations.meta import MetaClient
from integrations.netcore import NetcoreClient
from integrations.pagerduty import PagerDuty
from integrations.pendo import Pendo
from integrations.pro2 import Pro2Client
from integrations.pro2_probes import Pro2Probes
from integrations.slack import SlackClient
from integrations.statuspage import Statuspage
from integrations.tessitura import TessituraClient
from integrations.zendesk import Zendesk
from integrations.zendesk_search import ZendeskSearch
from recovery.model import AttemptOutcome, WriteResult
from sandbox.world import World

STANDS: Mapping[type, Callable[[World, Path], Stand]] = {
    Pro2Client: pro2,
    Pro2Probes: pro2_probes,
    DashboardClient: dashboard,
    TessituraClient: tessitura,
    NetcoreClient: netcore,
    MetaClient: meta,
    JiraClient: jira,
    SlackClient: slack,
    Zendesk: zendesk,
    ZendeskSearch: zendesk_search,
    PagerDuty: pagerduty,
    ClickUp: clickup,
    Statuspage: statuspage,
    Pendo: pendo,
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "estate")
    yield made
    made.close()


@pytest.mark.parametrize("client", STANDS, ids=lambda c: c.__name__)
async def test_each_call_and_its_reply_fit_the_contract(client: type, world: World, tmp_path: Path) -> None:
    stand = STANDS[client](world, tmp_path)
    for name, call in stand.calls.items():
        result = await call(stand.client, open_attempt(WallClock()))
        if isinstance(result, WriteResult):
            assert result.outcome is AttemptOutcome.APPLIED, (name, result)
    assert not stand.wire.problems, "\n".join(stand.wire.problems)
    assert stand.wire.checked


@pytest.mark.parametrize("client", STANDS, ids=lambda c: c.__name__)
def test_no_call_of_a_client_is_without_a_contract(client: type, world: World, tmp_path: Path) -> None:
    public = {n for n, f in inspect.getmembers(client, inspect.iscoroutinefunction) if not n.startswith("_")}
    assert public - set(STANDS[client](world, tmp_path).calls) == set()


def test_no_client_is_without_a_contract() -> None:
    """A client is a class of integrations that is given a `Transport`; OAuth's one call is checked with Zendesk's."""
    found = set()
    for module in pkgutil.iter_modules(integrations.__path__):
        loaded = importlib.import_module(f"integrations.{module.name}")
        for name, kind in inspect.getmembers(loaded, inspect.isclass):
            made_by = vars(kind).get("__init__")
            if kind.__module__ == loaded.__name__ and inspect.isfunction(made_by):
                kinds = [str(p.annotation) for p in inspect.signature(made_by).parameters.values()]
                found |= {name} if "Transport" in kinds else set()
    assert found - {"OAuth"} == {kind.__name__ for kind in STANDS}
