"""The HTML page as a document: structure, hostile text, contrast and self-containment, with the standard library."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import unquote

import pytest

from recovery.model import Exchange, ItemOutcome
from recovery.report.evidence import evidence_shown
from recovery.report.html import STATIC_ROWS, pack, row_view
from recovery.report.report import render_html
from recovery.report.svg import timeline

from .samples import END, HOSTILE_NAMES, audit_report, plan_report, sample_evidence, sample_report

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Document(HTMLParser):
    """Every element with its attributes and text, in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def all(self, *tags: str) -> list[dict[str, str]]:
        return [a for t, a in self.elements if t in tags]

    def text(self) -> str:
        return "".join(data for tag, data in self.texts if tag not in ("style", "script"))


@cache
def html(name: str) -> str:
    report = {
        "recover": sample_report,
        "audit": audit_report,
        "plan": plan_report,
        "many": lambda: sample_report(2500),
    }[name]()
    return render_html(report, evidence=sample_evidence(report) if name == "recover" else None)


@cache
def document(name: str) -> Document:
    return Document(html(name))


NAMES = ("recover", "audit", "plan", "many")


@pytest.mark.parametrize("name", NAMES)
def test_the_page_has_its_landmarks_language_title_and_skip_link(name: str) -> None:
    page = document(name)
    assert page.all("html") == [{"lang": "en"}]
    assert [len(page.all(tag)) for tag in ("main", "header", "footer", "h1")] == [1, 1, 1, 1]
    head = [tag for tag, _ in page.elements[: [tag for tag, _ in page.elements].index("body")]]
    assert head.count("title") == 1
    links = page.all("a")
    assert links[0]["href"] == "#" + page.all("main")[0]["id"]
    assert all(n.get("aria-label") for n in page.all("nav"))


@pytest.mark.parametrize("name", NAMES)
def test_headings_never_skip_a_level(name: str) -> None:
    levels = [int(tag[1]) for tag, _ in document(name).elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("name", NAMES)
def test_every_header_cell_says_what_it_heads_and_every_control_has_a_label(name: str) -> None:
    page = document(name)
    assert all(a.get("scope") in ("col", "row") for a in page.all("th"))
    labelled = {a["for"] for a in page.all("label") if "for" in a}
    wrapped = re.findall(r"<label[^>]*>[^<]+<(?:input|select)[^>]*\bid=\"([^\"]+)\"", html(name))
    assert {a["id"] for a in page.all("input", "select", "textarea")} <= labelled | set(wrapped)


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique_and_every_reference_leads_somewhere(name: str) -> None:
    page = document(name)
    ids = Counter(a["id"] for _, a in page.elements if "id" in a)
    assert [i for i, n in ids.items() if n > 1] == []
    local = {a["href"][1:] for a in page.all("a", "use") if a.get("href", "").startswith("#")}
    pages = {unquote(i.removeprefix("account=")) for i in local if i.startswith("account=")}
    assert pages <= {a["value"] for a in page.all("option")}, "an account's page is a filter that there is"
    local = {i for i in local if not i.startswith("account=")}
    named = {
        i for _, a in page.elements for key in ("aria-labelledby", "aria-describedby") for i in a.get(key, "").split()
    }
    assert local | named <= set(ids)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_loaded_from_anywhere(name: str) -> None:
    page = document(name)
    assert not page.all("link", "img", "iframe", "object", "embed", "base", "audio", "video", "form[action]")
    assert all("src" not in a for _, a in page.elements)
    hrefs = {a["href"].split("?")[0] for a in page.all("a") if not a["href"].startswith("#")}
    assert hrefs <= {"mailto:support@vendor.example.org", "https://jira.example.org/browse/OPS-412"}
    style = next(data for tag, data in page.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("name", NAMES)
def test_the_policy_allows_this_style_and_this_script_alone(name: str) -> None:
    policy = next(a["content"] for a in document(name).all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not [a for _, a in document(name).elements for key in a if key == "style" or key.startswith("on")]


@pytest.mark.requirement("R001.39")
@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_never_become_markup_and_stay_readable(name: str) -> None:
    page = document(name)
    scripts = page.all("script")
    assert scripts == ([{"type": "application/json", "id": "data"}] if name == "many" else []) + [{}]
    assert not page.all("b", "i")
    if name != "many":
        text = page.text()
        assert all(n[:40] in text for n in HOSTILE_NAMES if n.isprintable() and n)
    assert not re.search("[\u200b-\u200f\u2028-\u202e\x00\x07\x1b]", html(name))


def test_packed_rows_hold_no_character_that_could_end_their_element() -> None:
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html("many"), re.DOTALL)
    assert data
    assert not set("<>&") & set(data[1])


def test_packed_rows_unpack_to_every_slot() -> None:
    report = sample_report(40)
    rows = [row_view(n, item) for n, item in enumerate(report.items)]
    packed = json.loads(pack(rows))

    def unpack(place: int) -> object:
        value = packed["values"][place]
        return value if isinstance(value, str) else tuple(unpack(part) for part in value)

    assert [tuple(unpack(part) for part in row) for row in packed["rows"]] == rows


@pytest.mark.requirement("R001.39")
def test_a_row_tells_before_action_actor_time_after_and_evidence() -> None:
    report = sample_report()
    n, item = next((n, i) for n, i in enumerate(report.items) if i.actions and i.remedy.value == "resend")
    alone = Document(render_html(replace(report, items=(item,)), evidence=sample_evidence(report))).text()
    for part in ("scheduled", "completed", "changed", "Ana Ruiz (on call)", "release", "cannot be undone", "confirmed"):
        assert part in alone, (n, part)
    assert all(a.ref in alone and a.evidence_digest in alone for a in item.actions)
    assert all(t.digest in alone for t in item.testimonies)


def test_a_question_that_is_the_reason_is_said_once() -> None:
    report = sample_report()
    held = next(i for i in report.items if i.question)
    assert held.question
    same = replace(held, reason=held.question.text)
    assert row_view(0, held).question == held.question.text
    assert row_view(0, same).question == ""


def test_a_reply_kept_as_evidence_is_text_and_reached_from_its_digest() -> None:
    page = document("recover")
    assert '"name": "<i>' in page.text()
    cards = {a["id"] for a in page.all("details") if a.get("id", "").startswith("e-")}
    assert cards
    assert {a["href"][1:] for a in page.all("a") if a["href"].startswith("#e-")} <= cards


@pytest.mark.parametrize("packed", [False, True], ids=["written rows", "packed rows"])
def test_equal_replies_of_two_accounts_are_two_cards_and_each_row_leads_to_its_own(packed: bool) -> None:
    report = sample_report(2500 if packed else 300)
    first, second = (
        next(i for i in report.items if i.slot.account == name) for name in ("bayside-opera", "city-ballet")
    )
    same = first.testimonies[0].digest
    items = tuple(replace(i, testimonies=(first.testimonies[0],), outcome=ItemOutcome.HELD) for i in (first, second))
    replies = {
        (same, i.slot.account): Exchange("pro2", i.slot.account, f"GET https://{i.slot.account}/", 200, END, same, "{}")
        for i in items
    }
    page = Document(render_html(replace(report, items=items + (report.items if packed else ())), evidence=replies))
    places = [a["id"] for a in page.all("details") if a.get("id", "").startswith("e-")]
    assert places == [f"e-{same}", f"e-{same}-2"]
    shown_at = evidence_shown(items, replies)
    for item in items:
        place = shown_at.places[same, item.slot.account]
        assert row_view(0, item, shown_at.places).witnesses[0].place == place
        (card,) = (c for c in shown_at.cards if c.place == place)
        assert (card.account, card.request) == (item.slot.account, f"GET https://{item.slot.account}/")
        assert place in ({a["href"][1:] for a in page.all("a")})


def test_a_record_that_two_accounts_name_is_one_card() -> None:
    report = sample_report()
    items = [i for i in report.items if i.slot.account in ("bayside-opera", "city-ballet")]
    digest = items[0].testimonies[0].digest
    shared = Exchange("jira", "", "GET /shared", 200, END, digest, "{}")
    shown_at = evidence_shown(items, {(digest, i.slot.account): shared for i in items})
    assert [card.request for card in shown_at.cards] == ["GET /shared"]
    assert set(shown_at.places.values()) == {f"e-{digest}"}


def test_without_scripts_a_large_report_still_lists_what_needs_attention() -> None:
    report = sample_report(2500)
    assert len(report.items) > STATIC_ROWS
    rows = [a for a in document("many").all("tr") if a.get("class") == "item"]
    assert 0 < len(rows) <= 200
    assert "done_before" not in {a["data-outcome"] for a in rows}


def test_an_empty_report_is_a_page_too() -> None:
    empty = replace(audit_report(), findings=(), accounts=(), problems=(), notices=())
    assert "Everything that was due has happened." in Document(render_html(empty)).text()


@pytest.mark.parametrize("count", [300, 5000])
def test_the_timeline_stays_within_its_frame_and_bounded_in_size(count: int) -> None:
    report = sample_report(count)
    drawing = timeline(report, report.items, report.accounts)
    marks = [m for lane in drawing.lanes for m in lane.marks]
    assert all(0 <= m.x <= drawing.width and 0 <= m.y <= drawing.height for m in marks)
    assert len(marks) + sum(len(lane.bars) for lane in drawing.lanes) < 2000
    assert drawing.window_width > 0


def test_a_lane_s_clock_jumps_where_its_zone_does() -> None:
    report = sample_report()
    drawing = timeline(report, report.items, report.accounts)
    lane = next(lane for lane in drawing.lanes if lane.name == "city-ballet")
    labels = [tick.label for tick in lane.ticks]
    assert labels[labels.index("01:30") + 1] == "03:00"


# ---- contrast, computed from the style itself ----

TEXT_PAIRS = [
    *((ink, ground) for ink in ("ink", "muted", "link") for ground in ("page", "surface", "raised")),
    *((ink, "surface") for ink in ("good", "wait", "bad", "calm", "info")),
    *((ink, "band") for ink in ("band-ink", "band-muted")),
    *((ink, "shade") for ink in ("ink", "muted")),
    ("surface", "link"),
]
MARK_PAIRS = [(ink, "shade") for ink in ("good", "wait", "bad", "calm", "info")] + [
    ("focus", "page"),
    ("muted", "surface"),
]


def palettes() -> dict[str, dict[str, str]]:
    style = re.search(r"<style>(.*?)</style>", html("recover"), re.DOTALL)
    assert style
    blocks = re.findall(r":root \{(.*?)\}", style[1], re.DOTALL)
    light, dark, paper = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks)
    return {"light": light, "dark": light | dark, "print": light | paper}


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_has_a_contrast_of_at_least_4_5_and_marks_of_at_least_3(scheme: str) -> None:
    colours = palettes()[scheme]
    too_faint = [p for p in TEXT_PAIRS if contrast(colours[p[0]], colours[p[1]]) < 4.5]
    too_faint += [p for p in MARK_PAIRS if contrast(colours[p[0]], colours[p[1]]) < 3]
    assert too_faint == []
