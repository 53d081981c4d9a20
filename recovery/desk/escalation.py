"""Paging's chain with its minutes, and what a P1 sets off all together, each with its result. Pure.

The pager rings people; this says who should have been reached by now (R003.22) and shows that everything a P1 sets off
was set off (R003.16).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from recovery.desk.incident import Delivery, Failure, Incident
from recovery.desk.settings import DeskSettings, P1Event

Result = Literal["done", "pending", "failing", "refused"]


@dataclass(frozen=True, slots=True)
class ChainStep:
    """One step of the chain. `reached` is whether its minutes passed before anybody acknowledged."""

    number: int
    who: str
    channel: str
    due_at: datetime
    reached: bool


@dataclass(frozen=True, slots=True)
class P1Result:
    """One of the things a P1 sets off, and what came of it."""

    event: P1Event
    about: str
    result: Result
    detail: str


def paged_at(incident: Incident) -> datetime | None:
    """When the present opening was paged; None while it is not."""
    page = incident.delivered.get(f"page/pagerduty/{incident.ref}@page-{incident.generation}")
    return page.at if page else None


def chain(settings: DeskSettings, incident: Incident, now: datetime) -> tuple[ChainStep, ...]:
    """The chain's steps with their times; empty while nobody was paged."""
    start = paged_at(incident)
    if start is None:
        return ()
    answered = incident.page_acknowledged.at if incident.page_acknowledged else incident.resolved_at
    limit = min(now, answered or now)
    steps = []
    for number, link in enumerate(settings.desk.on_call, 1):
        due = start + timedelta(minutes=link.after_minutes)
        reached = due < limit or (due == limit and answered is None)
        steps.append(ChainStep(number, link.who, link.channel, due, reached))
    return tuple(steps)


def time_to_acknowledge(incident: Incident) -> timedelta | None:
    """From the page to its acknowledgement (R003.20)."""
    start = paged_at(incident)
    return incident.page_acknowledged.at - start if start and incident.page_acknowledged else None


def p1_results(settings: DeskSettings, incident: Incident) -> tuple[P1Result, ...]:
    """Every event a P1 sets off, in the set order, with its result; several lines for several clients (R003.16)."""
    if incident.severity != "P1":
        return ()
    effects: dict[P1Event, tuple[str, ...]] = {
        "page": (f"page/pagerduty/{incident.ref}@page-0",),
        "channel": (f"chat/slack/{incident.ref}@declared",),
        "ticket": (f"ticket/jira/{incident.ref}@incident",),
        "client_notice": tuple(f"mail/smtp/{incident.ref}/notice/{a}@p1" for a in noticed_clients(settings, incident)),
    }
    results: list[P1Result] = []
    for event in settings.desk.p1_events:
        if event == "log":
            results.append(P1Result("log", incident.ref, "done", f"{incident.seq} events"))
        names = effects.get(event, ())
        results += [_result(event, n, incident.delivered.get(n), incident.failures.get(n)) for n in names]
    return tuple(results)


def noticed_clients(settings: DeskSettings, incident: Incident) -> tuple[str, ...]:
    """Affected clients that have a contact for notices."""
    clients = settings.desk.clients
    accounts = tuple(clients) if incident.scope == "entire" else incident.customers
    return tuple(a for a in accounts if a in clients and clients[a].notice_to)


def _result(event: P1Event, name: str, done: Delivery | None, failed: Failure | None) -> P1Result:
    if done is not None:
        return P1Result(event, name, "done", done.ref)
    if failed is not None:
        return P1Result(event, name, "refused" if failed.final else "failing", failed.reason)
    return P1Result(event, name, "pending", "")
