"""Opening and closing an attempt: the only door through which a write leaves.

An intent is checked against the kill switch, quarantine, the account's lane and the caps in the same transaction that
commits it; the database itself refuses a second attempt that is not preceded by a proof (K4).
"""

from __future__ import annotations

import os
import random
from typing import Any

from sqlalchemy import func, or_, select, text

from recovery.errors import LedgerConflict, RefusedError
from recovery.ledger.actions import FREE, S, action_row, claim, ours
from recovery.ledger.files import Intent
from recovery.ledger.rows import ActionRow, Caps
from recovery.ledger.schema import action, attempt
from recovery.ledger.work import Record, Work, storable
from recovery.model import ActionKind, AttemptOutcome, Harm, OpenAttempt, WriteResult

_REFS = random.Random()  # noqa: S311  # names attempts, guards nothing; the system's source costs a call each
os.register_at_fork(after_in_child=_REFS.seed)  # two children of one process must not name their attempts alike
CAPS_LOCK = 7_210_032  # PostgreSQL advisory lock: intents that count against a cap take turns
HOUR = 3_600_000_000  # microseconds
DAY = 24 * HOUR

SETTLED_STATE = {
    AttemptOutcome.APPLIED: S.APPLIED,
    AttemptOutcome.REJECTED: S.REJECTED,
    AttemptOutcome.UNKNOWN: S.UNKNOWN,
    AttemptOutcome.NOT_APPLIED: S.PLANNED,
}


def intend(
    work: Work, claimed: ActionRow, request: str, send_within: float, deadline_in: float, caps: Caps | None
) -> OpenAttempt:
    """claimed -> in_flight with an open attempt, after the last look at kill switch, quarantine, lane and caps."""
    row = ours(work, claimed.key, claimed.fence, S.CLAIMED)
    return _open(work, row, _may_leave(work, row, caps), request, send_within, deadline_in, caps)


def begin(
    work: Work, key: str, lease_seconds: float, request: str, send_within: float, deadline_in: float, caps: Caps | None
) -> OpenAttempt | None:
    """planned -> claimed -> in_flight in one transaction, after the same last look; None unless it is planned."""
    row = work.find(key)
    if row is None or row["state"] != S.PLANNED:
        return None
    lane = _may_leave(work, row, caps)  # before anything is written, so that a refusal costs no neighbour its batch
    claim(work, key, lease_seconds)
    return _open(work, row, lane, request, send_within, deadline_in, caps)


def _may_leave(work: Work, row: Record, caps: Caps | None) -> str | None:
    """The lane that the attempt takes (releases only); RefusedError or LedgerConflict when it may not leave now."""
    if row["kind"] != ActionKind.DISARM:  # taking back must work when everything else is stopped
        _check_gate(work)
    reaches = row["harm"] == Harm.H3
    lane = None
    if reaches and row["kind"] == ActionKind.RELEASE:
        lane = row["account"]
        _check_lane(work, lane, row["key"])
    if reaches and caps is not None:
        _check_caps(work, row, caps)
    return lane


def _open(
    work: Work,
    row: Record,
    lane: str | None,
    request: str,
    send_within: float,
    deadline_in: float,
    caps: Caps | None,
) -> OpenAttempt:
    now = work.now
    n = row["attempts"] + 1
    ref = _REFS.getrandbits(62)
    reaches = row["harm"] == Harm.H3
    deadline = now + int(deadline_in * 1_000_000)
    lease = max(row["lease_until"], deadline)
    work.move(
        row,
        S.IN_FLIGHT,
        f"attempt {n}: {request}",
        attempts=n,
        attempt_open=1,
        attempt_ref=ref,
        attempt_deadline=deadline,
        lease_until=lease,
        lane=lane,
    )
    work.open_attempt(
        {
            "id": ref,
            "action_key": row["key"],
            "n": n,
            "owner": work.site.owner,
            "fence": row["fence"],
            "run_ref": caps.run_ref if caps else "",
            "reach": max(1, row["recipients"]) if reaches else 0,
            "request": storable(request),
            "opened_at": now,
            "send_by": now + int(send_within * 1_000_000),
            "deadline": deadline,
        }
    )
    work.intents.append(Intent(row["key"], n, now, deadline, work.site.owner))
    return OpenAttempt(ref, row["key"], n, row["fence"], work.started + send_within, deadline_in)


def _check_gate(work: Work) -> None:
    gate = work.gate
    if gate.killed:
        raise RefusedError(f"the kill switch is on: {gate.killed}", "clear it when it is safe to go on")
    if gate.quarantine:
        raise RefusedError(
            "the ledger is in quarantine: its database may have lost records",
            "settle the unknown actions by reading the remotes, then release the quarantine",
        )


def _check_lane(work: Work, account: str, key: str) -> None:
    other = work.execute(select(action.c.key).where(action.c.lane == account, action.c.key != key)).scalar()
    if other is not None:
        raise LedgerConflict(
            f"another release of account {account} is on its way ({other})",
            "wait until it is confirmed, then try again",
        )


def _check_caps(work: Work, row: Record, caps: Caps) -> None:
    if work.on_postgresql:
        work.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": CAPS_LOCK})
    counts = or_(attempt.c.outcome.is_(None), attempt.c.outcome != str(AttemptOutcome.NOT_APPLIED))
    people = max(1, row["recipients"])
    if caps.per_run_releases is not None or caps.per_run_recipients is not None:
        this_run = select(func.count(), func.coalesce(func.sum(attempt.c.reach), 0)).where(
            attempt.c.run_ref == caps.run_ref, attempt.c.reach > 0, counts
        )
        releases, reached = work.execute(this_run).one()
        _refuse_above("releases in one run", int(releases) + 1, caps.per_run_releases)
        _refuse_above("recipients in one run", int(reached) + people, caps.per_run_recipients)
    if caps.per_hour_recipients is not None:
        last_hour = select(func.coalesce(func.sum(attempt.c.reach), 0)).where(
            attempt.c.opened_at > work.now - HOUR, attempt.c.reach > 0, counts
        )
        reached = work.execute(last_hour).scalar_one()
        _refuse_above("recipients in one hour", int(reached) + people, caps.per_hour_recipients)
    if caps.per_account_releases_a_day is not None and row["kind"] == ActionKind.RELEASE:
        to_the_same = (
            select(func.count())
            .select_from(attempt.join(action, action.c.key == attempt.c.action_key))
            .where(
                attempt.c.opened_at > work.now - DAY,
                attempt.c.reach > 0,
                counts,
                action.c.account == row["account"],
                action.c.kind == str(ActionKind.RELEASE),
            )
        )
        mails = int(work.execute(to_the_same).scalar_one()) + 1
        _refuse_above(f"mails to the people of {row['account']} in one day", mails, caps.per_account_releases_a_day)


def _refuse_above(what: str, wanted: int, cap: int | None) -> None:
    if cap is not None and wanted > cap:
        raise RefusedError(
            f"the cap on {what} is {cap}, this would make {wanted}",
            "raise the cap in the policy, wait, or plan the rest anew",
        )


def settle(work: Work, opened: OpenAttempt, result: WriteResult) -> ActionRow:
    """in_flight -> what the write came to; LedgerConflict when the attempt was taken over meanwhile."""
    row = ours(work, opened.action_key, opened.fence, S.IN_FLIGHT)
    if row["attempt_ref"] != opened.attempt_ref:
        raise LedgerConflict(f"attempt {opened.n} of {opened.action_key} is not the open one", "read the action again")
    state = SETTLED_STATE[result.outcome]
    digest = result.exchange.digest if result.exchange else ""
    work.close_attempt(opened.attempt_ref, str(result.outcome), result.detail, digest)
    changes: dict[str, Any] = {"attempt_open": 0}
    if result.ref:
        changes["result_ref"] = storable(result.ref)
    if state is S.PLANNED:
        changes |= FREE
    work.move(row, state, f"{result.outcome}: {result.detail}".rstrip(": "), **changes)
    return action_row(row)
