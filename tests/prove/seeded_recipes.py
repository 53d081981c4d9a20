"""Seeded bugs of the runner, the gate, the recipes and the watcher, and the worlds that show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from integrations import pages
from integrations.pages import OffsetPage
from recovery import approvals
from recovery.act import ABSENT, SEEN, Effect, Look, Runner
from recovery.approvals import Consent
from recovery.ledger import records as ledger_records
from recovery.ledger.rows import ActionRow
from recovery.model import ItemOutcome, Plan
from recovery.plan import key_for
from recovery.ports import Campaign, Listing
from recovery.recipes.armed import Armed
from recovery.recipes.resend import _by_age, _Resend
from recovery.recover import Recovery
from recovery.watch import Round, Watcher
from tests.prove.kernel import Process
from tests.prove.product_ledger import ProductPlay
from tests.prove.remote import Line, Mailing, Wire
from tests.prove.schedule import SECRET
from tests.prove.seeded_base import (
    Patch,
    S,
    Weak,
)
from tests.prove.world import items_of


def takes_conflict_for_failure(patch: Patch) -> None:
    async def settle(self: Runner, _effect: Effect, row: ActionRow) -> Any:
        return await self.ledger.retry_rejected(row.key, "it failed", proven_not_applied=True)

    patch.setitem(Runner._MOVES, S.REJECTED, settle)


async def alike_always(_self: _Resend, _copy_ref: str) -> bool:
    return True


async def oldest_draft(self: _Resend) -> Look:
    listing = await self.context.account.campaigns.campaigns()
    marked = [x for x in listing.items if self.context.marker in x.name and x.ref != self.ref]
    found = min(marked, key=_by_age, default=None) or await self._unmarked_copy(listing.items)
    return Look(SEEN, found.ref, found.digest, "the oldest") if found else Look(ABSENT, note="none")


def remembers_the_original(patch: Patch) -> None:
    real = Armed.original
    known: dict[int, Campaign] = {}

    async def original(self: Armed) -> Campaign:
        if id(self.context) not in known:
            now = await real(self)
            if now.status != "4":
                return now
            known[id(self.context)] = now
        return known[id(self.context)]

    patch.setattr(Armed, "original", original)


def counts_partly_sent_as_unsent(patch: Patch) -> None:
    real = Armed.original

    async def original(self: Armed) -> Campaign:
        now = await real(self)
        return replace(now, send_amt=0) if now.send_amt < now.total_amt else now

    patch.setattr(Armed, "original", original)


async def trusts_the_stop(self: _Resend) -> Look:
    now = await self._original()
    return Look(SEEN, now.ref, now.digest, "the call was accepted")


def looks_at_the_switch_once(patch: Patch) -> None:
    real = Recovery.__post_init__

    def begin(self: Recovery) -> None:
        first = self.switched_off()
        self.switched_off = lambda: first
        real(self)

    patch.setattr(Recovery, "__post_init__", begin)


async def no_round(_self: Watcher) -> Round:
    return Round(0, (), (), ())


class Started(ProductPlay):
    """A remote on which something happened before the run: the original is stopped, and `leave_behind` what is left."""

    def furnish(self) -> None:
        super().furnish()
        original = self.platform.mailings["7"]
        original.status = "4"
        self.platform.note("stopped", "7", "7", "us")
        self.leave_behind()

    def leave_behind(self) -> None:
        """A draft of ours and a younger copy of ours that has left, both marked; the ledger is gone."""
        self.copy("101", "0")
        gone = self.copy("102", "5")
        gone.send_amt = gone.total_amt
        self.platform.note("delivery", "102", "7", "us", gone.total_amt)

    def copy(self, ref: str, status: str) -> Mailing:
        (item,) = items_of("resend")
        marker = f"[RK-{key_for(SECRET, item.slot, 'item', 0)}]"
        made = Mailing(ref, f"Newsletter 7 {marker}", status, "7", "us", -3600.0)
        self.platform.mailings[ref] = made
        self.platform._number = 200
        self.platform.note("copy", ref, "7", "us")
        return made


class PartlySent(Started):
    """Half of the original's audience has it."""

    def leave_behind(self) -> None:
        self.platform.mailings["7"].send_amt = 200
        self.platform.journal.append(Line(-1000.0, "delivery", "7", "7", "original", 200))


class OtherDraft(ProductPlay):
    """A colleague's fresh draft of another campaign stands in the list."""

    def furnish(self) -> None:
        super().furnish()
        self.platform.mailings["90"] = Mailing("90", "Copy of Newsletter 8", "0", "8", "colleague", 1.0)
        self.platform.note("copy", "90", "8", "colleague")


class Paged(Wire):
    """The list of campaigns comes through the product's own paging, two a page."""

    async def campaigns(self, *, newest_first: bool = False) -> Listing[Campaign]:
        every = (await super().campaigns()).items
        rows = sorted((int(c.ref), c) for c in every)

        async def fetch(offset: int, limit: int) -> OffsetPage[Campaign]:
            return OffsetPage(rows[offset : offset + limit], len(rows), "d")

        return await pages.read_by_offset(fetch, self.clock)


class InPages(Started):
    """A copy of ours has left; it stands on the second page."""

    def leave_behind(self) -> None:
        for ref in ("20", "21", "22"):
            self.platform.plant(ref, "5")
        gone = self.copy("102", "5")
        gone.send_amt = gone.total_amt
        self.platform.note("delivery", "102", "7", "us", gone.total_amt)

    def wire(self, process: Process, passed: Callable[[str], None]) -> Wire:
        made = super().wire(process, passed)
        return Paged(made.platform, made.clock, made.faults, on_send=made.on_send, passed=passed)


def first_page_only(patch: Patch) -> None:
    async def once(fetch: Any, _descending: bool) -> Any:
        page = await fetch(0, pages.PAGE)
        return pages._Reading(dict(page.rows), [page.digest])

    patch.setattr(pages, "_read_once", once)


class Unapproved(ProductPlay):
    """Nobody has approved anything."""

    approved = False

    def consent(self, plan: Plan) -> Consent:
        return approvals.consent(plan, (), self.policy(), self.clock.now(), "ann")


def empty_means_all(patch: Patch) -> None:
    real = approvals.consent

    def consent(plan: Plan, *more: Any) -> Consent:
        found = real(plan, *more)
        return found if found.items else Consent(frozenset(i.slot.key for i in plan.items))

    patch.setattr(approvals, "consent", consent)


class TwoDrafts(Weak):
    """Each runner finds a draft of its own (the list lags), so that only the election decides what is released."""

    def furnish(self) -> None:
        super().furnish()
        for ref in ("101", "102"):
            self.platform.mailings[ref] = Mailing(ref, "Copy", "0", "7", "us", 0.0)
            self.platform.note("copy", ref, "7", "us")
        self.platform.mailings["7"].status = "4"
        self.platform.note("stopped", "7", "7", "us")

    async def _main(self, process: Process, *, calm: bool) -> None:
        ledger = self.open_ledger(process.owner)
        (item,) = items_of("resend")
        await ledger.open_items(self.plan())
        mine = "101" if process is self.processes[0] else "102"
        await self.clock.sleep(10.0 * len(self.processes))
        won = await ledger.elect(item.slot.key, 0, mine, "", "pro2", "acme")
        if self.platform.mailings[won].status == "0":
            self._left(process, "schedule", won)
            self.platform.schedule(won, self.loop.now + 60, "us")
        await self.clock.sleep(600.0)
        await ledger.finish_item(item.slot.key, ItemOutcome.CONFIRMED, f"copy {won} was sent")
        process.ended = True
        self.over(process)


def elects_anew(patch: Patch) -> None:
    real = ledger_records.elect

    def elect(work: Any, slot_key: str, **more: Any) -> str:
        work.connection.exec_driver_sql("DELETE FROM remote_object WHERE slot_key = ?", (slot_key,))
        return real(work, slot_key=slot_key, **more)

    patch.setattr(ledger_records, "elect", elect)
