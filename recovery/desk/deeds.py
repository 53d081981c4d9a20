"""How each kind of effect is done at its desk, and how to see that it is there: one maker for each kind and desk.

Every deed can be looked at again at any time by its marker, its dedup key or the state it sets; a mail cannot, so in
doubt a person is asked (design, invariants 4 and 8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias, cast

from recovery.act import ABSENT, CANNOT_TELL, SEEN, Look
from recovery.act import Effect as Deed
from recovery.desk.incident import Incident
from recovery.desk.outbox import Effect, stamped, words_of
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
from recovery.ledger.rows import ActionSpec
from recovery.model import ActionKind, OpenAttempt, System, WriteResult, marker_of
from recovery.policy import Waits
from recovery.ports import Chat, TicketDesk, TicketDraft

CLOCKS_APART = timedelta(minutes=15)
"""A chat's clock and ours may differ: a message of ours is looked for from this long before the incident."""
CONFIRM_SECONDS = 30.0


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
class Making:
    """What a maker needs. `urls` are the addresses that looking has shown, by the effect's id at the remote."""

    desks: Desks
    effect: Effect
    key: str
    spec: ActionSpec
    waits: Waits
    incident: Incident | None = None
    urls: dict[str, str] = field(default_factory=dict)

    @property
    def payload(self) -> Mapping[str, Any]:
        """The effect's draft or arguments."""
        return self.effect.payload

    @property
    def marker(self) -> str:
        """What stands in the remote's own data."""
        return marker_of(self.key)

    def deed(self, send: Callable[[OpenAttempt], Any], look: Callable[[], Any], **more: Any) -> Deed:
        """The effect, repeated only when it is proven absent: not before its settle time after a lost reply."""
        usual = {"repeatable": True, "settle_seconds": self.waits.settle_copy, "confirm_seconds": CONFIRM_SECONDS}
        return Deed(self.spec, self.effect.name, send, look, **{**usual, **more})

    def seen(self, ref: str, url: str, what: str) -> Look:
        """Found, with the address for those who follow a link."""
        self.urls[ref] = url
        return Look(SEEN, ref, "", f"{what} {ref}")


Make: TypeAlias = Callable[[Making], Deed | None]
"""None when the desk is not configured."""


def _found(m: Making, found: Sequence[Any], ref: Callable[[Any], str], what: str) -> Look:
    if found:
        return m.seen(ref(found[0]), str(getattr(found[0], "url", "")), what)
    return Look(ABSENT, note=f"no {what} carries the marker")


def _page(m: Making) -> Deed | None:
    pager = m.desks.pager
    if pager is None or m.incident is None:
        return None
    trigger = m.payload.get("op") == "trigger"
    # A page is resolved under the key it was triggered with, which is what its delivery recorded.
    key = m.key if trigger else m.incident.delivered[str(m.payload["trigger"])].ref

    async def send(attempt: OpenAttempt) -> WriteResult:
        if not trigger:
            return await pager.resolve(key, attempt)
        return await pager.trigger(stamped(cast(PageDraft, m.payload["draft"]), key), attempt)

    async def look() -> Look:
        page = await pager.find(key)
        if page is None:
            return Look(ABSENT, note="no page has this key")
        if trigger or page.status.value == "resolved":
            m.urls[key] = page.url
            return Look(SEEN, key, "", f"page {page.ref} is {page.status.value}")
        return Look(ABSENT, note=f"page {page.ref} is {page.status.value}")

    # In doubt it is sent again at once: the pager takes a repeat under an open key for the same page.
    return m.deed(send, look, settle_seconds=0.0)


def _chat(m: Making) -> Deed | None:
    chat, p = m.desks.chat, m.payload
    if chat is None:
        return None
    began: datetime = p["since"] if m.incident is None else m.incident.noticed_at
    channel, since = str(p["channel"]), began - CLOCKS_APART

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await chat.post(channel, str(p["text"]), tuple(p["lines"]), m.marker, attempt, str(p["thread"]))

    async def look() -> Look:
        found = await chat.find(channel, m.marker, since)
        return _found(m, [found] if found else [], lambda c: str(c.ts), "message")

    return m.deed(send, look)


def _ticket(m: Making) -> Deed | None:
    desk = m.desks.tickets
    if desk is None:
        return None
    draft = stamped(cast(TicketDraft, m.payload["draft"]), m.key)

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await desk.file(draft, attempt)

    async def look() -> Look:
        return _found(m, await desk.find(draft.marker), lambda t: str(t.key), "ticket")

    # The ticket desk's search lags behind its writes: absence is believed only after the whole settle time.
    return m.deed(send, look, settle_seconds=m.waits.settle, confirm_seconds=2 * CONFIRM_SECONDS)


def _ticket_link(m: Making) -> Deed | None:
    desk, p = m.desks.tickets, m.payload
    if desk is None:
        return None
    key, name = str(p["key"]), str(p["global_id"])

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await desk.link(key, name, str(p["title"]), str(p["url"]), bool(p["resolved"]), attempt)

    async def look() -> Look:
        links = await desk.links(key)
        there = name in links and links[name] in (None, bool(p["resolved"]))
        state = "as it should be" if there else "in another state" if name in links else "not there"
        return Look(SEEN if there else ABSENT, key, "", f"link {name} on {key} is {state}")

    # A link is set again with the same id, so there is nothing to find first: the state of the link may have changed.
    return m.deed(send, look, look_first=False)


def _ticket_comment(m: Making) -> Deed | None:
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


def _customer_ticket(m: Making) -> Deed | None:
    desk = m.desks.customers
    if desk is None:
        return None
    draft = stamped(cast(CustomerTicketDraft, m.payload["draft"]), m.key)

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await desk.create(draft, attempt)

    async def look() -> Look:
        return _found(m, await desk.find(draft.marker), lambda t: str(t.ref), "customer ticket")

    return m.deed(send, look)


def _customer_comment(m: Making) -> Deed | None:
    desk, p = m.desks.customers, m.payload
    if desk is None:
        return None
    ref = str(p["ref"])

    async def send(attempt: OpenAttempt) -> WriteResult:
        return await desk.comment(ref, str(p["text"]), public=bool(p["public"]), marker=m.marker, attempt=attempt)

    async def look() -> Look:
        there = await desk.has_comment(ref, m.marker, str(p["text"]))
        return Look(SEEN if there else ABSENT, ref, "", f"ticket {ref} {'has' if there else 'lacks'} the comment")

    return m.deed(send, look)


def _customer_priority(m: Making) -> Deed | None:
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
        there = [ref for ref in refs if await desk.has_comment(ref, m.marker, str(p["text"]))]
        return Look(SEEN if len(there) == len(refs) else ABSENT, ",".join(refs), "", f"{len(there)} of {len(refs)} set")

    return m.deed(send, look)


def _guide_state(m: Making) -> Deed | None:
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


def _guide_segment(m: Making) -> Deed | None:
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


def _status(m: Making) -> Deed | None:
    board, p = m.desks.status, m.payload
    if board is None:
        return None
    draft = stamped(cast(StatusDraft, p["draft"]), m.key)
    if p["op"] == "create":

        async def create(attempt: OpenAttempt) -> WriteResult:
            return await board.create(draft, attempt)

        async def look_created() -> Look:
            return _found(m, await board.find(draft.marker), lambda i: str(i.ref), "public incident")

        return m.deed(create, look_created)
    ref = str(p["ref"])

    async def update(attempt: OpenAttempt) -> WriteResult:
        return await board.update(ref, draft, attempt)

    async def look_updated() -> Look:
        updates = (await board.incident(ref)).updates
        wanted = draft.status, words_of(draft.body)
        # Counted, because an update has no marker, earlier ones may say the same, and the page's clock is not ours.
        shown = sum((u.status, words_of(u.body)) == wanted for u in updates)
        note = f"public incident {ref} has {len(updates)} updates, {shown} of them with these words"
        return Look(SEEN if shown > int(p["said_before"]) else ABSENT, ref, "", note)

    return m.deed(update, look_updated)


def _task(m: Making) -> Deed | None:
    board, p = m.desks.board, m.payload
    if board is None:
        return None
    draft = stamped(cast(BoardTaskDraft, p["draft"]), m.key)
    if p["op"] == "create":

        async def create(attempt: OpenAttempt) -> WriteResult:
            return await board.create(draft, attempt)

        async def look_created() -> Look:
            return _found(m, await board.find(draft.board_ref, draft.marker), lambda t: str(t.ref), "task")

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


def _mail(m: Making) -> Deed | None:
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
