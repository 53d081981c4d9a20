"""What the doctor finds at once, and hints that name what there is instead of a page where it may stand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sandbox import scenario_campaigns as mail
from tests.cli.program import allclear, served, window
from tests.recovery.stage import stage


def held(story, account):
    mail.partly_sent(story, account, "Raffle", story.started_at + timedelta(minutes=20))
    mail.partly_sent(story, account, "Gala", story.started_at + timedelta(minutes=30))


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    with served(tmp_path_factory.mktemp("hints"), stage(held), desks=False) as made:
        yield made


@pytest.fixture
def n(night):
    """The night with its configuration as it was, and nothing in its ledger."""
    kept = {p: p.read_text() for p in (night.config, *(night.folder / "secrets").iterdir())}
    night.lose_ledger()
    yield night
    for path, text in kept.items():
        path.write_text(text)


def config(n):
    return "--config", str(n.config)


def doctor(n):
    """The doctor's lines by their beginning, and the last one."""
    ran = allclear("doctor", *config(n))
    assert ran.err == "", ran
    lines = ran.out.splitlines()
    return ran.code, [x for x in lines if x.startswith("FAIL")], lines


# ---- doctor ----------------------------------------------------------------------------------------------------------


def test_the_doctor_ends_with_the_sum_of_what_is_well(n):
    code, bad, lines = doctor(n)
    assert (code, bad) == (0, []) and lines[-1] == f"All {len(lines) - 1} well."


def test_the_doctor_names_every_secret_that_cannot_be_read_and_still_asks_the_rest(n):
    (n.folder / "secrets" / "marker").write_text("")
    (n.folder / "secrets" / "harbor-pro2").unlink()
    code, bad, lines = doctor(n)
    assert code == 1
    assert len([x for x in bad if x.startswith("FAIL secret")]) == 2
    assert any("secrets/marker" in x for x in bad) and any("accounts.harbor.pro2.token" in x for x in bad)
    assert any(x.startswith("ok   ledger") for x in lines) and any("tessitura password from" in x for x in lines)
    assert f"{len(bad)} of {len(lines) - 1} not well: " in lines[-1] and "secret harbor" in lines[-1]


def test_the_doctor_names_the_setting_of_a_ledger_that_cannot_be_opened_and_checks_the_secrets(n):
    in_the_way = n.folder / "a-file"
    in_the_way.write_text("")
    text = n.config.read_text()
    assert 'state_dir = "state"' in text
    n.config.write_text(text.replace('state_dir = "state"', 'state_dir = "a-file/state"'))
    code, bad, lines = doctor(n)
    assert code == 1 and any("ledger.state_dir" in x and "a-file" in x for x in bad)
    assert any("pro2 token from" in x for x in lines)
    ran = allclear("audit", *window(n), *config(n))
    assert ran.code == 1 and "ledger.state_dir" in ran.err


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(n):
    """The night after a run that holds both campaigns."""
    digest = allclear("plan", *window(n), "--json", *config(n)).json["digest"]
    assert allclear("recover", "--plan", digest, "--by", "Alex", *config(n)).code == 3
    return n


@pytest.mark.parametrize("args", [("explain", "{}"), ("answer", "{}", "drop", "--by", "D", "--reason", "r")])
def test_a_name_that_is_no_item_lists_the_held_keys_like_it(asked, args):
    for name, keys in (("raffle", ["101"]), ("campaign", ["101", "102"]), ("nothing-like-it", ["101", "102"])):
        ran = allclear(*(a.format(name) for a in args), *config(asked))
        assert ran.code == 2 and f"'{name}' names no item" in ran.err
        assert [k for k in ("101", "102") if f'"harbor/pro2/campaign/{k}@' in ran.err] == keys


def test_a_name_where_nothing_is_held_says_when_items_are_known(n):
    assert "once a run has taken them up" in allclear("explain", "101", *config(n)).err


def test_no_time_at_all_is_no_window(n):
    ran = allclear("audit", "--last", "0h", *config(n))
    assert ran.code == 2 and "--last 0h is no time at all" in ran.err


@pytest.mark.parametrize(("written", "code"), [("1,200", 1), ("12,00", 2), ("many", 2)])
def test_recipients_may_be_written_with_a_comma(n, written, code):
    """1 is the ledger's refusal of the understood number: the plan reaches nobody."""
    args = ("--by", "Dana Reyes", "--recipients", written)
    ran = allclear("approve", "abcdef12", *args, *config(n))
    assert (2, "no plan 'abcdef12'" in ran.err) == (ran.code, code == 1), ran
