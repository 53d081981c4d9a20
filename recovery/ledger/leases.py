"""Which worker works on which account: leases that several workers on one PostgreSQL ledger take and renew.

A lease only divides the work. It protects nothing: two workers that both believe they hold an account are still kept
apart action by action, by claims and by the database's own constraints. So a lease needs no fsync and no fence, a lost
one costs a little repeated reading, and a worker whose process is gone need not be waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from recovery.ledger.shared import MICROS, NO_FSYNC, NOW, Run

TABLE = "CREATE TABLE account_lease (account TEXT PRIMARY KEY, owner TEXT NOT NULL, until BIGINT NOT NULL)"

OTHERS = text(
    f"SELECT account, owner FROM account_lease WHERE account = ANY(:names) AND owner <> :me AND until >= {NOW}"  # noqa: S608
)
TAKE = text(
    f"""INSERT INTO account_lease AS l (account, owner, until)
    SELECT name, :me, {NOW} + :micros FROM unnest(CAST(:names AS text[])) AS name ORDER BY name
    ON CONFLICT (account) DO UPDATE SET owner = EXCLUDED.owner, until = EXCLUDED.until
    WHERE l.owner = EXCLUDED.owner OR l.until < {NOW} OR l.owner = ANY(CAST(:dead AS text[]))
    RETURNING account"""  # noqa: S608 - only constants are put in; values are bound
)
GIVE_BACK = text("DELETE FROM account_lease WHERE owner = :me AND account = ANY(:names)")


def _held_by_the_living(
    connection: Connection, names: Sequence[str], me: str, is_dead: Callable[[str], bool]
) -> tuple[frozenset[str], list[str]]:
    """Accounts that another worker holds, and the owners that are known to be dead."""
    owners = {row.account: row.owner for row in connection.execute(OTHERS, {"names": list(names), "me": me})}
    dead = {owner for owner in set(owners.values()) if is_dead(owner)}
    return frozenset(account for account, owner in owners.items() if owner not in dead), sorted(dead)


def taken(
    connection: Connection, names: Sequence[str], me: str, is_dead: Callable[[str], bool], micros: int
) -> frozenset[str]:
    """The accounts that are ours now."""
    connection.execute(NO_FSYNC)
    _, dead = _held_by_the_living(connection, names, me, is_dead)
    given = {"names": list(names), "me": me, "micros": micros, "dead": dead}
    ours = frozenset(connection.execute(TAKE, given).scalars())
    connection.commit()
    return ours


def free(connection: Connection, names: Sequence[str], me: str, is_dead: Callable[[str], bool]) -> frozenset[str]:
    """The accounts that nobody else holds."""
    held, _ = _held_by_the_living(connection, names, me, is_dead)
    connection.rollback()
    return frozenset(names) - held


def given_back(connection: Connection, names: Sequence[str], me: str) -> None:
    """They are free for anybody."""
    connection.execute(NO_FSYNC)
    connection.execute(GIVE_BACK, {"names": list(names), "me": me})
    connection.commit()


@dataclass(frozen=True, slots=True)
class Leases:
    """One worker's leases. Each call raises LedgerUnavailable when the database cannot be reached."""

    run: Run
    owner: str
    is_dead: Callable[[str], bool]

    async def take(self, accounts: Sequence[str], seconds: float) -> frozenset[str]:
        """Those of the accounts that are now ours for so long: free ones, our own, and those of the dead."""
        # Shielded: a caller who gives up must not leave a connection in the middle of its transaction.
        micros = round(seconds * MICROS)
        ours: frozenset[str] = await asyncio.shield(self.run(taken, accounts, self.owner, self.is_dead, micros))
        return ours

    async def free(self, accounts: Sequence[str]) -> frozenset[str]:
        """Those that nobody else holds at this moment."""
        found: frozenset[str] = await asyncio.shield(self.run(free, accounts, self.owner, self.is_dead))
        return found

    async def give_back(self, accounts: Sequence[str]) -> None:
        """We are done with them."""
        await asyncio.shield(self.run(given_back, accounts, self.owner))


def account_leases(connection: Connection) -> None:
    """The migration that adds the table."""
    connection.exec_driver_sql(TABLE)
