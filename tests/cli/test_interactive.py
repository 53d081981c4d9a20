"""A person at a terminal of 80 columns: what comes next, questions, live progress, one item's life, completion."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pexpect
import pytest
import typer

from recovery.cli import app
from sandbox import scenario_campaigns as mail
from tests.cli.program import PROGRAM, REPO, allclear, approve_last, environment, served, window
from tests.recovery.stage import stage

GALA = "Gala for everyone who ever came to one of the evenings by the harbour in the last ten years"


def one(story, account):
    mail.overdue_small(story, account, GALA, story.started_at + timedelta(minutes=20))


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    with served(tmp_path_factory.mktemp("person"), stage(one), desks=False) as n:
        yield n


@pytest.fixture
def n(night):
    """The night, with nothing in its ledger."""
    night.lose_ledger()
    return night


class Terminal:
    """The program under a pseudo-terminal of 40 by 80."""

    def __init__(self, n, *args: str, **env: str) -> None:
        self.program = pexpect.spawn(
            PROGRAM[0], [*args, "--config", str(n.config)], cwd=str(REPO), encoding="utf-8", timeout=40,
            env=environment(TERM="xterm-256color", **env), dimensions=(40, 80),
        )  # fmt: skip
        self.read = ""

    def until(self, words: str) -> None:
        self.program.expect(words)
        self.read += self.program.before + self.program.after

    def ended(self) -> int:
        self.program.expect(pexpect.EOF)
        self.read += self.program.before
        self.program.close()
        return self.program.exitstatus

    @property
    def lines(self) -> list[str]:
        """What was printed, without control codes."""
        return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", x) for x in re.split(r"[\r\n]+", self.read)]


def config(n) -> tuple[str, str]:
    return "--config", str(n.config)


# ---- what comes next -------------------------------------------------------------------------------------------------


def test_without_a_command_it_says_the_next_step_at_every_stage_of_a_night(n):
    def next_step() -> str:
        return re.search(r"^next +(.+)$", allclear("--config", str(n.config)).out, re.MULTILINE)[1]

    assert "allclear audit --last 6h" in next_step()
    plan = allclear("plan", *window(n), "--json", *config(n)).json
    digest = plan["digest"][:8]
    assert f'allclear approve {digest} --by "YOUR NAME" --recipients 350' in next_step()
    approve_last(n, plan["digest"], plan["recipients"])
    assert f"allclear recover --plan {digest}" in next_step()
    allclear("kill", "--by", "Dana Reyes", "--reason", "two copies seen", *config(n))
    assert "allclear kill --clear" in next_step()


def test_a_broken_configuration_is_an_error_without_a_command_too(n, tmp_path):
    broken = tmp_path / "allclear.toml"
    broken.write_text(n.config.read_text().replace("kill_file", "kill_fyle"))
    ran = allclear("--config", str(broken))
    assert (ran.code, ran.out) == (2, "") and "kill_fyle" in ran.err


def test_the_configuration_may_stand_before_the_command(n, tmp_path):
    ran = allclear("--config", str(n.config), "status", "--json", cwd=tmp_path)
    assert ran.json["accounts"] == ["harbor"]


def test_times_are_shown_in_the_account_s_zone_and_in_utc(n):
    allclear("plan", *window(n), *config(n))
    ran = allclear("status", *config(n))
    assert re.search(r"2026-11-01 01:00 EDT \(05:00 UTC\) to 2026-11-01 02:00 EST \(07:00 UTC\)", ran.out), ran.out


@pytest.mark.parametrize(
    ("written", "start"),
    [
        (("--start", "yesterday 22:00 America/Phoenix"), "2026-11-01T05:00:00Z"),
        (("--start", "2026-11-01 00:30 America/New_York"), "2026-11-01T04:30:00Z"),
        (("--start", "2026-11-01T01:00:00-04:00"), "2026-11-01T05:00:00Z"),
    ],
)
def test_a_window_may_be_written_as_people_write_times(n, written, start):
    ran = allclear("audit", *written, "--end", "2026-11-01T07:00:00Z", "--json", *config(n))
    assert ran.json["window"]["start"] == start


def test_the_last_hours_end_now(n):
    told = allclear("audit", "--last", "3h", "--json", *config(n)).json["window"]
    start, end = (int(told[k][11:13]) * 60 + int(told[k][14:16]) for k in ("start", "end"))
    assert end - start == 180


# ---- questions and Ctrl-C --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["\x03", "\x04"])
def test_ctrl_c_or_ctrl_d_at_the_question_does_nothing_and_keeps_the_plan(n, key):
    terminal = Terminal(n, "recover", *window(n), "--by", "Alex")
    terminal.until("Your name")
    terminal.program.send(key)
    assert terminal.ended() == 2
    assert "Nothing was done." in terminal.read
    assert re.search(r"allclear recover --plan \w{8}", terminal.read)
    assert n.writes() == []


def test_a_plan_that_needs_a_second_person_says_so_and_does_nothing(n):
    policy = n.folder / "policy.toml"
    kept = policy.read_text()
    policy.write_text(kept.replace("[limits]", "[limits]\ntwo_people_above = 100", 1))
    try:
        terminal = Terminal(n, "recover", *window(n), "--by", "Dana Reyes")
        terminal.until("Your name")
        terminal.program.sendline("Dana Reyes")
        terminal.until("to approve: ")
        terminal.program.sendline("350")
        assert terminal.ended() == 3
    finally:
        policy.write_text(kept)
    assert "somebody other than the person who starts" in " ".join("".join(terminal.read).split())
    assert n.writes() == []


def test_ctrl_c_ends_an_audit_at_once_because_it_only_reads(n):
    n.fault("pro2", "*", "hang", times=-1, seconds=20)
    try:
        terminal = Terminal(n, "audit", *window(n))
        terminal.until("accounts 0/1")
        terminal.program.sendintr()
        assert terminal.ended() == 130
    finally:
        n.world.faults.clear()
    assert "Stopped." in terminal.read and "Traceback" not in terminal.read


def test_one_ctrl_c_ends_the_watched_status(n):
    terminal = Terminal(n, "status", "--watch")
    terminal.until("looks for misses")
    terminal.until("looks for misses")
    terminal.program.sendintr()
    assert terminal.ended() == 0


# ---- progress and colours --------------------------------------------------------------------------------------------


def test_progress_is_live_at_a_terminal_and_gone_when_the_results_come(n):
    terminal = Terminal(n, "audit", *window(n))
    assert terminal.ended() == 4
    assert "accounts 0/1" in terminal.read
    live, _, results = terminal.read.rpartition("\r\x1b[K")
    assert "accounts 0/1" in live and "Missed" in results and "accounts" not in results.replace("Account", "")
    assert max(map(len, terminal.lines)) <= 80


def test_colours_are_there_at_a_terminal_and_go_with_no_color(n):
    coloured = Terminal(n, "audit", *window(n), "--quiet")
    coloured.ended()
    plain = Terminal(n, "audit", *window(n), "--quiet", "--no-color")
    plain.ended()
    assert re.search(r"\x1b\[[0-9;]*3\dm", coloured.read)
    assert not re.search(r"\x1b\[[0-9;]*3\dm", plain.read)


def test_in_a_pipe_nothing_is_cut_and_there_is_no_control_code(n):
    ran = allclear("plan", *window(n), *config(n))
    assert "\x1b" not in ran.out + ran.err and "\r" not in ran.out + ran.err
    assert GALA in ran.out
    assert re.search(r"^ +harbor/pro2/campaign/101@2026-11-01T\d\d:\d\d:00Z$", ran.out, re.MULTILINE)


def test_quiet_leaves_only_the_results(n):
    ran = allclear("audit", *window(n), "--quiet", *config(n))
    assert ran.err == "" and "Missed" in ran.out


# ---- one item --------------------------------------------------------------------------------------------------------


def test_explain_shows_witnesses_decisions_requests_and_replies_of_one_item(tmp_path):
    with served(tmp_path, stage(one), desks=False) as n:
        plan = allclear("plan", *window(n), "--json", *config(n)).json
        approve_last(n, plan["digest"], plan["recipients"])
        ran = allclear("recover", "--plan", plan["digest"], "--by", "Alex", *config(n))
        assert ran.code == 0, ran
        told = allclear("explain", "101", "--json", *config(n)).json
        assert [w["witness"] for w in told["audits"][0]["witnesses"]][:2] == ["campaign-status", "campaign-report"]
        assert [a["by"] for a in told["approvals"]] == ["Dana Reyes"]
        assert {"stop", "copy", "release"} <= {h["action"] for h in told["history"]}
        assert any("/api/3/campaigns/101" in r["request"] and r["status"] == 200 for r in told["replies"])
        terminal = Terminal(n, "explain", "101")
        assert terminal.ended() == 0
    said = "\n".join(terminal.lines)
    order = ["due ", "Recovered", "Witnesses", "campaign-status: nothing", "approved", "Dana Reyes", "Actions", "stop ",
             "-> stop campaign 101", "<- applied", "release ", "Stored replies", "GET "]  # fmt: skip
    places = [said.index(words) for words in order]
    assert places == sorted(places), said
    assert max(map(len, terminal.lines)) <= 80


# ---- every command ---------------------------------------------------------------------------------------------------


def commands(group=None, path=()):
    for name, each in (group or typer.main.get_command(app)).commands.items():
        if hasattr(each, "commands"):
            yield from commands(each, (*path, name))
        else:
            yield (*path, name), each


@pytest.mark.parametrize(("path", "command"), [pytest.param(p, c, id=" ".join(p)) for p, c in commands()])
def test_every_command_takes_the_options_that_scripts_pass_to_any(path, command):
    options = {name for parameter in command.params for name in parameter.opts}
    wanted = {"--quiet", "--no-color"} | ({"--json"} if path != ("webhooks",) else set())
    if path not in (("sandbox",), ("demo",)):
        wanted.add("--config")
    assert wanted <= options
    assert "Example" in command.help


def test_the_version_is_the_packages_own():
    from importlib.metadata import version

    assert allclear("--version").out == f"allclear {version('allclear')}\n"


def test_bash_completes_a_command(tmp_path):
    script = f"""
    PATH={Path(sys.executable).parent}:$PATH
    source <(_ALLCLEAR_COMPLETE=source_bash allclear)
    COMP_WORDS=(allclear expl); COMP_CWORD=1
    _allclear_completion allclear expl allclear
    echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["explain"], done


def test_json_is_one_document_and_nothing_else_on_an_error_too(n):
    began = time.monotonic()
    ran = allclear("audit", "--last", "soon", "--json", *config(n))
    assert ran.code == 2 and ran.err == ""
    told = json.loads(ran.out)
    assert told["schema"] == "allclear.error/1" and told["exit_code"] == 2 and "soon" in told["error"]
    assert time.monotonic() - began < 30


def test_a_question_about_several_items_is_asked_once():
    from recovery.standing import held_lines

    question = {"text": "Did it run?", "recommended": "wait", "choices": ["wait", "drop"]}
    items = [
        {"key": f"harbor/pro2/automation/{n}", "name": f"Series {n}", "verdict": "uncertain", "remedy": "hold",
         "reason": "", "question": question} for n in (11, 12)
    ]  # fmt: skip
    lines = held_lines({"items": items})
    assert [x.strip() for x in lines].count("Did it run?") == 1
    assert [x.strip() for x in lines if "automation/" in x] == [i["key"] for i in items]
