from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from sandbox.pendo import PendoState, build_app
from sandbox.world import Fault, World
from tests.sandbox.contract import Contract, vendor_document
from tests.sandbox.serving import in_process, served

GUIDE = "/api/v1/guide/guide-investigating"


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def state(world) -> PendoState:
    return PendoState(world, "key")


@pytest.fixture
def client(world, state) -> httpx.AsyncClient:
    return in_process(build_app(world, state), headers={"x-pendo-integration-key": "key"})


async def state_of(client: httpx.AsyncClient, ref: str = "guide-investigating") -> str:
    (guide,) = (await client.get("/api/v1/guide", params={"id": ref})).json()
    return guide["state"]


async def test_setting_a_state_twice_leaves_one_state(client, world):
    for _ in range(2):
        assert (await client.put(f"{GUIDE}/state", json={"state": "public"})).status_code == 200
    assert await state_of(client) == "public"
    public = (await client.get("/api/v1/guide", params={"state": "public"})).json()
    assert [guide["id"] for guide in public] == ["guide-investigating"]
    assert [line["after"] for line in world.read_journal("pendo")] == ["public", "public"]


async def test_a_key_without_write_access_reads_only(client, state):
    state.knobs.write_access = False
    assert (await client.put(f"{GUIDE}/state", json={"state": "public"})).status_code == 403
    assert await state_of(client) == "disabled"
    assert (await client.get("/api/v1/token/verify")).json()["writeAccess"] is False


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [(f"{GUIDE}/state", {"state": "on"}, 400), ("/api/v1/guide/none/state", {"state": "public"}, 404)],
)
async def test_unknown_states_and_guides_are_refused(client, world, path, body, status):
    assert (await client.put(path, json=body)).status_code == status
    assert world.read_journal("pendo") == []


async def test_a_wrong_key_is_refused(client):
    assert (await client.get("/api/v1/guide", headers={"x-pendo-integration-key": "no"})).status_code == 403


async def test_a_planned_claim_without_effect_changes_nothing(client, world):
    world.faults.add(Fault("pendo", op="guide_state", kind="no-effect-ok"))
    assert (await client.put(f"{GUIDE}/state", json={"state": "public"})).json()["state"] == "public"
    assert await state_of(client) == "disabled"


async def test_a_guide_may_expire_by_itself(client, state, world):
    state.knobs.expires_seconds = 3600
    await client.put(f"{GUIDE}/state", json={"state": "public"})
    world.advance(3601)
    assert await state_of(client) == "draft"


async def test_a_segment_is_kept_and_the_history_told(client):
    await client.put(f"{GUIDE}/segment", json={"segmentId": "seg-1"})
    await client.put(f"{GUIDE}/state", json={"state": "public"})
    (guide,) = (await client.get("/api/v1/guide", params={"id": "guide-investigating"})).json()
    assert guide["segmentId"] == "seg-1"
    assert [one["state"] for one in (await client.get(f"{GUIDE}/history")).json()] == ["public"]


async def test_its_paths_are_the_vendors(client):
    contract = Contract(vendor_document("pendo"), "http://twin")
    for reply in (
        await client.get("/api/v1/guide", params={"id": "guide-resolved"}),
        await client.put(f"{GUIDE}/state", json={"state": "public"}),
        await client.get("/api/v1/token/verify"),
    ):
        contract.check(reply, request_too=False)


def test_it_answers_over_a_real_socket(world, state):
    with served(build_app(world, state)) as base:
        reply = httpx.get(f"{base}/api/v1/guide", headers={"x-pendo-integration-key": "key"})
    assert len(reply.json()) == 3
