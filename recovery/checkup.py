"""`allclear doctor`: every setting, secret and remote, each with one sentence; reads only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from recovery.errors import AllclearError, UsageError
from recovery.settings import Settings
from recovery.terminal import clean
from recovery.wiring import Systems, open_systems

View = dict[str, Any]


async def check_up(settings: Settings, names: tuple[str, ...]) -> View:
    """`allclear.doctor/1`: one row a check; exit code 1 when one of them fails."""
    strangers = [n for n in names if n not in {a.name for a in settings.accounts}]
    if strangers:
        raise UsageError(f"There is no account {strangers[0]!r}.", "The accounts stand in allclear.toml.")
    rows: list[View] = []
    async with open_systems(settings, names=names) as systems:
        rows.append(_row("ledger", "", True, f"open, {'QUARANTINED' if systems.ledger.quarantined else 'sound'}"))
        problems = await systems.ledger.verify()
        rows.append(_row("record", "", not problems, "; ".join(problems[:3]) or "whole"))
        rows += await asyncio.gather(*(_ask(name, account, ask) for name, account, ask in _questions(systems)))
        rows += [_row("secret", a.name, True, f"pro2 token from {a.pro2.token.place}") for a in settings.accounts]
        why = systems.switched_off() or await systems.ledger.killed()
        rows.append(_row("kill switch", "", not why, why or "off"))
    bad = [r for r in rows if not r["ok"]]
    return {"schema": "allclear.doctor/1", "checks": rows, "exit_code": 1 if bad else 0}


def _questions(systems: Systems) -> list[tuple[str, str, Callable[[], Awaitable[object]]]]:
    questions: list[tuple[str, str, Callable[[], Awaitable[object]]]] = []
    for account in systems.accounts:
        questions += [
            ("pro2", account.name, account.campaigns.whoami),
            ("dashboard", account.name, account.jobs.capabilities),
            ("tessitura", account.name, account.lists.healthy),
        ]
    if systems.tickets is not None:
        questions.append(("jira", "", systems.tickets.whoami))
    if systems.chat is not None:
        questions.append(("slack", "", systems.chat.whoami))
    return questions


async def _ask(name: str, account: str, ask: Callable[[], Awaitable[object]]) -> View:
    try:
        answered = await ask()
    except AllclearError as error:
        return _row(name, account, False, f"{error} {error.hint}".strip())
    said = "healthy" if answered is True else "not healthy" if answered is False else str(answered)
    return _row(name, account, answered is not False, said)


def _row(name: str, account: str, ok: bool, detail: str) -> View:
    return {"check": name, "account": account, "ok": ok, "detail": detail}


def checkup_lines(view: View) -> list[str]:
    """The view for people."""
    return [
        clean(f"{'ok  ' if r['ok'] else 'FAIL'} {r['check']:<12} {r['account']:<12} {r['detail']}")
        for r in view["checks"]
    ]
