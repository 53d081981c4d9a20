"""The crash matrix on PostgreSQL: a part in `make test`, a third in CI, everything in `make prove`."""

from __future__ import annotations

import secrets
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from recovery.ledger.ledger import Ledger
from tests.ledger.conftest import new_database
from tests.prove.child import PLANNED_ANEW, RESUMED
from tests.prove.columns import LONG, amount, patience
from tests.prove.test_crash_matrix import Totals, all_of, boundaries, turns

EVERY = amount(60, 6, 1)  # of the boundaries x fates, each of two ways of going on


@pytest.fixture
async def fresh(postgres: object, tmp_path: Path) -> Callable[[], str]:
    """A maker of empty ledgers, copied from one that is migrated already: four times as fast as migrating each."""
    template = new_database(postgres)
    await (await Ledger.open(template, tmp_path / "template")).close()
    name = template.partition("?")[0].rpartition("/")[2]
    # A copy must be another database to those who know the first.
    with psycopg.connect(template, autocommit=True) as server:
        server.execute("DELETE FROM meta")
        server.execute("DELETE FROM worker")

    def make() -> str:
        new = "ledger_" + secrets.token_hex(4)
        with psycopg.connect(postgres.get_uri(), autocommit=True) as server:  # type: ignore[attr-defined]
            server.execute(f"CREATE DATABASE {new} TEMPLATE {name}".encode())
        return str(postgres.get_uri(new))  # type: ignore[attr-defined]

    return make


@pytest.mark.timeout(patience(300))
async def test_a_run_killed_at_any_boundary_is_finished_once_by_the_next(
    tmp_path: Path, fresh: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    points = await boundaries(tmp_path / "probe", fresh)
    totals = Totals()
    if LONG:
        await all_of(tmp_path / "all", points, totals, RESUMED, fresh)
    else:
        await all_of(tmp_path / "resumed", turns(points, EVERY), totals, RESUMED, fresh)
        await all_of(tmp_path / "anew", turns(points, EVERY, 1), totals, PLANNED_ANEW, fresh)
    with capsys.disabled():
        sys.stdout.write(totals.line("PostgreSQL", Counter(p.kind for p in points)) + "\n")
