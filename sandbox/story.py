"""What a scenario hands to the estate: accounts with their twins wired to each other, and what was planted.

`Plot` is what the oracle later reads from root/truth.json: it is written down when a thing is planted and never
updated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sandbox.dashboard import DashboardHooks, DashboardState
from sandbox.pro2_records import API_USER, Campaign
from sandbox.pro2_state import Pro2State
from sandbox.tessitura import TessituraState
from sandbox.world import World

Row = dict[str, Any]


def stamp(at: datetime) -> str:
    """UTC with whole seconds and Z, as the claims file writes slots."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@dataclass
class Plot:
    """What was planted. `items` are the window's slots with the verdicts that would be right."""

    items: list[Row] = field(default_factory=list)
    never_touch: list[Row] = field(default_factory=list)
    contents: list[Row] = field(default_factory=list)
    syncs: list[Row] = field(default_factory=list)
    tags: dict[str, list[str]] = field(default_factory=dict)
    rules: list[Row] = field(default_factory=list)

    def item(
        self,
        account: str,
        system: str,
        kind: str,
        ref: str,
        due_at: datetime,
        expected: Sequence[str],
        case: str,
        **more: Any,
    ) -> None:
        """Write down one slot of the window: any verdict of `expected` is right."""
        row = {"account": account, "system": system, "kind": kind, "object": ref, "slot": stamp(due_at)}
        self.items.append({**row, "expected": list(expected), "case": case, **more})

    def rule(self, name: str, **about: Any) -> None:
        """Write down what the operator forbids: "quiet", "most" or "after tags"; see `sandbox.oracle_rules`."""
        self.rules.append({"rule": name, **about})

    def keep_off(self, account: str, system: str, ref: str, why: str) -> None:
        """Write down an object that nobody has any business touching."""
        self.never_touch.append({"account": account, "system": system, "object": ref, "why": why})


@dataclass
class Account:
    """One customer: its three systems, and whom its triggers select when (e-mail, first day, last day)."""

    name: str
    time_zone: str
    pro2: Pro2State
    dashboard: DashboardState
    tessitura: TessituraState
    matches: dict[str, list[tuple[str, datetime, datetime]]] = field(default_factory=dict)


@dataclass
class Story:
    """A scenario played into states, as seen at `now`. `singles` are the systems there is one of, by module name."""

    name: str
    world: World
    now: datetime
    started_at: datetime
    ended_at: datetime
    accounts: list[Account] = field(default_factory=list)
    plot: Plot = field(default_factory=Plot)
    valid_until: list[Row] = field(default_factory=list)
    singles: dict[str, Any] = field(default_factory=dict)

    @property
    def window(self) -> Row:
        """The outage window as estate.json tells it."""
        return {"start": stamp(self.started_at), "end": stamp(self.ended_at)}

    def account(self, name: str) -> Account:
        """One account by name."""
        return next(a for a in self.accounts if a.name == name)

    def truth(self) -> Row:
        """What the oracle needs to know, taken when the estate starts."""
        return {
            "scenario": self.name,
            "window": self.window,
            "api_user": API_USER,
            "items": self.plot.items,
            "never_touch": self.plot.never_touch,
            "contents": [
                {"account": a.name, "object": str(c.id), "content": c.content}
                for a in self.accounts
                for c in a.pro2.campaigns.values()
            ],
            "syncs": self.plot.syncs,
            "rules": self.plot.rules,
            "tags": {a.name: sorted(a.pro2.tags.values()) for a in self.accounts},
            "definitions": {a.name: sorted(a.dashboard.definitions) for a in self.accounts},
        }


def make_account(world: World, name: str, time_zone: str, *, profile: str = "strong") -> Account:
    """An account whose dashboard imports from its Tessitura into its Prospect2."""
    key = f"{world.random.getrandbits(64):016x}"
    pro2 = Pro2State(world, name, time_zone, token=f"pro2-{name}-{key}", profile=profile)
    tessitura = TessituraState(name, f"api-{name}", "7", "PRO2", f"tess-{name}-{key}")
    dashboard = DashboardState(name, f"dash-{name}-{key}", time_zone=time_zone)
    made = Account(name, time_zone, pro2, dashboard, tessitura)
    dashboard.hooks = hooks_of(made)
    return made


def hooks_of(account: Account) -> DashboardHooks:
    """How this account's dashboard reaches its Tessitura and its Prospect2."""
    pro2 = account.pro2

    def contents(list_ref: int, filters: Mapping[str, Any]) -> Sequence[tuple[int, str | None]]:
        return account.tessitura.rows_for_import(list_ref, filters)

    def apply(_: str, emails: list[str], tags: list[str], exclude_automations: bool) -> int:
        for email in emails:
            contact = pro2.add_contact(email)
            for tag in tags:
                pro2.add_tag(contact.id, tag, by="dashboard", automations=not exclude_automations)
        return len(emails)

    def remove(_: str, emails: list[str], tags: list[str]) -> int:
        found = [contact for contact in map(pro2.contact_by_email, emails) if contact is not None]
        for contact in found:
            for tag in tags:
                pro2.remove_tag(contact.id, tag, by="dashboard")
        return len(found)

    def matches(definition_id: str, now: datetime) -> Sequence[str]:
        return [email for email, since, until in account.matches.get(definition_id, []) if since <= now < until]

    def enter(_: str, automation: str, emails: Sequence[str]) -> None:
        found = [contact.id for contact in map(pro2.add_contact, emails)]
        if automation.isdigit():
            pro2.enter_automation(int(automation), found, by="trigger")

    return DashboardHooks(contents=contents, apply=apply, remove=remove, matches=matches, enter=enter)


def note_campaign(
    plot: Plot, account: Account, campaign: Campaign, expected: Sequence[str], case: str, **more: Any
) -> None:
    """Write down a campaign whose send time lies in the window."""
    assert campaign.sdate is not None
    ref, name = str(campaign.id), account.name
    plot.item(name, "pro2", "campaign", ref, campaign.sdate, expected, case, content=campaign.content, **more)
