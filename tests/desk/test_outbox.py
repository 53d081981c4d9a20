"""The outbox: what should be there and is not, each thing once, whatever is down."""

from datetime import timedelta

import pytest

from recovery.desk import alarms, rules, tasks
from recovery.desk.outbox import batches
from recovery.model import ActionKind, iso

from . import stage
from .stage import START


@pytest.mark.requirement("R002.5")
def test_the_team_is_told_once_in_the_set_channel(play):
    """However long chat is down; its failure is visible."""
    play.declare()
    play.down = {"slack"}
    play.deliver()
    notice = "chat/slack/inc-1@declared"
    for _ in range(3):
        play.fail(notice, "ratelimited")
    texts = [c.data["text"] for c in alarms.alarms_due(play.settings, play.incident, play.now)]
    assert any("chat/slack/inc-1@declared has failed 3 times" in t for t in texts)
    play.down = set()
    play.wait(hours=2)
    play.deliver()
    play.deliver()
    assert [n for n in play.names() if n == notice] == [notice]
    assert next(e for e in play.done if e.name == notice).payload["channel"] == "#support_tech"


@pytest.mark.requirement("R002.6")
def test_each_report_has_one_ticket_later_ones_too(play):
    """Two reports, a third after the resolution, one of them read twice: three tickets."""
    play.declare()
    play.report("r1")
    play.report("r2", account="opera")
    play.report("r1")
    play.deliver()
    play.confirm()
    play.announce("investigating")
    play.announce("resolved", reason="quick")
    play.deliver()
    play.report("r3")
    play.deliver()
    assert play.names("customer_ticket") == [f"customer_ticket/zendesk/r{n}@report" for n in (1, 2, 3)]
    assert play.incident.customers == ("acme", "opera")


@pytest.mark.requirement("R002.8")
def test_a_ticket_desk_that_is_down_is_waited_out_with_one_ticket_at_the_end(play):
    """Everything that hangs on the ticket waits with it, under names that never change."""
    play.declare()
    play.report("r1")
    play.down = {"jira"}
    play.deliver()
    before = [e.name for e in play.due()]
    play.wait(hours=3)
    play.add(rules.record_fact(play.settings, "support.lead", play.now, "symptoms", ("worse",)))
    assert [e.name for e in play.due()] == before == ["ticket/jira/inc-1@incident"]
    play.down = set()
    play.deliver()
    assert play.names("ticket/jira") == ["ticket/jira/inc-1@incident"]
    assert play.names("ticket_link") == ["ticket_link/jira/r1@link-0"]


@pytest.mark.requirement("R002.12")
def test_all_customer_tickets_are_linked_and_unlinked_ones_listed(play):
    """One that came as a ticket by its own address, one that we opened by ours; the missing one is a task."""
    play.declare()
    play.report("r1", ticket_ref="77", customer="Ann")
    play.report("r2")
    play.down = {"zendesk"}
    play.deliver()
    assert tasks.unlinked(play.incident) == ("r2",)
    assert "link/r2" in {t.ref for t in tasks.tasks_for(play.settings, play.incident)}
    (link,) = [e for e in play.done if e.kind.value == "ticket_link"]
    assert link.payload["url"] == "https://example.zendesk.com/agent/tickets/77"
    play.down = set()
    play.deliver()
    assert tasks.unlinked(play.incident) == ()


@pytest.mark.requirement("R002.16")
def test_tickets_of_an_incident_are_urgent_and_tagged(play):
    """New ones are created so, existing ones are set so."""
    play.declare(severities=("P3",))
    play.report("r1")
    play.report("r2", ticket_ref="77")
    play.deliver()
    draft = next(e.payload["draft"] for e in play.done if e.kind.value == "customer_ticket")
    assert (draft.priority, draft.tags) == ("urgent", ("major-incident",))
    setting = next(e for e in play.done if e.kind.value == "setting")
    assert (setting.payload["refs"], setting.payload["priority"]) == (("77",), "urgent")


@pytest.mark.requirement("R002.7", "R002.14")
def test_the_same_words_go_everywhere(guided):
    """Tickets, chat and status page carry the approved title and body."""
    play = guided
    play.declare(scope="entire")
    play.report("r1")
    post = play.announce("investigating").posts[0]
    play.deliver()
    said = {e.system.value: e.payload for e in play.done if e.slot in {"post-1", "open"}}
    assert said["zendesk"]["text"] == f"{post.title}\n\n{post.body}"
    assert (said["slack"]["text"], said["slack"]["lines"]) == (post.title, tuple(post.body.splitlines()))
    assert (said["statuspage"]["draft"].name, said["statuspage"]["draft"].body) == (post.title, post.body)


@pytest.mark.requirement("R002.13")
def test_delivery_is_known_per_ticket_and_overtaken_posts_are_not_sent_late(play):
    """A desk that was down during two posts gets only the second, and the first is shown as superseded."""
    play.declare()
    play.report("r1")
    play.report("r2", ticket_ref="77")
    play.announce("investigating")
    play.deliver()
    play.down = {"zendesk"}
    play.announce("identified")
    play.fail("ticket_comment/zendesk/r1@post-2", "503")
    play.wait(minutes=5)
    play.confirm()
    play.announce("resolved")
    play.fail("ticket_comment/zendesk/r2@post-3", "422 closed", final=True)
    assert [(t.report_ref, t.post, t.state) for t in tasks.delivery(play.incident)] == [
        ("r1", 1, "delivered"),
        ("r2", 1, "delivered"),
        ("r1", 2, "superseded"),
        ("r2", 2, "superseded"),
        ("r1", 3, "pending"),
        ("r2", 3, "refused"),
    ]
    play.down = set()
    play.deliver()
    assert play.names("ticket_comment/zendesk/r1") == [f"ticket_comment/zendesk/r1@post-{n}" for n in (1, 3)]
    assert "refused/ticket_comment/zendesk/r2@post-3" in {t.ref for t in tasks.tasks_for(play.settings, play.incident)}


def test_comments_of_one_post_may_be_sent_together_a_hundred_at_a_time(play):
    """Every ticket keeps its own effect; other effects stay alone."""
    play.declare()
    for n in range(230):
        play.report(f"r{n}", ticket_ref=str(n))
    play.announce("investigating")
    play.mark("ticket/jira/inc-1@incident", "INC-7")
    due = play.due()
    groups = list(batches(due))
    assert sorted(len(g) for g in groups if len(g) > 1) == [30, 100, 100]
    assert sorted(e.name for g in groups for e in g) == sorted(e.name for e in due)
    assert {e.kind.value for g in groups if len(g) > 1 for e in g} == {"ticket_comment"}


@pytest.mark.requirement("R003.6", "R003.7", "R003.12")
def test_a_board_task_is_kept_for_clients_that_have_gone_live(play):
    """Acme's, not City Opera's (live next year), not for P1; it is brought up to date with its time of sync."""
    play.declare(severities=("P2",), customers=("acme", "opera"))
    play.deliver()
    assert play.names("clickup") == ["board_task/clickup/inc-1/acme@task"]
    play.wait(minutes=10)
    play.add(*rules.triage(play.settings, "support.lead", play.now, "outage", "organisation"))
    play.deliver()
    update = next(e for e in reversed(play.done) if e.system.value == "clickup")
    assert update.payload["op"] == "update"
    assert "Status: triaged" in update.payload["draft"].text
    assert "Last updated: 2026-07-01T16:10:00Z" in update.payload["draft"].text
    p1 = stage.Play(play.settings)
    p1.declare()
    p1.deliver()
    assert not p1.names("clickup")


@pytest.mark.requirement("R003.12", "R003.47")
def test_a_board_shows_that_the_clock_stands_still_and_that_it_goes_on(play):
    """Of every report, or of one of that client's; another client's board shows nothing of it."""
    play.declare(severities=("P2",))
    play.report("r1")
    play.report("r2", account="opera")
    play.deliver()

    def board():
        play.deliver()
        return [e for e in play.done if e.system.value == "clickup"][-1].payload["draft"].text

    assert "Clock" not in board()
    for report_ref in ("", "r1"):
        play.wait(minutes=5)
        paused = rules.start_hold(
            play.settings, play.incident, "support.lead", play.now, "waiting_for_customer", report_ref
        )
        play.add(paused)
        assert f"Clock: paused since {iso(play.now)}, waiting for customer\n" in board()
        play.add(rules.end_hold(play.settings, "support.lead", play.now, report_ref))
        assert "Clock" not in board()
    count = len(play.names("clickup"))
    play.add(rules.start_hold(play.settings, play.incident, "support.lead", play.now, "waiting_for_customer", "r2"))
    play.deliver()
    assert len(play.names("clickup")) == count


@pytest.mark.requirement("R002.33")
def test_board_and_client_notice_carry_no_internals(play):
    """A title with an issue key is replaced where clients can read it."""
    play.declare(title="OPS-17 queue stuck", severities=("P2",), symptoms=("PagerDuty alert OPS-17",))
    play.deliver()
    draft = next(e.payload["draft"] for e in play.done if e.system.value == "clickup")
    assert "OPS-17" not in draft.title + draft.text
    p1 = stage.Play(play.settings)
    p1.declare(title="OPS-17 queue stuck")
    p1.deliver()
    mail = next(e.payload["draft"] for e in p1.done if e.system.value == "smtp")
    assert "OPS-17" not in mail.subject + mail.text


@pytest.mark.requirement("R003.14")
def test_a_p1_is_paged_once_and_never_again_after_its_resolution(play):
    """The page is resolved with the incident; only a reopening pages anew, under another name."""
    play.declare()
    play.deliver()
    play.deliver()
    play.announce("investigating")
    play.confirm()
    play.announce("resolved", reason="quick")
    play.deliver()
    assert play.names("pagerduty") == ["page/pagerduty/inc-1@page-0", "page/pagerduty/inc-1@resolve-0"]
    play.announce("investigating", reason="back")
    play.deliver()
    assert play.names("pagerduty")[-1] == "page/pagerduty/inc-1@page-1"


@pytest.mark.requirement("R003.14")
def test_a_page_not_sent_before_the_resolution_is_not_sent_any_more(play):
    """A pager that was down all the while is not used to wake people for what is over."""
    play.declare()
    play.down = {"pagerduty"}
    play.announce("investigating")
    play.confirm()
    play.announce("resolved", reason="quick")
    play.down = set()
    play.deliver()
    assert not play.names("pagerduty")


def test_the_public_page_keeps_one_incident_per_opening(play):
    """Created with the first words under a constant name, then brought up to date; a reopening has its own."""
    play.declare(scope="entire")
    play.announce("investigating")
    play.down = {"statuspage"}
    play.announce("identified")
    first = [e for e in play.due() if e.system.value == "statuspage"]
    assert [(e.slot, e.payload["draft"].status) for e in first] == [("open", "investigating")]
    play.down = set()
    play.deliver()
    play.confirm()
    play.announce("resolved")
    play.deliver()
    play.announce("investigating", reason="back")
    play.deliver()
    assert play.names("statuspage") == [
        "status_post/statuspage/inc-1/0@open",
        "status_post/statuspage/inc-1/0@post-2",
        "status_post/statuspage/inc-1/0@post-3",
        "status_post/statuspage/inc-1/1@open",
    ]


def test_a_public_update_knows_how_often_its_words_were_posted_before(play):
    """Only what was delivered counts, and only in the present opening."""
    play.declare(scope="entire")
    play.announce("investigating")
    play.deliver()
    counted = []
    for reason in ("We are still at it.", "We are still at it.", "Nearly there.", "We are still at it. "):
        play.add(rules.prepare_update(play.settings, play.incident, "support.lead", play.now, reason))
        digest = play.incident.draft.digest
        play.add(rules.approve_announcement(play.settings, play.incident, "success.lead", play.now, digest))
        (post,) = [e for e in play.due() if e.system.value == "statuspage"]
        counted.append(post.payload["said_before"])
        if reason != "Nearly there.":
            play.deliver()
    assert counted == [0, 1, 0, 2]


def test_teams_get_a_child_ticket_each_linked_to_its_parent(tmp_path):
    """Once, and what is learnt later stands in the parent's comments."""
    play = stage.Play(stage.settings(tmp_path, desk=[("team_tickets = []", 'team_tickets = ["platform"]')]))
    play.declare()
    play.deliver()
    play.wait(minutes=1)
    play.add(rules.record_fact(play.settings, "support.lead", play.now, "symptoms", ("worse",)))
    play.deliver()
    assert play.names("inc-1/platform") == ["ticket/jira/inc-1/platform@team", "ticket_link/jira/inc-1/platform@link"]
    comments = [e.payload["paragraphs"] for e in play.done if e.name.startswith("ticket_comment/jira")]
    assert comments == [("2026-07-01T16:01:00Z support.lead: symptoms: worse",)]


@pytest.mark.requirement("R003.47")
def test_a_breach_is_recorded_and_told_once(play):
    """Warned at half and four fifths, then broken: three alarms in the alarms channel, one of them a breach."""
    play.declare()
    play.report("r1")
    for _ in range(5):
        play.wait(minutes=10)
        play.deliver()
    raised = [
        e.data for e in play.incident.timeline if e.kind == "alarm_raised" and "first response" in e.data["alarm"]
    ]
    assert [d["breach"] for d in raised] == [False, False, True]
    assert "Promise broken: first response for r1, 30 minutes, was due 2026-07-01T16:30:00Z." in raised[2]["text"]
    assert len([n for n in play.names("@alarm/") if "first response" in n]) == 3


def test_names_of_effects_never_depend_on_wording_or_time(play, tmp_path):
    """The same incident in other words, hours later, has the same effects."""
    play.declare()
    play.report("r1")
    other = stage.Play(play.settings, now=START)
    other.declare(title="Other words", symptoms=("else",))
    other.report("r1", text="else", received_at=START - timedelta(hours=1))
    other.wait(hours=9)
    assert [e.name for e in play.due()] == [e.name for e in other.due()]


@pytest.mark.requirement("R002.6")
@pytest.mark.parametrize(("subject", "text"), [("Look at this", "Look at this"), ("", "(no text)")])
def test_a_report_without_a_word_gets_its_ticket_all_the_same(play, subject, text):
    """A mail may hold a picture only; Zendesk refuses a first comment that is blank."""
    play.declare()
    play.report("r1", subject=subject, text=" \n")
    (made,) = (e for e in play.due() if e.kind is ActionKind.CUSTOMER_TICKET)
    assert made.payload["draft"].text == text
