"""Where a case stands, as one JSON document (`allclear.case/1`, docs/json-case.md) and as lines for people.

It says what was found, what is done, who waits for whom, and the commands that come next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recovery.case.case import Case, blocks_done
from recovery.case.casework import Outcome
from recovery.case.diagnosis import CheckResult, Diagnosis
from recovery.case.effects import Performed, standing_of
from recovery.case.escalation import build_package
from recovery.case.outcome import Reply
from recovery.errors import RefusedError
from recovery.model import iso
from recovery.playbook import Offer, Playbook, ReasonKind

View = dict[str, Any]
EXIT_CLEAR = 0
EXIT_WAITING = 3
ME = '--by "YOUR NAME"'


@dataclass(frozen=True, slots=True)
class Next:
    """One thing to do: in words, and as a command. `blocking` ones keep the case from ending."""

    text: str
    command: str
    blocking: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """A case with everything that its view is made of."""

    playbook: Playbook
    outcome: Outcome
    offers: tuple[Offer, ...]
    effects: tuple[Performed, ...]

    @property
    def case(self) -> Case:
        """The case."""
        return self.outcome.case

    def nexts(self) -> tuple[Next, ...]:
        """What comes next, in a useful order."""
        return tuple(
            n for part in (_intake, _checks, _resolution, _escalation, _open, _effects, _offered) for n in part(self)
        )

    @property
    def exit_code(self) -> int:
        """0 when nothing waits for anybody, else 3."""
        return EXIT_WAITING if any(n.blocking for n in self.nexts()) else EXIT_CLEAR


def make_standing(
    playbook: Playbook, outcome: Outcome, offers: tuple[Offer, ...], done: Sequence[Performed] = ()
) -> Standing:
    """The standing; `done` is what the last try at the desks came to."""
    return Standing(playbook, outcome, offers, standing_of(outcome.case, done))


# ---- what comes next -----------------------------------------------------------------------------------------------


def _intake(s: Standing) -> Iterator[Next]:
    for ask in s.outcome.asks:
        yield Next(ask.text, f'allclear case give {s.case.ref} --field {ask.fields[0]}="…" {ME}')


def _checks(s: Standing) -> Iterator[Next]:
    if s.outcome.asks:
        return
    diagnosis = s.outcome.diagnosis
    if diagnosis is None:
        yield Next("The checks have not been run.", f"allclear case check {s.case.ref}")
        return
    for step in diagnosis.steps:
        where = " ".join(x for x in (step.menu_path, step.link) if x)
        required = s.playbook.check(step.check).required and not s.case.resolved
        if step.choices:
            choices = "|".join(value for value, _ in step.choices)
            command = f'allclear case attest {s.case.ref} {step.check} {choices} {ME} --statement "…" --file SHOT.png'
        else:
            command = f"allclear case check {s.case.ref}"
        asked = step.why if step.text in step.why else f"{step.text} ({step.why})"
        yield Next(f"{asked} {where}".strip(), command, required)


def _told(s: Standing) -> bool:
    return bool(s.case.replies) or any(e.resolved_at for e in s.case.escalations.values())


def _resolution(s: Standing) -> Iterator[Next]:
    diagnosis = s.outcome.diagnosis
    if diagnosis is None or not diagnosis.complete or s.case.resolved:
        return
    if any(h.client_text for h in diagnosis.hits) and not _told(s):
        yield Next("Tell the client what was found.", f"allclear case reply {s.case.ref}")
    for hit in diagnosis.of(ReasonKind.HUMAN_STEP):
        yield Next(f"{hit.title}. {hit.resolution}", f"allclear case show {s.case.ref}")


def _escalation(s: Standing) -> Iterator[Next]:
    """Stages in their order once a reason calls for them; the two escalations are independent choices (R000.44)."""
    diagnosis, case = s.outcome.diagnosis, s.case
    if diagnosis is None or case.resolved or not diagnosis.of(ReasonKind.ESCALATE):
        return
    stages = s.playbook.stages
    ready = [t for t in stages if t.id not in case.stages and all(a in case.stages for a in t.after)]
    if escalating := [t for t in ready if t.kind == "escalate" and t.id not in case.escalations]:
        if case.references is None:
            yield Next("Search for similar cases.", f"allclear case references {case.ref} {ME}")
        for gap in build_package(s.playbook, case, diagnosis).missing:
            if not gap.startswith("reference cases"):
                yield Next(f"The package lacks: {gap}", f"allclear case attach {case.ref} CHECK FILE --slot SLOT {ME}")
    for stage in ready:
        if stage.kind == "verify":
            command = f"allclear case stage {case.ref} {stage.id} --team {'|'.join(stage.teams) or 'TEAM'} {ME}"
            yield Next(f"{stage.title}: which team looked, and did it resolve it?", command)
    for stage in escalating:
        yield Next(stage.title, f"allclear case escalate {case.ref} {stage.id} {ME}", not case.escalations)


def _open(s: Standing) -> Iterator[Next]:
    for opened in s.case.escalations.values():
        if opened.open:
            who = opened.team or opened.contact
            command = f'allclear case resolve {s.case.ref} {opened.stage} --note "…" --client-text "…" {ME}'
            yield Next(f"Escalation {opened.stage} is open; {who} works on it.", command)


def _effects(s: Standing) -> Iterator[Next]:
    for number, one in enumerate(s.effects, 1):
        if one.state in ("task", "held"):
            yield Next(
                f"[{number}] {one.text}", f'allclear case settle {s.case.ref} {number} happened {ME} --reason "…"'
            )
    if any(e.state == "waiting" for e in s.effects):
        yield Next("Something could not be done yet.", f"allclear case send {s.case.ref}")


def _offered(s: Standing) -> Iterator[Next]:
    for offer in s.offers:
        if offer.id not in s.case.settings:
            command = f"allclear case approve-setting {s.case.ref} {offer.id} --accept-consequences {ME}"
            yield Next(f"Offer: {offer.title}. {offer.consequences}", command, False)


# ---- the view ------------------------------------------------------------------------------------------------------


def case_view(s: Standing, draft: Reply | None = None) -> View:
    """`allclear.case/1`."""
    case, playbook, diagnosis = s.case, s.playbook, s.outcome.diagnosis
    return {
        "schema": "allclear.case/1",
        "case": case.ref,
        "account": case.account,
        "playbook": {"id": playbook.id, "title": playbook.title, "version": case.version, "now": playbook.version},
        "opened": {"by": case.opened_by, "at": iso(case.opened_at)},
        "fields": dict(case.fields),
        "missing": [{"fields": list(a.fields), "ask": a.text} for a in s.outcome.asks],
        "blocks": [
            {"id": b.block, "title": b.title, "by": list(b.by), "done_at": iso(b.done_at) if b.done_at else None,
             "open": list(b.open)}
            for b in blocks_done(playbook, case)
        ],
        "checks": [_check_view(s, r) for c in playbook.checks if (r := case.results.get(c.id)) is not None],
        "complete": diagnosis.complete if diagnosis else False,
        "reasons": _reasons(diagnosis),
        "offers": [_offer_view(o, case) for o in s.offers],
        "reply": _reply_view(draft),
        "replies_approved": list(case.replies),
        "stages": [
            {"id": r.stage, "team": r.team, "resolved": r.resolved, "note": r.note, "by": r.by, "at": iso(r.at)}
            for r in case.stages.values()
        ],
        "escalations": [
            {"stage": e.stage, "contact": e.contact, "channel": e.channel, "team": e.team, "open": e.open,
             "override_reason": e.override_reason, "by": e.by, "at": iso(e.at)}
            for e in case.escalations.values()
        ],
        "references": list(case.reference_refs) if case.references else None,
        "effects": [
            {"number": n, "effect": p.effect.ref, "state": p.state, "remote_ref": p.remote_ref, "text": p.text}
            for n, p in enumerate(s.effects, 1)
        ],
        "evidence": [
            {"ref": e.ref, "kind": e.kind, "check": e.check, "media_type": e.media_type, "digest": e.digest, "by": e.by}
            for e in case.evidence
        ],
        "next": [{"text": n.text, "command": n.command, "blocking": n.blocking} for n in s.nexts()],
        "feedback": {
            "form": playbook.feedback.url,
            "question": playbook.feedback.question,
            "given": len(case.feedback),
        },
        "resolved": case.resolved,
        "exit_code": s.exit_code,
    }  # fmt: skip


def _check_view(s: Standing, result: CheckResult) -> View:
    check = s.playbook.check(result.check)
    return {
        "id": check.id,
        "title": check.title,
        "state": result.state.value,
        "codes": list(result.codes),
        "summary": result.summary,
        "by": result.by,
        "at": iso(result.at),
        "source": result.source,
        "menu_path": check.menu_path,
        "link": result.link,
        "evidence": list(result.evidence),
        "slots": [{"id": t.id, "title": t.title, "filled": t.id in s.case.filled(check.id)} for t in check.slots],
    }


def _reasons(diagnosis: Diagnosis | None) -> list[View]:
    return [
        {
            "code": h.code,
            "kind": h.kind.value,
            "title": h.title,
            "client_text": h.client_text,
            "resolution": h.resolution,
            "because": list(h.because),
        }
        for h in (diagnosis.hits if diagnosis else ())
    ]


def _offer_view(offer: Offer, case: Case) -> View:
    return {
        "id": offer.id,
        "title": offer.title,
        "consequences": offer.consequences,
        "irreversible": offer.irreversible,
        "approved_by": case.settings.get(offer.id, ""),
    }


def _reply_view(draft: Reply | None) -> View | None:
    if draft is None:
        return None
    return {
        "digest": draft.digest,
        "paragraphs": list(draft.paragraphs),
        "attachments": list(draft.attachments),
        "reasons": list(draft.reasons),
    }


# ---- lines for people ----------------------------------------------------------------------------------------------

_SIGNS = {"pass": "ok  ", "fail": "FAIL", "unknown": "?   ", "error": "ERR ", "not_applicable": "n/a "}


def case_lines(view: Mapping[str, Any]) -> list[str]:
    """The view for people; the caller makes it safe for its terminal."""
    book = view["playbook"]
    lines = [f"Case {view['case']}  {book['title']} (version {book['version']})", f"Account {view['account']}"]
    lines += [f"  {name}: {value}" for name, value in sorted(view["fields"].items())]
    for block in view["blocks"]:
        done = f"done {block['done_at']} by {', '.join(block['by'])}" if block["done_at"] else "not done"
        lines.append(f"{block['title']}: {done}")
    for check in view["checks"]:
        lines.append(f"  {_SIGNS[check['state']]} {check['title']}: {check['summary']}")
    if view["reasons"]:
        lines.append("Found:")
        lines += [f"  {r['title']} [{r['code']}]. {r['resolution']}" for r in view["reasons"]]
    lines += _reply_lines(view)
    lines += [_stage_line(s) for s in view["stages"]]
    for e in view["escalations"]:
        lines.append(
            f"Escalation {e['stage']}: {e['contact']} in {e['channel']}, {'open' if e['open'] else 'resolved'}"
        )
    if view["references"] is not None:
        lines.append(f"Reference cases: {', '.join(view['references']) or 'none found'}")
    lines += [f"  [{e['number']}] {e['state']}: {e['effect']} {e['remote_ref']}".rstrip() for e in view["effects"]]
    lines += _next_lines(view)
    lines.append(f"{view['feedback']['question']} {view['feedback']['form']}")
    return lines


def _stage_line(stage: Mapping[str, Any]) -> str:
    return (
        f"Stage {stage['id']}: {stage['team']}, {'resolved' if stage['resolved'] else 'not resolved'} ({stage['by']})"
    )


def _reply_lines(view: Mapping[str, Any]) -> list[str]:
    draft = view["reply"]
    if draft is None:
        return []
    return [
        "Reply to the client (draft):",
        *(f"  {p}" for p in draft["paragraphs"]),
        f"  with {len(draft['attachments'])} evidence cards",
        "To send exactly this:",
        f"  allclear case reply {view['case']} --approve {draft['digest'][:12]} {ME}",
    ]


def _next_lines(view: Mapping[str, Any]) -> list[str]:
    lines = ["Nothing waits: the case is clear." if view["exit_code"] == EXIT_CLEAR else "Waiting:"]
    for step in view["next"]:
        lines += [f"  - {line}" if n == 0 else f"    {line}" for n, line in enumerate(step["text"].splitlines())]
        lines.append(f"      {step['command']}")
    return lines


def chosen_effect(effects: Sequence[Performed], wanted: str) -> Performed:
    """The effect of this number or name; raises RefusedError when there is none."""
    for number, one in enumerate(effects, 1):
        if wanted in (str(number), one.effect.ref):
            return one
    raise RefusedError(f"the case has no effect {wanted!r}", "`allclear case show` numbers them")
