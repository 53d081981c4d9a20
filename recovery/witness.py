"""What a playbook's checks are made of: named async witnesses, what they are given and what they answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from recovery.model import Exchange
from recovery.playbook import Check, Example, Profile, State
from recovery.ports import Clock, Keep

T = TypeVar("T")


class Tape:
    """Remembers every exchange that passes to `then`; give `tape.keep` to the transports that a case reads through.

    So a failed read leaves its answer in the case's evidence too (E.1). One tape serves one case at a time.
    """

    def __init__(self, then: Keep | None = None) -> None:
        self.exchanges: list[Exchange] = []
        self._then = then

    async def keep(self, exchange: Exchange) -> None:
        """Remember the exchange and hand it on."""
        self.exchanges.append(exchange)
        if self._then is not None:
            await self._then(exchange)


@dataclass(frozen=True, slots=True)
class Sight:
    """What a witness saw. `facts` are plain texts for wordings and cards; `slots` fills evidence slots with text.

    `link` gives values for the check's deep link; `source` names where the answer comes from.
    """

    state: State
    codes: tuple[str, ...]
    summary: str
    facts: Mapping[str, str] = field(default_factory=dict)
    slots: Mapping[str, str] = field(default_factory=dict)
    link: Mapping[str, str] = field(default_factory=dict)
    source: str = ""


@dataclass(slots=True)
class Visit:
    """One run of one case: what the witnesses are given, and a memory so that each remote is read once.

    `sources` holds the ports by name, put there by the wiring; a witness that finds none answers ERROR.
    """

    account: str
    fields: Mapping[str, str]
    profiles: Mapping[str, Profile]
    examples: tuple[Example, ...]
    clock: Clock
    sources: Mapping[str, object]
    tape: Tape
    used: list[Exchange] = field(default_factory=list)
    _memory: dict[str, object] = field(default_factory=dict)
    _taken: dict[str, list[Exchange]] = field(default_factory=dict)

    async def once(self, name: str, read: Callable[[], Awaitable[T]]) -> T:
        """The result of `read`, read at most once a visit; a failed read is tried again by the next witness.

        The exchanges it took are evidence for every check that asks for it.
        """
        if name not in self._memory:
            start = len(self.tape.exchanges)
            try:
                self._memory[name] = await read()
            finally:
                self._taken[name] = self.tape.exchanges[start:]
                if name not in self._memory:
                    self.used += self._taken[name]
        self.used += self._taken[name]
        return self._memory[name]  # type: ignore[return-value]  # stored under this name by the same caller

    def take_used(self) -> tuple[Exchange, ...]:
        """The exchanges behind the check that just ran, each once; the next check starts with none."""
        found = tuple(dict.fromkeys(self.used))
        self.used.clear()
        return found


Witness = Callable[[Visit, Check], Awaitable[Sight]]


@dataclass(frozen=True, slots=True)
class WitnessSpec:
    """A registered witness: every code it may say, the profile settings it needs, the facts it gives."""

    name: str
    run: Witness
    codes: frozenset[str]
    settings: Mapping[str, type] = field(default_factory=dict)
    facts: frozenset[str] = frozenset()
    link: frozenset[str] = frozenset()


Registry = Mapping[str, WitnessSpec]


async def ask_person(visit: Visit, check: Check) -> Sight:
    """Always UNKNOWN: no API exists, a person looks and attests. The witness of any step that is only human."""
    del visit
    return Sight(
        State.UNKNOWN, ("needs_person",), check.question or f"A person must look: {check.title}", source="person"
    )


ASK_PERSON = WitnessSpec("ask_person", ask_person, frozenset({"needs_person"}))
