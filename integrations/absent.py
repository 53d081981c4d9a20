"""Stand-ins for systems that an account does not have: nothing runs there, and nothing can be asked of them.

A customer may use Pro2 without the Integrated Dashboard or without Tessitura. An absent dashboard has no definitions,
so nothing is due; every other question is answered with the reason instead of a guess.
"""

from __future__ import annotations

from typing import NoReturn

from recovery.errors import NotFound
from recovery.model import AttemptOutcome, WriteResult
from recovery.ports import BridgeCapabilities, Clock, Definition, Listing, RunLog


class NoDashboard:
    """The `JobDesk` of an account without an Integrated Dashboard."""

    def __init__(self, account: str, clock: Clock) -> None:
        self._account, self._clock = account, clock

    async def capabilities(self) -> BridgeCapabilities:
        """Nothing may be asked."""
        return BridgeCapabilities()

    async def definitions(self) -> Listing[Definition]:
        """Nothing can run."""
        return Listing((), True, self._clock.now())

    async def activity_log(self, *_: object, **__: object) -> RunLog:
        """Empty."""
        now = self._clock.now()
        return RunLog((), True, now, now, now)

    console = activity_log

    async def run(self, *_: object, **__: object) -> NoReturn:
        """Raises NotFound."""
        raise _none("dashboard", self._account)

    report = run

    async def stop_run(self, *_: object, **__: object) -> WriteResult:
        """Not sent."""
        detail = "not sent: this account has no dashboard in the settings"
        return WriteResult(AttemptOutcome.NOT_APPLIED, detail=detail)

    reprocess = run_now = repeat = import_list = stop_run


class NoTessitura:
    """The `ListDesk` of an account without Tessitura in the settings: every read raises NotFound."""

    def __init__(self, account: str) -> None:
        self._account = account

    async def healthy(self, *_: object, **__: object) -> NoReturn:
        """Raises NotFound."""
        raise _none("tessitura", self._account)

    list_summary = find_lists = constituents = healthy


def _none(system: str, account: str) -> NotFound:
    hint = f"add [accounts.{system}] if there is one after all"
    return NotFound(system, account, "this account has none in the settings", hint)
