"""From check results to reasons: the playbook's rules applied to what was seen. Pure.

Every rule is tried, so all causes are reported together and no cause hides another. A check that is unknown or in error
never counts as passed; while a required one is open the case waits for a person.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from recovery.playbook import Check, Playbook, ReasonKind, State, When

_NAMED = re.compile(r"\{([a-z_0-9]+)\}")
NOT_KNOWN = "not known"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check came to, who looked (a person or "allclear") and when. `evidence` are references into the case."""

    check: str
    state: State
    codes: tuple[str, ...]
    summary: str
    at: datetime
    by: str
    source: str
    facts: Mapping[str, str] = field(default_factory=dict)
    link: str = ""
    evidence: tuple[str, ...] = ()
    filled: Mapping[str, str] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        """Whether nobody can say yet."""
        return self.state in (State.UNKNOWN, State.ERROR)


@dataclass(frozen=True, slots=True)
class Ask:
    """A field that the intake still lacks, in words for the person who is asked. `fields` are alternatives."""

    fields: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """Something that only a person can do: where, what is asked, and the answers that count."""

    check: str
    text: str
    menu_path: str
    link: str
    choices: tuple[tuple[str, str], ...]
    why: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A reason that applies, its texts filled in, and the tokens that made it apply."""

    code: str
    kind: ReasonKind
    title: str
    client_text: str
    resolution: str
    because: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The outcome of a run: all reasons, what a person must still do, and whether the client may be told already."""

    hits: tuple[Hit, ...]
    steps: tuple[Step, ...]
    complete: bool

    def of(self, kind: ReasonKind) -> tuple[Hit, ...]:
        """The reasons of one kind."""
        return tuple(h for h in self.hits if h.kind is kind)

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of all reasons."""
        return tuple(h.code for h in self.hits)


def missing_fields(playbook: Playbook, fields: Mapping[str, str]) -> tuple[Ask, ...]:
    """Exactly what the intake still lacks; of a group one field is enough (R000.1 to R000.4)."""
    asks: list[Ask] = []
    groups: dict[str, list[str]] = {}
    given = {name for name, value in fields.items() if value.strip()}
    for wanted in playbook.prerequisites:
        if wanted.group:
            groups.setdefault(wanted.group, []).append(wanted.field)
        elif wanted.required and wanted.field not in given:
            asks.append(Ask((wanted.field,), wanted.ask))
    words = {p.field: p.ask for p in playbook.prerequisites}
    groups_open = (names for names in groups.values() if not given & set(names))
    return (*asks, *(Ask(tuple(names), " Or: ".join(words[n] for n in names)) for names in groups_open))


def tokens(results: Mapping[str, CheckResult]) -> frozenset[str]:
    """The facts that rules are written over: `check=state` and `check:code`."""
    return frozenset(
        token for r in results.values() for token in (f"{r.check}={r.state}", *(f"{r.check}:{c}" for c in r.codes))
    )


def applies(when: When, seen: frozenset[str]) -> bool:
    """Whether a rule's condition holds."""
    return (
        all(t in seen for t in when.all)
        and (not when.any or any(t in seen for t in when.any))
        and not any(t in seen for t in when.none)
    )


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its `{names}` replaced by plain values; what nobody knows reads "not known", never a placeholder.

    Values are put in as they are and never read again for names, so hostile text stays text.
    """
    return _NAMED.sub(lambda found: values.get(found[1], "").strip() or NOT_KNOWN, text)


def values_of(
    playbook: Playbook, account: str, fields: Mapping[str, str], results: Mapping[str, CheckResult]
) -> dict[str, str]:
    """Everything a text may name: intake fields and the facts of the checks, in the order of the checks."""
    values: dict[str, str] = {}
    for check in playbook.checks:
        if check.id in results:
            values |= results[check.id].facts
    return values | dict(fields) | {"account": account, "playbook_title": playbook.title}


def diagnose(
    playbook: Playbook, account: str, fields: Mapping[str, str], results: Mapping[str, CheckResult]
) -> Diagnosis:
    """All reasons that apply and all steps that are open.

    The fallback reason applies when every check has an answer and no rule fits: nothing ends without a named reason.
    """
    seen = tokens(results)
    values = values_of(playbook, account, fields, results)
    hits: dict[str, Hit] = {}
    for rule in playbook.rules:
        if rule.reason not in hits and applies(rule.when, seen):
            because = tuple(t for t in (*rule.when.all, *rule.when.any) if t in seen)
            hits[rule.reason] = _hit(playbook, rule.reason, because, values)
    steps = tuple(_steps(playbook, results))
    complete = all(c.id in results and not results[c.id].open for c in playbook.checks if c.required)
    if not hits and not steps:
        hits[playbook.fallback] = _hit(playbook, playbook.fallback, (), values)
    return Diagnosis(tuple(hits.values()), steps, complete)


def _hit(playbook: Playbook, code: str, because: tuple[str, ...], values: Mapping[str, str]) -> Hit:
    reason = playbook.reason(code)
    text = fill(reason.client_text, values).strip()
    return Hit(code, reason.kind, reason.title, text, fill(reason.resolution, values).strip(), because)


def _steps(playbook: Playbook, results: Mapping[str, CheckResult]) -> Iterator[Step]:
    for check in playbook.checks:
        result = results.get(check.id)
        if result is None or result.open:
            yield step_of(check, result)


def step_of(check: Check, result: CheckResult | None) -> Step:
    """What a person is asked to do about an open check."""
    return Step(
        check=check.id,
        text=check.question or check.title,
        menu_path=check.menu_path,
        link=result.link if result else "",
        choices=tuple((c.value, c.label) for c in check.choices),
        why=result.summary if result else "not looked at yet",
    )
