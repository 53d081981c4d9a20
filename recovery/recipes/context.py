"""What every recipe is given, and the small builders that all of them use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from recovery.act import Ended, Runner
from recovery.gate import Hold, Skip
from recovery.ledger.rows import ActionSpec
from recovery.model import ActionKind, ActionState, Harm, ItemOutcome, PlanItem, Question, digest_of
from recovery.plan import item_marker, key_for
from recovery.policy import Policy
from recovery.ports import Account, Clock

LEFT_OPEN = frozenset({ActionState.CLAIMED, ActionState.IN_FLIGHT, ActionState.UNKNOWN, ActionState.APPLIED})


@dataclass(slots=True)
class Context:
    """One item's surroundings. `answer` is the choice that a named person recorded for it last, or ""."""

    item: PlanItem
    account: Account
    runner: Runner
    secret: bytes = field(repr=False)
    answer: str = ""
    unrepaired_syncs: Callable[[], tuple[str, ...]] = field(default=tuple)
    alarm: Callable[[str], Awaitable[None]] | None = None

    @property
    def clock(self) -> Clock:
        """The run's clock."""
        return self.runner.clock

    @property
    def policy(self) -> Policy:
        """The run's policy."""
        return self.runner.policy

    @property
    def marker(self) -> str:
        """The item's marker as it stands in names at the remote."""
        return item_marker(self.secret, self.item.slot, self.item.generation)

    def spec(
        self, kind: ActionKind, harm: Harm, target_ref: str, *, detail: str = "", recipients: int = 0
    ) -> ActionSpec:
        """The ledger's description of one of this item's actions, under its business key."""
        return ActionSpec(
            key=key_for(self.secret, self.item.slot, kind.value, self.item.generation, detail),
            slot_key=self.item.slot.key,
            account=self.item.slot.account,
            kind=kind,
            harm=harm,
            target_ref=target_ref,
            generation=self.item.generation,
            payload_digest=digest_of([kind.value, self.item.slot.object_ref, detail]),
            recipients=recipients,
        )

    async def left_open(self, spec: ActionSpec) -> bool:
        """Whether an earlier run was cut off in the middle of this action.

        Then it is performed, and so settled by reading, even where the remote already shows that nothing needs doing.
        """
        row = await self.runner.ledger.action(spec.key)
        return row is not None and row.state in LEFT_OPEN

    def say(self, what: str) -> None:
        """One line of progress."""
        self.runner.tell("step", {"slot": self.item.slot.key, "name": self.item.slot.name, "what": what})


def held(text: str, recommended: str = "wait", *more: str) -> Ended:
    """The item waits for a person."""
    return Ended(ItemOutcome.HELD, text, Question(text, recommended, ("wait", "drop", *more)))


def ended_by(ruling: Hold | Skip) -> Ended:
    """The end that a rule of the gate asks for."""
    if isinstance(ruling, Skip):
        return skipped(ruling.reason)
    return Ended(ItemOutcome.HELD, ruling.question.text, ruling.question)


def skipped(reason: str) -> Ended:
    """The item ends without an effect of ours."""
    return Ended(ItemOutcome.SKIPPED, reason)


def confirmed(reason: str) -> Ended:
    """The item's effect is proven."""
    return Ended(ItemOutcome.CONFIRMED, reason)
