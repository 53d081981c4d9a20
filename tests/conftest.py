"""The order in which files are handed to the test processes: what takes long begins first, so that all end together."""

from __future__ import annotations

import pytest

LONG = (
    "tests/flows/test_disasters",
    "tests/prove/test_simulator",
    "tests/flows/test_server",
    "tests/prove/",
    "tests/desk_played/",
    "tests/other_server/",
    "tests/cli/",
    "tests/recovery/",
    "tests/",
)


def rank(item: pytest.Item) -> int:
    """The place of a test's file among those that take long."""
    return next((n for n, part in enumerate(LONG) if item.nodeid.startswith(part)), len(LONG))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Stable: within a file, and among files of one rank, the order stays."""
    items.sort(key=rank)
