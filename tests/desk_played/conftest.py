"""One played incident for all that is asked of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.desk_played.front import Front, open_front
from tests.desk_played.story import Played, play


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with open_front(tmp_path_factory.mktemp("front")) as made:
        yield made


@pytest.fixture(scope="module")
def played(front: Front) -> Played:
    return play(front)
