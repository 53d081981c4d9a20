"""`allclear doctor`: every setting, secret and remote, each with one sentence; reads only."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from recovery.errors import AllclearError, UsageError
from recovery.ports import BridgeCapabilities
from recovery.settings import SecretAt, Settings, load_settings, reveal
from recovery.terminal.command_input import os_user
from recovery.terminal.desk_checkup import desk_answers
from recovery.terminal.terminal import clean, print_json
from recovery.wiring import Systems, kill_switch, open_ledger, open_probes, open_systems

View = dict[str, Any]


async def check_up(settings: Settings, names: tuple[str, ...]) -> View:
    """`allclear.doctor/1`: one row a check; exit code 1 when one of them fails. No failed check hides another one."""
    strangers = [n for n in names if n not in {a.name for a in settings.accounts}]
    if strangers:
        raise UsageError(f"There is no account {strangers[0]!r}.", "The accounts stand in allclear.toml.")
    secrets = [_secret(settings, *place) for place in _secrets(settings)]
    ledger, killed = await _ledger(settings)
    off = kill_switch(settings)() or killed
    rows = [
        *ledger,
        *await _remotes(settings, names, secrets),
        *secrets,
        _row("kill switch", "", not off, off or "off"),
    ]
    rows += [_row(name, "", ok, said) for name, ok, said in await desk_answers(settings)]
    bad = [r for r in rows if not r["ok"]]
    return {"schema": "allclear.doctor/1", "checks": rows, "exit_code": 1 if bad else 0}


def _secret(settings: Settings, account: str, what: str, at: SecretAt) -> View:
    field = f"accounts.{account}.{what}" if account else what
    try:
        reveal(at, settings, field.replace(" ", "_"))
    except AllclearError as error:
        return _row("secret", account, False, _told(error))
    return _row("secret", account, True, f"{what} from {at.place}")


async def _ledger(settings: Settings) -> tuple[list[View], str]:
    """The rows of the ledger, and why its kill switch is on ("" too for one that cannot be opened)."""
    try:
        ledger = await open_ledger(settings)
    except AllclearError as error:
        return [_row("ledger", "", False, _told(error))], ""
    try:
        problems = await ledger.verify()
        trusted = "QUARANTINED" if ledger.quarantined else "sound"
        rows = [
            _row("ledger", "", True, f"open, {trusted}"),
            _row("record", "", not problems, "; ".join(problems[:3]) or "whole"),
        ]
        return rows, await ledger.killed()
    finally:
        await ledger.close()


async def _remotes(settings: Settings, names: tuple[str, ...], secrets: list[View]) -> list[View]:
    """What each remote answers, as far as its secret could be read: an account without one is not asked."""
    mute = {r["account"] for r in secrets if not r["ok"]}
    asked = tuple(a.name for a in settings.accounts if (not names or a.name in names) and a.name not in mute)
    try:
        async with open_systems(settings, names=asked or ("",)) as systems:
            return list(await asyncio.gather(*(_ask(name, account, ask) for name, account, ask in _questions(systems))))
    except AllclearError as error:
        return [_row("remotes", "", False, f"not asked: {_told(error)}")]


def _told(error: AllclearError) -> str:
    return f"{error} To do: {error.hint}" if error.hint else str(error)


def _secrets(settings: Settings) -> list[tuple[str, str, SecretAt]]:
    """Where each secret is: the account or "", what it is, its place."""
    rows = [("", "marker key", settings.marker_key)]
    for account in settings.accounts:
        rows.append((account.name, "pro2 token", account.pro2.token))
        if account.dashboard is not None and account.dashboard.token is not None:
            rows.append((account.name, "dashboard token", account.dashboard.token))
        if account.tessitura is not None:
            rows.append((account.name, "tessitura password", account.tessitura.password))
    rows += [("", f"{n} token", desk.token) for n, desk in (("jira", settings.jira), ("slack", settings.slack)) if desk]
    return rows


async def prove(settings: Settings, account: str, by: str) -> View:
    """`allclear.prove/1`: the truth tests of one test account, recorded; exit code 1 when something was refuted."""
    from recovery.prove import Prover

    async with open_systems(settings, names=("",)) as systems, open_probes(systems, account) as probes:
        named = next(a for a in settings.accounts if a.name == account)
        prover = Prover(
            account=account,
            probes=probes,
            ledger=systems.ledger,
            clock=systems.clock,
            policy=systems.policy,
            secret=systems.secret,
            by=by,
            seed_list=named.seed_list,
            switched_off=systems.switched_off,
        )
        proofs = await prover.prove()
    rows = [
        {**_row(p.test, account, p.outcome == "proved", p.detail), "outcome": p.outcome, "evidence": p.evidence}
        for p in proofs
    ]
    refuted = [p for p in proofs if p.outcome == "refuted"]
    return {"schema": "allclear.prove/1", "account": account, "checks": rows, "exit_code": 1 if refuted else 0}


async def show_proofs(config: Path | None, account: str, by: str, *, as_json: bool) -> int:
    """`allclear doctor --prove` at the terminal; its exit code."""
    view = await prove(load_settings(config), account, by.strip() or os_user())
    if as_json:
        print_json(view)
    else:
        sys.stdout.write("".join(f"{line}\n" for line in proof_lines(view)))
    return int(view["exit_code"])


def proof_lines(view: View) -> list[str]:
    """The view for people: what counts from now on, and what keeps its weakest behaviour."""
    return [clean(f"{r['outcome']:<8} {r['check']:<24} {r['detail']}") for r in view["checks"]]


def _questions(systems: Systems) -> list[tuple[str, str, Callable[[], Awaitable[object]]]]:
    questions: list[tuple[str, str, Callable[[], Awaitable[object]]]] = []
    named = {a.name: a for a in systems.settings.accounts}
    for account in systems.accounts:
        questions.append(("pro2", account.name, account.campaigns.whoami))
        if named[account.name].dashboard is not None:
            questions.append(("dashboard", account.name, account.jobs.capabilities))
        if named[account.name].tessitura is not None:
            questions.append(("tessitura", account.name, account.lists.healthy))
    if systems.tickets is not None:
        questions.append(("jira", "", systems.tickets.ready))
    if systems.chat is not None:
        questions.append(("slack", "", systems.chat.whoami))
    return questions


async def _ask(name: str, account: str, ask: Callable[[], Awaitable[object]]) -> View:
    try:
        answered = await ask()
    except AllclearError as error:
        return _row(name, account, False, f"{error}. To do: {error.hint}" if error.hint else str(error))
    return _row(name, account, answered is not False, _said(answered))


def _said(answered: object) -> str:
    if isinstance(answered, bool):
        return "healthy" if answered else "not healthy"
    if isinstance(answered, BridgeCapabilities):
        steps = ("stop", "reprocess", "run_now", "repeat", "imports")
        offered = [s.replace("_", " ") for s in steps if getattr(answered, s)]
        kept = f"; keeps its log {answered.log_retention_days} days" if answered.log_retention_days else ""
        zone = (
            f"; schedules that name no zone are in {answered.account_time_zone}" if answered.account_time_zone else ""
        )
        return f"offers {', '.join(offered) or 'reading only'}{kept}{zone}"
    return str(answered)


def _row(name: str, account: str, ok: bool, detail: str) -> View:
    return {"check": name, "account": account, "ok": ok, "detail": detail}


def checkup_lines(view: View) -> list[str]:
    """The view for people; the last line says what is not well."""
    rows = view["checks"]
    bad = [f"{r['check']} {r['account']}".rstrip() for r in rows if not r["ok"]]
    last = f"{len(bad)} of {len(rows)} not well: {', '.join(dict.fromkeys(bad))}." if bad else f"All {len(rows)} well."
    return [
        *(f"{'ok  ' if r['ok'] else 'FAIL'} {r['check']:<12} {r['account']:<12} {r['detail']}" for r in rows),
        last,
    ]
