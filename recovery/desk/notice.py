"""How an incident is noticed: signals become one incident, join one, or wait for more. Pure.

A monitoring alert (R002.2) or a mail to a P1 address (R003.14) opens an incident at once; other customer reports open
one when enough different customers write within a window (R002.3). While an incident is open, what belongs to it joins
it, whichever source came first (R002.4).

What would page by itself joins only an incident that was paged for and that people are at work on: one extra page is
better than an outage that wakes nobody (design, invariant 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from recovery.desk.settings import NoticeRules
from recovery.model import digest_of

Source = Literal["alert", "p1_mail", "report"]
Fate = Literal["declare", "merge", "wait", "excluded"]


@dataclass(frozen=True, slots=True)
class Signal:
    """One sign that something is wrong. `ref` is the alert's or report's id; `service` may be "" when unknown.

    `sender` is who wrote: somebody of no known account is one customer, however often they write.
    """

    source: Source
    ref: str
    at: datetime
    service: str = ""
    account: str = ""
    text: str = ""
    planned: bool = False
    sender: str = ""


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """An incident that is not resolved, as far as noticing needs it.

    `paged` is whether its severity wakes people; `active_at` is the last step that a person took, None for a new one.
    """

    ref: str
    noticed_at: datetime
    service: str = ""
    paged: bool = True
    active_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of signals: they open `incident_ref`, join it, wait, or are planned work (R003.23)."""

    fate: Fate
    signals: tuple[Signal, ...]
    incident_ref: str = ""

    @property
    def noticed_at(self) -> datetime:
        """When the first of them came: an incident's clocks start no later."""
        return min(s.at for s in self.signals)


def ref_of(source: str, source_ref: str) -> str:
    """The incident's name, made of its first source: two who notice at once arrive at the same name."""
    return "inc-" + digest_of([source, source_ref])[:12]


def notice(signals: Sequence[Signal], open_incidents: Sequence[OpenIncident], rules: NoticeRules) -> list[Decision]:
    """Decide on all signals not yet in an incident, oldest first; the outcome does not depend on the order given."""
    known = list(open_incidents)
    waiting: list[Signal] = []
    decisions: list[Decision] = []
    for signal in sorted(signals, key=lambda s: (s.at, s.source, s.ref)):
        joined = next((i for i in known if _belongs(signal, i, rules)), None)
        if signal.planned:
            decisions.append(Decision("excluded", (signal,)))
        elif joined is not None:
            decisions.append(Decision("merge", (signal,), joined.ref))
        else:
            together = _together(signal, waiting, rules)
            if together is None:
                waiting.append(signal)
                continue
            opened = Decision("declare", together, _ref_from(together))
            decisions.append(opened)
            known.append(OpenIncident(opened.incident_ref, opened.noticed_at, _service(together)))
            waiting = [w for w in waiting if w not in together]
    return decisions + [Decision("wait", (w,)) for w in waiting]


def _belongs(signal: Signal, incident: OpenIncident, rules: NoticeRules) -> bool:
    window = timedelta(minutes=rules.merge_window_minutes)
    if signal.at < incident.noticed_at - window or not _same_service(signal.service, incident.service):
        return False
    if signal.source == "report":
        return True
    # A person may have said that this very service is no P1; of any other incident that is not known.
    judged = signal.source == "alert" and signal.service != "" and signal.service == incident.service
    return (incident.paged or judged) and signal.at <= (incident.active_at or incident.noticed_at) + window


def _together(signal: Signal, waiting: Sequence[Signal], rules: NoticeRules) -> tuple[Signal, ...] | None:
    """The signals that open an incident together with this one; None when they are too few."""
    at_once = signal.source != "report"
    minutes = rules.merge_window_minutes if at_once else rules.report_window_minutes
    since = signal.at - timedelta(minutes=minutes)
    near = [w for w in waiting if w.at >= since and _same_service(w.service, signal.service)]
    group = (*near, signal)
    customers = {s.account or s.sender or s.ref for s in group if s.source == "report"}
    return group if at_once or len(customers) >= rules.reports_needed else None


def _ref_from(group: Sequence[Signal]) -> str:
    first = next((s for s in group if s.source != "report"), group[0])
    return ref_of(first.source, first.ref)


def _service(group: Sequence[Signal]) -> str:
    return next((s.service for s in group if s.service), "")


def _same_service(one: str, other: str) -> bool:
    return not one or not other or one == other
