"""What a run may be started with, as typed forms: the Prefect UI draws them, the flows read them. No secret ever."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WindowForm(_Form):
    """The outage: either start and end, or the last hours."""

    start: datetime | None = Field(None, title="Start of the outage", description="With time zone.")
    end: datetime | None = Field(None, title="End of the outage", description="With time zone.")
    last_hours: float | None = Field(
        None, gt=0, title="Or the last hours", description="Used when start and end are empty; 2 in a scheduled audit."
    )
    accounts: list[str] = Field([], title="Accounts", description="Empty: every account of the configuration.")
    incident: str = Field("", title="Incident", description="Its name; empty: made from start and end.")
    severity: Literal["P1", "P2", "P3", "service_request"] = Field("P2", title="Severity")
    config: Path | None = Field(None, title="Configuration", description="Empty: ALLCLEAR_CONFIG or the default.")


class RecoverForm(_Form):
    """A recovery: of a recorded plan, by its digest."""

    plan: str = Field(
        "", title="Plan digest", description="The plan to run (6 letters or more). Empty: only a plan is made."
    )
    started_by: str = Field("", title="Your name", description="Recorded as the one who starts the run.")
    most_items: int | None = Field(None, ge=1, title="At most so many items", description="Only when a plan is made.")
    dry_run: bool = Field(True, title="Dry run", description="Make the plan and stop.")


class ApprovalForm(_Form):
    """An approval: bound to the digest, with the number of recipients as the approver read it."""

    plan: str = Field(..., min_length=6, title="Plan digest")
    approved_by: str = Field(..., min_length=1, title="Your name")
    recipients: int = Field(..., ge=0, title="Recipients", description="Type the number that the plan names.")
    caveat_read: bool = Field(False, title="I have read the vendor's caveat: the original may still be sent")
    items: list[str] = Field([], title="Only these items", description="Item keys; empty: the whole plan.")
    reason: str = Field("", title="Reason")
    config: Path | None = Field(None, title="Configuration")


class AnswerForm(_Form):
    """A named person's answer to a held item."""

    item: str = Field(..., min_length=1, title="Item", description="Its key, as the held items show it.")
    choice: str = Field(..., min_length=1, title="Answer", description="One of the answers offered.")
    answered_by: str = Field(..., min_length=1, title="Your name")
    reason: str = Field(..., min_length=1, title="Reason")
    config: Path | None = Field(None, title="Configuration")
