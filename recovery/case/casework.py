"""Working a case: open it, run the checks, take in what people attest. Effects on remotes come from `case_outcome`.

Every step appends to the case's stream and returns the case as it then stands. The remotes are only read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from recovery.case.card import CHROMIUM, Card, render_html, render_png
from recovery.case.case import Case, case_ref, evidence_data, fold, stream_of
from recovery.case.diagnosis import Ask, CheckResult, Diagnosis, diagnose, missing_fields
from recovery.case.evidence import EvidenceStore, redact, store_attestation, store_exchange, store_upload
from recovery.case.records import EvidenceItem
from recovery.errors import AllclearError, ConfigError, LedgerConflict, RefusedError, UsageError
from recovery.journal import Journal
from recovery.model import iso
from recovery.playbook import Check, Choice, Playbook, State
from recovery.playbook_file import PLACEHOLDER
from recovery.ports import Clock
from recovery.witness import Registry, Sight, Tape, Visit

ROBOT = "allclear"
ATTESTED = "attestation"


@dataclass(frozen=True, slots=True)
class Office:
    """What casework is done with. `secret` signs attestations; `browser` draws PNG cards, None for HTML alone."""

    streams: Journal
    store: EvidenceStore
    clock: Clock
    secret: bytes
    browser: Path | None = CHROMIUM

    async def add(self, case: Case, kind: str, by: str, data: Mapping[str, object]) -> None:
        """Append to the case, only if nobody else did since it was read; raises LedgerConflict otherwise."""
        await self.streams.append(stream_of(case.ref), kind, by, self.clock.now(), data, case.seq)

    async def load(self, ref: str) -> Case:
        """The case as it stands; raises UsageError when there is none."""
        return fold(ref, await self.streams.stream(stream_of(ref)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a case stands: what is missing at intake, or what the checks came to."""

    case: Case
    asks: tuple[Ask, ...]
    diagnosis: Diagnosis | None


async def open_case(office: Office, playbook: Playbook, account: str, fields: Mapping[str, str], by: str) -> Outcome:
    """Open the case of this complaint, or find it when somebody has opened it already; tells what intake lacks."""
    known = {p.field for p in playbook.prerequisites}
    strange = sorted(set(fields) - known)
    if strange:
        raise UsageError(f"playbook {playbook.id} has no field {strange[0]!r}", f"it has: {', '.join(sorted(known))}")
    given = {k: redact(v.strip()) for k, v in fields.items() if v.strip()}
    given.setdefault("account_name", account)
    ref = case_ref(playbook.id, account, given)
    data = {
        "playbook": playbook.id,
        "version": playbook.version,
        "digest": playbook.digest,
        "account": account,
        "fields": given,
    }
    try:
        await office.streams.append(stream_of(ref), "opened", person_named(by), office.clock.now(), data, 0)
    except LedgerConflict:
        return await give_fields(office, playbook, ref, given, by)
    return await look_up(office, playbook, ref)


async def give_fields(office: Office, playbook: Playbook, ref: str, fields: Mapping[str, str], by: str) -> Outcome:
    """Add what intake lacked; fields that say the same as before add nothing."""
    case = await office.load(ref)
    given = {k: redact(v.strip()) for k, v in fields.items() if v.strip()}
    new = {k: v for k, v in given.items() if case.fields.get(k) != v}
    if new:
        await office.add(case, "fields", person_named(by), {"fields": new})
    return await look_up(office, playbook, ref)


async def look_up(office: Office, playbook: Playbook, ref: str) -> Outcome:
    """Where the case stands under this playbook; nothing is read from remotes and nothing is written."""
    case = await office.load(ref)
    if case.playbook != playbook.id:
        raise UsageError(f"case {ref} belongs to playbook {case.playbook!r}, not {playbook.id!r}")
    asks = missing_fields(playbook, case.fields)
    if asks or not case.results:
        return Outcome(case, asks, None)
    return Outcome(case, (), diagnose(playbook, case.account, case.fields, case.results))


async def run_checks(
    office: Office,
    playbook: Playbook,
    ref: str,
    *,
    registry: Registry,
    sources: Mapping[str, object],
    tape: Tape,
    by: str = ROBOT,
) -> Outcome:
    """Run every check of every block, whatever the reporter says was checked already (R000.5, R000.49).

    A failing check never stops the next (R000.11). With fields missing nothing is read; the outcome asks for them.
    """
    before = await look_up(office, playbook, ref)
    if before.asks:
        return before
    case = before.case
    visit = Visit(case.account, case.fields, playbook.profiles, playbook.examples, office.clock, sources, tape)
    for check in playbook.checks:
        sight = await _look(visit, check, registry)
        await _record_sight(office, case, check, sight, visit, by)
    return await _diagnosed(office, playbook, ref, by)


async def _look(visit: Visit, check: Check, registry: Registry) -> Sight:
    """What the witness says; a witness that fails says ERROR, never PASS."""
    try:
        return await registry[check.witness].run(visit, check)
    except ConfigError as problem:
        return Sight(State.ERROR, ("setup",), f"{problem}. {problem.hint}".strip(". ") + ".", source="settings")
    except AllclearError as problem:
        return Sight(State.ERROR, ("unreadable",), f"could not be read: {problem}", source="failed read")


async def _record_sight(office: Office, case: Case, check: Check, sight: Sight, visit: Visit, by: str) -> None:
    now = office.clock.now()
    items: list[EvidenceItem] = []
    for number, exchange in enumerate(visit.take_used(), 1):
        ref = f"{check.id}-api-{number}-{_stamp(now, case)}"
        items.append(await store_exchange(office.store, exchange, ref=ref, check=check.id, by=by))
    old = case.results.get(check.id)
    link = _deep_link(check, {**case.fields, **sight.link})
    result = CheckResult(
        check.id, sight.state, sight.codes, redact(sight.summary), now, by, sight.source, _clean(sight.facts), link
    )
    if result.open and old is not None and old.source == ATTESTED:
        # A person has answered what no API can; asking the API again in vain does not undo that.
        await _write_evidence(office, case, items, by)
        return
    items += await _cards(office, case, check, result, items, sight.slots)
    await _write_evidence(office, case, items, by)
    await _write_result(office, case, check, result, items, by)


async def _write_evidence(office: Office, case: Case, items: Sequence[EvidenceItem], by: str) -> None:
    for item in items:
        await office.streams.append(stream_of(case.ref), "evidence", by, office.clock.now(), evidence_data(item))


async def _write_result(
    office: Office, case: Case, check: Check, result: CheckResult, items: Sequence[EvidenceItem], by: str
) -> None:
    card = next((i.ref for i in items if i.kind == "card"), "")
    data: dict[str, object] = {
        "check": check.id,
        "state": result.state.value,
        "codes": list(result.codes),
        "summary": result.summary,
        "source": result.source,
        "facts": dict(result.facts),
        "link": result.link,
        "evidence": [i.ref for i in items],
        # An open check fills no slot: its card shows that nobody knows, which is not evidence of a setting (E.4).
        "filled": {} if result.open else {slot.id: card for slot in check.slots},
    }
    await office.streams.append(stream_of(case.ref), "check", by, office.clock.now(), data)


async def _cards(
    office: Office,
    case: Case,
    check: Check,
    result: CheckResult,
    items: Sequence[EvidenceItem],
    slots: Mapping[str, str],
) -> list[EvidenceItem]:
    html = render_html(_card_of(case, check, result, items, slots))
    ref = f"{check.id}-card-{_stamp(result.at, case)}"
    title = f"card: {check.title}"
    digest = await office.store.put(html.encode())
    cards = [EvidenceItem(ref, "card", check.id, "", digest, "text/html", result.at, result.by, title)]
    # Only what stands in for a screenshot needs a picture: drawing one takes a browser seconds.
    picture = await render_png(html, office.browser) if check.slots else None
    if picture is not None:
        digest = await office.store.put(picture)
        cards.append(EvidenceItem(f"{ref}-png", "card", check.id, "", digest, "image/png", result.at, result.by, title))
    return cards


def _card_of(
    case: Case, check: Check, result: CheckResult, items: Sequence[EvidenceItem], slots: Mapping[str, str]
) -> Card:
    rows = [(slot.title, slots.get(slot.id, "")) for slot in check.slots]
    for item in items:
        rows.append(("Request", item.request or item.title))
        if item.kind == "api":
            rows.append(("Answer", f"status {item.status}, {iso(item.at)}, SHA-256 {item.answer_digest}"))
            rows.append(("Trace", item.trace_ref))
    rows.append(("Provider's trace", result.facts.get("trace", "")))
    return Card(
        title=check.title,
        account=case.account,
        item=case.fields.get("template_name", "") or case.ref,
        state=result.state.value,
        value=result.summary,
        setting_path=check.menu_path,
        link=result.link,
        at=result.at,
        by=result.by,
        source=result.source,
        rows=rows,
    )


async def _diagnosed(office: Office, playbook: Playbook, ref: str, by: str) -> Outcome:
    outcome = await look_up(office, playbook, ref)
    if outcome.diagnosis is not None:
        data = {
            "reasons": list(outcome.diagnosis.codes),
            "complete": outcome.diagnosis.complete,
            "version": playbook.version,
            "digest": playbook.digest,
        }
        await office.streams.append(stream_of(ref), "diagnosed", by, office.clock.now(), data)
    return await look_up(office, playbook, ref)


async def attest(
    office: Office,
    playbook: Playbook,
    ref: str,
    *,
    check_id: str,
    choice: str,
    by: str,
    statement: str,
    upload: bytes | None = None,
) -> Outcome:
    """Record what a named person saw where no API answers: signed, with the screenshot when there is one (E.4).

    Raises RefusedError for a check that an API has answered, or that has not been run; UsageError for an
    unknown choice.
    """
    person = person_named(by)
    case = (await look_up(office, playbook, ref)).case
    check = playbook.check(check_id)
    answer, old = _answerable(case, check, choice)
    if not statement.strip():
        raise UsageError("a statement is needed", "say in your own words what you saw")
    now = office.clock.now()
    items = await _testimony(office, case, check, answer, statement, upload, person, now)
    summary = f"{answer.label} (attested: {redact(statement.strip())})"
    result = CheckResult(check_id, answer.state, (answer.code,), summary, now, person, ATTESTED, old.facts, old.link)
    items += await _cards(office, case, check, result, items, {})
    await _write_evidence(office, case, items, person)
    await _write_result(office, case, check, result, items, person)
    return await _diagnosed(office, playbook, ref, person)


def _answerable(case: Case, check: Check, choice: str) -> tuple[Choice, CheckResult]:
    """The answer that was chosen and the result that it replaces: an open one, or an earlier person's answer."""
    answer = next((c for c in check.choices if c.value == choice), None)
    if answer is None:
        known = ", ".join(c.value for c in check.choices) or "none: an API answers it"
        raise UsageError(f"check {check.id} has no answer {choice!r}", f"possible answers: {known}")
    old = case.results.get(check.id)
    if old is None:
        raise RefusedError(f"check {check.id} has not been run yet", "run the checks first")
    if not old.open and old.source != ATTESTED:
        raise RefusedError(f"check {check.id} was answered by {old.source}", "an attestation does not overrule that")
    return answer, old


async def _testimony(
    office: Office,
    case: Case,
    check: Check,
    answer: Choice,
    statement: str,
    upload: bytes | None,
    person: str,
    now: datetime,
) -> list[EvidenceItem]:
    """The signed statement, and the screenshot when there is one."""
    slot = check.slots[0].id if check.slots else ""
    stamp = _stamp(now, case)
    signed = await store_attestation(
        office.store,
        office.secret,
        ref=f"{check.id}-attestation-{stamp}",
        case=case.ref,
        check=check.id,
        slot=slot,
        value=answer.value,
        statement=statement,
        by=person,
        at=now,
    )
    if upload is None:
        return [signed]
    ref = f"{check.id}-upload-{stamp}"
    shown = await store_upload(
        office.store, upload, ref=ref, check=check.id, slot=slot, title=answer.label, by=person, at=now
    )
    return [signed, shown]


async def attach(
    office: Office, playbook: Playbook, ref: str, *, check_id: str, slot: str, title: str, by: str, content: bytes
) -> Case:
    """Add a file as evidence to a slot of a check; slot "log" takes logs. It answers no check."""
    case = await office.load(ref)
    check = playbook.check(check_id)
    slots = {s.id for s in check.slots} | {"log"}
    if slot not in slots:
        raise UsageError(f"check {check_id} has no slot {slot!r}", f"it has: {', '.join(sorted(slots))}")
    now = office.clock.now()
    item = await store_upload(
        office.store,
        content,
        ref=f"{check_id}-upload-{_stamp(now, case)}",
        check=check_id,
        slot=slot,
        title=title,
        by=person_named(by),
        at=now,
    )
    await _write_evidence(office, case, [item], item.by)
    return await office.load(ref)


def _clean(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: redact(value) for name, value in facts.items()}


def person_named(by: str) -> str:
    """The name without surplus blanks; raises UsageError when there is none."""
    name = " ".join(by.split())
    if not name:
        raise UsageError("a name is needed", "say who you are")
    return name


def _stamp(moment: datetime, case: Case) -> str:
    return f"{moment:%Y%m%dT%H%M%SZ}-{case.seq}"


def _deep_link(check: Check, values: Mapping[str, str]) -> str:
    """The panel page's address with escaped values; "" when a part of it is not known."""
    names = PLACEHOLDER.findall(check.deep_link)
    if any(not values.get(n) for n in names):
        return ""
    return PLACEHOLDER.sub(
        lambda m: values[m[1]].rstrip("/") if m[1] == "panel_url" else quote(values[m[1]], safe=""), check.deep_link
    )
