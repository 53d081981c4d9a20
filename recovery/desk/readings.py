"""What the desks say by themselves: people's answers and customers' replies on tickets, and who took the page.

Read on a schedule; every reading becomes an event once, with the time at which it happened at the remote.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from recovery.desk import outbox, rules
from recovery.desk.incident import Change, Incident, Report
from recovery.desk.perform import Outbox
from recovery.desk.ports import TicketComment
from recovery.errors import RemoteError

MOST_TICKETS = 40
"""Read in one round, in turn: the customer desk's rate is shared with everything that must be said there."""
AFTER_RESOLUTION = timedelta(days=3)


@dataclass(slots=True)
class Readings:
    """Reads what belongs to one incident and records what is new."""

    outbox: Outbox

    async def read(self, incident: Incident) -> tuple[str, ...]:
        """What could not be read, in words; raises LedgerError only."""
        now = self.outbox.runner.clock.now()
        if incident.resolved_at is not None and now - incident.resolved_at > AFTER_RESOLUTION:
            return ()
        problems: list[str] = []
        for name, part in (("page", self._page), ("tickets", self._tickets)):
            try:
                await part(incident, now)
            except RemoteError as error:
                problems.append(f"{name} of {incident.ref}: {error}")
        return tuple(problems)

    async def _page(self, incident: Incident, now: datetime) -> None:
        pager = self.outbox.desks.pager
        sent = incident.delivered.get(f"page/pagerduty/{incident.ref}@page-{incident.generation}")
        if pager is None or sent is None or incident.page_acknowledged is not None or incident.resolved_at is not None:
            return
        page = await pager.find(sent.ref)
        if page is None or page.acknowledged_at is None:
            return
        by, at = page.acknowledged_by or "the pager", min(page.acknowledged_at, now)

        def decide(i: Incident) -> Sequence[Change]:
            return () if i.page_acknowledged else (rules.acknowledge_page(i, by, at, f"seen at the pager: {page.ref}"),)

        await self.outbox.step(incident.ref, decide)

    async def _tickets(self, incident: Incident, now: datetime) -> None:
        desk = self.outbox.desks.customers
        if desk is None:
            return
        for report, ref in _in_turn(incident, now):
            comments = await desk.comments(ref)

            def decide(i: Incident, r: Report = report, c: Sequence[TicketComment] = comments) -> Sequence[Change]:
                return tuple(news(i, r, c, now))

            await self.outbox.step(incident.ref, decide)


def news(incident: Incident, report: Report, comments: Sequence[TicketComment], now: datetime) -> Iterator[Change]:
    """The comments that no event tells of yet. The ticket's first comment is what the customer reported."""
    answered = {r.at for r in incident.responses if r.report_ref == report.ref}
    replied = {at for ref, at in incident.replies if ref == report.ref}
    for comment in comments[1:]:
        if comment.author == "agent" and comment.public and comment.at not in answered:
            by = f"agent on ticket comment {comment.ref}"
            yield rules.record_response(by, now, report.ref, human=True, public=True, answered_at=comment.at)
        elif comment.author == "customer" and comment.at not in replied:
            yield rules.record_reply(report.ref, now, comment.at)


def _in_turn(incident: Incident, now: datetime) -> list[tuple[Report, str]]:
    """At most so many tickets at once, another part of them every minute."""
    known = [(r, t.ref) for r in incident.reports if (t := outbox.ticket_of(incident, r)) is not None]
    if len(known) <= MOST_TICKETS:
        return known
    start = int(now.timestamp() // 60) * MOST_TICKETS % len(known)
    return [*known[start:], *known[:start]][:MOST_TICKETS]
