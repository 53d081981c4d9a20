"""The stored replies that a page shows: which of them, in which order, and where on the page each digest leads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from recovery.model import Exchange
from recovery.report.report import ItemReport
from recovery.report.words import shown, utc_time

EVIDENCE_CARDS = 300
EVIDENCE_CHARACTERS = 4000
FIRST_SHOWN = {"held": 0, "open": 1, "confirmed": 2, "skipped": 3}
"""Whose replies are shown first when not all fit: those of items with these outcomes, in this order."""

Named = tuple[str, str]
"""A reply as an item names it: its digest, and the item's account."""


class EvidenceView(NamedTuple):
    """One stored exchange; `place` is its id on the page."""

    place: str
    digest: str
    system: str
    account: str
    request: str
    status: str
    at: str
    body: str


class Shown(NamedTuple):
    """The cards that matter most, where each reply named by an item is found, and how many were left out for size."""

    cards: tuple[EvidenceView, ...]
    places: Mapping[Named, str]
    omitted: int


def evidence_shown(items: Iterable[ItemReport], evidence: Mapping[Named, Exchange]) -> Shown:
    """One card for each stored record, however many items name it; equal replies of two accounts are two cards."""
    cards: dict[tuple[str, str, str], EvidenceView] = {}
    places: dict[Named, str] = {}
    alike: Counter[str] = Counter()
    omitted: set[tuple[str, str, str]] = set()
    for name in named_replies(items):
        if name not in evidence:
            continue
        exchange = evidence[name]
        record = (name[0], exchange.system, exchange.account)
        if record not in cards and len(cards) >= EVIDENCE_CARDS:
            omitted.add(record)
            continue
        if record not in cards:
            first = f"e-{shown(name[0])}"
            alike[first] += 1
            cards[record] = _view(first if alike[first] == 1 else f"{first}-{alike[first]}", name[0], exchange)
        places[name] = cards[record].place
    return Shown(tuple(cards.values()), places, len(omitted))


def named_replies(items: Iterable[ItemReport]) -> Iterable[Named]:
    """What the items name, once each: those of held items first, and of each item its witnesses' before its proofs'."""
    ordered = sorted(items, key=lambda item: FIRST_SHOWN.get(str(item.outcome), len(FIRST_SHOWN)))
    return dict.fromkeys(
        (digest, item.slot.account)
        for item in ordered
        for digest in (*(t.digest for t in item.testimonies), *(a.evidence_digest for a in item.actions))
        if digest
    )


def _view(place: str, digest: str, exchange: Exchange) -> EvidenceView:
    return EvidenceView(
        place=place,
        digest=shown(digest),
        system=shown(exchange.system),
        account=shown(exchange.account),
        request=shown(exchange.request, 600),
        status="no reply" if exchange.status is None else f"HTTP {exchange.status}",
        at=utc_time(exchange.at),
        body=shown(exchange.body, EVIDENCE_CHARACTERS, keep="\n\t"),
    )
