"""An incident's events in the journal: read as state, appended only if nobody else was faster."""

from __future__ import annotations

from collections.abc import Sequence

from recovery.desk.fold import fold
from recovery.desk.incident import Change, Incident, stream_of
from recovery.errors import UsageError
from recovery.journal import Journal


async def load(journal: Journal, ref: str) -> Incident:
    """The incident as it stands; UsageError when there is none of this name."""
    incident = await find(journal, ref)
    if incident is None:
        raise UsageError(f'There is no incident "{ref}".', "`allclear incident list` shows them.")
    return incident


async def find(journal: Journal, ref: str) -> Incident | None:
    """The incident as it stands, or None."""
    return fold(ref, await journal.stream(stream_of(ref)))


async def record(journal: Journal, ref: str, changes: Sequence[Change], seen_seq: int) -> int:
    """Append the changes decided on state `seen_seq` (0 for a new incident); the new last `seq`.

    Raises LedgerConflict when the incident has moved since: load it and decide again.
    """
    seq = seen_seq
    for change in changes:
        seq = await journal.append(stream_of(ref), change.kind, change.by, change.at, change.data, seq)
    return seq
