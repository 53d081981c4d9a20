"""Append-only streams of events, as the desk and casework need them; the ledger is one journal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol


class StreamEvent(Protocol):
    """One event of an append-only stream. `seq` counts from 1 without gaps; `at` is UTC."""

    @property
    def seq(self) -> int:
        """Place in the stream, from 1."""
        ...

    @property
    def kind(self) -> str:
        """What happened, in the past tense."""
        ...

    @property
    def by(self) -> str:
        """The person or the part of the product that did it."""
        ...

    @property
    def at(self) -> datetime:
        """When it was recorded, UTC."""
        ...

    @property
    def data(self) -> Mapping[str, object]:
        """The event's JSON fields."""
        ...


class Journal(Protocol):
    """Append-only streams of events; the ledger is one."""

    async def append(
        self,
        stream: str,
        kind: str,
        by: str,
        at: datetime,
        data: Mapping[str, object],
        expected_seq: int | None = None,
    ) -> int:
        """Add one event and return its `seq`; raises LedgerConflict when `expected_seq` is not the last one."""
        ...

    async def stream(self, name: str) -> tuple[StreamEvent, ...]:
        """Every event of the stream in order; empty when it does not exist."""
        ...
