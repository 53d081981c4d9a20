"""Who may let a plan act: named people, one digest, enough of them, in time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.approvals import acting, approvers_needed, consent, reach_of, refuse_yes, unattended
from recovery.errors import RefusedError
from recovery.model import Approval, Harm, Kind, Plan, Verdict
from recovery.policy import Limits, Policy

from .makers import NOW, a_finding, a_missed_campaign, a_missed_trigger, a_plan, a_slot, shipped_policy

POLICY = replace(shipped_policy(), limits=Limits(two_people_above=1_000, two_approvers_above=100_000))
IMPORT = a_finding(a_slot(Kind.IMPORT, "i1"), Verdict.FAILED, "full_error")
HELD = a_finding(a_slot(Kind.AUTOMATION, "a1"), Verdict.UNCERTAIN, "automation")


def approved(plan: Plan, by: str = "Ann", items: tuple[str, ...] = (), **changes: Any) -> Approval:
    plain = Approval(plan.digest, by, NOW, plan.reach, True, items)
    return replace(plain, **changes)


def may_act(plan: Plan, *approvals: Approval, starter: str = "Sam", at: datetime = NOW, policy: Policy = POLICY) -> int:
    """How many items the approvals let act."""
    return len(consent(plan, approvals, policy, at, starter).items)


def keys(plan: Plan) -> list[str]:
    return [i.slot.key for i in plan.items]


def test_nothing_acts_without_an_approval() -> None:
    agreed = consent(a_plan(), [], POLICY, NOW, "Sam")
    assert (agreed.items, agreed.missing) == (frozenset(), "nobody has approved it")


def test_one_approval_of_a_small_plan_is_enough_even_from_its_starter() -> None:
    plan = a_plan(a_missed_campaign(), IMPORT)
    agreed = consent(plan, [approved(plan, "Sam")], POLICY, NOW, "Sam")
    assert (agreed.items, agreed.missing) == (frozenset(keys(plan)), "")


@pytest.mark.parametrize(("seconds", "acts"), [(-1, 1), (0, 0), (1, 0)])
def test_an_approval_ends_with_the_plan(seconds: int, acts: int) -> None:
    plan = a_plan()
    assert may_act(plan, approved(plan), at=plan.expires_at + timedelta(seconds=seconds)) == acts
    if not acts:
        late = consent(plan, [approved(plan)], POLICY, plan.expires_at, "Sam")
        assert "expired" in late.missing


def test_an_approval_of_another_digest_counts_for_nothing() -> None:
    """The same items planned a second later are another plan."""
    plan, other = a_plan(), a_plan(now=NOW + timedelta(seconds=1))
    assert keys(plan) == keys(other)
    assert may_act(plan, approved(other)) == 0


@pytest.mark.parametrize("name", ["", " ", "\t\n"])
def test_an_approval_without_a_name_counts_for_nothing(name: str) -> None:
    plan = a_plan()
    assert may_act(plan, approved(plan, name)) == 0


def test_an_approval_of_some_items_lets_those_act_and_no_others() -> None:
    plan = a_plan(a_missed_campaign("7"), a_missed_campaign("8"))
    only = plan.items[1].slot.key
    assert consent(plan, [approved(plan, items=(only,))], POLICY, NOW, "Sam").items == {only}


def test_an_approval_of_items_that_the_plan_does_not_hold_lets_nothing_act() -> None:
    plan = a_plan()
    assert may_act(plan, approved(plan, items=("acme/pro2/campaign/99@2026-06-03T14:00:00Z",))) == 0


def test_held_items_never_act_however_many_approve() -> None:
    plan = a_plan(HELD, IMPORT)
    assert acting(plan) == tuple(i for i in plan.items if i.slot.kind == Kind.IMPORT)
    assert may_act(plan, approved(plan), approved(plan, "Bob")) == 1


# ---- two people -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("recipients", "acts"), [(1_000, 1), (1_001, 0)])
def test_above_a_thousand_recipients_the_starter_may_not_be_the_only_approver(recipients: int, acts: int) -> None:
    plan = a_plan(a_missed_campaign(audience=recipients))
    assert may_act(plan, approved(plan, "Sam")) == acts
    assert may_act(plan, approved(plan, "Ann")) == 1
    assert may_act(plan, approved(plan, "Sam"), approved(plan, "Ann")) == 1


@pytest.mark.parametrize(("recipients", "acts"), [(100_000, 1), (100_001, 0)])
def test_above_a_hundred_thousand_recipients_two_people_must_approve(recipients: int, acts: int) -> None:
    plan = a_plan(a_missed_campaign(audience=recipients))
    assert may_act(plan, approved(plan, "Ann")) == acts
    assert may_act(plan, approved(plan, "Ann"), approved(plan, "Ann")) == acts
    assert may_act(plan, approved(plan, "Ann"), approved(plan, "Bob")) == 1


@pytest.mark.parametrize("spelling", ["ann", "ANN", " Ann ", "Ann\n"])
def test_two_spellings_of_one_name_are_one_person(spelling: str) -> None:
    large, largest = a_plan(a_missed_campaign(audience=5_000)), a_plan(a_missed_campaign(audience=200_000))
    assert may_act(large, approved(large, spelling), starter="Ann") == 0
    assert may_act(largest, approved(largest, "Ann"), approved(largest, spelling)) == 0


def test_a_large_plan_cannot_be_approved_in_small_parts_by_one_person() -> None:
    """The reach is counted over everything approved, not over each approval."""
    plan = a_plan(a_missed_campaign("7", 60_000), a_missed_campaign("8", 60_000))
    parts = [approved(plan, "Ann", (key,)) for key in keys(plan)]
    agreed = consent(plan, parts, POLICY, NOW, "Sam")
    assert (agreed.items, "2 different people" in agreed.missing) == (frozenset(), True)


def test_what_reaches_nobody_does_not_count_towards_the_reach() -> None:
    imports = a_finding(a_slot(Kind.IMPORT, "i1"), Verdict.FAILED, "full_error", {"audience": 500_000})
    plan = a_plan(imports, a_missed_campaign(audience=10))
    assert reach_of(plan.items) == 10
    assert approvers_needed(plan.items, POLICY) == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 80_000), min_size=1, max_size=4),
    st.lists(st.tuples(st.sampled_from(["Ann", "Bob", "Sam"]), st.integers(0, 15)), max_size=5),
)
def test_whatever_acts_was_approved_by_enough_people(audiences: list[int], given_out: list[tuple[str, int]]) -> None:
    """Over any set of partial approvals: no item acts on too few names, or on its starter's where that is barred."""
    plan = a_plan(*(a_missed_campaign(str(n), size) for n, size in enumerate(audiences)))
    approvals = []
    for by, mask in given_out:
        part = tuple(k for n, k in enumerate(keys(plan)) if mask >> n & 1)
        if part:
            approvals.append(approved(plan, by, part))
    allowed = consent(plan, approvals, POLICY, NOW, "Sam").items
    reach = sum(i.audience or 0 for i in plan.items if i.slot.key in allowed)
    for key in allowed:
        people = {a.by for a in approvals if key in a.items}
        assert people
        assert reach <= 100_000 or len(people) >= 2
        assert reach <= 1_000 or people != {"Sam"}


# ---- --yes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finding", [a_missed_campaign(), a_missed_trigger()])
def test_yes_is_refused_for_what_reaches_people(finding: Any) -> None:
    """As a whole: nothing of the plan is done, and the sentence says what to do instead."""
    plan = a_plan(finding, IMPORT)
    with pytest.raises(RefusedError, match=r"--yes cannot approve 1 items that reach people \(acme\)") as caught:
        refuse_yes(plan, POLICY)
    assert "allclear approve" in caught.value.hint
    assert [i.harm for i in unattended(plan, POLICY)] == [Harm.H2]


def test_yes_is_allowed_where_nothing_reaches_people() -> None:
    refuse_yes(a_plan(IMPORT, HELD), POLICY)


def test_yes_is_allowed_for_the_accounts_that_policy_names_and_no_others() -> None:
    policy = replace(POLICY, unattended_accounts=("acme",))
    refuse_yes(a_plan(a_missed_campaign()), policy)
    with pytest.raises(RefusedError, match="zoo"):
        refuse_yes(a_plan(a_missed_campaign(), a_missed_campaign("8", account="zoo")), policy)
