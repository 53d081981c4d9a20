"""How Jira words times, people, statuses and issues, and how it reads a request."""

from __future__ import annotations

from datetime import datetime

from starlette.requests import Request

from sandbox.jira_issues import BROWSER, PRIORITIES, STATUSES, Issue, JiraState
from sandbox.wire import Json, RefusedError, body_object

BAD_PAYLOAD = "Invalid request payload. Refer to the REST API documentation and try again."


def time_text(at: datetime) -> str:
    """A time as Jira writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}+0000"


async def read_body(request: Request) -> Json:
    """The request's JSON object. Raises RefusedError 400."""
    body = await body_object(request)
    if body is None:
        raise RefusedError(400, BAD_PAYLOAD)
    return body


def user_json(state: JiraState) -> Json:
    """The one user of the site."""
    return {
        "self": f"{BROWSER}/rest/api/3/user?accountId=acc-1",
        "accountId": "acc-1",
        "accountType": "atlassian",
        "emailAddress": state.email,
        "displayName": "allclear",
        "active": True,
        "timeZone": "Etc/UTC",
    }


def status_json(name: str) -> Json:
    """A workflow status."""
    status_id, category = STATUSES[name]
    return {
        "self": f"{BROWSER}/rest/api/3/status/{status_id}",
        "id": status_id,
        "name": name,
        "description": "",
        "statusCategory": {"id": int(status_id), "key": category, "name": name, "colorName": "blue-gray"},
    }


def issue_json(state: JiraState, issue: Issue, fields: list[str], properties: list[str]) -> Json:
    """An issue with the fields and properties asked for; "*all" stands for every one."""
    every: Json = {
        "description": None,
        "labels": [],
        "priority": {"id": "3", "name": PRIORITIES[2]},
        **issue.fields,
        "status": status_json(issue.status),
        "created": time_text(issue.created_at),
        "updated": time_text(issue.updated_at),
        "creator": user_json(state),
        "reporter": user_json(state),
        "issuelinks": issue.issue_links,
        "comment": {"comments": issue.comments, "maxResults": 100, "total": len(issue.comments), "startAt": 0},
    }
    whole = {"*all", "*navigable"} & set(fields)
    shown: Json = {
        "expand": "renderedFields,names,schema",
        "id": issue.issue_id,
        "self": f"{BROWSER}/rest/api/3/issue/{issue.issue_id}",
        "key": issue.key,
        "fields": every if whole else {name: every[name] for name in fields if name in every},
    }
    if properties:
        wanted = issue.properties if "*all" in properties else properties
        shown["properties"] = {key: issue.properties[key] for key in wanted if key in issue.properties}
    return shown


def split(text: str | None) -> list[str]:
    """The parts of a comma-separated query parameter."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]
