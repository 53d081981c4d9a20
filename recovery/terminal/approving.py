"""Who lets a plan act, at a terminal: the plan and what comes next, approve and reject, the question of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recovery.approvals import (
    BY_POLICY,
    acting,
    approvers_needed,
    consent,
    lacking,
    others_needed,
    reach_of,
    reach_words,
    unattended,
)
from recovery.errors import RefusedError, UsageError
from recovery.hints import approve_line, next_for, recover_line
from recovery.model import Approval, Plan, iso
from recovery.operate import EXIT_ALL_CLEAR, EXIT_HELD
from recovery.settings import load_settings
from recovery.terminal.command_input import Consenting
from recovery.terminal.terminal import ask, print_json, put, say
from recovery.views import plan_view
from recovery.wiring import Systems, open_systems

if TYPE_CHECKING:
    from recovery.audit import AuditResult


def show_plan(made: Plan, result: AuditResult | None) -> None:
    """The plan like a diff, and the commands that let it act."""
    from recovery.report.text import plan_diff

    put(plan_diff(made, result.findings if result else ()))
    if not acting(made):
        say(["", "Nothing in it changes anything, so it needs no approval. What it asks is asked by its run:"])
    else:
        say(["", "To let it act, a named person approves exactly this plan:", f"  {approve_line(made)}"])
    say([f"  {recover_line(made.digest)}"])


async def approve(config: Path | None, given: Consenting, *, as_json: bool) -> int:
    """`allclear approve`: records it, and says what the plan still lacks."""
    settings = load_settings(config)
    async with open_systems(settings) as systems:
        made, now, by = await recorded(systems, given.digest), systems.clock.now(), given.by.strip()
        await systems.ledger.approve(
            Approval(made.digest, by, now, given.recipients, given.accept_caveat, given.items, given.reason)
        )
        approvals = await systems.ledger.approvals(made.digest)
        agreed = consent(made, approvals, systems.policy, now, "")
        words, command = next_for(made, approvals, agreed, systems.policy)
    if as_json:
        print_json(
            {
                "schema": "allclear.approve/1",
                "plan": made.digest,
                "approvals": [{"by": a.by, "at": iso(a.at), "recipients": a.recipients} for a in approvals],
                "missing": lacking(made, agreed),
                "exit_code": EXIT_ALL_CLEAR,
            }
        )
    else:
        say([f"Recorded: {by} approves plan {made.digest[:12]} ({given.recipients:,} recipients).", words])
        say([f"  {command}"])
    return EXIT_ALL_CLEAR


async def reject(config: Path | None, digest: str, by: str, reason: str, *, as_json: bool) -> int:
    """`allclear reject`."""
    async with open_systems(load_settings(config)) as systems:
        made = await recorded(systems, digest)
        await systems.ledger.reject(made.digest, by.strip(), systems.clock.now(), reason)
    if as_json:
        print_json({"schema": "allclear.reject/1", "plan": made.digest, "by": by, "reason": reason, "exit_code": 0})
    else:
        say([f"Recorded: {by} rejects plan {made.digest[:12]}. It is never run; `allclear plan` makes a new one."])
    return EXIT_ALL_CLEAR


async def recorded(systems: Systems, digest: str) -> Plan:
    """The plan that the digest, or the beginning of one, names. UsageError when there is none."""
    made = await systems.ledger.plan(digest)
    if made is None:
        raise UsageError(f"There is no plan {digest!r} in the ledger.", "`allclear status` shows the last one.")
    return made


async def missing_approval(systems: Systems, made: Plan, starter: str) -> str:
    """What a plan that no run has taken up still lacks before anything of it may act; "" when it may go on."""
    now = systems.clock.now()
    if no := await systems.ledger.rejection(made.digest):
        raise RefusedError(f"Plan {made.digest[:12]} was rejected by {no}", "Make a new plan with `allclear plan`.")
    if now >= made.expires_at or await systems.ledger.items(plan=made.digest):
        return ""
    return lacking(made, consent(made, await systems.ledger.approvals(made.digest), systems.policy, now, starter))


def not_approved(made: Plan, result: AuditResult | None, missing: str, as_json: bool) -> int:
    """Shows a plan that nobody, or not everybody, has approved yet."""
    if as_json:
        print_json({**plan_view(made, EXIT_HELD), "waiting_for": "approval", "missing": missing})
    else:
        show_plan(made, result)
        say(["", f"Nothing was done: the plan waits for approval ({missing})."])
    return EXIT_HELD


def waits_for_another(made: Plan, by: str, missing: str) -> int:
    """What is said after one person approved at the terminal and that was not enough."""
    say(["", f"Recorded: {by} approves. Nothing was done: the plan waits for approval ({missing})."])
    say(["Then another person types:", f"  {approve_line(made, 'ANOTHER PERSON')}", f"  {recover_line(made.digest)}"])
    return EXIT_HELD


async def approve_unattended(systems: Systems, made: Plan, starter: str) -> None:
    """What `--yes` may approve, in the name of the policy."""
    items = unattended(made, systems.policy)
    if items:
        await systems.ledger.approve(
            Approval(
                made.digest,
                f"{starter}{BY_POLICY}",
                systems.clock.now(),
                reach_of(items),
                True,
                tuple(i.slot.key for i in items),
                "unattended",
            )
        )


async def ask_for_approval(systems: Systems, made: Plan, starter: str) -> str:
    """A person decides at the terminal: name and the number of recipients, typed. The name, or "" if none is needed."""
    if not await missing_approval(systems, made, starter):
        return ""
    for caveat in sorted({i.caveat for i in made.items if i.caveat}):
        say(["", f"Caveat: {caveat}"])
    if approvers_needed(acting(made), systems.policy) > 1:
        say(["", f"{reach_words(made)}, so two different people must approve it; you are the first."])
    elif others_needed(acting(made), systems.policy):
        who = f"{starter} starts it and" if starter else "who starts it"
        say(["", f"{reach_words(made)}, so {who} may not be the only one who approves it."])
    kept = f"The plan is kept. To approve it later: `{approve_line(made)}`."
    print()
    by = ask("Your name (empty: do nothing): ", kept)
    if not by:
        raise UsageError("Nothing was done.", kept)
    typed = ask(f"How many recipients does it reach? Type {made.reach} to approve: ", kept).replace(",", "")
    if typed != str(made.reach):
        raise UsageError("The number is not the plan's; nothing was done.", kept)
    await systems.ledger.approve(Approval(made.digest, by, systems.clock.now(), made.reach, True))
    return by
