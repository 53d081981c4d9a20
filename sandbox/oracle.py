"""The oracle: `python -m sandbox oracle --root DIR [--claims FILE]... [--json]`.

Judges from the journals and root/truth.json alone, with none of the product's code and none of the twins'. Exit code 0
when there is nothing to complain of, 1 when there is, 2 when something could not be read.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sandbox.oracle_case import Case, Complaint, depth_of, key_of, spans_in
from sandbox.oracle_checks import judge, missing_effect
from sandbox.oracle_desk import desk_numbers

WIDTH = 80
SCHEMA = "allclear.oracle/1"


def numbers_of(case: Case) -> dict[str, Any]:
    """What the journals hold, in numbers."""
    per_content = [depth_of(spans_in(rows)) for rows in case.deliveries.values()]
    copies = {
        (row["account"], row["to"]) for row in case.of("pro2", "copy") if row.get("api_user") == case.truth["api_user"]
    }
    missed = [item for item in case.truth["items"] if "done" not in item["expected"]]
    return {
        "slots": len(case.truth["items"]),
        "planted_misses": len(missed),
        "misses_with_effect": sum(1 for item in missed if not missing_effect(case, item)),
        "deliveries": sum(int(row["count"]) for rows in case.deliveries.values() for row in rows),
        "recipients_reached_twice": sum(repeated for _, repeated, _ in per_content),
        "most_per_recipient_and_content": max((most for _, _, most in per_content), default=0),
        "copies": len(copies),
        "orphan_drafts": len(copies - set(case.released)),
        "requested_runs": sum(len(rows) for rows in case.requested_runs.values()),
        "tickets": len(case.of("jira", "issue_created")),
        "notices": len(case.of("slack", "message")),
        **desk_numbers(case),
        "outcomes": dict(Counter(str(item.get("outcome")) for item in case.items)),
        "claimed_items": len({key_of(item) for item in case.items}),
    }


def report(case: Case, complaints: list[Complaint]) -> dict[str, Any]:
    """The judgement as data."""
    return {
        "schema": SCHEMA,
        "scenario": case.truth["scenario"],
        "clean": not complaints,
        "numbers": numbers_of(case),
        "complaints": [asdict(complaint) for complaint in complaints],
    }


def table(told: dict[str, Any]) -> str:
    """The judgement for a person, at most 80 columns wide."""
    lines = [f"Oracle: {told['scenario']}", "=" * WIDTH]
    for name, value in told["numbers"].items():
        shown = (
            ", ".join(f"{n} {word}" for word, n in value.items()) or "-" if isinstance(value, dict) else f"{value:,}"
        )
        room = max(44, len(shown))
        lines.append(f"  {name.replace('_', ' '):<{78 - room}}{shown:>{room}}"[:WIDTH])
    lines.append("-" * WIDTH)
    for complaint in told["complaints"]:
        place = "/".join(part for part in (complaint["account"], complaint["object"]) if part)
        text = f"{complaint['check']:<13} {place:<22.22} {printable(complaint['detail'])}"
        count = f" x{complaint['count']:,}"
        lines.append(f"{text[: WIDTH - len(count)]:<{WIDTH - len(count)}}{count}")
    found = len(told["complaints"])
    lines.append("CLEAN: nothing to complain of." if told["clean"] else f"NOT CLEAN: {found} complaint(s).")
    return "\n".join(lines)


def printable(text: str) -> str:
    """Text without anything that could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def run(root: Path, claims: Sequence[Path], *, as_json: bool = False) -> int:
    """Judge, print, and return the exit code."""
    try:
        case = Case.read(root, claims)
        told = report(case, judge(case))
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"oracle: {root} or the claims cannot be judged: {type(error).__name__}: {error}\n")
        return 2
    sys.stdout.write((json.dumps(told, indent=1, ensure_ascii=False) if as_json else table(told)) + "\n")
    return 0 if told["clean"] else 1
