"""Watches what may still happen by itself: originals that were stopped, jobs that were given up, actions left unknown.

The vendor says twice that an original may still happen (R001.14, R001.35). For 72 hours after a release each original
is read again; if it moves it is stopped, and the overlap is counted and told once. Runs on a schedule; each call is one
round and needs no memory but the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from recovery.act import ABSENT, SEEN, Effect, Ended, Look, Runner
from recovery.audit_reading import Patience
from recovery.errors import LedgerConflict, RemoteError
from recovery.gate import overlap_bounds
from recovery.ledger.rows import ActionRow, ActionSpec, ItemRow
from recovery.model import ActionKind, ActionState, Harm, ItemOutcome, Saw, Slot
from recovery.plan import key_for
from recovery.policy import STARTS
from recovery.ports import Account, Campaign
from recovery.share import MOST_ACCOUNTS_AT_ONCE
from recovery.testify import LIVE, STATUS_WORDS, STOPPED_STATUSES, run_saw, runs_of

STREAM = "watch"
WATCHED = (ActionKind.RELEASE, *STARTS)


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something moved by itself after we acted. `least` and `most` bound how many people were reached twice."""

    slot_key: str
    text: str
    least: int = 0
    most: int = 0


@dataclass(frozen=True, slots=True)
class Round:
    """One round: what was looked at, what was seen, what could not be read, what still waits to be settled."""

    looked: int
    sightings: tuple[Sighting, ...]
    problems: tuple[str, ...]
    unsettled: tuple[str, ...]


@dataclass(slots=True)
class Watcher:
    """Looks at everything of one ledger that is still within its watching time."""

    runner: Runner
    accounts: dict[str, Account]
    secret: bytes = field(repr=False)
    tell_people: Callable[[Sighting], Awaitable[None]] | None = None

    async def round(self) -> Round:
        """One look at every watched item, accounts side by side. Raises LedgerError only."""
        stale = await self.runner.ledger.stale_actions()
        watched: dict[str, list[ItemRow]] = defaultdict(list)
        for row in await self._watched(stale):
            if row.account in self.accounts:
                watched[row.account].append(row)
        room = asyncio.Semaphore(MOST_ACCOUNTS_AT_ONCE)

        async def one(rows: Sequence[ItemRow]) -> tuple[list[Sighting], list[str]]:
            async with room:
                return await self._looks(rows)

        done = await asyncio.gather(*(one(rows) for rows in watched.values()))
        return Round(
            sum(map(len, watched.values())),
            tuple(sighting for seen, _ in done for sighting in seen),
            tuple(problem for _, problems in done for problem in problems),
            tuple(_unsettled(a) for a in stale),
        )

    async def _watched(self, stale: Sequence[ActionRow]) -> list[ItemRow]:
        """What was proven within the watching time, and what ended otherwise although something of it had left."""
        ledger = self.runner.ledger
        since = self.runner.clock.now() - timedelta(seconds=self.runner.policy.waits.watch)
        rows = {row.slot_key: row for row in await ledger.items(outcome=ItemOutcome.CONFIRMED, since=since)}
        for held in await ledger.items(outcome=ItemOutcome.HELD, since=since):
            if await self._sent(held):
                rows[held.slot_key] = held
        for action in stale:
            if action.kind in WATCHED and action.slot_key not in rows:
                row = await ledger.item(action.slot_key)
                rows |= {} if row is None else {row.slot_key: row}
        return list(rows.values())

    async def _sent(self, row: ItemRow) -> bool:
        """Whether a copy was armed or a job started whose effect nobody has proven absent."""
        actions = await self.runner.ledger.actions(row.slot_key)
        return any(a.kind in WATCHED and a.attempts and a.state is not ActionState.PLANNED for a in actions)

    async def _looks(self, rows: Sequence[ItemRow]) -> tuple[list[Sighting], list[str]]:
        """One account's items, one after the other; a remote that stays silent is asked no more in this round."""
        seen: list[Sighting] = []
        problems: list[str] = []
        patience: dict[str, Patience] = defaultdict(Patience)
        for row in rows:
            asked = patience[row.system]
            if asked.spent:
                problems.append(f"{row.slot_key}: {asked.spent}")
                continue
            try:
                sighting = await self._look(row)
            except RemoteError as error:
                asked.lost(error)
                problems.append(f"{row.slot_key}: {error}")
                continue
            asked.answered()
            if sighting is not None:
                seen.append(sighting)
                await self._tell_once(sighting)
        return seen, problems

    async def _look(self, row: ItemRow) -> Sighting | None:
        account = self.accounts[row.account]
        actions = {a.kind: a for a in await self.runner.ledger.actions(row.slot_key)}
        # A ledger that was lost after the release knows the copy by the try to take it back alone.
        released = actions.get(ActionKind.RELEASE) or actions.get(ActionKind.DISARM)
        if released is not None:
            return await self._original(row, account, released)
        started = next((actions[kind] for kind in STARTS if kind in actions), None)
        return None if started is None else await self._job(row, account, started)

    async def _original(self, row: ItemRow, account: Account, release: ActionRow) -> Sighting | None:
        original = await account.campaigns.campaign(row.object_ref)
        if original.send_amt == 0:
            return await self._about_to_go(row, account, original)
        copy_ref = release.result_ref or release.target_ref
        copy = await account.campaigns.campaign(copy_ref)
        least, most = overlap_bounds(original.send_amt, copy.send_amt, max(original.total_amt, copy.total_amt))
        if original.status not in STOPPED_STATUSES | {"5"}:
            await self._stop(row, account, original.ref, "stop_late", ActionKind.STOP)
        if copy.status == "1":
            await self._stop(row, account, copy.ref, "disarm_late", ActionKind.DISARM)
        word = STATUS_WORDS.get(original.status, original.status)
        return Sighting(
            row.slot_key,
            f"the original {original.ref} went out after all ({word}, {original.send_amt} sent) beside our copy "
            f"{copy.ref} ({copy.send_amt} sent); between {least} and {most} people got it twice",
            least,
            most,
        )

    async def _about_to_go(self, row: ItemRow, account: Account, original: Campaign) -> Sighting | None:
        """An original that is on its way again is stopped before it reaches anybody."""
        if original.status not in LIVE:
            return None
        lost = await self._stop(row, account, original.ref, "stop_late", ActionKind.STOP)
        came = f"the original {original.ref} was {STATUS_WORDS[original.status]} again, with nobody reached yet"
        return Sighting(row.slot_key, f"{came}; it could not be stopped: {lost}" if lost else f"{came}: stopped")

    async def _stop(self, row: ItemRow, account: Account, ref: str, what: str, kind: ActionKind) -> str:
        """Stops what is still going out, or is about to; why it could not, or "".

        Each further stop of the same campaign is its own action.
        """
        slot = Slot(row.account, row.system, row.kind, row.object_ref, row.due_at, row.name)
        key, n = key_for(self.secret, slot, what, row.generation), 0
        while (done := await self.runner.ledger.action(key)) is not None and done.state is ActionState.CONFIRMED:
            n += 1
            key = key_for(self.secret, slot, what, row.generation, str(n))

        async def look() -> Look:
            now = await account.campaigns.campaign(ref)
            stopped = SEEN if now.status in STOPPED_STATUSES else ABSENT
            return Look(stopped, now.ref, now.digest, f"status {now.status}")

        stop = Effect(
            ActionSpec(key, row.slot_key, row.account, kind, Harm.H0, ref, row.generation),
            f"stop campaign {ref} of {row.account}, since the original moved by itself",
            lambda attempt: account.campaigns.stop(ref, attempt),
            look,
            repeatable=True,
            settle_seconds=self.runner.policy.waits.settle_copy,
        )
        try:
            await self.runner.perform(stop)
        except Ended as ended:
            return ended.reason
        return ""

    async def _job(self, row: ItemRow, account: Account, ours: ActionRow) -> Sighting | None:
        log = await account.jobs.activity_log(row.due_at, self.runner.clock.now(), row.object_ref)
        slot = Slot(row.account, row.system, row.kind, row.object_ref, row.due_at, row.name)
        # A log that names no schedule would show the next regular run as if it were the late one.
        late = [
            r
            for r in runs_of(slot, (r for r in log.runs if r.scheduled_for is not None), None)
            if r.ref != ours.result_ref and run_saw(r) is Saw.WORKED
        ]
        if not late:
            return None
        return Sighting(row.slot_key, f"run {late[0].ref} went on by itself beside our run {ours.result_ref}")

    async def _tell_once(self, sighting: Sighting) -> None:
        """Each sighting is recorded, and people are told, once; a change of the count is told again."""
        name = f"{STREAM}/{sighting.slot_key}"
        told = await self.runner.ledger.stream(name)
        if told and told[-1].data.get("text") == sighting.text:
            return
        if self.tell_people is not None:
            await self.tell_people(sighting)
        data = {"text": sighting.text, "least": sighting.least, "most": sighting.most}
        with contextlib.suppress(LedgerConflict):  # another round saw it at the same time, and recorded it
            await self.runner.ledger.append(
                name, "seen", self.runner.ledger.owner, self.runner.clock.now(), data, len(told)
            )


def _unsettled(row: ActionRow) -> str:
    wait = "waits to be settled" if row.state is ActionState.UNKNOWN else f"was left {row.state.value}"
    return f"{row.slot_key}: {row.kind.value} {wait}; `allclear recover` goes on from there"
