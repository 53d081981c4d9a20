"""What the incident desk needs of the outside, by role; `TicketDesk` (Jira) and `Chat` (Slack) are in `recovery.ports`.

Reads raise `recovery.errors.RemoteError` subclasses. Writes take an `OpenAttempt` and return a `WriteResult`; they
raise nothing for what the remote said. A `marker` is `recovery.model.marker_of(key)`: it travels in the remote's own
metadata and, wherever a customer can read, never in the text (R002.33).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

from recovery.model import OpenAttempt, WriteResult

# ---- customer tickets (Zendesk) ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CustomerTicketDraft:
    """A ticket to be created for one customer report.

    `marker` becomes the ticket's external id and the create's Idempotency-Key. `text` is for the customer's eyes when
    `public`.
    `priority` is one of urgent, high, normal, low.
    """

    marker: str
    subject: str
    text: str
    requester_name: str
    requester_email: str
    priority: Literal["urgent", "high", "normal", "low"] = "normal"
    tags: tuple[str, ...] = ()
    public: bool = True


@dataclass(frozen=True, slots=True)
class CustomerTicket:
    """A customer ticket as the desk has it. `marker` is its external id ("" when it is not one of ours)."""

    ref: str
    marker: str
    subject: str
    status: str
    priority: str
    url: str
    created_at: datetime
    requester_email: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TicketComment:
    """One comment on a customer ticket, as the SLA clock needs it (R003.46).

    `author` is "customer" for the requester, "agent" for a person of ours, "machine" for a trigger, macro or API client
    (including this product). `marker` is ours when we wrote it, else "".
    """

    ref: str
    at: datetime
    author: Literal["customer", "agent", "machine"]
    public: bool
    text: str
    marker: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a comment."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class BulkJob:
    """The state of a bulk update. `results` says per ticket ref whether it took; an absent ref is not known yet."""

    ref: str
    finished: bool
    results: Mapping[str, bool] = field(default_factory=dict)
    problem: str = ""


class CustomerDesk(Protocol):
    """Where customers are answered (Zendesk Support)."""

    async def whoami(self) -> str:
        """Credential check; raises AuthFailed."""
        ...

    async def find(self, marker: str) -> tuple[CustomerTicket, ...]:
        """Every ticket whose external id is exactly the marker (external ids are not unique)."""
        ...

    async def ticket(self, ref: str) -> CustomerTicket:
        """One ticket read fresh; raises NotFound."""
        ...

    async def create(self, draft: CustomerTicketDraft, attempt: OpenAttempt) -> WriteResult:
        """Create the ticket with external id and Idempotency-Key from the marker; `ref` is the ticket id."""
        ...

    async def comment(
        self,
        ref: str,
        text: str,
        *,
        public: bool,
        marker: str,
        attempt: OpenAttempt,
        files: Sequence[Attachment] = (),
    ) -> WriteResult:
        """Add a plain-text comment, public or internal; the marker goes into the audit's custom metadata.

        With `files` the comment carries all of them, or nothing is written at all.
        """
        ...

    async def has_comment(self, ref: str, marker: str, text: str = "") -> bool:
        """Whether the ticket's audits show this marker, or, where audits keep none, a comment of ours says `text`."""
        ...

    async def comments(self, ref: str) -> tuple[TicketComment, ...]:
        """All comments, oldest first."""
        ...

    async def update_many(
        self,
        refs: Sequence[str],
        text: str,
        *,
        public: bool,
        marker: str,
        attempt: OpenAttempt,
        priority: str = "",
        add_tags: Sequence[str] = (),
    ) -> WriteResult:
        """One comment to at most 100 tickets as one asynchronous job; `ref` is the job. APPLIED means "accepted"."""
        ...

    async def job(self, ref: str) -> BulkJob:
        """How a bulk update stands, per ticket."""
        ...


# ---- paging (PagerDuty) --------------------------------------------------------------------------------------------


class PageStatus(StrEnum):
    """Where a page stands."""

    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class PageDraft:
    """What is paged. `dedup_key` is the action key: the same for every repeat while the page is open."""

    dedup_key: str
    summary: str
    source: str
    severity: Literal["critical", "error", "warning", "info"] = "critical"
    details: Mapping[str, str] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A page found by its dedup key; `ref` is the incident's id at the pager."""

    ref: str
    dedup_key: str
    status: PageStatus
    url: str
    created_at: datetime
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""


class Pager(Protocol):
    """Who wakes people (PagerDuty: Events v2 to page, REST to look)."""

    async def whoami(self) -> str:
        """Credential check of the REST token."""
        ...

    async def find(self, dedup_key: str) -> Page | None:
        """The newest incident with this key, in any status, however old; None when there never was one."""
        ...

    async def trigger(self, draft: PageDraft, attempt: OpenAttempt) -> WriteResult:
        """Send the trigger; accepted is not yet paged (asynchronous). Never call after a resolve: it pages again."""
        ...

    async def acknowledge(self, dedup_key: str, attempt: OpenAttempt) -> WriteResult:
        """Acknowledge; dropped by the pager when nothing is open."""
        ...

    async def resolve(self, dedup_key: str, attempt: OpenAttempt) -> WriteResult:
        """Resolve; dropped by the pager when nothing is open."""
        ...


# ---- the client's board (ClickUp) ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BoardTaskDraft:
    """A task on a client's board, and also its wanted state in an update.

    `marker` goes into the list's text field for keys. `priority` is 1 urgent, 2 high, 3 normal, 4 low. `status` is the
    board's own word, "" leaves it.
    """

    board_ref: str
    marker: str
    title: str
    text: str
    priority: Literal[1, 2, 3, 4]
    status: str = ""
    due_at: datetime | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BoardTask:
    """A task as the board has it."""

    ref: str
    marker: str
    title: str
    text: str
    status: str
    url: str
    updated_at: datetime
    closed: bool = False


class Board(Protocol):
    """A client's support board (ClickUp; other boards may be plugged in, R003.13)."""

    async def whoami(self) -> str:
        """Credential check."""
        ...

    async def find(self, board_ref: str, marker: str) -> tuple[BoardTask, ...]:
        """Every task on the list whose key field equals the marker, closed ones and subtasks included."""
        ...

    async def task(self, ref: str) -> BoardTask:
        """One task read fresh; raises NotFound."""
        ...

    async def create(self, draft: BoardTaskDraft, attempt: OpenAttempt) -> WriteResult:
        """Create the task with the marker in its key field; `ref` is the task id."""
        ...

    async def update(self, ref: str, draft: BoardTaskDraft, attempt: OpenAttempt) -> WriteResult:
        """Set title, text, priority, status and due time (set semantics: a repeat changes nothing)."""
        ...


# ---- in-app announcements (Pendo) ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Guide:
    """One prepared guide; `state` is the remote's word ("public", "staged", "draft", "disabled", …)."""

    ref: str
    name: str
    state: str
    segment_ref: str = ""
    updated_at: datetime | None = None

    @property
    def shown(self) -> bool:
        """Whether visitors see it."""
        return self.state == "public"


class InApp(Protocol):
    """Announcements inside the product (Pendo). Guides are prepared by a person; only their state is switched."""

    async def whoami(self) -> str:
        """Token check; raises AuthFailed."""
        ...

    async def guide_state(self, guide_ref: str) -> Guide:
        """The guide read fresh; raises NotFound."""
        ...

    async def set_guide_state(self, guide_ref: str, state: str, attempt: OpenAttempt) -> WriteResult:
        """Set the state (set semantics); `ref` is the guide's id. Effect is known only from `guide_state`."""
        ...

    async def set_segment(self, guide_ref: str, segment_ref: str, attempt: OpenAttempt) -> WriteResult:
        """Set who sees the guide (set semantics)."""
        ...


# ---- the public status page (Statuspage) ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusDraft:
    """An incident on the public page, or an update of one. `status` maps one to one onto the three templates."""

    marker: str
    name: str
    status: Literal["investigating", "identified", "monitoring", "resolved"]
    body: str
    component_refs: tuple[str, ...] = ()
    notify: bool = True


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """One update as the public page has it."""

    status: str
    body: str
    at: datetime


@dataclass(frozen=True, slots=True)
class StatusIncident:
    """An incident as the public page has it; `marker` is from its metadata. Updates are oldest first."""

    ref: str
    marker: str
    name: str
    status: str
    url: str
    updates: tuple[StatusUpdate, ...] = ()


class StatusBoard(Protocol):
    """The public status page (Statuspage)."""

    async def whoami(self) -> str:
        """Credential check."""
        ...

    async def find(self, marker: str) -> tuple[StatusIncident, ...]:
        """Incidents whose metadata carries the marker, resolved ones included."""
        ...

    async def incident(self, ref: str) -> StatusIncident:
        """One incident with its updates, read fresh."""
        ...

    async def create(self, draft: StatusDraft, attempt: OpenAttempt) -> WriteResult:
        """Open an incident with the marker in its metadata; `ref` is its id."""
        ...

    async def update(self, ref: str, draft: StatusDraft, attempt: OpenAttempt) -> WriteResult:
        """Post an update; before a repeat, look in `incident(ref).updates` for the same status and body."""
        ...


# ---- mail ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MailDraft:
    """A plain-text mail. `message_ref` is the action key: the Message-ID is made of it, so a repeat is recognisable."""

    message_ref: str
    to: tuple[str, ...]
    subject: str
    text: str
    reply_to: str = ""


class Mailer(Protocol):
    """Sends mail (SMTP)."""

    async def ping(self) -> str:
        """Whether the server answers and takes the login, in one sentence; sends nothing."""
        ...

    async def send(self, draft: MailDraft, attempt: OpenAttempt) -> WriteResult:
        """Hand the mail to the server; `ref` is the Message-ID. A reply lost after DATA is UNKNOWN."""
        ...


@dataclass(frozen=True, slots=True)
class IncomingMail:
    """A mail as it came in. `received_at` (UTC) starts the clocks; `to` are the addresses it was sent to.

    All fields are text from outside: never markup, never a template. `automatic` says that a program wrote it, which is
    answered by none (RFC 3834). `references` are the mails of its thread, the oldest first.
    """

    message_ref: str
    received_at: datetime
    sender: str
    to: tuple[str, ...]
    subject: str
    text: str
    in_reply_to: str = ""
    automatic: bool = False
    references: tuple[str, ...] = ()

    @property
    def answers(self) -> tuple[str, ...]:
        """The mails that it may be an answer to, the likeliest first."""
        return tuple(ref for ref in dict.fromkeys((self.in_reply_to, *reversed(self.references))) if ref)


class MailSource(Protocol):
    """Where customers' mails are read."""

    async def fetch(self) -> tuple[IncomingMail, ...]:
        """Mails not yet marked as taken, oldest first; the same mail may come again until it is marked."""
        ...

    async def mark_taken(self, message_ref: str) -> None:
        """Say that the mail's event is in the journal; repeating it is harmless."""
        ...
