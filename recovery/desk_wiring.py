"""Opens what the incident desk works with: settings, clients, ledger. Knows concrete clients, like `wiring`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from uuid import uuid4

from integrations.clickup import ClickUp
from integrations.http import Transport
from integrations.pagerduty import PagerDuty
from integrations.pendo import Pendo
from integrations.statuspage import Statuspage
from recovery.act import Runner
from recovery.case.wiring import open_case_systems
from recovery.desk.deeds import Desks
from recovery.desk.perform import Outbox
from recovery.desk.ports import Board
from recovery.desk.settings import DeskSettings, load_desk
from recovery.errors import ConfigError
from recovery.model import System
from recovery.ports import Tell
from recovery.settings import Settings
from recovery.settings_remotes import BoardSettings
from recovery.wiring import Systems, Transports, open_transports, silent


@dataclass(frozen=True, slots=True)
class DeskSystems:
    """Everything that the desk works with; `systems.accounts` is empty, for a desk needs none of their secrets."""

    systems: Systems
    desk: DeskSettings
    desks: Desks

    def outbox(self) -> Outbox:
        """The outbox of any incident of this ledger."""
        s = self.systems
        runner = Runner(s.ledger, s.clock, s.policy, s.tell, uuid4().hex, s.switched_off)
        return Outbox(runner, self.desks, self.desk, s.secret)


def has_desk(settings: Settings) -> bool:
    """Whether an incident desk is configured."""
    return (settings.path(settings.desk_folder) / "desk.toml").exists()


@asynccontextmanager
async def open_desk_systems(settings: Settings, *, tell: Tell = silent) -> AsyncIterator[DeskSystems]:
    """Opens the desk; closes it at the end. Raises ConfigError naming the field, LedgerError."""
    folder = settings.path(settings.desk_folder)
    if not has_desk(settings):
        raise ConfigError(
            f"There is no incident desk: {folder / 'desk.toml'} is missing.", "docs/desk.md has one to copy."
        )
    desk = load_desk(folder)
    if settings.jira is not None:  # the keys of our own tickets are internal, whatever desk.toml lists
        desk = desk.with_project(settings.jira.project)
    async with AsyncExitStack() as stack:
        case = await stack.enter_async_context(open_case_systems(settings, tell=tell))
        s = case.systems
        make = _Maker(await stack.enter_async_context(open_transports(settings, s.clock, s.ledger, tell)))
        c = case.desks
        yield DeskSystems(
            s,
            desk,
            Desks(c.incidents, c.chat, c.customers, make.pager(), make.board(), make.in_app(), make.status(), c.mail),
        )


@dataclass(frozen=True, slots=True)
class BoardKit:
    """What the factory of a plugged-in board is given, to return a `recovery.desk.ports.Board`.

    `transport(headers)` is an HTTP client to the board's `base_url` with our rates, retries of reads and evidence.
    """

    token: str = field(repr=False)
    options: Mapping[str, str]
    transport: Callable[[Mapping[str, str]], Transport]


@dataclass(frozen=True, slots=True)
class _Maker:
    transports: Transports

    @property
    def settings(self) -> Settings:
        return self.transports.settings

    def pager(self) -> PagerDuty | None:
        """Who wakes people, if configured."""
        named = self.settings.pagerduty
        if named is None:
            return None
        routing_key = self.transports.secret(named.routing_key, "pagerduty.routing_key")
        token = self.transports.secret(named.token, "pagerduty.token")
        return PagerDuty(
            events=self.transports.to(
                System.PAGERDUTY, named.events_url, {}, routing_key, token, budget=PagerDuty.EVENTS_BUDGET
            ),
            rest=self.transports.to(System.PAGERDUTY, named.rest_url, PagerDuty.credentials(token), routing_key, token),
            routing_key=routing_key,
            service=named.service,
        )

    def board(self) -> Board | None:
        """The clients' boards, if configured: ClickUp, or what is plugged in for it (R003.13)."""
        if self.settings.board is not None:
            return self._plugged(self.settings.board)
        named = self.settings.clickup
        if named is None:
            return None
        token = self.transports.secret(named.token, "clickup.token")
        transport = self.transports.to(System.CLICKUP, named.base_url, ClickUp.credentials(token), token)
        return ClickUp(transport, key_field=named.key_field)

    def _plugged(self, named: BoardSettings) -> Board:
        module, _, name = named.factory.partition(":")
        try:
            make = getattr(import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(
                f"board.factory: {named.factory!r} cannot be loaded: {error}.", 'Write it as "module:function".'
            ) from error
        token = self.transports.secret(named.token, "board.token") if named.token is not None else ""

        def transport(headers: Mapping[str, str]) -> Transport:
            return self.transports.to(System.CLICKUP, named.base_url, headers, *([token] if token else []))

        board: Board = make(BoardKit(token, named.options, transport))
        return board

    def in_app(self) -> Pendo | None:
        """In-app guides, if configured."""
        named = self.settings.pendo
        if named is None:
            return None
        key = self.transports.secret(named.key, "pendo.key")
        return Pendo(self.transports.to(System.PENDO, named.base_url, Pendo.credentials(key), key))

    def status(self) -> Statuspage | None:
        """The public status page, if configured."""
        named = self.settings.statuspage
        if named is None:
            return None
        key = self.transports.secret(named.key, "statuspage.key")
        transport = self.transports.to(System.STATUSPAGE, named.base_url, Statuspage.credentials(key), key)
        return Statuspage(transport, page=named.page)
