"""Asks every witness about every slot of a window; reads only (R001.1 to R001.8, R001.16 to R001.29).

One account's trouble stays its own: what could not be read becomes an uncertain finding with the reason, and the other
accounts go on.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from recovery.audit_campaigns import CampaignReader
from recovery.audit_jobs import JobReader
from recovery.audit_reading import NotDue, Remembers
from recovery.judge import judge
from recovery.model import Evidence, Finding, ItemOutcome, OutageWindow, Saw, Testimony, Verdict
from recovery.policy import Policy
from recovery.ports import Account, Clock, Tell
from recovery.testify import LEDGER

__all__ = ["MOST_READ_AT_ONCE", "AccountAudit", "AuditResult", "NotDue", "Remembers", "audit", "by_account"]

MOST_READ_AT_ONCE = 256
"""Accounts whose logs are in memory together: more than one core can read and judge at five calls a second each."""


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
    room = asyncio.Semaphore(MOST_READ_AT_ONCE)

    async def one(account: Account) -> tuple[AccountAudit, tuple[Finding, ...]]:
        async with room:
            tell("audit-start", {"account": account.name})
            read = await _read(window, account, policy, secret, clock, memory)
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


async def _read(
    window: OutageWindow, account: Account, policy: Policy, secret: bytes, clock: Clock, memory: Remembers
) -> AccountAudit:
    campaigns = CampaignReader(window, account, policy, secret, clock, memory)
    jobs = JobReader(window, account, policy, secret, clock, memory)
    found = await asyncio.gather(campaigns.campaigns(), jobs.jobs(), campaigns.automations())
    return AccountAudit(
        account.name,
        account.time_zone,
        tuple(e for f in found for e in f.evidence),
        tuple(n for f in found for n in f.not_due),
        tuple(p for f in found for p in f.problems),
    )


def by_account(findings: Iterable[Finding]) -> Mapping[str, list[Finding]]:
    """Findings grouped by account name, each group in slot order."""
    grouped: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        grouped[finding.slot.account].append(finding)
    return grouped
