"""The escalation path: stages in order, the package, contacts, channels, child tickets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from recovery.case.casework import open_case
from recovery.case.escalation import build_package, escalate, post_to_channel, record_stage, resolve_escalation
from recovery.case.outcome import record_effect, search_references
from recovery.case.panel_ports import PanelCapabilities
from recovery.case.records import Effect, Reference
from recovery.errors import RefusedError, Unavailable, UsageError
from recovery.model import ActionKind
from tests.playbook.play import Table, ToldPanel


class Tickets:
    def __init__(self, *found: Reference, failing: bool = False) -> None:
        self.found = found
        self.failing = failing
        self.query = ""

    async def search(self, query: str, limit: int) -> tuple[Reference, ...]:
        self.query = query
        if self.failing:
            raise Unavailable("zendesk", "", "search: answered 503")
        return self.found[:limit]


async def search(table: Table, *found: Reference) -> None:
    await search_references(table.office, table.playbook, table.ref, Tickets(*found), "Ann")


async def stage(table: Table, stage_id: str, team: str, *, resolved: bool = False) -> tuple[Effect, ...]:
    return await record_stage(
        table.office, table.playbook, table.ref, stage_id=stage_id, team=team, resolved=resolved, note="seen", by="Ann"
    )


async def ready(tmp_path: Path, panel: ToldPanel | None = None, **fields: str) -> Table:
    """A case that may be escalated."""
    table = Table(tmp_path, panel)
    await table.run(**fields)
    await search(table)
    await stage(table, "business", "CSM")
    await stage(table, "helpdesk", "Helpdesk")
    return table


async def up(table: Table, stage_id: str = "cross_functional", **options: Any) -> Any:
    return await escalate(table.office, table.playbook, table.ref, stage_id=stage_id, by="Ann", **options)


@pytest.mark.requirement("R000.32", "R000.35")
async def test_a_stage_records_which_team_looked_and_who_said_so(tmp_path: Path) -> None:
    table = await ready(tmp_path)
    stages = (await table.case()).stages
    assert [(s.stage, s.team, s.by) for s in stages.values()] == [
        ("business", "CSM", "Ann"),
        ("helpdesk", "Helpdesk", "Ann"),
    ]
    with pytest.raises(UsageError) as refused:
        await stage(table, "business", "Sales")
    assert refused.value.hint == "one of: CRS, CSM, CSS, Onboarding"


@pytest.mark.requirement("R000.33", "R000.36")
async def test_a_stage_opens_only_when_the_ones_before_it_found_no_resolution(tmp_path: Path) -> None:
    table = Table(tmp_path)
    await table.run()
    await search(table)
    with pytest.raises(RefusedError, match="'business' has not been recorded"):
        await stage(table, "helpdesk", "Helpdesk")
    await stage(table, "business", "CRS")
    with pytest.raises(RefusedError, match="'helpdesk' has not been recorded"):
        await up(table, "sme")
    await stage(table, "helpdesk", "Helpdesk", resolved=True)
    with pytest.raises(RefusedError, match="has resolved the case"):
        await up(table, "sme")
    assert (await table.case()).resolved


@pytest.mark.requirement("R000.34")
@pytest.mark.parametrize(
    ("region", "address"),
    [
        ("NA", "care@netcorecloud.com"),
        ("us", "care@netcorecloud.com"),
        ("United States", "care@netcorecloud.com"),
        ("IN", "helpdesk@netcorecloud.com"),
    ],
)
async def test_the_hand_over_goes_to_the_desk_of_the_region_by_mail_alone(
    tmp_path: Path, region: str, address: str
) -> None:
    table = Table(tmp_path)
    await table.run(region=region)
    effects = await stage(table, "business", "CSM")
    assert [(e.kind, e.payload["to"]) for e in effects] == [(ActionKind.MAIL, [address])]


async def test_a_stage_that_resolves_the_case_hands_nothing_over(tmp_path: Path) -> None:
    table = Table(tmp_path)
    await table.run()
    assert await stage(table, "business", "CSM", resolved=True) == ()


@pytest.mark.requirement("R000.26", "R000.27", "R000.28", "R000.29")
async def test_the_package_states_the_problem_and_holds_logs_evidence_and_reference_cases(tmp_path: Path) -> None:
    table = await ready(tmp_path)
    opened = await up(table)
    child = next(e for e in opened.effects if e.kind is ActionKind.TICKET)
    said = child.payload["paragraphs"]
    assert isinstance(said, list)
    for line in (
        "Account: harbor",
        "Template: spring_offer",
        "Campaign ID: C-77",
        "Expected: Clicks on the URL buttons of template spring_offer are counted.",
        "Observed: 1000 delivered, clicks in total: 0, different people who clicked: 0.",
        "Since: 2026-02-20",
        "Reference cases: none found",
    ):
        assert line in said
    assert any(line.startswith("Logs: panel-api-1-") for line in said)
    assert any("panel-card-" in ref for ref in child.payload["evidence"])


@pytest.mark.requirement("R000.30")
async def test_an_escalation_with_a_missing_part_is_refused_by_name_and_an_override_is_recorded(tmp_path: Path) -> None:
    panel = ToldPanel(can=PanelCapabilities(template_read=True))
    table = Table(tmp_path, panel)
    await table.run(since="", sent_on="")
    await stage(table, "business", "CSM")
    await stage(table, "helpdesk", "Helpdesk")
    with pytest.raises(RefusedError) as refused:
        await up(table)
    for part in (
        "checks are still open: panel",
        "since when",
        "evidence: The panel's Link Tracking setting",
        "similar tickets have not been searched",
    ):
        assert part in str(refused.value)
    with pytest.raises(RefusedError):
        await up(table, override_reason="  ")
    opened = await up(table, override_reason="the client's launch is today")
    assert opened.override_reason == "the client's launch is today"
    sent = next(e for e in opened.effects if e.kind is ActionKind.TICKET).payload["paragraphs"]
    assert any(str(line).startswith("Missing, sent anyway: evidence: The panel's") for line in sent)


@pytest.mark.requirement("R000.27", "R000.30")
async def test_logs_count_as_missing_when_there_is_no_answer_and_no_file(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.panel.tape = None
    outcome = await table.run()
    package = build_package(table.playbook, outcome.case, outcome.diagnosis)
    assert "logs: no API answer is stored and none was attached" in package.missing


@pytest.mark.requirement("R000.4")
async def test_no_escalation_while_fields_are_missing(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.ref = (await open_case(table.office, table.playbook, "harbor", {"template_name": "x"}, "Ann")).case.ref
    with pytest.raises(RefusedError, match="campaign's ID"):
        await up(table, override_reason="urgent")


async def test_no_escalation_without_a_finding_that_calls_for_one(tmp_path: Path) -> None:
    table = await ready(tmp_path, ToldPanel(tracking="off"))
    with pytest.raises(RefusedError, match="no finding calls for an escalation"):
        await up(table)


@pytest.mark.requirement("R000.37", "R000.39", "R000.40", "R000.38")
async def test_the_cat_escalation_goes_to_the_first_expert_with_an_internal_note_and_a_post(tmp_path: Path) -> None:
    table = await ready(tmp_path)
    opened = await up(table, "sme")
    assert opened.contact == "First subject matter expert"
    note, mail, chat = opened.effects
    assert (note.kind, note.system, note.object_ref, note.payload["public"]) == (
        "ticket_comment",
        "zendesk",
        "4711",
        False,
    )
    assert mail.payload["to"] == ["sme-one@support.example"]
    assert (chat.kind, chat.object_ref) == (ActionKind.CHAT, "C0SUPPORT")


@pytest.mark.requirement("R000.38")
@pytest.mark.parametrize("absent", [("sme1",), ("First subject matter expert",)])
async def test_the_backup_is_used_when_the_first_expert_is_absent(tmp_path: Path, absent: tuple[str, ...]) -> None:
    table = await ready(tmp_path)
    assert (await up(table, "sme", absent=absent)).contact == "Backup subject matter expert"


async def test_with_every_expert_absent_the_escalation_is_refused(tmp_path: Path) -> None:
    table = await ready(tmp_path)
    with pytest.raises(RefusedError, match="every contact is absent"):
        await up(table, "sme", absent=("sme1", "sme2"))


@pytest.mark.requirement("R000.25", "R000.41", "R000.42")
async def test_the_cross_functional_escalation_opens_one_child_ticket_per_case_and_team(tmp_path: Path) -> None:
    table = await ready(tmp_path)
    first = await up(table)
    again = await up(table)
    children = [e for e in first.effects if e.kind is ActionKind.TICKET]
    assert [(c.system, c.payload["team"], c.payload["parent"]) for c in children] == [("jira", "SRE", "4711")]
    assert again == first
    assert table.kinds().count("escalated") == 1
    links = [e for e in first.effects if e.kind is ActionKind.TICKET_LINK]
    assert [e.payload["parent"] for e in links] == ["4711"]


@pytest.mark.requirement("R000.42")
async def test_two_people_who_escalate_at_once_open_one_escalation(tmp_path: Path) -> None:
    table = await ready(tmp_path)
    first, second = await asyncio.gather(up(table), up(table))
    assert first == second
    assert table.kinds().count("escalated") == 1


@pytest.mark.requirement("E.3")
async def test_tickets_carry_the_menu_path_and_the_deep_link(tmp_path: Path) -> None:
    table = await ready(tmp_path)
    for stage_id, kind in (("sme", ActionKind.TICKET_COMMENT), ("cross_functional", ActionKind.TICKET)):
        effect = next(e for e in (await up(table, stage_id)).effects if e.kind is kind)
        where = "Where to look: CPaaS panel > Settings > General Settings > Link Tracking "
        assert where + "https://panel.example/settings/general#link-tracking" in effect.payload["paragraphs"]


@pytest.mark.requirement("R000.44")
@pytest.mark.parametrize("order", [("sme", "cross_functional"), ("cross_functional", "sme")])
async def test_the_two_escalations_are_independent(tmp_path: Path, order: tuple[str, str]) -> None:
    table = await ready(tmp_path)
    for stage_id in order:
        await up(table, stage_id)
    assert set((await table.case()).escalations) == {"sme", "cross_functional"}


@pytest.mark.requirement("R000.43", "R000.34")
async def test_the_cross_functional_channel_is_refused_unless_an_escalation_is_open(tmp_path: Path) -> None:
    table = await ready(tmp_path)
    with pytest.raises(RefusedError, match="only for escalations"):
        await post_to_channel(table.office, table.playbook, table.ref, "cross_functional", "hello", "Ann")
    await up(table, "sme")
    with pytest.raises(RefusedError, match="only for escalations"):
        await post_to_channel(table.office, table.playbook, table.ref, "cross_functional", "hello", "Ann")
    await up(table)
    posted = await post_to_channel(table.office, table.playbook, table.ref, "cross_functional", "news", "Ann")
    assert (posted.object_ref, posted.payload["text"]) == ("C0CROSS", "news")
    await resolve_escalation(
        table.office,
        table.playbook,
        table.ref,
        stage_id="cross_functional",
        note="fixed",
        client_text="Fixed.",
        by="SRE",
    )
    with pytest.raises(RefusedError):
        await post_to_channel(table.office, table.playbook, table.ref, "cross_functional", "late", "Ann")


@pytest.mark.requirement("R000.45")
async def test_a_resolved_child_updates_the_parent_and_tells_the_client_without_internal_detail(tmp_path: Path) -> None:
    table = await ready(tmp_path)
    opened = await up(table)
    child = next(e for e in opened.effects if e.kind is ActionKind.TICKET)
    await record_effect(table.office, table.ref, child, "SRE-12")
    await record_effect(table.office, table.ref, child, "SRE-12")
    assert table.kinds().count("effect_done") == 1
    noted, told = await resolve_escalation(
        table.office,
        table.playbook,
        table.ref,
        stage_id="cross_functional",
        note="redirect host was down, SRE-12",
        client_text="Clicks are counted again.",
        by="SRE",
    )
    assert (noted.object_ref, noted.payload["public"]) == ("4711", False)
    assert (told.payload["public"], told.payload["paragraphs"]) == (True, ["Clicks are counted again."])
    case = await table.case()
    assert (case.resolved, case.done[child.ref]) == (True, "SRE-12")
    with pytest.raises(RefusedError, match="no open escalation"):
        await resolve_escalation(
            table.office, table.playbook, table.ref, stage_id="cross_functional", note="", client_text="x", by="SRE"
        )


@pytest.mark.requirement("R000.29", "R000.47")
async def test_reference_tickets_are_listed_without_the_cases_own(tmp_path: Path) -> None:
    table = Table(tmp_path)
    await table.run()
    tickets = Tickets(Reference("4711", "this one", ""), Reference("3000", "Clicks missing", "https://z.example/3000"))
    await search_references(table.office, table.playbook, table.ref, tickets, "Ann")
    case = await table.case()
    assert case.reference_refs == ("3000",)
    assert tickets.query == "whatsapp clicks tracked spring_offer harbor"
    assert case.references is not None
    assert case.references.said == "3000 Clicks missing"


@pytest.mark.requirement("R000.29")
async def test_a_failed_search_is_not_none_found(tmp_path: Path) -> None:
    table = Table(tmp_path)
    await table.run()
    with pytest.raises(Unavailable):
        await search_references(table.office, table.playbook, table.ref, Tickets(failing=True), "Ann")
    assert (await table.case()).references is None


async def test_a_verification_is_not_escalated_and_an_escalation_not_recorded_as_a_stage(tmp_path: Path) -> None:
    table = await ready(tmp_path)
    with pytest.raises(UsageError, match="not an escalation"):
        await up(table, "business")
    with pytest.raises(UsageError, match="not a verification"):
        await stage(table, "sme", "SME")
