"""What each line of an incident's timeline is about: post, link, approved words (R002.36). Pure."""

from __future__ import annotations

from collections.abc import Mapping

from recovery.desk.incident import Entry

DIGEST_SHOWN = 12
ABOUT: Mapping[str, tuple[str, ...]] = {
    "declared": ("severity", "title", "source", "source_ref"),
    "source_merged": ("source", "source_ref"),
    "report_received": ("report_ref", "account", "subject"),
    "severity_changed": ("before", "severity", "reason"),
    "scope_changed": ("scope", "customers"),
    "fact_recorded": ("field", "value"),
    "triaged": ("nature", "impact"),
    "responded": ("report_ref", "author"),
    "customer_replied": ("report_ref",),
    "role_assigned": ("role", "person"),
    "duty_done": ("role", "duty"),
    "team_engaged": ("team",),
    "page_acknowledged": ("text",),
    "eta_given": ("text",),
    "announcement_prepared": ("phase", "digest", "title"),
    "announcement_approved": ("phase", "digest"),
    "resolution_confirmed": ("text",),
    "hold_started": ("state", "report_ref"),
    "hold_ended": ("report_ref",),
    "alarm_raised": ("text",),
    "task_done": ("task", "text"),
    "effect_done": ("effect", "ref", "url"),
    "effect_failed": ("effect", "reason"),
    "effect_reopened": ("effect",),
    "rca_drafted": ("digest", "title"),
    "rca_approved": ("digest",),
}
"""The fields of an event that a reader of the timeline needs, by its kind."""


def about(entry: Entry) -> str:
    """One line; "" for a kind that this program does not know."""
    shown = (_shown(name, entry.data.get(name)) for name in ABOUT.get(entry.kind, ()))
    return " · ".join(text for text in shown if text)


def _shown(name: str, value: object) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(str(v) for v in value)
    text = "" if value is None else str(value)
    return text[:DIGEST_SHOWN] if name == "digest" else text
