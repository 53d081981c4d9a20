"""Playbooks as data: what a file in `config/playbooks/` may say (`recovery.playbook_file` reads and cross-checks it).

A playbook names prerequisites, checks (each a registered witness), rules from check results to reason codes, reasons
with their texts, and escalation stages. A sister playbook needs no Python when its witnesses exist. Files are read each
time, so an edit counts from the next case on; id, version and content digest are recorded in every case.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recovery.errors import ConfigError
from recovery.model import digest_of

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
Text = Annotated[str, Field(min_length=1)]
T = TypeVar("T", "Check", "Stage")


class State(StrEnum):
    """What a check came to. Only PASS and NOT_APPLICABLE let a case move on; UNKNOWN is never PASS."""

    PASS = "pass"  # noqa: S105 - a check's state, not a password
    FAIL = "fail"
    UNKNOWN = "unknown"
    ERROR = "error"
    NOT_APPLICABLE = "not_applicable"


class ReasonKind(StrEnum):
    """What a reason calls for."""

    INFORM_CLIENT = "inform_client"
    ESCALATE = "escalate"
    ASK_REPORTER = "ask_reporter"
    NOT_A_FAULT = "not_a_fault"
    HUMAN_STEP = "human_step"


class Strict(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Prerequisite(Strict):
    """One field of the intake. Fields that share a `group` are alternatives: one of them is enough."""

    field: Name
    label: Text
    ask: Text
    required: bool = False
    group: str = ""


class Profile(Strict):
    """What one provider does; `version` names the rule set in evidence and in texts."""

    version: Text
    title: Text
    settings: dict[str, bool | int | str | tuple[str, ...]] = {}


class Block(Strict):
    """A part of the procedure, such as "Initial verification"."""

    id: Name
    title: Text


class Choice(Strict):
    """One thing a person may attest about a check, and what it then counts as."""

    value: Name
    label: Text
    state: State
    code: Name


class Slot(Strict):
    """A place for evidence (the source's "Screenshot:"). Required ones gate the escalation package."""

    id: Name
    title: Text
    required: bool = True


class Check(Strict):
    """One check: a witness by name, where a person would look, and what they may attest where no API answers."""

    id: Name
    block: Name
    title: Text
    witness: Name
    required: bool = True
    menu_path: str = ""
    deep_link: str = ""
    question: str = ""
    choices: tuple[Choice, ...] = ()
    slots: tuple[Slot, ...] = ()


class When(Strict):
    """A condition over tokens `check=state` and `check:code`."""

    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> When:
        if not self.all and not self.any:
            raise ValueError("needs at least one token under `all` or `any`")
        return self


class Rule(Strict):
    """When the condition holds, the reason applies. All rules are tried: causes are reported together."""

    reason: Name
    when: When


class Reason(Strict):
    """A named cause or outcome with the words for the client and what is to be done."""

    code: Name
    kind: ReasonKind
    title: Text
    client_text: str = ""
    resolution: Text

    @model_validator(mode="after")
    def _client_is_told(self) -> Reason:
        if self.kind is not ReasonKind.HUMAN_STEP and not self.client_text.strip():
            raise ValueError(f"a reason of kind {self.kind} needs client_text")
        return self


class Contact(Strict):
    """A person or desk that is written to."""

    name: Text
    address: Text


class Route(Strict):
    """Which address or team serves which regions or reasons; `match` lists them, "*" fits all. First fit wins."""

    match: tuple[str, ...] = Field(min_length=1)
    to: Text


class Stage(Strict):
    """One step of the escalation path. `after` names the stages that must have ended without a resolution."""

    id: Name
    title: Text
    kind: Literal["verify", "escalate"]
    after: tuple[Name, ...] = ()
    teams: tuple[str, ...] = ()
    hand_over: tuple[Route, ...] = ()
    contacts: tuple[Name, ...] = ()
    channel: str = ""
    internal_note: bool = False
    child_ticket: bool = False
    routing: tuple[Route, ...] = ()

    @model_validator(mode="after")
    def _reaches_someone(self) -> Stage:
        if self.kind == "escalate" and not (self.contacts and self.channel):
            raise ValueError("an escalation needs contacts and a channel")
        if self.child_ticket and not self.routing:
            raise ValueError("a child ticket needs a routing table")
        return self


class Desks(Strict):
    """Which systems hold the parent ticket, the child tickets, the chat and the mail."""

    parent: Name = "zendesk"
    child: Name = "jira"
    chat: Name = "slack"
    mail: Name = "smtp"


class Package(Strict):
    """What an escalation must carry."""

    expected: Text
    observed: Text
    parts: tuple[Literal["problem", "logs", "evidence", "references"], ...] = (
        "problem",
        "logs",
        "evidence",
        "references",
    )


class References(Strict):
    """How similar cases are searched for; the query's placeholders are intake fields."""

    system: Name
    query: Text
    limit: int = Field(default=10, ge=1, le=100)


class Offer(Strict):
    """A change of a setting that is offered, never done unasked, and only for a named approver."""

    id: Name
    reasons: tuple[Name, ...] = Field(min_length=1)
    providers: tuple[Name, ...] = ()
    title: Text
    consequences: Text
    irreversible: bool = False
    by_hand: bool = True


class Feedback(Strict):
    """Where people say what they think of the playbook."""

    url: Text
    question: Text


class Example(Strict):
    """An illustration shown where a template has no real one."""

    id: Name
    title: Text
    value: Text


class Playbook(Strict):
    """One playbook, checked as a whole; see the module's docstring."""

    id: Name
    version: Text
    title: Text
    source_note: str = ""
    prerequisites: tuple[Prerequisite, ...] = Field(min_length=1)
    profiles: dict[str, Profile] = {}
    blocks: tuple[Block, ...] = Field(min_length=1)
    checks: tuple[Check, ...] = Field(min_length=1)
    rules: tuple[Rule, ...] = Field(min_length=1)
    reasons: tuple[Reason, ...] = Field(min_length=1)
    fallback: Name
    stages: tuple[Stage, ...] = Field(min_length=1)
    contacts: dict[str, Contact] = {}
    channels: dict[str, Text] = {}
    desks: Desks = Desks()
    package: Package
    references: References
    offers: tuple[Offer, ...] = ()
    examples: tuple[Example, ...] = ()
    feedback: Feedback

    @property
    def digest(self) -> str:
        """SHA-256 of the whole content, so that an edit without a new version is still seen."""
        return digest_of(self.model_dump(mode="json"))

    def check(self, check_id: str) -> Check:
        """The check of this id; raises ConfigError."""
        return _named(self.checks, check_id, "check", self.id)

    def stage(self, stage_id: str) -> Stage:
        """The stage of this id; raises ConfigError."""
        return _named(self.stages, stage_id, "stage", self.id)

    def reason(self, code: str) -> Reason:
        """The reason of this code; raises ConfigError."""
        found = next((r for r in self.reasons if r.code == code), None)
        if found is None:
            raise ConfigError(f"playbook {self.id}: there is no reason {code!r}")
        return found


def _named(items: Sequence[T], wanted: str, what: str, playbook: str) -> T:
    found = next((i for i in items if i.id == wanted), None)
    if found is None:
        known = ", ".join(i.id for i in items)
        raise ConfigError(f"playbook {playbook}: there is no {what} {wanted!r}", f"it has: {known}")
    return found
