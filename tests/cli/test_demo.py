"""`allclear demo` and `allclear sandbox` beside files of other people: what they may delete, and wrong names."""

from __future__ import annotations

import pytest

from tests.cli.program import allclear, interrupt, started


def kept(root):
    """What stands in a folder, by name."""
    return {p.name: p.read_text() for p in root.iterdir()}


@pytest.mark.parametrize("scenario", ["one-campaign", "no-such-night"])
def test_a_demo_deletes_no_folder_that_is_not_its_own(tmp_path, scenario):
    (tmp_path / "thesis.txt").write_text("years of work")
    ran = allclear("demo", "--root", str(tmp_path), "--scenario", scenario)
    assert ran.code == 2, ran
    assert kept(tmp_path) == {"thesis.txt": "years of work"}


def test_a_demo_says_why_it_does_not_begin_in_a_folder_of_somebody_else(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    ran = allclear("demo", "--root", str(tmp_path), "--scenario", "quiet")
    assert "no demo has written" in ran.err and "another --root" in ran.err


def test_a_demo_replaces_the_folder_of_an_earlier_demo_and_takes_an_empty_one(tmp_path):
    """The scenario has nothing to show, so each demo ends soon after its beginning."""
    for leftover in ("of the empty folder", "of the earlier demo"):
        ran = allclear("demo", "--root", str(tmp_path), "--scenario", "quiet")
        assert "nothing to do" in ran.err, (leftover, ran)
        assert not (tmp_path / "leftover").exists()
        (tmp_path / "leftover").write_text(leftover)


@pytest.mark.parametrize("command", ["demo", "sandbox"])
def test_a_wrong_scenario_names_those_there_are_and_makes_nothing(tmp_path, command):
    ran = allclear(command, "--root", str(tmp_path / "new"), "--scenario", "no-such-night")
    assert ran.code == 2, ran
    assert "no scenario 'no-such-night'" in ran.err and "one-campaign" in ran.err and "extra" not in ran.err
    assert not (tmp_path / "new").exists()


def test_a_sandbox_leaves_a_configuration_of_somebody_else_alone(tmp_path):
    (tmp_path / "allclear.toml").write_text("the real accounts")
    ran = allclear("sandbox", "--root", str(tmp_path), "--scenario", "quiet")
    assert ran.code == 2, ran
    assert "no sandbox has written" in ran.err
    assert kept(tmp_path) == {"allclear.toml": "the real accounts"}


def test_a_sandbox_starts_again_in_its_own_folder(tmp_path):
    for _ in range(2):
        with started("sandbox", "--root", str(tmp_path), "--scenario", "quiet", "--json") as program:
            assert '"schema"' in "".join(iter(program.stdout.readline, "}\n"))
            interrupt(program)
            assert program.wait(30) == 0
