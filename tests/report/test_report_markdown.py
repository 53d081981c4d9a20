"""The Markdown report, read back by a CommonMark parser with tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from recovery.model import ItemOutcome, Question
from recovery.report.markdown import code, prose, table
from recovery.report.report import RunReport, render_markdown
from recovery.report.words import shown

from .samples import HOSTILE_NAMES, audit_report, plan_report, sample_report

HOSTILE = st.text(alphabet="|`\\<>&[]()!*_~#-+=.:@/ab1 \n\u202e", max_size=30)
HARMLESS = {"inline", "text", "code_inline", "text_special"}


def tokens(markdown: str) -> Iterator[Token]:
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown):
        yield token
        yield from token.children or []


def cells(markdown: str) -> list[list[str]]:
    rows: list[list[str]] = []
    for token in tokens(markdown):
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline" and rows:
            rows[-1].append("".join(c.content for c in token.children or []))
    return rows


def test_hostile_names_make_no_html_no_link_and_no_image() -> None:
    for report in (sample_report(), audit_report(), plan_report()):
        found = list(tokens(render_markdown(report)))
        assert {t.type for t in found}.isdisjoint({"html_block", "html_inline", "image", "fence"})
        assert {t.attrs.get("href") for t in found if t.type == "link_open"} <= {
            "https://jira.example.org/browse/OPS-412"
        }


def test_every_table_row_has_as_many_cells_as_its_head() -> None:
    for report in (sample_report(), audit_report()):
        blocks = render_markdown(report).split("\n\n")
        tables = [cells(block) for block in blocks if block.startswith("| ")]
        assert tables
        assert all(len({len(row) for row in rows}) == 1 for rows in tables)


@settings(max_examples=150, deadline=None)
@given(HOSTILE)
def test_any_text_in_a_cell_is_read_back_as_itself_in_one_cell(text: str) -> None:
    read = cells(table(("A", "B"), [(code(text), "end")]))
    assert read[1][1] == "end"
    if text.strip():
        assert "".join(read[1][0].split()) == "".join(shown(text).split())


@settings(max_examples=150, deadline=None)
@given(HOSTILE)
def test_any_text_in_a_sentence_is_read_back_as_text_alone(text: str) -> None:
    found = list(tokens(f"- {prose(text)}"))
    inner = [t for t in found if t.level >= 3 or t.block is False]
    assert {t.type for t in inner} <= HARMLESS
    assert [t.type for t in found].count("list_item_open") == 1


def test_addresses_and_mentions_in_a_sentence_are_not_picked_up_as_links() -> None:
    text = prose("see https://evil.example, www.evil.example or @everyone")
    assert not any(start in text for start in ("https:", "www.", "@"))


def test_hostile_names_are_readable_in_the_report() -> None:
    text = "".join(t.content for t in tokens(render_markdown(audit_report(60))) if t.type in ("code_inline", "text"))
    assert '"><img src=x onerror=alert(1)>' in text
    assert "Gala <U+202E>gpj.exe<U+202C> invitation" in text
    assert len(HOSTILE_NAMES) > 10


def test_the_report_tells_headline_sums_questions_accounts_and_approvals() -> None:
    text = render_markdown(sample_report())
    for part in ("wait for a person", "| Due | Done before |", "Recommended answer", "## Accounts", "`Ana Ruiz`"):
        assert part in text


def test_a_report_of_many_slots_stays_short() -> None:
    assert len(render_markdown(audit_report(5000))) < 60_000


def test_questions_and_problems_that_are_not_listed_are_counted() -> None:
    """Nothing is dropped silently: of thirty different questions the page shows twenty, and says that ten are left."""
    known = sample_report()
    item = known.items[0]
    held = tuple(
        replace(item, outcome=ItemOutcome.HELD, question=Question(f"Question number {n}?", "wait")) for n in range(30)
    )
    problems = tuple(f"problem number {n}" for n in range(53))
    text = render_markdown(replace(known, items=held, problems=problems))
    assert text.count("Question number") == 20
    assert "\n\n10 more stand in the HTML report.\n\n" in text
    assert "\n\n3 more stand in the HTML report.\n\n" in text


def test_a_ticket_with_a_strange_address_is_named_but_not_linked() -> None:
    def with_url(url: str) -> RunReport:
        ticket = sample_report().ticket
        assert ticket is not None
        return replace(sample_report(), ticket=replace(ticket, url=url))

    for url in ("javascript:alert(1)", "https://x.example/)[y](https://evil.example", "https://x.example/<b>"):
        assert not [t for t in tokens(render_markdown(with_url(url))) if t.type == "link_open"]
