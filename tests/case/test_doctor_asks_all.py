"""`allclear doctor` asks every remote that is configured, mail and panels too; one that fails hides no other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from recovery.errors import Unavailable
from recovery.ports import BridgeCapabilities
from recovery.settings import load_settings
from recovery.terminal import questions
from recovery.terminal.checkup import check_up, offered
from recovery.terminal.questions import Question, answers
from tests.case.shop import Shop


def rows_of(shop: Shop) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = asyncio.run(check_up(load_settings(shop.config), ()))["checks"]
    return rows


def test_the_doctor_asks_the_mail_server_and_every_panel(shop: Shop) -> None:
    sent = len(shop.events("smtp"))
    rows = {(r["check"], r["account"]): r for r in rows_of(shop)}
    for asked in (("smtp", ""), ("zendesk", ""), ("netcore", "shop-netcore"), ("meta", "shop-meta")):
        assert rows[asked]["ok"], rows[asked]
    assert "answers" in rows["smtp", ""]["detail"]
    assert rows["netcore", "shop-netcore"]["detail"].startswith("panel1: ")
    assert [e for e in shop.events("smtp")[sent:] if e["event"] == "mail"] == []


def test_a_desk_without_its_secret_is_not_asked_and_all_others_are(shop: Shop) -> None:
    secret = shop.config.parent / "secrets" / "jira"
    kept = secret.read_text(encoding="utf-8")
    secret.write_text("", encoding="utf-8")
    try:
        rows = rows_of(shop)
    finally:
        secret.write_text(kept, encoding="utf-8")
    (bad,) = [r for r in rows if not r["ok"]]
    assert bad["check"] == "secret" and bad["detail"].startswith("jira.token: ") and "To do: " in bad["detail"]
    assert {"slack", "zendesk", "smtp", "pro2"} <= {r["check"] for r in rows} and "jira" not in {
        r["check"] for r in rows
    }


async def test_a_remote_that_never_answers_is_told_after_a_bounded_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    async def down() -> None:
        raise Unavailable("slack", "", "could not connect", "look at the network")

    async def sick() -> bool:
        return False

    monkeypatch.setattr(questions, "PATIENCE_SECONDS", 0.05)
    asked = (Question("jira", never), Question("slack", down), Question("tessitura", sick, "harbor"))
    silent, broken, unwell = await answers(asked)
    assert (silent.ok, broken.ok, unwell.ok) == (False, False, False)
    assert silent.said.startswith("no answer within") and "To do: " in silent.said
    assert broken.said.endswith("could not connect. To do: look at the network")
    assert (unwell.account, unwell.said) == ("harbor", "not healthy")


@pytest.mark.parametrize(
    ("zone", "said"),
    [
        ("Europe/London", "; schedules that name no zone are in Europe/London, "
                          "the account's zone in the settings is America/New_York"),
        ("Mars/Olympus", "; its time zone Mars/Olympus is not known, "
                         "so schedules that name no zone are read in America/New_York"),
        ("America/New_York", "; schedules that name no zone are in America/New_York"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_bridge_whose_zone_is_not_the_accounts_is_told(zone: str, said: str) -> None:
    can = BridgeCapabilities(stop=True, account_time_zone=zone)
    assert offered(can, "America/New_York") == f"offers stop{said}"
