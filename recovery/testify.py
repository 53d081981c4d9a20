"""What each witness's record says about one slot. Pure: records and times in, testimonies out.

Status numbers: 0 draft, 1 scheduled, 2 sending, 3 paused, 4 stopped, 5 completed, 6 disabled; anything else is unknown
and never acted on (prospect2-tessitura.md, 2.3). Opens and clicks prove nothing; only the send counters do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from recovery.model import Facts, Saw, Slot, Testimony, iso
from recovery.policy import Waits
from recovery.ports import Campaign, CampaignReport, Definition, Run, RunLog

CAMPAIGN_STATUS = "campaign-status"
CAMPAIGN_REPORT = "campaign-report"
ACTIVITY_LOG = "activity-log"
CONSOLE = "console"
TESSITURA_LIST = "tessitura-list"
LEDGER = "ledger"
MARKER = "marker"

STATUS_WORDS = {
    "0": "draft",
    "1": "scheduled",
    "2": "sending",
    "3": "paused",
    "4": "stopped",
    "5": "completed",
    "6": "disabled",
}
LIVE = frozenset({"1", "2"})
"""Statuses of a campaign that is about to go or is going."""
STOPPED_STATUSES = frozenset({"3", "4", "6"})
IN_PROGRESS_STATES = frozenset({"queued", "running", "stop_requested"})
_RUN_SAW = {
    "succeeded": Saw.WORKED,
    "failed": Saw.FAILED,
    "partial_error": Saw.PARTIAL,
    "queued": Saw.RUNNING,
    "running": Saw.RUNNING,
    "stop_requested": Saw.RUNNING,
    "stopped": Saw.STOPPED,
}
TOLERANCE = timedelta(minutes=1)
"""So far from its due time a run may say it was, and still be the slot's: clocks differ, and times are rounded."""
USUAL_LAG = timedelta(minutes=30)
"""So far a log may lag behind and still prove an absence in a window that ended just now."""
BY_HAND = frozenset({"user", "run_now", "repeat", "reprocess", "import"})


def unreadable(witness: str, observed_at: datetime, reason: str) -> Testimony:
    """A witness that could not be heard; never evidence of anything."""
    return Testimony(witness, Saw.UNREADABLE, observed_at, complete=False, detail=reason)


def campaign_status(campaign: Campaign, observed_at: datetime, waits: Waits) -> Testimony:
    """What the campaigns page says (R001.4, R001.5); a row that cannot be read says nothing."""
    if campaign.problem:
        return unreadable(CAMPAIGN_STATUS, observed_at, campaign.problem)
    word = STATUS_WORDS.get(campaign.status, f"status {campaign.status}")
    untimed = ", and it names no send time" if campaign.sdate is None else ""
    detail = f"{word}, {campaign.send_amt} of {campaign.total_amt} sent{untimed}"
    facts: Facts = {
        "status": campaign.status,
        "send_amt": campaign.send_amt,
        "total_amt": campaign.total_amt,
        "type": campaign.type,
        "series": campaign.series_ref,
        "modified_at": campaign.modified_at.isoformat() if campaign.modified_at else None,
    }
    saw = _campaign_saw(campaign, observed_at, waits)
    return Testimony(CAMPAIGN_STATUS, saw, observed_at, True, detail, facts, campaign.digest)


def _campaign_saw(campaign: Campaign, observed_at: datetime, waits: Waits) -> Saw:
    if campaign.status not in STATUS_WORDS:
        return Saw.UNKNOWN
    if campaign.status in STOPPED_STATUSES:
        return Saw.PAUSED if campaign.status == "3" else Saw.STOPPED
    if 0 < campaign.send_amt < campaign.total_amt:
        return Saw.PARTIAL
    if campaign.status == "1" and campaign.sdate is not None and campaign.sdate > observed_at:
        return Saw.WAITING
    if campaign.send_amt > 0:
        return Saw.WORKED if campaign.status in {"2", "5"} else Saw.UNKNOWN
    if campaign.sdate is None:  # nothing was sent, and nobody can say that it should have been by now
        return Saw.UNKNOWN
    late = observed_at - campaign.sdate > timedelta(seconds=waits.grace)
    return Saw.NOTHING if late or campaign.status == "5" else Saw.WAITING


def campaign_report(report: CampaignReport, listed: Campaign, observed_at: datetime) -> Testimony:
    """What the campaign's report says, read after the list (R001.4, R001.6).

    A moving counter means "still sending"; opens or a sending time beside a send counter of zero are no clear word.
    """
    facts: Facts = {"send_amt": report.send_amt, "total_amt": report.total_amt, "has_data": report.has_data}
    detail = f"report: {report.send_amt} of {report.total_amt} sent" if report.has_data else "report: no data"
    if report.send_amt > listed.send_amt and report.status == "2":
        saw = Saw.RUNNING
    elif 0 < report.send_amt < report.total_amt:
        saw = Saw.PARTIAL
    elif report.send_amt > 0:
        saw = Saw.WORKED
    else:
        saw = Saw.UNKNOWN if report.has_data else Saw.NOTHING
    return Testimony(CAMPAIGN_REPORT, saw, observed_at, True, detail, facts, report.digest)


def definition_facts(definition: Definition) -> Facts:
    """How a job is set up: what an approval of it is for."""
    return {
        "list": definition.list_ref,
        "list_name": definition.list_name,
        "tags": list(definition.tags),
        "sync_mode": definition.sync_mode,
        "automation": definition.automation_ref,
        "trigger_type": definition.trigger_type,
        "active": definition.scheduled.active and definition.scheduled.paused_at is None,
    }


def moment_of(run: Run) -> datetime | None:
    """When a run was: what it was scheduled for, else its start, else its end; None where its row names no time."""
    return run.scheduled_for or run.started_at or run.ended_at


def runs_of(
    slot: Slot, runs: Iterable[Run], next_due: datetime | None, previous_due: datetime | None = None
) -> tuple[Run, ...]:
    """The scheduled runs that belong to a slot; each run belongs to one slot at most.

    A run was scheduled for the slot or, where its row does not say, began (failing that, ended) in [due, next due).
    Clocks differ: up to a minute off is still the slot's, unless another due time is nearer.
    """
    mine = []
    for run in runs:
        moment = moment_of(run)
        if moment is None or run.definition_ref != slot.object_ref or run.requested_by in BY_HAND:
            continue
        near = _is_near(moment, slot.due_at, previous_due, next_due)
        if near or (run.scheduled_for is None and _in_its_time(moment, slot.due_at, next_due)):
            mine.append(run)
    return tuple(mine)


def _is_near(moment: datetime, due: datetime, *neighbours: datetime | None) -> bool:
    """Whether the moment is the due time within the tolerance; one in the middle belongs to the earlier of two."""
    off = abs(moment - due)
    return off < TOLERANCE and all((off, due) <= (abs(moment - d), d) for d in neighbours if d is not None)


def _in_its_time(moment: datetime, due: datetime, next_due: datetime | None) -> bool:
    return moment >= due and (next_due is None or (moment < next_due and not _is_near(moment, next_due, due)))


def made_up_for(slot: Slot, known: Sequence[Run], runs: Iterable[Run]) -> tuple[Run, ...]:
    """Later runs by hand of the same definition: begun (failing that, ended) after the slot was due, or still to."""
    refs = {r.ref for r in known}
    return tuple(
        r
        for r in runs
        if r.definition_ref == slot.object_ref
        and r.requested_by in BY_HAND
        and r.ref not in refs
        and is_since(r, slot.due_at)
    )


def is_since(run: Run, due: datetime) -> bool:
    """Whether a run by hand is known to be later than a due time: by its times, or because it is under way."""
    moment = run.started_at or run.ended_at
    return run.state in IN_PROGRESS_STATES if moment is None else moment >= due


def is_placeless(run: Run) -> bool:
    """Whether a run has ended and nothing tells when it was, so that it may have been any slot's."""
    if run.requested_by in BY_HAND:  # what it repeats was scheduled for a time that says nothing of its own
        return run.started_at is None and run.ended_at is None and run.state not in IN_PROGRESS_STATES
    return moment_of(run) is None and run.state not in IN_PROGRESS_STATES


def log_testimony(
    witness: str,
    slot: Slot,
    log: RunLog,
    next_due: datetime | None,
    waits: Waits,
    own: Sequence[Run] | None = None,
    *,
    until: datetime,
    previous_due: datetime | None = None,
) -> Testimony:
    """What the Activity Log or the Console says about a slot (R001.16, R001.20).

    `until` is the end of the outage window: a log that was read before it, or is not complete up to it (up to half an
    hour before the reading, where it ended later), proves no absence. `own` are the log's runs of the slot's
    definition, for callers that ask about many slots of one log.
    """
    about = [r for r in (log.runs if own is None else own) if r.definition_ref == slot.object_ref]
    mine = runs_of(slot, about, next_due, previous_due)
    by_hand = made_up_for(slot, mine, about)
    # Under way since nobody knows when: it may be the slot's run, begun late.
    timeless = [r for r in about if moment_of(r) is None and r.requested_by not in BY_HAND]
    waiting = [r for r in timeless if r.state in IN_PROGRESS_STATES]
    lost = [r for r in about if is_placeless(r)]
    if mine:
        heard = run_testimony(witness, mine, by_hand, log.read_at, log.complete)
    elif waiting and not any(run_saw(r) is Saw.WORKED for r in by_hand):
        heard = run_testimony(witness, waiting, (), log.read_at, log.complete)
    elif by_hand:
        heard = run_testimony(witness, by_hand, by_hand, log.read_at, log.complete, by_hand=True)
        if not log.complete and heard.saw is not Saw.WORKED:  # the slot's own run may stand in what was not read
            return replace(heard, saw=Saw.UNKNOWN, detail=f"{heard.detail}; but the log was not read whole")
    else:
        why = _why_no_proof(witness, slot, log, waits, until, lost)
        digest = log.digests[0] if log.digests else ""
        return Testimony(witness, Saw.NOTHING, log.read_at, not why, why or "no run", {}, digest)
    if lost and heard.saw is not Saw.WORKED:
        return replace(heard, saw=Saw.UNKNOWN, detail=f"{heard.detail}; but {_when_was(lost[0])}")
    return heard


def _when_was(run: Run) -> str:
    return f"when run {run.ref} ({run.requested_by}, {run.state}) was is not known"


def _why_no_proof(witness: str, slot: Slot, log: RunLog, waits: Waits, until: datetime, lost: Sequence[Run]) -> str:
    """Why "no run" may not be believed; "" for a log that was read to its end after the window, covers the slot and
    the window, shows something newer than the slot and places every run (invariant 1)."""
    if not log.complete:
        return f"no run, but the log was not read whole: {log.problem}"
    if lost:
        return f"no run, but {_when_was(lost[0])}"
    if log.read_at < until:
        return "no run, but the log was read before the end of the window"
    hole = "" if witness == CONSOLE else _hole(slot, log, waits, until)
    return f"no run, but the log {hole}" if hole else ""


def _hole(slot: Slot, log: RunLog, waits: Waits, until: datetime) -> str:
    if log.covers_from is None or log.covers_from > slot.due_at:
        return "does not reach back to the slot"
    if log.covers_to is not None and log.covers_to < slot.due_at + timedelta(seconds=waits.grace):
        return "is not yet complete for the slot"
    if log.covers_to is not None and log.covers_to < min(until, log.read_at - USUAL_LAG):
        return f"is complete until {iso(log.covers_to)} only, and the window ends later"
    if not any(newest > slot.due_at for run in log.runs if (newest := _newest(run)) is not None):
        return "shows nothing newer than the slot"
    return ""


def _newest(run: Run) -> datetime | None:
    return max((t for t in (run.scheduled_for, run.started_at, run.ended_at) if t is not None), default=None)


def run_testimony(
    witness: str,
    mine: Sequence[Run],
    repeats: Sequence[Run],
    observed_at: datetime,
    complete: bool,
    by_hand: bool = False,
) -> Testimony:
    """A slot's runs in one testimony: a success by hand settles a failure, one under way may yet; else the newest.

    A failure after a run that served some, or may have, is no failure of the slot: repeating it would serve those again
    (prospect2-tessitura.md 4.1: `partial_error` is never reprocessed by itself).
    """
    best = next((r for r in repeats if run_saw(r) is Saw.WORKED), None)
    going = next((r for r in repeats if r.state in IN_PROGRESS_STATES), None)
    newest = max(repeats or mine, key=lambda r: _newest(r) or observed_at)
    if run_saw(newest) is Saw.FAILED:
        seen = {run_saw(r): r for r in (*mine, *repeats)}
        newest = seen.get(Saw.PARTIAL) or seen.get(Saw.UNKNOWN) or newest
    run = best or going or newest
    facts: Facts = {
        "run": run.ref,
        "state": run.state,
        "requested_by": run.requested_by,
        "started_at": run.started_at.isoformat() if run.started_at else None,
        "scheduled_for": run.scheduled_for.isoformat() if run.scheduled_for else None,
        "returned": run.returned,
        "updated": run.updated,
        "errored": run.errored,
        "by_hand": by_hand or best is not None or bool(repeats),
    }
    detail = f"run {run.ref} {run.state}" + "".join(f", {words}" for words in counts_of(run))
    return Testimony(witness, run_saw(run), observed_at, complete, detail, facts, run.digest)


def counts_of(run: Run) -> tuple[str, ...]:
    """What a run's counts say, in words; counts that its row does not name are left out."""
    of = "" if run.returned is None else f" of {run.returned}"
    updated = () if run.updated is None else (f"{run.updated}{of} updated",)
    return (*updated, *(() if run.errored is None else (f"{run.errored} errors",)))


def run_saw(run: Run) -> Saw:
    """The run's state as what was seen; counts may make a "succeeded" doubtful (R001.17)."""
    saw = _RUN_SAW.get(run.state, Saw.UNKNOWN)
    if saw is Saw.WORKED and run.errored:
        return Saw.PARTIAL
    if saw is Saw.WORKED and run.returned and run.updated == 0:
        return Saw.UNKNOWN
    return saw


def list_testimony(missing: int, extra: int, observed_at: datetime, detail: str, digest: str = "") -> Testimony:
    """Whether the stored list and the sync tag's members agree (R001.25 to R001.29)."""
    saw = Saw.GAP if missing or extra else Saw.WORKED
    return Testimony(TESSITURA_LIST, saw, observed_at, True, detail, {"missing": missing, "extra": extra}, digest)
