"""Intake, the checks, what a person attests, and the evidence that each leaves behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from recovery.case.case import blocks_done
from recovery.case.casework import attach, attest, give_fields, look_up, open_case, run_checks
from recovery.case.link_witnesses import WITNESSES
from recovery.case.panel_ports import Panel, PanelCapabilities
from recovery.errors import ConfigError, LedgerConflict, RefusedError, Unavailable, UsageError
from recovery.playbook import ReasonKind, State
from tests.playbook.play import FIELDS, HELP, PNG, SHOP, Table, ToldPanel, button, template

NETCORE = PanelCapabilities(template_read=True)


@pytest.mark.requirement("R000.1", "R000.2", "R000.3", "R000.4")
@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, [("template_name",), ("campaign_ref", "journey_ref")]),
        ({"template_name": "a"}, [("campaign_ref", "journey_ref")]),
        ({"template_name": "a", "journey_ref": " "}, [("campaign_ref", "journey_ref")]),
        ({"journey_ref": "J-1"}, [("template_name",)]),
        ({"template_name": "a", "campaign_ref": "C-1"}, []),
        ({"template_name": "a", "journey_ref": "J-1"}, []),
    ],
)
async def test_intake_asks_for_exactly_what_is_missing(
    tmp_path: Path, given: dict[str, str], asked: list[tuple[str, ...]]
) -> None:
    table = Table(tmp_path)
    opened = await open_case(table.office, table.playbook, "harbor", given, "Ann")
    assert [a.fields for a in opened.asks] == asked


@pytest.mark.requirement("R000.4")
async def test_with_fields_missing_nothing_is_read_until_they_are_given(tmp_path: Path) -> None:
    table = Table(tmp_path)
    opened = await open_case(table.office, table.playbook, "harbor", {"template_name": "spring_offer"}, "Ann")
    table.ref = opened.case.ref
    asked = await table.run()
    assert (table.panel.reads, asked.diagnosis, len(asked.asks)) == ([], None, 1)
    await give_fields(table.office, table.playbook, table.ref, {"journey_ref": "J-1"}, "Ann")
    assert (await table.run()).diagnosis is not None
    assert (await table.case()).fields["journey_ref"] == "J-1"


async def test_an_unknown_field_is_refused(tmp_path: Path) -> None:
    table = Table(tmp_path)
    with pytest.raises(UsageError, match="no field 'colour'"):
        await open_case(table.office, table.playbook, "harbor", {"colour": "red"}, "Ann")


async def test_two_people_who_open_the_same_complaint_arrive_at_one_case(tmp_path: Path) -> None:
    table = Table(tmp_path)
    first = await table.open()
    second = await open_case(table.office, table.playbook, "harbor", FIELDS, "Bob")
    assert second.case.ref == first.case.ref
    assert (second.case.opened_by, table.kinds()) == ("Ann", ["opened"])


@pytest.mark.requirement("R000.5", "R000.49")
async def test_both_blocks_are_done_and_recorded_whatever_the_reporter_says(tmp_path: Path) -> None:
    table = Table(tmp_path)
    await table.run(customer_says="We have checked everything, the panel is on.")
    done = blocks_done(table.playbook, await table.case())
    assert [(b.block, b.by, b.open) for b in done] == [
        ("initial", ("allclear",), ()),
        ("troubleshooting", ("allclear",), ()),
    ]
    assert all(b.done_at is not None for b in done)
    assert table.panel.reads == ["setting", "templates", "campaign", "clicks"]


@pytest.mark.requirement("R000.6")
@pytest.mark.parametrize(("tracking", "state"), [("on", State.PASS), ("off", State.FAIL), ("unknown", State.UNKNOWN)])
async def test_the_panels_setting_is_on_off_or_unknown(tmp_path: Path, tracking: str, state: State) -> None:
    table = Table(tmp_path, ToldPanel(tracking=tracking))
    await table.run()
    assert (await table.case()).results["panel"].state is state


@pytest.mark.requirement("R000.7")
@pytest.mark.parametrize("mapped", [(), ("p1", "p2")])
async def test_no_panel_or_several_for_the_account_is_an_error_and_no_pass(
    tmp_path: Path, mapped: tuple[str, ...]
) -> None:
    panels = tuple(Panel("harbor", "netcore", ref, "https://panel.example") for ref in mapped)
    table = Table(tmp_path, panels=panels or (Panel("other", "netcore", "p1", "https://panel.example"),))
    outcome = await table.run()
    result = (await table.case()).results["panel"]
    assert (result.state, result.codes) == (State.ERROR, ("setup",))
    assert outcome.diagnosis is not None
    assert not outcome.diagnosis.complete
    assert outcome.diagnosis.codes == ("panel_not_known",)


@pytest.mark.requirement("R000.8", "R000.9", "E.3", "E.4")
async def test_without_an_api_a_person_is_led_to_the_page_and_the_state_stays_unknown(tmp_path: Path) -> None:
    table = Table(tmp_path, ToldPanel(can=NETCORE))
    outcome = await table.run()
    assert outcome.diagnosis is not None
    step = next(s for s in outcome.diagnosis.steps if s.check == "panel")
    assert step.menu_path == "CPaaS panel > Settings > General Settings > Link Tracking"
    assert step.link == "https://panel.example/settings/general#link-tracking"
    assert [value for value, _ in step.choices] == ["on", "off"]
    assert (await table.case()).results["panel"].state is State.UNKNOWN
    # A screenshot alone fills the slot and answers nothing.
    case = await attach(
        table.office, table.playbook, table.ref, check_id="panel", slot="panel", title="seen", by="Ann", content=PNG
    )
    assert (case.results["panel"].state, case.filled("panel")) == (State.UNKNOWN, {"panel"})


@pytest.mark.requirement("E.4", "R000.9", "R000.8")
async def test_an_attestation_is_signed_by_a_named_person_and_answers_the_check(tmp_path: Path) -> None:
    table = Table(tmp_path, ToldPanel(can=NETCORE))
    await table.run()
    await attest(
        table.office,
        table.playbook,
        table.ref,
        check_id="panel",
        choice="on",
        by="Ann",
        statement="the switch is green",
        upload=PNG,
    )
    case = await table.case()
    result = case.results["panel"]
    assert (result.state, result.by, result.codes) == (State.PASS, "Ann", ("on",))
    signed = next(e for e in case.evidence if e.kind == "attestation")
    assert len(signed.signature) == 64
    assert b"statement: the switch is green" in await table.store.get(signed.digest)
    assert case.filled("panel") == {"panel"}
    # Asking the API again in vain does not undo what the person saw.
    await table.run()
    assert (await table.case()).results["panel"].by == "Ann"


async def test_what_an_api_answered_is_not_overruled_by_an_attestation(tmp_path: Path) -> None:
    table = Table(tmp_path, ToldPanel(tracking="off"))
    await table.run()
    with pytest.raises(RefusedError, match="answered by"):
        await attest(table.office, table.playbook, table.ref, check_id="panel", choice="on", by="Ann", statement="on")


@pytest.mark.parametrize(
    ("choice", "by", "statement", "said"),
    [("maybe", "Ann", "x", "no answer 'maybe'"), ("on", " ", "x", "name is needed"), ("on", "Ann", " ", "statement")],
)
async def test_an_attestation_needs_a_known_answer_a_name_and_a_statement(
    tmp_path: Path, choice: str, by: str, statement: str, said: str
) -> None:
    table = Table(tmp_path, ToldPanel(can=NETCORE))
    await table.run()
    with pytest.raises(UsageError, match=said):
        await attest(
            table.office, table.playbook, table.ref, check_id="panel", choice=choice, by=by, statement=statement
        )


@pytest.mark.requirement("R000.17", "R000.18")
async def test_the_two_url_slots_hold_real_examples_or_marked_illustrations(tmp_path: Path) -> None:
    table = Table(tmp_path, ToldPanel(rows=(template("de", SHOP),)))
    await table.run()
    case = await table.case()
    card = next(e for e in case.evidence if e.kind == "card" and e.check == "url_type")
    html = (await table.store.get(card.digest)).decode()
    assert "de, button 1 “Button 0”: https://shop.example/offer?code={{1}}" in html
    assert "illustration, not this template: a static URL, which will not be tracked for clicks" in html
    assert case.filled("url_type") == {"dynamic", "static"}


@pytest.mark.requirement("R000.16")
async def test_the_static_rule_is_stated_with_provider_and_version(tmp_path: Path) -> None:
    table = Table(tmp_path, ToldPanel(rows=(template("en", HELP),)))
    outcome = await table.run()
    assert outcome.diagnosis is not None
    text = outcome.diagnosis.of(ReasonKind.INFORM_CLIENT)[0].client_text
    assert "Static URLs are not tracked as per current product functionality (rule of Netcore CPaaS, version 1)" in text


@pytest.mark.requirement("R000.19")
@pytest.mark.parametrize(("used", "code"), [("spring_offer", "same_template"), ("Spring_Offer", "other_template")])
async def test_the_campaigns_template_is_compared_letter_by_letter(tmp_path: Path, used: str, code: str) -> None:
    panel = ToldPanel()
    assert panel.use is not None
    panel.use = replace(panel.use, template_name=used)
    table = Table(tmp_path, panel)
    await table.run()
    assert (await table.case()).results["campaign"].codes == (code,)


@pytest.mark.requirement("E.1", "E.5", "E.6")
async def test_each_answer_is_kept_redacted_with_status_time_digest_and_trace(tmp_path: Path) -> None:
    table = Table(tmp_path)
    await table.run()
    case = await table.case()
    kept = [e for e in case.evidence if e.kind == "api" and e.check == "panel"]
    assert [(e.status, e.answer_digest, e.trace_ref) for e in kept] == [(200, "d" * 64, "trace-1")]
    body = (await table.store.get(kept[0].digest)).decode()
    everything = body + json.dumps([dict(line.data) for line in table.streams.lines[f"case/{table.ref}"]])
    assert "canary-secret-1" not in everything
    assert "4915112345678" not in everything
    assert '"op": "setting"' in body
    # The template list was read once and is evidence for every check that rests on it.
    assert {e.check for e in case.evidence if e.kind == "api"} >= {"template", "url_type", "clicks"}
    assert table.panel.reads.count("templates") == 1


@pytest.mark.requirement("E.1")
@pytest.mark.parametrize("op", ["setting", "templates", "campaign", "clicks"])
async def test_a_failing_witness_is_an_error_with_its_answer_kept_and_stops_no_other(tmp_path: Path, op: str) -> None:
    table = Table(tmp_path, ToldPanel(failing={op: Unavailable("meta", "harbor", f"{op}: answered 503")}))
    outcome = await table.run()
    case = await table.case()
    broken = {r.check for r in case.results.values() if r.state is State.ERROR}
    assert broken
    assert all("answered 503" in case.results[c].summary for c in broken)
    assert all(any(e.check == c and e.kind == "api" for e in case.evidence) for c in broken)
    assert set(case.results) == {c.id for c in table.playbook.checks}
    assert outcome.diagnosis is not None
    assert not outcome.diagnosis.complete
    assert not outcome.diagnosis.of(ReasonKind.ESCALATE)


async def test_a_date_that_is_none_is_an_error_of_that_check_alone(tmp_path: Path) -> None:
    table = Table(tmp_path, provider="meta")
    await table.run(sent_on="last week")
    results = (await table.case()).results
    assert results["coverage"].state is State.ERROR
    assert "YYYY-MM-DD" in results["coverage"].summary
    assert results["panel"].state is State.PASS


async def test_hostile_names_stay_text_in_the_card(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script>{account}"
    table = Table(tmp_path, ToldPanel(rows=(template("en", buttons=(button(HELP, bad),)),)))
    outcome = await table.run()
    case = await table.case()
    cards = [(await table.store.get(e.digest)).decode() for e in case.evidence if e.kind == "card"]
    assert not any("<script" in c for c in cards)
    assert outcome.diagnosis is not None
    assert any("{account}" in h.client_text for h in outcome.diagnosis.hits)


async def test_a_case_of_another_playbook_and_an_unknown_case_are_refused(tmp_path: Path) -> None:
    table = Table(tmp_path)
    await table.open()
    other = table.playbook.model_copy(update={"id": "another"})
    with pytest.raises(UsageError, match="belongs to playbook"):
        await look_up(table.office, other, table.ref)
    with pytest.raises(UsageError, match="there is no case"):
        await run_checks(table.office, table.playbook, "nope", registry=WITNESSES, sources={}, tape=table.tape)


async def test_a_step_on_a_case_that_moved_meanwhile_is_refused(tmp_path: Path) -> None:
    table = Table(tmp_path)
    await table.open()
    stale = await table.case()
    await give_fields(table.office, table.playbook, table.ref, {"since": "yesterday"}, "Bob")
    with pytest.raises(LedgerConflict):
        await table.office.add(stale, "fields", "Ann", {"fields": {}})


async def test_without_panels_set_up_every_check_says_so_and_none_passes(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.sources = {}
    await table.run()
    states = {r.state for r in (await table.case()).results.values()}
    assert states == {State.ERROR}


def test_config_error_is_no_remote_error() -> None:
    # A set-up mistake ends as "setup", a remote's failure as "unreadable"; the rules tell them apart.
    assert not issubclass(ConfigError, Unavailable)
