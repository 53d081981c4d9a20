"""`allclear watch` and a ledger that is away for a moment."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from recovery.errors import LedgerError, LedgerUnavailable
from recovery.operate import Round, watch_round
from recovery.terminal import standing_commands
from recovery.wiring import Systems
from sandbox import scenario_campaigns as mail
from sandbox.story import Account, Story
from tests.recovery.stage import night, stage


def one(story: Story, account: Account) -> None:
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))


class Rounds:
    """The database is away in the first round; whoever asks for a second one is answered and stopped."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        patch.setattr(standing_commands, "watch_round", self.round)
        patch.setattr(standing_commands, "stop_on_signals", self.stoppable)

    def stoppable(self, stop: asyncio.Event) -> None:
        self.stop = stop

    async def round(self, systems: Systems) -> Round:
        self.asked += 1
        if self.asked == 1:
            raise LedgerUnavailable("the database restarts", "wait")
        self.stop.set()
        return await watch_round(systems)


async def test_a_watch_that_comes_round_says_that_the_ledger_was_away_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with night(tmp_path, stage(one)) as n:
        rounds = Rounds(monkeypatch)
        code = await standing_commands.watch(n.config, 0.05, as_json=True, quiet=True)
    said = capsys.readouterr()
    assert (code, rounds.asked) == (0, 2)
    assert said.err == "allclear: the database restarts; the next round is in 0.05 s.\n"
    assert json.loads(said.out)["schema"] == "allclear.watch/1"


async def test_a_single_look_fails_when_the_ledger_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with night(tmp_path, stage(one)) as n:
        Rounds(monkeypatch)
        with pytest.raises(LedgerError, match="the database restarts"):
            await standing_commands.watch(n.config, 0, as_json=False, quiet=True)
