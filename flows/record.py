"""A run of the command line, recorded as a flow run on a Prefect server, if there is one.

The work is not run by Prefect: it runs as it would without it, and its beginning, heartbeats and end are reported
beside it. So nothing that happens to the server can lose, repeat or delay the work's result by more than
`PATIENCE_SECONDS`. A record that the server never saw the end of is ended there by the automation for abandoned runs.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tenacity import AsyncRetrying, retry_if_exception

if TYPE_CHECKING:
    from prefect import State
    from prefect.client.orchestration import PrefectClient

HEALTH_SECONDS = 2.0
PATIENCE_SECONDS = 10.0
BUSY = (429, 503)
"""What a server answers that has done nothing: Prefect's own gives 503 whenever SQLite is busy with another writer."""
HEARTBEAT_SECONDS = 30.0
OUTCOMES = {0: "All clear", 3: "Held"}

Report = Callable[["PrefectClient"], Awaitable[Any]]


class NotToldError(Exception):
    """The server was not told, or did not say that it was; the message says why."""


async def recorded(title: str, work: Callable[[], Awaitable[int]]) -> int:
    """Runs the work exactly once; its exit code. Recorded when `PREFECT_API_URL` is set and answers within 2 s.

    A server that is down, refuses us or dies on the way costs one line on stderr each time and nothing else. An
    exception of the work is recorded by its type only and passes on unchanged.
    """
    url = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if not url:
        return await work()
    run = await _begin(url, title)
    if run is None:
        return await work()
    try:
        async with _heartbeats(run):
            code = await work()
    except BaseException as error:
        await _end(run, 1, f"{type(error).__name__}; the terminal has the reason, the ledger what was done")
        raise
    await _end(run, code, f"Exit code {code}")
    return code


async def _begin(url: str, title: str) -> UUID | None:
    """The flow run's id, or None with one line that says why the run is not recorded."""
    trouble = await _trouble(url)
    if trouble:
        _say_not_recorded(trouble)
        return None
    from prefect import flow
    from prefect.states import Running

    @flow(name=title)
    async def shell() -> None:
        """Only its name is used."""

    try:
        made = await _report(
            lambda client: client.create_flow_run(shell, tags=["allclear", "terminal"], state=Running())
        )
    except NotToldError as error:
        _say_not_recorded(f"it did not take the run: {error}")
        return None
    return UUID(str(made.id))


async def _trouble(url: str) -> str:
    """Why the server cannot record, or nothing. Needs no login, and no Prefect either."""
    import httpx

    try:
        async with asyncio.timeout(HEALTH_SECONDS), httpx.AsyncClient(timeout=HEALTH_SECONDS) as http:
            reply = await http.get(f"{url}/health")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError):
        return f"it does not answer within {HEALTH_SECONDS:g} s"
    return "" if reply.status_code == 200 else f"it answers {reply.status_code}"


def _say_not_recorded(why: str) -> None:
    sys.stderr.write(f"allclear: not recorded on the Prefect server ({why}); the run goes on without it.\n")
    sys.stderr.flush()


async def _end(run: UUID, code: int, message: str) -> None:
    from prefect.states import Completed, Failed

    state: State[Any] = Failed(message=message)
    if code in OUTCOMES:
        state = Completed(name=OUTCOMES[code], message=message)
    try:
        # Forced: an automation may have called the run abandoned while the server could not be reached.
        await _report(lambda client: client.set_flow_run_state(run, state, force=True))
    except NotToldError as error:
        sys.stderr.write(f"allclear: the Prefect server does not know how this run ended ({error}); the ledger does.\n")


@asynccontextmanager
async def _heartbeats(run: UUID) -> AsyncIterator[None]:
    """Tells the server now and then that the run lives, as Prefect's own engine would."""
    beating = asyncio.create_task(_beat(run))
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


async def _beat(run: UUID) -> None:
    from prefect.events import Event, Resource

    resource = Resource({"prefect.resource.id": f"prefect.flow-run.{run}", "prefect.resource.name": "allclear"})
    while True:
        event = Event(event="prefect.flow-run.heartbeat", resource=resource).model_dump(mode="json")
        with suppress(NotToldError):
            await _report(lambda client, body=event: client.request("POST", "/events", json=[body]))  # type: ignore[misc]
        await asyncio.sleep(HEARTBEAT_SECONDS)


async def _report(call: Report) -> Any:
    """The reply, on a connection of its own; or `NotToldError` with the reason, within the patience.

    Asked again only after an answer that says that nothing was done: a call whose reply was lost may have been taken,
    and a second record would never end. Prefect's client waits about two seconds of its own after such an answer.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    answered = 0

    def busy(error: BaseException) -> bool:
        nonlocal answered
        if not isinstance(error, PrefectHTTPStatusError):  # such as the end of our patience
            return False
        answered = error.response.status_code
        return answered in BUSY

    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            async with asyncio.timeout(PATIENCE_SECONDS), get_client() as client:
                async for attempt in AsyncRetrying(retry=retry_if_exception(busy)):
                    with attempt:
                        return await call(client)
    except TimeoutError:
        said = f"it answered nothing but {answered} for" if answered else "no answer within"
        raise NotToldError(f"{said} {PATIENCE_SECONDS:g} s") from None
    except PrefectHTTPStatusError as error:
        raise NotToldError(f"it answered {error.response.status_code}") from None
    except Exception as error:  # noqa: BLE001 # whatever the server or its client does, the work goes on
        raise NotToldError(type(error).__name__) from None
