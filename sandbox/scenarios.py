"""The scenarios by name. Each is a function from a World to a Story; tests write their own in the same way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sandbox.pro2_records import COMPLETED, DRAFT, SCHEDULED
from sandbox.scenario_campaigns import SUBSCRIBERS, overdue_small, sent
from sandbox.scenario_jobs import cron, no_activity, plant, plant_import
from sandbox.scenario_two_hours import two_hours_down
from sandbox.story import Account, Plot, Story, make_account, note_campaign
from sandbox.world import World

STARTED_AT = datetime(2026, 11, 1, 5, 0, tzinfo=UTC)
ENDED_AT = datetime(2026, 11, 1, 7, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 1, 8, 20, tzinfo=UTC)


def begin(world: World, name: str) -> Story:
    """A story of the night of the outage, told at 08:20 UTC."""
    world.set_now(NOW)
    return Story(name, world, NOW, STARTED_AT, ENDED_AT)


def one_campaign(world: World, *, recipients: int = 1200, profile: str = "strong", **knobs: object) -> Story:
    """One account with one overdue campaign (given `knobs`) and healthy ones beside it."""
    story = begin(world, "one-campaign")
    account = make_account(world, "harbor", "America/New_York", profile=profile)
    story.accounts.append(account)
    account.pro2.add_list(1, "Newsletter", [(10_000, 9_999 + recipients)])
    settings: dict[str, object] = {"stuck": True, **knobs}
    due = STARTED_AT + timedelta(minutes=30)
    overdue = account.pro2.add_campaign("Autumn gala", SCHEDULED, sdate=due, **settings)  # type: ignore[arg-type]  # knobs
    note_campaign(story.plot, account, overdue, ["missed"], "overdue", audience=recipients, release="allowed")
    plant_bystanders(story.plot, account)
    return story


def quiet(world: World) -> Story:
    """Nothing was missed: everything due in the window was sent, every job ran."""
    story = begin(world, "quiet")
    account = make_account(world, "harbor", "America/New_York")
    story.accounts.append(account)
    account.pro2.add_list(1, "Newsletter", [(10_000, 10_499)])
    due = STARTED_AT + timedelta(minutes=30)
    evening = account.pro2.add_campaign(
        "Members' evening", COMPLETED, sdate=due, send_amt=500, ldate=due + timedelta(minutes=4)
    )
    note_campaign(story.plot, account, evening, ["done"], "sent in the window", audience=500)
    story.plot.keep_off(account.name, "pro2", str(evening.id), "sent as planned")
    plant_import(story, account, "imp-1", "Hourly import", cron("5 * * * *", account.time_zone), None, 401)
    plant_bystanders(story.plot, account)
    return story


def plant_bystanders(plot: Plot, account: Account) -> None:
    """Healthy campaigns outside the window that nobody may touch."""
    pro2 = account.pro2
    pro2.add_list(9, "Board members", [(90_000, 90_049)])
    day = timedelta(days=1)
    healthy = [
        pro2.add_campaign("Draft: spring brochure", DRAFT, lists=[9]),
        pro2.add_campaign("Thursday preview", SCHEDULED, lists=[9], sdate=NOW + 3 * day),
        pro2.add_campaign(
            "October recap", COMPLETED, lists=[9], sdate=STARTED_AT - 2 * day, ldate=STARTED_AT - 2 * day, send_amt=50
        ),
    ]
    for campaign in healthy:
        plot.keep_off(account.name, "pro2", str(campaign.id), f"healthy: {campaign.name}")


def two_hours(world: World) -> Story:
    """The whole night; see `sandbox.scenario_two_hours`."""
    story = begin(world, "two-hours-down")
    two_hours_down(story)
    return story


def fleet(world: World, *, accounts: int = 100) -> Story:
    """Many accounts, each with an overdue campaign, a sent one, and jobs of which one import missed its slot.

    `fleet:1000` on the command line makes a thousand of them; each has about 100 slots in the window.
    """
    story = begin(world, "fleet")
    zones = ("America/New_York", "America/Chicago", "Europe/London", "Australia/Sydney")
    for number in range(accounts):
        zone = zones[number % len(zones)]
        account = make_account(world, f"house{number:04d}", zone)
        story.accounts.append(account)
        account.pro2.add_list(SUBSCRIBERS, "Subscribers", [(100_000, 100_349)])
        overdue_small(story, account, "Gala", STARTED_AT + timedelta(minutes=number % 120))
        sent(story, account, "Recap", STARTED_AT + timedelta(minutes=30))
        plant_import(story, account, "imp-missed", "Guests", cron("45 * * * *", zone), no_activity, 401)
        for place in range(8):
            plant(story, account, f"busy-{place}", "segment_transfer", f"Busy {place}", cron("*/10 * * * *", zone))
    return story


SCENARIOS: dict[str, Callable[[World], Story]] = {
    "one-campaign": one_campaign,
    "quiet": quiet,
    "two-hours-down": two_hours,
    "fleet": fleet,
}
