"""A second bridge to the Integrated Dashboard, written from `dashboard.openapi.yaml` alone.

It keeps to the contract and uses its freedom: small pages with opaque cursors, absent optional fields, runs without
`scheduled_for` or any time at all, starts that name no run, stops that come to nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Row = dict[str, Any]
ALL = {"stop": True, "reprocess": True, "run_now": True, "repeat": True, "imports": True}
RUN_TIME = timedelta(seconds=0.4)


@dataclass
class Bridge:
    """One account's dashboard. `effect` is called once for every run that ends well."""

    token: str
    clock: Callable[[], datetime]
    capabilities: Row
    definitions: list[Row] = field(default_factory=list)
    runs: list[Row] = field(default_factory=list)
    stops: dict[str, str] = field(default_factory=dict)
    effect: Callable[[Row], int] = field(default=lambda _run: 1)
    covers_to: datetime | None = None
    page: int = 7
    writes: list[tuple[str, str]] = field(default_factory=list)
    denied: set[str] = field(default_factory=set)
    names_runs: bool = True
    shows_counts: bool = True

    def tick(self) -> None:
        for run in self.runs:
            if run["state"] == "running" and run.get("_ends") and run["_ends"] <= self.clock():
                amount = self.effect(run)
                run.update(state="succeeded", ended_at=self.clock().isoformat(timespec="seconds"))
                if not self.shows_counts:
                    continue
                run["counts"] = {"returned": amount, "updated": amount, "errored": 0}

    def answer(self, request: Request, path: str, body: Row) -> Response:
        self.tick()
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return problem(401, "no")
        parts = [unquote(p) for p in path.split("/")]
        if parts[0] in self.denied:
            return problem(403, "not for you")
        if request.method == "GET":
            return self._read(request, parts)
        return self._write(parts, body)

    # ---- reads

    def _read(self, request: Request, parts: list[str]) -> Response:
        query = request.query_params
        if parts == ["capabilities"]:
            return JSONResponse(self.capabilities)
        if parts == ["definitions"]:
            return self._paged("definitions", self.definitions, query.get("cursor"), {})
        if parts[0] == "activity-log":
            start, end = (datetime.fromisoformat(query[k]) for k in ("from", "to"))
            rows = [r for r in self.runs if r["state"] != "queued" and start <= self._moment(r) <= end]
            return self._paged("runs", rows, query.get("cursor"), self._cover())
        if parts[0] == "console":
            rows = [r for r in self.runs if r["state"] in ("queued", "running", "stop_requested")]
            return self._paged("runs", rows, query.get("cursor"), self._cover())
        found = next((r for r in self.runs if r["run_id"] == parts[1]), None)
        if parts[0] != "runs" or found is None:
            return problem(404, "no such run")
        if parts[2:] == ["report"]:
            return JSONResponse({"run_id": found["run_id"], "rows": [{"row": 1, "message": "timeout"}]})
        return JSONResponse(shown(found))

    def _moment(self, run: Row) -> datetime:
        named = run.get("started_at") or run.get("scheduled_for") or run.get("ended_at")
        return datetime.fromisoformat(named) if named else self.clock() - timedelta(minutes=1)

    def _cover(self) -> Row:
        cover: Row = {"covers_from": (self.clock() - timedelta(days=30)).isoformat()}
        if self.covers_to is not None:
            cover["covers_to"] = self.covers_to.isoformat()
        return cover | {"generated_at": self.clock().isoformat()}

    def _paged(self, key: str, rows: list[Row], cursor: str | None, more: Row) -> Response:
        newest = sorted(rows, key=lambda r: self._moment(r), reverse=True) if key == "runs" else rows
        start = int(base64.b64decode(cursor)) if cursor else 0
        after = start + self.page
        body: Row = {key: [shown(r) for r in newest[start:after]], **more}
        if after < len(newest):
            body["next_cursor"] = base64.b64encode(str(after).encode()).decode()
        return JSONResponse(body)

    # ---- writes

    def _write(self, parts: list[str], body: Row) -> Response:
        match parts:
            case ["runs", ref, "stop"]:
                return self._stop(ref)
            case ["runs", ref, "reprocess"]:
                run = next((r for r in self.runs if r["run_id"] == ref), None)
                if run is None:
                    return problem(404, "no such run")
                return self._start("reprocess", run["definition_id"], [], repeated_from_run_id=ref)
            case ["definitions", ref, "run-now" | "repeat" as what]:
                return self._start(what.replace("-", "_"), ref, [])
            case ["imports"]:
                return self._start("import", "adhoc", body["tags"], _list=body["list_manager_list_id"])
        return problem(404, "no such thing")

    def _stop(self, ref: str) -> Response:
        run = next(r for r in self.runs if r["run_id"] == ref)
        what = self.stops.get(ref, "accepted")
        self.writes.append(("stop", ref))
        if what == "409":
            return problem(409, "too late")
        if what == "accepted":
            run["state"] = "stopped"
        return JSONResponse({"result": "accepted" if what == "ignored" else what}, 202)

    def _start(self, what: str, definition: str, tags: list[str], **more: Any) -> Response:
        now = self.clock()
        ref = f"r~{len(self.runs)}/{what}"
        self.writes.append((what, definition))
        self.runs.append(
            {"run_id": ref, "definition_id": definition, "requested_by": what, "state": "running", "tags": tags,
             "started_at": now.isoformat(), "_ends": now + RUN_TIME, **more}
        )  # fmt: skip
        named: Row = {"run_id": ref} if self.names_runs else {}
        return JSONResponse({**named, "queued_at": now.isoformat()}, 202)


def shown(row: Row) -> Row:
    """A row without what is ours."""
    return {k: v for k, v in row.items() if not k.startswith("_")}


def problem(status: int, detail: str) -> Response:
    body = {"title": "no", "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")
