"""The records that a case is made of, and the effects that it asks for. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from recovery.model import ActionKind


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """One piece of evidence. `digest`: SHA-256 of what is stored; `answer_digest`: of the reply as received."""

    ref: str
    kind: str
    check: str
    slot: str
    digest: str
    media_type: str
    at: datetime
    by: str
    title: str = ""
    request: str = ""
    status: int | None = None
    answer_digest: str = ""
    trace_ref: str = ""
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Effect:
    """Something to do at a remote, as data: the engine performs it at most once under a key made of these fields."""

    kind: ActionKind
    system: str
    object_ref: str
    slot: str
    payload: Mapping[str, object] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """The effect's name within its case."""
        return f"{self.kind}:{self.system}:{self.object_ref}:{self.slot}"


@dataclass(frozen=True, slots=True)
class StageRecord:
    """A stage of the escalation path that was gone through: which team, resolved or not."""

    stage: str
    team: str
    resolved: bool
    note: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Escalation:
    """An escalation that was opened. It stays open until its child ticket or a person resolves it."""

    stage: str
    contact: str
    channel: str
    team: str
    override_reason: str
    effects: tuple[Effect, ...]
    by: str
    at: datetime
    resolved_at: datetime | None = None

    @property
    def open(self) -> bool:
        """Whether it waits for an answer."""
        return self.resolved_at is None


@dataclass(frozen=True, slots=True)
class Reference:
    """A similar ticket."""

    ref: str
    title: str
    url: str


@dataclass(frozen=True, slots=True)
class Searched:
    """A finished search for similar tickets; an empty `found` means "none found", which is an answer."""

    query: str
    found: tuple[Reference, ...]
    at: datetime

    @property
    def said(self) -> str:
        """The outcome in words."""
        return "; ".join(f"{r.ref} {r.title}" for r in self.found) if self.found else "none found"


@dataclass(frozen=True, slots=True)
class FeedbackNote:
    """What somebody said about one version of the playbook."""

    version: str
    answer: str
    by: str
    at: datetime


def effect_data(effect: Effect) -> dict[str, object]:
    """An effect as event data."""
    return {
        "kind": effect.kind.value,
        "system": effect.system,
        "object_ref": effect.object_ref,
        "slot": effect.slot,
        "payload": dict(effect.payload),
    }
