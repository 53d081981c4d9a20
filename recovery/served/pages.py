"""What a served run shows and announces: one Page for each stage, made of plain values. Pure; knows no Prefect.

Tables hold remote text as cell values, Markdown holds it in code spans (recovery.report.markdown); titles, states and
announcements are made of our own words, keys and numbers only, because they end up in notices and automations.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recovery.approvals import lacking
from recovery.happening import Happening
from recovery.ledger.rows import ItemRow
from recovery.model import Harm, ItemOutcome, OutageWindow, Plan, Verdict, digest_of, iso
from recovery.operate import EXIT_ALL_CLEAR, EXIT_FAILED, EXIT_FINDINGS, EXIT_HELD, RecoverResult
from recovery.report.markdown import code, prose, table
from recovery.report.words import HARM_WORDS, REMEDY_WORDS

MOST_ROWS = 5000
MOST_STEPS = 20
AWAITING = "Awaiting approval"
MOST_ANNOUNCED = 200
STATES = {EXIT_ALL_CLEAR: "All clear", EXIT_FAILED: "Failed", EXIT_HELD: "Held", EXIT_FINDINGS: "Findings"}
FINAL_STATES = frozenset({*STATES.values(), AWAITING, "Rejected", "Expired", "Stopped"})
"""Every name that the final state of a run of ours may have; flows/automations.toml must know them all."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Step:
    """What a person may do next: a deployment, and what its form already knows. `words` are Markdown of our own."""

    words: str
    deployment: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """The outcome of one stage: a title, a table, a text, a balance, links, what to announce and what to do next.

    `key` begins the keys of its artifacts; `state` names the final state of the run; `exit_code` is the CLI's.
    """

    key: str
    title: str
    state: str
    exit_code: int
    rows: Rows
    text: str
    digest: str = ""
    balance: str = ""
    links: tuple[tuple[str, str], ...] = ()
    happenings: tuple[Happening, ...] = ()
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        """ValueError for a state that the automations do not know."""
        if self.state not in FINAL_STATES:
            raise ValueError(f"{self.state!r} is no final state of ours")

    @property
    def table(self) -> Rows:
        """The first rows, and how many are left out: a table of everything would be too large for the pages."""
        more = len(self.rows) - MOST_ROWS
        left_out = [{next(iter(self.rows[0])): f"and {more:,} more, left out here"}] if more > 0 else []
        return [*self.rows[:MOST_ROWS], *left_out]


_PROOF = "reading everything again"
_NOW = {"bake": "waiting before the next wave", "proof": _PROOF}


@dataclass(slots=True)
class Tally:
    """Counts what the engine tells; the engine calls it, a flow shows it now and then."""

    total: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    now: str = ""
    alarm: bool = False

    def __call__(self, what: str, facts: Mapping[str, object]) -> None:
        """Takes one telling of the engine."""
        if what == "item":
            self.outcomes[str(facts["outcome"])] += 1
            self.now = ""
        elif what == "audit-done" and self.now != _PROOF:  # the accounts read again are no items
            self.outcomes["read"] += 1
        elif what in _NOW:
            self.now = _NOW[what]
        elif what == "alarm":
            self.alarm = True

    def end(self) -> None:
        """Nothing is going on any more."""
        self.now = ""

    @property
    def percent(self) -> float:
        """How much has ended, 0 to 100."""
        done = sum(self.outcomes.values())
        return min(100.0, round(100.0 * done / self.total, 1)) if self.total else 0.0

    @property
    def line(self) -> str:
        """One line for people; our own words and numbers only."""
        counts = ", ".join(f"{n} {what}" for what, n in sorted(self.outcomes.items()))
        parts = (f"{sum(self.outcomes.values())} of {self.total}", counts, self.now, "ALARM" if self.alarm else "")
        return "; ".join(p for p in parts if p)


def audit_page(view: Mapping[str, Any], text: str, window: OutageWindow, severity: str, note: str = "") -> Page:
    """The page of an audit: what is not done, with the reasons. `note` says what else it made up for."""
    rows = [
        {k: s[k] for k in ("account", "kind", "name", "slot", "verdict", "reason", "key")}
        for s in view["slots"]
        if s["verdict"] != Verdict.DONE
    ]
    counts = ", ".join(f"{n} {verdict}" for verdict, n in view["counts"].items()) or "nothing was due"
    opened = Happening(
        "allclear.incident.opened",
        f"allclear.incident.{window.incident_ref}",
        {
            "incident": window.incident_ref,
            "severity": severity,
            "window": {"start": iso(window.started_at), "end": iso(window.ended_at), "accounts": list(window.accounts)},
            "counts": dict(view["counts"]),
        },
        window.incident_ref,
    )
    return Page(
        "audit",
        f"Audit of {window.incident_ref}: {counts}" + (f". {note}" if note else ""),
        STATES[view["exit_code"]],
        view["exit_code"],
        rows or [{"result": "all clear"}],
        text,
        happenings=(opened,) if rows else (),
    )


def plan_page(made: Plan, text: str) -> Page:
    """The page to decide from: who is reached, and for each item the reason not to."""
    rows = [
        {
            # The pages show the first few columns without scrolling.
            "account": i.slot.account,
            "name": i.slot.name,
            "remedy": i.remedy.value,
            "recipients": i.audience,
            "wave": i.wave,
            "why not": " ".join(t for t in (i.caveat, i.question) if t),
            "kind": i.slot.kind,
            "verdict": i.verdict.value,
            "key": i.slot.key,
        }
        for i in made.items
    ]
    count = _many(len(made.items), "item")
    title = f"Plan {made.digest[:12]}: {count}, {made.reach} recipients, expires {iso(made.expires_at)}"
    heading, first, *rest = [*text.split("\n\n", 2), ""][:3]
    text = "\n\n".join([heading, first, *_to_decide_from(made), *rest])
    ready = Happening(
        "allclear.plan.ready",
        f"allclear.plan.{made.digest}",
        {
            "plan": made.digest,
            "incident": made.window.incident_ref,
            "items": len(made.items),
            "recipients": made.reach,
            "expires_at": iso(made.expires_at),
        },
        made.digest,
    )
    return Page("plan", title, AWAITING, EXIT_HELD, rows, text, made.digest, happenings=(ready,), steps=_deciding(made))


def _to_decide_from(made: Plan) -> list[str]:
    """What the plan would do, remedy by remedy, and every reason not to, with the number of items it concerns."""
    rows = []
    for remedy in dict.fromkeys(i.remedy for i in made.items):
        mine = [i for i in made.items if i.remedy is remedy]
        reach = sum(i.audience or 0 for i in mine if i.harm is Harm.H3)
        twice = HARM_WORDS[max(i.harm for i in mine)] if any(i.actions for i in mine) else ""
        waves = ", ".join(str(w) for w in sorted({i.wave for i in mine}))
        rows.append((REMEDY_WORDS[remedy], str(len(mine)), f"{reach:,}" if reach else "", waves, twice))
    heads = ("What", "Items", "Recipients", "Waves", "If it happened twice")
    against = Counter(t for i in made.items for t in (i.caveat, i.question) if t)
    reasons = [f"- {prose(t)} ({_many(n, 'item')})" for t, n in against.most_common(MOST_STEPS)]
    parts = ["## What it would do", table(heads, rows)]
    return [*parts, "## Why not to", "\n".join(reasons)] if reasons else parts


def _many(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _deciding(made: Plan) -> tuple[Step, ...]:
    plan = made.digest[:12]
    return (
        _approving(made),
        Step("reject it", "reject/reject", {"rejection": {"plan": plan}}),
        Step("run it, once it is approved", "recover/recover", _running(made)),
    )


def _approving(made: Plan) -> Step:
    return Step("approve this plan", "approve/approve", {"approval": {"plan": made.digest[:12]}})


def _running(made: Plan) -> dict[str, Any]:
    return {"outage": {}, "how": {"plan": made.digest[:12], "dry_run": False}}


def nothing_to_do(text: str) -> Page:
    """The page of a window in which nothing needs anything."""
    return Page("plan", "All clear: nothing needs anything", STATES[0], EXIT_ALL_CLEAR, [{"result": "all clear"}], text)


def not_run(made: Plan, state: str, why: str, text: str) -> Page:
    """This run did nothing, and why: a clean end, for nothing is wrong."""
    title = f"Plan {made.digest[:12]} {why}"
    steps = _deciding(made) if state == AWAITING else ()
    return Page("plan", title, state, EXIT_HELD, [{"result": title}], f"# {title}\n\n{text}", made.digest, steps=steps)


def recovery_page(done: RecoverResult, view: Mapping[str, Any], text: str) -> Page:
    """The page of a run: the outcome of each item, the balance, the ticket."""
    rows = [{k: i[k] for k in ("account", "kind", "name", "outcome", "reason", "key")} for i in view["items"]]
    state = "Stopped" if done.stopped else STATES[done.exit_code]
    links = ((done.ticket.url, done.ticket.key),) if done.ticket and done.ticket.url else ()
    return Page(
        "recovery",
        _recovery_title(done),
        state,
        done.exit_code,
        rows,
        text,
        done.plan.digest,
        balance_text(view["balance"]) if view["balance"] else "",
        links,
        (*_held_items(done.items), *_failed_balance(done)),
        _following(done),
    )


def _following(done: RecoverResult) -> tuple[Step, ...]:
    """What is still to be approved, the answers to what is held, then the same plan again."""
    answers = answering(done.items)
    if not answers and not done.stopped:
        return ()
    approve = [_approving(done.plan)] if lacking(done.plan, done.consent) else []
    again = Step("run the plan again, once everything is answered", "recover/recover", _running(done.plan))
    return (*approve, *answers, again)


def answering(items: Sequence[ItemRow]) -> list[Step]:
    """The answer form of each held item, with the recommended answer; where that is more than to wait comes first."""
    held = [(i, i.question) for i in items if i.outcome is ItemOutcome.HELD and i.question is not None]
    held.sort(key=lambda one: one[1].recommended == "wait")
    answers = [
        Step(
            f"answer {code(i.slot_key)}: {', '.join(asked.choices)}",
            "answer/answer",
            {"given": {"item": i.slot_key, "choice": asked.recommended}},
        )
        for i, asked in held[:MOST_STEPS]
    ]
    if more := len(held) - len(answers):
        words = f"answer {_many(more, 'more held item')}; the table `recovery-items` has the keys"
        answers.append(Step(words, "answer/answer", {}))
    return answers


def _recovery_title(done: RecoverResult) -> str:
    if done.balance is None:
        return f"Plan {done.plan.digest[:12]}: stopped; the same run again goes on from there"
    b = done.balance
    counts = f"{b.recovered} recovered, {b.skipped} skipped, {b.held} held, {b.doubles} doubles"
    trouble = f", {len(done.problems)} problems" if done.problems else ""
    return f"{counts}: {'adds up' if b.adds_up else 'DOES NOT ADD UP'}{trouble}"


def balance_text(balance: Mapping[str, Any]) -> str:
    """The closing balance as a Markdown table: due = done before us + recovered + skipped + held, doubles = 0."""
    names = ("due", "done_before", "recovered", "skipped", "held", "doubles")
    lines = ["| | |", "|---|---:|", *(f"| {n.replace('_', ' ')} | {balance[n]} |" for n in names)]
    outside = balance.get("outside", ())
    left = [f"{len(outside)} more not done, outside this plan."] if outside else []
    return "\n".join([*lines, "", "It adds up." if balance["adds_up"] else "**It does not add up.**", *left])


def _held_items(items: tuple[ItemRow, ...]) -> tuple[Happening, ...]:
    held = [i for i in items if i.outcome is ItemOutcome.HELD][:MOST_ANNOUNCED]
    return tuple(
        Happening(
            "allclear.item.held",
            f"allclear.item.{digest_of([i.slot_key])[:24]}",
            {"item": i.slot_key, "account": i.account, "kind": i.kind, "incident": i.incident},
            f"{i.slot_key}\n{i.question.text if i.question else ''}",
        )
        for i in held
    )


def _failed_balance(done: RecoverResult) -> tuple[Happening, ...]:
    if done.balance is None or done.balance.adds_up:
        return ()
    incident = done.plan.window.incident_ref
    facts = {"incident": incident, "plan": done.plan.digest, "doubles": done.balance.doubles}
    about = digest_of([done.plan.digest, *done.balance.problems])
    return (Happening("allclear.balance.failed", f"allclear.incident.{incident}", facts, about),)
