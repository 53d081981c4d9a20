"""A case on the real ledger: what was worked today is the same case after the program was closed and opened again."""

from __future__ import annotations

from pathlib import Path

from recovery.case.casework import Office
from recovery.case.escalation import escalate, record_stage
from recovery.case.outcome import search_references
from recovery.ledger.ledger import Ledger
from tests.playbook.play import Table
from tests.playbook.test_case_escalation import Tickets


async def test_a_case_is_the_same_after_the_ledger_was_closed_and_opened_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    table = Table(tmp_path)
    async with await Ledger.open(url, tmp_path / "state") as ledger:
        table.office = Office(ledger, table.store, table.clock, b"canary-signing-key", None)
        await table.run()
        await search_references(table.office, table.playbook, table.ref, Tickets(), "Ann")
        for stage, team in (("business", "CSM"), ("helpdesk", "Helpdesk")):
            await record_stage(
                table.office, table.playbook, table.ref, stage_id=stage, team=team, resolved=False, note="", by="Ann"
            )
        opened = await escalate(table.office, table.playbook, table.ref, stage_id="cross_functional", by="Ann")
        before = await table.case()
    async with await Ledger.open(url, tmp_path / "state") as ledger:
        table.office = Office(ledger, table.store, table.clock, b"canary-signing-key", None)
        after = await table.case()
        again = await escalate(table.office, table.playbook, table.ref, stage_id="cross_functional", by="Bob")
    assert after == before
    assert again == opened
    assert after.reasons == ("clicks_not_counted",)
