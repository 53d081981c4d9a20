"""Reading fields and lists defensively, whatever a remote sends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from remote_bench import SteppedClock

from integrations.fields import Fields
from integrations.pages import OVERLAP, PAGE, OffsetPage, read_by_offset
from integrations.plaintext import plain
from recovery.errors import BadReply

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def fields(**values: Any) -> Fields:
    return Fields(values, "pro2", "harbor", "campaign")


@given(
    JSON, st.sampled_from(["text", "ref", "integer", "flag", "moment", "required_moment", "record", "records", "texts"])
)
@settings(max_examples=200, deadline=None)
def test_any_value_is_read_or_refused_by_name_and_nothing_else_is_raised(value: object, reader: str) -> None:
    try:
        getattr(fields(x=value), reader)("x")
    except BadReply as problem:
        assert "'x" in str(problem)
        assert str(problem).startswith("pro2 (harbor): campaign")


@given(st.integers(-(10**17), 10**17))
@settings(max_examples=50, deadline=None)
def test_a_whole_number_is_the_same_as_number_and_as_text(number: int) -> None:
    assert fields(x=number).integer("x") == fields(x=str(number)).integer("x") == number


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01T10:00:00-05:00", datetime(2026, 3, 1, 15, tzinfo=UTC)),
        ("2026-03-01T15:00:00Z", datetime(2026, 3, 1, 15, tzinfo=UTC)),
        ("2026-03-01 10:00:00", datetime(2026, 3, 1, 15, tzinfo=UTC)),
        ("2026-03-01t15:00:00z", datetime(2026, 3, 1, 15, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2017-01-01T05:29:60.5+05:30", datetime(2017, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("0000-00-00", None),
        (None, None),
    ],
)
def test_times_are_utc_or_none(text: str | None, moment: datetime | None) -> None:
    assert fields(x=text).moment("x", ZoneInfo("America/New_York")) == moment


@pytest.mark.parametrize("ref", ["a b ", " pad ", "../x?y#z", "x/../y", "...", "✉/ü"])
def test_an_id_is_kept_exactly_as_it_is_written(ref: str) -> None:
    assert fields(x=ref).ref("x") == ref


@pytest.mark.parametrize("ref", [".", "..", "", "  "])
def test_what_no_address_can_hold_is_no_id(ref: str) -> None:
    with pytest.raises(BadReply, match="'x' is"):
        fields(x=ref).ref("x")


@pytest.mark.parametrize("text", ["2026-03-01T10:60:00Z", "2026-03-01T10:00:61Z", "9999-12-31T23:59:60Z", "noon"])
def test_a_time_that_no_clock_shows_is_refused(text: str) -> None:
    with pytest.raises(BadReply, match="'x' is not a time"):
        fields(x=text).moment("x")


def test_defaults_stand_for_absent_and_null_only() -> None:
    assert fields(x=None).text("x", "-") == fields().text("x", "-") == "-"
    assert fields(x="").text("x", "-") == ""
    with pytest.raises(BadReply):
        fields(x=[]).text("x", "-")


@given(
    st.integers(0, 350),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["add", "drop"])), max_size=4),
    st.sampled_from(["sorted", "newest first", "by name"]),
)
@settings(max_examples=90, deadline=None)
def test_a_list_called_complete_holds_everything_that_was_there_all_the_time(
    count: int, moves: list[tuple[int, str]], order: str
) -> None:
    """Whatever is added or dropped between two pages: the list says that it is not whole, or nothing is missing.

    That holds for a remote that does not sort by id when asked, too.
    """
    shown = {
        "sorted": sorted,
        "newest first": lambda x: sorted(x, reverse=True),
        "by name": lambda x: sorted(x, key=str),
    }
    ids = [n * 10 for n in range(1, count + 1)]
    always = set(ids)
    left = list(moves)

    async def fetch(offset: int, limit: int) -> OffsetPage[int]:
        if offset and left:
            place, what = left.pop(0)
            spot = place * max(len(ids), 1) // 10
            if what == "drop" and ids:
                always.discard(ids.pop(min(spot, len(ids) - 1)))
            elif what == "add":
                new = (ids[spot - 1] if spot and ids else 0) + 5
                if new not in ids:
                    ids.append(new)
                    ids.sort()
        return OffsetPage([(n, n) for n in shown[order](ids)[offset : offset + limit]], len(ids), "digest")

    listing = asyncio.run(read_by_offset(fetch, SteppedClock()))
    assert len(set(listing.items)) == len(listing.items)
    if listing.complete:
        assert always <= set(listing.items)
    elif len(moves) <= 1:
        raise AssertionError("one change is read again, not given up")


@pytest.mark.parametrize("descending", [False, True])
async def test_a_remote_that_keeps_another_order_is_believed_after_two_readings_that_agree(descending: bool) -> None:
    ids, offsets = [5, 1, 9, *range(20, 250)], []

    async def fetch(offset: int, limit: int) -> OffsetPage[int]:
        offsets.append(offset)
        return OffsetPage([(n, n) for n in ids[offset : offset + limit]], len(ids), "digest")

    listing = await read_by_offset(fetch, SteppedClock(), descending=descending)
    assert (listing.items, listing.complete) == (tuple(ids), True)
    assert offsets.count(0) == 2


async def test_a_remote_that_shuffles_is_not_believed() -> None:
    ids = list(range(50))

    async def fetch(offset: int, limit: int) -> OffsetPage[int]:
        ids.insert(0, ids.pop())
        return OffsetPage([(n, n) for n in ids], len(ids), "digest")

    listing = await read_by_offset(fetch, SteppedClock())
    assert not listing.complete
    assert "no two readings agreed" in listing.problem


def test_pages_overlap_by_less_than_a_page() -> None:
    assert 0 < OVERLAP < PAGE


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_plain_text_is_one_printable_line(text: str) -> None:
    line = plain(text, 100)
    assert len(line) <= 100
    assert line == line.strip()
    assert plain(line, 100) == line
    assert not any(c in line for c in "\n\r\x00\x1b\u2028\u202e")
    line.encode("utf-8")


def test_what_turns_other_text_around_is_taken_out() -> None:
    assert plain("a\u202egnp.exe\u202c b\u2066c\u2069\u200f") == "agnp.exe bc"


def test_ordinary_text_stays_as_it_is() -> None:
    for text in ("Членство · オペラの夜 🎭 é", "<b>& \"quotes\" 'x'", "a\u200bb"):
        assert plain(text) == text
