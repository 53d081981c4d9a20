"""Every crash point of every recipe times every fate of every write: a fourth in `make test`, all in `make prove`."""

from __future__ import annotations

import os
from functools import partial

import pytest

from tests.prove.families import crash_and_fault
from tests.prove.runs import run_family

STRIDE = 1 if os.environ.get("ALLCLEAR_PROVE") else 4


@pytest.mark.timeout(600)
def test_a_crash_at_every_step_with_every_fate_of_every_write_keeps_the_promise() -> None:
    total = run_family("crash x fate", partial(crash_and_fault, STRIDE))
    assert not total.failures, "\n\n".join(total.failures[:3])
    assert total.schedules > 12_000 // STRIDE
