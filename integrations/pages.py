"""Paging that notices when a list moved, repeated or never ended.

A list read by offset while somebody deletes from it skips rows without a word. So consecutive pages overlap by a few
rows that must be the same in both, ids must run in one direction, and at the end the number of distinct ids must be the
total that the remote names. When they are not, the list is read again; when that does not help the listing says so. A
remote that does not sort by id when asked is believed after two readings that agree from the first row to the last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from recovery.errors import RemoteError
from recovery.ports import Clock, Listing

T = TypeVar("T")

PAGE = 100
OVERLAP = 3
READINGS = 3
MAX_PAGES = 5000


@dataclass(frozen=True, slots=True)
class OffsetPage(Generic[T]):
    """One page: rows with their numeric ids, and the remote's own count of the whole list (None when it names none)."""

    rows: Sequence[tuple[int, T]]
    total: int | None
    digest: str


@dataclass(frozen=True, slots=True)
class CursorPage(Generic[T]):
    """One page and the cursor of the next, "" at the end."""

    rows: Sequence[T]
    next_cursor: str
    digest: str


@dataclass(slots=True)
class _Reading(Generic[T]):
    rows: dict[int, T]
    digests: list[str]
    problem: str = ""
    moved: bool = False
    sorted: bool = True


async def read_by_offset(
    fetch: Callable[[int, int], Awaitable[OffsetPage[T]]], clock: Clock, *, descending: bool = False
) -> Listing[T]:
    """The whole list through `fetch(offset, limit)`. Raises only when the very first page cannot be read."""
    reading: _Reading[T] = _Reading({}, [])
    before: list[int] | None = None
    for _ in range(READINGS):
        reading = await _read_once(fetch, descending)
        if not reading.moved and (reading.sorted or list(reading.rows) == before):
            break
        before = None if reading.moved else list(reading.rows)
    else:
        reading.problem = reading.problem or "the remote sorts it otherwise, and no two readings agreed"
    return Listing(
        items=tuple(reading.rows.values()),
        complete=not reading.problem,
        read_at=clock.now(),
        problem=reading.problem,
        digests=tuple(reading.digests),
    )


async def _read_once(fetch: Callable[[int, int], Awaitable[OffsetPage[T]]], descending: bool) -> _Reading[T]:
    reading: _Reading[T] = _Reading({}, [])
    tail: list[int] = []
    offset = 0
    for _ in range(MAX_PAGES):
        try:
            page = await fetch(offset, PAGE)
        except RemoteError as problem:
            if not reading.digests:
                raise
            reading.problem = f"a page could not be read: {problem}"
            return reading
        reading.digests.append(page.digest)
        ids = [ref for ref, _ in page.rows]
        new = set(ids[len(tail) :])
        if ids[: len(tail)] != tail or len(new) != len(ids) - len(tail) or not new.isdisjoint(reading.rows):
            reading.problem, reading.moved = "the list moved while it was read", True
            return reading
        reading.sorted = reading.sorted and ids == sorted(ids, reverse=descending)
        reading.rows.update(page.rows)
        if page.total is None:
            reading.problem = "the remote names no total, so a gap would not show"
        if len(ids) <= len(tail) or (len(ids) < PAGE and page.total is None) or offset + len(ids) >= (page.total or 0):
            return _counted(reading, page.total)
        tail = ids[-OVERLAP:]
        offset += len(ids) - len(tail)
    reading.problem = f"the list did not end within {MAX_PAGES} pages"
    return reading


def _counted(reading: _Reading[T], total: int | None) -> _Reading[T]:
    if total is not None and len(reading.rows) != total:
        reading.problem = f"the remote counts {total} and {len(reading.rows)} were read"
        reading.moved = True
    return reading


@dataclass(frozen=True, slots=True)
class PartPage(Generic[T]):
    """A page of a list that belongs to one object: rows with what tells them apart, and the remote's count if any."""

    rows: Sequence[tuple[Hashable, T]]
    total: int | None


async def read_parts(
    fetch: Callable[[int, int], Awaitable[PartPage[T]]], wanted: Callable[[T], bool] = lambda _: False
) -> tuple[list[T], str]:
    """All rows through `fetch(offset, limit)`, and why they are not all ("" when they are).

    The remote may give them whole or page by page, of its own size too; one that names no total is asked until a page
    brings nothing new. A row that is `wanted` ends the reading. A page that cannot be read raises.
    """
    rows: list[T] = []
    problem = ""
    for _ in range(READINGS):
        rows, problem = await _read_parts_once(fetch, wanted)
        if not problem:
            break
    return rows, problem


async def _read_parts_once(
    fetch: Callable[[int, int], Awaitable[PartPage[T]]], wanted: Callable[[T], bool]
) -> tuple[list[T], str]:
    rows: dict[Hashable, T] = {}
    tail: list[Hashable] = []
    end = 0
    for _ in range(MAX_PAGES):
        page = await fetch(end - len(tail), PAGE)
        keys = [key for key, _ in page.rows]
        is_new = not rows.keys() >= set(keys)
        follows = keys[: len(tail)] == tail
        if not follows and (is_new or page.total is not None):
            return list(rows.values()), "the list moved while it was read"
        rows.update(page.rows)
        end += len(keys) - len(tail)
        if any(wanted(row) for _, row in page.rows) or (page.total is None and not is_new) or end == page.total:
            return list(rows.values()), ""
        if page.total is not None and (not is_new or end > page.total):
            return list(rows.values()), f"the remote counts {page.total} and {end} were read"
        tail = keys[-OVERLAP:]
    return list(rows.values()), f"the list did not end within {MAX_PAGES} pages"


async def read_by_cursor(
    fetch: Callable[[str], Awaitable[CursorPage[T]]], *, max_pages: int = MAX_PAGES
) -> tuple[list[T], list[str], str]:
    """All rows, the pages' digests, and the problem that made the reading incomplete ("" for none).

    Raises only when the very first page cannot be read. A cursor that comes twice ends the reading.
    """
    rows: list[T] = []
    digests: list[str] = []
    seen: set[str] = {""}
    cursor = ""
    for _ in range(max_pages):
        try:
            page = await fetch(cursor)
        except RemoteError as problem:
            if not digests:
                raise
            return rows, digests, f"a page could not be read: {problem}"
        rows.extend(page.rows)
        digests.append(page.digest)
        if not page.next_cursor:
            return rows, digests, ""
        if page.next_cursor in seen:
            return rows, digests, "a cursor came twice: the pages run in a circle"
        seen.add(page.next_cursor)
        cursor = page.next_cursor
    return rows, digests, f"the list did not end within {max_pages} pages"
