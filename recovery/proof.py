"""The closing balance: the same audit again, from the remotes alone, set against what the ledger says was done.

due = done before us + recovered + skipped + held, doubles = 0; anything else is a failed run (design, section 2).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from recovery.ledger.rows import ItemRow
from recovery.model import Balance, Finding, ItemOutcome, Kind, Plan, Verdict
from recovery.testify import CAMPAIGN_STATUS, MARKER


def balance(after: Sequence[Finding], items: Iterable[ItemRow], selection: Collection[str] | None = None) -> Balance:
    """Adds up one window, or a selection of its slots. Pure; `after` is a second audit, without the ledger's word.

    Every item counts, seen again or not: a run that began before the window is no slot any more once it has ended.
    Of a selection only its own slots are due; whatever else is not done is named as outside it, and a mail that went
    out twice fails the run wherever it is.
    """
    rows = {row.slot_key: row for row in items}
    now = {f.slot.key: f for f in after}
    due = set(now) | set(rows) if selection is None else set(selection)
    count = dict.fromkeys(("done_before", "recovered", "skipped", "held"), 0)
    problems: list[str] = []
    for key in sorted(due):
        bucket, problem = _place(rows.get(key), now.get(key))
        if bucket:
            count[bucket] += 1
        if problem:
            problems.append(f"{key}: {problem}")
    found = doubles(after)
    problems += [f"{key}: {text}" for key, (_, text) in found.items()]
    return Balance(
        due=len(due),
        done_before=count["done_before"],
        recovered=count["recovered"],
        skipped=count["skipped"],
        held=count["held"],
        doubles=sum(n for n, _ in found.values()),
        problems=tuple(problems),
        outside=tuple(sorted(k for k in (set(now) | set(rows)) - due if _is_left(rows.get(k), now.get(k)))),
    )


def closing_balance(plan: Plan, after: Sequence[Finding], items: Iterable[ItemRow]) -> Balance:
    """The balance that a run of the plan must prove: of the window, or of what was selected of it."""
    return balance(after, items, None if plan.whole else [i.slot.key for i in plan.items])


def _is_left(row: ItemRow | None, now: Finding | None) -> bool:
    """Whether nobody has dealt with a slot yet: no item of any plan has ended for it, and it is not done."""
    if row is not None:
        return row.outcome is ItemOutcome.OPEN
    return now is not None and now.verdict is not Verdict.DONE


def _place(row: ItemRow | None, now: Finding | None) -> tuple[str, str]:
    """Which part of the balance a slot belongs to, and what is wrong with that."""
    if row is None:
        if now is not None and now.verdict is Verdict.DONE:
            return "done_before", ""
        return "", "not done, and no item of the plan stands for it"
    if row.outcome is ItemOutcome.CONFIRMED:
        if now is not None and now.verdict is not Verdict.DONE and not _by_statement(row):
            return "recovered", f"called recovered, but the second audit says {now.verdict.value} ({now.reason})"
        return "recovered", ""
    if row.outcome is ItemOutcome.SKIPPED:
        half = now is not None and now.verdict is Verdict.PARTIAL and "by itself" in row.reason
        return "skipped", f"skipped ({row.reason}), but the second audit says it is partial" if half else ""
    if row.outcome is ItemOutcome.HELD:
        return "held", ""
    return "", "the run ended before this item did; `allclear status` names the command that goes on"


def _by_statement(row: ItemRow) -> bool:
    """A named person said that it happened; the remotes may not show it."""
    return row.reason.startswith("stated by ")


def doubles(findings: Iterable[Finding]) -> Mapping[str, tuple[int, str]]:
    """Campaigns that went out more than once, from the remotes' counters: slot -> (how often too many, in words)."""
    found: dict[str, tuple[int, str]] = {}
    for finding in findings:
        if finding.slot.kind != Kind.CAMPAIGN:
            continue
        said = {t.witness: t for t in finding.evidence.testimonies}
        marker, status = said.get(MARKER), said.get(CAMPAIGN_STATUS)
        copies = marker.facts.get("copies") if marker is not None else []
        sent_copies = len(copies) if isinstance(copies, list) else 0
        original = status.facts.get("send_amt") if status is not None else 0
        gone = sent_copies + (1 if isinstance(original, int) and original > 0 else 0)
        if sent_copies and gone > 1:
            found[finding.slot.key] = (
                gone - 1,
                f"DOUBLE: {gone} mails left (copies {copies}, original {original} sent)",
            )
    return found
