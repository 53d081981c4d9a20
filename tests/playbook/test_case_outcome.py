"""The client's reply, offered settings, feedback, and the export."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest

from recovery.case.casework import attest
from recovery.case.export import export_case
from recovery.case.outcome import approve_reply, approve_setting, draft_reply, give_feedback, offers
from recovery.case.panel_ports import PanelCapabilities
from recovery.errors import AllclearError, RefusedError, UsageError
from tests.playbook.play import HELP, PNG, SHOP, Table, ToldPanel, template


async def off_and_mixed(tmp_path: Path, **options: object) -> Table:
    table = Table(tmp_path, ToldPanel(rows=(template("en", SHOP, HELP),), tracking="off"), **options)
    await table.run()
    return table


@pytest.mark.requirement("R000.22", "R000.23", "R000.24", "R000.11")
async def test_the_reply_tells_every_cause_and_carries_the_cards(tmp_path: Path) -> None:
    table = await off_and_mixed(tmp_path)
    draft = await draft_reply(table.office, table.playbook, table.ref)
    assert draft.reasons == ("panel_off", "some_static_urls")
    assert "switched off for your panel (p1)" in draft.paragraphs[0]
    assert "en, button 2 “Button 1” → https://shop.example/help" in draft.paragraphs[1]
    cards = [(await table.store.get(d)).decode() for d in draft.attachments]
    assert len(cards) == 2
    assert "Link tracking is enabled for the panel" in cards[0]
    assert not any("{" in p.replace(SHOP, "") or "[Reason" in p for p in draft.paragraphs)


@pytest.mark.requirement("R000.22")
async def test_a_reply_is_sent_only_as_it_was_read_and_once(tmp_path: Path) -> None:
    table = await off_and_mixed(tmp_path)
    draft = await draft_reply(table.office, table.playbook, table.ref)
    with pytest.raises(RefusedError, match="has changed"):
        await approve_reply(table.office, table.playbook, table.ref, "0" * 64, "Ann")
    first = await approve_reply(table.office, table.playbook, table.ref, draft.digest, "Ann")
    again = await approve_reply(table.office, table.playbook, table.ref, draft.digest, "Bob")
    assert first == again
    assert (first.object_ref, first.payload["public"]) == ("4711", True)
    assert table.kinds().count("reply_approved") == 1


@pytest.mark.requirement("R000.5", "R000.22")
async def test_no_reply_while_a_required_check_is_open(tmp_path: Path) -> None:
    table = Table(tmp_path, ToldPanel(rows=(template("en", HELP),), tracking="unknown"))
    await table.run()
    with pytest.raises(RefusedError, match="still open: panel"):
        await draft_reply(table.office, table.playbook, table.ref)
    await attest(table.office, table.playbook, table.ref, check_id="panel", choice="off", by="Ann", statement="off")
    assert (await draft_reply(table.office, table.playbook, table.ref)).reasons == ("panel_off", "static_urls")


@pytest.mark.requirement("R000.10")
@pytest.mark.parametrize(
    ("provider", "offer", "irreversible"), [("netcore", "panel-on-netcore", False), ("meta", "panel-on-meta", True)]
)
async def test_the_panels_switch_is_offered_with_its_consequences_and_only_to_a_named_approver(
    tmp_path: Path, provider: str, offer: str, irreversible: bool
) -> None:
    table = await off_and_mixed(tmp_path, provider=provider)
    offered = await offers(table.office, table.playbook, table.ref)
    assert [(o.id, o.irreversible) for o in offered] == [(offer, irreversible)]
    assert "setting_approved" not in table.kinds()

    async def approve(by: str, *, read: bool = True, wanted: str = offer) -> object:
        return await approve_setting(
            table.office, table.playbook, table.ref, wanted, by=by, approvers=["Olga"], consequences_read=read
        )

    for wrong in (approve("Ann"), approve("Olga", read=False), approve("Olga", wanted="template-opt-in")):
        with pytest.raises(RefusedError):
            await wrong
    effect = await approve("Olga")
    assert effect.payload["by_hand"] is True
    assert effect.payload["approved_by"] == "Olga"
    assert (await table.case()).settings == {offer: "Olga"}


@pytest.mark.requirement("R000.10")
async def test_nothing_is_offered_while_the_panel_is_on(tmp_path: Path) -> None:
    table = Table(tmp_path)
    await table.run()
    assert await offers(table.office, table.playbook, table.ref) == ()


@pytest.mark.requirement("R000.48")
async def test_feedback_is_stored_against_the_version_and_the_form_is_named(tmp_path: Path) -> None:
    table = await off_and_mixed(tmp_path)
    case = await give_feedback(table.office, table.playbook, table.ref, "Step 1 was unclear", "Ann")
    assert [(f.version, f.answer, f.by) for f in case.feedback] == [("1", "Step 1 was unclear", "Ann")]
    with pytest.raises(UsageError) as empty:
        await give_feedback(table.office, table.playbook, table.ref, " ", "Ann")
    assert table.playbook.feedback.url in empty.value.hint


async def played(tmp_path: Path) -> Table:
    table = Table(tmp_path, ToldPanel(can=PanelCapabilities(template_read=True)))
    await table.run()
    await attest(
        table.office,
        table.playbook,
        table.ref,
        check_id="panel",
        choice="on",
        by="Ann",
        statement="on; call me at +49 151 12345678",
        upload=PNG,
    )
    return table


@pytest.mark.requirement("E.6", "E.5")
async def test_the_export_holds_everything_with_digests_and_is_the_same_each_time(tmp_path: Path) -> None:
    table = await played(tmp_path)
    case = await table.case()
    content = await export_case(table.store, table.playbook, case)
    assert content == await export_case(table.store, table.playbook, case)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(files["manifest.json"])
    assert set(manifest) == set(files) - {"manifest.json"}
    assert all(hashlib.sha256(files[name]).hexdigest() == digest for name, digest in manifest.items())
    assert len([n for n in files if n.startswith("evidence/")]) == len(case.evidence)
    timeline = json.loads(files["case.json"])["timeline"]
    assert [e["seq"] for e in timeline] == list(range(1, len(timeline) + 1))
    assert not any(b"12345678" in c or b"canary" in c for c in files.values())


@pytest.mark.requirement("E.6")
async def test_evidence_that_was_changed_or_lost_makes_the_export_fail(tmp_path: Path) -> None:
    table = await played(tmp_path)
    case = await table.case()
    path = tmp_path / "evidence" / case.evidence[0].digest[:2] / case.evidence[0].digest
    path.chmod(0o600)
    path.write_bytes(b"something else")
    with pytest.raises(AllclearError, match="was changed after it was stored"):
        await export_case(table.store, table.playbook, case)
    path.unlink()
    with pytest.raises(AllclearError, match="is not in"):
        await export_case(table.store, table.playbook, case)
