"""The desk's part of a rehearsal's configuration: the shipped settings and templates with made-up clients."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ENGINEER, SPEAKER = "Dana Reyes", "Sam Okafor"
FAST = "requests_per_second = 200"
DESK_FOLDER = "desk"


def write_desk(estate: Mapping[str, Any], folder: Path, hidden: Path, shipped: Path) -> list[str]:
    """Writes `desk/` into `folder`, with its secrets; the desk's tables for allclear.toml."""
    place = folder / DESK_FOLDER
    shutil.copytree(shipped / "templates", place / "templates", dirs_exist_ok=True)
    shutil.copyfile(shipped / "sla.toml", place / "sla.toml")
    text = _site(estate, (shipped / "desk.toml").read_text(encoding="utf-8"))
    clients = [line for account in estate["accounts"] for line in _client(account["name"], estate, hidden)]
    (place / "desk.toml").write_text(text + "\n".join(clients) + "\n", encoding="utf-8")
    return _tables(estate, hidden)


def _site(estate: Mapping[str, Any], text: str) -> str:
    """The shipped desk with two people, the estate's channel, guides and links."""
    ops = estate.get("slack", {}).get("channel", "none")
    zendesk = estate.get("zendesk", {}).get("base_url", "https://desk.example")
    said = {
        "customer_ticket_url": f"{zendesk}/agent/tickets/{{ref}}",
        "engineering": [ENGINEER],
        "support": [ENGINEER, SPEAKER],
        "success": [SPEAKER],
        "team": ops,
        "alarms": ops,
    }
    guides = estate.get("pendo", {}).get("guides")
    if guides:
        said["mode"] = "guides"
    for name, value in said.items():
        text = _replaced(text, name, f"{name} = {_toml(value)}")
    if guides:
        shown = ", ".join(f"{phase} = {_toml(ref)}" for phase, ref in guides.items())
        segments = 'segments = { entire = "everyone", subset = "affected" }'
        text = text.replace("[in_app]\n", f"[in_app]\nguides = {{ {shown} }}\n{segments}\n", 1)
    return text


def _replaced(text: str, name: str, line: str) -> str:
    """The text with the first line that sets `name` replaced; ValueError when there is none."""
    changed, times = re.subn(rf"^{name} = .*$", lambda _: line, text, count=1, flags=re.MULTILINE)
    if not times:
        raise ValueError(f"the shipped desk.toml has no {name}")
    return changed


def _client(name: str, estate: Mapping[str, Any], hidden: Path) -> list[str]:
    secret = hidden / f"{name}-p1-address"
    secret.write_text(f"p1-{name}@intake.example", encoding="utf-8")
    secret.chmod(0o600)
    lines = ["", f"[clients.{name}]", f"name = {_toml(name.title())}", 'calendar = "support"']
    lines += [f"p1_address_file = {_toml(f'../secrets/{name}-p1-address')}", f"domains = {_toml([f'{name}.example'])}"]
    lines += [f"notice_to = {_toml([f'it@{name}.example'])}"]
    if clickup := estate.get("clickup"):
        lines += [f"board_ref = {_toml(str(clickup['list']))}", "live_since = 2020-01-01T00:00:00Z"]
    return lines


def _tables(estate: Mapping[str, Any], hidden: Path) -> list[str]:
    lines: list[str] = []
    if pager := estate.get("pagerduty"):
        lines += _table("pagerduty", pager, ("events_url", "rest_url", "service"))
        lines += [_secret(hidden, "pagerduty", name, pager[name]) for name in ("routing_key", "token")]
    if board := estate.get("clickup"):
        lines += _table("clickup", board, ("base_url", "key_field"))
        lines += [_secret(hidden, "clickup", "token", board["token"])]
    if in_app := estate.get("pendo"):
        lines += [*_table("pendo", in_app, ("base_url",)), _secret(hidden, "pendo", "key", in_app["key"])]
    if page := estate.get("statuspage"):
        lines += [*_table("statuspage", page, ("base_url", "page")), _secret(hidden, "statuspage", "key", page["key"])]
    return lines


def _table(name: str, told: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    return ["", f"[{name}]", FAST, *(f"{key} = {_toml(str(told[key]))}" for key in keys)]


def _secret(hidden: Path, system: str, name: str, value: str) -> str:
    path = hidden / f"{system}-{name}"
    path.write_text(value, encoding="utf-8")
    path.chmod(0o600)
    return f"{name} = {{ file = {_toml(f'secrets/{path.name}')} }}"


def _toml(value: str | Sequence[str]) -> str:
    """A TOML basic string, or a list of them; JSON's escapes are valid in TOML."""
    return json.dumps(value)
