"""How promises were kept, per severity and client (R003.49), and what is measured without a promise. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from recovery.desk.clocks import EVERYONE, RCA, clocks_for, resolved_lag, time_to_triage
from recovery.desk.escalation import time_to_acknowledge
from recovery.desk.incident import Incident
from recovery.desk.settings import DeskSettings
from recovery.desk.sla import Reading, SlaClock, read

MEASURED = "measured"
MEASURES: Mapping[str, Callable[[Incident], timedelta | None]] = {
    "time to triage": time_to_triage,
    "page answered": time_to_acknowledge,
    "all-clear told": resolved_lag,
}
"""Times that nobody has promised: their target reads "measured" (R002.14, R003.11, R003.20)."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One promise of one severity to one client. `kept` is the share of finished ones that were met; None when none is.

    `longest` is in the time that `target` counts. `not_agreed` clocks are counted apart and never as kept. What is
    measured without a promise has a total and a longest alone.
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
    """A row per severity, client, promise and target for clocks started in [start, end), as read at `now`.

    After these, what was measured of the incidents that were noticed in [start, end), per severity.
    """
    known = tuple(incidents)
    groups: dict[tuple[str, str, str, str], list[Reading]] = defaultdict(list)
    for incident in known:
        for clock in clocks_for(settings, incident):
            if start <= clock.started_at < end:
                reading = read(clock, now)
                key = (incident.severity, _client(settings, incident, clock), clock.name, reading.target)
                groups[key].append(reading)
    promised = tuple(_row(*key, groups[key]) for key in sorted(groups))
    return (*promised, *_measured(i for i in known if start <= i.noticed_at < end))


def _measured(incidents: Iterable[Incident]) -> Iterator[ReportRow]:
    groups: dict[tuple[str, str], list[timedelta]] = defaultdict(list)
    for incident in incidents:
        for name, measure in MEASURES.items():
            took = measure(incident)
            if took is not None:
                groups[incident.severity, name].append(took)
    for (severity, name), found in sorted(groups.items()):
        yield ReportRow(severity, EVERYONE, name, MEASURED, len(found), 0, 0, 0, 0, 0, max(found))


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
    return client.name if client else account or EVERYONE
