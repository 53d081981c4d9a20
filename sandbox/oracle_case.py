"""What the oracle knows: the journals, what was planted, and what the product claims. Standard library only.

Nothing here is shared with the product or with the twins: the journals are read as text, and ranges of recipients are
counted by a sweep of their own.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Spans = list[tuple[int, int]]
ItemKey = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Complaint:
    """One thing that is wrong, by the name of the check that found it."""

    check: str
    account: str
    object: str
    detail: str
    count: int = 1


def depth_of(deliveries: Iterable[Spans]) -> tuple[int, int, int]:
    """(how many recipients in all, how many got it more than once, the most that one recipient got)."""
    edges: dict[int, int] = defaultdict(int)
    for spans in deliveries:
        for low, high in spans:
            edges[low] += 1
            edges[high + 1] -= 1
    reached = repeated = most = depth = 0
    before = 0
    for place in sorted(edges):
        if depth >= 1:
            reached += place - before
        if depth >= 2:
            repeated += place - before
        depth += edges[place]
        most = max(most, depth)
        before = place
    return reached, repeated, most


def moment(text: str) -> str:
    """A time in the one form in which times are compared; what is no time stays as it is."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def key_of(item: Row) -> ItemKey:
    """The slot an item is about."""
    account, system, kind, ref = (str(item.get(k, "")) for k in ("account", "system", "kind", "object"))
    return account, system, kind, ref, moment(str(item.get("slot", "")))


def merged(told: Sequence[Row]) -> Row:
    """The claims of several runs as one: the last word about an item counts, and the last ticket named."""
    items = {key_of(item): item for claims in told for item in claims.get("items", [])}
    tickets = [claims["ticket"] for claims in told if claims.get("ticket")]
    return {"items": list(items.values()), "ticket": tickets[-1] if tickets else None}


@dataclass
class Case:
    """Everything there is to judge. `claims` is None when the product has claimed nothing."""

    truth: Row
    events: dict[str, list[Row]]
    claims: Row | None = None
    unreadable: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, root: Path, claims: Sequence[Path]) -> Case:
        """Read a root directory and the claims of each run; OSError or ValueError when one is not there or no JSON."""
        truth = json.loads((root / "truth.json").read_text(encoding="utf-8"))
        told = [json.loads(path.read_text(encoding="utf-8")) for path in claims]
        case = cls(truth, {}, merged(told) if told else None)
        for path in sorted((root / "journal").glob("*.jsonl")):
            lines = path.read_text(encoding="utf-8").splitlines()
            case.events[path.stem] = list(case._parsed(path.name, lines))
        return case

    def _parsed(self, name: str, lines: list[str]) -> Iterator[Row]:
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)
            except ValueError:
                self.unreadable.append(f"{name}:{number}")

    def of(self, system: str, *events: str) -> list[Row]:
        """The events of one system with these names, in the order in which they happened."""
        return [row for row in self.events.get(system, []) if not events or row["event"] in events]

    @cached_property
    def items(self) -> list[Row]:
        """The claimed items, [] when nothing was claimed."""
        return list((self.claims or {}).get("items", []))

    @cached_property
    def planted(self) -> dict[ItemKey, Row]:
        """The window's slots as they were planted."""
        return {key_of(item): item for item in self.truth["items"]}

    @cached_property
    def origin(self) -> dict[tuple[str, str], str]:
        """copy -> the campaign it was made of, by account, to the first original."""
        parents = {(row["account"], row["to"]): row["from"] for row in self.of("pro2", "copy")}
        roots = {}
        for account, made in parents:
            ref = made
            while (account, ref) in parents:
                ref = parents[account, ref]
            roots[account, made] = ref
        return roots

    def root_of(self, account: str, campaign: str) -> str:
        """The original behind a campaign: itself when it is no copy."""
        return self.origin.get((account, campaign), campaign)

    @cached_property
    def released(self) -> dict[tuple[str, str], list[Row]]:
        """Campaigns that the product sent on their way, with each time it did."""
        found: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in self.of("pro2", "campaign_status"):
            if row.get("by") == "api" and row["to"] == 1:
                found[row["account"], row["campaign"]].append(row)
        return dict(found)

    @cached_property
    def deliveries(self) -> dict[tuple[str, str], list[Row]]:
        """Deliveries by account and content."""
        found: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in self.of("pro2", "delivery"):
            found[row["account"], row["content"]].append(row)
        return dict(found)

    @cached_property
    def requested_runs(self) -> dict[tuple[str, str], list[Row]]:
        """Runs the product asked for, by account and definition."""
        found: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in self.of("dashboard", "run_requested"):
            found[row["account"], row["definition"]].append(row)
        return dict(found)

    @cached_property
    def run_ends(self) -> dict[tuple[str, str], str]:
        """How a run ended last, by account and run."""
        return {(row["account"], row["run"]): str(row["state"]) for row in self.of("dashboard", "run_ended")}

    def tag_state(self, account: str, tag: str) -> tuple[set[int], set[int]]:
        """Who was given the tag and who lost it, as it stands at the end."""
        added: set[int] = set()
        removed: set[int] = set()
        for row in self.of("pro2", "tag_added", "tag_removed"):
            if (row["account"], row["tag"]) == (account, tag):
                into, out_of = (added, removed) if row["event"] == "tag_added" else (removed, added)
                into.add(row["contact"])
                out_of.discard(row["contact"])
        return added, removed


def spans_in(rows: Iterable[Row]) -> list[Spans]:
    """The recipients of each delivery; a bare id stands for itself."""
    return [[(r, r) if isinstance(r, int) else (r[0], r[1]) for r in row["recipients"]] for row in rows]
