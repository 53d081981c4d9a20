"""What a remote is *proven* to do, by account and system, as `allclear doctor --prove` found it.

Kept in the ledger's stream "capability/<account>/<system>": one event a truth test, with its evidence. The newest event
of a test counts. What was never proven, was refuted or was skipped is not proven: then the weakest behaviour is assumed
(reliability.md 3.1). An account that says `proven_by` takes the proofs of that test account of the same platform.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from recovery.ledger.rows import StreamEvent
from recovery.ports import Clock

if TYPE_CHECKING:
    from recovery.ledger.ledger import Ledger

PREFIX = "capability/"
HEADER_ONLY_AUTH = "header_only_auth"
READ_BY_ID = "read_by_id"
LIST_LAG = "list_lag"
EDIT_DOES_NOT_ARM = "edit_does_not_arm"
DRAFT_DELETED = "draft_deleted"
ID_GREATER = "id_greater_complete"
ONE_SHOT_RELEASE = "one_shot_release"
LIMITER_FIRST = "limiter_before_execute"

Outcome = Literal["proved", "refuted", "skipped"]


@dataclass(frozen=True, slots=True)
class Proof:
    """How one truth test came out. `seconds` is a measured time, where one was; `evidence` is a digest."""

    test: str
    outcome: Outcome
    detail: str
    evidence: str = ""
    seconds: float | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Proofs:
    """The newest outcome of each test; empty means that nothing is proven."""

    by_test: Mapping[str, Proof] = field(default_factory=dict)

    def holds(self, test: str) -> bool:
        """Whether the newest outcome of the test is a proof."""
        found = self.by_test.get(test)
        return found is not None and found.outcome == "proved"

    def seconds(self, test: str) -> float | None:
        """The time that a proof measured."""
        found = self.by_test.get(test)
        return found.seconds if found is not None and found.outcome == "proved" else None


def fold(events: Iterable[StreamEvent]) -> Proofs:
    """The proofs that a stream tells. A skipped test takes nothing from an earlier proof or refutation."""
    newest: dict[str, Proof] = {}
    for event in events:
        test, seconds = str(event.data.get("test", "")), event.data.get("seconds")
        outcome = _OUTCOMES.get(event.kind)
        if outcome is None or (outcome == "skipped" and test in newest):
            continue
        newest[test] = Proof(
            test,
            outcome,
            str(event.data.get("detail", "")),
            str(event.data.get("evidence", "")),
            float(seconds) if isinstance(seconds, (int, float)) else None,
            event.at,
        )
    return Proofs(newest)


_OUTCOMES: Mapping[str, Outcome] = {"proved": "proved", "refuted": "refuted", "skipped": "skipped"}


async def load_proofs(ledger: Ledger, system: str, owners: Mapping[str, str]) -> dict[str, Proofs]:
    """Proofs by account. `owners` says for each account whose proofs it uses."""
    there = set(await ledger.streams(PREFIX))
    by_owner: dict[str, Proofs] = {}
    for owner in sorted(set(owners.values())):
        name = f"{PREFIX}{owner}/{system}"
        by_owner[owner] = fold(await ledger.stream(name)) if name in there else Proofs()
    return {account: by_owner[owner] for account, owner in owners.items()}


async def record_proof(ledger: Ledger, clock: Clock, account: str, system: str, by: str, proof: Proof) -> None:
    """Adds one outcome to the account's stream."""
    data = {"test": proof.test, "detail": proof.detail, "evidence": proof.evidence, "seconds": proof.seconds}
    await ledger.append(f"{PREFIX}{account}/{system}", proof.outcome, by, clock.now(), data)
