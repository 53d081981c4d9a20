from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from sandbox.statuspage import StatuspageState, build_app
from sandbox.world import World
from tests.sandbox.contract import Contract, vendor_document
from tests.sandbox.serving import in_process, served

PAGE = "/v1/pages/page0twin"


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def state() -> StatuspageState:
    return StatuspageState("key")


@pytest.fixture
def client(world, state) -> httpx.AsyncClient:
    return in_process(build_app(world, state), headers={"Authorization": "OAuth key"})


def incident(**more: object) -> dict:
    named = {"name": "Mail is late", "status": "investigating", "body": "We are looking."}
    return {"incident": named | {"metadata": {"allclear": {"key": "K1"}}} | more}


async def create(client: httpx.AsyncClient) -> str:
    return (await client.post(f"{PAGE}/incidents", json=incident())).json()["id"]


async def test_the_same_incident_twice_is_two_incidents_with_their_metadata(client, world):
    await create(client)
    await create(client)
    open_ones = (await client.get(f"{PAGE}/incidents/unresolved")).json()
    assert [one["metadata"] for one in open_ones] == [{"allclear": {"key": "K1"}}] * 2
    assert [line["event"] for line in world.read_journal("statuspage")] == ["incident_created"] * 2


async def test_a_patch_posts_an_update_and_resolving_ends_it(client):
    ref = await create(client)
    body = {"incident": {"status": "resolved", "body": "All clear.", "deliver_notifications": False}}
    resolved = (await client.patch(f"{PAGE}/incidents/{ref}", json=body)).json()
    assert [one["body"] for one in resolved["incident_updates"]] == ["All clear.", "We are looking."]
    assert resolved["resolved_at"]
    assert (await client.get(f"{PAGE}/incidents/unresolved")).json() == []
    assert (await client.get(f"{PAGE}/incidents/{ref}")).json()["metadata"] == {"allclear": {"key": "K1"}}


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 256},
        {"status": "panic"},
        {"body": "x" * 25001},
        {"metadata": {"allclear": "K1"}},
        {"component_ids": ["none"]},
    ],
)
async def test_a_bad_incident_is_a_422(client, world, change):
    reply = await client.post(f"{PAGE}/incidents", json=incident(**change))
    assert reply.status_code == 422
    assert reply.json()["error"]
    assert world.read_journal("statuspage") == []


async def test_too_fast_is_a_420(client, state, world):
    state.knobs.requests_per_minute = 1
    assert [(await client.get(f"{PAGE}/components")).status_code for _ in range(2)] == [200, 420]
    world.advance(61)
    assert (await client.get(f"{PAGE}/components")).status_code == 200


async def test_lists_go_page_by_page_newest_first(client):
    refs = [await create(client) for _ in range(3)]
    pages = [(await client.get(f"{PAGE}/incidents", params={"limit": 2, "page": n})).json() for n in (1, 2, 3)]
    assert [[one["id"] for one in page] for page in pages] == [[refs[2], refs[1]], [refs[0]], []]


async def test_a_wrong_key_or_page_is_refused(client):
    assert (await client.get(f"{PAGE}/incidents", headers={"Authorization": "Bearer key"})).status_code == 401
    assert (await client.get("/v1/pages/other/incidents")).status_code == 404


async def test_requests_and_replies_are_what_the_vendors_document_allows(client):
    contract = Contract(vendor_document("statuspage"), "http://twin/v1", own_nulls=True)
    contract.check(await client.post(f"{PAGE}/incidents", json=incident(component_ids=["comp-mail"])))
    ref = await create(client)
    contract.check(await client.patch(f"{PAGE}/incidents/{ref}", json={"incident": {"status": "identified"}}))
    for path in ("/incidents", "/incidents/unresolved", f"/incidents/{ref}", "/components"):
        contract.check(await client.get(PAGE + path))


def test_it_answers_over_a_real_socket(world, state):
    with served(build_app(world, state)) as base:
        assert httpx.get(f"{base}{PAGE}/incidents", headers={"Authorization": "OAuth key"}).json() == []
