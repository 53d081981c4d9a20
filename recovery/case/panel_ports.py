"""What link tracking needs of a messaging panel, by role; `integrations.netcore` and `integrations.meta` provide it.

Reads only: the panel's setting is changed by a named person, never by this product (R000.10). `traces` are the
provider's own trace ids of the replies.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class PanelCapabilities:
    """What the provider's API can answer; what it cannot is a human step with evidence, never a pass."""

    panel_setting: bool = False
    template_read: bool = False
    campaign_read: bool = False
    click_report: bool = False
    message_flag: bool = False


@dataclass(frozen=True, slots=True)
class PanelSetting:
    """The panel's link-tracking switch as the provider reports it; "unknown" when the field was not in the reply."""

    state: Literal["on", "off", "unknown"]
    field: str
    panel_name: str
    traces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TemplateButton:
    """One button. `index` counts from 0 in its place; `card` is the carousel card (from 0) or None."""

    index: int
    type: str
    text: str
    url: str = ""
    card: int | None = None


@dataclass(frozen=True, slots=True)
class MessageTemplate:
    """One language of a template. `status` and `category` are the provider's words in capitals; unknown ones are kept.

    `opted_out` is None when the provider has no such flag or did not send it. `bodies` are the texts of body, header,
    footer and card bodies.
    """

    ref: str
    name: str
    language: str
    status: str
    category: str
    buttons: tuple[TemplateButton, ...]
    bodies: tuple[str, ...] = ()
    opted_out: bool | None = None


@dataclass(frozen=True, slots=True)
class TemplateList:
    """Templates that carry exactly the wanted name; `near` are names that differ from it only in case or blanks.

    `complete` is false when a page failed, repeated or the cap was reached: then absence proves nothing.
    """

    templates: tuple[MessageTemplate, ...]
    near: tuple[str, ...]
    complete: bool
    problem: str
    traces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CampaignUse:
    """Which template a campaign or journey uses, when it went out, and its message flag where the provider tells."""

    template_name: str
    sent_at: datetime | None
    link_flag: bool | None
    traces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClickCounts:
    """Deliveries and clicks of some templates over [start, end] in UTC days.

    None means that the provider's reply had no such count, which is not zero. `total` and `unique` stay apart and are
    never added. `unique` is the sum of the provider's daily figures: who clicks on two days is in it twice.
    """

    start: datetime
    end: datetime
    sent: int | None
    delivered: int | None
    total: int | None
    unique: int | None
    traces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel mapped to an account. `regions`: upper-case codes of the panel and its numbers."""

    account: str
    provider: str
    ref: str
    url: str
    regions: tuple[str, ...] = ()
    name: str = ""


class PanelDesk(Protocol):
    """One provider's panel API for one panel. Reads raise `recovery.errors.RemoteError`."""

    def capabilities(self) -> PanelCapabilities:
        """What may be asked of it; asking for something else raises Refused."""
        ...

    async def ping(self) -> str:
        """Whether the panel answers with these credentials, in one sentence."""
        ...

    async def setting(self) -> PanelSetting:
        """The panel's link-tracking switch."""
        ...

    async def templates(self, name: str) -> TemplateList:
        """Every language of the template of exactly this name, all pages."""
        ...

    async def campaign(self, kind: str, ref: str) -> CampaignUse:
        """What a campaign or journey uses."""
        ...

    async def clicks(self, template_refs: tuple[str, ...], start: datetime, end: datetime) -> ClickCounts:
        """Deliveries and clicks of these templates."""
        ...


@dataclass(frozen=True, slots=True)
class PanelBook:
    """Which panels belong to which account, and the desk for each by (provider, panel ref)."""

    panels: tuple[Panel, ...]
    desks: dict[tuple[str, str], PanelDesk]

    def of(self, account: str) -> tuple[Panel, ...]:
        """Every panel mapped to the account: exactly one is right, none or several is a set-up error (R000.7)."""
        return tuple(p for p in self.panels if p.account == account)
