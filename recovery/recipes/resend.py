"""Resend: stop and defuse the original, copy, elect one draft, arm it, watch, let it go (R001.10 to R001.15).

The harmless part comes first and may happen twice (a draft is only a draft); the one-shot part names one object. The
original is read again before the copy is armed and until it leaves; if the original moves, the copy is stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from recovery.act import ABSENT, CANNOT_TELL, SEEN, Effect, Ended, Look
from recovery.errors import LedgerConflict, RemoteError
from recovery.gate import AT_REST, RELEASE_ANYWAY, Allow, ReleaseFacts, Ruling, Skip, ask, may_release, overlap_bounds
from recovery.model import ActionKind, Harm, ItemOutcome, OpenAttempt, Question, WriteResult
from recovery.ports import Campaign, CampaignContent
from recovery.recipes.context import Context, confirmed, held, skipped
from recovery.testify import STATUS_WORDS, STOPPED_STATUSES

LIVE = frozenset({"1", "2"})


async def resend(context: Context) -> Ended:
    """Runs the whole recipe; safe to run again from the top after any crash."""
    return await _Resend(context, context.item.slot.object_ref).run()


@dataclass(slots=True)
class _Resend:
    context: Context
    ref: str
    content: CampaignContent | None = None
    gone: Campaign | None = None  # a copy of ours that had left when the run began, whatever the ledger knows

    async def run(self) -> Ended:
        c = self.context
        original = await self._original()
        copies = await self._our_copies()
        self.gone = next((x for x in copies if x.send_amt > 0), None)
        if original.send_amt > 0 and self.gone is None:
            return skipped(f"the original went out by itself ({original.send_amt} of {original.total_amt} sent)")
        self.content = await c.account.campaigns.content(self.ref)
        await self._stop(original)
        await self._defuse(original)
        copy_ref = await self._copy(known=bool(copies))
        elected = await c.runner.ledger.elect(
            c.item.slot.key,
            c.item.generation,
            copy_ref,
            c.spec(ActionKind.COPY, Harm.H0, self.ref).key,
            c.item.slot.system,
            c.account.name,
        )
        if elected != copy_ref:
            await c.runner.ledger.note_object(
                c.item.slot.system, c.account.name, copy_ref, c.item.slot.key, "", "orphan"
            )
        await self._mark(elected)
        await self._same_content(elected)
        try:
            await self._release(elected)
        except Ended as ended:
            # A request that sat in the platform for longer than anybody assumed may have let the copy go after all.
            if ended.outcome is ItemOutcome.SKIPPED and (await c.account.campaigns.campaign(elected)).send_amt > 0:
                return await self._closing(elected)
            raise
        return await self._closing(elected)

    async def _original(self) -> Campaign:
        return await self.context.account.campaigns.campaign(self.ref)

    async def _our_copies(self) -> tuple[Campaign, ...]:
        listing = await self.context.account.campaigns.campaigns()
        if not listing.complete:
            raise held(
                f"The list of campaigns cannot be read whole ({listing.problem}), so copies cannot be ruled out."
            )
        return tuple(c for c in listing.items if self.context.marker in c.name and c.ref != self.ref)

    # ---- stop and defuse

    async def _stop(self, original: Campaign) -> None:
        c = self.context
        spec = c.spec(ActionKind.STOP, Harm.H0, self.ref)
        if original.status in AT_REST and not (original.status in STOPPED_STATUSES and await c.left_open(spec)):
            return
        if original.status not in LIVE | STOPPED_STATUSES:
            raise held(f"The original has status {original.status}, which this product does not know.")
        c.say("stopping the original")
        try:
            await c.runner.perform(
                Effect(
                    spec,
                    f"stop campaign {self.ref} of {c.account.name}",
                    lambda attempt: c.account.campaigns.stop(self.ref, attempt),
                    self._look_stopped,
                    check=self._may_stop,
                    confirm=self._confirm_stopped,
                    repeatable=True,
                    settle_seconds=c.policy.waits.settle_copy,
                    look_first=False,
                )
            )
        except Ended as ended:
            if ended.outcome is not ItemOutcome.HELD or RELEASE_ANYWAY not in c.answers:
                raise _stop_question(ended) from None
            c.say("the stop is not confirmed; going on by recorded override")

    async def _may_stop(self) -> Ruling:
        now = await self._original()
        if now.send_amt > 0:
            return Skip(f"the original went out by itself ({now.send_amt} of {now.total_amt} sent)")
        return Allow()

    async def _look_stopped(self) -> Look:
        now = await self._original()
        word = STATUS_WORDS.get(now.status, now.status)
        if now.status in STOPPED_STATUSES:
            return Look(SEEN, now.ref, now.digest, f"original {now.ref} is {word}, {now.send_amt} sent")
        return Look(ABSENT, note=f"original {now.ref} is {word}, {now.send_amt} sent")

    async def _confirm_stopped(self) -> Look:
        """Two reads apart with the counters flat; one read right after the call proves nothing."""
        first = await self._original()
        await self.context.clock.sleep(self.context.policy.waits.stop_check)
        second = await self._original()
        word = STATUS_WORDS.get(second.status, second.status)
        note = f"original {second.ref} is {word}, {second.send_amt} sent"
        if {first.status, second.status} <= STOPPED_STATUSES and first.send_amt == second.send_amt:
            return Look(SEEN, second.ref, second.digest, note)
        return Look(CANNOT_TELL if second.status in STOPPED_STATUSES else ABSENT, note=note)

    async def _defuse(self, original: Campaign) -> None:
        """Marks the original: a marker and a courtesy, so a failure does not end the recovery (reliability.md, 2.8)."""
        c = self.context
        spec = c.spec(ActionKind.DEFUSE, Harm.H1, self.ref)
        if not c.policy.defuse or (c.marker in original.name and not await c.left_open(spec)):
            return
        name = f"[STOPPED, replaced] {original.name} {c.marker}"

        async def look() -> Look:
            now = await self._original()
            kind = SEEN if c.marker in now.name else ABSENT
            return Look(kind, now.ref, now.digest, f"original is named {now.name!r}")

        try:
            await c.runner.perform(
                Effect(
                    spec,
                    f"mark campaign {self.ref} of {c.account.name} as stopped",
                    lambda attempt: c.account.campaigns.rename(self.ref, name, attempt),
                    look,
                    repeatable=True,
                    settle_seconds=c.policy.waits.settle_copy,
                    look_first=False,
                )
            )
        except Ended as ended:
            if ended.outcome is ItemOutcome.OPEN:
                raise
            c.say(f"the original could not be marked: {ended.reason}")

    # ---- copy, mark, compare

    async def _copy(self, *, known: bool) -> str:
        c = self.context
        c.say("duplicating")
        spec = c.spec(ActionKind.COPY, Harm.H0, self.ref)
        row = await c.runner.ledger.action(spec.key)
        return await c.runner.perform(
            Effect(
                spec,
                f"duplicate campaign {self.ref} of {c.account.name}",
                lambda attempt: c.account.campaigns.copy(self.ref, attempt),
                self._look_copy,
                confirm=self._confirm_copy,
                repeatable=True,
                settle_seconds=c.policy.waits.settle_copy,
                # The list was read a moment ago; without a copy in it or an attempt of ours there is nothing to find.
                look_first=known or (row is not None and row.attempts > 0),
            )
        )

    async def _look_copy(self) -> Look:
        """Our copy by its marker; failing that, a fresh draft copy with the same content that nobody else marked.

        A copy that has left is preferred to any draft, so that a lost answer never leads to a second release.
        """
        if self.gone is not None:
            return Look(SEEN, self.gone.ref, self.gone.digest, f"copy {self.gone.ref} has left")
        listing = await self.context.account.campaigns.campaigns()
        if not listing.complete:
            return Look(CANNOT_TELL, note=f"the list of campaigns cannot be read whole: {listing.problem}")
        marked = [x for x in listing.items if self.context.marker in x.name and x.ref != self.ref]
        left = [x for x in marked if x.status != "0"] or marked
        found = min(left, key=_by_age, default=None) or await self._unmarked_copy(listing.items)
        if found is None:
            return Look(ABSENT, note="no copy in the list of campaigns")
        return Look(SEEN, found.ref, found.digest, f"copy {found.ref} ({STATUS_WORDS.get(found.status, found.status)})")

    async def _unmarked_copy(self, campaigns: tuple[Campaign, ...]) -> Campaign | None:
        row = await self.context.runner.ledger.action(self.context.spec(ActionKind.COPY, Harm.H0, self.ref).key)
        if row is None or row.attempts == 0:
            return None
        for candidate in sorted(campaigns, key=_by_age):
            fresh = candidate.created_at is None or candidate.created_at >= self.context.item.slot.due_at
            later = _by_age(candidate) > (len(self.ref), self.ref)
            free = candidate.status == "0" and "[RK-" not in candidate.name
            if fresh and later and free and await self._equal(candidate.ref):
                return candidate
        return None

    async def _confirm_copy(self) -> Look:
        row = await self.context.runner.ledger.action(self.context.spec(ActionKind.COPY, Harm.H0, self.ref).key)
        if row is None:
            return Look(CANNOT_TELL, note="the ledger was replaced meanwhile")
        try:
            found = await self.context.account.campaigns.campaign(row.result_ref)
        except RemoteError as error:
            return Look(CANNOT_TELL, note=str(error))
        return Look(
            SEEN, found.ref, found.digest, f"copy {found.ref} is a {STATUS_WORDS.get(found.status, found.status)}"
        )

    async def _mark(self, copy_ref: str) -> None:
        c = self.context
        name = f"{c.item.slot.name} {c.marker}"

        async def look() -> Look:
            now = await c.account.campaigns.campaign(copy_ref)
            return Look(SEEN if c.marker in now.name else ABSENT, now.ref, now.digest, f"copy is named {now.name!r}")

        await c.runner.perform(
            Effect(
                c.spec(ActionKind.MARK, Harm.H0, copy_ref, detail=copy_ref),
                f"mark copy {copy_ref} of {c.account.name}",
                lambda attempt: c.account.campaigns.rename(copy_ref, name, attempt),
                look,
                repeatable=True,
                settle_seconds=c.policy.waits.settle_copy,
            )
        )

    async def _same_content(self, copy_ref: str) -> None:
        """The copy says the same to the same people; where the platform shows neither, it must at least be its copy."""
        same = await self._equal(copy_ref) if self._comparable() else await self._is_a_copy(copy_ref)
        if not same:
            raise held(
                f"Draft {copy_ref} does not say the same to the same lists as the original {self.ref}. "
                "Send it all the same?"
            )

    def _comparable(self) -> bool:
        assert self.content is not None
        return bool({"messages", "lists"}.intersection(self.content.readable))

    async def _is_a_copy(self, copy_ref: str) -> bool:
        assert self.content is not None
        copy = await self.context.account.campaigns.campaign(copy_ref)
        return copy.source == "copy" and copy.segment_ref == self.content.segment_ref

    async def _equal(self, copy_ref: str) -> bool:
        """Equal fingerprints over the same readable parts; what cannot be compared is never called equal."""
        assert self.content is not None
        if not self._comparable():
            return False
        theirs = await self.context.account.campaigns.content(copy_ref)
        return theirs.fingerprint == self.content.fingerprint and theirs.readable == self.content.readable

    # ---- arm, watch, let go

    async def _release(self, copy_ref: str) -> None:
        c = self.context
        c.say(f"arming copy {copy_ref}")

        async def send(attempt: OpenAttempt) -> WriteResult:
            at = (c.clock.now() + timedelta(seconds=c.policy.waits.arm)).replace(microsecond=0)
            return await c.account.campaigns.schedule(copy_ref, at, attempt)

        await c.runner.perform(
            Effect(
                c.spec(ActionKind.RELEASE, Harm.H3, copy_ref, recipients=c.item.audience or 0),
                f"release copy {copy_ref} of {c.account.name}",
                send,
                lambda: self._look_released(copy_ref),
                check=lambda: self._gate(copy_ref),
                confirm=lambda: self._departure(copy_ref),
                repeatable=c.policy.assume_one_shot_release or c.account.one_shot_release,
                settle_seconds=c.policy.waits.settle,
            )
        )

    async def _look_released(self, copy_ref: str) -> Look:
        copy = await self.context.account.campaigns.campaign(copy_ref)
        word = STATUS_WORDS.get(copy.status, f"status {copy.status}")
        note = f"copy {copy_ref} is {word}, {copy.send_amt} of {copy.total_amt} sent"
        if copy.status in ("1", "2", "5"):
            return Look(SEEN, copy.ref, copy.digest, note)
        return Look(ABSENT if copy.status == "0" else CANNOT_TELL, note=note)

    async def _gate(self, copy_ref: str) -> Ruling:
        """Everything that may forbid the release, read now and not from memory."""
        c = self.context
        try:
            original = await self._original()
            copy = await self.context.account.campaigns.campaign(copy_ref)
            siblings, foreign = await self._relatives(copy)
        except RemoteError as error:
            return ask(f"The last check before the release could not be read: {error}")
        return may_release(
            ReleaseFacts(
                now=c.clock.now(),
                time_zone=c.account.time_zone,
                item=c.item,
                policy=c.policy,
                original=original,
                copy=copy,
                marked=c.marker in copy.name,
                elected_ref=await c.runner.ledger.elected(c.item.slot.key, c.item.generation),
                siblings=siblings,
                foreign=foreign,
                killed=c.runner.switched_off() or await c.runner.ledger.killed(),
                tripped=c.runner.tripped,
                override=RELEASE_ANYWAY in c.answers,
                unrepaired_syncs=c.unrepaired_syncs(),
            )
        )

    async def _relatives(self, copy: Campaign) -> tuple[tuple[Campaign, ...], tuple[Campaign, ...]]:
        """Campaigns with our marker, and unmarked copies of the same name made since the slot that are on their way."""
        listing = await self.context.account.campaigns.campaigns()
        if not listing.complete:
            raise RemoteError("pro2", self.context.account.name, f"the list is not whole: {listing.problem}")
        siblings = tuple(x for x in listing.items if self.context.marker in x.name and x.ref != self.ref)
        name = self.context.item.slot.name.casefold()
        foreign = []
        for other in listing.items:
            later = other.created_at is None or other.created_at >= self.context.item.slot.due_at
            looks_alike = name in other.name.casefold() and later and other.ref not in (self.ref, copy.ref)
            by_hand = other.source == "copy" and "[RK-" not in other.name
            if looks_alike and by_hand and other.status in ("1", "2", "5") and await self._equal(other.ref):
                foreign.append(other)
        return siblings, tuple(foreign)

    async def _departure(self, copy_ref: str) -> Look:
        """Watches while armed: any move of the original disarms the copy; departure is proven by the counters."""
        c = self.context
        give_up = c.clock.now() + timedelta(seconds=c.policy.waits.arm + c.policy.waits.departure)
        while True:
            copy = await c.account.campaigns.campaign(copy_ref)
            if copy.status in ("2", "5") and copy.send_amt > 0:
                note = f"copy {copy.ref} left: {copy.send_amt} of {copy.total_amt} sent"
                return Look(SEEN, copy.ref, copy.digest, note)
            original = await self._original()
            reason = self._why_disarm(original)
            if reason and copy.status == "1":
                await self._disarm(copy_ref, reason)
            if copy.status in STOPPED_STATUSES and copy.send_amt > 0:
                raise await self._stopped_halfway(original, copy)
            if copy.status in STOPPED_STATUSES:
                raise held(
                    f"Copy {copy_ref} was stopped before it left ({STATUS_WORDS[copy.status]}). Is it still wanted?"
                )
            if c.clock.now() > give_up:
                return Look(CANNOT_TELL, note=f"copy {copy_ref} was armed but has not left: status {copy.status}")
            await c.clock.sleep(c.policy.waits.poll)

    def _why_disarm(self, original: Campaign) -> str:
        if original.send_amt > 0:
            return f"the original went out by itself ({original.send_amt} of {original.total_amt} sent)"
        off = self.context.runner.switched_off()
        if off:
            return f"kill switch: {off}"
        if original.status in LIVE and RELEASE_ANYWAY not in self.context.answers:
            return f"the original is {STATUS_WORDS[original.status]} again"
        return ""

    async def _disarm(self, copy_ref: str, reason: str) -> None:
        """Stops an armed copy; the kill switch does not forbid what only takes mail back."""
        c = self.context
        c.say(f"disarming copy {copy_ref}: {reason}")
        spec = c.spec(ActionKind.DISARM, Harm.H0, copy_ref, detail=copy_ref)
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
            release = c.spec(ActionKind.RELEASE, Harm.H3, copy_ref)
            question = Question(f"Copy {copy_ref} was disarmed before it left: {reason}. Send it later?", "wait")
            await c.runner.ledger.hold(release.key, question)
            if "went out by itself" in reason:
                await c.runner.ledger.skip(release.key, f"disarmed: {reason}")
                raise skipped(f"{reason}; copy {copy_ref} was stopped before it left")
            raise Ended(ItemOutcome.HELD, question.text, question)

    async def _stopped_halfway(self, original: Campaign, copy: Campaign) -> Ended:
        """The stop came when some mail had left: part of the audience has it, which only a person can judge."""
        text = f"Copy {copy.ref} was stopped while it was leaving: {copy.send_amt} of {copy.total_amt} sent."
        if original.send_amt > 0:
            text = f"{text} {await self._report_overlap(original, copy)}."
        return held(f"{text} What about the others?")

    async def _report_overlap(self, original: Campaign, copy: Campaign) -> str:
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

    async def _closing(self, copy_ref: str) -> Ended:
        """The last look: if both moved, the overlap is counted, reported, and everything that reaches people stops."""
        c = self.context
        original, copy = await self._original(), await c.account.campaigns.campaign(copy_ref)
        if original.send_amt > 0:
            text = await self._report_overlap(original, copy)
            return confirmed(f"copy {copy_ref} was sent; DOUBLE: {text}")
        text = f"copy {copy_ref} was sent to {copy.send_amt} of {copy.total_amt}; the original stayed at rest"
        return confirmed(text)


def _by_age(campaign: Campaign) -> tuple[int, str]:
    """Older campaigns have smaller ids; compared as numbers where they are numbers, without assuming that they are."""
    return len(campaign.ref), campaign.ref


def _stop_question(ended: Ended) -> Ended:
    if ended.outcome is not ItemOutcome.HELD:
        return ended
    return held(
        f"The stop of the original is not confirmed ({ended.reason}). Sending the copy may reach people twice.",
        "wait",
        RELEASE_ANYWAY,
    )
