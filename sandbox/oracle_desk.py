"""What the oracle checks at the incident desk's remotes: each thing once, and nothing internal where customers read."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from sandbox.oracle_case import Case, Complaint, Row

MARKER = re.compile(r"\[RK-[A-Z2-7]{4,}\]")
SHOWN_AT_MOST = timedelta(minutes=66)
"""The last notice comes down an hour after it went up; some minutes are for a schedule and for retries."""
RESOLVED_GUIDE = "guide-resolved"


def doubled(case: Case) -> Iterator[Complaint]:
    """One page, ticket, task, mail, public incident and link for each thing that asks for one."""
    for check, object_ref, count in (
        *_more_than_once("double page", (row["key"] for row in case.of("pagerduty", "page"))),
        *_more_than_once("double ticket", (row["external_id"] for row in case.of("zendesk", "ticket_created"))),
        *_more_than_once("double task", (row["key"] for row in case.of("clickup", "task_created"))),
        *_more_than_once("double mail", (row["message_id"] for row in case.of("smtp", "mail"))),
        *_more_than_once("double status", (row["metadata"] for row in case.of("statuspage", "incident_created"))),
        *_more_than_once("double link", _links_made(case)),
    ):
        yield Complaint(check, "", object_ref, "was made more than once", count)


def said_twice(case: Case) -> Iterator[Complaint]:
    """Nobody reads the same words twice in the same place."""
    public = [r for r in case.of("zendesk", "ticket_updated") if r.get("public") and r.get("text")]
    for check, object_ref, count in (
        *_more_than_once("said twice", ((row["id"], row["text"]) for row in public)),
        *_more_than_once("said twice", ((row["key"], row["property"]) for row in case.of("jira", "comment"))),
        *_more_than_once("said twice", _status_updates(case)),
    ):
        yield Complaint(check, "", object_ref, "the same words in the same place", count)


def guides(case: Case) -> Iterator[Complaint]:
    """One announcement is shown at a time, and the last one not for longer than its hour."""
    shown: dict[str, datetime] = {}
    for row in case.of("pendo", "guide_state"):
        guide, at = str(row["guide"]), datetime.fromisoformat(row["at"])
        if row["after"] == "public":
            others = sorted(set(shown) - {guide})
            if others:
                yield Complaint("two notices", "", guide, f"shown while {others[0]} was still up")
            shown.setdefault(guide, at)
        elif (up := shown.pop(guide, None)) is not None:
            yield from _too_long(guide, at - up)
    ended = [datetime.fromisoformat(row["at"]) for rows in case.events.values() for row in rows[-1:]]
    for guide, up in shown.items():
        yield from _too_long(guide, max(ended) - up)


def internals(case: Case) -> Iterator[Complaint]:
    """No key of the incident ticket and no marker of ours stands where customers read."""
    keys = {str(row["key"]) for row in case.of("jira", "issue_created")}
    for place, text in _customer_texts(case):
        found = MARKER.search(text)
        word = found[0] if found else next((k for k in keys if re.search(rf"\b{re.escape(k)}\b", text)), "")
        if word:
            yield Complaint("internal", "", place, f"{word} stands where customers read")


def desk_numbers(case: Case) -> dict[str, Any]:
    """What the desk's remotes hold, in numbers; nothing where no desk was used."""
    counts = {
        "pages": len(case.of("pagerduty", "page")),
        "customer_tickets": len(case.of("zendesk", "ticket_created")),
        "board_tasks": len(case.of("clickup", "task_created")),
        "public_incidents": len(case.of("statuspage", "incident_created")),
        "mails": len(case.of("smtp", "mail")),
    }
    return counts if any(counts.values()) else {}


def _more_than_once(check: str, things: Iterable[object]) -> Iterator[tuple[str, str, int]]:
    counted = Counter(json.dumps(thing, ensure_ascii=False, default=str) for thing in things if thing)
    yield from ((check, thing.strip('"'), count) for thing, count in counted.items() if count > 1)


def _links_made(case: Case) -> Iterator[object]:
    for row in case.of("jira", "remotelink"):
        if row["created"]:
            yield row["key"], row["global_id"]


def _status_updates(case: Case) -> Iterator[object]:
    for row in case.of("statuspage", "incident_updated"):
        if row.get("body"):
            yield row["id"], row["status"], row["body"]


def _too_long(guide: str, shown: timedelta) -> Iterator[Complaint]:
    if guide == RESOLVED_GUIDE and shown > SHOWN_AT_MOST:
        yield Complaint("notice up", "", guide, f"shown for {int(shown.total_seconds() // 60)} minutes")


def _customer_texts(case: Case) -> Iterator[tuple[str, str]]:
    rows: list[tuple[str, Row]] = [("zendesk", r) for r in case.of("zendesk", "ticket_created", "ticket_updated")]
    rows = [(place, row) for place, row in rows if row.get("public")]
    rows += [("statuspage", r) for r in case.of("statuspage", "incident_created", "incident_updated")]
    rows += [("smtp", r) for r in case.of("smtp", "mail")]
    for place, row in rows:
        texts = (row.get(name) for name in ("subject", "name", "text", "body"))
        yield f"{place} {row.get('id') or row.get('message_id')}", "\n".join(str(t) for t in texts if t)


DESK_CHECKS = (doubled, said_twice, guides, internals)
