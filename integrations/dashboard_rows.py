"""Rows of the Integrated Dashboard as `dashboard.openapi.yaml` writes them, read into the core's records.

The bridge sends these rows, and a person who reads the dashboard for assisted mode uploads the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from integrations.fields import Fields, time_of
from recovery.model import Kind, Schedule, Scheduled, System
from recovery.ports import KIND_BY_WORD, Definition, Run

_SYNC_MODES = ("add_only", "add_remove")


def read_definition(account: str, row: Fields, time_zone: str = "UTC") -> Definition:
    """One definition; a kind that has no word of its own is "other", and its name tells which it is.

    A schedule that names no zone is one of the account's, `time_zone`.
    """
    word = row.text("kind")
    kind = KIND_BY_WORD.get(word, Kind.OTHER)
    timing = row.record("schedule")
    filters = row.maybe_record("filters")
    mode = row.text("sync_mode", "")
    scheduled = Scheduled(
        account=account,
        system=System.DASHBOARD,
        kind=kind,
        object_ref=row.ref("definition_id"),
        name=row.text("name") if word == kind else f"{row.text('name')} ({word[:40]})",
        schedule=Schedule(
            type=timing.text("type"),
            value=_timing(timing),
            anchor=timing.moment("anchor"),
            time_zone=timing.text("time_zone", "") or time_zone,
        ),
        active=row.flag("active"),
        paused_at=row.moment("paused_at"),
        created_at=row.moment("created_at"),
    )
    return Definition(
        scheduled=scheduled,
        list_ref=row.maybe_integer("list_manager_list_id"),
        list_name=row.text("list_manager_list_name", ""),
        output_set_ref=row.maybe_integer("output_set_id"),
        tags=row.texts("tags"),
        sync_mode=cast("Literal['add_only', 'add_remove', '']", mode if mode in _SYNC_MODES else ""),
        trigger_type=row.text("trigger_type", ""),
        automation_ref=row.text("automation_id", ""),
        filters=_filters(filters) if filters else {},
    )


def names_its_zone(row: Fields) -> bool:
    """Whether a definition's schedule says in which zone its times are."""
    timing = row.values.get("schedule")
    return isinstance(timing, dict) and bool(timing.get("time_zone"))


def read_run(row: Fields) -> Run:
    """One run."""
    counts = row.maybe_record("counts")
    return Run(
        ref=row.ref("run_id"),
        definition_ref=row.ref("definition_id"),
        state=row.text("state"),
        requested_by=row.text("requested_by"),
        scheduled_for=row.moment("scheduled_for"),
        started_at=row.moment("started_at"),
        ended_at=row.moment("ended_at"),
        returned=counts.maybe_integer("returned") if counts else None,
        updated=counts.maybe_integer("updated") if counts else None,
        errored=counts.maybe_integer("errored") if counts else None,
        tags=row.texts("tags"),
        repeated_from=row.text("repeated_from_run_id", ""),
        digest=row.digest,
    )


def _timing(row: Fields) -> str:
    """What the schedule says; the time of `once` in the one spelling that every reader knows."""
    value = row.text("value", "")
    if row.text("type") != "once":
        return value
    try:
        return time_of(value).isoformat()
    except ValueError:
        return value


def _filters(row: Fields) -> dict[str, int | bool | None]:
    """The import's filters; one that is not known here is kept when it is a number or a truth value."""
    known: dict[str, Callable[[str], int | bool | None]] = {
        "primary_only": lambda name: row.flag(name, False),
        "contact_point_purpose_id": row.maybe_integer,
        "eaddress_type_id": row.maybe_integer,
    }
    read = {name: get(name) for name, get in known.items() if name in row.values}
    others = {k: v for k, v in row.values.items() if k not in known and isinstance(v, (int, bool, type(None)))}
    return {**others, **read}
