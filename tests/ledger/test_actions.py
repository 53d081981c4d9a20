"""What each move does and refuses, as callers see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from recovery.errors import LedgerConflict, LedgerError, RefusedError
from recovery.ledger.ledger import Caps, Ledger
from recovery.model import ActionKind, ActionState, Exchange, Harm, ItemOutcome, Question
from tests.ledger.makers import APPLIED, NOT_APPLIED, NOW, REJECTED, UNKNOWN, opened, plan, plan_item, release, spec

ASK = Question("Did it go out?", "wait")


async def state_of(ledger: Ledger, key: str = "KEY1") -> ActionState:
    row = await ledger.action(key)
    assert row is not None
    return row.state


async def test_the_straight_way_ends_confirmed_with_its_evidence(ledger: Ledger) -> None:
    row, attempt = await opened(ledger, spec())
    assert (row.state, row.fence, row.owner, attempt.n) == (ActionState.CLAIMED, 1, ledger.owner, 1)
    assert (await ledger.settle(attempt, APPLIED)).state is ActionState.APPLIED
    done = await ledger.confirm("KEY1", "digest", "seen in the list")
    assert (done.state, done.result_ref, done.evidence_digest) == (ActionState.CONFIRMED, "41", "digest")
    assert await ledger.verify() == ()


async def test_a_claimed_action_is_not_claimed_again(ledger: Ledger) -> None:
    await ledger.ensure([spec()])
    assert await ledger.claim("KEY1", 60) is not None
    assert await ledger.claim("KEY1", 60) is None
    assert await ledger.claim("NOBODY", 60) is None


async def test_ensuring_again_leaves_what_was_done(ledger: Ledger) -> None:
    await opened(ledger, spec())
    await ledger.ensure([spec(), spec("KEY2"), spec("KEY2")])
    assert await state_of(ledger) is ActionState.IN_FLIGHT
    assert await state_of(ledger, "KEY2") is ActionState.PLANNED


async def test_a_second_release_of_a_slot_under_another_key_is_refused(ledger: Ledger) -> None:
    await ledger.ensure([release("KEY1", slot_key="s")])
    with pytest.raises(LedgerConflict, match="refuses this"):
        await ledger.ensure([release("KEY2", slot_key="s")])
    assert await ledger.action("KEY2") is None


async def test_an_old_claim_writes_nothing(ledger: Ledger) -> None:
    await ledger.ensure([spec()])
    old = await ledger.claim("KEY1", 60)
    assert old is not None
    await ledger.unclaim(old, "let go")
    new = await ledger.claim("KEY1", 60)
    assert new is not None and new.fence == 2
    with pytest.raises(LedgerConflict, match="no longer held"):
        await ledger.intend(old, "POST", send_within_seconds=5, deadline_seconds=20)
    assert await state_of(ledger) is ActionState.CLAIMED


async def test_a_definite_no_lets_another_attempt_be_opened(ledger: Ledger) -> None:
    _, attempt = await opened(ledger, spec())
    assert (await ledger.settle(attempt, NOT_APPLIED)).state is ActionState.PLANNED
    _, second = await opened(ledger, spec())
    assert second.n == 2


@pytest.mark.parametrize("result", [APPLIED, UNKNOWN, REJECTED])
async def test_a_settled_attempt_cannot_be_settled_again(ledger: Ledger, result: object) -> None:
    _, attempt = await opened(ledger, spec())
    await ledger.settle(attempt, result)  # type: ignore[arg-type]
    with pytest.raises(LedgerConflict):
        await ledger.settle(attempt, NOT_APPLIED)


async def test_no_second_attempt_until_the_first_is_proven_absent(ledger: Ledger) -> None:
    _, attempt = await opened(ledger, spec())
    await ledger.settle(attempt, UNKNOWN)
    assert await ledger.claim("KEY1", 60) is None
    row = await ledger.absent("KEY1", "three looks, none there", "e")
    assert (row.state, row.repeats) == (ActionState.PLANNED, 1)
    assert (await opened(ledger, spec()))[1].n == 2


async def test_the_third_attempt_is_the_last(ledger: Ledger) -> None:
    for _ in range(2):
        await ledger.settle((await opened(ledger, spec()))[1], UNKNOWN)
        await ledger.absent("KEY1", "none there")
    await ledger.settle((await opened(ledger, spec()))[1], UNKNOWN)
    with pytest.raises(RefusedError, match="3 times"):
        await ledger.absent("KEY1", "none there")
    assert await state_of(ledger) is ActionState.UNKNOWN


async def test_an_unknown_effect_that_is_found_is_adopted_and_confirmed(ledger: Ledger) -> None:
    await ledger.settle((await opened(ledger, spec()))[1], UNKNOWN)
    row = await ledger.adopt("KEY1", "99", "marker found", "e")
    assert (row.state, row.result_ref) == (ActionState.APPLIED, "99")
    assert (await ledger.adopt("KEY1", "98", "again")).result_ref == "99"
    assert (await ledger.confirm("KEY1", "e", "seen")).state is ActionState.CONFIRMED


async def test_an_effect_of_a_lost_ledger_is_adopted_without_an_attempt(ledger: Ledger) -> None:
    await ledger.ensure([spec()])
    assert (await ledger.adopt("KEY1", "99", "marker found")).state is ActionState.APPLIED
    assert await ledger.claim("KEY1", 60) is None


async def test_a_yes_that_reading_back_does_not_show_is_unknown_again(ledger: Ledger) -> None:
    await ledger.settle((await opened(ledger, spec()))[1], APPLIED)
    assert (await ledger.doubt("KEY1", "not in the list")).state is ActionState.UNKNOWN
    assert (await ledger.absent("KEY1", "not there after settling")).state is ActionState.PLANNED


async def test_a_refusal_is_retried_only_when_proven_to_be_without_effect(ledger: Ledger) -> None:
    await ledger.settle((await opened(ledger, spec()))[1], REJECTED)
    with pytest.raises(RefusedError, match="not proven"):
        await ledger.retry_rejected("KEY1", "again", proven_not_applied=False)
    assert (await ledger.retry_rejected("KEY1", "read back", proven_not_applied=True)).state is ActionState.PLANNED
    assert (await opened(ledger, spec()))[1].n == 2


async def test_a_hold_carries_its_question_and_a_person_ends_it(ledger: Ledger) -> None:
    await ledger.settle((await opened(ledger, spec()))[1], UNKNOWN)
    await ledger.hold("KEY1", ASK)
    row = await ledger.action("KEY1")
    assert row is not None and row.question == ASK
    with pytest.raises(RefusedError, match="a name"):
        await ledger.release_hold("KEY1", " ", "looked")
    assert (await ledger.release_hold("KEY1", "Ana", "looked")).state is ActionState.UNKNOWN


async def test_a_hold_before_any_attempt_goes_back_to_planned(ledger: Ledger) -> None:
    await ledger.ensure([spec()])
    await ledger.hold("KEY1", ASK)
    assert (await ledger.release_hold("KEY1", "Ana", "go on")).state is ActionState.PLANNED


async def test_an_unknown_action_cannot_be_skipped_away(ledger: Ledger) -> None:
    await ledger.settle((await opened(ledger, spec()))[1], UNKNOWN)
    with pytest.raises(LedgerConflict, match="cannot become skipped"):
        await ledger.skip("KEY1", "nobody cares")


async def test_confirming_needs_evidence_and_an_effect(ledger: Ledger) -> None:
    await ledger.settle((await opened(ledger, spec()))[1], APPLIED)
    with pytest.raises(RefusedError, match="evidence"):
        await ledger.confirm("KEY1", "", "I believe so")
    await ledger.ensure([spec("KEY2")])
    with pytest.raises(LedgerConflict, match="cannot become confirmed"):
        await ledger.confirm("KEY2", "e", "seen")


async def test_one_release_of_an_account_waits_for_the_other(ledger: Ledger) -> None:
    _, attempt = await opened(ledger, release("KEY1", account="acme"))
    with pytest.raises(LedgerConflict, match="on its way"):
        await opened(ledger, release("KEY2", account="acme"))
    await opened(ledger, release("KEY3", account="other"))
    await ledger.settle(attempt, APPLIED)
    row = await ledger.action("KEY2")
    assert row is not None and row.state is ActionState.CLAIMED
    with pytest.raises(LedgerConflict, match="on its way"):
        await ledger.intend(row, "POST", send_within_seconds=5, deadline_seconds=20)
    await ledger.confirm("KEY1", "e", "seen")
    assert (await ledger.intend(row, "POST", send_within_seconds=5, deadline_seconds=20)).n == 1


@pytest.mark.parametrize(
    ("caps", "words"),
    [
        (Caps(per_run_releases=1, run_ref="run"), "releases in one run is 1"),
        (Caps(per_run_recipients=150, run_ref="run"), "recipients in one run is 150, this would make 200"),
        (Caps(per_hour_recipients=150, run_ref="run"), "recipients in one hour is 150"),
    ],
)
async def test_a_cap_stops_the_release_that_would_pass_it(ledger: Ledger, caps: Caps, words: str) -> None:
    await opened(ledger, release("KEY1"), caps)
    with pytest.raises(RefusedError, match=words):
        await opened(ledger, release("KEY2"), caps)
    assert await state_of(ledger, "KEY2") is ActionState.CLAIMED
    await opened(ledger, spec("KEY3"), caps)


async def test_nobody_gets_more_mails_of_ours_in_a_day_than_policy_says(ledger: Ledger) -> None:
    """Two campaigns of one account may go to the same people; the other account's people are others."""
    caps = Caps(per_account_releases_a_day=1)
    _, attempt = await opened(ledger, release("KEY1", account="acme"), caps)
    await ledger.settle(attempt, APPLIED)
    await ledger.confirm("KEY1", "e", "seen")
    with pytest.raises(RefusedError, match="mails to the people of acme in one day is 1, this would make 2"):
        await opened(ledger, release("KEY2", account="acme"), caps)
    await opened(ledger, release("KEY3", account="other"), caps)
    await opened(ledger, spec("KEY4", account="acme"), caps)


async def test_the_kill_switch_stops_intents_but_not_disarming(ledger: Ledger) -> None:
    await ledger.set_kill("Ana", "wrong template")
    assert await ledger.killed() == "wrong template"
    with pytest.raises(RefusedError, match="kill switch is on: wrong template"):
        await opened(ledger, spec())
    await opened(ledger, spec("KEY2", kind=ActionKind.DISARM))
    await ledger.clear_kill("Ana")
    assert await ledger.killed() == ""
    assert [event.kind for event in await ledger.stream("ledger/kill-switch")] == ["on", "off"]
    row = await ledger.action("KEY1")
    assert row is not None
    await ledger.intend(row, "POST", send_within_seconds=5, deadline_seconds=20)


async def test_the_kill_file_stops_intents(url: str, state_dir: Path, tmp_path: Path) -> None:
    kill_file = tmp_path / "STOP"
    async with await Ledger.open(url, state_dir, kill_file=kill_file) as ledger:
        assert await ledger.killed() == ""
        kill_file.write_text("stop it\nnow")
        assert await ledger.killed() == "stop it"
        with pytest.raises(RefusedError, match="stop it"):
            await opened(ledger, spec())


async def test_the_first_election_wins(ledger: Ledger) -> None:
    await ledger.ensure([release(slot_key="s")])
    assert await ledger.elected("s", 0) == ""
    assert await ledger.elect("s", 0, "12", "KEY1", "pro2", "acme") == "12"
    assert await ledger.elect("s", 0, "11", "KEY1", "pro2", "acme") == "12"
    assert await ledger.elect("s", 1, "13", "OTHER", "pro2", "acme") == "13"
    row = await ledger.action("KEY1")
    assert row is not None and row.elected_ref == "12"
    await ledger.note_object("pro2", "acme", "11", "s", "KEY1", "orphan")
    await ledger.note_object("pro2", "acme", "11", "s", "KEY1", "orphan")
    assert await ledger.elected("s", 0) == "12"
    await opened(ledger, release(slot_key="s"))


async def test_the_history_tells_moves_and_attempts_in_order(ledger: Ledger) -> None:
    _, attempt = await opened(ledger, spec(slot_key="s"))
    await ledger.settle(attempt, UNKNOWN)
    told = [(line.what, line.to_state) for line in await ledger.history("s")]
    assert told[:3] == [("event", "planned"), ("event", "claimed"), ("attempt opened", "")]
    assert set(told[3:]) == {("event", "in_flight"), ("attempt closed", "unknown"), ("event", "unknown")}


async def test_repeating_on_purpose_raises_the_generation_and_withdraws_what_waited(ledger: Ledger) -> None:
    item = plan_item("1")
    slot = item.slot.key
    await ledger.open_items(plan(item))
    await ledger.settle((await opened(ledger, release("KEY1", slot_key=slot)))[1], UNKNOWN)
    with pytest.raises(RefusedError, match="still unknown"):
        await ledger.raise_generation(slot, "Ana", "send again")
    await ledger.hold("KEY1", ASK)
    with pytest.raises(RefusedError, match="name and a reason"):
        await ledger.raise_generation(slot, "", "send again")
    assert await ledger.raise_generation(slot, "Ana", "send again") == 1
    assert await state_of(ledger) is ActionState.CANCELLED
    await ledger.ensure([release("KEY2", slot_key=slot, generation=1)])
    row = await ledger.item(slot)
    assert row is not None and (row.generation, row.outcome.value) == (1, "open")


async def test_hostile_text_is_kept_as_text(ledger: Ledger) -> None:
    nasty = "a\x00b \ud800 '; DROP TABLE action; --"
    await ledger.ensure([spec()])
    await ledger.skip("KEY1", nasty)
    await ledger.keep(Exchange("pro2", "acme", nasty, 200, NOW, "d1", nasty))
    await ledger.flush()
    row, kept = await ledger.action("KEY1"), await ledger.evidence("d1")
    assert row is not None and row.note == "a\ufffdb ? '; DROP TABLE action; --"
    assert kept is not None and kept.status == 200 and kept.at == NOW
    assert await ledger.verify() == ()


async def test_an_action_nobody_made_known_is_a_conflict(ledger: Ledger) -> None:
    for call in (ledger.confirm("X", "e", "n"), ledger.take_over("X"), ledger.hold("X", ASK), ledger.absent("X", "n")):
        with pytest.raises(LedgerError, match="no action X"):
            await call


async def test_what_is_on_the_way_is_counted_and_what_ended_is_not(ledger: Ledger) -> None:
    await opened(ledger, spec())
    await ledger.ensure([spec("KEY2", harm=Harm.H1), spec("KEY3", harm=Harm.H1)])
    await ledger.claim("KEY2", 60)
    await ledger.skip("KEY3", "not wanted")
    made = plan(plan_item("1"), plan_item("2"), plan_item("3"))
    await ledger.save_plan(made)
    await ledger.open_items(made)
    await ledger.finish_item(made.items[0].slot.key, ItemOutcome.CONFIRMED, "seen")
    await ledger.finish_item(made.items[1].slot.key, ItemOutcome.SKIPPED, "not wanted")
    on_the_way = {"plans": 1, "items_open": 1, "items_held": 0, "actions_claimed": 1, "actions_in_flight": 1}
    assert await ledger.unfinished() == on_the_way | {"actions_unknown": 0, "actions_applied": 0}
