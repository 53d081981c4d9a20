"""The closing balance: adds up, or says for each slot why it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.model import Balance, Evidence, Finding, ItemOutcome, Kind, Saw, Slot, Verdict
from recovery.plan import select
from recovery.proof import balance, closing_balance, doubles
from recovery.testify import CAMPAIGN_STATUS, MARKER

from .makers import a_missed_campaign, a_plan, a_row, a_slot, said, shipped_policy


def found(slot: Slot, verdict: Verdict = Verdict.DONE) -> Finding:
    return Finding(slot, verdict, "so it is", "code", Evidence(slot, ()))


def mails(sent_copies: int, original: int, kind: Kind = Kind.CAMPAIGN) -> Finding:
    """What the second audit sees of a campaign: how many copies of ours left, how much the original sent."""
    slot = a_slot(kind)
    marker = said(MARKER, Saw.OURS, {"copies": [str(n) for n in range(sent_copies)]})
    status = said(CAMPAIGN_STATUS, Saw.NOTHING, {"send_amt": original})
    return Finding(slot, Verdict.DONE, "", "recovered", Evidence(slot, (status, *([marker] if sent_copies else []))))


SLOT = a_slot()
OPEN, HELD, SKIPPED, CONFIRMED = ItemOutcome.OPEN, ItemOutcome.HELD, ItemOutcome.SKIPPED, ItemOutcome.CONFIRMED


@pytest.mark.requirement("R001.39")
def test_a_window_adds_up_when_every_slot_is_done_recovered_skipped_or_held() -> None:
    slots = [a_slot(ref=str(n)) for n in range(4)]
    after = [
        found(slots[0]),
        found(slots[1]),
        found(slots[2], Verdict.MISSED),
        found(slots[3], Verdict.UNCERTAIN),
    ]
    items = [a_row(slots[1], CONFIRMED), a_row(slots[2], SKIPPED), a_row(slots[3], HELD)]
    closing = balance(after, items)
    assert closing == Balance(due=4, done_before=1, recovered=1, skipped=1, held=1, doubles=0)
    assert closing.adds_up


def test_an_empty_window_adds_up() -> None:
    assert balance((), ()).adds_up


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.DONE])
def test_a_slot_that_is_not_done_and_has_no_item_is_a_problem(verdict: Verdict) -> None:
    closing = balance([found(SLOT, verdict)], ())
    assert not closing.adds_up
    assert closing.problems == (f"{SLOT.key}: not done, and no item of the plan stands for it",)


def test_an_item_that_is_still_open_is_a_problem() -> None:
    closing = balance([found(SLOT, Verdict.MISSED)], [a_row(SLOT, OPEN)])
    assert not closing.adds_up
    assert "`allclear status` names the command" in closing.problems[0]


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.DONE])
def test_a_recovery_that_the_second_audit_does_not_see_is_a_problem(verdict: Verdict) -> None:
    """The ledger's word is not enough: the remotes must show it."""
    closing = balance([found(SLOT, verdict)], [a_row(SLOT, CONFIRMED)])
    assert not closing.adds_up
    assert closing.problems == (f"{SLOT.key}: called recovered, but the second audit says {verdict.value} (so it is)",)


def test_what_a_named_person_stated_need_not_show_at_the_remotes() -> None:
    row = a_row(SLOT, CONFIRMED, "stated by Ann: the venue sent it by hand")
    assert balance([found(SLOT, Verdict.MISSED)], [row]).adds_up


def test_an_original_that_our_stop_cut_off_is_not_called_skipped_without_a_word() -> None:
    row = a_row(SLOT, SKIPPED, "the original 1 went out by itself after all (10 of 350 sent)")
    closing = balance([found(SLOT, Verdict.PARTIAL)], [row])
    assert not closing.adds_up
    assert "partial" in closing.problems[0]


@pytest.mark.parametrize("outcome", [CONFIRMED, SKIPPED, HELD])
def test_an_item_is_counted_even_when_its_slot_is_not_seen_any_more(outcome: ItemOutcome) -> None:
    """Nothing is dropped silently: a job that began before the window is no slot once it has ended."""
    closing = balance((), [a_row(SLOT, outcome)])
    assert (closing.due, closing.recovered + closing.skipped + closing.held, closing.adds_up) == (1, 1, True)


@pytest.mark.requirement("R001.14", "R001.35")
@pytest.mark.parametrize(
    ("copies", "original", "too_many"),
    [(0, 0, 0), (0, 400, 0), (1, 0, 0), (1, 1, 1), (1, 400, 1), (2, 0, 1), (2, 400, 2), (3, 0, 2)],
)
def test_every_mail_beyond_the_first_is_a_double(copies: int, original: int, too_many: int) -> None:
    """Copies with our marker that left, and the original, counted from the remotes alone."""
    closing = balance([mails(copies, original)], [a_row(SLOT, CONFIRMED)])
    assert closing.doubles == too_many
    assert closing.adds_up is (too_many == 0)
    assert any("DOUBLE" in p for p in closing.problems) is (too_many > 0)


# ---- a selection -----------------------------------------------------------------------------------------------------


def test_a_selection_adds_up_over_its_own_slots_and_names_what_is_left_outside() -> None:
    mine, missed, fine, skipped, under_way = (a_slot(ref=str(n)) for n in range(5))
    after = [found(mine), found(missed, Verdict.MISSED), found(fine), found(skipped, Verdict.MISSED), found(under_way)]
    items = [a_row(mine, CONFIRMED), a_row(skipped, SKIPPED), a_row(under_way, OPEN)]
    closing = balance(after, items, [mine.key])
    assert closing == Balance(1, 0, 1, 0, 0, 0, outside=(missed.key, under_way.key))
    assert closing.adds_up


@pytest.mark.parametrize("outcome", [None, OPEN, CONFIRMED])
def test_a_selected_slot_that_is_not_done_fails_the_selection(outcome: ItemOutcome | None) -> None:
    rows = [a_row(SLOT, outcome)] if outcome else []
    closing = balance([found(SLOT, Verdict.MISSED)], rows, [SLOT.key])
    assert not closing.adds_up and closing.outside == ()
    assert closing.problems[0].startswith(SLOT.key)


def test_a_selected_slot_that_nobody_knows_any_more_fails_the_selection() -> None:
    assert not balance((), (), [SLOT.key]).adds_up


def test_a_double_outside_the_selection_fails_it() -> None:
    other = a_slot(ref="another")
    closing = balance([mails(2, 0), found(other)], [a_row(other, CONFIRMED)], [other.key])
    assert (closing.doubles, closing.adds_up) == (1, False)


@pytest.mark.parametrize("whole", [True, False])
def test_only_a_selection_may_leave_a_slot_to_others(whole: bool) -> None:
    """What a whole plan should have covered never passes silently."""
    plan = a_plan(a_missed_campaign("1"), a_missed_campaign("2"))
    made = plan if whole else select(plan, shipped_policy(), only=("1",))
    slots = {i.slot.object_ref: i.slot for i in plan.items}
    after = [found(slots["1"]), found(slots["2"], Verdict.MISSED)]
    closing = closing_balance(made, after, [a_row(slots["1"], CONFIRMED)])
    assert closing.adds_up is not whole
    assert closing.outside == (() if whole else (slots["2"].key,))


def test_only_campaigns_can_go_out_twice() -> None:
    assert doubles([mails(2, 400, Kind.IMPORT)]) == {}


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(list(Verdict)), st.sampled_from([None, *ItemOutcome])), max_size=8))
def test_it_adds_up_only_when_every_slot_has_one_place(slots: list[tuple[Verdict, ItemOutcome | None]]) -> None:
    """Over any mix of verdicts and outcomes: one misplaced slot is enough to fail the run."""
    after, items, sound = [], [], True
    for n, (verdict, outcome) in enumerate(slots):
        slot = a_slot(ref=str(n))
        after.append(found(slot, verdict))
        if outcome is not None:
            items.append(a_row(slot, outcome))
        proven = verdict is Verdict.DONE and outcome in (None, CONFIRMED)
        sound = sound and (proven or outcome in (SKIPPED, HELD))
    closing = balance(after, items)
    assert closing.due == len(slots)
    assert closing.adds_up is sound
    assert bool(closing.problems) is not sound


@pytest.mark.parametrize("part", ["due", "done_before", "recovered", "skipped", "held", "doubles"])
def test_one_number_off_by_one_does_not_add_up(part: str) -> None:
    sound = Balance(due=4, done_before=1, recovered=1, skipped=1, held=1, doubles=0)
    assert sound.adds_up
    assert not replace(sound, **{part: getattr(sound, part) + 1}).adds_up
