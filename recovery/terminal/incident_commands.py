"""What each `allclear incident` command does. Every function returns the exit code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast, get_args

from recovery.desk import rules
from recovery.desk.escalation import p1_results
from recovery.desk.facts import with_ledger
from recovery.desk.incident import Change, Incident, Report, named_digest
from recovery.desk.office import IncidentOffice
from recovery.desk.outbox import effects_for
from recovery.desk.perform import Told
from recovery.desk.rca import FollowUp, RcaFacts
from recovery.desk.round import desk_round
from recovery.desk.settings import PHASES, Scope
from recovery.desk.sla_report import MEASURED, sla_report
from recovery.desk.sla_settings import SEVERITIES, Severity
from recovery.desk.tasks import flagged_replies, queue, tasks_for, unlinked
from recovery.desk.timeline import about
from recovery.desk_wiring import DeskSystems, open_desk_systems
from recovery.errors import UsageError
from recovery.model import iso
from recovery.settings import load_settings
from recovery.terminal.progress import Progress
from recovery.terminal.terminal import clean, print_json, say
from recovery.window import parse_moment

View = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Saying:
    """A declaration as written on the command line."""

    title: str
    by: str
    severity: str
    scope: str
    kind: str
    ref: str
    customers: tuple[str, ...]
    started: str
    symptoms: tuple[str, ...]
    steps: tuple[str, ...]
    environment: str
    time_zone: str
    planned: bool


@dataclass(frozen=True, slots=True)
class Reported:
    """A customer's report as written on the command line."""

    ref: str
    account: str
    customer: str
    email: str
    subject: str
    text: str
    ticket_ref: str
    received: str


@asynccontextmanager
async def open_office(config: Path | None, quiet: bool) -> AsyncIterator[tuple[DeskSystems, IncidentOffice]]:
    """The desk of the configuration, with its counter."""
    async with open_desk_systems(load_settings(config), tell=Progress(quiet=quiet)) as desk:
        yield desk, IncidentOffice(desk.outbox(), desk.desk)


async def declare(config: Path | None, said: Saying, *, as_json: bool) -> int:
    """`allclear incident declare`."""
    if not said.title.strip():
        raise UsageError("An incident needs a title.", "Say in one line what is wrong.")
    async with open_office(config, as_json) as (desk, office):
        check_customers(desk, said.customers)
        now = desk.systems.clock.now()
        incident = await office.declare(
            said.by,
            rules.Declaration(
                title=said.title,
                source="person",
                source_ref=said.ref or f"{said.by}/{iso(now)}",
                severities=(_severity(said.severity),),
                scope=cast(Scope, _one_of("scope", said.scope, get_args(Scope))),
                kind=cast(rules.IncidentKind, _one_of("kind", said.kind, get_args(rules.IncidentKind))),
                environment=said.environment,
                time_zone=said.time_zone,
                noticed_at=now,
                planned=said.planned,
                started_at=parse_moment(said.started, now) if said.started else None,
                customers=said.customers,
                steps=said.steps,
                symptoms=said.symptoms,
            ),
            said.ref,
        )
        return await deliver_and_show(desk, office, incident.ref, as_json)


def check_customers(desk: DeskSystems, named: Sequence[str]) -> None:
    """UsageError for a customer that neither desk.toml nor allclear.toml names, if desk.toml names any."""
    clients = desk.desk.desk.clients
    known = sorted({*clients, *(a.name for a in desk.systems.settings.accounts)})
    strangers = [name for name in named if name not in known]
    if clients and strangers:
        raise UsageError(f"There is no customer {strangers[0]!r}.", f"Known customers: {', '.join(known)}.")


async def report(config: Path | None, ref: str, by: str, given: Reported, *, as_json: bool) -> int:
    """`allclear incident report` and `link`: one customer's report, without a ticket or with one that exists."""
    if not given.ref.strip():
        raise UsageError("A report needs a name of its own.", "Give --report; the same name again is the same report.")
    async with open_office(config, as_json) as (desk, office):
        rules.authorize(desk.desk, by, "link")
        check_customers(desk, (given.account,))
        now = desk.systems.clock.now()
        came = parse_moment(given.received, now) if given.received else now
        if came > now:
            raise UsageError("A report cannot come in in the future.", "Check --received and its zone.")
        named = Report(
            given.ref, given.account, given.customer, given.email, given.subject, given.text, came, given.ticket_ref
        )
        await office.step(ref, lambda i: [] if i.report(named.ref) else [rules.add_report(by, named, now)])
        return await deliver_and_show(desk, office, ref, as_json)


Decide = Callable[[DeskSystems, Incident, datetime], Sequence[Change]]


async def step(config: Path | None, ref: str, decide: Decide, *, as_json: bool, recorded: str = "") -> int:
    """Any step that a rule decides: severity, facts, triage, ETA, approval, confirmation, duties.

    `recorded` is said to a person once it is in the ledger, before the incident is shown.
    """
    async with open_office(config, as_json) as (desk, office):
        await office.step(ref, lambda i: decide(desk, i, desk.systems.clock.now()))
        if recorded and not as_json:
            say([f"Recorded: {recorded}"])
        return await deliver_and_show(desk, office, ref, as_json)


async def announce(config: Path | None, ref: str, phase: str, by: str, reason: str, *, as_json: bool) -> int:
    """`allclear incident announce`: fills the words of a phase, or of an update, for approval."""
    async with open_office(config, as_json) as (_desk, office):
        if phase == "update":
            words = await office.prepare_update(ref, by, reason)
        elif phase in PHASES:
            words = await office.prepare(ref, by, phase, reason)
        else:
            raise UsageError(f"{phase!r} is no phase.", f"Choose one of {', '.join(PHASES)}, update.")
        if as_json:
            view = {"incident": ref, "digest": words.digest, "title": words.title, "body": words.body}
            print_json({"schema": "allclear.announcement/1", **view, "exit_code": 3})
        else:
            print(f"{words.title}\n\n{words.body}\n")
            print("It goes out when a named person approves exactly these words:")
            print(f'  allclear incident approve {ref} {words.digest[:12]} --by "YOUR NAME"')
        return 3


def approving(by: str, digest: str) -> Decide:
    """The approval of the prepared words, named by the beginning of their digest."""

    def decide(desk: DeskSystems, incident: Incident, now: datetime) -> Sequence[Change]:
        full = named_digest(incident.draft.digest if incident.draft else "", digest)
        return [rules.approve_announcement(desk.desk, incident, by, now, full)]

    return decide


async def rca(
    config: Path | None, ref: str, by: str, said: RcaFacts, actions: Sequence[str], final: bool, *, as_json: bool
) -> int:
    """`allclear incident rca`: drafts the analysis from the ledger and from what is said."""
    said = replace(said, follow_ups=tuple(follow_up(text) for text in actions))
    async with open_office(config, as_json) as (desk, office):
        facts = await with_ledger(desk, ref, said)
        draft = await office.draft_rca(ref, by, facts, preliminary=not final)
        if as_json:
            print_json(
                {
                    "schema": "allclear.rca/1",
                    "incident": ref,
                    "digest": draft.digest,
                    "preliminary": draft.preliminary,
                    "title": draft.title,
                    "sections": {name: list(lines) for name, lines in draft.sections},
                    "customer": {"title": draft.customer.title, "body": draft.customer.body},
                    "unknown": list(draft.unknown),
                    "exit_code": 3,
                }
            )
            return 3
        print(draft.title)
        for name, lines in draft.sections:
            print(f"\n{name}")
            for line in lines:
                print(f"  {clean(line)}")
        print(f"\nFor customers:\n\n{draft.customer.text}\n")
        print(f'  allclear incident approve-rca {ref} {draft.digest[:12]} --by "YOUR NAME"')
        return 3


async def approve_rca(config: Path | None, ref: str, digest: str, by: str, *, as_json: bool) -> int:
    """`allclear incident approve-rca`."""
    async with open_office(config, as_json) as (desk, office):
        await office.approve_rca(ref, by, digest)
        return await deliver_and_show(desk, office, ref, as_json)


async def show(config: Path | None, ref: str, timeline: bool, *, as_json: bool) -> int:
    """`allclear incident show`; for people the timeline is shown in place of what is open."""
    async with open_office(config, as_json) as (desk, office):
        if not timeline or as_json:
            return await _show(desk, office, ref, (), as_json)
        for entry in (await office.incident(ref)).timeline:
            print(clean(f"{iso(entry.at)}  {entry.by}  {entry.kind.replace('_', ' ')}  {about(entry)}".rstrip()))
        return 0


async def clocks(config: Path | None, ref: str, *, as_json: bool) -> int:
    """`allclear incident clocks`: every promise, counting down."""
    async with open_office(config, as_json) as (_desk, office):
        rows = [
            {
                "clock": clock.name,
                "about": clock.about,
                "state": reading.state,
                "target": reading.target,
                "due_at": iso(reading.due_at) if reading.due_at else None,
                "reading": str(reading),
            }
            for clock, reading in await office.clocks(ref)
        ]
        late = any(r["state"] in ("overdue", "missed") for r in rows)
        if as_json:
            print_json({"schema": "allclear.clocks/1", "incident": ref, "clocks": rows, "exit_code": 1 if late else 0})
        else:
            for row in rows:
                print(clean(f"{row['clock']:<16} {row['about']:<20} {row['reading']}"))
        return 1 if late else 0


async def listing(config: Path | None, *, as_json: bool) -> int:
    """`allclear incident list`."""
    async with open_office(config, as_json) as (desk, office):
        found = await office.incidents()
        at_work = queue(desk.desk, [i for i in found if i.resolved_at is None])
        rows = [
            {
                "ref": i.ref,
                "severity": i.severity,
                "phase": i.phase,
                "title": i.title,
                "declared_at": iso(i.declared_at),
                "nature": i.nature,
                "impact": i.impact,
            }
            for i in (*at_work, *(i for i in found if i.resolved_at is not None))
        ]
        if as_json:
            print_json({"schema": "allclear.incidents/1", "incidents": rows, "exit_code": 0})
        else:
            for row in rows or [{}]:
                shown = (v if v is not None else "not announced" for v in row.values())
                print(clean("  ".join(str(v) for v in shown)) or "There is no incident.")
        return 0


async def tick(config: Path | None, *, as_json: bool) -> int:
    """`allclear incident tick`: clocks, expiries, updates and the outbox of every incident, once."""
    async with open_office(config, as_json) as (desk, _office):
        done = await desk_round(desk)
        rows = [{"incident": ref, **_told_view(t)} for ref, told in done.told.items() for t in told]
        failed = done.waiting
        if as_json:
            problems = list(done.problems)
            print_json(
                {"schema": "allclear.tick/1", "effects": rows, "problems": problems, "exit_code": 3 if failed else 0}
            )
        else:
            for row in rows:
                print(clean(f"{'done' if row['done'] else 'OPEN'}  {row['incident']}  {row['effect']}  {row['text']}"))
            for problem in done.problems:
                print(clean(f"OPEN  {problem}"))
        return 3 if failed else 0


async def promises(config: Path | None, days: float, *, as_json: bool) -> int:
    """`allclear incident sla`: promises kept and broken, per severity and client."""
    async with open_office(config, as_json) as (desk, office):
        now = desk.systems.clock.now()
        start = now - timedelta(days=days)
        rows = sla_report(desk.desk, await office.incidents(), start, now, now)
        if as_json:
            plain = [{k: str(v) if v is not None else None for k, v in asdict(r).items()} for r in rows]
            print_json({"schema": "allclear.sla/1", "rows": plain, "exit_code": 0})
        else:
            if not rows:
                print(f"No promise was due in the last {days:g} days.")
            for row in rows:
                kept = "-" if row.kept is None else f"{row.kept:.0%}"
                said = f"{row.met}/{row.total} met, {kept} kept"
                if row.target == MEASURED:
                    said = f"{row.total} measured, longest {row.longest}"
                print(clean(f"{row.severity:<16} {row.client:<16} {row.promise:<16} {said}"))
        return 0


async def deliver_and_show(desk: DeskSystems, office: IncidentOffice, ref: str, as_json: bool) -> int:
    """Performs what is due and shows the incident as it then stands."""
    told = await office.deliver(ref)
    return await _show(desk, office, ref, told, as_json)


async def _show(desk: DeskSystems, office: IncidentOffice, ref: str, told: Sequence[Told], as_json: bool) -> int:
    incident = await office.incident(ref)
    waiting = effects_for(incident, desk.systems.clock.now(), desk.desk)
    code = 3 if waiting else 0
    view = {
        "schema": "allclear.incident/1",
        "ref": incident.ref,
        "title": incident.title,
        "severity": incident.severity,
        "scope": incident.scope,
        "phase": incident.phase,
        "customers": list(incident.customers),
        "reports": [{"ref": r.ref, "account": r.account, "subject": r.subject} for r in incident.reports],
        "unlinked": list(unlinked(incident)),
        "delivered": {k: v.ref for k, v in incident.delivered.items()},
        "open": [{"effect": e.name, "reason": _why(incident, e.name)} for e in waiting],
        "p1_results": [
            {"event": r.event, "about": r.about, "result": r.result} for r in p1_results(desk.desk, incident)
        ],
        "replies": list(flagged_replies(incident)),
        "tasks": [{**asdict(t), "due_at": iso(t.due_at) if t.due_at else None} for t in tasks_for(desk.desk, incident)],
        "done_now": [_told_view(t) for t in told],
        "timeline": [{"at": iso(e.at), "by": e.by, "what": e.kind, "about": about(e)} for e in incident.timeline],
        "exit_code": code,
    }
    if as_json:
        print_json(view)
    else:
        print("\n".join(clean(line) for line in _lines(view)))
    return code


def _why(incident: Incident, name: str) -> str:
    failure = incident.failures.get(name)
    return failure.reason if failure else "not tried yet"


def _told_view(told: Told) -> View:
    return {"effect": told.name, "done": told.done, "ref": told.ref, "text": told.text}


def _lines(view: View) -> list[str]:
    lines = [f"{view['ref']}  {view['severity']}  {view['phase'] or 'not announced'}  {view['title']}"]
    lines += [f"  done     {name} {ref}".rstrip() for name, ref in view["delivered"].items()]
    lines += [f"  OPEN     {row['effect']}: {row['reason']}" for row in view["open"]]
    lines += [f"  REPLIED  {name}: the customer wrote again and has no answer yet" for name in view["replies"]]
    lines += [f"  unlinked {name}" for name in view["unlinked"]]
    return [*lines, *(line for task in view["tasks"] for line in _task_lines(task))]


def _task_lines(task: View) -> list[str]:
    """A task with what a person needs for it: its name for `update --task`, the place, and the text to copy."""
    due = f", due {task['due_at']}" if task["due_at"] else ""
    lines = [f"  task     {task['title']}{due}  [{task['ref']}]"]
    lines += [f"             {task['link']}"] if task["link"] else []
    return lines + [f"             | {line}" for line in task["text"].splitlines()]


def _severity(word: str) -> Severity:
    return cast(Severity, _one_of("severity", word, SEVERITIES))


def _one_of(what: str, word: str, known: Sequence[str]) -> str:
    if word not in known:
        raise UsageError(f"{word!r} is no {what}.", f"Choose one of {', '.join(known)}.")
    return word


def follow_up(text: str) -> FollowUp:
    """ "what; owner; 2026-11-30; OPS-1" as an action; what is left out stays open."""
    from datetime import date

    what, owner, due, ticket = ([p.strip() for p in text.split(";")] + ["", "", "", ""])[:4]
    try:
        return FollowUp(what, owner, date.fromisoformat(due) if due else None, ticket)
    except ValueError:
        raise UsageError(f"{due!r} is no date.", "Write an action as: what; owner; 2026-11-30; TICKET-1") from None
