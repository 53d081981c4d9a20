"""What docs/playbooks.md and docs/json-case.md say is what happens: each command is run, each field is looked up."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import pytest

from recovery.settings import load_settings
from tests.case.shop import DANA, REPO, Shop

GUIDE = (REPO / "docs" / "playbooks.md").read_text(encoding="utf-8")
FIELDS = (REPO / "docs" / "json-case.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", GUIDE, re.S)
EXAMPLE = next(t for t in re.findall(r"```toml\n(.*?)```", GUIDE, re.S) if t.startswith("id = "))


def play(shop: Shop, block: str, folder: Path) -> list[dict[str, Any]]:
    """Runs the lines of a block with --json; $REF and $DIGEST come from what was printed before."""
    known = {"TICKET": shop.ticket, "SENT": shop.sent_on}
    views: list[dict[str, Any]] = []
    for line in block.splitlines():
        words = shlex.split(Template(line.removeprefix("$ ")).substitute(known))
        assert words[:2] == ["allclear", "case"]
        words = [str(folder / w) if w.endswith(".zip") else w for w in words[2:]]
        view = shop.case(*words)
        assert view["exit_code"] in (0, 3), (line, view)
        known |= {"REF": view.get("case", known.get("REF", ""))}
        known |= {"DIGEST": view["reply"]["digest"]} if view.get("reply") else {}
        views.append(view)
    return views


@pytest.fixture
def sister(shop: Shop, tmp_path: Path) -> None:
    """The guide's own playbook beside the shipped ones."""
    shipped = REPO / "config" / "playbooks"
    folder = shop.config.parent / "playbooks"
    folder.mkdir(exist_ok=True)
    for path in shipped.glob("*.toml"):
        (folder / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "button-links.toml").write_text(EXAMPLE, encoding="utf-8")
    text = re.sub(r'folder = "[^"]*playbooks"', 'folder = "playbooks"', shop.config.read_text(encoding="utf-8"))
    shop.config.write_text(text, encoding="utf-8")


def test_the_guides_first_case_ends_clear_with_one_reply(shop: Shop, tmp_path: Path) -> None:
    told = len(shop.comments())
    views = play(shop, BLOCKS[0], tmp_path)
    assert [r["code"] for r in views[4]["reasons"]] == ["static_urls"]
    assert views[7]["exit_code"] == 0
    assert [c["public"] for c in shop.comments()[told:]] == [True]
    assert (tmp_path / "case.zip").exists()


def test_the_guides_escalation_opens_one_child_ticket_and_ends_resolved(shop: Shop, tmp_path: Path) -> None:
    before = len(shop.events("jira", "issue_created"))
    views = play(shop, BLOCKS[1], tmp_path)
    assert views[-1]["resolved"]
    assert views[-1]["exit_code"] == 0
    assert len(shop.events("jira", "issue_created")) == before + 1


@pytest.mark.usefixtures("sister")
def test_a_sister_playbook_needs_no_python(shop: Shop, tmp_path: Path) -> None:
    views = play(shop, BLOCKS[2], tmp_path)
    assert {r["code"] for r in views[-1]["reasons"]} == {"no_scheme", "page_gone"}


def test_the_guides_panel_settings_are_read(shop: Shop, tmp_path: Path) -> None:
    block = next(t for t in re.findall(r"```toml\n(.*?)```", GUIDE, re.S) if t.startswith("[playbooks]"))
    whole = (REPO / "config" / "allclear.toml").read_text(encoding="utf-8")
    for table in ("[playbooks]", "[[panels]]"):
        whole = re.sub(rf"(?ms)^{re.escape(table)}.*?(?=^\[|\Z)", "", whole)
    (tmp_path / "allclear.toml").write_text(whole + "\n" + block, encoding="utf-8")
    settings = load_settings(tmp_path / "allclear.toml")
    assert [p.account for p in settings.panels] == ["harbor"]
    assert tomllib.loads(block)["panels"][0]["provider"] == settings.panels[0].provider


def paths(value: Any, at: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from paths(inner, f"{at}.{name if at != 'fields' else '*'}".lstrip("."))
    elif isinstance(value, list) and all(isinstance(inner, dict) for inner in value):
        for inner in value:
            yield from paths(inner, f"{at}[]")
    else:
        yield at


def test_every_field_that_is_printed_is_described(shop: Shop, tmp_path: Path) -> None:
    ref = shop.open("shop-meta-2", "opted_out", campaign="J-1")["case"]
    shop.attest(shop.case("show", ref), {"campaign": "same", "clicks": "nothing-delivered"})
    printed = [shop.case("reply", ref), shop.case("open", "link-tracking", "--account", "shop-meta", *DANA)]
    shop.case("stage", ref, "business", "--team", "CRS", "--not-resolved", *DANA)
    shop.case("stage", ref, "helpdesk", "--team", "Helpdesk", "--not-resolved", *DANA)
    printed += [shop.case("escalate", ref, "sme", "--override", "to see it", *DANA)]
    printed += [shop.case("list"), shop.case("export", ref, "-o", str(tmp_path / "x.zip"))]
    described = set(re.findall(r"`([^`]+)`", FIELDS))
    for view in printed:
        assert set(paths(view)) - described == set()
        assert f"## `{view['schema']}`" in FIELDS
