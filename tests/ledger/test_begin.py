"""`begin`: claim and intent in one commit, with every refusal of `intend` and nothing to give back."""

from __future__ import annotations

from pathlib import Path

import pytest

from recovery.errors import LedgerConflict, RefusedError
from recovery.ledger.ledger import Caps, Ledger
from recovery.ledger.rows import ActionSpec
from recovery.model import ActionKind, ActionState, OpenAttempt
from tests.ledger.makers import APPLIED, release, spec


async def begun(ledger: Ledger, what: ActionSpec, caps: Caps | None = None) -> OpenAttempt | None:
    await ledger.ensure([what])
    return await ledger.begin(what.key, 60, "POST /x", send_within_seconds=5, deadline_seconds=20, caps=caps)


async def state_of(ledger: Ledger, key: str) -> ActionState:
    row = await ledger.action(key)
    assert row is not None
    return row.state


async def test_a_planned_action_is_in_flight_with_its_intent_on_both_records(ledger: Ledger, state_dir: Path) -> None:
    attempt = await begun(ledger, spec())
    assert attempt is not None and attempt.n == 1
    assert '"KEY1"' in (state_dir / "intents.log").read_text()
    assert await state_of(ledger, "KEY1") is ActionState.IN_FLIGHT
    assert (await ledger.settle(attempt, APPLIED)).state is ActionState.APPLIED
    assert await ledger.verify() == ()


async def test_a_second_caller_gets_nothing(ledger: Ledger) -> None:
    assert await begun(ledger, spec()) is not None
    assert await begun(ledger, spec()) is None


async def test_the_kill_switch_refuses_and_leaves_the_action_planned_but_disarming_goes_on(ledger: Ledger) -> None:
    await ledger.set_kill("Ana", "wrong template")
    with pytest.raises(RefusedError, match="kill switch is on: wrong template"):
        await begun(ledger, spec())
    assert await state_of(ledger, "KEY1") is ActionState.PLANNED
    assert await begun(ledger, spec("KEY2", kind=ActionKind.DISARM)) is not None


async def test_a_cap_refuses_and_leaves_the_action_planned(ledger: Ledger) -> None:
    caps = Caps(per_run_releases=1, run_ref="r")
    assert await begun(ledger, release("KEY1"), caps) is not None
    with pytest.raises(RefusedError, match="releases in one run is 1"):
        await begun(ledger, release("KEY2"), caps)
    assert await state_of(ledger, "KEY2") is ActionState.PLANNED


async def test_a_second_release_of_an_account_waits_planned(ledger: Ledger) -> None:
    assert await begun(ledger, release("KEY1", account="acme")) is not None
    with pytest.raises(LedgerConflict, match="another release of account acme"):
        await begun(ledger, release("KEY2", account="acme"))
    assert await state_of(ledger, "KEY2") is ActionState.PLANNED
