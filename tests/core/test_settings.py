"""Settings and policy: what ships loads, every mistake is one sentence that names file and field, never a secret."""

from __future__ import annotations

from dataclasses import fields
from datetime import time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery.errors import ConfigError
from recovery.model import Kind, Remedy, Verdict
from recovery.policy import Limits, Policy, Waits
from recovery.settings import Settings, config_path, load_policy, load_settings, reveal
from recovery.settings_remotes import SecretAt

from .makers import shipped_policy

SECRET = "hunter2-correct-horse"

GOOD = f"""
marker_key = {{ env = "KEY" }}

[[accounts]]
name = "acme"
time_zone = "America/New_York"
[accounts.pro2]
base_url = "https://acme.example.org"
token = {{ file = "acme.token" }}
[accounts.dashboard]
mode = "assisted"
[accounts.tessitura]
base_url = "https://tessitura.example.org"
user = "u"
group = "g"
location = "l"
password = {{ env = "PASSWORD" }}

[jira]
base_url = "https://example.atlassian.net"
token = {{ env = "JIRA" }}
project = "INC"
# {"-" * 20}
"""
POLICY = """
[unattended]
accounts = ["acme"]
"""
PLAYBOOK = """
id = "p"
version = "1"
title = "t"
[[decision]]
kind = "*"
verdict = "*"
remedy = "hold"
why = "Ask."
"""


def write(folder: Path, settings: str = GOOD, policy: str = POLICY, playbook: str = PLAYBOOK) -> Path:
    (folder / "playbooks").mkdir(exist_ok=True)
    (folder / "playbooks" / "process-failure.toml").write_text(playbook)
    (folder / "policy.toml").write_text(policy)
    (folder / "acme.token").write_text(f"  {SECRET}\n")
    (folder / "allclear.toml").write_text(settings)
    return folder / "allclear.toml"


def refused(folder: Path, settings: str = GOOD, policy: str = POLICY, playbook: str = PLAYBOOK) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_policy(load_settings(write(folder, settings, policy, playbook)))
    error = caught.value
    assert "\n" not in str(error)
    assert error.hint
    assert error.exit_code == 2
    assert error.__context__ is None or error.__suppress_context__
    return error


def loaded(folder: Path, settings: str = GOOD) -> Settings:
    return load_settings(write(folder, settings))


# ---- what ships -----------------------------------------------------------------------------------------------------


def test_the_shipped_policy_holds_the_defaults_of_the_code() -> None:
    """policy.toml says of itself that every value in it is its default."""
    shipped = shipped_policy()
    assert (shipped.waits, shipped.limits) == (Waits(), Limits())
    bare = Policy(shipped.decisions)
    assert {f.name: getattr(shipped, f.name) for f in fields(Policy)} == {
        f.name: getattr(bare, f.name) for f in fields(Policy)
    }


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.DONE])
def test_the_shipped_table_names_every_kind_and_verdict(kind: Kind, verdict: Verdict) -> None:
    decided = shipped_policy().decide(kind, verdict, "any code")
    assert decided.why != "No rule names this case."
    assert bool(decided.question) is (decided.remedy is Remedy.HOLD)


def test_policy_reads_every_field_of_the_file(tmp_path: Path) -> None:
    policy = """
    valid_for_hours = 1
    plan_expires_minutes = 2
    after_successful_stop = "reprocess"
    defuse = false
    [waits]
    monitor_seconds = 3
    [limits]
    waves = [2, 4]
    wave_bake_seconds = 5
    [quiet_hours]
    start = 22:00:00
    end = 07:00:00
    [[valid_until]]
    account = "acme"
    object = "7"
    at = 2026-11-01T18:00:00-05:00
    reason = "it has begun"
    """
    read = load_policy(load_settings(write(tmp_path, policy=policy)))
    assert (read.valid_for, read.plan_expires) == (timedelta(hours=1), timedelta(minutes=2))
    assert (read.after_successful_stop, read.defuse, read.waits.monitor) == ("reprocess", False, 3)
    assert (read.limits.waves, read.limits.wave_bake) == ((2, 4), 5)
    assert (read.quiet.start, read.quiet.end) == (time(22), time(7))
    limit = read.validity_of("acme", "7")
    assert limit is not None and limit.at.isoformat() == "2026-11-01T18:00:00-05:00"


def test_the_file_is_the_one_given_or_in_the_environment_or_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALLCLEAR_CONFIG", raising=False)
    assert config_path(None) == Path("config/allclear.toml")
    monkeypatch.setenv("ALLCLEAR_CONFIG", "there.toml")
    assert config_path(None) == Path("there.toml")
    assert config_path(Path("here.toml")) == Path("here.toml")


def test_relative_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert settings.path(Path("policy.toml")) == tmp_path / "policy.toml"
    assert settings.path(Path("/etc/x")) == Path("/etc/x")


# ---- mistakes -------------------------------------------------------------------------------------------------------

ACCOUNT_TWICE = GOOD + GOOD[GOOD.index("[[accounts]]") : GOOD.index("[jira]")]

# What is wrong in allclear.toml -> the replacement that makes it wrong, and what the sentence must name.
MISTAKES: dict[str, tuple[str, str, str]] = {
    "an unknown key": ("marker_key", "colour = 1\nmarker_key", "colour: unknown key"),
    "an unknown key in an account": ('mode = "assisted"', 'mood = "calm"', "accounts.0.dashboard.mood: unknown key"),
    "an unknown table": ("[jira]", "[yira]", "yira: unknown key"),
    "a missing key": ('marker_key = { env = "KEY" }', "", "marker_key: Field required"),
    "a missing key in an account": ('user = "u"', "", "accounts.0.tessitura.user: Field required"),
    "a wrong type": ('project = "INC"', "project = 7", "jira.project"),
    "two places for a secret": ('{ env = "JIRA" }', '{ env = "JIRA", file = "f" }', "jira.token: name exactly one"),
    "no place for a secret": ('{ env = "JIRA" }', "{}", "jira.token: name exactly one"),
    "a secret by value": ('{ env = "JIRA" }', f'"{SECRET}"', "jira.token"),
    "a secret by value in a table": ('{ env = "JIRA" }', f'{{ value = "{SECRET}" }}', "jira.token.value: unknown key"),
    "an unknown zone": ("America/New_York", "America/Gotham", "accounts.0.time_zone: 'America/Gotham' is not an IANA"),
    "a folder of zones": ("America/New_York", "America", "accounts.0.time_zone: 'America' is not an IANA"),
    "an empty zone": ("America/New_York", "", "accounts.0.time_zone"),
    "a path as a name": ('name = "acme"', 'name = "../acme"', "accounts.0.name"),
    "a bridge without a URL": ('mode = "assisted"', 'mode = "bridge"', "accounts.0.dashboard: mode"),
    "an unknown mode": ('mode = "assisted"', 'mode = "magic"', "accounts.0.dashboard.mode"),
    "a key of before": (
        "[jira]",
        '[pagerduty]\nsender = "a@b.c"\nrouting_key = { env = "R" }\ntoken = { env = "T" }\nservice = "P"\n[jira]',
        "pagerduty.sender: no setting any more",
    ),
    "the reserved folder": ("marker_key", 'folder = "/"\nmarker_key', "unknown key 'folder'"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_settings_is_one_sentence_that_names_file_and_field(name: str, tmp_path: Path) -> None:
    old, new, words = MISTAKES[name]
    error = refused(tmp_path, GOOD.replace(old, new, 1))
    assert words in str(error)
    assert "allclear.toml" in str(error)
    assert SECRET not in str(error) + error.hint


def test_an_account_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    assert "account acme is named twice" in str(refused(tmp_path, ACCOUNT_TWICE))


def test_settings_without_accounts_are_refused(tmp_path: Path) -> None:
    bare = 'marker_key = { env = "KEY" }\naccounts = []\n'
    assert "accounts" in str(refused(tmp_path, bare))


# The same for policy.toml.
POLICY_MISTAKES = {
    "an unknown key": ("colour = 1", "colour: unknown key"),
    "an unknown wait": ("[waits]\ngrace = 900", "waits.grace: unknown key"),
    "a wait of before": ("[waits]\ndisarm_lead_seconds = 60", "waits.disarm_lead_seconds: no setting any more"),
    "a negative wait": ("[waits]\narm_seconds = -1", "waits.arm_seconds"),
    "no poll at all": ("[waits]\npoll_seconds = 0", "waits.poll_seconds"),
    "more than all": ("[limits]\nremovals_percent = 101", "limits.removals_percent"),
    "words for a number": ('[limits]\nreleases_per_run = "many"', "limits.releases_per_run"),
    "an unknown choice": ('after_successful_stop = "guess"', "after_successful_stop"),
    "an unattended stranger": (
        '[unattended]\naccounts = ["acme", "nobody"]',
        "unattended.accounts: there is no account",
    ),
    "a limit for a stranger": (
        '[[valid_until]]\naccount = "acmee"\nobject = "7"\nat = 2026-11-01T18:00:00Z\nreason = "r"',
        "valid_until: there is no account 'acmee'",
    ),
    "a limit without a zone": (
        '[[valid_until]]\naccount = "acme"\nobject = "7"\nat = 2026-11-01T18:00:00\nreason = "r"',
        "valid_until.0.at: needs a zone",
    ),
}


@pytest.mark.parametrize("name", POLICY_MISTAKES)
def test_a_mistake_in_the_policy_is_one_sentence_that_names_file_and_field(name: str, tmp_path: Path) -> None:
    """A misspelt account would let an expired campaign be sent, or leave an exception without effect."""
    text, words = POLICY_MISTAKES[name]
    error = refused(tmp_path, policy=text)
    assert words in str(error)
    assert "policy.toml" in str(error)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('remedy = "hold"', 'remedy = "pray"', "decision.0.remedy"),
        ('why = "Ask."', "", "decision.0.why"),
        ('verdict = "*"', 'verdict = "*"\ncolor = "x"', "decision.0.color: unknown key"),
        ("[[decision]]", "[[decisions]]", "decision"),
    ],
)
def test_a_mistake_in_the_decision_table_is_named(old: str, new: str, words: str, tmp_path: Path) -> None:
    error = refused(tmp_path, playbook=PLAYBOOK.replace(old, new))
    assert words in str(error)
    assert "process-failure.toml" in str(error)


@pytest.mark.parametrize("missing", ["allclear.toml", "policy.toml", "playbooks/process-failure.toml"])
def test_a_missing_file_is_named(missing: str, tmp_path: Path) -> None:
    path = write(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(ConfigError, match="There is no configuration at .*" + missing) as caught:
        load_policy(load_settings(path))
    assert "--config" in caught.value.hint


@pytest.mark.parametrize("text", ["accounts = [", 'a = "unclosed', "= 1", "a = 1\na = 2", f'token = "{SECRET}\n'])
def test_a_file_that_is_no_toml_is_named_with_the_line(text: str, tmp_path: Path) -> None:
    error = refused(tmp_path, text)
    assert "is not valid TOML" in str(error)
    assert SECRET not in str(error)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(path)


def test_a_folder_instead_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path)


# ---- secrets --------------------------------------------------------------------------------------------------------


def test_a_secret_is_read_from_its_place_and_does_not_show_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = loaded(tmp_path)
    monkeypatch.setenv("KEY", SECRET)
    for place in (SecretAt(env="KEY"), SecretAt(file=Path("acme.token"))):
        value = reveal(place, settings, "marker_key")
        assert value.get_secret_value() == SECRET
        assert SECRET not in repr(value) + str(value) + f"{value}" + repr(settings) + place.place


@pytest.mark.parametrize("value", [None, "", "  ", "\n"])
def test_an_empty_secret_names_the_field_and_the_place(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = loaded(tmp_path)
    monkeypatch.delenv("KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("KEY", value)
    (tmp_path / "acme.token").write_text(value or "")
    for place, words in (
        (SecretAt(env="KEY"), "environment variable KEY"),
        (SecretAt(file=Path("acme.token")), "file"),
    ):
        with pytest.raises(ConfigError, match=f"marker_key: the secret in {words}.* is empty or not set") as caught:
            reveal(place, settings, "marker_key")
        assert caught.value.hint


@pytest.mark.parametrize("content", [None, b"\xff\xfe" + SECRET.encode()])
def test_a_secret_file_that_cannot_be_read_is_named_without_its_content(content: bytes | None, tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    path = tmp_path / "acme.token"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"accounts\.acme\.pro2\.token: the secret file .*acme.token") as caught:
        reveal(SecretAt(file=Path("acme.token")), settings, "accounts.acme.pro2.token")
    assert SECRET not in str(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_a_policy_without_a_matching_row_holds() -> None:
    decided = Policy(()).decide(Kind.TRIGGER, Verdict.MISSED, "no_activity")
    assert (decided.remedy, bool(decided.question), decided.recommended) == (Remedy.HOLD, True, "wait")


CODES = sorted({d.code for d in shipped_policy().decisions} - {"*"})


@given(st.sampled_from(list(Kind)), st.sampled_from(list(Verdict)), st.sampled_from(CODES) | st.text(max_size=12))
def test_the_first_row_that_fits_decides(kind: Kind, verdict: Verdict, code: str) -> None:
    policy = shipped_policy()
    decided = policy.decide(kind, verdict, code)
    fitting = [d for d in policy.decisions if d.matches(kind, verdict, code)]
    assert not fitting or decided is fitting[0]
