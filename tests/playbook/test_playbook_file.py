"""Playbooks as files: what loads, what is refused and how, and that a sister playbook needs no Python."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest

from recovery.case.casework import attest, open_case, run_checks
from recovery.case.link_witnesses import WITNESSES
from recovery.errors import ConfigError
from recovery.model import Remedy, Verdict
from recovery.playbook_file import find_playbook, load_playbook, read_toml
from recovery.witness import Tape
from tests.playbook.play import FOLDER, SITE, Table, link_tracking

SISTER = """
id = "web-message-not-visible"
version = "3"
title = "A web message is not visible"
fallback = "other"

[[prerequisites]]
field = "account_name"
label = "Account"
ask = "Which account?"
required = true

[[blocks]]
id = "look"
title = "Look"

[[checks]]
id = "published"
block = "look"
title = "The message is published"
witness = "ask_person"
menu_path = "Panel > Web messages"
question = "Is it published?"

[[checks.choices]]
value = "yes"
label = "It is published"
state = "pass"
code = "published"

[[checks.choices]]
value = "no"
label = "It is a draft"
state = "fail"
code = "draft"

[[rules]]
reason = "still_a_draft"
when.all = ["published:draft"]

[[reasons]]
code = "still_a_draft"
kind = "inform_client"
title = "It was never published"
client_text = "The message of {account_name} is still a draft."
resolution = "Inform the client."

[[reasons]]
code = "other"
kind = "escalate"
title = "No known cause"
client_text = "We are looking into it."
resolution = "Escalate."

[[stages]]
id = "sme"
title = "Expert"
kind = "escalate"
contacts = ["sme1"]
channel = "support"

[package]
expected = "The message shows."
observed = "It does not."

[references]
system = "zendesk"
query = "web message {account_name}"

[contacts.sme1]
name = "Expert"
address = "expert@support.example"

[channels]
support = "C0SUPPORT"

[feedback]
url = "https://forms.example/f"
question = "Helpful?"
"""


def write(tmp_path: Path, text: str, name: str = "web-message-not-visible") -> Path:
    path = tmp_path / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


async def test_a_sister_playbook_is_a_file_and_needs_no_python(tmp_path: Path) -> None:
    write(tmp_path, SISTER)
    playbook = find_playbook(tmp_path, "web-message-not-visible", WITNESSES)
    table = Table(tmp_path, playbook=playbook)
    opened = await open_case(table.office, playbook, "harbor", {}, "Ann")
    ref = opened.case.ref
    ran = await run_checks(table.office, playbook, ref, registry=WITNESSES, sources={}, tape=Tape())
    assert ran.diagnosis is not None
    assert [s.text for s in ran.diagnosis.steps] == ["Is it published?"]
    done = await attest(
        table.office, playbook, ref, check_id="published", choice="no", by="Ann", statement="the list says Draft"
    )
    assert done.diagnosis is not None
    assert [h.client_text for h in done.diagnosis.hits] == ["The message of harbor is still a draft."]


def test_the_shipped_playbook_names_every_unset_contact_and_channel(tmp_path: Path) -> None:
    path = write(tmp_path, (FOLDER / "link-tracking.toml").read_text(encoding="utf-8"), "link-tracking")
    with pytest.raises(ConfigError) as refused:
        load_playbook(path, WITNESSES)
    for name in ("contacts.sme1.address", "contacts.sre.name", "channels.cross_functional", "feedback.url"):
        assert f"{name} is not set" in str(refused.value)


@pytest.mark.requirement("R000.46")
@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("channels", "support", ""),
        ("channels", "support", "[Your respective channel within Support]"),
        ("channels", "cross_functional", " "),
        ("contacts", "sme2", {"name": "SME1 / SME2", "address": "x@y.example"}),
        ("contacts", "sre", {"address": ""}),
        ("feedback", "url", ""),
    ],
)
def test_an_unset_or_unfilled_channel_or_contact_fails_at_load(table: str, key: str, value: object) -> None:
    site: dict[str, Any] = copy.deepcopy(SITE)
    site[table][key] = value
    with pytest.raises(ConfigError, match=f"{table}.{key}"):
        load_playbook(FOLDER / "link-tracking.toml", WITNESSES, site)


def test_site_toml_beside_the_playbook_is_used(tmp_path: Path) -> None:
    path = write(tmp_path, (FOLDER / "link-tracking.toml").read_text(encoding="utf-8"), "link-tracking")
    (tmp_path / "site.toml").write_text((FOLDER / "site.example.toml").read_text(encoding="utf-8"), encoding="utf-8")
    assert load_playbook(path, WITNESSES).channels["support"] == "C0SUPPORT"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('version = "3"', 'version = "3"\ncolour = "red"', "colour: Extra inputs"),
        ("required = true", "requird = true", r"prerequisites\[0\].requird"),
        ('witness = "ask_person"', 'witness = "guess"', r"checks\[0\].witness: 'guess' is not registered"),
        ('block = "look"', 'block = "nowhere"', r"checks\[0\].block: there is no block"),
        ('"published:draft"', '"published:drafty"', r"rules\[0\].when.all: 'published:drafty' is nothing"),
        ('reason = "still_a_draft"', 'reason = "x"', r"rules\[0\].reason: there is no reason 'x'"),
        ('fallback = "other"', 'fallback = "none"', "fallback: there is no reason"),
        ("{account_name} is still", "{acount} is still", r"reasons\[0\].client_text: \{acount\} is neither"),
        ('contacts = ["sme1"]', 'contacts = ["boss"]', "contacts.boss is not set"),
        ('state = "pass"', 'state = "unknown"', "cannot be unknown"),
        ('client_text = "We are looking into it."', "", r"reasons\[1\]: Value error, a reason of kind escalate"),
        ('title = "A web message is not visible"', 'title = "[Reason 1]"', "title is not set"),
        ('menu_path = "Panel', 'deep_link = "http://x.example"\nmenu_path = "Panel', "deep_link: must be https"),
        ('id = "web-message-not-visible"', "id = ", "not valid TOML"),
    ],
)
def test_a_mistake_is_refused_with_the_fields_path(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = write(tmp_path, SISTER.replace(old, new, 1))
    with pytest.raises(ConfigError, match=said):
        load_playbook(path, WITNESSES)


def test_a_missing_file_and_a_path_as_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        find_playbook(tmp_path, "nothing", WITNESSES)
    with pytest.raises(ConfigError, match="not a playbook's id"):
        find_playbook(tmp_path, "../secrets", WITNESSES)


@pytest.mark.requirement("R000.31", "R000.48")
async def test_an_edit_counts_at_once_and_the_case_keeps_the_version_it_was_opened_with(tmp_path: Path) -> None:
    path = write(tmp_path, SISTER)
    table = Table(tmp_path)
    first = load_playbook(path, WITNESSES)
    opened = await open_case(table.office, first, "harbor", {}, "Ann")
    write(tmp_path, SISTER.replace('version = "3"', 'version = "4"').replace("still a draft", "not published"))
    second = load_playbook(path, WITNESSES)
    again = await open_case(table.office, second, "harbor", {}, "Bob")
    assert (again.case.ref, again.case.version, second.version) == (opened.case.ref, "3", "4")
    assert "not published" in second.reason("still_a_draft").client_text
    assert first.digest != second.digest


@pytest.mark.requirement("R000.31")
def test_no_reason_is_called_reason_one() -> None:
    for reason in link_tracking().reasons:
        assert "[" not in reason.title + reason.client_text + reason.resolution


@pytest.mark.requirement(
    "R001.3", "R001.9", "R001.18", "R001.19", "R001.26", "R001.31", "R001.32", "R001.33", "R001.36"
)
@pytest.mark.parametrize(
    ("kind", "verdict", "code", "remedy"),
    [
        ("campaign", "missed", "waiting", "monitor"),
        ("campaign", "missed", "empty_report", "resend"),
        ("campaign", "missed", "no_data", "resend"),
        ("campaign", "partial", "x", "hold"),
        ("campaign", "uncertain", "x", "hold"),
        ("integrated_import", "failed", "x", "reprocess"),
        ("integrated_import", "missed", "x", "repeat_import"),
        ("integrated_import", "stalled", "x", "reprocess"),
        ("data_sync_tag", "missed", "x", "tagged_import"),
        ("data_sync_tag", "stalled", "x", "tagged_import"),
        ("data_sync_tag", "failed", "sync_gap", "tagged_import"),
        ("scheduled_trigger", "missed", "x", "run_now"),
        ("scheduled_trigger", "failed", "x", "reprocess"),
        ("segment_transfer", "missed", "x", "hold"),
        ("eaddress_sync", "stalled", "x", "hold"),
        ("automation", "missed", "x", "hold"),
        ("campaign", "missed", "not_valid_any_more", "drop"),
        ("campaign", "uncertain", "paused_before", "none"),
    ],
)
def test_the_outage_table_decides_each_row_of_the_vendors_page(kind: str, verdict: str, code: str, remedy: str) -> None:
    rows = read_toml(FOLDER / "process-failure.toml")["decision"]
    assert isinstance(rows, list)
    hit = next(r for r in rows if r["kind"] in (kind, "*") and r["verdict"] == verdict and r["code"] in (code, "*"))
    assert hit["remedy"] == remedy


def test_every_row_of_the_outage_table_is_well_formed() -> None:
    table = tomllib.loads((FOLDER / "process-failure.toml").read_text(encoding="utf-8"))
    assert {"id", "version", "title", "source_note", "decision"} == set(table)
    for row in table["decision"]:
        assert row["remedy"] in {r.value for r in Remedy}
        assert row["verdict"] in {v.value for v in Verdict} - {"done"}
        assert row["why"].endswith(".")
        assert row["remedy"] != "hold" or (row["question"] and row["recommended"])


@pytest.mark.parametrize("kind", ["campaign", "scheduled_trigger"])
def test_what_somebody_stopped_is_asked_about_as_stopped_and_not_as_unknown(kind: str) -> None:
    """The logs were read and agree that it was stopped; a question that denies it sends people to look for nothing."""
    rows = read_toml(FOLDER / "process-failure.toml")["decision"]
    assert isinstance(rows, list)
    code = "stopped_by_someone"
    hit = next(r for r in rows if r["kind"] in (kind, "*") and r["verdict"] == "uncertain" and r["code"] in (code, "*"))
    assert hit["code"] == code and hit["remedy"] == "hold" and "not tell whether" not in hit["why"]
