"""Where output cannot go, or cannot be shown; command lines that are wrong, as documents; the desk's command lines."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta

import pytest

from sandbox import scenario_campaigns as mail
from tests.cli.program import PROGRAM, REPO, allclear, environment, served, window
from tests.recovery.stage import stage

GALA = "Gala \u2014 f\u00fcr alle \U0001f389"


def one(story, account):
    mail.overdue_small(story, account, GALA, story.started_at + timedelta(minutes=20))


@pytest.fixture(scope="module")
def n(tmp_path_factory):
    with served(tmp_path_factory.mktemp("output"), stage(one), desks=False) as night:
        yield night


def shell(n, line, **env):
    """A line of a shell, in which `allclear` is the program with the night's configuration."""
    text = line.replace("allclear", PROGRAM[0])
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", text], cwd=REPO, env=environment(ALLCLEAR_CONFIG=str(n.config), **env),
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["status", "status --json", "hold", "--help"])
def test_a_full_disk_under_the_output_is_one_sentence(n, command, unbuffered):
    done = shell(n, f"allclear {command} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    said = done.stderr.decode()
    assert done.returncode == 1, said
    assert said.startswith("allclear: ") and "No space left on device" in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("command", ["status", "status --json", ""])
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_output_changes_nothing_about_the_command(n, command, closed):
    done = shell(n, f"allclear {command} {closed}")
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_error_in_a_document_that_cannot_be_written_is_said_on_the_other_stream(n):
    done = shell(n, "allclear audit --last soon --json > /dev/full")
    assert done.returncode == 2 and b"'soon' is no length of time" in done.stderr and b"Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["audit", "plan"])
def test_a_terminal_without_utf_8_shows_the_code_of_what_it_cannot_show(n, command):
    line = f"allclear {command} {' '.join(window(n))} --quiet"
    done = shell(n, line, PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode in (3, 4), done.stderr
    assert b"Gala \\u2014 f\\xfcr alle" in done.stdout and done.stderr == b""


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("audit", "--strat", "x"), "--strat"),
        (("approve",), "digest"),
        (("plan", "--max", "none"), "--max"),
        (("nonsense",), "nonsense"),
        (("incident", "declare"), "title"),
    ],
)
def test_a_command_line_that_is_wrong_is_a_document_for_a_script(args, words):
    ran = allclear(*args, "--json")
    told = json.loads(ran.out)
    assert (told["schema"], told["exit_code"], ran.code, ran.err) == ("allclear.error/1", 2, 2, "")
    assert words in told["error"]


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_an_action_of_an_analysis_with_a_date_that_is_none_is_one_sentence(n, as_json):
    args = ("incident", "rca", "inc-1", "--by", "engineer.on.call", "--action", "x; y; not-a-date")
    ran = allclear(*args, *as_json, "--config", str(n.config))
    assert ran.code == 2 and "'not-a-date' is no date" in ran.out + ran.err
