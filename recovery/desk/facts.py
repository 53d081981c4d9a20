"""What the ledger knows of a recovery that carries an incident's name, for its root-cause analysis."""

from __future__ import annotations

from dataclasses import replace

from recovery.desk.rca import Counts, RcaFacts
from recovery.desk_wiring import DeskSystems
from recovery.model import ActionState, Harm, ItemOutcome


async def with_ledger(desk: DeskSystems, ref: str, said: RcaFacts) -> RcaFacts:
    """Numbers and evidence of the recovery that carries the incident's name."""
    rows, ledger = await desk.systems.ledger.items(incident=ref), desk.systems.ledger
    count = {o: sum(1 for r in rows if r.outcome is o) for o in ItemOutcome}
    timeline, evidence, reached = [], [], 0
    for row in rows:
        actions = await ledger.actions(row.slot_key)
        confirmed = [a for a in actions if a.state is ActionState.CONFIRMED and a.harm is Harm.H3]
        reached += max((a.recipients for a in confirmed), default=0)  # the steps of one release reach the same people
        for action in actions:
            if action.evidence_digest:
                done = f"{action.kind.value} {row.name}: {action.state.value}"
                timeline.append((action.updated_at, done, action.key))
                evidence.append((f"{action.kind.value} {row.object_ref}", action.evidence_digest))
    counts = Counts(
        missed=len(rows) if rows else None,
        recovered=count[ItemOutcome.CONFIRMED],
        skipped=count[ItemOutcome.SKIPPED],
        held=count[ItemOutcome.HELD],
        recipients=reached if rows else None,
    )
    return replace(said, counts=counts, timeline=tuple(sorted(timeline)), evidence=tuple(evidence))
