"""Writes a configuration for servers that stand on this machine, from the `estate.json` that such servers publish.

The product itself does not know them: this makes the same TOML files that an operator writes by hand.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recovery.terminal import rehearsal_desk

CONFIG = "allclear.toml"
PEOPLE = ("Dana Reyes", "Sam Okafor")
REHEARSAL_POLICY = """\
# A rehearsal's policy: the waits of a real night, in seconds instead of minutes.
valid_for_hours = 48
plan_expires_minutes = 60

[waits]
grace_seconds = 900
running_limit_seconds = 5400
monitor_seconds = 4200
poll_seconds = 0.5
stop_check_seconds = 1.0
settle_seconds = 2
settle_copy_seconds = 0.6
arm_seconds = 1.5
departure_seconds = 20
job_seconds = 30
lease_seconds = 10

[limits]
recipients_per_run = 1000000
recipients_per_hour = 1000000
wave_bake_seconds = 0.5
"""


def read_estate(root: Path) -> dict[str, Any]:
    """What the servers published about themselves."""
    loaded: dict[str, Any] = json.loads((root / "estate.json").read_text(encoding="utf-8"))
    return loaded


def write_config(estate: Mapping[str, Any], folder: Path, playbook: Path) -> Path:
    """Writes allclear.toml, policy.toml and the secrets (files, mode 0600) into `folder`; the path of the first."""
    hidden = folder / "secrets"
    hidden.mkdir(parents=True, exist_ok=True, mode=0o700)
    lines = [
        f"marker_key = {{ file = {_secret(hidden, 'marker', secrets.token_hex(32))} }}",
        f"playbook_file = {_text(str(playbook.resolve()))}",
        'kill_file = "STOP"',
        f"desk_folder = {_text(rehearsal_desk.DESK_FOLDER)}",
        "",
        "[ledger]",
        'url = "sqlite:///allclear.db"',
        'state_dir = "state"',
        "",
        "[rehearsal]",
        f"clock_offset_seconds = {float(estate.get('clock_offset_seconds', 0.0))}",
    ]
    lines += ["", *_playbooks(folder, playbook.resolve().parent)]
    for account in estate["accounts"]:
        lines += _account(account, hidden)
    lines += _desks(estate, hidden)
    lines += _panels(estate, hidden)
    lines += rehearsal_desk.write_desk(estate, folder, hidden, playbook.resolve().parent.parent)
    (folder / "policy.toml").write_text(REHEARSAL_POLICY + _validity(estate), encoding="utf-8")
    path = folder / CONFIG
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _account(account: Mapping[str, Any], hidden: Path) -> list[str]:
    name, pro2, dashboard, tessitura = (account[k] for k in ("name", "pro2", "dashboard", "tessitura"))
    return [
        "",
        "[[accounts]]",
        f"name = {_text(name)}",
        f"time_zone = {_text(account['time_zone'])}",
        "[accounts.pro2]",
        f"base_url = {_text(pro2['base_url'])}",
        f"token = {{ file = {_secret(hidden, f'{name}-pro2', pro2['token'])} }}",
        "[accounts.dashboard]",
        f"base_url = {_text(dashboard['base_url'])}",
        f"token = {{ file = {_secret(hidden, f'{name}-dashboard', dashboard['token'])} }}",
        "requests_per_second = 50",
        "[accounts.tessitura]",
        f"base_url = {_text(tessitura['base_url'])}",
        *(f"{k} = {_text(tessitura[k])}" for k in ("user", "group", "location")),
        f"password = {{ file = {_secret(hidden, f'{name}-tessitura', tessitura['password'])} }}",
        "requests_per_second = 50",
    ]


def _desks(estate: Mapping[str, Any], hidden: Path) -> list[str]:
    lines: list[str] = []
    if jira := estate.get("jira"):
        lines += [
            "",
            "[jira]",
            rehearsal_desk.FAST,
            *(f"{k} = {_text(jira[k])}" for k in ("base_url", "email", "project", "issue_type")),
        ]
        lines += [f"token = {{ file = {_secret(hidden, 'jira', jira['token'])} }}"]
    if slack := estate.get("slack"):
        lines += ["", "[slack]", rehearsal_desk.FAST, *(f"{k} = {_text(slack[k])}" for k in ("base_url", "channel"))]
        lines += [f"token = {{ file = {_secret(hidden, 'slack', slack['token'])} }}"]
    if zendesk := estate.get("zendesk"):
        lines += [
            "",
            "[zendesk]",
            rehearsal_desk.FAST,
            *(f"{k} = {_text(zendesk[k])}" for k in ("base_url", "client_id", "scope")),
        ]
        lines += [f"client_secret = {{ file = {_secret(hidden, 'zendesk', zendesk['client_secret'])} }}"]
    if smtp := estate.get("smtp"):
        lines += ["", "[smtp]", f"host = {_text(smtp['host'])}", f"port = {smtp['port']}", 'security = "none"']
        lines += ['sender = "allclear@desk.example"', f"user = {_text(smtp['user'])}"]
        if smtp["user"]:
            lines += [f"password = {{ file = {_secret(hidden, 'smtp', smtp['password'])} }}"]
    return lines


def _playbooks(folder: Path, playbooks: Path) -> list[str]:
    """The playbooks of this installation, with made-up contacts for them."""
    (folder / "site.toml").write_text((playbooks / "site.example.toml").read_text(encoding="utf-8"), encoding="utf-8")
    return [
        "[playbooks]",
        f"folder = {_text(str(playbooks))}",
        'site = "site.toml"',
        f"approvers = {_text_list(PEOPLE)}",
    ]


def _panels(estate: Mapping[str, Any], hidden: Path) -> list[str]:
    """The panels of customers `shop-meta`, `shop-meta-2` and `shop-netcore`."""
    lines: list[str] = []
    if meta := estate.get("meta"):
        token = _secret(hidden, "meta", meta["token"])
        for number, ref in enumerate(meta["accounts"], 1):
            name = "shop-meta" if number == 1 else f"shop-meta-{number}"
            lines += _panel(name, "meta", ref, meta["base_url"], token, 'regions = ["US"]')
    if netcore := estate.get("netcore"):
        token = _secret(hidden, "netcore", netcore["authorization"])
        languages = 'languages = ["English", "German"]'
        lines += _panel("shop-netcore", "netcore", "panel1", netcore["base_url"], token, languages)
    return lines


def _panel(account: str, provider: str, ref: str, url: str, token: str, more: str) -> list[str]:
    named = {"account": account, "provider": provider, "ref": ref, "base_url": url, "url": "https://panel.example"}
    return ["", "[[panels]]", *(f"{k} = {_text(v)}" for k, v in named.items()), f"token = {{ file = {token} }}", more]


def _validity(estate: Mapping[str, Any]) -> str:
    rows = estate.get("hints", {}).get("valid_until", [])
    return "".join(
        f"\n[[valid_until]]\naccount = {_text(r['account'])}\nobject = {_text(str(r['object']))}\n"
        f"at = {r['at']}\nreason = {_text(r['reason'])}\n"
        for r in rows
    )


def _secret(hidden: Path, name: str, value: str) -> str:
    path = hidden / name
    if name == "marker" and path.exists():
        # The marker key outlives the configuration: without it our own markers could not be recognised.
        return _text(f"secrets/{name}")
    path.write_text(value, encoding="utf-8")
    path.chmod(0o600)
    return _text(f"secrets/{name}")


def _text_list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _text(value: str) -> str:
    """A TOML basic string; JSON's escapes are valid in TOML."""
    return json.dumps(value)
