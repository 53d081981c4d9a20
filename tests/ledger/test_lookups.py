"""On PostgreSQL every statement of an effect finds its rows by key, however small the tables were when it was prepared.

A plan that is prepared over an empty table reads it whole, and is kept while the table grows.
"""

from __future__ import annotations

from pathlib import Path

import psycopg

from recovery.ledger.ledger import Ledger
from tests.ledger.conftest import emptied
from tests.ledger.makers import APPLIED, opened, spec

ENOUGH_TO_BE_PREPARED = 12  # five runs until psycopg prepares a statement, five until its plan stays
READ_WHOLE = """SELECT relname, seq_scan FROM pg_stat_user_tables
    WHERE relname IN ('action', 'action_event', 'attempt', 'legal_transition') ORDER BY relname"""


def read_whole(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        return dict(connection.execute(READ_WHOLE).fetchall())


async def test_effects_read_no_table_whole(shared_database: str, state_dir: Path) -> None:
    """Twelve effects on a ledger that was empty when they began cause not one sequential scan of its tables."""
    url = emptied(shared_database)
    async with await Ledger.open(url, state_dir) as ledger:
        await ledger.ensure([spec("FIRST")])
    before = read_whole(url)
    ledger = await Ledger.open(url, state_dir)
    for n in range(ENOUGH_TO_BE_PREPARED):
        _, attempt = await opened(ledger, spec(f"K{n}"))
        await ledger.settle(attempt, APPLIED)
        await ledger.confirm(f"K{n}", "a" * 64, "read back", "41")
    await ledger.close()
    assert read_whole(url) == before
