"""The desk's forms for the Prefect UI: one round of watching, and one step of an announcement. No secret ever."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from recovery.served.forms import Line

Step = Literal["show", "eta", "prepare", "update", "approve", "confirm"]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class RoundForm(_Form):
    """One round of everything that must happen by itself."""

    desk: bool = Field(
        True,
        title="The incident desk",
        description="Mails, clocks, expiries, overdue updates, and what is still to be delivered.",
    )
    originals: bool = Field(
        True, title="Late originals", description="Look whether an original that was stopped goes on after all."
    )
    config: Path | None = Field(
        None, title="Configuration", description="A file on the worker's machine. Empty: the worker's own."
    )


class AnnounceForm(_Form):
    """One step of an announcement. Nothing goes out before a named person approves exactly the prepared words."""

    incident: Line = Field(
        ..., min_length=1, title="Incident", description="Its name, as `allclear incident list` shows it."
    )
    step: Step = Field(
        "show",
        title="Step",
        description="eta and confirm record what a person says; prepare and update fill the words; approve sends them.",
    )
    by: Line = Field("", title="Your name", description="As desk.toml lists it under a role; it is recorded.")
    phase: Literal["investigating", "identified", "resolved"] = Field(
        "investigating", title="Phase", description="With prepare: what is announced."
    )
    digest: Line = Field("", title="Digest", description="With approve: six letters or more, as prepare showed it.")
    text: str = Field(
        "",
        title="Text",
        description="With update: what is being done. With eta: when. With confirm: what Engineering says. "
        "With prepare: why a phase is skipped or reopened.",
    )
    config: Path | None = Field(
        None, title="Configuration", description="A file on the worker's machine. Empty: the worker's own."
    )
