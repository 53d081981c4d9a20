"""Issues of a pretend Jira site: their fields and what Jira refuses in them, comments, links, index lag, write limits.

Facts: reference/vendors.md §1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sandbox.jira_adf import is_document, is_sound, text_of
from sandbox.wire import Json, RefusedError
from sandbox.world import World

PRIORITIES = ("Highest", "High", "Medium", "Low", "Lowest")
STATUSES = {"To Do": ("1", "new"), "In Progress": ("3", "indeterminate"), "Done": ("4", "done")}
TRANSITIONS = {"11": "To Do", "21": "In Progress", "31": "Done"}
BROWSER = "https://twin.atlassian.example"
_NOT_A_DOCUMENT = "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
_CANNOT_SET = "Field '{}' cannot be set. It is not on the appropriate screen, or unknown."
_PLAIN_FIELDS = frozenset(
    {"project", "issuetype", "summary", "description", "environment", "labels", "priority", "parent", "duedate"}
    | {"assignee", "reporter", "components"}
)
_DOCUMENT_FIELDS = frozenset({"description", "environment"})


@dataclass
class JiraKnobs:
    """Behaviour a test may set. Times in seconds of the estate's clock.

    `write_limits` are (writes, seconds) per issue; the vendor's are 20 in 2 s and 100 in 30 s. `scoped` is a token that
    works only through the gateway /ex/jira/{cloud_id}.
    """

    search_lag_seconds: float = 1.0
    write_limits: tuple[tuple[int, float], ...] = ((20, 2.0), (100, 30.0))
    scoped: bool = False


@dataclass
class CustomField:
    """A custom field of the project; `kind` is "string" for one line or "doc" for an Atlassian Document."""

    field_id: str
    name: str
    kind: str = "string"
    required: bool = False


@dataclass
class Issue:
    """One issue. `indexed` is what search still believes, until `index_due` has passed."""

    issue_id: str
    key: str
    fields: Json
    created_at: datetime
    updated_at: datetime
    status: str = "To Do"
    properties: Json = field(default_factory=dict)
    comments: list[Json] = field(default_factory=list)
    links: list[Json] = field(default_factory=list)
    issue_links: list[Json] = field(default_factory=list)
    indexed: Json | None = None
    index_due: datetime | None = None
    written_at: list[datetime] = field(default_factory=list)

    def facts(self) -> Json:
        """What JQL may ask about the issue as it is now."""
        summary = str(self.fields.get("summary", ""))
        return {
            "project": self.key.partition("-")[0],
            "key": self.key,
            "id": self.issue_id,
            "labels": list(self.fields.get("labels") or []),
            "issuetype": self.fields["issuetype"]["name"],
            "status": self.status,
            "statuscategory": STATUSES[self.status][1],
            "summary": summary,
            "text": summary,
            "created": self.created_at,
            "updated": self.updated_at,
        }


class JiraState:
    """One Jira site with one project."""

    def __init__(
        self, email: str, token: str, *, project: str = "INC", issue_type: str = "Incident", cloud_id: str = "cloud-1"
    ) -> None:
        self.email = email
        self.token = token
        self.project = project
        self.issue_types = {"10001": issue_type, "10002": "Task"}
        self.cloud_id = cloud_id
        self.custom_fields: dict[str, CustomField] = {}
        self.issues: dict[str, Issue] = {}
        self.comment_properties: dict[str, Json] = {}
        self.knobs = JiraKnobs()
        self._number = 10000

    def add_custom_field(self, field_id: str, name: str, *, kind: str = "string", required: bool = False) -> None:
        """Put a custom field on the project's screens."""
        self.custom_fields[field_id] = CustomField(field_id, name, kind, required)

    def next_id(self) -> str:
        """A new numeric id, as text."""
        self._number += 1
        return str(self._number)

    def create(self, world: World, body: Json) -> Issue:
        """Create an issue and journal it. Raises RefusedError with Jira's own messages."""
        fields = self.checked_fields(body.get("fields"), creating=True)
        properties = checked_properties(body.get("properties", []))
        now = world.now()
        issue = Issue(self.next_id(), f"{self.project}-{len(self.issues) + 1}", fields, now, now)
        issue.properties = properties
        self.issues[issue.key] = issue
        self.reindex_later(world, issue)
        labels = list(fields.get("labels") or [])
        world.journal(
            "jira",
            "",
            "issue_created",
            key=issue.key,
            label=labels[0] if labels else "",
            labels=labels,
            property=properties,
            summary=fields["summary"],
            description=text_of(fields.get("description")),
        )
        return issue

    def find(self, ref: str) -> Issue:
        """The issue of this key or id. Raises RefusedError 404."""
        for issue in self.issues.values():
            if ref in (issue.issue_id, issue.key):
                return issue
        raise RefusedError(404, "Issue does not exist or you do not have permission to see it.")

    def reindex_later(self, world: World, issue: Issue) -> None:
        """Note a change that search will see only after the lag."""
        self.settle_index(world, issue)
        issue.updated_at = world.now()
        issue.index_due = world.now() + timedelta(seconds=self.knobs.search_lag_seconds)

    def settle_index(self, world: World, issue: Issue) -> None:
        """Let search know what is due."""
        if issue.index_due is not None and issue.index_due <= world.now():
            issue.indexed, issue.index_due = issue.facts(), None

    def count_write(self, world: World, issue: Issue) -> None:
        """Count one write on the issue. Raises RefusedError 429 when the vendor's limit per issue is passed."""
        now = world.now()
        for most, seconds in self.knobs.write_limits:
            recent = [at for at in issue.written_at if now - at < timedelta(seconds=seconds)]
            if len(recent) >= most:
                wait = seconds - (now - min(recent)).total_seconds()
                raise RefusedError(429, "Rate limit exceeded.", wait=wait, most=most, reset=now)
        longest = max((seconds for _, seconds in self.knobs.write_limits), default=0.0)
        issue.written_at = [at for at in issue.written_at if now - at < timedelta(seconds=longest)] + [now]

    def checked_fields(self, fields: Any, *, creating: bool) -> Json:
        """The fields as Jira would keep them. Raises RefusedError 400 with one message per bad field."""
        if not isinstance(fields, dict):
            raise RefusedError(400, "Can not deserialize value: fields must be an object.")
        errors: dict[str, str] = {}
        for name, value in fields.items():
            if name not in _PLAIN_FIELDS and name not in self.custom_fields:
                errors[name] = _CANNOT_SET.format(name)
            elif (problem := self._problem_with(name, value)) is not None:
                errors[name] = problem
        if creating:
            errors.update(self._missing(fields))
        if errors:
            raise RefusedError(400, "", errors=errors)
        for name in _DOCUMENT_FIELDS & fields.keys():
            if fields[name] is not None and not is_sound(fields[name]):
                raise RefusedError(400, "INVALID_INPUT")
        return self._kept(fields)

    def _missing(self, fields: Json) -> dict[str, str]:
        errors: dict[str, str] = {}
        if not self._names_project(fields.get("project")):
            errors["project"] = "valid project is required"
        if self._issue_type(fields.get("issuetype")) is None:
            errors["issuetype"] = "Specify a valid issue type"
        if not str(fields.get("summary") or "").strip():
            errors["summary"] = "You must specify a summary of the issue."
        for custom in self.custom_fields.values():
            if custom.required and not fields.get(custom.field_id):
                errors[custom.field_id] = f"{custom.name} is required."
        return errors

    def _names_project(self, given: Any) -> bool:
        return isinstance(given, dict) and (given.get("key") == self.project or given.get("id") == "10000")

    def _issue_type(self, given: Any) -> Json | None:
        if not isinstance(given, dict):
            return None
        for type_id, name in self.issue_types.items():
            if given.get("id") == type_id or given.get("name") == name:
                return {"id": type_id, "name": name, "subtask": False}
        return None

    def _problem_with(self, name: str, value: Any) -> str | None:
        custom = self.custom_fields.get(name)
        if name in _DOCUMENT_FIELDS or (custom is not None and custom.kind == "doc"):
            return None if value is None or is_document(value) else _NOT_A_DOCUMENT
        if custom is not None:
            return None if value is None or isinstance(value, str) else "Operation value must be a string"
        checks = {"summary": _problem_with_summary, "labels": _problem_with_labels, "priority": _problem_with_priority}
        return checks[name](value) if name in checks else None

    def _kept(self, fields: Json) -> Json:
        kept = dict(fields)
        if "issuetype" in kept:
            kept["issuetype"] = self._issue_type(kept["issuetype"])
        if "project" in kept:
            kept["project"] = {"id": "10000", "key": self.project, "name": "Incidents"}
        if isinstance(kept.get("priority"), dict):
            name = kept["priority"].get("name") or PRIORITIES[int(kept["priority"]["id"]) - 1]
            kept["priority"] = {"id": str(PRIORITIES.index(name) + 1), "name": name}
        return kept


def _problem_with_summary(value: Any) -> str | None:
    if not isinstance(value, str):
        return "Operation value must be a string"
    if "\n" in value or "\r" in value:
        return "The summary is invalid because it contains newline characters."
    return "Summary must be less than 255 characters." if len(value) > 255 else None


def _problem_with_labels(value: Any) -> str | None:
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        return "data was not an array"
    for label in value:
        if not label or any(char.isspace() for char in label):
            return f"The label '{label}' contains spaces which is invalid."
        if len(label) > 255:
            return f"The label '{label[:20]}...' exceeds the maximum length of 255 characters."
    return None


def _problem_with_priority(value: Any) -> str | None:
    if value is None:
        return None
    ids = {str(number) for number in range(1, len(PRIORITIES) + 1)}
    good = isinstance(value, dict) and (value.get("name") in PRIORITIES or str(value.get("id")) in ids)
    return None if good else "The priority selected is invalid."


def checked_properties(given: Any) -> Json:
    """Entity properties as key -> value. Raises RefusedError 400 for a bad key or a value above 32 KB."""
    if not isinstance(given, list):
        raise RefusedError(400, "properties must be an array of key and value.")
    properties: Json = {}
    for one in given:
        key = one.get("key") if isinstance(one, dict) else None
        if not isinstance(key, str) or not 1 <= len(key) <= 255:
            raise RefusedError(400, "The property key must be between 1 and 255 characters long.")
        if len(json.dumps(one.get("value"))) > 32768:
            raise RefusedError(400, "The property value must not exceed 32768 characters.")
        properties[key] = one.get("value")
    return properties
