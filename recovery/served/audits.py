"""How far back a scheduled audit must look: to the end of the last one, account by account. Knows no Prefect.

A server, a worker or a machine that was down for hours starts no audits, and makes none up when it is back; a platform
that was down could not be read by those that did run. So every scheduled audit records until when it has read which
account, and the next one recomputes what was due since then, as far back as the policy's `window_hours` allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from recovery.audit import AccountAudit
from recovery.model import iso

if TYPE_CHECKING:
    from recovery.ledger.ledger import Ledger

STREAM = "audits"


@dataclass(frozen=True, slots=True)
class LookBack:
    """Since when each account is to be read: `since`, but for those in `longer`. `note` says why, in our own words."""

    since: datetime
    longer: Mapping[str, datetime]
    note: str = ""

    @property
    def earliest(self) -> datetime:
        """The start of the whole audit."""
        return min((self.since, *self.longer.values()))

    def of(self, account: str) -> datetime:
        """The start for one account."""
        return self.longer.get(account, self.since)


async def look_back(ledger: Ledger, now: datetime, plain: timedelta, most: timedelta) -> LookBack:
    """`plain` back from now, and further where the last recorded audit ended before, or could not read an account.

    Never further than `most`: what was due before that is named in the note, to be audited by hand.
    """
    last = await _last(ledger, now)
    if last is None:
        return LookBack(now - plain, {})
    # As between two audits in their ordinary order: what had only just become due then is looked at once more.
    overlap, bound = plain / 2, now - most
    ended = datetime.fromisoformat(str(last["end"]))
    since = max(min(now - plain, ended - overlap), bound)
    unread = {name: datetime.fromisoformat(at) for name, at in dict(last["unread"]).items()}  # type: ignore[call-overload]
    longer = {name: max(at, bound) for name, at in unread.items() if max(at, bound) < since}
    return LookBack(since, longer, _note(ended, since, now - plain, bound, [ended - overlap, *unread.values()], longer))


def _note(
    ended: datetime,
    since: datetime,
    plain: datetime,
    bound: datetime,
    wanted: Iterable[datetime],
    longer: Mapping[str, datetime],
) -> str:
    said = []
    if since < plain:
        said.append(f"The last audit ended at {iso(ended)}; this one makes up for those that did not run since.")
    if longer:
        names = ", ".join(sorted(longer)[:5]) + (", ..." if len(longer) > 5 else "")
        said.append(f"Read further back, because it could not be read before: {names}.")
    first = min(wanted)
    if first < bound:
        said.append(f"From {iso(first)} to {iso(bound)} nothing was audited: audit that by hand.")
    return " ".join(said)


async def record(ledger: Ledger, asked: LookBack, end: datetime, read: Iterable[AccountAudit]) -> None:
    """Remembers until when the accounts were read; one that could not be read whole keeps its own beginning."""
    unread = {a.account: iso(asked.of(a.account)) for a in read if a.problems}
    name = f"{STREAM}/{end:%Y-%m}"
    await ledger.append(name, "audited", ledger.owner, end, {"end": iso(end), "unread": unread})


async def _last(ledger: Ledger, now: datetime) -> Mapping[str, object] | None:
    """The record of this month's last audit, or of the month before."""
    for moment in (now, now.replace(day=1) - timedelta(days=1)):
        events = await ledger.stream(f"{STREAM}/{moment:%Y-%m}")
        if events:
            return events[-1].data
    return None
