"""One incident from the first alert to the delivered analysis, with every desk and the program itself dying on the way.

Each step is what a person types at a terminal; between the steps a desk does its work, the program is killed before it
can write that down, and the desk dies too. `play` returns what was seen on the way; the journals hold the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.cli.program import Ran
from tests.desk_played.front import DESKS, ENGINEER, SPEAKER, Front

FULL = "Environment: production\nStarted at: 03:00\nSteps: schedule a campaign\nSymptoms: nothing is sent\nImpact: all"
MAILBOX = {"notice": "We are on it", "rca": "Root Cause Analysis"}


@dataclass
class Played:
    """The front after the story, and views taken on the way."""

    front: Front
    ref: str = ""
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: dict[str, Ran] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self.views[name]


def play(front: Front) -> Played:
    """The whole story."""
    played = Played(front)
    for step in (noticed, reported, worked_on, announced, resolved, analysed):
        step(front, played)
    return played


def noticed(front: Front, played: Played) -> None:
    """Monitoring sounds while every desk is dead; the program is killed while it tries, and called again."""
    alert = ("incident", "alert", "mon-1", "--text", "No mail has left for 10 minutes", "--service", "campaigns")
    front.down()
    front.killed_when(lambda: b"No mail has left" in front.ledger(), *alert)
    front.up()
    front.wait(minutes=1)
    played.views["alert"] = front.ask(*alert[1:])
    played.ref = played["alert"]["ref"]
    settle(front, played)
    front.run("incident", "alert", "mon-1", "--text", "the same alert once more")


def reported(front: Front, played: Played) -> None:
    """Customers write; the program dies when the first ticket is there."""
    front.mail("ann", "ann@opera.example", "Nothing is sent", FULL)
    front.mail("bob", "bob@harbor.example", "P1: we are down", FULL, to=front.p1_address())
    front.mail("cat", "cat@quay.example", "please help", "hello", to="success@cxconnect.ai")
    front.killed_after("zendesk", "ticket_create", "ticket_created", "incident", "tick")
    settle(front, played)
    front.mail("late", "dan@opera.example", "Us too", FULL)
    settle(front, played)
    given = ("--report", "call-1", "--account", "harbor", "--subject", "They rang", "--email", "eve@harbor.example",
             "--by", SPEAKER)  # fmt: skip
    front.ask("report", played.ref, *given)
    front.ask("report", played.ref, *given)
    settle(front, played)


def worked_on(front: Front, played: Played) -> None:
    """Facts, everyone affected, a second team, and the page that somebody takes at the pager."""
    ref = played.ref
    front.wait(minutes=6)
    played.views["unanswered"] = front.ask("tick")
    (page,) = front.estate.state("pagerduty").incidents.values()
    front.estate.state("pagerduty").set_status(front.estate.world, page, "acknowledged", ENGINEER)
    facts = ("--set", "symptoms=campaigns stay in pending send", "--set", "steps=schedule a campaign")
    front.ask("update", ref, "--by", ENGINEER, *facts, "--set", "started_at=2026-11-01T08:00:00Z")
    front.killed_after(
        "jira", "issue_create", "issue_created", "incident", "engage", ref, "--by", ENGINEER, "--team", "database",
        "--scope", "entire",
    )  # fmt: skip
    settle(front, played)


def announced(front: Front, played: Played) -> None:
    """Two phases and an update; chat, status page and in-app die in the middle of each."""
    ref = played.ref
    played.refused["skip"] = front.run("incident", "announce", ref, "identified", "--by", SPEAKER)
    played.refused["stranger"] = front.run("incident", "announce", ref, "investigating", "--by", "Mallory")
    words = front.ask("announce", ref, "investigating", "--by", SPEAKER, code=3)
    played.views["investigating"] = words
    approve = ("incident", "approve", ref, words["digest"][:12], "--by", ENGINEER)
    front.killed_after("statuspage", "incident_create", "incident_created", *approve)
    settle(front, played)
    front.wait(minutes=31)
    played.views["overdue"] = front.ask("tick")
    words = front.ask("announce", ref, "update", "--by", SPEAKER, "--reason", "We restart the queues.", code=3)
    front.down("zendesk")
    played.views["desk down"] = front.ask("approve", ref, words["digest"], "--by", ENGINEER)
    front.up("zendesk")
    settle(front, played)
    front.ask("update", ref, "--by", ENGINEER, "--eta", "about 10:30 UTC")
    words = front.ask("announce", ref, "identified", "--by", SPEAKER, code=3)
    played.views["identified"] = words
    approve = ("incident", "approve", ref, words["digest"][:12], "--by", ENGINEER)
    front.killed_after("pendo", "guide_state", "guide_state", *approve)
    settle(front, played)
    front.killed_after(
        "clickup", "task_create", "task_created", "incident", "update", ref, "--by", ENGINEER, "--severity", "P2",
        "--reason", "sends are possible by hand",
    )  # fmt: skip
    settle(front, played)


def resolved(front: Front, played: Played) -> None:
    """Engineering confirms, customers are told, the page ends, and the notice comes down after its hour."""
    ref = played.ref
    played.refused["pause"] = front.run("incident", "pause", ref, "--by", "Mallory")
    played.refused["declare"] = front.run("incident", "declare", "again", "--by", "Mallory", "--ref", ref)
    played.refused["report"] = front.run(
        "incident", "report", ref, "--report", "r", "--account", "quay", "--subject", "x", "--by", "Mallory"
    )
    played.refused["unconfirmed"] = front.run("incident", "announce", ref, "resolved", "--by", SPEAKER)
    played.refused["not engineering"] = front.run("incident", "confirm", ref, "--by", SPEAKER)
    front.ask("confirm", ref, "--by", ENGINEER, "--words", "queues are empty")
    words = front.ask("announce", ref, "resolved", "--by", SPEAKER, code=3)
    played.views["resolved"] = words
    approve = ("incident", "approve", ref, words["digest"][:12], "--by", ENGINEER)
    front.killed_after("slack", "post_message", "message", *approve)
    settle(front, played)
    front.wait(minutes=61)
    front.down("pendo")
    played.views["still up"] = front.ask("tick")
    front.up("pendo")
    front.killed_after("pendo", "guide_state", "guide_state", "incident", "tick")
    settle(front, played)


def analysed(front: Front, played: Played) -> None:
    """A preliminary analysis, approved by name; a mail server that loses its answer leaves a question for a person."""
    ref = played.ref
    said = (
        "--trigger", "storage failover", "--cause", "lost queue", "--temporary-fix", "queue restarted",
        "--permanent-fix", "two queues", "--action", f"second queue; {ENGINEER}; 2026-11-30; OPS-7",
        "--for-customers", "Campaigns waited for two hours.", "--cause-for-customers", "A storage fault.",
    )  # fmt: skip
    played.views["draft"] = front.ask("rca", ref, "--by", ENGINEER, *said, code=3)
    played.views["before delivery"] = front.ask("clocks", ref)
    played.refused["rca draft"] = front.run("incident", "rca", ref, "--by", "Mallory")
    played.refused["rca"] = front.run("incident", "approve-rca", ref, played["draft"]["digest"][:12], "--by", SPEAKER)
    front.estate.state("smtp").knobs.lose_answer = True
    front.ask("approve-rca", ref, played["draft"]["digest"][:12], "--by", ENGINEER)
    front.estate.state("smtp").knobs.lose_answer = False
    front.down("smtp")
    front.up("smtp")
    settle(front, played)
    played.views["end"] = front.ask("show", ref, code=0)
    played.views["clocks"] = front.ask("clocks", ref)


def settle(front: Front, played: Played, most: int = 8) -> None:
    """Rounds, with a minute between, until nothing waits; a mail in doubt is looked up in its mailbox."""
    view: dict[str, Any] = {}
    for _ in range(most):
        view = front.ask("tick")
        if view["exit_code"] == 0:
            return
        for effect in view["effects"]:
            if effect["effect"].startswith("mail/") and "What is true?" in effect["text"]:
                answer(front, played, effect["effect"])
        for problem in view["problems"]:
            if "What is true?" in problem:
                request, slot = (part.split(" ")[0] for part in problem.split(": ")[:2])
                subject = "We have received" if slot == "acknowledgement" else "We need a little more"
                choice = "it happened" if _arrived(front, subject, request) else "it did not happen"
                front.ask("answer", request, slot, choice, "--by", SPEAKER, "--reason", "looked", code=0)
                played.doubts.append(f"{request} {slot}: {choice}")
        front.wait(minutes=1)
    raise AssertionError(view)


def answer(front: Front, played: Played, effect: str) -> None:
    """A person looks into the customer's mailbox and says what is there."""
    _, _, _, what, rest = effect.split("/")
    account = rest.partition("@")[0]
    there = _arrived(front, MAILBOX[what], f"it@{account}.example")
    choice = "it happened" if there else "it did not happen"
    front.ask("answer", played.ref, effect, choice, "--by", SPEAKER, "--reason", "looked into the mailbox")
    played.doubts.append(f"{effect}: {choice}")


def _arrived(front: Front, subject: str, to: str) -> bool:
    mails = front.events("smtp", "mail")
    return any(subject in m["subject"] and (to in m["recipients"] or "@" not in to) for m in mails)


__all__ = ["DESKS", "Played", "play"]
