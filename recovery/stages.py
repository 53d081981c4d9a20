"""Which items of one account may be worked on at the same time. Pure (design, invariant 10).

What one stage changes the next may build on: syncs, then imports, then triggers, then campaigns. Within a stage the
jobs run side by side, so that an account does not wait for one run after the other. Never side by side are jobs that
use one list, syncs, which compare and mend the tags of the same people, and what reaches people: triggers and mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from recovery.model import Harm, Kind, PlanItem

JOBS = frozenset({Kind.IMPORT, Kind.SEGMENT_TRANSFER, Kind.OTHER})

Chain = list[PlanItem]
"""Items that are worked on one after the other."""


def stages(items: Sequence[PlanItem]) -> list[list[Chain]]:
    """One account's items, in the plan's order, as stages of chains; a stage begins when the one before has ended."""
    return [_chains(list(group)) for _, group in groupby(items, key=lambda item: item.order)]


def _chains(items: list[PlanItem]) -> list[Chain]:
    chains: dict[str, Chain] = {}
    for item in items:
        chains.setdefault(_uses_alone(item), []).append(item)
    return list(chains.values())


def _uses_alone(item: PlanItem) -> str:
    """What no two items may use at a time: the list of a job, its definition, or the account's people."""
    if item.slot.kind not in JOBS or item.harm is Harm.H3:
        return "people"
    used = item.before.get("list")
    return f"list {used}" if used else f"definition {item.slot.object_ref}"
