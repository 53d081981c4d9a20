"""Each seeded bug makes the oracle complain, and the same schedules without it do not (reliability.md, 5.5)."""

from __future__ import annotations

import pytest

from tests.prove.seeded import BUGS, Bug


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.number} {bug.name}")
def test_the_bug_is_caught_and_its_absence_is_not(bug: Bug) -> None:
    with pytest.MonkeyPatch.context() as patch:
        bug.weaken(patch)
        assert set(bug.show()) == set(), "without the bug the oracle must be silent"
        bug.plant(patch)
        complaints = set(bug.show())
    assert any(complaint.startswith(bug.says) for complaint in complaints), complaints
