"""A case: one run of a playbook for one complaint, folded from its append-only stream `case/<ref>`. Pure.

Nothing is ever changed or removed: every check, attestation, stage, escalation and answer is an event with its author
and time, and the case is what they add up to (E.6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from recovery.case.diagnosis import CheckResult
from recovery.case.records import (
    Effect,
    Escalation,
    EvidenceItem,
    FeedbackNote,
    Reference,
    Searched,
    StageRecord,
)
from recovery.errors import UsageError
from recovery.journal import StreamEvent
from recovery.model import ActionKind, digest_of
from recovery.playbook import Playbook, State


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that is known of a case. `seq` is the last event's number: append with it as `expected_seq`."""

    ref: str
    account: str
    playbook: str
    version: str
    playbook_digest: str
    fields: Mapping[str, str]
    opened_by: str
    opened_at: datetime
    seq: int = 0
    results: Mapping[str, CheckResult] = field(default_factory=dict)
    evidence: tuple[EvidenceItem, ...] = ()
    reasons: tuple[str, ...] = ()
    diagnosed_at: datetime | None = None
    stages: Mapping[str, StageRecord] = field(default_factory=dict)
    escalations: Mapping[str, Escalation] = field(default_factory=dict)
    references: Searched | None = None
    replies: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    done: Mapping[str, str] = field(default_factory=dict)
    feedback: tuple[FeedbackNote, ...] = ()
    timeline: tuple[StreamEvent, ...] = ()

    @property
    def resolved(self) -> bool:
        """Whether a stage or every opened escalation ended with a resolution."""
        ended = [e for e in self.escalations.values() if not e.open]
        by_stage = any(s.resolved for s in self.stages.values())
        return by_stage or (bool(ended) and len(ended) == len(self.escalations))

    @property
    def reference_refs(self) -> tuple[str, ...]:
        """The "Reference Ticket IDs" list; may be empty (R000.47)."""
        return tuple(r.ref for r in self.references.found) if self.references else ()

    def filled(self, check: str) -> frozenset[str]:
        """The evidence slots of a check that hold something."""
        result = self.results.get(check)
        by_person = {e.slot for e in self.evidence if e.check == check and e.kind in ("upload", "attestation")}
        return frozenset(by_person | set(result.filled if result else ())) - {""}


@dataclass(frozen=True, slots=True)
class BlockDone:
    """A block of checks as it was gone through: by whom, and when it was finished (None while it is not)."""

    block: str
    title: str
    by: tuple[str, ...]
    done_at: datetime | None
    open: tuple[str, ...]


def blocks_done(playbook: Playbook, case: Case) -> tuple[BlockDone, ...]:
    """Who did each block and when; a block with a check not looked at, unknown or in error is not done (R000.5)."""
    found: list[BlockDone] = []
    for block in playbook.blocks:
        checks = [c for c in playbook.checks if c.block == block.id]
        results = [case.results[c.id] for c in checks if c.id in case.results]
        waiting = tuple(c.id for c in checks if c.required and (c.id not in case.results or case.results[c.id].open))
        done_at = max((r.at for r in results), default=None) if not waiting else None
        found.append(BlockDone(block.id, block.title, tuple(dict.fromkeys(r.by for r in results)), done_at, waiting))
    return tuple(found)


def stream_of(ref: str) -> str:
    """The ledger stream of a case."""
    return f"case/{ref}"


def case_ref(playbook_id: str, account: str, fields: Mapping[str, str]) -> str:
    """The same complaint arrives at the same case, whoever opens it: playbook, account and what it is about."""
    subject = {k: v.strip() for k, v in fields.items() if k.endswith(("_ref", "_name")) and k != "ticket_ref"}
    return f"{playbook_id}-{digest_of([playbook_id, account, subject])[:10]}"


def fold(ref: str, events: Iterable[StreamEvent]) -> Case:
    """The case that these events add up to; raises UsageError when there are none."""
    case: Case | None = None
    for event in events:
        case = _opened(ref, event) if case is None else _HANDLERS.get(event.kind, _noted)(case, event.data, event)
        case = replace(case, seq=event.seq, timeline=(*case.timeline, event))
    if case is None:
        raise UsageError(f"there is no case {ref!r}", "list the cases, or open one")
    return case


# ---- one handler per kind of event ---------------------------------------------------------------------------------

Data = Mapping[str, Any]


def _opened(ref: str, event: StreamEvent) -> Case:
    data: Data = event.data
    return Case(
        ref=ref,
        account=data["account"],
        playbook=data["playbook"],
        version=data["version"],
        playbook_digest=data["digest"],
        fields=dict(data["fields"]),
        opened_by=event.by,
        opened_at=event.at,
    )


def _noted(case: Case, data: Data, event: StreamEvent) -> Case:
    del data, event
    return case


def _fields(case: Case, data: Data, event: StreamEvent) -> Case:
    del event
    return replace(case, fields={**case.fields, **data["fields"]})


def _check(case: Case, data: Data, event: StreamEvent) -> Case:
    result = CheckResult(
        check=data["check"],
        state=State(data["state"]),
        codes=tuple(data["codes"]),
        summary=data["summary"],
        at=event.at,
        by=event.by,
        source=data["source"],
        facts=dict(data["facts"]),
        link=data["link"],
        evidence=tuple(data["evidence"]),
        filled=dict(data["filled"]),
    )
    return replace(case, results={**case.results, result.check: result})


def _evidence(case: Case, data: Data, event: StreamEvent) -> Case:
    item = EvidenceItem(at=datetime.fromisoformat(data["at"]), by=event.by, **{k: data[k] for k in _EVIDENCE_FIELDS})
    return replace(case, evidence=(*case.evidence, item))


_EVIDENCE_FIELDS = (
    "ref",
    "kind",
    "check",
    "slot",
    "digest",
    "media_type",
    "title",
    "request",
    "status",
    "answer_digest",
    "trace_ref",
    "signature",
)


def evidence_data(item: EvidenceItem) -> dict[str, object]:
    """The event data of a piece of evidence."""
    return {name: getattr(item, name) for name in _EVIDENCE_FIELDS} | {"at": item.at.isoformat()}


def _diagnosed(case: Case, data: Data, event: StreamEvent) -> Case:
    return replace(case, reasons=tuple(data["reasons"]), diagnosed_at=event.at)


def _stage(case: Case, data: Data, event: StreamEvent) -> Case:
    record = StageRecord(data["stage"], data["team"], data["resolved"], data["note"], event.by, event.at)
    return replace(case, stages={**case.stages, record.stage: record})


def _effect(data: Data) -> Effect:
    return Effect(ActionKind(data["kind"]), data["system"], data["object_ref"], data["slot"], dict(data["payload"]))


def effects_of(event: StreamEvent) -> tuple[Effect, ...]:
    """The effects that an event asked for."""
    data: Data = event.data
    return tuple(_effect(e) for e in data.get("effects", ()))


def _escalated(case: Case, data: Data, event: StreamEvent) -> Case:
    opened = Escalation(
        stage=data["stage"],
        contact=data["contact"],
        channel=data["channel"],
        team=data["team"],
        override_reason=data["override_reason"],
        effects=effects_of(event),
        by=event.by,
        at=event.at,
    )
    return replace(case, escalations={**case.escalations, opened.stage: opened})


def _escalation_resolved(case: Case, data: Data, event: StreamEvent) -> Case:
    ended = replace(case.escalations[data["stage"]], resolved_at=event.at)
    return replace(case, escalations={**case.escalations, ended.stage: ended})


def _references(case: Case, data: Data, event: StreamEvent) -> Case:
    found = tuple(Reference(r["ref"], r["title"], r["url"]) for r in data["found"])
    return replace(case, references=Searched(data["query"], found, event.at))


def _reply_approved(case: Case, data: Data, event: StreamEvent) -> Case:
    del event
    return replace(case, replies=(*case.replies, data["digest"]))


def _setting_approved(case: Case, data: Data, event: StreamEvent) -> Case:
    return replace(case, settings={**case.settings, data["offer"]: event.by})


def _effect_done(case: Case, data: Data, event: StreamEvent) -> Case:
    del event
    return replace(case, done={**case.done, data["effect"]: data["remote_ref"]})


def _feedback(case: Case, data: Data, event: StreamEvent) -> Case:
    return replace(case, feedback=(*case.feedback, FeedbackNote(data["version"], data["answer"], event.by, event.at)))


_HANDLERS: dict[str, Callable[[Case, Data, StreamEvent], Case]] = {
    "fields": _fields,
    "check": _check,
    "evidence": _evidence,
    "diagnosed": _diagnosed,
    "stage": _stage,
    "escalated": _escalated,
    "escalation_resolved": _escalation_resolved,
    "references": _references,
    "reply_approved": _reply_approved,
    "setting_approved": _setting_approved,
    "effect_done": _effect_done,
    "feedback": _feedback,
}
