"""Every crash point of every recipe times every fate of every write, exhaustively."""

from __future__ import annotations

import pytest

from tests.prove.families import crash_and_fault
from tests.prove.runs import run_family


@pytest.mark.timeout(600)
def test_a_crash_at_every_step_with_every_fate_of_every_write_keeps_the_promise() -> None:
    total = run_family("crash x fate", crash_and_fault)
    assert not total.failures, "\n\n".join(total.failures[:3])
    assert total.schedules > 10_000
