"""Evidence is keyed by digest, system and account: who got an equal reply has a record of it with the own request."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from recovery.item_story import story_view
from recovery.ledger import migrations
from recovery.ledger.engine import database_url, make_engines
from recovery.ledger.ledger import Ledger
from recovery.model import ActionState, AttemptOutcome, Exchange, OutageWindow, Saw, Slot, WriteResult
from recovery.model import Testimony as Statement
from recovery.report.of_run import evidence_for
from recovery.report.report import ActionReport, ItemReport, RunReport
from recovery.settings import LedgerSettings, Rehearsal, Settings
from tests.ledger.conftest import ENGINES, new_database
from tests.ledger.counting import counts
from tests.ledger.makers import NOW, plan, plan_item, spec

CONFIG = Path(__file__).parents[2] / "config"
HARBOR = Exchange("pro2", "harbor", "GET https://harbor/list", 200, NOW, "same", "{}", "trace-h")
GRANITE = Exchange("pro2", "granite", "GET https://granite/list", 200, NOW + timedelta(minutes=3), "same", "{}")


async def kept(ledger: Ledger, *exchanges: Exchange) -> None:
    for exchange in exchanges:
        await ledger.keep(exchange)
    await ledger.flush()


async def test_two_accounts_with_equal_replies_have_each_their_own_request_and_time(ledger: Ledger) -> None:
    await kept(ledger, HARBOR, GRANITE)
    assert await ledger.evidence("same", "harbor") == HARBOR
    assert await ledger.evidence("same", "granite") == GRANITE


async def test_an_account_without_a_record_of_its_own_is_given_the_oldest_of_the_others(ledger: Ledger) -> None:
    await kept(ledger, GRANITE, HARBOR)
    assert await ledger.evidence("same", "bayside") == HARBOR
    assert await ledger.evidence("same") == HARBOR
    assert await ledger.evidence("other", "harbor") is None


async def test_of_equal_replies_to_one_account_the_first_stays(ledger: Ledger) -> None:
    await kept(ledger, HARBOR, replace(HARBOR, request="GET https://harbor/again", at=NOW - timedelta(days=1)))
    assert await ledger.evidence("same", "harbor") == HARBOR
    assert (await counts(ledger))["evidence"] == 1


async def test_equal_replies_of_two_systems_to_one_account_are_two_records(ledger: Ledger) -> None:
    await kept(ledger, HARBOR, replace(HARBOR, system="dashboard", at=NOW - timedelta(days=1)))
    assert (await counts(ledger))["evidence"] == 2


# ---- what shows evidence ---------------------------------------------------------------------------------------------


async def test_explain_shows_the_request_and_time_of_the_item_s_account(tmp_path: Path) -> None:
    settings = Settings.model_construct(
        accounts=[],
        folder=tmp_path,
        policy_file=CONFIG / "policy.toml",
        playbook_file=CONFIG / "playbooks" / "process-failure.toml",
        kill_file=tmp_path / "STOP",
        rehearsal=Rehearsal(),
        ledger=LedgerSettings(url=f"sqlite:///{tmp_path}/ledger.db", state_dir=tmp_path),
    )
    async with await Ledger.open(settings.ledger.url, tmp_path) as ledger:
        for number, exchange in enumerate((HARBOR, GRANITE)):
            slot = Slot(exchange.account, "pro2", "campaign", f"ref-{number}", NOW, name="Newsletter")
            made = plan(plan_item(slot=slot), incident=exchange.account)
            await ledger.save_plan(made)
            await ledger.open_items(made)
            await ledger.ensure([spec(f"KEY{number}", slot_key=slot.key, account=exchange.account)])
            attempt = await ledger.begin(f"KEY{number}", 60, "POST", send_within_seconds=5, deadline_seconds=20)
            assert attempt is not None
            await ledger.settle(attempt, WriteResult(AttemptOutcome.APPLIED, ref="9", exchange=exchange))
            await kept(ledger, exchange)
            row = await ledger.confirm(f"KEY{number}", "same", "seen")
            assert row.state is ActionState.CONFIRMED
    for number, exchange in enumerate((HARBOR, GRANITE)):
        (reply,) = (await story_view(settings, f"ref-{number}"))["replies"]
        assert (reply["request"], reply["at"]) == (exchange.request, exchange.at.isoformat().replace("+00:00", "Z"))


@pytest.mark.parametrize("named_by", ["witness", "action"])
async def test_the_report_is_given_the_reply_of_each_item_s_account(ledger: Ledger, named_by: str) -> None:
    await kept(ledger, HARBOR, GRANITE)
    base = plan_item()
    heard = (Statement("list", Saw.NOTHING, NOW, digest="same"),) if named_by == "witness" else ()
    proven = (ActionReport(spec().kind, ActionState.CONFIRMED, evidence_digest="same"),) if not heard else ()
    items = tuple(
        ItemReport(
            replace(base.slot, account=account),
            "Newsletter",
            base.verdict,
            base.remedy,
            cast("Any", "confirmed"),
            testimonies=heard,
            actions=proven,
        )
        for account in ("harbor", "granite")
    )
    report = RunReport(OutageWindow(NOW, NOW + timedelta(hours=1), ()), "inc", "Outage", NOW, "recover", items=items)
    found = await evidence_for(cast("Any", SimpleNamespace(ledger=ledger)), report)
    assert found == {("same", "harbor"): HARBOR, ("same", "granite"): GRANITE}


# ---- the migration ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=ENGINES)
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return new_database(request.getfixturevalue("postgres"))


async def test_a_ledger_of_version_4_keeps_its_rows_and_then_takes_each_account_s_own(
    fresh_url: str, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = Exchange("person", "", "statement", None, NOW, "alone", "yes")
    with monkeypatch.context() as older:
        older.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:4])
        async with await Ledger.open(fresh_url, state_dir) as ledger:
            await ledger.ensure([spec()])
            await kept(ledger, HARBOR, GRANITE, bare)
            assert await ledger.evidence("same", "granite") == HARBOR
    async with await Ledger.open(fresh_url, state_dir) as ledger:
        assert not ledger.quarantined
        assert await ledger.evidence("same", "harbor") == HARBOR
        assert await ledger.evidence("same", "granite") == HARBOR
        assert await ledger.evidence("alone") == bare
        await kept(ledger, GRANITE)
        assert await ledger.evidence("same", "granite") == GRANITE
        assert await ledger.evidence("same", "harbor") == HARBOR
        assert await ledger.verify() == ()


async def test_the_migration_done_again_changes_nothing(fresh_url: str, state_dir: Path) -> None:
    async with await Ledger.open(fresh_url, state_dir) as ledger:
        await kept(ledger, HARBOR, GRANITE)
    writing, _ = make_engines(database_url(fresh_url), read_only=False)
    with writing.begin() as connection:
        migrations.evidence_by_account(connection)
    writing.dispose()
    async with await Ledger.open(fresh_url, state_dir) as ledger:
        await kept(ledger, HARBOR, GRANITE)
        assert await ledger.evidence("same", "harbor") == HARBOR
        assert await ledger.evidence("same", "granite") == GRANITE
        assert (await counts(ledger))["evidence"] == 2
