"""Sets of contact ids as sorted, disjoint, inclusive ranges, so that 200,000 recipients cost two numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Spans = list[tuple[int, int]]


def spans_of(ids: Iterable[int]) -> Spans:
    """The ranges that cover exactly these ids."""
    spans: Spans = []
    for number in sorted(set(ids)):
        if spans and number == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return spans


def union(*many: Iterable[tuple[int, int]]) -> Spans:
    """The ranges that cover what any of them covers."""
    merged: Spans = []
    for low, high in sorted(span for spans in many for span in spans):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def size(spans: Iterable[tuple[int, int]]) -> int:
    """How many ids the ranges hold."""
    return sum(high - low + 1 for low, high in spans)


def contains(spans: Iterable[tuple[int, int]], number: int) -> bool:
    """Whether one id lies in the ranges."""
    return any(low <= number <= high for low, high in spans)


def split(spans: Spans, count: int) -> tuple[Spans, Spans]:
    """The first `count` ids, and the rest."""
    first: Spans = []
    rest: Spans = []
    for low, high in spans:
        take = min(count, high - low + 1)
        if take > 0:
            first.append((low, low + take - 1))
        if low + take <= high:
            rest.append((low + take, high))
        count -= max(take, 0)
    return first, rest


def walk(spans: Spans, *, above: int = 0, offset: int = 0, limit: int = 100, descending: bool = False) -> Iterator[int]:
    """At most `limit` ids greater than `above`, in order, after skipping `offset`; never walks what it skips."""
    clipped = [(max(low, above + 1), high) for low, high in spans if high > above]
    for low, high in reversed(clipped) if descending else clipped:
        length = high - low + 1
        if offset >= length:
            offset -= length
            continue
        take = min(limit, length - offset)
        if descending:
            yield from range(high - offset, high - offset - take, -1)
        else:
            yield from range(low + offset, low + offset + take)
        limit -= take
        offset = 0
        if limit <= 0:
            return
