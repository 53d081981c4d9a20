"""What one Prospect2 account remembers, and how its platform behaves by itself.

Times are aware UTC inside; the routes write them in the account's zone. Every effect is journalled by the method that
causes it.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sandbox.pro2_records import (
    API,
    API_USER,
    COMPLETED,
    DISABLED,
    DRAFT,
    PLATFORM,
    SCHEDULED,
    SENDING,
    STOPPED,
    Automation,
    Batch,
    Campaign,
    Contact,
    MailingList,
    Message,
)
from sandbox.spans import Spans, contains, size, spans_of, split, union
from sandbox.world import World


class Pro2State:
    """One account of the platform.

    `profile` "strong": a draft leaves draft state once, and status 1 is refused for what is sending, stopped or
    completed. "weak": it sends again. `disposable` are drafts that vanish one per later list page, so that a list moves
    under its reader. `copy_lag_seconds` hides a new copy from lists (never from reads by id).
    """

    def __init__(self, world: World, account: str, time_zone: str, *, token: str, profile: str = "strong") -> None:
        self.world = world
        self.account = account
        self.zone = ZoneInfo(time_zone)
        self.tokens: dict[str, int] = {token: API_USER}
        self.users: dict[int, str] = {1: "boxoffice", API_USER: "allclear-api"}
        self.profile = profile
        self.rate_per_second = 5.0
        self.rate_burst = 5.0
        self.send_seconds = 0.4
        self.copy_lag_seconds = 0.0
        self.import_seconds = 0.2
        self.disposable: list[int] = []
        self.campaigns: dict[int, Campaign] = {}
        self.messages: dict[int, Message] = {}
        self.lists: dict[int, MailingList] = {}
        self.segments: dict[int, Spans] = {}
        self.contacts: dict[int, Contact] = {}
        self.crowds: Spans = []
        self.tags: dict[int, str] = {}
        self.links: dict[int, tuple[int, int]] = {}
        self.tagged: dict[int, dict[int, int]] = {}
        self.automations: dict[int, Automation] = {}
        self.automation_on_tag: dict[str, int] = {}
        self.unsubscribed: set[tuple[int, int]] = set()
        self.batches: dict[str, Batch] = {}
        self._by_email: dict[str, int] = {}
        self._last: dict[str, int] = {"campaign": 100, "message": 500, "tag": 10, "link": 9000, "contact": 2000}
        self._awake: set[int] = set()

    def next_id(self, kind: str) -> int:
        """An id above every other of its kind."""
        self._last[kind] += 1
        return self._last[kind]

    # ---- planting ----------------------------------------------------------------------------------------------------

    def add_list(self, list_id: int, name: str, members: Spans) -> MailingList:
        """Plant a list; its members become contacts."""
        made = self.lists[list_id] = MailingList(list_id, name, union(members))
        self.crowds = union(self.crowds, members)
        return made

    def add_contact(self, email: str, *, contact_id: int | None = None, first: str = "", last: str = "") -> Contact:
        """Plant or find a contact by e-mail address, as the platform's upsert does."""
        known = self.contact_by_email(email)
        if known is not None:
            return known
        number = contact_id or self.next_id("contact")
        self._last["contact"] = max(self._last["contact"], number)
        made = self.contacts[number] = Contact(number, email.lower(), first, last, self.world.now())
        self._by_email[made.email] = number
        return made

    def add_automation(self, automation_id: int, name: str, *, active: bool = True, entered: int = 0) -> Automation:
        """Plant an automation."""
        made = self.automations[automation_id] = Automation(automation_id, name, active, entered)
        return made

    def add_campaign(
        self,
        name: str,
        status: int,
        *,
        subject: str = "",
        lists: list[int] | None = None,
        sdate: datetime | None = None,
        send_amt: int = 0,
        ldate: datetime | None = None,
        created_at: datetime | None = None,
        **knobs: object,
    ) -> Campaign:
        """Plant a campaign; what it has already sent (`send_amt`) is journalled as deliveries at `ldate`."""
        number = self.next_id("campaign")
        message = Message(
            self.next_id("message"), subject or name, f"<p>{subject or name} / {self.account} {number}</p>"
        )
        self.messages[message.id] = message
        born = created_at or (sdate or self.world.now()) - timedelta(days=3)
        made = Campaign(number, name, status, born, [message.id], list(lists or sorted(self.lists)[:1]))
        for knob, value in knobs.items():
            if not hasattr(made, knob):
                raise TypeError(f"a campaign has no {knob!r}")
            setattr(made, knob, value)
        made.sdate, made.ldate, made.updated_at = sdate, ldate, born
        made.content = self._content_of(made)
        self.campaigns[number] = made
        if status in (SENDING, COMPLETED):
            made.total_amt = size(self.audience(made)) if send_amt else 0
            made.departures = 1
        if send_amt:
            self.deliver(made, split(self.audience(made), send_amt)[0], at=(ldate or sdate or born).isoformat())
        self._wake(made)
        return made

    def _content_of(self, campaign: Campaign) -> str:
        said = [self.messages[m].text for m in campaign.message_ids]
        whom = [sorted(campaign.list_ids), campaign.segment_id]
        return hashlib.sha256(json.dumps([self.account, said, whom]).encode()).hexdigest()[:16]

    # ---- contacts and tags -------------------------------------------------------------------------------------------

    def contact(self, contact_id: int) -> Contact | None:
        """One contact by id; a member of a crowd is made up on the spot, always the same."""
        known = self.contacts.get(contact_id)
        if known is None and contains(self.crowds, contact_id):
            return Contact(contact_id, f"person{contact_id}@{self.account}.example", "Person", str(contact_id))
        return known

    def contact_by_email(self, email: str) -> Contact | None:
        """One contact by its address, whatever its case."""
        wanted = email.strip().lower()
        number = self._by_email.get(wanted)
        if number is None and wanted.startswith("person") and wanted.endswith(f"@{self.account}.example"):
            digits = wanted[len("person") : wanted.index("@")]
            return self.contact(int(digits)) if digits.isdigit() else None
        return self.contacts.get(number) if number is not None else None

    def all_contacts(self) -> Spans:
        """Every contact's id."""
        return union(self.crowds, spans_of(self.contacts))

    def tag_id(self, name: str, *, create: bool = False) -> int | None:
        """The id of the tag of exactly this name; made when asked to."""
        for number, known in self.tags.items():
            if known == name:
                return number
        if not create:
            return None
        number = self.next_id("tag")
        self.tags[number] = name
        return number

    def tag_members(self, name: str) -> set[int]:
        """The ids of the contacts that carry the tag."""
        number = self.tag_id(name)
        return set(self.tagged.get(number, {})) if number is not None else set()

    def plant_tag(self, name: str, contact_ids: list[int]) -> int:
        """Give contacts a tag from long ago: nothing is journalled and no automation starts."""
        number = self.tag_id(name, create=True)
        assert number is not None
        for contact_id in contact_ids:
            link = self.next_id("link")
            self.links[link] = (contact_id, number)
            self.tagged.setdefault(number, {})[contact_id] = link
        return number

    def add_tag(self, contact_id: int, name: str, *, by: str = PLATFORM, automations: bool = True) -> int:
        """Put a tag on a contact and return the association's id; a second time changes and journals nothing."""
        number = self.tag_id(name, create=True)
        assert number is not None
        members = self.tagged.setdefault(number, {})
        if contact_id in members:
            return members[contact_id]
        link = self.next_id("link")
        self.links[link] = (contact_id, number)
        members[contact_id] = link
        self.journal("tag_added", contact=contact_id, tag=name, by=by)
        if automations and name in self.automation_on_tag:
            self.enter_automation(self.automation_on_tag[name], [contact_id], by=f"tag {name}")
        return link

    def remove_tag(self, contact_id: int, name: str, *, by: str = PLATFORM) -> bool:
        """Take a tag off a contact; False when it was not there."""
        number = self.tag_id(name)
        link = self.tagged.get(number, {}).pop(contact_id, None) if number is not None else None
        if link is None:
            return False
        self.links.pop(link, None)
        self.journal("tag_removed", contact=contact_id, tag=name, by=by)
        return True

    def enter_automation(self, automation_id: int, contact_ids: list[int], *, by: str = PLATFORM) -> int:
        """Let contacts enter an automation; returns how many got in (one that admits once refuses a second time)."""
        automation = self.automations.get(automation_id)
        if automation is None or not automation.active:
            return 0
        let_in = [c for c in contact_ids if not (automation.admits_once and c in automation.members)]
        for contact_id in let_in:
            automation.members[contact_id] = automation.members.get(contact_id, 0) + 1
        automation.entered += len(let_in)
        if let_in:
            entered = [list(s) for s in spans_of(let_in)]
            self.journal(
                "automation_entered", automation=str(automation_id), contacts=entered, count=len(let_in), by=by
            )
        return len(let_in)

    # ---- campaigns ---------------------------------------------------------------------------------------------------

    def audience(self, campaign: Campaign) -> Spans:
        """Who a campaign would reach now: its segment, or else everyone on its lists."""
        if campaign.segment_id:
            return self.segments.get(campaign.segment_id, [])
        return union(*(self.lists[n].members for n in campaign.list_ids if n in self.lists))

    def set_status(self, campaign: Campaign, status: int, *, by: str, user: int = 0, **fields: object) -> None:
        """Move a campaign to a status and journal it."""
        before, campaign.status = campaign.status, status
        campaign.updated_at = self.world.now()
        if before == DRAFT and status != DRAFT:
            campaign.departures += 1
        self.journal(
            "campaign_status",
            campaign=str(campaign.id),
            by=by,
            api_user=user,
            **{"from": before, "to": status},
            **fields,
        )
        self._wake(campaign)

    def schedule(self, campaign: Campaign, at: datetime, *, user: int) -> str:
        """What v1 status 1 does; returns "" or why it was refused."""
        used_up = campaign.status in (SENDING, STOPPED, COMPLETED)
        if campaign.status > DISABLED or (used_up and self.profile == "strong"):
            return "This campaign can not be sent in its current status."
        if used_up:
            campaign.send_amt, campaign.sent = 0, []
        campaign.stuck = False
        campaign.sdate = at
        self.set_status(campaign, SCHEDULED, by=API, user=user, sdate=at.isoformat())
        return ""

    def halt(self, campaign: Campaign, status: int, *, user: int) -> str:
        """What v1 status 3 (pause) and 4 (stop) do, as far as the campaign's knob lets them; "" or why refused."""
        if campaign.stop == "refused" or campaign.status in (DRAFT, COMPLETED):
            return "Campaign could not be stopped."
        if campaign.stop == "no_effect":
            self.journal("campaign_stop_ignored", campaign=str(campaign.id), by=API, api_user=user)
            return ""
        self.set_status(campaign, status, by=API, user=user)
        if campaign.stop == "revives" and campaign.late_at is None:
            campaign.late_at = self.world.now() + timedelta(seconds=campaign.revive_seconds)
        self._wake(campaign)
        return ""

    def copy(self, original: Campaign, *, user: int) -> Campaign:
        """Duplicate into a draft: same content and audience, new message ids, a name the vendor makes up."""
        messages = []
        for number in original.message_ids:
            old = self.messages[number]
            made = Message(self.next_id("message"), old.subject, old.html, old.from_name, old.from_email)
            self.messages[made.id] = made
            messages.append(made.id)
        now = self.world.now()
        copied = Campaign(
            self.next_id("campaign"),
            f"Copy of {original.name}",
            DRAFT,
            now,
            messages,
            list(original.list_ids),
            content=original.content,
            source="copy",
            user_id=user,
            segment_id=original.segment_id,
            copied_from=original.id,
            updated_at=now,
            visible_at=now + timedelta(seconds=self.copy_lag_seconds),
        )
        self.campaigns[copied.id] = copied
        self.journal("copy", **{"from": str(original.id), "to": str(copied.id)}, content=copied.content, api_user=user)
        return copied

    def journal(self, event: str, **fields: object) -> None:
        """Write one event of this account."""
        self.world.journal("pro2", self.account, event, **fields)

    def deliver(self, campaign: Campaign, recipients: Spans, **fields: object) -> None:
        """Let a campaign reach these recipients, and journal who they are."""
        if not recipients:
            return
        campaign.sent = union(campaign.sent, recipients)
        campaign.send_amt += size(recipients)
        self.journal(
            "delivery",
            campaign=str(campaign.id),
            content=campaign.content,
            recipients=[list(s) for s in recipients],
            count=size(recipients),
            **fields,
        )

    # ---- what happens by itself --------------------------------------------------------------------------------------

    def _wake(self, campaign: Campaign) -> None:
        """Note that a campaign may move by itself, so that a tick need not look at all of them."""
        if campaign.status in (SCHEDULED, SENDING) or campaign.late_at is not None:
            self._awake.add(campaign.id)

    def let_go_late(self, campaign_id: int, at: datetime | None = None) -> None:
        """Make an original go out by itself at `at` (now when omitted), whatever became of it."""
        campaign = self.campaigns[campaign_id]
        campaign.late_at = at or self.world.now()
        self._wake(campaign)

    def tick(self, world: World) -> None:
        """Everything the platform does by itself up to now: start, deliver, complete, import."""
        now = world.now()
        for number in sorted(self._awake):
            campaign = self.campaigns.get(number)
            if campaign is None or not self._advance(campaign, now):
                self._awake.discard(number)
        for batch in [b for b in self.batches.values() if not b.done and b.due_at <= now]:
            self._import(batch)

    def _advance(self, campaign: Campaign, now: datetime) -> bool:
        """Move one campaign along; False when it can no longer move by itself."""
        late = campaign.late_at is not None and campaign.late_at <= now
        if late and campaign.status not in (DRAFT, COMPLETED):
            campaign.late_at, campaign.stuck = None, False
            campaign.started_at = now
            campaign.total_amt = size(self.audience(campaign))
            self.set_status(campaign, SENDING, by=PLATFORM, late=True)
        if campaign.stuck:
            return campaign.late_at is not None
        if campaign.status == SCHEDULED and campaign.sdate is not None and campaign.sdate <= now:
            campaign.started_at = now
            campaign.total_amt = size(self.audience(campaign))
            self.set_status(campaign, SENDING, by=PLATFORM)
        if campaign.status == SENDING:
            self._send(campaign, now)
        return campaign.status in (SCHEDULED, SENDING) or campaign.late_at is not None

    def _send(self, campaign: Campaign, now: datetime) -> None:
        """Half of the audience goes out half-way through `send_seconds`, the rest at its end."""
        elapsed = (now - (campaign.started_at or now)).total_seconds()
        everyone = self.audience(campaign)
        total = size(everyone)
        if elapsed >= self.send_seconds / 2 and campaign.send_amt < total // 2:
            self.deliver(campaign, split(split(everyone, campaign.send_amt)[1], total // 2 - campaign.send_amt)[0])
        if elapsed >= self.send_seconds:
            self.deliver(campaign, split(everyone, campaign.send_amt)[1])
            campaign.total_amt = campaign.send_amt
            campaign.ldate = now
            self.set_status(campaign, COMPLETED, by=PLATFORM)

    def _import(self, batch: Batch) -> None:
        batch.done = True
        for row in batch.rows:
            email = str(row.get("email", ""))
            if "@" not in email:
                batch.failure.append(email)
                continue
            first, last = str(row.get("first_name", "")), str(row.get("last_name", ""))
            contact = self.add_contact(email, first=first, last=last)
            batch.success.append(str(contact.id))
            tags = row.get("tags")
            for tag in tags if isinstance(tags, list) else []:
                self.add_tag(contact.id, str(tag), by=API, automations=not row.get("exclude_automations"))
        self.journal("bulk_import", batch=batch.id, success=len(batch.success), failure=len(batch.failure))
