"""WhatsApp message templates as Meta shapes them; Netcore's are created in the same shape.

Source: Meta's template management pages and the published OpenAPI of the Business Messaging API (v23.0): components of
type HEADER, BODY, FOOTER, BUTTONS, and CAROUSEL with cards that hold components of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from integrations.fields import Fields
from recovery.case.panel_ports import MessageTemplate, TemplateButton, TemplateList

MAX_CARDS = 50


def template_from(row: Fields) -> MessageTemplate:
    """One language of a template; BadReply when name, language, status or components are missing."""
    components = row.records("components")
    return MessageTemplate(
        ref=row.ref("id"),
        name=row.text("name"),
        language=row.ref("language"),
        status=row.ref("status").upper(),
        category=row.text("category", "").upper(),
        buttons=tuple(_buttons(components, None)),
        bodies=tuple(_bodies(components)),
        opted_out=_opted_out(row),
    )


def _opted_out(row: Fields) -> bool | None:
    """The flag when it is there; absent is not false."""
    if row.values.get("cta_url_link_tracking_opted_out") is None:
        return None
    return row.flag("cta_url_link_tracking_opted_out")


def _buttons(components: Sequence[Fields], card: int | None) -> Iterator[TemplateButton]:
    for component in components:
        kind = component.text("type", "").upper()
        if kind == "BUTTONS":
            for index, button in enumerate(component.records("buttons")):
                yield TemplateButton(
                    index, button.text("type").upper(), button.text("text", ""), button.text("url", ""), card
                )
        elif kind == "CAROUSEL" and card is None:
            for number, inner in enumerate(component.records("cards")[:MAX_CARDS]):
                yield from _buttons(inner.records("components"), number)


def _bodies(components: Sequence[Fields]) -> Iterator[str]:
    for component in components:
        kind = component.text("type", "").upper()
        if kind in ("BODY", "HEADER", "FOOTER") and component.values.get("text"):
            yield component.text("text")
        elif kind == "CAROUSEL":
            for inner in component.records("cards")[:MAX_CARDS]:
                yield from _bodies(inner.records("components"))


def listed(rows: Sequence[MessageTemplate], name: str, problem: str, traces: tuple[str, ...]) -> TemplateList:
    """The rows of exactly this name, and the names that differ from it only in case, blanks, - and _.

    The providers' own name filters are not documented to be exact, so the comparison is made here.
    """
    wanted = _loose(name)
    near = sorted({r.name for r in rows if r.name != name and _loose(r.name) == wanted})
    return TemplateList(tuple(r for r in rows if r.name == name), tuple(near), not problem, problem, traces)


def _loose(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in " -_")
