"""What `allclear incident mail`, `alert`, `requests` and their neighbours do. Every function returns the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from recovery.desk import notice, rules
from recovery.desk.clocks import ACKNOWLEDGEMENT, GENERAL
from recovery.desk.incident import Change, Incident
from recovery.desk.intake import Intake, Taken, clocks_of
from recovery.desk.mail_file import read_mail_file
from recovery.desk.mailbox import REQUEST
from recovery.desk.settings import Scope
from recovery.desk.sla import read
from recovery.desk.sla_settings import SEVERITIES
from recovery.desk_wiring import DeskSystems
from recovery.errors import UsageError
from recovery.model import iso
from recovery.terminal.incident_commands import check_customers, deliver_and_show, open_office, step
from recovery.terminal.terminal import clean, print_json


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as written on the command line."""

    ref: str
    text: str
    service: str
    account: str
    planned: bool


@dataclass(frozen=True, slots=True)
class Engaged:
    """Who is engaged and what changes about the scope; empty fields say nothing."""

    team: str
    scope: str
    customers: tuple[str, ...]
    role: str
    person: str
    duty: str


async def mail(config: Path | None, files: Sequence[Path], *, as_json: bool) -> int:
    """`allclear incident mail`: 0 when everything is answered and delivered, 3 when something is open."""
    async with open_office(config, as_json) as (desk, office):
        now = desk.systems.clock.now()
        mails = [read_mail_file(path, now) for path in files]
        taken = await Intake(office, desk.desk).take_mails(mails)
        told = [t for ref in dict.fromkeys(t.incident for t in taken if t.incident) for t in await office.deliver(ref)]
        code = 3 if any(t.open_answers for t in taken) or any(not t.done for t in told) else 0
        if as_json:
            rows = [_taken_view(t) for t in taken]
            print_json({"schema": "allclear.mails/1", "mails": rows, "exit_code": code})
        else:
            for one in taken:
                print(clean(_taken_line(one)))
        return code


def _taken_view(taken: Taken) -> dict[str, Any]:
    r = taken.request
    return {
        "ref": r.ref,
        "account": r.account,
        "severity": r.severity,
        "came_to": r.came_to,
        "belongs_to": r.belongs_to,
        "started_at": iso(r.started_at),
        "missing": list(r.missing),
        "why": r.why,
        "incident": taken.incident,
        "open_answers": list(taken.open_answers),
    }


def _taken_line(taken: Taken) -> str:
    r = taken.request
    moved = f" (came to {r.came_to})" if r.rerouted else ""
    asked = f"; asked for {', '.join(r.missing)}" if r.missing and not r.board_access else ""
    where = f"incident {taken.incident}" if taken.incident else "waits to be classified"
    return f"{r.ref}  {r.severity or '-'}  {r.account or 'unknown client'}  {r.belongs_to}{moved}  {where}{asked}"


async def alert(config: Path | None, said: Alert, *, as_json: bool) -> int:
    """`allclear incident alert`."""
    if not said.ref.strip():
        raise UsageError(
            "An alert needs its id.", "Give what the monitor calls it; the same id again is the same alert."
        )
    async with open_office(config, as_json) as (desk, office):
        now = desk.systems.clock.now()
        signal = notice.Signal("alert", said.ref, now, said.service, said.account, said.text, said.planned)
        ref = await Intake(office, desk.desk).alert(signal)
        if ref:
            return await deliver_and_show(desk, office, ref, as_json)
        if as_json:
            print_json({"schema": "allclear.alert/1", "alert": said.ref, "incident": "", "exit_code": 0})
        else:
            print("Planned work: no incident.")
        return 0


async def requests(config: Path | None, *, as_json: bool) -> int:
    """`allclear incident requests`."""
    async with open_office(config, as_json) as (desk, office):
        now, intake = desk.systems.clock.now(), Intake(office, desk.desk)
        rows = []
        for came in await intake.waiting():
            request = intake.request(came)
            readings = {clock.name: str(read(clock, now)) for clock in clocks_of(desk.desk, came)}
            rows.append(
                {
                    "ref": request.ref,
                    "account": request.account,
                    "mailbox": request.belongs_to,
                    "subject": came.mail.subject if came.mail else "",
                    "started_at": iso(request.started_at),
                    "missing": list(request.missing),
                    "reading": readings[GENERAL],
                    "acknowledgement": readings.get(ACKNOWLEDGEMENT, ""),
                }
            )
        if as_json:
            print_json({"schema": "allclear.requests/1", "requests": rows, "exit_code": 0})
        else:
            if not rows:
                print("Every request is classified.")
            for row in rows:
                print(clean("  ".join(str(row[k]) for k in ("ref", "account", "mailbox", "subject", "reading"))))
        return 0


async def classify(config: Path | None, request: str, severity: str, by: str, *, as_json: bool) -> int:
    """`allclear incident classify`."""
    if severity not in SEVERITIES:
        raise UsageError(f"{severity!r} is no severity.", f"Choose one of {', '.join(SEVERITIES)}.")
    async with open_office(config, as_json) as (desk, office):
        incident = await Intake(office, desk.desk).classify(request, by, severity)
        return await deliver_and_show(desk, office, incident.ref, as_json)


async def answer(
    config: Path | None, ref: str, effect: str, choice: str, by: str, reason: str, *, as_json: bool
) -> int:
    """`allclear incident answer`."""
    async with open_office(config, as_json) as (desk, office):
        if ref.startswith(REQUEST):
            await Intake(office, desk.desk).settle(ref, by, effect, choice, reason)
            if as_json:
                view = {"request": ref, "answer": effect, "choice": choice}
                print_json({"schema": "allclear.answered/1", **view, "exit_code": 0})
            else:
                print(f"Recorded: {effect} to {ref}: {choice}.")
            return 0
        await office.settle(ref, by, effect, choice, reason)
        return await deliver_and_show(desk, office, ref, as_json)


async def acknowledge(config: Path | None, ref: str, by: str, *, as_json: bool) -> int:
    """`allclear incident acknowledge`; a stranger to the desk is refused."""

    def decide(desk: DeskSystems, incident: Incident, now: datetime) -> Sequence[Change]:
        if not rules.is_person(desk.desk, by):
            raise UsageError(f'"{by}" has no role at this desk.', "Sign with the name that desk.toml lists.")
        return [rules.acknowledge_page(incident, by, now, "said at the terminal")]

    return await step(config, ref, decide, as_json=as_json, recorded=f"{by} has the page of {ref}.")


async def pause(config: Path | None, ref: str, by: str, state: str, report: str, end: bool, *, as_json: bool) -> int:
    """`allclear incident pause`."""

    def decide(desk: DeskSystems, incident: Incident, now: datetime) -> Sequence[Change]:
        if end:
            return [rules.end_hold(desk.desk, by, now, report)]
        return [rules.start_hold(desk.desk, incident, by, now, state, report)]

    return await step(config, ref, decide, as_json=as_json)


async def engage(config: Path | None, ref: str, by: str, said: Engaged, *, as_json: bool) -> int:
    """`allclear incident engage`."""

    def decide(desk: DeskSystems, incident: Incident, now: datetime) -> Sequence[Change]:
        changes: list[Change] = []
        if said.team:
            changes.append(rules.engage_team(desk.desk, incident, by, now, said.team))
        if said.scope or said.customers:
            scope = said.scope or incident.scope
            if scope not in ("subset", "entire"):
                raise UsageError(f"{scope!r} is no scope.", "Choose subset or entire.")
            check_customers(desk, said.customers)
            changes.append(rules.change_scope(desk.desk, incident, by, now, cast("Scope", scope), said.customers))
        if said.role and said.person:
            changes.append(rules.assign_role(desk.desk, by, now, said.role, said.person))
        if said.role and said.duty:
            changes.append(rules.complete_duty(desk.desk, by, now, said.role, said.duty))
        if not changes:
            raise UsageError("Nothing was said.", "`allclear incident engage --help` has examples.")
        return changes

    return await step(config, ref, decide, as_json=as_json)
