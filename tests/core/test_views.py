"""The JSON of `--json`: versioned, complete, made of plain values, and hostile names stay text."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery import views
from recovery.approvals import Consent
from recovery.audit import AccountAudit, AuditResult, NotDue
from recovery.ledger.rows import ActionRow
from recovery.model import (
    ActionKind,
    ActionState,
    Balance,
    Evidence,
    Finding,
    Harm,
    ItemOutcome,
    Question,
    Saw,
    Verdict,
)
from recovery.operate import RecoverResult
from recovery.ports import TicketRef

from .makers import NOW, WINDOW, a_missed_campaign, a_missed_trigger, a_plan, a_row, a_slot, said

DONE = Finding(a_slot(ref="9"), Verdict.DONE, "Sent.", "sent", Evidence(a_slot(ref="9"), (said("x", Saw.WORKED),)))
SOUND = Balance(due=2, done_before=1, recovered=1, skipped=0, held=0, doubles=0)


def plain(view: views.View) -> Any:
    """The view as a reader of the JSON gets it; fails on anything that is not plain."""
    text = json.dumps(view, allow_nan=False)
    assert json.loads(text) == view
    return json.loads(text)


def an_audit(*findings: Finding) -> AuditResult:
    read = AccountAudit("acme", "America/New_York", (), (NotDue("acme", "campaign", "3", "Old", "paused"),), ("slow",))
    return AuditResult(WINDOW, findings, (read,))


def an_action(kind: ActionKind, ref: str, state: ActionState = ActionState.CONFIRMED) -> ActionRow:
    return ActionRow(
        key=f"KEY-{kind.value}",
        slot_key=a_slot().key,
        account="acme",
        kind=kind,
        harm=Harm.H0,
        target_ref="7",
        generation=0,
        payload_digest="",
        recipients=0,
        state=state,
        owner="",
        lease_until=None,
        fence=1,
        attempts=1,
        repeats=0,
        attempt_open=False,
        attempt_deadline=None,
        elected_ref="",
        result_ref=ref,
        evidence_digest="",
        question=None,
        note="",
        seq=1,
        updated_at=NOW,
    )


def a_recovery(*rows: Any, **changes: Any) -> RecoverResult:
    done = RecoverResult(a_plan(), Consent(frozenset()), rows, an_audit(DONE), SOUND)
    return replace(done, **changes)


def of_recovery(done: RecoverResult, actions: Any = None) -> Any:
    return plain(views.recover_view(done, actions or {}, "2026-06-03T19:00:00Z"))


@pytest.mark.requirement("R001.2", "R001.4", "R001.16")
def test_an_audit_names_for_every_slot_account_system_object_time_verdict_and_witnesses() -> None:
    seen = plain(views.audit_view(an_audit(DONE, a_missed_campaign()), 4))
    assert (seen["schema"], seen["exit_code"], seen["incident"]) == ("allclear.audit/1", 4, WINDOW.incident_ref)
    assert seen["counts"] == {"done": 1, "missed": 1}
    slot = seen["slots"][1]
    assert slot == slot | {
        "key": "acme/pro2/campaign/7@2026-06-03T14:00:00Z",
        "account": "acme",
        "system": "pro2",
        "kind": "campaign",
        "object": "7",
        "slot": "2026-06-03T14:00:00Z",
        "time_zone": "America/New_York",
        "verdict": "missed",
        "code": "pending_send",
    }
    assert [(w["witness"], w["saw"], w["at"], w["complete"]) for w in slot["witnesses"]] == [
        ("witness", "nothing", "2026-06-03T19:00:00Z", True)
    ]


def test_an_audit_names_what_was_not_due_and_what_went_wrong() -> None:
    seen = plain(views.audit_view(an_audit(), 3))
    assert seen["not_due"] == [
        {"account": "acme", "kind": "campaign", "object": "3", "name": "Old", "reason": "paused"}
    ]
    assert seen["accounts"] == [{"name": "acme", "time_zone": "America/New_York", "problems": ["slow"]}]


@pytest.mark.requirement("R001.13", "R001.39")
def test_a_plan_names_its_digest_its_reach_and_for_every_item_actions_and_caveat() -> None:
    plan = a_plan(a_missed_campaign(), a_missed_trigger())
    seen = plain(views.plan_view(plan, 0))
    assert (seen["schema"], seen["digest"], seen["recipients"]) == ("allclear.plan/1", plan.digest, 400)
    assert seen["expires_at"] == "2026-06-03T20:00:00Z"
    campaign = seen["items"][1]
    assert [a["kind"] for a in campaign["actions"]] == ["stop", "defuse", "copy", "mark", "release"]
    assert [a["harm"] for a in campaign["actions"]] == [0, 1, 0, 0, 3]
    assert "still be sent" in campaign["caveat"]
    assert len({a["key"] for i in seen["items"] for a in i["actions"]}) == 6


@pytest.mark.requirement("R001.39")
def test_a_recovery_names_every_item_s_outcome_and_what_was_done_before_us() -> None:
    row = a_row(a_slot(), ItemOutcome.CONFIRMED, "copy 9 was sent")
    actions = {row.slot_key: (an_action(ActionKind.STOP, "7"), an_action(ActionKind.COPY, "41"))}
    seen = of_recovery(a_recovery(row), actions)
    assert (seen["schema"], seen["exit_code"]) == ("allclear.recover/1", 0)
    assert [(i["object"], i["outcome"], i["reason"]) for i in seen["items"]] == [
        ("7", "confirmed", "copy 9 was sent"),
        ("9", "done_before", "Sent."),
    ]
    assert seen["items"][0]["refs"] == {"copy": "41"}
    assert [(a["kind"], a["state"], a["ref"]) for a in seen["items"][0]["actions"]] == [
        ("stop", "confirmed", "7"),
        ("copy", "confirmed", "41"),
    ]
    assert seen["balance"] == {
        "due": 2,
        "done_before": 1,
        "recovered": 1,
        "skipped": 0,
        "held": 0,
        "doubles": 0,
        "adds_up": True,
        "problems": [],
        "outside": [],
    }


def test_a_held_item_shows_its_question_with_the_answers() -> None:
    row = a_row(a_slot(), ItemOutcome.HELD, "unsure", Question("Did it go?", "wait", ("wait", "drop")))
    seen = of_recovery(a_recovery(row))
    assert seen["items"][0]["question"] == {"text": "Did it go?", "recommended": "wait", "choices": ["wait", "drop"]}
    assert seen["exit_code"] == 3


def test_an_item_of_the_plan_is_not_listed_twice_when_the_second_audit_finds_it_done() -> None:
    row = a_row(a_slot(ref="9"), ItemOutcome.CONFIRMED)
    assert [i["outcome"] for i in of_recovery(a_recovery(row))["items"]] == ["confirmed"]


def test_a_slot_that_nobody_acted_on_and_that_is_not_done_is_no_item() -> None:
    """It is a problem of the balance, and never called done."""
    assert of_recovery(a_recovery(after=an_audit(a_missed_campaign())))["items"] == []


@pytest.mark.parametrize(
    ("changes", "exit_code"),
    [
        ({}, 0),
        ({"balance": replace(SOUND, due=3)}, 1),
        ({"balance": replace(SOUND, doubles=1)}, 1),
        ({"problems": ("The incident ticket could not be filed",)}, 1),
        ({"stopped": True, "after": None, "balance": None}, 3),
        ({"items": (a_row(a_slot(), ItemOutcome.OPEN),)}, 3),
        ({"items": (a_row(a_slot(), ItemOutcome.SKIPPED),)}, 0),
    ],
)
def test_the_exit_code_stands_in_the_document(changes: dict[str, Any], exit_code: int) -> None:
    """0 all clear, 1 failed, 3 something is held or left open."""
    assert of_recovery(a_recovery(**changes))["exit_code"] == exit_code


def test_the_ticket_is_named_with_its_address() -> None:
    seen = of_recovery(a_recovery(ticket=TicketRef("1", "INC-1", "https://jira.example.org/browse/INC-1")))
    assert seen["ticket"] == {"key": "INC-1", "url": "https://jira.example.org/browse/INC-1"}
    assert of_recovery(a_recovery())["ticket"] is None


def test_an_error_is_one_sentence_a_hint_and_the_exit_code() -> None:
    assert plain(views.error_view("No.", "Do this.", 2)) == {
        "schema": "allclear.error/1",
        "error": "No.",
        "hint": "Do this.",
        "exit_code": 2,
    }


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40))
def test_a_hostile_name_comes_back_as_it_was(name: str) -> None:
    """Campaign names are data: quotes, markup and control characters survive the JSON unchanged."""
    finding = a_missed_campaign()
    renamed = replace(finding, slot=replace(finding.slot, name=name))
    assert plain(views.audit_view(an_audit(renamed), 0))["slots"][0]["name"] == name
    assert plain(views.plan_view(a_plan(renamed), 0))["items"][0]["name"] == name


def test_times_are_utc_with_a_z_and_whole_seconds() -> None:
    """One form of time in every document."""
    local = datetime.fromisoformat("2026-06-03T10:00:00.25-04:00")
    assert plain(views.finding_view(a_missed_campaign()))["slot"] == "2026-06-03T14:00:00Z"
    moved = replace(a_missed_campaign(), slot=replace(a_slot(), due_at=local))
    assert plain(views.finding_view(moved))["slot"] == "2026-06-03T14:00:00Z"
