"""Cases for the Prefect UI: forms in, pages out. The same steps as at the terminal, on the same ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from recovery.case.standing import View
from recovery.case.steps import Step
from recovery.case.wiring import open_case_systems
from recovery.report.markdown import code, prose, table
from recovery.report.summary import safe_href
from recovery.served.forms import CaseForm, CaseStepForm
from recovery.served.pages import Page
from recovery.settings import load_settings

FIELDS = (
    "template_name",
    "campaign_ref",
    "journey_ref",
    "ticket_ref",
    "sent_on",
    "since",
    "region",
    "customer_says",
)


async def serve_case(form: CaseForm) -> Page:
    """Opens the case of a complaint, or finds it, and runs every check; only reads remotes."""
    fields = {name: value for name in FIELDS if (value := str(getattr(form, name)))} | dict(form.more)
    async with open_case_systems(load_settings(form.config)) as work:
        step = await Step.open(work, form.playbook, form.account, fields, form.opened_by)
        return case_page(await step.check(form.opened_by))


async def serve_step(form: CaseStepForm) -> Page:
    """Takes one step of a case."""
    async with open_case_systems(load_settings(form.config)) as work:
        return case_page(await _STEPS[form.step](await Step.on(work, form.case), form))


_STEPS: Mapping[str, Callable[[Step, CaseStepForm], Awaitable[View]]] = {
    "show": lambda s, _: s.view(),
    "check": lambda s, f: s.check(f.by),
    "attest": lambda s, f: s.attest(f.what, f.choice, f.by, f.text),
    "references": lambda s, f: s.references(f.by),
    "reply": lambda s, _: s.reply(),
    "approve_reply": lambda s, f: s.reply(f.what, f.by),
    "approve_setting": lambda s, f: s.approve_setting(f.what, f.by, f.consequences_read),
    "stage": lambda s, f: s.stage(f.what, f.team, f.resolved, f.text, f.by),
    "escalate": lambda s, f: s.escalate(f.what, f.by, f.absent, f.override_reason),
    "post": lambda s, f: s.post(f.what, f.text, f.by),
    "resolve": lambda s, f: s.resolve(f.what, f.text, f.client_text, f.by),
    "settle": lambda s, f: s.settle(f.what, f.choice, f.by, f.text, f.remote_ref),
    "send": lambda s, _: s.send(),
    "feedback": lambda s, f: s.feedback(f.text, f.by),
}


def case_page(view: View) -> Page:
    """Where a case stands: a table of its checks, and the cards, causes and next steps as text."""
    waiting = [n["text"].splitlines()[0] for n in view["next"] if n["blocking"]]
    # Titles go into notices and automations, so they hold our own words and keys only.
    reasons = ", ".join(r["code"] for r in view["reasons"]) or "no finding yet"
    title = f"Case {view['case']}: {reasons}; {len(waiting)} waiting" if waiting else f"Case {view['case']}: clear"
    rows = [
        {k: c[k] for k in ("title", "state", "summary", "by", "at", "menu_path", "link")} for c in view["checks"]
    ] or [{"missing": m["ask"]} for m in view["missing"]]
    state = "All clear" if view["exit_code"] == 0 else "Held"
    return Page("case", title, state, view["exit_code"], rows or [{"result": "not checked"}], case_text(view))


def case_text(view: View) -> str:
    """The case as Markdown; whatever a remote or a person wrote stands in code spans."""
    about = " · ".join(f"{prose(k)} {code(v)}" for k, v in sorted(view["fields"].items()))
    parts = [f"# {prose(view['playbook']['title'])}", f"Case {code(view['case'])} · {about}"]
    parts += _listed("Still missing", [prose(m["ask"]) for m in view["missing"]])
    parts += _listed(
        "Found", [f"**{prose(r['title'])}** ({code(r['code'])}): {code(r['resolution'])}" for r in view["reasons"]]
    )
    if view["reply"]:
        parts += _listed("Reply to the client (draft)", [code(p, 2000) for p in view["reply"]["paragraphs"]])
        parts.append(f"To send exactly this: step `approve_reply`, what {code(view['reply']['digest'])}")
    parts += [_card(view, c) for c in view["checks"]]
    parts += _listed(
        "Done at the desks",
        [f"{e['number']}. {e['state']}: {code(e['effect'])} {code(e['remote_ref'] or '-')}" for e in view["effects"]],
    )
    parts += _listed("Next", [f"{code(n['text'], 2000)}<br>{code(n['command'])}" for n in view["next"]])
    form = safe_href(view["feedback"]["form"])
    parts.append(f"{prose(view['feedback']['question'])} {f'<{form}>' if form else ''}".strip())
    return "\n\n".join(parts)


def _listed(title: str, lines: list[str]) -> list[str]:
    return [f"## {title}", "\n".join(f"- {line}" for line in lines)] if lines else []


def _card(view: View, check: Mapping[str, Any]) -> str:
    """The evidence card of one check: what stands in for a screenshot."""
    digests = [e["digest"] for e in view["evidence"] if e["ref"] in check["evidence"] and e["kind"] == "api"]
    pairs = (
        ("State", f"**{check['state']}**"),
        ("Account", code(view["account"])),
        ("Setting", code(check["menu_path"] or "-")),
        ("Where to look", code(check["link"] or "-")),
        ("Value", code(check["summary"], 1000)),
        ("Time (UTC)", code(check["at"])),
        ("Looked at by", code(check["by"])),
        ("Source", code(check["source"] or "-")),
        ("API answer, SHA-256", code(", ".join(digests) or "-")),
    )
    return f"### {prose(check['title'])}\n\n{table(('Evidence', ''), pairs)}"
