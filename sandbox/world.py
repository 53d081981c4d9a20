"""The shared state of one pretend estate: clock, journals, planned faults and seeded randomness.

Everything here is used from one event loop in one process; nothing is thread-safe.
"""

from __future__ import annotations

import json
import os
import random
import time
import weakref
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FAULT_KINDS = frozenset(
    {
        "500",
        "502",
        "503",
        "429",
        "429-bare",
        "401",
        "403",
        "500-after",
        "502-after",
        "reset-before",
        "reset-after",
        "hang",
        "hang-after",
        "slow-drip",
        "truncated",
        "html",
        "html-before",
        "redirect",
        "empty-ok",
    }
)


@dataclass
class Fault:
    """A planned misbehaviour of one route of one system.

    `times` is how often it strikes (-1: always), `after` how many matching requests pass unharmed first, `seconds` how
    long a hang lasts or a Retry-After says. Kinds outside FAULT_KINDS are allowed: a twin may ask for them itself.
    """

    system: str
    account: str = "*"
    op: str = "*"
    kind: str = "500"
    times: int = 1
    seconds: float = 0.0
    after: int = 0

    def matches(self, system: str, account: str, op: str) -> bool:
        """Whether this fault is meant for this request; "*" stands for any."""
        return self.system in ("*", system) and self.account in ("*", account) and self.op in ("*", op)


@dataclass
class Faults:
    """The faults still to come, in the order in which they were added."""

    planned: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Plan one fault."""
        self.planned.append(fault)

    def take(self, system: str, account: str, op: str, kinds: frozenset[str] | None = None) -> Fault | None:
        """Return the fault that strikes this request, if any, and use it up once.

        With `kinds`, only faults of those kinds are looked at: the middleware asks for the generic ones, a twin for its
        own, and neither uses up what is meant for the other.
        """
        for fault in self.planned:
            if kinds is not None and fault.kind not in kinds:
                continue
            if not fault.matches(system, account, op):
                continue
            if fault.after > 0:
                fault.after -= 1
                continue
            if fault.times == 0:
                continue
            if fault.times > 0:
                fault.times -= 1
                if fault.times == 0:
                    self.planned.remove(fault)
            return fault
        return None

    def clear(self) -> None:
        """Forget every planned fault."""
        self.planned.clear()

    def as_list(self) -> list[dict[str, Any]]:
        """The planned faults as plain data, for the control server."""
        return [asdict(fault) for fault in self.planned]


class World:
    """One estate's shared state: clock, journals, faults, seeded randomness."""

    def __init__(self, root: Path, *, clock_offset_seconds: float = 0.0, seed: int = 1) -> None:
        self.root = Path(root)
        self.journal_dir = self.root / "journal"
        self.journal_dir.mkdir(parents=True, exist_ok=True)
        self.clock_offset_seconds = clock_offset_seconds
        self.random = random.Random(seed)
        self.faults = Faults()
        self.counts: Counter[str] = Counter()
        self._files: dict[str, int] = {}
        self._number = 0
        weakref.finalize(self, close_all, self._files)

    def now(self) -> datetime:
        """The estate's time, aware UTC: real time, plus the offset, plus everything advanced."""
        return datetime.fromtimestamp(time.time() + self.clock_offset_seconds, UTC)

    def advance(self, seconds: float) -> None:
        """Move the estate's clock forward (or, with a negative number, back)."""
        self.clock_offset_seconds += seconds

    def set_now(self, at: datetime) -> None:
        """Set the estate's clock by moving its offset, so that it runs on from `at`."""
        self.advance((at - self.now()) / timedelta(seconds=1))

    def journal(self, system: str, account: str, event: str, **fields: object) -> None:
        """Append one event to root/journal/<system>.jsonl, in one write straight to the operating system.

        The estate itself is not killed in tests, so that is enough for a killed product never to lose a line.
        """
        self._number += 1
        self.counts[f"{system}.{event}"] += 1
        line: dict[str, object] = {
            "at": self.now().isoformat(),
            "n": self._number,
            "system": system,
            "account": account,
            "event": event,
        }
        line.update(fields)
        file = self._files.get(system)
        if file is None:
            path = self.journal_dir / f"{system}.jsonl"
            file = self._files[system] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.write(file, (json.dumps(line, ensure_ascii=False, default=str) + "\n").encode())

    def read_journal(self, system: str) -> list[dict[str, Any]]:
        """Every event one system has journalled so far, oldest first; [] before the first."""
        path = self.journal_dir / f"{system}.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def close(self) -> None:
        """Close the journal files; a later event opens them again."""
        close_all(self._files)


def close_all(files: dict[str, int]) -> None:
    """Close every journal; done at the latest when the world is forgotten."""
    while files:
        os.close(files.popitem()[1])
