"""How signals become incidents."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.desk.notice import OpenIncident, Signal, notice, ref_of
from recovery.desk.settings import NoticeRules

from .stage import START

RULES = NoticeRules(reports_needed=3, report_window_minutes=30, merge_window_minutes=120)


def report(ref, minute, account=None, service=""):
    return Signal("report", ref, START + timedelta(minutes=minute), service, account or ref)


def alert(ref, minute, **more):
    return Signal("alert", ref, START + timedelta(minutes=minute), **more)


@pytest.mark.requirement("R002.2")
def test_one_alert_opens_an_incident():
    """Monitoring needs no second sign."""
    (decision,) = notice([alert("a1", 0)], [], RULES)
    assert (decision.fate, decision.incident_ref) == ("declare", ref_of("alert", "a1"))


@pytest.mark.requirement("R002.3")
def test_enough_customers_within_the_window_open_an_incident():
    """The third customer within the half hour does; two, or one writing three times, or too slowly, do not."""
    assert [d.fate for d in notice([report("r1", 0), report("r2", 10), report("r3", 29)], [], RULES)] == ["declare"]
    assert {d.fate for d in notice([report("r1", 0), report("r2", 10)], [], RULES)} == {"wait"}
    same = [report(f"r{n}", n, account="acme") for n in range(3)]
    assert {d.fate for d in notice(same, [], RULES)} == {"wait"}
    assert {d.fate for d in notice([report(f"r{n}", n * 16) for n in range(3)], [], RULES)} == {"wait"}


@pytest.mark.requirement("R002.3")
def test_number_and_window_are_settings():
    """Two reports in five minutes suffice when the settings say so."""
    quick = NoticeRules(reports_needed=2, report_window_minutes=5, merge_window_minutes=60)
    assert [d.fate for d in notice([report("r1", 0), report("r2", 5)], [], quick)] == ["declare"]


@pytest.mark.requirement("R002.4")
def test_alert_and_reports_are_one_incident_under_the_first_source():
    """Reports before and after an alert join it; an alert after enough reports joins theirs."""
    first, *rest = notice([report("r1", 0), alert("a1", 5), report("r2", 9)], [], RULES)
    assert first.incident_ref == ref_of("alert", "a1")
    assert [s.ref for s in first.signals] == ["r1", "a1"]
    assert [(d.fate, d.incident_ref) for d in rest] == [("merge", ref_of("alert", "a1"))]
    by_reports = notice([*(report(f"r{n}", n) for n in range(3)), alert("a1", 5)], [], RULES)
    assert [(d.fate, d.incident_ref) for d in by_reports] == [
        ("declare", ref_of("report", "r0")),
        ("merge", ref_of("report", "r0")),
    ]


@pytest.mark.requirement("R002.4", "R002.6")
def test_later_reports_join_the_open_incident_of_their_service():
    """However late; a report about another service does not."""
    known = [OpenIncident("inc-1", START, "mail")]
    fates = [
        d.fate for d in notice([report("r1", 2000, service="mail"), report("r2", 1, service="sync")], known, RULES)
    ]
    assert sorted(fates) == ["merge", "wait"]


@pytest.mark.requirement("R002.3")
def test_somebody_of_no_known_account_is_one_customer_however_often_they_write():
    """Three mails of one unknown sender wait; those of three unknown senders open an incident."""
    for senders, fates in (("aaa", ["wait"] * 3), ("abc", ["declare"])):
        signals = [Signal("report", f"r{n}", START, sender=sender) for n, sender in enumerate(senders)]
        assert [d.fate for d in notice(signals, [], RULES)] == fates


@pytest.mark.requirement("R003.14")
@pytest.mark.parametrize(
    ("signal", "known", "fate"),
    [
        (Signal("p1_mail", "m", START), OpenIncident("inc-1", START), "merge"),
        (Signal("p1_mail", "m", START), OpenIncident("inc-1", START, paged=False), "declare"),
        (alert("a", 0, service="mail"), OpenIncident("inc-1", START, paged=False), "declare"),
        (alert("a", 0, service="mail"), OpenIncident("inc-1", START, "mail", paged=False), "merge"),
        (alert("a", 120), OpenIncident("inc-1", START), "merge"),
        (alert("a", 121), OpenIncident("inc-1", START), "declare"),
        (alert("a", 720), OpenIncident("inc-1", START, active_at=START + timedelta(hours=10)), "merge"),
    ],
)
def test_what_pages_joins_only_what_was_paged_for_and_is_worked_on(signal, known, fate):
    """Not a slower incident, except a service that people have judged; nor one that nobody touches any more."""
    assert [d.fate for d in notice([signal], [known], RULES)] == [fate]


@pytest.mark.requirement("R003.23")
def test_planned_work_is_excluded():
    """A sign that monitoring marks as planned opens nothing."""
    assert [d.fate for d in notice([alert("a1", 0, planned=True)], [], RULES)] == ["excluded"]


@settings(max_examples=60, deadline=None)
@given(st.permutations([*(report(f"r{n}", n * 7) for n in range(6)), alert("a1", 18), alert("a2", 400)]))
def test_the_order_in_which_signals_are_read_does_not_matter(signals):
    """Two runners that read the same signals come to the same incidents."""
    assert notice(signals, [], RULES) == notice(sorted(signals, key=lambda s: s.at), [], RULES)
