"""Data Sync: import the most recent list with a tag that was never used, then add and remove by difference (R001.25 to
R001.31). Running the sync again would find no difference, because the lost one was already consumed.
"""

from __future__ import annotations

from dataclasses import dataclass

from recovery.act import ABSENT, CANNOT_TELL, SEEN, Effect, Ended, Look
from recovery.errors import BadReply, NotFound
from recovery.gate import Allow, Ruling, ask
from recovery.ledger.rows import ActionRow
from recovery.model import ActionKind, ActionState, Harm, OpenAttempt, Saw, WriteResult
from recovery.ports import Contact, Definition, Tag
from recovery.recipes.context import LEFT_OPEN, Context, confirmed, held, skipped
from recovery.sync_gap import Gap, gap_between, read_gap, unique_tag, whole
from recovery.testify import run_saw


async def tagged_import(context: Context) -> Ended:
    """Runs the whole recipe; safe to run again from the top after any crash."""
    definitions = await context.account.jobs.definitions()
    ref = context.item.slot.object_ref
    definition = next((d for d in definitions.items if d.ref == ref), None)
    if definition is None:
        return held(f"Data sync {ref} is not among the dashboard's definitions any more. Is it still wanted?")
    if definition.list_ref is None or not definition.tags:
        return held(f"Data sync {ref} names no list or no tag, so its people cannot be found. What should be done?")
    return await _TaggedImport(context, definition, definition.list_ref).run()


@dataclass(slots=True)
class _TaggedImport:
    context: Context
    definition: Definition
    list_ref: int

    async def run(self) -> Ended:
        c = self.context
        unique = self._unique_tag()
        if len(self.definition.tags) > 1:
            return held(
                f"Data sync {self.definition.ref} keeps {len(self.definition.tags)} tags. Who mends them by hand?"
            )
        sync_tag = await c.account.contacts.find_tag(self.definition.tags[0])
        if sync_tag is None:
            return held(f"The sync's tag {self.definition.tags[0]!r} does not exist in Pro2. Should it be created?")
        await self._newest_list()
        await self._import(unique)
        begun = await self._tagged_by_us()
        for row in begun:
            if row.state in LEFT_OPEN:  # cut off in the middle: settled by reading before the difference is taken
                await (self._add if row.kind is ActionKind.ADD_TAG else self._remove)(row.target_ref, sync_tag)
        marked, tagged = await self._segments(unique, sync_tag)
        gap = gap_between(set(marked), set(tagged), self.definition.sync_mode)
        if not (begun and self._is_the_rest(gap)):
            self._reviewed(gap, len(tagged))
        people = {**tagged, **marked}
        for email in gap.to_add:
            await self._add(people[email].ref, sync_tag)
        for email in gap.to_remove:
            await self._remove(people[email].ref, sync_tag)
        return await self._closing()

    async def _tagged_by_us(self) -> tuple[ActionRow, ...]:
        """What this item has done, or begun to do, to the sync's tag."""
        rows = await self.context.runner.ledger.actions(self.context.item.slot.key)
        kinds = (ActionKind.ADD_TAG, ActionKind.REMOVE_TAG)
        return tuple(r for r in rows if r.kind in kinds and r.generation == self.context.item.generation)

    def _is_the_rest(self, gap: Gap) -> bool:
        """Whether a run that was cut off left this of what a person reviewed: nobody is in it who was not shown."""
        shown_add, shown_remove = (self.context.item.before.get(side) for side in ("to_add", "to_remove"))
        if not isinstance(shown_add, list) or not isinstance(shown_remove, list):
            return False
        return set(gap.to_add) <= set(shown_add) and set(gap.to_remove) <= set(shown_remove)

    def _unique_tag(self) -> str:
        return unique_tag(self.context.secret, self.context.item.slot, self.context.item.generation)

    async def _newest_list(self) -> None:
        """ "Most recent" is the definition's own list unless another of the same name was used later (R001.25)."""
        if not self.definition.list_name:
            return
        mine = await self.context.account.lists.list_summary(self.list_ref)
        if mine.inactive:
            raise held(f"List {self.list_ref} is switched off in List Manager. Which list is right?")
        newer = [
            x
            for x in await self.context.account.lists.find_lists(self.definition.list_name)
            if x.name == self.definition.list_name and x.ref != self.list_ref and not x.inactive and x.last_used_at
            if mine.last_used_at is None or x.last_used_at > mine.last_used_at
        ]
        if newer:
            raise held(
                f"List {newer[0].ref} has the same name as list {self.list_ref} and was used later. Which one is right?"
            )

    # ---- the import

    async def _import(self, unique: str) -> None:
        c = self.context
        c.say(f"importing list {self.list_ref} with the tag {unique}")

        async def send(attempt: OpenAttempt) -> WriteResult:
            return await c.account.jobs.import_list(
                self.list_ref, [unique], self.definition.filters, c.policy.exclude_automations, attempt
            )

        run_ref = await c.runner.perform(
            Effect(
                c.spec(ActionKind.TAGGED_IMPORT, Harm.H2, str(self.list_ref)),
                f"import list {self.list_ref} of {c.account.name} with a unique tag",
                send,
                lambda: self._look_import(unique),
                check=lambda: self._may_import(unique),
                confirm=lambda: self._imported(unique),
                settle_seconds=c.policy.waits.settle,
            )
        )
        await self._import_ended(run_ref)

    async def _look_import(self, unique: str) -> Look:
        c = self.context
        log = await c.account.jobs.activity_log(c.item.slot.due_at, c.clock.now())
        console = await c.account.jobs.console()
        for run in (*log.runs, *console.runs):
            if unique in run.tags:
                return Look(SEEN, run.ref, run.digest, f"run {run.ref} with tag {unique} is {run.state}")
        tag = await c.account.contacts.find_tag(unique)
        if tag is not None and (await c.account.contacts.members(tag.ref)).items:
            return Look(CANNOT_TELL, note=f"contacts carry {unique}, but no run shows it")
        whole_log = log.complete and console.complete
        return Look(ABSENT if whole_log else CANNOT_TELL, note=log.problem or console.problem or "no run with the tag")

    async def _may_import(self, unique: str) -> Ruling:
        c = self.context
        if not (await c.account.jobs.capabilities()).imports:
            return ask(f"The dashboard of {c.account.name} does not offer imports. Who imports list {self.list_ref}?")
        tag = await c.account.contacts.find_tag(unique)
        if tag is not None and (await c.account.contacts.members(tag.ref)).items:
            return ask(f"The tag {unique} is already in use, so it would not tell who was imported. What happened?")
        return Allow()

    async def _imported(self, unique: str) -> Look:
        row = await self.context.runner.ledger.action(
            self.context.spec(ActionKind.TAGGED_IMPORT, Harm.H2, str(self.list_ref)).key
        )
        known = row.result_ref if row else ""
        give_up = self.context.clock.monotonic() + max(60.0, self.context.policy.waits.settle)
        while True:
            if known:
                run = await self.context.account.jobs.run(known)
                return Look(SEEN, run.ref, run.digest, f"import run {run.ref} is {run.state}")
            look = await self._look_import(unique)
            if look.kind == SEEN or self.context.clock.monotonic() > give_up:
                return look
            await self.context.clock.sleep(self.context.policy.waits.poll)

    async def _import_ended(self, run_ref: str) -> None:
        """The two segments mean something only after an import without a single error row.

        An import that a named person vouched for has no run that we know; what it did shows in the segments.
        """
        c = self.context
        if not run_ref:
            return
        give_up = c.clock.monotonic() + c.policy.waits.job
        while True:
            run = await c.account.jobs.run(run_ref)
            saw = run_saw(run)
            if saw is Saw.WORKED:
                return
            if saw is not Saw.RUNNING:
                raise held(f"The import run {run.ref} ended as {run.state} with {run.errored} error rows. What now?")
            if c.clock.monotonic() > give_up:
                raise held(f"The import run {run.ref} has not ended in time. What now?")
            await c.clock.sleep(c.policy.waits.poll)

    # ---- the two segments

    async def _segments(self, unique: str, sync_tag: Tag) -> tuple[dict[str, Contact], dict[str, Contact]]:
        """Members of the unique tag and of the sync tag, by address; those without one are left alone (R001.28)."""
        c = self.context
        tag = await c.account.contacts.find_tag(unique)
        if tag is None:
            raise held(f"The import ended, but nobody carries its tag {unique}. What happened?")
        marked = whole(await c.account.contacts.members(tag.ref), "pro2", c.account.name)
        tagged = whole(await c.account.contacts.members(sync_tag.ref), "pro2", c.account.name)
        return {m.email: m for m in marked if m.email}, {m.email: m for m in tagged if m.email}

    def _reviewed(self, gap: Gap, tagged: int) -> None:
        """Only what a person saw in the plan is applied (R001.30); anything else is asked about by its own digest."""
        c = self.context
        ask_for = f"apply {gap.digest[:8]}"
        if c.answer == ask_for:
            return
        if gap.digest != c.item.before.get("gap_digest"):
            raise held(
                "The differences are not the ones in the plan: "
                f"{len(gap.to_add)} to add, {len(gap.to_remove)} to remove "
                "(`allclear audit` names them). Apply these?",
                ask_for,
                ask_for,
            )
        if gap.to_remove and len(gap.to_remove) * 100 > c.policy.limits.removals_percent * max(1, tagged):
            raise held(
                f"{len(gap.to_remove)} of {tagged} people would lose the tag {self.definition.tags[0]!r}, "
                f"more than {c.policy.limits.removals_percent:g} %. Apply it all the same?",
                "wait",
                ask_for,
            )

    async def _add(self, contact: str, tag: Tag) -> None:
        c = self.context

        async def look() -> Look:
            link = await c.account.contacts.tag_link(contact, tag.ref)
            return Look(SEEN if link else ABSENT, link, "", f"contact {contact} {'has' if link else 'lacks'} the tag")

        await c.runner.perform(
            Effect(
                c.spec(ActionKind.ADD_TAG, Harm.H2, contact, detail=f"{contact}/{tag.ref}"),
                f"add tag {tag.ref} to contact {contact} of {c.account.name}",
                lambda a: c.account.contacts.add_tag(contact, tag.ref, a),
                look,
                repeatable=True,
                settle_seconds=c.policy.waits.settle_copy,
                look_first=False,  # the tag's members were read a moment ago
            )
        )

    async def _remove(self, contact: str, tag: Tag) -> None:
        c = self.context
        link = await c.account.contacts.tag_link(contact, tag.ref)

        async def look() -> Look:
            now = await c.account.contacts.tag_link(contact, tag.ref)
            return Look(ABSENT if now else SEEN, "", "", f"contact {contact} {'has' if now else 'lacks'} the tag")

        await c.runner.perform(
            Effect(
                c.spec(ActionKind.REMOVE_TAG, Harm.H2, contact, detail=f"{contact}/{tag.ref}"),
                f"remove tag {tag.ref} from contact {contact} of {c.account.name}",
                lambda a: c.account.contacts.remove_tag(link, a),
                look,
                repeatable=True,
                settle_seconds=c.policy.waits.settle_copy,
                look_first=not link,
            )
        )

    async def _closing(self) -> Ended:
        """Reads both sides again; done means that no difference is left."""
        c = self.context
        try:
            left = await read_gap(self.definition, c.account)
        except (BadReply, NotFound) as error:
            return held(f"The tag was repaired, but the result could not be read back: {error}")
        if left.to_add or left.to_remove:
            return held(
                f"{len(left.to_add)} to add and {len(left.to_remove)} to remove are left after the repair. What now?"
            )
        ours = [r.kind for r in await self._tagged_by_us() if r.state is ActionState.CONFIRMED]
        if not ours:
            return skipped("the list was imported and compared: no difference, nothing had to be changed")
        added, removed = ours.count(ActionKind.ADD_TAG), ours.count(ActionKind.REMOVE_TAG)
        return confirmed(f"{added} contacts got the tag, {removed} lost it; list and tag agree")
