"""What a template says about click tracking: pure classification, no IO.

A URL button is *dynamic* when its URL holds a placeholder and *static* when it holds none. Whether static URLs are
tracked is a rule of the provider, kept in its profile: not in Netcore's product, but in Meta's own tracking
(R000.14 to R000.16).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from recovery.case.panel_ports import ClickCounts, MessageTemplate, TemplateButton
from recovery.playbook import State

APPROVED = "APPROVED"
# Documented by Meta; anything else is "unknown status", never approved.
NOT_APPROVED = frozenset(
    {
        "ARCHIVED",
        "DELETED",
        "DISABLED",
        "FLAGGED",
        "IN_APPEAL",
        "LIMIT_EXCEEDED",
        "PAUSED",
        "PENDING",
        "PENDING_DELETION",
        "REJECTED",
    }
)
# Positional {{1}} and named {{promo_code}} parameters.
_PARAMETER = re.compile(r"\{\{\s*[A-Za-z0-9_]+\s*\}\}")
_BRACE = re.compile(r"[{}]")
_LINK = re.compile(r"https?://[^\s<>\"']+", re.I)
_STOPS = frozenset({"authentication", "no_url_button", "mixed", "static_only", "no_scheme", "malformed"})


@dataclass(frozen=True, slots=True)
class UrlButton:
    """One URL button with its class; `malformed` is a brace that is not a parameter, `scheme` whether http(s) leads."""

    language: str
    card: int | None
    index: int
    text: str
    url: str
    kind: Literal["dynamic", "static"]
    scheme: bool
    malformed: bool

    @property
    def place(self) -> str:
        """Where it stands, for people: language, card if any, button number counted from 1, text."""
        card = "" if self.card is None else f", card {self.card + 1}"
        return f"{self.language}{card}, button {self.index + 1} “{self.text}”"


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything the templates of one name say about their links."""

    dynamic: tuple[UrlButton, ...]
    static: tuple[UrlButton, ...]
    authentication: tuple[str, ...]
    body_links: tuple[str, ...]
    other_buttons: int

    @property
    def urls(self) -> tuple[UrlButton, ...]:
        """All URL buttons."""
        return self.dynamic + self.static


def classify(button: TemplateButton, language: str) -> UrlButton:
    """The class of one URL button."""
    has_parameter = bool(_PARAMETER.search(button.url))
    rest = _PARAMETER.sub("", button.url)
    return UrlButton(
        language=language,
        card=button.card,
        index=button.index,
        text=button.text,
        url=button.url,
        kind="dynamic" if has_parameter else "static",
        scheme=button.url.lower().startswith(("http://", "https://")),
        malformed=bool(_BRACE.search(rest)),
    )


def read_templates(templates: tuple[MessageTemplate, ...]) -> Reading:
    """All URL buttons of all languages, carousel cards included; body links and AUTHENTICATION named apart."""
    buttons: list[UrlButton] = []
    others = 0
    for template in templates:
        for button in template.buttons:
            if button.type == "URL" and template.category != "AUTHENTICATION":
                buttons.append(classify(button, template.language))
            else:
                others += 1
    return Reading(
        dynamic=tuple(b for b in buttons if b.kind == "dynamic"),
        static=tuple(b for b in buttons if b.kind == "static"),
        authentication=tuple(t.language for t in templates if t.category == "AUTHENTICATION"),
        body_links=tuple(
            f"{t.language}: {link}" for t in templates for body in t.bodies for link in _LINK.findall(body)
        ),
        other_buttons=others,
    )


def url_codes(reading: Reading, static_tracked: bool) -> tuple[str, ...]:
    """What the links come to, in codes; "fit" is said only when every URL button can be tracked at this provider."""
    codes: list[str] = []
    if reading.authentication:
        codes.append("authentication")
    if reading.body_links:
        codes.append("body_links")
    if not reading.urls and not reading.authentication:
        codes.append("no_url_button")
    if reading.static and not static_tracked:
        codes.append("mixed" if reading.dynamic else "static_only")
    if any(not b.scheme for b in reading.urls):
        codes.append("no_scheme")
    if any(b.malformed for b in reading.urls):
        codes.append("malformed")
    if reading.dynamic or (reading.static and static_tracked):
        codes.append("trackable")
    if reading.static and static_tracked:
        codes.append("static_counts")
    if not _STOPS & set(codes):
        codes.append("fit")
    return tuple(codes)


def url_state(codes: tuple[str, ...], complete: bool) -> State:
    """PASS only when all was read and fits. A fault that was seen stays a fault even when the list was cut short."""
    faults = _STOPS & set(codes)
    if not complete and faults <= {"no_url_button"}:
        return State.UNKNOWN
    return State.FAIL if faults else State.PASS


def name_codes(templates: tuple[MessageTemplate, ...], complete: bool) -> tuple[str, ...]:
    """Whether the template is there and may be used: distinct codes for not found, several, not approved, unknown."""
    if not templates:
        return ("not_found",) if complete else ("incomplete",)
    codes: list[str] = []
    languages = [t.language for t in templates]
    if len(set(languages)) != len(languages):
        codes.append("several")
    if any(t.status in NOT_APPROVED for t in templates):
        codes.append("not_approved")
    if any(t.status != APPROVED and t.status not in NOT_APPROVED for t in templates):
        codes.append("unknown_status")
    if any(t.status == APPROVED for t in templates):
        codes.append("approved")
    if not complete:
        codes.append("incomplete")
    return tuple(codes)


def click_code(counts: ClickCounts | None, opted_out: bool, supported: bool) -> str:
    """One of six answers that must not be mixed up; total and unique are alternatives, never addends (R000.20).

    Without deliveries nothing could be clicked, whatever the reply says or leaves out about clicks.
    """
    if not supported or counts is None:
        return "opted_out" if opted_out else "unsupported"
    seen = counts.total if counts.total is not None else counts.unique
    if seen:
        return "clicks_seen"
    if counts.delivered == 0:
        return "zero_no_deliveries"
    if seen is None or counts.delivered is None:
        return "opted_out" if opted_out else "absent"
    return "zero_with_deliveries"
