"""Prospect2's contacts, tags, lists, automations and bulk imports (REST v3)."""

from __future__ import annotations

import uuid
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from sandbox.pro2_records import Batch
from sandbox.pro2_shapes import (
    Row,
    automation_row,
    contact_row,
    inner,
    invalid,
    json_of,
    link_row,
    list_row,
    not_found,
    number_in,
    paged,
    reply,
    window,
)
from sandbox.pro2_state import Pro2State
from sandbox.spans import size, spans_of, walk


async def contacts(state: Pro2State, _: int, request: Request) -> Response:
    """GET /contacts by email, tagid or listid, paged by offset or by id_greater."""
    query = request.query_params
    email = query.get("email")
    if email is not None:
        found = state.contact_by_email(email)
        rows = [contact_row(state, found)] if found else []
        return reply({"scoreValues": [], "contacts": rows, "meta": {"total": str(len(rows))}})
    if "tagid" in query:
        spans = spans_of(state.tagged.get(number_in(request, "tagid", 0), {}))
    elif "listid" in query:
        made = state.lists.get(number_in(request, "listid", 0))
        spans = made.members if made else []
    elif "segmentid" in query:
        spans = state.segments.get(number_in(request, "segmentid", 0), [])
    else:
        spans = state.all_contacts()
    offset, limit = window(request)
    above = number_in(request, "id_greater", 0)
    descending = query.get("orders[id]", "ASC").upper() == "DESC"
    ids = walk(spans, above=above, offset=offset, limit=limit, descending=descending)
    known = [state.contact(n) for n in ids]
    total = size([(max(low, above + 1), high) for low, high in spans if high > above])
    rows = [contact_row(state, c) for c in known if c is not None]
    return reply({"scoreValues": [], "contacts": rows, "meta": {"total": str(total)}})


async def contact_get(state: Pro2State, _: int, request: Request) -> Response:
    """GET /contacts/{id}."""
    number = request.path_params["id"]
    found = state.contact(int(number)) if number.isdigit() else None
    return reply({"contact": contact_row(state, found)}) if found else not_found("Subscriber", number)


async def contact_tags_of(state: Pro2State, _: int, request: Request) -> Response:
    """GET /contacts/{id}/contactTags: the only way to the association's id."""
    number = request.path_params["id"]
    if not number.isdigit() or state.contact(int(number)) is None:
        return not_found("Subscriber", number)
    rows = [
        link_row(members[int(number)], int(number), tag)
        for tag, members in state.tagged.items()
        if int(number) in members
    ]
    return paged(request, "contactTags", rows)


async def contact_sync(state: Pro2State, user: int, request: Request) -> Response:
    """POST /contact/sync: upsert by e-mail address."""
    body = inner(await json_of(request), "contact")
    email = str(body.get("email", ""))
    if "@" not in email:
        return invalid("Contact email address is not valid.", "field_invalid", "/data/attributes/email")
    made = state.add_contact(email, first=str(body.get("firstName", "")), last=str(body.get("lastName", "")))
    state.journal("contact_synced", contact=made.id, api_user=user)
    return reply({"contact": contact_row(state, made), "fieldValues": []}, 201)


async def contact_tag_add(state: Pro2State, user: int, request: Request) -> Response:
    """POST /contactTags."""
    body = inner(await json_of(request), "contactTag")
    contact, tag = str(body.get("contact", "")), str(body.get("tag", ""))
    if not contact.isdigit() or not tag.isdigit():
        return invalid("The contact and tag were not provided.", "field_missing", "/data/attributes/contact")
    if state.contact(int(contact)) is None:
        return not_found("Subscriber", contact)
    if int(tag) not in state.tags:
        return invalid("The related tag does not exist.", "related_missing", "/data/attributes/tag")
    link = state.add_tag(int(contact), state.tags[int(tag)], by=f"api:{user}")
    return reply({"contactTag": link_row(link, int(contact), int(tag))}, 201)


async def contact_tag_remove(state: Pro2State, user: int, request: Request) -> Response:
    """DELETE /contactTags/{id}, by the association's id."""
    number = request.path_params["id"]
    link = state.links.get(int(number)) if number.isdigit() else None
    if link is None:
        return not_found("SubscriberTag", number)
    state.remove_tag(link[0], state.tags[link[1]], by=f"api:{user}")
    return reply({})


def tag_row(number: int, name: str) -> Row:
    """A tag as v3 shows it."""
    return {"id": str(number), "tag": name, "tagType": "contact", "description": "", "cdate": None}


async def tags(state: Pro2State, _: int, request: Request) -> Response:
    """GET /tags: `search` contains, `filters[search][eq]` is exact."""
    exact = request.query_params.get("filters[search][eq]")
    part = request.query_params.get("search", "").lower()
    rows = [
        tag_row(n, name)
        for n, name in sorted(state.tags.items())
        if (name == exact if exact is not None else part in name.lower())
    ]
    return paged(request, "tags", rows)


async def tag_create(state: Pro2State, user: int, request: Request) -> Response:
    """POST /tags; a second of the same name is refused as a duplicate."""
    body = inner(await json_of(request), "tag")
    name = body.get("tag")
    if not isinstance(name, str) or not name:
        return invalid("The tag was not provided.", "field_missing", "/data/attributes/tag")
    if state.tag_id(name) is not None:
        return invalid("The tag already exists.", "duplicate", "/data/attributes/tag")
    number = state.tag_id(name, create=True)
    assert number is not None
    state.journal("tag_created", tag=name, tag_id=str(number), api_user=user)
    return reply({"tag": tag_row(number, name)}, 201)


# ---- the rest --------------------------------------------------------------------------------------------------------


async def lists(state: Pro2State, _: int, request: Request) -> Response:
    """GET /lists."""
    return paged(request, "lists", [list_row(made) for made in state.lists.values()])


async def automations(state: Pro2State, _: int, request: Request) -> Response:
    """GET /automations."""
    return paged(request, "automations", [automation_row(a) for a in state.automations.values()])


async def contact_automations(state: Pro2State, _: int, request: Request) -> Response:
    """GET /contactAutomations."""
    rows: list[Row] = [
        {"id": f"{a.id}{c}", "contact": str(c), "seriesid": str(a.id), "automation": str(a.id), "status": "1"}
        for a in state.automations.values()
        for c in a.members
    ]
    return paged(request, "contactAutomations", rows)


async def contact_automation_add(state: Pro2State, user: int, request: Request) -> Response:
    """POST /contactAutomations; 403 when the contact is not let in."""
    body = inner(await json_of(request), "contactAutomation")
    contact, automation = str(body.get("contact", "")), str(body.get("automation", ""))
    if not contact.isdigit() or not automation.isdigit():
        return invalid("The contact was not provided.", "field_missing", "/data/attributes/contact")
    if not state.enter_automation(int(automation), [int(contact)], by=f"api:{user}"):
        return reply({"message": "Could not create SubscriberSeries"}, 403)
    return reply(
        {"contactAutomation": {"id": f"{automation}{contact}", "contact": contact, "automation": automation}}, 201
    )


async def bulk_import(state: Pro2State, user: int, request: Request) -> Response:
    """POST /import/bulk_import: at most 250 contacts, worked on later."""
    body = await json_of(request)
    rows = body.get("contacts") if isinstance(body, dict) else None
    if not isinstance(rows, list) or not 0 < len(rows) <= 250:
        problem = {"success": 0, "message": "Please provide 1 to 250 contacts.", "failureReasons": []}
        return reply(problem, 400)
    batch = Batch(
        str(uuid.UUID(int=state.world.random.getrandbits(128), version=4)),
        state.world.now() + timedelta(seconds=state.import_seconds),
        rows,
    )
    state.batches[batch.id] = batch
    state.journal("bulk_import_queued", batch=batch.id, count=len(rows), api_user=user)
    queued = {"Success": 1, "queued_contacts": len(rows), "batchId": batch.id, "message": "Contact import queued"}
    return reply(queued)


async def import_info(state: Pro2State, _: int, request: Request) -> Response:
    """GET /import/info?batchId=."""
    batch = state.batches.get(request.query_params.get("batchId", ""))
    if batch is None:
        return reply({"success": 0, "message": "Batch not found"}, 404)
    return reply(
        {"status": "completed" if batch.done else "active", "success": batch.success, "failure": batch.failure}
    )


async def email_activities(state: Pro2State, _: int, request: Request) -> Response:
    """GET /emailActivities?filters[subscriberid]=: which campaigns reached one contact."""
    wanted = request.query_params.get("filters[subscriberid]", "")
    number = int(wanted) if wanted.isdigit() else -1
    rows: list[Row] = [
        {"id": f"{c.id}{number}", "subscriberid": wanted, "campaignid": str(c.id), "messageid": str(c.message_ids[0])}
        for c in state.campaigns.values()
        if any(low <= number <= high for low, high in c.sent)
    ]
    return paged(request, "emailActivities", rows)


async def segment_get(state: Pro2State, _: int, request: Request) -> Response:
    """GET /segments/{id}."""
    number = request.path_params["id"]
    if not number.isdigit() or int(number) not in state.segments:
        return not_found("Segment", number)
    return reply({"segment": {"id": number, "name": f"Segment {number}", "logic": "and", "hidden": "0"}})
