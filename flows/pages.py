"""Shows a page as artifacts, events and a final state. A server that is gone never disturbs the work it shows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

from prefect import State, get_run_logger
from prefect.artifacts import (
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.states import Completed, Failed

from recovery.errors import AllclearError, sentence
from recovery.served.pages import Page, Step, Tally

BETWEEN_UPDATES_SECONDS = 1.0
BETWEEN_LOGS_SECONDS = 10.0
PATIENCE_SECONDS = 20.0


async def show(made: Awaitable[Page | State[Any]]) -> State[Any]:
    """Publishes a page; the run's final state says what came of it, or in one sentence why there is no page."""
    try:
        page = await made
    except AllclearError as error:
        return refused(error)
    if isinstance(page, State):  # a task's, of which only the message is of use here
        return Failed(message=page.message)
    await publish(acreate_table_artifact(page.table, key=f"{page.key}-items", description=page.title))
    text = await _with_steps(page)
    await publish(acreate_markdown_artifact(text, key=f"{page.key}-report", description=page.title))
    if page.balance:
        await publish(acreate_markdown_artifact(page.balance, key=f"{page.key}-balance", description=page.title))
    for link, words in page.links:
        await publish(acreate_link_artifact(link, words, key=f"{page.key}-ticket", description=f"Ticket {words}"))
    for h in page.happenings:
        emit_event(h.event, {"prefect.resource.id": h.resource}, payload=dict(h.payload), id=h.id)
    result = {"title": page.title, "digest": page.digest, "exit_code": page.exit_code}
    if page.exit_code == 1:
        return Failed(message=page.title, data=result)
    return Completed(name=page.state, message=page.title, data=result)


async def _with_steps(page: Page) -> str:
    """The page's text, with links to the forms of what may be done next behind its heading and first sentence."""
    links = await publish(_links(page.steps)) if page.steps else None
    if not links:
        return page.text
    heading, first, *rest = [*page.text.split("\n\n", 2), ""][:3]
    return "\n\n".join([heading, first, "**Next:**", "\n".join(links), *rest])


async def _links(steps: Sequence[Step]) -> list[str]:
    """Links to the deployments' forms, filled in as far as is known. Without a host: they hold behind a proxy."""
    async with get_client() as client:
        ids = {name: (await client.read_deployment_by_name(name)).id for name in {s.deployment for s in steps}}
    filled = [quote(json.dumps(s.parameters), safe="") for s in steps]
    pairs = zip(steps, filled, strict=True)
    return [f"- [{s.words}](/v2/deployments/deployment/{ids[s.deployment]}/run?parameters={q})" for s, q in pairs]


async def said(spoken: Awaitable[str]) -> State[Any]:
    """A run whose whole outcome is one sentence; the list of runs shows it."""
    try:
        sentence = await spoken
    except AllclearError as error:
        return refused(error)
    return Completed(message=sentence, data=sentence)


def refused(error: AllclearError) -> State[Any]:
    """A failed end that says what to do. An exception that leaves a flow or task is logged with its whole trace."""
    return Failed(message=" ".join(sentence(part[:1].upper() + part[1:]) for part in (str(error), error.hint) if part))


@asynccontextmanager
async def progress(tally: Tally, key: str) -> AsyncIterator[None]:
    """A progress artifact that follows the tally, at most once a second, until the block ends; the log now and then."""
    watching = asyncio.create_task(_follow(tally, key))
    try:
        yield
    finally:
        tally.end()
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _follow(tally: Tally, key: str) -> None:
    log = get_run_logger()
    made = await publish(acreate_progress_artifact(tally.percent, key=key, description=tally.line))
    shown = tally.line
    logged = time.monotonic()
    try:
        while made:
            await asyncio.sleep(BETWEEN_UPDATES_SECONDS)
            if tally.line != shown:
                shown = tally.line
                await publish(aupdate_progress_artifact(made, tally.percent, description=shown))
                if time.monotonic() - logged >= BETWEEN_LOGS_SECONDS:
                    logged = time.monotonic()
                    log.info(shown)
    finally:
        log.info(tally.line)
        if made and tally.line != shown:
            await publish(aupdate_progress_artifact(made, tally.percent, description=tally.line))


async def publish(shown: Coroutine[Any, Any, Any]) -> Any:
    """What was published, or None: the ledger has the facts, an artifact only shows them."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await shown
    except Exception as error:  # noqa: BLE001 # whatever Prefect raises, the recovery goes on
        get_run_logger().warning("Not shown: %s", type(error).__name__)
        return None
