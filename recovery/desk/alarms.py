"""What people must be told now: clocks near their end, overdue updates, a notice still up, failing effects. Pure.

Each alarm is raised once, as an `alarm_raised` event; the outbox then carries it to the alarms channel.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from recovery.desk import clocks, escalation, outbox, tasks
from recovery.desk.incident import MACHINE, Change, Incident
from recovery.desk.settings import DeskSettings
from recovery.model import iso

TRIES_BEFORE_ALARM = 3


def alarms_due(settings: DeskSettings, incident: Incident, now: datetime) -> tuple[Change, ...]:
    """The alarms that are due by `now` and not raised yet, as events to append."""
    found = (
        *_clock_alarms(settings, incident, now),
        *_update_alarms(settings, incident, now),
        *_expiry_alarms(settings, incident, now),
        *_confirmed_alarms(incident),
        *_effect_alarms(incident),
        *_chain_alarms(settings, incident, now),
    )
    return tuple(
        Change("alarm_raised", MACHINE, now, {"alarm": name, "text": text, "breach": name.startswith("breach/")})
        for name, text in found
        if name not in incident.told
    )


def next_update_at(settings: DeskSettings, incident: Incident) -> datetime | None:
    """When customers are to hear from us again (R002.13); None when nothing is announced or it is resolved."""
    if not incident.posts or incident.phase == "resolved":
        return None
    return incident.posts[-1].at + timedelta(minutes=settings.desk.announcements.update_minutes)


def _clock_alarms(settings: DeskSettings, incident: Incident, now: datetime) -> Iterator[tuple[str, str]]:
    for stone in clocks.alarms_reached(settings, incident, now):
        clock = stone.clock
        where = f"{clock.name} for {clock.about}"
        name = f"{clock.name}/{clock.about}/{clock.target}"
        if stone.breach:
            yield f"breach/{name}", f"Promise broken: {where}, {clock.target}, was due {iso(stone.at)}."
        else:
            yield f"warning-{stone.share:g}/{name}", f"{stone.share:.0%} used: {where}, {clock.target}."


def _update_alarms(settings: DeskSettings, incident: Incident, now: datetime) -> Iterator[tuple[str, str]]:
    due = next_update_at(settings, incident)
    if due is not None and now >= due:
        yield f"update-after-post-{incident.posts[-1].n}", f"The regular update to customers was due {iso(due)}."


def _expiry_alarms(settings: DeskSettings, incident: Incident, now: datetime) -> Iterator[tuple[str, str]]:
    """The notice that is to come down: by us, or by a person who has not said that it is done (R002.26, R002.31)."""
    post = outbox.last_phase_post(incident)
    if post is None:
        return
    grace, alarm = timedelta(minutes=settings.desk.announcements.expiry_grace_minutes), f"expiry-post-{post.n}"
    due = outbox.expires_at(incident, settings)
    down = f"withdraw/pendo/{incident.ref}/{post.phase}@expiry-post-{post.n}"
    if due is not None and down not in incident.delivered and now >= due + grace:
        yield alarm, f"The resolved notice should have come down at {iso(due)} and is still up."
    for task in tasks.tasks_for(settings, incident):
        if task.due_at is not None and now >= task.due_at + grace:
            yield alarm, f"{task.title}: it was due at {iso(task.due_at)}, and nobody has said that it is done."


def _confirmed_alarms(incident: Incident) -> Iterator[tuple[str, str]]:
    """Whoever speaks to customers hears of Engineering's word at once, for they are to hear of it at once (R002.14)."""
    if tasks.to_be_told(incident) and incident.confirmed is not None:
        by = incident.confirmed.by
        yield f"confirmed-{incident.generation}", f"{by} has confirmed that it is resolved: tell every customer now."


def _effect_alarms(incident: Incident) -> Iterator[tuple[str, str]]:
    for name, failure in incident.failures.items():
        if "@alarm/" in name:
            continue  # an alarm about an alarm that cannot be told would never end
        if failure.final:
            yield f"refused/{name}", f"{name} was refused for good: {failure.reason}"
        elif failure.tries >= TRIES_BEFORE_ALARM:
            yield (
                f"failing/{name}",
                f"{name} has failed {failure.tries} times and is still being tried: {failure.reason}",
            )


def _chain_alarms(settings: DeskSettings, incident: Incident, now: datetime) -> Iterator[tuple[str, str]]:
    for step in escalation.chain(settings, incident, now):
        if step.reached and step.number > 1:
            yield (
                f"on-call-{incident.generation}-{step.number}",
                f"No answer to the page yet: {step.who}, {step.channel}.",
            )
