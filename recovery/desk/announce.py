"""Announcements: the words of the three phases, what must be true before they are said, and their order. Pure.

A template's first line is the title, the rest the text. Source 002's placeholders stand in it as in the source. What a
person or a remote wrote is only ever a value, never read as a template. The same words go to customer tickets, chat,
status page and in-app notice (R002.7).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from recovery.desk.incident import Incident
from recovery.desk.settings import PHASES, DeskSettings, Phase
from recovery.errors import ConfigError, RefusedError
from recovery.model import digest_of

ETA_PLACEHOLDER = "<Insert ETA>"
SYMPTOMS_PLACEHOLDER = "<Insert error(s) or other>"
NO_ETA = "Unknown"
GIVE_REASON = 'Give --reason "WHY".'
PLACEHOLDER = re.compile(r"<\s*insert\b[^>]*>", re.IGNORECASE)
LOST_BREAK_BEFORE = re.compile(r"(?<=\S)[ \t]*(?=(?:Estimated Resolution Time|Symptoms):)")
LOST_BREAK_AFTER = re.compile(re.escape(SYMPTOMS_PLACEHOLDER) + r"[ \t]*(?=\S)")
MARKER = re.compile(r"\[RK-[A-Z2-7]{4,}\]")


@dataclass(frozen=True, slots=True)
class Words:
    """An announcement as customers read it."""

    title: str
    body: str

    @property
    def text(self) -> str:
        """Title and body as one plain text."""
        return f"{self.title}\n\n{self.body}"

    @property
    def digest(self) -> str:
        """What an approval is bound to."""
        return digest_of([self.title, self.body])


def render(settings: DeskSettings, name: str, values: Mapping[str, object], fills: Mapping[str, str]) -> Words:
    """Title and body of a template with its variables and placeholders filled.

    Raises ConfigError when the template names something unknown, RefusedError when a placeholder would stay (R002.28).
    """
    # Plain text goes out, never markup: escaping would put "&amp;" before customers.
    environment = SandboxedEnvironment(autoescape=False, undefined=StrictUndefined)
    filled: dict[str, object] = {}

    def as_variable(found: re.Match[str]) -> str:
        filled[f"placeholder_{len(filled)}"] = _filled(found[0], fills)
        return f"{{{{ placeholder_{len(filled) - 1} }}}}"

    source = PLACEHOLDER.sub(as_variable, restore_lines(settings.templates[name]))
    plain = {k: _one_line(v) if isinstance(v, str) else v for k, v in values.items()}
    try:
        text = environment.from_string(source).render(**plain, **filled)
    except TemplateError as error:
        raise ConfigError(f"templates/{name}.j2: {error.message or 'cannot be filled'}.") from error
    title, _, body = text.partition("\n")
    return Words(title.strip(), body.strip())


def restore_lines(text: str) -> str:
    """Put each field on a line of its own again where a pasted template lost its line breaks (R002.28)."""
    return LOST_BREAK_AFTER.sub(SYMPTOMS_PLACEHOLDER + "\n", LOST_BREAK_BEFORE.sub("\n", text))


def announcement(settings: DeskSettings, incident: Incident, phase: Phase) -> Words:
    """The words of a phase for this incident; RefusedError when they cannot be said yet.

    The time of resolution is a person's or "Unknown", never computed (R002.23).
    """
    return render(settings, phase, {"brand": brand_of(settings, incident)}, _fills(incident))


def update(settings: DeskSettings, incident: Incident, note: str, now: datetime) -> Words:
    """A regular update within the present phase: its title, a person's note, and when the next one comes (R002.13)."""
    if incident.phase is None or incident.phase == "resolved":
        raise RefusedError("A regular update needs an open announcement; announce a phase first.")
    if not note.strip() or PLACEHOLDER.search(note):
        raise RefusedError("An update needs a sentence from a person about what is being done.")
    title = announcement(settings, incident, incident.phase).title
    due = now + timedelta(minutes=settings.desk.announcements.update_minutes)
    local = due.astimezone(ZoneInfo(incident.time_zone))
    values = {
        "title": title,
        "note": note,
        "next_update": f"{local:%H:%M} ({incident.time_zone})",
        "brand": brand_of(settings, incident),
    }
    return render(settings, "update", values, _fills(incident))


def refuse_order(incident: Incident, phase: Phase, reason: str) -> None:
    """RefusedError unless investigating, identified, resolved follow in order; a skip or reopening needs a reason."""
    present = -1 if incident.phase is None else PHASES.index(incident.phase)
    wanted = PHASES.index(phase)
    if wanted == present:
        raise RefusedError(f'"{phase}" is already announced; post an update instead.')
    if wanted == present + 1 or reason.strip():
        return
    if wanted < present:
        raise RefusedError(f'Going back from "{incident.phase}" to "{phase}" needs a reason.', GIVE_REASON)
    raise RefusedError(f'Announcing "{phase}" now skips "{PHASES[present + 1]}"; that needs a reason.', GIVE_REASON)


def refuse_unconfirmed(incident: Incident, phase: Phase) -> None:
    """RefusedError for a resolved notice without a named Engineering confirmation (R002.15)."""
    if phase == "resolved" and incident.confirmed is None:
        raise RefusedError("Nothing is announced as resolved before a named person of Engineering has confirmed it.")


def refuse_internal(settings: DeskSettings, text: str) -> None:
    """RefusedError when a text for customers holds an issue key, a marker of ours, or an internal word (R002.33)."""
    projects = "|".join(re.escape(p) for p in settings.desk.internal.jira_projects)
    found = re.search(rf"\b(?:{projects})-\d+\b", text, re.IGNORECASE) if projects else None
    found = found or MARKER.search(text)
    if found is not None:
        raise RefusedError(f'"{found[0]}" is internal and must not stand in a text for customers.')
    lowered = text.casefold()
    secrets = (c.p1_address.get_secret_value() for c in settings.desk.clients.values())
    if any(s and s in lowered for s in secrets):
        raise RefusedError("A client's P1 address is secret and must not stand in a text for customers.")
    for word in settings.desk.internal.words:
        if word.casefold() in lowered:
            raise RefusedError(f'"{word}" is internal and must not stand in a text for customers.')


def for_customers(settings: DeskSettings, text: str, instead: str) -> str:
    """The text when customers may see it, else other words: what a machine or a colleague titled must not leak."""
    try:
        refuse_internal(settings, text)
    except RefusedError:
        return instead
    return text


def chat_title(settings: DeskSettings, title: str) -> str:
    """The title as it stands in chat: between rotating lights when that is switched on (R002.35)."""
    return f":rotating_light: {title} :rotating_light:" if settings.desk.announcements.rotating_light else title


def _fills(incident: Incident) -> dict[str, str]:
    return {
        ETA_PLACEHOLDER: _one_line(incident.eta.text) if incident.eta else NO_ETA,
        SYMPTOMS_PLACEHOLDER: "; ".join(_one_line(s) for s in incident.symptoms),
    }


def _filled(placeholder: str, fills: Mapping[str, str]) -> str:
    known = {re.sub(r"\W+", "", name).casefold(): value for name, value in fills.items()}
    value = known.get(re.sub(r"\W+", "", placeholder).casefold())
    if value is None:
        raise RefusedError(f'The text still holds the placeholder "{placeholder}", which nothing fills.')
    if not value or PLACEHOLDER.search(value):
        raise RefusedError(f'Nothing is known yet for "{placeholder}"; record it before announcing.')
    return value


def brand_of(settings: DeskSettings, incident: Incident) -> str:
    """The customers' own brand when they share one, else the desk's: the same words go to all."""
    brands = {settings.brand(account) for account in incident.customers}
    return brands.pop() if len(brands) == 1 else settings.desk.brand


def _one_line(value: str) -> str:
    """Text from outside without line breaks and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())
