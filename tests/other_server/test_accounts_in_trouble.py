"""One customer's remote is mute or answers nonsense: the others are audited as if it were not there."""

import asyncio
from types import SimpleNamespace

import pytest
from starlette.responses import HTMLResponse, JSONResponse

from tests.cli.program import allclear
from tests.other_server.bridge import ALL, Bridge
from tests.other_server.town import END, START, Maker, _job, _once, _run, at, served, write_config

V1_CALLS = []


async def hang(_request):
    await asyncio.sleep(3600)


async def hang_in_v1(request):
    if "api.php" not in request.url.path:
        return None
    V1_CALLS.append(str(request.url))
    return await hang(request)


async def page(_request):
    return HTMLResponse("<html><title>Maintenance</title></html>", 200)


async def expired(_request):
    return JSONResponse({"message": "token expired"}, 401)


async def no_log(request):
    return JSONResponse({"title": "no", "status": 403}, 403) if "activity-log" in request.url.path else None


async def half_a_list(request):
    """The first page of campaigns is good; the second never comes whole."""
    if "campaigns" in request.url.path and request.query_params.get("offset", "0") != "0":
        return HTMLResponse("<html>", 200)
    return None


TROUBLE = {
    "well": {},
    "mute": {"pro2": hang},
    "v1mute": {"pro2": hang_in_v1},
    "page": {"pro2": page},
    "expired": {"pro2": expired, "bridge": expired},
    "barred": {"bridge": no_log},
    "broken": {"pro2": half_a_list},
    "oddrun": {},
}


def build(town):
    for name, trouble in TROUBLE.items():
        bridge = Bridge(f"key-{name}", town.clock, dict(ALL))
        _job(bridge, "imp", "integrated_import", _once("05:00"))
        _job(bridge, "later", "integrated_import", _once("08:00"))
        _run(bridge, "1", "later", "succeeded", "08:00")
        if name == "oddrun":
            _run(bridge, "2", "later", None, "08:30")
        make = Maker(
            town.add(name, "Europe/Paris", "", bridge=bridge, trouble=trouble), range(1, 5), {"1": range(1, 4)}
        )
        for n in range(1, 120 if name in ("v1mute", "broken") else 2):
            make.sent(n, f"Sent {n}", at("05:00"))
        make.campaign(900, "Missed", "1", at("05:00"))


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trouble")
    V1_CALLS.clear()
    with served(build) as town:
        env = {"ALLCLEAR_CONFIG": str(write_config(town, folder, "read_seconds = 0.8"))}
        window = ("--start", START.isoformat(), "--end", END.isoformat(), "--json")
        audit = allclear("audit", *window, **env).json
        yield SimpleNamespace(audit=audit, asked=len(V1_CALLS))


def slots(night, account):
    return {s["object"]: (s["verdict"], s["code"]) for s in night.audit["slots"] if s["account"] == account}


def test_the_healthy_account_is_audited_whole(night):
    found = slots(night, "well")
    assert found["900"] == ("missed", "pending_send") and found["imp"] == ("missed", "no_activity")


@pytest.mark.requirement("R001.7")
@pytest.mark.parametrize("account", ["mute", "page", "expired", "broken"])
def test_a_list_of_campaigns_that_cannot_be_read_is_one_uncertain_finding_with_the_reason(night, account):
    assert slots(night, account)["-"] == ("uncertain", "unreadable")
    problems = next(a["problems"] for a in night.audit["accounts"] if a["name"] == account)
    assert problems and account in problems[0]


def test_what_was_read_before_the_list_broke_off_is_still_judged(night):
    assert slots(night, "broken")["1"] == ("done", "sent")


@pytest.mark.parametrize("account", ["mute", "page", "v1mute", "broken"])
def test_the_other_system_of_an_account_in_trouble_is_still_judged(night, account):
    assert slots(night, account)["imp"] == ("missed", "no_activity")


@pytest.mark.requirement("R001.20")
def test_one_barred_endpoint_makes_uncertain_what_depends_on_it_and_nothing_else(night):
    found = slots(night, "barred")
    assert found["imp"] == ("uncertain", "unreadable") and found["900"] == ("missed", "pending_send")


def test_one_run_that_cannot_be_read_costs_absence_its_proof_and_no_other_run(night):
    found = slots(night, "oddrun")
    assert found["imp"] == ("uncertain", "log_incomplete") and found["later"] == ("done", "succeeded")


def test_a_report_service_that_hangs_is_given_up_after_a_few_questions(night):
    found = slots(night, "v1mute")
    assert {found[str(n)] for n in range(1, 120)} == {("uncertain", "unreadable")}
    assert night.asked <= 64, "every campaign was waited for"
