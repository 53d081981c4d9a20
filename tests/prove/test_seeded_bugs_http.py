"""Seeded bugs at a socket and at a desk's key; with those of `test_seeded_bugs` they are the thirty-two of the list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.prove import seeded
from tests.prove.seeded_http import (
    Patch,
    Show,
    copy,
    follows,
    no_read_back,
    retries,
    sends_through_a_library,
    takes_5xx_for_failed,
    takes_every_flag_for_true,
    through,
    trusts_2xx,
    trusts_the_key,
    with_a_key,
    write,
)


@dataclass(frozen=True, slots=True)
class Bug:
    """One seeded bug; `says` is how the oracle's complaint begins."""

    number: int
    name: str
    plant: Callable[[Patch], object]
    says: str
    show: Show
    weaken: Callable[[Patch], object] = lambda _patch: None


BUGS = (
    Bug(11, "the transport tries a write again", retries, "double", through("cut")),
    Bug(12, "a write follows a redirect", follows, "double", through("redirect")),
    Bug(13, "a library repeats a GET that writes", sends_through_a_library, "double", through("cut", write("GET"))),
    Bug(14, "a 5xx is taken for a failure", takes_5xx_for_failed, "double", through("error")),
    Bug(15, "any 2xx is trusted", trusts_2xx, "unproven", through("empty"), no_read_back),
    Bug(16, "succeeded:0 is success", takes_every_flag_for_true, "unproven", through("refused", copy), no_read_back),
    Bug(28, "a create is repeated under an expired native key", trusts_the_key, "double", with_a_key(3 * 3600.0)),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: f"{bug.number} {bug.name}")
async def test_the_bug_is_caught_and_its_absence_is_not(bug: Bug, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        bug.weaken(patch)
        assert set(await bug.show(tmp_path)) == set(), "without the bug the oracle must be silent"
        bug.plant(patch)
        (tmp_path / "again").mkdir()
        complaints = set(await bug.show(tmp_path / "again"))
    assert any(complaint.startswith(bug.says) for complaint in complaints), complaints


async def test_within_the_keys_life_a_repeat_does_nothing(tmp_path: Path) -> None:
    """So the bug of the expired key shows only once the key is gone."""
    with pytest.MonkeyPatch.context() as patch:
        trusts_the_key(patch)
        assert set(await with_a_key(3600.0)(tmp_path)) == set()


def test_all_thirty_two_are_planted() -> None:
    assert sorted(bug.number for bug in (*seeded.BUGS, *BUGS)) == list(range(1, 33))
