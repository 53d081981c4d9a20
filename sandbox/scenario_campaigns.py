"""The campaigns of `two-hours-down`: one function per way in which an outage can treat a campaign.

Each plants what it names into one account and writes the right verdict into the plot. "release forbidden" means that no
copy may reach anybody: the oracle looks at the journal for that.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sandbox.pro2_records import (
    COMPLETED,
    DISABLED,
    DRAFT,
    PAUSED,
    PENDING_APPROVAL,
    PERSON,
    SCHEDULED,
    SENDING,
    STOPPED,
    Campaign,
)
from sandbox.spans import size
from sandbox.story import Account, Plot, Story, note_campaign

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
ANY = ("done", "missed", "stalled", "failed", "partial", "uncertain")
NEWSLETTER, SUBSCRIBERS, BOARD = 1, 2, 9
CampaignCase = Callable[[Story, Account, str, datetime], Campaign]


def overdue(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Scheduled, its time is past, and the platform has lost it."""
    made = account.pro2.add_campaign(name, SCHEDULED, sdate=due, stuck=True)
    _note(story.plot, account, made, ("missed",), "overdue", release="allowed")
    return made


def overdue_small(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """The same for a small list."""
    made = account.pro2.add_campaign(name, SCHEDULED, sdate=due, lists=[SUBSCRIBERS], stuck=True)
    _note(story.plot, account, made, ("missed",), "overdue", release="allowed")
    return made


def stop_refused(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Overdue, and the platform will not stop it (result_code 0)."""
    made = account.pro2.add_campaign(name, SCHEDULED, sdate=due, lists=[SUBSCRIBERS], stuck=True, stop="refused")
    _note(story.plot, account, made, ("missed",), "stop refused")
    return made


def stop_without_effect(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Overdue; the stop is answered with success and changes nothing."""
    made = account.pro2.add_campaign(name, SCHEDULED, sdate=due, lists=[SUBSCRIBERS], stuck=True, stop="no_effect")
    _note(story.plot, account, made, ("missed",), "stop without effect")
    return made


def revives(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Overdue; once stopped, the original goes out by itself seconds later, which the vendor warns of."""
    made = account.pro2.add_campaign(
        name, SCHEDULED, sdate=due, lists=[SUBSCRIBERS], stuck=True, stop="revives", revive_seconds=1.0
    )
    _note(story.plot, account, made, ("missed",), "late original after stop", release="allowed")
    return made


def goes_late(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Overdue; goes out by itself shortly after the recovery has begun."""
    late_at = story.now + timedelta(seconds=6)
    made = account.pro2.add_campaign(name, SCHEDULED, sdate=due, lists=[SUBSCRIBERS], stuck=True, late_at=late_at)
    _note(story.plot, account, made, ("missed", "done", "partial", "uncertain"), "late original", release="allowed")
    return made


def event_over(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Overdue for an event that began before the platform came back."""
    made = account.pro2.add_campaign(name, SCHEDULED, sdate=due, lists=[SUBSCRIBERS], stuck=True)
    at = story.ended_at + 30 * MINUTE
    hint = {"account": account.name, "object": str(made.id), "at": at.isoformat().replace("+00:00", "Z")}
    story.valid_until.append({**hint, "reason": "The event has begun"})
    _note(story.plot, account, made, ("missed",), "event over")
    return made


def stuck_at_zero(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Sending, and not one mail has left."""
    made = account.pro2.add_campaign(name, SENDING, sdate=due, lists=[SUBSCRIBERS], stuck=True)
    _note(story.plot, account, made, ("missed", "stalled"), "sending stuck at zero", release="allowed")
    return made


def empty_report(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Completed, says the platform, but the report holds nothing and nobody got anything."""
    made = account.pro2.add_campaign(name, COMPLETED, sdate=due, lists=[SUBSCRIBERS], ldate=None)
    _note(story.plot, account, made, ("missed", "uncertain"), "empty report", release="allowed")
    return made


def disagreeing(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Completed and sent to everybody, while its report is empty: the witnesses do not agree."""
    made = account.pro2.add_campaign(
        name, COMPLETED, sdate=due, lists=[SUBSCRIBERS], send_amt=350, ldate=due + 5 * MINUTE, report="empty"
    )
    _note(story.plot, account, made, ("uncertain",), "witnesses disagree")
    return made


def partly_sent(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Some have it, some have not, and nothing moves."""
    made = account.pro2.add_campaign(name, SENDING, sdate=due, lists=[SUBSCRIBERS], send_amt=127, stuck=True)
    _note(story.plot, account, made, ("partial",), "partly sent")
    return made


def pending_approval(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Held by the platform's compliance review, under a number that nobody has documented."""
    made = account.pro2.add_campaign(name, PENDING_APPROVAL, sdate=due, lists=[SUBSCRIBERS])
    _note(story.plot, account, made, ("uncertain",), "pending approval")
    return made


def paused_before(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Paused by a person the day before: somebody did not want it to go."""
    made = account.pro2.add_campaign(name, PAUSED, sdate=due, lists=[SUBSCRIBERS])
    made.updated_at = story.started_at - DAY
    _note(story.plot, account, made, ("uncertain",), "paused before the outage")
    return made


def disabled_before(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Disabled by a person the day before."""
    made = account.pro2.add_campaign(name, DISABLED, sdate=due, lists=[SUBSCRIBERS])
    made.updated_at = story.started_at - DAY
    _note(story.plot, account, made, ("uncertain",), "disabled before the outage")
    return made


def copied_by_hand(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """A colleague stopped it and sent a copy before anybody started a recovery."""
    pro2 = account.pro2
    made = pro2.add_campaign(name, STOPPED, sdate=due, lists=[SUBSCRIBERS])
    copy = pro2.copy(made, user=1)
    at = story.ended_at + 20 * MINUTE
    copy.created_at = copy.visible_at = made.updated_at = at
    copy.sdate, copy.ldate, copy.status = at, at + 4 * MINUTE, COMPLETED
    copy.total_amt = size(pro2.audience(copy))
    pro2.deliver(copy, pro2.audience(copy), at=copy.ldate.isoformat(), by=PERSON)
    _note(story.plot, account, made, ANY, "copied by hand")
    story.plot.keep_off(account.name, "pro2", str(copy.id), "a colleague's copy")
    return made


def sent(story: Story, account: Account, name: str, due: datetime) -> Campaign:
    """Healthy: went out in the window, before or despite everything."""
    made = account.pro2.add_campaign(
        name, COMPLETED, sdate=due, lists=[SUBSCRIBERS], send_amt=350, ldate=due + 6 * MINUTE
    )
    note_campaign(story.plot, account, made, ("done",), "sent in the window", audience=350)
    story.plot.keep_off(account.name, "pro2", str(made.id), "sent as planned")
    return made


def _note(
    plot: Plot, account: Account, made: Campaign, expected: tuple[str, ...], case: str, release: str = "forbidden"
) -> None:
    audience = size(account.pro2.audience(made))
    note_campaign(plot, account, made, expected, case, release=release, audience=audience)


def plant_healthy(story: Story, account: Account) -> None:
    """Campaigns outside the window, of every innocent sort."""
    pro2, start, end = account.pro2, story.started_at, story.ended_at
    pro2.add_list(BOARD, "Board members", [(90_000, 90_049)])
    made = [
        pro2.add_campaign("Draft: spring brochure", DRAFT, lists=[BOARD]),
        pro2.add_campaign("Draft: donor thanks", DRAFT, lists=[BOARD]),
        pro2.add_campaign("Thursday preview", SCHEDULED, lists=[BOARD], sdate=story.now + 4 * DAY),
        pro2.add_campaign("Holiday shop", SCHEDULED, lists=[BOARD], sdate=story.now + 30 * DAY),
        pro2.add_campaign("Sunday brunch", SCHEDULED, lists=[BOARD], sdate=story.now + 3 * timedelta(hours=1)),
        _past(account, "October recap", start - 2 * DAY),
        _past(account, "Just before the outage", start - 25 * MINUTE),
        _past(account, "Just after the outage", end + 15 * MINUTE),
        pro2.add_campaign("Stopped in spring", STOPPED, lists=[BOARD], sdate=start - 200 * DAY),
        pro2.add_campaign("Welcome, part 1", SENDING, lists=[BOARD], type="responder", series_id=11, stuck=True),
    ]
    for campaign in made:
        story.plot.keep_off(account.name, "pro2", str(campaign.id), f"healthy: {campaign.name}")


def _past(account: Account, name: str, at: datetime) -> Campaign:
    return account.pro2.add_campaign(name, COMPLETED, lists=[BOARD], sdate=at, ldate=at + 3 * MINUTE, send_amt=50)
