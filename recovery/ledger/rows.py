"""What the ledger hands out: frozen rows, in the words of `recovery.model`. Standard library and `recovery.model` only.

Importing this module is cheap (no SQLAlchemy), so signatures may name these types without paying for the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from recovery.model import ActionKind, ActionState, Harm, ItemOutcome, Question


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """An effect that may be wanted: the business key, what it touches, and how bad a repeat would be.

    `payload_digest` names what would be sent; `recipients` is how many people an H3 action reaches, as far as known.
    """

    key: str
    slot_key: str
    account: str
    kind: ActionKind
    harm: Harm
    target_ref: str
    generation: int = 0
    payload_digest: str = ""
    recipients: int = 0


@dataclass(frozen=True, slots=True)
class ActionRow:
    """One action as the ledger has it now.

    `fence` rises at each claim; a row with an old fence can write nothing. `attempts` counts the attempts ever opened,
    `repeats` those that were opened again after an absence or refusal was proven. `attempt_open` is true while the last
    attempt is not closed; `attempt_deadline` is when its remote call must be over (ledger clock, UTC).
    """

    key: str
    slot_key: str
    account: str
    kind: ActionKind
    harm: Harm
    target_ref: str
    generation: int
    payload_digest: str
    recipients: int
    state: ActionState
    owner: str
    lease_until: datetime | None
    fence: int
    attempts: int
    repeats: int
    attempt_open: bool
    attempt_deadline: datetime | None
    elected_ref: str
    result_ref: str
    evidence_digest: str
    question: Question | None
    note: str
    seq: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One slot that needed something, and how it ended (`outcome`)."""

    slot_key: str
    account: str
    system: str
    kind: str
    object_ref: str
    due_at: datetime
    name: str
    verdict: str
    remedy: str
    outcome: ItemOutcome
    reason: str
    question: Question | None
    generation: int
    plan_digest: str
    incident: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Caps:
    """Limits on what leaves, checked in the transaction that opens an attempt of an H3 action; None means no limit.

    `run_ref` names the run that `per_run_*` counts over; `per_hour_recipients` counts over the whole ledger, and
    `per_account_releases_a_day` over the action's account: nobody gets more mails of ours in 24 hours than that, even
    if all of them go to the same people.
    """

    per_run_releases: int | None = None
    per_run_recipients: int | None = None
    per_hour_recipients: int | None = None
    run_ref: str = ""
    per_account_releases_a_day: int | None = None


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One thing that happened to an action: `what` is "event" (a move), "attempt opened" or "attempt closed"."""

    at: datetime
    what: str
    action_key: str
    kind: ActionKind
    n: int
    from_state: str
    to_state: str
    actor: str
    detail: str


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One line of an append-only stream; `seq` counts from 1 without gaps."""

    stream: str
    seq: int
    kind: str
    by: str
    at: datetime
    data: Mapping[str, object] = field(default_factory=dict)
