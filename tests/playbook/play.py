"""What the case tests are played with: streams in memory, a stepped clock, a panel that says what it is told."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from integrations.http import Sockets, Transport
from recovery.case.case import Case
from recovery.case.casework import Office, Outcome, open_case, run_checks
from recovery.case.evidence import FolderStore
from recovery.case.link_witnesses import PANELS, WITNESSES
from recovery.case.panel_ports import (
    CampaignUse,
    ClickCounts,
    MessageTemplate,
    Panel,
    PanelBook,
    PanelCapabilities,
    PanelSetting,
    TemplateButton,
    TemplateList,
)
from recovery.errors import LedgerConflict, RemoteError
from recovery.model import Exchange
from recovery.playbook import Playbook
from recovery.playbook_file import load_playbook
from recovery.witness import Tape

FOLDER = Path(__file__).parents[2] / "config" / "playbooks"
SITE = tomllib.loads((FOLDER / "site.example.toml").read_text(encoding="utf-8"))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHOP, HELP = "https://shop.example/offer?code={{1}}", "https://shop.example/help"
FIELDS = {
    "template_name": "spring_offer",
    "campaign_ref": "C-77",
    "since": "2026-02-20",
    "sent_on": "2026-02-20",
    "ticket_ref": "4711",
    "region": "IN",
}
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 20


def link_tracking() -> Playbook:
    return load_playbook(FOLDER / "link-tracking.toml", WITNESSES, SITE)


class SteppedClock:
    """Moves one second at each look, so that every event has its own time."""

    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment

    def monotonic(self) -> float:
        return (self.moment - NOW).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Line:
    seq: int
    kind: str
    by: str
    at: datetime
    data: Mapping[str, Any]


class MemoryStreams:
    """Append-only streams as the ledger keeps them."""

    def __init__(self) -> None:
        self.lines: dict[str, list[Line]] = {}

    async def append(
        self,
        stream: str,
        kind: str,
        by: str,
        at: datetime,
        data: Mapping[str, object],
        expected_seq: int | None = None,
    ) -> int:
        await asyncio.sleep(0)
        lines = self.lines.setdefault(stream, [])
        if expected_seq is not None and expected_seq != len(lines):
            raise LedgerConflict(f"{stream} has moved to {len(lines)}")
        lines.append(Line(len(lines) + 1, kind, by, at, data))
        return len(lines)

    async def stream(self, name: str) -> tuple[Line, ...]:
        await asyncio.sleep(0)
        return tuple(self.lines.get(name, ()))


class OpenGate:
    def __init__(self) -> None:
        self.penalties: list[float] = []

    async def acquire(self, account: str, system: str) -> None:
        del account, system

    def penalize(self, account: str, system: str, seconds: float) -> None:
        self.penalties.append(seconds)


def button(url: str, text: str = "Shop now", index: int = 0, card: int | None = None) -> TemplateButton:
    return TemplateButton(index, "URL", text, url, card)


def template(language: str = "en", *urls: str, **facts: Any) -> MessageTemplate:
    buttons = tuple(button(u, f"Button {n}", n) for n, u in enumerate(urls or (SHOP,)))
    known = MessageTemplate(f"t-{language}", "spring_offer", language, "APPROVED", "MARKETING", buttons, ("Hi",), False)
    return replace(known, **facts)


@dataclass
class ToldPanel:
    """A panel that says what the test wants, and fails where it wants that."""

    rows: tuple[MessageTemplate, ...] = (template(),)
    tracking: str = "on"
    counts: tuple[int | None, int | None, int | None] = (1000, 0, 0)
    complete: bool = True
    near: tuple[str, ...] = ()
    use: CampaignUse | None = CampaignUse("spring_offer", None, True)
    can: PanelCapabilities = PanelCapabilities(True, True, True, True, True)
    failing: dict[str, RemoteError] = field(default_factory=dict)
    tape: Tape | None = None
    reads: list[str] = field(default_factory=list)

    def capabilities(self) -> PanelCapabilities:
        return self.can

    async def _answer(self, op: str) -> None:
        self.reads.append(op)
        if self.tape is not None:
            body = '{"phone_number": "+4915112345678", "op": "' + op + '"}'
            request = f"GET https://graph.example/{op}?access_token=canary-secret-1"
            await self.tape.keep(Exchange("meta", "harbor", request, 200, NOW, "d" * 64, body, "trace-1"))
        if op in self.failing:
            raise self.failing[op]

    async def setting(self) -> PanelSetting:
        await self._answer("setting")
        return PanelSetting(self.tracking, "is_enabled_for_insights", "Harbor panel")

    async def templates(self, name: str) -> TemplateList:
        await self._answer("templates")
        rows = tuple(r for r in self.rows if r.name == name)
        return TemplateList(rows, self.near, self.complete, "" if self.complete else "a page could not be read")

    async def campaign(self, kind: str, ref: str) -> CampaignUse:
        await self._answer("campaign")
        assert self.use is not None
        return self.use

    async def clicks(self, template_refs: tuple[str, ...], start: datetime, end: datetime) -> ClickCounts:
        await self._answer("clicks")
        delivered, total, unique = self.counts
        return ClickCounts(start, end, delivered, delivered, total, unique)


class Table:
    """A desk at which a case is played: office, playbook, panel, and the steps most tests take."""

    def __init__(
        self, root: Path, panel: ToldPanel | None = None, *, provider: str = "netcore", **options: Any
    ) -> None:
        self.streams = MemoryStreams()
        self.clock = SteppedClock()
        self.store = FolderStore(root / "evidence")
        self.office = Office(self.streams, self.store, self.clock, b"canary-signing-key", options.get("browser"))
        self.playbook = options.get("playbook") or link_tracking()
        self.tape = Tape()
        self.panel = panel or ToldPanel()
        self.panel.tape = self.tape
        regions = options.get("regions", ("IN",))
        self.panels = options.get("panels") or (Panel("harbor", provider, "p1", "https://panel.example", regions),)
        self.sources: dict[str, object] = {
            PANELS: PanelBook(self.panels, {(p.provider, p.ref): self.panel for p in self.panels})
        }
        self.ref = ""

    async def open(self, **fields: str) -> Outcome:
        outcome = await open_case(self.office, self.playbook, "harbor", {**FIELDS, **fields}, "Ann")
        self.ref = outcome.case.ref
        return outcome

    async def run(self, **fields: str) -> Outcome:
        """Open the case and run its checks."""
        if not self.ref:
            await self.open(**fields)
        return await run_checks(
            self.office, self.playbook, self.ref, registry=WITNESSES, sources=self.sources, tape=self.tape
        )

    async def case(self) -> Case:
        return await self.office.load(self.ref)

    def kinds(self) -> list[str]:
        return [line.kind for line in self.streams.lines[f"case/{self.ref}"]]


def transport(
    app: Any, system: str, headers: Mapping[str, str], gate: OpenGate | None = None, **options: Any
) -> Transport:
    """A transport to a twin, in process."""
    return Transport(
        system=system,
        account="harbor",
        base_url="https://twin.example",
        headers=headers,
        sockets=Sockets(transport=httpx.ASGITransport(app=app)),
        clock=SteppedClock(),
        gate=gate or OpenGate(),
        **options,
    )
