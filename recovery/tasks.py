"""Assisted mode from the person's side: one task, one person, one click, one statement (requirements R001.18 to 38).

A task is a stream "task/<action key>". Every move is appended at the sequence number it was decided on, so of two
sessions, a double click, the back button or two tabs exactly one wins and the others are told who did.

    open -> claimed (a lease that others see) -> clicking -> done | not done (open again) | not sure

"About to click" opens the ledger's attempt with every check that a program's write meets (kill switch, quarantine,
caps) and leaves the action `unknown`: from then on it is in a person's hands, and only a statement with evidence, or
what is read off the dashboard, settles it. That holds across processes and hosts, whatever becomes of the session.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from recovery.act import caps_of
from recovery.errors import LedgerConflict, RefusedError, UsageError
from recovery.ledger.rows import ActionRow, StreamEvent
from recovery.model import ActionState, AttemptOutcome, Exchange, Harm, WriteResult, iso
from recovery.policy import Policy
from recovery.ports import Clock

if TYPE_CHECKING:
    from recovery.ledger.ledger import Ledger

PREFIX = "task/"
MOST_EVIDENCE_BYTES = 10_000_000
KEPT_CHARS = 64 * 1024
OPEN, CLAIMED, CLICKING, NOT_SURE, DONE = "open", "claimed", "clicking", "not_sure", "done"
SETTLED = frozenset({ActionState.CONFIRMED, ActionState.SKIPPED, ActionState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things last: a claim, a click until its statement is late, and a go-ahead of the recovery."""

    lease: timedelta = timedelta(minutes=15)
    click: timedelta = timedelta(minutes=10)
    go_ahead: timedelta = timedelta(minutes=60)


@dataclass(frozen=True, slots=True)
class Task:
    """Where a task stands. `by` holds it until `until`; `seq` is the event it was read at."""

    key: str
    standing: str
    account: str
    button: str
    target: str
    link: str
    steps: tuple[str, ...]
    starts_a_run: bool
    opened_at: datetime
    allowed_at: datetime
    seq: int
    by: str = ""
    until: datetime | None = None
    note: str = ""
    ref: str = ""
    evidence: str = ""

    def held_by_other(self, by: str, now: datetime) -> bool:
        """Whether somebody else's lease is still running."""
        return self.by not in ("", by) and self.until is not None and now < self.until


def fold(events: Iterable[StreamEvent]) -> Task:
    """The task that a stream tells; UsageError for a stream that does not begin as one."""
    told = list(events)
    if not told or told[0].kind != "opened":
        raise UsageError("There is no such task.", "`allclear task list` shows those there are.")
    first = told[0].data
    standing, by, until, note, ref, evidence = OPEN, "", None, "", "", ""
    allowed_at = told[0].at
    for event in told[1:]:
        if event.kind == "allowed":
            allowed_at = event.at
            continue
        standing = _STANDING[event.kind]
        by = "" if standing == OPEN else event.by
        until = datetime.fromisoformat(str(event.data["until"])) if "until" in event.data else None
        note = str(event.data.get("note", ""))
        ref, evidence = str(event.data.get("ref", "")), str(event.data.get("evidence", ""))
    steps = first.get("steps")
    return Task(
        key=told[0].stream.removeprefix(PREFIX),
        standing=standing,
        account=str(first.get("account", "")),
        button=str(first.get("button", "")),
        target=str(first.get("target", "")),
        link=str(first.get("link", "")),
        steps=tuple(map(str, steps)) if isinstance(steps, list) else (),
        starts_a_run=first.get("starts_a_run") is True,
        opened_at=told[0].at,
        allowed_at=allowed_at,
        seq=told[-1].seq,
        by=by,
        until=until,
        note=note,
        ref=ref,
        evidence=evidence,
    )


_STANDING: Mapping[str, str] = {
    "claimed": CLAIMED,
    "clicking": CLICKING,
    "withdrawn": OPEN,
    "not_done": OPEN,
    "not_sure": NOT_SURE,
    "done": DONE,
}


@dataclass(frozen=True, slots=True)
class Tasks:
    """The moves of people. Every move names a person; RefusedError says who was faster and what to do."""

    ledger: Ledger
    clock: Clock
    policy: Policy
    state_dir: Path
    terms: Mapping[str, Terms]

    async def all(self) -> tuple[Task, ...]:
        """Every task, the oldest first."""
        found = [fold(await self.ledger.stream(name)) for name in await self.ledger.streams(PREFIX)]
        return tuple(sorted(found, key=lambda t: (t.opened_at, t.key)))

    async def find(self, name: str) -> Task:
        """A task by its key or the beginning of it. UsageError when it names none or several."""
        wanted = name.strip().upper()
        keys = list(await self.ledger.streams(PREFIX + wanted)) if wanted else []
        if len(keys) != 1:
            raise UsageError(f"{name!r} names {len(keys) or 'no'} tasks.", "`allclear task list` shows the keys.")
        return fold(await self.ledger.stream(keys[0]))

    # ---- claim and click -------------------------------------------------------------------------------------------

    async def claim(self, name: str, by: str) -> Task:
        """Takes the task for one person; claiming again what one holds changes nothing."""
        who, now = _named(by), self.clock.now()
        task = await self.find(name)
        if task.standing in (CLICKING, NOT_SURE, DONE):
            raise RefusedError(_taken(task), "`allclear task show` tells the whole story.")
        if task.held_by_other(who, now):
            raise RefusedError(_taken(task), "Ask them, or wait until their lease is over.")
        if task.by == who and task.until is not None and now < task.until:
            return task
        until = now + self._terms(task).lease
        return await self._append(task, "claimed", who, {"until": iso(until)})

    async def about_to_click(self, name: str, by: str) -> Task:
        """Writes the intent; after this returns, and only then, the person clicks, once.

        RefusedError: not theirs, said before, no fresh go-ahead of a recovery, the kill switch, quarantine or a cap.
        """
        who, now = _named(by), self.clock.now()
        task = await self.find(name)
        if task.standing != CLAIMED or task.by != who or task.until is None or now >= task.until:
            raise RefusedError(_not_yours(task, who, now), "Do not click.")
        terms = self._terms(task)
        if now - task.allowed_at > terms.go_ahead:
            raise RefusedError(
                f"The recovery last allowed this at {iso(task.allowed_at)}, too long ago.",
                "Do not click. Run `allclear recover` again: it looks whether this is still wanted.",
            )
        task = await self._append(task, "clicking", who, {"until": iso(now + terms.click)})
        try:
            await self._intend(task, who, terms)
        except (RefusedError, LedgerConflict) as refusal:
            await self._append(task, "withdrawn", who, {"note": str(refusal)})
            raise RefusedError(f"{refusal}", f"Do not click. {refusal.hint}".strip()) from None
        await self.ledger.append(f"reading/{task.account}", "click", who, self.clock.now(), {"task": task.key})
        return task

    async def _intend(self, task: Task, who: str, terms: Terms) -> None:
        """claimed, in flight, and at once unknown: what a person does next is not ours to see."""
        row = await self._row(task)
        if row.state is ActionState.HELD:
            row = await self.ledger.release_hold(task.key, who, f"{who} does it by hand")
        claimed = await self.ledger.claim(task.key, terms.click.total_seconds())
        if claimed is None:
            raise RefusedError(
                f"The action is {row.state.value}, so nobody may start it.", "`allclear explain` tells why."
            )
        caps = caps_of(self.policy.limits, task.key) if row.harm is Harm.H3 else None
        seconds = terms.click.total_seconds()
        request = f"{who} clicks {task.button} on {task.target} of {task.account}"
        try:
            attempt = await self.ledger.intend(
                claimed, request, send_within_seconds=seconds, deadline_seconds=seconds, caps=caps
            )
        except (RefusedError, LedgerConflict):
            with suppress(LedgerConflict):
                await self.ledger.unclaim(claimed, "the intent was refused")
            raise
        await self.ledger.settle(attempt, WriteResult(AttemptOutcome.UNKNOWN, detail=f"in the hands of {who}"))

    # ---- what came of it -------------------------------------------------------------------------------------------

    async def done(self, name: str, by: str, evidence: tuple[str, bytes], *, ref: str = "", note: str = "") -> Task:
        """It was clicked and the dashboard shows it: `evidence` is a file (name, content) that shows it too.

        `ref` is the run that the Activity Log names, required where the button starts one.
        """
        task, who = await self._statement(name, by, (CLICKING, NOT_SURE))
        if task.starts_a_run and not ref.strip():
            raise RefusedError("Which run is it? The Activity Log names it.", "Give --run with its id.")
        digest = await self._keep(task, who, evidence)
        row = await self._row(task)
        # The ledger first: a crash between the two leaves a task that can be stated again, never a click forgotten.
        if row.state not in SETTLED:
            if row.state is ActionState.HELD:
                await self.ledger.release_hold(task.key, who, "done by hand")
            said = f"done by {who}: {note}".rstrip(": ")
            await self.ledger.adopt(task.key, ref.strip() or task.target, said, digest)
            await self.ledger.confirm(task.key, digest, said, ref.strip() or task.target)
        return await self._append(task, "done", who, {"ref": ref.strip(), "evidence": digest, "note": note})

    async def not_done(self, name: str, by: str, reason: str) -> Task:
        """It was provably not clicked: the task is open again."""
        task, who = await self._statement(name, by, (CLAIMED, CLICKING, NOT_SURE))
        if not reason.strip():
            raise RefusedError("Why was it not done?", "Give --reason.")
        if task.standing != CLAIMED:
            row = await self._row(task)
            if row.state is ActionState.HELD:
                row = await self.ledger.release_hold(task.key, who, reason)
            if row.state is ActionState.UNKNOWN:
                await self.ledger.absent(task.key, f"not clicked: {reason.strip()}", by=who)
        return await self._append(task, "not_done", who, {"note": reason.strip()})

    async def not_sure(self, name: str, by: str, note: str) -> Task:
        """Nobody can say: the action stays unknown until the Activity Log or the Console, as read, shows it."""
        task, who = await self._statement(name, by, (CLICKING,))
        return await self._append(task, "not_sure", who, {"note": note.strip()})

    async def _statement(self, name: str, by: str, allowed: tuple[str, ...]) -> tuple[Task, str]:
        who, now = _named(by), self.clock.now()
        task = await self.find(name)
        if task.standing not in allowed:
            raise RefusedError(
                f"The task is {task.standing.replace('_', ' ')}; that cannot be said of it.", _taken(task)
            )
        if task.standing != NOT_SURE and task.held_by_other(who, now):
            raise RefusedError(_taken(task), "Only they can say it before their time is over.")
        return task, who

    # ---- what all moves share --------------------------------------------------------------------------------------

    async def _append(self, task: Task, kind: str, who: str, data: Mapping[str, object]) -> Task:
        stream = PREFIX + task.key
        try:
            await self.ledger.append(stream, kind, who, self.clock.now(), data, task.seq)
        except LedgerConflict:
            now = fold(await self.ledger.stream(stream))
            raise RefusedError(
                _taken(now), "Somebody was faster. Do not click; look at `allclear task show`."
            ) from None
        return fold(await self.ledger.stream(stream))

    async def _row(self, task: Task) -> ActionRow:
        row = await self.ledger.action(task.key)
        if row is None:
            raise RefusedError("The ledger does not know this action.", "Run `allclear recover`; it makes it known.")
        return row

    async def _keep(self, task: Task, who: str, evidence: tuple[str, bytes]) -> str:
        """Keeps the file under its SHA-256 in the state folder, and that it is this task's in the ledger."""
        name, content = evidence
        if not content.strip() or len(content) > MOST_EVIDENCE_BYTES:
            raise RefusedError(
                f"Evidence has from 1 to {MOST_EVIDENCE_BYTES} bytes; this file has {len(content)}.",
                "Take a screenshot.",
            )
        digest = hashlib.sha256(content).hexdigest()
        request = f"evidence for task {task.key}"
        known = await self.ledger.evidence(digest, task.account)
        if known is not None and known.request != request:
            raise RefusedError("This file is evidence of something else already.", "Give the one that shows this task.")
        folder = self.state_dir / "evidence"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / digest
        if not path.exists():
            path.write_bytes(content)
            path.chmod(0o600)
        body = f"{name}, {len(content)} bytes, kept by {who} as evidence/{digest}"
        await self.ledger.keep(
            Exchange("person", task.account, request, None, self.clock.now(), digest, body[:KEPT_CHARS])
        )
        await self.ledger.flush()
        return digest

    def _terms(self, task: Task) -> Terms:
        return self.terms.get(task.account, Terms())


def _named(by: str) -> str:
    who = " ".join(by.split())
    if not who:
        raise RefusedError("A task needs the name of who does it.", "Give --by.")
    return who


def _taken(task: Task) -> str:
    until = f" until {iso(task.until)}" if task.until else ""
    words = {
        OPEN: "The task is open and nobody holds it.",
        CLAIMED: f"{task.by} holds this task{until}.",
        CLICKING: f"{task.by} said that they are about to click{until and ', and has'}{until}.",
        NOT_SURE: f"{task.by} was not sure whether it was clicked: {task.note}".rstrip(": "),
        DONE: f"{task.by} did it.",
    }
    return words[task.standing]


def _not_yours(task: Task, who: str, now: datetime) -> str:
    if task.standing == CLAIMED and task.by == who:
        return f"Your claim was over at {iso(task.until or now)}; claim it again."
    if task.standing == CLICKING and task.by == who:
        return "You have said so already. If that was in another window, do not click here."
    return _taken(task)
