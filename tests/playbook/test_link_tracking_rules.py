"""The pure part of link tracking: how buttons, names and counts are classed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.case.link_tracking import classify, click_code, name_codes, read_templates, url_codes, url_state
from recovery.case.panel_ports import ClickCounts, TemplateButton
from recovery.playbook import State
from tests.playbook.play import HELP, SHOP, button, template

AT = datetime(2026, 3, 1, tzinfo=UTC)


def counts(delivered: int | None, total: int | None, unique: int | None) -> ClickCounts:
    return ClickCounts(AT, AT, delivered, delivered, total, unique)


@pytest.mark.requirement("R000.14")
@pytest.mark.parametrize(
    ("url", "kind", "malformed"),
    [
        (SHOP, "dynamic", False),
        ("https://shop.example/{{promo_code}}", "dynamic", False),
        ("https://shop.example/{{ 1 }}", "dynamic", False),
        (HELP, "static", False),
        ("https://shop.example/{1}", "static", True),
        ("https://shop.example/{{1}", "static", True),
        ("https://shop.example/{{}}", "static", True),
        ("https://shop.example/%7B%7B1%7D%7D", "static", False),
        ("", "static", False),
    ],
)
def test_a_url_is_dynamic_only_when_it_holds_a_placeholder(url: str, kind: str, malformed: bool) -> None:
    found = classify(button(url), "en")
    assert (found.kind, found.malformed) == (kind, malformed)


@given(st.text(alphabet=st.characters(blacklist_characters="{}"), max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_text_without_braces_is_ever_dynamic(text: str) -> None:
    assert classify(button(text), "en").kind == "static"


@pytest.mark.requirement("R000.14", "R000.15")
def test_carousel_cards_are_read_and_failing_buttons_named_by_language_card_and_text() -> None:
    rows = (template("de", buttons=(button(SHOP, "A", 0, 0), button(HELP, "Hilfe", 0, 1))),)
    reading = read_templates(rows)
    assert [b.place for b in reading.static] == ["de, card 2, button 1 “Hilfe”"]
    assert "mixed" in url_codes(reading, static_tracked=False)


@pytest.mark.requirement("R000.14")
def test_authentication_and_body_links_are_named_as_not_trackable() -> None:
    rows = (
        template("en", category="AUTHENTICATION", buttons=(TemplateButton(0, "OTP", "Copy"),)),
        template("de", bodies=("Sieh https://shop.example/x hier",)),
    )
    reading = read_templates(rows)
    assert reading.authentication == ("en",)
    assert reading.body_links == ("de: https://shop.example/x",)
    assert {"authentication", "body_links"} <= set(url_codes(reading, static_tracked=False))


@pytest.mark.requirement("R000.15", "R000.16")
def test_the_static_rule_belongs_to_the_provider() -> None:
    reading = read_templates((template("en", HELP),))
    assert url_state(url_codes(reading, static_tracked=False), complete=True) is State.FAIL
    assert url_state(url_codes(reading, static_tracked=True), complete=True) is State.PASS


@given(
    st.lists(st.lists(st.sampled_from([SHOP, HELP, "shop.example/{{1}}", "https://x.example/{1}"]), max_size=4)),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_pass_means_that_every_url_button_can_be_tracked(places: list[list[str]], static_tracked: bool) -> None:
    rows = tuple(
        template(f"l{n}", buttons=tuple(button(u, index=i) for i, u in enumerate(urls)))
        for n, urls in enumerate(places)
    )
    reading = read_templates(rows)
    state = url_state(url_codes(reading, static_tracked), complete=True)
    good = [b.scheme and not b.malformed and (static_tracked or b.kind == "dynamic") for b in reading.urls]
    assert (state is State.PASS) == (bool(good) and all(good))


@pytest.mark.requirement("R000.12", "R000.13")
@pytest.mark.parametrize(
    ("statuses", "complete", "wanted"),
    [
        ({}, True, ("not_found",)),
        ({}, False, ("incomplete",)),
        ({"en": "APPROVED"}, True, ("approved",)),
        ({"en": "APPROVED", "de": "REJECTED"}, True, ("not_approved", "approved")),
        ({"en": "SHINY_NEW_STATUS"}, True, ("unknown_status",)),
        ({"en": "ARCHIVED"}, True, ("not_approved",)),
    ],
)
def test_each_way_a_template_can_be_wrong_has_its_own_code(
    statuses: dict[str, str], complete: bool, wanted: tuple[str, ...]
) -> None:
    rows = tuple(template(language, status=status) for language, status in statuses.items())
    assert name_codes(rows, complete) == wanted


@pytest.mark.requirement("R000.13")
def test_two_templates_of_one_name_and_language_are_several() -> None:
    assert "several" in name_codes((template("en"), template("en", ref="other")), complete=True)


@pytest.mark.requirement("R000.20")
@pytest.mark.parametrize(
    ("told", "opted_out", "supported", "wanted"),
    [
        (counts(100, 0, 0), False, True, "zero_with_deliveries"),
        (counts(0, 0, 0), False, True, "zero_no_deliveries"),
        (counts(0, None, None), True, True, "zero_no_deliveries"),
        (counts(100, 3, 2), False, True, "clicks_seen"),
        (counts(100, None, 2), False, True, "clicks_seen"),
        (counts(100, None, None), False, True, "absent"),
        (counts(100, None, None), True, True, "opted_out"),
        (counts(None, None, None), False, True, "absent"),
        (None, False, False, "unsupported"),
        (None, True, False, "opted_out"),
    ],
)
def test_zero_absent_unsupported_and_opted_out_stay_apart(
    told: ClickCounts | None, opted_out: bool, supported: bool, wanted: str
) -> None:
    assert click_code(told, opted_out, supported) == wanted
