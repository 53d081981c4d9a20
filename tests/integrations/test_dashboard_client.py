"""The dashboard client keeps to its contract, and believes a log only when it read it whole."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from remote_bench import Bench

from integrations.dashboard import DashboardClient
from recovery.errors import BadReply, Unavailable
from recovery.model import Schedule
from recovery.slots import moments
from tests.sandbox.contract import Contract

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ROOT / "integrations" / "dashboard.openapi.yaml"
START, END = datetime(2026, 3, 1, 10, tzinfo=UTC), datetime(2026, 3, 1, 12, tzinfo=UTC)
RUN = {"run_id": "r1", "definition_id": "d1", "requested_by": "schedule", "state": "succeeded"}
EDGES = {
    "covers_from": "2026-01-01T00:00:00-05:00",
    "covers_to": "2026-03-01T11:59:00-05:00",
    "generated_at": "2026-03-01T12:00:00-05:00",
}
DEFINITION = {
    "definition_id": "d1",
    "kind": "data_sync_tag",
    "name": "Members",
    "active": True,
    "paused_at": None,
    "schedule": {"type": "cron", "value": "0 3 * * *", "time_zone": "America/New_York"},
    "list_manager_list_id": 401,
    "list_manager_list_name": None,
    "tags": ["member"],
    "sync_mode": "add_remove",
    "filters": {"primary_only": True, "eaddress_type_id": None},
}


def pages(*bodies: dict[str, Any]) -> Callable[[httpx.Request], httpx.Response]:
    """Answers by cursor: "" for the first, "1" for the second and so on."""

    def remote(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=bodies[int(request.url.params.get("cursor", "0"))])

    return remote


def client_of(
    remote: Callable[[httpx.Request], httpx.Response], time_zone: str = "UTC"
) -> tuple[DashboardClient, Bench]:
    headers = DashboardClient.credentials("canary-token-123456")
    bench = Bench(remote, system="dashboard", base_url="https://bridge.example/bridge/v1", headers=headers)
    return DashboardClient(bench.transport, time_zone=time_zone), bench


def run(ref: str, **more: Any) -> dict[str, Any]:
    return {**RUN, "run_id": ref, **more}


async def test_a_log_is_read_over_all_pages_and_a_run_met_twice_counts_as_it_was_read_last() -> None:
    first = {"runs": [run("r2", state="running"), run("r1")], "next_cursor": "1", **EDGES}
    second = {"runs": [run("r2", state="succeeded"), run("r0")], "next_cursor": None, **EDGES}
    client, bench = client_of(pages(first, second))
    log = await client.activity_log(START, END)
    assert {r.ref: r.state for r in log.runs} == {"r2": "succeeded", "r1": "succeeded", "r0": "succeeded"}
    assert log.complete
    assert log.covers_to == datetime(2026, 3, 1, 16, 59, tzinfo=UTC)
    assert bench.requests[0].url.params["from"] == "2026-03-01T10:00:00Z"


async def test_pages_that_run_in_a_circle_end_and_are_not_called_complete() -> None:
    client, bench = client_of(
        pages({"runs": [run("r1")], "next_cursor": "1", **EDGES}, {"runs": [], "next_cursor": "1", **EDGES})
    )
    log = await client.activity_log(START, END)
    assert (log.complete, len(bench.requests)) == (False, 2)
    assert "circle" in log.problem


async def test_a_page_that_fails_later_leaves_the_log_incomplete() -> None:
    good = pages({"runs": [run("r1")], "next_cursor": "1", **EDGES})
    client, _ = client_of(lambda r: httpx.Response(500) if "cursor" in r.url.params else good(r))
    log = await client.console()
    assert ([r.ref for r in log.runs], log.complete) == (["r1"], False)


async def test_a_first_page_that_fails_raises() -> None:
    client, _ = client_of(lambda r: httpx.Response(503))
    with pytest.raises(Unavailable):
        await client.activity_log(START, END)


async def test_the_coverage_is_what_all_pages_agree_on() -> None:
    later = {**EDGES, "covers_from": "2026-02-01T00:00:00Z", "covers_to": "2026-03-01T10:00:00Z"}
    client, _ = client_of(pages({"runs": [], "next_cursor": "1", **EDGES}, {"runs": [], **later}))
    log = await client.activity_log(START, END)
    assert (log.covers_from, log.covers_to) == (
        datetime(2026, 2, 1, tzinfo=UTC),
        datetime(2026, 3, 1, 10, tzinfo=UTC),
    )


async def test_a_log_that_does_not_say_up_to_when_it_is_whole_covers_nothing() -> None:
    silent = {k: v for k, v in EDGES.items() if k != "covers_to"}
    client, _ = client_of(pages({"runs": [], "next_cursor": "1", **EDGES}, {"runs": [], **silent}))
    assert (await client.activity_log(START, END)).covers_to is None


async def test_a_log_without_its_oldest_time_breaks_the_contract() -> None:
    client, _ = client_of(pages({"runs": [], "generated_at": EDGES["generated_at"]}))
    with pytest.raises(BadReply, match="covers_from"):
        await client.activity_log(START, END)


async def test_a_state_nobody_knows_is_kept() -> None:
    client, _ = client_of(pages({"runs": [run("r1", state="hibernating")], **EDGES}))
    assert (await client.console()).runs[0].state == "hibernating"


@pytest.mark.parametrize("name", ["run_id", "definition_id", "state", "requested_by"])
async def test_a_run_without_a_required_field_is_named_and_costs_no_other_run(name: str) -> None:
    broken = {k: v for k, v in RUN.items() if k != name}
    client, _ = client_of(pages({"runs": [broken, run("r2")], **EDGES}))
    log = await client.console()
    assert ([r.ref for r in log.runs], log.complete) == (["r2"], False)
    assert "runs[0]" in log.problem and f"'{name}' is missing" in log.problem


@pytest.mark.parametrize("name", ["run_id", "definition_id"])
@pytest.mark.parametrize("ref", [".", ".."])
async def test_an_id_that_would_walk_the_path_is_named_and_costs_no_other_run(name: str, ref: str) -> None:
    client, _ = client_of(pages({"runs": [{**RUN, name: ref}, run("r2")], **EDGES}))
    log = await client.activity_log(START, END)
    assert ([r.ref for r in log.runs], log.complete) == (["r2"], False)
    assert f"'{name}' is '{ref}'" in log.problem


async def test_a_definition_whose_id_would_walk_the_path_is_named_and_costs_no_other() -> None:
    client, _ = client_of(pages({"definitions": [{**DEFINITION, "definition_id": ".."}, DEFINITION]}))
    listing = await client.definitions()
    assert ([d.ref for d in listing.items], listing.complete) == (["d1"], False)
    assert "'definition_id' is '..'" in listing.problem


async def test_a_run_is_asked_for_by_its_id_as_it_stands_in_the_log() -> None:
    padded = run(" pad ")
    log: dict[str, Any] = {"runs": [padded], **EDGES}
    client, bench = client_of(lambda r: httpx.Response(200, json=padded if "/runs/" in r.url.path else log))
    (found,) = (await client.console()).runs
    assert (await client.run(found.ref)).ref == " pad "
    assert bench.requests[-1].url.raw_path.endswith(b"/runs/%20pad%20")


async def test_a_time_without_an_offset_is_refused() -> None:
    client, _ = client_of(pages({"runs": [run("r1", started_at="2026-03-01T10:00:00")], **EDGES}))
    log = await client.console()
    assert (log.runs, log.complete) == ((), False) and "no UTC offset" in log.problem


async def test_a_definition_that_cannot_be_read_is_named_and_costs_no_other() -> None:
    nameless = {k: v for k, v in DEFINITION.items() if k != "name"}
    client, _ = client_of(pages({"definitions": [nameless, {**DEFINITION, "definition_id": "d2"}]}))
    listing = await client.definitions()
    assert ([d.ref for d in listing.items], listing.complete) == (["d2"], False)
    assert "'name' is missing" in listing.problem


async def test_a_schedule_without_a_zone_is_one_of_the_account() -> None:
    timing = {"type": "cron", "value": "0 3 * * *"}
    client, _ = client_of(pages({"definitions": [{**DEFINITION, "schedule": timing}]}), time_zone="Asia/Kolkata")
    (definition,) = (await client.definitions()).items
    assert definition.scheduled.schedule.time_zone == "Asia/Kolkata"


def bridge_in(zone: Any, *, status: int = 200, named: str = "") -> Callable[[httpx.Request], httpx.Response]:
    """A bridge that names `zone` as the account's, with a daily job in the zone `named`, if any."""
    timing = {"type": "cron", "value": "0 3 * * *"} | ({"time_zone": named} if named else {})
    definitions = {"definitions": [{**DEFINITION, "schedule": timing}]}

    def remote(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/capabilities"):
            return httpx.Response(status, json={"stop": True, "account_time_zone": zone})
        return httpx.Response(200, json=definitions)

    return remote


async def zones_of(client: DashboardClient) -> list[str]:
    return [d.scheduled.schedule.time_zone for d in (await client.definitions()).items]


async def test_a_schedule_without_a_zone_is_read_in_the_one_that_the_bridge_names_asked_once() -> None:
    client, bench = client_of(bridge_in("Europe/London"), time_zone="America/New_York")
    assert await zones_of(client) == await zones_of(client) == ["Europe/London"]
    assert [r.url.path for r in bench.requests].count("/bridge/v1/capabilities") == 1


async def test_a_schedule_that_names_its_zone_keeps_it() -> None:
    client, bench = client_of(bridge_in("Europe/London", named="Asia/Kolkata"), time_zone="America/New_York")
    assert await zones_of(client) == ["Asia/Kolkata"]
    assert len(bench.requests) == 1


@pytest.mark.parametrize(("zone", "status"), [("Europe/London", 503), (None, 200), ("", 200), ("Mars/Olympus", 200)])
async def test_a_bridge_that_names_no_readable_zone_leaves_that_of_the_settings(zone: str | None, status: int) -> None:
    client, _ = client_of(bridge_in(zone, status=status), time_zone="America/New_York")
    assert await zones_of(client) == ["America/New_York"]


async def test_a_zone_that_could_not_be_read_is_asked_for_again() -> None:
    left = [httpx.Response(401, json={"title": "no", "status": 401})]
    good = bridge_in("Europe/London")
    client, _ = client_of(
        lambda r: left.pop() if left and r.url.path.endswith("/capabilities") else good(r), "America/New_York"
    )
    assert await zones_of(client) == ["America/New_York"]
    assert await zones_of(client) == ["Europe/London"]


async def test_a_definition_becomes_a_schedule_with_its_filters() -> None:
    client, _ = client_of(pages({"definitions": [DEFINITION]}))
    (definition,) = (await client.definitions()).items
    assert definition.scheduled.schedule == Schedule("cron", "0 3 * * *", None, "America/New_York")
    assert (definition.ref, definition.list_ref, definition.sync_mode) == ("d1", 401, "add_remove")
    assert definition.filters == {"primary_only": True, "eaddress_type_id": None}


@pytest.mark.parametrize(
    ("written", "due"),
    [
        ("2026-03-01t10:30:00z", datetime(2026, 3, 1, 10, 30, tzinfo=UTC)),
        ("2026-03-01T11:29:60Z", datetime(2026, 3, 1, 11, 30, tzinfo=UTC)),
        ("2026-03-01T16:30:00", datetime(2026, 3, 1, 11, tzinfo=UTC)),
    ],
)
async def test_the_one_time_of_a_job_is_due_however_rfc_3339_lets_it_be_written(written: str, due: datetime) -> None:
    timing = {"type": "once", "value": written, "time_zone": "Asia/Kolkata"}
    client, _ = client_of(pages({"definitions": [{**DEFINITION, "schedule": timing}]}))
    (definition,) = (await client.definitions()).items
    assert moments(definition.scheduled, START, END) == (due,)


@pytest.mark.requirement("R001.36")
async def test_a_kind_without_a_word_of_its_own_is_listed_as_other_under_its_name() -> None:
    promotion = {**DEFINITION, "definition_id": "p1", "name": "Nightly", "kind": "promotion"}
    client, _ = client_of(pages({"definitions": [DEFINITION, promotion]}))
    listing = await client.definitions()
    (other,) = [d.scheduled for d in listing.items if d.ref == "p1"]
    assert (other.kind, other.name, listing.complete) == ("other", "Nightly (promotion)", True)


async def test_what_a_bridge_does_not_say_it_cannot_do() -> None:
    client, _ = client_of(lambda r: httpx.Response(200, json={"stop": True}))
    can = await client.capabilities()
    assert (can.stop, can.run_now, can.imports, can.log_retention_days) == (True, False, False, None)


async def test_every_request_keeps_to_the_contract() -> None:
    """Each request is valid against the project's copy of the contract, and so is the reply that it was given."""
    contract = Contract(yaml.safe_load(CONTRACT.read_text(encoding="utf-8")), "https://bridge.example/bridge/v1")
    replies: dict[tuple[str, str], tuple[int, Any]] = {
        ("GET", "/capabilities"): (200, {"stop": True}),
        ("GET", "/definitions"): (200, {"definitions": [DEFINITION]}),
        ("GET", "/activity-log"): (200, {"runs": [RUN], **EDGES}),
        ("GET", "/console"): (200, {"runs": [], **EDGES}),
        ("GET", "/runs/r1"): (200, RUN),
        ("GET", "/runs/r1/report"): (200, {"run_id": "r1", "rows": [{"row": 1, "email": None, "message": "x"}]}),
        ("POST", "/runs/r1/stop"): (202, {"result": "accepted"}),
        ("POST", "/runs/r1/reprocess"): (202, {"run_id": "r2"}),
        ("POST", "/definitions/d1/run-now"): (202, {"run_id": "r2"}),
        ("POST", "/definitions/d1/repeat"): (202, {"run_id": "r2"}),
        ("POST", "/imports"): (202, {"run_id": "r2"}),
    }
    checked: set[tuple[str, str]] = set()

    def remote(request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/bridge/v1")
        status, body = replies[request.method, path]
        checked.add((request.method, path))
        given = httpx.Response(status, json=body, request=request)
        contract.check(given)
        return given

    client, bench = client_of(remote)
    await client.capabilities()
    await client.definitions()
    await client.activity_log(START, END)
    await client.console()
    await client.run("r1")
    await client.report("r1")
    for result in (
        await client.stop_run("r1", bench.attempt()),
        await client.reprocess("r1", bench.attempt()),
        await client.run_now("d1", bench.attempt()),
        await client.repeat("d1", bench.attempt()),
        await client.import_list(401, ["t"], {"primary_only": True, "eaddress_type_id": None}, True, bench.attempt()),
    ):
        assert result.exchange is not None
        assert result.detail == "" or "accepted" in result.detail
    assert checked == set(replies)


async def test_what_a_failed_row_says_names_no_address() -> None:
    """It is shown in reports and tickets, where recipients' addresses have no place; the number of the row stays."""
    rows = [{"row": 3, "constituent_id": 7103, "email": "ann@example.org", "message": "Ann@Example.org is not valid"}]
    client, _ = client_of(lambda _: httpx.Response(200, json={"run_id": "r1", "rows": rows}))
    (row,) = await client.report("r1")
    assert (row.row, row.constituent_ref) == (3, 7103)
    assert "example" not in row.message.lower() and "is not valid" in row.message


def test_the_projects_copy_is_the_agreed_contract() -> None:
    agreed = ROOT.parent / "shared" / "contracts" / "dashboard.openapi.yaml"
    if not agreed.exists():
        pytest.skip("../shared/contracts is not here to compare with")
    assert CONTRACT.read_bytes() == agreed.read_bytes()
