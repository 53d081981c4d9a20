"""What there is to recover, the policy it is done under, and what the remote holds before anybody acts."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from recovery.model import (
    ActionKind,
    Facts,
    Harm,
    Kind,
    OutageWindow,
    Plan,
    PlanItem,
    PlannedAction,
    Remedy,
    Schedule,
    Scheduled,
    Slot,
    System,
    Verdict,
)
from recovery.plan import freeze
from recovery.policy import Limits, Policy, Waits
from recovery.ports import Contact, Definition
from recovery.sync_gap import gap_between
from tests.prove.kernel import START
from tests.prove.remote import Job, Platform

DUE = START - timedelta(hours=5)
WINDOW = OutageWindow(DUE - timedelta(hours=1), DUE + timedelta(hours=1), ("acme",))
WAITS = Waits(poll=90.0)

PEOPLE = {str(n): Contact(str(n), f"person{n}@acme.example") for n in range(1, 6)}
SYNC_GAP = gap_between({PEOPLE[r].email for r in ("1", "2", "3")}, {PEOPLE[r].email for r in ("3", "4")}, "add_remove")
RELEASES: tuple[tuple[ActionKind, Harm], ...] = ((ActionKind.RELEASE, Harm.H3),)


LISTED: Facts = {"active": True}
"""What a plan says of a job that the dashboard listed: the last check before its start looks there again."""


def _item(kind: Kind, ref: str, remedy: Remedy, actions: tuple[tuple[ActionKind, Harm], ...], **more: Any) -> PlanItem:
    system = System.PRO2 if kind is Kind.CAMPAIGN else System.DASHBOARD
    slot = Slot("acme", system.value, kind.value, ref, DUE, f"Newsletter {ref}", "UTC")
    planned = tuple(PlannedAction(f"{ref}-{k}", k, h, False, ref, "do it") for k, h in actions)
    more.setdefault("audience", 400)
    return PlanItem(slot, Verdict.MISSED, remedy, "nobody got it", "missed", planned, 1, wave=1, **more)


def _campaign(ref: str) -> PlanItem:
    return _item(Kind.CAMPAIGN, ref, Remedy.RESEND, RELEASES)


@cache
def items_of(scenario: str) -> tuple[PlanItem, ...]:
    """The items of a scenario."""
    match scenario:
        case "resend":
            return (_campaign("7"),)
        case "two":
            return _campaign("7"), _campaign("8")
        case "run_now":
            return (_item(Kind.TRIGGER, "t1", Remedy.RUN_NOW, ((ActionKind.RUN_NOW, Harm.H3),), before=LISTED),)
        case "import":
            act = ((ActionKind.REPEAT_IMPORT, Harm.H2),)
            return (_item(Kind.IMPORT, "i1", Remedy.REPEAT_IMPORT, act, before=LISTED),)
        case "reprocess":
            act = ((ActionKind.REPROCESS, Harm.H2),)
            return (_item(Kind.IMPORT, "i1", Remedy.REPROCESS, act, before={"run": "r1", **LISTED}),)
        case "sync":
            act = ((ActionKind.TAGGED_IMPORT, Harm.H2),)
            return (_item(Kind.DATA_SYNC, "s1", Remedy.TAGGED_IMPORT, act, before={"gap_digest": SYNC_GAP.digest}),)
    raise ValueError(scenario)


@cache
def plan_of(scenario: str) -> Plan:
    """The frozen plan of a scenario."""
    return freeze(WINDOW, items_of(scenario), START, policy_of(assume_one_shot=False))


@cache
def policy_of(*, assume_one_shot: bool) -> Policy:
    """The shipped waits, with fewer polls; removals may be many, because five people stand for a crowd."""
    limits = Limits(removals_percent=100.0, wave_bake=0.0)
    return Policy(
        (), waits=WAITS, limits=limits, assume_one_shot_release=assume_one_shot, after_successful_stop="reprocess"
    )


def furnish(platform: Platform, scenario: str) -> None:
    """What the remote holds before anybody acts."""
    for item in items_of(scenario):
        if item.slot.kind == Kind.CAMPAIGN:
            platform.plant(item.slot.object_ref)
        if item.slot.kind in (Kind.TRIGGER, Kind.IMPORT):
            ref, timing = item.slot.object_ref, Schedule("once", DUE.isoformat())
            job = Scheduled("acme", System.DASHBOARD, Kind(item.slot.kind), ref, "Job", timing)
            platform.definitions[ref] = Definition(job)
    if scenario == "reprocess":
        platform.jobs["r1"] = Job("r1", "i1", "running", "schedule", -18_000.0, DUE)
    if scenario == "sync":
        known = Scheduled("acme", System.DASHBOARD, Kind.DATA_SYNC, "s1", "Sync", Schedule("cron", "0 * * * *"))
        platform.definitions["s1"] = Definition(known, 9, "", None, ("members",), "add_remove")
        platform.people = dict(PEOPLE)
        platform.listed, platform.tags = {"1", "2", "3"}, {"members": {"3", "4"}}
