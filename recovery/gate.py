"""The last check, made on freshly read state, before a release leaves. Pure: facts in, ruling out.

Each rule answers or passes; the first answer stands. A rule that is removed must make the sandbox's oracle complain:
that is what the seeded-bug tests do (design, 4.5, 4.8 and 4.11; R001.12, R001.14).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time
from typing import TypeAlias
from zoneinfo import ZoneInfo

from recovery.model import PlanItem, Question
from recovery.policy import Policy, QuietHours
from recovery.ports import Campaign
from recovery.testify import STATUS_WORDS, STOPPED_STATUSES

AT_REST = STOPPED_STATUSES | {"5"}
"""Statuses in which an original with nothing sent is not going to leave by itself (completed-and-empty included)."""

RELEASE_ANYWAY = "release anyway"
SEND_AGAIN = "send again"
"""A named person's "repeat on purpose": the next plan makes a copy anew (a new generation)."""


@dataclass(frozen=True, slots=True)
class Allow:
    """Go on."""


@dataclass(frozen=True, slots=True)
class Skip:
    """Not needed any more, or not wanted; ends the item with this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A person must decide."""

    question: Question


Ruling: TypeAlias = Allow | Skip | Hold


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """Everything read again right before the copy is armed. `siblings` carry our marker, `foreign` copies do not."""

    now: datetime
    time_zone: str
    item: PlanItem
    policy: Policy
    original: Campaign
    copy: Campaign
    marked: bool
    elected_ref: str
    siblings: tuple[Campaign, ...]
    foreign: tuple[Campaign, ...]
    killed: str
    tripped: str
    override: bool
    unrepaired_syncs: tuple[str, ...] = ()


Rule: TypeAlias = Callable[[ReleaseFacts], Ruling | None]


def may_release(facts: ReleaseFacts) -> Ruling:
    """The first rule that objects, or Allow."""
    for rule in RELEASE_RULES:
        ruling = rule(facts)
        if ruling is not None:
            return ruling
    return Allow()


def ask(text: str, recommended: str = "wait", *more: str) -> Hold:
    """A hold with the usual answers and any more that fit."""
    return Hold(Question(text, recommended, ("wait", "drop", *more)))


def _switched_off(f: ReleaseFacts) -> Ruling | None:
    if f.killed:
        return ask(f"The kill switch is on ({f.killed}). Release the copy once it is off?")
    if f.tripped:
        return ask(f"Releases were stopped: {f.tripped}. Is it safe to go on?")
    return None


def by_itself(original: Campaign) -> Hold | Skip | None:
    """What an original that has sent anything means: not needed any more, or a question where it was cut off."""
    if original.send_amt == 0:
        return None
    sent = f"{original.send_amt} of {original.total_amt} sent"
    if original.status in STOPPED_STATUSES and original.send_amt < original.total_amt:
        word = STATUS_WORDS.get(original.status, original.status)
        return ask(f"The original {original.ref} began by itself and is {word}: {sent}. What about the others?")
    return Skip(f"the original {original.ref} went out by itself after all ({sent})")


def _original_went(f: ReleaseFacts) -> Ruling | None:
    return by_itself(f.original)


def _original_at_rest(f: ReleaseFacts) -> Ruling | None:
    if f.original.status in AT_REST or f.override:
        return None
    word = STATUS_WORDS.get(f.original.status, f.original.status)
    return ask(
        f"The stop of the original {f.original.ref} is not confirmed: it is {word}. "
        "Sending the copy may reach people twice.",
        "wait",
        RELEASE_ANYWAY,
    )


def _copy_is_ours(f: ReleaseFacts) -> Ruling | None:
    if f.copy.ref != f.elected_ref or not f.marked:
        return ask(f"Draft {f.copy.ref} is not the one elected for this item ({f.elected_ref}).")
    if f.copy.status != "0":
        word = STATUS_WORDS.get(f.copy.status, f.copy.status)
        return ask(f"Copy {f.copy.ref} is no draft any more but {word}, and the ledger knows of no release.")
    return None


def _no_sibling(f: ReleaseFacts) -> Ruling | None:
    moving = [c for c in f.siblings if c.ref != f.copy.ref and c.status != "0"]
    if moving:
        return ask(f"Another copy with our marker has left or is about to: {', '.join(c.ref for c in moving)}.")
    return None


def _no_foreign_copy(f: ReleaseFacts) -> Ruling | None:
    moving = [c for c in f.foreign if c.status != "0"]
    if moving:
        return ask(
            f"Someone seems to have sent a copy by hand already: {', '.join(c.ref for c in moving)}. "
            "Is ours still wanted?",
            "drop",
        )
    return None


def _still_valid(f: ReleaseFacts) -> Ruling | None:
    limit = f.policy.validity_of(f.item.slot.account, f.item.slot.object_ref)
    if limit is not None and limit.at <= f.now:
        return Skip(f"no longer worth sending: {limit.reason}")
    return None


def _not_quiet(f: ReleaseFacts) -> Ruling | None:
    if is_quiet(f.now, f.time_zone, f.policy.quiet):
        return ask(f"It is quiet hours in {f.time_zone}. Release when they are over?")
    return None


def _syncs_repaired(f: ReleaseFacts) -> Ruling | None:
    if f.unrepaired_syncs and f.original.segment_ref not in ("", "0"):
        names = ", ".join(f.unrepaired_syncs)
        return ask(f"The audience is a segment, and these data syncs are not repaired yet: {names}. Send all the same?")
    return None


RELEASE_RULES: tuple[Rule, ...] = (
    _switched_off,
    _original_went,
    _original_at_rest,
    _copy_is_ours,
    _no_sibling,
    _no_foreign_copy,
    _still_valid,
    _not_quiet,
    _syncs_repaired,
)


def is_quiet(now: datetime, time_zone: str, quiet: QuietHours) -> bool:
    """Whether the account's local time lies in the quiet hours (half-open; they may pass midnight)."""
    if quiet.start == quiet.end:
        return False
    local: time = now.astimezone(ZoneInfo(time_zone)).time()
    if quiet.start < quiet.end:
        return quiet.start <= local < quiet.end
    return local >= quiet.start or local < quiet.end


def overlap_bounds(original_sent: int, copy_sent: int, audience: int) -> tuple[int, int]:
    """How many people at least and at most got both mails, from the counters alone (R001.14).

    An audience smaller than what was sent is not known; then nothing is claimed to be the least.
    """
    most = min(original_sent, copy_sent)
    known = audience >= max(original_sent, copy_sent)
    return (max(0, original_sent + copy_sent - audience) if known else 0), most
