"""Opens what a case works with: the playbook, the panels, the evidence folder and the desks that settings name.

Beside `wiring` and `cli` the only module of the core that knows concrete clients. No account of the platform is opened:
a case needs none of their secrets.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from integrations.http import Transport
from integrations.meta import MetaClient
from integrations.netcore import NetcoreClient
from integrations.oauth import OAuth, TokenFile, token_transport
from integrations.smtp import Smtp
from integrations.zendesk import Zendesk
from integrations.zendesk_search import ZendeskSearch
from recovery.case.card import CHROMIUM
from recovery.case.casework import Office
from recovery.case.effects import CaseDesks
from recovery.case.evidence import FolderStore
from recovery.case.link_witnesses import PANELS, WITNESSES
from recovery.case.panel_ports import Panel, PanelBook, PanelDesk
from recovery.case.references import TicketSearch
from recovery.errors import ConfigError
from recovery.model import System
from recovery.playbook import Playbook
from recovery.playbook_file import find_playbook, read_toml
from recovery.ports import Tell
from recovery.settings import Settings
from recovery.settings_remotes import PanelSettings, ZendeskSettings
from recovery.wiring import NO_ACCOUNTS, Systems, Transports, open_systems, open_transports, silent
from recovery.witness import Tape


@dataclass(frozen=True, slots=True)
class CaseSystems:
    """Everything that casework is done with; `systems.accounts` is empty."""

    systems: Systems
    office: Office
    tape: Tape
    sources: dict[str, object]
    desks: CaseDesks
    tickets: TicketSearch | None

    def playbook(self, playbook_id: str) -> Playbook:
        """The playbook as it stands in its file now; raises ConfigError naming the field."""
        settings = self.systems.settings
        named = settings.playbooks
        site = read_toml(settings.path(named.site)) if named.site is not None else None
        return find_playbook(settings.path(named.folder), playbook_id, WITNESSES, site)


@asynccontextmanager
async def open_case_systems(settings: Settings, *, tell: Tell = silent) -> AsyncIterator[CaseSystems]:
    """Opens the ledger, the panels and the desks; closes them at the end. No request leaves until something is asked.

    Raises ConfigError naming the field, LedgerError.
    """
    async with AsyncExitStack() as stack:
        systems = await stack.enter_async_context(open_systems(settings, tell=tell, names=NO_ACCOUNTS))
        transports = await stack.enter_async_context(open_transports(settings, systems.clock, systems.ledger, tell))
        make = _Maker(transports, Tape(systems.ledger.keep))
        # A key of its own: an attestation must not be verifiable with, or reveal anything about, the marker key.
        signing = hmac.digest(systems.secret, b"allclear attestation", "sha256")
        store = FolderStore(settings.path(settings.ledger.state_dir) / "evidence")
        zendesk, search = make.zendesk()
        yield CaseSystems(
            systems,
            Office(systems.ledger, store, systems.clock, signing, CHROMIUM if settings.playbooks.pictures else None),
            make.tape,
            {PANELS: make.panels()},
            CaseDesks(systems.tickets, zendesk, systems.chat, make.smtp(), make.ticket_url(), store),
            search,
        )


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes clients on shared sockets; what a panel answers passes the tape and so becomes the case's evidence."""

    transports: Transports
    tape: Tape

    @property
    def settings(self) -> Settings:
        return self.transports.settings

    def panels(self) -> PanelBook:
        """Every panel of the settings with its client."""
        panels: list[Panel] = []
        desks: dict[tuple[str, str], PanelDesk] = {}
        for number, named in enumerate(self.settings.panels):
            twin = next((p for p in self.settings.panels[:number] if _key(p) == _key(named)), None)
            if twin is not None and (twin.base_url, twin.token) != (named.base_url, named.token):
                # One name for two panels would let a case read another customer's templates.
                raise ConfigError(f"panels[{number}].ref: {named.ref!r} names two different panels.", "Rename one.")
            panels.append(Panel(named.account, named.provider, named.ref, named.url, named.regions, named.name))
            desks[_key(named)] = self._panel(named, f"panels[{number}].token")
        return PanelBook(tuple(panels), desks)

    def _panel(self, named: PanelSettings, field: str) -> PanelDesk:
        token = self.transports.secret(named.token, field)

        def transport(system: System, headers: Mapping[str, str]) -> Transport:
            return self.transports.to(
                system, named.base_url, headers, token, account=named.account, keep=self.tape.keep
            )

        if named.provider == System.META.value:
            meta = transport(System.META, MetaClient.credentials(token))
            return MetaClient(meta, named.ref, self.transports.gate)
        netcore = transport(System.NETCORE, NetcoreClient.credentials(token))
        return NetcoreClient(netcore, languages=named.languages, lists_all=named.lists_all)

    def zendesk(self) -> tuple[Zendesk | None, TicketSearch | None]:
        """The customers' desk and its search, if one is configured."""
        named = self.settings.zendesk
        if named is None:
            return None, None
        if named.token is not None:
            token = self.transports.secret(named.token, "zendesk.token")
            pair = base64.b64encode(f"{named.client_id}/token:{token}".encode()).decode()
            headers = {"Authorization": f"Basic {pair}"}
            transport = self.transports.to(System.ZENDESK, named.base_url, headers, token)
            return Zendesk(transport, site=named.base_url), ZendeskSearch(transport, site=named.base_url)
        oauth = self._oauth(named)
        transport = self.transports.to(System.ZENDESK, named.base_url, oauth.headers)
        return Zendesk(transport, site=named.base_url, oauth=oauth), ZendeskSearch(transport, site=named.base_url)

    def _oauth(self, named: ZendeskSettings) -> OAuth:
        assert named.client_secret is not None
        secret = self.transports.secret(named.client_secret, "zendesk.client_secret")
        first = self.transports.secret(named.first_refresh, "zendesk.first_refresh") if named.first_refresh else ""
        transport = token_transport(
            system=System.ZENDESK.value,
            account="",
            base_url=named.base_url,
            sockets=self.transports.sockets,
            clock=self.transports.clock,
            gate=self.transports.gate,
            client_secret=secret,
        )
        folder = self.settings.path(self.settings.ledger.state_dir)
        folder.mkdir(parents=True, exist_ok=True)
        return OAuth(
            transport=transport,
            tokens=TokenFile(folder / "zendesk-token.json"),
            clock=self.transports.clock,
            client_id=named.client_id,
            client_secret=secret,
            scope=named.scope,
            grant=named.grant,
            first_refresh=first,
        )

    def smtp(self) -> Smtp | None:
        """The mailer, if one is configured."""
        named = self.settings.smtp
        if named is None:
            return None
        if named.user and named.password is None:
            raise ConfigError("smtp.password: a user needs a password", "Say where the password is.")
        password = self.transports.secret(named.password, "smtp.password") if named.password is not None else ""
        return Smtp(
            host=named.host,
            port=named.port,
            sender=named.sender,
            security=named.security,
            user=named.user,
            password=password,
            clock=self.transports.clock,
            keep=self.transports.keep,
        )

    def ticket_url(self) -> str:
        """The address of a customer ticket with `{ref}` in place of its number, "" when no desk is configured."""
        named = self.settings.zendesk
        return f"{named.base_url.rstrip('/')}/agent/tickets/{{ref}}" if named is not None else ""


def _key(named: PanelSettings) -> tuple[str, str]:
    return named.provider, named.ref
