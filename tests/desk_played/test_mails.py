"""Mails that answer earlier ones, and mails while the mail server hangs: what the desks got."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from recovery.desk.mailbox import ref_of
from tests.desk_played.front import ENGINEER, SPEAKER, Front, open_front
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


@pytest.mark.requirement("R002.2")
def test_an_alert_whose_id_fires_again_after_its_incident_was_resolved_pages_again(front: Front) -> None:
    """Until then the same id is the same alert; without an id it is refused."""
    fired = ("alert", "check-7", "--text", "no mail leaves", "--service", "campaigns")
    first = front.ask(*fired)["ref"]
    front.ask("update", first, "--by", SPEAKER, "--set", "symptoms=no mail leaves")
    assert front.ask(*fired)["ref"] == first
    front.ask("confirm", first, "--by", ENGINEER)
    front.announced(first, "resolved", "--reason", "it mended itself")
    front.wait(minutes=3)
    assert front.ask(*fired)["ref"] != first
    assert [row["action"] for row in front.events("pagerduty", "event")] == ["trigger", "resolve", "trigger"]
    front.ask("alert", " ", code=2)


@pytest.mark.requirement("R002.6")
def test_a_report_of_an_unknown_customer_or_without_a_name_is_refused(front: Front) -> None:
    front.ask("declare", "Nothing is sent", "--by", SPEAKER, "--severity", "P1", "--ref", "inc-open")
    given = ("--subject", "Where is it?", "--by", SPEAKER)
    assert "nobody" in front.ask("report", "inc-open", "--report", "r1", "--account", "nobody", *given, code=2)["error"]
    front.ask("report", "inc-open", "--report", "", "--account", "harbor", *given, code=2)
    assert front.ask("show", "inc-open")["reports"] == []


@pytest.mark.requirement("R003.14")
def test_a_p1_mail_pages_although_a_slower_incident_is_open(front: Front) -> None:
    slow = ("--by", SPEAKER, "--severity", "P2", "--customer", "harbor", "--ref", "inc-slow")
    front.ask("declare", "Pages load slowly", *slow)
    front.mail("down", "ops@opera.example", "We are down", FULL, to=front.p1_address("opera"))
    front.ask("tick")
    assert {i["severity"] for i in front.ask("list")["incidents"]} == {"P1", "P2"}
    (page,) = front.events("pagerduty", "page")
    assert page["title"] == "P1: We are down"
    assert front.ask("show", "inc-slow")["reports"] == []


@pytest.mark.requirement("R003.8", "R002.3")
def test_a_wish_for_the_board_and_an_absence_notice_are_no_reports_of_an_incident(front: Front) -> None:
    """They open none together with a third mail, join none that is open, and wait to be classified."""
    for name in ("opera", "quay"):
        front.mail(f"board-{name}", f"ann@{name}.example", "Access to our ClickUp board", "Please.")
    front.mail("away", "bo@harbor.example", "Out of office", "I am away.", **{"Auto-Submitted": "auto-replied"})
    front.ask("tick")
    assert front.ask("list")["incidents"] == []
    front.ask("declare", "Nothing is sent", "--by", SPEAKER, "--severity", "P1", "--ref", "inc-open")
    front.mail("late", "cy@harbor.example", "Access to our support board", "Please.")
    front.ask("tick")
    assert front.ask("show", "inc-open")["reports"] == []
    waiting = [(row["subject"], row["mailbox"]) for row in front.ask("requests")["requests"]]
    board = [("Access to our ClickUp board", "success")] * 2
    assert sorted(waiting) == [*board, ("Access to our support board", "success"), ("Out of office", "help")]


@pytest.mark.requirement("R002.6")
def test_the_record_of_a_small_fault_takes_in_no_other_customers_mail(front: Front) -> None:
    front.ask("declare", "A button is grey", "--by", SPEAKER, "--severity", "P3", "--ref", "inc-small")
    front.mail("ask", "ann@opera.example", "How do I export?", FULL)
    front.ask("tick")
    assert front.ask("show", "inc-small")["reports"] == []
    assert len(front.ask("requests")["requests"]) == 1


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


@pytest.mark.requirement("R002.6", "R002.16")
def test_an_answer_to_a_p1_notice_joins_its_incident_and_the_ticket_that_its_sender_has(front: Front) -> None:
    """Named in References alone, as some mail programs do; a client who has no ticket yet gets one there."""
    front.mail("down", "ann@harbor.example", "We are down", FULL, to=front.p1_address())
    front.ask("tick")
    (incident,) = front.ask("list")["incidents"]
    notice = front.ask("show", incident["ref"])["delivered"][f"mail/smtp/{incident['ref']}/notice/harbor@p1"]
    answers = {"References": f"<elsewhere@harbor.example> <{notice}>"}
    away, mails = {"Auto-Submitted": "auto-replied"}, len(front.events("smtp", "mail"))
    front.mail("thanks", "ann@harbor.example", "RE: We are down", "Now the lists, too.", **answers)
    front.mail("boss", "bo@opera.example", "FW: We are down", "So are we.", **answers)
    front.mail("away", "cy@harbor.example", "Out of office", "Back soon.", **answers, **away)
    for _ in range(3):
        front.ask("tick")
    assert [row["ref"] for row in front.ask("list")["incidents"]] == [incident["ref"]]
    assert set(tickets(front)) >= {"We are down", "FW: We are down"} and "RE: We are down" not in tickets(front)
    (note,) = notes(front, tickets(front)["We are down"]["id"])
    assert note.endswith("RE: We are down\n\nNow the lists, too.")
    written = {to for row in front.events("smtp", "mail")[mails:] for to in row["recipients"]}
    assert "bo@opera.example" not in written and "ann@harbor.example" not in written
    front.mail("again", "bo@opera.example", "RE: FW: We are down", "Any news?", **answers)
    front.ask("tick")
    front.ask("tick")
    (note,) = notes(front, tickets(front)["FW: We are down"]["id"])
    assert note.endswith("Any news?") and "RE: FW: We are down" not in tickets(front)
    assert front.complaints() == []


def test_a_mail_without_a_subject_is_called_what_it_is(front: Front) -> None:
    front.mail("mute", "ann@harbor.example", "", FULL)
    front.ask("tick")
    (waiting,) = front.ask("requests")["requests"]
    front.ask("classify", waiting["ref"], "P3", "--by", SPEAKER)
    (incident,) = front.ask("list")["incidents"]
    assert (incident["severity"], incident["title"]) == ("P3", "Mail without a subject")


# ---- while the mail server hangs -------------------------------------------------------------------------------------


class Silent:
    """A mail server that takes every connection and never says a word; it counts them."""

    def __init__(self) -> None:
        self.taken: list[socket.socket] = []
        self._door = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._door.getsockname()[1]
        threading.Thread(target=self._open, daemon=True).start()

    def _open(self) -> None:
        try:
            while True:
                self.taken.append(self._door.accept()[0])
        except OSError:
            return  # closed

    def close(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for connection in self.taken:
            connection.close()


@contextmanager
def hanging(front: Front) -> Iterator[Silent]:
    """The product's mail server is one that hangs; after that it is the estate's again."""
    front.night.policy(waits={"write_deadline_seconds": 2})
    right = front.night.config.read_text(encoding="utf-8")
    silent = Silent()
    start = right.index("[smtp]")
    wrong = right[:start] + re.sub(r"port = \d+", f"port = {silent.port}", right[start:], count=1)
    front.night.config.write_text(wrong, encoding="utf-8")
    try:
        yield silent
    finally:
        silent.close()
        front.night.config.write_text(right, encoding="utf-8")


def receipts(front: Front) -> Counter[str]:
    return Counter(m["recipients"][0] for m in front.events("smtp", "mail") if "received your" in m["subject"])


@pytest.mark.requirement("R003.14", "R003.15")
def test_a_mail_server_that_hangs_delays_no_page_and_is_asked_for_one_receipt_a_round(front: Front) -> None:
    senders = [f"visitor{n}@elsewhere.example" for n in range(6)]
    for n, sender in enumerate(senders):
        front.mail(f"q{n}", sender, f"Question {n}", FULL)
    front.mail("down", "ops@harbor.example", "Everything is down", FULL, to=front.p1_address())
    with hanging(front) as silent:
        first = front.ask("tick", code=3)
        (page,) = front.events("pagerduty", "page")
        assert page["title"] == "P1: Everything is down"
        notices = [e["effect"] for e in first["effects"] if e["effect"].startswith("mail/")]
        assert len(silent.taken) == len(notices) + 1
        assert len(first["problems"]) == 7 and sum("waits for its turn" in p for p in first["problems"]) == 6
        second = front.ask("tick", code=3)
        asked = [p.partition(":")[0] for p in second["problems"] if "waits for its turn" not in p]
        assert len(asked) == 2  # another one than the first time
    front.ask("tick")
    assert receipts(front) == Counter([*senders, "ops@harbor.example"])
    assert front.complaints() == []


def test_a_receipt_that_the_server_puts_off_again_and_again_holds_up_no_other(front: Front) -> None:
    """Every try of it ends a round; all others have their turn before it is tried again."""
    refuse = front.estate.state("smtp").knobs.refuse
    asked: list[str] = []
    mails: dict[str, str] = {}
    for step in ("connect", "mail", "rcpt"):
        mails[step] = ref_of(front.mail(step, f"{step}@elsewhere.example", "Question", FULL))
        refuse[step] = 450  # put off at another step each time: what each mail is open for tells when it was asked
        asked += [p.partition(":")[0] for p in front.ask("tick", code=3)["problems"] if "waits for" not in p]
        refuse.clear()
    assert asked == [mails["connect"], mails["connect"], mails["mail"], *mails.values()]
    refuse["data"] = 450
    problems = front.ask("tick", code=3)["problems"]
    assert [p.partition(":")[0] for p in problems if "450" in p and "DATA" in p] == [mails["connect"]]
    refuse.clear()
    front.ask("tick", code=0)
    assert receipts(front) == Counter(f"{step}@elsewhere.example" for step in mails)
