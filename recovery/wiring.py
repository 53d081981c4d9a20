"""Opens everything that settings name: the only place, beside the terminal, that knows concrete clients."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from integrations.absent import NoDashboard, NoTessitura
from integrations.assisted import Assistance, AssistedDashboard, check_reading
from integrations.dashboard import DashboardClient
from integrations.http import Headers, Sockets, Timeouts, Transport
from integrations.jira import JiraClient
from integrations.pro2 import Pro2Client
from integrations.pro2_probes import Pro2Probes, Unhurried
from integrations.rate import VENDOR_RATES, Rate, TokenBuckets
from integrations.replies import CapabilityManifest
from integrations.shared_rate import SharedBuckets
from integrations.slack import SlackClient
from integrations.tessitura import TessituraClient
from recovery.errors import ConfigError, LedgerUnavailable, RefusedError, UsageError
from recovery.ledger.ledger import Ledger
from recovery.manifests import LIMITER_FIRST, LIST_LAG, ONE_SHOT_RELEASE, READ_BY_ID, Proofs, load_proofs
from recovery.model import System
from recovery.policy import Policy
from recovery.ports import Account, Chat, JobDesk, Keep, ListDesk, RateGate, Tell, TicketDesk
from recovery.settings import AccountSettings, Settings, load_policy, reveal
from recovery.settings_remotes import DashboardSettings, SecretAt

__all__ = [
    "NO_ACCOUNTS",
    "SystemClock",
    "Systems",
    "check_reading",
    "desk_rates",
    "kill_switch",
    "open_ledger",
    "open_systems",
    "silent",
]

NO_ACCOUNTS: Sequence[str] = ("",)
"""Names no account, because none can have an empty name: `open_systems` then opens the ledger and the desks alone."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class SystemClock:
    """This machine's clock, shifted for rehearsals by a fixed offset (seconds)."""

    def __init__(self, offset_seconds: float = 0.0) -> None:
        self._offset = timedelta(seconds=offset_seconds)

    def now(self) -> datetime:
        """The present in UTC."""
        return datetime.now(UTC) + self._offset

    def monotonic(self) -> float:
        """Seconds since boot, suspended time included where the system counts it."""
        boottime = getattr(time, "CLOCK_BOOTTIME", None)
        return time.clock_gettime(boottime) if boottime is not None else time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(max(0.0, seconds))


@dataclass(frozen=True, slots=True)
class Systems:
    """Everything one run works with."""

    settings: Settings
    policy: Policy
    clock: SystemClock
    ledger: Ledger
    secret: bytes = field(repr=False)
    accounts: tuple[Account, ...]
    tickets: TicketDesk | None
    chat: Chat | None
    channel: str
    tell: Tell
    switched_off: Callable[[], str]


def silent(_what: str, _facts: object) -> None:
    """Progress that nobody wants to see."""


@asynccontextmanager
async def open_systems(
    settings: Settings, *, tell: Tell = silent, names: Sequence[str] = (), read_only: bool = False
) -> AsyncIterator[Systems]:
    """Opens the ledger and the clients of the named accounts (all when none is named); closes them at the end.

    Raises ConfigError naming the field, LedgerError. No request leaves until something is asked.
    """
    policy = load_policy(settings)
    clock = SystemClock(checked_offset(settings))
    secret = reveal(settings.marker_key, settings, "marker_key").get_secret_value().encode()
    async with AsyncExitStack() as stack:
        ledger = await open_ledger(settings, read_only=read_only)
        stack.push_async_callback(ledger.close)
        timeouts = Timeouts(read=policy.waits.read / 2, total=policy.waits.read)
        transports = await stack.enter_async_context(open_transports(settings, clock, ledger, tell, timeouts))
        chosen = [a for a in settings.accounts if not names or a.name in names]
        proofs = await load_proofs(ledger, System.PRO2.value, {a.name: a.proven_by or a.name for a in chosen})
        make = _Maker(transports, ledger, proofs)
        yield Systems(
            settings,
            policy,
            clock,
            ledger,
            secret,
            tuple(make.account(a) for a in chosen),
            make.jira(),
            make.slack(),
            settings.slack.channel if settings.slack else "",
            tell,
            kill_switch(settings),
        )


@dataclass(frozen=True, slots=True)
class Transports:
    """Makes transports on shared sockets, one clock, one rate gate and one evidence store; reads their secrets."""

    settings: Settings
    clock: SystemClock
    sockets: Sockets
    gate: RateGate
    keep: Keep
    timeouts: Timeouts

    def secret(self, at: SecretAt, field: str) -> str:
        """The secret at its place; ConfigError naming the field."""
        return reveal(at, self.settings, field).get_secret_value()

    def to(
        self,
        system: System,
        base_url: str,
        headers: Headers,
        *secrets: str,
        account: str = "",
        keep: Keep | None = None,
        gate: RateGate | None = None,
        budget: str = "",
        limited_before_execute: bool = False,
    ) -> Transport:
        """The way to one system; `secrets` never appear in errors or evidence. `keep` and `gate` stand in for ours."""
        return Transport(
            system=system.value,
            account=account,
            base_url=base_url,
            headers=headers,
            sockets=self.sockets,
            clock=self.clock,
            gate=gate or self.gate,
            keep=keep or self.keep,
            timeouts=self.timeouts,
            limited_before_execute=limited_before_execute,
            secrets=secrets,
            budget=budget,
        )


@asynccontextmanager
async def open_transports(
    settings: Settings, clock: SystemClock, ledger: Ledger, tell: Tell, timeouts: Timeouts | None = None
) -> AsyncIterator[Transports]:
    """Sockets of their own for the clients of one command, closed at the end."""
    sockets = Sockets()
    try:
        gate = rate_gate(settings, clock, ledger, tell)
        yield Transports(settings, clock, sockets, gate, ledger.keep, timeouts or Timeouts())
    finally:
        await sockets.close()


def rate_gate(settings: Settings, clock: SystemClock, ledger: Ledger, tell: Tell) -> RateGate:
    """Budgets shared by all workers where the ledger can share them, else kept in this process."""
    if ledger.slots is not None:
        return SharedBuckets(clock, ledger.slots, VENDOR_RATES, _rates(settings), tell=tell)
    return TokenBuckets(clock, VENDOR_RATES, _rates(settings), tell=tell)


def manifest_of(system: str, proofs: Proofs) -> CapabilityManifest:
    """What clients may count on; every flag that is not proven stays at its weakest."""
    return CapabilityManifest(
        system,
        limits_before_executing=proofs.holds(LIMITER_FIRST),
        draft_leaves_once=proofs.holds(ONE_SHOT_RELEASE),
        read_after_write=proofs.holds(READ_BY_ID),
        search_lag_seconds=proofs.seconds(LIST_LAG),
    )


@asynccontextmanager
async def open_probes(systems: Systems, account: str) -> AsyncIterator[Pro2Probes]:
    """The clients of the truth tests, on sockets of their own. RefusedError unless settings call it a test account."""
    named = next((a for a in systems.settings.accounts if a.name == account), None)
    if named is None:
        raise UsageError(f"There is no account {account!r}.", "The accounts stand in allclear.toml.")
    if not named.test_account:
        raise RefusedError(
            f"{account} is not a test account, so nothing is tried on it.",
            "Set test_account = true for an account whose contacts and campaigns are all your own.",
        )
    async with open_transports(systems.settings, systems.clock, systems.ledger, systems.tell) as transports:
        yield _Maker(transports, systems.ledger).probes(named)


async def open_ledger(settings: Settings, *, read_only: bool = False) -> Ledger:
    """The ledger that settings name."""
    url = settings.ledger.url
    if settings.ledger.url_at is not None:
        url = reveal(settings.ledger.url_at, settings, "ledger.url_at").get_secret_value()
    if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
        url = f"sqlite:///{(settings.folder / url.removeprefix('sqlite:///')).resolve()}"
    state_dir = settings.path(settings.ledger.state_dir)
    clock = SystemClock(checked_offset(settings))
    kill_file = settings.path(settings.kill_file)
    people = load_policy(settings).people
    try:
        return await Ledger.open(url, state_dir, kill_file=kill_file, read_only=read_only, clock=clock, people=people)
    except LedgerUnavailable as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR):
            raise LedgerUnavailable(
                f"ledger.state_dir: {state_dir} is no folder that can be written: {cause.strerror}.",
                "Correct ledger.state_dir in allclear.toml, or the folder's owner.",
            ) from error
        raise


def kill_switch(settings: Settings) -> Callable[[], str]:
    """Says why nothing may leave: the kill file or `ALLCLEAR_KILL`; one that cannot be read counts as on."""
    path = settings.path(settings.kill_file)

    def why() -> str:
        if os.environ.get("ALLCLEAR_KILL"):
            return "ALLCLEAR_KILL is set"
        try:
            return f"the file {path.name} exists" if path.exists() else ""
        except OSError as error:
            return f"the kill file cannot be looked at ({error.strerror})"

    return why


def checked_offset(settings: Settings) -> float:
    """The rehearsal's clock offset; ConfigError unless every remote is on this machine."""
    offset = settings.rehearsal.clock_offset_seconds
    if offset:
        outside = [u for u in _urls(settings) if urlsplit(u).hostname not in LOOPBACK]
        if outside:
            raise ConfigError(
                f"rehearsal.clock_offset_seconds: a shifted clock is for loopback servers only, not for {outside[0]}.",
                "Remove the [rehearsal] table.",
            )
    return offset


def _urls(settings: Settings) -> list[str]:
    urls = [s.base_url for a in settings.accounts for s in (a.pro2, a.dashboard, a.tessitura) if s and s.base_url]
    urls += [s.base_url for s in (settings.jira, settings.slack, settings.zendesk) if s is not None]
    if settings.pagerduty is not None:
        urls += [settings.pagerduty.events_url, settings.pagerduty.rest_url]
    urls += [s.base_url for s in (settings.clickup, settings.pendo, settings.statuspage) if s is not None]
    urls += [f"smtp://{settings.smtp.host}"] if settings.smtp is not None else []
    return urls + [p.base_url for p in settings.panels]


def _rates(settings: Settings) -> dict[tuple[str, str], Rate]:
    rates: dict[tuple[str, str], Rate] = {}
    for account in settings.accounts:
        for system in (System.PRO2, System.DASHBOARD, System.TESSITURA):
            named = getattr(account, system.value)
            if named is None:
                continue
            per_second = named.requests_per_second
            rates[account.name, system.value] = Rate(
                per_second, max(1.0, per_second if system is not System.PRO2 else 1.0)
            )
    return rates | desk_rates(settings)


def desk_rates(settings: Settings) -> dict[tuple[str, str], Rate]:
    """The paces that settings give to desks; the others keep to their vendors' limits."""
    named = {
        System.JIRA: settings.jira,
        System.SLACK: settings.slack,
        System.ZENDESK: settings.zendesk,
        System.PAGERDUTY: settings.pagerduty,
        System.CLICKUP: settings.clickup,
        System.PENDO: settings.pendo,
        System.STATUSPAGE: settings.statuspage,
    }
    paces = {system: desk.requests_per_second for system, desk in named.items() if desk is not None}
    return {("", system.value): Rate(pace, max(1.0, pace)) for system, pace in paces.items() if pace is not None}


def _assistance(dashboard: DashboardSettings) -> Assistance:
    given = dashboard.assisted
    return Assistance(
        links={str(page): link for page, link in given.links.items()},
        offers=frozenset(given.offers),
        log_age_seconds=given.log_age_minutes * 60,
        definitions_age_seconds=given.definitions_age_hours * 3600,
    )


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the clients of the accounts, the ticket desk and the chat."""

    transports: Transports
    ledger: Ledger
    proofs: Mapping[str, Proofs] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return self.transports.settings

    def account(self, named: AccountSettings) -> Account:
        """One account's clients."""
        where = f"accounts.{named.name}"
        token = self.transports.secret(named.pro2.token, f"{where}.pro2.token")
        proofs = self.proofs.get(named.name, Proofs())
        proven = manifest_of(System.PRO2.value, proofs)
        pro2 = Pro2Client(
            self.transports.to(
                System.PRO2,
                named.pro2.base_url,
                Pro2Client.credentials(token),
                token,
                account=named.name,
                limited_before_execute=proven.limits_before_executing,
            ),
            named.time_zone,
            proven,
            v1_key=token if named.pro2.v1_key_in_url else "",
        )
        return Account(
            named.name,
            named.time_zone,
            pro2,
            pro2,
            self._dashboard(named, where),
            self._tessitura(named, where),
            proven.draft_leaves_once,
        )

    def _tessitura(self, named: AccountSettings, where: str) -> ListDesk:
        t = named.tessitura
        if t is None:
            return NoTessitura(named.name)
        password = self.transports.secret(t.password, f"{where}.tessitura.password")
        return TessituraClient(
            self.transports.to(
                System.TESSITURA,
                t.base_url,
                TessituraClient.credentials(t.user, t.group, t.location, password),
                password,
                account=named.name,
            ),
            named.time_zone,
        )

    def probes(self, named: AccountSettings) -> Pro2Probes:
        """What the truth tests of a test account call."""
        token = self.transports.secret(named.pro2.token, f"accounts.{named.name}.pro2.token")

        def transport(gate: RateGate | None = None) -> Transport:
            headers = Pro2Client.credentials(token)
            return self.transports.to(System.PRO2, named.pro2.base_url, headers, token, account=named.name, gate=gate)

        return Pro2Probes(transport(), transport(Unhurried()), named.time_zone)

    def _dashboard(self, named: AccountSettings, where: str) -> JobDesk:
        given = named.dashboard
        if given is None:
            return NoDashboard(named.name, self.transports.clock)
        if given.mode == "assisted":
            return AssistedDashboard(
                named.name, named.time_zone, self.ledger, self.transports.clock, _assistance(given)
            )
        assert given.token is not None  # the settings refuse a bridge without one
        token = self.transports.secret(given.token, f"{where}.dashboard.token")
        headers = DashboardClient.credentials(token)
        transport = self.transports.to(System.DASHBOARD, given.base_url, headers, token, account=named.name)
        return DashboardClient(transport, time_zone=named.time_zone)

    def jira(self) -> JiraClient | None:
        """The ticket desk, if one is configured."""
        named = self.settings.jira
        if named is None:
            return None
        token = self.transports.secret(named.token, "jira.token")
        transport = self.transports.to(System.JIRA, named.base_url, JiraClient.credentials(named.email, token), token)
        return JiraClient(
            transport,
            named.project,
            named.issue_type,
            site_url=named.browse_url or named.base_url,
            extra_fields=named.extra_fields,
        )

    def slack(self) -> SlackClient | None:
        """The chat, if one is configured."""
        named = self.settings.slack
        if named is None:
            return None
        token = self.transports.secret(named.token, "slack.token")
        return SlackClient(self.transports.to(System.SLACK, named.base_url, SlackClient.credentials(token), token))
