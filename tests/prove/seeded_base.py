"""Seeded bugs in schedules: the row of one, how schedules show it, and the layers that can be taken away."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import pytest

from recovery import act, gate
from recovery.act import Effect, Runner
from recovery.gate import Allow
from recovery.ledger import actions as ledger_actions
from recovery.ledger.rows import ActionRow
from recovery.model import ActionState
from recovery.policy import Policy
from recovery.recipes.jobs import Starter
from tests.prove.families import points_of, quiet
from tests.prove.product_ledger import ProductPlay
from tests.prove.remote import Faults
from tests.prove.runs import Case
from tests.prove.schedule import play
from tests.prove.trouble import Trouble

Patch = pytest.MonkeyPatch
S = ActionState
FOREVER = 1e9
SEEDS = range(6)


@dataclass(frozen=True, slots=True)
class Bug:
    """One seeded bug. `says` is how the oracle's complaint about it begins."""

    number: int
    name: str
    plant: Callable[[Patch], object]
    says: str
    show: Callable[[], Iterable[str]]
    weaken: Callable[[Patch], object] = lambda _patch: None


# ---- how schedules show a bug ---------------------------------------------------------------------------------------


def shown(kind: type[ProductPlay], trouble: Callable[[], Trouble], seeds: Iterable[int] = SEEDS) -> Iterable[str]:
    """The complaints about one schedule under several orders."""
    for seed in seeds:
        yield from play(seed, trouble(), kind=kind).complaints


def in_family(cases: Callable[[], Iterable[Case]], *, every: int, most: int | None = None) -> Iterable[str]:
    """The complaints about each so-many-th case of a family."""
    for _, trouble in islice(cases(), 0, most, every):
        yield from play(0, trouble, kind=ProductPlay).complaints


def point(scenario: str, name: str) -> int:
    """The number of a named point, counted anew: a layer that is gone takes its points with it."""
    return points_of.__wrapped__(scenario).index(name) + 1


LATE = partial(Faults, script=("late",))
RUN_LATE = partial(quiet, "run_now")
FIRST_BYTE = "before the first byte of run_now"


class Patient(ProductPlay):
    """Waits between intent and first byte as long as it takes."""

    def policy(self) -> Policy:
        known = super().policy()
        return replace(known, waits=replace(known.waits, send_within=FOREVER))


class Weak(ProductPlay):
    """A database without some of its constraints."""

    ddl: tuple[str, ...] = ()

    def prepare(self, raw: sqlite3.Connection) -> None:
        for statement in self.ddl:
            raw.execute(statement)


class WeakAndPatient(Weak, Patient):
    """Both."""


NO_HISTORY = ("PRAGMA foreign_keys = OFF", "DROP TRIGGER legal_move")
NO_K4 = ("DROP INDEX one_effect_per_action",)


def without(patch: Patch, *ddl: str) -> None:
    patch.setattr(Weak, "ddl", ddl)


# ---- layers that are taken away -------------------------------------------------------------------------------------


def any_sender(patch: Patch) -> None:
    """Nobody asks whether the process that sent is dead."""
    patch.setattr(ledger_actions, "_check_sender_is_gone", lambda _work, _row: None)


def any_class(patch: Patch) -> None:
    """What is not seen may be repeated, whatever it is (no class H)."""
    real = Runner._settle_unknown

    async def settle(self: Runner, effect: Effect, row: ActionRow) -> Any:
        return await real(self, replace(effect, repeatable=True), row)

    patch.setitem(Runner._MOVES, S.UNKNOWN, settle)


def any_age(patch: Patch) -> None:
    """A check never gets old."""
    patch.setattr(act, "OLDEST_CHECK_SECONDS", FOREVER)


def no_second_look(patch: Patch) -> None:
    """Neither the look before a try nor the logs before a start."""
    real = Runner._try

    async def hasty(self: Runner, effect: Effect, not_sent: list[str]) -> Any:
        return await real(self, replace(effect, look_first=False), not_sent)

    async def allowed(_self: Starter) -> Allow:
        return Allow()

    patch.setattr(Runner, "_try", hasty)
    patch.setattr(Starter, "_check", allowed)


def all_of(*layers: Callable[[Patch], object]) -> Callable[[Patch], None]:
    def weaken(patch: Patch) -> None:
        for layer in layers:
            layer(patch)

    return weaken


def without_rule(rule: object) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(gate, "RELEASE_RULES", tuple(r for r in gate.RELEASE_RULES if r is not rule))
