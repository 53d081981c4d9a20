"""The client's support board in ClickUp v2 (implements `recovery.desk.ports.Board`).

ClickUp has no key against doubles and lets nobody choose a task's id. The marker goes into a text custom field of the
list, and `find` filters by it with `==` (for text, `=` means "contains"), then compares again here: closed tasks,
subtasks and archived tasks count, because a task that was created, done and archived still must not be created twice.

Texts go into `name` and `description`, which ClickUp shows as they are; never into `markdown_content`.

Sources: https://developer.clickup.com/reference/createtask · https://developer.clickup.com/docs/taskfilters ·
https://developer.clickup.com/docs/rate-limits (100 to 10,000 a minute and token)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from integrations.http import CapabilityManifest, Fields, Reply, Transport, segment
from integrations.plaintext import plain
from recovery.desk.ports import BoardTask, BoardTaskDraft
from recovery.model import AttemptOutcome, OpenAttempt, System, WriteResult

_PAGE_SIZE = 100
_MOST_PAGES = 50
_CLOSED = ("closed", "done")


class ClickUp:
    """One workspace; the transport's base URL ends in /api/v2. `key_field` is the id of the text field for markers."""

    def __init__(self, transport: Transport, *, key_field: str, proven: CapabilityManifest | None = None) -> None:
        self._transport, self._key_field = transport, key_field
        self._proven = proven or CapabilityManifest(System.CLICKUP.value)

    @staticmethod
    def credentials(token: str) -> Mapping[str, str]:
        """The credentials as ClickUp wants them: a personal token bare, an OAuth token with Bearer."""
        return {"Authorization": token if token.startswith("pk_") else f"Bearer {token}"}

    def manifest(self) -> CapabilityManifest:
        """What the workspace is proven to do."""
        return self._proven

    async def whoami(self) -> str:
        """The user the token belongs to."""
        user = (await self._transport.record("user", "/user")).record("user")
        return user.text("username", "") or user.ref("id")

    async def find(self, board_ref: str, marker: str) -> tuple[BoardTask, ...]:
        """Every task of the list whose key field equals the marker, in any state."""
        found: dict[str, BoardTask] = {}
        for archived in ("false", "true"):
            for task in await self._tasks(board_ref, marker, archived):
                seen = self._task(task)
                if seen.marker == marker:
                    found.setdefault(seen.ref, seen)
            if found:
                break
        return tuple(found.values())

    async def task(self, ref: str) -> BoardTask:
        """One task read fresh; raises NotFound."""
        return self._task(await self._transport.record("task", f"/task/{segment(ref)}"))

    async def create(self, draft: BoardTaskDraft, attempt: OpenAttempt) -> WriteResult:
        """Create the task; `ref` is its id. Required fields of the list are not enforced, nobody is notified twice."""
        body = _body(draft) | {
            "tags": list(draft.tags),
            "custom_fields": [{"id": self._key_field, "value": draft.marker}],
            "notify_all": False,
            "check_required_custom_fields": False,
        }
        path = f"/list/{segment(draft.board_ref)}/task"
        return await self._transport.write(attempt, "task_create", "POST", path, judge=_judge_task, json=body)

    async def update(self, ref: str, draft: BoardTaskDraft, attempt: OpenAttempt) -> WriteResult:
        """Set title, text, priority, status and due time; "" and None leave status and due time as they are."""

        def judge(reply: Reply) -> WriteResult | None:
            result = _judge_task(reply)
            return result if result is not None and result.ref == ref else None

        path = f"/task/{segment(ref)}"
        return await self._transport.write(attempt, "task_update", "PUT", path, judge=judge, json=_body(draft))

    async def _tasks(self, board_ref: str, marker: str, archived: str) -> list[Fields]:
        """Every page; BadReply when a page repeats or the pages do not end."""
        found: list[Fields] = []
        seen: set[str] = set()
        wanted = [{"field_id": self._key_field, "operator": "==", "value": marker}]
        for page in range(_MOST_PAGES):
            params: dict[str, str | int] = {
                "page": page,
                "archived": archived,
                "include_closed": "true",
                "subtasks": "true",
                "custom_fields": json.dumps(wanted, separators=(",", ":")),
            }
            reply = await self._transport.record("tasks", f"/list/{segment(board_ref)}/task", params=params)
            tasks = reply.records("tasks")
            refs = {task.ref("id") for task in tasks}
            if refs and refs <= seen:
                raise self._transport.bad("tasks", "the list repeats a page")
            seen |= refs
            found += tasks
            if reply.flag("last_page", False) or len(tasks) < _PAGE_SIZE:
                return found
        raise self._transport.bad("tasks", f"the list has more than {_MOST_PAGES} pages with this key")

    def _task(self, task: Fields) -> BoardTask:
        status = task.record("status")
        fields = task.records("custom_fields") if task.values.get("custom_fields") else []
        markers = [f.text("value", "") for f in fields if f.text("id", "") == self._key_field]
        updated_at = datetime.fromtimestamp(task.integer("date_updated") / 1000, UTC)
        return BoardTask(
            ref=task.ref("id"),
            marker=markers[0] if markers else "",
            title=task.text("name", ""),
            text=task.text("description", "") or task.text("text_content", ""),
            status=status.text("status"),
            url=task.text("url", ""),
            updated_at=updated_at,
            closed=status.text("type", "") in _CLOSED or task.values.get("date_closed") is not None,
        )


def _body(draft: BoardTaskDraft) -> dict[str, Any]:
    body: dict[str, Any] = {"name": plain(draft.title), "description": draft.text, "priority": draft.priority}
    if draft.status:
        body["status"] = draft.status
    if draft.due_at is not None:
        body |= {"due_date": int(draft.due_at.timestamp() * 1000), "due_date_time": True}
    return body


def _judge_task(reply: Reply) -> WriteResult | None:
    ref = reply.obj().get("id")
    return WriteResult(AttemptOutcome.APPLIED, ref=ref) if isinstance(ref, str) and ref else None
