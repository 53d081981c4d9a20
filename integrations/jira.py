"""Jira Cloud REST v3: the incident ticket, its comments and its links to customer tickets.

Facts: vendors.md §1. Jira has no idempotency key, so every object carries our marker: the ticket as a label (which JQL
finds, seconds to minutes late) and as an issue property, a comment as a property and in its text. Remote links are
upserted by their globalId, and fields left out become null, so the whole object is always sent. Texts are ADF documents
built as trees of text nodes; nothing that came from outside ever becomes a node.

The base URL is the site (`https://x.atlassian.net`, Basic with e-mail and token) or the gateway for scoped tokens
(`https://api.atlassian.com/ex/jira/{cloudId}`); then `site_url` names the site for links that people click.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from integrations.http import CapabilityManifest, Fields, Reply, Transport, segment
from integrations.pages import CursorPage, read_by_cursor
from integrations.plaintext import plain
from recovery.errors import BadReply, ConfigError, NotFound, Refused, RemoteError
from recovery.model import AttemptOutcome, OpenAttempt, WriteResult
from recovery.ports import TicketDraft, TicketRef

API = "/rest/api/3"
PROPERTY = "allclear"
SUMMARY_LIMIT = 250
DOCUMENT_LIMIT = 30_000  # Jira takes 32,767 characters
NODE_LIMIT = 2_000
GLOBAL_ID_LIMIT = 255
_FILLED = ("project", "issuetype", "summary", "description", "labels", "reporter")

Node = dict[str, Any]


class JiraClient:
    """The desk where the incident ticket is filed: the `TicketDesk`.

    `extra_fields` fill what this project requires beyond summary and description, as Jira's API takes it.
    """

    def __init__(
        self,
        transport: Transport,
        project: str,
        issue_type: str,
        *,
        site_url: str = "",
        extra_fields: Mapping[str, Any] | None = None,
        proven: CapabilityManifest | None = None,
    ) -> None:
        self._http = transport
        self._project = project
        self._issue_type = issue_type
        self._site_url = site_url.rstrip("/")
        self._extra = dict(extra_fields or {})
        self._proven = proven or CapabilityManifest(transport.system)
        self._form: _Form | None = None

    @staticmethod
    def credentials(email: str, token: str) -> dict[str, str]:
        """Basic with an API token; without an e-mail address the token is sent as a Bearer (service accounts)."""
        if not email:
            return {"Authorization": f"Bearer {token}"}
        return {"Authorization": f"Basic {base64.b64encode(f'{email}:{token}'.encode()).decode()}"}

    def manifest(self) -> CapabilityManifest:
        """What this site is proven to do."""
        return self._proven

    async def ready(self) -> str:
        """Who signs; ConfigError when a ticket could not be filed, because the project requires what is not set."""
        who = await self.whoami()
        missing = (await self._create_form()).missing(self._extra)
        if missing:
            raise ConfigError(
                f"signed in as {who}, but {self._project} requires {', '.join(missing)}",
                "set them in jira.extra_fields, by field id",
            )
        return who

    async def whoami(self) -> str:
        """The account of the token; raises AuthFailed."""
        got = await self._http.record("myself", f"{API}/myself")
        return got.text("displayName", "") or got.ref("accountId")

    # ---- finding ---------------------------------------------------------------------------------------------------

    async def find(self, marker: str) -> tuple[TicketRef, ...]:
        """Every ticket with the marker's label, oldest first. The index lags: an empty answer proves no absence."""
        label = label_of(marker)
        query: dict[str, Any] = {
            "jql": f'labels = "{label}" ORDER BY created ASC',
            "fields": ["labels"],
            "maxResults": 50,
        }

        async def fetch(cursor: str) -> CursorPage[Fields]:
            body = {**query, "nextPageToken": cursor} if cursor else query
            page = await self._http.record("search", f"{API}/search/jql", method="POST", json=body)
            following = "" if page.flag("isLast", False) else page.text("nextPageToken", "")
            return CursorPage(page.records("issues"), following, page.digest)

        rows, _, problem = await read_by_cursor(fetch, max_pages=100)
        if problem:
            raise self._http.bad("search", problem)
        carrying = [row for row in rows if label in row.record("fields").texts("labels")]
        return tuple(self._ticket(row) for row in carrying)

    async def has_comment(self, key: str, marker: str) -> bool:
        """Whether our comment with this marker is there.

        Anybody can quote a marker, so its property must confirm it; where there is none to be read, the marker must
        stand alone in the last paragraph of a comment by the account of our token.
        """
        start = 0
        while True:
            query: dict[str, str | int] = {"startAt": start, "maxResults": 100, "orderBy": "-created"}
            page = await self._http.record("comments", f"{API}/issue/{segment(key)}/comment", params=query)
            rows = page.records("comments")
            for row in rows:
                if marker in text_of(row.values.get("body")) and await self._confirmed(row, marker):
                    return True
            start += len(rows)
            if not rows or start >= page.integer("total"):
                return False

    async def _confirmed(self, row: Fields, marker: str) -> bool:
        path = f"{API}/comment/{segment(row.ref('id'))}/properties/{PROPERTY}"
        try:
            value = (await self._http.record("comment_property", path)).record("value")
        except NotFound:
            return await self._signed(row, marker)
        return value.text("key", "") == marker

    async def _signed(self, row: Fields, marker: str) -> bool:
        lines = text_of(row.values.get("body")).strip().split("\n")
        author = row.maybe_record("author")
        if lines[-1] != marker or author is None:
            return False
        me = await self._http.record("myself", f"{API}/myself")
        return author.text("accountId", "") == me.ref("accountId")

    async def links(self, key: str) -> Mapping[str, bool | None]:
        """globalId -> whether the link is struck through, None where not shown; links without one are not ours."""
        reply = await self._http.read("remotelinks", "GET", f"{API}/issue/{segment(key)}/remotelink")
        try:
            rows = self._http.rows("remotelinks", reply)
        except BadReply:  # the published document shows one link where the service gives a list
            rows = [self._http.fields("remotelinks", reply)]
        return {row.text("globalId"): _resolved(row.record("object")) for row in rows if row.text("globalId", "")}

    def _ticket(self, row: Fields) -> TicketRef:
        key = row.ref("key")
        return TicketRef(row.ref("id"), key, f"{self._site_url}/browse/{key}" if self._site_url else "")

    # ---- writing ---------------------------------------------------------------------------------------------------

    async def file(self, draft: TicketDraft, attempt: OpenAttempt) -> WriteResult:
        """Create the ticket; `ref` is the key. A project that requires a field that is not set is REJECTED unsent."""
        try:
            form = await self._create_form()
        except RemoteError as problem:
            return WriteResult(AttemptOutcome.NOT_APPLIED, detail=f"not sent: {problem}")
        missing = form.missing(self._extra)
        if missing:
            detail = f"not sent: {self._project} requires {', '.join(missing)}; set them in jira.extra_fields"
            return WriteResult(AttemptOutcome.REJECTED, detail=detail)
        fields: dict[str, Any] = {
            "project": {"key": self._project},
            "issuetype": dict(form.issue_type),
            "summary": plain(draft.summary, SUMMARY_LIMIT) or "Incident",
            "description": description_of(draft),
            "labels": [PROPERTY, label_of(draft.marker)],
            **form.priority(draft.severity),
            **self._extra,
        }
        body = {"fields": fields, "properties": [_property(draft.marker)]}

        def judge(reply: Reply) -> WriteResult | None:
            got = self._http.fields("issue_create", reply)
            return WriteResult(AttemptOutcome.APPLIED, ref=got.ref("key"), detail=f"id {got.ref('id')}")

        return await self._http.write(attempt, "issue_create", "POST", f"{API}/issue", json=body, judge=judge)

    async def comment(self, key: str, paragraphs: Sequence[str], marker: str, attempt: OpenAttempt) -> WriteResult:
        """Add a comment that carries the marker; `ref` is its id."""
        body = {"body": document([*paragraph_nodes(paragraphs), _paragraph(marker)]), "properties": [_property(marker)]}

        def judge(reply: Reply) -> WriteResult | None:
            return WriteResult(AttemptOutcome.APPLIED, ref=self._http.fields("comment", reply).ref("id"))

        path = f"{API}/issue/{segment(key)}/comment"
        return await self._http.write(attempt, "comment", "POST", path, json=body, judge=judge)

    async def link(
        self, key: str, global_id: str, title: str, url: str, resolved: bool, attempt: OpenAttempt
    ) -> WriteResult:
        """Upsert a remote link by its globalId, always the full object; `ref` is the link's id."""
        if not url.startswith(("https://", "http://")) or not 0 < len(global_id) <= GLOBAL_ID_LIMIT:
            return WriteResult(
                AttemptOutcome.REJECTED, detail="not sent: a link needs a web address and a short globalId"
            )
        body = {
            "globalId": global_id,
            "application": {"type": PROPERTY, "name": PROPERTY},
            "relationship": "customer ticket",
            "object": {"url": url, "title": plain(title, SUMMARY_LIMIT) or url, "status": {"resolved": resolved}},
        }

        def judge(reply: Reply) -> WriteResult | None:
            return WriteResult(AttemptOutcome.APPLIED, ref=self._http.fields("remotelink", reply).ref("id"))

        path = f"{API}/issue/{segment(key)}/remotelink"
        return await self._http.write(attempt, "remotelink", "POST", path, json=body, judge=judge)

    # ---- the create form -------------------------------------------------------------------------------------------

    async def _create_form(self) -> _Form:
        """What creating needs in this project, read once. A Jira that does not show it checks the fields itself."""
        if self._form is None:
            here = f"{API}/issue/createmeta/{segment(self._project)}/issuetypes"
            issue_type = await self._type(here)
            fields: list[Fields] = []
            if "id" in issue_type:
                with suppress(NotFound, Refused):
                    path = f"{here}/{segment(issue_type['id'])}"
                    fields = await self._all("createmeta_fields", path, ("fields", "values"))
            self._form = _Form(issue_type, fields)
        return self._form

    async def _type(self, here: str) -> dict[str, str]:
        """The issue type as a ticket names it: by the id of the list, else as it stands in the settings."""
        try:
            types = await self._all("createmeta_types", here, ("issueTypes", "values"))
        except (NotFound, Refused):
            return {"id" if self._issue_type.isdigit() else "name": self._issue_type}
        wanted = self._issue_type.casefold()
        chosen = [t for t in types if t.text("name").casefold() == wanted or t.ref("id") == self._issue_type]
        if not chosen:
            names = ", ".join(t.text("name") for t in types[:10])
            raise self._http.bad("createmeta", f"no issue type {self._issue_type!r} in {self._project}: {names}")
        return {"id": chosen[0].ref("id")}

    async def _all(self, op: str, path: str, keys: tuple[str, ...]) -> list[Fields]:
        rows: list[Fields] = []
        for _ in range(50):
            page = await self._http.record(op, path, params={"startAt": len(rows), "maxResults": 100})
            key = next((k for k in keys if k in page.values), keys[0])
            got = page.records(key)
            rows.extend(got)
            if not got or len(rows) >= page.integer("total", 0):
                return rows
        raise self._http.bad(op, "the list did not end")


class _Form:
    """The fields of a create screen."""

    def __init__(self, issue_type: Mapping[str, str], fields: Iterable[Fields]) -> None:
        self.issue_type = issue_type
        self._fields = {row.text("fieldId", "") or row.text("key"): row for row in fields}

    def missing(self, given: Mapping[str, Any]) -> list[str]:
        """Names of required fields without default that neither we nor the settings fill."""
        return [
            f"{row.text('name', ref)} ({ref})"
            for ref, row in self._fields.items()
            if row.flag("required", False)
            and not row.flag("hasDefaultValue", False)
            and ref not in _FILLED
            and ref not in given
        ]

    def priority(self, severity: str) -> dict[str, Any]:
        """The priority named like the severity, where this screen offers one; else nothing."""
        row = self._fields.get("priority")
        if row is None or not severity or not row.values.get("allowedValues"):
            return {}
        names = [value.text("name", "") for value in row.records("allowedValues")]
        match = next((name for name in names if name.casefold() == severity.casefold()), "")
        return {"priority": {"name": match}} if match else {}


# ---- markers and documents -------------------------------------------------------------------------------------------


def label_of(marker: str) -> str:
    """The marker as a Jira label: lower-case letters and digits only, so that it can stand in JQL as it is."""
    core = re.sub(r"[^a-z0-9]", "", marker.lower())
    return f"{PROPERTY}-{core.removeprefix('rk')}"


def _resolved(linked: Fields) -> bool | None:
    """Whether a link is struck through; in a status, a flag that is not there is one that is not set."""
    status = linked.maybe_record("status")
    return None if status is None else status.flag("resolved", False)


def _property(marker: str) -> dict[str, Any]:
    return {"key": PROPERTY, "value": {"key": marker}}


def document(nodes: list[Node]) -> Node:
    """An ADF document; never empty, because Jira refuses one that is."""
    return {"type": "doc", "version": 1, "content": nodes or [_paragraph("-")]}


def description_of(draft: TicketDraft) -> Node:
    """The ticket's text: who, since when, steps, symptoms, further sections, and the marker at the end."""
    nodes: list[Node] = []
    budget = DOCUMENT_LIMIT
    facts = [f"Started: {draft.started_at}", *([f"Severity: {draft.severity}"] if draft.severity else [])]
    sections: list[tuple[str, Sequence[str]]] = [
        ("Facts", facts),
        ("Customers", draft.customers),
        ("Steps to reproduce", draft.steps),
        ("Symptoms", draft.symptoms),
        *draft.sections,
    ]
    for title, lines in sections:
        kept: list[str] = []
        for line in (plain(text, NODE_LIMIT) for text in lines):
            if line and len(line) < budget:
                kept.append(line)
                budget -= len(line) + 10
        if kept:
            nodes += [_heading(plain(title, 200) or "-"), _bullets(kept)]
        if len(kept) < sum(1 for text in lines if text.strip()):
            nodes.append(_paragraph("Some lines did not fit and are in the run's report."))
    return document([*nodes, _paragraph(f"Reference {draft.marker}")])


def paragraph_nodes(paragraphs: Sequence[str]) -> list[Node]:
    """One paragraph node per line of text, as many as fit."""
    nodes: list[Node] = []
    budget = DOCUMENT_LIMIT
    for text in paragraphs:
        line = plain(text, NODE_LIMIT)
        if line and len(line) < budget:
            nodes.append(_paragraph(line))
            budget -= len(line) + 10
    return nodes


def text_of(node: object) -> str:
    """All text of an ADF document, lines kept apart; any other value has none."""
    if isinstance(node, dict):
        if node.get("type") == "text" and isinstance(node.get("text"), str):
            return str(node["text"])
        inner = text_of(node.get("content"))
        return inner + "\n" if node.get("type") in ("paragraph", "heading") else inner
    if isinstance(node, list):
        return "".join(text_of(child) for child in node)
    return ""


def _text(text: str) -> Node:
    return {"type": "text", "text": text}


def _paragraph(text: str) -> Node:
    return {"type": "paragraph", "content": [_text(text)]}


def _heading(text: str) -> Node:
    return {"type": "heading", "attrs": {"level": 3}, "content": [_text(text)]}


def _bullets(lines: Sequence[str]) -> Node:
    items = [{"type": "listItem", "content": [_paragraph(line)]} for line in lines]
    return {"type": "bulletList", "content": items}
