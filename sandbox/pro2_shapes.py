"""How Prospect2 writes its things down: numbers as strings, times in the account's zone, several error shapes."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.pro2_records import Automation, Campaign, Contact, MailingList, Message
from sandbox.pro2_state import Pro2State

Row = dict[str, Any]
COUNTERS = (
    *("opens", "uniqueopens", "linkclicks", "uniquelinkclicks", "subscriberclicks", "forwards", "hardbounces"),
    *("softbounces", "unsubscribes", "replies", "willrecur", "realcid", "sendid", "threadid", "addressid"),
)


def reply(body: object, status: int = 200) -> Response:
    """A JSON reply."""
    return Response(json.dumps(body, ensure_ascii=False).encode(), status, media_type="application/json")


def not_found(what: str, number: object) -> Response:
    """The vendor's 404."""
    return JSONResponse({"message": f"No Result found for {what} with id {number}"}, 404)


def invalid(title: str, code: str, pointer: str, status: int = 422) -> Response:
    """The vendor's 422: a list of error objects."""
    return reply({"errors": [{"title": title, "detail": "", "code": code, "source": {"pointer": pointer}}]}, status)


def texts(problems: list[str], status: int = 400) -> Response:
    """Some 400s: a list of plain strings."""
    return reply({"errors": problems}, status)


def local_iso(state: Pro2State, at: datetime | None) -> str | None:
    """A v3 time: ISO 8601 with the account's offset."""
    return at.astimezone(state.zone).isoformat(timespec="seconds") if at else None


def local_plain(state: Pro2State, at: datetime | None) -> str | None:
    """A v1 time: the account's wall clock without any zone."""
    return at.astimezone(state.zone).strftime("%Y-%m-%d %H:%M:%S") if at else None


def campaign_row(state: Pro2State, c: Campaign) -> Row:
    """A campaign as v3 shows it: every number a string."""
    here = f"/{state.account}/api/3/campaigns/{c.id}"
    counters = dict.fromkeys(COUNTERS, "0")
    return {
        **counters,
        "id": str(c.id),
        "type": c.type,
        "userid": str(c.user_id),
        "user": str(c.user_id),
        "segmentid": str(c.segment_id),
        "segmentname": "",
        "seriesid": str(c.series_id),
        "automation": str(c.series_id) if c.series_id else None,
        "basemessageid": str(c.message_ids[0]) if c.message_ids else "0",
        "name": c.name,
        "source": c.source,
        "status": str(c.status),
        "public": "1",
        "mail_transfer": "0",
        "mail_send": "0",
        "mail_cleanup": "0",
        "cdate": local_iso(state, c.created_at),
        "mdate": local_iso(state, c.updated_at),
        "sdate": local_iso(state, c.sdate),
        "ldate": local_iso(state, c.ldate),
        "scheduleddate": c.scheduleddate,
        "schedule": "1" if c.sdate else "0",
        "send_amt": str(c.send_amt),
        "total_amt": str(c.total_amt),
        "deletestamp": None,
        "links": {
            "user": f"{here}/user",
            "automation": f"{here}/automation",
            "campaignMessage": f"{here}/campaignMessage",
            "campaignMessages": f"{here}/campaignMessages",
            "links": f"{here}/links",
            "campaignLists": f"{here}/campaignLists",
        },
    }


def campaign_message_rows(state: Pro2State, c: Campaign) -> list[Row]:
    """The join rows between a campaign and its messages."""
    return [
        {
            "id": f"{c.id}{place}",
            "campaignid": str(c.id),
            "messageid": str(number),
            "percentage": "100",
            "sourcesize": str(len(state.messages[number].html)),
            "send_amt": str(c.send_amt),
            "total_amt": str(c.total_amt),
            "subject": state.messages[number].subject,
            "campaign": str(c.id),
            "message": str(number),
        }
        for place, number in enumerate(c.message_ids)
    ]


def campaign_list_rows(c: Campaign) -> list[Row]:
    """The join rows between a campaign and its lists."""
    return [
        {"id": f"{c.id}{place}", "campaignid": str(c.id), "listid": str(n), "list_amt": "0", "list": str(n)}
        for place, n in enumerate(c.list_ids)
    ]


def message_row(m: Message) -> Row:
    """A message as v3 shows it."""
    return {
        "id": str(m.id),
        "subject": m.subject,
        "fromname": m.from_name,
        "fromemail": m.from_email,
        "reply2": m.from_email,
        "html": m.html,
        "text": m.html,
        "preheader_text": "",
    }


def contact_row(state: Pro2State, c: Contact) -> Row:
    """A contact as v3 shows it."""
    return {
        "id": str(c.id),
        "email": c.email,
        "firstName": c.first_name,
        "lastName": c.last_name,
        "phone": "",
        "cdate": local_iso(state, c.created_at),
        "deleted": "0",
    }


def list_row(made: MailingList) -> Row:
    """A list as v3 shows it."""
    return {"id": str(made.id), "name": made.name, "stringid": f"list-{made.id}", "userid": "1"}


def automation_row(a: Automation) -> Row:
    """An automation as v3 shows it; status "1" is active, "2" inactive."""
    return {
        "id": str(a.id),
        "name": a.name,
        "status": "1" if a.active else "2",
        "entered": str(a.entered),
        "exited": "0",
        "hidden": "0",
    }


def link_row(link: int, contact: int, tag: int) -> Row:
    """The association of a contact with a tag."""
    return {"id": str(link), "contact": str(contact), "tag": str(tag), "cdate": None}


def number_in(request: Request, name: str, default: int) -> int:
    """A number from the query; the vendor ignores what it cannot read."""
    value = request.query_params.get(name, "")
    return int(value) if value.isdigit() else default


def window(request: Request) -> tuple[int, int]:
    """offset and limit: 20 unless told, never more than 100."""
    return number_in(request, "offset", 0), min(max(number_in(request, "limit", 20), 1), 100)


def paged(request: Request, key: str, rows: list[Row]) -> Response:
    """One page of rows with the total as a string."""
    offset, limit = window(request)
    return reply({key: rows[offset : offset + limit], "meta": {"total": str(len(rows))}})


async def json_of(request: Request) -> Any:
    """The body as JSON, or None."""
    try:
        return json.loads(await request.body())
    except ValueError:
        return None


def inner(body: Any, key: str) -> dict[str, Any]:
    """The object the vendor wraps everything in; {} when it is not there."""
    value = body.get(key) if isinstance(body, dict) else None
    return value if isinstance(value, dict) else {}
