"""Real processes, real kill -9, at every boundary of every action, with replies that were lost or landed late."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from sandbox.world import Fault
from tests.prove.real import Case, houses, judged, some_of_each

WHOLE = bool(os.environ.get("ALLCLEAR_PROVE"))
EACH_HOW_MANY = 1 if WHOLE else 12
AT_ONCE = 3
FATES = ("applied", "not applied", "applied late")
WRITES = (
    ("pro2", "v1:campaign_status"), ("pro2", "campaign_copy"), ("pro2", "campaign_edit"), ("dashboard", "reprocess"),
    ("dashboard", "run_now"), ("dashboard", "import"), ("pro2", "contact_tag_add"),
)  # fmt: skip


def plan_fault(case: Case, fate: str) -> None:
    """The first try of every kind of write never arrives, or arrives after its sender was told nothing."""
    kind = {"not applied": "reset-before", "applied late": "lands-late"}.get(fate)
    if kind is not None:
        for system, op in WRITES:
            case.night.world.faults.add(Fault(system, case.account, op, kind, seconds=0.15))


async def crash_and_rest(case: Case, point: int, room: asyncio.Semaphore) -> int | None:
    async with room:
        code = await case.run(point)
        await case.rest()
        return code


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("fate", FATES)
async def test_a_run_killed_at_any_boundary_is_finished_once_by_the_next(tmp_path: Path, fate: str) -> None:
    async with houses(tmp_path / "probe", 1, some_of_each) as (_, (probe,)):
        plan_fault(probe, fate)
        await probe.rest()
        points = len(probe.labels())
    assert points > 80, "the boundaries are counted by the code; too few means that they are not reached"
    chosen = range(1 + FATES.index(fate), points + 1, EACH_HOW_MANY)
    async with houses(tmp_path / "matrix", len(chosen), some_of_each) as (n, cases):
        for case in cases:
            plan_fault(case, fate)
        room = asyncio.Semaphore(AT_ONCE)
        codes = await asyncio.gather(*(crash_and_rest(c, p, room) for c, p in zip(cases, chosen, strict=True)))
        assert codes.count(-9) >= len(codes) * 3 // 4, codes
        assert await judged(n, cases) == []
