from __future__ import annotations

import base64
from collections.abc import Iterator

import httpx
import pytest

from sandbox.tessitura import TessituraState, build_app
from sandbox.world import World
from tests.sandbox.serving import in_process, served

LISTS = "/harbor/Reporting/Lists"


def basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


GOOD = basic("pro2:ADMIN:WEB:se:cret")


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def state() -> TessituraState:
    made = TessituraState("harbor", "pro2", "ADMIN", "WEB", "se:cret")
    made.add_list(7, "Members", [1, 2], fresh=[2, 3])
    made.add_list(8, "Donors", [1])
    for number in (1, 2, 3):
        made.add_constituent(number, f"p{number}@x.test", type_id=number)
    made.add_constituent(1, "second@x.test", primary=False, type_id=2)
    return made


@pytest.fixture
def client(world, state) -> httpx.AsyncClient:
    return in_process(build_app(world, {"harbor": state}), headers=GOOD)


def events(world: World) -> list[str]:
    return [line["event"] for line in world.read_journal("tessitura")]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Basic"}, 403),
        ({"Authorization": "Bearer x"}, 403),
        ({"Authorization": "Basic %%%"}, 403),
        (basic("pro2:ADMIN:secret"), 403),
        (basic("pro2:ADMIN:WEB:wrong"), 401),
        (basic("pro2:Admins:WEB:se:cret"), 401),
        (GOOD, 200),
    ],
)
async def test_the_credential_has_four_parts(world, state, headers, status):
    reply = await in_process(build_app(world, {"harbor": state})).get("/harbor/Diagnostics/Status", headers=headers)
    assert reply.status_code == status
    if status != 200:
        assert set(reply.json()[0]) == {"Code", "Description", "Details", "ErrorPath"}


async def test_summaries_are_asked_for_by_id(client):
    rows = (await client.get(f"{LISTS}/Summary", params={"listIds": "7,99"})).json()
    assert [(row["Id"], row["ConstituentCount"], row["IsDynamic"]) for row in rows] == [(7, 2, True)]


async def test_search_tells_its_paging_in_headers(client):
    reply = await client.post(f"{LISTS}/Search", json={"SearchText": "", "PageSize": 1, "Page": 2})
    assert [row["Description"] for row in reply.json()] == ["Donors"]
    assert (reply.headers["x-page"], reply.headers["x-page-size"], reply.headers["x-total-count"]) == ("2", "1", "2")


async def test_contents_are_the_stored_ones_and_reading_writes_nothing(client, world):
    assert (await client.get(f"{LISTS}/7/Contents")).json() == [{"ConstituentId": 1}, {"ConstituentId": 2}]
    details = (await client.get(f"{LISTS}/7/Contents/Details")).json()
    assert details[0]["Constituent"]["Id"] == 1
    assert events(world) == []


async def test_results_regenerate_a_dynamic_list_unless_told_not_to(client, world):
    kept = await client.post(f"{LISTS}/7/Results", json={"DisableListGenerate": True})
    assert [row["Constituent ID"] for row in kept.json()] == [1, 2]
    assert events(world) == []
    fresh = await client.post(f"{LISTS}/7/Results", json={"PageSize": 1})
    assert [row["Constituent ID"] for row in fresh.json()] == [2]
    assert fresh.headers["x-total-count"] == "2"
    assert events(world) == ["regenerated"]


async def test_results_of_a_static_list_regenerate_nothing(client, world):
    await client.post(f"{LISTS}/8/Results", json={})
    assert events(world) == []


async def test_generate_writes(client, world):
    reply = await client.post(f"{LISTS}/7/Generate")
    assert reply.json()["ConstituentCount"] == 2
    assert (await client.get(f"{LISTS}/7/Contents")).json() == [{"ConstituentId": 2}, {"ConstituentId": 3}]
    assert events(world) == ["generated"]


async def test_addresses_by_constituent_and_primary_only(client):
    path = "/harbor/CRM/ElectronicAddresses"
    both = (await client.get(path, params={"constituentIds": "1,3"})).json()
    assert [row["Address"] for row in both] == ["p1@x.test", "second@x.test", "p3@x.test"]
    first = (await client.get(path, params={"constituentIds": "1,3", "primaryOnly": "true"})).json()
    assert [row["Address"] for row in first] == ["p1@x.test", "p3@x.test"]
    assert (await client.get(path)).status_code == 400


async def test_flush_incomplete_is_journalled_for_the_oracle(client, world):
    assert (await client.put("/harbor/Reporting/ReportRequests/FlushIncomplete")).status_code == 204
    assert events(world) == ["flushed"]


def test_an_import_reads_the_list_regenerated_and_keeps_to_its_filters(state):
    assert state.rows_for_import(7, {}) == [(2, "p2@x.test"), (3, "p3@x.test")]
    assert state.rows_for_import(8, {"eaddress_type_id": 2}) == [(1, "second@x.test")]
    assert state.rows_for_import(8, {"eaddress_type_id": 2, "primary_only": True}) == []
    with pytest.raises(LookupError):
        state.rows_for_import(99, {})


async def test_a_gateway_failure_is_a_html_page(client, state):
    state.knobs.iis_error = True
    reply = await client.get(f"{LISTS}/7")
    assert reply.status_code == 500
    assert reply.headers["content-type"].startswith("text/html")


async def test_a_missing_right_and_an_unknown_list(client, state):
    state.knobs.forbidden_ops.add("results")
    assert (await client.post(f"{LISTS}/7/Results", json={})).status_code == 403
    assert (await client.get(f"{LISTS}/99")).status_code == 404


async def test_an_unhealthy_service_says_so(client, state):
    state.knobs.unhealthy = True
    assert (await client.get("/harbor/Diagnostics/Status")).json()["Success"] is False


def test_it_answers_over_a_real_socket(world, state):
    with served(build_app(world, {"harbor": state})) as base:
        assert httpx.get(f"{base}{LISTS}/8", headers=GOOD).json()["Description"] == "Donors"
