"""Jira: requests that its own document accepts, text that stays text, and tickets found by marker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hostile import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st
from remote_bench import Bench

from integrations.jira import DOCUMENT_LIMIT, JiraClient, description_of, document, label_of, paragraph_nodes, text_of
from recovery.errors import AuthFailed, BadReply
from recovery.model import AttemptOutcome, OpenAttempt
from recovery.ports import TicketDraft
from recovery.settings import load_settings
from recovery.terminal.checkup import check_up
from tests.recovery.stage import night, stage
from tests.sandbox.contract import Contract, vendor_document

MARKER = "[RK-ABCDEFGHIJKLMNOP]"
LABEL = "allclear-abcdefghijklmnop"
DRAFT = TicketDraft(
    MARKER,
    "Mail did not go out",
    ("harbor", "lyric"),
    "2026-11-01 05:00 UTC",
    ("Open the campaign list",),
    ("Nothing was sent",),
    (("Recovered", ("Autumn gala",)),),
    "Highest",
)
FORM = [
    {"fieldId": "summary", "key": "summary", "name": "Summary", "required": True, "hasDefaultValue": False},
    {
        "fieldId": "priority",
        "key": "priority",
        "name": "Priority",
        "required": False,
        "allowedValues": [{"name": "highest"}],
    },
    {"fieldId": "reporter", "key": "reporter", "name": "Reporter", "required": True, "hasDefaultValue": False},
]


def site(form: list[dict[str, Any]] = FORM, **answers: Any) -> Callable[[httpx.Request], httpx.Response]:
    """A Jira that answers each call by the end of its path; `answers` overrides by "METHOD last-segment"."""

    def remote(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        last = path.rsplit("/", 1)[1]
        given = answers.get(f"{request.method} {last}")
        if given is not None:
            status, body = given(request) if callable(given) else given
            return httpx.Response(status, json=body)
        if path.endswith("/issuetypes"):
            return httpx.Response(200, json={"issueTypes": [{"id": "10", "name": "Incident"}], "total": 1})
        if path.endswith("/issuetypes/10"):
            start = int(request.url.params["startAt"])
            return httpx.Response(200, json={"fields": form[start : start + 2], "total": len(form)})
        if last == "issue":
            return httpx.Response(201, json={"id": "10000", "key": "INC-24", "self": "https://x.example/rest"})
        if last == "comment" and request.method == "POST":
            return httpx.Response(201, json={"id": "10050"})
        if last == "remotelink":
            return httpx.Response(201, json={"id": 10000, "self": "https://x.example/link"})
        raise AssertionError(f"{request.method} {path}")

    return remote


def client_of(remote: Callable[[httpx.Request], httpx.Response], **options: Any) -> tuple[JiraClient, Bench]:
    headers = JiraClient.credentials("ann@x.example", "canary-token-123456")
    bench = Bench(remote, system="jira", account="", base_url="https://x.example", headers=headers)
    return JiraClient(bench.transport, "INC", "incident", site_url="https://x.example", **options), bench


def sent(bench: Bench) -> dict[str, Any]:
    body = json.loads(bench.requests[-1].content)
    assert isinstance(body, dict)
    return body


async def test_every_request_keeps_to_jiras_own_document() -> None:
    contract = Contract(vendor_document("jira"), "https://x.example")
    found = {"issues": [{"id": "1", "key": "INC-1", "fields": {"labels": [LABEL]}}], "isLast": True}
    client, bench = client_of(
        site(
            **{
                "POST jql": (200, found),
                "GET comment": (200, {"comments": [], "total": 0}),
                "GET remotelink": (200, []),
                "GET myself": (200, {"accountId": "5b10", "displayName": "Ann"}),
            }
        )
    )
    await client.whoami()
    await client.file(DRAFT, bench.attempt())
    await client.comment("INC-24", ["x"], MARKER, bench.attempt())
    await client.link("INC-24", "zendesk-1", "Ticket 1", "https://z.example/1", True, bench.attempt())
    await client.find(MARKER)
    await client.has_comment("INC-24", MARKER)
    await client.links("INC-24")
    seen = set()
    for request in bench.requests:
        if not request.url.path.endswith("/issuetypes"):  # Jira has this call, the cut-down document does not
            contract.check(httpx.Response(200, request=request), reply_too=False)
            seen.add((request.method, request.url.path.rsplit("/", 1)[1]))
    assert seen == {
        ("GET", "myself"),
        ("GET", "10"),
        ("POST", "issue"),
        ("POST", "comment"),
        ("POST", "remotelink"),
        ("POST", "jql"),
        ("GET", "comment"),
        ("GET", "remotelink"),
    }


async def test_a_ticket_carries_its_marker_as_label_property_and_text() -> None:
    client, bench = client_of(site())
    result = await client.file(DRAFT, bench.attempt())
    assert (result.outcome, result.ref) == (AttemptOutcome.APPLIED, "INC-24")
    body = sent(bench)
    assert body["fields"]["labels"] == ["allclear", LABEL]
    assert body["properties"] == [{"key": "allclear", "value": {"key": MARKER}}]
    text = text_of(body["fields"]["description"])
    for words in ("harbor", "2026-11-01 05:00 UTC", "Nothing was sent", "Autumn gala", MARKER):
        assert words in text
    assert body["fields"]["priority"] == {"name": "highest"}
    assert body["fields"]["issuetype"] == {"id": "10"}


async def test_the_create_form_is_read_once_over_its_pages() -> None:
    client, bench = client_of(site())
    for _ in range(3):
        await client.file(DRAFT, bench.attempt())
    assert len([r for r in bench.requests if "createmeta" in r.url.path]) == 3
    assert len([r for r in bench.requests if r.url.path.endswith("/issue")]) == 3


NEEDED = [*FORM, {"fieldId": "customfield_1", "name": "Region", "required": True, "hasDefaultValue": False}]


async def test_a_required_field_that_is_not_set_is_named_and_nothing_is_sent() -> None:
    client, bench = client_of(site(NEEDED))
    result = await client.file(DRAFT, bench.attempt())
    assert result.outcome is AttemptOutcome.REJECTED
    assert "Region (customfield_1)" in result.detail
    assert [r for r in bench.requests if r.url.path.endswith("/issue")] == []


async def test_a_required_field_from_the_settings_is_sent() -> None:
    client, bench = client_of(site(NEEDED), extra_fields={"customfield_1": {"value": "EU"}})
    assert (await client.file(DRAFT, bench.attempt())).outcome is AttemptOutcome.APPLIED
    assert sent(bench)["fields"]["customfield_1"] == {"value": "EU"}


async def test_the_setting_that_a_refused_project_is_told_to_set_is_one(tmp_path: Path) -> None:
    """From the file to the ticket: what `jira.extra_fields` says reaches the request."""
    async with night(tmp_path, stage(), desks=True) as n:
        jira = n.estate.state("jira")
        jira.add_custom_field("customfield_1", "Region", required=True)
        async with n.open() as systems:
            assert systems.tickets is not None
            attempt = OpenAttempt(1, "A" * 16, 1, 1, systems.clock.monotonic() + 9, 9.0)
            refused = await systems.tickets.file(DRAFT, attempt)
            assert refused.outcome is AttemptOutcome.REJECTED
            assert "jira.extra_fields" in refused.detail
        (told,) = [r for r in (await check_up(load_settings(n.config), ()))["checks"] if r["check"] == "jira"]
        assert not told["ok"]
        assert "requires Region" in told["detail"]
        assert "jira.extra_fields" in told["detail"]
        text = n.config.read_text()
        n.config.write_text(text.replace("[jira]\n", '[jira]\nextra_fields = { customfield_1 = "EU" }\n'))
        async with n.open() as systems:
            assert systems.tickets is not None
            attempt = OpenAttempt(2, "A" * 16, 1, 1, systems.clock.monotonic() + 9, 9.0)
            assert (await systems.tickets.file(DRAFT, attempt)).outcome is AttemptOutcome.APPLIED
        [issue] = jira.issues.values()
        assert "EU" in str(issue)


async def test_a_form_that_cannot_be_read_means_that_nothing_was_sent() -> None:
    client, bench = client_of(site(**{"GET issuetypes": (401, {"errorMessages": ["no"]})}))
    result = await client.file(DRAFT, bench.attempt())
    assert result.outcome is AttemptOutcome.NOT_APPLIED


async def test_an_unknown_issue_type_says_which_there_are() -> None:
    client, _ = client_of(site(**{"GET issuetypes": (200, {"issueTypes": [{"id": "1", "name": "Bug"}], "total": 1})}))
    with pytest.raises(BadReply, match="no issue type 'incident' in INC: Bug"):
        await client._create_form()


# ---- finding ---------------------------------------------------------------------------------------------------------


async def test_tickets_are_found_by_label_over_all_pages_and_only_those_that_carry_it() -> None:
    def answer(request: httpx.Request) -> tuple[int, Any]:
        token = json.loads(request.content).get("nextPageToken")
        rows = [
            {"id": "1", "key": "INC-1", "fields": {"labels": [LABEL]}},
            {"id": "2", "key": "INC-2", "fields": {"labels": []}},
        ]
        if token:
            return 200, {"issues": [{"id": "3", "key": "INC-3", "fields": {"labels": ["x", LABEL]}}], "isLast": True}
        return 200, {"issues": rows, "isLast": False, "nextPageToken": "n1"}

    client, bench = client_of(site(**{"POST jql": answer}))
    found = await client.find(MARKER)
    assert [(t.key, t.url) for t in found] == [
        ("INC-1", "https://x.example/browse/INC-1"),
        ("INC-3", "https://x.example/browse/INC-3"),
    ]
    assert json.loads(bench.requests[0].content)["jql"] == f'labels = "{LABEL}" ORDER BY created ASC'


async def test_a_search_that_runs_in_a_circle_is_not_believed() -> None:
    client, _ = client_of(site(**{"POST jql": (200, {"issues": [], "isLast": False, "nextPageToken": "n1"})}))
    with pytest.raises(BadReply, match="circle"):
        await client.find(MARKER)


@pytest.mark.parametrize("text", HOSTILE[:50])
def test_a_marker_becomes_a_label_that_can_stand_in_jql(text: str) -> None:
    assert set(label_of(text)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


async def test_a_comment_that_only_quotes_the_marker_is_not_ours() -> None:
    body = document(paragraph_nodes([f"see {MARKER}"]))
    comments = {"comments": [{"id": "5", "body": body}], "total": 1}
    for status, value, ours in (
        (404, {"errorMessages": []}, False),
        (200, {"key": "allclear", "value": {"key": MARKER}}, True),
    ):
        client, _ = client_of(site(**{"GET comment": (200, comments), "GET allclear": (status, value)}))
        assert await client.has_comment("INC-1", MARKER) is ours


@pytest.mark.parametrize(
    ("paragraphs", "author", "ours"),
    [
        (["we are looking", MARKER], "5b10", True),
        (["we are looking", MARKER], "somebody", False),
        (["we are looking", MARKER], None, False),
        ([MARKER, "was what it said"], "5b10", False),
    ],
)
async def test_where_comments_show_no_property_ours_is_signed_and_written_by_us(
    paragraphs: list[str], author: str | None, ours: bool
) -> None:
    comment = {"id": "5", "body": document(paragraph_nodes(paragraphs)), "author": author and {"accountId": author}}
    me = (200, {"accountId": "5b10", "displayName": "Recovery"})
    comments = (200, {"comments": [comment], "total": 1})
    remote = site(**{"GET comment": comments, "GET allclear": (404, {}), "GET myself": me})
    client, _ = client_of(remote)
    assert await client.has_comment("INC-1", MARKER) is ours


@pytest.mark.parametrize("status", [404, 410, 400])
async def test_a_jira_that_does_not_show_its_create_form_is_filed_to_by_the_types_name(status: int) -> None:
    """Jira checks the fields itself; a ticket must not be lost because the form could not be looked at."""
    client, bench = client_of(site(**{"GET issuetypes": (status, {"errorMessages": ["no"]})}))
    result = await client.file(DRAFT, bench.attempt())
    assert (result.outcome, result.ref) == (AttemptOutcome.APPLIED, "INC-24")
    assert sent(bench)["fields"]["issuetype"] == {"name": "incident"}


async def test_a_single_link_is_read_like_a_list_of_one() -> None:
    link = {"id": 1, "globalId": "g", "object": {"url": "https://z.example/1", "title": "t"}}
    client, _ = client_of(site(**{"GET remotelink": (200, link)}))
    assert await client.links("INC-1") == {"g": None}


async def test_a_wrong_token_is_an_authentication_failure() -> None:
    client, _ = client_of(site(**{"GET myself": (401, {"errorMessages": ["x"]})}))
    with pytest.raises(AuthFailed):
        await client.whoami()


async def test_a_link_is_sent_whole_and_only_to_the_web() -> None:
    client, bench = client_of(site())
    await client.link("INC-1", "g", "Ticket", "https://z.example/1", True, bench.attempt())
    assert sent(bench)["object"] == {"url": "https://z.example/1", "title": "Ticket", "status": {"resolved": True}}
    for url in ("javascript:alert(1)", "file:///etc/passwd", ""):
        assert (await client.link("INC-1", "g", "t", url, True, bench.attempt())).outcome is AttemptOutcome.REJECTED
    assert len(bench.requests) == 1


def test_a_scoped_token_goes_as_bearer_and_a_personal_one_as_basic() -> None:
    assert JiraClient.credentials("", "tok")["Authorization"] == "Bearer tok"
    assert JiraClient.credentials("a@b", "tok")["Authorization"].startswith("Basic ")


# ---- hostile text ----------------------------------------------------------------------------------------------------

ALLOWED = {
    "doc": {"type", "version", "content"},
    "paragraph": {"type", "content"},
    "heading": {"type", "attrs", "content"},
    "bulletList": {"type", "content"},
    "listItem": {"type", "content"},
    "text": {"type", "text"},
}


def nodes_of(node: Any) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("content", ()):
        yield from nodes_of(child)


def check(doc: dict[str, Any]) -> None:
    """Text nodes and their holders only, no marks, no empty text, no control character, short enough for Jira."""
    for node in nodes_of(doc):
        assert set(node) == ALLOWED[node["type"]]
        if node["type"] == "heading":
            assert node["attrs"] == {"level": 3}
        if node["type"] == "text":
            assert node["text"].strip()
            assert all(c.isprintable() or c in "\u200b\ufeff\u200d\u00ad" for c in node["text"]), repr(node["text"])
            assert not set(node["text"]) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068")
    assert len(text_of(doc)) < 32_767
    json.dumps(doc).encode("ascii")


def test_600_hostile_texts_cause_no_node_no_mark_and_no_control_character() -> None:
    assert len(HOSTILE) == 600
    for text in HOSTILE:
        check(
            description_of(
                TicketDraft(MARKER, text, (text,), text[:50], (text,), (text, text), ((text, (text,)),), text[:30])
            )
        )
        check(document(paragraph_nodes([text, "x"])))


@given(st.lists(st.text(max_size=80), max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_text_becomes_text(lines: list[str]) -> None:
    check(description_of(TicketDraft(MARKER, "s", tuple(lines), "x", tuple(lines), tuple(lines))))


def test_a_ticket_with_too_much_text_says_that_something_was_left_out() -> None:
    long = tuple(f"{n} " + "y" * 1500 for n in range(100))
    doc = description_of(TicketDraft(MARKER, "s", long, "x", (), ()))
    text = text_of(doc)
    assert len(text) < DOCUMENT_LIMIT + 1000
    assert "did not fit" in text
    assert MARKER in text
