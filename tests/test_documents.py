"""The commands that README and docs show exist, with the options they show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from recovery.cli import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
_BLOCK = re.compile(r"```(?:console|bash|sh)\n(.*?)```", re.DOTALL)


def commands() -> list[tuple[str, str]]:
    """Every command line of every console block, with its page."""
    found = []
    for page in PAGES:
        for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
            joined = block.replace("\\\n", " ")
            for line in joined.splitlines():
                text = line.strip().removeprefix("$ ")
                if text and not text.startswith("#"):
                    found.append((page.name, text))
    return list(dict.fromkeys(found))


@pytest.mark.parametrize(("page", "line"), [c for c in commands() if c[1].startswith("allclear")])
def test_a_command_shown_on_a_page_is_understood_by_the_program(page: str, line: str) -> None:
    """Parses the line as the program would, without running it."""
    words = [w for w in shlex.split(line, comments=True) if w != "…"][1:]
    command = typer.main.get_command(app)
    name, arguments = (words[0], words[1:]) if words else ("", [])
    if not name or name.startswith("-"):
        return
    chosen = command.commands[name]  # type: ignore[attr-defined] # a click group
    while hasattr(chosen, "commands") and arguments:
        chosen, arguments = chosen.commands[arguments[0]], arguments[1:]
    numbers = ["1" if a == "N" else a for a in arguments]
    with chosen.make_context(name, numbers):
        pass


@pytest.mark.parametrize(("page", "line"), [c for c in commands() if c[1].startswith("make ")])
def test_a_make_target_shown_on_a_page_exists(page: str, line: str) -> None:
    """Looks for the target in the Makefile."""
    target = line.split()[1]
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_page_that_the_readme_links_to_is_there() -> None:
    """A link to a missing page is a promise not kept."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [link for link in re.findall(r"\]\((?!http)([^)#]+)\)", text) if not (ROOT / link).exists()]
    assert missing == []


def test_every_command_is_in_the_readme_and_has_examples_in_its_help() -> None:
    """A command that nobody can find is not there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    command = typer.main.get_command(app)
    for name, each in command.commands.items():  # type: ignore[attr-defined] # a click group
        assert f"allclear {name}" in text, name
        if not hasattr(each, "commands"):
            assert "Example" in (each.help or ""), name
