"""What a run found, did and proved, as data and as documents.

The dataclasses are the only input of every report: HTML (`render_html`), Markdown (`render_markdown`) and the
terminal (`recovery.report.text`). Nothing here reads a clock, a ledger or a remote. Text from remotes is data in all
of them: it never becomes markup, and characters that could steer a terminal or reorder text are shown as codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from recovery.model import (
    ActionKind,
    ActionState,
    Approval,
    Balance,
    Exchange,
    Facts,
    Finding,
    Harm,
    ItemOutcome,
    OutageWindow,
    Plan,
    Question,
    Remedy,
    Slot,
    Testimony,
    Verdict,
)
from recovery.ports import TicketRef

Mode: TypeAlias = Literal["audit", "plan", "recover"]
Outcome: TypeAlias = ItemOutcome | Literal["done_before"]


@dataclass(frozen=True, slots=True)
class ActionReport:
    """One action of an item as the ledger has it; `at` is when its state was last settled (UTC)."""

    kind: ActionKind
    state: ActionState
    ref: str = ""
    at: datetime | None = None
    harm: Harm = Harm.H0
    reversible: bool = True
    attempts: int = 0
    evidence_digest: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ItemReport:
    """One slot from verdict to outcome: before, action, actor, time, after and evidence (R001.39).

    `outcome` is "done_before" when the slot needed nothing of us. `before` and `after` are what was read just before
    the first action and after the last. `actor` is the person or the schedule on whose behalf it was done.
    """

    slot: Slot
    name: str
    verdict: Verdict
    remedy: Remedy
    outcome: Outcome
    reason: str = ""
    question: Question | None = None
    before: Facts = field(default_factory=dict)
    after: Facts = field(default_factory=dict)
    actor: str = ""
    actions: tuple[ActionReport, ...] = ()
    testimonies: tuple[Testimony, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountReport:
    """One account of the window and whether it could be read; `problem` says why not, in words for a person."""

    name: str
    time_zone: str = "UTC"
    readable: bool = True
    problem: str = ""


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything a report says about one run.

    A finding whose slot is not among `items` is shown as an item that nothing was done about. `contact_us_url` is where
    the message about everything unresolved goes (R001.37): an https, http or mailto address; any other is not linked.
    """

    window: OutageWindow
    incident_ref: str
    title: str
    made_at: datetime
    mode: Mode
    accounts: tuple[AccountReport, ...] = ()
    findings: tuple[Finding, ...] = ()
    items: tuple[ItemReport, ...] = ()
    plan: Plan | None = None
    approvals: tuple[Approval, ...] = ()
    balance: Balance | None = None
    ticket: TicketRef | None = None
    notices: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    contact_us_url: str = ""


def render_html(report: RunReport, *, evidence: Mapping[tuple[str, str], Exchange] | None = None) -> str:
    """One self-contained HTML page: no request leaves it, and it can be read without scripts.

    `evidence` maps each digest that the report names, with the account of the item that names it, to the stored reply;
    the most telling ones are put into the page.
    """
    from recovery.report.html import page

    return page(report, evidence or {})


def render_markdown(report: RunReport) -> str:
    """The report as GitHub-flavoured Markdown, short enough for a Prefect artifact; remote text stays in code spans."""
    from recovery.report.markdown import document

    return document(report)
