"""What a run may be started with, as typed forms: the Prefect UI draws them, the flows read them. No secret ever.

Prefect stores and shows every parameter of a run, so nothing here may be confidential; secrets stay where the
configuration says they are.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

LONGEST_LAST_HOURS = 366 * 24
"""More than any policy allows a window; what lies far beyond is no date any more."""

Line = Annotated[str, Field(max_length=200)]
"""A name, a key or a digest: what stands in titles, tables and lists of runs."""


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class WindowForm(_Form):
    """The outage: either start and end, or the last hours."""

    start: datetime | None = Field(
        None, title="Start of the outage", description="When the platform went down, with a time zone."
    )
    end: datetime | None = Field(None, title="End of the outage", description="When it was back, with a time zone.")
    last_hours: float | None = Field(
        None,
        gt=0,
        le=LONGEST_LAST_HOURS,
        title="Or the last hours",
        description="Used when start and end are empty. The hourly audit looks back two hours.",
    )
    catch_up: bool = Field(
        False,
        title="Make up for audits that did not run",
        description="With the last hours: look further back where an audit did not run or could not read an account. "
        "The schedule does.",
    )
    accounts: list[str] = Field(
        [], title="Accounts", description="Their names in the configuration. Empty: every account."
    )
    incident: Line = Field("", title="Incident", description="Its name. Empty: made from start and end.")
    severity: Literal["P1", "P2", "P3", "service_request"] = Field(
        "P2", title="Severity", description="Goes into the announcement that an incident is open."
    )
    config: Path | None = Field(
        None,
        title="Configuration",
        description="A file on the worker's machine. Empty: the worker's ALLCLEAR_CONFIG, or config/allclear.toml.",
    )


class RecoverForm(_Form):
    """A recovery: of a recorded plan, by its digest."""

    plan: Line = Field(
        "",
        title="Plan digest",
        description="The approved plan to run: six letters or more of its digest. Empty: a plan is made, nothing else.",
    )
    started_by: Line = Field(
        "", title="Your name", description="Recorded as the one who starts the run; some plans need another approver."
    )
    most_items: int | None = Field(
        None, ge=1, title="At most so many items", description="A first part of the plan; only when a plan is made."
    )
    dry_run: bool = Field(
        True, title="Dry run", description="Make or show the plan and stop. Switch it off to run an approved plan."
    )


class ApprovalForm(_Form):
    """An approval: bound to the digest, with the number of recipients as the approver read it."""

    plan: Line = Field(
        ...,
        min_length=6,
        title="Plan digest",
        description="As the title of the plan's page names it; six letters or more.",
    )
    approved_by: Line = Field(..., min_length=1, title="Your name", description="Recorded with the approval.")
    recipients: int = Field(..., ge=0, title="Recipients", description="Type the number that the plan names.")
    caveat_read: bool = Field(
        False,
        title="I have read the vendor's caveat",
        description="The vendor cannot promise that the original is not sent after all.",
    )
    items: list[str] = Field([], title="Only these items", description="Item keys. Empty: the whole plan.")
    waves: int | None = Field(
        None,
        ge=0,
        title="Only the first waves",
        description="Up to this number, as the plan's table shows it; type the recipients of these waves alone.",
    )
    reason: str = Field("", title="Reason", description="Why; recorded with the approval.")
    config: Path | None = Field(
        None, title="Configuration", description="A file on the worker's machine. Empty: the worker's own."
    )


class RejectionForm(_Form):
    """A no: the plan is never run, whoever approves it."""

    plan: Line = Field(
        ...,
        min_length=6,
        title="Plan digest",
        description="As the title of the plan's page names it; six letters or more.",
    )
    rejected_by: Line = Field(..., min_length=1, title="Your name", description="Recorded with the rejection.")
    reason: str = Field(..., min_length=1, title="Reason", description="Why; whoever tries to run the plan reads it.")
    config: Path | None = Field(
        None, title="Configuration", description="A file on the worker's machine. Empty: the worker's own."
    )


class AnswerForm(_Form):
    """A named person's answer to a held item."""

    item: str = Field(..., min_length=1, title="Item", description="Its key, as the table of the recovery shows it.")
    choice: Line = Field(
        ...,
        min_length=1,
        title="Answer",
        description="One of those offered: the link here names them, and `allclear hold`.",
    )
    answered_by: Line = Field(..., min_length=1, title="Your name", description="Recorded with the answer.")
    reason: str = Field(..., min_length=1, title="Reason", description="Why; recorded with the answer.")
    config: Path | None = Field(
        None, title="Configuration", description="A file on the worker's machine. Empty: the worker's own."
    )


class TaskForm(_Form):
    """Assisted mode: one move of one task, or a reading of the dashboard."""

    what: Literal["list", "show", "claim", "about_to_click", "done", "not_done", "not_sure", "read"] = Field(
        "list", title="What", description="Click only after about_to_click has said so, and only once."
    )
    task: Line = Field("", title="Task", description="Its key, or the beginning of it.")
    by: Line = Field("", title="Your name", description="It is recorded.")
    run: str = Field("", title="Run", description="With done: the run that the Activity Log shows.")
    reason: str = Field("", title="Reason or note", description="It is recorded.")
    account: Line = Field("", title="Account", description="With read: whose dashboard it is.")
    reading_form: Literal["toml", "json", "csv"] = Field(
        "toml", title="Form of the reading", description="With read: how the text is written."
    )
    text: str = Field("", title="Text", description="With read: the reading. With done: evidence as text, or a file.")
    evidence_file: str = Field("", title="Evidence file", description="A path that the worker can read.")
    config: Path | None = Field(
        None, title="Configuration", description="A file on the worker's machine. Empty: the worker's own."
    )


class CaseForm(_Form):
    """A complaint for a playbook: opened (or found) and checked at once; nothing is changed anywhere."""

    playbook: str = Field("link-tracking", title="Playbook", description="Its id, as its file is named.")
    account: Line = Field(..., min_length=1, title="Account name", description="The client's account.")
    template_name: str = Field("", title="Template name", description="Exactly as it is written, capitals included.")
    campaign_ref: str = Field("", title="Campaign ID", description="This or the journey's ID.")
    journey_ref: str = Field("", title="Journey ID", description="Used when there is no campaign ID.")
    ticket_ref: str = Field("", title="Ticket", description="The client's ticket, to answer on.")
    sent_on: str = Field("", title="Sent on", description="YYYY-MM-DD.")
    since: str = Field("", title="Since when", description="Since when clicks are missing.")
    region: str = Field("", title="Region", description="NA, US, EU, IN, ...")
    customer_says: str = Field(
        "", title="Already checked by the reporter", description="Recorded; everything is checked again all the same."
    )
    more: dict[str, str] = Field({}, title="More fields", description="For other playbooks: their fields by name.")
    opened_by: Line = Field(..., min_length=1, title="Your name", description="Recorded as the one who opens the case.")
    config: Path | None = Field(
        None, title="Configuration", description="A file on the worker's machine. Empty: the worker's own."
    )


class CaseStepForm(_Form):
    """One step of a case; which fields count depends on the step."""

    case: Line = Field(..., min_length=1, title="Case", description="Its reference, or how it begins.")
    step: Literal[
        "show",
        "check",
        "attest",
        "references",
        "reply",
        "approve_reply",
        "approve_setting",
        "stage",
        "escalate",
        "post",
        "resolve",
        "settle",
        "send",
        "feedback",
    ] = Field("show", title="Step", description="The case's page names the next ones.")
    by: Line = Field(..., min_length=1, title="Your name", description="It is recorded.")
    what: str = Field(
        "",
        title="What it is about",
        description="A check (attest), digest (approve_reply), offer (approve_setting), stage, or effect (settle).",
    )
    choice: Line = Field("", title="Answer", description="With attest and settle: one of the answers offered.")
    text: str = Field("", title="Text", description="Statement, note, reason, message or feedback.")
    client_text: str = Field("", title="What the client is told", description="With resolve.")
    team: str = Field("", title="Team", description="With stage: which team looked.")
    resolved: bool = Field(False, title="Resolved", description="With stage: it found the resolution.")
    absent: list[str] = Field([], title="Absent contacts", description="With escalate: who is away.")
    override_reason: str = Field("", title="Override", description="With escalate: why it goes although incomplete.")
    consequences_read: bool = Field(False, title="I have read the consequences", description="With approve_setting.")
    remote_ref: str = Field("", title="What it produced", description="With settle: such as the child ticket's key.")
    config: Path | None = Field(
        None, title="Configuration", description="A file on the worker's machine. Empty: the worker's own."
    )
