"""What an operator allows and how long the product waits, as frozen data.

Loaded from `config/policy.toml` and `config/playbooks/process-failure.toml` by `recovery.settings`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

from recovery.model import ActionKind, Kind, Remedy, Verdict


@dataclass(frozen=True, slots=True)
class Decision:
    """One row of the decision table in `config/playbooks/process-failure.toml`; the first match wins."""

    kind: str
    verdict: str
    code: str
    remedy: Remedy
    why: str
    question: str = ""
    recommended: str = ""

    def matches(self, kind: Kind, verdict: Verdict, code: str) -> bool:
        """Whether this row decides a finding; `*` stands for any kind or code."""
        return self.kind in ("*", kind) and self.verdict in ("*", verdict) and self.code in ("*", code)


@dataclass(frozen=True, slots=True)
class ValidUntil:
    """An operator's word that an item is not worth sending after a moment (the event is over)."""

    account: str
    object_ref: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Waits:
    """Every waiting time, in seconds, so that a rehearsal takes seconds and a real run takes minutes."""

    grace: float = 900.0
    """After its due time a thing is not yet late."""
    running_limit: float = 7200.0
    """A job in progress for longer counts as stalled (R001.22)."""
    monitor: float = 3600.0
    """Campaigns are watched this long after their due time before a resend is proposed (R001.9)."""
    poll: float = 30.0
    """Between two reads while waiting."""
    stop_check: float = 60.0
    """Between the two reads that prove a stop (reliability.md, 2.8)."""
    settle: float = 1560.0
    """Before "absent" may be believed after an unknown outcome."""
    settle_copy: float = 120.0
    """The same for a copy: an extra draft is harmless."""
    arm: float = 900.0
    """How far ahead a copy is armed."""
    departure: float = 3600.0
    """An armed copy must have left by then, else a person is asked."""
    job: float = 7200.0
    """A job that we started must have ended by then, else a person is asked."""
    watch: float = 259200.0
    """Originals are watched this long after a release (72 hours)."""
    lease: float = 120.0
    """A claim lasts this long without a sign of life."""
    send_within: float = 5.0
    """Between the durable intent and the first byte."""
    write_deadline: float = 30.0
    """A write without a reply is unknown after this."""
    read: float = 60.0
    """One try of a read must have come to its end after this; silence is noticed after half of it at the latest."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Blast radius (design, invariant 11)."""

    releases_per_run: int = 50
    recipients_per_run: int = 300_000
    recipients_per_hour: int = 100_000
    mails_per_person_a_day: int = 6
    """Copies released for one account within 24 hours: its campaigns may all go to the same people."""
    jobs_at_once: int = 4
    """Imports and transfers of one account that run side by side; those that use one list never do."""
    waves: tuple[int, ...] = (1, 5, 25)
    wave_bake: float = 900.0
    removals_percent: float = 20.0
    window_hours: float = 72.0
    two_people_above: int = 1_000
    two_approvers_above: int = 100_000
    max_unknowns_in_a_row: int = 2


def person(name: str) -> str:
    """One person's name, however it was typed: two spellings are not two people."""
    return " ".join(name.split()).casefold()


@dataclass(frozen=True, slots=True)
class People:
    """Who may do what, by name; an empty list means anybody who gives a name.

    Anybody may stop everything; only letting go again can be kept to some.
    """

    start: tuple[str, ...] = ()
    approve: tuple[str, ...] = ()
    """Approve or reject a plan."""
    answer: tuple[str, ...] = ()
    clear_stop: tuple[str, ...] = ()

    @staticmethod
    def may(allowed: tuple[str, ...], name: str) -> bool:
        """Whether one of these lists lets this person do it."""
        return not allowed or person(name) in {person(a) for a in allowed}


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Local hours, half-open, in which nothing that reaches people leaves; start == end means none."""

    start: time = time(0, 0)
    end: time = time(0, 0)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the plan, the gate and the runner may ask about what is allowed."""

    decisions: tuple[Decision, ...]
    waits: Waits = field(default_factory=Waits)
    limits: Limits = field(default_factory=Limits)
    quiet: QuietHours = field(default_factory=QuietHours)
    people: People = field(default_factory=People)
    valid_for: timedelta = timedelta(hours=48)
    valid_until: tuple[ValidUntil, ...] = ()
    unattended_accounts: tuple[str, ...] = ()
    assume_one_shot_release: bool = False
    exclude_automations: bool = True
    plan_expires: timedelta = timedelta(minutes=60)
    after_successful_stop: str = "ask"
    defuse: bool = True
    contact_us_url: str = "https://help.prospect2.com"

    def decide(self, kind: Kind, verdict: Verdict, code: str) -> Decision:
        """The first row that matches; a finding that no row names is held."""
        for row in self.decisions:
            if row.matches(kind, verdict, code):
                return row
        return Decision(
            kind, verdict, code, Remedy.HOLD, "No rule names this case.", "What should be done with this item?", "wait"
        )

    def validity_of(self, account: str, object_ref: str) -> ValidUntil | None:
        """The operator's own limit for one object, if there is one."""
        for row in self.valid_until:
            if row.account == account and row.object_ref == object_ref:
                return row
        return None


STARTS = (ActionKind.REPROCESS, ActionKind.RUN_NOW, ActionKind.REPEAT_IMPORT)
"""The buttons that start a job of the dashboard."""

IRREVERSIBLE = frozenset({ActionKind.RELEASE, *STARTS, ActionKind.MAIL, ActionKind.PAGE})
"""What cannot be taken back once it has left."""
