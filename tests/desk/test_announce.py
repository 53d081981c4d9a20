"""Announcements: words, order, refusals, updates, expiry."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from recovery.desk import alarms, announce, rules, tasks
from recovery.desk.outbox import expires_at
from recovery.desk.settings import PHASES
from recovery.errors import ConfigError, RefusedError

from . import stage

TITLES = {
    "investigating": "Service Status Update: Issue Under Investigation",
    "identified": "Service Status Update: Issue Identified - Fix in Progress",
    "resolved": "Service Status Update: Issue Resolved",
}


def fields_of(body):
    return [line.partition(":")[0] for line in body.splitlines() if line.startswith(("Estimated", "Symptoms"))]


@pytest.mark.requirement("R002.18", "R002.21", "R002.25")
@pytest.mark.parametrize("phase", PHASES)
def test_titles_are_the_sources(play, phase):
    """Word for word."""
    play.declare()
    assert announce.announcement(play.settings, play.incident, phase).title == TITLES[phase]


@pytest.mark.requirement("R002.19", "R002.20", "R002.24")
def test_investigating_says_unknown_and_the_symptoms(play):
    """The two fields in the source's order on lines of their own, then apology and thanks."""
    incident = play.declare(symptoms=("Error 500", "empty report"))
    body = announce.announcement(play.settings, incident, "investigating").body
    assert fields_of(body) == ["Estimated Resolution Time", "Symptoms"]
    lines = body.splitlines()
    assert lines[1:3] == ["Estimated Resolution Time: Unknown", "Symptoms: Error 500; empty report"]
    assert "sorry" in lines[3]
    assert "patience" in lines[3]


@pytest.mark.requirement("R002.22", "R003.50")
def test_identified_names_the_brand_of_the_settings(tmp_path):
    """The desk's brand; the client's own when all affected customers share it."""
    play = stage.Play(stage.settings(tmp_path / "a", desk=[('brand = "iDonate"', 'brand = "cxconnect.ai"')]))
    assert "experience with cxconnect.ai" in announce.announcement(play.settings, play.declare(), "identified").body
    own = ('name = "Acme Theatre"', 'name = "Acme Theatre"\nbrand = "ChatLingual"')
    play = stage.Play(stage.settings(tmp_path / "b", desk=[own]))
    assert "ChatLingual" in announce.announcement(play.settings, play.declare(), "identified").body
    both = stage.Play(play.settings).declare(customers=("acme", "opera"))
    assert "experience with iDonate" in announce.announcement(play.settings, both, "identified").body


@pytest.mark.requirement("R002.23")
def test_a_time_of_resolution_comes_from_a_person_or_is_unknown(play):
    """The product's own voice and an outsider's are refused."""
    play.declare()
    line = "Estimated Resolution Time: {}".format
    assert line("Unknown") in announce.announcement(play.settings, play.incident, "identified").body
    for stranger in ("allclear", "somebody"):
        with pytest.raises(RefusedError, match="named person"):
            rules.give_eta(play.settings, stranger, play.now, "17:00")
    play.add(rules.give_eta(play.settings, "engineer.on.call", play.now, "today 17:00 MDT"))
    assert line("today 17:00 MDT") in announce.announcement(play.settings, play.incident, "identified").body


@pytest.mark.requirement("R002.28")
def test_nothing_is_published_while_a_placeholder_remains(play, tmp_path):
    """Unknown symptoms, a value that is itself a placeholder, and a placeholder that nobody fills are refused."""
    play.declare(symptoms=())
    with pytest.raises(RefusedError, match="Nothing is known yet"):
        play.announce("investigating")
    play.add(rules.record_fact(play.settings, "support.lead", play.now, "symptoms", ("<Insert error(s) or other>",)))
    with pytest.raises(RefusedError, match="Nothing is known yet"):
        play.announce("investigating")
    stage.copy_config(tmp_path / "more")
    template = tmp_path / "more" / "templates" / "investigating.j2"
    template.write_text(template.read_text() + "\nRegion: <Insert region>")
    more = stage.Play(stage.load_desk(tmp_path / "more", stage.ENVIRON))
    more.declare()
    with pytest.raises(RefusedError, match="<Insert region>"):
        more.announce("investigating")


@pytest.mark.requirement("R002.28")
def test_lost_line_breaks_of_a_pasted_template_are_restored(tmp_path):
    """The source's own text, pasted with its fields run together, comes out with a line per field."""
    stage.copy_config(tmp_path)
    (tmp_path / "templates" / "identified.j2").write_text(
        "Service Status Update: Issue Identified - Fix in Progress\n"
        "We know the cause.Estimated Resolution Time: <Insert ETA>Symptoms: <Insert error(s) or other>We are sorry."
    )
    play = stage.Play(stage.load_desk(tmp_path, stage.ENVIRON))
    assert announce.announcement(play.settings, play.declare(), "identified").body.splitlines() == [
        "We know the cause.",
        "Estimated Resolution Time: Unknown",
        "Symptoms: Campaigns stay pending",
        "We are sorry.",
    ]


def test_a_template_cannot_reach_into_the_program_or_name_unknown_things(tmp_path):
    """Templates are sandboxed, and a misspelt variable is an error that names the file."""
    for body in ("{{ ''.__class__.__mro__ }}", "{{ bránd }}", "{{ brand.x.y }}", "{% for %}"):
        stage.copy_config(tmp_path)
        (tmp_path / "templates" / "resolved.j2").write_text(f"Title\n{body}")
        play = stage.Play(stage.load_desk(tmp_path, stage.ENVIRON))
        with pytest.raises(ConfigError, match=r"templates/resolved\.j2"):
            announce.announcement(play.settings, play.declare(), "resolved")


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_what_others_wrote_is_text_and_never_a_template(text):
    """Whatever stands in the symptoms comes out as it is, on one line, or is refused; it is never evaluated."""
    desk = stage.load_desk(stage.CONFIG, {})
    incident = stage.Play(desk).declare(symptoms=("{{ brand }} {% raw %} & <b>" + text,))
    if announce.PLACEHOLDER.search("".join(incident.symptoms)):
        return
    line = announce.announcement(desk, incident, "investigating").body.splitlines()[2]
    assert line.startswith("Symptoms: {{ brand }} {% raw %} & <b>")
    assert len(announce.announcement(desk, incident, "investigating").body.split("\n")) == 4


@pytest.mark.requirement("R002.29")
def test_the_order_is_kept_and_a_skip_or_reopening_needs_a_reason(play):
    """Investigating, identified, resolved; the reason stays with the post."""
    play.declare()
    with pytest.raises(RefusedError, match='skips "investigating"'):
        play.announce("identified")
    play.announce("investigating")
    with pytest.raises(RefusedError, match="already announced"):
        play.announce("investigating", reason="again")
    play.confirm()
    with pytest.raises(RefusedError, match='skips "identified"'):
        play.announce("resolved")
    play.announce("resolved", reason="cause and fix in one")
    with pytest.raises(RefusedError, match="Going back"):
        play.announce("investigating")
    incident = play.announce("investigating", reason="it is back")
    assert [p.reason for p in incident.posts] == ["", "cause and fix in one", "it is back"]
    assert incident.reopenings[0].text == "it is back"


@pytest.mark.requirement("R002.15")
def test_resolved_needs_a_named_confirmation_by_engineering_each_time(play):
    """Not before, and after a reopening not on the strength of the old one."""
    play.declare()
    play.announce("investigating")
    with pytest.raises(RefusedError, match="Engineering has confirmed"):
        play.announce("resolved", reason="seems fine")
    with pytest.raises(RefusedError):
        rules.confirm_resolved(play.settings, "success.lead", play.now, "seems fine")
    play.confirm()
    play.announce("resolved", reason="quick fix")
    play.announce("identified", reason="it is back")
    with pytest.raises(RefusedError, match="Engineering has confirmed"):
        play.announce("resolved")


@pytest.mark.requirement("R002.30", "R002.36")
def test_what_is_approved_is_what_was_shown(play):
    """An approval is bound to the words; other words, or words prepared anew, are refused."""
    play.declare()
    play.add(rules.prepare_announcement(play.settings, play.incident, "support.lead", play.now, "investigating"))
    shown = play.incident.draft.digest
    play.add(rules.record_fact(play.settings, "support.lead", play.now, "symptoms", ("other",)))
    play.add(rules.prepare_announcement(play.settings, play.incident, "support.lead", play.now, "investigating"))
    with pytest.raises(RefusedError, match="look at the present one again"):
        rules.approve_announcement(play.settings, play.incident, "success.lead", play.now, shown)


def test_self_approval_can_be_switched_off(tmp_path):
    """Then a second person has to look."""
    play = stage.Play(stage.settings(tmp_path, desk=[("self_approval = true ", "self_approval = false ")]))
    play.declare()
    with pytest.raises(RefusedError, match="may not approve it"):
        play.announce("investigating", approver="support.lead")


@pytest.mark.requirement("R002.33")
@pytest.mark.parametrize(
    "leak",
    [
        "see INC-42",
        "OPS-1 is open",
        "as in ops-7",
        "[RK-ABCDEFGH23456723]",
        "PagerDuty says",
        "write to " + stage.P1_ADDRESS.upper(),
    ],
)
def test_internals_never_reach_customers(play, leak):
    """Issue keys, our markers, internal words and the secret address stop an announcement."""
    play.declare(symptoms=(leak,))
    with pytest.raises(RefusedError, match="must not stand in a text for customers") as caught:
        play.announce("investigating")
    assert stage.P1_ADDRESS not in str(caught.value).casefold()


@pytest.mark.requirement("R002.33")
def test_ordinary_words_that_look_like_keys_are_allowed(play):
    """UTF-8 and HTTP-500 are no issue keys."""
    play.declare(symptoms=("HTTP-500 and broken UTF-8",))
    assert play.announce("investigating").posts


@pytest.mark.requirement("R002.35")
def test_rotating_lights_are_an_option_of_chat(tmp_path, desk):
    """Round the title in chat when switched on, and nowhere else."""
    assert announce.chat_title(desk, "T") == "T"
    lit = stage.Play(stage.settings(tmp_path / "lit", desk=[("rotating_light = false", "rotating_light = true")]))
    lit.declare()
    lit.report("r1")
    lit.announce("investigating")
    lit.deliver()
    texts = {e.system.value: e.payload["text"] for e in lit.done if e.slot == "post-1" and "text" in e.payload}
    assert texts["slack"] == f":rotating_light: {TITLES['investigating']} :rotating_light:"
    assert ":rotating_light:" not in texts["zendesk"]


@pytest.mark.requirement("R002.13")
def test_regular_updates_are_due_at_the_interval_and_overdue_ones_alarm_once(play):
    """30 minutes after the last post; an update moves the time, resolved ends it."""
    play.declare()
    play.announce("investigating")
    assert alarms.next_update_at(play.settings, play.incident) == play.now + timedelta(minutes=30)
    play.wait(minutes=29)
    assert not update_alarms(play)
    play.wait(minutes=1)
    (alarm,) = update_alarms(play)
    play.add(alarm)
    assert not update_alarms(play)
    play.add(rules.prepare_update(play.settings, play.incident, "support.lead", play.now, "Restarting the queue."))
    digest = play.incident.draft.digest
    post = play.add(rules.approve_announcement(play.settings, play.incident, "success.lead", play.now, digest)).posts[
        -1
    ]
    assert (post.title, post.phase, post.update) == (TITLES["investigating"], "investigating", True)
    assert "Restarting the queue." in post.body
    assert "by 11:00 (America/Denver)" in post.body
    assert alarms.next_update_at(play.settings, play.incident) == play.now + timedelta(minutes=30)
    play.confirm()
    play.announce("resolved", reason="done")
    assert alarms.next_update_at(play.settings, play.incident) is None


def update_alarms(play):
    due = alarms.alarms_due(play.settings, play.incident, play.now)
    return [c for c in due if c.data["alarm"].startswith("update")]


@pytest.mark.requirement("R002.26")
def test_the_resolved_notice_comes_down_an_hour_after_posting_is_retried_and_alarmed(guided):
    """By our own timer: derived from the posting's time, so a restart changes nothing."""
    play = guided
    play.declare()
    play.announce("investigating")
    play.deliver()
    play.confirm()
    play.down = {"pendo"}
    play.announce("resolved", reason="quick")
    play.deliver()
    assert expires_at(play.incident, play.settings) is None
    play.wait(minutes=10)
    play.down = set()
    play.deliver()
    posted = play.now
    assert expires_at(play.incident, play.settings) == posted + timedelta(minutes=60)
    expiry = "withdraw/pendo/inc-1/resolved@expiry-post-2"
    play.wait(minutes=59)
    assert expiry not in [e.name for e in play.due()]
    play.wait(minutes=1)
    (effect,) = [e for e in play.due() if e.name == expiry]
    assert effect.payload == {"guide_ref": "g3", "state": "disabled"}
    play.fail(expiry)
    play.wait(minutes=5)
    assert expiry in [e.name for e in play.due()]
    assert "expiry-post-2" in {c.data["alarm"] for c in alarms.alarms_due(play.settings, play.incident, play.now)}
    play.deliver()
    assert expiry in play.incident.delivered
    assert expiry not in [e.name for e in play.due()]


@pytest.mark.requirement("R002.27")
def test_the_first_two_have_no_expiry_and_the_next_publication_withdraws_the_previous(guided):
    """Days later investigating is still up; identified takes it down before it goes up itself."""
    play = guided
    play.declare()
    play.announce("investigating")
    play.deliver()
    play.wait(days=3)
    assert not [e for e in play.due() if e.kind.value == "withdraw"]
    play.announce("identified")
    assert "announce/pendo/inc-1/identified@post-2" not in [e.name for e in play.due()]
    play.deliver()
    pendo = play.names("pendo")
    assert pendo.index("withdraw/pendo/inc-1/investigating@before-post-2") < pendo.index(
        "announce/pendo/inc-1/identified@post-2"
    )


@pytest.mark.requirement("R002.32")
@pytest.mark.parametrize(("scope", "segment"), [("entire", "all-visitors"), ("subset", "affected")])
def test_the_audience_follows_the_scope(guided, scope, segment):
    """The guide's segment is set before it is shown; only an incident of everyone goes on the public page."""
    guided.declare(scope=scope)
    guided.announce("investigating")
    guided.deliver()
    pendo = [e for e in guided.done if e.system.value == "pendo"]
    assert [(e.kind.value, e.payload.get("segment_ref")) for e in pendo] == [("setting", segment), ("announce", None)]
    assert bool(guided.names("statuspage")) == (scope == "entire")


@pytest.mark.requirement("R002.32")
def test_without_a_segment_for_the_affected_nothing_is_shown_to_everybody(tmp_path):
    """A person gets the task instead."""
    line = (stage.GUIDES[0], stage.GUIDES[1].replace(', subset = "affected"', ""))
    play = stage.Play(stage.settings(tmp_path, desk=[line]))
    play.declare(scope="subset")
    play.announce("investigating")
    play.deliver()
    assert not play.names("pendo")
    (task,) = [t for t in tasks.tasks_for(play.settings, play.incident) if t.ref == "in-app/post-1/show"]
    assert "only the affected customers" in task.title


@pytest.mark.requirement("R002.32")
def test_a_guide_shown_to_everybody_comes_down_when_only_some_are_affected_after_all(tmp_path):
    """Without a segment for them the affected are told by a person; the others no longer read it."""
    only_all = (stage.GUIDES[0], stage.GUIDES[1].replace(', subset = "affected"', ""))
    play = stage.Play(stage.settings(tmp_path, desk=[only_all]))
    play.declare(scope="entire")
    play.announce("investigating")
    play.deliver()
    play.add(rules.change_scope(play.settings, play.incident, "support.lead", play.now, "subset", ("acme",)))
    play.deliver()
    (down,) = [e.payload for e in play.done if "withdraw/pendo" in e.name]
    assert down == {"guide_ref": "g1", "state": "disabled"}
    assert "in-app/post-1/show" in [t.ref for t in tasks.tasks_for(play.settings, play.incident)]
    play.deliver()
    assert len(play.names("withdraw/pendo")) == 1


@pytest.mark.requirement("R002.31")
def test_by_hand_there_is_text_to_copy_a_deep_link_and_a_timed_take_down(play):
    """The take-down is due an hour after the person said it is up."""
    play.declare()
    play.announce("investigating")
    (show,) = [t for t in tasks.tasks_for(play.settings, play.incident) if t.ref == "in-app/post-1/show"]
    assert show.text.startswith(TITLES["investigating"])
    assert show.link == "https://app.pendo.io/guides"
    play.confirm()
    play.announce("resolved", reason="quick")
    at = play.wait(minutes=7)
    play.add(rules.complete_task(play.settings, "support.lead", at, "in-app/post-2/show"))
    due = {t.ref: t.due_at for t in tasks.tasks_for(play.settings, play.incident) if t.ref.startswith("in-app")}
    assert due == {"in-app/post-1/take-down": None, "in-app/post-2/take-down": at + timedelta(minutes=60)}


@pytest.mark.requirement("R002.26", "R002.31")
def test_a_notice_that_a_person_has_not_taken_down_in_time_is_alarmed_once(play):
    """After the hour and its five minutes of grace; not when the person has said that it is down."""
    play.declare()
    play.confirm()
    play.announce("resolved", reason="quick")
    play.add(rules.complete_task(play.settings, "support.lead", play.now, "in-app/post-1/show"))
    play.wait(minutes=64, seconds=59)
    assert "expiry-post-1" not in alarm_names(play)
    play.wait(seconds=1)
    assert alarm_names(play).count("expiry-post-1") == 1
    play.deliver()
    assert "expiry-post-1" not in alarm_names(play)
    assert play.names("@alarm/expiry-post-1")
    taken = stage.Play(play.settings, play.now, play.events[:-1])
    taken.add(rules.complete_task(play.settings, "support.lead", play.now, "in-app/post-1/take-down"))
    assert [t.ref for t in tasks.tasks_for(taken.settings, taken.incident) if t.due_at] == []


@pytest.mark.requirement("R002.14")
def test_the_word_of_engineering_is_told_at_once_to_those_who_tell_customers(play):
    """A message in the alarms channel and a task, until the resolved notice is approved; once for each opening."""
    play.declare()
    play.announce("investigating")
    play.confirm()
    play.deliver()
    (alarm,) = [e.payload for e in play.done if "@alarm/confirmed-0" in e.name]
    assert alarm["text"] == "engineer.on.call has confirmed that it is resolved: tell every customer now."
    told = [t.ref for t in tasks.tasks_for(play.settings, play.incident)]
    assert "announce/resolved-0" in told
    play.announce("resolved", reason="quick")
    assert not [t for t in tasks.tasks_for(play.settings, play.incident) if t.ref.startswith("announce/")]
    play.announce("investigating", reason="it is back")
    play.confirm()
    assert "confirmed-1" in alarm_names(play)


def alarm_names(play):
    return [c.data["alarm"] for c in alarms.alarms_due(play.settings, play.incident, play.now)]


@pytest.mark.requirement("R002.13", "R003.50")
def test_a_title_with_the_brand_is_filled_in_an_update_too(tmp_path):
    """The update took the title as the template has it: customers read "{{ brand }}"."""
    folder = stage.copy_config(tmp_path)
    template = folder / "templates" / "investigating.j2"
    template.write_text("{{ brand }}: " + template.read_text())
    play = stage.Play(stage.load_desk(folder, stage.ENVIRON))
    play.declare()
    title = play.announce("investigating").posts[-1].title
    play.add(rules.prepare_update(play.settings, play.incident, "support.lead", play.now, "We restart the queues."))
    assert play.incident.draft.title == title == "iDonate: Service Status Update: Issue Under Investigation"
