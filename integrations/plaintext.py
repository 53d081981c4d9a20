"""Hostile text made harmless: what a campaign's name or an error message may look like in somebody else's system.

Only characters that change how *other* text is shown are taken out: control characters, direction overrides, lone
surrogates. Markup is not searched for; it is the caller's business to put the result where no markup is read.
"""

from __future__ import annotations

import re
import unicodedata

_DIRECTION = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_UNSEEN = ("Cc", "Cs", "Cn", "Co", "Zl", "Zp")


def plain(text: str, limit: int = 2000) -> str:
    """One line of text: control characters and line ends become spaces, the rest stays; cut at `limit` with "…"."""
    head = _DIRECTION.sub("", text[: limit * 4])
    line = " ".join("".join(" " if unicodedata.category(c) in _UNSEEN else c for c in head).split())
    return line if len(line) <= limit and len(text) <= limit * 4 else line[: limit - 1] + "…"
