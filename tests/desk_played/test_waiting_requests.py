"""Requests that nobody classifies: what the alarms channel hears of their promises."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.desk_played.front import SPEAKER, Front, open_front
from tests.desk_played.story import FULL


@pytest.fixture
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with open_front(tmp_path_factory.mktemp("front")) as made:
        yield made


def heard(front: Front) -> list[str]:
    return [r["text"] for r in front.events("slack", "message") if "nobody has classified" in r["text"]]


@pytest.mark.requirement("R003.26", "R003.47")
def test_the_soft_promise_of_a_waiting_request_is_warned_of_once_each_and_never_called_broken(front: Front) -> None:
    """At half, at four fifths and at its end; what a person has classified is left to its own clocks."""
    front.mail("ask", "ann@harbor.example", "How do I export?", FULL)
    front.mail("other", "bo@opera.example", "And how do I import?", FULL)
    front.ask("tick")
    by_subject = {row["subject"]: row["ref"] for row in front.ask("requests")["requests"]}
    front.ask("classify", by_subject["And how do I import?"], "P3", "--by", SPEAKER)
    assert heard(front) == []
    ref = by_subject["How do I export?"]
    for hours in (44, 7, 5):  # it came in on a Sunday: Monday counts from nine o'clock in Denver
        front.wait(hours=hours)
        front.ask("tick")
        front.ask("tick")
    shares = [text.partition(":")[0] for text in heard(front)]
    assert shares == ["50% used", "80% used", "100% used"]
    assert all(f"general response (24 hours on business days) of {ref}" in text for text in heard(front))


@pytest.mark.requirement("R003.5", "R003.46", "R003.47")
def test_without_an_acknowledgement_its_own_clock_runs_and_breaks_before_anybody_has_classified_the_request(
    front: Front,
) -> None:
    """The automatic receipt does not count by this setting."""
    sla = front.night.folder / "desk" / "sla.toml"
    rule = "automatic_acknowledgement_counts = "
    sla.write_text(re.sub(rf"{rule}\w+", f"{rule}false", sla.read_text(encoding="utf-8")), encoding="utf-8")
    front.mail("ask", "ann@harbor.example", "How do I export?", FULL)
    front.ask("tick")
    (row,) = front.ask("requests")["requests"]
    assert row["acknowledgement"].startswith("running") and "(1 business day)" in row["acknowledgement"]
    front.wait(days=4)
    front.ask("tick")
    broken = [text for text in heard(front) if text.startswith("Promise broken")]
    assert broken == [f"Promise broken: acknowledgement (1 business day) of {row['ref']}, which nobody has classified."]
    assert "OVERDUE" in front.run("status").out
