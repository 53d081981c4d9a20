"""Remotes played by functions that answer every call well, and one entry per write of each desk client.

Shared by the tests of faults and of the vendors' specifications; a remote here keeps no state.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import httpx

from integrations.clickup import ClickUp
from integrations.pagerduty import PagerDuty
from integrations.pendo import Pendo
from integrations.replies import CapabilityManifest
from integrations.statuspage import Statuspage
from integrations.zendesk import Zendesk
from recovery.desk.ports import Attachment, BoardTaskDraft, CustomerTicketDraft, PageDraft, StatusDraft
from recovery.model import OpenAttempt, WriteResult

Remote: TypeAlias = Callable[[httpx.Request], httpx.Response]

MARKER = "[RK-ABCDEFGHIJKLMNOP]"
KEY = "ABCDEFGHIJKLMNOP"
AT = "2026-03-01T12:00:00Z"
MILLISECONDS = "1772366400000"
FIELD = "0a52c486-5f05-403b-b4fd-c512ff05131c"
ROUTING_KEY = "canaryroutingkey0123456789abcdef"
TOKENS = {name: f"canary-token-of-{name}" for name in ("zendesk", "pagerduty", "clickup", "pendo", "statuspage")}


def reply(status: int, body: object) -> httpx.Response:
    return httpx.Response(status, json=body)


def sent(request: httpx.Request) -> dict[str, Any]:
    value = json.loads(request.content)
    assert isinstance(value, dict)
    return value


# ---- remotes -------------------------------------------------------------------------------------------------------

TICKET = {
    "id": 7,
    "external_id": MARKER,
    "subject": "Mail did not go out",
    "status": "open",
    "priority": "urgent",
    "created_at": AT,
    "updated_at": AT,
    "requester_id": 11,
    "tags": ["outage"],
}
PEOPLE = [
    {"id": 11, "email": "Ann@Example.org", "role": "end-user"},
    {"id": 12, "email": "bob@vendor.example", "role": "agent"},
]


def zendesk_remote(request: httpx.Request) -> httpx.Response:
    path, end = request.url.path, {"has_more": False}
    match request.method, path:
        case "POST", "/api/v2/tickets":
            return reply(201, {"ticket": TICKET})
        case "POST", "/api/v2/uploads":
            return reply(201, {"upload": {"token": "t1"}})
        case "PUT", "/api/v2/tickets/update_many":
            return reply(200, {"job_status": {"id": "job1", "status": "queued"}})
        case "PUT", "/api/v2/tickets/7":
            return reply(200, {"ticket": TICKET, "audit": {"id": 99}})
        case "GET", "/api/v2/tickets/7":
            return reply(200, {"ticket": TICKET, "users": PEOPLE})
        case "GET", "/api/v2/tickets/7/audits":
            return reply(200, {"audits": [{"id": 90, "metadata": {"custom": {}, "system": {}}}], "meta": end})
        case "GET", "/api/v2/tickets":
            return reply(200, {"tickets": [TICKET], "users": PEOPLE, "meta": end})
        case "GET", "/api/v2/users/me":
            return reply(200, {"user": {"id": 12, "email": "bob@vendor.example"}})
    return reply(404, {"error": "RecordNotFound"})


INCIDENT = {
    "id": "PT4KHLK",
    "type": "incident",
    "status": "triggered",
    "incident_key": KEY,
    "html_url": "https://x.pagerduty.com/incidents/PT4KHLK",
    "created_at": AT,
    "acknowledgements": [],
}


def pagerduty_remote(request: httpx.Request) -> httpx.Response:
    match request.method, request.url.path:
        case "POST", "/v2/enqueue":
            body = {"status": "success", "message": "Event processed", "dedup_key": sent(request)["dedup_key"]}
            return reply(202, body)
        case "GET", "/incidents":
            return reply(200, {"incidents": [], "limit": 100, "offset": 0, "more": False, "total": None})
    return reply(404, {"error": {"message": "Not Found", "code": 2100}})


def board_task(marker: str = MARKER, ref: str = "9hx", closed: bool = False) -> dict[str, Any]:
    return {
        "id": ref,
        "name": "Mail did not go out",
        "description": "text",
        "status": {"status": "complete" if closed else "open", "type": "closed" if closed else "open"},
        "date_updated": MILLISECONDS,
        "date_closed": MILLISECONDS if closed else None,
        "url": f"https://app.clickup.com/t/{ref}",
        "custom_fields": [{"id": "another", "value": 3}, {"id": FIELD, "name": "Effect key", "value": marker}],
    }


def clickup_remote(request: httpx.Request) -> httpx.Response:
    path = request.url.path.removeprefix("/api/v2")
    match request.method, path:
        case "GET", "/list/123/task":
            return reply(200, {"tasks": [board_task()], "last_page": True})
        case ("POST", "/list/123/task") | ("PUT", "/task/9hx") | ("GET", "/task/9hx"):
            return reply(200, board_task())
        case "GET", "/user":
            return reply(200, {"user": {"id": 183, "username": "Recovery"}})
    return reply(404, {"err": "Task not found", "ECODE": "ITEM_013"})


GUIDE = {
    "id": "g1",
    "name": "Under investigation",
    "state": "public",
    "segmentId": "s1",
    "lastUpdatedAt": 1772366400000,
}


def pendo_remote(request: httpx.Request) -> httpx.Response:
    match request.method, request.url.path:
        case "GET", "/api/v1/guide":
            return reply(200, [GUIDE])
        case "PUT", ("/api/v1/guide/g1/state" | "/api/v1/guide/g1/segment"):
            return reply(200, GUIDE)
        case "GET", "/api/v1/token/verify":
            return reply(200, {"writeAccess": True})
    return reply(404, {"message": "guide not found"})


STATUS_INCIDENT = {
    "id": "p31zjtct2jer",
    "name": "Service Status Update",
    "status": "investigating",
    "shortlink": "https://stspg.io/abc",
    "metadata": {"allclear": {"key": MARKER}},
    "incident_updates": [{"status": "investigating", "body": "We are looking.", "created_at": AT}],
}


def statuspage_remote(request: httpx.Request) -> httpx.Response:
    match request.method, request.url.path.removeprefix("/v1/pages/pg1"):
        case "POST", "/incidents":
            return reply(201, STATUS_INCIDENT)
        case (("PATCH" | "GET"), "/incidents/p31zjtct2jer"):
            return reply(200, STATUS_INCIDENT)
        case "GET", ("/incidents/unresolved" | "/incidents"):
            return reply(200, [STATUS_INCIDENT])
        case "GET", "/components":
            return reply(200, [])
    return reply(404, {"message": "not found"})


# ---- clients -------------------------------------------------------------------------------------------------------


def zendesk_client(bench: Any, remote: Remote, **proven: bool) -> tuple[Zendesk, Any]:
    headers = {"Authorization": f"Bearer {TOKENS['zendesk']}"}
    limited = proven.get("limits_before_executing", False)
    one = bench(
        remote, system="zendesk", base_url="https://x.zendesk.com", headers=headers, limited_before_execute=limited
    )
    return Zendesk(one.transport, site="https://x.zendesk.com"), one


def pagerduty_client(bench: Any, remote: Remote, **proven: bool) -> tuple[PagerDuty, Any]:
    limited = proven.get("limits_before_executing", False)
    one = bench(
        remote,
        system="pagerduty",
        base_url="https://api.pagerduty.com",
        headers=PagerDuty.credentials(TOKENS["pagerduty"]),
        secrets=(TOKENS["pagerduty"],),
        limited_before_execute=limited,
        read_retries=0,
    )
    events = bench(
        remote,
        system="pagerduty",
        base_url="https://events.pagerduty.com",
        headers={},
        secrets=(ROUTING_KEY,),
        limited_before_execute=limited,
    )
    client = PagerDuty(
        events=events.transport,
        rest=one.transport,
        routing_key=ROUTING_KEY,
        service="PWIXJZS",
    )
    return client, one


def clickup_client(bench: Any, remote: Remote, **proven: bool) -> tuple[ClickUp, Any]:
    one = bench(
        remote,
        system="clickup",
        base_url="https://api.clickup.com/api/v2",
        headers=ClickUp.credentials(TOKENS["clickup"]),
        limited_before_execute=proven.get("limits_before_executing", False),
    )
    return ClickUp(one.transport, key_field=FIELD), one


def pendo_client(bench: Any, remote: Remote, **proven: bool) -> tuple[Pendo, Any]:
    one = bench(
        remote,
        system="pendo",
        base_url="https://app.pendo.io",
        headers=Pendo.credentials(TOKENS["pendo"]),
        limited_before_execute=proven.get("limits_before_executing", False),
    )
    return Pendo(one.transport), one


def statuspage_client(bench: Any, remote: Remote, **proven: bool) -> tuple[Statuspage, Any]:
    limited = proven.get("limits_before_executing", False)
    one = bench(
        remote,
        system="statuspage",
        base_url="https://api.statuspage.io/v1",
        headers=Statuspage.credentials(TOKENS["statuspage"]),
        limited_before_execute=limited,
    )
    manifest = CapabilityManifest("statuspage", limits_before_executing=limited)
    return Statuspage(one.transport, page="pg1", proven=manifest), one


# ---- writes --------------------------------------------------------------------------------------------------------


FILE = Attachment("card.html", "text/html", b"<p>card</p>")


def ticket_draft(text: str = "Your mail is late.") -> CustomerTicketDraft:
    return CustomerTicketDraft(MARKER, text[:200], text, "Ann", "ann@example.org", "urgent", ("outage",))


def page_draft(text: str = "Campaigns are not going out") -> PageDraft:
    return PageDraft(KEY, text, "allclear", "critical", {"account": text}, (("https://x.example/i/1", text),))


def task_draft(text: str = "Mail did not go out") -> BoardTaskDraft:
    return BoardTaskDraft("123", MARKER, text, text, 2, "open", datetime(2026, 3, 2, tzinfo=UTC), ("outage",))


def status_draft(text: str = "We are looking.") -> StatusDraft:
    return StatusDraft(MARKER, "Service Status Update", "investigating", text, ("c1",), notify=False)


@dataclass(frozen=True)
class Write:
    client: Callable[..., tuple[Any, Any]]
    remote: Remote
    call: Callable[[Any, OpenAttempt, str], Awaitable[WriteResult]]
    ref: str
    method: str = "POST"
    id_optional: bool = False


WRITES: dict[str, Write] = {
    "zendesk.create": Write(zendesk_client, zendesk_remote, lambda c, a, text: c.create(ticket_draft(text), a), "7"),
    "zendesk.comment": Write(
        zendesk_client,
        zendesk_remote,
        lambda c, a, text: c.comment("7", text, public=True, marker=MARKER, attempt=a),
        "7",
        "PUT",
    ),
    "zendesk.update_many": Write(
        zendesk_client,
        zendesk_remote,
        lambda c, a, text: c.update_many(
            ["7", "8"], text, public=False, marker=MARKER, attempt=a, priority="urgent", add_tags=["outage"]
        ),
        "job1",
        "PUT",
    ),
    "zendesk.comment (with a file)": Write(
        zendesk_client,
        zendesk_remote,
        lambda c, a, text: c.comment("7", text, public=True, marker=MARKER, attempt=a, files=[FILE]),
        "7",
        "PUT",
    ),
    "pagerduty.trigger": Write(
        pagerduty_client, pagerduty_remote, lambda c, a, text: c.trigger(page_draft(text), a), KEY
    ),
    "pagerduty.acknowledge": Write(pagerduty_client, pagerduty_remote, lambda c, a, _: c.acknowledge(KEY, a), KEY),
    "pagerduty.resolve": Write(pagerduty_client, pagerduty_remote, lambda c, a, _: c.resolve(KEY, a), KEY),
    "clickup.create": Write(clickup_client, clickup_remote, lambda c, a, text: c.create(task_draft(text), a), "9hx"),
    "clickup.update": Write(
        clickup_client, clickup_remote, lambda c, a, text: c.update("9hx", task_draft(text), a), "9hx", "PUT"
    ),
    "pendo.set_guide_state": Write(
        pendo_client,
        pendo_remote,
        lambda c, a, _: c.set_guide_state("g1", "public", a),
        "g1",
        "PUT",
        id_optional=True,
    ),
    "pendo.set_segment": Write(
        pendo_client, pendo_remote, lambda c, a, _: c.set_segment("g1", "s1", a), "g1", "PUT", id_optional=True
    ),
    "statuspage.create": Write(
        statuspage_client,
        statuspage_remote,
        lambda c, a, text: c.create(status_draft(text[:20_000]), a),
        "p31zjtct2jer",
    ),
    "statuspage.update": Write(
        statuspage_client,
        statuspage_remote,
        lambda c, a, text: c.update("p31zjtct2jer", status_draft(text[:20_000]), a),
        "p31zjtct2jer",
        "PATCH",
    ),
}
