"""The Meta and Netcore clients against their twins: paging, languages, errors, rate, and whole cases played through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from integrations.http import Sockets, Transport
from integrations.meta import MetaClient, usage_wait_seconds
from integrations.netcore import NetcoreClient
from recovery.case.casework import Office, open_case, run_checks
from recovery.case.link_witnesses import PANELS, WITNESSES
from recovery.case.panel_ports import Panel, PanelBook, PanelDesk
from recovery.errors import AuthFailed, BadReply, ConfigError, NotFound, Refused, RemoteError, Unavailable
from recovery.playbook import State
from recovery.witness import Tape
from sandbox.meta import MetaState, demo_account
from sandbox.meta import build_app as meta_app
from sandbox.netcore import NetcoreState, demo_templates
from sandbox.netcore import build_app as netcore_app
from sandbox.world import World
from tests.playbook.play import FIELDS, NOW, OpenGate, SteppedClock, Table, link_tracking, transport

TOKEN = "canary-token-of-meta"
HEADER = "Bearer canary-token-of-netcore"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "estate")
    world.set_now(NOW)
    return world


class MetaBench:
    def __init__(self, world: World, *, token: str = TOKEN, waba: str = "555", **options: Any) -> None:
        self.state = MetaState(TOKEN, {"555": demo_account("555", "Harbor WhatsApp", NOW)})
        self.gate = OpenGate()
        self.tape = Tape()
        http = transport(
            meta_app(world, self.state),
            "meta",
            MetaClient.credentials(token),
            self.gate,
            keep=self.tape.keep,
            **options,
        )
        self.client = MetaClient(http, waba, self.gate)


def netcore(world: World, header: str = HEADER, **options: Any) -> tuple[NetcoreClient, NetcoreState]:
    state = NetcoreState(HEADER, demo_templates())
    http = transport(netcore_app(world, state), "netcore", NetcoreClient.credentials(header), read_retries=0)
    return NetcoreClient(http, **options), state


@pytest.mark.requirement("R000.6")
@pytest.mark.parametrize(
    ("insights", "hidden", "wanted"), [(True, False, "on"), (False, False, "off"), (True, True, "unknown")]
)
async def test_meta_tells_the_panels_setting_and_absent_is_unknown(
    world: World, insights: bool, hidden: bool, wanted: str
) -> None:
    bench = MetaBench(world)
    bench.state.accounts["555"].insights = insights
    bench.state.knobs.hide_insights_field = hidden
    setting = await bench.client.setting()
    assert (setting.state, setting.panel_name) == (wanted, "Harbor WhatsApp")
    assert setting.traces[0].startswith("T")


@pytest.mark.requirement("R000.12")
async def test_meta_gives_every_language_of_exactly_this_name_over_all_pages(world: World) -> None:
    bench = MetaBench(world)
    bench.state.knobs.page = 2
    found = await bench.client.templates("spring_offer")
    assert [(t.language, t.name) for t in found.templates] == [("en_US", "spring_offer"), ("de", "spring_offer")]
    assert (found.complete, found.near) == (True, ())
    assert len(bench.tape.exchanges) == 2
    shouted = await bench.client.templates("Spring-Offer")
    assert shouted.templates == ()


async def test_a_name_that_differs_in_case_is_told_as_near(world: World) -> None:
    bench = MetaBench(world)
    found = await bench.client.templates("SPRING_OFFER")
    assert (found.templates, found.near) == ((), ("spring_offer",))


@pytest.mark.requirement("R000.14")
async def test_meta_reads_carousel_cards_and_categories(world: World) -> None:
    bench = MetaBench(world)
    carousel = (await bench.client.templates("carousel")).templates[0]
    assert [(b.card, b.type, b.url) for b in carousel.buttons] == [
        (0, "URL", "https://shop.example/offer?code={{1}}"),
        (1, "URL", "https://shop.example/help"),
    ]
    assert (await bench.client.templates("login_code")).templates[0].category == "AUTHENTICATION"


async def test_pages_that_run_in_a_circle_make_the_list_incomplete(world: World) -> None:
    bench = MetaBench(world)
    bench.state.knobs.cursor_circles = True
    found = await bench.client.templates("newsletter_01")
    assert not found.complete
    assert "circle" in found.problem


@pytest.mark.requirement("R000.19", "R000.20")
@pytest.mark.parametrize(
    ("ref", "delivered", "total", "unique"),
    [
        ("9010", 2300, 168, 142),
        ("9001", 1150, 0, 0),
        ("9007", 880, None, None),
        ("9006", 0, 0, 0),
        ("9103", None, None, None),
    ],
)
async def test_meta_counts_days_and_keeps_absent_apart_from_zero(
    world: World, ref: str, delivered: int | None, total: int | None, unique: int | None
) -> None:
    bench = MetaBench(world)
    counts = await bench.client.clicks((ref,), NOW.replace(year=2020), NOW)
    assert (counts.delivered, counts.total, counts.unique) == (delivered, total, unique)
    assert (NOW - counts.start).days == 90


async def test_more_than_ten_templates_take_several_calls(world: World) -> None:
    bench = MetaBench(world)
    refs = (*(f"{9100 + n}" for n in range(20)), "9010")
    assert (await bench.client.clicks(refs, NOW.replace(month=1), NOW)).total == 168
    assert len(bench.tape.exchanges) == 3


@pytest.mark.parametrize(
    ("options", "error"),
    [({"token": "wrong-token-123456"}, AuthFailed), ({"waba": "999"}, NotFound)],
)
async def test_metas_errors_are_named_by_what_to_do(
    world: World, options: dict[str, str], error: type[RemoteError]
) -> None:
    bench = MetaBench(world, **options)
    with pytest.raises(error) as told:
        await bench.client.setting()
    assert "canary" not in str(told.value)


async def test_metas_rate_code_is_waited_out_and_then_given_up(world: World) -> None:
    bench = MetaBench(world)
    bench.state.knobs.limited_calls = 2
    assert (await bench.client.setting()).state == "on"
    assert bench.gate.penalties == [60.0, 60.0]
    bench.state.knobs.limited_calls = 10
    with pytest.raises(Unavailable, match="too many calls"):
        await bench.client.setting()


async def test_the_usage_header_slows_the_account_down(world: World) -> None:
    bench = MetaBench(world)
    bench.state.knobs.usage_percent = 95
    await bench.client.setting()
    bench.state.knobs.regain_minutes = 7
    await bench.client.setting()
    assert bench.gate.penalties == [5.0, 420.0]


@pytest.mark.parametrize(
    "header", ["", "nonsense", "[]", '{"555": 3}', '{"555": [{"call_count": "x"}]}', '{"555": [{"call_count": NaN}]}']
)
def test_an_unreadable_usage_header_means_no_wait(header: str) -> None:
    assert usage_wait_seconds(header, "555") == 0.0


@pytest.mark.requirement("R000.10")
async def test_the_client_never_changes_a_setting(world: World) -> None:
    bench = MetaBench(world)
    bench.state.accounts["555"].insights = False
    await bench.client.setting()
    await bench.client.templates("spring_offer")
    assert world.counts == {}
    assert not any(hasattr(MetaClient, name) for name in ("enable", "write", "switch"))


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"id": "1", "name": "a", "language": "en", "status": "APPROVED"}]},
        {"data": [{"id": "1", "name": "a", "status": "APPROVED", "components": []}]},
        {"data": {"no": "list"}},
        {},
    ],
)
async def test_a_reply_that_breaks_the_contract_is_a_bad_reply(body: dict[str, object]) -> None:
    sockets = Sockets(transport=httpx.MockTransport(lambda request: httpx.Response(200, json=body)))
    http = Transport(
        system="meta",
        account="harbor",
        base_url="https://graph.example",
        headers=MetaClient.credentials(TOKEN),
        sockets=sockets,
        clock=SteppedClock(),
        gate=OpenGate(),
        read_retries=0,
    )
    with pytest.raises(BadReply):
        await MetaClient(http, "555", OpenGate()).templates("a")


def test_plain_http_is_refused_outside_this_machine() -> None:
    with pytest.raises(ConfigError):
        Transport(
            system="netcore",
            account="harbor",
            base_url="http://waapi.pepipost.com/api/v2",
            headers={},
            sockets=Sockets(transport=httpx.MockTransport(lambda r: httpx.Response(200))),
            clock=SteppedClock(),
            gate=OpenGate(),
        )


# ---- Netcore -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R000.12")
@pytest.mark.parametrize("nested", [True, False])
async def test_netcore_gives_every_language_over_all_pages(world: World, nested: bool) -> None:
    client, state = netcore(world, lists_all=True)
    state.knobs.nested = nested
    found = await client.templates("spring_offer")
    assert sorted(t.language for t in found.templates) == ["de", "en"]
    assert found.complete
    last = await client.templates("notice_119")
    assert (len(last.templates), last.templates[0].opted_out) == (1, None)


@pytest.mark.requirement("R000.12")
async def test_netcores_own_defaults_hide_nothing_when_the_languages_are_set(world: World) -> None:
    client, state = netcore(world, languages=("English", "German"))
    state.knobs.defaults_apply = True
    assert sorted(t.language for t in (await client.templates("spring_offer")).templates) == ["de", "en"]
    waiting = await client.templates("waiting")
    assert ([t.status for t in waiting.templates], waiting.complete) == (["PENDING"], True)


@pytest.mark.requirement("R000.12")
async def test_without_languages_or_proof_netcores_list_counts_as_incomplete(world: World) -> None:
    client, _ = netcore(world)
    found = await client.templates("spring_offer")
    assert not found.complete
    assert "languages are not set" in found.problem


@pytest.mark.parametrize(("knob", "said"), [("page_repeats", "a page came twice"), ("lost_row", "counts 128")])
async def test_netcores_repeated_or_short_pages_are_noticed(world: World, knob: str, said: str) -> None:
    client, state = netcore(world, lists_all=True)
    setattr(state.knobs, knob, True)
    if knob == "page_repeats":
        state.templates = state.templates[:100]
    found = await client.templates("spring_offer")
    assert not found.complete
    assert said in found.problem


@pytest.mark.requirement("R000.8")
async def test_netcore_has_no_api_for_panel_campaign_and_clicks_and_says_so(world: World) -> None:
    client, _ = netcore(world, lists_all=True)
    can = client.capabilities()
    assert (can.template_read, can.panel_setting, can.campaign_read, can.click_report) == (True, False, False, False)
    for asked in (client.setting(), client.campaign("campaign", "C-1"), client.clicks(("1",), NOW, NOW)):
        with pytest.raises(Refused, match="has no API"):
            await asked


async def test_a_bare_token_at_netcore_is_an_auth_failure_without_the_token(world: World) -> None:
    client, _ = netcore(world, header="canary-token-of-netcore", lists_all=True)
    with pytest.raises(AuthFailed) as told:
        await client.templates("spring_offer")
    assert "canary" not in str(told.value)


# ---- whole cases over the twins ------------------------------------------------------------------------------------


async def played(tmp_path: Path, provider: str, desk: PanelDesk, tape: Tape, **fields: str) -> tuple[Table, Any]:
    table = Table(tmp_path)
    panel = Panel("harbor", provider, "555", "https://panel.example", ("IN",))
    sources = {PANELS: PanelBook((panel,), {(provider, "555"): desk})}
    office = Office(table.streams, table.store, table.clock, b"canary-signing-key", None)
    opened = await open_case(office, link_tracking(), "harbor", {**FIELDS, **fields}, "Ann")
    table.ref = opened.case.ref
    outcome = await run_checks(office, link_tracking(), table.ref, registry=WITNESSES, sources=sources, tape=tape)
    return table, outcome


@pytest.mark.requirement("R000.12", "R000.14", "R000.20", "E.1")
@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("mixed_offer", ()),
        ("opted_out", ("template_opted_out",)),
        ("login_code", ("authentication_template", "clicks_absent")),
        ("quiet_offer", ("nothing_delivered",)),
        ("clicked_offer", ("not_reproduced",)),
        ("waiting", ("template_not_approved", "clicks_absent")),
        ("spring-offer", ("template_not_found",)),
    ],
)
async def test_a_case_at_meta_ends_with_its_reasons(
    tmp_path: Path, world: World, name: str, reasons: tuple[str, ...]
) -> None:
    bench = MetaBench(world)
    table, outcome = await played(tmp_path, "meta", bench.client, bench.tape, template_name=name)
    assert outcome.diagnosis.codes == reasons
    # Meta knows no campaigns: that look stays with a person.
    assert [s.check for s in outcome.diagnosis.steps if s.check == "campaign"] == ["campaign"]
    stored = [e for e in outcome.case.evidence if e.kind == "api"]
    assert stored
    assert not any([TOKEN.encode() in await table.store.get(e.digest) for e in stored])


@pytest.mark.requirement("R000.8", "R000.15", "R000.16", "E.4")
async def test_a_case_at_netcore_finds_the_static_buttons_and_asks_a_person_for_the_rest(
    tmp_path: Path, world: World
) -> None:
    client, _ = netcore(world, lists_all=True)
    table, outcome = await played(tmp_path, "netcore", client, Tape(), template_name="mixed_offer")
    assert set(outcome.diagnosis.codes) == {"some_static_urls", "panel_not_known", "clicks_unsupported"}
    assert {s.check for s in outcome.diagnosis.steps} == {"panel", "campaign", "message_flag", "clicks"}
    assert (await table.case()).results["opt_out"].state is State.NOT_APPLICABLE


async def test_a_failing_read_leaves_its_answer_in_the_case(tmp_path: Path, world: World) -> None:
    bench = MetaBench(world, token="wrong-token-123456")
    table, outcome = await played(tmp_path, "meta", bench.client, bench.tape)
    kept = [e for e in outcome.case.evidence if e.kind == "api" and e.check == "panel"]
    assert [e.status for e in kept] == [401]
    assert b"Session has expired" in await table.store.get(kept[0].digest)
