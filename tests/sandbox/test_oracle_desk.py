"""The oracle at the desk's remotes: silent about one of each, loud about two, and about internals for customers."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.oracle_case import Case
from sandbox.oracle_desk import DESK_CHECKS, desk_numbers

PAGE = {"event": "page", "key": "k1"}
TICKET = {"event": "ticket_created", "id": 1, "external_id": "RK1", "public": True, "subject": "s", "text": "t"}
SAID = {"event": "ticket_updated", "id": 1, "text": "We look into it", "public": True}
TASK = {"event": "task_created", "id": "t1", "key": "k"}
MAIL = {"event": "mail", "message_id": "m@x", "subject": "s", "text": "t"}
OPENED = {"event": "incident_created", "id": "i1", "name": "n", "status": "investigating", "body": "b"} | {
    "metadata": {"allclear": {"key": "k"}}
}
UPDATED = {"event": "incident_updated", "id": "i1", "name": "n", "status": "resolved", "body": "over"}
LINK = {"event": "remotelink", "key": "INC-1", "global_id": "g", "created": True}
COMMENT = {"event": "comment", "key": "INC-1", "property": {"key": "k"}, "text": "x"}
FILED = {"event": "issue_created", "key": "INC-1", "label": "RK"}
ONE_OF_EACH: dict[str, list[dict[str, Any]]] = {
    "pagerduty": [PAGE],
    "zendesk": [TICKET, SAID],
    "clickup": [TASK],
    "smtp": [MAIL],
    "statuspage": [OPENED, UPDATED],
    "jira": [FILED, LINK, COMMENT],
}


def guide(minute: int, name: str, before: str, after: str) -> dict[str, Any]:
    return {"event": "guide_state", "at": f"2026-11-01T0{8 + minute // 60}:{minute % 60:02d}:00+00:00"} | {
        "guide": name, "before": before, "after": after,
    }  # fmt: skip


def complaints(**more: list[dict[str, Any]]) -> list[str]:
    events = {system: [*rows, *more.get(system, [])] for system, rows in {"pendo": [], **ONE_OF_EACH}.items()}
    stamped = {s: [{"at": "2026-11-01T08:00:00+00:00", **row} for row in rows] for s, rows in events.items()}
    case = Case({"items": []}, stamped)
    return [c.check for check in DESK_CHECKS for c in check(case)]


def test_one_of_each_is_nothing_to_complain_of() -> None:
    assert complaints() == []


@pytest.mark.parametrize(
    ("system", "row", "check"),
    [
        ("pagerduty", PAGE, "double page"),
        ("zendesk", {**TICKET, "id": 2}, "double ticket"),
        ("zendesk", SAID, "said twice"),
        ("clickup", {**TASK, "id": "t2"}, "double task"),
        ("smtp", MAIL, "double mail"),
        ("statuspage", {**OPENED, "id": "i2"}, "double status"),
        ("statuspage", UPDATED, "said twice"),
        ("jira", LINK, "double link"),
        ("jira", COMMENT, "said twice"),
        ("zendesk", {**SAID, "text": "see INC-1"}, "internal"),
        ("smtp", {**MAIL, "message_id": "n@x", "text": "[RK-ABCDEFG]"}, "internal"),
        ("statuspage", {**UPDATED, "body": "INC-1 is closed"}, "internal"),
    ],
)
def test_two_of_one_and_internals_are_found(system: str, row: dict[str, Any], check: str) -> None:
    assert complaints(**{system: [row]}) == [check]


def test_a_customers_own_number_that_begins_alike_is_no_key_of_ours() -> None:
    assert complaints(zendesk=[{**SAID, "text": "order INC-12"}]) == []


def test_notices_are_shown_one_at_a_time_and_the_last_one_for_an_hour() -> None:
    first, last = "guide-identified", "guide-resolved"
    swapped = [guide(0, first, "disabled", "public"), guide(5, first, "public", "disabled")]
    hour = [guide(6, last, "disabled", "public"), guide(66, last, "public", "disabled")]
    assert complaints(pendo=[*swapped, *hour]) == []
    assert complaints(pendo=[swapped[0], *hour]) == ["two notices"]
    assert complaints(pendo=[hour[0], guide(80, last, "public", "disabled")]) == ["notice up"]
    assert complaints(pendo=[hour[0], guide(90, first, "draft", "disabled")]) == ["notice up"]


def test_numbers_are_told_only_where_a_desk_was_used() -> None:
    assert desk_numbers(Case({"items": []}, {})) == {}
    assert desk_numbers(Case({"items": []}, {"pagerduty": [PAGE]}))["pages"] == 1
