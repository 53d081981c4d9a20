"""Desks that are not set up, cannot be reached or leave doubt: a person is told plainly, and nothing happens twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.case.shop import DANA, Shop

NO = "--not-resolved"


def without(shop: Shop, *tables: str) -> Shop:
    """The same ledger and panels, with these desks left out of the settings."""
    text = shop.config.read_text(encoding="utf-8")
    for table in tables:
        text = re.sub(rf"(?ms)^\[{table}\].*?(?=^\[|\Z)", "", text)
    path = shop.config.with_name("fewer.toml")
    path.write_text(text, encoding="utf-8")
    return replace(shop, config=path)


@contextmanager
def mail_answers(shop: Shop, **knobs: Any) -> Iterator[None]:
    """The mail server behaves so for a while."""
    state = shop.estate.state("smtp").knobs
    before = {name: getattr(state, name) for name in knobs}
    for name, value in knobs.items():
        setattr(state, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(state, name, value)


def test_without_desks_everything_becomes_a_task_in_full_words_that_a_person_settles(shop: Shop) -> None:
    bare = without(shop, "zendesk", "jira", "slack", "smtp")
    ref = bare.attest(bare.open("shop-meta", "spring_offer", campaign="D-1"), {"campaign": "same"})["case"]
    bare.case("stage", ref, "business", "--team", "CSM", NO, *DANA)
    bare.case("stage", ref, "helpdesk", "--team", "Helpdesk", NO, *DANA)
    bare.case("references", ref, *DANA)
    before = {s: len(bare.events(s)) for s in ("jira", "slack", "smtp", "zendesk")}
    view = bare.case("escalate", ref, "cross_functional", *DANA, exit_code=3)
    assert {s: len(bare.events(s)) for s in before} == before
    states = {e["effect"].split(":")[0]: e["state"] for e in view["effects"]}
    assert states == {"mail": "task", "ticket": "task", "ticket_link": "waiting", "chat": "task"}
    ticket = next(e for e in view["effects"] if e["effect"].startswith("ticket:"))
    assert "Open a child ticket by hand" in ticket["text"]
    assert "Template: spring_offer" in ticket["text"]
    said = ("--ref", "OPS-12", "--reason", "opened by hand", *DANA)
    view = bare.case("settle", ref, str(ticket["number"]), "happened", *said)
    link = next(e for e in view["effects"] if e["effect"].startswith("ticket_link"))
    view = bare.case("send", ref)
    assert "OPS-12" in next(e["text"] for e in view["effects"] if e["number"] == link["number"])
    shop.case("send", ref)
    assert shop.events("jira", "issue_created") == [], "what a person has done is not done again by the desk"


@pytest.mark.parametrize(("answer", "mails"), [("happened", 1), ("not-happened", 2), ("drop", 1)])
def test_a_mail_whose_answer_was_lost_is_held_until_a_person_says_what_is_true(
    shop: Shop, answer: str, mails: int
) -> None:
    ref = shop.open("shop-meta", "spring_offer", campaign=f"M-{answer}")["case"]

    def sent() -> int:
        return sum(ref in m["subject"] for m in shop.events("smtp", "mail"))

    with mail_answers(shop, lose_answer=True):
        view = shop.case("stage", ref, "business", "--team", "CSM", NO, *DANA, exit_code=3)
    assert (view["effects"][0]["state"], sent()) == ("held", 1)
    shop.case("send", ref)
    assert sent() == 1, "nothing is repeated while it is held"
    view = shop.case("settle", ref, "1", answer, "--reason", "asked the helpdesk", *DANA)
    assert (view["effects"][0]["state"], sent()) == ("done", mails)


def test_a_desk_that_is_down_is_tried_again_by_send_and_the_note_arrives_once(shop: Shop) -> None:
    ref = shop.attest(shop.open("shop-meta", "opted_out", campaign="T-1"), {"campaign": "same"})["case"]
    draft = shop.case("reply", ref)["reply"]["digest"]
    told = len(shop.comments())
    shop.fault("zendesk", "*", "reset-before", times=-1)
    try:
        view = shop.case("reply", ref, "--approve", draft, *DANA, exit_code=3)
        assert view["effects"][0]["state"] == "held"
    finally:
        shop.estate.world.faults.clear()
    shop.case("settle", ref, "1", "not-happened", "--reason", "the desk was down", *DANA, exit_code=0)
    assert len(shop.comments()) == told + 1


def test_the_kill_switch_holds_back_every_desk_and_the_next_send_goes_on(shop: Shop) -> None:
    ref = shop.open("shop-meta", "spring_offer", campaign="K-1")["case"]
    before = len(shop.events("smtp"))
    stop = Path(shop.config.parent / "STOP")
    stop.write_text("stop", encoding="utf-8")
    try:
        view = shop.case("stage", ref, "business", "--team", "CSM", NO, *DANA, exit_code=3)
        assert "kill switch" in view["effects"][0]["text"]
        assert len(shop.events("smtp")) == before
    finally:
        stop.unlink()
    assert shop.case("send", ref)["effects"][0]["state"] == "done"
    assert len(shop.events("smtp")) == before + 1


def test_a_word_of_a_person_is_signed_needs_a_reason_and_never_overrules_an_api(shop: Shop, tmp_path: Path) -> None:
    ref = shop.open("shop-meta", "clicked_offer", campaign="W-1")["case"]
    shot = tmp_path / "panel.png"
    shot.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 20)
    seen = ("--statement", "I looked", "--file", str(shot), *DANA)
    assert shop.run("attest", ref, "panel", "off", *seen).exit_code == 1
    view = shop.case("attest", ref, "campaign", "same", *seen)
    kinds = {e["kind"]: e["by"] for e in view["evidence"] if e["check"] == "campaign"}
    assert kinds["attestation"] == kinds["upload"] == "Dana Reyes"
    assert shop.run("attest", ref, "campaign", "perhaps", *seen).exit_code == 2
    assert shop.run("attest", ref, "campaign", "same", *seen[:2], "--file", "no-such.png", *DANA).exit_code == 2
    log = tmp_path / "send.log"
    log.write_text("sent to +4915112345678 with token=canary-1", encoding="utf-8")
    shop.case("attach", ref, "clicks", str(log), *DANA)
    kept = b"".join(p.read_bytes() for p in shop.config.parent.glob("state/evidence/*/*"))
    assert b"+4915112345678" not in kept
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF\xff\xfe")
    assert shop.run("attach", ref, "clicks", str(program), *DANA).exit_code == 1


def test_a_reference_that_names_no_case_or_several_is_a_usage_error(shop: Shop) -> None:
    for ref in ("nothing", "link-tracking"):
        shown = shop.run("show", ref)
        assert (shown.exit_code, "case list" in shown.output) == (2, True)
    assert shop.run("open", "no-such-book", "--account", "a", *DANA).exit_code == 2
    assert shop.run("open", "link-tracking", "--account", "a", "--field", "colour=red", *DANA).exit_code == 2
