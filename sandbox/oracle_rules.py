"""What an operator forbids, judged from the journals: quiet hours, a cap, a mail before its audience is mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, time
from zoneinfo import ZoneInfo

from sandbox.oracle_case import Case, Complaint, Row


def _quiet(case: Case, rule: Row) -> Iterator[Complaint]:
    """Nothing is let go in the account's local quiet hours (they may pass midnight)."""
    start, end = time.fromisoformat(rule["start"]), time.fromisoformat(rule["end"])
    for (account, campaign), rows in case.released.items():
        for row in rows:
            local = datetime.fromisoformat(row["at"]).astimezone(ZoneInfo(rule["zone"])).time()
            inside = start <= local < end if start < end else local >= start or local < end
            if account == rule["account"] and inside:
                yield Complaint("quiet hours", account, campaign, f"let go at {local:%H:%M} local time")


def _most(case: Case, rule: Row) -> Iterator[Complaint]:
    """No more people are reached through us than the cap says."""
    rows = [r for rows in case.deliveries.values() for r in rows if (r["account"], r["campaign"]) in case.released]
    reached = sum(int(row["count"]) for row in rows)
    if reached > rule["amount"]:
        yield Complaint("cap", "", "", f"{reached} people were reached, {rule['amount']} were allowed", reached)


def _after_tags(case: Case, rule: Row) -> Iterator[Complaint]:
    """A mail to a segment is let go only once the people of the lost difference have its tag."""
    account, root = rule["account"], rule["object"]
    released = [
        int(row["n"])
        for (name, campaign), rows in case.released.items()
        if name == account and case.root_of(account, campaign) == root
        for row in rows
    ]
    for sync in case.truth["syncs"] if released else ():
        added = {
            row["contact"]
            for row in case.of("pro2", "tag_added")
            if (row["account"], row["tag"]) == (account, sync["tag"]) and int(row["n"]) < min(released)
        }
        left = len(set(sync["to_add"]) - added) if sync["account"] == account else 0
        if left:
            yield Complaint(
                "too early", account, root, f"let go while {left} people lacked the tag {sync['tag']}", left
            )


_RULES: dict[str, Callable[[Case, Row], Iterator[Complaint]]] = {
    "quiet": _quiet,
    "most": _most,
    "after tags": _after_tags,
}


def operators_rules(case: Case) -> Iterator[Complaint]:
    """Every rule that the story wrote down."""
    for rule in case.truth.get("rules", []):
        yield from _RULES[rule["rule"]](case, rule)
