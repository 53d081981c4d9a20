"""Reading a remote's JSON defensively: every missing or wrong field is a `BadReply` that names it.

Vendors send numbers as strings, empty strings for nothing and `0000-00-00` for no date (ActiveCampaign); a client asks
for what it needs and gets it in one type, or an error that a person can act on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from recovery.errors import BadReply

_NO_DAY = "0000-00-00"
_NO_DATE = ("", "0", "null")
_LEAP = re.compile(r"(\d{4}-\d\d-\d\d.\d\d:\d\d:)60(?!\d)", re.ASCII)
_WHOLE = re.compile(r"([+-]?\d{1,18})(?:\.0+)?", re.ASCII)
_YES = ("1", "true", "yes")
_NO = ("", "0", "false", "no")


FIRST_MOMENT = datetime.min.replace(tzinfo=UTC) + timedelta(days=2)
LAST_MOMENT = datetime.max.replace(tzinfo=UTC, microsecond=0) - timedelta(days=2)
"""Between these two a time can be shown in every zone; outside them it may not even be a time in UTC."""


def time_of(text: str) -> datetime:
    """A time as RFC 3339 writes it, in small letters too; `ValueError` for anything else.

    A leap second is read as the second after it, since no clock here counts it.
    """
    plain, leaps = _LEAP.subn(r"\g<1>59", text.strip().upper())
    try:
        return datetime.fromisoformat(plain) + timedelta(seconds=leaps)
    except OverflowError:
        raise ValueError("a time after the last one there is") from None


def says_no(said: Mapping[str, Any]) -> bool:
    """Whether the object of a 2xx answer is a refusal all the same, in any of the vendors' spellings."""
    flags = (str(said.get(name)).lower() for name in ("result_code", "succeeded", "success", "ok"))
    return bool(said.get("errors") or said.get("error")) or any(flag in ("0", "false") for flag in flags)


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object of one reply and the words to complain about it: which system, which account, which call."""

    values: Mapping[str, Any]
    system: str
    account: str
    where: str
    digest: str = ""

    def bad(self, problem: str) -> BadReply:
        """The error to raise about this object."""
        return BadReply(
            self.system, self.account, f"{self.where}: {problem}", "the reply breaks the contract; keep it as evidence"
        )

    def _nested(self, name: str, value: object) -> Fields:
        if not isinstance(value, dict):
            raise self.bad(f"field {name!r} is not an object")
        return Fields(value, self.system, self.account, f"{self.where}.{name}", self.digest)

    def record(self, name: str) -> Fields:
        """A required nested object."""
        return self._nested(name, self._required(name))

    def maybe_record(self, name: str) -> Fields | None:
        """A nested object, None when absent or null."""
        value = self.values.get(name)
        return None if value is None else self._nested(name, value)

    def records(self, name: str) -> list[Fields]:
        """A required list of objects."""
        return [self._nested(f"{name}[{n}]", item) for n, item in enumerate(self._list(name, self._required(name)))]

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, empty when absent; numbers become text."""
        value = self.values.get(name)
        return () if value is None else tuple(self._text(name, item) for item in self._list(name, value))

    def text(self, name: str, default: str | None = None) -> str:
        """A text (a number becomes text). Without a default the field is required and must not be null."""
        value = self.values.get(name)
        if value is None:
            if default is None:
                self._required(name)
            return default or ""
        return self._text(name, value)

    def ref(self, name: str) -> str:
        """A required id exactly as it is written: text or whole number, not empty, and none that walks a path."""
        value = self.text(name)
        if not value.strip():
            raise self.bad(f"field {name!r} is empty")
        if value in (".", ".."):
            raise self.bad(f"field {name!r} is {value!r}, which no address can hold as an id")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number or a text that is one. Without a default the field is required."""
        value = self.values.get(name)
        if value is None or value == "":
            if default is None:
                raise self.bad(f"field {name!r} is missing")
            return default
        return self._integer(name, value)

    def maybe_integer(self, name: str) -> int | None:
        """A whole number, None when absent, null or empty."""
        value = self.values.get(name)
        return None if value is None or value == "" else self._integer(name, value)

    def flag(self, name: str, default: bool | None = None) -> bool:
        """A truth value in any of the spellings true, 1, "1", "true". Without a default the field is required."""
        value = self.values.get(name)
        if value is None:
            if default is None:
                raise self.bad(f"field {name!r} is missing")
            return default
        word = str(value).strip().lower()
        if word in _YES or word in _NO:
            return word in _YES
        raise self.bad(f"field {name!r} is not a truth value")

    def moment(self, name: str, zone: tzinfo | None = None, *, clamped: bool = False) -> datetime | None:
        """A time in UTC, None when absent, null or the platform's "no date".

        A time without an offset is read in `zone`; without a zone it is refused: guessing shifts a send by hours.
        `clamped` moves a time at the ends of the calendar to FIRST_MOMENT or LAST_MOMENT.
        """
        value = self.values.get(name)
        if value is None or (
            isinstance(value, str) and (value.strip() in _NO_DATE or value.strip().startswith(_NO_DAY))
        ):
            return None
        if not isinstance(value, str):
            raise self.bad(f"field {name!r} is not a time")
        try:
            moment = time_of(value)
        except ValueError:
            raise self.bad(f"field {name!r} is not a time") from None
        if moment.tzinfo is None:
            if zone is None:
                raise self.bad(f"field {name!r} has no UTC offset")
            moment = moment.replace(tzinfo=zone)
        if clamped:
            moment = min(max(moment, FIRST_MOMENT), LAST_MOMENT)
        try:
            return moment.astimezone(UTC)
        except OverflowError:
            raise self.bad(f"field {name!r} is out of range") from None

    def required_moment(self, name: str, zone: tzinfo | None = None) -> datetime:
        """A time in UTC that must be there."""
        moment = self.moment(name, zone)
        if moment is None:
            raise self.bad(f"field {name!r} is missing")
        return moment

    def _required(self, name: str) -> object:
        value = self.values.get(name)
        if value is None:
            raise self.bad(f"field {name!r} is missing")
        return value

    def _list(self, name: str, value: object) -> list[Any]:
        if not isinstance(value, list):
            raise self.bad(f"field {name!r} is not a list")
        return value

    def _text(self, name: str, value: object) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        raise self.bad(f"field {name!r} is not text")

    def _integer(self, name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise self.bad(f"field {name!r} is not a number")
        found = _WHOLE.fullmatch(str(value).strip())
        if found is None:
            raise self.bad(f"field {name!r} is not a whole number")
        return int(found[1])
