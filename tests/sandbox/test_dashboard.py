from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import httpx
import pytest

from sandbox.dashboard import DashboardHooks, DashboardState, build_app
from sandbox.world import Fault, World
from tests.sandbox.contract import Contract, bridge_document
from tests.sandbox.serving import in_process, served

BASE = "http://twin/harbor/bridge/v1"


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def tagged() -> list[tuple[list[str], list[str], bool]]:
    return []


@pytest.fixture
def lists() -> dict[int, list[tuple[int, str | None]]]:
    return {7: [(1, "a@x.test"), (2, "b@x.test")]}


@pytest.fixture
def state(tagged, lists) -> DashboardState:
    def apply(account: str, emails: list[str], tags: list[str], exclude: bool) -> int:
        tagged.append((emails, tags, exclude))
        return len(emails)

    made = DashboardState("harbor", "secret", time_zone="America/New_York")
    made.hooks = DashboardHooks(
        contents=lambda ref, filters: lists[ref],
        apply=apply,
        matches=lambda definition, now: [f"match-at-{now:%H}"],
    )
    made.add_definition("imp", "integrated_import", "Members", {"type": "cron", "value": "0 2 * * *"}, tags=["Member"])
    made.definitions["imp"]["list_manager_list_id"] = 7
    made.add_definition("sync", "data_sync_tag", "VIP", tags=["VIP"], list_manager_list_id=7, sync_mode="add_remove")
    made.add_definition("trig", "scheduled_trigger", "Tonight", automation_id="12", trigger_type="performance")
    return made


@pytest.fixture
def client(world, state) -> httpx.AsyncClient:
    return in_process(build_app(world, {"harbor": state}), headers={"Authorization": "Bearer secret"})


async def get(client: httpx.AsyncClient, path: str, **params: object) -> dict:
    return (await client.get(f"/harbor/bridge/v1{path}", params=params)).json()


async def post(client: httpx.AsyncClient, path: str, **body: object) -> httpx.Response:
    return await client.post(f"/harbor/bridge/v1{path}", json=body or None)


async def the_log(client: httpx.AsyncClient, world: World, **params: object) -> dict:
    window = {"from": (world.now() - timedelta(days=2)).isoformat(), "to": world.now().isoformat()}
    return await get(client, "/activity-log", **window, **params)


def finish(world: World, state: DashboardState) -> None:
    world.advance(10)
    state.tick(world)


async def test_a_wrong_token_is_a_401_problem(client):
    reply = await client.get("/harbor/bridge/v1/console", headers={"Authorization": "Bearer wrong"})
    assert reply.status_code == 401
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["status"] == 401


async def test_every_reply_is_what_the_contract_allows(client, world, state):
    contract = Contract(bridge_document(), BASE)
    old = state.add_run("imp", state="failed", started_at=world.now() - timedelta(hours=1))
    state.set_report(old.run_id, [{"row": 1, "constituent_id": 5, "email": None, "message": "bad"}])
    window = {"from": (world.now() - timedelta(days=2)).isoformat(), "to": world.now().isoformat()}
    reads = [("/capabilities", {}), ("/definitions", {"limit": 2}), ("/activity-log", window), ("/console", {})]
    reads += [(f"/runs/{old.run_id}", {}), (f"/runs/{old.run_id}/report", {}), ("/runs/none", {})]
    replies = [await client.get(f"/harbor/bridge/v1{path}", params=params) for path, params in reads]
    replies.append(await post(client, "/imports", list_manager_list_id=7, tags=["U"]))
    replies.append(await post(client, "/imports", list_manager_list_id=99, tags=["U"]))
    for path in (f"/runs/{old.run_id}/reprocess", "/definitions/trig/run-now", "/definitions/imp/repeat"):
        reply = await post(client, path)
        replies.append(reply)
    replies.append(await post(client, f"/runs/{replies[-1].json()['run_id']}/stop"))
    assert [reply.status_code for reply in replies] == [200] * 6 + [404, 202, 422, 202, 202, 202, 202]
    for reply in replies:
        contract.check(reply)


async def test_the_log_is_newest_first_and_in_the_accounts_own_offset(client, world, state):
    for hours in (3, 1, 2):
        state.add_run("imp", state="succeeded", started_at=world.now() - timedelta(hours=hours))
    starts = [datetime.fromisoformat(run["started_at"]) for run in (await the_log(client, world))["runs"]]
    assert starts == sorted(starts, reverse=True)
    assert {start.utcoffset() for start in starts} <= {timedelta(hours=-4), timedelta(hours=-5)}


async def test_pages_repeat_a_row_when_runs_arrived_meanwhile(client, world, state):
    for hours in range(1, 5):
        state.add_run("imp", state="succeeded", started_at=world.now() - timedelta(hours=hours))
    state.knobs.repeat_rows = 1
    first = await the_log(client, world, limit=2)
    second = await the_log(client, world, limit=2, cursor=first["next_cursor"])
    assert first["runs"][-1] == second["runs"][0]


async def test_a_late_run_is_hidden_and_the_log_says_it_is_not_complete_yet(client, world, state):
    began = world.now() - timedelta(minutes=30)
    state.add_run("imp", state="succeeded", started_at=began, in_log_at=world.now() + timedelta(minutes=5))
    log = await the_log(client, world)
    assert log["runs"] == []
    assert datetime.fromisoformat(log["covers_to"]) <= began
    world.advance(301)
    assert len((await the_log(client, world))["runs"]) == 1


async def test_limit_above_200_is_refused(client):
    reply = await client.get("/harbor/bridge/v1/definitions", params={"limit": 201})
    assert reply.status_code == 400


async def test_reprocess_makes_a_new_run_that_names_the_old_one_and_applies_the_import(client, world, state, tagged):
    old = state.add_run("imp", state="failed", started_at=world.now() - timedelta(hours=1))
    started = (await post(client, f"/runs/{old.run_id}/reprocess")).json()
    run = await get(client, f"/runs/{started['run_id']}")
    assert (run["state"], run["requested_by"], run["repeated_from_run_id"]) == ("running", "reprocess", old.run_id)
    finish(world, state)
    run = await get(client, f"/runs/{started['run_id']}")
    assert (run["state"], run["counts"]["updated"]) == ("succeeded", 2)
    assert tagged == [(["a@x.test", "b@x.test"], ["Member"], False)]


async def test_asking_twice_runs_twice(client, world, state):
    for _ in range(2):
        await post(client, "/definitions/trig/run-now")
    finish(world, state)
    assert len(state.entered) == 2
    assert [line["contact_count"] for line in world.read_journal("dashboard") if line["event"] == "automation_entered"]


async def test_run_now_takes_who_matches_now_and_cannot_be_stopped(client, world, state):
    started = (await post(client, "/definitions/trig/run-now")).json()
    stop = (await post(client, f"/runs/{started['run_id']}/stop")).json()
    assert stop["result"] == "refused"
    finish(world, state)
    assert state.entered == [("12", f"match-at-{world.now():%H}")]


async def test_a_sync_run_again_repairs_nothing(client, world, state, tagged, lists):
    state.memory["sync"] = {1: "a@x.test", 2: "b@x.test"}
    old = state.add_run("sync", state="failed", started_at=world.now() - timedelta(hours=1))
    run = (await post(client, f"/runs/{old.run_id}/reprocess")).json()["run_id"]
    finish(world, state)
    assert tagged == []
    assert (await get(client, f"/runs/{run}"))["counts"] == {"returned": 0, "updated": 0, "errored": 0}


async def test_a_sync_works_on_the_difference_in_both_directions(client, world, state, tagged):
    removed: list[list[str]] = []
    state.hooks.remove = lambda account, emails, tags: removed.append(emails) or len(emails)
    state.memory["sync"] = {1: "a@x.test", 9: "gone@x.test"}
    state.start_run(world, "sync", "schedule")
    finish(world, state)
    assert tagged == [(["b@x.test"], ["VIP"], False)]
    assert removed == [["gone@x.test"]]


async def test_an_import_lands_its_tags_and_can_leave_automations_alone(client, world, state, tagged):
    reply = await post(client, "/imports", list_manager_list_id=7, tags=["RK-1"], exclude_automations=True)
    finish(world, state)
    assert tagged == [(["a@x.test", "b@x.test"], ["RK-1"], True)]
    run = await get(client, f"/runs/{reply.json()['run_id']}")
    assert (run["requested_by"], run["tags"], run["state"]) == ("import", ["RK-1"], "succeeded")


async def test_an_import_row_without_an_address_makes_a_partial_error_with_a_report(client, world, state, lists):
    lists[7].append((3, None))
    run = (await post(client, "/definitions/imp/repeat")).json()["run_id"]
    finish(world, state)
    assert (await get(client, f"/runs/{run}"))["state"] == "partial_error"
    assert (await get(client, f"/runs/{run}/report"))["rows"][0]["constituent_id"] == 3


@pytest.mark.parametrize(
    ("works", "state_after"), [(True, "stopped"), (False, "running")], ids=["stops", "goes on all the same"]
)
async def test_an_accepted_stop_is_not_a_stopped_run(client, world, state, works, state_after):
    run = state.add_run("imp", state="running", started_at=world.now(), stop_works=works)
    assert (await post(client, f"/runs/{run.run_id}/stop")).json()["result"] == "accepted"
    assert (await get(client, f"/runs/{run.run_id}"))["state"] == "stop_requested"
    assert (await post(client, f"/runs/{run.run_id}/stop")).status_code == 409
    finish(world, state)
    assert (await get(client, f"/runs/{run.run_id}"))["state"] == state_after


async def test_a_stopped_run_may_continue_by_itself(client, world, state, tagged):
    run = state.add_run("imp", state="stopped", started_at=world.now(), revives_at=world.now() + timedelta(hours=1))
    assert (await get(client, "/console"))["runs"] == []
    world.advance(3600)
    assert [row["run_id"] for row in (await get(client, "/console"))["runs"]] == [run.run_id]
    finish(world, state)
    assert (run.state, len(tagged)) == ("succeeded", 1)


async def test_a_run_that_will_start_by_itself_is_not_seen_before(client, world, state):
    due = world.now() - timedelta(hours=3)
    run = state.add_run("imp", state="queued", scheduled_for=due, starts_at=world.now() + timedelta(hours=1))
    assert (await client.get(f"/harbor/bridge/v1/runs/{run.run_id}")).status_code == 404
    assert (await the_log(client, world))["runs"] == []
    world.advance(3700)
    assert [row["state"] for row in (await the_log(client, world))["runs"]] == ["succeeded"]


async def test_a_run_that_hangs_stays_in_the_console(client, world, state):
    run = state.add_run("imp", state="running", started_at=world.now() - timedelta(hours=2))
    finish(world, state)
    assert [row["run_id"] for row in (await get(client, "/console"))["runs"]] == [run.run_id]


async def test_a_knob_refuses_a_second_run_while_one_is_in_progress(client, world, state):
    state.knobs.conflict_when_running = True
    state.add_run("imp", state="running", started_at=world.now())
    assert (await post(client, "/definitions/imp/repeat")).status_code == 409


async def test_a_bridge_may_not_tell_the_run(client, state):
    state.knobs.returns_run_id = False
    assert (await post(client, "/definitions/trig/run-now")).json()["run_id"] is None
    assert (await get(client, "/capabilities"))["returns_run_id"] is False


async def test_a_planned_claim_without_effect_starts_nothing(client, world, state):
    world.faults.add(Fault("dashboard", op="run_now", kind="no-effect-ok"))
    assert (await post(client, "/definitions/trig/run-now")).status_code == 202
    finish(world, state)
    assert state.runs == {}


async def test_run_outcomes_may_be_failures_and_words_nobody_knows(client, world, state):
    state.knobs.run_outcomes = {"imp": "failed", "trig": "deferred"}
    imp = (await post(client, "/definitions/imp/repeat")).json()["run_id"]
    trig = (await post(client, "/definitions/trig/run-now")).json()["run_id"]
    finish(world, state)
    assert [(await get(client, f"/runs/{ref}"))["state"] for ref in (imp, trig)] == ["failed", "deferred"]
    assert state.entered == []


async def test_the_wrong_kind_is_a_409_and_an_absent_capability_a_404(client, state):
    assert (await post(client, "/definitions/imp/run-now")).status_code == 409
    state.capabilities["repeat"] = False
    assert (await post(client, "/definitions/imp/repeat")).status_code == 404


async def test_every_effect_is_journalled(client, world, state):
    await post(client, "/definitions/imp/repeat")
    finish(world, state)
    events = [line["event"] for line in world.read_journal("dashboard")]
    assert events == ["run_requested", "run_started", "imported", "run_ended"]


def test_the_bridge_answers_over_a_real_socket(world, state):
    with served(build_app(world, {"harbor": state})) as base:
        reply = httpx.get(f"{base}/harbor/bridge/v1/capabilities", headers={"Authorization": "Bearer secret"})
    assert reply.json()["account_time_zone"] == "America/New_York"
