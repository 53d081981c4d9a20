"""The calls of `operate` in the shape that the flows need: forms in, plain values and Markdown out. Knows no Prefect."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from recovery.answers import give
from recovery.audit import AccountAudit, AuditResult
from recovery.commands import Part
from recovery.errors import UsageError
from recovery.forms import AnswerForm, ApprovalForm, RecoverForm, WindowForm
from recovery.model import Approval, Finding, OutageWindow, Verdict, iso
from recovery.operate import Run, audit_exit_code, audit_window, plan_from
from recovery.report import AccountReport, RunReport, render_markdown
from recovery.run_report import build
from recovery.settings import Settings, load_policy, load_settings
from recovery.views import audit_view, recover_view
from recovery.window import make_window
from recovery.wiring import SystemClock, checked_offset, open_systems

MOST_ROWS = 5000


def window_of(form: WindowForm) -> tuple[OutageWindow, tuple[str, ...]]:
    """The checked window and its accounts. Raises UsageError, ConfigError."""
    settings = load_settings(form.config)
    window = _window(form, settings)
    return window, window.accounts


def _window(form: WindowForm, settings: Settings) -> OutageWindow:
    from datetime import timedelta

    now = SystemClock(checked_offset(settings)).now()
    if form.start and form.end:
        if form.start.tzinfo is None or form.end.tzinfo is None:
            raise UsageError("The times of the outage need a time zone.", "Choose one in the form.")
        started_at, ended_at = form.start, form.end
    elif form.last_hours:
        started_at, ended_at = now - timedelta(hours=form.last_hours), now
    else:
        raise UsageError("Which outage? Give start and end, or the last hours.", "Fill in the form.")
    return make_window(
        started_at,
        ended_at,
        form.accounts,
        [a.name for a in settings.accounts],
        now=now,
        most_hours=load_policy(settings).limits.window_hours,
        incident=form.incident,
    )


async def audit_account(form: WindowForm, account: str) -> tuple[tuple[Finding, ...], AccountAudit]:
    """One account's findings."""
    settings = load_settings(form.config)
    async with open_systems(settings, names=(account,)) as systems:
        window = _window(form, settings)
        result = await audit_window(systems, OutageWindow(window.started_at, window.ended_at, (account,)))
        return result.findings, result.accounts[0]


def merge_audits(window: OutageWindow, parts: Sequence[tuple[tuple[Finding, ...], AccountAudit]]) -> AuditResult:
    """The parts of every account as one audit."""
    findings = sorted((f for found, _ in parts for f in found), key=lambda f: f.slot)
    return AuditResult(window, tuple(findings), tuple(read for _, read in parts))


def audit_report(result: AuditResult) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """The JSON view, the rows of what is not done, and the report as Markdown."""
    view = audit_view(result, audit_exit_code(result))
    rows = [
        {k: s[k] for k in ("account", "kind", "name", "slot", "verdict", "reason", "key")}
        for s in view["slots"]
        if s["verdict"] != Verdict.DONE
    ]
    accounts = tuple(
        AccountReport(a.account, a.time_zone, not a.problems, "; ".join(a.problems)) for a in result.accounts
    )
    newest = max(
        (t.observed_at for f in result.findings for t in f.evidence.testimonies), default=result.window.ended_at
    )
    report = RunReport(
        result.window, result.window.incident_ref, "Audit", newest, "audit", accounts, findings=result.findings
    )
    return view, rows[:MOST_ROWS] or [{"result": "all clear"}], render_markdown(report)


async def make_recorded_plan(form: WindowForm, how: RecoverForm) -> dict[str, Any]:
    """A plan in the ledger, and the page to decide from: who is reached, the caveats, and what not to overlook."""
    settings = load_settings(form.config)
    async with open_systems(settings, names=tuple(form.accounts)) as systems:
        if how.plan:
            made = await systems.ledger.plan(how.plan)
            if made is None:
                raise UsageError(f"There is no plan {how.plan!r} in the ledger.", "Make one first.")
            result = await audit_window(systems, made.window)
        else:
            result = await audit_window(systems, _window(form, settings))
            made = await plan_from(systems, result)
        if made is None:
            text = render_markdown(await build(systems, result, "audit"))
            rows = [{"result": "all clear"}]
            return {"title": "All clear", "digest": "", "rows": rows, "text": text, "artifact": "plan", "exit_code": 0}
        if how.most_items is not None:
            made = Part(most=how.most_items).of(made, systems)
            await systems.ledger.save_plan(made)
        text = render_markdown(await build(systems, result, "plan", plan=made))
        rows = [
            {
                "account": i.slot.account,
                "kind": i.slot.kind,
                "name": i.slot.name,
                "verdict": i.verdict.value,
                "remedy": i.remedy.value,
                "recipients": i.audience,
                "why not": i.caveat or i.question,
                "key": i.slot.key,
            }
            for i in made.items[:MOST_ROWS]
        ]
        title = (
            f"Plan {made.digest[:12]}: {len(made.items)} items, {made.reach} recipients, expires {iso(made.expires_at)}"
        )
        return {"title": title, "digest": made.digest, "rows": rows, "text": text, "artifact": "plan", "exit_code": 3}


async def run_recorded_plan(form: WindowForm, how: RecoverForm) -> dict[str, Any]:
    """Runs an approved plan to its end."""
    settings = load_settings(form.config)
    async with open_systems(settings) as systems:
        made = await systems.ledger.plan(how.plan)
        if made is None:
            raise UsageError(f"There is no plan {how.plan!r} in the ledger.", "Make one first.")
        done = await Run(systems, made, how.started_by or os.environ.get("USER", "prefect")).recover()
        actions = {r.slot_key: await systems.ledger.actions(r.slot_key) for r in done.items}
        view = recover_view(done, actions, iso(systems.clock.now()))
        assert done.after is not None
        text = render_markdown(
            await build(
                systems,
                done.after,
                "recover",
                plan=made,
                items=done.items,
                balance=done.balance,
                ticket=done.ticket,
                problems=done.problems,
            )
        )
        rows = [{k: i[k] for k in ("account", "kind", "name", "outcome", "reason", "key")} for i in view["items"]]
        balance = view["balance"] or {}
        title = (
            f"{balance.get('recovered')} recovered, {balance.get('held')} held, {balance.get('doubles')} doubles: "
            + ("adds up" if balance.get("adds_up") else "DOES NOT ADD UP")
        )
        return {
            "title": title,
            "digest": made.digest,
            "rows": rows[:MOST_ROWS],
            "text": text,
            "artifact": "recovery",
            "exit_code": done.exit_code,
        }


async def approve_plan(given: ApprovalForm) -> str:
    """Records an approval."""
    settings = load_settings(given.config)
    async with open_systems(settings) as systems:
        made = await systems.ledger.plan(given.plan)
        if made is None:
            raise UsageError(f"There is no plan {given.plan!r} in the ledger.", "Look at the plan run's artifact.")
        at = systems.clock.now()
        await systems.ledger.approve(
            Approval(
                made.digest,
                given.approved_by,
                at,
                given.recipients,
                given.caveat_read,
                tuple(given.items),
                given.reason,
            )
        )
    return f"{given.approved_by} approves plan {made.digest[:12]}"


async def answer_held(given: AnswerForm) -> str:
    """Records an answer."""
    settings = load_settings(given.config)
    async with open_systems(settings) as systems:
        return await give(systems.ledger, systems.clock, given.item, given.choice, given.answered_by, given.reason)
