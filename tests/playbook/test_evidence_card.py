"""Evidence cards as pages and pictures, uploads, redaction, and the store."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.case.card import CHROMIUM, Card, render_html, render_png
from recovery.case.evidence import FolderStore, media_type_of, redact, sign, store_upload
from recovery.errors import AllclearError, RefusedError
from tests.playbook.play import NOW, PNG, Table

BROWSER = Path(os.environ.get("ALLCLEAR_TEST_CHROMIUM", CHROMIUM))


def card(**facts: str) -> Card:
    known = {
        "title": "Link tracking is enabled for the panel",
        "account": "harbor",
        "item": "spring_offer",
        "state": "fail",
        "value": "is_enabled_for_insights is off",
        "setting_path": "CPaaS panel > Settings > General Settings > Link Tracking",
        "link": "https://panel.example/settings",
        "by": "allclear",
        "source": "Meta WhatsApp Cloud API",
    }
    return Card(at=NOW, rows=(("Answer", "status 200"),), **(known | facts))


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.requirement("E.2", "E.3")
def test_a_card_names_account_item_path_value_time_source_and_the_deep_link() -> None:
    page = Page(render_html(card()))
    for text in (
        "harbor",
        "spring_offer",
        "CPaaS panel > Settings > General Settings > Link Tracking",
        "is_enabled_for_insights is off",
        "2026-03-01T12:00:00Z",
        "Meta WhatsApp Cloud API",
        "status 200",
    ):
        assert text in page.texts
    assert page.links == ["https://panel.example/settings"]
    assert {"html", "title", "h1", "th"} <= set(page.tags)


@given(st.text(max_size=80))
@settings(max_examples=150, deadline=None)
def test_no_text_ever_becomes_a_tag_or_a_link(hostile: str) -> None:
    plain = Page(render_html(card(link="")))
    for wrapped in (hostile, f"<img src=x onerror=1>{hostile}", f'"><a href="https://evil.example">{hostile}</a>'):
        page = Page(render_html(card(value=wrapped, item=wrapped, title=wrapped, link="javascript:alert(1)")))
        assert (page.tags, page.links) == (plain.tags, [])


async def test_every_check_leaves_a_card_and_a_picture_where_it_stands_in_for_a_screenshot(tmp_path: Path) -> None:
    """E.2: the stand-in browser writes a PNG where it is told to, as Chromium does."""
    browser = tmp_path / "browser"
    browser.write_text(
        '#!/bin/sh\nfor a in "$@"; do case "$a" in --screenshot=*) '
        'printf "\\211PNG\\r\\n\\032\\n" > "${a#--screenshot=}";; esac; done\n'
    )
    browser.chmod(0o755)
    table = Table(tmp_path, browser=browser)
    await table.run()
    cards = [e for e in (await table.case()).evidence if e.kind == "card"]
    checks = {c.id for c in table.playbook.checks}
    slots = {c.id for c in table.playbook.checks if c.slots}
    assert {e.check for e in cards if e.media_type == "text/html"} == checks
    assert {e.check for e in cards if e.media_type == "image/png"} == slots > {"panel"}


@pytest.mark.requirement("E.2")
@pytest.mark.parametrize("script", ["exit 1", "sleep 30", 'for a in "$@"; do :; done'])
async def test_a_browser_that_fails_hangs_or_writes_nothing_costs_only_the_picture(tmp_path: Path, script: str) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\n{script}\n")
    browser.chmod(0o755)
    assert await render_png(render_html(card()), browser, seconds=0.5) is None


async def test_without_a_browser_there_is_no_picture(tmp_path: Path) -> None:
    assert await render_png("<p>x</p>", tmp_path / "none") is None
    assert await render_png("<p>x</p>", None) is None


@pytest.mark.requirement("E.2")
@pytest.mark.skipif(not os.access(BROWSER, os.X_OK), reason=f"no browser at {BROWSER}")
async def test_a_real_browser_draws_the_card() -> None:
    picture = await render_png(render_html(card()), BROWSER)
    assert picture is not None
    assert len(picture) > 5000


@pytest.mark.requirement("E.5")
@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("GET https://x.example/a?access_token=tok123456&limit=1", "tok123456"),
        ("https://api.example/apiv2?type=export_data&apikey=k-998877", "k-998877"),
        ('{"api_key": "abc\\"def", "n": 1}', "abc"),
        ("Authorization: Bearer eyJhbGciOi.x.y", "eyJhbGciOi"),
        ('{"recipient_whatsapp": "919812345678"}', "919812345678"),
        ('{"phoneNumber": 919812345678}', "919812345678"),
        ("call +49 (151) 1234-5678 now", "1234-5678"),
        ("call +91\u00a098765\u00a043210 now", "98765"),
        ("call +49\u2011151\u201112345678 now", "12345678"),
        ("call 0044 20 7946 0958 now", "7946"),
    ],
)
def test_secrets_keys_in_queries_and_phone_numbers_are_redacted(text: str, gone: str) -> None:
    assert gone not in redact(text)
    assert "[redacted]" in redact(text)


def test_redaction_leaves_ids_and_counts_alone() -> None:
    text = (
        '{"id": "1234567890123456", "name": "spring_offer", "delivered": 1234567, "url": "https://x.example/a?p={{1}}"}\n'
        "campaign 0012345678, sent 2026-11-01T08:00:00+00:00, up by +5\n12345678 in all"
    )
    assert redact(text) == text


@pytest.mark.requirement("E.6")
async def test_the_store_keeps_bytes_once_and_never_changes_them(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    digest = await store.put(b"one")
    assert await store.put(b"one") == digest
    assert await store.get(digest) == b"one"
    assert (tmp_path / digest[:2] / digest).stat().st_mode & 0o222 == 0
    with pytest.raises(AllclearError, match="not a SHA-256"):
        await store.get("../../etc/passwd")


@pytest.mark.requirement("E.4")
@pytest.mark.parametrize("content", [b"", b"\x7fELF\x02\x01\xff\xfe", b"\xff\xfe<script"])
async def test_an_upload_that_is_no_picture_document_or_text_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RefusedError):
        await store_upload(
            FolderStore(tmp_path), content, ref="r", check="panel", slot="panel", title="t", by="Ann", at=NOW
        )


def test_uploads_are_known_by_their_first_bytes() -> None:
    assert media_type_of(PNG) == "image/png"
    assert media_type_of(b"\xff\xd8\xff\xe0abc") == "image/jpeg"
    assert media_type_of(b"%PDF-1.7") == "application/pdf"
    assert media_type_of(b"<html>") == "text/plain"


@pytest.mark.requirement("E.4")
def test_a_signature_covers_who_said_what_about_which_check_and_when() -> None:
    parts = ("c1", "panel", "on", "green", "Ann")
    first = sign(b"key", *parts, NOW)
    assert first == sign(b"key", *parts, NOW)
    changed = {sign(b"key", *(*parts[:n], "other", *parts[n + 1 :]), NOW) for n in range(5)} | {
        sign(b"k2", *parts, NOW)
    }
    assert first not in changed
    assert len(changed) == 6
