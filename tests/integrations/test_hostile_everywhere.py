"""600 hostile texts through every way out: what a reader's parser finds is what it finds for plain words, and no more.

Slack and Jira stand in their own files. There is no CSV among the outputs, so no cell can become a formula.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from desk_remotes import WRITES, Write
from hostile import HOSTILE, SEEDS
from rich.console import Console
from test_smtp import OUR_HEADERS, ScriptedServer, attempt, draft, listening, mailer, read_back

from recovery.case.card import Card, render_html
from recovery.desk.announce import render
from recovery.model import Exchange
from recovery.report.report import RunReport, render_markdown
from recovery.report.report import render_html as report_page
from recovery.report.text import audit_table, outcome_tables, show
from tests.desk import stage
from tests.report.samples import END, sample_report
from tests.report.test_report_html import Document
from tests.report.test_report_markdown import tokens

WORDS = "Spring gala invitation"
WITHOUT_WORDS = ("pendo", "pagerduty.acknowledge", "pagerduty.resolve", "zendesk.comment (with a file)")
WRITES_WITH_WORDS = [name for name in WRITES if not name.startswith(WITHOUT_WORDS)]
MARKUP_FIELDS = {"html_body", "markdown_content", "html_message", "markdown_description"}


def shape(value: Any) -> Any:
    """Names and nesting of a JSON value, without its texts."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__


def same_but_for_texts(write: Write, one: dict[str, Any], other: dict[str, Any]) -> bool:
    """A page's details are named by a person's words, so their names may differ; their number may not."""
    for body in (one, other):
        details = body.get("payload", {}).get("custom_details")
        if details is not None:
            body["payload"]["custom_details"] = sorted(map(str, map(shape, details.values())))
    return bool(shape(one) == shape(other))


@pytest.mark.parametrize("name", WRITES_WITH_WORDS)
async def test_a_desk_gets_texts_in_fields_that_read_no_markup(bench: Callable[..., Any], name: str) -> None:
    write = WRITES[name]
    sent: list[httpx.Request] = []

    def remote(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return write.remote(request)

    client, one = write.client(bench, remote)

    async def told(text: str) -> dict[str, Any]:
        sent.clear()
        await write.call(client, one.attempt(), text)
        request = next(r for r in sent if r.method != "GET" and not r.url.path.endswith("/uploads"))
        request.content.decode("ascii")
        body = json.loads(request.content)
        assert isinstance(body, dict)
        return body

    wanted = await told(WORDS)
    assert not MARKUP_FIELDS & set(json.dumps(wanted).replace('"', " ").split())
    for text in HOSTILE:
        assert same_but_for_texts(write, await told(text), json.loads(json.dumps(wanted))), text[:80]


async def test_a_mail_has_our_headers_and_one_plain_body() -> None:
    server = ScriptedServer({})
    async with listening(server.serve) as port:
        for text in SEEDS:
            await mailer(port).send(draft(subject=text, text=text), attempt())
    assert len(server.messages) == len(SEEDS)
    for raw in server.messages:
        message = read_back(raw)
        assert set(message.keys()) == OUR_HEADERS
        assert (message.get_content_type(), message.is_multipart()) == ("text/plain", False)


def named(names: list[str]) -> RunReport:
    """A finished recovery whose items, reasons and questions all carry these texts."""
    report = sample_report(len(names))
    items = tuple(
        replace(
            item,
            name=name,
            slot=replace(item.slot, name=name),
            reason=name,
            question=item.question and replace(item.question, text=name or "-", recommended=name or "-"),
            before={"status": name},
            actor=name[:200] or "-",
        )
        for item, name in zip(report.items, names, strict=True)
    )
    accounts = tuple(replace(a, problem=names[n]) for n, a in enumerate(report.accounts))
    return replace(
        report, items=items, title=names[0] or "-", accounts=accounts, problems=(names[1],), notices=(names[2],)
    )


PLAIN = [f"{WORDS} {n}" for n in range(100)]
CHUNKS = [HOSTILE[n : n + 100] for n in range(0, len(HOSTILE), 100)]


@pytest.mark.parametrize("names", CHUNKS, ids=range(len(CHUNKS)))
def test_the_html_report_has_no_element_and_no_link_that_a_name_caused(names: list[str]) -> None:
    def kept(report: RunReport) -> Document:
        evidence = {
            (t.digest, item.slot.account): Exchange(
                "pro2", "harbor", f"GET /{report.title}", 200, END, t.digest, item.name
            )
            for item in report.items[:20]
            for t in item.testimonies
        }
        return Document(report_page(report, evidence=evidence))

    plain, hostile = kept(named(PLAIN)), kept(named(names))
    assert {tag for tag, _ in hostile.elements} == {tag for tag, _ in plain.elements}
    for tag in ("script", "a", "iframe", "img", "style", "form", "meta", "link"):
        assert len(hostile.all(tag)) == len(plain.all(tag)), tag
    hrefs = {a["href"].split("?")[0] for a in hostile.all("a") if not a["href"].startswith("#")}
    assert hrefs <= {"mailto:support@vendor.example.org", "https://jira.example.org/browse/OPS-412"}
    assert not [key for _, attributes in hostile.elements for key in attributes if key.startswith("on")]


@pytest.mark.parametrize("names", CHUNKS, ids=range(len(CHUNKS)))
def test_the_markdown_report_has_no_html_no_link_no_image_and_no_row_that_a_name_caused(names: list[str]) -> None:
    plain, hostile = (list(tokens(render_markdown(named(given)))) for given in (PLAIN, names))
    assert {t.type for t in hostile}.isdisjoint({"html_block", "html_inline", "image", "fence", "code_block"})
    assert {t.attrs.get("href") for t in hostile if t.type == "link_open"} <= {
        "https://jira.example.org/browse/OPS-412"
    }
    for kind in ("heading_open", "table_open", "hr", "blockquote_open"):
        assert [t.type for t in hostile].count(kind) == [t.type for t in plain].count(kind), kind


@pytest.mark.parametrize("names", CHUNKS[:3], ids=range(3))
def test_the_terminal_gets_no_control_character_and_no_markup_of_its_own(names: list[str]) -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, color_system=None)
    for part in (outcome_tables(named(names)), audit_table(replace(named(names), mode="audit"))):
        show(console, part)
    text = out.getvalue()
    assert not [c for c in set(text) if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)]
    assert not set(text) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2028\u2029")


def test_an_evidence_card_has_no_element_and_no_link_that_a_text_caused() -> None:
    def card(text: str) -> Document:
        rows = [(text[:100], text)]
        return Document(render_html(Card(text, text, text, "pass", text, text, text, END, text, text, rows)))

    plain = [tag for tag, _ in card(WORDS).elements]
    for text in HOSTILE:
        found = [tag for tag, _ in card(text).elements]
        assert found == plain or (set(found) <= set(plain) and not text.strip()), text[:80]
        assert "a" not in found


def test_an_announcement_evaluates_nothing_and_gets_no_line_that_a_name_caused(tmp_path: Any) -> None:
    """A note stays one line of text; what looks like a template or a placeholder in it is neither."""
    settings = stage.settings(tmp_path)

    def said(note: str) -> str:
        values = {"title": "T", "note": note, "next_update": "12:00", "brand": note[:50]}
        return render(settings, "update", values, {"<Insert ETA>": "soon", "<Insert error(s) or other>": "none"}).text

    lines = said(WORDS).count("\n")
    for text in HOSTILE:
        words = said(text)
        assert words.count("\n") <= lines, text[:80]
        assert ("{{7*7}}" in words) or ("{{7*7}}" not in " ".join(text.split()))
        assert not [c for c in set(words) if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160)], text[:80]
