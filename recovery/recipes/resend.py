"""Resend: stop and defuse the original, copy, elect one draft, arm it, watch, let it go (R001.10 to R001.15).

The harmless part comes first and may happen twice (a draft is only a draft); the one-shot part names one object. The
original is read again before the copy is armed and until it leaves; if the original moves, the copy is stopped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from recovery.act import ABSENT, CANNOT_TELL, SEEN, Effect, Ended, Look
from recovery.errors import RemoteError
from recovery.gate import (
    AT_REST,
    RELEASE_ANYWAY,
    Allow,
    Hold,
    ReleaseFacts,
    Ruling,
    Skip,
    ask,
    by_itself,
    may_release,
)
from recovery.model import ActionKind, Harm, ItemOutcome, OpenAttempt, WriteResult
from recovery.plan import item_marker
from recovery.ports import Campaign, CampaignContent
from recovery.recipes.armed import Armed
from recovery.recipes.context import Context, confirmed, ended_by, held
from recovery.testify import LIVE, STATUS_WORDS, STOPPED_STATUSES

REPLACED = "[STOPPED, replaced] "
"""Stands before the name of a stopped original. A copy takes the name over, and it is the one that goes out."""

_MARKERS = re.compile(r" ?\[RK-[A-Z2-7]+\]")


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
        moved = by_itself(original)
        if moved is not None and self.gone is None:
            return await self._moved(moved, copies)
        self.content = await c.account.campaigns.content(self.ref)
        if all(copy.status == "0" for copy in copies):
            self._as_approved()
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

    def _as_approved(self) -> None:
        """An approval is for the mail that stood there when the plan was made, and for its lists (invariant 7)."""
        assert self.content is not None
        before, now = self.context.item.before, self.content
        known = before.get("content")
        if known is None and before.get("unread"):
            raise held(
                f"What campaign {self.ref} says, and to whom, could not be read when the plan was made, so nobody "
                "approved it. Plan and approve it anew?"
            )
        if known is None or (known == now.fingerprint and before.get("parts") == list(now.readable)):
            return
        what = "it says something else"
        if before.get("parts") != list(now.readable):
            what = "what it says, and to whom, cannot be read as it could then"
        elif before.get("segment") != now.segment_ref or before.get("lists") != list(now.list_refs):
            what = "it goes to other lists or to another segment"
        raise held(f"Campaign {self.ref} is not the one that was approved: {what}. Plan and approve it anew?")

    @property
    def _armed(self) -> Armed:
        return Armed(self.context, self.ref)

    async def _moved(self, moved: Hold | Skip, copies: tuple[Campaign, ...]) -> Ended:
        """The original went first. A copy that an earlier run armed is taken back before anything is called over."""
        armed = next((copy for copy in copies if copy.status == "1"), None)
        if armed is None:
            return ended_by(moved)
        look = await self._armed.departure(armed.ref)
        return await self._closing(armed.ref) if look.kind == SEEN else held(f"{look.note}. Stop it by hand?")

    async def _original(self) -> Campaign:
        return await self._armed.original()

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
        if original.status == "0":
            raise held("The original is a draft now, so somebody took it back after the plan. Is it still wanted?")
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
            if ended.outcome is not ItemOutcome.HELD or c.answer != RELEASE_ANYWAY:
                raise _stop_question(ended) from None
            c.say("the stop is not confirmed; going on by recorded override")

    async def _may_stop(self) -> Ruling:
        return by_itself(await self._original()) or Allow()

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
        name = f"{REPLACED}{original.name} {c.marker}"

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
        marks = self._marks_of_the_original()
        for candidate in sorted(campaigns, key=_by_age):
            fresh = candidate.created_at is None or candidate.created_at >= self.context.item.slot.due_at
            later = _by_age(candidate) > (len(self.ref), self.ref)
            free = candidate.status == "0" and _marks(candidate.name) <= marks and candidate.source in ("", "copy")
            if fresh and later and free and self._comparable() and await self._alike(candidate.ref):
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
        name = f"{own_name(c.item.slot.name)} {c.marker}"

        async def look() -> Look:
            now = await c.account.campaigns.campaign(copy_ref)
            kind = SEEN if c.marker in now.name and REPLACED not in now.name else ABSENT
            return Look(kind, now.ref, now.digest, f"copy is named {now.name!r}")

        try:
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
        except Ended as ended:
            named = (await c.account.campaigns.campaign(copy_ref)).name
            if ended.outcome is not ItemOutcome.HELD or c.marker not in named:
                raise
            c.say(f"the copy keeps the name of its original: {ended.reason}")  # it is marked, which is what counts

    async def _same_content(self, copy_ref: str) -> None:
        """The copy says the same to the same people; where no text can be read, it must at least be a copy."""
        is_copy = self._comparable() or (await self.context.account.campaigns.campaign(copy_ref)).source == "copy"
        if not (is_copy and await self._alike(copy_ref)):
            raise held(
                f"Draft {copy_ref} does not say the same to the same lists as the original {self.ref}. "
                "Send it all the same?"
            )

    def _comparable(self) -> bool:
        """Whether what the original says can be read: two different mails may well go to the same list."""
        assert self.content is not None
        return "messages" in self.content.readable

    async def _alike(self, copy_ref: str) -> bool:
        """Equal fingerprints over the same readable parts."""
        assert self.content is not None
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
                confirm=lambda: self._armed.departure(copy_ref),
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
                tripped=c.runner.tripped_for(c.account.name),
                override=c.answer == RELEASE_ANYWAY,
                unrepaired_syncs=c.unrepaired_syncs(),
            )
        )

    async def _relatives(self, copy: Campaign) -> tuple[tuple[Campaign, ...], tuple[Campaign, ...]]:
        """Campaigns with our marker, and unmarked copies of the same name made since the slot that are on their way."""
        listing = await self.context.account.campaigns.campaigns()
        if not listing.complete:
            raise RemoteError("pro2", self.context.account.name, f"the list is not whole: {listing.problem}")
        siblings = tuple(x for x in listing.items if self.context.marker in x.name and x.ref != self.ref)
        parts = own_name(self.context.item.slot.name).casefold().split("…")  # a name too long was cut in its middle
        foreign, marks = [], self._marks_of_the_original()
        for other in listing.items:
            later = other.created_at is None or other.created_at >= self.context.item.slot.due_at
            alike = all(part in other.name.casefold() for part in parts)
            looks_alike = alike and later and other.ref not in (self.ref, copy.ref)
            by_hand = other.source == "copy" and _marks(other.name) <= marks
            if looks_alike and by_hand and other.status in ("1", "2", "5") and await self._alike(other.ref):
                foreign.append(other)
        return siblings, tuple(foreign)

    def _marks_of_the_original(self) -> set[str]:
        """The markers in its name that are not of this item: it may be a copy of ours from another outage."""
        c = self.context
        ours = {item_marker(c.secret, c.item.slot, n) for n in range(c.item.generation + 1)}
        return _marks(c.item.slot.name) - ours

    async def _closing(self, copy_ref: str) -> Ended:
        """The last look: if both moved, the overlap is counted, reported, and everything that reaches people stops."""
        c = self.context
        original, copy = await self._original(), await c.account.campaigns.campaign(copy_ref)
        if original.send_amt > 0:
            text = await self._armed.report_overlap(original, copy)
            return confirmed(f"copy {copy_ref} was sent; DOUBLE: {text}")
        told = f"was sent to {copy.send_amt} of {copy.total_amt}"
        if copy.send_amt < copy.total_amt:
            told = f"is leaving, {copy.send_amt} of {copy.total_amt} sent when it was last read"
        return confirmed(f"copy {copy_ref} {told}; the original stayed at rest")


def _marks(name: str) -> set[str]:
    return {found.strip() for found in _MARKERS.findall(name)}


def own_name(name: str) -> str:
    """A campaign's name without what we put round it when we stopped it: a plan made after that reads it with both."""
    return _MARKERS.sub("", name.replace(REPLACED, ""))


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
