"""Progress on stderr: a line for each thing worth knowing, and at a terminal one live line below them.

The live line says how far it is, how fast it goes, about how long it will take, and what it waits for. In a pipe there
is no live line and no control code; the same facts stand in ordinary lines. Remote text never steers the terminal.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from recovery.terminal.terminal import CLEAR_LINE, clean, width_of

SUMMARY_EVERY_SECONDS = 30.0  # in a pipe
WAIT_SHOWN_SECONDS = 5.0  # a wait that nobody told again is over
SYSTEM_WORDS = {"pro2": "Pro2", "dashboard": "Dashboard", "tessitura": "Tessitura", "jira": "Jira", "slack": "Slack"}
LINES = {
    "audit-done": "read {account}: {slots} slots",
    "step": "{slot}: {what}",
    "settling": "{slot}: not proven either way; looking again whether it happened ({look} of 3)",
    "bake": "wave {wave} follows in {seconds} s",
    "alarm": "ALARM: {text}",
    "proof": "reading everything again for the closing balance",
}
COUNTED = {"audit-done": ("accounts", "account"), "item": ("items", "slot")}
"""Which event counts towards which total, and the fact that names what is done."""


class Progress:
    """Hears what a run tells (`recovery.ports.Tell`). Says nothing when quiet."""

    def __init__(
        self,
        *,
        quiet: bool,
        out: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quiet = quiet
        self._out = out or sys.stderr
        self._live = self._out.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
        self._now = now
        self._started = self._summed = now()
        self._stage = _Stage("", 0, self._started)
        self._waits: dict[str, tuple[str, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, what: str, facts: Mapping[str, object]) -> None:
        """Tells. `begin` (what, total) opens a stage of so many accounts or items."""
        if self._quiet:
            return
        if what == "begin":
            self._stage = _Stage(str(facts["what"]), int(str(facts["total"])), self._now())
            self._waits.clear()
        counted, named = COUNTED.get(what, ("", ""))
        if counted and counted == self._stage.noun:
            self._stage.count(str(facts[named]), str(facts.get("outcome", "")))
        line = self._waiting(facts) if what == "waiting" and "per_second" in facts else self._line(what, facts)
        if line:
            self._say(line)
        self._draw()

    def end(self) -> None:
        """Takes the live line away, so that results can follow it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._live and self._stage.noun:
            self._out.write(CLEAR_LINE)
            self._out.flush()
        self._stage = _Stage("", 0, self._now())

    def _line(self, what: str, facts: Mapping[str, object]) -> str:
        if what == "item":
            of = f"/{self._stage.total}" if self._stage.noun == "items" else ""
            return f"[{self._stage.done}{of}] {facts['outcome']:<9} {facts['slot']}: {facts['reason']}"
        if what == "waiting":
            return f"waiting: {facts['request']}"
        return LINES.get(what, "").format(**{k: str(v) for k, v in facts.items()})

    def _waiting(self, facts: Mapping[str, object]) -> str:
        """Remembers a wait for a rate limit; a line for it only where there is no live line, and once."""
        system, account = str(facts["system"]), str(facts["account"])
        where = f"{SYSTEM_WORDS.get(system, system.capitalize())} {account}".rstrip()
        words = f"{where}: {float(str(facts['per_second'])):g} req/s"
        known = where in self._waits
        self._waits[where] = (words, self._now())
        return "" if known or self._live else f"waiting: {words}"

    def _say(self, line: str) -> None:
        text = f"{self._now() - self._started:6.1f}s  {clean(line)}"
        if self._live:
            width = width_of(self._out)
            text = CLEAR_LINE + (text if len(text) <= width else text[: width - 3] + "...")
        self._out.write(text + "\n")
        self._out.flush()

    def _draw(self) -> None:
        if not self._stage.noun:
            return
        if not self._live:
            if self._now() - self._summed >= SUMMARY_EVERY_SECONDS:
                self._summed = self._now()
                self._say(self.summary())
            return
        self._out.write(CLEAR_LINE + clean(self.summary())[: width_of(self._out) - 1])
        self._out.flush()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(1.0, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._draw()

    def summary(self) -> str:
        """How far, how fast, how long, what is waited for: `items 12/28, 2 held | 9/min, about 2 min left`."""
        fresh = [words for words, told in self._waits.values() if self._now() - told < WAIT_SHOWN_SECONDS]
        waits = [fresh[0] + (f" and {len(fresh) - 1} more" if len(fresh) > 1 else "")] if fresh else []
        return " | ".join(part for part in (self._stage.sums(), self._stage.pace(self._now()), *waits) if part)


class _Stage:
    """So many accounts to read, or items to end."""

    def __init__(self, noun: str, total: int, began: float) -> None:
        self.noun, self.total, self._began = noun, total, began
        self._outcomes: dict[str, str] = {}

    @property
    def done(self) -> int:
        """How many are done; one that is told twice counts once."""
        return len(self._outcomes)

    def count(self, name: str, outcome: str) -> None:
        """One more is done."""
        self._outcomes[name] = outcome

    def sums(self) -> str:
        """Such as `items 12/28, 2 held`."""
        held = sum(o == "held" for o in self._outcomes.values())
        return f"{self.noun} {self.done}/{self.total}" + (f", {held} held" if held else "")

    def pace(self, now: float) -> str:
        """Such as `9/min, about 2 min left`; nothing before there is anything to reckon with."""
        elapsed, left = now - self._began, self.total - self.done
        if not self.done or elapsed < 1 or left <= 0:
            return ""
        return f"{self.done * 60 / elapsed:.0f}/min, about {_length(left * elapsed / self.done)} left"


def _length(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
