from __future__ import annotations

from collections.abc import Iterator

import httpx
import pagerduty
import pytest

from sandbox.pagerduty import PagerDutyState, build_app
from sandbox.world import World
from tests.sandbox.contract import Contract, vendor_document
from tests.sandbox.serving import in_process, served

ROUTING_KEY = "r" * 32


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def state() -> PagerDutyState:
    return PagerDutyState(ROUTING_KEY, "secret")


@pytest.fixture
def client(world, state) -> httpx.AsyncClient:
    headers = {
        "Authorization": "Token token=secret",
        "From": "ops@twin.example",
        "Accept": "application/vnd.pagerduty+json;version=2",
    }
    return in_process(build_app(world, state), headers=headers)


def event(action: str = "trigger", key: str | None = "K1", **payload: object) -> dict:
    named = {"summary": "Down", "source": "allclear", "severity": "critical"} | payload
    return {"routing_key": ROUTING_KEY, "event_action": action, "dedup_key": key, "payload": named}


def incident(key: str = "K1", **more: object) -> dict:
    named = {"type": "incident", "title": "Down", "incident_key": key}
    return {"incident": named | {"service": {"id": "PSVC001", "type": "service_reference"}} | more}


async def send(client: httpx.AsyncClient, *args: object, **payload: object) -> httpx.Response:
    return await client.post("/v2/enqueue", json=event(*args, **payload))


def pages(world: World) -> int:
    return sum(line["event"] == "page" for line in world.read_journal("pagerduty"))


async def test_a_key_pages_once_while_it_is_open_and_again_after_resolve(client, world):
    assert [(await send(client)).status_code for _ in range(2)] == [202, 202]
    assert pages(world) == 1
    await send(client, "resolve")
    await send(client)
    assert pages(world) == 2


async def test_without_a_key_every_event_pages(client, world):
    keys = {(await send(client, "trigger", None)).json()["dedup_key"] for _ in range(2)}
    assert (len(keys), pages(world)) == (2, 2)


async def test_resolving_nothing_is_accepted_and_dropped(client, state):
    assert (await send(client, "resolve", "nobody")).status_code == 202
    assert state.incidents == {}


@pytest.mark.parametrize(
    "change",
    [
        {"routing_key": "x" * 32},
        {"event_action": "explode"},
        {"dedup_key": "k" * 256},
        {"payload": {"summary": "x", "source": "y", "severity": "P1"}},
        {"payload": {"source": "y", "severity": "info"}},
        {"event_action": "resolve", "dedup_key": None},
    ],
)
async def test_a_bad_event_is_a_400_with_errors(client, world, change):
    reply = await client.post("/v2/enqueue", json=event() | change)
    assert (reply.status_code, reply.json()["status"]) == (400, "invalid event")
    assert reply.json()["errors"]
    assert world.read_journal("pagerduty") == []


async def test_an_accepted_event_may_become_an_incident_only_later(client, state, world):
    state.knobs.processing_seconds = 30
    await send(client)
    assert (await client.get("/incidents")).json()["incidents"] == []
    world.advance(31)
    assert len((await client.get("/incidents")).json()["incidents"]) == 1


async def test_too_many_events_in_a_minute_are_throttled(client, state, world):
    state.knobs.events_per_minute = 1
    assert [(await send(client)).status_code for _ in range(2)] == [202, 429]
    world.advance(61)
    assert (await send(client)).status_code == 202


async def test_incidents_are_found_by_key_and_status(client, world):
    await send(client)
    await send(client, "acknowledge")
    await send(client, "trigger", "K2")
    params = {"incident_key": "K1", "statuses[]": ["acknowledged", "resolved"], "date_range": "all"}
    (found,) = (await client.get("/incidents", params=params)).json()["incidents"]
    assert (found["incident_key"], found["status"], len(found["acknowledgements"])) == ("K1", "acknowledged", 1)
    world.advance(31 * 86400)
    assert (await client.get("/incidents", params={"incident_key": "K1"})).json()["incidents"] == []


async def test_rest_refuses_a_key_that_is_open(client, world):
    first = await client.post("/incidents", json=incident(priority={"id": "P1ID", "type": "priority_reference"}))
    again = await client.post("/incidents", json=incident())
    assert (first.status_code, again.status_code, pages(world)) == (201, 400, 1)
    assert first.json()["incident"]["priority"]["name"] == "P1"
    assert "already exists" in again.json()["error"]["errors"][0]


async def test_an_incident_is_changed_noted_and_resolved_once(client, world):
    ref = (await client.post("/incidents", json=incident())).json()["incident"]["id"]
    note = await client.post(f"/incidents/{ref}/notes", json={"note": {"content": "Recovered 12."}})
    assert note.status_code == 201
    await client.put(f"/incidents/{ref}", json={"incident": {"type": "incident", "priority": "P2"}})
    resolved = {"incident": {"type": "incident", "status": "resolved"}}
    assert (await client.put(f"/incidents/{ref}", json=resolved)).json()["incident"]["status"] == "resolved"
    assert (await client.put(f"/incidents/{ref}", json=resolved)).status_code == 400
    assert [one["content"] for one in (await client.get(f"/incidents/{ref}/notes")).json()["notes"]] == [
        "Recovered 12."
    ]


async def test_writes_need_a_known_sender_and_all_need_the_token(client, world, state):
    assert (await client.post("/incidents", json=incident(), headers={"From": "x@y.test"})).status_code == 400
    async with in_process(build_app(world, state)) as stranger:
        reply = await stranger.get("/incidents")
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, 2006)


async def test_pages_have_a_limit_and_say_whether_there_are_more(client):
    for key in ("K1", "K2", "K3"):
        await send(client, "trigger", key)
    page = (await client.get("/incidents", params={"limit": 2, "offset": 0})).json()
    assert (len(page["incidents"]), page["more"], page["total"]) == (2, True, None)
    assert (await client.get("/incidents", params={"limit": 101})).status_code == 400


async def test_replies_are_what_the_vendors_documents_allow(client):
    events = Contract(vendor_document("pagerduty-events-v2"), "http://twin/v2")
    rest = Contract(vendor_document("pagerduty-rest"), "http://twin", own_nulls=True)
    events.check(await send(client))
    events.check(await send(client, "explode"), request_too=False)
    rest.check(await client.post("/incidents", json=incident("K9")), request_too=False)
    ref = (await client.get("/incidents")).json()["incidents"][0]["id"]
    for path in ("/incidents", f"/incidents/{ref}", f"/incidents/{ref}/notes"):
        rest.check(await client.get(path), request_too=False)


def test_the_pagerduty_package_gets_what_it_expects(world, state):
    with served(build_app(world, state)) as base:
        rest = pagerduty.RestApiV2Client("secret", default_from="ops@twin.example")
        events = pagerduty.EventsApiV2Client(ROUTING_KEY)
        rest._url = events._url = base  # the package takes https addresses only
        try:
            assert events.trigger("Down", "allclear", dedup_key="K1", severity="critical") == "K1"
            events.trigger("Down", "allclear", dedup_key="K1", severity="critical")
            (found,) = rest.list_all("incidents", params={"incident_key": "K1", "date_range": "all"})
            rest.rput(f"/incidents/{found['id']}", json={"id": found["id"], "type": "incident", "status": "resolved"})
            assert rest.rget(f"/incidents/{found['id']}")["status"] == "resolved"
            rest.rpost("/incidents", json=incident("K2")["incident"])
            with pytest.raises(pagerduty.HttpError) as refused:
                rest.rpost("/incidents", json=incident("K2")["incident"])
        finally:
            rest.close()
            events.close()
    assert refused.value.response.status_code == 400
    assert pages(world) == 2
