"""What a platform does is tried on a test account, recorded, and counted on from then; anything else stays unproven."""

from __future__ import annotations

import functools
import re
from contextlib import asynccontextmanager

import pytest

from recovery.errors import ConfigError, RefusedError
from recovery.manifests import Proof, Proofs, fold, record_proof
from recovery.settings import load_settings
from recovery.terminal.checkup import prove
from recovery.wiring import manifest_of
from sandbox.pro2_records import COMPLETED, STOPPED
from sandbox.scenarios import begin
from sandbox.story import make_account
from tests.recovery.stage import night

SAFE = ("header_only_auth", "read_by_id", "list_lag", "edit_does_not_arm", "draft_deleted", "id_greater_complete")


def build(world, profile="strong"):
    story = begin(world, "proof")
    account = make_account(world, "harbor", "America/New_York", profile=profile)
    story.accounts.append(account)
    account.pro2.add_list(1, "Customers", [(10_000, 10_249)])
    account.pro2.add_list(7, "Our own addresses", [(90_000, 90_002)])
    account.pro2.add_campaign("To customers", COMPLETED, lists=[1], send_amt=250, ldate=story.started_at)
    account.pro2.add_campaign("Seed, done", COMPLETED, lists=[7], send_amt=3, ldate=story.started_at)
    account.pro2.add_campaign("Seed, stopped", STOPPED, lists=[7])
    return story


@asynccontextmanager
async def test_night(folder, profile="strong", *, seed="7", test_account=True, rate=20.0):
    async with night(folder, functools.partial(build, profile=profile)) as n:
        lines = f"test_account = {str(test_account).lower()}\n" + (f'seed_list = "{seed}"\n' if seed else "")
        text = re.sub(r'(time_zone = "America/New_York"\n)', rf"\1{lines}", n.config.read_text())
        pace = 18 if rate else 100  # where no limiter is met, nothing has to be slow
        n.config.write_text(text.replace("requests_per_second = 100", f"requests_per_second = {pace}"))
        n.estate.account("harbor").pro2.rate_per_second = rate
        yield n


test_night.__test__ = False


async def proved(n):
    view = await prove(load_settings(n.config), "harbor", "Dana Reyes")
    return {row["check"]: row["outcome"] for row in view["checks"]}, view


def rows(n, *names):
    return n.events("pro2", *names)


async def test_a_strong_platform_is_proven_and_its_clients_then_count_on_it(tmp_path):
    async with test_night(tmp_path) as n:
        outcomes, view = await proved(n)
        assert outcomes == dict.fromkeys((*SAFE, "one_shot_release", "limiter_before_execute"), "proved"), view
        assert all(row["evidence"] for row in view["checks"])
        assert view["exit_code"] == 0
        async with n.open() as systems:
            (account,) = systems.accounts
            manifest = account.campaigns.manifest()
            assert manifest.draft_leaves_once and manifest.limits_before_executing and account.one_shot_release
            assert manifest.search_lag_seconds is not None
            assert await systems.ledger.stale_actions() == ()
        assert len(rows(n, "copy")) == len(rows(n, "delete")) == 1, "it cleans up"
        assert [r["count"] for r in rows(n, "delivery")] == [250, 3], "nobody got mail"


async def test_a_weak_platform_is_refuted_and_nothing_is_assumed_of_it(tmp_path):
    async with test_night(tmp_path, "weak", rate=0) as n:
        outcomes, view = await proved(n)
        assert outcomes["one_shot_release"] == "refuted" and view["exit_code"] == 1
        async with n.open() as systems:
            assert not systems.accounts[0].one_shot_release
        late = rows(n, "delivery")[2:]
        assert all(r["count"] <= 3 for r in late), "only our own addresses were ever reached"


async def test_without_a_seed_list_the_release_is_not_tried_and_the_report_says_so(tmp_path):
    async with test_night(tmp_path, seed="", rate=0) as n:
        outcomes, view = await proved(n)
        assert outcomes["one_shot_release"] == "skipped"
        assert any("seed_list" in row["detail"] for row in view["checks"])
        assert not rows(n, "campaign_status")


async def test_what_meets_no_limiter_or_lags_is_not_proven(tmp_path):
    async with test_night(tmp_path, rate=0) as n:
        n.estate.account("harbor").pro2.copy_lag_seconds = 0.8
        outcomes, _ = await proved(n)
        assert outcomes["limiter_before_execute"] == "skipped"
        assert outcomes["list_lag"] == "refuted"


async def test_an_account_that_is_not_called_a_test_account_is_never_touched(tmp_path):
    async with test_night(tmp_path, test_account=False) as n:
        with pytest.raises(RefusedError, match="not a test account"):
            await prove(load_settings(n.config), "harbor", "Dana")
        assert n.writes() == []


async def test_nothing_is_tried_under_the_kill_switch(tmp_path):
    async with test_night(tmp_path) as n:
        (n.folder / "STOP").touch()
        with pytest.raises(RefusedError, match="kill switch"):
            await prove(load_settings(n.config), "harbor", "Dana")
        assert n.writes() == []


async def test_the_newest_outcome_counts_and_a_skipped_one_takes_nothing_back(tmp_path):
    async with test_night(tmp_path) as n, n.open() as systems:

        async def say(outcome):
            proof = Proof("one_shot_release", outcome, "x", "d" * 64)
            await record_proof(systems.ledger, systems.clock, "harbor", "pro2", "Dana", proof)
            return manifest_of("pro2", fold(await systems.ledger.stream("capability/harbor/pro2"))).draft_leaves_once

        assert not manifest_of("pro2", Proofs()).draft_leaves_once
        assert [await say(o) for o in ("skipped", "proved", "skipped", "refuted", "proved")] == [
            False,
            True,
            True,
            False,
            True,
        ]


async def test_another_account_takes_proofs_only_from_a_test_account(tmp_path):
    async with test_night(tmp_path, test_account=False) as n:
        text = n.config.read_text().replace("test_account = false", 'proven_by = "harbor"')
        n.config.write_text(text)
        with pytest.raises(ConfigError, match="no test account"):
            load_settings(n.config)
