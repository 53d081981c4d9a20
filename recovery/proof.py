"""The closing balance: the same audit again, from the remotes alone, set against what the ledger says was done.

due = done before us + recovered + skipped + held, doubles = 0; anything else is a failed run (design, section 2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from recovery.ledger.rows import ItemRow
from recovery.model import Balance, Finding, ItemOutcome, Kind, Verdict
from recovery.testify import CAMPAIGN_STATUS, MARKER


def balance(after: Sequence[Finding], items: Iterable[ItemRow]) -> Balance:
    """Adds up one window. Pure; `after` is a second audit, without the ledger's word.

    Every item counts, seen again or not: a run that began before the window is no slot any more once it has ended.
    """
    rows = {row.slot_key: row for row in items}
    now = {f.slot.key: f for f in after}
    due = set(now) | set(rows)
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
    )


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
    return "", "the run ended before this item did; run `allclear recover` again"


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
