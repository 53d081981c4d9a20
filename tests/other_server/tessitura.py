"""A second Tessitura: stored lists, and addresses by constituent; errors as the collection its pages show."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Row = dict[str, Any]


@dataclass
class Tessitura:
    """`lists` by id: `{"name", "people", "used", ...}`; `addresses` by constituent."""

    login: str
    lists: dict[int, Row] = field(default_factory=dict)
    addresses: dict[int, list[Row]] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)

    def answer(self, request: Request, path: str, body: Row) -> Response:
        wanted = "Basic " + base64.b64encode(self.login.encode()).decode()
        if request.headers.get("authorization") != wanted:
            return self._error(401, "Invalid credentials")
        parts = path.split("/")
        if parts[:2] == ["Diagnostics", "Status"]:
            return JSONResponse({"Success": True, "TimeZone": "UTC"})
        if parts[:2] == ["CRM", "ElectronicAddresses"]:
            wanted_ids = [int(x) for x in request.query_params["constituentIds"].split(",")]
            return JSONResponse([a for ref in wanted_ids for a in self.addresses.get(ref, [])])
        if parts[:2] != ["Reporting", "Lists"]:
            return self._error(404, "no such resource")
        if parts[2] == "Search":
            text = body["SearchText"].lower()
            rows = [self._list(n) for n, x in self.lists.items() if text in x["name"].lower()]
            size, page = body.get("PageSize", 50), body.get("Page", 1)
            return JSONResponse(rows[(page - 1) * size : page * size], headers={"X-Total-Count": str(len(rows))})
        ref = int(parts[2])
        if ref not in self.lists:
            return self._error(404, "no such list")
        if parts[3:] == ["Contents"]:
            return JSONResponse([{"ConstituentId": p} for p in self.lists[ref]["people"]])
        if parts[3:]:
            self.writes.append(path)
            return self._error(403, "no right")
        return JSONResponse(self._list(ref))

    def _list(self, ref: int) -> Row:
        found = self.lists[ref]
        shown: Row = {"Id": ref, "Description": found["name"], "ConstituentCount": len(found["people"])}
        return shown | {"IsDynamic": True, "LastUsedDateTime": found.get("used"), "Criteria": None, "Inactive": False}

    @staticmethod
    def _error(status: int, text: str) -> Response:
        return JSONResponse([{"Code": None, "Description": text, "Details": "", "ErrorPath": None}], status)
