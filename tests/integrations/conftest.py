"""Fixtures of the client tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from remote_bench import Bench


@pytest.fixture
def bench() -> Callable[..., Bench]:
    return Bench
