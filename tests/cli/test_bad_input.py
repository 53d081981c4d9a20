"""Bad input: one clear sentence that names the field or the system, the right exit code, and nothing acted on."""

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest

from sandbox import scenario_campaigns as mail
from tests.cli.program import PROGRAM, REPO, Ran, allclear, approve_last, environment, served, window
from tests.recovery.stage import stage


def plant(story, account):
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))


@pytest.fixture(scope="module")
def served_night(tmp_path_factory):
    with served(tmp_path_factory.mktemp("bad"), stage(plant), desks=False) as night:
        yield night


@pytest.fixture
def n(served_night):
    """The night with its configuration as it was, whatever a test did to it."""
    kept = {p: p.read_text() for p in (served_night.config, *(served_night.folder / "secrets").iterdir())}
    yield served_night
    for path, text in kept.items():
        path.write_text(text)
    served_night.world.faults.clear()
    served_night.lose_ledger()
    assert served_night.writes() == []


def refused(ran, code, *words):
    """One sentence and perhaps a hint on stderr, nothing on stdout, this exit code, and these words in it."""
    assert ran.code == code, ran
    lines = [x for x in ran.err.splitlines() if not re.match(r"^ *\d+\.\ds  ", x)]
    assert lines and lines[0].startswith("allclear: "), ran.err
    assert len(lines) <= 2, ran.err
    for word in words:
        assert word in ran.err, ran.err


START, END = "2026-11-01T05:00:00Z", "2026-11-01T07:00:00Z"


@pytest.mark.requirement("R001.1")
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--start", END, "--end", START), ("ends before it starts",)),
        (("--start", "2026-11-01T05:00:00", "--end", END), ("2026-11-01T05:00:00", "no zone")),
        (("--start", START, "--end", "2099-01-01T00:00:00Z"), ("in the future",)),
        (("--start", "2026-10-01T00:00:00Z", "--end", END), ("longer than policy allows (72 hours)",)),
        (("--start", "half past two", "--end", END), ("half past two", "no time")),
        (("--start", "2026-11-01 01:30 America/New_York", "--end", END), ("does not name one moment", "clocks change")),
        (("--start", "2026-11-01 01:00 Mars/Olympus", "--end", END), ("Mars/Olympus", "not a time zone")),
        (("--last", "soon"), ("'soon'", "no length of time")),
        ((), ("Which outage?",)),
        (("--last", "2h", "--start", START), ("--last stands instead",)),
        (("--last", "2h", "--account", "harbour"), ("no account 'harbour'", "harbor")),
    ],
)
def test_a_window_or_account_that_makes_no_sense(n, args, words):
    refused(allclear("audit", *args, "--config", str(n.config)), 2, *words)


@pytest.mark.parametrize("command", ["plan", "recover"])
def test_a_plan_or_a_recovery_refuses_a_bad_window_as_the_audit_does(n, command):
    refused(allclear(command, "--start", END, "--end", START, "--config", str(n.config)), 2, "ends before it starts")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('kill_file = "STOP"', 'kill_fyle = "STOP"', ("kill_fyle", "unknown key")),
        ('time_zone = "America/New_York"', 'time_zone = "EST5"', ("accounts.0.time_zone", "IANA")),
        ('name = "harbor"', "", ("accounts.0.name", "required")),
        ("[ledger]", "[ledger", ("not valid TOML", "line")),
        ('file = "secrets/harbor-pro2"', 'env = "NO_TOKEN"', ("accounts.harbor.pro2.token", "NO_TOKEN")),
        ('"secrets/harbor-pro2"', '"secrets/gone"', ("accounts.harbor.pro2.token", "secrets/gone")),
        ("clock_offset_seconds", 'fast = true\nclock_offset_seconds', ("rehearsal.fast", "unknown key")),
    ],
)  # fmt: skip
def test_a_configuration_that_is_wrong_names_the_field(n, old, new, words):
    text = n.config.read_text()
    assert old in text
    n.config.write_text(text.replace(old, new, 1))
    refused(allclear("audit", *window(n), "--config", str(n.config)), 2, *words)


def test_a_policy_with_an_unknown_key_names_it(n):
    policy = n.folder / "policy.toml"
    kept = policy.read_text()
    policy.write_text(kept.replace("[waits]", "[waits]\npole_seconds = 3"))
    ran = allclear("recover", *window(n), "--config", str(n.config))
    policy.write_text(kept)
    refused(ran, 2, "waits.pole_seconds", "unknown key")


def test_a_shifted_clock_is_refused_for_servers_that_are_not_on_this_machine(n):
    text = n.config.read_text()
    n.config.write_text(re.sub(r'base_url = "http://127\.0\.0\.1:\d+/harbor"', 'base_url = "https://x.example"', text))
    refused(allclear("audit", *window(n), "--config", str(n.config)), 2, "clock_offset_seconds", "x.example")


def test_no_configuration_at_all_says_how_to_give_one(tmp_path):
    refused(allclear("audit", "--last", "2h", cwd=tmp_path), 2, "config/allclear.toml", "ALLCLEAR_CONFIG")


def test_the_environment_names_the_configuration_and_the_option_wins(n, tmp_path):
    told = allclear("status", "--json", cwd=tmp_path, ALLCLEAR_CONFIG=str(n.config))
    assert (told.code, told.json["accounts"]) == (0, ["harbor"])
    refused(allclear("status", "--config", "other.toml", cwd=tmp_path, ALLCLEAR_CONFIG=str(n.config)), 2, "other.toml")


# ---- remotes ---------------------------------------------------------------------------------------------------------


def finding_of(n, *args):
    """The one finding of an audit that could not read Prospect2, and its exit code."""
    ran = allclear("audit", *window(n), "--json", "--config", str(n.config))
    (slot,) = [s for s in ran.json["slots"] if s["kind"] == "campaign"]
    return ran, slot


def test_a_wrong_token_is_named_by_system_account_and_status_and_the_slots_are_uncertain(n):
    (n.folder / "secrets" / "harbor-pro2").write_text("expired-token-value")
    ran, slot = finding_of(n)
    assert (ran.code, slot["verdict"]) == (3, "uncertain")
    assert "pro2 (harbor)" in slot["reason"] and "403" in slot["reason"]
    assert "expired-token-value" not in ran.out + ran.err


@pytest.mark.parametrize(("kind", "words"), [("html-before", "HTML"), ("503", "503"), ("truncated", "")])
def test_a_remote_that_answers_rubbish_or_is_down_makes_its_slots_uncertain(n, kind, words):
    n.fault("pro2", "*", kind, times=-1)
    ran, slot = finding_of(n)
    assert (ran.code, slot["verdict"]) == (3, "uncertain")
    assert words in slot["reason"]


def test_a_remote_that_hangs_is_given_up_and_its_slots_are_uncertain(n):
    policy = n.folder / "policy.toml"
    kept = policy.read_text()
    policy.write_text(kept.replace("[waits]", "[waits]\nread_seconds = 0.3", 1))
    n.fault("pro2", "*", "hang", times=-1, seconds=20)
    try:
        ran, slot = finding_of(n)
    finally:
        policy.write_text(kept)
    assert (ran.code, slot["verdict"]) == (3, "uncertain")
    assert "pro2 (harbor)" in slot["reason"] and "no answer" in slot["reason"]


def test_a_remote_that_is_not_there_is_named_with_what_to_do(n):
    text = n.config.read_text()
    n.config.write_text(re.sub(r'"http://127\.0\.0\.1:\d+/harbor"', '"http://127.0.0.1:9/harbor"', text, count=1))
    ran = allclear("audit", *window(n), "--config", str(n.config))
    assert ran.code == 3
    assert "! harbor could not be read: pro2 (harbor): campaigns: could not connect" in ran.out
    assert "allclear doctor --account harbor" in ran.out
    checked = allclear("doctor", "--account", "harbor", "--config", str(n.config))
    (failed,) = [x for x in checked.out.splitlines() if x.startswith("FAIL pro2")]
    assert checked.code == 1 and "could not connect" in failed and "To do: " in failed


@pytest.mark.parametrize("system", ["dashboard", "tessitura", "pro2"])
def test_doctor_names_the_system_whose_credentials_are_refused_and_what_to_do(n, system):
    (n.folder / "secrets" / f"harbor-{system}").write_text("expired-secret-value")
    ran = allclear("doctor", "--config", str(n.config))
    failed = [x for x in ran.out.splitlines() if x.startswith("FAIL")]
    assert ran.code == 1
    assert [x.split()[1:3] for x in failed] == [[system, "harbor"]]
    assert re.search(r"40[13]", failed[0]) and "To do: " in failed[0]
    assert "expired-secret-value" not in ran.out + ran.err


def test_a_campaign_with_a_missing_field_or_an_unknown_status_is_held_and_not_touched(n):
    campaign = n.estate.account("harbor").pro2.campaigns[101]
    kept, campaign.status = campaign.status, 9
    slot = finding_of(n)[1]
    campaign.status = kept
    assert (slot["verdict"], slot["code"]) == ("uncertain", "unknown_state")
    assert "status 9" in slot["reason"]


def test_doctor_fails_with_the_system_that_is_down(n):
    n.fault("pro2", "*", "html-before", times=-1)
    ran = allclear("doctor", "--config", str(n.config))
    assert ran.code == 1
    assert next(x for x in ran.out.splitlines() if x.startswith("FAIL")).split()[1:3] == ["pro2", "harbor"]


# ---- the ledger ------------------------------------------------------------------------------------------------------


def plan_of(n):
    return allclear("plan", *window(n), "--json", "--config", str(n.config)).json


def dump_of(path):
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


def test_a_ledger_of_a_newer_version_is_left_alone(n):
    plan_of(n)
    path = n.folder / "allclear.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("update schema_version set version = 999 where version = (select max(version) from schema_version)")
        db.commit()
    before = dump_of(path)
    refused(allclear("recover", *window(n), "--config", str(n.config)), 1, "newer")
    assert dump_of(path) == before


def test_a_ledger_that_is_no_database_says_so(n):
    (n.folder / "allclear.db").write_text("this is no database at all, but a text of some length\n" * 40)
    refused(allclear("recover", *window(n), "--config", str(n.config)), 1, "ledger")


def test_a_ledger_in_a_folder_that_does_not_exist_or_cannot_be_written_says_so(n):
    text = n.config.read_text()
    n.config.write_text(text.replace("sqlite:///allclear.db", "sqlite:////proc/allclear.db"))
    refused(allclear("recover", *window(n), "--config", str(n.config)), 1, "ledger")


def limited(n, *args, kilobytes):
    """The program with a limit on what it may add to a file, as a full disk has."""
    words = " ".join(shlex.quote(x) for x in (*PROGRAM, *args, "--config", str(n.config)))
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f {kilobytes}; exec {words}"], cwd=REPO, env=environment(), capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return Ran(args, done.returncode, done.stdout, done.stderr)


def test_a_full_disk_stops_a_recovery_before_anything_leaves_and_nothing_is_lost(n):
    plan = plan_of(n)
    approve_last(n, plan["digest"], plan["recipients"])
    refused(limited(n, "recover", "--plan", plan["digest"], "--by", "Alex", kilobytes=8), 1, "disk of the ledger")
    told = allclear("status", "--json", "--config", str(n.config))
    assert told.json["plan"]["approved_by"] == ["Dana Reyes"]


def test_a_ledger_that_may_only_be_read_stops_a_plan_and_can_still_be_looked_at(n):
    plan = plan_of(n)
    with read_only(n.folder / "allclear.db"):
        refused(allclear("plan", *window(n), "--config", str(n.config)), 1, "ledger is read-only", "owner and mode")
        assert allclear("status", "--json", "--config", str(n.config)).json["plan"]["digest"] == plan["digest"]


@contextmanager
def read_only(path):
    """A file that nobody may write: by its mode, and for root by its attribute."""
    if os.geteuid() != 0:
        path.chmod(0o400)
        yield
        path.chmod(0o600)
        return
    if shutil.which("chattr") is None or subprocess.run(["chattr", "+i", path], check=False).returncode:
        pytest.skip("as root a file can be made read-only only by chattr, and this file system knows no attributes")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", path], check=True)


# ---- plans and answers -----------------------------------------------------------------------------------------------


def test_approvals_that_do_not_fit_are_refused_with_what_is_missing(n):
    plan = plan_of(n)
    digest, config = plan["digest"][:10], ("--config", str(n.config))
    refused(allclear("approve", "ffffffffff", "--by", "D", "--recipients", "350", *config), 2, "no plan 'ffffffffff'")
    refused(allclear("approve", digest, "--by", "D", "--recipients", "350", *config), 1, "caveat")
    refused(allclear("approve", digest, "--by", "D", "--recipients", "3", "--accept-caveat", *config), 1, "350")
    refused(allclear("approve", digest, "--by", " ", "--recipients", "350", "--accept-caveat", *config), 1, "name")


def test_selections_that_leave_nothing_or_name_nothing_are_refused(n):
    config = ("--config", str(n.config))
    refused(allclear("plan", *window(n), "--kind", "scheduled_trigger", *config), 1, "leaves no item")
    refused(allclear("plan", *window(n), "--only", "999", *config), 2, "no item '999'")


def test_answers_to_what_is_not_there_are_refused(n):
    refused(
        allclear("answer", "101", "drop", "--by", "D", "--reason", "r", "--config", str(n.config)),
        2,
        "'101'",
        "no item",
    )
    refused(allclear("explain", "101", "--config", str(n.config)), 2, "'101'", "no item")


def test_a_scenario_that_does_not_exist_is_named(tmp_path):
    refused(allclear("sandbox", "--root", str(tmp_path / "x"), "--scenario", "nonsense"), 2, "no scenario 'nonsense'")


@pytest.mark.parametrize("args", [("audti",), ("audit", "--strat", "x"), ("approve",), ("plan", "--max", "none")])
def test_a_misspelt_command_or_option_exits_2_without_a_traceback(args):
    ran = allclear(*args)
    assert ran.code == 2 and ran.out == ""
    assert "Usage" in ran.err or "Error" in ran.err
