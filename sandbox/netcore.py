"""Netcore CPaaS WhatsApp template reads, in the shape in which templates are created there.

Facts: reference/requirements-origins.md §1.1; the reply's shape is not published and follows Meta's. Paths come after
{base} = …/api/v2. The panel's Link Tracking switch has no endpoint, here as there.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox.meta import HELP, SHOP, template, url_button
from sandbox.wire import Json, same, whole_number
from sandbox.world import World

_LANGUAGES = {"en_US": "English", "en": "English", "de": "German", "fr": "French", "hi": "Hindi"}


@dataclass
class NetcoreKnobs:
    """Habits and failures, off by default. With `defaults_apply` a missing filter means Approved and English."""

    page: int = 100
    defaults_apply: bool = False
    nested: bool = True
    page_repeats: bool = False
    lost_row: bool = False


@dataclass
class NetcoreState:
    """One account's templates. `authorization` is the whole header value that it takes."""

    authorization: str
    templates: list[Json] = field(default_factory=list)
    knobs: NetcoreKnobs = field(default_factory=NetcoreKnobs)


class _Panel:
    """The routes of one state."""

    def __init__(self, world: World, state: NetcoreState) -> None:
        self.world = world
        self.state = state

    def _refusal(self, request: Request) -> Response | None:
        if same(request.headers.get("authorization", ""), self.state.authorization):
            return None
        # A bare token meets something that looks like a firewall, not an API error.
        return PlainTextResponse("Forbidden", status_code=403)

    async def listing(self, request: Request) -> Response:
        """GET metainfo/template/list: offset, limit, status, language."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        query, knobs = request.query_params, self.state.knobs
        limit, offset = whole_number(query.get("limit"), 10), whole_number(query.get("offset"), 0)
        if limit is None or offset is None or limit < 1 or offset < 0:
            return JSONResponse({"status": "error", "message": "limit and offset must be numbers", "data": []})
        status = query.get("status") or ("Approved" if knobs.defaults_apply else "")
        language = query.get("language") or ("English" if knobs.defaults_apply else "")
        rows = [t for t in self.state.templates if _fits(t, status, language)]
        start = 0 if knobs.page_repeats else offset
        page = rows[start : start + min(limit, knobs.page)]
        if knobs.lost_row:
            page = page[:-1]
        data: object = {"templates": page, "total": len(rows)} if knobs.nested else page
        body = {"status": "success", "message": "Template list fetched successfully", "data": data}
        return JSONResponse(body if knobs.nested else body | {"total": len(rows)})

    async def status(self, request: Request) -> Response:
        """GET metainfo/template/status?templatename=: the status of every language."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        rows = [t for t in self.state.templates if t["name"] == request.query_params.get("templatename")]
        if not rows:
            return JSONResponse({"status": "error", "message": "Template not found", "data": []})
        told = [{k: t[k] for k in ("name", "language", "status")} for t in rows]
        return JSONResponse({"status": "success", "message": "ok", "data": told})

    async def preview(self, request: Request) -> Response:
        """GET metainfo/template/preview?templatename=: the components."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        rows = [t for t in self.state.templates if t["name"] == request.query_params.get("templatename")]
        return JSONResponse({"status": "success" if rows else "error", "message": "ok", "data": rows})


def _fits(row: Json, status: str, language: str) -> bool:
    spoken = _LANGUAGES.get(row["language"], row["language"])
    return (not status or row["status"].lower() == status.lower()) and language.lower() in ("", str(spoken).lower())


def build_app(world: World, state: NetcoreState) -> Starlette:
    """The template reads of one account."""
    panel, base = _Panel(world, state), "/metainfo/template"
    return Starlette(
        routes=[
            Route(f"{base}/list", panel.listing, methods=["GET"], name="template_list"),
            Route(f"{base}/status", panel.status, methods=["GET"], name="template_status"),
            Route(f"{base}/preview", panel.preview, methods=["GET"], name="template_preview"),
        ]
    )


def demo_templates() -> list[Json]:
    """Templates for each cause, in several languages and statuses, on more than one page."""
    shop, help_ = url_button("Shop now", SHOP), url_button("Help", HELP)
    rows = [
        template("71001", "spring_offer", "en", [shop]),
        template("71002", "spring_offer", "de", [shop]),
        template("71003", "static_help", "en", [help_]),
        template("71004", "mixed_offer", "en", [shop, help_]),
        template("71005", "waiting", "en", [shop], status="PENDING"),
        template("71006", "carousel", "en", [], cards=[[shop], [help_]]),
        template("71007", "no_scheme", "en", [url_button("Go", "shop.example/{{1}}")]),
        template("71008", "words_only", "en", [], body="Look at https://shop.example/help"),
    ]
    rows += [template(f"{72000 + n}", f"notice_{n:03d}", "en", [shop]) for n in range(120)]
    for row in rows:
        # Netcore knows no opt-out of a single template.
        del row["cta_url_link_tracking_opted_out"]
    return rows
