"""The report at a terminal: renderables for rich, readable at 80 columns, in a pipe and without colour.

Every function returns a rich renderable and prints nothing; `show` prints one so that ids stay whole in a pipe. Remote
text is never read as rich markup, and control or bidi characters are shown as codes. Every state has a word beside its
colour. rich is imported when a function runs, so that importing this module costs nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from recovery.model import Balance, Finding, Harm, Plan, PlanItem, Remedy, Slot
from recovery.report.report import ItemReport, RunReport
from recovery.report.summary import (
    accounts_of,
    all_items,
    headline,
    held_groups,
    outcome_counts,
    recovered_groups,
    skipped_groups,
    verdict_counts,
    witness_line,
)
from recovery.report.words import (
    KIND_WORDS,
    OUTCOME_WORDS,
    OUTSIDE_SHOWN,
    REMEDY_WORDS,
    VERDICT_WORDS,
    both_times,
    counted,
    shown,
    utc_time,
    word_of,
)

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType
    from rich.table import Table
    from rich.text import Text

STYLES = {
    "done": "green",
    "done_before": "green",
    "confirmed": "green",
    "skipped": "dim",
    "held": "yellow",
    "partial": "yellow",
    "uncertain": "yellow",
    "open": "cyan",
    "stalled": "magenta",
    "missed": "red",
    "failed": "red",
    "good": "bold green",
    "wait": "bold yellow",
    "bad": "bold red",
}
NAME_CHARACTERS = 120
INDENT = " " * 12


def show(console: Console, renderable: RenderableType) -> None:
    """Print it: at a terminal wrapped under its own indent; in a pipe no line is broken, so ids can be searched for."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    if isinstance(renderable, Group):
        for part in renderable.renderables:
            show(console, part)
        return
    indent = len(renderable.plain) - len(renderable.plain.lstrip(" ")) if isinstance(renderable, Text) else 0
    if isinstance(renderable, Text) and indent and console.is_terminal:
        console.print(Padding(renderable[indent:], (0, 0, 0, indent)))
    else:
        console.print(renderable, soft_wrap=not console.is_terminal)


def audit_table(report: RunReport) -> Group:
    """What the audit found: the sums of every account, then every slot that was not simply done."""
    from rich.console import Group

    items = all_items(report)
    amiss = [item for item in items if item.verdict.value != "done"]
    parts: list[RenderableType] = [
        _headline(report, items),
        _account_table(report, items, VERDICT_WORDS, verdict_counts),
    ]
    parts += _unreadable(report)
    parts += [line for item in amiss for line in (_text(""), *_slot_lines(item))]
    return Group(*parts)


def outcome_tables(report: RunReport) -> Group:
    """What a recovery came to: the balance, what was done, what was skipped, and what is held with its question."""
    from rich.console import Group

    items = all_items(report)
    parts: list[RenderableType] = [_headline(report, items)]
    if report.balance:
        parts.append(balance_line(report.balance))
    parts += [_text(""), _account_table(report, items, OUTCOME_WORDS, outcome_counts), *_unreadable(report)]
    for group in recovered_groups(report, items):
        reach = f", planned for {group.recipients:,} recipients" if group.recipients else ""
        parts.append(_text(("+ ", STYLES["confirmed"]), group.title + reach))
    for group in skipped_groups(items):
        parts.append(_text(("- ", STYLES["skipped"]), f"{len(group.items):,} skipped: {group.title}"))
    for group in held_groups(items):
        parts += [
            _text(""),
            _text(("? ", STYLES["held"]), (f"{counted(len(group.items), 'item')} held: ", "bold"), group.title),
        ]
        if group.recommended:
            parts.append(_text("  Recommended: ", group.recommended))
        parts += [line for item in group.items for line in _item_lines(item)]
    open_items = [item for item in items if str(item.outcome) == "open"]
    if open_items:
        parts += [_text(""), _text(("! ", "bold red"), f"{counted(len(open_items), 'item')} not finished:")]
        parts += [line for item in open_items for line in _item_lines(item)]
    return Group(*parts)


def balance_line(balance: Balance) -> Text:
    """The closing balance as one sum, and whether it adds up."""
    doubles = (f"{balance.doubles:,}", STYLES["bad"] if balance.doubles else STYLES["good"])
    verdict = ("adds up", STYLES["good"]) if balance.adds_up else ("DOES NOT ADD UP", STYLES["bad"])
    line = _text(
        (f"{balance.due:,}", "bold"),
        f" due = {balance.done_before:,} done before + {balance.recovered:,} recovered + {balance.skipped:,} skipped",
        f" + {balance.held:,} held; doubles ",
        doubles,
        ": ",
        verdict,
    )
    for problem in balance.problems:
        line.append(f"\n  ! {shown(problem, 600)}", style="red")
    if balance.outside:
        line.append(f"\n  {counted(len(balance.outside), 'more slot')} not done, outside this plan:")
    for key in balance.outside[:OUTSIDE_SHOWN]:
        line.append(f"\n    {shown(key, 600)}")
    if len(balance.outside) > OUTSIDE_SHOWN:
        line.append(f"\n    and {len(balance.outside) - OUTSIDE_SHOWN:,} more: `allclear audit` lists them")
    return line


def plan_diff(plan: Plan, findings: Iterable[Finding] = ()) -> Group:
    """The plan like a diff, by account and kind: what will change, who is reached, what can be undone, what is held.

    `findings` add what the witnesses saw. `+` will be done, `~` is watched, `-` is dropped, `?` waits for a person.
    """
    from rich.console import Group

    saw = {f.slot: "; ".join(f"{t.witness}: {t.saw.value}" for t in f.evidence.testimonies) for f in findings}
    by_account: dict[str, list[PlanItem]] = defaultdict(list)
    for item in plan.items:
        by_account[item.slot.account].append(item)
    parts: list[RenderableType] = []
    for account, items in sorted(by_account.items()):
        parts += _account_diff(account, items, saw)
    parts += _plan_foot(plan)
    return Group(*parts)


def _account_diff(account: str, items: Sequence[PlanItem], saw: dict[Slot, str]) -> list[RenderableType]:
    signs = [_sign(item) for item in items]
    words = {"+": "to do", "~": "to watch", "-": "to drop", "?": "held"}
    sums = ", ".join(f"{signs.count(sign)} {word}" for sign, word in words.items() if sign in signs)
    zone = items[0].slot.time_zone
    parts: list[RenderableType] = [_text((shown(account), "bold"), f" ({shown(zone)}): {sums}")]
    by_kind: dict[str, list[PlanItem]] = defaultdict(list)
    for item in sorted(items, key=lambda i: i.order):
        by_kind[item.slot.kind].append(item)
    for kind, members in by_kind.items():
        parts.append(_text((f"  {word_of(KIND_WORDS, kind)} ({len(members)})", "underline")))
        parts += [line for item in members for line in _diff_lines(item, saw.get(item.slot, ""))]
    return [*parts, _text("")]


def _sign(item: PlanItem) -> str:
    if item.remedy is Remedy.HOLD or item.question:
        return "?"
    if item.remedy in (Remedy.DROP, Remedy.NONE):
        return "-"
    return "~" if item.remedy is Remedy.MONITOR else "+"


def _diff_lines(item: PlanItem, saw: str) -> list[Text]:
    sign = _sign(item)
    style = {"+": "green", "~": "cyan", "-": "dim", "?": "yellow"}[sign]
    name = shown(item.slot.name, NAME_CHARACTERS) or "(no name)"
    lines = [
        _text((f"  {sign} ", f"bold {style}"), (name, style), f"  {word_of(REMEDY_WORDS, item.remedy.value).lower()}"),
        _text((f"      {shown(item.slot.key)}", "dim")),
        _text(f"      due {both_times(item.slot.due_at, item.slot.time_zone)}"),
        _text(f"      {word_of(VERDICT_WORDS, item.verdict.value).lower()}: {shown(item.reason, 400)}"),
    ]
    if saw:
        lines.append(_text((f"      saw {shown(saw.replace('_', ' '), 400)}", "dim")))
    lines += [_action_line(item, place) for place in range(len(item.actions))]
    if item.harm is Harm.H3:
        reach = f"{item.audience:,} recipients" if item.audience is not None else "an unknown number of recipients"
        lines.append(_text("      ", (f"reaches {reach}", "bold red")))
    if sign == "?":
        lines.append(_text(("      held: ", "yellow"), shown(item.question or item.reason, 600)))
    if item.recommended:
        lines.append(_text("      recommended: ", shown(item.recommended, 600)))
    return lines


def _action_line(item: PlanItem, place: int) -> Text:
    action = item.actions[place]
    undo = ("can be undone", "dim") if action.reversible else ("cannot be undone", "red")
    return _text(f"      {place + 1}. {shown(action.summary, 400)} (", undo, ")")


def _plan_foot(plan: Plan) -> list[RenderableType]:
    signs = [_sign(item) for item in plan.items]
    caveats = Counter(item.caveat for item in plan.items if item.caveat)
    return [
        *(_text(("Caveat ", "yellow"), f"({counted(n, 'item')}): {shown(c, 600)}") for c, n in caveats.most_common()),
        _text(
            (counted(len(plan.items), "item"), "bold"),
            f": {signs.count('+')} to do, {signs.count('~')} to watch, {signs.count('-')} to drop, ",
            (f"{signs.count('?')} held", "yellow"),
            f"; reaches {plan.reach:,} recipients as far as known",
        ),
        _text(f"plan {plan.digest}"),
        _text(f"made {utc_time(plan.made_at)}, valid until {utc_time(plan.expires_at)}"),
    ]


def _headline(report: RunReport, items: tuple[ItemReport, ...]) -> Text:
    first = headline(report, items)
    zones = {a.time_zone for a in accounts_of(report, items)}
    zone = zones.pop() if len(zones) == 1 else "UTC"
    window = f"{both_times(report.window.started_at, zone)} to {both_times(report.window.ended_at, zone)}"
    text = _text((first.text, STYLES[first.state]), "\n", first.explanation, "\n")
    text.append(f"{shown(report.incident_ref)}, outage {window}\n", style="dim")
    for problem in report.problems:
        text.append(f"! {shown(problem, 600)}\n", style="red")
    return text


def _unreadable(report: RunReport) -> list[RenderableType]:
    return [
        _text(
            ("! ", "bold red"),
            f"{shown(a.name)} could not be read: {shown(a.problem, 400)}",
            ("\n  To do: ", "bold"),
            f"`allclear doctor --account {shown(a.name)}` asks it again and says what to check.",
        )
        for a in report.accounts
        if not a.readable
    ]


def _account_table(
    report: RunReport,
    items: Sequence[ItemReport],
    words: dict[str, str],
    counter: Callable[[Iterable[ItemReport]], Counter[str]],
) -> Table:
    from rich.table import Table

    present = [key for key in words if counter(items)[key]]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("Account", overflow="fold")
    table.add_column("Due", justify="right")
    for key in present:
        table.add_column(words[key], justify="right", style=STYLES[key])
    by_account: dict[str, list[ItemReport]] = defaultdict(list)
    for item in items:
        by_account[item.slot.account].append(item)
    for account in accounts_of(report, items):
        members = by_account[account.name]
        sums = counter(members)
        cells = [_text(f"{sums[key]:,}" if sums[key] else ".") for key in present]
        table.add_row(_text(shown(account.name)), _text(f"{len(members):,}"), *cells)
    return table


def _slot_lines(item: ItemReport) -> list[Text]:
    slot, verdict = item.slot, item.verdict.value
    word = f"{word_of(VERDICT_WORDS, verdict):<12}"
    name = shown(item.name, NAME_CHARACTERS) or "(no name)"
    return [
        _text((word, STYLES[verdict]), (name, "bold"), f"  {word_of(KIND_WORDS, slot.kind).lower()}"),
        _text((f"{INDENT}{shown(slot.key)}", "dim")),
        _text(f"{INDENT}due {both_times(slot.due_at, slot.time_zone)}"),
        _text(f"{INDENT}{shown(item.reason, 400)}"),
        _text((f"{INDENT}{witness_line(item)}", "dim")),
    ]


def _item_lines(item: ItemReport) -> list[Text]:
    name = shown(item.name, NAME_CHARACTERS) or "(no name)"
    due = both_times(item.slot.due_at, item.slot.time_zone)
    return [_text(f"  {name}, due {due}"), _text((f"    {shown(item.slot.key)}", "dim"))]


def _text(*parts: str | tuple[str, str]) -> Text:
    """Text from plain or styled pieces, never markup. It sets no overflow: `show` chooses folding or long lines."""
    from rich.text import Text

    return Text.assemble(*parts)
