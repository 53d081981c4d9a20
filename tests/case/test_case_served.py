"""Cases from the Prefect UI: the forms' steps, the page with its evidence cards, and the ledger they share."""

from __future__ import annotations

import asyncio
from typing import get_args

import pytest

from recovery.served.case import _STEPS, case_page, serve_case, serve_step
from recovery.served.forms import CaseForm, CaseStepForm
from tests.case.shop import Shop

HOSTILE = "spring <img src=x> [here](https://evil.example) | `x` @channel"


def form(shop: Shop, **more: str) -> CaseForm:
    given = {"account": "shop-meta", "opened_by": "Dana Reyes", "ticket_ref": shop.ticket, "sent_on": shop.sent_on}
    return CaseForm(**{**given, **more}, config=shop.config)  # type: ignore[arg-type]


@pytest.mark.requirement("R000.8", "E.2", "E.3")
def test_the_page_shows_a_card_for_each_check_and_the_same_case_is_seen_at_the_terminal(shop: Shop) -> None:
    page = asyncio.run(serve_case(form(shop, template_name="opted_out", campaign_ref="U-1")))
    assert (page.state, page.exit_code) == ("Held", 3)
    assert "template_opted_out" in page.title
    assert "CPaaS panel > Settings > General Settings > Link Tracking" in page.text
    assert page.text.count("API answer, SHA-256") == len(page.rows) == 8
    ref = page.title.split()[1].rstrip(":")
    assert [r["code"] for r in shop.case("show", ref)["reasons"]] == ["template_opted_out"]


def test_a_case_is_taken_to_its_end_by_steps_of_the_form(shop: Shop) -> None:
    page = asyncio.run(serve_case(form(shop, template_name="clicked_offer", campaign_ref="U-2")))
    ref = page.title.split()[1].rstrip(":")

    def take(**step: str) -> str:
        given = CaseStepForm(case=ref, by="Ann Lee", config=shop.config, **step)  # type: ignore[arg-type]
        page = asyncio.run(serve_step(given))
        return f"{page.state}\n{page.text}"

    take(step="attest", what="campaign", choice="same", text="the name is the same")
    told = len(shop.comments())
    digest = shop.case("reply", ref)["reply"]["digest"]
    assert digest in take(step="reply")
    assert take(step="approve_reply", what=digest).startswith("All clear")
    assert [c["public"] for c in shop.comments()[told:]] == [True]
    assert "Found" in take(step="feedback", text="good")


def test_what_is_missing_is_the_page(shop: Shop) -> None:
    page = asyncio.run(serve_case(form(shop, template_name="spring_offer")))
    assert [r["missing"] for r in page.rows] == ["Please give the campaign's ID. Or: Please give the journey's ID."]


def test_names_from_outside_stay_text_on_the_page_and_out_of_its_title(shop: Shop) -> None:
    page = asyncio.run(serve_case(form(shop, template_name=HOSTILE, campaign_ref="U-3")))
    assert HOSTILE not in page.title
    for line in page.text.splitlines():
        outside = "".join(part for n, part in enumerate(line.split("`")) if n % 2 == 0)
        assert "<img" not in outside
        assert "](https://evil" not in outside


def test_every_step_of_the_form_is_taken() -> None:
    steps = CaseStepForm.model_fields["step"].annotation
    assert set(get_args(steps)) == set(_STEPS)


def test_a_case_that_waits_for_nobody_says_so() -> None:
    view = {
        "case": "c-1", "account": "a", "fields": {}, "missing": [], "reasons": [], "checks": [], "effects": [],
        "evidence": [], "next": [], "reply": None, "exit_code": 0,
        "playbook": {"title": "T"}, "feedback": {"question": "Q", "form": "https://forms.example/x"},
    }  # fmt: skip
    assert (case_page(view).title, case_page(view).state) == ("Case c-1: clear", "All clear")
