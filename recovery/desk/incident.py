"""What is known of one incident, as frozen data. `fold` makes it from events, `rules` decides on new ones.

Events live in the stream `incident/<ref>`; they are appended, never changed (R003.21).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from recovery.desk.settings import Phase, Scope
from recovery.desk.sla_settings import Severity
from recovery.model import iso

MACHINE = "allclear"
"""Who signs what the product does by itself; never a person."""


SHORTEST_DIGEST = 6
"""Letters of a digest that name it in an approval: fewer name words that nobody has read."""


def named_digest(known: str, given: str) -> str:
    """The whole of a known digest for its beginning; what names another stays as given."""
    return known if len(given) >= SHORTEST_DIGEST and known.startswith(given) else given


def stream_of(ref: str) -> str:
    """The ledger stream of an incident."""
    return f"incident/{ref}"


@dataclass(frozen=True, slots=True)
class Report:
    """One customer report; each has its own ticket (R002.6). `ticket_ref` is set when it came as a ticket."""

    ref: str
    account: str
    customer: str
    email: str
    subject: str
    text: str
    received_at: datetime
    ticket_ref: str = ""
    ticket_url: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer to a report: by a person or a machine, public or internal (R003.46)."""

    report_ref: str
    at: datetime
    by: str
    human: bool
    public: bool


@dataclass(frozen=True, slots=True)
class SeverityChange:
    """A severity and why; the first one is the declaration's."""

    severity: Severity
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Draft:
    """An announcement prepared and not yet approved. `phase` is what it says, `update` whether the phase stays."""

    digest: str
    phase: Phase
    update: bool
    title: str
    body: str
    prepared_by: str
    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Post:
    """An approved announcement, `n` counted from 1; the same words go to every channel (R002.7)."""

    n: int
    phase: Phase
    update: bool
    title: str
    body: str
    prepared_by: str
    approved_by: str
    at: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who said something, when, and in which words."""

    by: str
    at: datetime
    text: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One effect as it was confirmed at the remote.

    `holds` is the incident's `seq` up to which its text is known to go; None in the events of an older program.
    """

    at: datetime
    ref: str
    url: str = ""
    detail: str = ""
    holds: int | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failed try of an effect that has not been delivered."""

    at: datetime
    reason: str
    tries: int
    final: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """A time in which clocks that may pause stand still: of one report, or of all when `report_ref` is empty."""

    state: str
    report_ref: str
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the timeline (R002.36)."""

    seq: int
    at: datetime
    by: str
    kind: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RcaVersion:
    """One version of the root-cause analysis: preliminary or final, and who approved it, if anyone yet."""

    n: int
    digest: str
    preliminary: bool
    title: str
    customer_text: str
    approved: Signature | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """Everything known of one incident. `seq` is the last event's, for the next append."""

    ref: str
    declared_at: datetime
    declared_by: str
    noticed_at: datetime
    title: str
    source: str
    source_ref: str
    severity: Severity
    scope: Scope
    kind: str
    environment: str
    time_zone: str
    seq: int = 0
    started_at: datetime | None = None
    customers: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    symptoms: tuple[str, ...] = ()
    service: str = ""
    nature: str = ""
    impact: str = ""
    also: tuple[tuple[str, str], ...] = ()
    severities: tuple[SeverityChange, ...] = ()
    reports: tuple[Report, ...] = ()
    responses: tuple[Response, ...] = ()
    assignments: Mapping[str, str] = field(default_factory=dict)
    duties_done: Mapping[tuple[str, str], Signature] = field(default_factory=dict)
    teams: tuple[str, ...] = ()
    triaged: Signature | None = None
    page_acknowledged: Signature | None = None
    eta: Signature | None = None
    draft: Draft | None = None
    posts: tuple[Post, ...] = ()
    confirmed: Signature | None = None
    reopenings: tuple[Signature, ...] = ()
    holds: tuple[Hold, ...] = ()
    replies: tuple[tuple[str, datetime], ...] = ()
    told: Mapping[str, Signature] = field(default_factory=dict)
    tasks_done: Mapping[str, Signature] = field(default_factory=dict)
    delivered: Mapping[str, Delivery] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)
    rcas: tuple[RcaVersion, ...] = ()
    timeline: tuple[Entry, ...] = ()

    @property
    def phase(self) -> Phase | None:
        """The phase last announced; None before the first announcement."""
        return self.posts[-1].phase if self.posts else None

    @property
    def resolved_at(self) -> datetime | None:
        """When the resolved notice was approved; None while open or reopened."""
        if self.phase != "resolved":
            return None
        return next(p.at for p in reversed(self.posts) if p.phase == "resolved" and not p.update)

    @property
    def generation(self) -> int:
        """How often the incident was reopened: a reopened one pages and opens a public incident anew."""
        return len(self.reopenings)

    def report(self, ref: str) -> Report | None:
        """The report of this ref."""
        return next((r for r in self.reports if r.ref == ref), None)


@dataclass(frozen=True, slots=True)
class Change:
    """An event that a rule allows: its kind and JSON data, still to be appended by `by` at `at`."""

    kind: str
    by: str
    at: datetime
    data: Mapping[str, object]


def plain(moment: datetime | None) -> str:
    """A time as event data."""
    return "" if moment is None else iso(moment)
