"""The report at a terminal of 80 columns, in a pipe, and without colour."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable

import pytest
from rich.console import Console, RenderableType

from recovery.model import Balance, Harm, Plan
from recovery.report.text import audit_table, balance_line, outcome_tables, plan_diff, show

from .samples import audit_report, sample_report

DOCUMENTS: dict[str, Callable[[], RenderableType]] = {
    "audit": lambda: audit_table(audit_report()),
    "plan": lambda: plan_diff(sample_plan_of_report(), audit_report().findings),
    "outcome": lambda: outcome_tables(sample_report()),
}


def sample_plan_of_report() -> Plan:
    plan = sample_report().plan
    assert plan is not None
    return plan


def printed(renderable: RenderableType, *, terminal: bool = False, no_color: bool = True) -> str:
    out = io.StringIO()
    system = "standard" if terminal else "auto"
    console = Console(file=out, width=80, force_terminal=terminal, no_color=no_color, color_system=system)
    show(console, renderable)
    return out.getvalue()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_in_a_pipe_there_is_no_escape_sequence_and_no_hostile_character(name: str) -> None:
    text = printed(DOCUMENTS[name]()).replace("\n", "")
    assert not {unicodedata.category(c) for c in text} & {"Cc", "Cf", "Zl", "Zp"}


@pytest.mark.parametrize("name", ["audit", "plan"])
def test_in_a_pipe_every_item_s_name_for_the_command_line_stands_whole_on_one_line(name: str) -> None:
    lines = {line.strip() for line in printed(DOCUMENTS[name]()).splitlines()}
    amiss = [i.slot.key for i in sample_report().items if i.verdict.value != "done"]
    assert set(amiss) <= lines


@pytest.mark.parametrize("name", DOCUMENTS)
def test_at_a_terminal_no_line_is_wider_than_80_columns_and_no_word_is_lost(name: str) -> None:
    shown = printed(DOCUMENTS[name](), terminal=True)
    piped = printed(DOCUMENTS[name]())
    plain = Console(width=80, file=io.StringIO()).render_str
    widths = [plain(line).cell_len for line in _without_ansi(shown).splitlines()]
    assert max(widths) <= 80
    assert "".join(_without_ansi(shown).split()) == "".join(piped.split())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_without_colour_the_terminal_gets_no_colour_codes(name: str) -> None:
    codes = {part.split("m")[0] for part in printed(DOCUMENTS[name](), terminal=True).split("\x1b[")[1:]}
    assert codes <= {"0", "1", "2", "4", "1;2"}


def test_rich_markup_in_a_name_is_text() -> None:
    assert "[bold red]rich markup[/] [link=https://evil.example]x[/link]" in printed(DOCUMENTS["audit"]())


def test_the_plan_says_per_item_what_changes_who_is_reached_and_what_cannot_be_undone() -> None:
    plan, text = sample_plan_of_report(), printed(DOCUMENTS["plan"]())
    item = next(i for i in plan.items if i.harm is Harm.H3)
    block = text[text.index(item.slot.key) :].split("\n  + ")[0].split("\n  ? ")[0]
    assert f"reaches {item.audience:,} recipients" in block
    assert all(a.summary in block for a in item.actions)
    assert "(cannot be undone)" in block
    assert "UTC)" in block


def test_the_plan_asks_the_question_of_what_is_held_with_its_recommended_answer() -> None:
    text = printed(DOCUMENTS["plan"]())
    held = [i for i in sample_plan_of_report().items if i.question]
    assert all(i.question in text and i.recommended in text for i in held)
    assert text.count("held: ") == len(held)


def test_the_plan_ends_with_its_digest_counts_and_caveats() -> None:
    plan, text = sample_plan_of_report(), printed(DOCUMENTS["plan"]())
    assert f"plan {plan.digest}" in text
    assert f"reaches {plan.reach:,} recipients" in text
    assert "Caveat (" in text


def test_the_balance_is_one_sum_that_says_whether_it_adds_up() -> None:
    assert printed(balance_line(Balance(10, 4, 3, 2, 1, 0))).strip() == (
        "10 due = 4 done before + 3 recovered + 2 skipped + 1 held; doubles 0: adds up"
    )
    assert "DOES NOT ADD UP" in printed(balance_line(Balance(10, 4, 3, 2, 0, 0)))
    assert "DOES NOT ADD UP" in printed(balance_line(Balance(10, 4, 3, 2, 1, 2)))


def test_importing_the_reports_loads_neither_rich_nor_jinja() -> None:
    code = (
        "import sys, recovery.report.report, recovery.report.text;"
        "print(sorted({'rich', 'jinja2', 'prefect', 'sqlalchemy', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _without_ansi(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
