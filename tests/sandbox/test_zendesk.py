from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from sandbox.world import World
from sandbox.zendesk import ZendeskState, build_app
from tests.sandbox.serving import in_process, served

SECRETS = {"client_id": "allclear", "client_secret": "hush"}


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def state() -> ZendeskState:
    return ZendeskState("allclear", "hush")


@pytest.fixture
async def client(world, state) -> httpx.AsyncClient:
    made = in_process(build_app(world, state))
    pair = (await made.post("/oauth/tokens", json=SECRETS | {"grant_type": "client_credentials"})).json()
    made.headers["Authorization"] = f"Bearer {pair['access_token']}"
    return made


def ticket(text: str = "It was down.", **more: object) -> dict:
    named = {"subject": "Mail late", "external_id": "K1", "comment": {"body": text, "public": False}}
    return {"ticket": named | {"requester": {"name": "Ann", "email": "Ann@x.test"}} | more}


async def create(client: httpx.AsyncClient, key: str = "K1", **more: object) -> httpx.Response:
    return await client.post("/api/v2/tickets", json=ticket(**more), headers={"Idempotency-Key": key})


async def test_the_same_key_makes_one_ticket(client, world):
    first, again = await create(client), await create(client)
    assert [reply.headers["x-idempotency-lookup"] for reply in (first, again)] == ["miss", "hit"]
    assert first.json()["ticket"]["id"] == again.json()["ticket"]["id"]
    assert [line["event"] for line in world.read_journal("zendesk")] == ["ticket_created"]


async def test_an_access_token_ends(client, world):
    world.advance(1801)
    assert (await client.get("/api/v2/users/me")).status_code == 401


async def test_after_its_time_the_same_key_makes_another_ticket(client, world, state):
    assert state.knobs.key_seconds == 2 * 3600
    state.knobs.key_seconds = 60
    first = await create(client)
    world.advance(61)
    again = await create(client)
    assert first.json()["ticket"]["id"] != again.json()["ticket"]["id"]


async def test_the_same_key_with_another_body_is_refused(client):
    await create(client)
    reply = await create(client, subject="Other")
    assert (reply.status_code, reply.json()["error"]) == (400, "IdempotentRequestError")


async def test_without_a_key_a_repeat_is_a_second_ticket(client, world):
    for _ in range(2):
        await client.post("/api/v2/tickets.json", json=ticket())
    found = (await client.get("/api/v2/tickets", params={"external_id": "K1"})).json()["tickets"]
    assert len(found) == 2


async def test_tickets_are_found_by_external_id_with_their_people(client):
    await create(client)
    await create(client, key="K2", external_id="K2")
    params = {"external_id": "K2", "include": "users", "page[size]": 100}
    page = (await client.get("/api/v2/tickets", params=params)).json()
    assert [one["external_id"] for one in page["tickets"]] == ["K2"]
    assert "ann@x.test" in [user["email"] for user in page["users"]]
    assert page["meta"]["has_more"] is False


async def test_a_ticket_needs_words_and_known_choices(client):
    reply = await client.post("/api/v2/tickets", json={"ticket": {"subject": "x"}})
    assert (reply.status_code, reply.json()["error"]) == (422, "RecordInvalid")
    assert (await create(client, priority="P1")).status_code == 422


async def test_an_update_with_an_old_stamp_collides(client, world):
    made = (await create(client)).json()["ticket"]
    path = f"/api/v2/tickets/{made['id']}"
    world.advance(2)
    guarded = {"safe_update": True, "updated_stamp": made["updated_at"]}
    body = {"ticket": {"comment": {"body": "more", "public": True}, "metadata": {"rk": "K2"}, **guarded}}
    first, again = await client.put(path, json=body), await client.put(path, json=body)
    assert (first.status_code, again.status_code, again.json()["error"]) == (200, 409, "UpdateConflict")
    comments = (await client.get(f"{path}/comments")).json()["comments"]
    assert [(one["plain_body"], one["public"]) for one in comments] == [("It was down.", False), ("more", True)]
    audits = (await client.get(f"{path}/audits", params={"page[size]": 1})).json()
    assert (audits["meta"]["has_more"], len(audits["audits"])) == (True, 1)
    audits = (await client.get(f"{path}/audits")).json()["audits"]
    assert audits[1]["metadata"]["custom"] == {"rk": "K2"}


async def test_a_comment_sent_twice_is_there_twice(client):
    path = f"/api/v2/tickets/{(await create(client)).json()['ticket']['id']}"
    for _ in range(2):
        await client.put(path, json={"ticket": {"comment": {"body": "more"}}})
    assert len((await client.get(f"{path}/comments")).json()["comments"]) == 3


async def test_a_bulk_update_is_a_job_to_be_asked_for(client, world, state):
    ids = [(await create(client, key=key)).json()["ticket"]["id"] for key in ("K1", "K2")]
    body = {"ticket": {"status": "solved", "comment": {"body": "All clear.", "public": True}}}
    reply = await client.put(f"/api/v2/tickets/update_many?ids={ids[0]},{ids[1]},999", json=body)
    job = reply.json()["job_status"]
    assert job["status"] == "queued"
    assert state.tickets[ids[0]].fields["status"] == "new"
    world.advance(2)
    job = (await client.get(f"/api/v2/job_statuses/{job['id']}")).json()["job_status"]
    assert job["status"] == "completed"
    assert [row["success"] for row in job["results"]] == [True, True, False]
    assert state.tickets[ids[1]].fields["status"] == "solved"


async def test_a_bulk_update_takes_at_most_a_hundred(client):
    ids = ",".join(str(n) for n in range(101))
    assert (await client.put(f"/api/v2/tickets/update_many?ids={ids}", json={"ticket": {}})).status_code == 400


async def test_solving_a_problem_solves_its_incidents(client, state):
    problem = (await create(client, type="problem")).json()["ticket"]["id"]
    incident = (await create(client, key="K2", type="incident", problem_id=problem)).json()["ticket"]["id"]
    await client.put(f"/api/v2/tickets/{problem}", json={"ticket": {"status": "solved"}})
    assert state.tickets[incident].fields["status"] == "solved"
    listed = (await client.get(f"/api/v2/tickets/{problem}/incidents")).json()["tickets"]
    assert [one["id"] for one in listed] == [incident]


async def test_a_refresh_ends_the_old_pair(world, state):
    client = in_process(build_app(world, state))
    old = (await client.post("/oauth/tokens", json=SECRETS | {"grant_type": "client_credentials"})).json()
    wanted = SECRETS | {"grant_type": "refresh_token", "refresh_token": old["refresh_token"]}
    new = (await client.post("/oauth/tokens", json=wanted)).json()
    assert (await client.post("/oauth/tokens", json=wanted)).json()["error"] == "invalid_grant"
    statuses = []
    for pair in (old, new):
        headers = {"Authorization": f"Bearer {pair['access_token']}"}
        statuses.append((await client.get("/api/v2/users/me", headers=headers)).status_code)
    assert statuses == [401, 200]


async def test_wrong_secrets_and_small_scopes_are_refused(world, state):
    client = in_process(build_app(world, state))
    wrong = await client.post(
        "/oauth/tokens", json=SECRETS | {"client_secret": "no", "grant_type": "client_credentials"}
    )
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
    asked = SECRETS | {"grant_type": "client_credentials", "scope": "tickets:read"}
    token = (await client.post("/oauth/tokens", json=asked)).json()["access_token"]
    reply = await client.post("/api/v2/tickets", json=ticket(), headers={"Authorization": f"Bearer {token}"})
    assert reply.status_code == 403


async def test_too_many_requests_are_told_to_wait_for_the_next_minute(client, state):
    state.knobs.requests_per_minute = 2
    replies = [await client.get("/api/v2/users/me") for _ in range(6)]
    limited = [reply for reply in replies if reply.status_code == 429]
    assert limited
    assert 1 <= int(limited[0].headers["retry-after"]) <= 60
    assert replies[0].headers["x-rate-limit"] == "2"


async def test_one_ticket_takes_thirty_updates_in_ten_minutes(client, state):
    state.knobs.updates_per_ticket = 1
    path = f"/api/v2/tickets/{(await create(client)).json()['ticket']['id']}"
    replies = [await client.put(path, json={"ticket": {"priority": "high"}}) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 429]


async def test_a_customers_ticket_and_answer_are_told_from_ours(client, world, state):
    ref = state.add_ticket(world, "Help", "No mail", "cat@x.test")
    state.add_comment(world, ref, "Still none", email="cat@x.test")
    page = (await client.get(f"/api/v2/tickets/{ref}/comments", params={"include": "users"})).json()
    assert [user["role"] for user in page["users"]] == ["end-user"]
    assert [one["via"]["channel"] for one in page["comments"]] == ["email", "email"]


def test_it_answers_over_a_real_socket(world, state):
    with served(build_app(world, state)) as base:
        reply = httpx.post(f"{base}/oauth/tokens", data=SECRETS | {"grant_type": "client_credentials"})
    assert reply.json()["token_type"] == "bearer"
