"""Random kill -9 of real workers that share one PostgreSQL ledger, under load, with a remote that loses and delays."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest

from tests.ledger.conftest import new_database
from tests.prove.columns import amount, patience
from tests.prove.crew import Crew, tally, unsettled, wrong
from tests.prove.far import far_end, journalled

KILLS = amount(30, 300, 10_000)
ROUND = 500  # a ledger and a remote for each so many kills, so that the last pass stays short
SEED = 7


@pytest.mark.timeout(patience(120))
async def test_workers_killed_at_random_do_nothing_twice_and_lose_nothing(
    tmp_path: Path, postgres: object, capsys: pytest.CaptureFixture[str]
) -> None:
    began, kills, effects, ended = time.monotonic(), 0, 0, dict[str, str]()
    for number in range(-(-KILLS // ROUND)):
        folder = tmp_path / str(number)
        folder.mkdir()
        url, draw = new_database(postgres), random.Random(SEED + number)
        async with far_end(folder, SEED + number) as far:
            crew = Crew(url, folder, far)
            await crew.kill_at_random(min(ROUND, KILLS - kills), draw)
            endings = await crew.finish(crew.touched())
        assert wrong(journalled(folder), endings) == [], f"seed {SEED + number}"
        assert await unsettled(url, crew.state_dir) == [], f"seed {SEED + number}"
        kills, effects = kills + crew.kills, effects + far.effects.total()
        ended |= {f"{number} {key}": end for key, end in endings.items()}
        with capsys.disabled():
            sys.stdout.write(
                f"random kills on PostgreSQL: {kills:,} kill -9 of 3 workers, {effects:,} effects, {tally(ended)}, "
                f"0 doubles, 0 lost; {time.monotonic() - began:.0f} s\n"
            )
    assert effects > KILLS, "a load of so few effects would show nothing"
