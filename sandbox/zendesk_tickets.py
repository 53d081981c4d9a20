"""Tickets of a pretend Zendesk account: comments with their audits, collision checks, bulk jobs, the key of a create.

Facts: reference/vendors.md §5.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sandbox.wire import Json, RefusedError
from sandbox.world import World

STATUSES = ("new", "open", "pending", "hold", "solved", "closed")
CHOICES: dict[str, tuple[str, ...]] = {
    "status": STATUSES,
    "priority": ("urgent", "high", "normal", "low"),
    "type": ("problem", "incident", "question", "task"),
}
SETTABLE = ("subject", "status", "priority", "type", "external_id", "problem_id", "assignee_id", "group_id")
MOST_AT_ONCE = 100
MOST_JOBS = 30


@dataclass
class ZendeskKnobs:
    """Limits and delays; seconds of the estate's clock. A limit of 0 is none."""

    requests_per_minute: int = 700
    updates_per_minute: int = 100
    updates_per_ticket: int = 30  # in 10 minutes
    job_seconds: float = 1.0
    key_seconds: float = 7200.0
    access_seconds: float = 1800.0
    refresh_seconds: float = 2592000.0
    gives_refresh_token: bool = True


@dataclass
class Ticket:
    """One ticket in Zendesk's own form, and what hangs on it."""

    fields: Json
    comments: list[Json] = field(default_factory=list)
    audits: list[Json] = field(default_factory=list)
    updated: list[datetime] = field(default_factory=list)


@dataclass
class Job:
    """A bulk update that is applied when it is due."""

    job_id: str
    due_at: datetime
    changes: list[tuple[int, Json]]
    results: list[Json] | None = None


@dataclass
class KnownKey:
    """An Idempotency-Key, the digest of the body it came with, and what it made."""

    digest: str
    ticket_id: int
    expires_at: datetime


def invalid(name: str, words: str, error: str = "InvalidValue") -> RefusedError:
    """Zendesk's 422 for one field."""
    details = {name: [{"description": words, "error": error}]}
    return RefusedError(422, "RecordInvalid", "Record validation errors", details=details)


def time_text(at: datetime) -> str:
    """A time as Zendesk writes it: whole seconds, UTC."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


class ZendeskState:
    """One Zendesk account with one OAuth client; `client_scope` is the most it may ask for."""

    def __init__(
        self, client_id: str, client_secret: str, *, subdomain: str = "twin", scope: str = "tickets:read tickets:write"
    ) -> None:
        self.client_id = client_id
        self.client_secret = client_secret
        self.subdomain = subdomain
        self.client_scope = scope
        self.knobs = ZendeskKnobs()
        self.tickets: dict[int, Ticket] = {}
        self.users: dict[int, Json] = {}
        self.keys: dict[str, KnownKey] = {}
        self.jobs: dict[str, Job] = {}
        self.uploads: dict[str, Json] = {}  # token -> the file, until a comment takes it
        self.tokens: dict[str, tuple[str, datetime]] = {}  # access token -> scope, end
        self.pairs: dict[str, tuple[str, str, datetime]] = {}  # refresh token -> its access token, scope, end
        self._number = 0
        self.agent_id = self.add_user("allclear", "allclear@twin.example", role="agent")

    def next_id(self) -> int:
        """A new number."""
        self._number += 1
        return self._number

    def add_user(self, name: str, email: str, *, role: str = "end-user") -> int:
        """The user with this address, made when there is none."""
        for user_id, user in self.users.items():
            if user["email"] == email.lower():
                return user_id
        user_id = self.next_id()
        self.users[user_id] = {"id": user_id, "name": name, "email": email.lower(), "role": role, "active": True}
        return user_id

    def add_ticket(self, world: World, subject: str, text: str, email: str, **more: Any) -> int:
        """A ticket as a customer opens it by mail."""
        author = self.add_user(email.partition("@")[0], email)
        ticket = self._new(world, {"subject": subject, **more}, author)
        self._comment(world, ticket, {"body": text}, author, "email", {})
        return int(ticket.fields["id"])

    def add_comment(self, world: World, ticket_id: int, text: str, *, email: str, public: bool = True) -> None:
        """A comment as that person writes it by mail."""
        author = self.add_user(email.partition("@")[0], email)
        ticket = self.tickets[ticket_id]
        self._comment(world, ticket, {"body": text, "public": public}, author, "email", {})
        ticket.fields["updated_at"] = time_text(world.now())

    def create(self, world: World, given: Json) -> Ticket:
        """Create a ticket over the API and journal it. Raises RefusedError."""
        comment = given.get("comment") or ({"body": given["description"]} if given.get("description") else None)
        if not isinstance(comment, dict) or not (comment.get("body") or comment.get("html_body")):
            raise invalid("base", "Description: cannot be blank", "BlankValue")
        self._check(given)
        requester = given.get("requester")
        requester_id = given.get("requester_id") or self.agent_id
        if isinstance(requester, dict) and requester.get("email"):
            requester_id = self.add_user(str(requester.get("name") or ""), str(requester["email"]))
        ticket = self._new(world, given, requester_id)
        self._comment(world, ticket, comment, self.agent_id, "api", given.get("metadata") or {})
        made = ticket.fields
        world.journal(
            "zendesk",
            "",
            "ticket_created",
            id=made["id"],
            external_id=made["external_id"],
            subject=made["subject"],
            text=comment.get("body") or comment.get("html_body"),
            public=comment.get("public", True),
        )
        return ticket

    def _new(self, world: World, given: Json, requester_id: int) -> Ticket:
        ticket_id, at = self.next_id(), time_text(world.now())
        fields: Json = {
            "id": ticket_id,
            "url": f"https://{self.subdomain}.zendesk.example/api/v2/tickets/{ticket_id}.json",
            **{name: given.get(name) for name in SETTABLE},
            "requester_id": requester_id,
            "submitter_id": self.agent_id,
            "tags": list(given.get("tags") or []),
            "custom_fields": list(given.get("custom_fields") or []),
            "via": {"channel": "api"},
            "created_at": at,
            "updated_at": at,
        }
        fields["status"] = fields["status"] or "new"
        made = self.tickets[ticket_id] = Ticket(fields)
        return made

    def _check(self, given: Json) -> None:
        for name, choices in CHOICES.items():
            if given.get(name) is not None and given[name] not in choices:
                raise invalid(name, f"{name.capitalize()}: {given[name]} is not a valid {name}")
        problem = given.get("problem_id")
        if problem is not None and (problem not in self.tickets or self.tickets[problem].fields["type"] != "problem"):
            raise invalid("problem_id", "Problem: is invalid")

    def find(self, ticket_id: int) -> Ticket:
        """The ticket. Raises RefusedError 404."""
        if ticket_id not in self.tickets:
            raise RefusedError(404, "RecordNotFound", "Not found")
        return self.tickets[ticket_id]

    def update(self, world: World, ticket: Ticket, given: Json) -> Json:
        """Change a ticket, journal it and give its audit. Raises RefusedError: 409 on a collision, 422 when closed."""
        if given.get("safe_update") and given.get("updated_stamp") != ticket.fields["updated_at"]:
            raise RefusedError(409, "UpdateConflict", "Ticket was updated since the given updated_stamp.")
        if ticket.fields["status"] == "closed":
            raise invalid("status", "Status: closed prevents ticket update")
        self._check(given)
        comment = given.get("comment")
        for token in comment.get("uploads") or () if isinstance(comment, dict) else ():
            if token not in self.uploads:
                raise invalid("uploads", "Upload: token is not valid")
        for name in SETTABLE:
            if name in given:
                ticket.fields[name] = given[name]
        if "tags" in given:
            ticket.fields["tags"] = list(given["tags"])
        kept = [tag for tag in ticket.fields["tags"] if tag not in (given.get("remove_tags") or [])]
        ticket.fields["tags"] = kept + [tag for tag in given.get("additional_tags") or [] if tag not in kept]
        ticket.fields["updated_at"] = time_text(world.now())
        author = comment.get("author_id") or self.agent_id if isinstance(comment, dict) else self.agent_id
        metadata = given.get("metadata") or {}
        audit = self._comment(world, ticket, comment if isinstance(comment, dict) else None, author, "api", metadata)
        self._journal_update(world, ticket, given)
        if ticket.fields["type"] == "problem" and given.get("status") == "solved":
            self._solve_incidents(world, ticket, given.get("comment"))
        return audit

    def _journal_update(self, world: World, ticket: Ticket, given: Json) -> None:
        comment = given.get("comment")
        world.journal(
            "zendesk",
            "",
            "ticket_updated",
            id=ticket.fields["id"],
            status=ticket.fields["status"],
            text=(comment.get("body") or comment.get("html_body")) if isinstance(comment, dict) else None,
            files=len(comment.get("uploads") or ()) if isinstance(comment, dict) else 0,
            public=comment.get("public", True) if isinstance(comment, dict) else None,
        )

    def _solve_incidents(self, world: World, problem: Ticket, comment: Any) -> None:
        for ticket in self.incidents_of(problem):
            if ticket.fields["status"] not in {"solved", "closed"}:
                self.update(world, ticket, {"status": "solved", **({"comment": comment} if comment else {})})

    def incidents_of(self, problem: Ticket) -> list[Ticket]:
        """The tickets of type incident that name this problem."""
        return [one for one in self.tickets.values() if one.fields["problem_id"] == problem.fields["id"]]

    def _comment(
        self, world: World, ticket: Ticket, comment: Json | None, author: int, channel: str, metadata: Json
    ) -> Json:
        """Write an audit, and the comment when there is one."""
        at, audit_id = time_text(world.now()), self.next_id()
        audit: Json = {
            "id": audit_id,
            "ticket_id": ticket.fields["id"],
            "created_at": at,
            "author_id": author,
            "via": {"channel": channel},
            "metadata": {"system": {}, "custom": metadata},
            "events": [],
        }
        if comment is not None:
            body = comment.get("body") or comment.get("html_body") or ""
            made = {
                "id": self.next_id(),
                "type": "Comment",
                "author_id": author,
                "body": body,
                "plain_body": body,
                "html_body": comment.get("html_body") or body,
                "public": comment.get("public", True),
                "attachments": [self.uploads.pop(token) for token in comment.get("uploads") or ()],
                "audit_id": audit_id,
                "via": {"channel": channel},
                "created_at": at,
            }
            ticket.comments.append(made)
            audit["events"].append(made)
        ticket.audits.append(audit)
        return audit

    def known(self, world: World, key: str, body: Json) -> Ticket | None:
        """What this Idempotency-Key has made. Raises RefusedError 400 when it came with another body."""
        known = self.keys.get(key)
        if known is None or known.expires_at <= world.now():
            return None
        if known.digest != _digest(body):
            words = "The idempotency key was used with other parameters."
            raise RefusedError(400, "IdempotentRequestError", words)
        return self.tickets[known.ticket_id]

    def remember(self, world: World, key: str, body: Json, ticket: Ticket) -> None:
        """Keep the key for its two hours."""
        expires_at = world.now() + timedelta(seconds=self.knobs.key_seconds)
        self.keys[key] = KnownKey(_digest(body), int(ticket.fields["id"]), expires_at)

    def queue(self, world: World, changes: list[tuple[int, Json]]) -> Job:
        """Queue a bulk update. Raises RefusedError 429 when too many are under way."""
        if not 1 <= len(changes) <= MOST_AT_ONCE:
            raise RefusedError(400, "TooManyValues", f"1 to {MOST_AT_ONCE} tickets may be updated at once")
        if sum(job.results is None for job in self.jobs.values()) >= MOST_JOBS:
            raise RefusedError(429, "TooManyJobs", "Too many jobs are currently queued or running.", wait=10)
        job_id = hashlib.sha256(f"job{self.next_id()}".encode()).hexdigest()[:32]
        job = self.jobs[job_id] = Job(job_id, world.now() + timedelta(seconds=self.knobs.job_seconds), changes)
        world.journal("zendesk", "", "job_queued", id=job_id, tickets=[ticket_id for ticket_id, _ in changes])
        return job

    def tick(self, world: World) -> None:
        """Apply the bulk updates that are due."""
        for job in self.jobs.values():
            if job.results is None and job.due_at <= world.now():
                job.results = [self._apply(world, n, *change) for n, change in enumerate(job.changes)]

    def _apply(self, world: World, index: int, ticket_id: int, given: Json) -> Json:
        told: Json = {"index": index, "id": ticket_id, "action": "update"}
        try:
            self.update(world, self.find(ticket_id), given)
        except RefusedError as refused:
            return {**told, "success": False, "status": "Failed", "error": refused.message, "details": refused.detail}
        return {**told, "success": True, "status": "Updated"}


def _digest(body: Json) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
