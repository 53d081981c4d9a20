"""ClickUp, Pendo, Statuspage and SMTP against their twins over real sockets: a lost answer is settled by looking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from desk_remotes import MARKER, TOKENS, status_draft, task_draft
from remote_bench import WallClock
from twins import Twin, served

from integrations.clickup import ClickUp
from integrations.pendo import Pendo
from integrations.smtp import Smtp
from integrations.statuspage import Statuspage
from recovery.desk.ports import BoardTaskDraft, MailDraft, StatusDraft
from recovery.errors import AuthFailed
from recovery.model import AttemptOutcome, OpenAttempt
from sandbox.clickup import ClickUpState
from sandbox.clickup import build_app as clickup_app
from sandbox.pendo import PendoState
from sandbox.pendo import build_app as pendo_app
from sandbox.smtp import SmtpServer, SmtpState
from sandbox.statuspage import StatuspageState
from sandbox.statuspage import build_app as statuspage_app
from sandbox.world import World

APPLIED, UNKNOWN = AttemptOutcome.APPLIED, AttemptOutcome.UNKNOWN
NOT_APPLIED, REJECTED = AttemptOutcome.NOT_APPLIED, AttemptOutcome.REJECTED
LOST = ["500-after", "502-after", "reset-after", "truncated", "html", "hang-after", "empty-ok"]
NEVER_DONE = ["500", "503", "reset-before", "html-before", "redirect"]


def board_of(twin: Twin, state: ClickUpState) -> ClickUp:
    return ClickUp(twin.transport("/api/v2", headers=ClickUp.credentials(state.token)), key_field="field-key")


def page_of(twin: Twin, state: StatuspageState) -> Statuspage:
    return Statuspage(twin.transport("/v1", headers=Statuspage.credentials(state.key)), page=state.page)


def on_list(status: str = "to do") -> BoardTaskDraft:
    draft = task_draft()
    return BoardTaskDraft("901", MARKER, draft.title, draft.text, 2, status, draft.due_at, draft.tags)


def on_page(status: Any = "investigating", body: str = "We are looking.") -> StatusDraft:
    return StatusDraft(MARKER, "Service Status Update", status, body, ("comp-mail",), notify=False)


@pytest.mark.requirement("R003.6")
@pytest.mark.parametrize("kind", LOST)
async def test_a_task_whose_answer_is_lost_is_found_by_its_key(tmp_path: Path, kind: str) -> None:
    world, state = World(tmp_path), ClickUpState("pk_canary_1")
    async with served(world, "clickup", clickup_app(world, state)) as twin:
        board = board_of(twin, state)
        assert await board.find("901", MARKER) == ()
        twin.fault("task_create", kind)
        assert (await board.create(on_list(), twin.attempt(deadline_seconds=0.4))).outcome is UNKNOWN
        [task] = await board.find("901", MARKER)
        assert (task.marker, task.title) == (MARKER, "Mail did not go out")
        assert len(twin.events("task_created")) == 1


@pytest.mark.parametrize("kind", NEVER_DONE)
async def test_a_task_that_was_never_created_is_not_found(tmp_path: Path, kind: str) -> None:
    world, state = World(tmp_path), ClickUpState("pk_canary_1")
    async with served(world, "clickup", clickup_app(world, state)) as twin:
        board = board_of(twin, state)
        twin.fault("task_create", kind)
        assert (await board.create(on_list(), twin.attempt())).outcome is UNKNOWN
        assert await board.find("901", MARKER) == ()


@pytest.mark.requirement("R003.12")
async def test_a_task_goes_from_open_to_closed_and_stays_findable(tmp_path: Path) -> None:
    world, state = World(tmp_path), ClickUpState("pk_canary_1")
    async with served(world, "clickup", clickup_app(world, state)) as twin:
        board = board_of(twin, state)
        await board.whoami()
        made = await board.create(on_list(), twin.attempt())
        changed = await board.update(made.ref, on_list("complete"), twin.attempt())
        assert (changed.outcome, changed.ref) == (APPLIED, made.ref)
        task = await board.task(made.ref)
        assert (task.status, task.closed, task.marker) == ("complete", True, MARKER)
        assert [found.ref for found in await board.find("901", MARKER)] == [made.ref]


@pytest.mark.requirement("R002.7")
@pytest.mark.parametrize("kind", LOST)
async def test_a_public_incident_whose_answer_is_lost_is_found_by_its_marker(tmp_path: Path, kind: str) -> None:
    world, state = World(tmp_path), StatuspageState(TOKENS["statuspage"])
    async with served(world, "statuspage", statuspage_app(world, state)) as twin:
        page = page_of(twin, state)
        twin.fault("incident_create", kind)
        assert (await page.create(on_page(), twin.attempt(deadline_seconds=0.4))).outcome is UNKNOWN
        [incident] = await page.find(MARKER)
        assert [(u.status, u.body) for u in incident.updates] == [("investigating", "We are looking.")]
        assert len(twin.events("incident_created")) == 1


async def test_a_public_incident_is_updated_resolved_and_still_found(tmp_path: Path) -> None:
    world, state = World(tmp_path), StatuspageState(TOKENS["statuspage"])
    async with served(world, "statuspage", statuspage_app(world, state)) as twin:
        page = page_of(twin, state)
        await page.whoami()
        ref = (await page.create(on_page(), twin.attempt())).ref
        twin.fault("incident_update", "reset-after")
        assert (await page.update(ref, on_page("identified", "Found it."), twin.attempt())).outcome is UNKNOWN
        assert [u.body for u in (await page.incident(ref)).updates][-1] == "Found it."
        assert (await page.update(ref, on_page("resolved", "Done."), twin.attempt())).outcome is APPLIED
        assert [(found.ref, found.status) for found in await page.find(MARKER)] == [(ref, "resolved")]


async def test_the_vendors_refusal_of_a_public_incident_is_rejected(tmp_path: Path) -> None:
    world, state = World(tmp_path), StatuspageState(TOKENS["statuspage"])
    async with served(world, "statuspage", statuspage_app(world, state)) as twin:
        result = await page_of(twin, state).create(status_draft(), twin.attempt())  # its component is not on this page
        assert (result.outcome, twin.events("incident_created")) == (REJECTED, [])


@pytest.mark.requirement("R002.30")
@pytest.mark.parametrize("kind", LOST)
async def test_a_guide_whose_answer_is_lost_can_be_switched_again_to_the_same_end(tmp_path: Path, kind: str) -> None:
    world = World(tmp_path)
    state = PendoState(world, TOKENS["pendo"])
    async with served(world, "pendo", pendo_app(world, state)) as twin:
        guides = Pendo(twin.transport(headers=Pendo.credentials(state.key)))
        twin.fault("guide_state", kind)
        await guides.set_guide_state("guide-resolved", "public", twin.attempt(deadline_seconds=0.4))
        assert (await guides.guide_state("guide-resolved")).shown
        again = await guides.set_guide_state("guide-resolved", "public", twin.attempt(2))
        assert again.outcome is APPLIED


@pytest.mark.requirement("R002.26")
async def test_a_guide_that_says_it_is_down_but_is_not_is_unknown(tmp_path: Path) -> None:
    world = World(tmp_path)
    state = PendoState(world, TOKENS["pendo"])
    async with served(world, "pendo", pendo_app(world, state)) as twin:
        guides = Pendo(twin.transport(headers=Pendo.credentials(state.key)))
        await guides.set_guide_state("guide-resolved", "public", twin.attempt())
        twin.fault("guide_state", "no-effect-ok")
        result = await guides.set_guide_state("guide-resolved", "disabled", twin.attempt())
        assert result.outcome is UNKNOWN


async def test_a_wrong_pendo_key_is_a_failed_sign_in(tmp_path: Path) -> None:
    world = World(tmp_path)
    async with served(world, "pendo", pendo_app(world, PendoState(world, TOKENS["pendo"]))) as twin:
        with pytest.raises(AuthFailed):
            await Pendo(twin.transport(headers=Pendo.credentials("canary-wrong-key"))).whoami()


def mail_attempt() -> OpenAttempt:
    return OpenAttempt(1, "A" * 16, 1, 1, WallClock().monotonic() + 30, 5.0)


@pytest.mark.parametrize(
    ("knob", "code", "outcome"),
    [("connect", 421, NOT_APPLIED), ("mail", 550, REJECTED), ("rcpt", 451, NOT_APPLIED), ("message", 554, REJECTED)],
)
async def test_the_mail_twins_refusals_end_in_their_class(
    tmp_path: Path, knob: str, code: int, outcome: AttemptOutcome
) -> None:
    world, state = World(tmp_path), SmtpState()
    state.knobs.refuse[knob] = code
    server = SmtpServer(world, state)
    host, port = await server.start()
    mailer = Smtp(host=host, port=port, sender="recovery@vendor.example", clock=WallClock(), security="none")
    try:
        result = await mailer.send(MailDraft("KEY", ("p1@client.example",), "P1", "text"), mail_attempt())
    finally:
        await server.close()
        world.close()
    assert (result.outcome, state.mails) == (outcome, [])


async def test_a_mail_whose_answer_is_lost_is_unknown_and_a_repeat_has_the_same_message_id(tmp_path: Path) -> None:
    world, state = World(tmp_path), SmtpState(user="recovery", password="canary-password")
    server = SmtpServer(world, state)
    host, port = await server.start()
    mailer = Smtp(
        host=host,
        port=port,
        sender="recovery@vendor.example",
        clock=WallClock(),
        security="none",
        user="recovery",
        password="canary-password",
    )
    draft = MailDraft("ABCDEFGHIJKLMNOP", ("p1@client.example",), "P1", "text", reply_to="help@vendor.example")
    try:
        await mailer.ping()
        state.knobs.lose_answer = True
        first = await mailer.send(draft, mail_attempt())
        state.knobs.lose_answer = False
        second = await mailer.send(draft, mail_attempt())
    finally:
        await server.close()
        world.close()
    assert (first.outcome, second.outcome) == (UNKNOWN, APPLIED)
    assert {mail.message_id for mail in state.mails} == {second.ref} == {"ABCDEFGHIJKLMNOP@vendor.example"}
    assert state.mails[0].message["Reply-To"] == "help@vendor.example"
