"""Single things at the desk's front door: status, mails between crashes, requests, breaches, pages for Prefect."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import get_args

import pytest

from recovery.desk.intake import Intake
from recovery.desk.mail_file import Maildir
from recovery.desk.office import IncidentOffice
from recovery.desk.round import desk_round
from recovery.desk.rules import Declaration
from recovery.desk_wiring import open_desk_systems
from recovery.errors import RefusedError, UsageError
from recovery.served.desk import _STEPS, serve_announcement, serve_round
from recovery.served.desk_forms import AnnounceForm, RoundForm, Step
from recovery.settings import load_settings
from tests.desk_played.front import ENGINEER, SPEAKER, Front, open_front

HOSTILE = "down <img src=x> [here](https://evil.example) | `x`"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with open_front(tmp_path_factory.mktemp("front"), manual=True) as made:
        yield made


def declared(front: Front, ref: str, *more: str) -> dict[str, object]:
    given = ("--severity", "P1", "--customer", "harbor", "--symptom", "nothing is sent", *more)
    return front.ask("declare", "Campaigns do not go out", "--by", ENGINEER, "--ref", ref, *given)


def seconds_left(front: Front, ref: str) -> int:
    view = front.run("status", "--json").json
    (incident,) = (i for i in view["desk"]["incidents"] if i["ref"] == ref)
    return next(c["left_seconds"] for c in incident["clocks"] if c["clock"] == "first response")


# ---- status ----------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R003.44", "R003.47")
def test_status_counts_down_and_says_when_a_promise_is_over(front: Front) -> None:
    declared(front, "inc-clock")
    before = seconds_left(front, "inc-clock")
    assert 1700 < before <= 1800
    front.wait(minutes=10)
    assert before - seconds_left(front, "inc-clock") >= 600
    assert re.search(r"clock +0:1\d:\d\d left of 30 minutes: first response, inc-clock", front.run("status").out)
    front.wait(minutes=25)
    said = front.run("status").out
    assert "OVERDUE by 0:" in said and "was 30 minutes: first response" in said
    assert "allclear incident show inc-clock" in said


@pytest.mark.requirement("R003.47", "R003.49")
def test_a_breach_is_told_once_in_chat_once_to_listeners_and_counts_in_the_report(front: Front) -> None:
    page = asyncio.run(serve_round(RoundForm(config=front.night.config)))
    events = {h.event: h for h in page.happenings if h.payload["incident"] == "inc-clock"}
    assert {"allclear.incident.opened", "allclear.sla.warning", "allclear.sla.breached"} <= set(events)
    breach = events["allclear.sla.breached"]
    assert breach.payload == {
        "incident": "inc-clock", "severity": "P1", "alarm": "breach", "clock": "first response", "about": "inc-clock",
        "target": "30 minutes",
    }  # fmt: skip
    again = asyncio.run(serve_round(RoundForm(config=front.night.config)))
    assert [h.id for h in again.happenings if h.event == breach.event] == [breach.id]  # the same event, told once more
    front.wait(minutes=11)
    later = asyncio.run(serve_round(RoundForm(config=front.night.config)))
    assert breach.id not in {h.id for h in later.happenings}
    told = [r for r in front.events("slack", "message") if "Promise broken: first response for inc-clock" in r["text"]]
    assert len(told) == 1
    assert front.ask("clocks", "inc-clock")["exit_code"] == 1
    rows = front.ask("sla")["rows"]
    assert [r["overdue"] for r in rows if r["promise"] == "first response" and r["severity"] == "P1"] == ["1"]


# ---- announcements by hand -------------------------------------------------------------------------------------------


@pytest.mark.requirement("R002.31", "R002.32")
def test_by_hand_the_terminal_shows_text_to_copy_where_to_paste_it_and_when_it_comes_down(front: Front) -> None:
    front.announced("inc-clock", "investigating")
    said = front.run("incident", "show", "inc-clock").out
    assert "Publish this in the product for only the affected customers  [in-app/post-1/show]" in said
    assert "https://app.pendo.io/guides" in said
    assert "| Service Status Update: Issue Under Investigation" in said
    front.ask("update", "inc-clock", "--by", SPEAKER, "--task", "in-app/post-1/show")
    front.ask("confirm", "inc-clock", "--by", ENGINEER)
    front.announced("inc-clock", "resolved", "--reason", "it mended itself")
    front.ask("update", "inc-clock", "--by", SPEAKER, "--task", "in-app/post-2/show")
    tasks = {t["ref"]: t for t in front.ask("show", "inc-clock")["tasks"]}
    assert tasks["in-app/post-1/take-down"]["due_at"] is None
    due, up = tasks["in-app/post-2/take-down"]["due_at"], front.ask("show", "inc-clock")["timeline"][-1]["at"]
    after = datetime.fromisoformat(due) - datetime.fromisoformat(up)
    apart = timedelta(seconds=5)  # what was told and when it was logged are two moments
    assert abs(after - timedelta(hours=1)) <= apart
    assert not front.events("pendo", "guide_state")


def test_an_announcement_is_made_and_approved_in_the_pages_as_at_the_terminal(front: Front) -> None:
    declared(front, "inc-page")

    def take(**step: str) -> object:
        return asyncio.run(serve_announcement(AnnounceForm(incident="inc-page", config=front.night.config, **step)))  # type: ignore[arg-type]

    page = take(step="prepare", by=SPEAKER, phase="investigating")
    assert (page.state, page.exit_code) == ("Awaiting approval", 3)
    assert page.digest[:12] in page.text and "nothing is sent" in page.text
    (ready,) = page.happenings
    assert (ready.event, ready.payload["digest"]) == ("allclear.announcement.ready", page.digest)
    assert take(step="show").digest == page.digest
    with pytest.raises(RefusedError):
        take(step="approve", by="Mallory", digest=page.digest)
    with pytest.raises(UsageError):
        take(step="approve", by=ENGINEER)
    with pytest.raises(UsageError):
        take(step="confirm")
    done = take(step="approve", by=ENGINEER, digest=page.digest[:12])
    assert done.state == "All clear", done.rows
    assert take(step="update", by=SPEAKER, text="We restart the queues.").exit_code == 3
    assert front.ask("show", "inc-page")["phase"] == "investigating"
    take(step="eta", by=ENGINEER, text="noon")
    assert "Estimated Resolution Time: noon" in take(step="prepare", by=SPEAKER, phase="identified").text
    take(step="confirm", by=ENGINEER)
    page = take(step="prepare", by=SPEAKER, phase="resolved", text="it mended itself")
    assert take(step="approve", by=ENGINEER, digest=page.digest).state == "All clear"
    assert front.ask("show", "inc-page")["phase"] == "resolved"


def test_every_step_of_the_form_is_taken() -> None:
    assert set(get_args(Step)) == set(_STEPS)


# ---- mails -----------------------------------------------------------------------------------------------------------


class Torn(Maildir):
    """A mailbox on a machine that dies after the mail is journalled and before it is marked as taken."""

    async def mark_taken(self, message_ref: str) -> None:
        raise SystemExit(9)


@pytest.mark.requirement("R003.4", "R003.5")
def test_a_mail_is_marked_only_once_it_is_journalled_and_a_crash_between_causes_no_second_answer(front: Front) -> None:
    front.mail("torn", "zoe@quay.example", "A question", "How do I export?")
    box = front.night.folder / "mail"

    async def crash() -> None:
        async with open_desk_systems(load_settings(front.night.config)) as desk:
            intake = Intake(IncidentOffice(desk.outbox(), desk.desk), desk.desk)
            await intake.fetch(Torn(box, desk.systems.clock.now()))

    with pytest.raises(SystemExit):
        asyncio.run(crash())
    assert [p.name for p in (box / "new").iterdir()] == [f"{front.deliveries:03d}.torn"]
    for _ in range(2):
        front.ask("tick")
    assert not list((box / "new").iterdir())
    subjects = sorted(m["subject"] for m in front.events("smtp", "mail") if m["recipients"] == ["zoe@quay.example"])
    assert subjects == ["We have received your request: A question", "We need a little more to help you: A question"]


@pytest.mark.requirement("R003.9", "R003.26", "R003.42")
def test_a_request_waits_with_a_soft_clock_until_a_person_classifies_it(front: Front) -> None:
    assert "1 wait to be classified" in front.run("status").out
    (waiting,) = front.ask("requests")["requests"]
    assert waiting["account"] == "quay" and "hours on business days" in waiting["reading"]
    view = front.ask("classify", waiting["ref"], "P3", "--by", SPEAKER)
    assert (view["severity"], view["reports"][0]["ref"]) == ("P3", waiting["ref"])
    assert not front.ask("requests")["requests"]
    front.ask("pause", view["ref"], "--by", SPEAKER)
    assert {c["state"] for c in front.ask("clocks", view["ref"])["clocks"] if c["clock"] == "first response"} <= {
        "paused"
    }
    refused = front.run("incident", "pause", "inc-page", "--by", SPEAKER)
    assert refused.code == 1 and "never paused" in refused.err


def test_a_receipt_in_doubt_is_named_by_every_round_until_a_person_answers(front: Front) -> None:
    front.mail("doubt", "kim@opera.example", "Late", "hello")
    smtp = front.estate.state("smtp")
    smtp.knobs.lose_answer = True
    problems = front.ask("tick", code=3)["problems"]
    smtp.knobs.lose_answer = False
    assert [p.split(": ")[1] for p in problems] == ["acknowledgement to the customer", "missing_fields to the customer"]
    assert "What is true?" in problems[0] and "waits for its turn" in problems[1]
    (problem,) = front.ask("tick", code=3)["problems"]
    request = problem.partition(":")[0]
    assert problem == problems[0]
    assert front.run("incident", "answer", request, "acknowledgement", "it happened", "--by", "Mallory").code == 1
    front.ask("answer", request, "acknowledgement", "it happened", "--by", SPEAKER, "--reason", "they said so", code=0)
    assert front.ask("tick")["problems"] == []
    assert len([m for m in front.events("smtp", "mail") if m["recipients"] == ["kim@opera.example"]]) == 2


def test_a_mailbox_that_is_not_there_is_said_in_every_round(front: Front) -> None:
    text = front.night.config.read_text(encoding="utf-8")
    front.night.config.write_text(text.replace('maildir = "mail"', 'maildir = "nowhere"'), encoding="utf-8")
    assert any("is no Maildir" in problem for problem in front.ask("tick", code=3)["problems"])
    front.night.config.write_text(text, encoding="utf-8")


@pytest.mark.requirement("R002.3")
def test_reports_of_enough_customers_open_an_incident_by_themselves(front: Front) -> None:
    front.wait(minutes=60)
    for name in ("harbor", "opera", "quay"):
        front.mail(f"many-{name}", f"x@{name}.example", "Nothing arrives", "hello")
    known = {row["ref"] for row in front.ask("list")["incidents"]}
    front.ask("tick")
    (opened,) = {row["ref"] for row in front.ask("list")["incidents"]} - known
    assert len(front.ask("show", opened)["reports"]) == 3
    front.ask("update", opened, "--by", SPEAKER, "--set", "symptoms=nothing arrives")
    front.ask("confirm", opened, "--by", ENGINEER)
    front.announced(opened, "resolved", "--reason", "so that the next mail is an incident of its own")


def test_the_doctor_asks_every_desk_and_says_which_does_not_answer(front: Front) -> None:
    rows = {r["check"]: r for r in front.run("doctor", "--json").json["checks"]}
    for name in ("zendesk", "smtp", "pagerduty", "clickup", "statuspage", "pendo"):
        assert rows[name]["ok"], rows[name]
    assert rows["desk"]["detail"].startswith("3 clients, 2 people; to be completed with the client: P1, P2, P3")
    front.estate.state("pendo").key = "another"
    rows = {r["check"]: r for r in front.run("doctor", "--json").json["checks"]}
    front.estate.state("pendo").key = front.estate.info["pendo"]["key"]
    assert not rows["pendo"]["ok"] and rows["clickup"]["ok"]


@pytest.mark.requirement("R003.14", "R003.15", "R003.16")
def test_a_p1_mail_sets_off_page_channel_ticket_and_notice_with_a_result_each(front: Front) -> None:
    front.mail("p1", "ops@harbor.example", "Everything is down", "Environment: production", to=front.p1_address())
    known = {row["ref"] for row in front.ask("list")["incidents"]}
    front.ask("tick")
    (opened,) = {row["ref"] for row in front.ask("list")["incidents"]} - known
    results = {r["event"]: r["result"] for r in front.ask("show", opened)["p1_results"]}
    assert results == dict.fromkeys(("page", "channel", "ticket", "client_notice", "log"), "done")


def test_two_rounds_at_once_do_each_thing_once(front: Front) -> None:
    settings = load_settings(front.night.config)
    said = Declaration(
        title="Two at once", source="person", source_ref="inc-two", severities=("P1",), scope="entire", kind="outage",
        environment="production", time_zone="UTC", noticed_at=front.estate.world.now(), symptoms=("x",),
    )  # fmt: skip

    async def both() -> None:
        async with open_desk_systems(settings) as one, open_desk_systems(settings) as two:
            await IncidentOffice(one.outbox(), one.desk).declare(ENGINEER, said, "inc-two")
            await asyncio.gather(desk_round(one), desk_round(two))

    pages, notices = len(front.events("pagerduty", "page")), len(front.events("smtp", "mail"))
    asyncio.run(both())
    front.wait(minutes=1)
    front.ask("tick", code=0)
    assert len(front.events("pagerduty", "page")) == pages + 1
    assert len(front.events("smtp", "mail")) == notices + 3


# ---- what comes from outside -----------------------------------------------------------------------------------------


@pytest.mark.requirement("R003.23", "R003.32")
def test_planned_work_and_staging_are_no_p1(front: Front) -> None:
    planned = front.run("incident", "alert", "mon-plan", "--text", "upgrade", "--planned")
    assert (planned.code, planned.out.strip()) == (0, "Planned work: no incident.")
    staging = front.run("incident", "declare", "x", "--by", ENGINEER, "--severity", "P1", "--environment", "staging")
    assert staging.code == 1 and "never P1" in staging.err


def test_names_from_outside_stay_text_on_the_pages(front: Front) -> None:
    front.ask("alert", "mon-x", "--text", HOSTILE, "--service", "elsewhere")
    page = asyncio.run(serve_round(RoundForm(config=front.night.config, originals=False)))
    assert HOSTILE not in page.title
    for line in page.text.splitlines():
        outside = "".join(part for n, part in enumerate(line.split("`")) if n % 2 == 0)
        assert "<img" not in outside and "](https://evil" not in outside


def test_one_part_of_a_round_that_fails_does_not_keep_the_other_from_its_turn(front: Front) -> None:
    desk = front.night.folder / "desk" / "desk.toml"
    text = desk.read_text(encoding="utf-8")
    desk.write_text(text.replace("reports_needed", "reports_neded"), encoding="utf-8")
    page = asyncio.run(serve_round(RoundForm(config=front.night.config)))
    desk.write_text(text, encoding="utf-8")
    assert (page.state, page.exit_code) == ("Failed", 1)
    assert "reports" in page.text and "1 problems" in page.title
    broken = front.run("status")
    assert broken.code == 0


@pytest.mark.requirement("R003.13")
def test_another_kind_of_board_is_put_in_by_a_line_of_the_configuration(front: Front) -> None:
    """A folder stands in for ClickUp; each task is made once and then kept up to date."""
    folder, before = front.night.folder / "board", front.night.config.read_text(encoding="utf-8")
    start = before.index("[clickup]")
    end = before.index("\n[", start)
    plugged = f'[board]\nfactory = "tests.desk_played.folder_board:FolderBoard"\noptions = {{ folder = "{folder}" }}\n'
    front.night.config.write_text(before[:start] + plugged + before[end:], encoding="utf-8")
    given = ("--by", ENGINEER, "--ref", "inc-board", "--severity", "P3", "--customer", "harbor", "--customer", "opera")
    front.ask("declare", "A button is grey", *given)
    nature = ("--nature", "bug", "--impact", "one person")
    front.ask("update", "inc-board", "--by", SPEAKER, *nature)
    front.ask("tick")
    made = (folder / "journal").read_text(encoding="utf-8").split("\n")[:-1]
    assert [line.split()[0] for line in made] == ["created", "created", "updated", "updated"]
    assert all("Status: triaged" in path.read_text(encoding="utf-8") for path in folder.glob("*.json"))
    wrong = plugged.replace("FolderBoard", "NoBoard")
    front.night.config.write_text(before[:start] + wrong + before[end:], encoding="utf-8")
    refused = front.run("incident", "list")
    assert refused.code == 2 and "board.factory" in refused.err
    front.night.config.write_text(before, encoding="utf-8")


@pytest.mark.requirement("R003.9")
def test_the_list_is_the_queue_of_what_is_at_work_and_after_it_what_is_resolved(front: Front) -> None:
    """By severity, then nature and impact as triaged, then age; what nobody has looked at comes before it."""
    for ref, words in {"q-small": ("bug", "one person"), "q-wide": ("outage", "organisation"), "q-new": ()}.items():
        front.ask("declare", ref, "--by", ENGINEER, "--severity", "P2", "--ref", ref)
        if words:
            front.ask("update", ref, "--by", ENGINEER, "--nature", words[0], "--impact", words[1])
    rows = front.ask("list")["incidents"]
    assert [r["ref"] for r in rows if r["ref"].startswith("q-")] == ["q-new", "q-wide", "q-small"]
    open_rows = [r for r in rows if r["phase"] != "resolved"]
    assert rows[: len(open_rows)] == open_rows
    assert [r["severity"] for r in open_rows] == sorted(r["severity"] for r in open_rows)
    assert {"nature": "outage", "impact": "organisation"}.items() <= next(
        r for r in rows if r["ref"] == "q-wide"
    ).items()


@pytest.mark.requirement("R002.33")
def test_the_key_of_our_own_ticket_reaches_no_customer_whatever_the_desk_lists(front: Front) -> None:
    """The project of `[jira]` is internal although `[internal] jira_projects` does not name it."""
    desk = front.night.folder / "desk" / "desk.toml"
    text = desk.read_text(encoding="utf-8")
    desk.write_text(re.sub(r"jira_projects = .*", "jira_projects = []", text), encoding="utf-8")
    filed = declared(front, "inc-key")["delivered"]["ticket/jira/inc-key@incident"]  # type: ignore[index]
    front.ask("update", "inc-key", "--by", ENGINEER, "--set", f"symptoms=nothing is sent, see {filed}")
    ran = front.run("incident", "announce", "inc-key", "investigating", "--by", SPEAKER)
    desk.write_text(text, encoding="utf-8")
    assert ran.code == 1 and f'"{filed}" is internal' in ran.err


@pytest.mark.requirement("R002.30", "R003.3")
def test_an_approval_that_does_not_name_the_words_approves_nothing(front: Front) -> None:
    """Neither an empty digest nor a few of its letters."""
    declared(front, "inc-words")
    words = front.ask("announce", "inc-words", "investigating", "--by", SPEAKER)["digest"]
    analysis = front.ask("rca", "inc-words", "--by", ENGINEER)["digest"]
    for letters in (0, 5):
        front.ask("approve", "inc-words", words[:letters], "--by", ENGINEER, code=1)
        front.ask("approve-rca", "inc-words", analysis[:letters], "--by", ENGINEER, code=1)
    steps = {e["what"] for e in front.ask("show", "inc-words")["timeline"]}
    assert not steps & {"announcement_approved", "rca_approved"}
    front.ask("approve", "inc-words", words[:6], "--by", ENGINEER, code=0)
    front.ask("approve-rca", "inc-words", analysis[:6], "--by", ENGINEER, code=0)


@pytest.mark.parametrize("wrong", [("--scope", "half"), ("--kind", "odd"), ("--severity", "P0")])
def test_a_word_that_a_declaration_does_not_know_is_refused_with_the_choices(
    front: Front, wrong: tuple[str, str]
) -> None:
    ran = front.run("incident", "declare", "x", "--by", ENGINEER, "--ref", "inc-wrong", *wrong)
    assert ran.code == 2 and "Choose one of" in ran.err
    assert front.run("incident", "show", "inc-wrong").code == 2


def test_nothing_was_done_twice(front: Front) -> None:
    assert front.complaints() == []
