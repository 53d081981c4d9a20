"""Each client of the platform before its checked twin, and every call it has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from contracts import META_PANEL, NETCORE, PRO2, TESSITURA
from remote_bench import OpenGate, WallClock
from vendor_contracts import AT

from integrations.dashboard import DashboardClient
from integrations.http import Sockets, Transport
from integrations.meta import MetaClient
from integrations.netcore import NetcoreClient
from integrations.pro2 import Pro2Client
from integrations.pro2_probes import Pro2Probes
from integrations.tessitura import TessituraClient
from recovery.errors import Refused
from recovery.model import AttemptOutcome, WriteResult
from sandbox.dashboard import DashboardState
from sandbox.dashboard import build_app as dashboard_app
from sandbox.meta import MetaState, demo_account
from sandbox.meta import build_app as meta_app
from sandbox.netcore import NetcoreState, demo_templates
from sandbox.netcore import build_app as netcore_app
from sandbox.pro2 import Pro2State
from sandbox.pro2 import build_app as pro2_app
from sandbox.tessitura import TessituraState
from sandbox.tessitura import build_app as tessitura_app
from sandbox.world import World
from tests.sandbox.contract import Contract, bridge_document

MARKER = "[RK-ABCDEFGHIJKLMNOP]"


class Checker(Protocol):
    """Raises for an exchange that a contract does not allow."""

    def check(self, reply: httpx.Response) -> None: ...


class Checked(httpx.AsyncBaseTransport):
    """A twin in process; every exchange with it is checked."""

    def __init__(self, app: Any, checker: Checker) -> None:
        self._inner, self._checker = httpx.ASGITransport(app), checker
        self.checked: list[str] = []
        self.requests: list[httpx.Request] = []
        self.problems: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        reply = await self._inner.handle_async_request(request)
        await reply.aread()
        reply.request = request
        self.checked.append(f"{request.method} {request.url.path}")
        self.requests.append(request)
        try:
            self._checker.check(reply)
        except Exception as problem:  # noqa: BLE001 - whatever a contract says is shown together at the end
            self.problems.append(
                f"{request.method} {request.url} {request.content[:300]!r}: {reply.text[:300]}: {problem!s:.600}"
            )
        return reply


@dataclass
class Stand:
    """One client before its checked twin, and what to call."""

    wire: Checked
    client: Any
    calls: Mapping[str, Callable[[Any, Any], Awaitable[Any]]]


def transport(
    wire: Checked, system: str, base: str, headers: Any, account: str = "harbor", **options: Any
) -> Transport:
    return Transport(
        system=system,
        account=account,
        base_url=AT + base,
        headers=headers,
        sockets=Sockets(transport=wire),
        clock=WallClock(),
        gate=OpenGate(),
        read_retries=0,
        **options,
    )


# ---- the stands ------------------------------------------------------------------------------------------------------

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=6)


def pro2(world: World, folder: Path) -> Stand:
    state = Pro2State(world, "harbor", "America/New_York", token="canary")
    state.rate_per_second = 0
    made = state.add_list(1, "All", [(1, 3)])
    campaign = state.add_campaign("Gala", 1, lists=[made.id], sdate=world.now() + timedelta(hours=2))
    contact = state.add_contact("ann@example.org")
    state.add_automation(3, "Welcome")
    state.plant_tag("VIP", [contact.id])
    wire = Checked(pro2_app(world, {"harbor": state}), PRO2)
    client = Pro2Client(transport(wire, "pro2", "/harbor", Pro2Client.credentials("canary")), "America/New_York")
    ref, person = str(campaign.id), str(contact.id)
    later = world.now() + timedelta(hours=6)

    async def untag(c: Pro2Client, a: Any) -> WriteResult:
        tag = await c.find_tag("VIP")
        assert tag is not None
        return await c.remove_tag(await c.tag_link(person, tag.ref), a)

    async def copied(c: Pro2Client, a: Any) -> WriteResult:
        made = await c.copy(ref, a)
        assert (await c.rename(made.ref, f"Gala {MARKER}", a)).outcome is AttemptOutcome.APPLIED
        return await c.schedule(made.ref, later, a)

    return Stand(
        wire,
        client,
        {
            "whoami": lambda c, _: c.whoami(),
            "campaigns": lambda c, _: c.campaigns(newest_first=True),
            "campaign": lambda c, _: c.campaign(ref),
            "report": lambda c, _: c.report(ref),
            "content": lambda c, _: c.content(ref),
            "audience": lambda c, _: c.audience(ref),
            "automations": lambda c, _: c.automations(),
            "find_tag": lambda c, _: c.find_tag("VIP"),
            "members": lambda c, _: c.members("11"),
            "tag_link": lambda c, _: c.tag_link(person, "11"),
            "stop": lambda c, a: c.stop(ref, a),
            "copy": lambda c, a: c.copy(ref, a),
            "rename": lambda c, a: c.rename(ref, "Gala 2", a),
            "schedule": copied,
            "create_tag": lambda c, a: c.create_tag("recovery-1", a),
            "add_tag": lambda c, a: c.add_tag(person, "12", a),
            "remove_tag": untag,
        },
    )


def pro2_probes(world: World, folder: Path) -> Stand:
    state = Pro2State(world, "harbor", "UTC", token="canary")
    state.rate_per_second = 0
    draft = state.add_campaign("Draft", 0)
    state.add_contact("ann@example.org")
    wire = Checked(pro2_app(world, {"harbor": state}), PRO2)
    http = transport(wire, "pro2", "/harbor", Pro2Client.credentials("canary"))

    async def both(c: Pro2Probes, _: Any) -> None:
        assert await c.contact_refs(by_id_greater=True) is not None
        await c.contact_refs(by_id_greater=False)

    calls = {"delete_draft": lambda c, a: c.delete_draft(str(draft.id), a), "contact_refs": both}
    return Stand(wire, Pro2Probes(http, http, "UTC"), calls)


def dashboard(world: World, folder: Path) -> Stand:
    state = DashboardState("harbor", "canary", time_zone="America/New_York")
    state.add_definition("imp", "integrated_import", "Members", {"type": "cron", "value": "0 2 * * *"}, tags=["Member"])
    state.definitions["imp"]["list_manager_list_id"] = 7
    state.add_definition("trig", "scheduled_trigger", "Tonight", automation_id="12", trigger_type="performance")
    done = state.add_run("imp", state="failed", started_at=world.now(), ended_at=world.now())
    state.set_report(done.run_id, [{"row": 1, "constituent_id": 4, "email": None, "message": "no address"}])
    going = state.add_run("trig", state="running", started_at=world.now())
    wire = Checked(dashboard_app(world, {"harbor": state}), Contract(bridge_document(), f"{AT}/harbor/bridge/v1"))
    http = transport(wire, "dashboard", "/harbor/bridge/v1", DashboardClient.credentials("canary"))
    now = world.now()
    filters = {"primary_only": True, "eaddress_type_id": 3, "contact_point_purpose_id": None}
    return Stand(
        wire,
        DashboardClient(http),
        {
            "capabilities": lambda c, _: c.capabilities(),
            "definitions": lambda c, _: c.definitions(),
            "activity_log": lambda c, _: c.activity_log(now - timedelta(days=1), now),
            "console": lambda c, _: c.console(),
            "run": lambda c, _: c.run(done.run_id),
            "report": lambda c, _: c.report(done.run_id),
            "stop_run": lambda c, a: c.stop_run(going.run_id, a),
            "reprocess": lambda c, a: c.reprocess(done.run_id, a),
            "run_now": lambda c, a: c.run_now("trig", a),
            "repeat": lambda c, a: c.repeat("imp", a),
            "import_list": lambda c, a: c.import_list(7, ["recovery-1"], filters, True, a),
        },
    )


def tessitura(world: World, folder: Path) -> Stand:
    state = TessituraState("harbor", "pro2", "ADMIN", "WEB", "can:ary")
    state.add_list(7, "Members", [1, 2], fresh=[2, 3])
    for number in (1, 2, 3):
        state.add_constituent(number, f"p{number}@x.test", type_id=number)
    wire = Checked(tessitura_app(world, {"harbor": state}), TESSITURA)
    http = transport(wire, "tessitura", "/harbor", TessituraClient.credentials("pro2", "ADMIN", "WEB", "can:ary"))

    async def members(c: TessituraClient, _: Any) -> None:
        assert (await c.constituents(7, {"primary_only": True, "eaddress_type_id": 1})).complete
        state.knobs.forbidden_ops.add("contents")
        assert (await c.constituents(7, {})).complete

    return Stand(
        wire,
        TessituraClient(http, "America/New_York"),
        {
            "healthy": lambda c, _: c.healthy(),
            "list_summary": lambda c, _: c.list_summary(7),
            "find_lists": lambda c, _: c.find_lists("memb"),
            "constituents": members,
        },
    )


def netcore(world: World, folder: Path) -> Stand:
    wire = Checked(netcore_app(world, NetcoreState("Bearer canary", demo_templates())), NETCORE)
    client = NetcoreClient(
        transport(wire, "netcore", "", NetcoreClient.credentials("Bearer canary")), languages=["English"]
    )
    return Stand(
        wire,
        client,
        {
            "ping": lambda c, _: c.ping(),
            "templates": lambda c, _: c.templates("spring_offer"),
            "setting": refused(lambda c: c.setting()),
            "campaign": refused(lambda c: c.campaign("campaign", "7")),
            "clicks": refused(lambda c: c.clicks(("1",), NOON, LATER)),
        },
    )


def refused(call: Callable[[Any], Awaitable[Any]]) -> Callable[[Any, Any], Awaitable[None]]:
    """A question that this vendor has no call for."""

    async def ask(client: Any, _: Any) -> None:
        with pytest.raises(Refused):
            await call(client)

    return ask


def meta(world: World, folder: Path) -> Stand:
    account = demo_account("555", "Harbor WhatsApp", world.now())
    wire = Checked(meta_app(world, MetaState("canary", {"555": account})), META_PANEL)
    http = transport(wire, "meta", "", MetaClient.credentials("canary"))
    refs = tuple(str(t["id"]) for t in account.templates)
    return Stand(
        wire,
        MetaClient(http, "555", OpenGate()),
        {
            "ping": lambda c, _: c.ping(),
            "setting": lambda c, _: c.setting(),
            "templates": lambda c, _: c.templates("spring_offer"),
            "clicks": lambda c, _: c.clicks(refs, world.now() - timedelta(days=7), world.now()),
            "campaign": refused(lambda c: c.campaign("campaign", "7")),
        },
    )
