"""A second pretend Pro2, written from the vendor's pages alone and sharing nothing with `sandbox`.

It differs wherever the pages leave room: order and size of pages, ids, absent and extra fields, forms of dates, replies
of undocumented shape. Campaigns that are due leave when they are looked at; each delivery is journalled.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

Row = dict[str, Any]


@dataclass
class Pro2:
    """One account. `habits` name what it does in its own way; see `_page`, `_authorised`, `_edit`."""

    zone: str
    token: str
    clock: Callable[[], datetime]
    habits: frozenset[str] = frozenset()
    campaigns: list[Row] = field(default_factory=list)
    contacts: dict[int, Row] = field(default_factory=dict)
    lists: dict[str, set[int]] = field(default_factory=dict)
    segments: dict[str, set[int]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    links: dict[int, tuple[int, str]] = field(default_factory=dict)
    messages: dict[str, Row] = field(default_factory=dict)
    automations: list[Row] = field(default_factory=list)
    deliveries: list[tuple[str, str]] = field(default_factory=list)
    writes: list[tuple[str, ...]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    denied: set[str] = field(default_factory=set)
    frozen: set[str] = field(default_factory=set)
    """Campaigns that the outage holds: they never leave by themselves."""

    # ---- what the platform does by itself

    def by_id(self, ref: str) -> Row | None:
        return next((c for c in self.campaigns if str(c["id"]) == str(ref)), None)

    def tick(self) -> None:
        for c in self.campaigns:
            due = c.get("_at")
            if str(c["status"]) == "1" and due and due <= self.clock() and str(c["id"]) not in self.frozen:
                people = self.audience(c)
                self.deliveries += [(str(c["id"]), self.contacts[p]["email"]) for p in sorted(people)]
                c.update(
                    status="5", send_amt=str(len(people)), total_amt=str(len(people)), ldate=self.stamp(self.clock())
                )

    def audience(self, c: Row) -> set[int]:
        people: set[int] = set().union(*(self.lists[n] for n in c["_lists"]))
        return people & self.segments[c["_segment"]] if c["_segment"] else people

    def stamp(self, at: datetime) -> str:
        """A date as this account writes it."""
        if "zulu" in self.habits:
            return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        text = at.astimezone(ZoneInfo(self.zone)).strftime("%Y-%m-%dT%H:%M:%S%z")
        return text if "basic-offset" in self.habits else f"{text[:-2]}:{text[-2:]}"

    # ---- how it speaks

    def _shown(self, row: Row) -> Row:
        shown = {k: v for k, v in row.items() if not k.startswith("_")}
        if "sparse" in self.habits:
            shown = {k: v for k, v in shown.items() if v is not None}
        return shown | {"screenshot": None, "links": {"user": "https://x"}, "ip4": "0", "embedded_forms": []}

    def _page(self, key: str, rows: list[Row], request: Request) -> Response:
        """Only documented orders are honoured; an account may give smaller pages than it was asked for."""
        most = 20 if "small-pages" in self.habits else 100
        query = request.query_params
        if "orders[id]" in query and "no-order-by-id" not in self.habits:
            rows = sorted(rows, key=lambda r: int(r["id"]), reverse=query["orders[id]"].upper() == "DESC")
        offset, limit = int(query.get("offset", 0)), min(int(query.get("limit", 20)), most)
        total: Any = len(rows) if "numbers" in self.habits else str(len(rows))
        shown = [self._shown(r) for r in rows[offset : offset + limit]]
        return JSONResponse({key: shown, "meta": {"total": total, "page_input": {"search": None}}})

    def _v1_key(self, request: Request) -> str:
        if "v1-key-in-query" in self.habits:
            return request.query_params.get("api_key", "")
        return request.headers.get("api-token", "") or request.query_params.get("api_key", "")

    def answer(self, request: Request, path: str, body: Row) -> Response:
        self.tick()
        self.seen.append(f"{request.method} {path} {request.query_params.get('api_action', '')}".strip())
        if path == "admin/api.php":
            return self._v1(request)
        if request.headers.get("api-token") != self.token:
            return JSONResponse({"message": "You are not authorized"}, 403)
        parts = path.removeprefix("api/3/").split("/")
        if parts[0] in self.denied:
            return PlainTextResponse("You do not have permission", 403)
        handler = getattr(self, f"_{request.method.lower()}_{parts[0]}", None)
        found = handler(request, parts[1:], body) if handler else None
        return found or JSONResponse({"message": f"No Result found for {parts[0]} with id {parts[-1]}"}, 404)

    # ---- v3 reads

    def _get_users(self, _request: Request, _rest: list[str], _body: Row) -> Response:
        return JSONResponse({"user": {"id": 9, "username": "api", "email": "api@town.example"}})

    def _get_campaigns(self, request: Request, rest: list[str], _body: Row) -> Response | None:
        if not rest:
            return self._page("campaigns", self.campaigns, request)
        c = self.by_id(rest[0])
        if c is None:
            return None
        if rest[1:] == ["campaignLists"] and "no-parts" not in self.habits:
            return JSONResponse({"campaignLists": [{"campaign": rest[0], "list": n, "id": n} for n in c["_lists"]]})
        if rest[1:] == ["campaignMessages"] and "no-parts" not in self.habits:
            return JSONResponse({"campaignMessages": [{"id": "1", "messageid": m} for m in c["_messages"]]})
        return JSONResponse({"campaign": self._shown(c)}) if not rest[1:] else None

    def _get_messages(self, _request: Request, rest: list[str], _body: Row) -> Response | None:
        found = self.messages.get(rest[0])
        return JSONResponse({"message": found}) if found else None

    def _get_automations(self, request: Request, _rest: list[str], _body: Row) -> Response:
        return self._page("automations", self.automations, request)

    def _get_contacts(self, request: Request, rest: list[str], _body: Row) -> Response | None:
        if rest[1:] == ["contactTags"]:
            mine = [{"id": str(n), "contact": c, "tag": t} for n, (c, t) in self.links.items() if str(c) == rest[0]]
            return JSONResponse({"contactTags": mine})
        query, found = request.query_params, set(self.contacts)
        if tag := query.get("tagid"):
            found &= {c for c, t in self.links.values() if t == tag}
        if ref := query.get("listid"):
            found &= self.lists.get(ref, set())
        if ref := query.get("segmentid"):
            found &= self.segments.get(ref, set())
        above = int(query.get("id_greater", 0))
        rows = [self.contacts[c] for c in sorted(found) if c > above]
        return self._page("contacts", rows, request)

    def _get_tags(self, request: Request, _rest: list[str], _body: Row) -> Response:
        wanted = request.query_params.get("search", "").lower()
        rows = [{"id": ref, "tag": name} for ref, name in self.tags.items() if wanted in name.lower()]
        return self._page("tags", rows, request)

    # ---- v3 writes

    def _post_campaigns(self, _request: Request, rest: list[str], _body: Row) -> Response | None:
        c = self.by_id(rest[0])
        if c is None or rest[1:] != ["copy"]:
            return None
        made = copy.deepcopy(c)
        new = max(int(x["id"]) for x in self.campaigns) + 1013
        now = self.stamp(self.clock())
        made |= {"id": str(new), "status": "0", "sdate": None, "ldate": None, "send_amt": "0", "total_amt": "0"}
        made |= {"cdate": now, "mdate": now, "source": "copy", "_at": None}
        made["_messages"] = [self._again(m) for m in c["_messages"]]
        self.campaigns.insert(0, made)
        self.writes.append(("copy", rest[0], str(new)))
        return JSONResponse({"succeeded": 1, "message": "Campaign draft copied.", "newCampaignId": new})

    def _again(self, ref: str) -> str:
        new = str(900_000 + len(self.messages))
        self.messages[new] = self.messages[ref] | {"id": new}
        return new

    def _put_campaigns(self, _request: Request, rest: list[str], body: Row) -> Response | None:
        """The reply to an edit is documented nowhere: one account says nothing at all."""
        c = self.by_id(rest[0])
        if c is None or rest[1:] != ["edit"]:
            return None
        c["name"] = body["name"]
        self.writes.append(("edit", rest[0], body["name"]))
        return Response(status_code=204) if "silent-edit" in self.habits else JSONResponse({"id": int(rest[0])})

    def _post_contactTags(self, _request: Request, _rest: list[str], body: Row) -> Response:  # noqa: N802
        given = body["contactTag"]
        ref = max(self.links, default=0) + 17
        self.links[ref] = (int(given["contact"]), str(given["tag"]))
        self.writes.append(("tag", str(given["contact"]), str(given["tag"])))
        return JSONResponse({"contactTag": {"id": str(ref), **given, "cdate": self.stamp(self.clock())}}, 201)

    def _delete_contactTags(self, _request: Request, rest: list[str], _body: Row) -> Response | None:  # noqa: N802
        gone = self.links.pop(int(rest[0]), None)
        if gone is None:
            return None
        self.writes.append(("untag", str(gone[0]), gone[1]))
        return JSONResponse({})

    # ---- v1

    def _v1(self, request: Request) -> Response:
        """HTTP 200 whatever happens; JSON under the wrong content type, as v1 is known to label it."""
        query, said = request.query_params, self._v1_said
        if self._v1_key(request) != self.token:
            return said(0, "You are not authorized to access this file")
        ref = query.get("campaignid") or query.get("id") or ""
        c = self.by_id(ref)
        if c is None:
            return said(0, "Failed: Nothing is returned")
        if query["api_action"] == "campaign_report_totals":
            sent = {
                k: str(c.get(k) or "0") if "_empty" not in c else "0" for k in ("send_amt", "total_amt", "uniqueopens")
            }
            more = {"status": str(c["status"]), "type": c["type"], "ldate": None, "ldate_iso": c.get("ldate")}
            return said(1, "Success: Something is returned", **sent, **more)
        if query["api_action"] == "campaign_status":
            return self._set_status(c, query["status"], query.get("sdate"))
        return said(0, "unknown action")

    def _set_status(self, c: Row, wanted: str, sdate: str | None) -> Response:
        now, allowed = str(c["status"]), {"4": "12", "3": "12", "1": "0346"}
        if now not in allowed.get(wanted, ""):
            return self._v1_said(0, f"Campaign cannot be changed from {now} to {wanted}")
        c["status"] = wanted
        if wanted == "1" and sdate:
            c["_at"] = datetime.fromisoformat(sdate).replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC)
            c["sdate"] = self.stamp(c["_at"])
        self.writes.append(("status", str(c["id"]), wanted))
        return self._v1_said(1, "Campaign status updated")

    @staticmethod
    def _v1_said(code: int, message: str, **more: Any) -> Response:
        body: Row = {**more, "result_code": code, "result_message": message, "result_output": "json"}
        return JSONResponse(body, media_type="text/html; charset=utf-8")
