"""Evidence cards: what stands in for a screenshot (E.2, E.3). HTML, and PNG through a headless browser if present.

A card is one self-contained page without script or outside resource; everything in it is escaped text.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

from recovery.model import iso

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=900,1200",
)
RENDER_SECONDS = 30.0
_STYLE = """
:root{color-scheme:light}
body{margin:0;padding:24px;background:#fff;color:#1a1f26;font:15px/1.45 system-ui,"DejaVu Sans",sans-serif}
main{max-width:820px;margin:0 auto;border:1px solid #c6ccd4;border-radius:8px;padding:20px 24px}
h1{font-size:20px;margin:0 0 4px}
.state{display:inline-block;margin:8px 0 12px;padding:2px 10px;border-radius:4px;border:2px solid;font-weight:600}
.pass{color:#0b6b2e}.fail{color:#a11212}.unknown,.error{color:#7a4a00}.not_applicable{color:#4a5561}
table{border-collapse:collapse;width:100%}
th,td{border-top:1px solid #dfe3e8;padding:6px 8px 6px 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{width:190px;font-weight:600;color:#3a434d}
code{font:13px/1.4 "DejaVu Sans Mono",monospace}
""".strip()


@dataclass(frozen=True, slots=True)
class Card:
    """What one card says. `rows` are more pairs of label and value; only an https `link` becomes a link."""

    title: str
    account: str
    item: str
    state: str
    value: str
    setting_path: str
    link: str
    at: datetime
    by: str
    source: str
    rows: Sequence[tuple[str, str]] = ()


def render_html(card: Card) -> str:
    """The card as a page. Remote text is escaped and stays text."""
    link = escape(card.link)
    if _is_link(card.link):
        link = f'<a href="{link}" rel="noreferrer noopener">{link}</a>'
    pairs = [
        ("Account", escape(card.account)),
        ("Item", escape(card.item)),
        ("Setting", escape(card.setting_path or "—")),
        ("Where to look", link or "—"),
        ("Value", escape(card.value)),
        ("Time (UTC)", escape(iso(card.at))),
        ("Looked at by", escape(card.by)),
        ("Source", escape(card.source or "—")),
        *((escape(label), f"<code>{escape(value)}</code>") for label, value in card.rows if value),
    ]
    rows = "\n".join(f'<tr><th scope="row">{label}</th><td>{value}</td></tr>' for label, value in pairs)
    state = escape(card.state)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(card.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(card.title)}</h1>\n<p class="state {state}">{escape(card.state.replace("_", " "))}</p>\n'
        f"<table>\n<tbody>\n{rows}\n</tbody>\n</table>\n</main>\n</body>\n</html>\n"
    )


def _is_link(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname)


async def render_png(html: str, browser: Path | None = CHROMIUM, seconds: float = RENDER_SECONDS) -> bytes | None:
    """The page as a PNG, or None when no browser is there or it fails: the HTML is the evidence, the PNG a copy.

    The browser gets a profile of its own in a temporary folder, no network is needed, and it is ended after `seconds`.
    """
    if browser is None or not os.access(browser, os.X_OK):
        return None
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="allclear-card-", ignore_cleanup_errors=True)
    with folder as name:
        page, picture = Path(name, "card.html"), Path(name, "card.png")
        await asyncio.to_thread(page.write_text, html, encoding="utf-8")
        command = (*FLAGS, f"--user-data-dir={name}/profile", f"--screenshot={picture}", page.as_uri())
        try:
            await _run(browser, command, seconds)
            content = await asyncio.to_thread(picture.read_bytes)
        except OSError:
            return None
    return content if content.startswith(b"\x89PNG\r\n\x1a\n") else None


async def _run(browser: Path, arguments: tuple[str, ...], seconds: float) -> None:
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        str(browser), *arguments, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        return
    finally:
        if process.returncode is None:
            # Chromium starts children of its own; the session's group ends them together.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()
