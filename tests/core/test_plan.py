"""Plans: frozen, ordered, hashed, the same for everyone who sees the same findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.errors import RefusedError, UsageError
from recovery.ledger.codec import decode_plan, encode_plan
from recovery.model import (
    ActionKind,
    Answer,
    Finding,
    Harm,
    Kind,
    OutageWindow,
    Plan,
    PlanItem,
    PlannedAction,
    Remedy,
    Verdict,
    digest_of,
)
from recovery.plan import CAMPAIGN_CAVEAT, JOB_CAVEAT, freeze, is_intact, key_for, make_plan, select
from recovery.policy import Decision, Limits, ValidUntil

from .makers import (
    DUE,
    NOW,
    SECRET,
    WINDOW,
    a_finding,
    a_missed_campaign,
    a_missed_trigger,
    a_plan,
    a_slot,
    shipped_policy,
)

HOUR = timedelta(hours=1)
MANY = [
    a_missed_campaign("7"),
    a_missed_campaign("8", account="zoo"),
    a_missed_trigger("t1"),
    a_missed_trigger("t1", DUE + HOUR),
    a_finding(a_slot(Kind.IMPORT, "i1"), Verdict.FAILED, "full_error"),
    a_finding(a_slot(Kind.IMPORT, "i2"), Verdict.STALLED, "in_progress_too_long", {"state": "running"}),
    a_finding(a_slot(Kind.DATA_SYNC, "d1"), Verdict.FAILED, "sync_gap"),
    a_finding(a_slot(Kind.AUTOMATION, "a1"), Verdict.UNCERTAIN, "automation"),
    a_finding(a_slot(Kind.SEGMENT_TRANSFER, "s1")),
    a_finding(a_slot(Kind.EADDRESS_SYNC, "e1")),
    a_finding(a_slot(Kind.IMPORT, "i3"), Verdict.DONE, "succeeded"),
]


def item_of(finding: Finding, **policy: Any) -> PlanItem:
    return a_plan(finding, policy=replace(shipped_policy(), **policy)).items[0]


def kinds(item: PlanItem) -> list[str]:
    return [a.kind.value for a in item.actions]


def an_answer(choice: str) -> Answer:
    return Answer("", "Ann", NOW, choice, "I looked")


# ---- the same plan for the same findings ----------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.permutations(MANY))
def test_the_order_of_findings_changes_nothing(findings: list[Finding]) -> None:
    assert a_plan(*findings) == a_plan(*MANY)


def test_every_finding_that_is_not_done_has_exactly_one_item() -> None:
    """Nothing is dropped silently, and nothing that was done is in the plan."""
    expected = sorted(f.slot.key for f in MANY if f.verdict is not Verdict.DONE)
    assert sorted(i.slot.key for i in a_plan(*MANY).items) == expected


def test_data_syncs_come_before_imports_and_triggers_and_those_before_campaigns() -> None:
    """Tags and lists are right before anything is sent to them."""
    order = [i.slot.kind for i in a_plan(*MANY).items]
    assert [k for n, k in enumerate(order) if k not in order[:n]] == [
        "data_sync_tag",
        "eaddress_sync",
        "integrated_import",
        "scheduled_trigger",
        "segment_transfer",
        "campaign",
        "automation",
    ]


def test_a_plan_expires_after_the_time_that_policy_gives() -> None:
    plan = a_plan(policy=replace(shipped_policy(), plan_expires=timedelta(minutes=7)))
    assert plan.expires_at - plan.made_at == timedelta(minutes=7)


# ---- the digest -----------------------------------------------------------------------------------------------------


def other_than(value: object) -> object:
    """Another value of the same type."""
    changes: list[tuple[type, Callable[[Any], object]]] = [
        (Verdict, lambda _: Verdict.UNCERTAIN),
        (Remedy, lambda _: Remedy.DROP),
        (ActionKind, lambda _: ActionKind.PAGE),
        (Harm, lambda _: Harm.H1),
        (bool, lambda v: not v),
        (str, lambda v: f"{v}x"),
        (int, lambda v: v + 1),
        (datetime, lambda v: v + timedelta(seconds=1)),
        (tuple, lambda v: (*v, *v) if v and not isinstance(v[0], str) else (*v, "x")),
        (dict, lambda v: {**v, "x": 1}),
    ]
    return next(change(value) for kind, change in changes if isinstance(value, kind))


def changed(thing: Any, name: str) -> Any:
    return replace(thing, **{name: other_than(getattr(thing, name))})


CASES = [(Plan, f.name) for f in fields(Plan) if f.name not in ("digest", "window")]
CASES += [(OutageWindow, f.name) for f in fields(OutageWindow)]
CASES += [(PlanItem, f.name) for f in fields(PlanItem) if f.name != "slot"]
CASES += [(type(a_slot()), f.name) for f in fields(a_slot())]
CASES += [(PlannedAction, f.name) for f in fields(PlannedAction)]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda v: getattr(v, "__name__", v))
def test_a_change_of_any_field_breaks_the_digest(kind: type, name: str) -> None:
    """An approval of one plan can never cover another."""
    plan = a_plan()
    item = plan.items[0]
    tampered = {
        Plan: lambda: changed(plan, name),
        OutageWindow: lambda: replace(plan, window=changed(plan.window, name)),
        PlanItem: lambda: replace(plan, items=(changed(item, name),)),
        type(item.slot): lambda: replace(plan, items=(replace(item, slot=changed(item.slot, name)),)),
        PlannedAction: lambda: replace(
            plan, items=(replace(item, actions=(changed(item.actions[0], name), *item.actions[1:])),)
        ),
    }[kind]()
    assert is_intact(plan)
    assert not is_intact(tampered)


def test_a_tampered_digest_is_not_intact() -> None:
    plan = a_plan()
    assert not is_intact(replace(plan, digest=digest_of("something else")))


def test_two_plans_made_at_different_times_have_different_digests() -> None:
    assert a_plan(now=NOW).digest != a_plan(now=NOW + timedelta(seconds=1)).digest


def test_a_plan_made_in_the_second_of_a_rejected_one_is_another_plan() -> None:
    assert a_plan(now=NOW).digest != a_plan(now=NOW + timedelta(microseconds=1)).digest


def test_a_plan_of_an_older_ledger_whose_digest_covers_whole_seconds_is_intact() -> None:
    plan = a_plan(now=NOW + timedelta(microseconds=7))
    older = {k: v for k, v in asdict(replace(plan, digest="")).items() if k != "whole"}
    assert is_intact(replace(plan, digest=digest_of(older)))


# ---- business keys --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R001.15")
def test_keys_do_not_depend_on_incident_wording_policy_or_time_of_day() -> None:
    """Two engineers, two overlapping incidents and the scheduler arrive at the same keys."""
    plain = a_plan(a_missed_campaign())
    other_window = OutageWindow(DUE - 3 * HOUR, DUE + 2 * HOUR, ("acme",), incident="INC-9")
    slot = replace(a_slot(), name="Renamed [RK-AAAA]", time_zone="Asia/Kolkata")
    facts = a_missed_campaign().evidence
    reworded = Finding(slot, Verdict.MISSED, "Other words.", "sending_stuck", facts)
    policy = replace(shipped_policy(), defuse=False, plan_expires=3 * HOUR)
    other = make_plan(other_window, [reworded], policy, SECRET, NOW + HOUR)
    assert [a.key for a in other.items[0].actions] == [a.key for a in plain.items[0].actions]


@pytest.mark.parametrize(
    "part", ["account", "system", "object_ref", "due_at", "kind", "generation", "secret", "detail"]
)
def test_keys_differ_by_each_part_of_the_business(part: str) -> None:
    slot = a_slot()
    keys = {
        "plain": key_for(SECRET, slot, "release"),
        "account": key_for(SECRET, replace(slot, account="zoo"), "release"),
        "system": key_for(SECRET, replace(slot, system="dashboard"), "release"),
        "object_ref": key_for(SECRET, replace(slot, object_ref="8"), "release"),
        "due_at": key_for(SECRET, replace(slot, due_at=DUE + timedelta(seconds=1)), "release"),
        "kind": key_for(SECRET, slot, "copy"),
        "generation": key_for(SECRET, slot, "release", 1),
        "secret": key_for(b"another key", slot, "release"),
        "detail": key_for(SECRET, slot, "release", detail="c1"),
    }
    assert keys[part] != keys["plain"]
    assert len(set(keys.values())) == len(keys)


def test_every_action_of_a_plan_has_a_key_of_its_own() -> None:
    keys = [a.key for i in a_plan(*MANY).items for a in i.actions]
    assert len(keys) == len(set(keys)) > 10


def test_a_raised_generation_gives_new_keys() -> None:
    """A named person's deliberate repeat is another action."""
    finding = a_missed_campaign()
    again = make_plan(WINDOW, [finding], shipped_policy(), SECRET, NOW, generations={finding.slot.key: 1}).items[0]
    assert not {a.key for a in again.actions} & {a.key for a in a_plan(finding).items[0].actions}
    assert again.generation == 1


# ---- what each finding calls for ------------------------------------------------------------------------------------


@pytest.mark.requirement("R001.10", "R001.11", "R001.12", "R001.13")
@pytest.mark.parametrize("code", ["pending_send", "sending_stuck", "empty_report"])
def test_a_campaign_that_was_not_sent_is_stopped_copied_and_released(code: str) -> None:
    """In that order, only the release reaches people, and the vendor's caveat stands with it."""
    item = item_of(replace(a_missed_campaign(), code=code))
    assert (item.remedy, kinds(item)) == (Remedy.RESEND, ["stop", "defuse", "copy", "mark", "release"])
    assert [a.harm for a in item.actions if a.kind is ActionKind.RELEASE] == [Harm.H3]
    assert all(a.harm < Harm.H2 for a in item.actions[:-1])
    assert (item.caveat, item.audience) == (CAMPAIGN_CAVEAT, 400)


@pytest.mark.requirement("R001.9")
def test_a_campaign_that_may_still_go_is_only_watched() -> None:
    item = item_of(replace(a_missed_campaign(), code="waiting"))
    assert (item.remedy, item.actions, item.audience) == (Remedy.MONITOR, (), None)


@pytest.mark.requirement("R001.18", "R001.21", "R001.25", "R001.26", "R001.32", "R001.33", "R001.34")
@pytest.mark.parametrize(
    ("kind", "verdict", "code", "actions"),
    [
        (Kind.IMPORT, Verdict.MISSED, "no_activity", ["repeat_import"]),
        (Kind.IMPORT, Verdict.FAILED, "full_error", ["reprocess"]),
        (Kind.IMPORT, Verdict.STALLED, "in_progress_too_long", ["stop_run", "reprocess"]),
        (Kind.TRIGGER, Verdict.MISSED, "no_activity", ["run_now"]),
        (Kind.TRIGGER, Verdict.FAILED, "full_error", ["reprocess"]),
        (Kind.TRIGGER, Verdict.STALLED, "in_progress_too_long", ["stop_run", "reprocess"]),
        (Kind.DATA_SYNC, Verdict.MISSED, "no_activity", ["tagged_import", "add_tag", "remove_tag"]),
        (Kind.DATA_SYNC, Verdict.FAILED, "sync_gap", ["tagged_import", "add_tag", "remove_tag"]),
        (Kind.DATA_SYNC, Verdict.STALLED, "in_progress_too_long", ["tagged_import", "add_tag", "remove_tag"]),
    ],
)
def test_jobs_get_the_vendor_s_remedy_and_its_caveat(
    kind: Kind, verdict: Verdict, code: str, actions: list[str]
) -> None:
    facts = {"state": "running"} if verdict is Verdict.STALLED else {"state": "failed"}
    item = item_of(a_finding(a_slot(kind, "j1"), verdict, code, facts))
    assert kinds(item) == actions
    assert JOB_CAVEAT in item.caveat


@pytest.mark.requirement("R001.32")
def test_a_trigger_of_an_earlier_day_is_approved_with_the_word_that_other_performances_may_be_selected() -> None:
    """The criteria are those of the click; a trigger of today, or of another type, gets no such word."""
    late = a_finding(a_slot(Kind.TRIGGER, "t1", NOW - timedelta(days=1)), facts={"trigger_type": "performance"})
    assert "which may be others" in item_of(late).reason
    today = a_finding(a_slot(Kind.TRIGGER, "t1"), facts={"trigger_type": "performance"})
    view = a_finding(a_slot(Kind.TRIGGER, "t1", NOW - timedelta(days=1)), facts={"trigger_type": "custom_view"})
    assert not any("others" in item_of(f).reason for f in (today, view))


@pytest.mark.requirement("R001.32")
def test_a_trigger_whose_later_run_succeeded_is_approved_with_that_word() -> None:
    item = item_of(a_finding(a_slot(Kind.TRIGGER, "t1"), facts={"later_success": "2026-11-01T07:00:00Z"}))
    assert item.remedy is Remedy.RUN_NOW and "may enter a second time" in item.reason


@pytest.mark.requirement("R001.38")
def test_what_somebody_switched_off_after_it_was_due_is_asked_about() -> None:
    item = item_of(a_finding(a_slot(Kind.IMPORT, "i1"), facts={"active": False, "may": ["repeat"]}))
    assert (item.remedy, item.code, item.actions) == (Remedy.HOLD, "switched_off", ())


@pytest.mark.requirement("R001.33", "R001.38")
@pytest.mark.parametrize(("kind", "right"), [(Kind.IMPORT, "repeat"), (Kind.TRIGGER, "run_now")])
def test_a_failed_job_gets_the_button_of_its_kind_where_a_single_run_has_none(kind: Kind, right: str) -> None:
    failed = a_finding(a_slot(kind, "j1"), Verdict.FAILED, "full_error", {"may": [right, "stop"]})
    assert kinds(item_of(failed)) == ["repeat_import" if right == "repeat" else right]
    neither = a_finding(a_slot(kind, "j1"), Verdict.FAILED, "full_error", {"may": ["stop"]})
    assert item_of(neither).code == "no_right"


def test_a_campaign_whose_lists_hold_nobody_now_is_asked_about() -> None:
    finding = a_missed_campaign(audience=0)
    empty = replace(finding, evidence=replace(finding.evidence, facts={"audience": 0}))
    assert (item_of(empty).remedy, item_of(empty).code) == (Remedy.HOLD, "nobody")


@pytest.mark.requirement("R001.32")
def test_run_now_reaches_people_and_cannot_be_taken_back() -> None:
    run_now = item_of(a_missed_trigger()).actions[0]
    assert (run_now.harm, run_now.reversible) == (Harm.H3, False)


@pytest.mark.requirement("R001.3", "R001.19", "R001.36")
@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("verdict", [Verdict.PARTIAL, Verdict.UNCERTAIN])
@pytest.mark.parametrize("code", ["partly_sent", "partial_error", "disagree", "unreadable", "automation"])
def test_partial_and_uncertain_findings_are_held_with_a_question(kind: Kind, verdict: Verdict, code: str) -> None:
    item = item_of(a_finding(a_slot(kind), verdict, code))
    assert (item.remedy, item.actions) == (Remedy.HOLD, ())
    assert item.question.endswith(("?", ".")) and item.recommended


@settings(max_examples=80)
@given(
    st.sampled_from(list(Kind)),
    st.sampled_from([Verdict.PARTIAL, Verdict.UNCERTAIN]),
    st.sampled_from(list(Remedy)),
    st.text(max_size=8),
)
def test_no_table_can_make_partial_or_uncertain_act(kind: Kind, verdict: Verdict, remedy: Remedy, code: str) -> None:
    """Whatever an operator writes into the decision table."""
    table = (Decision("*", "*", "*", remedy, "Because."),)
    assert item_of(a_finding(a_slot(kind), verdict, code), decisions=table).actions == ()


@pytest.mark.requirement("R001.3", "R001.36")
@pytest.mark.parametrize("kind", [Kind.AUTOMATION, Kind.SEGMENT_TRANSFER, Kind.EADDRESS_SYNC, Kind.OTHER])
@pytest.mark.parametrize("verdict", [Verdict.MISSED, Verdict.FAILED])
def test_kinds_that_the_source_names_no_step_for_are_held(kind: Kind, verdict: Verdict) -> None:
    assert item_of(a_finding(a_slot(kind), verdict)).remedy is Remedy.HOLD


@pytest.mark.requirement("R001.36")
@pytest.mark.parametrize("verdict", [Verdict.MISSED, Verdict.STALLED, Verdict.FAILED])
def test_a_process_of_another_kind_is_held_under_a_table_that_does_not_know_it(verdict: Verdict) -> None:
    """A site's own table may let every kind be run again."""
    table = (Decision("*", "*", "*", Remedy.REPROCESS, "Because."),)
    item = item_of(a_finding(a_slot(Kind.OTHER), verdict), decisions=table)
    assert (item.remedy, item.code, item.actions) == (Remedy.HOLD, "no_step", ())


def test_a_finding_that_no_row_names_is_held() -> None:
    item = item_of(a_missed_campaign(), decisions=())
    assert (item.remedy, bool(item.question)) == (Remedy.HOLD, True)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"type": "recurring"}, "not_single"),
        ({"type": "split"}, "not_single"),
        ({"type": None}, "not_single"),
        ({"series": "12"}, "not_single"),
        ({"send_amt": 1}, "partly_sent"),
    ],
)
def test_only_unsent_single_campaigns_outside_automations_are_resent(facts: dict[str, Any], code: str) -> None:
    item = item_of(a_missed_campaign(**facts))
    assert (item.remedy, item.code, item.actions) == (Remedy.HOLD, code, ())


def test_a_campaign_that_is_later_than_policy_allows_is_asked_about() -> None:
    finding = a_missed_campaign()
    on_time = a_plan(finding, now=DUE + timedelta(hours=48)).items[0]
    too_late = a_plan(finding, now=DUE + timedelta(hours=48, seconds=1)).items[0]
    assert (on_time.remedy, too_late.remedy, too_late.code) == (Remedy.RESEND, Remedy.HOLD, "too_old")


# ---- validity -------------------------------------------------------------------------------------------------------


def until(at: datetime, ref: str = "7") -> tuple[ValidUntil, ...]:
    return (ValidUntil("acme", ref, at, "the performance has begun"),)


@pytest.mark.parametrize(("at", "remedy"), [(NOW, Remedy.DROP), (NOW + timedelta(seconds=1), Remedy.RESEND)])
def test_a_campaign_is_dropped_with_the_operator_s_reason_once_it_is_not_worth_sending(
    at: datetime, remedy: Remedy
) -> None:
    item = item_of(a_missed_campaign(), valid_until=until(at))
    assert item.remedy is remedy
    assert ("the performance has begun" in item.reason) is (remedy is Remedy.DROP)


@pytest.mark.parametrize(
    "finding", [a_missed_campaign("7"), a_missed_trigger("7"), a_finding(a_slot(Kind.IMPORT), Verdict.FAILED)]
)
def test_no_table_can_switch_validity_off(finding: Finding) -> None:
    """A table without a row for expired items would fall through to "resend"; it is dropped all the same."""
    acting = {"campaign": Remedy.RESEND, "scheduled_trigger": Remedy.RUN_NOW, "integrated_import": Remedy.REPROCESS}
    table = tuple(Decision(kind, "*", "*", remedy, "Always.") for kind, remedy in acting.items())
    item = item_of(finding, decisions=table, valid_until=until(NOW))
    assert (item.remedy, item.code, item.actions) == (Remedy.DROP, "not_valid_any_more", ())


def test_a_limit_for_another_object_or_account_changes_nothing() -> None:
    assert item_of(a_missed_campaign(), valid_until=until(NOW, "8")).remedy is Remedy.RESEND
    assert item_of(a_missed_campaign(account="zoo"), valid_until=until(NOW)).remedy is Remedy.RESEND


# ---- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "remedy"),
    [
        ("drop", Remedy.DROP),
        ("resend", Remedy.RESEND),
        ("reprocess", Remedy.REPROCESS),
        ("repeat_import", Remedy.REPEAT_IMPORT),
        ("tagged_import", Remedy.TAGGED_IMPORT),
        ("run_now", Remedy.RUN_NOW),
        ("wait", Remedy.HOLD),
        ("it happened", Remedy.HOLD),
        ("anything else", Remedy.HOLD),
    ],
)
def test_a_named_person_s_choice_overrules_the_table(choice: str, remedy: Remedy) -> None:
    """Other answers leave the item where the table put it."""
    finding = a_finding(a_slot(Kind.IMPORT), Verdict.PARTIAL, "partial_error")
    answers = {finding.slot.key: an_answer(choice)}
    item = make_plan(WINDOW, [finding], shipped_policy(), SECRET, NOW, answers=answers).items[0]
    assert item.remedy is remedy
    assert ("Ann" in item.reason) is (remedy is not Remedy.HOLD)


def test_an_answer_counts_for_its_own_slot_only() -> None:
    finding = a_finding(a_slot(Kind.IMPORT), Verdict.PARTIAL, "partial_error")
    elsewhere = {a_slot(Kind.IMPORT, "8").key: an_answer("reprocess")}
    item = make_plan(WINDOW, [finding], shipped_policy(), SECRET, NOW, answers=elsewhere).items[0]
    assert item.remedy is Remedy.HOLD


# ---- one act per definition -----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True), st.sampled_from(["trigger", "import", "sync"])
)
def test_many_missed_runs_of_one_definition_become_one_act(hours: list[int], what: str) -> None:
    """The latest slot acts; the earlier ones say which slot covers them."""
    kind = {"trigger": Kind.TRIGGER, "import": Kind.IMPORT, "sync": Kind.DATA_SYNC}[what]
    plan = a_plan(*(a_finding(a_slot(kind, "j1", DUE + h * HOUR)) for h in hours))
    acting = [i for i in plan.items if i.actions]
    assert [i.slot.due_at for i in acting] == [DUE + max(hours) * HOUR]
    assert {(i.remedy, i.code) for i in plan.items if not i.actions} <= {(Remedy.DROP, "covered")}
    assert len(plan.items) == len(hours)


def test_definitions_of_two_accounts_with_the_same_id_both_act() -> None:
    plan = a_plan(a_missed_trigger("t1"), a_missed_trigger("t1", account="zoo"))
    assert [len(i.actions) for i in plan.items] == [1, 1]


def test_two_campaigns_are_two_acts() -> None:
    assert all(i.actions for i in a_plan(a_missed_campaign("7"), a_missed_campaign("8")).items)


def test_a_held_slot_does_not_cover_an_earlier_one() -> None:
    later = a_finding(a_slot(Kind.TRIGGER, "t1", DUE + HOUR), Verdict.UNCERTAIN, "disagree")
    first = next(i for i in a_plan(a_missed_trigger("t1"), later).items if i.slot.due_at == DUE)
    assert kinds(first) == ["run_now"]


# ---- waves ----------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 45))
def test_what_reaches_people_goes_in_waves_of_1_5_25_and_the_rest(campaigns: int) -> None:
    imports = [a_finding(a_slot(Kind.IMPORT, f"i{n}")) for n in range(3)]
    plan = a_plan(*imports, *(a_missed_campaign(f"c{n}") for n in range(campaigns)))
    waves = [i.wave for i in plan.items if i.harm is Harm.H3]
    assert waves == ([1] + [2] * 5 + [3] * 25 + [4] * 45)[:campaigns]
    assert {i.wave for i in plan.items if i.harm is not Harm.H3} == {0}


def test_without_wave_sizes_everything_is_one_wave() -> None:
    policy = replace(shipped_policy(), limits=replace(Limits(), waves=()))
    assert {i.wave for i in a_plan(*(a_missed_campaign(str(n)) for n in range(9)), policy=policy).items} == {1}


# ---- selections -----------------------------------------------------------------------------------------------------

SELECTED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "by key": ({"only": (a_slot(ref="7").key,)}, {"7"}),
    "by object": ({"only": ("7", "t1")}, {"7", "t1"}),
    "without": ({"without": ("7", "t1", "i1", "i2", "d1", "a1", "s1", "e1")}, {"8"}),
    "by kind": ({"kinds": ("campaign",)}, {"7", "8"}),
    "by account": ({"accounts": ("zoo",)}, {"8"}),
    "by kind and account": ({"kinds": ("campaign",), "accounts": ("acme",)}, {"7"}),
    "at most one": ({"most": 1}, {"d1"}),
    "one wave": ({"wave": 1}, {"t1"}),
}


@pytest.mark.parametrize("name", SELECTED)
def test_a_selection_keeps_what_was_named_under_a_digest_of_its_own(name: str) -> None:
    choice, kept = SELECTED[name]
    plan = a_plan(*MANY)
    part = select(plan, shipped_policy(), **choice)
    assert {i.slot.object_ref for i in part.items} == kept
    assert all(i in plan.items for i in part.items)
    assert part.digest != plan.digest
    assert is_intact(part)
    assert (part.made_at, part.expires_at) == (plan.made_at, plan.expires_at)


@pytest.mark.parametrize("name", SELECTED)
def test_a_selection_says_that_it_is_one_also_when_it_is_read_back(name: str) -> None:
    part = decode_plan(encode_plan(select(a_plan(*MANY), shipped_policy(), **SELECTED[name][0])))
    assert not part.whole
    assert is_intact(part) and not is_intact(replace(part, whole=True))
    assert not select(part, shipped_policy(), most=99).whole


def test_a_selection_of_everything_is_the_whole_plan() -> None:
    plan = a_plan(*MANY)
    assert select(plan, shipped_policy(), most=99) == plan


def test_a_plan_that_was_recorded_before_plans_said_whether_they_are_whole_is_intact() -> None:
    plan = a_plan(*MANY)
    older = encode_plan(plan).replace(',"whole":true', "")
    assert "whole" not in older
    assert decode_plan(older) == plan and is_intact(decode_plan(older))


@pytest.mark.parametrize(
    "choice",
    [
        {"kinds": ("eaddress_sync",), "accounts": ("zoo",)},
        {"accounts": ("nobody",)},
        {"kinds": ("*",)},
        {"accounts": ("all",)},
        {"most": 0},
        {"most": -1},
        {"wave": 9},
        {"only": ("7",), "without": ("7",)},
    ],
)
def test_a_selection_of_nothing_is_refused(choice: dict[str, Any]) -> None:
    """No value ever means "all"."""
    with pytest.raises(RefusedError, match="leaves no item"):
        select(a_plan(*MANY), shipped_policy(), **choice)


@pytest.mark.parametrize("word", ["only", "without"])
def test_a_name_that_the_plan_does_not_hold_is_refused(word: str) -> None:
    """A misspelt exception must not let the item act."""
    with pytest.raises(UsageError, match="no item 'c7'"):
        select(a_plan(*MANY), shipped_policy(), **{word: ("7", "c7")})  # type: ignore[arg-type]


def test_a_frozen_plan_without_items_reaches_nobody() -> None:
    assert freeze(WINDOW, (), NOW, shipped_policy()).reach == 0


@pytest.mark.requirement("R001.39")
def test_a_plan_says_how_many_people_its_campaigns_may_reach() -> None:
    assert a_plan(*MANY).reach == 800
