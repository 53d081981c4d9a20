"""Paging through PagerDuty (implements `recovery.desk.ports.Pager`): Events v2 to page, REST v2 to look.

The dedup key makes a trigger harmless while its alert is open; after a resolve the same key pages people again. So
every trigger looks first: an open page is adopted, a resolved one is refused. When the look itself fails the trigger is
sent, because a lost page is worse than a repeated one (design, invariant 8). Accepted (202) is not yet paged: `find`
tells.

One object is one service with its own routing key. The routing key travels in the body of each event: name it and the
REST token in the transports' `secrets`.

Sources: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ ·
https://developer.pagerduty.com/api-reference/ (incidents) · https://developer.pagerduty.com/docs/rest-api-rate-limits
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal

from integrations.http import CapabilityManifest, Fields, Reply, Transport, segment
from integrations.plaintext import plain
from recovery.desk.ports import Page, PageDraft, PageStatus
from recovery.errors import NotFound, RemoteError
from recovery.model import AttemptOutcome, OpenAttempt, System, WriteResult

LONGEST_KEY = 255
LONGEST_SUMMARY = 1024
LONGEST_DETAIL = 1500
MOST_DETAILS = 20
MOST_LINKS = 10
"""With these an event stays below the vendor's 512 KB even when every character needs twelve bytes of JSON; a larger
one would be refused and nobody paged."""
LOOK_SECONDS = 5.0


class PagerDuty:
    """One PagerDuty service. `events` is the transport to Events v2 (no credentials), `rest` the one to REST v2.

    Give `events` the budget `EVENTS_BUDGET`: the two APIs are limited apart, and a REST API that is used up must not
    hold back a page.
    """

    EVENTS_BUDGET = "pagerduty-events"

    def __init__(
        self,
        *,
        events: Transport,
        rest: Transport,
        routing_key: str,
        service: str,
        proven: CapabilityManifest | None = None,
    ) -> None:
        self._events, self._rest = events, rest
        self._routing_key, self._service = routing_key, service
        self._proven = proven or CapabilityManifest(System.PAGERDUTY.value)

    def __repr__(self) -> str:
        return f"PagerDuty(service={self._service!r})"

    @staticmethod
    def credentials(token: str) -> Mapping[str, str]:
        """The credentials and the version header of REST v2."""
        return {"Authorization": f"Token token={token}", "Accept": "application/vnd.pagerduty+json;version=2"}

    def manifest(self) -> CapabilityManifest:
        """What the service is proven to do."""
        return self._proven

    async def whoami(self) -> str:
        """Reads one incident of the service with the REST token."""
        await self._rest.read("incidents", "GET", "/incidents", params=[("limit", 1), ("service_ids[]", self._service)])
        return f"REST token, service {self._service}"

    async def find(self, dedup_key: str) -> Page | None:
        """The newest incident of this service with the key, in any status, however old."""
        params: list[tuple[str, str | int]] = [
            ("incident_key", dedup_key),
            ("date_range", "all"),
            *(("statuses[]", status.value) for status in PageStatus),
            ("service_ids[]", self._service),
            ("sort_by", "created_at:desc"),
            ("limit", 100),
        ]
        listed = await self._rest.read("incidents", "GET", "/incidents", params=params)
        incidents = self._rest.fields("incidents", listed).records("incidents")
        ours = [i for i in incidents if i.text("incident_key", "") == dedup_key or await self._born_of(i, dedup_key)]
        return max((_page(i, dedup_key) for i in ours), key=lambda page: page.created_at, default=None)

    async def _born_of(self, incident: Fields, dedup_key: str) -> bool:
        """Whether an incident without a key of its own has our alert: PagerDuty's filter then matched the alerts'.

        Asked for, because taking another incident for ours would leave people unpaged.
        """
        if incident.text("incident_key", ""):
            return False
        path = f"/incidents/{segment(incident.ref('id'))}/alerts"
        try:
            alerts = (await self._rest.record("alerts", path, params={"limit": 100})).records("alerts")
        except NotFound:
            return False
        return any(alert.text("alert_key", "") == dedup_key for alert in alerts)

    async def trigger(self, draft: PageDraft, attempt: OpenAttempt) -> WriteResult:
        """Page, unless the key's page is open (APPLIED: adopted) or resolved (REJECTED: it would page again).

        `ref` is the dedup key; the incident's id is known once `find` shows it.
        """
        known = await self._look(draft.dedup_key, attempt)
        if known is not None and known.status is PageStatus.RESOLVED:
            detail = "this page was resolved; another trigger would page people again"
            return WriteResult(AttemptOutcome.REJECTED, ref=known.ref, detail=detail)
        if known is not None:
            return WriteResult(AttemptOutcome.APPLIED, ref=draft.dedup_key, detail="the page is open already")
        payload = {
            "summary": plain(draft.summary, LONGEST_SUMMARY) or "incident",
            "source": plain(draft.source, 200) or "allclear",
            "severity": draft.severity,
            "custom_details": {
                plain(name, 100): _cut(value, LONGEST_DETAIL)
                for name, value in list(draft.details.items())[:MOST_DETAILS]
            },
        }
        links = [{"href": href, "text": plain(text, 200)} for href, text in map(_link, draft.links[:MOST_LINKS])]
        return await self._event(
            "trigger", draft.dedup_key, attempt, {"payload": payload, "links": links, "client": "allclear"}
        )

    async def acknowledge(self, dedup_key: str, attempt: OpenAttempt) -> WriteResult:
        """Acknowledge; a repeat changes nothing."""
        return await self._event("acknowledge", dedup_key, attempt, {})

    async def resolve(self, dedup_key: str, attempt: OpenAttempt) -> WriteResult:
        """Resolve; a repeat changes nothing."""
        return await self._event("resolve", dedup_key, attempt, {})

    async def _look(self, dedup_key: str, attempt: OpenAttempt) -> Page | None:
        """`find`, at most five seconds and never longer than half of the time in which the trigger may still leave."""
        left = attempt.send_by_monotonic - self._rest.clock.monotonic()
        try:
            async with asyncio.timeout(min(LOOK_SECONDS, max(left, 0.0) / 2)):
                return await self.find(dedup_key)
        except (RemoteError, TimeoutError):
            return None

    async def _event(
        self,
        action: Literal["trigger", "acknowledge", "resolve"],
        dedup_key: str,
        attempt: OpenAttempt,
        more: Mapping[str, object],
    ) -> WriteResult:
        if not 0 < len(dedup_key) <= LONGEST_KEY:
            return WriteResult(AttemptOutcome.REJECTED, detail=f"a dedup key has 1 to {LONGEST_KEY} characters")

        def judge(reply: Reply) -> WriteResult | None:
            said = reply.obj()
            accepted = reply.status == 202 and said.get("status") == "success" and said.get("dedup_key") == dedup_key
            return WriteResult(AttemptOutcome.APPLIED, ref=dedup_key, detail="accepted") if accepted else None

        event = {"routing_key": self._routing_key, "event_action": action, "dedup_key": dedup_key, **more}
        return await self._events.write(attempt, f"event_{action}", "POST", "/v2/enqueue", judge=judge, json=event)


def _page(incident: Fields, dedup_key: str) -> Page:
    try:
        status = PageStatus(incident.text("status"))
    except ValueError:
        raise incident.bad("an unknown status") from None
    acknowledgements = incident.records("acknowledgements") if incident.values.get("acknowledgements") else []
    first = acknowledgements[0] if acknowledgements else None
    person = first.maybe_record("acknowledger") if first else None
    return Page(
        ref=incident.ref("id"),
        dedup_key=dedup_key,
        status=status,
        url=incident.text("html_url", ""),
        created_at=incident.required_moment("created_at"),
        acknowledged_at=first.moment("at") if first else None,
        acknowledged_by=person.text("summary", "") if person else "",
    )


def _link(pair: tuple[str, str]) -> tuple[str, str]:
    """(address, words) of a pair that may stand either way round."""
    return pair if "://" in pair[0] else (pair[1], pair[0])


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
