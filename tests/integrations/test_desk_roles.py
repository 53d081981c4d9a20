"""mypy agrees that each desk client fills its role; a client that drifts from `recovery.desk.ports` fails here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROLES = """
from integrations.clickup import ClickUp
from integrations.pagerduty import PagerDuty
from integrations.pendo import Pendo
from integrations.smtp import Smtp
from integrations.statuspage import Statuspage
from integrations.zendesk import Zendesk
from recovery.desk.ports import Board, CustomerDesk, InApp, Mailer, Pager, StatusBoard

def desk(client: Zendesk) -> CustomerDesk: return client
def pager(client: PagerDuty) -> Pager: return client
def board(client: ClickUp) -> Board: return client
def in_app(client: Pendo) -> InApp: return client
def status(client: Statuspage) -> StatusBoard: return client
def mailer(client: Smtp) -> Mailer: return client
"""


def test_every_desk_client_fills_its_role(tmp_path: Path) -> None:
    claim = tmp_path / "roles.py"
    claim.write_text(ROLES)
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--follow-imports=silent", str(claim)]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    checked = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110)
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr
