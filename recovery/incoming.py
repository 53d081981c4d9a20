"""What an incoming delivery may cause: a record, and at most an audit. Never a plan, an approval or a write anywhere.

One authentic delivery is one stream "incoming/<source>/<ref>" whose first event is written at sequence 0: that one step
is both the memory of the delivery (a replay conflicts, in whichever process it arrives) and its effect, so a crash can
lose neither without the other. An unsigned hint writes nothing of what it says and is counted against an hourly bound.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from recovery.errors import AllclearError, LedgerConflict, UsageError
from recovery.model import OutageWindow, iso
from recovery.ports import Clock
from recovery.window import make_window

if TYPE_CHECKING:
    from recovery.ledger.ledger import Ledger

PREFIX = "incoming/"
AUDIT_WANTED, AUDITED, NOTED = "audit_wanted", "audited", "noted"
HINTS = "incoming/statuspage/hints"
LOOK_BACK = timedelta(hours=2)
STILL_WANTED = timedelta(hours=24)
HOUR = timedelta(hours=1)
LONGEST_WORD = 200

Audit = Callable[[OutageWindow], Awaitable[Mapping[str, object]]]


@dataclass(frozen=True, slots=True)
class Caused:
    """What one delivery comes to: an audit of a window, or a note."""

    kind: str
    facts: Mapping[str, object]
    window: OutageWindow | None = None


@dataclass(slots=True)
class Inbox:
    """Decides and records. `accounts` are all that are configured; `slack_users` may press buttons."""

    ledger: Ledger
    clock: Clock
    accounts: Sequence[str]
    most_hours: float
    slack_users: frozenset[str] = frozenset()
    reads_per_hour: int = 12
    wanted: deque[tuple[str, OutageWindow]] = field(default_factory=deque)
    _hints: deque[datetime] = field(default_factory=deque)

    async def take(self, source: str, ref: str, body: bytes) -> bool:
        """Records an authentic delivery; False when it was taken before. UsageError when it says nothing of use."""
        caused = _READERS[source](self, body)
        stream = f"{PREFIX}{source}/{ref}"
        try:
            await self.ledger.append(stream, caused.kind, source, self.clock.now(), caused.facts, 0)
        except LedgerConflict:
            return False
        if caused.window is not None:
            self.wanted.append((stream, caused.window))
        return True

    async def hint(self) -> bool:
        """An unsigned hint: one more read of the last two hours, at most so many an hour; whether it counted."""
        now = self.clock.now()
        while self._hints and now - self._hints[0] >= HOUR:
            self._hints.popleft()
        if len(self._hints) >= self.reads_per_hour:
            return False
        self._hints.append(now)
        window = OutageWindow(now - LOOK_BACK, now, tuple(self.accounts))
        await self.ledger.append(HINTS, AUDIT_WANTED, "statuspage", now, _window_facts(window))
        self.wanted.append((HINTS, window))
        return True

    async def resume(self) -> None:
        """Takes up audits that were wanted and not made when the last receiver stopped."""
        for name in await self.ledger.streams(PREFIX):
            events = await self.ledger.stream(name)
            last = events[-1]
            if name != HINTS and last.kind == AUDIT_WANTED and self.clock.now() - last.at < STILL_WANTED:
                self.wanted.append((name, _window_of(last.data)))

    async def audit_next(self, audit: Audit) -> bool:
        """Makes one wanted audit and records what it found; False when none is wanted."""
        if not self.wanted:
            return False
        stream, window = self.wanted.popleft()
        try:
            found: Mapping[str, object] = await audit(window)
        except AllclearError as error:
            found = {"problem": str(error)}
        await self.ledger.append(stream, AUDITED, "allclear", self.clock.now(), found)
        return True

    # ---- what each source says -------------------------------------------------------------------------------------

    def _outage(self, body: bytes) -> Caused:
        """{"event": "outage.resolved", "window": {"start", "end", "accounts", "incident"}}."""
        told = _object(body)
        if told.get("event") != "outage.resolved":
            return Caused(NOTED, {"event": _word(told.get("event"))})
        given = told.get("window")
        if not isinstance(given, dict):
            raise UsageError("The delivery names no window.", "See docs/security.md.")
        wanted = given.get("accounts") or []
        if not isinstance(wanted, list) or not all(isinstance(a, str) for a in wanted):
            raise UsageError("accounts is a list of names.", "See docs/security.md.")
        window = make_window(
            _moment(given.get("start")),
            _moment(given.get("end")),
            tuple(wanted),
            list(self.accounts),
            now=self.clock.now(),
            most_hours=self.most_hours,
            incident=_word(given.get("incident") or ""),
        )
        return Caused(AUDIT_WANTED, _window_facts(window), window)

    def _pagerduty(self, body: bytes) -> Caused:
        """A V3 event: what happened to which incident. The page's state is read from PagerDuty, not believed here."""
        event = _object(body).get("event")
        told = event if isinstance(event, dict) else {}
        data = told.get("data")
        incident = data.get("id") if isinstance(data, dict) else None
        return Caused(NOTED, {"event": _word(told.get("event_type")), "incident": _word(incident)})

    def _slack(self, body: bytes) -> Caused:
        """A button: `allclear.audit` asks for an audit of the last two hours, any other press is noted."""
        try:
            form = parse_qs(body.decode("utf-8", "strict"), max_num_fields=10)
        except ValueError:
            raise UsageError("The delivery is not a form.", "Only interactive messages are taken.") from None
        told = _object("".join(form.get("payload", [])).encode())
        user = told.get("user")
        who = user.get("id") if isinstance(user, dict) else None
        actions = told.get("actions")
        first = actions[0] if isinstance(actions, list) and actions and isinstance(actions[0], dict) else {}
        facts: dict[str, object] = {"user": _word(who), "button": _word(first.get("action_id"))}
        if who not in self.slack_users:
            return Caused(NOTED, {**facts, "refused": "this user may not press buttons"})
        if first.get("action_id") != "allclear.audit":
            return Caused(NOTED, facts)
        now = self.clock.now()
        window = OutageWindow(now - LOOK_BACK, now, tuple(self.accounts))
        return Caused(AUDIT_WANTED, {**facts, **_window_facts(window)}, window)


_READERS: Mapping[str, Callable[[Inbox, bytes], Caused]] = {
    "outage": Inbox._outage,
    "pagerduty": Inbox._pagerduty,
    "slack": Inbox._slack,
}


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise UsageError("The delivery is not JSON.", "See docs/security.md.") from None
    if not isinstance(told, dict):
        raise UsageError("The delivery is not a JSON object.", "See docs/security.md.")
    return told


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise UsageError("start and end are times such as 2026-11-01T05:00:00Z.", "See docs/security.md.") from None
    if moment.tzinfo is None:
        raise UsageError("start and end need a time zone.", "Write them as 2026-11-01T05:00:00Z.")
    return moment


def _word(value: object) -> str:
    """A sender's word as data: text, short, one line."""
    return " ".join(str("" if value is None else value).split())[:LONGEST_WORD]


def _window_facts(window: OutageWindow) -> dict[str, object]:
    return {
        "start": iso(window.started_at),
        "end": iso(window.ended_at),
        "accounts": list(window.accounts),
        "incident": window.incident,
    }


def _window_of(facts: Mapping[str, object]) -> OutageWindow:
    accounts = facts.get("accounts")
    names = tuple(map(str, accounts)) if isinstance(accounts, list) else ()
    start, end = (datetime.fromisoformat(str(facts[k])) for k in ("start", "end"))
    return OutageWindow(start, end, names, incident=str(facts.get("incident", "")))
