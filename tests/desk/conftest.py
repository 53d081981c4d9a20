"""Fixtures of the desk's tests."""

import pytest

from tests.ledger.conftest import ledger, postgres, shared_database, state_dir, url

from . import stage

__all__ = ["ledger", "postgres", "shared_database", "state_dir", "url"]


@pytest.fixture
def desk(tmp_path):
    """The shipped settings with two clients."""
    return stage.settings(tmp_path)


@pytest.fixture
def play(desk):
    """An incident not yet declared."""
    return stage.Play(desk)


@pytest.fixture
def guided(tmp_path):
    """The same with prepared guides that the product may switch."""
    return stage.Play(stage.settings(tmp_path, desk=[stage.GUIDES]))
