"""Reads the campaigns and automations of one account (R001.2 to R001.8)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from recovery import slots
from recovery.audit_reading import GENERATIONS_KNOWN, Found, NotDue, Reader
from recovery.errors import RemoteError
from recovery.model import Evidence, Facts, Kind, Saw, Schedule, Scheduled, Slot, System, Testimony, iso
from recovery.plan import item_marker
from recovery.ports import Automation, Campaign, Listing
from recovery.testify import (
    CAMPAIGN_REPORT,
    LIVE,
    MARKER,
    STOPPED_STATUSES,
    campaign_report,
    campaign_status,
    unreadable,
)

MOST_READS_AT_ONCE = 8
AUDIENCE = "audience"  # a patience of its own: whom a campaign reaches decides no verdict, its report does
CONTENT = "content"
PER_CONTACT = frozenset({"responder", "reminder"})
"""Types of campaign that go to each contact at another time."""


@dataclass(frozen=True, slots=True)
class CampaignReader(Reader):
    """Reads Pro2; what it cannot read becomes an uncertain finding, never an error."""

    async def campaigns(self) -> Found:
        """Campaigns that were due or unfinished, each with its status and its report."""
        if System.PRO2 not in self.window.systems:
            return Found()
        try:
            listing = await self.account.campaigns.campaigns()
        except RemoteError as error:
            return Found((self.all_unreadable(System.PRO2, Kind.CAMPAIGN, str(error)),), (), (str(error),))
        evidence: list[Evidence] = []
        problems: list[str] = []
        if not listing.complete:
            problems.append(f"campaigns of {self.account.name}: the list was not read whole ({listing.problem})")
            evidence.append(self.all_unreadable(System.PRO2, Kind.CAMPAIGN, problems[0]))
        due: list[tuple[Slot, Campaign]] = []
        not_due: list[NotDue] = []
        for campaign in listing.items:
            slot = self._campaign_slot(campaign)
            if slot is not None:
                due.append((slot, campaign))
            elif reason := self._why_not_due(campaign):
                not_due.append(NotDue(self.account.name, Kind.CAMPAIGN, campaign.ref, campaign.name, reason))
        room = asyncio.Semaphore(MOST_READS_AT_ONCE)

        async def one(slot: Slot, campaign: Campaign) -> Evidence:
            async with room:
                return await self._campaign_evidence(slot, campaign, listing)

        evidence += await asyncio.gather(*(one(s, c) for s, c in due))
        return Found(tuple(evidence), tuple(not_due), tuple(problems))

    def _campaign_slot(self, campaign: Campaign) -> Slot | None:
        if campaign.status == "0":
            return None
        if campaign.sdate is None:
            asked = campaign.problem or (_has_own_time(campaign) and not self._outside(campaign))
            return self._slot(campaign, self.window.started_at) if asked else None
        thing = Scheduled(
            self.account.name,
            System.PRO2,
            Kind.CAMPAIGN,
            campaign.ref,
            campaign.name,
            Schedule("once", campaign.sdate.isoformat(), None, self.account.time_zone),
        )
        found = slots.due(self.window, [thing])
        if found:
            return found[0]
        unfinished = campaign.status == "2" and campaign.sdate < self.window.started_at
        return self._slot(campaign, campaign.sdate) if unfinished else None

    def _slot(self, campaign: Campaign, due_at: datetime) -> Slot:
        where = (self.account.name, System.PRO2.value, Kind.CAMPAIGN.value)
        return Slot(*where, campaign.ref, due_at, campaign.name, self.account.time_zone)

    def _why_not_due(self, campaign: Campaign) -> str:
        """Why something that looks as if the outage could have held it was not due in it; "" for what does not."""
        due, window = campaign.sdate, self.window
        if campaign.status == "0" and due is not None and window.started_at <= due < window.ended_at:
            return "it is a draft"
        if due is None and _has_own_time(campaign) and not _went_whole(campaign):
            return f"it names no send time, and {self._outside(campaign)}"
        if campaign.status != "1":
            return ""
        if due is None:
            return f"it has no send time of its own (type {campaign.type}, automation {campaign.series_ref})"
        if due < window.started_at:
            return "it was due before the outage and is still pending: an earlier start of the window includes it"
        return ""

    def _outside(self, campaign: Campaign) -> str:
        """Why a campaign without a send time cannot have been due in the window; "" where it can."""
        made, changed, window = campaign.created_at, campaign.modified_at, self.window
        if made is not None and made >= window.ended_at:
            return f"it was made at {iso(made)}, after the outage"
        finished = campaign.status not in LIVE
        if finished and changed is not None and changed < window.started_at:
            return f"it has not changed since {iso(changed)}, before the outage"
        return ""

    async def _campaign_evidence(self, slot: Slot, campaign: Campaign, listing: Listing[Campaign]) -> Evidence:
        status = campaign_status(campaign, listing.read_at, self.policy.waits)
        ours = self._our_copy(slot, listing.items)
        if status.saw in (Saw.STOPPED, Saw.PAUSED) and await self._stopped_by_us(slot, campaign):
            status = replace(status, saw=Saw.NOTHING, detail=f"{status.detail}; stopped by allclear")
        testimonies = [status, await self._report(campaign)]
        if ours is not None:
            testimonies.append(ours)
        facts: dict[str, str | int | float | bool | list[str] | None] = {"segment": campaign.segment_ref}
        if status.saw is Saw.NOTHING and campaign.total_amt == 0:
            facts["audience"] = await self._audience(campaign)
        if ours is None and status.saw in (Saw.NOTHING, Saw.STOPPED, Saw.PAUSED):  # what may yet be sent again
            facts |= await self._content(campaign)
        return Evidence(slot, tuple(testimonies), facts)

    async def _content(self, campaign: Campaign) -> Facts:
        """What it says and to which lists, so that an approval covers this mail and no other (invariant 7)."""
        if self.given_up(System.PRO2, CONTENT):
            return {"unread": True}
        try:
            content = await self.account.campaigns.content(campaign.ref)
        except RemoteError as error:
            self.patience[CONTENT].lost(error)
            return {"unread": True}
        self.patience[CONTENT].answered()
        return {"content": content.fingerprint, "parts": list(content.readable), "lists": list(content.list_refs)}

    async def _audience(self, campaign: Campaign) -> int | None:
        """Before it sends, the platform counts nobody; who would be reached must be known before anyone approves."""
        if self.given_up(System.PRO2, AUDIENCE):
            return None
        try:
            audience = await self.account.campaigns.audience(campaign.ref)
        except RemoteError as error:
            self.patience[AUDIENCE].lost(error)
            return None
        self.patience[AUDIENCE].answered()
        return audience

    async def _report(self, campaign: Campaign) -> Testimony:
        if spent := self.given_up(System.PRO2):
            return unreadable(CAMPAIGN_REPORT, self.clock.now(), spent)
        try:
            report = await self.account.campaigns.report(campaign.ref)
        except RemoteError as error:
            self.patience[System.PRO2].lost(error)
            return unreadable(CAMPAIGN_REPORT, self.clock.now(), str(error))
        self.patience[System.PRO2].answered()
        return campaign_report(report, campaign, self.clock.now())

    async def _stopped_by_us(self, slot: Slot, campaign: Campaign) -> bool:
        return any(m in campaign.name for m in self._markers(slot)) or await self.memory.stopped_by_us(slot.key)

    def _our_copy(self, slot: Slot, campaigns: Iterable[Campaign]) -> Testimony | None:
        """Copies that carry the slot's marker and have left: recognised without any database (invariant 9)."""
        markers = self._markers(slot)
        sent = [
            c
            for c in campaigns
            if c.ref != slot.object_ref
            and c.status in ("2", "5")
            and c.send_amt > 0
            and any(m in c.name for m in markers)
        ]
        if not sent:
            return None
        refs = [c.ref for c in sent]
        detail = f"copy {', '.join(refs)} carries our marker and was sent"
        return Testimony(MARKER, Saw.OURS, self.clock.now(), True, detail, {"copies": refs}, sent[0].digest)

    def _markers(self, slot: Slot) -> tuple[str, ...]:
        return tuple(item_marker(self.secret, slot, g) for g in range(GENERATIONS_KNOWN))

    # ---- automations

    async def automations(self) -> Found:
        """Automations that were active; the source names no step for them (R001.3)."""
        if System.PRO2 not in self.window.systems:
            return Found()
        try:
            listing = await self.account.campaigns.automations()
        except RemoteError as error:
            return Found((self.all_unreadable(System.PRO2, Kind.AUTOMATION, str(error)),), (), (str(error),))
        found = tuple(self._automation(a) for a in listing.items if a.active)
        if listing.complete:
            return Found(found)
        problem = f"automations of {self.account.name}: the list was not read whole ({listing.problem})"
        return Found((*found, self.all_unreadable(System.PRO2, Kind.AUTOMATION, problem)), (), (problem,))

    def _automation(self, automation: Automation) -> Evidence:
        slot = Slot(
            self.account.name,
            System.PRO2.value,
            Kind.AUTOMATION.value,
            automation.ref,
            self.window.started_at,
            automation.name,
            self.account.time_zone,
        )
        heard = Testimony("automations", Saw.UNKNOWN, self.clock.now(), True, f"active, {automation.entered} entered")
        return Evidence(slot, (heard,), {"entered": automation.entered})


def _went_whole(campaign: Campaign) -> bool:
    return campaign.status == "5" and 0 < campaign.total_amt <= campaign.send_amt


def _has_own_time(campaign: Campaign) -> bool:
    """Whether a campaign goes, or went, at a time of its own: no draft, outside automations, not contact by contact.

    One that was stopped, paused or disabled is not about to go.
    """
    if campaign.status in STOPPED_STATUSES | {"0"} or campaign.series_ref not in ("", "0"):
        return False
    return campaign.type == "single" or (campaign.status != "1" and campaign.type not in PER_CONTACT)
