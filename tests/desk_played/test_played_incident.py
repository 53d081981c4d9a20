"""A whole incident at a terminal, over real HTTP, with every desk and the program killed on the way: what it came to.

The story is told once (`story.py`); each test asks the desks' own journals, or what a person was shown, for one thing.
"""

from __future__ import annotations

from collections import Counter

import pytest

from recovery.desk.announce import PLACEHOLDER
from tests.desk_played.front import DESKS, ENGINEER
from tests.desk_played.story import Played

pytestmark = pytest.mark.timeout(900)  # the story is told in the first test; a busy machine takes long
TICKETS = {"Nothing is sent", "P1: we are down", "please help", "Us too", "They rang"}


def told_customers(played: Played) -> dict[int, list[str]]:
    """What each customer ticket of the incident was told in public, in order."""
    made = [row["id"] for row in played.front.events("zendesk", "ticket_created")]
    said = played.front.events("zendesk", "ticket_updated", public=True)
    return {ticket: [row["text"] for row in said if row["id"] == ticket and row["text"]] for ticket in made}


def test_every_desk_and_the_program_died_and_the_oracle_finds_each_thing_once(played: Played) -> None:
    """The judge is a program of its own that reads the journals only."""
    struck = {row["system"] for desk in DESKS for row in played.front.events(desk, "fault")}
    assert struck == {"zendesk", "jira", "statuspage", "pendo", "clickup", "slack"}
    assert played.front.complaints() == []


@pytest.mark.requirement("R002.2", "R002.4", "R002.6", "R003.14", "R003.42")
def test_alert_mails_and_a_call_are_one_incident_with_a_ticket_for_each_report(played: Played) -> None:
    listed = played.front.ask("list")["incidents"]
    assert [row["ref"] for row in listed] == [played.ref]
    made = played.front.events("zendesk", "ticket_created")
    assert Counter(row["subject"] for row in made) == Counter(TICKETS)
    assert len(played.front.events("pagerduty", "page")) == 1


@pytest.mark.requirement("R002.8", "R002.9", "R002.10", "R002.11", "R002.12", "R003.19")
def test_one_incident_ticket_with_its_team_and_a_link_to_every_customer_ticket(played: Played) -> None:
    """What was not known at first came as comments, each once; links are struck through in the end."""
    incident, team = played.front.events("jira", "issue_created")
    for words in ("not yet known", "Customer", "Start", "Steps", "Symptoms"):
        assert words in incident["description"]
    assert team["summary"].startswith("[database]")
    links = played.front.estate.state("jira").issues[incident["key"]].links
    ours = [link for link in links if link["globalId"] != f"allclear:{played.ref}/database"]
    assert {link["object"]["title"].partition(": ")[2] for link in ours} == TICKETS
    assert all(link["object"]["status"]["resolved"] for link in ours)
    assert played["end"]["unlinked"] == [] and len(links) == 6
    learnt = [row["text"] for row in played.front.events("jira", "comment", key=incident["key"])]
    assert sum("campaigns stay in pending send" in text and "symptoms:" in text for text in learnt) == 1


@pytest.mark.requirement("R002.7", "R002.13", "R002.18", "R002.21", "R002.25", "R002.28")
def test_every_customer_read_the_same_words_in_their_order_and_each_once(played: Played) -> None:
    told = told_customers(played)
    titles = [text.partition("\n")[0] for text in next(iter(told.values()))]
    assert titles == [
        "Service Status Update: Issue Under Investigation",
        "Service Status Update: Issue Under Investigation",
        "Service Status Update: Issue Identified - Fix in Progress",
        "Service Status Update: Issue Resolved",
    ]
    assert len({tuple(texts) for texts in told.values()}) == 1 and len(told) == len(TICKETS)
    assert not any(PLACEHOLDER.search(text) for texts in told.values() for text in texts)
    page = [row["body"] for row in played.front.events("statuspage", "incident_created", "incident_updated")]
    assert page == [text.split("\n\n", 1)[1] for text in next(iter(told.values()))]
    chat = [row["text"] for row in played.front.events("slack", "message") if row["text"].startswith("Service Status")]
    assert chat == titles


@pytest.mark.requirement("R002.19", "R002.23")
def test_the_end_is_unknown_until_a_person_says_when(played: Played) -> None:
    assert "Estimated Resolution Time: Unknown" in played["investigating"]["body"]
    assert "Estimated Resolution Time: about 10:30 UTC" in played["identified"]["body"]


@pytest.mark.requirement("R002.15", "R002.29", "R003.3")
def test_who_may_not_and_what_is_too_early_is_refused_with_a_reason(played: Played) -> None:
    said = {name: (ran.code, ran.err) for name, ran in played.refused.items()}
    assert {code for code, _ in said.values()} == {1}
    for name, words in {
        "skip": "skips",
        "stranger": '"Mallory" may not announce',
        "unconfirmed": "before a named person of Engineering",
        "not engineering": "may not confirm resolved",
        "rca": "may not approve rca",
        "rca draft": "has no role at this desk",
        "pause": "has no role at this desk",
        "declare": "may not declare",
        "report": "may not link",
    }.items():
        assert words in said[name][1]


@pytest.mark.requirement("R002.13")
def test_an_overdue_update_alarms_once_and_a_dead_ticket_desk_is_waited_out(played: Played) -> None:
    alarms = [row["text"] for row in played.front.events("slack", "message") if "regular update" in row["text"]]
    assert len(alarms) == 1
    waiting = {row["effect"] for row in played["desk down"]["open"]}
    assert len(waiting) == len(TICKETS) and all(name.startswith("ticket_comment/zendesk/") for name in waiting)


@pytest.mark.requirement("R003.22", "R003.20")
def test_the_chain_goes_on_until_the_page_is_taken_at_the_pager(played: Played) -> None:
    said = [row["text"] for row in played.front.events("slack", "message") if "No answer to the page" in row["text"]]
    assert said == ["No answer to the page yet: on-call engineer, secondary channel."]
    assert [row["by"] for row in played.front.events("pagerduty", "incident_acknowledged")] == [ENGINEER]
    assert len(played.front.events("pagerduty", "incident_resolved")) == 1
    assert [row["action"] for row in played.front.events("pagerduty", "event")] == ["trigger", "resolve"]


@pytest.mark.requirement("R002.36")
def test_the_timeline_names_every_post_link_and_approval(played: Played) -> None:
    """At the terminal as in the document: what was posted or linked with its id, and which words were approved."""
    shown = played.front.ask("show", played.ref)
    lines = played.front.run("incident", "show", played.ref, "--timeline").out.splitlines()
    assert len(lines) == len(shown["timeline"])
    for name, ref in shown["delivered"].items():
        said = f"{name} · {ref}" if ref else name
        done = [e["about"] for e in shown["timeline"] if e["what"] == "effect_done" and e["about"].startswith(said)]
        assert done and any(line.endswith(f"effect done  {done[0]}") for line in lines), said
    prepared = [e["about"].split(" · ") for e in shown["timeline"] if e["what"] == "announcement_prepared"]
    approved = [e["about"] for e in shown["timeline"] if e["what"] == "announcement_approved"]
    assert {*approved} <= {f"{phase} · {digest}" for phase, digest, _title in prepared}


@pytest.mark.requirement("R003.6", "R003.7", "R003.12")
def test_boards_are_for_clients_that_have_gone_live_once_it_is_no_p1(played: Played) -> None:
    """Harbor and City Opera have one task each, The Quay has none; they show the last state."""
    assert len(played.front.events("clickup", "task_created")) == 2
    tasks = played.front.estate.state("clickup").tasks.values()
    assert all("Status: resolved" in task.description for task in tasks)


@pytest.mark.requirement("R002.26", "R002.27", "R002.30")
def test_guides_replace_each_other_and_the_last_comes_down_after_its_hour(played: Played) -> None:
    """The desk was dead at the hour and the program was killed as the notice came down: it is down, and was told."""
    guides = played.front.estate.state("pendo").guides
    assert {guide.state for guide in guides.values()} == {"disabled"}
    shown = [row["guide"] for row in played.front.events("pendo", "guide_state") if row["after"] == "public"]
    assert list(dict.fromkeys(shown)) == ["guide-investigating", "guide-identified", "guide-resolved"]
    assert [row["effect"].split("/")[-1] for row in played["still up"]["effects"] if not row["done"]] == [
        "resolved@expiry-post-4"
    ]


@pytest.mark.requirement("R003.2", "R003.3", "R003.29", "R003.48")
def test_only_the_delivered_analysis_stops_its_clock_and_each_client_has_it_once(played: Played) -> None:
    def clocks(view: str) -> dict[str, str]:
        return {c["about"]: c["state"] for c in played[view]["clocks"] if c["clock"] == "root-cause analysis"}

    assert set(clocks("before delivery").values()) == {"not agreed"}  # P2 by then: its owner has agreed no time yet
    assert played["draft"]["preliminary"] and played["draft"]["sections"]["Actions"]
    mails = [row for row in played.front.events("smtp", "mail") if "Root Cause Analysis" in row["subject"]]
    assert Counter(row["recipients"][0] for row in mails) == Counter(
        f"it@{name}.example" for name in ("harbor", "opera", "quay")
    )
    assert all(row["subject"].startswith("Preliminary") for row in mails)


def test_a_mail_in_doubt_was_answered_by_a_person_and_never_sent_again(played: Played) -> None:
    assert any("rca/" in doubt for doubt in played.doubts)
    ids = [row["message_id"] for row in played.front.events("smtp", "mail")]
    assert len(ids) == len(set(ids))


@pytest.mark.requirement("R003.30", "R002.33")
def test_the_secret_address_is_in_no_journal_no_output_and_no_ledger(played: Played) -> None:
    secret = played.front.p1_address()
    assert secret not in "".join(ran.out + ran.err for ran in played.front.told)
    for path in (played.front.night.folder / "estate" / "journal").glob("*.jsonl"):
        assert secret not in path.read_text(encoding="utf-8"), path.name
    assert secret.encode() not in played.front.ledger()


@pytest.mark.requirement("R002.36", "R003.21")
def test_the_timeline_holds_every_step_with_its_person_in_order(played: Played) -> None:
    kinds = [(entry["what"], entry["by"]) for entry in played["end"]["timeline"]]
    people = [kind for kind, by in kinds if by == ENGINEER and kind.endswith(("approved", "confirmed", "changed"))]
    assert people == [
        "scope_changed", "announcement_approved", "announcement_approved", "announcement_approved", "severity_changed",
        "resolution_confirmed", "announcement_approved", "rca_approved",
    ]  # fmt: skip
