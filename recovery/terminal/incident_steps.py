"""`allclear incident update`: what is learnt about an incident, as one or more steps that rules decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import cast

from recovery.desk import rules
from recovery.desk.incident import Change, Incident
from recovery.desk.sla_settings import SEVERITIES
from recovery.desk_wiring import DeskSystems
from recovery.errors import UsageError
from recovery.terminal.incident_commands import check_customers, step
from recovery.window import parse_moment

_LISTS = ("steps", "symptoms", "customers")


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is said; empty fields say nothing. `facts` are FIELD=VALUE."""

    severity: str = ""
    reason: str = ""
    eta: str = ""
    nature: str = ""
    impact: str = ""
    facts: tuple[str, ...] = ()
    task: str = ""


async def update(config: Path | None, ref: str, by: str, said: Learnt, *, as_json: bool) -> int:
    """Records it; RefusedError when a rule forbids it, UsageError when nothing is said."""

    def decide(desk: DeskSystems, incident: Incident, now: datetime) -> Sequence[Change]:
        changes = changes_of(desk, incident, by, now, said)
        if not changes:
            raise UsageError("Nothing was said.", "`allclear incident update --help` has examples.")
        return changes

    return await step(config, ref, decide, as_json=as_json)


def changes_of(desk: DeskSystems, incident: Incident, by: str, now: datetime, said: Learnt) -> list[Change]:
    """The events that the rules allow for what is said."""
    changes: list[Change] = []
    if said.severity:
        if said.severity not in SEVERITIES:
            raise UsageError(f"{said.severity!r} is no severity.", f"Choose one of {', '.join(SEVERITIES)}.")
        changes.append(rules.change_severity(desk.desk, incident, by, now, said.severity, said.reason))
    if said.eta:
        changes.append(rules.give_eta(desk.desk, by, now, said.eta))
    if said.nature or said.impact:
        changes += rules.triage(desk.desk, by, now, said.nature, said.impact)
    changes += [_fact(desk, by, now, text) for text in said.facts]
    if said.task:
        changes.append(rules.complete_task(desk.desk, by, now, said.task))
    return changes


def _fact(desk: DeskSystems, by: str, now: datetime, text: str) -> Change:
    name, found, value = text.partition("=")
    if not found:
        raise UsageError(f"{text!r} is not FIELD=VALUE.", 'Write for example --set "symptoms=nothing is sent".')
    kept: object = value
    if name == "started_at":
        kept = parse_moment(value, now)
    elif name in _LISTS:
        kept = tuple(v.strip() for v in value.split(";") if v.strip())
    if name == "customers":
        check_customers(desk, cast("tuple[str, ...]", kept))
    return rules.record_fact(desk.desk, by, now, name, kept)
