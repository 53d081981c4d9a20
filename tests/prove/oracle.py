"""The judge of the simulator. It reads the remote's journal and what the product finally claims, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recovery.ledger_rows import ItemRow
from recovery.model import ItemOutcome
from tests.prove.kernel import START
from tests.prove.remote import Line

SLACK_SECONDS = 40.0
"""Between the gate's reads and the first byte: 30 s for the gate's age, 5 s to send, and the reads themselves."""
KILL_SECONDS = 6.0
STARTS = frozenset({"run_now", "repeat", "reprocess", "import"})


@dataclass(frozen=True, slots=True)
class Sent:
    """A write that left the product, as the network saw it."""

    at: float
    what: str
    ref: str
    owner: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What the product says of one item at the end. `object_ref` names it at the remote."""

    object_ref: str
    kind: str
    row: ItemRow | None


@dataclass(frozen=True, slots=True)
class Story:
    """Everything there is to judge."""

    journal: Sequence[Line]
    sent: Sequence[Sent]
    claims: Sequence[Claim]
    alarms: Sequence[str]
    killed: Sequence[tuple[float, float]]
    stuck: str = ""


def judge(story: Story) -> tuple[str, ...]:
    """Every complaint; empty when the promise was kept."""
    return tuple(complaint for check in CHECKS for complaint in check(story))


def _stuck(story: Story) -> Iterator[str]:
    if story.stuck:
        yield f"stuck: {story.stuck}"


def _double_releases(story: Story) -> Iterator[str]:
    """At most one release of at most one copy of ours per item, and nothing leaves twice."""
    first: dict[tuple[str, str], int] = Counter()
    copies: dict[str, set[str]] = {}
    people: Counter[str] = Counter()
    for line in story.journal:
        if line.what == "delivery" and line.by == "us":
            copies.setdefault(line.item, set()).add(line.ref)
            people[line.ref] += line.count
        if line.what == "scheduled" and line.by == "us":
            first[(line.item, line.ref)] += 1
    for item, refs in copies.items():
        if len(refs) > 1:
            yield f"double: copies {sorted(refs)} of {item} both went out"
    for ref, count in people.items():
        if count > 400:
            yield f"double: copy {ref} reached {count} of 400 people"


def _double_runs(story: Story) -> Iterator[str]:
    """One item starts one run."""
    runs: Counter[str] = Counter()
    for line in story.journal:
        if line.what == "run" and line.by in STARTS:
            runs[line.item] += 1
    for item, count in runs.items():
        if count > 1:
            yield f"double: {item} was started {count} times"


def _lost(story: Story) -> Iterator[str]:
    """Every item ends confirmed, skipped with a reason, or held with a question."""
    for claim in story.claims:
        row = claim.row
        if row is None or row.outcome is ItemOutcome.OPEN:
            yield f"lost: item {claim.object_ref} is {'nowhere' if row is None else 'open'}"
        elif row.outcome is ItemOutcome.HELD and (row.question is None or not row.question.text):
            yield f"lost: item {claim.object_ref} is held without a question"
        elif row.outcome is ItemOutcome.SKIPPED and not row.reason:
            yield f"lost: item {claim.object_ref} is skipped without a reason"


def _unproven(story: Story) -> Iterator[str]:
    """What is called confirmed has its line in the journal; what is called skipped has none of ours."""
    out = {line.item for line in story.journal if line.what == "delivery" and line.by in ("us", "colleague")}
    ended = {line.item for line in story.journal if line.what == "run_ended"}
    ours = {line.item for line in story.journal if line.what == "delivery" and line.by == "us"}
    for claim in story.claims:
        if claim.row is None:
            continue
        if claim.row.outcome is ItemOutcome.CONFIRMED:
            proof = out if claim.kind == "campaign" else ended
            if claim.object_ref not in proof and not (claim.kind == "data_sync_tag" and "list 9" in ended):
                yield f"unproven: {claim.object_ref} is called confirmed and no journal line shows it"
        elif claim.row.outcome is ItemOutcome.SKIPPED and claim.object_ref in ours:
            yield f"unproven: {claim.object_ref} is called skipped ({claim.row.reason}), yet our copy went out"


def _overlaps(story: Story) -> Iterator[str]:
    """Both went out: said aloud, if the original moved before the item ended; and no release knowing it had gone.

    What moves after an item's end is for the closing audit and the watch, which have tests of their own.
    """
    told = " ".join([*story.alarms, *(c.row.reason for c in story.claims if c.row is not None)])
    for claim in story.claims:
        if claim.kind != "campaign":
            continue
        original = [x.at for x in story.journal if x.what == "delivery" and x.ref == claim.object_ref]
        copy = [x.at for x in story.journal if x.what == "delivery" and x.item == claim.object_ref and x.by == "us"]
        if not original or not copy:
            continue
        ended = (claim.row.updated_at - START).total_seconds() if claim.row is not None else 0.0
        held = claim.row is not None and claim.row.outcome is ItemOutcome.HELD
        if original[0] < ended - 1 and not held and f"original {claim.object_ref} (" not in told:
            yield f"silent overlap: original {claim.object_ref} and its copy both went out, and nobody was told"
        for sent in story.sent:
            mine = any(x.ref == sent.ref and x.item == claim.object_ref for x in story.journal)
            if sent.what == "schedule" and mine and sent.at > original[0] + SLACK_SECONDS:
                yield f"sent anyway: copy {sent.ref} was released {sent.at - original[0]:.0f} s after its original went"


def _foreign(story: Story) -> Iterator[str]:
    """A colleague's copy on its way forbids ours."""
    for theirs in (x for x in story.journal if x.what == "scheduled" and x.by == "colleague"):
        for sent in story.sent:
            if sent.what != "schedule" or sent.at <= theirs.at + SLACK_SECONDS:
                continue
            if any(x.ref == sent.ref and x.item == theirs.item for x in story.journal):
                yield f"sent anyway: copy {sent.ref} was released although a colleague's {theirs.ref} was on its way"


def _kill_switch(story: Story) -> Iterator[str]:
    """Nothing but a disarm leaves while the switch is on."""
    copies = {line.ref for line in story.journal if line.what == "copy"}
    for on, off in story.killed:
        for sent in story.sent:
            disarm = sent.what == "stop" and sent.ref in copies
            if on + KILL_SECONDS < sent.at < off and not disarm:
                yield f"kill switch: {sent.what} {sent.ref} left {sent.at - on:.0f} s after it was thrown"


CHECKS = (_stuck, _double_releases, _double_runs, _lost, _unproven, _overlaps, _foreign, _kill_switch)
