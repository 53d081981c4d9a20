"""Small valid plans, actions and results, so that a test only names what it is about."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import psycopg

from recovery.ledger.ledger import ActionRow, ActionSpec, Caps, Ledger
from recovery.model import (
    ActionKind,
    AttemptOutcome,
    Harm,
    OpenAttempt,
    OutageWindow,
    Plan,
    PlanItem,
    PlannedAction,
    Remedy,
    Slot,
    Verdict,
    WriteResult,
    digest_of,
)

NOW = datetime.now(UTC).replace(microsecond=0)
APPLIED = WriteResult(AttemptOutcome.APPLIED, ref="41", detail="created")
REJECTED = WriteResult(AttemptOutcome.REJECTED, detail="422: no")
UNKNOWN = WriteResult(AttemptOutcome.UNKNOWN, detail="timeout")
NOT_APPLIED = WriteResult(AttemptOutcome.NOT_APPLIED, detail="429")


def spec(key: str = "KEY1", **changes: object) -> ActionSpec:
    values: dict[str, object] = {
        "key": key,
        "slot_key": f"slot of {key}",
        "account": f"account of {key}",
        "kind": ActionKind.COPY,
        "harm": Harm.H0,
        "target_ref": "7",
    }
    return ActionSpec(**{**values, **changes})  # type: ignore[arg-type]


def release(key: str = "KEY1", **changes: object) -> ActionSpec:
    return spec(key, **{"kind": ActionKind.RELEASE, "harm": Harm.H3, "recipients": 100, **changes})


async def opened(
    ledger: Ledger, what: ActionSpec, caps: Caps | None = None, lease: float = 60.0, deadline: float = 20.0
) -> tuple[ActionRow, OpenAttempt]:
    """The action, made known, claimed and with an open attempt."""
    await ledger.ensure([what])
    row = await ledger.claim(what.key, lease)
    assert row is not None
    attempt = await ledger.intend(row, "POST /x", send_within_seconds=5, deadline_seconds=deadline, caps=caps)
    return row, attempt


def plan_item(ref: str = "1", **changes: object) -> PlanItem:
    values: dict[str, object] = {
        "slot": Slot("acme", "pro2", "campaign", ref, NOW, name=f"Newsletter {ref}"),
        "verdict": Verdict.MISSED,
        "remedy": Remedy.RESEND,
        "reason": "nobody got it",
        "code": "R1",
        "actions": (PlannedAction(f"ACT{ref}", ActionKind.RELEASE, Harm.H3, False, ref, "release the copy"),),
        "order": 1,
        "audience": 100,
    }
    return PlanItem(**{**values, **changes})  # type: ignore[arg-type]


def plan(*items: PlanItem, valid: timedelta = timedelta(hours=2), made_at: datetime = NOW, incident: str = "") -> Plan:
    window = OutageWindow(NOW - timedelta(hours=4), NOW - timedelta(hours=1), ("acme",), incident=incident)
    kept = items or (plan_item(),)
    digest = digest_of([repr(kept), made_at, window.incident_ref])
    return Plan(window, kept, made_at, made_at + valid, digest)


def change(url: str, statement: str) -> None:
    """Run a statement beside the ledger."""
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
            database.execute(statement)
        database.close()
    else:
        with psycopg.connect(url) as server:
            server.execute(statement.encode())
