"""An attempt that the database lost is not repeated while the process that made it may still send."""

from __future__ import annotations

from pathlib import Path

import pytest

from recovery.errors import RefusedError
from recovery.ledger.ledger import Ledger
from recovery.model import ActionState
from tests.ledger.makers import opened, spec
from tests.ledger.test_second_record import backup, restore


async def test_a_lost_attempt_is_repeated_only_when_its_sender_is_proven_dead(tmp_path: Path) -> None:
    url, state_dir = f"sqlite:///{tmp_path}/ledger.db", tmp_path / "state"
    sender = await Ledger.open(url, state_dir)
    await sender.ensure([spec()])
    await sender.flush()
    backup(tmp_path)
    await opened(sender, spec())
    restore(tmp_path)
    async with await Ledger.open(url, state_dir) as other:
        assert other.quarantined
        await other.release_quarantine("Ana")
        with pytest.raises(RefusedError, match="may still be alive"):
            await other.absent("KEY1", "three looks, none there")
        sender._workers.release()  # what the kernel does when the process is gone
        assert (await other.absent("KEY1", "three looks, none there")).state is ActionState.PLANNED
    await sender.close()


async def test_an_effect_that_its_own_process_saw_while_sending_may_still_come_again(url: str, state_dir: Path) -> None:
    """Who adopts an effect has looked at the remote; that says nothing about a request that is still under way."""
    sender = await Ledger.open(url, state_dir)
    await opened(sender, spec())
    await sender.adopt("KEY1", "55", "found", "d")
    async with await Ledger.open(url, state_dir) as other:
        await other.doubt("KEY1", "not there after all")
        with pytest.raises(RefusedError, match="may still be alive"):
            await other.absent("KEY1", "three looks, none there")
    await sender.close()
