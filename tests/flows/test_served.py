"""What the flows call, without Prefect: approvals of a part, rejections and expiry as clean ends, pages to act from."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from recovery.audit import AccountAudit
from recovery.errors import RefusedError, UsageError
from recovery.model import Question
from recovery.served.audits import LookBack, record
from recovery.served.desk import serve_round
from recovery.served.desk_forms import RoundForm
from recovery.served.forms import AnswerForm, ApprovalForm, RecoverForm, RejectionForm, WindowForm
from recovery.served.pages import AWAITING, MOST_STEPS, Page, Step, answering
from recovery.served.recovery import answer_held, approve_plan, reading, reject_plan, run_recorded_plan
from recovery.terminal.rehearsal_desk import DESK_FOLDER
from tests.recovery.stage import Night, night, stage
from tests.recovery.test_guards import one, three


def window(n: Night) -> WindowForm:
    return WindowForm.model_validate({**n.estate.info["window"], "config": n.config})


async def planned(n: Night) -> Page:
    async with reading(window(n)) as work:
        return await work.plan([await work.account(a) for a in work.accounts], None)


def consent(n: Night, page: Page, recipients: int, **more: object) -> ApprovalForm:
    known = {"plan": page.digest, "approved_by": "Dana Reyes", "caveat_read": True, "config": n.config}
    return ApprovalForm.model_validate({**known, "recipients": recipients, **more})


def rejection(n: Night, page: Page) -> RejectionForm:
    return RejectionForm(plan=page.digest, rejected_by="Sam Okafor", reason="*the gala* is cancelled", config=n.config)


async def run(n: Night, page: Page, starter: str = "test") -> Page:
    how = RecoverForm(plan=page.digest, dry_run=False, started_by=starter)
    return await run_recorded_plan(window(n), how)


@pytest.mark.requirement("R001.13")
async def test_a_rejected_plan_ends_its_run_cleanly_and_says_who_would_not_have_it(tmp_path: Path) -> None:
    async with night(tmp_path, stage(one)) as n:
        page = await planned(n)
        await approve_plan(consent(n, page, 350))
        assert await reject_plan(rejection(n, page)) == f"Sam Okafor rejects plan {page.digest[:12]}"
        ended = await run(n, page)
        assert (ended.state, ended.exit_code, ended.steps) == ("Rejected", 3, ())
        assert ended.title == f"Plan {page.digest[:12]} was rejected; this run did nothing"
        assert "Rejected by Sam Okafor: &#42;the gala&#42; is cancelled." in ended.text
        with pytest.raises(RefusedError, match="rejected"):
            await approve_plan(consent(n, page, 350))
        assert n.writes() == []


async def test_an_expired_plan_ends_its_run_cleanly_without_holding_anything(tmp_path: Path) -> None:
    async with night(tmp_path, stage(one), top="plan_expires_minutes = 0.03") as n:
        page = await planned(n)
        await approve_plan(consent(n, page, 350))
        await asyncio.sleep(1.9)
        ended = await run(n, page)
        assert (ended.state, ended.exit_code) == ("Expired", 3)
        async with n.open() as systems:
            assert await systems.ledger.items() == ()
        assert n.writes() == []


async def test_a_dry_run_of_a_plan_that_is_over_says_so_and_leads_to_no_approval(tmp_path: Path) -> None:
    """It showed "Awaiting approval" of a plan that takes none any more."""
    async with night(tmp_path, stage(one)) as n:
        page = await planned(n)
        await reject_plan(rejection(n, page))
        async with reading(window(n), plan=page.digest) as work:
            again = await work.plan([await work.account(a) for a in work.accounts], None)
        assert (again.state, again.steps, again.happenings) == ("Rejected", (), ())
        assert again.title.endswith("was rejected; this run did nothing")
        assert again.rows == page.rows


@pytest.mark.requirement("R001.13")
async def test_an_approver_may_let_the_first_wave_go_alone_and_types_its_recipients(tmp_path: Path) -> None:
    async with night(tmp_path, stage(three), limits={"waves": [1, 2]}) as n:
        page = await planned(n)
        assert [(r["wave"], r["recipients"]) for r in page.rows] == [(1, 350), (2, 350), (2, 350)]
        with pytest.raises(RefusedError, match="reach 350"):
            await approve_plan(consent(n, page, 1050, waves=1))
        said = await approve_plan(consent(n, page, 350, waves=1))
        approved = f"Dana Reyes approves 1 item of plan {page.digest[:12]} (350 recipients)."
        assert said == f"{approved} The plan is approved; it can be started."
        done = await run(n, page)
        assert [r["outcome"] for r in done.rows] == ["confirmed", "held", "held"]
        assert n.sent() == 350


async def test_an_account_that_is_named_twice_in_the_form_is_planned_once(tmp_path: Path) -> None:
    """*Add item* in the form makes it easy, and the approver would read twice the recipients."""
    async with night(tmp_path, stage(one)) as n:
        form = window(n).model_copy(update={"accounts": ["harbor", "harbor"]})
        async with reading(form) as work:
            page = await work.plan([await work.account(a) for a in work.accounts], None)
        assert [r["recipients"] for r in page.rows] == [350]


def test_the_forms_refuse_what_is_no_length_of_time_and_no_name() -> None:
    """The server checks them by the same schema, so a form says so before any run starts."""
    with pytest.raises(ValidationError):
        WindowForm(last_hours=1e9)
    with pytest.raises(ValidationError):
        RecoverForm(started_by="x" * 201)


@pytest.mark.parametrize("part", [{"waves": 0}, {"waves": 1, "items": ["101"]}])
async def test_a_part_that_names_nothing_or_two_things_is_refused(tmp_path: Path, part: dict[str, object]) -> None:
    async with night(tmp_path, stage(one)) as n:
        page = await planned(n)
        with pytest.raises(UsageError):
            await approve_plan(consent(n, page, 0, **part))


@pytest.mark.requirement("R001.13")
async def test_a_plan_says_what_it_would_do_to_how_many_and_every_reason_not_to(tmp_path: Path) -> None:
    async with night(tmp_path, stage(three), limits={"waves": [1, 2]}) as n:
        page = await planned(n)
        assert "| Send a copy | 3 | 1,050 | 1, 2 | reaches people |" in page.text
        why_not = page.text.split("## Why not to")[1].split("\n\n")[1]
        assert why_not.startswith("- The vendor cannot guarantee that the original campaign will not still be sent")
        assert why_not.endswith("(3 items)")


async def test_a_plan_leads_to_its_decision_and_a_held_item_to_its_answer(tmp_path: Path) -> None:
    """The links of a page fill in the forms; whoever follows them types the name, the number and the reason."""
    async with night(tmp_path, stage(one), limits={"recipients_per_run": 100}) as n:
        page = await planned(n)
        assert [s.deployment for s in page.steps] == ["approve/approve", "reject/reject", "recover/recover"]
        how = RecoverForm.model_validate(page.steps[2].parameters["how"])
        assert (how.plan, how.dry_run) == (page.digest[:12], False)
        await approve_plan(consent(n, page, 350))
        held = await run(n, page)
        answer, again = held.steps
        assert (answer.deployment, again.deployment) == ("answer/answer", "recover/recover")
        given = {**answer.parameters["given"], "answered_by": "Lee", "reason": "the gala is over", "config": n.config}
        assert "stays held" in await answer_held(AnswerForm.model_validate(given)), "the recommended answer is to wait"
        n.policy()
        assert (await run(n, page)).state == "All clear"


async def test_a_plan_that_lacks_an_approver_says_so_and_its_run_does_nothing(tmp_path: Path) -> None:
    """As at the terminal: no item is held and no ticket filed for want of a second name."""
    async with night(tmp_path, stage(one), limits={"two_approvers_above": 100}) as n:
        page = await planned(n)
        first = await approve_plan(consent(n, page, 350))
        assert first.endswith("Not enough yet (350 recipients need the approval of 2 different people).")
        waiting = await run(n, page)
        assert (waiting.state, waiting.title) == (
            AWAITING,
            f"Plan {page.digest[:12]} waits for approval; nothing was done",
        )
        assert "350 recipients need the approval of 2 different people." in waiting.text
        assert waiting.steps == page.steps
        async with n.open() as systems:
            assert await systems.ledger.items() == ()
        second = await approve_plan(consent(n, page, 350, approved_by="Sam Okafor"))
        assert second.endswith("The plan is approved; it can be started.")
        assert (await run(n, page)).state == "All clear"


@pytest.mark.requirement("R001.13", "R001.34")
async def test_who_approved_a_plan_for_many_cannot_start_it_alone(tmp_path: Path) -> None:
    async with night(tmp_path, stage(one), limits={"two_people_above": 100}) as n:
        page = await planned(n)
        await approve_plan(consent(n, page, 350))
        waiting = await run(n, page, starter="Dana Reyes")
        assert waiting.state == AWAITING
        assert "somebody other than the person who starts the run" in waiting.text
        assert n.writes() == []
        assert (await run(n, page, starter="Sam Okafor")).state == "All clear"


async def test_held_items_without_a_link_of_their_own_are_counted_and_those_with_advice_come_first(
    tmp_path: Path,
) -> None:
    async with night(tmp_path, stage(three)) as n:
        page = await planned(n)
        await approve_plan(consent(n, page, 350, items=[page.rows[0]["key"]]))
        items = (await run(n, page)).rows
        async with n.open() as systems:
            rows = [r for r in await systems.ledger.items() if r.question is not None]
        assert len(rows) == 2, items
        advised = replace(rows[1], question=Question("Reprocess it?", "reprocess", ("wait", "reprocess")))
        many = [replace(rows[0], slot_key=f"{rows[0].slot_key}#{k}") for k in range(MOST_STEPS + 4)]
        steps = answering([*many, advised])
        assert steps[0].parameters == {"given": {"item": advised.slot_key, "choice": "reprocess"}}
        assert len(steps) == MOST_STEPS + 1
        assert steps[-1] == Step(
            "answer 5 more held items; the table `recovery-items` has the keys", "answer/answer", {}
        )


@pytest.mark.requirement("R001.2")
async def test_a_scheduled_audit_finds_what_was_due_while_no_audit_ran(tmp_path: Path) -> None:
    """The gala was due three hours ago; the last audit ended before that, and audits look back two hours."""
    async with night(tmp_path, stage(one)) as n:
        plain = WindowForm(last_hours=2, config=n.config)
        assert await audited(plain) == "All clear"
        async with n.open() as systems:
            ended = n.window().started_at + timedelta(minutes=10)
            read = [AccountAudit("harbor", "America/New_York", ())]
            await record(systems.ledger, LookBack(ended - timedelta(hours=2), {}), ended, read)
        scheduled = plain.model_copy(update={"catch_up": True})
        assert await audited(scheduled) == "Findings"
        assert await audited(scheduled) == "All clear", "the audit that made up for it is the last one now"


async def audited(form: WindowForm) -> str:
    async with reading(form) as work:
        page = await work.audit([await work.account(a) for a in work.accounts])
    assert ("makes up for" in page.title) is (page.state == "Findings")
    return page.state


async def test_a_round_of_watching_needs_no_desk(tmp_path: Path) -> None:
    async with night(tmp_path, stage(one)) as n:
        (n.folder / DESK_FOLDER / "desk.toml").unlink()
        done = await n.recover()
        assert done.exit_code == 0
        page = await serve_round(RoundForm(config=n.config))
        assert (page.state, page.title) == ("All clear", "Round: 0 delivered, 0 open, 0 originals moved, 0 problems")


async def test_a_run_that_needs_a_second_person_is_not_started_by_nobody(tmp_path: Path) -> None:
    """The worker's login is no person, so it is none beside the approver."""
    async with night(tmp_path, stage(one), limits={"two_people_above": 100}) as n:
        page = await planned(n)
        await approve_plan(consent(n, page, 350))
        with pytest.raises(UsageError, match="must be named") as refused:
            await run(n, page, " ")
        assert "started_by" in refused.value.hint
        assert n.writes() == []
