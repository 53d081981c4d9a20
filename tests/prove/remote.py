"""The remotes of the simulator: one account's campaigns, jobs and tags, with a journal that only they write.

`Platform` is the state and what it does by itself; `Wire` is one process's connection to it, with the network's faults
on the way. What the product is told and what truly happened are two things, and only the journal knows the second.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from recovery.errors import NotFound, Unavailable
from recovery.model import AttemptOutcome, OpenAttempt, WriteResult
from recovery.ports import (
    BridgeCapabilities,
    Campaign,
    CampaignContent,
    CampaignReport,
    Constituent,
    Contact,
    Definition,
    Listing,
    Run,
    RunLog,
    Tag,
    TessituraList,
)
from tests.prove.kernel import START, TURN, Loop, VirtualClock

A = AttemptOutcome
SEND_SECONDS = 40.0
RUN_SECONDS = 60.0
AUDIENCE = 400


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the remote's journal; `at` is in seconds of virtual time."""

    at: float
    what: str
    ref: str
    item: str = ""
    by: str = ""
    count: int = 0


@dataclass(slots=True)
class Mailing:
    """One campaign at the remote. `item` is the original it is, or is a copy of."""

    ref: str
    name: str
    status: str
    item: str
    by: str
    born: float
    seen_from: float = 0.0
    sdate: float | None = None
    send_amt: int = 0
    total_amt: int = AUDIENCE
    releases: int = 0


@dataclass(slots=True)
class Job:
    """One run at the dashboard."""

    ref: str
    definition: str
    state: str
    by: str
    at: float
    scheduled_for: datetime | None = None
    tags: tuple[str, ...] = ()
    seen_from: float = 0.0


@dataclass(slots=True)
class Faults:
    """What goes wrong in one schedule, and how often (0 to 1). Drawn per seed; each kind may be off altogether."""

    refused_connection: float = 0.0
    lost_before: float = 0.0
    lost_after: float = 0.0
    late: float = 0.0
    late_seconds: float = 900.0
    error_before: float = 0.0
    error_after: float = 0.0
    throttled: float = 0.0
    no_effect: float = 0.0
    soft_refusal: float = 0.0
    soft_refusal_applied: float = 0.0
    replayed: float = 0.0
    read_fails: float = 0.0
    list_broken: float = 0.0
    list_lag: float = 0.0
    slow: float = 0.0
    stop_refused: bool = False
    stop_ignored: bool = False
    hides_run_ids: bool = False
    nth_write: int = 0
    nth_fate: str = ""
    script: tuple[str, ...] = ()
    """The fates of the first writes in order; all later ones are well."""

    def ways(self) -> list[tuple[float, str]]:
        """The fates of a write with their rates."""
        names = (
            "refused_connection", "lost_before", "lost_after", "late", "error_before", "error_after", "throttled",
            "no_effect", "soft_refusal", "soft_refusal_applied", "replayed",
        )  # fmt: skip
        return [(getattr(self, name), name) for name in names if getattr(self, name)]


FATES = (
    "ok", "refused_connection", "lost_before", "lost_after", "late", "error_before", "error_after", "throttled",
    "no_effect", "soft_refusal", "soft_refusal_applied",
)  # fmt: skip
"""What may become of a write, as a port can tell them apart; docs/reliability.md maps the twenty faults of the wire."""
REPLAYED = "replayed"
"""A proxy sends the request twice: harmless where an object leaves once, beyond anybody's power where it does not."""
LANDS = frozenset({"ok", "lost_after", "late", "error_after", "soft_refusal_applied", REPLAYED})


class Platform:
    """One account of the remote world."""

    def __init__(self, loop: Loop, chance: random.Random, *, one_shot: bool, audience: int = AUDIENCE) -> None:
        self.loop, self.chance, self.one_shot, self.audience = loop, chance, one_shot, audience
        self.journal: list[Line] = []
        self.mailings: dict[str, Mailing] = {}
        self.jobs: dict[str, Job] = {}
        self.definitions: dict[str, Definition] = {}
        self.people: dict[str, Contact] = {}
        self.tags: dict[str, set[str]] = {}
        self.listed: set[str] = set()
        self.writes = 0
        self._number = 100

    def note(self, what: str, ref: str, item: str = "", by: str = "", count: int = 0) -> None:
        self.journal.append(Line(self.loop.now, what, ref, item, by, count))

    def next_ref(self) -> str:
        self._number += 1
        return str(self._number)

    # ---- campaigns

    def plant(self, ref: str, status: str = "1") -> Mailing:
        made = self.mailings[ref] = Mailing(ref, f"Newsletter {ref}", status, ref, "original", -86_400.0)
        made.total_amt = self.audience
        return made

    def copy(self, ref: str, by: str, lag: float = 0.0) -> str:
        old = self.mailings[ref]
        made = Mailing(self.next_ref(), f"Copy of {old.name}", "0", old.item, by, self.loop.now)
        made.seen_from, made.total_amt = self.loop.now + lag, self.audience
        self.mailings[made.ref] = made
        self.note("copy", made.ref, made.item, by)
        return made.ref

    def schedule(self, ref: str, at: float, by: str) -> bool:
        """True when taken. A one-shot platform lets a draft leave once; a weak one sends what was sent again."""
        mailing = self.mailings[ref]
        if self.one_shot and mailing.status in ("2", "4", "5"):
            return False
        mailing.status, mailing.sdate = "1", at
        mailing.releases += 1
        self.note("scheduled", ref, mailing.item, by)
        self.loop.at(at, self.depart, mailing, mailing.releases)
        return True

    def depart(self, mailing: Mailing, release: int = 0) -> None:
        """What is still scheduled goes out, half at once and half a little later."""
        if release and (mailing.status != "1" or mailing.releases != release):
            return
        mailing.status, mailing.send_amt = "2", 0
        self._deliver(mailing, mailing.total_amt // 2)
        self.loop.at(self.loop.now + SEND_SECONDS, self._finish, mailing)

    def _finish(self, mailing: Mailing) -> None:
        if mailing.status == "2":
            self._deliver(mailing, mailing.total_amt - mailing.send_amt)
            mailing.status = "5"

    def _deliver(self, mailing: Mailing, count: int) -> None:
        mailing.send_amt += count
        self.note("delivery", mailing.ref, mailing.item, mailing.by, count)

    def stop(self, ref: str, by: str) -> bool:
        mailing = self.mailings[ref]
        if mailing.status in ("0", "5"):
            return False
        mailing.status = "4"
        self.note("stopped", ref, mailing.item, by)
        return True

    # ---- jobs

    def start(self, definition: str, by: str, *, lag: float = 0.0, tags: tuple[str, ...] = ()) -> str:
        made = Job("r" + self.next_ref(), definition, "running", by, self.loop.now, tags=tags)
        made.seen_from = self.loop.now + lag
        self.jobs[made.ref] = made
        self.note("run", made.ref, definition, by)
        self.loop.at(self.loop.now + RUN_SECONDS, self._end, made)
        return made.ref

    def _end(self, job: Job) -> None:
        if job.state != "running":
            return
        job.state = "succeeded"
        self.note("run_ended", job.ref, job.definition, job.by)
        for tag in job.tags:
            self.tags.setdefault(tag, set()).update(self.listed)


@dataclass(slots=True)
class Wire:
    """One process's clients: CampaignDesk, ContactDesk, JobDesk and ListDesk in one."""

    platform: Platform
    clock: VirtualClock
    faults: Faults
    ways: list[tuple[float, str]] = field(default_factory=list)
    on_send: Callable[[str, str], None] = lambda _what, _ref: None
    passed: Callable[[str], None] = lambda _where: None

    def __post_init__(self) -> None:
        self.ways = self.faults.ways()

    def calm_down(self) -> None:
        """From now on the network is well; a remote's own habits stay."""
        f = self.faults
        self.faults = Faults(stop_refused=f.stop_refused, stop_ignored=f.stop_ignored, hides_run_ids=f.hides_run_ids)
        self.ways = []

    # ---- the network

    def _fate(self) -> str:
        if self.faults.nth_write:
            self.platform.writes += 1
            return self.faults.nth_fate if self.platform.writes == self.faults.nth_write else "ok"
        if self.faults.script:
            self.platform.writes += 1
            return (*self.faults.script, "ok")[min(self.platform.writes - 1, len(self.faults.script))]
        at = self.platform.chance.random()
        for rate, name in self.ways:
            at -= rate
            if at < 0:
                return name
        return "ok"

    async def _write(
        self,
        attempt: OpenAttempt,
        what: str,
        ref: str,
        effect: Callable[[], tuple[bool, str]],
        *,
        needs_ref: bool = False,
    ) -> WriteResult:
        """`effect` says whether the remote took it, and the id it made."""
        self.passed(f"before the first byte of {what}")
        await TURN
        now, chance = self.clock.monotonic(), self.platform.chance
        if now >= attempt.send_by_monotonic:
            return WriteResult(A.NOT_APPLIED, detail="the attempt's time to send had passed")
        fate = self._fate()
        if fate == "refused_connection":
            return WriteResult(A.NOT_APPLIED, detail="connection refused")
        if fate == "throttled":
            return WriteResult(A.NOT_APPLIED, detail="429", retry_after_seconds=1 + 20 * chance.random())
        self.on_send(what, ref)
        there, back = 2 * chance.random(), 2 * chance.random()
        reply: list[tuple[bool, str]] = []
        if fate in LANDS:
            delay = attempt.deadline_seconds + self.faults.late_seconds * chance.random() if fate == "late" else there
            self.platform.loop.at(now + delay, lambda: reply.append(effect()))
            if fate == REPLAYED:
                self.platform.loop.at(now + delay + 3, effect)
        hangs = fate == "late" or (fate in ("lost_before", "lost_after") and chance.random() < 0.5)
        await self.clock.sleep(attempt.deadline_seconds if hangs else there + back)
        self.passed(f"reply to {what}")
        return self._reply(fate, reply, needs_ref)

    @staticmethod
    def _reply(fate: str, reply: list[tuple[bool, str]], needs_ref: bool) -> WriteResult:
        if fate in ("soft_refusal", "soft_refusal_applied"):
            return WriteResult(A.REJECTED, detail="result_code 0")
        if fate == "no_effect":
            return WriteResult(A.UNKNOWN, detail="2xx without id") if needs_ref else WriteResult(A.APPLIED, detail="ok")
        if fate not in ("ok", REPLAYED):
            return WriteResult(A.UNKNOWN, detail=fate)
        if not reply:
            return WriteResult(A.UNKNOWN, detail="no complete answer")
        taken, ref = reply[0]
        return WriteResult(A.APPLIED, ref=ref, detail="ok") if taken else WriteResult(A.REJECTED, detail="refused")

    async def _read(self) -> None:
        self.passed("reading")
        chance, faults = self.platform.chance, self.faults
        if faults.slow and chance.random() < faults.slow:
            await self.clock.sleep(20 * chance.random())
        else:
            await TURN
        if faults.read_fails and chance.random() < faults.read_fails:
            raise Unavailable("pro2", "acme", "no answer after 4 tries")

    def _lag(self) -> float:
        return self.faults.list_lag * self.platform.chance.random() if self.faults.list_lag else 0.0

    def _whole(self) -> bool:
        return not (self.faults.list_broken and self.platform.chance.random() < self.faults.list_broken)

    # ---- CampaignDesk

    def _shown(self, m: Mailing) -> Campaign:
        return Campaign(
            m.ref, m.name, "single", m.status, None if m.sdate is None else moment(m.sdate), None, moment(m.born),
            m.send_amt, m.total_amt, source="" if m.by == "original" else "copy", digest=f"d{m.ref}-{m.status}",
        )  # fmt: skip

    async def campaign(self, ref: str) -> Campaign:
        await self._read()
        found = self.platform.mailings.get(ref)
        if found is None:
            raise NotFound("pro2", "acme", f"no campaign {ref}")
        return self._shown(found)

    async def campaigns(self, *, newest_first: bool = False) -> Listing[Campaign]:
        await self._read()
        now, whole = self.clock.monotonic(), self._whole()
        shown = [self._shown(m) for m in self.platform.mailings.values() if m.seen_from <= now]
        if not whole:
            shown = shown[:1]
        return Listing(tuple(shown), whole, self.clock.now(), "" if whole else "a page failed")

    async def content(self, ref: str) -> CampaignContent:
        await self._read()
        mailing = self.platform.mailings[ref]
        return CampaignContent(ref, f"says {mailing.item}", ("Hello",), ("1",), "0", ("messages", "lists"))

    async def report(self, ref: str) -> CampaignReport:
        await self._read()
        m = self.platform.mailings[ref]
        return CampaignReport(ref, m.send_amt, m.total_amt, m.status, None, m.send_amt > 0)

    async def stop(self, ref: str, attempt: OpenAttempt) -> WriteResult:
        def effect() -> tuple[bool, str]:
            original = self.platform.mailings[ref].by == "original"
            if original and self.faults.stop_refused:
                return False, ""
            if original and self.faults.stop_ignored:
                return True, ref
            return self.platform.stop(ref, "us"), ref

        return await self._write(attempt, "stop", ref, effect)

    async def rename(self, ref: str, name: str, attempt: OpenAttempt) -> WriteResult:
        def effect() -> tuple[bool, str]:
            self.platform.mailings[ref].name = name
            return True, ref

        return await self._write(attempt, "rename", ref, effect)

    async def copy(self, ref: str, attempt: OpenAttempt) -> WriteResult:
        return await self._write(
            attempt, "copy", ref, lambda: (True, self.platform.copy(ref, "us", self._lag())), needs_ref=True
        )

    async def schedule(self, ref: str, at: datetime, attempt: OpenAttempt) -> WriteResult:
        when = (at - START).total_seconds()
        return await self._write(attempt, "schedule", ref, lambda: (self.platform.schedule(ref, when, "us"), ref))

    # ---- JobDesk

    async def capabilities(self) -> BridgeCapabilities:
        await self._read()
        return BridgeCapabilities(True, True, True, True, True, not self.faults.hides_run_ids)

    async def definitions(self) -> Listing[Definition]:
        await self._read()
        return Listing(tuple(self.platform.definitions.values()), True, self.clock.now())

    def _run(self, job: Job) -> Run:
        done = job.state == "succeeded"
        return Run(
            job.ref, job.definition, job.state, job.by, job.scheduled_for, moment(job.at), None,
            5 if done else None, 5 if done else None, 0 if done else None, job.tags, digest=f"d{job.ref}{job.state}",
        )  # fmt: skip

    async def _log(self, states: tuple[str, ...]) -> RunLog:
        await self._read()
        now, whole = self.clock.monotonic(), self._whole()
        jobs = [j for j in self.platform.jobs.values() if j.seen_from <= now and (not states or j.state in states)]
        runs = tuple(self._run(j) for j in jobs) if whole else ()
        return RunLog(runs, whole, moment(-90_000.0), self.clock.now(), self.clock.now(), "" if whole else "cut off")

    async def activity_log(self, start: datetime, end: datetime, definition_ref: str = "") -> RunLog:
        return await self._log(())

    async def console(self) -> RunLog:
        return await self._log(("queued", "running", "stop_requested"))

    async def run(self, ref: str) -> Run:
        await self._read()
        return self._run(self.platform.jobs[ref])

    def _ran(self, ref: str) -> str:
        return "" if self.faults.hides_run_ids else ref

    async def stop_run(self, run_ref: str, attempt: OpenAttempt) -> WriteResult:
        def effect() -> tuple[bool, str]:
            if not self.faults.stop_ignored and self.platform.jobs[run_ref].state == "running":
                self.platform.jobs[run_ref].state = "stopped"
            return True, run_ref

        return await self._write(attempt, "stop_run", run_ref, effect)

    async def _start(self, what: str, definition: str, tags: tuple[str, ...], attempt: OpenAttempt) -> WriteResult:
        def effect() -> tuple[bool, str]:
            return True, self._ran(self.platform.start(definition, what, lag=self._lag(), tags=tags))

        return await self._write(attempt, what, definition, effect, needs_ref=not self.faults.hides_run_ids)

    async def run_now(self, definition_ref: str, attempt: OpenAttempt) -> WriteResult:
        return await self._start("run_now", definition_ref, (), attempt)

    async def repeat(self, definition_ref: str, attempt: OpenAttempt) -> WriteResult:
        return await self._start("repeat", definition_ref, (), attempt)

    async def reprocess(self, run_ref: str, attempt: OpenAttempt) -> WriteResult:
        return await self._start("reprocess", self.platform.jobs[run_ref].definition, (), attempt)

    async def import_list(
        self,
        list_ref: int,
        tags: Sequence[str],
        filters: Mapping[str, int | bool | None],
        exclude_automations: bool,
        attempt: OpenAttempt,
    ) -> WriteResult:
        return await self._start("import", f"list {list_ref}", tuple(tags), attempt)

    # ---- ContactDesk and ListDesk

    async def find_tag(self, name: str) -> Tag | None:
        await self._read()
        return Tag(f"t:{name}", name) if name in self.platform.tags else None

    async def members(self, tag_ref: str) -> Listing[Contact]:
        await self._read()
        refs = sorted(self.platform.tags.get(tag_ref[2:], ()))
        return Listing(tuple(self.platform.people[r] for r in refs), True, self.clock.now())

    async def tag_link(self, contact_ref: str, tag_ref: str) -> str:
        await self._read()
        return f"{contact_ref}|{tag_ref[2:]}" if contact_ref in self.platform.tags.get(tag_ref[2:], ()) else ""

    async def add_tag(self, contact_ref: str, tag_ref: str, attempt: OpenAttempt) -> WriteResult:
        def effect() -> tuple[bool, str]:
            self.platform.tags.setdefault(tag_ref[2:], set()).add(contact_ref)
            self.platform.note("tag_added", contact_ref, tag_ref)
            return True, f"{contact_ref}|{tag_ref[2:]}"

        return await self._write(attempt, "add_tag", contact_ref, effect)

    async def remove_tag(self, link_ref: str, attempt: OpenAttempt) -> WriteResult:
        def effect() -> tuple[bool, str]:
            contact, _, tag = link_ref.partition("|")
            self.platform.tags.get(tag, set()).discard(contact)
            self.platform.note("tag_removed", contact, tag)
            return True, link_ref

        return await self._write(attempt, "remove_tag", link_ref, effect)

    async def find_lists(self, name: str) -> tuple[TessituraList, ...]:
        await self._read()
        return ()

    async def constituents(self, list_ref: int, filters: Mapping[str, int | bool | None]) -> Listing[Constituent]:
        await self._read()
        people = tuple(Constituent(int(r), self.platform.people[r].email) for r in sorted(self.platform.listed))
        return Listing(people, True, self.clock.now())


def moment(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)
