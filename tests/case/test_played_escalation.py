"""Escalation, replies and resolution played from the terminal: the remotes say what happened, and how often."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.case.shop import DANA, Shop

NO = "--not-resolved"
SECRET_WORD = "internal-canary"


def ready(shop: Shop, campaign: str, *fields: str) -> dict[str, Any]:
    """A case that nothing explains, with both verification stages behind it and similar cases searched."""
    view = shop.attest(shop.open("shop-meta", "spring_offer", *fields, campaign=campaign), {"campaign": "same"})
    ref = view["case"]
    shop.case("stage", ref, "business", "--team", "CSM", NO, "--note", SECRET_WORD, *DANA)
    shop.case("stage", ref, "helpdesk", "--team", "Helpdesk", NO, *DANA)
    return shop.case("references", ref, *DANA)


def messages(shop: Shop, channel: str) -> list[dict[str, Any]]:
    return [m for m in shop.events("slack", "message") if m["channel"] == channel]


@pytest.mark.requirement("R000.25", "R000.41", "R000.42")
@pytest.mark.parametrize("lost", ["reset-after", "500-after"])
def test_a_lost_reply_leaves_one_child_ticket_that_is_linked_to_its_parent(shop: Shop, lost: str) -> None:
    ref = ready(shop, f"L-{lost}")["case"]
    before = len(shop.events("jira", "issue_created"))
    shop.fault("jira", "issue_create", lost, seconds=3)
    view = shop.case("escalate", ref, "cross_functional", *DANA)
    for _ in range(3):
        view = shop.case("send", ref) if any(e["state"] != "done" for e in view["effects"]) else view
    shop.case("escalate", ref, "cross_functional", *DANA)
    shop.case("send", ref)
    made = shop.events("jira", "issue_created")[before:]
    assert len(made) == 1
    assert f"Parent ticket\n{shop.ticket}" in made[0]["description"]
    links = [e for e in shop.events("jira", "remotelink") if e["key"] == made[0]["key"]]
    assert len(links) == 1
    child = next(e for e in view["effects"] if e["effect"].startswith("ticket:jira"))
    assert (child["state"], child["remote_ref"]) == ("done", made[0]["key"])


@pytest.mark.requirement("R000.37", "R000.38", "R000.39", "R000.40", "R000.44")
def test_the_sme_gets_mail_note_and_message_once_and_the_other_escalation_stays_a_choice(shop: Shop) -> None:
    ref = ready(shop, "S-1")["case"]
    jira, chat, told = len(shop.events("jira")), len(messages(shop, "C0SUPPORT")), len(shop.comments())
    view = shop.case("escalate", ref, "sme", "--absent", "sme1", *DANA, exit_code=3)
    shop.case("send", ref)
    assert view["escalations"][0]["contact"] == "Backup subject matter expert"
    mails = [m for m in shop.events("smtp", "mail") if ref in m["subject"]]
    assert [m["recipients"] for m in mails[-1:]] == [["sme-two@support.example"]]
    assert len(messages(shop, "C0SUPPORT")) == chat + 1
    notes = shop.comments()[told:]
    assert [n["public"] for n in notes] == [False]
    assert "Deliveries and clicks: fail" in notes[0]["plain_body"]
    assert len(shop.events("jira")) == jira
    assert any("cross_functional" in n["command"] for n in view["next"])


@pytest.mark.requirement("R000.43", "R000.45")
def test_the_channel_is_refused_before_and_after_and_a_resolution_tells_parent_and_client_once(shop: Shop) -> None:
    ref = ready(shop, "R-1")["case"]
    quiet = len(messages(shop, "C0CROSS"))
    assert shop.run("post", ref, "cross_functional", "hello", *DANA).exit_code == 1
    assert len(messages(shop, "C0CROSS")) == quiet
    shop.case("escalate", ref, "cross_functional", *DANA)
    shop.case("post", ref, "cross_functional", "any news?", *DANA)
    assert [m["text"] for m in messages(shop, "C0CROSS")[quiet + 1 :]] == ["any news?"]
    told = len(shop.comments())
    words = ("--note", f"{SECRET_WORD} mended", "--client-text", "Clicks are counted again.")
    view = shop.case("resolve", ref, "cross_functional", *words, "--by", "Ann Lee", exit_code=0)
    assert view["resolved"]
    shop.case("send", ref)
    assert [(c["public"], SECRET_WORD in c["plain_body"]) for c in shop.comments()[told:]] == [
        (False, True),
        (True, False),
    ]
    assert shop.run("post", ref, "cross_functional", "and now?", *DANA).exit_code == 1
    assert shop.run("resolve", ref, "cross_functional", *words, *DANA).exit_code == 1


@pytest.mark.requirement("R000.30", "R000.33", "R000.36")
def test_an_escalation_out_of_turn_or_without_its_package_is_refused_and_reaches_nobody(shop: Shop) -> None:
    view = shop.attest(shop.open("shop-meta", "spring_offer", campaign="P-1"), {"campaign": "same"})
    ref = view["case"]
    before = (len(shop.events("jira")), len(shop.events("slack")), len(shop.events("smtp")))
    for stages in ((), ("business",)):
        for stage in stages:
            shop.case("stage", ref, stage, "--team", "CSM", NO, *DANA)
        refused = shop.run("escalate", ref, "sme", *DANA)
        assert (refused.exit_code, "has not been recorded" in refused.output) == (1, True)
    shop.case("stage", ref, "helpdesk", "--team", "Helpdesk", NO, *DANA)
    refused = shop.run("escalate", ref, "sme", *DANA)
    assert "reference cases" in refused.output
    assert (len(shop.events("jira")), len(shop.events("slack"))) == before[:2]
    assert len(shop.events("smtp")) == before[2] + 1, "the hand-over to the helpdesk, and no escalation"
    view = shop.case("escalate", ref, "sme", "--override", "the client waits", *DANA)
    assert view["escalations"][0]["override_reason"] == "the client waits"


@pytest.mark.requirement("R000.32", "R000.34", "R000.35")
@pytest.mark.parametrize(("region", "desk"), [("US", "care@netcorecloud.com"), ("IN", "helpdesk@netcorecloud.com")])
def test_the_hand_over_goes_to_the_regions_desk(shop: Shop, region: str, desk: str) -> None:
    view = shop.open("shop-meta", "spring_offer", "--field", f"region={region}", campaign=f"H-{region}")
    shop.case("stage", view["case"], "business", "--team", "Onboarding", NO, "--by", "Ann Lee")
    mails = [m for m in shop.events("smtp", "mail") if view["case"] in m["subject"]]
    assert [m["recipients"] for m in mails] == [[desk]]
    stage = shop.case("show", view["case"])["stages"][0]
    assert (stage["team"], stage["by"], stage["resolved"]) == ("Onboarding", "Ann Lee", False)
    assert shop.run("stage", view["case"], "helpdesk", "--team", "Nobody", NO, *DANA).exit_code == 2


@pytest.mark.requirement("R000.22", "R000.23", "R000.24")
@pytest.mark.parametrize("lost", ["", "reset-after"])
def test_the_client_reads_exactly_the_approved_draft_once(shop: Shop, lost: str) -> None:
    view = shop.open("shop-meta", "opted_out", campaign=f"A-{lost}")
    ref = shop.attest(view, {"campaign": "same"})["case"]
    told = len(shop.comments())
    draft = shop.case("reply", ref, exit_code=3)["reply"]
    assert shop.run("reply", ref, "--approve", "0" * 12, *DANA).exit_code == 1
    assert len(shop.comments()) == told
    if lost:
        shop.fault("zendesk", "ticket_update", lost)
    view = shop.case("reply", ref, "--approve", draft["digest"][:12], *DANA)
    view = shop.case("send", ref, exit_code=0)
    shop.case("reply", ref, "--approve", draft["digest"], *DANA)
    said = shop.comments()[told:]
    assert [(c["public"], c["plain_body"]) for c in said] == [(True, "\n\n".join(draft["paragraphs"]))]
    cards = {e["digest"] for e in view["evidence"] if e["kind"] == "card"}
    assert {f["sha256"] for f in said[0]["attachments"]} == set(draft["attachments"]) <= cards
    assert len(said[0]["attachments"]) >= 1
    shop.case("check", ref)
    again = shop.case("reply", ref)["reply"]["digest"]
    assert shop.run("reply", ref, "--approve", again, *DANA).exit_code == 1, "a second reply needs --again"


@pytest.mark.requirement("R000.10")
def test_a_setting_is_offered_approved_by_an_approver_and_changed_by_a_person_only(shop: Shop) -> None:
    view = shop.open("shop-meta-2", "quiet_offer", campaign="O-1")
    ref = view["case"]
    assert view["offers"][0]["irreversible"]
    words = ("approve-setting", ref, "panel-on-meta")
    assert shop.run(*words, "--accept-consequences", "--by", "Mallory").exit_code == 1
    assert shop.run(*words, *DANA).exit_code == 1, "the consequences were not accepted"
    view = shop.case(*words, "--accept-consequences", *DANA, exit_code=3)
    task = view["effects"][0]
    assert (task["state"], "cannot be undone" in task["text"]) == ("task", True)
    assert shop.events("meta", "insights_enabled", "template_changed") == []
    view = shop.case("settle", ref, "1", "happened", "--reason", "switched on in the panel", *DANA)
    assert view["effects"][0]["state"] == "done"


@pytest.mark.requirement("R000.29", "R000.47")
def test_similar_cases_are_found_and_none_found_is_said(shop: Shop) -> None:
    first = shop.case("references", shop.open("shop-eu", "quiet_offer", campaign="N-1")["case"], *DANA)
    assert first["references"] is not None
    state = shop.estate.state("zendesk")
    other = state.add_ticket(shop.estate.world, "WhatsApp clicks", "tracked clicked_offer shop-eu", "x@client.example")
    ref = shop.open("shop-eu", "clicked_offer", campaign="N-2")["case"]
    assert str(other) in shop.case("references", ref, *DANA)["references"]
    shop.fault("zendesk", "search", "401")
    fresh = shop.open("shop-eu", "carousel", campaign="N-3")["case"]
    assert shop.run("references", fresh, *DANA).exit_code == 1
    assert shop.case("show", fresh)["references"] is None, "a failed search is not none found"


@pytest.mark.requirement("R000.48", "E.6")
def test_feedback_is_asked_for_kept_and_exported_with_every_digest(shop: Shop, tmp_path: Path) -> None:
    ref = shop.open("shop-meta", "spring_offer", campaign="X-1")["case"]
    assert "forms.example" in shop.run("show", ref).output
    assert shop.case("feedback", ref, "clear steps", *DANA)["feedback"]["given"] == 1
    told = shop.case("export", ref, "-o", str(tmp_path / "case.zip"), exit_code=0)
    with zipfile.ZipFile(io.BytesIO(Path(told["path"]).read_bytes())) as archive:
        held = json.loads(archive.read("case.json"))
        manifest = json.loads(archive.read("manifest.json"))
        assert set(manifest) | {"manifest.json"} == set(archive.namelist())
    feedback = next(e for e in held["timeline"] if e["kind"] == "feedback")
    assert feedback["data"] == {"version": "1", "answer": "clear steps"}


def test_the_list_names_each_case_and_whom_it_waits_for(shop: Shop) -> None:
    ref = shop.open("shop-meta", "waiting", campaign="Z-1")["case"]
    row = next(r for r in shop.case("list", exit_code=0)["cases"] if r["case"] == ref)
    assert row["exit_code"] == 3
    assert row["waiting"]
    assert ref in shop.run("list").output
