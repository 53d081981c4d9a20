"""The moves of an action as units of work: each takes the open transaction and returns what is then recorded.

What the database enforces is in `recovery.ledger.migrations`; here is who may ask for which move, and what a person
is told when it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, select

from recovery.errors import LedgerConflict, RefusedError
from recovery.ledger.codec import decode_question, encode_question
from recovery.ledger.rows import ActionRow, ActionSpec
from recovery.ledger.schema import MOVING, action, among, attempt, from_micros
from recovery.ledger.work import Record, Site, Work, clock_of, storable
from recovery.model import (
    ActionKind,
    ActionState,
    AttemptOutcome,
    Harm,
    Question,
)

MAX_ATTEMPTS = 3
S = ActionState
BY_LOOKING = "by looking"
"""Who closed an attempt that was in flight when its effect was found at the remote: nobody's word that it is over."""

FREE: dict[str, Any] = {"owner": "", "lease_until": None}


def action_row(row: Record) -> ActionRow:
    """The public form of a stored action."""
    lease, deadline = row["lease_until"], row["attempt_deadline"]
    return ActionRow(
        key=row["key"],
        slot_key=row["slot_key"],
        account=row["account"],
        kind=ActionKind(row["kind"]),
        harm=Harm(row["harm"]),
        target_ref=row["target_ref"],
        generation=row["generation"],
        payload_digest=row["payload_digest"],
        recipients=row["recipients"],
        state=S(row["state"]),
        owner=row["owner"],
        lease_until=None if lease is None else from_micros(lease),
        fence=row["fence"],
        attempts=row["attempts"],
        repeats=row["repeats"],
        attempt_open=bool(row["attempt_open"]),
        attempt_deadline=None if deadline is None else from_micros(deadline),
        elected_ref=row["elected_ref"],
        result_ref=row["result_ref"],
        evidence_digest=row["evidence_digest"],
        question=decode_question(row["hold_question"]),
        note=row["note"],
        seq=row["seq"],
        updated_at=from_micros(row["updated_at"]),
    )


def ensure(work: Work, specs: Sequence[ActionSpec]) -> tuple[ActionRow, ...]:
    """Insert the actions that are not there, each with its first event; all of them as they then are."""
    unique = {spec.key: spec for spec in specs}
    work.load(tuple(unique))
    for key, spec in unique.items():
        if key not in work.rows:
            work.add(_new_action(work, spec))
    return tuple(action_row(work.rows[key]) for key in unique)


def _new_action(work: Work, spec: ActionSpec) -> Record:
    return {
        "key": spec.key,
        "slot_key": storable(spec.slot_key),
        "account": spec.account,
        "kind": str(spec.kind),
        "harm": int(spec.harm),
        "target_ref": storable(spec.target_ref),
        "generation": spec.generation,
        "payload_digest": spec.payload_digest,
        "recipients": spec.recipients,
        "state": str(S.PLANNED),
        "owner": "",
        "lease_until": None,
        "fence": 0,
        "seq": 0,
        "last_hash": "",
        "attempts": 0,
        "repeats": 0,
        "attempt_open": 0,
        "attempt_ref": None,
        "attempt_deadline": None,
        "lane": None,
        "elected_ref": "",
        "result_ref": "",
        "hold_question": None,
        "evidence_digest": "",
        "note": "",
        "made_at": work.now,
        "updated_at": work.now,
    }


def claim(work: Work, key: str, lease_seconds: float) -> ActionRow | None:
    """planned -> claimed with a higher fence; None unless it is planned."""
    row = work.find(key)
    if row is None or row["state"] != S.PLANNED:
        return None
    lease = work.now + int(lease_seconds * 1_000_000)
    work.move(row, S.CLAIMED, "", owner=work.site.owner, fence=row["fence"] + 1, lease_until=lease)
    return action_row(row)


def unclaim(work: Work, claimed: ActionRow, note: str) -> ActionRow:
    """claimed -> planned, by the claimer."""
    row = ours(work, claimed.key, claimed.fence, S.CLAIMED)
    work.move(row, S.PLANNED, note, **FREE)
    return action_row(row)


def ours(work: Work, key: str, fence: int, state: ActionState) -> Record:
    """The action, if it is in this state and held by this process under this fence; else LedgerConflict."""
    row = work.need(key)
    if row["state"] != state or row["fence"] != fence or row["owner"] != work.site.owner:
        raise LedgerConflict(
            f"action {key} is {row['state']} and no longer held by this claim", "someone took it over; read it again"
        )
    return row


# ---- after the reply ------------------------------------------------------------------------------------------------


def confirm(work: Work, key: str, evidence_digest: str, note: str, ref: str) -> ActionRow:
    """applied or unknown -> confirmed; a confirmed action is returned as it is."""
    row = work.need(key)
    if row["state"] == S.CONFIRMED:
        return action_row(row)
    if not evidence_digest:
        raise RefusedError(f"action {key} cannot be confirmed without evidence", "read the effect back first")
    if row["state"] == S.UNKNOWN:
        _relabel(work, row, AttemptOutcome.APPLIED, note, evidence_digest)
    work.move(
        row, S.CONFIRMED, note, evidence_digest=evidence_digest, result_ref=storable(ref) or row["result_ref"], **FREE
    )
    return action_row(row)


def doubt(work: Work, key: str, note: str) -> ActionRow:
    """applied -> unknown."""
    row = work.need(key)
    _need_state(row, S.APPLIED)
    _relabel(work, row, AttemptOutcome.UNKNOWN, note)
    work.move(row, S.UNKNOWN, note)
    return action_row(row)


def adopt(work: Work, key: str, ref: str, note: str, evidence_digest: str) -> ActionRow:
    """-> applied: our effect was found at the remote, whoever caused it."""
    row = work.need(key)
    if row["state"] in {S.APPLIED, S.CONFIRMED}:
        return action_row(row)
    if row["state"] == S.CLAIMED:
        ours(work, key, row["fence"], S.CLAIMED)
    _relabel(work, row, AttemptOutcome.APPLIED, note, evidence_digest)
    found = {"result_ref": storable(ref) or row["result_ref"], "evidence_digest": evidence_digest}
    work.move(row, S.APPLIED, note, attempt_open=0, **found)
    return action_row(row)


def absent(work: Work, key: str, note: str, evidence_digest: str, by: str) -> ActionRow:
    """unknown -> planned, once it is proven that the effect is not there and cannot arrive any more."""
    row = work.need(key)
    _need_state(row, S.UNKNOWN)
    if row["repeats"] + 1 >= MAX_ATTEMPTS:
        raise RefusedError(
            f"action {key} was tried {MAX_ATTEMPTS} times without a proven effect", "hold it for a person"
        )
    if not by:
        _check_sender_is_gone(work, row)
    _relabel(work, row, AttemptOutcome.NOT_APPLIED, note, evidence_digest)
    vouched = f"{note} (vouched for by {by})" if by else note
    work.move(row, S.PLANNED, vouched, actor=by, repeats=row["repeats"] + 1, attempt_open=0, **FREE)
    return action_row(row)


def _check_sender_is_gone(work: Work, row: Record) -> None:
    """An attempt that its own process closed is over; one that was taken over needs that process to be dead."""
    last = _last_attempt(work, row)
    if last is None or last["closed_by"] == last["owner"] or last["owner"] == work.site.owner:
        return
    if not work.site.is_dead(last["owner"]):
        raise RefusedError(
            f"the process that sent {row['key']} ({last['owner']}) may still be alive and send late",
            "end that process, or let a named person vouch that it has ended",
        )


def _last_attempt(work: Work, row: Record) -> Any:
    if row["attempt_ref"] is None:
        return None
    return work.execute(select(attempt).where(attempt.c.id == row["attempt_ref"])).mappings().first()


def retry_rejected(work: Work, key: str, note: str, *, proven: bool) -> ActionRow:
    """rejected -> planned, its attempt closed as not applied."""
    row = work.need(key)
    _need_state(row, S.REJECTED)
    if not proven:
        raise RefusedError(f"the refusal of {key} is not proven to have had no effect", "read the remote first")
    if row["repeats"] + 1 >= MAX_ATTEMPTS:
        raise RefusedError(f"action {key} was tried {MAX_ATTEMPTS} times", "hold it for a person")
    _relabel(work, row, AttemptOutcome.NOT_APPLIED, note)
    work.move(row, S.PLANNED, note, repeats=row["repeats"] + 1, **FREE)
    return action_row(row)


def hold(work: Work, key: str, question: Question) -> None:
    """-> held; a held action gets no second question."""
    row = work.need(key)
    if row["state"] == S.HELD:
        return
    if row["state"] == S.CLAIMED:
        ours(work, key, row["fence"], S.CLAIMED)
    work.move(row, S.HELD, question.text, hold_question=encode_question(question), **FREE)


def skip(work: Work, key: str, reason: str) -> None:
    """-> skipped; a skipped action stays so."""
    row = work.need(key)
    if row["state"] == S.SKIPPED:
        return
    _need_words(reason, "a reason")
    if row["state"] == S.CLAIMED:
        ours(work, key, row["fence"], S.CLAIMED)
    work.move(row, S.SKIPPED, reason, **FREE)


def cancel(work: Work, key: str, by: str, reason: str) -> None:
    """-> cancelled, by a named person."""
    _need_words(by, "a name")
    work.move(work.need(key), S.CANCELLED, reason, actor=by, **FREE)


def release_hold(work: Work, key: str, by: str, reason: str) -> ActionRow:
    """held -> unknown when an attempt may have had its effect, else planned."""
    row = work.need(key)
    _need_state(row, S.HELD)
    _need_words(by, "a name")
    last = _last_attempt(work, row)
    unproven = last is not None and last["outcome"] != AttemptOutcome.NOT_APPLIED
    if unproven and last["outcome"] != AttemptOutcome.UNKNOWN:
        _relabel(work, row, AttemptOutcome.UNKNOWN, reason)
    work.move(row, S.UNKNOWN if unproven else S.PLANNED, reason, actor=by)
    return action_row(row)


def take_over(work: Work, key: str) -> ActionRow:
    """claimed -> planned or in_flight -> unknown, when its owner is dead or its time is over."""
    row = work.need(key)
    if row["state"] not in {S.CLAIMED, S.IN_FLIGHT}:
        return action_row(row)
    dead = work.site.is_dead(row["owner"])
    over = row["lease_until"] < work.now
    why = f"taken over from {row['owner']}: " + ("its process is gone" if dead else "its time is over")
    if row["state"] == S.CLAIMED and (dead or over):
        work.move(row, S.PLANNED, why, **FREE)
    elif row["state"] == S.IN_FLIGHT and (dead or (over and row["attempt_deadline"] < work.now)):
        work.close_attempt(row["attempt_ref"], str(AttemptOutcome.UNKNOWN), why)
        work.move(row, S.UNKNOWN, why, attempt_open=0)
    return action_row(row)


def _relabel(work: Work, row: Record, outcome: AttemptOutcome, note: str, evidence_digest: str = "") -> None:
    """Correct what is known of the last attempt, keeping who closed it.

    One still in flight is not over because its effect was seen, not even when its own process saw it.
    """
    last = _last_attempt(work, row)
    if last is not None and last["outcome"] != AttemptOutcome.NOT_APPLIED:
        work.close_attempt(row["attempt_ref"], str(outcome), note, evidence_digest, by=last["closed_by"] or BY_LOOKING)


def _need_state(row: Record, state: ActionState) -> None:
    if row["state"] != state:
        raise LedgerConflict(f"action {row['key']} is {row['state']}, not {state}", "read it again and decide anew")


def _need_words(given: str, what: str) -> None:
    if not given.strip():
        raise RefusedError(f"this needs {what}", "give it and run again")


# ---- queries --------------------------------------------------------------------------------------------------------


def by_key(key: str) -> Select[Any]:
    """The action under this key."""
    return select(action).where(action.c.key == key)


def by_slot(slot_key: str) -> Select[Any]:
    """The slot's actions in the order they were made known."""
    return select(action).where(action.c.slot_key == slot_key).order_by(action.c.made_at, action.c.key)


def find(connection: Connection, query: Select[Any]) -> tuple[ActionRow, ...]:
    """The actions that a query of this module finds."""
    return tuple(action_row(dict(row)) for row in connection.execute(query).mappings())


def stale(connection: Connection, site: Site) -> tuple[ActionRow, ...]:
    """Actions in motion whose owner is dead or whose lease is over, oldest first."""
    query = select(action).where(among(action.c.state, MOVING)).order_by(action.c.made_at, action.c.key)
    now = from_micros(clock_of(connection, site))
    dead: dict[str, bool] = {}

    def is_left(row: ActionRow) -> bool:
        if row.lease_until is None or row.lease_until < now:
            return True
        if row.owner not in dead:
            dead[row.owner] = site.is_dead(row.owner)
        return dead[row.owner]

    return tuple(row for row in find(connection, query) if is_left(row))
