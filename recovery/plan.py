"""From findings to a frozen, ordered, hashed plan. Pure; the same findings in any order give the same plan.

The decision table of `config/playbooks/process-failure.toml` says what a finding calls for; this module adds
what no table may switch off: validity, what may be resent at all, one act per definition, order and waves (design, 4.7
to 4.11).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from recovery.errors import RefusedError, UsageError
from recovery.model import (
    ActionKind,
    Answer,
    Facts,
    Finding,
    Harm,
    Kind,
    OutageWindow,
    Plan,
    PlanItem,
    PlannedAction,
    Remedy,
    Slot,
    Verdict,
    action_key,
    digest_of,
    iso,
    marker_of,
)
from recovery.policy import Decision, Policy

CAMPAIGN_CAVEAT = "The vendor cannot guarantee that the original campaign will not still be sent (R001.13)."
JOB_CAVEAT = "The vendor cannot guarantee that the original job will not still continue when it is able to (R001.34)."
RUN_NOW_CAVEAT = "Run Now selects whoever matches at this moment and cannot be stopped once queued (R001.32)."

WHAT_NOW = "What should be done with it?"

ORDER_OF_KIND = {
    Kind.DATA_SYNC: 0,
    Kind.EADDRESS_SYNC: 1,
    Kind.IMPORT: 2,
    Kind.TRIGGER: 3,
    Kind.SEGMENT_TRANSFER: 4,
    Kind.OTHER: 4,
    Kind.CAMPAIGN: 5,
    Kind.AUTOMATION: 6,
}
_REMEDY_OF_CHOICE = {
    "drop": Remedy.DROP,
    "resend": Remedy.RESEND,
    "reprocess": Remedy.REPROCESS,
    "repeat_import": Remedy.REPEAT_IMPORT,
    "tagged_import": Remedy.TAGGED_IMPORT,
    "run_now": Remedy.RUN_NOW,
}
_RIGHT_OF_REMEDY = {
    Remedy.REPROCESS: "reprocess",
    Remedy.REPEAT_IMPORT: "repeat",
    Remedy.RUN_NOW: "run_now",
    Remedy.TAGGED_IMPORT: "imports",
}
# What the vendor's page calls reprocessing, kind by kind; used where the dashboard has no button for a single run.
_OWN_BUTTON = {Kind.TRIGGER: Remedy.RUN_NOW, Kind.IMPORT: Remedy.REPEAT_IMPORT}
_ONCE_PER_DEFINITION = frozenset({Remedy.REPROCESS, Remedy.REPEAT_IMPORT, Remedy.TAGGED_IMPORT, Remedy.RUN_NOW})
_ACTING = _ONCE_PER_DEFINITION | {Remedy.RESEND}


def key_for(secret: bytes, slot: Slot, kind: str, generation: int = 0, detail: str = "") -> str:
    """The business key of one action on one slot; `detail` names a part of it, such as one contact."""
    object_ref = f"{slot.object_ref}/{detail}" if detail else slot.object_ref
    return action_key(secret, slot.account, slot.system, kind, object_ref, iso(slot.due_at), generation)


def item_marker(secret: bytes, slot: Slot, generation: int) -> str:
    """What we put into the names of campaigns that belong to one generation of a slot's item."""
    return marker_of(key_for(secret, slot, "item", generation))


def make_plan(
    window: OutageWindow,
    findings: Iterable[Finding],
    policy: Policy,
    secret: bytes,
    now: datetime,
    generations: Mapping[str, int] | None = None,
    answers: Mapping[str, Answer] | None = None,
    cut_off: Sequence[PlanItem] = (),
) -> Plan:
    """A plan with one item for every finding that is not `done`; nothing is dropped silently.

    `answers` are the latest choices of named persons about held items, by slot key: they overrule the table. `cut_off`
    are items of an earlier plan whose run died after their effect; they come along as they were planned.
    """
    open_findings = sorted((f for f in findings if f.verdict is not Verdict.DONE), key=lambda f: f.slot)
    given = answers or {}
    items = [
        _item(
            f,
            _answered(given.get(f.slot.key)) or _decision(f, policy, now),
            secret,
            (generations or {}).get(f.slot.key, 0),
        )
        for f in open_findings
    ]
    items = [*_one_act_per_definition(items), *cut_off]
    items.sort(key=lambda i: (i.order, i.slot))
    return freeze(window, _in_waves(items, policy.limits.waves), now, policy)


def freeze(
    window: OutageWindow, items: Sequence[PlanItem], made_at: datetime, policy: Policy, *, whole: bool = True
) -> Plan:
    """The plan over exactly these items, with its digest."""
    plan = Plan(window, tuple(items), made_at, made_at + policy.plan_expires, "", whole)
    return replace(plan, digest=_digest(plan))


def is_intact(plan: Plan) -> bool:
    """Whether the digest still covers the plan as it stands."""
    return plan.digest == _digest(plan) or plan.digest == _digest_to_the_second(plan)


def _digest(plan: Plan) -> str:
    """Over every field, the moment to the microsecond: a plan made right after a rejection is not the rejected one."""
    return digest_of({**_fields(plan), "made_at": plan.made_at.astimezone(UTC).isoformat(timespec="microseconds")})


def _digest_to_the_second(plan: Plan) -> str:
    """What ledgers hold of plans from before the moment was covered to the microsecond."""
    return digest_of(_fields(plan))


def _fields(plan: Plan) -> dict[str, object]:
    """Every field; but `whole` only where it is not so, because ledgers hold plans from before it was recorded."""
    fields = asdict(replace(plan, digest=""))
    if plan.whole:
        del fields["whole"]
    return fields


def select(
    plan: Plan,
    policy: Policy,
    *,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    kinds: Sequence[str] = (),
    accounts: Sequence[str] = (),
    most: int | None = None,
    wave: int | None = None,
) -> Plan:
    """A smaller plan with its own digest. No value ever means "all": an empty result is refused (invariant 7).

    An item that is named and does not exist is refused too: a misspelt exception must not let the item act.
    """
    _know((*only, *without), [i.slot.key for i in plan.items] + [i.slot.object_ref for i in plan.items], "item")
    kept = [
        i
        for i in plan.items
        if (not only or i.slot.key in only or i.slot.object_ref in only)
        and i.slot.key not in without
        and i.slot.object_ref not in without
        and (not kinds or i.slot.kind in kinds)
        and (not accounts or i.slot.account in accounts)
        and (wave is None or i.wave == wave)
    ]
    if most is not None:
        kept = kept[: max(most, 0)]
    if not kept:
        raise RefusedError("The selection leaves no item, so nothing is done.", "Run `allclear plan` and choose again.")
    whole = plan.whole and len(kept) == len(plan.items)
    return freeze(plan.window, kept, plan.made_at, policy, whole=whole)


def _know(named: Sequence[str], known: Sequence[str], what: str) -> None:
    for name in named:
        if name not in known:
            raise UsageError(f"There is no {what} {name!r} in this plan.", "`allclear plan` lists the items by name.")


# ---- one item ------------------------------------------------------------------------------------------------------


def _item(finding: Finding, decision: Decision, secret: bytes, generation: int) -> PlanItem:
    slot, remedy = finding.slot, decision.remedy
    facts = _facts(finding)
    return PlanItem(
        slot=slot,
        verdict=finding.verdict,
        remedy=remedy,
        reason=f"{finding.reason} {decision.why}".strip(),
        code=decision.code if decision.code != "*" else finding.code,
        actions=_ACTIONS.get(remedy, _no_actions)(slot, facts, secret, generation),
        order=ORDER_OF_KIND[Kind(slot.kind)],
        audience=_audience(remedy, facts),
        question=decision.question if remedy in (Remedy.HOLD, Remedy.MONITOR) else "",
        recommended=decision.recommended,
        caveat=_caveat(remedy),
        generation=generation,
        before=facts,
    )


def _answered(answer: Answer | None) -> Decision | None:
    """What a named person chose for a held item; other answers leave the table to decide."""
    if answer is None or answer.choice not in _REMEDY_OF_CHOICE:
        return None
    remedy = _REMEDY_OF_CHOICE[answer.choice]
    return Decision("*", "*", "answered", remedy, f"{answer.by} chose {answer.choice!r}: {answer.reason}")


def _decision(finding: Finding, policy: Policy, now: datetime) -> Decision:
    """The table's row, overruled where doing it would be wrong whatever the table says."""
    kind = Kind(finding.slot.kind)
    valid = policy.validity_of(finding.slot.account, finding.slot.object_ref)
    if valid is not None and valid.at <= now and finding.verdict in (Verdict.MISSED, Verdict.FAILED, Verdict.STALLED):
        row = policy.decide(kind, finding.verdict, "not_valid_any_more")
        remedy = Remedy.DROP if row.remedy in _ACTING else row.remedy
        why = f"{valid.reason} (until {iso(valid.at)}). {row.why}"
        return replace(row, code="not_valid_any_more", remedy=remedy, why=why)
    row = policy.decide(kind, finding.verdict, finding.code)
    if row.remedy not in _ACTING:
        return row
    if kind is Kind.OTHER:
        return _held(row, "no_step", "The vendor's page names no step for this kind of process.")
    if finding.verdict in (Verdict.PARTIAL, Verdict.UNCERTAIN):
        return _held(row, finding.code, "Partial and uncertain cases are never acted on without a person.")
    if row.remedy is Remedy.RESEND:
        return _resendable(row, finding, policy, now)
    facts = _facts(finding)
    may = facts.get("may")
    if row.remedy is Remedy.REPROCESS and finding.verdict is Verdict.FAILED and isinstance(may, list):
        row = replace(row, remedy=_reprocess_by(kind, may))
    needed = _RIGHT_OF_REMEDY.get(row.remedy)
    if facts.get("active") is False:
        return _held(row, "switched_off", "Someone paused or switched it off after it was due; is it still wanted?")
    if isinstance(may, list) and needed not in may:
        return _held(row, "no_right", f"The dashboard does not offer us {needed!r} for this account (R001.38).")
    return replace(row, why=" ".join([row.why, *_beware(finding.slot, facts, now)])) if kind is Kind.TRIGGER else row


def _reprocess_by(kind: Kind, may: Sequence[str]) -> Remedy:
    own = _OWN_BUTTON.get(kind)
    return own if own and "reprocess" not in may and _RIGHT_OF_REMEDY[own] in may else Remedy.REPROCESS


def _beware(slot: Slot, facts: Facts, now: datetime) -> list[str]:
    """What whoever approves a trigger's second chance should know about it (R001.32)."""
    said, zone = [], ZoneInfo(slot.time_zone)
    day, today = slot.due_at.astimezone(zone).date(), now.astimezone(zone).date()
    if day < today and facts.get("trigger_type") == "performance":
        said.append(f"It was due on {day}; run now it selects the performances of {today}, which may be others.")
    if facts.get("later_success"):
        said.append(f"A later run succeeded at {facts['later_success']}; those it selected may enter a second time.")
    return said


def _resendable(row: Decision, finding: Finding, policy: Policy, now: datetime) -> Decision:
    facts = _facts(finding)
    if facts.get("type") != "single" or facts.get("series") not in ("0", "", None):
        return _held(row, "not_single", "Only single campaigns outside automations can be stopped and copied safely.")
    if facts.get("audience") == 0:
        return _held(row, "nobody", "Its lists and segment hold nobody now, so a copy would reach nobody.")
    if facts.get("send_amt"):
        return _held(row, "partly_sent", "Someone may have this mail already.")
    if now - finding.slot.due_at > policy.valid_for:
        return _held(row, "too_old", f"It was due more than {policy.valid_for} ago: is it still worth sending?")
    return row


def _held(row: Decision, code: str, why: str) -> Decision:
    question = row.question or f"{why} {WHAT_NOW}"
    return replace(
        row, code=code, remedy=Remedy.HOLD, why=why, question=question, recommended=row.recommended or "wait"
    )


def _facts(finding: Finding) -> Facts:
    merged: dict[str, str | int | float | bool | list[str] | None] = dict(finding.evidence.facts)
    for testimony in finding.evidence.testimonies:
        merged |= {k: v for k, v in testimony.facts.items() if v is not None}
    return merged


def _audience(remedy: Remedy, facts: Facts) -> int | None:
    amount = (facts.get("total_amt") or facts.get("audience")) if remedy is Remedy.RESEND else None
    return amount if isinstance(amount, int) and amount > 0 else None


def _caveat(remedy: Remedy) -> str:
    return {
        Remedy.RESEND: CAMPAIGN_CAVEAT,
        Remedy.REPROCESS: JOB_CAVEAT,
        Remedy.REPEAT_IMPORT: JOB_CAVEAT,
        Remedy.TAGGED_IMPORT: JOB_CAVEAT,
        Remedy.RUN_NOW: f"{JOB_CAVEAT} {RUN_NOW_CAVEAT}",
    }.get(remedy, "")


# ---- the actions of each remedy ------------------------------------------------------------------------------------

Actions = Callable[[Slot, Facts, bytes, int], tuple[PlannedAction, ...]]


def _no_actions(_slot: Slot, _facts: Facts, _secret: bytes, _generation: int) -> tuple[PlannedAction, ...]:
    return ()


def _actions_from(rows: Sequence[tuple[ActionKind, Harm, bool, str]]) -> Actions:
    def build(slot: Slot, _facts: Facts, secret: bytes, generation: int) -> tuple[PlannedAction, ...]:
        return tuple(
            PlannedAction(key_for(secret, slot, kind.value, generation), kind, harm, undo, slot.object_ref, summary)
            for kind, harm, undo, summary in rows
        )

    return build


def _reprocess(slot: Slot, facts: Facts, secret: bytes, generation: int) -> tuple[PlannedAction, ...]:
    harm = Harm.H3 if slot.kind == Kind.TRIGGER else Harm.H2
    rows = [(ActionKind.REPROCESS, harm, False, "run the job again")]
    if facts.get("state") in ("queued", "running", "stop_requested"):
        rows.insert(0, (ActionKind.STOP_RUN, Harm.H0, False, "attempt to stop the job that is in progress"))
    return _actions_from(rows)(slot, facts, secret, generation)


_ACTIONS: dict[Remedy, Actions] = {
    Remedy.RESEND: _actions_from(
        [
            (ActionKind.STOP, Harm.H0, True, "stop the original"),
            (ActionKind.DEFUSE, Harm.H1, True, "mark the original as stopped and replaced"),
            (ActionKind.COPY, Harm.H0, True, "duplicate it into a draft"),
            (ActionKind.MARK, Harm.H0, True, "put our marker on the draft"),
            (ActionKind.RELEASE, Harm.H3, False, "arm the copy and let it go"),
        ]
    ),
    Remedy.REPROCESS: _reprocess,
    Remedy.REPEAT_IMPORT: _actions_from([(ActionKind.REPEAT_IMPORT, Harm.H2, False, "repeat the import")]),
    Remedy.RUN_NOW: _actions_from([(ActionKind.RUN_NOW, Harm.H3, False, "run the trigger now")]),
    Remedy.TAGGED_IMPORT: _actions_from(
        [
            (ActionKind.TAGGED_IMPORT, Harm.H2, True, "import the list with a tag that was never used"),
            (ActionKind.ADD_TAG, Harm.H2, True, "add the sync tag where it is missing"),
            (ActionKind.REMOVE_TAG, Harm.H2, True, "remove the sync tag where it should not be"),
        ]
    ),
}


# ---- the whole list ------------------------------------------------------------------------------------------------


def _one_act_per_definition(items: list[PlanItem]) -> list[PlanItem]:
    """Only the latest slot of a definition is acted on: two missed runs never become two Run Nows."""
    latest: dict[tuple[str, str], Slot] = {}
    for item in items:
        if item.remedy in _ONCE_PER_DEFINITION:
            name = (item.slot.account, item.slot.object_ref)
            latest[name] = max(latest.get(name, item.slot), item.slot, key=lambda s: s.due_at)
    return [_covered(i, latest.get((i.slot.account, i.slot.object_ref))) for i in items]


def _covered(item: PlanItem, by: Slot | None) -> PlanItem:
    if by is None or by == item.slot or item.remedy not in _ONCE_PER_DEFINITION:
        return item
    why = f"One act for the later slot {iso(by.due_at)} covers it: {item.reason}"
    return replace(
        item, remedy=Remedy.DROP, code="covered", reason=why, actions=(), audience=None, caveat="", question=""
    )


def _in_waves(items: list[PlanItem], sizes: Sequence[int]) -> list[PlanItem]:
    """Numbers the waves of what reaches people: 1, 5, 25, then the rest; everything else is wave 0."""
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    waved, count = [], 0
    for item in items:
        if item.harm is not Harm.H3:
            waved.append(item)
            continue
        count += 1
        waved.append(replace(item, wave=1 + sum(1 for end in ends if count > end)))
    return waved
