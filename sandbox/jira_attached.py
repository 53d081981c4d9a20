"""What hangs on a Jira issue: comments with their properties, remote links by globalId, links between issues."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sandbox.jira_adf import is_document, is_sound, text_of
from sandbox.jira_issues import BROWSER, Issue, JiraState, checked_properties
from sandbox.jira_shapes import read_body, time_text, user_json
from sandbox.wire import Json, RefusedError, whole_number
from sandbox.world import World


async def add_comment(world: World, state: JiraState, request: Request) -> Response:
    """Add a comment. Listing comments does not show their properties; the property's own path does."""
    issue = state.find(request.path_params["key"])
    body = await read_body(request)
    if not is_document(body.get("body")) or not is_sound(body["body"]):
        raise RefusedError(400, "", errors={"comment": "Comment body is not valid!"})
    properties = checked_properties(body.get("properties", []))
    state.count_write(world, issue)
    ref, at = state.next_id(), time_text(world.now())
    made = {
        "self": f"{BROWSER}/rest/api/3/issue/{issue.issue_id}/comment/{ref}",
        "id": ref,
        "author": user_json(state),
        "body": body["body"],
        "created": at,
        "updated": at,
        "jsdPublic": True,
    }
    issue.comments.append(made)
    state.comment_properties[ref] = properties
    world.journal("jira", "", "comment", key=issue.key, id=ref, property=properties, text=text_of(body["body"]))
    return JSONResponse(made, 201)


async def list_comments(world: World, state: JiraState, request: Request) -> Response:
    """The comments, page by page."""
    del world
    issue = state.find(request.path_params["key"])
    start = whole_number(request.query_params.get("startAt"), 0) or 0
    size = min(whole_number(request.query_params.get("maxResults"), 100) or 100, 5000)
    rows = issue.comments[start : start + size]
    return JSONResponse({"startAt": start, "maxResults": size, "total": len(issue.comments), "comments": rows})


async def comment_property(world: World, state: JiraState, request: Request) -> Response:
    """One property of a comment."""
    del world
    properties = state.comment_properties.get(request.path_params["comment_id"], {})
    name = request.path_params["property"]
    if name not in properties:
        raise RefusedError(404, f"The property with key '{name}' does not exist.")
    return JSONResponse({"key": name, "value": properties[name]})


def _checked_link(body: Json) -> Json:
    target = body.get("object")
    errors = {}
    if not isinstance(target, dict):
        raise RefusedError(400, "", errors={"object": "'object' is required."})
    for name in ("title", "url"):
        if not isinstance(target.get(name), str) or not target[name]:
            errors[name] = f"'{name}' is required."
    global_id = body.get("globalId")
    if global_id is not None and (not isinstance(global_id, str) or not 1 <= len(global_id) <= 255):
        errors["globalId"] = "'globalId' must have 1 to 255 characters."
    if errors:
        raise RefusedError(400, "", errors=errors)
    return {name: body[name] for name in ("globalId", "application", "relationship", "object") if name in body}


async def set_link(world: World, state: JiraState, request: Request) -> Response:
    """Create or replace a remote link: 201, or 200 when the globalId was there."""
    issue = state.find(request.path_params["key"])
    link = _checked_link(await read_body(request))
    state.count_write(world, issue)
    global_id = link.get("globalId")
    old = next((one for one in issue.links if global_id is not None and one.get("globalId") == global_id), None)
    ref = old["id"] if old is not None else int(state.next_id())
    where = f"{BROWSER}/rest/api/3/issue/{issue.key}/remotelink/{ref}"
    made = {"id": ref, "self": where, **link}  # what is not sent is gone: an update replaces the whole link
    if old is not None:
        issue.links[issue.links.index(old)] = made
    else:
        issue.links.append(made)
    title, created = link["object"]["title"], old is None
    world.journal("jira", "", "remotelink", key=issue.key, global_id=global_id, title=title, created=created)
    return JSONResponse({"id": ref, "self": where}, 201 if created else 200)


def _linked(issue: Issue, global_id: str) -> Json:
    for one in issue.links:
        if one.get("globalId") == global_id:
            return one
    raise RefusedError(404, "The remote issue link does not exist.")


async def list_links(world: World, state: JiraState, request: Request) -> Response:
    """The remote links, or the one of a globalId."""
    del world
    issue = state.find(request.path_params["key"])
    global_id = request.query_params.get("globalId")
    return JSONResponse(_linked(issue, global_id) if global_id else issue.links)


async def remove_link(world: World, state: JiraState, request: Request) -> Response:
    """Remove the remote link of a globalId."""
    issue = state.find(request.path_params["key"])
    global_id = request.query_params.get("globalId", "")
    issue.links.remove(_linked(issue, global_id))
    world.journal("jira", "", "remotelink_removed", key=issue.key, global_id=global_id)
    return Response(status_code=204)


async def link_issues(world: World, state: JiraState, request: Request) -> Response:
    """Link two issues; a link that exists answers as created, a comment is added every time."""
    body = await read_body(request)
    ends = [body.get(side) for side in ("inwardIssue", "outwardIssue")]
    kind = body.get("type")
    if not isinstance(kind, dict) or not all(isinstance(end, dict) for end in ends):
        raise RefusedError(400, "type, inwardIssue and outwardIssue are required.")
    inward, outward = (state.find(str(end.get("key") or end.get("id"))) for end in ends if end)
    link = {"type": kind, "inwardIssue": {"key": inward.key}, "outwardIssue": {"key": outward.key}}
    if link not in outward.issue_links:
        outward.issue_links.append(link)
    world.journal("jira", "", "issuelink", inward=inward.key, outward=outward.key, commented="comment" in body)
    return Response(status_code=201)
