"""Mails that come in, the on-call chain, and what a P1 sets off."""

from datetime import timedelta

import pytest

from recovery.desk import alarms, escalation, mailbox, rules
from recovery.desk.clocks import clocks_for
from recovery.desk.fold import fold
from recovery.desk.incident import MACHINE, Report, Signature
from recovery.desk.notice import ref_of
from recovery.desk.ports import IncomingMail

from . import stage
from .stage import START, Recorded

FULL = """Environment: production
Started at: this morning
Steps: open the app
send a mail
Symptoms: nothing happens
Impact: all users
"""


def mail(to="help@cxconnect.ai", text=FULL, subject="Mails stuck", sender="ann@acme.example", ref="<m1@acme>"):
    return IncomingMail(ref, START, sender, (to,), subject, text)


@pytest.mark.requirement("R003.4", "R003.35", "R003.38", "R003.41")
@pytest.mark.parametrize(
    ("to", "mailbox_name"),
    [("help@cxconnect.ai", "help"), ("Success@cxconnect.ai", "success"), (stage.P1_ADDRESS, "p1")],
)
def test_a_mail_is_known_by_its_mailbox_and_its_client(desk, to, mailbox_name):
    """help@ and success@ are public, the P1 address is the client's own; severity is a person's word except for P1."""
    request = mailbox.take_in(desk, mail(to))
    assert (request.came_to, request.account) == (mailbox_name, "acme")
    assert request.severity == ("P1" if mailbox_name == "p1" else None)
    assert {s: d.mailbox for s, d in desk.desk.severities.items()} == {
        "P1": "p1",
        "P2": "help",
        "P3": "help",
        "service_request": "success",
    }


@pytest.mark.requirement("R003.30")
def test_the_secret_address_is_in_nothing_we_send_or_show(desk):
    """Not in the request, the receipt, the declaration."""
    incoming = mail(stage.P1_ADDRESS)
    request = mailbox.take_in(desk, incoming)
    shown = repr((request, mailbox.answers(desk, request, incoming), mailbox.declaration(desk, request, incoming)))
    assert stage.P1_ADDRESS not in shown


@pytest.mark.requirement("R003.42")
def test_a_mail_to_the_wrong_mailbox_is_moved_and_keeps_its_start(desk):
    """A bug sent to success@ is worked on as help@'s, from the time it came in."""
    request = mailbox.classify(desk, mailbox.take_in(desk, mail("success@cxconnect.ai")), "P3")
    assert (request.came_to, request.belongs_to, request.rerouted) == ("success", "help", True)
    assert request.started_at == START
    play = stage.Play(desk, now=START + timedelta(hours=3))
    play.declare(severities=("P3",))
    play.add(
        rules.add_report(
            MACHINE, Report(request.ref, "acme", "Ann", "ann@acme.example", "x", "x", request.started_at), play.now
        )
    )
    assert {c.started_at for c in clocks_for(desk, play.incident) if c.about == request.ref} == {START}


@pytest.mark.requirement("R003.8")
def test_a_request_for_board_access_goes_to_success(desk):
    """Also when it comes to help@; its template fields are not asked for."""
    incoming = mail(text="Hello", subject="Access to our ClickUp board")
    request = mailbox.take_in(desk, incoming)
    assert (request.board_access, request.belongs_to) == (True, "success")
    (receipt,) = mailbox.answers(desk, request, incoming)
    assert receipt.payload["draft"].reply_to == "success@cxconnect.ai"


@pytest.mark.requirement("R003.10")
def test_missing_fields_are_asked_for_at_once(desk):
    """Empty, absent and unfilled ones; a full mail gets only its receipt."""
    incoming = mail(text="Environment: production\nSteps:\nSymptoms: <Insert error(s) or other>\n\nPlease help")
    request = mailbox.take_in(desk, incoming)
    assert request.missing == ("started_at", "steps", "symptoms", "impact")
    question = mailbox.answers(desk, request, incoming)[1].payload["draft"]
    assert question.to == ("ann@acme.example",)
    assert "- started at\n- steps\n- symptoms\n- impact\n" in question.text
    complete = mailbox.take_in(desk, mail())
    assert complete.fields["steps"] == "open the app\nsend a mail"
    assert [e.slot for e in mailbox.answers(desk, complete, mail())] == ["acknowledgement"]


def test_machines_and_ourselves_get_no_answer(desk):
    """Two automatons must not write to each other for ever."""
    for sender in ("MAILER-DAEMON@acme.example", "no-reply@acme.example", "help@cxconnect.ai"):
        incoming = mail(sender=sender, text="")
        assert mailbox.answers(desk, mailbox.take_in(desk, incoming), incoming) == ()


def test_a_hostile_subject_is_only_text(desk):
    """Template code and line breaks in a subject come back as one plain line."""
    incoming = mail(subject="{{ brand }}\r\nBcc: all@example.test <Insert ETA>")
    draft = mailbox.answers(desk, mailbox.take_in(desk, incoming), incoming)[0].payload["draft"]
    assert draft.subject == "We have received your request: {{ brand }} Bcc: all@example.test <Insert ETA>"


@pytest.mark.requirement("R003.32")
def test_a_p1_mail_about_staging_is_taken_as_p2(desk):
    """With the reason, and in the mailbox of a P2."""
    request = mailbox.take_in(desk, mail(stage.P1_ADDRESS, text="Environment: Staging"))
    assert (request.severity, request.belongs_to) == ("P2", "help")
    assert "staging" in request.why


@pytest.mark.requirement("R003.14", "R003.17", "R003.31")
def test_a_p1_mail_opens_one_incident_and_one_page_with_everything_known(desk):
    """The same mail read twice has the same name; the page says what, who, since when, what to try."""
    incoming = mail(stage.P1_ADDRESS)
    request = mailbox.take_in(desk, incoming)
    said = mailbox.declaration(desk, request, incoming)
    assert ref_of("p1_mail", said.source_ref) == ref_of("p1_mail", mail(stage.P1_ADDRESS).message_ref)
    play = stage.Play(desk)
    play.add(rules.declare(desk, MACHINE, play.now, said))
    play.deliver()
    (page,) = [e.payload["draft"] for e in play.done if e.system.value == "pagerduty"]
    assert page.details == {
        "severity": "P1",
        "scope": "subset",
        "customers": "Acme Theatre",
        "started": "not yet known",
        "symptoms": "nothing happens",
        "steps": "open the app; send a mail",
    }


@pytest.mark.requirement("R003.15", "R003.16", "R003.18", "R003.19")
def test_a_p1_sets_off_everything_at_once_each_with_its_result(play):
    """Page, channel, ticket, client notice and log are due in the same moment; one that fails holds up no other."""
    play.declare()
    due = {e.name.split("@")[0] for e in play.due()}
    assert {"page/pagerduty/inc-1", "chat/slack/inc-1", "ticket/jira/inc-1", "mail/smtp/inc-1/notice/acme"} <= due
    play.down = {"slack"}
    play.deliver()
    play.fail("chat/slack/inc-1@declared", "channel_not_found", final=True)
    results = {r.event: r.result for r in escalation.p1_results(play.settings, play.incident)}
    assert results == {"page": "done", "channel": "refused", "ticket": "done", "client_notice": "done", "log": "done"}


@pytest.mark.requirement("R003.16")
def test_what_a_p1_sets_off_is_a_setting(tmp_path):
    """Without "client_notice" in the list, no client is written to."""
    line = '"ticket", "client_notice", "log"]'
    play = stage.Play(stage.settings(tmp_path, desk=[(line, '"ticket", "log"]')]))
    play.declare()
    play.deliver()
    assert not play.names("smtp")
    assert [r.event for r in escalation.p1_results(play.settings, play.incident)] == [
        "page",
        "channel",
        "ticket",
        "log",
    ]


@pytest.mark.requirement("R003.22", "R003.20")
def test_the_on_call_chain_goes_on_until_somebody_answers(play):
    """Preferred channel at once, secondary after 5 minutes, standby after 10; an answer at 7 stops it."""
    play.declare()
    play.deliver()
    assert [(s.who, s.channel, s.due_at - START) for s in escalation.chain(play.settings, play.incident, play.now)] == [
        ("on-call engineer", "preferred channel", timedelta()),
        ("on-call engineer", "secondary channel", timedelta(minutes=5)),
        ("standby", "preferred channel", timedelta(minutes=10)),
    ]
    play.wait(minutes=5)
    told = [
        c.data["text"] for c in alarms.alarms_due(play.settings, play.incident, play.now) if "page" in c.data["text"]
    ]
    assert told == ["No answer to the page yet: on-call engineer, secondary channel."]
    play.wait(minutes=2)
    play.events.append(Recorded(len(play.events) + 1, "page_acknowledged", "engineer.on.call", play.now, {}))
    play.wait(minutes=60)
    assert [s.reached for s in escalation.chain(play.settings, play.incident, play.now)] == [True, True, False]
    assert escalation.time_to_acknowledge(play.incident) == timedelta(minutes=7)
    assert fold("inc-1", play.events).page_acknowledged == Signature("engineer.on.call", START + timedelta(minutes=7))
