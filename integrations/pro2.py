"""Prospect2 ("Pro2"), an ActiveCampaign white label: REST v3, and v1 where v3 has no call (send, stop, report).

Facts: prospect2-tessitura.md §2. The key goes in the `Api-Token` header only, never into a URL. v1 answers HTTP 200 to
everything and says in `result_code` whether it worked; its `campaign_status` is a GET that changes a campaign and is
treated as the write it is. Numbers come as text, times with the account's offset (v3) or as bare wall-clock time (v1).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from integrations.fields import says_no
from integrations.http import CapabilityManifest, Fields, Judge, Reply, Transport, segment
from integrations.pages import PAGE, OffsetPage, PartPage, read_by_offset, read_parts
from integrations.replies import reason_of
from recovery.errors import AuthFailed, BadReply, ConfigError, Refused, RemoteError, Unavailable
from recovery.model import AttemptOutcome, OpenAttempt, WriteResult, digest_of
from recovery.ports import Automation, Campaign, CampaignContent, CampaignReport, Contact, Listing, Tag

T = TypeVar("T")

V1 = "/admin/api.php"
SCHEDULED = "1"
STOPPED = "4"
LONGEST_NAME = 255
MAX_MEMBER_PAGES = 20_000
_COUNTED = ("uniqueopens", "uniquelinkclicks", "uniquereplies", "subscriberclicks", "unsubscribes", "totalbounces")
_MESSAGE_PARTS = ("subject", "fromname", "fromemail", "reply2", "html", "text", "preheader_text")


class Pro2Client:
    """Campaigns, contacts and tags of one account: the `CampaignDesk` and the `ContactDesk`.

    `time_zone` is the account's IANA zone: v1 takes and gives wall-clock times in it. `v1_key` is the key for a v1 that
    does not read the header; it then stands in the URLs of v1 calls, and evidence shows it as withheld.
    """

    def __init__(
        self, transport: Transport, time_zone: str, proven: CapabilityManifest | None = None, v1_key: str = ""
    ) -> None:
        self._http = transport
        self._v1_query = {"api_output": "json"} | ({"api_key": v1_key} if v1_key else {})
        self._proven = proven or CapabilityManifest(transport.system)
        try:
            self._zone = ZoneInfo(time_zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ConfigError(
                f"{transport.account}: {time_zone!r} is not a time zone", "use an IANA name such as America/New_York"
            ) from None

    @staticmethod
    def credentials(token: str) -> dict[str, str]:
        """The header that signs every call."""
        return {"Api-Token": token}

    def manifest(self) -> CapabilityManifest:
        """What this account's platform is proven to do."""
        return self._proven

    async def whoami(self) -> str:
        """The user the key belongs to; raises AuthFailed."""
        user = (await self._http.record("users_me", "/api/3/users/me")).record("user")
        return user.text("username", "") or user.ref("id")

    # ---- campaigns: reads ------------------------------------------------------------------------------------------

    async def campaigns(self, *, newest_first: bool = False) -> Listing[Campaign]:
        """Every campaign, all pages of 100 in the order of their ids."""
        order = {"orders[id]": "DESC" if newest_first else "ASC"}
        return await self._listing("campaigns", "campaigns", self._listed, order, descending=newest_first)

    async def campaign(self, ref: str) -> Campaign:
        """One campaign read fresh by id."""
        got = await self._http.record("campaign", f"/api/3/campaigns/{segment(ref)}")
        campaign = self._campaign(got.record("campaign"))
        if campaign.ref != ref:
            raise got.bad(f"asked for campaign {ref} and got {campaign.ref}")
        return campaign

    async def report(self, ref: str) -> CampaignReport:
        """The v1 totals. A planned audience alone (`total_amt`) is not data: nothing has been counted yet."""
        got = await self._v1_read("campaign_report_totals", campaignid=ref)
        send_amt = got.integer("send_amt")
        last_sent_at = got.moment("ldate_iso", self._zone) or got.moment("ldate", self._zone)
        counted = send_amt > 0 or last_sent_at is not None or any(got.integer(name, 0) > 0 for name in _COUNTED)
        return CampaignReport(
            ref=ref,
            send_amt=send_amt,
            total_amt=got.integer("total_amt", 0),
            status=got.text("status", ""),
            last_sent_at=last_sent_at,
            has_data=counted,
            digest=got.digest,
        )

    async def content(self, ref: str) -> CampaignContent:
        """What the campaign says and to whom. Ids of messages are left out of the fingerprint: a copy has new ones."""
        campaign = await self.campaign(ref)
        here = f"/api/3/campaigns/{segment(ref)}"
        messages = await self._readable(self._messages, here)
        lists = await self._readable(self._list_refs, here)
        parts: dict[str, object] = {"segment": campaign.segment_ref}
        if messages is not None:
            parts["messages"] = messages
        if lists is not None:
            parts["lists"] = lists
        return CampaignContent(
            ref=ref,
            fingerprint=digest_of(parts),
            subjects=tuple(m["subject"] for m in messages or ()),
            list_refs=tuple(lists or ()),
            segment_ref=campaign.segment_ref,
            readable=tuple(sorted(parts)),
        )

    async def audience(self, ref: str) -> int | None:
        """Active contacts of the segment, else of the lists (one on two lists counts twice); None if unreadable."""
        campaign = await self.campaign(ref)
        here = f"/api/3/campaigns/{segment(ref)}"
        lists = await self._readable(self._list_refs, here)
        if campaign.segment_ref not in ("", "0"):
            return await self._readable(self._contacts_in, f"segmentid={campaign.segment_ref}")
        if not lists:
            return None
        counts = [await self._readable(self._contacts_in, f"listid={list_ref}") for list_ref in lists]
        return sum(n for n in counts if n is not None) if None not in counts else None

    async def _contacts_in(self, where: str) -> int:
        name, _, ref = where.partition("=")
        params: dict[str, str | int] = {name: ref, "status": 1, "limit": 1}
        got = await self._http.record("contacts", "/api/3/contacts", params=params)
        return got.record("meta").integer("total")

    async def automations(self) -> Listing[Automation]:
        """Every automation, for listing."""
        return await self._listing("automations", "automations", _automation, {"orders[id]": "ASC"})

    async def _messages(self, here: str) -> list[dict[str, str]]:
        said: list[dict[str, str]] = []
        for ref, row in await self._parts("campaign_messages", here, "campaignMessages", ("messageid", "message")):
            message = (await self._http.record("message", f"/api/3/messages/{segment(ref)}")).record("message")
            share = {"percentage": row.text("percentage", "")}
            said.append({part: message.text(part, "") for part in _MESSAGE_PARTS} | share)
        return sorted(said, key=lambda m: tuple(m.values()))

    async def _list_refs(self, here: str) -> list[str]:
        rows = await self._parts("campaign_lists", here, "campaignLists", ("listid", "list"))
        return sorted(ref for ref, _ in rows)

    async def _readable(self, read: Callable[[str], Awaitable[T]], here: str) -> T | None:
        """What `read` gives, or None where this account does not offer the part (an undocumented path)."""
        try:
            return await read(here)
        except Unavailable:
            raise
        except RemoteError:
            return None

    # ---- campaigns: writes -----------------------------------------------------------------------------------------

    async def stop(self, ref: str, attempt: OpenAttempt) -> WriteResult:
        """Ask to stop (v1 status 4). APPLIED means that the call was accepted; the effect shows in a later read."""
        return await self._set_status(attempt, "campaign_status", ref, {"status": STOPPED})

    async def schedule(self, ref: str, at: datetime, attempt: OpenAttempt) -> WriteResult:
        """Move a draft to scheduled at `at`, never earlier: rounded up to the second, in the account's wall clock.

        In the hour that comes twice when clocks go back the platform could take the wrong one and send an hour early or
        late, so no such time is sent: NOT_APPLIED.
        """
        whole = at if at.microsecond == 0 else at.replace(microsecond=0) + timedelta(seconds=1)
        local = whole.astimezone(self._zone)
        if local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset():
            return WriteResult(
                AttemptOutcome.NOT_APPLIED,
                detail=f"not sent: {local:%Y-%m-%d %H:%M} comes twice in {self._zone.key}; choose a time outside it",
            )
        wanted = {"status": SCHEDULED, "sdate": f"{local:%Y-%m-%d %H:%M:%S}"}
        return await self._set_status(attempt, "campaign_status", ref, wanted)

    async def rename(self, ref: str, name: str, attempt: OpenAttempt) -> WriteResult:
        """Set the campaign's name. The reply's shape is undocumented: any that is no refusal and no web page will do.

        A name over 255 characters loses its middle, never its end, where a marker stands.
        """
        fitted = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 61]}…{name[-60:]}"

        def judge(reply: Reply) -> WriteResult | None:
            body = reply.json() if reply.body.strip() else {}
            if isinstance(body, dict) and says_no(body):
                return WriteResult(AttemptOutcome.REJECTED, detail=f"refused: {reason_of(reply)}")
            shown = body.get("campaign") if isinstance(body, dict) else None
            if isinstance(shown, dict) and shown.get("name", fitted) != fitted:
                return None
            return WriteResult(AttemptOutcome.APPLIED, ref=ref)

        path = f"/api/3/campaigns/{segment(ref)}/edit"
        return await self._http.write(
            attempt, "edit", "PUT", path, json={"name": fitted}, judge=judge, content_type_ok=lambda _: True
        )

    async def copy(self, ref: str, attempt: OpenAttempt) -> WriteResult:
        """Duplicate into a draft; `ref` of the result is the new campaign."""

        def judge(reply: Reply) -> WriteResult | None:
            got = self._http.fields("copy", reply)
            if not got.flag("succeeded"):
                return WriteResult(AttemptOutcome.REJECTED, detail=f"refused: {got.text('message', '')}")
            made = got.ref("newCampaignId")
            return WriteResult(AttemptOutcome.APPLIED, ref=made) if made not in ("0", ref) else None

        return await self._http.write(attempt, "copy", "POST", f"/api/3/campaigns/{segment(ref)}/copy", judge=judge)

    # ---- contacts and tags -----------------------------------------------------------------------------------------

    async def find_tag(self, name: str) -> Tag | None:
        """The tag of this name, exactly as written or else the only one that differs in capitals alone.

        The platform's own search only narrows the list (it matches parts).
        """
        found = await self._listing("tags", "tags", lambda row: Tag(row.ref("id"), row.text("tag")), {"search": name})
        exact = [tag for tag in found.items if tag.name == name]
        if exact:
            return exact[0]
        if not found.complete:
            raise self._http.bad("tags", f"the tag cannot be told to be absent: {found.problem}")
        alike = [tag for tag in found.items if tag.name.casefold() == name.casefold()]
        if len(alike) > 1:
            raise self._http.bad("tags", f"{len(alike)} tags are named {name!r} in different capitals")
        return alike[0] if alike else None

    async def members(self, tag_ref: str) -> Listing[Contact]:
        """Every contact that carries the tag, whatever its list status, by ascending id.

        Not complete when the count that the platform named at the start is not the number read: somebody was tagged
        or untagged meanwhile.
        """
        found = await self._members(tag_ref, {"status": -1})  # an unsubscribed contact carries tags too
        # A platform that does not know -1 as "any status" shows nobody; what it shows unasked is then the better one.
        return found if found.items or not found.complete else await self._members(tag_ref, {})

    async def _members(self, tag_ref: str, narrowed: dict[str, int]) -> Listing[Contact]:
        rows: dict[int, Contact] = {}
        digests: list[str] = []
        total: int | None = None
        above, problem = 0, f"the list did not end within {MAX_MEMBER_PAGES} pages"
        for _ in range(MAX_MEMBER_PAGES):
            try:
                page = await self._member_page(tag_ref, above, narrowed)
            except RemoteError as failure:
                if not digests:
                    raise
                problem = f"a page could not be read: {failure}"
                break
            digests.append(page.digest)
            if total is None:
                total = _total(page)
            got = [(row.integer("id"), _contact(row)) for row in page.records("contacts")]
            ids = [ref for ref, _ in got]
            if ids != sorted(set(ids)) or (ids and ids[0] <= above):
                problem = "the pages are not in the order of ids"
                break
            rows.update(got)
            if not ids or (len(ids) < PAGE and len(rows) == total):
                problem = "" if total == len(rows) else f"the platform counted {total} and {len(rows)} were read"
                break
            above = ids[-1]
        items = tuple(rows.values())
        return Listing(items, not problem, self._http.clock.now(), problem, tuple(digests))

    async def _member_page(self, tag_ref: str, above: int, narrowed: dict[str, int]) -> Fields:
        query: dict[str, str | int] = {"tagid": tag_ref, "id_greater": above, "orders[id]": "ASC", "limit": PAGE}
        query |= narrowed
        return await self._http.record("contacts", "/api/3/contacts", params=query)

    async def tag_link(self, contact_ref: str, tag_ref: str) -> str:
        """The id of the contact's association with the tag, "" when all its tags were read without finding one."""
        here = f"/api/3/contacts/{segment(contact_ref)}"
        rows = await self._parts("contact_tags", here, "contactTags", ("tag",), tag_ref)
        return next((row.ref("id") for ref, row in rows if ref == tag_ref), "")

    async def create_tag(self, name: str, attempt: OpenAttempt) -> WriteResult:
        """Create a contact tag; `ref` is its id. An existing one is REJECTED as a duplicate by the platform."""
        body = {"tag": {"tag": name, "tagType": "contact", "description": ""}}
        judge = self._made("tag_create", "tag")
        return await self._http.write(attempt, "tag_create", "POST", "/api/3/tags", json=body, judge=judge)

    async def add_tag(self, contact_ref: str, tag_ref: str, attempt: OpenAttempt) -> WriteResult:
        """Put the tag on the contact; `ref` is the association."""
        body = {"contactTag": {"contact": contact_ref, "tag": tag_ref}}
        judge = self._made("tag_add", "contactTag")
        return await self._http.write(attempt, "tag_add", "POST", "/api/3/contactTags", json=body, judge=judge)

    async def remove_tag(self, link_ref: str, attempt: OpenAttempt) -> WriteResult:
        """Remove one association by its id. One that is not there any more is what was wanted: APPLIED."""

        def judge(reply: Reply) -> WriteResult | None:
            return WriteResult(AttemptOutcome.APPLIED, ref=link_ref) if reply.json() in ({}, []) else None

        path = f"/api/3/contactTags/{segment(link_ref)}"
        result = await self._http.write(attempt, "tag_remove", "DELETE", path, judge=judge)
        gone = result.exchange is not None and result.exchange.status == 404
        if gone and result.outcome is AttemptOutcome.REJECTED:
            return replace(
                result, outcome=AttemptOutcome.APPLIED, ref=link_ref, detail=f"already gone: {result.detail}"
            )
        return result

    # ---- how the platform speaks -----------------------------------------------------------------------------------

    async def _listing(
        self,
        op: str,
        key: str,
        parse: Callable[[Fields], T],
        query: dict[str, str],
        *,
        descending: bool = False,
    ) -> Listing[T]:
        async def fetch(offset: int, limit: int) -> OffsetPage[T]:
            page = await self._http.record(op, f"/api/3/{key}", params={**query, "limit": limit, "offset": offset})
            rows = [(row.integer("id"), parse(replace(row, digest=page.digest))) for row in page.records(key)]
            return OffsetPage(rows, _total(page), page.digest)

        return await read_by_offset(fetch, self._http.clock, descending=descending)

    async def _parts(
        self, op: str, here: str, key: str, names: tuple[str, ...], wanted: str | None = None
    ) -> list[tuple[str, Fields]]:
        """The rows below one object, each by the first of `names` it holds: all, or up to `wanted`; else BadReply."""

        async def fetch(offset: int, limit: int) -> PartPage[tuple[str, Fields]]:
            page = await self._http.record(op, f"{here}/{key}", params={"limit": limit, "offset": offset})
            found = page.records(key)
            refs = [row.ref(next((name for name in names if row.values.get(name)), names[-1])) for row in found]
            rows = zip(refs, found, strict=True)
            return PartPage([((row.text("id", ""), ref), (ref, row)) for ref, row in rows], _total(page))

        rows, problem = await read_parts(fetch, lambda row: row[0] == wanted)
        if problem:
            raise self._http.bad(op, problem)
        return rows

    def _listed(self, row: Fields) -> Campaign:
        """A row of the list; one that cannot be read is kept with the reason, and nothing acts on it."""
        try:
            return self._campaign(row)
        except BadReply as problem:
            known = {name: row.values.get(name) for name in ("name", "type", "sdate", "scheduleddate")}
            readable = {name: value for name, value in known.items() if isinstance(value, str)}
            try:
                due = self._due(replace(row, values=readable))
            except BadReply:
                due = None
            return Campaign(
                ref=row.ref("id"),
                name=readable.get("name", ""),
                type=readable.get("type", ""),
                status="",
                sdate=due,
                ldate=None,
                created_at=None,
                send_amt=0,
                total_amt=0,
                digest=row.digest,
                problem=str(problem),
            )

    def _due(self, row: Fields) -> datetime | None:
        """When it is to leave; `scheduleddate` stands in where `sdate` holds nothing."""
        return row.moment("sdate", self._zone) or row.moment("scheduleddate", self._zone)

    def _campaign(self, row: Fields) -> Campaign:
        return Campaign(
            ref=row.ref("id"),
            name=row.text("name", ""),
            type=row.text("type"),
            status=row.text("status"),
            sdate=self._due(row),
            ldate=row.moment("ldate", self._zone),
            created_at=row.moment("cdate", self._zone),
            modified_at=row.moment("mdate", self._zone),
            send_amt=row.integer("send_amt"),
            total_amt=row.integer("total_amt"),
            series_ref=row.text("seriesid", "0"),
            segment_ref=row.text("segmentid", "0"),
            source=row.text("source", ""),
            user_ref=row.text("userid", "") or row.text("user", ""),
            digest=row.digest,
        )

    def _made(self, op: str, key: str) -> Judge:
        def judge(reply: Reply) -> WriteResult | None:
            return WriteResult(AttemptOutcome.APPLIED, ref=self._http.fields(op, reply).record(key).ref("id"))

        return judge

    async def _set_status(self, attempt: OpenAttempt, op: str, ref: str, wanted: dict[str, str]) -> WriteResult:
        def judge(reply: Reply) -> WriteResult | None:
            got = self._http.fields(op, reply)
            said = got.text("result_message", "")
            if got.integer("result_code") == 1:
                return WriteResult(AttemptOutcome.APPLIED, ref=ref, detail=said)
            if got.integer("result_code") != 0:
                return None
            return WriteResult(AttemptOutcome.REJECTED, detail=said, auth_failed=_not_authorised(said))

        query = {"api_action": op, **self._v1_query, "id": ref, **wanted}
        # v1 is known to label JSON as text/html; that the body parses is proof enough.
        return await self._http.write(
            attempt, f"v1:{op}", "GET", V1, params=query, judge=judge, content_type_ok=lambda _: True
        )

    async def _v1_read(self, action: str, **query: str) -> Fields:
        op = f"v1:{action}"
        got = await self._http.record(op, V1, params={"api_action": action, **self._v1_query, **query})
        if got.integer("result_code") == 1:
            return got
        said = got.text("result_message", "no reason given")
        if _not_authorised(said):
            hint = "renew the key in the settings; if v3 takes it, v1 wants it as api_key: set pro2.v1_key_in_url"
            raise AuthFailed(self._http.system, self._http.account, f"{op}: {said}", hint)
        raise Refused(self._http.system, self._http.account, f"{op}: {said}", "check that the campaign still exists")


def _total(page: Fields) -> int | None:
    meta = page.maybe_record("meta")
    return meta.maybe_integer("total") if meta else None


def _contact(row: Fields) -> Contact:
    return Contact(row.ref("id"), row.text("email", "").strip().lower())


def _automation(row: Fields) -> Automation:
    return Automation(row.ref("id"), row.text("name", ""), row.text("status", "") == "1", row.integer("entered", 0))


def _not_authorised(said: str) -> bool:
    return "not authorized" in said.lower() or "not authorised" in said.lower()
