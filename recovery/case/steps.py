"""The steps of a case as the terminal and the flows take them. Each returns where the case stands then.

A step that asks something of a desk performs it at once and records what came of it; what could not be done stays in
the case and is tried again by `send`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recovery.act import attest as vouch
from recovery.case.casework import attach as add_file
from recovery.case.casework import attest as take_word
from recovery.case.casework import give_fields, look_up, open_case, person_named, run_checks
from recovery.case.effects import Performed, key_of, note, perform
from recovery.case.escalation import escalate as open_escalation
from recovery.case.escalation import post_to_channel, record_stage, resolve_escalation
from recovery.case.export import export_case
from recovery.case.link_witnesses import WITNESSES
from recovery.case.outcome import (
    Reply,
    approve_reply,
    approve_setting,
    draft_reply,
    give_feedback,
    offers,
    search_references,
)
from recovery.case.records import Effect
from recovery.case.references import References, all_cases
from recovery.case.standing import Standing, View, case_view, chosen_effect, make_standing
from recovery.case.wiring import CaseSystems
from recovery.errors import RefusedError, UsageError
from recovery.ledger.rows import ActionRow
from recovery.model import ActionState, iso
from recovery.playbook import Playbook

SHORTEST_DIGEST = 8
ANSWERS = ("happened", "not-happened", "drop")


@dataclass(frozen=True, slots=True)
class Step:
    """One case under work: its playbook as it stands now, and the calls. Raises what casework raises."""

    work: CaseSystems
    playbook: Playbook
    ref: str

    @classmethod
    async def on(cls, work: CaseSystems, ref: str) -> Step:
        """The case of this reference, or of the one that begins so; raises UsageError."""
        full = await find_case(work, ref)
        case = await work.office.load(full)
        return cls(work, work.playbook(case.playbook), full)

    @classmethod
    async def open(cls, work: CaseSystems, playbook_id: str, account: str, fields: Mapping[str, str], by: str) -> Step:
        """The case of this complaint, opened or found."""
        playbook = work.playbook(playbook_id)
        outcome = await open_case(work.office, playbook, account, fields, by)
        return cls(work, playbook, outcome.case.ref)

    # ---- where it stands

    async def standing(self, done: Sequence[Performed] = ()) -> Standing:
        """The case with everything that its view is made of."""
        office, playbook = self.work.office, self.playbook
        outcome = await look_up(office, playbook, self.ref)
        return make_standing(playbook, outcome, await offers(office, playbook, self.ref), done)

    async def view(self, done: Sequence[Performed] = (), draft: Reply | None = None) -> View:
        """`allclear.case/1`."""
        return case_view(await self.standing(done), draft)

    # ---- intake and checks

    async def give(self, fields: Mapping[str, str], by: str) -> View:
        """Add what intake lacked."""
        known = {p.field for p in self.playbook.prerequisites}
        strange = sorted(set(fields) - known)
        if strange:
            raise UsageError(f"There is no field {strange[0]!r}.", f"It has: {', '.join(sorted(known))}.")
        await give_fields(self.work.office, self.playbook, self.ref, fields, by)
        return await self.view()

    async def check(self, by: str = "") -> View:
        """Run every check of every block; reads only."""
        w = self.work
        named = {"by": person_named(by)} if by else {}
        await run_checks(w.office, self.playbook, self.ref, registry=WITNESSES, sources=w.sources, tape=w.tape, **named)
        return await self.view()

    async def attest(self, check: str, choice: str, by: str, statement: str, upload: bytes | None = None) -> View:
        """What a named person saw where no API answers."""
        await take_word(
            self.work.office,
            self.playbook,
            self.ref,
            check_id=check,
            choice=choice,
            by=by,
            statement=statement,
            upload=upload,
        )
        return await self.view()

    async def attach(self, check: str, slot: str, title: str, by: str, content: bytes) -> View:
        """A file as evidence."""
        await add_file(
            self.work.office, self.playbook, self.ref, check_id=check, slot=slot, title=title, by=by, content=content
        )
        return await self.view()

    async def references(self, by: str) -> View:
        """Search for similar cases and tickets."""
        w = self.work
        desk = References(w.systems.ledger, w.tickets, await w.office.load(self.ref))
        await search_references(w.office, self.playbook, self.ref, desk, by)
        return await self.view()

    # ---- what comes of it

    async def reply(self, digest: str = "", by: str = "", again: bool = False) -> View:
        """The draft; with a digest, the approval of exactly this draft, and its sending."""
        draft = await draft_reply(self.work.office, self.playbook, self.ref)
        if not digest:
            return await self.view(draft=draft)
        approved = draft.digest if len(digest) >= SHORTEST_DIGEST and draft.digest.startswith(digest) else digest
        told = (await self.work.office.load(self.ref)).replies
        if told and approved not in told and not again:
            raise RefusedError("The client has a reply to this case already.", "A second one needs --again.")
        await approve_reply(self.work.office, self.playbook, self.ref, approved, by)
        return await self.send()

    async def approve_setting(self, offer: str, by: str, consequences_read: bool) -> View:
        """A named approver consents to an offered change; a person makes it."""
        approvers = self.work.systems.settings.playbooks.approvers
        await approve_setting(
            self.work.office,
            self.playbook,
            self.ref,
            offer,
            by=by,
            approvers=approvers,
            consequences_read=consequences_read,
        )
        return await self.send()

    async def stage(self, stage: str, team: str, resolved: bool, said: str, by: str) -> View:
        """A verification stage that a team has gone through."""
        await record_stage(
            self.work.office,
            self.playbook,
            self.ref,
            stage_id=stage,
            team=team,
            resolved=resolved,
            note=said,
            by=by,
        )
        return await self.send()

    async def escalate(self, stage: str, by: str, absent: Sequence[str] = (), override_reason: str = "") -> View:
        """Open an escalation."""
        await open_escalation(
            self.work.office,
            self.playbook,
            self.ref,
            stage_id=stage,
            by=by,
            absent=absent,
            override_reason=override_reason,
        )
        return await self.send()

    async def post(self, stage: str, text: str, by: str) -> View:
        """A further message to an open escalation's channel."""
        await post_to_channel(self.work.office, self.playbook, self.ref, stage, text, by)
        return await self.send()

    async def resolve(self, stage: str, said: str, client_text: str, by: str) -> View:
        """A team has solved it: parent ticket and client are told."""
        await resolve_escalation(
            self.work.office,
            self.playbook,
            self.ref,
            stage_id=stage,
            note=said,
            client_text=client_text,
            by=by,
        )
        return await self.send()

    async def feedback(self, answer: str, by: str) -> View:
        """What somebody says about the playbook."""
        await give_feedback(self.work.office, self.playbook, self.ref, answer, by)
        return await self.view()

    async def send(self) -> View:
        """Do what the case asks of the desks and is not done yet."""
        w = self.work
        return await self.view(await perform(w.office, w.systems, w.desks, self.ref))

    async def settle(self, effect: str, answer: str, by: str, reason: str, remote_ref: str = "") -> View:
        """A named person says what became of an effect: it happened, it did not, or it is dropped."""
        person = person_named(by)
        if answer not in ANSWERS:
            raise UsageError(f"{answer!r} is no answer.", f"One of: {', '.join(ANSWERS)}.")
        if not reason.strip():
            raise UsageError("A reason is needed.", "Say what you saw or did.")
        one = chosen_effect((await self.standing()).effects, effect)
        if one.state == "done":
            raise RefusedError("That is done already.", "`allclear case show` tells what came of it.")
        await self._answer(one.effect, answer, person, reason.strip())
        if answer == "not-happened":
            return await self.send()
        said = remote_ref or f"{'by hand' if answer == 'happened' else 'dropped'}: {person}, {reason.strip()}"
        await note(self.work.office, self.ref, one.effect, said, person)
        return await self.view()

    async def _answer(self, effect: Effect, answer: str, by: str, reason: str) -> None:
        """Carry the answer to the action that is held in the ledger, if there is one."""
        systems = self.work.systems
        key = key_of(systems.secret, await self.work.office.load(self.ref), effect)
        row = await systems.ledger.action(key)
        if row is None or row.state is not ActionState.HELD:
            if answer == "not-happened":
                raise RefusedError("Nothing is held there: it was not tried.", "`allclear case send` tries it.")
            return
        if answer == "drop":
            await systems.ledger.skip(key, f"dropped by {by}: {reason}")
            return
        await self._free(row, answer, by, reason)

    async def _free(self, row: ActionRow, answer: str, by: str, reason: str) -> None:
        ledger = self.work.systems.ledger
        freed = await ledger.release_hold(row.key, by, reason)
        if answer == "not-happened":
            if freed.state is ActionState.UNKNOWN:
                await ledger.absent(row.key, f"stated by {by}: {reason}", by=by)
            return
        digest = await vouch(ledger, self.work.systems.clock, row.slot_key, by, reason)
        await ledger.flush()
        await ledger.adopt(row.key, row.result_ref, f"stated by {by}: {reason}", digest)
        await ledger.confirm(row.key, digest, f"stated by {by}: {reason}")

    async def export(self) -> bytes:
        """The case as one zip."""
        return await export_case(self.work.office.store, self.playbook, await self.work.office.load(self.ref))


async def find_case(work: CaseSystems, ref: str) -> str:
    """The whole reference of the case that begins so; raises UsageError when none or several do."""
    names = [n.removeprefix("case/") for n in await work.systems.ledger.streams("case/")]
    found = [ref] if ref in names else [n for n in names if n.startswith(ref)]
    if len(found) != 1 or not ref:
        what = "no case" if not found else f"{len(found)} cases"
        raise UsageError(f"{ref!r} names {what}.", "`allclear case list` shows them.")
    return found[0]


async def case_list(work: CaseSystems) -> View:
    """`allclear.case-list/1`: every case, the newest first, with whether anybody is waited for."""
    rows: list[View] = []
    for case in await all_cases(work.systems.ledger):
        standing = await Step(work, work.playbook(case.playbook), case.ref).standing()
        rows.append(
            {
                "case": case.ref,
                "account": case.account,
                "playbook": case.playbook,
                "about": case.fields.get("template_name", ""),
                "opened_at": iso(case.opened_at),
                "reasons": list(case.reasons),
                "waiting": [n.text for n in standing.nexts() if n.blocking],
                "exit_code": standing.exit_code,
            }
        )
    return {"schema": "allclear.case-list/1", "cases": rows, "exit_code": 0}


def export_view(ref: str, path: str, content: bytes) -> View:
    """`allclear.case-export/1`."""
    digest = hashlib.sha256(content).hexdigest()
    return {
        "schema": "allclear.case-export/1",
        "case": ref,
        "path": path,
        "bytes": len(content),
        "sha256": digest,
        "exit_code": 0,
    }
