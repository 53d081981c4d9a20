"""An incident's life: who may do what, what its events come to, what stays open."""

from datetime import timedelta

import pytest

from recovery.desk import rules, tasks, ticket
from recovery.desk.clocks import clocks_for, general_clock, resolved_lag, time_to_triage
from recovery.desk.fold import fold
from recovery.desk.incident import MACHINE
from recovery.desk.sla import due_at, read
from recovery.errors import RefusedError

from . import stage
from .stage import START, Recorded


@pytest.mark.requirement("R002.1")
def test_scope_is_stored(play):
    """Subset or entire, as declared and as changed later."""
    assert play.declare(scope="entire").scope == "entire"


@pytest.mark.requirement("R003.23")
def test_planned_work_is_not_an_incident(play):
    """Declaring maintenance is refused."""
    with pytest.raises(RefusedError, match="Planned work is not an incident"):
        play.declare(planned=True)


@pytest.mark.requirement("R003.32")
@pytest.mark.parametrize("environment", ["staging", "Staging ", "test"])
def test_staging_is_never_p1(play, environment):
    """Neither declared nor raised to it."""
    with pytest.raises(RefusedError, match="is never P1"):
        play.declare(environment=environment)
    play.declare(environment=environment, severities=("P2",))
    with pytest.raises(RefusedError, match="is never P1"):
        rules.change_severity(play.settings, play.incident, "engineer.on.call", play.now, "P1", "it is bad")


@pytest.mark.requirement("R003.43")
def test_in_doubt_the_higher_severity_holds(play):
    """Two severities considered give the higher one, and the doubt is recorded."""
    incident = play.declare(severities=("P3", "P2"))
    assert incident.severity == "P2"
    assert incident.severities[0].reason == "highest of P3, P2"


@pytest.mark.requirement("R003.24", "R003.25")
def test_decline_and_full_stop_are_told_apart(play):
    """An incident is a degradation or an outage."""
    assert play.declare(kind="degradation").kind == "degradation"


@pytest.mark.requirement("R003.43")
def test_a_severity_change_keeps_the_start_and_records_both(play):
    """The clock's start stays, the target is the new one, old and new severity stand in the timeline."""
    play.declare(severities=("P3",))
    play.report("r1")
    play.wait(minutes=40)
    play.add(rules.change_severity(play.settings, play.incident, "engineer.on.call", play.now, "P1", "all are down"))
    clock = clocks_for(play.settings, play.incident)[0]
    assert (clock.started_at, str(clock.target)) == (START, "30 minutes")
    assert due_at(clock) == START + timedelta(minutes=30)
    assert [s.severity for s in play.incident.severities] == ["P3", "P1"]
    assert play.incident.timeline[-1].data["before"] == "P3"


@pytest.mark.requirement("R002.9", "R003.2", "R003.9")
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("started_at", START + timedelta(seconds=1), "in the future"),
        ("time_zone", "Mars/Phobos", '"Mars/Phobos" is not a time zone'),
        ("time_zone", "America", '"America" is not a time zone'),
        ("time_zone", "", '"" is not a time zone'),
        ("nature", "odd", "Nature is one of outage"),
        ("impact", "odd", "Impact is one of organisation"),
    ],
)
def test_a_fact_that_cannot_be_is_refused_when_it_is_declared_or_learnt(play, field, value, words):
    """Else a root-cause clock would start years ahead, or every text with a time would fail from then on."""
    play.declare()
    with pytest.raises(RefusedError, match=words):
        rules.record_fact(play.settings, "engineer.on.call", play.now, field, value)
    if field in ("started_at", "time_zone"):
        with pytest.raises(RefusedError, match=words):
            stage.Play(play.settings).declare(**{field: value})


def test_a_time_zone_that_an_older_program_recorded_unchecked_stops_nothing(play):
    """Times are then written in UTC; the event stays as it is."""
    play.declare(time_zone="Europe/Berlin")
    data = {"field": "time_zone", "value": "Mars/Phobos"}
    play.events.append(Recorded(len(play.events) + 1, "fact_recorded", "engineer.on.call", play.now, data))
    assert play.incident.time_zone == "UTC"
    assert "(2026-07-01 15:40 UTC)" in ticket.ticket_draft(play.settings, play.incident).started_at


@pytest.mark.requirement("R003.21", "R002.36")
def test_every_step_is_in_the_timeline_with_its_person(play):
    """Declaration, reports, announcements and approvals appear in order, by name."""
    play.declare()
    play.report("r1")
    play.announce("investigating")
    assert [(e.kind, e.by) for e in play.incident.timeline] == [
        ("declared", "engineer.on.call"),
        ("report_received", MACHINE),
        ("announcement_prepared", "support.lead"),
        ("announcement_approved", "success.lead"),
    ]


@pytest.mark.requirement("R003.21")
def test_unknown_events_stay_in_the_timeline_and_change_nothing_else(play):
    """An older program can read a newer stream; the same events always give the same state."""
    before = play.declare()
    play.events.append(Recorded(2, "moon_observed", "x", play.now, {"phase": "full"}))
    after = play.incident
    assert after.timeline[-1].kind == "moon_observed"
    assert (after.severity, after.posts, after.seq) == (before.severity, before.posts, 2)
    assert fold("inc-1", play.events) == after
    assert fold("inc-1", []) is None


@pytest.mark.parametrize(
    ("step", "by"),
    [
        (lambda p: rules.confirm_resolved(p.settings, "support.lead", p.now, "ok"), "support.lead"),
        (
            lambda p: rules.prepare_announcement(p.settings, p.incident, "engineer.on.call", p.now, "investigating"),
            "engineer.on.call",
        ),
        (
            lambda p: rules.change_severity(p.settings, p.incident, "success.lead", p.now, "P2", "smaller"),
            "success.lead",
        ),
        (lambda p: rules.declare(p.settings, "nobody", p.now, DECLARED), "nobody"),
        (lambda p: rules.declare(p.settings, MACHINE, p.now, DECLARED), MACHINE),
    ],
)
def test_a_step_without_the_role_is_refused(play, step, by):
    """The sentence names the person and who may do it."""
    play.declare()
    with pytest.raises(RefusedError, match=f'"{by}" may not .*that is for'):
        step(play)


DECLARED = rules.Declaration("x", "person", "", ("P2",), "subset", "outage", "production", "UTC", START)


@pytest.mark.requirement("R002.11")
def test_an_unknown_field_reads_not_yet_known_and_stays_an_open_task(play):
    """Until a person records it."""
    play.declare(steps=(), started_at=None)
    draft = ticket.ticket_draft(play.settings, play.incident)
    assert (draft.steps, draft.started_at) == (("not yet known",), "not yet known")
    open_tasks = {t.ref for t in tasks.tasks_for(play.settings, play.incident)}
    assert {"fact/started_at", "fact/steps"} <= open_tasks
    play.add(rules.record_fact(play.settings, "support.lead", play.now, "steps", ("Send a mail",)))
    assert "fact/steps" not in {t.ref for t in tasks.tasks_for(play.settings, play.incident)}
    assert ticket.ticket_draft(play.settings, play.incident).steps == ("Send a mail",)


@pytest.mark.requirement("R002.8", "R002.9", "R002.10", "R002.11")
def test_the_ticket_has_the_four_required_fields(play):
    """Customers by name, start with zone, steps, symptoms."""
    play.declare()
    draft = ticket.ticket_draft(play.settings, play.incident)
    assert draft.customers == ("Acme Theatre",)
    assert draft.started_at == "2026-07-01T15:40:00Z (2026-07-01 09:40 America/Denver)"
    assert draft.steps == ("Schedule a campaign",)
    assert draft.symptoms == ("Campaigns stay pending",)


@pytest.mark.requirement("R003.32")
def test_what_a_severity_does_not_include_stands_on_the_ticket(tmp_path):
    """As the settings list it; without a list nothing is said."""
    listed = ("excludes = []", 'excludes = ["a single user", "a missing feature"]')
    for edits, line in (([listed], ("Does not include: a single user, a missing feature",)), ([], ())):
        play = stage.Play(stage.settings(tmp_path / str(len(edits)), desk=edits))
        said = dict(ticket.ticket_draft(play.settings, play.declare()).sections)["Severity"]
        assert said[1:-1] == line


@pytest.mark.requirement("R002.34")
def test_duties_are_tracked_per_role(play):
    """Each role's duty is open until a person of that role signs it."""
    play.declare()
    duty = "duty/engineering/cause found"
    assert duty in {t.ref for t in tasks.tasks_for(play.settings, play.incident)}
    with pytest.raises(RefusedError):
        rules.complete_duty(play.settings, "support.lead", play.now, "engineering", "cause found")
    play.add(rules.complete_duty(play.settings, "engineer.on.call", play.now, "engineering", "cause found"))
    roles = {t.role for t in tasks.tasks_for(play.settings, play.incident) if t.ref.startswith("duty/")}
    assert duty not in {t.ref for t in tasks.tasks_for(play.settings, play.incident)}
    assert roles == {"support", "success", "engineering"}


@pytest.mark.requirement("R003.11")
def test_time_to_triage_is_measured(play):
    """From the first sign until a person has given nature and impact."""
    play.declare()
    assert time_to_triage(play.incident) is None
    play.wait(minutes=12)
    play.add(*rules.triage(play.settings, "support.lead", play.now, "outage", "organisation"))
    assert time_to_triage(play.incident) == timedelta(minutes=12)


@pytest.mark.requirement("R003.9")
def test_the_queue_is_ordered_by_severity_nature_impact_and_age(tmp_path):
    """Both fields count, and what is not triaged yet comes before what is."""
    config = stage.settings(tmp_path)

    def incident(title, minute, **said):
        play = stage.Play(config, now=START + timedelta(minutes=minute))
        return play.declare(title=title, severities=("P2",), started_at=None, **said)

    some = [
        incident("bug for all", 0, nature="bug", impact="organisation"),
        incident("outage for one", 1, nature="outage", impact="one person"),
        incident("outage for all", 2, nature="outage", impact="organisation"),
        incident("unknown", 3),
    ]
    titles = [i.title for i in tasks.queue(config, some)]
    assert titles == ["unknown", "outage for all", "outage for one", "bug for all"]


@pytest.mark.requirement("R002.16")
def test_replies_of_customers_are_flagged_until_a_person_answers(play):
    """The longest waiting first; a machine's answer does not count."""
    play.declare()
    for minute, ref in ((0, "r1"), (1, "r2")):
        play.report(ref)
        data = {"report_ref": ref, "at": (START + timedelta(minutes=minute)).isoformat()}
        play.events.append(Recorded(len(play.events) + 1, "customer_replied", MACHINE, play.now, data))
    assert tasks.flagged_replies(play.incident) == ("r1", "r2")
    later = START + timedelta(minutes=9)
    play.add(rules.record_response(MACHINE, later, "r2", human=False, public=True, answered_at=later))
    play.add(rules.record_response("ann", later, "r1", human=True, public=True, answered_at=later))
    assert tasks.flagged_replies(play.incident) == ("r2",)


@pytest.mark.requirement("R003.46", "R003.5")
def test_an_automatic_receipt_stops_only_the_acknowledgement_clock(tmp_path):
    """And not even that when the setting says no; a person's public answer stops both, an internal note none."""
    for counts, acknowledged in (("true", "met"), ("false", "running")):
        rule = f"automatic_acknowledgement_counts = {counts}"
        edits = [("automatic_acknowledgement_counts = true", rule)]
        play = stage.Play(stage.settings(tmp_path / counts, sla=edits))
        play.declare(severities=("P2",))
        play.report("r1")
        at = play.wait(minutes=5)
        play.add(rules.record_response(MACHINE, at, "r1", human=False, public=True, answered_at=at))
        play.add(rules.record_response("ann", at, "r1", human=True, public=False, answered_at=at))
        assert states(play) == {"first response": "running", "acknowledgement": acknowledged}
        play.add(rules.record_response("ann", at, "r1", human=True, public=True, answered_at=at))
        assert states(play) == {"first response": "met", "acknowledgement": "met"}


def states(play):
    clocks = clocks_for(play.settings, play.incident)
    return {c.name: read(c, play.now).state for c in clocks if c.about == "r1"}


@pytest.mark.requirement("R003.1", "R003.47")
def test_p1_is_never_paused_and_others_only_in_a_set_state(play):
    """A hold is refused for P1, and one from before a raise to P1 no longer counts."""
    play.declare(severities=("P2",))
    play.report("r1")
    with pytest.raises(RefusedError, match="only in these states: waiting_for_customer"):
        rules.start_hold(play.settings, play.incident, "support.lead", play.now, "lunch")
    with pytest.raises(RefusedError, match='no report "r9"'):
        rules.start_hold(play.settings, play.incident, "support.lead", play.now, "waiting_for_customer", "r9")
    play.add(rules.start_hold(play.settings, play.incident, "support.lead", play.now, "waiting_for_customer"))
    assert states(play)["first response"] == "paused"
    play.add(rules.change_severity(play.settings, play.incident, "engineer.on.call", play.now, "P1", "all down"))
    assert states(play)["first response"] == "running"
    with pytest.raises(RefusedError, match="never paused"):
        rules.start_hold(play.settings, play.incident, "support.lead", play.now, "waiting_for_customer")


@pytest.mark.requirement("R003.26")
def test_an_unclassified_request_has_the_soft_general_clock(desk):
    """24 hours on business days, from the settings, never breached."""
    clock = general_clock(desk, "mail-1", "acme", START)
    assert (str(clock.target), clock.soft) == ("24 hours on business days", True)


@pytest.mark.requirement("R002.14", "R003.20")
def test_the_lag_between_confirmation_and_the_last_customer_told_is_measured(play):
    """None while a ticket is still to be told."""
    play.declare()
    play.report("r1")
    play.announce("investigating")
    play.confirm()
    play.wait(minutes=2)
    play.announce("resolved", reason="fixed at once")
    assert resolved_lag(play.incident) is None
    play.wait(minutes=1)
    play.deliver()
    assert resolved_lag(play.incident) == timedelta(minutes=3)
