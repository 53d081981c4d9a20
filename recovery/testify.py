"""What each witness's record says about one slot. Pure: records and times in, testimonies out.

Status numbers: 0 draft, 1 scheduled, 2 sending, 3 paused, 4 stopped, 5 completed, 6 disabled; anything else is unknown
and never acted on (prospect2-tessitura.md, 2.3). Opens and clicks prove nothing; only the send counters do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from recovery.model import Facts, Saw, Slot, Testimony
from recovery.policy import Waits
from recovery.ports import Campaign, CampaignReport, Run, RunLog

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
BY_HAND = frozenset({"user", "run_now", "repeat", "reprocess", "import"})


def unreadable(witness: str, observed_at: datetime, reason: str) -> Testimony:
    """A witness that could not be heard; never evidence of anything."""
    return Testimony(witness, Saw.UNREADABLE, observed_at, complete=False, detail=reason)


def campaign_status(campaign: Campaign, observed_at: datetime, waits: Waits) -> Testimony:
    """What the campaigns page says (R001.4, R001.5); a row that cannot be read says nothing."""
    if campaign.problem:
        return unreadable(CAMPAIGN_STATUS, observed_at, campaign.problem)
    word = STATUS_WORDS.get(campaign.status, f"status {campaign.status}")
    detail = f"{word}, {campaign.send_amt} of {campaign.total_amt} sent"
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
    late = campaign.sdate is None or observed_at - campaign.sdate > timedelta(seconds=waits.grace)
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


def runs_of(slot: Slot, runs: Iterable[Run], next_due: datetime | None) -> tuple[Run, ...]:
    """The runs that belong to a slot: scheduled for it, or (when the log does not say) started in [due, next due)."""
    mine = []
    for run in runs:
        if run.definition_ref != slot.object_ref or run.requested_by in BY_HAND:
            continue
        if run.scheduled_for is not None:
            if abs((run.scheduled_for - slot.due_at).total_seconds()) < 60:
                mine.append(run)
        elif (
            run.started_at is not None
            and run.started_at >= slot.due_at
            and (next_due is None or run.started_at < next_due)
        ):
            mine.append(run)
    return tuple(mine)


def made_up_for(slot: Slot, known: Sequence[Run], runs: Iterable[Run]) -> tuple[Run, ...]:
    """Later runs by hand of the same definition: started, or still to start, after the slot was due."""
    refs = {r.ref for r in known}
    return tuple(
        r
        for r in runs
        if r.definition_ref == slot.object_ref
        and r.requested_by in BY_HAND
        and r.ref not in refs
        and (r.started_at is None or r.started_at >= slot.due_at)
    )


def log_testimony(
    witness: str,
    slot: Slot,
    log: RunLog,
    next_due: datetime | None,
    waits: Waits,
    own: Sequence[Run] | None = None,
) -> Testimony:
    """What the Activity Log or the Console says about a slot (R001.16, R001.20).

    `own` are the log's runs of the slot's definition, for callers that ask about many slots of one log.
    """
    about = log.runs if own is None else own
    mine = runs_of(slot, about, next_due)
    if mine:
        return run_testimony(witness, mine, made_up_for(slot, mine, about), log.read_at, log.complete)
    by_hand = made_up_for(slot, (), about)
    if by_hand:
        return run_testimony(witness, by_hand, (), log.read_at, log.complete, by_hand=True)
    whole, why = _reads_whole(witness, slot, log, waits)
    return Testimony(
        witness, Saw.NOTHING, log.read_at, whole, why or "no run", {}, log.digests[0] if log.digests else ""
    )


def _reads_whole(witness: str, slot: Slot, log: RunLog, waits: Waits) -> tuple[bool, str]:
    """Whether "no run" may be believed: read to the end, covering the slot, showing something newer (invariant 1)."""
    if not log.complete:
        return False, f"no run, but the log was not read whole: {log.problem}"
    if witness == CONSOLE:
        return True, ""
    if log.covers_from is None or log.covers_from > slot.due_at:
        return False, "no run, but the log does not reach back to the slot"
    if log.covers_to is not None and log.covers_to < slot.due_at + timedelta(seconds=waits.grace):
        return False, "no run, but the log is not yet complete for the slot"
    if not any(_newest(run) > slot.due_at for run in log.runs if _newest_or_none(run)):
        return False, "no run, but the log shows nothing newer than the slot"
    return True, ""


def _newest_or_none(run: Run) -> datetime | None:
    times = [t for t in (run.scheduled_for, run.started_at, run.ended_at) if t is not None]
    return max(times) if times else None


def _newest(run: Run) -> datetime:
    found = _newest_or_none(run)
    assert found is not None
    return found


def run_testimony(
    witness: str,
    mine: Sequence[Run],
    repeats: Sequence[Run],
    observed_at: datetime,
    complete: bool,
    by_hand: bool = False,
) -> Testimony:
    """A slot's runs in one testimony; a later success by hand settles an earlier failure."""
    best = next((r for r in repeats if run_saw(r) is Saw.WORKED), None)
    run = best or (repeats[-1] if repeats else max(mine, key=lambda r: _newest_or_none(r) or observed_at))
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
    counts = "" if run.returned is None else f", {run.updated} of {run.returned} updated, {run.errored} errors"
    return Testimony(
        witness, run_saw(run), observed_at, complete, f"run {run.ref} {run.state}{counts}", facts, run.digest
    )


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
