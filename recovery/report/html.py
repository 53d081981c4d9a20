"""The HTML report: a view of the run as plain strings, put into one page with its own style and script.

Everything remote passes `shown` and Jinja's autoescaping; the page's policy (CSP) allows only the one style and the one
script whose hashes it names and no request at all, so markup that slipped through would still do nothing. Up to
`STATIC_ROWS` slots are written as rows, which print and work without scripts; above that the rows are packed as JSON
and the script draws them page by page, while what was not simply done is still written as rows.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from recovery.model import Exchange, Testimony, iso
from recovery.report.evidence import Named, evidence_shown
from recovery.report.report import AccountReport, ActionReport, ItemReport, RunReport
from recovery.report.summary import (
    accounts_of,
    all_items,
    contact_message,
    headline,
    held_groups,
    outcome_counts,
    outcome_word,
    recovered_groups,
    safe_href,
    skipped_groups,
    verdict_counts,
)
from recovery.report.svg import timeline
from recovery.report.words import (
    HARM_WORDS,
    KIND_WORDS,
    MODE_WORDS,
    OUTCOME_WORDS,
    REMEDY_WORDS,
    VERDICT_WORDS,
    both_times,
    fact_changes,
    length_words,
    local_time,
    plain,
    shown,
    utc_time,
    word_of,
)

if TYPE_CHECKING:
    from jinja2 import Environment

STATIC_ROWS = 1500
ATTENTION_ROWS = 200
ACCOUNT_CARDS = 60


class WitnessView(NamedTuple):
    """One testimony, ready to show; `place` is where its reply is on the page, or empty."""

    witness: str
    saw: str
    at: str
    complete: str
    detail: str
    digest: str
    place: str


class ActionView(NamedTuple):
    """One action, ready to show; `place` is where the reply that proves it is on the page, or empty."""

    what: str
    state: str
    ref: str
    at: str
    harm: str
    undo: str
    attempts: str
    digest: str
    place: str
    detail: str


class FactView(NamedTuple):
    """One fact before and after; `changed` is "changed" or empty."""

    name: str
    before: str
    after: str
    changed: str


class RowView(NamedTuple):
    """One slot, ready to show: strings and tuples of strings only, so that it packs and compares."""

    n: str
    name: str
    kind: str
    kind_word: str
    ref: str
    account: str
    system: str
    due: str
    due_local: str
    due_utc: str
    verdict: str
    verdict_word: str
    outcome: str
    outcome_word: str
    remedy: str
    reason: str
    actor: str
    question: str
    recommended: str
    witnesses: tuple[WitnessView, ...]
    actions: tuple[ActionView, ...]
    facts: tuple[FactView, ...]


class AccountView(NamedTuple):
    """One account's card."""

    name: str
    time_zone: str
    readable: bool
    problem: str
    window: str
    counts: tuple[tuple[str, int], ...]
    waiting: tuple[str, ...]
    total: int


def page(report: RunReport, evidence: Mapping[Named, Exchange]) -> str:
    """The whole page as text."""
    environment = _environment()
    items = all_items(report)
    accounts = accounts_of(report, items)
    packed = len(items) > STATIC_ROWS
    telling = [n for n, item in enumerate(items) if item.outcome != "done_before"]
    written = telling[:ATTENTION_ROWS] if packed else range(len(items))
    replies = evidence_shown(items, evidence)
    style, script = _asset("report.css"), _asset("report.js")
    return environment.get_template("report.html.j2").render(
        report=report,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'",
        headline=headline(report, items),
        mode_word=MODE_WORDS[report.mode],
        window=_window_words(report),
        numbers=_numbers(report, items),
        held=held_groups(items),
        recovered=recovered_groups(report, items),
        skipped=skipped_groups(items),
        caveats=_caveats(report),
        contact=contact_message(report, items),
        ticket_href=safe_href(report.ticket.url) if report.ticket else "",
        timeline=timeline(report, items, accounts),
        rows=[row_view(n, items[n], replies.places) for n in written],
        total=len(items),
        data=pack(row_view(n, item, replies.places) for n, item in enumerate(items)) if packed else "",
        choices=_choices(items),
        accounts=[account_view(report, a, i) for a, i in _by_account(accounts, items)],
        account_cards=len(accounts) <= ACCOUNT_CARDS,
        evidence=replies.cards,
        evidence_omitted=replies.omitted,
    )


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("recovery", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "utc": utc_time, "both": both_times}
    environment.globals["item_line"] = _item_line
    return environment


def _asset(name: str) -> str:
    return (files("recovery") / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


def row_view(n: int, item: ItemReport, places: Mapping[Named, str] = MappingProxyType({})) -> RowView:
    """One item as strings; every remote text in it has passed `shown`. `places`: where its replies are on the page."""
    slot = item.slot

    def place(digest: str) -> str:
        return places.get((digest, slot.account), "")

    question = item.question
    return RowView(
        n=str(n),
        name=shown(item.name or slot.name, 300) or "(no name)",
        kind=shown(slot.kind),
        kind_word=word_of(KIND_WORDS, slot.kind),
        ref=shown(slot.object_ref),
        account=shown(slot.account),
        system=shown(slot.system),
        due=iso(slot.due_at),
        due_local=local_time(slot.due_at, slot.time_zone),
        due_utc=utc_time(slot.due_at),
        verdict=item.verdict.value,
        verdict_word=word_of(VERDICT_WORDS, item.verdict.value),
        outcome=str(item.outcome),
        outcome_word=outcome_word(item),
        remedy=word_of(REMEDY_WORDS, item.remedy.value),
        reason=shown(item.reason, 600),
        actor=shown(item.actor, 120),
        question=shown(question.text, 600) if question and question.text != item.reason else "",
        recommended=shown(question.recommended, 600) if question else "",
        witnesses=tuple(_witness_view(t, slot.time_zone, place(t.digest)) for t in item.testimonies),
        actions=tuple(_action_view(a, slot.time_zone, place(a.evidence_digest)) for a in item.actions),
        facts=_fact_views(item),
    )


def _fact_views(item: ItemReport) -> tuple[FactView, ...]:
    """What was read before and after; nothing for a slot that needed nothing, where there is no after."""
    if item.outcome == "done_before":
        return ()
    return tuple(FactView(*f[:3], "changed" if f[3] else "") for f in fact_changes(item.before, item.after))


def _witness_view(testimony: Testimony, zone: str, place: str) -> WitnessView:
    return WitnessView(
        witness=plain(testimony.witness),
        saw=plain(testimony.saw.value),
        at=both_times(testimony.observed_at, zone),
        complete="read whole" if testimony.complete else "not read whole",
        detail=shown(testimony.detail, 400),
        digest=shown(testimony.digest),
        place=place,
    )


def _action_view(action: ActionReport, zone: str, place: str) -> ActionView:
    return ActionView(
        what=plain(action.kind.value),
        state=plain(action.state.value),
        ref=shown(action.ref),
        at=both_times(action.at, zone),
        harm=HARM_WORDS[action.harm],
        undo="can be undone" if action.reversible else "cannot be undone",
        attempts=str(action.attempts),
        digest=shown(action.evidence_digest),
        place=place,
        detail=shown(action.detail, 400),
    )


def pack(rows: Iterable[RowView]) -> str:
    """Rows as JSON that may stand inside a script element.

    `values` holds every different string and tuple once; a tuple is a list of places in `values`, and so is a row. Most
    of a large report repeats itself, so this is a fraction of the plain form.
    """
    places: dict[str | tuple[object, ...], int] = {}
    values: list[str | list[int]] = []

    def place_of(value: str | tuple[object, ...]) -> int:
        place = places.get(value)
        if place is None:
            packed = value if isinstance(value, str) else [place_of(part) for part in value]  # type: ignore[arg-type]
            place = places[value] = len(values)
            values.append(packed)
        return place

    fields = {
        "row": RowView._fields,
        "witnesses": WitnessView._fields,
        "actions": ActionView._fields,
        "facts": FactView._fields,
    }
    document = {"fields": fields, "rows": [[place_of(part) for part in row] for row in rows], "values": values}
    text = json.dumps(document, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _window_words(report: RunReport) -> dict[str, str]:
    window = report.window
    return {
        "start": utc_time(window.started_at),
        "end": utc_time(window.ended_at),
        "length": length_words((window.ended_at - window.started_at).total_seconds()),
    }


def _numbers(report: RunReport, items: Sequence[ItemReport]) -> list[tuple[str, str, int, str]]:
    """The big numbers as (class, sign before it, number, label)."""
    balance = report.balance
    if balance:
        return [
            ("due", "", balance.due, "due in the outage"),
            ("done", "=", balance.done_before, "done before us"),
            ("confirmed", "+", balance.recovered, "recovered"),
            ("skipped", "+", balance.skipped, "skipped with a reason"),
            ("held", "+", balance.held, "held for a person"),
            ("twice" if balance.doubles else "doubles", "", balance.doubles, "sent or run twice"),
        ]
    counts = verdict_counts(items)
    found = [(v, "+", counts[v], word.lower()) for v, word in VERDICT_WORDS.items() if counts[v] or v == "done"]
    return [("due", "", len(items), "due in the outage"), ("done", "=", *found[0][2:]), *found[1:]]


def _caveats(report: RunReport) -> list[tuple[str, int]]:
    planned = report.plan.items if report.plan else ()
    return [(shown(c, 600), n) for c, n in Counter(p.caveat for p in planned if p.caveat).most_common(20)]


def _choices(items: Iterable[ItemReport]) -> dict[str, list[tuple[str, str]]]:
    """The values to filter by: (value, words), only those that occur."""
    seen = {(i.slot.account, i.slot.kind, i.verdict.value, str(i.outcome)) for i in items}
    accounts, kinds, verdicts, outcomes = (set(values) for values in zip(*seen, strict=True)) if seen else [set()] * 4
    return {
        "account": [(a, a) for a in sorted(map(shown, accounts))],
        "kind": sorted((shown(k), word_of(KIND_WORDS, k)) for k in kinds),
        "verdict": [(v, w) for v, w in VERDICT_WORDS.items() if v in verdicts],
        "outcome": [(o, w) for o, w in OUTCOME_WORDS.items() if o in outcomes],
    }


def _by_account(
    accounts: Iterable[AccountReport], items: Iterable[ItemReport]
) -> list[tuple[AccountReport, list[ItemReport]]]:
    members: dict[str, list[ItemReport]] = defaultdict(list)
    for item in items:
        members[item.slot.account].append(item)
    return [(account, members[account.name]) for account in accounts]


def account_view(report: RunReport, account: AccountReport, items: Sequence[ItemReport]) -> AccountView:
    """One account's sums and what it still waits for."""
    counts = outcome_counts(items)
    zone = account.time_zone
    start, end = local_time(report.window.started_at, zone), local_time(report.window.ended_at, zone)
    return AccountView(
        name=shown(account.name),
        time_zone=shown(zone),
        readable=account.readable,
        problem=shown(account.problem, 300),
        window=f"{start} to {end}",
        counts=tuple((o, counts[o]) for o in OUTCOME_WORDS),
        waiting=tuple(_item_line(i) for i in items if i.outcome in ("held", "open"))[:5],
        total=len(items),
    )


def _item_line(item: ItemReport) -> str:
    slot = item.slot
    kind = word_of(KIND_WORDS, slot.kind).lower()
    return f"{shown(item.name, 120) or '(no name)'} ({kind} {shown(slot.object_ref)})"
