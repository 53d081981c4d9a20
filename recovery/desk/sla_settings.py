"""`config/sla.toml`: calendars, promised times and how the clocks are read.

Business hours, zone and holidays have no default (R003.27). A root-cause time that is not given stays "not agreed"
(R002.17).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from recovery.desk.business_time import Calendar, Hours, Timetable, public_holidays
from recovery.desk.sla import Target
from recovery.errors import ConfigError

Severity = Literal["P1", "P2", "P3", "service_request"]
SEVERITIES: tuple[Severity, ...] = ("P1", "P2", "P3", "service_request")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

Text = Annotated[str, Field(min_length=1)]


def _hours(value: object) -> object:
    """ "09:00-17:00" as opening and closing minute."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d\d):(\d\d)-(\d\d):(\d\d)", value)
    if found is None:
        raise ValueError('write hours as "09:00-17:00"')
    a, b, c, d = (int(x) for x in found.groups())
    opening, closing = a * 60 + b, c * 60 + d
    if not (b < 60 and d < 60 and 0 <= opening < closing <= 1440):
        raise ValueError("the closing time must be after the opening time, at most 24:00")
    return (opening, closing)


def _target(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return Target.parse(value)
    except ConfigError as error:
        raise ValueError(str(error)) from error


OpenHours = Annotated[Hours, BeforeValidator(_hours)]
PromisedTime = Annotated[Target, BeforeValidator(_target)]


class Part(BaseModel):
    """A part of a settings file: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class OwnDate(Part):
    """A date with hours of its own; no hours means closed."""

    date: date
    hours: tuple[OpenHours, ...]
    name: str = ""


class Week(Part):
    """Opening hours per weekday; every day must be written down, `[]` for closed."""

    monday: tuple[OpenHours, ...]
    tuesday: tuple[OpenHours, ...]
    wednesday: tuple[OpenHours, ...]
    thursday: tuple[OpenHours, ...]
    friday: tuple[OpenHours, ...]
    saturday: tuple[OpenHours, ...]
    sunday: tuple[OpenHours, ...]

    @model_validator(mode="after")
    def _in_order(self) -> Week:
        days = [getattr(self, name) for name in WEEKDAYS]
        if not any(days):
            raise ValueError("at least one day must have hours")
        for name, hours in zip(WEEKDAYS, days, strict=True):
            if any(a[1] > b[0] for a, b in pairwise(hours)):
                raise ValueError(f"the hours of {name} overlap or are out of order")
        return self


class CalendarVersion(Part):
    """One calendar, in force from `effective_from`; add a version instead of editing one while clocks run."""

    effective_from: datetime
    zone: Text
    holiday_country: Text
    holiday_subdivision: str
    hours: Week
    own_dates: tuple[OwnDate, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> CalendarVersion:
        try:
            ZoneInfo(self.zone)
            public_holidays(self.holiday_country, self.holiday_subdivision, 2026)
        except (ConfigError, KeyError, ValueError, OSError) as error:
            raise ValueError(f"unknown zone or holiday calendar: {error}") from error
        if self.effective_from.tzinfo is None:
            raise ValueError('effective_from needs a zone, for example "2026-01-01T00:00:00Z"')
        return self

    def calendar(self) -> Calendar:
        """The calendar as the engine takes it."""
        return Calendar(
            self.zone,
            tuple(getattr(self.hours, name) for name in WEEKDAYS),
            self.holiday_country,
            self.holiday_subdivision,
            tuple((own.date, own.hours) for own in self.own_dates),
        )


class Promise(Part):
    """The promised times of one severity; a missing one is not promised."""

    acknowledgement: PromisedTime | None = None
    first_response: PromisedTime
    rca: PromisedTime | None = None


class SlaRules(Part):
    """How the clocks are read."""

    warn_at: tuple[Annotated[float, Field(gt=0, lt=1)], ...]
    rca_anchor: Literal["incident_start", "declared", "resolved"]
    rca_owner: Text
    automatic_acknowledgement_counts: bool
    approved_announcement_is_first_response: bool
    pause_in: tuple[Text, ...]
    general_target: PromisedTime


class SlaSettings(Part):
    """`config/sla.toml`."""

    calendars: Mapping[str, tuple[CalendarVersion, ...]]
    targets: Mapping[Severity, Promise]
    rules: SlaRules

    @model_validator(mode="after")
    def _complete(self) -> SlaSettings:
        missing = [s for s in SEVERITIES if s not in self.targets]
        if missing:
            raise ValueError(f"targets for {', '.join(missing)} are missing")
        for name, versions in self.calendars.items():
            moments = [v.effective_from for v in versions]
            if not moments or moments != sorted(set(moments)):
                raise ValueError(f'the versions of calendar "{name}" must be in order of effective_from')
        return self

    def timetable(self, name: str) -> Timetable:
        """The named calendar with all its versions."""
        return Timetable(tuple((v.effective_from.astimezone(UTC), v.calendar()) for v in self.calendars[name]))
