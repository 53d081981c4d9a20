"""An event of ours as whoever listens is told of it (Prefect events), whichever part tells. Pure; knows no Prefect."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EVENTS = uuid.uuid5(uuid.NAMESPACE_DNS, "events.allclear.invalid")


@dataclass(frozen=True, slots=True)
class Happening:
    """An event of ours. The id follows from what happened, so that telling it again is no second event."""

    event: str
    resource: str
    payload: Mapping[str, Any]
    about: str

    @property
    def id(self) -> uuid.UUID:
        """The same for everyone who tells of the same thing."""
        return uuid.uuid5(EVENTS, f"{self.event}\n{self.about}")
