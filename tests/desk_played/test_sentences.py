"""What the desk refuses at its front door, and the sentences that say what was recorded or that there is nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.desk_played.front import ENGINEER, SPEAKER, Front, open_front


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with open_front(tmp_path_factory.mktemp("front"), manual=True) as made:
        yield made


def declared(front: Front, ref: str) -> None:
    front.ask(
        "declare", "Campaigns do not go out", "--by", ENGINEER, "--ref", ref, "--severity", "P1", "--customer", "harbor"
    )


@pytest.mark.parametrize("words", [("declare", "Down"), ("engage", "inc-names")])
def test_a_customer_that_nobody_knows_is_refused_with_those_who_are(front: Front, words: tuple[str, ...]) -> None:
    declared(front, "inc-names")
    ran = front.run("incident", *words, "--by", ENGINEER, "--customer", "oprea")
    assert ran.code == 2
    assert "no customer 'oprea'" in ran.err and "harbor, opera, quay" in ran.err


@pytest.mark.parametrize("title", ["", "  "])
def test_an_incident_without_a_title_is_refused(front: Front, title: str) -> None:
    ran = front.run("incident", "declare", title, "--by", ENGINEER, "--ref", "inc-untitled")
    assert ran.code == 2 and "needs a title" in ran.err
    assert "inc-untitled" not in front.run("incident", "list").out


def test_a_phase_that_is_skipped_names_the_option_for_the_reason(front: Front) -> None:
    declared(front, "inc-skip")
    ran = front.run("incident", "announce", "inc-skip", "resolved", "--by", SPEAKER)
    assert ran.code == 1 and "--reason" in ran.err, ran


def test_what_is_recorded_or_empty_is_said_in_a_sentence(front: Front) -> None:
    declared(front, "inc-page")
    said = front.run("incident", "acknowledge", "inc-page", "--by", ENGINEER).out
    assert f"Recorded: {ENGINEER} has the page of inc-page." in said
    assert "Every request is classified." in front.run("incident", "requests").out
    assert "No promise was due in the last 0 days." in front.run("incident", "sla", "--days", "0").out
