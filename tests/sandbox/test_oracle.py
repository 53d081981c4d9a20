"""The oracle: silent about a proper recovery, loud about each way of getting it wrong."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.oracle import run, table
from sandbox.oracle_case import Case, depth_of
from sandbox.oracle_checks import judge
from sandbox.pro2_records import SCHEDULED, SENDING
from sandbox.scenario_campaigns import SUBSCRIBERS
from sandbox.scenarios import SCENARIOS, begin, one_campaign
from sandbox.story import Story, make_account, note_campaign
from sandbox.world import World

ROOT = Path(__file__).resolve().parents[2]
SLOT = "2026-11-01T05:30:00Z"


class Recovery:
    """A product in miniature: acts on one account's twin, and claims what it did."""

    def __init__(self, world: World, story: Story) -> None:
        self.world = world
        self.story = story
        self.account = story.accounts[0]
        self.pro2 = self.account.pro2
        self.pro2.send_seconds = 0.0
        self.truth = json.loads(json.dumps(story.truth()))
        self.items: list[dict[str, Any]] = []

    def copy_and_send(self, original: int) -> int:
        made = self.pro2.copy(self.pro2.campaigns[original], user=7)
        self.send(made.id)
        return made.id

    def send(self, campaign: int) -> None:
        assert self.pro2.schedule(self.pro2.campaigns[campaign], self.world.now(), user=7) == ""
        self.tick()

    def tick(self) -> None:
        for _ in range(3):
            self.pro2.tick(self.world)

    def stop(self, campaign: int) -> None:
        self.pro2.halt(self.pro2.campaigns[campaign], 4, user=7)

    def claim(self, ref: str, outcome: str, **more: Any) -> None:
        item = {"account": "harbor", "system": "pro2", "kind": "campaign", "object": ref, "slot": SLOT}
        self.items.append({**item, "verdict": "missed", "outcome": outcome, **more})

    def recover(self) -> None:
        self.stop(101)
        self.copy_and_send(101)
        self.claim("101", "confirmed")

    def case(self, *, claims: bool = True, **more: Any) -> Case:
        events = {path.stem: self.world.read_journal(path.stem) for path in self.world.journal_dir.glob("*.jsonl")}
        told = {"schema": "allclear.recover/1", "items": self.items, "ticket": None, **more}
        return Case(self.truth, events, told if claims else None)

    def complaints(self, **more: Any) -> list[tuple[str, str, int]]:
        return [(c.check, c.object, c.count) for c in judge(self.case(**more))]


@pytest.fixture
def mini(tmp_path: Path) -> Recovery:
    world = World(tmp_path)
    return Recovery(world, one_campaign(world, recipients=1000))


@pytest.fixture
def weak(tmp_path: Path) -> Recovery:
    world = World(tmp_path)
    return Recovery(world, one_campaign(world, recipients=1000, profile="weak"))


def test_a_proper_recovery_leaves_nothing_to_complain_of(mini: Recovery) -> None:
    mini.recover()
    assert mini.complaints() == []


def test_slots_are_compared_as_times_not_as_texts(mini: Recovery) -> None:
    mini.recover()
    mini.items[0]["slot"] = "2026-11-01T01:30:00-04:00"
    assert mini.complaints() == []


def test_two_copies_are_a_double_for_everybody(mini: Recovery) -> None:
    mini.recover()
    mini.copy_and_send(101)
    assert mini.complaints() == [("double", "101", 1000)]


def test_one_campaign_sent_twice_is_a_double(weak: Recovery) -> None:
    weak.recover()
    weak.send(max(weak.pro2.campaigns))
    assert ("double", "101", 1000) in weak.complaints()


def test_a_double_for_some_is_counted_exactly(mini: Recovery) -> None:
    mini.recover()
    copy = mini.pro2.copy(mini.pro2.campaigns[101], user=7)
    mini.pro2.schedule(copy, mini.world.now(), user=7)
    mini.pro2.deliver(copy, [(10_990, 11_100)])
    assert ("double", "101", 10) in mini.complaints()


def test_a_late_original_after_the_copy_must_be_reported_with_its_count(mini: Recovery) -> None:
    mini.recover()
    mini.pro2.let_go_late(101)
    mini.tick()
    assert mini.complaints() == [("overlap", "101", 1000)]
    mini.items[0]["refs"] = {"copy": "104", "overlap": "999"}
    assert mini.complaints() == [("overlap", "101", 1000)]
    for told in ({"refs": {"overlap": "1000"}}, {"overlap": "900-1000"}, {"reason": "between 0 and 1,000 people"}):
        mini.items[0].pop("refs", None)
        mini.items[0] |= told
        assert mini.complaints() == []
        mini.items[0].pop(next(iter(told)))


def test_a_copy_released_after_the_original_had_gone_is_a_double_whatever_is_reported(mini: Recovery) -> None:
    mini.stop(101)
    mini.pro2.let_go_late(101)
    mini.tick()
    mini.copy_and_send(101)
    mini.claim("101", "confirmed", overlap=1000)
    assert mini.complaints() == [("double", "101", 1000)]


def test_a_late_original_without_any_copy_of_ours_is_nobodys_fault(mini: Recovery) -> None:
    mini.stop(101)
    mini.pro2.let_go_late(101)
    mini.tick()
    mini.claim("101", "confirmed")
    assert mini.complaints() == []


def test_a_copy_beside_a_colleagues_copy_is_a_double(mini: Recovery) -> None:
    by_hand = mini.pro2.copy(mini.pro2.campaigns[101], user=1)
    mini.pro2.deliver(by_hand, mini.pro2.audience(by_hand), by="person")
    mini.recover()
    assert mini.complaints() == [("double", "101", 1000)]


def test_a_miss_that_nobody_mentions_is_lost(mini: Recovery) -> None:
    assert mini.complaints() == [("lost", "101", 1)]


def test_what_was_recovered_but_is_not_claimed_was_touched_outside_the_plan_and_is_not_lost(mini: Recovery) -> None:
    mini.recover()
    mini.items.clear()
    assert {check for check, _, _ in mini.complaints()} == {"touched"}
    assert mini.complaints(claims=False) == []


def test_a_second_run_may_claim_what_the_first_one_did(mini: Recovery) -> None:
    mini.recover()
    mini.items[0] |= {"outcome": "done_before", "verdict": "done"}
    assert mini.complaints() == []


def test_claims_of_several_runs_add_up_and_the_last_word_counts(mini: Recovery, tmp_path: Path) -> None:
    mini.recover()
    first = saved(mini, tmp_path)
    second = tmp_path / "second.json"
    second.write_text(json.dumps({"items": []}))
    assert run(tmp_path, [first, second]) == 0
    second.write_text(json.dumps({"items": [{**mini.items[0], "outcome": "skipped"}]}))
    assert run(tmp_path, [first, second]) == 1


def test_held_and_skipped_are_ways_to_end(mini: Recovery) -> None:
    mini.claim("101", "held")
    assert mini.complaints() == []
    mini.items[0]["outcome"] = "skipped"
    assert mini.complaints() == []


def test_confirmed_without_a_delivery_is_unproven(mini: Recovery) -> None:
    mini.claim("101", "confirmed")
    assert mini.complaints() == [("unproven", "101", 1)]


def test_confirmed_with_half_of_the_audience_is_unproven(mini: Recovery) -> None:
    copy = mini.pro2.copy(mini.pro2.campaigns[101], user=7)
    mini.pro2.deliver(copy, [(10_000, 10_499)])
    mini.claim("101", "confirmed")
    assert [c.detail for c in judge(mini.case())] == ["confirmed, but 500 of its recipients got nothing"]


def test_skipped_yet_sent_is_a_contradiction(mini: Recovery) -> None:
    mini.recover()
    mini.items[0]["outcome"] = "skipped"
    assert mini.complaints() == [("skipped", "101", 1)]


def test_confirming_what_was_never_due_is_unproven(mini: Recovery) -> None:
    mini.recover()
    mini.claim("777", "confirmed")
    assert ("unproven", "777", 1) in mini.complaints()


def test_a_wrong_verdict_is_told(mini: Recovery) -> None:
    mini.claim("101", "held", verdict="partial")
    assert mini.complaints() == [("verdict", "101", 1)]


def test_touching_a_healthy_campaign_is_told_even_without_claims(mini: Recovery) -> None:
    healthy = next(c for c in mini.pro2.campaigns.values() if c.name == "Thursday preview")
    mini.stop(healthy.id)
    assert ("touched", str(healthy.id), 1) in mini.complaints(claims=False)


def test_a_persons_own_work_is_not_laid_at_our_door(mini: Recovery) -> None:
    mini.recover()
    healthy = next(c for c in mini.pro2.campaigns.values() if c.name == "Thursday preview")
    mini.pro2.set_status(healthy, 4, by="person")
    mini.pro2.copy(healthy, user=1)
    assert mini.complaints() == []


def test_touching_what_is_not_claimed_is_outside_the_plan(mini: Recovery) -> None:
    stray = mini.pro2.add_campaign("Stray", SCHEDULED, sdate=mini.story.started_at, stuck=True)
    mini.recover()
    mini.stop(stray.id)
    assert mini.complaints() == [("touched", str(stray.id), 1)]


def test_sending_what_was_partly_sent_is_forbidden(tmp_path: Path) -> None:
    world = World(tmp_path)
    story = begin(world, "partial")
    account = make_account(world, "harbor", "America/New_York")
    story.accounts.append(account)
    account.pro2.add_list(SUBSCRIBERS, "Subscribers", [(1, 100)])
    due = story.started_at.replace(minute=30)
    made = account.pro2.add_campaign("Half", SENDING, sdate=due, send_amt=40, stuck=True)
    note_campaign(story.plot, account, made, ["partial"], "partly sent", release="forbidden", audience=100)
    recovery = Recovery(world, story)
    recovery.copy_and_send(made.id)
    recovery.claim(str(made.id), "confirmed", verdict="partial")
    assert recovery.complaints() == [("double", str(made.id), 40), ("forbidden", str(made.id), 100)]


def test_a_key_in_a_url_is_told(mini: Recovery) -> None:
    mini.recover()
    mini.pro2.journal("key_in_url", action="campaign_status")
    assert mini.complaints() == [("key in URL", "campaign_status", 1)]


def test_a_second_ticket_or_notice_for_one_incident_is_told(mini: Recovery) -> None:
    mini.recover()
    for key in ("INC-1", "INC-2"):
        mini.world.journal("jira", "", "issue_created", key=key, label="rk-abc")
        mini.world.journal("slack", "", "message", channel="C0OPS", key="abc", ts=key)
    assert mini.complaints(ticket={"key": "INC-1"}) == [
        ("double ticket", "rk-abc", 2),
        ("double notice", "C0OPS abc", 2),
    ]


def test_a_claimed_ticket_that_was_never_created_is_unproven(mini: Recovery) -> None:
    mini.recover()
    assert mini.complaints(ticket={"key": "INC-7"}) == [("unproven", "INC-7", 1)]


# ---- jobs and tags of the night --------------------------------------------------------------------------------------


@pytest.fixture
def night(tmp_path: Path) -> Recovery:
    world = World(tmp_path)
    recovery = Recovery(world, SCENARIOS["two-hours-down"](world))
    for item in recovery.story.plot.items:
        if "done" not in item["expected"]:
            kept = {key: item[key] for key in ("account", "system", "kind", "object", "slot")}
            recovery.items.append({**kept, "verdict": item["expected"][0], "outcome": "held"})
    return recovery


def outcome(recovery: Recovery, ref: str, word: str) -> None:
    next(i for i in recovery.items if i["object"] == ref)["outcome"] = word


def run_now(recovery: Recovery, definition: str, times: int = 1) -> None:
    for _ in range(times):
        recovery.account.dashboard.start_run(recovery.world, definition, "run_now")
        recovery.world.advance(10)
        recovery.account.dashboard.tick(recovery.world)


def test_holding_everything_is_clean(night: Recovery) -> None:
    assert night.complaints() == []


def test_run_now_once_confirms_and_twice_is_a_double_run(night: Recovery) -> None:
    outcome(night, "trg-thanks", "confirmed")
    assert night.complaints() == [("unproven", "trg-thanks", 1)]
    run_now(night, "trg-thanks")
    assert night.complaints() == []
    run_now(night, "trg-thanks")
    assert night.complaints() == [("double run", "trg-thanks", 2)]


def test_running_a_healthy_job_is_told(night: Recovery) -> None:
    run_now(night, "day-trigger")
    assert night.complaints() == [("touched", "day-trigger", 1)]


def test_a_sync_is_confirmed_only_when_both_directions_are_repaired(night: Recovery) -> None:
    sync = next(row for row in night.story.plot.syncs if row["account"] == "harbor")
    outcome(night, "sync-members", "confirmed")
    for contact in sync["to_add"]:
        night.pro2.add_tag(contact, sync["tag"], by="api:7")
    assert night.complaints() == [("unproven", "sync-members", 1)]
    for contact in sync["to_remove"]:
        night.pro2.remove_tag(contact, sync["tag"], by="api:7")
    assert night.complaints() == []


def test_taking_a_tag_from_a_member_is_told(night: Recovery) -> None:
    sync = next(row for row in night.story.plot.syncs if row["account"] == "harbor")
    member = min(night.pro2.tag_members(sync["tag"]) - set(sync["to_remove"]))
    night.pro2.remove_tag(member, sync["tag"], by="api:7")
    assert night.complaints() == [("tag", sync["tag"], 1)]


def test_a_new_tag_of_our_own_may_be_given_to_anybody(night: Recovery) -> None:
    night.pro2.add_tag(2001, "Recovery RK-1", by="api:7")
    assert night.complaints() == []


def test_importing_one_list_twice_is_told(night: Recovery) -> None:
    dashboard = night.account.dashboard
    for number in (1, 2):
        dashboard.add_definition(f"import-{number}", "integrated_import", "again", list_manager_list_id=501)
        dashboard.start_run(night.world, f"import-{number}", "import", tags=[f"RK-{number}"])
        night.world.advance(10)
        dashboard.tick(night.world)
    assert night.complaints() == [("double run", "list 501", 2)]


# ---- the command -----------------------------------------------------------------------------------------------------


def saved(recovery: Recovery, root: Path) -> Path:
    (root / "truth.json").write_text(json.dumps(recovery.truth))
    claims = root / "claims.json"
    claims.write_text(json.dumps({"items": recovery.items, "ticket": None}))
    return claims


def test_the_command_is_clean_with_0_and_complains_with_1(mini: Recovery, tmp_path: Path) -> None:
    mini.recover()
    claims = saved(mini, tmp_path)
    command = [sys.executable, "-m", "sandbox", "oracle", "--root", str(tmp_path), "--claims", str(claims), "--json"]
    good = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    mini.copy_and_send(101)
    bad = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (good.returncode, json.loads(good.stdout)["clean"]) == (0, True)
    assert (bad.returncode, json.loads(bad.stdout)["complaints"][0]["check"]) == (1, "double")
    assert json.loads(good.stdout)["numbers"]["copies"] == 1


def test_what_cannot_be_read_is_code_2_and_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, []) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_broken_journal_line_is_a_complaint(mini: Recovery, tmp_path: Path) -> None:
    saved(mini, tmp_path)
    with (tmp_path / "journal" / "pro2.jsonl").open("a") as journal:
        journal.write('{"at": "2026\n')
    assert [c.check for c in judge(Case.read(tmp_path, []))] == ["journal"]


def test_the_table_is_80_columns_wide_and_harmless(mini: Recovery, tmp_path: Path) -> None:
    mini.claim("101\x1b[2J", "confirmed", account="a" * 50)
    claims = saved(mini, tmp_path)
    from sandbox.oracle import report

    case = Case.read(tmp_path, [claims])
    text = table(report(case, judge(case)))
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert "NOT CLEAN" in text


def test_the_oracle_shares_no_code_with_what_it_judges() -> None:
    for name in ("oracle", "oracle_case", "oracle_checks", "oracle_desk", "oracle_rules"):
        tree = ast.parse((ROOT / "sandbox" / f"{name}.py").read_text())
        imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        ours = {
            module for module in imported if module.split(".")[0] in ("sandbox", "recovery", "integrations", "flows")
        }
        assert ours <= {"sandbox.oracle_case", "sandbox.oracle_checks", "sandbox.oracle_desk", "sandbox.oracle_rules"}
        assert {m.split(".")[0] for m in imported - ours} <= set(sys.stdlib_module_names)


SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)).map(lambda p: (p[0], p[0] + p[1])), max_size=6)


@given(st.lists(SPANS, max_size=4))
@settings(max_examples=80)
def test_overlaps_are_counted_like_counting_heads(deliveries: list[list[tuple[int, int]]]) -> None:
    heads: dict[int, int] = {}
    for spans in deliveries:
        for low, high in spans:
            for number in range(low, high + 1):
                heads[number] = heads.get(number, 0) + 1
    expected = (len(heads), sum(1 for n in heads.values() if n > 1), max(heads.values(), default=0))
    assert depth_of(deliveries) == expected
