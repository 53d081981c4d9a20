"""Seeded bugs that show in schedules: how each is planted in the product's own code, and which schedules show it.

`weaken` takes away the layers above the one under test, in both runs; `plant` installs the bug. Without the bug the
oracle must be silent in the same schedules. A strong remote hides a missing layer behind the others (reliability.md,
5.4), so each bug is shown on a remote, and with a policy, that is as weak as it has to be.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from integrations import pages
from recovery import gate
from recovery.ledger import files as ledger_files
from recovery.ledger import opening as ledger_opening
from recovery.recipes.armed import Armed
from recovery.recipes.resend import _Resend
from recovery.watch import Watcher
from tests.prove.families import at_every_step, quiet
from tests.prove.product_ledger import ProductPlay
from tests.prove.remote import Faults
from tests.prove.seeded_base import (
    FIRST_BYTE,
    LATE,
    NO_HISTORY,
    NO_K4,
    RUN_LATE,
    Bug,
    Weak,
    WeakAndPatient,
    all_of,
    any_age,
    any_class,
    any_sender,
    in_family,
    no_second_look,
    point,
    shown,
    without,
    without_rule,
)
from tests.prove.seeded_ledger import (
    LOOSE,
    DiesHavingSent,
    LosesTail,
    OwnClocks,
    PowerCut,
    StaleRead,
    calls_before_it_writes,
    claims_anything,
    forgets_the_fence,
    ignores_the_count,
    left_since_request,
    not_synced,
    reads_before_it_locks,
    reopens,
    settles_any_attempt,
    settles_in,
    take_over_frees,
)
from tests.prove.seeded_recipes import (
    InPages,
    OtherDraft,
    PartlySent,
    Started,
    TwoDrafts,
    Unapproved,
    alike_always,
    counts_partly_sent_as_unsent,
    elects_anew,
    empty_means_all,
    first_page_only,
    looks_at_the_switch_once,
    no_round,
    oldest_draft,
    remembers_the_original,
    takes_conflict_for_failure,
    trusts_the_stop,
)
from tests.prove.trouble import END, Trouble

# ---- the table ------------------------------------------------------------------------------------------------------

AT_ONCE = partial(quiet, "run_now", starts=(0.0, 0.0, 0.0))


def FOLLOWED() -> Trouble:  # noqa: N802 # a constant that has to be made anew each time
    """A run whose request lands late, and the next one a minute later."""
    return quiet("run_now", starts=(0.0, 60.0), reruns=0, faults=LATE())


def sleeping(seconds: float, second_at: float, where: str = FIRST_BYTE, **more: Any) -> Callable[[], Trouble]:
    """The first runner sleeps at a point, the second starts at a time."""
    return lambda: quiet(
        "run_now", pause_at_point=point("run_now", where), pause_seconds=seconds, starts=(0.0, second_at), reruns=0,
        **{name: make() for name, make in more.items()},
    )  # fmt: skip


BUGS = (
    Bug(
        1, "a claim without its guard", claims_anything, "double",
        lambda: shown(Weak, AT_ONCE),
        lambda patch: without(patch, *NO_HISTORY, *NO_K4),
    ),
    Bug(
        2, "a lease that is over makes an action in flight free again", take_over_frees, "double",
        lambda: shown(DiesHavingSent, FOLLOWED),
    ),
    Bug(
        3, "absence is believed at once, without the settle time",
        lambda patch: settles_in(patch, lambda *_: 0.0), "double",
        lambda: shown(ProductPlay, lambda: RUN_LATE(faults=LATE())),
        any_class,
    ),
    Bug(
        4, "the settle time counts from the request, not from the sender's death",
        lambda patch: settles_in(patch, left_since_request), "double",
        lambda: shown(DiesHavingSent, sleeping(1700.0, 1730.0, faults=LATE)),
        all_of(any_class, any_age),
    ),
    Bug(
        5, "leases by each process's own clock", lambda patch: patch.setattr(OwnClocks, "own", True), "double",
        lambda: shown(OwnClocks, sleeping(1650.0, 5.0)),
        all_of(any_class, any_age, any_sender),
    ),
    Bug(
        6, "the fence is not compared", forgets_the_fence, "double",
        lambda: shown(Weak, sleeping(1760.0, 5.0, faults=LATE)),
        all_of(any_class, any_sender, settles_any_attempt, lambda patch: without(patch, *NO_K4)),
    ),
    Bug(
        7, "another database than before is not noticed",
        lambda patch: patch.setattr(ledger_opening, "_check_epoch", lambda *_: []), "double",
        lambda: in_family(partial(at_every_step, "ledger_lost", ("run_now",), faults=LATE()), every=3),
        lambda patch: patch.setattr(ledger_opening, "_lost_intents", lambda *_: []),
    ),
    Bug(
        8, "the intent is written after the call", calls_before_it_writes, "double",
        lambda: shown(DiesHavingSent, FOLLOWED),
    ),
    Bug(
        9, "commits are not synced to the disk (SQLite NORMAL), and the host loses power", not_synced, "double",
        lambda: shown(PowerCut, FOLLOWED),
        lambda patch: patch.setattr(ledger_opening, "_lost_intents", lambda *_: []),
    ),
    Bug(
        10, "intents are not written into the second record",
        lambda patch: patch.setattr(ledger_files.IntentsLog, "append", lambda _self, _intents: None), "double",
        lambda: shown(LosesTail, FOLLOWED),
    ),
    Bug(
        17, "a conflict with our own effect is taken for a failure", takes_conflict_for_failure, "double",
        lambda: shown(ProductPlay, lambda: RUN_LATE(faults=Faults(script=("soft_refusal_applied",)))),
        no_second_look,
    ),
    Bug(
        18, "only the first page of a list is read", first_page_only, "double",
        lambda: shown(InPages, lambda: quiet("resend"), range(2)),
        all_of(lambda patch: patch.setattr(pages, "PAGE", 2), lambda patch: patch.setattr(pages, "OVERLAP", 1)),
    ),
    Bug(
        19, "a draft is adopted without comparing what it says",
        lambda patch: patch.setattr(_Resend, "_alike", alike_always), "outside the plan",
        lambda: shown(
            OtherDraft, lambda: quiet("resend", faults=Faults(nth_write=3, nth_fate="lost_before")), range(2)
        ),
    ),
    Bug(
        20, "adoption prefers the oldest draft to the copy that has left",
        lambda patch: patch.setattr(_Resend, "_look_copy", oldest_draft), "double",
        lambda: shown(Started, lambda: quiet("resend"), range(2)),
        without_rule(gate._no_sibling),
    ),
    Bug(
        21, "an elected draft can be elected anew", elects_anew, "double",
        lambda: shown(TwoDrafts, lambda: quiet("resend", starts=(0.0, 1.0)), range(2)),
        lambda patch: without(
            patch, "DROP INDEX one_elected_per_slot", "DROP TRIGGER election_stands", "DROP TRIGGER elected_once"
        ),
    ),
    Bug(
        22, "the gate goes by an original that was read before", remembers_the_original, "sent anyway",
        lambda: in_family(partial(at_every_step, "original_leaves", ("resend",)), every=12),
    ),
    Bug(
        23, "the gate does not look for sibling copies", without_rule(gate._no_sibling), "double",
        lambda: shown(Started, lambda: quiet("resend"), range(2)),
        lambda patch: patch.setattr(_Resend, "_look_copy", oldest_draft),
    ),
    Bug(
        24, "a stop is believed without reading it back",
        lambda patch: patch.setattr(_Resend, "_confirm_stopped", trusts_the_stop), "sent anyway",
        lambda: shown(ProductPlay, lambda: quiet("resend", faults=Faults(stop_ignored=True)), range(2)),
        all_of(
            without_rule(gate._original_at_rest),
            lambda patch: patch.setattr(Armed, "_why_disarm", lambda _self, _original: ""),
        ),
    ),
    Bug(
        25, "an original that was partly sent is copied", counts_partly_sent_as_unsent, "sent anyway",
        lambda: shown(PartlySent, lambda: quiet("resend"), range(2)),
    ),
    Bug(
        26, "an empty set of approvals means all", empty_means_all, "outside the plan",
        lambda: shown(Unapproved, lambda: quiet("resend"), range(2)),
    ),
    Bug(
        27, "the kill switch is looked at when the run starts only", looks_at_the_switch_once, "kill switch",
        lambda: in_family(partial(at_every_step, "kill", ("resend",)), every=8, most=40),
    ),
    Bug(
        29, "a late worker opens a confirmed action again", reopens, "double",
        lambda: shown(Weak, sleeping(2000.0, 5.0)),
        all_of(
            any_class, any_sender, no_second_look, partial(settles_any_attempt, any_state=True),
            lambda patch: without(patch, *NO_HISTORY, *NO_K4),
        ),
    ),
    Bug(
        30, "nobody watches once the run is over", lambda patch: patch.setattr(Watcher, "round", no_round),
        "silent overlap",
        lambda: shown(
            ProductPlay, lambda: quiet("resend", original_leaves_at=END + 100, watch_seconds=600.0), range(2)
        ),
    ),
    Bug(
        31, "one index for open and one for applied attempts in place of K4",
        lambda patch: without(
            patch, *NO_HISTORY, *NO_K4,
            "CREATE UNIQUE INDEX one_open ON attempt (action_key) WHERE outcome IS NULL",
            "CREATE UNIQUE INDEX one_applied ON attempt (action_key) WHERE outcome = 'applied'",
        ),
        "double",
        lambda: shown(WeakAndPatient, sleeping(40.0, 0.0, "before begin", faults=LATE), range(12)),
        all_of(any_age, claims_anything, lambda patch: without(patch, *NO_HISTORY)),
    ),
    Bug(
        32, "the row count of a fenced write is ignored", ignores_the_count, "double",
        lambda: shown(StaleRead, sleeping(40.0, 0.0, "before begin", faults=LATE), range(12)),
        all_of(any_age, reads_before_it_locks, lambda patch: without(patch, *LOOSE)),
    ),
)  # fmt: skip
"""The others, which show at a socket or a desk's key, are in `tests.prove.seeded_http`."""
