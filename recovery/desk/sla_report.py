"""How promises were kept, per severity and client (R003.49). Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from recovery.desk.clocks import RCA, clocks_for
from recovery.desk.incident import Incident
from recovery.desk.settings import DeskSettings
from recovery.desk.sla import Reading, SlaClock, read


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One promise of one severity to one client. `kept` is the share of finished ones that were met; None when none is.

    `longest` is in the time that `target` counts. `not_agreed` clocks are counted apart and never as kept.
    """

    severity: str
    client: str
    promise: str
    target: str
    total: int
    met: int
    missed: int
    running: int
    overdue: int
    not_agreed: int
    longest: timedelta

    @property
    def kept(self) -> float | None:
        """Met out of all that are decided: met, missed and overdue."""
        decided = self.met + self.missed + self.overdue
        return self.met / decided if decided else None


def sla_report(
    settings: DeskSettings, incidents: Iterable[Incident], start: datetime, end: datetime, now: datetime
) -> tuple[ReportRow, ...]:
    """A row per severity, client, promise and target for clocks started in [start, end), as read at `now`."""
    groups: dict[tuple[str, str, str, str], list[Reading]] = defaultdict(list)
    for incident in incidents:
        for clock in clocks_for(settings, incident):
            if start <= clock.started_at < end:
                reading = read(clock, now)
                key = (incident.severity, _client(settings, incident, clock), clock.name, reading.target)
                groups[key].append(reading)
    return tuple(_row(*key, groups[key]) for key in sorted(groups))


def _row(severity: str, client: str, promise: str, target: str, readings: list[Reading]) -> ReportRow:
    count = {state: sum(r.state == state for r in readings) for state in ("met", "missed", "overdue", "not agreed")}
    return ReportRow(
        severity,
        client,
        promise,
        target,
        total=len(readings),
        met=count["met"],
        missed=count["missed"],
        running=len(readings) - sum(count.values()),
        overdue=count["overdue"],
        not_agreed=count["not agreed"],
        longest=max(r.used for r in readings),
    )


def _client(settings: DeskSettings, incident: Incident, clock: SlaClock) -> str:
    report = incident.report(clock.about)
    account = report.account if report else clock.about if clock.name == RCA else ""
    client = settings.desk.clients.get(account)
    return client.name if client else account or "everyone"
