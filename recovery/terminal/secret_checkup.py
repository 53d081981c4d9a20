"""`allclear doctor`, the secrets: where each one is, and whether it can be read there. Never its value."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from recovery.settings import AccountSettings, SecretAt, Settings, reveal

DESKS = {
    "jira": ("token",),
    "slack": ("token",),
    "zendesk": ("client_secret", "first_refresh", "token"),
    "smtp": ("password",),
    "pagerduty": ("routing_key", "token"),
    "clickup": ("token",),
    "board": ("token",),
    "pendo": ("key",),
    "statuspage": ("key",),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A secret: whose account ("" for none), what it is, the setting that names it, and where that says it is."""

    account: str
    what: str
    field: str
    at: SecretAt

    def check(self, settings: Settings) -> None:
        """Raises ConfigError when it cannot be read."""
        reveal(self.at, settings, self.field)


def places(settings: Settings) -> Iterator[Place]:
    """Every secret that the settings name."""
    yield Place("", "marker key", "marker_key", settings.marker_key)
    for account in settings.accounts:
        yield from _of_account(account)
    for name, keys in DESKS.items():
        for key in keys:
            at = getattr(getattr(settings, name), key, None)
            if at is not None:
                yield Place("", f"{name} {key.replace('_', ' ')}", f"{name}.{key}", at)
    for n, panel in enumerate(settings.panels):
        yield Place(panel.account, f"{panel.provider} token", f"panels[{n}].token", panel.token)
    hooks = settings.webhooks
    for source, secrets in (("outage", hooks.outage), ("pagerduty", hooks.pagerduty), ("slack", hooks.slack)):
        for n, at in enumerate(secrets):
            yield Place("", f"{source} webhook", f"webhooks.{source}[{n}]", at)


def _of_account(account: AccountSettings) -> Iterator[Place]:
    where = f"accounts.{account.name}"
    yield Place(account.name, "pro2 token", f"{where}.pro2.token", account.pro2.token)
    if account.dashboard is not None and account.dashboard.token is not None:
        yield Place(account.name, "dashboard token", f"{where}.dashboard.token", account.dashboard.token)
    if account.tessitura is not None:
        yield Place(account.name, "tessitura password", f"{where}.tessitura.password", account.tessitura.password)


def without(settings: Settings, unread: Collection[Place]) -> Settings:
    """The settings without the desks and panels whose secrets cannot be read, so that the others can be asked.

    Accounts stay: they are opened by name, and one that is not named needs no secret.
    """
    lost = {place.field for place in unread}
    desks = {name: None for name, keys in DESKS.items() if lost & {f"{name}.{key}" for key in keys}}
    panels = tuple(panel for n, panel in enumerate(settings.panels) if f"panels[{n}].token" not in lost)
    return settings.model_copy(update={**desks, "panels": panels})
