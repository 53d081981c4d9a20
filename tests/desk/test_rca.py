"""The root-cause analysis and the report on kept promises."""

from datetime import date, timedelta

import pytest

from recovery.desk import rca, rules, tasks
from recovery.desk.clocks import RCA, clocks_for
from recovery.desk.sla import due_at, read
from recovery.desk.sla_report import sla_report
from recovery.errors import RefusedError

from . import stage
from .stage import START

KNOWN = {
    "timeline": ((START, "first campaign found pending", "evidence 4"),),
    "evidence": (("campaign report", "sha256 ab12"),),
    "trigger": "A queue ran full",
    "causes": ("No limit on retries",),
    "temporary_fix": "The queue was emptied",
    "permanent_fix": "Retries are limited",
    "follow_ups": (rca.FollowUp("Limit retries", "Kim", date(2026, 7, 10), "OPS-5"),),
    "summary_for_customers": "Some mails went out late.",
    "causes_for_customers": "A queue was overloaded.",
}
COUNTS = rca.Counts(due=120, done_before=100, recovered=18, skipped=1, held=1, doubles=0, recipients=5000)


def draft(play, *, preliminary=True, **facts):
    known = rca.RcaFacts(counts=COUNTS, **facts)
    return rca.draft_rca(play.settings, play.incident, known, play.now, preliminary=preliminary)


def deliver_rca(play, made):
    play.add(rca.prepare_rca(play.settings, "engineer.on.call", play.now, made))
    play.add(rca.approve_rca(play.settings, play.incident, "engineer.on.call", play.now, made.digest))
    play.deliver()


def clock_of(play):
    return next(c for c in clocks_for(play.settings, play.incident) if c.name == RCA)


@pytest.mark.requirement("R003.48")
def test_the_draft_has_every_field(play):
    """Impact with numbers, timeline with evidence, detection, trigger, causes, both fixes, actions, customers' text."""
    play.declare()
    play.report("r1")
    made = draft(play, **KNOWN)
    sections = dict(made.sections)
    assert "Items due: 120; done before: 100; recovered: 18; skipped: 1; held: 1; doubles: 0" in sections["Impact"]
    assert "2026-07-01T16:00:00Z first campaign found pending [evidence 4]" in sections["Timeline"]
    assert sections["Detection"] == ("By alert alert-9 at 2026-07-01T16:00:00Z",)
    assert (sections["Trigger"], sections["Causes"]) == (("A queue ran full",), ("No limit on retries",))
    assert sections["Temporary fix"] + sections["Permanent fix"] == ("The queue was emptied", "Retries are limited")
    assert sections["Actions"] == ("Limit retries (owner: Kim, due: 2026-07-10, ticket: OPS-5)",)
    assert "Some mails went out late." in made.customer.body
    assert made.unknown == ()


@pytest.mark.requirement("R003.3")
def test_a_preliminary_version_is_marked_and_may_be_incomplete_a_final_one_not(play):
    """Unknown fields say so; a final version with them is refused by their names."""
    play.declare()
    made = draft(play)
    assert dict(made.sections)["Status"][0] == "PRELIMINARY"
    assert made.customer.title == "Preliminary Root Cause Analysis: Mails are not going out"
    assert dict(made.sections)["Trigger"] == ("not yet known",)
    assert rca.prepare_rca(play.settings, "engineer.on.call", play.now, made).data["preliminary"] is True
    with pytest.raises(RefusedError, match="trigger, causes"):
        rca.prepare_rca(play.settings, "engineer.on.call", play.now, draft(play, preliminary=False))
    final = draft(play, preliminary=False, **KNOWN)
    assert final.customer.title == "Root Cause Analysis: Mails are not going out"
    no_owner = {**KNOWN, "follow_ups": (rca.FollowUp("Limit retries"),)}
    with pytest.raises(RefusedError, match="actions with owner and due date"):
        rca.prepare_rca(play.settings, "engineer.on.call", play.now, draft(play, preliminary=False, **no_owner))


@pytest.mark.requirement("R002.33")
def test_the_customers_version_holds_no_internals(play):
    """A ticket key in the words for customers is refused; one in the internal sections stays there."""
    play.declare()
    made = draft(play, **KNOWN)
    assert "OPS-5" not in made.customer.text
    leaking = draft(play, **{**KNOWN, "causes_for_customers": "See OPS-5."})
    with pytest.raises(RefusedError, match="OPS-5"):
        rca.prepare_rca(play.settings, "engineer.on.call", play.now, leaking)


@pytest.mark.requirement("R003.2", "R003.29", "R003.3")
def test_delivery_stops_the_clock_and_neither_draft_nor_approval_does(play):
    """24 hours from the incident's start; approved by a named person of the role; stopped when the client has it."""
    play.declare()
    assert due_at(clock_of(play)) == START - timedelta(minutes=20) + timedelta(hours=24)
    play.wait(hours=20)
    made = draft(play, **KNOWN)
    play.add(rca.prepare_rca(play.settings, "engineer.on.call", play.now, made))
    with pytest.raises(RefusedError, match="may not approve rca"):
        rca.approve_rca(play.settings, play.incident, "support.lead", play.now, made.digest)
    with pytest.raises(RefusedError, match="no such version"):
        rca.approve_rca(play.settings, play.incident, "engineer.on.call", play.now, "other")
    assert not [e for e in play.due() if "/rca/" in e.name]
    play.add(rca.approve_rca(play.settings, play.incident, "engineer.on.call", play.now, made.digest))
    assert read(clock_of(play), play.now).state == "running"
    play.wait(hours=1)
    play.deliver()
    assert read(clock_of(play), play.now + timedelta(days=9)).state == "met"
    (mail,) = [e.payload["draft"] for e in play.done if "/rca/" in e.name]
    assert mail.to == ("it@acme.example",)


@pytest.mark.requirement("R003.2")
@pytest.mark.parametrize(("anchor", "start"), [("declared", START), ("resolved", START + timedelta(hours=2))])
def test_the_anchor_is_a_setting(tmp_path, anchor, start):
    """Declaration or resolution instead of the incident's start."""
    edit = ('rca_anchor = "incident_start"', f'rca_anchor = "{anchor}"')
    play = stage.Play(stage.settings(tmp_path, sla=[edit]))
    play.declare()
    play.announce("investigating")
    play.wait(hours=2)
    play.confirm()
    play.announce("resolved", reason="quick")
    assert clock_of(play).started_at == start


@pytest.mark.requirement("R002.17")
def test_an_unset_time_shows_not_agreed_with_its_owner(play):
    """For P2 nothing is promised in the source: it stays an open task of the owner."""
    play.declare(severities=("P2",))
    assert read(clock_of(play), play.now).state == "not agreed"
    (task,) = [t for t in tasks.tasks_for(play.settings, play.incident) if t.ref == "rca/agree-P2"]
    assert (task.role, "not agreed" in task.title) == ("Engineering", True)


@pytest.mark.requirement("R003.3")
def test_a_client_without_an_address_gets_it_by_hand_and_that_stops_its_clock(play):
    """A task with the text; recording the delivery ends it."""
    play.declare(customers=("opera",))
    deliver_rca(play, draft(play, **KNOWN))
    (task,) = [t for t in tasks.tasks_for(play.settings, play.incident) if "/rca/opera" in t.ref]
    assert task.text.startswith("Preliminary Root Cause Analysis")
    play.mark(task.ref)
    assert read(clock_of(play), play.now).state == "met"
    assert not [t for t in tasks.tasks_for(play.settings, play.incident) if "/rca/opera" in t.ref]


@pytest.mark.requirement("R003.49")
def test_the_report_counts_kept_and_broken_promises_per_severity_and_client(desk):
    """Two P1 reports of Acme, one answered in time and one late, and a P3 of City Opera still running."""
    play = stage.Play(desk)
    play.declare()
    play.report("r1")
    play.announce("investigating")
    play.deliver()
    late = play.wait(minutes=45)
    play.report("r2", received_at=START)
    play.deliver()
    other = stage.Play(desk)
    other.declare(severities=("P3",), customers=("opera",))
    other.report("r3", account="opera")
    rows = sla_report(desk, [play.incident, other.incident], START - timedelta(days=1), START + timedelta(days=1), late)
    found = {(r.severity, r.client, r.promise): (r.met, r.missed, r.running, r.kept) for r in rows}
    assert found[("P1", "Acme Theatre", "first response")] == (1, 1, 0, 0.5)
    assert found[("P3", "City Opera", "first response")] == (0, 0, 1, None)
    assert found[("P3", "City Opera", "acknowledgement")] == (0, 0, 1, None)
    assert next(r.not_agreed for r in rows if r.severity == "P3" and r.promise == RCA) == 1
    assert not sla_report(desk, [play.incident], START + timedelta(days=1), START + timedelta(days=2), late)


@pytest.mark.requirement("R002.14", "R003.11", "R003.20")
def test_the_report_names_what_took_longest_to_triage_to_answer_and_to_tell_customers(desk):
    """What is not over yet has no time; an incident noticed outside of the days that are asked for is left out."""
    quick, slow, still = (stage.Play(desk) for _ in range(3))
    for play, minutes in ((quick, 4), (slow, 12)):
        play.declare()
        play.report("r1")
        play.deliver()
        play.wait(minutes=minutes)
        play.add(*rules.triage(desk, "support.lead", play.now, "outage", "organisation"))
        play.add(rules.acknowledge_page(play.incident, "engineer.on.call", play.now, "by phone"))
        play.confirm()
        play.wait(minutes=1)
        play.announce("resolved", reason="fixed at once")
        play.deliver()
    still.declare()
    incidents = [quick.incident, slow.incident, still.incident]
    rows = sla_report(desk, incidents, START - timedelta(days=1), START + timedelta(days=1), slow.now)
    assert [(r.severity, r.promise, r.total, r.longest, r.kept) for r in rows if r.target == "measured"] == [
        ("P1", "all-clear told", 2, timedelta(minutes=1), None),
        ("P1", "page answered", 2, timedelta(minutes=12), None),
        ("P1", "time to triage", 2, timedelta(minutes=12), None),
    ]
    assert not sla_report(desk, incidents, START + timedelta(hours=1), START + timedelta(days=1), slow.now)


@pytest.mark.requirement("R003.50")
def test_the_analysis_is_signed_with_the_customers_own_brand(tmp_path):
    """As the announcements are: it was the desk's, which these customers do not know."""
    own = ('name = "Acme Theatre"', 'name = "Acme Theatre"\nbrand = "ChatLingual"')
    play = stage.Play(stage.settings(tmp_path, desk=[own]))
    play.declare()
    assert draft(play).customer.body.splitlines()[-1] == "ChatLingual"
