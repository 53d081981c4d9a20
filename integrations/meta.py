"""Meta's WhatsApp Cloud API: one business account's insights switch, templates and click counts. Reads only.

Facts: requirements-origins.md §1.2, from https://developers.facebook.com/documentation/business-messaging/whatsapp/ and
github.com/facebook/openapi (business-messaging-api_v23.0). Switching insights on (POST on the account) cannot be undone
and is not in this module at all; a named person does it by hand.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from integrations.http import CapabilityManifest, Fields, Reply, Transport, segment
from integrations.pages import CursorPage, read_by_cursor
from integrations.templates import listed, template_from
from recovery.case.panel_ports import (
    CampaignUse,
    ClickCounts,
    MessageTemplate,
    PanelCapabilities,
    PanelSetting,
    TemplateList,
)
from recovery.errors import AuthFailed, NotFound, Refused, RemoteError, Unavailable
from recovery.ports import RateGate

PAGE = 100
MAX_PAGES = 500
ANALYTICS_BATCH = 10
ANALYTICS_DAYS = 90
TRIES = 3
# 4: the app's limit; 80008: too many calls to this business account. Meta sends them as 400 or 403.
RATE_CODES = frozenset({4, 80008, 130429})
PERMISSION_CODES = frozenset({10, 190, *range(200, 300)})
GONE_CODES = frozenset({803})
BUSY_PERCENT = 90
_CODE = re.compile(r"\(#(\d{1,7})\)")
_TEMPLATE_FIELDS = "id,name,language,status,category,components,cta_url_link_tracking_opted_out"
_USAGE = "x-business-use-case-usage"


class MetaClient:
    """One WhatsApp business account: a `PanelDesk`. The transport's base URL names the version, as in `…/v23.0`.

    Meta's rate codes and the usage header slow the account down through `gate` before Meta has to refuse.
    """

    def __init__(
        self, transport: Transport, waba_ref: str, gate: RateGate, proven: CapabilityManifest | None = None
    ) -> None:
        self._http = transport
        self._waba = waba_ref
        self._path = f"/{segment(waba_ref)}"
        self._gate = gate
        self._proven = proven or CapabilityManifest(transport.system)

    @staticmethod
    def credentials(token: str) -> dict[str, str]:
        """The header of a system user's token with whatsapp_business_management."""
        return {"Authorization": f"Bearer {token}"}

    def manifest(self) -> CapabilityManifest:
        """What this account is proven to do."""
        return self._proven

    def capabilities(self) -> PanelCapabilities:
        """Everything but campaigns, which Meta does not know, and Netcore's message flag."""
        return PanelCapabilities(panel_setting=True, template_read=True, click_report=True)

    async def ping(self) -> str:
        """One sentence for `doctor`; raises AuthFailed."""
        setting = await self.setting()
        return f"business account {setting.panel_name or self._waba}, insights {setting.state}"

    async def setting(self) -> PanelSetting:
        """`is_enabled_for_insights` of the account; "unknown" when the reply does not hold it."""
        reply = await self._read("panel_setting", self._path, {"fields": "id,name,is_enabled_for_insights"})
        got = self._http.fields("panel_setting", reply)
        if got.ref("id") != self._waba:
            raise self._http.bad("panel_setting", "the reply is about another business account")
        state: Literal["on", "off", "unknown"] = "unknown"
        if got.values.get("is_enabled_for_insights") is not None:
            state = "on" if got.flag("is_enabled_for_insights") else "off"
        return PanelSetting(state, "is_enabled_for_insights", got.text("name", ""), _traces([reply]))

    async def templates(self, name: str) -> TemplateList:
        """Every language of the template of exactly this name, all pages."""
        replies: list[Reply] = []

        async def fetch(cursor: str) -> CursorPage[MessageTemplate]:
            params: dict[str, str | int] = {"name": name, "fields": _TEMPLATE_FIELDS, "limit": PAGE}
            reply = await self._read("templates", f"{self._path}/message_templates", params | _after(cursor))
            replies.append(reply)
            page = self._http.fields("templates", reply)
            return CursorPage([template_from(r) for r in page.records("data")], _next(page), reply.digest)

        rows, _, problem = await read_by_cursor(fetch, max_pages=MAX_PAGES)
        return listed(_distinct(rows), name, problem, _traces(replies))

    async def campaign(self, kind: str, ref: str) -> CampaignUse:
        """Always Refused: campaigns and journeys belong to the panel in front of Meta."""
        raise Refused(self._http.system, self._http.account, f"Meta knows no {kind} {ref!r}", "look in the panel")

    async def clicks(self, template_refs: tuple[str, ...], start: datetime, end: datetime) -> ClickCounts:
        """Daily counts of these templates, at most 90 days back, ten templates a call."""
        first = max(start, end - timedelta(days=ANALYTICS_DAYS))
        points: list[Fields] = []
        replies: list[Reply] = []
        for index in range(0, len(template_refs), ANALYTICS_BATCH):
            refs = template_refs[index : index + ANALYTICS_BATCH]
            points += await self._points(refs, first, end, replies)
        return ClickCounts(
            start=first,
            end=end,
            sent=sum(p.integer("sent", 0) for p in points) if points else None,
            delivered=sum(p.integer("delivered", 0) for p in points) if points else None,
            total=_clicked(points, "url_button"),
            unique=_clicked(points, "unique_url_button"),
            traces=_traces(replies),
        )

    async def _points(self, refs: Sequence[str], start: datetime, end: datetime, replies: list[Reply]) -> list[Fields]:
        params: dict[str, str | int] = {
            "start": int(start.timestamp()),
            "end": int(end.timestamp()),
            "granularity": "DAILY",
            "template_ids": json.dumps(list(refs)),
            "metric_types": '["SENT","DELIVERED","CLICKED"]',
        }

        async def fetch(cursor: str) -> CursorPage[Fields]:
            reply = await self._read("clicks", f"{self._path}/template_analytics", params | _after(cursor))
            replies.append(reply)
            page = self._http.fields("clicks", reply)
            rows = [point for group in page.records("data") for point in group.records("data_points")]
            return CursorPage(rows, _next(page), reply.digest)

        rows, _, problem = await read_by_cursor(fetch, max_pages=MAX_PAGES)
        if problem:
            raise self._http.bad("clicks", f"the counts could not be read to their end: {problem}")
        return rows

    # ---- the way to Meta and back ------------------------------------------------------------------------------------

    async def _read(self, op: str, path: str, params: Mapping[str, str | int]) -> Reply:
        """A reply; Meta's error codes are put into the product's words, and its rate limits are heeded."""
        for _ in range(TRIES):
            try:
                reply = await self._http.read(op, "GET", path, params=dict(params))
            except (Refused, AuthFailed) as problem:
                code = _code(problem)
                if code not in RATE_CODES:
                    raise self._named(op, code, problem) from None
                self._gate.penalize(self._http.account, self._http.system, 60.0)
                continue
            self._heed(reply)
            return reply
        raise Unavailable(
            self._http.system, self._http.account, f"{op}: too many calls to this account", "run again in an hour"
        )

    def _named(self, op: str, code: int, problem: RemoteError) -> RemoteError:
        who = (self._http.system, self._http.account)
        if code in PERMISSION_CODES:
            hint = "the token needs whatsapp_business_management for this business account"
            return AuthFailed(*who, f"{op}: Meta's code {code}, not permitted", hint)
        if code in GONE_CODES:
            return NotFound(*who, f"{op}: Meta's code {code}, it is not there", "check the business account's id")
        return problem

    def _heed(self, reply: Reply) -> None:
        """Slow down as the usage header says: minutes until access returns, or nearly used up."""
        wait = usage_wait_seconds(reply.headers.get(_USAGE, ""), self._waba)
        if wait:
            self._gate.penalize(self._http.account, self._http.system, wait)


def usage_wait_seconds(header: str, waba: str) -> float:
    """Seconds to keep away, from Meta's usage header; 0 when there is room or the header cannot be read."""
    try:
        rows = json.loads(header).get(waba, []) if header else []
        counts = [max(float(r.get(k, 0)) for k in ("call_count", "total_cputime", "total_time")) for r in rows]
        minutes = [float(r.get("estimated_time_to_regain_access", 0)) for r in rows]
    except (ValueError, TypeError, AttributeError):
        return 0.0
    if not all(map(math.isfinite, [*counts, *minutes])):
        return 0.0
    if any(m > 0 for m in minutes):
        return max(minutes) * 60
    return 5.0 if any(c >= BUSY_PERCENT for c in counts) else 0.0


def _code(problem: RemoteError) -> int:
    """Meta's own number from the error's text, 0 when it names none."""
    found = _CODE.search(str(problem))
    return int(found[1]) if found else 0


def _after(cursor: str) -> dict[str, str | int]:
    return {"after": cursor} if cursor else {}


def _next(page: Fields) -> str:
    """The next page's cursor, while Meta says that there is a next page."""
    paging = page.maybe_record("paging")
    if paging is None or not paging.text("next", ""):
        return ""
    return paging.record("cursors").ref("after")


def _distinct(rows: Sequence[MessageTemplate]) -> list[MessageTemplate]:
    """Rows once each: a list that moves between pages may show one twice."""
    return list({r.ref: r for r in rows}.values())


def _clicked(points: Sequence[Fields], kind: str) -> int | None:
    """The sum of one kind of click; None when no point holds `clicked` at all, for absent is not zero."""
    told = [p for p in points if p.values.get("clicked") is not None]
    if not told:
        return None
    return sum(c.integer("count", 0) for p in told for c in p.records("clicked") if c.text("type") == kind)


def _traces(replies: Sequence[Reply]) -> tuple[str, ...]:
    found = (r.headers.get("x-fb-trace-id", "") for r in replies)
    return tuple(t for t in found if t)
