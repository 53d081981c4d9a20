"""What a remote's reply to a write means, as a table.

Follows design invariant 4: `unknown` is a state. Only what provably never took effect is NOT_APPLIED, only a definite,
readable refusal is REJECTED, only a 2xx that the client's judge recognised is APPLIED; all else is UNKNOWN and is
settled by reading the remote.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Any, TypeAlias

import msgspec

from recovery.errors import RemoteError
from recovery.model import AttemptOutcome, WriteResult

MAX_DEPTH = 50
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # IIS may put one before its JSON
LONGEST_RETRY_AFTER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply read to its end. `url` carries no query secrets; `digest` is the SHA-256 of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    at: datetime
    digest: str

    def json(self) -> Any:
        """The body as JSON; `ValueError` when it is not JSON, not UTF-8 or nested deeper than 50."""
        try:
            value = msgspec.json.decode(self.body.removeprefix(BYTE_ORDER_MARK))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            raise ValueError(f"not JSON: {problem}") from None
        if _too_deep(value):
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
        return value

    def obj(self) -> dict[str, Any]:
        """The body as a JSON object, else `ValueError`."""
        value = self.json()
        if not isinstance(value, dict):
            raise ValueError(f"a JSON {type(value).__name__} where an object belongs")
        return value

    @property
    def content_type(self) -> str:
        """The media type in lower case without parameters, "" when none was sent."""
        return self.headers.get("content-type", "").split(";", 1)[0].strip().lower()


Judge: TypeAlias = Callable[[Reply], WriteResult | None]
"""Looks at a 2xx reply to a write. `None` and `ValueError` both mean "not what was expected": UNKNOWN."""


@dataclass(frozen=True, slots=True)
class CapabilityManifest:
    """What a remote is *proven* to do. Every flag starts false; unproven means the weakest behaviour is assumed.

    `search_lag_seconds` is how long a new object may stay invisible to a search; None means that nobody knows.
    """

    system: str
    limits_before_executing: bool = False
    draft_leaves_once: bool = False
    read_after_write: bool = False
    search_lag_seconds: float | None = None
    note: str = ""


def _too_deep(value: object) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for holder in level
            if isinstance(holder, (dict, list))
            for child in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


def is_json_type(content_type: str) -> bool:
    """Whether a media type promises JSON; a reply that names none is left to the judge."""
    return content_type in ("", "application/json", "text/json") or content_type.endswith("+json")


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """The wait a remote asked for, in seconds (RFC 9110: a number or a date), at most an hour; None when it did not."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - now).total_seconds()
        except (TypeError, ValueError):
            return None
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


TOO_MANY = (429, 420)
"""Statuspage says 420 where others say 429; nobody says it for anything else."""
_RESETS = ("ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset")
_UNIX_FROM = 1_000_000_000.0


def limit_wait_seconds(status: int, headers: Mapping[str, str], now: datetime) -> float | None:
    """The wait that a refusal for rate asks for: Retry-After, else the limiter's reset header; None when it says none.

    PagerDuty and Zendesk name the seconds until the reset, ClickUp its Unix time, Jira its ISO 8601 time. The reset
    counts on a refusal only: Zendesk and PagerDuty send the header with every reply.
    """
    wait = retry_after_seconds(headers, now)
    if wait is not None or status not in TOO_MANY:
        return wait
    for name in _RESETS:
        text = headers.get(name, "").strip()
        wait = _until(text, now) if text else None
        if wait is not None:
            return wait
    return None


def _until(text: str, now: datetime) -> float | None:
    try:
        number = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        if moment.tzinfo is None:
            return None
        number = moment.timestamp()
    if not math.isfinite(number):
        return None
    seconds = number - now.timestamp() if number >= _UNIX_FROM else number
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def classify(
    reply: Reply,
    judge: Judge,
    *,
    content_type_ok: Callable[[str], bool] = is_json_type,
    limited_before_execute: bool = False,
) -> WriteResult:
    """The class of one complete reply to a write. Never raises for what the remote said."""
    status = reply.status
    if 200 <= status < 300:
        return _judged(reply, judge, content_type_ok)
    wait = limit_wait_seconds(status, reply.headers, reply.at)
    if status in TOO_MANY or (status == 503 and wait is not None):
        outcome = AttemptOutcome.NOT_APPLIED if limited_before_execute else AttemptOutcome.UNKNOWN
        return WriteResult(outcome, detail=f"{status} rate limited: {reason_of(reply)}", retry_after_seconds=wait)
    if status == 401:
        return WriteResult(
            AttemptOutcome.REJECTED, detail=f"401 the credentials were refused: {reason_of(reply)}", auth_failed=True
        )
    if 400 <= status < 500 and status not in (408, 425) and has_reason(reply):
        return WriteResult(AttemptOutcome.REJECTED, detail=f"{status} {reason_of(reply)}")
    if 300 <= status < 400:
        return WriteResult(AttemptOutcome.UNKNOWN, detail=f"{status} a redirect, which writes never follow")
    return WriteResult(AttemptOutcome.UNKNOWN, detail=f"{status} {reason_of(reply)}")


def not_sent(why: str, *, auth_failed: bool = False) -> WriteResult:
    """Nothing left this machine, and why."""
    return WriteResult(AttemptOutcome.NOT_APPLIED, detail=f"not sent: {why}", auth_failed=auth_failed)


def _judged(reply: Reply, judge: Judge, content_type_ok: Callable[[str], bool]) -> WriteResult:
    if not content_type_ok(reply.content_type):
        return WriteResult(
            AttemptOutcome.UNKNOWN, detail=f"{reply.status} with {reply.content_type[:60]} instead of JSON"
        )
    try:
        result = judge(reply)
    except (ValueError, KeyError, TypeError, RemoteError) as problem:
        return WriteResult(AttemptOutcome.UNKNOWN, detail=f"{reply.status} that cannot be read: {problem}"[:300])
    if result is None:
        return WriteResult(AttemptOutcome.UNKNOWN, detail=f"{reply.status} without the expected field")
    return result


def has_reason(reply: Reply) -> bool:
    """Whether an error reply carries a reason of the API's own: JSON, or a short plain text; never an HTML page."""
    if not reply.body.strip() or reply.content_type in ("text/html", "application/xhtml+xml"):
        return False
    try:
        reply.json()
    except ValueError:
        return reply.content_type == "text/plain" and len(reply.body) < 2000 and b"<" not in reply.body
    return True


def reason_of(reply: Reply) -> str:
    """What an error reply says, as one short line of text (data, never markup); "" when it says nothing readable."""
    try:
        value = reply.json()
    except ValueError:
        return _line(reply.body.decode("utf-8", "replace")) if has_reason(reply) else "no readable reason"
    return _line(_said(value)) or "no readable reason"


_SPEAKING = (
    "errorMessages",
    "message",
    "title",
    "detail",
    "Description",
    "Details",
    "description",
    "result_message",
    "error",
    "errors",
    "err",
)


def _said(value: Any, depth: int = 0) -> str:
    if isinstance(value, str):
        return value
    if depth > 4:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_said(item, depth + 1) for item in value[:5])))
    if isinstance(value, dict):
        known = [value[name] for name in _SPEAKING if value.get(name)]
        if known:
            said = "; ".join(dict.fromkeys(filter(None, (_said(item, depth + 1) for item in known))))
            return f"{_code_of(value, said)}{said}"
        texts = (f"{name}: {item}" for name, item in value.items() if isinstance(item, str))
        return "; ".join(chain(texts)) if depth else json.dumps(value)
    return ""


def _code_of(error: Mapping[str, Any], said: str) -> str:
    """The error's number as Meta writes it before most of its messages, where the message leaves it out."""
    code = error.get("code")
    return f"(#{code}) " if isinstance(code, int) and not isinstance(code, bool) and f"#{code})" not in said else ""


def _line(text: str, length: int = 300) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:length]
