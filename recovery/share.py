"""How workers share a plan: account by account, each under a lease, and back for what another worker had.

Every worker runs the whole plan. An account that somebody else works on is passed over and looked at again when it is
free; then its items are mostly done, and what was not (its worker died) is done now. So a wave ends for all workers
together, and a worker that is added or killed in the middle changes nothing but the pace.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from recovery.errors import LedgerUnavailable
from recovery.ports import Clock, Tell

if TYPE_CHECKING:
    from recovery.ledger.leases import Leases

MOST_ACCOUNTS_AT_ONCE = 1024
"""An account that waits costs a coroutine and no thread, so what sets the pace is each account's own rate limit."""
MOST_SHARED_AT_ONCE = 256
"""Where workers share a plan each leaves some to the others: as many as one core can keep at five calls a second."""


@dataclass(slots=True)
class Share:
    """This worker's part. Without `leases` there is one worker and every account is its own.

    A lease lasts `seconds` and is renewed three times in that; the accounts of a worker that stopped without a word on
    another host are free after it.
    """

    leases: Leases | None
    seconds: float
    poll_seconds: float
    clock: Clock
    tell: Tell
    at_once: int = 0
    """So many accounts at a time; 0 for as many as one worker may have."""
    _held: set[str] = field(default_factory=set)

    async def each(
        self, accounts: Iterable[str], work: Callable[[str, bool], Awaitable[None]], stopping: Callable[[], bool]
    ) -> None:
        """Call `work(account, late)` for each account; `late` says that another worker had it in the meantime."""
        waiting, late = deque(accounts), set[str]()
        async with self._renewing():
            while waiting and not stopping():
                passed_over: list[str] = []
                pool = min(self.at_once or self._most(), len(waiting))
                await asyncio.gather(*(self._worker(waiting, late, passed_over, work, stopping) for _ in range(pool)))
                waiting.extend(passed_over)
                if passed_over and not stopping():
                    await self._until_one_is_free(passed_over)

    def _most(self) -> int:
        return MOST_ACCOUNTS_AT_ONCE if self.leases is None else MOST_SHARED_AT_ONCE

    async def _worker(
        self,
        waiting: deque[str],
        late: set[str],
        passed_over: list[str],
        work: Callable[[str, bool], Awaitable[None]],
        stopping: Callable[[], bool],
    ) -> None:
        while waiting and not stopping():
            account = waiting.popleft()
            if self.leases is None:
                await work(account, False)
                continue
            if account not in await self.leases.take([account], self.seconds):
                late.add(account)
                passed_over.append(account)
                continue
            self._held.add(account)
            try:
                await work(account, account in late)
            finally:
                self._held.discard(account)
                await self.leases.give_back([account])

    async def _until_one_is_free(self, accounts: list[str]) -> None:
        assert self.leases is not None
        while not await self.leases.free(accounts):
            self.tell("waiting", {"for": "another worker", "accounts": len(accounts)})
            await self.clock.sleep(self.poll_seconds)

    @contextlib.asynccontextmanager
    async def _renewing(self) -> AsyncIterator[None]:
        if self.leases is None:
            yield
            return
        task = asyncio.create_task(self._renew())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _renew(self) -> None:
        assert self.leases is not None
        while True:
            await asyncio.sleep(self.seconds / 3)
            with contextlib.suppress(LedgerUnavailable):  # then it runs out; nothing leaves meanwhile anyway
                if self._held:
                    await self.leases.take(sorted(self._held), self.seconds)
