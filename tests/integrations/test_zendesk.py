"""Customer tickets: one per report however often we try, comments written once, the SLA clock's facts read rightly."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from desk_remotes import MARKER, PEOPLE, TICKET, reply, ticket_draft, zendesk_client, zendesk_remote
from twins import Twin, served

from integrations.oauth import OAuth, TokenFile
from integrations.zendesk import Zendesk
from recovery.errors import AuthFailed, BadReply, NotFound
from recovery.model import AttemptOutcome
from sandbox.world import World
from sandbox.zendesk import ZendeskState, build_app

APPLIED, UNKNOWN = AttemptOutcome.APPLIED, AttemptOutcome.UNKNOWN
NOT_APPLIED, REJECTED = AttemptOutcome.NOT_APPLIED, AttemptOutcome.REJECTED


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[tuple[Zendesk, Twin, ZendeskState]]:
    world = World(tmp_path / "estate")
    state = ZendeskState("client", "canary-client-secret", scope="read tickets:write")
    async with served(world, "zendesk", build_app(world, state)) as twin:
        oauth = OAuth(
            transport=twin.transport(headers={}, keep=None),
            tokens=TokenFile(tmp_path / "pair.json"),
            clock=twin.clock,
            client_id="client",
            client_secret="canary-client-secret",
            scope="read tickets:write",
        )
        yield Zendesk(twin.transport(headers=oauth.headers), site="https://x.zendesk.com", oauth=oauth), twin, state


# ---- against the twin, over a real socket --------------------------------------------------------------------------


async def test_signs_in_with_client_credentials_and_says_who_it_is(desk: tuple[Zendesk, Twin, ZendeskState]) -> None:
    assert await desk[0].whoami() == "allclear@twin.example"


@pytest.mark.requirement("R002.6")
@pytest.mark.parametrize(
    "kind", ["500-after", "502-after", "reset-after", "truncated", "html", "hang-after", "empty-ok"]
)
async def test_a_create_whose_answer_is_lost_is_found_and_a_repeat_makes_no_second_ticket(
    desk: tuple[Zendesk, Twin, ZendeskState], kind: str
) -> None:
    zendesk, twin, _ = desk
    twin.fault("ticket_create", kind)
    first = await zendesk.create(ticket_draft(), twin.attempt(deadline_seconds=0.4))
    assert first.outcome is UNKNOWN
    [ticket] = await zendesk.find(MARKER)
    again = await zendesk.create(ticket_draft(), twin.attempt(2))
    assert (again.outcome, again.ref) == (APPLIED, ticket.ref)
    assert len(twin.events("ticket_created")) == 1


async def test_a_create_that_never_arrived_leaves_nothing_to_find(desk: tuple[Zendesk, Twin, ZendeskState]) -> None:
    zendesk, twin, _ = desk
    twin.fault("ticket_create", "500")
    assert (await zendesk.create(ticket_draft(), twin.attempt())).outcome is UNKNOWN
    assert await zendesk.find(MARKER) == ()


async def test_a_repeat_with_other_words_adopts_the_ticket_that_is_there(
    desk: tuple[Zendesk, Twin, ZendeskState],
) -> None:
    zendesk, twin, _ = desk
    first = await zendesk.create(ticket_draft("first words"), twin.attempt())
    second = await zendesk.create(ticket_draft("second words"), twin.attempt(2))
    assert (second.outcome, second.ref) == (APPLIED, first.ref)
    assert len(twin.events("ticket_created")) == 1


@pytest.mark.requirement("R002.33")
async def test_the_ticket_has_the_customers_words_and_no_key_of_ours_in_them(
    desk: tuple[Zendesk, Twin, ZendeskState],
) -> None:
    zendesk, twin, _ = desk
    await zendesk.create(ticket_draft("Your mail is late."), twin.attempt())
    [event] = twin.events("ticket_created")
    assert (event["external_id"], event["text"], event["public"]) == (MARKER, "Your mail is late.", True)
    assert "RK-" not in event["text"] + event["subject"]
    [ticket] = await zendesk.find(MARKER)
    assert (ticket.requester_email, ticket.priority, ticket.tags) == ("ann@example.org", "urgent", ("outage",))


async def test_a_comment_whose_answer_is_lost_is_not_written_again(desk: tuple[Zendesk, Twin, ZendeskState]) -> None:
    zendesk, twin, state = desk
    ref = str(state.add_ticket(twin.world, "help", "it broke", "ann@example.org"))
    twin.fault("ticket_update", "502-after")
    write = lambda n: zendesk.comment(ref, "We are looking.", public=True, marker=MARKER, attempt=twin.attempt(n))  # noqa: E731
    assert not await zendesk.has_comment(ref, MARKER)
    assert (await write(1)).outcome is UNKNOWN
    assert await zendesk.has_comment(ref, MARKER)
    assert (await write(2)).outcome is APPLIED
    assert len(twin.events("ticket_updated")) == 1


async def test_a_comment_collides_with_a_change_made_meanwhile_and_is_not_applied(
    bench: Callable[..., Any],
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return reply(409, {"error": "UpdateConflict"}) if request.method == "PUT" else zendesk_remote(request)

    zendesk, one = zendesk_client(bench, answer)
    result = await zendesk.comment("7", "text", public=True, marker=MARKER, attempt=one.attempt())
    assert result.outcome is NOT_APPLIED


@pytest.mark.requirement("R003.46")
async def test_comments_tell_customer_agent_and_machine_apart(desk: tuple[Zendesk, Twin, ZendeskState]) -> None:
    zendesk, twin, state = desk
    ref = str(state.add_ticket(twin.world, "help", "it broke", "ann@example.org"))
    state.add_user("Bob", "bob@vendor.example", role="agent")
    state.add_comment(twin.world, int(ref), "I am on it", email="bob@vendor.example")
    state.add_comment(twin.world, int(ref), "note", email="bob@vendor.example", public=False)
    await zendesk.comment(ref, "Update", public=True, marker=MARKER, attempt=twin.attempt())
    seen = [(c.author, c.public, c.text, c.marker) for c in await zendesk.comments(ref)]
    assert seen == [
        ("customer", True, "it broke", ""),
        ("agent", True, "I am on it", ""),
        ("agent", False, "note", ""),
        ("machine", True, "Update", MARKER),
    ]


@pytest.mark.requirement("R002.13")
async def test_a_bulk_update_reports_each_ticket(desk: tuple[Zendesk, Twin, ZendeskState]) -> None:
    zendesk, twin, state = desk
    refs = [str(state.add_ticket(twin.world, "help", "it broke", f"c{n}@example.org")) for n in range(3)]
    state.tickets[int(refs[1])].fields["status"] = "closed"
    result = await zendesk.update_many(
        refs, "Fixed.", public=True, marker=MARKER, attempt=twin.attempt(), priority="high", add_tags=["resolved"]
    )
    assert result.outcome is APPLIED
    assert not (await zendesk.job(result.ref)).finished
    twin.world.advance(2)
    job = await zendesk.job(result.ref)
    assert job.finished
    assert job.results == {refs[0]: True, refs[1]: False, refs[2]: True}
    assert [await zendesk.has_comment(ref, MARKER) for ref in refs] == [True, False, True]
    assert (await zendesk.ticket(refs[0])).tags == ("resolved",)


@pytest.mark.parametrize("refs", [[], [str(n) for n in range(101)], ["1,2"], ["all"]])
async def test_a_bulk_update_of_nothing_or_too_much_is_refused_unsent(
    desk: tuple[Zendesk, Twin, ZendeskState], refs: list[str]
) -> None:
    zendesk, twin, _ = desk
    result = await zendesk.update_many(refs, "text", public=True, marker=MARKER, attempt=twin.attempt())
    assert (result.outcome, twin.events("job_queued")) == (REJECTED, [])


async def test_long_lists_are_read_to_their_end(desk: tuple[Zendesk, Twin, ZendeskState]) -> None:
    zendesk, twin, state = desk
    for _ in range(205):
        state.add_ticket(twin.world, "help", "it broke", "ann@example.org", external_id=MARKER)
    assert len({ticket.ref for ticket in await zendesk.find(MARKER)}) == 205


async def test_a_ticket_that_is_not_there_is_not_found(desk: tuple[Zendesk, Twin, ZendeskState]) -> None:
    with pytest.raises(NotFound):
        await desk[0].ticket("999")


async def test_no_token_reaches_the_evidence(desk: tuple[Zendesk, Twin, ZendeskState]) -> None:
    zendesk, twin, state = desk
    await zendesk.create(ticket_draft(), twin.attempt())
    kept = repr(twin.shelf.exchanges)
    assert not [token for token in [*state.tokens, *state.pairs, "canary"] if token in kept]


# ---- what only a scripted remote can do ----------------------------------------------------------------------------


async def test_a_ticket_with_another_external_id_is_never_taken_for_ours(bench: Callable[..., Any]) -> None:
    others = [TICKET | {"id": n, "external_id": ref} for n, ref in enumerate((MARKER.lower(), MARKER + "2", "", None))]

    def answer(_: httpx.Request) -> httpx.Response:
        return reply(200, {"tickets": others, "users": PEOPLE, "meta": {"has_more": False}})

    zendesk, _ = zendesk_client(bench, answer)
    assert await zendesk.find(MARKER) == ()


async def test_a_list_that_repeats_its_cursor_is_a_bad_reply_and_not_an_endless_loop(bench: Callable[..., Any]) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return reply(200, {"tickets": [TICKET], "meta": {"has_more": True, "after_cursor": "same"}})

    zendesk, one = zendesk_client(bench, answer)
    with pytest.raises(BadReply):
        await zendesk.find(MARKER)
    assert len(one.requests) == 2


async def test_the_anonymous_user_is_a_failed_sign_in(bench: Callable[..., Any]) -> None:
    zendesk, _ = zendesk_client(bench, lambda _: reply(200, {"user": {"id": None, "name": "Anonymous user"}}))
    with pytest.raises(AuthFailed):
        await zendesk.whoami()


async def test_a_key_in_use_whose_ticket_does_not_show_stays_unknown(bench: Callable[..., Any]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return reply(409, {"error": "IdempotentRequestInProgress"})
        return reply(200, {"tickets": [], "meta": {"has_more": False}})

    zendesk, one = zendesk_client(bench, answer)
    assert (await zendesk.create(ticket_draft(), one.attempt())).outcome is UNKNOWN


async def test_a_comment_is_not_sent_when_its_ticket_cannot_be_read(bench: Callable[..., Any]) -> None:
    zendesk, one = zendesk_client(bench, lambda _: reply(404, {"error": "RecordNotFound"}))
    result = await zendesk.comment("7", "text", public=True, marker=MARKER, attempt=one.attempt())
    assert result.outcome is NOT_APPLIED
    assert {request.method for request in one.requests} == {"GET"}


async def test_the_idempotency_key_is_the_marker(bench: Callable[..., Any]) -> None:
    zendesk, one = zendesk_client(bench, zendesk_remote)
    await zendesk.create(ticket_draft(), one.attempt())
    [request] = one.requests
    assert request.headers["Idempotency-Key"] == json.loads(request.content)["ticket"]["external_id"] == MARKER


async def test_an_id_cannot_walk_the_path(bench: Callable[..., Any]) -> None:
    zendesk, one = zendesk_client(bench, zendesk_remote)
    with pytest.raises(NotFound):
        await zendesk.ticket("7/../../users/me")
    assert one.requests[0].url.raw_path.startswith(b"/api/v2/tickets/7%2F..%2F..%2Fusers%2Fme?")


async def test_a_list_that_goes_on_in_another_way_than_was_asked_is_a_bad_reply(bench: Callable[..., Any]) -> None:
    """Audits that are not all read could hide our own comment, which would then be written twice."""
    body = {"audits": [], "next_page": "https://x.zendesk.com/api/v2/tickets/7/audits.json?page=2"}
    client, _ = zendesk_client(bench, lambda _: httpx.Response(200, json=body))
    with pytest.raises(BadReply, match="goes on"):
        await client.has_comment("7", MARKER)


class OwnWay:
    """A desk that speaks Zendesk's API and keeps no audits (or none with metadata), nor brings people along."""

    def __init__(self, audits: httpx.Response) -> None:
        self.audits = audits
        self.comments: list[dict[str, Any]] = [
            {"id": 1, "author_id": 11, "public": True, "body": "It was down.", "created_at": TICKET["created_at"]}
        ]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/audits"):
            return self.audits
        if request.url.path.endswith("/comments"):
            return reply(200, {"comments": self.comments})
        if request.method == "PUT":
            body = json.loads(request.content)["ticket"]["comment"]["body"]
            row = {"id": 2, "author_id": 12, "public": True, "body": body, "created_at": TICKET["created_at"]}
            self.comments.append(row)
            return reply(502, {"error": "bad gateway"})
        return zendesk_remote(request)


@pytest.mark.parametrize(
    "audits",
    [
        reply(404, {"error": "InvalidEndpoint"}),
        reply(200, {"audits": []}),
        reply(200, {"audits": [{"id": 5, "events": []}]}),
    ],
    ids=["not shown", "none", "without metadata"],
)
async def test_where_no_marker_is_kept_a_comment_is_known_again_by_its_words(
    bench: Callable[..., Any], audits: httpx.Response
) -> None:
    desk = OwnWay(audits)
    client, one = zendesk_client(bench, desk)

    async def say(text: str) -> AttemptOutcome:
        result = await client.comment("7", text, public=True, marker=MARKER, attempt=one.attempt())
        return result.outcome

    assert await say("It was down.") is UNKNOWN, "the customer's own words are not ours"
    assert await say("It was  down.\n") is APPLIED
    assert await say("It is up again.") is UNKNOWN
    assert [row["body"] for row in desk.comments[1:]] == ["It was down.", "It is up again."]
    assert await client.has_comment("7", MARKER, "It is up again.")
    with pytest.raises(BadReply, match="no metadata"):
        await client.has_comment("7", MARKER)


async def test_the_requester_is_the_customer_where_a_list_brings_no_people_along(bench: Callable[..., Any]) -> None:
    client, _ = zendesk_client(bench, OwnWay(reply(200, {"audits": []})))
    assert [(c.author, c.text) for c in await client.comments("7")] == [("customer", "It was down.")]
