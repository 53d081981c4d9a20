"""The public status page on Atlassian Statuspage (implements `recovery.desk.ports.StatusBoard`).

Statuspage has no key against doubles, so the marker lies in the incident's metadata (never shown to visitors) and
`find` reads unresolved incidents to the end, then the recent ones. An update has no place for a marker: whoever posted
it recognises it by its status and words. Limits: one request a second per token; 420 and 429 both mean "too many".

Source: https://developer.statuspage.io
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from integrations.http import CapabilityManifest, Fields, Judge, Reply, Transport, segment
from recovery.desk.ports import StatusDraft, StatusIncident, StatusUpdate
from recovery.model import AttemptOutcome, OpenAttempt, System, WriteResult

NAMESPACE = "allclear"
"""Every top-level value of an incident's metadata must be an object, so the marker is one level down."""
LONGEST_NAME = 255
LONGEST_BODY = 25_000
_PAGE_SIZE = 100
_MOST_UNRESOLVED_PAGES = 20
_MOST_RECENT_PAGES = 5


class Statuspage:
    """One page. `find` looks at all unresolved and the newest 500 incidents."""

    def __init__(self, transport: Transport, *, page: str, proven: CapabilityManifest | None = None) -> None:
        self._transport = transport
        self._path = f"/pages/{segment(page)}"
        self._proven = proven or CapabilityManifest(System.STATUSPAGE.value)

    @staticmethod
    def credentials(key: str) -> Mapping[str, str]:
        """The credentials as Statuspage wants them."""
        return {"Authorization": f"OAuth {key}"}

    def manifest(self) -> CapabilityManifest:
        """What the page is proven to do."""
        return self._proven

    async def whoami(self) -> str:
        """Reads the page's components, which needs the key and the page; the answer names the page only."""
        await self._transport.read("components", "GET", f"{self._path}/components", params={"per_page": 1})
        return f"page {self._path.removeprefix('/pages/')}"

    async def find(self, marker: str) -> tuple[StatusIncident, ...]:
        """Incidents whose metadata carries exactly this marker, unresolved ones first."""
        found: dict[str, StatusIncident] = {}
        lists = (
            ("unresolved", f"{self._path}/incidents/unresolved", "per_page", _MOST_UNRESOLVED_PAGES, True),
            ("incidents", f"{self._path}/incidents", "limit", _MOST_RECENT_PAGES, False),
        )
        for op, path, size, most, whole in lists:
            for incident in await self._pages(op, path, size, most, whole=whole):
                if _marker(incident) == marker:
                    seen = _incident(incident)
                    found.setdefault(seen.ref, seen)
            if found:
                break
        return tuple(found.values())

    async def incident(self, ref: str) -> StatusIncident:
        """One incident with its updates, oldest first; raises NotFound."""
        return _incident(await self._transport.record("incident", f"{self._path}/incidents/{segment(ref)}"))

    async def create(self, draft: StatusDraft, attempt: OpenAttempt) -> WriteResult:
        """Open an incident; `ref` is its id. A text beyond the vendor's limit is refused here: nothing is cut."""
        body = _body(draft) | {"metadata": {NAMESPACE: {"key": draft.marker}}}
        if draft.component_refs:
            body["component_ids"] = list(draft.component_refs)

        def judge(reply: Reply) -> WriteResult | None:
            return _judged(reply, draft, wanted="")

        return await self._write(attempt, draft, "incident_create", "POST", f"{self._path}/incidents", judge, body)

    async def update(self, ref: str, draft: StatusDraft, attempt: OpenAttempt) -> WriteResult:
        """Post an update; `ref` of the result is the incident."""
        path = f"{self._path}/incidents/{segment(ref)}"

        def judge(reply: Reply) -> WriteResult | None:
            return _judged(reply, draft, wanted=ref)

        return await self._write(attempt, draft, "incident_update", "PATCH", path, judge, _body(draft))

    async def _write(
        self,
        attempt: OpenAttempt,
        draft: StatusDraft,
        op: str,
        method: str,
        path: str,
        judge: Judge,
        body: Mapping[str, Any],
    ) -> WriteResult:
        if len(draft.name) > LONGEST_NAME or len(draft.body) > LONGEST_BODY:
            detail = f"the name may have {LONGEST_NAME} and the text {LONGEST_BODY} characters"
            return WriteResult(AttemptOutcome.REJECTED, detail=detail)
        return await self._transport.write(attempt, op, method, path, judge=judge, json={"incident": body})

    async def _pages(self, op: str, path: str, size: str, most: int, *, whole: bool) -> list[Fields]:
        """Incidents page by page; BadReply when a page repeats, or when `whole` and the list does not end."""
        found: list[Fields] = []
        seen: set[str] = set()
        for page in range(1, most + 1):
            reply = await self._transport.read(op, "GET", path, params={"page": page, size: _PAGE_SIZE})
            records = self._records(op, reply)
            refs = {record.ref("id") for record in records}
            if refs and refs <= seen:
                raise self._transport.bad(op, "the list repeats a page")
            seen |= refs
            found += records
            if len(records) < _PAGE_SIZE:
                return found
        if whole:
            raise self._transport.bad(op, f"the list has more than {most} pages")
        return found

    def _records(self, op: str, reply: Reply) -> list[Fields]:
        try:
            rows = reply.json()
        except ValueError as problem:
            raise self._transport.bad(op, str(problem)) from None
        where = (self._transport.system, self._transport.account, op, reply.digest)
        return Fields({"rows": rows}, *where).records("rows")


def _body(draft: StatusDraft) -> dict[str, Any]:
    return {"name": draft.name, "status": draft.status, "body": draft.body, "deliver_notifications": draft.notify}


def _judged(reply: Reply, draft: StatusDraft, *, wanted: str) -> WriteResult | None:
    row = reply.obj()
    ref = row.get("id")
    if not isinstance(ref, str) or not ref or (wanted and ref != wanted) or row.get("status") != draft.status:
        return None
    return WriteResult(AttemptOutcome.APPLIED, ref=ref)


def _marker(incident: Fields) -> str:
    ours = incident.values.get("metadata")
    ours = ours.get(NAMESPACE) if isinstance(ours, dict) else None
    key = ours.get("key") if isinstance(ours, dict) else None
    return key if isinstance(key, str) else ""


def _incident(incident: Fields) -> StatusIncident:
    newest_first = incident.records("incident_updates") if incident.values.get("incident_updates") else []
    updates = [
        StatusUpdate(update.text("status"), update.text("body", ""), update.required_moment("created_at"))
        for update in reversed(newest_first)  # sorting keeps this order of those of one moment
    ]
    return StatusIncident(
        ref=incident.ref("id"),
        marker=_marker(incident),
        name=incident.text("name", ""),
        status=incident.text("status"),
        url=incident.text("shortlink", ""),
        updates=tuple(sorted(updates, key=lambda update: update.at)),
    )
