"""Netcore CPaaS WhatsApp templates. Reads only.

Facts: requirements-origins.md §1.1. Netcore publishes no endpoint for the panel's Link Tracking switch, for campaigns
or journeys, or for WhatsApp clicks: those are human steps with evidence. The template list's reply is not documented;
it is read in Meta's shape, in which templates are created there, and anything else is a BadReply.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NoReturn

from integrations.http import CapabilityManifest, Fields, Transport
from integrations.templates import listed, template_from
from recovery.case.panel_ports import (
    CampaignUse,
    ClickCounts,
    MessageTemplate,
    PanelCapabilities,
    PanelSetting,
    TemplateList,
)
from recovery.errors import ConfigError, Refused

PAGE = 100
MAX_PAGES = 200
# The public client code sends "Approved" unless told otherwise; so each is asked for, and none.
STATUSES = ("", "Approved", "Pending", "Rejected", "Paused", "Disabled")
TEMPLATE_TYPES = "1,2"
_LIST = "/metainfo/template/list"


class NetcoreClient:
    """The templates of one Netcore WhatsApp account: a `PanelDesk` that can read nothing else.

    The list is filtered by language at the remote. `languages` are all languages that the account uses, in Netcore's
    words ("English"); without them, and without proof that an unfiltered list holds everything (`lists_all`), a reading
    counts as incomplete and absence proves nothing.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        languages: Sequence[str] = (),
        lists_all: bool = False,
        proven: CapabilityManifest | None = None,
    ) -> None:
        self._http = transport
        self._languages = tuple(languages)
        self._lists_all = lists_all
        self._proven = proven or CapabilityManifest(transport.system)

    @staticmethod
    def credentials(header: str) -> dict[str, str]:
        """The whole Authorization value as the account needs it: some take "Bearer …", some the bare token."""
        if not header.strip():
            raise ConfigError("Netcore's Authorization value is not set", "put in the whole header value")
        return {"Authorization": header}

    def manifest(self) -> CapabilityManifest:
        """What this account is proven to do."""
        return self._proven

    def capabilities(self) -> PanelCapabilities:
        """Templates; nothing else has a published API."""
        return PanelCapabilities(template_read=True)

    async def ping(self) -> str:
        """One sentence for `doctor`; raises AuthFailed."""
        rows, _ = await self._page("Approved", self._languages[0] if self._languages else "", 0, 1)
        return f"answers, {len(rows)} template on the first page of one"

    async def setting(self) -> PanelSetting:
        """Always Refused: a person looks at the panel."""
        self._no_api("the panel's Link Tracking switch", "CPaaS panel > Settings > General Settings > Link Tracking")

    async def campaign(self, kind: str, ref: str) -> CampaignUse:
        """Always Refused: a person looks at the panel."""
        self._no_api(f"{kind} {ref!r}", "look in the CE panel")

    async def clicks(self, template_refs: tuple[str, ...], start: datetime, end: datetime) -> ClickCounts:
        """Always Refused: a person looks at the report."""
        del template_refs, start, end
        self._no_api("WhatsApp clicks", "look at the report in the CE panel")

    def _no_api(self, what: str, hint: str) -> NoReturn:
        raise Refused(self._http.system, self._http.account, f"Netcore has no API for {what}", hint)

    async def templates(self, name: str) -> TemplateList:
        """Every language and status of the template of exactly this name, all pages."""
        found: dict[str, MessageTemplate] = {}
        problems: list[str] = []
        for status in ("",) if self._lists_all else STATUSES:
            for language in ("",) if self._lists_all else self._languages or ("",):
                rows, problem = await self._read_all(status, language)
                found |= {r.ref: r for r in rows}
                if problem:
                    problems.append(problem)
        if not self._lists_all and not self._languages:
            problems.append("the account's languages are not set, so a language may be missing from the list")
        return listed(list(found.values()), name, "; ".join(dict.fromkeys(problems)), ())

    async def _read_all(self, status: str, language: str) -> tuple[list[MessageTemplate], str]:
        """All pages of one filter. A page that repeats, or a total that is not reached, is said as a problem."""
        rows: list[MessageTemplate] = []
        seen: set[str] = set()
        for number in range(MAX_PAGES):
            page, total = await self._page(status, language, number * PAGE, PAGE)
            fresh = [r for r in page if r.ref not in seen]
            if page and not fresh:
                return rows, "a page came twice"
            rows += fresh
            seen |= {r.ref for r in fresh}
            if len(page) < PAGE:
                short = total is not None and len(rows) < total
                return rows, f"the remote counts {total} and {len(rows)} were read" if short else ""
        return rows, f"the list did not end within {MAX_PAGES} pages"

    async def _page(
        self, status: str, language: str, offset: int, limit: int
    ) -> tuple[list[MessageTemplate], int | None]:
        params: dict[str, str | int] = {"limit": limit, "offset": offset, "template_type": TEMPLATE_TYPES}
        params |= {name: value for name, value in (("status", status), ("language", language)) if value}
        got = await self._http.record("templates", _LIST, params=params)
        said = got.text("status", "").lower()
        if said not in ("success", ""):
            # Netcore answers refusals with HTTP 200 and says so in the body.
            raise Refused(
                self._http.system, self._http.account, f"templates: {got.text('message', said)}", "check the account"
            )
        return [template_from(r) for r in _rows(got)], _total(got)


def _rows(got: Fields) -> list[Fields]:
    """The templates of a reply: `data` itself, or `data.templates`."""
    if isinstance(got.values.get("data"), list):
        return got.records("data")
    return got.record("data").records("templates")


def _total(got: Fields) -> int | None:
    if isinstance(got.values.get("data"), list):
        return got.maybe_integer("total")
    return got.record("data").maybe_integer("total")
