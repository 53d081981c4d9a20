"""An armed copy: watched until it has left, taken back when its original moves (R001.14, R001.15).

Between arming and departure the copy leaves whatever becomes of us, so every move of the original disarms it, a read
that fails costs one look only, and a stop that did not work is tried again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from recovery.act import CANNOT_TELL, SEEN, Ended, Look
from recovery.errors import LedgerConflict, RefusedError, RemoteError
from recovery.gate import RELEASE_ANYWAY, SEND_AGAIN, Skip, by_itself, overlap_bounds
from recovery.ledger.rows import ActionRow
from recovery.model import ActionKind, ActionState, Harm, ItemOutcome, Question, digest_of
from recovery.ports import Campaign
from recovery.recipes.context import Context, ended_by, held
from recovery.testify import LIVE, STATUS_WORDS, STOPPED_STATUSES


@dataclass(frozen=True, slots=True)
class Armed:
    """The armed copies of one original, `ref`."""

    context: Context
    ref: str

    async def original(self) -> Campaign:
        """The original, read fresh."""
        return await self.context.account.campaigns.campaign(self.ref)

    async def departure(self, copy_ref: str) -> Look:
        """Watches while armed: any move of the original disarms the copy; departure is proven by the counters.

        A read that fails costs one look and never the watch: an armed copy leaves whether or not it can be read.
        """
        c = self.context
        give_up = c.clock.now() + timedelta(seconds=c.policy.waits.arm + c.policy.waits.departure)
        while True:
            try:
                look = await self._left(copy_ref)
            except RemoteError as error:
                look = Look(CANNOT_TELL, note=str(error))
            if look.kind == SEEN or c.clock.now() > give_up:
                return look
            await c.clock.sleep(c.policy.waits.poll)

    async def _left(self, copy_ref: str) -> Look:
        """One look at an armed copy and its original. Raises Ended once the copy is stopped."""
        c = self.context
        copy = await c.account.campaigns.campaign(copy_ref)
        if copy.status in ("2", "5") and copy.send_amt > 0:
            await self._end_disarms(copy)
            note = f"copy {copy.ref} left: {copy.send_amt} of {copy.total_amt} sent"
            return Look(SEEN, copy.ref, copy.digest, note)
        original = await self.original()
        reason = self._why_disarm(original)
        if reason and copy.status == "1":
            await self._disarm(original, copy_ref, reason)
        if copy.status in STOPPED_STATUSES:
            await self._end_disarms(copy)
            if copy.send_amt > 0:
                raise await self._stopped_halfway(original, copy)
            text = f"Copy {copy_ref} was stopped before it left ({STATUS_WORDS[copy.status]}). Is it still wanted?"
            raise await self._taken_back(original, copy_ref, text)
        word = STATUS_WORDS.get(copy.status, f"status {copy.status}")
        live = "; it may still leave until somebody stops it" if copy.status in LIVE else ""
        return Look(CANNOT_TELL, note=f"copy {copy_ref} was armed and is {word}, with nothing sent{live}")

    def _why_disarm(self, original: Campaign) -> str:
        if original.send_amt > 0:
            return f"the original went out by itself ({original.send_amt} of {original.total_amt} sent)"
        off = self.context.runner.switched_off()
        if off:
            return f"kill switch: {off}"
        if original.status in LIVE and self.context.answer != RELEASE_ANYWAY:
            return f"the original is {STATUS_WORDS[original.status]} again"
        return ""

    async def _disarm(self, original: Campaign, copy_ref: str, reason: str) -> None:
        """Stops an armed copy; the kill switch does not forbid what only takes mail back.

        Each try is an action of its own, so that one whose reply was lost or refused does not stand in the next one's
        way: a second stop does no harm.
        """
        c = self.context
        c.say(f"disarming copy {copy_ref}: {reason}")
        tries = [row for row in await self._disarms(copy_ref) if row.state is not ActionState.PLANNED]
        detail = f"{copy_ref}/{len(tries)}" if tries else copy_ref
        spec = c.spec(ActionKind.DISARM, Harm.H0, copy_ref, detail=detail)
        await c.runner.ledger.ensure([spec])
        row = await c.runner.ledger.claim(spec.key, c.policy.waits.lease)
        if row is not None:
            try:
                attempt = await c.runner.ledger.intend(
                    row,
                    f"disarm copy {copy_ref}",
                    send_within_seconds=c.policy.waits.send_within,
                    deadline_seconds=c.policy.waits.write_deadline,
                )
            except LedgerConflict:
                await c.runner.ledger.unclaim(row, "someone else disarms it")
            else:
                await c.runner.ledger.settle(attempt, await c.account.campaigns.stop(copy_ref, attempt))
        copy = await c.account.campaigns.campaign(copy_ref)
        if copy.status in STOPPED_STATUSES and copy.send_amt == 0:
            await self._end_disarms(copy)
            text = f"Copy {copy_ref} was disarmed before it left: {reason}. Send it later?"
            raise await self._taken_back(original, copy_ref, text)

    async def _taken_back(self, original: Campaign, copy_ref: str, text: str) -> Ended:
        """How the item ends now that its armed copy was stopped: a stopped copy can never be sent, only another one."""
        c = self.context
        release = c.spec(ActionKind.RELEASE, Harm.H3, copy_ref)
        question = Question(text, "wait", ("wait", "drop", SEND_AGAIN))
        known = await c.runner.ledger.action(release.key)
        if known is not None and known.state in (ActionState.CLAIMED, ActionState.IN_FLIGHT):
            known = await c.runner.ledger.take_over(release.key)  # a run that died while its copy was armed
        if known is not None and known.state in (ActionState.APPLIED, ActionState.UNKNOWN):
            await c.runner.ledger.hold(release.key, question)
        moved = by_itself(original)
        if moved is None:
            return Ended(ItemOutcome.HELD, question.text, question)
        if isinstance(moved, Skip) and known is not None:
            await c.runner.ledger.skip(release.key, text)
        ended = ended_by(moved)
        return replace(ended, reason=f"{ended.reason}; copy {copy_ref} was stopped before it left")

    async def _disarms(self, copy_ref: str) -> list[ActionRow]:
        """Every try so far to take this copy back."""
        item = self.context.item
        rows = await self.context.runner.ledger.actions(item.slot.key)
        mine = (r for r in rows if r.kind is ActionKind.DISARM and r.target_ref == copy_ref)
        return [r for r in mine if r.generation == item.generation]

    async def _end_disarms(self, copy: Campaign) -> None:
        """What the tries came to, by what the copy shows: nothing of them is left for anybody to settle."""
        ledger, stopped = self.context.runner.ledger, copy.status in STOPPED_STATUSES
        note = f"copy {copy.ref} is {STATUS_WORDS.get(copy.status, copy.status)}, {copy.send_amt} sent"
        for row in await self._disarms(copy.ref):
            if row.state not in (ActionState.APPLIED, ActionState.UNKNOWN):
                continue
            try:
                if stopped:
                    await ledger.confirm(row.key, copy.digest or digest_of(note), note, copy.ref)
                    continue
                if row.state is ActionState.APPLIED:
                    await ledger.doubt(row.key, note)
                await ledger.absent(row.key, f"it came too late: {note}", copy.digest)
                await ledger.skip(row.key, f"it came too late: {note}")
            except (LedgerConflict, RefusedError):
                continue  # another run settles it, or its sender may still be alive: the watcher names it

    async def _stopped_halfway(self, original: Campaign, copy: Campaign) -> Ended:
        """The stop came when some mail had left: part of the audience has it, which only a person can judge."""
        text = f"Copy {copy.ref} was stopped while it was leaving: {copy.send_amt} of {copy.total_amt} sent."
        if original.send_amt > 0:
            text = f"{text} {await self.report_overlap(original, copy)}."
        return held(f"{text} What about the others?")

    async def report_overlap(self, original: Campaign, copy: Campaign) -> str:
        """Both moved: counted, told, and everything that reaches people stops."""
        c = self.context
        least, most = overlap_bounds(original.send_amt, copy.send_amt, max(copy.total_amt, original.total_amt))
        text = (
            f"Both went out: original {original.ref} ({original.send_amt} sent) and copy {copy.ref} "
            f"({copy.send_amt} sent); between {least} and {most} people got it twice"
        )
        c.runner.tripped = c.runner.tripped or text
        if c.alarm is not None:
            await c.alarm(text)
        return text
