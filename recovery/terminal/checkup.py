"""`allclear doctor`: every setting, secret and remote, each with one sentence; reads only."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from recovery.errors import AllclearError, UsageError
from recovery.ports import Account, BridgeCapabilities
from recovery.settings import Settings, load_settings
from recovery.terminal.command_input import os_user
from recovery.terminal.desk_checkup import desk_answers
from recovery.terminal.questions import Answer, Question, answers, told
from recovery.terminal.secret_checkup import Place, places, without
from recovery.terminal.terminal import clean, print_json
from recovery.window import known_zone
from recovery.wiring import NO_ACCOUNTS, Systems, kill_switch, open_ledger, open_probes, open_systems

View = dict[str, Any]


async def check_up(settings: Settings, names: tuple[str, ...]) -> View:
    """`allclear.doctor/1`: one row a check; exit code 1 when one of them fails. No failed check hides another one."""
    strangers = [n for n in names if n not in {a.name for a in settings.accounts}]
    if strangers:
        raise UsageError(f"There is no account {strangers[0]!r}.", "The accounts stand in allclear.toml.")
    named = {place: _secret(settings, place) for place in places(settings)}
    secrets, unread = list(named.values()), [place for place, row in named.items() if not row["ok"]]
    readable = without(settings, unread)
    ledger, killed = await _ledger(settings)
    off = kill_switch(settings)() or killed
    rows = [
        *ledger,
        *await _remotes(readable, names, {place.account for place in unread}),
        *secrets,
        _row("kill switch", "", not off, off or "off"),
    ]
    rows += [_answered(answer) for answer in await desk_answers(readable)]
    bad = [r for r in rows if not r["ok"]]
    return {"schema": "allclear.doctor/1", "checks": rows, "exit_code": 1 if bad else 0}


def _secret(settings: Settings, place: Place) -> View:
    try:
        place.check(settings)
    except AllclearError as error:
        return _row("secret", place.account, False, told(error))
    return _row("secret", place.account, True, f"{place.what} from {place.at.place}")


async def _ledger(settings: Settings) -> tuple[list[View], str]:
    """The rows of the ledger, and why its kill switch is on ("" too for one that cannot be opened)."""
    try:
        ledger = await open_ledger(settings)
    except AllclearError as error:
        return [_row("ledger", "", False, told(error))], ""
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


async def _remotes(settings: Settings, names: tuple[str, ...], mute: Collection[str]) -> list[View]:
    """What the accounts' remotes, the ticket desk and the chat answer; an account without a secret is not asked."""
    asked = tuple(a.name for a in settings.accounts if (not names or a.name in names) and a.name not in mute)
    try:
        async with open_systems(settings, names=asked or NO_ACCOUNTS) as systems:
            return [_answered(answer) for answer in await answers(_questions(systems))]
    except AllclearError as error:
        return [_row("remotes", "", False, f"not asked: {told(error)}")]


async def prove(settings: Settings, account: str, by: str) -> View:
    """`allclear.prove/1`: the truth tests of one test account, recorded; exit code 1 when something was refuted."""
    from recovery.prove import Prover

    async with open_systems(settings, names=NO_ACCOUNTS) as systems, open_probes(systems, account) as probes:
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


def _questions(systems: Systems) -> Iterator[Question]:
    named = {a.name: a for a in systems.settings.accounts}
    for account in systems.accounts:
        yield Question("pro2", account.campaigns.whoami, account.name)
        if named[account.name].dashboard is not None:
            yield Question("dashboard", _bridge(account), account.name)
        if named[account.name].tessitura is not None:
            yield Question("tessitura", account.lists.healthy, account.name)
    if systems.tickets is not None:
        yield Question("jira", systems.tickets.ready)
    if systems.chat is not None:
        yield Question("slack", systems.chat.whoami)


def _bridge(account: Account) -> Callable[[], Awaitable[object]]:
    async def ask() -> str:
        return offered(await account.jobs.capabilities(), account.time_zone)

    return ask


def offered(can: BridgeCapabilities, time_zone: str) -> str:
    """What a dashboard offers, and whether its clock is not the account's."""
    steps = ("stop", "reprocess", "run_now", "repeat", "imports")
    offers = ", ".join(s.replace("_", " ") for s in steps if getattr(can, s)) or "reading only"
    kept = f"; keeps its log {can.log_retention_days} days" if can.log_retention_days else ""
    return f"offers {offers}{kept}{_clock(can.account_time_zone, time_zone)}"


def _clock(told: str, time_zone: str) -> str:
    if not told:
        return ""
    if known_zone(told) is None:
        return f"; its time zone {told} is not known, so schedules that name no zone are read in {time_zone}"
    other = f", the account's zone in the settings is {time_zone}" if told != time_zone else ""
    return f"; schedules that name no zone are in {told}{other}"


def _answered(answer: Answer) -> View:
    return _row(answer.check, answer.account, answer.ok, answer.said)


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
