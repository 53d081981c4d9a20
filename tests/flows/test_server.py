"""The same recovery through a deployment: a real Prefect server and worker, against the sandbox on real sockets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from .conftest import BIN, REPOSITORY, Estate, Server, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def outage_over(server: Server, estate: Estate) -> dict[str, Any]:
    """The window that a monitor named when it told, twice, that the outage was over."""
    window = {**estate.window, "accounts": ["harbor"], "incident": "rehearsal-7"}
    event = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, "rehearsal-7")),
        "event": "outage.resolved",
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {"prefect.resource.id": "outage.pro2"},
        "payload": {"window": window},
    }
    for _ in range(2):
        server.api.post("/events", [event])
    return window


@pytest.fixture(scope="module")
def planned(server: Server, estate: Estate, outage_over: dict[str, Any]) -> dict[str, Any]:
    """A run of the deployment that only plans."""
    run = server.api.run("recover/recover", outage=estate.window, how={"dry_run": True})
    return {**run, "judged": estate.judged()}


@pytest.fixture(scope="module")
def digest(planned: dict[str, Any]) -> str:
    found = re.search(r"Plan ([0-9a-f]{12})", planned["state"]["message"])
    assert found, planned["state"]
    return found[1]


@pytest.fixture(scope="module")
def refused(server: Server, digest: str) -> str:
    """An approval that must end with a sentence; started beside the others, since each run is a process of its own."""
    wrong = {"plan": digest, "approved_by": "Dana Reyes", "recipients": 1200, "caveat_read": False}
    return server.api.start("approve/approve", approval=wrong)


@pytest.fixture(scope="module")
def recovered(server: Server, digest: str, refused: str) -> dict[str, Any]:
    """The approved plan, run through the worker."""
    consent = {"plan": digest, "approved_by": "Dana Reyes", "recipients": 1200, "caveat_read": True}
    approved = server.api.run("approve/approve", approval=consent)
    assert approved["state_type"] == "COMPLETED", approved["state"]
    how = {"plan": digest, "dry_run": False, "started_by": "Sam Okafor"}
    return server.api.run("recover/recover", outage={}, how=how)


@pytest.mark.requirement("R001.39")
def test_a_dry_run_ends_with_a_plan_to_decide_from_and_changes_nothing(
    server: Server, estate: Estate, planned: dict[str, Any]
) -> None:
    assert (planned["state_type"], planned["state"]["name"]) == ("COMPLETED", "Awaiting approval")
    shown = server.api.artifacts(planned["id"])
    assert {"plan-items", "plan-report", "audit-progress"} <= set(shown)
    (row,) = [r for r in json.loads(shown["plan-items"]["data"]) if r["remedy"] == "resend"]
    assert (row["name"], row["recipients"]) == ("Autumn gala", 1200)
    assert "original campaign" in row["why not"], "the vendor's caveat stands beside the item"
    assert planned["judged"]["numbers"]["copies"] == planned["judged"]["numbers"]["tickets"] == 0


@pytest.mark.requirement("R001.13")
def test_an_approval_that_does_not_acknowledge_the_caveat_is_refused(server: Server, refused: str) -> None:
    ended = server.api.finished(refused)
    assert ended["state_type"] == "FAILED"
    assert "caveats that were not acknowledged" in ended["state"]["message"]


def test_an_approved_plan_recovers_through_the_worker_once(
    server: Server, estate: Estate, recovered: dict[str, Any], digest: str
) -> None:
    assert (recovered["state_type"], recovered["state"]["name"]) == ("COMPLETED", "All clear")
    assert "1 recovered" in recovered["state"]["message"]
    judged = estate.judged()
    assert judged["clean"], judged["complaints"]
    assert {k: judged["numbers"][k] for k in ("misses_with_effect", "copies", "tickets", "notices")} == {
        "misses_with_effect": 1,
        "copies": 1,
        "tickets": 1,
        "notices": 1,
    }
    again = server.api.run("recover/recover", outage={}, how={"plan": digest, "dry_run": False})
    assert again["state_type"] == "COMPLETED"
    assert estate.judged() == judged, "a second run of the same plan sends and files nothing"


@pytest.mark.requirement("R001.39")
def test_a_recovery_shows_its_items_balance_report_ticket_and_progress(
    server: Server, recovered: dict[str, Any]
) -> None:
    shown = server.api.artifacts(recovered["id"])
    (row,) = [r for r in json.loads(shown["recovery-items"]["data"]) if r["name"] == "Autumn gala"]
    assert row["outcome"] == "confirmed"
    assert "It adds up." in shown["recovery-balance"]["data"]
    assert shown["recovery-report"]["data"].startswith("# ✅ All clear")
    assert shown["recovery-ticket"]["data"].startswith("[")
    assert shown["recovery-progress"]["data"] == 100.0


def test_each_account_is_audited_in_a_task_run_of_its_own(server: Server, planned: dict[str, Any]) -> None:
    assert wait_until("task runs", 60, lambda: server.api.tasks(planned["id"])) == ["audit harbor"]


def test_a_scheduled_audit_appears_by_itself(server: Server) -> None:
    """With an unpinned SQLAlchemy the server starts and runs work, but its scheduler never makes a run."""
    audit = server.api.deployment("audit/audit")["id"]

    def scheduled() -> list[dict[str, Any]]:
        return [r for r in server.api.runs(deployment_id={"any_": [audit]}) if r["auto_scheduled"]]

    runs = wait_until("a scheduled run", 90, scheduled)
    assert {tuple(r["parameters"]["outage"].items()) for r in runs} == {(("last_hours", 2),)}


@pytest.mark.requirement("R001.1")
def test_an_outage_that_is_over_starts_one_audit_with_its_typed_window(
    server: Server, outage_over: dict[str, Any]
) -> None:
    def started() -> list[dict[str, Any]]:
        runs = server.api.runs(deployment_id={"any_": [server.api.deployment("audit/audit")["id"]]})
        return [r for r in runs if not r["auto_scheduled"]]

    (run,) = wait_until("an audit", 60, started)
    assert run["parameters"]["outage"] == outage_over
    done = server.api.finished(run["id"])
    assert (done["state_type"], done["state"]["name"]) == ("COMPLETED", "Findings")
    assert done["state"]["message"].startswith("Audit of rehearsal-7: ")
    assert len(started()) == 1, "the same event twice is one event"


def test_a_plan_that_is_ready_is_announced_with_its_numbers(server: Server, planned: dict[str, Any]) -> None:
    ready = wait_until("the event", 30, lambda: server.api.events("allclear.plan.ready"))
    assert [e["payload"]["recipients"] for e in ready] == [1200]


def test_every_field_of_every_form_says_what_it_is_and_none_asks_for_a_secret(server: Server) -> None:
    deployments = server.api.post("/deployments/filter", {})
    assert {"audit", "recover", "approve", "answer"} <= {d["name"] for d in deployments}
    for deployment in deployments:
        schema = deployment["parameter_openapi_schema"]
        assert all(parameter["description"] for parameter in schema["properties"].values())
        for form in schema["definitions"].values():
            for field, about in form["properties"].items():
                where = f"{deployment['name']}: {field}"
                assert about["title"], where
                assert about["description"], where
                assert field in form.get("required", []) or "default" in about, where
                assert not re.search("secret|token|password|key", field, re.IGNORECASE), where
                assert about.get("format") != "password", where


def test_the_server_asks_for_its_login_and_refuses_forged_and_foreign_requests(server: Server) -> None:
    assert httpx.get(f"{server.url}/deployments/name/recover/recover", trust_env=False).status_code == 401
    login = tuple((server.home / "login").read_text().strip().split(":", 1))
    forged = httpx.post(f"{server.url}/flows/", json={"name": "x"}, auth=login, trust_env=False)
    assert forged.status_code == 403
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    preflight = httpx.options(f"{server.url}/flows/filter", headers=asked, trust_env=False)
    assert "access-control-allow-origin" not in preflight.headers
    assert (server.home / "login").stat().st_mode & 0o777 == 0o600
    assert (server.home / "block.key").stat().st_mode & 0o777 == 0o600


def test_a_recovery_at_the_terminal_is_recorded_on_the_server(
    server: Server, estate: Estate, recovered: dict[str, Any]
) -> None:
    where = ["--start", estate.window["start"], "--end", estate.window["end"], "--config", str(estate.config)]
    done = subprocess.run(
        [BIN / "allclear", "recover", *where, "--json"],
        env=server.client_environment(),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "recorded" not in done.stderr
    (run,) = server.api.runs(tags={"all_": ["terminal"]})
    assert (run["state_type"], run["state"]["name"]) == ("COMPLETED", "All clear")


def test_putting_the_automations_on_the_server_again_makes_no_second_one(server: Server) -> None:
    def names() -> list[str]:
        return sorted(a["name"] for a in server.api.post("/automations/filter", {}))

    before = names()
    assert "allclear ends abandoned runs" in before
    again = [sys.executable, "-m", "flows.automate"]
    subprocess.run(again, env=server.client_environment(), cwd=REPOSITORY, capture_output=True, check=True)
    assert names() == before
