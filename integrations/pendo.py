"""In-app announcements in Pendo (implements `recovery.desk.ports.InApp`).

The Engage API cannot create a guide or change its words; it can switch the state and the audience of guides that a
person prepared. Both are sets, so a repeat changes nothing. The answer to a PUT is not specified, so each write reads
the guide back and says APPLIED only when the read shows the wanted value; not yet shown is UNKNOWN.

The integration key needs "Allow Write Access"; one without it is refused, and the desk then asks a person to switch the
guide by hand. Automatic expiry cannot be set over the API: the take-down is the product's own timer.

Source: https://engageapi.pendo.io · https://support.pendo.io/hc/en-us/articles/360031864612-Define-guide-settings
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from integrations.http import CapabilityManifest, Fields, Reply, Transport, segment
from recovery.desk.ports import Guide
from recovery.errors import NotFound, RemoteError
from recovery.model import AttemptOutcome, OpenAttempt, System, WriteResult

STATES = ("public", "staged", "draft", "disabled")
NO_WRITE_ACCESS = (
    "the integration key may not switch guides: allow write access for it in Pendo (Settings, Integrations, "
    "Integration keys) or switch the guide by hand"
)
_FORBIDDEN = 403


class Pendo:
    """One Pendo subscription; the region is in the transport's base URL (app, us1.app, app.eu, app.au, app.jpn)."""

    def __init__(self, transport: Transport, *, proven: CapabilityManifest | None = None) -> None:
        self._transport = transport
        self._proven = proven or CapabilityManifest(System.PENDO.value)

    @staticmethod
    def credentials(key: str) -> Mapping[str, str]:
        """The credentials as Pendo wants them."""
        return {"x-pendo-integration-key": key}

    def manifest(self) -> CapabilityManifest:
        """What the subscription is proven to do."""
        return self._proven

    async def whoami(self) -> str:
        """Verifies the key, and says whether it may write as far as Pendo tells."""
        token = await self._transport.record("token_verify", "/api/v1/token/verify")
        writes = token.values.get("writeAccess")
        return "integration key" if writes is None else f"integration key, {'may' if writes else 'may not'} write"

    async def guide_state(self, guide_ref: str) -> Guide:
        """The guide read fresh; raises NotFound."""
        reply = await self._transport.read("guide", "GET", "/api/v1/guide", params={"id": guide_ref})
        for record in self._records(reply):
            # Compared here: a Pendo that ignores the filter would otherwise answer with another guide.
            if record.ref("id") == guide_ref:
                return _guide(record)
        raise NotFound(self._transport.system, self._transport.account, "the guide is not there", "check the guide id")

    async def set_guide_state(self, guide_ref: str, state: str, attempt: OpenAttempt) -> WriteResult:
        """Set one of public, staged, draft, disabled; APPLIED when a read shows it."""
        if state not in STATES:
            return WriteResult(AttemptOutcome.REJECTED, detail=f"no such guide state: {state[:40]!r}")
        path = f"/api/v1/guide/{segment(guide_ref)}/state"
        return await self._set(attempt, "guide_state", path, {"state": state}, guide_ref, wanted_state=state)

    async def set_segment(self, guide_ref: str, segment_ref: str, attempt: OpenAttempt) -> WriteResult:
        """Set the guide's audience; APPLIED when a read shows it."""
        path = f"/api/v1/guide/{segment(guide_ref)}/segment"
        return await self._set(
            attempt, "guide_segment", path, {"segmentId": segment_ref}, guide_ref, wanted_segment=segment_ref
        )

    async def _set(
        self,
        attempt: OpenAttempt,
        op: str,
        path: str,
        body: Mapping[str, str],
        guide_ref: str,
        *,
        wanted_state: str = "",
        wanted_segment: str = "",
    ) -> WriteResult:
        def judge(reply: Reply) -> WriteResult | None:
            del reply  # Pendo specifies no answer; what counts is the read that follows.
            return WriteResult(AttemptOutcome.APPLIED, ref=guide_ref)

        result = await self._transport.write(
            attempt, op, "PUT", path, judge=judge, json=body, content_type_ok=lambda kind: "html" not in kind
        )
        if result.exchange is not None and result.exchange.status == _FORBIDDEN:
            return replace(result, outcome=AttemptOutcome.REJECTED, detail=NO_WRITE_ACCESS, auth_failed=True)
        if result.outcome is not AttemptOutcome.APPLIED:
            return result
        try:
            guide = await self.guide_state(guide_ref)
        except RemoteError as problem:
            return replace(result, outcome=AttemptOutcome.UNKNOWN, detail=f"cannot be verified: {problem}")
        if guide.state == (wanted_state or guide.state) and guide.segment_ref == (wanted_segment or guide.segment_ref):
            return result
        return replace(result, outcome=AttemptOutcome.UNKNOWN, detail=f"accepted, but the guide is still {guide.state}")

    def _records(self, reply: Reply) -> list[Fields]:
        """Pendo answers with one guide or a list of them, depending on the query."""
        try:
            rows = reply.json()
        except ValueError as problem:
            raise self._transport.bad("guide", str(problem)) from None
        where = (self._transport.system, self._transport.account, "guide", reply.digest)
        return Fields({"rows": [rows] if isinstance(rows, dict) else rows}, *where).records("rows")


def _guide(record: Fields) -> Guide:
    audience = record.maybe_record("segment")
    updated = record.maybe_integer("lastUpdatedAt")
    return Guide(
        ref=record.ref("id"),
        name=record.text("name", ""),
        state=record.text("state"),
        segment_ref=record.text("segmentId", "") or (audience.text("id", "") if audience else ""),
        updated_at=None if updated is None else datetime.fromtimestamp(updated / 1000, UTC),
    )
