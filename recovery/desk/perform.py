"""Does what an incident asks of the desks, each effect at most once, and records what came of it (R002.5 to R002.16).

`outbox.effects_for` says what should be there by now; whatever is missing is performed by anybody at any time, under a
key made of what the effect is about. A desk that is down leaves a failure in the stream and the effect in the outbox.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from recovery.act import ABSENT, CANNOT_TELL, SEEN, Ended, Look, Runner
from recovery.act import Effect as Deed
from recovery.desk import log
from recovery.desk.alarms import alarms_due
from recovery.desk.incident import Change, Incident
from recovery.desk.outbox import Effect, effects_for, stamped
from recovery.desk.ports import (
    Board,
    BoardTaskDraft,
    CustomerDesk,
    CustomerTicketDraft,
    InApp,
    MailDraft,
    Mailer,
    PageDraft,
    Pager,
    StatusBoard,
    StatusDraft,
)
from recovery.desk.settings import DeskSettings
from recovery.errors import AllclearError
from recovery.ledger_rows import ActionSpec
from recovery.model import ActionKind, OpenAttempt, System, WriteResult, action_key, iso, marker_of
from recovery.ports import Chat, TicketDesk, TicketDraft

MOST_ROUNDS = 8
"""Effects that hang on others become due once those are done; a chain longer than this waits for the next call."""


@dataclass(frozen=True, slots=True)
class Desks:
    """The desks that are configured; None where one is not."""

    tickets: TicketDesk | None = None
    chat: Chat | None = None
    customers: CustomerDesk | None = None
    pager: Pager | None = None
    board: Board | None = None
    in_app: InApp | None = None
    status: StatusBoard | None = None
    mail: Mailer | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What one effect came to; `done` is false with the reason in `text`."""

    name: str
    done: bool
    ref: str = ""
    text: str = ""


@dataclass(slots=True)
class Outbox:
    """The open effects of one incident and how they are performed."""

    runner: Runner
    desks: Desks
    settings: DeskSettings
    secret: bytes

    async def deliver(self, ref: str, by: str = "allclear") -> tuple[Told, ...]:
        """Performs everything that is due and records each result; raises LedgerError and UsageError only."""
        told: dict[str, Told] = {}
        for _ in range(MOST_ROUNDS):
            incident = await log.load(self.runner.ledger, ref)
            await self._alarms(incident)
            incident = await log.load(self.runner.ledger, ref)
            waiting = [e for e in effects_for(incident, self.runner.clock.now(), self.settings) if e.name not in told]
            if not waiting:
                break
            for effect in waiting:
                one = await self._one(incident, effect)
                told[effect.name] = one
                await self._record(incident.ref, effect, one, by)
        return tuple(told.values())

    async def _alarms(self, incident: Incident) -> None:
        """Warnings, breaches, overdue updates and expiries become events once; the chat is told by the outbox."""
        due = alarms_due(self.settings, incident, self.runner.clock.now())
        if due:
            await log.record(self.runner.ledger, incident.ref, due, incident.seq)

    async def _one(self, incident: Incident, effect: Effect) -> Told:
        make = MAKERS.get((effect.kind, effect.system))
        if make is None:
            return Told(effect.name, False, "", f"nothing here can do {effect.kind.value} at {effect.system.value}")
        key = self.key(effect)
        try:
            deed = make(_Making(self.desks, incident, effect, key, self._spec(incident, effect, key)))
            if deed is None:
                return Told(effect.name, False, "", f"{effect.system.value} is not configured")
            ref = await self.runner.perform(deed)
        except Ended as ended:
            return Told(effect.name, False, "", ended.reason)
        except AllclearError as error:
            return Told(effect.name, False, "", str(error))
        return Told(effect.name, True, ref)

    def key(self, effect: Effect) -> str:
        """The business key: of what the effect is about, never of wording, person or time."""
        return action_key(
            self.secret, effect.account, effect.system.value, effect.kind.value, effect.object_ref, effect.slot, 0
        )

    def _spec(self, incident: Incident, effect: Effect, key: str) -> ActionSpec:
        return ActionSpec(
            key, f"incident/{incident.ref}", effect.account or "-", effect.kind, effect.harm, effect.object_ref
        )

    async def _record(self, ref: str, effect: Effect, told: Told, by: str) -> None:
        incident = await log.load(self.runner.ledger, ref)
        failure = incident.failures.get(effect.name)
        if not told.done and failure is not None and failure.reason == told.text:
            return
        now = self.runner.clock.now()
        data: dict[str, object] = {"effect": effect.name, "at": iso(now)}
        if told.done:
            change = Change("effect_done", by, now, {**data, "ref": told.ref, "url": "", "detail": told.text})
        else:
            change = Change("effect_failed", by, now, {**data, "reason": told.text, "final": False})
        await log.record(self.runner.ledger, ref, [change], incident.seq)


@dataclass(frozen=True, slots=True)
class _Making:
    desks: Desks
    incident: Incident
    effect: Effect
    key: str
    spec: ActionSpec

    @property
    def payload(self) -> Mapping[str, Any]:
        return self.effect.payload

    @property
    def marker(self) -> str:
        return marker_of(self.key)

    def deed(self, send: Callable[[OpenAttempt], Any], look: Callable[[], Any], **more: Any) -> Deed:
        return Deed(self.spec, self.effect.name, send, look, **{"repeatable": True, **more})


Make: TypeAlias = Callable[[_Making], Deed | None]


def _found(found: Sequence[Any], ref: Callable[[Any], str], what: str) -> Look:
    if found:
        return Look(SEEN, ref(found[0]), "", f"{what} {ref(found[0])}")
    return Look(ABSENT, note=f"no {what} carries the marker")


def _page(m: _Making) -> Deed | None:
    pager = m.desks.pager
    if pager is None:
        return None
    trigger = m.payload.get("op") == "trigger"
    key = m.key if trigger else m.incident.delivered[str(m.payload["trigger"])].ref or m.key

    async def send(attempt: OpenAttempt) -> WriteResult:
        if not trigger:
            return await pager.resolve(key, attempt)
        return await pager.trigger(stamped(cast(PageDraft, m.payload["draft"]), key), attempt)

    async def look() -> Look:
        page = await pager.find(key)
        if page is None:
            return Look(ABSENT, note="no page has this key")
        if trigger or page.status.value == "resolved":
            return Look(SEEN, key, "", f"page {page.ref} is {page.status.value}")
        return Look(ABSENT, note=f"page {page.ref} is {page.status.value}")

    return m.deed(send, look)


def _chat(m: _Making) -> Deed | None:
    chat, p = m.desks.chat, m.payload
    if chat is None:
        return None
    channel = str(p["channel"])

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await chat.post(channel, str(p["text"]), tuple(p["lines"]), m.marker, attempt, str(p["thread"]))

    async def look() -> Look:
        found = await chat.find(channel, m.marker, m.incident.declared_at)
        return _found([found] if found else [], lambda c: str(c.ts), "message")

    return m.deed(send, look)


def _ticket(m: _Making) -> Deed | None:
    desk = m.desks.tickets
    if desk is None:
        return None
    draft = stamped(cast(TicketDraft, m.payload["draft"]), m.key)

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await desk.file(draft, attempt)

    async def look() -> Look:
        return _found(await desk.find(draft.marker), lambda t: str(t.key), "ticket")

    return m.deed(send, look, settle_seconds=0.0)


def _ticket_link(m: _Making) -> Deed | None:
    desk, p = m.desks.tickets, m.payload
    if desk is None:
        return None
    key, name = str(p["key"]), str(p["global_id"])

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await desk.link(key, name, str(p["title"]), str(p["url"]), bool(p["resolved"]), attempt)

    async def look() -> Look:
        there = name in await desk.links(key)
        return Look(SEEN if there else ABSENT, key, "", f"{key} {'has' if there else 'lacks'} link {name}")

    # A link is set again with the same id, so there is nothing to find first: the state of the link may have changed.
    return m.deed(send, look, look_first=False)


def _ticket_comment(m: _Making) -> Deed | None:
    desk, p = m.desks.tickets, m.payload
    if desk is None:
        return None
    key = str(p["key"])

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await desk.comment(key, tuple(p["paragraphs"]), m.marker, attempt)

    async def look() -> Look:
        there = await desk.has_comment(key, m.marker)
        return Look(SEEN if there else ABSENT, key, "", f"{key} {'has' if there else 'lacks'} the comment")

    return m.deed(send, look)


def _customer_ticket(m: _Making) -> Deed | None:
    desk = m.desks.customers
    if desk is None:
        return None
    draft = stamped(cast(CustomerTicketDraft, m.payload["draft"]), m.key)

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await desk.create(draft, attempt)

    async def look() -> Look:
        return _found(await desk.find(draft.marker), lambda t: str(t.ref), "customer ticket")

    return m.deed(send, look)


def _customer_comment(m: _Making) -> Deed | None:
    desk, p = m.desks.customers, m.payload
    if desk is None:
        return None
    ref = str(p["ref"])

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await desk.comment(ref, str(p["text"]), public=bool(p["public"]), marker=m.marker, attempt=attempt)

    async def look() -> Look:
        there = await desk.has_comment(ref, m.marker)
        return Look(SEEN if there else ABSENT, ref, "", f"ticket {ref} {'has' if there else 'lacks'} the comment")

    return m.deed(send, look)


def _customer_priority(m: _Making) -> Deed | None:
    desk, p = m.desks.customers, m.payload
    if desk is None:
        return None
    refs = tuple(str(r) for r in p["refs"])

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await desk.update_many(
            refs,
            str(p["text"]),
            public=bool(p["public"]),
            marker=m.marker,
            attempt=attempt,
            priority=str(p["priority"]),
            add_tags=tuple(p["add_tags"]),
        )

    async def look() -> Look:
        there = [ref for ref in refs if await desk.has_comment(ref, m.marker)]
        return Look(SEEN if len(there) == len(refs) else ABSENT, ",".join(refs), "", f"{len(there)} of {len(refs)} set")

    return m.deed(send, look)


def _guide_state(m: _Making) -> Deed | None:
    app, p = m.desks.in_app, m.payload
    if app is None:
        return None
    guide, state = str(p["guide_ref"]), str(p["state"])

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await app.set_guide_state(guide, state, attempt)

    async def look() -> Look:
        now = await app.guide_state(guide)
        return Look(SEEN if now.state == state else ABSENT, guide, "", f"guide {guide} is {now.state}")

    return m.deed(send, look)


def _guide_segment(m: _Making) -> Deed | None:
    app, p = m.desks.in_app, m.payload
    if app is None:
        return None
    guide, wanted = str(p["guide_ref"]), str(p["segment_ref"])

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await app.set_segment(guide, wanted, attempt)

    async def look() -> Look:
        now = await app.guide_state(guide)
        return Look(SEEN if now.segment_ref == wanted else ABSENT, guide, "", f"guide {guide} is for {now.segment_ref}")

    return m.deed(send, look)


def _status(m: _Making) -> Deed | None:
    board, p = m.desks.status, m.payload
    if board is None:
        return None
    draft = stamped(cast(StatusDraft, p["draft"]), m.key)
    if p["op"] == "create":

        async def create(attempt: OpenAttempt) -> WriteResult:
            return await board.create(draft, attempt)

        async def look_created() -> Look:
            return _found(await board.find(draft.marker), lambda i: str(i.ref), "public incident")

        return m.deed(create, look_created)
    ref = str(p["ref"])

    async def update(attempt: OpenAttempt) -> WriteResult:
        return await board.update(ref, draft, attempt)

    async def look_updated() -> Look:
        updates = (await board.incident(ref)).updates
        there = any(u.status == draft.status and u.body == draft.body for u in updates)
        return Look(SEEN if there else ABSENT, ref, "", f"public incident {ref} has {len(updates)} updates")

    return m.deed(update, look_updated)


def _task(m: _Making) -> Deed | None:
    board, p = m.desks.board, m.payload
    if board is None:
        return None
    draft = stamped(cast(BoardTaskDraft, p["draft"]), m.key)
    if p["op"] == "create":

        async def create(attempt: OpenAttempt) -> WriteResult:
            return await board.create(draft, attempt)

        async def look_created() -> Look:
            return _found(await board.find(draft.board_ref, draft.marker), lambda t: str(t.ref), "task")

        return m.deed(create, look_created)
    ref = str(p["ref"])

    async def update(attempt: OpenAttempt) -> WriteResult:
        return await board.update(ref, draft, attempt)

    async def look_updated() -> Look:
        task = await board.task(ref)
        same = (
            task.title == draft.title and task.text.split("\nLast updated")[0] == draft.text.split("\nLast updated")[0]
        )
        return Look(SEEN if same else ABSENT, ref, "", f"task {ref} {'shows' if same else 'does not show'} the state")

    return m.deed(update, look_updated)


def _mail(m: _Making) -> Deed | None:
    """A mail cannot be looked up at its receiver: the server's yes is all there is, and in doubt a person is asked."""
    mailer = m.desks.mail
    if mailer is None:
        return None
    draft = stamped(cast(MailDraft, m.payload["draft"]), m.key)

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await mailer.send(draft, attempt)

    async def look() -> Look:
        return Look(CANNOT_TELL, note="a mail cannot be looked up at its receiver")

    async def taken() -> Look:
        return Look(SEEN, note="the mail server took it")

    return m.deed(send, look, confirm=taken, look_first=False, repeatable=False)


MAKERS: Mapping[tuple[ActionKind, System], Make] = {
    (ActionKind.PAGE, System.PAGERDUTY): _page,
    (ActionKind.CHAT, System.SLACK): _chat,
    (ActionKind.TICKET, System.JIRA): _ticket,
    (ActionKind.TICKET_LINK, System.JIRA): _ticket_link,
    (ActionKind.TICKET_COMMENT, System.JIRA): _ticket_comment,
    (ActionKind.CUSTOMER_TICKET, System.ZENDESK): _customer_ticket,
    (ActionKind.TICKET_COMMENT, System.ZENDESK): _customer_comment,
    (ActionKind.SETTING, System.ZENDESK): _customer_priority,
    (ActionKind.ANNOUNCE, System.PENDO): _guide_state,
    (ActionKind.WITHDRAW, System.PENDO): _guide_state,
    (ActionKind.SETTING, System.PENDO): _guide_segment,
    (ActionKind.STATUS_POST, System.STATUSPAGE): _status,
    (ActionKind.BOARD_TASK, System.CLICKUP): _task,
    (ActionKind.MAIL, System.SMTP): _mail,
}
"""Who does what; a kind of effect that is not here is reported, never dropped."""
