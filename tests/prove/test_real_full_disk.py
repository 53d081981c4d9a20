"""SQLite without room: full at every page count, files that may not grow, read-only. Nothing leaves without its intent.

"May not grow" is a limit of the kernel on the size of files (RLIMIT_FSIZE): the write itself fails, in the database, in
its log or in intents.log, whichever comes first.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from recovery.ledger.ledger import Ledger
from tests.prove.columns import amount, patience
from tests.prove.crew import wrong
from tests.prove.far import far_end, journalled
from tests.prove.real import forked
from tests.prove.worker import Shift, run_levels

# Twenty keys need about forty pages: with more room than that nothing would be refused.
PAGES = [n % 40 for n in range(amount(40, 40, 640))]
# No multiple of a page or of a log frame.
BYTES = range(0, 20 * 8195, amount(8195, 8195, 455))
KEYS = 20
SIDE_BY_SIDE = 20


def with_intent(folder: Path) -> tuple[set[str], set[str]]:
    """The keys that have an attempt in the database, and those that have a line in intents.log."""
    with sqlite3.connect(folder / "ledger.db") as connection:
        known = {row[0] for row in connection.execute("SELECT action_key FROM attempt")}
    connection.close()
    lines = (folder / "state" / "intents.log").read_text().splitlines()
    return known, {json.loads(line)["key"] for line in lines if line.endswith("}")}


async def start(shifts: list[Shift]) -> dict[str, str]:
    """All of them in one process; how each key ended."""
    child = forked().Process(target=run_levels, args=(shifts,))
    child.start()
    await asyncio.to_thread(child.join)
    assert child.exitcode == 0, [shift.full for shift in shifts]
    return {key: end for shift in shifts for key, end in json.loads(shift.out.read_text()).items()}


def level(template: Path, number: int, full: str) -> Shift:
    """A ledger with this little room, and what is to be done with it."""
    folder = template.parent / str(number)
    shutil.copytree(template, folder)
    keys = [f"level{number}-{n}/{n}" for n in range(KEYS)]
    url = f"sqlite:///{folder}/ledger.db"
    return Shift(url, folder / "state", template.parent, keys, folder / "told.json", full=full)


@pytest.mark.timeout(patience(120))
async def test_nothing_leaves_without_a_durable_intent_when_the_disk_has_no_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = tmp_path / "template"
    async with await Ledger.open(f"sqlite:///{template}/ledger.db", template / "state") as ledger:
        await ledger.flush()
    levels = [*(f"pages:{n}" for n in PAGES), *(f"bytes:{n}" for n in BYTES), "read-only"]
    ends, refused, effects = Counter[str](), 0, 0
    async with far_end(tmp_path, seed=1, trouble=False) as far:
        for first in range(0, len(levels), SIDE_BY_SIDE):
            shifts = [level(template, n, levels[n]) for n in range(first, min(first + SIDE_BY_SIDE, len(levels)))]
            # The kernel's limit is one for a whole process.
            limited = [shift for shift in shifts if shift.full.startswith("bytes")]
            others = [shift for shift in shifts if shift not in limited]
            told = [await start(part) for part in (others, *([shift] for shift in limited)) if part]
            refused += sum(end.startswith("open: ") for part in told for end in part.values())
            for shift in shifts:
                in_database, in_file = with_intent(shift.state_dir.parent)
                left = {key for key in shift.keys if far.effects[key]}
                assert left <= in_database & in_file, f"{shift.full}: a write left without a durable intent"
            endings = await start([replace(shift, full="") for shift in shifts])
            mine = Counter({key: n for key, n in journalled(tmp_path).items() if key in endings})
            assert wrong(mine, endings) == []
            ends.update(end.partition(":")[0] for end in endings.values())
            effects += mine.total()
            for shift in shifts:
                shutil.rmtree(shift.state_dir.parent)
    assert refused > len(levels), "the room was never short"
    with capsys.disabled():
        sys.stdout.write(
            f"SQLite without room: {len(levels)} levels ({len(PAGES)} page counts, {len(BYTES)} file sizes, read-only),"
            f" {refused:,} writes refused, {effects:,} effects, each with its intent; in the end {dict(ends)}\n"
        )
