"""A bar chart as SVG, written by hand: a few rectangles need no library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, LEFT, BAR, GAP, HEAD = 760, 250, 18, 6, 34
COLOURS = ("#1f6f8b", "#99a8b2")


def bars(title: str, groups: Sequence[tuple[str, Sequence[tuple[str, float, str]]]]) -> str:
    """Horizontal bars in groups. A bar is (name, share of 1, text); the product's own have the first colour."""
    rows = sum(len(group) + 2 for _, group in groups)
    height = HEAD + rows * (BAR + GAP)
    room = WIDTH - LEFT - 150
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    y = HEAD
    for name, group in groups:
        y += BAR + GAP
        parts.append(f'<text x="10" y="{y - GAP}" font-weight="bold">{escape(name)}</text>')
        for label, share, text in group:
            length = max(1.0, min(share, 1.2) / 1.2 * room)
            colour = COLOURS[0] if label.startswith("engine") else COLOURS[1]
            parts.append(f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>')
            parts.append(f'<text x="{LEFT + length + 6:.1f}" y="{y + 13}">{escape(text)}</text>')
            y += BAR + GAP
        y += BAR
    return "\n".join([*parts, "</svg>"]) + "\n"
