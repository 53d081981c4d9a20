"""`two-hours-down`: nine accounts in five time zones on the night on which New York's clocks go back at 06:00 UTC.

The outage is 2026-11-01 05:00 to 07:00 UTC, the story is told at 08:20 UTC. In New York 01:00 to 02:00 comes twice
within the window, in Chicago 01:00 comes again as the window ends; London went back a week before, Sydney is on
summer time.
About 300 slots are due; most were served, some sixty were not, each in its own way.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sandbox import scenario_campaigns as mail
from sandbox import scenario_jobs as jobs
from sandbox.scenario_campaigns import NEWSLETTER, SUBSCRIBERS, CampaignCase
from sandbox.scenario_jobs import Fate, cron, daily, every, once
from sandbox.story import Account, Story, make_account

ZONES = {
    "harbor": "America/New_York",
    "lyric": "America/Chicago",
    "meadow": "Europe/London",
    "orchid": "Australia/Sydney",
    "juniper": "America/New_York",
    "quarry": "America/Phoenix",
    "saltmarsh": "Europe/London",
    "tern": "Australia/Sydney",
    "vesper": "America/Chicago",
}
NEWSLETTER_SIZE = {"harbor": 200_000, "lyric": 48_000, "meadow": 12_500}

Case = tuple[CampaignCase, str, str]
# account: what happened, the campaign's name, due at (UTC)
CAMPAIGNS: dict[str, tuple[Case, ...]] = {
    "harbor": (
        (mail.overdue, "Autumn gala: last seats", "05:30"),
        (mail.revives, "<!channel> Tonight @everyone <https://evil.example|click>", "06:10"),
        (mail.sent, "Members' evening", "05:05"),
    ),
    "lyric": (
        (mail.overdue_small, "<script>alert('gala')</script><img src=x onerror=alert(1)>", "05:45"),
        (mail.stuck_at_zero, "Nutcracker early access", "05:15"),
        (mail.sent, "Choir weekend", "05:50"),
    ),
    "meadow": (
        (mail.overdue_small, '=HYPERLINK("http://evil.example","Season brochure")', "06:00"),
        (mail.empty_report, "Friends' newsletter", "05:20"),
        (mail.disagreeing, "Sunday matinée", "05:40"),
    ),
    "orchid": (
        (mail.overdue_small, "Ночь в опере · オペラの夜 · 🎭", "05:10"),
        (mail.event_over, "Doors open at six", "06:30"),
        (mail.paused_before, "Waterfront picnic", "06:15"),
    ),
    "juniper": (
        (mail.overdue_small, "\u202egnp.allag\u202c invitation", "06:45"),
        (mail.goes_late, "Jazz after dark", "06:20"),
        (mail.partly_sent, "Family day", "05:55"),
    ),
    "quarry": (
        (mail.overdue_small, "Desert lights", "05:25"),
        (mail.stop_refused, "Late show", "06:05"),
        (mail.pending_approval, "Gift vouchers", "05:35"),
    ),
    "saltmarsh": (
        (mail.overdue_small, "Lantern walk  with  odd\tspaces", "06:25"),
        (mail.copied_by_hand, "Harvest supper", "05:05"),
        (mail.disabled_before, "Raffle", "06:40"),
    ),
    "tern": (
        (mail.overdue_small, "Coastal concert " + "very " * 20 + "long name", "06:50"),
        (mail.stop_without_effect, "Reef talk", "05:30"),
        (mail.sent, "Moonlight cinema", "06:10"),
    ),
    "vesper": (
        (mail.overdue_small, "Évensong & <b>tea</b> | [link](http://evil.example)", "05:00"),
        (mail.sent, "Lunchtime organ", "06:59"),
    ),
}
# Due on the very edge: the window is half-open, so 07:00 belongs to nobody.
EDGE = datetime(2026, 11, 1, 7, 0, tzinfo=UTC)

Imports = tuple[tuple[str, str, str, Fate | None], ...]
# account: id, name, cron (local), fate
IMPORTS: dict[str, Imports] = {
    "harbor": (("imp-night", "Overnight buyers", "30 1 * * *", jobs.no_activity),),
    "lyric": (("imp-donors", "Donors", "40 0 * * *", jobs.full_error),),
    "meadow": (("imp-friends", "Friends", "45 5 * * *", jobs.hangs),),
    "orchid": (("imp-subs", "Subscribers", "20 17 * * *", jobs.partial_error),),
    "juniper": (("imp-seats", "Seat holders", "50 1 * * *", jobs.hangs_stop_refused),),
    "quarry": (("imp-patrons", "Patrons", "10 23 * * *", jobs.hangs_stop_ignored),),
    "saltmarsh": (("imp-guests", "Guests", "15 6 * * *", jobs.queued_for_ever),),
    "tern": (("imp-late", "Late bookers", "50 16 * * *", jobs.succeeded_late),),
    "vesper": (("imp-odd", "Oddities", "20 1 * * *", jobs.unknown_word),),
}
# account: id, name, RRULE at local hour and minute, fate
TRIGGERS: dict[str, tuple[tuple[str, str, int, int, Fate | None], ...]] = {
    "harbor": (("trg-thanks", "Thank-you after the show", 1, 15, jobs.no_activity),),
    "lyric": (("trg-remind", "Reminder before the show", 0, 20, jobs.no_activity),),
    "meadow": (("trg-survey", "Survey after the visit", 6, 5, jobs.full_error),),
    "orchid": (("trg-parking", "Parking hints", 17, 40, jobs.hangs),),
    "vesper": (("trg-lapsed", "Lapsed subscribers", 0, 35, None),),
}


def two_hours_down(story: Story) -> None:
    """Plant the whole night into an empty story."""
    for place, (name, zone) in enumerate(ZONES.items()):
        account = make_account(story.world, name, zone)
        story.accounts.append(account)
        crowd = NEWSLETTER_SIZE.get(name, 1_200)
        account.pro2.add_list(NEWSLETTER, "Newsletter", [(100_000, 99_999 + crowd)])
        account.pro2.add_list(SUBSCRIBERS, "Subscribers", [(100_000, 100_349)])
        for case, campaign_name, at in CAMPAIGNS[name]:
            case(story, account, campaign_name, _at(story, at))
        mail.plant_healthy(story, account)
        _plant_automations(story, account)
        _plant_everyday_jobs(story, account, place)
        _plant_troubled_jobs(story, account)
        jobs.plant_dormant(story, account, zone)
        _plant_young_run(story, account)
    for name, plant in SPECIAL.items():
        plant(story, story.account(name))


def _at(story: Story, clock: str) -> datetime:
    hour, minute = clock.split(":")
    return story.started_at.replace(hour=int(hour), minute=int(minute))


def _plant_automations(story: Story, account: Account) -> None:
    account.pro2.add_automation(11, "Welcome series", entered=340)
    account.pro2.add_automation(12, "After the show", entered=77)
    account.pro2.add_automation(13, "Old raffle", active=False, entered=9)
    for number in (11, 12, 13):
        story.plot.keep_off(account.name, "pro2", f"automation:{number}", "automations are never acted on")


def _plant_everyday_jobs(story: Story, account: Account, place: int) -> None:
    """What ran all night as if nothing had been: 26 slots of the window per account."""
    zone = account.time_zone
    hourly = cron(f"{place + 3} * * * *", zone)
    jobs.plant_import(story, account, "day-import", "Hourly import", hourly, None, 401)
    anchor = datetime(2026, 10, 25, 3, 0, tzinfo=UTC)
    often = every("PT15M", anchor + timedelta(minutes=place), zone)
    jobs.plant_trigger(story, account, "day-trigger", "Ticket scanned", often, None, 12)
    ten = cron("*/10 * * * *", zone)
    jobs.plant(story, account, "day-segment", "segment_transfer", "Segment to List Manager", ten)
    jobs.plant(story, account, "day-address", "eaddress_sync", "Address changes", cron("7,37 * * * *", zone))
    jobs.plant_sync(
        story,
        account,
        "day-sync",
        "All subscribers",
        cron("20 * * * *", zone),
        list_id=402,
        tag="Subscribers",
        mode="add_remove",
    )


def _plant_troubled_jobs(story: Story, account: Account) -> None:
    for number, (ref, name, value, fate) in enumerate(IMPORTS.get(account.name, ())):
        jobs.plant_import(story, account, ref, name, cron(value, account.time_zone), fate, 410 + number)
    for ref, name, hour, minute, fate in TRIGGERS.get(account.name, ()):
        jobs.plant_trigger(story, account, ref, name, daily(hour, minute, account.time_zone), fate, 12)


def _plant_young_run(story: Story, account: Account) -> None:
    """A manual import that somebody started two minutes ago and that is doing well."""
    now = story.now
    account.dashboard.add_definition("young", "integrated_import", "Box office import", {"type": "manual"})
    account.dashboard.add_run(
        "young",
        requested_by="user",
        state="running",
        started_at=now - timedelta(minutes=2),
        ends_at=now + timedelta(minutes=10),
    )
    story.plot.keep_off(account.name, "dashboard", "young", "a healthy run two minutes old")


# ---- what only one account has ---------------------------------------------------------------------------------------


def _harbor(story: Story, account: Account) -> None:
    """A difference lost in both directions; a wall-clock trap after the window."""
    zone = account.time_zone
    jobs.plant_sync(
        story,
        account,
        "sync-members",
        "Current members",
        cron("40 1 * * *", zone),
        list_id=501,
        tag="Members (sync)",
        mode="add_remove",
        size=40,
        lost=4,
        stale=3,
        fate=jobs.full_error,
    )
    # 02:15 in New York is 07:15 UTC that night, after the window; whoever forgets the change looks for it at 06:15.
    jobs.plant(story, account, "after-change", "eaddress_sync", "Nightly addresses", cron("15 2 * * *", zone))


def _lyric(story: Story, account: Account) -> None:
    """An add-only sync: nobody may lose the tag, although five people are no longer on the list."""
    jobs.plant_sync(
        story,
        account,
        "sync-donors",
        "Donors ever",
        cron("10 1 * * *", account.time_zone),
        list_id=502,
        tag="Donors (sync)",
        mode="add_only",
        size=30,
        lost=6,
        stale=5,
        fate=jobs.no_activity,
    )


def _meadow(story: Story, account: Account) -> None:
    """Processes for which the playbook names no step."""
    zone = account.time_zone
    fate = {"*": jobs.no_activity}
    jobs.plant(story, account, "seg-lapsed", "segment_transfer", "Lapsed to Tessitura", cron("30 5 * * *", zone), fate)
    jobs.plant(story, account, "addr-daily", "eaddress_sync", "Daily addresses", cron("0 6 * * *", zone), fate)


def _orchid(story: Story, account: Account) -> None:
    """A one-off import that never began, and a campaign on the window's last second and one on its end."""
    at = story.started_at + timedelta(minutes=45)
    jobs.plant_import(story, account, "imp-once", "One-off: festival", once(at), jobs.no_activity, 420)
    edge = mail.sent(
        Story("edge", story.world, story.now, story.started_at, story.ended_at), account, "On the hour", EDGE
    )
    story.plot.keep_off(account.name, "pro2", str(edge.id), "due at the window's end, which is outside")


def _tern(story: Story, account: Account) -> None:
    """An hourly import that missed both of its slots: one repeat is enough."""
    zone = account.time_zone
    jobs.plant_import(story, account, "imp-hourly", "Hourly festival", cron("25 * * * *", zone), jobs.no_activity, 421)


SPECIAL: dict[str, Callable[[Story, Account], None]] = {
    "harbor": _harbor,
    "lyric": _lyric,
    "meadow": _meadow,
    "orchid": _orchid,
    "tern": _tern,
}
