"""What comes of a case: the client's reply, offered settings, similar tickets, feedback.

Nothing here touches a remote: what is to be done there is returned as `Effect` data for the engine to perform at most
once, and `record_effect` notes what came of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from recovery.case.case import Case
from recovery.case.casework import Office, look_up, person_named
from recovery.case.diagnosis import Diagnosis, fill, values_of
from recovery.case.evidence import redact
from recovery.case.records import Effect, Reference, effect_data
from recovery.errors import RefusedError, UsageError
from recovery.model import ActionKind, digest_of
from recovery.playbook import Offer, Playbook


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply to the client as a draft. Approving names the `digest`, so what is sent is what was read."""

    paragraphs: tuple[str, ...]
    attachments: tuple[str, ...]
    reasons: tuple[str, ...]
    digest: str


class ReferenceDesk(Protocol):
    """Where similar tickets are searched for."""

    async def search(self, query: str, limit: int) -> Sequence[Reference]:
        """Similar tickets, best first; raises RemoteError when the search failed (which is not "none found")."""
        ...


async def draft_reply(office: Office, playbook: Playbook, ref: str) -> Reply:
    """The findings in the client's words, every cause in its own paragraph, cards attached (R000.22 to R000.24).

    Raises RefusedError while a required check is open: the client is told all causes together, once they are known.
    """
    outcome = await look_up(office, playbook, ref)
    diagnosis = _finished(outcome.diagnosis)
    told = [h for h in diagnosis.hits if h.client_text]
    if not told:
        raise RefusedError("there is nothing to tell the client yet", "finish the open steps first")
    used = {token.split("=")[0].split(":")[0] for h in told for token in h.because}
    cards = tuple(
        e.digest for e in outcome.case.evidence if e.kind == "card" and e.check in used and _latest(outcome.case, e.ref)
    )
    paragraphs = tuple(h.client_text for h in told)
    digest = digest_of([ref, paragraphs, cards])
    return Reply(paragraphs, cards, tuple(h.code for h in told), digest)


def _finished(diagnosis: Diagnosis | None) -> Diagnosis:
    if diagnosis is None:
        raise RefusedError("the checks have not been run", "give the missing fields and run the checks")
    if not diagnosis.complete:
        steps = ", ".join(s.check for s in diagnosis.steps)
        raise RefusedError(f"checks are still open: {steps}", "a person must look; unknown never counts as passed")
    return diagnosis


def _latest(case: Case, evidence_ref: str) -> bool:
    return any(evidence_ref in r.evidence for r in case.results.values())


async def approve_reply(office: Office, playbook: Playbook, ref: str, digest: str, by: str) -> Effect:
    """Approve exactly this draft; the public reply to the client as an effect. Asking again gives the same effect."""
    draft = await draft_reply(office, playbook, ref)
    if draft.digest != digest:
        raise RefusedError("the draft has changed since it was read", "read it again and approve the new digest")
    case = await office.load(ref)
    effect = Effect(
        ActionKind.TICKET_COMMENT,
        playbook.desks.parent,
        _parent(case),
        f"reply-{digest[:12]}",
        {"public": True, "paragraphs": list(draft.paragraphs), "attachments": list(draft.attachments), "case": ref},
    )
    if digest not in case.replies:
        await office.add(case, "reply_approved", person_named(by), {"digest": digest, "effects": [effect_data(effect)]})
    return effect


def _parent(case: Case) -> str:
    ticket = case.fields.get("ticket_ref", "")
    if not ticket:
        raise RefusedError("the case names no ticket of the client", "give the field ticket_ref")
    return ticket


# ---- settings: offered, never switched unasked ----------------------------------------------------------------------


async def offers(office: Office, playbook: Playbook, ref: str) -> tuple[Offer, ...]:
    """The changes of settings that would help, with their consequences (R000.10). Offering changes nothing."""
    outcome = await look_up(office, playbook, ref)
    if outcome.diagnosis is None:
        return ()
    codes = set(outcome.diagnosis.codes)
    provider = values_of(playbook, outcome.case.account, outcome.case.fields, outcome.case.results).get("provider", "")
    return tuple(o for o in playbook.offers if codes & set(o.reasons) and (not o.providers or provider in o.providers))


async def approve_setting(
    office: Office,
    playbook: Playbook,
    ref: str,
    offer_id: str,
    *,
    by: str,
    approvers: Collection[str],
    consequences_read: bool,
) -> Effect:
    """A named approver consents to one offered change; it is then done by hand.

    Raises RefusedError for anybody else, for a change that is not offered, or when the consequences were not accepted.
    """
    person = person_named(by)
    offer = next((o for o in await offers(office, playbook, ref) if o.id == offer_id), None)
    if offer is None:
        raise RefusedError(f"the change {offer_id!r} is not offered in this case", "see the case's offers")
    if person not in approvers:
        raise RefusedError(
            f"{person} may not approve changes of settings", f"approvers: {', '.join(sorted(approvers)) or 'none'}"
        )
    if not consequences_read:
        raise RefusedError(f"the consequences were not accepted: {offer.consequences}", "read and accept them")
    case = await office.load(ref)
    payload = {
        "title": offer.title,
        "consequences": offer.consequences,
        "irreversible": offer.irreversible,
        "by_hand": offer.by_hand,
        "approved_by": person,
        "case": ref,
    }
    effect = Effect(ActionKind.SETTING, _provider(playbook, case), case.account, offer.id, payload)
    if offer.id not in case.settings:
        await office.add(case, "setting_approved", person, {"offer": offer.id, "effects": [effect_data(effect)]})
    return effect


def _provider(playbook: Playbook, case: Case) -> str:
    return values_of(playbook, case.account, case.fields, case.results).get("provider", "") or "panel"


# ---- similar tickets, feedback, results -----------------------------------------------------------------------------


async def search_references(office: Office, playbook: Playbook, ref: str, desk: ReferenceDesk, by: str) -> Case:
    """Search for similar tickets and record the outcome; "none found" is recorded too (R000.29, R000.47).

    A failed search raises and records nothing: not having looked is not the same as having found none.
    """
    case = await office.load(ref)
    query = fill(playbook.references.query, {**case.fields, "account": case.account})
    own = case.fields.get("ticket_ref", "")
    found = [r for r in await desk.search(query, playbook.references.limit) if r.ref != own]
    data = {"query": query, "found": [{"ref": r.ref, "title": redact(r.title), "url": r.url} for r in found]}
    await office.add(case, "references", person_named(by), data)
    return await office.load(ref)


async def give_feedback(office: Office, playbook: Playbook, ref: str, answer: str, by: str) -> Case:
    """Store what somebody says about the playbook, against the version that the case was opened with (R000.48)."""
    if not answer.strip():
        raise UsageError("the feedback is empty", f"or use the form: {playbook.feedback.url}")
    case = await office.load(ref)
    data = {"version": case.version, "answer": redact(answer.strip())}
    await office.add(case, "feedback", person_named(by), data)
    return await office.load(ref)


async def record_effect(office: Office, ref: str, effect: Effect, remote_ref: str, by: str = "allclear") -> Case:
    """Note that the engine has confirmed an effect, and what it produced (a child ticket's key, say). Idempotent."""
    case = await office.load(ref)
    if case.done.get(effect.ref) != remote_ref:
        await office.add(case, "effect_done", by, {"effect": effect.ref, "remote_ref": remote_ref})
    return await office.load(ref)


def summary_lines(playbook: Playbook, case: Case, diagnosis: Diagnosis) -> tuple[str, ...]:
    """The case in lines of plain text, for an internal note: checks, where to look, reasons, references."""
    checks = {c.id: c for c in playbook.checks}
    lines = [f"Case {case.ref}, playbook {playbook.title} version {case.version}, account {case.account}"]
    lines += [f"{checks[r.check].title}: {r.state} ({r.summary}) by {r.by}" for r in case.results.values()]
    lines += [
        f"Where to look: {checks[r.check].menu_path} {r.link}".rstrip()
        for r in case.results.values()
        if checks[r.check].menu_path
    ]
    lines += [f"Found: {h.title}. {h.resolution}" for h in diagnosis.hits]
    lines += [f"Open: {s.text}" for s in diagnosis.steps]
    lines.append(f"Reference cases: {case.references.said if case.references else 'not searched'}")
    return tuple(lines)
