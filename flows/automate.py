"""Puts flows/automations.toml on the server that PREFECT_API_URL names: `python -m flows.automate`. Safe to repeat."""

from __future__ import annotations

import asyncio
import sys
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound

FILE = Path(__file__).with_name("automations.toml")


async def automate() -> None:
    """Creates each automation, or changes the one of its name; says which are left out and why."""
    async with get_client() as client:
        for described in tomllib.loads(FILE.read_text(encoding="utf-8"))["automations"]:
            try:
                actions = [await _with_ids(client, a) for a in described["actions"]]
            except ObjectNotFound:
                wanted = ", ".join(a.get("deployment") or " or ".join(a["blocks"]) for a in described["actions"])
                sys.stdout.write(f"left out: {described['name']!r} (there is no {wanted} on this server)\n")
                continue
            await _put(client, AutomationCore.model_validate({**described, "actions": actions}))


async def _with_ids(client: PrefectClient, action: dict[str, Any]) -> dict[str, Any]:
    """The action with ids in place of names. Raises ObjectNotFound."""
    made = {k: v for k, v in action.items() if k not in {"deployment", "blocks"}}
    if name := action.get("deployment"):
        made["deployment_id"] = (await client.read_deployment_by_name(name)).id
    if names := action.get("blocks"):
        made["block_document_id"] = await _first_block(client, names)
    return made


async def _first_block(client: PrefectClient, names: Sequence[str]) -> UUID:
    for name in names[:-1]:
        with suppress(ObjectNotFound):
            return await _block(client, name)
    return await _block(client, names[-1])


async def _block(client: PrefectClient, name: str) -> UUID:
    kind, block = name.split("/")
    return (await client.read_block_document_by_name(block, kind)).id


async def _put(client: PrefectClient, automation: AutomationCore) -> None:
    known = await client.read_automations_by_name(automation.name)
    if not known:
        await client.create_automation(automation)
        return
    automation.enabled = known[0].enabled  # who switched it off on the pages has the last word
    # An update makes the server forget what it waits for, such as the next heartbeat of a run.
    if AutomationCore.model_validate(known[0].model_dump()) != automation:
        await client.update_automation(known[0].id, automation)
    for twin in known[1:]:
        await client.delete_automation(twin.id)


if __name__ == "__main__":
    asyncio.run(automate())
