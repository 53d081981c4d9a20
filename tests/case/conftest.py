"""One estate for each file of played cases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.case.shop import Shop, open_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("shop")) as made:
        yield made
