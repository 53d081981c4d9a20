"""Runs an approved plan: what changes data first, then what reaches people, in waves; every item ends with a reason.

An item's trouble stays its own. Only a ledger that cannot record stops everything, because then nothing may leave.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from recovery.act import Ended, Runner
from recovery.answers import DROP, dropped_by
from recovery.approvals import Consent
from recovery.errors import AllclearError, LedgerConflict, LedgerError, RefusedError, RemoteError, Unavailable, sentence
from recovery.model import Answer, ItemOutcome, Kind, Plan, PlanItem, Question, Remedy, Verdict
from recovery.plan import WHAT_NOW, is_intact
from recovery.policy import Policy
from recovery.ports import Account, Clock, Tell
from recovery.recipes.context import Context, held, skipped
from recovery.recipes.data_sync import tagged_import
from recovery.recipes.jobs import repeat_import, reprocess, run_now
from recovery.recipes.monitor import monitor
from recovery.recipes.resend import resend
from recovery.share import Share
from recovery.stages import Chain, stages

if TYPE_CHECKING:
    from recovery.ledger.leases import Leases
    from recovery.ledger.ledger import Ledger
    from recovery.ledger.rows import ItemRow

SILENCES = 2
Recipe = Callable[[Context], Awaitable[Ended]]

CHOICES_BY_KIND: Mapping[str, tuple[str, ...]] = {
    Kind.CAMPAIGN: ("resend",),
    Kind.IMPORT: ("reprocess", "repeat_import"),
    Kind.TRIGGER: ("reprocess", "run_now"),
    Kind.DATA_SYNC: ("tagged_import",),
}


async def _drop(context: Context) -> Ended:
    return skipped(f"dropped: {context.item.reason}")


async def _nothing(context: Context) -> Ended:
    return skipped(context.item.reason)


async def _hold(context: Context) -> Ended:
    question = context.item.question or WHAT_NOW
    if question.removesuffix(WHAT_NOW).strip() in context.item.reason:  # the reason stands before it already
        question = WHAT_NOW
    partial = context.item.verdict is Verdict.PARTIAL and context.item.slot.kind == Kind.CAMPAIGN
    more = () if partial else CHOICES_BY_KIND.get(context.item.slot.kind, ())
    return held(f"{context.item.reason} {question}".strip(), context.item.recommended or "wait", "it happened", *more)


RECIPES: dict[Remedy, Recipe] = {
    Remedy.RESEND: resend,
    Remedy.REPROCESS: reprocess,
    Remedy.REPEAT_IMPORT: repeat_import,
    Remedy.TAGGED_IMPORT: tagged_import,
    Remedy.RUN_NOW: run_now,
    Remedy.MONITOR: monitor,
    Remedy.DROP: _drop,
    Remedy.NONE: _nothing,
    Remedy.HOLD: _hold,
}


class Stopping(Clock):
    """A clock whose waits end at once when the operator stops the run (Ctrl-C); the next run goes on."""

    def __init__(self, clock: Clock, stop: asyncio.Event) -> None:
        self._clock, self._stop = clock, stop

    def now(self) -> datetime:
        """The wrapped clock's present."""
        return self._clock.now()

    def monotonic(self) -> float:
        """The wrapped clock's monotonic seconds."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits, or raises Ended(OPEN) as soon as a stop is asked for."""
        waiting = asyncio.ensure_future(self._clock.sleep(seconds))
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (waiting, stopping):
                task.cancel()
        if self._stop.is_set():
            raise Ended(ItemOutcome.OPEN, "stopped by the operator")


@dataclass(slots=True)
class Recovery:
    """One run of one plan."""

    plan: Plan
    accounts: Mapping[str, Account]
    ledger: Ledger
    policy: Policy
    secret: bytes = field(repr=False)
    clock: Clock
    tell: Tell
    consent: Consent
    run_ref: str
    switched_off: Callable[[], str]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    problems: list[str] = field(default_factory=list)
    alarm: Callable[[str], Awaitable[None]] | None = None
    objection: Callable[[], Awaitable[str]] | None = None
    """Asked before each item that acts: who has rejected the plan since the run began, and why; or ""."""
    leases: Leases | None = None
    """Where several workers share the plan; None for the only one."""
    runner: Runner = field(init=False)
    _not_repaired: dict[str, set[str]] = field(default_factory=dict)
    _silent: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    _before: dict[str, datetime] = field(default_factory=dict)
    """Where workers share the plan: when each item had last moved as the run began. A later move is another's."""

    def __post_init__(self) -> None:
        """The runner that all items share."""
        self.runner = Runner(
            self.ledger,
            Stopping(self.clock, self.stop),
            self.policy,
            self.tell,
            self.run_ref,
            self.switched_off,
            stopping=self.stop.is_set,
        )

    async def run(self) -> None:
        """Ends every item of the plan, or leaves it open when the operator stops. Raises RefusedError, LedgerError."""
        if not self.plan.items:
            raise RefusedError("The plan is empty, so there is nothing to do.", "Run `allclear audit` first.")
        if not is_intact(self.plan):
            raise RefusedError("The plan was changed after it was made.", "Make a new one with `allclear plan`.")
        await self.ledger.open_items(self.plan)
        if self.leases is not None:
            self._before = {row.slot_key: row.updated_at for row in await self.ledger.items(plan=self.plan.digest)}
        for item in self.plan.items:
            if item.slot.kind == Kind.DATA_SYNC:
                self._not_repaired.setdefault(item.slot.account, set()).add(item.slot.key)
        waves = sorted({i.wave for i in self.plan.items})
        for n, wave in enumerate(waves):
            if n and wave > 1:
                await self._bake(wave)
            await self._wave([i for i in self.plan.items if i.wave == wave])
            if self.stop.is_set():
                return

    async def _bake(self, wave: int) -> None:
        self.tell("bake", {"wave": wave, "seconds": self.policy.limits.wave_bake})
        try:
            await self.runner.clock.sleep(self.policy.limits.wave_bake)
        except Ended:
            return

    async def _wave(self, items: Sequence[PlanItem]) -> None:
        """Accounts side by side; within one account stage after stage, with mere watching beside it."""
        watching = [i for i in items if i.remedy is Remedy.MONITOR]
        acting: dict[str, list[PlanItem]] = {}
        for item in items:
            if item.remedy is not Remedy.MONITOR:
                acting.setdefault(item.slot.account, []).append(item)

        async def one_account(name: str, late: bool) -> None:
            for stage in stages(acting[name]):
                await self._stage(stage, late=late)

        waits, clock = self.policy.waits, self.runner.clock
        share = Share(self.leases, waits.lease, waits.poll, clock, self.tell)
        with contextlib.suppress(Ended):  # the operator stopped the run while it waited for another worker
            await asyncio.gather(share.each(acting, one_account, self.stop.is_set), *(self._item(i) for i in watching))

    async def _stage(self, chains: Sequence[Chain], *, late: bool) -> None:
        waiting = iter(chains)

        async def worker() -> None:
            for chain in waiting:
                for item in chain:
                    if self.stop.is_set():
                        return
                    await self._item(item, late=late)

        await asyncio.gather(*(worker() for _ in range(min(self.policy.limits.jobs_at_once, len(chains)))))

    async def _item(self, item: PlanItem, *, late: bool = False) -> None:
        row = await self.ledger.item(item.slot.key)
        if late and row is not None and self._ended_by_another(row):
            self._settled(item, row.outcome)
            self.tell("item", {"slot": item.slot.key, "outcome": row.outcome.value, "reason": "by another worker"})
            return
        if row is not None and row.outcome is ItemOutcome.CONFIRMED:
            self._settled(item, ItemOutcome.CONFIRMED)
            self.tell("item", {"slot": item.slot.key, "outcome": "confirmed", "reason": "done before"})
            return
        ended = await self._ending(item)
        self._settled(item, ended.outcome)
        if ended.outcome is not ItemOutcome.OPEN:
            await self._finish(item, ended)
        self.tell("item", {"slot": item.slot.key, "outcome": ended.outcome.value, "reason": ended.reason})

    def _ended_by_another(self, row: ItemRow) -> bool:
        moved = row.updated_at != self._before.get(row.slot_key)
        return moved and row.outcome in (ItemOutcome.HELD, ItemOutcome.SKIPPED)

    async def _finish(self, item: PlanItem, ended: Ended) -> None:
        try:
            await self.ledger.finish_item(item.slot.key, ended.outcome, ended.reason, ended.question)
        except LedgerConflict:
            # Another run proved it in the meantime; its proof stands.
            self.tell("item", {"slot": item.slot.key, "outcome": "confirmed", "reason": "by another run"})

    async def _ending(self, item: PlanItem) -> Ended:
        account = self.accounts.get(item.slot.account)
        if account is None:
            return held(f"Account {item.slot.account} is not configured here. Who looks after it?")
        answers = await self.ledger.answers(item.slot.key)
        last = answers[-1] if answers else None
        if item.actions and (over := await self._over(item, last)):
            return over
        context = Context(
            item,
            account,
            self.runner,
            self.secret,
            last.choice if last else "",
            lambda: tuple(sorted(self._not_repaired.get(item.slot.account, ()))),
            self._alarm,
        )
        try:
            return await RECIPES[item.remedy](context)
        except Ended as ended:
            return ended
        except RemoteError as error:
            self._note_silence(item, error)
            return held(f"{sentence(error)} What should be done once it can be read again?")
        except LedgerConflict as conflict:  # a race about this item; a ledger that cannot record is another error
            return held(f"Another run moved this item first: {sentence(conflict)} Look at `allclear explain`.")
        except LedgerError:
            raise
        except AllclearError as error:
            return held(f"{sentence(error)} {error.hint}".strip())
        except Exception as error:  # noqa: BLE001 # the one place that turns a crash of one item into a recorded failure
            self.problems.append(f"{item.slot.key}: internal error {type(error).__name__}: {error}")
            return Ended(
                ItemOutcome.HELD,
                f"internal error: {type(error).__name__}",
                Question("Report this; look by hand.", "wait"),
            )

    def _note_silence(self, item: PlanItem, error: RemoteError) -> None:
        """Silence costs minutes an item; after two, the account's other items at that remote are not tried."""
        where = (item.slot.account, item.slot.system)
        if isinstance(error, Unavailable):
            self._silent.setdefault(where, []).append(str(error))

    async def _over(self, item: PlanItem, last: Answer | None) -> Ended | None:
        """How an item ends without its recipe: given up by a named person since the plan was made, or barred."""
        if last is not None and last.choice == DROP:
            return skipped(dropped_by(last))
        barred = await self._barred(item)
        return held(barred) if barred else None

    async def _barred(self, item: PlanItem) -> str:
        """Why this item may not act, or would only cost everybody time, as a question; or ""."""
        silence = self._silent.get((item.slot.account, item.slot.system), [])
        if len(silence) >= SILENCES:
            last = sentence(silence[-1])
            return f"Not tried, because {len(silence)} items before it had no answer: {last} Try again later?"
        if item.slot.key not in self.consent.items:
            return f"Not approved: {self.consent.missing or 'this item is not among those approved'}. Approve it?"
        if self.objection is not None and (no := await self.objection()):
            return f"The plan was rejected by {no}. Make a new one?"
        return ""

    async def _alarm(self, text: str) -> None:
        self.problems.append(text)
        self.tell("alarm", {"text": text})
        if self.alarm is not None:
            await self.alarm(text)

    def _settled(self, item: PlanItem, outcome: ItemOutcome) -> None:
        if outcome in (ItemOutcome.CONFIRMED, ItemOutcome.SKIPPED):
            self._not_repaired.get(item.slot.account, set()).discard(item.slot.key)


def open_accounts(accounts: Iterable[Account]) -> Mapping[str, Account]:
    """Accounts by name."""
    return {a.name: a for a in accounts}
