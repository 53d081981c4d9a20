"""What the flows call, without Prefect: approvals of a part, rejections and expiry as clean ends, pages to act from."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from recovery.errors import RefusedError, UsageError
from recovery.forms import ApprovalForm, RecoverForm, RejectionForm, WindowForm
from recovery.model import Plan
from recovery.served import approve_plan, reading, reject_plan, run_recorded_plan
from recovery.served_pages import Page
from tests.recovery.stage import Night, night, planned_items, stage
from tests.recovery.test_guards import one, three

WAVES = {"waves": [1, 1, 1]}
