"""Prospect2's older API, /admin/api.php: status changes by GET, HTTP 200 whatever happens, result_code 1 or 0.

Here alone can a campaign be sent, paused or stopped. Times are the account's wall clock without a zone; in the hour
that comes twice when clocks go back, the platform takes the first one (chosen: no document says).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from sandbox.pro2_records import API, PAUSED, SCHEDULED, STOPPED, Campaign
from sandbox.pro2_shapes import Row, local_iso, local_plain, reply
from sandbox.pro2_state import Pro2State

Params = dict[str, str]
Action = Callable[[Pro2State, int, Params], Row]


def good(message: str, **fields: object) -> Row:
    """A success in v1's words."""
    return {**fields, "result_code": 1, "result_message": message, "result_output": "json"}


def bad(message: str) -> Row:
    """A refusal in v1's words: HTTP 200 all the same."""
    return {"result_code": 0, "result_message": message, "result_output": "json"}


def found(state: Pro2State, params: Params, key: str) -> Campaign | None:
    """The campaign a v1 call names."""
    number = params.get(key, "")
    return state.campaigns.get(int(number)) if number.isdigit() else None


def campaign_status(state: Pro2State, user: int, params: Params) -> Row:
    """Status 1 schedules (sdate in the account's wall clock, now when omitted), 3 pauses, 4 stops."""
    campaign = found(state, params, "id")
    if campaign is None:
        return bad("Campaign not found.")
    wanted = params.get("status", "")
    if wanted == str(SCHEDULED):
        at = moment(state, params.get("sdate", ""))
        if at is None:
            return bad("Invalid sdate.")
        if campaign.type != "single" and params.get("sdate"):
            return bad("sdate is only for campaigns of type single.")
        problem = state.schedule(campaign, at, user=user)
    elif wanted in (str(PAUSED), str(STOPPED)):
        problem = state.halt(campaign, int(wanted), user=user)
    else:
        return bad("Invalid status.")
    return bad(problem) if problem else good("Campaign status updated")


def moment(state: Pro2State, text: str) -> datetime | None:
    """The instant an account's wall clock text means; now when empty, None when it is not a time."""
    if not text:
        return state.world.now()
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=state.zone).astimezone(UTC)
    except ValueError:
        return None


def campaign_report_totals(state: Pro2State, _: int, params: Params) -> Row:
    """The report: a second witness of what was sent. The `report` knob makes it empty, or a number of its own."""
    campaign = found(state, params, "campaignid")
    if campaign is None:
        return bad("Campaign not found.")
    sent, total = str(campaign.send_amt), str(campaign.total_amt)
    if campaign.report != "live":
        sent = total = "0" if campaign.report == "empty" else campaign.report
    ldate = campaign.ldate if sent != "0" else None
    zeros = ("uniqueopens", "uniquelinkclicks", "uniquereplies", "subscriberclicks", "unsubscribes", "uniqueforwards")
    return good(
        "Success: Something is returned",
        **dict.fromkeys((*zeros, "forwards", "updates", "totalbounces", "socialshares"), "0"),
        type=campaign.type,
        status=str(campaign.status),
        send_amt=sent,
        total_amt=total,
        messageid=str(campaign.message_ids[0]) if campaign.message_ids else "0",
        ldate=local_plain(state, ldate),
        ldate_iso=local_iso(state, ldate),
    )


def campaign_list(state: Pro2State, _: int, params: Params) -> Row:
    """Ten campaigns a page, as numeric keys beside result_code."""
    wanted = params.get("ids", "all")
    rows = sorted(
        state.campaigns.values(), key=lambda c: c.id, reverse=params.get("sort_direction", "").upper() == "DESC"
    )
    if wanted != "all":
        ids = {part.strip() for part in wanted.split(",")}
        rows = [c for c in rows if str(c.id) in ids]
    page = max(int(params["page"]) if params.get("page", "").isdigit() else 1, 1)
    rows = rows[(page - 1) * 10 : page * 10]
    if not rows:
        return bad("Failed: Nothing is returned")
    return good("Success: Something is returned", **{str(n): legacy_row(state, c) for n, c in enumerate(rows)})


def legacy_row(state: Pro2State, c: Campaign) -> Row:
    """A campaign as v1 lists it."""
    return {
        "id": str(c.id),
        "type": c.type,
        "name": c.name,
        "status": str(c.status),
        "cdate": local_plain(state, c.created_at),
        "sdate": local_plain(state, c.sdate),
        "ldate": local_plain(state, c.ldate),
        "send_amt": str(c.send_amt),
        "total_amt": str(c.total_amt),
        "source": c.source,
        "segmentid": str(c.segment_id),
        "messageslist": ",".join(str(n) for n in c.message_ids),
        "lists": [{"id": str(n)} for n in c.list_ids],
    }


def campaign_send(state: Pro2State, user: int, params: Params) -> Row:
    """One message to one address: a test, never the campaign."""
    campaign = found(state, params, "campaignid")
    if campaign is None or "@" not in params.get("email", ""):
        return bad("Campaign or email not found.")
    state.journal("test_send", campaign=str(campaign.id), api_user=user, by=API)
    return good("Email sent")


def campaign_delete(state: Pro2State, user: int, params: Params) -> Row:
    """Delete by v1."""
    campaign = found(state, params, "id")
    if campaign is None or not campaign.deletable:
        return bad("Campaign could not be deleted.")
    del state.campaigns[campaign.id]
    state.journal("delete", campaign=str(campaign.id), api_user=user)
    return good("Campaign deleted")


ACTIONS: dict[str, Action] = {
    "campaign_status": campaign_status,
    "campaign_report_totals": campaign_report_totals,
    "campaign_list": campaign_list,
    "campaign_send": campaign_send,
    "campaign_delete": campaign_delete,
}


async def params_of(request: Request) -> Params:
    """Query and form fields together; a JSON body is not accepted."""
    params = dict(request.query_params)
    if request.method == "POST":
        params.update(parse_qsl((await request.body()).decode("utf-8", "replace")))
    return params


async def answer_v1(state: Pro2State, request: Request) -> Response:
    """Answer one v1 call; a key in the URL works, and is journalled so that a test can see it never happens."""
    params = await params_of(request)
    if "api_key" in request.query_params:
        state.journal("key_in_url", action=params.get("api_action", ""))
    key = request.headers.get("api-token") or params.get("api_key", "")
    user = state.tokens.get(key)
    if user is None:
        return reply(bad("You are not authorized to access this file"))
    action = ACTIONS.get(params.get("api_action", ""))
    if action is None:
        return reply(bad("Invalid api_action"))
    return reply(action(state, user, params))
