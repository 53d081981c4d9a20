"""Meta's Graph API as far as WhatsApp templates, insights and their counts go.

Facts: reference/requirements-origins.md §1.2. Paths come after the version: {base}/{id}, {base}/{id}/message_templates,
{base}/{id}/template_analytics. Both writes exist here so that a product which switches a setting is caught in the
journal: enabling insights cannot be undone, as at Meta.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.wire import Json, flag, same, token_after, whole_number
from sandbox.world import World

DAY = timedelta(days=1)
_DEFAULT_FIELDS = "name,parameter_format,components,language,status,category,id"


@dataclass
class MetaKnobs:
    """Habits and failures, off by default."""

    page: int = 25
    limited_calls: int = 0
    usage_percent: int = 12
    regain_minutes: int = 0
    cursor_circles: bool = False
    hide_insights_field: bool = False
    exact_name_filter: bool = False


@dataclass
class BusinessAccount:
    """One WhatsApp business account. `points` are analytics rows by template id, as (day, row)."""

    ref: str
    name: str
    insights: bool = True
    templates: list[Json] = field(default_factory=list)
    points: dict[str, list[tuple[datetime, Json]]] = field(default_factory=dict)


@dataclass
class MetaState:
    """Everything behind one token."""

    token: str
    accounts: dict[str, BusinessAccount] = field(default_factory=dict)
    knobs: MetaKnobs = field(default_factory=MetaKnobs)


def template(
    ref: str, name: str, language: str, buttons: list[Json], *, cards: list[list[Json]] | None = None, **facts: Any
) -> Json:
    """A template row in Meta's shape; `cards` are the buttons of each carousel card."""
    components: list[Json] = [{"type": "BODY", "text": facts.pop("body", "Hello {{1}}, this is for you.")}]
    if buttons:
        components.append({"type": "BUTTONS", "buttons": buttons})
    if cards is not None:
        shown = [
            {"components": [{"type": "BODY", "text": f"Card {n}"}, {"type": "BUTTONS", "buttons": inner}]}
            for n, inner in enumerate(cards)
        ]
        components.append({"type": "CAROUSEL", "cards": shown})
    row = {
        "id": ref,
        "name": name,
        "language": language,
        "status": "APPROVED",
        "category": "MARKETING",
        "parameter_format": "POSITIONAL",
        "components": components,
        "cta_url_link_tracking_opted_out": False,
    }
    return row | facts


def url_button(text: str, url: str) -> Json:
    """A URL button; dynamic ones carry Meta's example."""
    button: Json = {"type": "URL", "text": text, "url": url}
    return button | {"example": ["summer"]} if "{{" in url else button


def counted(sent: int, delivered: int, total: int | None = None, unique: int | None = None) -> Json:
    """One day's analytics row; without counts the row has no `clicked` at all, as when a template has opted out."""
    row: Json = {"sent": sent, "delivered": delivered, "read": delivered // 2}
    if total is not None or unique is not None:
        kinds = (("url_button", total), ("unique_url_button", unique))
        row["clicked"] = [
            {"type": kind, "button_content": "Shop now", "count": count} for kind, count in kinds if count is not None
        ]
    return row


def error(status: int, code: int, message: str, *, subcode: int | None = None, transient: bool = False) -> Response:
    """Meta's error shape."""
    body: Json = {
        "message": f"(#{code}) {message}" if code != 190 else message,
        "type": "OAuthException",
        "code": code,
        "fbtrace_id": "AbCdEfGhIjKlMnOpQrStUv",
        "is_transient": transient,
    }
    if subcode is not None:
        body["error_subcode"] = subcode
    return JSONResponse({"error": body}, status_code=status)


class _Graph:
    """The routes of one state."""

    def __init__(self, world: World, state: MetaState) -> None:
        self.world = world
        self.state = state

    def _refusal(self, request: Request) -> Response | None:
        given = token_after("Bearer", request)
        if given is None or not same(given, self.state.token):
            return error(401, 190, "Error validating access token: Session has expired", subcode=463)
        if self.state.knobs.limited_calls > 0:
            self.state.knobs.limited_calls -= 1
            return error(400, 80008, "There have been too many calls to this WhatsApp Business account.")
        if request.path_params["ref"] not in self.state.accounts and not self._template(request.path_params["ref"]):
            return error(404, 803, "Some of the aliases you requested do not exist")
        return None

    def _template(self, ref: str) -> Json | None:
        return next((t for a in self.state.accounts.values() for t in a.templates if t["id"] == ref), None)

    def _reply(self, account: str, body: object) -> Response:
        knobs = self.state.knobs
        usage = {
            "type": "whatsapp_business_management",
            "call_count": knobs.usage_percent,
            "total_cputime": 1,
            "total_time": 1,
            "estimated_time_to_regain_access": knobs.regain_minutes,
        }
        headers = {
            "x-business-use-case-usage": json.dumps({account: [usage]}),
            "x-fb-trace-id": f"T{self.world.random.getrandbits(40):010x}",
        }
        return JSONResponse(body, headers=headers)

    async def account(self, request: Request) -> Response:
        """GET /{id}: a business account or a template, with the wanted fields."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        ref = request.path_params["ref"]
        wanted = request.query_params.get("fields", "id,name").split(",")
        found = self._template(ref)
        if found is None:
            account = self.state.accounts[ref]
            found = {"id": ref, "name": account.name, "timezone_id": "1"}
            if not self.state.knobs.hide_insights_field:
                found["is_enabled_for_insights"] = account.insights
        return self._reply(ref, {k: v for k, v in found.items() if k in wanted or k == "id"})

    async def templates(self, request: Request) -> Response:
        """GET /{WABA}/message_templates: filtered by part of the name, page by page."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        ref, query = request.path_params["ref"], request.query_params
        wanted = (query.get("fields") or _DEFAULT_FIELDS).split(",")
        rows = [t for t in self.state.accounts[ref].templates if self._named(t["name"], query.get("name", ""))]
        limit = whole_number(query.get("limit"), self.state.knobs.page)
        if limit is None or limit < 1:
            return error(400, 100, "Invalid parameter: limit")
        size = min(limit, self.state.knobs.page)
        start = _offset(query.get("after"))
        if start is None:
            return error(400, 100, "Invalid cursor")
        page = [{k: v for k, v in row.items() if k in wanted or k == "id"} for row in rows[start : start + size]]
        return self._reply(ref, {"data": page, "paging": self._paging(request, start, size, len(rows))})

    def _named(self, name: str, wanted: str) -> bool:
        return name == wanted if self.state.knobs.exact_name_filter else wanted.lower() in name.lower()

    def _paging(self, request: Request, start: int, size: int, total: int) -> Json:
        end = start if self.state.knobs.cursor_circles else min(start + size, total)
        paging: Json = {"cursors": {"before": _cursor(start), "after": _cursor(end)}}
        if start + size < total or self.state.knobs.cursor_circles:
            paging["next"] = str(request.url.include_query_params(after=_cursor(end)))
        return paging

    async def analytics(self, request: Request) -> Response:
        """GET /{WABA}/template_analytics: daily rows of at most ten templates and 90 days."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        ref, query = request.path_params["ref"], request.query_params
        account = self.state.accounts[ref]
        if not account.insights:
            return error(400, 100, "Template insights are not enabled for this WhatsApp Business account")
        try:
            refs = [str(r) for r in json.loads(query.get("template_ids", "[]"))]
            start, end = (datetime.fromtimestamp(int(query[k]), UTC) for k in ("start", "end"))
        except (ValueError, KeyError, TypeError):
            return error(400, 100, "Invalid parameter")
        if not 0 < len(refs) <= 10 or query.get("granularity") != "DAILY":
            return error(400, 100, "Invalid parameter: template_ids or granularity")
        if self.world.now() - start > 91 * DAY:
            return error(400, 100, "Invalid parameter: start is more than 90 days ago")
        first = start.replace(hour=0, minute=0, second=0, microsecond=0)
        points = [
            {"template_id": r, "start": int(day.timestamp()), "end": int((day + DAY).timestamp()), **row}
            for r in refs
            for day, row in account.points.get(r, [])
            if first <= day <= end
        ]
        group = {"granularity": "DAILY", "product_type": "cloud_api", "data_points": points}
        return self._reply(ref, {"data": [group], "paging": {"cursors": {"before": "a", "after": "b"}}})

    async def change(self, request: Request) -> Response:
        """POST /{id}: enable insights for an account, or set a template's opt-out. Journalled: nobody asked for it."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        ref, query = request.path_params["ref"], request.query_params
        row = self._template(ref)
        if row is not None:
            row["cta_url_link_tracking_opted_out"] = flag(query.get("cta_url_link_tracking_opted_out"))
            if query.get("category") != row["category"]:
                row["status"] = "PENDING"
            self.world.journal("meta", ref, "template_changed", status=row["status"])
            return self._reply(ref, {"success": True})
        if not flag(query.get("is_enabled_for_insights")):
            return error(400, 100, "Insights cannot be disabled once they are enabled")
        self.state.accounts[ref].insights = True
        self.world.journal("meta", ref, "insights_enabled")
        return self._reply(ref, {"id": ref})


def _cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(f"c{offset}".encode()).decode()


def _offset(cursor: str | None) -> int | None:
    if not cursor:
        return 0
    try:
        return int(base64.urlsafe_b64decode(cursor.encode()).decode().removeprefix("c"))
    except ValueError:
        return None


def build_app(world: World, state: MetaState) -> Starlette:
    """The Graph API of one token."""
    graph = _Graph(world, state)
    return Starlette(
        routes=[
            Route("/{ref}/message_templates", graph.templates, methods=["GET"], name="templates"),
            Route("/{ref}/template_analytics", graph.analytics, methods=["GET"], name="clicks"),
            Route("/{ref}", graph.account, methods=["GET"], name="panel_setting"),
            Route("/{ref}", graph.change, methods=["POST"], name="setting_change"),
        ]
    )


SHOP, HELP = "https://shop.example/offer?code={{1}}", "https://shop.example/help"


def demo_account(ref: str, name: str, now: datetime, *, insights: bool = True) -> BusinessAccount:
    """An account with a template for each cause of missing clicks, in several languages, and more than one page."""
    shop, help_ = url_button("Shop now", SHOP), url_button("Help", HELP)
    account = BusinessAccount(ref, name, insights)
    rows = [
        template("9001", "spring_offer", "en_US", [shop]),
        template("9002", "spring_offer", "de", [url_button("Zum Angebot", SHOP)]),
        template("9003", "spring_offer_old", "en_US", [help_], status="REJECTED"),
        template("9004", "mixed_offer", "en_US", [shop, help_]),
        template("9005", "static_help", "en_US", [help_]),
        template("9006", "quiet_offer", "en_US", [shop]),
        template("9007", "opted_out", "en_US", [shop], cta_url_link_tracking_opted_out=True),
        template("9008", "login_code", "en_US", [{"type": "OTP", "text": "Copy"}], category="AUTHENTICATION"),
        template("9009", "carousel", "en_US", [], cards=[[shop], [help_]]),
        template("9010", "clicked_offer", "en_US", [shop]),
        template("9011", "waiting", "en_US", [shop], status="PENDING"),
    ]
    rows += [template(f"{9100 + n}", f"newsletter_{n:02d}", "en_US", [shop]) for n in range(40)]
    account.templates = rows
    day = (now - 3 * DAY).replace(hour=0, minute=0, second=0, microsecond=0)
    quiet, busy = counted(1200, 1150, 0, 0), counted(1200, 1150, 84, 71)
    zero = ("9001", "9002", "9004", "9005", "9009")
    account.points = {r: [(day, quiet)] for r in zero} | {"9006": [(day, counted(0, 0, 0, 0))]}
    account.points |= {"9007": [(day, counted(900, 880))], "9010": [(day, busy), (day + DAY, busy)]}
    return account
