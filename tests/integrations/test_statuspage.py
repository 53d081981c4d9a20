"""The public page: one incident per marker, which no visitor sees, and nothing posted twice or cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from desk_remotes import AT, MARKER, STATUS_INCIDENT, reply, sent, status_draft, statuspage_client, statuspage_remote

from recovery.desk.ports import StatusDraft
from recovery.errors import BadReply
from recovery.model import AttemptOutcome

UNKNOWN, REJECTED, NOT_APPLIED = AttemptOutcome.UNKNOWN, AttemptOutcome.REJECTED, AttemptOutcome.NOT_APPLIED


def incident(ref: str, metadata: object) -> dict[str, Any]:
    return STATUS_INCIDENT | {"id": ref, "metadata": metadata}


def listing(unresolved: list[dict[str, Any]], recent: list[dict[str, Any]]) -> Callable[..., httpx.Response]:
    def answer(request: httpx.Request) -> httpx.Response:
        rows = unresolved if request.url.path.endswith("/unresolved") else recent
        size = int(request.url.params.get("per_page") or request.url.params["limit"])
        start = (int(request.url.params["page"]) - 1) * size
        return reply(200, rows[start : start + size])

    return answer


@pytest.mark.requirement("R002.33")
async def test_the_marker_is_in_the_metadata_and_in_no_text(bench: Callable[..., Any]) -> None:
    client, one = statuspage_client(bench, statuspage_remote)
    await client.create(status_draft(), one.attempt())
    body = sent(one.requests[0])["incident"]
    assert body["metadata"] == {"allclear": {"key": MARKER}}
    assert "RK-" not in body["name"] + body["body"]
    assert (body["status"], body["component_ids"], body["deliver_notifications"]) == ("investigating", ["c1"], False)


async def test_an_incident_is_found_by_its_marker_resolved_or_not(bench: Callable[..., Any]) -> None:
    ours = incident("ours", {"allclear": {"key": MARKER}})
    others = [
        incident(f"o{n}", metadata)
        for n, metadata in enumerate(
            [None, {}, [], {"allclear": MARKER}, {"allclear": {"key": MARKER + "2"}}, {"other": {"key": MARKER}}]
        )
    ]
    for unresolved, recent in (([*others, ours], []), (others, [*others, ours | {"status": "resolved"}])):
        client, _ = statuspage_client(bench, listing(unresolved, recent))
        assert [found.ref for found in await client.find(MARKER)] == ["ours"]
    client, _ = statuspage_client(bench, listing(others, others))
    assert await client.find(MARKER) == ()


async def test_every_page_of_unresolved_incidents_is_read(bench: Callable[..., Any]) -> None:
    rows = [incident(f"o{n}", {}) for n in range(250)] + [incident("ours", {"allclear": {"key": MARKER}})]
    client, _ = statuspage_client(bench, listing(rows, []))
    assert [found.ref for found in await client.find(MARKER)] == ["ours"]


async def test_a_page_that_repeats_is_a_bad_reply(bench: Callable[..., Any]) -> None:
    rows = [incident(f"o{n}", {}) for n in range(100)]
    client, one = statuspage_client(bench, lambda _: reply(200, rows))
    with pytest.raises(BadReply):
        await client.find(MARKER)
    assert len(one.requests) == 2


async def test_updates_are_read_oldest_first_so_that_a_repeat_can_be_recognised(bench: Callable[..., Any]) -> None:
    updates = [
        {"status": "identified", "body": "Found it.", "created_at": "2026-03-01T13:00:00.000-05:00"},
        {"status": "investigating", "body": "We are looking.", "created_at": AT},
    ]
    client, _ = statuspage_client(bench, lambda _: reply(200, STATUS_INCIDENT | {"incident_updates": updates}))
    seen = await client.incident("p31zjtct2jer")
    assert [(u.status, u.body) for u in seen.updates] == [
        ("investigating", "We are looking."),
        ("identified", "Found it."),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        STATUS_INCIDENT | {"id": "another"},
        STATUS_INCIDENT | {"status": "resolved"},
        {"id": "", "status": "investigating"},
    ],
    ids=["another_incident", "another_status", "no_id"],
)
async def test_an_update_that_is_answered_with_something_else_is_unknown(
    bench: Callable[..., Any], answer: dict[str, Any]
) -> None:
    client, one = statuspage_client(bench, lambda _: reply(200, answer))
    assert (await client.update("p31zjtct2jer", status_draft(), one.attempt())).outcome is UNKNOWN


async def test_a_text_over_the_vendors_limit_is_rejected_unsent_and_never_cut(bench: Callable[..., Any]) -> None:
    client, one = statuspage_client(bench, statuspage_remote)
    for draft in (
        StatusDraft(MARKER, "n" * 256, "investigating", "text"),
        StatusDraft(MARKER, "name", "investigating", "t" * 25_001),
    ):
        assert (await client.create(draft, one.attempt())).outcome is REJECTED
        assert (await client.update("p31zjtct2jer", draft, one.attempt())).outcome is REJECTED
    assert not one.requests


@pytest.mark.parametrize(("proven", "outcome"), [(False, UNKNOWN), (True, NOT_APPLIED)])
async def test_statuspages_own_420_means_too_many(
    bench: Callable[..., Any], proven: bool, outcome: AttemptOutcome
) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(420, json={"error": "rate limited"})

    client, one = statuspage_client(bench, answer, limits_before_executing=proven)
    assert (await client.create(status_draft(), one.attempt())).outcome is outcome


async def test_a_420_slows_reads_down_and_is_tried_again(bench: Callable[..., Any]) -> None:
    left = [httpx.Response(420, headers={"Retry-After": "4"}), httpx.Response(200, json=[])]
    client, one = statuspage_client(bench, lambda _: left.pop(0))
    await client.whoami()
    assert one.gate.penalties == [4.0]
    assert 4.0 <= one.clock.slept[0] < 7
