"""The client's board: a task is found by its key in every state it can be in, and only by exactly its key."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from desk_remotes import FIELD, MARKER, TOKENS, board_task, clickup_client, clickup_remote, reply, sent, task_draft

from integrations.clickup import ClickUp
from recovery.errors import BadReply, NotFound
from recovery.model import AttemptOutcome


def a_list(*pages: list[dict[str, Any]], archived: tuple[dict[str, Any], ...] = ()) -> Callable[..., httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        query = request.url.params
        if query["archived"] == "true":
            return reply(200, {"tasks": list(archived), "last_page": True})
        page = int(query["page"])
        rows = pages[page] if page < len(pages) else []
        return reply(200, {"tasks": rows, "last_page": page >= len(pages) - 1})

    return answer


async def test_the_filter_is_exact_and_includes_closed_tasks_and_subtasks(bench: Callable[..., Any]) -> None:
    client, one = clickup_client(bench, clickup_remote)
    await client.find("123", MARKER)
    query = one.requests[0].url.params
    assert json.loads(query["custom_fields"]) == [{"field_id": FIELD, "operator": "==", "value": MARKER}]
    assert (query["include_closed"], query["subtasks"]) == ("true", "true")


async def test_a_task_with_a_similar_key_is_not_ours(bench: Callable[..., Any]) -> None:
    near = [
        board_task(m, f"t{n}") for n, m in enumerate((MARKER + " ", MARKER.lower(), MARKER + "2", "", "x" + MARKER))
    ]
    no_field = board_task() | {"id": "t9", "custom_fields": [{"id": "another", "value": MARKER}]}
    unset = board_task() | {"id": "t8", "custom_fields": [{"id": FIELD}]}
    client, _ = clickup_client(bench, a_list([*near, no_field, unset]))
    assert await client.find("123", MARKER) == ()


async def test_a_closed_and_an_archived_task_are_still_found(bench: Callable[..., Any]) -> None:
    client, _ = clickup_client(bench, a_list([board_task(closed=True)]))
    [task] = await client.find("123", MARKER)
    assert (task.ref, task.closed) == ("9hx", True)
    client, _ = clickup_client(bench, a_list([], archived=(board_task(ref="old"),)))
    assert [task.ref for task in await client.find("123", MARKER)] == ["old"]


async def test_every_page_is_read(bench: Callable[..., Any]) -> None:
    first = [board_task("other", f"a{n}") for n in range(100)]
    client, _ = clickup_client(bench, a_list(first, [board_task(ref="late")]))
    assert [task.ref for task in await client.find("123", MARKER)] == ["late"]


async def test_a_list_that_repeats_its_page_is_a_bad_reply(bench: Callable[..., Any]) -> None:
    page = [board_task(MARKER, f"a{n}") for n in range(100)]
    client, one = clickup_client(bench, lambda _: reply(200, {"tasks": page, "last_page": False}))
    with pytest.raises(BadReply):
        await client.find("123", MARKER)
    assert len(one.requests) == 2


@pytest.mark.requirement("R003.6")
async def test_a_task_carries_its_key_and_its_due_time_in_milliseconds(bench: Callable[..., Any]) -> None:
    client, one = clickup_client(bench, clickup_remote)
    await client.create(task_draft(), one.attempt())
    body = sent(one.requests[0])
    assert body["custom_fields"] == [{"id": FIELD, "value": MARKER}]
    assert (body["due_date"], body["due_date_time"]) == (1772409600000, True)
    assert (body["priority"], body["status"], body["notify_all"]) == (2, "open", False)


@pytest.mark.requirement("R003.12")
async def test_a_task_is_read_with_its_state_and_time(bench: Callable[..., Any]) -> None:
    client, _ = clickup_client(bench, clickup_remote)
    task = await client.task("9hx")
    assert (task.status, task.marker, task.closed) == ("open", MARKER, False)
    assert task.updated_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    with pytest.raises(NotFound):
        await client.task("none")


async def test_an_update_answered_for_another_task_is_unknown(bench: Callable[..., Any]) -> None:
    client, one = clickup_client(bench, lambda _: reply(200, board_task(ref="another")))
    assert (await client.update("9hx", task_draft(), one.attempt())).outcome is AttemptOutcome.UNKNOWN


def test_a_personal_token_goes_bare_and_an_oauth_token_as_bearer() -> None:
    assert ClickUp.credentials("pk_1")["Authorization"] == "pk_1"
    assert ClickUp.credentials(TOKENS["clickup"])["Authorization"] == f"Bearer {TOKENS['clickup']}"
