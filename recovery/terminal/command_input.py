"""What a person wrote on the command line, checked: the window, the part of a plan, how to start, an approval."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from recovery.errors import UsageError
from recovery.model import OutageWindow, Plan
from recovery.plan import select
from recovery.settings import Settings
from recovery.window import make_window, parse_moment, parse_span

if TYPE_CHECKING:
    from recovery.wiring import Systems


def os_user() -> str:
    """Who is logged in. UsageError where the system knows no such name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise UsageError("This machine does not say who you are.", 'Give --by "YOUR NAME".') from None


@dataclass(frozen=True, slots=True)
class Where:
    """The window and the accounts as written on the command line."""

    config: Path | None
    start: str
    end: str
    last: str
    accounts: tuple[str, ...]
    incident: str

    @property
    def given(self) -> bool:
        """Whether any window was written."""
        return bool(self.start or self.end or self.last)

    def accounts_known(self, settings: Settings) -> tuple[str, ...]:
        """The accounts named, each of which must exist."""
        known = [a.name for a in settings.accounts]
        strangers = [a for a in self.accounts if a not in known]
        if strangers:
            raise UsageError(f"There is no account {strangers[0]!r}.", f"Known accounts: {', '.join(known)}.")
        return self.accounts

    def window(self, systems: Systems) -> OutageWindow:
        """The window, checked."""
        now = systems.clock.now()
        if self.last and (self.start or self.end):
            raise UsageError("--last stands instead of --start and --end.", "Give one or the other.")
        if self.last:
            started_at, ended_at = now - _some(self.last), now
        elif self.start and self.end:
            started_at, ended_at = parse_moment(self.start, now), parse_moment(self.end, now)
        else:
            raise UsageError(
                "Which outage? Give --start and --end, or --last 6h.", "`allclear audit --help` has examples."
            )
        return make_window(
            started_at,
            ended_at,
            self.accounts,
            [a.name for a in systems.settings.accounts],
            now=now,
            most_hours=systems.policy.limits.window_hours,
            incident=self.incident,
        )


def _some(span: str) -> timedelta:
    length = parse_span(span)
    if not length:
        raise UsageError(f"--last {span} is no time at all.", "Write for example --last 6h.")
    return length


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a plan is wanted."""

    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    most: int | None = None
    wave: int | None = None

    def of(self, plan: Plan, systems: Systems) -> Plan:
        """The plan, or the part of it, with its own digest."""
        if not (self.only or self.without or self.kinds or self.most is not None or self.wave is not None):
            return plan
        return select(
            plan,
            systems.policy,
            only=self.only,
            without=self.without,
            kinds=self.kinds,
            most=self.most,
            wave=self.wave,
        )


@dataclass(frozen=True, slots=True)
class How:
    """How a recovery is started."""

    digest: str
    by: str
    yes: bool
    dry_run: bool
    report: Path | None


@dataclass(frozen=True, slots=True)
class Consenting:
    """An approval as written on the command line."""

    digest: str
    by: str
    recipients: int
    accept_caveat: bool
    items: tuple[str, ...]
    reason: str
