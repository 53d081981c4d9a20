"""Similar tickets in Zendesk Support. Reads only.

`GET /api/v2/search?query=type:ticket …` searches an index that lags behind the tickets by some minutes, so an empty
answer says "none found", never "there is none". Words of the query are plain words: the characters that Zendesk reads
as operators are taken out, so that no template's name can widen or narrow the search.

Source: https://developer.zendesk.com/api-reference/ticketing/ticket-management/search/
"""

from __future__ import annotations

import re

from integrations.http import Fields, Transport
from recovery.desk.ports import CustomerTicket

_OPERATORS = re.compile(r"[:<>=\"*(){}\[\]\\]|(?<!\w)-")


class ZendeskSearch:
    """The search of one Zendesk account; `site` is for links that people open."""

    def __init__(self, transport: Transport, *, site: str) -> None:
        self._transport = transport
        self._site = site.rstrip("/")

    async def search(self, query: str, limit: int) -> tuple[CustomerTicket, ...]:
        """At most `limit` (1 to 100) tickets that fit the words, in Zendesk's order; raises RemoteError."""
        words = " ".join(_OPERATORS.sub(" ", query).split())
        params: dict[str, str | int] = {"query": f"type:ticket {words}", "per_page": limit}
        page = await self._transport.record("search", "/api/v2/search", params=params)
        rows = [row for row in page.records("results") if row.text("result_type", "ticket") == "ticket"]
        return tuple(self._ticket(row) for row in rows[:limit])

    def _ticket(self, row: Fields) -> CustomerTicket:
        ref = row.ref("id")
        return CustomerTicket(
            ref=ref,
            marker=row.text("external_id", ""),
            subject=row.text("subject", ""),
            status=row.text("status", ""),
            priority=row.text("priority", ""),
            url=f"{self._site}/agent/tickets/{ref}",
            created_at=row.required_moment("created_at"),
        )
