"""What should exist at the remotes by now and is not recorded as delivered: the outbox is this derivation. Pure.

An effect's name, and so its action key, is made of what it is about and never of wording or time. A desk that is down
is waited out simply because the effect is derived again until `effect_done` is in the stream; the key makes one ticket
of all tries. What depends on another effect's result (a link on the ticket it hangs on) is derived once that is there.
`effect_done` means read back at the remote, not merely accepted: a notice counts as down when its guide says so.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TypeVar

from recovery.desk import announce, board, ticket
from recovery.desk.incident import Delivery, Entry, Incident, Post, Report
from recovery.desk.ports import BoardTaskDraft, CustomerTicketDraft, MailDraft, PageDraft, StatusDraft
from recovery.desk.settings import PHASES, DeskSettings, P1Event
from recovery.model import ActionKind, Harm, System, iso, marker_of
from recovery.ports import TicketDraft

INCIDENT_TAG = "major-incident"
BULK = 100


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect on one remote, described. `payload` holds a draft without marker, or the call's plain arguments.

    `name` identifies it in `effect_done` and `effect_failed`; account, system, kind, object and slot make its key.
    """

    kind: ActionKind
    system: System
    object_ref: str
    slot: str
    payload: Mapping[str, object]
    harm: Harm = Harm.H1
    account: str = ""

    @property
    def name(self) -> str:
        """The effect's name within its incident."""
        return f"{self.kind.value}/{self.system.value}/{self.object_ref}@{self.slot}"


def effects_for(incident: Incident, now: datetime, settings: DeskSettings) -> tuple[Effect, ...]:
    """Everything that should be there by `now` and is neither delivered nor refused for good, in a useful order."""
    return tuple(
        effect
        for part in PARTS
        for effect in part(incident, now, settings)
        if effect.name not in incident.delivered and not _refused(incident, effect.name)
    )


AnyDraft = TypeVar("AnyDraft", BoardTaskDraft, CustomerTicketDraft, MailDraft, PageDraft, StatusDraft, TicketDraft)


def stamped(draft: AnyDraft, key: str) -> AnyDraft:
    """The draft with its action key where its remote keeps it: dedup key, Message-ID, or marker."""
    if isinstance(draft, PageDraft):
        return replace(draft, dedup_key=key)
    if isinstance(draft, MailDraft):
        return replace(draft, message_ref=key)
    return replace(draft, marker=marker_of(key))


def batches(effects: Sequence[Effect]) -> Iterator[tuple[Effect, ...]]:
    """Customer-ticket comments with the same words together, at most 100 at a time; every other effect alone.

    A batch may be sent as one `CustomerDesk.update_many`; each effect in it keeps its own key and its own result.
    """
    groups: dict[str, list[Effect]] = {}
    for effect in effects:
        groups.setdefault(effect.slot if _bulk(effect) else effect.name, []).append(effect)
    for members in groups.values():
        for start in range(0, len(members), BULK):
            yield tuple(members[start : start + BULK])


def ticket_of(incident: Incident, report: Report) -> Delivery | None:
    """The customer ticket of a report: the one it came with, or the one we opened."""
    if report.ticket_ref:
        return Delivery(report.received_at, report.ticket_ref, report.ticket_url)
    return incident.delivered.get(f"customer_ticket/zendesk/{report.ref}@report")


def incident_ticket(incident: Incident) -> Delivery | None:
    """The incident ticket, once it is filed; `ref` is its key."""
    return incident.delivered.get(f"ticket/jira/{incident.ref}@incident")


def last_phase_post(incident: Incident) -> Post | None:
    """The post that announced the present phase."""
    return next((p for p in reversed(incident.posts) if not p.update), None)


def expires_at(incident: Incident, settings: DeskSettings) -> datetime | None:
    """When the resolved notice comes down: its posting plus the set minutes (R002.26); None while it is not posted."""
    post = last_phase_post(incident)
    if post is None or post.phase != "resolved":
        return None
    shown = incident.delivered.get(_guide_of(incident, post))
    return shown.at + timedelta(minutes=settings.desk.announcements.expiry_minutes) if shown else None


def _bulk(effect: Effect) -> bool:
    return effect.kind is ActionKind.TICKET_COMMENT and effect.system is System.ZENDESK


def _refused(incident: Incident, name: str) -> bool:
    failure = incident.failures.get(name)
    return failure is not None and failure.final


def _wanted(incident: Incident, settings: DeskSettings, event: P1Event) -> bool:
    """P1 sets off what is set; anything else always has its ticket and channel."""
    return incident.severity != "P1" or event in settings.desk.p1_events


def _pages(incident: Incident, _now: datetime, settings: DeskSettings) -> Iterator[Effect]:
    """One page per opening; never triggered again once the incident is resolved (R003.14)."""
    trigger = f"page/pagerduty/{incident.ref}@page-{incident.generation}"
    if incident.resolved_at is not None:
        if trigger in incident.delivered:
            ended = {"op": "resolve", "trigger": trigger}
            yield _effect(ActionKind.PAGE, System.PAGERDUTY, incident.ref, f"resolve-{incident.generation}", ended)
        return
    if incident.severity != "P1" or "page" not in settings.desk.p1_events:
        return
    details = {
        "severity": incident.severity,
        "scope": incident.scope,
        "customers": ", ".join(ticket.customer_names(settings, incident)) or ticket.NOT_YET_KNOWN,
        "started": ticket.with_zone(incident.started_at, incident.time_zone),
        "symptoms": "; ".join(incident.symptoms) or ticket.NOT_YET_KNOWN,
        "steps": "; ".join(incident.steps) or ticket.NOT_YET_KNOWN,
    }
    draft = PageDraft(
        "", f"{incident.severity}: {incident.title}"[:1024], incident.service or incident.ref, "critical", details
    )
    payload: dict[str, object] = {"op": "trigger", "draft": draft}
    yield _effect(ActionKind.PAGE, System.PAGERDUTY, incident.ref, f"page-{incident.generation}", payload)


def _chat(incident: Incident, _now: datetime, settings: DeskSettings) -> Iterator[Effect]:
    """The team's notice once (R002.5), then everything else in its thread."""
    if not _wanted(incident, settings, "channel"):
        return
    lines = (
        f"Severity {incident.severity}, {incident.kind}, scope: {incident.scope}",
        f"Customers: {', '.join(ticket.customer_names(settings, incident)) or ticket.NOT_YET_KNOWN}",
        f"Started: {ticket.with_zone(incident.started_at, incident.time_zone)}",
        f"Symptoms: {'; '.join(incident.symptoms) or ticket.NOT_YET_KNOWN}",
    )
    notice = {"channel": settings.desk.channels.team, "text": incident.title, "lines": lines, "thread": ""}
    yield _effect(ActionKind.CHAT, System.SLACK, incident.ref, "declared", notice)
    parent = incident.delivered.get(f"chat/slack/{incident.ref}@declared")
    if parent is None:
        return
    if incident.posts:
        post = incident.posts[-1]
        title = announce.chat_title(settings, post.title)
        payload = {
            "channel": settings.desk.channels.team,
            "text": title,
            "lines": tuple(post.body.splitlines()),
            "thread": parent.ref,
        }
        yield _effect(ActionKind.CHAT, System.SLACK, incident.ref, f"post-{post.n}", payload)
    for alarm, signature in incident.told.items():
        same = settings.desk.channels.alarms == settings.desk.channels.team
        payload = {
            "channel": settings.desk.channels.alarms,
            "text": signature.text,
            "lines": (),
            "thread": parent.ref if same else "",
        }
        yield _effect(ActionKind.CHAT, System.SLACK, incident.ref, f"alarm/{alarm}", payload)


def _tickets(incident: Incident, _now: datetime, settings: DeskSettings) -> Iterator[Effect]:
    """The incident ticket, a child per team, and what was learnt since as comments."""
    if not _wanted(incident, settings, "ticket"):
        return
    draft = ticket.ticket_draft(settings, incident)
    yield _effect(ActionKind.TICKET, System.JIRA, incident.ref, "incident", {"draft": draft})
    parent = incident_ticket(incident)
    if parent is None:
        return
    for team in incident.teams:
        child = f"{incident.ref}/{team}"
        payload: dict[str, object] = {"draft": ticket.team_ticket(settings, incident, team, parent.ref)}
        yield _effect(ActionKind.TICKET, System.JIRA, child, "team", payload)
        filed = incident.delivered.get(f"ticket/jira/{child}@team")
        if filed is not None:
            payload = _link(parent.ref, child, f"{team}: {filed.ref}", filed.url, resolved=False)
            yield _effect(ActionKind.TICKET_LINK, System.JIRA, child, "link", payload)
    for entry in incident.timeline:
        line = _learnt(entry.kind, entry.data)
        if line and not _held(parent, entry):
            payload = {"key": parent.ref, "paragraphs": (f"{iso(entry.at)} {entry.by}: {line}",)}
            yield _effect(ActionKind.TICKET_COMMENT, System.JIRA, incident.ref, f"learnt-{entry.seq}", payload)
    if incident.posts:
        post = incident.posts[-1]
        told = f"Announced at {iso(post.at)}, approved by {post.approved_by}:"
        payload = {"key": parent.ref, "paragraphs": (told, post.title, *post.body.splitlines())}
        yield _effect(ActionKind.TICKET_COMMENT, System.JIRA, incident.ref, f"post-{post.n}", payload)


def _held(ticket_filed: Delivery, entry: Entry) -> bool:
    """Whether the ticket's text was made with the entry in it; one that was found after a lost reply is the older."""
    if ticket_filed.holds is None:
        return entry.at <= ticket_filed.at
    return entry.seq <= ticket_filed.holds


def _learnt(kind: str, data: Mapping[str, object]) -> str:
    if kind == "fact_recorded":
        value = data.get("value")
        text = "; ".join(str(v) for v in value) if isinstance(value, list | tuple) else str(value)
        return f"{data.get('field')}: {text}"
    if kind == "severity_changed":
        return f"severity {data.get('before')} to {data.get('severity')}: {data.get('reason')}"
    return ""


def _customer_tickets(incident: Incident, _now: datetime, settings: DeskSettings) -> Iterator[Effect]:
    """One ticket per report (R002.6), linked to the incident ticket (R002.12), told every present post (R002.13).

    What the customer writes again by mail is put there for colleagues to read.
    """
    parent = incident_ticket(incident)
    replies = [e.data for e in incident.timeline if e.kind == "customer_replied" and e.data.get("reply_ref")]
    post = incident.posts[-1] if incident.posts else None
    for report in incident.reports:
        if not report.ticket_ref:
            payload: dict[str, object] = {"draft": _customer_draft(report)}
            yield _effect(ActionKind.CUSTOMER_TICKET, System.ZENDESK, report.ref, "report", payload)
        else:
            payload = {"refs": (report.ticket_ref,), "priority": "urgent", "add_tags": (INCIDENT_TAG,), "public": False}
            payload["text"] = "Part of a major incident: answers on this ticket are top priority."
            yield _effect(ActionKind.SETTING, System.ZENDESK, report.ref, "priority", payload)
        known = ticket_of(incident, report)
        if known is None:
            continue
        if parent is not None:
            url = known.url or settings.desk.customer_ticket_url.format(ref=known.ref)
            closed = incident.resolved_at is not None
            slot = f"resolved-{incident.generation}" if closed else f"link-{incident.generation}"
            payload = _link(
                parent.ref, report.ref, f"{report.customer or report.account}: {report.subject}", url, closed
            )
            yield _effect(ActionKind.TICKET_LINK, System.JIRA, report.ref, slot, payload)
        for data in (d for d in replies if d.get("report_ref") == report.ref):
            words = f"{data.get('sender')} wrote at {data.get('at')}: {data.get('subject')}\n\n{data.get('text')}"
            payload = {"ref": known.ref, "text": words, "public": False}
            slot = f"reply-{data['reply_ref']}"
            yield _effect(ActionKind.TICKET_COMMENT, System.ZENDESK, report.ref, slot, payload)
        if post is not None:
            payload = {"ref": known.ref, "text": f"{post.title}\n\n{post.body}", "public": True}
            yield _effect(ActionKind.TICKET_COMMENT, System.ZENDESK, report.ref, f"post-{post.n}", payload)


def _customer_draft(report: Report) -> CustomerTicketDraft:
    """Answers to these tickets are top priority, whatever the incident's severity (R002.16).

    A mail may hold nothing but a picture, and a ticket without a word is refused for good.
    """
    text = report.text.strip() or report.subject.strip() or "(no text)"
    return CustomerTicketDraft(
        "", report.subject, text, report.customer, report.email, "urgent", (INCIDENT_TAG,), public=True
    )


def _link(key: str, about: str, title: str, url: str, resolved: bool) -> dict[str, object]:
    return {"key": key, "global_id": f"allclear:{about}", "title": title, "url": url, "resolved": resolved}


def _in_app(incident: Incident, now: datetime, settings: DeskSettings) -> Iterator[Effect]:
    """The present phase's guide: others down first, audience set, then shown; the resolved one down when it expires."""
    post, guides = last_phase_post(incident), settings.desk.in_app.guides
    if post is None or guides is None:
        return
    if not switches_guides(incident, settings):
        yield from _too_widely_shown(incident, settings)
        return
    waiting = False
    for phase in PHASES:
        if phase != post.phase and any(p.phase == phase for p in incident.posts):
            payload = {"guide_ref": getattr(guides, phase), "state": "disabled"}
            withdraw = _effect(
                ActionKind.WITHDRAW, System.PENDO, f"{incident.ref}/{phase}", f"before-post-{post.n}", payload
            )
            waiting = waiting or withdraw.name not in incident.delivered
            yield withdraw
    place, guide = f"{incident.ref}/{post.phase}", getattr(guides, post.phase)
    segment = settings.desk.in_app.segments.get(incident.scope, "")
    if segment:
        payload = {"guide_ref": guide, "segment_ref": segment}
        audience = _effect(ActionKind.SETTING, System.PENDO, place, f"post-{post.n}-{incident.scope}", payload)
        waiting = waiting or audience.name not in incident.delivered
        yield audience
    if not waiting:
        payload = {"guide_ref": guide, "state": "public"}
        yield _effect(ActionKind.ANNOUNCE, System.PENDO, place, f"post-{post.n}", payload)
    due = expires_at(incident, settings)
    if due is not None and now >= due:
        payload = {"guide_ref": guide, "state": "disabled"}
        yield _effect(ActionKind.WITHDRAW, System.PENDO, place, f"expiry-post-{post.n}", payload)


def _guide_of(incident: Incident, post: Post) -> str:
    """The name of the effect that shows a post in the product."""
    return f"announce/pendo/{incident.ref}/{post.phase}@post-{post.n}"


def _too_widely_shown(incident: Incident, settings: DeskSettings) -> Iterator[Effect]:
    """The guide that we showed to everybody before the scope was narrowed comes down; the rest is for people."""
    shown = [post for post in incident.posts if _guide_of(incident, post) in incident.delivered]
    if settings.desk.in_app.mode == "guides" and shown:
        post = shown[-1]
        payload = {"guide_ref": getattr(settings.desk.in_app.guides, post.phase), "state": "disabled"}
        yield _effect(ActionKind.WITHDRAW, System.PENDO, f"{incident.ref}/{post.phase}", f"narrowed-{post.n}", payload)


def switches_guides(incident: Incident, settings: DeskSettings) -> bool:
    """Whether we may switch guides ourselves: never to everybody when only some are affected (R002.32)."""
    in_app = settings.desk.in_app
    return in_app.mode == "guides" and (incident.scope == "entire" or bool(in_app.segments.get("subset")))


def _status_page(incident: Incident, _now: datetime, settings: DeskSettings) -> Iterator[Effect]:
    """One public incident per opening: created with the first words, then brought up to the present ones."""
    posts = _posts_since_opening(incident)
    if not posts or incident.scope not in settings.desk.announcements.status_page_scopes:
        return
    place = f"{incident.ref}/{incident.generation}"
    payload: dict[str, object] = {"op": "create", "draft": _status_draft(posts[0], settings)}
    created = _effect(ActionKind.STATUS_POST, System.STATUSPAGE, place, "open", payload)
    yield created
    opened = incident.delivered.get(created.name)
    if opened is not None and len(posts) > 1:
        *before, last = posts
        said = [post for post in before if post is posts[0] or _status_update(place, post) in incident.delivered]
        same = [post for post in said if (post.phase, words_of(post.body)) == (last.phase, words_of(last.body))]
        payload = {"op": "update", "ref": opened.ref, "draft": _status_draft(last, settings), "said_before": len(same)}
        yield _effect(ActionKind.STATUS_POST, System.STATUSPAGE, place, f"post-{last.n}", payload)


def _status_update(place: str, post: Post) -> str:
    return _effect(ActionKind.STATUS_POST, System.STATUSPAGE, place, f"post-{post.n}", {}).name


def words_of(text: str) -> str:
    """The letters and digits of a text, which a remote keeps when it trims, escapes or lays out what it was given."""
    return "".join(c for c in html.unescape(text) if c.isalnum())


def _posts_since_opening(incident: Incident) -> tuple[Post, ...]:
    """The posts of the present opening: those after the last resolved one that another phase followed."""
    pairs = enumerate(pairwise(incident.posts), 1)
    reopened = [n for n, (a, b) in pairs if a.phase == "resolved" and b.phase != "resolved"]
    return incident.posts[reopened[-1] :] if reopened else incident.posts


def _status_draft(post: Post, settings: DeskSettings) -> StatusDraft:
    return StatusDraft("", post.title[:255], post.phase, post.body, settings.desk.status_components)


def _boards(incident: Incident, now: datetime, settings: DeskSettings) -> Iterator[Effect]:
    """A task on the board of each affected client that has gone live; not for P1 (R003.6, R003.7, R003.12)."""
    if incident.severity == "P1":
        return
    for account in _accounts(incident, settings):
        client = settings.desk.clients.get(account)
        if client is None or not client.board_ref or not client.live(now):
            continue
        pauses = board.pauses_of(incident, account)
        draft = board.board_draft(settings, incident, now, client.board_ref, pauses)
        task = _effect(ActionKind.BOARD_TASK, System.CLICKUP, incident.ref, "task", {"op": "create", "draft": draft})
        task = replace(task, account=account, object_ref=f"{incident.ref}/{account}")
        yield task
        made = incident.delivered.get(task.name)
        step = len(incident.posts) + len(incident.severities) - 1 + (incident.triaged is not None)
        step += len(pauses) + sum(pause.ended_at is not None for pause in pauses)
        if made is not None and step:
            payload = {"op": "update", "ref": made.ref, "draft": draft}
            yield replace(task, slot=f"state-{step}", payload=payload)


def _mails(incident: Incident, _now: datetime, settings: DeskSettings) -> Iterator[Effect]:
    """The notice to a client of a P1, and an approved root-cause analysis (R003.3, R003.16)."""
    reply_to = settings.desk.addresses.help
    if incident.severity == "P1" and "client_notice" in settings.desk.p1_events:
        promise = settings.sla.targets["P1"].first_response
        for account, to in _contacts(incident, settings):
            values = {
                "subject": announce.for_customers(settings, incident.title, "your report"),
                "brand": settings.brand(account),
                "received_at": ticket.with_zone(incident.noticed_at, incident.time_zone),
                "first_response": str(promise),
            }
            words = announce.render(settings, "p1_notice", values, {})
            draft = MailDraft("", to, words.title, words.body, reply_to)
            yield _mail(incident, f"notice/{account}", "p1", account, draft)
    approved = next((v for v in reversed(incident.rcas) if v.approved), None)
    if approved is not None:
        for account, to in _contacts(incident, settings):
            draft = MailDraft("", to, approved.title, approved.customer_text, reply_to)
            yield _mail(incident, f"rca/{account}", f"v{approved.n}", account, draft)


def _accounts(incident: Incident, settings: DeskSettings) -> tuple[str, ...]:
    """The affected accounts: every client when the incident is everyone's."""
    return tuple(settings.desk.clients) if incident.scope == "entire" else incident.customers


def _contacts(incident: Incident, settings: DeskSettings) -> Iterator[tuple[str, tuple[str, ...]]]:
    for account in _accounts(incident, settings):
        client = settings.desk.clients.get(account)
        if client is not None and client.notice_to:
            yield account, client.notice_to


def _mail(incident: Incident, about: str, slot: str, account: str, draft: MailDraft) -> Effect:
    """A mail cannot be looked up at its receiver: in doubt a person is asked."""
    place = f"{incident.ref}/{about}"
    return Effect(ActionKind.MAIL, System.SMTP, place, slot, {"draft": draft}, Harm.H3, account)


def _effect(kind: ActionKind, system: System, object_ref: str, slot: str, payload: Mapping[str, object]) -> Effect:
    return Effect(kind, system, object_ref, slot, payload)


Part = Callable[[Incident, datetime, DeskSettings], Iterator[Effect]]
PARTS: tuple[Part, ...] = (_pages, _chat, _tickets, _customer_tickets, _in_app, _status_page, _boards, _mails)
