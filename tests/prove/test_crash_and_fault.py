"""Every crash point of every recipe times every fate of every write: an eighth in `make test`, else all."""

from __future__ import annotations

from functools import partial

import pytest

from tests.prove.columns import amount, patience
from tests.prove.families import crash_and_fault
from tests.prove.runs import run_family

STRIDE = amount(8, 1, 1)


@pytest.mark.timeout(patience(600))
def test_a_crash_at_every_step_with_every_fate_of_every_write_keeps_the_promise() -> None:
    total = run_family("crash x fate", partial(crash_and_fault, STRIDE))
    assert not total.failures, "\n\n".join(total.failures[:3])
    assert total.schedules > 12_000 // STRIDE
