"""The incident desk for the Prefect UI: forms in, pages out. The same steps as at the terminal, on the same ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from recovery.desk import rules
from recovery.desk.announce import Words
from recovery.desk.incident import SHORTEST_DIGEST, Incident
from recovery.desk.office import IncidentOffice
from recovery.desk.outbox import effects_for
from recovery.desk.perform import Told
from recovery.desk.round import DeskRound, desk_round
from recovery.desk_wiring import has_desk, open_desk_systems
from recovery.errors import AllclearError, UsageError
from recovery.happening import Happening
from recovery.model import digest_of
from recovery.operate import EXIT_ALL_CLEAR, EXIT_FAILED, EXIT_HELD, watch_round
from recovery.ports import Tell
from recovery.report.markdown import code, prose, table
from recovery.served.desk_forms import AnnounceForm, RoundForm
from recovery.served.pages import Page, Rows
from recovery.settings import load_settings
from recovery.views import watch_view
from recovery.watch import Round
from recovery.wiring import open_systems, silent

# ---- a round of watching -------------------------------------------------------------------------------------------


async def serve_round(form: RoundForm, tell: Tell = silent) -> Page:
    """One round of the desk and one look for late originals; neither keeps the other from its turn.

    Raises ConfigError and LedgerError when both parts failed; when one did, it is on the page, which is then a failure.
    """
    settings, failed = load_settings(form.config), []
    desk: DeskRound | None = None
    seen: Round | None = None
    alarms: set[str] = set()

    def hear(what: str, facts: Mapping[str, object]) -> None:
        if what == "alarm":
            alarms.add(str(facts["text"]))
        tell(what, facts)

    if form.desk and has_desk(settings):
        try:
            async with open_desk_systems(settings, tell=tell) as opened:
                desk = await desk_round(opened)
        except AllclearError as error:
            failed.append(error)
    if form.originals:
        try:
            async with open_systems(settings, tell=hear) as systems:
                seen = await watch_round(systems)
        except AllclearError as error:
            failed.append(error)
    if failed and desk is None and seen is None:
        raise failed[0]
    return round_page(desk, seen, alarms, [str(error) for error in failed])


def round_page(desk: DeskRound | None, seen: Round | None, alarms: set[str], failed: Sequence[str]) -> Page:
    """What a round did and found: deliveries done and open, originals that moved, and what could not be read."""
    rows = _delivery_rows(desk.told) if desk else []
    view: dict[str, Any] = watch_view(seen) if seen else {"sightings": [], "unsettled": [], "problems": []}
    rows += [
        {"what": s["key"], "state": "MOVED", "about": f"{s['overlap_least']} to {s['overlap_most']} reached twice"}
        for s in view["sightings"]
    ]
    rows += [{"what": key, "state": "unsettled", "about": ""} for key in view["unsettled"]]
    problems = [*failed, *(desk.problems if desk else ()), *view["problems"]]
    moved, waiting = len(view["sightings"]), sum(r["state"] not in ("done", "MOVED") for r in rows)
    done = sum(r["state"] == "done" for r in rows)
    title = f"Round: {done} delivered, {waiting} open, {moved} originals moved, {len(problems)} problems"
    exit_code = EXIT_FAILED if failed or moved else EXIT_HELD if waiting or problems else EXIT_ALL_CLEAR
    state = {EXIT_FAILED: "Failed", EXIT_HELD: "Held"}.get(exit_code, "All clear")
    told = desk.happenings if desk else ()
    text = [f"# {title}", *_listed("Problems", [code(p, 600) for p in problems])]
    text += _listed("Delivered and open", [f"**{r['state']}** {code(r['what'])} {code(r['about'], 600)}" for r in rows])
    text += _listed("New", [f"{prose(h.event)} {code(h.payload['incident'])} {_facts(h)}" for h in told])
    return Page(
        "watch",
        title,
        state,
        exit_code,
        rows or [{"result": "nothing was due"}],
        "\n\n".join(text),
        happenings=(*told, *_moved(seen, alarms)),
    )


def _delivery_rows(told: Mapping[str, Sequence[Told]]) -> Rows:
    return [
        {"what": f"{ref} {one.name}", "state": "done" if one.done else "open", "about": one.ref or one.text}
        for ref, several in told.items()
        for one in several
    ]


def _facts(told: Happening) -> str:
    return code(", ".join(f"{k}: {v}" for k, v in told.payload.items() if k != "incident"), 600)


def _moved(seen: Round | None, alarms: set[str]) -> tuple[Happening, ...]:
    """Originals that moved, told when they are first seen: later rounds see them again and stay quiet."""
    return tuple(
        Happening(
            "allclear.original.moved",
            f"allclear.item.{digest_of([s.slot_key])[:24]}",
            {"item": s.slot_key, "overlap_least": s.least, "overlap_most": s.most},
            f"{s.slot_key}\n{s.text}",
        )
        for s in (seen.sightings if seen else ())
        if f"{s.slot_key}: {s.text}" in alarms
    )


# ---- announcements -------------------------------------------------------------------------------------------------


async def serve_announcement(form: AnnounceForm, tell: Tell = silent) -> Page:
    """Takes one step of an announcement and shows what follows.

    Raises UsageError for an unknown incident or a missing name, RefusedError when a rule forbids the step.
    """
    if form.step != "show" and not form.by:
        raise UsageError("Who does this? Every step is recorded with a name.", "Fill in your name.")
    async with open_desk_systems(load_settings(form.config), tell=tell) as desk:
        office = IncidentOffice(desk.outbox(), desk.desk)
        await _STEPS[form.step](office, form)
        if form.step in ("approve", "confirm"):
            await office.deliver(form.incident)
        incident = await office.incident(form.incident)
        return announcement_page(office, incident)


async def _prepare(office: IncidentOffice, form: AnnounceForm) -> object:
    return await office.prepare(form.incident, form.by, form.phase, form.text)


async def _update(office: IncidentOffice, form: AnnounceForm) -> object:
    return await office.prepare_update(form.incident, form.by, form.text)


async def _approve(office: IncidentOffice, form: AnnounceForm) -> object:
    if len(form.digest) < SHORTEST_DIGEST:
        raise UsageError("Which words are approved?", "Give the digest that the prepared page shows.")
    return await office.approve(form.incident, form.by, form.digest)


async def _eta(office: IncidentOffice, form: AnnounceForm) -> object:
    now = office.clock.now()
    return await office.step(form.incident, lambda _: [rules.give_eta(office.settings, form.by, now, form.text)])


async def _confirm(office: IncidentOffice, form: AnnounceForm) -> object:
    now, words = office.clock.now(), form.text or "resolved"
    return await office.step(form.incident, lambda _: [rules.confirm_resolved(office.settings, form.by, now, words)])


async def _show(office: IncidentOffice, form: AnnounceForm) -> object:
    return await office.incident(form.incident)


_STEPS: Mapping[str, Callable[[IncidentOffice, AnnounceForm], Awaitable[object]]] = {
    "show": _show,
    "eta": _eta,
    "prepare": _prepare,
    "update": _update,
    "approve": _approve,
    "confirm": _confirm,
}


def announcement_page(office: IncidentOffice, incident: Incident) -> Page:
    """The words that wait for approval; without any, how the last announcement stands at every desk."""
    if incident.draft is not None:
        words = Words(incident.draft.title, incident.draft.body)
        phase = "update" if incident.draft.update else incident.draft.phase
        title = f"Announcement of {incident.ref}: {phase} prepared, waits for approval"
        ready = {"incident": incident.ref, "severity": incident.severity, "phase": phase, "digest": words.digest}
        about = f"{incident.ref}\n{len(incident.posts)}\n{words.digest}"
        event = "allclear.announcement.ready"
        told = Happening(event, f"allclear.incident.{incident.ref}", ready, about)
        rows: Rows = [{"line": line} for line in (words.title, *words.body.splitlines())]
        how = f"To send exactly this: step `approve`, digest {code(words.digest[:12])}"
        text = "\n\n".join([f"# {title}", *(code(line, 2000) for line in words.text.splitlines() if line), how])
        return Page("announcement", title, "Awaiting approval", EXIT_HELD, rows, text, words.digest, happenings=(told,))
    waiting = effects_for(incident, office.clock.now(), office.settings)
    title = f"Announcement of {incident.ref}: {incident.phase or 'not announced'}, {len(waiting)} deliveries open"
    found = _standing(incident, [e.name for e in waiting])
    text = f"# {title}\n\n" + table(
        ("Delivery", "State", "Where, or why not"),
        [(code(r["what"]), r["state"], code(r["about"], 600)) for r in found],
    )
    exit_code = EXIT_HELD if waiting else EXIT_ALL_CLEAR
    return Page("announcement", title, "Held" if waiting else "All clear", exit_code, found, text)


def _standing(incident: Incident, waiting: Sequence[str]) -> Rows:
    rows: list[dict[str, Any]] = [
        {"what": name, "state": "open", "about": f.reason if (f := incident.failures.get(name)) else "not tried yet"}
        for name in waiting
    ]
    rows += [{"what": name, "state": "done", "about": done.ref} for name, done in incident.delivered.items()]
    return rows or [{"what": "nothing yet", "state": "-", "about": ""}]


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "\n".join(f"- {line}" for line in lines)] if lines else []
