"""Campaigns that name neither `sdate` nor `scheduleddate`: whatever the outage may have held is asked about."""

from types import SimpleNamespace

import pytest

from tests.cli.program import allclear
from tests.other_server.town import END, START, Maker, at, served, write_config

BEFORE, WITHIN, AFTER = at("20:00", 13), at("05:00"), at("10:00")


def build(town):
    pro2 = town.add("house", "Europe/Paris", "")
    make = Maker(pro2, range(1, 31), {"1": range(1, 31)})

    def campaign(ref, status, changed=WITHIN, made=BEFORE, **more):
        times = {"mdate": changed and pro2.stamp(changed), "cdate": made and pro2.stamp(made)}
        make.campaign(ref, f"Campaign {ref}", status, None, **times, **more)

    campaign(1, "2")
    campaign(2, "5")
    campaign(3, "7")
    campaign(4, "2", send_amt="10", total_amt="60")
    campaign(5, "1")
    campaign(6, "5", changed=None, made=None)
    campaign(7, "2", changed=BEFORE)  # sending began before, and has not ended
    campaign(8, "5", changed=AFTER)
    campaign(9, "5", type="split")
    campaign(20, "5", send_amt="40", total_amt="40")
    campaign(30, "5", changed=BEFORE)
    campaign(31, "7", changed=BEFORE)
    campaign(32, "2", made=AFTER, changed=AFTER)
    campaign(40, "5", changed=BEFORE, send_amt="40", total_amt="40")
    campaign(41, "5", seriesid="12")
    campaign(42, "0")
    campaign(43, "5", type="responder")
    campaign(44, "4")


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    with served(build) as town:
        env = {"ALLCLEAR_CONFIG": str(write_config(town, tmp_path_factory.mktemp("house")))}
        window = ("--start", START.isoformat(), "--end", END.isoformat(), "--json")
        run = allclear("recover", *window, "--by", "Sam Okafor", **env).json
        yield SimpleNamespace(audit=allclear("audit", *window, **env).json, run=run, writes=town.pro2("house").writes)


@pytest.mark.requirement("R001.4", "R001.7")
@pytest.mark.parametrize(
    ("ref", "verdict"),
    [(ref, "partial" if ref == "4" else "uncertain") for ref in "123456789"] + [("20", "done")],
)
def test_what_may_have_been_due_is_found_and_never_called_missed(night, ref, verdict):
    assert {s["object"]: s["verdict"] for s in night.audit["slots"]}[ref] == verdict


def test_what_the_outage_cannot_have_held_is_named_with_the_reason(night):
    reasons = {n["object"]: n["reason"] for n in night.audit["not_due"]}
    assert all("before the outage" in reasons[ref] for ref in ("30", "31")) and "after the outage" in reasons["32"]


@pytest.mark.parametrize("ref", ["40", "41", "42", "43", "44"])
def test_what_went_whole_before_and_drafts_and_what_goes_contact_by_contact_are_passed_over(night, ref):
    assert ref not in {s["object"] for s in night.audit["slots"] + night.audit["not_due"]}


@pytest.mark.requirement("R001.7", "R001.15")
def test_each_is_held_with_a_question_and_nothing_is_touched(night):
    outcomes = {i["object"]: i["outcome"] for i in night.run["items"]}
    assert {outcomes[ref] for ref in "123456789"} == {"held"} and night.writes == []
