"""What every report says first: the headline, the sums, what is held and why, what went out, whom to ask. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from recovery.model import Harm, ItemOutcome, Question, Remedy, Verdict
from recovery.report.report import AccountReport, ItemReport, RunReport
from recovery.report.words import (
    KIND_WORDS,
    OUTCOME_WORDS,
    REMEDY_DONE_WORDS,
    VERDICT_WORDS,
    both_times,
    counted,
    plain,
    shown,
    utc_time,
    word_of,
)

MAILTO_CHARACTERS = 1800
"""Mail programs and browsers cut longer mailto addresses; the whole message stands beside the link."""
ITEMS_TOLD = 200
"""Up to so many unresolved items are described one by one in the message; above, their ids are listed."""


@dataclass(frozen=True, slots=True)
class Headline:
    """The verdict on the run: `state` is "good", "wait" or "bad"."""

    state: str
    text: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Group:
    """Items that share one question, reason or remedy."""

    title: str
    recommended: str
    choices: tuple[str, ...]
    items: tuple[ItemReport, ...]
    recipients: int = 0
    reaches_people: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """The prefilled Contact Us message (R001.37); `href` is empty when the address is not one to link to."""

    subject: str
    body: str
    href: str
    count: int


def all_items(report: RunReport) -> tuple[ItemReport, ...]:
    """The report's items, and an item for every finding that has none; ordered by account and due time."""
    known = {item.slot for item in report.items}
    added = [
        ItemReport(
            slot=f.slot,
            name=f.slot.name,
            verdict=f.verdict,
            remedy=Remedy.NONE,
            outcome="done_before" if f.verdict is Verdict.DONE else ItemOutcome.OPEN,
            reason=f.reason,
            before=f.evidence.facts,
            testimonies=f.evidence.testimonies,
        )
        for f in report.findings
        if f.slot not in known
    ]
    return tuple(sorted((*report.items, *added), key=lambda i: (i.slot.account, i.slot.due_at, i.slot.object_ref)))


def accounts_of(report: RunReport, items: Iterable[ItemReport]) -> tuple[AccountReport, ...]:
    """The report's accounts, and any other account that an item names, by name."""
    known = {a.name: a for a in report.accounts}
    for item in items:
        known.setdefault(item.slot.account, AccountReport(item.slot.account, item.slot.time_zone))
    return tuple(known[name] for name in sorted(known))


def outcome_counts(items: Iterable[ItemReport]) -> Counter[str]:
    """How many items ended how; keys as in OUTCOME_WORDS."""
    return Counter(str(item.outcome) for item in items)


def verdict_counts(items: Iterable[ItemReport]) -> Counter[str]:
    """How many items have which verdict."""
    return Counter(item.verdict.value for item in items)


def status_of(item: ItemReport, mode: str) -> str:
    """What a picture shows of an item: its outcome once something was done, before that its verdict."""
    if item.outcome == "done_before" or item.verdict is Verdict.DONE:
        return "done"
    if mode == "recover" or item.outcome != ItemOutcome.OPEN:
        return str(item.outcome)
    return item.verdict.value


def headline(report: RunReport, items: tuple[ItemReport, ...]) -> Headline:
    """One sentence a manager may repeat, and one that says what it rests on."""
    if report.mode == "audit":
        return _audit_headline(report, items)
    if report.mode == "plan":
        return _plan_headline(report, items)
    return _recovery_headline(report, items)


def _unread(report: RunReport) -> int:
    return sum(not a.readable for a in report.accounts)


def _audit_headline(report: RunReport, items: tuple[ItemReport, ...]) -> Headline:
    counts = verdict_counts(items)
    wrong = len(items) - counts["done"]
    unread = _unread(report)
    if not wrong and not unread:
        return Headline("good", "Everything that was due has happened.", f"{counted(len(items), 'slot')} checked.")
    found = ", ".join(f"{n:,} {VERDICT_WORDS[v].lower()}" for v, n in counts.most_common() if v != "done")
    explanation = f"{found or 'No miss found'}. Nothing has been changed: an audit only reads."
    if unread:
        explanation += f" {counted(unread, 'account')} could not be read, so the picture is incomplete."
    text = f"{wrong:,} of {counted(len(items), 'due item')} did not happen as they should."
    return Headline("wait", text if wrong else "The audit is incomplete.", explanation)


def _plan_headline(report: RunReport, items: tuple[ItemReport, ...]) -> Headline:
    planned = report.plan.items if report.plan else ()
    held = sum(p.remedy is Remedy.HOLD for p in planned) or outcome_counts(items)["held"]
    to_do = sum(bool(p.actions) and p.remedy is not Remedy.HOLD for p in planned)
    reach = report.plan.reach if report.plan else 0
    explanation = f"Nothing has been changed yet. The plan reaches {reach:,} recipients as far as known."
    if _unread(report):
        explanation += f" {counted(_unread(report), 'account')} could not be read and is not in it."
    text = f"{counted(to_do, 'item is', 'items are')} ready to recover, {counted(held, 'waits', 'wait')} for a person."
    return Headline("wait" if to_do or held else "good", text, explanation)


def _recovery_headline(report: RunReport, items: tuple[ItemReport, ...]) -> Headline:
    balance, counts = report.balance, outcome_counts(items)
    if balance is None:
        return Headline("bad", "Not proven: the closing balance was not taken.", "Run it again; nothing is done twice.")
    if not balance.adds_up:
        why = "; ".join(shown(p, 300) for p in balance.problems)
        if balance.doubles:
            why = f"{counted(balance.doubles, 'item')} went out twice. {why}"
        return Headline("bad", "The numbers do not add up. Treat this run as failed.", why or "See the balance below.")
    sums = f"{balance.recovered:,} recovered, {balance.skipped:,} skipped with a reason, none sent twice."
    unread = _unread(report)
    waiting = balance.held or counts["open"]
    asked = counted(waiting, "item waits", "items wait") + " for a person"
    if unread:
        missing = f"{counted(unread, 'account')} could not be read"
        return Headline("wait", f"{asked}, and {missing}." if waiting else f"{missing}; the rest is clear.", sums)
    left = counted(len(balance.outside), "more slot is", "more slots are") + " not done, outside this plan."
    if waiting:
        text = f"Nothing lost, nothing sent twice. {asked}."
        return Headline("wait", f"{text} {left}" if balance.outside else text, sums)
    if balance.outside:
        return Headline("wait", f"What was selected is accounted for. {left}", sums)
    return Headline("good", "All clear: every item that was due is accounted for.", sums)


def held_groups(items: Iterable[ItemReport]) -> tuple[Group, ...]:
    """The held items by question, the most asked first."""
    groups: dict[Question, list[ItemReport]] = defaultdict(list)
    for item in items:
        if item.outcome == ItemOutcome.HELD:
            groups[item.question or Question(item.reason or "A person must decide.", "")].append(item)
    return tuple(
        Group(shown(q.text, 600), shown(q.recommended, 600), tuple(shown(c, 80) for c in q.choices), tuple(held))
        for q, held in sorted(groups.items(), key=lambda pair: -len(pair[1]))
    )


def recovered_groups(report: RunReport, items: Iterable[ItemReport]) -> tuple[Group, ...]:
    """What went out or was put right, by kind and remedy; what reaches people first."""
    audience = {p.slot: p.audience or 0 for p in report.plan.items} if report.plan else {}
    groups: dict[tuple[str, str], list[ItemReport]] = defaultdict(list)
    for item in items:
        if item.outcome == ItemOutcome.CONFIRMED:
            groups[(item.slot.kind, item.remedy.value)].append(item)
    made = (
        Group(
            title=f"{counted(len(done), *_kind_nouns(kind))}: {word_of(REMEDY_DONE_WORDS, remedy).lower()}",
            recommended="",
            choices=(),
            items=tuple(done),
            recipients=sum(audience.get(i.slot, 0) for i in done),
            reaches_people=any(a.harm is Harm.H3 for i in done for a in i.actions),
        )
        for (kind, remedy), done in groups.items()
    )
    return tuple(sorted(made, key=lambda g: (not g.reaches_people, -len(g.items))))


def _kind_nouns(kind: str) -> tuple[str, str]:
    one = word_of(KIND_WORDS, kind)
    return one, one + "s"


def skipped_groups(items: Iterable[ItemReport]) -> tuple[Group, ...]:
    """The skipped items by reason."""
    groups: dict[str, list[ItemReport]] = defaultdict(list)
    for item in items:
        if item.outcome == ItemOutcome.SKIPPED:
            groups[item.reason or "No reason was recorded."].append(item)
    ordered = sorted(groups.items(), key=lambda pair: -len(pair[1]))
    return tuple(Group(shown(reason, 600), "", (), tuple(skipped)) for reason, skipped in ordered)


def unresolved(items: Iterable[ItemReport]) -> tuple[ItemReport, ...]:
    """What is still owed an answer: held, or neither recovered nor skipped."""
    return tuple(i for i in items if i.outcome in (ItemOutcome.HELD, ItemOutcome.OPEN))


def safe_href(url: str) -> str:
    """The address when it is an ordinary web or mail address, otherwise nothing."""
    try:
        scheme = urlsplit(url).scheme.lower()
    except ValueError:
        return ""
    return url if scheme in ("https", "http", "mailto") and shown(url.strip()) == url else ""


def contact_message(report: RunReport, items: tuple[ItemReport, ...]) -> Message | None:
    """The message to the vendor about everything unresolved (R001.37), or nothing when nothing is."""
    waiting = unresolved(items)
    unread = [a for a in report.accounts if not a.readable]
    if not waiting and not unread:
        return None
    window = f"{utc_time(report.window.started_at)} to {utc_time(report.window.ended_at)}"
    subject = f"Unresolved after the outage of {window}: {counted(len(waiting), 'item')}"
    lines = [f"Incident: {shown(report.incident_ref)}", f"Outage: {window}", ""]
    lines += [f"Account {shown(a.name)} could not be read: {shown(a.problem, 300)}" for a in unread]
    lines += _each_item(waiting) if len(waiting) <= ITEMS_TOLD else _ids_by_account(waiting)
    lines += ["", "Please tell us for each what happened at your side, and whether it may still happen by itself."]
    body = "\n".join(lines)
    return Message(subject, body, _message_href(report.contact_us_url, subject, body), len(waiting))


def _each_item(waiting: Iterable[ItemReport]) -> list[str]:
    lines = []
    for item in waiting:
        slot, verdict = item.slot, word_of(VERDICT_WORDS, item.verdict.value).lower()
        thing = f"{word_of(KIND_WORDS, slot.kind)} {shown(slot.object_ref)} ({shown(item.name, 200)})"
        asked = shown(item.question.text if item.question else item.reason, 600)
        due = both_times(slot.due_at, slot.time_zone)
        lines += [f"- {thing}, account {shown(slot.account)}", f"  due {due}; we see: {verdict}. {asked}"]
    return lines


def _ids_by_account(waiting: Iterable[ItemReport]) -> list[str]:
    """Every id with its due time, one line for each account and kind: all of it, in a size that can be mailed."""
    ids: dict[tuple[str, str], list[str]] = defaultdict(list)
    for item in waiting:
        slot = item.slot
        ids[(slot.account, slot.kind)].append(f"{shown(slot.object_ref)} (due {utc_time(slot.due_at)})")
    return [f"- {shown(a)}, {word_of(KIND_WORDS, kind)}: {', '.join(refs)}" for (a, kind), refs in ids.items()]


def _message_href(url: str, subject: str, body: str) -> str:
    href = safe_href(url)
    if not href.lower().startswith("mailto:"):
        return href
    short, encoded = body, quote(body)
    while len(encoded) > MAILTO_CHARACTERS:
        short = short[: len(short) * 2 // 3]
        encoded = quote(short + "\n[The rest stands in the report]")
    return f"{href}{'&' if '?' in href else '?'}subject={quote(subject)}&body={encoded}"


def witness_line(item: ItemReport) -> str:
    """What each witness saw, in one line."""
    return "; ".join(f"{plain(t.witness)}: {plain(t.saw.value)}" for t in item.testimonies) or "no witness"


def outcome_word(item: ItemReport) -> str:
    """The item's outcome in words."""
    return word_of(OUTCOME_WORDS, str(item.outcome))
