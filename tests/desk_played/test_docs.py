"""What docs/desk.md and docs/json-desk.md say is what happens: each command is run, each field is looked up."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import pytest
from typer.main import get_command

from recovery.cli import app
from recovery.desk.happenings import ALARMS
from recovery.desk.settings import Client
from recovery.settings import load_settings
from tests.cli.program import REPO
from tests.desk_played.front import Front, open_front

pytestmark = pytest.mark.timeout(900)  # the story is told in the first test; a busy machine takes long
GUIDE = (REPO / "docs" / "desk.md").read_text(encoding="utf-8")
FIELDS = (REPO / "docs" / "json-desk.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", GUIDE, re.S)
TABLES = [re.sub(r"(?m)^ {3}", "", t) for t in re.findall(r" {3}```toml\n(.*?) {3}```", GUIDE, re.S)]
OPEN = ("delivered", "sections", "desk.requests[]")
QUESTION = "From: ann@opera.example\nTo: help@cxconnect.ai\nSubject: A question\nMessage-ID: <q@opera.example>\n\nHow?"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with open_front(tmp_path_factory.mktemp("front")) as made:
        yield made


def play(front: Front, block: str) -> list[dict[str, Any]]:
    """Runs the lines of a block with --json; $REF, $REQUEST and $DIGEST come from what was printed before."""
    known = {"TICKET": front.estate.info["zendesk"]["ticket"]}
    mail = front.night.folder / "question.eml"
    mail.write_text(QUESTION, encoding="utf-8")
    views: list[dict[str, Any]] = []
    for line in block.splitlines():
        words = shlex.split(Template(line.removeprefix("$ ")).substitute(known))
        assert words[:2] == ["allclear", "incident"]
        view = front.ask(*(str(mail) if w.endswith(".eml") else w for w in words[2:]))
        assert view["exit_code"] in (0, 3), (line, view)
        known |= {name.upper(): str(view[name]) for name in ("ref", "digest") if name in view}
        known |= {"REQUEST": view["requests"][0]["ref"]} if view.get("requests") else {}
        views.append(view)
    return views


@pytest.fixture(scope="module")
def printed(front: Front) -> list[dict[str, Any]]:
    """Everything that the guide's commands print, block by block; in the last one a mail's reply is lost."""
    views = play(front, BLOCKS[0])
    assert (views[-3]["phase"], views[-3]["open"], views[-3]["unlinked"]) == ("resolved", [], [])
    assert {t["ref"] for t in views[-3]["tasks"]} <= {t["ref"] for t in views[-3]["tasks"] if "duty/" in t["ref"]}
    views += play(front, BLOCKS[1])
    doubtful, answered = BLOCKS[2].splitlines()
    front.estate.state("smtp").knobs.lose_answer = True
    views += play(front, doubtful)
    assert [o["effect"] for o in views[-1]["open"]] == ["mail/smtp/inc-doubt/notice/harbor@p1"]
    front.estate.state("smtp").knobs.lose_answer = False
    views += play(front, answered)
    assert views[-1]["open"] == []
    return views


@pytest.mark.requirement("R002.2", "R002.12", "R003.3", "R003.16")
def test_the_guides_commands_play_an_incident_to_its_end_and_nothing_is_done_twice(
    front: Front, printed: list[dict[str, Any]]
) -> None:
    assert len(front.events("pagerduty", "page")) == len({row["key"] for row in front.events("pagerduty", "page")})
    ticket = int(front.estate.info["zendesk"]["ticket"])
    told = [row for row in front.events("zendesk", "ticket_updated", id=ticket, public=True) if row["text"]]
    assert len(told) == 4  # the ticket that was linked by hand reads every announcement
    assert front.complaints() == []
    assert len(printed) > 25


def test_every_command_of_the_desk_is_in_the_guide() -> None:
    commands = get_command(app).commands["incident"].commands  # type: ignore[attr-defined] # a click group
    assert set(commands) == set(re.findall(r"allclear incident ([a-z-]+)", GUIDE))


def test_the_guides_settings_are_read(tmp_path: Path) -> None:
    client = tomllib.loads(TABLES[0])["clients"]["harbor"]
    assert Client.model_validate(client).live_since is not None
    whole = (REPO / "config" / "allclear.toml").read_text(encoding="utf-8")
    top, rest = TABLES[1].split("\n", 1)
    (tmp_path / "allclear.toml").write_text(f"{top}\n{whole}\n{rest}", encoding="utf-8")
    settings = load_settings(tmp_path / "allclear.toml")
    assert settings.maildir and settings.pagerduty and settings.clickup and settings.pendo and settings.statuspage


def test_every_event_of_the_desk_is_in_the_guide() -> None:
    told = {"allclear.incident.opened", "allclear.announcement.ready", "allclear.incident.resolved"}
    assert told | {event for _, event in ALARMS} == set(re.findall(r"`(allclear\.[a-z]+\.[a-z]+)`", GUIDE))


def paths(value: Any, at: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from paths(inner, f"{at}.{'*' if at in OPEN else name}".lstrip("."))
    elif isinstance(value, list) and value and all(isinstance(inner, dict) for inner in value):
        for inner in value:
            yield from paths(inner, f"{at}[]")
    else:
        yield at


def test_every_field_that_is_printed_is_described(front: Front, printed: list[dict[str, Any]]) -> None:
    told: dict[str, set[str]] = {}
    for part in FIELDS.split("\n## ")[1:]:
        schema = part.split("\n", 1)[0].strip("`")
        told[schema] = {
            name for row in re.findall(r"(?m)^\| (`.*?) \|", part) for name in re.findall(r"`([^`]+)`", row)
        }
    planned = front.ask("alert", "mon-p", "--text", "upgrade", "--planned")
    declared = front.ask("declare", "x", "--by", "Dana Reyes", "--severity", "P1", "--ref", "inc-open")
    for view in [*printed, planned, declared]:
        lists = {
            name.split("[]")[0] for name in told[view["schema"]] if "[]" in name
        }  # one that is empty shows no fields
        assert set(paths(view)) - told[view["schema"]] <= lists
    status = {"desk": front.run("status", "--json").json["desk"]}
    assert status["desk"]["incidents"]
    assert set(paths(status)) - told["The desk in `allclear.status/1"] <= {"desk.requests"}
