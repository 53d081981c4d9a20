"""The last check before a copy is armed: each rule carries weight of its own."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery import gate
from recovery.gate import Allow, Hold, ReleaseFacts, Skip, is_quiet, may_release, overlap_bounds
from recovery.policy import QuietHours, ValidUntil

from .makers import DUE, NOW, a_campaign, a_plan, shipped_policy

ITEM = a_plan().items[0]


def facts(**changes: Any) -> ReleaseFacts:
    """A release that nothing speaks against."""
    plain = ReleaseFacts(
        now=NOW,
        time_zone="America/New_York",
        item=ITEM,
        policy=shipped_policy(),
        original=a_campaign("7", "4"),
        copy=a_campaign("9", "0"),
        marked=True,
        elected_ref="9",
        siblings=(a_campaign("9", "0"),),
        foreign=(),
        killed="",
        tripped="",
        override=False,
    )
    return replace(plain, **changes)


def policy(**changes: Any) -> dict[str, Any]:
    return {"policy": replace(shipped_policy(), **changes)}


EXPIRED = policy(valid_until=(ValidUntil("acme", "7", NOW, "the performance has begun"),))
QUIET = policy(quiet=QuietHours(time(14), time(16)))

# What is wrong -> the rule that must object, how, and a word of what the person reads.
OBJECTIONS: dict[str, tuple[dict[str, Any], str, type, str]] = {
    "the kill switch is on": ({"killed": "var/STOP"}, "_switched_off", Hold, "var/STOP"),
    "a double was seen elsewhere": ({"tripped": "both went out"}, "_switched_off", Hold, "both went out"),
    "the original was cut off": ({"original": a_campaign("7", "4", 1)}, "_original_went", Hold, "the others"),
    "the original is done": ({"original": a_campaign("7", "5", 400)}, "_original_went", Skip, "400 of 400"),
    "the original is scheduled again": ({"original": a_campaign("7", "1")}, "_original_at_rest", Hold, "scheduled"),
    "the original is sending": ({"original": a_campaign("7", "2")}, "_original_at_rest", Hold, "sending"),
    "the original's status is unknown": ({"original": a_campaign("7", "8")}, "_original_at_rest", Hold, "it is 8"),
    "the draft is not the elected one": ({"elected_ref": "11"}, "_copy_is_ours", Hold, "not the one elected"),
    "the draft has no marker": ({"marked": False}, "_copy_is_ours", Hold, "not the one elected"),
    "the draft is no draft any more": ({"copy": a_campaign("9", "1")}, "_copy_is_ours", Hold, "no draft any more"),
    "another copy of ours has left": (
        {"siblings": (a_campaign("9", "0"), a_campaign("10", "5", 400))},
        "_no_sibling",
        Hold,
        "10",
    ),
    "another copy of ours is armed": ({"siblings": (a_campaign("10", "1"),)}, "_no_sibling", Hold, "10"),
    "somebody sent a copy by hand": ({"foreign": (a_campaign("12", "5", 400),)}, "_no_foreign_copy", Hold, "12"),
    "somebody scheduled a copy by hand": ({"foreign": (a_campaign("12", "1"),)}, "_no_foreign_copy", Hold, "12"),
    "it is not worth sending any more": (EXPIRED, "_still_valid", Skip, "the performance has begun"),
    "it is quiet hours": (QUIET, "_not_quiet", Hold, "America/New_York"),
    "its audience hangs on a broken sync": (
        {"original": a_campaign("7", "4", segment_ref="31"), "unrepaired_syncs": ("Members",)},
        "_syncs_repaired",
        Hold,
        "Members",
    ),
}


@pytest.mark.requirement("R001.12", "R001.14")
@pytest.mark.parametrize("name", OBJECTIONS)
def test_each_rule_objects_alone_and_nothing_else_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thing wrong stops the release; without the rule that names it the release would leave."""
    changes, rule, answer, words = OBJECTIONS[name]
    ruling = may_release(facts(**changes))
    assert isinstance(ruling, answer)
    assert words in (ruling.reason if isinstance(ruling, Skip) else ruling.question.text)  # type: ignore[attr-defined]
    monkeypatch.setattr(gate, "RELEASE_RULES", tuple(r for r in gate.RELEASE_RULES if r.__name__ != rule))
    assert may_release(facts(**changes)) == Allow()


def test_every_rule_has_an_objection_in_this_table() -> None:
    assert {rule for _, rule, _, _ in OBJECTIONS.values()} == {r.__name__ for r in gate.RELEASE_RULES}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"original": a_campaign("7", "3")},
        {"original": a_campaign("7", "6")},
        {"original": a_campaign("7", "5")},
        {"siblings": (a_campaign("9", "0"), a_campaign("10", "0"))},
        {"foreign": (a_campaign("12", "0"),)},
        {"unrepaired_syncs": ("Members",)},
        {"original": a_campaign("7", "4", segment_ref="31")},
        {"time_zone": "Europe/London", **QUIET},
        policy(valid_until=(ValidUntil("acme", "7", NOW + timedelta(seconds=1), "soon"),)),
        policy(valid_until=(ValidUntil("acme", "8", NOW, "another campaign"),)),
    ],
)
def test_a_release_that_nothing_speaks_against_may_leave(changes: dict[str, Any]) -> None:
    """Originals at rest, drafts that stand still, syncs that do not matter, hours that are not quiet."""
    assert may_release(facts(**changes)) == Allow()


@pytest.mark.requirement("R001.12")
@pytest.mark.parametrize("status", ["1", "2", "8"])
def test_a_recorded_override_lets_the_copy_go_without_a_confirmed_stop(status: str) -> None:
    """Only that rule is overridden: an original that has sent is still a reason to stop."""
    assert may_release(facts(original=a_campaign("7", status), override=True)) == Allow()
    assert isinstance(may_release(facts(original=a_campaign("7", status, 3), override=True)), Skip)


def test_the_unconfirmed_stop_offers_the_override_as_an_answer() -> None:
    ruling = may_release(facts(original=a_campaign("7", "1")))
    assert isinstance(ruling, Hold)
    assert gate.RELEASE_ANYWAY in ruling.question.choices
    assert ruling.question.recommended == "wait"


# ---- quiet hours ----------------------------------------------------------------------------------------------------

CLOCK = st.times().map(lambda t: t.replace(second=0, microsecond=0))


def quiet_by_walking(at: datetime, zone: str, quiet: QuietHours) -> bool:
    """Steps through the local minutes from the start of the quiet hours to their end."""
    now = at.astimezone(ZoneInfo(zone)).time().replace(second=0, microsecond=0)
    minute, end = quiet.start.hour * 60 + quiet.start.minute, quiet.end.hour * 60 + quiet.end.minute
    while minute % 1440 != end:
        if minute % 1440 == now.hour * 60 + now.minute:
            return True
        minute += 1
    return False


@settings(max_examples=80, deadline=None)
@given(
    CLOCK,
    CLOCK,
    st.sampled_from(["America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
    st.integers(0, 300 * 1440),
)
def test_quiet_hours_follow_the_local_clock_over_midnight_and_clock_changes(
    start: time, end: time, zone: str, minutes: int
) -> None:
    moment = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    quiet = QuietHours(start, end)
    assert is_quiet(moment, zone, quiet) is quiet_by_walking(moment, zone, quiet)


@pytest.mark.parametrize(
    ("utc", "quiet"),
    [
        ("2026-11-01T02:59", False),
        ("2026-11-01T03:00", True),
        ("2026-11-01T05:29", True),
        ("2026-11-01T05:30", False),
        ("2026-11-01T06:00", True),
        ("2026-11-01T06:29", True),
        ("2026-11-01T06:30", False),
    ],
)
def test_an_hour_that_comes_twice_is_quiet_twice(utc: str, quiet: bool) -> None:
    """23:00 to 01:30 in New York, where 01:00 to 02:00 comes twice that night: the wall decides both times."""
    moment = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert is_quiet(moment, "America/New_York", QuietHours(time(23), time(1, 30))) is quiet


def test_equal_times_mean_no_quiet_hours() -> None:
    assert not any(is_quiet(DUE + timedelta(minutes=m), "UTC", QuietHours(time(9), time(9))) for m in range(1440))


# ---- overlap --------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R001.14")
@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)), st.integers(0, 20))
def test_the_bounds_hold_whoever_got_which_mail(first: set[int], second: set[int], more: int) -> None:
    """For any two sets of recipients out of one audience, the true overlap lies within the bounds."""
    audience = len(first | second) + more
    least, most = overlap_bounds(len(first), len(second), audience)
    assert least <= len(first & second) <= most


@given(*(st.integers(0, 1000),) * 3)
def test_the_least_is_never_more_than_the_most(original: int, copy: int, audience: int) -> None:
    """Even where the remote's audience is smaller than what it says it sent."""
    least, most = overlap_bounds(original, copy, audience)
    assert 0 <= least <= most
