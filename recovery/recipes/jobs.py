"""Run Now, Repeat Import and Reprocess on the Integrated Dashboard (R001.18 to R001.24, R001.32 to R001.35).

None of the three can be repeated blindly: a run is started only while the definition is at rest and its last run is
still the one that was judged; what a lost reply came to is read from the logs; and a start that cannot be seen is held.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from recovery.act import ABSENT, CANNOT_TELL, SEEN, Effect, Ended, Look
from recovery.errors import RemoteError
from recovery.gate import Allow, Ruling, Skip, ask, is_quiet
from recovery.model import ActionKind, ActionState, Harm, ItemOutcome, Kind, OpenAttempt, Saw, Slot, WriteResult, iso
from recovery.policy import STARTS
from recovery.ports import BridgeCapabilities, Run
from recovery.recipes.context import LEFT_OPEN, Context, confirmed, held, skipped
from recovery.testify import (
    BY_HAND,
    IN_PROGRESS_STATES,
    TOLERANCE,
    USUAL_LAG,
    counts_of,
    definition_facts,
    is_placeless,
    is_since,
    moment_of,
    run_saw,
    runs_of,
)

Start = Callable[[OpenAttempt], Awaitable[WriteResult]]


async def run_now(context: Context) -> Ended:
    """Scheduled Trigger "Run Now": irreversible, selects whoever matches at this moment (R001.32)."""
    ref = context.item.slot.object_ref
    starter = Starter(context, ActionKind.RUN_NOW, Harm.H3, f"run trigger {ref} of {context.account.name} now")
    return await starter.start(lambda a: context.account.jobs.run_now(ref, a), lambda can: can.run_now)


async def repeat_import(context: Context) -> Ended:
    """Integrated Import "Repeat Import" (R001.33)."""
    ref = context.item.slot.object_ref
    starter = Starter(context, ActionKind.REPEAT_IMPORT, Harm.H2, f"repeat import {ref} of {context.account.name}")
    return await starter.start(lambda a: context.account.jobs.repeat(ref, a), lambda can: can.repeat)


async def reprocess(context: Context) -> Ended:
    """Full error report: run the job again; in progress for too long: attempt to stop it first (R001.18, R001.21)."""
    run_ref = context.item.before.get("run")
    if not isinstance(run_ref, str):
        return await _without_a_run(context)
    harm = Harm.H3 if context.item.slot.kind == Kind.TRIGGER else Harm.H2
    starter = Starter(
        context, ActionKind.REPROCESS, harm, f"reprocess run {run_ref} of {context.account.name}", judged_run=run_ref
    )
    if not await starter.begun():
        await _attempt_stop(context, run_ref)
    return await starter.start(lambda a: context.account.jobs.reprocess(run_ref, a), lambda can: can.reprocess)


async def _without_a_run(context: Context) -> Ended:
    """There is no run to reprocess, so the definition's own button is the way."""
    by_kind = {Kind.TRIGGER.value: run_now, Kind.IMPORT.value: repeat_import}
    recipe = by_kind.get(context.item.slot.kind)
    if recipe is None:
        return held("There is no run to reprocess and no button for this kind of process. What should be done?")
    return await recipe(context)


# ---- the attempt to stop -------------------------------------------------------------------------------------------


async def _attempt_stop(context: Context, run_ref: str) -> None:
    """A stop that works is a question (R001.24); one that does not is when the vendor says reprocess (R001.23)."""
    run = await context.account.jobs.run(run_ref)
    if run.state == "stopped" and context.answer != "reprocess":
        if context.policy.after_successful_stop != "reprocess":
            raise _stopped(run_ref)
        return
    if run_saw(run) is Saw.WORKED:
        raise skipped(f"run {run_ref} came to its end by itself: {run.state}")
    if run.state not in IN_PROGRESS_STATES:
        return
    context.say(f"attempting to stop run {run_ref}")
    try:
        await _send_stop(context, run_ref)
    except Ended as ended:
        if ended.outcome is not ItemOutcome.HELD:
            raise
        context.say(f"the stop did not work ({ended.reason}); reprocessing")
        return
    if context.policy.after_successful_stop != "reprocess" and context.answer != "reprocess":
        raise _stopped(run_ref)


def _stopped(run_ref: str) -> Ended:
    return held(
        f"Run {run_ref} was stopped. The vendor's page does not say whether a stopped job should be run again, "
        "and it may still continue by itself. Reprocess it?",
        "reprocess",
        "reprocess",
    )


async def _send_stop(context: Context, run_ref: str) -> None:
    async def look() -> Look:
        run = await context.account.jobs.run(run_ref)
        return Look(SEEN if run.state == "stopped" else ABSENT, run.ref, run.digest, f"run {run.ref} is {run.state}")

    await context.runner.perform(
        Effect(
            context.spec(ActionKind.STOP_RUN, Harm.H0, run_ref),
            f"stop run {run_ref} of {context.account.name}",
            lambda a: context.account.jobs.stop_run(run_ref, a),
            look,
            settle_seconds=context.policy.waits.stop_check,
            confirm_seconds=context.policy.waits.stop_check,
        )
    )


# ---- starting a run ------------------------------------------------------------------------------------------------


class Recent(NamedTuple):
    """A definition's runs in both logs since its slot, oldest first, and how far the logs can be trusted to be all."""

    runs: tuple[Run, ...]
    whole: bool
    problem: str
    covers_to: datetime | None


def _time(fact: object) -> datetime | None:
    return datetime.fromisoformat(fact) if isinstance(fact, str) else None


def _named(run: Run, slot: Slot) -> bool:
    return run.scheduled_for is not None and abs(run.scheduled_for - slot.due_at) < TOLERANCE


@dataclass(slots=True)
class Starter:
    """Starts one run of a definition at most once and proves how it ended."""

    context: Context
    kind: ActionKind
    harm: Harm
    request: str
    judged_run: str = ""

    async def start(self, send: Start, allowed: Callable[[BridgeCapabilities], bool]) -> Ended:
        """Gate, start, wait for the end, say what came of it."""
        c = self.context
        if not allowed(await c.account.jobs.capabilities()):
            return held(
                f"The dashboard of {c.account.name} does not offer this ({self.kind.value}). Who does it by hand?"
            )
        if (before := await self._started_otherwise()) and c.answer != self.kind.value:
            text = f"We have started this job for this item before ({before}). Start it once more?"
            return held(text, "wait", self.kind.value)
        c.say(self.request)
        run_ref = await c.runner.perform(
            Effect(
                c.spec(self.kind, self.harm, c.item.slot.object_ref, recipients=c.item.audience or 0),
                self.request,
                send,
                self._look,
                check=self._check,
                confirm=self._started,
                settle_seconds=c.policy.waits.settle,
            )
        )
        return await self.ending(run_ref)

    async def _started_otherwise(self) -> str:
        """A start of ours by another button, in words; or "". Its key is another, so the ledger would allow both."""
        rows = await self.context.runner.ledger.actions(self.context.item.slot.key)
        free = (ActionState.PLANNED, ActionState.SKIPPED, ActionState.CANCELLED)
        mine = [r for r in rows if r.kind in STARTS and r.generation == self.context.item.generation]
        other = next((r for r in mine if r.kind is not self.kind and r.attempts and r.state not in free), None)
        return "" if other is None else f"{other.kind.value}, run {other.result_ref or 'not known'}"

    async def begun(self) -> bool:
        """Whether a start of ours was sent before, so that the run it replaces must not be stopped any more."""
        c = self.context
        spec = c.spec(self.kind, self.harm, c.item.slot.object_ref)
        row = await c.runner.ledger.action(spec.key)
        return row is not None and row.state in LEFT_OPEN | {ActionState.CONFIRMED}

    async def _look(self) -> Look:
        """A run by hand of this definition since the slot was due: ours, a colleague's or one whose reply was lost."""
        recent, due = await self._recent(), self.context.item.slot.due_at
        by_hand = [r for r in recent.runs if r.requested_by in BY_HAND - {"import"} and r.ref != self.judged_run]
        mine = [r for r in by_hand if is_since(r, due) and not self._failed_before_judged(r, recent.runs)]
        known = await self._known_ref()
        newest = next((r for r in mine if r.ref == known), None) or (mine[-1] if mine else None)
        if newest is not None:
            return Look(SEEN, newest.ref, newest.digest, f"run {newest.ref} ({newest.requested_by}) is {newest.state}")
        if lost := next((r for r in by_hand if is_placeless(r)), None):
            return Look(CANNOT_TELL, note=f"when run {lost.ref} ({lost.requested_by}, {lost.state}) was is not known")
        return Look(
            ABSENT if recent.whole else CANNOT_TELL,
            note=recent.problem or "no run by hand in the Activity Log or the Console",
        )

    def _failed_before_judged(self, run: Run, runs: Sequence[Run]) -> bool:
        """Whether a run had failed already when the one was started that was judged: then it makes up for nothing."""
        judged = next((r for r in runs if r.ref == self.judged_run and r.started_at is not None), None)
        if judged is None or judged.started_at is None or run.started_at is None:
            return False
        return run_saw(run) is Saw.FAILED and run.started_at < judged.started_at

    async def _known_ref(self) -> str:
        row = await self.context.runner.ledger.action(
            self.context.spec(self.kind, self.harm, self.context.item.slot.object_ref).key
        )
        return row.result_ref if row else ""

    async def _recent(self) -> Recent:
        c, slot = self.context, self.context.item.slot
        now = c.clock.now()
        log = await c.account.jobs.activity_log(slot.due_at - timedelta(hours=1), now, slot.object_ref)
        console = await c.account.jobs.console()
        seen = {r.ref: r for r in (*console.runs, *log.runs) if r.definition_ref == slot.object_ref}
        order = sorted(seen.values(), key=lambda r: (r.started_at or moment_of(r) or now, r.ref))
        whole, problem = log.complete and console.complete, log.problem or console.problem
        return Recent(tuple(order), whole, problem, log.covers_to)

    async def _check(self) -> Ruling:
        """Compare and set by hand: nothing of this definition is under way and nobody was faster."""
        c = self.context
        try:
            recent, changed = await self._recent(), await self._as_approved()
        except RemoteError as error:
            return ask(f"The last check before the start could not be read: {error}")
        if not recent.whole:
            return ask(f"The logs could not be read whole before the start: {recent.problem}")
        if changed is not None:
            return changed
        valid = c.policy.validity_of(c.item.slot.account, c.item.slot.object_ref)
        if valid is not None and valid.at <= c.clock.now():
            return Skip(f"no longer worth doing: {valid.reason}")
        if self.harm is Harm.H3 and is_quiet(c.clock.now(), c.account.time_zone, c.policy.quiet):
            return ask(f"It is quiet hours in {c.account.time_zone}. Start it when they are over?")
        running = [r for r in recent.runs if r.state in IN_PROGRESS_STATES and r.ref != self.judged_run]
        if running:
            return ask(
                f"Run {running[-1].ref} of this definition is under way ({running[-1].state}). Wait for its end?"
            )
        return self._by_itself(recent.runs) or self._log_lags(recent.covers_to) or Allow()

    async def _as_approved(self) -> Ruling | None:
        """Asks about a job that is not the one that was approved any more: gone, switched off or set up otherwise."""
        c, ref = self.context, self.context.item.slot.object_ref
        if "active" not in c.item.before:  # it was listed no more when it was planned, and a person chose to start it
            return None
        listing = await c.account.jobs.definitions()
        job = next((d for d in listing.items if d.ref == ref), None)
        if job is None and not listing.complete:
            return ask(f"The dashboard's definitions could not be read whole before the start: {listing.problem}")
        if job is None:
            return ask(f"Job {ref} is not among the dashboard's definitions any more. Is it still wanted?")
        now = definition_facts(job)
        other = [n for n in now if n != "list_name" and c.item.before.get(n, now[n]) != now[n]]
        if "active" in other and not now["active"]:
            return ask(f"Somebody paused job {ref} or switched it off since the plan was made. Is it still wanted?")
        if other and other != ["active"]:
            names = ", ".join(name.replace("_", " ") for name in other)
            return ask(f"Job {ref} was changed since the plan was made ({names}). Plan and approve it anew?")
        return None

    def _by_itself(self, runs: Sequence[Run]) -> Ruling | None:
        """Whether the job's own run did the work after all, or nobody can tell whether one that was seen did."""
        slot, before = self.context.item.slot, self.context.item.before
        worked = [r for r in runs if run_saw(r) is Saw.WORKED]
        own = runs_of(slot, worked, _time(before.get("next_due")))
        if done := [r for r in worked if r in own or r.ref == self.judged_run or _named(r, slot)]:
            return Skip(f"run {done[-1].ref} did the work by itself after all")
        if lost := [r for r in runs if r.requested_by not in BY_HAND and is_placeless(r) and r.ref != self.judged_run]:
            return ask(f"When run {lost[-1].ref} ({lost[-1].state}) was is not known. Did it do the work of this one?")
        # An approver has read of the later successes there were; one since then may be the late original.
        told = before.get("later_success")
        since = told if isinstance(told, str) else iso(slot.due_at)
        late = [r for r in worked if r.requested_by not in BY_HAND and r.scheduled_for is None]
        late = [r for r in late if iso(moment_of(r) or slot.due_at) > since]
        if late and self.harm is Harm.H3:
            return ask(
                f"Run {late[-1].ref} succeeded since this was planned, and the log does not say which due time it was "
                "for. Make a new plan if this one is still needed?"
            )
        return None

    def _log_lags(self, covers_to: datetime | None) -> Ruling | None:
        """Asks while the log does not claim to be complete up to the end of the outage, or at least lately."""
        c = self.context
        lately = c.clock.now() - USUAL_LAG
        ended = _time(c.item.before.get("window_ended_at")) or lately
        needed = max(min(ended, lately), c.item.slot.due_at + timedelta(seconds=c.policy.waits.grace))
        if covers_to is None or covers_to >= needed:
            return None
        return ask(
            f"The Activity Log is complete until {iso(covers_to)} only, so a later run of the job itself would not be "
            "seen. Start it once the log has caught up?"
        )

    async def _started(self) -> Look:
        """The run that the reply named, or (bridges that name none) the one that the logs show."""
        c = self.context
        known = await self._known_ref()
        give_up = c.clock.monotonic() + max(60.0, c.policy.waits.settle)
        while True:
            try:
                if known:
                    run = await c.account.jobs.run(known)
                    return Look(SEEN, run.ref, run.digest, f"run {run.ref} is {run.state}")
                look = await self._look()
            except RemoteError as error:
                look = Look(CANNOT_TELL, note=str(error))
            if look.kind == SEEN or c.clock.monotonic() > give_up:
                return look
            await c.clock.sleep(c.policy.waits.poll)

    async def ending(self, run_ref: str) -> Ended:
        """Waits for the run's end; only a success with updated contacts is called done (R001.17).

        A start that a named person vouched for has no run that we know: their word is the end.
        """
        c = self.context
        row = await c.runner.ledger.action(c.spec(self.kind, self.harm, c.item.slot.object_ref).key)
        if not run_ref:
            return confirmed(row.note if row else "the ledger was replaced meanwhile")
        started = "which we started" if row and row.attempts else "which someone else started"
        give_up = c.clock.monotonic() + c.policy.waits.job
        while True:
            run = await c.account.jobs.run(run_ref)
            saw = run_saw(run)
            if saw is Saw.WORKED:
                await self._note_original()
                return confirmed(": ".join((f"run {run.ref} succeeded", *counts_of(run)[:1])))
            if saw is not Saw.RUNNING:
                return held(f"Run {run.ref}, {started}, ended as {run.state}. Look at its report; what now?")
            if c.clock.monotonic() > give_up:
                return held(f"Run {run.ref}, {started}, has not ended in time. What now?")
            await c.clock.sleep(c.policy.waits.poll)

    async def _note_original(self) -> None:
        """If the job that was given up went on after all, say so (R001.35)."""
        if not self.judged_run:
            return
        original = await self.context.account.jobs.run(self.judged_run)
        if run_saw(original) is Saw.WORKED and self.context.alarm is not None:
            await self.context.alarm(f"run {original.ref} went on by itself and its repeat ran as well")
