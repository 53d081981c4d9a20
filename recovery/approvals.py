"""Who may let a plan act. Pure: a plan, its approvals and the policy in; what may act, and why not, out.

An approval is bound to the plan's digest, names a person, and repeats the recipients that the person saw (design,
invariant 7; reliability.md, section 4; R001.13, R001.34).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from recovery.errors import RefusedError, UsageError
from recovery.model import Approval, Harm, Plan, PlanItem, Remedy
from recovery.policy import People, Policy, person


@dataclass(frozen=True, slots=True)
class Consent:
    """Which items may act, and what is missing for the others."""

    items: frozenset[str]
    missing: str = ""


BY_POLICY = " (--yes, policy)"


def approver(by: str) -> str:
    """The person behind a recorded approval; with `--yes` that is who started the run."""
    return by.removesuffix(BY_POLICY)


def reach_of(items: Sequence[PlanItem]) -> int:
    """Recipients of the H3 items among these, as far as known."""
    return sum(i.audience or 0 for i in items if i.harm is Harm.H3)


def acting(plan: Plan) -> tuple[PlanItem, ...]:
    """Items that would change something at a remote."""
    return tuple(i for i in plan.items if i.actions)


def approvers_needed(items: Sequence[PlanItem], policy: Policy) -> int:
    """How many different people must approve: two above the policy's highest threshold, else one."""
    return 2 if reach_of(items) > policy.limits.two_approvers_above else 1


def others_needed(items: Sequence[PlanItem], policy: Policy) -> bool:
    """Whether who starts the run may not be the only approver: above the policy's threshold, or when it is unknown."""
    return _some_uncounted(items) or reach_of(items) > policy.limits.two_people_above


def reach_words(plan: Plan) -> str:
    """Whom the plan reaches, as the beginning of a sentence."""
    others = " and others that could not be counted" if _some_uncounted(plan.items) else ""
    return f"The plan reaches {plan.reach:,} recipients{others}"


def _some_uncounted(items: Sequence[PlanItem]) -> bool:
    return any(i.remedy is Remedy.RESEND and i.audience is None for i in items)


def refuse_unnamed(plan: Plan, by: str, policy: Policy, hint: str) -> None:
    """UsageError for a run whose starter is not stated although somebody else must have approved the plan.

    The name of the login is no such statement: one person with two names would be two people.
    """
    if not by.strip() and others_needed(acting(plan), policy):
        raise UsageError(
            f"{reach_words(plan)}, so who starts the run may not be the only one who approved it, and must be named.",
            hint,
        )


def lacking(plan: Plan, agreed: Consent) -> str:
    """Why nothing of the plan may act yet; "" for a plan that acts on nothing or of which something is approved."""
    return agreed.missing if acting(plan) and not agreed.items else ""


def consent(plan: Plan, approvals: Sequence[Approval], policy: Policy, now: datetime, starter: str) -> Consent:
    """The items that enough named people approved while the plan was alive."""
    if now >= plan.expires_at:
        return Consent(frozenset(), f"the plan expired at {plan.expires_at:%Y-%m-%d %H:%M} UTC; make a new one")
    # Asked again here, because the list of approvers may have changed since the approval was recorded.
    good = [
        a
        for a in approvals
        if a.plan_digest == plan.digest and a.by.strip() and People.may(policy.people.approve, approver(a.by))
    ]
    wanted = {i.slot.key: i for i in acting(plan)}
    by_item = {key: {person(a.by) for a in good if not a.items or key in a.items} for key in wanted}
    approved = [wanted[k] for k, people in by_item.items() if people]
    needed = approvers_needed(approved, policy)
    not_alone = others_needed(approved, policy)
    enough = frozenset(
        k for k, people in by_item.items() if len(people) >= needed and (not not_alone or people - {person(starter)})
    )
    if not enough and approved:
        what = f"{needed} different people" if needed > 1 else "somebody other than the person who starts the run"
        return Consent(enough, f"{reach_of(approved):,} recipients need the approval of {what}")
    return Consent(enough, "" if enough else "nobody has approved it")


def unattended(plan: Plan, policy: Policy) -> tuple[PlanItem, ...]:
    """What `--yes` may approve: nothing that reaches people, except where the policy names the account."""
    return tuple(i for i in acting(plan) if i.harm < Harm.H3 or i.slot.account in policy.unattended_accounts)


def refuse_yes(plan: Plan, policy: Policy) -> None:
    """`--yes` is refused as a whole when the plan holds an H3 item it may not approve."""
    allowed = {i.slot.key for i in unattended(plan, policy)}
    barred = [i for i in acting(plan) if i.slot.key not in allowed]
    if barred:
        accounts = ", ".join(sorted({i.slot.account for i in barred}))
        raise RefusedError(
            f"--yes cannot approve {len(barred)} items that reach people ({accounts}).",
            "A named person approves them: `allclear approve DIGEST --by NAME --recipients N --accept-caveat`; "
            "or name the account under [unattended] in policy.toml.",
        )
