"""A bridge that uses the contract's freedom: every time of a run and every count may be absent, and its log may lag.

Each account is one case; a run or a lag that is to come between the audit and the start comes as the recipe asks what
the dashboard can do, which is the last thing it asks before it reads the logs.
"""

from types import SimpleNamespace

import pytest
from starlette.responses import JSONResponse

from tests.cli.program import allclear
from tests.other_server.bridge import ALL, Bridge
from tests.other_server.town import END, START, Maker, _job, _once, _run, at, served, write_config

CASES = {}


def case(build):
    CASES[build.__name__] = build
    return build


def bare(bridge, ref, definition, state, by="schedule", **times):
    named = {k: at(v).isoformat() for k, v in times.items()}
    bridge.runs.append({"run_id": ref, "definition_id": definition, "requested_by": by, "state": state, **named})


class MovingBridge(Bridge):
    """Something happens as the recipe, after the plan was made, asks for its capabilities."""

    meanwhile = None
    planned = False

    def _read(self, request, parts):
        if parts == ["capabilities"] and self.planned and self.meanwhile is not None:
            self.meanwhile, happens = None, self.meanwhile
            happens(self)
        return super()._read(request, parts)


@case
def ended(b):
    """The trigger's run succeeded; its row names its end alone."""
    _job(b, "job", "scheduled_trigger", _once("05:00"))
    bare(b, "r", "job", "succeeded", ended_at="05:04")


@case
def early(b):
    """Its clock says the run began some seconds before it was due."""
    _job(b, "job", "scheduled_trigger", _once("05:30"))
    bare(b, "r", "job", "succeeded", started_at="05:29", ended_at="05:31")
    b.runs[-1]["started_at"] = at("05:29").replace(second=55).isoformat()


@case
def nowhere(b):
    """A run of the trigger succeeded, and nothing says when."""
    _job(b, "job", "scheduled_trigger", _once("05:00"))
    bare(b, "r", "job", "succeeded")


@case
def queued(b):
    _job(b, "job", "integrated_import", _once("05:00"))
    bare(b, "r", "job", "queued")


@case
def no_longer_due(b):
    """Nothing of the definition was due, and a run of it failed at a time that nobody knows."""
    _job(b, "job", "integrated_import", {"type": "manual"})
    bare(b, "r", "job", "failed")


@case
def by_hand_before(b):
    """Somebody ran the import before it was due; the row names the end alone."""
    _job(b, "job", "integrated_import", _once("05:00"))
    bare(b, "r", "job", "succeeded", by="user", ended_at="03:30")


@case
def by_hand_nowhere(b):
    _job(b, "job", "integrated_import", _once("05:00"))
    bare(b, "r", "job", "succeeded", by="user")


@case
def lagging(b):
    """The log is complete for the slot, yet not for the hours in which the platform may have caught up."""
    _job(b, "job", "scheduled_trigger", _once("05:00"))
    b.covers_to = at("05:20")


@case
def lags_as_usual(b):
    _job(b, "job", "scheduled_trigger", _once("05:00"))
    b.covers_to = at("11:57")


@case
def lags_at_the_start(b):
    _job(b, "job", "scheduled_trigger", _once("05:00"))
    b.meanwhile = lambda b: setattr(b, "covers_to", at("05:20"))


@case
def came_by_itself(b):
    """Its own run comes in the backlog after the plan, and does not say what it was for."""
    _job(b, "job", "scheduled_trigger", _once("05:00"))
    b.meanwhile = lambda b: bare(b, "own", "job", "succeeded", started_at="11:59", ended_at="11:59")


@case
def came_or_not(b):
    _job(b, "job", "scheduled_trigger", _once("05:00"))
    b.meanwhile = lambda b: bare(b, "own", "job", "succeeded")


@case
def hourly(b):
    """A run succeeded after the plan: the late one of 05:00, or the regular one of 11:00?"""
    _job(b, "job", "scheduled_trigger", {"type": "cron", "value": "0 5,11 * * *", "time_zone": "UTC"})
    b.meanwhile = lambda b: bare(b, "own", "job", "succeeded", started_at="11:59", ended_at="11:59")


@case
def hourly_told(b):
    """Whoever approved it has read that the regular run of 11:00 succeeded."""
    _job(b, "job", "scheduled_trigger", {"type": "cron", "value": "0 5,11 * * *", "time_zone": "UTC"})
    bare(b, "next", "job", "succeeded", started_at="11:00", ended_at="11:04")


@case
def repeated_in_vain(b):
    _job(b, "job", "integrated_import", _once("05:00"))
    _run(b, "r0", "job", "failed", "05:00")
    _run(b, "r1", "job", "failed", "10:00", requested_by="repeat", scheduled_for=None)
    _run(b, "r2", "job", "failed", "11:30", requested_by="repeat", scheduled_for=None)


@case
def colleague_fails(b):
    """A colleague repeats it after the plan, and that fails."""
    _job(b, "job", "integrated_import", _once("05:00"))
    b.meanwhile = lambda b: bare(b, "hers", "job", "failed", by="repeat", started_at="11:59", ended_at="11:59")


@case
def uncounted(b):
    _job(b, "job", "integrated_import", _once("05:00"))
    b.shows_counts = False


@case
def silent(b):
    """What its dashboard can do cannot be read."""
    _job(b, "job", "integrated_import", _once("05:00"))


async def no_capabilities(request):
    return JSONResponse({"title": "busy", "status": 400}, 400) if "capabilities" in request.url.path else None


def build(town):
    for name, fill in CASES.items():
        bridge = MovingBridge(f"key-{name}", town.clock, dict(ALL))
        trouble = {"bridge": no_capabilities} if name == "silent" else {}
        Maker(town.add(name, "Europe/Paris", "", bridge=bridge, trouble=trouble), range(1, 3), {"1": range(1, 3)})
        _job(bridge, "later", "integrated_import", _once("08:00"))
        _run(bridge, "h", "later", "succeeded", "08:00")
        fill(bridge)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("freedom")
    with served(build) as town:
        env = {"ALLCLEAR_CONFIG": str(write_config(town, folder))}
        window = ("--start", START.isoformat(), "--end", END.isoformat())
        audit = allclear("audit", *window, "--json", **env).json
        plan = allclear("plan", *window, "--json", **env).json
        approval = ("--by", "Dana Reyes", "--recipients", str(plan["recipients"]), "--accept-caveat")
        allclear("approve", plan["digest"], *approval, "--json", **env)
        for name in CASES:
            town.bridge(name).planned = True
        run = allclear("recover", "--plan", plan["digest"], "--by", "Sam Okafor", "--json", **env).json
        yield SimpleNamespace(town=town, audit=audit, plan=plan, run=run)


def heard(night, account):
    return next(
        (s["verdict"], s["code"]) for s in night.audit["slots"] if (s["account"], s["object"]) == (account, "job")
    )


def item(night, account):
    return next(i for i in night.run["items"] if (i["account"], i["object"]) == (account, "job"))


@pytest.mark.requirement("R001.16", "R001.20")
@pytest.mark.parametrize(
    ("account", "said"),
    [
        ("ended", ("done", "succeeded")),
        ("early", ("done", "succeeded")),
        ("nowhere", ("uncertain", "log_incomplete")),
        ("queued", ("uncertain", "in_progress")),
        ("no_longer_due", ("uncertain", "log_incomplete")),
        ("by_hand_before", ("missed", "no_activity")),
        ("by_hand_nowhere", ("uncertain", "log_incomplete")),
        ("lagging", ("uncertain", "log_incomplete")),
        ("lags_as_usual", ("missed", "no_activity")),
        ("silent", ("missed", "no_activity")),
    ],
)
def test_what_a_row_does_not_name_is_never_taken_for_an_absence(night, account, said):
    assert heard(night, account) == said


@pytest.mark.requirement("R001.32", "R001.35")
@pytest.mark.parametrize(
    ("account", "outcome", "words"),
    [
        ("nowhere", "held", "when run r (schedule, succeeded) was is not known"),
        ("queued", "held", "nothing tells since when"),
        ("by_hand_nowhere", "held", "when run r (user, succeeded) was is not known"),
        ("lagging", "held", "complete until"),
        ("lags_at_the_start", "held", "complete until"),
        ("came_by_itself", "skipped", "did the work by itself"),
        ("came_or_not", "held", "When run own (succeeded) was is not known"),
        ("hourly", "held", "which due time it was for"),
        ("colleague_fails", "held", "which someone else started, ended as failed"),
    ],
)
def test_whatever_may_have_been_the_jobs_own_run_keeps_it_from_being_started(night, account, outcome, words):
    row = item(night, account)
    assert row["outcome"] == outcome and words in row["reason"]
    assert night.town.bridge(account).writes == []


@pytest.mark.requirement("R001.32", "R001.33")
@pytest.mark.parametrize("account", ["by_hand_before", "lags_as_usual", "hourly_told", "repeated_in_vain", "uncounted"])
def test_what_is_known_not_to_have_run_is_started_once(night, account):
    assert item(night, account)["outcome"] == "confirmed"
    assert len(night.town.bridge(account).writes) == 1


def test_of_two_repeats_that_failed_the_newer_one_is_run_again(night):
    assert "run r2 failed" in next(i["reason"] for i in night.plan["items"] if i["account"] == "repeated_in_vain")


def test_counts_that_are_absent_are_not_spoken_of(night):
    assert item(night, "uncounted")["reason"].endswith("succeeded")


@pytest.mark.requirement("R001.38")
def test_rights_that_cannot_be_read_are_a_problem_and_not_a_missing_right(night):
    planned = next(i for i in night.plan["items"] if (i["account"], i["object"]) == ("silent", "job"))
    problems = next(a["problems"] for a in night.audit["accounts"] if a["name"] == "silent")
    assert planned["remedy"] == "repeat_import" and "could not be read" in problems[0]
    assert item(night, "silent")["outcome"] == "held" and night.town.bridge("silent").writes == []


def test_the_balance_adds_up(night):
    assert night.run["balance"]["adds_up"] and night.run["balance"]["doubles"] == 0
