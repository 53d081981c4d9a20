"""A person at the pretend dashboard: reads it, clicks on it, uploads what it shows. Never the product's own client."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from recovery.model import iso
from recovery.task_moves import terms_of
from recovery.tasks import Tasks
from recovery.wiring import Systems
from tests.recovery.stage import Night


def assist(night: Night, **settings: Any) -> None:
    """Turns every account of the night to assisted mode."""
    text = night.config.read_text(encoding="utf-8")
    lines = "".join(f"{k} = {json.dumps(v)}\n" for k, v in settings.items())
    text = re.sub(r"(\[accounts\.dashboard\]\n)", r'\1mode = "assisted"\n', text)
    text = text.replace("[accounts.tessitura]", f"[accounts.dashboard.assisted]\n{lines}[accounts.tessitura]")
    night.config.write_text(text, encoding="utf-8")


def tasks_of(systems: Systems) -> Tasks:
    settings = systems.settings
    state_dir = settings.path(settings.ledger.state_dir)
    return Tasks(systems.ledger, systems.clock, systems.policy, state_dir, terms_of(settings))


class Person:
    """Sits in front of one account's dashboard."""

    def __init__(self, night: Night, account: str = "harbor") -> None:
        self.night, self.account = night, account
        told = next(a for a in night.estate.info["accounts"] if a["name"] == account)["dashboard"]
        self.url, self.headers = told["base_url"], {"Authorization": f"Bearer {told['token']}"}

    async def looks(self, path: str, **params: str) -> dict[str, Any]:
        async with httpx.AsyncClient(headers=self.headers) as http:
            return (await http.get(self.url + path, params={"limit": 200, **params})).json()

    async def clicks(self, path: str) -> str:
        async with httpx.AsyncClient(headers=self.headers) as http:
            reply = await http.post(self.url + path)
        assert reply.status_code == 202, reply.text
        return reply.json().get("run_id", "")

    async def reading(self, folder: Path, **changes: Any) -> Path:
        """What the dashboard shows now, as a JSON file."""
        now = self.night.world.now()
        log = await self.looks(
            "/activity-log", **{"from": iso(now - timedelta(days=3)), "to": iso(now + timedelta(minutes=5))}
        )
        shown = {
            "account": self.account,
            "read_at": now.isoformat(),
            "covers_from": log["covers_from"],
            "complete": True,
            "definitions": (await self.looks("/definitions"))["definitions"],
            "activity_log": log["runs"],
            "console": (await self.looks("/console"))["runs"],
            **changes,
        }
        path = folder / f"reading-{self.account}.json"
        path.write_text(json.dumps({k: v for k, v in shown.items() if v is not None}), encoding="utf-8")
        return path
