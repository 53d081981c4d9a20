"""Asks every witness about every slot of a window; reads only (R001.1 to R001.8, R001.16 to R001.29).

One account's trouble stays its own: what could not be read becomes an uncertain finding with the reason, and the other
accounts go on.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from recovery import slots
from recovery.errors import BadReply, RemoteError
from recovery.judge import judge
from recovery.model import (
    Evidence,
    Facts,
    Finding,
    ItemOutcome,
    Kind,
    OutageWindow,
    Saw,
    Schedule,
    Scheduled,
    Slot,
    System,
    Testimony,
    Verdict,
    marker_of,
)
from recovery.plan import key_for
from recovery.policy import Policy
from recovery.ports import Account, Automation, Campaign, Clock, Definition, Listing, Run, RunLog, Tell
from recovery.sync_gap import measure_gap, unique_tag
from recovery.testify import (
    ACTIVITY_LOG,
    BY_HAND,
    CAMPAIGN_REPORT,
    CONSOLE,
    IN_PROGRESS_STATES,
    LEDGER,
    MARKER,
    TESSITURA_LIST,
    campaign_report,
    campaign_status,
    log_testimony,
    unreadable,
)

MOST_READS_AT_ONCE = 8
MOST_ACCOUNTS_AT_ONCE = 64
LOOK_BACK = timedelta(hours=6)
GENERATIONS_KNOWN = 4
"""How many deliberate repeats of one slot are still recognised by their markers when the ledger is lost."""
EVERYTHING = "-"
"""The object of a finding about a whole listing that could not be read."""


class Remembers(Protocol):
    """What the audit asks of the ledger: how items ended, and which campaigns we stopped ourselves."""

    async def outcome_of(self, slot_key: str) -> ItemOutcome | None:
        """How we ended this slot before, or None."""
        ...

    async def stopped_by_us(self, slot_key: str) -> bool:
        """Whether our own stop of the original is on record."""
        ...

    async def generation_of(self, slot_key: str) -> int:
        """The generation of the slot's item (0 unless a named person raised it)."""
        ...


@dataclass(frozen=True, slots=True)
class NotDue:
    """Something that looks scheduled in the window but was not due, and why."""

    account: str
    kind: str
    object_ref: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class AccountAudit:
    """What was read of one account."""

    account: str
    time_zone: str
    evidence: tuple[Evidence, ...]
    not_due: tuple[NotDue, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditResult:
    """Findings of every account, sorted by slot, and what was read of each."""

    window: OutageWindow
    findings: tuple[Finding, ...]
    accounts: tuple[AccountAudit, ...]


async def audit(
    window: OutageWindow,
    accounts: Sequence[Account],
    policy: Policy,
    secret: bytes,
    clock: Clock,
    memory: Remembers,
    tell: Tell,
) -> AuditResult:
    """Gathers and judges; raises nothing that one account's remotes did."""
    room = asyncio.Semaphore(MOST_ACCOUNTS_AT_ONCE)

    async def one(account: Account) -> tuple[AccountAudit, tuple[Finding, ...]]:
        async with room:
            tell("audit-start", {"account": account.name})
            read = await _Reader(window, account, policy, secret, clock, memory).read()
            findings = judge(read.evidence, clock.now(), policy.waits)
            findings = tuple([await _with_memory(f, memory, clock, policy) for f in findings])
            tell("audit-done", {"account": account.name, "slots": len(findings), "problems": list(read.problems)})
            return read, findings

    done = await asyncio.gather(*(one(a) for a in accounts))
    return AuditResult(
        window,
        tuple(sorted((f for _, findings in done for f in findings), key=lambda f: f.slot)),
        tuple(read for read, _ in done),
    )


async def _with_memory(finding: Finding, memory: Remembers, clock: Clock, policy: Policy) -> Finding:
    """Asks the ledger only about what is not already done."""
    if finding.verdict is Verdict.DONE or await memory.outcome_of(finding.slot.key) is not ItemOutcome.CONFIRMED:
        return finding
    ours = Testimony(LEDGER, Saw.OURS, clock.now(), True, "the ledger holds the proof")
    known = replace(finding.evidence, testimonies=(*finding.evidence.testimonies, ours))
    return judge([known], clock.now(), policy.waits)[0]


@dataclass(slots=True)
class _Reader:
    """Reads one account."""

    window: OutageWindow
    account: Account
    policy: Policy
    secret: bytes
    clock: Clock
    memory: Remembers

    async def read(self) -> AccountAudit:
        campaigns, jobs, automations = await asyncio.gather(self._campaigns(), self._jobs(), self._automations())
        evidence = (*campaigns[0], *jobs[0], *automations[0])
        problems = (*campaigns[2], *jobs[2], *automations[2])
        not_due = (*campaigns[1], *jobs[1])
        return AccountAudit(self.account.name, self.account.time_zone, evidence, not_due, problems)

    # ---- campaigns

    async def _campaigns(self) -> tuple[list[Evidence], list[NotDue], list[str]]:
        if System.PRO2 not in self.window.systems:
            return [], [], []
        try:
            listing = await self.account.campaigns.campaigns()
        except RemoteError as error:
            return [self._all_unreadable(System.PRO2, Kind.CAMPAIGN, str(error))], [], [str(error)]
        evidence: list[Evidence] = []
        not_due: list[NotDue] = []
        problems: list[str] = []
        if not listing.complete:
            problems.append(f"campaigns of {self.account.name}: the list was not read whole ({listing.problem})")
            evidence.append(self._all_unreadable(System.PRO2, Kind.CAMPAIGN, problems[0]))
        due: list[tuple[Slot, Campaign]] = []
        for campaign in listing.items:
            slot = self._campaign_slot(campaign)
            if slot is not None:
                due.append((slot, campaign))
        room = asyncio.Semaphore(MOST_READS_AT_ONCE)

        async def one(slot: Slot, campaign: Campaign) -> Evidence:
            async with room:
                return await self._campaign_evidence(slot, campaign, listing)

        evidence += await asyncio.gather(*(one(s, c) for s, c in due))
        return evidence, not_due, problems

    def _campaign_slot(self, campaign: Campaign) -> Slot | None:
        if campaign.sdate is None or campaign.status == "0":
            return None
        thing = Scheduled(
            self.account.name,
            System.PRO2,
            Kind.CAMPAIGN,
            campaign.ref,
            campaign.name,
            Schedule("once", campaign.sdate.isoformat(), None, self.account.time_zone),
        )
        found = slots.due(self.window, [thing])
        if found:
            return found[0]
        unfinished = campaign.status == "2" and campaign.sdate < self.window.started_at
        if unfinished and self.window.started_at - campaign.sdate < LOOK_BACK:
            return Slot(
                self.account.name,
                System.PRO2.value,
                Kind.CAMPAIGN.value,
                campaign.ref,
                campaign.sdate,
                campaign.name,
                self.account.time_zone,
            )
        return None

    async def _campaign_evidence(self, slot: Slot, campaign: Campaign, listing: Listing[Campaign]) -> Evidence:
        status = campaign_status(campaign, listing.read_at, self.policy.waits)
        ours = self._our_copy(slot, listing.items)
        if status.saw in (Saw.STOPPED, Saw.PAUSED) and await self._stopped_by_us(slot, campaign):
            status = replace(status, saw=Saw.NOTHING, detail=f"{status.detail}; stopped by allclear")
        testimonies = [status, await self._report(campaign)]
        if ours is not None:
            testimonies.append(ours)
        facts: dict[str, str | int | float | bool | list[str] | None] = {"segment": campaign.segment_ref}
        if status.saw is Saw.NOTHING and campaign.total_amt == 0:
            facts["audience"] = await self._audience(campaign)
        return Evidence(slot, tuple(testimonies), facts)

    async def _audience(self, campaign: Campaign) -> int | None:
        """Before it sends, the platform counts nobody; who would be reached must be known before anyone approves."""
        try:
            return await self.account.campaigns.audience(campaign.ref)
        except RemoteError:
            return None

    async def _report(self, campaign: Campaign) -> Testimony:
        try:
            report = await self.account.campaigns.report(campaign.ref)
        except RemoteError as error:
            return unreadable(CAMPAIGN_REPORT, self.clock.now(), str(error))
        return campaign_report(report, campaign, self.clock.now())

    async def _stopped_by_us(self, slot: Slot, campaign: Campaign) -> bool:
        return any(m in campaign.name for m in self._markers(slot)) or await self.memory.stopped_by_us(slot.key)

    def _our_copy(self, slot: Slot, campaigns: Iterable[Campaign]) -> Testimony | None:
        """Copies that carry the slot's marker and have left: recognised without any database (invariant 9)."""
        markers = self._markers(slot)
        sent = [
            c
            for c in campaigns
            if c.ref != slot.object_ref
            and c.status in ("2", "5")
            and c.send_amt > 0
            and any(m in c.name for m in markers)
        ]
        if not sent:
            return None
        refs = [c.ref for c in sent]
        detail = f"copy {', '.join(refs)} carries our marker and was sent"
        return Testimony(MARKER, Saw.OURS, self.clock.now(), True, detail, {"copies": refs}, sent[0].digest)

    def _markers(self, slot: Slot) -> tuple[str, ...]:
        return tuple(marker_of(key_for(self.secret, slot, "item", g)) for g in range(GENERATIONS_KNOWN))

    # ---- jobs

    async def _jobs(self) -> tuple[list[Evidence], list[NotDue], list[str]]:
        if System.DASHBOARD not in self.window.systems:
            return [], [], []
        try:
            definitions = await self.account.jobs.definitions()
        except RemoteError as error:
            return [self._all_unreadable(System.DASHBOARD, Kind.IMPORT, str(error))], [], [str(error)]
        log, console, may = await asyncio.gather(self._log(ACTIVITY_LOG), self._log(CONSOLE), self._may())
        runs = {ACTIVITY_LOG: _by_definition(log), CONSOLE: _by_definition(console)}
        evidence, not_due, problems = [], [], [t.detail for t in (log, console) if isinstance(t, Testimony)]
        if not definitions.complete:
            problems.append(f"definitions of {self.account.name} were not read whole ({definitions.problem})")
            evidence.append(self._all_unreadable(System.DASHBOARD, Kind.IMPORT, problems[-1]))
        for definition in definitions.items:
            own = {witness: found.get(definition.ref, []) for witness, found in runs.items()}
            evidence += await self._definition_evidence(definition, log, console, may, own)
            if not definition.scheduled.active and definition.scheduled.schedule.type != "manual":
                thing = definition.scheduled
                not_due.append(NotDue(thing.account, thing.kind, thing.object_ref, thing.name, "it is not active"))
        return evidence, not_due, problems

    async def _may(self) -> list[str]:
        """What this account's dashboard lets us do, so that nothing is offered that would be refused (R001.38)."""
        try:
            can = await self.account.jobs.capabilities()
        except RemoteError:
            return []
        return [name for name in ("stop", "reprocess", "run_now", "repeat", "imports") if getattr(can, name)]

    async def _log(self, witness: str) -> RunLog | Testimony:
        try:
            if witness == CONSOLE:
                return await self.account.jobs.console()
            return await self.account.jobs.activity_log(self.window.started_at - LOOK_BACK, self.clock.now())
        except RemoteError as error:
            return unreadable(witness, self.clock.now(), str(error))

    async def _definition_evidence(
        self,
        definition: Definition,
        log: RunLog | Testimony,
        console: RunLog | Testimony,
        may: list[str],
        own: Mapping[str, Sequence[Run]],
    ) -> list[Evidence]:
        thing = definition.scheduled
        try:
            after = self._due_and_next(thing)
        except BadReply as error:
            slot = Slot(
                thing.account, thing.system, thing.kind, thing.object_ref, self.window.started_at, thing.name, "UTC"
            )
            return [Evidence(slot, (unreadable(ACTIVITY_LOG, self.clock.now(), str(error)),))]
        due = [m for m in after if m < self.window.ended_at]
        next_of = dict(zip(after, (*after[1:], None), strict=False))
        slots_of = [
            Slot(thing.account, thing.system, thing.kind, thing.object_ref, m, thing.name, thing.schedule.time_zone)
            for m in due
        ]
        slots_of += self._attempted(definition, slots_of, own)
        if not slots_of:
            return []
        gap = await self._gap(definition) if thing.kind is Kind.DATA_SYNC else None
        facts = {**_definition_facts(definition), "may": may}
        evidence = []
        for slot in slots_of:
            heard = [
                self._heard(w, slot, x, next_of.get(slot.due_at), own[w])
                for w, x in ((ACTIVITY_LOG, log), (CONSOLE, console))
            ]
            if gap is not None:
                heard += [gap[0], *self._our_import(slot, log, gap[0])]
            evidence.append(Evidence(slot, tuple(heard), {**facts, **(gap[1] if gap else {})}))
        return evidence

    def _our_import(self, slot: Slot, log: RunLog | Testimony, gap: Testimony) -> list[Testimony]:
        """A tagged import of ours that succeeded, and no difference left: recognised without any database."""
        if not isinstance(log, RunLog) or gap.saw is not Saw.WORKED:
            return []
        tags = {unique_tag(self.secret, slot, g) for g in range(GENERATIONS_KNOWN)}
        mine = [r for r in log.runs if r.state == "succeeded" and tags.intersection(r.tags)]
        if not mine:
            return []
        detail = f"import run {mine[0].ref} carries our tag and no difference is left"
        return [Testimony(MARKER, Saw.OURS, log.read_at, True, detail, {"run": mine[0].ref}, mine[0].digest)]

    def _due_and_next(self, thing: Scheduled) -> tuple[datetime, ...]:
        """The due times in the window and, where there is one within a day, the next after it."""
        after: tuple[datetime, ...] = ()
        for ahead in (timedelta(hours=1), timedelta(days=1)):  # most things run hourly; a day is a long expansion
            after = slots.moments(thing, self.window.started_at, self.window.ended_at + ahead)
            if after and after[-1] >= self.window.ended_at:
                break
        return after

    def _heard(
        self,
        witness: str,
        slot: Slot,
        log: RunLog | Testimony,
        next_due: datetime | None,
        own: Sequence[Run],
    ) -> Testimony:
        if isinstance(log, Testimony):
            return log
        return log_testimony(witness, slot, log, next_due, self.policy.waits, own)

    def _attempted(self, definition: Definition, known: Sequence[Slot], own: Mapping[str, Sequence[Run]]) -> list[Slot]:
        """Runs that attempted to run in the window outside any schedule, or began before it and are unfinished."""
        thing, found = definition.scheduled, {}
        known_at = {s.due_at for s in known}
        for runs in own.values():
            for run in runs:
                moment = run.scheduled_for or run.started_at
                if moment is None or moment in known_at:
                    continue
                if self._unfinished_before(run) or self._failed_by_hand(run):
                    found[run.ref] = Slot(
                        thing.account,
                        thing.system,
                        thing.kind,
                        thing.object_ref,
                        moment,
                        thing.name,
                        thing.schedule.time_zone,
                    )
        return sorted(found.values())

    def _unfinished_before(self, run: Run) -> bool:
        moment = run.scheduled_for or run.started_at
        before = moment is not None and moment < self.window.started_at
        return before and run.state in IN_PROGRESS_STATES and run.requested_by not in BY_HAND

    def _failed_by_hand(self, run: Run) -> bool:
        if run.requested_by not in ("user", "import") or run.started_at is None:
            return False
        return self.window.started_at <= run.started_at < self.window.ended_at and run.state not in ("succeeded",)

    async def _gap(self, definition: Definition) -> tuple[Testimony, Facts]:
        try:
            return await measure_gap(definition, self.account, self.clock)
        except RemoteError as error:
            return unreadable(TESSITURA_LIST, self.clock.now(), str(error)), {}

    # ---- automations and what could not be read

    async def _automations(self) -> tuple[list[Evidence], list[NotDue], list[str]]:
        if System.PRO2 not in self.window.systems:
            return [], [], []
        try:
            listing = await self.account.campaigns.automations()
        except RemoteError as error:
            return [self._all_unreadable(System.PRO2, Kind.AUTOMATION, str(error))], [], [str(error)]
        return [self._automation(a) for a in listing.items if a.active], [], []

    def _automation(self, automation: Automation) -> Evidence:
        slot = Slot(
            self.account.name,
            System.PRO2.value,
            Kind.AUTOMATION.value,
            automation.ref,
            self.window.started_at,
            automation.name,
            self.account.time_zone,
        )
        heard = Testimony("automations", Saw.UNKNOWN, self.clock.now(), True, f"active, {automation.entered} entered")
        return Evidence(slot, (heard,), {"entered": automation.entered})

    def _all_unreadable(self, system: System, kind: Kind, reason: str) -> Evidence:
        slot = Slot(
            self.account.name,
            system.value,
            kind.value,
            EVERYTHING,
            self.window.started_at,
            f"everything {system.value} could not show",
            self.account.time_zone,
        )
        witness = "campaign-status" if system is System.PRO2 else ACTIVITY_LOG
        return Evidence(slot, (unreadable(witness, self.clock.now(), reason),))


def _by_definition(log: RunLog | Testimony) -> Mapping[str, list[Run]]:
    """A log's runs by definition, so that a log is walked once and not once for each slot."""
    grouped: dict[str, list[Run]] = defaultdict(list)
    for run in log.runs if isinstance(log, RunLog) else ():
        grouped[run.definition_ref].append(run)
    return grouped


def _definition_facts(definition: Definition) -> Facts:
    return {
        "list": definition.list_ref,
        "list_name": definition.list_name,
        "tags": list(definition.tags),
        "sync_mode": definition.sync_mode,
        "automation": definition.automation_ref,
    }


def by_account(findings: Iterable[Finding]) -> Mapping[str, list[Finding]]:
    """Findings grouped by account name, each group in slot order."""
    grouped: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        grouped[finding.slot.account].append(finding)
    return grouped
