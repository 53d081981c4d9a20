"""Data syncs that lost their differences: the tagged import, the two segments, the reviewed counts, the order."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace

import pytest

from recovery.model import ItemOutcome
from recovery.sync_gap import unique_tag
from sandbox import scenario_jobs as jobs
from sandbox.pro2_records import SCHEDULED
from sandbox.story import note_campaign
from tests.recovery.stage import approve, items, night, stage

ZONE = "America/New_York"
TAG = "Members (sync)"
SHAPES = {
    "both": {"mode": "add_remove", "lost": 4, "stale": 3},
    "addonly": {"mode": "add_only", "lost": 5, "stale": 4},
    "many": {"mode": "add_remove", "lost": 2, "stale": 25},
    "nothing": {"mode": "add_remove", "fate": jobs.no_activity},
    "newer": {"mode": "add_remove", "lost": 2, "stale": 1},
    "sametime": {"mode": "add_remove", "lost": 2, "stale": 1},
    "neverused": {"mode": "add_remove", "lost": 2, "stale": 1},
    "inactive": {"mode": "add_remove", "lost": 2, "stale": 1},
    "twotags": {"mode": "add_remove", "lost": 2, "stale": 1},
    "othercase": {"mode": "add_remove", "lost": 2, "stale": 1},
    "noaddress": {"mode": "add_remove", "lost": 2, "stale": 1},
    "notag": {"mode": "add_only", "lost": 2},
}


def sync(story, account, **shape):
    jobs.plant_import(story, account, "healthy", "Healthy import", jobs.cron("5 * * * *", ZONE), None, 400)
    given = {"fate": jobs.full_error, **shape}
    at = jobs.once(story.started_at + timedelta(minutes=10))
    jobs.plant_sync(story, account, "sync", "Current members", at, list_id=501, tag=TAG, size=40, **given)


def plant(story, account):
    sync(story, account, **SHAPES[account.name])
    if account.name == "newer":
        account.tessitura.add_list(502, "Current members", [], fresh=[], last_used_at=story.ended_at)
    ODD.get(account.name, lambda _story, _account: None)(story, account)


def same_time(story, account):
    account.tessitura.add_list(502, "Current members", [], fresh=[], last_used_at=story.started_at)


def never_used(story, account):
    account.tessitura.lists[501].last_used_at = None
    same_time(story, account)


def inactive(_story, account):
    account.tessitura.lists[501].inactive = True


def two_tags(_story, account):
    account.dashboard.definitions["sync"]["tags"].append("Donors")


def other_case(_story, account):
    account.dashboard.definitions["sync"]["tags"][:] = [TAG.upper()]


def no_address(_story, account):
    """Somebody who carries the tag and has no address, so that nobody can say whether the list holds them."""
    someone = account.pro2.add_contact("")
    account.pro2.plant_tag(TAG, [someone.id])


def no_tag(_story, account):
    account.dashboard.definitions["sync"]["tags"][:] = ["Never made"]


ODD = {
    "sametime": same_time,
    "neverused": never_used,
    "inactive": inactive,
    "twotags": two_tags,
    "othercase": other_case,
    "noaddress": no_address,
    "notag": no_tag,
}


async def play(folder):
    async with night(folder, stage(plant, names=tuple(SHAPES))) as n:
        plan = await n.plan()
        done = await n.recover()
        tags = {a: n.events("pro2", "tag_added", "tag_removed", account=a, by="api:7") for a in SHAPES}
        imports = {a: n.events("dashboard", "run_requested", account=a) for a in SHAPES}
        rows = {r.account: r for r in done.items}
        clean = await n.oracle()
        await n.answer(rows["many"].slot_key, next(c for c in rows["many"].question.choices if c.startswith("apply")))
        second = await n.recover()
        return SimpleNamespace(
            night=n, plan=plan, rows=rows, tags=tags, imports=imports, balance=done.balance, clean=clean,
            second={r.account: r for r in second.items}, clean_again=await n.oracle(),
        )  # fmt: skip


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return asyncio.run(play(tmp_path_factory.mktemp("syncs")))


def counted(played, account):
    events = [r["event"] for r in played.tags[account] if r["tag"] == TAG]
    return events.count("tag_added"), events.count("tag_removed")


@pytest.mark.requirement("R001.25", "R001.26", "R001.28", "R001.29", "R001.30")
def test_a_lost_difference_is_repaired_in_both_directions(played):
    assert played.rows["both"].outcome is ItemOutcome.CONFIRMED
    assert counted(played, "both") == (4, 3)


@pytest.mark.requirement("R001.29")
def test_an_add_only_sync_takes_the_tag_from_nobody(played):
    assert played.rows["addonly"].outcome is ItemOutcome.CONFIRMED
    assert counted(played, "addonly") == (5, 0)


@pytest.mark.requirement("R001.26", "R001.27")
def test_the_list_is_imported_once_with_a_tag_that_nobody_else_has(played):
    (run,) = played.imports["both"]
    (tag,) = run["tags"]
    assert run["requested_by"] == "import" and tag.startswith("allclear-")
    everywhere = [t for runs in played.imports.values() for r in runs for t in r["tags"]]
    assert len(everywhere) == len(set(everywhere))


@pytest.mark.requirement("R001.30")
def test_more_removals_than_policy_allows_are_asked_about_with_their_number(played):
    row = played.rows["many"]
    assert row.outcome is ItemOutcome.HELD and "25 of 63 people would lose" in row.question.text
    assert counted(played, "many") == (0, 0)


@pytest.mark.requirement("R001.30")
def test_the_answer_to_the_removals_applies_exactly_those(played):
    assert played.second["many"].outcome is ItemOutcome.CONFIRMED
    added = played.night.events("pro2", "tag_added", account="many", by="api:7", tag=TAG)
    removed = played.night.events("pro2", "tag_removed", account="many", by="api:7", tag=TAG)
    assert (len(added), len(removed)) == (2, 25)
    assert len(played.night.events("dashboard", "run_requested", account="many")) == 1


@pytest.mark.requirement("R001.25")
def test_a_list_of_the_same_name_that_was_used_later_makes_a_question(played):
    row = played.rows["newer"]
    assert row.outcome is ItemOutcome.HELD and "List 502" in row.question.text
    assert played.imports["newer"] == []


@pytest.mark.requirement("R001.25")
@pytest.mark.parametrize(
    ("account", "words"),
    [
        ("neverused", "List 502"),
        ("inactive", "switched off"),
        ("twotags", "keeps 2 tags"),
        ("notag", "does not exist in Pro2"),
    ],
)
def test_a_sync_whose_list_or_tag_is_not_clear_is_asked_about_before_anything_is_imported(played, account, words):
    row = played.rows[account]
    assert row.outcome is ItemOutcome.HELD and words in row.question.text
    assert played.imports[account] == [] and played.tags[account] == []


@pytest.mark.requirement("R001.25", "R001.28", "R001.29")
@pytest.mark.parametrize("account", ["sametime", "othercase", "noaddress"])
def test_only_a_list_used_later_a_tag_of_another_name_and_people_with_an_address_count(played, account):
    """The sync's own list stands where none is newer; capitals do not matter; who has no address keeps the tag."""
    assert played.rows[account].outcome is ItemOutcome.CONFIRMED, played.rows[account]
    assert counted(played, account) == (2, 1)


@pytest.mark.requirement("R001.31")
def test_the_plan_says_why_the_sync_is_not_simply_run_again(played):
    (item,) = [i for i in played.plan.items if i.slot.account == "both"]
    assert "may find no difference" in item.reason
    assert not [r for runs in played.imports.values() for r in runs if r["definition"] == "sync"]


@pytest.mark.requirement("R001.30")
def test_the_plan_names_the_counts_and_the_people(played):
    (item,) = [i for i in played.plan.items if i.slot.account == "both"]
    assert (item.before["adds"], item.before["removes"]) == (4, 3)
    assert sorted(item.before["to_remove"]) == [f"former501-{n}@both.example" for n in range(3)]
    assert "4 to add, 3 to remove" in item.reason


def test_a_missed_sync_without_a_difference_changes_nobody(played):
    assert played.rows["nothing"].outcome is ItemOutcome.SKIPPED
    assert counted(played, "nothing") == (0, 0)


def test_both_runs_add_up_and_the_oracle_agrees(played):
    assert played.balance.adds_up, played.balance
    assert (played.clean, played.clean_again) == ([], [])


# ---- one at a time ---------------------------------------------------------------------------------------------------


def lost_both_ways(story, account):
    sync(story, account, mode="add_remove", lost=4, stale=3)


@pytest.mark.requirement("R001.27")
async def test_a_unique_tag_that_somebody_already_carries_is_refused(tmp_path):
    async with night(tmp_path, stage(lost_both_ways)) as n:
        (item,) = (await n.plan()).items
        async with n.open() as systems:
            tag = unique_tag(systems.secret, item.slot, 0)
        pro2 = n.estate.account("harbor").pro2
        pro2.plant_tag(tag, [next(iter(pro2.contacts))])
        row = items(await n.recover())["sync"]
        assert row.outcome is ItemOutcome.HELD and tag in row.question.text
        assert n.writes() == []


@pytest.mark.requirement("R001.30")
async def test_differences_that_changed_since_the_review_are_not_applied(tmp_path):
    async with night(tmp_path, stage(lost_both_ways)) as n:
        plan = await n.plan()
        pro2 = n.estate.account("harbor").pro2
        member = min(pro2.tag_members(TAG))
        pro2.remove_tag(member, TAG, by="person")
        async with n.open() as systems:
            await approve(systems, plan, "Dana Reyes")
            row = items(await n.run(systems, plan))["sync"]
        assert row.outcome is ItemOutcome.HELD and "5 to add, 3 to remove" in row.question.text
        assert n.events("pro2", "tag_added", tag=TAG, by="api:7") == []
        assert n.events("pro2", "tag_removed", by="api:7") == []


@pytest.mark.requirement("R001.19")
async def test_an_import_with_error_rows_compares_nothing(tmp_path):
    def partly(story, account):
        lost_both_ways(story, account)
        account.dashboard.knobs.run_outcome = "failed"

    async with night(tmp_path, stage(partly)) as n:
        row = items(await n.recover())["sync"]
        assert row.outcome is ItemOutcome.HELD and "ended as failed" in row.question.text
        assert n.events("pro2", "tag_added", "tag_removed", by="api:7") == []


@pytest.mark.parametrize("op", ["tag_add", "tag_remove"])
async def test_a_lost_reply_to_a_tag_change_ends_with_the_tag_as_it_should_be(tmp_path, op):
    async with night(tmp_path, stage(lost_both_ways)) as n:
        n.fault("pro2", op, "502-after", after=1)
        assert items(await n.recover())["sync"].outcome is ItemOutcome.CONFIRMED
        assert await n.oracle() == []


async def test_a_lost_reply_to_the_import_leads_to_no_second_import(tmp_path):
    async with night(tmp_path, stage(lost_both_ways)) as n:
        n.fault("dashboard", "imports", "reset-after")
        assert items(await n.recover())["sync"].outcome is ItemOutcome.CONFIRMED
        assert len(n.events("dashboard", "run_requested")) == 1
        assert await n.oracle() == []


def segment_campaign(story, account):
    """A campaign to a segment of people with the sync's tag, and one to a list."""
    lost_both_ways(story, account)
    due = story.started_at + timedelta(minutes=30)
    account.pro2.segments[77] = [(20_000, 20_099)]
    for name, segment in (("To a segment", 77), ("To a list", 0)):
        made = account.pro2.add_campaign(name, SCHEDULED, sdate=due, lists=[2], stuck=True, segment_id=segment)
        size = 100 if segment else 350
        note_campaign(story.plot, account, made, ["missed"], "overdue", audience=size, release="allowed")


@pytest.mark.requirement("R001.30")
async def test_a_campaign_to_a_segment_waits_for_the_sync_and_one_to_a_list_does_not(tmp_path):
    async with night(tmp_path, stage(segment_campaign), limits={"removals_percent": 1}) as n:
        rows = items(await n.recover())
        assert rows["sync"].outcome is ItemOutcome.HELD
        assert rows["101"].outcome is ItemOutcome.HELD and "data syncs are not repaired" in rows["101"].question.text
        assert rows["102"].outcome is ItemOutcome.CONFIRMED
        await n.answer(rows["sync"].slot_key, next(c for c in rows["sync"].question.choices if c.startswith("apply")))
        again = items(await n.recover())
        assert again["sync"].outcome is ItemOutcome.CONFIRMED
        assert again["101"].outcome is ItemOutcome.CONFIRMED
        assert await n.oracle() == []


@pytest.mark.requirement("R001.30")
async def test_the_sync_is_repaired_before_its_campaign_leaves(tmp_path):
    async with night(tmp_path, stage(segment_campaign)) as n:
        done = await n.recover()
        assert {r.outcome for r in done.items} == {ItemOutcome.CONFIRMED}
        last_tag = max(r["n"] for r in n.events("pro2", "tag_added", "tag_removed", by="api:7"))
        first_release = min(r["n"] for r in n.events("pro2", "campaign_status", by="api", to=1))
        assert last_tag < first_release
