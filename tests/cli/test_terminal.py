"""The program at a terminal: help that teaches, 80 columns, questions, Ctrl-C, a hard kill, two engineers at once."""

import re
import signal
import subprocess
import sys
from datetime import timedelta

import pexpect
import pytest

from sandbox import scenario_campaigns as mail
from tests.cli.program import (
    PROGRAM,
    REPO,
    allclear,
    approve_last,
    environment,
    interrupt,
    served,
    started,
    until,
    window,
)
from tests.recovery.stage import stage

COMMANDS = (
    "audit", "plan", "approve", "reject", "recover", "status", "report", "hold", "answer", "explain", "kill", "watch",
    "quarantine", "doctor", "webhooks", "sandbox", "demo",
)  # fmt: skip


def one(story, account):
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))


def judged(n):
    """What the oracle complains of."""
    command = [sys.executable, "-m", "sandbox", "oracle", "--root", str(n.world.root)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout


# ---- help ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example_that_can_be_typed(command):
    ran = allclear(command, "--help")
    assert ran.code == 0 and ran.err == "" and "\x1b" not in ran.out
    examples = re.findall(r"^ +(allclear .+)$", ran.out, re.MULTILINE)
    assert examples and all(x.split()[1] == command for x in examples)
    assert max(map(len, ran.out.splitlines())) <= 80


def test_the_help_names_every_command_and_the_exit_codes():
    ran = allclear("--help", whole=True)
    assert all(re.search(rf"^ +{c} ", ran.out, re.MULTILINE) for c in COMMANDS), ran.out
    for code in ("0 all clear", "1 failed", "2 usage", "3 something is held", "4 (audit)"):
        assert code in " ".join(ran.out.split())


def test_without_a_command_or_a_configuration_it_says_what_to_do_next(tmp_path):
    ran = allclear(cwd=tmp_path, whole=True)
    assert ran.code == 0 and "allclear demo" in ran.out


# ---- a person at a terminal ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quiet_night(tmp_path_factory):
    with served(tmp_path_factory.mktemp("tty"), stage(one), desks=False) as night:
        yield night


def at_terminal(n, *args, **env):
    return pexpect.spawn(
        PROGRAM[0], [*args, "--config", str(n.config)], cwd=str(REPO), env=environment(TERM="xterm-256color", **env),
        dimensions=(40, 80), encoding="utf-8", timeout=40,
    )  # fmt: skip


def seen(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_at_a_terminal_everything_fits_80_columns_and_colours_can_be_switched_off(quiet_night):
    program = at_terminal(quiet_night, "plan", *window(quiet_night), NO_COLOR="1")
    program.expect(pexpect.EOF)
    said = program.before
    assert "Gala" in said and "approve" in said
    assert "\x1b[3" not in said  # no colour
    assert max(len(seen(line)) for line in said.splitlines()) <= 80, said


@pytest.mark.requirement("R001.13")
def test_a_wrong_number_of_recipients_at_the_question_does_nothing(quiet_night):
    program = at_terminal(quiet_night, "recover", *window(quiet_night), "--by", "Alex")
    program.expect("cannot guarantee")
    program.expect("Your name")
    program.sendline("Dana Reyes")
    program.expect("Type 350 to approve")
    program.sendline("35")
    program.expect("nothing was done")
    program.expect(pexpect.EOF)
    program.close()
    assert program.exitstatus == 2
    assert quiet_night.writes() == []


@pytest.mark.requirement("R001.13", "R001.39")
def test_a_name_and_the_number_at_the_question_let_it_act(quiet_night):
    program = at_terminal(quiet_night, "recover", *window(quiet_night), "--by", "Alex")
    program.expect("Your name")
    program.sendline("Dana Reyes")
    program.expect("Type 350 to approve")
    program.sendline("350")
    program.expect(pexpect.EOF)
    program.close()
    assert program.exitstatus == 0, program.before
    assert quiet_night.sent() == 350
    assert judged(quiet_night) == ""


# ---- stopped, killed, twice ------------------------------------------------------------------------------------------


def approved(n):
    """A recorded and approved plan; the arguments of a run of it."""
    plan = allclear("plan", *window(n), "--json", "--config", str(n.config)).json
    approve_last(n, plan["digest"], plan["recipients"])
    return ("recover", "--plan", plan["digest"], "--by", "Alex", "--config", str(n.config))


def finished(n, run):
    """The next run goes on and ends with one delivery."""
    again = allclear(*run)
    assert again.code == 0, again
    assert n.sent() == 350 and len(n.events("pro2", "copy")) == 1
    assert judged(n) == ""


def test_ctrl_c_stops_after_the_current_call_and_the_next_run_finishes(tmp_path):
    with served(tmp_path, stage(one), desks=False, waits={"arm_seconds": 2}) as n:
        run = approved(n)
        with started(*run) as program:
            until(program, "arming copy")
            interrupt(program)
            out, err = program.communicate(timeout=30)
        assert program.returncode == 3, out + err
        assert "stopping after the current call" in err and "Stopped by the operator" in out
        finished(n, run)


def test_ctrl_c_while_it_reads_everything_again_does_not_wait_for_a_slow_remote(tmp_path):
    with served(tmp_path, stage(one), desks=False) as n:
        run = approved(n)
        n.fault("dashboard", "*", "hang", times=-1, seconds=60)  # read by the closing audit only
        with started(*run) as program:
            until(program, "reading everything again")
            interrupt(program)
            out, err = program.communicate(timeout=20)
        assert program.returncode == 3, out + err
        assert "Stopped by the operator" in out
        n.world.faults.clear()
        finished(n, run)


def test_ctrl_c_twice_stops_at_once_and_the_next_run_finishes(tmp_path):
    with served(tmp_path, stage(one), desks=False, waits={"lease_seconds": 1}) as n:
        run = approved(n)
        n.fault("pro2", "copy", "hang-after", seconds=3)
        with started(*run) as program:
            until(program, "duplicating")
            interrupt(program)
            until(program, "once more to stop at once")
            interrupt(program)
            assert program.wait(10) == 130
        finished(n, run)


DEAF = """
import asyncio, signal, sys, threading, time
from recovery.terminal.terminal import run_command

async def work():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    print("asleep", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("cancelled", flush=True)
        if "slow" in sys.argv:
            await asyncio.sleep(60)

threading.Thread(target=time.sleep, args=(90,), daemon=True).start()
sys.exit(run_command(work, as_json=False))
"""


@pytest.mark.parametrize("how", ["quick", "slow"])
def test_ctrl_c_wakes_a_program_whose_main_thread_the_signal_does_not_reach(how):
    """As in the moment before it sleeps: the signal is taken, and nothing else would ever wake the loop."""
    command = [sys.executable, "-c", DEAF, how]
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "asleep\n"
        interrupt(program)
        assert program.stdout.readline() == "cancelled\n"
        if how == "slow":
            interrupt(program)
        _, err = program.communicate(timeout=20)
    assert program.returncode == 130
    assert "Stopped." in err and "Traceback" not in err


@pytest.mark.parametrize("step", ["duplicating", "arming copy"])
def test_a_program_that_is_killed_in_the_middle_is_gone_on_with(tmp_path, step):
    with served(tmp_path, stage(one), desks=False, waits={"lease_seconds": 1, "arm_seconds": 1}) as n:
        run = approved(n)
        with started(*run) as program:
            until(program, step)
            program.kill()
            assert program.wait(10) == -signal.SIGKILL
        finished(n, run)


@pytest.mark.requirement("R001.15")
def test_two_engineers_at_once_send_one_copy_between_them(tmp_path):
    with served(tmp_path, stage(one), desks=True) as n:
        run = approved(n)
        with started(*run, "--json") as first, started(*run, "--json") as second:
            said = [p.communicate(timeout=60) for p in (first, second)]
        assert [first.returncode, second.returncode] == [0, 0], said
        assert n.sent() == 350
        assert len(n.events("pro2", "campaign_status", by="api", to=1)) == 1
        assert (len(n.events("jira", "issue_created")), len(n.events("slack", "message"))) == (1, 1)
        assert judged(n) == ""
