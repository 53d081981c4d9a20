"""What the core needs of the outside, by role; clients and ledger provide it, tests may too.

Reads raise `recovery.errors.RemoteError` subclasses. Writes take an `OpenAttempt` (so that a write without a durable
intent does not type-check) and return a `WriteResult`; they raise nothing for what the remote said.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Literal, Protocol, TypeAlias, TypeVar

from recovery.model import (
    Exchange,
    Kind,
    OpenAttempt,
    Scheduled,
    WriteResult,
)

T = TypeVar("T")


class Clock(Protocol):
    """Time as the product sees it; the only source of "now" and of waiting."""

    def now(self) -> datetime:
        """The present, timezone-aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back (and counts suspended time where the system can)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait this many seconds."""
        ...


# ---- records: what the remotes say, in our words -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign as the platform lists it. `status` is the platform's number as text; unknown numbers are kept."""

    ref: str
    name: str
    type: str
    status: str
    sdate: datetime | None
    ldate: datetime | None
    created_at: datetime | None
    send_amt: int
    total_amt: int
    series_ref: str = "0"
    segment_ref: str = "0"
    source: str = ""
    user_ref: str = ""
    digest: str = ""
    modified_at: datetime | None = None
    problem: str = ""
    """Why its row could not be read; then only the id is certain, and nothing may act on it."""


@dataclass(frozen=True, slots=True)
class CampaignReport:
    """The campaign's report; `has_data` is false when nothing was ever counted in it."""

    ref: str
    send_amt: int
    total_amt: int
    status: str
    last_sent_at: datetime | None
    has_data: bool
    digest: str = ""


@dataclass(frozen=True, slots=True)
class CampaignContent:
    """What a campaign says and to whom; equal fingerprints mean the same mail to the same audience.

    `readable` names the parts that could be read ("messages", "lists", "segment").
    """

    ref: str
    fingerprint: str
    subjects: tuple[str, ...]
    list_refs: tuple[str, ...]
    segment_ref: str
    readable: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing(Generic[T]):
    """Items of a list read page by page; `complete` is false when a page failed, moved, repeated or was capped."""

    items: tuple[T, ...]
    complete: bool
    read_at: datetime
    problem: str = ""
    digests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Automation:
    """One automation of the platform: listed for a person, never acted on."""

    ref: str
    name: str
    active: bool
    entered: int


@dataclass(frozen=True, slots=True)
class Contact:
    """One contact; `email` is lower-cased."""

    ref: str
    email: str


@dataclass(frozen=True, slots=True)
class Tag:
    """One tag by its id and exact name."""

    ref: str
    name: str


@dataclass(frozen=True, slots=True)
class BridgeCapabilities:
    """What the dashboard bridge says it can do; absent means it cannot."""

    stop: bool = False
    reprocess: bool = False
    run_now: bool = False
    repeat: bool = False
    imports: bool = False
    returns_run_id: bool = False
    log_retention_days: int | None = None
    account_time_zone: str = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """One thing that can run on the Integrated Dashboard."""

    scheduled: Scheduled
    list_ref: int | None = None
    list_name: str = ""
    output_set_ref: int | None = None
    tags: tuple[str, ...] = ()
    sync_mode: Literal["add_only", "add_remove", ""] = ""
    trigger_type: str = ""
    automation_ref: str = ""
    filters: Mapping[str, int | bool | None] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """The definition's id."""
        return self.scheduled.object_ref


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a definition. `state` is the bridge's word; unknown words are kept."""

    ref: str
    definition_ref: str
    state: str
    requested_by: str
    scheduled_for: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    returned: int | None = None
    updated: int | None = None
    errored: int | None = None
    tags: tuple[str, ...] = ()
    repeated_from: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class RunLog:
    """A log read to its end. `covers_from`/`covers_to` are the remote's own statement of what the log holds."""

    runs: tuple[Run, ...]
    complete: bool
    covers_from: datetime | None
    covers_to: datetime | None
    read_at: datetime
    problem: str = ""
    digests: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportRow:
    """One row of a run's error report."""

    row: int
    constituent_ref: int | None
    email: str
    message: str


@dataclass(frozen=True, slots=True)
class TessituraList:
    """A List Manager list's summary. Tessitura has no generation time: `last_used_at` is the only time there is."""

    ref: int
    name: str
    count: int
    dynamic: bool
    inactive: bool
    last_used_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Constituent:
    """A constituent on a list with the e-mail address an import would use ("" when there is none)."""

    ref: int
    email: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class TicketDraft:
    """An incident ticket in our words; `marker` is the action key it must carry."""

    marker: str
    summary: str
    customers: tuple[str, ...]
    started_at: str
    steps: tuple[str, ...]
    symptoms: tuple[str, ...]
    sections: tuple[tuple[str, tuple[str, ...]], ...] = ()
    severity: str = ""


@dataclass(frozen=True, slots=True)
class TicketRef:
    """A ticket at a desk."""

    ref: str
    key: str
    url: str


@dataclass(frozen=True, slots=True)
class ChatRef:
    """A message in a channel."""

    channel: str
    ts: str


# ---- roles ---------------------------------------------------------------------------------------------------------


class CampaignDesk(Protocol):
    """Campaigns of one account (Prospect2, an ActiveCampaign white label)."""

    async def whoami(self) -> str:
        """The user the key belongs to; raises AuthFailed."""
        ...

    async def campaigns(self, *, newest_first: bool = False) -> Listing[Campaign]:
        """Every campaign, all pages. `complete` is false when the list moved while it was read."""
        ...

    async def campaign(self, ref: str) -> Campaign:
        """One campaign read fresh by id."""
        ...

    async def report(self, ref: str) -> CampaignReport:
        """The campaign's report (v1 totals), a witness independent of the campaign's status."""
        ...

    async def content(self, ref: str) -> CampaignContent:
        """What the campaign says and to whom, as far as it can be read."""
        ...

    async def audience(self, ref: str) -> int | None:
        """How many active contacts the campaign's segment or lists hold now, at most; None where it cannot be read."""
        ...

    async def automations(self) -> Listing[Automation]:
        """Every automation, for listing."""
        ...

    async def stop(self, ref: str, attempt: OpenAttempt) -> WriteResult:
        """Ask to stop (v1 campaign_status 4). Effect is known only from a later read."""
        ...

    async def rename(self, ref: str, name: str, attempt: OpenAttempt) -> WriteResult:
        """Set the campaign's name (v3 edit): how a marker is put on a copy or a stopped original."""
        ...

    async def copy(self, ref: str, attempt: OpenAttempt) -> WriteResult:
        """Duplicate into a draft; `ref` of the result is the new campaign."""
        ...

    async def schedule(self, ref: str, at: datetime, attempt: OpenAttempt) -> WriteResult:
        """Move a draft to scheduled at `at` (v1 campaign_status 1 with sdate in the account's zone)."""
        ...


class ContactDesk(Protocol):
    """Contacts and tags of one account."""

    async def find_tag(self, name: str) -> Tag | None:
        """The tag of exactly this name."""
        ...

    async def members(self, tag_ref: str) -> Listing[Contact]:
        """Every contact that carries the tag."""
        ...

    async def tag_link(self, contact_ref: str, tag_ref: str) -> str:
        """The id of the contact's association with the tag, "" when there is none."""
        ...

    async def create_tag(self, name: str, attempt: OpenAttempt) -> WriteResult:
        """Create a contact tag."""
        ...

    async def add_tag(self, contact_ref: str, tag_ref: str, attempt: OpenAttempt) -> WriteResult:
        """Put the tag on the contact."""
        ...

    async def remove_tag(self, link_ref: str, attempt: OpenAttempt) -> WriteResult:
        """Remove one association by its id."""
        ...


class JobDesk(Protocol):
    """The Integrated Dashboard of one account, through a bridge or a named person."""

    async def capabilities(self) -> BridgeCapabilities:
        """What may be asked of it."""
        ...

    async def definitions(self) -> Listing[Definition]:
        """Everything that can run, with its schedule."""
        ...

    async def activity_log(self, start: datetime, end: datetime, definition_ref: str = "") -> RunLog:
        """Runs in [start, end], all pages; of one definition when it is named (others may be among them)."""
        ...

    async def console(self) -> RunLog:
        """Runs queued or running now."""
        ...

    async def run(self, ref: str) -> Run:
        """One run read fresh."""
        ...

    async def report(self, ref: str) -> tuple[ReportRow, ...]:
        """The run's error report."""
        ...

    async def stop_run(self, ref: str, attempt: OpenAttempt) -> WriteResult:
        """Attempt to stop; APPLIED means "accepted", which is not "stopped": read the run again."""
        ...

    async def reprocess(self, run_ref: str, attempt: OpenAttempt) -> WriteResult:
        """Run the job of this run again; `ref` is the new run when the bridge tells."""
        ...

    async def run_now(self, definition_ref: str, attempt: OpenAttempt) -> WriteResult:
        """Scheduled Trigger "Run Now": irreversible."""
        ...

    async def repeat(self, definition_ref: str, attempt: OpenAttempt) -> WriteResult:
        """Integrated Import "Repeat Import"."""
        ...

    async def import_list(
        self,
        list_ref: int,
        tags: Sequence[str],
        filters: Mapping[str, int | bool | None],
        exclude_automations: bool,
        attempt: OpenAttempt,
    ) -> WriteResult:
        """A new Integrated Import of a list, applying tags at import."""
        ...


class ListDesk(Protocol):
    """Lists and addresses in Tessitura."""

    async def healthy(self) -> bool:
        """Diagnostics/Status says so."""
        ...

    async def list_summary(self, list_ref: int) -> TessituraList:
        """The list's summary."""
        ...

    async def find_lists(self, name: str) -> tuple[TessituraList, ...]:
        """Lists whose name matches, for "the most recent List Manager list"."""
        ...

    async def constituents(self, list_ref: int, filters: Mapping[str, int | bool | None]) -> Listing[Constituent]:
        """The list's stored contents (never regenerated) with addresses chosen as the import's filters say."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """One account's open connections, by role. `one_shot_release` is true only where that is proven."""

    name: str
    time_zone: str
    campaigns: CampaignDesk
    contacts: ContactDesk
    jobs: JobDesk
    lists: ListDesk
    one_shot_release: bool = False


class TicketDesk(Protocol):
    """Where the incident ticket is filed (Jira)."""

    async def ready(self) -> str:
        """Who signs; AllclearError when a ticket could not be filed with these settings."""
        ...

    async def find(self, marker: str) -> tuple[TicketRef, ...]:
        """Every ticket that carries the marker (search may lag)."""
        ...

    async def file(self, draft: TicketDraft, attempt: OpenAttempt) -> WriteResult:
        """Create the ticket; `ref` is the key."""
        ...

    async def comment(self, key: str, paragraphs: Sequence[str], marker: str, attempt: OpenAttempt) -> WriteResult:
        """Add a comment that carries the marker."""
        ...

    async def has_comment(self, key: str, marker: str) -> bool:
        """Whether a comment with this marker is there."""
        ...

    async def link(
        self, key: str, global_id: str, title: str, url: str, resolved: bool, attempt: OpenAttempt
    ) -> WriteResult:
        """Upsert a remote link by its globalId."""
        ...

    async def links(self, key: str) -> Mapping[str, bool | None]:
        """globalId -> whether the remote link is struck through; None where that is not shown."""
        ...


class Chat(Protocol):
    """Where colleagues are told (Slack)."""

    async def whoami(self) -> str:
        """Credential check."""
        ...

    async def find(self, channel: str, marker: str, since: datetime) -> ChatRef | None:
        """Our message with this marker, by its metadata."""
        ...

    async def post(
        self, channel: str, text: str, lines: Sequence[str], marker: str, attempt: OpenAttempt, thread: str = ""
    ) -> WriteResult:
        """Post plain text (never markup); `ref` is the message's ts."""
        ...


# ---- evidence and progress -----------------------------------------------------------------------------------------

Keep: TypeAlias = Callable[[Exchange], Awaitable[None]]
Tell: TypeAlias = Callable[[str, Mapping[str, object]], None]


class RateGate(Protocol):
    """Keeps a shared budget: returns when one more call of this account may leave."""

    async def acquire(self, account: str, system: str) -> None:
        """Wait for a token."""
        ...

    def penalize(self, account: str, system: str, seconds: float) -> None:
        """The remote said when to come back: nobody sends before that."""
        ...


KIND_BY_WORD = {k.value: k for k in Kind}
