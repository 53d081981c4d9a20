"""What comes in: mails and alerts are journalled first, then answered, then become an incident, join one, or wait.

Everything that comes in is an event of one stream, so that a crash at any point ends with each mail answered once and
each incident opened once (R002.2 to R002.4, R003.4 to R003.10, R003.14, R003.42).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from recovery.act import IT_HAPPENED
from recovery.desk import join, log, mailbox, notice, rules
from recovery.desk.business_time import DAWN
from recovery.desk.came import ANSWER, STREAM, Came, answered_by, fold, follow, mail_data, reply_data
from recovery.desk.clocks import request_clocks
from recovery.desk.incident import MACHINE, Change, Incident, plain
from recovery.desk.mailbox import Request
from recovery.desk.office import CHOICES, QUIET, IncidentOffice
from recovery.desk.outbox import Effect
from recovery.desk.perform import EFFECTS
from recovery.desk.ports import IncomingMail, MailSource
from recovery.desk.settings import DeskSettings
from recovery.desk.sla import Milestone, SlaClock, reached
from recovery.desk.sla_settings import Severity
from recovery.errors import LedgerConflict, RefusedError, UsageError
from recovery.model import ActionKind, System, iso

TRIES = 25
WAITING = timedelta(days=30)
WAITS = "waits for its turn: the mail server did not take the one before"


@dataclass(frozen=True, slots=True)
class Taken:
    """What one mail came to, for people."""

    request: Request
    incident: str
    open_answers: tuple[str, ...]


@dataclass(slots=True)
class Intake:
    """The desk's door. Every step may be repeated by anybody at any time."""

    office: IncidentOffice
    settings: DeskSettings

    async def take_mails(self, mails: Sequence[IncomingMail]) -> tuple[Taken, ...]:
        """Journals the mails, then does what they ask for; raises LedgerError."""
        await self.journal(mails)
        await self.round()
        known = await self._load()
        requests = [mailbox.take_in(self.settings, mail) for mail in mails]
        return tuple(self._taken(r, known[r.ref]) for r in requests if r.ref in known)

    async def fetch(self, source: MailSource) -> None:
        """Journals what a mailbox holds and only then marks it as taken; `round` answers it. Raises LedgerError."""
        mails = await source.fetch()
        await self.journal(mails)
        for mail in mails:
            await source.mark_taken(mail.message_ref)

    async def journal(self, mails: Sequence[IncomingMail]) -> None:
        """Each mail as an event, once: a reply to what came in before, or, as always at a P1 address, one of its own.

        A reply to a mail that an incident sent belongs to that incident. The addresses it was sent to are left out,
        also where its text quotes them: a P1 address is a secret.
        """
        incidents = {mail.message_ref: await self._whose(mail) for mail in mails}

        def decide(known: dict[str, Came]) -> Sequence[Change]:
            changes: list[Change] = []
            for mail in mails:
                fresh = self._journalled(known, mail, incidents[mail.message_ref])
                follow(known, fresh)
                changes += fresh
            return changes

        await self._append(decide)

    def _journalled(self, known: Mapping[str, Came], mail: IncomingMail, incident: str) -> Sequence[Change]:
        request, about = mailbox.take_in(self.settings, mail), answered_by(known, mail)
        if request.ref in known or (about is not None and any(r.ref == request.ref for r in about.replies)):
            return ()
        subject, text = (mailbox.without_secrets(self.settings, each) for each in (mail.subject, mail.text))
        kept = replace(mail, subject=subject, text=text)
        if about is not None and request.came_to != "p1":
            return (Change("reply_received", MACHINE, self._now(), reply_data(kept, about.signal.ref)),)
        joins = incident if request.came_to != "p1" else ""
        return (Change("mail_received", MACHINE, self._now(), mail_data(kept, request, joins)),)

    async def _whose(self, mail: IncomingMail) -> str:
        """The incident that sent the mail which this one answers; "" for none, and for what no person wrote.

        A Message-ID of ours is made of the action's key, so the ledger knows it whatever became of its reply. An
        incident that has gone to an archive is none.
        """
        ledger = self.office.outbox.runner.ledger
        for answered in () if mailbox.from_machine(mail) else mail.answers:
            row = await ledger.action(answered.partition("@")[0])
            if row is not None and row.kind is ActionKind.MAIL and row.slot_key.startswith(EFFECTS):
                incident = row.slot_key.removeprefix(EFFECTS)
                if await log.find(ledger, incident) is not None:
                    return incident
        return ""

    async def alert(self, signal: notice.Signal) -> str:
        """A monitoring alert (R002.2); the incident it opened or joined, "" for planned work.

        An id that fires again after its incident was resolved is a new alert: many monitors name the check, not the
        event, and an alert that is taken for an old one wakes nobody.
        """
        before = (await self._load()).get(signal.ref)
        if before is not None and before.incident:
            resolved_at = (await self.office.incident(before.incident)).resolved_at
            if resolved_at is not None and signal.at > resolved_at:
                signal = replace(signal, ref=f"{signal.ref}@{iso(signal.at)}")

        def decide(known: Mapping[str, Came]) -> Sequence[Change]:
            if signal.ref in known:
                return ()
            data = {"ref": signal.ref, "at": plain(signal.at), "service": signal.service, "account": signal.account}
            more = {"text": signal.text, "planned": signal.planned}
            return (Change("alert_received", MACHINE, self._now(), {**data, **more}),)

        await self._append(decide)
        await self.place()
        return (await self._load())[signal.ref].incident

    async def round(self) -> None:
        """Does everything that what came in asks for: first the incidents, then the receipts."""
        await self.place()
        await self.answer()

    async def place(self) -> None:
        """Lets what waits become or join incidents, and tells these what their mails say."""
        known = await self._load()
        if any(not came.fate for came in known.values()):
            await self._place(known)
            known = await self._load()
        await self._pass_on(known.values())

    async def answer(self) -> None:
        """Sends open receipts and questions, the least lately tried first, and tells the incidents what was sent.

        It ends with the first that the mail server does not take: the rest has its turn in a later round.
        """
        answered: set[str] = set()
        for came, effect in await self._in_turn():
            ref = came.signal.ref
            told = await self.office.outbox.alone(effect, f"intake/{ref}")
            if told.done or came.tried.get(effect.slot) != told.text:
                data = {"ref": ref, "answer": effect.slot, "done": told.done, "message_ref": told.ref}
                change = Change("answered", MACHINE, self._now(), {**data, "text": told.text})
                await self._append(lambda _k, c=change: (c,))  # type: ignore[misc] # a default binds the loop's value
                answered.add(ref)
            if told.unanswered:
                break
        if answered:
            await self._pass_on([came for ref, came in (await self._load()).items() if ref in answered])

    async def warn(self) -> None:
        """Tells the alarms channel, once each, of promises that run out for requests nobody has classified (R003.26).

        The latest that was reached stands for those before it. A channel that cannot be written to is tried next round.
        """
        shares, now = self.settings.sla.rules.warn_at, self._now()
        for came in await self.waiting():
            if now - came.signal.at > WAITING:
                continue
            for clock in clocks_of(self.settings, came):
                stone = next(reversed(reached(clock, shares, now)), None)
                if stone is None or warning_of(stone) in came.warned:
                    continue
                told = await self.office.outbox.alone(self._warning(came, stone), f"intake/{came.signal.ref}")
                if not told.done:
                    return
                data = {"ref": came.signal.ref, "warning": warning_of(stone)}
                await self._append(lambda _k, d=data: (Change("warned", MACHINE, now, d),))  # type: ignore[misc] # as above

    def _warning(self, came: Came, stone: Milestone) -> Effect:
        clock, ref = stone.clock, came.signal.ref
        said = "Promise broken" if stone.breach else f"{stone.share:.0%} used"
        about = f"{clock.name} ({clock.target}) of {ref}, which nobody has classified"
        lines = (f"From {came.signal.account or 'an unknown client'}: {came.signal.text}",)
        channel = self.settings.desk.channels.alarms
        payload: dict[str, object] = {"channel": channel, "text": f"{said}: {about}.", "lines": lines, "thread": ""}
        payload["since"] = came.signal.at
        return Effect(ActionKind.CHAT, System.SLACK, ref, warning_of(stone), payload)

    async def waiting(self) -> tuple[Came, ...]:
        """Mails that nobody has classified and that belong to no incident, oldest first."""
        known = (await self._load()).values()
        return tuple(c for c in known if c.mail is not None and not c.fate)

    async def classify(self, ref: str, by: str, severity: Severity) -> Incident:
        """A person gives a waiting request its severity: it becomes a record of its own and keeps its start (R003.42).

        Raises UsageError for an unknown request, RefusedError for a person who may not declare.
        """
        came = next((c for c in await self.waiting() if c.signal.ref == ref), None)
        if came is None or came.mail is None:
            raise UsageError(f"No request {ref!r} waits.", "`allclear incident requests` lists them.")
        request = mailbox.classify(self.settings, self.request(came), severity)
        said = mailbox.declaration(self.settings, request, came.mail)
        said = replace(said, source="report", source_ref=ref, severities=(severity,), kind="degradation")
        rules.authorize(self.settings, by, "declare")
        incident = await self.office.declare(by, said, notice.ref_of("report", ref))
        await self._placed(ref, incident.ref, "declare")
        await self.round()
        return await self.office.step(incident.ref, lambda _i: ())

    async def open_answers(self) -> tuple[tuple[str, str, str], ...]:
        """Receipts and questions to customers that did not get out, as (request, answer, why)."""
        known = (await self._load()).values()
        return tuple((c.signal.ref, e.slot, c.tried.get(e.slot, WAITS)) for c in known for e in self._unanswered(c))

    async def settle(self, ref: str, by: str, answer: str, choice: str, reason: str) -> None:
        """A named person says whether an answer in doubt reached the customer, or that it is to be tried again.

        Raises RefusedError for a stranger, UsageError for an answer that is not open or a choice that there is not.
        """
        if not rules.is_person(self.settings, by):
            raise RefusedError(f'"{by}" has no role at this desk and decides nothing about its answers.')
        came = (await self._load()).get(ref)
        if came is None or came.mail is None or answer not in came.tried or answer in came.answered:
            raise UsageError(f"{ref} has no open answer {answer!r}.", "`allclear incident tick` lists what is open.")
        if choice not in CHOICES:
            raise UsageError(f"{choice!r} is no choice.", f"Choose one of: {', '.join(CHOICES)}.")
        effects = mailbox.answers(self.settings, self.request(came), came.mail)
        row = await self.office.settle_effect(next(e for e in effects if e.slot == answer), by, choice, reason)
        if choice == IT_HAPPENED:
            data = {"ref": ref, "answer": answer, "done": True, "message_ref": row.result_ref if row else ""}
            change = Change("answered", by, self._now(), {**data, "text": reason})
            await self._append(lambda known: () if answer in known[ref].answered else (change,))
        await self.round()

    def request(self, came: Came) -> Request:
        """A journalled mail as a request; the address that it came to is put back from the settings."""
        assert came.mail is not None
        desk = self.settings.desk
        to = desk.addresses.success if came.came_to == "success" else desk.addresses.help
        if came.came_to == "p1" and came.signal.account in desk.clients:
            to = desk.clients[came.signal.account].p1_address.get_secret_value()
        return mailbox.take_in(self.settings, replace(came.mail, to=(to,)))

    # ---- the steps

    def _unanswered(self, came: Came) -> tuple[Effect, ...]:
        """The answers that a mail of the last weeks still has to get; who answers a mail of ours gets none."""
        if came.mail is None or came.fate == ANSWER or self._now() - came.mail.received_at > WAITING:
            return ()
        effects = mailbox.answers(self.settings, self.request(came), came.mail)
        return tuple(effect for effect in effects if effect.slot not in came.answered)

    async def _in_turn(self) -> list[tuple[Came, Effect]]:
        """Open answers in the order of their last try, so that one that always fails holds up no other for ever."""
        outbox, found = self.office.outbox, []
        for came in (await self._load()).values():
            for effect in self._unanswered(came):
                row = await outbox.runner.ledger.action(outbox.key(effect)) if effect.slot in came.tried else None
                found.append((row.updated_at if row else DAWN, came, effect))
        return [(came, effect) for _, came, effect in sorted(found, key=lambda one: one[0])]

    async def _place(self, known: Mapping[str, Came]) -> None:
        """Signals that open or join incidents (R002.3, R002.4); what reports no trouble waits to be classified."""
        signals = [c.signal for c in known.values() if not c.fate and not self._no_report(c)]
        opened = [join.opened(i) for i in await self.office.incidents(QUIET) if join.takes_in(i)]
        for decision in notice.notice(signals, opened, self.settings.desk.notice):
            if decision.fate == "wait":
                continue
            ref = decision.incident_ref
            if decision.fate == "declare":
                ref = await self._open(decision, known)
            for signal in decision.signals:
                if decision.fate == "merge":
                    await self.office.step(ref, join.merging(signal, self._now()))
                await self._placed(signal.ref, ref, decision.fate)

    def _no_report(self, came: Came) -> bool:
        """A mail that a program wrote, such as an absence notice, or that asks for the board; never one to P1."""
        if came.mail is None or came.signal.source == "p1_mail":
            return False
        return came.mail.automatic or self.request(came).board_access

    async def _open(self, decision: notice.Decision, known: Mapping[str, Came]) -> str:
        first = next((s for s in decision.signals if s.source != "report"), decision.signals[0])
        came = known[first.ref]
        if first.source == "p1_mail" and came.mail is not None:
            said = mailbox.declaration(self.settings, self.request(came), came.mail)
            said = replace(said, source_ref=first.ref)
        else:
            said = join.declared(self.settings, decision, first)
        incident = await self.office.declare(MACHINE, said, decision.incident_ref)
        for signal in decision.signals:
            await self.office.step(incident.ref, join.merging(signal, self._now()))
        return incident.ref

    async def _pass_on(self, mails: Iterable[Came]) -> None:
        """Mails as reports of their incidents, each of which is read once; what has long been still is there."""
        groups: dict[str, list[Came]] = defaultdict(list)
        now = self._now()
        for came in mails:
            if came.mail is not None and came.incident and now - came.moved_at <= WAITING:
                groups[came.incident].append(came)
        for ref, group in groups.items():
            await self.office.step(ref, partial(join.all_told, group=group, now=now))

    async def _placed(self, ref: str, incident: str, fate: str) -> None:
        def decide(known: Mapping[str, Came]) -> Sequence[Change]:
            if known[ref].fate:
                return ()
            return (Change("placed", MACHINE, self._now(), {"ref": ref, "incident": incident, "fate": fate}),)

        await self._append(decide)

    def _taken(self, request: Request, came: Came) -> Taken:
        return Taken(request, came.incident, tuple(effect.slot for effect in self._unanswered(came)))

    # ---- the stream

    async def _append(self, decide: Callable[[dict[str, Came]], Sequence[Change]]) -> None:
        ledger = self.office.outbox.runner.ledger
        for n in range(TRIES):
            events = await ledger.stream(STREAM)
            seq = len(events)
            try:
                for change in decide(fold(events)):
                    seq = await ledger.append(STREAM, change.kind, change.by, change.at, change.data, seq)
            except LedgerConflict:
                if n == TRIES - 1:
                    raise
                continue
            return

    async def _load(self) -> dict[str, Came]:
        return fold(await self.office.outbox.runner.ledger.stream(STREAM))

    def _now(self) -> datetime:
        return self.office.clock.now()


def clocks_of(settings: DeskSettings, came: Came) -> tuple[SlaClock, ...]:
    """The clocks of a request that nobody has classified."""
    receipt = came.answered.get("acknowledgement")
    signal = came.signal
    return request_clocks(settings, signal.ref, signal.account, signal.at, receipt[0] if receipt else None)


def warning_of(stone: Milestone) -> str:
    """The name of a warning: the same one is told once."""
    return f"{stone.clock.name}-{stone.share:g}"
