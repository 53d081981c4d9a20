"""One round of the incident desk: mails, clocks, expiries, overdue updates, the outbox; and what is new to tell.

The terminal (`allclear incident tick`) and the schedule (deployment `watch`) make the same round on the same ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from recovery.desk.happenings import STREAM, happenings, latest
from recovery.desk.intake import Intake
from recovery.desk.mail_file import Maildir
from recovery.desk.office import QUIET, IncidentOffice
from recovery.desk.perform import Told
from recovery.desk_wiring import DeskSystems
from recovery.errors import LedgerConflict
from recovery.happening import Happening


@dataclass(frozen=True, slots=True)
class DeskRound:
    """What one round did, what could not be read, and what is new to tell."""

    told: Mapping[str, tuple[Told, ...]]
    problems: tuple[str, ...]
    happenings: tuple[Happening, ...]

    @property
    def waiting(self) -> bool:
        """Whether something could not be read or is still to be delivered."""
        return bool(self.problems) or any(not one.done for told in self.told.values() for one in told)


async def desk_round(desk: DeskSystems) -> DeskRound:
    """Does everything that is due now, once. Raises LedgerError only; a desk that is down is in the result."""
    office = IncidentOffice(desk.outbox(), desk.desk)
    intake, problems = Intake(office, desk.desk), []
    settings, now = desk.systems.settings, desk.systems.clock.now()
    if settings.maildir is not None:
        folder = settings.path(settings.maildir)
        if not (folder / "new").is_dir():
            problems.append(f"Mails are not read: {folder} has no folder `new`, so it is no Maildir.")
        await intake.fetch(Maildir(folder, now))
    # What is new becomes an incident and is paged before a receipt is sent: a mail server that hangs delays no page.
    await intake.place()
    done = await office.round(QUIET)
    await intake.answer()
    await intake.warn()
    problems += [f"{ref}: {answer} to the customer: {why}" for ref, answer, why in await intake.open_answers()]
    return DeskRound(done.told, (*problems, *done.problems), await _news(desk, office))


async def _news(desk: DeskSystems, office: IncidentOffice) -> tuple[Happening, ...]:
    """What is new since the last round that told anything; recorded before it is told, and told again for a while."""
    ledger, now = desk.systems.ledger, desk.systems.clock.now()
    incidents = await office.incidents(QUIET)
    events = await ledger.stream(STREAM)
    until = events[-1].at if events else None
    newest = latest(incidents)
    if newest is not None and (until is None or newest > until):
        with suppress(LedgerConflict):  # another round has just told the same
            await ledger.append(STREAM, "told", "allclear", newest, {}, len(events))
    return happenings(incidents, until, now)
