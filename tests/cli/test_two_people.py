"""Where one person is not enough: who must be named, what is still missing, and what the other person types."""

from __future__ import annotations

import getpass
import re
import shlex
import subprocess
from datetime import timedelta

import pytest

from recovery.errors import UsageError
from recovery.terminal.command_input import os_user
from recovery.terminal.terminal import wrapped
from sandbox import scenario_campaigns as mail
from tests.cli.program import allclear, served, window
from tests.cli.test_interactive import Terminal
from tests.recovery.stage import stage


def one(story, account):
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    with served(tmp_path_factory.mktemp("two"), stage(one), desks=False) as n:
        yield n


@pytest.fixture
def n(night):
    """The night with an empty ledger, and a policy under which 350 recipients need a second person."""
    night.lose_ledger()
    night.policy(limits={"two_people_above": 100})
    yield night
    assert night.writes() == []


def config(n):
    return "--config", str(n.config)


def planned(n):
    return allclear("plan", *window(n), "--json", *config(n)).json["digest"]


def approved(n, digest, by="Dana Reyes", *more):
    return allclear("approve", digest, "--by", by, "--recipients", "350", "--accept-caveat", *more, *config(n))


def unbroken(text):
    return " ".join(text.split())


# ---- who starts it ---------------------------------------------------------------------------------------------------


def test_the_name_of_the_login_is_no_second_person(n):
    digest = planned(n)
    approved(n, digest)
    ran = allclear("recover", "--plan", digest, *config(n), USER="dreyes", LOGNAME="dreyes")
    assert ran.code == 2, ran
    assert "350 recipients" in ran.err and "must be named" in ran.err
    assert f'allclear recover --plan {digest[:8]} --by "WHO STARTS IT"' in ran.err


def test_every_printed_recover_command_has_a_name_to_fill_in(n):
    said = allclear("plan", *window(n), *config(n)).out
    digest = planned(n)
    said += approved(n, digest).out + allclear("status", *config(n)).out
    commands = re.findall(r"allclear recover --plan .*", said)
    assert len(commands) == 3 and all('--by "WHO STARTS IT"' in c for c in commands), commands


def test_who_types_a_name_at_the_question_is_who_starts_it(n):
    terminal = Terminal(n, "recover", *window(n), USER="dreyes", LOGNAME="dreyes")
    terminal.until("Your name")
    terminal.program.sendline("Dana Reyes")
    terminal.until("to approve: ")
    terminal.program.sendline("350")
    assert terminal.ended() == 3
    assert "somebody other than the person who starts the run" in unbroken(terminal.read)


def test_a_machine_that_knows_no_names_asks_for_one(monkeypatch):
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)

    def nobody(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(KeyError):
        getpass.getuser()
    with pytest.raises(UsageError, match="who you are") as raised:
        os_user()
    assert "--by" in raised.value.hint


# ---- what is missing -------------------------------------------------------------------------------------------------


def test_approve_and_status_say_that_a_second_approval_is_missing_and_how_it_is_given(n):
    n.policy(limits={"two_approvers_above": 100})
    digest = planned(n)
    first = approved(n, digest)
    status = allclear("status", *config(n))
    wanted = f'allclear approve {digest[:8]} --by "ANOTHER PERSON" --recipients 350 --accept-caveat'
    for said in (first.out, status.out):
        assert "350 recipients need the approval of 2 different people" in said and wanted in said
        assert "is approved" not in said
    assert "The plan is approved" in approved(n, digest, "Sam Okafor").out
    assert f"`allclear recover --plan {digest[:8]}" in allclear("status", *config(n)).out


def test_the_documents_name_what_is_missing_until_it_is_there(n):
    n.policy(limits={"two_approvers_above": 100})
    digest = planned(n)
    assert allclear("status", "--json", *config(n)).json["plan"]["missing"] == "nobody has approved it"
    assert "2 different people" in approved(n, digest, "Dana Reyes", "--json").json["missing"]
    assert approved(n, digest, "Sam Okafor", "--json").json["missing"] == ""
    assert allclear("status", "--json", *config(n)).json["plan"]["missing"] == ""


def test_approve_says_who_may_not_start_the_run(n):
    said = approved(n, planned(n)).out
    assert "The plan is approved; somebody other than Dana Reyes starts it:" in said


# ---- at the question -------------------------------------------------------------------------------------------------


def test_a_person_learns_before_the_question_that_a_second_one_is_needed(n):
    terminal = Terminal(n, "recover", *window(n), "--by", "Dana Reyes")
    terminal.until("Your name")
    before = unbroken(terminal.read)
    assert "Dana Reyes starts it and may not be the only one who approves it" in before
    terminal.program.sendline("Dana Reyes")
    terminal.until("to approve: ")
    terminal.program.sendline("350")
    assert terminal.ended() == 3
    after = terminal.read.rpartition("to approve: ")[2]
    assert re.search(r'allclear approve \w{8} --by "ANOTHER PERSON" --recipients 350', after)
    assert "Gala" not in after  # the plan is not shown a second time


@pytest.mark.parametrize("typed", ["\x04", "", "Dana Reyes\r35"])
def test_a_question_that_is_not_answered_leaves_the_command_that_approves_the_kept_plan(n, typed):
    terminal = Terminal(n, "recover", *window(n), "--by", "Dana Reyes")
    terminal.until("Your name")
    terminal.program.send(typed if typed == "\x04" else f"{typed}\r")
    assert terminal.ended() == 2
    said = unbroken(terminal.read.rpartition("Your name")[2])
    command = re.search(r'allclear approve (\w{8}) --by "YOUR NAME" --recipients 350 --accept-caveat', said)
    assert command and "goes on with it" not in said
    assert "Recorded" in approved(n, command[1]).out


def test_a_name_with_control_codes_does_not_steer_the_terminal(n):
    ran = approved(n, planned(n), "Dana\nReyes\x1b[31m")
    assert "\x1b" not in ran.out and "Dana\\u000aReyes\\u001b[31m approves" in ran.out


@pytest.mark.parametrize("width", [80, 40])
def test_a_command_that_is_wider_than_the_terminal_can_still_be_copied(width):
    command = '  allclear approve 3f2a9c01 --by "ANOTHER PERSON" --recipients 1823550 --accept-caveat --reason "so be"'
    pieces = wrapped(command, width)
    assert len(pieces) > 1 and max(map(len, pieces)) <= width
    assert shlex.split("\n".join(pieces).replace("\\\n", " ")) == shlex.split(command)
    done = subprocess.run(
        ["bash", "-c", "\n".join(pieces).replace("allclear", "printf '%s|'")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("|")[:-1] == shlex.split(command)[1:]
