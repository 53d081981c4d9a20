"""A ledger that was set back to a backup: nothing leaves, what was done is found, a named person trusts it again."""

from __future__ import annotations

import shutil
from datetime import timedelta

from sandbox import scenario_campaigns as mail
from tests.cli.program import allclear, approve_last, served, window
from tests.recovery.stage import stage


def one(story, account):
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))


def test_a_restored_backup_sends_nothing_again_until_a_person_trusts_it(tmp_path):
    with served(tmp_path, stage(one), desks=False) as n:
        config = ("--config", str(n.config))
        plan = allclear("plan", *window(n), "--json", *config).json
        approve_last(n, plan["digest"], plan["recipients"])
        path, backup = n.folder / "allclear.db", tmp_path / "backup.db"
        shutil.copy(path, backup)
        run = ("recover", "--plan", plan["digest"], "--by", "Alex", *config)
        assert allclear(*run).code == 0
        for left in n.folder.glob("allclear.db*"):
            left.unlink()
        shutil.copy(backup, path)

        told = allclear("quarantine", *config)
        assert told.code == 3 and "not in the database" in told.out
        assert "allclear quarantine" in allclear("status", *config).out
        assert allclear(*run).code in (0, 3)
        assert n.sent() == 350

        refused = allclear("quarantine", "--clear", *config)
        assert refused.code == 1 and "needs a name" in refused.err
        assert allclear("quarantine", "--clear", "--by", "Dana Reyes", *config).out == "The ledger is trusted.\n"
        assert allclear("quarantine", "--json", *config).json["reason"] == ""
        allclear(*run)
        assert n.sent() == 350
