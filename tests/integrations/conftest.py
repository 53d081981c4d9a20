"""Fixtures of the client tests, and the loops that those on real sockets run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop
from remote_bench import Bench

ON_SOCKETS = ("test_oneshot.py", "test_kept.py", "test_http_sockets.py", "test_no_silent_repeat.py")
"""They run on both loops: the program brings its own, Prefect runs flows on asyncio's."""


@pytest.fixture
def bench() -> Callable[..., Bench]:
    return Bench


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops = {"asyncio": asyncio.new_event_loop}
    return {**loops, "uvloop": uvloop.new_event_loop} if item.path.name in ON_SOCKETS else loops
