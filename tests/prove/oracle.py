"""The judge of the simulator. It reads the remote's journal and what the product finally claims, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recovery.ledger.rows import ItemRow
from recovery.model import ItemOutcome
from recovery.watch import Sighting
from tests.prove.kernel import START
from tests.prove.remote import AUDIENCE, Line

SLACK_SECONDS = 40.0
"""Between the gate's reads and the first byte: 30 s for the gate's age, 5 s to send, and the reads themselves."""
KILL_SECONDS = 6.0
ROUND_SECONDS = 130.0
"""Two rounds of the watcher, a minute apart."""
WATCHED_FROM = 20 * 3600.0
"""When the watcher of a schedule begins; an original that went before is the run's own to report."""
STARTS = frozenset({"run_now", "repeat", "reprocess", "import", "create"})


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
    audience: int = AUDIENCE
    sightings: Sequence[tuple[float, Sighting]] = ()
    """What the watcher told and when."""
    watched_until: float = 0.0
    approved: bool = True


def judge(story: Story) -> tuple[str, ...]:
    """Every complaint; empty when the promise was kept."""
    return tuple(complaint for check in CHECKS for complaint in check(story))


def _stuck(story: Story) -> Iterator[str]:
    if story.stuck:
        yield f"stuck: {story.stuck}"


def _double_releases(story: Story) -> Iterator[str]:
    """At most one release of at most one copy of ours per item, and nothing leaves twice."""
    copies: dict[str, set[str]] = {}
    people: Counter[str] = Counter()
    for line in story.journal:
        if line.what == "delivery" and line.by == "us":
            copies.setdefault(line.item, set()).add(line.ref)
            people[line.ref] += line.count
    for item, refs in copies.items():
        if len(refs) > 1:
            yield f"double: copies {sorted(refs)} of {item} both went out"
    for ref, count in people.items():
        if count > story.audience:
            yield f"double: copy {ref} reached {count} of {story.audience} people"


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
    """Both went out: said aloud, by the run or by the watcher; and no release knowing that the original had gone."""
    told = " ".join([*story.alarms, *(c.row.reason for c in story.claims if c.row is not None)])
    for claim in story.claims:
        if claim.kind != "campaign":
            continue
        original = [x.at for x in story.journal if x.what == "delivery" and x.ref == claim.object_ref]
        copy = [x.at for x in story.journal if x.what == "delivery" and x.item == claim.object_ref and x.by == "us"]
        if not original or not copy:
            continue
        held = claim.row is not None and claim.row.outcome is ItemOutcome.HELD
        in_time = original[0] < story.watched_until - ROUND_SECONDS
        if in_time and not held and f"original {claim.object_ref} " not in told:
            yield f"silent overlap: original {claim.object_ref} and its copy both went out, and nobody was told"
        for sent in story.sent:
            mine = any(x.ref == sent.ref and x.item == claim.object_ref for x in story.journal)
            if sent.what == "schedule" and mine and sent.at > original[0] + SLACK_SECONDS:
                yield f"sent anyway: copy {sent.ref} was released {sent.at - original[0]:.0f} s after its original went"


def _late_overlaps(story: Story) -> Iterator[str]:
    """While the watcher goes on, an original that leaves is told within two rounds, and its overlap is counted."""
    for claim in story.claims:
        if claim.kind != "campaign" or claim.row is None or claim.row.outcome is not ItemOutcome.CONFIRMED:
            continue
        out = [x for x in story.journal if x.what == "delivery" and x.item == claim.object_ref]
        original, copy = [x for x in out if x.by == "original"], [x for x in out if x.by == "us"]
        if not original or not copy or original[0].at > story.watched_until - ROUND_SECONDS:
            continue
        told = [(at, s) for at, s in story.sightings if f"original {claim.object_ref} " in s.text]
        since = max(original[0].at, (claim.row.updated_at - START).total_seconds())
        if not told:
            yield f"silent overlap: original {claim.object_ref} went out beside its copy, and no watcher told it"
        elif told[0][0] > since + ROUND_SECONDS and original[0].at > WATCHED_FROM:
            yield f"late alarm: original {claim.object_ref} went and was told {told[0][0] - since:.0f} s later"
        else:
            # Both go down one list of people, so as many got both as the shorter of the two reached.
            twice = min(sum(x.count for x in original), sum(x.count for x in copy))
            least, most = told[-1][1].least, told[-1][1].most
            if not least <= twice <= most or most != twice:
                yield f"miscounted: {twice} people got both mails, and between {least} and {most} were told"


def _live_original(story: Story) -> Iterator[str]:
    """A copy is released only after its original was truly stopped."""
    stopped: dict[str, float] = {}
    item_of = {line.ref: line.item for line in story.journal if line.what == "copy"}
    for line in story.journal:
        if line.what == "stopped" and line.ref == line.item:
            stopped.setdefault(line.item, line.at)
    for sent in story.sent:
        item = item_of.get(sent.ref)
        if sent.what == "schedule" and item is not None and not stopped.get(item, sent.at + 1) <= sent.at:
            yield f"sent anyway: copy {sent.ref} was released while its original {item} was still going to leave"


def _not_ours(story: Story) -> Iterator[str]:
    """What is released is a copy that we made, of an original that is in the plan; and nothing leaves unapproved."""
    if story.sent and not story.approved:
        yield f"outside the plan: {story.sent[0].what} {story.sent[0].ref} left, and nobody had approved anything"
    planned = {claim.object_ref for claim in story.claims}
    made_by = {line.ref: line.by for line in story.journal if line.what == "copy"}
    for line in story.journal:
        if line.what == "scheduled" and line.by == "us" and line.item not in planned:
            yield f"outside the plan: {line.ref}, a copy of {line.item}, was released"
        elif line.what == "scheduled" and line.by == "us" and made_by.get(line.ref, "us") != "us":
            yield f"outside the plan: {line.ref}, which {made_by[line.ref]} made, was released"


def _foreign(story: Story) -> Iterator[str]:
    """A colleague's copy on its way forbids ours."""
    for theirs in (x for x in story.journal if x.what == "scheduled" and x.by == "colleague"):
        for sent in story.sent:
            if sent.what != "schedule" or sent.at <= theirs.at + SLACK_SECONDS:
                continue
            if any(x.ref == sent.ref and x.item == theirs.item for x in story.journal):
                yield f"sent anyway: copy {sent.ref} was released although a colleague's {theirs.ref} was on its way"


def _kill_switch(story: Story) -> Iterator[str]:
    """While the switch is on nothing leaves but a disarm and, once per process, the write that was already emitted."""
    copies = {line.ref for line in story.journal if line.what == "copy"}
    for on, off in story.killed:
        further: Counter[str] = Counter()
        for sent in story.sent:
            disarm = sent.what == "stop" and sent.ref in copies
            if disarm or not on < sent.at < off:
                continue
            further[sent.owner] += 1
            if sent.at > on + KILL_SECONDS:
                yield f"kill switch: {sent.what} {sent.ref} left {sent.at - on:.0f} s after it was thrown"
        for owner, count in further.items():
            if count > 1:
                yield f"kill switch: {owner} sent {count} further writes"


CHECKS = (
    _stuck, _double_releases, _double_runs, _lost, _unproven, _overlaps, _late_overlaps, _live_original, _not_ours,
    _foreign, _kill_switch,
)  # fmt: skip
