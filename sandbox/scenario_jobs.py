"""The jobs of `two-hours-down`: definitions with their schedules, and the runs that an outage left of them.

A definition is planted with every run from two hours before the outage until now; `fates` says what became of a slot of
the window, all others succeeded. Due times are computed here with the same public calendar libraries that anybody would
use, from local wall-clock schedules, so that a clock change shows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim
from dateutil.rrule import rrulestr

from sandbox.dashboard import Run
from sandbox.story import Account, Row, Story

MINUTE = timedelta(minutes=1)
BEFORE = timedelta(hours=2)
Fate = Callable[[Story, Account, str, datetime], tuple[str, ...]]


def cron(value: str, zone: str) -> Row:
    """A schedule in the contract's form."""
    return {"type": "cron", "value": value, "time_zone": zone}


def every(duration: str, anchor: datetime, zone: str) -> Row:
    """An interval such as PT15M from an anchor."""
    return {"type": "interval", "value": duration, "anchor": anchor.isoformat(), "time_zone": zone}


def daily(hour: int, minute: int, zone: str) -> Row:
    """An RRULE at one wall-clock time."""
    rule = f"FREQ=DAILY;BYHOUR={hour};BYMINUTE={minute};BYSECOND=0"
    anchor = datetime(2026, 10, 1, hour, minute, tzinfo=ZoneInfo(zone)).isoformat()
    return {"type": "rrule", "value": rule, "anchor": anchor, "time_zone": zone}


def once(at: datetime) -> Row:
    """One date-time."""
    return {"type": "once", "value": at.isoformat(), "time_zone": "UTC"}


def due_times(schedule: Row, start: datetime, end: datetime) -> list[datetime]:
    """The schedule's due times in [start, end), UTC."""
    return _due_times(tuple(sorted(schedule.items())), start, end)


@functools.lru_cache(maxsize=4096)
def _due_times(parts: tuple[tuple[str, str], ...], start: datetime, end: datetime) -> list[datetime]:
    """Remembered, because a fleet's accounts share their schedules."""
    schedule = dict(parts)
    zone = ZoneInfo(schedule.get("time_zone", "UTC"))
    kind, found = schedule["type"], list[datetime]()
    if kind == "cron":
        for at in CronSim(schedule["value"], (start - MINUTE).astimezone(zone)):
            if at.astimezone(UTC) >= end:
                break
            found.append(at.astimezone(UTC))
    elif kind == "rrule":
        local_start = datetime.fromisoformat(schedule["anchor"]).replace(tzinfo=None)
        rule = rrulestr(schedule["value"], dtstart=local_start)
        day = timedelta(days=1)
        first, last = (at.astimezone(zone).replace(tzinfo=None) for at in (start - day, end + day))
        wall = rule.between(first, last, inc=True)
        found = [at.replace(tzinfo=zone).astimezone(UTC) for at in wall]
    elif kind == "interval":
        step = timedelta(minutes=int(schedule["value"].removeprefix("PT").removesuffix("M")))
        at = datetime.fromisoformat(schedule["anchor"]).astimezone(UTC)
        at += max((start - at) // step, 0) * step
        while at < end:
            found.append(at)
            at += step
    elif kind == "once":
        found = [datetime.fromisoformat(schedule["value"]).astimezone(UTC)]
    return [at for at in found if start <= at < end]


def plant(
    story: Story,
    account: Account,
    definition_id: str,
    kind: str,
    name: str,
    schedule: Row,
    fates: Mapping[str, Fate] | None = None,
    **more: Any,
) -> None:
    """Plant a definition and its runs; `fates` by "HH:MM" (UTC) of the slot, "*" for every slot of the window."""
    account.dashboard.add_definition(
        definition_id, kind, name, schedule, created_at=(story.started_at - timedelta(days=90)).isoformat(), **more
    )
    fates = fates or {}
    troubled = False
    for at in due_times(schedule, story.started_at - BEFORE, story.now - 5 * MINUTE):
        inside = story.started_at <= at < story.ended_at
        fate = (fates.get(at.strftime("%H:%M")) or fates.get("*")) if inside else None
        if fate is None:
            succeeded(story, account, definition_id, at)
            expected: tuple[str, ...] = ("done",)
        else:
            expected, troubled = fate(story, account, definition_id, at), True
        if inside:
            case = fate.__name__.replace("_", " ") if fate else "ran as planned"
            story.plot.item(account.name, "dashboard", kind, definition_id, at, expected, case)
    if not troubled:
        story.plot.keep_off(account.name, "dashboard", definition_id, "every run succeeded")


# ---- what became of one slot -----------------------------------------------------------------------------------------


def _ended(story: Story, account: Account, definition_id: str, at: datetime, state: str, counts: Row) -> Run:
    number = story.world.random.randint(20, 90)
    return account.dashboard.add_run(
        definition_id,
        state=state,
        scheduled_for=at,
        started_at=at + timedelta(seconds=2),
        ended_at=at + timedelta(seconds=number),
        counts=counts,
    )


def succeeded(story: Story, account: Account, definition_id: str, at: datetime) -> tuple[str, ...]:
    """Contacts came back and were updated."""
    _ended(story, account, definition_id, at, "succeeded", {"returned": 40, "updated": 40, "errored": 0})
    return ("done",)


def succeeded_late(story: Story, account: Account, definition_id: str, at: datetime) -> tuple[str, ...]:
    """Began only after the outage, by itself, and succeeded."""
    run = _ended(story, account, definition_id, at, "succeeded", {"returned": 25, "updated": 25, "errored": 0})
    run.started_at = story.ended_at + 4 * MINUTE
    run.ended_at = story.ended_at + 6 * MINUTE
    return ("done",)


def full_error(story: Story, account: Account, definition_id: str, at: datetime) -> tuple[str, ...]:
    """A full error report."""
    run = _ended(story, account, definition_id, at, "failed", {"returned": 31, "updated": 0, "errored": 31})
    rows = [
        {"row": n, "constituent_id": 7000 + n, "email": f"patron{7000 + n}@example.org", "message": "503 from Pro2"}
        for n in range(1, 32)
    ]
    account.dashboard.set_report(run.run_id, rows)
    return ("failed",)


def partial_error(story: Story, account: Account, definition_id: str, at: datetime) -> tuple[str, ...]:
    """Some rows failed, which the playbook does not cover."""
    run = _ended(story, account, definition_id, at, "partial_error", {"returned": 31, "updated": 22, "errored": 9})
    rows = [{"row": n, "constituent_id": 7100 + n, "email": None, "message": "<b>Timeout</b>"} for n in range(1, 10)]
    account.dashboard.set_report(run.run_id, rows)
    return ("partial",)


def no_activity(story: Story, account: Account, definition_id: str, at: datetime) -> tuple[str, ...]:
    """Neither the Activity Log nor the Console knows of it."""
    del story, account, definition_id, at
    return ("missed",)


def _hanging(account: Account, definition_id: str, at: datetime, **fields: Any) -> tuple[str, ...]:
    account.dashboard.add_run(
        definition_id, state="running", scheduled_for=at, started_at=at + timedelta(seconds=3), **fields
    )
    return ("stalled",)


def hangs(story: Story, account: Account, definition_id: str, at: datetime) -> tuple[str, ...]:
    """In progress for hours; a stop works."""
    del story
    return _hanging(account, definition_id, at)


def hangs_stop_refused(story: Story, account: Account, definition_id: str, at: datetime) -> tuple[str, ...]:
    """In progress for hours; a stop is refused."""
    del story
    return _hanging(account, definition_id, at, stop_result="refused")


def hangs_stop_ignored(story: Story, account: Account, definition_id: str, at: datetime) -> tuple[str, ...]:
    """In progress for hours; a stop is accepted and the run goes on."""
    del story
    return _hanging(account, definition_id, at, stop_works=False)


def queued_for_ever(story: Story, account: Account, definition_id: str, at: datetime) -> tuple[str, ...]:
    """In the Console's queue since it was due."""
    del story
    account.dashboard.add_run(definition_id, state="queued", scheduled_for=at, queued_at=at)
    return ("stalled", "missed")


def unknown_word(story: Story, account: Account, definition_id: str, at: datetime) -> tuple[str, ...]:
    """A state that is in no document."""
    _ended(story, account, definition_id, at, "suspended", {"returned": 0, "updated": 0, "errored": 0})
    return ("uncertain",)


# ---- data syncs ------------------------------------------------------------------------------------------------------


def plant_sync(
    story: Story,
    account: Account,
    definition_id: str,
    name: str,
    schedule: Row,
    *,
    list_id: int,
    tag: str,
    mode: str,
    size: int = 12,
    lost: int = 0,
    stale: int = 0,
    fate: Fate | None = None,
) -> None:
    """A data sync whose tag lacks `lost` people of the list and still has `stale` people who left it.

    The sync's memory already holds the new list, so another run of it finds no difference and repairs nothing.
    """
    people = {list_id * 100 + n: f"patron{list_id}-{n}@{account.name}.example" for n in range(size)}
    gone = {list_id * 100 + 50 + n: f"former{list_id}-{n}@{account.name}.example" for n in range(stale)}
    for number, email in [*people.items(), *gone.items()]:
        account.tessitura.add_constituent(number, email)
    account.tessitura.add_list(list_id, name, list(people), fresh=list(people), last_used_at=story.started_at)
    ids = {email: account.pro2.add_contact(email).id for email in [*people.values(), *gone.values()]}
    missing = list(people.values())[-lost:] if lost else []
    account.pro2.plant_tag(tag, [n for email, n in ids.items() if email not in missing])
    account.dashboard.memory[definition_id] = dict(people)
    more = {"list_manager_list_id": list_id, "list_manager_list_name": name, "tags": [tag], "sync_mode": mode}
    before = len(story.plot.items)
    plant(story, account, definition_id, "data_sync_tag", name, schedule, {"*": fate} if fate else None, **more)
    remove = sorted(ids[email] for email in gone.values()) if mode == "add_remove" else []
    if not lost and not remove:
        return
    for item in story.plot.items[before:]:  # a lost difference stays lost, whatever the log says of this or that run
        item["expected"] = sorted({*item["expected"], "failed", "missed"} - {"done"})
    row = {"account": account.name, "object": definition_id, "tag": tag, "mode": mode}
    story.plot.syncs.append({**row, "to_add": sorted(ids[email] for email in missing), "to_remove": remove})


def plant_import(
    story: Story, account: Account, definition_id: str, name: str, schedule: Row, fate: Fate | None, list_id: int
) -> None:
    """An Integrated Import of a small list under a tag of its own."""
    people = {list_id * 100 + n: f"guest{list_id}-{n}@{account.name}.example" for n in range(8)}
    for number, email in people.items():
        account.tessitura.add_constituent(number, email)
    account.tessitura.add_list(list_id, name, list(people), fresh=list(people), last_used_at=story.started_at)
    more: Row = {"list_manager_list_id": list_id, "list_manager_list_name": name, "tags": [f"Import {list_id}"]}
    plant(story, account, definition_id, "integrated_import", name, schedule, {"*": fate} if fate else None, **more)


def plant_trigger(
    story: Story, account: Account, definition_id: str, name: str, schedule: Row, fate: Fate | None, automation: int
) -> None:
    """A Scheduled Trigger: those who matched at its time, and others who match now."""
    dawn, noon = story.ended_at - timedelta(hours=12), story.ended_at + timedelta(minutes=10)
    account.matches[definition_id] = [
        *((f"then{definition_id}-{n}@{account.name}.example", dawn, noon) for n in range(5)),
        *((f"both{definition_id}-{n}@{account.name}.example", dawn, noon + timedelta(days=1)) for n in range(6)),
    ]
    more: Row = {"trigger_type": "performance", "automation_id": str(automation)}
    plant(story, account, definition_id, "scheduled_trigger", name, schedule, {"*": fate} if fate else None, **more)


def plant_dormant(story: Story, account: Account, zone: str, names: Iterable[str] = ("off", "paused", "new")) -> None:
    """Definitions that have no slot in the window: switched off, paused before, or made after."""
    tick = cron("*/20 * * * *", zone)
    settings: dict[str, Row] = {
        "off": {"active": False},
        "paused": {"active": True, "paused_at": (story.started_at - timedelta(days=1)).isoformat()},
        "new": {"active": True, "created_at": (story.ended_at + 30 * MINUTE).isoformat()},
    }
    for name in names:
        ref = f"dormant-{name}"
        account.dashboard.add_definition(ref, "integrated_import", f"Dormant ({name})", tick, **settings[name])
        story.plot.keep_off(account.name, "dashboard", ref, f"dormant: {name}")
