"""A reading is a file of what the dashboard shows; anything that is not clear in it is refused by name."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrations.assisted import check_reading
from recovery.errors import AllclearError, BadReply, UsageError
from recovery.readings import parse_reading
from recovery.served.forms import TaskForm
from recovery.served.task import as_markdown, serve_task
from tests.assisted.person import Person, assist
from tests.assisted.test_assisted_mode import failed_import
from tests.recovery.stage import night, stage

TOML = b"""
account = "harbor"
read_at = 2026-11-01T08:30:00Z
covers_from = 2026-10-30T00:00:00Z
complete = true
console = []
[[activity_log]]
run_id = "88213"
definition_id = "imp"
state = "failed"
requested_by = "schedule"
started_at = 2026-11-01T05:10:00Z
counts = { returned = 4, updated = 0, errored = 4 }
"""
CSV = b"""# account: harbor
# read_at: 2026-11-01T08:30:00Z
# covers_from: 2026-10-30T00:00:00Z
# complete: true
log,run_id,definition_id,state,requested_by,started_at,returned,updated,errored
activity_log,88213,imp,failed,schedule,2026-11-01T05:10:00Z,4,0,4
"""


def test_toml_json_and_csv_say_the_same():
    toml = parse_reading("a.toml", TOML, "harbor")
    table = parse_reading("a.csv", CSV, "harbor")
    as_json = {
        "account": "harbor",
        "read_at": "2026-11-01T08:30:00Z",
        "covers_from": "2026-10-30T00:00:00Z",
        "complete": True,
        "activity_log": [dict(toml.parts["activity_log"]["rows"][0])],
        "console": [],
    }
    whole = parse_reading("a.json", json.dumps(as_json).encode(), "harbor")
    for upload in (toml, table, whole):
        check_reading("harbor", upload.parts)
        assert upload.read_at == toml.read_at
        assert upload.parts["console"]["rows"] == []
        (run,) = upload.parts["activity_log"]["rows"]
        assert run["run_id"] == "88213" and run["state"] == "failed"


def test_a_run_without_an_id_is_called_by_its_definition_and_start():
    upload = parse_reading("a.csv", CSV.replace(b"88213", b""), "harbor")
    (run,) = upload.parts["activity_log"]["rows"]
    assert run["run_id"] == "imp@2026-11-01T05:10:00Z"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ((b"harbor", b"orchard"), "orchard"),
        ((b"read_at = 2026-11-01T08:30:00Z", b"read_at = 2026-11-01T08:30:00"), "time zone"),
        ((b"read_at = 2026-11-01T08:30:00Z", b""), "read_at"),
        ((b"covers_from = 2026-10-30T00:00:00Z", b""), "covers_from"),
        ((b"complete = true", b"complet = true"), "complet"),
        ((b"console = []", b"console = 3"), "rows"),
        ((b"account", b"acc ount"), "understood"),
    ],
)
def test_what_is_wrong_with_a_reading_is_named(change, word):
    with pytest.raises(UsageError, match=word):
        parse_reading("a.toml", TOML.replace(*change), "harbor")


def test_a_row_that_the_core_cannot_read_is_refused_when_it_is_uploaded():
    upload = parse_reading("a.toml", TOML.replace(b'state = "failed"', b""), "harbor")
    with pytest.raises(BadReply, match="state"):
        check_reading("harbor", upload.parts)


@pytest.mark.parametrize("name", ["a.xlsx", "reading", "a.png"])
def test_other_files_are_no_readings(name):
    with pytest.raises(UsageError):
        parse_reading(name, TOML, "harbor")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["a.toml", "a.json", "a.csv"]))
def test_no_bytes_end_in_anything_but_a_reading_or_one_sentence(content, name):
    try:
        parse_reading(name, content, "harbor")
    except AllclearError as error:
        assert str(error)


async def test_the_form_of_the_workflow_server_does_what_the_terminal_does(tmp_path):
    async with night(tmp_path, stage(failed_import)) as n:
        assist(n)
        person = Person(n)
        text = (await person.reading(n.folder)).read_text()
        said = await serve_task(
            TaskForm(what="read", reading_form="json", text=text, account="harbor", by="Dana", config=n.config)
        )
        assert "Recorded" in said
        await n.recover()
        key = (await serve_task(TaskForm(config=n.config))).split()[0]
        await serve_task(TaskForm(what="claim", task=key, by="Dana", config=n.config))
        page = await serve_task(TaskForm(what="about_to_click", task=key, by="Dana", config=n.config))
        assert page.startswith("Click now, once.")
        assert as_markdown("[x](https://evil.example)") == "`[x](https://evil.example)`"
