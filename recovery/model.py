"""The words of the product as frozen data. Standard library only; no IO, no clock.

All times are timezone-aware UTC `datetime`s unless a name says otherwise; fields ending in `_seconds` are seconds;
`*_ref` is an id at a remote, kept as the string the remote gave.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum

Facts = Mapping[str, str | int | float | bool | list[str] | None]


class System(StrEnum):
    """A remote system by the name used in settings, keys and reports."""

    PRO2 = "pro2"
    DASHBOARD = "dashboard"
    TESSITURA = "tessitura"
    NETCORE = "netcore"
    META = "meta"
    JIRA = "jira"
    ZENDESK = "zendesk"
    SLACK = "slack"
    PAGERDUTY = "pagerduty"
    CLICKUP = "clickup"
    PENDO = "pendo"
    STATUSPAGE = "statuspage"
    SMTP = "smtp"


class Kind(StrEnum):
    """What kind of scheduled thing a slot belongs to."""

    CAMPAIGN = "campaign"
    AUTOMATION = "automation"
    IMPORT = "integrated_import"
    DATA_SYNC = "data_sync_tag"
    TRIGGER = "scheduled_trigger"
    SEGMENT_TRANSFER = "segment_transfer"
    EADDRESS_SYNC = "eaddress_sync"
    OTHER = "other"
    """Promotions, customer service issues, webhooks and whatever else runs there: listed and held (R001.36)."""


class Verdict(StrEnum):
    """What happened to a slot. `PARTIAL` and `UNCERTAIN` are never acted on without a person."""

    DONE = "done"
    MISSED = "missed"
    STALLED = "stalled"
    FAILED = "failed"
    PARTIAL = "partial"
    UNCERTAIN = "uncertain"


class Remedy(StrEnum):
    """What a finding calls for."""

    NONE = "none"
    MONITOR = "monitor"
    RESEND = "resend"
    REPROCESS = "reprocess"
    REPEAT_IMPORT = "repeat_import"
    TAGGED_IMPORT = "tagged_import"
    RUN_NOW = "run_now"
    DROP = "drop"
    HOLD = "hold"


class Harm(IntEnum):
    """What a repeat by mistake would do: 0 nothing, 1 annoy, 2 wrong data, 3 reaches people."""

    H0 = 0
    H1 = 1
    H2 = 2
    H3 = 3


class ActionKind(StrEnum):
    """One effect on one remote."""

    STOP = "stop"
    DEFUSE = "defuse"
    COPY = "copy"
    MARK = "mark"
    RELEASE = "release"
    DISARM = "disarm"
    STOP_RUN = "stop_run"
    REPROCESS = "reprocess"
    RUN_NOW = "run_now"
    REPEAT_IMPORT = "repeat_import"
    TAGGED_IMPORT = "tagged_import"
    CREATE_TAG = "create_tag"
    ADD_TAG = "add_tag"
    REMOVE_TAG = "remove_tag"
    TICKET = "ticket"
    TICKET_LINK = "ticket_link"
    TICKET_COMMENT = "ticket_comment"
    CUSTOMER_TICKET = "customer_ticket"
    CHAT = "chat"
    PAGE = "page"
    BOARD_TASK = "board_task"
    ANNOUNCE = "announce"
    WITHDRAW = "withdraw"
    STATUS_POST = "status_post"
    MAIL = "mail"
    SETTING = "setting"


class ActionState(StrEnum):
    """Where an action stands in the ledger; see `recovery.ledger.ledger` for the legal moves."""

    PLANNED = "planned"
    CLAIMED = "claimed"
    IN_FLIGHT = "in_flight"
    APPLIED = "applied"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    CONFIRMED = "confirmed"
    SKIPPED = "skipped"
    HELD = "held"
    CANCELLED = "cancelled"


class AttemptOutcome(StrEnum):
    """How one attempt ended; NOT_APPLIED is the only one after which another may be opened."""

    APPLIED = "applied"
    REJECTED = "rejected"
    NOT_APPLIED = "not_applied"
    UNKNOWN = "unknown"


class ItemOutcome(StrEnum):
    """The three ways an item may end, and not-yet."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    SKIPPED = "skipped"
    HELD = "held"


class Saw(StrEnum):
    """What one witness saw of a slot."""

    WORKED = "worked"
    NOTHING = "nothing"
    RUNNING = "running"
    FAILED = "failed"
    PARTIAL = "partial"
    STOPPED = "stopped"
    PAUSED = "paused"
    PENDING_APPROVAL = "pending_approval"
    WAITING = "waiting"
    OURS = "ours"
    GAP = "gap"
    UNKNOWN = "unknown"
    UNREADABLE = "unreadable"


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC with seconds, the one form used in keys, digests and JSON."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def canonical(value: object) -> bytes:
    """The one JSON form that digests are taken over: sorted keys, no spaces, UTC times."""

    def plain(item: object) -> object:
        if isinstance(item, datetime):
            return iso(item)
        if isinstance(item, (set, frozenset)):
            return sorted(str(x) for x in item)
        raise TypeError(f"not canonical: {type(item).__name__}")

    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=plain).encode()


def digest_of(value: object) -> str:
    """SHA-256 (hex) of the canonical form."""
    return hashlib.sha256(canonical(value)).hexdigest()


def action_key(secret: bytes, account: str, system: str, kind: str, object_ref: str, slot: str, generation: int) -> str:
    """The business key of an action: 16 base32 letters, the same for every runner, incident and wording.

    An HMAC, so that nobody can craft one by naming a campaign. It covers no run, no incident and no time of day.
    """
    parts = "\x1f".join((account, system, kind, object_ref, slot, str(generation)))
    return base64.b32encode(hmac.new(secret, parts.encode(), hashlib.sha256).digest())[:16].decode()


def marker_of(key: str) -> str:
    """The action key as it stands in a remote's own data."""
    return f"[RK-{key}]"


@dataclass(frozen=True, slots=True)
class OutageWindow:
    """When the platform was down, half-open [started_at, ended_at) in UTC, and for which accounts and systems."""

    started_at: datetime
    ended_at: datetime
    accounts: tuple[str, ...]
    systems: tuple[str, ...] = (System.PRO2.value, System.DASHBOARD.value, System.TESSITURA.value)
    incident: str = ""

    @property
    def incident_ref(self) -> str:
        """The incident's name: given, or the same for everyone who names the same start and end."""
        return self.incident or "inc-" + digest_of([iso(self.started_at), iso(self.ended_at)])[:12]


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due. `value` is read by `type`: cron, RFC 5545 RRULE, ISO 8601 duration or date-time."""

    type: str
    value: str = ""
    anchor: datetime | None = None
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Scheduled:
    """One thing that has due times: a campaign, an import, a sync, a trigger."""

    account: str
    system: System
    kind: Kind
    object_ref: str
    name: str
    schedule: Schedule
    active: bool = True
    paused_at: datetime | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, order=True)
class Slot:
    """One due time of one scheduled thing."""

    account: str
    system: str
    kind: str
    object_ref: str
    due_at: datetime
    name: str = field(default="", compare=False)
    time_zone: str = field(default="UTC", compare=False)

    @property
    def key(self) -> str:
        """The slot's name in the ledger, in reports and on the command line."""
        return f"{self.account}/{self.system}/{self.kind}/{self.object_ref}@{iso(self.due_at)}"


@dataclass(frozen=True, slots=True)
class Testimony:
    """What one witness said about one slot, when, and how much it had read.

    `complete` is true only when the source was read to its end, covers the slot, and shows something newer than it:
    only then may `Saw.NOTHING` be believed (design, invariant 1). `digest` names the stored reply.
    """

    witness: str
    saw: Saw
    observed_at: datetime
    complete: bool = True
    detail: str = ""
    facts: Facts = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A slot and everything its witnesses said; the only input of the judge."""

    slot: Slot
    testimonies: tuple[Testimony, ...]
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """A slot, its verdict, why, and the evidence."""

    slot: Slot
    verdict: Verdict
    reason: str
    code: str
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """One effect as planned: deterministic key, harm class, whether it can be undone, and what it will change."""

    key: str
    kind: ActionKind
    harm: Harm
    reversible: bool
    target_ref: str
    summary: str


@dataclass(frozen=True, slots=True)
class PlanItem:
    """What is to be done about one finding."""

    slot: Slot
    verdict: Verdict
    remedy: Remedy
    reason: str
    code: str
    actions: tuple[PlannedAction, ...]
    order: int
    wave: int = 0
    audience: int | None = None
    question: str = ""
    recommended: str = ""
    caveat: str = ""
    generation: int = 0
    before: Facts = field(default_factory=dict)

    @property
    def harm(self) -> Harm:
        """The worst harm class among the item's actions."""
        return max((a.harm for a in self.actions), default=Harm.H0)


@dataclass(frozen=True, slots=True)
class Plan:
    """A frozen, ordered, hashed set of items. `digest` covers every field; a selection of a plan is not `whole`."""

    window: OutageWindow
    items: tuple[PlanItem, ...]
    made_at: datetime
    expires_at: datetime
    digest: str
    whole: bool = True

    @property
    def reach(self) -> int:
        """How many recipients the plan's H3 items may reach, as far as known."""
        return sum(i.audience or 0 for i in self.items if i.harm is Harm.H3)


@dataclass(frozen=True, slots=True)
class Approval:
    """A named person's consent to one plan digest (or a subset of its items), with the counts they saw."""

    plan_digest: str
    by: str
    at: datetime
    recipients: int
    caveat_acknowledged: bool
    items: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A named person's answer to a held item."""

    slot_key: str
    by: str
    at: datetime
    choice: str
    reason: str


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """Proof that an intent is durable: the only thing that lets a write leave. Made by the ledger alone.

    `send_by_monotonic` is on this process's `time.monotonic()` clock (seconds); a write that is later than this is not
    sent and closed as NOT_APPLIED. `n` counts from 1.
    """

    attempt_ref: int
    action_key: str
    n: int
    fence: int
    send_by_monotonic: float
    deadline_seconds: float


@dataclass(frozen=True, slots=True)
class Exchange:
    """One redacted request and reply, kept as evidence. `digest` is the SHA-256 of the body as received."""

    system: str
    account: str
    request: str
    status: int | None
    at: datetime
    digest: str
    body: str
    trace_ref: str = ""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a write came to: APPLIED with the id it produced, REJECTED, NOT_APPLIED (provably no effect) or UNKNOWN."""

    outcome: AttemptOutcome
    ref: str = ""
    detail: str = ""
    retry_after_seconds: float | None = None
    exchange: Exchange | None = None
    auth_failed: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A hold: what is asked, what is recommended, which answers exist."""

    text: str
    recommended: str
    choices: tuple[str, ...] = ("wait", "it happened", "it did not happen", "drop")


@dataclass(frozen=True, slots=True)
class Balance:
    """The closing balance of a window, or of a selection's own slots and what is left `outside` it."""

    due: int
    done_before: int
    recovered: int
    skipped: int
    held: int
    doubles: int
    problems: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()

    @property
    def adds_up(self) -> bool:
        """What the run must prove: every due slot is accounted for once, and nothing went out twice."""
        counted = self.done_before + self.recovered + self.skipped + self.held
        return self.due == counted and self.doubles == 0 and not self.problems
