from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from sandbox.clickup import ClickUpState, build_app
from sandbox.world import World
from tests.sandbox.contract import Contract, vendor_document
from tests.sandbox.serving import in_process, served

TASKS = "/api/v2/list/901/task"


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def state() -> ClickUpState:
    return ClickUpState("pk_1")


@pytest.fixture
def client(world, state) -> httpx.AsyncClient:
    return in_process(build_app(world, state), headers={"Authorization": "pk_1"})


async def create(client: httpx.AsyncClient, key: str = "K1", **more: object) -> dict:
    body = {"name": "Mail late", "custom_fields": [{"id": "field-key", "value": key}]} | more
    reply = await client.post(TASKS, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def find(client: httpx.AsyncClient, operator: str, value: str, **more: object) -> list[str]:
    wanted = json.dumps([{"field_id": "field-key", "operator": operator, "value": value}])
    tasks = (await client.get(TASKS, params={"custom_fields": wanted, **more})).json()["tasks"]
    return [task["id"] for task in tasks]


async def test_the_same_task_twice_is_two_tasks(client, world):
    ids = {(await create(client))["id"] for _ in range(2)}
    assert len(ids) == len(world.read_journal("clickup")) == 2


async def test_two_equals_signs_are_exact_and_one_is_not(client):
    exact, longer = (await create(client, "K1"))["id"], (await create(client, "xK10"))["id"]
    assert await find(client, "==", "K1") == [exact]
    assert set(await find(client, "=", "K1")) == {exact, longer}


async def test_closed_archived_and_subtasks_are_left_out_unless_asked_for(client):
    closed = (await create(client))["id"]
    await client.put(f"/api/v2/task/{closed}", json={"status": "complete"})
    child = (await create(client, parent=closed))["id"]
    hidden = (await create(client))["id"]
    await client.put(f"/api/v2/task/{hidden}", json={"archived": True})
    assert await find(client, "==", "K1") == []
    assert await find(client, "==", "K1", include_closed="true") == [closed]
    assert await find(client, "==", "K1", subtasks="true") == [child]
    assert await find(client, "==", "K1", archived="true") == [hidden]


async def test_pages_have_a_hundred_tasks(client, state):
    state.knobs.requests_per_minute = 0
    for _ in range(101):
        await create(client)
    first = (await client.get(TASKS, params={"page": 0})).json()
    second = (await client.get(TASKS, params={"page": 1})).json()
    assert (len(first["tasks"]), first["last_page"], len(second["tasks"]), second["last_page"]) == (100, False, 1, True)


async def test_a_new_task_may_show_late(client, state, world):
    state.knobs.filter_lag_seconds = 30
    made = (await create(client))["id"]
    assert await find(client, "==", "K1") == []
    world.advance(31)
    assert await find(client, "==", "K1") == [made]


async def test_a_task_shows_its_key_and_its_end(client):
    ref = (await create(client, priority=1))["id"]
    task = (await client.put(f"/api/v2/task/{ref}", json={"status": "complete"})).json()
    assert (task["status"]["type"], task["priority"]["priority"]) == ("closed", "urgent")
    assert task["date_closed"]
    assert [one["value"] for one in task["custom_fields"]] == ["K1"]


async def test_comments_are_added_every_time(client):
    ref = (await create(client))["id"]
    for _ in range(2):
        await client.post(f"/api/v2/task/{ref}/comment", json={"comment_text": "note", "notify_all": False})
    comments = (await client.get(f"/api/v2/task/{ref}/comment")).json()["comments"]
    assert [one["comment_text"] for one in comments] == ["note", "note"]


@pytest.mark.parametrize(
    ("body", "status"), [({}, 400), ({"name": "x", "custom_fields": [{"id": "no"}]}, 400), ({"name": "x"}, 200)]
)
async def test_errors_have_the_vendors_shape(client, body, status):
    reply = await client.post(TASKS, json=body)
    assert reply.status_code == status
    if status != 200:
        assert set(reply.json()) == {"err", "ECODE"}


async def test_wrong_tokens_lists_and_haste(client, state, world):
    assert (await client.get("/api/v2/list/1/task")).status_code == 404
    state.knobs.requests_per_minute = 2
    replies = [await client.get("/api/v2/user") for _ in range(3)]
    assert replies[-1].status_code == 429
    assert int(replies[-1].headers["x-ratelimit-reset"]) > world.now().timestamp()
    wrong = await client.get("/api/v2/user", headers={"Authorization": "Bearer pk_1"})
    assert (wrong.status_code, wrong.json()["ECODE"]) == (401, "OAUTH_025")


async def test_requests_and_replies_are_what_the_vendors_document_allows(client):
    contract = Contract(vendor_document("clickup"), "http://twin/api", own_nulls=True)
    ref = (await create(client, custom_fields=[]))["id"]  # the document knows no text as a field's value
    note = {"comment_text": "note", "notify_all": False}
    contract.check(await client.post(f"/api/v2/task/{ref}/comment", json=note))
    body = {"name": "Mail late", "custom_fields": [{"id": "field-key", "value": "K2"}], "priority": 2}
    # The document's schema of a reply with a new task has lists where schemas belong.
    contract.check(await client.post(TASKS, json=body), reply_too=False)
    # It wants a Content-Type on requests without a body.
    contract.check(await client.get(f"/api/v2/task/{ref}"), request_too=False)
    contract.check(await client.get("/api/v2/list/901/field"), request_too=False)


def test_it_answers_over_a_real_socket(world, state):
    with served(build_app(world, state)) as base:
        reply = httpx.get(f"{base}/api/v2/user", headers={"Authorization": "pk_1"})
    assert reply.json()["user"]["username"] == "Recovery"
