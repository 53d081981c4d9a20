"""A whole recovery against a platform that limits: never above the budget alone, nothing lost beside another client."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import httpx

from recovery.manifests import LIMITER_FIRST, Proof, record_proof
from recovery.model import ItemOutcome
from sandbox import scenario_campaigns as mail
from tests.recovery.stage import Night, items, night, stage

PER_SECOND = 40


def a_campaign(story: Any, account: Any) -> None:
    mail.overdue_small(story, account, "Gala", story.started_at + timedelta(minutes=20))


def limited(n: Night, burst: float = 5.0) -> None:
    """The platform limits, and the product is told the rate."""
    state = n.estate.account("harbor").pro2
    state.rate_per_second, state.rate_burst = float(PER_SECOND), burst
    text = n.config.read_text()
    assert "requests_per_second = 100" in text
    n.config.write_text(text.replace("requests_per_second = 100", f"requests_per_second = {PER_SECOND}"))


def exchanges(n: Night) -> list[tuple[datetime, int | None]]:
    """When each exchange with the platform ended, and with what."""
    with sqlite3.connect(n.folder / "allclear.db") as ledger:
        rows = ledger.execute("SELECT at, status FROM evidence WHERE system = 'pro2' ORDER BY at").fetchall()
    return [(datetime.fromtimestamp(at / 1e6, UTC), status) for at, status in rows]


async def test_a_recovery_alone_is_never_refused_for_its_rate(tmp_path: Path) -> None:
    async with night(tmp_path, stage(a_campaign)) as n:
        limited(n)
        done = await n.recover()
        assert {row.outcome for row in items(done).values()} == {ItemOutcome.CONFIRMED}
        seen = exchanges(n)
        assert await n.oracle() == []
    assert len(seen) > 20
    assert [status for _, status in seen if status == 429] == []


async def test_beside_a_second_client_on_the_same_quota_nothing_is_lost_and_nothing_is_done_twice(
    tmp_path: Path,
) -> None:
    """Pro2's own integration takes part of the account's five a second: refusals come, and cost only time."""
    refused: list[int] = []

    async def hammer(base_url: str, token: str) -> None:
        async with httpx.AsyncClient(trust_env=False, headers={"Api-Token": token}) as other:
            for at_once in chain([8], repeat(1)):
                calls = (other.get(f"{base_url}/api/3/users/me") for _ in range(at_once))
                refused.extend(reply.status_code for reply in await asyncio.gather(*calls))
                await asyncio.sleep(4 / PER_SECOND)

    async def proven(n: Night) -> None:
        """As `doctor --prove` records it: this platform refuses before it does anything."""
        async with n.open() as systems:
            proof = Proof(LIMITER_FIRST, "proved", "refused before executing", "d" * 64)
            await record_proof(systems.ledger, systems.clock, "harbor", "pro2", "Dana Reyes", proof)

    async with night(tmp_path, stage(a_campaign)) as n:
        limited(n, burst=2.0)
        await proven(n)
        told = n.estate.info["accounts"][0]["pro2"]
        other = asyncio.create_task(hammer(told["base_url"], told["token"]))
        try:
            done = await n.recover()
        finally:
            other.cancel()
        assert {row.outcome for row in items(done).values()} == {ItemOutcome.CONFIRMED}, done.items
        assert await n.oracle() == []
    assert {200, 429} <= set(refused), "they did meet"
