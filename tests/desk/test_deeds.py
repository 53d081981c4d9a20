"""How effects are done at the desks and seen to be there, with a ledger and desks that crash or lose a reply."""

from __future__ import annotations

import html
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recovery.act import Runner
from recovery.desk import rules
from recovery.desk.deeds import Desks
from recovery.desk.office import IncidentOffice
from recovery.desk.outbox import Effect
from recovery.desk.perform import Outbox
from recovery.desk.ports import StatusDraft, StatusIncident, StatusUpdate
from recovery.desk.rules import Declaration
from recovery.desk.settings import DeskSettings
from recovery.errors import Unavailable
from recovery.ledger.ledger import Ledger
from recovery.model import ActionKind, AttemptOutcome, OpenAttempt, System, WriteResult
from recovery.policy import Policy
from recovery.ports import TicketDraft, TicketRef
from tests.desk.test_intake_reads import StillClock


@dataclass
class Links:
    """A ticket desk with one ticket. `lost` writes get no answer: those of `unwritten` had no effect either."""

    kept: dict[str, bool | None] = field(default_factory=dict)
    lost: int = 0
    unwritten: int = 0
    shows_state: bool = True
    calls: int = 0

    async def links(self, key: str) -> dict[str, bool | None]:
        return self.kept

    async def link(
        self, key: str, global_id: str, title: str, url: str, resolved: bool, attempt: OpenAttempt
    ) -> WriteResult:
        self.calls += 1
        if self.calls > self.unwritten:
            self.kept[global_id] = resolved if self.shows_state else None
        if self.calls <= self.lost:
            return WriteResult(AttemptOutcome.UNKNOWN, detail="no answer")
        return WriteResult(AttemptOutcome.APPLIED, ref="10001")


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    async with await Ledger.open(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "state") as opened:
        yield opened


def outbox_of(ledger: Ledger, desk: DeskSettings, **desks: Any) -> Outbox:
    runner = Runner(ledger, StillClock(datetime.now(UTC)), Policy(()), lambda *_: None, "run", lambda: "")
    return Outbox(runner, Desks(**desks), desk, b"secret")


def link_effect(resolved: bool) -> Effect:
    payload = {"key": "INC-1", "global_id": "allclear:r1", "title": "t", "url": "https://z.example/1"}
    slot = "resolved-0" if resolved else "link-0"
    return Effect(ActionKind.TICKET_LINK, System.JIRA, "r1", slot, {**payload, "resolved": resolved})


async def rounds(outbox: Outbox, effect: Effect, most: int = 6) -> Sequence[bool]:
    """Whether each round, an hour apart, found or made it, up to the first that did."""
    done: list[bool] = []
    while len(done) < most and not any(done):
        done.append((await outbox.alone(effect, "inc")).done)
        await outbox.runner.clock.sleep(3600)
    return done


@pytest.mark.requirement("R002.12")
@pytest.mark.parametrize("shows_state", [True, False])
async def test_a_link_whose_striking_through_was_lost_is_struck_through(
    ledger: Ledger, desk: DeskSettings, shows_state: bool
) -> None:
    """The open link was taken for the resolved one, and the ticket showed a customer's ticket as open for ever."""
    jira = Links(shows_state=shows_state)
    outbox = outbox_of(ledger, desk, tickets=jira)
    assert (await outbox.alone(link_effect(False), "inc")).done
    jira.lost, jira.unwritten = 2, 2
    assert any(await rounds(outbox, link_effect(True)))
    assert jira.kept["allclear:r1"] is (True if shows_state else None)


@pytest.mark.requirement("R002.12")
async def test_a_link_that_is_as_it_should_be_is_not_set_again(ledger: Ledger, desk: DeskSettings) -> None:
    """The reply was lost, the effect was not."""
    jira = Links(lost=1)
    assert any(await rounds(outbox_of(ledger, desk, tickets=jira), link_effect(True)))
    assert (jira.calls, jira.kept["allclear:r1"]) == (1, True)


@dataclass
class Tickets(Links):
    """A ticket desk that finds its tickets; the reply to the first one is lost, with its effect."""

    filed: list[TicketDraft] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    down: bool = True

    async def find(self, marker: str) -> Sequence[TicketRef]:
        if self.down:
            raise Unavailable("jira", "", "down")
        return [TicketRef("1", "INC-1", "") for draft in self.filed if draft.marker == marker]

    async def file(self, draft: TicketDraft, attempt: OpenAttempt) -> WriteResult:
        self.filed.append(draft)
        self.down = True
        return WriteResult(AttemptOutcome.UNKNOWN, detail="no answer")

    async def comment(self, key: str, paragraphs: Sequence[str], marker: str, attempt: OpenAttempt) -> WriteResult:
        self.comments.append(f"{marker} {paragraphs}")
        return WriteResult(AttemptOutcome.APPLIED, ref="7")

    async def has_comment(self, key: str, marker: str) -> bool:
        return any(marker in comment for comment in self.comments)


@pytest.mark.requirement("R002.8", "R002.11")
async def test_what_was_learnt_while_a_tickets_reply_was_lost_comes_as_a_comment(
    ledger: Ledger, desk: DeskSettings
) -> None:
    """It was learnt before the ticket was known to be there, and after its text was made: it stood nowhere on it."""
    jira = Tickets(down=False)
    office = IncidentOffice(outbox_of(ledger, desk, tickets=jira), desk)
    engineer, now = "engineer.on.call", office.clock.now()
    said = Declaration("No mails", "person", "x", ("P1",), "subset", "outage", "production", "UTC", now)
    ref = (await office.declare(engineer, said, "inc-1")).ref
    await office.deliver(ref)
    assert len(jira.filed) == 1 and jira.down
    await office.step(ref, lambda _i: [rules.record_fact(desk, engineer, now, "symptoms", ("pending send",))])
    jira.down = False
    for _ in range(3):
        await office.clock.sleep(3600)
        await office.deliver(ref)
    assert len(jira.filed) == 1
    assert sum("symptoms: pending send" in comment for comment in jira.comments) == 1


@dataclass
class PublicPage:
    """One public incident. The page trims and escapes what it is given; the replies to the first `lost` are lost."""

    said: list[tuple[str, str]] = field(default_factory=list)
    posted: list[str] = field(default_factory=list)
    lost: int = 0

    async def incident(self, ref: str) -> StatusIncident:
        # A page whose clock is an hour behind ours.
        at = datetime.now(UTC) - timedelta(hours=1)
        return StatusIncident(ref, "", "", "", "", tuple(StatusUpdate(status, body, at) for status, body in self.said))

    async def update(self, ref: str, draft: StatusDraft, attempt: OpenAttempt) -> WriteResult:
        self.posted.append(draft.body)
        self.said.append((draft.status, html.escape(draft.body.strip()).replace("\n\n", "\r\n")))
        if len(self.posted) <= self.lost:
            return WriteResult(AttemptOutcome.UNKNOWN, detail="no answer")
        return WriteResult(AttemptOutcome.APPLIED, ref=ref)


WORDS = "  We're looking at it.\n\nNothing is lost & nobody needs to act. "


def update_effect(said_before: int) -> Effect:
    draft = StatusDraft("", "Mail", "investigating", WORDS)
    payload = {"op": "update", "ref": "p1", "draft": draft, "said_before": said_before}
    return Effect(ActionKind.STATUS_POST, System.STATUSPAGE, "inc-1/0", f"post-{said_before + 2}", payload)


@pytest.mark.parametrize("lost", [0, 1])
async def test_a_public_update_is_known_by_its_words_however_the_page_lays_them_out(
    ledger: Ledger, desk: DeskSettings, lost: int
) -> None:
    page = PublicPage(lost=lost)
    assert any(await rounds(outbox_of(ledger, desk, status=page), update_effect(0)))
    assert len(page.posted) == 1


async def test_the_same_words_again_are_posted_again_and_once(ledger: Ledger, desk: DeskSettings) -> None:
    """An earlier update with these words, whatever time the page gives it, is not the one that is to be posted."""
    page = PublicPage(said=[("identified", WORDS)], lost=2)
    outbox = outbox_of(ledger, desk, status=page)
    for said_before in (0, 1):
        assert any(await rounds(outbox, update_effect(said_before)))
    assert len(page.posted) == 2
