"""The report as GitHub-flavoured Markdown for Prefect artifacts and tickets.

Remote text stands in code spans, where Markdown has no markup, mentions or links; a pipe leaves the span as an entity,
so that it cannot end a table cell. Control and bidi characters are shown as codes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from recovery.report.report import AccountReport, ItemReport, RunReport
from recovery.report.summary import (
    accounts_of,
    all_items,
    headline,
    held_groups,
    outcome_counts,
    recovered_groups,
    safe_href,
    skipped_groups,
    verdict_counts,
)
from recovery.report.words import (
    KIND_WORDS,
    MODE_WORDS,
    OUTCOME_WORDS,
    VERDICT_WORDS,
    both_times,
    counted,
    length_words,
    shown,
    utc_time,
    word_of,
)

ITEMS_LISTED = 50
ACCOUNTS_LISTED = 100
QUESTIONS_LISTED = 20
_SIGNS = {"good": "✅", "wait": "⏸️", "bad": "❌"}
_PROSE_SPECIAL = re.compile(r"[#$&*<>@\[\\\]^_`{|}~]|(?<=\d)[.)](?=\s|$)|^[.)]")
_LIST_START = re.compile(r"[-+=]")
_AUTOLINK = re.compile(r"(https?|ftp|mailto|xmpp|www)([:.])", re.IGNORECASE)


def document(report: RunReport) -> str:
    """The whole report, shortened to what a person reads in a browser tab; the HTML report has every slot."""
    items = all_items(report)
    first = headline(report, items)
    window = report.window
    length = length_words((window.ended_at - window.started_at).total_seconds())
    parts = [
        f"# {_SIGNS[first.state]} {prose(first.text)}",
        prose(first.explanation),
        f"**{MODE_WORDS[report.mode]} of {code(report.incident_ref)}**: {code(report.title)}",
        f"Outage {utc_time(window.started_at)} to {utc_time(window.ended_at)} ({length}). "
        f"Made {utc_time(report.made_at)}.",
        *_ticket(report),
        _sums(report, items),
        *_bullets("Problems", report.problems),
        *_held(items),
        *_done(report, items),
        *_skipped(items),
        *_missed(report, items),
        _accounts(accounts_of(report, items), items),
        *_approvals(report),
        *_bullets("Notices", report.notices),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def code(text: object, limit: int = 300) -> str:
    """Remote text as a code span that survives any content, also inside a table cell."""
    pieces = shown(text, limit).split("|")
    return "&#124;".join(_span(piece) for piece in pieces) or "(empty)"


def _span(piece: str) -> str:
    if not piece:
        return ""
    if not piece.strip():
        return "&nbsp;" * len(piece)
    longest = max((len(run) for run in re.findall("`+", piece)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if piece[0] in "` " or piece[-1] in "` " else ""
    return f"{fence}{pad}{piece}{pad}{fence}"


def prose(text: object) -> str:
    """A sentence that may quote remote text: what Markdown would act on becomes an entity, and no address a link."""
    whole = shown(text, 600)
    start = len(whole) - len(whole.lstrip("-+=0123456789 "))
    marks = _LIST_START.sub(_entity, whole[:start]) + _PROSE_SPECIAL.sub(_entity, whole[start:])
    return _AUTOLINK.sub(lambda m: m[1] + f"&#{ord(m[2])};", marks)


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _ticket(report: RunReport) -> list[str]:
    if not report.ticket:
        return []
    href = safe_href(report.ticket.url)
    name = code(report.ticket.key)
    plain_address = bool(href) and re.fullmatch(r"[A-Za-z0-9:/?&=.,_~%+-]+", href)
    return [f"Incident ticket: [{name}](<{href}>)" if plain_address else f"Incident ticket: {name}"]


def _sums(report: RunReport, items: Sequence[ItemReport]) -> str:
    balance = report.balance
    if balance:
        heads = ("Due", "Done before", "Recovered", "Skipped", "Held", "Doubles", "Adds up")
        numbers = (balance.due, balance.done_before, balance.recovered, balance.skipped, balance.held, balance.doubles)
        return table(heads, [[*(f"{n:,}" for n in numbers), "yes" if balance.adds_up else "**no**"]])
    counts = verdict_counts(items)
    present = [v for v in VERDICT_WORDS if counts[v]]
    return table(
        ("Due", *(VERDICT_WORDS[v] for v in present)), [[f"{len(items):,}", *(f"{counts[v]:,}" for v in present)]]
    )


def _bullets(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    listed = [f"- {prose(line)}" for line in lines[:ITEMS_LISTED]]
    return [f"## {title}", "\n".join(listed), *_left_out(len(lines) - len(listed))]


def _left_out(more: int) -> list[str]:
    return [f"{more:,} more stand in the HTML report."] if more > 0 else []


def _item_rows(items: Sequence[ItemReport]) -> str:
    rows = [
        (
            code(item.slot.account),
            f"{word_of(KIND_WORDS, item.slot.kind)} {code(item.slot.object_ref)}",
            code(item.name),
            both_times(item.slot.due_at, item.slot.time_zone),
        )
        for item in items[:ITEMS_LISTED]
    ]
    return "\n\n".join([table(("Account", "What", "Name", "Due"), rows), *_left_out(len(items) - len(rows))])


def _held(items: Sequence[ItemReport]) -> list[str]:
    parts: list[str] = []
    groups = held_groups(items)
    for group in groups[:QUESTIONS_LISTED]:
        parts.append(f"### {counted(len(group.items), 'item')}: {prose(group.title)}")
        if group.recommended:
            parts.append(f"**Recommended answer:** {prose(group.recommended)}")
        parts.append(_item_rows(group.items))
    parts += _left_out(sum(len(group.items) for group in groups[QUESTIONS_LISTED:]))
    return ["## Held: a person must decide", *parts] if parts else []


def _done(report: RunReport, items: Sequence[ItemReport]) -> list[str]:
    rows = [
        (
            prose(group.title),
            "reached people" if group.reaches_people else "data and jobs",
            f"{group.recipients:,}" if group.recipients else "",
        )
        for group in recovered_groups(report, items)
    ]
    return ["## What was done", table(("What", "Effect", "Recipients planned"), rows)] if rows else []


def _skipped(items: Sequence[ItemReport]) -> list[str]:
    groups = skipped_groups(items)
    rows = [(f"{len(group.items):,}", prose(group.title)) for group in groups[:ITEMS_LISTED]]
    more = _left_out(sum(len(group.items) for group in groups[ITEMS_LISTED:]))
    return ["## Skipped", table(("Items", "Reason"), rows), *more] if rows else []


def _missed(report: RunReport, items: Sequence[ItemReport]) -> list[str]:
    """What an audit or a plan found; after a recovery the outcome says more."""
    if report.mode == "recover":
        return []
    amiss = [item for item in items if item.verdict.value != "done"]
    parts = []
    for verdict, word in VERDICT_WORDS.items():
        group = [item for item in amiss if item.verdict.value == verdict]
        if group:
            parts += [f"### {word}: {len(group):,}", _item_rows(group)]
    return ["## Findings", *parts] if parts else []


def _accounts(accounts: Sequence[AccountReport], items: Sequence[ItemReport]) -> str:
    by_account: dict[str, list[ItemReport]] = {a.name: [] for a in accounts}
    for item in items:
        by_account[item.slot.account].append(item)
    rows = []
    for account in accounts[:ACCOUNTS_LISTED]:
        counts = outcome_counts(by_account[account.name])
        state = prose(account.problem) if account.readable else f"**could not be read** {prose(account.problem)}"
        numbers = [f"{counts[outcome]:,}" for outcome in OUTCOME_WORDS]
        rows.append((code(account.name), code(account.time_zone), *numbers, state))
    text = "## Accounts\n\n" + table(("Account", "Zone", *OUTCOME_WORDS.values(), "Problem"), rows)
    more = len(accounts) - len(rows)
    return text + (f"\n\n{more:,} more accounts stand in the HTML report." if more else "")


def _approvals(report: RunReport) -> list[str]:
    rows = [
        (
            code(a.by),
            utc_time(a.at),
            f"{a.recipients:,}",
            "acknowledged" if a.caveat_acknowledged else "not acknowledged",
            f"{len(a.items):,} items" if a.items else "all items",
            code(a.plan_digest[:12]),
        )
        for a in report.approvals
    ]
    heads = ("Person", "When", "Recipients named", "Caveat", "Scope", "Plan")
    return ["## Approvals", table(heads, rows)] if rows else []
