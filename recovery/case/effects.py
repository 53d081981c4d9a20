"""Does what a case asks of the desks, each thing at most once, and notes what came of it.

The stream says what should be there; what is not recorded as done yet is performed again by anybody at any time. The
key of an effect is made of account, system, kind, case, object and slot: never of the wording, the person or the time.
A desk that is not set up becomes a task for a person, and so does anything that only a person may do.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from recovery.act import ABSENT, CANNOT_TELL, SEEN, Ended, Look, Runner
from recovery.act import Effect as Deed
from recovery.case.case import Case, effects_of
from recovery.case.casework import Office
from recovery.case.evidence import EvidenceStore
from recovery.case.outcome import record_effect
from recovery.case.records import Effect
from recovery.desk.ports import Attachment, CustomerDesk, MailDraft, Mailer
from recovery.errors import AllclearError, LedgerConflict
from recovery.ledger.rows import ActionSpec
from recovery.model import (
    ActionKind,
    AttemptOutcome,
    Harm,
    ItemOutcome,
    OpenAttempt,
    WriteResult,
    action_key,
    marker_of,
)
from recovery.ports import Chat, TicketDesk, TicketDraft

if TYPE_CHECKING:
    from recovery.wiring import Systems

NO_TICKET = "the case names no ticket of the client"


@dataclass(frozen=True, slots=True)
class CaseDesks:
    """The desks that are set up, None where one is not. `ticket_url` holds `{ref}` in place of a ticket's number.

    `store` holds the evidence that goes with replies.
    """

    incidents: TicketDesk | None
    customers: CustomerDesk | None
    chat: Chat | None
    mail: Mailer | None
    ticket_url: str = ""
    store: EvidenceStore | None = None


@dataclass(frozen=True, slots=True)
class Performed:
    """How one effect stands: done, waiting for another one, held with a question, or a task for a person.

    `text` says what happened or what is to be done, in words.
    """

    effect: Effect
    state: Literal["done", "waiting", "held", "task"]
    remote_ref: str = ""
    text: str = ""


def wanted(case: Case) -> tuple[Effect, ...]:
    """Every effect that the case has asked for, in the order of asking, each once."""
    found = {effect.ref: effect for event in case.timeline for effect in effects_of(event)}
    return tuple(found.values())


def pending(case: Case) -> tuple[Effect, ...]:
    """What is not recorded as done."""
    return tuple(e for e in wanted(case) if e.ref not in case.done)


def key_of(secret: bytes, case: Case, effect: Effect) -> str:
    """The business key. The case is part of it: two cases may write to one ticket."""
    slot = f"{case.ref}/{effect.slot}"
    return action_key(secret, case.account, effect.system, effect.kind.value, effect.object_ref, slot, 0)


async def perform(
    office: Office, systems: Systems, desks: CaseDesks, ref: str, by: str = "allclear"
) -> tuple[Performed, ...]:
    """Does everything of the case that is not done yet and can be done; how each effect stands then.

    Raises LedgerError; what a remote says ends in the result.
    """
    runner = Runner(systems.ledger, systems.clock, systems.policy, systems.tell, uuid.uuid4().hex, systems.switched_off)
    found: list[Performed] = []
    for effect in wanted(await office.load(ref)):
        case = await office.load(ref)
        if effect.ref in case.done:
            found.append(Performed(effect, "done", case.done[effect.ref], "done"))
            continue
        one = await _perform(runner, systems.secret, desks, case, effect)
        if one.state == "done":
            await note(office, ref, effect, one.remote_ref, by)
        found.append(one)
    return tuple(found)


async def note(office: Office, ref: str, effect: Effect, remote_ref: str, by: str) -> None:
    """Record that an effect is done, also while colleagues move the case; raises LedgerConflict after ten tries."""
    for _ in range(9):
        with suppress(LedgerConflict):
            await record_effect(office, ref, effect, remote_ref, by)
            return
    await record_effect(office, ref, effect, remote_ref, by)


async def _perform(runner: Runner, secret: bytes, desks: CaseDesks, case: Case, effect: Effect) -> Performed:
    make = _MAKERS.get((effect.kind, effect.system))
    made = make(desks, case, effect, key_of(secret, case, effect)) if make else _no_desk(effect)
    if isinstance(made, Performed):
        return made
    waits = runner.policy.waits
    # A ticket desk's search lags behind its tickets: only the long wait makes "absent" believable there.
    settle = waits.settle if effect.kind is ActionKind.TICKET else waits.settle_copy
    try:
        remote_ref = await runner.perform(replace(made, settle_seconds=settle, confirm_seconds=max(60.0, settle)))
    except Ended as ended:
        state: Literal["held", "waiting"] = "held" if ended.outcome is ItemOutcome.HELD else "waiting"
        return Performed(effect, state, "", ended.reason)
    return Performed(effect, "done", remote_ref, "done now")


# ---- one maker per kind of effect and system ------------------------------------------------------------------------

Made: TypeAlias = Deed | Performed


def _no_desk(effect: Effect) -> Performed:
    return _task(effect, f"{effect.system} is not a desk that allclear can use for this")


def _task(effect: Effect, why: str) -> Performed:
    """Said plainly: why a person must do it, what, and with which words."""
    p = effect.payload
    words = [str(x) for name in ("paragraphs", "lines") for x in _texts(p, name)]
    facts = [
        f"{name}: {p[name]}"
        for name in ("title", "consequences", "approved_by", "summary", "subject", "text")
        if p.get(name)
    ]
    to = ", ".join(_texts(p, "to")) or effect.object_ref
    return Performed(effect, "task", "", "\n".join([f"{_WHAT[effect.kind]} {to} ({why}).", *facts, *words]))


_WHAT = {
    ActionKind.TICKET_COMMENT: "Write by hand on ticket",
    ActionKind.TICKET: "Open a child ticket by hand for",
    ActionKind.TICKET_LINK: "Link the child ticket by hand for",
    ActionKind.MAIL: "Send a mail by hand to",
    ActionKind.CHAT: "Post by hand in",
    ActionKind.SETTING: "Change the setting by hand for",
}


def _texts(payload: Mapping[str, Any], name: str) -> list[str]:
    value = payload.get(name, ())
    return [str(x) for x in value] if isinstance(value, (list, tuple)) else [str(value)]


def _deed(
    case: Case,
    effect: Effect,
    key: str,
    send: Callable[[OpenAttempt], Any],
    look: Callable[[], Any],
    **more: Any,
) -> Deed:
    spec = ActionSpec(key, f"case/{case.ref}", case.account, effect.kind, Harm.H1, effect.object_ref, 0, "", 0)
    return Deed(spec, f"{_WHAT[effect.kind].replace(' by hand', '').lower()} {effect.object_ref}", send, look, **more)


def _comment(desks: CaseDesks, case: Case, effect: Effect, key: str) -> Made:
    desk, ref = desks.customers, effect.object_ref
    if ref.startswith("case/"):
        return _task(effect, NO_TICKET)
    if desk is None:
        return _task(effect, "no customer desk is set up: [zendesk] in allclear.toml")
    public = effect.payload.get("public") is True
    text, marker = "\n\n".join(_texts(effect.payload, "paragraphs")), marker_of(key)

    async def send(attempt: OpenAttempt) -> WriteResult:
        try:
            files = await _files(desks.store, case, _texts(effect.payload, "attachments"))
        except AllclearError as problem:
            return WriteResult(AttemptOutcome.NOT_APPLIED, detail=f"not sent: {problem}")
        return await desk.comment(ref, text, public=public, marker=marker, attempt=attempt, files=files)

    async def look() -> Look:
        if await desk.has_comment(ref, marker, text):
            return Look(SEEN, ref, "", f"ticket {ref} carries the comment")
        return Look(ABSENT, note=f"no comment on ticket {ref} carries the marker")

    return _deed(case, effect, key, send, look, repeatable=True)


async def _files(store: EvidenceStore | None, case: Case, digests: Sequence[str]) -> tuple[Attachment, ...]:
    """The cards of a reply: the picture where one was drawn, else the page (R000.24)."""
    if store is None:
        return ()
    cards = {e.ref: e for e in case.evidence if e.digest in digests}
    shown = [e for ref, e in cards.items() if f"{ref}-png" not in cards]
    ending = {"image/png": "png", "text/html": "html"}
    return tuple(
        [Attachment(f"{e.ref}.{ending[e.media_type]}", e.media_type, await store.get(e.digest)) for e in shown]
    )


def _child(desks: CaseDesks, case: Case, effect: Effect, key: str) -> Made:
    desk = desks.incidents
    if desk is None:
        return _task(effect, "no ticket desk is set up: [jira] in allclear.toml")
    draft = _child_draft(case, effect.payload, marker_of(key))

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await desk.file(draft, attempt)

    async def look() -> Look:
        found = await desk.find(draft.marker)
        if found:
            return Look(SEEN, found[0].key, "", f"ticket {found[0].key}")
        return Look(ABSENT, note="no ticket carries the marker")

    return _deed(case, effect, key, send, look, repeatable=True)


def _child_draft(case: Case, payload: Mapping[str, Any], marker: str) -> TicketDraft:
    since = case.fields.get("since") or case.fields.get("sent_on") or "not known"
    parent = str(payload.get("parent", ""))
    return TicketDraft(
        marker=marker,
        summary=str(payload["summary"]),
        customers=(case.account,),
        started_at=since,
        steps=("Follow the case's checks; each names where to look.",),
        symptoms=tuple(_texts(payload, "paragraphs")[:6]) or ("see the case",),
        sections=(
            ("Team", (str(payload["team"]),)),
            ("Parent ticket", (parent or "none",)),
            ("Package", tuple(_texts(payload, "paragraphs")[6:])),
            ("Evidence (in the case's export)", tuple(_texts(payload, "evidence"))),
        ),
    )


def _link(desks: CaseDesks, case: Case, effect: Effect, key: str) -> Made:
    desk, parent = desks.incidents, str(effect.payload["parent"])
    child = case.done.get(f"{ActionKind.TICKET}:{effect.system}:{effect.object_ref}:{effect.payload['child_of']}", "")
    if not child:
        return Performed(effect, "waiting", "", "waits for the child ticket")
    if desk is None or not desks.ticket_url:
        return _task(effect, f"link {child} and ticket {parent}; no desk for it is set up")
    url, global_id = desks.ticket_url.replace("{ref}", parent), f"allclear:{case.ref}:{parent}"

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await desk.link(child, global_id, f"Ticket {parent}", url, False, attempt)

    async def look() -> Look:
        if global_id in await desk.links(child):
            return Look(SEEN, child, "", f"{child} is linked to ticket {parent}")
        return Look(ABSENT, note=f"{child} has no link to ticket {parent}")

    return _deed(case, effect, key, send, look, repeatable=True)


def _chat(desks: CaseDesks, case: Case, effect: Effect, key: str) -> Made:
    chat, channel = desks.chat, effect.object_ref
    if chat is None:
        return _task(effect, "no chat is set up: [slack] in allclear.toml")
    text, lines, marker = str(effect.payload.get("text", "")), _texts(effect.payload, "lines"), marker_of(key)

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await chat.post(channel, text, lines, marker, attempt)

    async def look() -> Look:
        found = await chat.find(channel, marker, case.opened_at)
        if found is not None:
            return Look(SEEN, found.ts, "", f"message {found.ts}")
        return Look(ABSENT, note="no message with the marker")

    return _deed(case, effect, key, send, look, repeatable=True)


def _mail(desks: CaseDesks, case: Case, effect: Effect, key: str) -> Made:
    """A mail cannot be looked up at its receiver: the server's yes is all there is, and in doubt a person is asked."""
    mail = desks.mail
    if mail is None:
        return _task(effect, "no mail server is set up: [smtp] in allclear.toml")
    p = effect.payload
    draft = MailDraft(key, tuple(_texts(p, "to")), str(p.get("subject", "")), "\n".join(_texts(p, "lines")))

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await mail.send(draft, attempt)

    async def look() -> Look:
        return Look(CANNOT_TELL, note="a mail cannot be looked up at its receiver")

    async def taken() -> Look:
        return Look(SEEN, note="the mail server took it")

    return _deed(case, effect, key, send, look, confirm=taken, look_first=False)


_MAKERS: Mapping[tuple[ActionKind, str], Callable[[CaseDesks, Case, Effect, str], Made]] = {
    (ActionKind.TICKET_COMMENT, "zendesk"): _comment,
    (ActionKind.TICKET, "jira"): _child,
    (ActionKind.TICKET_LINK, "jira"): _link,
    (ActionKind.CHAT, "slack"): _chat,
    (ActionKind.MAIL, "smtp"): _mail,
}


def standing_of(case: Case, performed: Sequence[Performed] = ()) -> tuple[Performed, ...]:
    """How every effect stands, without touching anything: `performed` tells what the last try came to."""
    known = {p.effect.ref: p for p in performed}
    return tuple(
        Performed(e, "done", case.done[e.ref], "done")
        if e.ref in case.done
        else known.get(e.ref) or Performed(e, "waiting", "", "not done yet: `allclear case send`")
        for e in wanted(case)
    )
