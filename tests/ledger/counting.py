"""How many rows a ledger holds, by table and state: what tests compare with what they caused."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from recovery.ledger.ledger import Ledger
from recovery.ledger.schema import action, action_event, attempt, evidence, item, plan


async def counts(ledger: Ledger) -> dict[str, int]:
    """Rows of each table, and items and actions in each state that any is in."""
    return await ledger._read(_counts)


def _counts(connection: Connection) -> dict[str, int]:
    tables = {"plans": plan, "attempts": attempt, "evidence": evidence, "events": action_event}
    found = {
        name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for name, table in tables.items()
    }
    for name, table, state in (("items", item, item.c.outcome), ("actions", action, action.c.state)):
        by_state = select(state, func.count()).select_from(table).group_by(state)
        found |= {f"{name}_{value}": int(number) for value, number in connection.execute(by_state)}
    return found
