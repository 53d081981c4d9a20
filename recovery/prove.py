"""The truth tests of `allclear doctor --prove`: what a platform does, tried on a *test account* and nowhere else.

Every write goes through the ledger like any other (claim, intent, settle), so the kill switch stops it. Nothing here
comes near a send but the test of the one-shot release: it is made only on a campaign whose one audience is the
account's `seed_list`, a list of our own addresses; without such a list it is skipped and says so.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from recovery.errors import AllclearError, LedgerError, NotFound, RefusedError
from recovery.ledger.rows import ActionSpec
from recovery.manifests import (
    DRAFT_DELETED,
    EDIT_DOES_NOT_ARM,
    HEADER_ONLY_AUTH,
    ID_GREATER,
    LIMITER_FIRST,
    LIST_LAG,
    ONE_SHOT_RELEASE,
    READ_BY_ID,
    Proof,
    record_proof,
)
from recovery.model import ActionKind, AttemptOutcome, Harm, OpenAttempt, System, WriteResult, action_key, digest_of
from recovery.policy import Policy
from recovery.ports import Campaign, CampaignDesk, Clock, ContactDesk, Tag

if TYPE_CHECKING:
    from recovery.ledger.ledger import Ledger

DRAFT = "0"
USED_UP = {"4": "stopped", "5": "completed", "3": "paused"}
LONGEST_LAG_SECONDS = 60.0
BURST = 14
Send = Callable[[OpenAttempt], Awaitable[WriteResult]]
Answer = tuple[bool | None, str, str, float | None]  # holds, detail, evidence, seconds; None is "skipped"


class TestDesk(CampaignDesk, ContactDesk, Protocol):
    """A client of the platform: campaigns and tags."""


class Probes(Protocol):
    """The test account's clients: one that keeps the rate, one that does not, and what only the tests call."""

    @property
    def client(self) -> TestDesk:
        """Keeps the account's rate."""
        ...

    @property
    def hasty(self) -> TestDesk:
        """Does not, so that the platform's own limiter answers."""
        ...

    async def delete_draft(self, ref: str, attempt: OpenAttempt) -> WriteResult:
        """Delete a campaign."""
        ...

    async def contact_refs(self, *, by_id_greater: bool) -> tuple[frozenset[str], str]:
        """Ids of contacts, read in one of two ways."""
        ...


@dataclass(slots=True)
class Prover:
    """Runs the truth tests of one test account and records each outcome."""

    account: str
    probes: Probes
    ledger: Ledger
    clock: Clock
    policy: Policy
    secret: bytes = field(repr=False)
    by: str
    seed_list: str = ""
    switched_off: Callable[[], str] = lambda: ""
    _run: str = field(default_factory=lambda: secrets.token_hex(6))
    _draft: Campaign | None = None

    async def prove(self) -> tuple[Proof, ...]:
        """Every test in order, each recorded as it ends. RefusedError under the kill switch; LedgerError passes."""
        made = []
        for name, test in _TESTS:
            off = self.switched_off() or await self.ledger.killed()
            if off:
                raise RefusedError(f"The kill switch is on: {off}.", "Clear it before anything is proven.")
            proof = await self._outcome(name, test)
            await record_proof(self.ledger, self.clock, self.account, System.PRO2.value, self.by, proof)
            made.append(proof)
        return tuple(made)

    async def _outcome(self, name: str, test: Callable[[Prover], Awaitable[Answer]]) -> Proof:
        try:
            holds, detail, evidence, seconds = await test(self)
        except LedgerError:
            raise
        except AllclearError as error:
            return Proof(name, "skipped", f"not tried to its end: {error}")
        if holds is None:
            return Proof(name, "skipped", detail, evidence)
        return Proof(name, "proved" if holds else "refuted", detail, evidence, seconds)

    # ---- the tests -------------------------------------------------------------------------------------------------

    async def header_only_auth(self) -> Answer:
        """v1 takes the key in the header alone, so it never stands in a URL."""
        campaigns = await self.probes.client.campaigns(newest_first=True)
        if not campaigns.items:
            return None, "the account has no campaign to read the report of", "", None
        report = await self.probes.client.report(campaigns.items[0].ref)
        return True, "v1 answered to the key in the header", report.digest, None

    async def read_by_id(self) -> Answer:
        """A new copy can be read by its id at once."""
        campaigns = await self.probes.client.campaigns(newest_first=True)
        source = next((c for c in campaigns.items if c.type == "single"), None)
        if source is None:
            return None, "the account has no campaign to copy", "", None
        copied = await self._write(
            ActionKind.COPY, Harm.H0, source.ref, "copy", lambda a: self.probes.client.copy(source.ref, a)
        )
        if copied.outcome is not AttemptOutcome.APPLIED:
            return None, f"campaign {source.ref} could not be copied: {copied.detail}", "", None
        try:
            self._draft = await self.probes.client.campaign(copied.ref)
        except NotFound as error:
            return False, str(error), digest_of(str(error)), None
        is_draft = self._draft.status == DRAFT
        return is_draft, f"copy {copied.ref} was read at once, status {self._draft.status}", self._draft.digest, None

    async def list_lag(self) -> Answer:
        """How long a copy stays invisible in lists."""
        if self._draft is None:
            return None, "there is no copy to look for", "", None
        began = self.clock.monotonic()
        while (waited := self.clock.monotonic() - began) < LONGEST_LAG_SECONDS:
            listing = await self.probes.client.campaigns(newest_first=True)
            if any(c.ref == self._draft.ref for c in listing.items):
                enough = waited <= self.policy.waits.settle_copy
                said = "" if enough else ", longer than waits.settle_copy_seconds"
                return enough, f"in the list after {waited:.1f} s{said}", "".join(listing.digests[:1]), round(waited, 1)
            await self.clock.sleep(min(1.0, max(self.policy.waits.poll, 0.05)))
        return False, f"not in the list after {LONGEST_LAG_SECONDS:g} s", "", None

    async def edit_does_not_arm(self) -> Answer:
        """Renaming a draft leaves it a draft that sends nothing."""
        if self._draft is None:
            return None, "there is no copy to rename", "", None
        ref, name = self._draft.ref, f"allclear proof {self._run}"
        await self._write(ActionKind.MARK, Harm.H0, ref, "rename", lambda a: self.probes.client.rename(ref, name, a))
        await self.clock.sleep(self.policy.waits.settle_copy)
        after = await self.probes.client.campaign(ref)
        still = after.status == DRAFT and after.name == name and after.send_amt == 0
        return still, f"after the edit it is {after.name!r}, status {after.status}", after.digest, None

    async def draft_deleted(self) -> Answer:
        """A draft can be deleted and is gone; also how these tests clean up."""
        if self._draft is None:
            return None, "there is no copy to delete", "", None
        ref = self._draft.ref
        said = ""
        for n in range(3):  # another user of the quota must not leave our draft behind
            result = await self._write(
                ActionKind.SETTING, Harm.H0, ref, f"delete {n}", lambda a: self.probes.delete_draft(ref, a)
            )
            said = result.detail
            try:
                left = await self.probes.client.campaign(ref)
            except NotFound as error:
                return True, f"copy {ref} is gone", digest_of(str(error)), None
            await self.clock.sleep(result.retry_after_seconds or self.policy.waits.poll)
        return False, f"copy {ref} is still there ({said}); delete it by hand", left.digest, None

    async def id_greater_complete(self) -> Answer:
        """Reading contacts by id_greater finds exactly those that reading by offset finds."""
        by_offset, _ = await self.probes.contact_refs(by_id_greater=False)
        by_id, digest = await self.probes.contact_refs(by_id_greater=True)
        again, _ = await self.probes.contact_refs(by_id_greater=False)
        if not by_offset:
            return None, "the account has no contacts", "", None
        if by_offset != again:
            return None, "contacts came or went meanwhile; try again", digest, None
        missing = len(by_offset - by_id)
        return by_offset == by_id, f"{len(by_id)} of {len(by_offset)} contacts, {missing} missing", digest, None

    async def one_shot_release(self) -> Answer:
        """Status 1 on a campaign that is completed or stopped sends nothing again. Only on the seed list."""
        if not self.seed_list:
            return None, "no seed_list of our own addresses is set, so nothing was tried", "", None
        listing = await self.probes.client.campaigns(newest_first=True)
        tried, digest = [], ""
        for campaign in await self._on_seed_list(listing.items):
            again, digest = await self._sends_again(campaign)
            tried.append(f"{USED_UP[campaign.status]} campaign {campaign.ref}")
            if again:
                return False, f"{tried[-1]}: {again}", digest, None
        if not tried:
            return None, f"no completed or stopped campaign goes to list {self.seed_list} alone", "", None
        return True, f"not sent again: {', '.join(tried)}", digest, None

    async def _on_seed_list(self, campaigns: Sequence[Campaign]) -> list[Campaign]:
        """One campaign of each used-up status whose whole audience is the seed list."""
        found: dict[str, Campaign] = {}
        for campaign in campaigns:
            if campaign.status not in USED_UP or campaign.status in found or campaign.type != "single":
                continue
            content = await self.probes.client.content(campaign.ref)
            if content.list_refs == (self.seed_list,) and content.segment_ref in ("", "0"):
                found[campaign.status] = campaign
        return list(found.values())

    async def _sends_again(self, before: Campaign) -> tuple[str, str]:
        """Asks for the release and watches; what moved, or nothing."""
        ref = before.ref
        said = await self._write(
            ActionKind.SETTING,
            Harm.H3,
            ref,
            f"release {ref}",
            lambda a: self.probes.client.schedule(ref, self.clock.now(), a),
        )
        give_up = self.clock.monotonic() + max(self.policy.waits.settle, 1.0)
        while True:
            now = await self.probes.client.campaign(ref)
            if (now.status, now.send_amt, now.ldate) != (before.status, before.send_amt, before.ldate):
                return f"status {before.status} became {now.status} ({said.outcome})", now.digest
            if self.clock.monotonic() > give_up:
                return ("", now.digest) if said.outcome is AttemptOutcome.REJECTED else ("it was accepted", now.digest)
            await self.clock.sleep(min(self.policy.waits.poll, 0.5))

    async def limiter_before_execute(self) -> Answer:
        """What the platform answers with 429 has not happened: tags made too fast, and then looked for."""
        names = [f"allclear proof {self._run} {n:02d}" for n in range(BURST)]

        async def one(name: str) -> WriteResult:
            return await self._write(
                ActionKind.CREATE_TAG, Harm.H0, name, name, lambda a: self.probes.hasty.create_tag(name, a)
            )

        said = await asyncio.gather(*map(one, names))
        refused = [n for n, r in zip(names, said, strict=True) if r.exchange is not None and r.exchange.status == 429]
        if not refused:
            return None, f"{BURST} calls at once met no limiter", "", None
        await self.clock.sleep(max((r.retry_after_seconds or 0.0 for r in said), default=0.0))
        there = [tag for name in refused if isinstance(tag := await self.probes.client.find_tag(name), Tag)]
        digest = digest_of(sorted(refused))
        return not there, f"{len(refused)} of {BURST} refused, {len(there)} of those happened", digest, None

    # ---- one write, through the ledger -----------------------------------------------------------------------------

    async def _write(self, kind: ActionKind, harm: Harm, target: str, detail: str, send: Send) -> WriteResult:
        key = action_key(self.secret, self.account, "proof", kind.value, target, f"{self._run}/{detail}", 0)
        spec = ActionSpec(key, f"proof/{self.account}/{self._run}", self.account, kind, harm, target)
        await self.ledger.ensure([spec])
        row = await self.ledger.claim(key, self.policy.waits.lease)
        assert row is not None  # the key holds this run's random name, so nobody else can have it
        attempt = await self.ledger.intend(
            row,
            f"truth test: {kind.value} {target} of {self.account}",
            send_within_seconds=self.policy.waits.send_within,
            deadline_seconds=self.policy.waits.write_deadline,
        )
        result = await send(attempt)
        await self.ledger.settle(attempt, result)
        await self._close(key, result)
        return result

    async def _close(self, key: str, result: WriteResult) -> None:
        """Nothing of a truth test is left for a recovery or a watcher to settle: it touches no item."""
        digest = result.exchange.digest if result.exchange else digest_of(result.detail)
        if result.outcome is AttemptOutcome.APPLIED:
            await self.ledger.confirm(key, digest, "truth test")
            return
        if result.outcome is AttemptOutcome.UNKNOWN:
            await self.ledger.absent(key, "truth test: its effect is what is tested", by=self.by)
        await self.ledger.cancel(key, self.by, "truth test")


_TESTS: tuple[tuple[str, Callable[[Prover], Awaitable[Answer]]], ...] = (
    (HEADER_ONLY_AUTH, Prover.header_only_auth),
    (READ_BY_ID, Prover.read_by_id),
    (LIST_LAG, Prover.list_lag),
    (EDIT_DOES_NOT_ARM, Prover.edit_does_not_arm),
    (DRAFT_DELETED, Prover.draft_deleted),
    (ID_GREATER, Prover.id_greater_complete),
    (ONE_SHOT_RELEASE, Prover.one_shot_release),
    (LIMITER_FIRST, Prover.limiter_before_execute),
)
