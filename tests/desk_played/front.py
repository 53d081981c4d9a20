"""The incident desk's front door for a test: the program at a terminal, the pretend desks, journals, the clock."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sandbox.estate import Estate
from tests.cli.program import PRELOADED, Ran, allclear, served
from tests.recovery.stage import Night

DESKS = ("pagerduty", "slack", "jira", "zendesk", "pendo", "statuspage", "clickup", "smtp")
CLIENTS = """
[clients.opera]
name = "City Opera"
calendar = "support"
p1_address_file = "../secrets/opera-p1-address"
domains = ["opera.example"]
notice_to = ["it@opera.example"]
board_ref = "{board}"
live_since = 2020-01-01T00:00:00Z

[clients.quay]
name = "The Quay"
calendar = "support"
p1_address_file = "../secrets/quay-p1-address"
domains = ["quay.example"]
notice_to = ["it@quay.example"]
board_ref = "{board}"
live_since = 2036-01-01T00:00:00Z
"""
ENGINEER, SPEAKER = "Dana Reyes", "Sam Okafor"


@dataclass
class Front:
    """One estate with all desks, one configuration, and what a person types."""

    night: Night
    deliveries: int = 0
    told: list[Ran] = field(default_factory=list)

    @property
    def estate(self) -> Estate:
        """The pretend estate."""
        return self.night.estate

    # ---- what a person types

    def run(self, *words: str) -> Ran:
        """One `allclear` command, for people to read; it may not end in a traceback."""
        ran = allclear(*words, "--config", str(self.night.config))
        self.told.append(ran)
        return ran

    def ask(self, *words: str, code: int | None = None) -> dict[str, Any]:
        """One `allclear incident` command with --json; its document."""
        ran = self.run("incident", *words, "--json")
        if code is not None:
            assert ran.code == code, (words, ran.code, ran.out[-3000:], ran.err)
        view: dict[str, Any] = ran.json
        assert view["exit_code"] == ran.code
        return view

    def announced(self, ref: str, phase: str, *more: str) -> dict[str, Any]:
        """An announcement prepared by the speaker and approved by the engineer; the incident after it."""
        words = self.ask("announce", ref, phase, "--by", SPEAKER, *more, code=3)
        return self.ask("approve", ref, words["digest"][:12], "--by", ENGINEER)

    def mail(self, name: str, sender: str, subject: str, text: str, to: str = "help@cxconnect.ai", **more: str) -> str:
        """A mail delivered into the Maildir; its Message-ID."""
        message_id = f"{name}@{sender.rpartition('@')[2]}"
        headers = {"From": sender, "To": to, "Subject": subject, "Message-ID": f"<{message_id}>", **more}
        lines = [*(f"{k}: {v}" for k, v in headers.items()), "", text]
        box = self.night.folder / "mail" / "new"
        self.deliveries += 1
        (box / f"{self.deliveries:03d}.{name}").write_text("\n".join(lines), encoding="utf-8")
        return message_id

    def p1_address(self, account: str = "harbor") -> str:
        """A client's secret address."""
        return (self.night.folder / "secrets" / f"{account}-p1-address").read_text(encoding="utf-8").strip()

    # ---- time and trouble

    def wait(self, **delta: float) -> None:
        """Lets the estate's time pass, and the product's with it."""
        self.estate.world.advance(timedelta(**delta).total_seconds())
        text = self.night.config.read_text(encoding="utf-8")
        offset = f"clock_offset_seconds = {self.estate.world.clock_offset_seconds}"
        self.night.config.write_text(re.sub(r"clock_offset_seconds = .*", offset, text), encoding="utf-8")

    def down(self, *systems: str) -> None:
        """These desks die."""
        for system in systems or DESKS:
            self._in_estate(self.estate.down(system))

    def up(self, *systems: str) -> None:
        """These desks are back, with what they had stored."""
        for system in systems or DESKS:
            self._in_estate(self.estate.up(system))

    def killed_after(self, system: str, op: str, event: str, *words: str) -> None:
        """The program is killed (SIGKILL) when the desk has done `op` and before it could say so; then the desk dies
        too and comes back.
        """
        before = len(self.night.events(system, event))
        self.night.fault(system, op, "hang-after", seconds=60)
        self.killed_when(lambda: len(self.night.events(system, event)) > before, *words)
        self.estate.world.faults.clear()
        self.down(system)
        self.up(system)

    def killed_when(self, happened: Callable[[], bool], *words: str) -> None:
        """The program is killed (SIGKILL) as soon as something has happened."""
        ended: list[Ran] = []
        call = threading.Thread(target=lambda: ended.append(self.run(*words)))
        call.start()
        give_up = time.monotonic() + 120
        try:
            while not happened():
                assert call.is_alive(), (words, ended)
                assert time.monotonic() < give_up, words
                time.sleep(0.02)
        finally:
            with suppress(ProcessLookupError):  # it has just ended by itself, which the next line finds out
                PRELOADED.kill()
            call.join()
        assert ended[0].code == -signal.SIGKILL, ended

    # ---- what the desks say

    def events(self, system: str, *names: str, **fields: object) -> list[dict[str, Any]]:
        """What a desk journalled."""
        return self.night.events(system, *names, **fields)

    def ledger(self) -> bytes:
        """The ledger's files as they are on the disk."""
        return b"".join(path.read_bytes() for path in self.night.folder.glob("allclear.db*"))

    def complaints(self) -> list[str]:
        """The oracle's."""
        return asyncio.run(self.night.oracle(claims=False))

    def _in_estate(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self.estate.failed.get_loop()).result(10)


@contextmanager
def open_front(folder: Path, *, manual: bool = False) -> Iterator[Front]:
    """The estate in a thread, three clients (one not gone live), a Maildir; `manual` leaves the guides to people."""
    # A desk that hangs is waited for until the program is killed, however slow this machine is.
    with served(folder, "quiet", waits={"write_deadline_seconds": 30}) as night:
        secrets = folder / "secrets"
        for name in ("opera", "quay"):
            (secrets / f"{name}-p1-address").write_text(f"p1-{name}@intake.example", encoding="utf-8")
        desk = folder / "desk" / "desk.toml"
        clients = CLIENTS.format(board=night.estate.info["clickup"]["list"])
        text = desk.read_text(encoding="utf-8") + clients
        if manual:
            text = text.replace('mode = "guides"', 'mode = "manual"')
        desk.write_text(text, encoding="utf-8")
        for name in ("new", "cur", "tmp"):
            (folder / "mail" / name).mkdir(parents=True)
        config = night.config.read_text(encoding="utf-8")
        night.config.write_text(f'maildir = "mail"\n{config}', encoding="utf-8")
        yield Front(night)
