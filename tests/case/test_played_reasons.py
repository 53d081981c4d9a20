"""Every reason of the link-tracking playbook, played from the terminal against the panels of the estate."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import Any

import pytest

from sandbox.meta import HELP, SHOP, counted, template, url_button
from tests.case.shop import DANA, PLAYBOOK, Shop

SAME = {"campaign": "same"}
# What a person says where Netcore has no API.
SEEN = {"panel": "on", "campaign": "same", "message_flag": "set", "clicks": "zero"}


@dataclass(frozen=True)
class Play:
    """A complaint, what people attest, and every reason that must come of it."""

    account: str
    template: str
    reasons: set[str]
    says: dict[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()


PLAYS = {
    "nothing explains it": Play("shop-meta", "spring_offer", {"clicks_not_counted"}, SAME),
    "static only": Play("shop-netcore", "static_help", {"static_urls"}, SEEN),
    "static beside dynamic": Play("shop-netcore", "mixed_offer", {"some_static_urls", "clicks_not_counted"}, SEEN),
    "static card of a carousel": Play("shop-netcore", "carousel", {"some_static_urls", "clicks_not_counted"}, SEEN),
    "Meta counts static": Play("shop-meta", "static_help", {"clicks_not_counted"}, SAME),
    "no button": Play("shop-netcore", "words_only", {"no_url_button"}, SEEN),
    "no scheme": Play("shop-netcore", "no_scheme", {"url_without_scheme"}, SEEN),
    "not approved": Play("shop-netcore", "waiting", {"template_not_approved"}, SEEN),
    "a code to log in": Play("shop-meta", "login_code", {"authentication_template", "clicks_absent"}, SAME),
    "opted out": Play("shop-meta", "opted_out", {"template_opted_out"}, SAME),
    "nothing delivered": Play("shop-meta", "quiet_offer", {"nothing_delivered"}, SAME),
    "clicks are there": Play("shop-meta", "clicked_offer", {"not_reproduced"}, SAME),
    "no such template": Play("shop-meta", "Spring_Offer", {"template_not_found"}, SAME),
    "insights off": Play("shop-meta-2", "spring_offer", {"panel_off"}, {**SAME, "clicks": "zero"}),
    "sent long ago": Play("shop-meta", "mixed_offer", {"too_old"}, SAME, ("--field", "sent_on=2026-01-05")),
    "not reported in Europe": Play("shop-eu", "spring_offer", {"region_not_reported"}, SAME),
    "flag missing": Play("shop-netcore", "spring_offer", {"message_flag_missing"}, {**SEEN, "message_flag": "missing"}),
    "another template": Play("shop-netcore", "notice_001", {"other_template"}, {**SEEN, "campaign": "other"}),
    "panel off by a person": Play("shop-netcore", "notice_002", {"panel_off"}, {**SEEN, "panel": "off"}),
    "contradiction": Play(
        "shop-netcore", "notice_003", {"panel_off", "panel_contradicted"}, {**SEEN, "panel": "off", "clicks": "clicks"}
    ),
    "nobody has looked": Play("shop-netcore", "notice_004", {"panel_not_known", "clicks_unsupported"}),
    "broken placeholder": Play("shop-meta", "broken", {"malformed_placeholder"}, SAME),
    "two of one name": Play("shop-meta", "twice", {"template_ambiguous", "clicks_not_counted"}, SAME),
    "status of tomorrow": Play("shop-meta", "future", {"template_status_unknown"}, SAME),
    "panel off, static, no flag, other template": Play(
        "shop-netcore",
        "static_help",
        {"panel_off", "static_urls", "message_flag_missing", "other_template"},
        {"panel": "off", "campaign": "other", "message_flag": "missing", "clicks": "zero"},
        ("--field", "customer_says=we have checked everything"),
    ),
}


@pytest.fixture(scope="module", autouse=True)
def more_templates(shop: Shop) -> None:
    """What the demonstration's account has no template for."""
    account = shop.estate.state("meta").accounts["waba1"]
    go = url_button("Go", SHOP)
    account.templates += [
        template("9901", "broken", "en_US", [url_button("Go", "https://shop.example/{{1}")]),
        template("9902", "twice", "en_US", [go]),
        template("9903", "twice", "en_US", [go, url_button("Help", HELP)]),
        template("9904", "future", "en_US", [go], status="SHINY"),
    ]
    day = next(iter(account.points.values()))[0][0]
    account.points |= {ref: [(day, counted(100, 90, 0, 0))] for ref in ("9901", "9902", "9903", "9904")}


@pytest.mark.requirement(
    "R000.5", "R000.11", "R000.13", "R000.14", "R000.15", "R000.20", "R000.21", "R000.23", "R000.49"
)
@pytest.mark.parametrize("name", PLAYS)
def test_each_complaint_ends_with_exactly_its_causes(shop: Shop, name: str) -> None:
    play = PLAYS[name]
    number = f"C-{list(PLAYS).index(name)}"
    view = shop.open(play.account, play.template, *play.fields, campaign=number)
    view = shop.attest(view, play.says)
    assert {r["code"] for r in view["reasons"]} == play.reasons
    assert view["exit_code"] == 3, "somebody is always waited for: the client must be told"
    waiting = {c["id"] for c in view["checks"] if c["state"] in ("unknown", "error")}
    assert waiting == {check for b in view["blocks"] for check in b["open"]}
    assert all(b["by"] and bool(b["done_at"]) is not bool(b["open"]) for b in view["blocks"])


@pytest.mark.requirement("R000.31")
def test_the_plays_cover_every_reason_but_the_fallback() -> None:
    book = tomllib.loads((PLAYBOOK.parent / "link-tracking.toml").read_text(encoding="utf-8"))
    named = {r["code"] for r in book["reasons"]} - {book["fallback"]}
    assert named == set().union(*(p.reasons for p in PLAYS.values()))


def test_a_playbooks_id_in_place_of_a_command_opens_the_same_case_and_checks_it(shop: Shop) -> None:
    words = ("--account", "shop-meta", "--template", "static_help", "--campaign", "C-direct", *DANA)
    direct = shop.case("link-tracking", *words)
    assert direct["checks"] and direct["case"] == shop.case("open", "link-tracking", *words)["case"]
    assert "No such command" in shop.run("no-such-playbook", *words).output


@pytest.mark.requirement("R000.1", "R000.2", "R000.3", "R000.4")
def test_an_incomplete_complaint_is_asked_for_exactly_what_is_missing_and_nothing_is_read(shop: Shop) -> None:
    before = len(shop.events("meta"))
    view = shop.case("open", "link-tracking", "--account", "shop-meta", *DANA, "--check", exit_code=3)
    assert [m["fields"] for m in view["missing"]] == [["template_name"], ["campaign_ref", "journey_ref"]]
    assert view["checks"] == []
    assert len(shop.events("meta")) == before
    refused = shop.run("escalate", view["case"], "sme", *DANA)
    assert refused.exit_code == 1
    given = ("--field", "template_name=spring_offer", "--field", "journey_ref=J-1")
    assert shop.case("give", view["case"], *given, *DANA, exit_code=3)["missing"] == []


@pytest.mark.requirement("R000.6", "R000.7")
@pytest.mark.parametrize("account", ["shop-nowhere", "shop-meta"])
def test_a_panel_that_is_not_mapped_or_cannot_be_read_is_an_error_and_never_a_pass(shop: Shop, account: str) -> None:
    if account == "shop-meta":
        shop.fault("meta", "panel_setting", "401")
    view = shop.open(account, "spring_offer", campaign=f"C-{account}")
    states = {c["id"]: c["state"] for c in view["checks"]}
    assert states["panel"] == "error"
    assert "panel_not_known" in {r["code"] for r in view["reasons"]}
    assert not view["complete"]
    if account == "shop-meta":
        assert states["url_type"] == "pass", "one failed read does not stop the others"


@pytest.mark.requirement("R000.8", "E.1", "E.5")
def test_evidence_names_where_to_look_and_holds_no_secret(shop: Shop, tmp_path: Any) -> None:
    view = shop.open("shop-meta", "spring_offer", campaign="C-evidence")
    panel = next(c for c in view["checks"] if c["id"] == "panel")
    assert panel["menu_path"] == "CPaaS panel > Settings > General Settings > Link Tracking"
    assert panel["link"].startswith("https://panel.example/")
    assert {e["kind"] for e in view["evidence"]} == {"api", "card"}
    stored = b"".join(p.read_bytes() for p in shop.config.parent.glob("state/evidence/*/*"))
    assert b"is_enabled_for_insights" in stored
    assert shop.estate.state("meta").token.encode() not in stored
