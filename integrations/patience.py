"""When a read is tried again, and after how long.

A failure of the network or of the server is tried a few times with back-off. A refusal for rate is no failure: on a
quota that others share it says only "not now", so it is waited out longer, as long as all waits together are bearable.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from recovery.errors import RemoteError

T = TypeVar("T")

LONGEST_BACK_OFF_SECONDS = 20.0
MOST_REFUSALS = 30


class AgainError(Exception):
    """A read that may be tried once more; `error` is what the caller gets when it may not."""

    def __init__(self, error: RemoteError, wait_seconds: float | None = None, *, limited: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.wait_seconds, self.limited = error, wait_seconds, limited


class Patience:
    """`tries` in all for failures; refusals for rate as often as `longest_wait` seconds of waiting allow.

    One try is one try, whatever comes: a refresh token must not be used twice.
    """

    def __init__(self, tries: int, longest_wait: float) -> None:
        self.tries, self._longest_wait = tries, longest_wait
        self._jitter = random.Random()  # noqa: S311 - spreads retries, guards nothing

    async def until_read(self, once: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[None]]) -> T:
        """What `once` gives. Raises its last `AgainError`, and at once whatever else it raises.

        The first try is made by itself, because nearly all reads need no other and the loop costs as much as a request.
        """
        first: list[AgainError] = []
        try:
            return await once()
        except AgainError as problem:
            first.append(problem)
        failures = 0

        async def again() -> T:
            if first:
                raise first.pop()
            return await once()

        def is_over(state: RetryCallState) -> bool:
            nonlocal failures
            problem = state.outcome.exception() if state.outcome else None
            if not (isinstance(problem, AgainError) and problem.limited) or self.tries == 1:
                failures += 1
                return failures >= self.tries
            return state.idle_for >= self._longest_wait or state.attempt_number >= MOST_REFUSALS

        retrying = AsyncRetrying(
            stop=is_over, wait=self._wait, retry=retry_if_exception_type(AgainError), sleep=sleep, reraise=True
        )
        return await retrying(again)

    def _wait(self, state: RetryCallState) -> float:
        """Seconds to the next try: what the remote asked for, else 0.5, 1, 2 ... 20; up to half more at random."""
        problem = state.outcome.exception() if state.outcome else None
        asked = problem.wait_seconds if isinstance(problem, AgainError) else None
        base = min(0.5 * 2 ** (state.attempt_number - 1), LONGEST_BACK_OFF_SECONDS) if asked is None else asked
        return base + self._jitter.uniform(0, min(max(base, 0.1), LONGEST_BACK_OFF_SECONDS) / 2)
