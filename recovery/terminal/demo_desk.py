"""The demo's last part: the incident desk, from the declaration to the delivered analysis, on the same estate."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from recovery.desk import rules
from recovery.desk.escalation import p1_results
from recovery.desk.facts import with_ledger
from recovery.desk.incident import Incident, Report
from recovery.desk.office import IncidentOffice
from recovery.desk.outbox import effects_for, expires_at
from recovery.desk.rca import Counts, FollowUp, RcaFacts
from recovery.desk.round import desk_round
from recovery.desk.rules import Declaration
from recovery.desk.settings import Phase
from recovery.desk_wiring import DeskSystems, open_desk_systems
from recovery.model import System, iso
from recovery.settings import load_settings
from recovery.terminal.rehearsal_desk import ENGINEER, SPEAKER

Say = Callable[[str], None]
WIDTH = 80
PLACES = {
    System.ZENDESK: "customer tickets",
    System.SLACK: "chat",
    System.STATUSPAGE: "status page",
    System.PENDO: "in-app guide",
    System.JIRA: "incident ticket",
}


@dataclass(slots=True)
class DeskPlay:
    """One incident being shown. `say` prints a line; `done` is whether everything was delivered."""

    config: Path
    ref: str
    began: datetime
    say: Say
    done: bool = False

    async def play(self, pass_time: Callable[[timedelta], Awaitable[None]]) -> bool:
        """Declares, tells, resolves, analyses; then lets an hour pass, in which the last notice comes down."""
        async with open_desk_systems(load_settings(self.config)) as desk:
            office = IncidentOffice(desk.outbox(), desk.desk)
            await self._declare(desk, office)
            await self._reports(desk, office)
            await self._announce(office, "investigating")
            await office.step(
                self.ref, lambda _: [rules.give_eta(desk.desk, ENGINEER, office.clock.now(), "within the hour")]
            )
            await self._announce(office, "identified")
            words = "the platform sends again"
            await office.step(
                self.ref, lambda _: [rules.confirm_resolved(desk.desk, ENGINEER, office.clock.now(), words)]
            )
            self.say(f"   {ENGINEER} (Engineering) confirms: {words}.")
            resolved = await self._announce(office, "resolved")
            await self._analyse(desk, office)
            due = expires_at(resolved, desk.desk)
        await pass_time(timedelta(minutes=61))
        async with open_desk_systems(load_settings(self.config)) as desk:
            await self._an_hour_later(desk, due)
        return self.done

    async def _declare(self, desk: DeskSystems, office: IncidentOffice) -> None:
        now = office.clock.now()
        said = Declaration(
            title="Campaigns and jobs did not run while the platform was down",
            source="person",
            source_ref=self.ref,
            severities=("P1",),
            scope="entire",
            kind="outage",
            environment="production",
            time_zone="UTC",
            noticed_at=now,
            started_at=self.began,
            steps=("Schedule a campaign", "Wait for its time"),
            symptoms=("Campaigns stay in pending send", "jobs hang"),
        )
        await office.declare(ENGINEER, said, self.ref)
        await office.deliver(self.ref)
        incident = await office.incident(self.ref)
        self.say(f"\n6. The incident desk. {ENGINEER} declares a P1; this is set off, all together:")
        told = Counter((r.event, r.result) for r in p1_results(desk.desk, incident))
        for (event, result), count in told.items():
            self.say(f"   {event.replace('_', ' '):<15} {result}{f' ({count} clients)' if count > 1 else ''}")

    async def _reports(self, desk: DeskSystems, office: IncidentOffice) -> None:
        now = office.clock.now()
        for name, account in zip(("Ann", "Bob"), desk.desk.desk.clients, strict=False):
            report = Report(
                f"{self.ref}-{name}", account, name, f"{name.lower()}@{account}.example", "Nothing was sent",
                "Our newsletter did not go out.", now,
            )  # fmt: skip
            await office.step(self.ref, lambda _i, r=report: [rules.add_report("allclear", r, now)])  # type: ignore[misc]
        await office.deliver(self.ref)
        incident = await office.incident(self.ref)
        made = [e for e in incident.delivered if e.startswith("customer_ticket/")]
        linked = [e for e in incident.delivered if e.startswith("ticket_link/")]
        filed = incident.delivered[f"ticket/jira/{self.ref}@incident"].ref
        self.say(f"   Customers write: {len(made)} tickets, {len(linked)} of them linked to {filed}.")

    async def _announce(self, office: IncidentOffice, phase: Phase) -> Incident:
        words = await office.prepare(self.ref, SPEAKER, phase)
        before = set((await office.incident(self.ref)).delivered)
        await office.approve(self.ref, ENGINEER, words.digest)
        await office.deliver(self.ref)
        incident = await office.incident(self.ref)
        told = {e.split("/")[1] for e in set(incident.delivered) - before}
        places = ", ".join(name for system, name in PLACES.items() if system.value in told)
        self.say(f"\n   {words.title}")
        for line in words.body.splitlines():
            self._wrapped(line, "   | ")
        self._wrapped(f"{SPEAKER} wrote it, {ENGINEER} approved it; told: {places}.", "   ")
        return incident

    async def _analyse(self, desk: DeskSystems, office: IncidentOffice) -> None:
        said = RcaFacts(
            counts=Counts(),
            trigger="the platform's outage",
            causes=("scheduled work has no retry of its own",),
            temporary_fix="what was missed was recovered",
            permanent_fix="an audit every hour",
            follow_ups=(FollowUp("Hourly audit", ENGINEER, (office.clock.now() + timedelta(days=7)).date()),),
            summary_for_customers="Scheduled sends and imports stood still for two hours.",
            causes_for_customers="The platform was down.",
        )
        draft = await office.draft_rca(self.ref, ENGINEER, await with_ledger(desk, self.ref, said), preliminary=False)
        self.say("\n7. The root-cause analysis, drafted from the ledger.")
        self._wrapped(draft.title, "   ")
        impact = dict(draft.sections)["Impact"]
        for line in (line for line in impact if line.startswith(("Duration", "Needed", "Recipients"))):
            self._wrapped(line, "   | ")
        await office.approve_rca(self.ref, ENGINEER, draft.digest)
        await office.deliver(self.ref)
        incident = await office.incident(self.ref)
        mails = sum("/rca/" in e for e in incident.delivered)
        self.say(f"   {ENGINEER} approves it; it is sent to {mails} clients, and that stops their clocks:")
        clocks = await office.clocks(self.ref)
        for name in dict.fromkeys(clock.name for clock, _ in clocks):
            readings = [reading for clock, reading in clocks if clock.name == name]
            self._wrapped(f"{name}, {len(readings)} clocks, the first: {readings[0]}", "   | ")

    async def _an_hour_later(self, desk: DeskSystems, due: datetime | None) -> None:
        await desk_round(desk)
        office = IncidentOffice(desk.outbox(), desk.desk)
        incident = await office.incident(self.ref)
        down = next((d for e, d in incident.delivered.items() if "@expiry-" in e), None)
        when = f"down at {iso(down.at)}" if down else "STILL UP"
        self.say("\n   An hour passes on the estate's clock.")
        self._wrapped(f"The last notice was due to come down at {iso(due) if due else '-'}: {when}.", "   ")
        waiting = effects_for(incident, office.clock.now(), desk.desk)
        self.done = down is not None and not waiting
        for effect in waiting:
            self.say(f"   OPEN {effect.name}")

    def _wrapped(self, text: str, margin: str) -> None:
        for line in textwrap.wrap(text, WIDTH - 1, initial_indent=margin, subsequent_indent=margin):
            self.say(line)
