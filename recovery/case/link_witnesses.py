"""The witnesses of the link-tracking playbook: each reads what an API can answer and says UNKNOWN where none can.

Source: the vendor's page on WhatsApp clicks that are not tracked (rows R000.6 to R000.21). A witness never turns a
failed read into an answer: remote errors pass up, and the engine records them as ERROR.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from recovery.case.link_tracking import Reading, UrlButton, click_code, name_codes, read_templates, url_codes, url_state
from recovery.case.panel_ports import (
    CampaignUse,
    ClickCounts,
    MessageTemplate,
    Panel,
    PanelBook,
    PanelDesk,
    TemplateList,
)
from recovery.errors import ConfigError
from recovery.playbook import Check, Profile, State
from recovery.witness import ASK_PERSON, Registry, Sight, Visit, WitnessSpec

PANELS = "panels"
_PANEL_FACTS = frozenset({"provider", "provider_title", "panel", "panel_state"})
_LINK = frozenset({"panel_url", "panel_ref"})


def panel_of(visit: Visit) -> tuple[Panel, PanelDesk, Profile]:
    """The one panel mapped to the account, its desk and its provider's profile.

    Raises ConfigError when none or several are mapped: that is an error, not a pass (R000.7).
    """
    book = visit.sources.get(PANELS)
    if not isinstance(book, PanelBook):
        raise ConfigError("no messaging panels are set up", "map the account to its panel in the settings")
    found = book.of(visit.account)
    if not found:
        raise ConfigError(f"no panel is mapped to account {visit.account!r}", "map the account to its panel")
    if len(found) > 1:
        names = ", ".join(f"{p.provider}/{p.ref}" for p in found)
        raise ConfigError(f"several panels are mapped to account {visit.account!r}: {names}", "leave exactly one")
    panel = found[0]
    desk = book.desks.get((panel.provider, panel.ref))
    profile = visit.profiles.get(panel.provider)
    if desk is None or profile is None:
        missing = "client" if desk is None else "profile in the playbook"
        raise ConfigError(f"provider {panel.provider!r} of account {visit.account!r} has no {missing}")
    return panel, desk, profile


def _link(panel: Panel) -> dict[str, str]:
    return {"panel_url": panel.url, "panel_ref": panel.ref}


async def panel_setting(visit: Visit, check: Check) -> Sight:
    """Whether link tracking is on for the panel: on, off or unknown (R000.6, R000.7)."""
    panel, desk, profile = panel_of(visit)
    facts = {"provider": panel.provider, "provider_title": profile.title, "panel": panel.name or panel.ref}
    if not desk.capabilities().panel_setting:
        summary = f"{profile.title} has no API that reads this setting. {check.question}".strip()
        return Sight(State.UNKNOWN, ("unknown", "no_api"), summary, facts, link=_link(panel), source="no API")
    setting = await visit.once("setting", desk.setting)
    facts |= {"panel_state": setting.state, "trace": ", ".join(setting.traces)}
    state = {"on": State.PASS, "off": State.FAIL, "unknown": State.UNKNOWN}[setting.state]
    summary = f"{setting.field} of panel {setting.panel_name or panel.ref} is {setting.state}"
    source = f"{profile.title}, field {setting.field}"
    return Sight(state, (setting.state,), summary, facts, {"panel": summary}, _link(panel), source)


async def _templates(visit: Visit) -> tuple[TemplateList, Panel, PanelDesk, Profile]:
    panel, desk, profile = panel_of(visit)
    name = visit.fields["template_name"]
    return await visit.once("templates", lambda: desk.templates(name)), panel, desk, profile


async def template_by_name(visit: Visit, check: Check) -> Sight:
    """The template of exactly this name, every language, every page (R000.12, R000.13)."""
    del check
    found, panel, _, profile = await _templates(visit)
    codes = name_codes(found.templates, found.complete)
    facts = {
        "languages": ", ".join(sorted({t.language for t in found.templates})),
        "statuses": ", ".join(f"{t.language}: {t.status}" for t in found.templates),
        "near_names": ", ".join(found.near),
    }
    if "incomplete" in codes or "unknown_status" in codes or "several" in codes:
        state = State.UNKNOWN
    else:
        state = State.PASS if codes == ("approved",) else State.FAIL
    summary = facts["statuses"] or f"no template of exactly this name; similar: {facts['near_names'] or 'none'}"
    if found.problem:
        summary += f" (list not read to its end: {found.problem})"
    return Sight(state, codes, summary, facts, link=_link(panel), source=f"{profile.title}, template list")


def _listed(buttons: tuple[UrlButton, ...]) -> str:
    return "; ".join(f"{b.place} → {b.url}" for b in buttons)


def _example(visit: Visit, kind: str, buttons: tuple[UrlButton, ...]) -> str:
    """A real button where the template has one, else the playbook's illustration, marked as such (R000.17, R000.18)."""
    if buttons:
        return f"{buttons[0].place}: {buttons[0].url}"
    shown = next((e for e in visit.examples if e.id == kind), None)
    return f"illustration, not this template: {shown.title}: {shown.value}" if shown else ""


def _url_facts(reading: Reading, profile: Profile) -> dict[str, str]:
    return {
        "dynamic_buttons": _listed(reading.dynamic),
        "static_buttons": _listed(reading.static),
        "no_scheme_buttons": _listed(tuple(b for b in reading.urls if not b.scheme)),
        "malformed_buttons": _listed(tuple(b for b in reading.urls if b.malformed)),
        "body_links": "; ".join(reading.body_links),
        "authentication_languages": ", ".join(reading.authentication),
        "static_rule": f"{profile.settings['static_statement']} (rule of {profile.title}, version {profile.version})",
    }


async def template_url_type(visit: Visit, check: Check) -> Sight:
    """Every URL button of every language, dynamic or static; PASS only if the provider can track each (R000.14-18)."""
    del check
    found, panel, _, profile = await _templates(visit)
    if not found.templates:
        code = "no_template" if found.complete else "incomplete"
        return Sight(State.UNKNOWN, (code,), "no template to look at", link=_link(panel), source=profile.title)
    reading = read_templates(found.templates)
    codes = url_codes(reading, bool(profile.settings["static_tracked"]))
    facts = _url_facts(reading, profile)
    state = url_state(codes, found.complete)
    if state is State.UNKNOWN:
        codes = (*(c for c in codes if c != "fit"), "incomplete")
    slots = {k: v for k in ("dynamic", "static") if (v := _example(visit, k, getattr(reading, k)))}
    summary = f"{len(reading.dynamic)} dynamic and {len(reading.static)} static URL buttons. {facts['static_rule']}"
    return Sight(state, codes, summary, facts, slots, _link(panel), f"{profile.title}, template components")


async def template_opt_out(visit: Visit, check: Check) -> Sight:
    """Whether tracking is switched off for the template itself (R000.21)."""
    del check
    found, panel, _, profile = await _templates(visit)
    source = f"{profile.title}, cta_url_link_tracking_opted_out"
    if not profile.settings["opt_out_flag"]:
        return Sight(State.NOT_APPLICABLE, ("no_such_flag",), f"{profile.title} has no such switch", source=source)
    if not found.templates:
        return Sight(State.UNKNOWN, ("no_template",), "no template to look at", source=source)
    out = [t.language for t in found.templates if t.opted_out]
    if out:
        facts = {"opted_out_languages": ", ".join(out)}
        return Sight(
            State.FAIL, ("opted_out",), f"opted out: {', '.join(out)}", facts, link=_link(panel), source=source
        )
    if any(t.opted_out is None for t in found.templates):
        return Sight(
            State.UNKNOWN, ("flag_absent",), "the reply does not hold the flag", link=_link(panel), source=source
        )
    return Sight(
        State.PASS, ("not_opted_out",), "tracking is not switched off for it", link=_link(panel), source=source
    )


async def _campaign(visit: Visit) -> CampaignUse | None:
    """What the campaign or journey uses, None where no API tells."""
    _, desk, _ = panel_of(visit)
    if not desk.capabilities().campaign_read:
        return None
    kind = "journey" if not visit.fields.get("campaign_ref") else "campaign"
    ref = visit.fields.get(f"{kind}_ref", "")
    return await visit.once("campaign", lambda: desk.campaign(kind, ref))


async def campaign_template(visit: Visit, check: Check) -> Sight:
    """Whether the campaign or journey uses this very template (R000.19); a person looks where no API tells."""
    panel, _, profile = panel_of(visit)
    use = await _campaign(visit)
    if use is None:
        return Sight(
            State.UNKNOWN, ("no_api",), f"{profile.title} has no API for this. {check.question}", link=_link(panel)
        )
    same = use.template_name == visit.fields["template_name"]
    state, code = (State.PASS, "same_template") if same else (State.FAIL, "other_template")
    facts = {"used_template": use.template_name}
    return Sight(state, (code,), f"it uses {use.template_name!r}", facts, link=_link(panel), source=profile.title)


async def message_flag(visit: Visit, check: Check) -> Sight:
    """Whether cta_link_track is set on the messages as sent; only some providers have it (R000.21)."""
    panel, _, profile = panel_of(visit)
    if not profile.settings["message_flag"]:
        return Sight(State.NOT_APPLICABLE, ("no_such_flag",), f"{profile.title} has no such flag", source=profile.title)
    use = await _campaign(visit)
    if use is None or use.link_flag is None:
        return Sight(
            State.UNKNOWN, ("no_api",), f"{profile.title} has no API for this. {check.question}", link=_link(panel)
        )
    state, code = (State.PASS, "flag_set") if use.link_flag else (State.FAIL, "flag_missing")
    return Sight(state, (code,), f"cta_link_track is {'set' if use.link_flag else 'not set'}", source=profile.title)


def _sent_at(visit: Visit) -> datetime | None:
    text = visit.fields.get("sent_on", "").strip()
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"sent_on: {text!r} is not a date", "write it as YYYY-MM-DD") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _least_age(visit: Visit, sent: datetime) -> timedelta:
    """How long ago it was sent at least: one of which only the day is known may have left at that day's end."""
    known_to_the_day = len(visit.fields["sent_on"].strip()) == len("YYYY-MM-DD")
    return visit.clock.now() - sent - timedelta(days=int(known_to_the_day))


async def coverage(visit: Visit, check: Check) -> Sight:
    """Whether the provider reports clicks at all for this region and this age (R000.21)."""
    del check
    panel, _, profile = panel_of(visit)
    limit = int(str(profile.settings["max_age_days"]))
    not_served = profile.settings["unsupported_regions"]
    codes: list[str] = []
    assert isinstance(not_served, tuple)
    outside = sorted({region.strip().upper() for region in panel.regions} & set(not_served))
    if outside:
        codes.append("region_unsupported")
    sent = _sent_at(visit)
    if limit and sent is not None and _least_age(visit, sent) > timedelta(days=limit):
        codes.append("too_old")
    facts = {"regions": ", ".join(outside), "age_limit_days": str(limit) if limit else "none"}
    if codes:
        return Sight(State.FAIL, tuple(codes), f"outside what {profile.title} reports", facts, source=profile.title)
    if (limit and sent is None) or (not_served and not panel.regions):
        missing = "date of sending" if limit and sent is None else "panel's region"
        return Sight(State.UNKNOWN, ("not_known",), f"the {missing} is not known", facts, source=profile.title)
    return Sight(State.PASS, ("covered",), "region and age are within what is reported", facts, source=profile.title)


async def click_counts(visit: Visit, check: Check) -> Sight:
    """Deliveries and clicks: zero, absent, unsupported and opted out stay four different answers (R000.19, R000.20)."""
    found, panel, desk, profile = await _templates(visit)
    if not found.templates:
        return Sight(State.UNKNOWN, ("no_template",), "no template to look at", link=_link(panel), source=profile.title)
    opted_out = any(t.opted_out for t in found.templates)
    supported = desk.capabilities().click_report
    counts = await _clicks(visit, desk, found.templates, profile) if supported else None
    code = click_code(counts, opted_out, supported)
    state = {"clicks_seen": State.PASS, "zero_with_deliveries": State.FAIL, "opted_out": State.FAIL}.get(
        code, State.UNKNOWN
    )
    if code == "zero_no_deliveries":
        state = State.NOT_APPLICABLE
    summary = _click_summary(counts) if counts else f"{profile.title} has no API for clicks. {check.question}".strip()
    return Sight(state, (code,), summary, _click_facts(counts), link=_link(panel), source=f"{profile.title}, analytics")


async def _clicks(
    visit: Visit, desk: PanelDesk, templates: tuple[MessageTemplate, ...], profile: Profile
) -> ClickCounts:
    end = visit.clock.now()
    days = int(str(profile.settings["max_age_days"])) or 90
    sent = _sent_at(visit)
    earliest = end - timedelta(days=days)
    start = max(earliest, sent) if sent else earliest
    refs = tuple(t.ref for t in templates)
    return await visit.once("clicks", lambda: desk.clicks(refs, start, end))


def _number(count: int | None) -> str:
    return "not reported" if count is None else str(count)


def _click_facts(counts: ClickCounts | None) -> dict[str, str]:
    if counts is None:
        return {}
    return {
        "sent": _number(counts.sent),
        "delivered": _number(counts.delivered),
        "clicks_total": _number(counts.total),
        "clicks_unique": _number(counts.unique),
        "counted_from": counts.start.date().isoformat(),
        "counted_to": counts.end.date().isoformat(),
    }


def _click_summary(counts: ClickCounts) -> str:
    return (
        f"delivered: {_number(counts.delivered)}, sent: {_number(counts.sent)}; "
        f"clicks in total: {_number(counts.total)}; "
        f"different people who clicked: {_number(counts.unique)}"
    )


_PROFILE = {
    "static_tracked": bool,
    "static_statement": str,
}
_URL_FACTS = frozenset(
    {
        "dynamic_buttons",
        "static_buttons",
        "no_scheme_buttons",
        "malformed_buttons",
        "body_links",
        "authentication_languages",
        "static_rule",
    }
)
_CLICK_FACTS = frozenset({"sent", "delivered", "clicks_total", "clicks_unique", "counted_from", "counted_to"})

_SPECS = (
    ASK_PERSON,
    WitnessSpec("panel_setting", panel_setting, frozenset({"on", "off", "unknown", "no_api"}), {}, _PANEL_FACTS, _LINK),
    WitnessSpec(
        "template_by_name",
        template_by_name,
        frozenset({"not_found", "several", "not_approved", "unknown_status", "approved", "incomplete"}),
        {},
        frozenset({"languages", "statuses", "near_names"}),
        _LINK,
    ),
    WitnessSpec(
        "template_url_type",
        template_url_type,
        frozenset(
            {"authentication", "body_links", "no_url_button", "mixed", "static_only", "no_scheme", "malformed"}
            | {"trackable", "static_counts", "fit", "no_template", "incomplete"}
        ),
        _PROFILE,
        _URL_FACTS,
        _LINK,
    ),
    WitnessSpec(
        "template_opt_out",
        template_opt_out,
        frozenset({"opted_out", "not_opted_out", "flag_absent", "no_such_flag", "no_template"}),
        {"opt_out_flag": bool},
        frozenset({"opted_out_languages"}),
        _LINK,
    ),
    WitnessSpec(
        "campaign_template",
        campaign_template,
        frozenset({"same_template", "other_template", "no_api"}),
        {},
        frozenset({"used_template"}),
        _LINK,
    ),
    WitnessSpec(
        "message_flag",
        message_flag,
        frozenset({"flag_set", "flag_missing", "no_api", "no_such_flag"}),
        {"message_flag": bool},
        frozenset(),
        _LINK,
    ),
    WitnessSpec(
        "coverage",
        coverage,
        frozenset({"region_unsupported", "too_old", "covered", "not_known"}),
        {"max_age_days": int, "unsupported_regions": tuple},
        frozenset({"regions", "age_limit_days"}),
        _LINK,
    ),
    WitnessSpec(
        "click_counts",
        click_counts,
        frozenset(
            {"clicks_seen", "zero_with_deliveries", "zero_no_deliveries", "absent", "unsupported", "opted_out"}
            | {"no_template"}
        ),
        {"max_age_days": int},
        _CLICK_FACTS,
        _LINK,
    ),
)

WITNESSES: Registry = {spec.name: spec for spec in _SPECS}
