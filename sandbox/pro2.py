"""The pretend Prospect2 (an ActiveCampaign white label): REST v3, with v1 in `sandbox.pro2_v1`.

Mounted per account: /<account>/api/3/... and /<account>/admin/api.php. The limiter comes before everything else, so a
429 never has an effect. What no document says was chosen here and is marked "chosen": a copy is called "Copy of
<name>", PUT edit answers with the campaign and keeps `scheduledDate` as a note without scheduling anything, a campaign
that is sending cannot be edited, and the limiter is a token bucket.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sandbox import pro2_contacts as contact_side
from sandbox.pro2_records import COMPLETED, SENDING, Campaign
from sandbox.pro2_shapes import (
    Row,
    campaign_list_rows,
    campaign_message_rows,
    campaign_row,
    json_of,
    message_row,
    not_found,
    paged,
    reply,
    texts,
    window,
)
from sandbox.pro2_state import Pro2State
from sandbox.pro2_v1 import answer_v1
from sandbox.world import World

__all__ = ["Pro2State", "build_app"]

Handler = Callable[[Pro2State, int, Request], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Limiter:
    """A token bucket per account on real time; `rate_per_second` 0 switches it off."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}

    def refuse(self, state: Pro2State) -> dict[str, str] | None:
        """Take one token; the headers of a 429 when there is none."""
        if state.rate_per_second <= 0:
            return None
        now = time.monotonic()
        left, since = self._left.get(state.account, (state.rate_burst, now))
        left = min(state.rate_burst, left + (now - since) * state.rate_per_second)
        if left >= 1:
            self._left[state.account] = (left - 1, now)
            return None
        self._left[state.account] = (left, now)
        wait = math.ceil((1 - left) / state.rate_per_second)
        limit = str(int(state.rate_per_second))
        return {"Retry-After": str(wait), "RateLimit-Limit": limit, "RateLimit-Remaining": "0"}


async def users_me(state: Pro2State, user: int, _: Request) -> Response:
    """GET /users/me."""
    name = state.users[user]
    return reply({"user": {"id": str(user), "username": name, "email": f"{name}@{state.account}.example"}})


# ---- campaigns -------------------------------------------------------------------------------------------------------

ORDERS: dict[str, Callable[[Campaign], Any]] = {
    "id": lambda c: c.id,
    "sdate": lambda c: (c.sdate is not None, c.sdate and c.sdate.timestamp(), c.id),
    "ldate": lambda c: (c.ldate is not None, c.ldate and c.ldate.timestamp(), c.id),
    "cdate": lambda c: (c.created_at.timestamp(), c.id),
    "name": lambda c: (c.name, c.id),
}


def ordered(state: Pro2State, request: Request) -> list[Campaign]:
    """The campaigns a list call shows, in the order asked for; unknown orders and filters are ignored, as there."""
    now = state.world.now()
    rows = [c for c in state.campaigns.values() if c.visible_at is None or c.visible_at <= now]
    status = request.query_params.get("filters[status]")
    if status is not None:
        rows = [c for c in rows if str(c.status) == status]
    series = request.query_params.get("filters[seriesid]")
    if series is not None:
        rows = [c for c in rows if str(c.series_id) == series]
    for name, key in ORDERS.items():
        direction = request.query_params.get(f"orders[{name}]")
        if direction:
            return sorted(rows, key=key, reverse=direction.upper() == "DESC")
    return sorted(rows, key=ORDERS["id"])


async def campaigns(state: Pro2State, _: int, request: Request) -> Response:
    """GET /campaigns; the list may move under a reader who pages (`disposable`)."""
    offset, limit = window(request)
    if offset and state.disposable:
        state.campaigns.pop(state.disposable.pop(0), None)
    rows = ordered(state, request)
    page = [campaign_row(state, c) for c in rows[offset : offset + limit]]
    return reply({"campaigns": page, "meta": {"total": str(len(rows))}})


def campaign_of(state: Pro2State, request: Request) -> Campaign | None:
    """The campaign named in the path."""
    number = request.path_params["id"]
    return state.campaigns.get(int(number)) if number.isdigit() else None


def with_campaign(show: Callable[[Pro2State, Campaign], Row]) -> Handler:
    """A GET that shows one thing about a campaign, or the vendor's 404."""

    async def handle(state: Pro2State, _: int, request: Request) -> Response:
        found = campaign_of(state, request)
        return reply(show(state, found)) if found else not_found("Campaign", request.path_params["id"])

    return handle


def parts_of_campaign(key: str, rows: Callable[[Pro2State, Campaign], list[Row]]) -> Handler:
    """A GET of the rows below a campaign, page by page, or the vendor's 404."""

    async def handle(state: Pro2State, _: int, request: Request) -> Response:
        found = campaign_of(state, request)
        return paged(request, key, rows(state, found)) if found else not_found("Campaign", request.path_params["id"])

    return handle


def link_rows(c: Campaign) -> list[Row]:
    """One link per campaign: enough to see the shape."""
    return [{"id": f"{c.id}9", "campaignid": str(c.id), "messageid": str(c.message_ids[0]), "link": "open", "name": ""}]


async def all_campaign_messages(state: Pro2State, _: int, request: Request) -> Response:
    """GET /campaignMessages, the path public clients use."""
    return paged(
        request, "campaignMessages", [r for c in state.campaigns.values() for r in campaign_message_rows(state, c)]
    )


async def all_campaign_lists(state: Pro2State, _: int, request: Request) -> Response:
    """GET /campaignLists, the path public clients use."""
    return paged(request, "campaignLists", [r for c in state.campaigns.values() for r in campaign_list_rows(c)])


async def campaign_copy(state: Pro2State, user: int, request: Request) -> Response:
    """POST /campaigns/{id}/copy: a draft; the refusal is a bare JSON string."""
    found = campaign_of(state, request)
    if found is None:
        return not_found("Campaign", request.path_params["id"])
    if not found.copyable:
        return reply("Bad request. You are not allowed to copy this campaign.", 400)
    made = state.copy(found, user=user)
    return reply({"succeeded": 1, "message": "Campaign draft copied.", "newCampaignId": made.id})


async def campaign_edit(state: Pro2State, user: int, request: Request) -> Response:
    """PUT /campaigns/{id}/edit: name, listIds, segmentId, scheduledDate (kept, schedules nothing)."""
    found = campaign_of(state, request)
    if found is None:
        return not_found("Campaign", request.path_params["id"])
    body = await json_of(request)
    if not isinstance(body, dict):
        return texts(["Invalid JSON body"])
    name = body.get("name", found.name)
    if not isinstance(name, str) or not name.strip() or len(name) > 255:
        return texts(["Field name must be a string of 1 to 255 characters"])
    if found.status == SENDING or (found.status == COMPLETED and set(body) - {"name"}):
        return texts(["Campaign cannot be edited in its current status"])
    changed = {k: body[k] for k in ("name", "listIds", "segmentId", "scheduledDate") if k in body}
    found.name = name
    found.list_ids = [int(n) for n in body.get("listIds", found.list_ids)]
    found.segment_id = int(body.get("segmentId", found.segment_id))
    found.scheduleddate = body.get("scheduledDate", found.scheduleddate)
    found.updated_at = state.world.now()
    state.journal("edit", campaign=str(found.id), changed=changed, api_user=user)
    return reply({"campaign": campaign_row(state, found)})


async def campaign_delete(state: Pro2State, user: int, request: Request) -> Response:
    """DELETE /campaigns/{id}: failure is 200 with succeeded 0."""
    found = campaign_of(state, request)
    if found is None:
        return not_found("Campaign", request.path_params["id"])
    if not found.deletable or found.status == SENDING:
        return reply({"succeeded": 0, "message": "Campaign could not be deleted."})
    del state.campaigns[found.id]
    state.journal("delete", campaign=str(found.id), api_user=user)
    return reply({"succeeded": 1, "message": "Campaign deleted."})


async def message_get(state: Pro2State, _: int, request: Request) -> Response:
    """GET /messages/{id}."""
    number = request.path_params["id"]
    found = state.messages.get(int(number)) if number.isdigit() else None
    return reply({"message": message_row(found)}) if found else not_found("Message", number)


V3: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", "/users/me", "users_me", users_me),
    ("GET", "/campaigns", "campaigns", campaigns),
    ("GET", "/campaigns/{id}", "campaign", with_campaign(lambda s, c: {"campaign": campaign_row(s, c)})),
    ("GET", "/campaigns/{id}/links", "campaign_links", with_campaign(lambda _, c: {"links": link_rows(c)})),
    (
        "GET",
        "/campaigns/{id}/campaignMessages",
        "campaign_messages",
        parts_of_campaign("campaignMessages", campaign_message_rows),
    ),
    (
        "GET",
        "/campaigns/{id}/campaignLists",
        "campaign_lists",
        parts_of_campaign("campaignLists", lambda _, c: campaign_list_rows(c)),
    ),
    ("GET", "/campaignMessages", "all_campaign_messages", all_campaign_messages),
    ("GET", "/campaignLists", "all_campaign_lists", all_campaign_lists),
    ("POST", "/campaigns/{id}/copy", "copy", campaign_copy),
    ("PUT", "/campaigns/{id}/edit", "edit", campaign_edit),
    ("DELETE", "/campaigns/{id}", "delete", campaign_delete),
    ("GET", "/messages/{id}", "message", message_get),
    ("GET", "/contacts", "contacts", contact_side.contacts),
    ("GET", "/contacts/{id}", "contact", contact_side.contact_get),
    ("GET", "/contacts/{id}/contactTags", "contact_tags", contact_side.contact_tags_of),
    ("POST", "/contact/sync", "contact_sync", contact_side.contact_sync),
    ("POST", "/contactTags", "tag_add", contact_side.contact_tag_add),
    ("DELETE", "/contactTags/{id}", "tag_remove", contact_side.contact_tag_remove),
    ("GET", "/tags", "tags", contact_side.tags),
    ("POST", "/tags", "tag_create", contact_side.tag_create),
    ("GET", "/lists", "lists", contact_side.lists),
    ("GET", "/automations", "automations", contact_side.automations),
    ("GET", "/contactAutomations", "contact_automations", contact_side.contact_automations),
    ("POST", "/contactAutomations", "contact_automation_add", contact_side.contact_automation_add),
    ("POST", "/import/bulk_import", "bulk_import", contact_side.bulk_import),
    ("GET", "/import/info", "import_info", contact_side.import_info),
    ("GET", "/emailActivities", "email_activities", contact_side.email_activities),
    ("GET", "/segments/{id}", "segment", contact_side.segment_get),
)


def build_app(world: World, states: dict[str, Pro2State]) -> Starlette:
    """The whole platform: every account under its own first path segment."""
    limiter = Limiter()

    def endpoint(handle: Handler) -> Endpoint:
        async def serve(request: Request) -> Response:
            state = states.get(request.path_params["account"])
            if state is None:
                return PlainTextResponse("No such account", 404)
            refusal = limiter.refuse(state)
            if refusal is not None:
                return JSONResponse({"message": "Too Many Requests"}, 429, refusal)
            user = state.tokens.get(request.headers.get("api-token", ""))
            if user is None:
                return PlainTextResponse('{"message":"Invalid or missing Api-Token"}', 403)
            return await handle(state, user, request)

        return serve

    async def legacy(request: Request) -> Response:
        state = states.get(request.path_params["account"])
        if state is None:
            return PlainTextResponse("No such account", 404)
        refusal = limiter.refuse(state)
        if refusal is not None:
            return JSONResponse({"message": "Too Many Requests"}, 429, refusal)
        return await answer_v1(state, request)

    routes = [Route(f"/{{account}}/api/3{path}", endpoint(h), methods=[m], name=name) for m, path, name, h in V3]
    routes.append(Route("/{account}/admin/api.php", legacy, methods=["GET", "POST"], name="v1"))
    app = Starlette(routes=routes)
    app.state.world = world
    return app
