"""Reports to render: about 300 slots of nine accounts in four time zones, with hostile names among them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from recovery.model import (
    ActionKind,
    ActionState,
    Approval,
    Balance,
    Evidence,
    Exchange,
    Finding,
    Harm,
    ItemOutcome,
    OutageWindow,
    Plan,
    PlanItem,
    PlannedAction,
    Question,
    Remedy,
    Saw,
    Slot,
    Testimony,
    Verdict,
)
from recovery.ports import TicketRef
from recovery.report.report import AccountReport, ActionReport, ItemReport, Outcome, RunReport

ACCOUNTS = {
    "bayside-opera": "America/Los_Angeles",
    "city-ballet": "America/New_York",
    "granite-theatre": "America/New_York",
    "harbor-symphony": "America/New_York",
    "lakeside-museum": "America/Chicago",
    "northern-arts": "Europe/London",
    "old-mill-playhouse": "Europe/London",
    "prairie-phil": "America/Chicago",
    "quayside-jazz": "Europe/London",
}
# The window crosses the start of daylight saving time in North America (2026-03-08 07:00 UTC in New York).
START = datetime(2026, 3, 8, 5, 40, tzinfo=UTC)
END = datetime(2026, 3, 8, 8, 10, tzinfo=UTC)
HOSTILE_NAMES = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><svg onload=alert(1)>",
    "Gala \u202egpj.exe\u202c invitation",
    "\x1b[31mred\x1b[0m \x07bell \x1b]0;title\x07",
    "| pipe | `tick` ``two`` \\| back\\ | [link](javascript:alert(1)) @everyone https://evil.example/ <b>",
    "{{ 7 * 7 }} {% for x in y %} ${x} %s {0}",
    "[bold red]rich markup[/] [link=https://evil.example]x[/link]",
    "zero\u200bwidth\u2028line\u2029para\u0000null",
    "&lt;already escaped&gt; &amp; <!-- comment -->",
    "=cmd|' /C calc'!A0",
    "N" * 900,
    "",
)
NAMES = {
    "campaign": (
        "Spring gala reminder",
        "Members' preview",
        "Last seats: Tosca",
        "Thank you, donors",
        "Family weekend",
    ),
    "data_sync_tag": ("Subscribers tag", "Lapsed donors tag", "Board members tag"),
    "scheduled_trigger": ("Welcome new ticket buyers", "Birthday greeting", "Post-show survey"),
    "integrated_import": ("Weekend buyers list", "Season renewals list", "Donor constituency list"),
    "automation": ("Abandoned basket", "Renewal series"),
}
SYSTEMS = {"campaign": "pro2", "automation": "pro2"}
CASES: tuple[tuple[int, Verdict, Remedy, Outcome], ...] = (
    (62, Verdict.DONE, Remedy.NONE, "done_before"),
    (8, Verdict.MISSED, Remedy.RESEND, ItemOutcome.CONFIRMED),
    (6, Verdict.FAILED, Remedy.REPROCESS, ItemOutcome.CONFIRMED),
    (4, Verdict.STALLED, Remedy.REPROCESS, ItemOutcome.CONFIRMED),
    (6, Verdict.MISSED, Remedy.RUN_NOW, ItemOutcome.CONFIRMED),
    (3, Verdict.MISSED, Remedy.MONITOR, ItemOutcome.CONFIRMED),
    (4, Verdict.MISSED, Remedy.DROP, ItemOutcome.SKIPPED),
    (3, Verdict.PARTIAL, Remedy.HOLD, ItemOutcome.HELD),
    (4, Verdict.UNCERTAIN, Remedy.HOLD, ItemOutcome.HELD),
)
KIND_BY_REMEDY = {
    Remedy.RESEND: "campaign",
    Remedy.MONITOR: "campaign",
    Remedy.DROP: "campaign",
    Remedy.REPROCESS: "data_sync_tag",
    Remedy.RUN_NOW: "scheduled_trigger",
}
QUESTIONS = {
    Verdict.PARTIAL: Question(
        "Part of the audience was mailed before the outage. Should the remaining recipients still get it?",
        "drop: the event starts within two hours of the earliest possible send",
    ),
    Verdict.UNCERTAIN: Question(
        "The campaign list says completed, the report shows no data. Did it go out?",
        "wait: ask the vendor; the report may lag by up to 24 hours",
    ),
}
REASONS = {
    Verdict.DONE: "The report shows deliveries and the status is completed.",
    Verdict.MISSED: "Pending send after its time, and the report is empty.",
    Verdict.STALLED: "In progress for longer than its age limit, no Console line since.",
    Verdict.FAILED: "The Activity Log shows a full error report.",
    Verdict.PARTIAL: "Sending stopped at a part of the audience.",
    Verdict.UNCERTAIN: "The witnesses disagree.",
}
STEPS = {
    Remedy.RESEND: (ActionKind.STOP, ActionKind.COPY, ActionKind.RELEASE),
    Remedy.REPROCESS: (ActionKind.STOP_RUN, ActionKind.REPROCESS),
    Remedy.RUN_NOW: (ActionKind.RUN_NOW,),
}
HARMS = {ActionKind.RELEASE: Harm.H3, ActionKind.RUN_NOW: Harm.H3, ActionKind.REPROCESS: Harm.H2}


def digest(text: str) -> str:
    """A digest such as the product would name."""
    return hashlib.sha256(text.encode()).hexdigest()


def window() -> OutageWindow:
    """Two and a half hours on the night of a daylight saving change."""
    return OutageWindow(START, END, tuple(ACCOUNTS), incident="inc-2026-03-08-prospect2")


def sample_items(count: int = 300, seed: int = 7) -> list[ItemReport]:
    """Deterministic items in the proportions of `CASES`; the first ones carry the hostile names, in every case."""
    random = Random(seed)
    made = []
    for n in range(count):
        usual = random.choices([c[1:] for c in CASES], weights=[c[0] for c in CASES])[0]
        verdict, remedy, outcome = CASES[n % len(CASES)][1:] if n < len(HOSTILE_NAMES) else usual
        made.append(sample_item(n, verdict, remedy, outcome, random))
    return made


def sample_item(n: int, verdict: Verdict, remedy: Remedy, outcome: Outcome, random: Random) -> ItemReport:
    account = random.choice(list(ACCOUNTS))
    kind = KIND_BY_REMEDY.get(remedy) or random.choice(list(NAMES))
    due_at = START + timedelta(minutes=5 * random.randrange(0, 30))
    name = HOSTILE_NAMES[n] if n < len(HOSTILE_NAMES) else f"{random.choice(NAMES[kind])} {n}"
    slot = Slot(account, SYSTEMS.get(kind, "dashboard"), kind, str(4000 + n), due_at, name, ACCOUNTS[account])
    return ItemReport(
        slot=slot,
        name=name,
        verdict=verdict,
        remedy=remedy,
        outcome=outcome,
        reason="The event is already over." if outcome == ItemOutcome.SKIPPED else REASONS[verdict],
        question=QUESTIONS.get(verdict) if outcome == ItemOutcome.HELD else None,
        before={"status": "scheduled", "sent": 0, "report": "empty"} if verdict is not Verdict.DONE else {},
        after={"status": "completed", "sent": 1240, "report": "has data"} if outcome == ItemOutcome.CONFIRMED else {},
        actor="Ana Ruiz (on call)" if outcome in (ItemOutcome.CONFIRMED, ItemOutcome.SKIPPED) else "",
        actions=sample_actions(n, remedy, outcome),
        testimonies=sample_testimonies(n, kind, verdict),
    )


def sample_actions(n: int, remedy: Remedy, outcome: Outcome) -> tuple[ActionReport, ...]:
    if outcome != ItemOutcome.CONFIRMED:
        return ()
    return tuple(
        ActionReport(
            kind=step,
            state=ActionState.CONFIRMED,
            ref=str(9000 + n * 3 + position),
            at=END + timedelta(minutes=20 + n % 60, seconds=position * 7),
            harm=HARMS.get(step, Harm.H0),
            reversible=HARMS.get(step, Harm.H0) < Harm.H2,
            attempts=1 + (n % 17 == 0),
            evidence_digest=digest(f"{n}/{step.value}"),
        )
        for position, step in enumerate(STEPS.get(remedy, ()))
    )


def sample_testimonies(n: int, kind: str, verdict: Verdict) -> tuple[Testimony, ...]:
    saw = {Verdict.DONE: Saw.WORKED, Verdict.FAILED: Saw.FAILED, Verdict.STALLED: Saw.RUNNING}.get(verdict, Saw.NOTHING)
    second = Saw.PARTIAL if verdict is Verdict.PARTIAL else Saw.WORKED if verdict is Verdict.UNCERTAIN else saw
    witnesses = ("campaign_status", "campaign_report") if kind == "campaign" else ("activity_log", "console")
    read_at = END + timedelta(minutes=12, seconds=n % 60)
    return (
        Testimony(witnesses[0], saw, read_at, True, "", {}, digest(f"list-{n // 100}")),
        Testimony(
            witnesses[1],
            second,
            read_at + timedelta(seconds=3),
            verdict is not Verdict.UNCERTAIN,
            "",
            {},
            digest(f"r-{n}"),
        ),
    )


def balance_of(items: list[ItemReport]) -> Balance:
    """The balance that these items add up to."""
    counts = {o: sum(i.outcome == o for i in items) for o in ("done_before", "confirmed", "skipped", "held")}
    return Balance(len(items), counts["done_before"], counts["confirmed"], counts["skipped"], counts["held"], 0)


def sample_plan(items: list[ItemReport]) -> Plan:
    """What had been planned for these items."""
    planned = tuple(
        PlanItem(
            slot=item.slot,
            verdict=item.verdict,
            remedy=item.remedy,
            reason=item.reason,
            code="sample",
            actions=tuple(
                PlannedAction(
                    f"KEY{n}{a.kind}", a.kind, a.harm, a.reversible, f"{4000 + n}", f"{a.kind.value} {4000 + n}"
                )
                for a in item.actions
            ),
            order=n,
            audience=1240 if item.remedy in (Remedy.RESEND, Remedy.RUN_NOW) else None,
            question=item.question.text if item.question else "",
            recommended=item.question.recommended if item.question else "",
            caveat="The vendor cannot guarantee that the original will not be sent."
            if item.remedy is Remedy.RESEND
            else "",
            before=item.before,
        )
        for n, item in enumerate(items)
        if item.outcome != "done_before"
    )
    return Plan(window(), planned, END + timedelta(minutes=14), END + timedelta(hours=4), digest("plan"))


def sample_report(count: int = 300) -> RunReport:
    """A finished recovery that adds up, with something held and one account unreadable."""
    items = sample_items(count)
    plan = sample_plan(items)
    accounts = [AccountReport(name, zone) for name, zone in ACCOUNTS.items()]
    accounts.append(AccountReport("zenith-<b>gallery</b>", "Asia/Kolkata", False, "The token was refused (HTTP 403)."))
    return RunReport(
        window=window(),
        incident_ref=window().incident_ref,
        title="Prospect2 outage of 8 March",
        made_at=END + timedelta(hours=2),
        mode="recover",
        accounts=tuple(accounts),
        items=tuple(items),
        plan=plan,
        approvals=(
            Approval(
                plan.digest, "Ana Ruiz", END + timedelta(minutes=16), plan.reach, True, (), "Agreed with box office"
            ),
        ),
        balance=balance_of(items),
        ticket=TicketRef("10042", "OPS-412", "https://jira.example.org/browse/OPS-412"),
        notices=("Originals of stopped campaigns are watched for 72 hours.",),
        problems=("zenith-<b>gallery</b>: the token was refused (HTTP 403).",),
        contact_us_url="mailto:support@vendor.example.org",
    )


def audit_report(count: int = 300) -> RunReport:
    """The same estate right after the outage: findings only, nothing done."""
    report = sample_report(count)
    findings = tuple(
        Finding(i.slot, i.verdict, i.reason, "sample", Evidence(i.slot, i.testimonies, i.before)) for i in report.items
    )
    return replace(
        report, mode="audit", items=(), findings=findings, plan=None, approvals=(), balance=None, ticket=None
    )


def plan_report(count: int = 300) -> RunReport:
    """The same estate with a plan, before approval."""
    return replace(audit_report(count), mode="plan", plan=sample_report(count).plan)


def sample_evidence(report: RunReport) -> dict[tuple[str, str], Exchange]:
    """A stored exchange for every digest that an account's items name."""
    made: dict[tuple[str, str], Exchange] = {}
    for item in report.items:
        ref, account = item.slot.object_ref, item.slot.account
        body = f'{{"campaign": {{"id": "{ref}", "name": "<i>{ref}</i></pre>", "send_amt": "0"}}}}'
        for t in item.testimonies:
            made[t.digest, account] = Exchange(
                "pro2", account, f"GET /api/3/campaigns/{ref}", 200, t.observed_at, t.digest, body
            )
    return made
