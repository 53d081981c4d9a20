"""A guard that is taken out makes the oracle complain; with it the oracle is content (design, invariant 13).

The rules of the gate that are not here are taken out in `tests.prove.seeded`: sibling copies, stops and originals read
before, approvals, the kill switch.
"""

from datetime import timedelta

import pytest

from recovery import gate
from recovery.act import Runner
from sandbox import scenario_campaigns as mail
from sandbox.pro2_records import SCHEDULED
from sandbox.story import note_campaign
from tests.recovery.stage import approve, items, night, stage
from tests.recovery.test_syncs import lost_both_ways

RULES = gate.RELEASE_RULES


def small(story, account):
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))


def plant(story, account):
    """Each account stands in the way of its own copy for one reason alone."""
    due = story.started_at + timedelta(minutes=20)
    if account.name == "segment":
        lost_both_ways(story, account)
        account.pro2.segments[77] = [(20_000, 20_099)]
        made = account.pro2.add_campaign("Gala", SCHEDULED, sdate=due, lists=[2], stuck=True, segment_id=77)
        note_campaign(story.plot, account, made, ["missed"], "overdue", audience=100, release="allowed")
        story.plot.rule("after tags", account="segment", object=str(made.id))
    else:
        (mail.event_over if account.name == "late" else mail.overdue_small)(story, account, "Gala", due)


NEEDED = {
    "late": (gate._still_valid, "forbidden"),
    "colleague": (gate._no_foreign_copy, "double"),
    "gone": (gate._original_went, "double"),
    "segment": (gate._syncs_repaired, "too early"),
}


async def play(n):
    """The plan is made; then the event begins, a colleague sends a copy, an original leaves; then the plan is run."""
    over = n.estate.story.valid_until.copy()
    n.estate.story.valid_until.clear()
    n.policy(limits={"removals_percent": 1})
    plan = await n.plan()
    n.estate.story.valid_until.extend(over)
    n.policy(limits={"removals_percent": 1})
    for account in n.estate.story.accounts:
        if account.name == "colleague":
            account.pro2.schedule(account.pro2.copy(account.pro2.campaigns[101], user=1), n.world.now(), user=1)

    def tell(what, facts):
        if what == "sent" and facts["request"].startswith("mark") and facts["slot"].startswith("gone"):
            moving = n.estate.account("gone").pro2
            moving.send_seconds = 0
            moving.let_go_late(101)
            n.estate.run_due()

    n.tell = tell
    async with n.open() as systems:
        await approve(systems, plan, "Dana Reyes")
        await approve(systems, plan, "Sam Okafor")
        await n.run(systems, plan)
    return await n.oracle()


@pytest.mark.requirement("R001.14")
async def test_with_every_rule_of_the_gate_the_oracle_is_content(tmp_path):
    async with night(tmp_path, stage(plant, names=tuple(NEEDED))) as n:
        assert await play(n) == []


@pytest.mark.requirement("R001.14")
@pytest.mark.parametrize("name", NEEDED)
async def test_without_its_rule_each_account_makes_the_oracle_complain(tmp_path, monkeypatch, name):
    """Each in a night of its own: an overlap that is noticed stops the releases of every other account."""
    absent, complaint = NEEDED[name]
    monkeypatch.setattr(gate, "RELEASE_RULES", tuple(rule for rule in RULES if rule is not absent))
    async with night(tmp_path, stage(plant, names=(name,))) as n:
        assert [c[: len(complaint)] for c in await play(n)] == [complaint]


async def test_without_quiet_hours_in_the_gate_the_oracle_complains(tmp_path, monkeypatch):
    def plant_quiet(story, account):
        small(story, account)
        story.plot.rule("quiet", account=account.name, zone="America/New_York", start="22:00", end="07:00")

    async with night(tmp_path, stage(plant_quiet), tables="[quiet_hours]\nstart = 22:00:00\nend = 07:00:00") as n:
        await n.recover()
        assert await n.oracle() == []
        monkeypatch.setattr(gate, "RELEASE_RULES", tuple(r for r in RULES if r is not gate._not_quiet))
        await n.recover()
        assert [c.split(":")[0] for c in await n.oracle()] == ["quiet hours 102"]


async def test_without_its_caps_the_oracle_complains(tmp_path, monkeypatch):
    def plant_three(story, account):
        for _ in range(3):
            small(story, account)
        story.plot.rule("most", amount=700)

    async with night(tmp_path, stage(plant_three), limits={"recipients_per_hour": 700}) as n:
        assert sorted(r.outcome.value for r in items(await n.recover()).values()) == ["confirmed", "confirmed", "held"]
        assert await n.oracle() == []
        monkeypatch.setattr(Runner, "_caps", lambda _self, _effect: None)
        await n.recover()
        assert [c.split(":")[0] for c in await n.oracle()] == ["cap "]
