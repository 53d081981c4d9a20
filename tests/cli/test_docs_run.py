"""What README, operating, security, runbook and install tell people to type is run, against one small outage."""

from __future__ import annotations

import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox import scenario_campaigns as mail
from tests.cli.program import REPO, allclear, interrupt, served, started, window
from tests.recovery.stage import stage

DONE_OR_WAITING = {0, 3, 4}


def plant(story, account):
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))
    mail.partly_sent(story, account, "Raffle", story.started_at + timedelta(minutes=30))


@pytest.fixture
def n(tmp_path):
    with served(tmp_path, stage(plant), desks=False) as night:
        yield night


def blocks(page: str) -> list[str]:
    """The command lines of a page's console blocks."""
    text = (REPO / page).read_text(encoding="utf-8")
    found = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [x.strip().removeprefix("$ ") for block in found for x in block.splitlines() if "allclear" in x]


def inline(page: str) -> list[str]:
    return re.findall(r"`(allclear [^`]+)`", (REPO / page).read_text(encoding="utf-8"))


class Night:
    """Types a page's lines; what they leave open (DIGEST, ITEM) is what was printed before."""

    def __init__(self, n, folder: Path) -> None:
        self.n, self.folder, self.digest, self.item = n, folder, "", ""

    def plan(self) -> None:
        told = allclear("plan", *window(self.n), "--json", "--config", str(self.n.config)).json
        self.digest = told.get("digest", self.digest)
        self.item = next((i["key"] for i in told.get("items", []) if not i["actions"]), self.item)

    def words(self, line: str) -> list[str]:
        start, end = window(self.n)[1::2]
        known = {"DIGEST": self.digest[:10], "ITEM": self.item, "CHOICE": "drop", "107": "101", "108": "102",
                 "example": "harbor", "120": "350", "6h": "4h", "config/allclear.toml": str(self.n.config)}  # fmt: skip
        line = line.replace("--start … --end …", f"--start {start} --end {end}").replace("…", "because")
        line = line.replace(" --every 60", "").replace("outage.html", str(self.folder / "outage.html"))
        return [known.get(word, word) for word in shlex.split(line, comments=True)][1:]

    def type(self, line: str) -> None:
        words = self.words(line)
        if not words:
            return
        if words[0] in ("approve", "reject", "answer") or "--plan" in words or self.digest == "":
            self.plan()
            words = self.words(line)
        if "--watch" in words:
            with started(*words, ALLCLEAR_CONFIG=str(self.n.config)) as program:
                assert program.stdout.readline()
                interrupt(program)
                assert program.wait(20) in DONE_OR_WAITING
            return
        if words[0] == "recover" and "--plan" in words:
            self.type(f'allclear approve DIGEST --by "Dana Reyes" --recipients {350} --accept-caveat')
        if words[0] in ("answer", "explain"):  # an item is known once a run has taken it up
            allclear("recover", *window(self.n), "--yes", "--kind", "none-of-these", "--config", str(self.n.config))
            self.opened()
        ran = allclear(*words, ALLCLEAR_CONFIG=str(self.n.config))
        assert ran.code in DONE_OR_WAITING, (line, ran)

    def opened(self) -> None:
        if allclear("explain", self.item, "--config", str(self.n.config)).code == 0:
            return
        self.plan()
        config = ("--config", str(self.n.config))
        allclear("approve", self.digest, "--by", "Sam Okafor", "--recipients", "350", "--accept-caveat", *config)
        assert allclear("recover", "--plan", self.digest, "--by", "Alex", *config).code == 3


@pytest.mark.parametrize("page", ["README.md", "docs/operating.md", "docs/security.md", "docs/install.md"])
def test_the_commands_of_a_page_do_what_the_page_says(n, tmp_path, page):
    night = Night(n, tmp_path)
    lines = blocks(page)
    assert lines
    for line in lines:
        night.type(line)


def test_the_commands_of_the_runbook_are_run(n, tmp_path):
    night = Night(n, tmp_path)
    for line in inline("docs/runbook.md"):
        night.type(line)
        if " kill " in line:
            assert allclear("kill", "--clear", "--by", "Dana Reyes", "--config", str(n.config)).code == 0
