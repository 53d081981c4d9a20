"""Similar cases: our own earlier ones, and similar tickets where a customer desk is set up (R000.29, R000.47)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from recovery.case.case import Case, fold, stream_of
from recovery.case.records import Reference
from recovery.desk.ports import CustomerTicket

if TYPE_CHECKING:
    from recovery.ledger.ledger import Ledger


class TicketSearch(Protocol):
    """The customer desk's search."""

    async def search(self, query: str, limit: int) -> Sequence[CustomerTicket]:
        """Similar tickets, best first; raises RemoteError when the search failed."""
        ...


class References:
    """The `ReferenceDesk` of a case. A failed search raises: not having looked is not "none found"."""

    def __init__(self, ledger: Ledger, tickets: TicketSearch | None, case: Case) -> None:
        self._ledger = ledger
        self._tickets = tickets
        self._case = case

    async def search(self, query: str, limit: int) -> Sequence[Reference]:
        """Our own earlier cases about the same template or account first, then the desk's tickets."""
        found = [r for r in await self._own() if r.ref != self._case.fields.get("ticket_ref")]
        if self._tickets is not None:
            known = {r.ref for r in found}
            tickets = await self._tickets.search(query, limit)
            found += [Reference(t.ref, t.subject, t.url) for t in tickets if t.ref not in known]
        return found[:limit]

    async def _own(self) -> list[Reference]:
        mine, found = self._case, []
        for other in await all_cases(self._ledger, mine.playbook):
            same = other.fields.get("template_name") == mine.fields.get("template_name")
            if other.ref != mine.ref and (same or other.account == mine.account):
                reasons = ", ".join(other.reasons) or "no finding yet"
                title = f"{other.account}, {other.fields.get('template_name', '')}: {reasons}"
                found.append(Reference(other.fields.get("ticket_ref") or other.ref, title, ""))
        return found


async def all_cases(ledger: Ledger, playbook: str = "") -> list[Case]:
    """Every case of the ledger (of this playbook), the newest first."""
    prefix = stream_of(f"{playbook}-" if playbook else "")
    names = await ledger.streams(prefix)
    cases = [fold(name.removeprefix("case/"), await ledger.stream(name)) for name in names]
    return sorted((c for c in cases if not playbook or c.playbook == playbook), key=lambda c: c.opened_at, reverse=True)
