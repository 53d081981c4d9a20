"""The escalation path of a case: stages in order, a package that must be complete, two independent escalations.

Rows R000.25 to R000.45. A refusal names what is missing; an override needs a reason, which is recorded. Effects are
stored with their event, so that asking again gives the same ones and the engine performs each at most once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from recovery.case.case import Case
from recovery.case.casework import Office, Outcome, look_up, person_named
from recovery.case.diagnosis import NOT_KNOWN, Diagnosis, fill, values_of
from recovery.case.evidence import redact
from recovery.case.outcome import summary_lines
from recovery.case.records import Effect, Escalation, effect_data
from recovery.errors import LedgerConflict, RefusedError, UsageError
from recovery.model import ActionKind
from recovery.playbook import Contact, Playbook, ReasonKind, Route, Stage


@dataclass(frozen=True, slots=True)
class Package:
    """What an escalation carries. `missing` says in words what is not there yet."""

    problem: tuple[str, ...]
    logs: tuple[str, ...]
    evidence: tuple[str, ...]
    references: str
    missing: tuple[str, ...]


def build_package(playbook: Playbook, case: Case, diagnosis: Diagnosis | None) -> Package:
    """Problem statement, logs, evidence and reference cases as they stand (R000.26 to R000.30). Pure."""
    values = values_of(playbook, case.account, case.fields, case.results)
    kind = "journey" if not case.fields.get("campaign_ref") else "campaign"
    problem = (
        f"Account: {case.account}",
        f"Template: {case.fields.get('template_name', NOT_KNOWN)}",
        f"{kind.capitalize()} ID: {case.fields.get(f'{kind}_ref', NOT_KNOWN)}",
        f"Expected: {fill(playbook.package.expected, values)}",
        f"Observed: {fill(playbook.package.observed, values)}",
        f"Since: {case.fields.get('since') or case.fields.get('sent_on') or NOT_KNOWN}",
        *(f"Finding: {h.title}" for h in (diagnosis.hits if diagnosis else ())),
    )
    logs = tuple(e.ref for e in case.evidence if e.kind == "api" or e.slot == "log")
    cards = tuple(e.ref for e in case.evidence if e.kind in ("card", "upload", "attestation"))
    said = case.references.said if case.references else ""
    missing = tuple(text for part in playbook.package.parts for text in _MISSING[part](playbook, case, diagnosis, logs))
    return Package(problem, logs, cards, said, missing)


def _problem_missing(
    playbook: Playbook, case: Case, diagnosis: Diagnosis | None, logs: tuple[str, ...]
) -> tuple[str, ...]:
    del playbook, logs
    if diagnosis is None:
        return ("problem statement: the checks have not been run",)
    return (
        ()
        if case.fields.get("since") or case.fields.get("sent_on")
        else ("problem statement: since when (field since)",)
    )


def _logs_missing(
    playbook: Playbook, case: Case, diagnosis: Diagnosis | None, logs: tuple[str, ...]
) -> tuple[str, ...]:
    del playbook, case, diagnosis
    return () if logs else ("logs: no API answer is stored and none was attached",)


def _evidence_missing(
    playbook: Playbook, case: Case, diagnosis: Diagnosis | None, logs: tuple[str, ...]
) -> tuple[str, ...]:
    del diagnosis, logs
    return tuple(
        f"evidence: {slot.title}"
        for check in playbook.checks
        for slot in check.slots
        if slot.required and slot.id not in case.filled(check.id)
    )


def _references_missing(
    playbook: Playbook, case: Case, diagnosis: Diagnosis | None, logs: tuple[str, ...]
) -> tuple[str, ...]:
    del playbook, diagnosis, logs
    return () if case.references else ("reference cases: similar tickets have not been searched for",)


_MISSING = {
    "problem": _problem_missing,
    "logs": _logs_missing,
    "evidence": _evidence_missing,
    "references": _references_missing,
}


def route(routes: tuple[Route, ...], wanted: Collection[str]) -> str:
    """The first route that fits one of the wanted words, or "*"; "" when none does."""
    return next((r.to for r in routes if "*" in r.match or set(r.match) & set(wanted)), "")


# ---- verification stages --------------------------------------------------------------------------------------------


async def record_stage(
    office: Office, playbook: Playbook, ref: str, *, stage_id: str, team: str, resolved: bool, note: str, by: str
) -> tuple[Effect, ...]:
    """Record that a team has gone through a verification stage; the hand-over mail when it found no resolution.

    Raises RefusedError when an earlier stage is missing or has resolved the case, UsageError for an unknown team.
    """
    case = (await look_up(office, playbook, ref)).case
    stage = playbook.stage(stage_id)
    if stage.kind != "verify":
        raise UsageError(f"{stage_id} is an escalation, not a verification", "use escalate")
    if stage.teams and team not in stage.teams:
        raise UsageError(f"{team!r} is not a team of {stage.title}", f"one of: {', '.join(stage.teams)}")
    _in_turn(case, stage)
    person = person_named(by)
    effects = () if resolved else _hand_over(playbook, case, stage, team, note)
    data: dict[str, object] = {
        "stage": stage.id,
        "team": team,
        "resolved": resolved,
        "note": redact(note.strip()),
        "effects": [effect_data(e) for e in effects],
    }
    await office.add(case, "stage", person, data)
    return effects


def _in_turn(case: Case, stage: Stage) -> None:
    for earlier in stage.after:
        record = case.stages.get(earlier)
        if record is None:
            raise RefusedError(f"{stage.title}: stage {earlier!r} has not been recorded", "record it first")
        if record.resolved:
            raise RefusedError(
                f"{stage.title}: stage {earlier!r} has resolved the case",
                "record that stage again with --not-resolved if it returns",
            )


def _hand_over(playbook: Playbook, case: Case, stage: Stage, team: str, note: str) -> tuple[Effect, ...]:
    address = route(stage.hand_over, [case.fields.get("region", "").upper()])
    if not address:
        return ()
    payload: dict[str, object] = {
        "to": [address],
        "subject": f"{playbook.title}: {case.account} ({case.ref})",
        "lines": [f"{team} found no resolution.", redact(note.strip()), *_about(case)],
    }
    return (Effect(ActionKind.MAIL, playbook.desks.mail, f"case/{case.ref}", f"hand-over-{stage.id}", payload),)


def _about(case: Case) -> list[str]:
    return [f"{name}: {value}" for name, value in sorted(case.fields.items())]


# ---- escalations ----------------------------------------------------------------------------------------------------


async def escalate(
    office: Office,
    playbook: Playbook,
    ref: str,
    *,
    stage_id: str,
    by: str,
    absent: Collection[str] = (),
    override_reason: str = "",
) -> Escalation:
    """Open one escalation: to the first contact present, with the package, and a child ticket where the stage says so.

    Refused while fields are missing, an earlier stage is open, a required check is open, no reason calls for it, or the
    package lacks a part; the last three give way to `override_reason`, recorded. Asking again gives the first one.
    """
    outcome = await look_up(office, playbook, ref)
    case, stage = outcome.case, playbook.stage(stage_id)
    if stage.id in case.escalations:
        return case.escalations[stage.id]
    _refuse_early(outcome, stage)
    package = build_package(playbook, case, outcome.diagnosis)
    _refuse_incomplete(outcome.diagnosis, package, override_reason)
    contact = _present(playbook, stage, absent)
    reasons = outcome.diagnosis.codes if outcome.diagnosis else ()
    team = route(stage.routing, reasons) if stage.child_ticket else ""
    lines = summary_lines(playbook, case, outcome.diagnosis) if outcome.diagnosis else ()
    effects = _escalation_effects(playbook, case, stage, contact, team, package, lines)
    data: dict[str, object] = {
        "stage": stage.id,
        "contact": contact.name,
        "channel": playbook.channels[stage.channel],
        "team": team,
        "override_reason": redact(override_reason.strip()),
        "missing": list(package.missing),
        "effects": [effect_data(e) for e in effects],
    }
    try:
        await office.add(case, "escalated", person_named(by), data)
    except LedgerConflict:
        # Somebody moved the case meanwhile: their escalation of this stage is the one, anything else is told.
        if stage.id not in (await office.load(ref)).escalations:
            raise
    return (await office.load(ref)).escalations[stage.id]


def _refuse_early(outcome: Outcome, stage: Stage) -> None:
    if stage.kind != "escalate":
        raise UsageError(f"{stage.id} is a verification, not an escalation", "use record_stage")
    if outcome.asks:
        raise RefusedError("fields are missing: " + " ".join(a.text for a in outcome.asks), "give them first")
    _in_turn(outcome.case, stage)


def _refuse_incomplete(diagnosis: Diagnosis | None, package: Package, override_reason: str) -> None:
    problems = list(package.missing)
    if diagnosis is None or not diagnosis.of(ReasonKind.ESCALATE):
        problems.insert(0, "no finding calls for an escalation")
    if diagnosis is not None and not diagnosis.complete:
        problems.insert(0, "checks are still open: " + ", ".join(s.check for s in diagnosis.steps))
    if problems and not override_reason.strip():
        raise RefusedError("not ready to escalate: " + "; ".join(problems), "complete it, or override with a reason")


def _present(playbook: Playbook, stage: Stage, absent: Collection[str]) -> Contact:
    """The first contact in the playbook's order who is not absent (R000.38)."""
    for name in stage.contacts:
        contact = playbook.contacts[name]
        if name not in absent and contact.name not in absent:
            return contact
    raise RefusedError(f"{stage.title}: every contact is absent", f"contacts: {', '.join(stage.contacts)}")


def _escalation_effects(
    playbook: Playbook,
    case: Case,
    stage: Stage,
    contact: Contact,
    team: str,
    package: Package,
    lines: tuple[str, ...],
) -> tuple[Effect, ...]:
    subject, desks = f"case/{case.ref}", playbook.desks
    body = _package_lines(package)
    ticket = case.fields.get("ticket_ref", "")
    made: list[Effect] = []
    if stage.internal_note and ticket:
        note: Mapping[str, object] = {"public": False, "paragraphs": [*lines, *body], "case": case.ref}
        made.append(Effect(ActionKind.TICKET_COMMENT, desks.parent, ticket, f"note-{stage.id}", note))
    if stage.child_ticket:
        child: Mapping[str, object] = {
            "team": team,
            "parent": ticket,
            "summary": f"{playbook.title}: {case.account}",
            "paragraphs": [*body, *lines],
            "evidence": list(package.evidence),
            "case": case.ref,
        }
        made.append(Effect(ActionKind.TICKET, desks.child, subject, f"child-{team}", child))
        if ticket:
            link: Mapping[str, object] = {"parent": ticket, "child_of": f"child-{team}", "case": case.ref}
            made.append(Effect(ActionKind.TICKET_LINK, desks.child, subject, f"link-{team}", link))
    mail: Mapping[str, object] = {
        "to": [contact.address],
        "subject": f"{stage.title}: {playbook.title}, {case.account} ({case.ref})",
        "lines": [*body, *lines],
    }
    made.append(Effect(ActionKind.MAIL, desks.mail, subject, f"contact-{stage.id}", mail))
    chat: Mapping[str, object] = {"text": f"{stage.title}: {case.account}, {contact.name}", "lines": list(body)}
    made.append(Effect(ActionKind.CHAT, desks.chat, playbook.channels[stage.channel], f"{case.ref}-{stage.id}", chat))
    return tuple(made)


def _package_lines(package: Package) -> tuple[str, ...]:
    return (
        *package.problem,
        f"Logs: {', '.join(package.logs) or 'none'}",
        f"Evidence: {', '.join(package.evidence) or 'none'}",
        f"Reference cases: {package.references or 'not searched'}",
        *(f"Missing, sent anyway: {text}" for text in package.missing),
    )


async def post_to_channel(office: Office, playbook: Playbook, ref: str, stage_id: str, text: str, by: str) -> Effect:
    """A further message to an escalation's channel; refused unless that escalation is open (R000.43)."""
    case = (await look_up(office, playbook, ref)).case
    stage = playbook.stage(stage_id)
    opened = case.escalations.get(stage_id)
    if opened is None or not opened.open:
        raise RefusedError(f"the channel of {stage.title!r} is only for escalations", "escalate first")
    chat = {"text": redact(text), "lines": [], "by": person_named(by)}
    effect = Effect(
        ActionKind.CHAT, playbook.desks.chat, playbook.channels[stage.channel], f"{ref}-{stage_id}-{case.seq}", chat
    )
    await office.add(case, "channel_post", person_named(by), {"stage": stage_id, "effects": [effect_data(effect)]})
    return effect


async def resolve_escalation(
    office: Office, playbook: Playbook, ref: str, *, stage_id: str, note: str, client_text: str, by: str
) -> tuple[Effect, ...]:
    """A team has solved it: the parent ticket gets an internal note, and the client is told (R000.45).

    `client_text` is what the client reads; the note stays internal. Raises RefusedError when nothing is open.
    """
    case = (await look_up(office, playbook, ref)).case
    opened = case.escalations.get(stage_id)
    if opened is None or not opened.open:
        raise RefusedError(f"stage {stage_id!r} has no open escalation", "see the case's escalations")
    if not client_text.strip():
        raise UsageError("say what the client is told", "one sentence without internal detail")
    ticket = case.fields.get("ticket_ref", "")
    who = opened.team or opened.contact
    desk = playbook.desks.parent
    told: Mapping[str, object] = {"public": True, "paragraphs": [redact(client_text.strip())], "case": ref}
    noted: Mapping[str, object] = {
        "public": False,
        "paragraphs": [f"{who}: resolved. {redact(note.strip())}"],
        "case": ref,
    }
    effects = (
        Effect(ActionKind.TICKET_COMMENT, desk, ticket or f"case/{ref}", f"resolved-{stage_id}", noted),
        Effect(ActionKind.TICKET_COMMENT, desk, ticket or f"case/{ref}", f"resolved-{stage_id}-client", told),
    )
    data: dict[str, object] = {
        "stage": stage_id,
        "note": redact(note.strip()),
        "effects": [effect_data(e) for e in effects],
    }
    await office.add(case, "escalation_resolved", person_named(by), data)
    return effects
