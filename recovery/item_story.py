"""The whole life of one item, from the ledger alone: witnesses, decisions, every move, every request and reply.

What the witnesses said is recorded when a plan is made (`keep_witnesses`), so that the story can be told later without
asking any remote. `story_lines` puts it on one screen, with one block for each action.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from recovery.answers import find_item
from recovery.ledger.rows import ActionRow, HistoryRow
from recovery.model import Finding, Plan, iso
from recovery.report.words import KIND_WORDS, OUTCOME_WORDS, REMEDY_WORDS, VERDICT_WORDS, both_times, word_of
from recovery.settings import Settings
from recovery.standing import open_for_reading
from recovery.views import item_view, testimony_view

if TYPE_CHECKING:
    from recovery.ledger.ledger import Ledger

View = dict[str, Any]
BODY_CHARACTERS = 2000
STREAMS_AT_ONCE = 100


def _stream(incident: str, account: str) -> str:
    return f"witnesses/{incident}/{account}"


async def keep_witnesses(ledger: Ledger, plan: Plan, findings: Iterable[Finding]) -> None:
    """Records what was seen of every slot that the plan is about: one event for each account."""
    planned = {i.slot.key for i in plan.items}
    seen: dict[str, View] = {}
    for finding in findings:
        if finding.slot.key in planned:
            seen.setdefault(finding.slot.account, {})[finding.slot.key] = _seen(finding)
    accounts = sorted(seen)
    for n in range(0, len(accounts), STREAMS_AT_ONCE):
        await asyncio.gather(
            *(
                ledger.append(_stream(plan.window.incident_ref, a), "seen", "allclear", plan.made_at, seen[a])
                for a in accounts[n : n + STREAMS_AT_ONCE]
            )
        )


def _seen(finding: Finding) -> View:
    return {
        "verdict": finding.verdict.value,
        "code": finding.code,
        "reason": finding.reason,
        "time_zone": finding.slot.time_zone,
        "witnesses": [testimony_view(t) for t in finding.evidence.testimonies],
    }


async def story_view(settings: Settings, name: str) -> View:
    """`allclear.explain/1`: one item by its key or object id. Raises UsageError when the name fits none or several."""
    async with await open_for_reading(settings) as ledger:
        row = await find_item(ledger, name)
        actions = await ledger.actions(row.slot_key)
        audits = [
            {"at": iso(e.at), **dict(found)}
            for e in await ledger.stream(_stream(row.incident, row.account))
            if isinstance(found := e.data.get(row.slot_key), dict)
        ]
        zones = {a.name: a.time_zone for a in settings.accounts}
        return {
            "schema": "allclear.explain/1",
            "item": item_view(row, actions),
            "time_zone": zones.get(row.account, "UTC"),
            "plan": row.plan_digest,
            "audits": audits,
            "approvals": [
                {"by": a.by, "at": iso(a.at), "recipients": a.recipients, "reason": a.reason}
                for a in await ledger.approvals(row.plan_digest)
                if not a.items or row.slot_key in a.items
            ],
            "answers": [
                {"by": a.by, "at": iso(a.at), "choice": a.choice, "reason": a.reason}
                for a in await ledger.answers(row.slot_key)
            ],
            "history": [_move(h) for h in await ledger.history(row.slot_key)],
            "replies": await _replies(ledger, row.account, audits, actions),
            "exit_code": 0,
        }


def _move(row: HistoryRow) -> View:
    return {
        "at": iso(row.at),
        "what": row.what,
        "action": row.kind.value,
        "from": row.from_state,
        "to": row.to_state,
        "by": row.actor,
        "detail": row.detail,
    }


async def _replies(ledger: Ledger, account: str, audits: Sequence[View], actions: Sequence[ActionRow]) -> list[View]:
    """The stored replies behind what was seen and behind each proof, once each, in the order of time."""
    named = [w["digest"] for audit in audits for w in audit["witnesses"]] + [a.evidence_digest for a in actions]
    found = [await ledger.evidence(digest, account) for digest in dict.fromkeys(named) if digest]
    return [
        {
            "request": e.request,
            "status": e.status,
            "at": iso(e.at),
            "digest": e.digest,
            "body": e.body[:BODY_CHARACTERS],
        }
        for e in sorted((e for e in found if e is not None), key=lambda e: e.at)
    ]


def story_lines(view: View) -> list[str]:
    """The view for people."""
    item, zone = view["item"], view["time_zone"]
    verdict, remedy = word_of(VERDICT_WORDS, item["verdict"]), word_of(REMEDY_WORDS, item["remedy"])
    lines = [
        item["key"],
        f"{'name':<11}{item['name']} ({word_of(KIND_WORDS, item['kind']).lower()} {item['object']})",
        f"{'due':<11}{_both(item['slot'], zone)}",
        f"{'verdict':<11}{verdict}; remedy: {remedy.lower()}",
        f"{'outcome':<11}{word_of(OUTCOME_WORDS, item['outcome'])}: {item['reason']}",
    ]
    if item["question"]:
        asked = item["question"]
        lines += [f"{'question':<11}{asked['text']}"] if asked["text"] != item["reason"] else []
        lines += [f"{'answers':<11}{', '.join(asked['choices'])} (recommended: {asked['recommended']})"]
    for audit in view["audits"][-1:]:
        lines += ["", f"Witnesses (UTC), for the plan of {_both(audit['at'], zone)}"]
        lines += [_witness_line(w) for w in audit["witnesses"]]
    lines += ["", "Decisions", f"  {'plan':<9}{view['plan'][:12]}"]
    lines += [f"  {'approved':<9}{_both(a['at'], zone)} by {a['by']} for {a['recipients']}" for a in view["approvals"]]
    lines += [
        f"  {'answered':<9}{_both(a['at'], zone)} by {a['by']}: {a['choice']} ({a['reason']})" for a in view["answers"]
    ]
    moves = _by_action(view["history"])
    if moves:
        lines += ["", "Actions (UTC)", *(line for kind, rows in moves.items() for line in _action_lines(kind, rows))]
    if view["replies"]:
        lines += ["", "Stored replies (UTC); equal ones of an account are stored once, with its first request"]
        lines += [f"  {_clock(r['at'])}  {r['request']} -> {r['status'] or 'no reply'}" for r in view["replies"]]
    return lines


def _both(stamp: str, zone: str) -> str:
    return both_times(datetime.fromisoformat(stamp), zone)


def _clock(stamp: str) -> str:
    return stamp[11:19]


def _witness_line(witness: View) -> str:
    whole = "" if witness["complete"] else " (not read whole)"
    detail = f": {witness['detail']}" if witness["detail"] else ""
    return f"  {_clock(witness['at'])}  {witness['witness']}: {witness['saw']}{detail}{whole}"


def _by_action(history: Sequence[View]) -> dict[str, list[View]]:
    found: dict[str, list[View]] = {}
    for move in history:
        found.setdefault(move["action"], []).append(move)
    return found


def _action_lines(kind: str, moves: Sequence[View]) -> list[str]:
    """One action: its states with their times, then what was asked and what came of each attempt."""
    states = [m for m in moves if m["what"] == "event" and m["to"]]
    path = ", ".join(f"{_clock(m['at'])} {m['to'].replace('_', ' ')}" for m in states)
    lines = [f"  {kind:<14} {path}"]
    for move in moves:
        if move["what"] == "attempt opened":
            lines.append(f"    {_clock(move['at'])} -> {move['detail']}")
        elif move["what"] == "attempt closed":
            lines.append(f"    {_clock(move['at'])} <- {move['to']}: {move['detail']}".rstrip(": "))
    note = states[-1]["detail"] if states else ""
    return [*lines, f"    {'':<8} = {note}"] if note else lines
