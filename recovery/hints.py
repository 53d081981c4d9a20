"""The commands that a person types next for a plan, ready to be copied. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from recovery.approvals import Consent, acting, approver, others_needed
from recovery.model import Approval, Plan
from recovery.policy import Policy, person

SHORT = 8
"""Letters that are enough to name a plan and keep the line within 80 columns."""
STARTER = "WHO STARTS IT"


def approve_line(plan: Plan, by: str = "YOUR NAME") -> str:
    """The command with which `by` approves the plan as it is."""
    caveat = " --accept-caveat" if any(i.caveat for i in plan.items) else ""
    return f'allclear approve {plan.digest[:SHORT]} --by "{by}" --recipients {plan.reach}{caveat}'


def recover_line(digest: str, by: str = STARTER) -> str:
    """The command that runs the plan. Always with a name: whoever starts it may be barred from being its approver."""
    return f'allclear recover --plan {digest[:SHORT]} --by "{by}"'


def not_alone(plan: Plan, approvals: Sequence[Approval], agreed: Consent, policy: Policy) -> str:
    """The one approver who may not start the run of what is approved as well, or ""."""
    names = {person(approver(a.by)): approver(a.by) for a in approvals}
    approved = [i for i in acting(plan) if i.slot.key in agreed.items]
    return next(iter(names.values())) if len(names) == 1 and others_needed(approved, policy) else ""


def next_for(plan: Plan, approvals: Sequence[Approval], agreed: Consent, policy: Policy) -> tuple[str, str]:
    """What comes next for a plan that may still be approved: in words, and as a command."""
    if not acting(plan):
        return "It changes nothing and needs no approval:", recover_line(plan.digest)
    if agreed.items:
        alone = not_alone(plan, approvals, agreed, policy)
        who = f"somebody other than {alone} starts it:" if alone else "it can be started:"
        return f"The plan is approved; {who}", recover_line(plan.digest)
    if approvals:
        return f"Not enough yet ({agreed.missing}):", approve_line(plan, "ANOTHER PERSON")
    return "The plan waits for approval:", approve_line(plan)
