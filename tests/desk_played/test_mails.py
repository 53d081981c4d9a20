"""Mails that answer earlier ones, and mails while the mail server hangs: what the desks got."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.desk_played.front import SPEAKER, Front, open_front
from tests.desk_played.story import FULL


@pytest.fixture
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with open_front(tmp_path_factory.mktemp("front")) as made:
        yield made


def answering(ref: str) -> dict[str, str]:
    return {"In-Reply-To": f"<{ref}>"}


def tickets(front: Front) -> dict[str, dict[str, Any]]:
    return {row["subject"]: row for row in front.events("zendesk", "ticket_created")}


def notes(front: Front, ticket: int) -> list[str]:
    """Comments on a customer's ticket that only colleagues read."""
    comments = front.estate.state("zendesk").tickets[ticket].comments
    return [c["plain_body"] for c in comments if not c["public"]]


@pytest.mark.requirement("R003.14")
def test_an_answer_to_the_p1_address_pages_and_has_its_own_ticket_although_it_answers_an_earlier_mail(
    front: Front,
) -> None:
    asked = front.mail("ask", "ann@harbor.example", "How do I export?", FULL)
    front.ask("tick", code=0)
    assert not front.ask("list")["incidents"]
    down = "Environment: production\nSymptoms: nothing is sent since noon"
    front.mail("down", "ann@harbor.example", "RE: How do I export?", down, to=front.p1_address(), **answering(asked))
    for _ in range(2):
        front.ask("tick")
    (incident,) = front.ask("list")["incidents"]
    assert incident["severity"] == "P1"
    (page,) = front.events("pagerduty", "page")
    assert page["title"] == "P1: RE: How do I export?"
    ticket = tickets(front)["RE: How do I export?"]["id"]
    assert front.estate.state("zendesk").tickets[ticket].comments[0]["plain_body"] == down
    assert front.complaints() == []


@pytest.mark.requirement("R002.16", "R003.30")
def test_what_a_customer_answers_is_read_on_the_customers_ticket_once_without_the_secret_address(front: Front) -> None:
    secret = front.p1_address()
    asked = front.mail("down", "ann@harbor.example", "We are down", FULL, to=secret)
    front.ask("tick")
    quoted = f"Now the reports are empty, too.\n\n> From: ann@harbor.example\n> To: {secret.upper()}"
    front.mail("more", "ann@harbor.example", "RE: We are down", quoted, **answering(asked))
    front.mail("again", "ann@harbor.example", "RE: We are down", "And the lists.", **answering(asked))
    for _ in range(3):
        front.ask("tick")
    ticket = tickets(front)["We are down"]["id"]
    said = [text.partition("\n\n")[2] for text in notes(front, ticket)]
    first = "Now the reports are empty, too.\n\n> From: ann@harbor.example\n> To: (P1 address)"
    assert sorted(said) == ["And the lists.", first]
    (incident,) = front.ask("list")["incidents"]
    assert len(front.ask("show", incident["ref"])["replies"]) == 1
    journals = (front.night.folder / "estate" / "journal").glob("*.jsonl")
    assert secret.encode() not in b"".join(path.read_bytes() for path in journals).lower()
    assert secret.encode() not in front.ledger().lower()
    assert front.complaints() == []


def test_an_answer_to_a_request_that_waits_is_kept_until_the_request_has_a_ticket(front: Front) -> None:
    asked = front.mail("ask", "ann@harbor.example", "A question", FULL)
    front.ask("tick")
    front.mail("more", "ann@harbor.example", "RE: A question", "It is about page 3.", **answering(asked))
    front.ask("tick")
    (waiting,) = front.ask("requests")["requests"]
    front.ask("classify", waiting["ref"], "P3", "--by", SPEAKER)
    front.ask("tick")
    (text,) = notes(front, tickets(front)["A question"]["id"])
    assert text.startswith("ann@harbor.example wrote at ") and text.endswith("RE: A question\n\nIt is about page 3.")
