"""Calls that only the truth tests of `allclear doctor --prove` make, on a test account; nothing else imports this."""

from __future__ import annotations

from integrations.http import Reply, Transport, segment
from integrations.pro2 import Pro2Client
from recovery.model import AttemptOutcome, OpenAttempt, WriteResult

PAGE = 100
MOST_CONTACTS = 5000


class Unhurried:
    """A rate gate that is always open: how a limiter answers is only seen by those who are too fast."""

    async def acquire(self, account: str, system: str) -> None:
        """Waits for nothing."""

    def penalize(self, account: str, system: str, seconds: float) -> None:
        """Remembers nothing."""


class Pro2Probes:
    """One test account. `patient` keeps the account's rate; `hasty` has an open gate."""

    def __init__(self, patient: Transport, hasty: Transport, time_zone: str) -> None:
        self._http = patient
        self.client = Pro2Client(patient, time_zone)
        self.hasty = Pro2Client(hasty, time_zone)

    async def delete_draft(self, ref: str, attempt: OpenAttempt) -> WriteResult:
        """Delete a campaign (v3); `succeeded: 0` is a refusal with HTTP 200."""

        def judge(reply: Reply) -> WriteResult | None:
            got = self._http.fields("delete", reply)
            if not got.flag("succeeded", True):
                return WriteResult(AttemptOutcome.REJECTED, detail=got.text("message", ""))
            return WriteResult(AttemptOutcome.APPLIED, ref=ref)

        return await self._http.write(attempt, "delete", "DELETE", f"/api/3/campaigns/{segment(ref)}", judge=judge)

    async def contact_refs(self, *, by_id_greater: bool) -> tuple[frozenset[str], str]:
        """Ids of the account's contacts (at most 5,000), read in one of the two ways, and the last reply's digest."""
        refs: set[str] = set()
        digest, above, offset = "", 0, 0
        while len(refs) < MOST_CONTACTS:
            at: dict[str, str | int] = {"id_greater": above} if by_id_greater else {"offset": offset}
            params: dict[str, str | int] = {**at, "orders[id]": "ASC", "limit": PAGE, "status": -1}
            page = await self._http.record("contacts", "/api/3/contacts", params=params)
            ids = [row.integer("id") for row in page.records("contacts")]
            digest = page.digest
            refs.update(map(str, ids))
            if len(ids) < PAGE:
                break
            above, offset = ids[-1], offset + PAGE
        return frozenset(refs), digest
