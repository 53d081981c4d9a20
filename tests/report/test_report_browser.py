"""The HTML page in a real browser: Debian's Chromium, driven by Playwright; skipped where there is none."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recovery.report.report import RunReport, render_html

from .samples import sample_evidence, sample_report

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = Path(__file__).resolve().parents[2] / "out" / "report"
"""Kept to be looked at."""
LARGE = 100_000 if os.environ.get("ALLCLEAR_PROVE") else 20_000
OPEN_SECONDS = 3.0
PATIENCE = 3.0
"""A shared test machine may be this many times slower than the one a person reads reports on."""

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium at /usr/bin/chromium")
playwright_api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with playwright_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield running
        running.close()


class Visit:
    """A page opened from a file, with everything it complained of or asked for."""

    def __init__(self, browser, path: Path, **context: object) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text))
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        started = time.monotonic()
        self.page.goto(path.as_uri())
        self.seconds = time.monotonic() - started

    def shown(self) -> str:
        return self.page.inner_text("#shown")

    def rows(self) -> list[str]:
        return list(self.page.locator("#rows > .item:visible .toggle").all_inner_texts())

    def expect_status(self, text: str) -> None:
        playwright_api.expect(self.page.locator("#shown")).to_have_text(text)


def written(tmp_path: Path, report: RunReport) -> Path:
    path = tmp_path / "report.html"
    path.write_text(render_html(report, evidence=sample_evidence(report)), encoding="utf-8")
    return path


@pytest.fixture
def visit(browser, tmp_path: Path) -> Iterator[Visit]:
    opened = Visit(browser, written(tmp_path, sample_report()))
    yield opened
    assert opened.complaints == []
    assert len(opened.requests) == 1, "only the file itself"
    opened.context.close()


def test_hostile_names_do_nothing(visit: Visit) -> None:
    assert visit.page.title() != "owned"
    assert visit.page.locator("main img, main script, main b").count() == 0


def test_search_and_filters_narrow_the_slots_and_say_how_many(visit: Visit) -> None:
    report = sample_report()
    visit.expect_status("300 slots.")
    held = [i for i in report.items if i.outcome == "held"]
    visit.page.select_option("#f-outcome", "held")
    visit.expect_status(f"{len(held)} of 300 slots match.")
    assert len(visit.rows()) == len(held)
    here = [i for i in held if i.slot.account == "harbor-symphony"]
    visit.page.select_option("#f-account", "harbor-symphony")
    visit.expect_status(f"{len(here)} of 300 slots match.")
    visit.page.get_by_role("button", name="Clear").click()
    visit.expect_status("300 slots.")
    visit.page.fill("#q", report.items[200].testimonies[1].digest)
    visit.expect_status("1 of 300 slots match.")


def test_an_account_card_leads_to_its_slots(visit: Visit) -> None:
    visit.page.locator(".account", has_text="city-ballet").get_by_role("link").click()
    count = sum(i.slot.account == "city-ballet" for i in sample_report().items)
    visit.expect_status(f"{count} of 300 slots match.")
    assert visit.page.url.endswith("#account=city-ballet"), "a link to the account's page, to be mailed"
    visit.page.reload()
    visit.expect_status(f"{count} of 300 slots match.")
    visit.requests.clear()
    visit.requests.append("reloaded")


# What a person who cannot see the page, or not well, depends on; measured in the page as drawn.
FAINT_TEXT = """() => {
  const parse = (c) => c.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const c = parse(getComputedStyle(at).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || e.closest("svg, script, style, .skip") || !e.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(ratio.toFixed(2) + " " + walk.currentNode.data.trim().slice(0, 40));
  }
  return found;
}"""
SMALL_TARGETS = """() => [...document.querySelectorAll("button, a.button, select, input, summary, .toggle")]
  .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 24)
  .map((e) => e.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_text_as_drawn_has_contrast_and_targets_are_large_enough(browser, tmp_path, scheme, width) -> None:
    path = written(tmp_path, sample_report(60))
    visit = Visit(browser, path, color_scheme=scheme, viewport={"width": width, "height": 900})
    visit.page.screenshot(path=PICTURES / f"report-{scheme}-{width}.png")
    visit.page.locator(".toggle >> nth=0").click()
    for details in visit.page.locator("details").all()[:6]:
        details.evaluate("e => { e.open = true; }")
    assert visit.page.evaluate(FAINT_TEXT) == []
    assert visit.page.evaluate(SMALL_TARGETS) == []
    visit.context.close()


def test_a_screen_reader_hears_a_name_for_everything_that_takes_the_focus_and_every_landmark(visit: Visit) -> None:
    tree = visit.context.new_cdp_session(visit.page).send("Accessibility.getFullAXTree")["nodes"]
    heard = [
        (n.get("role", {}).get("value", ""), n.get("name", {}).get("value", ""), {p["name"] for p in n["properties"]})
        for n in tree
        if not n["ignored"] and "properties" in n
    ]
    nameless = [role for role, name, facts in heard if "focusable" in facts and not name.strip()]
    assert [r for r in nameless if r not in ("RootWebArea", "main", "generic")] == []
    roles = [role for role, _, _ in heard]
    for landmark in ("banner", "navigation", "main", "search", "contentinfo", "status", "table", "heading"):
        assert landmark in roles, landmark
    regions = [name for role, name, _ in heard if role == "region"]
    assert all(regions) and len(regions) == len(set(regions))


def test_the_page_of_one_account_prints_its_own_slots_only(browser, tmp_path: Path) -> None:
    visit = Visit(browser, written(tmp_path, sample_report(60)))
    visit.page.goto(visit.page.url + "#account=city-ballet")
    count = sum(i.slot.account == "city-ballet" for i in sample_report(60).items)
    visit.expect_status(f"{count} of 60 slots match.")
    visit.page.emulate_media(media="print")
    assert visit.page.locator("#shown").is_visible()
    printed = {r.get_attribute("data-account") for r in visit.page.locator("#rows > .item:visible").all()}
    assert printed == {"city-ballet"}
    visit.context.close()


def test_the_whole_of_a_slot_opens_by_keyboard_with_the_focus_in_sight(visit: Visit) -> None:
    page = visit.page
    page.focus("#q")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "toggle":
            break
    outline = page.evaluate(
        "getComputedStyle(document.activeElement).outlineStyle + getComputedStyle(document.activeElement).outlineWidth"
    )
    assert outline == "solid3px"
    page.keyboard.press("Enter")
    assert page.get_attribute(".toggle >> nth=0", "aria-expanded") == "true"
    assert page.locator("#rows > .detail >> nth=0").is_visible()


def test_the_skip_link_comes_first_and_shows_itself(visit: Visit) -> None:
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.className") == "skip"
    assert visit.page.locator(".skip").bounding_box()["x"] >= 0


def test_a_digest_leads_to_the_stored_reply(visit: Visit) -> None:
    page = visit.page
    page.locator(".toggle >> nth=0").click()
    link = page.locator("#rows > .detail.open a >> nth=0")
    place, digest = link.get_attribute("href"), link.inner_text()
    link.click()
    playwright_api.expect(page.locator(f"{place} pre")).to_be_visible()
    assert digest in page.locator(place).inner_text()


def test_a_digest_in_a_row_that_the_script_drew_leads_to_the_reply_of_its_account(browser, tmp_path: Path) -> None:
    visit = Visit(browser, written(tmp_path, sample_report(2500)))
    page = visit.page
    page.select_option("#f-account", "quayside-jazz")
    page.select_option("#f-outcome", "held")
    page.locator("#rows > .item:visible .toggle >> nth=0").click()
    link = page.locator("#rows > .detail.open a >> nth=0")
    place = link.get_attribute("href")
    link.click()
    playwright_api.expect(page.locator(f"{place} pre")).to_be_visible()
    section = page.locator("details.exchanges", has=page.locator(place))
    assert section.locator("> summary").inner_text().startswith("quayside-jazz:")
    visit.context.close()


@pytest.mark.parametrize("width", [320, 400, 768, 1280])
def test_the_page_never_scrolls_sideways(browser, tmp_path: Path, width: int) -> None:
    visit = Visit(browser, written(tmp_path, sample_report()), viewport={"width": width, "height": 800})
    visit.page.locator(".toggle >> nth=0").click()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    visit.context.close()


def test_without_scripts_everything_is_there(browser, tmp_path: Path) -> None:
    visit = Visit(browser, written(tmp_path, sample_report()), java_script_enabled=False)
    assert visit.page.locator("#rows > .item").count() == 300
    assert visit.page.locator("#rows > .detail >> nth=299").is_visible()
    assert not visit.page.locator(".filters").is_visible()
    visit.context.close()


def test_rows_drawn_by_the_script_read_like_rows_written_by_the_template(browser, tmp_path: Path, monkeypatch) -> None:
    def texts() -> list[str]:
        visit = Visit(browser, written(tmp_path, sample_report(60)))
        visit.expect_status("60 slots.")
        playwright_api.expect(visit.page.locator("#rows .toggle")).to_have_count(60)
        seen = visit.page.locator("#rows > tr").evaluate_all(
            "rows => rows.map(r => r.outerHTML.replace(/>\\s+/g, '>').replace(/\\s+</g, '<'))"
        )
        visit.context.close()
        return [_normal(row) for row in seen]

    as_written = texts()
    monkeypatch.setattr("recovery.report.html.STATIC_ROWS", 10)
    as_drawn = texts()
    assert as_drawn == as_written


def _normal(row: str) -> str:
    """Empty attributes and their order do not matter."""
    tags = re.sub(r"<(\w+)((?:\s[^>]*)?)>", lambda m: f"<{m[1]} {' '.join(sorted(m[2].split()))}>", row)
    return re.sub(r"\s+", " ", tags.replace(' class=""', ""))


@pytest.mark.timeout(300)
def test_a_large_report_opens_in_three_seconds_and_pages(browser, tmp_path: Path) -> None:
    """100,000 slots with ALLCLEAR_PROVE, else a fifth of them, so that the usual run does not wait for the writing."""
    path = tmp_path / "large.html"
    path.write_text(render_html(sample_report(LARGE)), encoding="utf-8")
    visit = Visit(browser, path)
    visit.expect_status(f"{LARGE:,} slots.")
    assert visit.seconds < OPEN_SECONDS * PATIENCE, f"{visit.seconds:.1f} s"
    assert visit.page.locator("#rows > .item").count() == 100
    visit.page.get_by_role("button", name="Next").click()
    assert visit.page.inner_text("#page") == f"Page 2 of {LARGE // 100:,}"
    visit.page.fill("#q", f"tosca {LARGE - 1}")
    playwright_api.expect(visit.page.locator("#shown")).to_contain_text("match.", timeout=20_000)
    assert visit.complaints == []
    visit.context.close()
