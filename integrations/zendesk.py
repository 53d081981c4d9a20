"""Customer tickets in Zendesk Support (implements `recovery.desk.ports.CustomerDesk`).

How each write is kept from happening twice:

- create: `Idempotency-Key` (the remote keeps it two hours) and `external_id`, both the marker; `find` by external id
  works for ever but external ids are not unique, so it returns all.
- comment: Zendesk has no key for updates. The marker goes into the audit's metadata, and the update is sent with
  `safe_update` against the state that was searched for the marker: a delayed first copy then meets a newer stamp and is
  refused with 409 instead of being written beside the second.
- update_many: an asynchronous job; the marker is in every ticket's audit.

Bodies are sent as `body` (plain text), never as `html_body`.

Sources: https://developer.zendesk.com/api-reference/ticketing/introduction/ (idempotency) ·
https://developer.zendesk.com/api-reference/ticketing/tickets/tickets/ ·
https://developer.zendesk.com/api-reference/ticketing/tickets/ticket_audits/ ·
https://developer.zendesk.com/api-reference/ticketing/tickets/ticket-attachments/ ·
https://developer.zendesk.com/documentation/ticketing/managing-tickets/creating-and-updating-tickets/ (safe updates)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from integrations.http import CapabilityManifest, Fields, Judge, Reply, Transport, segment
from integrations.oauth import OAuth
from integrations.plaintext import plain
from integrations.replies import not_sent
from recovery.desk.ports import Attachment, BulkJob, CustomerTicket, CustomerTicketDraft, TicketComment
from recovery.errors import AuthFailed, NotFound, RemoteError
from recovery.model import AttemptOutcome, OpenAttempt, System, WriteResult

MARKER_FIELD = "allclear_key"
MOST_TICKETS_PER_JOB = 100
LONGEST_SUBJECT = 255
_PAGE_SIZE = 100
_MOST_PAGES = 100
_FINISHED = ("completed", "failed", "killed")
_MACHINE_CHANNELS = frozenset({"api", "rule", "system", "automation", "trigger", "admin_setting"})


class Zendesk:
    """One Zendesk account at `site` (https://<name>.zendesk.com), for links that people open.

    `transport` carries the credentials: `oauth.headers` for OAuth, with the same object as `oauth`, so that a token
    that another worker has replaced is told from one that is refused; or a fixed header (an API token, until it ends).
    """

    def __init__(
        self, transport: Transport, *, site: str, oauth: OAuth | None = None, proven: CapabilityManifest | None = None
    ) -> None:
        self._transport, self._oauth = transport, oauth
        self._site = site.rstrip("/")
        self._proven = proven or CapabilityManifest(System.ZENDESK.value)

    def manifest(self) -> CapabilityManifest:
        """What this account's Zendesk is proven to do."""
        return self._proven

    async def whoami(self) -> str:
        """The user behind the credentials; AuthFailed also for the anonymous user, whom Zendesk reports with 200."""
        user = (await self._read("users_me", "/api/v2/users/me")).record("user")
        if user.values.get("id") is None:
            raise AuthFailed(
                self._transport.system, self._transport.account, "users_me: not signed in", "renew the token"
            )
        return user.text("email", "") or user.ref("id")

    # ---- reads -----------------------------------------------------------------------------------------------------

    async def find(self, marker: str) -> tuple[CustomerTicket, ...]:
        """Every ticket with exactly this external id, lowest id first."""
        found: list[CustomerTicket] = []
        for page in await self._pages("tickets", "/api/v2/tickets", {"external_id": marker, "include": "users"}):
            people = _people(page)
            found += [self._ticket(t, people) for t in page.records("tickets") if t.text("external_id", "") == marker]
        return tuple(sorted(found, key=lambda ticket: (len(ticket.ref), ticket.ref)))

    async def ticket(self, ref: str) -> CustomerTicket:
        """One ticket read fresh; raises NotFound."""
        page = await self._read("ticket", f"/api/v2/tickets/{segment(ref)}", {"include": "users"})
        return self._ticket(page.record("ticket"), _people(page))

    async def has_comment(self, ref: str, marker: str, text: str = "") -> bool:
        """Whether the ticket carries the comment: by its marker in an audit, or by its words where audits keep none."""
        markers = await self._markers(ref)
        if markers is not None:
            return marker in markers.values()
        if not text:
            raise self._transport.bad("audits", "the audits keep no metadata, so no marker can be looked for")
        return any(c.author != "customer" and c.text.split() == text.split() for c in await self.comments(ref))

    async def comments(self, ref: str) -> tuple[TicketComment, ...]:
        """All comments, oldest first. The role tells customers, the channel or our marker tells machines (R003.46)."""
        markers = await self._markers(ref) or {}
        path, found = f"/api/v2/tickets/{segment(ref)}/comments", list[TicketComment]()
        for page in await self._pages("comments", path, {"include": "users"}):
            people = _people(page) or await self._requester(ref)
            found += [_comment(comment, people, markers) for comment in page.records("comments")]
        return tuple(sorted(found, key=lambda comment: comment.at))

    async def _requester(self, ref: str) -> dict[str, Fields]:
        """Who asked, as the one person known, where a list does not bring its people along."""
        ticket = (await self._read("ticket", f"/api/v2/tickets/{segment(ref)}")).record("ticket")
        who = {"id": ticket.text("requester_id", ""), "role": "end-user"}
        return {who["id"]: replace(ticket, values=who)} if who["id"] else {}

    async def job(self, ref: str) -> BulkJob:
        """How a bulk update stands. A ticket without a result yet is absent."""
        status = (await self._read("job_status", f"/api/v2/job_statuses/{segment(ref)}")).record("job_status")
        word = status.text("status")
        rows = status.records("results") if isinstance(status.values.get("results"), list) else []
        results = {row.ref("id"): row.flag("success", False) for row in rows if row.values.get("id") is not None}
        problem = status.text("message", "") if word in ("failed", "killed") else ""
        return BulkJob(status.ref("id"), word in _FINISHED, results, problem)

    # ---- writes ----------------------------------------------------------------------------------------------------

    async def create(self, draft: CustomerTicketDraft, attempt: OpenAttempt) -> WriteResult:
        """Create the ticket; `ref` is its id. A key known to the desk with other words means it exists: adopted."""
        ticket: dict[str, Any] = {
            "external_id": draft.marker,
            "subject": plain(draft.subject, LONGEST_SUBJECT),
            "comment": {"body": draft.text, "public": draft.public},
            "requester": {"name": draft.requester_name or draft.requester_email, "email": draft.requester_email},
            "priority": draft.priority,
            "tags": list(draft.tags),
            "metadata": {MARKER_FIELD: draft.marker},
        }
        key = {"Idempotency-Key": draft.marker}
        result = await self._write(
            attempt, "ticket_create", "POST", "/api/v2/tickets", _judge_ticket, {"ticket": ticket}, headers=key
        )
        status = result.exchange.status if result.exchange else None
        if result.outcome is AttemptOutcome.REJECTED and (status == 409 or "dempoten" in result.detail):
            return await self._adopt(draft.marker, result)
        return result

    async def comment(
        self,
        ref: str,
        text: str,
        *,
        public: bool,
        marker: str,
        attempt: OpenAttempt,
        files: Sequence[Attachment] = (),
    ) -> WriteResult:
        """Add one plain-text comment unless an audit shows it already; `ref` of the result is the ticket's id.

        A ticket that someone changes at the same moment gives NOT_APPLIED: try again. Files are uploaded first, which
        shows them to nobody: Zendesk drops an upload that no comment names.
        """
        path = f"/api/v2/tickets/{segment(ref)}"
        try:
            stamp = (await self._read("ticket", path)).record("ticket").text("updated_at")
            if await self.has_comment(ref, marker, text):
                return WriteResult(AttemptOutcome.APPLIED, ref=ref, detail="the comment was there already")
        except RemoteError as problem:
            return _not_sent(problem)
        tokens: list[str] = []
        for file in files:
            sent = await self._upload(file, attempt)
            if sent.outcome is not AttemptOutcome.APPLIED:
                detail = f"not sent: {file.name} could not be uploaded: {sent.detail}"
                return replace(sent, outcome=AttemptOutcome.NOT_APPLIED, detail=detail)
            tokens.append(sent.ref)
        ticket = {
            "comment": {"body": text, "public": public, **({"uploads": tokens} if tokens else {})},
            "metadata": {MARKER_FIELD: marker},
            "safe_update": True,
            "updated_stamp": stamp,
        }
        result = await self._write(attempt, "ticket_update", "PUT", path, _judge_ticket, {"ticket": ticket})
        if result.exchange is not None and result.exchange.status == 409:
            return replace(result, outcome=AttemptOutcome.NOT_APPLIED, detail="someone changed the ticket meanwhile")
        return result

    async def _upload(self, file: Attachment, attempt: OpenAttempt) -> WriteResult:
        """Bring one file to Zendesk; `ref` is the token that a comment names it by."""
        return await self._transport.write(
            attempt,
            "upload",
            "POST",
            "/api/v2/uploads",
            judge=_judge_upload,
            params={"filename": file.name},
            data=file.content,
            headers={"Content-Type": file.media_type},
        )

    async def update_many(
        self,
        refs: Sequence[str],
        text: str,
        *,
        public: bool,
        marker: str,
        attempt: OpenAttempt,
        priority: str = "",
        add_tags: Sequence[str] = (),
    ) -> WriteResult:
        """The same comment to 1 to 100 tickets; `ref` is the job, whose outcome per ticket `job` tells."""
        chosen = tuple(dict.fromkeys(refs))
        if not 0 < len(chosen) <= MOST_TICKETS_PER_JOB or not all(ref.isdigit() for ref in chosen):
            return WriteResult(
                AttemptOutcome.REJECTED, detail=f"a bulk update takes 1 to {MOST_TICKETS_PER_JOB} ticket ids"
            )
        ticket: dict[str, Any] = {"comment": {"body": text, "public": public}, "metadata": {MARKER_FIELD: marker}}
        if priority:
            ticket["priority"] = priority
        if add_tags:
            ticket["additional_tags"] = list(add_tags)
        return await self._write(
            attempt,
            "update_many",
            "PUT",
            "/api/v2/tickets/update_many",
            _judge_job,
            {"ticket": ticket},
            params={"ids": ",".join(chosen)},
        )

    # ---- the way out -----------------------------------------------------------------------------------------------

    async def _adopt(self, marker: str, refused: WriteResult) -> WriteResult:
        try:
            known = await self.find(marker)
        except RemoteError as problem:
            return replace(refused, outcome=AttemptOutcome.UNKNOWN, detail=f"it may exist already: {problem}")
        if not known:
            return replace(
                refused, outcome=AttemptOutcome.UNKNOWN, detail="its key is in use but no ticket shows it yet"
            )
        return replace(refused, outcome=AttemptOutcome.APPLIED, ref=known[0].ref, detail="the ticket was there already")

    async def _write(
        self,
        attempt: OpenAttempt,
        op: str,
        method: str,
        path: str,
        judge: Judge,
        body: Mapping[str, Any],
        *,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> WriteResult:
        """One write. A 401 for a token that another worker has just replaced is no refusal of us: NOT_APPLIED."""
        used = ""
        if self._oauth is not None:
            try:
                used = await self._oauth.token()
            except RemoteError as problem:
                return _not_sent(problem)
        result = await self._transport.write(
            attempt, op, method, path, judge=judge, params=params, json=body, headers=headers
        )
        try:
            if result.auth_failed and self._oauth is not None and await self._oauth.replaced(used):
                detail = "the token had just been replaced"
                return replace(result, outcome=AttemptOutcome.NOT_APPLIED, detail=detail, auth_failed=False)
        except RemoteError:
            return result
        return result

    async def _read(self, op: str, path: str, params: Mapping[str, str | int] | None = None) -> Fields:
        used = await self._oauth.token() if self._oauth is not None else ""
        try:
            return await self._transport.record(op, path, params=params)
        except AuthFailed:
            if self._oauth is None or not await self._oauth.replaced(used):
                raise
            return await self._transport.record(op, path, params=params)

    async def _pages(self, op: str, path: str, params: Mapping[str, str | int]) -> list[Fields]:
        """Every page of a cursor-paged list; BadReply when a cursor repeats or the pages do not end."""
        pages: list[Fields] = []
        cursors: set[str] = set()
        wanted: dict[str, str | int] = {**params, "page[size]": _PAGE_SIZE}
        while len(pages) < _MOST_PAGES:
            page = await self._read(op, path, wanted)
            pages.append(page)
            meta = page.maybe_record("meta")
            if meta is None and page.text("next_page", ""):
                raise self._transport.bad(op, "the list goes on, and not by cursors as was asked")
            if meta is None or not meta.flag("has_more", False):
                return pages
            cursor = meta.ref("after_cursor")
            if cursor in cursors:
                raise self._transport.bad(op, "the list repeats a page")
            cursors.add(cursor)
            wanted["page[after]"] = cursor
        raise self._transport.bad(op, f"the list has more than {_MOST_PAGES} pages")

    async def _markers(self, ref: str) -> dict[str, str] | None:
        """Audit id -> marker, for the audits that this product wrote; None where audits are not shown or keep nothing.

        Zendesk itself always keeps metadata; what only speaks its API may not.
        """
        markers: dict[str, str] = {}
        kept = False
        try:
            pages = await self._pages("audits", f"/api/v2/tickets/{segment(ref)}/audits", {})
        except NotFound:
            return None
        for audit in (audit for page in pages for audit in page.records("audits")):
            metadata = audit.maybe_record("metadata")
            custom = metadata.maybe_record("custom") if metadata else None
            kept = kept or custom is not None
            if custom is not None and custom.text(MARKER_FIELD, ""):
                markers[audit.ref("id")] = custom.text(MARKER_FIELD)
        return markers if kept else None

    def _ticket(self, ticket: Fields, people: Mapping[str, Fields]) -> CustomerTicket:
        ref = ticket.ref("id")
        requester = people.get(ticket.text("requester_id", ""))
        return CustomerTicket(
            ref=ref,
            marker=ticket.text("external_id", ""),
            subject=ticket.text("subject", ""),
            status=ticket.text("status"),
            priority=ticket.text("priority", ""),
            url=f"{self._site}/agent/tickets/{ref}",
            created_at=ticket.required_moment("created_at"),
            requester_email=requester.text("email", "").lower() if requester else "",
            tags=ticket.texts("tags"),
        )


def _people(page: Fields) -> dict[str, Fields]:
    return {user.ref("id"): user for user in page.records("users")} if page.values.get("users") else {}


def _comment(comment: Fields, people: Mapping[str, Fields], markers: Mapping[str, str]) -> TicketComment:
    marker = markers.get(comment.text("audit_id", ""), "")
    via = comment.maybe_record("via")
    author = people.get(comment.text("author_id", ""))
    role = author.text("role", "") if author else ""
    return TicketComment(
        ref=comment.ref("id"),
        at=comment.required_moment("created_at"),
        author=_author(role, via.text("channel", "") if via else "", marker),
        public=comment.flag("public"),
        text=comment.text("plain_body", "") or comment.text("body", ""),
        marker=marker,
    )


def _author(role: str, channel: str, marker: str) -> Literal["customer", "agent", "machine"]:
    if marker:
        return "machine"
    if role == "end-user":
        return "customer"
    # An unknown role must not stop a first-response clock, so it counts as a machine.
    return "agent" if role in ("agent", "admin") and channel not in _MACHINE_CHANNELS else "machine"


def _judge_ticket(reply: Reply) -> WriteResult | None:
    ref = reply.obj()["ticket"]["id"]
    if not isinstance(ref, int) or isinstance(ref, bool):
        return None
    lookup = reply.headers.get("x-idempotency-lookup", "")
    return WriteResult(AttemptOutcome.APPLIED, ref=str(ref), detail="it existed already" if lookup == "hit" else "")


def _judge_upload(reply: Reply) -> WriteResult | None:
    token = reply.obj()["upload"]["token"]
    return WriteResult(AttemptOutcome.APPLIED, ref=token) if isinstance(token, str) and token else None


def _judge_job(reply: Reply) -> WriteResult | None:
    ref = reply.obj()["job_status"]["id"]
    return WriteResult(AttemptOutcome.APPLIED, ref=ref, detail="accepted") if isinstance(ref, str) and ref else None


def _not_sent(problem: RemoteError) -> WriteResult:
    return not_sent(str(problem), auth_failed=isinstance(problem, AuthFailed))
