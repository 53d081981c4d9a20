"""The same recovery through a deployment: a real Prefect server and worker, against the sandbox on real sockets."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import yaml

from .browser import MISSING, SHOTS, Pages, opened
from .conftest import BIN, REPOSITORY, Estate, Server, wait_until
from .notices import Notices

pytestmark = pytest.mark.timeout(600)

DEPLOYMENTS = {"audit", "recover", "approve", "reject", "answer", "watch", "announce", "task", "case", "case-step"}
BLOCK = """
import asyncio, sys
from prefect.blocks.notifications import CustomWebhookNotificationBlock as Webhook
from flows.automate import automate

text = {"subject": "{{subject}}", "body": "{{body}}"}
Webhook(name="tests", url=sys.argv[1], json_data=text).save("allclear", overwrite=True)
for _ in range(2):
    asyncio.run(automate())
"""


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
def pages(server: Server) -> Iterator[Pages | None]:
    """The server's own pages in a browser; None where there is none, and then the runs are started over REST."""
    with opened(server.port, (server.home / "login").read_text().strip(), server.api) as window:
        yield window


@pytest.fixture(scope="module")
def planned(server: Server, estate: Estate, pages: Pages | None, outage_over: dict[str, Any]) -> dict[str, Any]:
    """A run of the deployment that only plans: the outage chosen in the form, everything else left as it is."""
    if pages is None:
        run = server.api.start("recover/recover", outage=estate.window, how={"dry_run": True})
    else:
        pages.form("recover/recover", "Dry run")
        pages.choose_moment(0, estate.window["start"])
        pages.choose_moment(1, estate.window["end"])
        run = pages.submit("recover")
    return {**server.api.finished(run), "judged": estate.judged()}


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
def notices(server: Server) -> Iterator[Notices]:
    """Where the server's notices arrive: a webhook of ours, put into a block as an operator would."""
    with Notices() as taken:
        done = subprocess.run(
            [sys.executable, "-c", BLOCK, taken.url],
            env=server.client_environment(),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "left out" not in done.stdout
        yield taken


@pytest.fixture(scope="module")
def held(
    server: Server,
    estate: Estate,
    pages: Pages | None,
    planned: dict[str, Any],
    digest: str,
    refused: str,
    notices: Notices,
) -> dict[str, Any]:
    """The plan, approved and started by two people, while the policy lets fewer people be reached in one run."""
    if pages is None:
        consent = {"plan": digest, "approved_by": "Dana Reyes", "recipients": 1200, "caveat_read": True}
        approval = server.api.start("approve/approve", approval=consent)
    else:
        pages.artifact(
            planned["id"], "plan-report", "ready to recover", "1,200", "Why not to", "vendor cannot guarantee"
        )
        pages.follow("approve this plan", "Reason")
        pages.fill("Your name", "Dana Reyes")
        pages.fill("Recipients", "1200")
        pages.switch("I have read the vendor's caveat")
        approval = pages.submit("approve")
    approved = server.api.finished(approval)
    assert approved["state_type"] == "COMPLETED", approved["state"]
    said, following = approved["state"]["message"].split(". ")
    assert said == f"Dana Reyes approves plan {digest} (1200 recipients)"
    assert following == "The plan is approved; somebody other than Dana Reyes starts it."
    with estate.fewer_recipients_a_run(1000):
        if pages is None:
            how = {"plan": digest, "dry_run": False, "started_by": "Sam Okafor"}
            return server.api.run("recover/recover", outage={}, how=how)
        pages.artifact(planned["id"], "plan-report", "ready to recover")
        pages.follow("run it, once it is approved", "Dry run")
        pages.fill("Your name", "Sam Okafor")
        run = pages.submit("run")
        pages.watch(run, "Held")
        return server.api.finished(run)


@pytest.fixture(scope="module")
def recovered(server: Server, pages: Pages | None, held: dict[str, Any], digest: str) -> dict[str, Any]:
    """The held item answered, and the same plan run again under the policy as it was."""
    if pages is None:
        (item,) = held_keys(server, held)
        given = {"item": item, "choice": "wait", "answered_by": "Lee", "reason": "the limit is raised"}
        answered = server.api.run("answer/answer", given=given)
        assert answered["state_type"] == "COMPLETED", answered["state"]
        how = {"plan": digest, "dry_run": False, "started_by": "Sam Okafor"}
        return server.api.run("recover/recover", outage={}, how=how)
    pages.artifact(held["id"], "recovery-report", "recipients in one run")
    pages.follow("answer", "Reason")
    pages.fill("Your name", "Lee")
    pages.fill("Reason", "the limit is raised")
    answered = server.api.finished(pages.submit("answer"))
    assert answered["state"]["message"] == "It stays held."
    pages.artifact(held["id"], "recovery-report", "recipients in one run")
    pages.follow("run the plan again", "Dry run")
    pages.fill("Your name", "Sam Okafor")
    run = pages.submit("run-again")
    pages.watch(run, "All clear")
    return server.api.finished(run)


def held_keys(server: Server, run: dict[str, Any]) -> list[str]:
    rows = json.loads(server.api.artifacts(run["id"])["recovery-items"]["data"])
    return [r["key"] for r in rows if r["outcome"] == "held"]


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


def test_a_run_that_is_refused_ends_with_a_sentence_and_what_to_do_and_logs_no_trace(
    server: Server, refused: str
) -> None:
    """Nothing is broken, so whoever reads the run or its log needs the next step and no program lines."""
    said = "The plan has caveats that were not acknowledged. Read them, then approve with the caveat."
    assert server.api.finished(refused)["state"]["message"] == said
    logged = wait_until("the log's end", 30, lambda: [t for t in server.api.logs(refused) if said in t])
    assert not [text for text in server.api.logs(refused) if "Traceback" in text], logged


def test_a_held_item_is_announced_once(server: Server, held: dict[str, Any], notices: Notices) -> None:
    assert (held["state_type"], held["state"]["name"]) == ("COMPLETED", "Held")
    (item,) = held_keys(server, held)
    assert wait_until("a notice", 60, lambda: notices.told) == [{"subject": "An item is held", "item": item}]


def test_an_approved_plan_recovers_through_the_worker_once(estate: Estate, recovered: dict[str, Any]) -> None:
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
    assert {tuple(r["parameters"]["outage"].items()) for r in runs} == {(("last_hours", 2), ("catch_up", True))}


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
    assert {d["name"] for d in deployments} == DEPLOYMENTS
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
    """A server too busy to take the run within ten seconds is left out, so it may need a second calling."""
    where = ["--start", estate.window["start"], "--end", estate.window["end"], "--config", str(estate.config)]
    for _ in range(3):
        done = subprocess.run(
            [BIN / "allclear", "recover", *where, "--json"],
            env=server.client_environment(),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        if not any(words in done.stderr for words in ("does not answer within", "no answer within", "nothing but 503")):
            break
    assert "recorded" not in done.stderr
    (run,) = server.api.runs(tags={"all_": ["terminal"]})
    assert (run["state_type"], run["state"]["name"]) == ("COMPLETED", "All clear")


def test_putting_the_automations_on_the_server_again_makes_no_second_one(server: Server, notices: Notices) -> None:
    names = [a["name"] for a in server.api.post("/automations/filter", {})]
    assert "allclear ends abandoned runs" in names
    assert len(names) == len(set(names)) == 6


def test_an_automation_that_is_switched_off_on_the_pages_stays_off(server: Server, planned: dict[str, Any]) -> None:
    """`make server` is repeated after every restart; Prefect's own triggers of a deployment would be on again."""

    def audit_after_outage() -> dict[str, Any]:
        known = server.api.post("/automations/filter", {})
        (found,) = [a for a in known if a["name"] == "allclear audit after an outage"]
        return dict(found)

    def switch(enabled: bool) -> None:
        server.api.send("PATCH", f"/automations/{audit_after_outage()['id']}", {"enabled": enabled})

    switch(False)
    command = [sys.executable, "-m", "flows.automate"]
    try:
        subprocess.run(command, env=server.client_environment(), cwd=REPOSITORY, check=True, capture_output=True)
        assert not audit_after_outage()["enabled"]
    finally:
        switch(True)
    deployments = yaml.safe_load((REPOSITORY / "prefect.yaml").read_text())["deployments"]
    assert not [d["name"] for d in deployments if "triggers" in d]


def test_only_runs_of_our_pool_are_ended_when_their_process_is_gone(server: Server) -> None:
    """The process of a run in another pool may be a container, or stand on another machine."""
    server.api.post("/work_pools/", {"name": "elsewhere", "type": "process"})
    flow = server.api.post("/flows/", {"name": "somebody-s"})["id"]

    def left_running(pool: str) -> str:
        state = {"type": "RUNNING", "name": "Running"}
        run = server.api.post("/flow_runs/", {"flow_id": flow, "work_pool_name": pool, "state": state})["id"]
        server.api.send("PATCH", f"/flow_runs/{run}", {"infrastructure_pid": "nowhere:1"})
        return str(run)

    ours, other = left_running("allclear"), left_running("elsewhere")
    command = [sys.executable, "-m", "flows.settle", "allclear", f"allclear-{socket.gethostname()}"]
    subprocess.run(command, env=server.client_environment(), cwd=REPOSITORY, check=True, capture_output=True)
    assert server.api.get(f"/flow_runs/{ours}")["state"]["name"] == "Abandoned"
    assert server.api.get(f"/flow_runs/{other}")["state"]["name"] == "Running"


def test_a_round_of_watching_runs_by_itself_every_minute(server: Server) -> None:
    watch = server.api.deployment("watch/watch")["id"]

    def ended() -> list[dict[str, Any]]:
        runs = server.api.runs(deployment_id={"any_": [watch]}, state={"type": {"any_": ["COMPLETED", "FAILED"]}})
        return [r for r in runs if r["auto_scheduled"]]

    run = wait_until("a round", 120, ended)[0]
    assert (run["state_type"], run["state"]["name"]) == ("COMPLETED", "All clear"), run["state"]
    assert {"watch-items", "watch-report"} <= set(server.api.artifacts(run["id"]))


@pytest.mark.requirement("R001.39")
def test_the_pages_lead_from_the_form_to_the_end(pages: Pages | None, recovered: dict[str, Any], digest: str) -> None:
    """What a person reads in the browser, page by page; the pictures stay under out/prefect."""
    if pages is None:
        pytest.skip(MISSING)
    pages.artifact(recovered["id"], "recovery-items", "Autumn gala", "confirmed")
    pages.artifact(recovered["id"], "recovery-balance", "It adds up.")
    pages.artifact(recovered["id"], "recovery-report", "All clear", "none sent twice")
    taken = [name.removesuffix(".png").split("-", 1)[1] for name in pages.taken]
    assert {"recover-form", "plan-report", "approve-form", "run-held", "answer-form", "run-all-clear"} <= set(taken)
    assert all((SHOTS / name).stat().st_size > 10_000 for name in pages.taken)
