"""Progress: how far, how fast, how long still, what is waited for; live at a terminal, plain lines in a pipe."""

from __future__ import annotations

import io

import pytest

from recovery.terminal.progress import SUMMARY_EVERY_SECONDS, Progress


class Screen(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, tty: bool) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty

    @property
    def live(self) -> str:
        """What stands on the last line of a terminal."""
        return self.getvalue().rpartition("\n")[2].rpartition("\r\x1b[K")[2]


class Story:
    """A run of twelve items and its progress, with a clock that a test moves."""

    def __init__(self, *, tty: bool, quiet: bool = False) -> None:
        self.seconds = 100.0
        self.screen = Screen(tty)
        self.tell = Progress(quiet=quiet, out=self.screen, now=lambda: self.seconds)
        self.tell("begin", {"what": "items", "total": 12})

    def items(self, first: int, count: int, outcome: str = "confirmed") -> None:
        for n in range(first, first + count):
            self.tell("item", {"slot": f"harbor/{n}", "outcome": outcome, "reason": "sent"})

    def wait(self, account: str) -> None:
        self.tell("waiting", {"system": "pro2", "account": account, "per_second": 5.0, "waiting": 3, "seconds": 1.0})


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")


async def test_the_live_line_says_how_far_how_fast_and_how_long_still():
    story = Story(tty=True)
    story.seconds += 20
    story.items(0, 3)
    story.items(3, 1, "held")
    assert story.screen.live == "items 4/12, 1 held | 12/min, about 40 s left"


async def test_an_item_that_is_told_twice_counts_once():
    story = Story(tty=True)
    story.items(0, 2)
    story.items(0, 2)
    assert story.screen.live.startswith("items 2/12")


async def test_the_live_line_names_the_limit_that_is_waited_for_until_it_is_over():
    story = Story(tty=True)
    story.wait("harbor")
    assert story.screen.live == "items 0/12 | Pro2 harbor: 5 req/s"
    story.wait("lyric")
    assert story.screen.live.endswith("Pro2 harbor: 5 req/s and 1 more")
    story.seconds += 60
    story.items(0, 1)
    assert "req/s" not in story.screen.live


async def test_the_end_takes_the_live_line_away():
    story = Story(tty=True)
    story.items(0, 1)
    story.tell.end()
    assert story.screen.live == ""


async def test_a_long_line_is_cut_at_a_terminal_and_whole_in_a_pipe():
    for tty in (True, False):
        story = Story(tty=tty)
        story.tell("item", {"slot": "harbor/1", "outcome": "held", "reason": "why " * 60 + "END"})
        assert ("END" in story.screen.getvalue()) is not tty
        assert all(len(line) <= 90 for line in story.screen.getvalue().splitlines()) is tty


async def test_in_a_pipe_there_is_no_control_code_one_line_for_each_wait_and_a_summary_now_and_then():
    story = Story(tty=False)
    story.wait("harbor")
    story.wait("harbor")
    story.items(0, 1)
    story.seconds += SUMMARY_EVERY_SECONDS
    story.items(1, 1)
    said = story.screen.getvalue()
    assert "\x1b" not in said and "\r" not in said
    assert said.count("waiting: Pro2 harbor: 5 req/s") == 1
    assert "[1/12] confirmed harbor/0: sent" in said
    assert "items 2/12 | 4/min, about 2 min left" in said


async def test_quiet_says_nothing():
    story = Story(tty=True, quiet=True)
    story.items(0, 3)
    story.tell.end()
    assert story.screen.getvalue() == ""


async def test_names_from_remotes_do_not_steer_the_terminal():
    story = Story(tty=True)
    story.tell("step", {"slot": "harbor/1", "what": "\x1b[2J\x07 stopping"})
    assert "\\u001b[2J\\u0007 stopping" in story.screen.getvalue()
