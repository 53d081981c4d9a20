"""Plans, approvals, items and answers as units of work and queries."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select, update

from recovery.approvals import approver, reach_of
from recovery.errors import LedgerConflict, RefusedError, UsageError
from recovery.ledger.actions import FREE
from recovery.ledger.codec import (
    decode_json,
    decode_plan,
    decode_question,
    encode_json,
    encode_plan,
    encode_question,
)
from recovery.ledger.records import append, stream
from recovery.ledger.rows import ItemRow
from recovery.ledger.schema import (
    MOVING,
    action,
    among,
    answer,
    approval,
    from_micros,
    item,
    plan,
    plan_item,
    to_micros,
    unproven,
)
from recovery.ledger.work import Record, Work, storable
from recovery.model import ActionState, Answer, Approval, Harm, ItemOutcome, Plan, PlanItem, Question

SHORTEST_PREFIX = 6
PLAN_STREAM = "plan"
REJECTED = "rejected"
# What a newer plan changes of an item that is known; its generation only rises by a person.
RENEWED = ("name", "verdict", "remedy", "outcome", "reason", "question", "plan_digest", "incident", "updated_at")


def save_plan(work: Work, made: Plan) -> None:
    """Record the plan unless its digest is there."""
    values = {
        "digest": made.digest,
        "incident": made.window.incident_ref,
        "body": encode_plan(made),
        "made_at": to_micros(made.made_at),
        "expires_at": to_micros(made.expires_at),
    }
    work.execute(work.insert(plan).values(**values).on_conflict_do_nothing())


def find_plan(connection: Connection, digest_prefix: str) -> Plan | None:
    """The one plan whose digest starts so."""
    prefix = digest_prefix.strip().lower()
    if len(prefix) < SHORTEST_PREFIX or not prefix.isalnum():
        raise UsageError(
            f"a plan is named by at least {SHORTEST_PREFIX} letters of its digest",
            "copy the digest from `allclear plan`",
        )
    query = select(plan.c.body).where(plan.c.digest >= prefix, plan.c.digest < prefix + "\x7f").limit(2)
    found = connection.execute(query).scalars().all()
    if len(found) > 1:
        raise UsageError(f"several plans start with {prefix}", "give more letters of the digest")
    return decode_plan(found[0]) if found else None


def latest_plan(connection: Connection, incident: str | None, taken_up: bool = False) -> Plan | None:
    """The plan made last; `taken_up` asks for one that a run has begun."""
    query = select(plan.c.body).order_by(plan.c.made_at.desc(), plan.c.digest).limit(1)
    if taken_up:
        query = query.where(select(plan_item.c.slot_key).where(plan_item.c.plan_digest == plan.c.digest).exists())
    if incident is not None:
        query = query.where(plan.c.incident == incident)
    body = connection.execute(query).scalar()
    return None if body is None else decode_plan(body)


# ---- approvals ------------------------------------------------------------------------------------------------------


def approve(work: Work, given: Approval) -> None:
    """Record a consent that covers what it claims to cover."""
    body = _body(work, given.plan_digest)
    if body is None:
        raise RefusedError(f"no plan has the digest {given.plan_digest[:12]}", "make and save the plan first")
    work.check_person(work.site.people.approve, approver(given.by), "approve a plan")
    _check_approval(given, decode_plan(body))
    _refuse_rejected(work, given.plan_digest)
    values = {
        "id": secrets.randbits(62),
        "plan_digest": given.plan_digest,
        "actor": storable(given.by),
        "at": to_micros(given.at),
        "recipients": given.recipients,
        "caveat": int(given.caveat_acknowledged),
        "items": encode_json(list(given.items)),
        "reason": storable(given.reason),
    }
    work.execute(approval.insert(), values)


def reject(work: Work, digest: str, by: str, at: datetime, reason: str) -> None:
    """Record that a person will not have this plan; it stands against every approval, before and after."""
    if not by.strip() or not reason.strip():
        raise RefusedError("a rejection needs a name and a reason", "give both")
    if _body(work, digest) is None:
        raise RefusedError(f"no plan has the digest {digest[:12]}", "`allclear status` shows the last one")
    work.check_person(work.site.people.approve, by, "reject a plan")
    append(work, f"{PLAN_STREAM}/{digest}", REJECTED, by, at, {"reason": reason}, None)


def start(work: Work, digest: str, by: str, at: datetime) -> None:
    """Record who starts a run of the plan."""
    work.check_person(work.site.people.start, by, "start a recovery")
    _body(work, digest)
    _refuse_rejected(work, digest)
    append(work, f"{PLAN_STREAM}/{digest}", "started", by, at, {}, None)


def _body(work: Work, digest: str) -> str | None:
    """The recorded plan; whoever starts, approves or rejects the same one on PostgreSQL waits until we are done."""
    query = select(plan.c.body).where(plan.c.digest == digest)
    return work.execute(query.with_for_update() if work.on_postgresql else query).scalar()


def _refuse_rejected(work: Work, digest: str) -> None:
    refused = rejection(work.connection, digest)
    if refused:
        raise RefusedError(f"Plan {digest[:12]} was rejected by {refused}", "make a new plan")


def rejection(connection: Connection, digest: str) -> str:
    """Who rejected the plan and why, or ""."""
    for event in stream(connection, f"{PLAN_STREAM}/{digest}"):
        if event.kind == REJECTED:
            return f"{event.by}: {event.data['reason']}"
    return ""


def _check_approval(given: Approval, made: Plan) -> None:
    if not given.by.strip():
        raise RefusedError("an approval needs a name", "say who approves")
    if to_micros(made.expires_at) <= to_micros(given.at):
        raise RefusedError(f"plan {made.digest[:12]} has expired", "make a new plan; the facts may have changed")
    by_key = {each.slot.key: each for each in made.items}
    strangers = [key for key in given.items if key not in by_key]
    if strangers:
        raise RefusedError(f"the plan has no item {strangers[0]}", "name items as the plan lists them")
    covered = [by_key[key] for key in given.items] if given.items else list(made.items)
    if not covered:
        raise RefusedError(f"plan {made.digest[:12]} is empty", "there is nothing to approve")
    if any(each.caveat for each in covered) and not given.caveat_acknowledged:
        raise RefusedError("the plan has caveats that were not acknowledged", "read them, then approve with the caveat")
    reach = reach_of(covered)
    if any(each.harm is Harm.H3 for each in covered) and given.recipients != reach:
        raise RefusedError(
            f"the approval names {given.recipients} recipients, the approved items reach {reach}",
            "approve the number that the plan shows",
        )


def approvals(connection: Connection, digest: str) -> tuple[Approval, ...]:
    """Oldest first."""
    query = select(approval).where(approval.c.plan_digest == digest).order_by(approval.c.at, approval.c.id)
    return tuple(
        Approval(
            plan_digest=row["plan_digest"],
            by=row["actor"],
            at=from_micros(row["at"]),
            recipients=row["recipients"],
            caveat_acknowledged=bool(row["caveat"]),
            items=tuple(decode_json(row["items"])),
            reason=row["reason"],
        )
        for row in connection.execute(query).mappings()
    )


# ---- items ----------------------------------------------------------------------------------------------------------


def open_items(work: Work, made: Plan) -> None:
    """Insert the plan's items; those of another plan that are not confirmed move to this one and are open again.

    What this plan's items have come to so far stays, so a worker that joins takes back nothing of another's work.
    """
    save_plan(work, made)
    rows = [_new_item(each, made, work.now) for each in made.items]
    if not rows:
        return
    put = work.insert(item)
    statement = put.on_conflict_do_update(
        index_elements=["slot_key"],
        set_={name: getattr(put.excluded, name) for name in RENEWED},
        where=(item.c.outcome != str(ItemOutcome.CONFIRMED)) & (item.c.plan_digest != made.digest),
    )
    work.execute(statement, rows)
    links = [{"plan_digest": made.digest, "slot_key": row["slot_key"]} for row in rows]
    work.execute(work.insert(plan_item).on_conflict_do_nothing(), links)


def _new_item(each: PlanItem, made: Plan, now: int) -> Record:
    slot = each.slot
    return {
        "slot_key": slot.key,
        "account": slot.account,
        "system": slot.system,
        "kind": slot.kind,
        "object_ref": storable(slot.object_ref),
        "due_at": to_micros(slot.due_at),
        "name": storable(slot.name),
        "verdict": str(each.verdict),
        "remedy": str(each.remedy),
        "outcome": str(ItemOutcome.OPEN),
        "reason": "",
        "question": None,
        "generation": each.generation,
        "plan_digest": made.digest,
        "incident": made.window.incident_ref,
        "updated_at": now,
    }


def item_row(row: Any) -> ItemRow:
    """The public form of a stored item."""
    return ItemRow(
        slot_key=row["slot_key"],
        account=row["account"],
        system=row["system"],
        kind=row["kind"],
        object_ref=row["object_ref"],
        due_at=from_micros(row["due_at"]),
        name=row["name"],
        verdict=row["verdict"],
        remedy=row["remedy"],
        outcome=ItemOutcome(row["outcome"]),
        reason=row["reason"],
        question=decode_question(row["question"]),
        generation=row["generation"],
        plan_digest=row["plan_digest"],
        incident=row["incident"],
        updated_at=from_micros(row["updated_at"]),
    )


def find_items(
    connection: Connection,
    slot_key: str | None = None,
    plan_digest: str | None = None,
    incident: str | None = None,
    outcome: ItemOutcome | None = None,
    object_ref: str | None = None,
    since: datetime | None = None,
) -> tuple[ItemRow, ...]:
    """Items that meet every condition given, in due order."""
    query: Select[Any] = select(item).order_by(item.c.due_at, item.c.slot_key)
    if slot_key is not None:
        query = query.where(item.c.slot_key == slot_key)
    if plan_digest is not None:
        query = query.where(
            item.c.slot_key.in_(select(plan_item.c.slot_key).where(plan_item.c.plan_digest == plan_digest))
        )
    if incident is not None:
        query = query.where(item.c.incident == incident)
    if outcome is not None:
        query = query.where(among(item.c.outcome, [outcome]))
        if outcome is not ItemOutcome.CONFIRMED:
            query = query.where(unproven())
    if object_ref is not None:
        query = query.where(item.c.object_ref == object_ref)
    if since is not None:
        query = query.where(item.c.updated_at >= to_micros(since))
    return tuple(item_row(row) for row in connection.execute(query).mappings())


def _need_item(work: Work, slot_key: str) -> Any:
    query = select(item).where(item.c.slot_key == slot_key)
    if work.on_postgresql:
        query = query.with_for_update()
    found = work.execute(query).mappings().first()
    if found is None:
        raise LedgerConflict(f"the ledger has no item {slot_key}", "it was never planned, or the ledger was replaced")
    return found


def finish_item(work: Work, slot_key: str, outcome: ItemOutcome, reason: str, question: Question | None) -> None:
    """End an item, or open it again; a confirmed one stays confirmed."""
    found = _need_item(work, slot_key)
    if found["outcome"] == ItemOutcome.CONFIRMED:
        if outcome is ItemOutcome.CONFIRMED:
            return
        raise LedgerConflict(f"item {slot_key} is confirmed already", "read it again")
    if outcome is ItemOutcome.HELD and question is None:
        raise RefusedError(f"item {slot_key} cannot be held without a question", "ask one")
    if outcome is ItemOutcome.SKIPPED and not reason.strip():
        raise RefusedError(f"item {slot_key} cannot be skipped without a reason", "give one")
    changed = update(item).where(item.c.slot_key == slot_key)
    asked = encode_question(question) if outcome is ItemOutcome.HELD else None
    work.execute(changed.values(outcome=str(outcome), reason=storable(reason), question=asked, updated_at=work.now))


def give_answer(work: Work, given: Answer) -> None:
    """Record the answer to a held item's question."""
    found = _need_item(work, given.slot_key)
    question = decode_question(found["question"])
    if found["outcome"] != ItemOutcome.HELD or question is None:
        raise RefusedError(f"item {given.slot_key} is not held", "nothing was asked")
    if not given.by.strip():
        raise RefusedError("an answer needs a name", "say who answers")
    work.check_person(work.site.people.answer, given.by, "answer what is held")
    if given.choice not in question.choices:
        raise RefusedError(
            f"{given.choice!r} was not offered for {given.slot_key}", "choose one of: " + ", ".join(question.choices)
        )
    values = {
        "id": secrets.randbits(62),
        "slot_key": given.slot_key,
        "actor": storable(given.by),
        "at": to_micros(given.at),
        "choice": given.choice,
        "reason": storable(given.reason),
    }
    work.execute(answer.insert(), values)


def answers(connection: Connection, slot_key: str) -> tuple[Answer, ...]:
    """Oldest first."""
    query = select(answer).where(answer.c.slot_key == slot_key).order_by(answer.c.at, answer.c.id)
    return tuple(
        Answer(row["slot_key"], row["actor"], from_micros(row["at"]), row["choice"], row["reason"])
        for row in connection.execute(query).mappings()
    )


WITHDRAWN = frozenset({ActionState.PLANNED, ActionState.REJECTED, ActionState.HELD})


def raise_generation(work: Work, slot_key: str, by: str, reason: str) -> int:
    """A named person's "repeat on purpose"; what was still waiting under the old generation is cancelled."""
    if not by.strip() or not reason.strip():
        raise RefusedError("repeating on purpose needs a name and a reason", "give both")
    found = _need_item(work, slot_key)
    keys = work.execute(select(action.c.key).where(action.c.slot_key == slot_key)).scalars().all()
    rows = [work.need(key) for key in keys]
    unresolved = [row for row in rows if row["state"] in MOVING]
    if unresolved:
        raise RefusedError(
            f"action {unresolved[0]['key']} of this item is still {unresolved[0]['state']}",
            "settle it first; a repeat beside it could reach people twice",
        )
    for row in rows:
        if row["state"] in WITHDRAWN:
            work.move(row, ActionState.CANCELLED, f"repeated on purpose: {reason}", actor=by, **FREE)
    raised = int(found["generation"]) + 1
    values = {"generation": raised, "outcome": str(ItemOutcome.OPEN), "reason": "", "question": None}
    work.execute(update(item).where(item.c.slot_key == slot_key).values(**values, updated_at=work.now))
    return raised
