"""A played case for each reason, every pair of causes mixed, and the decision table of the source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from recovery.case.casework import attest
from recovery.case.panel_ports import CampaignUse, PanelCapabilities
from recovery.playbook import ReasonKind
from tests.playbook.play import HELP, SHOP, Table, ToldPanel, link_tracking, template

Change = Callable[[ToldPanel], None]


def rows(*found: object) -> Change:
    def change(panel: ToldPanel) -> None:
        panel.rows = found

    return change


def told(**facts: object) -> Change:
    def change(panel: ToldPanel) -> None:
        for name, value in facts.items():
            setattr(panel, name, value)

    return change


def each_row(**facts: object) -> Change:
    def change(panel: ToldPanel) -> None:
        panel.rows = tuple(replace(r, **facts) for r in panel.rows)

    return change


def use(**facts: object) -> Change:
    def change(panel: ToldPanel) -> None:
        assert panel.use is not None
        panel.use = replace(panel.use, **facts)

    return change


# What makes each reason apply, starting from a panel on which only "clicks are not counted" would.
PLAYED: dict[str, tuple[Change, dict[str, object], dict[str, str]]] = {
    "panel_off": (told(tracking="off"), {}, {}),
    "static_urls": (rows(template("en", HELP)), {}, {}),
    "some_static_urls": (rows(template("en", SHOP, HELP)), {}, {}),
    "no_url_button": (rows(template("en", buttons=())), {}, {}),
    "authentication_template": (each_row(category="AUTHENTICATION"), {}, {}),
    "url_without_scheme": (rows(template("en", "shop.example/{{1}}")), {}, {}),
    "malformed_placeholder": (rows(template("en", "https://shop.example/{{1}")), {}, {}),
    "template_not_approved": (each_row(status="PAUSED"), {}, {}),
    "template_not_found": (rows(), {}, {}),
    "template_ambiguous": (rows(template("en"), template("en", ref="t2")), {}, {}),
    "template_status_unknown": (each_row(status="BRAND_NEW"), {}, {}),
    "template_opted_out": (each_row(opted_out=True), {"provider": "meta"}, {}),
    "message_flag_missing": (use(link_flag=False), {}, {}),
    "other_template": (use(template_name="autumn_offer"), {}, {}),
    "too_old": (told(), {"provider": "meta"}, {"sent_on": "2025-06-01"}),
    "region_not_reported": (told(), {"provider": "meta", "regions": ("JP",)}, {}),
    "clicks_not_counted": (told(), {}, {}),
    "nothing_delivered": (told(counts=(0, 0, 0)), {}, {}),
    "not_reproduced": (told(counts=(1000, 12, 9)), {}, {}),
    "panel_contradicted": (told(tracking="off", counts=(1000, 12, 9)), {}, {}),
    "panel_not_known": (told(tracking="unknown"), {}, {}),
    "clicks_absent": (told(counts=(1000, None, None)), {}, {}),
    "clicks_unsupported": (told(can=PanelCapabilities(True, True, True, False, True)), {}, {}),
    "unexplained": (told(use=CampaignUse("spring_offer", None, True)), {}, {}),
}


async def play(tmp_path: Path, *names: str) -> Table:
    panel, options, fields = ToldPanel(), {}, {}
    for name in names:
        change, more, given = PLAYED[name]
        change(panel)
        options |= more
        fields |= given
    table = Table(tmp_path, panel, **options)
    await table.run(**fields)
    return table


@pytest.mark.requirement("R000.13", "R000.20", "R000.21", "R000.23")
@pytest.mark.parametrize("name", [n for n in PLAYED if n != "unexplained"])
async def test_each_reason_is_reached_by_a_played_case(tmp_path: Path, name: str) -> None:
    table = await play(tmp_path, name)
    assert name in (await table.case()).reasons


def test_every_reason_of_the_playbook_is_played() -> None:
    assert set(PLAYED) == {r.code for r in link_tracking().reasons}


async def test_when_all_is_answered_and_no_rule_fits_the_fallback_is_named(tmp_path: Path) -> None:
    table = Table(tmp_path)
    kept = tuple(r for r in table.playbook.rules if r.reason == "panel_off")
    table.playbook = table.playbook.model_copy(update={"rules": kept})
    await table.run()
    assert (await table.case()).reasons == ("unexplained",)


URLS = ("static_urls", "some_static_urls", "no_url_button", "url_without_scheme", "malformed_placeholder")
CAUSES = (
    *URLS,
    "template_ambiguous",
    "panel_off",
    "message_flag_missing",
    "other_template",
    "template_not_approved",
    "template_status_unknown",
    "region_not_reported",
    "too_old",
    "template_opted_out",
    "authentication_template",
)
"""Those that set the template's rows first, so that the ones that change rows find them."""

NETCORE_ONLY = {"message_flag_missing", "some_static_urls", "static_urls"}
META_ONLY = {"region_not_reported", "template_opted_out", "too_old"}
ONE_OF = (
    {*URLS, "template_ambiguous"},  # each is a template of its own here; their mixture has a test of its own
    {*URLS, "authentication_template"},  # an authentication template has no URL button
    {"template_not_approved", "template_status_unknown"},  # one status each
)


def can_meet(one: str, other: str) -> bool:
    """Causes of different providers cannot meet, nor can two that are the same thing in different states."""
    pair = {one, other}
    if pair & NETCORE_ONLY and pair & META_ONLY:
        return False
    return not any(pair <= group for group in ONE_OF)


@pytest.mark.requirement("R000.11")
@pytest.mark.parametrize(("one", "other"), [p for p in combinations(CAUSES, 2) if can_meet(*p)])
async def test_two_causes_are_reported_together(tmp_path: Path, one: str, other: str) -> None:
    table = await play(tmp_path, one, other)
    found = set((await table.case()).reasons)
    assert {one, other} <= found
    assert "clicks_not_counted" not in found


@pytest.mark.requirement("R000.11", "R000.15")
async def test_every_fault_of_one_template_is_reported_at_once(tmp_path: Path) -> None:
    wrong = template("en", SHOP, HELP, "shop.example/{{1}}", "https://shop.example/{{2}")
    table = Table(tmp_path, ToldPanel(rows=(wrong, template("de", buttons=(), status="PAUSED"), wrong)))
    await table.run()
    faults = {"some_static_urls", "url_without_scheme", "malformed_placeholder"}
    assert set((await table.case()).reasons) >= {*faults, "template_not_approved", "template_ambiguous"}


@pytest.mark.requirement("R000.11", "R000.15", "R000.25")
@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (("panel_off", "static_urls"), {ReasonKind.INFORM_CLIENT}),
        (("static_urls",), {ReasonKind.INFORM_CLIENT}),
        (("some_static_urls",), {ReasonKind.INFORM_CLIENT, ReasonKind.ESCALATE}),
        (("clicks_not_counted",), {ReasonKind.ESCALATE}),
        (("nothing_delivered",), {ReasonKind.NOT_A_FAULT}),
        (("not_reproduced",), {ReasonKind.ASK_REPORTER}),
        (("panel_not_known",), {ReasonKind.HUMAN_STEP}),
        (("panel_off",), {ReasonKind.INFORM_CLIENT}),
    ],
)
async def test_the_decision_table_of_the_source(tmp_path: Path, names: tuple[str, ...], kinds: set[ReasonKind]) -> None:
    table = await play(tmp_path, *names)
    playbook = link_tracking()
    assert {playbook.reason(code).kind for code in (await table.case()).reasons} == kinds


@pytest.mark.requirement("R000.16")
async def test_static_buttons_are_no_cause_where_the_provider_counts_them(tmp_path: Path) -> None:
    table = Table(tmp_path, ToldPanel(rows=(template("en", HELP),)), provider="meta")
    await table.run()
    assert (await table.case()).reasons == ("clicks_not_counted",)


@pytest.mark.requirement("R000.6", "E.4")
async def test_a_person_who_finds_the_panel_on_completes_the_case(tmp_path: Path) -> None:
    table = await play(tmp_path, "panel_not_known")
    outcome = await attest(
        table.office, table.playbook, table.ref, check_id="panel", choice="on", by="Ann", statement="it is on"
    )
    assert outcome.diagnosis is not None
    assert (outcome.diagnosis.codes, outcome.diagnosis.complete) == (("clicks_not_counted",), True)


@pytest.mark.requirement("R000.12")
async def test_a_list_not_read_to_its_end_never_passes(tmp_path: Path) -> None:
    table = Table(tmp_path, ToldPanel(complete=False))
    outcome = await table.run()
    case = await table.case()
    assert not {case.results["template"].state, case.results["url_type"].state} & {"pass"}
    assert outcome.diagnosis is not None
    assert not outcome.diagnosis.complete


@pytest.mark.requirement("R000.21")
@pytest.mark.parametrize(
    ("sent_on", "regions", "reason"),
    [
        ("2025-12-01", ("US",), ""),  # ninety days ago to the day: not over
        ("2025-12-01T12:05:00+00:00", ("US",), ""),
        ("2025-12-01T11:59:59+00:00", ("US",), "too_old"),
        ("2025-11-30", ("US",), "too_old"),
        ("2026-02-20", ("US", "de"), "region_not_reported"),
        ("2026-02-20", ("eu",), "region_not_reported"),
        ("2026-02-20", ("CH",), ""),
    ],
)
async def test_age_and_region_are_told_to_the_day_and_to_the_country(
    tmp_path: Path, sent_on: str, regions: tuple[str, ...], reason: str
) -> None:
    """Over ninety days, by the latest moment at which it can have been sent; a member country is the EU."""
    table = Table(tmp_path, ToldPanel(), provider="meta", regions=regions)
    await table.run(sent_on=sent_on)
    assert {*(await table.case()).reasons} & {"too_old", "region_not_reported"} == ({reason} if reason else set())


@pytest.mark.requirement("R000.20")
async def test_total_and_unique_clicks_are_shown_apart(tmp_path: Path) -> None:
    table = await play(tmp_path, "not_reproduced")
    facts = (await table.case()).results["clicks"].facts
    assert (facts["clicks_total"], facts["clicks_unique"]) == ("12", "9")
    assert "21" not in facts.values()
