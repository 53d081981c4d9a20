"""How much of each proof runs: a part in `make test`, more in CI (`make column`), everything in `make prove`.

The environment variable ALLCLEAR_PROVE says which: unset, "ci", or anything else for the long column.
"""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")
_ASKED = os.environ.get("ALLCLEAR_PROVE", "")
IN_CI = _ASKED == "ci"
LONG = bool(_ASKED) and not IN_CI


def amount(test: T, ci: T, long: T) -> T:
    """What this run's column asks for."""
    return long if LONG else ci if IN_CI else test


def patience(seconds: float) -> float:
    """The time limit of a test that takes this long in `make test` at most; none in the longer columns (0)."""
    return 0 if LONG or IN_CI else seconds
