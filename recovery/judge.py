"""From evidence to verdicts. Pure: the same evidence, in any order, gives the same finding.

Each rule is a small function that answers or passes; the first answer stands. Nothing is decided from one witness where
two exist, and "no data" counts only when the log was read whole (design, invariant 1; R001.4 to R001.8 and R001.16
to R001.22).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple, TypeAlias

from recovery.model import Evidence, Finding, Kind, Saw, Testimony, Verdict
from recovery.policy import Waits
from recovery.testify import (
    ACTIVITY_LOG,
    CAMPAIGN_REPORT,
    CAMPAIGN_STATUS,
    CONSOLE,
    LEDGER,
    MARKER,
    TESSITURA_LIST,
)


class Ruling(NamedTuple):
    """A rule's answer."""

    verdict: Verdict
    code: str
    reason: str


class Said(NamedTuple):
    """The testimonies of one slot by witness, and the moment and waits they are judged with."""

    by: dict[str, Testimony]
    now: datetime
    due_at: datetime
    waits: Waits

    def saw(self, witness: str) -> Saw:
        """What a witness saw; a witness that was never heard is unreadable."""
        found = self.by.get(witness)
        return found.saw if found else Saw.UNREADABLE

    def detail(self, witness: str) -> str:
        """The witness's own words."""
        found = self.by.get(witness)
        return found.detail if found else "not read"


Rule: TypeAlias = Callable[[Said], Ruling | None]


def judge(evidence: Iterable[Evidence], now: datetime, waits: Waits) -> tuple[Finding, ...]:
    """One finding per slot, sorted by slot."""
    return tuple(sorted((judge_one(e, now, waits) for e in evidence), key=lambda f: f.slot))


def judge_one(evidence: Evidence, now: datetime, waits: Waits) -> Finding:
    """The finding for one slot; a slot that no rule decides is uncertain."""
    slot = evidence.slot
    said = Said({t.witness: t for t in evidence.testimonies}, now, slot.due_at, waits)
    for rule in _rules_for(slot.kind):
        ruling = rule(said)
        if ruling is not None:
            return Finding(slot, ruling.verdict, ruling.reason, ruling.code, evidence)
    heard = "; ".join(sorted(f"{t.witness}: {t.detail}" for t in evidence.testimonies)) or "no witness was heard"
    return Finding(slot, Verdict.UNCERTAIN, f"The sources do not agree ({heard}).", "disagree", evidence)


def _rules_for(kind: str) -> tuple[Rule, ...]:
    if kind == Kind.CAMPAIGN:
        return _CAMPAIGN_RULES
    if kind == Kind.AUTOMATION:
        return _AUTOMATION_RULES
    return _DATA_SYNC_RULES if kind == Kind.DATA_SYNC else _JOB_RULES


# ---- any kind ------------------------------------------------------------------------------------------------------


def _ours(said: Said) -> Ruling | None:
    for witness in (LEDGER, MARKER):
        found = said.by.get(witness)
        if found is not None and found.saw is Saw.OURS:
            return Ruling(Verdict.DONE, "recovered", f"Recovered by allclear before: {found.detail}.")
    return None


def _not_heard(*witnesses: str) -> Rule:
    def rule(said: Said) -> Ruling | None:
        for witness in witnesses:
            if said.saw(witness) is Saw.UNREADABLE:
                return Ruling(Verdict.UNCERTAIN, "unreadable", f"{witness} could not be read: {said.detail(witness)}.")
        return None

    return rule


def _unknown_word(*witnesses: str) -> Rule:
    def rule(said: Said) -> Ruling | None:
        for witness in witnesses:
            if said.saw(witness) is Saw.UNKNOWN:
                return Ruling(
                    Verdict.UNCERTAIN,
                    "unknown_state",
                    f"{witness} shows a state we do not know: {said.detail(witness)}.",
                )
        return None

    return rule


# ---- campaigns -----------------------------------------------------------------------------------------------------


def _campaign_partial(said: Said) -> Ruling | None:
    if Saw.RUNNING in _both(said):
        return Ruling(Verdict.UNCERTAIN, "in_progress", f"It is sending now: {said.detail(CAMPAIGN_REPORT)}.")
    if Saw.PARTIAL in _both(said):
        return Ruling(Verdict.PARTIAL, "partly_sent", f"Partly sent: {said.detail(CAMPAIGN_STATUS)}.")
    return None


def _campaign_done(said: Said) -> Ruling | None:
    if _both(said) == (Saw.WORKED, Saw.WORKED):
        return Ruling(Verdict.DONE, "sent", f"Sent: {said.detail(CAMPAIGN_STATUS)}; the report has data.")
    return None


def _campaign_stopped(said: Said) -> Ruling | None:
    if said.saw(CAMPAIGN_STATUS) not in (Saw.STOPPED, Saw.PAUSED):
        return None
    detail, changed = said.detail(CAMPAIGN_STATUS), said.by[CAMPAIGN_STATUS].facts.get("modified_at")
    if isinstance(changed, str) and datetime.fromisoformat(changed) < said.due_at:
        return Ruling(
            Verdict.UNCERTAIN, "paused_before", f"It was not live when it was due: {detail}, since {changed}."
        )
    return Ruling(
        Verdict.UNCERTAIN,
        "stopped_by_someone",
        f"Someone stopped or paused it: {detail}; whether it is still wanted is not known.",
    )


def _campaign_waiting(said: Said) -> Ruling | None:
    quiet = said.saw(CAMPAIGN_REPORT) is Saw.NOTHING
    status = said.saw(CAMPAIGN_STATUS)
    limit = said.due_at + timedelta(seconds=said.waits.monitor)
    if quiet and (status is Saw.WAITING or (status is Saw.NOTHING and said.now < limit)):
        return Ruling(Verdict.MISSED, "waiting", "Not sent yet; it may still go by itself within the monitoring time.")
    return None


def _campaign_missed(said: Said) -> Ruling | None:
    if _both(said) != (Saw.NOTHING, Saw.NOTHING):
        return None
    status = str(said.by[CAMPAIGN_STATUS].facts.get("status"))
    code, words = {
        "1": ("pending_send", "Pending send: its time has passed and nothing was sent"),
        "2": ("sending_stuck", "Sending, but stuck at zero"),
        "5": ("empty_report", "Marked completed, but the report has no data"),
    }.get(status, ("pending_send", "Not sent"))
    return Ruling(Verdict.MISSED, code, f"{words} ({said.detail(CAMPAIGN_REPORT)}).")


def _both(said: Said) -> tuple[Saw, Saw]:
    return said.saw(CAMPAIGN_STATUS), said.saw(CAMPAIGN_REPORT)


_CAMPAIGN_RULES: tuple[Rule, ...] = (
    _ours,
    _not_heard(CAMPAIGN_STATUS, CAMPAIGN_REPORT),
    _unknown_word(CAMPAIGN_STATUS, CAMPAIGN_REPORT),
    _campaign_partial,
    _campaign_done,
    _campaign_stopped,
    _campaign_waiting,
    _campaign_missed,
)


def _automation(_said: Said) -> Ruling | None:
    return Ruling(
        Verdict.UNCERTAIN,
        "automation",
        "It was active during the outage; the playbook names no step for automations, so a person looks at it.",
    )


_AUTOMATION_RULES: tuple[Rule, ...] = (_ours, _automation)


# ---- jobs ----------------------------------------------------------------------------------------------------------


def _job_contradiction(said: Said) -> Ruling | None:
    """Two sources that tell different stories of the same run prove nothing, whichever of them is right."""
    log, console = said.by[ACTIVITY_LOG], said.by[CONSOLE]
    same_run = log.facts.get("run") is not None and log.facts.get("run") == console.facts.get("run")
    if same_run and log.saw is not console.saw:
        return Ruling(
            Verdict.UNCERTAIN,
            "disagree",
            f"Of the same run the log says {log.detail}; the console says {console.detail}.",
        )
    return None


def _job_running(said: Said) -> Ruling | None:
    both = said.by[ACTIVITY_LOG], said.by[CONSOLE]
    running = [t for t in both if t.saw is Saw.RUNNING]
    worked = [t for t in both if t.saw is Saw.WORKED]
    gap = said.saw(TESSITURA_LIST) is Saw.GAP  # a sync that lost a difference is not done, whatever succeeded
    if not running or (not gap and any(t.facts.get("by_hand") for t in worked)):
        return None
    since = _running_since(running)
    if since is None:
        # It may be any run of the definition, so a slot whose own run succeeded stays done.
        if worked and not gap:
            return None
        words = f"In progress, and nothing tells since when: {running[0].detail}."
        return Ruling(Verdict.UNCERTAIN, "in_progress", words)
    age = (said.now - since).total_seconds()
    if age > said.waits.running_limit:
        return Ruling(
            Verdict.STALLED, "in_progress_too_long", f"In progress for {int(age // 60)} minutes: {running[0].detail}."
        )
    return Ruling(Verdict.UNCERTAIN, "in_progress", f"In progress for {int(age // 60)} minutes, within its limit.")


def _running_since(running: list[Testimony]) -> datetime | None:
    times = [t.facts.get(k) for t in running for k in ("started_at", "scheduled_for")]
    moments = [datetime.fromisoformat(t) for t in times if isinstance(t, str)]
    return min(moments, default=None)


def _job_done(said: Said) -> Ruling | None:
    if Saw.WORKED not in (said.saw(ACTIVITY_LOG), said.saw(CONSOLE)):
        return None
    log = said.by[ACTIVITY_LOG] if said.saw(ACTIVITY_LOG) is Saw.WORKED else said.by[CONSOLE]
    if log.facts.get("by_hand"):
        return Ruling(Verdict.DONE, "done_by_hand", f"Someone ran it again after the outage: {log.detail}.")
    return Ruling(Verdict.DONE, "succeeded", f"Contacts came back and were updated: {log.detail}.")


def _job_failed(said: Said) -> Ruling | None:
    log = said.by[ACTIVITY_LOG]
    if log.saw is Saw.FAILED:
        return Ruling(Verdict.FAILED, "full_error", f"Full error report: {log.detail}.")
    if log.saw is Saw.PARTIAL:
        return Ruling(Verdict.PARTIAL, "partial_error", f"Some rows failed: {log.detail}.")
    if log.saw is Saw.STOPPED:
        return Ruling(Verdict.UNCERTAIN, "stopped_by_someone", f"It was stopped: {log.detail}; it may still go on.")
    return None


def _job_missed(said: Said) -> Ruling | None:
    log, console = said.by[ACTIVITY_LOG], said.by[CONSOLE]
    if (log.saw, console.saw) != (Saw.NOTHING, Saw.NOTHING):
        return None
    for testimony in (log, console):
        if not testimony.complete:
            return Ruling(Verdict.UNCERTAIN, "log_incomplete", f"{testimony.witness}: {testimony.detail}.")
    if said.now < said.due_at + timedelta(seconds=said.waits.grace):
        return Ruling(Verdict.UNCERTAIN, "in_progress", "It is not late yet.")
    return Ruling(Verdict.MISSED, "no_activity", "No activity in the Activity Log or the Console.")


_JOB_RULES: tuple[Rule, ...] = (
    _ours,
    _not_heard(ACTIVITY_LOG, CONSOLE),
    _unknown_word(ACTIVITY_LOG, CONSOLE),
    _job_contradiction,
    _job_running,
    _job_done,
    _job_failed,
    _job_missed,
)


def _sync_gap(said: Said) -> Ruling | None:
    """A sync works on differences: one that is lost stays lost, whatever later runs say (R001.31)."""
    found = said.by.get(TESSITURA_LIST)
    if found is None or found.saw is not Saw.GAP:
        return None
    if Saw.RUNNING in (said.saw(ACTIVITY_LOG), said.saw(CONSOLE)):
        return None
    return Ruling(Verdict.FAILED, "sync_gap", f"The tag and the list differ: {found.detail}.")


_DATA_SYNC_RULES: tuple[Rule, ...] = (
    _ours,
    _not_heard(ACTIVITY_LOG, CONSOLE, TESSITURA_LIST),
    _unknown_word(ACTIVITY_LOG, CONSOLE),
    _job_contradiction,
    _job_running,
    _sync_gap,
    _job_done,
    _job_failed,
    _job_missed,
)
