"""How much of the ledger a round of the intake reads: what is new and open, not what ever came in."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from recovery.act import Runner
from recovery.desk.intake import Intake
from recovery.desk.mailbox import ref_of
from recovery.desk.office import IncidentOffice
from recovery.desk.perform import Desks, Outbox
from recovery.desk.ports import IncomingMail
from recovery.desk.settings import DeskSettings
from recovery.ledger.ledger import Ledger
from recovery.ledger.rows import ActionSpec
from recovery.model import ActionKind, Harm
from recovery.policy import Policy
from tests.desk.stage import P1_ADDRESS, START


@dataclass
class StillClock:
    """A clock that stands where it is put."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def intake_of(ledger: Ledger, desk: DeskSettings, clock: StillClock) -> Intake:
    runner = Runner(ledger, clock, Policy(()), lambda *_: None, "run", lambda: "")
    return Intake(IncidentOffice(Outbox(runner, Desks(), desk, b"secret"), desk), desk)


def mails(count: int, to: str = P1_ADDRESS) -> Sequence[IncomingMail]:
    return [IncomingMail(f"m{n}@acme", START, "ann@acme.example", (to,), f"Down {n}", "") for n in range(count)]


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
async def intake(tmp_path: Path, desk: DeskSettings, clock: StillClock) -> AsyncIterator[Intake]:
    async with await Ledger.open(f"sqlite:///{tmp_path}/ledger.db", tmp_path / "state") as ledger:
        yield intake_of(ledger, desk, clock)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each stream was read."""
    counted: Counter[str] = Counter()
    stream = Ledger.stream

    async def counting(self: Ledger, name: str) -> object:
        counted[name] += 1
        return await stream(self, name)

    monkeypatch.setattr(Ledger, "stream", counting)
    return counted


async def test_an_incident_is_read_once_a_round_however_many_mails_belong_to_it_and_not_when_it_is_long_over(
    intake: Intake, clock: StillClock, read: Counter[str]
) -> None:
    await intake.take_mails(mails(12))
    (incident,) = await intake.office.incidents()
    assert {r.ref for r in incident.reports} == {ref_of(f"m{n}@acme") for n in range(12)}
    read.clear()
    await intake.round()
    assert read[f"incident/{incident.ref}"] == 1
    clock.at += timedelta(days=31)
    read.clear()
    await intake.round()
    assert read[f"incident/{incident.ref}"] == 0


async def test_mails_that_come_together_are_journalled_with_one_look_at_what_came_before(
    intake: Intake, read: Counter[str]
) -> None:
    given = [*mails(12, "help@cxconnect.ai"), *mails(1, "help@cxconnect.ai")]  # one of them twice
    await intake.journal(given)
    assert read == {"intake": 1}
    assert [c.mail.subject for c in await intake.waiting() if c.mail] == [f"Down {n}" for n in range(12)]


async def test_nothing_joins_an_incident_that_was_forgotten_open_a_month_ago(intake: Intake, clock: StillClock) -> None:
    await intake.take_mails(mails(1))
    clock.at += timedelta(days=31)
    later = IncomingMail("new@acme", clock.at, "ann@acme.example", (P1_ADDRESS,), "Down again", "")
    await intake.take_mails([later])
    assert [i.title for i in await intake.office.incidents()] == ["Down again", "Down 0"]


async def test_an_incident_that_has_been_over_for_a_month_is_not_read_by_a_round(
    intake: Intake, clock: StillClock, read: Counter[str]
) -> None:
    await intake.take_mails(mails(1))
    clock.at += timedelta(days=31)
    await intake.take_mails([IncomingMail("new@acme", clock.at, "ann@acme.example", (P1_ADDRESS,), "Again", "")])
    new, old = await intake.office.incidents()
    read.clear()
    done = await intake.office.round()
    assert list(done.told) == [new.ref]
    assert read[f"incident/{old.ref}"] == 0 < read[f"incident/{new.ref}"]


@pytest.mark.requirement("R002.16")
async def test_a_customer_who_answers_an_own_reply_has_still_the_one_request(intake: Intake) -> None:
    """ "One more thing", sent as an answer to one's own last mail, became a request with a receipt of its own."""
    to = ("help@cxconnect.ai",)
    for ref, about in (("m1@acme", ""), ("m2@acme", "m1@acme"), ("m3@acme", "m2@acme"), ("m4@acme", "m3@acme")):
        mail = IncomingMail(ref, START, "ann@acme.example", to, "Late", f"text of {ref}", about)
        await intake.journal([mail])
        await intake.journal([mail])
    (came,) = await intake.waiting()
    assert [reply.message_ref for reply in came.replies] == ["m2@acme", "m3@acme", "m4@acme"]


async def test_an_answer_to_a_mail_of_an_incident_that_is_archived_waits_like_any_other(intake: Intake) -> None:
    """No round may stumble over an incident that is not there any more."""
    ledger = intake.office.outbox.runner.ledger
    await ledger.ensure([ActionSpec("OURKEY", "incident/inc-gone", "acme", ActionKind.MAIL, Harm.H3, "notice")])
    to = ("help@cxconnect.ai",)
    mail = IncomingMail("late@acme", START, "ann@acme.example", to, "RE: notice", "Thanks.", "OURKEY@desk.example")
    await intake.take_mails([mail])
    assert [c.signal.ref for c in await intake.waiting()] == [ref_of("late@acme")]
