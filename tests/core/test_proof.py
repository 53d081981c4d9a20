"""The closing balance: adds up, or says for each slot why it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.model import Balance, Evidence, Finding, ItemOutcome, Kind, Saw, Slot, Verdict
from recovery.proof import balance, doubles
from recovery.testify import CAMPAIGN_STATUS, MARKER

from .makers import a_row, a_slot, said


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
    assert "recover` again" in closing.problems[0]


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
