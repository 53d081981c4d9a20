"""Files what a recovery came to: one incident ticket and one notice an incident, after the proof (R002.5, R002.8).

Both go through the runner, so a crash, a lost reply or a colleague's run ends with one ticket and one message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from recovery.act import ABSENT, SEEN, Effect, Look, Runner
from recovery.errors import RemoteError
from recovery.ledger.rows import ActionSpec, ItemRow
from recovery.model import (
    ActionKind,
    Balance,
    Harm,
    ItemOutcome,
    OutageWindow,
    System,
    action_key,
    digest_of,
    iso,
    marker_of,
)
from recovery.ports import Chat, TicketDesk, TicketDraft, TicketRef

MOST_LINES = 60


@dataclass(frozen=True, slots=True)
class Filed:
    """What stands at the desks."""

    ticket: TicketRef | None = None
    notice: str = ""


def incident_key(secret: bytes, window: OutageWindow, kind: ActionKind, detail: str = "") -> str:
    """The business key of a desk action: of the incident, never of the run or the wording.

    The ticket's is the very key that the incident desk uses, so that whoever is first files the one ticket.
    """
    if kind is ActionKind.TICKET:
        return action_key(secret, "", System.JIRA.value, kind.value, window.incident_ref, "incident", 0)
    ref = f"{window.incident_ref}/{detail}" if detail else window.incident_ref
    return action_key(secret, "-", "desk", kind.value, ref, iso(window.started_at), 0)


def recovery_draft(
    window: OutageWindow, balance: Balance, items: Sequence[ItemRow], problems: Sequence[str]
) -> TicketDraft:
    """The ticket's text: customers, start with zone, steps, symptoms, and what was recovered, skipped and held."""
    customers = tuple(sorted({i.account for i in items})) or window.accounts
    by = {o: [i for i in items if i.outcome is o] for o in ItemOutcome}
    return TicketDraft(
        marker="",
        summary=f"Outage {window.started_at:%Y-%m-%d %H:%M} to {window.ended_at:%H:%M} UTC: "
        f"{balance.recovered} recovered, {balance.held} held ({len(customers)} customers)",
        customers=customers,
        started_at=f"{iso(window.started_at)} (UTC)",
        steps=(
            f"The platform was not available from {iso(window.started_at)} to {iso(window.ended_at)}.",
            "Whatever was due in that time on the accounts named above did not happen, or only in part.",
        ),
        symptoms=tuple(sorted({f"{i.kind}: {i.verdict}" for i in items})) or ("none found",),
        sections=tuple(
            (title, lines)
            for title, lines in (
                ("Balance", (_balance_line(balance), *balance.problems[:MOST_LINES], *problems[:MOST_LINES])),
                ("Recovered", _lines(by[ItemOutcome.CONFIRMED])),
                ("Skipped", _lines(by[ItemOutcome.SKIPPED])),
                ("Held, waiting for a person", _lines(by[ItemOutcome.HELD])),
            )
            if lines
        ),
    )


def _balance_line(b: Balance) -> str:
    verdict = "adds up" if b.adds_up else "DOES NOT ADD UP"
    return (
        f"{b.due} due = {b.done_before} done before + {b.recovered} recovered + {b.skipped} skipped + {b.held} held; "
        f"{b.doubles} doubles; it {verdict}."
    )


def _lines(items: Sequence[ItemRow]) -> tuple[str, ...]:
    shown = tuple(f"{i.account} {i.kind} {i.object_ref} ({i.name}) due {iso(i.due_at)}: {i.reason}" for i in items)
    more = (f"and {len(shown) - MOST_LINES} more; see the report",) if len(shown) > MOST_LINES else ()
    return shown[:MOST_LINES] + more


async def file_ticket(
    runner: Runner, secret: bytes, window: OutageWindow, draft: TicketDraft, desk: TicketDesk
) -> TicketRef:
    """The incident's one ticket; raises Ended when it cannot be filed now.

    While the desk cannot be read, a ticket that is filed is returned by its key alone, without id and address.
    """
    key = incident_key(secret, window, ActionKind.TICKET)
    marked = replace(draft, marker=marker_of(key))

    async def look() -> Look:
        found = await desk.find(marker_of(key))
        if found:
            return Look(SEEN, found[0].key, "", f"ticket {found[0].key}")
        return Look(ABSENT, note="no ticket carries the marker")

    ref = await runner.perform(
        Effect(
            _spec(key, window, ActionKind.TICKET),
            f"file the ticket of {window.incident_ref}",
            lambda attempt: desk.file(marked, attempt),
            look,
            repeatable=True,
            settle_seconds=runner.policy.waits.settle,
            confirm_seconds=max(60.0, runner.policy.waits.settle),
        )
    )
    try:
        found = await desk.find(marker_of(key))
    except RemoteError:  # the ticket is filed and proven: only its address is missing
        found = ()
    return next((t for t in found if t.key == ref), found[0] if found else TicketRef("", ref, ""))


async def note_on_ticket(
    runner: Runner,
    secret: bytes,
    window: OutageWindow,
    ticket: TicketRef,
    balance: Balance,
    lines: Sequence[str],
    desk: TicketDesk,
) -> None:
    """A comment with the numbers of this run, once for each distinct outcome; raises Ended when it cannot be added."""
    key = incident_key(secret, window, ActionKind.TICKET_COMMENT, digest_of(asdict(balance))[:16])

    async def look() -> Look:
        there = await desk.has_comment(ticket.key, marker_of(key))
        return Look(
            SEEN if there else ABSENT, ticket.key, "", f"{ticket.key} {'has' if there else 'lacks'} the numbers"
        )

    await runner.perform(
        Effect(
            _spec(key, window, ActionKind.TICKET_COMMENT),
            f"note the outcome on {ticket.key}",
            lambda attempt: desk.comment(ticket.key, lines, marker_of(key), attempt),
            look,
            repeatable=True,
            settle_seconds=runner.policy.waits.settle_copy,
        )
    )


async def post_notice(
    runner: Runner, secret: bytes, window: OutageWindow, channel: str, text: str, lines: Sequence[str], chat: Chat
) -> str:
    """The incident's one notice in the channel; raises Ended when it cannot be posted now."""
    spec = _spec(incident_key(secret, window, ActionKind.CHAT), window, ActionKind.CHAT)
    return await post_once(runner, spec, channel, text, lines, chat, window.started_at)


async def post_once(
    runner: Runner, spec: ActionSpec, channel: str, text: str, lines: Sequence[str], chat: Chat, since: datetime
) -> str:
    """One message under the spec's key, recognised by its metadata; raises Ended when it cannot be posted now."""

    async def look() -> Look:
        found = await chat.find(channel, spec.key, since)
        return (
            Look(SEEN, found.ts, "", f"message {found.ts}")
            if found
            else Look(ABSENT, note="no message with the marker")
        )

    return await runner.perform(
        Effect(
            spec,
            f"tell {channel}: {text}",
            lambda attempt: chat.post(channel, text, lines, spec.key, attempt),
            look,
            repeatable=True,
            settle_seconds=runner.policy.waits.settle_copy,
        )
    )


def _spec(key: str, window: OutageWindow, kind: ActionKind) -> ActionSpec:
    slot_key = f"incident/{window.incident_ref}"
    return ActionSpec(key, slot_key, "-", kind, Harm.H1, window.incident_ref, 0, marker_of(key))


__all__ = ["Filed", "file_ticket", "incident_key", "note_on_ticket", "post_notice", "post_once", "recovery_draft"]
