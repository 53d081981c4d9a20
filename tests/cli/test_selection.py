"""A run of part of a plan, a run that died, and the report after them: what is named and what comes next."""

from __future__ import annotations

import re
import time
from datetime import timedelta

from sandbox import scenario_campaigns as mail
from tests.cli.program import allclear, approve_last, interrupt, served, started, until, window
from tests.cli.test_interactive import Terminal
from tests.recovery.stage import stage


def two(story, account):
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))
    mail.overdue_small(story, account, "Raffle", story.started_at + timedelta(minutes=30))


def config(n):
    return "--config", str(n.config)


def run(n, *part):
    """A part of the night's plan, approved and run; its document."""
    plan = allclear("plan", *window(n), *part, "--json", *config(n)).json
    approve_last(n, plan["digest"], plan["recipients"])
    return allclear("recover", "--plan", plan["digest"], "--by", "Alex", "--json", *config(n))


def test_a_run_of_a_selection_adds_up_and_names_what_it_left_until_that_is_done_too(tmp_path):
    with served(tmp_path, stage(two), desks=True) as n:
        part = run(n, "--only", "101")
        balance = part.json["balance"]
        assert (part.code, balance["adds_up"], balance["due"], balance["recovered"]) == (3, True, 1, 1)
        assert [key.split("@")[0] for key in balance["outside"]] == ["harbor/pro2/campaign/102"]
        said = allclear("recover", "--plan", part.json["plan"], "--by", "Alex", *config(n)).out
        assert "1 more slot not done, outside this plan:" in said and "All clear" not in said
        assert said.count("due = ") == 1
        rest = run(n)
        assert (rest.code, rest.json["balance"]["adds_up"], rest.json["balance"]["outside"]) == (0, True, [])
        assert n.sent() == 700


def test_a_selection_of_a_recorded_plan_can_be_approved_and_run(tmp_path):
    with served(tmp_path, stage(two), desks=False) as n:
        whole = allclear("plan", *window(n), "--json", *config(n)).json
        waiting = allclear("recover", "--plan", whole["digest"], "--max", "1", "--by", "Alex", *config(n)).out
        digest = re.search(r"allclear approve (\w{8})", waiting)[1]
        assert not whole["digest"].startswith(digest)
        approve_last(n, digest, 350)
        assert allclear("recover", "--plan", digest, "--by", "Alex", *config(n)).code == 3
        assert n.sent() == 350


def test_after_a_crash_the_plan_that_was_under_way_is_named_and_not_a_newer_one(tmp_path):
    with served(tmp_path, stage(two), desks=False, waits={"lease_seconds": 1, "arm_seconds": 1}) as n:
        plan = allclear("plan", *window(n), "--json", *config(n)).json
        approve_last(n, plan["digest"], plan["recipients"])
        with started("recover", "--plan", plan["digest"], "--by", "Alex", *config(n)) as program:
            until(program, "duplicating")
            program.kill()
            program.wait(10)
        newer = allclear("recover", *window(n), "--by", "Alex", *config(n)).out
        going_on = f'allclear recover --plan {plan["digest"][:8]} --by "WHO STARTS IT"'
        assert "An earlier run of this outage did not end: 2 of its items are open." in newer
        assert going_on in newer
        assert going_on in allclear("status", *config(n)).out
        terminal = Terminal(n, "recover", *window(n))
        terminal.until("Your name")
        assert going_on in terminal.read
        terminal.program.sendeof()
        assert terminal.ended() == 2
        report = tmp_path / "out.html"
        assert f"Report of plan {plan['digest'][:12]}" in allclear("report", "-o", str(report), *config(n)).out
        assert allclear("recover", "--plan", plan["digest"], "--by", "Alex", *config(n)).code == 0
        assert "did not end" not in allclear("recover", *window(n), "--by", "Alex", *config(n)).out


def test_a_stopped_run_says_which_command_goes_on(tmp_path):
    with served(tmp_path, stage(two), desks=False, waits={"arm_seconds": 2}) as n:
        plan = allclear("plan", *window(n), "--json", *config(n)).json
        approve_last(n, plan["digest"], plan["recipients"])
        with started("recover", "--plan", plan["digest"], "--by", "Alex", *config(n)) as program:
            until(program, "arming copy")
            interrupt(program)
            out, _ = program.communicate(timeout=30)
        assert f'allclear recover --plan {plan["digest"][:8]} --by "WHO STARTS IT"' in out


def held_one(story, account):
    mail.partly_sent(story, account, "Raffle", story.started_at + timedelta(minutes=30))


def test_what_is_held_is_named_before_a_plan_that_nobody_has_run(tmp_path):
    with served(tmp_path, stage(held_one), desks=False) as n:
        plan = allclear("plan", *window(n), *config(n))
        assert "needs no approval" in plan.out and "To let it act" not in plan.out
        digest = re.search(r"recover --plan (\w{8})", plan.out)[1]
        assert allclear("recover", "--plan", digest, "--by", "Alex", *config(n)).code == 3
        # The same findings in the same second make the same plan, which has been run; a fast machine must wait.
        while f"recover --plan {digest}" in allclear("plan", *window(n), *config(n)).out:
            time.sleep(0.2)
        said = " ".join(allclear("status", *config(n)).out.split())
        assert 0 < said.index("`allclear hold`") < said.index("`allclear recover --plan")
