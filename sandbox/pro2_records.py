"""The things one Prospect2 account keeps: contacts, messages, lists, automations, campaigns, import batches.

Numbers and fields are those of reference/prospect2-tessitura.md §2 (status 0 draft, 1 scheduled, 2 sending, 3 paused,
4 stopped, 5 completed, 6 disabled; anything above 6 is a number nobody has documented). Times are aware UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sandbox.spans import Spans

DRAFT, SCHEDULED, SENDING, PAUSED, STOPPED, COMPLETED, DISABLED, PENDING_APPROVAL = range(8)
API_USER = 7  # the user whose key the product is given
PLATFORM = "platform"
API = "api"
PERSON = "person"


@dataclass
class Contact:
    """A contact that stands by itself; the members of a crowd are only numbers until somebody asks."""

    id: int
    email: str
    first_name: str = ""
    last_name: str = ""
    created_at: datetime | None = None


@dataclass
class Message:
    """What a mail says."""

    id: int
    subject: str
    html: str
    from_name: str = "Box Office"
    from_email: str = "news@example.org"

    @property
    def text(self) -> str:
        """Everything that makes one mail differ from another."""
        return "\x1f".join((self.subject, self.html, self.from_name, self.from_email))


@dataclass
class MailingList:
    """A list of the platform; its members are ranges of contact ids."""

    id: int
    name: str
    members: Spans = field(default_factory=list)


@dataclass
class Automation:
    """An automation; `entered` counts every entry, also a contact's second."""

    id: int
    name: str
    active: bool = True
    entered: int = 0
    admits_once: bool = False
    members: dict[int, int] = field(default_factory=dict)


@dataclass
class Campaign:
    """One campaign, and under `# knobs` how the platform mistreats it.

    `content` names what is sent to whom: it is made from message and audience at birth, a copy inherits it, and no
    later edit changes it. `stop` is "works", "refused" (result_code 0), "no_effect" (result_code 1, nothing changes) or
    "revives" (stopped, and `revive_seconds` later it goes out anyway). A `stuck` campaign never moves by itself. One
    with `late_at` goes out at that time whatever became of it meanwhile, which is the vendor's own caveat.
    """

    id: int
    name: str
    status: int
    created_at: datetime
    message_ids: list[int]
    list_ids: list[int]
    content: str = ""
    type: str = "single"
    source: str = "web"
    user_id: int = 1
    segment_id: int = 0
    series_id: int = 0
    sdate: datetime | None = None
    ldate: datetime | None = None
    scheduleddate: str | None = None
    updated_at: datetime | None = None
    send_amt: int = 0
    total_amt: int = 0
    copied_from: int = 0
    sent: Spans = field(default_factory=list)
    started_at: datetime | None = None
    visible_at: datetime | None = None
    departures: int = 0
    # knobs
    stuck: bool = False
    late_at: datetime | None = None
    stop: str = "works"
    revive_seconds: float = 2.0
    report: str = "live"
    deletable: bool = True
    copyable: bool = True


@dataclass
class Batch:
    """One bulk import: queued, then done at `due_at`."""

    id: str
    due_at: datetime
    rows: list[dict[str, object]]
    done: bool = False
    success: list[str] = field(default_factory=list)
    failure: list[str] = field(default_factory=list)
