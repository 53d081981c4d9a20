"""The timeline of an outage as geometry: one lane per account, the window shaded, local and UTC axes.

`timeline` computes, `templates/timeline.svg.j2` draws. Marks differ in shape as well as colour. The number of drawn
elements is bounded whatever the number of slots: crowded lanes become stacked columns, and accounts beyond
`LANES_SHOWN` share one lane.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from recovery.report.report import AccountReport, ItemReport, RunReport
from recovery.report.summary import status_of
from recovery.report.words import OUTCOME_WORDS, VERDICT_WORDS, both_times, counted, shown, word_of, zone_of

WIDTH = 1120
LABEL_WIDTH = 196
RIGHT = 16
BIN = 14
MARK_ROWS = 4
MARKED_SLOTS = 2000
LANES_SHOWN = 40
BAR_HEIGHT = 44
AXIS_HEIGHT = 34
STEPS_MINUTES = (5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080)
STATUSES = ("missed", "stalled", "failed", "partial", "uncertain", "open", "held", "skipped", "confirmed", "done")


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled instant of an axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One slot: a shape named by its status."""

    x: float
    y: float
    status: str
    title: str


@dataclass(frozen=True, slots=True)
class Bar:
    """All columns of one status in a crowded lane, as one SVG path."""

    status: str
    path: str


@dataclass(frozen=True, slots=True)
class Overflow:
    """How many slots of a column are not drawn one by one."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One account: its slots, the times of recovery actions, and the local time axis."""

    name: str
    zone: str
    summary: str
    y: float
    height: float
    ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    bars: tuple[Bar, ...]
    overflow: tuple[Overflow, ...]
    actions: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything the template draws; lengths in SVG units."""

    width: int
    height: float
    window_x: float
    window_width: float
    window_label: str
    utc_ticks: tuple[Tick, ...]
    lanes: tuple[Lane, ...]
    legend: tuple[tuple[str, str], ...]
    description: str
    has_actions: bool
    has_columns: bool


@dataclass(frozen=True, slots=True)
class _Span:
    start: datetime
    end: datetime

    def x(self, moment: datetime) -> float:
        inside = min(max(moment, self.start), self.end)
        share = (inside - self.start) / (self.end - self.start)
        return round(LABEL_WIDTH + share * (WIDTH - LABEL_WIDTH - RIGHT), 1)


def timeline(report: RunReport, items: Sequence[ItemReport], accounts: Sequence[AccountReport]) -> Timeline:
    """The whole outage: every slot as a mark or as part of a column, and what each account's clock showed."""
    span = _span(report, items)
    by_account: dict[str, list[ItemReport]] = defaultdict(list)
    for item in items:
        by_account[item.slot.account].append(item)
    shares = _lane_shares(accounts, by_account)
    instants = _tick_instants(span)
    as_bars = len(items) > MARKED_SLOTS
    lanes: list[Lane] = []
    y = float(AXIS_HEIGHT)
    for name, zone, members in shares:
        lane = _lane(report, name, zone, members, span, instants, y, as_bars)
        lanes.append(lane)
        y += lane.height
    start_x, end_x = span.x(report.window.started_at), span.x(report.window.ended_at)
    present = {status_of(i, report.mode) for i in items}
    return Timeline(
        width=WIDTH,
        height=y + 6,
        window_x=start_x,
        window_width=round(max(end_x - start_x, 1), 1),
        window_label="outage",
        utc_ticks=tuple(Tick(span.x(t), _label(t, "UTC", instants)) for t in instants),
        lanes=tuple(lanes),
        legend=tuple((s, status_word(s)) for s in reversed(STATUSES) if s in present),
        description=_description(report, items, len(shares)),
        has_actions=any(lane.actions for lane in lanes),
        has_columns=as_bars,
    )


def status_word(status: str) -> str:
    """The word for a status of `status_of`."""
    return OUTCOME_WORDS["done_before"] if status == "done" else word_of(OUTCOME_WORDS | VERDICT_WORDS, status)


def _span(report: RunReport, items: Iterable[ItemReport]) -> _Span:
    """The window, every due time, and the recovery when it came soon enough not to squeeze the rest."""
    dues = [i.slot.due_at for i in items]
    start = min([report.window.started_at, *dues])
    end = max([report.window.ended_at, *dues])
    length = max(end - start, timedelta(minutes=5))
    acted = [a.at for i in items for a in i.actions if a.at and a.at <= end + 2 * length]
    end = max([end, *acted])
    padding = (end - start) * 0.03 + timedelta(minutes=1)
    return _Span(start - padding, end + padding)


def _lane_shares(
    accounts: Sequence[AccountReport], by_account: dict[str, list[ItemReport]]
) -> list[tuple[str, str, list[ItemReport]]]:
    """Accounts as lanes; with too many, those with most amiss keep a lane and the rest share the last one."""
    shares = [(a.name, a.time_zone, by_account.get(a.name, [])) for a in accounts]
    if len(shares) <= LANES_SHOWN:
        return shares
    ranked = sorted(shares, key=lambda s: (-sum(i.outcome != "done_before" for i in s[2]), s[0]))
    kept, rest = ranked[: LANES_SHOWN - 1], ranked[LANES_SHOWN - 1 :]
    others = [item for share in rest for item in share[2]]
    return [*sorted(kept), (f"{len(rest):,} other accounts", "UTC", others)]


def _lane(
    report: RunReport,
    name: str,
    zone: str,
    items: Sequence[ItemReport],
    span: _Span,
    instants: Sequence[datetime],
    y: float,
    as_bars: bool,
) -> Lane:
    bins: dict[int, list[ItemReport]] = defaultdict(list)
    for item in items:
        bins[int((span.x(item.slot.due_at) - LABEL_WIDTH) // BIN)].append(item)
    rows = BAR_HEIGHT if as_bars else 14 * min(max(map(len, bins.values()), default=1), MARK_ROWS)
    height = rows + 28.0
    floor = y + height - 20
    marks, overflow = ((), ()) if as_bars else _marks(bins, floor, report.mode)
    wrong = sum(i.outcome != "done_before" for i in items)
    return Lane(
        name=shown(name, 24),
        zone=zone,
        summary=f"{counted(len(items), 'slot')}, {wrong:,} amiss",
        y=y,
        height=height,
        ticks=tuple(Tick(span.x(t), _label(t, zone, instants)) for t in instants),
        marks=marks,
        bars=_bars(bins, floor, report.mode) if as_bars else (),
        overflow=overflow,
        actions=_action_path(items, span, floor),
    )


def _marks(bins: dict[int, list[ItemReport]], floor: float, mode: str) -> tuple[tuple[Mark, ...], tuple[Overflow, ...]]:
    marks: list[Mark] = []
    overflow: list[Overflow] = []
    for column, members in bins.items():
        x = LABEL_WIDTH + column * BIN + BIN / 2
        ordered = sorted(members, key=lambda i: STATUSES.index(status_of(i, mode)))
        visible = ordered if len(ordered) <= MARK_ROWS else ordered[: MARK_ROWS - 1]
        for row, item in enumerate(reversed(visible)):
            marks.append(Mark(x, floor - 7 - 14 * row, status_of(item, mode), _mark_title(item, mode)))
        if len(visible) < len(ordered):
            overflow.append(Overflow(x, floor - 3 - 14 * (MARK_ROWS - 1), f"+{len(ordered) - len(visible)}"))
    return tuple(marks), tuple(overflow)


def _mark_title(item: ItemReport, mode: str) -> str:
    due = both_times(item.slot.due_at, item.slot.time_zone)
    return f"{shown(item.name, 80)}: {status_word(status_of(item, mode)).lower()}, due {due}"


def _bars(bins: dict[int, list[ItemReport]], floor: float, mode: str) -> tuple[Bar, ...]:
    """Stacked columns, one path per status, as high as their share of the fullest column."""
    fullest = max(map(len, bins.values()), default=1)
    paths: dict[str, list[str]] = defaultdict(list)
    for column, members in bins.items():
        x, base = LABEL_WIDTH + column * BIN + 1, floor
        for status, count in sorted(Counter(status_of(i, mode) for i in members).items(), key=_by_status):
            tall = round(max(count / fullest * BAR_HEIGHT, 0.8), 1)
            base = round(base - tall, 1)
            paths[status].append(f"M{x} {base}h{BIN - 2}v{tall}h-{BIN - 2}z")
    return tuple(Bar(status, "".join(parts)) for status, parts in paths.items())


def _by_status(pair: tuple[str, int]) -> int:
    return -STATUSES.index(pair[0])


def _action_path(items: Iterable[ItemReport], span: _Span, floor: float) -> str:
    """Small upward strokes where recovery actions took effect, each place once."""
    places = {span.x(a.at) for i in items for a in i.actions if a.at and span.start <= a.at <= span.end}
    return "".join(f"M{x} {floor}v-9" for x in sorted(places))


def _tick_instants(span: _Span) -> list[datetime]:
    """Whole multiples of a round step in UTC, at most twelve."""
    minutes = (span.end - span.start).total_seconds() / 60
    step = next((s for s in STEPS_MINUTES if minutes / s <= 12), STEPS_MINUTES[-1]) * 60
    first = -(-int(span.start.timestamp()) // step) * step
    last = int(span.end.timestamp())
    return [datetime.fromtimestamp(t, UTC) for t in range(first, last + 1, max(step, (last - first) // 12 or 1))]


def _label(moment: datetime, zone: str, instants: Sequence[datetime]) -> str:
    """The hour, with the date where the local day starts anew."""
    local = moment.astimezone(zone_of(zone))
    place = instants.index(moment)
    new_day = place == 0 or instants[place - 1].astimezone(zone_of(zone)).date() != local.date()
    return f"{local.day} {local:%b %H:%M}" if new_day else f"{local:%H:%M}"


def _description(report: RunReport, items: Sequence[ItemReport], lanes: int) -> str:
    counts = Counter(status_word(status_of(i, report.mode)).lower() for i in items)
    sums = ", ".join(f"{n:,} {word}" for word, n in counts.most_common()) or "no slots"
    window = f"{both_times(report.window.started_at, 'UTC')} to {both_times(report.window.ended_at, 'UTC')}"
    return f"{counted(lanes, 'lane')}. Outage {window}. {sums}. Every slot is in the table below."
